//! UpdateFeatures: moves the finalized feature versions (KIP-584).
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    57 UpdateFeatures: UpdateFeaturesRequest -> UpdateFeaturesResponse, 0-2, flexible 0+;

    UpdateFeaturesRequest {
        timeout_ms: i32 = 60000, 0+;
        feature_updates: Vec<FeatureUpdateKey>, 0+;
        validate_only: bool, 1+;
    }

    FeatureUpdateKey {
        feature: String, 0+;
        max_version_level: i16, 0+;
        allow_downgrade: bool, 0-0;
        upgrade_type: i8 = 1, 1+;
    }

    UpdateFeaturesResponse {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String> = Some(String::new()), 0+, null 0+;
        results: Vec<UpdatableFeatureResult>, 0-1, [ignorable];
    }

    UpdatableFeatureResult {
        feature: String, 0+;
        error_code: i16, 0+;
        error_message: Option<String> = Some(String::new()), 0+, null 0+;
    }
}
