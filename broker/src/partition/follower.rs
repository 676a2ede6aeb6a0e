//! Replica fetchers: what a follower asks of its leaders and what it does with the answers. One fetcher is one pure
//! machine for one leader and one connection, with one request on its way. It never opens a connection and never decides
//! who leads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use common::kafka::error::ErrorCode;
use common::time::{Millis, Now};
use uuid::Uuid;

use super::fetch_session::{INITIAL_EPOCH, NO_SESSION, Wanted, next_epoch};
use crate::log::remote::RemoteState;

use super::{FollowError, Partition, Position, Woken};

/// A partition by topic name and number.
pub type Key = (Arc<str>, i32);

/// The settings of all fetchers of a broker.
#[derive(Clone, Copy, Debug)]
pub struct FetcherSettings {
    /// `replica.fetch.max.bytes`: most bytes of one partition in one answer.
    pub max_bytes: i32,
    /// `replica.fetch.backoff.ms`: pause after an error.
    pub backoff_ms: u64,
}

/// What a fetcher wants to send now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A Fetch request.
    Fetch(FetchAsk),
    /// A ListOffsets request: the leader's first, first local or end offset.
    Offsets(OffsetsAsk),
    /// An OffsetForLeaderEpoch request.
    Epochs(EpochsAsk),
    /// Not for the leader: what lies in the remote store is asked for.
    Rebuild(RebuildAsk),
}

/// Which offset of the leader's log is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The end.
    End,
    /// The first.
    Start,
    /// The first that the leader has itself, and its leader epoch.
    LocalStart,
}

/// An OffsetForLeaderEpoch request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochsAsk {
    /// Topic, partition, current leader epoch, the epoch whose end is asked for.
    pub partitions: Vec<(Arc<str>, i32, i32, i32)>,
}

/// A follower whose next records are only in the remote store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebuildAsk {
    /// Topic.
    pub topic: Arc<str>,
    /// Topic id.
    pub topic_id: Uuid,
    /// Partition.
    pub partition: i32,
    /// Current leader epoch.
    pub leader_epoch: i32,
    /// The last offset that the leader does not have itself.
    pub offset: i64,
    /// Its leader epoch.
    pub epoch: i32,
    /// The leader's log start offset.
    pub log_start_offset: i64,
}

/// A Fetch request without what is the same in all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchAsk {
    /// Fetch session id.
    pub session_id: i32,
    /// Fetch session epoch.
    pub session_epoch: i32,
    /// Topics are named by id; by name if one of them has no id.
    pub by_id: bool,
    /// New and changed partitions: topic, topic id, partition, what is wanted.
    pub wanted: Vec<(Arc<str>, Uuid, i32, Wanted)>,
    /// Partitions that are no longer wanted.
    pub forgotten: Vec<(Arc<str>, Uuid, i32)>,
    /// The leader must not keep the request for longer: then a partition that failed is due again.
    pub patience_ms: Option<u64>,
}

/// A ListOffsets request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetsAsk {
    /// Which offset.
    pub which: Which,
    /// Topic, partition, current leader epoch.
    pub partitions: Vec<(Arc<str>, i32, i32)>,
}

/// How a leader names a topic in its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicName {
    /// Fetch version 13 and later.
    Id(Uuid),
    /// Before.
    Name(String),
}

/// One partition of a leader's answer.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Record batches, as they are in the leader's log.
    pub records: Bytes,
    /// The leader's high watermark.
    pub high_watermark: i64,
    /// The leader's log start offset.
    pub log_start_offset: i64,
    /// The logs differ: the leader's largest epoch not above our last one, and where it ends.
    pub diverging: Option<(i32, i64)>,
}

/// Why a leader gave no records, as far as a follower acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchFailure {
    /// Our offset is not in its log.
    #[error("offset is out of range")]
    OffsetOutOfRange,
    /// It knows a later leader epoch.
    #[error("our leader epoch is old")]
    FencedEpoch,
    /// Our offset is in the remote store only; the leader's log start offset.
    #[error("offset is in the remote store")]
    InRemote(i64),
    /// Something that passes: it does not lead yet or no longer, does not know the topic, cannot read its disk.
    #[error("leader answered with {}", ErrorCode::name_of(*.0))]
    Other(i16),
}

