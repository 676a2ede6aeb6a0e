//! A whole run: the cluster is built, becomes ready, suffers, is healed, must become live again within bounded virtual
//! time, and everything noted is checked.

use super::faults::{self, Faults};
use super::trace::Detail;
use super::workload::zk::ZkClient;
use super::world::{Host, Micros, Program, Role, SECOND, World};
use crate::check::ephemerals::Ephemerals;
use crate::check::trees_agree::TreesAgree;
use crate::check::{coordinators, registers, zk_writes_stay};

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The coordinators.
    pub coordinators: u64,
    /// Clients of theirs.
    pub zk_clients: u64,
    /// How long things go wrong.
    pub suffering: Micros,
    /// What may go wrong.
    pub faults: Vec<faults::Fault>,
    /// How much is kept as text.
    pub detail: Detail,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            coordinators: 3,
            zk_clients: 3,
            suffering: 30 * SECOND,
            faults: faults::ALL.to_vec(),
            detail: Detail::Hash,
        }
    }
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The property that does not hold, and how.
    pub violation: Option<String>,
    /// Hash of all events, and their number.
    pub trace: (u64, u64),
    /// Virtual time at the end.
    pub ended: Micros,
    /// Requests of clients that were answered.
    pub answered: usize,
    /// The timeline.
    pub lines: Vec<String>,
}

/// After healing, and at the start, everything must work within this.
const LIVE_WITHIN: Micros = 60 * SECOND;
/// How often the servers' states are looked at.
const LOOK_EVERY: Micros = 20_000;

/// The world with those who watch it.
pub struct Run {
    /// The cluster and its clients.
    pub world: World,
    trees: TreesAgree,
    ephemerals: Ephemerals,
}

impl Run {
    /// Builds a cluster and starts it.
    pub fn new(seed: u64, plan: &Plan) -> Run {
        let mut world = World::new(seed, plan.detail);
        let servers: String = (1..=plan.coordinators).map(|id| format!("server.{id}=c{id}:2888:3888\n")).collect();
        let zoo_cfg = format!(
            "dataDir=/d\ninitLimit=5\nsyncLimit=2\ntickTime=1000\nclientPort=2181\nmaxClientCnxns=0\n{servers}"
        );
        let connect: Vec<String> = (1..=plan.coordinators).map(|id| format!("c{id}:2181")).collect();
        for id in 1..=plan.coordinators {
            world.add(&format!("c{id}"), Role::Coordinator { id, config: zoo_cfg.clone() });
        }
        for number in 1..=plan.zk_clients {
            world.add(&format!("z{number}"), Role::ZkClient { number, connect: connect.join(",") });
        }
        for host in (0..world.core.machines.len()).map(Host) {
            world.start(host);
        }
        Run { world, trees: TreesAgree::default(), ephemerals: Ephemerals::default() }
    }

    /// Lets time pass, and looks at the servers all the while.
    pub fn run_to(&mut self, until: Micros) -> Result<(), String> {
        while self.world.core.now() < until {
            let next = (self.world.core.now() + LOOK_EVERY).min(until);
            self.world.run_to(next);
            self.trees.look(&self.world)?;
            self.ephemerals.look(&self.world)?;
            if let Some(violation) = self.world.core.violations.first() {
                return Err(violation.clone());
            }
        }
        Ok(())
    }

    /// Lets time pass until something is so, at most so long.
    pub fn run_until(&mut self, what: &str, within: Micros, is_so: impl Fn(&World) -> bool) -> Result<(), String> {
        let end = self.world.core.now() + within;
        while !is_so(&self.world) {
            if self.world.core.now() >= end {
                return Err(format!("not within {} s: {what}", within / SECOND));
            }
            self.run_to(self.world.core.now() + LOOK_EVERY)?;
        }
        Ok(())
    }

    /// Faults for a while, then none.
    pub fn suffer(&mut self, plan: &Plan) -> Result<(), String> {
        let end = self.world.core.now() + plan.suffering;
        let rng = self.world.core.rng.fork();
        let mut faults = Faults::new(&plan.faults, rng, self.world.core.now());
        while faults.next_at() < end {
            self.run_to(faults.next_at())?;
            faults.step(&mut self.world);
        }
        self.run_to(end)?;
        self.world.core.trace.story(end, || "everything is healed".to_owned());
        faults.heal(&mut self.world);
        Ok(())
    }

    /// Every client gets new answers, and all coordinators come to hold the same.
    pub fn become_live(&mut self) -> Result<(), String> {
        let clients = zk_clients(&self.world);
        let before: Vec<u64> = clients.iter().map(|host| answers(&self.world, *host)).collect();
        self.run_until("every client of the coordinators is answered", LIVE_WITHIN, |world| {
            clients.iter().zip(&before).all(|(host, before)| answers(world, *host) > before + 20)
        })
    }

    /// Lets the clients fall silent and checks everything.
    pub fn check(&mut self) -> Result<(), String> {
        for host in zk_clients(&self.world) {
            self.world.act(host, |program, _| {
                if let Program::ZkClient(client) = program {
                    client.is_idle = true;
                }
            });
        }
        self.run_to(self.world.core.now() + 10 * SECOND)?;
        self.run_until("all coordinators hold the same", LIVE_WITHIN, TreesAgree::is_same_everywhere)?;
        for (_, process) in coordinators(&self.world) {
            zk_writes_stay::check(&self.world.core.history, process.node.tree())?;
        }
        registers::check(&self.world.core.history)
    }

    /// The whole run.
    pub fn whole(&mut self, plan: &Plan) -> Result<(), String> {
        self.become_live().map_err(|problem| format!("at the start: {problem}"))?;
        self.suffer(plan)?;
        self.become_live().map_err(|problem| format!("after healing: {problem}"))?;
        self.check()
    }

    /// What became of it.
    pub fn outcome(self, result: Result<(), String>) -> Outcome {
        let core = self.world.core;
        Outcome {
            violation: result.err(),
            trace: core.trace.digest(),
            ended: core.now(),
            answered: core.history.zk.len(),
            lines: core.trace.lines().to_vec(),
        }
    }
}

fn zk_clients(world: &World) -> Vec<Host> {
    let is_client = |host: &Host| matches!(world.machine(*host).role, Role::ZkClient { .. });
    (0..world.core.machines.len()).map(Host).filter(is_client).collect()
}

fn client(world: &World, host: Host) -> Option<&ZkClient> {
    match world.program(host) {
        Some(Program::ZkClient(client)) => Some(client),
        _ => None,
    }
}

fn answers(world: &World, host: Host) -> u64 {
    client(world, host).map_or(0, |client| client.answers)
}

/// Runs a plan from a seed.
pub fn run(seed: u64, plan: &Plan) -> Outcome {
    let mut run = Run::new(seed, plan);
    let result = run.whole(plan);
    run.outcome(result)
}
