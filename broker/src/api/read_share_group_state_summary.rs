//! ReadShareGroupStateSummary (87, KIP-932), versions 0 to 1: where a group stands in share partitions; start offset -1 where nothing is known.
//! Errors by partition: INVALID_REQUEST, UNKNOWN_TOPIC_OR_PARTITION, NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS,
//! COORDINATOR_NOT_AVAILABLE.

use super::access::Access;
use super::share_state::{self, Answered};
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::Operation;
use crate::share::StateRequest;
use common::kafka::messages::read_share_group_state_summary::{PartitionResult, ReadStateSummaryResult};
use common::kafka::messages::{ReadShareGroupStateSummaryRequest, ReadShareGroupStateSummaryResponse};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct ReadShareGroupStateSummary;

impl Endpoint for ReadShareGroupStateSummary {
    type Request = ReadShareGroupStateSummaryRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    const ACCESS: Access<Self::Request> = Access::Cluster(Operation::ClusterAction, |request, code| {
        let (error_code, error_message) = share_state::refused(code);
        let partition = |partition: i32| PartitionResult {
            partition,
            error_code,
            error_message: error_message.clone(),
            ..PartitionResult::default()
        };
        let result = |topic: &common::kafka::messages::read_share_group_state_summary::ReadStateSummaryData| {
            ReadStateSummaryResult {
                topic_id: topic.topic_id,
                partitions: topic.partitions.iter().map(|one| partition(one.partition)).collect(),
            }
        };
        ReadShareGroupStateSummaryResponse { results: request.topics.iter().map(result).collect() }
    });
    // Nothing that comes behind it on its connection is about what it says before it is answered.
    const LETS_PASS: bool = true;

    fn handle(
        ctx: &Context<'_>,
        request: ReadShareGroupStateSummaryRequest,
    ) -> Reply<ReadShareGroupStateSummaryResponse> {
        let mut asked = Vec::new();
        for topic in &request.topics {
            for one in &topic.partitions {
                asked.push((topic.topic_id, one.partition, StateRequest::Summarize));
            }
        }
        let ticket: Ticket<ReadShareGroupStateSummaryRequest> = ctx.ticket();
        share_state::ask(ctx, &request.group_id, asked, move |answers| {
            let topics = share_state::by_topic(answers, answer).into_iter();
            let results =
                topics.map(|(topic_id, partitions)| ReadStateSummaryResult { topic_id, partitions }).collect();
            ticket.answer(&ReadShareGroupStateSummaryResponse { results });
        });
        Reply::Parked
    }
}

fn answer((_, partition, result): Answered) -> PartitionResult {
    let (error_code, error_message) = share_state::told(&result);
    let is_known = result.is_ok();
    let state = result.unwrap_or_default();
    PartitionResult {
        partition,
        error_code,
        error_message,
        state_epoch: state.state_epoch,
        leader_epoch: state.leader_epoch,
        start_offset: if is_known { state.start_offset } else { 0 },
        delivery_complete_count: state.delivery_complete_count,
    }
}
