//! Three servers in one thread over a small network in memory: changes of leader, restarts, a follower that was away,
//! sessions. Each run follows from its seed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod world;

use bytes::Bytes;
use common::zk::records::CreateMode;
use common::zk::{Request, Response, ZkError};
use coordinator::admin::{AdminBody, AdminRequest};
use coordinator::tree::Tree;
use coordinator::tree::snapshot::RawNode;
use world::*;

/// Who meets a majority does not wait until it has been silent long enough.
#[test]
fn three_that_start_together_have_a_leader_at_once() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        for start in 0..3 {
            let began = world.clock().mono;
            world.run_until("a leader", |world| world.leader().is_some());
            let took = world.clock().mono - began;
            assert!(took < 120, "seed {seed}, start {start}: {took} ms");
            SERVERS.into_iter().for_each(|id| world.crash(id));
            SERVERS.into_iter().for_each(|id| world.start(id));
        }
    }
}

#[test]
fn the_loss_of_the_leader_is_a_pause_and_each_request_is_carried_out_once() {
    for seed in 0..30 {
        let mut world = World::new(seed);
        let clients: Vec<u64> = SERVERS.into_iter().map(|server| world.new_client(server)).collect();
        world.answer(clients[0], create("/q", b"", CreateMode::Persistent)).unwrap();
        let mut asked = 0;
        for round in 0..3 {
            for _ in 0..20 {
                for client in &clients {
                    world.ask(*client, create(&format!("/q/{client}-"), b"", CreateMode::PersistentSequential));
                }
                asked += 1;
                for _ in 0..world.rng.usize(..6) {
                    world.happen();
                }
                if world.rng.u8(..) < 20 {
                    let from = world.rng.u64(1..=3);
                    world.reset_link(from, from % 3 + 1);
                }
            }
            if round < 2 {
                let Some(leader) = world.leader() else { continue };
                world.crash(leader);
                world.run(1_000);
                world.start(leader);
            }
        }
        world.run(3_000);
        let alive: Vec<u64> = clients.iter().copied().filter(|client| world.clients[client].is_connected).collect();
        assert!(!alive.is_empty(), "seed {seed}");
        let reader = world.new_client(1);
        let children = world.children(reader, "/q");
        for client in &clients {
            let state = &world.clients[client];
            let created: Vec<String> = state
                .answers
                .iter()
                .filter_map(|(_, answer)| match answer {
                    Ok(Response::Create { path }) if path != "/q" => Some(path.trim_start_matches("/q/").to_owned()),
                    Ok(_) => None,
                    Err(error) => panic!("seed {seed}: client {client} got {error:?}"),
                })
                .collect();
            let found: Vec<&String> = children.iter().filter(|name| name.starts_with(&format!("{client}-"))).collect();
            for name in &created {
                assert!(found.contains(&name), "seed {seed}: {name} was acknowledged and is not there");
            }
            assert!(created.is_sorted(), "seed {seed}: client {client}'s requests were carried out in another order");
            if alive.contains(client) {
                assert_eq!(created.len(), asked, "seed {seed}: all of client {client} are answered");
                assert_eq!(found.len(), asked, "seed {seed}: each of client {client} once");
            }
        }
        world.run(2_000);
        assert_eq!(world.digests().len(), 1, "seed {seed}: trees are the same");
    }
}

#[test]
fn what_was_acknowledged_survives_the_loss_of_all_servers() {
    for seed in 0..10 {
        let mut world = World::new(seed);
        let client = world.new_client(2);
        for i in 0..50 {
            world.ask(client, create(&format!("/n{i}"), b"x", CreateMode::Persistent));
            if i % 7 == 0 {
                let pause = world.rng.u64(0..3) * 100;
                world.run(pause);
            }
        }
        for _ in 0..world.rng.usize(0..60) {
            world.happen();
        }
        let acknowledged = world.clients[&client].answers.len();
        for id in SERVERS {
            world.crash(id);
        }
        for id in SERVERS {
            world.start(id);
        }
        let reader = world.new_client(1);
        let children = world.children(reader, "/");
        assert!(children.len() > acknowledged, "seed {seed}: {acknowledged} acknowledged, {children:?}");
    }
}

