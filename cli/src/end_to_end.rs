//! `kafka-e2e-latency`: sends one record after the other and measures how long each takes until it is read. librdkafka
//! sends and reads. Reads in no group and commits nothing.

use crate::client::check;
use crate::client_settings::{Complaints, consumer_config, java_text, producer_config};
use crate::cluster::{Cluster, Target, load_settings};
use crate::java_float::{fixed, java_float};
use anyhow::{Context as _, anyhow, bail};
use common::kafka::messages::CreateTopicsRequest;
use common::kafka::messages::create_topics::CreatableTopic;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const USAGE: &str = "USAGE: java org.apache.kafka.tools.EndToEndLatency broker_list topic num_messages producer_acks \
                     message_size_bytes [optional] properties_file";
/// How long a record is waited for.
const POLL_MS: u64 = 60_000;
/// How long a question to the brokers may take.
const ASK: Duration = Duration::from_secs(30);
/// A line of progress each so many records.
const TELL_EVERY: usize = 1000;

/// Tells trouble, and hears what became of the one record under way.
struct Ears {
    complaints: Complaints,
    delivered: Mutex<Option<Result<(), KafkaError>>>,
}

impl ClientContext for Ears {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.complaints.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.error(error, reason);
    }
}

impl ConsumerContext for Ears {}

impl ProducerContext<NoCustomPartitioner> for Ears {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Ok(mut delivered) = self.delivered.lock() {
            *delivered = Some(result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone()));
        }
    }
}

type Consumer = BaseConsumer<Ears>;
type Producer = BaseProducer<Ears>;

/// The tool.
pub(crate) fn end_to_end(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let (brokers, topic, count, acks, size, file) = match arguments {
        [brokers, topic, count, acks, size] => (brokers, topic, count, acks, size, None),
        [brokers, topic, count, acks, size, file] => (brokers, topic, count, acks, size, Some(file)),
        _ => bail!(USAGE),
    };
    let number = |text: &String| text.parse::<i32>().map_err(|_| anyhow!("For input string: \"{text}\""));
    let (count, size) = (number(count)?, number(size)?);
    if !matches!(acks.as_str(), "1" | "all") {
        bail!("Latency testing requires synchronous acknowledgement. Please use 1 or all");
    }
    let length = |number: i32| usize::try_from(number).map_err(|_| anyhow!("{number}"));
    let settings =
        file.filter(|file| !file.trim().is_empty()).map_or_else(|| Ok(BTreeMap::new()), |file| load_settings(file))?;
    let consumer: Consumer = connect("consumer", brokers, &settings, |settings| {
        settings.insert("fetch.max.wait.ms".to_owned(), "0".to_owned());
        settings.insert("enable.auto.commit".to_owned(), "false".to_owned());
        consumer_config("consumer-1", brokers, settings).map(|(mut config, _)| {
            config.set("group.id", format!("test-group-{}", crate::clock::now_ms()));
            config
        })
    })
    .and_then(|(config, ears)| Ok(config.create_with_context(ears)?))?;
    let producer: Producer = connect("producer", brokers, &settings, |settings| {
        settings.insert("linger.ms".to_owned(), "0".to_owned());
        settings.insert("acks".to_owned(), acks.clone());
        producer_config("producer-1", brokers, settings).map(|(config, _)| config)
    })
    .and_then(|(config, ears)| Ok(config.create_with_context(ears)?))?;
    if !exists(&consumer, topic)? {
        create(brokers, topic, &settings)?;
    }
    assign(&consumer, topic)?;
    measure(&consumer, &producer, topic, length(count)?, length(size)?)?;
    // Nothing is under way: the client's threads need not be waited for.
    std::mem::forget((producer, consumer));
    Ok(ExitCode::SUCCESS)
}

/// The settings of a client, with ears for it.
fn connect(
    kind: &'static str,
    brokers: &str,
    settings: &BTreeMap<String, String>,
    config: impl Fn(&mut BTreeMap<String, String>) -> anyhow::Result<ClientConfig>,
) -> anyhow::Result<(ClientConfig, Ears)> {
    let mut settings = settings.clone();
    settings.insert("bootstrap.servers".to_owned(), brokers.to_owned());
    let config = config(&mut settings).with_context(|| format!("Failed to construct kafka {kind}\nCaused by"))?;
    let client = if kind == "consumer" { "Consumer clientId=consumer-1" } else { "Producer clientId=producer-1" };
    Ok((config, Ears { complaints: Complaints::new(client, &settings), delivered: Mutex::new(None) }))
}

