//! `kafka-consumer-groups --describe`: offsets, members or state of groups in columns. Changes nothing.

use super::reset::wrapped;
use super::wire::{self, Group};
use super::{print_error, wanted};
use crate::cluster::Cluster;
use crate::java_order::{hash_order, partition_hash};
use crate::log_offsets::{self, Partition};
use crate::options::Options;
use anyhow::anyhow;
use std::collections::{BTreeMap, BTreeSet};

/// Prints what the options ask for.
pub(super) fn describe(options: &Options, cluster: &mut Cluster) -> anyhow::Result<()> {
    let mut groups = BTreeMap::new();
    for id in wanted(options, cluster)? {
        groups.insert(id.clone(), wire::describe(cluster, &id)?);
    }
    if options.has("members") && !options.has("offsets") {
        groups.values().try_for_each(|group| members(group, options.has("verbose")))
    } else if options.has("state") && !options.has("offsets") {
        groups.values().try_for_each(state)
    } else {
        // All are gathered before the first is shown.
        let mut rows = Vec::new();
        for group in groups.values() {
            rows.push(rows_of(cluster, group)?);
        }
        groups.values().zip(rows).try_for_each(|(group, rows)| offsets(group, &rows))
    }
}

/// Says how the group stands if that is remarkable. Is there anything to show?
fn has_something_to_show(group: &Group, rows: usize) -> anyhow::Result<bool> {
    let id = &group.id;
    match group.state.as_str() {
        "Dead" => print_error(&format!("Consumer group '{id}' does not exist.")),
        "Empty" => eprintln!("\nConsumer group '{id}' has no active members."),
        "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => {
            eprintln!("\nWarning: Consumer group '{id}' is rebalancing.");
        }
        "Stable" => {}
        _ => return Err(anyhow!("Expected a valid consumer group state, but found 'Unknown'.")),
    }
    Ok(group.state != "Dead" && rows > 0)
}

/// Topic, partition, current offset, end, lag, consumer, host, client.
type Row = [String; 8];

fn rows_of(cluster: &mut Cluster, group: &Group) -> anyhow::Result<Vec<Row>> {
    let committed = wire::committed(cluster, &group.id).map_err(wrapped)?;
    let mut members: Vec<_> = group.members.iter().filter(|member| !member.partitions.is_empty()).collect();
    members.sort_by_key(|member| std::cmp::Reverse(member.partitions.len()));
    let mut rows = Vec::new();
    let mut assigned = BTreeSet::new();
    for member in members {
        assigned.extend(member.partitions.iter().cloned());
        let owner = [member.id.as_str(), &member.host, &member.client_id];
        rows.extend(partition_rows(cluster, member.partitions.clone(), &committed, owner)?);
    }
    let rest: Vec<Partition> = committed.keys().filter(|partition| !assigned.contains(*partition)).cloned().collect();
    rows.extend(partition_rows(cluster, rest, &committed, ["-"; 3])?);
    Ok(rows)
}

fn partition_rows(
    cluster: &mut Cluster,
    partitions: Vec<Partition>,
    committed: &BTreeMap<Partition, i64>,
    [consumer, host, client]: [&str; 3],
) -> anyhow::Result<Vec<Row>> {
    // In the order in which Kafka's tool meets them: a set, sorted by partition, put into a map.
    let mut partitions = hash_order(partitions, 16, |(topic, partition)| partition_hash(topic, *partition));
    partitions.sort_by_key(|(_, partition)| *partition);
    let partitions = hash_order(partitions, 16, |(topic, partition)| partition_hash(topic, *partition));
    let ends = log_offsets::at(cluster, &partitions, log_offsets::LATEST)?;
    let mut rows = Vec::new();
    for partition in partitions {
        let end = match ends.get(&partition) {
            Some(Err(error)) => return Err(anyhow!("java.util.concurrent.ExecutionException: {}", error.java_text())),
            Some(Ok(end)) => Some(*end),
            None => None,
        };
        let current = committed.get(&partition).copied();
        let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let lag = current.filter(|offset| *offset != -1).zip(end).map(|(current, end)| end - current);
        let (topic, index) = partition;
        rows.push([
            topic,
            index.to_string(),
            number(current),
            number(end),
            number(lag),
            consumer.to_owned(),
            host.to_owned(),
            client.to_owned(),
        ]);
    }
    Ok(rows)
}

