//! Every partition with a remote store that this broker holds: what is known of its remote part, and what is being done about
//! it. One thing at a time for each partition: a copy, or a removal; each is told to the metadata topic first, done when this
//! broker has read there that it was told, and told again when it is done. So whoever leads next knows of all that may lie in
//! the store.

use super::expiry::{self, Retention, expired};
use super::index::Index;
use super::lineage;
use super::record::{MetadataRecord, metadata_partition};
use super::segment::{Place, RemoteSegment, SegmentState, SegmentUpdate};
use super::store::KnownStore;
use crate::log::LogError;
use crate::log::epochs::EpochEntry;
use crate::log::remote::SegmentCopy;
use bytes::Bytes;
use common::Rng;
use common::kafka::batch::{self, BatchError};
use common::time::{Millis, Now};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use thiserror::Error;
use uuid::Uuid;

/// What is told and not read back is told again after this: the metadata topic changed its leader.
const TELL_AGAIN_MS: u64 = 5_000;
/// How long an answer about the end of a partition of the metadata topic may take.
const END_ASKED_MS: u64 = 2_000;
/// While something is waited for, it is looked for this often.
const LOOK_MS: u64 = 100;
/// After copies that fail one behind the other the next waits up to two to this power of intervals: half an hour or so.
const BACKOFF_DOUBLINGS_MAX: u32 = 6;
/// A record of the metadata topic is some hundred bytes.
const RECORDS_BYTES_MAX: usize = 64 << 20;

/// Settings of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `broker.id`.
    pub broker: i32,
    /// `remote.log.manager.task.interval.ms`.
    pub interval_ms: u64,
    /// `remote.log.metadata.consume.wait.ms`: what is told must be read back within.
    pub patience_ms: u64,
}

/// What this broker is to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Its leader in this leader epoch: it copies and removes.
    Leader(i32),
    /// It only wants to know.
    Follower,
}

/// What a partition's log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFacts {
    /// `retention.ms` of the topic.
    pub retention_ms: i64,
    /// `retention.bytes` of the topic.
    pub retention_bytes: i64,
    /// Bytes of the segments that are not in the store.
    pub only_local_bytes: u64,
    /// Log start offset.
    pub log_start_offset: i64,
    /// First offset that is on this broker.
    pub local_start_offset: i64,
    /// Log end offset.
    pub log_end_offset: i64,
    /// Leader epochs.
    pub epochs: Vec<EpochEntry>,
}

impl LogFacts {
    /// The epochs do not reach back to the log's start: the file that tells them was lost, and what is here tells only its own.
    /// What is in the store is then the leader's all the same. If nothing is there before the first epoch, it is the start that
    /// is older than the file: its checkpoint is written once a minute.
    fn lacks_epochs(&self, index: &Index) -> bool {
        let first = self.epochs.first().map_or(self.local_start_offset, |entry| entry.start_offset);
        let lost = self.log_start_offset..first;
        !lost.is_empty()
            && index
                .all()
                .any(|segment| segment.state == SegmentState::CopyFinished && lost.contains(&segment.end_offset))
    }
}

/// The logs, as the machine needs them.
pub trait Logs {
    /// `None` if the partition is not here any more.
    fn facts(&self, place: &Place) -> Option<LogFacts>;
    /// The next segment to be copied, if the partition is led in this epoch.
    fn next_copy(&self, place: &Place, epoch: i32) -> Result<Option<SegmentCopy>, LogError>;
    /// So much of it is in the store as this says of the log's history; no effect if the role is another by now.
    fn note_copied(&self, place: &Place, role: Role, index: &Index);
    /// The log begins here from now on, at least. False if it does not: it is not led in this epoch any more, or not so much
    /// is committed.
    fn set_log_start(&self, place: &Place, epoch: i32, offset: i64) -> bool;
}

