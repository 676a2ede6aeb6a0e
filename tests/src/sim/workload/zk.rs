//! A client of the coordinators: registers that it writes and reads, nodes that it creates and deletes, watches; over
//! `common::zk::session`. What one client must see in order it checks itself.

use crate::sim::history::{ZkAsk, ZkOutcome};
use crate::sim::network::Conn;
use crate::sim::world::{Ctx, Happening, Micros, Program};
use bytes::Bytes;
use common::time::Millis;
use common::zk::{
    Acl, CreateMode, CreateRequest, Output, Request, Response, Session, SessionConfig, SessionEvent, ZkError,
};
use std::collections::{BTreeMap, VecDeque};

/// Registers that all clients write and read.
pub const REGISTERS: u64 = 4;
/// The session timeout that clients ask for, in milliseconds.
pub const TIMEOUT_MS: u32 = 4_000;

const SESSION: u64 = 1;
const THINK: u64 = 2;

/// Requests under way at most.
const OUTSTANDING: usize = 4;

/// Path of a register.
pub fn register(number: u64) -> String {
    format!("/r/{number}")
}

/// What a request was for.
#[derive(Clone, Debug)]
enum Purpose {
    /// Making the common nodes.
    Setup,
    /// A sync; the read behind it is the next request.
    Sync,
    /// A request in the history.
    Op(u64),
}

/// The client.
pub struct ZkClient {
    number: u64,
    config: SessionConfig,
    session: Session,
    socket: Option<Conn>,
    wake_at: Option<Millis>,
    asked: BTreeMap<u64, Purpose>,
    next_token: u64,
    next_value: u64,
    /// Last seen versions of the registers, for writes that name one.
    versions: BTreeMap<String, i32>,
    /// Nodes that this client has created, and may delete.
    created: VecDeque<String>,
    /// Registers watched, with the version that was shown then.
    watched: BTreeMap<String, i32>,
    last_zxid: i64,
    was_synced: bool,
    /// When the open connection was dialled.
    dialled_at: Micros,
    /// Asks for nothing more while set.
    pub is_idle: bool,
    /// Answers that were no failure.
    pub answers: u64,
}

impl ZkClient {
    pub(crate) fn start(number: u64, connect: &str, ctx: &mut Ctx<'_>) -> Program {
        let config = SessionConfig::new(connect, TIMEOUT_MS).expect("the connect string is right");
        let mut client = ZkClient {
            number,
            session: Session::new(config.clone(), ctx.core.rng.fork(), ctx.now().mono),
            config,
            socket: None,
            wake_at: None,
            asked: BTreeMap::new(),
            next_token: 0,
            // Values stay unique when the client is started anew.
            next_value: u64::from(ctx.core.machines[ctx.host.0].life) * 1_000_000,
            versions: BTreeMap::new(),
            created: VecDeque::new(),
            watched: BTreeMap::new(),
            last_zxid: 0,
            was_synced: false,
            dialled_at: 0,
            is_idle: false,
            answers: 0,
        };
        client.begin(ctx);
        client.think_later(ctx);
        Program::ZkClient(Box::new(client))
    }

    fn begin(&mut self, ctx: &mut Ctx<'_>) {
        self.session.start(ctx.now().mono);
        let nodes = ["/r", "/seq", "/eph"].map(str::to_owned).into_iter().chain((0..REGISTERS).map(register));
        for path in nodes {
            let create = CreateRequest::new(path, "", Acl::open_unsafe(), CreateMode::Persistent);
            self.submit(Purpose::Setup, Request::Create(create), ctx);
        }
        self.drain(ctx);
    }

    pub(crate) fn happen(&mut self, happening: Happening, ctx: &mut Ctx<'_>) {
        let now = ctx.now().mono;
        match happening {
            Happening::Opened(conn) if self.socket == Some(conn) => self.session.on_connected(now),
            Happening::Bytes(conn, bytes) if self.socket == Some(conn) => self.session.on_bytes(bytes, now),
            Happening::Refused(conn) | Happening::Ended(conn) if self.socket == Some(conn) => {
                self.socket = None;
                self.session.on_disconnected(now);
            }
            Happening::Timer(SESSION) => {
                self.wake_at = None;
                self.session.tick(now);
            }
            Happening::Timer(THINK) => {
                if !self.is_idle && self.asked.len() < OUTSTANDING {
                    self.think(ctx);
                }
                self.think_later(ctx);
            }
            _ => {}
        }
        self.drain(ctx);
    }

    /// True if the session is connected.
    pub fn is_connected(&self) -> bool {
        self.session.is_connected()
    }

    /// Registers that it watches, with the version that it was shown.
    pub fn watched(&self) -> &BTreeMap<String, i32> {
        &self.watched
    }

