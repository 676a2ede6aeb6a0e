//! DescribeGroups: state and members of classic groups.
//! Declares the two messages; holds no rule.

use bytes::Bytes;

use super::declare;

declare! {
    15 DescribeGroups: DescribeGroupsRequest -> DescribeGroupsResponse, 0-6, flexible 5+;

    DescribeGroupsRequest {
        groups: Vec<String>, 0+;
        include_authorized_operations: bool, 3+;
    }

    DescribeGroupsResponse {
        throttle_time_ms: i32, 1+, [ignorable];
        groups: Vec<DescribedGroup>, 0+;
    }

    DescribedGroup {
        error_code: i16, 0+;
        error_message: Option<String>, 6+, null 6+;
        group_id: String, 0+;
        group_state: String, 0+;
        protocol_type: String, 0+;
        protocol_data: String, 0+;
        members: Vec<DescribedGroupMember>, 0+;
        authorized_operations: i32 = i32::MIN, 3+;
    }

    DescribedGroupMember {
        member_id: String, 0+;
        group_instance_id: Option<String>, 4+, null 4+, [ignorable];
        client_id: String, 0+;
        client_host: String, 0+;
        member_metadata: Bytes, 0+;
        member_assignment: Bytes, 0+;
    }
}
