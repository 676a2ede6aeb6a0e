//! The session machine: inputs one by one, and after each exactly these outputs.

use bytes::{Bytes, BytesMut};

use super::*;
use crate::zk::frame::{encode_connect_response, encode_reply, encode_watch_event};
use crate::zk::records::{Acl, CreateMode, KeeperState, RequestHeader, Stat, WatcherType};
use crate::zk::request::CreateRequest;

const TIMEOUT_MS: u32 = 9_000;

/// A session under test, and the bytes of the server it talks to.
struct Bench {
    session: Session,
    now: Millis,
}

fn config(connect_string: &str) -> SessionConfig {
    SessionConfig::new(connect_string, TIMEOUT_MS).unwrap()
}

fn bench(config: SessionConfig) -> Bench {
    let now = Millis(1_000);
    let mut bench = Bench { session: Session::new(config, Rng::with_seed(1), now), now };
    bench.check(&[]);
    bench.session.start(now);
    bench
}

/// Connected to one server, with everything up to there taken out.
fn connected(config: SessionConfig) -> Bench {
    let mut bench = bench(config);
    bench.outputs();
    bench.accept(9_000);
    bench.outputs();
    bench
}

impl Bench {
    /// All outputs in words; frames sent are decoded.
    fn outputs(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        let mut handshaking = matches!(self.session.state, State::Handshaking { .. });
        while let Some(output) = self.session.poll() {
            match output {
                Output::Send(bytes) => {
                    let mut stream = BytesMut::from(&bytes[..]);
                    let mut frames = Vec::new();
                    while let Some(frame) = take_frame(&mut stream, 1 << 20).unwrap() {
                        frames.push(sent_frame(frame, std::mem::take(&mut handshaking)));
                    }
                    assert!(stream.is_empty(), "a frame was sent in part");
                    words.push(format!("send {}", frames.join(" + ")));
                }
                Output::Connect(server) => words.push(format!("connect {server}")),
                Output::Disconnect => words.push("disconnect".into()),
                Output::Reply { token, result: Ok(response), zxid } => {
                    words.push(format!("reply {token} {response:?} at {zxid}"));
                }
                Output::Reply { token, result: Err(error), zxid } => {
                    words.push(format!("reply {token} {} at {zxid}", error.name()));
                }
                Output::Watch(event) => words.push(format!("watch {:?} {} at {}", event.kind, event.path, event.zxid)),
                Output::Event(SessionEvent::Connected { session_id, negotiated_timeout_ms, reconnected, .. }) => {
                    words.push(format!("connected {session_id} {negotiated_timeout_ms} ms, again: {reconnected}"));
                }
                Output::Event(event) => words.push(format!("{event:?}")),
            }
        }
        words
    }

    #[track_caller]
    fn check(&mut self, expected: &[&str]) {
        assert_eq!(self.outputs(), expected);
    }

    fn submit(&mut self, token: u64, request: Request) {
        self.session.submit(token, request, self.now);
    }

    fn server_sends(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let mut out = BytesMut::new();
        write(&mut out);
        self.session.on_bytes(out.freeze(), self.now);
    }

    /// The server takes the connection and accepts the session 77 with this timeout (0: says it is over).
    fn accept(&mut self, timeout_ms: i32) {
        self.session.on_connected(self.now);
        self.outputs();
        self.answer_handshake(timeout_ms, if timeout_ms == 0 { 0 } else { 77 });
    }

    fn answer_handshake(&mut self, timeout_ms: i32, session_id: i64) {
        let password = Bytes::from_static(b"0123456789abcdef");
        let response =
            ConnectResponse { protocol_version: 0, timeout_ms, session_id, password, read_only: Some(false) };
        self.server_sends(|out| encode_connect_response(&response, out));
    }

    fn reply(&mut self, xid: i32, zxid: i64, result: Result<Response, ZkError>) {
        let err = result.as_ref().err().map_or(0, |e| e.code());
        self.server_sends(|out| encode_reply(ReplyHeader { xid, zxid, err }, result.as_ref().ok(), out));
    }

    fn event(&mut self, zxid: i64, kind: EventType, path: &str) {
        let event = WatcherEvent { kind, state: KeeperState::SyncConnected, path: path.into() };
        self.server_sends(|out| encode_watch_event(zxid, &event, out));
    }

    fn advance(&mut self, millis: u64) {
        self.now = self.now + millis;
        self.session.tick(self.now);
    }

