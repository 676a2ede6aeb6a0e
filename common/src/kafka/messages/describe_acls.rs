//! DescribeAcls: the access rules that match a filter.
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    29 DescribeAcls: DescribeAclsRequest -> DescribeAclsResponse, 0-3, flexible 2+;

    DescribeAclsRequest {
        resource_type_filter: i8, 0+;
        resource_name_filter: Option<String> = Some(String::new()), 0+, null 0+;
        pattern_type_filter: i8 = 3, 1+;
        principal_filter: Option<String> = Some(String::new()), 0+, null 0+;
        host_filter: Option<String> = Some(String::new()), 0+, null 0+;
        operation: i8, 0+;
        permission_type: i8, 0+;
    }

    DescribeAclsResponse {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String> = Some(String::new()), 0+, null 0+;
        resources: Vec<DescribeAclsResource>, 0+;
    }

    DescribeAclsResource {
        resource_type: i8, 0+;
        resource_name: String, 0+;
        pattern_type: i8 = 3, 1+;
        acls: Vec<AclDescription>, 0+;
    }

    AclDescription {
        principal: String, 0+;
        host: String, 0+;
        operation: i8, 0+;
        permission_type: i8, 0+;
    }
}
