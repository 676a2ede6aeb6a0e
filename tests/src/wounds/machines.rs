//! Known bugs that one machine shows: counters that overflow, requests that poison a log. A coordinator that is alone, over
//! its store in memory, and a client that speaks its wire.

use super::{Case, Script};
use crate::sim::coordinator::config;
use bytes::{Bytes, BytesMut};
use common::Rng;
use common::time::{Millis, Now, WallMillis};
use common::zk::frame::{encode_connect_request, encode_request, take_frame};
use common::zk::opcode::XID_NOTIFICATION;
use common::zk::{
    Acl, ConnectRequest, ConnectResponse, CreateMode, CreateRequest, OpCode, Reader, ReplyHeader, Request, Response,
    ZkError,
};
use coordinator::node::{Input, Node, Output, TICK_MS};
use coordinator::store::{MemoryStore, StoreWrite};
use coordinator::tree::Tree;
use coordinator::tree::acl::Acl as TreeAcl;
use coordinator::tree::txn::{Create, Txn, TxnBody};
use coordinator::tree::watch::ConnectionId;

/// All cases of single machines.
pub const CASES: &[Case] = &[
    Case {
        name: "transaction ids go on beyond 32 bits",
        known: "ZOOKEEPER-1277, 2789, 4883: the counter's 32 bits are used up and the leader resigns, every 49 days at 1,000/s",
        script: Script::Machines(zxids_pass_32_bits),
        off: &["zxid-in-32-bits"],
        seeds: 1,
    },
    Case {
        name: "sequential names stay apart when their number overflows",
        known: "ZOOKEEPER-4706, kazoo #730: the number turns negative; creating goes on and no name is given twice",
        script: Script::Machines(sequences_overflow),
        off: &[],
        seeds: 1,
    },
    Case {
        name: "no request poisons the log",
        known: "ClickHouse #104663: a request that cannot be applied stands in the log and every restart dies of it",
        script: Script::Machines(odd_requests_and_restarts),
        off: &[],
        seeds: 20,
    },
];

const ZOO_CFG: &str = "dataDir=/d\ntickTime=1000\nclientPort=2181\n";

/// A coordinator that is alone, and one client at a time.
pub(crate) struct Lone {
    node: Node,
    store: MemoryStore,
    now: u64,
    rng: Rng,
    client: u64,
    received: BytesMut,
    is_open: bool,
    next_xid: i32,
}

impl Lone {
    /// Starts with a tree in the store.
    pub(crate) fn new(tree: &Tree, seed: u64) -> Result<Lone, String> {
        let mut store = MemoryStore::default();
        let tree = tree.entries().map(|(key, value)| (key, Some(value))).collect();
        store.write(&StoreWrite { tree, ..StoreWrite::default() });
        let mut rng = Rng::with_seed(seed);
        let node = start(&mut store, &mut rng, 0)?;
        let mut lone =
            Lone { node, store, now: 0, rng, client: 0, received: BytesMut::new(), is_open: false, next_xid: 0 };
        lone.pass(100);
        Ok(lone)
    }

    fn clock(&self) -> Now {
        Now { mono: Millis(self.now), wall: WallMillis(1_750_000_000_000 + self.now as i64) }
    }

    /// The process ends and starts with what its store has.
    pub(crate) fn restart(&mut self) -> Result<(), String> {
        self.node = start(&mut self.store, &mut self.rng, self.now)?;
        self.is_open = false;
        self.pass(100);
        Ok(())
    }

    pub(crate) fn tree(&self) -> &Tree {
        self.node.tree()
    }

    /// Gives the node an input and does what it wants.
    pub(crate) fn input(&mut self, input: Input) {
        let mut outputs = Vec::new();
        let now = self.clock();
        self.node.step(now, input, &mut outputs);
        self.node.flush(now, &mut outputs);
        while !outputs.is_empty() {
            for output in std::mem::take(&mut outputs) {
                match output {
                    Output::Store(write) => {
                        self.store.write(&write);
                        if let Some(number) = write.number {
                            self.node.step(now, Input::Persisted { number }, &mut outputs);
                        }
                    }
                    Output::ToClient { connection: ConnectionId(id), bytes, .. } if id == self.client => {
                        self.received.extend_from_slice(&bytes);
                    }
                    Output::CloseClient { connection } => {
                        self.is_open = self.is_open && connection.0 != self.client;
                        self.node.step(now, Input::ClientClosed { connection }, &mut outputs);
                    }
                    _ => {}
                }
            }
            self.node.flush(now, &mut outputs);
        }
    }

    pub(crate) fn pass(&mut self, millis: u64) {
        for _ in 0..millis / TICK_MS {
            self.now += TICK_MS;
            self.input(Input::Tick);
        }
    }

