//! The share partitions of one partition of `__share_group_state`, behind one lock: decides on requests, appends what was
//! decided, and answers once it is replicated. What is appended holds at once for who asks next, whose answer waits for it,
//! too; so many writes of one leader can be on their way. Reads no log; `load.rs` does.

use super::{Io, Settings, ShareStateError, StateReply, StateRequest, StateResult, StateWrite};
use crate::journal::{Appended, Lead, Stage, StoreError, Unreplicated, Waiter};
use crate::share::batches::combine;
use crate::share::records::{ShareRecord, ShareValue, Snapshot, Update};
use crate::share::{NO_COUNT, NO_START_OFFSET, ShareKey};
use common::kafka::batch::{self, BatchSpec, Record};
use common::time::{Millis, Now};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tracing::{debug, info, warn};
use uuid::Uuid;

/// An epoch that is not looked at.
const ANY_EPOCH: i32 = -1;
/// Records in one batch of those that nobody asked for: far below the smallest sensible `max.message.bytes`.
const RECORDS_PER_BATCH: usize = 100;

/// One share partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// What its records say together.
    pub value: Snapshot,
    /// The highest leader epoch and state epoch that its records ever named: a state that begins anew names none.
    leader_fence: i32,
    state_fence: i32,
    /// Updates behind the last snapshot.
    updates: u32,
    /// Where the last snapshot stands.
    snapshot_at: i64,
    /// Where the last one stands that every leader to come will have, or the first of all.
    kept_at: i64,
}

/// What records say, applied one by one, live and on load.
#[derive(Debug, Default)]
pub(super) struct States {
    by_key: BTreeMap<ShareKey, Entry>,
    /// Those whose end may not be replicated: their `kept_at`, and where the end stands.
    gone: BTreeMap<ShareKey, (i64, i64)>,
}

impl States {
    /// A record at `offset` counts from now on.
    pub(super) fn apply(&mut self, key: ShareKey, value: ShareValue, offset: i64) {
        match value {
            ShareValue::Gone => {
                if let Some(entry) = self.by_key.remove(&key) {
                    self.gone.insert(key, (entry.kept_at, offset));
                }
            }
            ShareValue::Snapshot(value) => {
                let kept_at = self.kept_before(&key).unwrap_or(offset);
                let before = self.by_key.get(&key);
                let (leader, state) = before.map_or((0, 0), |entry| (entry.leader_fence, entry.state_fence));
                let entry = Entry {
                    leader_fence: leader.max(value.leader_epoch),
                    state_fence: state.max(value.state_epoch),
                    updates: 0,
                    snapshot_at: offset,
                    kept_at,
                    value,
                };
                self.by_key.insert(key, entry);
            }
            ShareValue::Update(update) => self.apply_update(key, update, offset),
        }
    }

    /// From where on the records of a key are needed; it lives from now on.
    fn kept_before(&mut self, key: &ShareKey) -> Option<i64> {
        let of_the_gone = self.gone.remove(key).map(|(kept_at, _)| kept_at);
        self.by_key.get(key).map(|entry| entry.kept_at).or(of_the_gone)
    }

    /// From where on records are needed; `None` if nothing is. `replicated`: every leader to come has what is before.
    fn needed_from(&mut self, replicated: i64) -> Option<i64> {
        for entry in self.by_key.values_mut().filter(|entry| entry.snapshot_at < replicated) {
            entry.kept_at = entry.snapshot_at;
        }
        self.gone.retain(|_, (_, gone_at)| *gone_at >= replicated);
        let living = self.by_key.values().map(|entry| entry.kept_at);
        living.chain(self.gone.values().map(|(kept_at, _)| *kept_at)).min()
    }