/// What is to be done for the machine.
#[derive(Debug)]
pub enum Work {
    /// To be written to the metadata topic. Whether that succeeds is seen when it is read.
    Tell(MetadataRecord),
    /// To be copied; [`Machine::on_copied`] hears of the end.
    Copy {
        /// Which partition.
        place: Place,
        /// Id of the new segment.
        id: Uuid,
        /// What.
        copy: Box<SegmentCopy>,
    },
    /// To be removed from the store; [`Machine::on_removed`] hears of the end.
    Remove {
        /// Which partition.
        place: Place,
        /// The segment.
        id: Uuid,
        /// Where it begins.
        start_offset: i64,
    },
    /// A deleted topic's segments: to be removed, and then told to be gone.
    RemoveAll {
        /// Which partition.
        place: Place,
        /// The segments: id and where each begins.
        segments: Vec<(Uuid, i64)>,
        /// The store they are in.
        store: KnownStore,
    },
}

/// The remote part of a partition is not known yet: the metadata topic is still being read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the remote part of the partition is not known yet")]
pub struct NotReady;

/// What is being done about a partition.
#[derive(Debug)]
enum Doing {
    /// `role` is that in which it was begun; `copy` is there until the store works.
    Copy { id: Uuid, role: Role, copy: Option<Box<SegmentCopy>>, step: Step },
    /// Segments, and where each begins.
    Remove { ids: VecDeque<(Uuid, i64)>, step: Step },
}

/// How far it is.
#[derive(Debug)]
enum Step {
    /// This was told, and is awaited from the metadata topic.
    Told { record: Box<MetadataRecord>, again_at: Millis, until: Millis },
    /// The store works.
    Running,
}

impl Step {
    /// That the segment is gone is what was told.
    fn is_removal_told(&self) -> bool {
        let Step::Told { record, .. } = self else { return false };
        matches!(&**record, MetadataRecord::Update(_, update) if update.state == SegmentState::DeleteFinished)
    }
}

#[derive(Debug)]
struct Held {
    role: Role,
    /// The partition of the metadata topic that tells of it.
    told_by: i32,
    index: Index,
    /// Records of the metadata topic before this were applied.
    read_to: i64,
    /// The metadata topic was read up to here since the partition came.
    known_to: i64,
    /// Some of what the metadata topic told was deleted before it was read here: what is not known of may be anywhere.
    is_told_in_part: bool,
    /// The metadata topic ended here after the partition came to this broker; `None` until its leader has said so.
    ready_at: Option<i64>,
    is_ready: bool,
    /// The log's start was compared with the store since this broker leads.
    is_start_known: bool,
    /// The topic is deleted, and this broker led: its segments go as soon as all are known.
    is_doomed: bool,
    /// That the log's epochs do not reach back to its start was told since this broker leads.
    is_hole_told: bool,
    doing: Option<Doing>,
    due: Millis,
    /// What may go is looked for then, before anything is copied: a full store must be able to recover.
    expire_at: Millis,
    /// Nothing is copied before.
    copy_at: Millis,
    /// Copies that failed since one did not.
    copy_failures: u32,
}

/// One partition of the metadata topic.
#[derive(Debug, Default)]
struct Reading {
    /// Next offset to be read.
    position: i64,
    end_asked_at: Option<Millis>,
    /// A damaged batch was found here.
    damaged_at: Option<i64>,
}

/// See the top of the file.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    held: BTreeMap<Place, Held>,
    topic: BTreeMap<i32, Reading>,
}

impl Machine {
    /// Holds nothing.
    pub fn new(settings: Settings) -> Machine {
        Machine { settings, held: BTreeMap::new(), topic: BTreeMap::new() }
    }

