//! A connection driven by its client's frames and a node in small: order of answers, handshakes, watches, SASL. No socket.

use std::collections::BTreeMap;

use bytes::Bytes;
use common::zk::frame::take_frame;
use common::zk::{AddWatchMode, CreateMode, CreateRequest, Reader, SetWatches, WatcherType};

use super::*;
use crate::trace::TraceLimits;
use crate::tree::pending::{Pending, PrepareRequest, PrepareSettings};
use crate::tree::txn::{CreateSession, Txn};
use crate::tree::write::WriteBody;

/// A node in small, leader of itself: connections, a tree, and writes that wait until they are let through.
struct Node {
    tree: Tree,
    watches: Watches,
    settings: ConnectionSettings,
    next_request: u64,
    metrics: Metrics,
    trace: Trace,
    rng: Rng,
    pending: Pending,
    zxid: i64,
    connections: BTreeMap<ConnectionId, Connection>,
    /// Of connections, in order.
    actions: Vec<(ConnectionId, Action)>,
    /// What clients sent and has no answer yet.
    asked: BTreeMap<(ConnectionId, i32), OpCode>,
}

impl Node {
    fn new() -> Node {
        let settings = ConnectionSettings {
            min_timeout_ms: 4_000,
            max_timeout_ms: 40_000,
            acl: AclSettings::default(),
            linearizable_reads: false,
            audit: false,
            sasl: None,
            x509_super_user: None,
        };
        Node {
            tree: Tree::new(),
            watches: Watches::default(),
            settings,
            next_request: 100,
            metrics: Metrics::default(),
            trace: Trace::new(1, TraceLimits { count: 0, slow_ms: 0 }),
            rng: Rng::with_seed(1),
            pending: Pending::new(PrepareSettings::default()),
            zxid: 0,
            connections: BTreeMap::new(),
            actions: Vec::new(),
            asked: BTreeMap::new(),
        }
    }

    /// With this many open connections, numbered from 1 as their sessions.
    fn with_clients(count: u64) -> Node {
        let mut node = Node::new();
        for number in 1..=count {
            let id = node.connect(number, ConnectRequest { timeout_ms: 10_000, ..ConnectRequest::default() });
            node.run();
            node.output(id);
        }
        node
    }

