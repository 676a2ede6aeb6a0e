//! Servers in one thread over a small network in memory. Each run follows from its seed.
#![allow(dead_code, reason = "each test file uses a part")]

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
use coordinator::tree::Tree;
use coordinator::tree::txn::{SetData, Txn, TxnBody};
use coordinator::tree::watch::ConnectionId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

pub(crate) const SERVERS: [u64; 3] = [1, 2, 3];

/// What stands in every server's file but the servers.
pub(crate) const SETTINGS: &str = "dataDir=/d\ninitLimit=5\nsyncLimit=2\ntickTime=1000\nclientPort=2181\n";

/// A file with three servers that vote; those behind them observe.
fn plain_text(count: usize) -> String {
    let mut text = SETTINGS.to_owned();
    for server in 1..=count {
        let role = if server > SERVERS.len() { ":observer" } else { "" };
        text.push_str(&format!("server.{server}=host{server}:1:2{role}\n"));
    }
    text
}

fn config(id: u64, text: &str) -> Config {
    let read = |path: &Path| Ok(if path.ends_with("myid") { id.to_string() } else { text.to_owned() });
    Config::load(Path::new("zoo.cfg"), &read).unwrap().0
}

#[derive(Default)]
pub(crate) struct Server {
    pub(crate) node: Option<Node>,
    pub(crate) store: MemoryStore,
    /// Writes, and requests for the stored tree with the server it is for.
    pub(crate) jobs: VecDeque<Result<StoreWrite, u64>>,
}

#[derive(Default)]
pub(crate) struct Client {
    pub(crate) server: u64,
    pub(crate) session: i64,
    pub(crate) password: Bytes,
    pub(crate) input: BytesMut,
    pub(crate) is_connected: bool,
    pub(crate) asked: VecDeque<(i32, OpCode)>,
    pub(crate) next_xid: i32,
    pub(crate) last_zxid: i64,
    /// Answers in order: xid and outcome.
    pub(crate) answers: Vec<(i32, Result<Response, ZkError>)>,
    pub(crate) events: Vec<String>,
    pub(crate) was_refused: bool,
    /// The server said that it only reads.
    pub(crate) reads_only: bool,
}

