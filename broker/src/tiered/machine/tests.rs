//! The machine alone: what it wants, and what it makes of what comes of that.

use super::*;
use crate::log::remote::SegmentHandles;
use crate::server::disk::StdDisk;
use common::disk::Disk;
use common::kafka::batch::{BatchSpec, Record};
use common::time::WallMillis;
use std::cell::RefCell;

const SETTINGS: Settings = Settings { broker: 1, interval_ms: 1000, patience_ms: 12_000 };

/// A log of which segments of ten offsets are to be copied, one behind the other.
struct OneLog {
    copies: RefCell<VecDeque<SegmentCopy>>,
    facts: LogFacts,
    /// It refuses to begin later.
    is_stubborn: bool,
    said: RefCell<Vec<String>>,
}

impl Logs for OneLog {
    fn facts(&self, _: &Place) -> Option<LogFacts> {
        Some(self.facts.clone())
    }
    fn next_copy(&self, _: &Place, _: i32) -> Result<Option<SegmentCopy>, LogError> {
        Ok(self.copies.borrow_mut().pop_front())
    }
    fn note_copied(&self, _: &Place, _: Role, index: &Index) {
        let highest = lineage::highest_copied(index, &self.facts.epochs, self.facts.log_end_offset);
        self.said.borrow_mut().push(format!("copied to {highest}"));
    }
    fn set_log_start(&self, _: &Place, _: i32, offset: i64) -> bool {
        self.said.borrow_mut().push(format!("starts at {offset}"));
        !self.is_stubborn
    }
}

const STORE: Uuid = Uuid::from_u128(99);

struct World {
    machine: Machine,
    log: OneLog,
    rng: Rng,
    now: Now,
    told: Vec<Bytes>,
    _dir: tempfile::TempDir,
}

fn place() -> Place {
    Place { topic: "t".into(), topic_id: Uuid::from_u128(5), partition: 0 }
}

impl World {
    fn new(role: Role, copies: i64) -> World {
        let dir = tempfile::tempdir().unwrap();
        let file = StdDisk.open(&dir.path().join("f"), true).unwrap();
        let copy = |number: i64| SegmentCopy {
            start_offset: number * 10,
            end_offset: number * 10 + 9,
            max_timestamp_ms: 1,
            size_bytes: 0,
            epochs: vec![EpochEntry { epoch: 0, start_offset: number * 10 }],
            epochs_text: String::new(),
            producers: vec![],
            files: SegmentHandles { log: file.clone(), index: file.clone(), time_index: file.clone(), txn_index: None },
        };
        let log = OneLog {
            copies: RefCell::new((0..copies).map(copy).collect()),
            facts: LogFacts {
                retention_ms: -1,
                retention_bytes: -1,
                only_local_bytes: 0,
                log_start_offset: 0,
                local_start_offset: 0,
                log_end_offset: 100,
                epochs: vec![EpochEntry { epoch: 0, start_offset: 0 }],
            },
            is_stubborn: false,
            said: RefCell::default(),
        };
        let now = Now { mono: Millis(1000), wall: WallMillis(1_000_000) };
        let mut machine = Machine::new(SETTINGS);
        machine.assign(&BTreeMap::from([(place(), role)]), 1, now);
        World { machine, log, rng: Rng::with_seed(1), now, told: vec![], _dir: dir }
    }

    /// The metadata topic is read to its end.
    fn read(&mut self) {
        self.machine.on_end(0, i64::try_from(self.told.len()).unwrap());
        for (number, position) in self.machine.wanted() {
            let new = self.told[usize::try_from(position).unwrap()..].concat();
            self.machine.on_read(number, position, Bytes::from(new));
        }
    }

    fn write(&mut self, record: &MetadataRecord) {
        let base_offset = i64::try_from(self.told.len()).unwrap();
        let record = Record { offset: base_offset, value: Some(record.encode().unwrap()), ..Record::default() };
        self.told.push(batch::build(&BatchSpec { base_offset, ..BatchSpec::default() }, &[record]).unwrap());
    }

