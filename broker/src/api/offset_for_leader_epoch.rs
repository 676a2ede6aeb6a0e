//! OffsetForLeaderEpoch (23), versions 0 to 4: where a leader epoch ended, so that followers (KIP-101, KIP-279) and
//! consumers (KIP-320) find out what of theirs was cut off. Only the leader answers.
//!
//! Errors by partition: UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH,
//! KAFKA_STORAGE_ERROR. An epoch that is not known gives epoch and offset -1.

use super::{Context, Endpoint, Reply};
use crate::access::acl::{CLUSTER_NAME, Operation, ResourceType};
use crate::partition::{Asker, ReadError};
use common::kafka::error::ErrorCode;
use common::kafka::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderPartition, OffsetForLeaderTopicResult,
};
use common::kafka::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct OffsetForLeaderEpoch;

impl Endpoint for OffsetForLeaderEpoch {
    type Request = OffsetForLeaderEpochRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=4;

    fn handle(ctx: &Context<'_>, request: OffsetForLeaderEpochRequest) -> Reply<OffsetForLeaderEpochResponse> {
        let is_broker = ctx.sees(Operation::ClusterAction, ResourceType::Cluster, CLUSTER_NAME);
        let topics = request.topics.into_iter().map(|topic| {
            let may_see = is_broker || ctx.may_topic(Operation::Describe, &topic.topic);
            let refused = |asked: &OffsetForLeaderPartition| EpochEndOffset {
                partition: asked.partition,
                error_code: ErrorCode::TopicAuthorizationFailed.code(),
                ..EpochEndOffset::default()
            };
            let one = |asked| if may_see { end(ctx, &topic.topic, asked) } else { refused(asked) };
            let partitions = topic.partitions.iter().map(one).collect();
            OffsetForLeaderTopicResult { topic: topic.topic, partitions }
        });
        Reply::Now(OffsetForLeaderEpochResponse { topics: topics.collect(), ..OffsetForLeaderEpochResponse::default() })
    }
}

fn end(ctx: &Context<'_>, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let epoch = asked.current_leader_epoch;
    let asker = Asker { current_leader_epoch: (epoch >= 0).then_some(epoch), only_leader: true };
    let end = match ctx.broker.replicas.get(topic, asked.partition) {
        Some(held) => held.epoch_end(asker, asked.leader_epoch),
        None if ctx.broker.image.read().partition(topic, asked.partition).is_some() => {
            Err(ReadError::NotLeaderOrFollower)
        }
        None => Err(ReadError::UnknownPartition),
    };
    let response = EpochEndOffset { partition: asked.partition, ..EpochEndOffset::default() };
    match end {
        Ok(Some((leader_epoch, end_offset))) => EpochEndOffset { leader_epoch, end_offset, ..response },
        Ok(None) => response,
        Err(error) => EpochEndOffset { error_code: ErrorCode::from(error).code(), ..response },
    }
}
