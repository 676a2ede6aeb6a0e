//! A broker as a process of the simulator: the real machines, with the sockets, peers, ZooKeeper connection and wake-ups
//! that `broker/src/server` gives them, in virtual time. Decides nothing about partitions.

use super::disk::SimDisk;
use super::network::Conn;
use super::world::{Ctx, Happening, Host, Program, Store};
use broker::api::Handled;
use broker::broker::{Broker, Collaborators};
use broker::config::BrokerConfig;
use broker::connection::{Answers, ConnectionInfo};
use broker::outbox::{Channel, ConnectionId, Job, Outbox, PeerAddress, PeerError, StopReason, ZkCommand, ZkInput};
use bytes::{Bytes, BytesMut};
use common::id::BrokerId;
use common::kafka::wire::Frame;
use common::properties::Properties;
use common::time::Millis;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

/// Where clients and other brokers connect.
pub const PORT: u16 = 9092;

const TICK: u64 = 1;
const ZK_CONNECT: u64 = 2;
/// Plus the number of the connection: an attempt to connect has taken too long.
const PEER_CONNECT: u64 = 1 << 32;
/// Plus the id of a watched broker: it is dialled again, or an attempt has taken too long.
const WATCH: u64 = 1 << 40;
/// Plus the number of a job.
const JOB: u64 = 1 << 48;

/// As the server's.
const PEER_CONNECT_MS: u64 = 5_000;
const ZK_CONNECT_MS: u64 = 3_000;
const TICK_AT_MOST_MS: u64 = 1_000;
const WATCH_PAUSE_MIN_MS: u64 = 1;
const WATCH_PAUSE_MAX_MS: u64 = 1_000;
/// Over which a case asks and is told.
const DIRECT: ConnectionId = ConnectionId(u64::MAX);
const REQUEST_BYTES_MAX: usize = 100 * 1024 * 1024;

/// Something that the broker wants done.
enum Wanted {
    Reply(ConnectionId, u64, Frame),
    Close(ConnectionId, u64, String),
    Peer(PeerAddress, Channel, u64, Bytes),
    DropPeer(PeerAddress, Channel),
    Watch(BTreeSet<PeerAddress>),
    Zk(ZkCommand),
    WakeAt(Millis),
    Run(Job),
    Stop(StopReason),
}

/// The broker's way out: it notes everything, in order.
#[derive(Default)]
struct Notes {
    wanted: Mutex<Vec<Wanted>>,
}

impl Notes {
    fn push(&self, wanted: Wanted) {
        self.wanted.lock().expect("no holder panics").push(wanted);
    }

    fn take(&self) -> Vec<Wanted> {
        std::mem::take(&mut *self.wanted.lock().expect("no holder panics"))
    }
}

impl Outbox for Notes {
    fn reply(&self, connection: ConnectionId, sequence: u64, frame: Frame) {
        self.push(Wanted::Reply(connection, sequence, frame));
    }

    fn close(&self, connection: ConnectionId, sequence: u64, reason: String) {
        self.push(Wanted::Close(connection, sequence, reason));
    }

    fn peer(&self, to: &PeerAddress, channel: Channel, request_id: u64, frame: Bytes) {
        self.push(Wanted::Peer(to.clone(), channel, request_id, frame));
    }

    fn drop_peer(&self, to: &PeerAddress, channel: Channel) {
        self.push(Wanted::DropPeer(to.clone(), channel));
    }

    fn watch(&self, brokers: &BTreeSet<PeerAddress>) {
        self.push(Wanted::Watch(brokers.clone()));
    }

    fn zk(&self, command: ZkCommand) {
        self.push(Wanted::Zk(command));
    }

    fn wake_at(&self, at: Millis) {
        self.push(Wanted::WakeAt(at));
    }

    fn run(&self, job: Job) {
        self.push(Wanted::Run(job));
    }

    fn stop(&self, reason: StopReason) {
        self.push(Wanted::Stop(reason));
    }
}

