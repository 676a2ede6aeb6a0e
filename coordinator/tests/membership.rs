//! Who belongs to the ensemble, in one thread over a small network in memory: servers that join, leave, observe, are
//! replaced or lose their disks, while clients write.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod world;

use bytes::Bytes;
use common::zk::records::CreateMode;
use common::zk::request::ReconfigRequest;
use common::zk::{Request, Response, ZkError};
use coordinator::node::Node;
use std::collections::BTreeMap;
use world::*;

/// The whole file of a server that knows these.
fn text(servers: &[u64], more: &str) -> String {
    let lines: String = servers.iter().map(|id| format!("{}\n", line(*id, ""))).collect();
    format!("{SETTINGS}reconfigEnabled=true\nskipACL=yes\n{lines}{more}")
}

fn line(id: u64, role: &str) -> String {
    format!("server.{id}=host{id}:1:2{role};2181")
}

/// An ensemble of these servers that may be reconfigured, with a client of the first.
fn ensemble(servers: &[u64], seed: u64) -> (World, u64) {
    let mut world = World::of(&[], seed);
    for id in servers {
        world.add(*id, &text(servers, ""));
    }
    let client = world.new_client(servers[0]);
    world.run(500);
    (world, client)
}

fn reconfig(joining: &str, leaving: &str, members: &str, version: i64) -> Request {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Request::Reconfig(ReconfigRequest {
        joining: given(joining),
        leaving: given(leaving),
        new_members: given(members),
        config_version: version,
    })
}

/// The configuration that a reply tells, and its version.
fn told(answer: Result<Response, ZkError>) -> (Vec<String>, i64) {
    let Ok(Response::Reconfig { data: Some(data), stat }) = answer else { panic!("{answer:?}") };
    let text = String::from_utf8(data.to_vec()).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(lines.pop(), Some(format!("version={:x}", stat.mzxid)));
    (lines, stat.mzxid)
}

/// Waits until these and no others vote, everywhere.
fn voters(world: &mut World, ids: &[u64], expected: &[u64]) {
    let ids = ids.to_vec();
    let expected = expected.to_vec();
    world.run_until(&format!("{expected:?} vote"), |world| {
        ids.iter().all(|id| world.servers[id].node.as_ref().is_none_or(|node| node.voters() == expected))
    });
}

#[test]
fn grows_from_three_to_five_and_shrinks_under_load() {
    for seed in 0..10 {
        let (mut world, client) = ensemble(&[1, 2, 3], seed);
        let writer = world.new_client(2);
        world.answer(writer, create("/q", b"", CreateMode::Persistent)).unwrap();
        let write = |world: &mut World| {
            for _ in 0..5 {
                world.ask(writer, create("/q/n-", b"", CreateMode::PersistentSequential));
            }
        };
        for id in [4, 5] {
            world.add(id, &text(&[1, 2, 3, id], ""));
            write(&mut world);
        }
        world.run(300);
        write(&mut world);
        let joining = format!("{},{}", line(4, ""), line(5, ":observer"));
        let (lines, _) = told(world.answer(client, reconfig(&joining, "", "", -1)));
        assert_eq!(lines.len(), 5, "{lines:?}");
        assert_eq!(lines[4], "server.5=host5:1:2:observer;0.0.0.0:2181");
        write(&mut world);
        voters(&mut world, &[1, 2, 3, 4, 5], &[1, 2, 3, 4]);
        let (lines, version) = told(world.answer(client, reconfig(&line(5, ""), "", "", -1)));
        assert_eq!(lines[4], "server.5=host5:1:2:participant;0.0.0.0:2181");
        voters(&mut world, &[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]);
        write(&mut world);
        // The leader leaves, too.
        let leader = world.leader().unwrap();
        let second = if leader == 5 { 4 } else { 5 };
        let stale = world.answer(client, reconfig("", "5", "", version - 1));
        assert_eq!(stale, Err(ZkError::BadVersion));
        let (lines, _) = told(world.answer(client, reconfig("", &format!("{leader}, {second}"), "", version)));
        assert_eq!(lines.len(), 3);
        let left: Vec<u64> = (1..=5).filter(|id| *id != leader && *id != second).collect();
        voters(&mut world, &[1, 2, 3, 4, 5], &left);
        write(&mut world);
        world.run_until("another leads", |world| world.leader().is_some_and(|now| left.contains(&now)));
        world.run_until("all is answered", |world| world.clients[&writer].asked.is_empty());
        let answers = &world.clients[&writer].answers;
        assert!(answers.iter().all(|(_, answer)| answer.is_ok()), "seed {seed}: {answers:?}");
        assert!(world.clients[&writer].is_connected && world.clients[&client].is_connected);
        // The two that left can go.
        for id in [leader, second] {
            world.crash(id);
        }
        let other = world.new_client(left[0]);
        world.answer(other, create("/after", b"", CreateMode::Persistent)).unwrap();
        world.run_until("trees are the same", |world| world.digests().len() == 1);
    }
}

