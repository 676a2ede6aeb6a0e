//! Runs tiered storage: tells its machine of this broker's partitions, reads and writes the metadata topic for it, which other
//! brokers may lead, and has its copies and removals done. Decides nothing.

use crate::broker::Broker;
use crate::cluster::topic_name;
use crate::config::BrokerConfig;
use crate::deadline::Deadline;
use crate::effects::decode;
use crate::log::remote::SegmentCopy;
use crate::log::{AppendOrigin, LogError, Verification};
use crate::outbox::{Channel, Job, PeerError};
use crate::partition::fetch_session::Wanted;
use crate::partition::throttle::{Throttle, ThrottleWindow};
use crate::partition::{
    self, Append, Asker, EPOCH_DURING_DELETE, FetchParams, FetchPart, Isolation, OffsetQuery, RemoteFetch, Stop,
};
use crate::peers::{MetadataCall, PeerCall};
use crate::tiered::{
    Entry, Index, KnownStore, Lane, LogFacts, Logs, METADATA_TOPIC, Machine, MetadataRecord, Place, Role, SegmentState,
    SegmentUpdate, Settings, Store, Work, lineage, metadata_partition,
};
use bytes::Bytes;
use common::Rng;
use common::disk::Disk;
use common::id::BrokerId;
use common::kafka::batch::{self, BatchSpec, Record};
use common::kafka::error::ErrorCode;
use common::kafka::messages::fetch::{FetchPartition, FetchTopic};
use common::kafka::messages::produce::{PartitionProduceData, TopicProduceData};
use common::kafka::messages::{
    FetchRequest, FetchResponse, ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
    ProduceRequest,
};
use common::kafka::records::Records;
use common::time::{Millis, Now};
use parking_lot::Mutex;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use uuid::Uuid;

/// This broker's partitions are looked through this often; changes of roles are told besides.
const SCAN_MS: u64 = 1_000;
/// So often the controller is asked for the metadata topic, every other second, before somebody must look.
const CREATIONS_BEFORE_WORRY: u32 = 10;
/// A pause after the metadata topic could not be read.
const PAUSE_MS: u64 = 200;
/// How long leaders of the metadata topic keep a read waiting for news.
const READ_WAIT_MS: i32 = 500;
/// How long they may take to answer.
const TIMEOUT_MS: u64 = 30_000;
/// Most bytes of one partition of the metadata topic in one read.
const READ_BYTES: i32 = 1 << 20;
/// Followers read two small files each.
const REBUILDERS: usize = 2;
/// So many segments without aborted transactions are remembered; beyond that all are looked at anew.
const WITHOUT_ABORTED_MAX: usize = 100_000;
/// Versions that name topics, of Fetch and of Produce.
const FETCH: i16 = 12;
const PRODUCE: i16 = 9;
/// The newest ListOffsets of all brokers that may be in a cluster with this one.
const LIST_OFFSETS: i16 = 7;
const EARLIEST: i64 = -2;

/// Which work waits for which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crew {
    /// Reads for clients.
    Readers,
    /// Reads for followers that go on from the store, which clients may not hold up.
    Rebuilders,
    /// Copies and removals.
    Movers,
}

/// Tiered storage, if it is on.
pub(crate) struct Tiering {
    on: Option<On>,
}

/// What it needs.
pub(crate) struct On {
    pub(crate) store: Store,
    pub(crate) machine: Mutex<Machine>,
    /// `remote.log.manager.fetch.max.bytes.per.second`
    pub(crate) fetch_throttle: Throttle,
    /// Fetches that are held back by it.
    pub(crate) held_back: Mutex<Vec<RemoteFetch>>,
    copy_throttle: Throttle,
    rng: Mutex<Rng>,
    readers: Mutex<Lane<Job>>,
    rebuilders: Mutex<Lane<Job>>,
    movers: Mutex<Lane<Job>>,
    /// Segments of which it is known that they have no aborted transactions.
    without_aborted: Mutex<BTreeSet<Uuid>>,
    is_count_told: AtomicBool,
    due: Deadline,
    is_running: AtomicBool,
    scan_at: Mutex<Millis>,
    create_at: Mutex<Millis>,
    creations: AtomicU32,
    /// Leaders of the metadata topic that are being read.
    reading: Mutex<BTreeSet<BrokerId>>,
}

