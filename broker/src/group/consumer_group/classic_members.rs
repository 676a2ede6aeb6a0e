//! Members of the classic protocol in a group of the new one, so that an application can go from one to the other member by
//! member (KIP-848, online migration). Their generation is the member's epoch; nobody is their leader, the assignment comes
//! from the group's target. A member joins again for each step towards it.

use super::{ConsumerGroup, HeartbeatInput, HeartbeatResult, Member};
use crate::group::classic::{JoinInput, JoinResult, Joined, Sender, SyncInput, SyncResult, Synced};
use crate::group::consumer_protocol::{self, NamedPartitions};
use crate::group::consumer_records::{ClassicMemberValue, MemberState, Partitions};
use crate::group::topics::Topics;
use crate::group::turn::{Turn, Waiter};
use crate::group::{GroupError, PROTOCOL_TYPE};
use bytes::Bytes;
use tracing::info;

impl ConsumerGroup {
    /// JoinGroup.
    pub(in crate::group) fn classic_join(&mut self, input: JoinInput, waiter: Waiter<JoinResult>, turn: &mut Turn<'_>) {
        let member_id = input.member_id.clone();
        let subscription = match self.check_classic_join(&input, turn) {
            Ok(subscription) => subscription,
            Err(error) => return turn.answer(waiter, JoinResult { member_id, outcome: Err(error) }),
        };
        if member_id.is_empty() && input.instance_id.is_none() && input.can_be_asked_to_rejoin {
            let member_id = turn.new_member_id(&input.client_id);
            return turn.answer(waiter, JoinResult { member_id, outcome: Err(GroupError::MemberIdRequired) });
        }
        let protocol = input.protocols.first().map(|(name, _)| name.clone());
        let heartbeat = HeartbeatInput {
            member_id: input.member_id,
            instance_id: input.instance_id,
            rack_id: subscription.rack_id,
            rebalance_timeout_ms: input.rebalance_timeout_ms,
            client_id: input.client_id,
            client_host: input.client_host,
            topics: Some(subscription.topics),
            owned: Some(by_id(&subscription.owned, turn.topics)),
            classic: Some(ClassicMemberValue {
                session_timeout_ms: input.session_timeout_ms,
                protocols: input.protocols,
            }),
            ..HeartbeatInput::default()
        };
        let joined = move |result: HeartbeatResult| match result {
            Err(refusal) => JoinResult { member_id, outcome: Err(refusal.error) },
            Ok(output) => JoinResult {
                member_id: output.member_id,
                outcome: Ok(Joined {
                    generation: output.epoch,
                    protocol_type: Some(PROTOCOL_TYPE.to_owned()),
                    protocol,
                    leader: String::new(),
                    skip_assignment: false,
                    members: Vec::new(),
                }),
            },
        };
        self.heartbeat(&heartbeat, Vec::new(), Box::new(move |result| waiter(joined(result))), turn);
    }

    fn check_classic_join(
        &self,
        input: &JoinInput,
        turn: &Turn<'_>,
    ) -> Result<consumer_protocol::Subscription, GroupError> {
        if self.check_room(&input.member_id, turn).is_err() {
            return Err(GroupError::GroupFull);
        }
        let classic: Vec<_> = self.classic_members().filter(|(id, _)| **id != input.member_id).collect();
        let by_all = |name: &str| {
            classic.iter().all(|(_, member)| member.protocols.iter().any(|(supported, _)| supported == name))
        };
        if input.protocol_type != PROTOCOL_TYPE || !input.protocols.iter().any(|(name, _)| by_all(name)) {
            return Err(GroupError::InconsistentProtocol);
        }
        let metadata = input.protocols.first().map(|(_, metadata)| metadata.clone());
        metadata.and_then(consumer_protocol::subscription).ok_or(GroupError::InconsistentProtocol)
    }

    /// Those members that use the classic protocol.
    pub(super) fn classic_members(&self) -> impl Iterator<Item = (&String, &ClassicMemberValue)> {
        self.members.iter().filter_map(|(id, member)| Some((id, member.subscription.classic.as_ref()?)))
    }

    /// SyncGroup.
    pub(in crate::group) fn classic_sync(&mut self, input: &SyncInput, turn: &mut Turn<'_>) -> SyncResult {
        let group_epoch = self.epoch;
        let (member, classic) = self.classic_member(&input.sender)?;
        let first = classic.protocols.first();
        let agrees = |theirs: &Option<String>, ours: Option<&str>| theirs.is_none() || theirs.as_deref() == ours;
        if !agrees(&input.protocol_type, Some(PROTOCOL_TYPE))
            || !agrees(&input.protocol, first.map(|(name, _)| name.as_str()))
        {
            return Err(GroupError::InconsistentProtocol);
        }
        if group_epoch > member.current.epoch && member.current.state != MemberState::Unrevoked {
            let ends = turn.after(member.subscription.rebalance_timeout_ms);
            member.join_ends.get_or_insert(ends);
            return Err(GroupError::RebalanceInProgress);
        }
        member.sync_ends = None;
        member.session_ends = Some(turn.after(classic.session_timeout_ms));
        let subscription = first.map(|(_, metadata)| metadata.clone()).unwrap_or_default();
        let assigned = by_name(&member.current.assigned, turn.topics);
        let assignment = consumer_protocol::write_assignment(&assigned, &subscription);
        Ok(Synced {
            protocol_type: input.protocol_type.clone(),
            protocol: input.protocol.clone(),
            assignment: assignment.map_err(|_| GroupError::RecordTooLarge)?,
        })
    }

