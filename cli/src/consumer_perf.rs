//! `kafka-consumer-perf-test`: reads so many records of a topic as fast as it goes, and says how fast. librdkafka reads.

pub(crate) mod progress;
mod specs;

use crate::client_settings::{Complaints, check, consumer_config, java_text};
use crate::clock;
use crate::cluster::load_settings;
use crate::date_format::DateFormat;
use crate::options::{self, Options};
use anyhow::{Context as _, anyhow};
use progress::Progress;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

const CLIENT_ID: &str = "perf-consumer-client";
const POLL: Duration = Duration::from_millis(100);
const HEADER: &str = "rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec";

/// Measures how long the group needs until there are partitions to read.
struct Rebalances {
    complaints: Complaints,
    /// When partitions were taken away, or the reading began.
    since_ms: AtomicI64,
    /// In all.
    joined_ms: AtomicI64,
    /// Since the last line of progress.
    joined_in_round_ms: AtomicI64,
}

impl ClientContext for Rebalances {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.complaints.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.error(error, reason);
    }
}

impl ConsumerContext for Rebalances {
    fn pre_rebalance(&self, _: &BaseConsumer<Rebalances>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(_) = rebalance {
            self.since_ms.store(clock::now_ms(), Ordering::Relaxed);
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Rebalances>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(_) = rebalance {
            let elapsed = clock::now_ms() - self.since_ms.load(Ordering::Relaxed);
            self.joined_ms.fetch_add(elapsed, Ordering::Relaxed);
            self.joined_in_round_ms.fetch_add(elapsed, Ordering::Relaxed);
        }
    }
}

/// The tool.
pub(crate) fn consumer_perf(arguments: &[String]) -> anyhow::Result<ExitCode> {
    options::exit(run(arguments))
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = Options::or_usage(specs::SPECS, arguments)?;
    let has_servers = options.has("bootstrap-server") || options.has("broker-list");
    if !has_servers && !options.has("help") && !options.has("version") {
        return Err(options.usage("Missing required option(s) [bootstrap-server]").into());
    }
    if options.has("threads") || options.has("num-fetch-threads") {
        println!(
            "WARNING: option [threads] and [num-fetch-threads] have been deprecated and will be ignored by the test"
        );
    }
    options.help_or_version(arguments, "This tool is used to verify the consumer performance.")?;
    options.require(&["topic", "messages"])?;
    let detailed = options.has("show-detailed-stats");
    if !options.has("hide-header") {
        let times = if detailed { "time, threadId" } else { "start.time, end.time" };
        println!("{times}, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, {HEADER}");
    }
    let settings = settings(&options)?;
    check(&settings)?;
    let servers = settings.get("bootstrap.servers").map_or("", String::as_str);
    let (config, settings) =
        consumer_config(CLIENT_ID, servers, &settings).context("Failed to construct kafka consumer\nCaused by")?;
    let complaints = Complaints::new("Consumer clientId=perf-consumer-client", &settings);
    let start_ms = clock::now_ms();
    let rebalances = Rebalances {
        complaints,
        since_ms: AtomicI64::new(start_ms),
        joined_ms: AtomicI64::new(0),
        joined_in_round_ms: AtomicI64::new(0),
    };
    let consumer: BaseConsumer<Rebalances> =
        config.create_with_context(rebalances).context("Failed to construct kafka consumer\nCaused by")?;
    let wanted: i64 = options.number("messages")?.unwrap_or(0);
    let timeout_ms: i64 = options.number("timeout")?.unwrap_or(10_000);
    let every_ms = reporting_interval_ms(&options)?;
    let format = DateFormat::new(options.value("date-format")?.unwrap_or_default()).map_err(|error| anyhow!(error))?;
    consumer.subscribe(&[options.value("topic")?.unwrap_or_default()])?;
    let mut progress = Progress::new(start_ms, every_ms);
    let limits = Limits { wanted, timeout_ms, detailed };
    read(&consumer, &limits, &mut progress, &format)?;
    let end_ms = clock::now_ms();
    if progress.records < wanted {
        println!(
            "WARNING: Exiting before consuming the expected number of messages: timeout ({timeout_ms} ms) exceeded. You can \
             use the --timeout option to increase the timeout."
        );
    }
    let joined_ms = consumer.context().joined_ms.load(Ordering::Relaxed);
    // Commits and leaves the group.
    drop(consumer);
    if !detailed {
        println!("{}", progress.total(end_ms, joined_ms, &format));
    }
    if options.has("print-metrics") {
        let group = "consumer-fetch-manager-metrics";
        print!("{}", progress.metrics(group, settings.get("client.id").map_or(CLIENT_ID, String::as_str), end_ms));
    }
    Ok(ExitCode::SUCCESS)
}

/// How often progress is told.
pub(crate) fn reporting_interval_ms(options: &Options) -> anyhow::Result<i64> {
    match options.number("reporting-interval")?.unwrap_or(5000) {
        ..=0 => Err(anyhow!("Reporting interval must be greater than 0.")),
        every_ms => Ok(every_ms),
    }
}

fn settings(options: &Options) -> anyhow::Result<BTreeMap<String, String>> {
    let mut settings = options.value("consumer.config")?.map_or_else(|| Ok(BTreeMap::new()), load_settings)?;
    let group = format!("perf-consumer-{}", fastrand::u32(0..100_000));
    let servers = if options.has("bootstrap-server") { "bootstrap-server" } else { "broker-list" };
    let number = |name: &str| Ok::<_, anyhow::Error>(options.number::<i32>(name)?.unwrap_or(0).to_string());
    let reset = if options.has("from-latest") { "latest" } else { "earliest" };
    settings.extend([
        ("bootstrap.servers".to_owned(), options.value(servers)?.unwrap_or_default().to_owned()),
        ("group.id".to_owned(), options.value("group")?.unwrap_or(&group).to_owned()),
        ("receive.buffer.bytes".to_owned(), number("socket-buffer-size")?),
        ("max.partition.fetch.bytes".to_owned(), number("fetch-size")?),
        ("auto.offset.reset".to_owned(), reset.to_owned()),
        ("check.crcs".to_owned(), "false".to_owned()),
    ]);
    Ok(settings)
}

/// When to end, and what to tell meanwhile.
pub(crate) struct Limits {
    pub(crate) wanted: i64,
    /// Ends when no record came for so long.
    pub(crate) timeout_ms: i64,
    pub(crate) detailed: bool,
}

fn read(
    consumer: &BaseConsumer<Rebalances>,
    limits: &Limits,
    progress: &mut Progress,
    format: &DateFormat,
) -> anyhow::Result<()> {
    let mut now_ms = clock::now_ms();
    let mut last_ms = now_ms;
    while progress.records < limits.wanted && now_ms - last_ms <= limits.timeout_ms {
        let polled = consumer.poll(POLL);
        now_ms = clock::now_ms();
        let record = match polled {
            None => continue,
            Some(Ok(record)) => record,
            Some(Err(KafkaError::MessageConsumption(code))) if passes(code) => continue,
            Some(Err(error)) => return Err(anyhow!(java_text(&error))),
        };
        last_ms = now_ms;
        let bytes = record.key_len() + record.payload_len();
        if progress.add(bytes, now_ms) {
            let joined_ms = consumer.context().joined_in_round_ms.swap(0, Ordering::Relaxed);
            if limits.detailed {
                println!("{}", progress.line(now_ms, joined_ms, format));
            }
            progress.begin_round(now_ms);
        }
    }
    Ok(())
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
