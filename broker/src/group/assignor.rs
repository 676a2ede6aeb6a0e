//! Who shall have which partition: the assignors of the coordinator (KIP-848). Each sees the members' subscriptions and what
//! they were to have before, and gives every partition of every subscribed topic to exactly one subscriber. Knows nothing
//! of who has a partition now.

mod range;
pub(super) mod simple;
mod uniform;

use super::consumer_records::Partitions;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// An assignor, as `group.consumer.assignors` and members name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// Evenly, and with as little change as that allows.
    Uniform,
    /// Neighbouring partitions of each topic; the same numbers of topics with equally many partitions.
    Range,
}

impl Assignor {
    /// As members name it.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// By its name, or by that of Kafka's class.
    pub fn parse(text: &str) -> Option<Assignor> {
        match text {
            "uniform" | "org.apache.kafka.coordinator.group.assignor.UniformAssignor" => Some(Assignor::Uniform),
            "range" | "org.apache.kafka.coordinator.group.assignor.RangeAssignor" => Some(Assignor::Range),
            _ => None,
        }
    }

    /// What each member shall have; members without partitions may be missing. `partitions` counts those of the topics that
    /// there are; others are nobody's.
    pub(super) fn assign(
        self,
        members: &Members<'_>,
        partitions: &BTreeMap<Uuid, i32>,
    ) -> BTreeMap<String, Partitions> {
        match self {
            Assignor::Uniform => uniform::assign(members, partitions),
            Assignor::Range => range::assign(members, partitions),
        }
    }
}

/// A member as an assignor sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemberSpec<'a> {
    /// `group.instance.id` of a static member.
    pub instance_id: Option<&'a str>,
    /// Topics it reads that there are.
    pub topics: BTreeSet<Uuid>,
    /// What it was to have.
    pub target: &'a Partitions,
}

/// Members by id.
pub(super) type Members<'a> = BTreeMap<&'a str, MemberSpec<'a>>;

/// Topics that anybody reads, with their subscribers.
fn subscribers<'a>(members: &Members<'a>) -> BTreeMap<Uuid, Vec<&'a str>> {
    let mut subscribers: BTreeMap<Uuid, Vec<&str>> = BTreeMap::new();
    for (id, member) in members {
        for topic in &member.topics {
            subscribers.entry(*topic).or_default().push(id);
        }
    }
    subscribers
}

#[cfg(test)]
mod tests;
