//! PushTelemetry (72), version 0 (KIP-714): metrics of a client, in OpenTelemetry's format. INVALID_REQUEST for ids that
//! stand for no client and after a last push, THROTTLING_QUOTA_EXCEEDED, UNKNOWN_SUBSCRIPTION_ID,
//! UNSUPPORTED_COMPRESSION_TYPE, TELEMETRY_TOO_LARGE, INVALID_RECORD if they cannot be read. Histograms are passed over:
//! Kafka's clients have none.

use super::get_telemetry_subscriptions::attributes;
use super::{Context, Endpoint, Reply};
use crate::telemetry::{Push, TelemetryError};
use common::kafka::error::ErrorCode;
use common::kafka::messages::{PushTelemetryRequest, PushTelemetryResponse};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct PushTelemetry;

impl Endpoint for PushTelemetry {
    type Request = PushTelemetryRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(ctx: &Context<'_>, request: PushTelemetryRequest) -> Reply<PushTelemetryResponse> {
        let push = Push {
            instance: request.client_instance_id,
            subscription_id: request.subscription_id,
            is_last: request.terminating,
            compression: request.compression_type,
            metrics: request.metrics,
        };
        let outcome = match ctx.broker.takes_telemetry() {
            true => ctx.broker.telemetry.push(push, attributes(ctx), ctx.now.mono),
            false => Err(TelemetryError::NotTaken),
        };
        if let Err(error) = &outcome {
            tracing::debug!(client = ctx.client_id, host = ctx.connection.client_host, %error, "metrics were refused");
        }
        let error_code = outcome.as_ref().err().map_or(ErrorCode::None, ErrorCode::from).code();
        Reply::Now(PushTelemetryResponse { error_code, ..PushTelemetryResponse::default() })
    }
}
