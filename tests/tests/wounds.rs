//! Known bugs of the peers: each case holds, and most fail when one of our defences is off.

use tests::wounds::{Case, all, play};

/// Seeds of each case with all defences.
const SEEDS: u64 = 2;

fn check(case: &Case) {
    for seed in 1..=SEEDS {
        assert_eq!(play(case, seed, None), Ok(()), "{}, seed {seed}", case.name);
    }
    for off in case.off {
        let is_missed = (1..=case.seeds).any(|seed| play(case, seed, Some(off)).is_err());
        assert!(is_missed, "{} holds without {off}", case.name);
    }
}

#[test]
fn known_bugs_of_coordinators() {
    tests::wounds::coordinators::CASES.iter().for_each(check);
}

#[test]
fn known_bugs_of_replication() {
    tests::wounds::replication::CASES.iter().for_each(check);
}

#[test]
fn known_bugs_of_transactions() {
    tests::wounds::transactions::CASES.iter().for_each(check);
}

#[test]
fn known_bugs_of_single_machines() {
    tests::wounds::machines::CASES.iter().for_each(check);
}

#[test]
fn most_cases_show_that_they_see_something() {
    let with = all().filter(|case| !case.off.is_empty()).count();
    assert!(with * 2 >= all().count(), "only {with} cases fail without a defence");
}
