//! The client side of a ZooKeeper session as a pure machine: which server to try, handshake, pings, pipelined requests,
//! watches set again after a reconnect. Owns no socket and reads no clock: whoever owns them calls the inputs, and after
//! each input takes outputs with [`Session::poll`] until there are none.

mod connect_string;
mod watches;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

pub use connect_string::{ConnectStringError, parse_connect_string};
use watches::{WatchChange, Watches};

use super::error::ZkError;
use super::frame::{FrameError, encode_connect_request, encode_request, take_frame};
use super::jute::{DecodeError, Reader};
use super::opcode::{OpCode, XID_AUTH, XID_NOTIFICATION, XID_PING, XID_SET_WATCHES};
use super::records::{ConnectRequest, ConnectResponse, EventType, ReplyHeader, WatcherEvent};
use super::request::Request;
use super::response::Response;
use crate::Rng;
use crate::limits::{QUEUED_REQUESTS_PER_SESSION, ZOOKEEPER_FRAME_BYTES, ZOOKEEPER_REQUEST_BYTES};
use crate::time::Millis;

/// The longest an idle client stays silent, whatever the session timeout, milliseconds; as Java's client.
const MAX_PING_INTERVAL_MS: u64 = 10_000;
/// The first retry waits at most this long; it doubles when all servers have failed once more, milliseconds.
const FIRST_BACKOFF_MS: u64 = 50;
/// No retry waits longer, milliseconds; as Java's client.
const MAX_BACKOFF_MS: u64 = 1_000;

/// How a session is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// `host:port` each; at least one.
    pub servers: Vec<String>,
    /// Put before every path sent and taken off every path received; empty or a path without trailing slash.
    pub chroot: String,
    /// The session timeout asked for, milliseconds; the server has the last word.
    pub timeout_ms: u32,
    /// Scheme and credentials of identities to add to every connection.
    pub auth: Vec<(String, Bytes)>,
    /// May the server be one that is cut off from its ensemble?
    pub read_only: bool,
    /// A longer frame from the server breaks the connection (`jute.maxbuffer`).
    pub max_frame_bytes: usize,
    /// A longer request is not sent and answered `BadArguments`: the server would close the connection (`jute.maxbuffer`),
    /// and whoever asks again what was lost would never come further.
    pub max_request_bytes: usize,
}

impl SessionConfig {
    /// A session with the servers and chroot of `connect_string`, and no identities.
    pub fn new(connect_string: &str, timeout_ms: u32) -> Result<SessionConfig, ConnectStringError> {
        let (servers, chroot) = parse_connect_string(connect_string)?;
        Ok(SessionConfig {
            servers,
            chroot,
            timeout_ms,
            auth: Vec::new(),
            read_only: false,
            max_frame_bytes: ZOOKEEPER_FRAME_BYTES,
            max_request_bytes: ZOOKEEPER_REQUEST_BYTES,
        })
    }
}

/// What the owner of the socket is to do, or is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a connection to this `host:port`; then call `on_connected`, or `on_disconnected` if it cannot be had.
    Connect(String),
    /// Write these bytes (one or more whole frames) to the connection.
    Send(Bytes),
    /// Drop the connection, or the attempt. Nothing of it may be fed in any more, not even its end.
    Disconnect,
    /// The session's state changed.
    Event(SessionEvent),
    /// The request submitted with this token is done.
    Reply {
        /// As given to [`Session::submit`].
        token: u64,
        /// The answer, or why there is none. The answer to a multi may hold failures of its operations.
        result: Result<Response, ZkError>,
        /// From the reply header; -1 if no server answered.
        zxid: i64,
    },
    /// A watch fired. Comes before any reply that shows the change.
    Watch(WatchedEvent),
}

/// A change of a watched node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedEvent {
    /// What happened.
    pub kind: EventType,
    /// The node, as the client sees it (without the chroot).
    pub path: String,
    /// Of the change; -1 from servers before 3.9, and when the watch fired as it was set again after a reconnect.
    pub zxid: i64,
}

