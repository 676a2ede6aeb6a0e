//! The groups of one partition of `__consumer_offsets`, behind one lock: routes an input to its group, keeps their
//! timers, and applies records once they are replicated. Reads no log; `load.rs` does.

use super::classic::ClassicGroup;
use super::consumer_records::ConsumerRecord;
use super::entry::{Group, Kind};
use super::load::Loaded;
use super::offsets::Place;
use super::records::{GroupRecord, OffsetKey, OffsetValue};
use super::share_records::ShareRecord;
use super::turn::{GroupSettings, Pending, StoreError, Then, Turn, Waiter, batch_of};
use super::{CommitInput, CommitResult, GroupError, Io};
use crate::journal::{Lead, Stage, Unreplicated};
use common::Rng;
use common::kafka::batch::BatchSpec;
use common::kafka::control::{self, TxnMarker};
use common::time::{Millis, Now};
use std::collections::{BTreeMap, BTreeSet};
use tracing::{info, warn};

/// Tombstones in one batch: far below the smallest sensible `max.message.bytes`, however long the names.
const TOMBSTONES_PER_BATCH: usize = 500;

/// Offsets of one group that are to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Removal<'a> {
    pub group_id: &'a str,
    pub places: &'a [Place],
    /// The group's own record too.
    pub with_group: bool,
}

/// See the top of the file.
pub(super) struct Shard {
    pub lead: Lead<Loaded>,
    pub groups: BTreeMap<String, Group>,
    pub pending: Unreplicated<Pending>,
    timers: BTreeSet<(Millis, String)>,
    next_expiry_check: Millis,
    rng: Rng,
}

impl Shard {
    pub(super) fn new((partition, epoch): (i32, i32), rng: Rng, next_expiry_check: Millis) -> Shard {
        Shard {
            lead: Lead::new(partition, epoch),
            groups: BTreeMap::new(),
            pending: Unreplicated::default(),
            timers: BTreeSet::new(),
            next_expiry_check,
            rng,
        }
    }