    fn apply_update(&mut self, key: ShareKey, update: Update, offset: i64) {
        let kept_at = self.kept_before(&key).unwrap_or(offset);
        let entry = self.by_key.entry(key).or_insert_with(|| Entry {
            // Its snapshot is not there, which cannot be; what is known is better than nothing.
            value: Snapshot {
                snapshot_epoch: update.snapshot_epoch,
                state_epoch: 0,
                leader_epoch: update.leader_epoch,
                start_offset: NO_START_OFFSET,
                delivery_complete_count: NO_COUNT,
                created: 0,
                written: 0,
                batches: Vec::new(),
            },
            leader_fence: 0,
            state_fence: 0,
            updates: 0,
            snapshot_at: offset,
            kept_at,
        });
        let value = &mut entry.value;
        // A write that was sent again may come late.
        value.start_offset = value.start_offset.max(update.start_offset);
        if update.leader_epoch != ANY_EPOCH {
            value.leader_epoch = update.leader_epoch;
        }
        value.delivery_complete_count = update.delivery_complete_count;
        value.batches = combine(&value.batches, &update.batches, value.start_offset);
        entry.leader_fence = entry.leader_fence.max(update.leader_epoch);
        entry.updates += 1;
    }
}

/// A request whose answer waits until everything before `end` is replicated.
struct Pending {
    end: i64,
    reply: StateReply,
    /// Who waits for it; taken when it was answered because of the timeout.
    then: Option<Waiter<StateResult>>,
    /// When `then` hears that it took too long.
    deadline: Millis,
}

impl Appended for Pending {
    fn offset(&self) -> i64 {
        self.end - 1
    }

    fn deadline(&self) -> Option<Millis> {
        self.then.as_ref().map(|_| self.deadline)
    }
}

/// See the top of the file.
pub(super) struct Shard {
    pub lead: Lead<States>,
    pub states: States,
    pending: Unreplicated<Pending>,
    /// What was appended ends here; -1 if nothing was.
    end: i64,
    /// Up to where records were deleted.
    pruned_to: i64,
    next_prune: Millis,
    next_cold_check: Millis,
    /// Topics that were not there when they were looked for.
    missing: BTreeSet<Uuid>,
    settings: Arc<Settings>,
}

impl Shard {
    pub(super) fn new((partition, epoch): (i32, i32), settings: Arc<Settings>, now: Millis) -> Shard {
        Shard {
            lead: Lead::new(partition, epoch),
            states: States::default(),
            pending: Unreplicated::default(),
            end: -1,
            pruned_to: 0,
            next_prune: now + settings.prune_interval_ms,
            next_cold_check: now + settings.cold_snapshot_interval_ms,
            missing: BTreeSet::new(),
            settings,
        }
    }

    /// If all that was read is replicated, it is served.
    pub(super) fn begin_serving(&mut self, high_watermark: i64) {
        let Some(states) = self.lead.serve(high_watermark) else { return };
        let (partition, epoch) = (self.lead.partition, self.lead.epoch);
        match states.by_key.len() {
            0 => debug!(partition, epoch, "there are no share states to load"),
            share_partitions => info!(partition, epoch, share_partitions, "share states are loaded"),
        }
        self.states = states;
    }

    pub(super) fn handle(
        &mut self,
        key: ShareKey,
        request: StateRequest,
        waiter: Waiter<StateResult>,
        io: &mut Io<'_>,
    ) {
        let (value, reply) = match self.decide(&key, request, io) {
            Ok(decision) => decision,
            Err(error) => return io.answer(waiter, Err(error)),
        };
        if let Some(value) = value
            && let Err(error) = self.append(vec![ShareRecord { key, value }], io)
        {
            return io.answer(waiter, Err(error.into()));
        }
        if self.pending.is_empty() && io.journal.high_watermark(self.lead.partition).is_some_and(|at| at >= self.end) {
            return io.answer(waiter, Ok(reply));
        }
        let deadline = io.now.mono + self.settings.write_timeout_ms;
        self.pending.push(Pending { end: self.end, reply, then: Some(waiter), deadline });
    }

