//! Who is in a group: members come, go, and take each other's place; what they can do is counted. Decides on no
//! rebalance but the one that follows a removal.

use super::{ClassicGroup, JoinInput, JoinResult, Member, State};
use crate::group::turn::{Turn, Waiter};
use crate::group::{GroupError, consumer_protocol};
use bytes::Bytes;
use std::collections::BTreeSet;
use tracing::info;

impl ClassicGroup {
    pub(super) fn insert(&mut self, member_id: String, member: Member) {
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), member_id.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member_id.clone());
        }
        self.count_protocols(&member.protocols, true);
        self.members.insert(member_id, member);
    }

    pub(super) fn remove(&mut self, member_id: &str, turn: &mut Turn<'_>) {
        let Some(member) = self.members.remove(member_id) else { return };
        self.count_protocols(&member.protocols, false);
        if let Some(instance) = &member.instance_id {
            self.static_members.remove(instance);
        }
        if let Some(waiter) = member.join {
            self.joining -= 1;
            turn.answer(waiter, JoinResult { member_id: String::new(), outcome: Err(GroupError::UnknownMember) });
        }
        if let Some(waiter) = member.sync {
            turn.answer(waiter, Err(GroupError::UnknownMember));
        }
        self.forget_pending_sync(member_id);
        if self.leader.as_deref() == Some(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    pub(super) fn remove_and_rebalance(&mut self, member_id: &str, reason: &str, turn: &mut Turn<'_>) {
        info!(group = self.id, member = member_id, reason, "member is removed");
        self.remove(member_id, turn);
        match self.state {
            State::Empty => {}
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(reason, turn),
            State::PreparingRebalance => self.complete_join_if_ready(turn),
        }
    }

    /// Gives a static member its new id; whoever waits under the old one is fenced.
    pub(super) fn rename(&mut self, old: &str, new: &str, turn: &mut Turn<'_>) {
        let mut member = self.members.remove(old).expect("static members are members");
        if let Some(waiter) = member.join.take() {
            self.joining -= 1;
            turn.answer(waiter, JoinResult { member_id: old.to_owned(), outcome: Err(GroupError::FencedInstance) });
        }
        if let Some(waiter) = member.sync.take() {
            turn.answer(waiter, Err(GroupError::FencedInstance));
        }
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), new.to_owned());
        }
        if self.leader.as_deref() == Some(old) {
            self.leader = Some(new.to_owned());
        }
        if self.pending_sync.remove(old) {
            self.pending_sync.insert(new.to_owned());
        }
        self.members.insert(new.to_owned(), member);
    }

    pub(super) fn update(&mut self, input: JoinInput, waiter: Option<Waiter<JoinResult>>, turn: &mut Turn<'_>) {
        let member_id = input.member_id.as_str();
        self.set_protocols(member_id, input.protocols);
        let member = self.members.get_mut(member_id).expect("callers looked it up");
        member.rebalance_timeout_ms = input.rebalance_timeout_ms;
        member.session_timeout_ms = input.session_timeout_ms;
        let Some(waiter) = waiter else { return };
        match member.join.replace(waiter) {
            // The client gave up on its first request; whoever still reads that connection learns to rejoin.
            Some(earlier) => {
                let outcome = Err(GroupError::RebalanceInProgress);
                turn.answer(earlier, JoinResult { member_id: member_id.to_owned(), outcome });
            }
            None => self.joining += 1,
        }
    }

    /// Replaces a member's protocols; returns those it had.
    pub(super) fn set_protocols(&mut self, member_id: &str, protocols: Vec<(String, Bytes)>) -> Vec<(String, Bytes)> {
        let Some(member) = self.members.get_mut(member_id) else { return Vec::new() };
        let before = std::mem::replace(&mut member.protocols, protocols.clone());
        self.count_protocols(&before, false);
        self.count_protocols(&protocols, true);
        before
    }

    pub(super) fn count_protocols(&mut self, protocols: &[(String, Bytes)], added: bool) {
        // A name that a client lists twice counts once.
        for name in protocols.iter().map(|(name, _)| name).collect::<BTreeSet<_>>() {
            let count = self.supported.entry(name.clone()).or_insert(0);
            *count = if added { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                self.supported.remove(name);
            }
        }
    }

    /// The member is alive: a whole session from now.
    pub(super) fn touch(&mut self, member_id: &str, turn: &Turn<'_>) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.expires_at = Some(turn.after(member.session_timeout_ms));
        }
    }

    pub(super) fn forget_pending_sync(&mut self, member_id: &str) {
        self.pending_sync.remove(member_id);
        if self.pending_sync.is_empty() {
            self.sync_deadline = None;
        }
    }

    pub(super) fn enter(&mut self, state: State, turn: &Turn<'_>) {
        self.state = state;
        self.state_since = Some(turn.now.wall.0);
    }

    pub(super) fn rebalance_timeout_ms(&self) -> u64 {
        let longest = self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0);
        u64::try_from(longest).unwrap_or(0)
    }

    pub(super) fn subscribed_topics(&self) -> Option<BTreeSet<String>> {
        if self.protocol_type.as_deref() != Some("consumer") {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(consumer_protocol::subscribed_topics(member.metadata(self.protocol.as_deref()))?);
        }
        Some(topics)
    }
}