    /// Hands a group to `input`, with its turn; `None` if there is no such group.
    pub(super) fn with<T>(
        &mut self,
        group_id: &str,
        settings: &GroupSettings,
        io: &mut Io<'_>,
        input: impl FnOnce(&mut Group, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let group = self.groups.get_mut(group_id)?;
        let mut turn = Turn {
            now: io.now,
            settings,
            journal: io.journal,
            topics: io.topics,
            rng: &mut self.rng,
            partition: self.lead.partition,
            pending: &mut self.pending,
            answers: &mut io.answers,
        };
        let result = input(group, &mut turn);
        self.reschedule(group_id);
        Some(result)
    }

    /// As `with`, for groups of the classic protocol; `None` also if the group has another.
    pub(super) fn with_classic<T>(
        &mut self,
        group_id: &str,
        settings: &GroupSettings,
        io: &mut Io<'_>,
        input: impl FnOnce(&mut ClassicGroup, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let with_kind = |group: &mut Group, turn: &mut Turn<'_>| match &mut group.kind {
            Kind::Classic(group) => Some(input(group, turn)),
            Kind::Consumer(_) | Kind::Share(_) => None,
        };
        self.with(group_id, settings, io, with_kind).flatten()
    }

    /// The group, made if it is missing.
    pub(super) fn ensure(&mut self, group_id: &str, now: Now) {
        if !self.groups.contains_key(group_id) {
            self.groups.insert(group_id.to_owned(), Group::new(group_id, now));
        }
    }

    /// Forgets a group that nothing was kept of.
    pub(super) fn drop_if_unused(&mut self, group_id: &str) {
        let is_unused = |group: &Group| group.is_idle() && !group.is_recorded() && group.offsets.is_empty();
        if self.groups.get(group_id).is_some_and(is_unused) {
            self.remove(group_id);
        }
    }

    fn remove(&mut self, group_id: &str) {
        if let Some(at) = self.groups.remove(group_id).and_then(|group| group.scheduled) {
            self.timers.remove(&(at, group_id.to_owned()));
        }
    }

    /// A group's entry among the timers is never later than its next deadline. It may be earlier: heartbeats only move
    /// deadlines back, and looking again once a session is cheaper than an entry for each heartbeat.
    pub(super) fn reschedule(&mut self, group_id: &str) {
        let Some(group) = self.groups.get_mut(group_id) else { return };
        let Some(next) = group.next_deadline() else { return };
        if group.scheduled.is_some_and(|at| at <= next) {
            return;
        }
        if let Some(at) = group.scheduled.replace(next) {
            self.timers.remove(&(at, group_id.to_owned()));
        }
        self.timers.insert((next, group_id.to_owned()));
    }

    // ---- offsets

    pub(super) fn commit(
        &mut self,
        input: CommitInput,
        waiter: Waiter<CommitResult>,
        settings: &GroupSettings,
        io: &mut Io<'_>,
    ) {
        let group_id = input.group_id.clone();
        if !self.groups.contains_key(&group_id) && input.sender.generation >= 0 && input.producer.is_none() {
            // Of a group that is gone since.
            let answer = input.all(GroupError::NotFound);
            io.answer(waiter, answer);
            return;
        }
        self.ensure(&group_id, io.now);
        self.with(&group_id, settings, io, |group, turn| commit(group, input, waiter, turn));
        self.drop_if_unused(&group_id);
    }

    /// Removes offsets; `removed` hears when that is replicated.
    pub(super) fn remove_offsets(
        &mut self,
        Removal { group_id, places, with_group }: Removal<'_>,
        removed: Waiter<Result<(), StoreError>>,
        settings: &GroupSettings,
        io: &mut Io<'_>,
    ) {
        let tombstone = |(topic, partition): &Place| {
            let key = OffsetKey { group: group_id.to_owned(), topic: topic.clone(), partition: *partition };
            GroupRecord::Offset(key, None)
        };
        let mut records: Vec<GroupRecord> = places.iter().map(tombstone).collect();
        if let (true, Some(group)) = (with_group, self.groups.get(group_id)) {
            records.extend(group.tombstones());
        }
        let result = self.with(group_id, settings, io, |_, turn| {
            let mut last = None;
            for chunk in records.chunks(TOMBSTONES_PER_BATCH) {
                match turn.store(chunk.to_vec(), None) {
                    Ok(stored) => {
                        if let Some(before) = last.replace(stored) {
                            turn.wait(before, Then::Nothing);
                        }
                    }
                    Err(error) => return (last, Err(error)),
                }
            }
            (last, Ok(()))
        });
        let (last, outcome) = result.unwrap_or((None, Ok(())));
        match (last, outcome) {
            (Some(last), Ok(())) => self.pending.push(Pending { then: Then::Answer(removed), ..last }),
            (last, outcome) => {
                last.into_iter().for_each(|last| self.pending.push(last));
                io.answer(removed, outcome);
            }
        }
    }

    /// A transaction ends: appends its marker.
    pub(super) fn write_marker(
        &mut self,
        marker: &TxnMarker,
        waiter: Waiter<Result<(), StoreError>>,
        settings: &GroupSettings,
        io: &mut Io<'_>,
    ) {
        let batch = control::marker_batch(marker, 0, -1, io.now.wall.0).map_err(|_| StoreError::TooLarge);
        match batch.and_then(|batch| io.journal.append(self.lead.partition, batch, io.now)) {
            Ok(offset) => self.pending.push(Pending {
                offset,
                records: Vec::new(),
                producer_id: Some(marker.producer_id),
                ends_with_commit: Some(marker.is_commit),
                then: Then::Answer(waiter),
                deadline: io.now.mono + settings.commit_timeout_ms,
            }),
            Err(error) => io.answer(waiter, Err(error)),
        }
    }

    /// Has `waiter` hear when this broker surely still led the partition: when the replicas have taken a record from it that
    /// says nothing. Changes no group.
    pub(super) fn confirm(
        &mut self,
        group_id: &str,
        waiter: Waiter<Result<(), StoreError>>,
        settings: &GroupSettings,
        io: &mut Io<'_>,
    ) {
        // An offset of no partition, removed.
        let key = OffsetKey { group: group_id.to_owned(), topic: String::new(), partition: -1 };
        let batch = batch_of(&[GroupRecord::Offset(key, None)], &BatchSpec::default(), io.now);
        match batch.and_then(|batch| io.journal.append(self.lead.partition, batch, io.now)) {
            Ok(offset) => self.pending.push(Pending {
                offset,
                records: Vec::new(),
                producer_id: None,
                ends_with_commit: None,
                then: Then::Answer(waiter),
                deadline: io.now.mono + settings.commit_timeout_ms,
            }),
            Err(error) => io.answer(waiter, Err(error)),
        }
    }

    // ---- records

    /// Everything below `high_watermark` is replicated: it becomes true, and who waits for it is answered.
    pub(super) fn on_high_watermark(&mut self, high_watermark: i64, settings: &GroupSettings, io: &mut Io<'_>) {
        while let Some(pending) = self.pending.pop_replicated(high_watermark) {
            let Pending { offset, records, producer_id, ends_with_commit, then, .. } = pending;
            if let (Some(producer_id), Some(is_commit)) = (producer_id, ends_with_commit) {
                for group in self.groups.values_mut() {
                    group.offsets.end_transaction(producer_id, is_commit);
                }
                self.finish(then, Ok(()), settings, io);
                continue;
            }
            let first = offset - records.len() as i64 + 1;
            for (offset, record) in (first..).zip(records) {
                match record {
                    GroupRecord::Offset(key, value) => self.apply_offset(key, value, (offset, producer_id), io.now),
                    GroupRecord::Group(group_id, Some(value)) => {
                        self.with_classic(&group_id, settings, io, |group, turn| group.on_recorded(&value, turn));
                    }
                    GroupRecord::Group(group_id, None) => {
                        if self.groups.get(&group_id).is_some_and(|group| group.classic().is_some()) {
                            self.apply_group_tombstone(&group_id);
                        }
                    }
                    // Applied when it was appended, but for what removes the group.
                    GroupRecord::Consumer(group_id, ConsumerRecord::Epoch(None)) => {
                        if self.groups.get(&group_id).is_some_and(|group| group.consumer().is_some()) {
                            self.apply_group_tombstone(&group_id);
                        }
                    }
                    GroupRecord::Share(group_id, ShareRecord::Epoch(None)) => {
                        if self.groups.get(&group_id).is_some_and(|group| group.share().is_some()) {
                            self.apply_group_tombstone(&group_id);
                        }
                    }
                    GroupRecord::Consumer(..) | GroupRecord::Share(..) | GroupRecord::Unknown(_) => {}
                }
            }
            self.finish(then, Ok(()), settings, io);
        }
    }

    /// `origin` is the offset of the record and the producer of its transaction.
    fn apply_offset(&mut self, key: OffsetKey, value: Option<OffsetValue>, origin: (i64, Option<i64>), now: Now) {
        let (record_offset, producer_id) = origin;
        self.ensure(&key.group, now);
        let Some(group) = self.groups.get_mut(&key.group) else { return };
        let place = (key.topic, key.partition);
        if value.is_some() {
            group.offsets.end(&place);
        }
        match producer_id {
            Some(producer_id) => group.offsets.apply_in_transaction(producer_id, place, record_offset, value),
            None => group.offsets.apply(place, record_offset, value),
        }
        self.drop_if_unused(&key.group);
    }

    /// Somebody may have joined, or committed, since the tombstone was decided on; that will be recorded behind it.
    fn apply_group_tombstone(&mut self, group_id: &str) {
        if self.groups.get(group_id).is_some_and(|group| group.is_idle() && group.offsets.is_empty()) {
            info!(group = group_id, "group is removed");
            self.remove(group_id);
        }
    }

    fn finish(&mut self, then: Then, result: Result<(), StoreError>, settings: &GroupSettings, io: &mut Io<'_>) {
        match (then, result) {
            (Then::Nothing, _) | (Then::Sync { .. }, Ok(())) => {}
            (Then::Answer(waiter), result) => io.answer(waiter, result),
            (Then::Sync { group, generation }, Err(error)) => {
                let failed = |group: &mut ClassicGroup, turn: &mut Turn<'_>| {
                    group.on_assignment_failed(generation, error, turn);
                };
                self.with_classic(&group, settings, io, failed);
            }
        }
    }

