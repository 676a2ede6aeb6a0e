//! Consume-transform-produce is exactly once: the committed transactions of a transactional id have consumed its partition
//! from the beginning, each from where the one before it left off, whoever ran them.

use super::txns_whole::{committed, places};
use crate::sim::history::History;
use std::collections::BTreeMap;

/// Looks at the ranges that committed transactions have consumed.
pub fn check(history: &History) -> Result<(), String> {
    let committed = committed(&places(history)?);
    let mut ranges: BTreeMap<&str, Vec<(i64, i64, usize)>> = BTreeMap::new();
    for (number, txn) in history.txns.iter().enumerate().filter(|(number, _)| committed.contains(number)) {
        if let Some(consumed) = &txn.consumed {
            ranges.entry(&txn.transactional_id).or_default().push((consumed.from, consumed.to, number));
        }
    }
    for (id, mut ranges) in ranges {
        ranges.sort_unstable();
        let mut next = (0, usize::MAX);
        for (from, to, number) in ranges {
            if from != next.0 {
                let what = if from < next.0 { "consumed twice" } else { "left out" };
                return Err(format!(
                    "{what}: {id} has consumed {from}..{to} in {:?}, and up to {} in {:?}",
                    history.txns[number],
                    next.0,
                    history.txns.get(next.1)
                ));
            }
            next = (to, number);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::txns_whole::tests::{consuming, history, txn};
    use super::*;
    use crate::sim::history::TxnOutcome::Unknown;

    #[test]
    fn what_is_consumed_twice_or_left_out_is_found() {
        for (ranges, is_right) in [
            ([(0, 3), (3, 4), (4, 9)], true),
            ([(3, 4), (0, 3), (4, 9)], true),
            ([(0, 3), (0, 3), (3, 9)], false),
            ([(0, 3), (2, 4), (4, 9)], false),
            ([(0, 3), (4, 5), (5, 9)], false),
            ([(1, 3), (3, 4), (4, 9)], false),
        ] {
            // The fourth is aborted and counts for nothing.
            let all = ranges.iter().chain(&[(1, 2)]).enumerate();
            let txns = all.map(|(number, range)| consuming(txn(number, Unknown), *range, &[])).collect();
            let read: Vec<(u64, i32, i64, &str)> = vec![(0, 0, 0, "0/0"), (0, 0, 1, "1/0"), (0, 0, 2, "2/0")];
            assert_eq!(check(&history(txns, &read)).is_ok(), is_right, "{ranges:?}");
        }
    }
}
