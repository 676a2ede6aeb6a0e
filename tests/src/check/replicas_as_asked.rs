//! When all is healed, every partition has the replicas that were asked for last, in their order, and no move is left over.

use super::coordinators;
use crate::sim::world::World;
use broker::cluster::json::TopicRecord;
use common::id::TopicPartition;
use std::collections::BTreeMap;

/// The partitions that are not as asked for, with what the coordinators say of them.
pub fn lacking(world: &World) -> Vec<String> {
    let newest = coordinators(world).map(|(_, process)| process.node.tree()).max_by_key(|tree| tree.zxid());
    let Some(tree) = newest else { return vec!["no coordinator runs".to_owned()] };
    let mut topics: BTreeMap<String, Option<TopicRecord>> = BTreeMap::new();
    for partition in world.core.history.replicas.keys() {
        let data = tree.node(&format!("/brokers/topics/{}", partition.topic)).and_then(|node| node.data());
        topics.insert(partition.topic.clone(), data.and_then(|data| TopicRecord::decode(data).ok()));
    }
    compare(&world.core.history.replicas, &topics)
}

fn compare(asked: &BTreeMap<TopicPartition, Vec<i32>>, topics: &BTreeMap<String, Option<TopicRecord>>) -> Vec<String> {
    let mut lacking = Vec::new();
    for (partition, replicas) in asked {
        let topic = topics.get(&partition.topic).and_then(Option::as_ref);
        let found = topic.and_then(|topic| topic.partitions.get(&partition.partition));
        let is_right = found
            .is_some_and(|found| found.replicas == *replicas && found.adding.is_empty() && found.removing.is_empty());
        if !is_right {
            lacking.push(format!("{partition}: asked for {replicas:?}, is {found:?}"));
        }
    }
    lacking
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_replicas_and_moves_that_are_left_over_are_found() {
        let asked = [(TopicPartition::new("a", 0), vec![1, 2])].into();
        for (text, is_right) in [
            (r#"{"partitions":{"0":[1,2]},"adding_replicas":{},"removing_replicas":{},"version":3}"#, true),
            (r#"{"partitions":{"0":[2,1]},"adding_replicas":{},"removing_replicas":{},"version":3}"#, false),
            (r#"{"partitions":{"0":[1,2,3]},"adding_replicas":{},"removing_replicas":{"0":[3]},"version":3}"#, false),
            (r#"{"partitions":{"1":[1,2]},"adding_replicas":{},"removing_replicas":{},"version":3}"#, false),
        ] {
            let topics = [("a".to_owned(), Some(TopicRecord::decode(text.as_bytes()).unwrap()))].into();
            assert_eq!(compare(&asked, &topics).is_empty(), is_right, "{text}");
        }
    }
}