    /// The partitions with a remote store that this broker holds now, all of them; the metadata topic has `count` partitions.
    pub fn assign(&mut self, roles: &BTreeMap<Place, Role>, count: i32, now: Now) {
        self.held.retain(|place, held| held.is_doomed || roles.contains_key(place));
        for (place, role) in roles {
            if let Some(held) = self.held.get_mut(place) {
                if held.role != *role {
                    (held.role, held.is_start_known, held.is_hole_told) = (*role, false, false);
                    (held.due, held.expire_at) = (now.mono, now.mono);
                }
                continue;
            }
            let told_by = metadata_partition(place, count);
            // Everything that was told of it is read again from the start; for others it is old.
            self.topic.insert(told_by, Reading::default());
            let held = Held {
                role: *role,
                told_by,
                index: Index::default(),
                read_to: 0,
                known_to: 0,
                is_told_in_part: false,
                ready_at: None,
                is_ready: false,
                is_start_known: false,
                is_doomed: false,
                is_hole_told: false,
                doing: None,
                due: now.mono,
                expire_at: now.mono,
                copy_at: now.mono,
                copy_failures: 0,
            };
            self.held.insert(place.clone(), held);
        }
        let used: BTreeSet<i32> = self.held.values().map(|held| held.told_by).collect();
        self.topic.retain(|number, _| used.contains(number));
    }

    /// The topic was deleted while this broker led the partition: what is in the store goes.
    pub fn doom(&mut self, place: &Place) {
        if let Some(held) = self.held.get_mut(place) {
            held.is_doomed = true;
        }
    }

    /// The partitions of the metadata topic that are read, and from where on.
    pub fn wanted(&self) -> Vec<(i32, i64)> {
        self.topic.iter().map(|(number, reading)| (*number, reading.position)).collect()
    }

    /// Of which of them the end must be asked.
    pub fn ends_wanted(&mut self, now: Now) -> Vec<i32> {
        let waiting: BTreeSet<i32> =
            self.held.values().filter(|held| held.ready_at.is_none()).map(|held| held.told_by).collect();
        let mut asked = Vec::new();
        for (number, reading) in &mut self.topic {
            let is_due = reading.end_asked_at.is_none_or(|at| now.mono - at >= END_ASKED_MS);
            if is_due && waiting.contains(number) {
                reading.end_asked_at = Some(now.mono);
                asked.push(*number);
            }
        }
        asked
    }

    /// A partition of the metadata topic ends here, as its leader says.
    pub fn on_end(&mut self, number: i32, end: i64) {
        for held in self.held.values_mut().filter(|held| held.told_by == number) {
            held.ready_at.get_or_insert(end);
        }
        self.note_ready(number);
    }

    /// A partition of the metadata topic begins here: what was asked for is not there any more.
    pub fn on_start(&mut self, number: i32, start: i64) {
        if let Some(reading) = self.topic.get_mut(&number) {
            reading.position = reading.position.max(start);
        }
        for (place, held) in &mut self.held {
            if held.told_by == number && held.known_to < start && !held.is_told_in_part {
                held.is_told_in_part = true;
                let (topic, partition) = (&*place.topic, place.partition);
                tracing::error!(
                    topic,
                    partition,
                    metadata_partition = number,
                    start,
                    "records of __remote_log_metadata are deleted: nothing of the partition is removed from the store"
                );
            }
        }
        self.note_ready(number);
    }

    /// Batches of the metadata topic, read from offset `asked` on, the last one perhaps cut off. True if there were any that
    /// were not known.
    pub fn on_read(&mut self, number: i32, asked: i64, batches: Bytes) -> bool {
        let Some(reading) = self.topic.get_mut(&number).filter(|reading| reading.position == asked) else {
            return false;
        };
        let mut records = Vec::new();
        let mut next = asked;
        for batch in batch::batches(batches) {
            let batch = match batch.and_then(|batch| batch::check_crc(&batch.bytes).map(|()| batch)) {
                Ok(batch) => batch,
                Err(BatchError::Truncated { .. }) => break,
                Err(error) => {
                    if reading.damaged_at.replace(next) != Some(next) {
                        tracing::error!(partition = number, offset = next, %error, "the metadata of remote segments is damaged");
                    }
                    break;
                }
            };
            next = next.max(batch.header.next_offset());
            if batch.header.is_control() {
                continue;
            }
            match batch.records(RECORDS_BYTES_MAX) {
                Ok(found) => records.extend(found.filter_map(Result::ok).filter(|record| record.offset >= asked)),
                Err(error) => tracing::error!(partition = number, %error, "metadata of remote segments cannot be read"),
            }
        }
        reading.position = next;
        for record in records {
            match record.value.map(MetadataRecord::decode) {
                Some(Ok(told)) => self.apply(told, record.offset),
                Some(Err(error)) => {
                    tracing::warn!(partition = number, offset = record.offset, %error, "passed over");
                }
                None => {}
            }
        }
        for held in self.held.values_mut().filter(|held| held.told_by == number) {
            held.known_to = held.known_to.max(next);
        }
        self.note_ready(number);
        next > asked
    }

