//! A partition with a remote store: copied, deleted here, followed and led by whoever has it only there. The metadata topic
//! is a list that everybody reads.

use super::*;
use crate::log::LocalRetention;
use crate::tiered::{LogFacts, Logs, Machine, MetadataRecord, Place, Role, Store, Work, lineage};
use crate::{log, tiered};

/// What the brokers share, and what each knows of it.
pub(super) struct Remote {
    store: Store,
    /// One batch a record.
    told: Vec<Bytes>,
    machines: BTreeMap<i32, Machine>,
    rng: Rng,
    _dir: tempfile::TempDir,
}

impl Default for Remote {
    fn default() -> Remote {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(Arc::new(Unsynced), dir.path());
        Remote { store, told: vec![], machines: BTreeMap::new(), rng: Rng::with_seed(7), _dir: dir }
    }
}

fn place() -> Place {
    Place { topic: TOPIC.into(), topic_id: ID, partition: 0 }
}

struct OfBroker<'a>(&'a Replicas, Now, RefCell<&'a mut Vec<Effect>>);

impl OfBroker<'_> {
    fn partition(&self) -> Arc<Partition> {
        self.0.get(TOPIC, 0).unwrap()
    }
}

impl Logs for OfBroker<'_> {
    fn facts(&self, _: &Place) -> Option<LogFacts> {
        Some(self.partition().remote_view()?.facts)
    }
    fn next_copy(&self, _: &Place, epoch: i32) -> Result<Option<log::remote::SegmentCopy>, LogError> {
        self.partition().next_copy(epoch)
    }
    fn note_copied(&self, _: &Place, role: Role, index: &tiered::Index) {
        self.partition().note_copied(role, |epochs, end| lineage::highest_copied(index, epochs, end));
    }
    fn set_log_start(&self, place: &Place, epoch: i32, offset: i64) -> bool {
        self.0.start_at(place, (epoch, offset), self.1, &mut self.2.borrow_mut())
    }
}

impl World {
    fn remote(brokers: &[i32]) -> World {
        let mut world = World::new(brokers, 1);
        world.settings.log.segment_bytes = 250;
        world.settings.log.remote = Some(LocalRetention { ms: -1, bytes: 1 });
        world.settings.retention_check_ms = 1000;
        world.settings.initial_delay_ms = 1000;
        for id in brokers {
            world.restart(*id, true);
        }
        world
    }

    fn facts(&self, id: i32) -> LogFacts {
        self.partition(id).remote_view().unwrap().facts
    }

    /// Lets everybody read what was told, and do what is due, until nothing is left to do.
    fn tier(&mut self) {
        for _ in 0..1000 {
            let mut is_quiet = true;
            for id in self.brokers().into_iter().filter(|id| !self.cut.contains(id)).collect::<Vec<_>>() {
                is_quiet &= !self.tier_one(id);
            }
            self.pump();
            if is_quiet {
                return;
            }
        }
        panic!("tiering never comes to rest");
    }

    fn tier_one(&mut self, id: i32) -> bool {
        let settings = tiered::Settings { broker: id, interval_ms: 1000, patience_ms: 10_000 };
        let node = self.nodes.get_mut(&id).unwrap();
        let machine = self.remote.machines.entry(id).or_insert_with(|| Machine::new(settings));
        let roles: BTreeMap<Place, Role> = node.replicas.get(TOPIC, 0).unwrap().remote_role().into_iter().collect();
        machine.assign(&roles, 1, self.now);
        machine.on_end(0, i64::try_from(self.remote.told.len()).unwrap());
        for (_, position) in machine.wanted() {
            let new: Vec<Bytes> = self.remote.told[usize::try_from(position).unwrap()..].to_vec();
            machine.on_read(0, position, Bytes::from(new.concat()));
        }
        let mut work = Vec::new();
        let logs = OfBroker(&node.replicas, self.now, RefCell::new(&mut node.effects));
        machine.tick(&logs, &mut self.remote.rng, self.now, &mut work);
        let is_busy = !work.is_empty();
        while let Some(one) = work.pop() {
            match one {
                Work::Tell(record) => self.remote.told.push(batch_of(&record, self.remote.told.len())),
                Work::Copy { place, id, copy } => {
                    let store = self.remote.store.copy(&place, id, &copy, &machine.store(&place)).ok();
                    machine.on_copied(&place, (id, copy.start_offset), store, (self.now, &mut work));
                }
                Work::Remove { place, id, start_offset } => {
                    let known = machine.store(&place);
                    let is_done = self.remote.store.remove(&place, id, start_offset, &known).is_ok();
                    machine.on_removed(&place, id, is_done, (self.now, &mut work));
                }
                Work::RemoveAll { .. } => panic!("no topic is deleted here"),
            }
        }
        is_busy
    }

