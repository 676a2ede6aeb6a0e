//! The settings of one partition's log, as plain numbers with Kafka 3.9's defaults. Parses nothing: names and texts of
//! settings belong to whoever reads topic and broker configuration.

use common::kafka::batch::TimestampType;
use common::kafka::compression::Compression;

/// How much of a log stays on this broker although it is in the remote store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalRetention {
    /// `local.retention.ms`, else `retention.ms`; -1 keeps all.
    pub ms: i64,
    /// `local.retention.bytes`, else `retention.bytes`; -1 keeps all.
    pub bytes: i64,
}

/// Settings of one log. Field names are Kafka's topic settings with `.` written `_`; see the Kafka 3.9 topic
/// configuration reference for their meaning. Negative means "no limit" where Kafka says so.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is rolled before it would grow past this.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment is rolled when its first record is older than this.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: up to this is taken off `segment.ms`, another amount for each segment.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: a segment is rolled when one of its indexes has this size.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: bytes of records between two index entries.
    pub index_interval_bytes: u32,
    /// `retention.ms`: segments whose newest record is older may go; -1 keeps them.
    pub retention_ms: i64,
    /// `retention.bytes`: oldest segments go while the log is larger; -1 keeps them.
    pub retention_bytes: i64,
    /// `max.message.bytes`: largest batch a client may append, after its header, in bytes.
    pub max_message_bytes: u32,
    /// `cleanup.policy` has `delete`.
    pub cleanup_delete: bool,
    /// `cleanup.policy` has `compact`: records need keys.
    pub cleanup_compact: bool,
    /// `message.timestamp.type`.
    pub message_timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far a timestamp may lie behind the broker's clock.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far a timestamp may lie ahead of the broker's clock.
    pub timestamp_after_max_ms: i64,
    /// `flush.messages`: an append that leaves this many records unflushed flushes.
    pub flush_messages: i64,
    /// `flush.ms`: longest time a record may stay unflushed; whoever owns the timer asks
    /// [`super::Log::is_flush_due`].
    pub flush_ms: i64,
    /// `file.delete.delay.ms`: time between a file's renaming to `.deleted` and its removal.
    pub file_delete_delay_ms: u64,
    /// `delete.retention.ms`: how long a tombstone and a transaction marker survive compaction.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`: records younger than this are not compacted.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: records older than this make the log compactable whatever its dirty ratio.
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`: share of uncompacted bytes from which on the log is compacted.
    pub min_cleanable_dirty_ratio: f64,
    /// `compression.type`: batches that come in another compression are converted; `None` is `producer`, that is,
    /// they are kept as they came.
    pub compression_type: Option<Compression>,
    /// `compression.gzip.level`, `compression.lz4.level` or `compression.zstd.level` for the type above (KIP-390);
    /// `None` is its default.
    pub compression_level: Option<i32>,
    /// `unclean.leader.election.enable`: read by the controller, not by the log.
    pub unclean_leader_election: bool,
    /// `min.insync.replicas`: read by the partition, not by the log.
    pub min_insync_replicas: i32,
    /// `preallocate`: kept for the description of the topic; files always grow as needed here.
    pub preallocate: bool,
    /// What holds of the local log alone if older segments are copied to the remote store (`remote.storage.enable`, KIP-405);
    /// `None` if they are not.
    pub remote: Option<LocalRetention>,
    /// `producer.id.expiration.ms` (broker-wide): an idle producer's sequence is forgotten after this.
    pub producer_id_expiration_ms: i64,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: 7 * 24 * 3_600_000,
            retention_bytes: -1,
            max_message_bytes: (1 << 20) + 12,
            cleanup_delete: true,
            cleanup_compact: false,
            message_timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: i64::MAX,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            file_delete_delay_ms: 60_000,
            delete_retention_ms: 24 * 3_600_000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_ratio: 0.5,
            compression_type: None,
            compression_level: None,
            unclean_leader_election: false,
            min_insync_replicas: 1,
            preallocate: false,
            remote: None,
            producer_id_expiration_ms: 24 * 3_600_000,
        }
    }
}

impl LogConfig {
    /// How long, and up to how many bytes, segments stay here.
    pub(super) fn local_retention(&self) -> LocalRetention {
        self.remote.unwrap_or(LocalRetention { ms: self.retention_ms, bytes: self.retention_bytes })
    }

    /// Age of its first record at which a segment is rolled. A compacted log rolls at the latest after
    /// `max.compaction.lag.ms`, because the active segment is never compacted (KIP-354).
    pub fn roll_after_ms(&self) -> i64 {
        if self.cleanup_compact && self.max_compaction_lag_ms > 0 {
            self.max_compaction_lag_ms.min(self.segment_ms)
        } else {
            self.segment_ms
        }
    }
}
