//! `kafka-leader-election`: has the controller elect preferred or unclean leaders (KIP-460). Moves no replica.

use crate::client::{check, code_of};
use crate::cluster::{Cluster, Target, TimedOut, load_settings};
use crate::java_order::{hash_order, partition_hash};
use crate::options::{self, HELP, OptionError, Options, Spec, Takes, VERSION, flag, int, text};
use anyhow::{Context as _, bail};
use common::kafka::error::ErrorCode;
use common::kafka::messages::ElectLeadersRequest;
use common::kafka::messages::elect_leaders::TopicPartitions;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Duration;

const SPECS: &[Spec] = &[
    HELP,
    VERSION,
    text(
        "bootstrap-server",
        "host:port",
        "A hostname and port for the broker to connect to, in the form host:port. Multiple comma separated URLs can be \
         given. REQUIRED.",
    ),
    text("admin.config", "config file", "Configuration properties files to pass to the admin client"),
    text(
        "path-to-json-file",
        "Path to JSON file",
        "The JSON file with the list  of partition for which leader elections should be performed. This is an example \
         format. \n{\"partitions\":\n\t[{\"topic\": \"foo\", \"partition\": 1},\n\t {\"topic\": \"foobar\", \
         \"partition\": 2}]\n}\nNot allowed if --all-topic-partitions or --topic flags are specified.",
    ),
    text(
        "topic",
        "topic name",
        "Name of topic for which to perform an election. Not allowed if --path-to-json-file or --all-topic-partitions is \
         specified.",
    ),
    int(
        "partition",
        "partition id",
        "Partition id for which to perform an election. REQUIRED if --topic is specified.",
    ),
    flag(
        "all-topic-partitions",
        "Perform election on all of the eligible topic partitions based on the type of election (see the --election-type \
         flag). Not allowed if --topic or --path-to-json-file is specified.",
    ),
    Spec {
        name: "election-type",
        takes: Takes::Required("[PREFERRED|UNCLEAN]", "election type"),
        default: None,
        required: false,
        description: "Type of election to attempt. Possible values are \"preferred\" for preferred leader election or \
                      \"unclean\" for unclean leader election. If preferred election is selection, the election is only \
                      performed if the current leader is not the preferred leader for the topic partition. If unclean \
                      election is selected, the election is only performed if there are no leader for the topic \
                      partition. REQUIRED.",
    },
];
const USAGE: &str = "This tool attempts to elect a new leader for a set of topic partitions. The type of elections \
                     supported are preferred replicas and unclean replicas.";
/// For a call with all its attempts.
const CALL: Duration = Duration::from_secs(30);

type Tp = (String, i32);

/// The tool.
pub(crate) fn leader_election(arguments: &[String]) -> anyhow::Result<ExitCode> {
    options::exit(run(arguments))
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = Options::parse(SPECS, arguments)?;
    options.help_or_version(arguments, USAGE)?;
    check_options(&options)?;
    let kind = election_type(&options)?;
    let partitions = match (options.value("path-to-json-file")?, options.value("topic")?) {
        (Some(path), _) => Some(read_partitions(path)?),
        (None, Some(topic)) => {
            Some(BTreeSet::from([(topic.to_owned(), options.number("partition")?.unwrap_or_default())]))
        }
        (None, None) => None,
    };
    let settings = options.value("admin.config")?.map_or_else(|| Ok(BTreeMap::new()), load_settings)?;
    let mut cluster = Cluster::new(options.value("bootstrap-server")?.unwrap_or_default(), &settings)?;
    if !settings.contains_key("default.api.timeout.ms") {
        cluster.set_call_timeout(CALL);
    }
    elect(&mut cluster, kind, partitions)
}

fn check_options(options: &Options) -> anyhow::Result<()> {
    let missing: Vec<&str> =
        ["bootstrap-server", "election-type"].into_iter().filter(|name| !options.has(name)).collect();
    if !missing.is_empty() {
        bail!("Missing required option(s): {}", missing.join(", "));
    }
    let scopes = ["topic", "all-topic-partitions", "path-to-json-file"];
    if scopes.iter().filter(|name| options.has(name)).count() != 1 {
        bail!("One and only one of the following options is required: {}", scopes.join(", "));
    }
    match (options.has("topic"), options.has("partition")) {
        (true, false) => bail!("Missing required option(s): partition"),
        (false, true) => bail!("Option partition is only allowed if topic is used"),
        _ => Ok(()),
    }
}

