//! One group of the new consumer protocol (KIP-848), as Kafka 3.9 keeps it: the coordinator itself decides who shall have
//! which partition (the target), and brings each member there in steps, so that no partition has two owners. Everything
//! that matters is in records; applying them is the only way a group changes, live and on load. Appends only by its turn.
//!
//! States: Empty while there are no members; Assigning when the group's epoch is ahead of its target's; Reconciling
//! while a member is not there yet; else Stable.

mod classic_members;
mod heartbeat;
mod messages;
mod migrate;
mod reconcile;

pub(super) use heartbeat::of_member;
pub use messages::{
    AssignedTopic, ConsumerDescription, ConsumerMember, HeartbeatInput, HeartbeatOutput, HeartbeatResult, Refusal,
};

use super::GroupError;
use super::classic::Sender;
use super::consumer_records::{ConsumerMemberValue, ConsumerRecord, CurrentValue, MemberState, Partitions, TopicValue};
use super::records::GroupRecord;
use super::turn::{GroupSettings, Pending, StoreError, Then, Turn, Waiter};
use common::time::Millis;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use tracing::{info, warn};
use uuid::Uuid;

/// Epoch of a member that joins.
const JOINS: i32 = 0;
/// Epoch of a member that leaves.
const LEAVES: i32 = -1;
/// Epoch of a static member that will be back.
const LEAVES_FOR_A_WHILE: i32 = -2;
/// A member that could not be removed, because its record was not taken, is tried again after this.
const RETRY_MS: u64 = 500;
/// Members removed in one batch, three records each: far below the smallest sensible `max.message.bytes`.
const REMOVED_PER_BATCH: usize = 150;

/// Where a group is; see the top of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Empty,
    Assigning,
    Reconciling,
    Stable,
}

impl State {
    /// As tools show it.
    pub(super) fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::Assigning => "Assigning",
            State::Reconciling => "Reconciling",
            State::Stable => "Stable",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub subscription: ConsumerMemberValue,
    pub current: CurrentValue,
    /// When it counts as gone.
    session_ends: Option<Millis>,
    /// When it has to have given up its partitions, and in which epoch it is until then.
    revocation_ends: Option<(Millis, i32)>,
    /// When a member of the classic protocol that was told to join again has to have done so.
    join_ends: Option<Millis>,
    /// When one that has joined has to have synced.
    sync_ends: Option<Millis>,
}

impl Member {
    fn new() -> Member {
        let subscription = ConsumerMemberValue { rebalance_timeout_ms: -1, ..ConsumerMemberValue::default() };
        let current = CurrentValue { previous_epoch: -1, ..CurrentValue::default() };
        Member { subscription, current, session_ends: None, revocation_ends: None, join_ends: None, sync_ends: None }
    }

    fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.current.state == MemberState::Stable && self.current.epoch == epoch
    }
}

/// Topics by name.
type TopicTable = BTreeMap<String, TopicValue>;
/// What patterns match.
type Matches = BTreeMap<String, Matched>;

/// A compiled pattern, and the names of topics that matched it when they were last looked at.
#[derive(Clone, Debug)]
struct Matched {
    regex: Regex,
    topics: BTreeSet<String>,
}

/// A group.
pub(super) struct ConsumerGroup {
    pub id: String,
    /// Counts changes of members, subscriptions and topics.
    pub epoch: i32,
    pub members: BTreeMap<String, Member>,
    /// Epoch for which `target` was computed.
    target_epoch: i32,
    /// What each member shall have.
    target: BTreeMap<String, Partitions>,
    /// Topics that members read, by name, as of `epoch`.
    topics: TopicTable,
    /// Instance id -> member id.
    static_members: BTreeMap<String, String>,
    /// Epoch of the member that has a partition, or has yet to give it up.
    owned: BTreeMap<(Uuid, i32), i32>,
    /// What patterns matched when the topics were last looked at.
    matches: Matches,
    /// True if topics may have changed since.
    is_stale: bool,
}