/// A connection that a client, or another broker, opened.
struct Served {
    conn: Conn,
    info: ConnectionInfo,
    buffer: BytesMut,
    answers: Answers,
}

/// A connection to another broker.
struct PeerLink {
    to: (PeerAddress, Channel),
    is_open: bool,
    unsent: Vec<Bytes>,
    /// Requests without a response, in order.
    waiting: VecDeque<u64>,
    buffer: BytesMut,
}

/// A silent connection to another broker.
struct Watched {
    to: PeerAddress,
    /// While there is one or an attempt at one.
    conn: Option<Conn>,
    is_open: bool,
    was_reached: bool,
    pause_ms: u64,
    /// When it was dialled, or opened.
    since: Millis,
    /// When its timer has something to do.
    due: Millis,
}

/// The process.
pub struct BrokerProcess {
    /// The real thing.
    pub broker: Arc<Broker>,
    notes: Arc<Notes>,
    disk: SimDisk,
    served: BTreeMap<ConnectionId, Served>,
    by_conn: BTreeMap<Conn, ConnectionId>,
    next_connection: u64,
    peers: BTreeMap<Conn, PeerLink>,
    peer_conns: BTreeMap<(PeerAddress, Channel), Conn>,
    watched: BTreeMap<BrokerId, Watched>,
    zk: Option<Conn>,
    zk_is_open: bool,
    zk_dialled: Millis,
    wake_at: Option<Millis>,
    jobs: BTreeMap<u64, Job>,
    next_job: u64,
    was_controller: bool,
    told_directly: BTreeMap<u64, Bytes>,
    asked_directly: u64,
}

impl BrokerProcess {
    /// Starts with what the disk holds; `None` if the broker cannot.
    pub(crate) fn start(text: &str, ctx: &mut Ctx<'_>) -> Option<Program> {
        let properties = Properties::parse(text, "server.properties");
        let config = BrokerConfig::parse(&properties).expect("the simulator's configuration is right").0;
        let (now, rng) = (ctx.now(), ctx.core.rng.fork());
        let Store::Disk(disk) = ctx.store() else { unreachable!("a broker has a disk") };
        let disk = disk.clone();
        disk.set_clock(now.wall);
        disk.process_began();
        let notes = Arc::new(Notes::default());
        let collaborators = Collaborators { disk: Arc::new(disk.clone()), outbox: notes.clone(), rng };
        let ports = BTreeMap::from([("PLAINTEXT".to_owned(), PORT)]);
        let broker = match Broker::start(config, (&ports, "nowhere"), collaborators, now) {
            Ok(broker) => broker,
            Err(error) => {
                if !disk.has_failed() && !disk.has_refused() {
                    ctx.violation(format!("cannot start: {error}"));
                }
                ctx.exit(error.to_string());
                return None;
            }
        };
        ctx.listen(PORT);
        let mut process = BrokerProcess {
            broker,
            notes,
            disk,
            served: BTreeMap::new(),
            by_conn: BTreeMap::new(),
            next_connection: 1,
            peers: BTreeMap::new(),
            peer_conns: BTreeMap::new(),
            watched: BTreeMap::new(),
            zk: None,
            zk_is_open: false,
            zk_dialled: Millis(0),
            wake_at: None,
            jobs: BTreeMap::new(),
            next_job: 0,
            was_controller: false,
            told_directly: BTreeMap::new(),
            asked_directly: 0,
        };
        process.broker.begin(now);
        process.carry_out(ctx);
        Some(Program::Broker(Box::new(process)))
    }

    /// A requested shutdown begins.
    pub fn begin_shutdown(&mut self, ctx: &mut Ctx<'_>) {
        self.broker.begin_shutdown(ctx.now());
        self.carry_out(ctx);
    }

