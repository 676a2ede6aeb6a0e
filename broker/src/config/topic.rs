//! The settings of one topic: its own where it has them, else what the broker's settings give. Reads no znode.

use super::setting::{ConfigError, FromValue, Value};
use super::{BrokerConfig, TOPIC_SETTINGS, topic_setting};
use std::collections::BTreeMap;

/// Fields whose name is the setting's with `.` written `_`; type and setting stand together here once.
macro_rules! topic_config {
    ($($field:ident: $type:ty = $name:literal,)*) => {
        /// The settings in force for a topic. Fields bear Kafka's names with `.` written `_`.
        #[derive(Clone, Debug, PartialEq)]
        pub struct TopicConfig {
            /// What is set for this topic itself (`/config/topics/T`).
            pub overrides: BTreeMap<String, String>,
            /// Every setting's value by name.
            pub values: BTreeMap<&'static str, Value>,
            $(#[doc = concat!("`", $name, "`")] pub $field: $type,)*
        }

        fn build(overrides: BTreeMap<String, String>, values: BTreeMap<&'static str, Value>) -> TopicConfig {
            TopicConfig { overrides, $($field: typed(&values, $name),)* values }
        }
    };
}

topic_config! {
    cleanup_policy: Vec<String> = "cleanup.policy",
    compression_type: String = "compression.type",
    compression_gzip_level: i32 = "compression.gzip.level",
    compression_lz4_level: i32 = "compression.lz4.level",
    compression_zstd_level: i32 = "compression.zstd.level",
    delete_retention_ms: i64 = "delete.retention.ms",
    file_delete_delay_ms: i64 = "file.delete.delay.ms",
    flush_messages: i64 = "flush.messages",
    flush_ms: i64 = "flush.ms",
    follower_replication_throttled_replicas: Vec<String> = "follower.replication.throttled.replicas",
    index_interval_bytes: i32 = "index.interval.bytes",
    leader_replication_throttled_replicas: Vec<String> = "leader.replication.throttled.replicas",
    max_compaction_lag_ms: i64 = "max.compaction.lag.ms",
    max_message_bytes: i32 = "max.message.bytes",
    message_downconversion_enable: bool = "message.downconversion.enable",
    message_timestamp_type: String = "message.timestamp.type",
    message_timestamp_difference_max_ms: i64 = "message.timestamp.difference.max.ms",
    message_timestamp_before_max_ms: i64 = "message.timestamp.before.max.ms",
    message_timestamp_after_max_ms: i64 = "message.timestamp.after.max.ms",
    min_cleanable_dirty_ratio: f64 = "min.cleanable.dirty.ratio",
    min_compaction_lag_ms: i64 = "min.compaction.lag.ms",
    min_insync_replicas: i32 = "min.insync.replicas",
    preallocate: bool = "preallocate",
    local_retention_bytes: i64 = "local.retention.bytes",
    local_retention_ms: i64 = "local.retention.ms",
    remote_storage_enable: bool = "remote.storage.enable",
    remote_log_copy_disable: bool = "remote.log.copy.disable",
    remote_log_delete_on_disable: bool = "remote.log.delete.on.disable",
    retention_bytes: i64 = "retention.bytes",
    retention_ms: i64 = "retention.ms",
    segment_bytes: i32 = "segment.bytes",
    segment_index_bytes: i32 = "segment.index.bytes",
    segment_jitter_ms: i64 = "segment.jitter.ms",
    segment_ms: i64 = "segment.ms",
    unclean_leader_election_enable: bool = "unclean.leader.election.enable",
}

fn typed<T: FromValue>(values: &BTreeMap<&'static str, Value>, name: &str) -> T {
    let value = values.get(name).unwrap_or(&Value::Null);
    T::from_value(value).unwrap_or_else(|| unreachable!("the row of {name} has the type of its field"))
}

impl TopicConfig {
    /// The settings of a topic with these of its own. Errors: an unknown name, a wrong value. Rules between settings
    /// are [`validate_topic`]'s, which guards what may be stored.
    pub fn from_overrides(
        broker: &BrokerConfig,
        overrides: &BTreeMap<String, String>,
    ) -> Result<TopicConfig, ConfigError> {
        if let Some(unknown) = overrides.keys().find(|name| topic_setting(name).is_none()) {
            return Err(ConfigError::UnknownTopicConfig(unknown.clone()));
        }
        let mut values = BTreeMap::new();
        for row in TOPIC_SETTINGS {
            let value = match overrides.get(row.name) {
                Some(text) => row.parse(text)?,
                None => default_value(broker, row.name),
            };
            values.insert(row.name, value);
        }
        let mut config = build(overrides.clone(), values);
        // The deprecated setting rules while the two that replaced it are not set (KIP-937).
        if config.message_timestamp_before_max_ms == i64::MAX {
            config.message_timestamp_before_max_ms = config.message_timestamp_difference_max_ms;
        }
        if config.message_timestamp_after_max_ms == i64::MAX {
            config.message_timestamp_after_max_ms = config.message_timestamp_difference_max_ms;
        }
        Ok(config)
    }

    /// The settings of a topic that has none of its own.
    pub fn defaults(broker: &BrokerConfig) -> TopicConfig {
        TopicConfig::from_overrides(broker, &BTreeMap::new()).expect("without overrides nothing can be wrong")
    }

    /// As [`TopicConfig::from_overrides`] for what is stored already: what cannot be used is left out and returned, so
    /// that one bad znode does not take a topic away.
    pub fn from_stored(broker: &BrokerConfig, overrides: &BTreeMap<String, String>) -> (TopicConfig, Vec<ConfigError>) {
        let mut usable = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, text) in overrides {
            match topic_setting(name).map(|row| row.parse(text)) {
                Some(Ok(_)) => {
                    usable.insert(name.clone(), text.clone());
                }
                Some(Err(problem)) => problems.push(problem),
                None => problems.push(ConfigError::UnknownTopicConfig(name.clone())),
            }
        }
        let config = TopicConfig::from_overrides(broker, &usable).expect("each value was just parsed");
        (config, problems)
    }

    /// `cleanup.policy` has `compact`.
    pub fn is_compacted(&self) -> bool {
        self.cleanup_policy.iter().any(|policy| policy == "compact")
    }
}