    fn apply(&mut self, told: MetadataRecord, offset: i64) {
        let Some(held) = self.held.get_mut(told.place()).filter(|held| offset >= held.read_to) else { return };
        held.read_to = offset + 1;
        match told {
            MetadataRecord::Segment(_, segment) => held.index.add(segment),
            MetadataRecord::Update(_, update) => held.index.update(&update),
            // Nobody tells it in Kafka 3.9.
            MetadataRecord::PartitionDelete { .. } => {}
        }
    }

    fn note_ready(&mut self, number: i32) {
        let Some(reading) = self.topic.get(&number) else { return };
        for (place, held) in self.held.iter_mut().filter(|(_, held)| held.told_by == number && !held.is_ready) {
            held.is_ready = held.ready_at.is_some_and(|end| reading.position >= end);
            if held.is_ready {
                let segments = held.index.all().count();
                tracing::info!(
                    topic = &*place.topic,
                    partition = place.partition,
                    segments,
                    "the remote part is known"
                );
            }
        }
    }

    /// What is known of a partition's remote part.
    pub fn index(&self, place: &Place) -> Result<&Index, NotReady> {
        self.held.get(place).filter(|held| held.is_ready).map(|held| &held.index).ok_or(NotReady)
    }

    /// What is known of the store that a partition's segments are in: by its own copies, or by those of others.
    pub fn store(&self, place: &Place) -> KnownStore {
        if let Some(held) = self.held.get(place).filter(|held| held.index.store().is_named()) {
            return held.index.store().clone();
        }
        let mut known = KnownStore::default();
        self.held.values().for_each(|held| known.merge(held.index.store()));
        if self.held.values().any(|held| !held.is_ready) {
            known.note_partial();
        }
        known
    }

    /// Every partition, whether its remote part is known, and that.
    pub fn all(&self) -> impl Iterator<Item = (&Place, Role, Option<&Index>)> {
        self.held.iter().map(|(place, held)| (place, held.role, held.is_ready.then_some(&held.index)))
    }

    /// Goes on with everything. When to call again.
    pub fn tick(&mut self, logs: &dyn Logs, rng: &mut Rng, now: Now, work: &mut Vec<Work>) -> Option<Millis> {
        let mut next: Option<Millis> = None;
        let mut gone = Vec::new();
        // The first copy makes the store: not before it is known that there is none.
        let may_copy = self.held.values().all(|held| held.is_ready)
            || self.held.values().any(|held| held.index.store().is_named());
        for (place, held) in &mut self.held {
            if held.is_ready && !may_copy {
                held.copy_at = held.copy_at.max(now.mono + LOOK_MS);
            }
            if held.is_doomed && held.is_ready {
                let segments = held.index.all().map(|segment| (segment.id, segment.start_offset)).collect();
                let store = held.index.store().clone();
                work.push(Work::RemoveAll { place: place.clone(), segments, store });
                gone.push(place.clone());
                continue;
            }
            while held.go_on(place, logs, (&self.settings, now, rng), work) {}
            let is_waiting = !held.is_ready || held.doing.is_some();
            let at = if is_waiting { now.mono + LOOK_MS } else { held.due.max(now.mono + 1) };
            next = Some(next.map_or(at, |next| next.min(at)));
        }
        gone.iter().for_each(|place| drop(self.held.remove(place)));
        next
    }

