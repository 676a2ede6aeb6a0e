//! The transaction coordinator: decides on requests of transactional producers, has the decisions recorded in
//! `__transaction_state`, answers once they are replicated, and has the markers written that end a transaction. One shard
//! with its own lock for each partition that this broker leads. Never sends, never names a wire error code.

mod load;
pub mod records;
mod shard;
mod state;
#[cfg(test)]
mod tests;

pub use state::Producer;

use crate::config::BrokerConfig;
use crate::group::partition_for;
use crate::journal::{Answer, Journal, LockedShard, Shards, Stage, StoreError, Waiter};
use common::time::{Millis, Now};
use records::{Place, TxnState, TxnValue};
use shard::Shard;
use state::{Decision, Means};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI16, Ordering};
use thiserror::Error;
use tracing::debug;

/// Name of the topic that holds the state of transactions.
pub const TRANSACTION_TOPIC: &str = "__transaction_state";

/// Why a transactional producer does not get what it asked for.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, PartialOrd, Ord)]
pub enum TxnError {
    /// The transactional id is empty.
    #[error("the transactional id is not valid")]
    InvalidId,
    /// Not within 1 and `transaction.max.timeout.ms`.
    #[error("the transaction timeout is out of range")]
    InvalidTimeout,
    /// The transaction topic cannot take records now.
    #[error("the coordinator is not available")]
    NotAvailable,
    /// The partition of the id is being read.
    #[error("the coordinator is loading")]
    Loading,
    /// Another broker looks after this id.
    #[error("this is not the coordinator of the transactional id")]
    NotCoordinator,
    /// The transactional id belongs to another producer id, or to none.
    #[error("the producer id is not the one of the transactional id")]
    InvalidProducerIdMapping,
    /// A later instance of the producer has begun.
    #[error("a newer producer has the transactional id")]
    ProducerFenced,
    /// The end of the last transaction, or another change, is not finished; asking again helps.
    #[error("another change of the transaction is not finished")]
    Concurrent,
    /// There is no transaction that could end so.
    #[error("the transaction is in another state")]
    InvalidTxnState,
    /// Nothing is known of the id.
    #[error("the transactional id does not exist")]
    NotFound,
    /// The record is larger than the topic takes.
    #[error("the record of the transaction is too large")]
    RecordTooLarge,
    /// No producer id can be had now.
    #[error("no producer ids: the controller allocates none now")]
    NoProducerIds,
}

impl From<StoreError> for TxnError {
    fn from(error: StoreError) -> TxnError {
        match error {
            StoreError::NotLeader | StoreError::Storage => TxnError::NotCoordinator,
            StoreError::NotEnoughReplicas | StoreError::TimedOut => TxnError::NotAvailable,
            StoreError::TooLarge => TxnError::RecordTooLarge,
            // Records of this topic belong to no producer.
            StoreError::FencedProducer | StoreError::FencedCoordinator | StoreError::NotInTransaction => {
                TxnError::NotCoordinator
            }
        }
    }
}

