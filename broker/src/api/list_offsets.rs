//! ListOffsets (2), versions 1 to 11: the first offset, the end that a reader may see, the record with the largest
//! timestamp (KIP-734), or the first one of a time. Version 0, which lists segments, is not served. Of topics with tiered
//! storage (KIP-405) also the first offset that is on the broker, the last one in the remote store and the first one that is
//! still to be copied (KIP-1023), and times are looked for there first; the largest timestamp is that of what is on the
//! broker, as in Kafka 3.9.
//!
//! Errors by partition: UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH,
//! OFFSET_NOT_AVAILABLE (LEADER_NOT_AVAILABLE before version 5), UNSUPPORTED_VERSION (a negative timestamp that the
//! version does not know), INVALID_REQUEST (a partition named twice), KAFKA_STORAGE_ERROR.

use super::{Context, Endpoint, Reply};
use crate::access::acl::Operation;
use crate::log::TimestampedOffset;
use crate::partition::{Asker, FoundOffset, Isolation, OffsetQuery, ReadError, RemoteView};
use crate::tiering::Crew;
use common::kafka::error::ErrorCode;
use common::kafka::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use common::kafka::messages::{ListOffsetsRequest, ListOffsetsResponse};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Replica id of a consumer.
const CONSUMER: i32 = -1;
/// Replica id of a debugging tool, which any replica answers.
const DEBUGGER: i32 = -2;
/// First version that knows OFFSET_NOT_AVAILABLE (KIP-207).
const NOT_AVAILABLE_FROM: i16 = 5;
/// First version that tells the leader epoch.
const EPOCH_FROM: i16 = 4;

/// See the top of the file.
pub struct ListOffsets;

impl Endpoint for ListOffsets {
    type Request = ListOffsetsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=11;

    fn handle(ctx: &Context<'_>, request: ListOffsetsRequest) -> Reply<ListOffsetsResponse> {
        let isolation = match (request.replica_id, request.isolation_level) {
            (CONSUMER, 1) => Some(Isolation::Committed),
            (CONSUMER, _) => Some(Isolation::HighWatermark),
            _ => None,
        };
        let only_leader = request.replica_id != DEBUGGER;
        let mut seen = BTreeSet::new();
        let mut twice = BTreeSet::new();
        for topic in &request.topics {
            for partition in &topic.partitions {
                if !seen.insert((topic.name.as_str(), partition.partition_index)) {
                    twice.insert((topic.name.clone(), partition.partition_index));
                }
            }
        }
        let mut remote = Vec::new();
        let topics = request.topics.into_iter().enumerate().map(|(topic_number, topic)| {
            let may_see = ctx.may_topic(Operation::Describe, &topic.name);
            let partitions = topic.partitions.iter().enumerate().map(|(number, partition)| {
                let is_twice = twice.contains(&(topic.name.clone(), partition.partition_index));
                let found = if !may_see {
                    Err(ErrorCode::TopicAuthorizationFailed)
                } else if is_twice {
                    Err(ErrorCode::InvalidRequest)
                } else {
                    find(ctx, &topic.name, partition, (isolation, only_leader))
                };
                if found.is_ok()
                    && partition.timestamp >= 0
                    && let Some(view) = remote_view(ctx, &topic.name, partition.partition_index)
                {
                    remote.push(Remote { topic_number, number, timestamp: partition.timestamp, view });
                }
                respond(ctx.version, partition.partition_index, found)
            });
            ListOffsetsTopicResponse { partitions: partitions.collect(), name: topic.name.clone() }
        });
        let response = ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() };
        if remote.is_empty() { Reply::Now(response) } else { look_in_store(ctx, response, remote) }
    }
}

/// A time that is to be looked for in the remote store.
struct Remote {
    topic_number: usize,
    number: usize,
    timestamp: i64,
    view: RemoteView,
}

fn remote_view(ctx: &Context<'_>, topic: &str, partition: i32) -> Option<RemoteView> {
    ctx.broker.tiering.on()?;
    ctx.broker.replicas.get(topic, partition)?.remote_view()
}

