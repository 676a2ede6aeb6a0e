//! `kafka-delete-records`: moves the start of partitions forward to given offsets (KIP-107). What lies before is gone for
//! good; nothing else is touched.

use crate::client::{KafkaError, check, java_text};
use crate::clock;
use crate::cluster::{Cluster, Target, load_settings};
use crate::java_order::{hash_order, partition_hash};
use crate::log_offsets::{Partition, metadata};
use crate::options::{self, HELP, Options, Spec, VERSION, text};
use anyhow::{anyhow, bail};
use common::kafka::error::ErrorCode;
use common::kafka::messages::DeleteRecordsRequest;
use common::kafka::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsTopic};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "This tool helps to delete records of the given partitions down to the specified offset.";

const SPECS: &[Spec] = &[
    HELP,
    VERSION,
    text("bootstrap-server", "server(s) to use for bootstrapping", "REQUIRED: The server to connect to."),
    text(
        "offset-json-file",
        "Offset json file path",
        "REQUIRED: The JSON file with offset per partition. The format to use is:\n{\"partitions\":\n  [{\"topic\": \
         \"foo\", \"partition\": 1, \"offset\": 1}],\n \"version\":1\n}",
    ),
    text(
        "command-config",
        "command config property file path",
        "A property file containing configs to be passed to Admin Client.",
    ),
];