/// How the session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// A server accepted the session.
    Connected {
        /// The session; another one than before only after a read-only server gave out a provisional one.
        session_id: i64,
        /// Proves that the session is ours.
        password: Bytes,
        /// The session timeout that holds.
        negotiated_timeout_ms: u32,
        /// Is it the session that we had before?
        reconnected: bool,
    },
    /// The connection broke; the session may live on and is taken to the next server.
    Disconnected,
    /// The server says that the session is over. The machine has ended.
    Expired,
    /// Credentials were refused. The machine has ended.
    AuthFailed,
    /// The session was closed, as asked. The machine has ended.
    Closed,
}

/// Why the machine gave up a connection by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// No connection, or no answer to the handshake, in time.
    #[error("no session from the server within {after_ms} ms")]
    ConnectTimeout {
        /// How long it was waited for.
        after_ms: u64,
    },
    /// The server fell silent.
    #[error("nothing heard from the server for {silent_ms} ms")]
    ReadTimeout {
        /// How long nothing came.
        silent_ms: u64,
    },
    /// The length of a frame is impossible.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame is not what it should be.
    #[error("frame from the server: {0}")]
    Decode(#[from] DecodeError),
    /// An answer to another request than the oldest open one.
    #[error("answer to request {found} instead of {expected:?}")]
    Order {
        /// The xid that came.
        found: i32,
        /// The oldest open request, if any.
        expected: Option<i32>,
    },
}

/// Idle -> Connecting -> Handshaking -> Connected -> (lost) Waiting -> Connecting ...; from Connecting and Handshaking a
/// failure leads to Waiting as well. Connected -> Closing -> Ended; expiry, refused credentials and `close` lead to Ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Waiting {
        until: Millis,
    },
    Connecting {
        until: Millis,
    },
    Handshaking {
        until: Millis,
    },
    Connected,
    Closing {
        until: Millis,
    },
    /// With the error that later requests get.
    Ended(ZkError),
}

/// A request on its way to the server and back.
#[derive(Debug)]
struct Sent {
    xid: i32,
    /// `None`: our own closing of the session.
    token: Option<u64>,
    opcode: OpCode,
    watch: Option<WatchChange>,
}

/// The client side of one session.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    rng: Rng,
    state: State,
    trouble: Option<Trouble>,
    /// The server to try next; all are tried in turn.
    next_server: usize,
    /// Connections that failed or broke before a server answered anything but the handshake; sets the backoff.
    failures: u32,
    session_id: i64,
    password: Bytes,
    /// Has the session an id that every server knows? A read-only server's is its own.
    is_established: bool,
    server_is_read_only: bool,
    timeout_ms: u64,
    last_zxid: i64,
    next_xid: i32,
    last_sent: Millis,
    last_heard: Millis,
    input: BytesMut,
    out: BytesMut,
    /// Submitted while there was no connection.
    queued: VecDeque<(u64, Request)>,
    sent: VecDeque<Sent>,
    /// Auth packets under way; those of the configuration have no token.
    auth_sent: VecDeque<Option<u64>>,
    watches: Watches,
    outputs: VecDeque<Output>,
}

