//! WriteShareGroupState (85, KIP-932), versions 0 to 1: a leader tells what became of records.
//! Errors by partition: INVALID_REQUEST for a share partition of which nothing is known, FENCED_LEADER_EPOCH, FENCED_STATE_EPOCH, UNKNOWN_TOPIC_OR_PARTITION, NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS,
//! COORDINATOR_NOT_AVAILABLE.

use super::access::Access;
use super::share_state::{self, Answered};
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::Operation;
use crate::share::coordinator::StateWrite;
use crate::share::{StateRequest, batches_wire};
use common::kafka::messages::write_share_group_state::{PartitionData, PartitionResult, WriteStateResult};
use common::kafka::messages::{WriteShareGroupStateRequest, WriteShareGroupStateResponse};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct WriteShareGroupState;

impl Endpoint for WriteShareGroupState {
    type Request = WriteShareGroupStateRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    const ACCESS: Access<Self::Request> = Access::Cluster(Operation::ClusterAction, |request, code| {
        let (error_code, error_message) = share_state::refused(code);
        let partition =
            |partition: i32| PartitionResult { partition, error_code, error_message: error_message.clone() };
        let result = |topic: &common::kafka::messages::write_share_group_state::WriteStateData| WriteStateResult {
            topic_id: topic.topic_id,
            partitions: topic.partitions.iter().map(|one| partition(one.partition)).collect(),
        };
        WriteShareGroupStateResponse { results: request.topics.iter().map(result).collect() }
    });
    // Nothing that comes behind it on its connection is about what it says before it is answered.
    const LETS_PASS: bool = true;

    fn handle(ctx: &Context<'_>, request: WriteShareGroupStateRequest) -> Reply<WriteShareGroupStateResponse> {
        let mut asked = Vec::new();
        for topic in &request.topics {
            for one in &topic.partitions {
                asked.push((topic.topic_id, one.partition, write(one)));
            }
        }
        let ticket: Ticket<WriteShareGroupStateRequest> = ctx.ticket();
        share_state::ask(ctx, &request.group_id, asked, move |answers| {
            let topics = share_state::by_topic(answers, answer).into_iter();
            let results = topics.map(|(topic_id, partitions)| WriteStateResult { topic_id, partitions }).collect();
            ticket.answer(&WriteShareGroupStateResponse { results });
        });
        Reply::Parked
    }
}

fn write(one: &PartitionData) -> StateRequest {
    StateRequest::Write(StateWrite {
        state_epoch: one.state_epoch,
        leader_epoch: one.leader_epoch,
        start_offset: one.start_offset,
        delivery_complete_count: one.delivery_complete_count,
        batches: batches_wire::from_write(&one.state_batches),
    })
}

fn answer((_, partition, result): Answered) -> PartitionResult {
    let (error_code, error_message) = share_state::told(&result);
    PartitionResult { partition, error_code, error_message }
}
