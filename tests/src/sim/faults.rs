//! What goes wrong in a run, and when: kills, stops, lost power, pauses, cut, slow and lossy links, broken connections,
//! clocks that jump or drift, disks that are slow, full, rotten, or fail to sync. All of it follows from the seed, each
//! fault by itself, so that one can be left out and the others stay. Everything it does it can undo.

use super::scenario::Plan;
use super::workload::kafka::Topics;
use super::world::{Host, Machine, Micros, Program, Role, SECOND, Store, World};
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
    Dry(Host, Host),
    Disk(Host),
    Drift(Host),
}

/// Something that can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A process ends at once.
    Kill,
    /// A broker is asked to shut down in order; a coordinator ends at once.
    Stop,
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
    /// A link loses packets.
    Lossy,
    /// Some connections break.
    Break,
    /// A wall clock jumps.
    Jump,
    /// A monotonic clock is too fast or too slow.
    Drift,
    /// A disk is slow.
    SlowDisk,
    /// A disk has no room.
    FullDisk,
    /// A disk gives wrong bits now and then.
    BitRot,
    /// A sync fails once, and those after it lie.
    FailedSync,
}

/// All of them.
pub const ALL: [Fault; 16] = [
    Fault::Kill,
    Fault::Stop,
    Fault::PowerOff,
    Fault::Pause,
    Fault::CutOneWay,
    Fault::Cut,
    Fault::Isolate,
    Fault::Slow,
    Fault::Lossy,
    Fault::Break,
    Fault::Jump,
    Fault::Drift,
    Fault::SlowDisk,
    Fault::FullDisk,
    Fault::BitRot,
    Fault::FailedSync,
];

/// Clocks of machines that are worth their price differ by no more, in millionths.
const DRIFT_PPM: i64 = 2_000;

/// How often processes that ended by themselves are looked after.
const SUPERVISE_EVERY: Micros = 500_000;

/// A fault to come.
#[derive(Clone, Copy, Debug)]
struct Scheduled {
    number: usize,
    at: Micros,
    fault: Fault,
    seed: u64,
}

/// The source of faults.
#[derive(Debug)]
pub struct Faults {
    /// The choices of the fault at hand.
    rng: Rng,
    /// Soonest last.
    schedule: Vec<Scheduled>,
    undos: BTreeMap<(Micros, u64), Undo>,
    count: u64,
    supervise_at: Micros,
    topics: Topics,
}

impl Faults {
    /// The plan's faults, from `start` on. Which kinds there are and how densely they come differs from seed to seed:
    /// what many kinds together hide, few may show.
    pub fn new(plan: &Plan, mut rng: Rng, start: Micros) -> Faults {
        let mut kinds = plan.faults.clone();
        rng.shuffle(&mut kinds);
        let kept = rng.usize((kinds.len() / 3).min(kinds.len())..=kinds.len());
        kinds.truncate(kept.max(1));
        let pause = if rng.bool() { 3 * SECOND } else { rng.u64(SECOND..8 * SECOND) };
        let mut schedule = Vec::new();
        let mut at = start + rng.u64(0..SECOND);
        while at < start + plan.suffering
            && let Some(&fault) = rng.choice(&kinds)
        {
            schedule.push(Scheduled { number: schedule.len() + 1, at, fault, seed: rng.u64(..) });
            at += rng.u64(100_000..pause);
        }
        if let Some(only) = &plan.only {
            schedule.retain(|scheduled| only.contains(&scheduled.number));
        }
        schedule.reverse();
        let supervise_at = start + SUPERVISE_EVERY;
        Faults { rng, schedule, undos: BTreeMap::new(), count: 0, supervise_at, topics: plan.all_topics() }
    }

    /// When [`Faults::step`] has something to do.
    pub fn next_at(&self) -> Micros {
        let undo = self.undos.keys().next().map(|(at, _)| *at);
        let fault = self.schedule.last().map(|scheduled| scheduled.at);
        undo.into_iter().chain(fault).fold(self.supervise_at, Micros::min)
    }

