//! One client connection as a pure object: handshake, the order of requests and answers, identities, notifications.
//! It reads the tree for its client and says what must go to the leader; it owns no socket and changes no tree.
//!
//! The order that clients rely on: answers come in the order of the requests, a read sees the session's own earlier
//! writes and none of its later ones, and a notification comes before any answer that shows the change. For this the
//! node calls, transaction by transaction: [`Connection::notify`] for who watches, [`Connection::complete`] for who
//! waits (which also carries out the reads behind it), and only then applies the next.

mod counters;
mod request;

pub use counters::Counters;
pub use request::{BadRequest, decode_request};

use std::collections::VecDeque;
use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use common::Rng;
use common::limits::{ZK_OUTPUT_BYTES_PER_CONNECTION, ZK_OUTSTANDING_PER_CONNECTION};
use common::time::{Millis, Now};
use common::zk::frame::{encode_connect_response, encode_reply, encode_watch_event};
use common::zk::opcode::XID_NOTIFICATION;
use common::zk::{
    ConnectRequest, ConnectResponse, EventType, KeeperState, OpCode, ReconfigRequest, ReplyHeader, Request, Response,
    WatcherEvent, ZkError,
};

use crate::audit::{Entry, Who};
use crate::metrics::Metrics;
use crate::ops::sasl::{Exchange, Users};
use crate::ops::{self, Class, ReadContext, ReplyShape};
use crate::trace::{Asked, Trace};
use crate::tree::Tree;
use crate::tree::acl::{self, AclSettings, AuthId};
use crate::tree::txn::{EventKind, Outcome, Refusal, WatchTrigger};
use crate::tree::watch::{ConnectionId, Watches};
use crate::tree::write::Write;

/// The zxid in the header of a notification of something missed: the change's own is not known any more.
const NO_ZXID: i64 = -1;

/// What the configuration says about SASL.
#[derive(Clone, Debug)]
pub struct SaslSettings {
    /// Who may prove himself.
    pub users: Users,
    /// Whether a client that fails may go on without (`allowSaslFailedClients`).
    pub allows_failure: bool,
    /// The user who may do everything (`superUser`).
    pub super_user: Option<String>,
}

/// What the configuration says about connections.
#[derive(Clone, Debug)]
pub struct ConnectionSettings {
    /// Shortest session timeout granted, in milliseconds (`minSessionTimeout`, 2 ticks).
    pub min_timeout_ms: i32,
    /// Longest session timeout granted, in milliseconds (`maxSessionTimeout`, 20 ticks).
    pub max_timeout_ms: i32,
    /// Schemes and the super user.
    pub acl: AclSettings,
    /// Whether each read first asks the leader how far it must have come. Slower, and never stale.
    pub linearizable_reads: bool,
    /// Whether changes are told to the audit log (`audit.enable`).
    pub audit: bool,
    /// SASL, if it is configured.
    pub sasl: Option<SaslSettings>,
    /// Whose certificate makes a client the super user (`X509AuthenticationProvider.superUser`).
    pub x509_super_user: Option<String>,
}

/// What a connection works with while it is called.
#[derive(Debug)]
pub struct Serving<'a> {
    /// The applied tree.
    pub tree: &'a Tree,
    /// This server's watches.
    pub watches: &'a mut Watches,
    /// Configuration.
    pub settings: &'a ConnectionSettings,
    /// When it is.
    pub now: Now,
    /// What this server counts.
    pub metrics: &'a mut Metrics,
    /// What becomes of requests.
    pub trace: &'a mut Trace,
    /// For nonces.
    pub rng: &'a mut Rng,
    /// The next free request number of this server. Numbers are never used twice, not after a restart either: a
    /// transaction of an earlier life must not answer a request of this one.
    pub next_request: &'a mut u64,
}

impl Serving<'_> {
    fn take_number(&mut self) -> u64 {
        let number = *self.next_request;
        *self.next_request += 1;
        number
    }
}

