//! WriteTxnMarkers (27), versions 0 to 2: a transaction coordinator has the markers written that end transactions (KIP-98).
//! Markers in `__consumer_offsets` go through its groups, which then know the committed offsets. Answered when all are
//! replicated.
//!
//! Errors by partition: UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS, REQUEST_TIMED_OUT,
//! INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED, and what else the log has to say. An answer has one result for
//! each marker of the request, in its order.

use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{CLUSTER_NAME, Operation, ResourceType};
use crate::broker::Broker;
use crate::gathered::Gathered;
use crate::group::OFFSETS_TOPIC;
use crate::journal::StoreError;
use crate::log::{AppendOrigin, Verification};
use crate::partition::waiting::Done;
use crate::partition::{Append, ProduceCall, ProduceError, ProduceOutcome};
use common::kafka::control::{self, TxnMarker};
use common::kafka::error::ErrorCode;
use common::kafka::messages::write_txn_markers::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use common::kafka::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use common::time::Now;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// See the top of the file.
pub struct WriteTxnMarkers;

impl Endpoint for WriteTxnMarkers {
    type Request = WriteTxnMarkersRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(ctx: &Context<'_>, request: WriteTxnMarkersRequest) -> Reply<WriteTxnMarkersResponse> {
        if !ctx.sees(Operation::Alter, ResourceType::Cluster, CLUSTER_NAME)
            && !ctx.may_cluster(Operation::ClusterAction)
        {
            return Reply::Now(refused(&request));
        }
        let ticket: Ticket<WriteTxnMarkersRequest> = ctx.ticket();
        apply(ctx.broker, request, Box::new(move |response| ticket.answer(&response)), ctx.now);
        Reply::Parked
    }
}

fn refused(request: &WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    let error_code = ErrorCode::ClusterAuthorizationFailed.code();
    let partition = |&partition_index: &i32| WritableTxnMarkerPartitionResult { partition_index, error_code };
    let markers = request.markers.iter().map(|marker| WritableTxnMarkerResult {
        producer_id: marker.producer_id,
        topics: marker
            .topics
            .iter()
            .map(|topic| WritableTxnMarkerTopicResult {
                name: topic.name.clone(),
                partitions: topic.partition_indexes.iter().map(partition).collect(),
            })
            .collect(),
    });
    WriteTxnMarkersResponse { markers: markers.collect() }
}

type Then = Box<dyn FnOnce(WriteTxnMarkersResponse) + Send>;

/// Where a result belongs: marker, topic, partition.
type Slot = (usize, usize, usize);

fn put(response: &mut WriteTxnMarkersResponse, (marker, topic, partition): Slot, code: ErrorCode) {
    response.markers[marker].topics[topic].partitions[partition].error_code = code.code();
}

/// Writes the markers; `then` gets the answer, perhaps before this returns. It may send, but must not call a machine.
pub(crate) fn apply(broker: &Arc<Broker>, request: WriteTxnMarkersRequest, then: Then, now: Now) {
    let mut response = WriteTxnMarkersResponse::default();
    // Those of transaction.version 2 are held to a stricter rule.
    let (mut offsets, mut parts, mut slots) = (Vec::new(), [Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for (number, asked) in request.markers.into_iter().enumerate() {
        let marker = TxnMarker {
            producer_id: asked.producer_id,
            producer_epoch: asked.producer_epoch,
            is_commit: asked.transaction_result,
            coordinator_epoch: asked.coordinator_epoch,
        };
        let mut result = WritableTxnMarkerResult { producer_id: asked.producer_id, ..Default::default() };
        for (place, topic) in asked.topics.into_iter().enumerate() {
            let partition = |partition_index| WritableTxnMarkerPartitionResult { partition_index, error_code: 0 };
            let partitions = topic.partition_indexes.iter().copied().map(partition).collect();
            for (at, index) in topic.partition_indexes.into_iter().enumerate() {
                if topic.name == OFFSETS_TOPIC {
                    offsets.push(((number, place, at), index, marker));
                } else if let Ok(records) = control::marker_batch(&marker, 0, -1, now.wall.0) {
                    let topic = topic.name.as_str().into();
                    let kind = usize::from(asked.transaction_version >= 2);
                    parts[kind].push(Append { topic, partition: index, records, verification: Verification::Off });
                    slots[kind].push((number, place, at));
                }
            }
            result.topics.push(WritableTxnMarkerTopicResult { name: topic.name, partitions });
        }
        response.markers.push(result);
    }
    let left = offsets.len() + parts[0].len() + parts[1].len();
    if left == 0 {
        return then(response);
    }
    let gathered = Gathered::new(response, left, then);
    for (slot, partition, marker) in offsets {
        let gathered = gathered.clone();
        let waiter = move |result: Result<(), StoreError>| {
            let code = result.err().map_or(ErrorCode::None, of_offsets);
            gathered.put(|response| put(response, slot, code));
        };
        broker.with_groups(now, |groups, io| groups.write_marker(partition, &marker, Box::new(waiter), io));
    }
    let origins = [AppendOrigin::Coordinator, AppendOrigin::LaterEpochMarker];
    for ((origin, parts), slots) in origins.into_iter().zip(parts).zip(slots) {
        if !parts.is_empty() {
            append(broker, (origin, parts), slots, gathered.clone(), now);
        }
    }
}

fn append(
    broker: &Arc<Broker>,
    (origin, parts): (AppendOrigin, Vec<Append>),
    slots: Vec<Slot>,
    gathered: Gathered<WriteTxnMarkersResponse>,
    now: Now,
) {
    let timeout_ms = u64::try_from(broker.config.request_timeout_ms).unwrap_or(0);
    let call = ProduceCall { acks_all: true, timeout_ms, origin, parts };
    let finish = move |outcomes: Vec<ProduceOutcome>| {
        let code = |error: &ProduceError| match error {
            ProduceError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
            error => ErrorCode::from(error),
        };
        let codes = outcomes.iter().map(|outcome| outcome.as_ref().err().map_or(ErrorCode::None, code));
        gathered.put_many(slots.len(), |response| {
            slots.into_iter().zip(codes).for_each(|(slot, code)| put(response, slot, code));
        });
    };
    let mut finish = Some(finish);
    let outcomes = broker.with_replicas(now, |replicas, effects| {
        let done = || -> Done<ProduceOutcome> { Box::new(finish.take().expect("called once")) };
        replicas.produce(call, done, now, effects)
    });
    if let (Some(outcomes), Some(finish)) = (outcomes, finish) {
        finish(outcomes);
    }
}

/// A coordinator expects the errors of a log.
fn of_offsets(error: StoreError) -> ErrorCode {
    match error {
        StoreError::NotLeader => ErrorCode::NotLeaderOrFollower,
        StoreError::NotEnoughReplicas => ErrorCode::NotEnoughReplicas,
        StoreError::TooLarge => ErrorCode::MessageTooLarge,
        StoreError::Storage => ErrorCode::KafkaStorageError,
        StoreError::TimedOut => ErrorCode::RequestTimedOut,
        StoreError::NotInTransaction => ErrorCode::InvalidTxnState,
        StoreError::FencedProducer => ErrorCode::InvalidProducerEpoch,
        StoreError::FencedCoordinator => ErrorCode::TransactionCoordinatorFenced,
    }
}
