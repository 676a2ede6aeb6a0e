//! ShareGroupHeartbeat (76), version 1: KIP-932. The one request by which members of share groups join, stay, and leave;
//! answered when what it changed is replicated. Partitions come with a later heartbeat, once the share coordinator has made
//! their states. FENCED_MEMBER_EPOCH and UNKNOWN_MEMBER_ID tell a member to join again; INVALID_REQUEST,
//! GROUP_MAX_SIZE_REACHED, TOPIC_AUTHORIZATION_FAILED and GROUP_ID_NOT_FOUND (a group of another kind) end it;
//! UNSUPPORTED_VERSION where share groups are off, or a live broker does not know them.

use super::access::Access;
use super::error::text;
use super::share_acks::is_member_id;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{Operation, ResourceType};
use crate::group::{ShareHeartbeatInput, ShareHeartbeatOutput, ShareHeartbeatResult};
use common::kafka::error::ErrorCode;
use common::kafka::messages::share_group_heartbeat::{Assignment, TopicPartitions};
use common::kafka::messages::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct ShareGroupHeartbeat;

impl Endpoint for ShareGroupHeartbeat {
    type Request = ShareGroupHeartbeatRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=1;
    const ACCESS: Access<Self::Request> =
        Access::Of(Operation::Read, ResourceType::Group, |request| &request.group_id, |_, code| refused(code, None));

    fn handle(ctx: &Context<'_>, request: ShareGroupHeartbeatRequest) -> Reply<ShareGroupHeartbeatResponse> {
        if !ctx.broker.serves_share_groups() {
            return Reply::Now(refused(ErrorCode::UnsupportedVersion, None));
        }
        if !is_member_id(&request.member_id) {
            return Reply::Now(refused(ErrorCode::InvalidRequest, None));
        }
        let mut topics = request.subscribed_topic_names.iter().flatten();
        if !topics.all(|topic| ctx.may_topic(Operation::Describe, topic)) {
            return Reply::Now(refused(ErrorCode::TopicAuthorizationFailed, None));
        }
        let ticket: Ticket<ShareGroupHeartbeatRequest> = ctx.ticket();
        let input = ShareHeartbeatInput {
            member_id: request.member_id,
            epoch: request.member_epoch,
            rack_id: request.rack_id,
            client_id: ctx.client_id.unwrap_or_default().to_owned(),
            // As Java prints an address, which tools show and strip.
            client_host: format!("/{}", ctx.connection.client_host),
            topics: request.subscribed_topic_names.map(|names| names.into_iter().collect()),
        };
        let (broker, group) = (ctx.broker.clone(), request.group_id.clone());
        let waiter = Box::new(move |result: ShareHeartbeatResult| {
            let initialize = result.as_ref().ok().map(|output| output.initialize.clone());
            ticket.answer(&response(result));
            if let Some(initialize) = initialize.filter(|initialize| !initialize.partitions.is_empty()) {
                broker.make_share_states(group, initialize, Box::new(|_, _| {}));
            }
        });
        ctx.broker.with_groups(ctx.now, |groups, io| groups.share_heartbeat(&request.group_id, &input, waiter, io));
        Reply::Parked
    }
}

fn refused(code: ErrorCode, error_message: Option<String>) -> ShareGroupHeartbeatResponse {
    ShareGroupHeartbeatResponse { error_code: code.code(), error_message, ..ShareGroupHeartbeatResponse::default() }
}

fn response(result: ShareHeartbeatResult) -> ShareGroupHeartbeatResponse {
    let ShareHeartbeatOutput { member_id, epoch, interval_ms, assignment, .. } = match result {
        Ok(output) => output,
        Err(refusal) => {
            let code = ErrorCode::from(refusal.error);
            let message = if refusal.message.is_empty() { code.message().to_owned() } else { refusal.message };
            return refused(code, text(message));
        }
    };
    let topic = |(topic_id, partitions): (_, std::collections::BTreeSet<i32>)| TopicPartitions {
        topic_id,
        partitions: partitions.into_iter().collect(),
    };
    ShareGroupHeartbeatResponse {
        member_id: Some(member_id),
        member_epoch: epoch,
        heartbeat_interval_ms: interval_ms,
        assignment: assignment
            .map(|partitions| Assignment { topic_partitions: partitions.into_iter().map(topic).collect() }),
        ..ShareGroupHeartbeatResponse::default()
    }
}