    /// Asks as a client without a connection; the number under which [`BrokerProcess::told_directly`] has the answer.
    pub fn ask_directly(&mut self, frame: Bytes, ctx: &mut Ctx<'_>) -> u64 {
        self.asked_directly += 1;
        let sequence = self.asked_directly;
        let info = ConnectionInfo {
            id: DIRECT,
            listener: "PLAINTEXT".to_owned(),
            client_host: "10.0.0.99".to_owned(),
            client_port: 0,
            software: Default::default(),
            principal: "User:ANONYMOUS".to_owned(),
        };
        if let Handled::Now(frame) = self.broker.on_request(&info, sequence, frame, ctx.now()) {
            self.tell_directly(sequence, frame);
        }
        self.carry_out(ctx);
        sequence
    }

    fn tell_directly(&mut self, sequence: u64, frame: Frame) {
        if let Ok(bytes) = frame.into_bytes() {
            self.told_directly.insert(sequence, bytes);
        }
    }

    /// The answer, with its length prefix, once there is one.
    pub fn told_directly(&self, sequence: u64) -> Option<Bytes> {
        self.told_directly.get(&sequence).cloned()
    }

    pub(crate) fn happen(&mut self, happening: Happening, ctx: &mut Ctx<'_>) {
        let now = ctx.now();
        self.disk.set_clock(now.wall);
        match happening {
            Happening::Accepted { conn, from, .. } => self.accepted(conn, from),
            Happening::Opened(conn) if self.zk == Some(conn) => {
                self.zk_is_open = true;
                self.broker.on_zk(ZkInput::Connected, now);
            }
            Happening::Opened(conn) | Happening::Refused(conn) | Happening::Ended(conn) if self.watches(conn) => {
                self.watch_happened(conn, &happening, ctx);
            }
            Happening::Opened(conn) => self.peer_opened(conn, ctx),
            Happening::Refused(conn) | Happening::Ended(conn) if self.zk == Some(conn) => {
                (self.zk, self.zk_is_open) = (None, false);
                self.broker.on_zk(ZkInput::Disconnected, now);
            }
            Happening::Refused(conn) => self.peer_ended(conn, PeerError::Refused, ctx),
            Happening::Bytes(conn, bytes) if self.zk == Some(conn) => self.broker.on_zk(ZkInput::Bytes(bytes), now),
            Happening::Bytes(conn, bytes) => self.bytes(conn, &bytes, ctx),
            Happening::Ended(conn) => match self.by_conn.remove(&conn) {
                Some(id) => drop(self.served.remove(&id)),
                None => self.peer_ended(conn, PeerError::Lost, ctx),
            },
            Happening::Timer(TICK) => self.tick(ctx),
            Happening::Timer(ZK_CONNECT) => self.zk_connect_timer(ctx),
            Happening::Timer(token) if token >= JOB => {
                if let Some(job) = self.jobs.remove(&(token - JOB)) {
                    job(now);
                }
            }
            Happening::Timer(token) if token >= WATCH => self.watch_timer(BrokerId((token - WATCH) as i32), ctx),
            Happening::Timer(token) => {
                let conn = Conn(token - PEER_CONNECT);
                if self.peers.get(&conn).is_some_and(|link| !link.is_open) {
                    ctx.close(conn);
                    self.peer_ended(conn, PeerError::TimedOut, ctx);
                }
            }
        }
        self.carry_out(ctx);
    }

    fn tick(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now().mono;
        if self.wake_at.is_none_or(|at| at > now) {
            return;
        }
        self.wake_at = None;
        let next = self.broker.tick(ctx.now());
        let latest = now + TICK_AT_MOST_MS;
        self.wake(next.unwrap_or(latest).min(latest).max(now + 1), ctx);
    }

    fn wake(&mut self, at: Millis, ctx: &mut Ctx<'_>) {
        if self.wake_at.is_none_or(|earlier| at < earlier) {
            self.wake_at = Some(at);
            ctx.wake_at(at, TICK);
        }
    }

