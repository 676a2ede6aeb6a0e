//! The share partitions that this broker leads: begins with their state, reads for members, takes their acknowledgements, has
//! written what became of records, and keeps fetches that found nothing. Their rules are the machine's (`partition.rs`), who
//! may read what is the handlers'.

mod figures;

use super::batches::combine;
use super::coordinator::{StateReply, StateWrite};
use super::log_batches::LogBatches;
use super::partition::{AckBatch, Acquired, Ask, Change, Limits, SharePartition};
use super::persister::Outcome;
use super::session::{Member, Place, ShareSessions};
use super::waiting::{Parked, Waiting};
use super::{ShareKey, StateBatch};
use crate::broker::Broker;
use crate::config::ShareOffsetReset;
use crate::metrics::{Counter, ShareCounters};
use crate::outbox::ConnectionId;
use crate::partition::fetch_session::Wanted;
use crate::partition::{self, Asker, FetchParams, FetchPart, Isolation, OffsetQuery, ReadError};
use crate::share_settings::ShareSettings;
use common::kafka::error::ErrorCode;
use common::kafka::records::Records;
use common::mutants;
use common::time::{Millis, Now};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

/// Hears what became of an acknowledgement. It may encode and send; it must not call a machine.
pub(crate) type Acked = Box<dyn FnOnce(Result<(), ErrorCode>) + Send>;
/// Hears what a fetch got. As [`Acked`].
pub(crate) type Fetched = Box<dyn FnOnce(Vec<ShareOutcome>, Now) + Send>;

/// What a fetch got of one partition, or why it got nothing.
#[derive(Clone, Debug)]
pub(crate) struct ShareOutcome {
    pub(crate) place: Place,
    pub(crate) result: Result<ShareData, ErrorCode>,
}

/// Records that a member acquired.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShareData {
    pub(crate) records: Records,
    pub(crate) acquired: Vec<Acquired>,
}

/// A fetch of a member.
pub(crate) struct ShareOrder {
    pub(crate) member: Member,
    /// The partitions, in the order in which they are read, and their topics' names.
    pub(crate) targets: Vec<(Uuid, i32, Arc<str>)>,
    pub(crate) max_wait_ms: u64,
    pub(crate) min_bytes: usize,
    pub(crate) max_bytes: usize,
    pub(crate) max_records: i64,
    pub(crate) batch_size: i64,
    pub(crate) is_exact: bool,
}

/// All share partitions of a broker, the sessions that read them, and the fetches that wait.
pub(crate) struct Shares {
    pub(crate) sessions: Mutex<ShareSessions>,
    table: Mutex<Table>,
    timers: Mutex<BTreeSet<(Millis, ShareKey)>>,
    pub(super) waiting: Mutex<Waiting>,
    /// What members said of records, where it was written down.
    pub(crate) counters: ShareCounters,
}

#[derive(Default)]
struct Table {
    held: BTreeMap<ShareKey, Arc<Held>>,
    /// By topic and partition.
    places: BTreeMap<(Arc<str>, i32), BTreeSet<ShareKey>>,
}

/// A share partition.
pub(super) struct Held {
    pub(super) key: ShareKey,
    topic: Arc<str>,
    leader_epoch: i32,
    state: Mutex<HeldState>,
    lock_timeouts: Counter,
}

struct HeldState {
    stage: Stage,
    /// When it stands among the timers.
    scheduled: Option<Millis>,
    /// Something is being written; what comes meanwhile is written next, all of it at once and in order.
    is_writing: bool,
    queue: Vec<Queued>,
}

/// Loading -> Serving when its state is read; Closed from both when that fails, or another leads or may lead it.
enum Stage {
    Loading,
    Serving(Box<SharePartition>),
    Closed(ErrorCode),
}

/// Something to be written.
struct Queued {
    /// A change that waits for it.
    number: Option<u64>,
    batches: Vec<StateBatch>,
    then: Option<Acked>,
}

impl HeldState {
    /// What is to be written now, if anything.
    fn begin_writing(&mut self, leader_epoch: i32) -> Option<(StateWrite, Vec<Queued>)> {
        let Stage::Serving(partition) = &self.stage else { return None };
        if self.is_writing || self.queue.is_empty() {
            return None;
        }
        self.is_writing = true;
        let queue = std::mem::take(&mut self.queue);
        let batches: Vec<StateBatch> = queue.iter().flat_map(|queued| queued.batches.iter().copied()).collect();
        Some((partition.write(leader_epoch, combine(&[], &batches, -1)), queue))
    }
}