/// Why a whole answer is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionFailure {
    /// The leader has forgotten the session.
    #[error("the leader does not know our fetch session")]
    UnknownSession,
    /// The session is at another epoch, or names topics otherwise.
    #[error("the leader refused the fetch with error code {0}")]
    Refused(i16),
    /// No answer came.
    #[error("no answer")]
    NoAnswer,
}

/// One partition's part of a Fetch answer.
pub type FetchedPartition = (TopicName, i32, Result<Fetched, FetchFailure>);

/// A partition's part of a leader's answer to OffsetForLeaderEpoch: an epoch and its end.
pub type EpochEnd = (Key, Result<(i32, i64), FetchFailure>);

/// An offset of the leader's log and its leader epoch, -1 if that is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderOffset {
    /// The offset.
    pub offset: i64,
    /// Its leader epoch.
    pub leader_epoch: i32,
}

/// A leader's whole answer to Fetch.
#[derive(Clone, Debug)]
pub struct FetchAnswer {
    /// The session that the leader made or kept; 0 for none.
    pub session_id: i32,
    /// Partitions.
    pub partitions: Vec<FetchedPartition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Fetching,
    /// Our offset was out of range: the leader's end offset is needed.
    AsksEnd,
    /// The leader's end is not below ours: its first offset is needed.
    AsksStart,
    /// Our offset is in the remote store only: the first offset that the leader has itself is needed. The leader's log start.
    AsksLocalStart(i64),
    /// The epoch of the last offset that the leader does not have itself is needed: the leader's log start, the first offset
    /// it has, and the epoch of that.
    AsksEpoch(i64, i64, i32),
    /// What is in the remote store is awaited.
    Rebuilds,
}

struct Followed {
    partition: Arc<Partition>,
    topic_id: Uuid,
    leader_epoch: i32,
    position: Position,
    phase: Phase,
    delayed_until: Option<Millis>,
    /// Failures since the last answer that was good.
    failures: u32,
    /// It has all up to the leader's high watermark.
    is_in_sync: bool,
    /// Records up to the leader's high watermark that it did not have after the last answer.
    lag: i64,
    /// What the leader's session holds of this partition.
    sent: Option<Wanted>,
}

/// What is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
enum InFlight {
    Fetch { full: bool },
    Offsets(OffsetsAsk),
    Epochs(EpochsAsk),
}

/// The fetcher of one connection to one leader.
pub struct Fetcher {
    settings: FetcherSettings,
    partitions: BTreeMap<Key, Followed>,
    names: BTreeMap<Uuid, Arc<str>>,
    without_id: usize,
    /// Partitions whose part of the session must be told to the leader.
    changed: BTreeSet<Key>,
    forgotten: BTreeMap<Key, Uuid>,
    /// Partitions that ask for the leader's offsets.
    asking: BTreeSet<Key>,
    /// To be asked of the remote store.
    rebuilds: Vec<RebuildAsk>,
    delayed: BTreeSet<(Millis, Key)>,
    session_id: i32,
    session_epoch: i32,
    session_by_id: bool,
    session_members: usize,
    in_flight: Option<InFlight>,
    paused_until: Option<Millis>,
    /// Requests without a good answer since the last one.
    failures: u32,
}

/// The first pause after a failure. Most pass at once: a new leader hears of its role some milliseconds after those who
/// follow it, and nobody can produce with acks=all until they follow.
const FIRST_PAUSE_MS: u64 = 5;

/// How long after a replica was held back by its throttle it is looked at again: a part of one sample.
const THROTTLED_MS: u64 = 200;

fn pause_ms(failures: u32, longest: u64) -> u64 {
    (FIRST_PAUSE_MS << failures.min(16)).min(longest)
}

