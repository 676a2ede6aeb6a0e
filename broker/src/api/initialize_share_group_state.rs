//! InitializeShareGroupState (83, KIP-932), versions 0: a group's coordinator begins the state of share partitions, or begins it anew.
//! Errors by partition: INVALID_REQUEST, FENCED_STATE_EPOCH, UNKNOWN_TOPIC_OR_PARTITION, NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS,
//! COORDINATOR_NOT_AVAILABLE.

use super::access::Access;
use super::share_state::{self, Answered};
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::Operation;
use crate::share::StateRequest;
use common::kafka::messages::initialize_share_group_state::{InitializeStateResult, PartitionResult};
use common::kafka::messages::{InitializeShareGroupStateRequest, InitializeShareGroupStateResponse};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct InitializeShareGroupState;

impl Endpoint for InitializeShareGroupState {
    type Request = InitializeShareGroupStateRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const ACCESS: Access<Self::Request> = Access::Cluster(Operation::ClusterAction, |request, code| {
        let (error_code, error_message) = share_state::refused(code);
        let partition =
            |partition: i32| PartitionResult { partition, error_code, error_message: error_message.clone() };
        let result = |topic: &common::kafka::messages::initialize_share_group_state::InitializeStateData| {
            InitializeStateResult {
                topic_id: topic.topic_id,
                partitions: topic.partitions.iter().map(|one| partition(one.partition)).collect(),
            }
        };
        InitializeShareGroupStateResponse { results: request.topics.iter().map(result).collect() }
    });
    // Nothing that comes behind it on its connection is about what it says before it is answered.
    const LETS_PASS: bool = true;

    fn handle(
        ctx: &Context<'_>,
        request: InitializeShareGroupStateRequest,
    ) -> Reply<InitializeShareGroupStateResponse> {
        let mut asked = Vec::new();
        for topic in &request.topics {
            for one in &topic.partitions {
                asked.push((
                    topic.topic_id,
                    one.partition,
                    StateRequest::Initialize { state_epoch: one.state_epoch, start_offset: one.start_offset },
                ));
            }
        }
        let ticket: Ticket<InitializeShareGroupStateRequest> = ctx.ticket();
        share_state::ask(ctx, &request.group_id, asked, move |answers| {
            let topics = share_state::by_topic(answers, answer).into_iter();
            let results = topics.map(|(topic_id, partitions)| InitializeStateResult { topic_id, partitions }).collect();
            ticket.answer(&InitializeShareGroupStateResponse { results });
        });
        Reply::Parked
    }
}

fn answer((_, partition, result): Answered) -> PartitionResult {
    let (error_code, error_message) = share_state::told(&result);
    PartitionResult { partition, error_code, error_message }
}
