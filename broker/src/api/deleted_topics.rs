//! Deleted topics that can be brought back (`castellan.topic.undelete.ms`), as a type of resources of our own, 100, in
//! DescribeConfigs and IncrementalAlterConfigs: no message of Kafka's is changed, and no client meets it that does not ask
//! for it. Described, the resource without name has one setting for each topic: its id, and as value when it was deleted
//! and until when it is kept. Altered, the resource of a topic's name with the setting `undelete` (a topic id, or nothing for
//! the one that was deleted last) brings the topic back. Only the controller answers; others say NOT_CONTROLLER. Who wants to
//! bring a topic back must be permitted to create it: TOPIC_AUTHORIZATION_FAILED. TOPIC_ALREADY_EXISTS,
//! UNKNOWN_TOPIC_OR_PARTITION if there is none, INVALID_REQUEST.

use super::error::text;
use super::{Context, Reply, Ticket};
use crate::access::acl::{CLUSTER_NAME, Operation, ResourceType};
use crate::broker::Broker;
use crate::cluster::json::{decode_id, encode_id};
use crate::cluster::kept::KeptTopic;
use crate::cluster::{TopicsAction, TopicsOutcome, TopicsRequest, Waiter};
use crate::config::describe::{Described, Source};
use common::kafka::error::ErrorCode;
use common::kafka::messages::incremental_alter_configs::{AlterConfigsResource, AlterConfigsResourceResponse};
use common::kafka::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

/// The type of the resource.
pub(super) const DELETED_TOPICS: i8 = 100;
/// The setting that brings a topic back.
const UNDELETE: &str = "undelete";
/// For the topic to have leaders again.
const TIMEOUT_MS: i32 = 30_000;
const SET: i8 = 0;

/// Every deleted topic as a setting. The error's text is for the client.
pub(super) fn described(broker: &Broker) -> Result<Vec<Described>, (ErrorCode, String)> {
    let topics = broker.cluster.deleted_topics();
    let topics = topics.map_err(|error| (ErrorCode::NotController, error.to_string()))?;
    let described = |topic: &KeptTopic| Described {
        name: encode_id(topic.id),
        value: Some(format!(
            "topic={},partitions={},deleted.at.ms={},until.ms={}",
            topic.name,
            topic.partitions.len(),
            topic.deleted_at_ms,
            topic.until_ms
        )),
        source: Source::DynamicDefaultBroker,
        synonyms: Vec::new(),
        is_sensitive: false,
        is_read_only: true,
        kind: None,
        doc: None,
    };
    Ok(topics.iter().map(described).collect())
}

/// Brings a topic back.
pub(super) fn undelete(
    ctx: &Context<'_>,
    resource: AlterConfigsResource,
    validate_only: bool,
) -> Reply<IncrementalAlterConfigsResponse> {
    let name = resource.resource_name.clone();
    let wanted = match &resource.configs[..] {
        [config] if config.name == UNDELETE && config.config_operation == SET => config.value.clone(),
        _ => None,
    };
    let id = wanted.as_deref().map(|text| if text.is_empty() { Some(None) } else { decode_id(text).map(Some) });
    let refused = match id {
        _ if !ctx.broker.cluster.is_controller() => Some(ErrorCode::NotController),
        _ if !may_create(ctx, &name) => Some(ErrorCode::TopicAuthorizationFailed),
        None | Some(None) => Some(ErrorCode::InvalidRequest),
        Some(Some(_)) => None,
    };
    let Some(Some(id)) = id.filter(|_| refused.is_none()) else {
        let code = refused.unwrap_or(ErrorCode::InvalidRequest);
        return Reply::Now(response(&name, code, Some(code.message().to_owned())));
    };
    let action = TopicsAction::Undelete(vec![(name.clone(), id)]);
    let request = TopicsRequest { action, timeout_ms: TIMEOUT_MS, validate_only };
    let ticket: Ticket<IncrementalAlterConfigsRequest> = ctx.ticket();
    let done = Waiter::new(move |mut outcome: TopicsOutcome| {
        let error = outcome.remove(&name).and_then(Result::err);
        let code = error.as_ref().map_or(ErrorCode::None, ErrorCode::from);
        ticket.answer(&response(&name, code, error.and_then(|error| error.client_text())));
    });
    // Should the controllership be lost in between, the client asks again, as for new topics.
    let _ = ctx.broker.with_cluster(ctx.now, |cluster, effects| cluster.change_topics(request, done, ctx.now, effects));
    Reply::Parked
}

fn may_create(ctx: &Context<'_>, topic: &str) -> bool {
    ctx.sees(Operation::Create, ResourceType::Cluster, CLUSTER_NAME) || ctx.may_topic(Operation::Create, topic)
}

fn response(name: &str, code: ErrorCode, message: Option<String>) -> IncrementalAlterConfigsResponse {
    let response = AlterConfigsResourceResponse {
        error_code: code.code(),
        error_message: message.and_then(text),
        resource_type: DELETED_TOPICS,
        resource_name: name.to_owned(),
    };
    IncrementalAlterConfigsResponse { responses: vec![response], ..IncrementalAlterConfigsResponse::default() }
}
