//! The share coordinator (KIP-932): keeps the state of share partitions in `__share_group_state` for the leaders that read and
//! write it and for the groups' coordinators that begin and end it. One shard with its own lock for each partition of that
//! topic that this broker leads. Never sends, never names a wire error code.

mod load;
mod shard;
#[cfg(test)]
mod tests;

use super::records::Snapshot;
use super::{NO_COUNT, NO_START_OFFSET, ShareKey, StateBatch};
use crate::config::BrokerConfig;
use crate::group::{Topics, partition_for};
use crate::journal::{Answer, Journal, Shards, Stage, StoreError, Waiter};
use common::time::{Millis, Now};
use shard::Shard;
use std::sync::Arc;
use thiserror::Error;
use tracing::debug;

/// Why the coordinator does not do what it was asked for.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ShareStateError {
    /// No group, or a negative partition.
    #[error("the group or the partition is not valid")]
    InvalidKey,
    /// Nothing is known of the share partition that is to be read.
    #[error("Read operation on uninitialized share partition not allowed.")]
    ReadUninitialized,
    /// Nothing is known of the share partition that is to be written.
    #[error("Write operation on uninitialized share partition not allowed.")]
    WriteUninitialized,
    /// A later leader has read the state.
    #[error("a later leader has the share partition")]
    FencedLeaderEpoch,
    /// The state began anew since.
    #[error("the state of the share partition began anew")]
    FencedStateEpoch,
    /// There is no such partition.
    #[error("unknown topic or partition")]
    UnknownPartition,
    /// Another broker looks after this share partition.
    #[error("this is not the coordinator of the share partition")]
    NotCoordinator,
    /// The partition of the state topic is being read.
    #[error("the coordinator is loading")]
    Loading,
    /// The state topic cannot take records now, or did not replicate one in time.
    #[error("the coordinator is not available")]
    NotAvailable,
    /// The record is larger than the topic takes.
    #[error("the record of the share partition is too large")]
    TooLarge,
}

impl From<StoreError> for ShareStateError {
    fn from(error: StoreError) -> ShareStateError {
        match error {
            StoreError::NotEnoughReplicas | StoreError::TimedOut => ShareStateError::NotAvailable,
            StoreError::TooLarge => ShareStateError::TooLarge,
            // Records of this topic belong to no producer.
            StoreError::NotLeader
            | StoreError::Storage
            | StoreError::FencedProducer
            | StoreError::FencedCoordinator
            | StoreError::NotInTransaction => ShareStateError::NotCoordinator,
        }
    }
}

/// What is asked about one share partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateRequest {
    /// The group begins to read the partition, or begins anew somewhere.
    Initialize {
        /// Later than that of any state before.
        state_epoch: i32,
        /// Where; -1 leaves it to the leader.
        start_offset: i64,
    },
    /// A leader takes the state over; earlier leaders are fenced.
    Read {
        /// Its leader epoch; -1 for somebody who only looks.
        leader_epoch: i32,
    },
    /// A leader tells what changed.
    Write(StateWrite),
    /// The group reads the partition no more.
    Delete,
    /// Where the group stands.
    Summarize,
}

/// What changed in a share partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateWrite {
    /// Of the state that was read; -1 is not looked at.
    pub state_epoch: i32,
    /// Of who writes; -1 is not looked at.
    pub leader_epoch: i32,
    /// Everything before is done with; -1 if that did not change.
    pub start_offset: i64,
    /// Records from there on that are done with; -1 if unknown.
    pub delivery_complete_count: i32,
    /// What became of records.
    pub batches: Vec<StateBatch>,
}

/// What the coordinator knows of a share partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateReply {
    /// Of its state.
    pub state_epoch: i32,
    /// Of the leader that read it last.
    pub leader_epoch: i32,
    /// Everything before is done with; -1 if nobody has decided where to begin, or nothing is known.
    pub start_offset: i64,
    /// Records from there on that are done with; -1 if unknown.
    pub delivery_complete_count: i32,
    /// What is known from there on.
    pub batches: Vec<StateBatch>,
}