#[test]
fn a_dead_server_is_replaced() {
    for seed in 0..10 {
        let (mut world, client) = ensemble(&[1, 2, 3], seed);
        world.crash(3);
        world.run(1_000);
        world.add(4, &text(&[1, 2, 3, 4], ""));
        world.run(300);
        let (lines, _) = told(world.answer(client, reconfig(&line(4, ""), "3", "", -1)));
        assert_eq!(
            lines,
            ["server.1", "server.2", "server.4"]
                .map(|key| format!("{key}=host{}:1:2:participant;0.0.0.0:2181", &key[7..]))
        );
        voters(&mut world, &[1, 2, 4], &[1, 2, 4]);
        // It counts: the three stand the loss of one.
        let gone = world.leader().filter(|id| *id != 1).unwrap_or(2);
        world.crash(gone);
        world.answer(client, create("/after", b"", CreateMode::Persistent)).unwrap();
    }
}

#[test]
fn the_new_configuration_is_in_the_znode_and_outlives_a_restart() {
    let (mut world, client) = ensemble(&[1, 2, 3], 1);
    let config = || Request::GetData { path: "/zookeeper/config".into(), watch: true };
    world.answer(client, config()).unwrap();
    world.add(4, &text(&[1, 2, 3, 4], ""));
    world.run(300);
    let members: Vec<String> = [2, 3, 4, 1].map(|id| line(id, "")).to_vec();
    let (lines, version) = told(world.answer(client, reconfig("", "", &members.join(","), -1)));
    assert_eq!(world.clients[&client].events, ["NodeDataChanged /zookeeper/config"]);
    voters(&mut world, &[1, 2, 3, 4], &[1, 2, 3, 4]);
    world.run(2_000);
    for id in [1, 2, 3, 4] {
        world.crash(id);
    }
    for id in [1, 2, 3, 4] {
        world.start(id);
    }
    voters(&mut world, &[1, 2, 3, 4], &[1, 2, 3, 4]);
    let client = world.new_client(2);
    let Ok(Response::GetData { data, stat }) = world.answer(client, config()) else { panic!() };
    assert_eq!(data, Some(Bytes::from(format!("{}\nversion={version:x}", lines.join("\n")))));
    assert_eq!((stat.mzxid, stat.version), (version, -1));
}

#[test]
fn what_cannot_be_is_refused() {
    let cases: &[(&str, &str, &str, i64, ZkError)] = &[
        ("", "", "", 7, ZkError::BadVersion),
        ("server.4=host4:1:2", "", "", -1, ZkError::BadArguments),
        ("server.4=host4:1", "", "", -1, ZkError::BadArguments),
        ("server.4", "", "", -1, ZkError::BadArguments),
        ("server.x=host4:1:2;3", "", "", -1, ZkError::MarshallingError),
        ("server.300=host4:1:2;3", "", "", -1, ZkError::BadArguments),
        ("server.4=host1:1:2;3", "", "", -1, ZkError::BadArguments),
        ("", "x", "", -1, ZkError::MarshallingError),
        ("", "2,3", "", -1, ZkError::BadArguments),
        ("", "", "server.1=host1:1:2;3,nonsense=1", -1, ZkError::BadArguments),
        ("", "", "server.1=host1:1:2;3,server.2=host2:1:2:observer;3", -1, ZkError::MarshallingError),
        ("server.4=host4:1:2;3", "2,3", "", -1, ZkError::NewConfigNoQuorum),
        ("", "", "server.1=host1:1:2;3,server.7=host7:1:2;3", -1, ZkError::NewConfigNoQuorum),
    ];
    let (mut world, client) = ensemble(&[1, 2, 3], 2);
    for (joining, leaving, members, version, expected) in cases {
        let answer = world.answer(client, reconfig(joining, leaving, members, *version));
        assert_eq!(answer, Err(*expected), "{joining:?} {leaving:?} {members:?}");
    }
    // Who is not there yet may join where the others are a majority; it votes when it has caught up.
    let (lines, _) = told(world.answer(client, reconfig(&line(4, ""), "", "", -1)));
    assert_eq!(lines.len(), 4);
    voters(&mut world, &[1, 2, 3], &[1, 2, 3]);
    world.add(4, &text(&[1, 2, 3, 4], ""));
    voters(&mut world, &[1, 2, 3, 4], &[1, 2, 3, 4]);
}