    /// What is wanted after so much time; nothing is lost or late that is not said to be.
    fn tick(&mut self, ms: u64) -> Vec<Work> {
        self.now = Now { mono: self.now.mono + ms, ..self.now };
        let mut work = Vec::new();
        self.machine.tick(&self.log, &mut self.rng, self.now, &mut work);
        work
    }

    fn one(&mut self, ms: u64) -> Work {
        let mut work = self.tick(ms);
        assert_eq!(work.len(), 1, "{work:?}");
        work.remove(0)
    }

    /// Writes what is to be told and reads it back; which state it tells of.
    fn tell(&mut self, work: Work) -> (Uuid, SegmentState) {
        let Work::Tell(record) = work else { panic!("{work:?}") };
        self.write(&record);
        self.read();
        match record {
            MetadataRecord::Segment(_, segment) => (segment.id, segment.state),
            MetadataRecord::Update(_, update) => (update.id, update.state),
            MetadataRecord::PartitionDelete { .. } => panic!("nobody tells it"),
        }
    }
}

#[test]
fn a_segment_is_told_copied_and_told() {
    let mut world = World::new(Role::Leader(0), 2);
    assert!(world.tick(0).is_empty(), "nothing is known before the metadata topic was read");
    world.read();
    for number in 0..2 {
        let begun = world.one(if number == 0 { 0 } else { 1 });
        let (id, state) = world.tell(begun);
        assert_eq!(state, SegmentState::CopyStarted);
        let Work::Copy { id: copied, .. } = world.one(1) else { panic!("no copy") };
        assert_eq!(copied, id);
        assert!(world.tick(5000).is_empty(), "the store may take its time");
        let mut work = Vec::new();
        world.machine.on_copied(&place(), (id, number * 10), Some(STORE), (world.now, &mut work));
        assert_eq!(world.tell(work.remove(0)), (id, SegmentState::CopyFinished));
    }
    assert!(world.tick(1).is_empty());
    assert_eq!(
        world.log.said.borrow().join(", "),
        "copied to -1, starts at 0, copied to 9, copied to 9, copied to 19, copied to 19"
    );
    let index = world.machine.index(&place()).unwrap();
    assert_eq!(index.find(0, 15).map(|segment| segment.start_offset), Some(10));
}

#[test]
fn what_is_not_read_back_is_told_again_and_given_up() {
    let mut world = World::new(Role::Leader(0), 1);
    world.read();
    let Work::Tell(first) = world.one(0) else { panic!("nothing told") };
    assert!(world.tick(4999).is_empty());
    let Work::Tell(again) = world.one(1) else { panic!("not told again") };
    assert_eq!(first, again);
    assert_eq!(world.tick(5000).len(), 1);
    assert!(world.tick(2000).is_empty(), "given up");
    // What comes late does no harm, and goes when retention says so.
    world.tell(Work::Tell(again));
    assert!(world.tick(1000).is_empty());
    assert!(world.machine.index(&place()).unwrap().find(0, 5).is_none());
}

#[test]
fn a_copy_that_failed_is_cleared_away() {
    let mut world = World::new(Role::Leader(0), 1);
    world.read();
    let begun = world.one(0);
    let (id, _) = world.tell(begun);
    let Work::Copy { .. } = world.one(1) else { panic!("no copy") };
    let mut work = Vec::new();
    world.machine.on_copied(&place(), (id, 0), None, (world.now, &mut work));
    assert_eq!(world.tell(work.remove(0)), (id, SegmentState::DeleteStarted));
    let Work::Remove { start_offset: 0, .. } = world.one(1) else { panic!("not removed") };
    world.machine.on_removed(&place(), id, true, (world.now, &mut work));
    assert_eq!(world.tell(work.remove(0)), (id, SegmentState::DeleteFinished));
    world.tick(1);
    assert_eq!(world.machine.index(&place()).unwrap().all().count(), 0);
}

