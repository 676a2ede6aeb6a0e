//! One group of the classic protocol (KIP-62, 345, 394, 559, 814): join, sync, heartbeat, leave, and the timers between.
//! A rebalance lives in memory alone; a generation becomes real when its record is replicated. Appends only by its turn.
//!
//! States: Empty -> PreparingRebalance -> CompletingRebalance -> Stable -> PreparingRebalance ...; from
//! PreparingRebalance back to Empty when nobody is left.

mod members;
mod messages;

pub use messages::{JoinInput, JoinResult, Joined, Sender, SyncInput, SyncResult, Synced};

use super::records::{GroupRecord, GroupValue, MemberValue};
use super::turn::{StoreError, Then, Turn, Waiter};
use super::{GroupError, kept};
use bytes::Bytes;
use common::mutants;
use common::time::{Millis, Now};
use std::collections::{BTreeMap, BTreeSet};
use tracing::{debug, info, warn};

/// A member that has just joined cannot send heartbeats before its JoinGroup is answered, and cannot be seen to be gone.
/// So that members which retried do not pile up in a long rebalance, it is forgotten after this.
const NEW_MEMBER_JOIN_TIMEOUT_MS: u64 = 5 * 60 * 1000;

/// Where a group is; transitions are at the top of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// No members; there may be offsets.
    Empty,
    /// Waiting for members to join.
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    /// Everyone has an assignment.
    Stable,
}

impl State {
    /// As tools show it.
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }
}

pub(super) struct Member {
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    /// Best first.
    pub protocols: Vec<(String, Bytes)>,
    pub assignment: Bytes,
    /// True until its first JoinGroup is answered.
    is_new: bool,
    join: Option<Waiter<JoinResult>>,
    sync: Option<Waiter<SyncResult>>,
    /// When it counts as gone; `None` while it waits for the group.
    expires_at: Option<Millis>,
}

impl Member {
    pub(super) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| Some(name.as_str()) == protocol);
        found.map_or_else(Bytes::new, |(_, metadata)| metadata.clone())
    }
}

/// When joining ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JoinTimer {
    /// An empty group waits for more members, so that starting a fleet is one rebalance and not one for each (KIP-134).
    First { at: Millis, waits_ms: u64, may_wait_ms: u64 },
    /// The members of the last generation may take until then.
    Next { at: Millis },
}

/// A group.
pub(super) struct ClassicGroup {
    pub id: String,
    pub state: State,
    /// When the state was entered; unknown for groups recorded before Kafka 2.1.
    pub state_since: Option<i64>,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub generation: i32,
    pub leader: Option<String>,
    pub members: BTreeMap<String, Member>,
    /// Instance id -> member id.
    static_members: BTreeMap<String, String>,
    /// Ids given out with MEMBER_ID_REQUIRED, and when they are forgotten.
    pending_members: BTreeMap<String, Millis>,
    /// Members of this generation that have not synced yet.
    pending_sync: BTreeSet<String>,
    sync_deadline: Option<Millis>,
    join_timer: Option<JoinTimer>,
    is_member_added: bool,
    joining: usize,
    /// How many members can do each protocol.
    supported: BTreeMap<String, usize>,
    /// Topics the members read, if that can be told.
    pub subscribed: Option<BTreeSet<String>>,
}

impl ClassicGroup {
    pub(super) fn new(id: &str, now: Now) -> ClassicGroup {
        ClassicGroup {
            id: id.to_owned(),
            state: State::Empty,
            state_since: Some(now.wall.0),
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_members: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            sync_deadline: None,
            join_timer: None,
            is_member_added: false,
            joining: 0,
            supported: BTreeMap::new(),
            subscribed: None,
        }
    }