    /// What is to be recorded, if anything, and what is answered when it is.
    fn decide(
        &self,
        key: &ShareKey,
        request: StateRequest,
        io: &Io<'_>,
    ) -> Result<(Option<ShareValue>, StateReply), ShareStateError> {
        let entry = self.states.by_key.get(key);
        let now_ms = io.now.wall.0;
        match request {
            StateRequest::Initialize { state_epoch, start_offset } => {
                if state_epoch != ANY_EPOCH && entry.is_some_and(|entry| entry.state_fence > state_epoch) {
                    return Err(ShareStateError::FencedStateEpoch);
                }
                exists(key, io)?;
                // Asked once more: what was done since must not be forgotten.
                let is_done = |entry: &Entry| entry.value.state_epoch == state_epoch;
                if start_offset == NO_START_OFFSET && entry.is_some_and(is_done) {
                    return Ok((None, StateReply::default()));
                }
                let snapshot = Snapshot {
                    snapshot_epoch: entry.map_or(0, |entry| entry.value.snapshot_epoch.saturating_add(1)),
                    state_epoch,
                    leader_epoch: 0,
                    start_offset,
                    delivery_complete_count: if start_offset == NO_START_OFFSET { NO_COUNT } else { 0 },
                    created: now_ms,
                    written: now_ms,
                    batches: Vec::new(),
                };
                Ok((Some(ShareValue::Snapshot(snapshot)), StateReply::default()))
            }
            StateRequest::Read { leader_epoch } => {
                let entry = entry.ok_or(ShareStateError::ReadUninitialized)?;
                entry.admits_leader(leader_epoch)?;
                exists(key, io)?;
                let reply = StateReply::from(&entry.value);
                if leader_epoch == ANY_EPOCH || entry.leader_fence == leader_epoch {
                    return Ok((None, reply));
                }
                let taken = StateWrite {
                    start_offset: reply.start_offset,
                    delivery_complete_count: reply.delivery_complete_count,
                    ..StateWrite::default()
                };
                Ok((Some(self.change(entry, taken, leader_epoch, now_ms)), reply))
            }
            StateRequest::Write(write) => {
                let entry = entry.ok_or(ShareStateError::WriteUninitialized)?;
                entry.admits_leader(write.leader_epoch)?;
                if write.state_epoch != ANY_EPOCH && entry.state_fence > write.state_epoch {
                    return Err(ShareStateError::FencedStateEpoch);
                }
                exists(key, io)?;
                let leader_epoch = entry.value.leader_epoch;
                Ok((Some(self.change(entry, write, leader_epoch, now_ms)), StateReply::default()))
            }
            StateRequest::Delete => {
                exists(key, io)?;
                Ok((entry.map(|_| ShareValue::Gone), StateReply::default()))
            }
            StateRequest::Summarize => {
                exists(key, io)?;
                let reply = entry.map(|entry| StateReply { batches: Vec::new(), ..StateReply::from(&entry.value) });
                Ok((None, reply.unwrap_or_default()))
            }
        }
    }

    /// An update, or a snapshot if there were enough of them.
    fn change(&self, entry: &Entry, write: StateWrite, leader_epoch: i32, now_ms: i64) -> ShareValue {
        let value = &entry.value;
        let StateWrite { start_offset, delivery_complete_count, batches, .. } = write;
        if entry.updates < self.settings.updates_per_snapshot {
            let batches = combine(&[], &batches, start_offset);
            let snapshot_epoch = value.snapshot_epoch;
            return ShareValue::Update(Update {
                snapshot_epoch,
                leader_epoch,
                start_offset,
                delivery_complete_count,
                batches,
            });
        }
        let start_offset = value.start_offset.max(start_offset);
        ShareValue::Snapshot(Snapshot {
            snapshot_epoch: value.snapshot_epoch.saturating_add(1),
            state_epoch: value.state_epoch,
            leader_epoch,
            start_offset,
            delivery_complete_count,
            created: now_ms,
            written: now_ms,
            batches: combine(&value.batches, &batches, start_offset),
        })
    }

    fn append(&mut self, records: Vec<ShareRecord>, io: &Io<'_>) -> Result<(), StoreError> {
        let offset = io.journal.append(self.lead.partition, encode(&records, io.now)?, io.now)?;
        self.end = offset + 1;
        let first = offset + 1 - i64::try_from(records.len()).unwrap_or(0);
        for (offset, ShareRecord { key, value }) in (first..).zip(records) {
            self.states.apply(key, value, offset);
        }
        Ok(())
    }