    /// A copy is complete, in the store of this id, or failed. That of a leader that is none any more is taken back: its
    /// successor copies from its own history. So is one that is not known any more: its successor removed what was there of
    /// it then.
    pub fn on_copied(
        &mut self,
        place: &Place,
        (id, start_offset): (Uuid, i64),
        store: Option<Uuid>,
        (now, work): (Now, &mut Vec<Work>),
    ) {
        let settings = self.settings;
        let held = self.held.get_mut(place);
        let Some(held) = held.filter(|held| matches!(&held.doing, Some(Doing::Copy { id: other, .. }) if *other == id))
        else {
            // The partition went meanwhile: nobody will ever tell of the copy.
            return work.push(Work::Remove { place: place.clone(), id, start_offset });
        };
        if store.is_none() {
            held.copy_failed(&settings, now);
        }
        match (store, &mut held.doing) {
            (Some(store), Some(Doing::Copy { role, step, .. }))
                if *role == held.role && held.index.get(&id).is_some() =>
            {
                (held.copy_failures, held.copy_at) = (0, now.mono);
                let custom = Some(Bytes::copy_from_slice(store.as_bytes()));
                let finished = update(place, (id, SegmentState::CopyFinished, custom), &settings, now);
                *step = tell(finished, &settings, now, work);
            }
            _ => held.begin_removal(place, VecDeque::from([(id, start_offset)]), (&settings, now), work),
        }
    }

    /// A removal is complete, or failed.
    pub fn on_removed(&mut self, place: &Place, id: Uuid, is_done: bool, (now, work): (Now, &mut Vec<Work>)) {
        let settings = self.settings;
        let Some(held) = self.held.get_mut(place) else { return };
        let Some(Doing::Remove { ids, step }) = &mut held.doing else { return };
        if ids.front().is_none_or(|(front, _)| *front != id) || !matches!(step, Step::Running) {
            return;
        }
        if is_done {
            *step = tell(update(place, (id, SegmentState::DeleteFinished, None), &settings, now), &settings, now, work);
        } else {
            held.end_removal(&settings, now);
        }
    }
}

impl Held {
    fn rest(&mut self, settings: &Settings, now: Now) {
        self.doing = None;
        self.due = now.mono + settings.interval_ms;
    }

    /// Copies have their turn now.
    fn end_removal(&mut self, settings: &Settings, now: Now) {
        self.doing = None;
        (self.due, self.expire_at) = (now.mono, now.mono + settings.interval_ms);
    }

    fn copy_failed(&mut self, settings: &Settings, now: Now) {
        let doublings = self.copy_failures.min(BACKOFF_DOUBLINGS_MAX);
        self.copy_failures = self.copy_failures.saturating_add(1);
        self.copy_at = now.mono + settings.interval_ms.saturating_mul(1 << doublings);
    }

    /// One step; true if there may be another one now.
    fn go_on(
        &mut self,
        place: &Place,
        logs: &dyn Logs,
        (settings, now, rng): (&Settings, Now, &mut Rng),
        work: &mut Vec<Work>,
    ) -> bool {
        // What was told may be in the topic already; more is not told in another's name.
        let is_anothers = matches!(&self.doing, Some(Doing::Copy { role, .. }) if *role != self.role);
        match &mut self.doing {
            None if !self.is_ready || now.mono < self.due => false,
            None => self.begin(place, logs, (settings, now, rng), work),
            Some(Doing::Copy { step: Step::Running, .. } | Doing::Remove { step: Step::Running, .. }) => false,
            Some(Doing::Copy { step, .. } | Doing::Remove { step, .. }) => {
                let Step::Told { record, again_at, until } = step else { return false };
                if is_known(&self.index, record) {
                    return self.heard(place, logs, (settings, now), work);
                }
                if now.mono >= *until {
                    tracing::warn!(
                        topic = &*place.topic,
                        partition = place.partition,
                        "what was told of a remote segment was not read back in time"
                    );
                    self.rest(settings, now);
                } else if now.mono >= *again_at && !is_anothers {
                    *again_at = now.mono + TELL_AGAIN_MS;
                    work.push(Work::Tell((**record).clone()));
                }
                false
            }
        }
    }

