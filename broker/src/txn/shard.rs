//! The transactional ids of one partition of `__transaction_state`, behind one lock: appends what was decided, applies it
//! once it is replicated, has markers written and times out what was forgotten. Reads no log; `load.rs` does.

use super::records::{NO_EPOCH, NO_PRODUCER_ID, Place, TxnRecord, TxnState, TxnValue};
use super::state::{Decision, Producer};
use super::{Io, MarkerOrder, Settings, TxnError, Written};
use crate::journal::{Appended, Lead, Stage, StoreError, Unreplicated, Waiter};
use common::kafka::batch::{self, BatchSpec, Record};
use common::mutants;
use common::time::Millis;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI16, Ordering};
use tracing::{debug, info, warn};

/// Pause before a marker, or the record that all are written, is tried again; as Kafka's `retry.backoff.ms` between brokers.
const RETRY_MS: u64 = 100;
/// Tombstones in one batch: far below the smallest sensible `max.message.bytes`, however long the ids.
const TOMBSTONES_PER_BATCH: usize = 500;

/// One transactional id.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// What is recorded and replicated; `None` as long as its first record is on its way.
    pub value: Option<TxnValue>,
    /// A record is on its way: nothing else is decided meanwhile.
    pub is_pending: bool,
    /// Markers to be written, in state PrepareCommit and PrepareAbort.
    pub completing: Option<Completing>,
}

/// Partitions that have no marker yet.
#[derive(Debug, Default)]
pub(super) struct Completing {
    /// Asked for, not answered.
    asked: BTreeSet<Place>,
    /// To be asked for again.
    failed: BTreeSet<Place>,
}

impl Completing {
    pub(super) fn left(&self) -> BTreeSet<Place> {
        self.asked.union(&self.failed).cloned().collect()
    }
}

/// A batch that is not known to be replicated.
struct Pending {
    /// Offset of its last record.
    offset: i64,
    records: Vec<TxnRecord>,
    /// Who waits for it; taken when it was answered because of the timeout.
    then: Option<Waiter<Result<(), StoreError>>>,
    /// When `then` hears that it took too long.
    deadline: Millis,
}

impl Appended for Pending {
    fn offset(&self) -> i64 {
        self.offset
    }

    fn deadline(&self) -> Option<Millis> {
        self.then.as_ref().map(|_| self.deadline)
    }
}

/// See the top of the file.
pub(super) struct Shard {
    /// Its leader epoch is the coordinator epoch of markers.
    pub lead: Lead<BTreeMap<String, TxnValue>>,
    pub entries: BTreeMap<String, Entry>,
    pending: Unreplicated<Pending>,
    retries: BTreeSet<(Millis, String)>,
    next_abort_check: Millis,
    next_expiry_check: Millis,
    settings: Arc<Settings>,
    /// transaction.version in force.
    version: Arc<AtomicI16>,
}

impl Shard {
    pub(super) fn new(
        (partition, epoch): (i32, i32),
        settings: Arc<Settings>,
        version: Arc<AtomicI16>,
        now: Millis,
    ) -> Shard {
        Shard {
            lead: Lead::new(partition, epoch),
            entries: BTreeMap::new(),
            pending: Unreplicated::default(),
            retries: BTreeSet::new(),
            next_abort_check: now + settings.abort_check_interval_ms,
            next_expiry_check: now + settings.expiry_check_interval_ms,
            settings,
            version,
        }
    }

    /// If all that was read is replicated, what was decided before is brought to its end.
    pub(super) fn begin_serving(&mut self, high_watermark: i64, io: &mut Io<'_>) {
        let Some(values) = self.lead.serve(high_watermark) else { return };
        let (partition, epoch) = (self.lead.partition, self.lead.epoch);
        match values.len() {
            0 => debug!(partition, epoch, "there are no transactional ids to load"),
            transactional_ids => info!(partition, epoch, transactional_ids, "transactions are loaded"),
        }
        for (id, value) in values {
            let is_prepared = value.state.prepared().is_some();
            self.entries.insert(id.clone(), Entry { value: Some(value), ..Entry::default() });
            if is_prepared {
                self.begin_completing(&id, io);
            }
        }
    }

