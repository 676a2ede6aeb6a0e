//! Settings of Kafka's Java clients in librdkafka's words, for the tools that produce and consume. Opens no connection.

use crate::clock;
use crate::cluster::{jaas_option, resolvable};
use crate::options::Options;
use crate::tunnel;
use anyhow::{anyhow, bail};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Java's name and librdkafka's; a setting with the same name in both is taken as it is.
const RENAMED: &[(&str, &str)] = &[
    ("send.buffer.bytes", "socket.send.buffer.bytes"),
    ("receive.buffer.bytes", "socket.receive.buffer.bytes"),
    ("max.request.size", "message.max.bytes"),
    ("fetch.max.wait.ms", "fetch.wait.max.ms"),
    // Names that librdkafka knows as others of its own, which are set before.
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("delivery.timeout.ms", "message.timeout.ms"),
];

/// Java's settings that mean nothing here.
const JAVA_ONLY: &[&str] = &[
    "key.serializer",
    "value.serializer",
    "key.deserializer",
    "value.deserializer",
    "max.block.ms",
    "max.poll.records",
    "default.api.timeout.ms",
    "interceptor.classes",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "auto.include.jmx.reporter",
    "exclude.internal.topics",
    "partitioner.class",
    "partitioner.ignore.keys",
    "partitioner.adaptive.partitioning.enable",
    "socket.connection.setup.timeout.max.ms",
    "bootstrap.servers",
];

/// What Java's clients accept as the value of a setting.
#[derive(Clone, Copy)]
enum Values {
    OneOf(&'static [&'static str]),
    Int(i32),
    Long(i64),
    Bool,
}

/// The settings whose values Java's clients check themselves, with the least value of numbers.
const CHECKED: &[(&str, Values)] = &[
    ("acks", Values::OneOf(&["all", "-1", "0", "1"])),
    ("auto.commit.interval.ms", Values::Int(0)),
    ("auto.offset.reset", Values::OneOf(&["latest", "earliest", "none"])),
    ("batch.size", Values::Int(0)),
    ("buffer.memory", Values::Long(0)),
    ("compression.type", Values::OneOf(&["none", "gzip", "snappy", "lz4", "zstd"])),
    ("default.api.timeout.ms", Values::Int(0)),
    ("delivery.timeout.ms", Values::Int(0)),
    ("enable.auto.commit", Values::Bool),
    ("enable.idempotence", Values::Bool),
    ("fetch.max.bytes", Values::Int(0)),
    ("fetch.max.wait.ms", Values::Int(0)),
    ("fetch.min.bytes", Values::Int(0)),
    ("heartbeat.interval.ms", Values::Int(i32::MIN)),
    ("isolation.level", Values::OneOf(&["read_committed", "read_uncommitted"])),
    ("linger.ms", Values::Long(0)),
    ("max.block.ms", Values::Long(0)),
    ("max.in.flight.requests.per.connection", Values::Int(1)),
    ("max.partition.fetch.bytes", Values::Int(0)),
    ("max.poll.interval.ms", Values::Int(1)),
    ("max.poll.records", Values::Int(1)),
    ("max.request.size", Values::Int(0)),
    ("metadata.max.age.ms", Values::Long(0)),
    ("receive.buffer.bytes", Values::Int(-1)),
    ("request.timeout.ms", Values::Int(0)),
    ("retries", Values::Int(0)),
    ("retry.backoff.ms", Values::Long(0)),
    ("send.buffer.bytes", Values::Int(-1)),
    ("session.timeout.ms", Values::Int(i32::MIN)),
];

/// A setting that Java's clients refuse, in their words.
#[derive(Debug, thiserror::Error)]
#[error("org.apache.kafka.common.config.ConfigException: {0}")]
pub(crate) struct ConfigError(pub(crate) String);

