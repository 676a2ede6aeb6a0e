//! Bugs that the peers are known for, each as a case: the moment that hurt them, made on purpose in the simulated cluster.
//! A case names the defences of ours that it depends on; with one of them off it fails. Draws no faults at random.

pub mod coordinators;
pub mod machines;
pub mod replication;
pub mod transactions;

use crate::check::coordinators;
use crate::sim::scenario::{Plan, Run};
use crate::sim::trace::Detail;
use crate::sim::workload::kafka::Topics;
use crate::sim::world::{Host, Micros, SECOND, World};
use common::{Rng, mutants};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One known bug.
#[derive(Clone, Copy)]
pub struct Case {
    /// What is so here.
    pub name: &'static str,
    /// Where it was not so.
    pub known: &'static str,
    /// What happens.
    pub script: Script,
    /// Defences of ours; with each of them off, one of the seeds fails.
    pub off: &'static [&'static str],
    /// Seeds that are tried with a defence off, from 1 on. With all on, as many must hold as the test has time for.
    pub seeds: u64,
}

/// Makes the moment.
pub type ClusterScript = fn(&mut Run, &mut Rng) -> Result<(), String>;

/// What happens in a case.
#[derive(Clone, Copy)]
pub enum Script {
    /// In a cluster that becomes ready first, is live afterwards and passes every checker.
    Cluster(fn() -> Plan, ClusterScript),
    /// With single machines, from a seed.
    Machines(fn(u64) -> Result<(), String>),
}

/// Every case.
pub fn all() -> impl Iterator<Item = &'static Case> {
    [coordinators::CASES, replication::CASES, transactions::CASES, machines::CASES].into_iter().flatten()
}

/// Plays a case. A panic is a failure: an assertion saw it.
pub fn play(case: &Case, seed: u64, off: Option<&'static str>) -> Result<(), String> {
    tell(case, (seed, off), Detail::Hash).0
}

/// Plays a case and says what happened.
pub fn tell(
    case: &Case,
    (seed, off): (u64, Option<&'static str>),
    detail: Detail,
) -> (Result<(), String>, Vec<String>) {
    let mut lines = Vec::new();
    let mut play = || match case.script {
        Script::Machines(script) => script(seed),
        Script::Cluster(plan, script) => {
            let mut run = Run::new(seed, &Plan { detail, ..plan() });
            let result = in_cluster(&mut run, script, seed);
            lines = run.world.core.trace.lines().to_vec();
            result
        }
    };
    let caught = catch_unwind(AssertUnwindSafe(|| match off {
        Some(name) => mutants::with(name, play),
        None => play(),
    }));
    let result = caught.unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        Err(text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
    });
    (result, lines)
}

fn in_cluster(run: &mut Run, script: ClusterScript, seed: u64) -> Result<(), String> {
    run.become_live().map_err(|problem| format!("at the start: {problem}"))?;
    script(run, &mut Rng::with_seed(seed))?;
    heal(&mut run.world);
    run.become_live().map_err(|problem| format!("afterwards: {problem}"))?;
    run.check()
}

/// Three coordinators and three clients of theirs.
fn three_coordinators() -> Plan {
    Plan::coordinators()
}

/// One coordinator, three brokers, one partition of three replicas, two producers, the second with an id, one consumer.
fn one_partition() -> Plan {
    Plan {
        members: 0,
        coordinators: 1,
        zk_clients: 0,
        topics: Topics { topics: vec![("a".to_owned(), 1)], replication_factor: 3 },
        ..Plan::whole()
    }
}

/// The same with a group of three members.
fn one_partition_and_a_group() -> Plan {
    Plan { members: 3, ..one_partition() }
}

/// The same with a client of the coordinator.
fn one_partition_and_a_client() -> Plan {
    Plan { zk_clients: 1, ..one_partition() }
}

/// The machine of a name.
fn host(world: &World, name: &str) -> Host {
    let found = world.core.machines.iter().position(|machine| machine.name == name);
    Host(found.unwrap_or_else(|| unreachable!("the plan has no {name}")))
}

fn ids(prefix: &str) -> [String; 3] {
    [1, 2, 3].map(|id| format!("{prefix}{id}"))
}

