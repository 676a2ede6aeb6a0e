//! What goes wrong in a run, and when: kills, lost power, pauses, cut and slow links, broken connections, clocks that jump
//! or drift, slow disks. Everything it does it can undo.

use super::scenario::Plan;
use super::workload::kafka::Topics;
use super::world::{Host, Micros, Role, SECOND, Store, World};
use crate::check::in_sync;
use common::Rng;
use std::collections::BTreeMap;

/// How a fault is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Undo {
    Start(Host),
    /// Once the cluster has noticed that it is away.
    StartOutOfSync(Host),
    Resume(Host),
    Mend(Host, Host),
    Quicken(Host, Host),
    Disk(Host),
    Drift(Host),
}

/// Something that can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A process ends at once.
    Kill,
    /// A machine loses its power.
    PowerOff,
    /// A process stands still for a while.
    Pause,
    /// One direction of a link is cut.
    CutOneWay,
    /// Both directions of a link are cut.
    Cut,
    /// A machine is cut off from all others.
    Isolate,
    /// A link is slow.
    Slow,
    /// Some connections break.
    Break,
    /// A wall clock jumps.
    Jump,
    /// A monotonic clock is too fast or too slow.
    Drift,
    /// A disk is slow.
    SlowDisk,
}

/// All of them.
pub const ALL: [Fault; 11] = [
    Fault::Kill,
    Fault::PowerOff,
    Fault::Pause,
    Fault::CutOneWay,
    Fault::Cut,
    Fault::Isolate,
    Fault::Slow,
    Fault::Break,
    Fault::Jump,
    Fault::Drift,
    Fault::SlowDisk,
];

/// Clocks of machines that are worth their price differ by no more, in millionths.
const DRIFT_PPM: i64 = 2_000;

/// The source of faults.
#[derive(Debug)]
pub struct Faults {
    rng: Rng,
    next_at: Micros,
    undos: BTreeMap<(Micros, u64), Undo>,
    count: u64,
    kinds: Vec<Fault>,
    topics: Topics,
}

impl Faults {
    /// The plan's faults, from `start` on.
    pub fn new(plan: &Plan, mut rng: Rng, start: Micros) -> Faults {
        let next_at = start + rng.u64(0..SECOND);
        let (kinds, topics) = (plan.faults.clone(), plan.topics.clone());
        Faults { rng, next_at, undos: BTreeMap::new(), count: 0, kinds, topics }
    }

    /// When [`Faults::step`] has something to do.
    pub fn next_at(&self) -> Micros {
        self.undos.keys().next().map_or(self.next_at, |(at, _)| self.next_at.min(*at))
    }

    /// Does what is due.
    pub fn step(&mut self, world: &mut World) {
        let now = world.core.now();
        while let Some(entry) = self.undos.first_entry().filter(|entry| entry.key().0 <= now) {
            let undo = entry.remove();
            self.undo(undo, world);
        }
        if self.next_at <= now {
            self.next_at = now + self.rng.u64(100_000..3 * SECOND);
            if let Some(fault) = self.rng.choice(self.kinds.clone()) {
                self.happen(fault, world);
            }
        }
    }

    /// Begins nothing more and undoes everything; what must wait for the cluster is left for [`Faults::step`].
    pub fn heal(&mut self, world: &mut World) {
        self.next_at = Micros::MAX;
        for undo in std::mem::take(&mut self.undos).into_values() {
            self.undo(undo, world);
        }
        let waits = |host: Host| self.undos.values().any(|undo| *undo == Undo::StartOutOfSync(host));
        for host in (0..world.core.machines.len()).map(Host) {
            if !world.machine(host).is_running && !waits(host) {
                world.start(host);
            }
            world.set_drift(host, 0);
        }
    }

    /// True if nothing is left to undo.
    pub fn is_healed(&self) -> bool {
        self.undos.is_empty()
    }

    fn undo(&mut self, undo: Undo, world: &mut World) {
        match undo {
            Undo::StartOutOfSync(host) if in_sync::counts_on(world, &self.topics, host) => {
                self.later(world, 200_000..SECOND, undo);
            }
            undo => carry_out(undo, world),
        }
    }

    fn later(&mut self, world: &World, range: std::ops::Range<Micros>, undo: Undo) {
        self.count += 1;
        let at = world.core.now() + self.rng.u64(range);
        self.undos.insert((at, self.count), undo);
    }

    /// A server, at random.
    fn server(&mut self, world: &World) -> Host {
        let is_server =
            |host: &Host| matches!(world.machine(*host).role, Role::Coordinator { .. } | Role::Broker { .. });
        let servers: Vec<Host> = (0..world.core.machines.len()).map(Host).filter(is_server).collect();
        servers[self.rng.usize(..servers.len())]
    }

    fn pair(&mut self, world: &World) -> (Host, Host) {
        let first = self.server(world);
        let count = world.core.machines.len();
        let second = (first.0 + self.rng.usize(1..count)) % count;
        if self.rng.bool() { (first, Host(second)) } else { (Host(second), first) }
    }

