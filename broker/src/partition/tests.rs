//! A few brokers in one thread, with a controller and a network of their own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where it finds something wrong")]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;

use common::Rng;
use common::disk::{DirEntry, DiskFile};
use common::kafka::batch::{self, BatchSpec, Record};
use common::time::WallMillis;

use super::fetch_session::{FetchKey, SessionRequest, Target, TopicKey};
use super::follower::{FetchAnswer, FetchFailure, Fetched, LeaderOffset, SessionFailure, TopicName, Which};
use super::isr::Verdict;
use super::*;
use crate::log::{AppendOrigin, OpenState};
use crate::server::disk::StdDisk;

mod standing;
mod tiered;

const TOPIC: &str = "t";
const ID: Uuid = Uuid::from_u128(77);

thread_local! {
    /// Whether the disk fails at an operation (`open`, `rename`) on a path.
    static BROKEN: Cell<fn(&str, &Path) -> bool> = const { Cell::new(|_, _| false) };
    /// How often a file of more than a megabyte was synced while this one's lock was held, and while it was not.
    static SYNCED: RefCell<Option<(Arc<Partition>, [u32; 2])>> = const { RefCell::new(None) };
}

fn check_broken(operation: &str, path: &Path) -> io::Result<()> {
    if BROKEN.get()(operation, path) { Err(io::Error::other("broken")) } else { Ok(()) }
}

/// The real disk without its slowest part: no test here loses power.
struct Unsynced;

#[derive(Debug)]
struct UnsyncedFile(Arc<dyn DiskFile>);

impl Disk for Unsynced {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        check_broken("open", path)?;
        Ok(Arc::new(UnsyncedFile(StdDisk.open(path, create)?)))
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        StdDisk.create_dir_all(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        StdDisk.read_dir(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        check_broken("rename", from)?;
        StdDisk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        StdDisk.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        StdDisk.remove_dir_all(path)
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for UnsyncedFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buffer, position)
    }
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.0.write_at(bytes, position)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        let is_big = self.0.len()? > 1 << 20;
        SYNCED.with_borrow_mut(|synced| {
            if let Some((partition, counts)) = synced.as_mut().filter(|_| is_big) {
                counts[usize::from(partition.state.try_lock().is_some())] += 1;
            }
        });
        Ok(())
    }
    fn as_file(&self) -> Option<&std::fs::File> {
        None
    }
}

/// Every topic, to whoever may follow.
struct Everything {
    may_follow: bool,
}

impl Topics for Everything {
    fn name(&self, id: &Uuid) -> Option<Arc<str>> {
        (*id == ID).then(|| TOPIC.into())
    }
    fn contains(&self, topic: &str, partition: i32) -> bool {
        topic == TOPIC && (0..3).contains(&partition)
    }
    fn may_follow(&self) -> bool {
        self.may_follow
    }
    fn may_read(&self, _: &str) -> bool {
        self.may_follow
    }
}

struct Node {
    replicas: Replicas,
    dir: tempfile::TempDir,
    effects: Vec<Effect>,
    others: Vec<Effect>,
}

type Replies = Arc<Mutex<VecDeque<(i32, i32, u32, FetchResult)>>>;

/// A few brokers in one thread, with an impartial controller and a network that can be cut.
struct World {
    nodes: BTreeMap<i32, Node>,
    now: Now,
    cut: BTreeSet<i32>,
    parked: Replies,
    leader: i32,
    leader_epoch: i32,
    partition_epoch: i32,
    isr: Vec<i32>,
    settings: Settings,
    forgets_answers: bool,
    /// What chores rested for.
    rested_ms: Cell<u64>,
    /// Brokers that may not follow.
    forbidden: BTreeSet<i32>,
    /// A broker that the controller takes into no ISR, for it is about to stop.
    leaving: Option<i32>,
    remote: tiered::Remote,
}

impl World {
    fn new(brokers: &[i32], min_isr: i32) -> World {
        let mut settings = Settings { replica_fetch_backoff_ms: 100, ..Settings::default() };
        settings.log.min_insync_replicas = min_isr;
        let now = Now { mono: Millis(1000), wall: WallMillis(1_700_000_000_000) };
        let mut world = World {
            nodes: BTreeMap::new(),
            now,
            cut: BTreeSet::new(),
            parked: Replies::default(),
            leader: brokers[0],
            leader_epoch: 0,
            partition_epoch: 0,
            isr: brokers.to_vec(),
            settings,
            forgets_answers: false,
            rested_ms: Cell::default(),
            forbidden: BTreeSet::new(),
            leaving: None,
            remote: tiered::Remote::default(),
        };
        for id in brokers {
            let dir = tempfile::tempdir().unwrap();
            let replicas = world.open(*id, &dir);
            world.nodes.insert(*id, Node { replicas, dir, effects: vec![], others: vec![] });
        }
        world.announce();
        world
    }

    fn open(&self, id: i32, dir: &tempfile::TempDir) -> Replicas {
        let mut settings = self.settings.clone();
        settings.broker = id;
        settings.log_dirs = vec![dir.path().join("a"), dir.path().join("b")];
        let rng = Rng::with_seed(u64::try_from(id).unwrap());
        let replicas = Replicas::new(settings, Arc::new(Unsynced), rng, Some(BTreeMap::new()), self.now).unwrap();
        replicas.set_alive((1..=5).collect());
        replicas
    }

    fn brokers(&self) -> Vec<i32> {
        self.nodes.keys().copied().collect()
    }

    fn state(&self) -> NewState {
        NewState {
            topic: TOPIC.into(),
            topic_id: ID,
            partition: 0,
            leader: self.leader,
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            eligible_min_isr: 0,
            isr: self.isr.clone(),
            replicas: self.brokers(),
            adding: vec![],
            is_new: self.leader_epoch == 0,
        }
    }

    /// The controller tells all who can hear it.
    fn announce(&mut self) {
        let state = self.state();
        for id in self.brokers() {
            if !self.cut.contains(&id) {
                self.tell(id, &state);
            }
        }
        self.pump();
    }

    fn tell(&mut self, id: i32, state: &NewState) {
        let node = self.nodes.get_mut(&id).unwrap();
        let outcome =
            node.replicas.become_leader_or_follower(1, std::slice::from_ref(state), self.now, &mut node.effects);
        assert_eq!(outcome, Ok(vec![Ok(())]), "broker {id}");
    }

    fn elect(&mut self, leader: i32) {
        assert!(self.isr.contains(&leader));
        (self.leader, self.leader_epoch, self.partition_epoch) =
            (leader, self.leader_epoch + 1, self.partition_epoch + 1);
        self.announce();
    }

    fn heal(&mut self, id: i32) {
        self.cut.remove(&id);
        let state = self.state();
        if self.partition(id).view().leader_epoch < state.leader_epoch {
            self.tell(id, &state);
        }
        self.pump();
    }

    fn partition(&self, id: i32) -> Arc<Partition> {
        self.nodes[&id].replicas.get(TOPIC, 0).unwrap()
    }

    fn view(&self, id: i32) -> PartitionView {
        self.partition(id).view()
    }

    /// Carries messages until all is quiet.
    fn pump(&mut self) {
        for _ in 0..10_000 {
            let mut is_quiet = true;
            for id in self.brokers() {
                for effect in std::mem::take(&mut self.nodes.get_mut(&id).unwrap().effects) {
                    is_quiet = false;
                    self.carry(id, effect);
                }
            }
            while let Some((from, leader, fetcher, result)) = { self.parked.lock().pop_front() } {
                is_quiet = false;
                self.answer(from, leader, fetcher, result);
            }
            if is_quiet {
                return;
            }
        }
        panic!("the world never comes to rest");
    }