#[test]
fn a_follower_that_was_away_for_long_gets_a_snapshot() {
    let mut world = World::new(1);
    let client = world.new_client(1);
    world.run(500);
    let away = SERVERS.into_iter().find(|id| *id != 1 && Some(*id) != world.leader()).unwrap();
    world.set_cut(away, true);
    world.answer(client, create("/big", b"", CreateMode::Persistent)).unwrap();
    for i in 0..50u8 {
        let data = Some(Bytes::from(vec![i; 900_000]));
        world.answer(client, Request::SetData { path: "/big".into(), data, version: -1 }).unwrap();
    }
    world.run(3_000);
    assert_eq!(world.digests().len(), 2);
    let before = world.messages;
    world.set_cut(away, false);
    world.run_until("trees are the same", |world| world.digests().len() == 1);
    assert!(world.messages > before);
    // It can take part: the two need it when the third is gone, and it keeps what it got.
    let other = SERVERS.into_iter().find(|id| *id != 1 && *id != away).unwrap();
    world.crash(other);
    world.run(1_000);
    world.answer(client, create("/after", b"", CreateMode::Persistent)).unwrap();
    world.crash(away);
    world.start(away);
    world.answer(client, create("/again", b"", CreateMode::Persistent)).unwrap();
    world.run_until("trees are the same", |world| world.digests().len() == 1);
}

#[test]
fn an_observer_serves_and_has_no_vote() {
    let mut world = World::of(&[1, 2, 3, 4], 4);
    let client = world.new_client(4);
    world.answer(client, create("/a", b"", CreateMode::Persistent)).unwrap();
    let absent = world.answer(client, Request::Exists { path: "/b".into(), watch: true });
    assert_eq!(absent, Err(ZkError::NoNode));
    let other = world.new_client(1);
    world.answer(other, create("/b", b"", CreateMode::Persistent)).unwrap();
    assert_eq!(world.children(client, "/"), ["a", "b", "zookeeper"]);
    assert_eq!(world.clients[&client].events, ["NodeCreated /b"]);
    world.crash(2);
    world.crash(3);
    world.ask(client, create("/c", b"", CreateMode::Persistent));
    world.run(3_000);
    assert_eq!(world.leader(), None, "one of three is no majority, whoever observes");
    world.start(2);
    world.run_until("the request is answered", |world| world.clients[&client].asked.is_empty());
}

#[test]
fn a_server_that_comes_back_to_the_same_leader_serves() {
    let mut world = World::new(2);
    let client = world.new_client(1);
    world.answer(client, create("/a", b"", CreateMode::Persistent)).unwrap();
    world.run(3_000);
    let leader = world.leader().unwrap();
    for id in SERVERS.into_iter().filter(|id| *id != leader) {
        world.crash(id);
        world.start(id);
        let client = world.new_client(id);
        world.answer(client, create(&format!("/{id}"), b"", CreateMode::Persistent)).unwrap();
        assert_eq!(world.leader(), Some(leader));
        world.run(3_000);
    }
}

#[test]
fn a_follower_whose_data_was_removed_gets_it_again() {
    let mut world = World::new(3);
    let client = world.new_client(1);
    world.run(500);
    let wiped = SERVERS.into_iter().find(|id| *id != 1 && Some(*id) != world.leader()).unwrap();
    for i in 0..20 {
        world.answer(client, create(&format!("/{i}"), b"", CreateMode::Persistent)).unwrap();
    }
    world.crash(wiped);
    world.wipe(wiped);
    world.start(wiped);
    world.answer(client, create("/after", b"", CreateMode::Persistent)).unwrap();
    world.run_until("trees are the same", |world| world.digests().len() == 1);
}

#[test]
fn a_session_that_only_reads_on_a_follower_lives_and_a_silent_one_ends() {
    let mut world = World::new(5);
    world.run(1_000);
    let follower = SERVERS.into_iter().find(|id| Some(*id) != world.leader()).unwrap();
    let (reader, silent) = (world.new_client(follower), world.new_client(follower));
    for client in [reader, silent] {
        world.answer(client, create(&format!("/of-{client}"), b"", CreateMode::Ephemeral)).unwrap();
    }
    world.answer(reader, Request::Exists { path: format!("/of-{silent}"), watch: true }).unwrap();
    for _ in 0..10 {
        world.run(1_000);
        world.answer(reader, Request::Exists { path: "/".into(), watch: false }).unwrap();
    }
    assert!(world.clients[&reader].is_connected && !world.clients[&silent].is_connected);
    assert_eq!(world.clients[&reader].events, [format!("NodeDeleted /of-{silent}")]);
    assert_eq!(world.children(reader, "/"), [format!("of-{reader}"), "zookeeper".into()]);
    let (session, password) = (world.clients[&silent].session, world.clients[&silent].password.clone());
    let late = world.connect(1, session, password, 6_000);
    world.run_until("the dead session is refused", |world| world.clients[&late].was_refused);
}