    fn call(&mut self, id: ConnectionId, with: impl FnOnce(&mut Connection, &mut Serving<'_>) -> Vec<Action>) {
        let mut serving = Serving {
            tree: &self.tree,
            watches: &mut self.watches,
            settings: &self.settings,
            next_request: &mut self.next_request,
            now: Now::default(),
            metrics: &mut self.metrics,
            trace: &mut self.trace,
            rng: &mut self.rng,
        };
        let connection = self.connections.get_mut(&id).expect("the test knows its connections");
        self.actions.extend(with(connection, &mut serving).into_iter().map(|action| (id, action)));
    }

    fn connect(&mut self, number: u64, request: ConnectRequest) -> ConnectionId {
        let id = ConnectionId(number);
        self.connections.insert(id, Connection::new(id, IpAddr::from([10, 0, 0, 1])));
        self.call(id, |connection, serving| vec![connection.on_connect(request, serving)]);
        id
    }

    fn send(&mut self, client: u64, xid: i32, request: Request) {
        let id = ConnectionId(client);
        self.asked.insert((id, xid), request.opcode());
        self.call(id, |connection, serving| connection.on_request(xid, Ok(request), serving));
    }

    /// Carries out the oldest action. False if there is none.
    fn step(&mut self) -> bool {
        if self.actions.is_empty() {
            return false;
        }
        match self.actions.remove(0) {
            (id, Action::CreateSession { timeout_ms }) => {
                let session = id.0.cast_signed();
                let body = CreateSession { timeout_ms, password: vec![7; 16] };
                self.write(session, WriteBody::CreateSession(body).into()).expect("a new session");
                self.call(id, |connection, serving| connection.established(session, &[7; 16], serving));
            }
            (id, Action::AttachSession { session, password, .. }) => {
                match self.pending.attach(&self.tree, session, &password, 1) {
                    Ok(_) => self.call(id, |connection, serving| connection.established(session, &password, serving)),
                    Err(_) => self.call(id, |connection, _| vec![connection.refused()]),
                }
            }
            (id, Action::Forward { request, write, .. }) => {
                let result = self.write(self.connections[&id].session(), write);
                self.call(id, |connection, serving| connection.complete(request, &result, serving));
            }
            (id, Action::Sync { request }) => self.call(id, |connection, serving| connection.synced(request, serving)),
            (_, Action::Reconfig { .. } | Action::Close(_)) => {}
        }
        true
    }

    fn run(&mut self) {
        while self.step() {}
    }

    /// Decides and applies; watchers hear of it before anyone else does anything.
    fn write(&mut self, session: i64, write: Write) -> Result<Outcome, Refusal> {
        self.zxid += 1;
        let request = PrepareRequest { server: 1, session, is_local: false, auth: &[], time: 0, write };
        let body = Some(self.pending.prepare(&self.tree, request, self.zxid));
        let applied = self.tree.apply(&Txn { zxid: self.zxid, session, body, ..Txn::default() });
        self.pending.applied(self.zxid);
        for trigger in &applied.events {
            for id in self.watches.fire(trigger) {
                let connection = self.connections.get_mut(&id).expect("watches end with their connection");
                connection.notify(trigger, self.zxid, &self.settings.acl);
            }
        }
        applied.result
    }

    /// What a client got since it was last asked, in words.
    fn output(&mut self, id: ConnectionId) -> Vec<String> {
        let mut bytes = self.connections.get_mut(&id).expect("the test knows its connections").take_output();
        let mut words = Vec::new();
        while let Some(frame) = take_frame(&mut bytes, 1 << 20).expect("our own frames") {
            words.push(self.frame(id, frame));
        }
        words
    }

    fn frame(&mut self, id: ConnectionId, frame: Bytes) -> String {
        let mut reader = Reader::new(frame.clone());
        let header = ReplyHeader::decode(&mut reader).expect("a header");
        let ReplyHeader { xid, zxid, err } = header;
        if xid == XID_NOTIFICATION {
            let event = WatcherEvent::decode(&mut reader).expect("an event");
            return format!("{:?} {} @{zxid}", event.kind, event.path);
        }
        if let Some(opcode) = self.asked.remove(&(id, xid)) {
            if err != 0 {
                return format!("{xid} {}", ZkError::from_code(err).name());
            }
            return match opcode {
                OpCode::Auth => format!("{xid} auth"),
                _ => format!("{xid} {}", word(&Response::decode(opcode, &mut reader).expect("an answer"))),
            };
        }
        let response = ConnectResponse::decode(&mut Reader::new(frame)).expect("a handshake");
        format!("session {:#x} timeout {} {:?}", response.session_id, response.timeout_ms, response.read_only)
    }

    fn check(&mut self, client: u64, want: &[&str]) {
        assert_eq!(self.output(ConnectionId(client)), want, "client {client}");
    }
}

fn word(response: &Response) -> String {
    match response {
        Response::Create { path } | Response::Create2 { path, .. } => path.clone(),
        Response::GetData { data, .. } => String::from_utf8_lossy(data.as_deref().unwrap_or(b"null")).into_owned(),
        Response::Exists { stat } => format!("v{}", stat.version),
        Response::SetData { stat } => format!("v{}", stat.version),
        Response::GetChildren { children } => children.join(","),
        Response::Multi(results) | Response::MultiRead(results) => {
            let words = results.iter().map(|result| result.as_ref().map_or_else(|e| e.name().to_owned(), word));
            words.collect::<Vec<_>>().join(" ")
        }
        other => other.opcode().name().to_owned(),
    }
}

fn create(path: &str) -> Request {
    Request::Create(CreateRequest::new(path, "data", common::zk::Acl::open_unsafe(), CreateMode::Persistent))
}

fn set(path: &str, data: &'static str) -> Request {
    Request::SetData { path: path.into(), data: Some(data.into()), version: -1 }
}

fn get(path: &str) -> Request {
    Request::GetData { path: path.into(), watch: false }
}

fn exists(path: &str, watch: bool) -> Request {
    Request::Exists { path: path.into(), watch }
}

fn delete(path: &str) -> Request {
    Request::Delete { path: path.into(), version: -1 }
}

#[test]
fn handshakes() {
    let check = |request: ConnectRequest, want: &[&str], action: Option<CloseReason>| {
        let mut node = Node::with_clients(1);
        let id = node.connect(2, request.clone());
        while !matches!(node.actions.first(), None | Some((_, Action::Close(_)))) {
            node.step();
        }
        let closed = node.actions.first().map(|(_, action)| action.clone());
        assert_eq!(
            (node.output(id), closed),
            (want.iter().map(|w| (*w).into()).collect(), action.map(Action::Close)),
            "{request:?}"
        );
        assert_eq!(node.connections[&id].is_open(), action.is_none());
    };
    let fresh = ConnectRequest { timeout_ms: 10_000, ..ConnectRequest::default() };
    check(fresh.clone(), &["session 0x2 timeout 10000 None"], None);
    check(ConnectRequest { timeout_ms: 1, ..fresh.clone() }, &["session 0x2 timeout 4000 None"], None);
    check(ConnectRequest { timeout_ms: i32::MAX, ..fresh.clone() }, &["session 0x2 timeout 40000 None"], None);
    check(ConnectRequest { read_only: Some(true), ..fresh.clone() }, &["session 0x2 timeout 10000 Some(false)"], None);
    check(ConnectRequest { last_zxid_seen: 2, ..fresh.clone() }, &[], Some(CloseReason::ZxidAhead));
    let old = ConnectRequest { session_id: 1, password: Bytes::from_static(&[7; 16]), ..fresh.clone() };
    check(old.clone(), &["session 0x1 timeout 10000 None"], None);
    let over = ["session 0x0 timeout 0 None"];
    check(ConnectRequest { password: Bytes::new(), ..old.clone() }, &over, Some(CloseReason::SessionInvalid));
    check(ConnectRequest { session_id: 9, ..old }, &over, Some(CloseReason::SessionInvalid));
}

#[test]
fn requests_sent_with_the_handshake_wait_for_it() {
    let mut node = Node::new();
    let id = node.connect(1, ConnectRequest { timeout_ms: 10_000, ..ConnectRequest::default() });
    node.send(1, XID_AUTH, Request::Auth { auth_type: 0, scheme: "digest".into(), auth: "u:p".into() });
    node.send(1, 1, create("/a"));
    assert!(!node.connections[&id].is_accepting());
    node.check(1, &[]);
    node.run();
    node.check(1, &["session 0x1 timeout 10000 None", "-4 auth", "1 /a"]);
    assert!(node.connections[&id].is_accepting());
}

const XID_AUTH: i32 = common::zk::opcode::XID_AUTH;

#[test]
fn answers_come_in_order_and_reads_see_their_own_writes_only() {
    let mut node = Node::with_clients(1);
    let requests = [create("/a"), get("/a"), set("/a", "one"), get("/a"), Request::Ping, set("/a", "two"), get("/a")];
    for (xid, request) in (1..).zip(requests) {
        node.send(1, xid, request);
    }
    node.check(1, &[]);
    node.step();
    node.check(1, &["1 /a", "2 data"]);
    node.step();
    node.check(1, &["3 v1", "4 one", "5 ping"]);
    node.step();
    node.check(1, &["6 v2", "7 two"]);
    assert_eq!(node.connections[&ConnectionId(1)].outstanding_count(), 0);
}

#[test]
fn an_answer_that_comes_early_waits_for_its_turn() {
    let mut node = Node::with_clients(1);
    node.send(1, 1, Request::Sync { path: "/s".into() });
    node.send(1, 2, create("/a"));
    node.send(1, 3, get("/a"));
    // The write waits too: a read between the two must not see it.
    assert!(matches!(node.actions[..], [(_, Action::Sync { .. })]), "{:?}", node.actions);
    node.check(1, &[]);
    node.step();
    node.check(1, &["1 sync"]);
    node.send(1, 4, Request::Sync { path: "/s".into() });
    let sync = node.actions.pop().expect("just sent");
    node.run();
    node.check(1, &["2 /a", "3 data"]);
    node.actions.push(sync);
    node.run();
    node.check(1, &["4 sync"]);
}

#[test]
fn errors_come_in_their_turn() {
    let mut node = Node::with_clients(1);
    node.send(1, 1, create("/a"));
    node.asked.insert((ConnectionId(1), 2), OpCode::Ping);
    node.call(ConnectionId(1), |c, serving| c.on_request(2, Err(BadRequest::Malformed(OpCode::GetData)), serving));
    node.send(1, 3, create("/a"));
    node.send(1, 4, Request::Multi(vec![create("/b"), create("/a"), create("/c")]));
    node.send(1, 5, exists("/b", false));
    node.check(1, &[]);
    node.run();
    node.check(1, &["1 /a", "2 MarshallingError", "3 NodeExists", "4 Ok NodeExists RuntimeInconsistency", "5 NoNode"]);
    let unreadable = [&1i32.to_be_bytes()[..], &OpCode::GetData.code().to_be_bytes(), &[0, 0, 0, 9]].concat();
    assert_eq!(decode_request(unreadable.into()), Ok((1, Err(BadRequest::Malformed(OpCode::GetData)))));
    let unknown = [7i32.to_be_bytes(), 99i32.to_be_bytes()].concat();
    assert_eq!(decode_request(unknown.into()), Ok((7, Err(BadRequest::Unknown))));
    assert!(decode_request(Bytes::from_static(&[0; 7])).is_err());
}

#[test]
fn notifications_come_before_what_shows_the_change() {
    let mut node = Node::with_clients(2);
    node.send(1, 1, exists("/a", true));
    node.send(1, 2, Request::GetChildren { path: "/".into(), watch: true });
    node.check(1, &["1 NoNode", "2 zookeeper"]);
    node.send(2, 1, create("/a"));
    node.send(1, 3, create("/b"));
    node.send(1, 4, exists("/a", true));
    node.run();
    node.check(1, &["NodeCreated /a @3", "NodeChildrenChanged / @3", "3 /b", "4 v0"]);
    node.send(1, 5, set("/a", "mine"));
    node.run();
    node.check(1, &["NodeDataChanged /a @5", "5 v1"]);
    node.send(1, 6, set("/a", "again"));
    node.run();
    node.check(1, &["6 v2"]);
}

#[test]
fn a_watcher_hears_nothing_of_what_it_may_not_read() {
    let mut node = Node::with_clients(2);
    node.send(1, 1, Request::AddWatch { path: "/".into(), mode: AddWatchMode::PersistentRecursive.code() });
    let closed = common::zk::Acl::new(31, common::zk::Id::new("ip", "1.1.1.1"));
    node.send(2, 1, Request::Create(CreateRequest::new("/secret", "", vec![closed], CreateMode::Persistent)));
    node.send(2, 2, create("/open"));
    node.run();
    node.check(1, &["1 addWatch", "NodeCreated /open @4"]);
}

#[test]
fn watches_missed_while_away_fire_before_the_answer() {
    let mut node = Node::with_clients(1);
    for (xid, path) in (1..).zip(["/same", "/changed", "/same/x", "/late"]) {
        node.send(1, xid, create(path));
    }
    node.send(1, 5, set("/changed", "x"));
    node.run();
    node.output(ConnectionId(1));
    let paths = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    let watches = SetWatches {
        relative_zxid: 5,
        data: paths(&["/same", "/changed", "/gone"]),
        exist: paths(&["/late", "/never"]),
        child: paths(&["/", "/same", "/gone"]),
        persistent: paths(&["/p"]),
        persistent_recursive: paths(&["/r"]),
    };
    node.send(1, -8, Request::SetWatches2(watches));
    node.check(
        1,
        &[
            "NodeDataChanged /changed @-1",
            "NodeDeleted /gone @-1",
            "NodeCreated /late @-1",
            "NodeDeleted /gone @-1",
            "-8 setWatches",
        ],
    );
    for (xid, request) in
        (10..).zip([set("/same", "x"), create("/never"), create("/same/y"), create("/p"), create("/r")])
    {
        node.send(1, xid, request);
    }
    node.run();
    let got = node.output(ConnectionId(1));
    let events: Vec<&str> = got.iter().filter_map(|word| word.strip_prefix("Node")).collect();
    assert_eq!(
        events,
        [
            "DataChanged /same @7",
            "Created /never @8",
            "ChildrenChanged / @8",
            "ChildrenChanged /same @9",
            "Created /p @10",
            "Created /r @11"
        ]
    );
}

#[test]
fn watches_are_checked_and_removed() {
    let mut node = Node::with_clients(1);
    let all = [WatcherType::Data, WatcherType::Children, WatcherType::Persistent, WatcherType::PersistentRecursive];
    node.send(1, 1, exists("/a", true));
    for (xid, kind) in (2..).zip(all) {
        node.send(1, xid, Request::CheckWatches { path: "/a".into(), kind: kind.code() });
    }
    node.send(1, 6, Request::RemoveWatches { path: "/a".into(), kind: WatcherType::Any.code() });
    node.send(1, 7, Request::RemoveWatches { path: "/a".into(), kind: WatcherType::Any.code() });
    node.send(1, 8, Request::RemoveWatches { path: "/a".into(), kind: 77 });
    node.send(1, 9, Request::AddWatch { path: "/a".into(), mode: 77 });
    let want =
        ["1 NoNode", "2 checkWatches", "3 NoWatcher", "4 NoWatcher", "5 NoWatcher", "6 removeWatches", "7 NoWatcher"];
    node.check(1, &[&want[..], &["8 MarshallingError", "9 MarshallingError"]].concat());
}

#[test]
fn linearizable_reads_ask_the_leader_once_for_all_that_wait() {
    let mut node = Node::with_clients(1);
    node.settings.linearizable_reads = true;
    node.send(1, 1, create("/a"));
    for xid in 2..5 {
        node.send(1, xid, get("/a"));
    }
    node.send(1, 5, set("/a", "new"));
    node.send(1, 6, get("/a"));
    node.step();
    node.check(1, &["1 /a"]);
    // The write behind the reads is held back, or they could see it.
    assert!(matches!(node.actions[..], [(_, Action::Sync { .. })]), "{:?}", node.actions);
    node.step();
    node.check(1, &["2 data", "3 data", "4 data"]);
    node.run();
    node.check(1, &["5 v1", "6 new"]);
}

#[test]
fn a_session_ends_by_its_clients_wish() {
    let mut node = Node::with_clients(2);
    let ephemeral = CreateRequest::new("/e", "", common::zk::Acl::open_unsafe(), CreateMode::Ephemeral);
    node.send(1, 1, Request::Create(ephemeral));
    node.run();
    node.send(2, 1, exists("/e", true));
    node.send(1, 2, Request::GetEphemerals { prefix: "/".into() });
    node.send(1, 3, Request::CloseSession);
    node.send(1, 4, get("/e"));
    node.step();
    node.check(1, &["1 /e", "2 getEphemerals", "3 closeSession"]);
    assert_eq!(node.actions, [(ConnectionId(1), Action::Close(CloseReason::SessionClosed))]);
    node.send(1, 5, get("/e"));
    node.check(1, &[]);
    node.check(2, &["1 v0", "NodeDeleted /e @4"]);
}

#[test]
fn a_moved_session_gets_no_answer_here() {
    for request in [delete("/a"), Request::Multi(vec![delete("/a"), create("/b")])] {
        let mut node = Node::with_clients(1);
        node.pending.attach(&node.tree, 1, &[7; 16], 2).expect("the password is right");
        node.send(1, 1, request);
        node.send(1, 2, get("/a"));
        node.step();
        node.check(1, &[]);
        assert_eq!(node.actions, [(ConnectionId(1), Action::Close(CloseReason::SessionMoved))]);
    }
}

#[test]
fn identities() {
    let mut node = Node::with_clients(1);
    let auth =
        |scheme: &str, proof: &'static str| Request::Auth { auth_type: 0, scheme: scheme.into(), auth: proof.into() };
    node.send(1, 1, create("/w"));
    // Answered at once, past the write.
    node.send(1, XID_AUTH, auth("digest", "bob:secret"));
    node.check(1, &["-4 auth"]);
    node.run();
    let words: Vec<&str> = node.connections[&ConnectionId(1)].auth().iter().map(|id| id.user()).collect();
    assert_eq!(words, ["10.0.0.1", "bob"]);
    node.check(1, &["1 /w"]);
    node.send(1, XID_AUTH, auth("nosuch", "x"));
    node.check(1, &["-4 AuthFailed"]);
    assert_eq!(node.actions, [(ConnectionId(1), Action::Close(CloseReason::AuthFailed))]);
}

#[test]
fn a_connection_takes_only_so_many_requests() {
    let mut node = Node::with_clients(1);
    let id = ConnectionId(1);
    for xid in 0..ZK_OUTSTANDING_PER_CONNECTION {
        assert!(node.connections[&id].is_accepting());
        node.send(1, xid as i32, set("/", "x"));
    }
    assert!(!node.connections[&id].is_accepting());
    node.step();
    assert!(node.connections[&id].is_accepting());
    let mut early = Connection::new(id, IpAddr::from([1, 1, 1, 1]));
    let serving = &mut Serving {
        tree: &node.tree,
        watches: &mut node.watches,
        settings: &node.settings,
        now: Now::default(),
        metrics: &mut Metrics::default(),
        trace: &mut node.trace,
        rng: &mut Rng::with_seed(1),
        next_request: &mut node.next_request,
    };
    assert_eq!(early.on_request(1, Ok(Request::Ping), serving), [Action::Close(CloseReason::Protocol)]);
}
