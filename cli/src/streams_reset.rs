//! `kafka-streams-application-reset`: makes a Kafka Streams application begin anew: moves what it has committed, and deletes
//! the topics that it made for itself. Knows nothing of the state that the application keeps on its own disks.

mod positions;
mod specs;

use crate::client::{check, java_text};
use crate::cluster::{Cluster, NoServers, Target, load_settings};
use crate::groups::wire::{self, Member};
use crate::java_order::{hash, hash_order, partition_hash};
use crate::log_offsets::{LATEST, Partition};
use crate::options::{self, OptionError, Options};
use crate::topics::delete_named;
use common::kafka::error::ErrorCode;
use common::kafka::messages::leave_group::MemberIdentity;
use common::kafka::messages::{LeaveGroupRequest, MetadataRequest};
use positions::Positions;
use specs::{SCENARIOS, SPECS, USAGE};
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

/// An exception of Java's tool: its class and what it says. True: it ended the reset of offsets, which is told first.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Thrown(String, bool);

impl Thrown {
    fn new(class: &str, problem: &str) -> Thrown {
        Thrown(format!("{class}: {problem}"), false)
    }

    fn reset(class: &str, problem: &str) -> Thrown {
        Thrown(format!("{class}: {problem}"), true)
    }

    /// An error of a call whose result Java's tool waits for.
    fn call(error: &anyhow::Error) -> Thrown {
        Thrown::new("java.util.concurrent.ExecutionException", &java_text(error))
    }
}

/// The tool.
pub(crate) fn streams_reset(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let outcome = run(arguments).or_else(|error| {
        if error.is::<options::Ended>() {
            return Err(error);
        }
        if error.downcast_ref::<Thrown>().is_some_and(|thrown| thrown.1) {
            eprintln!("ERROR: Resetting offsets failed.");
        }
        eprintln!("ERROR: {}", shown(&error));
        Ok(ExitCode::FAILURE)
    });
    options::exit(outcome)
}

