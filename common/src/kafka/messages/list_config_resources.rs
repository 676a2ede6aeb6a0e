//! ListConfigResources: the resources that have settings (KIP-1142; client metrics alone in version 0, KIP-714).
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    74 ListConfigResources: ListConfigResourcesRequest -> ListConfigResourcesResponse, 0-1, flexible 0+;

    ListConfigResourcesRequest {
        resource_types: Vec<i8>, 1+;
    }

    ListConfigResourcesResponse {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        config_resources: Vec<ConfigResource>, 0+;
    }

    ConfigResource {
        resource_name: String, 0+;
        resource_type: i8 = 16, 1+, [ignorable];
    }
}
