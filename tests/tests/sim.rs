//! The simulated cluster: a walk through one failure that can be read, seeds that must hold under faults, and the same
//! seed twice.

use tests::sim::scenario::{self, Outcome, Plan, Run};
use tests::sim::world::{Host, Program, Role, SECOND};

/// Runs seeds of a plan; each must hold, and its clients must have been served.
fn check(seeds: std::ops::RangeInclusive<u64>, plan: &Plan, answered_at_least: usize) {
    for seed in seeds {
        let Outcome { violation, answered, .. } = scenario::run(seed, plan);
        assert_eq!(violation, None, "repeat with: make sim SEEDS=1 FIRST_SEED={seed}");
        assert!(answered >= answered_at_least, "seed {seed}: only {answered} requests");
    }
}

/// The machines for which something holds, in order.
fn hosts(run: &Run, is_wanted: impl Fn(&Role) -> bool) -> Vec<Host> {
    let count = run.world.core.machines.len();
    (0..count).map(Host).filter(|host| is_wanted(&run.world.machine(*host).role)).collect()
}

/// Creates topics, produces with acks=all, kills the coordinator that leads and the broker that is the controller, starts
/// them again, and reads everything that was acknowledged.
fn kill_the_leader_and_the_controller(seed: u64) -> Outcome {
    let mut run = Run::new(seed, &Plan::whole());
    let result = (|| {
        run.become_live()?;
        let coordinators = hosts(&run, |role| matches!(role, Role::Coordinator { .. }));
        let leads = |host: &Host| match run.world.program(*host) {
            Some(Program::Coordinator(process)) => process.is_leader(),
            _ => false,
        };
        let leader = coordinators.into_iter().find(leads).expect("a cluster that lives has a leader");
        run.world.kill(leader);
        run.run_to(run.world.core.now() + SECOND)?;
        let brokers = hosts(&run, |role| matches!(role, Role::Broker { .. }));
        let controls = |host: &Host| match run.world.program(*host) {
            Some(Program::Broker(process)) => process.broker.cluster.is_controller(),
            _ => false,
        };
        let controller = brokers.into_iter().find(controls).expect("a cluster that lives has a controller");
        run.world.kill(controller);
        run.run_to(run.world.core.now() + 5 * SECOND)?;
        run.world.start(leader);
        run.world.start(controller);
        run.become_live()?;
        run.check()
    })();
    run.outcome(result)
}

#[test]
fn the_cluster_survives_its_leader_and_its_controller() {
    for seed in 1..=2 {
        let outcome = kill_the_leader_and_the_controller(seed);
        assert_eq!(outcome.violation, None, "seed {seed}");
        assert!(outcome.answered > 200, "seed {seed}: only {} requests", outcome.answered);
    }
    assert_eq!(kill_the_leader_and_the_controller(1), kill_the_leader_and_the_controller(1));
}

#[test]
fn coordinators_hold_under_faults() {
    check(1..=10, &Plan::coordinators(), 300);
}

#[test]
fn the_whole_cluster_holds_under_faults() {
    check(1..=6, &Plan::whole(), 500);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for plan in [Plan::coordinators(), Plan::whole()] {
        let (first, second) = (scenario::run(7, &plan), scenario::run(7, &plan));
        assert_eq!(first, second);
    }
}
