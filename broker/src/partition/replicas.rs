//! All partitions of this broker under one roof: finds them, carries requests to them, wakes who waits, and does what is
//! due with time. Each partition has its own lock; nothing is done for all of them on the way of a request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use common::Rng;
use common::id::TopicPartition;

use super::cleaning::Cleaning;
use super::fetch_session::FetchSessions;
use super::follower::{
    Ask, FetchAnswer, FetchFailure, Fetcher, FetcherSettings, Key, LeaderOffset, SessionFailure, TopicName,
};
use super::isr::Verdict;
use super::leading::AppendCall;
use super::storage::{self, LogDirs, StorageError};
use super::upkeep::Chores;
use super::waiting::{Deadlines, Done, Joined, Parked, ParkedFetch};
use super::*;
use crate::cluster::json::DiskPast;
use crate::log::{AppendOrigin, Verification};

/// Pause before AlterPartition is sent again (Kafka 3.9: 50 ms).
const ALTER_PARTITION_RETRY_MS: u64 = 50;
/// A controller that steps down may take an answer with it. After this, which is longer than any request waits for its
/// response, the changes are told again; telling one twice is harmless, because its partition epoch fits only once.
const ALTER_PARTITION_LOST_MS: u64 = 60_000;

/// Fetchers of one leader and number, the usual one included: leaderships that change more often than
/// `replica.fetch.wait.max.ms` so many times in a row wait for it.
const EXTRA_FETCHERS: u32 = 8;

/// A produce request.
pub struct ProduceCall {
    /// acks=all: answered when the records are replicated.
    pub acks_all: bool,
    /// How long to wait for that.
    pub timeout_ms: u64,
    /// Who appends.
    pub origin: AppendOrigin,
    /// What to append.
    pub parts: Vec<Append>,
}

/// Records for one partition.
#[derive(Clone, Debug)]
pub struct Append {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Record batches.
    pub records: Bytes,
    /// What must hold for a transactional batch.
    pub verification: Verification,
}

/// One partition of a fetch or of DeleteRecords.
#[derive(Clone, Debug)]
pub struct FetchPart {
    /// Topic.
    pub topic: Arc<str>,
    /// Topic id, nil if the request names none.
    pub topic_id: Uuid,
    /// Partition.
    pub partition: i32,
    /// What is wanted.
    pub wanted: Wanted,
}

/// A fetch request.
pub struct FetchCall {
    /// What holds for all partitions.
    pub params: FetchParams,
    /// The partitions, in the order in which they get bytes.
    pub parts: Vec<FetchPart>,
}

/// The controller's answer to one proposed change.
#[derive(Clone, Debug)]
pub struct IsrAnswer {
    /// The topic as the answer names it.
    pub topic: TopicName,
    /// Partition.
    pub partition: i32,
    /// What became of it.
    pub verdict: Verdict,
}

/// Changes for the controller: one request at a time, with all that is waiting.
#[derive(Default)]
pub(super) struct IsrQueue {
    waiting: BTreeMap<Key, IsrChange>,
    in_flight: BTreeMap<Key, IsrChange>,
    sent_at: Millis,
    retry_at: Option<Millis>,
}

