//! `kafka-verifiable-consumer`: reads a topic in a group and tells, as JSON, each step: partitions that come and go, what
//! was read, what was committed. librdkafka reads.

mod arguments;

use crate::argparse::{self, Parsed};
use crate::client_settings::{Complaints, check, consumer_config, java_text};
use crate::clock;
use crate::cluster::load_settings;
use crate::signals;
use crate::verifiable_event::{Place, event, list, place_fields, quoted, record_data};
use anyhow::{Context as _, anyhow};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a wait for records lasts before signals are looked at.
const LOOK_UP: Duration = Duration::from_millis(50);
/// `max.poll.records` where nothing is said of it.
const POLL_RECORDS: i64 = 500;

/// Tells which partitions come and go.
struct Rebalances(Complaints);

impl ClientContext for Rebalances {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }
}

impl ConsumerContext for Rebalances {
    fn pre_rebalance(&self, _: &BaseConsumer<Rebalances>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            event("partitions_revoked", &[("partitions", places(partitions))]);
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Rebalances>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            event("partitions_assigned", &[("partitions", places(partitions))]);
        }
    }
}

fn places(partitions: &TopicPartitionList) -> String {
    let mut places: Vec<Place> =
        partitions.elements().iter().map(|one| (one.topic().to_owned(), one.partition())).collect();
    places.sort_unstable();
    list(places.iter().map(|place| format!("{{{}}}", place_fields(place))))
}

/// The tool.
pub(crate) fn verifiable_consumer(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let parsed = match argparse::begin(&arguments::PARSER, arguments) {
        Ok(parsed) => parsed,
        Err(code) => return Ok(code),
    };
    let settings = match settings(&parsed) {
        Ok(settings) => settings,
        Err(error) => return Ok(argparse::wrong(&arguments::PARSER, &error.to_string()).show()),
    };
    run(&parsed, &settings).map_err(|error| anyhow!("Exception in thread \"main\" {error:#}"))
}

fn settings(parsed: &Parsed) -> anyhow::Result<BTreeMap<String, String>> {
    let mut settings = match parsed.text("consumer.config") {
        // Kafka's tool names the file and no more.
        Some(file) => load_settings(file).map_err(|_| anyhow!("{file}"))?,
        None => BTreeMap::new(),
    };
    let mut set = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            settings.insert(key.to_owned(), value.to_owned());
        }
    };
    if parsed.text("group-protocol").is_some_and(|protocol| protocol.eq_ignore_ascii_case("consumer")) {
        set("group.protocol", parsed.text("group-protocol"));
        set("group.remote.assignor", parsed.text("group-remote-assignor"));
    } else {
        set("partition.assignment.strategy", parsed.text("assignment-strategy"));
        set("session.timeout.ms", parsed.text("session-timeout"));
    }
    let servers = if parsed.has("bootstrap-server") { "bootstrap-server" } else { "broker-list" };
    set("group.id", parsed.text("group-id"));
    set("group.instance.id", parsed.text("group-instance-id"));
    set("bootstrap.servers", parsed.text(servers));
    set("enable.auto.commit", Some(if parsed.has("enable-autocommit") { "true" } else { "false" }));
    set("auto.offset.reset", parsed.text("reset-policy"));
    Ok(settings)
}