#[test]
fn a_pause_of_the_whole_ensemble_ends_no_session() {
    let mut world = World::new(8);
    let client = world.new_client(2);
    world.answer(client, create("/e", b"", CreateMode::Ephemeral)).unwrap();
    world.now += 60_000;
    world.run(500);
    world.answer(client, Request::Exists { path: "/e".into(), watch: false }).unwrap();
}

#[test]
fn a_session_moves_with_its_password_and_leaves_nothing_behind() {
    let mut world = World::new(6);
    let old = world.new_client(1);
    world.answer(old, create("/e", b"", CreateMode::Ephemeral)).unwrap();
    let (session, password) = (world.clients[&old].session, world.clients[&old].password.clone());
    let thief = world.connect(2, session, Bytes::from_static(&[9; 16]), 6_000);
    world.run_until("a wrong password is refused", |world| world.clients[&thief].was_refused);
    assert!(world.clients[&old].is_connected);
    let new = world.connect(2, session, password, 6_000);
    world.run_until("the session moves", |world| world.clients[&new].session == session);
    world.run_until("the old connection is closed", |world| !world.clients[&old].is_connected);
    world.answer(new, Request::Delete { path: "/e".into(), version: -1 }).unwrap();
    world.answer(new, Request::CloseSession).unwrap();
    world.run_until("the new connection is closed", |world| !world.clients[&new].is_connected);
}

#[test]
fn a_server_without_a_majority_answers_nothing_and_no_client_notices_more_than_a_pause() {
    let mut world = World::new(7);
    world.run(1_000);
    let leader = world.leader().unwrap();
    let client = world.new_client(leader);
    world.set_cut(leader, true);
    world.run(1_000);
    let new = world.leader().unwrap();
    assert_ne!(new, leader);
    let other = world.new_client(new);
    world.answer(other, create("/a", b"new", CreateMode::Persistent)).unwrap();
    world.ask(client, Request::Exists { path: "/a".into(), watch: false });
    world.ask(client, create("/b", b"", CreateMode::Persistent));
    world.run(1_000);
    assert_eq!(world.clients[&client].answers.len(), 0);
    world.set_cut(leader, false);
    world.run_until("answers", |world| world.clients[&client].answers.len() == 2);
    assert!(world.clients[&client].answers.iter().all(|(_, answer)| answer.is_ok()));
    assert_eq!(world.children(other, "/"), ["a", "b", "zookeeper"]);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut world = World::new(seed);
        let client = world.new_client(3);
        for i in 0..20 {
            world.ask(client, create(&format!("/{i}"), b"", CreateMode::Persistent));
        }
        world.run(500);
        if let Some(leader) = world.leader() {
            world.crash(leader);
        }
        world.run(2_000);
        (world.messages, world.digests(), world.leader())
    };
    for seed in 0..5 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

#[test]
fn a_server_whose_tree_differs_from_the_majority_takes_theirs() {
    for seed in 0..10 {
        let mut world = World::new(seed);
        let client = world.new_client(1);
        world.answer(client, create("/a", b"right", CreateMode::Persistent)).unwrap();
        world.run(3_000);
        for id in SERVERS {
            world.crash(id);
        }
        let wrong = seed % 3 + 1;
        world.plant_difference(wrong, "/a", b"wrong");
        for id in SERVERS {
            world.start(id);
        }
        world.run_until("there is a leader", |world| world.leader().is_some());
        assert!(world.digests().len() > 1, "seed {seed}");
        let writer = world.new_client(wrong % 3 + 1);
        for i in 0..30 {
            world.ask(writer, create(&format!("/n{i}"), b"", CreateMode::Persistent));
            world.run(100);
        }
        world.run_until("trees are the same", |world| world.digests().len() == 1);
        let reader = world.new_client(wrong);
        let Ok(Response::GetData { data, .. }) =
            world.answer(reader, Request::GetData { path: "/a".into(), watch: false })
        else {
            panic!("seed {seed}")
        };
        assert_eq!(data.as_deref(), Some(&b"right"[..]), "seed {seed}");
        assert!(world.clients[&writer].answers.iter().all(|(_, answer)| answer.is_ok()), "seed {seed}");
        // It is a server like the others again, after a restart, too.
        world.run(2_000);
        world.crash(wrong);
        world.start(wrong);
        let gone = SERVERS.into_iter().find(|id| *id != wrong).unwrap();
        world.crash(gone);
        let last = world.new_client(wrong);
        world.answer(last, create("/z", b"", CreateMode::Persistent)).unwrap();
        world.run_until("trees are the same", |world| world.digests().len() == 1);
    }
}