impl ConsumerGroup {
    pub(super) fn new(id: &str) -> ConsumerGroup {
        ConsumerGroup {
            id: id.to_owned(),
            epoch: 0,
            members: BTreeMap::new(),
            target_epoch: 0,
            target: BTreeMap::new(),
            topics: BTreeMap::new(),
            static_members: BTreeMap::new(),
            owned: BTreeMap::new(),
            matches: BTreeMap::new(),
            is_stale: true,
        }
    }

    pub(super) fn state(&self) -> State {
        if self.members.is_empty() {
            State::Empty
        } else if self.epoch > self.target_epoch {
            State::Assigning
        } else if self.members.values().all(|member| member.is_reconciled_to(self.target_epoch)) {
            State::Stable
        } else {
            State::Reconciling
        }
    }

    /// Topics that members name, and those their patterns were last seen to match.
    pub(super) fn subscribed_topics(&self) -> BTreeSet<&str> {
        let named = self.members.values().flat_map(|member| &member.subscription.topics);
        let mut topics: BTreeSet<&str> = named.map(String::as_str).collect();
        if !self.members.is_empty() {
            topics.extend(self.topics.keys().map(String::as_str));
        }
        topics
    }

    /// Topics were made, changed or deleted: the next heartbeat looks at them.
    pub(super) fn on_topics_changed(&mut self, changed: &BTreeSet<&str>) {
        let has_patterns = self.members.values().any(|member| member.subscription.regex.is_some());
        self.is_stale |= has_patterns || self.subscribed_topics().iter().any(|topic| changed.contains(topic));
    }

    // ---- records

    /// Applies a record. Those of a member that is not known make it known: compaction leaves the latest of each key, in
    /// any order of keys.
    pub(super) fn apply(&mut self, record: &ConsumerRecord) {
        match record {
            ConsumerRecord::Epoch(epoch) => self.epoch = epoch.unwrap_or(0),
            ConsumerRecord::Topics(topics) => {
                let topics = topics.iter().flatten();
                self.topics = topics.map(|topic| (topic.name.clone(), topic.clone())).collect();
            }
            ConsumerRecord::Member(id, Some(subscription)) => {
                if let Some(instance) = &subscription.instance_id {
                    self.static_members.insert(instance.clone(), id.clone());
                }
                self.members.entry(id.clone()).or_insert_with(Member::new).subscription = subscription.clone();
            }
            ConsumerRecord::Member(id, None) => self.remove(id),
            ConsumerRecord::TargetEpoch(epoch) => self.target_epoch = epoch.unwrap_or(-1),
            ConsumerRecord::Target(id, Some(partitions)) => {
                self.target.insert(id.clone(), partitions.clone());
            }
            ConsumerRecord::Target(id, None) => {
                self.target.remove(id);
            }
            ConsumerRecord::Current(id, Some(current)) => {
                self.members.entry(id.clone()).or_insert_with(Member::new);
                self.set_current(id, current.clone());
            }
            ConsumerRecord::Current(id, None) => {
                let current = CurrentValue { epoch: LEAVES, previous_epoch: LEAVES, ..CurrentValue::default() };
                self.set_current(id, current);
            }
        }
    }

    fn remove(&mut self, id: &str) {
        self.set_current(id, CurrentValue::default());
        let Some(member) = self.members.remove(id) else { return };
        if let Some(instance) = member.subscription.instance_id
            && self.static_members.get(&instance).is_some_and(|current| current == id)
        {
            self.static_members.remove(&instance);
        }
    }