impl Session {
    /// A session that does nothing until [`Session::start`]. `rng` shuffles the servers and spreads retries.
    ///
    /// # Panics
    /// If `config` names no server.
    pub fn new(mut config: SessionConfig, mut rng: Rng, now: Millis) -> Session {
        assert!(!config.servers.is_empty(), "a session needs a server to connect to");
        rng.shuffle(&mut config.servers);
        Session {
            timeout_ms: u64::from(config.timeout_ms),
            config,
            rng,
            state: State::Idle,
            trouble: None,
            next_server: 0,
            failures: 0,
            session_id: 0,
            password: Bytes::from_static(&[0; 16]),
            is_established: false,
            server_is_read_only: false,
            last_zxid: 0,
            next_xid: 1,
            last_sent: now,
            last_heard: now,
            input: BytesMut::new(),
            out: BytesMut::new(),
            queued: VecDeque::new(),
            sent: VecDeque::new(),
            auth_sent: VecDeque::new(),
            watches: Watches::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes over a session that another client holds or held. To be called before `start`.
    pub fn resume(&mut self, session_id: i64, password: Bytes) {
        assert!(self.state == State::Idle, "a session can be taken over only before the start");
        self.session_id = session_id;
        self.password = password;
        self.is_established = true;
    }

    /// Begins to connect.
    pub fn start(&mut self, now: Millis) {
        if self.state == State::Idle {
            self.connect(now);
        }
    }

    /// The connection asked for is open.
    pub fn on_connected(&mut self, now: Millis) {
        let State::Connecting { .. } = self.state else { return };
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.last_zxid,
            timeout_ms: i32::try_from(self.config.timeout_ms).unwrap_or(i32::MAX),
            session_id: if self.is_established { self.session_id } else { 0 },
            password: self.password.clone(),
            read_only: Some(self.config.read_only),
        };
        encode_connect_request(&request, &mut self.out);
        self.last_sent = now;
        self.state = State::Handshaking { until: now + self.connect_timeout_ms() };
    }

    /// Bytes arrived: any part of the stream, in its order.
    pub fn on_bytes(&mut self, bytes: Bytes, now: Millis) {
        if !matches!(self.state, State::Handshaking { .. } | State::Connected | State::Closing { .. }) {
            return;
        }
        self.last_heard = now;
        self.input.extend_from_slice(&bytes);
        loop {
            let outcome = match take_frame(&mut self.input, self.config.max_frame_bytes) {
                Ok(None) => return,
                Ok(Some(frame)) => self.on_frame(frame, now),
                Err(error) => Err(error.into()),
            };
            if let Err(trouble) = outcome {
                return self.give_up(trouble, now);
            }
            if let State::Ended(_) = self.state {
                return;
            }
        }
    }

    /// The connection broke, or could not be opened.
    pub fn on_disconnected(&mut self, now: Millis) {
        match self.state {
            State::Idle | State::Waiting { .. } | State::Ended(_) => {}
            State::Connecting { .. } | State::Handshaking { .. } | State::Connected | State::Closing { .. } => {
                self.lose(now);
            }
        }
    }

    /// Time passed; see [`Session::next_deadline`].
    pub fn tick(&mut self, now: Millis) {
        match self.state {
            State::Idle | State::Ended(_) => {}
            State::Waiting { until } => {
                if now >= until {
                    self.connect(now);
                }
            }
            State::Connecting { until } | State::Handshaking { until } => {
                if now >= until {
                    self.give_up(Trouble::ConnectTimeout { after_ms: self.connect_timeout_ms() }, now);
                }
            }
            State::Closing { until } => {
                if now >= until {
                    self.give_up(Trouble::ReadTimeout { silent_ms: now - self.last_heard }, now);
                }
            }
            State::Connected => {
                if now >= self.last_heard + self.read_timeout_ms() {
                    self.give_up(Trouble::ReadTimeout { silent_ms: now - self.last_heard }, now);
                } else if now >= self.last_sent + self.ping_interval_ms() {
                    encode_request(XID_PING, &Request::Ping, &mut self.out);
                    self.last_sent = now;
                }
            }
        }
    }

    /// When [`Session::tick`] must be called at the latest; `None`: not for time's sake.
    pub fn next_deadline(&self) -> Option<Millis> {
        match self.state {
            State::Idle | State::Ended(_) => None,
            State::Waiting { until }
            | State::Connecting { until }
            | State::Handshaking { until }
            | State::Closing { until } => Some(until),
            State::Connected => {
                Some((self.last_heard + self.read_timeout_ms()).min(self.last_sent + self.ping_interval_ms()))
            }
        }
    }

    /// Sends a request, or keeps it until there is a connection. Requests are sent and answered in the order of their
    /// submission. One that was sent when the connection broke is answered `ConnectionLoss` and may have happened; one that
    /// was not yet sent waits on. After the end all are answered at once with `SessionExpired` (or `AuthFailed`).
    ///
    /// `Auth` adds an identity to this and all later connections. `Ping` and `CloseSession` are the machine's own and are
    /// answered `BadArguments`: see [`Session::close`].
    pub fn submit(&mut self, token: u64, mut request: Request, now: Millis) {
        let refused = match self.state {
            State::Ended(error) => Some(error),
            State::Closing { .. } => Some(ZkError::SessionExpired),
            _ if matches!(request, Request::Ping | Request::CloseSession) => Some(ZkError::BadArguments),
            State::Connected => None,
            _ if self.queued.len() >= QUEUED_REQUESTS_PER_SESSION => Some(ZkError::ConnectionLoss),
            _ => None,
        };
        if let Some(error) = refused {
            return self.outputs.push_back(Output::Reply { token, result: Err(error), zxid: -1 });
        }
        if !self.config.chroot.is_empty() && !prepend_chroot(&self.config.chroot, &mut request) {
            let result = Err(ZkError::BadArguments);
            return self.outputs.push_back(Output::Reply { token, result, zxid: -1 });
        }
        if self.state == State::Connected {
            self.send(token, request, now);
        } else {
            self.queued.push_back((token, request));
        }
    }

    /// Closes the session: what was submitted before is still answered, then the session's ephemeral nodes go. Without a
    /// connection the machine ends at once, and the session is left to expire.
    pub fn close(&mut self, now: Millis) {
        match self.state {
            State::Closing { .. } | State::Ended(_) => {}
            State::Connected => {
                self.send_frame(None, &Request::CloseSession, now);
                self.state = State::Closing { until: now + self.read_timeout_ms() };
            }
            State::Connecting { .. } | State::Handshaking { .. } => {
                self.outputs.push_back(Output::Disconnect);
                self.end(ZkError::SessionExpired, SessionEvent::Closed);
            }
            State::Idle | State::Waiting { .. } => self.end(ZkError::SessionExpired, SessionEvent::Closed),
        }
    }

    /// The next thing to do, in order. All frames written since the last call come as one `Send`.
    pub fn poll(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        if self.out.is_empty() { None } else { Some(Output::Send(self.out.split().freeze())) }
    }

    /// Is there a connection with an accepted session?
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// When a server said something last.
    pub fn last_heard(&self) -> Millis {
        self.last_heard
    }

    /// What the server granted, or what will be asked for, in milliseconds.
    pub fn timeout_ms(&self) -> u64 {
        self.timeout_ms
    }

    /// Is the connection to a server that is cut off from its ensemble? Such accept no changes.
    pub fn is_read_only(&self) -> bool {
        self.is_connected() && self.server_is_read_only
    }

    /// Has the machine ended? Then a new session needs a new machine.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    /// The session; 0 before a server gave one.
    pub fn session_id(&self) -> i64 {
        self.session_id
    }

    /// The newest zxid seen in a reply.
    pub fn last_zxid(&self) -> i64 {
        self.last_zxid
    }

    /// Why the machine last gave up a connection by itself; for logs.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    fn connect_timeout_ms(&self) -> u64 {
        let servers = u64::try_from(self.config.servers.len()).unwrap_or(u64::MAX);
        (self.timeout_ms / servers).max(1)
    }

