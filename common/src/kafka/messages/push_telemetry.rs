//! PushTelemetry: metrics of a client (KIP-714).
//! Declares the two messages; holds no rule.

use bytes::Bytes;
use uuid::Uuid;

use super::declare;

declare! {
    72 PushTelemetry: PushTelemetryRequest -> PushTelemetryResponse, 0-0, flexible 0+;

    PushTelemetryRequest {
        client_instance_id: Uuid, 0+;
        subscription_id: i32, 0+;
        terminating: bool, 0+;
        compression_type: i8, 0+;
        metrics: Bytes, 0+;
    }

    PushTelemetryResponse {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
    }
}