    /// Does what the broker wants, until it wants nothing more.
    fn carry_out(&mut self, ctx: &mut Ctx<'_>) {
        loop {
            let wanted = self.notes.take();
            if wanted.is_empty() {
                break;
            }
            for wanted in wanted {
                match wanted {
                    Wanted::Reply(DIRECT, sequence, frame) => self.tell_directly(sequence, frame),
                    Wanted::Reply(connection, sequence, frame) => {
                        if let Some(served) = self.served.get_mut(&connection) {
                            served.answers.ready(sequence, frame);
                            self.serve(connection, ctx);
                        }
                    }
                    Wanted::Close(connection, sequence, reason) => {
                        if let Some(served) = self.served.get_mut(&connection) {
                            served.answers.close(sequence, reason);
                            self.serve(connection, ctx);
                        }
                    }
                    Wanted::Peer(to, channel, id, frame) => self.send_peer((to, channel), id, frame, ctx),
                    Wanted::DropPeer(to, channel) => self.drop_peer((to, channel), ctx),
                    Wanted::Watch(brokers) => self.watch(&brokers, ctx),
                    Wanted::Zk(command) => self.zk(command, ctx),
                    Wanted::WakeAt(at) => {
                        let soonest = ctx.now().mono;
                        self.wake(at.max(soonest), ctx);
                    }
                    Wanted::Run(job) => {
                        self.next_job += 1;
                        self.jobs.insert(self.next_job, job);
                        let pause = ctx.core.rng.u64(10..5_000);
                        ctx.after(pause, JOB + self.next_job);
                    }
                    Wanted::Stop(StopReason::Finished) => ctx.exit("shutdown is complete".to_owned()),
                    Wanted::Stop(StopReason::Fatal(text)) => ctx.exit(text),
                }
            }
        }
        ctx.core.trace.mix(self.disk.changes());
        if self.was_controller != self.broker.cluster.is_controller() {
            self.was_controller = !self.was_controller;
            let is_controller = self.was_controller;
            ctx.tell(|| if is_controller { "is the controller" } else { "is no longer the controller" }.to_owned());
        }
        if self.disk.has_failed() {
            ctx.exit("the machine's disk has failed".to_owned());
        }
    }

    fn accepted(&mut self, conn: Conn, from: Host) {
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let info = ConnectionInfo {
            id,
            listener: "PLAINTEXT".to_owned(),
            client_host: format!("10.0.0.{}", from.0),
            client_port: 0,
            software: Default::default(),
            principal: "User:ANONYMOUS".to_owned(),
        };
        self.by_conn.insert(conn, id);
        self.served.insert(id, Served { conn, info, buffer: BytesMut::new(), answers: Answers::default() });
    }

    fn bytes(&mut self, conn: Conn, bytes: &[u8], ctx: &mut Ctx<'_>) {
        if let Some(id) = self.by_conn.get(&conn).copied() {
            if let Some(served) = self.served.get_mut(&id) {
                served.buffer.extend_from_slice(bytes);
            }
            self.serve(id, ctx);
        } else if let Some(link) = self.peers.get_mut(&conn) {
            link.buffer.extend_from_slice(bytes);
            while let Some(link) = self.peers.get_mut(&conn) {
                let Some(frame) = next_frame(&mut link.buffer) else { break };
                let Some(id) = link.waiting.pop_front() else {
                    return ctx.violation("a broker answers what was not asked".to_owned());
                };
                self.broker.on_peer_response(id, Ok(frame), ctx.now());
            }
        }
    }

    /// Handles what has arrived on a connection, and sends the answers that are due.
    fn serve(&mut self, id: ConnectionId, ctx: &mut Ctx<'_>) {
        loop {
            let Some(served) = self.served.get_mut(&id) else { return };
            while let Some(frame) = served.answers.pop() {
                match frame.into_bytes() {
                    Ok(bytes) => ctx.send(served.conn, bytes),
                    // The file was cut or removed since: the server's connection ends here too.
                    Err(error) => return self.close(id, &error.to_string(), ctx),
                }
            }
            if let Some(reason) = served.answers.must_close() {
                let reason = reason.to_owned();
                return self.close(id, &reason, ctx);
            }
            if !served.answers.has_room() {
                return;
            }
            let Some(frame) = next_frame(&mut served.buffer) else { return };
            let sequence = served.answers.begin();
            match self.broker.on_request(&served.info, sequence, frame, ctx.now()) {
                Handled::Now(frame) => served.answers.ready(sequence, frame),
                Handled::Silent => served.answers.silent(sequence),
                Handled::Parked { lets_pass } => served.answers.parked(sequence, lets_pass),
                Handled::Close(reason) => served.answers.close(sequence, reason),
            }
        }
    }