    fn are_connected(&self, a: i32, b: i32) -> bool {
        !self.cut.contains(&a) && !self.cut.contains(&b)
    }

    fn carry(&mut self, from: i32, effect: Effect) {
        match effect {
            Effect::Fetch { leader, fetcher, ask } => {
                if !self.are_connected(from, leader) {
                    return self.lose(from, leader, fetcher);
                }
                let order = order(from, &ask);
                let parked = self.parked.clone();
                let done = move || -> Box<dyn FnOnce(FetchResult) + Send> {
                    Box::new(move |result| parked.lock().push_back((from, leader, fetcher, result)))
                };
                let node = self.nodes.get_mut(&leader).unwrap();
                let topics = Everything { may_follow: !self.forbidden.contains(&from) };
                let result = node.replicas.serve_fetch(order, &topics, done, (self.now, &mut node.effects));
                if let Some(result) = result {
                    self.answer(from, leader, fetcher, result);
                }
            }
            Effect::ListOffsets { leader, fetcher, ask } => {
                let answer = self.are_connected(from, leader).then(|| {
                    let replicas = &self.nodes[&leader].replicas;
                    ask.partitions
                        .iter()
                        .map(|asked| ((asked.0.clone(), asked.1), offset(replicas, &ask, asked)))
                        .collect()
                });
                let node = self.nodes.get_mut(&from).unwrap();
                node.replicas.on_offsets((leader, fetcher), answer, self.now, &mut node.effects);
            }
            Effect::EpochEnds { leader, fetcher, ask } => self.epoch_ends(from, (leader, fetcher), &ask),
            Effect::Rebuild { leader, ask } => self.rebuild(from, leader, &ask),
            Effect::AlterPartition(_) if self.forgets_answers => {}
            Effect::AlterPartition(changes) => {
                let answers = (!self.cut.contains(&from)).then(|| changes.iter().map(|one| self.decide(one)).collect());
                let node = self.nodes.get_mut(&from).unwrap();
                node.replicas.on_alter_partition(answers, self.now, &mut node.effects);
            }
            Effect::Chore(chore) => {
                let node = self.nodes.get_mut(&from).unwrap();
                node.replicas.do_chore(chore, self.now, &mut node.effects, &|millis| {
                    assert!(!node.replicas.cleaning.is_locked(), "others wait for who rests");
                    self.rested_ms.set(self.rested_ms.get() + millis);
                });
            }
            Effect::WakeAt(_) => {}
            other => self.nodes.get_mut(&from).unwrap().others.push(other),
        }
    }

    fn lose(&mut self, from: i32, leader: i32, fetcher: u32) {
        let node = self.nodes.get_mut(&from).unwrap();
        node.replicas.on_fetch((leader, fetcher), Err(SessionFailure::NoAnswer), self.now, &mut node.effects);
    }

    fn answer(&mut self, from: i32, leader: i32, fetcher: u32, result: FetchResult) {
        if !self.are_connected(from, leader) {
            return self.lose(from, leader, fetcher);
        }
        let answer = result.map_err(|error| match error {
            fetch_session::SessionError::UnknownSession => SessionFailure::UnknownSession,
            _ => SessionFailure::Refused(71),
        });
        // Records that were cut off while they waited to be sent cannot be read; the connection then breaks.
        let answer = answer.and_then(|reply| {
            let partitions: Option<_> = reply.pieces.into_iter().map(fetched).collect();
            let partitions = partitions.ok_or(SessionFailure::NoAnswer)?;
            Ok(FetchAnswer { session_id: reply.session_id, partitions })
        });
        let node = self.nodes.get_mut(&from).unwrap();
        node.replicas.on_fetch((leader, fetcher), answer, self.now, &mut node.effects);
    }

    fn decide(&mut self, change: &IsrChange) -> IsrAnswer {
        let verdict = if change.leader_epoch != self.leader_epoch || change.partition_epoch != self.partition_epoch {
            Verdict::Stale
        } else if self.leaving.is_some_and(|leaving| change.isr.contains(&leaving)) {
            Verdict::NotDone
        } else {
            self.isr.clone_from(&change.isr);
            self.partition_epoch += 1;
            let (isr, partition_epoch) = (self.isr.clone(), self.partition_epoch);
            Verdict::Accepted { isr, partition_epoch, leader_epoch: self.leader_epoch, eligible_min_isr: 0 }
        };
        IsrAnswer { topic: TopicName::Id(change.topic_id), partition: change.partition, verdict }
    }

    /// Lets time pass, with every deadline met on the way.
    fn pass(&mut self, ms: u64) {
        let until = self.now.mono + ms;
        loop {
            let next = self.nodes.values().map(|node| node.replicas.next_deadline()).min().unwrap();
            let at = next.max(self.now.mono + 1).min(until);
            self.now.wall.0 += i64::try_from(at - self.now.mono).unwrap();
            self.now.mono = at;
            for id in self.brokers() {
                let node = self.nodes.get_mut(&id).unwrap();
                node.replicas.tick(self.now, &mut node.effects);
            }
            self.pump();
            if at == until {
                return;
            }
        }
    }

    fn produce(&mut self, to: i32, values: &[&str], acks_all: bool) -> Pending {
        let records: Vec<Record> = values.iter().enumerate().map(|(i, value)| record(i, value, self.now)).collect();
        let records = batch::build(&BatchSpec::default(), &records).unwrap();
        let part = Append { topic: TOPIC.into(), partition: 0, records, verification: Default::default() };
        let call = ProduceCall { acks_all, timeout_ms: 5000, origin: AppendOrigin::Client, parts: vec![part] };
        let pending = Pending::default();
        let slot = pending.0.clone();
        let done =
            move || -> waiting::Done<ProduceOutcome> { Box::new(move |mut outcomes| *slot.lock() = outcomes.pop()) };
        let node = self.nodes.get_mut(&to).unwrap();
        if let Some(mut outcomes) = node.replicas.produce(call, done, self.now, &mut node.effects) {
            *pending.0.lock() = outcomes.pop();
        }
        pending
    }

    fn ack(&mut self, to: i32, values: &[&str]) -> i64 {
        let pending = self.produce(to, values, true);
        self.pump();
        pending.get().expect("acknowledged at once").unwrap().base_offset
    }

    /// Has the topic compacted, and writes so many records of two keys.
    fn fill_compacted(&mut self, rounds: usize) {
        let config =
            LogConfig { segment_bytes: 200, cleanup_compact: true, cleanup_delete: false, ..LogConfig::default() };
        self.nodes.values().for_each(|node| node.replicas.set_topic_config(TOPIC, Some(config.clone())));
        for round in 0..rounds {
            let key = Some(Bytes::from_static(if round % 2 == 0 { b"even" } else { b"odd" }));
            let record = Record { key, ..record(0, &format!("{round}"), self.now) };
            let records = batch::build(&BatchSpec::default(), &[record]).unwrap();
            let part = Append { topic: TOPIC.into(), partition: 0, records, verification: Default::default() };
            let node = self.nodes.get_mut(&1).unwrap();
            node.replicas.append(part, AppendOrigin::Coordinator, self.now, &mut node.effects).unwrap();
        }
        self.pump();
    }

    fn log_bytes(&self, id: i32) -> usize {
        let files = std::fs::read_dir(self.view(id).log_dir.join(format!("{TOPIC}-0"))).unwrap().map(Result::unwrap);
        let logs = files.filter(|file| file.path().extension().is_some_and(|name| name == "log"));
        logs.map(|file| file.metadata().unwrap().len() as usize).sum()
    }

