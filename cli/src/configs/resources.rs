//! Settings of topics, brokers, loggers, client metrics and groups: described and changed one by one (KIP-339). Knows no quota.

use super::{IllegalArgument, InvalidConfiguration};
use crate::client::check;
use crate::cluster::{Cluster, Target};
use crate::java_order::{hash, hash_order};
use common::kafka::messages::describe_configs::{DescribeConfigsResource, DescribeConfigsResourceResult};
use common::kafka::messages::incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
use common::kafka::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest, MetadataRequest};

const SET: i8 = 0;
const DELETE: i8 = 1;

/// A type of entities with its number on the wire and the source of what was set for one entity.
pub(crate) struct Kind {
    name: &'static str,
    pub(crate) number: i8,
    dynamic: Option<i8>,
}

/// Which metrics clients push.
pub(crate) const CLIENT_METRICS: Kind = Kind { name: "client-metrics", number: 16, dynamic: Some(7) };
/// Settings of groups.
pub(crate) const GROUPS: Kind = Kind { name: "groups", number: 32, dynamic: Some(8) };

const KINDS: [Kind; 5] = [
    Kind { name: "topics", number: 2, dynamic: Some(1) },
    Kind { name: "brokers", number: 4, dynamic: Some(2) },
    Kind { name: "broker-loggers", number: 8, dynamic: None },
    CLIENT_METRICS,
    GROUPS,
];
/// The source of what was set for all brokers.
const DYNAMIC_DEFAULT_BROKER: i8 = 3;

fn source_name(source: i8) -> &'static str {
    match source {
        1 => "DYNAMIC_TOPIC_CONFIG",
        2 => "DYNAMIC_BROKER_CONFIG",
        3 => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        4 => "STATIC_BROKER_CONFIG",
        5 => "DEFAULT_CONFIG",
        6 => "DYNAMIC_BROKER_LOGGER_CONFIG",
        7 => "DYNAMIC_CLIENT_METRICS_CONFIG",
        8 => "DYNAMIC_GROUP_CONFIG",
        _ => "UNKNOWN",
    }
}

fn kind(name: &str) -> Result<&'static Kind, IllegalArgument> {
    let known = KINDS.iter().find(|kind| kind.name == name);
    known.ok_or_else(|| IllegalArgument(format!("Invalid entity type: {name}")))
}

/// Who answers for an entity: a broker for itself, else any.
fn target(kind: &Kind, name: &str) -> Target<'static> {
    match name.parse() {
        Ok(id) if matches!(kind.name, "brokers" | "broker-loggers") => Target::Node(id),
        _ => Target::Any,
    }
}

/// Shows the settings of one entity, or of all of its type.
pub(super) fn describe(cluster: &mut Cluster, of: &str, name: Option<&String>, all: bool) -> anyhow::Result<()> {
    let kind = kind(of)?;
    let names = match name {
        Some(name) => vec![name.clone()],
        None => every(cluster, kind)?,
    };
    for name in names {
        match name.as_str() {
            "" => println!("Default configs for {of} in the cluster are:"),
            name => {
                println!("{} configs for {} {name} are:", if all { "All" } else { "Dynamic" }, &of[..of.len() - 1]);
            }
        }
        for entry in fetch(cluster, kind, &name, all)? {
            let text = |value: &Option<String>| value.as_deref().unwrap_or("null").to_owned();
            let synonyms: Vec<String> = entry
                .synonyms
                .iter()
                .map(|synonym| format!("{}:{}={}", source_name(synonym.source), synonym.name, text(&synonym.value)))
                .collect();
            println!(
                "  {}={} sensitive={} synonyms={{{}}}",
                entry.name,
                text(&entry.value),
                entry.is_sensitive,
                synonyms.join(", ")
            );
        }
    }
    Ok(())
}