impl Tiering {
    /// As the settings say.
    pub(crate) fn new(config: &BrokerConfig, disk: Arc<dyn Disk>, rng: Rng) -> Tiering {
        let Some(settings) = &config.remote_store else { return Tiering { on: None } };
        if settings.metadata_retention_ms >= 0 {
            tracing::warn!(
                "rlmm.config.remote.log.metadata.topic.retention.ms is not -1: if {METADATA_TOPIC} is made with it, nothing is removed from the store once some of it is deleted"
            );
        }
        let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
        let count = |value: i32| usize::try_from(value).unwrap_or(0);
        let throttle = |samples: i32, seconds: i32| {
            Throttle::new(ThrottleWindow { samples: count(samples), sample_ms: unsigned(i64::from(seconds)) * 1000 })
        };
        let machine = Machine::new(Settings {
            broker: config.broker_id,
            interval_ms: unsigned(config.remote_log_manager_task_interval_ms),
            patience_ms: unsigned(settings.consume_wait_ms),
        });
        let copiers = match config.remote_log_manager_copier_thread_pool_size {
            -1 => config.remote_log_manager_thread_pool_size,
            copiers => copiers,
        };
        let pending = count(config.remote_log_reader_max_pending_tasks);
        let on = On {
            store: Store::new(disk, Path::new(&settings.dir)),
            machine: Mutex::new(machine),
            fetch_throttle: throttle(
                config.remote_log_manager_fetch_quota_window_num,
                config.remote_log_manager_fetch_quota_window_size_seconds,
            ),
            held_back: Mutex::default(),
            copy_throttle: throttle(
                config.remote_log_manager_copy_quota_window_num,
                config.remote_log_manager_copy_quota_window_size_seconds,
            ),
            rng: Mutex::new(rng),
            readers: Mutex::new(Lane::new(count(config.remote_log_reader_threads), pending)),
            // Each partition has one of these at most.
            rebuilders: Mutex::new(Lane::new(REBUILDERS, usize::MAX)),
            without_aborted: Mutex::default(),
            is_count_told: AtomicBool::new(false),
            movers: Mutex::new(Lane::new(count(copiers), usize::MAX)),
            due: Deadline::default(),
            is_running: AtomicBool::new(false),
            scan_at: Mutex::default(),
            create_at: Mutex::default(),
            creations: AtomicU32::new(0),
            reading: Mutex::default(),
        };
        let tiering = Tiering { on: Some(on) };
        tiering.set_limits(config);
        tiering
    }

    /// `remote.log.manager.*.max.bytes.per.second`, which may change while the broker runs.
    pub(crate) fn set_limits(&self, config: &BrokerConfig) {
        let Some(on) = &self.on else { return };
        for (throttle, limit) in [
            (&on.fetch_throttle, config.remote_log_manager_fetch_max_bytes_per_second),
            (&on.copy_throttle, config.remote_log_manager_copy_max_bytes_per_second),
        ] {
            throttle.set_limit(u64::try_from(limit).ok().filter(|_| limit < i64::MAX));
        }
    }

    /// What there is if it is on.
    pub(crate) fn on(&self) -> Option<&On> {
        self.on.as_ref()
    }

    /// When `Broker::tick_tiered` has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        self.on.as_ref().filter(|on| !on.is_running.load(Ordering::SeqCst))?.due.get()
    }
}

impl Broker {
    /// Has a job done by a crew; gives it back if too many wait for that.
    pub(crate) fn hand_to(self: &Arc<Self>, crew: Crew, job: Job) -> Result<(), Job> {
        let Some(on) = self.tiering.on() else { return Err(job) };
        let entry = on.lane(crew).lock().enter(job);
        match entry {
            Entry::Run(job) => {
                self.run_in_crew(crew, job);
                Ok(())
            }
            Entry::Waits => Ok(()),
            Entry::Refused(job) => Err(job),
        }
    }

    fn run_in_crew(self: &Arc<Self>, crew: Crew, job: Job) {
        let broker = self.clone();
        self.outbox.run(Box::new(move |now| {
            job(now);
            let next = broker.tiering.on().and_then(|on| on.lane(crew).lock().finish());
            if let Some(next) = next {
                broker.run_in_crew(crew, next);
            }
        }));
    }