    /// What is in a replica's log: offset and value.
    fn content(&self, id: i32) -> Vec<(i64, String)> {
        let replicas = &self.nodes[&id].replicas;
        let view = self.view(id);
        let mut offset = view.start_offset;
        let mut found = Vec::new();
        while offset < view.end_offset {
            let bytes = replicas.read(TOPIC, 0, offset, 1 << 20).unwrap().to_bytes().unwrap();
            for batch in batch::batches(bytes) {
                for record in batch.unwrap().records(1 << 20).unwrap() {
                    let record = record.unwrap();
                    offset = record.offset + 1;
                    found.push((record.offset, String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
                }
            }
        }
        found
    }

    fn restart(&mut self, id: i32, clean: bool) {
        let node = self.nodes.remove(&id).unwrap();
        if clean {
            node.replicas.shutdown();
        }
        // The other side sees a broken connection.
        self.parked.lock().retain(|(from, leader, _, _)| *from != id && *leader != id);
        let fetching: Vec<(i32, u32)> = self
            .nodes
            .iter()
            .flat_map(|(other, node)| {
                node.replicas.fetchers.lock().keys().map(|key| (*other, *key)).collect::<Vec<_>>()
            })
            .filter(|(_, (leader, _))| *leader == id)
            .map(|(other, (_, number))| (other, number))
            .collect();
        drop(node.replicas);
        let replicas = self.open(id, &node.dir);
        self.nodes.insert(id, Node { replicas, dir: node.dir, effects: vec![], others: vec![] });
        for (other, number) in fetching {
            self.lose(other, id, number);
        }
        if !self.cut.contains(&id) {
            let state = self.state();
            self.tell(id, &state);
        }
        self.pump();
    }
}

#[derive(Default)]
struct Pending(Arc<Mutex<Option<ProduceOutcome>>>);

impl Pending {
    fn get(&self) -> Option<ProduceOutcome> {
        self.0.lock().clone()
    }

    fn text(&self) -> String {
        match self.get() {
            None => "waiting".to_owned(),
            Some(Ok(appended)) => format!("at {}", appended.base_offset),
            Some(Err(error)) => error.to_string(),
        }
    }
}

fn record(index: usize, value: &str, now: Now) -> Record {
    Record {
        offset: i64::try_from(index).unwrap(),
        timestamp: now.wall.0,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        ..Record::default()
    }
}

fn order(from: i32, ask: &FetchAsk) -> FetchOrder {
    let key = |id: &Uuid, partition: i32| FetchKey { topic: TopicKey::Id(*id), partition };
    let wanted = ask
        .wanted
        .iter()
        .map(|(topic, id, partition, wanted)| Target {
            key: key(id, *partition),
            topic: Some(topic.clone()),
            wanted: *wanted,
        })
        .collect();
    let params = FetchParams {
        replica: Some(from),
        replica_epoch: -1,
        only_leader: true,
        nearer: Arc::default(),
        isolation: Isolation::LogEnd,
        max_wait_ms: ask.patience_ms.unwrap_or(500).min(500),
        min_bytes: 1,
        max_bytes: 10 << 20,
    };
    let session = SessionRequest {
        id: ask.session_id,
        epoch: ask.session_epoch,
        from_follower: true,
        uses_topic_ids: true,
        wanted,
        forgotten: ask.forgotten.iter().map(|(_, id, partition)| key(id, *partition)).collect(),
    };
    FetchOrder { params, session }
}

fn fetched(piece: FetchPiece) -> Option<follower::FetchedPartition> {
    let TopicKey::Id(id) = piece.key.topic else { panic!("followers name topics by id") };
    let outcome = match piece.outcome {
        Ok(data) => Ok(Fetched {
            records: data.records.to_bytes().ok()?,
            high_watermark: data.high_watermark,
            log_start_offset: data.log_start_offset,
            diverging: data.diverging,
        }),
        Err(PieceError::Read(ReadError::OffsetOutOfRange)) => Err(FetchFailure::OffsetOutOfRange),
        Err(PieceError::Read(ReadError::FencedEpoch)) => Err(FetchFailure::FencedEpoch),
        Err(PieceError::Read(ReadError::InRemote { log_start_offset, .. })) => {
            Err(FetchFailure::InRemote(log_start_offset))
        }
        Err(_) => Err(FetchFailure::Other(6)),
    };
    Some((TopicName::Id(id), piece.key.partition, outcome))
}

fn offset(replicas: &Replicas, ask: &OffsetsAsk, asked: &(Arc<str>, i32, i32)) -> Result<LeaderOffset, FetchFailure> {
    let query = match ask.which {
        Which::End => OffsetQuery::Latest,
        Which::Start => OffsetQuery::Earliest,
        Which::LocalStart => OffsetQuery::EarliestLocal,
    };
    let asker = Asker { current_leader_epoch: Some(asked.2), only_leader: true };
    let partition = replicas.get(&asked.0, asked.1).ok_or(FetchFailure::Other(3))?;
    let found = partition.find_offset(asker, query, None);
    let found = found.map(Option::unwrap);
    let offset =
        |found: FoundOffset| LeaderOffset { offset: found.offset, leader_epoch: found.leader_epoch.unwrap_or(-1) };
    found.map(offset).map_err(|_| FetchFailure::Other(6))
}

fn values(content: &[(i64, String)]) -> Vec<&str> {
    content.iter().map(|(_, value)| value.as_str()).collect()
}

#[test]
fn acks_all_waits_for_all_in_sync_and_the_high_watermark_follows() {
    let mut world = World::new(&[1, 2, 3], 1);
    let pending = world.produce(1, &["a", "b"], true);
    assert_eq!(pending.text(), "waiting");
    assert_eq!(world.view(1).high_watermark, 0);
    world.pump();
    assert_eq!(pending.text(), "at 0");
    assert_eq!(world.view(1).high_watermark, 2);
    for id in [2, 3] {
        assert_eq!(values(&world.content(id)), ["a", "b"]);
    }
    world.pass(500);
    assert_eq!([2, 3].map(|id| world.view(id).high_watermark), [2, 2], "told with the next answer");
}

#[test]
fn a_silent_follower_leaves_the_isr_and_comes_back() {
    let mut world = World::new(&[1, 2, 3], 1);
    world.ack(1, &["a"]);
    world.cut.insert(3);
    let pending = world.produce(1, &["b"], true);
    world.pass(4000);
    assert_eq!(pending.text(), "waiting", "broker 3 is still in sync");
    assert_eq!(world.isr, [1, 2, 3]);
    world.pass(1000);
    assert_eq!(pending.text(), "not replicated in time");
    world.pass(45_000);
    assert_eq!(world.isr, [1, 2]);
    assert_eq!(world.view(1).high_watermark, 2);
    world.ack(1, &["c"]);
    world.heal(3);
    world.pass(1000);
    assert_eq!(world.isr, [1, 2, 3]);
    assert_eq!(values(&world.content(3)), ["a", "b", "c"]);
}

#[test]
fn a_follower_that_is_about_to_join_and_dies_is_not_waited_for() {
    let mut world = World::new(&[1, 2, 3], 1);
    world.ack(1, &["a"]);
    (world.isr, world.leaving) = (vec![1, 2], Some(3));
    world.elect(1);
    world.pump();
    world.pass(1000);
    assert_eq!(world.isr, [1, 2]);
    world.cut.insert(3);
    let pending = world.produce(1, &["b"], true);
    world.pass(1000);
    assert_eq!(pending.text(), "waiting", "it was caught up, and is alive as far as is known");
    world.nodes[&1].replicas.set_alive([1, 2].into());
    // Nothing is produced that would let another follower come further.
    world.pass(600);
    assert_eq!(pending.text(), "at 1");
}

#[test]
fn too_few_in_sync_refuse_acks_all_and_hold_the_high_watermark() {
    let mut world = World::new(&[1, 2], 2);
    world.ack(1, &["a"]);
    world.cut.insert(2);
    let waits = world.produce(1, &["b"], true);
    world.pass(4000);
    world.pass(60_000);
    assert_eq!(waits.text(), "not replicated in time");
    assert_eq!(world.isr, [1]);
    assert_eq!(world.view(1).high_watermark, 1, "below the minimum nothing is committed");
    assert_eq!(world.produce(1, &["c"], true).text(), "not enough replicas in sync");
    assert_eq!(world.produce(1, &["d"], false).text(), "at 2", "acks=1 takes the risk");
    world.heal(2);
    world.pass(1000);
    assert_eq!(world.isr, [1, 2]);
    assert_eq!(world.view(1).high_watermark, 3);
}

#[test]
fn a_new_leaders_followers_cut_what_it_does_not_have() {
    let mut world = World::new(&[1, 2, 3], 1);
    world.ack(1, &["a", "b"]);
    world.cut.insert(1);
    let lost = world.produce(1, &["x", "y", "z"], true);
    world.produce(1, &["w"], false);
    world.elect(2);
    world.pass(1000);
    assert_eq!(world.isr, [1, 2, 3]);
    let pending = world.produce(2, &["c"], true);
    world.pass(50_000);
    assert_eq!(world.isr, [2, 3]);
    assert_eq!(pending.text(), "not replicated in time");
    world.ack(2, &["d"]);
    assert_eq!(values(&world.content(1)), ["a", "b", "x", "y", "z", "w"]);
    world.heal(1);
    world.pass(1000);
    assert_eq!(lost.text(), "not replicated in time");
    for id in [1, 2, 3] {
        assert_eq!(values(&world.content(id)), ["a", "b", "c", "d"], "broker {id}");
    }
    assert_eq!(world.isr, [1, 2, 3]);
    assert_eq!(world.view(1).leader, Some(2));
}

#[test]
fn interleaved_epochs_are_cut_to_the_last_common_record() {
    // KIP-279: each of two brokers led in turn while the other was away, and wrote what the other never saw.
    let mut world = World::new(&[1, 2], 1);
    world.ack(1, &["a"]);
    world.cut.insert(2);
    world.produce(1, &["b1"], false);
    world.pass(50_000);
    world.isr = vec![1, 2];
    world.cut = BTreeSet::from([1]);
    world.elect(2);
    world.produce(2, &["c2", "d2"], false);
    world.cut = BTreeSet::from([2]);
    world.isr = vec![1, 2];
    world.elect(1);
    world.produce(1, &["e1"], false);
    world.cut.clear();
    world.isr = vec![1];
    world.elect(1);
    world.pass(1000);
    assert_eq!(values(&world.content(1)), ["a", "b1", "e1"]);
    assert_eq!(values(&world.content(2)), ["a", "b1", "e1"]);
}

#[test]
fn a_lost_answer_of_the_controller_does_not_freeze_the_isr() {
    let mut world = World::new(&[1, 2], 1);
    world.ack(1, &["a"]);
    world.cut.insert(2);
    world.produce(1, &["b"], false);
    world.forgets_answers = true;
    world.pass(50_000);
    assert_eq!(world.isr, [1, 2]);
    world.forgets_answers = false;
    world.pass(61_000);
    assert_eq!(world.isr, [1]);
    assert_eq!(world.view(1).isr, [1]);
}

#[test]
fn who_waits_for_a_dethroned_leader_is_told() {
    let mut world = World::new(&[1, 2, 3], 1);
    world.cut.insert(3);
    let pending = world.produce(1, &["a"], true);
    world.pump();
    assert_eq!(pending.text(), "waiting");
    world.elect(2);
    assert_eq!(pending.text(), "not leader");
    assert_eq!(world.produce(1, &["b"], true).text(), "not leader");
}

/// Followers hear of a new leader before it does itself: what it refuses first must not wait until it has something to say
/// of the rest, or the half second for which it keeps a fetch.
#[test]
fn a_partition_that_its_leader_refused_is_asked_for_again_while_others_wait() {
    let mut world = World::new(&[1, 2], 2);
    let idle = NewState { partition: 1, ..world.state() };
    (1..=2).for_each(|id| world.tell(id, &idle));
    world.pump();
    (world.leader, world.leader_epoch, world.partition_epoch) = (2, 1, 1);
    let (late, idle) = (world.state(), NewState { partition: 1, ..world.state() });
    world.tell(2, &idle);
    let node = world.nodes.get_mut(&1).unwrap();
    let told = node.replicas.become_leader_or_follower(1, &[late.clone(), idle], world.now, &mut node.effects);
    assert_eq!(told, Ok(vec![Ok(()), Ok(())]));
    world.pump();
    world.tell(2, &late);
    let pending = world.produce(2, &["a"], true);
    world.pass(20);
    assert_eq!(pending.text(), "at 0");
}

#[test]
fn a_follower_that_missed_too_much_starts_anew() {
    let mut world = World::new(&[1, 2], 1);
    world.ack(1, &["a"]);
    world.cut.insert(2);
    world.produce(1, &["b", "c"], false);
    world.pass(50_000);
    world.ack(1, &["d"]);
    let node = world.nodes.get_mut(&1).unwrap();
    let part = (TOPIC.into(), 0, -1);
    let outcomes = node.replicas.delete_records(&[part], 100, || Box::new(drop), (world.now, &mut node.effects));
    assert_eq!(outcomes, None, "broker 2 has not deleted");
    world.ack(1, &["e"]);
    world.heal(2);
    world.pass(1000);
    assert_eq!(world.view(1).start_offset, 4);
    assert_eq!(world.view(2).start_offset, 4);
    assert_eq!(world.content(2), [(4, "e".to_owned())]);
    assert_eq!(world.isr, [1, 2]);
}

#[test]
fn deleted_records_are_acknowledged_when_all_replicas_deleted_them() {
    let mut world = World::new(&[1, 2], 1);
    world.ack(1, &["a"]);
    world.ack(1, &["b"]);
    let told: Arc<Mutex<Option<Vec<DeleteOutcome>>>> = Arc::default();
    let slot = told.clone();
    let done = move || -> waiting::Done<DeleteOutcome> { Box::new(move |outcomes| *slot.lock() = Some(outcomes)) };
    let parts: Vec<(Arc<str>, i32, i64)> = vec![(TOPIC.into(), 0, 1), (TOPIC.into(), 0, 9), (TOPIC.into(), 2, 1)];
    let node = world.nodes.get_mut(&1).unwrap();
    assert_eq!(node.replicas.delete_records(&parts, 5000, done, (world.now, &mut node.effects)), None);
    world.pass(1100);
    let expected = vec![Ok(1), Err(DeleteError::OffsetOutOfRange), Err(DeleteError::UnknownPartition)];
    assert_eq!(*told.lock(), Some(expected));
    assert_eq!(world.view(2).start_offset, 1);
}

fn consume(world: &mut World, offset: i64, min_bytes: i32) -> Arc<Mutex<Option<FetchResult>>> {
    consume_near(world, offset, min_bytes, &[])
}

fn consume_near(world: &mut World, offset: i64, min_bytes: i32, near: &[i32]) -> Arc<Mutex<Option<FetchResult>>> {
    let mut order = order(1, &FetchAsk { session_epoch: -1, ..FetchAsk::default() });
    let nearer = near.into();
    order.params =
        FetchParams { replica: None, nearer, isolation: Isolation::HighWatermark, min_bytes, ..order.params };
    let wanted = Wanted {
        fetch_offset: offset,
        log_start_offset: -1,
        max_bytes: 1 << 20,
        current_leader_epoch: None,
        last_fetched_epoch: None,
    };
    let key = FetchKey { topic: TopicKey::Id(ID), partition: 0 };
    order.session.wanted = vec![Target { key, topic: Some(TOPIC.into()), wanted }];
    order.session.from_follower = false;
    let told: Arc<Mutex<Option<FetchResult>>> = Arc::default();
    let slot = told.clone();
    let done = move || -> Box<dyn FnOnce(FetchResult) + Send> { Box::new(move |result| *slot.lock() = Some(result)) };
    let node = world.nodes.get_mut(&1).unwrap();
    if let Some(result) =
        node.replicas.serve_fetch(order, &Everything { may_follow: true }, done, (world.now, &mut node.effects))
    {
        *told.lock() = Some(result);
    }
    told
}

fn read_bytes(told: &Arc<Mutex<Option<FetchResult>>>) -> Option<Result<usize, PieceError>> {
    let told = told.lock();
    let reply = told.as_ref()?.as_ref().ok()?;
    Some(reply.pieces[0].outcome.as_ref().map(|data| data.records.len()).map_err(|error| *error))
}

#[test]
fn a_consumer_waits_for_committed_bytes() {
    let mut world = World::new(&[1, 2], 1);
    let one = consume(&mut world, 0, 1);
    let many = consume(&mut world, 0, 100);
    assert_eq!(read_bytes(&one), None);
    world.produce(1, &["a"], false);
    assert_eq!(read_bytes(&one), None, "not committed yet");
    world.pump();
    assert_eq!(read_bytes(&one), Some(Ok(69)));
    assert_eq!(read_bytes(&many), None, "too little");
    world.ack(1, &["b"]);
    assert_eq!(read_bytes(&many), Some(Ok(138)));
    let late = consume(&mut world, 2, 1);
    world.pass(500);
    assert_eq!(read_bytes(&late), Some(Ok(0)), "the time is up");
    assert_eq!(read_bytes(&consume(&mut world, 3, 1)), Some(Err(ReadError::OffsetOutOfRange.into())));
    let fenced = consume(&mut world, 2, 1);
    world.elect(2);
    assert_eq!(read_bytes(&fenced), Some(Err(ReadError::NotLeaderOrFollower.into())));
}

/// KIP-392: to a replica that is in sync and has the offset, without records and at once; else the leader serves itself.
#[test]
fn a_consumer_is_sent_to_a_replica_near_it() {
    let mut world = World::new(&[1, 2, 3], 1);
    world.ack(1, &["a", "b"]);
    world.pass(1000);
    let sent_to = |world: &mut World, offset: i64, near: &[i32]| {
        let told = consume_near(world, offset, 1, near);
        let told = told.lock();
        let reply = told.as_ref()?.as_ref().ok()?;
        let data = reply.pieces[0].outcome.as_ref().ok()?;
        assert_eq!(data.preferred_replica.is_some(), data.records.is_empty(), "offset {offset}, near {near:?}");
        assert_eq!(data.high_watermark, 2);
        data.preferred_replica
    };
    let cases: [(i64, &[i32], Option<i32>); 6] = [
        (0, &[], None),
        (0, &[2], Some(2)),
        (1, &[2, 3, 7], Some(3)),
        (2, &[3], Some(3)),
        (3, &[2, 3], None),
        (0, &[7], None),
    ];
    for (offset, near, expected) in cases {
        assert_eq!(sent_to(&mut world, offset, near), expected, "offset {offset}, near {near:?}");
    }
    (world.isr, world.leaving) = (vec![1, 2], Some(3));
    world.elect(1);
    world.pass(1000);
    assert_eq!(sent_to(&mut world, 0, &[3]), None, "it has all, and is not in sync");
}

#[test]
fn a_clean_restart_keeps_all_and_an_unclean_one_all_that_is_committed() {
    let mut world = World::new(&[1, 2, 3], 2);
    for value in ["a", "b", "c"] {
        world.ack(1, &[value]);
    }
    world.pass(6000);
    for (id, clean) in [(2, true), (3, false), (1, true)] {
        world.elect(if id == 1 { 2 } else { 1 });
        world.restart(id, clean);
        assert_eq!(world.view(id).high_watermark, 3, "broker {id}: from the checkpoint");
        world.pass(1000);
        assert_eq!(values(&world.content(id)), ["a", "b", "c"]);
    }
    let leader = world.leader;
    world.ack(leader, &["d"]);
}

#[test]
fn a_deleted_partition_makes_room_at_once_and_its_files_go_later() {
    let mut world = World::new(&[1], 1);
    world.ack(1, &["a"]);
    let dir = world.view(1).log_dir;
    let node = world.nodes.get_mut(&1).unwrap();
    let stop = |leader_epoch| Stop { topic: TOPIC.into(), partition: 0, leader_epoch, delete: true };
    let outcome = node.replicas.stop(1, &[stop(-3)], world.now, &mut node.effects);
    assert_eq!(outcome, Ok(vec![Err(StateError::FencedLeaderEpoch)]));
    let outcome = node.replicas.stop(0, &[stop(EPOCH_DURING_DELETE)], world.now, &mut node.effects);
    assert_eq!(outcome, Err(StateError::StaleController));
    let outcome = node.replicas.stop(1, &[stop(EPOCH_DURING_DELETE)], world.now, &mut node.effects);
    assert_eq!(outcome, Ok(vec![Ok(())]));
    let names = |dir: &PathBuf| -> Vec<String> {
        let entries = StdDisk.read_dir(dir).unwrap();
        entries.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name).collect()
    };
    assert!(names(&dir)[0].ends_with("-delete"), "{:?}", names(&dir));
    assert!(world.nodes[&1].replicas.get(TOPIC, 0).is_none());
    world.pass(60_000);
    assert_eq!(names(&dir), Vec::<String>::new());
}

#[test]
fn an_old_word_of_the_controller_is_not_heeded() {
    let mut world = World::new(&[1, 2], 1);
    world.elect(2);
    let (now, good) = (world.now, world.state());
    let node = world.nodes.get_mut(&1).unwrap();
    let mut tell =
        |epoch: i32, state: NewState| node.replicas.become_leader_or_follower(epoch, &[state], now, &mut node.effects);
    let newer = NewState { leader_epoch: 9, ..good.clone() };
    assert_eq!(tell(0, newer.clone()), Err(StateError::StaleController));
    assert_eq!(tell(1, good.clone()), Ok(vec![Err(StateError::StaleLeaderEpoch)]));
    let other_id = NewState { topic_id: Uuid::from_u128(5), ..newer.clone() };
    assert_eq!(tell(1, other_id), Ok(vec![Err(StateError::InconsistentTopicId)]));
    assert_eq!(tell(1, NewState { replicas: vec![7], ..newer.clone() }), Ok(vec![Err(StateError::NotAReplica)]));
    assert_eq!(tell(2, newer), Ok(vec![Ok(())]));
    assert_eq!(tell(1, good), Err(StateError::StaleController));
}

#[test]
fn a_compacted_topic_keeps_the_last_value_of_each_key() {
    let mut world = World::new(&[1, 2], 1);
    world.fill_compacted(20);
    world.pass(31_000);
    for id in [1, 2] {
        let content = world.content(id);
        assert!(content.len() < 8, "broker {id}: {content:?}");
        assert_eq!(values(&content[content.len() - 2..]), ["18", "19"]);
        let dir = world.view(id).log_dir;
        let checkpoint =
            crate::log::checkpoints::read_offsets(&StdDisk, &dir.join("cleaner-offset-checkpoint")).unwrap();
        assert!(checkpoint.values().all(|offset| *offset > 10), "{checkpoint:?}");
    }
}

#[test]
fn compaction_reads_and_writes_no_more_than_it_may() {
    for (bytes_per_second, at_least, at_most) in
        [(f64::MAX, 0, 0), (1e9, 0, 0), (100_000.0, 20, 60), (1000.0, 2500, 3500), (1.0, 2_500_000, 3_500_000)]
    {
        let mut world = World::new(&[1], 1);
        world.fill_compacted(20);
        let cleaner = CleanerSettings { bytes_per_second, ..CleanerSettings::default() };
        world.nodes[&1].replicas.set_cleaner(cleaner);
        let before: usize = world.log_bytes(1);
        assert!((1400..2000).contains(&before), "{before}");
        world.pass(31_000);
        assert!(world.content(1).len() < 8, "{bytes_per_second}");
        let rested_ms = world.rested_ms.get();
        assert!((at_least..=at_most).contains(&rested_ms), "{bytes_per_second}: {rested_ms}");
    }
}

#[test]
fn as_many_logs_are_compacted_at_a_time_as_there_are_cleaners() {
    let mut world = World::new(&[1], 1);
    let cleaners_due = |world: &mut World| -> Vec<u32> {
        let mut effects = Vec::new();
        world.now.mono = world.now.mono + 15_000;
        world.nodes[&1].replicas.tick(world.now, &mut effects);
        let mut due = Vec::new();
        for effect in effects {
            let Effect::Chore(chore) = effect else { continue };
            due.extend(if let Chore::Compaction(number) = chore { Some(number) } else { None });
            world.nodes[&1].replicas.do_chore(chore, world.now, &mut Vec::new(), &|_| {});
        }
        due
    };
    let set = |world: &World, threads| {
        world.nodes[&1].replicas.set_cleaner(CleanerSettings { threads, ..CleanerSettings::default() });
    };
    assert_eq!(cleaners_due(&mut world), [0]);
    set(&world, 3);
    assert_eq!(cleaners_due(&mut world), [0, 1, 2]);
    assert_eq!(cleaners_due(&mut world), [0, 1, 2]);
    set(&world, 2);
    assert_eq!(cleaners_due(&mut world), [0, 1, 2], "each ends with its round");
    assert_eq!(cleaners_due(&mut world), [0, 1]);
}

#[test]
fn two_directories_share_the_partitions() {
    let world = World::new(&[1], 1);
    let node = &world.nodes[&1];
    let mut effects = Vec::new();
    for partition in 1..4 {
        let state = NewState { partition, ..world.state() };
        node.replicas.become_leader_or_follower(1, &[state], world.now, &mut effects).unwrap();
    }
    let mut dirs: Vec<PathBuf> = node.replicas.all().iter().map(|partition| partition.view().log_dir).collect();
    dirs.sort();
    let [a, b] = ["a", "b"].map(|name| node.dir.path().join(name));
    assert_eq!(dirs, [a.clone(), a, b.clone(), b]);
}

/// Random produces, cuts, elections and restarts: what was acknowledged with acks=all is never lost, and once all is
/// well again the logs are the same.
#[test]
fn nothing_acknowledged_is_lost() {
    for seed in 0..20 {
        let mut rng = Rng::with_seed(seed);
        let mut world = World::new(&[1, 2, 3], 2);
        let mut pending: Vec<(String, Pending)> = Vec::new();
        for step in 0..100 {
            match rng.u32(0..12) {
                0..=5 => {
                    let value = format!("{seed}-{step}");
                    let to = rng.i32(1..=3);
                    let acks_all = rng.u32(0..4) > 0;
                    let produced = world.produce(to, &[&value], acks_all);
                    if rng.bool() {
                        world.pump();
                    }
                    if acks_all {
                        pending.push((value, produced));
                    }
                }
                6 if world.cut.is_empty() => {
                    world.cut.insert(rng.i32(1..=3));
                }
                7 => {
                    if let Some(id) = world.cut.iter().next().copied() {
                        world.heal(id);
                    }
                }
                8 => {
                    let candidates: Vec<i32> = world.isr.iter().copied().filter(|id| !world.cut.contains(id)).collect();
                    if !candidates.is_empty() {
                        let leader = candidates[rng.usize(0..candidates.len())];
                        world.elect(leader);
                    }
                }
                9 => {
                    let id = rng.i32(1..=3);
                    let candidates: Vec<i32> =
                        world.isr.iter().copied().filter(|other| *other != id && !world.cut.contains(other)).collect();
                    // The controller moves leadership away from whoever goes.
                    if let Some(leader) = candidates.first() {
                        world.elect(*leader);
                        world.restart(id, rng.bool());
                    }
                }
                _ => world.pass(rng.u64(1..20_000)),
            }
        }
        for id in std::mem::take(&mut world.cut) {
            world.heal(id);
        }
        world.pass(60_000);
        let content = world.content(world.leader);
        assert_eq!(world.isr, [1, 2, 3], "seed {seed}");
        for id in [1, 2, 3] {
            assert_eq!(world.content(id), content, "seed {seed}, broker {id}");
        }
        for (value, produced) in pending {
            if let Some(Ok(appended)) = produced.get() {
                assert!(content.contains(&(appended.base_offset, value.clone())), "seed {seed}: {value} is lost");
            }
        }
    }
}

#[test]
fn a_checkpoint_begun_before_the_logs_were_closed_does_not_replace_that_of_the_closing() {
    let world = World::new(&[1], 1);
    let node = &world.nodes[&1];
    node.replicas.shutdown();
    let read = || {
        let files = ["a", "b"].map(|dir| node.dir.path().join(dir).join("replication-offset-checkpoint"));
        files.map(|file| crate::log::checkpoints::read_offsets(&StdDisk, &file).unwrap())
    };
    let before = read();
    assert_eq!(before.iter().map(|offsets| offsets.len()).sum::<usize>(), 1);
    node.replicas.checkpoint(storage::Checkpoint::HighWatermarks, &mut Woken::default());
    assert_eq!(read(), before);
}

#[test]
fn nothing_is_written_outside_the_log_directories() {
    let mut world = World::new(&[1], 1);
    let state = world.state();
    for (topic, partition) in [("../x", 0), ("a/b", 0), ("..", 0), ("", 0), ("t", -1), ("a b", 1), ("/tmp/x", 0)] {
        let new = NewState { topic: topic.into(), topic_id: Uuid::nil(), partition, is_new: true, ..state.clone() };
        let node = world.nodes.get_mut(&1).unwrap();
        let outcome = node.replicas.become_leader_or_follower(1, &[new], world.now, &mut node.effects);
        assert_eq!(outcome, Ok(vec![Err(StateError::NoLogName)]), "{topic} {partition}");
    }
    let names = StdDisk.read_dir(world.nodes[&1].dir.path()).unwrap();
    assert_eq!(names.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn an_internal_partition_whose_directory_failed_is_given_up() {
    let mut world = World::new(&[1], 1);
    let new = NewState { topic: "__consumer_offsets".into(), topic_id: Uuid::nil(), is_new: true, ..world.state() };
    world.tell(1, &new);
    let node = &world.nodes[&1];
    let dir = node.replicas.get("__consumer_offsets", 0).unwrap().view().log_dir;
    let mut effects = Vec::new();
    node.replicas.fail_dir(&dir, &mut Woken::default(), &mut effects);
    let resigned = |effect: &Effect| matches!(effect, Effect::Resigned { topic, partition: 0, leader_epoch: None } if &**topic == "__consumer_offsets");
    assert_eq!(effects.iter().filter(|effect| resigned(effect)).count(), 1, "{effects:?}");
}

/// `rm -rf` of a log directory, or of all that is in it, while the broker runs: what is open there can still be written.
#[test]
fn a_log_directory_that_is_removed_is_offline_and_the_others_serve() {
    for is_emptied in [false, true] {
        let mut world = World::new(&[1], 1);
        let elsewhere = NewState { partition: 1, is_new: true, ..world.state() };
        world.tell(1, &elsewhere);
        let node = &world.nodes[&1];
        node.replicas.claim("cluster").unwrap();
        let dir_of = |partition| node.replicas.get(TOPIC, partition).unwrap().view().log_dir;
        let (removed, left) = (dir_of(0), dir_of(1));
        assert_ne!(removed, left);
        std::fs::remove_dir_all(&removed).unwrap();
        if is_emptied {
            std::fs::create_dir(&removed).unwrap();
        }
        let mut effects = Vec::new();
        node.replicas.do_chore(Chore::HighWatermarks, world.now, &mut effects, &|_| {});
        let failed = |effect: &Effect| matches!(effect, Effect::LogDirFailed(dir) if *dir == removed);
        assert_eq!(effects.iter().filter(|effect| failed(effect)).count(), 1, "{effects:?}");
        let view = |partition| node.replicas.get(TOPIC, partition).unwrap().view();
        assert!(view(0).is_offline && !view(1).is_offline);
        // The controller moves the lead when it hears that this broker cannot take it.
        let again = [0, 1].map(|partition| NewState { partition, leader_epoch: 9, ..elsewhere.clone() });
        let outcome = node.replicas.become_leader_or_follower(1, &again, world.now, &mut effects);
        assert_eq!(outcome, Ok(vec![Err(StateError::Storage), Ok(())]));
        assert_eq!(
            node.replicas.log_dirs().into_iter().find(|(dir, _)| *dir == removed),
            Some((removed.clone(), true))
        );
        assert!(node.replicas.get(TOPIC, 1).unwrap().leader_epoch_if_leader().is_some());
    }
}

/// Has broker `id` move its replica to its other log directory.
fn move_away(world: &mut World, id: i32) -> PathBuf {
    let from = world.view(id).log_dir;
    let node = world.nodes.get_mut(&id).unwrap();
    let (to, _) = node.replicas.log_dirs().into_iter().find(|(dir, _)| *dir != from).unwrap();
    let begun = node.replicas.move_to_dir((TOPIC, 0), &to, world.now, &mut node.effects);
    assert_eq!(begun, Ok(()));
    to
}

#[test]
fn a_replica_moves_to_another_log_directory_while_it_serves() {
    for (leader, mover) in [(1, 1), (1, 2)] {
        let mut world = World::new(&[1, 2], 2);
        assert_eq!(world.leader, leader);
        let before: Vec<String> = (0..50).map(|number| format!("value {number}")).collect();
        for value in &before {
            world.ack(1, &[value]);
        }
        world.nodes.get_mut(&mover).unwrap().replicas.set_move_rate(Some(1000));
        let to = move_away(&mut world, mover);
        world.pass(150);
        let future = world.partition(mover).future_view().expect("a slow move takes its time");
        assert!(future.log_dir == to && future.offset_lag > 0, "{future:?}");
        world.ack(1, &["during"]);
        world.nodes.get_mut(&mover).unwrap().replicas.set_move_rate(None);
        world.pass(2_000);
        assert_eq!(world.partition(mover).future_view(), None);
        assert_eq!(world.view(mover).log_dir, to);
        world.ack(1, &["after"]);
        let mut expected: Vec<&str> = before.iter().map(String::as_str).collect();
        expected.extend(["during", "after"]);
        assert_eq!(values(&world.content(mover)), expected);
        for clean in [true, false] {
            world.restart(mover, clean);
            world.pass(1_000);
            assert_eq!(values(&world.content(mover)), expected, "after a restart, clean: {clean}");
            assert_eq!(world.view(mover).log_dir, to);
        }
        let mut dirs = vec![to.parent().unwrap().join("a"), to.parent().unwrap().join("b")];
        dirs.retain(|dir| *dir != to);
        world.pass(100_000);
        let names = StdDisk.read_dir(&dirs[0]).unwrap().into_iter().filter(|entry| entry.is_dir);
        assert_eq!(names.map(|entry| entry.name).collect::<Vec<_>>(), [""; 0]);
    }
}

#[test]
fn a_move_goes_on_after_a_restart() {
    for clean in [true, false] {
        let mut world = World::new(&[1], 1);
        for number in 0..50 {
            world.ack(1, &[&format!("value {number}")]);
        }
        let content = world.content(1);
        world.nodes[&1].replicas.set_move_rate(Some(1000));
        let to = move_away(&mut world, 1);
        world.pass(150);
        let lag = world.partition(1).future_view().unwrap().offset_lag;
        assert!(lag > 0 && lag < 50, "{lag}");
        world.restart(1, clean);
        assert!(world.view(1).log_dir != to);
        world.pass(1_000);
        assert_eq!((world.view(1).log_dir, world.content(1)), (to, content), "clean: {clean}");
    }
}

/// The broker ends after the old log went and before the new one has its name.
#[test]
fn a_move_that_was_complete_is_completed_at_the_start() {
    let mut world = World::new(&[1], 1);
    world.ack(1, &["one", "two"]);
    let content = world.content(1);
    let to = move_away(&mut world, 1);
    world.pass(1_000);
    assert_eq!(world.view(1).log_dir, to);
    let id = "0123456789abcdef0123456789abcdef";
    let (dir, future) = (to.join(format!("{TOPIC}-0")), to.join(format!("{TOPIC}-0.{id}-future")));
    let node = world.nodes.remove(&1).unwrap();
    drop(node.replicas);
    std::fs::rename(&dir, &future).unwrap();
    std::fs::write(future.join(".complete"), b"").unwrap();
    let replicas = world.open(1, &node.dir);
    world.nodes.insert(1, Node { replicas, ..node });
    world.leader_epoch += 1;
    world.announce();
    assert_eq!((world.view(1).log_dir, world.content(1)), (to, content));
    assert!(dir.is_dir() && !dir.join(".complete").exists());
}

#[test]
fn moves_that_cannot_be_are_refused() {
    let mut world = World::new(&[1], 1);
    let node = world.nodes.get_mut(&1).unwrap();
    let dirs: Vec<PathBuf> = node.replicas.log_dirs().into_iter().map(|(dir, _)| dir).collect();
    let mut ask = |topic: &str, dir: &Path| node.replicas.move_to_dir((topic, 0), dir, world.now, &mut node.effects);
    assert_eq!(ask(TOPIC, Path::new("/nowhere")), Err(moving::MoveError::UnknownDir));
    // One that is not here will be made there.
    let other = dirs.iter().max().unwrap();
    for (topic, dir) in [("new", other), ("newer", other), ("newest", other)] {
        assert_eq!(ask(topic, dir), Err(moving::MoveError::NotHeld));
    }
    for topic in ["new", "newer", "newest"] {
        let new = NewState { topic: topic.into(), topic_id: Uuid::nil(), is_new: true, ..world.state() };
        world.tell(1, &new);
        assert_eq!(world.nodes[&1].replicas.get(topic, 0).unwrap().view().log_dir, *other);
    }
    // To where it is, or back before it is there: nothing is left of it.
    let at = world.view(1).log_dir;
    world.nodes[&1].replicas.set_move_rate(Some(1));
    world.ack(1, &["one"]);
    move_away(&mut world, 1);
    assert!(world.partition(1).future_view().is_some());
    let node = world.nodes.get_mut(&1).unwrap();
    assert_eq!(node.replicas.move_to_dir((TOPIC, 0), &at, world.now, &mut node.effects), Ok(()));
    assert_eq!((world.partition(1).future_view(), world.view(1).log_dir), (None, at));
}

/// After a loss of power the log can be shorter than its copy, and other records can follow.
#[test]
fn a_copy_that_has_more_than_the_log_is_cut_before_it_takes_its_place() {
    for refill in [0, 1, 60] {
        let mut world = World::new(&[1], 1);
        for number in 0..50 {
            world.ack(1, &[&format!("value {number}")]);
        }
        world.nodes[&1].replicas.set_move_rate(Some(1000));
        let to = move_away(&mut world, 1);
        while world.partition(1).future_view().unwrap().offset_lag > 30 {
            world.pass(100);
        }
        let from = world.view(1).log_dir.join(format!("{TOPIC}-0"));
        let Node { replicas, dir, .. } = world.nodes.remove(&1).unwrap();
        drop(replicas);
        let is_future = |entry: &DirEntry| entry.name.ends_with("-future");
        let name = StdDisk.read_dir(&to).unwrap().into_iter().find(is_future).unwrap().name;
        std::fs::rename(to.join(&name), dir.path().join(&name)).unwrap();
        let start = OpenState { clean_shutdown: false, recovery_point: 0, log_start_offset: 0, compacted_to: 0 };
        let mut log = Log::open(Arc::new(Unsynced), from, LogConfig::default(), start, world.now).unwrap();
        log.truncate_to(3).unwrap();
        drop(log);
        let replicas = world.open(1, &dir);
        world.nodes.insert(1, Node { replicas, dir, effects: vec![], others: vec![] });
        world.leader_epoch += 1;
        world.announce();
        for number in 0..refill {
            world.ack(1, &[&format!("other {number}")]);
        }
        let content = world.content(1);
        let Node { replicas, dir, .. } = world.nodes.remove(&1).unwrap();
        drop(replicas);
        std::fs::rename(dir.path().join(&name), to.join(&name)).unwrap();
        let replicas = world.open(1, &dir);
        world.nodes.insert(1, Node { replicas, dir, effects: vec![], others: vec![] });
        world.leader_epoch += 1;
        world.announce();
        world.pass(2_000);
        assert_eq!((world.view(1).log_dir, world.content(1)), (to, content), "refilled with {refill}");
    }
}

#[test]
fn a_move_whose_target_fails_leaves_the_source_alone() {
    let is_mark: fn(&str, &Path) -> bool = |op, path| op == "open" && path.to_string_lossy().contains(".complete");
    let is_name: fn(&str, &Path) -> bool = |op, path| op == "rename" && path.to_string_lossy().ends_with("-future");
    for (name, broken, is_late) in [("before the old log goes", is_mark, false), ("after it went", is_name, true)] {
        let mut world = World::new(&[1], 1);
        world.ack(1, &["one", "two"]);
        let from = world.view(1).log_dir;
        let to = move_away(&mut world, 1);
        BROKEN.set(broken);
        world.pass(1_000);
        BROKEN.set(|_, _| false);
        let failed = world.nodes[&1].replicas.log_dirs().into_iter().filter(|(_, is_failed)| *is_failed);
        assert_eq!(failed.map(|(dir, _)| dir).collect::<Vec<_>>(), std::slice::from_ref(&to), "{name}");
        assert_eq!((world.view(1).is_offline, world.partition(1).future_view()), (is_late, None), "{name}");
        let mut expected = vec!["one", "two"];
        if !is_late {
            world.ack(1, &["three"]);
            expected.push("three");
            assert_eq!(world.view(1).log_dir, from);
        }
        world.restart(1, false);
        world.pass(1_000);
        assert_eq!((world.view(1).log_dir, values(&world.content(1))), (to, expected), "{name}");
    }
}

#[test]
fn a_log_whose_records_are_all_deleted_moves() {
    let mut world = World::new(&[1], 1);
    world.ack(1, &["one", "two"]);
    let node = world.nodes.get_mut(&1).unwrap();
    let parts = [(TOPIC.into(), 0, -1)];
    node.replicas.delete_records(&parts, 5000, || Box::new(drop), (world.now, &mut node.effects)).unwrap();
    let to = move_away(&mut world, 1);
    world.pass(1_000);
    let view = world.view(1);
    assert_eq!((view.log_dir, view.start_offset, view.end_offset), (to.clone(), 2, 2));
    world.ack(1, &["three"]);
    world.restart(1, false);
    world.pass(1_000);
    assert_eq!((world.view(1).log_dir, world.content(1)), (to, vec![(2, "three".to_owned())]));
}

/// The directories that new partitions are given, one after the other.
fn places(world: &mut World, count: usize) -> Vec<PathBuf> {
    let topics = (0..count).map(|number| format!("new-{number}"));
    let mut given = Vec::new();
    for topic in topics {
        let new = NewState { topic: (*topic).into(), topic_id: Uuid::nil(), is_new: true, ..world.state() };
        world.tell(1, &new);
        given.push(world.nodes[&1].replicas.get(&topic, 0).unwrap().view().log_dir);
    }
    given
}

#[test]
fn a_move_that_is_asked_for_again_takes_one_place() {
    let mut world = World::new(&[1], 1);
    world.ack(1, &["one"]);
    let from = world.view(1).log_dir;
    let to = [0; 3].map(|_| move_away(&mut world, 1))[0].clone();
    world.pass(1_000);
    assert_eq!(world.view(1).log_dir, to);
    let given = places(&mut world, 3);
    assert_eq!(given.iter().filter(|dir| **dir == from).count(), 2, "{given:?}");
}

#[test]
fn nothing_is_left_of_a_move_that_is_given_up() {
    let mut world = World::new(&[1], 1);
    world.ack(1, &["one"]);
    let from = world.view(1).log_dir;
    let to = move_away(&mut world, 1);
    // What cannot be read cannot be copied.
    let file = from.join(format!("{TOPIC}-0/00000000000000000000.log"));
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    world.pass(1_000);
    assert_eq!((world.partition(1).future_view(), world.view(1).log_dir), (None, from));
    world.pass(100_000);
    let names = StdDisk.read_dir(&to).unwrap().into_iter().filter(|entry| entry.is_dir);
    assert_eq!(names.map(|entry| entry.name).collect::<Vec<_>>(), [""; 0]);
    let given = places(&mut world, 3);
    assert_eq!(given.iter().filter(|dir| **dir == to).count(), 2, "{given:?}");
}

#[test]
fn a_copy_is_made_durable_while_the_partition_serves() {
    let mut world = World::new(&[1], 1);
    let big = "x".repeat(300_000);
    for _ in 0..10 {
        world.ack(1, &[&big]);
    }
    SYNCED.set(Some((world.partition(1), [0, 0])));
    let to = move_away(&mut world, 1);
    world.pass(1_000);
    let (_, [held, free]) = SYNCED.take().unwrap();
    assert!(held == 0 && free > 0, "{held} {free}");
    assert_eq!((world.view(1).log_dir, world.view(1).end_offset), (to, 10));
}