/// The name of the type and its number on the wire.
fn election_type(options: &Options) -> Result<(&'static str, i8), OptionError> {
    let argument = options.value("election-type")?.unwrap_or_default();
    match argument.to_ascii_lowercase().as_str() {
        "preferred" => Ok(("PREFERRED", 0)),
        "unclean" => Ok(("UNCLEAN", 1)),
        _ => {
            let (option, argument) = ("election-type".to_owned(), argument.to_owned());
            Err(OptionError::Conversion { option, argument })
        }
    }
}

fn read_partitions(path: &str) -> anyhow::Result<BTreeSet<Tp>> {
    let text =
        std::fs::read_to_string(path).map_err(|_| anyhow::anyhow!("java.nio.file.NoSuchFileException: {path}"))?;
    let Ok(json) = serde_json::from_str::<serde_json::Value>(&text) else {
        bail!("Replica election data is empty");
    };
    let entries = json["partitions"].as_array().context("Replica election data is missing \"partitions\" field")?;
    let mut partitions = BTreeSet::new();
    for entry in entries {
        let topic = entry["topic"].as_str().context("No such field exists: `topic`")?.to_owned();
        let number = entry["partition"].as_i64().and_then(|number| i32::try_from(number).ok());
        let tp = (topic, number.context("No such field exists: `partition`")?);
        if !partitions.insert(tp.clone()) {
            bail!("Replica election data contains duplicate partitions: [{}-{}]", tp.0, tp.1);
        }
    }
    Ok(partitions)
}

fn elect(cluster: &mut Cluster, kind: (&str, i8), of: Option<BTreeSet<Tp>>) -> anyhow::Result<ExitCode> {
    let request = |version: i16| ElectLeadersRequest {
        election_type: if version == 0 { 0 } else { kind.1 },
        topic_partitions: of.as_ref().map(|partitions| {
            let mut topics: Vec<TopicPartitions> = Vec::new();
            for (topic, number) in partitions {
                match topics.last_mut() {
                    Some(last) if last.topic == *topic => last.partitions.push(*number),
                    _ => topics.push(TopicPartitions { topic: topic.clone(), partitions: vec![*number] }),
                }
            }
            topics
        }),
        timeout_ms: i32::try_from(CALL.as_millis()).unwrap_or(i32::MAX),
    };
    // A broker that is not the controller says so of each partition.
    let response = cluster.call(Target::Controller, request, |response| {
        let results = response.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
        let not_controller = ErrorCode::NotController.code();
        let moved = results.clone().any(|partition| partition.error_code == not_controller);
        if moved { not_controller } else { response.error_code }
    });
    let response = response.map_err(|error| {
        if error.is::<TimedOut>() {
            println!("Timeout waiting for election results");
            return anyhow::anyhow!("Timeout waiting for election results");
        }
        error
    })?;
    if let Err(error) = check(response.error_code, None) {
        if code_of(&error.into()) == Some(ErrorCode::ClusterAuthorizationFailed) {
            println!("Not authorized to perform leader election");
            bail!("Not authorized to perform leader election");
        }
        check(response.error_code, None)?;
    }
    let mut results = Vec::new();
    for topic in response.replica_election_results {
        for partition in topic.partition_result {
            let outcome = check(partition.error_code, partition.error_message.as_deref());
            results.push(((topic.topic.clone(), partition.partition_id), outcome));
        }
    }
    tell(kind.0, &hash_order(results, 16, |((topic, number), _)| partition_hash(topic, *number)))
}

/// What became of each partition, in Kafka's words; an error if some have no leader as wanted.
fn tell(kind: &str, results: &[(Tp, Result<(), crate::client::KafkaError>)]) -> anyhow::Result<ExitCode> {
    let name = |(topic, number): &Tp| format!("{topic}-{number}");
    let names = |wanted: &dyn Fn(Option<ErrorCode>) -> bool| -> Vec<String> {
        let code = |outcome: &Result<(), crate::client::KafkaError>| outcome.as_ref().err().map(|error| error.code);
        results.iter().filter(|(_, outcome)| wanted(code(outcome))).map(|(tp, _)| name(tp)).collect()
    };
    let succeeded = names(&|code| code.is_none());
    let needless = names(&|code| code == Some(ErrorCode::ElectionNotNeeded));
    if !succeeded.is_empty() {
        println!("Successfully completed leader election ({}) for partitions {}", kind, succeeded.join(", "));
    }
    if !needless.is_empty() {
        println!("Valid replica already elected for partitions {}", needless.join(", "));
    }
    let mut failed = 0;
    for (tp, outcome) in results {
        if let Err(error) = outcome
            && error.code != ErrorCode::ElectionNotNeeded
        {
            failed += 1;
            println!("Error completing leader election ({}) for partition: {}: {}", kind, name(tp), error.java_text());
        }
    }
    if failed > 0 {
        bail!("{failed} replica(s) could not be elected");
    }
    Ok(ExitCode::SUCCESS)
}
