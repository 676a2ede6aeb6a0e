//! `kafka-log-dirs`: which replicas lie in which log directory of which broker, as JSON. Changes nothing.

use crate::cluster::{Cluster, Target, load_settings};
use crate::java_order::{hash, hash_order, partition_hash};
use crate::options::{self, Ended, HELP, Options, Spec, VERSION, flag, text};
use anyhow::bail;
use common::kafka::error::ErrorCode;
use common::kafka::messages::describe_log_dirs::DescribeLogDirsResult;
use common::kafka::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

const SPECS: &[Spec] = &[
    HELP,
    VERSION,
    text(
        "bootstrap-server",
        "The server(s) to use for bootstrapping",
        "REQUIRED: the server(s) to use for bootstrapping",
    ),
    text(
        "command-config",
        "Admin client property file",
        "Property file containing configs to be passed to Admin Client.",
    ),
    flag("describe", "Describe the specified log directories on the specified brokers."),
    text(
        "topic-list",
        "Topic list",
        "The list of topics to be queried in the form \"topic1,topic2,topic3\". All topics will be queried if no topic \
         list is specified",
    )
    .or(""),
    text(
        "broker-list",
        "Broker list",
        "The list of brokers to be queried in the form \"0,1,2\". All brokers in the cluster will be queried if no broker \
         list is specified",
    )
    .or(""),
];

/// The tool.
pub(crate) fn log_dirs(arguments: &[String]) -> anyhow::Result<ExitCode> {
    options::exit(run(arguments))
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = Options::parse(SPECS, arguments)?;
    options.help_or_version(arguments, "This tool helps to query log directory usage on the specified brokers.")?;
    options.require(&["bootstrap-server", "describe"])?;
    let settings = options.value("command-config")?.map_or_else(|| Ok(BTreeMap::new()), load_settings)?;
    let mut cluster = Cluster::new(options.value("bootstrap-server")?.unwrap_or_default(), &settings)?;
    let listed = |name: &str| -> Result<Vec<String>, Ended> {
        let list = options.value(name).map_err(|error| options.usage(&error.to_string()))?.unwrap_or_default();
        Ok(list.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect())
    };
    let topics: BTreeSet<String> = listed("topic-list")?.into_iter().collect();
    let wanted: Result<BTreeSet<i32>, _> = listed("broker-list")?
        .iter()
        .map(|id| id.parse().map_err(|_| anyhow::anyhow!("For input string: \"{id}\"")))
        .collect();
    let (wanted, there) = (wanted?, cluster.broker_ids()?.into_iter().collect::<BTreeSet<i32>>());
    let unknown: BTreeSet<i32> = wanted.difference(&there).copied().collect();
    if !unknown.is_empty() {
        bail!(
            "ERROR: The given brokers do not exist from --broker-list: {}. Current existent brokers: {}",
            comma_separated(&unknown),
            comma_separated(&there)
        );
    }
    let asked = if wanted.is_empty() { there } else { wanted };
    println!("Querying brokers for log directories information");
    let mut found = BTreeMap::new();
    for &broker in &asked {
        found.insert(broker, describe(&mut cluster, broker)?.results);
    }
    println!("Received log directory information from brokers {}", comma_separated(&asked));
    println!("{}", as_json(&found, &topics));
    Ok(ExitCode::SUCCESS)
}

/// Everything in the log directories of a broker.
pub(crate) fn describe(cluster: &mut Cluster, broker: i32) -> anyhow::Result<DescribeLogDirsResponse> {
    let request = |_| DescribeLogDirsRequest { topics: None };
    let response = cluster.call(Target::Node(broker), request, |response| response.error_code)?;
    crate::client::check(response.error_code, None)?;
    Ok(response)
}

fn comma_separated(ids: &BTreeSet<i32>) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

/// An object whose keys stand in the order of Java's hash map.
fn object(entries: Vec<(&str, String)>) -> String {
    let entries = hash_order(entries, 16, |(key, _)| hash(key));
    let entries: Vec<String> = entries.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", entries.join(","))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn as_json(found: &BTreeMap<i32, Vec<DescribeLogDirsResult>>, topics: &BTreeSet<String>) -> String {
    let brokers = found.iter().map(|(broker, dirs)| {
        let dirs = hash_order(dirs.iter().collect(), 16, |dir: &&DescribeLogDirsResult| hash(&dir.log_dir));
        let dirs = list(dirs.into_iter().map(|dir| log_dir(dir, topics)));
        object(vec![("broker", broker.to_string()), ("logDirs", dirs)])
    });
    object(vec![("version", "1".to_owned()), ("brokers", list(brokers))])
}

fn log_dir(dir: &DescribeLogDirsResult, topics: &BTreeSet<String>) -> String {
    let mut partitions = Vec::new();
    for topic in dir.topics.iter().filter(|topic| topics.is_empty() || topics.contains(&topic.name)) {
        partitions.extend(topic.partitions.iter().map(|partition| (topic.name.as_str(), partition)));
    }
    let partitions = hash_order(partitions, 16, |(topic, partition)| partition_hash(topic, partition.partition_index));
    let partitions = partitions.into_iter().map(|(topic, partition)| {
        object(vec![
            ("partition", quoted(&format!("{topic}-{}", partition.partition_index))),
            ("size", partition.partition_size.to_string()),
            ("offsetLag", partition.offset_lag.to_string()),
            ("isFuture", partition.is_future_key.to_string()),
        ])
    });
    let error = match ErrorCode::from_code(dir.error_code) {
        Some(ErrorCode::None) => "null".to_owned(),
        Some(ErrorCode::KafkaStorageError) => quoted("org.apache.kafka.common.errors.KafkaStorageException"),
        other => quoted(&format!("org.apache.kafka.common.errors.{other:?}Exception")),
    };
    object(vec![("logDir", quoted(&dir.log_dir)), ("error", error), ("partitions", list(partitions))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::kafka::messages::describe_log_dirs::{DescribeLogDirsPartition, DescribeLogDirsTopic};

    #[test]
    fn the_json_is_kafkas() {
        let partition = DescribeLogDirsPartition { partition_index: 0, partition_size: 7, ..Default::default() };
        let topic = |name: &str| DescribeLogDirsTopic { name: name.into(), partitions: vec![partition.clone()] };
        let topics = vec![topic("t"), topic("u")];
        let dir = DescribeLogDirsResult { log_dir: "/d".into(), topics, ..Default::default() };
        let text = as_json(&BTreeMap::from([(1, vec![dir])]), &BTreeSet::from(["t".to_owned()]));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["brokers"][0]["logDirs"][0]["partitions"][0]["partition"], "t-0", "{text}");
        assert_eq!(value["brokers"][0]["logDirs"][0]["partitions"].as_array().unwrap().len(), 1, "{text}");
        assert!(text.ends_with(r#""version":1}"#) || text.starts_with(r#"{"version":1"#), "{text}");
    }
}