    /// A new client with a new session.
    pub(crate) fn connect(&mut self) -> Result<i64, String> {
        self.client += 1;
        self.received.clear();
        self.is_open = true;
        let connection = ConnectionId(self.client);
        let remote = ([127, 0, 0, 1], 9).into();
        self.input(Input::ClientConnected { connection, remote });
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: 10_000,
            session_id: 0,
            password: Bytes::from_static(&[0; 16]),
            read_only: Some(false),
        };
        let mut frames = BytesMut::new();
        encode_connect_request(&request, &mut frames);
        self.input(Input::ClientFrames { connection, frames: frames.freeze() });
        let frame = self.frame().ok_or("no answer to a new client")?;
        let response = ConnectResponse::decode(&mut Reader::new(frame)).map_err(|error| error.to_string())?;
        Ok(response.session_id)
    }

    /// Somebody connects, says this first and goes.
    pub(crate) fn greet(&mut self, bytes: Bytes) {
        self.client += 1;
        let connection = ConnectionId(self.client);
        self.input(Input::ClientConnected { connection, remote: ([127, 0, 0, 1], 9).into() });
        let len = u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes();
        self.send(Bytes::from([&len[..], &bytes].concat()));
        self.input(Input::ClientClosed { connection });
    }

    fn frame(&mut self) -> Option<Bytes> {
        take_frame(&mut self.received, 1 << 24).ok().flatten()
    }

    /// Sends bytes as the client; they need not make sense.
    pub(crate) fn send(&mut self, frames: Bytes) {
        self.input(Input::ClientFrames { connection: ConnectionId(self.client), frames });
    }

    /// Asks, and reads the answer with its zxid.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<(i64, Result<Response, ZkError>), String> {
        self.next_xid += 1;
        let mut frames = BytesMut::new();
        encode_request(self.next_xid, request, &mut frames);
        self.send(frames.freeze());
        loop {
            let frame = self.frame().ok_or_else(|| format!("no answer to {request:?}"))?;
            let mut reader = Reader::new(frame);
            let header = ReplyHeader::decode(&mut reader).map_err(|error| error.to_string())?;
            if header.xid == XID_NOTIFICATION {
                continue;
            }
            if let Some(error) = (header.err != 0).then(|| ZkError::from_code(header.err)) {
                return Ok((header.zxid, Err(error)));
            }
            let response = Response::decode(request.opcode(), &mut reader).map_err(|error| error.to_string())?;
            return Ok((header.zxid, Ok(response)));
        }
    }
}

fn start(store: &mut MemoryStore, rng: &mut Rng, now: u64) -> Result<Node, String> {
    let now = Now { mono: Millis(now), wall: WallMillis(1_750_000_000_000 + now as i64) };
    Node::new(&config(1, ZOO_CFG), store.open(), rng.fork(), now).map_err(|error| format!("cannot start: {error}"))
}

/// A tree with one node at a zxid, whose parent has counted so many children.
fn tree(zxid: i64, parent_cversion: i64) -> Tree {
    let mut tree = Tree::new();
    let create = |path: &str, parent_cversion| {
        TxnBody::Create(Create {
            path: path.to_owned(),
            data: Some(Bytes::from_static(b"x")),
            acl: TreeAcl::open().to_vec(),
            owner: 0,
            parent_cversion,
        })
    };
    tree.apply(&Txn { zxid: zxid - 1, body: Some(create("/q", 1)), ..Txn::default() });
    tree.apply(&Txn { zxid, body: Some(create("/q/first", parent_cversion)), ..Txn::default() });
    tree
}

fn create(path: &str, mode: CreateMode) -> Request {
    Request::Create(CreateRequest::new(path, "data", Acl::open_unsafe(), mode))
}

/// From just below 2^32, and from where ZooKeeper's lower half would end in a later epoch.
fn zxids_pass_32_bits(seed: u64) -> Result<(), String> {
    for border in [1_i64 << 32, 5 << 32] {
        let mut lone = Lone::new(&tree(border - 20, 1), seed)?;
        let session = lone.connect()?;
        let mut last = lone.tree().zxid();
        for number in 0..60 {
            let (zxid, answer) = lone.ask(&create(&format!("/q/{number}"), CreateMode::Ephemeral))?;
            if answer.is_err() || zxid != last + 1 {
                return Err(format!("zxid {zxid:#x} follows {last:#x}: {answer:?}"));
            }
            last = zxid;
        }
        lone.restart()?;
        let is_alive = lone.tree().session(session).is_some() && lone.tree().ephemerals(session).count() == 60;
        if !is_alive || lone.tree().zxid() < last || last <= border {
            return Err(format!("zxid {last:#x} before a restart, {:#x} after it", lone.tree().zxid()));
        }
    }
    Ok(())
}