/// Between two attempts.
const BACKOFF: Duration = Duration::from_millis(100);
/// The same after some.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// The tool.
pub(crate) fn delete_records(arguments: &[String]) -> anyhow::Result<ExitCode> {
    options::exit(run(arguments))
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = Options::parse(SPECS, arguments)?;
    options.help_or_version(arguments, USAGE)?;
    options.require(&["bootstrap-server", "offset-json-file"])?;
    let settings = options.value("command-config")?.map_or_else(|| Ok(BTreeMap::new()), load_settings)?;
    let mut cluster = Cluster::new(options.value("bootstrap-server")?.unwrap_or_default(), &settings)?;
    let file = options.value("offset-json-file")?.unwrap_or_default();
    let json = std::fs::read_to_string(file).map_err(|_| anyhow!("Unable to read file {file}"))?;
    let offsets = offsets(&json)?;
    println!("Executing records delete operation");
    let results = Deletion::new(offsets, &settings)?.run(&mut cluster);
    println!("Records delete operation completed:");
    let results = hash_order(results.into_iter().collect(), 16, |((topic, index), _)| partition_hash(topic, *index));
    for ((topic, index), result) in results {
        match result {
            Ok(low_watermark) => println!("partition: {topic}-{index}\tlow_watermark: {low_watermark}"),
            Err(error) => println!("partition: {topic}-{index}\terror: {}", java_text(&error)),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The offsets of the file.
fn offsets(json: &str) -> anyhow::Result<BTreeMap<Partition, i64>> {
    let value: Value = serde_json::from_str(json).map_err(|_| anyhow!("The input string is not a valid JSON"))?;
    let object =
        |value: &Value| value.as_object().cloned().ok_or_else(|| anyhow!("Expected JSON object, received {value}"));
    let file = object(&value)?;
    if let Some(version) = file.get("version") {
        let number = integer(version)?;
        if number != 1 {
            bail!("Not supported version field value {number}");
        }
    }
    let partitions = file.get("partitions").ok_or_else(|| anyhow!("Missing partitions field"))?;
    let partitions = partitions.as_array().ok_or_else(|| anyhow!("Expected JSON array, received {partitions}"))?;
    let (mut offsets, mut twice) = (BTreeMap::new(), Vec::new());
    for partition in partitions {
        let partition = object(partition)?;
        let field = |name: &str| partition.get(name).ok_or_else(|| anyhow!("No such field exists: `{name}`"));
        let topic = field("topic")?;
        let topic = topic.as_str().ok_or_else(|| anyhow!("Expected `String` value, received {topic}"))?;
        let index = integer(field("partition")?)?;
        let offset = field("offset")?;
        let offset = offset.as_i64().ok_or_else(|| anyhow!("Expected `Long` value, received {offset}"))?;
        let place = (topic.to_owned(), index);
        if offsets.insert(place.clone(), offset).is_some() && !twice.contains(&place) {
            twice.push(place);
        }
    }
    if !twice.is_empty() {
        let twice = hash_order(twice, 16, |(topic, index)| partition_hash(topic, *index));
        let names: Vec<String> = twice.iter().map(|(topic, index)| format!("{topic}-{index}")).collect();
        bail!("Offset json file contains duplicate topic partitions: {}", names.join(","));
    }
    Ok(offsets)
}

fn integer(value: &Value) -> anyhow::Result<i32> {
    let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
    number.ok_or_else(|| anyhow!("Expected `Integer` value, received {value}"))
}

/// Where each partition now begins, or why not.
type Results = BTreeMap<Partition, anyhow::Result<i64>>;

/// Asks the leaders until each partition is done or cannot be.
struct Deletion {
    open: BTreeMap<Partition, i64>,
    results: Results,
    timeout: Duration,
    request_timeout_ms: i32,
}

impl Deletion {
    fn new(open: BTreeMap<Partition, i64>, settings: &BTreeMap<String, String>) -> anyhow::Result<Deletion> {
        let number = |key: &str, default: u64| match settings.get(key) {
            Some(value) => value
                .parse()
                .map_err(|_| anyhow!("Invalid value {value} for configuration {key}: Not a number of type INT")),
            None => Ok(default),
        };
        let timeout = Duration::from_millis(number("default.api.timeout.ms", 60_000)?);
        let request_timeout_ms = i32::try_from(number("request.timeout.ms", 30_000)?).unwrap_or(i32::MAX);
        Ok(Deletion { open, results: Results::new(), timeout, request_timeout_ms })
    }

    fn run(mut self, cluster: &mut Cluster) -> Results {
        let deadline = Instant::now() + self.timeout;
        let mut pause = BACKOFF;
        while !self.open.is_empty() {
            if let Err(error) = self.attempt(cluster) {
                let text = java_text(&error);
                for place in std::mem::take(&mut self.open).into_keys() {
                    self.results.insert(place, Err(anyhow!(text.clone())));
                }
            }
            if Instant::now() + pause >= deadline {
                self.give_up();
            }
            if !self.open.is_empty() {
                std::thread::sleep(pause);
                pause = (pause * 2).min(BACKOFF_MAX);
            }
        }
        self.results
    }

    /// What is still open has no leader, or does not exist: for Java's client the two are the same.
    fn give_up(&mut self) {
        let text = "org.apache.kafka.common.errors.TimeoutException: Timed out waiting for a node assignment. Call: \
                    deleteRecords(api=METADATA)";
        for place in std::mem::take(&mut self.open).into_keys() {
            self.results.insert(place, Err(anyhow!(text)));
        }
    }

    fn attempt(&mut self, cluster: &mut Cluster) -> anyhow::Result<()> {
        for (leader, partitions) in self.by_leader(cluster)? {
            let mut topics: Vec<DeleteRecordsTopic> = Vec::new();
            for ((name, partition_index), offset) in partitions {
                let partition = DeleteRecordsPartition { partition_index, offset };
                match topics.iter_mut().find(|topic| topic.name == name) {
                    Some(topic) => topic.partitions.push(partition),
                    None => topics.push(DeleteRecordsTopic { name, partitions: vec![partition] }),
                }
            }
            let timeout_ms = self.request_timeout_ms;
            let request = |_| DeleteRecordsRequest { topics: topics.clone(), timeout_ms };
            let response = cluster.call(Target::Node(leader), request, |_| 0)?;
            for topic in response.topics {
                for partition in topic.partitions {
                    match check(partition.error_code, None) {
                        Err(error) if error.code.is_retriable() => {}
                        result => {
                            self.done(
                                (topic.name.clone(), partition.partition_index),
                                result.map(|()| partition.low_watermark),
                            );
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn done(&mut self, place: Partition, result: Result<i64, KafkaError>) {
        if let Err(error) = &result {
            eprintln!(
                "[{}] ERROR [DeleteRecordsHandler clientId=adminclient-1] DeleteRecords request for topic partition {}-{} \
                 failed: {}",
                clock::log_time(),
                place.0,
                place.1,
                error.java_text()
            );
        }
        if self.open.remove(&place).is_some() {
            self.results.insert(place, result.map_err(anyhow::Error::from));
        }
    }

    /// The open partitions that have a leader, by leader. Those that never will be found are done.
    fn by_leader(&mut self, cluster: &mut Cluster) -> anyhow::Result<BTreeMap<i32, Vec<(Partition, i64)>>> {
        let mut names: Vec<String> = self.open.keys().map(|(topic, _)| topic.clone()).collect();
        names.dedup();
        let metadata = metadata(cluster, &names)?;
        let mut leaders: BTreeMap<i32, Vec<(Partition, i64)>> = BTreeMap::new();
        for (place, offset) in self.open.clone() {
            let Some(topic) = metadata.topics.iter().find(|topic| topic.name.as_deref() == Some(&place.0)) else {
                continue;
            };
            let code = ErrorCode::from_code(topic.error_code).unwrap_or(ErrorCode::UnknownServerError);
            let why = match code {
                ErrorCode::None => None,
                ErrorCode::UnknownTopicOrPartition | ErrorCode::LeaderNotAvailable | ErrorCode::BrokerNotAvailable => {
                    continue;
                }
                ErrorCode::TopicAuthorizationFailed => Some("due to topic authorization failure".to_owned()),
                ErrorCode::InvalidTopicException => Some(format!("due to invalid topic `{}`", place.0)),
                _ => Some(format!("due to unexpected error for topic `{}`", place.0)),
            };
            if let Some(why) = why {
                let message = format!("Failed to fetch metadata for partition {}-{} {why}", place.0, place.1);
                self.done(place, Err(KafkaError { code, message }));
                continue;
            }
            let found = topic.partitions.iter().find(|partition| partition.partition_index == place.1);
            if let Some(leader) = found.map(|partition| partition.leader_id).filter(|leader| *leader >= 0) {
                leaders.entry(leader).or_default().push((place, offset));
            }
        }
        Ok(leaders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_refused_in_kafkas_words() {
        for (json, problem) in [
            ("", "The input string is not a valid JSON"),
            ("[]", "Expected JSON object, received []"),
            (r#"{"version":2}"#, "Not supported version field value 2"),
            (r#"{"version":"1"}"#, "Expected `Integer` value, received \"1\""),
            (r#"{"version":1}"#, "Missing partitions field"),
            (r#"{"partitions":{}}"#, "Expected JSON array, received {}"),
            (r#"{"partitions":[{"topic":"a"}]}"#, "No such field exists: `partition`"),
            (r#"{"partitions":[{"topic":"a","partition":0,"offset":"x"}]}"#, "Expected `Long` value, received \"x\""),
            (
                r#"{"partitions":[{"topic":"a","partition":0,"offset":1},{"topic":"a","partition":0,"offset":1}]}"#,
                "Offset json file contains duplicate topic partitions: a-0",
            ),
        ] {
            assert_eq!(offsets(json).unwrap_err().to_string(), problem, "{json}");
        }
        let good = r#"{"partitions":[{"topic":"a","partition":3,"offset":-1}]}"#;
        assert_eq!(offsets(good).unwrap(), BTreeMap::from([(("a".to_owned(), 3), -1)]));
    }
}
