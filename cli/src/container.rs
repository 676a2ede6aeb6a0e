//! `castellan container broker|coordinator`: the entry point of the images. Turns the environment variables of the
//! well-known images into a properties file and becomes the server. `check` is their health check.
//!
//! Rules: Confluent's `KAFKA_A_B` is `a.b`, with `__` for `_` and `___` for `-`; Bitnami's `KAFKA_CFG_A_B` likewise;
//! wurstmeister's `KAFKA_ADVERTISED_HOST_NAME` and `_PORT`. For the coordinator Confluent's `ZOOKEEPER_CLIENT_PORT` and
//! its kin, and the official image's `ZOO_*`.

use crate::client::Connection;
use crate::up::process;
use anyhow::{Context as _, bail};
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

const BROKER_FILE: &str = "/etc/kafka/server.properties";
const COORDINATOR_FILE: &str = "/etc/zookeeper/zoo.cfg";

/// Variables that begin with `KAFKA_` and are about the JVM or the image, not about a setting.
const NOT_SETTINGS: &[&str] = &[
    "KAFKA_ADVERTISED_HOST_NAME",
    "KAFKA_ADVERTISED_PORT",
    "KAFKA_CREATE_TOPICS",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_HOME",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JMX_OPTS",
    "KAFKA_JMX_PORT",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_OPTS",
    "KAFKA_VERSION",
];

type Environment = BTreeMap<String, String>;

/// The entry point of both images.
pub(crate) fn container(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let environment: Environment = std::env::vars().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["broker"] => {
            let text = broker_properties(&environment)?;
            std::fs::write(BROKER_FILE, text).with_context(|| format!("writing {BROKER_FILE}"))?;
            become_server("broker", BROKER_FILE)
        }
        ["coordinator"] => {
            let settings = coordinator_settings(&environment)?;
            std::fs::create_dir_all(&settings.data_dir).with_context(|| format!("creating {}", settings.data_dir))?;
            if let Some(id) = settings.id {
                let file = Path::new(&settings.data_dir).join("myid");
                std::fs::write(&file, format!("{id}\n")).with_context(|| format!("writing {}", file.display()))?;
            }
            std::fs::write(COORDINATOR_FILE, settings.text).with_context(|| format!("writing {COORDINATOR_FILE}"))?;
            become_server("coordinator", COORDINATOR_FILE)
        }
        ["check", "broker"] => check_broker(),
        ["check", "coordinator"] => {
            let settings = coordinator_settings(&environment)?;
            let address = format!("127.0.0.1:{}", settings.client_port);
            process::coordinator_mode(&address)
                .with_context(|| format!("the coordinator at {address} does not serve"))?;
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("Usage: castellan container [check] broker|coordinator"),
    }
}

fn become_server(binary: &str, file: &str) -> anyhow::Result<ExitCode> {
    let program = process::sibling(binary)?;
    let error = Command::new(&program).arg(file).exec();
    Err(error).with_context(|| format!("starting {}", program.display()))
}

fn check_broker() -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(BROKER_FILE).with_context(|| format!("reading {BROKER_FILE}"))?;
    let properties = common::properties::Properties::parse(&text, BROKER_FILE);
    let listeners = properties.get("listeners").unwrap_or("PLAINTEXT://:9092");
    let port = listeners.split(',').next().and_then(|listener| listener.rsplit(':').next()).context("no listener")?;
    let mut connection = Connection::open(&format!("127.0.0.1:{port}"), Duration::from_secs(3))?;
    let metadata = connection.metadata(Some(Vec::new()))?;
    anyhow::ensure!(!metadata.brokers.is_empty(), "the broker knows of no broker yet");
    Ok(ExitCode::SUCCESS)
}