    fn close(&mut self, id: ConnectionId, reason: &str, ctx: &mut Ctx<'_>) {
        if let Some(served) = self.served.remove(&id) {
            ctx.tell(|| format!("closes the connection of {}: {reason}", served.info.client_host));
            self.by_conn.remove(&served.conn);
            ctx.close(served.conn);
        }
    }

    fn send_peer(&mut self, to: (PeerAddress, Channel), id: u64, frame: Bytes, ctx: &mut Ctx<'_>) {
        if to.1 == Channel::Controller {
            ctx.core.history.controller_spoke(self.broker.config.broker_id, &frame);
        }
        if let Some(conn) = self.peer_conns.get(&to)
            && let Some(link) = self.peers.get_mut(conn)
        {
            link.waiting.push_back(id);
            if link.is_open {
                ctx.send(*conn, frame);
            } else {
                link.unsent.push(frame);
            }
            return;
        }
        let conn = ctx.dial(&format!("{}:{}", to.0.host, to.0.port));
        ctx.wake_at(ctx.now().mono + PEER_CONNECT_MS, PEER_CONNECT + conn.0);
        self.peer_conns.insert(to.clone(), conn);
        let waiting = VecDeque::from([id]);
        let link = PeerLink { to, is_open: false, unsent: vec![frame], waiting, buffer: BytesMut::new() };
        self.peers.insert(conn, link);
    }

    fn peer_opened(&mut self, conn: Conn, ctx: &mut Ctx<'_>) {
        let Some(link) = self.peers.get_mut(&conn) else { return };
        link.is_open = true;
        for frame in link.unsent.drain(..) {
            ctx.send(conn, frame);
        }
    }

    fn peer_ended(&mut self, conn: Conn, error: PeerError, ctx: &mut Ctx<'_>) {
        let Some(link) = self.peers.remove(&conn) else { return };
        if self.peer_conns.get(&link.to) == Some(&conn) {
            self.peer_conns.remove(&link.to);
        }
        for id in link.waiting {
            self.broker.on_peer_response(id, Err(error), ctx.now());
        }
    }

    fn drop_peer(&mut self, to: (PeerAddress, Channel), ctx: &mut Ctx<'_>) {
        if let Some(conn) = self.peer_conns.get(&to).copied() {
            ctx.close(conn);
            self.peer_ended(conn, PeerError::Lost, ctx);
        }
    }

    fn watch(&mut self, brokers: &BTreeSet<PeerAddress>, ctx: &mut Ctx<'_>) {
        let unwanted = self.watched.extract_if(.., |_, watched| !brokers.contains(&watched.to));
        for conn in unwanted.filter_map(|(_, watched)| watched.conn) {
            ctx.close(conn);
        }
        for to in brokers {
            self.watched.entry(to.broker).or_insert_with(|| Watched {
                to: to.clone(),
                conn: None,
                is_open: false,
                was_reached: false,
                pause_ms: WATCH_PAUSE_MIN_MS,
                since: Millis(0),
                due: ctx.now().mono,
            });
            if self.watched.get(&to.broker).is_some_and(|watched| watched.conn.is_none()) {
                self.watch_timer(to.broker, ctx);
            }
        }
    }

    fn watches(&self, conn: Conn) -> bool {
        self.watched.values().any(|watched| watched.conn == Some(conn))
    }

