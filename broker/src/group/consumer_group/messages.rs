//! What heartbeats say and are answered, and what tools are told, apart from the wire. Holds no rule.

use crate::group::GroupError;
use crate::group::consumer_records::{ClassicMemberValue, ConsumerMemberValue, Partitions};
use std::collections::BTreeSet;
use uuid::Uuid;

/// What a ConsumerGroupHeartbeat request says. What is `None` is as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeartbeatInput {
    /// Chosen by the client since KIP-1082; empty in the first request of older ones.
    pub member_id: String,
    /// True if an empty member id is not good enough.
    pub needs_member_id: bool,
    /// 0 to join, -1 to leave, -2 for a static member that will be back, else the member's epoch.
    pub epoch: i32,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// `client.rack`.
    pub rack_id: Option<String>,
    /// How long the member may take to give up partitions; -1 if it is as it was.
    pub rebalance_timeout_ms: i32,
    /// The client's name for itself.
    pub client_id: String,
    /// The client's address.
    pub client_host: String,
    /// Topics by name.
    pub topics: Option<BTreeSet<String>>,
    /// Topics by pattern; empty for none.
    pub regex: Option<String>,
    /// The assignor it asks for.
    pub assignor: Option<String>,
    /// Partitions the member has.
    pub owned: Option<Partitions>,
    /// Set for a member of the classic protocol, for which this is JoinGroup.
    pub classic: Option<ClassicMemberValue>,
}

/// The answer to a heartbeat.
pub type HeartbeatResult = Result<HeartbeatOutput, Refusal>;

/// What a member has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatOutput {
    /// Its id.
    pub member_id: String,
    /// Its epoch from now on.
    pub epoch: i32,
    /// Time to the next heartbeat; 0 for a member that leaves.
    pub interval_ms: i32,
    /// What it has from now on; `None` if that has not changed.
    pub assignment: Option<Partitions>,
}

/// Why a heartbeat has no effect, in the words that Kafka has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub error: GroupError,
    /// The same for a person; empty if the code says it all.
    pub message: String,
}

impl From<GroupError> for Refusal {
    fn from(error: GroupError) -> Refusal {
        Refusal { error, message: String::new() }
    }
}

impl GroupError {
    /// This, explained.
    pub(in crate::group) fn because(self, message: impl Into<String>) -> Refusal {
        Refusal { error: self, message: message.into() }
    }
}

/// A group as ConsumerGroupDescribe shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerDescription {
    /// `Stable`, `Reconciling`, ...
    pub state: &'static str,
    /// The group's epoch.
    pub epoch: i32,
    /// Epoch of the target.
    pub target_epoch: i32,
    /// The assignor in use.
    pub assignor: &'static str,
    /// Members by id.
    pub members: Vec<ConsumerMember>,
}

/// A member as ConsumerGroupDescribe shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerMember {
    /// Member id.
    pub member_id: String,
    /// Its epoch.
    pub epoch: i32,
    /// What it said of itself.
    pub subscription: ConsumerMemberValue,
    /// What it has.
    pub assigned: Vec<AssignedTopic>,
    /// What it shall have.
    pub target: Vec<AssignedTopic>,
}

/// Partitions of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignedTopic {
    /// Topic id.
    pub id: Uuid,
    /// Topic name.
    pub name: String,
    /// Partitions.
    pub partitions: Vec<i32>,
}
