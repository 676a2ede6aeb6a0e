//! Three servers in one thread over a small network in memory: changes of leader, restarts, a follower that was away,
//! sessions. Each run follows from its seed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use bytes::{Bytes, BytesMut};
use common::Rng;
use common::time::{Millis, Now, WallMillis};
use common::zk::frame::{encode_connect_request, encode_request, take_frame};
use common::zk::opcode::XID_NOTIFICATION;
use common::zk::records::{Acl, ConnectRequest, ConnectResponse, CreateMode, ReplyHeader};
use common::zk::request::CreateRequest;
use common::zk::{OpCode, Reader, Request, Response, ZkError};
use coordinator::config::Config;
use coordinator::node::{Input, Node, Output, TICK_MS};
use coordinator::store::{MemoryStore, StoreWrite};
use coordinator::tree::watch::ConnectionId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

const SERVERS: [u64; 3] = [1, 2, 3];

/// Three servers that vote; those behind them observe.
fn config(id: u64, count: usize) -> Config {
    let mut text = "dataDir=/d\ninitLimit=5\nsyncLimit=2\ntickTime=1000\nclientPort=2181\n".to_owned();
    for server in 1..=count {
        let role = if server > SERVERS.len() { ":observer" } else { "" };
        text.push_str(&format!("server.{server}=host{server}:1:2{role}\n"));
    }
    let read = |path: &Path| Ok(if path.ends_with("myid") { id.to_string() } else { text.clone() });
    Config::load(Path::new("zoo.cfg"), &read).unwrap().0
}

struct Server {
    node: Option<Node>,
    store: MemoryStore,
    /// Writes, and requests for the stored tree with the server it is for.
    jobs: VecDeque<Result<StoreWrite, u64>>,
}

#[derive(Default)]
struct Client {
    server: u64,
    session: i64,
    password: Bytes,
    input: BytesMut,
    is_connected: bool,
    asked: VecDeque<(i32, OpCode)>,
    next_xid: i32,
    last_zxid: i64,
    /// Answers in order: xid and outcome.
    answers: Vec<(i32, Result<Response, ZkError>)>,
    events: Vec<String>,
    was_refused: bool,
}

struct World {
    ids: Vec<u64>,
    rng: Rng,
    now: u64,
    servers: BTreeMap<u64, Server>,
    links: BTreeMap<(u64, u64), VecDeque<Bytes>>,
    cut: BTreeSet<(u64, u64)>,
    clients: BTreeMap<u64, Client>,
    next_client: u64,
    messages: u64,
}

impl World {
    fn new(seed: u64) -> World {
        World::of(&SERVERS, seed)
    }

    fn of(ids: &[u64], seed: u64) -> World {
        let mut world = World {
            ids: ids.to_vec(),
            rng: Rng::with_seed(seed),
            now: 0,
            servers: BTreeMap::new(),
            links: BTreeMap::new(),
            cut: BTreeSet::new(),
            clients: BTreeMap::new(),
            next_client: 0,
            messages: 0,
        };
        for id in ids.iter().copied() {
            let server = Server { node: None, store: MemoryStore::default(), jobs: VecDeque::new() };
            world.servers.insert(id, server);
            world.start(id);
        }
        world
    }

    fn clock(&self) -> Now {
        Now { mono: Millis(self.now), wall: WallMillis(1_700_000_000_000 + self.now as i64) }
    }

    fn start(&mut self, id: u64) {
        let (now, rng) = (self.clock(), self.rng.fork());
        let server = self.servers.get_mut(&id).unwrap();
        server.node = Some(Node::new(&config(id, self.ids.len()), server.store.open(), rng, now).unwrap());
        for peer in self.ids.clone().into_iter().filter(|peer| *peer != id) {
            self.input(id, Input::PeerConnected { peer });
            self.input(peer, Input::PeerConnected { peer: id });
        }
    }

    /// The process ends at once: what the disk had not done is lost, connections break.
    fn crash(&mut self, id: u64) {
        let server = self.servers.get_mut(&id).unwrap();
        server.node = None;
        server.jobs.clear();
        self.links.retain(|(from, to), _| *from != id && *to != id);
        for client in self.clients.values_mut().filter(|client| client.server == id) {
            client.is_connected = false;
        }
        for peer in self.ids.clone().into_iter().filter(|peer| *peer != id) {
            self.input(peer, Input::PeerLost { peer: id });
            self.input(peer, Input::PeerRefused { peer: id });
        }
    }

