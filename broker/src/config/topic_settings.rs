//! Every topic setting of Kafka 3.9 as a table row, with the broker setting that gives its default. Rows only.

use super::setting::Check::*;
use super::setting::Importance::*;
use super::setting::*;

/// All topic settings, sorted by name. `mirrors` names the broker setting that comes first where a topic has no value
/// of its own; the two with `log.roll` and those with `log.retention` and `log.flush.interval.ms` have more.
#[rustfmt::skip]
pub const TOPIC_SETTINGS: &[Setting] = &[
    list("cleanup.policy", Some("delete"), OneOf(&["compact", "delete"]), Medium).mirrors("log.cleanup.policy")
        .doc("What happens to old segments: delete, compact, or both."),
    int("compression.gzip.level", Some("-1"), GzipLevel, Medium).mirrors("compression.gzip.level")
        .doc("Level used when the broker compresses with gzip; -1 is the default of gzip."),
    int("compression.lz4.level", Some("9"), Between(1, 17), Medium).mirrors("compression.lz4.level")
        .doc("Level used when the broker compresses with lz4."),
    string("compression.type", Some("producer"), OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), Medium).mirrors("compression.type")
        .doc("Codec in which batches are kept; producer keeps what the producer chose."),
    int("compression.zstd.level", Some("3"), Between(-131072, 22), Medium).mirrors("compression.zstd.level")
        .doc("Level used when the broker compresses with zstd."),
    long("delete.retention.ms", Some("86400000"), AtLeast(0), Medium).mirrors("log.cleaner.delete.retention.ms")
        .doc("How long tombstones stay in a compacted topic."),
    long("file.delete.delay.ms", Some("60000"), AtLeast(0), Medium).mirrors("log.segment.delete.delay.ms")
        .doc("Time between marking a file as deleted and removing it."),
    long("flush.messages", Some("9223372036854775807"), AtLeast(1), Medium).mirrors("log.flush.interval.messages")
        .doc("Records after which the log is flushed to disk."),
    long("flush.ms", Some("9223372036854775807"), AtLeast(0), Medium).mirrors("log.flush.interval.ms")
        .doc("Longest time a record stays unflushed."),
    list("follower.replication.throttled.replicas", Some(""), ThrottledReplicas, Medium)
        .doc("Replicas throttled while following: partition:broker, separated by commas, or *."),
    int("index.interval.bytes", Some("4096"), AtLeast(0), Medium).mirrors("log.index.interval.bytes")
        .doc("Bytes of records between two entries of the offset index."),
    list("leader.replication.throttled.replicas", Some(""), ThrottledReplicas, Medium)
        .doc("Replicas throttled while leading: partition:broker, separated by commas, or *."),
    long("local.retention.bytes", Some("-2"), AtLeast(-2), Medium).mirrors("log.local.retention.bytes")
        .doc("Tiered storage only: bytes kept locally; -2 is retention.bytes."),
    long("local.retention.ms", Some("-2"), AtLeast(-2), Medium).mirrors("log.local.retention.ms")
        .doc("Tiered storage only: time kept locally; -2 is retention.ms."),
    long("max.compaction.lag.ms", Some("9223372036854775807"), AtLeast(1), Medium).mirrors("log.cleaner.max.compaction.lag.ms")
        .doc("Records older than this make the log due for compaction."),
    int("max.message.bytes", Some("1048588"), AtLeast(0), Medium).mirrors("message.max.bytes")
        .doc("Largest batch, after compression."),
    boolean("message.downconversion.enable", Some("true"), Any, Low).mirrors("log.message.downconversion.enable")
        .doc("Convert batches for consumers that know only older formats."),
    string("message.format.version", Some("3.0-IV1"), MetadataVersion, Medium).mirrors("log.message.format.version")
        .doc("Deprecated and without effect: format version of records."),
    long("message.timestamp.after.max.ms", Some("9223372036854775807"), AtLeast(0), Medium).mirrors("log.message.timestamp.after.max.ms")
        .doc("How far ahead of the broker's clock a record's timestamp may be."),
    long("message.timestamp.before.max.ms", Some("9223372036854775807"), AtLeast(0), Medium).mirrors("log.message.timestamp.before.max.ms")
        .doc("How far behind the broker's clock a record's timestamp may be."),
    long("message.timestamp.difference.max.ms", Some("9223372036854775807"), AtLeast(0), Medium).mirrors("log.message.timestamp.difference.max.ms")
        .doc("Deprecated: both the before and the after limit when those are not set."),
    string("message.timestamp.type", Some("CreateTime"), OneOf(&["CreateTime", "LogAppendTime"]), Medium).mirrors("log.message.timestamp.type")
        .doc("Whether records keep their creation time or get the time of their append."),
    double("min.cleanable.dirty.ratio", Some("0.5"), Between(0, 1), Medium).mirrors("log.cleaner.min.cleanable.ratio")
        .doc("Share of uncompacted bytes from which on the log is compacted."),
    long("min.compaction.lag.ms", Some("0"), AtLeast(0), Medium).mirrors("log.cleaner.min.compaction.lag.ms")
        .doc("Records younger than this are not compacted."),
    int("min.insync.replicas", Some("1"), AtLeast(1), Medium).mirrors("min.insync.replicas")
        .doc("In-sync replicas without which a write with acks=all is refused."),
    boolean("preallocate", Some("false"), Any, Medium).mirrors("log.preallocate")
        .doc("Reserve the file of a new segment at its full size."),
    boolean("remote.log.copy.disable", Some("false"), Any, Medium)
        .doc("Tiered storage only: stop uploading."),
    boolean("remote.log.delete.on.disable", Some("false"), Any, Medium)
        .doc("Tiered storage only: remove remote data when it is turned off."),
    boolean("remote.storage.enable", Some("false"), Any, Medium)
        .doc("Copy full segments to the remote store; cannot be turned off again."),
    long("retention.bytes", Some("-1"), Any, Medium).mirrors("log.retention.bytes")
        .doc("Oldest segments are removed while a partition is larger; -1 is no limit."),
    long("retention.ms", Some("604800000"), AtLeast(-1), Medium).mirrors("log.retention.ms")
        .doc("How long segments are kept; -1 is no limit."),
    int("segment.bytes", Some("1073741824"), AtLeast(14), Medium).mirrors("log.segment.bytes")
        .doc("Largest size of a segment."),
    int("segment.index.bytes", Some("10485760"), AtLeast(4), Medium).mirrors("log.index.size.max.bytes")
        .doc("Largest size of an index file."),
    long("segment.jitter.ms", Some("0"), AtLeast(0), Medium).mirrors("log.roll.jitter.ms")
        .doc("Most time taken off segment.ms at random."),
    long("segment.ms", Some("604800000"), AtLeast(1), Medium).mirrors("log.roll.ms")
        .doc("Time after which a segment is rolled."),
    boolean("unclean.leader.election.enable", Some("false"), Any, Medium).mirrors("unclean.leader.election.enable")
        .doc("Let a replica that may miss records lead when no in-sync replica lives; loses records."),
];