#[test]
fn who_died_and_was_removed_is_no_majority_when_asked_back() {
    for seed in 0..20 {
        let (mut world, client) = ensemble(&[1, 2, 3], seed);
        let (dead, other) = if world.leader() == Some(3) { (2, 3) } else { (3, 2) };
        world.crash(dead);
        world.answer(client, reconfig("", &dead.to_string(), "", -1)).unwrap();
        // It lately took part, and consensus supposes so of whoever is added.
        for _ in 0..3 {
            let answer = world.answer(client, reconfig(&line(dead, ""), &other.to_string(), "", -1));
            assert_eq!(answer, Err(ZkError::NewConfigNoQuorum), "seed {seed}");
            world.run(10);
        }
        world.answer(client, create("/still", b"", CreateMode::Persistent)).unwrap();
    }
}

#[test]
fn reconfiguration_must_be_allowed() {
    let cases = [
        ("", ZkError::ReconfigDisabled),
        ("reconfigEnabled=true\n", ZkError::NoAuth),
        ("reconfigEnabled=true\nskipACL=yes\n", ZkError::Ok),
    ];
    for (settings, expected) in cases {
        let mut world = World::of(&[], 3);
        for id in [1, 2, 3] {
            let lines: String = [1, 2, 3].map(|id| format!("{}\n", line(id, ""))).concat();
            world.add(id, &format!("{SETTINGS}{lines}{settings}"));
        }
        let client = world.new_client(1);
        let answer = world.answer(client, reconfig("", "3", "", -1));
        assert_eq!(answer.err().unwrap_or(ZkError::Ok), expected, "{settings}");
    }
}

#[test]
fn one_server_grows_to_three() {
    let mut world = World::of(&[], 4);
    world.add(1, &text(&[1], "standaloneEnabled=false\n"));
    let client = world.new_client(1);
    world.answer(client, create("/a", b"", CreateMode::Persistent)).unwrap();
    for id in [2, 3] {
        world.add(id, &text(&[1, id], "standaloneEnabled=false\n"));
    }
    world.run(500);
    told(world.answer(client, reconfig(&format!("{},{}", line(2, ""), line(3, "")), "", "", -1)));
    voters(&mut world, &[1, 2, 3], &[1, 2, 3]);
    world.crash(1);
    let other = world.new_client(3);
    assert_eq!(world.children(other, "/"), ["a", "zookeeper"]);
}

#[test]
fn without_reconfiguration_the_file_says_who_belongs_to_the_ensemble() {
    let plain = |servers: &[u64]| text(servers, "").replace("reconfigEnabled=true", "reconfigEnabled=false");
    let mut world = World::of(&[], 5);
    for id in [1, 2, 3] {
        world.add(id, &plain(&[1, 2, 3]));
    }
    let client = world.new_client(1);
    world.answer(client, create("/a", b"", CreateMode::Persistent)).unwrap();
    for id in [4, 5] {
        world.add(id, &plain(&[1, 2, 3, 4, 5]));
    }
    world.run(500);
    for id in [3, 2, 1] {
        world.crash(id);
        world.texts.insert(id, plain(&[1, 2, 3, 4, 5]));
        world.start(id);
        world.run(1_000);
    }
    voters(&mut world, &[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]);
    let client = world.new_client(5);
    assert_eq!(world.children(client, "/"), ["a", "zookeeper"]);
}

