//! `kafka-console-share-consumer`: a member of a share group that shows the records it gets on standard output, and accepts,
//! releases or rejects each. How a record looks is the affair of the console consumer's formatter.

mod specs;

use crate::client::java_text;
use crate::clock;
use crate::cluster::load_settings;
use crate::consume::formatter::{Delivery, Formatter};
use crate::consume::one_group;
use crate::options::{self, Options, key_values};
use crate::share_client::{Acknowledge, Delivered, Settings, ShareConsumer};
use crate::signals;
use rdkafka::Timestamp;
use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a wait for records lasts before signals are looked at.
const LOOK_UP: Duration = Duration::from_millis(50);
/// The group and the client where nothing else is said.
const NAME: &str = "console-share-consumer";

/// The tool.
pub(crate) fn share_consume(arguments: &[String]) -> anyhow::Result<ExitCode> {
    options::exit(run(arguments))
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = Options::or_usage(specs::SPECS, arguments)?;
    options.help_or_version(
        arguments,
        "This tool helps to read data from Kafka topics using share groups and outputs it to standard output.",
    )?;
    if !options.has("topic") {
        return Err(options.usage("--topic is a required argument").into());
    }
    options.require(&["bootstrap-server"])?;
    if options.has("reject") && options.has("release") {
        return Err(options.usage("At most one of --reject and --release may be specified.").into());
    }
    let property = renamed(&options, "consumer-property", "command-property")?;
    let config = renamed(&options, "consumer-config", "command-config")?;
    let mut properties = options.value(config)?.map_or_else(|| Ok(BTreeMap::new()), load_settings)?;
    let given = key_values(&options.values(property));
    let group = one_group(&options, [&properties, &given], "--consumer-config")?.unwrap_or_else(|| NAME.to_owned());
    properties.extend(given);
    properties.insert("group.id".to_owned(), group);
    properties.entry("client.id".to_owned()).or_insert_with(|| NAME.to_owned());
    let formatter = formatter(&options)?;
    let limit = options.number::<i32>("max-messages")?.filter(|max| *max != -1);
    let timeout = options.number::<i64>("timeout-ms")?.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
    let topic = options.value("topic")?.unwrap_or_default().to_owned();
    let servers = options.value("bootstrap-server")?.unwrap_or_default();
    let settings = Settings::new(servers, &properties, &[topic]);
    let word = match (options.has("reject"), options.has("release")) {
        (true, _) => Acknowledge::Reject,
        (_, true) => Acknowledge::Release,
        _ => Acknowledge::Accept,
    };
    let reader = Reader {
        formatter,
        word,
        rejects_on_error: options.has("reject-message-on-error"),
        limit: limit.map(|limit| u64::try_from(limit).unwrap_or(0)),
        timeout,
        signal: signals::noted()?,
        count: 0,
    };
    let ended = match ShareConsumer::join(settings) {
        Ok(consumer) => reader.run(consumer),
        Err(error) => {
            unknown_error(&error);
            ExitCode::FAILURE
        }
    };
    if options.has("enable-systest-events") {
        println!("shutdown_complete");
    }
    Ok(ended)
}

/// The name under which an option was given that has a new one.
fn renamed(options: &Options, old: &'static str, new: &'static str) -> anyhow::Result<&'static str> {
    match (options.has(old), options.has(new)) {
        (true, true) => {
            Err(options.usage(&format!("Options --{old} and --{new} cannot be specified together.")).into())
        }
        (true, false) => {
            println!("Option --{old} is deprecated and will be removed in a future version. Use --{new} instead.");
            Ok(old)
        }
        _ => Ok(new),
    }
}

fn formatter(options: &Options) -> anyhow::Result<Formatter> {
    let option = renamed(options, "property", "formatter-property")?;
    let mut properties = options.value("formatter-config")?.map_or_else(|| Ok(BTreeMap::new()), load_settings)?;
    for (option, property) in [("key-deserializer", "key.deserializer"), ("value-deserializer", "value.deserializer")] {
        if let Some(class) = options.value(option)?.filter(|class| !class.is_empty()) {
            properties.insert(property.to_owned(), class.to_owned());
        }
    }
    properties.extend(key_values(&options.values(option)));
    let class = options.value("formatter")?.unwrap_or_default();
    let formatter = Formatter::new(class, &properties).map_err(|error| options.usage(&error.to_string()))?;
    Ok(formatter.with_deliveries(&properties))
}

struct Reader {
    formatter: Formatter,
    /// What is said of each record.
    word: Acknowledge,
    rejects_on_error: bool,
    limit: Option<u64>,
    /// Ends the tool when no record came for so long.
    timeout: Option<Duration>,
    /// The signal that asks to end, or 0.
    signal: Arc<AtomicUsize>,
    count: u64,
}