    pub(super) fn rebuild(&mut self, from: i32, leader: i32, ask: &follower::RebuildAsk) {
        let segment = self
            .remote
            .machines
            .get(&from)
            .and_then(|machine| machine.index(&place()).ok()?.find(ask.epoch, ask.offset).cloned());
        let behind =
            segment.map(|segment| self.remote.store.state_behind(&place(), &segment, ask.log_start_offset).unwrap());
        let node = self.nodes.get_mut(&from).unwrap();
        node.replicas.on_rebuilt(leader, (ask, behind.as_ref()), self.now, &mut node.effects);
    }

    pub(super) fn epoch_ends(&mut self, from: i32, (leader, fetcher): (i32, u32), ask: &follower::EpochsAsk) {
        let answer = self.are_connected(from, leader).then(|| {
            let asked = ask.partitions.iter();
            let end = |(topic, partition, current, epoch): &(Arc<str>, i32, i32, i32)| {
                let asker = Asker { current_leader_epoch: Some(*current), only_leader: true };
                let held = self.nodes[&leader].replicas.get(topic, *partition).unwrap();
                let end = held.epoch_end(asker, *epoch).map(|end| end.unwrap_or((-1, -1)));
                ((topic.clone(), *partition), end.map_err(|_| FetchFailure::Other(6)))
            };
            asked.map(end).collect()
        });
        let node = self.nodes.get_mut(&from).unwrap();
        node.replicas.on_epochs((leader, fetcher), answer, self.now, &mut node.effects);
    }

    /// All that a consumer of this broker finds from the log start on: there, then here.
    fn everything(&self, id: i32) -> Vec<String> {
        let facts = self.facts(id);
        let index = self.remote.machines[&id].index(&place()).unwrap();
        let mut found = Vec::new();
        let mut offset = facts.log_start_offset;
        while offset < facts.log_end_offset {
            let bytes = if offset < facts.local_start_offset {
                let found = lineage::find(index, &facts.epochs, facts.log_end_offset, offset);
                let (segment, end) = found.unwrap_or_else(|| panic!("{offset} is nowhere"));
                let files = self.remote.store.open(&place(), segment).unwrap();
                files.bytes(&files.read(offset, 1 << 20).unwrap().unwrap(), end).unwrap()
            } else {
                self.nodes[&id].replicas.read(TOPIC, 0, offset, 1 << 20).unwrap().to_bytes().unwrap()
            };
            for batch in batch::batches(bytes) {
                for record in batch.unwrap().records(1 << 20).unwrap() {
                    let record = record.unwrap();
                    if record.offset >= offset {
                        offset = record.offset + 1;
                        found.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
                    }
                }
            }
        }
        found
    }

    fn ack_many(&mut self, to: i32, numbers: std::ops::Range<i32>) {
        for number in numbers {
            self.ack(to, &[&format!("value-{number}")]);
        }
    }
}

fn batch_of(record: &MetadataRecord, offset: usize) -> Bytes {
    let offset = i64::try_from(offset).unwrap();
    let record = Record { offset, value: Some(record.encode().unwrap()), ..Record::default() };
    batch::build(&BatchSpec { base_offset: offset, ..BatchSpec::default() }, &[record]).unwrap()
}

fn numbered(numbers: std::ops::Range<i32>) -> Vec<String> {
    numbers.map(|number| format!("value-{number}")).collect()
}