/// Why a connection ends by our wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The client has seen changes that this server has not: it must go to another one.
    #[error("the client has seen a newer zxid")]
    ZxidAhead,
    /// The client closed its session.
    #[error("the session was closed")]
    SessionClosed,
    /// The session is over, or the password was wrong.
    #[error("the session is not valid")]
    SessionInvalid,
    /// The session lives on another server now.
    #[error("the session moved")]
    SessionMoved,
    /// The client could not prove who it is.
    #[error("authentication failed")]
    AuthFailed,
    /// The outcome of a request in flight cannot be known any more (the leader was lost): the client must ask again.
    #[error("the outcome of a request is not known")]
    OutcomeUnknown,
    /// Only a server with a majority can serve the client.
    #[error("the server is read-only")]
    ReadOnly,
    /// This server goes away.
    #[error("the server shuts down")]
    Shutdown,
    /// The client does not keep to the protocol.
    #[error("the client broke the protocol")]
    Protocol,
}

/// What the node has to do for a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Choose id and password of a new session, have it created, then call [`Connection::established`].
    CreateSession {
        /// The negotiated timeout.
        timeout_ms: i32,
    },
    /// Have the leader attach an old session to this server, then call [`Connection::established`] (no sooner than
    /// this server has applied all that the leader had) or [`Connection::refused`].
    AttachSession {
        /// The session.
        session: i64,
        /// What the client shows for it.
        password: Bytes,
        /// The timeout negotiated now; the leader's clock goes by it.
        timeout_ms: i32,
    },
    /// Hand the write to the leader. Writes of one connection must keep their order. When it is applied, or surely
    /// never will be, call [`Connection::complete`].
    Forward {
        /// The number under which the answer will come.
        request: u64,
        /// The client's number.
        cxid: i32,
        /// What to write.
        write: Write,
    },
    /// Find out how far the leader has committed, and call [`Connection::synced`] when this server has applied that.
    Sync {
        /// The number under which the answer will come.
        request: u64,
    },
    /// Change the membership; call [`Connection::complete`] with the change of the configuration's znode, or why not.
    Reconfig {
        /// The number under which the answer will come.
        request: u64,
        /// The client's number.
        cxid: i32,
        /// What the client asks for.
        change: ReconfigRequest,
    },
    /// Send what is left to send, then close.
    Close(CloseReason),
}

/// Handshake -> Establishing -> Open -> Closing; any -> Closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing has come yet.
    Handshake,
    /// The session is being created or attached. Requests that come already wait.
    Establishing,
    /// Requests are served.
    Open,
    /// Nothing is served any more.
    Closing,
}

/// A request that has no answer yet, in its place.
#[derive(Debug)]
struct Slot {
    xid: i32,
    opcode: Option<OpCode>,
    /// When it came.
    since: Millis,
    /// The same in microseconds; see [`crate::trace`].
    received_us: u64,
    /// What the audit log will say of it.
    audit: Option<Box<Entry>>,
    work: Work,
}

#[derive(Debug)]
enum Work {
    /// To be read when it is its turn; if reads are linearizable, after this sync.
    Read { request: Request, after: Option<u64> },
    /// A write that must not happen before what is in front of it has looked at the tree.
    Held(Request),
    /// With the leader.
    Write { number: u64, shape: ReplyShape },
    /// Waits for the leader's position.
    Sync { number: u64, path: String },
    /// The answer is known and waits for its turn.
    Answered(Result<Response, ZkError>),
}

impl Work {
    fn holds(&self, settings: &ConnectionSettings) -> bool {
        match self {
            Work::Sync { .. } => true,
            Work::Read { .. } => settings.linearizable_reads,
            Work::Held(_) | Work::Write { .. } | Work::Answered(_) => false,
        }
    }
}

/// One client connection.
#[derive(Debug)]
pub struct Connection {
    id: ConnectionId,
    remote: IpAddr,
    state: State,
    session: i64,
    timeout_ms: i32,
    /// Whether the client knows the read-only byte of the handshake.
    knows_read_only: bool,
    auth: Vec<AuthId>,
    is_secure: bool,
    /// The server has no majority: the client only reads.
    is_read_only: bool,
    /// No other server knows the session.
    is_local: bool,
    sasl: Exchange,
    /// Requests that came before the session was established.
    early: VecDeque<(i32, Result<Request, BadRequest>)>,
    queue: VecDeque<Slot>,
    /// How many in the queue hold back the writes behind them: those that wait for the leader's position, during which
    /// a later write could come to pass.
    holding_count: usize,
    /// How many in the queue are held back.
    held_count: usize,
    /// The newest of this connection's syncs that is done.
    synced: Option<u64>,
    output: BytesMut,
    counters: Counters,
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(id: ConnectionId, remote: IpAddr) -> Connection {
        Connection {
            id,
            remote,
            state: State::Handshake,
            session: 0,
            timeout_ms: 0,
            knows_read_only: false,
            auth: vec![AuthId::ip(remote)],
            is_secure: false,
            is_read_only: false,
            is_local: false,
            sasl: Exchange::default(),
            early: VecDeque::new(),
            queue: VecDeque::new(),
            holding_count: 0,
            held_count: 0,
            synced: None,
            output: BytesMut::new(),
            counters: Counters::default(),
        }
    }

