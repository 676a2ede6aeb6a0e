//! DeleteTopics (20), versions 0 to 6: topics go, on the controller. Per topic: NOT_CONTROLLER, TOPIC_DELETION_DISABLED
//! (INVALID_REQUEST below version 3), UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, REQUEST_TIMED_OUT, INVALID_REQUEST if
//! a topic is named by name and id.

use super::mutations::Mutations;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{Operation, ResourceType};
use crate::cluster::{TopicsAction, TopicsOutcome, TopicsRequest, Waiter};
use common::kafka::error::ErrorCode;
use common::kafka::messages::{DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use uuid::Uuid;

/// First version whose clients wait and try again by themselves when partitions are deleted too fast (KIP-599).
const STRICT_FROM: i16 = 5;

/// See the top of the file.
pub struct DeleteTopics;

impl Endpoint for DeleteTopics {
    type Request = DeleteTopicsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=6;

    fn handle(ctx: &Context<'_>, request: DeleteTopicsRequest) -> Reply<DeleteTopicsResponse> {
        let timeout_ms = request.timeout_ms;
        let named = if ctx.version >= 6 {
            request.topics.into_iter().map(|topic| (topic.name, topic.topic_id)).collect()
        } else {
            request.topic_names.into_iter().map(|name| (Some(name), Uuid::nil())).collect::<Vec<_>>()
        };
        let all = |code: ErrorCode| {
            let responses = named.iter().map(|(name, id)| result(name.clone(), *id, code)).collect();
            Reply::Now(DeleteTopicsResponse { responses, ..Default::default() })
        };
        if !ctx.broker.cluster.is_controller() {
            return all(ErrorCode::NotController);
        }
        if !ctx.broker.config.delete_topic_enable {
            return all(if ctx.version < 3 { ErrorCode::InvalidRequest } else { ErrorCode::TopicDeletionDisabled });
        }
        if named.iter().any(|(name, id)| name.is_some() && !id.is_nil()) {
            return all(ErrorCode::InvalidRequest);
        }
        let mut results = Vec::new();
        let mut mutations = Mutations::new(ctx, STRICT_FROM);
        let mut wanted = BTreeSet::new();
        for (name, id) in named {
            let name = if id.is_nil() { name } else { ctx.broker.cluster.topic_name(id) };
            let sees = |name: &String| ctx.sees(Operation::Describe, ResourceType::Topic, name);
            let is_hidden = !id.is_nil() && name.as_ref().is_some_and(|name| !sees(name));
            let code = match &name {
                None => ErrorCode::UnknownTopicId,
                Some(_) if is_hidden => ErrorCode::TopicAuthorizationFailed,
                Some(name) if !ctx.may_topic(Operation::Delete, name) => ErrorCode::TopicAuthorizationFailed,
                Some(name) if ctx.broker.image.read().topic(name).is_none() => ErrorCode::UnknownTopicOrPartition,
                Some(name) => match mutations.take(ctx, partitions_of(ctx, name)) {
                    Ok(()) => {
                        wanted.insert(name.clone());
                        ErrorCode::None
                    }
                    Err(code) => code,
                },
            };
            // Whoever knows only the id does not learn the name.
            results.push(result(name.filter(|_| !is_hidden), id, code));
        }
        let throttle_time_ms = mutations.throttle_time_ms();
        if wanted.is_empty() {
            return Reply::Now(DeleteTopicsResponse { responses: results, throttle_time_ms });
        }
        let action = TopicsAction::Delete(wanted.into_iter().collect());
        let request = TopicsRequest { action, timeout_ms, validate_only: false };
        let ticket: Ticket<DeleteTopicsRequest> = ctx.ticket();
        let done = Waiter::new(move |outcome: TopicsOutcome| {
            for result in &mut results {
                let outcome = result.name.as_ref().and_then(|name| outcome.get(name));
                if let Some(Err(error)) = outcome {
                    result.error_code = ErrorCode::from(error).code();
                }
            }
            ticket.answer(&DeleteTopicsResponse { responses: results, throttle_time_ms });
        });
        // As in CreateTopics: should the controllership be lost in between, the client asks again.
        let _ =
            ctx.broker.with_cluster(ctx.now, |cluster, effects| cluster.change_topics(request, done, ctx.now, effects));
        Reply::Parked
    }
}

fn partitions_of(ctx: &Context<'_>, topic: &str) -> i32 {
    ctx.broker.image.read().partition_count(topic).unwrap_or(1)
}

fn result(name: Option<String>, topic_id: Uuid, code: ErrorCode) -> DeletableTopicResult {
    DeletableTopicResult { name, topic_id, error_code: code.code(), ..Default::default() }
}