    /// Asks for something that is in no history, at once.
    pub fn ask(&mut self, request: Request, ctx: &mut Ctx<'_>) {
        self.submit(Purpose::Setup, request, ctx);
        self.drain(ctx);
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.number
    }

    fn think_later(&mut self, ctx: &mut Ctx<'_>) {
        let pause = ctx.core.rng.u64(1..80);
        ctx.wake_at(ctx.now().mono + pause, THINK);
    }

    /// Asks for something.
    fn think(&mut self, ctx: &mut Ctx<'_>) {
        let path = register(ctx.core.rng.u64(..REGISTERS));
        match ctx.core.rng.u32(..100) {
            0..20 => {
                let (value, version) = (self.value(), -1);
                self.op(ZkAsk::Set { path, value, version }, ctx);
            }
            20..35 => {
                let (value, version) = (self.value(), self.versions.get(&path).copied().unwrap_or(0));
                self.op(ZkAsk::Set { path, value, version }, ctx);
            }
            35..40 => {
                let value = self.value();
                self.op(ZkAsk::SetBoth { paths: [register(0), register(1)], value }, ctx);
            }
            40..60 => self.op(ZkAsk::Get { path, is_synced: false }, ctx),
            60..70 => {
                self.submit(Purpose::Sync, Request::Sync { path: path.clone() }, ctx);
                self.op(ZkAsk::Get { path, is_synced: true }, ctx);
            }
            70..80 => {
                let value = self.value();
                self.op(ZkAsk::Create { path: "/seq/n-".to_owned(), value, is_ephemeral: false }, ctx);
            }
            80..90 => {
                let value = self.value();
                self.op(ZkAsk::Create { path: format!("/eph/{value}-"), value, is_ephemeral: true }, ctx);
            }
            90..99 => {
                if let Some(path) = self.created.pop_front() {
                    self.op(ZkAsk::Delete { path }, ctx);
                }
            }
            _ if ctx.core.rng.u32(..6) == 0 => self.close(ctx),
            _ => {}
        }
    }

    fn value(&mut self) -> String {
        self.next_value += 1;
        format!("{}.{}", self.number, self.next_value)
    }

    /// Ends the session; the next one is begun when that is done.
    fn close(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.core.now();
        if let Some(life) = ctx.core.history.sessions.get_mut(&self.session.session_id()) {
            life.closed.get_or_insert(now);
        }
        self.session.close(ctx.now().mono);
    }

    fn op(&mut self, ask: ZkAsk, ctx: &mut Ctx<'_>) {
        let request = request(&ask);
        let now = ctx.core.now();
        let number = ctx.core.history.ask(self.number, ask, now);
        self.submit(Purpose::Op(number), request, ctx);
    }

    fn submit(&mut self, purpose: Purpose, request: Request, ctx: &mut Ctx<'_>) {
        self.next_token += 1;
        self.asked.insert(self.next_token, purpose);
        self.session.submit(self.next_token, request, ctx.now().mono);
    }

