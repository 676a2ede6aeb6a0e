//! CreateAcls: new access rules.
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    30 CreateAcls: CreateAclsRequest -> CreateAclsResponse, 0-3, flexible 2+;

    CreateAclsRequest {
        creations: Vec<AclCreation>, 0+;
    }

    AclCreation {
        resource_type: i8, 0+;
        resource_name: String, 0+;
        resource_pattern_type: i8 = 3, 1+;
        principal: String, 0+;
        host: String, 0+;
        operation: i8, 0+;
        permission_type: i8, 0+;
    }

    CreateAclsResponse {
        throttle_time_ms: i32, 0+;
        results: Vec<AclCreationResult>, 0+;
    }

    AclCreationResult {
        error_code: i16, 0+;
        error_message: Option<String> = Some(String::new()), 0+, null 0+;
    }
}
