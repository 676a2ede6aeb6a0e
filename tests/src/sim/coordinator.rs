//! A coordinator as a process of the simulator: the real node, with the mesh, the client port and the disk that
//! `coordinator/src/server` gives it, in virtual time. Decides nothing about znodes.

use super::network::Conn;
use super::world::{Ctx, Happening, Host, Program, Role, Store};
use bytes::{Bytes, BytesMut};
use common::Rng;
use common::time::Millis;
use coordinator::config::{Config, Server};
use coordinator::ensemble::message::FRAME_HEADER_BYTES;
use coordinator::node::{Input, Node, Output, TICK_MS};
use coordinator::store::{MemoryStore, Persisted, StoreWrite};
use coordinator::tree::watch::ConnectionId;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::Path;

/// Where clients connect.
pub const CLIENT_PORT: u16 = 2181;
/// Where the others connect.
pub const PEER_PORT: u16 = 2888;

const TICK: u64 = 1;
const FLUSH: u64 = 2;
const DISK: u64 = 3;
/// Plus the number of the peer, which is at most 255.
const DIAL: u64 = 1_000;
/// Plus the number of the peer.
const EXPORT: u64 = 2_000;

/// First and longest pause between two attempts to dial, and how long one may take; as the server does it.
const PAUSE_MS: (u64, u64) = (20, 500);
const GREETING_MS: u64 = 3_000;

/// Something for the disk's thread.
#[derive(Debug)]
enum Job {
    Write(Box<StoreWrite>),
    Export(u64),
}

/// A coordinator's store: what is durable, what the system has but has not synced, and what is not written yet.
#[derive(Debug, Default)]
pub struct CoordinatorDisk {
    durable: Box<MemoryStore>,
    written: Vec<StoreWrite>,
    queued: VecDeque<Job>,
    is_busy: bool,
    /// Longest time that a write takes, in microseconds; 0 for a healthy disk.
    pub slowness: u64,
    /// The next write fails: the process must end, and what it wrote is as uncertain as before.
    pub fails_write: bool,
}

impl CoordinatorDisk {
    fn sync(&mut self) {
        for write in self.written.drain(..) {
            self.durable.write(&write);
        }
    }

    /// What was queued goes, but for what the disk's thread has just done.
    pub(crate) fn process_ended(&mut self, rng: &mut Rng) {
        let done = rng.usize(0..=self.queued.len());
        self.written.extend(self.queued.drain(..).take(done).filter_map(|job| match job {
            Job::Write(write) => Some(*write),
            Job::Export(_) => None,
        }));
        self.is_busy = false;
    }

    /// Of what was not synced, a beginning is left.
    pub(crate) fn power_lost(&mut self, rng: &mut Rng) {
        self.written.truncate(rng.usize(0..=self.written.len()));
        self.sync();
    }

    fn open(&mut self) -> Persisted {
        self.sync();
        self.durable.open()
    }

    /// The tree as it is now, synced or not.
    fn export(&self) -> Bytes {
        let mut store = self.durable.clone();
        for write in &self.written {
            store.write(write);
        }
        store.export()
    }

    fn latency(&self, rng: &mut Rng) -> u64 {
        match self.slowness {
            0 if rng.u32(..50) == 0 => rng.u64(5_000..40_000),
            0 => rng.u64(100..2_000),
            slow => rng.u64(1_000..slow.max(1_001)),
        }
    }
}

/// The connection on which this server sends to a peer.
#[derive(Debug)]
struct Dialled {
    host_and_port: String,
    conn: Option<Conn>,
    opened_at: Option<Millis>,
    /// When the attempt, or the pause, is over.
    until: Millis,
    pause_ms: u64,
}

#[derive(Debug)]
struct Client {
    id: ConnectionId,
    buffer: BytesMut,
}

/// The process.
pub struct CoordinatorProcess {
    /// The real thing.
    pub node: Node,
    peers: BTreeMap<u64, Dialled>,
    receiving: BTreeMap<Conn, (u64, BytesMut)>,
    clients: BTreeMap<Conn, Client>,
    conns: BTreeMap<ConnectionId, Conn>,
    next_client: u64,
    /// Trees that were read for other servers.
    exports: BTreeMap<u64, Bytes>,
    will_flush: bool,
    led: bool,
    outputs: Vec<Output>,
    frame_bytes: usize,
}

