//! Event heap, virtual time, hosts with their clocks, and the processes on them. It runs what is due, in an order that
//! follows from the seed alone. Knows no protocol; what fails when is decided elsewhere.

use super::broker::BrokerProcess;
use super::coordinator::{CoordinatorDisk, CoordinatorProcess};
use super::disk::SimDisk;
use super::history::History;
use super::network::{ACCEPTOR, Conn, DIALLER, Network, Packet};
use super::trace::{Detail, Trace};
use super::workload::kafka::{Duty, KafkaClient, Topics};
use super::workload::zk::ZkClient;
use bytes::Bytes;
use common::Rng;
use common::time::{Millis, Now, WallMillis};
use std::collections::{BTreeMap, BTreeSet};

/// Virtual microseconds since the start of a run.
pub type Micros = u64;

/// One virtual second.
pub const SECOND: Micros = 1_000_000;

/// Of what arrives, so much is shown in a list of all events.
const BYTES_SHOWN: usize = 240;

/// When a lost packet is first sent again; the pause doubles each time.
const RETRANSMISSION: Micros = 200_000;

/// The wall clocks' time at the start of a run.
const EPOCH_MS: i64 = 1_750_000_000_000;

/// A machine with one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host(pub usize);

/// What a host's process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A coordinator: its number, and the text of its `zoo.cfg`.
    Coordinator {
        /// The N of `server.N`.
        id: u64,
        /// The configuration.
        config: String,
    },
    /// A broker: the text of its `server.properties`.
    Broker {
        /// The configuration.
        config: String,
    },
    /// A client of the brokers.
    Kafka {
        /// Its number among the clients.
        number: u64,
        /// What it does.
        duty: Duty,
        /// What it reads or writes.
        topics: Topics,
        /// Where it asks first.
        bootstrap: Vec<String>,
    },
    /// A client that reads and writes znodes.
    ZkClient {
        /// Its number among the clients.
        number: u64,
        /// Where the coordinators are.
        connect: String,
    },
}

/// Something that happens to a process.
#[derive(Clone, Debug)]
pub enum Happening {
    /// Somebody connected to a port.
    Accepted {
        /// The connection.
        conn: Conn,
        /// The port.
        port: u16,
        /// Who dialled.
        from: Host,
    },
    /// A connection that was dialled is open.
    Opened(Conn),
    /// Nobody listens there.
    Refused(Conn),
    /// Bytes arrived, in order.
    Bytes(Conn, Bytes),
    /// The other side closed the connection, or it broke.
    Ended(Conn),
    /// A timer that the process set.
    Timer(u64),
}

/// A program that a host runs.
pub enum Program {
    /// A coordinator.
    Coordinator(Box<CoordinatorProcess>),
    /// A broker.
    Broker(Box<BrokerProcess>),
    /// A client of the coordinators.
    ZkClient(Box<ZkClient>),
    /// A client of the brokers.
    Kafka(Box<KafkaClient>),
}

impl Program {
    fn happen(&mut self, happening: Happening, ctx: &mut Ctx<'_>) {
        match self {
            Program::Coordinator(process) => process.happen(happening, ctx),
            Program::Broker(process) => process.happen(happening, ctx),
            Program::ZkClient(process) => process.happen(happening, ctx),
            Program::Kafka(process) => process.happen(happening, ctx),
        }
    }
}

/// What a host keeps when its process ends.
#[derive(Debug, Default)]
pub enum Store {
    /// Nothing.
    #[default]
    None,
    /// A coordinator's store.
    Coordinator(CoordinatorDisk),
    /// A file system.
    Disk(SimDisk),
}

/// The clocks of a host.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Added to true time to get the wall clock, in milliseconds.
    pub wall_offset_ms: i64,
    /// How much too fast the monotonic clock goes, in millionths; negative for too slow.
    drift_ppm: i64,
    /// True and monotonic time when the rate last changed, in microseconds.
    base: (Micros, Micros),
}

