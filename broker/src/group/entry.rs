//! One entry of the table of groups: a group id is one namespace for groups of every protocol, and offsets belong to the
//! id, not to the protocol. Decides nothing that only one protocol knows of.

use super::GroupError;
use super::classic::{ClassicGroup, JoinInput, JoinResult, State};
use super::consumer_group::ConsumerGroup;
use super::offsets::{Offsets, Place};
use super::records::GroupRecord;
use super::share_group::ShareGroup;
use super::turn::{Pending, Then, Turn, Waiter};
use common::time::{Millis, Now};
use std::collections::BTreeSet;
use tracing::{info, warn};

/// See the top of the file.
pub(super) struct Group {
    pub id: String,
    pub offsets: Offsets,
    /// The entry of this group among the shard's timers.
    pub scheduled: Option<Millis>,
    pub kind: Kind,
}

/// The protocol that the group has. Classic -> Consumer when a member of the new protocol joins, and back; a share group
/// stays one.
pub(super) enum Kind {
    Classic(Box<ClassicGroup>),
    Consumer(Box<ConsumerGroup>),
    Share(Box<ShareGroup>),
}

impl Group {
    /// A group of the classic protocol without members.
    pub(super) fn new(id: &str, now: Now) -> Group {
        Group::of(id, Kind::Classic(Box::new(ClassicGroup::new(id, now))))
    }

    /// A group without offsets.
    pub(super) fn of(id: &str, kind: Kind) -> Group {
        Group { id: id.to_owned(), offsets: Offsets::default(), scheduled: None, kind }
    }

    pub(super) fn classic(&self) -> Option<&ClassicGroup> {
        match &self.kind {
            Kind::Classic(group) => Some(group),
            Kind::Consumer(_) | Kind::Share(_) => None,
        }
    }

    pub(super) fn consumer(&self) -> Option<&ConsumerGroup> {
        match &self.kind {
            Kind::Classic(_) | Kind::Share(_) => None,
            Kind::Consumer(group) => Some(group),
        }
    }

    pub(super) fn share(&self) -> Option<&ShareGroup> {
        match &self.kind {
            Kind::Classic(_) | Kind::Consumer(_) => None,
            Kind::Share(group) => Some(group),
        }
    }

    /// `consumer`, `connect`, ...; empty if unknown.
    pub(super) fn protocol_type(&self) -> &str {
        match &self.kind {
            Kind::Classic(group) => group.protocol_type.as_deref().unwrap_or_default(),
            Kind::Consumer(_) => "consumer",
            Kind::Share(_) => "share",
        }
    }

