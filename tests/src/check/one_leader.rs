//! A leader epoch of a partition has one leader: no two brokers ever take writes in the same epoch.

use super::brokers;
use crate::sim::world::World;
use std::collections::BTreeMap;

/// What was seen so far.
#[derive(Debug, Default)]
pub struct OneLeader {
    /// Topic, partition and leader epoch, and the broker that leads.
    leaders: BTreeMap<(String, i32, i32), i32>,
}

impl OneLeader {
    /// Looks at all partitions of all brokers.
    pub fn look(&mut self, world: &World) -> Result<(), String> {
        for (_, process) in brokers(world) {
            for partition in process.broker.replicas.all() {
                if let Some(epoch) = partition.leader_epoch_if_leader() {
                    self.leads(partition.topic(), (partition.index(), epoch), process.broker.config.broker_id)?;
                }
            }
        }
        Ok(())
    }

    fn leads(&mut self, topic: &str, (partition, epoch): (i32, i32), broker: i32) -> Result<(), String> {
        let leader = *self.leaders.entry((topic.to_owned(), partition, epoch)).or_insert(broker);
        if leader == broker {
            return Ok(());
        }
        Err(format!("{topic}-{partition}: brokers {leader} and {broker} both lead in epoch {epoch}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_leaders_of_an_epoch_are_found() {
        let mut seen = OneLeader::default();
        for (partition, epoch, broker, is_right) in
            [(0, 1, 1, true), (0, 1, 1, true), (1, 1, 2, true), (0, 2, 2, true), (0, 1, 2, false)]
        {
            assert_eq!(seen.leads("t", (partition, epoch), broker).is_ok(), is_right, "{partition} {epoch} {broker}");
        }
    }
}