/// Asks a server for another tree; gives the status of its answer.
fn restore(world: &mut World, server: u64, snapshot: &Bytes) -> u16 {
    let snapshot = Some(snapshot.clone());
    let request = AdminRequest::Restore { authorization: Some("ip".into()), remote: [10, 0, 0, 1].into(), snapshot };
    let now = world.clock();
    let node = world.servers.get_mut(&server).unwrap().node.as_mut().unwrap();
    node.admin(&request, now).status
}

#[test]
fn sessions_that_a_restored_tree_does_not_have_end_and_their_clients_hear_of_it() {
    for seed in 0..5 {
        let mut world = World::new(seed);
        let kept = world.new_client(2);
        world.answer(kept, create("/of-kept", b"", CreateMode::Ephemeral)).unwrap();
        let leader = world.leader().unwrap();
        world.run(1_000);
        let snapshot = Bytes::from(world.servers[&leader].node.as_ref().unwrap().tree().snapshot());
        let ended: Vec<u64> = SERVERS.into_iter().map(|server| world.new_client(server)).collect();
        for client in &ended {
            world.answer(*client, create(&format!("/of-{client}"), b"", CreateMode::Ephemeral)).unwrap();
        }
        assert_eq!(restore(&mut world, leader, &snapshot), 200);
        world.run(1_000);
        assert_eq!(world.digests().len(), 1, "seed {seed}");
        for server in SERVERS {
            let tree = world.servers[&server].node.as_ref().unwrap().tree();
            let sessions: Vec<i64> = tree.sessions().map(|(id, _)| id).collect();
            assert_eq!(sessions, [world.clients[&kept].session], "seed {seed}");
        }
        for (client, is_refused) in ended.into_iter().map(|client| (client, true)).chain([(kept, false)]) {
            let (session, password) = (world.clients[&client].session, world.clients[&client].password.clone());
            assert!(!world.clients[&client].is_connected, "seed {seed}");
            let again = world.connect(1, session, password, 6_000);
            world.run_until("an answer to the handshake", |world| {
                world.clients[&again].was_refused || world.clients[&again].session == session
            });
            assert_eq!(world.clients[&again].was_refused, is_refused, "seed {seed}");
        }
        let new = world.new_client(3);
        assert_eq!(world.children(new, "/"), ["of-kept", "zookeeper"]);
    }
}

#[test]
fn zxids_go_on_behind_those_of_a_restored_tree() {
    for seed in 0..5 {
        let mut old = World::new(seed);
        let client = old.new_client(1);
        for number in 0..50 {
            old.answer(client, create(&format!("/{number}"), b"", CreateMode::Persistent)).unwrap();
        }
        old.run(1_000);
        let tree = old.servers[&1].node.as_ref().unwrap().tree();
        let last = tree.node("/49").unwrap().stat().czxid;
        let named = Bytes::from(tree.snapshot());
        // As a file that was posted: without the zxid of its name.
        let mut nodes = Vec::new();
        tree.each_raw(&mut |path, raw, acl, data| {
            let (acl, data) = (acl.to_vec(), data.map(<[u8]>::to_vec));
            nodes.push((path.to_owned(), RawNode { acl, data, ..raw.clone() }));
        });
        let nameless = Bytes::from(Tree::from_raw(0, nodes, []).unwrap().snapshot());
        for snapshot in [named, nameless] {
            let mut world = World::new(seed);
            world.run(1_000);
            let leader = world.leader().unwrap();
            assert_eq!(restore(&mut world, leader, &snapshot), 200);
            world.run(1_000);
            assert_eq!(world.digests().len(), 1, "seed {seed}");
            // Both ensembles began at the same time: server 1 would give out the id of a session that is in the tree.
            let client = world.new_client(2);
            let mut newest = last;
            for round in 0..2 {
                let path = format!("/new-{round}");
                world.answer(client, create(&path, b"", CreateMode::Persistent)).unwrap();
                world.run(1_000);
                for server in SERVERS {
                    let tree = world.servers[&server].node.as_ref().unwrap().tree();
                    assert!(tree.node(&path).unwrap().stat().czxid > newest, "seed {seed}, round {round}");
                }
                newest = world.digests().first().unwrap().0;
            }
        }
    }
}

