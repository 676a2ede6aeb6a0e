//! No transaction hangs: consumers of committed records get to the end of every partition once nobody begins anything new.

use super::brokers;
use crate::sim::world::World;
use common::id::TopicPartition;
use std::collections::BTreeMap;

/// The leaders' partitions: last stable offset and end.
fn leaders(world: &World) -> BTreeMap<TopicPartition, (i64, i64)> {
    let mut newest: BTreeMap<TopicPartition, (i32, (i64, i64))> = BTreeMap::new();
    for (_, process) in brokers(world) {
        for partition in process.broker.replicas.all() {
            let Some(epoch) = partition.leader_epoch_if_leader() else { continue };
            let view = partition.view();
            let known = newest
                .entry(TopicPartition::new(partition.topic().to_string(), partition.index()))
                .or_insert((-1, (0, 0)));
            if epoch > known.0 {
                *known = (epoch, (view.last_stable_offset, view.end_offset));
            }
        }
    }
    newest.into_iter().map(|(partition, (_, found))| (partition, found)).collect()
}

/// Where each partition ends now.
pub fn ends(world: &World) -> BTreeMap<TopicPartition, i64> {
    leaders(world).into_iter().map(|(partition, (_, end))| (partition, end)).collect()
}

/// Partitions whose committed records do not reach so far, with how far they do.
pub fn lacking(world: &World, ends: &BTreeMap<TopicPartition, i64>) -> Vec<String> {
    compare(&leaders(world), ends)
}

fn compare(leaders: &BTreeMap<TopicPartition, (i64, i64)>, ends: &BTreeMap<TopicPartition, i64>) -> Vec<String> {
    let stable = |partition| leaders.get(partition).map_or(-1, |(stable, _)| *stable);
    let lacking = ends.iter().filter(|(partition, end)| stable(partition) < **end);
    lacking.map(|(partition, end)| format!("{partition}: {} of {end}", stable(partition))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_that_hang_are_found() {
        let partition = || TopicPartition::new("t", 0);
        for (stable, end, is_lacking) in [(7, 7, false), (9, 7, false), (6, 7, true), (0, 7, true)] {
            let leaders = [(partition(), (stable, 10))].into();
            assert_eq!(!compare(&leaders, &[(partition(), end)].into()).is_empty(), is_lacking, "{stable} {end}");
        }
        assert_eq!(compare(&BTreeMap::new(), &[(partition(), 1)].into()).len(), 1);
    }
}
