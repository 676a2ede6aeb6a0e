//! What requests of members say and what they are answered, apart from the wire. Holds no rule.

use crate::group::GroupError;
use bytes::Bytes;
use std::collections::BTreeMap;

/// What a JoinGroup request says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinInput {
    /// Empty on the first join.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// True if the client understands MEMBER_ID_REQUIRED (KIP-394, version 4).
    pub can_be_asked_to_rejoin: bool,
    /// True if the client understands `skip_assignment` (KIP-814, version 9).
    pub can_skip_assignment: bool,
    /// The client's name for itself.
    pub client_id: String,
    /// The client's address.
    pub client_host: String,
    /// How long members may take to rejoin.
    pub rebalance_timeout_ms: i32,
    /// How long the member may be silent.
    pub session_timeout_ms: i32,
    /// `consumer`, `connect`, ...
    pub protocol_type: String,
    /// Protocols the member can do, best first, with its metadata for each.
    pub protocols: Vec<(String, Bytes)>,
    /// Why the client joins, in its own words (KIP-800).
    pub reason: Option<String>,
}

/// The answer to JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinResult {
    /// The member's id from now on; empty if it has to start anew.
    pub member_id: String,
    /// The generation, or why there is none.
    pub outcome: Result<Joined, GroupError>,
}

/// A member's place in a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Number of the generation.
    pub generation: i32,
    /// Protocol type of the group.
    pub protocol_type: Option<String>,
    /// The protocol that every member can do.
    pub protocol: Option<String>,
    /// Member id of the leader.
    pub leader: String,
    /// True if the leader keeps the assignment that stands.
    pub skip_assignment: bool,
    /// For the leader: member id, instance id, metadata of everyone. Empty for others.
    pub members: Vec<(String, Option<String>, Bytes)>,
}

/// Who a member says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// Member id; empty without group management.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// The generation it joined; -1 without group management.
    pub generation: i32,
}

/// What a SyncGroup request says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncInput {
    /// Who asks.
    pub sender: Sender,
    /// The type it believes in (KIP-559).
    pub protocol_type: Option<String>,
    /// The protocol it believes in (KIP-559).
    pub protocol: Option<String>,
    /// From the leader: what each member gets.
    pub assignments: BTreeMap<String, Bytes>,
}

/// The answer to SyncGroup.
pub type SyncResult = Result<Synced, GroupError>;

/// What a member was assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// Protocol type of the group.
    pub protocol_type: Option<String>,
    /// Protocol of the generation.
    pub protocol: Option<String>,
    /// The assignment; only clients can read it.
    pub assignment: Bytes,
}