impl Clock {
    fn mono_micros(&self, true_time: Micros) -> Micros {
        let passed = true_time.saturating_sub(self.base.0);
        let scaled = u128::from(passed) * (1_000_000 + self.drift_ppm).unsigned_abs() as u128 / 1_000_000;
        self.base.1 + scaled as Micros
    }

    fn now(&self, true_time: Micros) -> Now {
        Now {
            mono: Millis(self.mono_micros(true_time) / 1000),
            wall: WallMillis(EPOCH_MS + (true_time / 1000) as i64 + self.wall_offset_ms),
        }
    }

    /// The first true time at which the monotonic clock shows `at`, not before `now`.
    fn when(&self, at: Millis, now: Micros) -> Micros {
        let to_go = (at.0.saturating_mul(1000)).saturating_sub(self.mono_micros(now));
        let rate = u128::from((1_000_000 + self.drift_ppm).unsigned_abs());
        let passed = (u128::from(to_go) * 1_000_000).div_ceil(rate);
        now.saturating_add(Micros::try_from(passed).unwrap_or(Micros::MAX / 2))
    }
}

/// A machine.
#[derive(Debug)]
pub struct Machine {
    /// Its name in addresses.
    pub name: String,
    /// What it runs.
    pub role: Role,
    /// Its clocks.
    pub clock: Clock,
    /// Counts the lives of its process.
    pub life: u32,
    /// Has it a process?
    pub is_running: bool,
    /// Has it power?
    pub is_on: bool,
    /// Is its process stopped for a while?
    pub is_paused: bool,
    /// Was its process asked to end?
    pub is_stopping: bool,
    /// What stays when the process ends.
    pub store: Store,
    ports: BTreeSet<u16>,
    missed_timers: Vec<u64>,
    /// Until then its process waits for the disk and does nothing else.
    busy_until: Micros,
    /// How long a broker waits for its disk at most when it changes something, in microseconds; 0 for a healthy disk.
    pub disk_slowness: Micros,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Pump {
        conn: Conn,
        side: usize,
    },
    /// `due` by the host's monotonic clock, whose rate may change meanwhile.
    Timer {
        host: Host,
        life: u32,
        token: u64,
        due: Millis,
    },
}

/// Everything but the programs.
pub struct Core {
    now: Micros,
    queue: BTreeMap<(Micros, u64), Event>,
    next_event: u64,
    /// The one source of randomness.
    pub rng: Rng,
    /// Connections and links.
    pub network: Network,
    /// All machines.
    pub machines: Vec<Machine>,
    /// What happened.
    pub trace: Trace,
    /// What clients asked and got.
    pub history: History,
    /// What no process may ever do, done.
    pub violations: Vec<String>,
    /// Numbers of the faults that have happened.
    pub suffered: BTreeSet<usize>,
    exits: Vec<(Host, u32, String)>,
}

impl Core {
    /// True time.
    pub fn now(&self) -> Micros {
        self.now
    }

    fn schedule(&mut self, at: Micros, event: Event) {
        self.next_event += 1;
        self.queue.insert((at.max(self.now), self.next_event), event);
    }

    fn disk_changes(&self, host: Host) -> u64 {
        match &self.machines[host.0].store {
            Store::Disk(disk) => disk.changes(),
            Store::Coordinator(_) | Store::None => 0,
        }
    }

    /// How often disks have given a wrong bit so far. What was asked for since another count may have one.
    pub fn rotten_reads(&self) -> u64 {
        let reads = self.machines.iter().map(|machine| match &machine.store {
            Store::Disk(disk) => disk.rotten_reads(),
            Store::Coordinator(_) | Store::None => 0,
        });
        reads.sum()
    }

    /// A line of the story.
    pub fn tell(&mut self, host: Host, line: impl FnOnce() -> String) {
        let name = &self.machines[host.0].name;
        self.trace.story(self.now, || format!("{name}: {}", line()));
    }

