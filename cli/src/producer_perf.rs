//! `kafka-producer-perf-test`: sends records as fast as it goes, or at a rate, and says how fast and with what latency.
//! librdkafka sends. Reads nothing back.

mod arguments;
mod payload;
mod stats;

use crate::argparse::{self, Parsed};
use crate::client_settings::{Complaints, check_producer, java_text, producer_config};
use crate::cluster::load_settings;
use crate::throttle::Throttle;
use anyhow::{Context as _, anyhow};
use payload::Payload;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, ThreadedProducer};
use stats::Stats;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const CLIENT_ID: &str = "perf-producer-client";
/// Between windows of the report.
const WINDOW: Duration = Duration::from_secs(5);
/// How long an order to the transaction coordinator, or the last records, may take.
const PATIENCE: Duration = Duration::from_secs(130);
/// `transaction.timeout.ms` where nothing is said of it.
const TRANSACTION_MS: &str = "60000";
/// What Java's producer keeps at most before its sender has to wait, KiB.
const BUFFER_KBYTES: &str = "32768";

/// Counts what became of records.
struct Deliveries {
    complaints: Complaints,
    stats: Mutex<Stats>,
    start: Instant,
}

impl Deliveries {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.complaints.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.error(error, reason);
    }
}

/// When a record was sent, milliseconds since the start, and how long it is.
struct Sent {
    at_ms: u64,
    bytes: usize,
}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent>) {
        let now_ms = self.now_ms();
        let Ok(mut stats) = self.stats.lock() else { return };
        match result {
            Ok(_) => {
                if let Some(window) = stats.record(now_ms.saturating_sub(sent.at_ms), sent.bytes, now_ms) {
                    println!("{window}");
                }
            }
            Err((error, _)) => {
                stats.failed += 1;
                eprintln!("{}", failure(error));
            }
        }
    }
}

fn failure(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageTimedOut) => {
            let problem = "Expiring 1 record(s): it could not be delivered within delivery.timeout.ms";
            format!("org.apache.kafka.common.errors.TimeoutException: {problem}")
        }
        _ => java_text(error),
    }
}

type Producer = ThreadedProducer<Deliveries>;

/// The tool.
pub(crate) fn producer_perf(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let parsed = match argparse::begin(&arguments::PARSER, arguments) {
        Ok(parsed) => parsed,
        Err(code) => return Ok(code),
    };
    if !parsed.has("producer-props") && !parsed.has("producer.config") {
        let message = "Either --producer-props or --producer.config must be specified.";
        return Ok(argparse::wrong(&arguments::PARSER, message).show());
    }
    run(&parsed).map_err(|error| anyhow!("Exception in thread \"main\" {error:#}"))
}

fn run(parsed: &Parsed) -> anyhow::Result<ExitCode> {
    let payload = Payload::of(parsed)?;
    let transaction_ms = parsed.number::<i64>("transaction-duration-ms").and_then(|ms| u64::try_from(ms).ok());
    let transaction = transaction_ms.filter(|ms| *ms > 0).map(Duration::from_millis);
    let settings = settings(parsed, transaction.is_some())?;
    let count: u64 = parsed.number::<i64>("num-records").and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
    let client_id = settings.get("client.id").map_or(CLIENT_ID, String::as_str).to_owned();
    let producer = connect(&settings, count)?;
    if transaction.is_some() {
        producer.init_transactions(PATIENCE).map_err(|error| anyhow!(java_text(&error)))?;
    }
    if count == 0 {
        return Err(anyhow!("java.lang.ArithmeticException: / by zero"));
    }
    let topic = parsed.text("topic").unwrap_or_default();
    let throttle = Throttle::new(parsed.number("throughput").unwrap_or(-1.0));
    send_all(&producer, payload, Plan { topic, count, throttle, transaction })?;
    // Every record ends by its delivery timeout.
    while producer.in_flight_count() > 0 {
        let _ = producer.flush(PATIENCE);
    }
    let deliveries = producer.context();
    let now_ms = deliveries.now_ms();
    if let Ok(mut stats) = deliveries.stats.lock() {
        println!("{}", stats.total(now_ms));
        if parsed.has("print-metrics") {
            print!("{}", stats.metrics(&client_id, now_ms));
        }
    }
    // Everything is delivered or lost: the client's threads need not be waited for.
    std::mem::forget(producer);
    Ok(ExitCode::SUCCESS)
}

