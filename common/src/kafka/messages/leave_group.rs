//! LeaveGroup: members of a classic group go.
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    13 LeaveGroup: LeaveGroupRequest -> LeaveGroupResponse, 0-5, flexible 4+;

    LeaveGroupRequest {
        group_id: String, 0+;
        member_id: String, 0-2;
        members: Vec<MemberIdentity>, 3+;
    }

    MemberIdentity {
        member_id: String, 3+;
        group_instance_id: Option<String>, 3+, null 3+;
        reason: Option<String>, 5+, null 5+, [ignorable];
    }

    LeaveGroupResponse {
        throttle_time_ms: i32, 1+, [ignorable];
        error_code: i16, 0+;
        members: Vec<MemberResponse>, 3+;
    }

    MemberResponse {
        member_id: String, 3+;
        group_instance_id: Option<String> = Some(String::new()), 3+, null 3+;
        error_code: i16, 3+;
    }
}