    /// Roles or settings of partitions changed.
    pub(crate) fn wake_tiered_roles(&self, now: Now) {
        if let Some(on) = self.tiering.on() {
            *on.scan_at.lock() = Millis::default();
            self.wake_tiered(now);
        }
    }

    /// There may be something to do.
    pub(crate) fn wake_tiered(&self, now: Now) {
        if let Some(on) = self.tiering.on() {
            on.due.bring_forward(now.mono);
            self.outbox.wake_at(now.mono);
        }
    }

    /// Does what is due, off the thread of the tick: the metadata topic may be long.
    pub(crate) fn tick_tiered(self: &Arc<Self>, now: Now) {
        let Some(on) = self.tiering.on() else { return };
        if on.is_running.load(Ordering::SeqCst) || !on.due.take_if_due(now.mono) {
            return;
        }
        if !self.has_started.load(Ordering::Relaxed) {
            return on.due.bring_forward(now.mono + PAUSE_MS);
        }
        on.is_running.store(true, Ordering::SeqCst);
        let broker = self.clone();
        self.outbox.run(Box::new(move |now| {
            let Some(on) = broker.tiering.on() else { return };
            let next = broker.run_tiered(on, now);
            on.is_running.store(false, Ordering::SeqCst);
            on.due.bring_forward(next);
            broker.outbox.wake_at(on.due.get().unwrap_or(next));
        }));
    }

