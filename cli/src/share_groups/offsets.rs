//! `kafka-share-groups --reset-offsets` and `--delete-offsets`: where share groups begin, moved or forgotten.

use super::{print_error, wire};
use crate::client::{KafkaError, check, code_of, java_text};
use crate::cluster::Cluster;
use crate::groups::reset::{Plan, at, at_time, of_topics, wrapped};
use crate::groups::when;
use crate::java_order::{hash_order, partition_hash};
use crate::log_offsets::{self, EARLIEST, LATEST, Partition};
use crate::options::{Ended, Options};
use anyhow::anyhow;
use common::kafka::error::ErrorCode;
use std::collections::{BTreeMap, BTreeSet};

/// Plans the reset, carries it out if that is asked for, and shows it.
pub(super) fn reset(options: &Options, cluster: &mut Cluster) -> anyhow::Result<()> {
    let id = options.value("group")?.unwrap_or_default().to_owned();
    let refused = |text: &str| {
        eprintln!("{text}");
        anyhow::Error::from(Ended(1))
    };
    match wire::describe(cluster, &id) {
        Ok(group) if !matches!(group.state.as_str(), "Empty" | "Dead") => {
            return Err(refused(&format!("Share group '{id}' is not empty.")));
        }
        Ok(_) => {}
        Err(error) if code_of(&error) == Some(ErrorCode::GroupIdNotFound) => {}
        Err(error) => return Err(refused(&error.to_string())),
    }
    let scope = scope(options, cluster, &id).map_err(bare)?;
    check_partitions(cluster, &scope)?;
    let plan = if options.has("to-earliest") {
        at(cluster, &scope, EARLIEST)?
    } else if options.has("to-latest") {
        at(cluster, &scope, LATEST)?
    } else {
        let time = when::datetime(options.value("to-datetime")?.unwrap_or_default());
        at_time(cluster, &scope, time.map_err(|problem| anyhow!("java.text.ParseException: {problem}"))?)?
    };
    let plan = hash_order(plan, 16, |((topic, partition), _)| partition_hash(topic, *partition));
    if options.has("execute") {
        let refused = wire::alter(cluster, &id, &plan).map_err(bare)?;
        if !refused.is_empty() {
            let names: Vec<String> = hash_order(refused.into_keys().collect(), 16, |(topic, partition): &Partition| {
                partition_hash(topic, *partition)
            })
            .iter()
            .map(|(topic, partition)| format!("{topic}-{partition}"))
            .collect();
            let names = names.join(", ");
            return Err(anyhow!("Failed altering group offsets for the following partitions: [{names}]"));
        }
    }
    show(&id, &plan);
    Ok(())
}

/// An error by its message alone, as Java's tool meets it when it has taken it out of another.
fn bare(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<KafkaError>() {
        Some(error) => anyhow!("{}", error.message),
        None => error,
    }
}

fn scope(options: &Options, cluster: &mut Cluster, id: &str) -> anyhow::Result<Vec<Partition>> {
    if !options.has("topic") {
        return Ok(wire::offsets(cluster, id)?.into_keys().collect());
    }
    of_topics(options, cluster, |error| error)
}

fn check_partitions(cluster: &mut Cluster, scope: &[Partition]) -> anyhow::Result<()> {
    let topics: BTreeSet<String> = scope.iter().map(|(topic, _)| topic.clone()).collect();
    if topics.is_empty() {
        return Ok(());
    }
    let topics: Vec<String> = topics.into_iter().collect();
    let mut leaders: BTreeMap<Partition, i32> = BTreeMap::new();
    for topic in log_offsets::metadata(cluster, &topics).map_err(wrapped)?.topics {
        check(topic.error_code, None).map_err(|error| wrapped(error.into()))?;
        let name = topic.name.unwrap_or_default();
        leaders.extend(topic.partitions.iter().map(|one| ((name.clone(), one.partition_index), one.leader_id)));
    }
    let names = |of: &dyn Fn(Option<i32>) -> bool| {
        let those = scope.iter().filter(|partition| of(leaders.get(*partition).copied()));
        those.map(|(topic, partition)| format!("{topic}-{partition}")).collect::<Vec<_>>().join(",")
    };
    let missing = names(&|leader| leader.is_none());
    if !missing.is_empty() {
        return Err(anyhow!("The partitions \"{missing}\" do not exist"));
    }
    let leaderless = names(&|leader| leader.is_some_and(|leader| leader < 0));
    if !leaderless.is_empty() {
        return Err(anyhow!("The partitions \"{leaderless}\" have no leader"));
    }
    Ok(())
}

