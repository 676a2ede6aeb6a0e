//! CreateTopics (19), versions 0 to 7: new topics, on the controller. Per topic: NOT_CONTROLLER, TOPIC_ALREADY_EXISTS,
//! INVALID_TOPIC_EXCEPTION, INVALID_PARTITIONS, INVALID_REPLICATION_FACTOR, INVALID_REPLICA_ASSIGNMENT, INVALID_CONFIG,
//! INVALID_REQUEST, and REQUEST_TIMED_OUT when it is written but not yet led everywhere. Answers when every broker's leader
//! is in this broker's image, as Kafka does.

use super::error::text;
use super::mutations::Mutations;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{CLUSTER_NAME, Operation, ResourceType};
use crate::broker::Broker;
use crate::cluster::{
    AdminError, CreatedTopic, NewTopic, TopicsAction, TopicsOutcome, TopicsRequest, Waiter, topic_name,
};
use crate::config::{TOPIC_SETTINGS, TopicConfig, Value, validate_topic};
use common::kafka::error::ErrorCode;
use common::kafka::messages::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// Where a setting's value comes from, with the numbers of DescribeConfigs.
const SOURCE_TOPIC: i8 = 1;
const SOURCE_STATIC_BROKER: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;

/// First version whose clients wait and try again by themselves when partitions are made too fast (KIP-599).
const STRICT_FROM: i16 = 6;

/// See the top of the file.
pub struct CreateTopics;

impl Endpoint for CreateTopics {
    type Request = CreateTopicsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=7;

    fn handle(ctx: &Context<'_>, request: CreateTopicsRequest) -> Reply<CreateTopicsResponse> {
        let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
        if !ctx.broker.cluster.is_controller() {
            let refused = |name: &String| failed(name, ErrorCode::NotController, None);
            let topics = names.iter().map(refused).collect();
            return Reply::Now(CreateTopicsResponse { topics, ..Default::default() });
        }
        let mut results: BTreeMap<String, CreatableTopicResult> = BTreeMap::new();
        let mut configs: BTreeMap<String, TopicConfig> = BTreeMap::new();
        let mut wanted = Vec::new();
        let mut seen = BTreeSet::new();
        let mut mutations = (!request.validate_only).then(|| Mutations::new(ctx, STRICT_FROM));
        for topic in request.topics {
            let name = topic.name.clone();
            if !seen.insert(name.clone()) {
                wanted.retain(|other: &NewTopic| other.name != name);
                let message = Some("Found multiple entries for this topic.".into());
                results.insert(name.clone(), failed(&name, ErrorCode::InvalidRequest, message));
                continue;
            }
            if !ctx.sees(Operation::Create, ResourceType::Cluster, CLUSTER_NAME)
                && !ctx.may_topic(Operation::Create, &name)
            {
                let message = Some("Authorization failed.".into());
                let mut refused = failed(&name, ErrorCode::TopicAuthorizationFailed, message);
                if !ctx.sees(Operation::DescribeConfigs, ResourceType::Topic, &name) {
                    refused.topic_config_error_code = ErrorCode::TopicAuthorizationFailed.code();
                }
                results.insert(name, refused);
                continue;
            }
            match check(ctx.broker, topic).and_then(|found| may_make(ctx, mutations.as_mut(), found)) {
                Ok((topic, config)) => {
                    configs.insert(name, config);
                    wanted.push(topic);
                }
                Err((code, message)) => {
                    results.insert(name.clone(), failed(&name, code, Some(message)));
                }
            }
        }
        let action = TopicsAction::Create(wanted);
        let request = TopicsRequest { action, timeout_ms: request.timeout_ms, validate_only: request.validate_only };
        let ticket: Ticket<CreateTopicsRequest> = ctx.ticket();
        let (broker, rights) = (ctx.broker.clone(), ctx.rights());
        let done = Waiter::new(move |outcome: TopicsOutcome| {
            for (name, outcome) in outcome {
                let result = match outcome {
                    Ok(created) if rights.sees(Operation::DescribeConfigs, ResourceType::Topic, &name) => {
                        succeeded(&broker, &name, &created, configs.get(&name))
                    }
                    Ok(created) => without_settings(&name, &created),
                    Err(error) => failed(&name, (&error).into(), error.client_text()),
                };
                results.insert(name, result);
            }
            // In the order of the request; a topic named twice is answered twice.
            let topics = names.iter().filter_map(|name| results.get(name).cloned()).collect();
            let throttle_time_ms = mutations.map_or(0, Mutations::throttle_time_ms);
            ticket.answer(&CreateTopicsResponse { topics, throttle_time_ms });
        });
        let begun =
            ctx.broker.with_cluster(ctx.now, |cluster, effects| cluster.change_topics(request, done, ctx.now, effects));
        // Between the check above and here the broker may have lost the controllership; the client then asks again after its
        // request times out, as with any controller that disappears.
        let _ = begun;
        Reply::Parked
    }
}

