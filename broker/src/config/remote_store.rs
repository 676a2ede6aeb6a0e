//! The settings of tiered storage (KIP-405) that Kafka hands to its classes, by prefix: `rsm.config.` for the one that stores,
//! `rlmm.config.` for the one that keeps the metadata. Reads no file.

use super::{Value, typed};
use common::properties::{Properties, PropertyError};
use std::collections::BTreeMap;

/// The store that is served: a folder that all brokers see.
const LOCAL_TIERED_STORAGE: &str = "org.apache.kafka.server.log.remote.storage.LocalTieredStorage";
/// The only keeper of metadata that Kafka has.
const TOPIC_BASED: &str = "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager";

/// Where full segments go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteStore {
    /// `rsm.config.dir`: the folder.
    pub dir: String,
    /// `rlmm.config.remote.log.metadata.topic.num.partitions`
    pub metadata_partitions: i32,
    /// `rlmm.config.remote.log.metadata.topic.replication.factor`
    pub metadata_replication_factor: i32,
    /// `rlmm.config.remote.log.metadata.topic.retention.ms`; -1 keeps all.
    pub metadata_retention_ms: i64,
    /// `rlmm.config.remote.log.metadata.consume.wait.ms`: what is told must be read back within.
    pub consume_wait_ms: i64,
}

/// The prefix of the settings that a class gets.
pub(super) fn prefixes(properties: &Properties) -> [&str; 2] {
    let prefix = |key, default| properties.get(key).unwrap_or(default);
    [
        prefix("remote.log.storage.manager.impl.prefix", "rsm.config."),
        prefix("remote.log.metadata.manager.impl.prefix", "rlmm.config."),
    ]
}

/// `None` without `remote.log.storage.system.enable`.
pub(super) fn parse(
    properties: &Properties,
    values: &BTreeMap<&'static str, Value>,
) -> Result<Option<RemoteStore>, PropertyError> {
    if !typed::<bool>(values, "remote.log.storage.system.enable") {
        return Ok(None);
    }
    let class = "remote.log.storage.manager.class.name";
    if typed::<Option<String>>(values, class).as_deref() != Some(LOCAL_TIERED_STORAGE) {
        let problem = format!(
            "the only remote store is {LOCAL_TIERED_STORAGE}, in a folder that all brokers see; Java classes cannot be loaded"
        );
        return Err(properties.error(class, &problem));
    }
    let class = "remote.log.metadata.manager.class.name";
    if typed::<String>(values, class) != TOPIC_BASED {
        return Err(properties.error(class, &format!("must be {TOPIC_BASED}; Java classes cannot be loaded")));
    }
    let [store, metadata] = prefixes(properties);
    let key = format!("{store}dir");
    let Some(dir) = properties.get(&key).filter(|dir| !dir.is_empty()) else {
        return Err(properties.error(&key, "the folder of the remote store must be set"));
    };
    let number = |name: &str, default: i64, least: i64, most: i64| -> Result<i64, PropertyError> {
        let key = format!("{metadata}remote.log.metadata.{name}");
        let value = properties.parse_or(&key, default, "a number")?;
        if (least..=most).contains(&value) {
            return Ok(value);
        }
        Err(properties.error(&key, &format!("Value must be at least {least}")))
    };
    let int = |value: i64| i32::try_from(value).unwrap_or(i32::MAX);
    let metadata_retention_ms = number("topic.retention.ms", -1, -1, i64::MAX)?;
    if metadata_retention_ms == 0 {
        let key = format!("{metadata}remote.log.metadata.topic.retention.ms");
        return Err(properties.error(&key, "Invalid metadata topic retention in millis: 0"));
    }
    Ok(Some(RemoteStore {
        dir: dir.to_owned(),
        metadata_partitions: int(number("topic.num.partitions", 50, 1, i64::from(i32::MAX))?),
        metadata_replication_factor: int(number("topic.replication.factor", 3, 1, i64::from(i16::MAX))?),
        metadata_retention_ms,
        consume_wait_ms: number("consume.wait.ms", 120_000, 0, i64::MAX)?,
    }))
}