fn exists(consumer: &Consumer, topic: &str) -> anyhow::Result<bool> {
    let all = consumer.fetch_metadata(None, ASK).map_err(|error| anyhow!(java_text(&error)))?;
    Ok(all.topics().iter().any(|found| found.name() == topic))
}

fn create(brokers: &str, topic: &str, settings: &BTreeMap<String, String>) -> anyhow::Result<()> {
    println!("Topic \"{topic}\" does not exist. Will create topic with 1 partition(s) and replication factor = 1");
    let mut cluster = Cluster::new(brokers, settings)?;
    let timeout_ms = cluster.timeout_ms();
    let request = |_| CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: topic.to_owned(),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        }],
        timeout_ms,
        validate_only: false,
    };
    let response = cluster
        .call(Target::Controller, request, |response| response.topics.first().map_or(0, |topic| topic.error_code))?;
    for created in response.topics {
        if let Err(error) = check(created.error_code, created.error_message.as_deref()) {
            println!("Creation of topic {topic} failed");
            bail!("java.util.concurrent.ExecutionException: {}", error.java_text());
        }
    }
    Ok(())
}

/// Reads all partitions from their ends on.
fn assign(consumer: &Consumer, topic: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + ASK;
    let partitions: Vec<i32> = loop {
        let known = consumer.fetch_metadata(Some(topic), ASK).map_err(|error| anyhow!(java_text(&error)))?;
        let found = known.topics().first().filter(|found| found.error().is_none());
        let partitions: Vec<i32> = found
            .map(|found| found.partitions().iter().filter(|one| one.leader() >= 0).map(|one| one.id()).collect())
            .unwrap_or_default();
        // A topic that was just created has no leaders yet.
        if !partitions.is_empty() || Instant::now() > deadline {
            break partitions;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut ends = TopicPartitionList::new();
    for partition in partitions {
        let (_, end) = consumer.fetch_watermarks(topic, partition, ASK).map_err(|error| anyhow!(java_text(&error)))?;
        ends.add_partition_offset(topic, partition, Offset::Offset(end))?;
    }
    consumer.assign(&ends).map_err(|error| anyhow!(java_text(&error)))
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "latencies")]
fn measure(consumer: &Consumer, producer: &Producer, topic: &str, count: usize, size: usize) -> anyhow::Result<()> {
    let mut random = fastrand::Rng::with_seed(0);
    let mut latencies_ms: Vec<u128> = Vec::new();
    let mut total_ns = 0;
    for number in 0..count {
        let message = vec![random.u8(b'A'..=b'Z'); size];
        let begin = Instant::now();
        send(producer, topic, &message)?;
        let read = consumer.poll(Duration::from_millis(POLL_MS));
        let elapsed_ns = begin.elapsed().as_nanos();
        let read = match read {
            None => bail!("poll() timed out before finding a result (timeout:[{POLL_MS}])"),
            Some(read) => read.map_err(|error| anyhow!(java_text(&error)))?,
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let found = read.payload().unwrap_or_default();
        if found != message {
            bail!("The message read [{}] did not match the message sent [{}]", text(found), text(&message));
        }
        if number % TELL_EVERY == 0 {
            println!("{number}\t{}", java_float(elapsed_ns as f64 / 1000.0 / 1000.0, false));
        }
        total_ns += elapsed_ns;
        latencies_ms.push(elapsed_ns / 1_000_000);
    }
    println!("Avg latency: {} ms", fixed(total_ns as f64 / count as f64 / 1000.0 / 1000.0, 4));
    latencies_ms.sort_unstable();
    let at = |share: f64| latencies_ms.get((count as f64 * share) as usize);
    match (at(0.5), at(0.99), at(0.999)) {
        (Some(half), Some(most), Some(all)) => {
            println!("Percentiles: 50th = {half}, 99th = {most}, 99.9th = {all}");
            Ok(())
        }
        _ => bail!("Index 0 out of bounds for length 0"),
    }
}

/// Sends a record and waits until it is acknowledged.
fn send(producer: &Producer, topic: &str, message: &[u8]) -> anyhow::Result<()> {
    use rdkafka::producer::Producer as _;
    let record = BaseRecord::<(), [u8]>::to(topic).payload(message);
    producer.send(record).map_err(|(error, _)| anyhow!(java_text(&error)))?;
    loop {
        // The client library's poll lasts its whole time, whatever happens meanwhile.
        producer.poll(Duration::from_millis(1));
        let delivered = producer.context().delivered.lock().ok().and_then(|mut delivered| delivered.take());
        if let Some(delivered) = delivered {
            return delivered.map_err(|error| anyhow!(java_text(&error)));
        }
    }
}
