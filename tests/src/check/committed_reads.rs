//! Who reads what is committed sees every committed record at its offset, all the while, and nothing else: no record of an
//! aborted transaction, none of one that is open, and none left out between those that were read. Consumers have read
//! everything, transactions the range that they consumed.

use crate::sim::history::History;
use common::id::TopicPartition;
use std::collections::BTreeMap;

type Log = BTreeMap<i64, String>;

/// Compares everything that was read with what was read at the end.
pub fn check(history: &History) -> Result<(), String> {
    let nothing = Log::new();
    let at_last =
        |partition: &TopicPartition| history.committed.get(&0).and_then(|logs| logs.get(partition)).unwrap_or(&nothing);
    for (reader, logs) in &history.committed {
        for (partition, log) in logs {
            compare(log, at_last(partition), i64::MIN..i64::MAX)
                .map_err(|problem| format!("committed records of {partition}, consumer {reader}: {problem}"))?;
        }
    }
    for (number, txn) in history.txns.iter().enumerate() {
        let Some(consumed) = &txn.consumed else { continue };
        let log = consumed.values.iter().cloned().collect();
        compare(&log, at_last(&consumed.partition), consumed.from..consumed.to).map_err(|problem| {
            format!("committed records of {}, transaction {number}: {problem}: {txn:?}", consumed.partition)
        })?;
    }
    Ok(())
}

fn compare(read: &Log, at_last: &Log, range: std::ops::Range<i64>) -> Result<(), String> {
    for (offset, value) in read {
        if at_last.get(offset) != Some(value) {
            return Err(format!("{value} was read at {offset}, where {:?} is at last", at_last.get(offset)));
        }
    }
    match at_last.range(range).find(|(offset, _)| !read.contains_key(offset)) {
        Some((offset, value)) => Err(format!("{value} at {offset} was passed over")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::txns_whole::tests::{consuming, history, txn};
    use super::*;
    use crate::sim::history::TxnOutcome;

    #[test]
    fn aborted_early_and_skipped_records_are_found() {
        let last = [(0, 0, 3, "0/0"), (0, 0, 5, "1/0")];
        let whole = [(1, 0, 3, "0/0"), (1, 0, 5, "1/0")];
        for (read, consumed, is_right) in [
            (vec![whole[0], whole[1]], ((0, 6), vec![(3, "0/0"), (5, "1/0")]), true),
            (vec![whole[0], whole[1]], ((4, 6), vec![(5, "1/0")]), true),
            (vec![whole[0], whole[1]], ((0, 2), vec![]), true),
            (vec![whole[0], whole[1]], ((0, 6), vec![(5, "1/0")]), false),
            (vec![whole[0], whole[1]], ((0, 5), vec![(3, "0/0"), (4, "7/0")]), false),
            (vec![whole[0], whole[1], (1, 0, 4, "7/0")], ((0, 0), vec![]), false),
            (vec![whole[1]], ((0, 0), vec![]), false),
            (vec![whole[0], (1, 0, 5, "7/0")], ((0, 0), vec![]), false),
        ] {
            let (range, values) = &consumed;
            let txns = vec![consuming(txn(0, TxnOutcome::Committed), *range, values)];
            let all: Vec<_> = last.iter().chain(&read).copied().collect();
            let found = check(&history(txns, &all));
            assert_eq!(found.is_ok(), is_right, "{read:?} {consumed:?}: {found:?}");
        }
    }
}
