//! Which changes of settings are allowed, and what comes of them: AlterConfigs and IncrementalAlterConfigs of topics,
//! brokers and groups (KIP-226, 339, 848) with Kafka's rules and messages. Writes nothing.

use super::describe::{Layers, Texts, synonym_names, typed_row};
use super::group::validate_group;
use super::setting::{self, Check, ConfigError, Importance, Kind, Setting, Update};
use super::{
    BrokerConfig, broker_setting, group_setting, listener_base_name, may_follow, topic_setting, validate_topic,
};
use std::collections::BTreeSet;
use thiserror::Error;

/// Why settings are not changed; the text is for the client.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ChangeError {
    /// A value or name that cannot be.
    #[error("{0}")]
    InvalidConfig(String),
    /// Not to be changed in this way.
    #[error("{0}")]
    InvalidRequest(String),
}

/// What to do with one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Give it this value.
    Set(String),
    /// Take its value away.
    Delete,
    /// Add to its list.
    Append(String),
    /// Take from its list.
    Subtract(String),
}

/// Carries out operations on the settings of something. `row` finds the row of a name.
pub fn apply(
    texts: &Texts,
    operations: &[(String, Operation)],
    row: impl Fn(&str) -> Option<&'static Setting>,
) -> Result<Texts, ChangeError> {
    let mut texts = texts.clone();
    for (name, operation) in operations {
        match operation {
            Operation::Set(value) => {
                texts.insert(name.clone(), value.clone());
            }
            Operation::Delete => {
                texts.remove(name);
            }
            Operation::Append(value) => {
                let mut list = list_of(&texts, name, row(name), "append")?;
                let added = value.split(',').filter(|one| !list.iter().any(|old| old == one));
                let added: Vec<String> = added.map(str::to_owned).collect();
                list.extend(added);
                texts.insert(name.clone(), list.join(","));
            }
            Operation::Subtract(value) => {
                let mut list = list_of(&texts, name, row(name), "subtract")?;
                for one in value.split(',') {
                    if let Some(at) = list.iter().position(|old| old == one) {
                        list.remove(at);
                    }
                }
                texts.insert(name.clone(), list.join(","));
            }
        }
    }
    Ok(texts)
}

fn list_of(texts: &Texts, name: &str, row: Option<&Setting>, doing: &str) -> Result<Vec<String>, ChangeError> {
    let row = row.ok_or_else(|| ChangeError::InvalidConfig(format!("Unknown config name: {name}")))?;
    if row.kind != Kind::List {
        let problem = format!("Config value {doing} is not allowed for config key: {name}");
        return Err(ChangeError::InvalidConfig(problem));
    }
    let text = texts.get(name).map(String::as_str).or(row.default).unwrap_or("");
    Ok(text.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect())
}

/// The row of a topic setting, for [`apply`].
pub fn topic_row(name: &str) -> Option<&'static Setting> {
    topic_setting(name)
}

/// The row of a group setting, for [`apply`].
pub fn group_row(name: &str) -> Option<&'static Setting> {
    group_setting(name)
}

/// Whether a group may have these settings.
pub fn check_group(broker: &BrokerConfig, texts: &Texts) -> Result<(), ChangeError> {
    validate_group(broker, texts).map_err(|error| ChangeError::InvalidConfig(error.to_string()))
}

/// The row of a broker setting, for [`apply`].
pub fn broker_row(name: &str) -> Option<&'static Setting> {
    typed_row(name)
}

/// Settings of client metrics (KIP-714).
const CLIENT_METRICS: [Setting; 3] = [
    setting::int("interval.ms", Some("300000"), Check::Any, Importance::Medium),
    setting::list("match", Some(""), Check::Any, Importance::Medium),
    setting::list("metrics", Some(""), Check::Any, Importance::Medium),
];

/// The row of a setting of client metrics, for [`apply`].
pub fn client_metrics_row(name: &str) -> Option<&'static Setting> {
    CLIENT_METRICS.iter().find(|row| row.name == name)
}

/// Whether a topic may have these settings after those.
pub fn check_topic(broker: &BrokerConfig, topic: &str, before: &Texts, texts: &Texts) -> Result<(), ChangeError> {
    match validate_topic(broker, texts).and_then(|config| may_follow(before, &config)) {
        Ok(()) => Ok(()),
        Err(error @ ConfigError::Value { .. }) => Err(ChangeError::InvalidConfig(format!(
            "Invalid config value for resource ConfigResource(type=TOPIC, name='{topic}'): {error}"
        ))),
        Err(error) => Err(ChangeError::InvalidConfig(error.to_string())),
    }
}