impl Default for StateReply {
    /// Nothing is known.
    fn default() -> StateReply {
        StateReply {
            state_epoch: 0,
            leader_epoch: 0,
            start_offset: NO_START_OFFSET,
            delivery_complete_count: NO_COUNT,
            batches: Vec::new(),
        }
    }
}

impl From<&Snapshot> for StateReply {
    fn from(value: &Snapshot) -> StateReply {
        StateReply {
            state_epoch: value.state_epoch,
            leader_epoch: value.leader_epoch,
            start_offset: value.start_offset,
            delivery_complete_count: value.delivery_complete_count,
            batches: value.batches.clone(),
        }
    }
}

/// How a request ends.
pub type StateResult = Result<StateReply, ShareStateError>;

/// The settings that the coordinator looks at; times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `share.coordinator.snapshot.update.records.per.snapshot`
    pub updates_per_snapshot: u32,
    /// `share.coordinator.load.buffer.size`
    pub load_buffer_bytes: usize,
    /// `share.coordinator.state.topic.num.partitions`, used until the topic exists.
    pub topic_partitions: i32,
    /// `share.coordinator.write.timeout.ms`: how long a record may take to be replicated.
    pub write_timeout_ms: u64,
    /// `share.coordinator.state.topic.prune.interval.ms`
    pub prune_interval_ms: u64,
    /// `share.coordinator.cold.partition.snapshot.interval.ms`
    pub cold_snapshot_interval_ms: u64,
}

impl Settings {
    /// Those of a broker.
    pub fn of(config: &BrokerConfig) -> Settings {
        let unsigned = |value: i32| u64::try_from(value).unwrap_or(0);
        Settings {
            updates_per_snapshot: u32::try_from(config.share_coordinator_snapshot_update_records_per_snapshot)
                .unwrap_or(0),
            load_buffer_bytes: usize::try_from(config.share_coordinator_load_buffer_size).unwrap_or(0),
            topic_partitions: config.share_coordinator_state_topic_num_partitions,
            write_timeout_ms: unsigned(config.share_coordinator_write_timeout_ms),
            prune_interval_ms: unsigned(config.share_coordinator_state_topic_prune_interval_ms).max(1),
            cold_snapshot_interval_ms: unsigned(config.share_coordinator_cold_partition_snapshot_interval_ms).max(1),
        }
    }
}

/// What a call may use, and what it leaves to its caller: first carry out what the journal caused, then call each answer, in
/// order, and delete what is not needed, holding no lock.
pub struct Io<'a> {
    /// The state topic.
    pub journal: &'a dyn Journal,
    /// The topics that there are.
    pub topics: &'a dyn Topics,
    /// The moment of the call.
    pub now: Now,
    /// Answers to parked requests.
    pub answers: Vec<Answer>,
    /// When [`ShareStates::tick`] has to be called at the latest, if the call made that earlier than it was.
    pub wake_at: Option<Millis>,
    /// Partitions with their leader epochs for which [`ShareStates::load`] is to be called, off this thread.
    pub loads: Vec<(i32, i32)>,
    /// Partitions of the state topic, and up to where their records say nothing any more.
    pub prunes: Vec<(i32, i64)>,
}

impl<'a> Io<'a> {
    /// Nothing to carry out yet.
    pub fn new(journal: &'a dyn Journal, topics: &'a dyn Topics, now: Now) -> Io<'a> {
        Io { journal, topics, now, answers: Vec::new(), wake_at: None, loads: Vec::new(), prunes: Vec::new() }
    }

    fn answer<T: Send + 'static>(&mut self, waiter: Waiter<T>, value: T) {
        self.answers.push(Box::new(move || waiter(value)));
    }

    fn wake(&mut self, at: Option<Millis>) {
        self.wake_at = self.wake_at.into_iter().chain(at).min();
    }
}

