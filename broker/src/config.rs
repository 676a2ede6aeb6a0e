//! The broker's settings: read from properties with Kafka 3.9's names, defaults, rules and messages (ZooKeeper mode).
//! Reads no file and resolves no name. The tables are in `config/`.

mod broker_settings;
pub mod change;
pub mod describe;
pub mod group;
mod group_settings;
mod listener;
mod remote_store;
pub mod setting;
mod topic;
mod topic_settings;

pub use broker_settings::BROKER_SETTINGS;
pub use group::{GroupConfig, GroupConfigs, ShareOffsetReset};
pub use group_settings::GROUP_SETTINGS;
pub use listener::{Listener, SecurityProtocol};
pub use remote_store::RemoteStore;
pub use setting::{ConfigError, Importance, Kind, Setting, Update, Value};
pub use topic::{TopicConfig, may_follow, validate_topic};
pub use topic_settings::TOPIC_SETTINGS;

use common::properties::{Properties, PropertyError};
use setting::FromValue;
use std::collections::BTreeMap;

/// Fields whose name is the setting's with `.` written `_`; type and setting stand together here once.
macro_rules! broker_config {
    ($($field:ident: $type:ty = $name:literal,)*) => {
        /// The settings of this broker. Fields bear Kafka's names with `.` written `_`; those that other settings
        /// contribute to come first and say so.
        #[derive(Clone, Debug)]
        pub struct BrokerConfig {
            /// What was set, by the file, the environment or the command line, with places.
            pub properties: Properties,
            /// Every setting's value by name; `Null` where nothing is set and no default exists.
            pub values: BTreeMap<&'static str, Value>,
            /// `log.dirs`, else `log.dir`: at least one.
            pub log_dirs: Vec<String>,
            /// `log.retention.ms`, else minutes, else hours; -1 is no limit.
            pub log_retention_ms: i64,
            /// `log.roll.ms`, else hours.
            pub log_roll_ms: i64,
            /// `log.roll.jitter.ms`, else hours.
            pub log_roll_jitter_ms: i64,
            /// `log.flush.interval.ms`, else `log.flush.scheduler.interval.ms`.
            pub log_flush_interval_ms: i64,
            /// `log.message.timestamp.before.max.ms`, else the deprecated difference setting.
            pub log_message_timestamp_before_max_ms: i64,
            /// `log.message.timestamp.after.max.ms`, else the deprecated difference setting.
            pub log_message_timestamp_after_max_ms: i64,
            /// `zookeeper.connection.timeout.ms`, else `zookeeper.session.timeout.ms`.
            pub zookeeper_connection_timeout_ms: i32,
            /// `listeners`.
            pub listeners: Vec<Listener>,
            /// `advertised.listeners`, else `listeners`. A missing host is this host's name, a port 0 the one bound.
            pub advertised_listeners: Vec<Listener>,
            /// `inter.broker.listener.name`, else the name of `security.inter.broker.protocol`.
            pub inter_broker_listener_name: String,
            /// The security protocol of that listener.
            pub inter_broker_security_protocol: SecurityProtocol,
            /// `control.plane.listener.name` in upper case.
            pub control_plane_listener_name: Option<String>,
            /// Tiered storage, with `remote.log.storage.system.enable`.
            pub remote_store: Option<RemoteStore>,
            $(#[doc = concat!("`", $name, "`")] pub $field: $type,)*
        }

        fn build(properties: Properties, values: BTreeMap<&'static str, Value>, d: Derived) -> BrokerConfig {
            BrokerConfig {
                log_dirs: d.log_dirs,
                log_retention_ms: d.log_retention_ms,
                log_roll_ms: d.log_roll_ms,
                log_roll_jitter_ms: d.log_roll_jitter_ms,
                log_flush_interval_ms: d.log_flush_interval_ms,
                log_message_timestamp_before_max_ms: d.timestamp_before_max_ms,
                log_message_timestamp_after_max_ms: d.timestamp_after_max_ms,
                zookeeper_connection_timeout_ms: d.zookeeper_connection_timeout_ms,
                listeners: d.endpoints.listeners,
                advertised_listeners: d.endpoints.advertised,
                inter_broker_listener_name: d.endpoints.inter_broker_name,
                inter_broker_security_protocol: d.endpoints.inter_broker_protocol,
                control_plane_listener_name: d.endpoints.control_plane_name,
                remote_store: d.remote_store,
                $($field: typed(&values, $name),)*
                properties,
                values,
            }
        }
    };
}

broker_config! {
    broker_id: i32 = "broker.id",
    broker_id_generation_enable: bool = "broker.id.generation.enable",
    reserved_broker_max_id: i32 = "reserved.broker.max.id",
    broker_rack: Option<String> = "broker.rack",
    zookeeper_connect: String = "zookeeper.connect",
    zookeeper_session_timeout_ms: i32 = "zookeeper.session.timeout.ms",
    zookeeper_max_in_flight_requests: i32 = "zookeeper.max.in.flight.requests",
    zookeeper_set_acl: bool = "zookeeper.set.acl",
    inter_broker_protocol_version: String = "inter.broker.protocol.version",
    num_io_threads: i32 = "num.io.threads",
    num_network_threads: i32 = "num.network.threads",
    background_threads: i32 = "background.threads",
    queued_max_requests: i32 = "queued.max.requests",
    queued_max_request_bytes: i64 = "queued.max.request.bytes",
    request_timeout_ms: i32 = "request.timeout.ms",
    socket_send_buffer_bytes: i32 = "socket.send.buffer.bytes",
    socket_receive_buffer_bytes: i32 = "socket.receive.buffer.bytes",
    socket_request_max_bytes: i32 = "socket.request.max.bytes",
    socket_listen_backlog_size: i32 = "socket.listen.backlog.size",
    socket_connection_setup_timeout_ms: i64 = "socket.connection.setup.timeout.ms",
    socket_connection_setup_timeout_max_ms: i64 = "socket.connection.setup.timeout.max.ms",
    max_connections: i32 = "max.connections",
    max_connections_per_ip: i32 = "max.connections.per.ip",
    max_connections_per_ip_overrides: String = "max.connections.per.ip.overrides",
    max_connection_creation_rate: i32 = "max.connection.creation.rate",
    connections_max_idle_ms: i64 = "connections.max.idle.ms",
    connections_max_reauth_ms: i64 = "connections.max.reauth.ms",
    connection_failed_authentication_delay_ms: i32 = "connection.failed.authentication.delay.ms",
    authorizer_class_name: String = "authorizer.class.name",
    message_max_bytes: i32 = "message.max.bytes",
    fetch_max_bytes: i32 = "fetch.max.bytes",
    max_incremental_fetch_session_cache_slots: i32 = "max.incremental.fetch.session.cache.slots",
    max_request_partition_size_limit: i32 = "max.request.partition.size.limit",
    auto_create_topics_enable: bool = "auto.create.topics.enable",
    delete_topic_enable: bool = "delete.topic.enable",
    num_partitions: i32 = "num.partitions",
    default_replication_factor: i32 = "default.replication.factor",
    min_insync_replicas: i32 = "min.insync.replicas",
    unclean_leader_election_enable: bool = "unclean.leader.election.enable",
    auto_leader_rebalance_enable: bool = "auto.leader.rebalance.enable",
    leader_imbalance_per_broker_percentage: i32 = "leader.imbalance.per.broker.percentage",
    leader_imbalance_check_interval_seconds: i64 = "leader.imbalance.check.interval.seconds",
    controlled_shutdown_enable: bool = "controlled.shutdown.enable",
    controlled_shutdown_max_retries: i32 = "controlled.shutdown.max.retries",
    controlled_shutdown_retry_backoff_ms: i64 = "controlled.shutdown.retry.backoff.ms",
    controller_socket_timeout_ms: i32 = "controller.socket.timeout.ms",
    num_recovery_threads_per_data_dir: i32 = "num.recovery.threads.per.data.dir",
    num_replica_alter_log_dirs_threads: Option<i32> = "num.replica.alter.log.dirs.threads",
    log_segment_bytes: i32 = "log.segment.bytes",
    log_segment_delete_delay_ms: i64 = "log.segment.delete.delay.ms",
    log_retention_bytes: i64 = "log.retention.bytes",
    log_retention_check_interval_ms: i64 = "log.retention.check.interval.ms",
    log_cleanup_policy: Vec<String> = "log.cleanup.policy",
    log_index_size_max_bytes: i32 = "log.index.size.max.bytes",
    log_index_interval_bytes: i32 = "log.index.interval.bytes",
    log_flush_interval_messages: i64 = "log.flush.interval.messages",
    log_flush_scheduler_interval_ms: i64 = "log.flush.scheduler.interval.ms",
    log_flush_offset_checkpoint_interval_ms: i32 = "log.flush.offset.checkpoint.interval.ms",
    log_flush_start_offset_checkpoint_interval_ms: i32 = "log.flush.start.offset.checkpoint.interval.ms",
    log_initial_task_delay_ms: i64 = "log.initial.task.delay.ms",
    log_preallocate: bool = "log.preallocate",
    log_message_timestamp_type: String = "log.message.timestamp.type",
    log_message_downconversion_enable: bool = "log.message.downconversion.enable",
    log_cleaner_enable: bool = "log.cleaner.enable",
    log_cleaner_threads: i32 = "log.cleaner.threads",
    log_cleaner_backoff_ms: i64 = "log.cleaner.backoff.ms",
    log_cleaner_dedupe_buffer_size: i64 = "log.cleaner.dedupe.buffer.size",
    log_cleaner_io_buffer_size: i32 = "log.cleaner.io.buffer.size",
    log_cleaner_io_buffer_load_factor: f64 = "log.cleaner.io.buffer.load.factor",
    log_cleaner_io_max_bytes_per_second: f64 = "log.cleaner.io.max.bytes.per.second",
    log_cleaner_delete_retention_ms: i64 = "log.cleaner.delete.retention.ms",
    log_cleaner_min_compaction_lag_ms: i64 = "log.cleaner.min.compaction.lag.ms",
    log_cleaner_max_compaction_lag_ms: i64 = "log.cleaner.max.compaction.lag.ms",
    log_cleaner_min_cleanable_ratio: f64 = "log.cleaner.min.cleanable.ratio",
    compression_type: String = "compression.type",
    compression_gzip_level: i32 = "compression.gzip.level",
    compression_lz4_level: i32 = "compression.lz4.level",
    compression_zstd_level: i32 = "compression.zstd.level",
    num_replica_fetchers: i32 = "num.replica.fetchers",
    replica_lag_time_max_ms: i64 = "replica.lag.time.max.ms",
    replica_socket_timeout_ms: i32 = "replica.socket.timeout.ms",
    replica_socket_receive_buffer_bytes: i32 = "replica.socket.receive.buffer.bytes",
    replica_fetch_max_bytes: i32 = "replica.fetch.max.bytes",
    replica_fetch_wait_max_ms: i32 = "replica.fetch.wait.max.ms",
    replica_fetch_min_bytes: i32 = "replica.fetch.min.bytes",
    replica_fetch_response_max_bytes: i32 = "replica.fetch.response.max.bytes",
    replica_fetch_backoff_ms: i32 = "replica.fetch.backoff.ms",
    replica_high_watermark_checkpoint_interval_ms: i64 = "replica.high.watermark.checkpoint.interval.ms",
    remote_fetch_max_wait_ms: i32 = "remote.fetch.max.wait.ms",
    remote_log_manager_copier_thread_pool_size: i32 = "remote.log.manager.copier.thread.pool.size",
    remote_log_manager_copy_max_bytes_per_second: i64 = "remote.log.manager.copy.max.bytes.per.second",
    remote_log_manager_copy_quota_window_num: i32 = "remote.log.manager.copy.quota.window.num",
    remote_log_manager_copy_quota_window_size_seconds: i32 = "remote.log.manager.copy.quota.window.size.seconds",
    remote_log_manager_fetch_max_bytes_per_second: i64 = "remote.log.manager.fetch.max.bytes.per.second",
    remote_log_manager_fetch_quota_window_num: i32 = "remote.log.manager.fetch.quota.window.num",
    remote_log_manager_fetch_quota_window_size_seconds: i32 = "remote.log.manager.fetch.quota.window.size.seconds",
    remote_log_manager_task_interval_ms: i64 = "remote.log.manager.task.interval.ms",
    remote_log_manager_thread_pool_size: i32 = "remote.log.manager.thread.pool.size",
    remote_log_reader_max_pending_tasks: i32 = "remote.log.reader.max.pending.tasks",
    remote_log_reader_threads: i32 = "remote.log.reader.threads",
    log_local_retention_bytes: i64 = "log.local.retention.bytes",
    log_local_retention_ms: i64 = "log.local.retention.ms",
    replica_selector_class: Option<String> = "replica.selector.class",
    producer_id_expiration_ms: i32 = "producer.id.expiration.ms",
    producer_id_expiration_check_interval_ms: i32 = "producer.id.expiration.check.interval.ms",
    group_min_session_timeout_ms: i32 = "group.min.session.timeout.ms",
    group_max_session_timeout_ms: i32 = "group.max.session.timeout.ms",
    group_initial_rebalance_delay_ms: i32 = "group.initial.rebalance.delay.ms",
    group_max_size: i32 = "group.max.size",
    group_coordinator_rebalance_protocols: Vec<String> = "group.coordinator.rebalance.protocols",
    group_consumer_session_timeout_ms: i32 = "group.consumer.session.timeout.ms",
    group_consumer_min_session_timeout_ms: i32 = "group.consumer.min.session.timeout.ms",
    group_consumer_max_session_timeout_ms: i32 = "group.consumer.max.session.timeout.ms",
    group_consumer_heartbeat_interval_ms: i32 = "group.consumer.heartbeat.interval.ms",
    group_consumer_min_heartbeat_interval_ms: i32 = "group.consumer.min.heartbeat.interval.ms",
    group_consumer_max_heartbeat_interval_ms: i32 = "group.consumer.max.heartbeat.interval.ms",
    group_consumer_max_size: i32 = "group.consumer.max.size",
    group_consumer_assignors: Vec<String> = "group.consumer.assignors",
    group_consumer_migration_policy: String = "group.consumer.migration.policy",
    group_share_enable: bool = "group.share.enable",
    group_share_max_size: i16 = "group.share.max.size",
    group_share_max_share_sessions: i32 = "group.share.max.share.sessions",
    group_share_initialize_retry_interval_ms: i32 = "group.share.initialize.retry.interval.ms",
    group_share_session_timeout_ms: i32 = "group.share.session.timeout.ms",
    group_share_min_session_timeout_ms: i32 = "group.share.min.session.timeout.ms",
    group_share_max_session_timeout_ms: i32 = "group.share.max.session.timeout.ms",
    group_share_heartbeat_interval_ms: i32 = "group.share.heartbeat.interval.ms",
    group_share_min_heartbeat_interval_ms: i32 = "group.share.min.heartbeat.interval.ms",
    group_share_max_heartbeat_interval_ms: i32 = "group.share.max.heartbeat.interval.ms",
    group_share_record_lock_duration_ms: i32 = "group.share.record.lock.duration.ms",
    group_share_min_record_lock_duration_ms: i32 = "group.share.min.record.lock.duration.ms",
    group_share_max_record_lock_duration_ms: i32 = "group.share.max.record.lock.duration.ms",
    group_share_delivery_count_limit: i32 = "group.share.delivery.count.limit",
    group_share_min_delivery_count_limit: i32 = "group.share.min.delivery.count.limit",
    group_share_max_delivery_count_limit: i32 = "group.share.max.delivery.count.limit",
    group_share_partition_max_record_locks: i32 = "group.share.partition.max.record.locks",
    group_share_min_partition_max_record_locks: i32 = "group.share.min.partition.max.record.locks",
    group_share_max_partition_max_record_locks: i32 = "group.share.max.partition.max.record.locks",
    offset_metadata_max_bytes: i32 = "offset.metadata.max.bytes",
    offsets_load_buffer_size: i32 = "offsets.load.buffer.size",
    offsets_topic_replication_factor: i16 = "offsets.topic.replication.factor",
    offsets_topic_num_partitions: i32 = "offsets.topic.num.partitions",
    offsets_topic_segment_bytes: i32 = "offsets.topic.segment.bytes",
    offsets_topic_compression_codec: i32 = "offsets.topic.compression.codec",
    offsets_retention_minutes: i32 = "offsets.retention.minutes",
    offsets_retention_check_interval_ms: i64 = "offsets.retention.check.interval.ms",
    offsets_commit_timeout_ms: i32 = "offsets.commit.timeout.ms",
    offsets_commit_required_acks: i16 = "offsets.commit.required.acks",
    transactional_id_expiration_ms: i32 = "transactional.id.expiration.ms",
    transaction_max_timeout_ms: i32 = "transaction.max.timeout.ms",
    transaction_state_log_min_isr: i32 = "transaction.state.log.min.isr",
    transaction_state_log_load_buffer_size: i32 = "transaction.state.log.load.buffer.size",
    transaction_state_log_replication_factor: i16 = "transaction.state.log.replication.factor",
    transaction_state_log_num_partitions: i32 = "transaction.state.log.num.partitions",
    transaction_state_log_segment_bytes: i32 = "transaction.state.log.segment.bytes",
    transaction_abort_timed_out_transaction_cleanup_interval_ms: i32
        = "transaction.abort.timed.out.transaction.cleanup.interval.ms",
    transaction_remove_expired_transaction_cleanup_interval_ms: i32
        = "transaction.remove.expired.transaction.cleanup.interval.ms",
    transaction_partition_verification_enable: bool = "transaction.partition.verification.enable",
    share_coordinator_cold_partition_snapshot_interval_ms: i32
        = "share.coordinator.cold.partition.snapshot.interval.ms",
    share_coordinator_load_buffer_size: i32 = "share.coordinator.load.buffer.size",
    share_coordinator_snapshot_update_records_per_snapshot: i32
        = "share.coordinator.snapshot.update.records.per.snapshot",
    share_coordinator_state_topic_min_isr: i16 = "share.coordinator.state.topic.min.isr",
    share_coordinator_state_topic_num_partitions: i32 = "share.coordinator.state.topic.num.partitions",
    share_coordinator_state_topic_prune_interval_ms: i32 = "share.coordinator.state.topic.prune.interval.ms",
    share_coordinator_state_topic_replication_factor: i16 = "share.coordinator.state.topic.replication.factor",
    share_coordinator_state_topic_segment_bytes: i32 = "share.coordinator.state.topic.segment.bytes",
    share_coordinator_write_timeout_ms: i32 = "share.coordinator.write.timeout.ms",
    sasl_enabled_mechanisms: Vec<String> = "sasl.enabled.mechanisms",
    sasl_mechanism_inter_broker_protocol: String = "sasl.mechanism.inter.broker.protocol",
    sasl_server_max_receive_size: i32 = "sasl.server.max.receive.size",
    ssl_client_auth: String = "ssl.client.auth",
    ssl_principal_mapping_rules: String = "ssl.principal.mapping.rules",
    quota_window_num: i32 = "quota.window.num",
    quota_window_size_seconds: i32 = "quota.window.size.seconds",
    replication_quota_window_num: i32 = "replication.quota.window.num",
    replication_quota_window_size_seconds: i32 = "replication.quota.window.size.seconds",
    controller_quota_window_num: i32 = "controller.quota.window.num",
    controller_quota_window_size_seconds: i32 = "controller.quota.window.size.seconds",
    password_encoder_secret: Option<String> = "password.encoder.secret",
    castellan_topic_undelete_ms: i64 = "castellan.topic.undelete.ms",
    telemetry_max_bytes: i32 = "telemetry.max.bytes",
    metrics_http_host: String = "metrics.http.host",
    metrics_http_port: Option<i32> = "metrics.http.port",
    metrics_num_samples: i32 = "metrics.num.samples",
    metrics_sample_window_ms: i64 = "metrics.sample.window.ms",
}

/// Something odd in the configuration that does not keep the broker from starting; `Display` names place and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigWarning {
    /// File and line, or the flag or variable.
    pub place: String,
    /// The key.
    pub key: String,
    /// What is odd.
    pub problem: &'static str,
    /// The known key that is most likely meant.
    pub meant: Option<&'static str>,
}