    fn set_cut(&mut self, id: u64, is_cut: bool) {
        for peer in self.ids.clone().into_iter().filter(|peer| *peer != id) {
            for pair in [(id, peer), (peer, id)] {
                if is_cut {
                    self.cut.insert(pair);
                    self.links.remove(&pair);
                } else {
                    self.cut.remove(&pair);
                }
            }
            if !is_cut {
                for (at, peer) in [(id, peer), (peer, id)] {
                    self.input(at, Input::PeerLost { peer });
                    self.input(at, Input::PeerConnected { peer });
                }
            }
        }
    }

    /// The connection from one server to another breaks and is made again; what was on its way is lost.
    fn reset_link(&mut self, from: u64, to: u64) {
        if let Some(queue) = self.links.get_mut(&(from, to)) {
            let kept = self.rng.usize(..=queue.len());
            queue.truncate(kept);
        }
        self.input(from, Input::PeerLost { peer: to });
        self.input(from, Input::PeerConnected { peer: to });
    }

    fn input(&mut self, id: u64, input: Input) {
        let now = self.clock();
        let Some(node) = self.servers.get_mut(&id).and_then(|server| server.node.as_mut()) else { return };
        let mut outputs = Vec::new();
        node.step(now, input, &mut outputs);
        node.flush(now, &mut outputs);
        for output in outputs {
            self.output(id, output);
        }
    }

    fn output(&mut self, id: u64, output: Output) {
        match output {
            Output::ToClient { connection, bytes, .. } => {
                if let Some(client) = self.clients.get_mut(&connection.0).filter(|client| client.is_connected) {
                    client.receive(&bytes);
                }
            }
            Output::CloseClient { connection } => {
                if let Some(client) = self.clients.get_mut(&connection.0) {
                    client.is_connected = false;
                }
                self.input(id, Input::ClientClosed { connection });
            }
            Output::ToPeer { peer, bytes } => {
                let is_there = self.servers[&peer].node.is_some() && !self.cut.contains(&(id, peer));
                if is_there {
                    self.messages += 1;
                    self.links.entry((id, peer)).or_default().push_back(bytes);
                }
            }
            Output::ClosePeer { peer } => panic!("server {id} finds fault with server {peer}"),
            Output::Store(write) => self.servers.get_mut(&id).unwrap().jobs.push_back(Ok(write)),
            Output::Export { to } => self.servers.get_mut(&id).unwrap().jobs.push_back(Err(to)),
        }
    }

    /// One thing happens: a message arrives, a disk finishes a write, or nothing of the kind is left.
    fn happen(&mut self) -> bool {
        let links: Vec<_> = self.links.iter().filter(|(_, queue)| !queue.is_empty()).map(|(pair, _)| *pair).collect();
        let disks: Vec<u64> =
            self.servers.iter().filter(|(_, server)| !server.jobs.is_empty()).map(|(id, _)| *id).collect();
        if links.is_empty() && disks.is_empty() {
            return false;
        }
        let choice = self.rng.usize(..links.len() + disks.len());
        if let Some((from, to)) = links.get(choice).copied() {
            let frames = self.links.get_mut(&(from, to)).unwrap().pop_front().unwrap();
            self.input(to, Input::PeerMessages { from, frames });
        } else {
            let id = disks[choice - links.len()];
            let server = self.servers.get_mut(&id).unwrap();
            match server.jobs.pop_front().unwrap() {
                Ok(write) => {
                    server.store.write(&write);
                    if let Some(number) = write.number {
                        self.input(id, Input::Persisted { number });
                    }
                }
                Err(to) => {
                    let content = server.store.export();
                    self.input(id, Input::Exported { to, content });
                }
            }
        }
        true
    }

    /// Lets time pass, with everything that comes of it.
    fn run(&mut self, millis: u64) {
        let until = self.now + millis;
        while self.now < until {
            self.now += TICK_MS;
            for id in self.ids.clone() {
                self.input(id, Input::Tick);
            }
            while self.happen() {}
        }
    }

    /// Lets time pass until something is so; it must be so within 20 s.
    fn run_until(&mut self, what: &str, is_so: impl Fn(&World) -> bool) {
        let start = self.now;
        while !is_so(self) {
            assert!(self.now - start < 20_000, "not within 20 s: {what}");
            self.run(TICK_MS);
        }
    }