    /// What is known of an id; an error if something is being decided.
    pub(super) fn settled(&self, id: &str) -> Result<Option<&TxnValue>, TxnError> {
        match self.entries.get(id) {
            None => Ok(None),
            Some(entry) if entry.is_pending => Err(TxnError::Concurrent),
            Some(entry) => Ok(entry.value.as_ref()),
        }
    }

    /// Records a value; `then` hears when it is replicated.
    pub(super) fn record(&mut self, id: &str, value: TxnValue, then: Waiter<Result<(), StoreError>>, io: &mut Io<'_>) {
        let records = vec![TxnRecord { transactional_id: id.to_owned(), value: Some(value) }];
        match self.append(records, io) {
            Ok(pending) if mutants::is_on("decided-before-replicated") => {
                pending.records.into_iter().for_each(|record| self.apply(record, io));
                io.answer(then, Ok(()));
            }
            Ok(pending) => {
                self.entries.entry(id.to_owned()).or_default().is_pending = true;
                self.pending.push(Pending { then: Some(then), ..pending });
            }
            Err(error) => io.answer(then, Err(error)),
        }
    }

    fn append(&self, records: Vec<TxnRecord>, io: &Io<'_>) -> Result<Pending, StoreError> {
        let timestamp = io.now.wall.0;
        let mut encoded = Vec::with_capacity(records.len());
        for (offset, record) in (0..).zip(&records) {
            let is_flexible = self.version.load(Ordering::Relaxed) >= 1;
            let (key, value) = record.encode(is_flexible).map_err(|_| StoreError::TooLarge)?;
            encoded.push(Record { offset, timestamp, key: Some(key), value, headers: Vec::new() });
        }
        let batch = batch::build(&BatchSpec::default(), &encoded).map_err(|_| StoreError::TooLarge)?;
        let offset = io.journal.append(self.lead.partition, batch, io.now)?;
        Ok(Pending { offset, records, then: None, deadline: io.now.mono + self.settings.append_timeout_ms })
    }

    /// Everything below `high_watermark` is replicated: it becomes true, and who waits for it is answered.
    pub(super) fn on_high_watermark(&mut self, high_watermark: i64, io: &mut Io<'_>) {
        while let Some(Pending { records, then, .. }) = self.pending.pop_replicated(high_watermark) {
            for record in records {
                self.apply(record, io);
            }
            if let Some(then) = then {
                io.answer(then, Ok(()));
            }
        }
    }

    fn apply(&mut self, TxnRecord { transactional_id: id, value }: TxnRecord, io: &mut Io<'_>) {
        let Some(value) = value else {
            info!(transactional_id = id, "transactional id is removed");
            self.entries.remove(&id);
            return;
        };
        debug!(transactional_id = id, state = value.state.name(), epoch = value.producer_epoch, "transaction");
        let is_prepared = value.state.prepared().is_some();
        let entry = self.entries.entry(id.clone()).or_default();
        entry.is_pending = false;
        entry.completing = None;
        entry.value = Some(value);
        if is_prepared {
            self.begin_completing(&id, io);
        }
    }

    // ---- markers

    fn begin_completing(&mut self, id: &str, io: &mut Io<'_>) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let Some(value) = &entry.value else { return };
        let mut failed = value.places.clone();
        while failed.len() > 1 && mutants::is_on("marker-in-one-partition") {
            failed.pop_last();
        }
        entry.completing = Some(Completing { asked: BTreeSet::new(), failed });
        self.ask_for_markers(id, io);
    }