/// Refuses the values that Java's clients refuse.
pub(crate) fn check(settings: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    for (key, values) in CHECKED {
        let Some(value) = settings.get(*key) else { continue };
        let number = |kind: &str, least: i64, most: i64| match value.trim().parse::<i64>() {
            Ok(number) if number < least => Err(format!("Value must be at least {least}")),
            Ok(number) if number <= most => Ok(()),
            _ => Err(format!("Not a number of type {kind}")),
        };
        let verdict = match values {
            Values::OneOf(names) if names.contains(&value.as_str()) => Ok(()),
            Values::OneOf(names) => Err(format!("String must be one of: {}", names.join(", "))),
            Values::Int(least) => number("INT", (*least).into(), i32::MAX.into()),
            Values::Long(least) => number("LONG", *least, i64::MAX),
            Values::Bool if matches!(value.trim().to_lowercase().as_str(), "true" | "false") => Ok(()),
            Values::Bool => Err("Expected value to be either true or false".to_owned()),
        };
        verdict.map_err(|problem| ConfigError(format!("Invalid value {value} for configuration {key}: {problem}")))?;
    }
    Ok(())
}

/// Sets in `config` what `settings` say in Java's words. What librdkafka does not know is left out with a warning.
pub(crate) fn translate(settings: &BTreeMap<String, String>, config: &mut ClientConfig) -> anyhow::Result<()> {
    if settings.contains_key("debug") {
        config.set_log_level(RDKafkaLogLevel::Debug);
    }
    for (key, value) in settings {
        if JAVA_ONLY.contains(&key.as_str()) {
            continue;
        }
        let name = RENAMED.iter().find(|(java, _)| java == key).map_or(key.as_str(), |(_, ours)| *ours);
        let (name, value) = match name {
            "buffer.memory" => {
                let bytes: u64 = value.parse().map_err(|_| not_a_number(key, value))?;
                ("queue.buffering.max.kbytes", bytes.div_ceil(1024).max(1).to_string())
            }
            "batch.size" if value == "0" => (name, "1".to_owned()),
            "partition.assignment.strategy" => (name, strategies(value)?),
            "auto.offset.reset" if value.eq_ignore_ascii_case("none") => (name, "error".to_owned()),
            "security.protocol" | "group.protocol" | "isolation.level" | "auto.offset.reset" => {
                (name, value.to_lowercase())
            }
            "sasl.jaas.config" => {
                for (word, setting) in [("username", "sasl.username"), ("password", "sasl.password")] {
                    if let Some(value) = jaas_option(value, word) {
                        config.set(setting, value);
                    }
                }
                continue;
            }
            _ => (name, value.clone()),
        };
        match ClientConfig::new().set(name, &value).create_native_config() {
            Ok(_) => config.set(name, value),
            Err(KafkaError::ClientConfig(_, problem, _, _)) if problem.contains("No such configuration") => {
                warn(&format!("The configuration '{key}' was supplied but isn't a known config."));
                continue;
            }
            Err(KafkaError::ClientConfig(_, problem, _, _)) => {
                bail!("Invalid value {value} for configuration {key}: {problem}")
            }
            Err(error) => return Err(error.into()),
        };
    }
    Ok(())
}

fn not_a_number(key: &str, value: &str) -> anyhow::Error {
    anyhow!("Invalid value {value} for configuration {key}: Not a number of type LONG")
}

/// Assignor classes as librdkafka's names.
fn strategies(classes: &str) -> anyhow::Result<String> {
    let mut names = Vec::new();
    for class in classes.split(',').map(str::trim) {
        names.push(match class.rsplit('.').next().unwrap_or(class) {
            "RangeAssignor" | "range" => "range",
            "RoundRobinAssignor" | "roundrobin" => "roundrobin",
            "CooperativeStickyAssignor" | "cooperative-sticky" => "cooperative-sticky",
            _ => bail!("Invalid value {class} for configuration partition.assignment.strategy: no such assignor here"),
        });
    }
    Ok(names.join(","))
}

/// Where the brokers are, from `--bootstrap-server`, an alias of it or `--zookeeper`.
pub(crate) fn bootstrap_servers(options: &Options, names: &[&str]) -> anyhow::Result<Option<String>> {
    for name in names {
        if let Some(servers) = options.value(name)? {
            return Ok(Some(servers.to_owned()));
        }
    }
    match options.value("zookeeper")? {
        Some(connect) => {
            warn("--zookeeper is of the past; the brokers are looked up there. Use --bootstrap-server instead");
            Ok(Some(crate::zookeeper::registered_brokers(connect)?))
        }
        None => Ok(None),
    }
}