/// What the broker's settings give a topic.
fn default_value(broker: &BrokerConfig, name: &str) -> Value {
    match name {
        "segment.ms" => Value::Long(broker.log_roll_ms),
        "segment.jitter.ms" => Value::Long(broker.log_roll_jitter_ms),
        "flush.ms" => Value::Long(broker.log_flush_interval_ms),
        "retention.ms" => Value::Long(broker.log_retention_ms),
        "message.timestamp.before.max.ms" => Value::Long(broker.log_message_timestamp_before_max_ms),
        "message.timestamp.after.max.ms" => Value::Long(broker.log_message_timestamp_after_max_ms),
        // Ignored from inter-broker protocol 3.0 on, and shown so.
        "message.format.version" => Value::Text("3.0-IV1".to_owned()),
        _ => {
            let row = topic_setting(name).expect("asked for rows of the table only");
            row.mirrors.map_or_else(|| row.default_value(), |mirrored| broker.value(mirrored).clone())
        }
    }
}

/// Whether a topic may be given these settings: names, values, and the rules between them.
pub fn validate_topic(broker: &BrokerConfig, overrides: &BTreeMap<String, String>) -> Result<TopicConfig, ConfigError> {
    let config = TopicConfig::from_overrides(broker, overrides)?;
    if config.min_compaction_lag_ms > config.max_compaction_lag_ms {
        return Err(ConfigError::Conflict(format!(
            "conflict topic config setting min.compaction.lag.ms ({}) > max.compaction.lag.ms ({})",
            config.min_compaction_lag_ms, config.max_compaction_lag_ms
        )));
    }
    if config.remote_log_delete_on_disable || config.remote_log_copy_disable {
        return Err(ConfigError::Conflict(
            "It is invalid to set `remote.log.delete.on.disable` or `remote.log.copy.disable` under Zookeeper's mode."
                .to_owned(),
        ));
    }
    if config.remote_storage_enable {
        check_remote(broker, &config)?;
    }
    Ok(config)
}

/// Whether a topic that has had these settings may have those: its segments in the remote store would belong to nobody.
pub fn may_follow(before: &BTreeMap<String, String>, after: &TopicConfig) -> Result<(), ConfigError> {
    let was_remote = before.get("remote.storage.enable").is_some_and(|text| text.trim().eq_ignore_ascii_case("true"));
    if !was_remote || after.remote_storage_enable {
        return Ok(());
    }
    Err(ConfigError::Conflict(
        "It is invalid to disable remote storage without deleting remote data. If you want to keep the remote data and \
         turn to read only, please set `remote.storage.enable=true,remote.log.copy.disable=true`. If you want to disable \
         remote storage and delete all remote data, please set \
         `remote.storage.enable=false,remote.log.delete.on.disable=true`."
            .to_owned(),
    ))
}

fn check_remote(broker: &BrokerConfig, config: &TopicConfig) -> Result<(), ConfigError> {
    if broker.remote_store.is_none() {
        return Err(ConfigError::Conflict(
            "Tiered Storage functionality is disabled in the broker. \
             Topic cannot be configured with remote log storage."
                .to_owned(),
        ));
    }
    if config.is_compacted() {
        let problem = "Remote log storage is unsupported for the compacted topics";
        return Err(ConfigError::Conflict(problem.to_owned()));
    }
    for (unit, total, local) in [
        ("bytes", config.retention_bytes, config.local_retention_bytes),
        ("ms", config.retention_ms, config.local_retention_ms),
    ] {
        let problem = match local {
            -2 => continue,
            _ if total <= -1 => continue,
            -1 => format!("Value must not be -1 as retention.{unit} value is set as {total}."),
            _ if local > total => format!("Value must not be more than retention.{unit} property value: {total}"),
            _ => continue,
        };
        return Err(ConfigError::Value { name: format!("local.retention.{unit}"), value: local.to_string(), problem });
    }
    Ok(())
}
