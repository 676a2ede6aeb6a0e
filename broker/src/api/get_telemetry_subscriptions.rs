//! GetTelemetrySubscriptions (71), version 0 (KIP-714): what a client is to push of its metrics. Advertised where what is
//! pushed can be seen, that is, with `metrics.http.port`. THROTTLING_QUOTA_EXCEEDED before the interval is over.
//! Unlike Kafka's brokers this one asks for totals, not for differences: it shows them as they are, whichever broker the
//! client pushes to. A client whose push was for an old subscription may ask at once, as the KIP has it; Kafka 3.9 makes it
//! wait.

use super::{Context, Endpoint, Reply};
use crate::telemetry::subscription::Attributes;
use crate::telemetry::{ACCEPTED, TelemetryError};
use common::kafka::error::ErrorCode;
use common::kafka::messages::{GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct GetTelemetrySubscriptions;

impl Endpoint for GetTelemetrySubscriptions {
    type Request = GetTelemetrySubscriptionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(
        ctx: &Context<'_>,
        request: GetTelemetrySubscriptionsRequest,
    ) -> Reply<GetTelemetrySubscriptionsResponse> {
        let telemetry = &ctx.broker.telemetry;
        let told = match ctx.broker.takes_telemetry() {
            true => telemetry.subscribe(request.client_instance_id, attributes(ctx), ctx.now.mono),
            false => Err(TelemetryError::NotTaken),
        };
        Reply::Now(match told {
            Ok(told) => GetTelemetrySubscriptionsResponse {
                client_instance_id: told.instance,
                subscription_id: told.subscription_id,
                accepted_compression_types: ACCEPTED.iter().filter_map(|one| i8::try_from(one.id()).ok()).collect(),
                push_interval_ms: told.interval_ms,
                telemetry_max_bytes: i32::try_from(telemetry.max_bytes()).unwrap_or(i32::MAX),
                delta_temporality: false,
                requested_metrics: told.metrics,
                ..GetTelemetrySubscriptionsResponse::default()
            },
            Err(error) => GetTelemetrySubscriptionsResponse {
                error_code: ErrorCode::from(&error).code(),
                ..GetTelemetrySubscriptionsResponse::default()
            },
        })
    }
}

/// What this broker knows of the client.
pub(super) fn attributes(ctx: &Context<'_>) -> Attributes {
    let software = ctx.connection.software.get();
    Attributes {
        instance: String::new(),
        client_id: ctx.client_id.map(str::to_owned),
        software_name: software.map(|software| software.name.clone()),
        software_version: software.map(|software| software.version.clone()),
        host: ctx.connection.client_host.clone(),
        port: ctx.connection.client_port,
    }
}