    /// Looks for something to do.
    fn begin(
        &mut self,
        place: &Place,
        logs: &dyn Logs,
        (settings, now, rng): (&Settings, Now, &mut Rng),
        work: &mut Vec<Work>,
    ) -> bool {
        self.due = now.mono + settings.interval_ms;
        logs.note_copied(place, self.role, &self.index);
        let Role::Leader(epoch) = self.role else { return false };
        if now.mono >= self.expire_at {
            self.expire_at = now.mono + settings.interval_ms;
            let old = self.expired(place, logs, epoch, now).into_iter();
            let old: VecDeque<(Uuid, i64)> =
                old.filter_map(|id| Some((id, self.index.get(&id)?.start_offset))).collect();
            if !old.is_empty() {
                self.begin_removal(place, old, (settings, now), work);
                return false;
            }
        }
        if now.mono < self.copy_at {
            self.due = self.due.min(self.copy_at);
            return false;
        }
        match logs.next_copy(place, epoch) {
            Ok(Some(copy)) => self.begin_copy(place, copy, (settings, now, rng), work),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(topic = &*place.topic, partition = place.partition, %error, "a segment cannot be copied");
                self.copy_failed(settings, now);
            }
        }
        false
    }

    /// What is to be removed; the log begins behind it already.
    fn expired(&mut self, place: &Place, logs: &dyn Logs, epoch: i32, now: Now) -> Vec<Uuid> {
        if self.is_told_in_part {
            return Vec::new();
        }
        let Some(facts) = logs.facts(place) else { return Vec::new() };
        if facts.lacks_epochs(&self.index) {
            if !self.is_hole_told {
                self.is_hole_told = true;
                let (start, first) = (facts.log_start_offset, facts.epochs.first().map(|entry| entry.start_offset));
                tracing::error!(
                    topic = &*place.topic,
                    partition = place.partition,
                    log_start_offset = start,
                    first_epoch_at = first,
                    "the leader epochs of what is in the store are lost here: nothing behind the log start is removed"
                );
            }
            return expiry::before(&self.index, facts.log_start_offset);
        }
        if !self.is_start_known {
            let start = lineage::first_copied(&self.index, &facts.epochs).unwrap_or(facts.local_start_offset);
            self.is_start_known = logs.set_log_start(place, epoch, start);
        }
        let Some(facts) = logs.facts(place).filter(|_| self.is_start_known) else { return Vec::new() };
        let old = expired(&self.index, retention(&facts, now));
        let is_behind = old.log_start_offset.is_none_or(|start| logs.set_log_start(place, epoch, start));
        if is_behind { old.segments } else { Vec::new() }
    }

    fn begin_copy(
        &mut self,
        place: &Place,
        copy: SegmentCopy,
        (settings, now, rng): (&Settings, Now, &mut Rng),
        work: &mut Vec<Work>,
    ) {
        let id = uuid::Builder::from_random_bytes(rng.u128(..).to_be_bytes()).into_uuid();
        let segment = RemoteSegment {
            id,
            start_offset: copy.start_offset,
            end_offset: copy.end_offset,
            max_timestamp_ms: copy.max_timestamp_ms,
            broker_id: settings.broker,
            event_timestamp_ms: now.wall.0,
            size_bytes: i32::try_from(copy.size_bytes).unwrap_or(i32::MAX),
            epochs: copy.epochs.iter().map(|entry| (entry.epoch, entry.start_offset)).collect(),
            custom: None,
            state: SegmentState::CopyStarted,
        };
        let step = tell(MetadataRecord::Segment(place.clone(), segment), settings, now, work);
        self.doing = Some(Doing::Copy { id, role: self.role, copy: Some(Box::new(copy)), step });
    }

    fn begin_removal(
        &mut self,
        place: &Place,
        ids: VecDeque<(Uuid, i64)>,
        (settings, now): (&Settings, Now),
        work: &mut Vec<Work>,
    ) {
        let Some((id, start_offset)) = ids.front().copied() else { return self.end_removal(settings, now) };
        // What began to go and could not is told already.
        let step = if self.index.get(&id).is_some_and(|segment| segment.state == SegmentState::DeleteStarted) {
            work.push(Work::Remove { place: place.clone(), id, start_offset });
            Step::Running
        } else {
            tell(update(place, (id, SegmentState::DeleteStarted, None), settings, now), settings, now, work)
        };
        self.doing = Some(Doing::Remove { ids, step });
    }

    /// What was told was read: the next step. True if there may be another one now.
    fn heard(
        &mut self,
        place: &Place,
        logs: &dyn Logs,
        (settings, now): (&Settings, Now),
        work: &mut Vec<Work>,
    ) -> bool {
        match self.doing.take() {
            None => false,
            // Another leader has it now, or this one begins again; what was told is taken back.
            Some(Doing::Copy { id, role, copy: Some(copy), .. }) if self.role != role => {
                self.begin_removal(place, VecDeque::from([(id, copy.start_offset)]), (settings, now), work);
                false
            }
            Some(Doing::Copy { id, role, copy: Some(copy), .. }) => {
                work.push(Work::Copy { place: place.clone(), id, copy });
                self.doing = Some(Doing::Copy { id, role, copy: None, step: Step::Running });
                false
            }
            Some(Doing::Copy { copy: None, .. }) => {
                logs.note_copied(place, self.role, &self.index);
                // The next one at once.
                self.due = now.mono;
                true
            }
            Some(Doing::Remove { mut ids, step }) => {
                let Some((id, start_offset)) = ids.front().copied() else { return false };
                // Even if another leader's removal was told meanwhile: a copy may have ended behind it.
                if !step.is_removal_told() {
                    work.push(Work::Remove { place: place.clone(), id, start_offset });
                    self.doing = Some(Doing::Remove { ids, step: Step::Running });
                    return false;
                }
                ids.pop_front();
                if self.role == Role::Follower {
                    ids.clear();
                }
                self.begin_removal(place, ids, (settings, now), work);
                true
            }
        }
    }
}