    /// Its number.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// The client's address.
    pub fn remote(&self) -> IpAddr {
        self.remote
    }

    /// The session, 0 before there is one.
    pub fn session(&self) -> i64 {
        self.session
    }

    /// The negotiated timeout in milliseconds, 0 before there is one.
    pub fn timeout_ms(&self) -> i32 {
        self.timeout_ms
    }

    /// Who the client has shown to be.
    pub fn auth(&self) -> &[AuthId] {
        &self.auth
    }

    /// What is shown of it.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Sets what is counted back to nothing.
    pub fn reset_counters(&mut self) {
        self.counters.reset();
    }

    /// Bytes made and not taken yet.
    pub fn output_len(&self) -> usize {
        self.output.len()
    }

    /// Requests that came and are not answered.
    pub fn outstanding_count(&self) -> usize {
        self.queue.len() + self.early.len()
    }

    /// Whether its session is established and not being closed.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether more may be read from the socket now. What was read already may still be handed in.
    pub fn is_accepting(&self) -> bool {
        match self.state {
            State::Handshake => true,
            State::Establishing | State::Closing => false,
            State::Open => {
                self.queue.len() < ZK_OUTSTANDING_PER_CONNECTION && self.output.len() < ZK_OUTPUT_BYTES_PER_CONNECTION
            }
        }
    }

    /// Frames to send, in order.
    pub fn take_output(&mut self) -> BytesMut {
        self.output.split()
    }

    /// The client came over TLS, and `subject` is the name in its certificate, if it showed one.
    pub fn secured(&mut self, subject: Option<String>, settings: &ConnectionSettings) {
        self.is_secure = true;
        let Some(subject) = subject.filter(|_| settings.acl.x509) else { return };
        if settings.x509_super_user.as_ref() == Some(&subject) {
            self.auth.push(AuthId { scheme: "super".into(), id: subject.clone() });
        }
        self.auth.push(AuthId { scheme: "x509".into(), id: subject });
    }

    /// Whether the client came over TLS.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// The server is without a majority: whatever comes of the handshake says so.
    pub fn be_read_only(&mut self) {
        self.is_read_only = true;
    }

    /// Its session is known to this server alone.
    pub fn be_local(&mut self) {
        self.is_local = true;
    }

    /// Its session has become one of the ensemble.
    pub fn be_global(&mut self) {
        self.is_local = false;
    }

    /// Whether its session is known to this server alone.
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// The first frame: a new session, an old one, or a refusal.
    pub fn on_connect(&mut self, request: ConnectRequest, serving: &Serving<'_>) -> Action {
        if self.state != State::Handshake {
            return self.close(CloseReason::Protocol);
        }
        self.counters.received += 1;
        let zxid = serving.tree.zxid();
        if request.last_zxid_seen > zxid {
            tracing::info!(
                session = format_args!("{:#x}", request.session_id),
                seen = request.last_zxid_seen,
                zxid,
                "client has seen a newer zxid and must go to another server"
            );
            return self.close(CloseReason::ZxidAhead);
        }
        let settings = serving.settings;
        self.timeout_ms = request.timeout_ms.max(settings.min_timeout_ms).min(settings.max_timeout_ms);
        self.knows_read_only = request.read_only.is_some();
        self.state = State::Establishing;
        let timeout_ms = self.timeout_ms;
        match request.session_id {
            0 => Action::CreateSession { timeout_ms },
            session => {
                self.session = session;
                Action::AttachSession { session, password: request.password, timeout_ms }
            }
        }
    }