/// The settings in the text of a `zoo.cfg`.
pub fn config(id: u64, text: &str) -> Config {
    let read = |path: &Path| Ok(if path.ends_with("myid") { id.to_string() } else { text.to_owned() });
    Config::load(Path::new("zoo.cfg"), &read).expect("the simulator's configuration is right").0
}

impl CoordinatorProcess {
    /// Starts with what the store holds; `None` if the node cannot.
    pub(crate) fn start(id: u64, text: &str, ctx: &mut Ctx<'_>) -> Option<Program> {
        let config = config(id, text);
        let rng = ctx.core.rng.fork();
        let now = ctx.now();
        let Store::Coordinator(disk) = ctx.store() else { unreachable!("a coordinator has a store") };
        let node = match Node::new(&config, disk.open(), rng, now) {
            Ok(node) => node,
            Err(error) => {
                ctx.violation(format!("cannot start: {error}"));
                ctx.exit(error.to_string());
                return None;
            }
        };
        ctx.listen(CLIENT_PORT);
        ctx.listen(PEER_PORT);
        let mut process = CoordinatorProcess {
            node,
            peers: BTreeMap::new(),
            receiving: BTreeMap::new(),
            clients: BTreeMap::new(),
            conns: BTreeMap::new(),
            next_client: 1,
            exports: BTreeMap::new(),
            will_flush: false,
            led: false,
            outputs: Vec::new(),
            frame_bytes: config.max_buffer_bytes,
        };
        ctx.wake_at(now.mono + TICK_MS, TICK);
        process.soon_flush(ctx);
        Some(Program::Coordinator(Box::new(process)))
    }

    pub(crate) fn happen(&mut self, happening: Happening, ctx: &mut Ctx<'_>) {
        match happening {
            Happening::Accepted { conn, port: CLIENT_PORT, from } => self.client_connected(conn, from, ctx),
            Happening::Accepted { conn, from, .. } => {
                let Role::Coordinator { id, .. } = ctx.core.machines[from.0].role else { return ctx.close(conn) };
                self.receiving.insert(conn, (id, BytesMut::new()));
            }
            Happening::Opened(conn) => self.opened(conn, ctx),
            Happening::Refused(conn) => {
                if let Some(peer) = self.peer_of(conn) {
                    self.input(Input::PeerRefused { peer }, ctx);
                    self.pause_dialling(peer, ctx);
                }
            }
            Happening::Bytes(conn, bytes) => self.bytes(conn, bytes, ctx),
            Happening::Ended(conn) => self.ended(conn, ctx),
            Happening::Timer(TICK) => {
                let now = ctx.now();
                ctx.wake_at(now.mono + TICK_MS, TICK);
                self.node.step(now, Input::Tick, &mut self.outputs);
                self.flush(ctx);
            }
            Happening::Timer(FLUSH) => {
                self.will_flush = false;
                self.flush(ctx);
            }
            Happening::Timer(DISK) => self.disk_done(ctx),
            Happening::Timer(token) if token > EXPORT => {
                let to = token - EXPORT;
                if let Some(content) = self.exports.remove(&to) {
                    self.input(Input::Exported { to, content, is_last: true }, ctx);
                }
            }
            Happening::Timer(token) => self.dial_timer(token - DIAL, ctx),
        }
    }

    /// True if this server leads.
    pub fn is_leader(&self) -> bool {
        self.node.is_leader()
    }

    fn input(&mut self, input: Input, ctx: &mut Ctx<'_>) {
        self.node.step(ctx.now(), input, &mut self.outputs);
        self.soon_flush(ctx);
    }

    /// What arrives within a moment is taken in together, as a busy server does.
    fn soon_flush(&mut self, ctx: &mut Ctx<'_>) {
        if !self.will_flush {
            self.will_flush = true;
            let pause = ctx.core.rng.u64(0..120);
            ctx.after(pause, FLUSH);
        }
    }

    fn flush(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now();
        self.node.flush(now, &mut self.outputs);
        for output in std::mem::take(&mut self.outputs) {
            self.carry_out(output, ctx);
        }
        if self.led != self.node.is_leader() {
            self.led = !self.led;
            let leads = self.led;
            ctx.tell(|| if leads { "leads".to_owned() } else { "no longer leads".to_owned() });
        }
    }

