//! DeleteGroups: removes empty groups.
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    42 DeleteGroups: DeleteGroupsRequest -> DeleteGroupsResponse, 0-2, flexible 2+;

    DeleteGroupsRequest {
        groups_names: Vec<String>, 0+;
    }

    DeleteGroupsResponse {
        throttle_time_ms: i32, 0+;
        results: Vec<DeletableGroupResult>, 0+;
    }

    DeletableGroupResult {
        group_id: String, 0+;
        error_code: i16, 0+;
    }
}
