//! Who belongs to the ensemble, as replicated data: the servers with their addresses and roles, which life of each one
//! counts, and who votes. Decides nothing and never dials anyone.

use super::message::MessageError;
use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb::{self, ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState};

/// What a server is to the ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum MemberRole {
    /// Votes as soon as it has caught up.
    Participant = 0,
    /// Never votes.
    Observer = 1,
    /// Not in the configuration: it knows the ensemble and is kept up to date, as one that is to join or has left.
    Guest = 2,
}

/// One server.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Member {
    /// The N of its `server.N` line.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// What stands behind the `=` of that line.
    #[prost(string, tag = "2")]
    pub line: String,
    /// What it is.
    #[prost(enumeration = "MemberRole", tag = "3")]
    pub role: i32,
    /// The life of its store whose votes and acknowledgements count; 0 if none was heard of. A store that was lost and
    /// made anew has another one.
    #[prost(fixed64, tag = "4")]
    pub incarnation: u64,
}

/// Who takes part in consensus, as the library knows it.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Configuration {
    /// Servers that vote.
    #[prost(uint64, repeated, tag = "1")]
    pub voters: Vec<u64>,
    /// Servers that only follow.
    #[prost(uint64, repeated, tag = "2")]
    pub learners: Vec<u64>,
    /// While the configuration changes: the voters before. Both majorities count.
    #[prost(uint64, repeated, tag = "3")]
    pub voters_outgoing: Vec<u64>,
    /// Of those, the ones that will only follow.
    #[prost(uint64, repeated, tag = "4")]
    pub learners_next: Vec<u64>,
    /// True if the leader ends the change by itself.
    #[prost(bool, tag = "5")]
    pub auto_leave: bool,
}

/// The ensemble as of one place in the log; read after a restart by [`crate::node::Node::new`].
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct Membership {
    /// Drawn by the first leader there ever was; 0 before it led. Servers of different ensembles do not talk.
    #[prost(fixed64, tag = "1")]
    pub ensemble: u64,
    /// The transaction that set the configuration, as clients see it in `/zookeeper/config`.
    #[prost(int64, tag = "2")]
    pub version: i64,
    /// By id.
    #[prost(message, repeated, tag = "3")]
    pub members: Vec<Member>,
    /// In the store and in a snapshot: who takes part. In the log only in the first one, which all start from; later
    /// ones follow from the changes.
    #[prost(message, optional, tag = "4")]
    pub configuration: Option<Configuration>,
}

/// What tells one life of a server's store from another.
#[derive(Clone, Copy, PartialEq, Eq, ::prost::Message)]
pub struct Identity {
    /// Drawn when the store was made; 0 before.
    #[prost(fixed64, tag = "1")]
    pub incarnation: u64,
    /// True if this server may take part in founding the ensemble: see ARCHITECTURE.md, "A lost disk".
    #[prost(bool, tag = "2")]
    pub is_founder: bool,
}

/// A change of who takes part, as it stands in the log: the library's `ConfChangeV2`. No changes end a joint one.
#[derive(Clone, PartialEq, Eq, ::prost::Message)]
pub struct ConfigurationChange {
    /// 0: the library chooses.
    #[prost(int32, tag = "1")]
    pub transition: i32,
    /// What changes.
    #[prost(message, repeated, tag = "2")]
    pub changes: Vec<SingleChange>,
    /// What the node keeps with it.
    #[prost(bytes = "bytes", tag = "3")]
    pub context: Bytes,
}

/// What becomes of one server.
#[derive(Clone, Copy, PartialEq, Eq, ::prost::Message)]
pub struct SingleChange {
    /// 0 it votes, 1 it goes, 2 it follows.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// Which.
    #[prost(uint64, tag = "2")]
    pub id: u64,
}

impl SingleChange {
    /// The server votes from now on.
    pub fn vote(id: u64) -> SingleChange {
        SingleChange { kind: ConfChangeType::AddNode as i32, id }
    }

