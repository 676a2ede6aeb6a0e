//! OffsetDelete (47), version 0: KIP-496. Answered when the tombstones are replicated. GROUP_SUBSCRIBED_TO_TOPIC for what
//! members read, UNKNOWN_TOPIC_OR_PARTITION for what does not exist; GROUP_ID_NOT_FOUND and NON_EMPTY_GROUP for all.

use super::access::Access;
use super::offset_commit::check_partition;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{Operation, ResourceType};
use crate::group::{CommitResult, GroupError, Place};
use common::kafka::error::ErrorCode;
use common::kafka::messages::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct OffsetDelete;

impl Endpoint for OffsetDelete {
    type Request = OffsetDeleteRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const ACCESS: Access<Self::Request> = Access::Of(
        Operation::Delete,
        ResourceType::Group,
        |request| &request.group_id,
        |_, code| OffsetDeleteResponse { error_code: code.code(), ..Default::default() },
    );

    fn handle(ctx: &Context<'_>, request: OffsetDeleteRequest) -> Reply<OffsetDeleteResponse> {
        let mut places: Vec<Place> = Vec::new();
        let mut response = OffsetDeleteResponse::default();
        {
            let image = ctx.broker.image.read();
            for topic in request.topics {
                let mut partitions = Vec::with_capacity(topic.partitions.len());
                let may_read = ctx.may_topic(Operation::Read, &topic.name);
                for partition in topic.partitions {
                    let error = check_partition(&image, (&topic.name, partition.partition_index), may_read);
                    if error == ErrorCode::None {
                        places.push((topic.name.clone(), partition.partition_index));
                    }
                    partitions.push(OffsetDeleteResponsePartition {
                        partition_index: partition.partition_index,
                        error_code: error.code(),
                    });
                }
                response.topics.push(OffsetDeleteResponseTopic { name: topic.name, partitions });
            }
        }
        let ticket: Ticket<OffsetDeleteRequest> = ctx.ticket();
        let waiter = Box::new(move |result| ticket.answer(&merge(response, result)));
        ctx.broker.with_groups(ctx.now, |groups, io| groups.delete_offsets(&request.group_id, places, waiter, io));
        Reply::Parked
    }
}

fn merge(mut response: OffsetDeleteResponse, result: Result<CommitResult, GroupError>) -> OffsetDeleteResponse {
    let results = match result {
        Ok(results) => results,
        Err(error) => {
            let error_code = ErrorCode::from(error).code();
            return OffsetDeleteResponse { error_code, ..OffsetDeleteResponse::default() };
        }
    };
    let errors: BTreeMap<Place, ErrorCode> =
        results.into_iter().filter_map(|(place, result)| Some((place, ErrorCode::from(result.err()?)))).collect();
    for topic in &mut response.topics {
        for partition in &mut topic.partitions {
            if let Some(error) = errors.get(&(topic.name.clone(), partition.partition_index)) {
                partition.error_code = error.code();
            }
        }
    }
    response
}