    fn read_timeout_ms(&self) -> u64 {
        (self.timeout_ms * 2 / 3).max(1)
    }

    fn ping_interval_ms(&self) -> u64 {
        (self.timeout_ms / 3).clamp(1, MAX_PING_INTERVAL_MS)
    }

    fn connect(&mut self, now: Millis) {
        let server = self.config.servers[self.next_server].clone();
        self.next_server = (self.next_server + 1) % self.config.servers.len();
        self.outputs.push_back(Output::Connect(server));
        self.state = State::Connecting { until: now + self.connect_timeout_ms() };
    }

    fn give_up(&mut self, trouble: Trouble, now: Millis) {
        self.trouble = Some(trouble);
        self.outputs.push_back(Output::Disconnect);
        self.lose(now);
    }

    /// The connection is gone: what was sent on it is lost, what was not waits for the next.
    fn lose(&mut self, now: Millis) {
        self.input.clear();
        self.out.clear();
        self.fail_sent(ZkError::ConnectionLoss);
        match self.state {
            State::Closing { .. } => return self.end(ZkError::SessionExpired, SessionEvent::Closed),
            State::Connected => self.outputs.push_back(Output::Event(SessionEvent::Disconnected)),
            _ => {}
        }
        let rounds = self.failures / u32::try_from(self.config.servers.len()).unwrap_or(u32::MAX);
        let longest_ms = MAX_BACKOFF_MS.min(FIRST_BACKOFF_MS << rounds.min(10));
        self.failures = self.failures.saturating_add(1);
        self.state = State::Waiting { until: now + self.rng.u64(0..=longest_ms) };
    }