fn run(parsed: &Parsed, settings: &BTreeMap<String, String>) -> anyhow::Result<ExitCode> {
    const FAILED: &str = "org.apache.kafka.common.KafkaException: Failed to construct kafka consumer\nCaused by";
    check(settings)?;
    let servers = settings.get("bootstrap.servers").map_or("", String::as_str);
    let (config, settings) = consumer_config("verifiable-consumer", servers, settings).context(FAILED)?;
    let complaints = Complaints::new("Consumer clientId=verifiable-consumer", &settings);
    let consumer: BaseConsumer<Rebalances> = config.create_with_context(Rebalances(complaints)).context(FAILED)?;
    let signal = signals::noted()?;
    event("startup_complete", &[]);
    let topic = parsed.text("topic").unwrap_or_default();
    consumer.subscribe(&[topic]).map_err(|error| anyhow!(java_text(&error)))?;
    let most = parsed.number::<i64>("max-messages").filter(|most| *most >= 0).unwrap_or(i64::MAX);
    let at_once = settings.get("max.poll.records").and_then(|most| most.parse().ok()).unwrap_or(POLL_RECORDS);
    let mut read = 0;
    while read < most && signal.load(Ordering::Relaxed) == 0 {
        let batch = match poll(&consumer, (most - read).min(at_once)) {
            Ok(batch) => batch,
            Err(error) => {
                eprintln!(
                    "[{}] ERROR Error during processing, terminating consumer process: \
                     (org.apache.kafka.tools.VerifiableConsumer)\n{}",
                    clock::log_time(),
                    java_text(&error)
                );
                break;
            }
        };
        if batch.is_empty() {
            continue;
        }
        read += i64::try_from(batch.len()).unwrap_or(i64::MAX);
        let next = tell(&batch, parsed.has("verbose"));
        if !parsed.has("enable-autocommit") {
            commit(&consumer, &next)?;
        }
    }
    // Leaves the group.
    drop(consumer);
    event("shutdown_complete", &[]);
    Ok(signals::ended_by(&signal))
}

/// What is there, or comes soon: at most so many records.
fn poll(consumer: &BaseConsumer<Rebalances>, most: i64) -> Result<Vec<BorrowedMessage<'_>>, KafkaError> {
    let mut batch = Vec::new();
    while i64::try_from(batch.len()).unwrap_or(i64::MAX) < most {
        match consumer.poll(if batch.is_empty() { LOOK_UP } else { Duration::ZERO }) {
            None => break,
            Some(Ok(message)) => batch.push(message),
            Some(Err(KafkaError::MessageConsumption(code))) if passes(code) => break,
            Some(Err(error)) => return Err(error),
        }
    }
    Ok(batch)
}

/// Does a consumer of Java's go on by itself?
fn passes(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::PartitionEOF
    )
}

/// Of one partition: how many records, the first offset and the last.
type Summary = (u64, i64, i64);

/// Tells what was read, and gives the offset behind it for each partition.
fn tell(batch: &[BorrowedMessage<'_>], verbose: bool) -> BTreeMap<Place, i64> {
    let mut summaries: BTreeMap<Place, Summary> = BTreeMap::new();
    for message in batch {
        let place = (message.topic().to_owned(), message.partition());
        let summary = summaries.entry(place).or_insert((0, message.offset(), 0));
        summary.0 += 1;
        summary.2 = message.offset();
        if verbose {
            let place = (message.topic().to_owned(), message.partition());
            record_data(&place, message.offset(), message.key(), message.payload());
        }
    }
    let shown = list(summaries.iter().map(|(place, (count, first, last))| {
        format!("{{{},\"count\":{count},\"minOffset\":{first},\"maxOffset\":{last}}}", place_fields(place))
    }));
    event("records_consumed", &[("count", batch.len().to_string()), ("partitions", shown)]);
    summaries.into_iter().map(|(place, (_, _, last))| (place, last + 1)).collect()
}

fn commit(consumer: &BaseConsumer<Rebalances>, next: &BTreeMap<Place, i64>) -> anyhow::Result<()> {
    let mut offsets = TopicPartitionList::new();
    for ((topic, partition), offset) in next {
        offsets.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    let outcome = consumer.commit(&offsets, CommitMode::Sync);
    let shown = list(next.iter().map(|(place, offset)| format!("{{{},\"offset\":{offset}}}", place_fields(place))));
    let mut fields = vec![("offsets", shown)];
    if let Err(error) = &outcome {
        let text = java_text(error);
        fields.push(("error", quoted(text.split_once(": ").map_or(&text, |(_, message)| message))));
    }
    fields.push(("success", outcome.is_ok().to_string()));
    event("offsets_committed", &fields);
    Ok(())
}