    /// Does what is due.
    pub fn step(&mut self, world: &mut World) {
        let now = world.core.now();
        while let Some(entry) = self.undos.first_entry().filter(|entry| entry.key().0 <= now) {
            let undo = entry.remove();
            self.undo(undo, world);
        }
        while let Some(scheduled) = self.schedule.pop_if(|scheduled| scheduled.at <= now) {
            self.rng = Rng::with_seed(scheduled.seed);
            world.core.suffered.insert(scheduled.number);
            world.core.trace.story(now, || format!("fault {}: {:?}", scheduled.number, scheduled.fault));
            self.happen(scheduled.fault, world);
        }
        if self.supervise_at <= now {
            self.supervise_at = now + SUPERVISE_EVERY;
            self.supervise(world);
        }
    }

    /// Starts processes that ended by themselves.
    fn supervise(&mut self, world: &mut World) {
        for host in (0..world.core.machines.len()).map(Host) {
            if !world.machine(host).is_running && !self.will_start(host) {
                world.start(host);
            }
        }
    }

    fn will_start(&self, host: Host) -> bool {
        self.undos.values().any(|undo| [Undo::Start(host), Undo::StartOutOfSync(host)].contains(undo))
    }

    /// Begins nothing more and undoes everything; what must wait for the cluster is left for [`Faults::step`].
    pub fn heal(&mut self, world: &mut World) {
        self.schedule.clear();
        for undo in std::mem::take(&mut self.undos).into_values() {
            self.undo(undo, world);
        }
        self.supervise(world);
        for host in (0..world.core.machines.len()).map(Host) {
            world.set_drift(host, 0);
        }
    }

    /// True if nothing is left to undo.
    pub fn is_healed(&self) -> bool {
        self.undos.is_empty()
    }

    /// True if all that is left to undo waits for a cluster that has no other replica in sync.
    pub fn is_undecidable(&self) -> bool {
        self.undos.values().all(|undo| matches!(undo, Undo::StartOutOfSync(_)))
    }

    fn undo(&mut self, undo: Undo, world: &mut World) {
        match undo {
            Undo::StartOutOfSync(host) if in_sync::counts_on(world, &self.topics, host) => {
                self.later(world, 200_000..SECOND, undo);
            }
            Undo::Start(host) if world.machine(host).is_stopping => self.later(world, 200_000..SECOND, undo),
            undo => carry_out(undo, world),
        }
    }

    fn later(&mut self, world: &World, range: std::ops::Range<Micros>, undo: Undo) {
        self.count += 1;
        let at = world.core.now() + self.rng.u64(range);
        self.undos.insert((at, self.count), undo);
    }

