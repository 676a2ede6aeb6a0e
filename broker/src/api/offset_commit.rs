//! OffsetCommit (8), versions 0 to 10: KIP-98, 211, 320, 345, 848. Answered when the offsets are replicated. Version 10
//! names topics by id (UNKNOWN_TOPIC_ID). Unknown partitions get UNKNOWN_TOPIC_OR_PARTITION, long metadata
//! OFFSET_METADATA_TOO_LARGE, the others share the group's error; a member of a group that is gone ILLEGAL_GENERATION, in
//! version 10 GROUP_ID_NOT_FOUND. Version 0, which Kafka keeps in ZooKeeper, is kept
//! with all others here: nobody reads those znodes any more.

use super::access::Access;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{Operation, ResourceType};
use crate::cluster::image::Image;
use crate::group::records::OffsetValue;
use crate::group::{CommitInput, CommitResult, GroupError, Place, Sender};
use crate::log::Verification;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitResponse, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// First version in which a group that is gone is GROUP_ID_NOT_FOUND: only Kafkas with the new coordinator have it.
const NOT_FOUND_FROM: i16 = 10;

/// See the top of the file.
pub struct OffsetCommit;

impl Endpoint for OffsetCommit {
    type Request = OffsetCommitRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=10;

    const ACCESS: Access<Self::Request> =
        Access::Of(Operation::Read, ResourceType::Group, |request| &request.group_id, refused);

    fn handle(ctx: &Context<'_>, mut request: OffsetCommitRequest) -> Reply<OffsetCommitResponse> {
        let mut response = OffsetCommitResponse::default();
        let mut offsets = Vec::new();
        let retention_ms = Some(request.retention_time_ms).filter(|ms| *ms != -1);
        {
            let image = ctx.broker.image.read();
            for topic in &mut request.topics {
                let by_id = ctx.version >= 10;
                if by_id {
                    topic.name = image.topic_name(topic.topic_id).unwrap_or_default().to_owned();
                }
                let may_read = topic.name.is_empty() || ctx.may_topic(Operation::Read, &topic.name);
                let mut answered = OffsetCommitResponseTopic {
                    name: topic.name.clone(),
                    topic_id: topic.topic_id,
                    partitions: Vec::new(),
                };
                for partition in std::mem::take(&mut topic.partitions) {
                    let error = match by_id && topic.name.is_empty() {
                        true => ErrorCode::UnknownTopicId,
                        false => check_partition(&image, (&topic.name, partition.partition_index), may_read),
                    };
                    answered.partitions.push(OffsetCommitResponsePartition {
                        partition_index: partition.partition_index,
                        error_code: error.code(),
                    });
                    if error == ErrorCode::None {
                        let place = (topic.name.clone(), partition.partition_index);
                        offsets.push((place, value(partition, ctx.now.wall.0, retention_ms)));
                    }
                }
                response.topics.push(answered);
            }
        }
        if offsets.is_empty() {
            return Reply::Now(response);
        }
        let ticket: Ticket<OffsetCommitRequest> = ctx.ticket();
        let input = CommitInput {
            group_id: request.group_id,
            sender: Sender {
                member_id: request.member_id,
                instance_id: request.group_instance_id,
                generation: request.generation_id_or_member_epoch,
            },
            producer: None,
            verification: Verification::Off,
            knows_member_epochs: ctx.version >= 9,
            offsets,
        };
        let waiter = Box::new(move |results| {
            let response = merge(response, results, ticket.version());
            ticket.answer(&response);
        });
        ctx.broker.with_groups(ctx.now, |groups, io| groups.commit(input, waiter, io));
        Reply::Parked
    }
}

/// The same for every partition.
fn refused(request: &OffsetCommitRequest, code: ErrorCode) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: code.code(),
            })
            .collect(),
    });
    OffsetCommitResponse { topics: topics.collect(), ..OffsetCommitResponse::default() }
}

/// Whether offsets of a partition may be kept: NONE, or the error it gets.
pub(super) fn check_partition(image: &Image, (topic, partition): (&str, i32), may_read: bool) -> ErrorCode {
    if !may_read {
        ErrorCode::TopicAuthorizationFailed
    } else if image.partition(topic, partition).is_none() {
        ErrorCode::UnknownTopicOrPartition
    } else {
        ErrorCode::None
    }
}

fn value(partition: OffsetCommitRequestPartition, now_ms: i64, retention_ms: Option<i64>) -> OffsetValue {
    OffsetValue {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.unwrap_or_default(),
        commit_timestamp: if partition.commit_timestamp == -1 { now_ms } else { partition.commit_timestamp },
        expire_timestamp: retention_ms.map(|ms| now_ms.saturating_add(ms)),
    }
}

/// Puts each result in the place that waits for it.
fn merge(mut response: OffsetCommitResponse, results: CommitResult, version: i16) -> OffsetCommitResponse {
    let code = |error: GroupError| match error {
        // A group that is gone: consumers of the classic protocol join again after this one alone, and those of the new one
        // take both for the same failure. It is what Kafka 3.9 with ZooKeeper answers.
        GroupError::NotFound if version < NOT_FOUND_FROM => ErrorCode::IllegalGeneration,
        error => ErrorCode::from(error),
    };
    let errors: BTreeMap<Place, ErrorCode> =
        results.into_iter().filter_map(|(place, result)| Some((place, code(result.err()?)))).collect();
    for topic in &mut response.topics {
        for partition in &mut topic.partitions {
            if let Some(error) = errors.get(&(topic.name.clone(), partition.partition_index)) {
                partition.error_code = error.code();
            }
        }
    }
    response
}