/// Everything runs, nothing is cut.
fn heal(world: &mut World) {
    let count = world.core.machines.len();
    for one in (0..count).map(Host) {
        for other in (0..count).map(Host).filter(|other| *other != one) {
            if world.core.network.is_cut(one, other) {
                world.core.mend(one, other);
            }
        }
        world.resume(one);
        if !world.machine(one).is_running {
            world.start(one);
        }
    }
}

/// Cuts one machine off from some others, both ways.
fn cut_off(world: &mut World, one: Host, others: impl IntoIterator<Item = Host>) {
    world.core.tell(one, || "is cut off".to_owned());
    for other in others {
        if other != one {
            world.core.network.cut(one, other);
            world.core.network.cut(other, one);
        }
    }
}

/// Lets some milliseconds pass.
fn wait(run: &mut Run, millis: u64) -> Result<(), String> {
    run.run_to(run.world.core.now() + millis * 1_000)
}

/// The coordinator that leads and is not alone in thinking so.
fn leading(world: &World) -> Option<Host> {
    let leads = |(_, process): &(Host, &crate::sim::coordinator::CoordinatorProcess)| process.is_leader();
    coordinators(world).filter(leads).max_by_key(|(_, process)| process.node.tree().zxid()).map(|(host, _)| host)
}

/// Waits for a coordinator to lead that is not `other`.
fn new_leader(run: &mut Run, other: Option<Host>) -> Result<Host, String> {
    let is_new = |world: &World| leading(world).is_some_and(|leader| Some(leader) != other);
    run.run_until("another coordinator leads", 20 * SECOND, is_new)?;
    Ok(leading(&run.world).unwrap_or_else(|| unreachable!("just seen")))
}

/// The data of a znode, in the newest tree.
fn znode(world: &World, path: &str) -> Option<String> {
    let newest = coordinators(world).map(|(_, process)| process.node.tree()).max_by_key(|tree| tree.zxid())?;
    newest.node(path)?.data().map(|data| String::from_utf8_lossy(data).into_owned())
}

/// The numbers behind a key in the JSON of a znode: `"isr":[1,2]` or `"leader":1`.
fn numbers(text: &str, key: &str) -> Vec<i32> {
    let Some((_, rest)) = text.split_once(&format!("\"{key}\":")) else { return Vec::new() };
    let end = if rest.starts_with('[') { rest.find(']') } else { rest.find([',', '}']) };
    let digits = rest[..end.unwrap_or(rest.len())].split(|letter: char| !letter.is_ascii_digit() && letter != '-');
    digits.filter_map(|number| number.parse().ok()).collect()
}

/// Leader and in-sync replicas of the one partition, as its znode has them.
fn partition(world: &World) -> (Option<i32>, Vec<i32>) {
    let state = znode(world, "/brokers/topics/a/partitions/0/state").unwrap_or_default();
    (numbers(&state, "leader").first().copied().filter(|leader| *leader >= 0), numbers(&state, "isr"))
}

/// The broker of an id.
fn broker(world: &World, id: i32) -> Host {
    host(world, &format!("b{id}"))
}

/// The broker that is the controller.
fn controller(world: &World) -> Option<i32> {
    numbers(&znode(world, "/controller")?, "brokerid").first().copied()
}

/// Waits for a partition leader that is not `other`; its host.
fn new_partition_leader(run: &mut Run, other: Option<i32>) -> Result<i32, String> {
    let is_new = |world: &World| partition(world).0.is_some_and(|leader| Some(leader) != other);
    run.run_until("another broker leads", 30 * SECOND, is_new)?;
    partition(&run.world).0.ok_or_else(|| "no leader".to_owned())
}

/// Waits for so many replicas in sync.
fn in_sync(run: &mut Run, count: usize) -> Result<(), String> {
    run.run_until("replicas are in sync", 30 * SECOND, |world| partition(world).1.len() == count)
}

/// A moment of at most so many microseconds.
fn moment(run: &mut Run, rng: &mut Rng, longest: Micros) -> Result<(), String> {
    run.run_to(run.world.core.now() + rng.u64(1..longest.max(2)))
}
