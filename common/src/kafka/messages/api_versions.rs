//! ApiVersions: what the broker understands (KIP-35, KIP-584 features). Its reply always has a version 0 header.
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    18 ApiVersions: ApiVersionsRequest -> ApiVersionsResponse, 0-4, flexible 3+;

    ApiVersionsRequest {
        client_software_name: String, 3+, [ignorable];
        client_software_version: String, 3+, [ignorable];
    }

    ApiVersionsResponse {
        error_code: i16, 0+;
        api_keys: Vec<ApiVersion>, 0+;
        throttle_time_ms: i32, 1+, [ignorable];
        #0 supported_features: Vec<SupportedFeatureKey>, 3+, [ignorable];
        #1 finalized_features_epoch: i64 = -1, 3+, [ignorable];
        #2 finalized_features: Vec<FinalizedFeatureKey>, 3+, [ignorable];
        #3 zk_migration_ready: bool, 3+, [ignorable];
    }

    ApiVersion {
        api_key: i16, 0+;
        min_version: i16, 0+;
        max_version: i16, 0+;
    }

    SupportedFeatureKey {
        name: String, 3+;
        min_version: i16, 3+;
        max_version: i16, 3+;
    }

    FinalizedFeatureKey {
        name: String, 3+;
        max_version_level: i16, 3+;
        min_version_level: i16, 3+;
    }
}
