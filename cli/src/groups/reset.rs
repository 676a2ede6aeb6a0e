//! `kafka-consumer-groups --reset-offsets` and `--delete-offsets`: what groups have committed, moved or removed.

use super::wire;
use super::{IllegalArgument, SCENARIOS, print_error, set_of, wanted, when};
use crate::client::{check, java_text};
use crate::clock;
use crate::cluster::Cluster;
use crate::java_order::{hash, hash_order, partition_hash};
use crate::log_offsets::{self, EARLIEST, LATEST, Partition};
use crate::options::Options;
use anyhow::anyhow;
use common::kafka::error::ErrorCode;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) type Plan = Vec<(Partition, i64)>;

/// An error that Java's tool meets as the cause of another.
pub(crate) fn wrapped(error: anyhow::Error) -> anyhow::Error {
    if error.is::<IllegalArgument>() || error.is::<crate::options::Ended>() {
        return error;
    }
    anyhow!("java.util.concurrent.ExecutionException: {}", java_text(&error))
}

/// Plans the reset, carries it out if that is asked for, and shows it.
pub(super) fn reset(options: &Options, cluster: &mut Cluster) -> anyhow::Result<()> {
    let mut plans: Vec<(String, Plan)> = Vec::new();
    let groups = hash_order(wanted(options, cluster)?, 16, |group| hash(group));
    for group in groups {
        let state = wire::describe(cluster, &group).map_err(wrapped)?.state;
        if !matches!(state.as_str(), "Empty" | "Dead") {
            print_error(&format!(
                "Assignments can only be reset if the group '{group}' is inactive, but the current state is {state}."
            ));
            plans.push((group, Plan::new()));
            continue;
        }
        let scope = scope(options, cluster, &group)?;
        let plan = plan(options, cluster, &group, scope)?;
        let plan = hash_order(plan, 16, |((topic, partition), _)| partition_hash(topic, *partition));
        if options.has("execute") && !options.has("dry-run") && !plan.is_empty() {
            wire::commit(cluster, &group, &plan).map_err(wrapped)?;
        }
        plans.push((group, plan));
    }
    if options.has("export") {
        export(options, &plans)
    } else {
        show(&plans)
    }
    Ok(())
}

fn show(plans: &[(String, Plan)]) {
    // Kafka 3.9's tool puts all of them in one line, for want of the line ends that those before and after it print.
    let line = |group: &str, topic: &str, partition: &str, offset: &str| {
        print!("\n{group:30} {topic:30} {partition:10} {offset:15}");
    };
    if !plans.is_empty() {
        line("GROUP", "TOPIC", "PARTITION", "NEW-OFFSET");
    }
    for (group, plan) in plans {
        for ((topic, partition), offset) in plan {
            line(group, topic, &partition.to_string(), &offset.to_string());
        }
    }
}

fn export(options: &Options, plans: &[(String, Plan)]) {
    let one_group = options.values("group").len() == 1;
    let mut text = String::new();
    for (group, plan) in plans {
        for ((topic, partition), offset) in plan {
            if !one_group {
                text += &format!("{},", csv(group));
            }
            text += &format!("{},{partition},{offset}\n", csv(topic));
        }
    }
    println!("{text}");
}

/// A field as Jackson's CSV writer has it: in quotes if it is long or has unusual characters.
fn csv(field: &str) -> String {
    let plain = field.chars().count() <= 24 && field.chars().all(|c| c > ',');
    if plain { field.to_owned() } else { format!("\"{}\"", field.replace('"', "\"\"")) }
}

/// The partitions to reset.
fn scope(options: &Options, cluster: &mut Cluster, group: &str) -> anyhow::Result<Vec<Partition>> {
    if options.has("all-topics") {
        return Ok(wire::committed(cluster, group).map_err(wrapped)?.into_keys().collect());
    }
    if options.has("topic") {
        return of_topics(options, cluster, wrapped);
    }
    if !options.has("from-file") {
        return Err(options.usage("One of the reset scopes should be defined: --all-topics, --topic.").into());
    }
    Ok(Vec::new())
}

/// What `--topic` names: all partitions of a topic, or those that stand behind it. `tells` makes of an answer's error what is shown.
pub(crate) fn of_topics(
    options: &Options,
    cluster: &mut Cluster,
    tells: fn(anyhow::Error) -> anyhow::Error,
) -> anyhow::Result<Vec<Partition>> {
    let mut partitions: BTreeSet<Partition> = BTreeSet::new();
    let mut whole = Vec::new();
    for topic in options.values("topic") {
        match topic.contains(':') {
            true => partitions.extend(with_partitions(topic)?),
            false => whole.push(topic.to_owned()),
        }
    }
    if !whole.is_empty() {
        for topic in log_offsets::metadata(cluster, &whole).map_err(tells)?.topics {
            check(topic.error_code, None).map_err(|error| tells(error.into()))?;
            let name = topic.name.unwrap_or_default();
            partitions.extend(topic.partitions.iter().map(|partition| (name.clone(), partition.partition_index)));
        }
    }
    Ok(partitions.into_iter().collect())
}