impl std::fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.key, self.problem)?;
        self.meant.map_or(Ok(()), |meant| write!(f, "; is {meant} meant?"))
    }
}

impl BrokerConfig {
    /// The listener by which the controller reaches brokers: `control.plane.listener.name`, else the inter-broker listener.
    pub fn control_listener_name(&self) -> &str {
        self.control_plane_listener_name.as_ref().unwrap_or(&self.inter_broker_listener_name)
    }

    /// Reads all settings. Unknown keys are warnings, wrong values an error that names place, key and value.
    pub fn parse(properties: &Properties) -> Result<(BrokerConfig, Vec<ConfigWarning>), PropertyError> {
        let properties = with_id_synonym(properties);
        let mut values = BTreeMap::new();
        for row in BROKER_SETTINGS {
            let value = match properties.get(row.name) {
                None => row.default_value(),
                Some(text) => row.parse(text).map_err(|error| properties.error(row.name, &error.problem()))?,
            };
            values.insert(row.name, value);
        }
        let derived = derive(&properties, &values)?;
        let config = build(properties, values, derived);
        check_limits(&config)?;
        let warnings = warnings(&config.properties);
        Ok((config, warnings))
    }

    /// The same with settings changed while running laid over it: first those for all brokers
    /// (`/config/brokers/<default>`), then this broker's own (KIP-226).
    pub fn with_dynamic(
        &self,
        for_all: &BTreeMap<String, String>,
        own: &BTreeMap<String, String>,
    ) -> Result<BrokerConfig, PropertyError> {
        let mut properties = self.properties.clone();
        for (texts, place) in [(for_all, "/config/brokers/<default>"), (own, "/config/brokers/N")] {
            for name in change::displaced(texts) {
                properties.remove(&name);
            }
            for (key, value) in texts {
                properties.set(key, value, place);
            }
        }
        BrokerConfig::parse(&properties).map(|(config, _)| config)
    }