    /// When to call again.
    fn run_tiered(self: &Arc<Self>, on: &On, now: Now) -> Millis {
        let Some(count) = self.image.read().partition_count(METADATA_TOPIC) else {
            let mut create_at = on.create_at.lock();
            if *create_at <= now.mono {
                *create_at = now.mono + 2 * SCAN_MS;
                if on.creations.fetch_add(1, Ordering::Relaxed) == CREATIONS_BEFORE_WORRY {
                    tracing::warn!(
                        "{METADATA_TOPIC} cannot be made, so nothing is copied: are there as many brokers as rlmm.config.remote.log.metadata.topic.replication.factor says?"
                    );
                }
                self.create_internal_topic(topic_name::REMOTE_LOG_METADATA, now);
            }
            return now.mono + PAUSE_MS;
        };
        // Which partition of it tells of which depends on how many there are.
        let configured = self.config.remote_store.as_ref().map_or(count, |store| store.metadata_partitions);
        if count != configured {
            if !on.is_count_told.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    count,
                    configured,
                    "{METADATA_TOPIC} has not as many partitions as rlmm.config.remote.log.metadata.topic.num.partitions says: nothing is copied or removed"
                );
            }
            return self.let_go(on, now).unwrap_or(now.mono + SCAN_MS);
        }
        {
            let mut scan_at = on.scan_at.lock();
            if *scan_at <= now.mono {
                *scan_at = now.mono + SCAN_MS;
                let roles: BTreeMap<Place, Role> =
                    self.replicas.all().iter().filter_map(|partition| partition.remote_role()).collect();
                on.machine.lock().assign(&roles, count, now);
            }
        }
        self.ask_metadata_ends(on, now);
        let mut next = self.read_metadata(on, now);
        let mut work = Vec::new();
        let logs = TieredLogs { broker: self, on, now, effects: RefCell::default() };
        let due = on.machine.lock().tick(&logs, &mut on.rng.lock(), now, &mut work);
        let effects = logs.effects.into_inner();
        self.with_replicas(now, |_, wanted| wanted.extend(effects));
        self.do_tiered(work, count, now);
        next = due.map_or(next, |due| next.min(due));
        self.let_go(on, now).map_or(next, |due| next.min(due)).min(now.mono + SCAN_MS)
    }

    // ---- reading the metadata topic

    fn metadata_leader(&self, partition: i32) -> Option<BrokerId> {
        let leader = self.image.read().partition(METADATA_TOPIC, partition)?.leader;
        (leader >= 0).then_some(BrokerId(leader))
    }

    fn is_led_here(&self, leader: BrokerId) -> bool {
        leader.0 == self.config.broker_id
    }

    fn ask_metadata_ends(self: &Arc<Self>, on: &On, now: Now) {
        let wanted = on.machine.lock().ends_wanted(now);
        let mut elsewhere = BTreeSet::new();
        for partition in wanted {
            let Some(leader) = self.metadata_leader(partition) else { continue };
            if !self.is_led_here(leader) {
                elsewhere.insert((METADATA_TOPIC.to_owned(), partition));
                continue;
            }
            let asker = Asker { current_leader_epoch: None, only_leader: true };
            let held = self.replicas.get(METADATA_TOPIC, partition);
            let found = held.map(|held| held.find_offset(asker, OffsetQuery::Latest, Some(Isolation::HighWatermark)));
            if let Some(Ok(Some(end))) = found {
                on.machine.lock().on_end(partition, end.offset);
            }
        }
        if elsewhere.is_empty() {
            return;
        }
        let broker = self.clone();
        let then = move |ends: crate::report::EndOffsets| {
            let Some(on) = broker.tiering.on() else { return };
            for ((_, partition), end) in ends {
                on.machine.lock().on_end(partition, end);
            }
        };
        self.ask_ends_of(&elsewhere, Box::new(then), now);
    }

    /// Reads what this broker leads, and asks others for what they do. When to call again.
    fn read_metadata(self: &Arc<Self>, on: &On, now: Now) -> Millis {
        let wanted = on.machine.lock().wanted();
        let mut elsewhere: BTreeMap<BrokerId, Vec<(i32, i64)>> = BTreeMap::new();
        for (partition, position) in wanted {
            match self.metadata_leader(partition) {
                Some(leader) if self.is_led_here(leader) => self.read_metadata_here(on, partition, position, now),
                Some(leader) => elsewhere.entry(leader).or_default().push((partition, position)),
                None => {}
            }
        }
        for (leader, asked) in elsewhere {
            if on.reading.lock().insert(leader) {
                let request = (metadata_fetch(&asked), FETCH);
                let call = PeerCall::RemoteMetadata(leader, MetadataCall::Read(asked));
                if !self.send((leader, Channel::RemoteMetadataRead), call, &request, now.mono + TIMEOUT_MS) {
                    on.reading.lock().remove(&leader);
                }
            }
        }
        now.mono + SCAN_MS
    }

    fn read_metadata_here(&self, on: &On, partition: i32, mut position: i64, now: Now) {
        let Some(held) = self.replicas.get(METADATA_TOPIC, partition) else { return };
        loop {
            let start = held.log_start_offset();
            if position < start {
                on.machine.lock().on_start(partition, start);
                position = start;
            }
            let params = consumer(READ_BYTES);
            let wanted = Wanted { fetch_offset: position, max_bytes: READ_BYTES, ..Wanted::of_consumer() };
            let part = FetchPart { topic: METADATA_TOPIC.into(), topic_id: Uuid::nil(), partition, wanted };
            let mut effects = Vec::new();
            let read = self.replicas.read_uncounted(&params, &part, true, (now, &mut effects));
            let Some(bytes) = read.ok().and_then(|data| data.records.to_bytes().ok()) else { return };
            if bytes.is_empty() || !on.machine.lock().on_read(partition, position, bytes) {
                return;
            }
            let wanted = on.machine.lock().wanted();
            let Some((_, next)) = wanted.into_iter().find(|(number, _)| *number == partition) else { return };
            position = next;
        }
    }

    /// The answer of a leader of the metadata topic, or none.
    pub(crate) fn on_metadata_answer(
        &self,
        (leader, call): (BrokerId, MetadataCall),
        response: Result<Bytes, PeerError>,
        version: i16,
        now: Now,
    ) {
        match call {
            MetadataCall::Read(asked) => {
                self.on_metadata_read(leader, asked, decode::<FetchRequest>(response, version).ok(), now);
            }
            MetadataCall::Start(_) => {
                self.on_metadata_start(decode::<ListOffsetsRequest>(response, version).ok(), now);
            }
            // Whether it was written is seen when it is read.
            MetadataCall::Write => {}
        }
    }

    /// A leader's records of the metadata topic, or none.
    fn on_metadata_read(&self, leader: BrokerId, asked: Vec<(i32, i64)>, response: Option<FetchResponse>, now: Now) {
        let Some(on) = self.tiering.on() else { return };
        on.reading.lock().remove(&leader);
        let Some(response) = response.filter(|response| response.error_code == 0) else {
            return self.wake_tiered(Now { mono: now.mono + PAUSE_MS, ..now });
        };
        let asked: BTreeMap<i32, i64> = asked.into_iter().collect();
        let mut gone = Vec::new();
        let mut is_failed = false;
        for found in response.responses.into_iter().flat_map(|topic| topic.partitions) {
            let Some(position) = asked.get(&found.partition_index).copied() else { continue };
            match ErrorCode::from_code(found.error_code) {
                Some(ErrorCode::None) => {
                    let bytes = found.records.map_or_else(Bytes::new, |records| records.to_bytes().unwrap_or_default());
                    let is_empty = bytes.is_empty();
                    let is_new = on.machine.lock().on_read(found.partition_index, position, bytes);
                    // Damaged, or asked twice.
                    is_failed |= !is_new && !is_empty;
                }
                Some(ErrorCode::OffsetOutOfRange) => gone.push(found.partition_index),
                _ => is_failed = true,
            }
        }
        if !gone.is_empty() {
            let request = (metadata_starts(&gone), LIST_OFFSETS);
            let call = PeerCall::RemoteMetadata(leader, MetadataCall::Start(gone));
            self.send((leader, Channel::RemoteMetadataRead), call, &request, now.mono + TIMEOUT_MS);
            is_failed = true;
        }
        let at = if is_failed { now.mono + PAUSE_MS } else { now.mono };
        self.wake_tiered(Now { mono: at, ..now });
    }

    /// Where a leader's partitions of the metadata topic begin.
    fn on_metadata_start(&self, response: Option<ListOffsetsResponse>, now: Now) {
        let Some(on) = self.tiering.on() else { return };
        let topics = response.into_iter().flat_map(|response| response.topics);
        for found in topics.flat_map(|topic| topic.partitions).filter(|found| found.error_code == 0) {
            on.machine.lock().on_start(found.partition_index, found.offset);
        }
        self.wake_tiered(now);
    }

    // ---- doing what the machine wants

    fn do_tiered(self: &Arc<Self>, work: Vec<Work>, count: i32, now: Now) {
        for work in work {
            match work {
                Work::Tell(record) => self.tell_metadata(&record, count, now),
                Work::Copy { place, id, copy } => {
                    let broker = self.clone();
                    let job = move |now: Now| broker.copy_to_store((&place, id), &copy, count, now);
                    let _ = self.hand_to(Crew::Movers, Box::new(job));
                }
                Work::Remove { place, id, start_offset } => {
                    let broker = self.clone();
                    let job = move |now: Now| broker.remove_from_store(&place, (id, start_offset), count, now);
                    let _ = self.hand_to(Crew::Movers, Box::new(job));
                }
                Work::RemoveAll { place, segments, store } => {
                    let broker = self.clone();
                    let job = move |now: Now| broker.remove_all_from_store(&place, (&segments, &store), count, now);
                    let _ = self.hand_to(Crew::Movers, Box::new(job));
                }
            }
        }
    }

    /// Writes to the metadata topic and waits for nothing.
    fn tell_metadata(self: &Arc<Self>, record: &MetadataRecord, count: i32, now: Now) {
        let partition = metadata_partition(record.place(), count);
        let batch = record.encode().ok().and_then(|value| {
            let record =
                Record { offset: 0, timestamp: now.wall.0, key: None, value: Some(value), headers: Vec::new() };
            batch::build(&BatchSpec::default(), &[record]).ok()
        });
        let (Some(leader), Some(records)) = (self.metadata_leader(partition), batch) else { return };
        if self.is_led_here(leader) {
            let (topic, verification) = (METADATA_TOPIC.into(), Verification::Off);
            let append = Append { topic, partition, records, verification };
            let appended = self
                .with_replicas(now, |replicas, effects| replicas.append(append, AppendOrigin::Client, now, effects));
            if let Err(error) = appended {
                tracing::info!(partition, %error, "metadata of a remote segment is not written; trying again");
            }
            return;
        }
        let data = PartitionProduceData { index: partition, records: Some(Records::Bytes(records)) };
        let topic = TopicProduceData {
            name: METADATA_TOPIC.to_owned(),
            partition_data: vec![data],
            ..TopicProduceData::default()
        };
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: i32::try_from(TIMEOUT_MS).unwrap_or(i32::MAX),
            topic_data: vec![topic],
            ..ProduceRequest::default()
        };
        let call = PeerCall::RemoteMetadata(leader, MetadataCall::Write);
        let to = (leader, Channel::RemoteMetadataWrite);
        self.send(to, call, &(request, PRODUCE), now.mono + TIMEOUT_MS);
    }

    fn copy_to_store(self: &Arc<Self>, (place, id): (&Place, Uuid), copy: &SegmentCopy, count: i32, now: Now) {
        let Some(on) = self.tiering.on() else { return };
        let known = on.machine.lock().store(place);
        let copied = on.store.copy(place, id, copy, &known);
        let is_done = copied.is_ok();
        if let Err(error) = &copied {
            on.copy_throttle.give_back(copy.size_bytes as usize);
            tracing::error!(topic = &*place.topic, partition = place.partition, %error, "a segment is not copied");
        } else {
            let (start, end) = (copy.start_offset, copy.end_offset);
            tracing::info!(
                topic = &*place.topic,
                partition = place.partition,
                start,
                end,
                "copied to the remote store"
            );
        }
        self.replicas.count_remote(&place.topic, place.partition, |counters| {
            counters.copies.increment();
            if is_done {
                counters.bytes_copied.add(u64::from(copy.size_bytes));
            } else {
                counters.failed_copies.increment();
            }
        });
        let mut work = Vec::new();
        on.machine.lock().on_copied(place, (id, copy.start_offset), copied.ok(), (now, &mut work));
        self.do_tiered(work, count, now);
        self.wake_tiered(now);
    }

    fn remove_from_store(self: &Arc<Self>, place: &Place, (id, start_offset): (Uuid, i64), count: i32, now: Now) {
        let Some(on) = self.tiering.on() else { return };
        let known = on.machine.lock().store(place);
        let is_done = self.remove_one(on, place, (id, start_offset), &known);
        let mut work = Vec::new();
        on.machine.lock().on_removed(place, id, is_done, (now, &mut work));
        self.do_tiered(work, count, now);
        self.wake_tiered(now);
    }

    fn remove_one(&self, on: &On, place: &Place, (id, start_offset): (Uuid, i64), known: &KnownStore) -> bool {
        let removed = on.store.remove(place, id, start_offset, known);
        self.replicas.count_remote(&place.topic, place.partition, |counters| {
            counters.removals.increment();
            if removed.is_err() {
                counters.failed_removals.increment();
            }
        });
        match removed {
            Ok(()) => {
                tracing::info!(
                    topic = &*place.topic,
                    partition = place.partition,
                    start_offset,
                    "removed from the remote store"
                );
                true
            }
            Err(error) => {
                tracing::error!(topic = &*place.topic, partition = place.partition, %error, "a remote segment is not removed");
                false
            }
        }
    }

    fn remove_all_from_store(
        self: &Arc<Self>,
        place: &Place,
        (segments, known): (&[(Uuid, i64)], &KnownStore),
        count: i32,
        now: Now,
    ) {
        let Some(on) = self.tiering.on() else { return };
        let tell = |id: Uuid, state: SegmentState| {
            let (event_timestamp_ms, broker_id) = (now.wall.0, self.config.broker_id);
            let update = SegmentUpdate { id, event_timestamp_ms, custom: None, state, broker_id };
            self.tell_metadata(&MetadataRecord::Update(place.clone(), update), count, now);
        };
        segments.iter().for_each(|(id, _)| tell(*id, SegmentState::DeleteStarted));
        for (id, start_offset) in segments {
            if self.remove_one(on, place, (*id, *start_offset), known) {
                tell(*id, SegmentState::DeleteFinished);
            }
        }
    }

    // ---- deleted topics

    /// Of these replicas those that this broker leads, whose topics are deleted, and of which something is in the store.
    pub(crate) fn remote_of_deleted(&self, stops: &[Stop]) -> Vec<Place> {
        if self.tiering.on().is_none() {
            return Vec::new();
        }
        let deleted = stops.iter().filter(|stop| stop.delete && stop.leader_epoch == EPOCH_DURING_DELETE);
        let held = deleted.filter_map(|stop| self.replicas.get(&stop.topic, stop.partition)?.remote_role());
        held.filter(|(_, role)| matches!(role, Role::Leader(_))).map(|(place, _)| place).collect()
    }

    /// They are deleted: what is in the store goes.
    pub(crate) fn doom_remote(&self, places: &[Place], now: Now) {
        let Some(on) = self.tiering.on() else { return };
        places.iter().for_each(|place| on.machine.lock().doom(place));
        self.wake_tiered_roles(now);
    }
}