    fn fail_sent(&mut self, error: ZkError) {
        let tokens = self.sent.drain(..).map(|sent| sent.token).chain(self.auth_sent.drain(..));
        for token in tokens.flatten() {
            self.outputs.push_back(Output::Reply { token, result: Err(error), zxid: -1 });
        }
    }

    fn end(&mut self, error: ZkError, event: SessionEvent) {
        self.input.clear();
        self.out.clear();
        self.fail_sent(error);
        for (token, _) in self.queued.drain(..) {
            self.outputs.push_back(Output::Reply { token, result: Err(error), zxid: -1 });
        }
        self.outputs.push_back(Output::Event(event));
        self.watches = Watches::default();
        self.state = State::Ended(error);
    }

    fn send(&mut self, token: u64, request: Request, now: Millis) {
        let Request::Auth { scheme, auth, .. } = &request else { return self.send_frame(Some(token), &request, now) };
        let identity = (scheme.clone(), auth.clone());
        if !self.config.auth.contains(&identity) {
            self.config.auth.push(identity);
        }
        encode_request(XID_AUTH, &request, &mut self.out);
        self.auth_sent.push_back(Some(token));
        self.last_sent = now;
    }

    fn send_frame(&mut self, token: Option<u64>, request: &Request, now: Millis) {
        let xid = self.next_xid;
        let start = self.out.len();
        encode_request(xid, request, &mut self.out);
        if let Some(token) = token
            && self.out.len() - start - size_of::<i32>() > self.config.max_request_bytes
        {
            self.out.truncate(start);
            return self.outputs.push_back(Output::Reply { token, result: Err(ZkError::BadArguments), zxid: -1 });
        }
        // Negative numbers have meanings of their own, so the count starts over.
        self.next_xid = if xid == i32::MAX { 1 } else { xid + 1 };
        self.sent.push_back(Sent { xid, token, opcode: request.opcode(), watch: WatchChange::of(request) });
        self.last_sent = now;
    }

    fn on_frame(&mut self, frame: Bytes, now: Millis) -> Result<(), Trouble> {
        let mut reader = Reader::new(frame);
        if let State::Handshaking { .. } = self.state {
            let response = ConnectResponse::decode(&mut reader)?;
            self.on_handshake(response, now);
            return Ok(());
        }
        self.failures = 0;
        let header = ReplyHeader::decode(&mut reader)?;
        match header.xid {
            XID_PING | XID_SET_WATCHES => Ok(()),
            XID_AUTH => {
                self.on_auth(header);
                Ok(())
            }
            XID_NOTIFICATION => {
                let event = WatcherEvent::decode(&mut reader)?;
                self.on_event(header, event);
                Ok(())
            }
            _ => self.on_reply(header, &mut reader),
        }
    }