    /// A setting's value; `Null` for a name that is no setting.
    pub fn value(&self, name: &str) -> &Value {
        self.values.get(name).unwrap_or(&Value::Null)
    }

    /// A setting's text as given for a listener (`listener.name.NAME.KEY`, name in lower case), else for all.
    pub fn listener_value(&self, listener: &str, key: &str) -> Option<&str> {
        let own = format!("listener.name.{}.{key}", listener.to_lowercase());
        self.properties.get(&own).or_else(|| self.properties.get(key))
    }

    /// The listener other brokers connect to, as advertised.
    pub fn inter_broker_listener(&self) -> &Listener {
        self.advertised_listeners
            .iter()
            .find(|listener| listener.name == self.inter_broker_listener_name)
            .expect("parse refuses an inter-broker listener that is not advertised")
    }
}

/// The row of a broker setting, also of one given for a listener (`listener.name.NAME.KEY`).
pub fn broker_setting(name: &str) -> Option<&'static Setting> {
    let find = |name: &str| BROKER_SETTINGS.binary_search_by(|row| row.name.cmp(name)).ok();
    find(name).or_else(|| find(listener_base_name(name)?)).map(|index| &BROKER_SETTINGS[index])
}

/// The row of a topic setting.
pub fn topic_setting(name: &str) -> Option<&'static Setting> {
    TOPIC_SETTINGS.binary_search_by(|row| row.name.cmp(name)).ok().map(|index| &TOPIC_SETTINGS[index])
}

