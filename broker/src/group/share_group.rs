//! One share group (KIP-932), as Kafka 4.3 keeps it: the coordinator decides who reads which partition, several members may
//! read one, and a member is given at once what it shall have. Only partitions whose state the share coordinator has made
//! are given. Everything that matters is in records; applying them is the only way a group changes, live and on load.
//! Appends only by its turn; knows nothing of the records that members are given.
//!
//! States: Empty while there are no members, else Stable.

mod heartbeat;
mod messages;
mod states;

pub use messages::{
    Alteration, AlteredTopic, Deletion, Initialize, ShareDescription, ShareHeartbeatInput, ShareHeartbeatOutput,
    ShareHeartbeatResult, ShareMember,
};

use super::assignor::simple;
use super::consumer_group::AssignedTopic;
use super::consumer_records::Partitions;
use super::records::GroupRecord;
use super::share_records::{ShareCurrentValue, ShareMemberValue, ShareRecord, StatePartitions};
use super::turn::{GroupSettings, Pending, StoreError, Then, Turn, Waiter};
use common::time::Millis;
use std::collections::{BTreeMap, BTreeSet};
use tracing::{info, warn};
use uuid::Uuid;

/// Epoch of a member that joins.
const JOINS: i32 = 0;
/// Epoch of a member that leaves.
const LEAVES: i32 = -1;
/// A member that could not be removed, because its record was not taken, is tried again after this.
const RETRY_MS: u64 = 500;
/// Members removed in one batch, three records each: far below the smallest sensible `max.message.bytes`.
const REMOVED_PER_BATCH: usize = 150;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Member {
    subscription: ShareMemberValue,
    current: ShareCurrentValue,
    /// When it counts as gone.
    session_ends: Option<Millis>,
}

/// A group.
pub(super) struct ShareGroup {
    pub id: String,
    /// Counts changes of members, subscriptions and topics.
    pub epoch: i32,
    metadata_hash: i64,
    members: BTreeMap<String, Member>,
    /// Epoch for which `target` was computed.
    target_epoch: i32,
    /// What each member shall have.
    target: BTreeMap<String, Partitions>,
    /// `None` until the first state was asked for.
    states: Option<StatePartitions>,
    /// When the share coordinator was told last to make states of a topic, by this broker in this life.
    told_at: BTreeMap<Uuid, Millis>,
    /// True if topics may have changed since they were last looked at.
    is_stale: bool,
}

impl ShareGroup {
    pub(super) fn new(id: &str) -> ShareGroup {
        ShareGroup {
            id: id.to_owned(),
            epoch: 0,
            metadata_hash: 0,
            members: BTreeMap::new(),
            target_epoch: 0,
            target: BTreeMap::new(),
            states: None,
            told_at: BTreeMap::new(),
            is_stale: true,
        }
    }