#[test]
fn a_follower_only_listens_and_a_partition_that_comes_hears_all() {
    let mut world = World::new(Role::Leader(0), 1);
    world.read();
    let begun = world.one(0);
    let (id, _) = world.tell(begun);
    let mut other = World::new(Role::Follower, 1);
    other.told.clone_from(&world.told);
    other.machine.on_end(0, 1);
    assert!(other.tick(0).is_empty(), "not read yet");
    other.read();
    assert!(other.tick(0).is_empty());
    assert_eq!(other.log.said.borrow().join(", "), "copied to -1");
    assert!(other.machine.index(&place()).unwrap().get(&id).is_some());
    // Another partition comes: the topic is read again from its start, and nothing is applied twice.
    let second = Place { partition: 1, ..place() };
    let roles = BTreeMap::from([(place(), Role::Follower), (second.clone(), Role::Follower)]);
    other.machine.assign(&roles, 1, other.now);
    assert_eq!(other.machine.wanted(), [(0, 0)]);
    assert!(other.machine.index(&place()).is_ok() && other.machine.index(&second).is_err());
    other.read();
    assert!(other.machine.index(&second).is_ok());
    assert_eq!(other.machine.index(&place()).unwrap().all().count(), 1);
}

#[test]
fn what_a_deleted_topic_has_goes_as_soon_as_it_is_known() {
    let mut world = World::new(Role::Leader(0), 1);
    world.read();
    let begun = world.one(0);
    let (id, _) = world.tell(begun);
    let mut other = World::new(Role::Leader(1), 0);
    other.told.clone_from(&world.told);
    other.machine.doom(&place());
    other.machine.assign(&BTreeMap::new(), 1, other.now);
    assert!(other.tick(0).is_empty(), "not known yet");
    other.read();
    let Work::RemoveAll { segments, .. } = other.one(0) else { panic!("not removed") };
    assert_eq!(segments, [(id, 0)]);
    assert!(other.tick(0).is_empty());
    // A copy that ends now is nobody's.
    let mut work = Vec::new();
    other.machine.on_copied(&place(), (id, 0), Some(STORE), (other.now, &mut work));
    assert!(matches!(&work[..], [Work::Remove { start_offset: 0, .. }]), "{work:?}");
}

impl World {
    /// Copies of the log's next segments are told, made and told.
    fn copy(&mut self, count: i64) {
        for number in 0..count {
            let begun = self.one(1);
            let (id, _) = self.tell(begun);
            assert!(matches!(self.one(1), Work::Copy { .. }));
            let mut work = Vec::new();
            self.machine.on_copied(&place(), (id, number * 10), Some(STORE), (self.now, &mut work));
            self.tell(work.remove(0));
        }
    }

    /// What is removed from now on, and when nothing more is.
    fn removed(&mut self) -> Vec<i64> {
        let mut removed = Vec::new();
        for _ in 0..100 {
            for work in self.tick(100) {
                match work {
                    Work::Remove { id, start_offset, .. } => {
                        removed.push(start_offset);
                        let mut more = Vec::new();
                        self.machine.on_removed(&place(), id, true, (self.now, &mut more));
                        for work in more {
                            self.tell(work);
                        }
                    }
                    told => {
                        self.tell(told);
                    }
                }
            }
        }
        removed
    }

    fn assign(&mut self, role: Role) {
        self.machine.assign(&BTreeMap::from([(place(), role)]), 1, self.now);
    }
}

#[test]
fn what_the_log_or_the_metadata_topic_has_forgotten_is_not_removed() {
    for (name, epoch_at, log_start, is_cut, removed, start) in [
        ("all is known", 0, 0, false, &[0, 10, 20][..], "starts at 30"),
        ("the epochs of what is not here are lost", 30, 0, false, &[], ""),
        ("the log start is of an older checkpoint", 5, 0, false, &[0, 10, 20], "starts at 30"),
        ("all epochs are lost", -1, 0, false, &[], ""),
        ("lost, and some of it is before the log's start", 30, 15, false, &[0], ""),
        ("the metadata topic does not begin at its start", 0, 0, true, &[], ""),
    ] {
        let mut world = World::new(Role::Leader(0), 3);
        world.read();
        world.copy(3);
        world.log.facts = LogFacts {
            retention_ms: 0,
            log_start_offset: log_start,
            local_start_offset: 30,
            epochs: [epoch_at]
                .into_iter()
                .filter(|at| *at >= 0)
                .map(|at| EpochEntry { epoch: 0, start_offset: at })
                .collect(),
            ..world.log.facts.clone()
        };
        // Another broker leads from here on.
        world.machine = Machine::new(SETTINGS);
        world.assign(Role::Leader(1));
        if is_cut {
            world.machine.on_start(0, 2);
        }
        world.read();
        world.log.said.borrow_mut().clear();
        assert_eq!(world.removed(), removed, "{name}");
        let said = world.log.said.borrow().iter().rfind(|said| said.starts_with("starts")).cloned();
        assert_eq!(said.unwrap_or_default(), start, "{name}");
    }
}

