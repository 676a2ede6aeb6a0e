//! A transaction is all or nothing: of one whose commit was acknowledged every record is there, once and in order; of one
//! that was aborted, or never asked to be committed, none; of one whose end nobody knows, all or none.

use crate::sim::history::{History, Txn, TxnOutcome};
use common::id::TopicPartition;
use std::collections::{BTreeMap, BTreeSet};

/// Each committed record's place.
pub(super) type Places<'a> = BTreeMap<&'a str, (&'a TopicPartition, i64)>;

/// Where the committed records are that were read at the end, by their values.
pub(super) fn places(history: &History) -> Result<Places<'_>, String> {
    let mut places = Places::new();
    for (partition, log) in history.committed.get(&0).into_iter().flatten() {
        for (offset, value) in log {
            if let Some((first, at)) = places.insert(value, (partition, *offset)) {
                return Err(format!("{value} of a transaction is there twice: {first} {at} and {partition} {offset}"));
            }
        }
    }
    Ok(places)
}

/// Numbers of the transactions that have committed records.
pub(super) fn committed(places: &Places<'_>) -> BTreeSet<usize> {
    places.keys().filter_map(|value| number(value)).collect()
}

/// The transaction that a record belongs to.
pub(super) fn number(value: &str) -> Option<usize> {
    value.split_once('/')?.0.parse().ok()
}

/// Compares what was read at the end with what was written.
pub fn check(history: &History) -> Result<(), String> {
    let places = places(history)?;
    let mut left: BTreeSet<&str> = places.keys().copied().collect();
    for (number, txn) in history.txns.iter().enumerate() {
        check_one(&places, txn).map_err(|problem| format!("transaction {number} is torn: {problem}: {txn:?}"))?;
        for value in txn.appends.iter().flat_map(|(_, values)| values) {
            left.remove(&**value);
        }
    }
    match left.first() {
        Some(value) => Err(format!("{value} is there, which no transaction wrote")),
        None => Ok(()),
    }
}

fn check_one(places: &Places<'_>, txn: &Txn) -> Result<(), String> {
    let (mut there, mut missing) = (Vec::new(), Vec::new());
    let mut ends: BTreeMap<&TopicPartition, i64> = BTreeMap::new();
    for (partition, values) in &txn.appends {
        for value in values {
            let Some((found, offset)) = places.get(&**value) else {
                missing.push(value);
                continue;
            };
            let end = ends.entry(partition).or_insert(-1);
            if *found != partition || offset <= end {
                return Err(format!("{value} is at {found} {offset}, behind {end} of {partition}"));
            }
            *end = *offset;
            there.push(value);
        }
    }
    let is_right = match txn.outcome {
        TxnOutcome::Committed => missing.is_empty(),
        TxnOutcome::Open | TxnOutcome::Aborted => there.is_empty(),
        TxnOutcome::Unknown => missing.is_empty() || there.is_empty(),
    };
    if is_right { Ok(()) } else { Err(format!("{there:?} are there, {missing:?} are not")) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sim::history::Consumed;

    /// A transaction on partition 0 and 1 that writes `n/0` and `n/1`.
    pub(in crate::check) fn txn(number: usize, outcome: TxnOutcome) -> Txn {
        let append = |index: i32| (TopicPartition::new("t", index), vec![format!("{number}/{index}")]);
        Txn {
            transactional_id: "x1".to_owned(),
            producer: (1, 0),
            appends: vec![append(0), append(1)],
            consumed: None,
            began: number as u64 * 10,
            ended: Some(number as u64 * 10 + 5),
            outcome,
        }
    }

    /// It has consumed these records of partition 0.
    pub(in crate::check) fn consuming(txn: Txn, (from, to): (i64, i64), values: &[(i64, &str)]) -> Txn {
        let values = values.iter().map(|(offset, value)| (*offset, (*value).to_owned())).collect();
        Txn { consumed: Some(Consumed { partition: TopicPartition::new("t", 0), from, to, values }), ..txn }
    }

    /// What consumers have read of the partitions: reader, partition, offset, value.
    pub(in crate::check) fn history(txns: Vec<Txn>, read: &[(u64, i32, i64, &str)]) -> History {
        let mut history = History { txns, ..History::default() };
        for (reader, partition, offset, value) in read {
            let logs = history.committed.entry(*reader).or_default();
            let log = logs.entry(TopicPartition::new("t", *partition)).or_default();
            log.insert(*offset, (*value).to_owned());
        }
        history
    }

    #[test]
    fn torn_lost_doubled_and_aborted_transactions_are_found() {
        use TxnOutcome::{Aborted, Committed, Open, Unknown};
        let (first, second) = ((0, 0, 4, "0/0"), (0, 1, 7, "0/1"));
        for (outcome, read, is_right) in [
            (Committed, vec![first, second], true),
            (Committed, vec![first], false),
            (Committed, vec![], false),
            (Committed, vec![first, second, (0, 1, 9, "0/1")], false),
            (Committed, vec![second, (0, 1, 9, "0/0")], false),
            (Committed, vec![first, second, (0, 0, 9, "8/1")], false),
            (Unknown, vec![first, second], true),
            (Unknown, vec![], true),
            (Unknown, vec![second], false),
            (Aborted, vec![], true),
            (Aborted, vec![first, second], false),
            (Open, vec![], true),
            (Open, vec![first], false),
        ] {
            let found = check(&history(vec![txn(0, outcome)], &read));
            assert_eq!(found.is_ok(), is_right, "{outcome:?} {read:?}: {found:?}");
        }
    }
}
