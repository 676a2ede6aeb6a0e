//! Every setting that a group may have of its own (KIP-848, 932), as Kafka 4.3 has them but for those of Kafka Streams and of
//! assignment intervals, with the broker setting that gives its default. Rows only.

use super::setting::Check::*;
use super::setting::Importance::*;
use super::setting::*;

/// All group settings, sorted by name.
#[rustfmt::skip]
pub const GROUP_SETTINGS: &[Setting] = &[
    int("consumer.heartbeat.interval.ms", Some("5000"), AtLeast(1), Medium).mirrors("group.consumer.heartbeat.interval.ms")
        .doc("Heartbeat interval given to members of the consumer group."),
    int("consumer.session.timeout.ms", Some("45000"), AtLeast(1), Medium).mirrors("group.consumer.session.timeout.ms")
        .doc("A member of the consumer group that is silent for this long is removed."),
    string("share.auto.offset.reset", Some("latest"), ShareOffsetReset, Medium)
        .doc("Where the share group begins in a partition: earliest, latest, or by_duration:PnDTnHnMn.nS before now."),
    int("share.delivery.count.limit", Some("5"), AtLeast(2), Medium).mirrors("group.share.delivery.count.limit")
        .doc("Most deliveries of one record in the share group."),
    int("share.heartbeat.interval.ms", Some("5000"), AtLeast(1), Medium).mirrors("group.share.heartbeat.interval.ms")
        .doc("Heartbeat interval given to members of the share group."),
    string("share.isolation.level", Some("read_uncommitted"), OneOf(&["read_committed", "read_uncommitted"]), Medium)
        .doc("Whether the share group is given records of transactions that are open or aborted."),
    int("share.partition.max.record.locks", Some("2000"), AtLeast(100), Medium).mirrors("group.share.partition.max.record.locks")
        .doc("Most records locked at a time in one share partition of the group."),
    int("share.record.lock.duration.ms", Some("30000"), AtLeast(1000), Medium).mirrors("group.share.record.lock.duration.ms")
        .doc("How long a record fetched by the share group stays locked for its consumer."),
    boolean("share.renew.acknowledge.enable", Some("true"), Any, Medium)
        .doc("Whether members of the share group may renew the locks of records."),
    int("share.session.timeout.ms", Some("45000"), AtLeast(1), Medium).mirrors("group.share.session.timeout.ms")
        .doc("A member of the share group that is silent for this long is removed."),
];