    fn on_handshake(&mut self, response: ConnectResponse, now: Millis) {
        let timeout_ms = u32::try_from(response.timeout_ms).unwrap_or(0);
        if timeout_ms == 0 || response.session_id == 0 {
            self.outputs.push_back(Output::Disconnect);
            return self.end(ZkError::SessionExpired, SessionEvent::Expired);
        }
        let reconnected = self.is_established && self.session_id == response.session_id;
        self.session_id = response.session_id;
        self.password = response.password;
        self.server_is_read_only = response.read_only == Some(true);
        self.is_established |= !self.server_is_read_only;
        self.timeout_ms = u64::from(timeout_ms);
        self.state = State::Connected;
        self.outputs.push_back(Output::Event(SessionEvent::Connected {
            session_id: self.session_id,
            password: self.password.clone(),
            negotiated_timeout_ms: timeout_ms,
            reconnected,
        }));
        for (scheme, auth) in &self.config.auth {
            let packet = Request::Auth { auth_type: 0, scheme: scheme.clone(), auth: auth.clone() };
            encode_request(XID_AUTH, &packet, &mut self.out);
            self.auth_sent.push_back(None);
        }
        for request in self.watches.again(self.last_zxid) {
            encode_request(XID_SET_WATCHES, &request, &mut self.out);
        }
        for (token, request) in std::mem::take(&mut self.queued) {
            self.send(token, request, now);
        }
        self.last_sent = now;
    }

    fn on_auth(&mut self, header: ReplyHeader) {
        let outcome = header.outcome();
        if let Some(Some(token)) = self.auth_sent.pop_front() {
            let result = outcome.map(|()| Response::Auth);
            self.outputs.push_back(Output::Reply { token, result, zxid: header.zxid });
        }
        if outcome == Err(ZkError::AuthFailed) {
            self.outputs.push_back(Output::Disconnect);
            self.end(ZkError::AuthFailed, SessionEvent::AuthFailed);
        }
    }

    fn on_event(&mut self, header: ReplyHeader, mut event: WatcherEvent) {
        if event.kind == EventType::None {
            return;
        }
        self.watches.fired(event.kind, &event.path);
        strip_chroot(&self.config.chroot, &mut event.path);
        self.outputs.push_back(Output::Watch(WatchedEvent { kind: event.kind, path: event.path, zxid: header.zxid }));
    }

    fn on_reply(&mut self, header: ReplyHeader, reader: &mut Reader) -> Result<(), Trouble> {
        let expected = self.sent.front().map(|sent| sent.xid);
        if expected != Some(header.xid) {
            return Err(Trouble::Order { found: header.xid, expected });
        }
        let Some(oldest) = self.sent.front() else { return Ok(()) };
        // Read before the request is taken off, so that a bad body leaves it among those that are lost.
        let mut result = match header.outcome() {
            Ok(()) => Ok(Response::decode(oldest.opcode, reader)?),
            Err(error) => Err(error),
        };
        let Some(Sent { token, watch, .. }) = self.sent.pop_front() else { return Ok(()) };
        // Events do not count: one change can fire several, and those that did not arrive must fire after a reconnect.
        if header.zxid > 0 {
            self.last_zxid = header.zxid;
        }
        match (watch, &result) {
            (Some(change), Ok(_)) => self.watches.succeeded(change),
            (Some(change), Err(ZkError::NoNode)) => self.watches.found_no_node(change),
            _ => {}
        }
        let Some(token) = token else {
            self.outputs.push_back(Output::Disconnect);
            self.end(ZkError::SessionExpired, SessionEvent::Closed);
            return Ok(());
        };
        if let Ok(response) = &mut result {
            let chroot = &self.config.chroot;
            response.change_paths(&|path| strip_chroot(chroot, path));
        }
        self.outputs.push_back(Output::Reply { token, result, zxid: header.zxid });
        Ok(())
    }
}

/// False if a path does not start at the root: it would name another node than the one meant, so nobody may send it.
fn prepend_chroot(chroot: &str, request: &mut Request) -> bool {
    let is_absolute = Cell::new(true);
    request.change_paths(&|path| {
        if path == "/" {
            chroot.clone_into(path);
        } else if path.starts_with('/') {
            path.insert_str(0, chroot);
        } else {
            is_absolute.set(false);
        }
    });
    is_absolute.get()
}

/// Paths outside the chroot (such as `/zookeeper/config`, which has none) stay as they are.
fn strip_chroot(chroot: &str, path: &mut String) {
    if chroot.is_empty() {
        return;
    }
    match path.strip_prefix(chroot) {
        Some("") => "/".clone_into(path),
        Some(rest) if rest.starts_with('/') => *path = rest.to_owned(),
        _ => {}
    }
}
