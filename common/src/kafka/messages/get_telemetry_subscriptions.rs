//! GetTelemetrySubscriptions: which metrics a client is to push (KIP-714).
//! Declares the two messages; holds no rule.

use uuid::Uuid;

use super::declare;

declare! {
    71 GetTelemetrySubscriptions: GetTelemetrySubscriptionsRequest -> GetTelemetrySubscriptionsResponse, 0-0, flexible 0+;

    GetTelemetrySubscriptionsRequest {
        client_instance_id: Uuid, 0+;
    }

    GetTelemetrySubscriptionsResponse {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        client_instance_id: Uuid, 0+;
        subscription_id: i32, 0+;
        accepted_compression_types: Vec<i8>, 0+;
        push_interval_ms: i32, 0+;
        telemetry_max_bytes: i32, 0+;
        delta_temporality: bool, 0+;
        requested_metrics: Vec<String>, 0+;
    }
}