    /// What became of a silent connection, as `server/peer.rs` judges it.
    fn watch_happened(&mut self, conn: Conn, happening: &Happening, ctx: &mut Ctx<'_>) {
        let now = ctx.now();
        let found = self.watched.values_mut().find(|watched| watched.conn == Some(conn));
        let Some(watched) = found else { return };
        let broker = watched.to.broker;
        if let Happening::Opened(_) = happening {
            (watched.is_open, watched.was_reached, watched.since) = (true, true, now.mono);
            return self.broker.on_peer_reached(broker, now);
        }
        let was_open = std::mem::take(&mut watched.is_open);
        let is_gone = !was_open && matches!(happening, Happening::Refused(_)) && watched.was_reached;
        watched.was_reached &= !is_gone;
        let is_short = was_open && now.mono - watched.since <= WATCH_PAUSE_MAX_MS;
        let pause_ms = match (was_open, is_short) {
            (true, true) => watched.pause_ms * 2,
            (true, false) => WATCH_PAUSE_MIN_MS,
            (false, _) => WATCH_PAUSE_MAX_MS,
        };
        watched.pause_ms = pause_ms.min(WATCH_PAUSE_MAX_MS);
        watched.conn = None;
        watched.due = now.mono + watched.pause_ms;
        ctx.wake_at(watched.due, WATCH + broker.0 as u64);
        if was_open {
            self.broker.on_peer_broken(broker, now);
        } else if is_gone {
            self.broker.on_peer_gone(broker, now);
        }
    }

    fn watch_timer(&mut self, broker: BrokerId, ctx: &mut Ctx<'_>) {
        let now = ctx.now().mono;
        let Some(watched) = self.watched.get_mut(&broker) else { return };
        if watched.is_open || now < watched.due {
            return;
        }
        if let Some(conn) = watched.conn.take() {
            ctx.close(conn);
            watched.pause_ms = WATCH_PAUSE_MAX_MS;
            watched.due = now + WATCH_PAUSE_MAX_MS;
        } else {
            let to = &watched.to;
            watched.conn = Some(ctx.dial(&format!("{}:{}", to.host, to.port)));
            watched.since = now;
            watched.due = now + PEER_CONNECT_MS;
        }
        ctx.wake_at(watched.due, WATCH + broker.0 as u64);
    }

    fn zk(&mut self, command: ZkCommand, ctx: &mut Ctx<'_>) {
        match command {
            ZkCommand::Connect(address) => {
                if let Some(conn) = self.zk.take() {
                    ctx.close(conn);
                }
                self.zk = Some(ctx.dial(&address));
                self.zk_is_open = false;
                self.zk_dialled = ctx.now().mono;
                ctx.wake_at(ctx.now().mono + ZK_CONNECT_MS, ZK_CONNECT);
            }
            ZkCommand::Send(bytes) => {
                if let Some(conn) = self.zk.filter(|_| self.zk_is_open) {
                    ctx.send(conn, bytes);
                }
            }
            ZkCommand::Disconnect => {
                if let Some(conn) = self.zk.take() {
                    ctx.close(conn);
                }
                self.zk_is_open = false;
            }
        }
    }

    /// An attempt to connect has taken too long, unless it was another one that the timer was for.
    fn zk_connect_timer(&mut self, ctx: &mut Ctx<'_>) {
        let is_late = !self.zk_is_open && ctx.now().mono - self.zk_dialled >= ZK_CONNECT_MS;
        let Some(conn) = self.zk.filter(|_| is_late) else { return };
        ctx.close(conn);
        self.zk = None;
        self.broker.on_zk(ZkInput::Disconnected, ctx.now());
    }
}

/// Splits one frame off, without its length prefix.
fn next_frame(buffer: &mut BytesMut) -> Option<Bytes> {
    let prefix = buffer.first_chunk::<4>()?;
    let len = usize::try_from(i32::from_be_bytes(*prefix)).ok().filter(|len| *len <= REQUEST_BYTES_MAX);
    let len = len.unwrap_or_else(|| unreachable!("only our own sides are on these connections"));
    (buffer.len() >= 4 + len).then(|| buffer.split_to(4 + len).freeze().slice(4..))
}
