//! `kafka-console-producer`: each line of standard input becomes a record. librdkafka sends; keys go to the partitions to
//! which Java's producer would send them. Decides nothing about what a line means: see `reader`.

mod reader;
mod specs;

use crate::client_settings::{Complaints, bootstrap_servers, check_producer, java_text, producer_config, warn};
use crate::clock;
use crate::cluster::load_settings;
use crate::options::{self, Options, key_values};
use anyhow::anyhow;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext};
use reader::{LineReader, Record};
use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// After so many records the delivery reports are looked at.
const POLL_EVERY: u32 = 1000;
/// Options whose value becomes a producer setting, if they are given.
const MERGED: [(&str, &str); 10] = [
    ("timeout", "linger.ms"),
    ("request-required-acks", "acks"),
    ("request-timeout-ms", "request.timeout.ms"),
    ("message-send-max-retries", "retries"),
    ("retry-backoff-ms", "retry.backoff.ms"),
    ("socket-buffer-size", "send.buffer.bytes"),
    ("max-memory-bytes", "buffer.memory"),
    ("batch-size", "batch.size"),
    ("max-partition-memory-bytes", "batch.size"),
    ("metadata-expiry-ms", "metadata.max.age.ms"),
];

/// The tool.
pub(crate) fn produce(arguments: &[String]) -> anyhow::Result<ExitCode> {
    options::exit(run(arguments))
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = Options::or_usage(specs::SPECS, arguments)?;
    let has_servers = ["bootstrap-server", "broker-list", "zookeeper"].iter().any(|name| options.has(name));
    if !has_servers && !options.has("help") && !options.has("version") {
        return Err(options.usage("Missing required option(s) [bootstrap-server]").into());
    }
    options.help_or_version(arguments, "This tool helps to read data from standard input and publish it to Kafka.")?;
    options.require(&["topic"])?;
    let topic = options.value("topic")?.unwrap_or_default().to_owned();
    let servers = bootstrap_servers(&options, &["bootstrap-server", "broker-list"])?.unwrap_or_default();
    if !servers.split(',').all(|server| server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())) {
        return Err(options.usage("Please provide valid host:port like host1:9091,host2:9092\n ").into());
    }
    if options.has("from-beginning") {
        warn("--from-beginning means something to kafka-console-consumer only; a producer ignores it");
    }
    let mut settings = match options.value("producer.config")? {
        Some(file) => load_settings(file)?,
        None => BTreeMap::new(),
    };
    settings.extend(key_values(&options.values("producer-property")));
    for (option, setting) in MERGED {
        if options.has(option) {
            settings.insert(setting.to_owned(), options.value(option)?.unwrap_or_default().to_owned());
        }
    }
    if options.has("compression-codec") {
        let codec = options.value("compression-codec")?.filter(|codec| !codec.is_empty()).unwrap_or("gzip");
        settings.insert("compression.type".to_owned(), codec.to_owned());
    }
    let mut properties = match options.value("reader-config")? {
        Some(file) => load_settings(file)?,
        None => BTreeMap::new(),
    };
    properties.extend(key_values(&options.values("property")));
    let class = options.value("line-reader")?.unwrap_or_default();
    if !class.ends_with("LineMessageReader") {
        return Err(anyhow!("java.lang.ClassNotFoundException: {class}"));
    }
    let reader = LineReader::new(&properties)?;
    let round_robin = round_robin(settings.get("partitioner.class").map(String::as_str))?;
    check_producer(&settings)?;
    let producer = Sender::new(&servers, topic, &settings, round_robin)
        .map_err(|error| error.context("org.apache.kafka.common.KafkaException: Failed to construct kafka producer"))?;
    producer.run(reader, options.has("sync"))
}

/// Does the partitioner deal records out in turn? Java's other partitioners are librdkafka's own ways.
fn round_robin(class: Option<&str>) -> anyhow::Result<bool> {
    let Some(class) = class.filter(|class| !class.is_empty()) else { return Ok(false) };
    // By the class's own name: tutorials get the package wrong.
    match class.rsplit('.').next().unwrap_or(class) {
        "RoundRobinPartitioner" => Ok(true),
        "DefaultPartitioner" | "UniformStickyPartitioner" | "BuiltInPartitioner" => Ok(false),
        _ => {
            Err(anyhow!("Invalid value {class} for configuration partitioner.class: Class {class} could not be found."))
        }
    }
}

/// Hears what became of records.
struct Deliveries {
    complaints: Complaints,
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
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            complain(message.topic(), message.key(), message.payload(), error);
        }
    }
}

/// librdkafka knows a topic with an impossible name as one that is not there.
fn is_valid_topic(topic: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    (1..=249).contains(&topic.len()) && topic.chars().all(fits) && !matches!(topic, "." | "..")
}