/// The names of all entities of a type.
pub(crate) fn every(cluster: &mut Cluster, kind: &Kind) -> anyhow::Result<Vec<String>> {
    match kind.name {
        "topics" => {
            let request =
                |_| MetadataRequest { topics: None, allow_auto_topic_creation: false, ..MetadataRequest::default() };
            let metadata = cluster.call(Target::Any, request, |_| 0)?;
            let names = metadata.topics.into_iter().filter_map(|topic| topic.name).collect();
            Ok(hash_order(names, 16, |name: &String| hash(name)))
        }
        "client-metrics" | "groups" => {
            use common::kafka::messages::ListConfigResourcesRequest;
            // Version 0 knows no other type.
            let request = |version| ListConfigResourcesRequest {
                resource_types: if version == 0 { Vec::new() } else { vec![kind.number] },
            };
            let response = cluster.call(Target::Any, request, |response| response.error_code)?;
            check(response.error_code, None)?;
            Ok(response.config_resources.into_iter().map(|resource| resource.resource_name).collect())
        }
        _ => {
            let mut names: Vec<String> = cluster.broker_ids()?.iter().map(i32::to_string).collect();
            names.push(String::new());
            Ok(names)
        }
    }
}

/// The settings of an entity by name; only those set for it unless all are wanted.
pub(crate) fn fetch(
    cluster: &mut Cluster,
    kind: &Kind,
    name: &str,
    all: bool,
) -> anyhow::Result<Vec<DescribeConfigsResourceResult>> {
    let request = |_| DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: kind.number,
            resource_name: name.to_owned(),
            configuration_keys: None,
        }],
        include_synonyms: true,
        include_documentation: false,
    };
    let response = cluster.call(target(kind, name), request, |_| 0)?;
    let wanted = match kind.dynamic {
        Some(_) if all => None,
        Some(_) if kind.name == "brokers" && name.is_empty() => Some(DYNAMIC_DEFAULT_BROKER),
        dynamic => dynamic,
    };
    let mut entries = Vec::new();
    for result in response.results {
        check(result.error_code, result.error_message.as_deref())?;
        entries.extend(
            result.configs.into_iter().filter(|entry| wanted.is_none_or(|source| entry.config_source == source)),
        );
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

/// Sets and removes settings of one entity.
pub(super) fn alter(
    cluster: &mut Cluster,
    (of, name): (&str, &str),
    add: &[(String, String)],
    delete: &[String],
) -> anyhow::Result<()> {
    let kind = kind(of)?;
    let existing = fetch(cluster, kind, name, false)?;
    let is_there = |key: &str| existing.iter().any(|entry| entry.name == key);
    let mut unknown: Vec<&str> = delete.iter().map(String::as_str).filter(|key| !is_there(key)).collect();
    if kind.name == "broker-loggers" {
        unknown.extend(add.iter().map(|(key, _)| key.as_str()).filter(|key| !is_there(key)));
        if !unknown.is_empty() {
            return Err(InvalidConfiguration(format!("Invalid broker logger(s): {}", unknown.join(","))).into());
        }
    }
    if !unknown.is_empty() {
        return Err(InvalidConfiguration(format!("Invalid config(s): {}", unknown.join(","))).into());
    }
    let set = add.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
    change(cluster, kind, name, set.chain(delete.iter().map(|key| (key.clone(), None))).collect())
}

/// Sets the settings of one entity that have a value here, and removes the others.
pub(crate) fn change(
    cluster: &mut Cluster,
    kind: &Kind,
    name: &str,
    changes: Vec<(String, Option<String>)>,
) -> anyhow::Result<()> {
    let config = |(name, value): (String, Option<String>)| AlterableConfig {
        name,
        config_operation: if value.is_some() { SET } else { DELETE },
        value: Some(value.unwrap_or_default()),
    };
    let configs: Vec<AlterableConfig> = changes.into_iter().map(config).collect();
    let request = |_| IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: kind.number,
            resource_name: name.to_owned(),
            configs: configs.clone(),
        }],
        validate_only: false,
    };
    let response = cluster.call(target(kind, name), request, |response| {
        response.responses.first().map_or(0, |result| result.error_code)
    })?;
    for result in &response.responses {
        check(result.error_code, result.error_message.as_deref())?;
    }
    Ok(())
}
