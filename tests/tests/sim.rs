//! The simulated cluster: seeds that must hold, and the same seed twice.

use tests::sim::scenario::{self, Plan};

#[test]
fn coordinators_hold_under_faults() {
    for seed in 1..=10 {
        let outcome = scenario::run(seed, &Plan::coordinators());
        assert_eq!(outcome.violation, None, "repeat with: make sim SEEDS=1 FIRST_SEED={seed}");
        assert!(outcome.answered > 300, "seed {seed}: only {} requests", outcome.answered);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 1..=3 {
        let first = scenario::run(seed, &Plan::coordinators());
        let second = scenario::run(seed, &Plan::coordinators());
        assert_eq!(first.trace, second.trace, "seed {seed}");
    }
}
