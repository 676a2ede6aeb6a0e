//! Plans of `kafka-reassign-partitions`: the JSON files read and written, and what `--generate` proposes. Asks no broker.

use crate::java_order::hash_order;
use anyhow::{Context as _, anyhow, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Topic and partition.
pub(super) type Tp = (String, i32);
/// Replicas by partition, topics in the order of their names.
pub(super) type Assignment = BTreeMap<Tp, Vec<i32>>;
/// The replicas that each partition shall have, in the plan's order.
pub(super) type Moves = Vec<(Tp, Vec<i32>)>;
/// A replica of a partition on a broker and the log directory it shall be in.
pub(super) type Places = BTreeMap<(i32, String, i32), String>;

/// `topic-3`.
pub(super) fn name((topic, partition): &Tp) -> String {
    format!("{topic}-{partition}")
}

/// `1,2,3`.
pub(super) fn ids(ids: &[i32]) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

/// The content of a file.
pub(super) fn read(path: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(path).map_err(|_| anyhow!("{path}"))
}

fn parse(text: &str) -> anyhow::Result<Value> {
    let json: Value = serde_json::from_str(text).map_err(|error| anyhow!("{error}"))?;
    match json["version"].as_i64() {
        None | Some(1) => Ok(json),
        Some(other) => bail!("Not supported version field value {other}"),
    }
}

/// The partitions of a plan in its order, and where replicas shall lie.
pub(super) fn parse_plan(text: &str) -> anyhow::Result<(Moves, Places)> {
    let json = parse(text)?;
    let (mut partitions, mut places) = (Vec::new(), Places::new());
    for entry in json["partitions"].as_array().into_iter().flatten() {
        let field = |name: &str| format!("No such field exists: `{name}`");
        let topic = entry["topic"].as_str().with_context(|| field("topic"))?.to_owned();
        let number = |value: &Value| value.as_i64().and_then(|number| i32::try_from(number).ok());
        let partition = number(&entry["partition"]).with_context(|| field("partition"))?;
        let replicas: Option<Vec<i32>> =
            entry["replicas"].as_array().and_then(|list| list.iter().map(number).collect());
        let replicas = replicas.with_context(|| field("replicas"))?;
        if let Some(dirs) = entry["log_dirs"].as_array() {
            let dirs: Vec<&str> = dirs.iter().filter_map(Value::as_str).collect();
            if dirs.len() != replicas.len() {
                bail!(
                    "Size of replicas list {replicas:?} is different from size of log dirs list [{}] for partition \
                     {topic}-{partition}",
                    dirs.join(", ")
                );
            }
            for (&replica, dir) in replicas.iter().zip(dirs).filter(|(_, dir)| *dir != "any") {
                places.insert((replica, topic.clone(), partition), dir.to_owned());
            }
        }
        partitions.push(((topic, partition), replicas));
    }
    Ok((partitions, places))
}

/// A plan that can be executed: nothing empty, nothing twice.
pub(super) fn check_plan(partitions: &[(Tp, Vec<i32>)]) -> anyhow::Result<Assignment> {
    if partitions.is_empty() {
        bail!("Partition reassignment list cannot be empty");
    }
    if partitions.iter().any(|(_, replicas)| replicas.is_empty()) {
        bail!("Partition replica list cannot be empty");
    }
    let twice = duplicates(partitions.iter().map(|(tp, _)| tp.clone()));
    if !twice.is_empty() {
        let names: Vec<String> = twice.iter().map(name).collect();
        bail!("Partition reassignment contains duplicate topic partitions: {}", names.join(","));
    }
    let mut texts = Vec::new();
    for (tp, replicas) in partitions {
        let twice: Vec<i32> = duplicates(replicas.iter().copied()).into_iter().collect();
        if !twice.is_empty() {
            texts.push(format!("{} contains multiple entries for {}", name(tp), ids(&twice)));
        }
    }
    if !texts.is_empty() {
        bail!("Partition replica lists may not contain duplicate entries: {}", texts.join(". "));
    }
    Ok(partitions.iter().cloned().collect())
}

/// The topics of a `--topics-to-move-json-file`.
pub(super) fn parse_topics(text: &str) -> anyhow::Result<Vec<String>> {
    let json = parse(text).map_err(|error| match serde_json::from_str::<Value>(text) {
        Ok(_) => error,
        Err(_) => anyhow!("The input string is not a valid JSON"),
    })?;
    let entries = json["topics"].as_array().into_iter().flatten();
    let topic = |entry: &Value| entry["topic"].as_str().map(str::to_owned).context("No such field exists: `topic`");
    let topics: Vec<String> = entries.map(topic).collect::<anyhow::Result<_>>()?;
    let twice = duplicates(topics.iter().cloned());
    if !twice.is_empty() {
        let twice: Vec<String> = twice.into_iter().collect();
        bail!("List of topics to reassign contains duplicate entries: [{}]", twice.join(", "));
    }
    Ok(topics)
}

/// Every item that is there more than once.
pub(super) fn duplicates<T: Ord + Clone>(items: impl Iterator<Item = T>) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    items.filter(|item| !seen.insert(item.clone())).collect()
}

/// A plan as the tool prints it and reads it.
pub(super) fn as_json(assignment: &Assignment) -> String {
    let partition = |((topic, partition), replicas): (&Tp, &Vec<i32>)| {
        let dirs = vec!["\"any\""; replicas.len()].join(",");
        let topic = Value::from(topic.as_str());
        format!(
            "{{\"topic\":{topic},\"partition\":{partition},\"replicas\":[{}],\"log_dirs\":[{dirs}]}}",
            ids(replicas)
        )
    };
    let partitions: Vec<String> = assignment.iter().map(partition).collect();
    format!("{{\"version\":1,\"partitions\":[{}]}}", partitions.join(","))
}

