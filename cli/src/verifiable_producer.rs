//! `kafka-verifiable-producer`: sends counted numbers and says of each, as JSON, whether it was acknowledged, so that tests
//! can tell what must be there. librdkafka sends.

mod arguments;

use crate::argparse::{self, Parsed};
use crate::client_settings::{Complaints, check_producer, java_text, producer_config};
use crate::clock;
use crate::cluster::load_settings;
use crate::java_float::java_float;
use crate::throttle::Throttle;
use crate::verifiable_event::{event, quoted};
use anyhow::{Context as _, anyhow};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, ThreadedProducer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// How long the last records may take; each ends by its delivery timeout.
const PATIENCE: Duration = Duration::from_secs(130);
/// How long a pause lasts before signals are looked at.
const LOOK_UP: Duration = Duration::from_millis(50);

/// A record's key and value.
struct Sent {
    key: Option<String>,
    value: String,
}

/// Tells what became of records.
struct Deliveries {
    complaints: Complaints,
    topic: String,
    acked: AtomicU64,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.complaints.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.error(error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent>) {
        match result {
            Ok(message) => {
                self.acked.fetch_add(1, Ordering::Relaxed);
                let fields = [
                    ("key", Value::from(sent.key).to_string()),
                    ("value", Value::from(sent.value).to_string()),
                    ("offset", message.offset().to_string()),
                    ("topic", quoted(message.topic())),
                    ("partition", message.partition().to_string()),
                ];
                event("producer_send_success", &fields);
            }
            Err((error, _)) => self.failed(*sent, error),
        }
    }
}

impl Deliveries {
    fn failed(&self, sent: Sent, error: &KafkaError) {
        let text = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageTimedOut) => {
                "org.apache.kafka.common.errors.TimeoutException: Expiring 1 record(s): it could not be delivered within \
                 delivery.timeout.ms"
                    .to_owned()
            }
            _ => java_text(error),
        };
        let (class, message) = match text.split_once(": ").filter(|(class, _)| class.starts_with("org.")) {
            Some((class, message)) => (class, message),
            None => ("org.apache.kafka.common.KafkaException", &*text),
        };
        let fields = [
            ("topic", quoted(&self.topic)),
            ("key", Value::from(sent.key).to_string()),
            ("value", Value::from(sent.value).to_string()),
            ("exception", quoted(&format!("class {class}"))),
            ("message", quoted(message)),
        ];
        event("producer_send_error", &fields);
    }
}

/// The tool.
pub(crate) fn verifiable_producer(arguments: &[String]) -> anyhow::Result<ExitCode> {
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
    let servers = if parsed.has("bootstrap-server") { "bootstrap-server" } else { "broker-list" };
    let mut settings = BTreeMap::from([
        ("bootstrap.servers".to_owned(), parsed.text(servers).unwrap_or_default().to_owned()),
        ("acks".to_owned(), parsed.text("acks").unwrap_or_default().to_owned()),
        ("retries".to_owned(), "0".to_owned()),
    ]);
    if let Some(file) = parsed.text("producer.config") {
        // Kafka's tool names the file and no more.
        settings.extend(load_settings(file).map_err(|_| anyhow!("{file}"))?);
    }
    Ok(settings)
}

fn run(parsed: &Parsed, settings: &BTreeMap<String, String>) -> anyhow::Result<ExitCode> {
    const FAILED: &str = "org.apache.kafka.common.KafkaException: Failed to construct kafka producer\nCaused by";
    check_producer(settings)?;
    let servers = settings.get("bootstrap.servers").map_or("", String::as_str);
    let (config, settings) = producer_config("producer-1", servers, settings).context(FAILED)?;
    let topic = parsed.text("topic").unwrap_or_default().to_owned();
    let complaints = Complaints::new("Producer clientId=producer-1", &settings);
    let deliveries = Deliveries { complaints, topic, acked: AtomicU64::new(0) };
    let producer: ThreadedProducer<Deliveries> = config.create_with_context(deliveries).context(FAILED)?;
    let signal = crate::signals::noted()?;
    let target: i32 = parsed.number("throughput").unwrap_or(-1);
    let start_ms = clock::now_ms();
    event("startup_complete", &[]);
    let sent = send_all(&producer, parsed, Throttle::new(f64::from(target)), &signal);
    while producer.in_flight_count() > 0 && producer.flush(PATIENCE).is_err() {}
    event("shutdown_complete", &[]);
    let acked = producer.context().acked.load(Ordering::Relaxed);
    #[allow(clippy::cast_precision_loss, reason = "a rate")]
    let rate = 1000.0 * (acked as f64 / (clock::now_ms() - start_ms) as f64);
    println!(
        "{{\"timestamp\":{},\"name\":\"tool_data\",\"sent\":{sent},\"acked\":{acked},\"target_throughput\":{target},\
         \"avg_throughput\":{}}}",
        clock::now_ms(),
        java_float(rate, false)
    );
    // Everything is delivered or lost: the client's threads need not be waited for.
    std::mem::forget(producer);
    Ok(crate::signals::ended_by(&signal))
}

/// Sends until all is sent or a signal comes; gives how many records were sent.
fn send_all(
    producer: &ThreadedProducer<Deliveries>,
    parsed: &Parsed,
    mut throttle: Throttle,
    signal: &Arc<AtomicUsize>,
) -> u64 {
    let most = parsed.number::<i32>("max-messages").and_then(|most| u64::try_from(most).ok()).unwrap_or(u64::MAX);
    let prefix = parsed.number::<i32>("value-prefix").map_or(String::new(), |prefix| format!("{prefix}."));
    let keys = parsed.number::<i32>("repeating-keys");
    let mut create_ms = parsed.number::<i64>("message-create-time").filter(|time| *time != -1);
    let (start_ms, mut next_key) = (clock::now_ms(), 0);
    for number in 0..most {
        if signal.load(Ordering::Relaxed) != 0 {
            return number;
        }
        let key = keys.map(|keys| {
            let key = next_key;
            next_key = if next_key + 1 == keys { 0 } else { next_key + 1 };
            key.to_string()
        });
        send(producer, Sent { key, value: format!("{prefix}{number}") }, create_ms);
        create_ms = create_ms.map(|time| time + clock::now_ms() - start_ms);
        match throttle.pause(number) {
            Some(pause) => std::thread::sleep(pause),
            None => {
                while signal.load(Ordering::Relaxed) == 0 {
                    std::thread::sleep(LOOK_UP);
                }
            }
        }
    }
    most
}

fn send(producer: &ThreadedProducer<Deliveries>, sent: Sent, create_ms: Option<i64>) {
    let topic = producer.context().topic.clone();
    let (key, value) = (sent.key.clone(), sent.value.clone());
    let mut record =
        BaseRecord::<[u8], [u8], Box<Sent>>::with_opaque_to(&topic, Box::new(sent)).payload(value.as_bytes());
    record.key = key.as_deref().map(str::as_bytes);
    record.timestamp = create_ms;
    loop {
        match producer.send(record) {
            Ok(()) => return,
            Err((error, refused)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                std::thread::sleep(Duration::from_millis(1));
                record = refused;
            }
            Err((error, refused)) => return producer.context().failed(*refused.delivery_opaque, &error),
        }
    }
}
