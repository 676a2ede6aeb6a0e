//! DeleteRecords (21), versions 0 to 2: moves the start of partitions forward (KIP-107), to the high watermark with offset
//! -1. Answered when all live replicas have done it, or the time is up.
//!
//! Errors by partition: UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER, OFFSET_OUT_OF_RANGE, POLICY_VIOLATION (the topic
//! is only compacted), INVALID_TOPIC_EXCEPTION (internal topic), REQUEST_TIMED_OUT, KAFKA_STORAGE_ERROR.

use super::{Context, Endpoint, Reply};
use crate::access::acl::Operation;
use crate::partition::{DeleteOutcome, is_internal, waiting::Done};
use common::kafka::error::ErrorCode;
use common::kafka::messages::delete_records::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use common::kafka::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Low watermark of a partition that has none.
const NO_LOW_WATERMARK: i64 = -1;

/// See the top of the file.
pub struct DeleteRecords;

impl Endpoint for DeleteRecords {
    type Request = DeleteRecordsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(ctx: &Context<'_>, request: DeleteRecordsRequest) -> Reply<DeleteRecordsResponse> {
        let timeout_ms = u64::try_from(request.timeout_ms).unwrap_or(0);
        let (mut answer, parts) = sort(ctx, request);
        let outcomes = ctx.broker.with_replicas(ctx.now, |replicas, effects| {
            let done = || -> Done<DeleteOutcome> {
                let (ticket, answer) = (ctx.ticket::<DeleteRecordsRequest>(), std::mem::take(&mut answer));
                Box::new(move |outcomes| ticket.answer(&fill(answer, outcomes)))
            };
            replicas.delete_records(&parts, timeout_ms, done, (ctx.now, effects))
        });
        match outcomes {
            Some(outcomes) => Reply::Now(fill(answer, outcomes)),
            None => Reply::Parked,
        }
    }
}

/// Topics with their partitions; those without an error code of their own get the outcomes, in order.
type Answer = Vec<(Arc<str>, Vec<(i32, Option<ErrorCode>)>)>;

fn sort(ctx: &Context<'_>, request: DeleteRecordsRequest) -> (Answer, Vec<(Arc<str>, i32, i64)>) {
    let image = ctx.broker.image.read();
    let mut parts = Vec::new();
    let mut answer = Vec::new();
    for topic in request.topics {
        let name: Arc<str> = topic.name.into();
        let mut partitions = Vec::new();
        let may_delete = ctx.may_topic(Operation::Delete, &name);
        for partition in topic.partitions {
            let index = partition.partition_index;
            let code = if !may_delete {
                Some(ErrorCode::TopicAuthorizationFailed)
            } else if image.partition(&name, index).is_none() {
                Some(ErrorCode::UnknownTopicOrPartition)
            } else if is_internal(&name) {
                Some(ErrorCode::InvalidTopicException)
            } else if ctx.broker.replicas.get(&name, index).is_none() {
                Some(ErrorCode::NotLeaderOrFollower)
            } else {
                parts.push((name.clone(), index, partition.offset));
                None
            };
            partitions.push((index, code));
        }
        answer.push((name, partitions));
    }
    (answer, parts)
}

fn fill(answer: Answer, outcomes: Vec<DeleteOutcome>) -> DeleteRecordsResponse {
    let mut outcomes = outcomes.into_iter();
    let mut result = |(partition_index, code): (i32, Option<ErrorCode>)| {
        let (low_watermark, code) = match (code, code.map_or_else(|| outcomes.next(), |_| None)) {
            (Some(code), _) => (NO_LOW_WATERMARK, code),
            (None, Some(Ok(low_watermark))) => (low_watermark, ErrorCode::None),
            (None, Some(Err(error))) => (NO_LOW_WATERMARK, ErrorCode::from(error)),
            (None, None) => (NO_LOW_WATERMARK, ErrorCode::UnknownServerError),
        };
        DeleteRecordsPartitionResult { partition_index, low_watermark, error_code: code.code() }
    };
    let topics = answer.into_iter().map(|(name, partitions)| DeleteRecordsTopicResult {
        name: name.to_string(),
        partitions: partitions.into_iter().map(&mut result).collect(),
    });
    DeleteRecordsResponse { topics: topics.collect(), ..DeleteRecordsResponse::default() }
}