    /// Has the markers written that are missing; without any, the transaction is complete.
    fn ask_for_markers(&mut self, id: &str, io: &mut Io<'_>) {
        let (partition, coordinator_epoch) = (self.lead.partition, self.lead.epoch);
        let Some(entry) = self.entries.get_mut(id) else { return };
        let (Some(value), Some(completing)) = (&entry.value, &mut entry.completing) else { return };
        let Some(is_commit) = value.state.prepared() else { return };
        if completing.asked.is_empty() && completing.failed.is_empty() {
            return self.complete(id, io);
        }
        if completing.failed.is_empty() {
            return;
        }
        let places = std::mem::take(&mut completing.failed);
        completing.asked.extend(places.iter().cloned());
        io.orders.push(MarkerOrder {
            partition,
            coordinator_epoch,
            transactional_id: id.to_owned(),
            producer_id: value.producer_id,
            producer_epoch: value.producer_epoch,
            is_commit,
            transaction_version: i8::try_from(value.client_version).unwrap_or(0),
            places,
        });
    }

    fn retry(&mut self, id: &str, at: Millis, io: &mut Io<'_>) {
        self.retries.insert((at, id.to_owned()));
        io.wake(Some(at));
    }

    /// What became of the markers of an order.
    pub(super) fn on_markers(&mut self, order: &MarkerOrder, outcomes: &BTreeMap<Place, Written>, io: &mut Io<'_>) {
        let id = &order.transactional_id;
        let Some(entry) = self.entries.get_mut(id) else { return };
        let (Some(value), Some(completing)) = (&entry.value, &mut entry.completing) else { return };
        if (value.producer_id, value.producer_epoch) != (order.producer_id, order.producer_epoch) {
            return;
        }
        for place in &order.places {
            completing.asked.remove(place);
            match outcomes.get(place).copied().unwrap_or(Written::NotYet) {
                Written::Yes => {}
                Written::NotYet => {
                    completing.failed.insert(place.clone());
                }
                Written::Fenced => {
                    warn!(transactional_id = id, ?place, "a marker is refused: another coordinator writes them");
                    entry.completing = None;
                    return;
                }
            }
        }
        if !completing.failed.is_empty() {
            self.retry(id, io.now.mono + RETRY_MS, io);
        } else if completing.asked.is_empty() {
            self.complete(&id.clone(), io);
        }
    }

    /// Records that all markers are written.
    fn complete(&mut self, id: &str, io: &mut Io<'_>) {
        let Some(entry) = self.entries.get(id) else { return };
        let Some(value) = &entry.value else { return };
        if entry.is_pending || value.state.prepared().is_none() {
            return;
        }
        let records = vec![TxnRecord { transactional_id: id.to_owned(), value: Some(value.complete(io.now.wall.0)) }];
        match self.append(records, io) {
            Ok(pending) => {
                if let Some(entry) = self.entries.get_mut(id) {
                    entry.is_pending = true;
                }
                self.pending.push(pending);
            }
            Err(StoreError::NotLeader | StoreError::Storage) => {}
            Err(error) => {
                debug!(transactional_id = id, %error, "the end of a transaction cannot be recorded yet");
                self.retry(id, io.now.mono + RETRY_MS, io);
            }
        }
    }

    // ---- time