    /// The server follows without a vote.
    pub fn follow(id: u64) -> SingleChange {
        SingleChange { kind: ConfChangeType::AddLearnerNode as i32, id }
    }

    /// The server is forgotten.
    pub fn remove(id: u64) -> SingleChange {
        SingleChange { kind: ConfChangeType::RemoveNode as i32, id }
    }
}

impl ConfigurationChange {
    /// Reads what stands in the log.
    pub(super) fn parse(data: Bytes) -> Result<ConfigurationChange, MessageError> {
        ConfigurationChange::decode(data).map_err(|error| MessageError::Malformed(error.to_string()))
    }

    /// The library's form, without the context.
    pub(super) fn to_raft(&self) -> ConfChangeV2 {
        let mut change = ConfChangeV2::default();
        let singles = self.changes.iter().map(|single| {
            let mut change = ConfChangeSingle { node_id: single.id, ..Default::default() };
            change.set_change_type(match single.kind {
                0 => ConfChangeType::AddNode,
                1 => ConfChangeType::RemoveNode,
                _ => ConfChangeType::AddLearnerNode,
            });
            change
        });
        change.set_changes(singles.collect::<Vec<_>>().into());
        if self.transition == eraftpb::ConfChangeTransition::Explicit as i32 {
            change.set_transition(eraftpb::ConfChangeTransition::Explicit);
        }
        change
    }
}

impl Configuration {
    /// The library's form.
    pub(super) fn to_raft(&self) -> ConfState {
        ConfState {
            voters: self.voters.clone(),
            learners: self.learners.clone(),
            voters_outgoing: self.voters_outgoing.clone(),
            learners_next: self.learners_next.clone(),
            auto_leave: self.auto_leave,
            ..Default::default()
        }
    }

    /// Our form of the library's; ids in order, because the library's come from a hash.
    pub(super) fn from_raft(state: &ConfState) -> Configuration {
        let sorted = |ids: &[u64]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids
        };
        Configuration {
            voters: sorted(&state.voters),
            learners: sorted(&state.learners),
            voters_outgoing: sorted(&state.voters_outgoing),
            learners_next: sorted(&state.learners_next),
            auto_leave: state.auto_leave,
        }
    }

    /// True if the server votes, before or after a change that is under way.
    pub fn votes(&self, id: u64) -> bool {
        self.voters.contains(&id) || self.voters_outgoing.contains(&id)
    }

    /// The changes that lead from here to `voters`, all others following.
    pub fn changes_to(&self, voters: &[u64], learners: &[u64]) -> Vec<SingleChange> {
        let mut changes = Vec::new();
        changes.extend(voters.iter().filter(|id| !self.voters.contains(id)).map(|id| SingleChange::vote(*id)));
        changes.extend(learners.iter().filter(|id| !self.learners.contains(id)).map(|id| SingleChange::follow(*id)));
        let known = self.voters.iter().chain(&self.learners);
        let gone = known.filter(|id| !voters.contains(id) && !learners.contains(id));
        changes.extend(gone.map(|id| SingleChange::remove(*id)));
        changes
    }
}

impl Membership {
    /// One of the servers.
    pub fn member(&self, id: u64) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// Puts a server in, or in the place of what was known of it.
    pub fn put(&mut self, member: Member) {
        self.members.retain(|known| known.id != member.id);
        self.members.push(member);
        self.members.sort_by_key(|member| member.id);
    }

    /// The servers of the configuration that have this role.
    pub fn with_role(&self, role: MemberRole) -> Vec<u64> {
        self.members.iter().filter(|member| member.role() == role).map(|member| member.id).collect()
    }

    /// The configuration as clients read it, in ZooKeeper's form: no newline at the end, the version in hex.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for member in self.members.iter().filter(|member| member.role() != MemberRole::Guest) {
            text.push_str(&format!("server.{}={}\n", member.id, member.line));
        }
        text.push_str(&format!("version={:x}", self.version));
        text
    }
}