impl Reader {
    fn run(mut self, mut consumer: ShareConsumer) -> ExitCode {
        // A consumer whose reader is gone says what it did and leaves its group, as Kafka's.
        crate::broken_pipe::is_survived();
        let outcome = self.read(&mut consumer);
        consumer.leave();
        eprintln!("Processed a total of {} messages", self.count);
        match outcome {
            Err(error) => {
                unknown_error(&error);
                ExitCode::FAILURE
            }
            Ok(()) => signals::ended_by(&self.signal),
        }
    }

    /// Shows records until there is a reason to end.
    fn read(&mut self, consumer: &mut ShareConsumer) -> anyhow::Result<()> {
        let mut waiting_since = Instant::now();
        while self.limit.is_none_or(|limit| self.count < limit) {
            if self.signal.load(Ordering::Relaxed) > 0 {
                return Ok(());
            }
            let delivered = match consumer.poll(self.patience(waiting_since)) {
                Ok(delivered) => delivered,
                Err(error) => {
                    terminate(&java_text(&error));
                    return Ok(());
                }
            };
            if delivered.is_empty() {
                if self.timeout.is_some_and(|timeout| waiting_since.elapsed() >= timeout) {
                    terminate("org.apache.kafka.common.errors.TimeoutException");
                    return Ok(());
                }
                continue;
            }
            let mut out = Vec::new();
            let (words, outcome) = self.show(&delivered, &mut out);
            let mut stdout = std::io::stdout().lock();
            if stdout.write_all(&out).and_then(|()| stdout.flush()).is_err() {
                eprintln!("Unable to write to standard out, closing consumer.");
                return Ok(());
            }
            for (one, word) in delivered.iter().zip(words) {
                consumer.acknowledge(one, word);
            }
            outcome?;
            waiting_since = Instant::now();
        }
        Ok(())
    }

    /// What is to be said of each record once it is shown, as far as it went.
    fn show(&mut self, delivered: &[Delivered], out: &mut Vec<u8>) -> (Vec<Acknowledge>, anyhow::Result<()>) {
        let mut words = Vec::new();
        for one in delivered {
            if self.limit.is_some_and(|limit| self.count >= limit) {
                break;
            }
            self.count += 1;
            let how = Delivery { count: one.delivery_count, leader_epoch: one.leader_epoch };
            match self.formatter.write_delivered(&message(one), how, out) {
                Ok(()) => words.push(self.word),
                Err(error) if self.rejects_on_error => {
                    let now = clock::log_time();
                    eprintln!("[{now}] ERROR Error processing message, rejecting this message: {error:#}");
                    words.push(Acknowledge::Reject);
                }
                Err(error) => return (words, Err(error)),
            }
        }
        (words, Ok(()))
    }

    fn patience(&self, waiting_since: Instant) -> Duration {
        let left = self.timeout.map(|timeout| timeout.saturating_sub(waiting_since.elapsed()));
        left.map_or(LOOK_UP, |left| left.min(LOOK_UP))
    }
}

/// The record as formatters take it.
fn message(delivered: &Delivered) -> OwnedMessage {
    let record = &delivered.record;
    let timestamp = match (record.timestamp, delivered.is_log_append_time) {
        (..0, _) => Timestamp::NotAvailable,
        (ms, true) => Timestamp::LogAppendTime(ms),
        (ms, false) => Timestamp::CreateTime(ms),
    };
    let headers = record.headers.iter().fold(None, |headers: Option<OwnedHeaders>, header| {
        let value = header.value.as_deref();
        Some(headers.unwrap_or_default().insert(Header { key: &header.key, value }))
    });
    OwnedMessage::new(
        record.value.as_deref().map(<[u8]>::to_vec),
        record.key.as_deref().map(<[u8]>::to_vec),
        delivered.topic.to_string(),
        timestamp,
        delivered.place.1,
        record.offset,
        headers,
    )
}

fn unknown_error(error: &anyhow::Error) {
    let now = clock::log_time();
    eprintln!(
        "[{now}] ERROR Unknown error when running consumer:  (org.apache.kafka.tools.consumer.ConsoleShareConsumer)\n\
         {error:#}"
    );
}

fn terminate(reason: &str) {
    let now = clock::log_time();
    eprintln!(
        "[{now}] ERROR Error processing message, terminating consumer process:  \
         (org.apache.kafka.tools.consumer.ConsoleShareConsumer)\n{reason}"
    );
}
