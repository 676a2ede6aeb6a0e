//! `kafka-get-offsets`: the offsets of partitions at a time, one `topic:partition:offset` a line. Changes nothing.

mod specs;

use crate::client::check;
use crate::cluster::{Cluster, Target, load_settings};
use crate::log_offsets::{self, Partition};
use crate::options::{self, Ended, Options};
use crate::topics::topic_filter;
use anyhow::{anyhow, bail};
use common::kafka::messages::MetadataRequest;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

const USAGE: &str = "An interactive shell for getting topic-partition offsets.";

/// The tool.
pub(crate) fn get_offsets(arguments: &[String]) -> anyhow::Result<ExitCode> {
    options::exit(run(arguments).or_else(|error| match error.downcast_ref::<Ended>() {
        Some(_) => Err(error),
        None => {
            eprintln!("Error occurred: {error}");
            Ok(ExitCode::FAILURE)
        }
    }))
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    if arguments.is_empty() {
        return Err(options::usage(specs::SPECS, USAGE).into());
    }
    let options = Options::parse(specs::SPECS, arguments)?;
    let asks = options.has("help") || options.has("version");
    if !asks && !options.has("bootstrap-server") && !options.has("broker-list") {
        bail!("Missing required option(s) [bootstrap-server]");
    }
    options.help_or_version(arguments, USAGE)?;
    let servers = if options.has("bootstrap-server") { "bootstrap-server" } else { "broker-list" };
    let servers = options.value(servers)?.unwrap_or_default().to_owned();
    if servers.is_empty() || !servers.split(',').all(has_port) {
        let problem = if servers.is_empty() {
            "Error while validating the bootstrap address\n"
        } else {
            "Please provide valid host:port like host1:9091,host2:9092\n "
        };
        return Err(options.usage(problem).into());
    }
    if options.has("topic-partitions") && (options.has("topic") || options.has("partitions")) {
        bail!("--topic-partitions cannot be used with --topic or --partitions");
    }
    let time = time(options.value("time")?.unwrap_or("latest"))?;
    let rules = rules(&options)?;
    let settings = options.value("command-config")?.map_or_else(|| Ok(BTreeMap::new()), load_settings)?;
    let mut cluster = Cluster::new(&servers, &settings)?;
    let partitions = partitions(&mut cluster, &rules, options.has("exclude-internal-topics"))?;
    if partitions.is_empty() {
        bail!("Could not match any topic-partitions with the specified filters");
    }
    let mut lines = BTreeMap::new();
    for ((topic, index), result) in log_offsets::at(&mut cluster, &partitions, time)? {
        match result {
            Ok(-1) => {}
            // In the order of the partitions' names, where 10 comes before 2.
            Ok(offset) => drop(lines.insert(format!("{topic}-{index}"), format!("{topic}:{index}:{offset}"))),
            Err(error) => {
                let error = error.java_text();
                eprintln!("Skip getting offsets for topic-partition {topic}-{index} due to error: {error}");
            }
        }
    }
    for line in lines.values() {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

fn has_port(server: &str) -> bool {
    server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

fn time(text: &str) -> anyhow::Result<i64> {
    Ok(match text {
        "latest" => log_offsets::LATEST,
        "earliest" => log_offsets::EARLIEST,
        "max-timestamp" => -3,
        "earliest-local" => -4,
        "latest-tiered" => -5,
        "earliest-pending-upload" => -6,
        text => text.parse().map_err(|_| {
            anyhow!(
                "Malformed time argument {text}. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or \
                 earliest-local / -5 or latest-tiered, or a specified long format timestamp"
            )
        })?,
    })
}

/// Which partitions are meant: any that one of the rules accepts.
struct Rule {
    topic: Regex,
    /// Empty: all in the range.
    partitions: BTreeSet<i32>,
    from: i32,
    below: i32,
}

impl Rule {
    fn accepts(&self, topic: &str, partition: i32) -> bool {
        self.topic.is_match(topic)
            && (self.from..self.below).contains(&partition)
            && (self.partitions.is_empty() || self.partitions.contains(&partition))
    }
}

fn rules(options: &Options) -> anyhow::Result<Vec<Rule>> {
    if let Some(list) = options.value("topic-partitions")? {
        return list.split(',').map(rule).collect();
    }
    let list = options.value("partitions")?.unwrap_or_default();
    let ids: Result<BTreeSet<i32>, _> = list.split(',').filter(|_| !list.is_empty()).map(str::parse).collect();
    let partitions = ids.map_err(|_| {
        anyhow!("--partitions expects a comma separated list of numeric partition ids, but received: {list}")
    })?;
    let topic = topic_filter(options.value("topic")?.unwrap_or(".*"))?;
    Ok(vec![Rule { topic, partitions, from: 0, below: i32::MAX }])
}

/// `topic`, `topic:3`, `topic:3-`, `topic:-3`, `topic:1-3`, each perhaps without the topic.
fn rule(text: &str) -> anyhow::Result<Rule> {
    let invalid = || anyhow!("Invalid rule specification: {text}");
    let (topic, range) = text.split_once(':').unwrap_or((text, ""));
    let topic = topic_filter(if topic.is_empty() { ".*" } else { topic })?;
    let number = |digits: &str, default: i32| match digits {
        "" => Ok(default),
        digits if digits.bytes().all(|digit| digit.is_ascii_digit()) => digits.parse().map_err(|_| invalid()),
        _ => Err(invalid()),
    };
    let (from, below) = match range.split_once('-') {
        Some((from, below)) => (number(from, 0)?, number(below, i32::MAX)?),
        None if range.is_empty() => (0, i32::MAX),
        None => {
            let one = number(range, 0)?;
            (one, one.saturating_add(1))
        }
    };
    Ok(Rule { topic, partitions: BTreeSet::new(), from, below })
}

fn partitions(cluster: &mut Cluster, rules: &[Rule], without_internal: bool) -> anyhow::Result<Vec<Partition>> {
    let request = |_| MetadataRequest { topics: None, allow_auto_topic_creation: false, ..MetadataRequest::default() };
    let metadata = cluster.call(Target::Any, request, |_| 0)?;
    let mut found = Vec::new();
    for topic in metadata.topics {
        let name = topic.name.unwrap_or_default();
        if (topic.is_internal && without_internal) || !rules.iter().any(|rule| rule.topic.is_match(&name)) {
            continue;
        }
        check(topic.error_code, None)?;
        let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
        found.extend(
            indexes
                .filter(|index| rules.iter().any(|rule| rule.accepts(&name, *index)))
                .map(|index| (name.clone(), index)),
        );
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_accept_partitions() {
        for (text, topic, partition, accepted) in [
            ("t", "t", 7, true),
            ("t", "tt", 7, false),
            ("t.*:3", "tt", 3, true),
            ("t:3", "t", 4, false),
            ("t:1-3", "t", 3, false),
            ("t:1-3", "t", 1, true),
            ("t:2-", "t", 9, true),
            (":-2", "any", 1, true),
            (":-2", "any", 2, false),
        ] {
            assert_eq!(rule(text).unwrap().accepts(topic, partition), accepted, "{text} {topic}-{partition}");
        }
        assert!(rule("t:x").is_err());
    }
}
