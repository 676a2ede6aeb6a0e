//! Settings of Kafka's Java clients in librdkafka's words, for the tools that produce and consume. Opens no connection.

use crate::clock;
use crate::cluster::{Cluster, jaas_option};
use crate::options::Options;
use anyhow::{Context as _, anyhow, bail};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::net::ToSocketAddrs as _;
use std::sync::Mutex;

/// Java's name and librdkafka's; a setting with the same name in both is taken as it is.
const RENAMED: &[(&str, &str)] = &[
    ("send.buffer.bytes", "socket.send.buffer.bytes"),
    ("receive.buffer.bytes", "socket.receive.buffer.bytes"),
    ("max.request.size", "message.max.bytes"),
    ("fetch.max.wait.ms", "fetch.wait.max.ms"),
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
            Ok(Some(crate::zookeeper::ZooKeeper::open(connect, 30_000)?.bootstrap_servers()?))
        }
        None => Ok(None),
    }
}

/// At least one of the servers must have an address.
pub(crate) fn check_servers(servers: &str) -> anyhow::Result<()> {
    Cluster::new(servers, &BTreeMap::new())?;
    let mut found = false;
    for server in servers.split(',').map(str::trim).filter(|server| !server.is_empty()) {
        match server.to_socket_addrs() {
            Ok(mut addresses) => found |= addresses.next().is_some(),
            Err(_) => {
                let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
                warn(&format!(
                    "Couldn't resolve server {server} from bootstrap.servers as DNS resolution failed for {host}"
                ));
            }
        }
    }
    found.then_some(()).context("No resolvable bootstrap urls given in bootstrap.servers")
}

/// A warning as Kafka's tools log it.
pub(crate) fn warn(message: &str) {
    eprintln!("[{}] WARN {message}", clock::log_time());
}

/// Says on stderr what goes wrong with connections, the same thing not twice in a row.
pub(crate) struct Complaints {
    client: &'static str,
    /// Show librdkafka's log lines, which its setting `debug` asks for.
    all: bool,
    last: Mutex<String>,
}

impl Complaints {
    /// Of the client with this id.
    pub(crate) fn new(client: &'static str, settings: &BTreeMap<String, String>) -> Complaints {
        Complaints { client, all: settings.contains_key("debug"), last: Mutex::new(String::new()) }
    }

    /// Says it.
    pub(crate) fn say(&self, reason: &str) {
        // The time since the start, which differs each time, is in brackets at the end.
        let gist = reason.split(" (after ").next().unwrap_or(reason);
        let Ok(mut last) = self.last.lock() else { return };
        if *last != gist {
            gist.clone_into(&mut last);
            warn(&format!("[{}] {reason}", self.client));
        }
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

    fn error(&self, _: KafkaError, reason: &str) {
        self.say(reason);
    }
}