/// The state of all share partitions this broker looks after.
pub struct ShareStates {
    settings: Arc<Settings>,
    shards: Shards<Shard>,
}

impl ShareStates {
    /// Nothing is known yet.
    pub fn new(settings: Settings) -> ShareStates {
        ShareStates { settings: Arc::new(settings), shards: Shards::default() }
    }

    // ---- leadership of the partitions

    /// This broker leads a partition of the state topic from now on. True if [`ShareStates::load`] is to be called.
    pub fn on_leader(&self, partition: i32, epoch: i32, io: &mut Io<'_>) -> bool {
        let now = io.now.mono;
        let shard = || Shard::new((partition, epoch), self.settings.clone(), now);
        self.shards.begin(partition, epoch, shard, |before| before.unload(io))
    }

    /// Reads the partition, and begins to serve once all that was read is replicated. May take long; who asks hears meanwhile
    /// that the coordinator is loading.
    pub fn load(&self, partition: i32, epoch: i32, io: &mut Io<'_>) {
        let loaded = load::read_all(io.journal, partition, self.settings.load_buffer_bytes);
        let Some(mut shard) = self.shards.lock(partition) else { return };
        if let Some(high_watermark) = shard.lead.on_read(epoch, loaded, "share states", (io.journal, io.now)) {
            shard.begin_serving(high_watermark);
        }
        io.wake(shard.next_deadline());
    }

    /// This broker leads a partition of the state topic no longer; without epoch, the partition is deleted.
    pub fn on_resigned(&self, partition: i32, epoch: Option<i32>, io: &mut Io<'_>) {
        self.shards.end(partition, epoch, |shard| {
            debug!(partition, "share states are unloaded");
            shard.unload(io);
        });
    }

    /// This broker stops: it looks after none any more.
    pub fn close(&self, io: &mut Io<'_>) {
        self.shards.partitions().into_iter().for_each(|partition| self.on_resigned(partition, None, io));
    }

    /// Everything below `offset` of a partition of the state topic is replicated.
    pub fn on_high_watermark(&self, partition: i32, offset: i64, io: &mut Io<'_>) {
        let Some(mut shard) = self.shards.lock(partition) else { return };
        shard.begin_serving(offset);
        shard.on_high_watermark(offset, io);
        io.wake(shard.next_deadline());
    }

    /// Partition of the state topic that a share partition belongs to: Java's hash of the key's text.
    pub fn partition_for(&self, key: &ShareKey, journal: &dyn Journal) -> i32 {
        let count = journal.partition_count().unwrap_or(self.settings.topic_partitions).max(1);
        partition_for(&key.text(), count)
    }

    // ---- time

    /// Does what is due; when to call again at the latest.
    pub fn tick(&self, io: &mut Io<'_>) -> Option<Millis> {
        let mut next = None;
        for shard in self.shards.all() {
            let mut shard = shard.lock();
            shard.tick(io);
            next = next.into_iter().chain(shard.next_deadline()).min();
        }
        next
    }

    // ---- requests

    /// Does what is asked about a share partition. The waiter hears of it when all that the answer rests on is replicated.
    pub fn handle(&self, key: ShareKey, request: StateRequest, waiter: Waiter<StateResult>, io: &mut Io<'_>) {
        if key.group.trim().is_empty() || key.partition < 0 {
            return io.answer(waiter, Err(ShareStateError::InvalidKey));
        }
        let partition = self.partition_for(&key, io.journal);
        let Some(mut shard) = self.shards.lock(partition) else {
            return io.answer(waiter, Err(ShareStateError::NotCoordinator));
        };
        match shard.lead.stage {
            Stage::Serving => shard.handle(key, request, waiter, io),
            Stage::Loading => io.answer(waiter, Err(ShareStateError::Loading)),
            Stage::Failed { .. } | Stage::Over => io.answer(waiter, Err(ShareStateError::NotCoordinator)),
        }
        io.wake(shard.next_deadline());
    }
}
