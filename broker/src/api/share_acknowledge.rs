//! ShareAcknowledge (79, KIP-932), versions 1 and 2: a member of a share group says what became of records that it acquired.
//! Answered when that is written down. Version 2 can renew locks (KIP-1222) and tells how long they are.
//!
//! Errors: INVALID_REQUEST, GROUP_AUTHORIZATION_FAILED, SHARE_SESSION_NOT_FOUND, INVALID_SHARE_SESSION_EPOCH,
//! UNSUPPORTED_VERSION where share groups are not in force; by partition INVALID_REQUEST, INVALID_RECORD_STATE,
//! UNKNOWN_TOPIC_ID, TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_OR_PARTITION (also where nobody reads it here),
//! NOT_LEADER_OR_FOLLOWER with the leader, COORDINATOR_NOT_AVAILABLE.

use super::share_acks::{self, Ack};
use super::{Context, Endpoint, Reply, Ticket};
use crate::broker::Broker;
use crate::gathered::Gathered;
use crate::share::session::Member;
use common::kafka::error::ErrorCode;
use common::kafka::messages::share_acknowledge::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionData, ShareAcknowledgeTopicResponse,
};
use common::kafka::messages::{ShareAcknowledgeRequest, ShareAcknowledgeResponse};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use uuid::Uuid;

/// See the top of the file.
pub struct ShareAcknowledge;

impl Endpoint for ShareAcknowledge {
    type Request = ShareAcknowledgeRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=2;

    fn handle(ctx: &Context<'_>, request: ShareAcknowledgeRequest) -> Reply<ShareAcknowledgeResponse> {
        let refuse = |code: ErrorCode| {
            Reply::Now(ShareAcknowledgeResponse { error_code: code.code(), ..ShareAcknowledgeResponse::default() })
        };
        let member = match share_acks::asker(ctx, request.group_id.as_ref(), request.member_id.as_ref()) {
            Ok(member) => member,
            Err(code) => return refuse(code),
        };
        let session = ctx.broker.shares.sessions.lock().acknowledge(&member, request.share_session_epoch);
        let ended = match session {
            Ok(ended) => ended,
            Err(error) => return refuse(error.into()),
        };
        let mut acks = Vec::new();
        for topic in request.topics {
            for partition in topic.partitions {
                let batches = partition
                    .acknowledgement_batches
                    .into_iter()
                    .map(|batch| (batch.first_offset, batch.last_offset, batch.acknowledge_types));
                let place = (topic.topic_id, partition.partition_index);
                acks.push(Ack { place, batches: batches.collect(), version: ctx.version });
            }
        }
        let answer =
            Answer { broker: ctx.broker.clone(), listener: ctx.connection.listener.clone(), member: member.clone() };
        let ticket: Ticket<ShareAcknowledgeRequest> = ctx.ticket();
        let finish = move |codes: Codes| answer.finish(ticket, codes, ended);
        // One more than there are, so that there is one.
        let gathered = Gathered::new(Codes::new(), acks.len() + 1, finish);
        for (slot, ack) in acks.into_iter().enumerate() {
            let (place, gathered) = (ack.place, gathered.clone());
            let then = move |code: ErrorCode| {
                gathered.put(|codes| {
                    codes.insert(slot, (place, code));
                });
            };
            share_acks::acknowledge(ctx, &member, ack, request.is_renew_ack, Box::new(then));
        }
        gathered.put(|_| ());
        Reply::Parked
    }
}

/// By the place in the request.
type Codes = BTreeMap<usize, ((Uuid, i32), ErrorCode)>;

/// What is needed to say what became of it.
struct Answer {
    broker: Arc<Broker>,
    listener: String,
    member: Member,
}

impl Answer {
    fn finish(self, ticket: Ticket<ShareAcknowledgeRequest>, codes: Codes, ended: Option<u64>) {
        let mut nodes = BTreeMap::new();
        let mut responses: Vec<ShareAcknowledgeTopicResponse> = Vec::new();
        for ((topic_id, index), code) in codes.into_values() {
            let partition = self.partition((topic_id, index), code, &mut nodes);
            match responses.last_mut() {
                Some(topic) if topic.topic_id == topic_id => topic.partitions.push(partition),
                _ => responses.push(ShareAcknowledgeTopicResponse { topic_id, partitions: vec![partition] }),
            }
        }
        ticket.answer(&ShareAcknowledgeResponse {
            acquisition_lock_timeout_ms: self.broker.share_lock_ms(&self.member.0),
            responses,
            node_endpoints: nodes.into_values().collect(),
            ..ShareAcknowledgeResponse::default()
        });
        if let Some(number) = ended {
            share_acks::end_session(self.broker, self.member, number);
        }
    }

    fn partition(
        &self,
        (topic_id, partition_index): (Uuid, i32),
        code: ErrorCode,
        nodes: &mut BTreeMap<i32, NodeEndpoint>,
    ) -> PartitionData {
        let error_message = (code != ErrorCode::None).then(|| code.message().to_owned());
        let mut data = PartitionData { partition_index, error_code: code.code(), error_message, ..Default::default() };
        let place = (topic_id, partition_index);
        if let Some(leader) = share_acks::leader_for(&self.broker, place, code, &self.listener) {
            data.current_leader = LeaderIdAndEpoch { leader_id: leader.id, leader_epoch: leader.epoch };
            if let Some(node) = leader.node {
                let (node_id, host, port, rack) = (leader.id, node.host, node.port, node.rack);
                nodes.insert(node_id, NodeEndpoint { node_id, host, port, rack });
            }
        }
        data
    }
}
