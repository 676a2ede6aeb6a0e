//! DescribeConfigs (32), versions 0 to 4: settings of topics, brokers, groups, loggers and clients' metrics with their sources,
//! synonyms, types and documentation (KIP-133, 226, 569, 714, 848). UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION, and
//! INVALID_REQUEST for
//! another broker than this. Loggers are those of the rooms, with the level they started with.

use super::access::Rights;
use super::deleted_topics::{self, DELETED_TOPICS};
use super::error::text;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{CLUSTER_NAME, Operation, ResourceType};
use crate::access::sanitize::sanitize;
use crate::broker::Broker;
use crate::cluster::{Entity, Settings, Waiter, topic_name};
use crate::config::Kind;
use crate::config::describe::{Described, Source, Synonym};
use crate::resources::{
    BROKER, BROKER_LOGGER, CLIENT_METRICS, CLIENT_METRICS_KIND, GROUP, GROUPS, ResourceError, TOPIC, check_broker_id,
    check_client_metrics_name,
};
use common::kafka::error::ErrorCode;
use common::kafka::messages::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct DescribeConfigs;

impl Endpoint for DescribeConfigs {
    type Request = DescribeConfigsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=4;

    fn handle(ctx: &Context<'_>, request: DescribeConfigsRequest) -> Reply<DescribeConfigsResponse> {
        let known: BTreeSet<Entity> = {
            let image = ctx.broker.image.read();
            let named = request.resources.iter().map(|one| (one.resource_type, &one.resource_name));
            named
                .filter_map(|(kind, name)| match kind {
                    TOPIC => image.topic(name).map(|_| ("topics".to_owned(), name.clone())),
                    GROUP if !name.is_empty() => Some((GROUPS.to_owned(), sanitize(name))),
                    CLIENT_METRICS if check_client_metrics_name(name, "").is_ok() => {
                        Some((CLIENT_METRICS_KIND.to_owned(), sanitize(name)))
                    }
                    _ => None,
                })
                .collect()
        };
        if known.is_empty() {
            return Reply::Now(respond((ctx.broker, ctx.rights()), request, ctx.version));
        }
        // The settings of topics that this broker holds no replica of are not known; those of others may be old.
        let ticket: Ticket<DescribeConfigsRequest> = ctx.ticket();
        let broker = ctx.broker.clone();
        let rights = ctx.rights();
        let go_on = Waiter::new(move |()| {
            let response = respond((&broker, rights), request, ticket.version());
            ticket.answer(&response);
        });
        let now = ctx.now;
        ctx.broker.with_cluster(now, |cluster, effects| cluster.refresh_settings(known, go_on, now, effects));
        Reply::Parked
    }
}

fn respond(
    (broker, rights): (&Broker, Rights),
    request: DescribeConfigsRequest,
    version: i16,
) -> DescribeConfigsResponse {
    let (with_synonyms, with_documentation) = (request.include_synonyms, request.include_documentation);
    let view = View { version, with_synonyms, with_documentation, rights };
    let results = request.resources.into_iter().map(|resource| view.describe(broker, resource)).collect();
    DescribeConfigsResponse { results, ..DescribeConfigsResponse::default() }
}

/// What the client wants to see.
struct View {
    version: i16,
    with_synonyms: bool,
    with_documentation: bool,
    rights: Rights,
}

impl View {
    fn describe(&self, broker: &Broker, resource: DescribeConfigsResource) -> DescribeConfigsResult {
        let mut result = DescribeConfigsResult {
            // Kafka leaves the text empty, not null, unless it has one.
            error_message: Some(String::new()),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            ..DescribeConfigsResult::default()
        };
        let found = match result.resource_type {
            TOPIC if !self.may(ResourceType::Topic, &result.resource_name) => {
                Err(refused(&ResourceError::TopicForbidden))
            }
            GROUP if !self.may(ResourceType::Group, &result.resource_name) => {
                Err(refused(&ResourceError::GroupForbidden))
            }
            kind if !matches!(kind, TOPIC | GROUP) && !self.may(ResourceType::Cluster, CLUSTER_NAME) => {
                Err(refused(&ResourceError::ClusterForbidden))
            }
            BROKER_LOGGER => loggers(broker, &result.resource_name),
            kind => described(broker, kind, &result.resource_name)
                .map(|settings| settings.into_iter().map(|one| self.row(one)).collect()),
        };
        let asked = resource.configuration_keys.filter(|keys| !keys.is_empty());
        match found {
            Ok(configs) => result.configs = configs,
            Err((error, message)) => {
                result.error_code = error.code();
                result.error_message = text(message);
            }
        }
        if let Some(asked) = asked {
            result.configs.retain(|config| asked.contains(&config.name));
        }
        result
    }