/// The row of a group setting.
pub fn group_setting(name: &str) -> Option<&'static Setting> {
    GROUP_SETTINGS.binary_search_by(|row| row.name.cmp(name)).ok().map(|index| &GROUP_SETTINGS[index])
}

/// `ssl.keystore.location` for `listener.name.internal.ssl.keystore.location`.
pub fn listener_base_name(name: &str) -> Option<&str> {
    name.strip_prefix("listener.name.")?.split_once('.').map(|(_, base)| base)
}

fn typed<T: FromValue>(values: &BTreeMap<&'static str, Value>, name: &str) -> T {
    let value = values.get(name).unwrap_or(&Value::Null);
    T::from_value(value).unwrap_or_else(|| unreachable!("the row of {name} has the type of its field"))
}

/// `node.id` and `broker.id` mean the same (KIP-631).
fn with_id_synonym(properties: &Properties) -> Properties {
    let mut properties = properties.clone();
    for (from, to) in [("broker.id", "node.id"), ("node.id", "broker.id")] {
        if let (Some(entry), None) = (properties.entry(from).cloned(), properties.get(to)) {
            properties.set(to, &entry.value, &entry.place);
        }
    }
    properties
}

fn warnings(properties: &Properties) -> Vec<ConfigWarning> {
    /// Those of the authorizer, which Kafka hands to its class.
    const OF_AUTHORIZER: &[&str] = &["super.users", "allow.everyone.if.no.acl.found"];
    const REMOVED: &[&str] = &["host.name", "port", "advertised.host.name", "advertised.port"];
    let mut warnings = Vec::new();
    for (key, entry) in properties.iter() {
        let mechanism = |base: &str| base.split_once('.').is_some_and(|(_, rest)| broker_setting(rest).is_some());
        let (problem, meant) = if REMOVED.contains(&key) {
            ("removed in Kafka 3.0 and ignored; use listeners and advertised.listeners", None)
        } else if OF_AUTHORIZER.contains(&key)
            || broker_setting(key).is_some()
            || listener_base_name(key).is_some_and(mechanism)
            || remote_store::prefixes(properties).iter().any(|prefix| key.starts_with(prefix))
        {
            continue;
        } else {
            ("unknown setting, ignored", common::nearest(key, BROKER_SETTINGS.iter().map(|row| row.name)))
        };
        warnings.push(ConfigWarning { place: entry.place.clone(), key: key.to_owned(), problem, meant });
    }
    warnings
}

