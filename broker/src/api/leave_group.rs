//! LeaveGroup (13), versions 0 to 5: KIP-345 (several members, static members by their instance id alone), 800. Each
//! member has its own error; before version 3 the one member's error is that of the response.

use super::access::Access;
use super::{Context, Endpoint, Reply};
use crate::access::acl::{Operation, ResourceType};
use crate::group::Sender;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{LeaveGroupRequest, LeaveGroupResponse, MemberResponse};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct LeaveGroup;

impl Endpoint for LeaveGroup {
    type Request = LeaveGroupRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    const ACCESS: Access<Self::Request> = Access::Of(
        Operation::Read,
        ResourceType::Group,
        |request| &request.group_id,
        |_, code| LeaveGroupResponse { error_code: code.code(), ..Default::default() },
    );

    fn handle(ctx: &Context<'_>, request: LeaveGroupRequest) -> Reply<LeaveGroupResponse> {
        let of_member = |member_id, instance_id| Sender { member_id, instance_id, generation: -1 };
        let senders: Vec<Sender> = if ctx.version < 3 {
            vec![of_member(request.member_id, None)]
        } else {
            request.members.into_iter().map(|member| of_member(member.member_id, member.group_instance_id)).collect()
        };
        let results = ctx.broker.with_groups(ctx.now, |groups, io| groups.leave(&request.group_id, &senders, io));
        let results = match results {
            Ok(results) => results,
            Err(error) => {
                let error_code = ErrorCode::from(error).code();
                return Reply::Now(LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() });
            }
        };
        let mut codes = results.into_iter().map(|result| result.err().map_or(ErrorCode::None, ErrorCode::from).code());
        if ctx.version < 3 {
            let error_code = codes.next_back().unwrap_or(0);
            return Reply::Now(LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() });
        }
        let member = |(sender, error_code): (Sender, i16)| MemberResponse {
            member_id: sender.member_id,
            group_instance_id: sender.instance_id,
            error_code,
        };
        let members = senders.into_iter().zip(codes).map(member).collect();
        Reply::Now(LeaveGroupResponse { members, ..LeaveGroupResponse::default() })
    }
}