    fn latency(&mut self, from: Host, to: Host) -> Micros {
        let mut base = if self.rng.u32(..100) < 90 { self.rng.u64(50..600) } else { self.rng.u64(600..6_000) };
        if let Some(one_in) = self.network.loses_one_in(from, to) {
            let mut timeout = RETRANSMISSION;
            while timeout < 16 * RETRANSMISSION && self.rng.u32(..one_in) == 0 {
                base += timeout;
                timeout *= 2;
            }
        }
        match self.network.slowness(from, to) {
            0 => base,
            slow => base + self.rng.u64(0..slow),
        }
    }

    fn transmit(&mut self, conn: Conn, side: usize, packet: Packet) {
        let Some(connection) = self.network.connections.get(&conn) else { return };
        let latency = self.latency(connection.hosts[1 - side], connection.hosts[side]);
        let now = self.now;
        let Some(connection) = self.network.connections.get_mut(&conn) else { return };
        let stream = &mut connection.towards[side];
        let arrival = (now + latency).max(stream.last_arrival);
        stream.last_arrival = arrival;
        let is_first = stream.packets.is_empty();
        stream.packets.push_back((arrival, packet));
        if is_first && !stream.is_stalled {
            self.schedule(arrival, Event::Pump { conn, side });
        }
    }

    /// Delivers the first packet of a direction.
    fn pump(&mut self, conn: Conn, side: usize) -> Option<(Host, Happening)> {
        let connection = self.network.connections.get(&conn)?;
        let (from, to) = (connection.hosts[1 - side], connection.hosts[side]);
        let machine = &self.machines[to.0];
        let is_held = self.network.is_cut(from, to) || !machine.is_on || machine.is_paused;
        let (now, busy_until) = (self.now, machine.busy_until);
        if busy_until > now && !is_held {
            self.schedule(busy_until, Event::Pump { conn, side });
            return None;
        }
        let stream = &mut self.network.connections.get_mut(&conn)?.towards[side];
        if is_held {
            stream.is_stalled = true;
            return None;
        }
        let (_, packet) = stream.packets.pop_front()?;
        if let Some((next, _)) = stream.packets.front() {
            let at = (*next).max(now);
            self.schedule(at, Event::Pump { conn, side });
        }
        let happening = self.arrive(conn, side, packet);
        self.network.tidy(conn);
        happening.map(|happening| (to, happening))
    }

    fn arrive(&mut self, conn: Conn, side: usize, packet: Packet) -> Option<Happening> {
        let connection = self.network.connections.get_mut(&conn)?;
        let machine = &self.machines[connection.hosts[side].0];
        let is_ours = connection.is_open[side] && machine.is_running && connection.lives[side] == machine.life;
        match packet {
            Packet::Syn if !connection.is_open[DIALLER] => None,
            Packet::Syn => {
                if machine.is_running && machine.ports.contains(&connection.port) {
                    connection.lives[ACCEPTOR] = machine.life;
                    connection.is_open[ACCEPTOR] = true;
                    let (port, from) = (connection.port, connection.hosts[DIALLER]);
                    self.transmit(conn, DIALLER, Packet::SynAck);
                    return Some(Happening::Accepted { conn: conn.end(ACCEPTOR), port, from });
                }
                self.transmit(conn, DIALLER, Packet::Refuse);
                None
            }
            Packet::Bytes(_) | Packet::SynAck if !is_ours => {
                connection.is_open[side] = false;
                if connection.is_open[1 - side] {
                    self.transmit(conn, 1 - side, Packet::Reset);
                }
                None
            }
            _ if !is_ours => {
                connection.is_open[side] = false;
                None
            }
            Packet::SynAck => Some(Happening::Opened(conn.end(side))),
            Packet::Bytes(bytes) => Some(Happening::Bytes(conn.end(side), bytes)),
            Packet::Refuse => {
                connection.is_open[side] = false;
                Some(Happening::Refused(conn.end(side)))
            }
            Packet::Fin | Packet::Reset => {
                connection.is_open[side] = false;
                Some(Happening::Ended(conn.end(side)))
            }
        }
    }