    /// The leader that can reach a majority.
    fn leader(&self) -> Option<u64> {
        let leads = |id: &u64| self.servers[id].node.as_ref().is_some_and(Node::is_leader);
        let cut_off = |id: u64| self.ids.clone().into_iter().filter(|peer| self.cut.contains(&(id, *peer))).count() > 1;
        self.ids.clone().into_iter().find(|id| leads(id) && !cut_off(*id))
    }

    fn connect(&mut self, server: u64, session: i64, password: Bytes, timeout_ms: i32) -> u64 {
        self.next_client += 1;
        let id = self.next_client;
        self.clients.insert(id, Client { server, is_connected: true, ..Default::default() });
        let connection = ConnectionId(id);
        self.input(server, Input::ClientConnected { connection, remote: "127.0.0.1:9".parse().unwrap() });
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms,
            session_id: session,
            password,
            read_only: Some(false),
        };
        let mut bytes = BytesMut::new();
        encode_connect_request(&request, &mut bytes);
        self.input(server, Input::ClientFrames { connection, frames: bytes.freeze() });
        id
    }

    fn new_client(&mut self, server: u64) -> u64 {
        let id = self.connect(server, 0, Bytes::from_static(&[0; 16]), 6_000);
        self.run_until("session is there", |world| world.clients[&id].session != 0);
        id
    }

    fn ask(&mut self, client: u64, request: Request) -> i32 {
        let state = self.clients.get_mut(&client).unwrap();
        state.next_xid += 1;
        let xid = if request.opcode() == OpCode::Ping { -2 } else { state.next_xid };
        state.asked.push_back((xid, request.opcode()));
        let server = state.server;
        let mut bytes = BytesMut::new();
        encode_request(xid, &request, &mut bytes);
        self.input(server, Input::ClientFrames { connection: ConnectionId(client), frames: bytes.freeze() });
        xid
    }

    fn answer(&mut self, client: u64, request: Request) -> Result<Response, ZkError> {
        let count = self.clients[&client].answers.len();
        self.ask(client, request);
        self.run_until("answer", |world| world.clients[&client].answers.len() > count);
        self.clients[&client].answers[count].1.clone()
    }

    fn children(&mut self, client: u64, path: &str) -> Vec<String> {
        self.answer(client, Request::Sync { path: path.into() }).unwrap();
        match self.answer(client, Request::GetChildren { path: path.into(), watch: false }) {
            Ok(Response::GetChildren { mut children }) => {
                children.sort();
                children
            }
            other => panic!("{other:?}"),
        }
    }

    fn digests(&self) -> BTreeSet<(i64, u64)> {
        let nodes = self.servers.values().filter_map(|server| server.node.as_ref());
        nodes.map(|node| (node.tree().zxid(), node.tree().digest())).collect()
    }
}

impl Client {
    fn receive(&mut self, bytes: &Bytes) {
        self.input.extend_from_slice(bytes);
        while let Some(frame) = take_frame(&mut self.input, 1 << 24).unwrap() {
            let mut reader = Reader::new(frame);
            if self.session == 0 && !self.was_refused {
                let response = ConnectResponse::decode(&mut reader).unwrap();
                self.session = response.session_id;
                self.password = response.password;
                self.was_refused = self.session == 0;
                continue;
            }
            let header = ReplyHeader::decode(&mut reader).unwrap();
            if header.xid == XID_NOTIFICATION {
                let event = common::zk::WatcherEvent::decode(&mut reader).unwrap();
                self.events.push(format!("{:?} {}", event.kind, event.path));
                continue;
            }
            let (xid, opcode) = self.asked.pop_front().expect("an answer that nobody asked for");
            assert_eq!(header.xid, xid, "answers come in the order of the requests");
            assert!(header.zxid >= self.last_zxid, "zxids do not go back");
            self.last_zxid = header.zxid;
            let outcome = header.outcome().map(|()| Response::decode(opcode, &mut reader).unwrap());
            self.answers.push((xid, outcome));
        }
    }
}

fn create(path: &str, data: &[u8], mode: CreateMode) -> Request {
    Request::Create(CreateRequest::new(path, Bytes::copy_from_slice(data), Acl::open_unsafe(), mode))
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
    world.servers.get_mut(&wiped).unwrap().store = MemoryStore::default();
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
