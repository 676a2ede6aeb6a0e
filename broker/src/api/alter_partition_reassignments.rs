//! AlterPartitionReassignments (45, KIP-455), versions 0 and 1: starts, replaces or takes back moves of partitions, on the
//! controller; if the request says so not those that change the replication factor (KIP-860). NOT_CONTROLLER for the whole; per
//! partition UNKNOWN_TOPIC_OR_PARTITION, INVALID_REPLICA_ASSIGNMENT, INVALID_REPLICATION_FACTOR,
//! NO_REASSIGNMENT_IN_PROGRESS.

use super::access::Access;
use super::error::text;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::Operation;
use crate::cluster::{Moves, ReassignError, Waiter};
use common::kafka::error::ErrorCode;
use common::kafka::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignablePartitionResponse, ReassignableTopic, ReassignableTopicResponse,
};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct AlterPartitionReassignments;

type Outcomes = BTreeMap<(String, i32), Result<(), ReassignError>>;

impl Endpoint for AlterPartitionReassignments {
    type Request = AlterPartitionReassignmentsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    const ACCESS: Access<Self::Request> = Access::Cluster(Operation::Alter, |request, code| {
        let (error_code, error_message) = (code.code(), text(code.message()));
        let partition = |asked: &ReassignablePartition| ReassignablePartitionResponse {
            partition_index: asked.partition_index,
            error_code,
            error_message: error_message.clone(),
        };
        let topic = |asked: &ReassignableTopic| ReassignableTopicResponse {
            name: asked.name.clone(),
            partitions: asked.partitions.iter().map(partition).collect(),
        };
        let responses = request.topics.iter().map(topic).collect();
        AlterPartitionReassignmentsResponse {
            error_code,
            error_message: error_message.clone(),
            allow_replication_factor_change: request.allow_replication_factor_change,
            responses,
            ..Default::default()
        }
    });

    fn handle(
        ctx: &Context<'_>,
        request: AlterPartitionReassignmentsRequest,
    ) -> Reply<AlterPartitionReassignmentsResponse> {
        let version = ctx.version;
        let may_change_factor = request.allow_replication_factor_change;
        let mut wanted = BTreeMap::new();
        for topic in request.topics {
            for partition in topic.partitions {
                wanted.insert((topic.name.clone(), partition.partition_index), partition.replicas);
            }
        }
        let ticket: Ticket<AlterPartitionReassignmentsRequest> = ctx.ticket();
        let done =
            Waiter::new(move |outcomes: Outcomes| ticket.answer(&response(version, may_change_factor, outcomes)));
        let moves = Moves { wanted, may_change_factor };
        let begun =
            ctx.broker.with_cluster(ctx.now, |cluster, effects| cluster.reassign(moves, done, ctx.now, effects));
        match begun {
            Ok(()) => Reply::Parked,
            Err(error) => Reply::Now(AlterPartitionReassignmentsResponse {
                error_code: ErrorCode::from(error).code(),
                error_message: None,
                allow_replication_factor_change: may_change_factor,
                ..Default::default()
            }),
        }
    }
}

fn response(
    version: i16,
    allow_replication_factor_change: bool,
    outcomes: Outcomes,
) -> AlterPartitionReassignmentsResponse {
    let mut responses: Vec<ReassignableTopicResponse> = Vec::new();
    for ((name, partition_index), outcome) in outcomes {
        let (code, error_message) = match &outcome {
            Ok(()) => (ErrorCode::None, None),
            Err(ReassignError::NotInProgress) => {
                let code = outcome_code(&outcome);
                (code, text(code.message().to_owned()))
            }
            Err(ReassignError::NotWritten) => (outcome_code(&outcome), None),
            Err(error) => (error.into(), text(error.to_string())),
        };
        let partition = ReassignablePartitionResponse { partition_index, error_code: code.code(), error_message };
        match responses.last_mut() {
            Some(last) if last.name == name => last.partitions.push(partition),
            _ => responses.push(ReassignableTopicResponse { name, partitions: vec![partition] }),
        }
    }
    AlterPartitionReassignmentsResponse {
        // Kafka with ZooKeeper says nothing in an empty text.
        error_message: (version < 1).then(String::new),
        allow_replication_factor_change,
        responses,
        ..Default::default()
    }
}

fn outcome_code(outcome: &Result<(), ReassignError>) -> ErrorCode {
    outcome.as_ref().map_or_else(ErrorCode::from, |()| ErrorCode::None)
}