    fn set_current(&mut self, id: &str, current: CurrentValue) {
        let Some(member) = self.members.get_mut(id) else { return };
        let before = std::mem::replace(&mut member.current, current);
        let places = |partitions: &Partitions| -> Vec<(Uuid, i32)> {
            let of_topic = |(topic, numbers): (&Uuid, &BTreeSet<i32>)| {
                numbers.iter().map(|number| (*topic, *number)).collect::<Vec<_>>()
            };
            partitions.iter().flat_map(of_topic).collect()
        };
        for place in places(&before.assigned).into_iter().chain(places(&before.revoking)) {
            // On load an older record of this member may be met after a newer one of who has the partition now.
            if self.owned.get(&place) == Some(&before.epoch) {
                self.owned.remove(&place);
            }
        }
        let current = &member.current;
        for place in places(&current.assigned).into_iter().chain(places(&current.revoking)) {
            self.owned.insert(place, current.epoch);
        }
    }

    /// The records by which an empty group ends, or becomes one of the classic protocol.
    pub(super) fn tombstones(&self) -> Vec<GroupRecord> {
        let members = || self.members.keys().cloned();
        let mut records: Vec<ConsumerRecord> = Vec::new();
        records.extend(members().map(|id| ConsumerRecord::Current(id, None)));
        records.extend(members().map(|id| ConsumerRecord::Target(id, None)));
        records.push(ConsumerRecord::TargetEpoch(None));
        records.extend(members().map(|id| ConsumerRecord::Member(id, None)));
        records.push(ConsumerRecord::Topics(None));
        records.push(ConsumerRecord::Epoch(None));
        records.into_iter().map(|record| GroupRecord::Consumer(self.id.clone(), record)).collect()
    }

    /// The group was read from the log: members get a whole session to show up.
    pub(super) fn on_loaded(&mut self, now: Millis, settings: &GroupSettings) {
        for member in self.members.values_mut() {
            member.session_ends = Some(now + session_ms(&self.id, member, settings));
            if member.subscription.classic.is_none() && member.current.state == MemberState::Unrevoked {
                member.revocation_ends = Some((now + revocation_ms(member), member.current.epoch));
            }
        }
    }

    /// Appends records and applies them at once: what a later request is decided on may not wait for replication, or two
    /// members could be given the same partition. `waiter` hears when they are replicated. Nothing is applied on error.
    fn record(
        &mut self,
        (before, records): (Vec<GroupRecord>, Vec<ConsumerRecord>),
        then: Waiter<Result<(), StoreError>>,
        turn: &mut Turn<'_>,
    ) -> Result<(), StoreError> {
        let of_group = |record: &ConsumerRecord| GroupRecord::Consumer(self.id.clone(), record.clone());
        let all: Vec<GroupRecord> = before.into_iter().chain(records.iter().map(of_group)).collect();
        if !all.is_empty() {
            let stored = turn.store(all, None)?;
            for record in &records {
                self.apply(record);
            }
            turn.wait(Pending { records: Vec::new(), ..stored }, Then::Answer(then));
            return Ok(());
        }
        turn.wait_for_all(then);
        Ok(())
    }

    // ---- offsets

    /// Whether this sender may commit offsets now. Without epoch and member it is an administrator or a consumer that
    /// assigns itself, which is fine while the group is empty. `knows_epochs` is false for versions of the request in
    /// which the number is a generation.
    pub(super) fn check_commit(
        &self,
        sender: &Sender,
        is_transactional: bool,
        knows_epochs: bool,
    ) -> Result<(), GroupError> {
        if sender.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(&sender.member_id).ok_or(GroupError::UnknownMember)?;
        let is_classic = member.subscription.classic.is_some();
        if !is_transactional && !is_classic && !knows_epochs {
            return Err(GroupError::UnsupportedVersion);
        }
        match sender.generation == member.current.epoch {
            true => Ok(()),
            false if is_classic || is_transactional => Err(GroupError::IllegalGeneration),
            false => Err(GroupError::StaleEpoch),
        }
    }