impl On {
    fn lane(&self, crew: Crew) -> &Mutex<Lane<Job>> {
        match crew {
            Crew::Readers => &self.readers,
            Crew::Rebuilders => &self.rebuilders,
            Crew::Movers => &self.movers,
        }
    }

    /// It is known that a segment has no aborted transactions.
    pub(crate) fn has_no_aborted(&self, id: &Uuid) -> bool {
        self.without_aborted.lock().contains(id)
    }

    /// A segment has none.
    pub(crate) fn note_no_aborted(&self, id: Uuid) {
        let mut without = self.without_aborted.lock();
        if without.len() >= WITHOUT_ABORTED_MAX {
            without.clear();
        }
        without.insert(id);
    }

    /// How many reads wait, and how many are done now.
    pub(crate) fn readers_load(&self) -> (usize, usize) {
        self.readers.lock().load()
    }
}

/// The logs of this broker, for one call into the machine.
struct TieredLogs<'a> {
    broker: &'a Arc<Broker>,
    on: &'a On,
    now: Now,
    effects: RefCell<Vec<partition::Effect>>,
}

impl TieredLogs<'_> {
    fn held(&self, place: &Place) -> Option<Arc<partition::Partition>> {
        self.broker.replicas.get(&place.topic, place.partition)
    }
}