/// What follows from more than one setting.
struct Derived {
    log_dirs: Vec<String>,
    log_retention_ms: i64,
    log_roll_ms: i64,
    log_roll_jitter_ms: i64,
    log_flush_interval_ms: i64,
    timestamp_before_max_ms: i64,
    timestamp_after_max_ms: i64,
    zookeeper_connection_timeout_ms: i32,
    endpoints: Endpoints,
    remote_store: Option<RemoteStore>,
}

struct Endpoints {
    listeners: Vec<Listener>,
    advertised: Vec<Listener>,
    inter_broker_name: String,
    inter_broker_protocol: SecurityProtocol,
    control_plane_name: Option<String>,
}

const HOUR_MS: i64 = 3_600_000;

fn derive(properties: &Properties, values: &BTreeMap<&'static str, Value>) -> Result<Derived, PropertyError> {
    let long = |name| typed::<Option<i64>>(values, name);
    let int = |name| typed::<Option<i32>>(values, name).map(i64::from);
    let hours = |name| int(name).unwrap_or(0) * HOUR_MS;
    let retention = long("log.retention.ms")
        .or_else(|| int("log.retention.minutes").map(|minutes| minutes * 60_000))
        .unwrap_or_else(|| hours("log.retention.hours"));
    let dirs = typed::<Option<String>>(values, "log.dirs").unwrap_or_else(|| typed(values, "log.dir"));
    if *values.get("zookeeper.connect").unwrap_or(&Value::Null) == Value::Null {
        let problem = match ["dataDir", "clientPort", "tickTime"].iter().any(|key| properties.get(key).is_some()) {
            true => {
                "this looks like a coordinator's file (zoo.cfg, zookeeper.properties); a broker's names zookeeper.connect"
            }
            false => "Missing required configuration `zookeeper.connect` which has no default value.",
        };
        return Err(properties.error("zookeeper.connect", problem));
    }
    let difference: i64 = typed(values, "log.message.timestamp.difference.max.ms");
    let or_difference = |name| Some(typed::<i64>(values, name)).filter(|ms| *ms != i64::MAX).unwrap_or(difference);
    Ok(Derived {
        log_dirs: dirs.split(',').map(str::trim).filter(|dir| !dir.is_empty()).map(str::to_owned).collect(),
        log_retention_ms: if retention < 0 { -1 } else { retention },
        log_roll_ms: long("log.roll.ms").unwrap_or_else(|| hours("log.roll.hours")),
        log_roll_jitter_ms: long("log.roll.jitter.ms").unwrap_or_else(|| hours("log.roll.jitter.hours")),
        log_flush_interval_ms: long("log.flush.interval.ms")
            .unwrap_or_else(|| typed(values, "log.flush.scheduler.interval.ms")),
        timestamp_before_max_ms: or_difference("log.message.timestamp.before.max.ms"),
        timestamp_after_max_ms: or_difference("log.message.timestamp.after.max.ms"),
        zookeeper_connection_timeout_ms: typed::<Option<i32>>(values, "zookeeper.connection.timeout.ms")
            .unwrap_or_else(|| typed(values, "zookeeper.session.timeout.ms")),
        endpoints: endpoints(properties, values)?,
        remote_store: remote_store::parse(properties, values)?,
    })
}