fn check(broker: &Broker, topic: CreatableTopic) -> Result<(NewTopic, TopicConfig), (ErrorCode, String)> {
    if topic.name == topic_name::CLUSTER_METADATA {
        let text = format!("Creation of internal topic {} is prohibited.", topic_name::CLUSTER_METADATA);
        return Err((ErrorCode::InvalidRequest, text));
    }
    let is_there = broker.image.read().topic(&topic.name).is_some();
    if is_there {
        return Err((ErrorCode::TopicAlreadyExists, AdminError::TopicExists(topic.name).to_string()));
    }
    let nulls: Vec<&str> =
        topic.configs.iter().filter(|config| config.value.is_none()).map(|config| config.name.as_str()).collect();
    if !nulls.is_empty() {
        let text = format!("Null value not supported for topic configs: {}", nulls.join(","));
        return Err((ErrorCode::InvalidConfig, text));
    }
    let settings: BTreeMap<String, String> =
        topic.configs.into_iter().filter_map(|config| Some((config.name, config.value?))).collect();
    let config =
        validate_topic(&broker.config, &settings).map_err(|error| (ErrorCode::InvalidConfig, error.to_string()))?;
    let assignments =
        topic.assignments.into_iter().map(|assignment| (assignment.partition_index, assignment.broker_ids)).collect();
    let new = NewTopic {
        name: topic.name,
        partitions: topic.num_partitions,
        replication_factor: i32::from(topic.replication_factor),
        assignments,
        settings,
    };
    Ok((new, config))
}

fn failed(name: &str, code: ErrorCode, message: Option<String>) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.to_owned(),
        error_code: code.code(),
        error_message: message.and_then(text),
        configs: Some(Vec::new()),
        ..Default::default()
    }
}

/// By the quota of partitions, which what is only checked does not count for.
fn may_make<T>(
    ctx: &Context<'_>,
    mutations: Option<&mut Mutations>,
    (topic, rest): (NewTopic, T),
) -> Result<(NewTopic, T), (ErrorCode, String)> {
    let given = i32::try_from(topic.assignments.len()).unwrap_or(i32::MAX).max(topic.partitions);
    let count = if given < 1 { ctx.broker.config.num_partitions } else { given };
    let taken = mutations.map_or(Ok(()), |mutations| mutations.take(ctx, count));
    taken.map(|()| (topic, rest)).map_err(|code| (code, code.message().to_owned()))
}

/// Who may not see settings learns no more than that the topic is there.
fn without_settings(name: &str, created: &CreatedTopic) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.to_owned(),
        topic_id: created.id,
        error_message: None,
        topic_config_error_code: ErrorCode::TopicAuthorizationFailed.code(),
        num_partitions: -1,
        replication_factor: -1,
        configs: None,
        ..Default::default()
    }
}

fn succeeded(
    broker: &Broker,
    name: &str,
    created: &CreatedTopic,
    config: Option<&TopicConfig>,
) -> CreatableTopicResult {
    let setting = |config: &TopicConfig, setting: &crate::config::Setting| {
        let value = config.values.get(setting.name)?;
        let source = if config.overrides.contains_key(setting.name) {
            SOURCE_TOPIC
        } else if setting.mirrors.is_some_and(|mirrored| broker.config.properties.get(mirrored).is_some()) {
            SOURCE_STATIC_BROKER
        } else {
            SOURCE_DEFAULT
        };
        Some(CreatableTopicConfigs {
            name: setting.name.to_owned(),
            value: (*value != Value::Null).then(|| value.to_text()),
            config_source: source,
            ..Default::default()
        })
    };
    let configs = config.map(|config| {
        let shown = TOPIC_SETTINGS.iter().filter(|row| !row.internal || config.overrides.contains_key(row.name));
        shown.filter_map(|row| setting(config, row)).collect()
    });
    CreatableTopicResult {
        name: name.to_owned(),
        topic_id: created.id,
        error_message: None,
        num_partitions: created.partitions,
        replication_factor: created.replication_factor,
        configs: Some(configs.unwrap_or_default()),
        ..Default::default()
    }
}
