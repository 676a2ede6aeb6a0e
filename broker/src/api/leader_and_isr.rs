//! LeaderAndIsr (4), versions 0 to 7: the controller tells which replicas this broker has and who leads them. Answered
//! when the topics' settings are known and the roles are taken. Errors: STALE_CONTROLLER_EPOCH, STALE_BROKER_EPOCH, and by
//! partition STALE_CONTROLLER_EPOCH for an epoch that is not new, INCONSISTENT_TOPIC_ID, KAFKA_STORAGE_ERROR.

use super::{Context, Endpoint, Reply};
use crate::access::acl::Operation;
use crate::broker::Broker;
use crate::cluster::Waiter;
use crate::partition::{NewState, StateError};
use common::kafka::error::ErrorCode;
use common::kafka::messages::{
    LeaderAndIsrPartitionError, LeaderAndIsrPartitionState, LeaderAndIsrRequest, LeaderAndIsrResponse,
    LeaderAndIsrTopicError,
};
use common::time::Now;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use uuid::Uuid;

/// First version that names topics by id.
const TOPIC_ID_FROM: i16 = 5;

/// See the top of the file.
pub struct LeaderAndIsr;

impl Endpoint for LeaderAndIsr {
    type Request = LeaderAndIsrRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=7;

    fn handle(ctx: &Context<'_>, request: LeaderAndIsrRequest) -> Reply<LeaderAndIsrResponse> {
        if !ctx.may_cluster(Operation::ClusterAction) {
            let refused = refused(&request, ErrorCode::ClusterAuthorizationFailed);
            return Reply::Now(in_version(refused, ctx.version));
        }
        if let Some(late) = super::overtaken(ctx, request.controller_epoch) {
            return late;
        }
        let ticket = ctx.ticket::<LeaderAndIsrRequest>();
        apply(ctx.broker, request, ctx.now, move |response, _| {
            let response = in_version(response, ticket.version());
            ticket.answer(&response);
        });
        Reply::Parked
    }
}

fn in_version(mut response: LeaderAndIsrResponse, version: i16) -> LeaderAndIsrResponse {
    if version >= TOPIC_ID_FROM {
        response.partition_errors.clear();
    } else {
        response.topics.clear();
    }
    response
}

/// The same for the whole and for every partition.
fn refused(request: &LeaderAndIsrRequest, code: ErrorCode) -> LeaderAndIsrResponse {
    let states = states(request);
    let partitions = states.iter().map(|state| (state, code));
    LeaderAndIsrResponse { error_code: code.code(), ..response(partitions) }
}

/// Takes the roles, wherever the controller is; `done` gets the response.
pub(crate) fn apply(
    broker: &Arc<Broker>,
    request: LeaderAndIsrRequest,
    now: Now,
    done: impl FnOnce(LeaderAndIsrResponse, Now) + Send + 'static,
) {
    if super::is_for_earlier_life(broker, request.broker_epoch) {
        return done(refused(&request, ErrorCode::StaleBrokerEpoch), now);
    }
    let grouped = request.topic_states.iter().map(|topic| &topic.topic_name);
    let ungrouped = request.ungrouped_partition_states.iter().map(|state| &state.topic_name);
    let topics = grouped.chain(ungrouped).cloned().collect();
    let then = broker.clone();
    let go_on = Waiter::new(move |()| {
        // Thousands of logs may have to be made: neither a connection nor the ZooKeeper session waits for that.
        let outbox = then.outbox.clone();
        outbox.run(Box::new(move |now| {
            let response = take_roles(&then, &request, now);
            done(response, now);
        }));
    });
    // A log is made with its topic's settings, not with the defaults.
    broker.with_cluster(now, |cluster, effects| cluster.ensure_topic_settings(&topics, go_on, now, effects));
}

fn states(request: &LeaderAndIsrRequest) -> Vec<NewState> {
    let mut states = Vec::new();
    for topic in &request.topic_states {
        let name: Arc<str> = topic.topic_name.as_str().into();
        states.extend(topic.partition_states.iter().map(|state| new_state(name.clone(), topic.topic_id, state)));
    }
    for state in &request.ungrouped_partition_states {
        states.push(new_state(state.topic_name.as_str().into(), Uuid::nil(), state));
    }
    states
}

fn take_roles(broker: &Arc<Broker>, request: &LeaderAndIsrRequest, now: Now) -> LeaderAndIsrResponse {
    let states = states(request);
    let outcomes = broker.with_replicas(now, |replicas, effects| {
        replicas.become_leader_or_follower(request.controller_epoch, &states, now, effects)
    });
    match outcomes {
        Ok(outcomes) => {
            broker.isolation.told();
            broker.cluster.told_roles();
            broker.wake_tiered_roles(now);
            let code = |outcome: &Result<(), StateError>| outcome.map_or_else(ErrorCode::from, |()| ErrorCode::None);
            response(states.iter().zip(outcomes.iter().map(code)))
        }
        Err(error) => {
            LeaderAndIsrResponse { error_code: ErrorCode::from(error).code(), ..LeaderAndIsrResponse::default() }
        }
    }
}

fn new_state(topic: Arc<str>, topic_id: Uuid, state: &LeaderAndIsrPartitionState) -> NewState {
    NewState {
        topic,
        topic_id,
        partition: state.partition_index,
        leader: state.leader,
        leader_epoch: state.leader_epoch,
        partition_epoch: state.partition_epoch,
        isr: state.isr.clone(),
        eligible_min_isr: state.eligible_min_isr,
        replicas: state.replicas.clone(),
        adding: state.adding_replicas.clone(),
        is_new: state.is_new,
    }
}

/// Says it by name and by topic id; the version decides which of the two may be sent.
fn response<'a>(partitions: impl Iterator<Item = (&'a NewState, ErrorCode)>) -> LeaderAndIsrResponse {
    let mut by_id: BTreeMap<Uuid, Vec<LeaderAndIsrPartitionError>> = BTreeMap::new();
    let mut by_name = Vec::new();
    for (state, code) in partitions {
        let error_code = code.code();
        let error = LeaderAndIsrPartitionError {
            topic_name: state.topic.to_string(),
            partition_index: state.partition,
            error_code,
        };
        by_id.entry(state.topic_id).or_default().push(error.clone());
        by_name.push(error);
    }
    let topics =
        by_id.into_iter().map(|(topic_id, partition_errors)| LeaderAndIsrTopicError { topic_id, partition_errors });
    LeaderAndIsrResponse { error_code: 0, partition_errors: by_name, topics: topics.collect() }
}
