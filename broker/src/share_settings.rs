//! What a share group's settings mean for its partitions (KIP-932): asked by whoever leads them on every fetch. Changes
//! nothing.

use crate::broker::Broker;
use crate::config::{GroupConfig, ShareOffsetReset};

/// The settings of a share group that count where records are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareSettings {
    /// `share.auto.offset.reset`: where it begins in a partition whose state has no start offset.
    pub auto_offset_reset: ShareOffsetReset,
    /// `share.record.lock.duration.ms`: how long a record is its consumer's.
    pub record_lock_duration_ms: u64,
    /// `share.isolation.level` is `read_committed`.
    pub reads_committed: bool,
    /// `share.delivery.count.limit`: most deliveries of one record.
    pub delivery_count_limit: i16,
    /// `share.partition.max.record.locks`: most records in flight in one partition.
    pub partition_max_record_locks: usize,
    /// `share.renew.acknowledge.enable`: locks may be renewed.
    pub allows_renewal: bool,
}

impl ShareSettings {
    /// Those of a group.
    pub fn of(config: &GroupConfig) -> ShareSettings {
        ShareSettings {
            auto_offset_reset: config.share_auto_offset_reset,
            record_lock_duration_ms: u64::try_from(config.share_record_lock_duration_ms).unwrap_or(0),
            reads_committed: config.share_isolation_level == "read_committed",
            delivery_count_limit: i16::try_from(config.share_delivery_count_limit).unwrap_or(i16::MAX),
            partition_max_record_locks: usize::try_from(config.share_partition_max_record_locks).unwrap_or(0),
            allows_renewal: config.share_renew_acknowledge_enable,
        }
    }
}

impl Broker {
    /// The settings of a share group, as they are now: its own, else those of this broker.
    pub fn share_settings(&self, group: &str) -> ShareSettings {
        ShareSettings::of(&self.group_configs.get(group))
    }
}
