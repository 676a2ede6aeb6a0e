//! Servers that are cut off and serve reads, and sessions that one server alone knows.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod world;

use bytes::Bytes;
use common::zk::records::CreateMode;
use common::zk::{Request, Response, ZkError};
use coordinator::node::Input;
use coordinator::tree::watch::ConnectionId;
use world::{SERVERS, World, create};

const NOBODY: (i64, Bytes) = (0, Bytes::from_static(&[0; 16]));

fn world(settings: &str, seed: u64) -> World {
    let mut world = World::new(seed);
    for id in SERVERS {
        world.crash(id);
        let text = format!("{settings}{}", world.texts[&id]);
        world.texts.insert(id, text);
    }
    for id in SERVERS {
        world.wipe(id);
        world.start(id);
    }
    world
}

fn get(path: &str) -> Request {
    Request::GetData { path: path.into(), watch: false }
}

#[test]
fn a_server_that_is_cut_off_serves_reads_to_those_who_asked_for_it() {
    for seed in 0..5 {
        let mut world = world("readonlymode.enabled=true\n", seed);
        let writer = world.new_client(1);
        world.answer(writer, create("/a", b"x", CreateMode::Persistent)).unwrap();
        world.run(500);
        let (session, password) = (world.clients[&writer].session, world.clients[&writer].password.clone());
        world.set_cut(1, true);
        // An election may be under way: nobody is turned away yet, and nobody served.
        world.run(1_000);
        assert!(world.clients[&writer].is_connected, "seed {seed}");
        world.run(3_000);
        assert!(!world.clients[&writer].is_connected, "seed {seed}: writers must look elsewhere");
        let refused = world.connect_as(1, NOBODY, 6_000, false);
        world.run_until("it is turned away", |world| !world.clients[&refused].is_connected);
        assert_eq!(world.clients[&refused].session, 0, "seed {seed}");
        let known = world.connect_as(1, (session, password.clone()), 6_000, true);
        world.run_until("it is turned away", |world| !world.clients[&known].is_connected);
        assert_eq!(world.clients[&known].session, 0, "seed {seed}: a session of the ensemble goes on elsewhere");

        let reader = world.connect_as(1, NOBODY, 6_000, true);
        world.run_until("session is there", |world| world.clients[&reader].session != 0);
        assert!(world.clients[&reader].reads_only, "seed {seed}");
        assert!(matches!(world.answer(reader, get("/a")), Ok(Response::GetData { .. })), "seed {seed}");
        for write in [
            create("/b", b"", CreateMode::Persistent),
            Request::Sync { path: "/".into() },
            Request::SetData { path: "/a".into(), data: None, version: -1 },
            Request::Multi(Vec::new()),
        ] {
            assert_eq!(world.answer(reader, write), Err(ZkError::NotReadOnly), "seed {seed}");
        }
        let leaving = world.connect_as(1, NOBODY, 6_000, true);
        world.run_until("session is there", |world| world.clients[&leaving].session != 0);
        assert_eq!(world.answer(leaving, Request::CloseSession), Ok(Response::CloseSession));
        let unknown = world.connect_as(1, (12_345, NOBODY.1), 6_000, true);
        world.run_until("it is refused", |world| world.clients[&unknown].was_refused);
        assert!(world.clients[&unknown].reads_only, "seed {seed}: as ZooKeeper says it with the refusal");
        // Whoever comes back with the session that only this server knows has it.
        let own = (world.clients[&reader].session, world.clients[&reader].password.clone());
        let again = world.connect_as(1, own.clone(), 6_000, true);
        world.run_until("session is there", |world| world.clients[&again].session == own.0);

        world.set_cut(1, false);
        world.run_until("it must ask again", |world| !world.clients[&again].is_connected);
        let writes = world.connect_as(1, NOBODY, 6_000, true);
        world.run_until("session is there", |world| world.clients[&writes].session != 0);
        assert!(!world.clients[&writes].reads_only, "seed {seed}");
        world.answer(writes, create("/b", b"", CreateMode::Persistent)).unwrap();
        let goes_on = world.connect_as(2, (session, password), 6_000, true);
        world.run_until("answer", |world| world.clients[&goes_on].session != 0 || world.clients[&goes_on].was_refused);
    }
}

#[test]
fn a_local_session_writes_and_ends_where_it_began() {
    let mut world = world("localSessionsEnabled=true\n", 1);
    let client = world.new_client(2);
    let own = (world.clients[&client].session, world.clients[&client].password.clone());
    world.answer(client, create("/a", b"x", CreateMode::Persistent)).unwrap();
    let sessions = |world: &World| world.servers[&1].node.as_ref().unwrap().tree().sessions().count();
    assert_eq!(sessions(&world), 0);
    let refused = Err(ZkError::EphemeralOnLocalSession);
    assert_eq!(world.answer(client, create("/e", b"", CreateMode::EphemeralSequential)), refused);
    let elsewhere = world.connect_as(1, own.clone(), 6_000, false);
    world.run_until("it is refused", |world| world.clients[&elsewhere].was_refused);
    let back = world.connect_as(2, own.clone(), 6_000, false);
    world.run_until("session is there", |world| world.clients[&back].session == own.0);
    world.answer(back, Request::CloseSession).unwrap();
    let late = world.connect_as(2, own, 6_000, false);
    world.run_until("it is refused", |world| world.clients[&late].was_refused);
    // One that is silent is forgotten.
    let silent = world.new_client(2);
    let own = (world.clients[&silent].session, world.clients[&silent].password.clone());
    world.run(9_000);
    let late = world.connect_as(2, own, 6_000, false);
    world.run_until("it is refused", |world| world.clients[&late].was_refused);
}

#[test]
fn an_ephemeral_znode_makes_a_local_session_the_ensembles() {
    let mut world = world("localSessionsEnabled=true\nlocalSessionsUpgradingEnabled=true\n", 1);
    let client = world.new_client(2);
    let own = (world.clients[&client].session, world.clients[&client].password.clone());
    world.answer(client, Request::Multi(vec![create("/e", b"x", CreateMode::Ephemeral)])).unwrap();
    world.answer(client, create("/f", b"x", CreateMode::Ephemeral)).unwrap();
    let elsewhere = world.connect_as(1, own.clone(), 6_000, false);
    world.run_until("session is there", |world| world.clients[&elsewhere].session == own.0);
    assert_eq!(world.children(elsewhere, "/"), ["e", "f", "zookeeper"]);
    world.answer(elsewhere, Request::CloseSession).unwrap();
    let reader = world.new_client(3);
    assert_eq!(world.children(reader, "/"), ["zookeeper"]);
}

#[test]
fn a_session_that_becomes_the_ensembles_while_its_client_comes_back_is_so_on_the_new_connection() {
    let mut world = world("localSessionsEnabled=true\nlocalSessionsUpgradingEnabled=true\n", 1);
    let client = world.new_client(2);
    let own = (world.clients[&client].session, world.clients[&client].password.clone());
    world.ask(client, create("/e", b"x", CreateMode::Ephemeral));
    world.input(2, Input::ClientClosed { connection: ConnectionId(client) });
    let back = world.connect_as(2, own.clone(), 6_000, false);
    assert_eq!(world.clients[&back].session, own.0, "it is back before anything was applied");
    assert_eq!(world.children(back, "/"), ["e", "zookeeper"]);
    world.answer(back, Request::CloseSession).unwrap();
    let reader = world.new_client(3);
    assert_eq!(world.children(reader, "/"), ["zookeeper"]);
}