/// The settings that transactions look at; times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `transaction.max.timeout.ms`
    pub max_timeout_ms: i32,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`
    pub abort_check_interval_ms: u64,
    /// `transactional.id.expiration.ms`
    pub expiration_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub expiry_check_interval_ms: u64,
    /// `transaction.state.log.load.buffer.size`
    pub load_buffer_bytes: usize,
    /// `transaction.state.log.num.partitions`, used until the topic exists.
    pub topic_partitions: i32,
    /// `request.timeout.ms`: how long a record may take to be replicated.
    pub append_timeout_ms: u64,
}

impl Settings {
    /// Those of a broker.
    pub fn of(config: &BrokerConfig) -> Settings {
        let unsigned = |value: i32| u64::try_from(value).unwrap_or(0);
        Settings {
            max_timeout_ms: config.transaction_max_timeout_ms,
            abort_check_interval_ms: unsigned(config.transaction_abort_timed_out_transaction_cleanup_interval_ms)
                .max(1),
            expiration_ms: i64::from(config.transactional_id_expiration_ms),
            expiry_check_interval_ms: unsigned(config.transaction_remove_expired_transaction_cleanup_interval_ms)
                .max(1),
            load_buffer_bytes: usize::try_from(config.transaction_state_log_load_buffer_size).unwrap_or(0),
            topic_partitions: config.transaction_state_log_num_partitions,
            append_timeout_ms: unsigned(config.request_timeout_ms),
        }
    }
}

/// Markers to be written for one transaction; the outcome comes back through [`Transactions::on_markers`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkerOrder {
    /// Partition of `__transaction_state` that has the transaction.
    pub partition: i32,
    /// Epoch of its coordinator.
    pub coordinator_epoch: i32,
    /// The transactional id.
    pub transactional_id: String,
    /// Its producer.
    pub producer_id: i64,
    /// Epoch of the markers.
    pub producer_epoch: i16,
    /// Commit or abort.
    pub is_commit: bool,
    /// transaction.version of the client that ended it.
    pub transaction_version: i8,
    /// Where.
    pub places: BTreeSet<Place>,
}

/// What became of a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is written, or the partition is gone.
    Yes,
    /// It is to be tried again.
    NotYet,
    /// A later coordinator, or a later epoch of the producer, was there before.
    Fenced,
}

/// A transaction in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The transactional id.
    pub transactional_id: String,
    /// Its producer.
    pub producer_id: i64,
    /// State.
    pub state: TxnState,
    /// When its transaction began, milliseconds since the epoch; -1 if none has.
    pub start_timestamp: i64,
}

/// InitProducerId with a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitInput {
    /// The transactional id.
    pub transactional_id: String,
    /// `transaction.timeout.ms`
    pub timeout_ms: i32,
    /// What the producer has, if it goes on after an error (KIP-360).
    pub expected: Option<Producer>,
}

/// EndTxn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndInput {
    /// The transactional id.
    pub transactional_id: String,
    /// Who ends it.
    pub producer: Producer,
    /// Commit or abort.
    pub is_commit: bool,
    /// The client speaks transaction.version 2: the epoch is bumped.
    pub bumps_epoch: bool,
}

/// What a call may use, and what it leaves to its caller: first carry out what the journal caused, then call each answer,
/// in order, and have the markers written, holding no lock.
pub struct Io<'a> {
    /// The transaction topic.
    pub journal: &'a dyn Journal,
    /// The moment of the call.
    pub now: Now,
    /// A new producer id, where an earlier call said that one is needed.
    pub fresh_id: Option<i64>,
    /// Answers to parked requests.
    pub answers: Vec<Answer>,
    /// Markers to be written.
    pub orders: Vec<MarkerOrder>,
    /// When [`Transactions::tick`] has to be called at the latest, if the call made that earlier than it was.
    pub wake_at: Option<Millis>,
    /// Partitions with their leader epochs for which [`Transactions::load`] is to be called, off this thread.
    pub loads: Vec<(i32, i32)>,
}

impl<'a> Io<'a> {
    /// Nothing to carry out yet.
    pub fn new(journal: &'a dyn Journal, now: Now) -> Io<'a> {
        Io { journal, now, fresh_id: None, answers: Vec::new(), orders: Vec::new(), wake_at: None, loads: Vec::new() }
    }

    fn answer<T: Send + 'static>(&mut self, waiter: Waiter<T>, value: T) {
        self.answers.push(Box::new(move || waiter(value)));
    }

    fn wake(&mut self, at: Option<Millis>) {
        self.wake_at = self.wake_at.into_iter().chain(at).min();
    }

    fn means(&self) -> Means {
        Means { now_ms: self.now.wall.0, fresh_id: self.fresh_id }
    }
}

/// Takes the producer that is recorded, or the reason why none is.
pub type ProducerWaiter = Waiter<Result<Producer, TxnError>>;

/// All transactional ids this broker looks after.
pub struct Transactions {
    settings: Arc<Settings>,
    /// transaction.version in force: from 1 on records have version 1, which keeps what version 2 needs.
    version: Arc<AtomicI16>,
    shards: Shards<Shard>,
}

impl Transactions {
    /// No transaction yet.
    pub fn new(settings: Settings) -> Transactions {
        Transactions { settings: Arc::new(settings), version: Arc::default(), shards: Shards::default() }
    }

    /// transaction.version in force from now on.
    pub fn set_version(&self, version: i16) {
        self.version.store(version, Ordering::Relaxed);
    }

    /// transaction.version in force.
    pub fn version(&self) -> i16 {
        self.version.load(Ordering::Relaxed)
    }

    // ---- leadership of the partitions

    /// This broker leads a partition of the transaction topic from now on. True if [`Transactions::load`] is to be called.
    pub fn on_leader(&self, partition: i32, epoch: i32, io: &mut Io<'_>) -> bool {
        let now = io.now.mono;
        let shard = || Shard::new((partition, epoch), self.settings.clone(), self.version.clone(), now);
        self.shards.begin(partition, epoch, shard, |before| before.unload(io))
    }

    /// Reads the partition, and begins to serve its ids once all that was read is replicated: a decision that another leader
    /// may not know must not get markers. Transactions whose end was decided get theirs then. May take
    /// long; requests hear meanwhile that the coordinator is loading.
    pub fn load(&self, partition: i32, epoch: i32, io: &mut Io<'_>) {
        let loaded = load::read_all(io.journal, partition, self.settings.load_buffer_bytes);
        let Some(mut shard) = self.shards.lock(partition) else { return };
        if let Some(high_watermark) = shard.lead.on_read(epoch, loaded, "transactions", (io.journal, io.now)) {
            shard.begin_serving(high_watermark, io);
        }
        io.wake(shard.next_deadline());
    }

    /// This broker leads a partition of the transaction topic no longer; without epoch, the partition is deleted.
    pub fn on_resigned(&self, partition: i32, epoch: Option<i32>, io: &mut Io<'_>) {
        self.shards.end(partition, epoch, |shard| {
            debug!(partition, "transactions are unloaded");
            shard.unload(io);
        });
    }

    /// This broker stops: it looks after none any more.
    pub fn close(&self, io: &mut Io<'_>) {
        self.shards.partitions().into_iter().for_each(|partition| self.on_resigned(partition, None, io));
    }

    /// Everything below `offset` of a partition of the transaction topic is replicated.
    pub fn on_high_watermark(&self, partition: i32, offset: i64, io: &mut Io<'_>) {
        let Some(mut shard) = self.shards.lock(partition) else { return };
        shard.begin_serving(offset, io);
        shard.on_high_watermark(offset, io);
        io.wake(shard.next_deadline());
    }

    /// Partition of the transaction topic that an id belongs to: Java's hash of it, so that every broker agrees.
    pub fn partition_for(&self, transactional_id: &str, journal: &dyn Journal) -> i32 {
        let count = journal.partition_count().unwrap_or(self.settings.topic_partitions).max(1);
        partition_for(transactional_id, count)
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

    /// InitProducerId. Gives the waiter back if a producer id is needed: the call is to be repeated with one.
    pub fn init(&self, input: &InitInput, waiter: ProducerWaiter, io: &mut Io<'_>) -> Option<ProducerWaiter> {
        let InitInput { transactional_id: id, timeout_ms, expected } = input;
        let is_in_range = *timeout_ms > 0 && *timeout_ms <= self.settings.max_timeout_ms;
        let shard = match self.shard_of(id, io) {
            Err(error @ TxnError::InvalidId) => Err(error),
            _ if !is_in_range => Err(TxnError::InvalidTimeout),
            other => other,
        };
        self.decide((shard, id), waiter, io, |shard, io| {
            state::init(shard.settled(id)?, *expected, *timeout_ms, io.means())
        })
    }

    /// AddPartitionsToTxn and AddOffsetsToTxn.
    pub fn add(
        &self,
        (id, producer): (&str, Producer),
        places: BTreeSet<Place>,
        waiter: Waiter<Result<(), TxnError>>,
        io: &mut Io<'_>,
    ) {
        let shard = self.shard_of(id, io);
        let waiter: ProducerWaiter = Box::new(move |result| waiter(result.map(|_| ())));
        self.decide((shard, id), waiter, io, |shard, io| {
            let value = known(shard, id)?;
            value.check_producer(producer)?;
            shard.settled(id)?;
            value.add(producer, places, io.now.wall.0)
        });
    }

    /// AddPartitionsToTxn that is only to verify (KIP-890): those partitions that are not in the transaction.
    pub fn verify(
        &self,
        id: &str,
        producer: Producer,
        places: &BTreeSet<Place>,
        io: &Io<'_>,
    ) -> Result<BTreeSet<Place>, TxnError> {
        let shard = self.shard_of(id, io)?;
        let value = known(&shard, id)?;
        value.check_producer(producer)?;
        if value.state.prepared().is_some() {
            return Err(TxnError::Concurrent);
        }
        Ok(places.difference(&value.places).cloned().collect())
    }

    /// EndTxn. The waiter hears the producer that the next transaction has. Gives the waiter back if a producer id is
    /// needed: the call is to be repeated with one.
    pub fn end(&self, input: &EndInput, waiter: ProducerWaiter, io: &mut Io<'_>) -> Option<ProducerWaiter> {
        let EndInput { transactional_id: id, producer, is_commit, bumps_epoch } = input;
        let shard = self.shard_of(id, io);
        self.decide((shard, id), waiter, io, |shard, io| {
            let value = known(shard, id)?;
            let decision = if *bumps_epoch {
                value.end_and_bump(*producer, *is_commit, io.means())
            } else {
                value.end(*producer, *is_commit, io.now.wall.0)
            };
            // Who is not the current producer hears so, whatever else is going on.
            if let Err(error @ (TxnError::InvalidProducerIdMapping | TxnError::ProducerFenced)) = decision {
                return Err(error);
            }
            shard.settled(id)?;
            decision
        })
    }

    /// What became of the markers of an order.
    pub fn on_markers(&self, order: &MarkerOrder, outcomes: &BTreeMap<Place, Written>, io: &mut Io<'_>) {
        let Some(mut shard) = self.shards.lock(order.partition) else { return };
        if shard.lead.stage == Stage::Serving && shard.lead.epoch == order.coordinator_epoch {
            shard.on_markers(order, outcomes, io);
            io.wake(shard.next_deadline());
        }
    }

    /// DescribeTransactions, one id.
    pub fn describe(&self, id: &str, io: &Io<'_>) -> Result<TxnValue, TxnError> {
        let shard = self.shard_of(id, io)?;
        let entry = shard.entries.get(id).ok_or(TxnError::NotFound)?;
        let value = entry.value.clone().ok_or(TxnError::NotFound)?;
        Ok(match &entry.completing {
            Some(completing) => TxnValue { places: completing.left(), ..value },
            None => value,
        })
    }

    /// ListTransactions: all, or `Loading` if some are not known yet.
    pub fn list(&self) -> Result<Vec<Listed>, TxnError> {
        let mut listed = Vec::new();
        for shard in self.shards.all() {
            let shard = shard.lock();
            if matches!(shard.lead.stage, Stage::Loading | Stage::Failed { .. }) {
                return Err(TxnError::Loading);
            }
            let known = shard.entries.iter().filter_map(|(id, entry)| Some((id, entry.value.as_ref()?)));
            listed.extend(known.map(|(id, value)| Listed {
                transactional_id: id.clone(),
                producer_id: value.producer_id,
                state: value.state,
                start_timestamp: value.start_timestamp,
            }));
        }
        Ok(listed)
    }

    fn decide(
        &self,
        (shard, id): (Result<LockedShard<Shard>, TxnError>, &str),
        waiter: ProducerWaiter,
        io: &mut Io<'_>,
        decide: impl FnOnce(&Shard, &Io<'_>) -> Result<Decision, TxnError>,
    ) -> Option<ProducerWaiter> {
        let mut shard = match shard {
            Ok(shard) => shard,
            Err(error) => {
                io.answer(waiter, Err(error));
                return None;
            }
        };
        match decide(&shard, io) {
            Ok(Decision::NeedsProducerId) => return Some(waiter),
            Ok(decision) => shard.carry(id, decision, waiter, io),
            Err(error) => io.answer(waiter, Err(error)),
        }
        io.wake(shard.next_deadline());
        None
    }

    /// The shard of an id, locked.
    fn shard_of(&self, id: &str, io: &Io<'_>) -> Result<LockedShard<Shard>, TxnError> {
        if id.is_empty() {
            return Err(TxnError::InvalidId);
        }
        let partition = self.partition_for(id, io.journal);
        let shard = self.shards.lock(partition).ok_or(TxnError::NotCoordinator)?;
        match shard.lead.stage {
            Stage::Serving => Ok(shard),
            Stage::Loading => Err(TxnError::Loading),
            Stage::Failed { .. } | Stage::Over => Err(TxnError::NotCoordinator),
        }
    }
}

/// What is recorded of an id.
fn known<'a>(shard: &'a Shard, id: &str) -> Result<&'a TxnValue, TxnError> {
    let entry = shard.entries.get(id).ok_or(TxnError::InvalidProducerIdMapping)?;
    // Its first record is on its way, so that no producer can have learnt of it.
    entry.value.as_ref().ok_or(TxnError::InvalidProducerIdMapping)
}