    /// Whether a member may fetch offsets now; who says neither id nor epoch may.
    pub(super) fn check_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), GroupError> {
        if member_id.is_none() && epoch < 0 {
            return Ok(());
        }
        let member = member_id.and_then(|id| self.members.get(id)).ok_or(GroupError::UnknownMember)?;
        match epoch == member.current.epoch {
            true => Ok(()),
            false if member.subscription.classic.is_some() => Err(GroupError::IllegalGeneration),
            false => Err(GroupError::StaleEpoch),
        }
    }

    // ---- time

    /// When [`ConsumerGroup::tick`] has something to do at the earliest.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        let ends = |member: &Member| {
            let revocation = member.revocation_ends.map(|(at, _)| at);
            [member.session_ends, revocation, member.join_ends, member.sync_ends].into_iter().flatten().min()
        };
        self.members.values().filter_map(ends).min()
    }

    /// Removes members that are gone, or that kept others waiting for too long: together, so that whoever is left moves
    /// on once.
    pub(super) fn tick(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.mono;
        let mut gone: Vec<String> = Vec::new();
        for (id, member) in &mut self.members {
            let reason = if member.session_ends.is_some_and(|at| at <= now) {
                "its session expired"
            } else if member.revocation_ends.is_some_and(|(at, epoch)| at <= now && epoch == member.current.epoch) {
                "it did not give up its partitions in time"
            } else if member.join_ends.is_some_and(|at| at <= now) {
                "it did not join again in time"
            } else if member.sync_ends.is_some_and(|at| at <= now) {
                "it did not sync in time"
            } else {
                member.revocation_ends.take_if(|(at, _)| *at <= now);
                continue;
            };
            info!(group = self.id, member = id, reason, "member is removed");
            gone.push(id.clone());
        }
        for ids in gone.chunks(REMOVED_PER_BATCH) {
            let records = self.removal(ids, turn);
            let Err(error) = self.record((Vec::new(), records), Box::new(|_| {}), turn) else { continue };
            warn!(group = self.id, members = ids.len(), %error, "the removal was not recorded");
            for id in ids {
                if let Some(member) = self.members.get_mut(id) {
                    member.session_ends = Some(now + RETRY_MS);
                    (member.revocation_ends, member.join_ends, member.sync_ends) = (None, None, None);
                }
            }
        }
    }

    // ---- views

    pub(super) fn describe(
        &self,
        settings: &GroupSettings,
        name: &dyn Fn(Uuid) -> Option<String>,
    ) -> ConsumerDescription {
        let assigned = |partitions: &Partitions| -> Vec<AssignedTopic> {
            let of_topic = |(id, numbers): (&Uuid, &BTreeSet<i32>)| {
                let name = name(*id)?;
                Some(AssignedTopic { id: *id, name, partitions: numbers.iter().copied().collect() })
            };
            partitions.iter().filter_map(of_topic).collect()
        };
        let none = Partitions::new();
        let member = |(id, member): (&String, &Member)| ConsumerMember {
            member_id: id.clone(),
            epoch: member.current.epoch,
            subscription: member.subscription.clone(),
            assigned: assigned(&member.current.assigned),
            target: assigned(self.target.get(id).unwrap_or(&none)),
        };
        let subscriptions = self.members.iter().map(|(id, member)| (id.as_str(), &member.subscription)).collect();
        ConsumerDescription {
            state: self.state().name(),
            epoch: self.epoch,
            target_epoch: self.target_epoch,
            assignor: self.assignor_of(&subscriptions, &settings.assignors).name(),
            members: self.members.iter().map(member).collect(),
        }
    }
}

/// How long a member may be silent: one of the classic protocol has said so.
fn session_ms(group: &str, member: &Member, settings: &GroupSettings) -> u64 {
    match &member.subscription.classic {
        Some(classic) => u64::try_from(classic.session_timeout_ms).unwrap_or(0),
        None => settings.consumer_session_timeout_ms(group),
    }
}

fn revocation_ms(member: &Member) -> u64 {
    u64::try_from(member.subscription.rebalance_timeout_ms).unwrap_or(0)
}

#[cfg(test)]
pub(super) mod tests;