#[test]
fn nothing_is_removed_before_the_log_begins_behind_it() {
    let mut world = World::new(Role::Leader(0), 2);
    world.read();
    world.copy(2);
    world.log.facts.retention_ms = 0;
    world.log.is_stubborn = true;
    assert_eq!(world.removed(), [] as [i64; 0]);
    world.log.is_stubborn = false;
    assert_eq!(world.removed(), [0, 10]);
}

#[test]
fn a_copy_of_a_former_leader_is_taken_back() {
    for role in [Role::Follower, Role::Leader(1)] {
        let mut world = World::new(Role::Leader(0), 1);
        world.read();
        let begun = world.one(0);
        let (id, _) = world.tell(begun);
        assert!(matches!(world.one(1), Work::Copy { .. }));
        world.assign(role);
        let mut work = Vec::new();
        world.machine.on_copied(&place(), (id, 0), Some(STORE), (world.now, &mut work));
        assert_eq!(world.tell(work.remove(0)), (id, SegmentState::DeleteStarted), "{role:?}");
        assert!(matches!(world.one(1), Work::Remove { start_offset: 0, .. }), "{role:?}");
    }
    // What was told already is not told again.
    let mut world = World::new(Role::Leader(0), 1);
    world.read();
    let begun = world.one(0);
    let (id, _) = world.tell(begun);
    world.tick(1);
    let mut work = Vec::new();
    world.machine.on_copied(&place(), (id, 0), Some(STORE), (world.now, &mut work));
    world.assign(Role::Follower);
    assert!(world.tick(5000).is_empty());
}

#[test]
fn a_full_store_recovers_and_is_not_pressed() {
    let mut world = World::new(Role::Leader(0), 20);
    world.read();
    world.copy(1);
    let mut copies_at = Vec::new();
    let begin = world.now.mono;
    let mut removed = Vec::new();
    while world.now.mono < begin + 40_000 {
        for work in world.tick(100) {
            let mut more = Vec::new();
            match work {
                Work::Copy { id, copy, .. } => {
                    copies_at.push((world.now.mono - begin) / 1000);
                    // What is there is old from here on.
                    world.log.facts.retention_ms = 0;
                    world.machine.on_copied(&place(), (id, copy.start_offset), None, (world.now, &mut more));
                }
                Work::Remove { id, start_offset, .. } => {
                    removed.push(start_offset);
                    world.machine.on_removed(&place(), id, true, (world.now, &mut more));
                }
                told => {
                    world.tell(told);
                }
            }
            for work in more {
                world.tell(work);
            }
        }
    }
    assert!(removed.contains(&0), "{removed:?}");
    let pauses: Vec<u64> = copies_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.len() >= 4 && pauses.windows(2).all(|pair| pair[1] >= pair[0] + pair[0] / 2), "{pauses:?}");
}

#[test]
fn damage_in_the_metadata_topic_is_no_news() {
    let mut world = World::new(Role::Follower, 0);
    let mut other = World::new(Role::Leader(0), 1);
    other.read();
    let begun = other.one(0);
    other.tell(begun);
    let mut damaged = other.told[0].to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    for _ in 0..2 {
        assert!(!world.machine.on_read(0, 0, Bytes::from(damaged.clone())));
        assert_eq!(world.machine.wanted(), [(0, 0)]);
    }
    assert!(world.machine.on_read(0, 0, other.told[0].clone()));
}