    /// As ListGroups names the kind.
    pub(super) fn type_name(&self) -> &'static str {
        match &self.kind {
            Kind::Classic(_) => "classic",
            Kind::Consumer(_) => "consumer",
            Kind::Share(_) => "share",
        }
    }

    /// As tools show it.
    pub(super) fn state_name(&self) -> &'static str {
        match &self.kind {
            Kind::Classic(group) => group.state.name(),
            Kind::Consumer(group) => group.state().name(),
            Kind::Share(group) => group.state_name(),
        }
    }

    /// True if nobody is in the group, so that it may be deleted.
    pub(super) fn is_empty(&self) -> bool {
        match &self.kind {
            Kind::Classic(group) => group.state == State::Empty,
            Kind::Consumer(group) => group.members.is_empty(),
            Kind::Share(group) => group.member_count() == 0,
        }
    }

    /// True if the group holds nothing worth keeping in memory beyond its records and offsets.
    pub(super) fn is_idle(&self) -> bool {
        match &self.kind {
            Kind::Classic(group) => group.is_idle(),
            Kind::Consumer(group) => group.members.is_empty(),
            Kind::Share(group) => group.member_count() == 0,
        }
    }

    /// True if the log has records of the group itself.
    pub(super) fn is_recorded(&self) -> bool {
        match &self.kind {
            Kind::Classic(group) => group.generation > 0,
            Kind::Consumer(group) => group.epoch > 0,
            Kind::Share(group) => group.is_recorded(),
        }
    }

    /// True if members read the topic, or may do so for all that can be told.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.kind {
            Kind::Classic(group) => {
                group.state != State::Empty && group.subscribed.as_ref().is_none_or(|topics| topics.contains(topic))
            }
            Kind::Consumer(group) => group.subscribed_topics().contains(topic),
            Kind::Share(group) => group.is_subscribed_to(topic),
        }
    }

    /// Which offsets have expired (KIP-211).
    pub(super) fn expired(&self, now_ms: i64, retention_ms: i64) -> Vec<Place> {
        let none = BTreeSet::new();
        let group = match &self.kind {
            Kind::Classic(group) => group,
            Kind::Consumer(group) => {
                let read = group.subscribed_topics().into_iter().map(str::to_owned).collect();
                return self.offsets.expired(now_ms, retention_ms, None, &read);
            }
            // Commits nothing.
            Kind::Share(_) => return Vec::new(),
        };
        match (&group.protocol_type, group.state, &group.subscribed) {
            // Consumers that only keep offsets here: each offset by itself.
            (None, _, _) => self.offsets.expired(now_ms, retention_ms, None, &none),
            (Some(_), State::Empty, _) => self.offsets.expired(now_ms, retention_ms, group.state_since, &none),
            (Some(kind), State::Stable, Some(topics)) if kind == "consumer" => {
                self.offsets.expired(now_ms, retention_ms, None, topics)
            }
            _ => Vec::new(),
        }
    }

    /// The records by which an empty group ends.
    pub(super) fn tombstones(&self) -> Vec<GroupRecord> {
        match &self.kind {
            Kind::Classic(_) => vec![GroupRecord::Group(self.id.clone(), None)],
            Kind::Consumer(group) => group.tombstones(),
            Kind::Share(group) => group.tombstones(),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Millis> {
        match &self.kind {
            Kind::Classic(group) => group.next_deadline(),
            Kind::Consumer(group) => group.next_deadline(),
            Kind::Share(group) => group.next_deadline(),
        }
    }

    pub(super) fn tick(&mut self, turn: &mut Turn<'_>) {
        match &mut self.kind {
            Kind::Classic(group) => group.tick(turn),
            Kind::Consumer(group) => {
                group.tick(turn);
                self.downgrade_if_classic(turn);
            }
            Kind::Share(group) => group.tick(turn),
        }
    }

    /// A group of the new protocol that only members of the classic one are left in goes back to that, and has them join
    /// again.
    pub(super) fn downgrade_if_classic(&mut self, turn: &mut Turn<'_>) {
        let Some(consumers) = self.consumer() else { return };
        let Some(value) = consumers.as_classic(turn) else { return };
        let mut records = consumers.tombstones();
        records.push(GroupRecord::Group(self.id.clone(), Some(value.clone())));
        match turn.store(records, None) {
            Ok(stored) => turn.wait(Pending { records: Vec::new(), ..stored }, Then::Nothing),
            Err(error) => return warn!(group = self.id, %error, "the group stays with the new protocol for now"),
        }
        info!(group = self.id, members = value.members.len(), "the group goes back to the classic protocol");
        let mut classic = ClassicGroup::from_value(&self.id, value, turn.now);
        classic.prepare_rebalance("the last member of the new protocol left", turn);
        self.kind = Kind::Classic(Box::new(classic));
    }

    /// JoinGroup. An empty group of the new protocol becomes a classic one.
    pub(super) fn join(&mut self, input: JoinInput, waiter: Waiter<JoinResult>, turn: &mut Turn<'_>) {
        if let Kind::Consumer(group) = &self.kind
            && group.members.is_empty()
        {
            let refuse = |error| JoinResult { member_id: input.member_id.clone(), outcome: Err(error) };
            if !input.member_id.is_empty() {
                return turn.answer(waiter, refuse(GroupError::UnknownMember));
            }
            match turn.store(group.tombstones(), None) {
                Ok(stored) => turn.wait(Pending { records: Vec::new(), ..stored }, Then::Nothing),
                Err(error) => return turn.answer(waiter, refuse(GroupError::of_rebalance(error))),
            }
            self.kind = Kind::Classic(Box::new(ClassicGroup::new(&self.id, turn.now)));
        }
        match &mut self.kind {
            Kind::Classic(group) => group.join(input, waiter, turn),
            Kind::Consumer(group) => group.classic_join(input, waiter, turn),
            Kind::Share(_) => {
                let outcome = Err(GroupError::InconsistentProtocol);
                turn.answer(waiter, JoinResult { member_id: String::new(), outcome });
            }
        }
    }

    pub(super) fn unload(&mut self, turn: &mut Turn<'_>) {
        match &mut self.kind {
            Kind::Classic(group) => group.unload(GroupError::NotCoordinator, turn),
            // Whoever waits for it waits for a record, and hears from the shard.
            Kind::Consumer(_) | Kind::Share(_) => {}
        }
    }

    /// Whether a member may commit offsets now.
    pub(super) fn check_commit(&mut self, commit: &super::CommitInput, turn: &Turn<'_>) -> Result<(), GroupError> {
        let is_transactional = commit.producer.is_some();
        match &mut self.kind {
            Kind::Classic(group) => group.check_commit(&commit.sender, is_transactional, turn),
            Kind::Consumer(group) => group.check_commit(&commit.sender, is_transactional, commit.knows_member_epochs),
            Kind::Share(_) => Err(GroupError::NotFound),
        }
    }
}