    /// A server, at random. While a broker is away that has lost records, the others are left alone: who loses the last
    /// replicas in sync as well has lost the records.
    fn server(&mut self, world: &World) -> Host {
        let spares_brokers = self.undos.values().any(|undo| matches!(undo, Undo::StartOutOfSync(_)));
        let is_server = |host: &Host| match world.machine(*host).role {
            Role::Coordinator { .. } => true,
            Role::Broker { .. } => !spares_brokers,
            Role::Kafka { .. } | Role::ZkClient { .. } => false,
        };
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
            Fault::Lossy => {
                let (from, to) = self.pair(world);
                let one_in = self.rng.u32(2..20);
                let name = world.machine(to).name.clone();
                world.core.tell(from, || format!("the link to {name} loses one packet in {one_in}"));
                world.core.network.set_lossy(from, to, one_in);
                self.later(world, SECOND..8 * SECOND, Undo::Dry(from, to));
            }
            Fault::Stop => self.stop(world),
            Fault::Jump | Fault::Drift => self.disturb_clock(fault, world),
            Fault::SlowDisk | Fault::FullDisk | Fault::BitRot | Fault::FailedSync => self.disturb_disk(fault, world),
        }
    }

    fn stop(&mut self, world: &mut World) {
        let host = self.server(world);
        if !world.machine(host).is_running || world.machine(host).is_paused {
            return;
        }
        world.core.tell(host, || "is asked to stop".to_owned());
        world.core.machines[host.0].is_stopping = true;
        world.act(host, |program, ctx| match program {
            Program::Broker(process) => process.begin_shutdown(ctx),
            _ => ctx.exit("asked to".to_owned()),
        });
        self.later(world, 4 * SECOND..10 * SECOND, Undo::Start(host));
    }

    fn disturb_clock(&mut self, fault: Fault, world: &mut World) {
        let host = self.server(world);
        if fault == Fault::Jump {
            let offset = self.rng.i64(-600_000..600_000);
            world.core.tell(host, || format!("the wall clock is now off by {offset} ms"));
            world.core.machines[host.0].clock.wall_offset_ms = offset;
            return;
        }
        let drift = self.rng.i64(-DRIFT_PPM..=DRIFT_PPM);
        world.core.tell(host, || format!("the clock drifts by {drift} ppm"));
        world.set_drift(host, drift);
        self.later(world, SECOND..10 * SECOND, Undo::Drift(host));
    }

    fn disturb_disk(&mut self, fault: Fault, world: &mut World) {
        let host = self.server(world);
        let slowness = self.rng.u64(10_000..400_000);
        if fault == Fault::SlowDisk {
            set_slow_disk(world, host, slowness);
            return self.later(world, SECOND..6 * SECOND, Undo::Disk(host));
        }
        world.core.tell(host, || format!("its disk: {fault:?}"));
        match &mut world.core.machines[host.0].store {
            // A store that cannot write ends the process, whatever the reason; wrong bits do not get past its checksums.
            Store::Coordinator(disk) => disk.fails_write = fault != Fault::BitRot,
            Store::Disk(disk) => match fault {
                Fault::FullDisk => disk.set_full(true),
                Fault::BitRot => disk.set_rot(Some(self.rng.fork())),
                _ => disk.set_failing_sync(true),
            },
            Store::None => {}
        }
        self.later(world, SECOND..6 * SECOND, Undo::Disk(host));
    }

    /// Kafka's brokers do not sync what they acknowledge: replicas stand for each other. So one machine may lose what it has
    /// not synced while all are in sync, and come back when nobody counts on it.
    fn power_off(&mut self, world: &mut World) {
        let host = self.server(world);
        let is_broker = matches!(world.machine(host).role, Role::Broker { .. });
        let are_all_in_sync = || {
            all_brokers_run(world) && in_sync::lacking(world, &self.topics).is_empty() && !in_sync::is_changing(world)
        };
        // What a disk that lies has lost can be below what the broker took for synced, where it looks for no damage.
        let is_lying = matches!(&world.machine(host).store, Store::Disk(disk) if disk.is_lying());
        let is_safe = !is_broker || (!is_lying && are_all_in_sync());
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

fn all_brokers_run(world: &World) -> bool {
    let runs = |machine: &Machine| machine.is_running && !machine.is_paused;
    world.core.machines.iter().all(|machine| !matches!(machine.role, Role::Broker { .. }) || runs(machine))
}

fn set_slow_disk(world: &mut World, host: Host, micros: Micros) {
    world.core.tell(host, || format!("writes to disk take up to {micros} us"));
    let machine = &mut world.core.machines[host.0];
    match &mut machine.store {
        Store::Coordinator(disk) => disk.slowness = micros,
        Store::Disk(_) => machine.disk_slowness = micros,
        Store::None => {}
    }
}

fn mend_disk(world: &mut World, host: Host) {
    world.core.tell(host, || "its disk works again".to_owned());
    let machine = &mut world.core.machines[host.0];
    machine.disk_slowness = 0;
    match &mut machine.store {
        Store::Coordinator(disk) => (disk.slowness, disk.fails_write) = (0, false),
        Store::Disk(disk) => {
            disk.set_full(false);
            disk.set_rot(None);
            disk.set_failing_sync(false);
        }
        Store::None => {}
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
        Undo::Dry(from, to) => world.core.network.set_lossy(from, to, 0),
        Undo::Disk(host) => mend_disk(world, host),
        Undo::Drift(host) => world.set_drift(host, 0),
    }
}
