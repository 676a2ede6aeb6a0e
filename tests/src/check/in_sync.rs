//! How the partitions stand according to the coordinators: who leads, who is in sync. After healing, everybody must be.

use super::{brokers, coordinators};
use crate::sim::workload::kafka::Topics;
use crate::sim::world::{Host, World};
use broker::group::OFFSETS_TOPIC;
use broker::share::SHARE_STATE_TOPIC;
use broker::txn::TRANSACTION_TOPIC;
use common::id::TopicPartition;

/// Each partition and its state in the newest tree; empty if it has none yet. The brokers' own topics too, once they are
/// there.
fn states(world: &World, topics: &Topics) -> Option<Vec<(TopicPartition, String)>> {
    let tree = coordinators(world).map(|(_, process)| process.node.tree()).max_by_key(|tree| tree.zxid())?;
    let state = |partition: TopicPartition| {
        let path = format!("/brokers/topics/{}/partitions/{}/state", partition.topic, partition.partition);
        let data = tree.node(&path).and_then(|node| node.data()).map(String::from_utf8_lossy);
        (partition, data.unwrap_or_default().into_owned())
    };
    let own = [OFFSETS_TOPIC, TRANSACTION_TOPIC, SHARE_STATE_TOPIC].into_iter().flat_map(|topic| {
        let states = (0..).map(move |number| state(TopicPartition::new(topic.to_owned(), number)));
        states.take_while(|(_, state)| !state.is_empty())
    });
    Some(topics.partitions().map(state).chain(own).collect())
}

/// The replicas in sync that a state names.
fn in_sync(state: &str) -> Vec<i32> {
    let list = state.split_once("\"isr\":[").and_then(|(_, rest)| rest.split_once(']')).map_or("", |(list, _)| list);
    list.split(',').filter_map(|id| id.trim().parse().ok()).collect()
}

fn lacks(state: &str, wanted: usize) -> bool {
    in_sync(state).len() < wanted || state.contains("\"leader\":-1")
}

/// The partitions that have no leader or lack replicas in sync, with their state; a partition without a state too.
pub fn lacking(world: &World, topics: &Topics) -> Vec<String> {
    let Some(states) = states(world, topics) else { return vec!["no coordinator runs".to_owned()] };
    let wanted = usize::try_from(topics.replication_factor).unwrap_or(0);
    let lacking = states.into_iter().filter(|(_, state)| lacks(state, wanted));
    lacking.map(|(partition, state)| format!("{partition}: {state}")).collect()
}

/// True if some leader waits for the controller to grant it other replicas in sync.
pub fn is_changing(world: &World) -> bool {
    brokers(world)
        .any(|(_, process)| process.broker.replicas.all().iter().any(|partition| partition.view().is_isr_changing))
}

/// True if this machine's broker is in sync somewhere, or that cannot be known.
pub fn counts_on(world: &World, topics: &Topics, host: Host) -> bool {
    let id = world.machine(host).name.trim_start_matches('b').parse().unwrap_or(-1);
    let Some(states) = states(world, topics) else { return true };
    states.iter().any(|(_, state)| state.is_empty() || in_sync(state).contains(&id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_that_lack_something_are_found() {
        for (leader, isr, is_lacking) in [(1, "1,2,3", false), (1, "1, 3", true), (-1, "1,2,3", true), (1, "", true)] {
            let state = format!("{{\"controller_epoch\":1,\"leader\":{leader},\"isr\":[{isr}]}}");
            assert_eq!(lacks(&state, 3), is_lacking, "{state}");
        }
        assert!(lacks("", 3));
    }
}
