//! `kafka-topics`: creates, lists, describes, changes and deletes topics. Unlike Kafka since 3.0 it still takes
//! `--zookeeper`, as older tutorials type it, and finds the brokers there.

mod deleted;
mod describe;
mod specs;

use crate::client::{check, code_of};
use crate::cluster::{self, Cluster, Target};
use crate::options::{self, Ended, Options};
use crate::{clock, uuid_text};
use anyhow::{anyhow, bail};
use common::kafka::error::ErrorCode;
use common::kafka::messages::create_partitions::CreatePartitionsAssignment;
use common::kafka::messages::create_topics::{CreatableReplicaAssignment, CreatableTopicConfig};
use common::kafka::messages::{
    CreatableTopic, CreatePartitionsRequest, CreatePartitionsTopic, CreateTopicsRequest, DeletableTopicResult,
    DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse, MetadataRequest, MetadataResponse,
};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use uuid::Uuid;

const ACTIONS: [&str; 7] = ["create", "list", "alter", "describe", "delete", "undelete", "list-deleted"];
const REPORTS: [&str; 4] =
    ["under-replicated-partitions", "under-min-isr-partitions", "at-min-isr-partitions", "unavailable-partitions"];
const INTERNAL: [&str; 2] = ["__consumer_offsets", "__transaction_state"];