    /// A group as its record says, after a load. Members get a whole session to show up.
    pub(super) fn from_value(id: &str, value: GroupValue, now: Now) -> ClassicGroup {
        let mut group = ClassicGroup::new(id, now);
        group.state = if value.members.is_empty() { State::Empty } else { State::Stable };
        group.state_since = (value.current_state_timestamp != -1).then_some(value.current_state_timestamp);
        group.protocol_type = Some(value.protocol_type).filter(|name| !name.is_empty());
        group.generation = value.generation;
        group.leader = value.leader;
        for member in value.members {
            let expires_at = now.mono + u64::try_from(member.session_timeout_ms).unwrap_or(0);
            let protocols = value.protocol.iter().map(|name| (name.clone(), kept(&member.subscription))).collect();
            let loaded = Member {
                instance_id: member.group_instance_id,
                client_id: member.client_id,
                client_host: member.client_host,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout_ms,
                protocols,
                assignment: kept(&member.assignment),
                is_new: false,
                join: None,
                sync: None,
                expires_at: Some(expires_at),
            };
            group.insert(member.member_id, loaded);
        }
        group.protocol = value.protocol;
        group.subscribed = group.subscribed_topics();
        group
    }

    /// This generation with these assignments, as it is recorded.
    fn value(&self, assignment: impl Fn(&str, &Member) -> Bytes) -> GroupValue {
        let member = |(id, member): (&String, &Member)| MemberValue {
            member_id: id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(self.protocol.as_deref()),
            assignment: assignment(id, member),
        };
        GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.state_since.unwrap_or(-1),
            members: self.members.iter().map(member).collect(),
        }
    }

    /// True if the group holds nothing worth keeping in memory beyond its record and offsets.
    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Empty && self.members.is_empty() && self.pending_members.is_empty()
    }

    // ---- requests

    pub(super) fn join(&mut self, input: JoinInput, waiter: Waiter<JoinResult>, turn: &mut Turn<'_>) {
        if !self.has_room_for(&input.member_id, turn) {
            self.remove(&input.member_id, turn);
            self.pending_members.remove(&input.member_id);
            turn.answer(waiter, JoinResult { member_id: String::new(), outcome: Err(GroupError::GroupFull) });
        } else if !self.supports(&input) {
            let outcome = Err(GroupError::InconsistentProtocol);
            turn.answer(waiter, JoinResult { member_id: input.member_id, outcome });
        } else if input.member_id.is_empty() {
            self.join_unknown(input, waiter, turn);
        } else if self.pending_members.contains_key(&input.member_id) {
            self.add(input, waiter, turn);
        } else {
            self.rejoin(input, waiter, turn);
        }
        self.complete_join_if_ready(turn);
    }

    /// Members waiting in this rebalance count before those of the last generation: who comes first stays.
    fn has_room_for(&self, member_id: &str, turn: &Turn<'_>) -> bool {
        let member = self.members.get(member_id);
        match self.state {
            State::Empty => true,
            State::PreparingRebalance => {
                member.is_some_and(|member| member.join.is_some()) || self.joining < turn.settings.max_size
            }
            State::CompletingRebalance | State::Stable => {
                member.is_some() || self.members.len() < turn.settings.max_size
            }
        }
    }

    fn supports(&self, input: &JoinInput) -> bool {
        if self.state == State::Empty {
            return !input.protocol_type.is_empty() && !input.protocols.is_empty();
        }
        let by_all = |name: &str| self.supported.get(name).copied().unwrap_or(0) == self.members.len();
        self.protocol_type.as_deref() == Some(input.protocol_type.as_str())
            && input.protocols.iter().any(|(name, _)| by_all(name))
    }

    fn join_unknown(&mut self, mut input: JoinInput, waiter: Waiter<JoinResult>, turn: &mut Turn<'_>) {
        let member_id = turn.new_member_id(input.instance_id.as_deref().unwrap_or(&input.client_id));
        input.member_id = member_id.clone();
        match &input.instance_id {
            Some(instance) => match self.static_members.get(instance).cloned() {
                Some(old) => self.replace_static(&old, input, waiter, turn),
                None => self.add(input, waiter, turn),
            },
            None if input.can_be_asked_to_rejoin => {
                self.pending_members.insert(member_id.clone(), turn.after(input.session_timeout_ms));
                turn.answer(waiter, JoinResult { member_id, outcome: Err(GroupError::MemberIdRequired) });
            }
            None => self.add(input, waiter, turn),
        }
    }

    /// Takes in a member under the id in `input`.
    fn add(&mut self, input: JoinInput, waiter: Waiter<JoinResult>, turn: &mut Turn<'_>) {
        if self.state == State::PreparingRebalance && self.generation == 0 {
            self.is_member_added = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(input.protocol_type);
        }
        self.pending_members.remove(&input.member_id);
        self.joining += 1;
        let member = Member {
            instance_id: input.instance_id,
            client_id: input.client_id,
            client_host: input.client_host,
            rebalance_timeout_ms: input.rebalance_timeout_ms,
            session_timeout_ms: input.session_timeout_ms,
            protocols: input.protocols,
            assignment: Bytes::new(),
            is_new: true,
            join: Some(waiter),
            sync: None,
            expires_at: Some(turn.now.mono + NEW_MEMBER_JOIN_TIMEOUT_MS),
        };
        debug!(group = self.id, member = input.member_id, reason = input.reason, "member joins");
        self.insert(input.member_id, member);
        self.prepare_rebalance_if_possible("a member joined", turn);
    }

    fn rejoin(&mut self, input: JoinInput, waiter: Waiter<JoinResult>, turn: &mut Turn<'_>) {
        let (member_id, instance_id) = (input.member_id.clone(), input.instance_id.clone());
        if let Err(error) = self.check_member(&Sender { member_id, instance_id, generation: self.generation }) {
            turn.answer(waiter, JoinResult { member_id: input.member_id, outcome: Err(error) });
            return;
        }
        let is_leader = self.leader.as_ref() == Some(&input.member_id);
        let member = self.members.get(&input.member_id).expect("check_member found it");
        let is_unchanged = member.protocols == input.protocols;
        let answer_at_once = match self.state {
            State::PreparingRebalance => false,
            // The answer to its first JoinGroup may have been lost.
            State::CompletingRebalance => is_unchanged,
            // A leader that joins wants a rebalance: what it watches, such as partitions of topics, has changed.
            State::Stable => is_unchanged && !is_leader,
            State::Empty => {
                let outcome = Err(GroupError::UnknownMember);
                turn.answer(waiter, JoinResult { member_id: input.member_id, outcome });
                return;
            }
        };
        if answer_at_once {
            let outcome = Ok(self.joined(is_leader && self.state == State::CompletingRebalance));
            turn.answer(waiter, JoinResult { member_id: input.member_id, outcome });
            return;
        }
        self.update(input, Some(waiter), turn);
        self.prepare_rebalance_if_possible("a member rejoined", turn);
    }

    /// A static member came back without its id, after a restart: it takes the place of its former self, if possible
    /// without a rebalance (KIP-345).
    fn replace_static(&mut self, old: &str, input: JoinInput, waiter: Waiter<JoinResult>, turn: &mut Turn<'_>) {
        let new = input.member_id.clone();
        let former_leader = self.leader.clone().unwrap_or_default();
        let can_skip = input.can_skip_assignment;
        info!(group = self.id, old, new, state = self.state.name(), "static member is replaced");
        if self.state != State::Stable || self.protocol_with(old, &input.protocols) != self.protocol {
            self.rename(old, &new, turn);
            self.touch(&new, turn);
            self.update(input, Some(waiter), turn);
            if self.state != State::PreparingRebalance {
                self.prepare_rebalance("a static member was replaced", turn);
            }
            return;
        }
        let value = self.value_with_replaced(old, &input);
        let stored = match turn.store(vec![GroupRecord::Group(self.id.clone(), Some(value))], None) {
            Ok(stored) => stored,
            Err(error) => {
                let outcome = Err(GroupError::of_rebalance(error));
                turn.answer(waiter, JoinResult { member_id: String::new(), outcome });
                return;
            }
        };
        self.rename(old, &new, turn);
        self.touch(&new, turn);
        self.update(input, None, turn);
        let is_leader = self.leader.as_ref() == Some(&new);
        let mut joined = self.joined(can_skip && is_leader);
        if can_skip {
            joined.skip_assignment = is_leader;
        } else {
            // An older client would compute an assignment that nobody takes if it saw itself as the leader.
            joined.leader = former_leader;
        }
        let then: Waiter<Result<(), StoreError>> = Box::new(move |result| {
            waiter(match result {
                Ok(()) => JoinResult { member_id: new, outcome: Ok(joined) },
                Err(error) => JoinResult { member_id: String::new(), outcome: Err(GroupError::of_rebalance(error)) },
            });
        });
        turn.wait(stored, Then::Answer(then));
    }

    fn value_with_replaced(&self, old: &str, input: &JoinInput) -> GroupValue {
        let mut value = self.value(|_, member| member.assignment.clone());
        if value.leader.as_deref() == Some(old) {
            value.leader = Some(input.member_id.clone());
        }
        if let Some(member) = value.members.iter_mut().find(|member| member.member_id == old) {
            member.member_id = input.member_id.clone();
            member.rebalance_timeout_ms = input.rebalance_timeout_ms;
            member.session_timeout_ms = input.session_timeout_ms;
            let subscription = input.protocols.iter().find(|(name, _)| Some(name) == self.protocol.as_ref());
            member.subscription = subscription.map_or_else(Bytes::new, |(_, metadata)| metadata.clone());
        }
        value.members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
        value
    }

    pub(super) fn sync(&mut self, input: SyncInput, waiter: Waiter<SyncResult>, turn: &mut Turn<'_>) {
        if let Err(error) = self.check_sync(&input) {
            turn.answer(waiter, Err(error));
            return;
        }
        let sender = input.sender;
        match self.state {
            State::Empty => turn.answer(waiter, Err(GroupError::UnknownMember)),
            State::PreparingRebalance => turn.answer(waiter, Err(GroupError::RebalanceInProgress)),
            State::Stable => {
                self.forget_pending_sync(&sender.member_id);
                let assignment = self.members.get(&sender.member_id).map(|member| member.assignment.clone());
                let synced = self.synced(assignment.unwrap_or_default());
                turn.answer(waiter, Ok(synced));
                self.touch(&sender.member_id, turn);
            }
            State::CompletingRebalance => {
                let member = self.members.get_mut(&sender.member_id).expect("check_sync found it");
                if let Some(earlier) = member.sync.replace(waiter) {
                    turn.answer(earlier, Err(GroupError::RebalanceInProgress));
                }
                self.forget_pending_sync(&sender.member_id);
                if self.leader.as_ref() == Some(&sender.member_id) {
                    self.assign(input.assignments, turn);
                }
            }
        }
    }

    fn check_sync(&self, input: &SyncInput) -> Result<(), GroupError> {
        self.check_member(&input.sender)?;
        let agrees = |theirs: &Option<String>, ours: &Option<String>| theirs.is_none() || theirs == ours;
        if input.sender.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        if !agrees(&input.protocol_type, &self.protocol_type) || !agrees(&input.protocol, &self.protocol) {
            return Err(GroupError::InconsistentProtocol);
        }
        Ok(())
    }

    /// The leader's assignment is recorded; members get it once that is replicated.
    fn assign(&mut self, assignments: BTreeMap<String, Bytes>, turn: &mut Turn<'_>) {
        info!(group = self.id, generation = self.generation, members = self.members.len(), "assignment received");
        let value = self.value(|id, _| assignments.get(id).cloned().unwrap_or_default());
        match turn.store(vec![GroupRecord::Group(self.id.clone(), Some(value))], None) {
            Ok(stored) => turn.wait(stored, Then::Sync { group: self.id.clone(), generation: self.generation }),
            Err(error) => self.on_assignment_failed(self.generation, error, turn),
        }
    }

    /// The record of a generation is replicated.
    pub(super) fn on_recorded(&mut self, value: &GroupValue, turn: &mut Turn<'_>) {
        if self.state != State::CompletingRebalance || self.generation != value.generation {
            // Either nobody waits for it, or the group is in the next rebalance already.
            return;
        }
        for recorded in &value.members {
            if let Some(member) = self.members.get_mut(&recorded.member_id) {
                member.assignment = recorded.assignment.clone();
            }
        }
        self.enter(State::Stable, turn);
        self.answer_syncs(None, turn);
    }

    /// The record of a generation did not get into the log, or not in time.
    pub(super) fn on_assignment_failed(&mut self, generation: i32, error: StoreError, turn: &mut Turn<'_>) {
        if self.state == State::CompletingRebalance && self.generation == generation {
            warn!(group = self.id, generation, %error, "the assignment was not recorded");
            self.reset_assignments(GroupError::of_rebalance(error), turn);
            self.prepare_rebalance("the assignment was not recorded", turn);
        }
    }

    pub(super) fn heartbeat(&mut self, sender: &Sender, turn: &mut Turn<'_>) -> Result<(), GroupError> {
        self.check_member(sender)?;
        if sender.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        self.touch(&sender.member_id, turn);
        match self.state {
            State::Empty => Err(GroupError::UnknownMember),
            State::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// A member goes; with an empty id and an instance id, an operator removes a static member.
    pub(super) fn leave(&mut self, sender: &Sender, turn: &mut Turn<'_>) -> Result<(), GroupError> {
        if sender.member_id.is_empty() {
            let current = sender.instance_id.as_ref().and_then(|instance| self.static_members.get(instance)).cloned();
            let current = current.ok_or(GroupError::UnknownMember)?;
            self.remove_and_rebalance(&current, "a static member was removed", turn);
            return Ok(());
        }
        if self.pending_members.remove(&sender.member_id).is_some() {
            self.complete_join_if_ready(turn);
            return Ok(());
        }
        self.check_member(sender)?;
        self.remove_and_rebalance(&sender.member_id, "a member left", turn);
        Ok(())
    }

    /// Whether this sender may commit offsets now. Without generation and member it is an administrator or a consumer
    /// that assigns itself, which is fine while the group is empty; in a transaction also otherwise (KIP-447: older
    /// producers do not say who they are).
    pub(super) fn check_commit(
        &mut self,
        sender: &Sender,
        is_transactional: bool,
        turn: &Turn<'_>,
    ) -> Result<(), GroupError> {
        if sender.generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if sender.generation >= 0 || !sender.member_id.is_empty() || sender.instance_id.is_some() {
            self.check_member(sender)?;
            if sender.generation != self.generation {
                return Err(GroupError::IllegalGeneration);
            }
        } else if !is_transactional && self.state != State::Empty {
            return Err(GroupError::UnknownMember);
        }
        if is_transactional {
            return Ok(());
        }
        match self.state {
            State::Empty => Ok(()),
            State::Stable | State::PreparingRebalance => {
                self.touch(&sender.member_id, turn);
                Ok(())
            }
            // Its generation is right, so it knows that it has to sync first.
            State::CompletingRebalance => Err(GroupError::RebalanceInProgress),
        }
    }

    /// Not the generation: what a wrong one means differs.
    fn check_member(&self, sender: &Sender) -> Result<(), GroupError> {
        if let Some(instance) = &sender.instance_id {
            let current = self.static_members.get(instance).ok_or(GroupError::UnknownMember)?;
            if *current != sender.member_id {
                return Err(GroupError::FencedInstance);
            }
        }
        if self.members.contains_key(&sender.member_id) { Ok(()) } else { Err(GroupError::UnknownMember) }
    }

    // ---- the rebalance

    fn prepare_rebalance_if_possible(&mut self, reason: &str, turn: &mut Turn<'_>) {
        if self.state != State::PreparingRebalance {
            self.prepare_rebalance(reason, turn);
        }
    }

    pub(super) fn prepare_rebalance(&mut self, reason: &str, turn: &mut Turn<'_>) {
        if self.state == State::CompletingRebalance {
            self.reset_assignments(GroupError::RebalanceInProgress, turn);
        }
        self.pending_sync.clear();
        self.sync_deadline = None;
        let rebalance_ms = self.rebalance_timeout_ms();
        let delay = turn.settings.initial_rebalance_delay_ms;
        self.join_timer = Some(if self.state == State::Empty {
            let may_wait_ms = rebalance_ms.saturating_sub(delay);
            JoinTimer::First { at: turn.now.mono + delay, waits_ms: delay, may_wait_ms }
        } else {
            JoinTimer::Next { at: turn.now.mono + rebalance_ms }
        });
        info!(group = self.id, generation = self.generation, from = self.state.name(), reason, "rebalance begins");
        self.enter(State::PreparingRebalance, turn);
        self.complete_join_if_ready(turn);
    }

    /// Ends joining if everyone is there. An empty group always waits its time.
    fn complete_join_if_ready(&mut self, turn: &mut Turn<'_>) {
        let everyone = self.joining == self.members.len() && self.pending_members.is_empty();
        match self.join_timer {
            Some(JoinTimer::Next { .. }) if everyone => self.complete_join(turn),
            Some(JoinTimer::First { at, .. }) if at <= turn.now.mono => self.on_join_timer(turn),
            _ => {}
        }
    }

    fn on_join_timer(&mut self, turn: &mut Turn<'_>) {
        match self.join_timer {
            Some(JoinTimer::First { waits_ms, may_wait_ms, .. }) if self.is_member_added && may_wait_ms != 0 => {
                self.is_member_added = false;
                let next = turn.settings.initial_rebalance_delay_ms.min(may_wait_ms);
                let may_wait_ms = may_wait_ms.saturating_sub(waits_ms);
                self.join_timer = Some(JoinTimer::First { at: turn.now.mono + next, waits_ms: next, may_wait_ms });
            }
            Some(_) => self.complete_join(turn),
            None => {}
        }
    }

    fn complete_join(&mut self, turn: &mut Turn<'_>) {
        let late: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| member.join.is_none() && member.instance_id.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for member in late {
            info!(group = self.id, member, "member did not rejoin in time");
            self.remove(&member, turn);
        }
        if !self.members.is_empty() && !self.elect_leader() {
            // Only static members are left, and none of them is here: their sessions decide.
            warn!(group = self.id, "no member rejoined");
            let at = turn.now.mono + self.rebalance_timeout_ms().max(1);
            self.join_timer = Some(JoinTimer::Next { at });
            return;
        }
        self.join_timer = None;
        self.pending_sync.clear();
        if !mutants::is_on("generation-stays") || self.generation == 0 {
            self.generation = self.generation.checked_add(1).unwrap_or(1);
        }
        self.protocol = self.select_protocol();
        self.subscribed = self.subscribed_topics();
        if self.members.is_empty() {
            self.enter(State::Empty, turn);
            info!(group = self.id, generation = self.generation, "group is empty");
            let value = self.value(|_, _| Bytes::new());
            match turn.store(vec![GroupRecord::Group(self.id.clone(), Some(value))], None) {
                Ok(stored) => turn.wait(stored, Then::Nothing),
                // The generation before comes back if this broker fails now; its members are gone all the same.
                Err(error) => warn!(group = self.id, %error, "the empty group was not recorded"),
            }
            return;
        }
        self.enter(State::CompletingRebalance, turn);
        info!(group = self.id, generation = self.generation, members = self.members.len(), "generation begins");
        self.pending_sync = self.members.keys().cloned().collect();
        self.sync_deadline = Some(turn.now.mono + self.rebalance_timeout_ms());
        for member_id in self.members.keys().cloned().collect::<Vec<_>>() {
            let joined = self.joined(self.leader.as_ref() == Some(&member_id));
            self.answer_join(&member_id, Ok(joined), turn);
            self.touch(&member_id, turn);
            if let Some(member) = self.members.get_mut(&member_id) {
                member.is_new = false;
            }
        }
    }

    /// Keeps the leader if it is here, else takes another that is. False if nobody is.
    fn elect_leader(&mut self) -> bool {
        let is_here = |member: &Member| member.join.is_some();
        if self.leader.as_ref().and_then(|leader| self.members.get(leader)).is_some_and(is_here) {
            return true;
        }
        let other = self.members.iter().find(|(_, member)| is_here(member)).map(|(id, _)| id.clone());
        let Some(other) = other else { return false };
        info!(group = self.id, leader = other, "leader did not rejoin, another is elected");
        self.leader = Some(other);
        true
    }

    /// Every member votes for the first of its protocols that all can do.
    fn select_protocol(&self) -> Option<String> {
        let mut votes: Vec<(&str, usize)> = Vec::new();
        for member in self.members.values() {
            let by_all = |name: &str| self.supported.get(name) == Some(&self.members.len());
            let Some((vote, _)) = member.protocols.iter().find(|(name, _)| by_all(name)) else { continue };
            match votes.iter_mut().find(|(name, _)| name == vote) {
                Some((_, count)) => *count += 1,
                None => votes.push((vote, 1)),
            }
        }
        // `max_by_key` takes the last of equals; the first voted for is meant.
        votes.into_iter().rev().max_by_key(|(_, count)| *count).map(|(name, _)| name.to_owned())
    }

    /// The protocol that would be chosen if one member had these.
    fn protocol_with(&mut self, member_id: &str, protocols: &[(String, Bytes)]) -> Option<String> {
        let kept = self.set_protocols(member_id, protocols.to_vec());
        let chosen = self.select_protocol();
        self.set_protocols(member_id, kept);
        chosen
    }

    fn on_sync_deadline(&mut self, turn: &mut Turn<'_>) {
        self.sync_deadline = None;
        for member in std::mem::take(&mut self.pending_sync) {
            info!(group = self.id, member, "member did not sync in time");
            self.remove(&member, turn);
        }
        self.prepare_rebalance("members did not sync in time", turn);
    }

    fn reset_assignments(&mut self, error: GroupError, turn: &mut Turn<'_>) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
        self.answer_syncs(Some(error), turn);
    }

    fn answer_syncs(&mut self, error: Option<GroupError>, turn: &mut Turn<'_>) {
        for member_id in self.members.keys().cloned().collect::<Vec<_>>() {
            let member = self.members.get_mut(&member_id).expect("its own key");
            let assignment = member.assignment.clone();
            let Some(waiter) = member.sync.take() else { continue };
            let result = match error {
                Some(error) => Err(error),
                None => Ok(self.synced(assignment)),
            };
            turn.answer(waiter, result);
            // It could not send heartbeats while it waited.
            self.touch(&member_id, turn);
        }
    }

    fn answer_join(&mut self, member_id: &str, outcome: Result<Joined, GroupError>, turn: &mut Turn<'_>) {
        if let Some(waiter) = self.members.get_mut(member_id).and_then(|member| member.join.take()) {
            self.joining -= 1;
            turn.answer(waiter, JoinResult { member_id: member_id.to_owned(), outcome });
        }
    }

    fn joined(&self, with_members: bool) -> Joined {
        let protocol = self.protocol.as_deref();
        let row =
            |(id, member): (&String, &Member)| (id.clone(), member.instance_id.clone(), member.metadata(protocol));
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            members: if with_members { self.members.iter().map(row).collect() } else { Vec::new() },
        }
    }

    fn synced(&self, assignment: Bytes) -> Synced {
        Synced { protocol_type: self.protocol_type.clone(), protocol: self.protocol.clone(), assignment }
    }

    // ---- time

    /// When [`ClassicGroup::tick`] has something to do at the earliest.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        let join = self.join_timer.map(|timer| match timer {
            JoinTimer::First { at, .. } | JoinTimer::Next { at } => at,
        });
        let members = self.members.values().filter_map(|member| member.expires_at);
        members.chain(self.pending_members.values().copied()).chain(join).chain(self.sync_deadline).min()
    }

    /// Sessions, members that never came, and rebalances whose time is over.
    pub(super) fn tick(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.mono;
        let is_due = |at: Option<Millis>| at.is_some_and(|at| at <= now);
        let pending_before = self.pending_members.len();
        self.pending_members.retain(|_, at| *at > now);
        if self.pending_members.len() < pending_before {
            self.complete_join_if_ready(turn);
        }
        let due = self.members.iter().filter(|(_, member)| is_due(member.expires_at)).map(|(id, _)| id.clone());
        for member_id in due.collect::<Vec<_>>() {
            let Some(member) = self.members.get_mut(&member_id) else { continue };
            if !is_due(member.expires_at) {
                continue;
            }
            if !member.is_new && (member.join.is_some() || member.sync.is_some()) {
                member.expires_at = None;
                continue;
            }
            self.remove_and_rebalance(&member_id, "its session expired", turn);
        }
        let join_at = self.join_timer.map(|timer| match timer {
            JoinTimer::First { at, .. } | JoinTimer::Next { at } => at,
        });
        if is_due(join_at) {
            self.on_join_timer(turn);
        }
        if is_due(self.sync_deadline) {
            self.on_sync_deadline(turn);
        }
    }

    /// The group is no longer looked after here, or in this way: whoever waits is sent away.
    pub(super) fn unload(&mut self, error: GroupError, turn: &mut Turn<'_>) {
        for member_id in self.members.keys().cloned().collect::<Vec<_>>() {
            self.answer_join(&member_id, Err(error), turn);
        }
        self.answer_syncs(Some(error), turn);
    }
}