/// Of `topic:0,1,2`.
fn with_partitions(argument: &str) -> Result<Vec<Partition>, IllegalArgument> {
    let mut parts = argument.split(':');
    let (Some(topic), Some(list), None) = (parts.next(), parts.next().filter(|list| !list.is_empty()), parts.next())
    else {
        let message = format!("Invalid topic arg '{argument}', expected topic name and partitions");
        return Err(IllegalArgument(message));
    };
    let partition = |text: &str| match text.parse() {
        Ok(partition) => Ok((topic.to_owned(), partition)),
        Err(_) => Err(IllegalArgument(format!("Invalid partition '{text}' specified in topic arg '{argument}''"))),
    };
    list.split(',').map(partition).collect()
}

fn plan(options: &Options, cluster: &mut Cluster, group: &str, scope: Vec<Partition>) -> anyhow::Result<Plan> {
    if let Some(offset) = options.number::<i64>("to-offset")? {
        return in_range(cluster, scope.into_iter().map(|partition| (partition, offset)).collect());
    }
    if options.has("to-earliest") {
        return at(cluster, &scope, EARLIEST);
    }
    if options.has("to-latest") {
        return at(cluster, &scope, LATEST);
    }
    if let Some(by) = options.number::<i64>("shift-by")? {
        let committed = wire::committed(cluster, group).map_err(wrapped)?;
        let mut moved = Plan::new();
        for partition in scope {
            let Some(current) = committed.get(&partition) else {
                let (topic, index) = partition;
                return Err(IllegalArgument(format!(
                    "Cannot shift offset for partition {topic}-{index} since there is no current committed offset"
                ))
                .into());
            };
            moved.push((partition, current.saturating_add(by)));
        }
        return in_range(cluster, moved);
    }
    if let Some(text) = options.value("to-datetime")? {
        let time = when::datetime(text).map_err(|problem| anyhow!("java.text.ParseException: {problem}"))?;
        return at_time(cluster, &scope, time);
    }
    if let Some(text) = options.value("by-duration")? {
        let duration = when::duration(text).ok_or_else(|| anyhow!("Text cannot be parsed to a Duration"))?;
        return at_time(cluster, &scope, clock::now_ms().saturating_sub(duration));
    }
    if let Some(file) = options.value("from-file")? {
        let mut plans = read_plans(options, file)?;
        return match plans.remove(group) {
            Some(plan) => in_range(cluster, plan.into_iter().collect()),
            None => {
                print_error(&format!("No reset plan for group {group} found"));
                Ok(Plan::new())
            }
        };
    }
    if options.has("to-current") {
        let committed = wire::committed(cluster, group).map_err(wrapped)?;
        let (with, without): (Vec<_>, Vec<_>) = scope.into_iter().partition(|tp| committed.contains_key(tp));
        let mut plan: Plan = with.into_iter().map(|tp| (tp.clone(), committed[&tp])).collect();
        plan.extend(at(cluster, &without, LATEST)?);
        return Ok(plan);
    }
    let message = format!("Option '[reset-offsets]' requires one of the following scenarios: [{}]", set_of(&SCENARIOS));
    Err(options.usage(&message).into())
}

pub(crate) fn at(cluster: &mut Cluster, partitions: &[Partition], time: i64) -> anyhow::Result<Plan> {
    let mut plan = Plan::new();
    for (partition, offset) in log_offsets::at(cluster, partitions, time).map_err(wrapped)? {
        plan.push((partition, offset.map_err(|error| wrapped(error.into()))?));
    }
    Ok(plan)
}

pub(crate) fn at_time(cluster: &mut Cluster, partitions: &[Partition], time: i64) -> anyhow::Result<Plan> {
    let (mut plan, empty): (Plan, Plan) =
        at(cluster, partitions, time)?.into_iter().partition(|(_, offset)| *offset >= 0);
    let empty: Vec<Partition> = empty.into_iter().map(|(partition, _)| partition).collect();
    let empty = hash_order(empty, 16, |(topic, partition)| partition_hash(topic, *partition));
    for (topic, partition) in &empty {
        println!("\nWarn: Partition {partition} from topic {topic} is empty. Falling back to latest known offset.");
    }
    plan.extend(at(cluster, &empty, LATEST)?);
    Ok(plan)
}

/// Offsets outside of the logs become the nearest inside.
fn in_range(cluster: &mut Cluster, plan: Plan) -> anyhow::Result<Plan> {
    let partitions: Vec<Partition> = plan.iter().map(|(partition, _)| partition.clone()).collect();
    let starts: BTreeMap<Partition, i64> = at(cluster, &partitions, EARLIEST)?.into_iter().collect();
    let ends: BTreeMap<Partition, i64> = at(cluster, &partitions, LATEST)?.into_iter().collect();
    let warn = |offset: i64, how: &str, (topic, partition): &Partition, value: i64| {
        eprintln!(
            "[{}] WARN New offset ({offset}) is {how} offset for topic partition {topic}-{partition}. Value will be set to \
             {value} (org.apache.kafka.tools.consumer.group.ConsumerGroupCommand)",
            clock::log_time()
        );
        value
    };
    let fit = |(partition, offset): (Partition, i64)| {
        let offset = match (starts.get(&partition), ends.get(&partition)) {
            (_, Some(end)) if offset > *end => warn(offset, "higher than latest", &partition, *end),
            (Some(start), _) if offset < *start => warn(offset, "lower than earliest", &partition, *start),
            _ => offset,
        };
        (partition, offset)
    };
    Ok(plan.into_iter().map(fit).collect())
}

