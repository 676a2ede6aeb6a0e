//! A record that brokers have acknowledged is there at the end, at the offset that was told, once if its producer was
//! idempotent, and each producer's records are in their order.

use crate::sim::history::History;
use std::collections::{BTreeMap, BTreeSet};

/// Compares what was read at the end with what was acknowledged. `idempotent` are the numbers of producers with an id.
pub fn check(history: &History, idempotent: &BTreeSet<u64>) -> Result<(), String> {
    let nothing = BTreeMap::new();
    for batch in &history.batches {
        let log = history.verified.get(&batch.partition).unwrap_or(&nothing);
        for (offset, value) in (batch.base_offset..).zip(&batch.values) {
            let found = log.get(&offset);
            let is_there = if batch.base_offset < 0 { log.values().any(|v| v == value) } else { found == Some(value) };
            if !is_there {
                return Err(format!("{value} was acknowledged at offset {offset} and is now {found:?}: {batch:?}"));
            }
        }
    }
    for (partition, log) in &history.verified {
        let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for (offset, value) in log {
            let Some((producer, number)) = parse(value) else {
                return Err(format!("{partition} offset {offset} holds {value:?}, which nobody wrote"));
            };
            let is_new = seen.insert(value);
            if !is_new && idempotent.contains(&producer) {
                return Err(format!("{partition} holds {value} of an idempotent producer twice, again at {offset}"));
            }
            let newest = newest.entry(producer).or_default();
            if is_new && number <= *newest {
                return Err(format!("{partition} offset {offset} holds {value} behind {newest} of the same producer"));
            }
            *newest = number.max(*newest);
        }
    }
    Ok(())
}

/// A record's producer and number.
fn parse(value: &str) -> Option<(u64, u64)> {
    let mut parts = value.split('/');
    let producer = parts.next()?.parse().ok()?;
    Some((producer, parts.nth(1)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::history::Acknowledged;
    use common::id::TopicPartition;

    #[test]
    fn lost_doubled_and_disordered_records_are_found() {
        let partition = TopicPartition::new("t", 0);
        for (acknowledged, log, is_right) in [
            (vec![(0, "2/t-0/1")], vec![(0, "2/t-0/1"), (1, "2/t-0/2")], true),
            (vec![(0, "2/t-0/1")], vec![], false),
            (vec![(0, "2/t-0/1")], vec![(0, "2/t-0/2")], false),
            (vec![(-1, "2/t-0/1")], vec![(4, "2/t-0/1")], true),
            (vec![], vec![(0, "2/t-0/1"), (1, "2/t-0/1")], false),
            (vec![], vec![(0, "1/t-0/1"), (1, "1/t-0/1")], true),
            (vec![], vec![(0, "1/t-0/2"), (1, "1/t-0/1")], false),
            (vec![], vec![(0, "nonsense")], false),
        ] {
            let batch = |(base_offset, value): &(i64, &str)| Acknowledged {
                partition: partition.clone(),
                base_offset: *base_offset,
                values: vec![(*value).to_owned()],
                at: 0,
            };
            let verified = log.iter().map(|(offset, value)| (*offset, (*value).to_owned())).collect();
            let history = History {
                batches: acknowledged.iter().map(batch).collect(),
                verified: [(partition.clone(), verified)].into(),
                ..History::default()
            };
            assert_eq!(check(&history, &BTreeSet::from([2])).is_ok(), is_right, "{acknowledged:?} {log:?}");
        }
    }
}