    /// The ends that a process held are closed by its system; what was sent may still arrive, or be lost in part.
    fn release_connections(&mut self, host: Host) {
        for (conn, side) in self.network.open_at(host) {
            if self.rng.bool() {
                self.close_end(conn, side, Packet::Fin);
            } else {
                self.drop_tail(conn, 1 - side);
                self.close_end(conn, side, Packet::Reset);
            }
        }
    }

    fn close_end(&mut self, conn: Conn, side: usize, packet: Packet) {
        let Some(connection) = self.network.connections.get_mut(&conn) else { return };
        if !connection.is_open[side] {
            return;
        }
        connection.is_open[side] = false;
        self.transmit(conn, 1 - side, packet);
    }

    /// Loses an end part of what is under way.
    fn drop_tail(&mut self, conn: Conn, side: usize) {
        let Some(connection) = self.network.connections.get(&conn) else { return };
        let count = connection.towards[side].packets.len();
        // The first packet has an event that waits for it.
        let kept = if count == 0 { 0 } else { self.rng.usize(1..=count) };
        if let Some(connection) = self.network.connections.get_mut(&conn) {
            connection.towards[side].packets.truncate(kept);
        }
    }

    /// Breaks a connection: each side gets a part of what was under way, then its end.
    pub fn break_connection(&mut self, conn: Conn) {
        for side in [DIALLER, ACCEPTOR] {
            self.drop_tail(conn, side);
            self.transmit(conn, side, Packet::Reset);
        }
    }

    /// The directions that something held go on, if nothing holds them any more.
    fn resume_streams(&mut self) {
        for (conn, side) in self.network.stalled() {
            let Some(connection) = self.network.connections.get(&conn) else { continue };
            let (from, to) = (connection.hosts[1 - side], connection.hosts[side]);
            let machine = &self.machines[to.0];
            if self.network.is_cut(from, to) || !machine.is_on || machine.is_paused {
                continue;
            }
            // A sender that got no answer repeats itself ever more seldom.
            let at = self.now + self.rng.u64(0..300_000);
            if let Some(connection) = self.network.connections.get_mut(&conn) {
                connection.towards[side].is_stalled = false;
                self.schedule(at, Event::Pump { conn, side });
            }
        }
    }

    /// A link works again. Some connections did not survive the silence.
    pub fn mend(&mut self, from: Host, to: Host) {
        self.network.mend(from, to);
        for (conn, side) in self.network.stalled() {
            let is_on_link = self
                .network
                .connections
                .get(&conn)
                .is_some_and(|connection| connection.hosts[1 - side] == from && connection.hosts[side] == to);
            if is_on_link && self.rng.u32(..3) == 0 {
                self.break_connection(conn);
            }
        }
        self.resume_streams();
    }
}

/// A process's view of the world.
pub struct Ctx<'a> {
    /// Everything but the programs.
    pub core: &'a mut Core,
    /// Where the process runs.
    pub host: Host,
    life: u32,
}