impl IsrQueue {
    pub(super) fn send(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        if !self.in_flight.is_empty() && now - self.sent_at >= ALTER_PARTITION_LOST_MS {
            tracing::warn!(
                changes = self.in_flight.len(),
                "no answer to changes of in-sync replicas; telling them again"
            );
            for (key, change) in std::mem::take(&mut self.in_flight) {
                self.waiting.entry(key).or_insert(change);
            }
        }
        if self.in_flight.is_empty() && !self.waiting.is_empty() && self.retry_at.is_none_or(|at| at <= now) {
            self.retry_at = None;
            self.sent_at = now;
            self.in_flight = std::mem::take(&mut self.waiting);
            effects.push(Effect::AlterPartition(self.in_flight.values().cloned().collect()));
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Millis> {
        let lost = (!self.in_flight.is_empty()).then(|| self.sent_at + ALTER_PARTITION_LOST_MS);
        lost.or(self.retry_at)
    }

    fn retry_later(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let at = now + ALTER_PARTITION_RETRY_MS;
        self.retry_at = Some(at);
        effects.push(Effect::WakeAt(at));
    }
}

/// Serializes the controller's words.
pub(super) struct Control {
    pub(super) controller_epoch: i32,
    pub(super) rng: Rng,
    /// Shut down: the controller is heeded no longer.
    pub(super) is_closed: bool,
}

/// Partitions by topic and number.
type HeldTopics = BTreeMap<Arc<str>, BTreeMap<i32, Arc<Partition>>>;
/// Fetchers by leader and number.
type Fetchers = BTreeMap<(i32, u32), Arc<Mutex<Fetcher>>>;

/// All partitions of a broker.
pub struct Replicas {
    pub(super) shared: Arc<Shared>,
    pub(super) topics: RwLock<HeldTopics>,
    /// Settings by topic; `None` until they are known.
    pub(super) configs: RwLock<Option<BTreeMap<String, LogConfig>>>,
    pub(super) dirs: Mutex<LogDirs>,
    pub(super) fetchers: Mutex<Fetchers>,
    /// Incremental fetch sessions.
    pub sessions: Arc<FetchSessions>,
    pub(super) deadlines: Deadlines,
    pub(super) control: Mutex<Control>,
    pub(super) isr_queue: Mutex<IsrQueue>,
    pub(super) chores: Mutex<Chores>,
    /// Held while checkpoint files are replaced, and while all logs are closed.
    pub(super) checkpointing: Mutex<()>,
    broker_epoch: AtomicI64,
    pub(super) cleaning: Mutex<Cleaning>,
    /// Bytes in a second for moves between log directories; `u64::MAX` for as many as can be.
    pub(super) move_rate: AtomicU64,
}

impl Replicas {
    /// Opens all logs of `settings.log_dirs`. `topic_config` gives a topic's settings if they are known already.
    pub fn new(
        settings: Settings,
        disk: Arc<dyn Disk>,
        mut rng: Rng,
        topic_configs: Option<BTreeMap<String, LogConfig>>,
        now: Now,
    ) -> Result<Replicas, StorageError> {
        let default_log = RwLock::new(settings.log.clone());
        let throttles = Throttles::new(settings.throttle_window);
        let shared = Arc::new(Shared {
            settings,
            disk,
            alive: RwLock::default(),
            default_log,
            throttles,
            counters: ReplicaCounters::default(),
        });
        let settings = &shared.settings;
        let configs = topic_configs.as_ref();
        let config = |topic: &str| configs.and_then(|all| all.get(topic)).unwrap_or(&settings.log).clone();
        let (dirs, loaded) = LogDirs::load(&shared, config, now)?;
        let mut topics = HeldTopics::new();
        for storage::Loaded { partition: TopicPartition { topic, partition }, opened } in loaded {
            let topic: Arc<str> = topic.into();
            let siblings = topics.entry(topic.clone()).or_default();
            let counters = counters_of(siblings);
            let held = Arc::new(Partition::new((topic, partition), counters, shared.clone(), opened));
            siblings.insert(partition, held);
        }
        let sessions = Arc::new(FetchSessions::new(settings.fetch_session_slots, Rng::with_seed(rng.u64(..))));
        let mut chores = Chores::new(settings, now.mono);
        if topics.values().flat_map(BTreeMap::values).any(|partition| partition.future_view().is_some()) {
            chores.wake(Chore::Moves, now.mono);
        }
        Ok(Replicas {
            topics: RwLock::new(topics),
            configs: RwLock::new(topic_configs),
            fetchers: Mutex::default(),
            sessions,
            deadlines: Deadlines::default(),
            checkpointing: Mutex::default(),
            dirs: Mutex::new(dirs),
            control: Mutex::new(Control { controller_epoch: 0, rng, is_closed: false }),
            isr_queue: Mutex::default(),
            chores: Mutex::new(chores),
            broker_epoch: AtomicI64::new(-1),
            cleaning: Mutex::new(Cleaning::new(settings.cleaner)),
            move_rate: AtomicU64::new(u64::MAX),
            shared,
        })
    }

    /// What the log directories tell of the lives before this one.
    pub fn disk_past(&self) -> DiskPast {
        self.dirs.lock().past()
    }

    /// Checks that the log directories belong to this cluster and broker, and writes it into those that belong to none.
    pub fn claim(&self, cluster_id: &str) -> Result<(), StorageError> {
        self.dirs.lock().claim(self.shared.disk.as_ref(), self.shared.settings.broker, cluster_id)
    }

    /// The log directories in the order of `log.dirs`, and whether each failed.
    pub fn log_dirs(&self) -> Vec<(std::path::PathBuf, bool)> {
        self.dirs.lock().all()
    }

    /// The broker epoch of the current registration, told to leaders and to the controller.
    pub fn set_broker_epoch(&self, epoch: i64) {
        self.broker_epoch.store(epoch, Ordering::Relaxed);
        self.dirs.lock().begin_life(self.shared.disk.as_ref(), epoch);
    }

    /// The broker epoch; -1 before the first registration.
    pub fn broker_epoch(&self) -> i64 {
        self.broker_epoch.load(Ordering::Relaxed)
    }

    /// The settings of the partitions.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The brokers that the controller calls alive.
    pub fn set_alive(&self, brokers: BTreeSet<i32>) {
        *self.shared.alive.write() = brokers;
    }

    /// The settings of topics that have none of their own, from the next [`Replicas::set_topic_configs`] on.
    pub fn set_default_config(&self, config: LogConfig) {
        *self.shared.default_log.write() = config;
    }

    /// How fast replicas that catch up are sent to, and are fetched.
    pub fn throttles(&self) -> &Throttles {
        &self.shared.throttles
    }

    /// The settings of all topics that have some of their own. Before this is known, nothing is deleted by age or size.
    pub fn set_topic_configs(&self, configs: BTreeMap<String, LogConfig>) {
        let default = self.shared.default_log.read().clone();
        for (topic, partitions) in &*self.topics.read() {
            let config = configs.get(&**topic).unwrap_or(&default);
            partitions.values().for_each(|partition| partition.set_config(config));
        }
        *self.configs.write() = Some(configs);
    }

    /// The settings of one topic changed; `None` if it has none of its own any more.
    pub fn set_topic_config(&self, topic: &str, config: Option<LogConfig>) {
        let default = self.shared.default_log.read().clone();
        let in_force = config.as_ref().unwrap_or(&default);
        if let Some(partitions) = self.topics.read().get(topic) {
            partitions.values().for_each(|partition| partition.set_config(in_force));
        }
        let mut configs = self.configs.write();
        let configs = configs.get_or_insert_default();
        match config {
            Some(config) => configs.insert(topic.to_owned(), config),
            None => configs.remove(topic),
        };
    }

    /// A partition that this broker holds.
    pub fn get(&self, topic: &str, partition: i32) -> Option<Arc<Partition>> {
        self.topics.read().get(topic)?.get(&partition).cloned()
    }

    /// All partitions that this broker holds, by topic and number.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.topics.read().values().flat_map(BTreeMap::values).cloned().collect()
    }

    /// The leader epoch of a partition that this broker leads.
    pub fn leader_epoch_if_leader(&self, topic: &str, partition: i32) -> Option<i32> {
        self.get(topic, partition)?.leader_epoch_if_leader()
    }

    /// The high watermark of a partition that this broker holds.
    pub fn high_watermark(&self, topic: &str, partition: i32) -> Option<i64> {
        Some(self.get(topic, partition)?.view().high_watermark)
    }

    /// Reads for a coordinator that loads its partition: whole batches from `offset` on, up to the log end.
    pub fn read(&self, topic: &str, partition: i32, offset: i64, max_bytes: u32) -> Result<Records, ReadError> {
        let partition = self.get(topic, partition).ok_or(ReadError::UnknownPartition)?;
        partition.read_for_loading(offset, max_bytes)
    }

    /// Reads for who waits for records in its own way, without waiting and without counting: whole batches from an offset on.
    pub fn read_uncounted(
        &self,
        params: &FetchParams,
        part: &FetchPart,
        at_least_one: bool,
        (now, effects): (Now, &mut Vec<Effect>),
    ) -> FetchOutcome {
        let partition = self.get(&part.topic, part.partition).ok_or(ReadError::NotLeaderOrFollower)?;
        let target = FetchTarget { partition, topic_id: part.topic_id, wanted: part.wanted };
        let max_bytes = usize::try_from(params.max_bytes).unwrap_or(0);
        let mut woken = Woken::default();
        let outcome = target.partition.fetch(params, &target, (max_bytes, at_least_one, false), (now, &mut woken));
        if !woken.failed_dirs.is_empty() {
            self.settle(woken, now, effects);
        }
        outcome
    }

    /// So much of what was read so went to a consumer.
    pub fn count_read(&self, topic: &str, partition: i32, bytes: usize) {
        if let Some(partition) = self.get(topic, partition) {
            partition.count(|counters| {
                counters.fetches.increment();
                counters.bytes_out.add(bytes as u64);
            });
        }
    }

    /// Appends what a coordinator wrote, with acks=all and without waiting: it watches the high watermark itself.
    pub fn append(
        &self,
        part: Append,
        origin: AppendOrigin,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Appended, ProduceError> {
        let partition = self.get(&part.topic, part.partition).ok_or(ProduceError::UnknownPartition)?;
        let mut woken = Woken::default();
        let call = AppendCall {
            records: &part.records,
            origin,
            acks_all: true,
            verification: part.verification,
            parked: None,
        };
        let outcome = partition.append(call, now, &mut woken);
        self.settle(woken, now, effects);
        outcome
    }

    /// Produces. Gives the outcomes if they are known at once; otherwise `done` makes the closure that will get them.
    pub fn produce(
        &self,
        call: ProduceCall,
        done: impl FnOnce() -> Done<ProduceOutcome>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Option<Vec<ProduceOutcome>> {
        let mut woken = Woken::default();
        let partitions = self.find(call.parts.iter().map(|part| (&*part.topic, part.partition)));
        let ProduceCall { acks_all, origin, .. } = call;
        let outcomes = if acks_all {
            let deadline = now.mono + call.timeout_ms;
            let initial = Err(ProduceError::UnknownPartition);
            let parked = Joined::new(self.deadlines.next_id(), call.parts.len(), &initial, deadline);
            for (slot, (part, partition)) in call.parts.iter().zip(&partitions).enumerate() {
                let Some(partition) = partition else { continue };
                let (verification, parked) = (part.verification, Some((&parked, slot)));
                let call = AppendCall { records: &part.records, origin, acks_all, verification, parked };
                // The outcome is with the parked request.
                let _ = partition.append(call, now, &mut woken);
            }
            let outcomes = parked.seal(done);
            if outcomes.is_none() {
                let partitions = partitions.into_iter().flatten().collect();
                effects.extend(self.deadlines.watch(Parked::Produce(parked, partitions)).map(Effect::WakeAt));
            }
            outcomes
        } else {
            let append = |(part, partition): (&Append, &Option<Arc<Partition>>)| match partition {
                Some(partition) => {
                    let verification = part.verification;
                    let call = AppendCall { records: &part.records, origin, acks_all, verification, parked: None };
                    partition.append(call, now, &mut woken)
                }
                None => Err(ProduceError::UnknownPartition),
            };
            Some(call.parts.iter().zip(&partitions).map(append).collect())
        };
        self.settle(woken, now, effects);
        outcomes
    }

    /// Fetches. Gives the outcomes if there is enough to tell; otherwise waits, and `done` makes the closure that will
    /// get them.
    pub fn fetch(
        &self,
        call: FetchCall,
        done: impl FnOnce() -> Done<FetchOutcome>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Option<Vec<FetchOutcome>> {
        let FetchCall { params, parts } = call;
        let partitions = self.find(parts.iter().map(|part| (&*part.topic, part.partition)));
        let targets: Vec<Option<FetchTarget>> = parts
            .into_iter()
            .zip(partitions)
            .map(|(part, partition)| {
                let (topic_id, wanted) = (part.topic_id, part.wanted);
                partition.map(|partition| FetchTarget { partition, topic_id, wanted })
            })
            .collect();
        let mut woken = Woken::default();
        let outcomes = read_all(&params, targets.iter().map(Option::as_ref), true, now, &mut woken);
        self.settle(woken, now, effects);
        let bytes: usize = outcomes.iter().flatten().map(|data| data.records.len()).sum();
        let is_news = |data: &FetchData| data.diverging.is_some() || data.preferred_replica.is_some();
        let must_answer = outcomes.iter().any(|outcome| outcome.as_ref().map_or(true, is_news));
        let is_enough = bytes >= usize::try_from(params.min_bytes).unwrap_or(0);
        let in_remote = outcomes.iter().position(|outcome| outcome.as_ref().is_ok_and(|data| data.is_in_remote));
        if let Some(slot) = in_remote {
            let fetch = RemoteFetch { params, targets, outcomes, slot, bytes, done: done(), asked_at: now.mono };
            effects.push(Effect::ReadRemote(Box::new(fetch)));
            return None;
        }
        if params.max_wait_ms == 0 || outcomes.is_empty() || must_answer || is_enough {
            self.count_served(&params, targets.iter().map(Option::as_ref), &outcomes, now);
            return Some(outcomes);
        }
        let available = outcomes.iter().map(|outcome| outcome.as_ref().map_or(0, |data| data.records.len())).collect();
        drop(outcomes);
        let targets = targets.into_iter().flatten().collect();
        let (id, deadline) = (self.deadlines.next_id(), now.mono + params.max_wait_ms);
        let parked = ParkedFetch::new(id, deadline, params, targets, (available, done()));
        effects.extend(self.deadlines.watch(Parked::Fetch(parked.clone())).map(Effect::WakeAt));
        let mut woken = Woken::default();
        for (slot, target) in parked.targets.iter().enumerate() {
            target.partition.park_fetch(slot, &parked, &mut woken);
        }
        self.settle(woken, now, effects);
        None
    }

    /// Deletes records up to offsets. Gives the outcomes if all replicas follow at once; otherwise `done` makes the
    /// closure that will get them.
    pub fn delete_records(
        &self,
        parts: &[(Arc<str>, i32, i64)],
        timeout_ms: u64,
        done: impl FnOnce() -> Done<DeleteOutcome>,
        (now, effects): (Now, &mut Vec<Effect>),
    ) -> Option<Vec<DeleteOutcome>> {
        let mut woken = Woken::default();
        let partitions = self.find(parts.iter().map(|(topic, partition, _)| (&**topic, *partition)));
        let initial = Err(DeleteError::UnknownPartition);
        let parked = Joined::new(self.deadlines.next_id(), parts.len(), &initial, now.mono + timeout_ms);
        for (slot, ((_, _, offset), partition)) in parts.iter().zip(&partitions).enumerate() {
            if let Some(partition) = partition {
                partition.delete_records(*offset, (&parked, slot), &mut woken);
            }
        }
        let outcomes = parked.seal(done);
        if outcomes.is_none() {
            let partitions = partitions.into_iter().flatten().collect();
            effects.extend(self.deadlines.watch(Parked::Delete(parked, partitions)).map(Effect::WakeAt));
        }
        self.settle(woken, now, effects);
        outcomes
    }

    pub(super) fn find<'a>(&self, parts: impl Iterator<Item = (&'a str, i32)>) -> Vec<Option<Arc<Partition>>> {
        let topics = self.topics.read();
        parts.map(|(topic, partition)| topics.get(topic)?.get(&partition).cloned()).collect()
    }

    /// Carries out what partitions set in motion, while no partition's lock is held.
    pub(super) fn settle(&self, mut woken: Woken, now: Now, effects: &mut Vec<Effect>) {
        for dir in std::mem::take(&mut woken.failed_dirs) {
            self.fail_dir(&dir, &mut woken, effects);
        }
        for (parked, slot, error) in woken.produces {
            let is_answered = parked.resolve(slot, |outcome| {
                if let Some(error) = error {
                    *outcome = Err(error);
                }
            });
            if is_answered {
                self.deadlines.forget(parked.place());
            }
        }
        for (parked, slot, new) in woken.deletes {
            if parked.resolve(slot, |outcome| *outcome = new) {
                self.deadlines.forget(parked.place());
            }
        }
        for parked in woken.fetches {
            self.answer_fetch(&parked, now, effects);
        }
        for parked in woken.followers {
            self.answer_follower(&parked, now, effects);
        }
        if !woken.changes.is_empty() {
            let mut queue = self.isr_queue.lock();
            for change in woken.changes {
                queue.waiting.insert((change.topic.clone(), change.partition), change);
            }
            queue.send(now.mono, effects);
        }
        for (topic, partition, offset) in woken.high_watermarks {
            effects.push(Effect::HighWatermark { topic, partition, offset });
        }
    }

    /// Answers a parked fetch with what there is now. Nothing if it was answered before.
    pub(super) fn answer_fetch(&self, parked: &ParkedFetch, now: Now, effects: &mut Vec<Effect>) {
        let Some(done) = parked.take() else { return };
        self.deadlines.forget(parked.place());
        let mut woken = Woken::default();
        parked.targets.iter().for_each(|target| target.partition.unpark_fetch(parked));
        let outcomes = read_all(&parked.params, parked.targets.iter().map(Some), false, now, &mut woken);
        self.count_served(&parked.params, parked.targets.iter().map(Some), &outcomes, now);
        done(outcomes);
        // A read can fail a directory; it wakes nobody else, so this ends.
        if !woken.failed_dirs.is_empty() {
            self.settle(woken, now, effects);
        }
    }

    /// Counts what goes to whom, and apart what goes to followers whose replicas are throttled, in sync or not (KIP-73).
    pub(super) fn count_served<'a>(
        &self,
        params: &FetchParams,
        targets: impl Iterator<Item = Option<&'a FetchTarget>>,
        outcomes: &[FetchOutcome],
        now: Now,
    ) {
        let throttle = &self.shared.throttles.leading;
        let is_throttled = params.replica.is_some() && throttle.is_used();
        for (target, outcome) in targets.zip(outcomes) {
            let Some(target) = target else { continue };
            target.partition.count(|counters| counters.fetches.increment());
            let data = match outcome {
                Ok(data) => data,
                Err(ReadError::Corrupt | ReadError::OffsetNotAvailable) => {
                    target.partition.count(|counters| counters.failed_fetches.increment());
                    continue;
                }
                Err(_) => continue,
            };
            let bytes = data.records.len() as u64;
            match params.replica {
                _ if bytes == 0 => {}
                Some(_) => self.shared.counters.replication_bytes_out.add(bytes),
                None => target.partition.count(|counters| counters.bytes_out.add(bytes)),
            }
            if is_throttled
                && !data.records.is_empty()
                && throttle.covers(target.partition.topic(), target.partition.index())
            {
                throttle.record(data.records.len(), now.mono);
            }
        }
    }

    /// What all partitions count together.
    pub fn counters(&self) -> &ReplicaCounters {
        &self.shared.counters
    }

    /// How many records of each followed partition its leader had more, up to the high watermark, when it answered last.
    pub fn lags(&self) -> Vec<(Key, (i32, u32), i64)> {
        let fetchers: Vec<_> = self.fetchers.lock().iter().map(|(id, fetcher)| (*id, fetcher.clone())).collect();
        let mut lags = Vec::new();
        for (id, fetcher) in fetchers {
            lags.extend(fetcher.lock().lags().map(|(key, lag)| (key.clone(), id, lag)));
        }
        lags
    }

    /// How many partitions this broker leads.
    pub(crate) fn led(&self) -> usize {
        self.all().iter().filter(|partition| partition.leader_epoch_if_leader().is_some()).count()
    }

    pub(super) fn fail_dir(&self, dir: &std::path::Path, woken: &mut Woken, effects: &mut Vec<Effect>) {
        if !self.dirs.lock().fail(self.shared.disk.as_ref(), dir) {
            return;
        }
        for partition in self.all() {
            if partition.go_offline(dir, woken) && partition.is_told_of() {
                // Its coordinator must not go on with what it has in memory: nothing of it can be written down any more.
                let (topic, partition) = (partition.topic().clone(), partition.index());
                effects.push(Effect::Resigned { topic, partition, leader_epoch: None });
            }
        }
        effects.push(Effect::LogDirFailed(dir.to_owned()));
        if self.dirs.lock().usable().next().is_none() {
            effects.push(Effect::NoLogDirLeft);
        }
    }

    /// The controller's answer to [`Effect::AlterPartition`]; `None` if it gave none, or refused the request as a whole.
    pub fn on_alter_partition(&self, answers: Option<Vec<IsrAnswer>>, now: Now, effects: &mut Vec<Effect>) {
        let mut queue = self.isr_queue.lock();
        let mut in_flight = std::mem::take(&mut queue.in_flight);
        let mut verdicts = Vec::new();
        for IsrAnswer { topic, partition, verdict } in answers.unwrap_or_default() {
            let key = match topic {
                TopicName::Name(name) => Some((Arc::from(name), partition)),
                TopicName::Id(id) => {
                    let of_partition = |change: &&IsrChange| change.topic_id == id && change.partition == partition;
                    in_flight.values().find(of_partition).map(|change| (change.topic.clone(), partition))
                }
            };
            if let Some(change) = key.and_then(|key| in_flight.remove(&key)) {
                verdicts.push((change, verdict));
            }
        }
        if !in_flight.is_empty() || verdicts.iter().any(|(_, verdict)| *verdict == Verdict::Retry) {
            queue.retry_later(now.mono, effects);
        }
        for (key, change) in in_flight {
            queue.waiting.entry(key).or_insert(change);
        }
        drop(queue);
        let mut woken = Woken::default();
        for (change, verdict) in verdicts {
            if let Some(partition) = self.get(&change.topic, change.partition) {
                partition.on_verdict(change.number, verdict, now, &mut woken);
            }
        }
        self.settle(woken, now, effects);
        self.isr_queue.lock().send(now.mono, effects);
    }

    /// A leader's answer to [`Effect::Fetch`].
    pub fn on_fetch(
        &self,
        (leader, number): (i32, u32),
        answer: Result<FetchAnswer, SessionFailure>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(fetcher) = self.fetchers.lock().get(&(leader, number)).cloned() else { return };
        let mut woken = Woken::default();
        {
            let mut fetcher = fetcher.lock();
            fetcher.on_fetch(answer, now, &mut woken);
            if !fetcher.is_busy(now.mono) {
                self.take_back((leader, number), &mut fetcher);
            }
            self.send_next(&mut fetcher, (leader, number), now, effects);
        }
        self.settle(woken, now, effects);
    }

    /// A leader's answer to [`Effect::ListOffsets`]; `None` if it gave none.
    pub fn on_offsets(
        &self,
        (leader, number): (i32, u32),
        answer: Option<Vec<(Key, Result<LeaderOffset, FetchFailure>)>>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(fetcher) = self.fetchers.lock().get(&(leader, number)).cloned() else { return };
        let mut fetcher = fetcher.lock();
        fetcher.on_offsets(answer, now.mono);
        self.send_next(&mut fetcher, (leader, number), now, effects);
    }

    pub(super) fn send_next(
        &self,
        fetcher: &mut Fetcher,
        (leader, number): (i32, u32),
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let mut next = fetcher.next(now.mono);
        while let Some(Ask::Rebuild(ask)) = next {
            effects.push(Effect::Rebuild { leader, ask });
            next = fetcher.next(now.mono);
        }
        match next {
            Some(Ask::Fetch(ask)) => effects.push(Effect::Fetch { leader, fetcher: number, ask }),
            Some(Ask::Offsets(ask)) => effects.push(Effect::ListOffsets { leader, fetcher: number, ask }),
            Some(Ask::Epochs(ask)) => effects.push(Effect::EpochEnds { leader, fetcher: number, ask }),
            Some(Ask::Rebuild(_)) | None => effects.extend(fetcher.next_deadline().map(Effect::WakeAt)),
        }
    }

    /// Which fetcher of a leader a partition belongs to; the same always, so that its requests stay in order.
    pub(super) fn fetcher_number(&self, key: &Key) -> u32 {
        let hash = key.0.bytes().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
        hash.wrapping_mul(31).wrapping_add(key.1.unsigned_abs()) % self.fetchers_per_leader()
    }

    /// A fetcher for a partition that is followed from now on. A leader may keep the request of its usual fetcher waiting
    /// for `replica.fetch.wait.max.ms`, and nobody can produce with acks=all meanwhile: so the partition begins with
    /// another that has nothing on its way, and comes back with the usual one's next request.
    pub(super) fn free_fetcher(&self, leader: i32, key: &Key, now: Millis) -> Arc<Mutex<Fetcher>> {
        let usual = self.fetcher_number(key);
        let others = (1..EXTRA_FETCHERS).map(|extra| usual + extra * self.fetchers_per_leader());
        let mut all = std::iter::once(usual).chain(others).map(|number| self.fetcher(leader, number));
        all.find(|fetcher| !fetcher.lock().is_busy(now)).unwrap_or_else(|| self.fetcher(leader, usual))
    }

    /// A usual fetcher that can ask anew takes over what began with others.
    fn take_back(&self, (leader, number): (i32, u32), usual: &mut Fetcher) {
        let step = self.fetchers_per_leader();
        if number >= step {
            return;
        }
        let others: Vec<_> = {
            let fetchers = self.fetchers.lock();
            let of_leader = fetchers.range((leader, step)..=(leader, u32::MAX));
            of_leader.filter(|((_, other), _)| other % step == number).map(|(_, fetcher)| fetcher.clone()).collect()
        };
        for other in others {
            usual.take_over(&mut other.lock());
        }
    }

    /// Numbers below this are those of the usual fetchers.
    pub(super) fn fetchers_per_leader(&self) -> u32 {
        self.shared.settings.fetchers_per_leader.max(1)
    }

    /// The fetcher, made if it is not there.
    pub(super) fn fetcher(&self, leader: i32, number: u32) -> Arc<Mutex<Fetcher>> {
        let settings = FetcherSettings {
            max_bytes: self.shared.settings.replica_fetch_max_bytes,
            backoff_ms: self.shared.settings.replica_fetch_backoff_ms,
        };
        let mut fetchers = self.fetchers.lock();
        fetchers.entry((leader, number)).or_insert_with(|| Arc::new(Mutex::new(Fetcher::new(settings)))).clone()
    }
}

/// The counters of a topic: those that its other partitions have already.
pub(super) fn counters_of(siblings: &BTreeMap<i32, Arc<Partition>>) -> Arc<TopicCounters> {
    siblings.values().next().map(|sibling| sibling.counters().clone()).unwrap_or_default()
}

/// Reads all partitions of a fetch. `None` is a partition that this broker does not hold.
fn read_all<'a>(
    params: &FetchParams,
    targets: impl Iterator<Item = Option<&'a FetchTarget>>,
    is_first: bool,
    now: Now,
    woken: &mut Woken,
) -> Vec<FetchOutcome> {
    let mut left = usize::try_from(params.max_bytes).unwrap_or(0);
    let mut is_empty = true;
    targets
        .map(|target| {
            let target = target.ok_or(ReadError::NotLeaderOrFollower)?;
            let outcome = target.partition.fetch(params, target, (left, is_empty, is_first), (now, woken));
            let bytes = outcome.as_ref().map_or(0, |data| data.records.len());
            is_empty &= bytes == 0;
            left = left.saturating_sub(bytes);
            outcome
        })
        .collect()
}