    /// Lets time jump from deadline to deadline until the next attempt to connect.
    fn until_connect(&mut self) -> String {
        let until = self.session.next_deadline().expect("it is waiting");
        self.advance(until - self.now);
        let outputs = self.outputs();
        assert_eq!(outputs.len(), 1, "{outputs:?}");
        outputs[0].clone()
    }
}

fn sent_frame(frame: Bytes, is_handshake: bool) -> String {
    let mut reader = Reader::new(frame);
    if is_handshake {
        let request = ConnectRequest::decode(&mut reader).unwrap();
        return format!(
            "hello session {} zxid {} timeout {} password {} read-only {:?}",
            request.session_id,
            request.last_zxid_seen,
            request.timeout_ms,
            String::from_utf8_lossy(&request.password).replace('\0', ""),
            request.read_only
        );
    }
    let header = RequestHeader::decode(&mut reader).unwrap();
    let opcode = OpCode::from_code(header.opcode).unwrap();
    let request = Request::decode(opcode, &mut reader).unwrap();
    format!("{} {request:?}", header.xid)
}

fn get(path: &str, watch: bool) -> Request {
    Request::GetData { path: path.into(), watch }
}

fn data(text: &'static str) -> Response {
    Response::GetData { data: Some(Bytes::from_static(text.as_bytes())), stat: Stat::default() }
}

fn delete(path: &str) -> Request {
    Request::Delete { path: path.into(), version: -1 }
}

#[test]
fn the_handshake_asks_for_a_session_and_then_sends_what_waited() {
    let mut b = bench(config("h:1"));
    b.submit(5, delete("/a"));
    b.check(&["connect h:1"]);
    assert_eq!(b.session.next_deadline(), Some(Millis(10_000)));
    b.session.on_connected(b.now);
    b.check(&["send hello session 0 zxid 0 timeout 9000 password  read-only Some(false)"]);
    b.submit(6, delete("/b"));
    b.check(&[]);
    b.answer_handshake(6_000, 77);
    b.check(&[
        "connected 77 6000 ms, again: false",
        r#"send 1 Delete { path: "/a", version: -1 } + 2 Delete { path: "/b", version: -1 }"#,
    ]);
    assert!(b.session.is_connected());
    b.reply(1, 10, Ok(Response::Delete));
    b.reply(2, 10, Err(ZkError::NoNode));
    b.check(&["reply 5 Delete at 10", "reply 6 NoNode at 10"]);
    assert_eq!((b.session.session_id(), b.session.last_zxid()), (77, 10));
}

