//! `kafka-share-groups --describe`: offsets, members or state of share groups in columns. Changes nothing.

use super::wire::{self, Group, Standing};
use super::{print_error, wanted};
use crate::cluster::Cluster;
use crate::groups::reset::wrapped;
use crate::log_offsets::Partition;
use crate::options::Options;
use std::collections::BTreeMap;

/// What stands where there is nothing to tell.
const MISSING: &str = "-";

/// Prints what the options ask for.
pub(super) fn describe(options: &Options, cluster: &mut Cluster) -> anyhow::Result<()> {
    let mut groups = BTreeMap::new();
    for id in wanted(options, cluster)? {
        groups.insert(id.clone(), wire::describe(cluster, &id)?);
    }
    let is_verbose = options.has("verbose");
    if options.has("members") {
        groups.iter().for_each(|(id, group)| members(id, group, is_verbose));
    } else if options.has("state") {
        groups.iter().for_each(|(id, group)| state(id, group, is_verbose));
    } else {
        // All are gathered before the first is shown.
        let mut all = Vec::new();
        for id in groups.keys() {
            all.push((id, wire::offsets(cluster, id).map_err(wrapped)?));
        }
        all.iter().for_each(|(id, standings)| offsets(id, standings, is_verbose));
    }
    Ok(())
}

/// Says how the group stands if that is remarkable. Is there anything to show?
fn has_something_to_show(id: &str, group: &Group, rows: usize) -> bool {
    match group.state.as_str() {
        "Dead" => print_error(&format!("Share group '{id}' does not exist.")),
        "Empty" => eprintln!("\nShare group '{id}' has no active members."),
        _ => {}
    }
    group.state != "Dead" && rows > 0
}

/// Lines of columns, each padded to its width; the last is not.
fn print_rows(widths: &[usize], rows: &[Vec<String>]) {
    for row in rows {
        let cell = |(at, text): (usize, &String)| match widths.get(at) {
            Some(width) => format!("{text:width$} "),
            None => text.clone(),
        };
        print!("\n{}", row.iter().enumerate().map(cell).collect::<String>());
    }
    println!();
}

fn texts(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// As wide as the widest of these, and at least so wide.
fn width<'a>(at_least: usize, texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or(0).max(at_least)
}

fn offsets(id: &str, standings: &BTreeMap<Partition, Standing>, is_verbose: bool) {
    if standings.is_empty() {
        println!("\nShare group '{id}' has no offset information.");
        return;
    }
    let text = |value: Option<String>| value.unwrap_or_else(|| MISSING.to_owned());
    let mut rows = vec![match is_verbose {
        true => texts(&["GROUP", "TOPIC", "PARTITION", "LEADER-EPOCH", "START-OFFSET", "LAG"]),
        false => texts(&["GROUP", "TOPIC", "PARTITION", "START-OFFSET", "LAG"]),
    }];
    for ((topic, partition), standing) in standings {
        let standing = standing.as_ref();
        let mut row = vec![id.to_owned(), topic.clone(), partition.to_string()];
        if is_verbose {
            row.push(text(standing.and_then(|offset| offset.leader_epoch).map(|epoch| epoch.to_string())));
        }
        row.push(text(standing.map(|offset| offset.start.to_string())));
        row.push(text(standing.and_then(|offset| offset.lag).map(|lag| lag.to_string())));
        rows.push(row);
    }
    let mut widths =
        vec![width(15, [id].into_iter()), width(15, standings.keys().map(|(topic, _)| topic.as_str())), 10, 13];
    if is_verbose {
        widths.push(13);
    }
    print_rows(&widths, &rows);
}

fn state(id: &str, group: &Group, is_verbose: bool) {
    has_something_to_show(id, group, 1);
    let mut widths = vec![width(15, [id].into_iter()), width(25, [group.coordinator.as_str()].into_iter()), 15];
    let members = group.members.len().to_string();
    let rows = if is_verbose {
        widths.extend([12, 17]);
        let (epoch, assignment_epoch) = (group.epoch.to_string(), group.assignment_epoch.to_string());
        vec![
            texts(&["GROUP", "COORDINATOR (ID)", "STATE", "GROUP-EPOCH", "ASSIGNMENT-EPOCH", "#MEMBERS"]),
            texts(&[id, &group.coordinator, &group.state, &epoch, &assignment_epoch, &members]),
        ]
    } else {
        vec![
            texts(&["GROUP", "COORDINATOR (ID)", "STATE", "#MEMBERS"]),
            texts(&[id, &group.coordinator, &group.state, &members]),
        ]
    };
    print_rows(&widths, &rows);
}

fn members(id: &str, group: &Group, is_verbose: bool) {
    if !has_something_to_show(id, group, group.members.len()) {
        return;
    }
    let mut members: Vec<_> = group.members.iter().collect();
    members.sort_by(|one, other| one.member_id.cmp(&other.member_id));
    let mut rows = vec![match is_verbose {
        true => texts(&["GROUP", "CONSUMER-ID", "HOST", "CLIENT-ID", "#PARTITIONS", "MEMBER-EPOCH", "ASSIGNMENT"]),
        false => texts(&["GROUP", "CONSUMER-ID", "HOST", "CLIENT-ID", "#PARTITIONS", "ASSIGNMENT"]),
    }];
    for member in &members {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for topic in &member.assignment.topic_partitions {
            topics.entry(&topic.topic_name).or_default().extend(&topic.partitions);
        }
        let count: usize = topics.values().map(Vec::len).sum();
        let mut row = texts(&[id, &member.member_id, &member.client_host, &member.client_id, &count.to_string()]);
        if is_verbose {
            row.push(member.member_epoch.to_string());
        }
        let of_topic = |(topic, partitions): (&&str, &mut Vec<i32>)| {
            partitions.sort_unstable();
            let partitions: Vec<String> = partitions.iter().map(i32::to_string).collect();
            format!("{topic}:{}", partitions.join(","))
        };
        let mut assigned: Vec<String> = topics.iter_mut().map(of_topic).collect();
        assigned.sort_unstable();
        row.push(assigned.join(";"));
        rows.push(row);
    }
    let mut widths = vec![
        width(15, [id].into_iter()),
        width(15, members.iter().map(|member| member.member_id.as_str())),
        width(15, members.iter().map(|member| member.client_host.as_str())),
        width(15, members.iter().map(|member| member.client_id.as_str())),
        12,
    ];
    if is_verbose {
        widths.push(13);
    }
    print_rows(&widths, &rows);
}