fn shown(error: &anyhow::Error) -> String {
    if let Some(NoServers(cause)) = error.downcast_ref() {
        return format!(
            "org.apache.kafka.common.KafkaException: Failed to create new KafkaAdminClient\nCaused by: {cause}"
        );
    }
    match error.downcast_ref::<OptionError>() {
        Some(error) => error.uncaught().trim_start_matches("Exception in thread \"main\" ").to_owned(),
        None => java_text(error),
    }
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = Options::or_usage(SPECS, arguments)?;
    options.require_marked().map_err(|error| options.usage(&error.to_string()))?;
    options.help_or_version(arguments, USAGE)?;
    for scenario in SCENARIOS {
        let others: Vec<&str> = SCENARIOS.into_iter().filter(|other| *other != scenario).collect();
        options.exclude(scenario, &others)?;
    }
    let settings = match options.value("config-file")? {
        Some(file) => load_settings(file).map_err(|_| Thrown::new("java.nio.file.NoSuchFileException", file))?,
        None => BTreeMap::new(),
    };
    let servers = match (options.value("bootstrap-server")?, options.value("bootstrap-servers")?) {
        (Some(servers), _) | (None, Some(servers)) => servers,
        (None, None) => "localhost:9092",
    };
    let mut cluster = Cluster::new(servers, &settings)?;
    remove_members(&options, &mut cluster)?;
    let topics = topics(&mut cluster).map_err(|error| Thrown::call(&error))?;
    if options.has("dry-run") {
        println!("----Dry run displays the actions which will be performed when running Streams Reset Tool----");
    }
    let all_found = reset_offsets(&options, &mut cluster, &topics, &settings)?;
    delete_internal(&options, &mut cluster, &topics)?;
    Ok(if all_found { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The arguments of an option, each of which may be a list.
fn list(options: &Options, name: &str) -> Vec<String> {
    let values = options.values(name).into_iter();
    values.flat_map(|value| value.split(',')).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// Nobody may be reading for the application; with `--force` those who do are removed.
fn remove_members(options: &Options, cluster: &mut Cluster) -> anyhow::Result<()> {
    let group = options.value("application-id")?.unwrap_or_default();
    let members = wire::describe(cluster, group).map_err(|error| Thrown::call(&error))?.members;
    if members.is_empty() {
        return Ok(());
    }
    if !options.has("force") {
        let members: Vec<String> = members.iter().map(described).collect();
        let problem = format!(
            "Consumer group '{group}' is still active and has following members: [{}]. Make sure to stop all running \
             application instances before running the reset tool. You can use option '--force' to remove active members \
             from the group.",
            members.join(", ")
        );
        return Err(Thrown::new("java.lang.IllegalStateException", &problem).into());
    }
    println!("Force deleting all active members in the group: {group}");
    let identity = |member: &Member| MemberIdentity {
        // A static member goes by its name, whoever has it now.
        member_id: if member.instance_id.is_empty() { member.id.clone() } else { String::new() },
        group_instance_id: (!member.instance_id.is_empty()).then(|| member.instance_id.clone()),
        reason: Some("member was removed by an admin".to_owned()),
    };
    let leaving: Vec<MemberIdentity> = members.iter().map(identity).collect();
    let request = |_| LeaveGroupRequest { group_id: group.to_owned(), members: leaving.clone(), ..Default::default() };
    let response = cluster
        .call(Target::Group(group), request, |response| response.error_code)
        .map_err(|error| Thrown::call(&error))?;
    check(response.error_code, None).map_err(|error| Thrown::call(&error.into()))?;
    for member in response.members {
        match check(member.error_code, None) {
            // It has gone by itself.
            Err(error) if error.code == ErrorCode::UnknownMemberId => {}
            outcome => outcome.map_err(|error| Thrown::call(&error.into()))?,
        }
    }
    Ok(())
}

/// A member as Java writes it.
fn described(member: &Member) -> String {
    let partitions: Vec<Partition> = member.partitions.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    let partitions = hash_order(partitions, 16, |(topic, index)| partition_hash(topic, *index));
    let partitions: Vec<String> = partitions.iter().map(|(topic, index)| format!("{topic}-{index}")).collect();
    format!(
        "(memberId={}, groupInstanceId={}, clientId={}, host={}, assignment=(topicPartitions={}), \
         targetAssignment=Optional.empty)",
        member.id,
        if member.instance_id.is_empty() { "null" } else { &member.instance_id },
        member.client_id,
        member.host,
        partitions.join(",")
    )
}

/// Every topic that is not the brokers' own, with its count of partitions, in the order of a Java map.
fn topics(cluster: &mut Cluster) -> anyhow::Result<Vec<(String, Vec<i32>)>> {
    let request = |_| MetadataRequest { topics: None, ..MetadataRequest::default() };
    let response = cluster.call(Target::Any, request, |_| 0)?;
    let mut topics = Vec::new();
    for topic in response.topics {
        if let Some(name) = topic.name.filter(|_| !topic.is_internal) {
            topics.push((name, topic.partitions.iter().map(|partition| partition.partition_index).collect()));
        }
    }
    Ok(hash_order(topics, 16, |(name, _)| hash(name)))
}

/// Moves what the application has committed. False if a topic that was named does not exist.
fn reset_offsets(
    options: &Options,
    cluster: &mut Cluster,
    topics: &[(String, Vec<i32>)],
    settings: &BTreeMap<String, String>,
) -> anyhow::Result<bool> {
    let (input, intermediate) = (list(options, "input-topics"), list(options, "intermediate-topics"));
    if input.is_empty() && intermediate.is_empty() {
        println!("No input or intermediate topics specified. Skipping seek.");
        return Ok(true);
    }
    if !input.is_empty() {
        println!("Reset-offsets for input topics [{}]", input.join(", "));
    }
    if !intermediate.is_empty() {
        println!("Seek-to-end for intermediate topics [{}]", intermediate.join(", "));
    }
    let exists = |name: &&String| topics.iter().any(|(topic, _)| topic == *name);
    let mut all_found = true;
    for (names, kind, label) in [(&input, "input", "Topic: "), (&intermediate, "intermediate", "Topic:")] {
        let missing: Vec<&String> = names.iter().filter(|name| !exists(name)).collect();
        if !missing.is_empty() {
            println!("Following {kind} topics are not found, skipping them");
            missing.iter().for_each(|name| println!("{label}{name}"));
            all_found = false;
        }
    }
    if !input.iter().chain(&intermediate).any(|name| exists(&name)) {
        return Ok(all_found);
    }
    let of = |wanted: &dyn Fn(&String) -> bool| -> Vec<Partition> {
        let named = topics.iter().filter(|(name, _)| wanted(name));
        let all = named.flat_map(|(name, indexes)| indexes.iter().map(|index| (name.clone(), *index))).collect();
        hash_order(all, 16, |(topic, index)| partition_hash(topic, *index))
    };
    let to_reset = of(&|name| input.contains(name));
    let to_skip = of(&|name| intermediate.contains(name) && !input.contains(name));
    let group = options.value("application-id")?.unwrap_or_default();
    let mut positions = Positions::new();
    if !to_reset.is_empty() {
        println!("Following input topics offsets will be reset to (for consumer group {group})");
        positions = positions::by_scenario(options, cluster, &to_reset, settings)?;
        for place in &to_reset {
            println!("Topic: {} Partition: {} Offset: {}", place.0, place.1, positions[place]);
        }
    }
    if !to_skip.is_empty() {
        println!("Following intermediate topics offsets will be reset to end (for consumer group {group})");
        to_skip.iter().for_each(|(topic, _)| println!("Topic: {topic}"));
        positions.extend(positions::at(cluster, &to_skip, LATEST)?);
    }
    if !options.has("dry-run") {
        let wanted: BTreeSet<&Partition> = to_reset.iter().chain(&to_skip).collect();
        let offsets: Vec<(Partition, i64)> =
            positions.into_iter().filter(|(place, _)| wanted.contains(place)).collect();
        wire::commit(cluster, group, &offsets)?;
    }
    println!("Done.");
    Ok(all_found)
}

/// Does the application name its own topics so?
fn is_internal_name(topic: &str) -> bool {
    const ENDS: [&str; 4] =
        ["-changelog", "-repartition", "-subscription-registration-topic", "-subscription-response-topic"];
    const JOINS: [&str; 2] = ["-KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-", "-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-"];
    let is_join = |join: &&str| {
        let Some((before, number)) = topic.strip_suffix("-topic").and_then(|rest| rest.rsplit_once(*join)) else {
            return false;
        };
        !before.is_empty() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    ENDS.iter().any(|end| topic.ends_with(end)) || JOINS.iter().any(is_join)
}

/// Deletes the topics that the application made for itself.
fn delete_internal(options: &Options, cluster: &mut Cluster, topics: &[(String, Vec<i32>)]) -> anyhow::Result<()> {
    let (input, intermediate) = (list(options, "input-topics"), list(options, "intermediate-topics"));
    let prefix = format!("{}-", options.value("application-id")?.unwrap_or_default());
    let names = topics.iter().map(|(name, _)| name.clone());
    let inferred: Vec<String> = names
        .filter(|name| !input.contains(name) && !intermediate.contains(name))
        .filter(|name| name.starts_with(&prefix) && is_internal_name(name))
        .collect();
    let named = list(options, "internal-topics");
    if named.iter().any(|name| !inferred.contains(name)) {
        let problem = "Invalid topic specified in the --internal-topics option. Ensure that the topics specified are all \
                       internal topics. Do a dry run without the --internal-topics option to see the list of all internal \
                       topics that can be deleted.";
        return Err(Thrown::new("java.lang.IllegalArgumentException", problem).into());
    }
    let (to_delete, how) = if named.is_empty() { (inferred, "inferred") } else { (named, "specified") };
    println!("Deleting {how} internal topics [{}]", to_delete.join(", "));
    if !options.has("dry-run") && !to_delete.is_empty() {
        delete(cluster, &to_delete)?;
    }
    println!("Done.");
    Ok(())
}

fn delete(cluster: &mut Cluster, names: &[String]) -> anyhow::Result<()> {
    let names: Vec<String> = names.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    let mut failed = false;
    match delete_named(cluster, &names) {
        Ok(results) => {
            for result in results {
                if let Err(error) = check(result.error_code, result.error_message.as_deref()) {
                    eprintln!("ERROR: deleting topic {}", result.name.unwrap_or_default());
                    eprintln!("{}", Thrown::call(&error.into()));
                    failed = true;
                }
            }
        }
        Err(error) => {
            let problem = Thrown::call(&error);
            names.iter().for_each(|name| eprintln!("ERROR: deleting topic {name}\n{problem}"));
            failed = true;
        }
    }
    match failed {
        true => {
            let problem = "Encountered an error deleting one or more topics";
            Err(Thrown::new("java.lang.RuntimeException", problem).into())
        }
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_applications_own_topics_are_known_by_their_names() {
        for (name, expected) in [
            ("app-counts-changelog", true),
            ("app-counts-repartition", true),
            ("app-x-subscription-registration-topic", true),
            ("app-x-subscription-response-topic", true),
            ("app-KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-0000000006-topic", true),
            ("app-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-12-topic", true),
            ("-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-12-topic", false),
            ("app-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE--topic", false),
            ("app-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-x1-topic", false),
            ("app-topic", false),
            ("app-changelog-2", false),
        ] {
            assert_eq!(is_internal_name(name), expected, "{name}");
        }
    }
}
