//! The partitions of `__consumer_offsets` as the group coordinators see them. What an append causes is kept until the
//! call into the groups has returned.

use crate::broker::Broker;
use crate::group::{Journal, StoreError};
use crate::log::AppendOrigin;
use crate::partition::{self, Append, ProduceError, ReadError};
use bytes::Bytes;
use common::time::Now;
use std::cell::RefCell;
use std::sync::Arc;

/// The topic's name.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The topic, for one call into the groups.
pub(crate) struct OffsetsTopic<'a> {
    /// Whose.
    pub(crate) broker: &'a Arc<Broker>,
    /// What the appends caused.
    pub(crate) effects: RefCell<Vec<partition::Effect>>,
}

impl Journal for OffsetsTopic<'_> {
    fn partition_count(&self) -> Option<i32> {
        self.broker.image.read().partition_count(OFFSETS_TOPIC)
    }

    fn append(&self, partition: i32, batch: Bytes, now: Now) -> Result<i64, StoreError> {
        let append = Append { topic: OFFSETS_TOPIC.into(), partition, records: batch };
        let mut effects = self.effects.borrow_mut();
        match self.broker.replicas.append(append, AppendOrigin::Coordinator, now, &mut effects) {
            Ok(appended) => Ok(appended.last_offset),
            Err(ProduceError::UnknownPartition | ProduceError::NotLeader) => Err(StoreError::NotLeader),
            Err(ProduceError::NotEnoughReplicas | ProduceError::NotEnoughReplicasAfterAppend) => {
                Err(StoreError::NotEnoughReplicas)
            }
            Err(ProduceError::TimedOut) => Err(StoreError::TimedOut),
            Err(ProduceError::Storage) => Err(StoreError::Storage),
            Err(ProduceError::Refused(_)) => Err(StoreError::TooLarge),
        }
    }

    fn bounds(&self, partition: i32) -> Option<(i64, i64)> {
        let held = self.broker.replicas.get(OFFSETS_TOPIC, partition)?;
        held.leader_epoch_if_leader()?;
        let view = held.view();
        Some((view.start_offset, view.end_offset))
    }

    fn read(&self, partition: i32, offset: i64, max_bytes: usize) -> Result<Bytes, StoreError> {
        let max_bytes = u32::try_from(max_bytes).unwrap_or(u32::MAX);
        match self.broker.replicas.read(OFFSETS_TOPIC, partition, offset, max_bytes) {
            Ok(records) => records.to_bytes().map_err(|_| StoreError::Storage),
            Err(ReadError::Storage) => Err(StoreError::Storage),
            Err(_) => Err(StoreError::NotLeader),
        }
    }

    fn high_watermark(&self, partition: i32) -> Option<i64> {
        self.broker.replicas.high_watermark(OFFSETS_TOPIC, partition)
    }
}
