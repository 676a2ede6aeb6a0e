//! ListPartitionReassignments (46, KIP-455), version 0: moves under way, as the controller knows them. NOT_CONTROLLER
//! elsewhere.

use super::access::Access;
use super::error::text;
use super::{Context, Endpoint, Reply};
use crate::access::acl::Operation;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, ListPartitionReassignmentsTopics,
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct ListPartitionReassignments;

impl Endpoint for ListPartitionReassignments {
    type Request = ListPartitionReassignmentsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const ACCESS: Access<Self::Request> = Access::Cluster(Operation::Describe, |request, code| {
        // As Kafka: what was asked for, with nothing in it.
        let partition = |&partition_index: &i32| OngoingPartitionReassignment { partition_index, ..Default::default() };
        let topic = |asked: &ListPartitionReassignmentsTopics| OngoingTopicReassignment {
            name: asked.name.clone(),
            partitions: asked.partition_indexes.iter().map(partition).collect(),
        };
        ListPartitionReassignmentsResponse {
            error_code: code.code(),
            error_message: text(code.message()),
            topics: request.topics.iter().flatten().map(topic).collect(),
            ..Default::default()
        }
    });

    fn handle(
        ctx: &Context<'_>,
        request: ListPartitionReassignmentsRequest,
    ) -> Reply<ListPartitionReassignmentsResponse> {
        let of: Option<Vec<(String, i32)>> = request.topics.map(|topics| {
            let mut partitions = Vec::new();
            for topic in topics {
                partitions.extend(topic.partition_indexes.into_iter().map(|partition| (topic.name.clone(), partition)));
            }
            partitions.sort();
            partitions
        });
        let ongoing = match ctx.broker.cluster.reassignments(of.as_deref()) {
            Ok(ongoing) => ongoing,
            Err(error) => {
                return Reply::Now(ListPartitionReassignmentsResponse {
                    error_code: ErrorCode::from(error).code(),
                    error_message: None,
                    ..Default::default()
                });
            }
        };
        let mut topics: Vec<OngoingTopicReassignment> = Vec::new();
        for reassignment in ongoing {
            let (name, partition_index) = reassignment.partition;
            let partition = OngoingPartitionReassignment {
                partition_index,
                replicas: reassignment.assignment.replicas,
                adding_replicas: reassignment.assignment.adding,
                removing_replicas: reassignment.assignment.removing,
            };
            match topics.last_mut() {
                Some(last) if last.name == name => last.partitions.push(partition),
                _ => topics.push(OngoingTopicReassignment { name, partitions: vec![partition] }),
            }
        }
        Reply::Now(ListPartitionReassignmentsResponse {
            error_message: Some(String::new()),
            topics,
            ..Default::default()
        })
    }
}