    /// Carries out what the session wants.
    fn drain(&mut self, ctx: &mut Ctx<'_>) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Connect(address) => {
                    self.dialled_at = ctx.core.now();
                    self.socket = Some(ctx.dial(&address));
                }
                Output::Send(bytes) => {
                    if let Some(conn) = self.socket {
                        ctx.send(conn, bytes);
                    }
                }
                Output::Disconnect => {
                    if let Some(conn) = self.socket.take() {
                        ctx.close(conn);
                    }
                }
                Output::Event(event) => self.event(event, ctx),
                Output::Reply { token, result, zxid } => self.reply(token, result, zxid, ctx),
                Output::Watch(event) => {
                    self.watched.remove(&event.path);
                }
            }
        }
        if self.session.has_ended() {
            let config = self.config.clone();
            self.session = Session::new(config, ctx.core.rng.fork(), ctx.now().mono);
            self.watched.clear();
            return self.begin(ctx);
        }
        let deadline = self.session.next_deadline();
        if let Some(at) = deadline.filter(|at| self.wake_at.is_none_or(|wake| *at < wake)) {
            self.wake_at = Some(at);
            ctx.wake_at(at, SESSION);
        }
    }

    fn event(&mut self, event: SessionEvent, ctx: &mut Ctx<'_>) {
        let number = self.number;
        match event {
            SessionEvent::Connected { session_id, negotiated_timeout_ms, reconnected, .. } => {
                let life = ctx.core.history.sessions.entry(session_id).or_default();
                life.timeout_ms = negotiated_timeout_ms;
                life.heard = life.heard.max(self.dialled_at);
                if !reconnected {
                    self.last_zxid = 0;
                    ctx.tell(|| format!("client {number} has session {session_id:x}"));
                }
            }
            SessionEvent::Expired => ctx.tell(|| format!("session of client {number} has expired")),
            SessionEvent::AuthFailed => ctx.violation("credentials refused that were never given".to_owned()),
            SessionEvent::Disconnected | SessionEvent::Closed => {}
        }
    }

    fn reply(&mut self, token: u64, result: Result<Response, ZkError>, zxid: i64, ctx: &mut Ctx<'_>) {
        let Some(purpose) = self.asked.remove(&token) else {
            return ctx.violation(format!("request {token} is answered twice"));
        };
        if zxid > 0 {
            if zxid < self.last_zxid {
                let last = self.last_zxid;
                ctx.violation(format!("zxid goes back from {last} to {zxid} within a session"));
            }
            self.last_zxid = self.last_zxid.max(zxid);
        }
        self.answers += u64::from(result.is_ok());
        let number = match purpose {
            Purpose::Setup => return,
            Purpose::Sync => return self.was_synced = result.is_ok(),
            Purpose::Op(number) => number,
        };
        let ask = ctx.core.history.zk[number as usize].ask.clone();
        let mut outcome = outcome(&ask, result);
        if let (ZkAsk::Get { is_synced: true, .. }, false) = (&ask, std::mem::take(&mut self.was_synced)) {
            outcome = ZkOutcome::Unknown;
        }
        self.learn(&ask, &outcome, ctx);
        let now = ctx.core.now();
        ctx.core.history.answer(number, self.session.session_id(), outcome, now);
    }

    /// Remembers what was seen, and checks that the watch came first.
    fn learn(&mut self, ask: &ZkAsk, outcome: &ZkOutcome, ctx: &mut Ctx<'_>) {
        match (ask, outcome) {
            (ZkAsk::Get { path, .. }, ZkOutcome::Read { version, .. }) => {
                let watched = *self.watched.entry(path.clone()).or_insert(*version);
                if *version > watched {
                    ctx.violation(format!("{path}: version {version} is shown before the watch on {watched} fires"));
                }
                self.versions.insert(path.clone(), *version);
            }
            (ZkAsk::Set { path, .. }, ZkOutcome::Set(versions)) => {
                self.versions.insert(path.clone(), versions[0]);
            }
            (ZkAsk::Create { .. }, ZkOutcome::Created(path)) if ctx.core.rng.bool() => {
                self.created.push_back(path.clone());
            }
            _ => {}
        }
    }
}

fn request(ask: &ZkAsk) -> Request {
    let set = |path: &String, value: &String, version| Request::SetData {
        path: path.clone(),
        data: Some(Bytes::from(value.clone())),
        version,
    };
    match ask {
        ZkAsk::Set { path, value, version } => set(path, value, *version),
        ZkAsk::SetBoth { paths, value } => Request::Multi(paths.iter().map(|path| set(path, value, -1)).collect()),
        ZkAsk::Get { path, .. } => Request::GetData { path: path.clone(), watch: true },
        ZkAsk::Create { path, value, is_ephemeral } => {
            let mode = if *is_ephemeral { CreateMode::EphemeralSequential } else { CreateMode::PersistentSequential };
            Request::Create(CreateRequest::new(path.clone(), value.clone(), Acl::open_unsafe(), mode))
        }
        ZkAsk::Delete { path } => Request::Delete { path: path.clone(), version: -1 },
    }
}

fn outcome(ask: &ZkAsk, result: Result<Response, ZkError>) -> ZkOutcome {
    match result {
        Err(ZkError::ConnectionLoss | ZkError::SessionExpired | ZkError::SessionMoved) => ZkOutcome::Unknown,
        Err(error) => ZkOutcome::Refused(error),
        Ok(Response::SetData { stat }) => ZkOutcome::Set(vec![stat.version]),
        Ok(Response::Multi(results)) => {
            let versions = results.iter().map(|result| match result {
                Ok(Response::SetData { stat }) => Ok(stat.version),
                Ok(other) => unreachable!("a write is answered by {other:?}"),
                Err(error) => Err(*error),
            });
            match versions.collect::<Result<Vec<i32>, ZkError>>() {
                Ok(versions) => ZkOutcome::Set(versions),
                Err(error) => ZkOutcome::Refused(error),
            }
        }
        Ok(Response::GetData { data, stat }) => {
            let value = String::from_utf8_lossy(&data.unwrap_or_default()).into_owned();
            ZkOutcome::Read { value, version: stat.version }
        }
        Ok(Response::Create { path }) => ZkOutcome::Created(path),
        Ok(Response::Delete) => ZkOutcome::Deleted,
        Ok(other) => unreachable!("{ask:?} is answered by {other:?}"),
    }
}