fn endpoints(properties: &Properties, values: &BTreeMap<&'static str, Value>) -> Result<Endpoints, PropertyError> {
    let text = |name| typed::<Option<String>>(values, name);
    let refuse = |key: &'static str| move |problem: String| properties.error(key, &problem);
    let protocols = listener::protocol_map(&typed::<String>(values, "listener.security.protocol.map"))
        .map_err(refuse("listener.security.protocol.map"))?;
    let listeners =
        listener::listeners(&typed::<String>(values, "listeners"), &protocols, true).map_err(refuse("listeners"))?;
    let advertised = match text("advertised.listeners") {
        Some(text) => listener::listeners(&text, &protocols, false).map_err(refuse("advertised.listeners"))?,
        None => listeners.clone(),
    };
    let protocol_of = |name: &str, key: &'static str| {
        protocols.get(name).copied().ok_or_else(|| {
            let map = "not found in listener.security.protocol.map.";
            properties.error(key, &format!("Listener with name {name} defined in {key} {map}"))
        })
    };
    let (inter_broker_name, inter_broker_protocol) = match text("inter.broker.listener.name") {
        Some(_) if properties.get("security.inter.broker.protocol").is_some() => {
            let problem = "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set.";
            return Err(properties.error("inter.broker.listener.name", problem));
        }
        Some(name) => {
            let name = name.to_uppercase();
            let protocol = protocol_of(&name, "inter.broker.listener.name")?;
            (name, protocol)
        }
        None => {
            let protocol = SecurityProtocol::parse(&typed::<String>(values, "security.inter.broker.protocol"))
                .expect("the row allows only names of protocols");
            (protocol.name().to_owned(), protocol)
        }
    };
    let control_plane_name = text("control.plane.listener.name").map(|name| name.to_uppercase());
    if let Some(name) = &control_plane_name {
        protocol_of(name, "control.plane.listener.name")?;
    }
    let found = Endpoints { listeners, advertised, inter_broker_name, inter_broker_protocol, control_plane_name };
    check_endpoints(&found).map_err(|(key, problem)| properties.error(key, &problem))?;
    Ok(found)
}

