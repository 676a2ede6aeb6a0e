//! CreatePartitions (37), versions 0 to 3: topics get more partitions, on the controller. Per topic: NOT_CONTROLLER,
//! UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION while it is being deleted, INVALID_PARTITIONS,
//! INVALID_REPLICA_ASSIGNMENT, INVALID_REPLICATION_FACTOR, REASSIGNMENT_IN_PROGRESS, INVALID_REQUEST if named twice,
//! REQUEST_TIMED_OUT.

use super::error::text;
use super::mutations::Mutations;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::Operation;
use crate::cluster::{NewPartitions, TopicsAction, TopicsOutcome, TopicsRequest, Waiter};
use common::kafka::error::ErrorCode;
use common::kafka::messages::{CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopicResult};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// From this version on a client that is over its quota of partitions is refused (KIP-599).
const STRICT_FROM: i16 = 3;

/// See the top of the file.
pub struct CreatePartitions;

impl Endpoint for CreatePartitions {
    type Request = CreatePartitionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=3;

    fn handle(ctx: &Context<'_>, request: CreatePartitionsRequest) -> Reply<CreatePartitionsResponse> {
        let result = |name: String, code: ErrorCode, error_message: Option<String>| CreatePartitionsTopicResult {
            name,
            error_code: code.code(),
            error_message,
        };
        if !ctx.broker.cluster.is_controller() {
            let refused = request.topics.into_iter().map(|topic| result(topic.name, ErrorCode::NotController, None));
            return Reply::Now(CreatePartitionsResponse { results: refused.collect(), ..Default::default() });
        }
        let mut wanted: BTreeMap<String, Option<NewPartitions>> = BTreeMap::new();
        for topic in request.topics {
            let assignments =
                topic.assignments.map(|lists| lists.into_iter().map(|assignment| assignment.broker_ids).collect());
            let new = NewPartitions { topic: topic.name.clone(), count: topic.count, assignments };
            wanted.entry(topic.name).and_modify(|twice| *twice = None).or_insert(Some(new));
        }
        let mut results = Vec::new();
        let mut topics = Vec::new();
        let mut mutations = Mutations::new(ctx, STRICT_FROM);
        for (name, new) in wanted {
            match new {
                Some(_) if !ctx.may_topic(Operation::Alter, &name) => {
                    let message = Some("The topic authorization is failed.".into());
                    results.push(result(name, ErrorCode::TopicAuthorizationFailed, message));
                }
                Some(new) => {
                    let known = ctx.broker.image.read().partition_count(&name);
                    let added = known.map_or(0, |known| new.count.saturating_sub(known));
                    // What cannot be is refused for what it is, and what is only checked is not counted.
                    let taken = match added > 0 && !request.validate_only {
                        true => mutations.take(ctx, added),
                        false => Ok(()),
                    };
                    match taken {
                        Ok(()) => topics.push(new),
                        Err(code) => results.push(result(name, code, Some(code.message().to_owned()))),
                    }
                }
                None => {
                    results.push(result(name, ErrorCode::InvalidRequest, Some("Duplicate topic in request.".into())));
                }
            }
        }
        let action = TopicsAction::Grow(topics);
        let request = TopicsRequest { action, timeout_ms: request.timeout_ms, validate_only: request.validate_only };
        let ticket: Ticket<CreatePartitionsRequest> = ctx.ticket();
        let done = Waiter::new(move |outcome: TopicsOutcome| {
            results.extend(outcome.into_iter().map(|(name, outcome)| match outcome {
                Ok(_) => result(name, ErrorCode::None, None),
                Err(error) => result(name, (&error).into(), error.client_text().and_then(text)),
            }));
            ticket.answer(&CreatePartitionsResponse { results, throttle_time_ms: mutations.throttle_time_ms() });
        });
        // As in CreateTopics: should the controllership be lost in between, the client asks again.
        let _ =
            ctx.broker.with_cluster(ctx.now, |cluster, effects| cluster.change_topics(request, done, ctx.now, effects));
        Reply::Parked
    }
}