#[test]
fn a_server_that_lost_its_disk_has_no_vote_before_it_has_caught_up() {
    for seed in 0..20 {
        let (mut world, client) = ensemble(&[1, 2, 3], seed);
        world.answer(client, create("/old", b"", CreateMode::Persistent)).unwrap();
        world.run(500);
        let leader = world.leader().unwrap();
        let others: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
        let (holder, late) = if seed % 2 == 0 { (others[0], others[1]) } else { (others[1], others[0]) };
        // What is written now is with two of three. One of them loses its disk, the other is not to be reached.
        world.set_cut(late, true);
        let writer = world.new_client(leader);
        world.answer(writer, create("/acknowledged", b"", CreateMode::Persistent)).unwrap();
        world.crash(leader);
        world.crash(holder);
        world.wipe(holder);
        world.start(holder);
        world.set_cut(late, false);
        world.run(5_000);
        assert_eq!(world.leader(), None, "seed {seed}: nobody who leads can know what was acknowledged");
        world.start(leader);
        let reader = world.new_client(late);
        assert_eq!(world.children(reader, "/"), ["acknowledged", "old", "zookeeper"], "seed {seed}");
        // Now it counts again.
        world.run(1_000);
        let gone = world.leader().filter(|id| *id != late && *id != holder).unwrap_or(leader);
        world.crash(gone);
        world.answer(reader, create("/new", b"", CreateMode::Persistent)).unwrap();
        world.run_until("trees are the same", |world| world.digests().len() == 1);
    }
}

#[test]
fn of_two_servers_one_may_lose_its_disk() {
    for (seed, wiped) in [(1, 1), (2, 2), (3, 1), (4, 2)] {
        let (mut world, client) = ensemble(&[1, 2], seed);
        world.answer(client, create("/a", b"", CreateMode::Persistent)).unwrap();
        for id in [1, 2] {
            world.crash(id);
        }
        world.wipe(wiped);
        for id in [1, 2] {
            world.start(id);
        }
        let client = world.new_client(wiped);
        assert_eq!(world.children(client, "/"), ["a", "zookeeper"]);
        world.answer(client, create("/b", b"", CreateMode::Persistent)).unwrap();
    }
}

#[test]
fn new_servers_found_one_ensemble_and_one_that_comes_late_joins_it() {
    for seed in 0..20 {
        let mut world = World::of(&[], seed);
        for id in [1, 2] {
            world.add(id, &text(&[1, 2, 3], ""));
        }
        let client = world.new_client(1);
        assert!(world.now >= 3_000, "the third might have the data of an ensemble");
        world.answer(client, create("/a", b"", CreateMode::Persistent)).unwrap();
        world.add(3, &text(&[1, 2, 3], ""));
        let late = world.new_client(3);
        assert_eq!(world.children(late, "/"), ["a", "zookeeper"]);
        world.run(500);
        world.crash(world.leader().unwrap());
        world.answer(late, create("/b", b"", CreateMode::Persistent)).unwrap_or_else(|error| panic!("{error:?}"));
    }
}

#[test]
fn disks_are_lost_one_after_the_other_and_nothing_else_is() {
    for seed in 0..15 {
        let (mut world, _) = ensemble(&[1, 2, 3], 100 + seed);
        let mut acknowledged: BTreeMap<u64, usize> = BTreeMap::new();
        for round in 0..6u64 {
            let wiped = world.rng.u64(1..=3);
            let other = wiped % 3 + 1;
            let client = world.new_client(other);
            for i in 0..20 {
                world.ask(client, create(&format!("/{round}-{i:02}"), b"", CreateMode::Persistent));
            }
            for _ in 0..world.rng.usize(..200) {
                world.happen();
            }
            acknowledged.insert(round, world.clients[&client].answers.len());
            world.crash(wiped);
            world.wipe(wiped);
            let pause = world.rng.u64(0..600);
            world.run(pause);
            world.start(wiped);
            world.run_until("all vote again", |world| {
                world.servers.values().all(|server| server.node.as_ref().is_some_and(Node::may_vote))
            });
        }
        let reader = world.new_client(1);
        let children = world.children(reader, "/");
        for (round, count) in acknowledged {
            let found = children.iter().filter(|name| name.starts_with(&format!("{round}-"))).count();
            assert!(found >= count, "seed {seed}: {found} of {count} acknowledged in round {round}");
        }
        world.run_until("trees are the same", |world| world.digests().len() == 1);
    }
}