impl Ctx<'_> {
    /// The host's clocks.
    pub fn now(&self) -> Now {
        self.core.machines[self.host.0].clock.now(self.core.now)
    }

    /// Accepts connections at a port.
    pub fn listen(&mut self, port: u16) {
        self.core.machines[self.host.0].ports.insert(port);
    }

    /// Dials `host:port`; `Opened`, `Refused` or nothing follows.
    pub fn dial(&mut self, address: &str) -> Conn {
        let (name, port) = address.rsplit_once(':').expect("addresses are written host:port");
        let port = port.parse().expect("ports are numbers");
        let index = self.core.machines.iter().position(|machine| machine.name == name);
        let to = Host(index.unwrap_or_else(|| unreachable!("no machine has the name {name}")));
        let conn = self.core.network.add([self.host, to], self.life, port);
        self.core.transmit(conn, ACCEPTOR, Packet::Syn);
        conn
    }

    /// Sends bytes on an open connection; on another they are lost.
    pub fn send(&mut self, conn: Conn, mut bytes: Bytes) {
        let Some((conn, side)) = self.side(conn) else { return };
        if bytes.len() > 1 && self.core.rng.u32(..16) == 0 {
            let first = bytes.split_to(self.core.rng.usize(1..bytes.len()));
            self.core.transmit(conn, 1 - side, Packet::Bytes(first));
        }
        self.core.transmit(conn, 1 - side, Packet::Bytes(bytes));
    }

    /// Closes a connection after what was sent. Nothing more is heard of it.
    pub fn close(&mut self, conn: Conn) {
        if let Some((conn, side)) = self.side(conn) {
            self.core.close_end(conn, side, Packet::Fin);
        }
    }

    fn side(&self, end: Conn) -> Option<(Conn, usize)> {
        let (conn, side) = end.split();
        let connection = self.core.network.connections.get(&conn)?;
        let is_ours = connection.hosts[side] == self.host && connection.lives[side] == self.life;
        (is_ours && connection.is_open[side]).then_some((conn, side))
    }

    /// A timer by the host's monotonic clock.
    pub fn wake_at(&mut self, at: Millis, token: u64) {
        let (due, now) = (at, self.core.now);
        let at = self.core.machines[self.host.0].clock.when(due, now);
        self.core.schedule(at, Event::Timer { host: self.host, life: self.life, token, due });
    }

    /// A timer by true time: for what is not the process's own doing, such as a disk.
    pub fn after(&mut self, micros: Micros, token: u64) {
        let at = self.core.now + micros;
        self.core.schedule(at, Event::Timer { host: self.host, life: self.life, token, due: Millis(0) });
    }

    /// What the host keeps.
    pub fn store(&mut self) -> &mut Store {
        &mut self.core.machines[self.host.0].store
    }

    /// The process ends by itself once it returns.
    pub fn exit(&mut self, reason: String) {
        self.core.exits.push((self.host, self.life, reason));
    }

    /// A line of the story.
    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        self.core.tell(self.host, line);
    }

    /// Something that must never happen, has.
    pub fn violation(&mut self, text: String) {
        let text = format!("{}: {text}", self.core.machines[self.host.0].name);
        self.core.violations.push(text);
    }
}

/// The whole world.
pub struct World {
    /// Everything but the programs.
    pub core: Core,
    programs: Vec<Option<Program>>,
}

impl World {
    /// A world without machines.
    pub fn new(seed: u64, detail: Detail) -> World {
        let core = Core {
            now: 0,
            queue: BTreeMap::new(),
            next_event: 0,
            rng: Rng::with_seed(seed),
            network: Network::default(),
            machines: Vec::new(),
            trace: Trace::new(detail),
            history: History::default(),
            violations: Vec::new(),
            suffered: BTreeSet::new(),
            exits: Vec::new(),
        };
        World { core, programs: Vec::new() }
    }

    /// A machine that is on and runs nothing yet.
    pub fn add(&mut self, name: &str, role: Role) -> Host {
        let store = match role {
            Role::Coordinator { .. } => Store::Coordinator(CoordinatorDisk::default()),
            Role::Broker { .. } => Store::Disk(SimDisk::default()),
            Role::ZkClient { .. } | Role::Kafka { .. } => Store::None,
        };
        self.core.machines.push(Machine {
            name: name.to_owned(),
            role,
            clock: Clock { wall_offset_ms: 0, drift_ppm: 0, base: (0, 0) },
            life: 0,
            is_running: false,
            is_on: true,
            is_paused: false,
            is_stopping: false,
            store,
            ports: BTreeSet::new(),
            missed_timers: Vec::new(),
            busy_until: 0,
            disk_slowness: 0,
        });
        self.programs.push(None);
        Host(self.programs.len() - 1)
    }

    /// The machine.
    pub fn machine(&self, host: Host) -> &Machine {
        &self.core.machines[host.0]
    }

    /// The program that a machine runs.
    pub fn program(&self, host: Host) -> Option<&Program> {
        self.programs[host.0].as_ref()
    }

