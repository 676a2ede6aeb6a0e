//! How the partitions stand according to the coordinators: who leads, who is in sync. After healing, everybody must be.

use super::coordinators;
use crate::sim::workload::kafka::Topics;
use crate::sim::world::World;

/// The partitions that have no leader or lack replicas in sync, with their state; a partition without a state too.
pub fn lacking(world: &World, topics: &Topics) -> Vec<String> {
    let newest = coordinators(world).map(|(_, process)| process.node.tree()).max_by_key(|tree| tree.zxid());
    let Some(tree) = newest else { return vec!["no coordinator runs".to_owned()] };
    let wanted = usize::try_from(topics.replication_factor).unwrap_or(0);
    let mut lacking = Vec::new();
    for partition in topics.partitions() {
        let path = format!("/brokers/topics/{}/partitions/{}/state", partition.topic, partition.partition);
        let state = tree.node(&path).and_then(|node| node.data()).map(String::from_utf8_lossy).unwrap_or_default();
        let in_sync = state.split_once("\"isr\":[").and_then(|(_, rest)| rest.split_once(']')).map(|(isr, _)| isr);
        let count = in_sync.map_or(0, |isr| isr.split(',').filter(|id| !id.trim().is_empty()).count());
        if count < wanted || state.contains("\"leader\":-1") {
            lacking.push(format!("{partition}: {state}"));
        }
    }
    lacking
}