    /// The session is there: the client hears so, and what it sent already is served.
    pub fn established(&mut self, session: i64, password: &[u8], serving: &mut Serving<'_>) -> Vec<Action> {
        if self.state != State::Establishing {
            return Vec::new();
        }
        self.state = State::Open;
        self.session = session;
        self.counters.established = serving.now.wall;
        self.answer_handshake(self.timeout_ms, session, Bytes::copy_from_slice(password));
        let mut actions = Vec::new();
        for (xid, request) in std::mem::take(&mut self.early) {
            actions.append(&mut self.on_request(xid, request, serving));
        }
        actions
    }

    /// The session is over or was never the client's.
    pub fn refused(&mut self) -> Action {
        self.answer_handshake(0, 0, Bytes::from_static(&[0; 16]));
        self.close(CloseReason::SessionInvalid)
    }

    fn answer_handshake(&mut self, timeout_ms: i32, session_id: i64, password: Bytes) {
        let read_only = self.knows_read_only.then_some(self.is_read_only);
        let response = ConnectResponse { protocol_version: 0, timeout_ms, session_id, password, read_only };
        encode_connect_response(&response, &mut self.output);
        self.counters.sent += 1;
    }

    /// A frame after the first, as [`decode_request`] gives it.
    pub fn on_request(
        &mut self,
        xid: i32,
        request: Result<Request, BadRequest>,
        serving: &mut Serving<'_>,
    ) -> Vec<Action> {
        match self.state {
            State::Open => {}
            State::Handshake => return vec![self.close(CloseReason::Protocol)],
            State::Closing => return Vec::new(),
            State::Establishing if self.early.len() < ZK_OUTSTANDING_PER_CONNECTION => {
                self.early.push_back((xid, request));
                return Vec::new();
            }
            State::Establishing => return vec![self.close(CloseReason::Protocol)],
        }
        self.counters.received += 1;
        let mut actions = Vec::new();
        let opcode = match &request {
            Ok(request) => Some(request.opcode()),
            Err(BadRequest::Malformed(opcode) | BadRequest::MalformedWrite(opcode)) => Some(*opcode),
            Err(BadRequest::Unknown) => None,
        };
        let audited = request.as_ref().ok().filter(|_| serving.settings.audit);
        let audit = audited.and_then(Entry::of).map(Box::new);
        let work = match request {
            _ if self.is_read_only && opcode.is_some_and(needs_majority) => Work::Answered(Err(ZkError::NotReadOnly)),
            Ok(Request::CloseSession) if self.is_local => Work::Answered(Ok(Response::CloseSession)),
            Err(BadRequest::MalformedWrite(_)) => begin_malformed(xid, serving, &mut actions),
            // ZooKeeper closes the connection of who sends no token, without an answer.
            Err(BadRequest::Malformed(OpCode::Sasl)) | Ok(Request::Sasl { token: None }) => {
                return vec![self.close(CloseReason::Protocol)];
            }
            Err(BadRequest::Malformed(_)) => Work::Answered(Err(ZkError::MarshallingError)),
            Err(BadRequest::Unknown) => Work::Answered(Err(ZkError::Unimplemented)),
            Ok(Request::Sasl { token: Some(token) }) if serving.settings.sasl.is_some() => {
                return self.on_sasl(xid, &token, serving);
            }
            Ok(Request::Auth { scheme, auth, .. }) => return self.on_auth(xid, &scheme, &auth, serving),
            Ok(request) => {
                let is_write = matches!(ops::class(request.opcode()), Class::Write | Class::Reconfig);
                if is_write && self.holding_count > 0 {
                    self.held_count += 1;
                    Work::Held(request)
                } else {
                    begin(xid, request, serving, &mut actions)
                }
            }
        };
        self.holding_count += usize::from(work.holds(serving.settings));
        let received_us = serving.trace.received_us();
        self.queue.push_back(Slot { xid, opcode, since: serving.now.mono, received_us, audit, work });
        self.advance(serving, &mut actions);
        actions
    }