pub(crate) struct World {
    pub(crate) ids: Vec<u64>,
    /// The file of each server.
    pub(crate) texts: BTreeMap<u64, String>,
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    pub(crate) servers: BTreeMap<u64, Server>,
    pub(crate) links: BTreeMap<(u64, u64), VecDeque<Bytes>>,
    pub(crate) cut: BTreeSet<(u64, u64)>,
    /// Whom each server dials.
    pub(crate) dialled: BTreeMap<u64, BTreeSet<u64>>,
    pub(crate) clients: BTreeMap<u64, Client>,
    pub(crate) next_client: u64,
    pub(crate) messages: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        World::of(&SERVERS, seed)
    }

    pub(crate) fn of(ids: &[u64], seed: u64) -> World {
        let mut world = World {
            ids: ids.to_vec(),
            texts: ids.iter().map(|id| (*id, plain_text(ids.len()))).collect(),
            rng: Rng::with_seed(seed),
            now: 0,
            servers: BTreeMap::new(),
            links: BTreeMap::new(),
            cut: BTreeSet::new(),
            dialled: BTreeMap::new(),
            clients: BTreeMap::new(),
            next_client: 0,
            messages: 0,
        };
        for id in ids.iter().copied() {
            world.servers.insert(id, Server::default());
            world.start(id);
        }
        world
    }

    /// A further server with this file, and an empty store.
    pub(crate) fn add(&mut self, id: u64, text: &str) {
        self.ids.push(id);
        self.texts.insert(id, text.to_owned());
        self.servers.insert(id, Server::default());
        self.start(id);
    }

    /// What the disk held is gone; the server is down.
    pub(crate) fn wipe(&mut self, id: u64) {
        self.servers.insert(id, Server::default());
    }

    pub(crate) fn clock(&self) -> Now {
        Now { mono: Millis(self.now), wall: WallMillis(1_700_000_000_000 + self.now as i64) }
    }

    pub(crate) fn start(&mut self, id: u64) {
        let (now, rng) = (self.clock(), self.rng.fork());
        let server = self.servers.get_mut(&id).unwrap();
        server.node = Some(Node::new(&config(id, &self.texts[&id]), server.store.open(), rng, now).unwrap());
        for peer in self.ids.clone() {
            if self.dialled.get(&peer).is_some_and(|dialled| dialled.contains(&id)) {
                self.input(peer, Input::PeerConnected { peer: id });
            }
        }
        // It says whom it dials.
        self.input(id, Input::Tick);
    }

    /// What a bug or a bad memory could do: this server's stored tree has other data at a path. It is down.
    pub(crate) fn plant_difference(&mut self, id: u64, path: &str, data: &[u8]) {
        let store = &mut self.servers.get_mut(&id).unwrap().store;
        let mut tree = Tree::load(store.clone().open().tree).unwrap();
        let set = SetData { path: path.to_owned(), data: Some(Bytes::copy_from_slice(data)), version: 0 };
        tree.apply(&Txn { zxid: tree.zxid(), body: Some(TxnBody::SetData(set)), ..Default::default() });
        store.replace_tree(tree.entries());
    }

    fn dial(&mut self, id: u64, peers: BTreeSet<u64>) {
        let before = self.dialled.insert(id, peers.clone()).unwrap_or_default();
        for peer in peers.difference(&before) {
            if self.servers.get(peer).is_some_and(|server| server.node.is_some()) && !self.cut.contains(&(id, *peer)) {
                self.input(id, Input::PeerConnected { peer: *peer });
            }
        }
    }

    /// The process ends at once: what the disk had not done is lost, connections break.
    pub(crate) fn crash(&mut self, id: u64) {
        let server = self.servers.get_mut(&id).unwrap();
        server.node = None;
        server.jobs.clear();
        self.dialled.remove(&id);
        self.links.retain(|(from, to), _| *from != id && *to != id);
        for client in self.clients.values_mut().filter(|client| client.server == id) {
            client.is_connected = false;
        }
        for peer in self.ids.clone().into_iter().filter(|peer| *peer != id) {
            self.input(peer, Input::PeerLost { peer: id });
            self.input(peer, Input::PeerRefused { peer: id });
        }
    }

    pub(crate) fn set_cut(&mut self, id: u64, is_cut: bool) {
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
                    if !self.dialled.get(&at).is_some_and(|dialled| dialled.contains(&peer)) {
                        continue;
                    }
                    self.input(at, Input::PeerLost { peer });
                    self.input(at, Input::PeerConnected { peer });
                }
            }
        }
    }

    /// The connection from one server to another breaks and is made again; what was on its way is lost.
    pub(crate) fn reset_link(&mut self, from: u64, to: u64) {
        if let Some(queue) = self.links.get_mut(&(from, to)) {
            let kept = self.rng.usize(..=queue.len());
            queue.truncate(kept);
        }
        self.input(from, Input::PeerLost { peer: to });
        self.input(from, Input::PeerConnected { peer: to });
    }

    pub(crate) fn input(&mut self, id: u64, input: Input) {
        let now = self.clock();
        let Some(node) = self.servers.get_mut(&id).and_then(|server| server.node.as_mut()) else { return };
        let mut outputs = Vec::new();
        node.step(now, input, &mut outputs);
        node.flush(now, &mut outputs);
        for output in outputs {
            self.output(id, output);
        }
    }

    pub(crate) fn output(&mut self, id: u64, output: Output) {
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
                let is_dialled = self.dialled.get(&id).is_some_and(|dialled| dialled.contains(&peer));
                let is_there = is_dialled
                    && self.servers.get(&peer).is_some_and(|server| server.node.is_some())
                    && !self.cut.contains(&(id, peer));
                if is_there {
                    self.messages += 1;
                    self.links.entry((id, peer)).or_default().push_back(bytes);
                }
            }
            Output::ClosePeer { peer } => panic!("server {id} finds fault with server {peer}"),
            Output::Peers { peers } => self.dial(id, peers.into_keys().collect()),
            Output::ExportMore { .. } | Output::ExportEnd { .. } => {}
            Output::Store(write) => self.servers.get_mut(&id).unwrap().jobs.push_back(Ok(write)),
            Output::Export { to } => self.servers.get_mut(&id).unwrap().jobs.push_back(Err(to)),
        }
    }

    /// One thing happens: a message arrives, a disk finishes a write, or nothing of the kind is left.
    pub(crate) fn happen(&mut self) -> bool {
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
                    self.input(id, Input::Exported { to, content, is_last: true });
                }
            }
        }
        true
    }

    /// Lets time pass, with everything that comes of it.
    pub(crate) fn run(&mut self, millis: u64) {
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
    pub(crate) fn run_until(&mut self, what: &str, is_so: impl Fn(&World) -> bool) {
        let start = self.now;
        while !is_so(self) {
            assert!(self.now - start < 20_000, "not within 20 s: {what}");
            self.run(TICK_MS);
        }
    }

    /// The leader that can reach a majority.
    pub(crate) fn leader(&self) -> Option<u64> {
        let leads = |id: &u64| self.servers[id].node.as_ref().is_some_and(Node::is_leader);
        let cut_off = |id: u64| self.ids.clone().into_iter().filter(|peer| self.cut.contains(&(id, *peer))).count() > 1;
        self.ids.clone().into_iter().find(|id| leads(id) && !cut_off(*id))
    }

    pub(crate) fn connect(&mut self, server: u64, session: i64, password: Bytes, timeout_ms: i32) -> u64 {
        self.connect_as(server, (session, password), timeout_ms, false)
    }

    /// The last argument says whether the client may be served by a server that only reads.
    pub(crate) fn connect_as(&mut self, server: u64, of: (i64, Bytes), timeout_ms: i32, read_only: bool) -> u64 {
        let (session, password) = of;
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
            read_only: Some(read_only),
        };
        let mut bytes = BytesMut::new();
        encode_connect_request(&request, &mut bytes);
        self.input(server, Input::ClientFrames { connection, frames: bytes.freeze() });
        id
    }

    pub(crate) fn new_client(&mut self, server: u64) -> u64 {
        let id = self.connect(server, 0, Bytes::from_static(&[0; 16]), 6_000);
        self.run_until("session is there", |world| world.clients[&id].session != 0);
        id
    }

    pub(crate) fn ask(&mut self, client: u64, request: Request) -> i32 {
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

    pub(crate) fn answer(&mut self, client: u64, request: Request) -> Result<Response, ZkError> {
        let count = self.clients[&client].answers.len();
        self.ask(client, request);
        self.run_until("answer", |world| world.clients[&client].answers.len() > count);
        self.clients[&client].answers[count].1.clone()
    }

    pub(crate) fn children(&mut self, client: u64, path: &str) -> Vec<String> {
        self.answer(client, Request::Sync { path: path.into() }).unwrap();
        match self.answer(client, Request::GetChildren { path: path.into(), watch: false }) {
            Ok(Response::GetChildren { mut children }) => {
                children.sort();
                children
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn digests(&self) -> BTreeSet<(i64, u64)> {
        let nodes = self.servers.values().filter_map(|server| server.node.as_ref());
        nodes.map(|node| (node.tree().zxid(), node.tree().digest())).collect()
    }
}

impl Client {
    pub(crate) fn receive(&mut self, bytes: &Bytes) {
        self.input.extend_from_slice(bytes);
        while let Some(frame) = take_frame(&mut self.input, 1 << 24).unwrap() {
            let mut reader = Reader::new(frame);
            if self.session == 0 && !self.was_refused {
                let response = ConnectResponse::decode(&mut reader).unwrap();
                self.session = response.session_id;
                self.password = response.password;
                self.reads_only = response.read_only == Some(true);
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

pub(crate) fn create(path: &str, data: &[u8], mode: CreateMode) -> Request {
    Request::Create(CreateRequest::new(path, Bytes::copy_from_slice(data), Acl::open_unsafe(), mode))
}