impl Shares {
    /// None yet; at most `sessions` sessions.
    pub(crate) fn new(sessions: usize) -> Shares {
        Shares {
            sessions: Mutex::new(ShareSessions::new(sessions)),
            table: Mutex::default(),
            timers: Mutex::default(),
            waiting: Mutex::default(),
            counters: ShareCounters::default(),
        }
    }

    /// When something is due.
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        let timer = self.timers.lock().first().map(|(at, _)| *at);
        let waiting = self.waiting.lock().deadlines.first().map(|(at, _)| *at);
        timer.into_iter().chain(waiting).min()
    }

    fn get(&self, key: &ShareKey) -> Option<Arc<Held>> {
        self.table.lock().held.get(key).cloned()
    }

    fn forget(&self, held: &Held) {
        let mut table = self.table.lock();
        // Another may have taken its place.
        if !table.held.get(&held.key).is_some_and(|other| std::ptr::eq(&**other, held)) {
            return;
        }
        table.held.remove(&held.key);
        let place = (held.topic.clone(), held.key.partition);
        if let Some(keys) = table.places.get_mut(&place) {
            keys.remove(&held.key);
            if keys.is_empty() {
                table.places.remove(&place);
            }
        }
    }

    /// The share partitions of a group.
    fn of_group(&self, group: &str) -> Vec<Arc<Held>> {
        let from = ShareKey { group: group.to_owned(), topic_id: Uuid::nil(), partition: i32::MIN };
        let table = self.table.lock();
        let of_group = table.held.range(from..).take_while(|(key, _)| key.group == group);
        of_group.map(|(_, held)| held.clone()).collect()
    }

    /// The share partitions of a partition.
    fn of_place(&self, topic: &str, partition: i32) -> Vec<Arc<Held>> {
        let table = self.table.lock();
        let keys = table.places.get(&(Arc::from(topic), partition));
        keys.into_iter().flatten().filter_map(|key| table.held.get(key).cloned()).collect()
    }
}

/// What the machine of a share partition looks at.
fn limits_of(settings: &ShareSettings) -> Limits {
    Limits {
        max_locks: i64::try_from(settings.partition_max_record_locks).unwrap_or(i64::MAX),
        delivery_limit: settings.delivery_count_limit,
        lock_ms: settings.record_lock_duration_ms,
        renews: settings.allows_renewal,
    }
}

/// How whoever asks a share partition hears that its coordinator failed.
fn of_persister(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::NotCoordinator
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::NetworkException => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::FencedLeaderEpoch | ErrorCode::FencedStateEpoch => ErrorCode::NotLeaderOrFollower,
        code @ (ErrorCode::GroupIdNotFound | ErrorCode::UnknownTopicOrPartition) => code,
        _ => ErrorCode::UnknownServerError,
    }
}

/// The answer to a question about one share partition.
fn the_one(outcomes: Vec<Outcome>) -> Result<StateReply, ErrorCode> {
    outcomes.into_iter().next().map_or(Err(ErrorCode::UnknownServerError), |(.., result)| result)
}

/// True if the share partition must be begun with anew, as its coordinator says: it knows it no longer, or otherwise.
fn ends_it(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::FencedLeaderEpoch
            | ErrorCode::FencedStateEpoch
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::GroupIdNotFound
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::InvalidRequest
    )
}

impl Broker {
    // ---- fetching

    /// Reads for a member. `done` hears at once, or when there is something, or when the time is up.
    pub(crate) fn share_fetch(self: &Arc<Self>, order: ShareOrder, done: Fetched, now: Now) {
        let group = order.member.0.clone();
        let mut begun = Vec::new();
        let targets: Vec<_> = order
            .targets
            .iter()
            .map(|(topic_id, partition, topic)| {
                let key = ShareKey { group: group.clone(), topic_id: *topic_id, partition: *partition };
                self.hold_share(key, topic, &mut begun)
            })
            .collect();
        let deadline = now.mono + order.max_wait_ms;
        let member = Arc::from(order.member.1.as_str());
        let is_hopeless = targets.iter().all(Result::is_err) || order.max_records <= 0 || order.max_bytes == 0;
        let parked = Parked { id: 0, deadline, member, order, targets, done: Mutex::new(Some(done)) };
        let parked = self.shares.park(parked);
        for held in begun {
            self.load_share(held);
        }
        let is_last = is_hopeless || parked.order.max_wait_ms == 0;
        if !self.try_share_fetch(&parked, is_last, now) {
            self.outbox.wake_at(deadline);
        }
    }

