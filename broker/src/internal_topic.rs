//! The partitions of `__consumer_offsets`, `__transaction_state` and `__share_group_state` as their coordinators see them. What an append causes
//! is kept until the call into the coordinator has returned.

use crate::broker::Broker;
use crate::group::{TopicShape, Topics};
use crate::journal::{Journal, StoreError};
use crate::log::producers::ProducerError;
use crate::log::{AppendError, AppendOrigin, Verification};
use crate::partition::{self, Append, ProduceError, ReadError};
use bytes::Bytes;
use common::time::Now;
use std::cell::RefCell;
use std::sync::Arc;
use uuid::Uuid;

/// The topic, for one call into its coordinator.
pub(crate) struct InternalTopic<'a> {
    /// Whose.
    pub(crate) broker: &'a Arc<Broker>,
    /// Which.
    pub(crate) name: &'static str,
    /// What the appends caused.
    pub(crate) effects: RefCell<Vec<partition::Effect>>,
}

impl Journal for InternalTopic<'_> {
    fn partition_count(&self) -> Option<i32> {
        self.broker.image.read().partition_count(self.name)
    }

    fn append(&self, partition: i32, batch: Bytes, now: Now) -> Result<i64, StoreError> {
        self.append_in_transaction(partition, batch, Verification::Off, now)
    }

    fn append_in_transaction(
        &self,
        partition: i32,
        batch: Bytes,
        verification: Verification,
        now: Now,
    ) -> Result<i64, StoreError> {
        let append = Append { topic: self.name.into(), partition, records: batch, verification };
        let mut effects = self.effects.borrow_mut();
        match self.broker.replicas.append(append, AppendOrigin::Coordinator, now, &mut effects) {
            Ok(appended) => Ok(appended.last_offset),
            Err(ProduceError::UnknownPartition | ProduceError::NotLeader) => Err(StoreError::NotLeader),
            Err(ProduceError::NotEnoughReplicas | ProduceError::NotEnoughReplicasAfterAppend) => {
                Err(StoreError::NotEnoughReplicas)
            }
            Err(ProduceError::TimedOut) => Err(StoreError::TimedOut),
            Err(ProduceError::NotInTransaction) => Err(StoreError::NotInTransaction),
            Err(ProduceError::Storage) => Err(StoreError::Storage),
            Err(ProduceError::Refused(error)) => Err(match &*error {
                AppendError::Producer(ProducerError::CoordinatorFenced { .. }) => StoreError::FencedCoordinator,
                AppendError::Producer(_) => StoreError::FencedProducer,
                _ => StoreError::TooLarge,
            }),
        }
    }

    fn bounds(&self, partition: i32) -> Option<(i64, i64)> {
        let held = self.broker.replicas.get(self.name, partition)?;
        held.leader_epoch_if_leader()?;
        let view = held.view();
        Some((view.start_offset, view.end_offset))
    }

    fn read(&self, partition: i32, offset: i64, max_bytes: usize) -> Result<Bytes, StoreError> {
        let max_bytes = u32::try_from(max_bytes).unwrap_or(u32::MAX);
        match self.broker.replicas.read(self.name, partition, offset, max_bytes) {
            Ok(records) => records.to_bytes().map_err(|_| StoreError::Storage),
            Err(ReadError::NotLeaderOrFollower | ReadError::UnknownPartition) => Err(StoreError::NotLeader),
            Err(_) => Err(StoreError::Storage),
        }
    }

    fn high_watermark(&self, partition: i32) -> Option<i64> {
        self.broker.replicas.high_watermark(self.name, partition)
    }
}

impl Topics for InternalTopic<'_> {
    fn topic(&self, name: &str) -> Option<TopicShape> {
        let image = self.broker.image.read();
        Some(TopicShape { id: image.topic_id(name)?, partitions: image.partition_count(name)? })
    }

    fn name(&self, id: Uuid) -> Option<String> {
        self.broker.image.read().topic_name(id).map(str::to_owned)
    }

    fn matching(&self, is_wanted: &dyn Fn(&str) -> bool) -> Vec<String> {
        let image = self.broker.image.read();
        image.topics().map(|(name, _)| name).filter(|name| is_wanted(name)).map(str::to_owned).collect()
    }
}