/// Refuses the values, and the values that do not go together, that Java's producer refuses.
pub(crate) fn check_producer(settings: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    check(settings)?;
    let is = |key: &str, values: &[&str]| settings.get(key).is_some_and(|value| values.contains(&value.as_str()));
    if is("enable.idempotence", &["true"]) && is("acks", &["0", "1"]) {
        let problem = "Must set acks to all in order to use the idempotent producer. Otherwise we cannot guarantee \
                       idempotence.";
        return Err(ConfigError(problem.to_owned()));
    }
    let number = |key: &str, default: i64| settings.get(key).and_then(|value| value.parse().ok()).unwrap_or(default);
    if settings.contains_key("delivery.timeout.ms")
        && number("delivery.timeout.ms", 0) < number("linger.ms", 0) + number("request.timeout.ms", 1500)
    {
        let problem = "delivery.timeout.ms should be equal to or larger than linger.ms + request.timeout.ms";
        return Err(ConfigError(problem.to_owned()));
    }
    Ok(())
}

/// librdkafka's settings for a producer that behaves as Java's, and the settings that were meant.
///
/// # Errors
/// If no server can be found, or a setting cannot be used.
pub(crate) fn producer_config(
    client_id: &str,
    servers: &str,
    settings: &BTreeMap<String, String>,
) -> anyhow::Result<(ClientConfig, BTreeMap<String, String>)> {
    let (servers, mut settings) = tunnel::through(&resolvable(servers)?.join(","), settings)?;
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", servers)
        .set("client.id", client_id)
        // As Java's producer places keys.
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "5")
        // A topic with small segments takes no larger batches.
        .set("batch.size", "16384")
        .set("queue.buffering.max.messages", "1000000")
        .set("queue.buffering.max.kbytes", "131072")
        .set("message.timeout.ms", "120000")
        // A broker that hangs must not hold a partition for long once another leads it.
        .set("socket.timeout.ms", "10000")
        .set("socket.nagle.disable", "true")
        // Connections to all brokers at once: made one by one as needed, each costs a tenth of a second at the start.
        .set("enable.sparse.connections", "false")
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "1000")
        .set("topic.metadata.refresh.fast.interval.ms", "50");
    let number = |key: &str| settings.get(key).and_then(|value| value.parse::<i64>().ok());
    let acks = settings.get("acks").map_or("all", String::as_str);
    let may_be_idempotent = matches!(acks, "all" | "-1")
        && number("retries").is_none_or(|retries| retries > 0)
        && number("max.in.flight.requests.per.connection").is_none_or(|requests| requests <= 5);
    // As in Java since 3.0: on, unless a setting given by name speaks against it.
    settings.entry("enable.idempotence".to_owned()).or_insert_with(|| may_be_idempotent.to_string());
    translate(&settings, &mut config)?;
    Ok((config, settings))
}

/// librdkafka's settings for a consumer that behaves as Java's, and the settings that were meant.
///
/// # Errors
/// If no server can be found, or a setting cannot be used.
pub(crate) fn consumer_config(
    client_id: &str,
    servers: &str,
    settings: &BTreeMap<String, String>,
) -> anyhow::Result<(ClientConfig, BTreeMap<String, String>)> {
    let (servers, settings) = tunnel::through(&resolvable(servers)?.join(","), settings)?;
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", servers)
        .set("client.id", client_id)
        .set("allow.auto.create.topics", "true")
        // New topics and new leaders are noticed as fast as by Java's consumer, which asks when it lacks something.
        .set("topic.metadata.refresh.interval.ms", "1000")
        .set("topic.metadata.refresh.fast.interval.ms", "50")
        .set("coordinator.query.interval.ms", "1000")
        .set("fetch.error.backoff.ms", "50")
        .set("fetch.queue.backoff.ms", "5")
        // Connections to all brokers at once: made one by one as needed, each costs a tenth of a second at the start.
        .set("enable.sparse.connections", "false")
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.nagle.disable", "true")
        .set("fetch.message.max.bytes", "1048576");
    translate(&settings, &mut config)?;
    Ok((config, settings))
}

/// A warning as Kafka's tools log it.
pub(crate) fn warn(message: &str) {
    eprintln!("[{}] WARN {message}", clock::log_time());
}