#[test]
fn an_idle_session_pings_at_a_third_and_a_silent_server_is_left_at_two_thirds() {
    let mut b = connected(config("h:1"));
    assert_eq!(b.session.next_deadline(), Some(b.now + 3_000));
    b.advance(2_999);
    b.check(&[]);
    b.advance(1);
    b.check(&["send -2 Ping"]);
    b.reply(XID_PING, 4, Ok(Response::Ping));
    b.check(&[]);
    assert_eq!(b.session.last_zxid(), 0, "an answer to a ping may come before the events up to its zxid");
    b.advance(1_000);
    b.submit(1, get("/a", false));
    b.check(&[r#"send 1 GetData { path: "/a", watch: false }"#]);
    // Sending is not hearing: the ping waits a third from here, the end comes two thirds after the last byte.
    b.advance(2_999);
    b.check(&[]);
    b.advance(1);
    b.check(&["send -2 Ping"]);
    b.advance(1_999);
    b.check(&[]);
    b.advance(1);
    b.check(&["disconnect", "reply 1 ConnectionLoss at -1", "Disconnected"]);
    assert_eq!(b.session.trouble(), Some(&Trouble::ReadTimeout { silent_ms: 6_000 }));
    assert_eq!(b.until_connect(), "connect h:1");
}

#[test]
fn replies_come_in_order_and_however_the_stream_is_cut() {
    let mut stream = BytesMut::new();
    encode_reply(ReplyHeader { xid: 1, zxid: 7, err: 0 }, Some(&data("one")), &mut stream);
    encode_reply(ReplyHeader { xid: XID_PING, zxid: 7, err: 0 }, None, &mut stream);
    let event = WatcherEvent { kind: EventType::NodeDeleted, state: KeeperState::SyncConnected, path: "/a".into() };
    encode_watch_event(8, &event, &mut stream);
    encode_reply(ReplyHeader { xid: 2, zxid: 8, err: -101 }, None, &mut stream);
    for piece in 1..=stream.len() {
        let mut b = connected(config("h:1"));
        b.submit(10, get("/a", true));
        b.submit(11, get("/a", false));
        assert_eq!(b.outputs().len(), 1, "both go in one buffer");
        for chunk in stream.chunks(piece) {
            b.session.on_bytes(Bytes::copy_from_slice(chunk), b.now);
        }
        let first = format!("reply 10 {:?} at 7", data("one"));
        b.check(&[&first, "watch NodeDeleted /a at 8", "reply 11 NoNode at 8"]);
    }
}

#[test]
fn a_lost_connection_loses_what_was_sent_and_keeps_what_was_not() {
    let mut b = connected(config("h:1"));
    b.submit(1, delete("/a"));
    b.check(&[r#"send 1 Delete { path: "/a", version: -1 }"#]);
    b.submit(2, delete("/b"));
    b.session.on_disconnected(b.now);
    b.submit(3, delete("/c"));
    b.check(&["reply 1 ConnectionLoss at -1", "reply 2 ConnectionLoss at -1", "Disconnected"]);
    assert_eq!(b.until_connect(), "connect h:1");
    b.session.on_connected(b.now);
    b.check(&["send hello session 77 zxid 0 timeout 9000 password 0123456789abcdef read-only Some(false)"]);
    b.answer_handshake(9_000, 77);
    b.check(&["connected 77 9000 ms, again: true", r#"send 3 Delete { path: "/c", version: -1 }"#]);
}

#[test]
fn a_reconnect_brings_identities_and_watches_along() {
    let mut configured = config("h:1");
    configured.auth = vec![("digest".into(), Bytes::from_static(b"u:p"))];
    let mut b = bench(configured);
    b.outputs();
    b.accept(9_000);
    let auth = r#"-4 Auth { auth_type: 0, scheme: "digest", auth: b"u:p" }"#;
    b.check(&["connected 77 9000 ms, again: false", &format!("send {auth}")]);
    b.reply(XID_AUTH, 0, Ok(Response::Auth));
    let exists = |path: &str| Request::Exists { path: path.into(), watch: true };
    let stat = Stat::default();
    let children = Response::GetChildren { children: vec![] };
    for (request, result) in [
        (get("/data", true), Ok(data(""))),
        (get("/gone", true), Err(ZkError::NoNode)),
        (get("/unwatched", false), Ok(data(""))),
        (exists("/there"), Ok(Response::Exists { stat })),
        (exists("/absent"), Err(ZkError::NoNode)),
        (exists("/forbidden"), Err(ZkError::NoAuth)),
        (Request::GetChildren { path: "/dir".into(), watch: true }, Ok(children)),
        (get("/fired", true), Ok(data(""))),
        (exists("/created"), Err(ZkError::NoNode)),
        (get("/removed", true), Ok(data(""))),
        (
            Request::RemoveWatches { path: "/removed".into(), kind: WatcherType::Any.code() },
            Ok(Response::RemoveWatches),
        ),
    ] {
        let xid = b.session.next_xid;
        b.submit(0, request);
        b.reply(xid, 40, result);
    }
    b.event(41, EventType::NodeDataChanged, "/fired");
    b.event(42, EventType::NodeCreated, "/created");
    b.outputs();
    b.session.on_disconnected(b.now);
    b.until_connect_after_loss();
    b.accept(9_000);
    let set = |number: &str, persistent: &str| {
        format!(
            "-8 SetWatches{number}(SetWatches {{ relative_zxid: 40, data: [\"/data\", \"/there\"], exist: [\"/absent\"], \
             child: [\"/dir\"], persistent: {persistent}, persistent_recursive: [] }})"
        )
    };
    b.check(&["connected 77 9000 ms, again: true", &format!("send {auth} + {}", set("", "[]"))]);
    b.reply(XID_AUTH, 40, Ok(Response::Auth));
    b.reply(XID_SET_WATCHES, 40, Ok(Response::SetWatches));
    b.check(&[]);

    let xid = b.session.next_xid;
    b.submit(9, Request::AddWatch { path: "/p".into(), mode: 0 });
    b.reply(xid, 40, Ok(Response::AddWatch));
    b.event(43, EventType::NodeDataChanged, "/p");
    b.outputs();
    b.session.on_disconnected(b.now);
    b.until_connect_after_loss();
    b.accept(9_000);
    b.check(&["connected 77 9000 ms, again: true", &format!("send {auth} + {}", set("2", "[\"/p\"]"))]);
}

impl Bench {
    fn until_connect_after_loss(&mut self) {
        self.check(&["Disconnected"]);
        self.until_connect();
    }
}

#[test]
fn expiry_is_what_the_server_says() {
    let mut b = connected(config("h:1"));
    b.session.on_disconnected(b.now);
    b.submit(8, delete("/a"));
    b.until_connect_after_loss();
    b.accept(0);
    b.check(&["disconnect", "reply 8 SessionExpired at -1", "Expired"]);
    assert!(b.session.has_ended());
    assert_eq!(b.session.next_deadline(), None);
    b.submit(9, delete("/a"));
    b.check(&["reply 9 SessionExpired at -1"]);
    b.session.start(b.now);
    b.session.on_disconnected(b.now);
    b.session.close(b.now);
    b.advance(100_000);
    b.check(&[]);
}

#[test]
fn however_long_no_server_is_found_the_session_is_not_given_up() {
    let mut b = connected(config("h1:1,h2:2,h3:3"));
    b.session.on_disconnected(b.now);
    b.submit(1, delete("/a"));
    b.check(&["Disconnected"]);
    let mut tried = Vec::new();
    for failures in 1..=20 {
        tried.push(b.until_connect());
        let before = b.now;
        b.session.on_disconnected(b.now);
        b.check(&[]);
        // An ensemble that is about to serve is not left alone: the wait doubles when all three have failed once more.
        let longest = MAX_BACKOFF_MS.min(FIRST_BACKOFF_MS << (failures / 3));
        let wait = b.session.next_deadline().unwrap() - before;
        assert!(wait <= longest, "{wait} ms after {failures} failures");
    }
    assert_eq!(tried[..3], tried[3..6]);
    let mut servers = tried[..3].to_vec();
    servers.sort();
    assert_eq!(servers, ["connect h1:1", "connect h2:2", "connect h3:3"]);
    b.until_connect();
    b.accept(9_000);
    b.check(&["connected 77 9000 ms, again: true", r#"send 1 Delete { path: "/a", version: -1 }"#]);
}

#[test]
fn a_server_that_does_not_answer_is_left_for_the_next() {
    let mut b = bench(config("h1:1,h2:2"));
    let first = b.outputs();
    // No connection within the timeout's share of one server.
    b.advance(4_499);
    b.check(&[]);
    b.advance(1);
    b.check(&["disconnect"]);
    assert_eq!(b.session.trouble(), Some(&Trouble::ConnectTimeout { after_ms: 4_500 }));
    let second = b.until_connect();
    assert_ne!(first, [second]);
    // A connection, but no answer to the handshake.
    b.session.on_connected(b.now);
    b.outputs();
    b.advance(4_500);
    b.check(&["disconnect"]);
    assert_eq!(first, [b.until_connect()]);
}

#[test]
fn what_no_server_sends_breaks_the_connection() {
    let reply = |xid: i32, response: &Response| {
        let mut out = BytesMut::new();
        encode_reply(ReplyHeader { xid, zxid: 1, err: 0 }, Some(response), &mut out);
        out.to_vec()
    };
    let decode = |needed, left| Trouble::Decode(DecodeError::Truncated { needed, left });
    let limit = ZOOKEEPER_FRAME_BYTES;
    for (bytes, trouble) in [
        (b"HTTP/1.1 400 Bad Request".to_vec(), Trouble::Frame(FrameError { length: 0x4854_5450, limit })),
        (vec![0xff, 0xff, 0xff, 0xff], Trouble::Frame(FrameError { length: -1, limit })),
        (vec![0, 0, 0, 0], decode(4, 0)),
        (vec![0, 0, 0, 5, 0, 0, 0, 1, 0], decode(8, 1)),
        (reply(2, &Response::Delete), Trouble::Order { found: 2, expected: Some(1) }),
        (reply(1, &Response::Delete), decode(4, 0)),
        (reply(XID_NOTIFICATION, &Response::Delete), decode(4, 0)),
    ] {
        let mut b = connected(config("h:1"));
        b.submit(4, get("/a", true));
        b.outputs();
        b.session.on_bytes(bytes.into(), b.now);
        b.check(&["disconnect", "reply 4 ConnectionLoss at -1", "Disconnected"]);
        assert_eq!(b.session.trouble(), Some(&trouble));
        assert_eq!(b.until_connect(), "connect h:1");
    }
    let mut b = bench(config("h:1"));
    b.session.on_connected(b.now);
    b.outputs();
    b.session.on_bytes(Bytes::from_static(&[0, 0, 0, 2, 1, 1]), b.now);
    b.check(&["disconnect"]);
    b.session.on_bytes(Bytes::from_static(b"of the old connection"), b.now);
    b.check(&[]);
}

#[test]
fn a_reply_to_nothing_breaks_the_connection() {
    let mut b = connected(config("h:1"));
    b.reply(1, 3, Ok(Response::Delete));
    b.check(&["disconnect", "Disconnected"]);
    assert_eq!(b.session.trouble(), Some(&Trouble::Order { found: 1, expected: None }));
}

#[test]
fn a_chroot_is_put_before_paths_and_taken_off_again() {
    let mut b = connected(config("h:1/r"));
    let create = CreateRequest::new("/n", "", Acl::read_unsafe(), CreateMode::Persistent);
    b.submit(1, get("/a", true));
    b.submit(2, Request::GetChildren { path: "/".into(), watch: false });
    b.submit(3, Request::Multi(vec![Request::Create(create), delete("/d")]));
    b.submit(4, delete("relative"));
    let sent = b.outputs();
    assert_eq!(sent[0], "reply 4 BadArguments at -1");
    for path in ["\"/r/a\"", "path: \"/r\"", "\"/r/n\"", "\"/r/d\""] {
        assert!(sent[1].contains(path), "{sent:?} lacks {path}");
    }
    b.reply(1, 5, Ok(data("")));
    b.reply(2, 5, Ok(Response::GetChildren { children: vec!["r".into()] }));
    b.reply(3, 6, Ok(Response::Multi(vec![Ok(Response::Create { path: "/r/n".into() }), Ok(Response::Delete)])));
    b.event(7, EventType::NodeDeleted, "/r/a");
    b.event(8, EventType::NodeChildrenChanged, "/r");
    b.event(9, EventType::NodeDataChanged, "/zookeeper/config");
    b.event(9, EventType::NodeDataChanged, "/rest");
    b.check(&[
        &format!("reply 1 {:?} at 5", data("")),
        r#"reply 2 GetChildren { children: ["r"] } at 5"#,
        r#"reply 3 Multi([Ok(Create { path: "/n" }), Ok(Delete)]) at 6"#,
        "watch NodeDeleted /a at 7",
        "watch NodeChildrenChanged / at 8",
        "watch NodeDataChanged /zookeeper/config at 9",
        "watch NodeDataChanged /rest at 9",
    ]);
    b.session.on_disconnected(b.now);
    b.until_connect_after_loss();
    b.accept(9_000);
    b.check(&["connected 77 9000 ms, again: true"]);
}

#[test]
fn identities_can_be_added_later_and_refused() {
    let mut b = connected(config("h:1"));
    let auth = |name: &'static str| Request::Auth {
        auth_type: 0,
        scheme: "digest".into(),
        auth: Bytes::from_static(name.as_bytes()),
    };
    b.submit(1, auth("a:a"));
    b.submit(2, auth("a:a"));
    b.submit(3, delete("/a"));
    let packet = r#"-4 Auth { auth_type: 0, scheme: "digest", auth: b"a:a" }"#;
    b.check(&[&format!(r#"send {packet} + {packet} + 1 Delete {{ path: "/a", version: -1 }}"#)]);
    b.reply(XID_AUTH, 0, Ok(Response::Auth));
    b.reply(1, 4, Ok(Response::Delete));
    b.check(&["reply 1 Auth at 0", "reply 3 Delete at 4"]);
    b.session.on_disconnected(b.now);
    b.check(&["reply 2 ConnectionLoss at -1", "Disconnected"]);
    b.until_connect();
    b.accept(9_000);
    b.check(&["connected 77 9000 ms, again: true", &format!("send {packet}")]);
    b.submit(4, delete("/b"));
    b.reply(XID_AUTH, 0, Err(ZkError::AuthFailed));
    b.check(&["disconnect", "reply 4 AuthFailed at -1", "AuthFailed"]);
    b.submit(5, delete("/b"));
    b.check(&["reply 5 AuthFailed at -1"]);
}

#[test]
fn closing_lets_earlier_requests_finish() {
    let mut b = connected(config("h:1"));
    b.submit(1, delete("/a"));
    b.session.close(b.now);
    b.submit(2, delete("/b"));
    b.check(&["reply 2 SessionExpired at -1", r#"send 1 Delete { path: "/a", version: -1 } + 2 CloseSession"#]);
    b.reply(1, 4, Ok(Response::Delete));
    b.check(&["reply 1 Delete at 4"]);
    b.reply(2, 5, Ok(Response::CloseSession));
    b.check(&["disconnect", "Closed"]);
    assert!(b.session.has_ended());
}

#[test]
fn closing_ends_without_an_answer_as_well() {
    let close = |b: &mut Bench| {
        b.outputs();
        b.session.close(b.now);
        b.outputs()
    };
    let mut b = connected(config("h:1"));
    assert_eq!(close(&mut b), ["send 1 CloseSession"]);
    b.session.on_disconnected(b.now);
    b.check(&["Closed"]);
    let mut b = connected(config("h:1"));
    assert_eq!(close(&mut b), ["send 1 CloseSession"]);
    b.advance(6_000);
    b.check(&["disconnect", "Closed"]);
    let mut b = bench(config("h:1"));
    b.submit(3, delete("/a"));
    assert_eq!(close(&mut b), ["disconnect", "reply 3 SessionExpired at -1", "Closed"]);
    let mut b = connected(config("h:1"));
    b.session.on_disconnected(b.now);
    assert_eq!(close(&mut b), ["Closed"]);
}

#[test]
fn pings_and_closing_are_not_submitted() {
    let mut b = connected(config("h:1"));
    b.submit(1, Request::Ping);
    b.submit(2, Request::CloseSession);
    b.check(&["reply 1 BadArguments at -1", "reply 2 BadArguments at -1"]);
}

#[test]
fn xids_start_over_before_they_turn_negative() {
    let mut b = connected(config("h:1"));
    b.session.next_xid = i32::MAX;
    b.submit(1, delete("/a"));
    b.submit(2, delete("/a"));
    b.reply(i32::MAX, 1, Ok(Response::Delete));
    b.reply(1, 2, Ok(Response::Delete));
    b.outputs();
    assert!(b.session.is_connected());
}

#[test]
fn what_waits_for_a_connection_is_bounded() {
    let mut b = bench(config("h:1"));
    b.outputs();
    for token in 0..QUEUED_REQUESTS_PER_SESSION as u64 {
        b.submit(token, Request::WhoAmI);
    }
    b.check(&[]);
    b.submit(7, Request::WhoAmI);
    b.check(&["reply 7 ConnectionLoss at -1"]);
}

#[test]
fn a_read_only_servers_session_is_not_taken_elsewhere() {
    let mut configured = config("h:1");
    configured.read_only = true;
    let mut b = bench(configured);
    b.session.on_connected(b.now);
    b.outputs();
    let response = ConnectResponse {
        protocol_version: 0,
        timeout_ms: 9_000,
        session_id: 5,
        password: Bytes::from_static(b"pw"),
        read_only: Some(true),
    };
    b.server_sends(|out| encode_connect_response(&response, out));
    b.check(&["connected 5 9000 ms, again: false"]);
    assert!(b.session.is_read_only());
    b.session.on_disconnected(b.now);
    b.until_connect_after_loss();
    b.session.on_connected(b.now);
    b.check(&["send hello session 0 zxid 0 timeout 9000 password pw read-only Some(true)"]);
}

#[test]
fn a_session_can_be_taken_over() {
    let now = Millis(0);
    let mut session = Session::new(config("h:1"), Rng::with_seed(1), now);
    session.resume(77, Bytes::from_static(b"0123456789abcdef"));
    session.start(now);
    let mut b = Bench { session, now };
    b.check(&["connect h:1"]);
    b.session.on_connected(now);
    b.check(&["send hello session 77 zxid 0 timeout 9000 password 0123456789abcdef read-only Some(false)"]);
    b.answer_handshake(9_000, 77);
    b.check(&["connected 77 9000 ms, again: true"]);
}

#[test]
fn a_request_that_no_server_takes_is_refused_and_the_connection_lives() {
    let mut config = config("a:1");
    config.max_request_bytes = 100;
    let mut bench = bench(config);
    let long = |len: usize| Request::SetData { path: "/x".into(), data: Some(vec![0; len].into()), version: -1 };
    bench.submit(1, long(200));
    bench.outputs();
    bench.accept(9_000);
    assert!(bench.outputs().iter().any(|output| output.contains("BadArguments")), "what waited is refused, too");
    bench.submit(2, long(200));
    bench.submit(3, get("/x", false));
    let outputs = bench.outputs();
    assert_eq!(outputs.len(), 2, "{outputs:?}");
    assert!(outputs[0].contains("BadArguments"), "{outputs:?}");
    assert!(outputs[1].contains("/x"), "{outputs:?}");
    assert!(bench.session.is_connected());
}
