//! DescribeProducers (61), version 0: what a partition knows of its producers, among them open transactions (KIP-664).
//! Errors by partition: INVALID_TOPIC_EXCEPTION, UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER.

use super::{Context, Endpoint, Reply};
use crate::access::acl::Operation;
use crate::cluster::topic_name;
use common::kafka::error::ErrorCode;
use common::kafka::messages::describe_producers::{PartitionResponse, ProducerState, TopicResponse};
use common::kafka::messages::{DescribeProducersRequest, DescribeProducersResponse};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct DescribeProducers;

impl Endpoint for DescribeProducers {
    type Request = DescribeProducersRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(ctx: &Context<'_>, request: DescribeProducersRequest) -> Reply<DescribeProducersResponse> {
        let topics = request.topics.into_iter().map(|topic| TopicResponse {
            partitions: topic.partition_indexes.iter().map(|index| describe(ctx, &topic.name, *index)).collect(),
            name: topic.name,
        });
        Reply::Now(DescribeProducersResponse { topics: topics.collect(), ..Default::default() })
    }
}

fn describe(ctx: &Context<'_>, topic: &str, partition_index: i32) -> PartitionResponse {
    if let Err(error) = topic_name::validate(topic) {
        let (error_code, error_message) = (ErrorCode::InvalidTopicException.code(), Some(error.to_string()));
        return PartitionResponse { partition_index, error_code, error_message, ..Default::default() };
    }
    if !ctx.may_topic(Operation::Read, topic) {
        let error = ErrorCode::TopicAuthorizationFailed;
        let (error_code, error_message) = (error.code(), Some(error.message().to_owned()));
        return PartitionResponse { partition_index, error_code, error_message, ..Default::default() };
    }
    let is_known = ctx.broker.image.read().partition_count(topic).is_some();
    let producers = match ctx.broker.replicas.get(topic, partition_index) {
        Some(held) => held.producers().ok_or(ErrorCode::NotLeaderOrFollower),
        None if ctx.broker.image.read().partition(topic, partition_index).is_some() => {
            Err(ErrorCode::NotLeaderOrFollower)
        }
        None => Err(ErrorCode::UnknownTopicOrPartition),
    };
    match producers {
        Err(error) => PartitionResponse {
            partition_index,
            error_code: error.code(),
            // Kafka 3.9 has no words for a partition of a topic that it knows.
            error_message: (!is_known).then(|| error.message().to_owned()),
            ..Default::default()
        },
        Ok(producers) => {
            let active_producers = producers
                .into_iter()
                .map(|producer| ProducerState {
                    producer_id: producer.producer_id,
                    producer_epoch: i32::from(producer.epoch),
                    last_sequence: producer.last_sequence(),
                    last_timestamp: producer.last_timestamp,
                    coordinator_epoch: producer.coordinator_epoch,
                    current_txn_start_offset: producer.txn_first_offset.unwrap_or(-1),
                })
                .collect();
            PartitionResponse { partition_index, active_producers, ..Default::default() }
        }
    }
}