impl Fetcher {
    /// A fetcher without partitions.
    pub fn new(settings: FetcherSettings) -> Fetcher {
        Fetcher {
            settings,
            partitions: BTreeMap::new(),
            names: BTreeMap::new(),
            without_id: 0,
            changed: BTreeSet::new(),
            forgotten: BTreeMap::new(),
            asking: BTreeSet::new(),
            rebuilds: Vec::new(),
            delayed: BTreeSet::new(),
            session_id: NO_SESSION,
            session_epoch: INITIAL_EPOCH,
            session_by_id: true,
            session_members: 0,
            in_flight: None,
            paused_until: None,
            failures: 0,
        }
    }

    /// Follows a partition from `position` on. Replaces what was known of it.
    pub fn add(&mut self, partition: Arc<Partition>, topic_id: Uuid, leader_epoch: i32, position: Position) {
        let key = (partition.topic().clone(), partition.index());
        self.remove(&key);
        if topic_id.is_nil() {
            self.without_id += 1;
        } else {
            self.names.insert(topic_id, key.0.clone());
        }
        self.changed.insert(key.clone());
        let followed = Followed {
            partition,
            topic_id,
            leader_epoch,
            position,
            phase: Phase::Fetching,
            delayed_until: None,
            failures: 0,
            is_in_sync: false,
            lag: 0,
            sent: None,
        };
        self.partitions.insert(key, followed);
    }

    /// Follows a partition no longer. An answer that is on its way is ignored for it.
    pub fn remove(&mut self, key: &Key) {
        let Some(followed) = self.partitions.remove(key) else { return };
        self.without_id -= usize::from(followed.topic_id.is_nil());
        if followed.sent.is_some() {
            self.forgotten.insert(key.clone(), followed.topic_id);
            self.session_members -= 1;
        }
        self.changed.remove(key);
        self.asking.remove(key);
        if let Some(until) = followed.delayed_until {
            self.delayed.remove(&(until, key.clone()));
        }
        let first_of_topic = (key.0.clone(), i32::MIN);
        if self.partitions.range(first_of_topic..).next().is_none_or(|((topic, _), _)| *topic != key.0) {
            self.names.remove(&followed.topic_id);
        }
    }

    /// True if what is added now is not asked for now: a request is on its way, or the leader gave no answer just before.
    pub fn is_busy(&self, now: Millis) -> bool {
        self.in_flight.is_some() || self.paused_until.is_some_and(|until| now < until)
    }

    /// Takes over all that another fetcher of the same leader follows. Answers on their way to that one are ignored.
    pub fn take_over(&mut self, other: &mut Fetcher) {
        self.rebuilds.append(&mut other.rebuilds);
        let keys: Vec<Key> = other.partitions.keys().cloned().collect();
        for key in keys {
            let Some(followed) = other.partitions.get(&key) else { continue };
            let (partition, topic_id, epoch) = (followed.partition.clone(), followed.topic_id, followed.leader_epoch);
            let (position, phase, delayed_until) = (followed.position, followed.phase, followed.delayed_until);
            let (is_in_sync, lag) = (followed.is_in_sync, followed.lag);
            other.remove(&key);
            self.add(partition, topic_id, epoch, position);
            let Some(followed) = self.partitions.get_mut(&key) else { continue };
            (followed.phase, followed.delayed_until, followed.is_in_sync) = (phase, delayed_until, is_in_sync);
            followed.lag = lag;
            match delayed_until {
                Some(until) => {
                    self.delayed.insert((until, key));
                }
                None if phase != Phase::Fetching => {
                    self.asking.insert(key);
                }
                None => {}
            }
        }
    }

    /// True if it follows nothing.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// How many records of each partition were missing when the leader answered last.
    pub fn lags(&self) -> impl Iterator<Item = (&Key, i64)> {
        self.partitions.iter().map(|(key, followed)| (key, followed.lag))
    }