fn check_endpoints(found: &Endpoints) -> Result<(), (&'static str, String)> {
    let names = |list: &[Listener]| list.iter().map(|l| l.name.as_str()).collect::<Vec<_>>().join(",");
    let advertised = names(&found.advertised);
    let is_advertised = |name: &String| found.advertised.iter().any(|listener| listener.name == *name);
    if found.advertised.is_empty() {
        return Err(("advertised.listeners", "There must be at least one broker advertised listener.".to_owned()));
    }
    let options = format!("The valid options based on currently configured listeners are {advertised}");
    if !is_advertised(&found.inter_broker_name) {
        let key = "inter.broker.listener.name";
        return Err((key, format!("{key} must be a listener name defined in advertised.listeners. {options}")));
    }
    if !found.advertised.iter().all(|one| found.listeners.iter().any(|listener| listener.name == one.name)) {
        return Err((
            "advertised.listeners",
            format!(
                "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. \
                 Found {advertised}. The valid options based on the current configuration are {}",
                names(&found.listeners)
            ),
        ));
    }
    if found.advertised.iter().any(|listener| listener.host.as_deref() == Some("0.0.0.0")) {
        let problem =
            "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.";
        return Err(("advertised.listeners", problem.to_owned()));
    }
    if let Some(name) = &found.control_plane_name {
        let key = "control.plane.listener.name";
        if !is_advertised(name) {
            return Err((key, format!("{key} must be a listener name defined in advertised.listeners. {options}")));
        }
        if *name == found.inter_broker_name {
            let problem = format!(
                "{key}, when defined, should have a different value from the inter broker listener name. \
                 Currently they both have the value {name}"
            );
            return Err((key, problem));
        }
    }
    Ok(())
}

/// A rule between settings: whether it holds, the setting to name if not, Kafka's message.
type Rule = (bool, &'static str, &'static str);

/// Rules between settings, in the order in which Kafka checks them.
fn check_limits(c: &BrokerConfig) -> Result<(), PropertyError> {
    match storage_rules(c).iter().chain(&network_rules(c)).find(|(holds, _, _)| !holds) {
        Some((_, key, problem)) => Err(c.properties.error(key, problem)),
        None => Ok(()),
    }
}

