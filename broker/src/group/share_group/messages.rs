//! What members of share groups say and are answered, and what tools ask and are told, apart from the wire. Holds no rule.

use crate::group::consumer_group::{AssignedTopic, Refusal};
use crate::group::consumer_records::Partitions;
use crate::group::share_records::ShareMemberValue;
use std::collections::BTreeSet;
use uuid::Uuid;

/// What a ShareGroupHeartbeat request says. What is `None` is as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShareHeartbeatInput {
    /// Chosen by the client.
    pub member_id: String,
    /// 0 to join, -1 to leave, else the member's epoch.
    pub epoch: i32,
    /// `client.rack`.
    pub rack_id: Option<String>,
    /// The client's name for itself.
    pub client_id: String,
    /// The client's address.
    pub client_host: String,
    /// Topics by name.
    pub topics: Option<BTreeSet<String>>,
}

/// The answer to a heartbeat.
pub type ShareHeartbeatResult = Result<ShareHeartbeatOutput, Refusal>;

/// What a member has to know, and what is to be done before others can be given more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareHeartbeatOutput {
    /// Its id.
    pub member_id: String,
    /// Its epoch from now on.
    pub epoch: i32,
    /// Time to the next heartbeat; 0 for a member that leaves.
    pub interval_ms: i32,
    /// What it has from now on; `None` if that has not changed.
    pub assignment: Option<Partitions>,
    /// Whose state the share coordinator is to make; the group waits for word of it.
    pub initialize: Initialize,
}

/// Partitions whose state the share coordinator is to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Initialize {
    /// Epoch of the group, and of the states.
    pub epoch: i32,
    /// Topic id, partition and first offset; -1 where `share.auto.offset.reset` says it.
    pub partitions: Vec<(Uuid, i32, i64)>,
}

/// What may be altered of the offsets of a share group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alteration {
    /// Topics in the order of the request.
    pub topics: Vec<AlteredTopic>,
    /// What the share coordinator is to make; the group waits for word of it.
    pub initialize: Initialize,
}

/// A topic whose offsets are to be altered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlteredTopic {
    /// Its name.
    pub name: String,
    /// Its id; nil if there is no such topic.
    pub id: Uuid,
    /// Its partitions, and whether there are such.
    pub partitions: Vec<(i32, bool)>,
}

/// What may be deleted of the offsets of a share group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Topics that are not there.
    pub missing: Vec<String>,
    /// Topics that the group has no state of.
    pub stateless: Vec<String>,
    /// Topics whose states the share coordinator is to delete: id, name, partitions.
    pub topics: Vec<(Uuid, String, Vec<i32>)>,
}

/// A group as ShareGroupDescribe shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareDescription {
    /// `Stable` or `Empty`.
    pub state: &'static str,
    /// The group's epoch.
    pub epoch: i32,
    /// Epoch of the target.
    pub target_epoch: i32,
    /// The assignor in use.
    pub assignor: &'static str,
    /// Members by id.
    pub members: Vec<ShareMember>,
}

/// A member as ShareGroupDescribe shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareMember {
    /// Member id.
    pub member_id: String,
    /// Its epoch.
    pub epoch: i32,
    /// What it said of itself.
    pub subscription: ShareMemberValue,
    /// What it has.
    pub assigned: Vec<AssignedTopic>,
}