    fn carry_out(&mut self, output: Output, ctx: &mut Ctx<'_>) {
        match output {
            Output::ToClient { connection, bytes, .. } => {
                if let Some(conn) = self.conns.get(&connection) {
                    ctx.send(*conn, bytes);
                }
            }
            Output::CloseClient { connection } => {
                if let Some(conn) = self.conns.remove(&connection) {
                    ctx.close(conn);
                    self.clients.remove(&conn);
                    self.input(Input::ClientClosed { connection }, ctx);
                }
            }
            Output::ToPeer { peer, bytes } => {
                let link = self.peers.get(&peer).filter(|link| link.opened_at.is_some());
                if let Some(conn) = link.and_then(|link| link.conn) {
                    ctx.send(conn, bytes);
                }
            }
            Output::ClosePeer { peer } => ctx.violation(format!("finds fault with what server {peer} sends")),
            Output::Store(write) => self.queue(Job::Write(Box::new(write)), ctx),
            Output::Export { to } => self.queue(Job::Export(to), ctx),
            Output::ExportMore { .. } => {}
            Output::ExportEnd { to } => drop(self.exports.remove(&to)),
            Output::Peers { peers } => self.dial_only(&peers, ctx),
        }
    }

    fn dial_only(&mut self, peers: &BTreeMap<u64, Server>, ctx: &mut Ctx<'_>) {
        let address = |peer: &Server| format!("{}:{}", peer.host, peer.peer_port);
        let wanted = |id: &u64| peers.get(id).map(address);
        let gone = self.peers.iter().filter(|(id, link)| wanted(id).as_ref() != Some(&link.host_and_port));
        for id in gone.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(conn) = self.peers.remove(&id).and_then(|link| link.conn) {
                ctx.close(conn);
            }
        }
        for (id, peer) in peers {
            if !self.peers.contains_key(id) {
                let host_and_port = address(peer);
                let dialled =
                    Dialled { host_and_port, conn: None, opened_at: None, until: Millis(0), pause_ms: PAUSE_MS.0 };
                self.peers.insert(*id, dialled);
                self.dial(*id, ctx);
            }
        }
    }

    fn queue(&mut self, job: Job, ctx: &mut Ctx<'_>) {
        let Store::Coordinator(disk) = ctx.store() else { return };
        disk.queued.push_back(job);
        if !disk.is_busy {
            self.write(ctx);
        }
    }

    fn write(&mut self, ctx: &mut Ctx<'_>) {
        let core = &mut *ctx.core;
        let Store::Coordinator(disk) = &mut core.machines[ctx.host.0].store else { return };
        disk.is_busy = true;
        let latency = disk.latency(&mut core.rng);
        ctx.after(latency, DISK);
    }

    fn disk_done(&mut self, ctx: &mut Ctx<'_>) {
        let core = &mut *ctx.core;
        let Store::Coordinator(disk) = &mut core.machines[ctx.host.0].store else { return };
        if std::mem::take(&mut disk.fails_write) {
            return ctx.exit("the store cannot be written".to_owned());
        }
        // What was queued while the disk was busy goes with the next write, or with this one.
        let count = core.rng.usize(1..=disk.queued.len().max(1)).min(disk.queued.len());
        let (mut number, mut export) = (None, None);
        for _ in 0..count {
            match disk.queued.pop_front() {
                Some(Job::Write(write)) => {
                    number = write.number.or(number);
                    disk.written.push(*write);
                }
                Some(Job::Export(to)) => {
                    // What was asked before it is in it, what is asked after it is not.
                    export = Some(to);
                    break;
                }
                None => break,
            }
        }
        if number.is_some() {
            disk.sync();
        }
        disk.is_busy = false;
        let has_more = !disk.queued.is_empty();
        if let Some(to) = export {
            let pause = core.rng.u64(100..50_000);
            self.exports.insert(to, disk.export());
            ctx.after(pause, EXPORT + to);
        }
        if has_more {
            self.write(ctx);
        }
        if let Some(number) = number {
            self.input(Input::Persisted { number }, ctx);
        }
    }

    fn client_connected(&mut self, conn: Conn, from: Host, ctx: &mut Ctx<'_>) {
        let connection = ConnectionId(self.next_client);
        self.next_client += 1;
        self.clients.insert(conn, Client { id: connection, buffer: BytesMut::new() });
        self.conns.insert(connection, conn);
        let address = u8::try_from(from.0).unwrap_or(u8::MAX);
        let remote = SocketAddr::from(([10, 0, 0, address], 40_000));
        self.input(Input::ClientConnected { connection, remote }, ctx);
    }

    fn bytes(&mut self, conn: Conn, bytes: Bytes, ctx: &mut Ctx<'_>) {
        if let Some(client) = self.clients.get_mut(&conn) {
            client.buffer.extend_from_slice(&bytes);
            let Some(end) = whole_frames(&client.buffer, self.frame_bytes) else {
                return ctx.violation("a client sends a frame that is too long".to_owned());
            };
            let connection = client.id;
            if end > 0 {
                let frames = client.buffer.split_to(end).freeze();
                self.input(Input::ClientFrames { connection, frames }, ctx);
            }
        } else if let Some((from, buffer)) = self.receiving.get_mut(&conn) {
            buffer.extend_from_slice(&bytes);
            let (from, end) = (*from, whole_frames(buffer, usize::MAX).unwrap_or(0));
            if end > 0 {
                let frames = buffer.split_to(end).freeze();
                self.input(Input::PeerMessages { from, frames }, ctx);
            }
        }
    }

    fn ended(&mut self, conn: Conn, ctx: &mut Ctx<'_>) {
        if let Some(client) = self.clients.remove(&conn) {
            self.conns.remove(&client.id);
            self.input(Input::ClientClosed { connection: client.id }, ctx);
        } else if self.receiving.remove(&conn).is_none()
            && let Some(peer) = self.peer_of(conn)
        {
            self.peer_down(peer, ctx);
        }
    }

    fn peer_of(&self, conn: Conn) -> Option<u64> {
        self.peers.iter().find(|(_, link)| link.conn == Some(conn)).map(|(peer, _)| *peer)
    }

    fn opened(&mut self, conn: Conn, ctx: &mut Ctx<'_>) {
        let Some(peer) = self.peer_of(conn) else { return };
        if let Some(link) = self.peers.get_mut(&peer) {
            link.opened_at = Some(ctx.now().mono);
        }
        self.input(Input::PeerConnected { peer }, ctx);
    }

    fn peer_down(&mut self, peer: u64, ctx: &mut Ctx<'_>) {
        let now = ctx.now().mono;
        let Some(link) = self.peers.get_mut(&peer) else { return };
        let Some(opened_at) = link.opened_at.take() else { return self.pause_dialling(peer, ctx) };
        link.conn = None;
        if now - opened_at > 1_000 {
            link.pause_ms = PAUSE_MS.0;
        }
        let at_once = link.pause_ms == PAUSE_MS.0;
        self.input(Input::PeerLost { peer }, ctx);
        if at_once {
            if let Some(link) = self.peers.get_mut(&peer) {
                link.pause_ms *= 2;
            }
            self.dial(peer, ctx);
        } else {
            self.pause_dialling(peer, ctx);
        }
    }

    fn pause_dialling(&mut self, peer: u64, ctx: &mut Ctx<'_>) {
        let now = ctx.now().mono;
        let Some(link) = self.peers.get_mut(&peer) else { return };
        let pause_ms = link.pause_ms + ctx.core.rng.u64(0..=link.pause_ms / 2);
        (link.conn, link.opened_at, link.until) = (None, None, now + pause_ms);
        link.pause_ms = (link.pause_ms * 2).min(PAUSE_MS.1);
        ctx.wake_at(now + pause_ms, DIAL + peer);
    }

    fn dial(&mut self, peer: u64, ctx: &mut Ctx<'_>) {
        let now = ctx.now().mono;
        let Some(link) = self.peers.get_mut(&peer) else { return };
        link.conn = Some(ctx.dial(&link.host_and_port));
        link.until = now + GREETING_MS;
        ctx.wake_at(link.until, DIAL + peer);
    }

    /// A pause is over, or an attempt has taken too long; or the timer is an old one.
    fn dial_timer(&mut self, peer: u64, ctx: &mut Ctx<'_>) {
        let now = ctx.now().mono;
        let Some(link) = self.peers.get_mut(&peer) else { return };
        if link.opened_at.is_some() || now < link.until {
            return;
        }
        match link.conn.take() {
            None => self.dial(peer, ctx),
            Some(conn) => {
                ctx.close(conn);
                self.pause_dialling(peer, ctx);
            }
        }
    }
}

/// Length of the whole frames at the front; `None` if one claims to be longer than it may be.
fn whole_frames(bytes: &[u8], limit: usize) -> Option<usize> {
    let mut end = 0;
    while let Some(header) = bytes[end..].first_chunk::<FRAME_HEADER_BYTES>() {
        let len = u32::from_be_bytes(*header) as usize;
        if len > limit {
            return None;
        }
        if bytes.len() - end - FRAME_HEADER_BYTES < len {
            break;
        }
        end += FRAME_HEADER_BYTES + len;
    }
    Some(end)
}