/// The tool.
pub(crate) fn topics(arguments: &[String]) -> anyhow::Result<ExitCode> {
    options::exit(run(arguments))
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = Options::parse(specs::SPECS, arguments)?;
    check_options(&options, arguments)?;
    let settings = match options.value("command-config")? {
        Some(file) => cluster::load_settings(file)?,
        None => BTreeMap::new(),
    };
    let mut cluster = match (options.value("bootstrap-server")?, options.value("zookeeper")?) {
        (None, Some(zookeeper)) => Cluster::by_zookeeper(zookeeper, &settings)?,
        (servers, _) => Cluster::new(servers.unwrap_or_default(), &settings)?,
    };
    let action = ACTIONS.into_iter().find(|action| options.has(action));
    let outcome = match action {
        Some("create") => create(&options, &mut cluster),
        Some("alter") => alter(&options, &mut cluster),
        Some("list") => list(&options, &mut cluster),
        Some("describe") => describe::describe(&options, &mut cluster),
        Some("undelete") => deleted::undelete(&options, &mut cluster),
        Some("list-deleted") => deleted::list(&mut cluster),
        _ => delete(&options, &mut cluster),
    };
    if let Err(error) = outcome {
        println!("Error while executing topic command : {error}");
        eprintln!("[{}] ERROR {error:#} (org.apache.kafka.tools.TopicCommand)", clock::log_time());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn check_options(options: &Options, arguments: &[String]) -> anyhow::Result<()> {
    if arguments.is_empty() {
        return Err(options.usage("Create, delete, describe, or change a topic.").into());
    }
    options.help_or_version(arguments, "This tool helps to create, delete, describe, or change a topic.").inspect_err(
        |_| {
            if options.has("help") {
                eprint!("{}", specs::own_help())
            }
        },
    )?;
    if ACTIONS.iter().filter(|action| options.has(action)).count() != 1 {
        let message = "Command must include exactly one action: --list, --describe, --create, --alter or --delete";
        return Err(options.usage(message).into());
    }
    if !options.has("bootstrap-server") && !options.has("zookeeper") {
        bail!("--bootstrap-server must be specified");
    }
    if options.has("describe") && options.has("if-exists") {
        if !options.has("topic") && !options.has("topic-id") {
            return Err(options.usage("--topic or --topic-id is required to describe a topic").into());
        }
        if options.has("topic") && options.has("topic-id") {
            println!(
                "Only topic id will be used when both --topic and --topic-id are specified and topicId is not \
                 Uuid.ZERO_UUID"
            );
        }
    }
    if !["list", "describe", "list-deleted"].iter().any(|action| options.has(action)) {
        options.require(&["topic"])?;
    }
    if options.has("alter") {
        if options.has("bootstrap-server") && options.has("config") {
            let message = "Option combination \"[[bootstrap-server], [config]]\" can't be used with option \"[alter]\" \
                           (the kafka-configs CLI supports altering topic configs with a --bootstrap-server option)";
            return Err(options.usage(message).into());
        }
        options.require(&["partitions"])?;
    }
    Ok(check_combinations(options)?)
}

fn check_combinations(options: &Options) -> Result<(), Ended> {
    let only_with = |used: &str, allowed: &[&str]| {
        let others: Vec<&str> = ACTIONS.into_iter().filter(|action| !allowed.contains(action)).collect();
        options.exclude(used, &others)
    };
    only_with("config", &["alter", "create"])?;
    only_with("delete-config", &["alter"])?;
    options.exclude("delete-config", &["bootstrap-server"])?;
    only_with("partitions", &["alter", "create"])?;
    only_with("replication-factor", &["create"])?;
    only_with("replica-assignment", &["alter", "create"])?;
    if options.has("create") {
        options.exclude("replica-assignment", &["partitions", "replication-factor"])?;
    }
    for report in REPORTS {
        only_with(report, &["describe"])?;
        options.exclude(report, &["topics-with-overrides"])?;
    }
    only_with("topics-with-overrides", &["describe"])?;
    options.exclude("topics-with-overrides", &REPORTS)?;
    only_with("if-exists", &["alter", "delete", "describe"])?;
    only_with("if-not-exists", &["create"])?;
    only_with("exclude-internal", &["list", "describe"])
}

fn create(options: &Options, cluster: &mut Cluster) -> anyhow::Result<()> {
    let name = options.value("topic")?.unwrap_or_default();
    let assignments = assignments(options)?;
    let configs = configs(options)?;
    if name.contains(['.', '_']) {
        println!(
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. \
             To avoid issues it is best to use either, but not both."
        );
    }
    let replication_factor: Option<i32> = options.number("replication-factor")?;
    if replication_factor.is_some_and(|factor| !(1..=i32::from(i16::MAX)).contains(&factor)) {
        bail!("The replication factor must be between 1 and 32767 inclusive");
    }
    let partitions: Option<i32> = options.number("partitions")?;
    if partitions.is_some_and(|count| count < 1) {
        bail!("The partitions must be greater than 0");
    }
    let assigned = !assignments.is_empty();
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: if assigned { -1 } else { partitions.unwrap_or(-1) },
        replication_factor: match replication_factor {
            Some(factor) if !assigned => i16::try_from(factor).unwrap_or(-1),
            _ => -1,
        },
        assignments: (0..)
            .zip(assignments)
            .map(|(partition_index, broker_ids)| CreatableReplicaAssignment { partition_index, broker_ids })
            .collect(),
        configs,
    };
    let timeout_ms = cluster.timeout_ms();
    let response = cluster.call(
        Target::Controller,
        |_| CreateTopicsRequest { topics: vec![topic.clone()], timeout_ms, validate_only: false },
        |response| response.topics.first().map_or(0, |topic| topic.error_code),
    )?;
    let result = response.topics.first().ok_or_else(|| anyhow!("The server response did not contain the topic"))?;
    match check(result.error_code, result.error_message.as_deref()) {
        Err(error) if error.code == ErrorCode::TopicAlreadyExists && options.has("if-not-exists") => Ok(()),
        Err(error) => Err(error.into()),
        Ok(()) => {
            println!("Created topic {name}.");
            Ok(())
        }
    }
}

/// Of `1:2,2:3`: a list of brokers for each partition.
fn assignments(options: &Options) -> anyhow::Result<Vec<Vec<i32>>> {
    let Some(text) = options.value("replica-assignment")?.filter(|text| !text.is_empty()) else {
        return Ok(Vec::new());
    };
    let mut assignments: Vec<Vec<i32>> = Vec::new();
    for (partition, list) in text.split(',').enumerate() {
        let mut brokers = Vec::new();
        for id in list.split(':').map(str::trim) {
            brokers.push(id.parse().map_err(|_| anyhow!("For input string: \"{id}\""))?);
        }
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<i32> = brokers.iter().filter(|id| !seen.insert(**id)).copied().collect();
        if !twice.is_empty() {
            bail!("Partition replica lists may not contain duplicate entries: {}", joined(&twice));
        }
        if assignments.first().is_some_and(|first| first.len() != brokers.len()) {
            let brokers: Vec<String> = brokers.iter().map(i32::to_string).collect();
            bail!("Partition {partition} has different replication factor: [{}]", brokers.join(", "));
        }
        assignments.push(brokers);
    }
    Ok(assignments)
}

fn configs(options: &Options) -> anyhow::Result<Vec<CreatableTopicConfig>> {
    let mut configs = BTreeMap::new();
    for config in options.values("config") {
        match config.split('=').map(str::trim).collect::<Vec<_>>()[..] {
            [key, value] if !value.is_empty() => configs.insert(key.to_owned(), value.to_owned()),
            _ => bail!(
                "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\"."
            ),
        };
    }
    Ok(configs.into_iter().map(|(name, value)| CreatableTopicConfig { name, value: Some(value) }).collect())
}

fn list(options: &Options, cluster: &mut Cluster) -> anyhow::Result<()> {
    println!("{}", matching(options, &metadata(cluster, None)?)?.join("\n"));
    Ok(())
}

fn alter(options: &Options, cluster: &mut Cluster) -> anyhow::Result<()> {
    let assignments = assignments(options)?;
    let metadata = metadata(cluster, None)?;
    let names = matching(options, &metadata)?;
    ensure_found(options, !names.is_empty())?;
    if names.is_empty() {
        return Ok(());
    }
    let count = options.number("partitions")?.unwrap_or(0);
    let existing = |name: &str| {
        metadata
            .topics
            .iter()
            .find(|topic| topic.name.as_deref() == Some(name))
            .map_or(0, |topic| topic.partitions.len())
    };
    let topics: Vec<CreatePartitionsTopic> = names
        .iter()
        .map(|name| CreatePartitionsTopic {
            name: name.clone(),
            count,
            assignments: (!assignments.is_empty()).then(|| {
                let added = assignments.iter().skip(existing(name));
                added.map(|broker_ids| CreatePartitionsAssignment { broker_ids: broker_ids.clone() }).collect()
            }),
        })
        .collect();
    let timeout_ms = cluster.timeout_ms();
    let response = cluster.call(
        Target::Controller,
        |_| CreatePartitionsRequest { topics: topics.clone(), timeout_ms, validate_only: false },
        |response| response.results.first().map_or(0, |topic| topic.error_code),
    )?;
    for result in &response.results {
        check(result.error_code, result.error_message.as_deref())?;
    }
    Ok(())
}

fn delete(options: &Options, cluster: &mut Cluster) -> anyhow::Result<()> {
    let names = matching(options, &metadata(cluster, None)?)?;
    ensure_found(options, !names.is_empty())?;
    if names.is_empty() {
        return Ok(());
    }
    for result in delete_named(cluster, &names)? {
        check(result.error_code, result.error_message.as_deref())?;
    }
    Ok(())
}

/// Deletes topics by name, and gives what became of each.
pub(crate) fn delete_named(cluster: &mut Cluster, names: &[String]) -> anyhow::Result<Vec<DeletableTopicResult>> {
    let timeout_ms = cluster.timeout_ms();
    let request = |version| DeleteTopicsRequest {
        topics: if version < 6 { Vec::new() } else { names.iter().map(|name| by_name(name)).collect() },
        topic_names: if version < 6 { names.to_vec() } else { Vec::new() },
        timeout_ms,
    };
    let code = |response: &DeleteTopicsResponse| response.responses.first().map_or(0, |topic| topic.error_code);
    Ok(cluster.call(Target::Controller, request, code)?.responses)
}

fn by_name(name: &str) -> DeleteTopicState {
    DeleteTopicState { name: Some(name.to_owned()), topic_id: Uuid::nil() }
}

/// Every topic, or those given.
fn metadata(cluster: &mut Cluster, topics: Option<&[String]>) -> anyhow::Result<MetadataResponse> {
    use common::kafka::messages::MetadataRequestTopic;
    let request = |_| MetadataRequest {
        topics: topics.map(|names| {
            let named = |name: &String| MetadataRequestTopic { name: Some(name.clone()), ..Default::default() };
            names.iter().map(named).collect()
        }),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    cluster.call(Target::Any, request, |_| 0)
}

/// The topics that the options ask for, sorted.
fn matching(options: &Options, metadata: &MetadataResponse) -> anyhow::Result<Vec<String>> {
    let filter = options.value("topic")?.map(topic_filter).transpose()?;
    let without_internal = options.has("exclude-internal");
    let names: BTreeSet<String> = metadata
        .topics
        .iter()
        .filter_map(|topic| topic.name.clone())
        .filter(|name| filter.as_ref().is_none_or(|filter| filter.is_match(name)))
        .filter(|name| !(without_internal && INTERNAL.contains(&name.as_str())))
        .collect();
    Ok(names.into_iter().collect())
}

/// A list of topics or regular expressions: commas part alternatives, blanks and quotes around it do not count.
pub(crate) fn topic_filter(text: &str) -> anyhow::Result<Regex> {
    let pattern = text.trim().replace(',', "|").replace(' ', "");
    let pattern = pattern.trim_matches(['"', '\'']);
    Regex::new(&format!("^(?:{pattern})$")).map_err(|_| anyhow!("{pattern} is an invalid regex."))
}

fn ensure_found(options: &Options, found: bool) -> anyhow::Result<()> {
    match options.value("topic")? {
        Some(topic) if !topic.is_empty() && !options.has("if-exists") && !found => {
            // The tool of Kafka prints the optional as such.
            bail!("Topic 'Optional[{topic}]' does not exist as expected")
        }
        _ => Ok(()),
    }
}

/// Ids, comma-separated.
fn joined<'a>(ids: impl IntoIterator<Item = &'a i32>) -> String {
    ids.into_iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

/// The topic id that the options ask for, if it is one.
fn wanted_id(options: &Options) -> anyhow::Result<Option<Uuid>> {
    let Some(text) = options.value("topic-id")? else { return Ok(None) };
    let id = uuid_text::parse(text).ok_or_else(|| anyhow!("Input string `{text}` is not a base64 UUID"))?;
    Ok((!id.is_nil()).then_some(id))
}

/// Is this the error of a broker that lacks or forbids something that the tool can do without?
fn can_do_without(error: &anyhow::Error) -> bool {
    error.downcast_ref::<crate::client::Unsupported>().is_some()
        || code_of(error) == Some(ErrorCode::ClusterAuthorizationFailed)
}