/// Plans by group from lines `topic,partition,offset` (one group asked for) or `group,topic,partition,offset`.
fn read_plans(options: &Options, file: &str) -> anyhow::Result<BTreeMap<String, BTreeMap<Partition, i64>>> {
    let text = std::fs::read_to_string(file).map_err(|_| anyhow!("java.nio.file.NoSuchFileException: {file}"))?;
    let only = match options.values("group")[..] {
        [group] => Some(group),
        _ => None,
    };
    let mut plans: BTreeMap<String, BTreeMap<Partition, i64>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let fields: Vec<&str> = line.split(',').map(|field| field.trim().trim_matches('"')).collect();
        let (group, topic, partition, offset) = match (&fields[..], only) {
            ([topic, partition, offset], Some(group)) => (group, *topic, *partition, *offset),
            ([group, topic, partition, offset], _) => (*group, *topic, *partition, *offset),
            _ => return Err(anyhow!("{file}: expected group,topic,partition,offset and found {line}")),
        };
        let (Ok(partition), Ok(offset)) = (partition.parse(), offset.parse()) else {
            return Err(anyhow!("{file}: partition and offset must be numbers, and are not in {line}"));
        };
        plans.entry(group.to_owned()).or_default().insert((topic.to_owned(), partition), offset);
    }
    Ok(plans)
}

/// Removes what a group has committed for topics.
pub(super) fn delete_offsets(options: &Options, cluster: &mut Cluster) -> anyhow::Result<()> {
    let group = options.value("group")?.unwrap_or_default().to_owned();
    let topics = options.values("topic");
    let mut outcomes: BTreeMap<Partition, Option<String>> = BTreeMap::new();
    let mut partitions: BTreeSet<Partition> = BTreeSet::new();
    for topic in &topics {
        if topic.contains(':') {
            partitions.extend(with_partitions(topic)?);
            continue;
        }
        for found in log_offsets::metadata(cluster, &[(*topic).to_owned()])?.topics {
            match check(found.error_code, None) {
                Err(error) => drop(outcomes.insert(((*topic).to_owned(), -1), Some(error.java_text()))),
                Ok(()) => {
                    let indexes = found.partitions.iter().map(|partition| partition.partition_index);
                    partitions.extend(indexes.map(|index| ((*topic).to_owned(), index)));
                }
            }
        }
    }
    let partitions: Vec<Partition> = partitions.into_iter().collect();
    let (mut top, codes) = wire::delete_offsets(cluster, &group, &partitions)?;
    for partition in partitions {
        let code = if top == 0 { codes.get(&partition).copied().unwrap_or(0) } else { top };
        outcomes.insert(partition, check(code, None).err().map(|error| error.java_text()));
    }
    if top == 0 {
        top = codes.values().copied().find(|code| *code != 0).unwrap_or(0);
    }
    print_verdict(&group, &topics.join(", "), top);
    print!("\n{:30} {:15} {:15}", "TOPIC", "PARTITION", "STATUS");
    let mut outcomes: Vec<_> = outcomes.into_iter().collect();
    outcomes.sort_by_key(|((topic, partition), _)| format!("{topic}{partition}"));
    for ((topic, partition), error) in outcomes {
        let partition = if partition >= 0 { partition.to_string() } else { "Not Provided".to_owned() };
        let status = error.map_or("Successful".to_owned(), |error| format!("Error: :{error}"));
        print!("\n{topic:30} {partition:15} {status:15}");
    }
    Ok(())
}

fn print_verdict(group: &str, topics: &str, code: i16) {
    match ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError) {
        ErrorCode::None => println!("Request succeed for deleting offsets with topic {topics} group {group}"),
        ErrorCode::InvalidGroupId => print_error(&format!("'{group}' is not valid.")),
        ErrorCode::GroupIdNotFound => print_error(&format!("'{group}' does not exist.")),
        ErrorCode::GroupAuthorizationFailed => print_error(&format!("Access to '{group}' is not authorized.")),
        ErrorCode::NonEmptyGroup => print_error(&format!(
            "Deleting offsets of a consumer group '{group}' is forbidden if the group is not empty."
        )),
        ErrorCode::GroupSubscribedToTopic
        | ErrorCode::TopicAuthorizationFailed
        | ErrorCode::UnknownTopicOrPartition => {
            print_error("Encounter some partition level error, see the follow-up details:");
        }
        other => print_error(&format!("Encounter some unknown error: {}", other.name())),
    }
}