#[test]
fn what_is_copied_goes_here_and_a_follower_without_it_goes_on_from_there() {
    let mut world = World::remote(&[1, 2, 3]);
    world.cut.insert(3);
    world.produce(1, &["value-0"], false);
    world.pass(60_000);
    world.ack_many(1, 1..30);
    world.tier();
    world.pass(5000);
    world.tier();
    world.pass(5000);
    for id in [1, 2] {
        let facts = world.facts(id);
        assert_eq!(facts.log_start_offset, 0, "broker {id}");
        assert!(facts.local_start_offset >= 26, "broker {id}: {facts:?}");
        assert_eq!(world.everything(id), numbered(0..30), "broker {id}");
    }
    // Broker 3 has nothing, and the leader has only the end.
    world.heal(3);
    world.tier();
    world.pass(5000);
    world.tier();
    assert_eq!(world.facts(3).epochs, world.facts(1).epochs);
    assert_eq!(world.facts(3).log_start_offset, 0);
    assert!(world.facts(3).local_start_offset > 0);
    assert_eq!(world.everything(3), numbered(0..30));
    assert_eq!(world.isr, [1, 2, 3]);
    // It leads, copies what comes, and nothing twice.
    world.elect(3);
    world.ack_many(3, 30..50);
    for _ in 0..3 {
        world.pass(5000);
        world.tier();
    }
    for id in [1, 2, 3] {
        assert_eq!(world.everything(id), numbered(0..50), "broker {id}");
        assert!(world.facts(id).local_start_offset >= 46, "broker {id}");
    }
    let index = world.remote.machines[&3].index(&place()).unwrap();
    let mut ends: Vec<(i64, i64)> = index.all().map(|segment| (segment.start_offset, segment.end_offset)).collect();
    ends.sort_unstable();
    assert!(ends.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{ends:?}");
}

#[test]
fn what_is_not_copied_stays() {
    let mut world = World::remote(&[1]);
    world.ack_many(1, 0..30);
    world.pass(20_000);
    assert_eq!(world.facts(1).local_start_offset, 0);
    world.tier();
    world.pass(5000);
    assert!(world.facts(1).local_start_offset > 20);
}

#[test]
fn the_remote_part_is_deleted_by_size_and_by_request() {
    let mut world = World::remote(&[1, 2]);
    world.ack_many(1, 0..30);
    world.tier();
    world.pass(5000);
    let start = |world: &World, id: i32| world.facts(id).log_start_offset;
    // What was deleted by request goes with the next run.
    let node = world.nodes.get_mut(&1).unwrap();
    node.replicas.delete_records(&[(TOPIC.into(), 0, 5)], 100, || Box::new(drop), (world.now, &mut node.effects));
    world.pass(5000);
    world.tier();
    world.pass(5000);
    assert_eq!((start(&world, 1), start(&world, 2)), (5, 5));
    let least = |world: &World| {
        let index = world.remote.machines[&1].index(&place()).unwrap();
        index.all().map(|segment| segment.start_offset).min()
    };
    assert!(least(&world).unwrap() <= 5 && least(&world).unwrap() > 0, "{:?}", least(&world));
    assert_eq!(world.everything(1), numbered(5..30));
    let mut config = world.settings.log.clone();
    config.retention_bytes = 600;
    for node in world.nodes.values() {
        node.replicas.set_topic_config(TOPIC, Some(config.clone()));
    }
    for _ in 0..3 {
        world.pass(5000);
        world.tier();
    }
    let from = start(&world, 1);
    assert!(from > 15, "{from}");
    assert_eq!(start(&world, 2), from);
    assert_eq!(least(&world), Some(from));
    assert_eq!(world.everything(2), numbered(i32::try_from(from).unwrap()..30));
}

#[test]
fn a_restart_forgets_nothing_of_what_is_there() {
    let mut world = World::remote(&[1, 2]);
    world.ack_many(1, 0..30);
    world.tier();
    world.pass(100_000);
    for is_clean in [true, false] {
        world.restart(2, is_clean);
        world.remote.machines.remove(&2);
        // A broker learns what its topics are set to after it has opened the logs.
        world.nodes[&2].replicas.set_topic_configs(BTreeMap::new());
        world.pass(5000);
        world.tier();
        assert_eq!(world.facts(2).log_start_offset, 0, "clean: {is_clean}");
        assert_eq!(world.everything(2), numbered(0..30), "clean: {is_clean}");
    }
}

#[test]
fn a_leader_that_knew_less_copies_on_from_its_own_history() {
    let mut world = World::remote(&[1, 2]);
    world.ack_many(1, 0..10);
    world.tier();
    // Broker 2 leads from here on; what it does not know of the store it learns before it copies.
    world.remote.machines.remove(&2);
    world.elect(2);
    world.ack_many(2, 10..30);
    world.tier();
    world.pass(5000);
    world.tier();
    for id in [1, 2] {
        assert_eq!(world.everything(id), numbered(0..30), "broker {id}");
    }
    let epochs: Vec<i32> = world.facts(2).epochs.iter().map(|entry| entry.epoch).collect();
    assert_eq!(epochs, [0, 1]);
}

#[test]
fn a_follower_that_must_give_up_more_than_it_has_here_keeps_what_is_in_the_store() {
    let mut world = World::remote(&[1, 2]);
    // Broker 2 has the beginning and no more; broker 1 copies all, and deletes it here.
    world.ack_many(1, 0..10);
    world.cut.insert(2);
    world.produce(1, &["lost-0"], false);
    world.pass(60_000);
    assert_eq!(world.isr, [1]);
    for number in 1..20 {
        world.ack(1, &[&format!("lost-{number}")]);
    }
    for _ in 0..3 {
        world.tier();
        world.pass(5000);
    }
    assert!(world.facts(1).local_start_offset > 10, "{:?}", world.facts(1));
    // An unclean election.
    world.cut = BTreeSet::from([1]);
    world.isr = vec![2];
    world.elect(2);
    world.cut.clear();
    world.heal(1);
    world.pass(5000);
    let facts = world.facts(1);
    assert_eq!((facts.log_start_offset, facts.log_end_offset), (0, 10));
    assert_eq!(facts.epochs[0], log::epochs::EpochEntry { epoch: 0, start_offset: 0 });
    world.ack_many(2, 10..30);
    for _ in 0..3 {
        world.tier();
        world.pass(5000);
    }
    for id in [1, 2] {
        assert_eq!(world.everything(id), numbered(0..30), "broker {id}");
    }
    // It leads, and nothing of the store goes.
    world.elect(1);
    world.ack_many(1, 30..35);
    world.tier();
    assert_eq!(world.facts(1).log_start_offset, 0);
    assert_eq!(world.everything(1), numbered(0..35));
}

#[test]
fn a_log_begins_later_only_in_the_epoch_in_which_that_was_decided() {
    let mut world = World::remote(&[1, 2]);
    world.ack_many(1, 0..10);
    world.elect(2);
    world.elect(1);
    for (id, epoch, offset, expected) in [
        (2, 2, 3, (false, 0)),
        (1, 1, 3, (false, 0)),
        (1, 2, 11, (false, 0)),
        (1, 2, 3, (true, 3)),
        (1, 2, 2, (true, 3)),
    ] {
        let node = world.nodes.get_mut(&id).unwrap();
        let holds = node.replicas.start_at(&place(), (epoch, offset), world.now, &mut node.effects);
        assert_eq!((holds, world.facts(id).log_start_offset), expected, "broker {id} epoch {epoch} offset {offset}");
    }
    for (role, expected) in [(Role::Leader(1), -1), (Role::Follower, -1), (Role::Leader(2), 5)] {
        world.partition(1).note_copied(role, |_, _| 5);
        assert_eq!(world.partition(1).remote_view().unwrap().highest_copied, expected, "{role:?}");
    }
    assert!(world.partition(1).next_copy(1).unwrap().is_none() && world.partition(1).next_copy(2).unwrap().is_some());
}
