//! ReadShareGroupState (84, KIP-932), versions 0: a leader takes over the state of share partitions; earlier leaders are fenced from then on.
//! Errors by partition: INVALID_REQUEST for a share partition of which nothing is known, FENCED_LEADER_EPOCH, UNKNOWN_TOPIC_OR_PARTITION, NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS,
//! COORDINATOR_NOT_AVAILABLE.

use super::access::Access;
use super::share_state::{self, Answered};
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::Operation;
use crate::share::{StateRequest, batches_wire};
use common::kafka::messages::read_share_group_state::{PartitionResult, ReadStateResult};
use common::kafka::messages::{ReadShareGroupStateRequest, ReadShareGroupStateResponse};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct ReadShareGroupState;

impl Endpoint for ReadShareGroupState {
    type Request = ReadShareGroupStateRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const ACCESS: Access<Self::Request> = Access::Cluster(Operation::ClusterAction, |request, code| {
        let (error_code, error_message) = share_state::refused(code);
        let partition = |partition: i32| PartitionResult {
            partition,
            error_code,
            error_message: error_message.clone(),
            ..PartitionResult::default()
        };
        let result = |topic: &common::kafka::messages::read_share_group_state::ReadStateData| ReadStateResult {
            topic_id: topic.topic_id,
            partitions: topic.partitions.iter().map(|one| partition(one.partition)).collect(),
        };
        ReadShareGroupStateResponse { results: request.topics.iter().map(result).collect() }
    });
    // Nothing that comes behind it on its connection is about what it says before it is answered.
    const LETS_PASS: bool = true;

    fn handle(ctx: &Context<'_>, request: ReadShareGroupStateRequest) -> Reply<ReadShareGroupStateResponse> {
        let mut asked = Vec::new();
        for topic in &request.topics {
            for one in &topic.partitions {
                asked.push((topic.topic_id, one.partition, StateRequest::Read { leader_epoch: one.leader_epoch }));
            }
        }
        let ticket: Ticket<ReadShareGroupStateRequest> = ctx.ticket();
        share_state::ask(ctx, &request.group_id, asked, move |answers| {
            let topics = share_state::by_topic(answers, answer).into_iter();
            let results = topics.map(|(topic_id, partitions)| ReadStateResult { topic_id, partitions }).collect();
            ticket.answer(&ReadShareGroupStateResponse { results });
        });
        Reply::Parked
    }
}

fn answer((_, partition, result): Answered) -> PartitionResult {
    let (error_code, error_message) = share_state::told(&result);
    let state = result.unwrap_or_default();
    let is_known = error_code == 0;
    PartitionResult {
        partition,
        error_code,
        error_message,
        state_epoch: state.state_epoch,
        start_offset: if is_known { state.start_offset } else { 0 },
        state_batches: batches_wire::to_read(&state.batches),
    }
}
