//! ConsumerGroupHeartbeat (68), versions 0 and 1: KIP-848, 1082. The one request by which members of the new protocol join,
//! stay, and leave; answered when what it changed is replicated. FENCED_MEMBER_EPOCH and UNKNOWN_MEMBER_ID tell a member
//! to give up all it has and join again; INVALID_REQUEST, UNSUPPORTED_ASSIGNOR, INVALID_REGULAR_EXPRESSION,
//! GROUP_MAX_SIZE_REACHED, UNRELEASED_INSTANCE_ID, FENCED_INSTANCE_ID and GROUP_ID_NOT_FOUND end it; UNSUPPORTED_VERSION
//! where the protocol is off, or a live broker does not know it.

use super::access::Access;
use super::error::text;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{Operation, ResourceType};
use crate::group::consumer_records::Partitions;
use crate::group::{HeartbeatInput, HeartbeatResult};
use common::kafka::error::ErrorCode;
use common::kafka::messages::consumer_group_heartbeat::{Assignment, TopicPartitions};
use common::kafka::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use std::ops::RangeInclusive;

/// First version in which the client chooses the member id (KIP-1082).
const CLIENT_CHOOSES_ID_FROM: i16 = 1;

/// See the top of the file.
pub struct ConsumerGroupHeartbeat;

impl Endpoint for ConsumerGroupHeartbeat {
    type Request = ConsumerGroupHeartbeatRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    const ACCESS: Access<Self::Request> =
        Access::Of(Operation::Read, ResourceType::Group, |request| &request.group_id, |_, code| refused(code, ""));

    fn handle(ctx: &Context<'_>, request: ConsumerGroupHeartbeatRequest) -> Reply<ConsumerGroupHeartbeatResponse> {
        if !ctx.broker.serves_consumer_protocol() {
            return Reply::Now(refused(ErrorCode::UnsupportedVersion, ""));
        }
        let ticket: Ticket<ConsumerGroupHeartbeatRequest> = ctx.ticket();
        let input = HeartbeatInput {
            member_id: request.member_id,
            needs_member_id: ctx.version >= CLIENT_CHOOSES_ID_FROM,
            epoch: request.member_epoch,
            instance_id: request.instance_id,
            rack_id: request.rack_id,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            client_id: ctx.client_id.unwrap_or_default().to_owned(),
            // As Java prints an address, which tools show and strip.
            client_host: format!("/{}", ctx.connection.client_host),
            topics: request.subscribed_topic_names.map(|names| names.into_iter().collect()),
            regex: request.subscribed_topic_regex,
            assignor: request.server_assignor,
            owned: request.topic_partitions.map(partitions),
            classic: None,
        };
        let waiter = Box::new(move |result| ticket.answer(&response(result)));
        ctx.broker.with_groups(ctx.now, |groups, io| groups.consumer_heartbeat(&request.group_id, &input, waiter, io));
        Reply::Parked
    }
}

fn partitions(topics: Vec<TopicPartitions>) -> Partitions {
    let mut partitions = Partitions::new();
    for topic in topics.into_iter().filter(|topic| !topic.partitions.is_empty()) {
        partitions.entry(topic.topic_id).or_default().extend(topic.partitions);
    }
    partitions
}

fn refused(code: ErrorCode, message: &str) -> ConsumerGroupHeartbeatResponse {
    let message = if message.is_empty() { code.message() } else { message };
    ConsumerGroupHeartbeatResponse {
        error_code: code.code(),
        error_message: text(message),
        ..ConsumerGroupHeartbeatResponse::default()
    }
}

fn response(result: HeartbeatResult) -> ConsumerGroupHeartbeatResponse {
    let output = match result {
        Ok(output) => output,
        Err(refusal) => return refused(ErrorCode::from(refusal.error), &refusal.message),
    };
    let topic = |(topic_id, partitions): (_, std::collections::BTreeSet<i32>)| TopicPartitions {
        topic_id,
        partitions: partitions.into_iter().collect(),
    };
    ConsumerGroupHeartbeatResponse {
        member_id: Some(output.member_id),
        member_epoch: output.epoch,
        heartbeat_interval_ms: output.interval_ms,
        assignment: output
            .assignment
            .map(|partitions| Assignment { topic_partitions: partitions.into_iter().map(topic).collect() }),
        ..ConsumerGroupHeartbeatResponse::default()
    }
}