fn widest<'a>(cells: impl Iterator<Item = &'a str>, at_least: usize) -> usize {
    cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(at_least)
}

fn offsets(group: &Group, rows: &[Row]) -> anyhow::Result<()> {
    if !has_something_to_show(group, rows.len())? {
        return Ok(());
    }
    let id_width = widest(std::iter::once(group.id.as_str()), 15);
    let column = |index: usize| widest(rows.iter().map(|row| row[index].as_str()), 15);
    let (topic_width, consumer_width, host_width) = (column(0), column(5), column(6));
    let line = |id: &str, [topic, partition, current, end, lag, consumer, host, client]: [&str; 8]| {
        print!(
            "\n{id:id_width$} {topic:topic_width$} {partition:10} {current:15} {end:15} {lag:15} \
             {consumer:consumer_width$} {host:host_width$} {client}"
        );
    };
    let header = ["TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST", "CLIENT-ID"];
    line("GROUP", header);
    for row in rows {
        line(&group.id, row.each_ref().map(String::as_str));
    }
    Ok(())
}

fn members(group: &Group, verbose: bool) -> anyhow::Result<()> {
    let shown = has_something_to_show(group, group.members.len())?;
    let members: &[wire::Member] = if shown { &group.members } else { &[] };
    let id_width = widest(std::iter::once(group.id.as_str()).filter(|_| shown), 15);
    let consumer_width = widest(members.iter().map(|member| member.id.as_str()), 15);
    let instance_width = widest(members.iter().map(|member| member.instance_id.as_str()), 17);
    let host_width = widest(members.iter().map(|member| member.host.as_str()), 15);
    let client_width = widest(members.iter().map(|member| member.client_id.as_str()), 15);
    let with_instance = members.iter().any(|member| !member.instance_id.is_empty());
    let line = |id: &str, [consumer, instance, host, client, count, assignment]: [&str; 6]| {
        let instance = if with_instance { format!(" {instance:instance_width$}") } else { String::new() };
        println!(
            "{id:id_width$} {consumer:consumer_width$}{instance} {host:host_width$} {client:client_width$} {count:15} \
             {}",
            if verbose { assignment } else { "" }
        );
    };
    println!();
    line("GROUP", ["CONSUMER-ID", "GROUP-INSTANCE-ID", "HOST", "CLIENT-ID", "#PARTITIONS", "ASSIGNMENT"]);
    for member in &group.members {
        let count = member.partitions.len().to_string();
        let assignment = assignment(&member.partitions);
        line(&group.id, [&member.id, &member.instance_id, &member.host, &member.client_id, &count, &assignment]);
    }
    Ok(())
}

/// Partitions by topic, without the topics' names, as Kafka 3.9 shows them.
fn assignment(partitions: &[Partition]) -> String {
    if partitions.is_empty() {
        return "-".to_owned();
    }
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(partition.to_string());
    }
    let mut lists: Vec<String> = topics
        .into_values()
        .map(|mut list| {
            list.sort_unstable();
            format!("({})", list.join(","))
        })
        .collect();
    lists.sort_unstable();
    lists.join(", ")
}

fn state(group: &Group) -> anyhow::Result<()> {
    if !has_something_to_show(group, 1)? {
        return Ok(());
    }
    let width = group.coordinator.chars().count().max(25);
    let line = |cells: [&str; 5]| {
        let [id, coordinator, strategy, state, members] = cells;
        print!("\n{id:width$} {coordinator:25} {strategy:20} {state:15} {members}");
    };
    line(["GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", "#MEMBERS"]);
    line([&group.id, &group.coordinator, &group.assignor, &group.state, &group.members.len().to_string()]);
    println!();
    Ok(())
}