fn show(id: &str, plan: &Plan) {
    let group_width = id.chars().count().max(15);
    let topic_width = plan.iter().map(|((topic, _), _)| topic.chars().count()).max().unwrap_or(0).max(15);
    let line = |group: &str, topic: &str, partition: &str, offset: &str| {
        print!("\n{group:group_width$} {topic:topic_width$} {partition:10} {offset}");
    };
    line("GROUP", "TOPIC", "PARTITION", "NEW-OFFSET");
    for ((topic, partition), offset) in plan {
        line(id, topic, &partition.to_string(), &offset.to_string());
    }
    println!();
}

/// Has a group forget topics.
pub(super) fn delete(options: &Options, cluster: &mut Cluster) -> anyhow::Result<()> {
    let id = options.value("group")?.unwrap_or_default().to_owned();
    let topics: BTreeSet<String> = options.values("topic").into_iter().map(str::to_owned).collect();
    let topics: Vec<String> = topics.into_iter().collect();
    let mut outcomes: BTreeMap<String, Option<String>> = BTreeMap::new();
    let outcome = match wire::delete_offsets(cluster, &id, &topics) {
        Ok(outcome) => outcome,
        Err(error) => match error.downcast::<KafkaError>() {
            Ok(error) => Err(error),
            Err(error) => {
                print_error(&format!("Encounter some unknown error: {}", java_text(&error)));
                outcomes.extend(topics.iter().map(|topic| (topic.clone(), Some(error.to_string()))));
                show_deleted(&outcomes);
                return Ok(());
            }
        },
    };
    match outcome {
        Err(error) => {
            match error.code {
                ErrorCode::InvalidGroupId
                | ErrorCode::GroupIdNotFound
                | ErrorCode::GroupAuthorizationFailed
                | ErrorCode::NonEmptyGroup => print_error(&error.message),
                ErrorCode::TopicAuthorizationFailed | ErrorCode::UnknownTopicOrPartition => {}
                _ => print_error(&format!("Encounter some unknown error: {}", error.java_text())),
            }
            outcomes.extend(topics.iter().map(|topic| (topic.clone(), Some(error.message.clone()))));
        }
        Ok(found) => {
            let is_known =
                |code| matches!(code, ErrorCode::TopicAuthorizationFailed | ErrorCode::UnknownTopicOrPartition);
            if let Some(error) = found.values().find_map(|outcome| outcome.as_ref().err()).filter(|e| !is_known(e.code))
            {
                print_error(&format!("Encounter some unknown error: {}", error.java_text()));
            }
            outcomes
                .extend(found.into_iter().map(|(topic, outcome)| (topic, outcome.err().map(|error| error.message))));
        }
    }
    show_deleted(&outcomes);
    Ok(())
}

fn show_deleted(outcomes: &BTreeMap<String, Option<String>>) {
    let width = outcomes.keys().map(|topic| topic.chars().count()).max().unwrap_or(0).max(15);
    if !outcomes.is_empty() {
        print!("\n{:width$} STATUS", "TOPIC");
    }
    for (topic, problem) in outcomes {
        let status = problem.as_ref().map_or("Successful".to_owned(), |problem| format!("Error: {problem}"));
        print!("\n{topic:width$} {status}");
    }
    println!();
}