    /// An auth packet is answered at once, past whatever waits, and counts from now on.
    fn on_auth(&mut self, xid: i32, scheme: &str, proof: &[u8], serving: &mut Serving<'_>) -> Vec<Action> {
        let proved = ops::authenticate(&serving.settings.acl, self.remote, scheme, proof);
        let err = proved.as_ref().err().map_or(0, |error| error.code());
        encode_reply(ReplyHeader { xid, zxid: 0, err }, None, &mut self.output);
        self.counters.sent += 1;
        match proved {
            Ok(ids) => {
                for id in ids {
                    if !self.auth.contains(&id) {
                        self.auth.push(id);
                    }
                }
                Vec::new()
            }
            Err(_) => {
                serving.metrics.auth_failed += 1;
                vec![self.close(CloseReason::AuthFailed)]
            }
        }
    }

    /// A step of a SASL exchange, answered at once as an auth packet is.
    fn on_sasl(&mut self, xid: i32, token: &[u8], serving: &mut Serving<'_>) -> Vec<Action> {
        let Some(settings) = &serving.settings.sasl else { return Vec::new() };
        let rng = &mut *serving.rng;
        let nonce = || format!("{:032x}", rng.u128(..));
        let (err, answer, is_over) = match self.sasl.step(&settings.users, token, nonce) {
            Ok((answer, user)) => {
                if let Some(user) = user {
                    self.proved(user, settings.super_user.as_deref());
                }
                (ZkError::Ok, Some(Bytes::from(answer)), false)
            }
            Err(error) => {
                serving.metrics.auth_failed += 1;
                tracing::warn!(remote = %self.remote, %error, "a client failed to authenticate");
                match settings.allows_failure {
                    true => (ZkError::Ok, None, false),
                    false => (ZkError::AuthFailed, None, true),
                }
            }
        };
        let header = ReplyHeader { xid, zxid: 0, err: err.code() };
        encode_reply(header, Some(&Response::Sasl { token: answer }), &mut self.output);
        self.counters.sent += 1;
        if is_over { vec![self.close(CloseReason::AuthFailed)] } else { Vec::new() }
    }

    fn proved(&mut self, user: String, super_user: Option<&str>) {
        if super_user == Some(user.as_str()) {
            self.auth.push(AuthId { scheme: "super".into(), id: String::new() });
        }
        let id = AuthId { scheme: "sasl".into(), id: user };
        if !self.auth.contains(&id) {
            self.auth.push(id);
        }
    }

    /// A write of this connection was applied, or surely never will be. Answers it when it is its turn, and carries out
    /// the reads that waited behind it.
    pub fn complete(
        &mut self,
        request: u64,
        result: &Result<Outcome, Refusal>,
        serving: &mut Serving<'_>,
    ) -> Vec<Action> {
        let waiting = |slot: &&mut Slot| matches!(slot.work, Work::Write { number, .. } if number == request);
        let Some(slot) = self.queue.iter_mut().find(waiting) else { return Vec::new() };
        if let Work::Write { shape, .. } = &slot.work {
            slot.work = Work::Answered(ops::reply(shape, result, serving.tree));
        }
        let mut actions = Vec::new();
        self.advance(serving, &mut actions);
        actions
    }

    /// This server has caught up with what the leader had when the sync was asked for.
    pub fn synced(&mut self, request: u64, serving: &mut Serving<'_>) -> Vec<Action> {
        self.synced = self.synced.max(Some(request));
        for slot in &mut self.queue {
            if let Work::Sync { number, path } = &mut slot.work
                && *number == request
            {
                slot.work = Work::Answered(Ok(ops::synced(std::mem::take(path))));
                self.holding_count -= 1;
            }
        }
        let mut actions = Vec::new();
        self.advance(serving, &mut actions);
        actions
    }

    /// A change that this connection watches. It is told unless it may not read the znode.
    pub fn notify(&mut self, trigger: &WatchTrigger, zxid: i64, settings: &AclSettings) {
        if self.state == State::Open && acl::permits(settings, &trigger.acl, acl::READ, &self.auth) {
            self.tell(trigger.kind, trigger.path.clone(), zxid);
        }
    }

    fn tell(&mut self, kind: EventKind, path: String, zxid: i64) {
        let kind = match kind {
            EventKind::Created => EventType::NodeCreated,
            EventKind::Deleted => EventType::NodeDeleted,
            EventKind::DataChanged => EventType::NodeDataChanged,
            EventKind::ChildrenChanged => EventType::NodeChildrenChanged,
        };
        let event = WatcherEvent { kind, state: KeeperState::SyncConnected, path };
        encode_watch_event(zxid, &event, &mut self.output);
        self.counters.sent += 1;
        self.counters.last_cxid = XID_NOTIFICATION;
    }