#[test]
fn what_began_to_go_is_tried_again_and_not_told_again() {
    let mut world = World::new(Role::Leader(0), 1);
    world.read();
    let begun = world.one(0);
    let (id, _) = world.tell(begun);
    assert!(matches!(world.one(1), Work::Copy { .. }));
    let mut work = Vec::new();
    world.machine.on_copied(&place(), (id, 0), None, (world.now, &mut work));
    assert_eq!(world.tell(work.remove(0)), (id, SegmentState::DeleteStarted));
    for _ in 0..3 {
        let mut wanted = Vec::new();
        while wanted.is_empty() {
            wanted = world.tick(100);
        }
        assert!(matches!(wanted[..], [Work::Remove { start_offset: 0, .. }]), "{wanted:?}");
        world.machine.on_removed(&place(), id, false, (world.now, &mut work));
        assert!(world.tick(500).is_empty(), "it is not pressed");
    }
    assert_eq!(world.removed(), [0]);
    assert_eq!(world.machine.index(&place()).unwrap().all().count(), 0);
    assert!(!world.log.said.borrow().iter().any(|said| said == "starts at 10"), "nothing of it was in the store");
}

#[test]
fn a_copy_that_another_leader_removed_meanwhile_is_removed_when_it_ends() {
    for (role, is_told_before) in [(Role::Follower, true), (Role::Follower, false), (Role::Leader(0), true)] {
        let mut world = World::new(Role::Leader(0), 1);
        world.read();
        let begun = world.one(0);
        let (id, _) = world.tell(begun);
        assert!(matches!(world.one(1), Work::Copy { .. }));
        world.assign(role);
        let gone = [SegmentState::DeleteStarted, SegmentState::DeleteFinished];
        let records = gone.map(|state| update(&place(), (id, state, None), &SETTINGS, world.now));
        if is_told_before {
            for record in &records {
                world.tell(Work::Tell(record.clone()));
            }
        } else {
            records.iter().for_each(|record| world.write(record));
        }
        let mut work = Vec::new();
        world.machine.on_copied(&place(), (id, 0), Some(STORE), (world.now, &mut work));
        assert_eq!(world.tell(work.remove(0)), (id, SegmentState::DeleteStarted), "{role:?} {is_told_before}");
        let removal = world.one(1);
        assert!(matches!(removal, Work::Remove { start_offset: 0, .. }), "{role:?} {is_told_before}: {removal:?}");
        world.machine.on_removed(&place(), id, true, (world.now, &mut work));
        assert_eq!(world.tell(work.remove(0)), (id, SegmentState::DeleteFinished), "{role:?} {is_told_before}");
        assert!(world.tick(1).is_empty(), "{role:?} {is_told_before}");
    }
}

#[test]
fn the_first_copy_waits_until_all_is_known_of_the_store() {
    let mut world = World::new(Role::Leader(0), 1);
    let second = Place { partition: 1, ..place() };
    let number = metadata_partition(&second, 50);
    let first = metadata_partition(&place(), 50);
    assert_ne!(first, number);
    world.machine = Machine::new(SETTINGS);
    let roles = BTreeMap::from([(place(), Role::Leader(0)), (second.clone(), Role::Follower)]);
    world.machine.assign(&roles, 50, world.now);
    world.machine.on_end(first, 0);
    for _ in 0..50 {
        assert!(world.tick(100).is_empty(), "of the other partition there may be copies");
    }
    world.machine.on_end(number, 0);
    let mut begun = world.tick(100);
    begun.extend(world.tick(100));
    assert!(matches!(begun[..], [Work::Tell(_)]), "{begun:?}");
    // A partition comes in between: the folder is asked for, and not made.
    let third = Place { partition: 2, ..place() };
    let roles = roles.into_iter().chain([(third, Role::Follower)]).collect();
    let mut partial = KnownStore::default();
    partial.note_partial();
    assert_eq!(world.machine.store(&place()), KnownStore::default());
    world.machine.assign(&roles, 50, world.now);
    assert_eq!(world.machine.store(&place()), partial);
}
