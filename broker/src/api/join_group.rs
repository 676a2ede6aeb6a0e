//! JoinGroup (11), versions 0 to 9: KIP-62, 345, 394, 559, 800, 814. Answered when the rebalance lets everyone in, or at
//! once with MEMBER_ID_REQUIRED, UNKNOWN_MEMBER_ID, INCONSISTENT_GROUP_PROTOCOL, INVALID_SESSION_TIMEOUT,
//! GROUP_MAX_SIZE_REACHED, FENCED_INSTANCE_ID, INVALID_GROUP_ID or what the state of the coordinator asks for.

use super::access::Access;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{Operation, ResourceType};
use crate::group::{JoinInput, JoinResult, kept};
use common::kafka::error::ErrorCode;
use common::kafka::messages::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct JoinGroup;

impl Endpoint for JoinGroup {
    type Request = JoinGroupRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=9;
    const ACCESS: Access<Self::Request> = Access::Of(
        Operation::Read,
        ResourceType::Group,
        |request| &request.group_id,
        |_, code| JoinGroupResponse { error_code: code.code(), ..Default::default() },
    );

    fn handle(ctx: &Context<'_>, request: JoinGroupRequest) -> Reply<JoinGroupResponse> {
        let ticket: Ticket<JoinGroupRequest> = ctx.ticket();
        let input = JoinInput {
            member_id: request.member_id,
            instance_id: request.group_instance_id,
            can_be_asked_to_rejoin: ctx.version >= 4,
            can_skip_assignment: ctx.version >= 9,
            client_id: ctx.client_id.unwrap_or_default().to_owned(),
            // As Java prints an address, which tools show and strip.
            client_host: format!("/{}", ctx.connection.client_host),
            // Version 0 has one timeout for both.
            rebalance_timeout_ms: if ctx.version == 0 {
                request.session_timeout_ms
            } else {
                request.rebalance_timeout_ms
            },
            session_timeout_ms: request.session_timeout_ms,
            protocol_type: request.protocol_type,
            protocols: request
                .protocols
                .into_iter()
                .map(|protocol| (protocol.name, kept(&protocol.metadata)))
                .collect(),
            reason: request.reason,
        };
        let waiter = Box::new(move |result| {
            let response = response(result, ticket.version());
            ticket.answer(&response);
        });
        ctx.broker.with_groups(ctx.now, |groups, io| groups.join(&request.group_id, input, waiter, io));
        Reply::Parked
    }
}

fn response(result: JoinResult, version: i16) -> JoinGroupResponse {
    let none = || if version >= 7 { None } else { Some(String::new()) };
    let joined = match result.outcome {
        Ok(joined) => joined,
        Err(error) => {
            return JoinGroupResponse {
                error_code: ErrorCode::from(error).code(),
                member_id: result.member_id,
                protocol_name: none(),
                ..JoinGroupResponse::default()
            };
        }
    };
    let member =
        |(member_id, group_instance_id, metadata)| JoinGroupResponseMember { member_id, group_instance_id, metadata };
    JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: joined.protocol_type,
        protocol_name: joined.protocol.or_else(none),
        leader: joined.leader,
        skip_assignment: joined.skip_assignment,
        member_id: result.member_id,
        members: joined.members.into_iter().map(member).collect(),
        ..JoinGroupResponse::default()
    }
}