/// `server.properties` for an environment.
fn broker_properties(environment: &Environment) -> anyhow::Result<String> {
    let mut settings = BTreeMap::new();
    for (variable, value) in environment {
        let name = match (variable.strip_prefix("KAFKA_CFG_"), variable.strip_prefix("KAFKA_")) {
            (Some(name), _) => name,
            (_, Some(name)) if !NOT_SETTINGS.contains(&variable.as_str()) && !name.starts_with("LOG4J_") => name,
            _ => continue,
        };
        settings.insert(setting_name(name), value.clone());
    }
    if !settings.contains_key("zookeeper.connect") {
        bail!("KAFKA_ZOOKEEPER_CONNECT is required: the coordinators' host:port, separated by commas");
    }
    if let Some(host) = environment.get("KAFKA_ADVERTISED_HOST_NAME") {
        let port = environment.get("KAFKA_ADVERTISED_PORT").map_or("9092", String::as_str);
        settings.entry("advertised.listeners".to_owned()).or_insert_with(|| format!("PLAINTEXT://{host}:{port}"));
    }
    if !settings.contains_key("listeners") {
        let Some(advertised) = settings.get("advertised.listeners") else {
            bail!("KAFKA_ADVERTISED_LISTENERS is required: what clients are told, such as PLAINTEXT://localhost:9092");
        };
        let listeners: Vec<String> = advertised.split(',').map(bound_everywhere).collect();
        settings.insert("listeners".to_owned(), listeners.join(","));
    }
    settings.entry("log.dirs".to_owned()).or_insert_with(|| "/var/lib/kafka/data".to_owned());
    Ok(settings.iter().map(|(key, value)| format!("{key}={}\n", escape(value))).collect())
}

/// `A_B` is `a.b`, `__` stands for `_`, `___` for `-`.
fn setting_name(variable: &str) -> String {
    variable.to_lowercase().replace("___", "-").replace("__", "\u{0}").replace('_', ".").replace('\u{0}', "_")
}

/// `NAME://host:port` on every interface.
fn bound_everywhere(listener: &str) -> String {
    let (name, rest) = listener.trim().split_once("://").unwrap_or(("PLAINTEXT", listener));
    format!("{name}://0.0.0.0:{}", rest.rsplit(':').next().unwrap_or("9092"))
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n")
}

/// What the coordinator's environment comes to.
#[derive(Debug, PartialEq, Eq)]
struct CoordinatorSettings {
    text: String,
    data_dir: String,
    client_port: String,
    id: Option<String>,
}