/// As ZooKeeper writes them: ten digits, then, beyond 2^31, a minus sign and the rest.
fn sequences_overflow(seed: u64) -> Result<(), String> {
    let mut lone = Lone::new(&tree(100, i64::from(i32::MAX - 2)), seed)?;
    lone.connect()?;
    let mut names = Vec::new();
    for _ in 0..6 {
        match lone.ask(&create("/q/n-", CreateMode::PersistentSequential))?.1 {
            Ok(Response::Create { path }) => names.push(path),
            other => return Err(format!("after {names:?}: {other:?}")),
        }
    }
    let digits = ["2147483645", "2147483646", "2147483647", "-2147483648", "-2147483647", "-2147483646"];
    let wanted = digits.map(|digits| format!("/q/n-{digits}"));
    if names != wanted {
        return Err(format!("{names:?}"));
    }
    lone.restart()?;
    let missing = wanted.iter().find(|path| lone.tree().node(path).is_none());
    missing.map_or(Ok(()), |path| Err(format!("{path} is gone after a restart")))
}

/// Requests of every kind with bodies that were cut, changed or made up; then the process ends, and must start with the
/// same tree. Afterwards it serves.
fn odd_requests_and_restarts(seed: u64) -> Result<(), String> {
    let mut lone = Lone::new(&tree(100, 1), seed)?;
    let mut rng = Rng::with_seed(seed);
    for _ in 0..20 {
        for _ in 0..30 {
            if !lone.is_open {
                lone.connect()?;
            }
            let frames = odd_request(&mut rng);
            lone.send(frames);
        }
        lone.pass(1_500);
        let before = (lone.tree().zxid(), lone.tree().digest());
        lone.restart()?;
        let after = (lone.tree().zxid(), lone.tree().digest());
        // What a new leader has to say about itself comes on top.
        if after.0 < before.0 || (after.0 == before.0 && after.1 != before.1) {
            return Err(format!("tree {before:x?} became {after:x?} by a restart"));
        }
    }
    lone.connect()?;
    let answer = lone.ask(&create("/q/after", CreateMode::Ephemeral))?.1;
    answer.map(drop).map_err(|error| format!("a plain create is refused: {error}"))
}

const OPCODES: [OpCode; 24] = [
    OpCode::Create,
    OpCode::Create2,
    OpCode::CreateContainer,
    OpCode::CreateTtl,
    OpCode::Delete,
    OpCode::DeleteContainer,
    OpCode::SetData,
    OpCode::SetAcl,
    OpCode::GetData,
    OpCode::GetAcl,
    OpCode::GetChildren,
    OpCode::GetChildren2,
    OpCode::Exists,
    OpCode::Sync,
    OpCode::Ping,
    OpCode::Multi,
    OpCode::MultiRead,
    OpCode::Check,
    OpCode::Reconfig,
    OpCode::SetWatches,
    OpCode::AddWatch,
    OpCode::RemoveWatches,
    OpCode::GetEphemerals,
    OpCode::WhoAmI,
];

/// A frame with a request: right, changed in some bytes, cut, or with a body that means nothing.
pub(crate) fn odd_request(rng: &mut Rng) -> Bytes {
    let mut frame = BytesMut::new();
    let path = ["/q", "/q/first", "/q/a", "/q/a/b", "/", "", "/q/", "//", "/zookeeper/quota", "/q/\u{0}"];
    let path = path[rng.usize(..path.len())].to_owned();
    let simple = |rng: &mut Rng, path: String| match rng.u32(..6) {
        0 => create(&path, CreateMode::Persistent),
        1 => create(&path, CreateMode::EphemeralSequential),
        2 => Request::Delete { path, version: rng.i32(-2..3) },
        3 => Request::SetData { path, data: Some(Bytes::from_static(b"odd")), version: rng.i32(-2..3) },
        4 => Request::Check { path, version: rng.i32(-2..3) },
        _ => Request::SetAcl { path, acl: Acl::open_unsafe(), version: -1 },
    };
    let request = match rng.u32(..3) {
        0 => Request::Multi((0..rng.usize(..5)).map(|_| simple(rng, path.clone())).collect()),
        _ => simple(rng, path),
    };
    encode_request(rng.i32(..), &request, &mut frame);
    let mut bytes = frame.split_off(4).to_vec();
    match rng.u32(..4) {
        0 => {}
        1 => {
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(..bytes.len());
                bytes[at] = rng.u8(..);
            }
        }
        2 => bytes.truncate(rng.usize(8..=bytes.len().max(8))),
        _ => {
            bytes.truncate(4);
            bytes.extend_from_slice(&OPCODES[rng.usize(..OPCODES.len())].code().to_be_bytes());
            bytes.extend((0..rng.usize(..40)).map(|_| if rng.bool() { 0 } else { rng.u8(..) }));
        }
    }
    let mut framed = BytesMut::from(&u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes()[..]);
    framed.extend_from_slice(&bytes);
    framed.freeze()
}