    /// As tools show it.
    pub(super) fn state_name(&self) -> &'static str {
        if self.members.is_empty() { "Empty" } else { "Stable" }
    }

    pub(super) fn member_count(&self) -> usize {
        self.members.len()
    }

    /// True if the log has records of the group.
    pub(super) fn is_recorded(&self) -> bool {
        self.epoch > 0 || self.states.is_some()
    }

    fn subscribed_topics(&self) -> BTreeSet<&str> {
        self.members.values().flat_map(|member| &member.subscription.topics).map(String::as_str).collect()
    }

    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.members.values().any(|member| member.subscription.topics.contains(topic))
    }

    // ---- records

    /// Applies a record. Those of a member that is not known make it known: compaction leaves the latest of each key, in
    /// any order of keys.
    pub(super) fn apply(&mut self, record: &ShareRecord) {
        match record {
            ShareRecord::Epoch(epoch) => {
                let epoch = epoch.unwrap_or_default();
                (self.epoch, self.metadata_hash) = (epoch.epoch, epoch.metadata_hash);
            }
            ShareRecord::Member(id, Some(subscription)) => {
                self.members.entry(id.clone()).or_default().subscription = subscription.clone();
            }
            ShareRecord::Member(id, None) => {
                self.members.remove(id);
            }
            ShareRecord::TargetEpoch(epoch) => self.target_epoch = epoch.unwrap_or(-1),
            ShareRecord::Target(id, Some(partitions)) => {
                self.target.insert(id.clone(), partitions.clone());
            }
            ShareRecord::Target(id, None) => {
                self.target.remove(id);
            }
            ShareRecord::Current(id, Some(current)) => {
                self.members.entry(id.clone()).or_default().current = current.clone();
            }
            ShareRecord::Current(id, None) => {
                if let Some(member) = self.members.get_mut(id) {
                    member.current =
                        ShareCurrentValue { epoch: LEAVES, previous_epoch: LEAVES, ..ShareCurrentValue::default() };
                }
            }
            ShareRecord::States(states) => self.states.clone_from(states),
        }
    }

    /// The records by which an empty group ends.
    pub(super) fn tombstones(&self) -> Vec<GroupRecord> {
        let members = || self.members.keys().cloned();
        let mut records: Vec<ShareRecord> = Vec::new();
        records.extend(members().map(|id| ShareRecord::Current(id, None)));
        records.extend(members().map(|id| ShareRecord::Target(id, None)));
        records.push(ShareRecord::TargetEpoch(None));
        records.extend(members().map(|id| ShareRecord::Member(id, None)));
        records.push(ShareRecord::States(None));
        records.push(ShareRecord::Epoch(None));
        records.into_iter().map(|record| GroupRecord::Share(self.id.clone(), record)).collect()
    }

    /// The group was read from the log: members get a whole session to show up.
    pub(super) fn on_loaded(&mut self, now: Millis, settings: &GroupSettings) {
        let session_ms = session_ms(&self.id, settings);
        for member in self.members.values_mut() {
            member.session_ends = Some(now + session_ms);
        }
    }

    /// Appends records and applies them at once: what a later request is decided on may not wait for replication. `then`
    /// hears when they are replicated. Nothing is applied on error.
    fn record(
        &mut self,
        records: Vec<ShareRecord>,
        then: Waiter<Result<(), StoreError>>,
        turn: &mut Turn<'_>,
    ) -> Result<(), StoreError> {
        if records.is_empty() {
            turn.wait_for_all(then);
            return Ok(());
        }
        let of_group = |record: &ShareRecord| GroupRecord::Share(self.id.clone(), record.clone());
        let stored = turn.store(records.iter().map(of_group).collect(), None)?;
        for record in &records {
            self.apply(record);
        }
        turn.wait(Pending { records: Vec::new(), ..stored }, Then::Answer(then));
        Ok(())
    }

    // ---- time

    /// When [`ShareGroup::tick`] has something to do at the earliest.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        self.members.values().filter_map(|member| member.session_ends).min()
    }

    /// Removes members that are gone, together.
    pub(super) fn tick(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.mono;
        let is_gone = |member: &Member| member.session_ends.is_some_and(|at| at <= now);
        let gone: Vec<String> =
            self.members.iter().filter(|(_, member)| is_gone(member)).map(|(id, _)| id.clone()).collect();
        for ids in gone.chunks(REMOVED_PER_BATCH) {
            info!(group = self.id, members = ids.join(","), "members are removed, their sessions expired");
            let records = self.removal(ids, turn);
            let Err(error) = self.record(records, Box::new(|_| {}), turn) else { continue };
            warn!(group = self.id, members = ids.len(), %error, "the removal was not recorded");
            for id in ids {
                if let Some(member) = self.members.get_mut(id) {
                    member.session_ends = Some(now + RETRY_MS);
                }
            }
        }
    }

    // ---- views

    pub(super) fn describe(&self, name: &dyn Fn(Uuid) -> Option<String>) -> ShareDescription {
        let of_topic = |(id, numbers): (&Uuid, &BTreeSet<i32>)| {
            let name = name(*id)?;
            Some(AssignedTopic { id: *id, name, partitions: numbers.iter().copied().collect() })
        };
        let member = |(id, member): (&String, &Member)| ShareMember {
            member_id: id.clone(),
            epoch: member.current.epoch,
            subscription: member.subscription.clone(),
            assigned: member.current.assigned.iter().filter_map(of_topic).collect(),
        };
        ShareDescription {
            state: self.state_name(),
            epoch: self.epoch,
            target_epoch: self.target_epoch,
            assignor: simple::NAME,
            members: self.members.iter().map(member).collect(),
        }
    }
}

/// How long a member may be silent.
fn session_ms(group: &str, settings: &GroupSettings) -> u64 {
    u64::try_from(settings.configs.get(group).share_session_timeout_ms).unwrap_or(0)
}

#[cfg(test)]
mod tests;