    /// The program that a machine runs, to be told what to do.
    pub fn act<T>(&mut self, host: Host, act: impl FnOnce(&mut Program, &mut Ctx<'_>) -> T) -> Option<T> {
        let mut program = self.programs[host.0].take()?;
        let life = self.core.machines[host.0].life;
        let outcome = act(&mut program, &mut Ctx { core: &mut self.core, host, life });
        self.programs[host.0] = Some(program);
        self.after_act(host);
        Some(outcome)
    }

    /// Starts the process of a machine that has none.
    pub fn start(&mut self, host: Host) {
        let base_mono = self.core.rng.u64(1_000_000..100_000_000);
        let now = self.core.now;
        let machine = &mut self.core.machines[host.0];
        assert!(!machine.is_running, "a machine runs one process");
        machine.is_on = true;
        machine.is_running = true;
        machine.life += 1;
        // A monotonic clock means nothing outside its process.
        machine.clock.base = (now, base_mono);
        let (life, role) = (machine.life, machine.role.clone());
        self.core.tell(host, || "starts".to_owned());
        self.core.resume_streams();
        let mut ctx = Ctx { core: &mut self.core, host, life };
        let program = match role {
            Role::Coordinator { id, config } => CoordinatorProcess::start(id, &config, &mut ctx),
            Role::Broker { config } => BrokerProcess::start(&config, &mut ctx),
            Role::ZkClient { number, connect } => Some(ZkClient::start(number, &connect, &mut ctx)),
            Role::Kafka { number, duty, topics, bootstrap } => {
                Some(KafkaClient::start(number, &duty, &topics, &bootstrap, &mut ctx))
            }
        };
        self.programs[host.0] = program;
        self.after_act(host);
    }

    /// The process ends at once; the machine goes on: what was given to its system stays, its connections are closed.
    pub fn kill(&mut self, host: Host) {
        if !self.core.machines[host.0].is_running {
            return;
        }
        self.core.tell(host, || "is killed".to_owned());
        self.end(host);
        self.core.release_connections(host);
    }

    fn end(&mut self, host: Host) {
        self.programs[host.0] = None;
        let Core { machines, rng, .. } = &mut self.core;
        let machine = &mut machines[host.0];
        machine.is_running = false;
        (machine.is_paused, machine.is_stopping) = (false, false);
        machine.ports.clear();
        machine.missed_timers.clear();
        match &mut machine.store {
            Store::None => {}
            Store::Coordinator(disk) => disk.process_ended(rng),
            Store::Disk(disk) => disk.process_began(),
        }
        machine.busy_until = 0;
        self.core.resume_streams();
    }

    /// The machine loses its power: what was not synced may be lost, and nobody is told.
    pub fn power_off(&mut self, host: Host) {
        if !self.core.machines[host.0].is_on {
            return;
        }
        self.core.tell(host, || "loses power".to_owned());
        self.end(host);
        for (conn, side) in self.core.network.open_at(host) {
            if let Some(connection) = self.core.network.connections.get_mut(&conn) {
                connection.is_open[side] = false;
            }
        }
        let Core { machines, rng, .. } = &mut self.core;
        machines[host.0].is_on = false;
        match &mut machines[host.0].store {
            Store::None => {}
            Store::Coordinator(disk) => disk.power_lost(rng),
            Store::Disk(disk) => disk.lose_power(rng),
        }
    }

    /// Stops the process for a while: its clock goes on, its connections hold.
    pub fn pause(&mut self, host: Host) {
        if self.core.machines[host.0].is_running {
            self.core.tell(host, || "is paused".to_owned());
            self.core.machines[host.0].is_paused = true;
        }
    }

    /// Lets the process go on.
    pub fn resume(&mut self, host: Host) {
        let machine = &mut self.core.machines[host.0];
        if !machine.is_paused {
            return;
        }
        machine.is_paused = false;
        let (life, timers) = (machine.life, std::mem::take(&mut machine.missed_timers));
        self.core.tell(host, || "goes on".to_owned());
        for token in timers {
            let now = self.core.now;
            self.core.schedule(now, Event::Timer { host, life, token, due: Millis(0) });
        }
        self.core.resume_streams();
    }

    /// Changes how fast a host's monotonic clock goes, in millionths.
    pub fn set_drift(&mut self, host: Host, drift_ppm: i64) {
        let now = self.core.now;
        let clock = &mut self.core.machines[host.0].clock;
        clock.base = (now, clock.mono_micros(now));
        clock.drift_ppm = drift_ppm.clamp(-500_000, 500_000);
    }

    /// What the host's process logged is kept; a process that ended by itself is taken away.
    fn after_act(&mut self, host: Host) {
        let Core { trace, now, machines, .. } = &mut self.core;
        trace.logs(*now, &machines[host.0].name);
        for (host, life, reason) in std::mem::take(&mut self.core.exits) {
            let machine = &self.core.machines[host.0];
            if machine.is_running && machine.life == life {
                self.core.tell(host, || format!("ends: {reason}"));
                self.end(host);
                self.core.release_connections(host);
            }
        }
    }

    /// Lets everything happen up to a moment.
    pub fn run_to(&mut self, until: Micros) {
        while let Some(entry) = self.core.queue.first_entry() {
            let (at, _) = *entry.key();
            if at > until {
                break;
            }
            let event = entry.remove();
            self.core.now = at;
            self.happen(event);
        }
        self.core.now = until;
    }

    fn happen(&mut self, event: Event) {
        let (host, happening) = match event {
            Event::Pump { conn, side } => match self.core.pump(conn, side) {
                Some(found) => found,
                None => return,
            },
            Event::Timer { host, life, token, due } => {
                let now = self.core.now;
                let machine = &mut self.core.machines[host.0];
                if machine.life != life || !machine.is_running {
                    return;
                }
                if machine.clock.now(now).mono < due {
                    let at = machine.clock.when(due, now);
                    return self.core.schedule(at, event);
                }
                if machine.is_paused {
                    machine.missed_timers.push(token);
                    return;
                }
                if machine.busy_until > now {
                    let at = machine.busy_until;
                    return self.core.schedule(at, event);
                }
                (host, Happening::Timer(token))
            }
        };
        self.record(host, &happening);
        let Some(mut program) = self.programs[host.0].take() else { return };
        let life = self.core.machines[host.0].life;
        let changes = self.core.disk_changes(host);
        program.happen(happening, &mut Ctx { core: &mut self.core, host, life });
        self.programs[host.0] = Some(program);
        let slowness = self.core.machines[host.0].disk_slowness;
        if slowness > 0 && self.core.disk_changes(host) > changes {
            self.core.machines[host.0].busy_until = self.core.now + self.core.rng.u64(0..slowness);
        }
        self.after_act(host);
    }

    fn record(&mut self, host: Host, happening: &Happening) {
        let (kind, number, bytes) = match happening {
            Happening::Accepted { conn, .. } => (1, conn.0, &[][..]),
            Happening::Opened(conn) => (2, conn.0, &[][..]),
            Happening::Refused(conn) => (3, conn.0, &[][..]),
            Happening::Bytes(conn, bytes) => (4, conn.0, &bytes[..]),
            Happening::Ended(conn) => (5, conn.0, &[][..]),
            Happening::Timer(token) => (6, *token, &[][..]),
        };
        let Core { trace, machines, now, .. } = &mut self.core;
        trace.mix(number);
        trace.event(*now, kind | (host.0 as u64) << 8, bytes, || {
            let name = &machines[host.0].name;
            match happening {
                Happening::Bytes(conn, bytes) => {
                    let start: String = bytes.iter().take(BYTES_SHOWN).map(|byte| format!("{byte:02x}")).collect();
                    format!("{name}: {} bytes on {}: {start}", bytes.len(), conn.0)
                }
                other => format!("{name}: {other:?}"),
            }
        });
    }
}
