//! Of each key of a compacted topic the newest value that was acknowledged, or read, is there, or a newer one; and what is there
//! stands in the order in which it was written, at offsets that never change.

use crate::sim::history::History;
use crate::sim::workload::kafka::producer::{count_of, key_of};
use common::id::TopicPartition;
use std::collections::BTreeMap;

type Log = BTreeMap<i64, String>;

/// Compares what was read at the end with what was acknowledged and with what was read before.
pub fn check(history: &History) -> Result<(), String> {
    let nothing = BTreeMap::new();
    let at_last = history.compacted.get(&0).unwrap_or(&nothing);
    let mut due: BTreeMap<u32, u64> = BTreeMap::new();
    for value in &history.upserts {
        note(&mut due, value);
    }
    for logs in history.compacted.values() {
        for (partition, log) in logs {
            check_order(partition, log)?;
            log.values().for_each(|value| note(&mut due, value));
            let others = at_last.get(partition).into_iter().flatten();
            for (offset, value) in others {
                if log.get(offset).is_some_and(|read| read != value) {
                    return Err(format!(
                        "compacted {partition} offset {offset} was {:?} and is {value}",
                        log.get(offset)
                    ));
                }
            }
        }
    }
    let mut newest: BTreeMap<u32, u64> = BTreeMap::new();
    at_last.values().flat_map(Log::values).for_each(|value| note(&mut newest, value));
    for (key, due) in due {
        let found = newest.get(&key);
        if found.is_none_or(|found| *found < due) {
            return Err(format!("compaction: value {due} of key {key} is lost, the newest is {found:?}"));
        }
    }
    Ok(())
}

fn note(newest: &mut BTreeMap<u32, u64>, value: &str) {
    let newest = newest.entry(key_of(value)).or_default();
    *newest = count_of(value).unwrap_or(0).max(*newest);
}

fn check_order(partition: &TopicPartition, log: &Log) -> Result<(), String> {
    let mut newest = 0;
    for (offset, value) in log {
        let count = count_of(value).unwrap_or(0);
        if count <= newest {
            return Err(format!(
                "compacted {partition} offset {offset} holds {value}, which is no newer than {newest}"
            ));
        }
        newest = count;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_old_and_changed_values_are_found() {
        // Odd numbers have key 0, 2 and 6 key 1, 4 key 2.
        for (acknowledged, read, at_last, is_right) in [
            (vec![1, 2, 3], vec![], vec![(1, 2), (2, 3)], true),
            (vec![1, 2, 3], vec![], vec![(1, 2), (2, 3), (3, 5)], true),
            (vec![1, 2, 3], vec![(0, 1), (1, 2)], vec![(0, 1), (1, 2), (2, 3)], true),
            (vec![1, 2, 3], vec![], vec![(2, 3)], false),
            (vec![1, 2, 3], vec![], vec![(0, 1), (1, 2)], false),
            (vec![1], vec![(0, 1), (2, 3)], vec![(0, 1)], false),
            (vec![1], vec![(0, 1)], vec![(0, 3)], false),
            (vec![], vec![], vec![(0, 3), (1, 1)], false),
        ] {
            let logs = |values: &Vec<(i64, u64)>| {
                let log = values.iter().map(|(offset, count)| (*offset, format!("1/c-0/{count}"))).collect();
                BTreeMap::from([(TopicPartition::new("c", 0), log)])
            };
            let history = History {
                upserts: acknowledged.iter().map(|count: &u64| format!("1/c-0/{count}")).collect(),
                compacted: [(0, logs(&at_last)), (1, logs(&read))].into(),
                ..History::default()
            };
            let found = check(&history);
            assert_eq!(found.is_ok(), is_right, "{acknowledged:?} {read:?} {at_last:?}: {found:?}");
        }
    }
}