fn complain(topic: &str, key: Option<&[u8]>, value: Option<&[u8]>, error: &KafkaError) {
    let size = |bytes: Option<&[u8]>| bytes.map_or("null".to_owned(), |bytes| format!("{} bytes", bytes.len()));
    let reason = match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageTimedOut) => {
            let problem = "Expiring 1 record(s): it could not be delivered within delivery.timeout.ms";
            format!("org.apache.kafka.common.errors.TimeoutException: {problem}")
        }
        Some(RDKafkaErrorCode::InvalidTopic | RDKafkaErrorCode::UnknownTopic) if !is_valid_topic(topic) => {
            format!("org.apache.kafka.common.errors.InvalidTopicException: {topic}")
        }
        _ => java_text(error),
    };
    eprintln!(
        "[{}] ERROR Error when sending message to topic {topic} with key: {}, value: {} with error: \
         (org.apache.kafka.clients.producer.internals.ErrorLoggingCallback)\n{reason}",
        clock::log_time(),
        size(key),
        size(value)
    );
}

struct Sender {
    producer: BaseProducer<Deliveries>,
    topic: String,
    /// Whose turn it is, if records are dealt out.
    turn: Option<u32>,
    partitions: Vec<i32>,
    asked: Option<Instant>,
    until_poll: u32,
    delivery_timeout: Duration,
}

impl Sender {
    fn new(
        servers: &str,
        topic: String,
        settings: &BTreeMap<String, String>,
        round_robin: bool,
    ) -> anyhow::Result<Sender> {
        let (mut config, settings) = producer_config("console-producer", servers, settings)?;
        config.set("delivery.report.only.error", "true");
        let number = |key: &str| settings.get(key).and_then(|value| value.parse::<i64>().ok());
        let delivery_timeout = Duration::from_millis(
            number("delivery.timeout.ms").and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0).unwrap_or(120_000),
        );
        let complaints = Complaints::new("Producer clientId=console-producer", &settings);
        let producer: BaseProducer<Deliveries> = config.create_with_context(Deliveries { complaints })?;
        // librdkafka asks for its producer id when metadata arrives, or else each half second. The first metadata come over
        // the bootstrap connection, which it then gives up; those of the second request find a connection to ask on.
        for _ in 0..2 {
            if producer.client().fetch_metadata(Some(&topic), Duration::from_millis(500)).is_err() {
                break;
            }
        }
        Ok(Sender {
            producer,
            topic,
            turn: round_robin.then_some(0),
            partitions: Vec::new(),
            asked: None,
            until_poll: POLL_EVERY,
            delivery_timeout,
        })
    }

    fn run(mut self, mut reader: LineReader, sync: bool) -> anyhow::Result<ExitCode> {
        let prompt = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let outcome = loop {
            if prompt {
                print!(">");
                std::io::stdout().flush()?;
            }
            match reader.next() {
                Ok(Some(record)) => self.send(&record),
                Ok(None) => break Ok(ExitCode::SUCCESS),
                Err(error) => break Err(error),
            }
            if sync {
                self.deliver_all();
            } else if prompt {
                self.producer.poll(Duration::ZERO);
            }
        };
        self.deliver_all();
        // Everything is delivered or lost: the client's threads need not be waited for.
        std::mem::forget(self.producer);
        outcome
    }

    fn send(&mut self, record: &Record) {
        let headers = record.headers.as_ref().map(|headers| {
            headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), |all, (key, value)| {
                all.insert(Header { key, value: value.as_deref() })
            })
        });
        let partition = self.next_partition();
        let topic = self.topic.clone();
        let mut message = BaseRecord::<[u8], [u8]> {
            topic: &topic,
            partition,
            payload: record.value.as_deref(),
            key: record.key.as_deref(),
            timestamp: None,
            headers,
            delivery_opaque: (),
        };
        loop {
            match self.producer.send(message) {
                Ok(()) => break,
                Err((error, refused)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                    self.producer.poll(Duration::from_millis(5));
                    message = refused;
                }
                Err((error, refused)) => {
                    complain(&topic, refused.key, refused.payload, &error);
                    break;
                }
            }
        }
        self.until_poll -= 1;
        if self.until_poll == 0 {
            self.producer.poll(Duration::ZERO);
            self.until_poll = POLL_EVERY;
        }
    }

    /// The partition whose turn it is; `None` leaves it to the key.
    fn next_partition(&mut self) -> Option<i32> {
        let turn = self.turn?;
        if self.asked.is_none_or(|asked| asked.elapsed() > Duration::from_secs(30)) {
            let metadata = self.producer.client().fetch_metadata(Some(&self.topic), Duration::from_secs(10));
            if let Some(topic) = metadata.iter().flat_map(|metadata| metadata.topics()).next() {
                self.partitions = topic.partitions().iter().filter(|p| p.leader() >= 0).map(|p| p.id()).collect();
                self.partitions.sort_unstable();
            }
            // A topic that is just being created has no partitions yet; it is asked for again.
            self.asked = (!self.partitions.is_empty()).then(Instant::now);
        }
        if self.partitions.is_empty() {
            return None;
        }
        self.turn = Some(turn.wrapping_add(1));
        Some(self.partitions[turn as usize % self.partitions.len()])
    }

    /// Waits until no record is under way. Each ends by its delivery timeout.
    fn deliver_all(&self) {
        let deadline = Instant::now() + self.delivery_timeout + Duration::from_secs(10);
        while self.producer.in_flight_count() > 0 && Instant::now() < deadline {
            // What waits for more to come in its batch is sent now.
            let _ = self.producer.flush(Duration::ZERO);
            // Below some milliseconds the client library's poll spins.
            self.producer.poll(Duration::from_millis(10));
        }
    }
}