    /// How long a member has a record.
    pub(crate) fn share_lock_ms(&self, group: &str) -> i32 {
        i32::try_from(self.share_settings(group).record_lock_duration_ms).unwrap_or(i32::MAX)
    }

    /// The share partition; if it was not there, its state is to be loaded.
    fn hold_share(&self, key: ShareKey, topic: &Arc<str>, begun: &mut Vec<Arc<Held>>) -> Result<Arc<Held>, ErrorCode> {
        if let Some(held) = self.shares.get(&key) {
            return Ok(held);
        }
        let partition = self.replicas.get(topic, key.partition).ok_or(ErrorCode::NotLeaderOrFollower)?;
        // Before it is looked at who leads: news of another leader must find it.
        partition.watch();
        let mut table = self.shares.table.lock();
        let leader_epoch = partition.leader_epoch_if_leader().ok_or(ErrorCode::NotLeaderOrFollower)?;
        if let Some(held) = table.held.get(&key) {
            return Ok(held.clone());
        }
        let state = HeldState { stage: Stage::Loading, scheduled: None, is_writing: false, queue: Vec::new() };
        let (topic, state) = (topic.clone(), Mutex::new(state));
        let held = Arc::new(Held {
            key: key.clone(),
            topic: topic.clone(),
            leader_epoch,
            state,
            lock_timeouts: Counter::default(),
        });
        table.places.entry((topic, key.partition)).or_default().insert(key.clone());
        table.held.insert(key, held.clone());
        begun.push(held.clone());
        Ok(held)
    }

    /// Tries to answer a fetch that waits; true if it is answered.
    fn try_share_fetch(self: &Arc<Self>, parked: &Arc<Parked>, is_last: bool, now: Now) -> bool {
        let mut effects = Vec::new();
        let mut guard = parked.done.lock();
        if guard.is_none() {
            return true;
        }
        let settings = self.share_settings(&parked.order.member.0);
        let is_worth_it = parked.order.min_bytes <= 1
            || is_last
            || self.readable_bytes(parked, &settings, now, &mut effects) >= parked.order.min_bytes;
        let outcomes = is_worth_it.then(|| self.acquire_shares(parked, &settings, now, &mut effects));
        let is_something = |outcome: &ShareOutcome| match &outcome.result {
            Ok(data) => !data.acquired.is_empty(),
            Err(_) => true,
        };
        let outcomes = outcomes.filter(|outcomes| is_last || outcomes.iter().any(is_something));
        let done = outcomes.is_some().then(|| guard.take()).flatten();
        drop(guard);
        self.with_replicas(now, |_, all| all.append(&mut effects));
        let (Some(outcomes), Some(done)) = (outcomes, done) else { return false };
        self.shares.unpark(parked);
        done(outcomes, now);
        true
    }

    /// How much there is to read, as far as the fetch would read it.
    fn readable_bytes(
        &self,
        parked: &Parked,
        settings: &ShareSettings,
        now: Now,
        effects: &mut Vec<partition::Effect>,
    ) -> usize {
        let mut bytes = 0;
        for target in &parked.targets {
            let Ok(held) = target else { return usize::MAX };
            let mut state = held.state.lock();
            match &mut state.stage {
                Stage::Loading => {}
                Stage::Closed(_) => return usize::MAX,
                Stage::Serving(partition) => {
                    if !partition.can_acquire(&limits_of(settings)) {
                        continue;
                    }
                    let (offset, max) = (partition.next_fetch(), parked.order.max_bytes);
                    match self.read_for_share(held, (offset, max, true), settings, (now, effects)) {
                        Ok(data) => bytes += data.records.len(),
                        Err(_) => return usize::MAX,
                    }
                }
            }
        }
        bytes
    }

