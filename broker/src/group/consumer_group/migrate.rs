//! A group goes from one protocol to the other while its members work on (KIP-848): to the new one when the first member of
//! that joins, back when the last of them goes. Appends nothing.

use super::classic_members::{by_id, by_name, metadata};
use super::{ConsumerGroup, Member};
use crate::group::PROTOCOL_TYPE;
use crate::group::classic::ClassicGroup;
use crate::group::consumer_protocol;
use crate::group::consumer_records::{
    ClassicMemberValue, ConsumerMemberValue, ConsumerRecord, CurrentValue, MemberState, Partitions,
};
use crate::group::records::{GroupValue, MemberValue};
use crate::group::topics::Topics;
use crate::group::turn::Turn;
use common::time::Now;

impl ConsumerGroup {
    /// The group of the new protocol in which the members of a classic one have what they had, and the records that make
    /// it. `None` if a member's metadata cannot be read.
    pub(in crate::group) fn of_classic(
        classic: &ClassicGroup,
        topics: &dyn Topics,
        now: Now,
    ) -> Option<(ConsumerGroup, Vec<ConsumerRecord>)> {
        let epoch = classic.generation;
        let (mut members, mut targets, mut currents) = (Vec::new(), Vec::new(), Vec::new());
        for (id, member) in &classic.members {
            let first = member.protocols.first().map(|(_, metadata)| metadata.clone());
            let chosen = Some(member.metadata(classic.protocol.as_deref())).filter(|metadata| !metadata.is_empty());
            let subscription = consumer_protocol::subscription(chosen.or(first)?)?;
            let assigned = by_id(&consumer_protocol::assignment(member.assignment.clone())?, topics);
            let value = ConsumerMemberValue {
                instance_id: member.instance_id.clone(),
                rack_id: subscription.rack_id,
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                topics: subscription.topics,
                regex: None,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                assignor: None,
                classic: Some(ClassicMemberValue {
                    session_timeout_ms: member.session_timeout_ms,
                    protocols: member.protocols.clone(),
                }),
            };
            let current = CurrentValue {
                epoch,
                previous_epoch: epoch,
                state: MemberState::Stable,
                assigned: assigned.clone(),
                revoking: Partitions::new(),
            };
            members.push(ConsumerRecord::Member(id.clone(), Some(value)));
            targets.push(ConsumerRecord::Target(id.clone(), Some(assigned)));
            currents.push(ConsumerRecord::Current(id.clone(), Some(current)));
        }
        let mut records = members;
        records.push(ConsumerRecord::Epoch(Some(epoch)));
        records.extend(targets);
        records.push(ConsumerRecord::TargetEpoch(Some(epoch)));
        records.extend(currents);
        let mut group = ConsumerGroup::new(&classic.id);
        for record in &records {
            group.apply(record);
        }
        for member in group.members.values_mut() {
            let session = member.subscription.classic.as_ref().map_or(0, |classic| classic.session_timeout_ms);
            member.session_ends = Some(now.mono + u64::try_from(session).unwrap_or(0));
        }
        Some((group, records))
    }

    /// The record of the classic group that this one becomes, if only members of the classic protocol are left.
    pub(in crate::group) fn as_classic(&self, turn: &Turn<'_>) -> Option<GroupValue> {
        let classic = |member: &Member| member.subscription.classic.is_some();
        let settings = turn.settings;
        if self.members.is_empty()
            || !settings.allows_downgrade
            || self.members.len() > settings.max_size
            || !self.members.values().all(classic)
        {
            return None;
        }
        let (_, first) = self.classic_members().next()?;
        let by_all = |name: &str| {
            self.classic_members().all(|(_, member)| member.protocols.iter().any(|(supported, _)| supported == name))
        };
        let protocol = first.protocols.iter().map(|(name, _)| name).find(|name| by_all(name))?;
        let mut members = Vec::with_capacity(self.members.len());
        let none = Partitions::new();
        for (id, member) in &self.members {
            let classic = member.subscription.classic.as_ref()?;
            let subscription = metadata(classic, protocol);
            let target = by_name(self.target.get(id).unwrap_or(&none), turn.topics);
            members.push(MemberValue {
                member_id: id.clone(),
                group_instance_id: member.subscription.instance_id.clone(),
                client_id: member.subscription.client_id.clone(),
                client_host: member.subscription.client_host.clone(),
                rebalance_timeout_ms: member.subscription.rebalance_timeout_ms,
                session_timeout_ms: classic.session_timeout_ms,
                assignment: consumer_protocol::write_assignment(&target, &subscription).ok()?,
                subscription,
            });
        }
        Some(GroupValue {
            protocol_type: PROTOCOL_TYPE.to_owned(),
            generation: self.epoch,
            protocol: Some(protocol.clone()),
            leader: self.members.keys().next().cloned(),
            current_state_timestamp: turn.now.wall.0,
            members,
        })
    }
}