/// Settings with secrets and files of TLS, which only a listener may change while running.
const OF_LISTENERS_ONLY: [&str; 10] = [
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

/// Whether this broker, or all of them, may have these settings while running.
pub fn check_broker(layers: &Layers<'_>, texts: &Texts, is_for_all: bool) -> Result<(), ChangeError> {
    let names = |keep: &dyn Fn(&str) -> bool| -> Vec<&str> {
        texts.keys().map(String::as_str).filter(|name| keep(name)).collect()
    };
    let refuse = |what: &str, kind: &str, names: Vec<&str>| match names.is_empty() {
        true => Ok(()),
        false => Err(ChangeError::InvalidRequest(format!("{what}: {kind}({})", names.join(", ")))),
    };
    let exact = |name: &str| broker_setting(name).filter(|row| row.name == name);
    let is_fixed = |name: &str| exact(name).is_some_and(|row| row.update == Update::ReadOnly);
    refuse("Cannot update these configs dynamically", "Set", names(&is_fixed))?;
    let what = "These security configs can be dynamically updated only per-listener using the listener prefix";
    refuse(what, "HashSet", names(&|name| OF_LISTENERS_ONLY.contains(&name)))?;
    for (name, text) in texts {
        if let Some(row) = broker_setting(name) {
            row.parse(text).map_err(|error| ChangeError::InvalidRequest(error.to_string()))?;
        }
        if typed_row(name).is_some_and(|row| row.kind == Kind::Password) {
            return Err(ChangeError::InvalidRequest("Password encoder secret not configured".to_owned()));
        }
    }
    if is_for_all {
        let of_all = ["max.connections", "max.connection.creation.rate", "num.network.threads"];
        let is_own = |name: &str| match listener_base_name(name) {
            Some(base) => !of_all.contains(&base),
            None => exact(name).is_some_and(|row| row.update == Update::PerBroker),
        };
        let what = "Cannot update these configs at default cluster level, broker id must be specified";
        refuse(what, "Set", names(&is_own))?;
    }
    let (for_all, own) = if is_for_all { (texts, &layers.own) } else { (&layers.for_all, texts) };
    let next = layers.file.with_dynamic(for_all, own);
    let next = next.map_err(|error| ChangeError::InvalidRequest(error.problem))?;
    check_threads(&layers.current(), &next)
}

/// Numbers of threads change by half or double at most.
fn check_threads(current: &BrokerConfig, next: &BrokerConfig) -> Result<(), ChangeError> {
    let counts = [
        ("background.threads", current.background_threads, next.background_threads),
        ("num.io.threads", current.num_io_threads, next.num_io_threads),
        (
            "num.recovery.threads.per.data.dir",
            current.num_recovery_threads_per_data_dir,
            next.num_recovery_threads_per_data_dir,
        ),
        ("num.replica.fetchers", current.num_replica_fetchers, next.num_replica_fetchers),
    ];
    for (name, old, new) in counts {
        let problem = if old == new {
            continue;
        } else if new <= 0 {
            "value should be at least 1".to_owned()
        } else if new < old / 2 {
            format!("value should be at least half the current value {old}")
        } else if new > old.saturating_mul(2) {
            format!("value should not be greater than double the current value {old}")
        } else {
            continue;
        };
        return Err(wrapped(&format!("Dynamic thread count update validation failed for {name}={new}, {problem}")));
    }
    let (old, new) = (current.log_cleaner_threads, next.log_cleaner_threads);
    if new < 1 {
        return Err(wrapped("Log cleaner threads should be at least 1"));
    }
    if new < old / 2 {
        let problem = "Log cleaner threads cannot be reduced to less than half the current value";
        return Err(wrapped(&format!("{problem} {old}")));
    }
    if new > old.saturating_mul(2) {
        let problem = "Log cleaner threads cannot be increased to more than double the current value";
        return Err(wrapped(&format!("{problem} {old}")));
    }
    Ok(())
}

/// As Kafka's exception in an exception reads.
fn wrapped(problem: &str) -> ChangeError {
    ChangeError::InvalidRequest(format!(
        "Invalid value org.apache.kafka.common.config.ConfigException: {problem} for configuration Invalid dynamic \
         configuration"
    ))
}

/// The other names of the settings in `texts`: a value set while running takes the place of all of them.
pub(super) fn displaced(texts: &Texts) -> BTreeSet<String> {
    let others = |name: &String| -> Vec<String> {
        if listener_base_name(name).is_some() {
            return Vec::new();
        }
        synonym_names(name).into_iter().map(str::to_owned).collect()
    };
    texts.keys().flat_map(others).collect()
}