    fn acquire_shares(
        self: &Arc<Self>,
        parked: &Parked,
        settings: &ShareSettings,
        now: Now,
        effects: &mut Vec<partition::Effect>,
    ) -> Vec<ShareOutcome> {
        let order = &parked.order;
        let can_acquire = |target: &Result<Arc<Held>, ErrorCode>| {
            target.as_ref().is_ok_and(|held| match &mut held.state.lock().stage {
                Stage::Serving(partition) => partition.can_acquire(&limits_of(settings)),
                Stage::Loading | Stage::Closed(_) => false,
            })
        };
        let open = parked.targets.iter().filter(|target| can_acquire(target)).count().max(1);
        let max_bytes = order.max_bytes / open;
        let (mut is_empty, mut left) = (true, order.max_records);
        let mut outcomes = Vec::with_capacity(order.targets.len());
        for (target, (topic_id, index, _)) in parked.targets.iter().zip(&order.targets) {
            let place = (*topic_id, *index);
            let result = match target {
                Err(code) => Err(*code),
                Ok(_) if left <= 0 => Ok(ShareData::default()),
                Ok(held) => {
                    let limits = (max_bytes, is_empty, left);
                    self.acquire_share(held, parked, limits, (settings, now, effects))
                }
            };
            if let Ok(data) = &result {
                is_empty &= data.records.is_empty();
                left -= data.acquired.iter().map(|one| one.last - one.first + 1).sum::<i64>();
            }
            outcomes.push(ShareOutcome { place, result });
        }
        outcomes
    }

    fn acquire_share(
        self: &Arc<Self>,
        held: &Arc<Held>,
        parked: &Parked,
        (max_bytes, at_least_one, max_records): (usize, bool, i64),
        (settings, now, effects): (&ShareSettings, Now, &mut Vec<partition::Effect>),
    ) -> Result<ShareData, ErrorCode> {
        let mut state = held.state.lock();
        let partition = match &mut state.stage {
            Stage::Loading => return Ok(ShareData::default()),
            Stage::Closed(code) => return Err(*code),
            Stage::Serving(partition) => partition,
        };
        if !partition.can_acquire(&limits_of(settings)) {
            return Ok(ShareData::default());
        }
        let mut fetch_offset = partition.next_fetch();
        let mut read = self.read_for_share(held, (fetch_offset, max_bytes, at_least_one), settings, (now, effects));
        if matches!(read, Err(ReadError::OffsetOutOfRange)) {
            // Records may have been deleted since.
            let start = self.replicas.get(&held.topic, held.key.partition).map(|held| held.log_start_offset());
            partition.move_start(start.unwrap_or(0));
            fetch_offset = partition.next_fetch();
            read = self.read_for_share(held, (fetch_offset, max_bytes, at_least_one), settings, (now, effects));
        }
        let data = match read {
            Ok(data) => data,
            // It is behind the end of the log, which was cut: there will be records.
            Err(ReadError::OffsetOutOfRange) => return Ok(ShareData::default()),
            Err(ReadError::FencedEpoch | ReadError::UnknownEpoch) => return Err(ErrorCode::NotLeaderOrFollower),
            Err(error) => return Err(error.into()),
        };
        let aborted = data.aborted.unwrap_or_default();
        let mut batches = LogBatches::new(&data.records, &aborted);
        let order = &parked.order;
        let ask = Ask {
            member: &parked.member,
            fetch_offset,
            max_records,
            batch_size: order.batch_size,
            is_exact: order.is_exact,
        };
        let acquired = partition.acquire(&mut batches, &ask, &limits_of(settings), now.mono);
        if batches.is_damaged && acquired.is_empty() {
            return Err(ErrorCode::KafkaStorageError);
        }
        self.schedule_share(held, &mut state);
        let (Some(first), Some(last)) = (acquired.first(), acquired.last()) else { return Ok(ShareData::default()) };
        let records = batches.stretch(first.first, last.last);
        self.replicas.count_read(&held.topic, held.key.partition, records.len());
        Ok(ShareData { records, acquired })
    }

    fn read_for_share(
        &self,
        held: &Held,
        (fetch_offset, max_bytes, at_least_one): (i64, usize, bool),
        settings: &ShareSettings,
        (now, effects): (Now, &mut Vec<partition::Effect>),
    ) -> Result<partition::FetchData, ReadError> {
        let max_bytes = i32::try_from(max_bytes).unwrap_or(i32::MAX);
        let params = FetchParams {
            nearer: Arc::default(),
            replica: None,
            replica_epoch: -1,
            only_leader: true,
            isolation: if settings.reads_committed { Isolation::Committed } else { Isolation::HighWatermark },
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes,
        };
        let wanted = Wanted {
            fetch_offset,
            log_start_offset: -1,
            max_bytes,
            // A leader that is given another epoch goes on; of one that was not the leader in between news came.
            current_leader_epoch: None,
            last_fetched_epoch: None,
        };
        let (topic, topic_id, partition) = (held.topic.clone(), held.key.topic_id, held.key.partition);
        let part = FetchPart { topic, topic_id, partition, wanted };
        let read = self.replicas.read_uncounted(&params, &part, at_least_one, (now, effects));
        match read {
            Ok(data) if data.is_in_remote => self.read_remote_now(&params, &part, at_least_one, data),
            read => read,
        }
    }