/// What the store has comes before what was found here.
fn look_in_store(ctx: &Context<'_>, response: ListOffsetsResponse, remote: Vec<Remote>) -> Reply<ListOffsetsResponse> {
    let (broker, ticket, version) = (ctx.broker.clone(), ctx.ticket::<ListOffsetsRequest>(), ctx.version);
    // Shared, so that it can be answered if it is refused.
    let shared = Arc::new(Mutex::new(Some((ticket, response, remote))));
    let mine = shared.clone();
    let job = move |_| {
        let Some((ticket, mut response, remote)) = mine.lock().take() else { return };
        for Remote { topic_number, number, timestamp, view } in remote {
            let partition = &mut response.topics[topic_number].partitions[number];
            let found = broker.remote_offset_for_timestamp(&view, timestamp);
            match found.map_err(ErrorCode::from) {
                Ok(None) => {}
                Ok(Some(TimestampedOffset { timestamp, offset, leader_epoch })) => {
                    let leader_epoch = Some(leader_epoch).filter(|epoch| *epoch >= 0);
                    let found = FoundOffset { timestamp, offset, leader_epoch };
                    *partition = respond(version, partition.partition_index, Ok(Some(found)));
                }
                Err(code) => *partition = respond(version, partition.partition_index, Err(code)),
            }
        }
        ticket.answer(&response);
    };
    if ctx.broker.hand_to(Crew::Readers, Box::new(job)).is_err()
        && let Some((ticket, mut response, remote)) = shared.lock().take()
    {
        tracing::warn!("too many reads wait for the remote store");
        for Remote { topic_number, number, .. } in remote {
            let partition = &mut response.topics[topic_number].partitions[number];
            *partition = respond(version, partition.partition_index, Err(ErrorCode::from(ReadError::RemoteStore)));
        }
        ticket.answer(&response);
    }
    Reply::Parked
}

fn find(
    ctx: &Context<'_>,
    topic: &str,
    partition: &ListOffsetsPartition,
    (isolation, only_leader): (Option<Isolation>, bool),
) -> Result<Option<FoundOffset>, ErrorCode> {
    let query = match (partition.timestamp, ctx.version) {
        (-1, _) => OffsetQuery::Latest,
        (-2, _) => OffsetQuery::Earliest,
        (-4, 8..) => OffsetQuery::EarliestLocal,
        (-3, 7..) => OffsetQuery::MaxTimestamp,
        (-5, 9..) => OffsetQuery::LatestTiered,
        (-6, 11..) => OffsetQuery::EarliestPendingUpload,
        (..0, _) => return Err(ErrorCode::UnsupportedVersion),
        (timestamp, _) => OffsetQuery::Timestamp(timestamp),
    };
    let epoch = partition.current_leader_epoch;
    let asker = Asker { current_leader_epoch: (epoch >= 0).then_some(epoch), only_leader };
    let index = partition.partition_index;
    let found = match ctx.broker.replicas.get(topic, index) {
        Some(held) => held.find_offset(asker, query, isolation),
        None if ctx.broker.image.read().partition(topic, index).is_some() => Err(ReadError::NotLeaderOrFollower),
        None => Err(ReadError::UnknownPartition),
    };
    found.map_err(|error| match error {
        ReadError::OffsetNotAvailable if ctx.version < NOT_AVAILABLE_FROM => ErrorCode::LeaderNotAvailable,
        error => ErrorCode::from(error),
    })
}

fn respond(
    version: i16,
    partition_index: i32,
    found: Result<Option<FoundOffset>, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse { partition_index, ..ListOffsetsPartitionResponse::default() };
    match found {
        Ok(Some(found)) => ListOffsetsPartitionResponse {
            timestamp: found.timestamp,
            offset: found.offset,
            leader_epoch: found.leader_epoch.filter(|_| version >= EPOCH_FROM).unwrap_or(-1),
            ..response
        },
        Ok(None) => response,
        Err(code) => ListOffsetsPartitionResponse { error_code: code.code(), ..response },
    }
}