/// `zoo.cfg` and `myid` for an environment.
fn coordinator_settings(environment: &Environment) -> anyhow::Result<CoordinatorSettings> {
    let mut settings: BTreeMap<String, String> = BTreeMap::new();
    let mut id = None;
    let mut extra = String::new();
    for (variable, value) in environment {
        let value = value.clone();
        if let Some(name) = variable.strip_prefix("ZOOKEEPER_") {
            match name {
                "SERVER_ID" => id = Some(value),
                "SERVERS" => add_servers(&mut settings, value.split(';'))?,
                "GROUPS" | "WEIGHTS" => bail!("{variable}: groups and weights of servers are not supported"),
                _ => drop(settings.insert(camel_case(name), value)),
            }
        } else if let Some(name) = variable.strip_prefix("ZOO_") {
            match name {
                "MY_ID" => id = Some(value),
                "SERVERS" => add_servers(&mut settings, value.split_whitespace())?,
                "CFG_EXTRA" => extra = value.split_whitespace().map(|line| format!("{line}\n")).collect(),
                "MAX_CLIENT_CNXNS" => drop(settings.insert("maxClientCnxns".to_owned(), value)),
                "4LW_COMMANDS_WHITELIST" => drop(settings.insert("4lw.commands.whitelist".to_owned(), value)),
                "ADMINSERVER_ENABLED" => drop(settings.insert("admin.enableServer".to_owned(), value)),
                "AUTOPURGE_PURGEINTERVAL" => drop(settings.insert("autopurge.purgeInterval".to_owned(), value)),
                "AUTOPURGE_SNAPRETAINCOUNT" => drop(settings.insert("autopurge.snapRetainCount".to_owned(), value)),
                "TICK_TIME" | "INIT_LIMIT" | "SYNC_LIMIT" | "STANDALONE_ENABLED" | "DATA_DIR" | "DATA_LOG_DIR" => {
                    settings.insert(camel_case(name), value);
                }
                _ => {}
            }
        }
    }
    for (key, value) in [("clientPort", "2181"), ("dataDir", "/var/lib/zookeeper/data"), ("tickTime", "2000")] {
        settings.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
    if settings.keys().any(|key| key.starts_with("server.")) {
        anyhow::ensure!(id.is_some(), "ZOOKEEPER_SERVER_ID is required where ZOOKEEPER_SERVERS is given");
        for (key, value) in [("initLimit", "10"), ("syncLimit", "5")] {
            settings.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    let mut text: String = settings.iter().map(|(key, value)| format!("{key}={}\n", escape(value))).collect();
    text += &extra;
    let of = |key: &str| settings.get(key).cloned().unwrap_or_default();
    Ok(CoordinatorSettings { text, data_dir: of("dataDir"), client_port: of("clientPort"), id })
}

/// Servers as `host:2888:3888`, numbered from 1, or as `server.7=host:2888:3888`.
fn add_servers<'a>(
    settings: &mut BTreeMap<String, String>,
    servers: impl Iterator<Item = &'a str>,
) -> anyhow::Result<()> {
    for (index, server) in servers.map(str::trim).filter(|server| !server.is_empty()).enumerate() {
        let (key, value) = match server.split_once('=') {
            Some((key, value)) => (key.to_owned(), value),
            None => (format!("server.{}", index + 1), server),
        };
        anyhow::ensure!(key.starts_with("server."), "'{server}' is not host:port:port or server.N=host:port:port");
        settings.insert(key, value.to_owned());
    }
    Ok(())
}

/// `CLIENT_PORT` is `clientPort`.
fn camel_case(variable: &str) -> String {
    let mut words = variable.split('_');
    let first = words.next().unwrap_or_default().to_lowercase();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        let initial = letters.next().map(String::from).unwrap_or_default();
        name + &initial + &letters.as_str().to_lowercase()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn broker_variables() {
        let check = |pairs: &[(&str, &str)], expected: Result<&str, &str>| {
            let found = broker_properties(&environment(pairs)).map_err(|error| error.to_string());
            assert_eq!(found.as_deref().map_err(|error| error.split(' ').next().unwrap_or("")), expected);
        };
        check(
            &[
                ("KAFKA_ZOOKEEPER_CONNECT", "zookeeper:2181"),
                ("KAFKA_ADVERTISED_LISTENERS", "INTERNAL://kafka1:29092,EXTERNAL://127.0.0.1:9092"),
                ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
                ("KAFKA_A__B___C", "d"),
                ("KAFKA_HEAP_OPTS", "-Xmx1g"),
                ("KAFKA_LOG4J_ROOT_LOGLEVEL", "INFO"),
                ("PATH", "/bin"),
            ],
            Ok("a_b-c=d\nadvertised.listeners=INTERNAL://kafka1:29092,EXTERNAL://127.0.0.1:9092\n\
                listeners=INTERNAL://0.0.0.0:29092,EXTERNAL://0.0.0.0:9092\nlog.dirs=/var/lib/kafka/data\n\
                offsets.topic.replication.factor=1\nzookeeper.connect=zookeeper:2181\n"),
        );
        check(
            &[("KAFKA_CFG_ZOOKEEPER_CONNECT", "z"), ("KAFKA_ADVERTISED_HOST_NAME", "h"), ("KAFKA_LOG_DIRS", "/l")],
            Ok(
                "advertised.listeners=PLAINTEXT://h:9092\nlisteners=PLAINTEXT://0.0.0.0:9092\nlog.dirs=/l\nzookeeper.connect=z\n",
            ),
        );
        check(&[("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://a:1")], Err("KAFKA_ZOOKEEPER_CONNECT"));
        check(&[("KAFKA_ZOOKEEPER_CONNECT", "a:1")], Err("KAFKA_ADVERTISED_LISTENERS"));
    }

    #[test]
    fn coordinator_variables() {
        let found = coordinator_settings(&environment(&[
            ("ZOOKEEPER_CLIENT_PORT", "22181"),
            ("ZOOKEEPER_SERVER_ID", "2"),
            ("ZOOKEEPER_SERVERS", "a:2888:3888;b:2888:3888"),
        ]))
        .unwrap();
        let expected = "clientPort=22181\ndataDir=/var/lib/zookeeper/data\ninitLimit=10\nserver.1=a:2888:3888\n\
                        server.2=b:2888:3888\nsyncLimit=5\ntickTime=2000\n";
        assert_eq!((found.text.as_str(), found.id.as_deref()), (expected, Some("2")));
        let official = coordinator_settings(&environment(&[
            ("ZOO_MY_ID", "1"),
            ("ZOO_SERVERS", "server.1=a:2888:3888;2181"),
            ("ZOO_CFG_EXTRA", "x=1 y=2"),
        ]))
        .unwrap();
        assert!(official.text.contains("server.1=a:2888:3888;2181\n") && official.text.ends_with("x=1\ny=2\n"));
        assert!(coordinator_settings(&environment(&[("ZOOKEEPER_SERVERS", "a:1:2")])).is_err());
        assert_eq!(coordinator_settings(&environment(&[])).unwrap().client_port, "2181");
    }
}