impl Logs for TieredLogs<'_> {
    fn facts(&self, place: &Place) -> Option<LogFacts> {
        self.held(place)?.remote_view().filter(|view| view.place == *place).map(|view| view.facts)
    }

    /// What it gives counts for the limit at once: the next partition that asks finds it used.
    fn next_copy(&self, place: &Place, epoch: i32) -> Result<Option<SegmentCopy>, LogError> {
        let Some(held) = self.held(place).filter(|_| !self.on.copy_throttle.is_exceeded(self.now.mono)) else {
            return Ok(None);
        };
        let copy = held.next_copy(epoch)?;
        if let Some(copy) = &copy {
            self.on.copy_throttle.record(copy.size_bytes as usize, self.now.mono);
        }
        Ok(copy)
    }

    fn note_copied(&self, place: &Place, role: Role, index: &Index) {
        if let Some(held) = self.held(place) {
            held.note_copied(role, |epochs, log_end_offset| lineage::highest_copied(index, epochs, log_end_offset));
        }
    }

    fn set_log_start(&self, place: &Place, epoch: i32, offset: i64) -> bool {
        self.broker.replicas.start_at(place, (epoch, offset), self.now, &mut self.effects.borrow_mut())
    }
}

/// What holds for reads of a consumer that waits for nothing.
pub(crate) fn consumer(max_bytes: i32) -> FetchParams {
    FetchParams {
        replica: None,
        replica_epoch: -1,
        only_leader: true,
        nearer: Arc::default(),
        isolation: Isolation::HighWatermark,
        max_wait_ms: 0,
        min_bytes: 0,
        max_bytes,
    }
}

fn metadata_fetch(asked: &[(i32, i64)]) -> FetchRequest {
    let partition = |(partition, fetch_offset): &(i32, i64)| FetchPartition {
        partition: *partition,
        current_leader_epoch: -1,
        fetch_offset: *fetch_offset,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: READ_BYTES,
        ..FetchPartition::default()
    };
    let partitions = asked.iter().map(partition).collect();
    FetchRequest {
        replica_id: -1,
        max_wait_ms: READ_WAIT_MS,
        min_bytes: 1,
        max_bytes: 8 * READ_BYTES,
        session_id: 0,
        session_epoch: -1,
        topics: vec![FetchTopic { topic: METADATA_TOPIC.to_owned(), partitions, ..FetchTopic::default() }],
        ..FetchRequest::default()
    }
}

fn metadata_starts(partitions: &[i32]) -> ListOffsetsRequest {
    let partition = |partition_index: &i32| ListOffsetsPartition {
        partition_index: *partition_index,
        current_leader_epoch: -1,
        timestamp: EARLIEST,
        ..ListOffsetsPartition::default()
    };
    let topic =
        ListOffsetsTopic { name: METADATA_TOPIC.to_owned(), partitions: partitions.iter().map(partition).collect() };
    ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() }
}