    /// Something changed for a share partition: who waits for it tries again.
    fn wake_share(self: &Arc<Self>, key: &ShareKey, now: Now) {
        for parked in self.shares.waiting_for(key) {
            self.try_share_fetch(&parked, false, now);
        }
    }

    /// More of a partition can be read.
    pub(crate) fn on_more_to_share(self: &Arc<Self>, topic: &str, partition: i32, now: Now) {
        for held in self.shares.of_place(topic, partition) {
            self.wake_share(&held.key, now);
        }
    }

    // ---- beginning and ending

    fn load_share(self: &Arc<Self>, held: Arc<Held>) {
        let broker = self.clone();
        let (group, asked) = (held.key.group.clone(), vec![(held.key.topic_id, held.key.partition, held.leader_epoch)]);
        let then = move |outcomes: Vec<Outcome>, now: Now| {
            broker.on_share_loaded(&held, the_one(outcomes), now);
        };
        self.read_share_state(&group, asked, Box::new(then));
    }

    fn on_share_loaded(self: &Arc<Self>, held: &Arc<Held>, result: Result<StateReply, ErrorCode>, now: Now) {
        let begun = result.map_err(of_persister).and_then(|known| {
            let start = if known.start_offset < 0 { self.share_beginning(held, now)? } else { known.start_offset };
            Ok((known, start))
        });
        let (known, start) = match begun {
            Ok(begun) => begun,
            Err(code) => {
                tracing::info!(
                    group = held.key.group,
                    topic = &*held.topic,
                    partition = held.key.partition,
                    ?code,
                    "a share partition cannot begin"
                );
                return self.close_share(held, code, now);
            }
        };
        let write = {
            let mut state = held.state.lock();
            if !matches!(state.stage, Stage::Loading) {
                return;
            }
            tracing::debug!(
                group = held.key.group,
                topic = &*held.topic,
                partition = held.key.partition,
                start,
                "a share partition begins"
            );
            state.stage = Stage::Serving(Box::new(SharePartition::load(&known, start)));
            if known.start_offset < 0 {
                // Where it begins must not depend on what comes until somebody acknowledges something.
                state.queue.push(Queued { number: None, batches: Vec::new(), then: None });
            }
            state.begin_writing(held.leader_epoch)
        };
        self.write_share(held, write);
        self.wake_share(&held.key, now);
        self.close_if_unused(held, now);
    }

    /// Where the group begins of which nothing is known.
    fn share_beginning(&self, held: &Held, now: Now) -> Result<i64, ErrorCode> {
        let log = self.replicas.get(&held.topic, held.key.partition).ok_or(ErrorCode::NotLeaderOrFollower)?;
        let asker = Asker { current_leader_epoch: Some(held.leader_epoch), only_leader: true };
        let find = |query| {
            let found = log.find_offset(asker, query, Some(Isolation::HighWatermark));
            found.map_err(|error| match error {
                ReadError::FencedEpoch | ReadError::UnknownEpoch => ErrorCode::NotLeaderOrFollower,
                error => error.into(),
            })
        };
        let query = match self.share_settings(&held.key.group).auto_offset_reset {
            ShareOffsetReset::Latest => OffsetQuery::Latest,
            ShareOffsetReset::Earliest => OffsetQuery::Earliest,
            ShareOffsetReset::ByDuration(ms) => OffsetQuery::Timestamp(now.wall.0.saturating_sub(ms)),
        };
        let found = match find(query)? {
            Some(found) => Some(found),
            None => find(OffsetQuery::Latest)?,
        };
        found.map(|found| found.offset).ok_or(ErrorCode::OffsetNotAvailable)
    }