    /// When [`Shard::tick`] has something to do at the earliest.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        if self.lead.stage != Stage::Serving {
            return self.lead.retry_at();
        }
        let waiting = self.pending.next_deadline();
        let retry = self.retries.first().map(|(at, _)| *at);
        waiting.into_iter().chain(retry).chain([self.next_abort_check, self.next_expiry_check]).min()
    }

    pub(super) fn tick(&mut self, io: &mut Io<'_>) {
        let now = io.now.mono;
        if !self.lead.tick(now, &mut io.loads) {
            return;
        }
        while self.retries.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, id)) = self.retries.pop_first() else { break };
            let completing = self.entries.get(&id).and_then(|entry| entry.completing.as_ref());
            match completing {
                Some(completing) if completing.left().is_empty() => self.complete(&id, io),
                Some(_) => self.ask_for_markers(&id, io),
                None => {}
            }
        }
        while let Some(late) = self.pending.pop_late(now) {
            if let Some(then) = late.then.take() {
                io.answer(then, Err(StoreError::TimedOut));
            }
        }
        if self.next_abort_check <= now {
            self.next_abort_check = now + self.settings.abort_check_interval_ms;
            self.abort_timed_out(io);
        }
        if self.next_expiry_check <= now {
            self.next_expiry_check = now + self.settings.expiry_check_interval_ms;
            self.expire(io);
        }
    }

    fn abort_timed_out(&mut self, io: &mut Io<'_>) {
        let now_ms = io.now.wall.0;
        let mut fenced = Vec::new();
        for (id, entry) in &self.entries {
            if let Some(value) = &entry.value
                && !entry.is_pending
                && value.state == TxnState::Ongoing
                && value.start_timestamp.saturating_add(i64::from(value.timeout_ms)) < now_ms
            {
                fenced.push((id.clone(), value.fence(now_ms)));
            }
        }
        for (id, value) in fenced {
            info!(transactional_id = id, producer_id = value.producer_id, "transaction timed out, aborting it");
            self.record(&id, value, Box::new(|_| {}), io);
        }
    }

    /// Forgets ids that nobody used for `transactional.id.expiration.ms`.
    fn expire(&mut self, io: &mut Io<'_>) {
        let limit = io.now.wall.0.saturating_sub(self.settings.expiration_ms);
        let is_expired = |entry: &Entry| {
            let is_old = |value: &TxnValue| value.state.is_settled() && value.last_update_timestamp <= limit;
            !entry.is_pending && entry.value.as_ref().is_some_and(is_old)
        };
        let expired: Vec<String> =
            self.entries.iter().filter(|(_, entry)| is_expired(entry)).map(|(id, _)| id.clone()).collect();
        for ids in expired.chunks(TOMBSTONES_PER_BATCH) {
            let tombstone = |id: &String| TxnRecord { transactional_id: id.clone(), value: None };
            match self.append(ids.iter().map(tombstone).collect(), io) {
                Ok(pending) => {
                    for id in ids {
                        self.entries.entry(id.clone()).or_default().is_pending = true;
                    }
                    self.pending.push(pending);
                }
                Err(error) => {
                    warn!(%error, count = ids.len(), "expired transactional ids cannot be removed");
                    return;
                }
            }
        }
    }

    /// This broker leads the partition no longer: everyone who waits is sent away.
    pub(super) fn unload(&mut self, io: &mut Io<'_>) {
        self.lead.end();
        for pending in self.pending.take() {
            if let Some(then) = pending.then {
                io.answer(then, Err(StoreError::NotLeader));
            }
        }
        self.entries.clear();
        self.retries.clear();
    }

    /// Records what was decided on an id; `done` hears the producer that is recorded, or why there is none.
    pub(super) fn carry(
        &mut self,
        id: &str,
        decision: Decision,
        done: Waiter<Result<Producer, TxnError>>,
        io: &mut Io<'_>,
    ) {
        let (value, outcome) = match decision {
            Decision::Record(value) => {
                let producer = (value.producer_id, value.producer_epoch);
                (value, Ok(producer))
            }
            Decision::AbortFirst(value) => (value, Err(TxnError::Concurrent)),
            Decision::Done => {
                let value = self.entries.get(id).and_then(|entry| entry.value.as_ref());
                let producer =
                    value.map_or((NO_PRODUCER_ID, NO_EPOCH), |value| (value.producer_id, value.producer_epoch));
                return io.answer(done, Ok(producer));
            }
            Decision::NeedsProducerId => return io.answer(done, Err(TxnError::NoProducerIds)),
        };
        let then: Waiter<Result<(), StoreError>> = Box::new(move |stored| match stored {
            Ok(()) => done(outcome),
            Err(error) => done(Err(error.into())),
        });
        self.record(id, value, then, io);
    }
}
