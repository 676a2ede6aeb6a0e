//! SyncGroup (14), versions 0 to 5: KIP-345, 559. Answered when the leader's assignment is recorded, or at once with
//! ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, REBALANCE_IN_PROGRESS, INCONSISTENT_GROUP_PROTOCOL, FENCED_INSTANCE_ID.

use super::access::Access;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{Operation, ResourceType};
use crate::group::{Sender, SyncInput, SyncResult, kept};
use common::kafka::error::ErrorCode;
use common::kafka::messages::{SyncGroupRequest, SyncGroupResponse};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct SyncGroup;

impl Endpoint for SyncGroup {
    type Request = SyncGroupRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    const ACCESS: Access<Self::Request> = Access::Of(
        Operation::Read,
        ResourceType::Group,
        |request| &request.group_id,
        |_, code| SyncGroupResponse { error_code: code.code(), ..Default::default() },
    );

    fn handle(ctx: &Context<'_>, request: SyncGroupRequest) -> Reply<SyncGroupResponse> {
        if ctx.version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
            // KIP-559: from version 5 on a client must say what it believes.
            let error_code = ErrorCode::InconsistentGroupProtocol.code();
            return Reply::Now(SyncGroupResponse { error_code, ..SyncGroupResponse::default() });
        }
        let ticket: Ticket<SyncGroupRequest> = ctx.ticket();
        let input = SyncInput {
            sender: Sender {
                member_id: request.member_id,
                instance_id: request.group_instance_id,
                generation: request.generation_id,
            },
            protocol_type: request.protocol_type,
            protocol: request.protocol_name,
            assignments: request.assignments.into_iter().map(|one| (one.member_id, kept(&one.assignment))).collect(),
        };
        let waiter = Box::new(move |result| ticket.answer(&response(result)));
        ctx.broker.with_groups(ctx.now, |groups, io| groups.sync(&request.group_id, input, waiter, io));
        Reply::Parked
    }
}

fn response(result: SyncResult) -> SyncGroupResponse {
    match result {
        Ok(synced) => SyncGroupResponse {
            protocol_type: synced.protocol_type,
            protocol_name: synced.protocol,
            assignment: synced.assignment,
            ..SyncGroupResponse::default()
        },
        Err(error) => SyncGroupResponse { error_code: ErrorCode::from(error).code(), ..SyncGroupResponse::default() },
    }
}
