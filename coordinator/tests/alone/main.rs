//! One server that needs no others, in one thread, with clients that speak bytes: what it answers to them, to
//! four-letter words and to the admin server. Time moves only when a case says so.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod operations;

use bytes::{Bytes, BytesMut};
use common::Rng;
use common::time::{Millis, Now, WallMillis};
use common::zk::frame::{encode_connect_request, encode_request, take_frame};
use common::zk::opcode::XID_NOTIFICATION;
use common::zk::records::{Acl, ConnectRequest, ConnectResponse, CreateMode, ReplyHeader, WatcherEvent};
use common::zk::request::CreateRequest;
use common::zk::{Reader, Request, Response, ZkError};
use coordinator::admin::{AdminBody, AdminRequest};
use coordinator::config::Config;
use coordinator::four_letter::word;
use coordinator::node::{Input, Node, Output, TICK_MS};
use coordinator::store::MemoryStore;
use coordinator::tree::watch::ConnectionId;
use std::collections::BTreeMap;
use std::path::Path;

/// What a connection has received.
#[derive(Default)]
struct Line {
    bytes: BytesMut,
    is_closed: bool,
}

/// The server and its connections.
struct Alone {
    node: Node,
    store: MemoryStore,
    now: u64,
    lines: BTreeMap<u64, Line>,
    next: u64,
}

impl Alone {
    /// With these further lines of `zoo.cfg`.
    fn new(settings: &str) -> Alone {
        let text = format!("dataDir=/d\nclientPort=2181\ntickTime=1000\n{settings}");
        let read = |path: &Path| match path.to_str() {
            Some("zoo.cfg") => Ok(text.clone()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        };
        let (config, warnings) = Config::load(Path::new("zoo.cfg"), &read).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        let mut store = MemoryStore::default();
        let now = Now { mono: Millis(0), wall: WallMillis(1_700_000_000_000) };
        let node = Node::new(&config, store.open(), Rng::with_seed(7), now).unwrap();
        let mut alone = Alone { node, store, now: 0, lines: BTreeMap::new(), next: 1 };
        alone.pass(100);
        alone
    }

    fn clock(&self) -> Now {
        Now { mono: Millis(self.now), wall: WallMillis(1_700_000_000_000 + self.now.cast_signed()) }
    }

    /// Lets time pass, tick by tick.
    fn pass(&mut self, millis: u64) {
        for _ in 0..millis / TICK_MS {
            self.now += TICK_MS;
            self.step(Input::Tick);
        }
    }

    fn step(&mut self, input: Input) {
        let mut inputs = vec![input];
        while !inputs.is_empty() {
            let mut out = Vec::new();
            for input in inputs.drain(..) {
                self.node.step(self.clock(), input, &mut out);
            }
            self.node.flush(self.clock(), &mut out);
            for output in out {
                match output {
                    Output::ToClient { connection, bytes, .. } => {
                        self.lines.get_mut(&connection.0).unwrap().bytes.extend_from_slice(&bytes);
                    }
                    Output::CloseClient { connection } => {
                        let line = self.lines.get_mut(&connection.0).unwrap();
                        if !std::mem::replace(&mut line.is_closed, true) {
                            inputs.push(Input::ClientClosed { connection });
                        }
                    }
                    Output::Store(write) => {
                        self.store.write(&write);
                        inputs.extend(write.number.map(|number| Input::Persisted { number }));
                    }
                    other => panic!("a server alone has no use for {other:?}"),
                }
            }
        }
    }

    /// A connection that says nothing yet, from this address.
    fn dial(&mut self, remote: &str) -> u64 {
        let id = self.next;
        self.next += 1;
        self.lines.insert(id, Line::default());
        self.step(Input::ClientConnected { connection: ConnectionId(id), remote: remote.parse().unwrap() });
        id
    }

    fn frames(&mut self, id: u64, write: impl FnOnce(&mut BytesMut)) {
        let mut bytes = BytesMut::new();
        write(&mut bytes);
        self.step(Input::ClientFrames { connection: ConnectionId(id), frames: bytes.freeze() });
    }

    /// A connection with a new session.
    fn client(&mut self) -> u64 {
        let id = self.dial(&format!("10.0.0.{}:1000", self.next));
        let request = ConnectRequest { timeout_ms: 10_000, ..ConnectRequest::default() };
        self.frames(id, |bytes| encode_connect_request(&request, bytes));
        assert!(self.handshake(id).session_id != 0);
        id
    }

    fn handshake(&mut self, id: u64) -> ConnectResponse {
        let frame = self.frame(id).expect("a handshake is answered");
        ConnectResponse::decode(&mut Reader::new(frame)).unwrap()
    }

    fn frame(&mut self, id: u64) -> Option<Bytes> {
        take_frame(&mut self.lines.get_mut(&id).unwrap().bytes, usize::MAX).unwrap()
    }

    /// The answer to a request, and the notifications before it as `kind path`.
    fn ask(&mut self, id: u64, request: Request) -> (Vec<String>, Result<Response, ZkError>) {
        let opcode = request.opcode();
        self.frames(id, |bytes| encode_request(1, &request, bytes));
        let mut events = Vec::new();
        loop {
            let frame = self.frame(id).unwrap_or_else(|| panic!("{request:?} is answered"));
            let mut reader = Reader::new(frame);
            let header = ReplyHeader::decode(&mut reader).unwrap();
            if header.xid == XID_NOTIFICATION {
                let event = WatcherEvent::decode(&mut reader).unwrap();
                events.push(format!("{:?} {}", event.kind, event.path));
                continue;
            }
            let answer = match ZkError::from_code(header.err) {
                ZkError::Ok => Ok(Response::decode(opcode, &mut reader).unwrap()),
                error => Err(error),
            };
            return (events, answer);
        }
    }

    fn create(&mut self, id: u64, path: &str, mode: CreateMode) {
        let request = Request::Create(CreateRequest::new(path, "data", Acl::open_unsafe(), mode));
        self.ask(id, request).1.unwrap();
    }

    /// The answer to a four-letter word.
    fn word(&mut self, text: &str) -> String {
        let id = self.dial("127.0.0.1:5");
        let word = word(text.as_bytes()).expect("a word");
        self.step(Input::FourLetter { connection: ConnectionId(id), word, argument: None });
        let line = self.lines.remove(&id).unwrap();
        assert!(line.is_closed);
        String::from_utf8(line.bytes.to_vec()).unwrap()
    }

    /// The answer to a command of the admin server, `name` or `name?key=value`.
    fn command(&mut self, text: &str) -> serde_json::Value {
        let (name, arguments) = text.split_once('?').unwrap_or((text, ""));
        let arguments = arguments.split('&').filter_map(|pair| pair.split_once('='));
        let arguments = arguments.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let reply = self.node.admin(&AdminRequest::Command { name: name.to_owned(), arguments }, self.clock());
        match reply.body {
            AdminBody::Json(value) => value,
            other @ (AdminBody::Text(_) | AdminBody::Snapshot | AdminBody::Restoring) => panic!("{other:?}"),
        }
    }
}
