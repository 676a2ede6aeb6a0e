//! Heartbeat (12), versions 0 to 4: KIP-345. REBALANCE_IN_PROGRESS asks the member to join again; ILLEGAL_GENERATION,
//! UNKNOWN_MEMBER_ID and FENCED_INSTANCE_ID tell it that it is out.

use super::access::Access;
use super::{Context, Endpoint, Reply};
use crate::access::acl::{Operation, ResourceType};
use crate::group::Sender;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{HeartbeatRequest, HeartbeatResponse};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct Heartbeat;

impl Endpoint for Heartbeat {
    type Request = HeartbeatRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=4;
    const ACCESS: Access<Self::Request> = Access::Of(
        Operation::Read,
        ResourceType::Group,
        |request| &request.group_id,
        |_, code| HeartbeatResponse { error_code: code.code(), ..Default::default() },
    );

    fn handle(ctx: &Context<'_>, request: HeartbeatRequest) -> Reply<HeartbeatResponse> {
        let sender = Sender {
            member_id: request.member_id,
            instance_id: request.group_instance_id,
            generation: request.generation_id,
        };
        let result = ctx.broker.with_groups(ctx.now, |groups, io| groups.heartbeat(&request.group_id, &sender, io));
        let error_code = result.err().map_or(ErrorCode::None, ErrorCode::from).code();
        Reply::Now(HeartbeatResponse { error_code, ..HeartbeatResponse::default() })
    }
}