    fn happen(&mut self, fault: Fault, world: &mut World) {
        match fault {
            Fault::Kill => {
                let host = self.server(world);
                if world.machine(host).is_running {
                    world.kill(host);
                    self.later(world, 20_000..6 * SECOND, Undo::Start(host));
                }
            }
            Fault::PowerOff => self.power_off(world),
            Fault::Pause => {
                let host = self.server(world);
                if world.machine(host).is_running && !world.machine(host).is_paused {
                    world.pause(host);
                    let longest = if self.rng.bool() { SECOND } else { 12 * SECOND };
                    self.later(world, 50_000..longest, Undo::Resume(host));
                }
            }
            Fault::CutOneWay => {
                let (from, to) = self.pair(world);
                self.cut(world, from, to, 8 * SECOND);
            }
            Fault::Cut => {
                let (one, other) = self.pair(world);
                self.cut(world, one, other, 8 * SECOND);
                self.cut(world, other, one, 8 * SECOND);
            }
            Fault::Isolate => {
                let host = self.server(world);
                for other in (0..world.core.machines.len()).map(Host).filter(|other| *other != host) {
                    self.cut(world, host, other, 10 * SECOND);
                    self.cut(world, other, host, 10 * SECOND);
                }
            }
            Fault::Slow => {
                let (from, to) = self.pair(world);
                let delay = self.rng.u64(5_000..400_000);
                let name = world.machine(to).name.clone();
                world.core.tell(from, || format!("the link to {name} is slow, {delay} us"));
                world.core.network.set_slow(from, to, delay);
                self.later(world, SECOND..6 * SECOND, Undo::Quicken(from, to));
            }
            Fault::Break => self.break_connections(world),
            Fault::Jump => {
                let host = self.server(world);
                let offset = self.rng.i64(-600_000..600_000);
                world.core.tell(host, || format!("the wall clock is now off by {offset} ms"));
                world.core.machines[host.0].clock.wall_offset_ms = offset;
            }
            Fault::Drift => {
                let host = self.server(world);
                let drift = self.rng.i64(-DRIFT_PPM..=DRIFT_PPM);
                world.core.tell(host, || format!("the clock drifts by {drift} ppm"));
                world.set_drift(host, drift);
                self.later(world, SECOND..10 * SECOND, Undo::Drift(host));
            }
            Fault::SlowDisk => {
                let host = self.server(world);
                let slowness = self.rng.u64(10_000..400_000);
                set_slow_disk(world, host, slowness);
                self.later(world, SECOND..6 * SECOND, Undo::Disk(host));
            }
        }
    }

    /// Kafka's brokers do not sync what they acknowledge: replicas stand for each other. So one machine may lose what it has
    /// not synced while all are in sync, and come back when nobody counts on it.
    fn power_off(&mut self, world: &mut World) {
        let host = self.server(world);
        let is_broker = matches!(world.machine(host).role, Role::Broker { .. });
        let is_safe = !is_broker || in_sync::lacking(world, &self.topics).is_empty();
        if world.machine(host).is_running && is_safe {
            world.power_off(host);
            let undo = if is_broker { Undo::StartOutOfSync(host) } else { Undo::Start(host) };
            self.later(world, SECOND..8 * SECOND, undo);
        }
    }

    fn cut(&mut self, world: &mut World, from: Host, to: Host, longest: Micros) {
        if !world.core.network.is_cut(from, to) {
            let name = world.machine(to).name.clone();
            world.core.tell(from, || format!("the link to {name} is cut"));
            world.core.network.cut(from, to);
            self.later(world, 100_000..longest, Undo::Mend(from, to));
        }
    }

    fn break_connections(&mut self, world: &mut World) {
        let host = self.server(world);
        world.core.tell(host, || "some connections break".to_owned());
        for (conn, _) in world.core.network.open_at(host) {
            if self.rng.bool() {
                world.core.break_connection(conn);
            }
        }
    }
}

fn set_slow_disk(world: &mut World, host: Host, micros: Micros) {
    world.core.tell(host, || format!("writes to disk take up to {micros} us"));
    match &mut world.core.machines[host.0].store {
        Store::Coordinator(disk) => disk.slowness = micros,
        // Calls of a broker to its disk take no virtual time.
        Store::Disk(_) | Store::None => {}
    }
}

fn carry_out(undo: Undo, world: &mut World) {
    match undo {
        Undo::Start(host) | Undo::StartOutOfSync(host) => {
            if !world.machine(host).is_running {
                world.start(host);
            }
        }
        Undo::Resume(host) => world.resume(host),
        Undo::Mend(from, to) => {
            let name = world.machine(to).name.clone();
            world.core.tell(from, || format!("the link to {name} works again"));
            world.core.mend(from, to);
        }
        Undo::Quicken(from, to) => world.core.network.set_slow(from, to, 0),
        Undo::Disk(host) => set_slow_disk(world, host, 0),
        Undo::Drift(host) => world.set_drift(host, 0),
    }
}