    /// Ends the connection by our wish. What is in the output is still sent.
    pub fn close(&mut self, reason: CloseReason) -> Action {
        self.state = State::Closing;
        self.queue.clear();
        (self.holding_count, self.held_count) = (0, 0);
        self.early.clear();
        Action::Close(reason)
    }

    /// Answers from the front of the queue for as long as nothing there has to wait.
    fn advance(&mut self, serving: &mut Serving<'_>, actions: &mut Vec<Action>) {
        while self.state == State::Open {
            let linearizable = serving.settings.linearizable_reads && !self.is_read_only;
            match self.queue.front().map(|slot| &slot.work) {
                None | Some(Work::Write { .. } | Work::Sync { .. }) => break,
                Some(Work::Read { after: None, .. }) if linearizable => {
                    let number = serving.take_number();
                    self.put_reads_after(number);
                    actions.push(Action::Sync { request: number });
                    break;
                }
                Some(Work::Read { after, .. }) if *after > self.synced => break,
                Some(Work::Held(_)) => {
                    self.release(serving, actions);
                    continue;
                }
                Some(Work::Read { .. } | Work::Answered(_)) => {}
            }
            let Some(Slot { xid, opcode, since, received_us, audit, work }) = self.queue.pop_front() else { break };
            self.holding_count -= usize::from(work.holds(serving.settings));
            let asked = opcode.map(|operation| Asked { session: self.session, xid, operation, received_us });
            let result = match work {
                Work::Read { request, .. } => {
                    let result = self.read(&request, serving);
                    if let Some(asked) = asked.filter(|asked| asked.operation != OpCode::GetRequests) {
                        serving.trace.read(asked, request.path().unwrap_or_default());
                    }
                    result
                }
                Work::Answered(result) => {
                    note_answer(asked, &result, serving.trace);
                    result
                }
                Work::Held(_) | Work::Write { .. } | Work::Sync { .. } => unreachable!("these stay in the queue above"),
            };
            self.time(opcode, serving.now.mono - since, serving);
            if let Some(entry) = audit {
                let who = Who { session: self.session, auth: &self.auth, remote: self.remote };
                entry.lines(who, &result).iter().for_each(|line| tracing::info!(target: "audit", "{line}"));
            }
            actions.extend(self.answer(xid, opcode, result, serving));
        }
        self.release(serving, actions);
    }

    /// Starts the writes that nothing holds back any more.
    fn release(&mut self, serving: &mut Serving<'_>, actions: &mut Vec<Action>) {
        for slot in &mut self.queue {
            if self.held_count == 0 || slot.work.holds(serving.settings) {
                return;
            }
            if let Work::Held(_) = slot.work
                && let Work::Held(request) = std::mem::replace(&mut slot.work, Work::Answered(Ok(Response::Ping)))
            {
                slot.work = begin(slot.xid, request, serving, actions);
                self.held_count -= 1;
            }
        }
    }

    /// One sync serves all reads that are here when it is asked for, up to the next write.
    fn put_reads_after(&mut self, number: u64) {
        for slot in &mut self.queue {
            match &mut slot.work {
                Work::Read { after, .. } => *after = Some(number),
                Work::Held(_) | Work::Write { .. } | Work::Sync { .. } | Work::Answered(_) => return,
            }
        }
    }

    fn read(&mut self, request: &Request, serving: &mut Serving<'_>) -> Result<Response, ZkError> {
        let mut context = ReadContext {
            tree: serving.tree,
            watches: serving.watches,
            connection: self.id,
            session: self.session,
            auth: &self.auth,
            settings: &serving.settings.acl,
            trace: serving.trace,
            missed: Vec::new(),
        };
        let result = ops::read(&mut context, request);
        for missed in context.missed {
            self.tell(missed.kind, missed.path, NO_ZXID);
        }
        result
    }

    /// Takes notice of how long an answer took; pings do not count.
    fn time(&mut self, opcode: Option<OpCode>, latency_ms: u64, serving: &mut Serving<'_>) {
        self.counters.took(latency_ms, serving.now.wall);
        let Some(opcode) = opcode.filter(|opcode| *opcode != OpCode::Ping) else { return };
        serving.metrics.latency.add(latency_ms);
        match ops::class(opcode) {
            Class::Write | Class::Reconfig => serving.metrics.update_latency.add(latency_ms),
            Class::Read | Class::Sync | Class::Connection | Class::Refused => {
                serving.metrics.read_latency.add(latency_ms);
            }
        }
    }