/// Spreads each topic anew over brokers, as a topic that is created.
pub(super) fn propose(current: &Assignment, brokers: &[(i32, Option<String>)]) -> anyhow::Result<Assignment> {
    let mut topics: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for ((topic, _), replicas) in current {
        topics.entry(topic).or_insert((0, replicas.len())).0 += 1;
    }
    let mut proposed = Assignment::new();
    for (topic, (partitions, factor)) in topics {
        if factor > brokers.len() {
            bail!("Replication factor: {factor} larger than available brokers: {}.", brokers.len());
        }
        for (partition, replicas) in (0..).zip(spread(brokers, partitions, factor)) {
            proposed.insert((topic.to_owned(), partition), replicas);
        }
    }
    Ok(proposed)
}

/// Leaders in turn from a random broker, followers behind them, shifted by one more after each round; with racks, brokers
/// of different racks in turn, and no rack twice before all had their turn.
fn spread(brokers: &[(i32, Option<String>)], partitions: usize, factor: usize) -> Vec<Vec<i32>> {
    let order = in_turn(brokers);
    let count = order.len();
    let racks: BTreeSet<&str> = order.iter().filter_map(|(_, rack)| *rack).collect();
    let (first, mut shift) = (fastrand::usize(..count), fastrand::usize(..count));
    let mut all = Vec::new();
    for partition in 0..partitions {
        if partition > 0 && partition % count == 0 {
            shift += 1;
        }
        let leader = (partition + first) % count;
        let mut chosen = vec![order[leader]];
        let mut nth = 0;
        while chosen.len() < factor {
            let step = (shift * racks.len().max(1) + nth) % (count - 1).max(1);
            let candidate = order[(leader + 1 + step) % count];
            nth += 1;
            let used: BTreeSet<Option<&str>> = chosen.iter().map(|(_, rack)| *rack).collect();
            let rack_is_free = racks.is_empty() || used.len() == racks.len() || !used.contains(&candidate.1);
            if rack_is_free && !chosen.contains(&candidate) {
                chosen.push(candidate);
            }
        }
        all.push(chosen.into_iter().map(|(id, _)| id).collect());
    }
    all
}

fn in_turn(brokers: &[(i32, Option<String>)]) -> Vec<(i32, Option<&str>)> {
    let mut by_rack: BTreeMap<Option<&str>, Vec<i32>> = BTreeMap::new();
    for (id, rack) in brokers {
        by_rack.entry(rack.as_deref()).or_default().push(*id);
    }
    let longest = by_rack.values().map(Vec::len).max().unwrap_or(0);
    let turn = |turn: usize| by_rack.iter().filter_map(move |(rack, ids)| ids.get(turn).map(|id| (*id, *rack)));
    (0..longest).flat_map(turn).collect()
}

/// Topic names in the order of a Java set.
pub(super) fn topic_set<'a>(topics: impl Iterator<Item = &'a str>) -> String {
    let topics: BTreeSet<&str> = topics.collect();
    let names = hash_order(topics.into_iter().collect(), 16, |name: &&str| crate::java_order::hash(name));
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_read_written_and_checked() {
        let text = r#"{"version":1,"partitions":[{"topic":"b","partition":0,"replicas":[1,2],"log_dirs":["any","/d"]},
            {"topic":"a","partition":1,"replicas":[3]}]}"#;
        let (partitions, places) = parse_plan(text).unwrap();
        assert_eq!(places, Places::from([((2, "b".to_owned(), 0), "/d".to_owned())]));
        let written = as_json(&check_plan(&partitions).unwrap());
        assert_eq!(
            written,
            r#"{"version":1,"partitions":[{"topic":"a","partition":1,"replicas":[3],"log_dirs":["any"]},{"topic":"b","partition":0,"replicas":[1,2],"log_dirs":["any","any"]}]}"#
        );
        for (plan, problem) in [
            (r#"{"partitions":[]}"#, "Partition reassignment list cannot be empty"),
            (r#"{"partitions":[{"topic":"a","partition":0,"replicas":[]}]}"#, "Partition replica list cannot be empty"),
            (
                r#"{"partitions":[{"topic":"a","partition":0,"replicas":[1,1]}]}"#,
                "Partition replica lists may not contain duplicate entries: a-0 contains multiple entries for 1",
            ),
            (
                r#"{"partitions":[{"topic":"a","partition":0,"replicas":[1]},{"topic":"a","partition":0,"replicas":[2]}]}"#,
                "Partition reassignment contains duplicate topic partitions: a-0",
            ),
        ] {
            let refused = parse_plan(plan).and_then(|(partitions, _)| check_plan(&partitions)).unwrap_err();
            assert_eq!(refused.to_string(), problem, "{plan}");
        }
    }

    #[test]
    fn proposals_spread_evenly_and_over_racks() {
        let current: Assignment = (0..12).map(|partition| (("t".to_owned(), partition), vec![9, 8])).collect();
        let racks = ["x", "x", "y", "y"];
        let brokers: Vec<_> = (0..).zip(racks).map(|(id, rack)| (id, Some(rack.to_owned()))).collect();
        let proposed = propose(&current, &brokers).unwrap();
        for id in 0..4 {
            let led = proposed.values().filter(|replicas| replicas[0] == id).count();
            assert_eq!(led, 3, "{proposed:?}");
        }
        for replicas in proposed.values() {
            let rack = |id: i32| racks[usize::try_from(id).unwrap()];
            assert_ne!(rack(replicas[0]), rack(replicas[1]), "{proposed:?}");
        }
        assert!(propose(&current, &brokers[..1]).is_err());
    }
}