    /// Heartbeat: REBALANCE_IN_PROGRESS when joining again would bring the member on.
    pub(in crate::group) fn classic_heartbeat(&mut self, sender: &Sender, turn: &Turn<'_>) -> Result<(), GroupError> {
        let group_epoch = self.epoch;
        let is_waiting = self.is_waiting(&sender.member_id);
        let (member, classic) = self.classic_member(sender)?;
        member.session_ends = Some(turn.after(classic.session_timeout_ms));
        let moves_on = match member.current.state {
            MemberState::Unrevoked => true,
            MemberState::Unreleased => !is_waiting,
            MemberState::Stable | MemberState::Unknown => false,
        };
        if member.current.epoch >= group_epoch && !moves_on {
            return Ok(());
        }
        let ends = turn.after(member.subscription.rebalance_timeout_ms);
        member.join_ends.get_or_insert(ends);
        Err(GroupError::RebalanceInProgress)
    }

    /// True if partitions that the member shall have are still another's.
    fn is_waiting(&self, id: &str) -> bool {
        let (Some(member), Some(target)) = (self.members.get(id), self.target.get(id)) else { return false };
        target.iter().any(|(topic, numbers)| {
            let assigned = member.current.assigned.get(topic);
            let is_missing = |number: &&i32| assigned.is_none_or(|assigned| !assigned.contains(*number));
            numbers.iter().filter(is_missing).any(|number| self.owned.contains_key(&(*topic, *number)))
        })
    }

    /// LeaveGroup, one member; with an empty id and an instance id, an operator removes a static member.
    pub(in crate::group) fn classic_leave(&mut self, sender: &Sender, turn: &mut Turn<'_>) -> Result<(), GroupError> {
        let id = match &sender.instance_id {
            None => sender.member_id.clone(),
            Some(instance) => {
                let (known, _) = self.static_member(instance).ok_or(GroupError::UnknownMember)?;
                if !sender.member_id.is_empty() && known != sender.member_id {
                    return Err(GroupError::FencedInstance);
                }
                known.to_owned()
            }
        };
        let member = self.members.get(&id).ok_or(GroupError::UnknownMember)?;
        if member.subscription.classic.is_none() {
            return Err(GroupError::UnknownMember);
        }
        info!(group = self.id, member = id, "member of the classic protocol leaves");
        let records = self.removal(std::slice::from_ref(&id), turn);
        self.record((Vec::new(), records), Box::new(|_| {}), turn).map_err(super::heartbeat::of_member)
    }

    fn classic_member(&mut self, sender: &Sender) -> Result<(&mut Member, ClassicMemberValue), GroupError> {
        if let Some(instance) = &sender.instance_id {
            let (known, _) = self.static_member(instance).ok_or(GroupError::UnknownMember)?;
            if known != sender.member_id {
                return Err(GroupError::FencedInstance);
            }
        }
        let member = self.members.get_mut(&sender.member_id).ok_or(GroupError::UnknownMember)?;
        let classic = member.subscription.classic.clone().ok_or(GroupError::UnknownMember)?;
        if sender.generation != member.current.epoch {
            return Err(GroupError::IllegalGeneration);
        }
        Ok((member, classic))
    }
}

/// Partitions as the coordinator names them; those of topics that there are not are left out.
pub(super) fn by_id(partitions: &NamedPartitions, topics: &dyn Topics) -> Partitions {
    let known = partitions.iter().filter(|(_, numbers)| !numbers.is_empty());
    known.filter_map(|(name, numbers)| Some((topics.topic(name)?.id, numbers.clone()))).collect()
}

/// Partitions as members of the classic protocol name them.
pub(super) fn by_name(partitions: &Partitions, topics: &dyn Topics) -> NamedPartitions {
    partitions.iter().filter_map(|(id, numbers)| Some((topics.name(*id)?, numbers.clone()))).collect()
}

/// A member's metadata for one of its protocols.
pub(super) fn metadata(classic: &ClassicMemberValue, protocol: &str) -> Bytes {
    let found = classic.protocols.iter().find(|(name, _)| name == protocol);
    found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
}