fn storage_rules(c: &BrokerConfig) -> Vec<Rule> {
    let node_id: i32 = typed(&c.values, "node.id");
    let roles: Vec<String> = typed(&c.values, "process.roles");
    let migration: bool = typed(&c.values, "zookeeper.metadata.migration.enable");
    let generated = c.broker_id_generation_enable;
    let cleaner_threads = i64::from(c.log_cleaner_threads.max(1));
    vec![
        (
            roles.is_empty(),
            "process.roles",
            "KRaft mode is not available: remove process.roles and set zookeeper.connect",
        ),
        (!migration, "zookeeper.metadata.migration.enable", "migration to KRaft is not available"),
        (node_id == c.broker_id, "node.id", "You must set `node.id` to the same value as `broker.id`."),
        (
            !generated || (-1..=c.reserved_broker_max_id).contains(&c.broker_id),
            "broker.id",
            "broker.id must be greater than or equal to -1 and not greater than reserved.broker.max.id",
        ),
        (generated || c.broker_id >= 0, "broker.id", "broker.id must be greater than or equal to 0"),
        (c.log_roll_ms >= 1, "log.roll.ms", "log.roll.ms must be greater than or equal to 1"),
        (c.log_roll_jitter_ms >= 0, "log.roll.jitter.ms", "log.roll.jitter.ms must be greater than or equal to 0"),
        (
            c.log_retention_ms >= 1 || c.log_retention_ms == -1,
            "log.retention.ms",
            "log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
        ),
        (
            c.remote_store.is_none()
                || c.log_retention_ms == -1
                || c.log_local_retention_ms == -2
                || (c.log_local_retention_ms != -1 && c.log_local_retention_ms <= c.log_retention_ms),
            "log.local.retention.ms",
            "Value must not be -1 nor more than log.retention.ms",
        ),
        (
            c.remote_store.is_none()
                || c.log_retention_bytes <= -1
                || c.log_local_retention_bytes == -2
                || (c.log_local_retention_bytes != -1 && c.log_local_retention_bytes <= c.log_retention_bytes),
            "log.local.retention.bytes",
            "Value must not be -1 nor more than log.retention.bytes",
        ),
        (!c.log_dirs.is_empty(), "log.dirs", "At least one log directory must be defined via log.dirs or log.dir."),
        (
            c.log_cleaner_dedupe_buffer_size / cleaner_threads > 1024 * 1024,
            "log.cleaner.dedupe.buffer.size",
            "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.",
        ),
    ]
}

fn network_rules(c: &BrokerConfig) -> Vec<Rule> {
    let sasl = c.inter_broker_security_protocol.uses_sasl();
    let mechanisms: Vec<String> = match c.listener_value(&c.inter_broker_listener_name, "sasl.enabled.mechanisms") {
        Some(text) => text.split(',').map(|mechanism| mechanism.trim().to_owned()).collect(),
        None => c.sasl_enabled_mechanisms.clone(),
    };
    let classic = c.group_coordinator_rebalance_protocols.iter().any(|protocol| protocol == "classic");
    vec![
        (
            c.replica_fetch_wait_max_ms <= c.replica_socket_timeout_ms,
            "replica.fetch.wait.max.ms",
            "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary socket timeouts",
        ),
        (
            i64::from(c.replica_fetch_wait_max_ms) <= c.replica_lag_time_max_ms,
            "replica.fetch.wait.max.ms",
            "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent frequent changes in ISR",
        ),
        (
            !sasl || mechanisms.contains(&c.sasl_mechanism_inter_broker_protocol),
            "sasl.mechanism.inter.broker.protocol",
            "sasl.mechanism.inter.broker.protocol must be included in sasl.enabled.mechanisms when SASL is used for inter-broker communication",
        ),
        (
            c.queued_max_request_bytes <= 0 || c.queued_max_request_bytes >= i64::from(c.socket_request_max_bytes),
            "queued.max.request.bytes",
            "queued.max.request.bytes must be larger or equal to socket.request.max.bytes",
        ),
        (
            c.max_connections_per_ip != 0 || !c.max_connections_per_ip_overrides.is_empty(),
            "max.connections.per.ip",
            "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.",
        ),
        (
            c.connections_max_idle_ms < 0
                || i64::from(c.connection_failed_authentication_delay_ms) < c.connections_max_idle_ms,
            "connection.failed.authentication.delay.ms",
            "connection.failed.authentication.delay.ms should always be less than connections.max.idle.ms to prevent failed authentication responses from timing out",
        ),
        (classic, "group.coordinator.rebalance.protocols", "Disabling the 'classic' protocol is not supported."),
        (
            (0..=4).contains(&c.offsets_topic_compression_codec),
            "offsets.topic.compression.codec",
            "expected 0 (none), 1 (gzip), 2 (snappy), 3 (lz4) or 4 (zstd)",
        ),
        (
            (-1..=1).contains(&c.offsets_commit_required_acks),
            "offsets.commit.required.acks",
            "offsets.commit.required.acks must be greater or equal -1 and less or equal to offsets.topic.replication.factor",
        ),
    ]
}

#[cfg(test)]
mod tests;