/// How often the same trouble is told.
const TELL_AGAIN: Duration = Duration::from_secs(5);
/// More different troubles than this are not told apart.
const TROUBLES: usize = 100;

/// Says on stderr what goes wrong with connections, the same thing not all the time.
pub(crate) struct Complaints {
    client: &'static str,
    /// Show librdkafka's log lines, which its setting `debug` asks for.
    all: bool,
    said: Mutex<BTreeMap<String, Instant>>,
}

impl Complaints {
    /// Of the client with this id.
    pub(crate) fn new(client: &'static str, settings: &BTreeMap<String, String>) -> Complaints {
        Complaints { client, all: settings.contains_key("debug"), said: Mutex::default() }
    }

    /// Says it.
    pub(crate) fn say(&self, reason: &str) {
        let text = javas_words(reason);
        let Ok(mut said) = self.said.lock() else { return };
        if said.get(&text).is_none_or(|at| at.elapsed() >= TELL_AGAIN) {
            warn(&format!("[{}] {text}", self.client));
            if said.len() >= TROUBLES {
                said.clear();
            }
            said.insert(text, Instant::now());
        }
    }
}

/// What librdkafka says of a connection, as Java's clients say it.
fn javas_words(reason: &str) -> String {
    // The time since the start, which differs each time, is in brackets at the end.
    let gist = reason.split(" (after ").next().unwrap_or(reason);
    let failed = gist.split_once(": Connect to ").filter(|(_, how)| how.contains(" failed: "));
    let Some((node, _)) = failed else { return gist.to_owned() };
    let node = node.rsplit("://").next().unwrap_or(node);
    let (server, id) = node.rsplit_once('/').unwrap_or((node, "bootstrap"));
    let id = if id == "bootstrap" { "-1" } else { id };
    format!("Connection to node {id} ({server}) could not be established. Node may not be available.")
}

/// An error of librdkafka's as Java's clients name it: those that brokers send by exception, others as they are.
pub(crate) fn java_text(error: &KafkaError) -> String {
    let code = error.rdkafka_error_code().and_then(|code| i16::try_from(code as i32).ok()).filter(|code| *code > 0);
    match code.and_then(|code| crate::client::check(code, None).err()) {
        Some(error) => error.java_text(),
        None => error.to_string(),
    }
}

impl rdkafka::ClientContext for Complaints {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if self.all {
            eprintln!("[{}] {level:?} {facility} {message}", clock::log_time());
        } else if level as i32 <= RDKafkaLogLevel::Critical as i32 {
            self.say(&format!("{facility} {message}"));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // That all are down follows from what is said of each.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            self.say(reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_refused_in_javas_words() {
        for (key, value, problem) in [
            ("acks", "all", None),
            ("acks", "7", Some("Invalid value 7 for configuration acks: String must be one of: all, -1, 0, 1")),
            ("linger.ms", "x", Some("Invalid value x for configuration linger.ms: Not a number of type LONG")),
            ("batch.size", "-3", Some("Invalid value -3 for configuration batch.size: Value must be at least 0")),
            (
                "batch.size",
                "3000000000",
                Some("Invalid value 3000000000 for configuration batch.size: Not a number of type INT"),
            ),
            ("enable.idempotence", "TRUE", None),
            ("something.else", "x", None),
        ] {
            let outcome = check(&BTreeMap::from([(key.to_owned(), value.to_owned())])).err().map(|error| error.0);
            assert_eq!(outcome.as_deref(), problem, "{key}={value}");
        }
    }

    #[test]
    fn failures_to_connect_are_told_in_javas_words() {
        for (reason, expected) in [
            (
                "localhost:9/bootstrap: Connect to ipv4#127.0.0.1:9 failed: Connection refused (after 0ms in state CONNECT)",
                "Connection to node -1 (localhost:9) could not be established. Node may not be available.",
            ),
            (
                "sasl_plaintext://h:9/2: Connect to ipv6#[::1]:9 failed: Connection refused",
                "Connection to node 2 (h:9) could not be established. Node may not be available.",
            ),
            ("h:9/2: Receive failed: x (after 5ms in state UP)", "h:9/2: Receive failed: x"),
        ] {
            assert_eq!(javas_words(reason), expected);
        }
    }
}