    /// Partitions that it follows.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.partitions.keys()
    }

    /// When `next` may have something to send although no answer came.
    pub fn next_deadline(&self) -> Option<Millis> {
        if self.in_flight.is_some() {
            return None;
        }
        self.paused_until.or(self.delayed.first().map(|(at, _)| *at))
    }

    /// The next request, if none is on its way and there is something to ask.
    pub fn next(&mut self, now: Millis) -> Option<Ask> {
        if self.in_flight.is_some() || self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        self.paused_until = None;
        self.end_delays(now);
        if let Some(ask) = self.rebuilds.pop() {
            return Some(Ask::Rebuild(ask));
        }
        if let Some(ask) = self.next_epochs() {
            self.in_flight = Some(InFlight::Epochs(ask.clone()));
            return Some(Ask::Epochs(ask));
        }
        if let Some(ask) = self.next_offsets() {
            self.in_flight = Some(InFlight::Offsets(ask.clone()));
            return Some(Ask::Offsets(ask));
        }
        let ask = self.next_fetch(now)?;
        self.in_flight = Some(InFlight::Fetch { full: ask.session_epoch == INITIAL_EPOCH });
        Some(Ask::Fetch(ask))
    }

    fn end_delays(&mut self, now: Millis) {
        while let Some((at, _)) = self.delayed.first()
            && *at <= now
            && let Some((_, key)) = self.delayed.pop_first()
        {
            if let Some(followed) = self.partitions.get_mut(&key) {
                followed.delayed_until = None;
                if followed.phase == Phase::Fetching {
                    self.changed.insert(key);
                } else {
                    self.asking.insert(key);
                }
            }
        }
    }

    fn next_offsets(&self) -> Option<OffsetsAsk> {
        let which = self.asking.iter().find_map(|key| self.partitions.get(key)?.phase.which())?;
        let partitions = self
            .asking
            .iter()
            .filter_map(|key| Some((key, self.partitions.get(key)?)))
            .filter(|(_, followed)| followed.phase.which() == Some(which))
            .map(|(key, followed)| (key.0.clone(), key.1, followed.leader_epoch))
            .collect();
        Some(OffsetsAsk { which, partitions })
    }

    fn next_epochs(&self) -> Option<EpochsAsk> {
        let asked = |key: &Key| {
            let followed = self.partitions.get(key)?;
            let Phase::AsksEpoch(_, _, epoch) = followed.phase else { return None };
            Some((key.0.clone(), key.1, followed.leader_epoch, epoch - 1))
        };
        let partitions: Vec<_> = self.asking.iter().filter_map(asked).collect();
        (!partitions.is_empty()).then_some(EpochsAsk { partitions })
    }

    fn next_fetch(&mut self, now: Millis) -> Option<FetchAsk> {
        let by_id = self.without_id == 0;
        if by_id != self.session_by_id {
            self.session_epoch = INITIAL_EPOCH;
            self.session_by_id = by_id;
        }
        if self.session_epoch == INITIAL_EPOCH {
            self.begin_session();
        }
        let mut ask =
            FetchAsk { session_id: self.session_id, session_epoch: self.session_epoch, by_id, ..FetchAsk::default() };
        let max_bytes = self.settings.max_bytes;
        for key in std::mem::take(&mut self.changed) {
            let Some(followed) = self.partitions.get_mut(&key) else { continue };
            let mut is_ready = followed.phase == Phase::Fetching && followed.delayed_until.is_none();
            if is_ready && followed.is_held_back(now) {
                is_ready = false;
                let until = now + THROTTLED_MS;
                followed.delayed_until = Some(until);
                self.delayed.insert((until, key.clone()));
            }
            let wanted = is_ready.then(|| followed.wanted(max_bytes));
            match (wanted, followed.sent) {
                (Some(wanted), sent) if sent != Some(wanted) => {
                    self.session_members += usize::from(sent.is_none());
                    self.forgotten.remove(&key).filter(|id| *id != followed.topic_id).inspect(|old| {
                        ask.forgotten.push((key.0.clone(), *old, key.1));
                    });
                    followed.sent = Some(wanted);
                    ask.wanted.push((key.0, followed.topic_id, key.1, wanted));
                }
                (None, Some(_)) => {
                    self.session_members -= 1;
                    followed.sent = None;
                    self.forgotten.insert(key, followed.topic_id);
                }
                _ => {}
            }
        }
        for ((topic, partition), id) in std::mem::take(&mut self.forgotten) {
            ask.forgotten.push((topic, id, partition));
        }
        ask.patience_ms = self.delayed.first().map(|(at, _)| *at - now);
        (self.session_members > 0 || !ask.forgotten.is_empty()).then_some(ask)
    }

    /// A full request names all partitions anew and needs to forget none.
    fn begin_session(&mut self) {
        self.forgotten.clear();
        self.session_members = 0;
        for (key, followed) in &mut self.partitions {
            followed.sent = None;
            self.changed.insert(key.clone());
        }
    }

    /// Takes the leader's answer to Fetch, or the reason why there is none.
    pub fn on_fetch(&mut self, answer: Result<FetchAnswer, SessionFailure>, now: Now, woken: &mut Woken) {
        let Some(InFlight::Fetch { full }) = self.in_flight.take_if(|sent| matches!(sent, InFlight::Fetch { .. }))
        else {
            return;
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => {
                tracing::info!(%failure, "fetch from leader failed");
                if failure == SessionFailure::UnknownSession {
                    self.session_id = NO_SESSION;
                } else {
                    self.pause(now.mono);
                }
                self.session_epoch = INITIAL_EPOCH;
                return;
            }
        };
        self.failures = 0;
        match (full, answer.session_id) {
            (_, NO_SESSION) => (self.session_id, self.session_epoch) = (NO_SESSION, INITIAL_EPOCH),
            (true, id) => (self.session_id, self.session_epoch) = (id, next_epoch(INITIAL_EPOCH)),
            (false, _) => self.session_epoch = next_epoch(self.session_epoch),
        }
        for (topic, partition, outcome) in answer.partitions {
            let topic = match topic {
                TopicName::Id(id) => self.names.get(&id).cloned(),
                TopicName::Name(name) => Some(name.into()),
            };
            if let Some(topic) = topic {
                self.on_partition((topic, partition), outcome, now, woken);
            }
        }
    }

    fn on_partition(&mut self, key: Key, outcome: Result<Fetched, FetchFailure>, now: Now, woken: &mut Woken) {
        let Some(followed) = self.partitions.get_mut(&key) else { return };
        let asked = followed.sent.map(|sent| sent.fetch_offset);
        let is_ready = followed.phase == Phase::Fetching && followed.delayed_until.is_none();
        // Removed and added again, or truncated, while the request was on its way.
        if !is_ready || asked != Some(followed.position.offset) {
            return;
        }
        let (epoch, partition) = (followed.leader_epoch, followed.partition.clone());
        let moved = match outcome {
            Ok(Fetched { diverging: Some((div_epoch, end)), .. }) => {
                partition.truncate_to_leader(epoch, div_epoch, end)
            }
            Ok(fetched) => {
                let (bytes, high_watermark) = (fetched.records.len(), fetched.high_watermark);
                let moved = partition.append_fetched(epoch, followed.position, fetched, (now, woken));
                let throttle = &partition.shared.throttles.following;
                if bytes > 0 && throttle.covers(&key.0, key.1) {
                    throttle.record(bytes, now.mono);
                }
                if let Ok(position) = &moved {
                    followed.lag = (high_watermark - position.offset).max(0);
                    partition.shared.counters.replication_bytes_in.add(bytes as u64);
                }
                followed.is_in_sync = moved.as_ref().is_ok_and(|position| position.offset >= high_watermark);
                moved
            }
            Err(FetchFailure::OffsetOutOfRange) => {
                followed.phase = Phase::AsksEnd;
                self.asking.insert(key.clone());
                self.changed.insert(key);
                return;
            }
            Err(FetchFailure::InRemote(log_start_offset)) => {
                followed.phase = Phase::AsksLocalStart(log_start_offset);
                self.asking.insert(key.clone());
                self.changed.insert(key);
                return;
            }
            Err(FetchFailure::FencedEpoch) => {
                tracing::info!(topic = &*key.0, partition = key.1, epoch, "fenced; waiting for the new leader");
                self.remove(&key);
                return;
            }
            Err(failure @ FetchFailure::Other(_)) => {
                tracing::info!(topic = &*key.0, partition = key.1, %failure, "fetch failed");
                self.delay(&key, now.mono);
                return;
            }
        };
        self.settle(key, moved, now.mono);
    }

    /// Goes on from where an append or a truncation left the log.
    fn settle(&mut self, key: Key, moved: Result<Position, FollowError>, now: Millis) {
        match moved {
            Ok(position) => {
                if let Some(followed) = self.partitions.get_mut(&key) {
                    followed.position = position;
                    followed.failures = 0;
                    followed.phase = Phase::Fetching;
                    self.changed.insert(key);
                }
            }
            Err(FollowError::Superseded) => self.remove(&key),
            Err(FollowError::Rejected(reason)) => {
                tracing::error!(
                    topic = &*key.0,
                    partition = key.1,
                    reason,
                    "records from the leader are not acceptable"
                );
                self.delay(&key, now);
            }
            Err(FollowError::Storage) => {
                tracing::warn!(topic = &*key.0, partition = key.1, "no longer replicated: its log directory failed");
                self.remove(&key);
            }
        }
    }

    fn pause(&mut self, now: Millis) {
        self.paused_until = Some(now + pause_ms(self.failures, self.settings.backoff_ms));
        self.failures += 1;
    }

    fn delay(&mut self, key: &Key, now: Millis) {
        if let Some(followed) = self.partitions.get_mut(key)
            && followed.delayed_until.is_none()
        {
            let until = now + pause_ms(followed.failures, self.settings.backoff_ms);
            followed.failures += 1;
            followed.delayed_until = Some(until);
            self.delayed.insert((until, key.clone()));
            self.asking.remove(key);
            self.changed.insert(key.clone());
        }
    }

    /// Takes the leader's answer to ListOffsets: for each partition an offset or a failure; `None` if no answer came.
    pub fn on_offsets(&mut self, answer: Option<Vec<(Key, Result<LeaderOffset, FetchFailure>)>>, now: Millis) {
        let sent = self.in_flight.take_if(|sent| matches!(sent, InFlight::Offsets(_)));
        let Some(InFlight::Offsets(asked)) = sent else { return };
        let Some(answer) = answer else {
            self.pause(now);
            self.session_epoch = INITIAL_EPOCH;
            return;
        };
        let mut answers: BTreeMap<Key, Result<LeaderOffset, FetchFailure>> = answer.into_iter().collect();
        for (topic, partition, epoch) in asked.partitions {
            let key = (topic, partition);
            let outcome = answers.remove(&key).unwrap_or(Err(FetchFailure::Other(-1)));
            let Some(followed) = self.partitions.get_mut(&key) else { continue };
            if followed.phase.which() != Some(asked.which) || followed.leader_epoch != epoch {
                continue;
            }
            self.asking.remove(&key);
            self.on_leader_offset(key, asked.which, outcome, now);
        }
    }

    /// Takes the leader's answer to OffsetForLeaderEpoch: for each partition an epoch and its end, or a failure; `None` if no
    /// answer came.
    pub fn on_epochs(&mut self, answer: Option<Vec<EpochEnd>>, now: Millis) {
        let sent = self.in_flight.take_if(|sent| matches!(sent, InFlight::Epochs(_)));
        let Some(InFlight::Epochs(asked)) = sent else { return };
        let Some(answer) = answer else {
            self.pause(now);
            self.session_epoch = INITIAL_EPOCH;
            return;
        };
        let mut answers: BTreeMap<Key, Result<(i32, i64), FetchFailure>> = answer.into_iter().collect();
        for (topic, partition, leader_epoch, _) in asked.partitions {
            let key = (topic, partition);
            let outcome = answers.remove(&key).unwrap_or(Err(FetchFailure::Other(-1)));
            let Some(followed) = self.partitions.get_mut(&key).filter(|one| one.leader_epoch == leader_epoch) else {
                continue;
            };
            let Phase::AsksEpoch(log_start, local_start, epoch) = followed.phase else { continue };
            self.asking.remove(&key);
            match outcome {
                Err(FetchFailure::FencedEpoch) => self.remove(&key),
                Err(failure) => {
                    tracing::info!(topic = &*key.0, partition = key.1, %failure, "cannot learn the leader's epochs");
                    self.delay(&key, now);
                }
                // The end of the earlier epoch is that of the offsets before it, too.
                Ok((earlier, end)) => {
                    let epoch = if end > local_start - 1 { earlier } else { epoch };
                    self.rebuild(&key, (log_start, local_start, epoch));
                }
            }
        }
    }

    fn rebuild(&mut self, key: &Key, (log_start_offset, local_start, epoch): (i64, i64, i32)) {
        let Some(followed) = self.partitions.get_mut(key) else { return };
        followed.phase = Phase::Rebuilds;
        self.rebuilds.push(RebuildAsk {
            topic: key.0.clone(),
            topic_id: followed.topic_id,
            partition: key.1,
            leader_epoch: followed.leader_epoch,
            offset: local_start - 1,
            epoch,
            log_start_offset,
        });
    }

    /// What is in the remote store; `None` if it cannot be told now: everything is asked again later.
    pub fn on_rebuilt(&mut self, ask: &RebuildAsk, behind: Option<&RemoteState>, now: Now) {
        let key = (ask.topic.clone(), ask.partition);
        let Some(followed) = self.partitions.get_mut(&key) else { return };
        if followed.phase != Phase::Rebuilds || followed.leader_epoch != ask.leader_epoch {
            return;
        }
        match behind {
            Some(behind) => {
                let moved = followed.partition.restart_behind(ask.leader_epoch, behind, now);
                self.settle(key, moved, now.mono);
            }
            None => {
                followed.phase = Phase::Fetching;
                self.delay(&key, now.mono);
            }
        }
    }

    /// Our offset is not in the leader's log. If the leader ends below us (unclean election), we cut to its end. If not
    /// and it starts above our end, nothing of ours is of use and we start there; otherwise we go on from our end.
    fn on_leader_offset(&mut self, key: Key, which: Which, outcome: Result<LeaderOffset, FetchFailure>, now: Millis) {
        let Some(followed) = self.partitions.get_mut(&key) else { return };
        let (epoch, partition) = (followed.leader_epoch, followed.partition.clone());
        match outcome {
            Ok(LeaderOffset { offset, leader_epoch }) if which == Which::LocalStart => {
                let Phase::AsksLocalStart(log_start) = followed.phase else { return };
                if leader_epoch > 0 {
                    followed.phase = Phase::AsksEpoch(log_start, offset, leader_epoch);
                    self.asking.insert(key);
                } else {
                    self.rebuild(&key, (log_start, offset, leader_epoch));
                }
            }
            Err(FetchFailure::FencedEpoch) => self.remove(&key),
            Err(failure) => {
                tracing::info!(topic = &*key.0, partition = key.1, %failure, "cannot learn the leader's offsets");
                self.delay(&key, now);
            }
            Ok(leader) if which == Which::End => match partition.cut_to_leader_end(epoch, leader.offset) {
                Ok(Some(position)) => self.settle(key, Ok(position), now),
                Ok(None) => {
                    followed.phase = Phase::AsksStart;
                    self.asking.insert(key);
                }
                Err(error) => self.settle(key, Err(error), now),
            },
            Ok(leader) => {
                let moved = partition.start_at_leader_start(epoch, leader.offset);
                self.settle(key, moved, now);
            }
        }
    }
}

impl Phase {
    /// Which offset of the leader is needed.
    fn which(self) -> Option<Which> {
        match self {
            Phase::AsksEnd => Some(Which::End),
            Phase::AsksStart => Some(Which::Start),
            Phase::AsksLocalStart(_) => Some(Which::LocalStart),
            Phase::Fetching | Phase::AsksEpoch(..) | Phase::Rebuilds => None,
        }
    }
}

impl Followed {
    /// It catches up, is throttled, and too many bytes were fetched for such as it (KIP-73).
    fn is_held_back(&self, now: Millis) -> bool {
        let throttle = &self.partition.shared.throttles.following;
        !self.is_in_sync && throttle.covers(self.partition.topic(), self.partition.index()) && throttle.is_exceeded(now)
    }

    fn wanted(&self, max_bytes: i32) -> Wanted {
        Wanted {
            fetch_offset: self.position.offset,
            log_start_offset: self.partition.log_start_offset(),
            max_bytes,
            current_leader_epoch: Some(self.leader_epoch),
            last_fetched_epoch: self.position.epoch,
        }
    }
}
