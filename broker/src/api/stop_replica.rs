//! StopReplica (5), versions 0 to 4: the controller takes replicas away, and with `delete` their files. Errors:
//! STALE_CONTROLLER_EPOCH, STALE_BROKER_EPOCH, and by partition FENCED_LEADER_EPOCH, KAFKA_STORAGE_ERROR.

use super::access::Access;
use super::{Context, Endpoint, Reply};
use crate::access::acl::Operation;
use crate::broker::Broker;
use crate::partition::{NO_EPOCH, Stop};
use common::kafka::error::ErrorCode;
use common::kafka::messages::{StopReplicaPartitionError, StopReplicaRequest, StopReplicaResponse};
use common::time::Now;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// See the top of the file.
pub struct StopReplica;

impl Endpoint for StopReplica {
    type Request = StopReplicaRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=4;
    const ACCESS: Access<Self::Request> = Access::Cluster(Operation::ClusterAction, |request, code| {
        let error_code = code.code();
        let error = |stop: Stop| StopReplicaPartitionError {
            topic_name: stop.topic.to_string(),
            partition_index: stop.partition,
            error_code,
        };
        let partition_errors = stops(request.clone()).into_iter().map(error).collect();
        StopReplicaResponse { error_code, partition_errors }
    });

    fn handle(ctx: &Context<'_>, request: StopReplicaRequest) -> Reply<StopReplicaResponse> {
        if let Some(late) = super::overtaken(ctx, request.controller_epoch) {
            return late;
        }
        Reply::Now(apply(ctx.broker, request, ctx.now))
    }
}

/// Gives the replicas up, wherever the controller is.
pub(crate) fn apply(broker: &Arc<Broker>, request: StopReplicaRequest, now: Now) -> StopReplicaResponse {
    let refused = |code: ErrorCode| StopReplicaResponse { error_code: code.code(), ..StopReplicaResponse::default() };
    if super::is_for_earlier_life(broker, request.broker_epoch) {
        return refused(ErrorCode::StaleBrokerEpoch);
    }
    let controller_epoch = request.controller_epoch;
    let stops = stops(request);
    let doomed = broker.remote_of_deleted(&stops);
    let outcomes = broker.with_replicas(now, |replicas, effects| replicas.stop(controller_epoch, &stops, now, effects));
    let outcomes = match outcomes {
        Ok(outcomes) => outcomes,
        Err(error) => return refused(ErrorCode::from(error)),
    };
    broker.doom_remote(&doomed, now);
    let errors = stops.iter().zip(outcomes).map(|(stop, outcome)| StopReplicaPartitionError {
        topic_name: stop.topic.to_string(),
        partition_index: stop.partition,
        error_code: outcome.map_or_else(ErrorCode::from, |()| ErrorCode::None).code(),
    });
    StopReplicaResponse { error_code: 0, partition_errors: errors.collect() }
}

fn stops(request: StopReplicaRequest) -> Vec<Stop> {
    let mut stops = Vec::new();
    let delete = request.delete_partitions;
    for partition in request.ungrouped_partitions {
        let (topic, partition) = (partition.topic_name.into(), partition.partition_index);
        stops.push(Stop { topic, partition, leader_epoch: NO_EPOCH, delete });
    }
    for topic in request.topics {
        let name: Arc<str> = topic.name.into();
        for partition in topic.partition_indexes {
            stops.push(Stop { topic: name.clone(), partition, leader_epoch: NO_EPOCH, delete });
        }
    }
    for topic in request.topic_states {
        let name: Arc<str> = topic.topic_name.into();
        for state in topic.partition_states {
            let (leader_epoch, delete) = (state.leader_epoch, state.delete_partition);
            stops.push(Stop { topic: name.clone(), partition: state.partition_index, leader_epoch, delete });
        }
    }
    stops
}
