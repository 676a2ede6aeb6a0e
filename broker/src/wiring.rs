//! What each machine needs of the broker's settings. Numbers that cannot be negative any more after their check lose their
//! sign here.

use crate::config::{BrokerConfig, TopicConfig};
use crate::log::TimestampType;
use crate::log::{LocalRetention, LogConfig};
use crate::partition::throttle::ThrottleWindow;
use crate::partition::{self, CleanerSettings};
use common::kafka::compression::Compression;
use std::path::PathBuf;

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn bytes(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

/// The log settings of a topic.
pub(crate) fn log_config(broker: &BrokerConfig, topic: &TopicConfig) -> LogConfig {
    let has = |policy: &str| topic.cleanup_policy.iter().any(|name| name == policy);
    // `producer` names no compression: batches stay as they came.
    let compression_type = Compression::from_name(&topic.compression_type);
    let compression_level = match compression_type {
        Some(Compression::Gzip) => Some(topic.compression_gzip_level).filter(|level| *level != -1),
        Some(Compression::Lz4) => Some(topic.compression_lz4_level),
        Some(Compression::Zstd) => Some(topic.compression_zstd_level),
        _ => None,
    };
    let append_time = topic.message_timestamp_type == "LogAppendTime";
    LogConfig {
        segment_bytes: bytes(topic.segment_bytes),
        segment_ms: topic.segment_ms,
        segment_jitter_ms: topic.segment_jitter_ms,
        segment_index_bytes: bytes(topic.segment_index_bytes),
        index_interval_bytes: bytes(topic.index_interval_bytes),
        retention_ms: topic.retention_ms,
        retention_bytes: topic.retention_bytes,
        max_message_bytes: bytes(topic.max_message_bytes),
        cleanup_delete: has("delete"),
        cleanup_compact: has("compact"),
        message_timestamp_type: if append_time { TimestampType::LogAppendTime } else { TimestampType::CreateTime },
        timestamp_before_max_ms: topic.message_timestamp_before_max_ms,
        timestamp_after_max_ms: topic.message_timestamp_after_max_ms,
        flush_messages: topic.flush_messages,
        flush_ms: topic.flush_ms,
        file_delete_delay_ms: unsigned(topic.file_delete_delay_ms),
        delete_retention_ms: topic.delete_retention_ms,
        min_compaction_lag_ms: topic.min_compaction_lag_ms,
        max_compaction_lag_ms: topic.max_compaction_lag_ms,
        min_cleanable_dirty_ratio: topic.min_cleanable_dirty_ratio,
        compression_type,
        compression_level,
        unclean_leader_election: topic.unclean_leader_election_enable,
        min_insync_replicas: topic.min_insync_replicas,
        preallocate: topic.preallocate,
        remote: (broker.remote_store.is_some() && topic.remote_storage_enable && !has("compact")).then(|| {
            let or = |own: i64, total: i64| if own == -2 { total } else { own };
            LocalRetention {
                ms: or(topic.local_retention_ms, topic.retention_ms),
                bytes: or(topic.local_retention_bytes, topic.retention_bytes),
            }
        }),
        producer_id_expiration_ms: i64::from(broker.producer_id_expiration_ms),
    }
}

/// What of the settings of compaction may change while the broker runs.
pub(crate) fn cleaner_settings(config: &BrokerConfig) -> CleanerSettings {
    CleanerSettings {
        threads: bytes(config.log_cleaner_threads).max(1),
        backoff_ms: unsigned(config.log_cleaner_backoff_ms),
        map_bytes: usize::try_from(config.log_cleaner_dedupe_buffer_size).unwrap_or(0),
        bytes_per_second: config.log_cleaner_io_max_bytes_per_second,
    }
}

/// The settings of the partitions.
pub(crate) fn partition_settings(config: &BrokerConfig) -> partition::Settings {
    partition::Settings {
        broker: config.broker_id,
        log_dirs: config.log_dirs.iter().map(PathBuf::from).collect(),
        lag_time_max_ms: unsigned(config.replica_lag_time_max_ms),
        fetchers_per_leader: bytes(config.num_replica_fetchers).max(1),
        replica_fetch_max_bytes: config.replica_fetch_max_bytes,
        replica_fetch_backoff_ms: unsigned(i64::from(config.replica_fetch_backoff_ms)),
        high_watermark_checkpoint_ms: unsigned(config.replica_high_watermark_checkpoint_interval_ms),
        recovery_point_checkpoint_ms: unsigned(i64::from(config.log_flush_offset_checkpoint_interval_ms)),
        start_offset_checkpoint_ms: unsigned(i64::from(config.log_flush_start_offset_checkpoint_interval_ms)),
        flush_check_ms: unsigned(config.log_flush_scheduler_interval_ms),
        retention_check_ms: unsigned(config.log_retention_check_interval_ms),
        compacts: config.log_cleaner_enable,
        cleaner: cleaner_settings(config),
        initial_delay_ms: unsigned(config.log_initial_task_delay_ms),
        producer_expiration_check_ms: unsigned(i64::from(config.producer_id_expiration_check_interval_ms)),
        delete_delay_ms: unsigned(config.log_segment_delete_delay_ms),
        throttle_window: ThrottleWindow {
            samples: usize::try_from(config.replication_quota_window_num).unwrap_or(1),
            sample_ms: unsigned(i64::from(config.replication_quota_window_size_seconds)) * 1000,
        },
        fetch_session_slots: usize::try_from(config.max_incremental_fetch_session_cache_slots).unwrap_or(0),
        log: log_config(config, &TopicConfig::defaults(config)),
    }
}
