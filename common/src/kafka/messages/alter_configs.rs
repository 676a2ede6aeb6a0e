//! AlterConfigs: replaces all settings of a resource.
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    33 AlterConfigs: AlterConfigsRequest -> AlterConfigsResponse, 0-2, flexible 2+;

    AlterConfigsRequest {
        resources: Vec<AlterConfigsResource>, 0+;
        validate_only: bool, 0+;
    }

    AlterConfigsResource {
        resource_type: i8, 0+;
        resource_name: String, 0+;
        configs: Vec<AlterableConfig>, 0+;
    }

    AlterableConfig {
        name: String, 0+;
        value: Option<String> = Some(String::new()), 0+, null 0+;
    }

    AlterConfigsResponse {
        throttle_time_ms: i32, 0+;
        responses: Vec<AlterConfigsResourceResponse>, 0+;
    }

    AlterConfigsResourceResponse {
        error_code: i16, 0+;
        error_message: Option<String> = Some(String::new()), 0+, null 0+;
        resource_type: i8, 0+;
        resource_name: String, 0+;
    }
}