#[test]
fn who_waits_for_a_tree_is_told_of_no_other() {
    let mut world = World::new(3);
    world.run(1_000);
    let old = world.leader().unwrap();
    let snapshot = Bytes::from(world.servers[&old].node.as_ref().unwrap().tree().snapshot());
    let told = |world: &mut World, server: u64| -> Vec<u16> {
        let replies = world.servers.get_mut(&server).unwrap().node.as_mut().unwrap().take_restored();
        replies.into_iter().map(|reply| reply.status).collect()
    };
    world.set_cut(old, true);
    assert_eq!(restore(&mut world, old, &snapshot), 200);
    world.run(1_000);
    let new = world.leader().unwrap();
    assert_ne!(new, old);
    assert_eq!(restore(&mut world, new, &snapshot), 200);
    world.run(1_000);
    assert_eq!(told(&mut world, new), [200]);
    world.set_cut(old, false);
    world.run(2_000);
    assert_eq!(told(&mut world, old), [503]);
    // One tree, one answer.
    let leader = world.leader().unwrap();
    for _ in 0..2 {
        assert_eq!(restore(&mut world, leader, &snapshot), 200);
        world.run(1_000);
        assert_eq!(told(&mut world, leader), [200]);
    }
}

#[test]
fn a_restored_tree_is_every_servers_and_outlives_a_restart() {
    for seed in 0..10 {
        let mut world = World::new(seed);
        let client = world.new_client(1);
        for path in ["/a", "/kept", "/kept/below"] {
            world.answer(client, create(path, b"old", CreateMode::Persistent)).unwrap();
        }
        let leader = world.leader().unwrap();
        let snapshot = Bytes::from(world.servers[&leader].node.as_ref().unwrap().tree().snapshot());
        let version = -1;
        world.answer(client, Request::SetData { path: "/a".into(), data: Some("new".into()), version }).unwrap();
        world.answer(client, Request::Delete { path: "/kept/below".into(), version }).unwrap();
        world.answer(client, create("/made-since", b"", CreateMode::Persistent)).unwrap();
        world.run(2_000);
        let before = world.digests();
        // Requests before it, among them some of other servers, and behind it.
        let others: Vec<u64> = SERVERS.into_iter().map(|server| world.new_client(server)).collect();
        for number in 0..20 {
            for other in &others {
                world.ask(*other, create(&format!("/x{other}-{number}"), b"", CreateMode::Persistent));
            }
        }
        for server in SERVERS {
            let status = restore(&mut world, server, &snapshot);
            assert_eq!(status, if server == leader { 200 } else { 503 });
        }
        world.run(3_000);
        for round in 0..2 {
            assert_eq!(world.digests().len(), 1, "seed {seed}: all have the same tree");
            assert!(world.digests().first() > before.first(), "seed {seed}: zxids do not go back");
            let reader = world.new_client(2);
            let children = world.children(reader, "/");
            // What was asked behind it may be there, nothing that was done before it.
            assert!(
                children.contains(&"kept".to_owned()) && !children.contains(&"made-since".to_owned()),
                "{children:?}"
            );
            assert_eq!(world.children(reader, "/kept"), ["below"]);
            match world.answer(reader, Request::GetData { path: "/a".into(), watch: false }) {
                Ok(Response::GetData { data, stat }) => assert_eq!((data, stat.version), (Some("old".into()), 0)),
                other => panic!("{other:?}"),
            }
            world.answer(reader, create(&format!("/after-{round}"), b"", CreateMode::Persistent)).unwrap();
            world.run(2_000);
            for server in SERVERS {
                world.crash(server);
            }
            for server in SERVERS {
                world.start(server);
            }
            world.run(3_000);
        }
    }
}

/// What a server tells of requests: its `requests` command with these arguments.
fn requests(world: &mut World, server: u64, arguments: &[(&str, String)]) -> Vec<serde_json::Value> {
    let arguments = arguments.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let (request, now) = (AdminRequest::Command { name: "requests".to_owned(), arguments }, world.clock());
    let node = world.servers.get_mut(&server).unwrap().node.as_mut().unwrap();
    let AdminBody::Json(answer) = node.admin(&request, now).body else { panic!("no JSON") };
    assert_eq!(answer["error"], serde_json::Value::Null);
    answer["requests"].as_array().unwrap().clone()
}

