//! AlterPartition (56, KIP-497 and KIP-841), versions 0 to 3: a leader asks the controller for another ISR. Errors of the
//! whole: NOT_CONTROLLER, STALE_BROKER_EPOCH. Per partition: NOT_CONTROLLER, FENCED_LEADER_EPOCH, INVALID_UPDATE_VERSION,
//! INVALID_REQUEST, UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION, INELIGIBLE_REPLICA (OPERATION_NOT_ATTEMPTED below
//! version 2).

use super::access::Access;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::Operation;
use crate::cluster::{AlterPartitionError, IsrChange, IsrOutcome, TopicRef, Waiter};
use common::id::BrokerId;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{
    AlterPartitionRequest, AlterPartitionResponse, PartitionDataResponse, TopicDataResponse,
};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct AlterPartition;

impl Endpoint for AlterPartition {
    type Request = AlterPartitionRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=3;
    const ACCESS: Access<Self::Request> = Access::Cluster(Operation::ClusterAction, |_, code| AlterPartitionResponse {
        error_code: code.code(),
        ..Default::default()
    });
    // Brokers order these by their epochs.
    const LETS_PASS: bool = true;

    fn handle(ctx: &Context<'_>, request: AlterPartitionRequest) -> Reply<AlterPartitionResponse> {
        let version = ctx.version;
        let from = (BrokerId(request.broker_id), request.broker_epoch);
        let changes = changes(request, version);
        let ticket: Ticket<AlterPartitionRequest> = ctx.ticket();
        let done = Waiter::new(move |outcomes| ticket.answer(&response(outcomes, version)));
        let begun = ctx.broker.with_cluster(ctx.now, |cluster, effects| {
            cluster.alter_partitions(from, changes, done, (ctx.now, effects))
        });
        match begun {
            Ok(()) => Reply::Parked,
            Err(error) => {
                let error_code = ErrorCode::from(error).code();
                Reply::Now(AlterPartitionResponse { error_code, ..Default::default() })
            }
        }
    }
}

fn changes(request: AlterPartitionRequest, version: i16) -> Vec<IsrChange> {
    let mut changes = Vec::new();
    for topic in request.topics {
        let named = if version > 1 { TopicRef::Id(topic.topic_id) } else { TopicRef::Name(topic.topic_name) };
        for partition in topic.partitions {
            let isr = if version >= 3 {
                partition.new_isr_with_epochs.iter().map(|replica| replica.broker_id).collect()
            } else {
                partition.new_isr
            };
            changes.push(IsrChange {
                topic: named.clone(),
                partition: partition.partition_index,
                leader_epoch: partition.leader_epoch,
                isr,
                recovering: partition.leader_recovery_state != 0,
                partition_epoch: partition.partition_epoch,
            });
        }
    }
    changes
}

fn response(outcomes: Vec<IsrOutcome>, version: i16) -> AlterPartitionResponse {
    let mut response = AlterPartitionResponse::default();
    for IsrOutcome { topic, partition, outcome } in outcomes {
        let (topic_name, topic_id) = match topic {
            TopicRef::Name(name) => (name, Default::default()),
            TopicRef::Id(id) => (String::new(), id),
        };
        let data = match outcome {
            Ok(now) => PartitionDataResponse {
                partition_index: partition,
                leader_id: now.state.leader,
                leader_epoch: now.state.leader_epoch,
                leader_recovery_state: i8::from(now.state.recovering),
                eligible_min_isr: now.state.eligible_min_isr(),
                isr: now.state.isr,
                partition_epoch: now.partition_epoch,
                ..Default::default()
            },
            Err(error) => {
                let code = match error {
                    AlterPartitionError::IneligibleReplica if version < 2 => ErrorCode::OperationNotAttempted,
                    other => other.into(),
                };
                PartitionDataResponse { partition_index: partition, error_code: code.code(), ..Default::default() }
            }
        };
        match response.topics.iter_mut().find(|known| known.topic_name == topic_name && known.topic_id == topic_id) {
            Some(known) => known.partitions.push(data),
            None => response.topics.push(TopicDataResponse { topic_name, topic_id, partitions: vec![data] }),
        }
    }
    response
}