    // ---- time

    /// When [`Shard::tick`] has something to do at the earliest.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        if self.lead.stage != Stage::Serving {
            return self.lead.retry_at();
        }
        let timer = self.timers.first().map(|(at, _)| *at);
        self.pending.next_deadline().into_iter().chain(timer).chain([self.next_expiry_check]).min()
    }

    pub(super) fn tick(&mut self, settings: &GroupSettings, io: &mut Io<'_>) {
        let now = io.now.mono;
        if !self.lead.tick(now, &mut io.loads) {
            return;
        }
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, group_id)) = self.timers.pop_first() else { break };
            if let Some(group) = self.groups.get_mut(&group_id) {
                group.scheduled = None;
            }
            self.with(&group_id, settings, io, |group, turn| group.tick(turn));
            self.drop_if_unused(&group_id);
        }
        while let Some(late) = self.pending.pop_late(now) {
            let then = std::mem::replace(&mut late.then, Then::Nothing);
            self.finish(then, Err(StoreError::TimedOut), settings, io);
        }
        if self.next_expiry_check <= now {
            self.next_expiry_check = now + settings.retention_check_interval_ms.max(1);
            self.expire(settings, io);
        }
    }

    /// Offsets that nobody came back for, and groups without any (KIP-211).
    fn expire(&mut self, settings: &GroupSettings, io: &mut Io<'_>) {
        for group_id in self.groups.keys().cloned().collect::<Vec<_>>() {
            let Some(group) = self.groups.get(&group_id) else { continue };
            let expired = group.expired(io.now.wall.0, settings.offsets_retention_ms);
            // A share group ends only when somebody deletes it.
            let may_end = group.share().is_none();
            let is_over = may_end && group.is_idle() && group.offsets.iter().count() == expired.len();
            let with_group = is_over && group.is_recorded();
            if expired.is_empty() && !with_group {
                self.drop_if_unused(&group_id);
                continue;
            }
            info!(group = group_id, offsets = expired.len(), with_group, "expired");
            let logged: Waiter<Result<(), StoreError>> = Box::new(move |result| {
                if let Err(error) = result {
                    warn!(%error, "expired offsets could not be removed");
                }
            });
            let removal = Removal { group_id: &group_id, places: &expired, with_group };
            self.remove_offsets(removal, logged, settings, io);
        }
    }

    /// This broker leads the partition no longer: everyone who waits is sent away.
    pub(super) fn unload(&mut self, settings: &GroupSettings, io: &mut Io<'_>) {
        self.lead.end();
        for pending in self.pending.take() {
            if let Then::Answer(waiter) = pending.then {
                io.answer(waiter, Err(StoreError::NotLeader));
            }
        }
        for group_id in self.groups.keys().cloned().collect::<Vec<_>>() {
            self.with(&group_id, settings, io, |group, turn| group.unload(turn));
        }
        self.groups.clear();
        self.timers.clear();
    }
}