#[test]
fn a_write_leaves_its_stages_on_every_server() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.run(1_000);
        let leader = world.leader().unwrap();
        let [asked, third] = SERVERS.into_iter().filter(|id| *id != leader).collect::<Vec<_>>()[..] else { panic!() };
        for (client_of, is_leader) in [(asked, false), (leader, true)] {
            let client = world.new_client(client_of);
            let path = format!("/of-{client_of}");
            let xid = world.ask(client, create(&path, b"", CreateMode::Persistent));
            world.run(100);
            let session = format!("{:#x}", world.clients[&client].session);
            let found = requests(&mut world, client_of, &[("session", session.clone()), ("xid", xid.to_string())]);
            let zxid = found[0]["zxid"].as_str().unwrap().to_owned();
            let mut check = |server: u64, expected: &[&str]| {
                let found = requests(&mut world, server, &[("zxid", zxid.clone())]);
                assert_eq!(found.len(), 1, "seed {seed}: {found:?}");
                let entry = &found[0];
                let told = ["operation", "path", "session"].map(|key| entry[key].as_str().unwrap().to_owned());
                assert_eq!(told, ["create".to_owned(), path.clone(), session.clone()]);
                assert_eq!((entry["xid"].as_i64(), entry["asked_of"].as_u64()), (Some(xid.into()), Some(client_of)));
                let stages = entry["stages"].as_array().unwrap();
                assert!(stages.is_sorted_by_key(|stage| stage["us"].as_u64()), "{stages:?}");
                let names: Vec<String> = stages
                    .iter()
                    .map(|stage| {
                        let by = stage["by"].as_u64().map_or(String::new(), |by| format!(" {by}"));
                        format!("{}{by}", stage["stage"].as_str().unwrap())
                    })
                    .collect();
                // Disks and answers of the others come in any order.
                let mut sorted = names.clone();
                sorted.sort();
                let mut wanted = expected.to_vec();
                wanted.sort_unstable();
                assert_eq!(sorted, wanted, "seed {seed}: server {server}, leader {leader}: {names:?}");
                let place = |name: &str| names.iter().position(|known| known == name).unwrap();
                let in_order: Vec<usize> =
                    ["received", "sent", "taken", "proposed", "appended", "committed", "applied", "replied"]
                        .iter()
                        .filter(|name| expected.contains(name))
                        .map(|name| place(name))
                        .collect();
                assert!(in_order.is_sorted(), "seed {seed}: {names:?}");
            };
            let others = |id: u64| format!("acknowledged {id}");
            let (first, second) = (others(asked), others(third));
            let leads = ["taken", "proposed", &first, &second, "durable", "committed", "applied"];
            let follows = ["appended", "durable", "committed", "applied"];
            if is_leader {
                check(leader, &[&leads[..], &["received", "replied"]].concat());
                check(asked, &follows);
            } else {
                check(leader, &leads);
                check(asked, &[&follows[..], &["received", "sent", "replied"]].concat());
            }
            check(third, &follows);
        }
    }
}

#[test]
fn a_write_that_waited_for_a_leader_says_so() {
    let mut world = World::new(4);
    world.run(1_000);
    let leader = world.leader().unwrap();
    let asked = SERVERS.into_iter().find(|id| *id != leader).unwrap();
    let client = world.new_client(asked);
    world.run(100);
    let others = SERVERS.into_iter().filter(|id| *id != asked);
    others.clone().for_each(|id| world.crash(id));
    world.run(500);
    let xid = world.ask(client, create("/late", b"", CreateMode::Persistent));
    world.run(500);
    others.for_each(|id| world.start(id));
    world.run(2_000);
    let session = world.clients[&client].session.to_string();
    let found = requests(&mut world, asked, &[("session", session), ("xid", xid.to_string())]);
    let slowest = requests(&mut world, asked, &[("order", "slowest".to_owned()), ("limit", "1".to_owned())]);
    assert_eq!(found[..1], slowest);
    assert_eq!(found[0]["is_slow"], true, "{found:?}");
    let at = |name: &str| {
        let stages = found[0]["stages"].as_array().unwrap();
        stages.iter().find(|stage| stage["stage"] == name).unwrap()["us"].as_u64().unwrap()
    };
    let total_us = found[0]["total_us"].as_u64().unwrap();
    assert_eq!((at("received"), at("replied")), (0, total_us));
    assert!(total_us >= 500_000, "{found:?}");
}
