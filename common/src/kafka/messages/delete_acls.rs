//! DeleteAcls: removes the access rules that match filters.
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    31 DeleteAcls: DeleteAclsRequest -> DeleteAclsResponse, 0-3, flexible 2+;

    DeleteAclsRequest {
        filters: Vec<DeleteAclsFilter>, 0+;
    }

    DeleteAclsFilter {
        resource_type_filter: i8, 0+;
        resource_name_filter: Option<String> = Some(String::new()), 0+, null 0+;
        pattern_type_filter: i8 = 3, 1+;
        principal_filter: Option<String> = Some(String::new()), 0+, null 0+;
        host_filter: Option<String> = Some(String::new()), 0+, null 0+;
        operation: i8, 0+;
        permission_type: i8, 0+;
    }

    DeleteAclsResponse {
        throttle_time_ms: i32, 0+;
        filter_results: Vec<DeleteAclsFilterResult>, 0+;
    }

    DeleteAclsFilterResult {
        error_code: i16, 0+;
        error_message: Option<String> = Some(String::new()), 0+, null 0+;
        matching_acls: Vec<DeleteAclsMatchingAcl>, 0+;
    }

    DeleteAclsMatchingAcl {
        error_code: i16, 0+;
        error_message: Option<String> = Some(String::new()), 0+, null 0+;
        resource_type: i8, 0+;
        resource_name: String, 0+;
        pattern_type: i8 = 3, 1+;
        principal: String, 0+;
        host: String, 0+;
        operation: i8, 0+;
        permission_type: i8, 0+;
    }
}