    fn answer(
        &mut self,
        xid: i32,
        opcode: Option<OpCode>,
        result: Result<Response, ZkError>,
        serving: &mut Serving<'_>,
    ) -> Option<Action> {
        if moved(&result) {
            // Without an answer: the client is on another server and would take it for that one's.
            return Some(self.close(CloseReason::SessionMoved));
        }
        let err = result.as_ref().err().map_or(0, |error| error.code());
        let zxid = match opcode {
            // As ZooKeeper: these are answered beside the transactions.
            None => NO_ZXID,
            Some(OpCode::Sasl) => 0,
            Some(_) => serving.tree.zxid(),
        };
        let before = self.output.len();
        encode_reply(ReplyHeader { xid, zxid, err }, result.as_ref().ok(), &mut self.output);
        serving.metrics.answered((self.output.len() - before) as u64);
        self.counters.sent += 1;
        (self.counters.last_operation, self.counters.last_cxid, self.counters.last_zxid) = (opcode, xid, zxid);
        match (opcode, &result) {
            (None, _) => Some(self.close(CloseReason::Protocol)),
            (_, Ok(Response::CloseSession)) => Some(self.close(CloseReason::SessionClosed)),
            _ => None,
        }
    }
}

/// Takes notice of the answer to what is no read.
fn note_answer(asked: Option<Asked>, result: &Result<Response, ZkError>, trace: &mut Trace) {
    let Some(asked) = asked else { return };
    match (ops::class(asked.operation), result) {
        (Class::Write | Class::Reconfig, _) => trace.replied(asked),
        (Class::Sync, Ok(Response::Sync { path })) => trace.read(asked, path),
        (Class::Sync | Class::Read | Class::Connection | Class::Refused, _) => {}
    }
}

/// What a server without a majority cannot do. Ending a session that only it knows it can.
fn needs_majority(opcode: OpCode) -> bool {
    opcode != OpCode::CloseSession && matches!(ops::class(opcode), Class::Write | Class::Reconfig | Class::Sync)
}

/// A write that makes no sense takes a zxid all the same, as in ZooKeeper.
fn begin_malformed(cxid: i32, serving: &mut Serving<'_>, actions: &mut Vec<Action>) -> Work {
    let number = serving.take_number();
    actions.push(Action::Forward { request: number, cxid, write: Write::default() });
    Work::Write { number, shape: ReplyShape::Check }
}

/// Starts what can start before it is a request's turn.
fn begin(cxid: i32, request: Request, serving: &mut Serving<'_>, actions: &mut Vec<Action>) -> Work {
    match ops::class(request.opcode()) {
        Class::Read => Work::Read { request, after: None },
        Class::Write => match ops::write(request) {
            Err(_) => begin_malformed(cxid, serving, actions),
            Ok((write, shape)) => {
                let number = serving.take_number();
                actions.push(Action::Forward { request: number, cxid, write });
                Work::Write { number, shape }
            }
        },
        Class::Sync | Class::Reconfig | Class::Connection | Class::Refused => match request {
            Request::Sync { path } => {
                let number = serving.take_number();
                actions.push(Action::Sync { request: number });
                Work::Sync { number, path }
            }
            Request::Reconfig(change) => {
                let number = serving.take_number();
                actions.push(Action::Reconfig { request: number, cxid, change });
                Work::Write { number, shape: ReplyShape::Reconfig }
            }
            Request::Ping => Work::Answered(Ok(Response::Ping)),
            // What ZooKeeper answers when no SASL is configured.
            Request::Sasl { .. } => Work::Answered(Ok(Response::Sasl { token: None })),
            _ => Work::Answered(Err(ZkError::Unimplemented)),
        },
    }
}

fn moved(result: &Result<Response, ZkError>) -> bool {
    match result {
        Err(error) => *error == ZkError::SessionMoved,
        Ok(Response::Multi(results)) => results.contains(&Err(ZkError::SessionMoved)),
        Ok(_) => false,
    }
}

#[cfg(test)]
mod tests;
