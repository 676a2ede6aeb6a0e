//! Every broker setting of Kafka 3.9 as a table row: name, type, default, check, importance, whether and where it can be
//! changed while running. Rows only; reading and checking values is `setting.rs`.

use super::setting::Check::*;
use super::setting::Importance::*;
use super::setting::*;

/// All broker settings, sorted by name.
#[rustfmt::skip]
pub const BROKER_SETTINGS: &[Setting] = &[
    string("advertised.listeners", None, Any, High).per_broker()
        .doc("Endpoints that clients and other brokers are told to use; listeners if not set."),
    class("alter.config.policy.class.name", None, Any, Low)
        .doc("Policy class asked before a configuration change; Castellan loads no Java classes."),
    int("alter.log.dirs.replication.quota.window.num", Some("11"), AtLeast(1), Low)
        .doc("Samples kept for the quota of moves between log directories."),
    int("alter.log.dirs.replication.quota.window.size.seconds", Some("1"), AtLeast(1), Low)
        .doc("Length of one sample of the quota of moves between log directories."),
    string("authorizer.class.name", Some(""), Any, Low)
        .doc("Authorizer: kafka.security.authorizer.AclAuthorizer turns on access control lists; empty allows everything."),
    boolean("auto.create.topics.enable", Some("true"), Any, High)
        .doc("Create a topic when a client first asks for it."),
    boolean("auto.include.jmx.reporter", Some("true"), Any, Low)
        .doc("Kept for compatibility; Castellan has no JMX."),
    boolean("auto.leader.rebalance.enable", Some("true"), Any, High)
        .doc("Move leadership back to preferred replicas when it becomes uneven."),
    int("background.threads", Some("10"), AtLeast(1), High).cluster_wide()
        .doc("Threads for background work in Kafka."),
    int("broker.heartbeat.interval.ms", Some("2000"), Any, Medium)
        .doc("KRaft only: time between a broker's heartbeats."),
    int("broker.id", Some("-1"), Any, High)
        .doc("Number of this broker in the cluster; -1 asks ZooKeeper for one."),
    boolean("broker.id.generation.enable", Some("true"), Any, Medium)
        .doc("Allow a broker id to be generated when broker.id is -1."),
    string("broker.rack", None, Any, Medium)
        .doc("Rack of this broker, for spreading replicas and for fetching from the nearest one."),
    int("broker.session.timeout.ms", Some("9000"), Any, Medium)
        .doc("KRaft only: a broker without heartbeats for this long is fenced."),
    long("castellan.topic.undelete.ms", Some("0"), AtLeast(0), Medium).internal()
        .doc("For so long a deleted topic can be brought back; 0: its files are deleted as Kafka does. Not a setting of Kafka."),
    class("client.quota.callback.class", None, Any, Low)
        .doc("Class that computes client quotas; Castellan loads no Java classes."),
    int("compression.gzip.level", Some("-1"), GzipLevel, Medium).cluster_wide()
        .doc("Level used when the broker compresses with gzip; -1 is the default of gzip."),
    int("compression.lz4.level", Some("9"), Between(1, 17), Medium).cluster_wide()
        .doc("Level used when the broker compresses with lz4."),
    string("compression.type", Some("producer"), OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), High).cluster_wide()
        .doc("Codec in which batches are kept; producer keeps what the producer chose."),
    int("compression.zstd.level", Some("3"), Between(-131072, 22), Medium).cluster_wide()
        .doc("Level used when the broker compresses with zstd."),
    int("connection.failed.authentication.delay.ms", Some("100"), AtLeast(0), Low)
        .doc("A connection whose authentication failed is closed after this delay."),
    long("connections.max.idle.ms", Some("600000"), Any, Medium)
        .doc("Close connections that were idle for this long; -1 never."),
    long("connections.max.reauth.ms", Some("0"), Any, Medium)
        .doc("Clients must authenticate again within this time; 0 never."),
    string("control.plane.listener.name", None, Any, High)
        .doc("Listener used only between the controller and brokers."),
    boolean("controlled.shutdown.enable", Some("true"), Any, Medium)
        .doc("Hand leadership over before stopping."),
    int("controlled.shutdown.max.retries", Some("3"), Any, Medium)
        .doc("How often handing over leadership is tried before stopping anyway."),
    long("controlled.shutdown.retry.backoff.ms", Some("5000"), Any, Medium)
        .doc("Pause between attempts to hand over leadership."),
    string("controller.listener.names", None, Any, High)
        .doc("KRaft only: listeners of the controller."),
    int("controller.quorum.append.linger.ms", Some("25"), Any, Medium)
        .doc("KRaft only: how long the leader gathers writes."),
    list("controller.quorum.bootstrap.servers", Some(""), Any, High)
        .doc("KRaft only: addresses to find the quorum by."),
    int("controller.quorum.election.backoff.max.ms", Some("1000"), Any, High)
        .doc("KRaft only: longest pause after a failed election."),
    int("controller.quorum.election.timeout.ms", Some("1000"), Any, High)
        .doc("KRaft only: time without a leader before an election."),
    int("controller.quorum.fetch.timeout.ms", Some("2000"), Any, High)
        .doc("KRaft only: time without a fetch before the leader is doubted."),
    int("controller.quorum.request.timeout.ms", Some("2000"), Any, Medium)
        .doc("KRaft only: time a request to the quorum may take."),
    int("controller.quorum.retry.backoff.ms", Some("20"), Any, Low)
        .doc("KRaft only: pause before a request is sent again."),
    list("controller.quorum.voters", Some(""), Any, High)
        .doc("KRaft only: ids and addresses of the voters."),
    int("controller.quota.window.num", Some("11"), AtLeast(1), Low)
        .doc("Samples kept for the quota of changes to topics."),
    int("controller.quota.window.size.seconds", Some("1"), AtLeast(1), Low)
        .doc("Length of one sample of the quota of changes to topics."),
    int("controller.socket.timeout.ms", Some("30000"), Any, Medium)
        .doc("Time a request between controller and broker may take."),
    class("create.topic.policy.class.name", None, Any, Low)
        .doc("Policy class asked before a topic is created; Castellan loads no Java classes."),
    int("default.replication.factor", Some("1"), Any, Medium)
        .doc("Replicas of topics created automatically, or with replication factor -1."),
    long("delegation.token.expiry.check.interval.ms", Some("3600000"), AtLeast(1), Low)
        .doc("Time between removals of expired delegation tokens."),
    long("delegation.token.expiry.time.ms", Some("86400000"), AtLeast(1), Medium)
        .doc("Life of a delegation token until it is renewed."),
    password("delegation.token.master.key", None, Any, Medium)
        .doc("Deprecated name of delegation.token.secret.key."),
    long("delegation.token.max.lifetime.ms", Some("604800000"), AtLeast(1), Medium)
        .doc("Longest life of a delegation token, renewals included."),
    password("delegation.token.secret.key", None, Any, Medium)
        .doc("Secret by which delegation tokens are signed; the same on every broker."),
    int("delete.records.purgatory.purge.interval.requests", Some("1"), Any, Medium)
        .doc("Kept for compatibility; parked requests need no purging here."),
    boolean("delete.topic.enable", Some("true"), Any, High)
        .doc("Allow topics to be deleted."),
    string("early.start.listeners", None, Any, High)
        .doc("Listeners that may be opened before the authorizer is ready."),
    boolean("eligible.leader.replicas.enable", Some("false"), Any, High)
        .doc("Keep eligible leader replicas (KIP-966)."),
    int("fetch.max.bytes", Some("57671680"), AtLeast(1024), Medium)
        .doc("Most bytes of one fetch response."),
    int("fetch.purgatory.purge.interval.requests", Some("1000"), Any, Medium)
        .doc("Kept for compatibility; parked requests need no purging here."),
    list("group.consumer.assignors", Some("org.apache.kafka.coordinator.group.assignor.UniformAssignor,org.apache.kafka.coordinator.group.assignor.RangeAssignor"), Any, Medium)
        .doc("Assignors of the consumer group protocol, the first is the default."),
    int("group.consumer.heartbeat.interval.ms", Some("5000"), AtLeast(1), Medium)
        .doc("Heartbeat interval given to members of consumer groups."),
    int("group.consumer.max.heartbeat.interval.ms", Some("15000"), AtLeast(1), Medium)
        .doc("Largest heartbeat interval a group may be given."),
    int("group.consumer.max.session.timeout.ms", Some("60000"), AtLeast(1), Medium)
        .doc("Largest session timeout a consumer group may be given."),
    int("group.consumer.max.size", Some("2147483647"), AtLeast(1), Medium)
        .doc("Most members of one consumer group."),
    string("group.consumer.migration.policy", Some("bidirectional"), OneOfAnyCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]), Medium).internal()
        .doc("Which conversions between classic and consumer groups are allowed. Unlike Kafka 3.9, both are by default."),
    int("group.consumer.min.heartbeat.interval.ms", Some("5000"), AtLeast(1), Medium)
        .doc("Smallest heartbeat interval a group may be given."),
    int("group.consumer.min.session.timeout.ms", Some("45000"), AtLeast(1), Medium)
        .doc("Smallest session timeout a consumer group may be given."),
    int("group.consumer.session.timeout.ms", Some("45000"), AtLeast(1), Medium)
        .doc("A member of a consumer group that is silent for this long is removed."),
    int("group.coordinator.append.linger.ms", Some("10"), AtLeast(0), Medium)
        .doc("How long the group coordinator gathers records in Kafka."),
    boolean("group.coordinator.new.enable", Some("false"), Any, Medium).internal()
        .doc("Use the new group coordinator in Kafka; Castellan has one only."),
    list("group.coordinator.rebalance.protocols", Some("classic,consumer"), OneOf(&["consumer", "classic", "share", "unknown"]), Medium)
        .doc("Group protocols that are on. Unlike Kafka 3.9, the consumer protocol (KIP-848) is by default."),
    int("group.coordinator.threads", Some("1"), AtLeast(1), Medium)
        .doc("Threads of the group coordinator in Kafka."),
    int("group.initial.rebalance.delay.ms", Some("3000"), Any, Medium)
        .doc("How long a new group waits for more members before its first rebalance."),
    int("group.max.session.timeout.ms", Some("1800000"), Any, Medium)
        .doc("Largest session timeout a member may ask for."),
    int("group.max.size", Some("2147483647"), AtLeast(1), Medium)
        .doc("Most members of one group."),
    int("group.min.session.timeout.ms", Some("6000"), Any, Medium)
        .doc("Smallest session timeout a member may ask for."),
    int("group.share.delivery.count.limit", Some("5"), Between(2, 10), Medium)
        .doc("Most deliveries of one record in a share group."),
    boolean("group.share.enable", Some("true"), Any, Medium).internal()
        .doc("Turn on share groups (KIP-932). Unlike Kafka 3.9, they are by default."),
    int("group.share.heartbeat.interval.ms", Some("5000"), AtLeast(1), Medium)
        .doc("Heartbeat interval given to members of share groups."),
    int("group.share.initialize.retry.interval.ms", Some("30000"), AtLeast(1), Low).internal()
        .doc("Pause before the state of a share partition is initialized again after no answer."),
    int("group.share.max.delivery.count.limit", Some("10"), Between(5, 25), Medium).internal()
        .doc("Largest number of deliveries a share group may be given."),
    short("group.share.max.groups", Some("10"), Between(1, 100), Medium)
        .doc("Kept for compatibility: Kafka bounds the number of share groups no more, nor does Castellan."),
    int("group.share.max.heartbeat.interval.ms", Some("15000"), AtLeast(1), Medium)
        .doc("Largest heartbeat interval a share group may be given."),
    int("group.share.max.partition.max.record.locks", Some("4000"), Between(2000, 10000), Medium).internal()
        .doc("Largest number of record locks a share group may be given."),
    int("group.share.max.record.lock.duration.ms", Some("60000"), Between(30000, 3600000), Medium)
        .doc("Longest record lock a share group may be given."),
    int("group.share.max.session.timeout.ms", Some("60000"), AtLeast(1), Medium)
        .doc("Largest session timeout a share group may be given."),
    int("group.share.max.share.sessions", Some("2000"), AtLeast(1), Medium).internal()
        .doc("Most share sessions of this broker."),
    short("group.share.max.size", Some("200"), Between(1, 1000), Medium)
        .doc("Most members of one share group."),
    int("group.share.min.delivery.count.limit", Some("2"), Between(2, 5), Medium).internal()
        .doc("Smallest number of deliveries a share group may be given."),
    int("group.share.min.heartbeat.interval.ms", Some("5000"), AtLeast(1), Medium)
        .doc("Smallest heartbeat interval a share group may be given."),
    int("group.share.min.partition.max.record.locks", Some("100"), Between(100, 2000), Medium).internal()
        .doc("Smallest number of record locks a share group may be given."),
    int("group.share.min.record.lock.duration.ms", Some("15000"), Between(1000, 30000), Medium)
        .doc("Shortest record lock a share group may be given."),
    int("group.share.min.session.timeout.ms", Some("45000"), AtLeast(1), Medium)
        .doc("Smallest session timeout a share group may be given."),
    int("group.share.partition.max.record.locks", Some("2000"), Between(100, 10000), Medium)
        .doc("Most records locked at a time in one share partition. Unlike Kafka 3.9, as many as in Kafka 4.2."),
    int("group.share.record.lock.duration.ms", Some("30000"), Between(1000, 3600000), Medium)
        .doc("How long a fetched record stays locked for its consumer."),
    int("group.share.session.timeout.ms", Some("45000"), AtLeast(1), Medium)
        .doc("A member of a share group that is silent for this long is removed."),
    int("initial.broker.registration.timeout.ms", Some("60000"), Any, Medium)
        .doc("KRaft only: time allowed for the first registration."),
    string("inter.broker.listener.name", None, Any, Medium)
        .doc("Listener that brokers use among themselves; not together with security.inter.broker.protocol."),
    string("inter.broker.protocol.version", Some("3.9-IV0"), MetadataVersion, Medium)
        .doc("Version brokers speak among themselves; raised after every broker of a rolling upgrade is new."),
    int("kafka.metrics.polling.interval.secs", Some("10"), AtLeast(1), Low)
        .doc("Kept for compatibility: interval of Kafka's own metrics reporters."),
    list("kafka.metrics.reporters", Some(""), Any, Low)
        .doc("Kept for compatibility: Kafka's own metrics reporters."),
    long("leader.imbalance.check.interval.seconds", Some("300"), AtLeast(1), High)
        .doc("Time between looks at how evenly leaders are spread."),
    int("leader.imbalance.per.broker.percentage", Some("10"), Any, High)
        .doc("Share of partitions led by others than the preferred replica from which on leaders are moved."),
    string("listener.security.protocol.map", Some("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"), Any, Low).per_broker()
        .doc("Security protocol of each listener name: NAME:PROTOCOL, separated by commas."),
    string("listeners", Some("PLAINTEXT://:9092"), Any, High).per_broker()
        .doc("Endpoints that are listened on: NAME://host:port, separated by commas; an empty host is every interface."),
    long("log.cleaner.backoff.ms", Some("15000"), AtLeast(0), Medium).cluster_wide()
        .doc("Pause of the cleaner when no log needs compaction."),
    long("log.cleaner.dedupe.buffer.size", Some("134217728"), Any, Medium).cluster_wide()
        .doc("Memory for the key map of all cleaner threads."),
    long("log.cleaner.delete.retention.ms", Some("86400000"), AtLeast(0), Medium).cluster_wide()
        .doc("How long tombstones stay in compacted logs."),
    boolean("log.cleaner.enable", Some("true"), Any, Medium)
        .doc("Run the log cleaner; needed by compacted topics, also the internal ones."),
    double("log.cleaner.io.buffer.load.factor", Some("0.9"), Any, Medium).cluster_wide()
        .doc("How full the key map may become."),
    int("log.cleaner.io.buffer.size", Some("524288"), AtLeast(0), Medium).cluster_wide()
        .doc("Memory for the input and output buffers of all cleaner threads."),
    double("log.cleaner.io.max.bytes.per.second", Some("1.7976931348623157E308"), Any, Medium).cluster_wide()
        .doc("Most bytes the cleaner reads and writes in a second."),
    long("log.cleaner.max.compaction.lag.ms", Some("9223372036854775807"), AtLeast(1), Medium).cluster_wide()
        .doc("Records older than this make a log due for compaction."),
    double("log.cleaner.min.cleanable.ratio", Some("0.5"), Between(0, 1), Medium).cluster_wide()
        .doc("Share of uncompacted bytes from which on a log is compacted."),
    long("log.cleaner.min.compaction.lag.ms", Some("0"), AtLeast(0), Medium).cluster_wide()
        .doc("Records younger than this are not compacted."),
    int("log.cleaner.threads", Some("1"), AtLeast(0), Medium).cluster_wide()
        .doc("Threads that compact logs."),
    list("log.cleanup.policy", Some("delete"), OneOf(&["compact", "delete"]), Medium).cluster_wide()
        .doc("What happens to old segments: delete, compact, or both."),
    string("log.dir", Some("/tmp/kafka-logs"), Any, High)
        .doc("The log directory, when log.dirs is not set."),
    long("log.dir.failure.timeout.ms", Some("30000"), AtLeast(1), Low)
        .doc("KRaft only: time to report a failed log directory before stopping."),
    string("log.dirs", None, Any, High)
        .doc("Directories for the logs, separated by commas; log.dir if not set."),
    long("log.flush.interval.messages", Some("9223372036854775807"), AtLeast(1), High).cluster_wide()
        .doc("Records after which a log is flushed to disk."),
    long("log.flush.interval.ms", None, Any, High).cluster_wide()
        .doc("Longest time a record stays unflushed; log.flush.scheduler.interval.ms if not set."),
    int("log.flush.offset.checkpoint.interval.ms", Some("60000"), AtLeast(0), High)
        .doc("Time between writes of the recovery point checkpoint."),
    long("log.flush.scheduler.interval.ms", Some("9223372036854775807"), Any, High)
        .doc("Time between checks whether a log is due for a flush."),
    int("log.flush.start.offset.checkpoint.interval.ms", Some("60000"), AtLeast(0), High)
        .doc("Time between writes of the log start offset checkpoint."),
    int("log.index.interval.bytes", Some("4096"), AtLeast(0), Medium).cluster_wide()
        .doc("Bytes of records between two entries of the offset index."),
    int("log.index.size.max.bytes", Some("10485760"), AtLeast(4), Medium).cluster_wide()
        .doc("Largest size of an index file."),
    long("log.initial.task.delay.ms", Some("30000"), AtLeast(0), Low).internal()
        .doc("Delay of the first run of a log's background tasks."),
    long("log.local.retention.bytes", Some("-2"), AtLeast(-2), Medium).cluster_wide()
        .doc("Tiered storage only: bytes kept locally; -2 is log.retention.bytes."),
    long("log.local.retention.ms", Some("-2"), AtLeast(-2), Medium).cluster_wide()
        .doc("Tiered storage only: time kept locally; -2 is log.retention.ms."),
    boolean("log.message.downconversion.enable", Some("true"), Any, Low).cluster_wide()
        .doc("Convert batches for consumers that know only older formats."),
    string("log.message.format.version", Some("3.0-IV1"), MetadataVersion, Medium)
        .doc("Deprecated and without effect: format version of records."),
    long("log.message.timestamp.after.max.ms", Some("9223372036854775807"), AtLeast(0), Medium).cluster_wide()
        .doc("How far ahead of the broker's clock a record's timestamp may be."),
    long("log.message.timestamp.before.max.ms", Some("9223372036854775807"), AtLeast(0), Medium).cluster_wide()
        .doc("How far behind the broker's clock a record's timestamp may be."),
    long("log.message.timestamp.difference.max.ms", Some("9223372036854775807"), AtLeast(0), Medium).cluster_wide()
        .doc("Deprecated: both the before and the after limit when those are not set."),
    string("log.message.timestamp.type", Some("CreateTime"), OneOf(&["CreateTime", "LogAppendTime"]), Medium).cluster_wide()
        .doc("Whether records keep their creation time or get the time of their append."),
    boolean("log.preallocate", Some("false"), Any, Medium).cluster_wide()
        .doc("Reserve the file of a new segment at its full size."),
    long("log.retention.bytes", Some("-1"), Any, High).cluster_wide()
        .doc("Oldest segments are removed while a partition is larger; -1 is no limit."),
    long("log.retention.check.interval.ms", Some("300000"), AtLeast(1), Medium)
        .doc("Time between checks for segments to remove."),
    int("log.retention.hours", Some("168"), Any, High)
        .doc("Hours to keep a segment; log.retention.minutes and log.retention.ms come first."),
    int("log.retention.minutes", None, Any, High)
        .doc("Minutes to keep a segment; log.retention.ms comes first."),
    long("log.retention.ms", None, Any, High).cluster_wide()
        .doc("Milliseconds to keep a segment; -1 is no limit."),
    int("log.roll.hours", Some("168"), AtLeast(1), High)
        .doc("Hours until a segment is rolled; log.roll.ms comes first."),
    int("log.roll.jitter.hours", Some("0"), AtLeast(0), High)
        .doc("Most hours taken off log.roll.hours at random."),
    long("log.roll.jitter.ms", None, Any, High).cluster_wide()
        .doc("Most milliseconds taken off the roll time at random."),
    long("log.roll.ms", None, Any, High).cluster_wide()
        .doc("Milliseconds until a segment is rolled."),
    int("log.segment.bytes", Some("1073741824"), AtLeast(14), High).cluster_wide()
        .doc("Largest size of a segment."),
    long("log.segment.delete.delay.ms", Some("60000"), AtLeast(0), High).cluster_wide()
        .doc("Time between marking a file as deleted and removing it."),
    int("max.connection.creation.rate", Some("2147483647"), AtLeast(0), Medium).cluster_wide()
        .doc("Most new connections in a second."),
    int("max.connections", Some("2147483647"), AtLeast(0), Medium).cluster_wide()
        .doc("Most connections at a time."),
    int("max.connections.per.ip", Some("2147483647"), AtLeast(0), Medium).cluster_wide()
        .doc("Most connections at a time from one address."),
    string("max.connections.per.ip.overrides", Some(""), Any, Medium).cluster_wide()
        .doc("Other limits for single addresses: host:count, separated by commas."),
    int("max.incremental.fetch.session.cache.slots", Some("1000"), AtLeast(0), Medium)
        .doc("Most incremental fetch sessions at a time."),
    int("max.request.partition.size.limit", Some("2000"), AtLeast(1), Medium)
        .doc("Most partitions in one answer to DescribeTopicPartitions."),
    int("message.max.bytes", Some("1048588"), AtLeast(0), High).cluster_wide()
        .doc("Largest batch, after compression."),
    string("metadata.log.dir", None, Any, High)
        .doc("KRaft only: directory of the metadata log."),
    long("metadata.log.max.record.bytes.between.snapshots", Some("20971520"), AtLeast(1), High)
        .doc("KRaft only: bytes between two snapshots."),
    long("metadata.log.max.snapshot.interval.ms", Some("3600000"), AtLeast(0), High)
        .doc("KRaft only: longest time between two snapshots."),
    int("metadata.log.segment.bytes", Some("1073741824"), AtLeast(12), High)
        .doc("KRaft only: segment size of the metadata log."),
    int("metadata.log.segment.min.bytes", Some("8388608"), AtLeast(12), High).internal()
        .doc("KRaft only: smallest segment size of the metadata log."),
    long("metadata.log.segment.ms", Some("604800000"), Any, High)
        .doc("KRaft only: roll time of the metadata log."),
    int("metadata.max.idle.interval.ms", Some("500"), AtLeast(0), Low)
        .doc("KRaft only: interval of no-op records."),
    long("metadata.max.retention.bytes", Some("104857600"), Any, High)
        .doc("KRaft only: bytes of metadata log and snapshots to keep."),
    long("metadata.max.retention.ms", Some("604800000"), Any, High)
        .doc("KRaft only: time to keep metadata log and snapshots."),
    list("metric.reporters", Some(""), Any, Low).cluster_wide()
        .doc("Classes that report metrics; Castellan loads no Java classes."),
    string("metrics.http.host", Some("0.0.0.0"), Any, Low).internal()
        .doc("Address of the port for metrics and probes. Not a setting of Kafka."),
    int("metrics.http.port", None, Between(0, 65535), Low).internal()
        .doc("Port on which metrics and probes are given over HTTP; none if not set. Not a setting of Kafka."),
    int("metrics.num.samples", Some("2"), AtLeast(1), Low)
        .doc("Samples kept for a rate."),
    string("metrics.recording.level", Some("INFO"), Any, Low)
        .doc("Level of detail of metrics: INFO, DEBUG or TRACE."),
    long("metrics.sample.window.ms", Some("30000"), AtLeast(1), Low)
        .doc("Length of one sample of a rate."),
    int("min.insync.replicas", Some("1"), AtLeast(1), High).cluster_wide()
        .doc("In-sync replicas without which a write with acks=all is refused."),
    int("node.id", Some("-1"), Any, High)
        .doc("Same as broker.id with ZooKeeper."),
    int("num.io.threads", Some("8"), AtLeast(1), High).cluster_wide()
        .doc("Threads that handle requests in Kafka."),
    int("num.network.threads", Some("3"), AtLeast(1), High).cluster_wide()
        .doc("Threads that read and write sockets in Kafka."),
    int("num.partitions", Some("1"), AtLeast(1), Medium)
        .doc("Partitions of topics created automatically, or with partition count -1."),
    int("num.recovery.threads.per.data.dir", Some("1"), AtLeast(1), High).cluster_wide()
        .doc("Threads that check logs at start, for each log directory."),
    int("num.replica.alter.log.dirs.threads", None, Any, High)
        .doc("Threads that move replicas between log directories."),
    int("num.replica.fetchers", Some("1"), Any, High).cluster_wide()
        .doc("Fetchers that copy from each leader."),
    int("offset.metadata.max.bytes", Some("4096"), Any, High)
        .doc("Longest metadata text of a committed offset."),
    short("offsets.commit.required.acks", Some("-1"), Any, High)
        .doc("Deprecated: acknowledgements an offset commit waits for; anything but -1 is unwise."),
    int("offsets.commit.timeout.ms", Some("5000"), AtLeast(1), High)
        .doc("How long an offset commit waits for the replicas."),
    int("offsets.load.buffer.size", Some("5242880"), AtLeast(1), High)
        .doc("Bytes read at a time while a coordinator loads."),
    long("offsets.retention.check.interval.ms", Some("600000"), AtLeast(1), High)
        .doc("Time between removals of expired offsets."),
    int("offsets.retention.minutes", Some("10080"), AtLeast(1), High)
        .doc("How long offsets are kept after their group is empty, or after the commit without a group."),
    int("offsets.topic.compression.codec", Some("0"), Any, High)
        .doc("Codec of batches in the offsets topic: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."),
    int("offsets.topic.num.partitions", Some("50"), AtLeast(1), High)
        .doc("Partitions of the offsets topic; not to be changed afterwards."),
    short("offsets.topic.replication.factor", Some("3"), AtLeast(1), High)
        .doc("Replicas of the offsets topic."),
    int("offsets.topic.segment.bytes", Some("104857600"), AtLeast(1), High)
        .doc("Segment size of the offsets topic."),
    string("password.encoder.cipher.algorithm", Some("AES/CBC/PKCS5Padding"), Any, Low)
        .doc("Cipher for passwords kept in ZooKeeper."),
    int("password.encoder.iterations", Some("4096"), AtLeast(1024), Low)
        .doc("Iterations for deriving the key for passwords kept in ZooKeeper."),
    int("password.encoder.key.length", Some("128"), AtLeast(8), Low)
        .doc("Key length in bits for passwords kept in ZooKeeper."),
    string("password.encoder.keyfactory.algorithm", None, Any, Low)
        .doc("Key derivation for passwords kept in ZooKeeper."),
    password("password.encoder.old.secret", None, Any, Medium)
        .doc("Former secret for passwords kept in ZooKeeper, while it is being changed."),
    password("password.encoder.secret", None, Any, Medium)
        .doc("Secret for passwords kept in ZooKeeper."),
    class("principal.builder.class", Some("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"), Any, Medium).per_broker()
        .doc("Class that names a client; Castellan has the default rule."),
    list("process.roles", Some(""), OneOf(&["broker", "controller"]), High)
        .doc("KRaft only; must be empty with ZooKeeper."),
    int("producer.id.expiration.check.interval.ms", Some("600000"), AtLeast(1), Low).internal()
        .doc("Time between removals of idle producers."),
    int("producer.id.expiration.ms", Some("86400000"), AtLeast(1), Low).cluster_wide()
        .doc("An idle producer's sequence numbers are forgotten after this."),
    int("producer.purgatory.purge.interval.requests", Some("1000"), Any, Medium)
        .doc("Kept for compatibility; parked requests need no purging here."),
    long("queued.max.request.bytes", Some("-1"), Any, Medium)
        .doc("Most bytes of requests waiting; -1 is no limit."),
    int("queued.max.requests", Some("500"), AtLeast(1), High)
        .doc("Most requests waiting before reading stops."),
    int("quota.window.num", Some("11"), AtLeast(1), Low)
        .doc("Samples kept for client quotas."),
    int("quota.window.size.seconds", Some("1"), AtLeast(1), Low)
        .doc("Length of one sample of client quotas."),
    int("remote.fetch.max.wait.ms", Some("500"), AtLeast(1), Medium).cluster_wide()
        .doc("Tiered storage only: how long a fetch waits for remote data."),
    long("remote.log.index.file.cache.total.size.bytes", Some("1073741824"), AtLeast(1), Low).cluster_wide()
        .doc("Tiered storage only: size of the cache of remote indexes."),
    int("remote.log.manager.copier.thread.pool.size", Some("-1"), AtLeast(-1), Medium)
        .doc("Tiered storage only: threads that upload."),
    long("remote.log.manager.copy.max.bytes.per.second", Some("9223372036854775807"), AtLeast(1), Medium).cluster_wide()
        .doc("Tiered storage only: most bytes uploaded in a second."),
    int("remote.log.manager.copy.quota.window.num", Some("11"), AtLeast(1), Medium)
        .doc("Tiered storage only: samples of the upload quota."),
    int("remote.log.manager.copy.quota.window.size.seconds", Some("1"), AtLeast(1), Medium)
        .doc("Tiered storage only: length of one sample of the upload quota."),
    int("remote.log.manager.expiration.thread.pool.size", Some("-1"), AtLeast(-1), Medium)
        .doc("Tiered storage only: threads that remove."),
    long("remote.log.manager.fetch.max.bytes.per.second", Some("9223372036854775807"), AtLeast(1), Medium).cluster_wide()
        .doc("Tiered storage only: most bytes downloaded in a second."),
    int("remote.log.manager.fetch.quota.window.num", Some("11"), AtLeast(1), Medium)
        .doc("Tiered storage only: samples of the download quota."),
    int("remote.log.manager.fetch.quota.window.size.seconds", Some("1"), AtLeast(1), Medium)
        .doc("Tiered storage only: length of one sample of the download quota."),
    long("remote.log.manager.task.interval.ms", Some("30000"), AtLeast(1), Low)
        .doc("Tiered storage only: time between runs of the tasks."),
    long("remote.log.manager.task.retry.backoff.max.ms", Some("30000"), AtLeast(1), Low).internal()
        .doc("Tiered storage only: longest pause between attempts."),
    long("remote.log.manager.task.retry.backoff.ms", Some("500"), AtLeast(1), Low).internal()
        .doc("Tiered storage only: first pause between attempts."),
    double("remote.log.manager.task.retry.jitter", Some("0.2"), Any, Low).internal()
        .doc("Tiered storage only: random part of the pause."),
    int("remote.log.manager.thread.pool.size", Some("10"), AtLeast(1), Medium)
        .doc("Tiered storage only: threads."),
    int("remote.log.metadata.custom.metadata.max.bytes", Some("128"), AtLeast(0), Low)
        .doc("Tiered storage only: most bytes of custom metadata."),
    string("remote.log.metadata.manager.class.name", Some("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager"), NonEmpty, Medium)
        .doc("Tiered storage only: class that keeps the metadata."),
    string("remote.log.metadata.manager.class.path", None, Any, Medium)
        .doc("Tiered storage only: class path of the metadata manager."),
    string("remote.log.metadata.manager.impl.prefix", Some("rlmm.config."), NonEmpty, Medium)
        .doc("Tiered storage only: prefix of the metadata manager's settings."),
    string("remote.log.metadata.manager.listener.name", None, NonEmpty, Medium)
        .doc("Tiered storage only: listener the metadata manager uses."),
    int("remote.log.reader.max.pending.tasks", Some("100"), AtLeast(1), Medium)
        .doc("Tiered storage only: most reads waiting."),
    int("remote.log.reader.threads", Some("10"), AtLeast(1), Medium)
        .doc("Tiered storage only: threads that read."),
    string("remote.log.storage.manager.class.name", None, NonEmpty, Medium)
        .doc("Tiered storage only: class that keeps the segments."),
    string("remote.log.storage.manager.class.path", None, Any, Medium)
        .doc("Tiered storage only: class path of the storage manager."),
    string("remote.log.storage.manager.impl.prefix", Some("rsm.config."), NonEmpty, Medium)
        .doc("Tiered storage only: prefix of the storage manager's settings."),
    boolean("remote.log.storage.system.enable", Some("false"), Any, Medium)
        .doc("Turn on tiered storage (KIP-405)."),
    int("replica.fetch.backoff.ms", Some("1000"), AtLeast(0), Medium)
        .doc("Pause of a follower after a failed fetch of a partition."),
    int("replica.fetch.max.bytes", Some("1048576"), AtLeast(0), Medium)
        .doc("Bytes a follower asks for of each partition."),
    int("replica.fetch.min.bytes", Some("1"), Any, High)
        .doc("Fewest bytes a follower waits for."),
    int("replica.fetch.response.max.bytes", Some("10485760"), AtLeast(0), Medium)
        .doc("Most bytes of one answer to a follower."),
    int("replica.fetch.wait.max.ms", Some("500"), Any, High)
        .doc("Longest time a follower's fetch waits; less than replica.lag.time.max.ms."),
    long("replica.high.watermark.checkpoint.interval.ms", Some("5000"), Any, High)
        .doc("Time between writes of the high watermark checkpoint."),
    long("replica.lag.time.max.ms", Some("30000"), Any, High)
        .doc("A follower that has not caught up for this long leaves the in-sync replicas."),
    string("replica.selector.class", None, Any, Medium)
        .doc("Class that chooses the replica a consumer reads from; RackAwareReplicaSelector is built in."),
    int("replica.socket.receive.buffer.bytes", Some("65536"), Any, High)
        .doc("Socket receive buffer of a follower's connection."),
    int("replica.socket.timeout.ms", Some("30000"), Any, High)
        .doc("Time a follower's request may take."),
    int("replication.quota.window.num", Some("11"), AtLeast(1), Low)
        .doc("Samples kept for replication quotas."),
    int("replication.quota.window.size.seconds", Some("1"), AtLeast(1), Low)
        .doc("Length of one sample of replication quotas."),
    int("request.timeout.ms", Some("30000"), Any, High)
        .doc("Time a request between brokers may take."),
    int("reserved.broker.max.id", Some("1000"), AtLeast(0), Medium)
        .doc("Largest id that may be set as broker.id; generated ids start above it."),
    class("sasl.client.callback.handler.class", None, Any, Medium)
        .doc("Java class of Kafka's SASL client; without effect here."),
    list("sasl.enabled.mechanisms", Some("GSSAPI"), Any, Medium).per_broker()
        .doc("SASL mechanisms that clients may use."),
    password("sasl.jaas.config", None, Any, Medium).per_broker()
        .doc("Login context of a listener's SASL mechanism."),
    string("sasl.kerberos.kinit.cmd", Some("/usr/bin/kinit"), Any, Medium).per_broker()
        .doc("Path of kinit."),
    long("sasl.kerberos.min.time.before.relogin", Some("60000"), Any, Medium).per_broker()
        .doc("Shortest time between Kerberos logins."),
    list("sasl.kerberos.principal.to.local.rules", Some("DEFAULT"), Any, Medium).per_broker()
        .doc("Rules that turn Kerberos principals into user names."),
    string("sasl.kerberos.service.name", None, Any, Medium).per_broker()
        .doc("Kerberos service name of the brokers."),
    double("sasl.kerberos.ticket.renew.jitter", Some("0.05"), Any, Medium).per_broker()
        .doc("Random part of the time of Kerberos ticket renewal."),
    double("sasl.kerberos.ticket.renew.window.factor", Some("0.8"), Any, Medium).per_broker()
        .doc("Part of a Kerberos ticket's life after which it is renewed."),
    class("sasl.login.callback.handler.class", None, Any, Medium)
        .doc("Java class of Kafka's SASL login; without effect here."),
    class("sasl.login.class", None, Any, Medium)
        .doc("Java class of Kafka's SASL login; without effect here."),
    int("sasl.login.connect.timeout.ms", None, Any, Low)
        .doc("Time to connect to the OAuth provider."),
    int("sasl.login.read.timeout.ms", None, Any, Low)
        .doc("Time to read from the OAuth provider."),
    short("sasl.login.refresh.buffer.seconds", Some("300"), Any, Medium).per_broker()
        .doc("Time before its end at which a credential is refreshed at the latest."),
    short("sasl.login.refresh.min.period.seconds", Some("60"), Any, Medium).per_broker()
        .doc("Shortest time before a credential is refreshed."),
    double("sasl.login.refresh.window.factor", Some("0.8"), Any, Medium).per_broker()
        .doc("Part of a credential's life after which it is refreshed."),
    double("sasl.login.refresh.window.jitter", Some("0.05"), Any, Medium).per_broker()
        .doc("Random part of the time of refresh."),
    long("sasl.login.retry.backoff.max.ms", Some("10000"), Any, Low)
        .doc("Longest pause between login attempts."),
    long("sasl.login.retry.backoff.ms", Some("100"), Any, Low)
        .doc("First pause between login attempts."),
    string("sasl.mechanism.controller.protocol", Some("GSSAPI"), Any, High)
        .doc("KRaft only: SASL mechanism towards controllers."),
    string("sasl.mechanism.inter.broker.protocol", Some("GSSAPI"), Any, Medium).per_broker()
        .doc("SASL mechanism between brokers."),
    int("sasl.oauthbearer.clock.skew.seconds", Some("30"), Any, Low)
        .doc("Allowed difference to the OAuth provider's clock."),
    list("sasl.oauthbearer.expected.audience", None, Any, Low)
        .doc("Audiences a token must name."),
    string("sasl.oauthbearer.expected.issuer", None, Any, Low)
        .doc("Issuer a token must name."),
    long("sasl.oauthbearer.jwks.endpoint.refresh.ms", Some("3600000"), Any, Low)
        .doc("Time between refreshes of the provider's keys."),
    long("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", Some("10000"), Any, Low)
        .doc("Longest pause between attempts to get the provider's keys."),
    long("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", Some("100"), Any, Low)
        .doc("First pause between attempts to get the provider's keys."),
    string("sasl.oauthbearer.jwks.endpoint.url", None, Any, Medium)
        .doc("Where the provider's keys are."),
    string("sasl.oauthbearer.scope.claim.name", Some("scope"), Any, Low)
        .doc("Claim that holds the scope."),
    string("sasl.oauthbearer.sub.claim.name", Some("sub"), Any, Low)
        .doc("Claim that holds the subject."),
    string("sasl.oauthbearer.token.endpoint.url", None, Any, Medium)
        .doc("Where tokens come from."),
    class("sasl.server.callback.handler.class", None, Any, Medium)
        .doc("Java class of Kafka's SASL server; without effect here."),
    int("sasl.server.max.receive.size", Some("524288"), Any, Medium)
        .doc("Most bytes of a SASL message before authentication."),
    string("security.inter.broker.protocol", Some("PLAINTEXT"), OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), Medium)
        .doc("Security protocol between brokers; not together with inter.broker.listener.name."),
    string("security.providers", None, Any, Low)
        .doc("Java security providers; without effect here."),
    long("server.max.startup.time.ms", Some("9223372036854775807"), AtLeast(0), Medium).internal()
        .doc("KRaft only: longest time to start."),
    int("share.coordinator.append.linger.ms", Some("-1"), AtLeast(-1), Medium).internal()
        .doc("How long the share coordinator gathers writes; without effect, each is written at once (Kafka 4.1)."),
    int("share.coordinator.cold.partition.snapshot.interval.ms", Some("300000"), AtLeast(1), Low).internal()
        .doc("State of share partitions that did not change is written anew after this, so that the state topic stays small (Kafka 4.1)."),
    int("share.coordinator.load.buffer.size", Some("5242880"), AtLeast(1), High).internal()
        .doc("Bytes read at a time while a share coordinator loads (Kafka 4.1)."),
    int("share.coordinator.snapshot.update.records.per.snapshot", Some("500"), Between(0, 500), Medium).internal()
        .doc("Update records that the share coordinator writes between snapshots (Kafka 4.1)."),
    int("share.coordinator.state.topic.compression.codec", Some("0"), Any, High).internal()
        .doc("Codec of batches in the share state topic; without effect, they are small (Kafka 4.1)."),
    short("share.coordinator.state.topic.min.isr", Some("2"), AtLeast(1), High).internal()
        .doc("min.insync.replicas of the share state topic; if not set, not more than it has replicas (Kafka 4.1)."),
    int("share.coordinator.state.topic.num.partitions", Some("50"), AtLeast(1), High).internal()
        .doc("Partitions of the share state topic; not to be changed afterwards (Kafka 4.1)."),
    int("share.coordinator.state.topic.prune.interval.ms", Some("300000"), AtLeast(1), Low).internal()
        .doc("Time between deletions of records of the share state topic that say nothing any more (Kafka 4.1)."),
    short("share.coordinator.state.topic.replication.factor", Some("3"), AtLeast(1), High).internal()
        .doc("Replicas of the share state topic; if not set, not more than the offsets topic has (Kafka 4.1)."),
    int("share.coordinator.state.topic.segment.bytes", Some("104857600"), AtLeast(1), High).internal()
        .doc("Segment size of the share state topic (Kafka 4.1)."),
    int("share.coordinator.threads", Some("1"), AtLeast(1), Medium).internal()
        .doc("Threads of the share coordinator; without effect (Kafka 4.1)."),
    int("share.coordinator.write.timeout.ms", Some("5000"), AtLeast(1), High).internal()
        .doc("How long a write of the share coordinator may take to be replicated (Kafka 4.1)."),
    long("socket.connection.setup.timeout.max.ms", Some("30000"), Any, Medium)
        .doc("Longest time to wait for a connection to open."),
    long("socket.connection.setup.timeout.ms", Some("10000"), Any, Medium)
        .doc("First time to wait for a connection to open."),
    int("socket.listen.backlog.size", Some("50"), AtLeast(1), Medium)
        .doc("Connections waiting to be accepted."),
    int("socket.receive.buffer.bytes", Some("102400"), Any, High)
        .doc("Receive buffer of client sockets; -1 is the system's default."),
    int("socket.request.max.bytes", Some("104857600"), AtLeast(1), High)
        .doc("Largest request."),
    int("socket.send.buffer.bytes", Some("102400"), Any, High)
        .doc("Send buffer of client sockets; -1 is the system's default."),
    boolean("ssl.allow.dn.changes", Some("false"), Any, Low)
        .doc("Allow a changed distinguished name when a certificate is replaced."),
    boolean("ssl.allow.san.changes", Some("false"), Any, Low)
        .doc("Allow changed alternative names when a certificate is replaced."),
    list("ssl.cipher.suites", Some(""), Any, Medium).per_broker()
        .doc("Cipher suites allowed; empty is the default of the TLS library."),
    string("ssl.client.auth", Some("none"), OneOf(&["required", "requested", "none"]), Medium).per_broker()
        .doc("Whether clients must show a certificate: required, requested or none."),
    list("ssl.enabled.protocols", Some("TLSv1.2,TLSv1.3"), Any, Medium).per_broker()
        .doc("TLS versions allowed."),
    string("ssl.endpoint.identification.algorithm", Some("https"), Any, Low).per_broker()
        .doc("Check of the server's name; https or empty for none."),
    class("ssl.engine.factory.class", None, Any, Low).per_broker()
        .doc("Java class that makes TLS engines; without effect here."),
    password("ssl.key.password", None, Any, Medium).per_broker()
        .doc("Password of the private key."),
    string("ssl.keymanager.algorithm", Some("SunX509"), Any, Medium).per_broker()
        .doc("Java key manager; without effect here."),
    password("ssl.keystore.certificate.chain", None, Any, Medium).per_broker()
        .doc("Certificate chain in PEM."),
    password("ssl.keystore.key", None, Any, Medium).per_broker()
        .doc("Private key in PEM."),
    string("ssl.keystore.location", None, Any, Medium).per_broker()
        .doc("File with key and certificates."),
    password("ssl.keystore.password", None, Any, Medium).per_broker()
        .doc("Password of the key store."),
    string("ssl.keystore.type", Some("JKS"), Any, Medium).per_broker()
        .doc("Kind of the key store: PEM, PKCS12 or JKS."),
    string("ssl.principal.mapping.rules", Some("DEFAULT"), Any, Low)
        .doc("Rules that turn distinguished names into user names."),
    string("ssl.protocol", Some("TLSv1.3"), Any, Medium).per_broker()
        .doc("TLS version preferred."),
    string("ssl.provider", None, Any, Medium).per_broker()
        .doc("Java TLS provider; without effect here."),
    string("ssl.secure.random.implementation", None, Any, Low).per_broker()
        .doc("Java random generator; without effect here."),
    string("ssl.trustmanager.algorithm", Some("PKIX"), Any, Medium).per_broker()
        .doc("Java trust manager; without effect here."),
    password("ssl.truststore.certificates", None, Any, Medium).per_broker()
        .doc("Trusted certificates in PEM."),
    string("ssl.truststore.location", None, Any, Medium).per_broker()
        .doc("File with trusted certificates."),
    password("ssl.truststore.password", None, Any, Medium).per_broker()
        .doc("Password of the trust store."),
    string("ssl.truststore.type", Some("JKS"), Any, Medium).per_broker()
        .doc("Kind of the trust store: PEM, PKCS12 or JKS."),
    int("telemetry.max.bytes", Some("1048576"), AtLeast(1), Low)
        .doc("Most bytes of metrics pushed by a client."),
    int("transaction.abort.timed.out.transaction.cleanup.interval.ms", Some("10000"), AtLeast(1), Low)
        .doc("Time between looks for transactions that timed out."),
    int("transaction.max.timeout.ms", Some("900000"), AtLeast(1), High)
        .doc("Longest transaction timeout a producer may ask for."),
    boolean("transaction.partition.verification.enable", Some("true"), Any, Low).cluster_wide()
        .doc("Check with the coordinator that a partition was added before a transactional write."),
    int("transaction.remove.expired.transaction.cleanup.interval.ms", Some("3600000"), AtLeast(1), Low)
        .doc("Time between removals of expired transactional ids."),
    int("transaction.state.log.load.buffer.size", Some("5242880"), AtLeast(1), High)
        .doc("Bytes read at a time while a transaction coordinator loads."),
    int("transaction.state.log.min.isr", Some("2"), AtLeast(1), High)
        .doc("min.insync.replicas of the transaction topic."),
    int("transaction.state.log.num.partitions", Some("50"), AtLeast(1), High)
        .doc("Partitions of the transaction topic; not to be changed afterwards."),
    short("transaction.state.log.replication.factor", Some("3"), AtLeast(1), High)
        .doc("Replicas of the transaction topic."),
    int("transaction.state.log.segment.bytes", Some("104857600"), AtLeast(1), High)
        .doc("Segment size of the transaction topic."),
    int("transactional.id.expiration.ms", Some("604800000"), AtLeast(1), High)
        .doc("An unused transactional id is forgotten after this."),
    boolean("unclean.leader.election.enable", Some("false"), Any, High).cluster_wide()
        .doc("Let a replica that may miss records lead when no in-sync replica lives; loses records."),
    long("unclean.leader.election.interval.ms", Some("300000"), AtLeast(1), Medium).internal()
        .doc("KRaft only: time between looks for partitions in need of an unclean election."),
    boolean("unstable.api.versions.enable", Some("false"), Any, High).internal()
        .doc("Serve API versions that are not final."),
    boolean("unstable.feature.versions.enable", Some("false"), Any, High).internal()
        .doc("Allow feature versions that are not final."),
    string("zookeeper.clientCnxnSocket", None, Any, Medium)
        .doc("Java class of Kafka's ZooKeeper socket; without effect here."),
    string("zookeeper.connect", None, Any, High)
        .doc("The ZooKeeper ensemble: host:port, separated by commas, then an optional path."),
    int("zookeeper.connection.timeout.ms", None, Any, High)
        .doc("Longest time to connect to ZooKeeper; zookeeper.session.timeout.ms if not set."),
    int("zookeeper.max.in.flight.requests", Some("10"), AtLeast(1), High)
        .doc("Most requests to ZooKeeper without an answer."),
    boolean("zookeeper.metadata.migration.enable", Some("false"), Any, High)
        .doc("KRaft migration, which Castellan does not take part in."),
    int("zookeeper.metadata.migration.min.batch.size", Some("200"), AtLeast(1), Medium).internal()
        .doc("KRaft migration: smallest batch."),
    int("zookeeper.session.timeout.ms", Some("18000"), Any, High)
        .doc("ZooKeeper session timeout."),
    boolean("zookeeper.set.acl", Some("false"), Any, High)
        .doc("Protect znodes by access control lists."),
    list("zookeeper.ssl.cipher.suites", None, Any, Low)
        .doc("Cipher suites towards ZooKeeper."),
    boolean("zookeeper.ssl.client.enable", Some("false"), Any, Medium)
        .doc("Use TLS towards ZooKeeper."),
    boolean("zookeeper.ssl.crl.enable", Some("false"), Any, Low)
        .doc("Check revocation lists towards ZooKeeper."),
    list("zookeeper.ssl.enabled.protocols", None, Any, Low)
        .doc("TLS versions towards ZooKeeper."),
    string("zookeeper.ssl.endpoint.identification.algorithm", Some("HTTPS"), Any, Low)
        .doc("Check of the ZooKeeper server's name; HTTPS or empty for none."),
    string("zookeeper.ssl.keystore.location", None, Any, Medium)
        .doc("File with key and certificates for ZooKeeper."),
    password("zookeeper.ssl.keystore.password", None, Any, Medium)
        .doc("Password of the key store for ZooKeeper."),
    string("zookeeper.ssl.keystore.type", None, Any, Medium)
        .doc("Kind of the key store for ZooKeeper."),
    boolean("zookeeper.ssl.ocsp.enable", Some("false"), Any, Low)
        .doc("Check certificates online towards ZooKeeper."),
    string("zookeeper.ssl.protocol", Some("TLSv1.2"), Any, Low)
        .doc("TLS version towards ZooKeeper."),
    string("zookeeper.ssl.truststore.location", None, Any, Medium)
        .doc("File with certificates trusted for ZooKeeper."),
    password("zookeeper.ssl.truststore.password", None, Any, Medium)
        .doc("Password of the trust store for ZooKeeper."),
    string("zookeeper.ssl.truststore.type", None, Any, Medium)
        .doc("Kind of the trust store for ZooKeeper."),
];