    /// Everything below `high_watermark` is replicated: who waits for it is answered.
    pub(super) fn on_high_watermark(&mut self, high_watermark: i64, io: &mut Io<'_>) {
        while let Some(Pending { reply, then, .. }) = self.pending.pop_replicated(high_watermark) {
            if let Some(then) = then {
                io.answer(then, Ok(reply));
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
        waiting.into_iter().chain([self.next_prune, self.next_cold_check]).min()
    }

    pub(super) fn tick(&mut self, io: &mut Io<'_>) {
        let now = io.now.mono;
        if !self.lead.tick(now, &mut io.loads) {
            return;
        }
        while let Some(late) = self.pending.pop_late(now) {
            if let Some(then) = late.then.take() {
                io.answer(then, Err(StoreError::TimedOut.into()));
            }
        }
        if self.next_cold_check <= now {
            self.next_cold_check = now + self.settings.cold_snapshot_interval_ms;
            self.refresh(io);
        }
        if self.next_prune <= now {
            self.next_prune = now + self.settings.prune_interval_ms;
            self.prune(io);
        }
    }

    /// Says once more what was not said for long, so that what stands before can be deleted; and forgets topics that are gone,
    /// for which nobody asks any more.
    fn refresh(&mut self, io: &Io<'_>) {
        let mut missing = BTreeSet::new();
        let mut records = Vec::new();
        let interval_ms = i64::try_from(self.settings.cold_snapshot_interval_ms).unwrap_or(i64::MAX);
        let cold_before = io.now.wall.0.saturating_sub(interval_ms);
        for (key, entry) in &self.states.by_key {
            if io.topics.name(key.topic_id).is_none() {
                missing.insert(key.topic_id);
                // News of topics may be late: only what is missing for so long is gone.
                if self.missing.contains(&key.topic_id) {
                    records.push(ShareRecord { key: key.clone(), value: ShareValue::Gone });
                }
                continue;
            }
            if entry.value.written <= cold_before {
                let snapshot_epoch = entry.value.snapshot_epoch.saturating_add(1);
                let snapshot = Snapshot { snapshot_epoch, written: io.now.wall.0, ..entry.value.clone() };
                records.push(ShareRecord { key: key.clone(), value: ShareValue::Snapshot(snapshot) });
            }
        }
        self.missing = missing;
        for chunk in records.chunks(RECORDS_PER_BATCH) {
            if let Err(error) = self.append(chunk.to_vec(), io) {
                warn!(partition = self.lead.partition, %error, "share states cannot be written anew");
                return;
            }
        }
    }

    /// What stands before the snapshot of every share partition, or before its end, says nothing any more if that is
    /// replicated: another leader may not have it otherwise, and needs the one before.
    fn prune(&mut self, io: &mut Io<'_>) {
        let replicated = io.journal.high_watermark(self.lead.partition).unwrap_or(0);
        let Some(needed) = self.states.needed_from(replicated) else { return };
        let up_to = needed.min(replicated);
        if up_to > self.pruned_to {
            self.pruned_to = up_to;
            io.prunes.push((self.lead.partition, up_to));
        }
    }

    /// This broker leads the partition no longer: everyone who waits is sent away.
    pub(super) fn unload(&mut self, io: &mut Io<'_>) {
        self.lead.end();
        for pending in self.pending.take() {
            if let Some(then) = pending.then {
                io.answer(then, Err(ShareStateError::NotCoordinator));
            }
        }
        self.states = States::default();
    }
}

impl Entry {
    fn admits_leader(&self, leader_epoch: i32) -> Result<(), ShareStateError> {
        match leader_epoch != ANY_EPOCH && self.leader_fence > leader_epoch {
            true => Err(ShareStateError::FencedLeaderEpoch),
            false => Ok(()),
        }
    }
}

fn exists(key: &ShareKey, io: &Io<'_>) -> Result<(), ShareStateError> {
    let shape = io.topics.name(key.topic_id).and_then(|name| io.topics.topic(&name));
    let is_there = shape.is_some_and(|topic| topic.id == key.topic_id && key.partition < topic.partitions);
    if is_there { Ok(()) } else { Err(ShareStateError::UnknownPartition) }
}

fn encode(records: &[ShareRecord], now: Now) -> Result<bytes::Bytes, StoreError> {
    let timestamp = now.wall.0;
    let mut encoded = Vec::with_capacity(records.len());
    for (offset, record) in (0..).zip(records) {
        let (key, value) = record.encode().map_err(|_| StoreError::TooLarge)?;
        encoded.push(Record { offset, timestamp, key: Some(key), value, headers: Vec::new() });
    }
    batch::build(&BatchSpec::default(), &encoded).map_err(|_| StoreError::TooLarge)
}