fn settings(parsed: &Parsed, in_transactions: bool) -> anyhow::Result<BTreeMap<String, String>> {
    let mut settings = match parsed.text("producer.config") {
        Some(file) => load_settings(file)?,
        None => BTreeMap::new(),
    };
    for property in parsed.texts("producer-props") {
        match property.trim_end_matches('=').split_once('=') {
            Some((key, value)) if !value.contains('=') => settings.insert(key.to_owned(), value.to_owned()),
            _ => return Err(anyhow!("java.lang.IllegalArgumentException: Invalid property: {property}")),
        };
    }
    if in_transactions {
        let id = parsed.text("transactional-id").unwrap_or_default();
        settings.insert("transactional.id".to_owned(), id.to_owned());
    }
    Ok(settings)
}

fn connect(settings: &BTreeMap<String, String>, count: u64) -> anyhow::Result<Producer> {
    const FAILED: &str = "org.apache.kafka.common.KafkaException: Failed to construct kafka producer\nCaused by";
    check_producer(settings)?;
    let servers = settings.get("bootstrap.servers").map_or("", String::as_str);
    let (mut config, settings) = producer_config(CLIENT_ID, servers, settings).context(FAILED)?;
    if !settings.contains_key("buffer.memory") {
        config.set("queue.buffering.max.kbytes", BUFFER_KBYTES);
    }
    if settings.contains_key("transactional.id") && !settings.contains_key("delivery.timeout.ms") {
        // librdkafka wants records to be given up before their transaction.
        let timeout_ms = settings.get("transaction.timeout.ms").map_or(TRANSACTION_MS, String::as_str);
        config.set("message.timeout.ms", timeout_ms);
    }
    let complaints = Complaints::new("Producer clientId=perf-producer-client", &settings);
    let stats = Mutex::new(Stats::new(count, WINDOW));
    let deliveries = Deliveries { complaints, stats, start: Instant::now() };
    config.create_with_context(deliveries).context(FAILED)
}

/// How much is sent, and how.
struct Plan<'a> {
    topic: &'a str,
    count: u64,
    throttle: Throttle,
    /// How long a transaction lasts, if there are any.
    transaction: Option<Duration>,
}

fn send_all(producer: &Producer, mut payload: Payload, plan: Plan) -> anyhow::Result<()> {
    let Plan { topic, count, mut throttle, transaction } = plan;
    let commit = || {
        producer
            .commit_transaction(PATIENCE)
            .map_err(|error| anyhow!("org.apache.kafka.common.KafkaException: {}", java_text(&error)))
    };
    let mut since: Option<Instant> = None;
    for sent in 0..count {
        if transaction.is_some() && since.is_none() {
            producer.begin_transaction().map_err(|error| anyhow!(java_text(&error)))?;
            since = Some(Instant::now());
        }
        let bytes = payload.next(sent);
        send(producer, topic, bytes);
        if let (Some(longest), Some(begin)) = (transaction, since)
            && begin.elapsed() >= longest
        {
            commit()?;
            since = None;
        }
        match throttle.pause(sent) {
            Some(Duration::ZERO) => {}
            Some(pause) => std::thread::sleep(pause),
            None => loop {
                std::thread::park();
            },
        }
    }
    if since.is_some() { commit() } else { Ok(()) }
}

fn send(producer: &Producer, topic: &str, bytes: &[u8]) {
    let sent = Box::new(Sent { at_ms: producer.context().now_ms(), bytes: bytes.len() });
    let mut record = BaseRecord::<(), [u8], Box<Sent>>::with_opaque_to(topic, sent).payload(bytes);
    loop {
        match producer.send(record) {
            Ok(()) => return,
            Err((error, refused)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                std::thread::sleep(Duration::from_millis(1));
                record = refused;
            }
            Err((error, _)) => {
                eprintln!("{}", failure(&error));
                return;
            }
        }
    }
}
