//! Access control lists between brokers: what is noted while another reads, lost answers, and lists that cannot be read.

use super::*;
use crate::access::acl::{self, AclEntry, Entries, Operation, PatternType, Permission, ResourcePattern, ResourceType};
use common::zk::Request;

const TOPICS: &str = "/kafka-acl/Topic";

/// Makes a node unreadable.
type Spoil = fn(&mut World);

fn entries(principals: &[&str]) -> Entries {
    let entry = |principal: &&str| AclEntry {
        principal: format!("User:{principal}"),
        host: "*".into(),
        operation: Operation::Read,
        permission: Permission::Allow,
    };
    principals.iter().map(entry).collect()
}

fn topic(name: &str) -> ResourcePattern {
    let (resource_type, pattern_type) = (ResourceType::Topic, PatternType::Literal);
    ResourcePattern { resource_type, pattern_type, name: name.into() }
}

fn with_acls(broker: i32) -> ClusterConfig {
    ClusterConfig { uses_acls: true, ..config(broker) }
}

/// A ZooKeeper with these lists.
fn world(lists: &[(&str, &[u8])]) -> World {
    let mut world = World::new(&[]);
    world.zk.force_create("/kafka-acl", b"");
    world.zk.force_create(TOPICS, b"");
    for (name, data) in lists {
        world.zk.force_create(&format!("{TOPICS}/{name}"), data);
    }
    world
}

impl World {
    /// The lists as a broker was told of them.
    fn acls(&self, broker: i32) -> BTreeMap<String, Entries> {
        let mut known = BTreeMap::new();
        for effect in &self.members[&broker].effects {
            if let Effect::AclsChanged { resource, entries } = effect {
                known.insert(resource.name.clone(), entries.clone());
            }
        }
        known.retain(|_, entries| !entries.is_empty());
        known
    }

    fn change(&mut self, add: Entries, remove: Entries) -> mpsc::Receiver<AclOutcome> {
        let remove = Remove(Box::new(move |entry| remove.contains(entry)));
        let change = AclChange { resource: topic("a"), add, remove };
        self.act(1, |core, io, done| core.acls.change(change, done, io))
    }

    fn is_registered(&self, broker: i32) -> bool {
        self.members[&broker].effects.iter().any(|effect| matches!(effect, Effect::Registered { .. }))
    }
}

#[test]
fn a_list_that_changes_while_all_are_read_is_read_again() {
    let before = acl::encode(&entries(&["old"]));
    let mut world = world(&[("a", &before), ("b", &before)]);
    world.zk.force_create("/kafka-acl-changes", b"");
    world.start_with(config(1));
    let now = world.now;
    let mut core = Core::new(with_acls(2), Rng::with_seed(2));
    let mut effects = Vec::new();
    let session = world.zk.open();
    core.on_session(session, now, &mut effects);
    let mut is_changed = false;
    loop {
        let requests = core.store.drain();
        if requests.is_empty() {
            break;
        }
        for (token, request) in requests {
            let reads = matches!(&request, Request::GetData { path, .. } if path == "/kafka-acl/Topic/a");
            let (result, mut events) = world.zk.apply(session, request, 0);
            core.on_reply(token, result, now, &mut effects);
            if reads && !is_changed {
                is_changed = true;
                events.extend(world.zk.force_set("/kafka-acl/Topic/a", &acl::encode(&entries(&["new"]))));
                events.extend(world.zk.force_create("/kafka-acl-changes/acl_changes_0000000000", b"TOPIC:a"));
            }
            for (_, event) in events.into_iter().filter(|(to, _)| *to == session) {
                core.on_watch(&event, now, &mut effects);
            }
        }
    }
    world.member(1).effects = effects;
    assert!(world.is_registered(1));
    let expected = [("a", "new"), ("b", "old")].map(|(name, user)| (name.to_owned(), entries(&[user])));
    assert_eq!(world.acls(1), BTreeMap::from(expected));
}

#[test]
fn all_hear_of_a_change_whose_answer_was_lost() {
    let before = acl::encode(&entries(&["x", "y"]));
    // Added, removed, what is left.
    let cases: [(&[&str], &[&str], &[&str]); 3] =
        [(&["z"], &[], &["x", "y", "z"]), (&[], &["x"], &["y"]), (&[], &["x", "y"], &[])];
    for (add, remove, left) in cases {
        for lost_answer in 0..4 {
            let mut world = world(&[("a", &before)]);
            world.start_with(with_acls(1));
            world.start_with(with_acls(2));
            world.zk.lose_answer_after(lost_answer);
            let outcome = world.change(entries(add), entries(remove));
            for id in [1, 2] {
                world.member(id).core.store.ask_again();
            }
            world.run();
            assert_eq!(outcome.try_recv().unwrap(), Ok(entries(remove)), "{lost_answer}");
            for id in [1, 2] {
                let list = world.acls(id).remove("a").unwrap_or_default();
                assert_eq!(list, entries(left), "broker {id}, lost {lost_answer}");
            }
        }
    }
}

#[test]
fn all_hear_of_a_change_whose_session_ended_before_its_note() {
    let mut world = world(&[]);
    world.start_with(with_acls(1));
    world.start_with(with_acls(2));
    world.zk.lose_answer_after(1);
    let outcome = world.change(entries(&["x"]), entries(&[]));
    world.expire(1);
    assert_eq!(outcome.try_recv().unwrap(), Err(ZkError::SessionExpired));
    assert!(world.acls(2).is_empty());
    world.new_session(1);
    assert_eq!(world.acls(2)["a"], entries(&["x"]));
}

#[test]
fn a_list_that_cannot_be_read_stops_the_start_and_is_kept_later() {
    let list = acl::encode(&entries(&["x"]));
    let cases: [(&str, Spoil); 3] = [
        ("/kafka-acl/Topic/a", |world| drop(world.zk.force_set("/kafka-acl/Topic/a", b"{"))),
        ("/kafka-acl/Topic/a", |world| world.zk.refuse_reads("/kafka-acl/Topic/a")),
        (TOPICS, |world| world.zk.refuse_reads(TOPICS)),
    ];
    for (path, spoil) in cases {
        let mut fresh = world(&[("a", &list)]);
        spoil(&mut fresh);
        fresh.start_with(with_acls(1));
        let stops: Vec<String> = fresh.stops().iter().map(ToString::to_string).collect();
        assert!(stops.len() == 1 && stops[0].contains(&format!("lists at {path}: ")), "{stops:?}");
        assert!(!fresh.is_registered(1), "{path}");

        let mut running = world(&[("a", &list)]);
        running.start_with(with_acls(1));
        spoil(&mut running);
        running.member(1).effects.retain(|effect| !matches!(effect, Effect::Registered { .. }));
        running.expire(1);
        running.new_session(1);
        assert!(running.stops().is_empty() && running.is_registered(1), "{path}");
        assert_eq!(running.acls(1)["a"], entries(&["x"]), "{path}");
    }
}