    /// It is begun with anew by whoever asks next.
    fn close_share(self: &Arc<Self>, held: &Arc<Held>, code: ErrorCode, now: Now) {
        self.shares.forget(held);
        let queue = {
            let mut state = held.state.lock();
            state.stage = Stage::Closed(code);
            std::mem::take(&mut state.queue)
        };
        for then in queue.into_iter().filter_map(|queued| queued.then) {
            then(Err(code));
        }
        self.wake_share(&held.key, now);
    }

    /// If nobody of the group reads here any more and nothing is under way, whoever comes finds it as it was written. Kept, it
    /// would hide what becomes of the group meanwhile: other offsets, or its end and another one of its name.
    fn close_if_unused(self: &Arc<Self>, held: &Arc<Held>, now: Now) {
        {
            let mut state = held.state.lock();
            let is_idle = matches!(&state.stage, Stage::Serving(partition) if partition.is_idle());
            if !is_idle || state.is_writing || !state.queue.is_empty() {
                return;
            }
            // A session is opened before anything is acquired in it: who comes later finds it closed.
            if self.shares.sessions.lock().has_group(&held.key.group) {
                return;
            }
            state.stage = Stage::Closed(ErrorCode::NotLeaderOrFollower);
        }
        self.shares.forget(held);
        self.wake_share(&held.key, now);
    }

    /// This broker leads a partition no longer, or again.
    pub(crate) fn on_share_leadership(self: &Arc<Self>, topic: &str, partition: i32, now: Now) {
        for held in self.shares.of_place(topic, partition) {
            self.close_share(&held, ErrorCode::NotLeaderOrFollower, now);
        }
    }

    // ---- acknowledging

    /// What a member says became of records; `then` hears when it is written.
    pub(crate) fn share_acknowledge(
        self: &Arc<Self>,
        (key, member): (&ShareKey, &str),
        acks: &[AckBatch],
        then: Acked,
        now: Now,
    ) {
        let Some(held) = self.shares.get(key) else { return then(Err(ErrorCode::UnknownTopicOrPartition)) };
        let then = self.counting(acks, then);
        let limits = limits_of(&self.share_settings(&key.group));
        let mut state = held.state.lock();
        let outcome = match &mut state.stage {
            Stage::Loading => Err(ErrorCode::InvalidRecordState),
            Stage::Closed(code) => Err(*code),
            Stage::Serving(partition) => {
                partition.acknowledge(member, acks, &limits, now.mono).map_err(ErrorCode::from)
            }
        };
        let result = match outcome {
            Ok(Some(change)) if mutants::is_on("share-answered-before-written") => {
                state.queue.push(Queued { number: Some(change.number), batches: change.batches, then: None });
                Ok(())
            }
            Ok(Some(change)) => {
                let write = self.queue_change(&held, &mut state, change, Some(then));
                drop(state);
                return self.write_share(&held, write);
            }
            Ok(None) => Ok(()),
            Err(code) => Err(code),
        };
        drop(state);
        then(result);
    }

    fn queue_change(
        &self,
        held: &Held,
        state: &mut HeldState,
        change: Change,
        then: Option<Acked>,
    ) -> Option<(StateWrite, Vec<Queued>)> {
        let Change { number, batches } = change;
        state.queue.push(Queued { number: Some(number), batches, then });
        state.begin_writing(held.leader_epoch)
    }

    fn write_share(self: &Arc<Self>, held: &Arc<Held>, write: Option<(StateWrite, Vec<Queued>)>) {
        let Some((write, queued)) = write else { return };
        let (broker, of) = (self.clone(), held.clone());
        let then = move |outcomes: Vec<Outcome>, now: Now| {
            broker.on_share_written(&of, queued, the_one(outcomes).map(drop), now);
        };
        let asked = vec![(held.key.topic_id, held.key.partition, write)];
        self.write_share_state(&held.key.group, asked, Box::new(then));
    }