fn commit(group: &mut Group, input: CommitInput, waiter: Waiter<CommitResult>, turn: &mut Turn<'_>) {
    let producer = input.producer.map(|(id, epoch)| (id, epoch, input.verification));
    if let Err(error) = group.check_commit(&input, turn) {
        let answer = input.all(error);
        turn.answer(waiter, answer);
        return;
    }
    let limit = turn.settings.metadata_max_bytes;
    let mut answer: CommitResult = Vec::with_capacity(input.offsets.len());
    let mut records = Vec::with_capacity(input.offsets.len());
    for (place, value) in input.offsets {
        // As Kafka counts: in the units of a Java string.
        if value.metadata.encode_utf16().count() > limit {
            answer.push((place, Err(GroupError::MetadataTooLarge)));
            continue;
        }
        let key = OffsetKey { group: group.id.clone(), topic: place.0.clone(), partition: place.1 };
        records.push(GroupRecord::Offset(key, Some(value)));
        answer.push((place, Ok(())));
    }
    if records.is_empty() {
        turn.answer(waiter, answer);
        return;
    }
    let stored = match turn.store(records, producer) {
        Ok(stored) => stored,
        Err(error) => {
            turn.answer(waiter, with_outcome(answer, Err(error)));
            return;
        }
    };
    for (place, result) in &answer {
        if result.is_ok() {
            group.offsets.begin(place.clone());
        }
    }
    let then = move |result| waiter(with_outcome(answer, result));
    turn.wait(stored, Then::Answer(Box::new(then)));
}

fn with_outcome(mut answer: CommitResult, outcome: Result<(), StoreError>) -> CommitResult {
    if let Err(error) = outcome {
        for (_, result) in answer.iter_mut().filter(|(_, result)| result.is_ok()) {
            *result = Err(GroupError::of_commit(error));
        }
    }
    answer
}