fn retention(facts: &LogFacts, now: Now) -> Retention<'_> {
    Retention {
        now_ms: now.wall.0,
        retention_ms: facts.retention_ms,
        retention_bytes: facts.retention_bytes,
        only_local_bytes: facts.only_local_bytes,
        log_start_offset: facts.log_start_offset,
        log_end_offset: facts.log_end_offset,
        epochs: &facts.epochs,
    }
}

fn tell(record: MetadataRecord, settings: &Settings, now: Now, work: &mut Vec<Work>) -> Step {
    work.push(Work::Tell(record.clone()));
    Step::Told { record: Box::new(record), again_at: now.mono + TELL_AGAIN_MS, until: now.mono + settings.patience_ms }
}

fn update(
    place: &Place,
    (id, state, custom): (Uuid, SegmentState, Option<Bytes>),
    settings: &Settings,
    now: Now,
) -> MetadataRecord {
    let (event_timestamp_ms, broker_id) = (now.wall.0, settings.broker);
    MetadataRecord::Update(place.clone(), SegmentUpdate { id, event_timestamp_ms, custom, state, broker_id })
}

/// Whether the index shows what was told, or something that follows from it.
fn is_known(index: &Index, told: &MetadataRecord) -> bool {
    let (id, state) = match told {
        MetadataRecord::Segment(_, segment) => (segment.id, segment.state),
        MetadataRecord::Update(_, update) => (update.id, update.state),
        MetadataRecord::PartitionDelete { .. } => return true,
    };
    match index.get(&id) {
        Some(segment) => segment.state >= state,
        None => matches!(state, SegmentState::DeleteStarted | SegmentState::DeleteFinished),
    }
}

#[cfg(test)]
#[cfg(feature = "server")]
mod tests;