    fn on_share_written(
        self: &Arc<Self>,
        held: &Arc<Held>,
        queued: Vec<Queued>,
        result: Result<(), ErrorCode>,
        now: Now,
    ) {
        if let Err(code) = result {
            tracing::warn!(
                group = held.key.group,
                topic = &*held.topic,
                partition = held.key.partition,
                ?code,
                "the state of a share partition cannot be written"
            );
        }
        let is_over = result.is_err_and(ends_it);
        let result = result.map_err(of_persister);
        let limits = limits_of(&self.share_settings(&held.key.group));
        let write = {
            let mut state = held.state.lock();
            state.is_writing = false;
            if let Stage::Serving(partition) = &mut state.stage {
                for number in queued.iter().filter_map(|queued| queued.number) {
                    partition.complete(number, result.is_ok(), &limits, now.mono);
                }
            }
            self.schedule_share(held, &mut state);
            state.begin_writing(held.leader_epoch)
        };
        for then in queued.into_iter().filter_map(|queued| queued.then) {
            then(result);
        }
        self.write_share(held, write);
        match result {
            Err(code) if is_over => self.close_share(held, code, now),
            _ => {
                self.wake_share(&held.key, now);
                self.close_if_unused(held, now);
            }
        }
    }

    /// A member has left, or its session of this number has ended: what it had is given to others.
    pub(crate) fn end_share_session(self: &Arc<Self>, (member, number): (&Member, u64), now: Now) {
        if !self.shares.sessions.lock().remove(member, number) {
            return;
        }
        self.end_share_waiting(member, now);
        let limits = limits_of(&self.share_settings(&member.0));
        // Not only those that the session names at its end: it may have named others before, and who left earlier, too.
        for held in self.shares.of_group(&member.0) {
            let write = {
                let mut state = held.state.lock();
                let Stage::Serving(partition) = &mut state.stage else { continue };
                let change = partition.release(&member.1, &limits);
                change.and_then(|change| self.queue_change(&held, &mut state, change, None))
            };
            self.write_share(&held, write);
            self.close_if_unused(&held, now);
        }
    }

    /// A client's connection is closed, and the sessions that it brought end.
    pub fn on_connection_closed(self: &Arc<Self>, connection: ConnectionId, now: Now) {
        let sessions = self.shares.sessions.lock().of_connection(connection);
        for (member, number) in sessions {
            self.end_share_session((&member, number), now);
        }
    }

    // ---- time

    fn schedule_share(&self, held: &Held, state: &mut HeldState) {
        let Stage::Serving(partition) = &state.stage else { return };
        let Some(at) = partition.next_deadline() else { return };
        if state.scheduled.is_some_and(|scheduled| scheduled <= at) {
            return;
        }
        let mut timers = self.shares.timers.lock();
        if let Some(before) = state.scheduled.replace(at) {
            timers.remove(&(before, held.key.clone()));
        }
        timers.insert((at, held.key.clone()));
        drop(timers);
        self.outbox.wake_at(at);
    }

    /// Ends locks and waiting whose time is up.
    pub(crate) fn tick_shares(self: &Arc<Self>, now: Now) {
        loop {
            let key = {
                let mut timers = self.shares.timers.lock();
                match timers.first() {
                    Some((at, _)) if *at <= now.mono => timers.pop_first().map(|(_, key)| key),
                    _ => None,
                }
            };
            let Some(key) = key else { break };
            if let Some(held) = self.shares.get(&key) {
                self.expire_locks(&held, now);
            }
        }
        loop {
            let parked = {
                let waiting = self.shares.waiting.lock();
                let due = waiting.deadlines.first().filter(|(at, _)| *at <= now.mono);
                due.and_then(|(_, id)| waiting.fetches.get(id).cloned())
            };
            let Some(parked) = parked else { return };
            self.try_share_fetch(&parked, true, now);
            // Whoever answers it at this moment takes it off the list, too.
            self.shares.unpark(&parked);
        }
    }

    fn expire_locks(self: &Arc<Self>, held: &Arc<Held>, now: Now) {
        let limits = limits_of(&self.share_settings(&held.key.group));
        let write = {
            let mut state = held.state.lock();
            state.scheduled = None;
            let Stage::Serving(partition) = &mut state.stage else { return };
            let batches = partition.expire(&limits, now.mono);
            if !batches.is_empty() {
                let records: i64 = batches.iter().map(|batch| batch.last - batch.first + 1).sum();
                held.lock_timeouts.add(u64::try_from(records).unwrap_or(0));
                tracing::debug!(
                    group = held.key.group,
                    topic = &*held.topic,
                    partition = held.key.partition,
                    ?batches,
                    "locks of records ended"
                );
                state.queue.push(Queued { number: None, batches, then: None });
            }
            self.schedule_share(held, &mut state);
            state.begin_writing(held.leader_epoch)
        };
        self.write_share(held, write);
        self.wake_share(&held.key, now);
    }
}
