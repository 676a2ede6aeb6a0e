//! ApiVersions (key 18, KIP-35, KIP-511, KIP-584): which APIs and versions this broker serves, read off the dispatch
//! table, and features: transaction.version (KIP-890), in force when all live brokers serve it.
//! A request version that is not served is answered with a version 0 body and UNSUPPORTED_VERSION, and the connection
//! stays open: that is how a newer client learns to step down. Errors: INVALID_REQUEST for a malformed software name.

use super::{Context, Endpoint, Reply, TABLE};
use crate::connection::Software;
use common::kafka::error::ErrorCode;
use common::kafka::header;
use common::kafka::messages::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, GetTelemetrySubscriptionsRequest, PushTelemetryRequest,
    Request,
};
use common::kafka::wire::Frame;
use std::ops::RangeInclusive;

/// The endpoint.
pub struct ApiVersions;

/// Those for the metrics of clients.
const TELEMETRY: [i16; 2] = [GetTelemetrySubscriptionsRequest::KEY, PushTelemetryRequest::KEY];

/// Longer names of software are not remembered.
const SOFTWARE_BYTES_MAX: usize = 255;

/// Its key.
pub const KEY: i16 = ApiVersionsRequest::KEY;

impl Endpoint for ApiVersions {
    type Request = ApiVersionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=4;

    fn handle(ctx: &Context<'_>, request: ApiVersionsRequest) -> Reply<ApiVersionsResponse> {
        let named =
            is_software_name(&request.client_software_name) && is_software_name(&request.client_software_version);
        if ctx.version >= 3 && !named {
            return Reply::Now(ApiVersionsResponse {
                error_code: ErrorCode::InvalidRequest.code(),
                ..Default::default()
            });
        }
        if ctx.version >= 3
            && request.client_software_name.len().max(request.client_software_version.len()) <= SOFTWARE_BYTES_MAX
        {
            let (name, version) = (request.client_software_name, request.client_software_version);
            // Who asks again says the same.
            let _ = ctx.connection.software.set(Software { name, version });
        }
        let (supported_features, finalized_features, finalized_features_epoch) = ctx.broker.features.told(ctx.version);
        Reply::Now(ApiVersionsResponse {
            api_keys: served(ctx.broker.takes_telemetry()),
            supported_features,
            finalized_features,
            finalized_features_epoch,
            ..Default::default()
        })
    }
}

/// The answer to a request version that is not served.
pub fn unsupported_version(correlation_id: i32) -> Frame {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: served(false).into_iter().filter(|api| api.api_key == KEY).collect(),
        ..Default::default()
    };
    header::encode_response(correlation_id, 0, &response).expect("version 0 has every field set here")
}

/// What clients push is not asked for where nobody can see it.
fn served(with_telemetry: bool) -> Vec<ApiVersion> {
    TABLE
        .iter()
        .filter(|row| with_telemetry || !TELEMETRY.contains(&row.key))
        .map(|row| ApiVersion { api_key: row.key, min_version: row.advertised_from, max_version: *row.served.end() })
        .collect()
}

/// Kafka's rule: letters, digits, `.` and `-`, beginning and ending with a letter or digit.
fn is_software_name(name: &str) -> bool {
    let ends = [name.chars().next(), name.chars().next_back()];
    ends.iter().all(|end| end.is_some_and(|c| c.is_ascii_alphanumeric()))
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names() {
        for (name, expected) in [
            ("apache-kafka-java", true),
            ("3.9.1", true),
            ("", false),
            ("-x", false),
            ("a b", false),
            ("librdkafka", true),
        ] {
            assert_eq!(is_software_name(name), expected, "{name:?}");
        }
    }
}