    fn may(&self, kind: ResourceType, name: &str) -> bool {
        self.rights.sees(Operation::DescribeConfigs, kind, name)
    }

    fn row(&self, setting: Described) -> DescribeConfigsResourceResult {
        let synonym = |synonym: Synonym| DescribeConfigsSynonym {
            name: synonym.name,
            value: synonym.value,
            source: source(synonym.source),
        };
        let synonyms = if self.with_synonyms { setting.synonyms } else { Vec::new() };
        DescribeConfigsResourceResult {
            name: setting.name,
            value: setting.value,
            read_only: setting.is_read_only,
            is_default: self.version == 0 && setting.source == Source::Default,
            config_source: source(setting.source),
            is_sensitive: setting.is_sensitive,
            synonyms: synonyms.into_iter().map(synonym).collect(),
            config_type: setting.kind.map_or(0, kind),
            documentation: setting.doc.filter(|_| self.with_documentation).map(str::to_owned),
        }
    }
}

type Failure = (ErrorCode, String);

fn refused(error: &ResourceError) -> Failure {
    (ErrorCode::from(error), error.to_string())
}

fn described(broker: &Broker, kind: i8, name: &str) -> Result<Vec<Described>, Failure> {
    match kind {
        TOPIC => {
            if let Err(error) = topic_name::validate(name) {
                return Err((ErrorCode::InvalidTopicException, error.to_string()));
            }
            if broker.image.read().topic(name).is_none() {
                return Err((ErrorCode::UnknownTopicOrPartition, String::new()));
            }
            Ok(broker.setting_layers().topic(&broker.cluster.settings("topics", name)))
        }
        BROKER if name.is_empty() => Ok(broker.setting_layers().for_all_brokers()),
        BROKER => {
            check_broker_id(broker, name, ("Broker", " or empty string")).map_err(|error| refused(&error))?;
            Ok(broker.setting_layers().broker())
        }
        GROUP if name.is_empty() => {
            Err(refused(&ResourceError::InvalidRequest("Group name must not be empty".to_owned())))
        }
        GROUP => Ok(broker.setting_layers().group(&broker.cluster.settings(GROUPS, &sanitize(name)))),
        DELETED_TOPICS => deleted_topics::described(broker),
        CLIENT_METRICS => {
            check_client_metrics_name(name, "Client metrics subscription name must not be empty")
                .map_err(|error| refused(&error))?;
            Ok(client_metrics(&broker.cluster.settings(CLIENT_METRICS_KIND, &sanitize(name))))
        }
        _ => Err(refused(&ResourceError::InvalidRequest(ErrorCode::InvalidRequest.message().to_owned()))),
    }
}

/// Which metrics clients are to push: what is set, without defaults.
fn client_metrics(settings: &Settings) -> Vec<Described> {
    let described = |(name, value): (&String, &String)| Described {
        name: name.clone(),
        value: Some(value.clone()),
        source: Source::ClientMetrics,
        synonyms: Vec::new(),
        is_sensitive: false,
        is_read_only: false,
        kind: None,
        doc: None,
    };
    settings.iter().map(described).collect()
}

/// The rooms that log, under the names that `CASTELLAN_LOG` takes.
const LOGGERS: [&str; 6] =
    ["root", "broker", "broker::cluster", "broker::group", "broker::partition", "broker::server"];

fn loggers(broker: &Broker, name: &str) -> Result<Vec<DescribeConfigsResourceResult>, Failure> {
    if name.is_empty() {
        return Err(refused(&ResourceError::InvalidRequest("Broker id must not be empty".to_owned())));
    }
    check_broker_id(broker, name, ("Broker", "")).map_err(|error| refused(&error))?;
    let level = match tracing::level_filters::LevelFilter::current().into_level() {
        Some(level) => level.as_str(),
        None => "OFF",
    };
    let row = |name: &&str| DescribeConfigsResourceResult {
        name: (*name).to_owned(),
        value: Some(level.to_owned()),
        config_source: LOGGER_SOURCE,
        documentation: Some(String::new()),
        ..DescribeConfigsResourceResult::default()
    };
    Ok(LOGGERS.iter().map(row).collect())
}

const LOGGER_SOURCE: i8 = 6;

fn source(source: Source) -> i8 {
    match source {
        Source::Topic => 1,
        Source::DynamicBroker => 2,
        Source::DynamicDefaultBroker => 3,
        Source::StaticBroker => 4,
        Source::Default => 5,
        Source::Group => 8,
        Source::ClientMetrics => 7,
    }
}

fn kind(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean => 1,
        Kind::String => 2,
        Kind::Int => 3,
        Kind::Short => 4,
        Kind::Long => 5,
        Kind::Double => 6,
        Kind::List => 7,
        Kind::Class => 8,
        Kind::Password => 9,
    }
}
