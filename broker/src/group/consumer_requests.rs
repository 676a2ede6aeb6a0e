//! What members of the new consumer protocol and those who watch them ask of the groups (KIP-848). Routes to the group, and
//! decides which protocol the group has from then on.

use super::consumer_group::{ConsumerDescription, ConsumerGroup, HeartbeatInput, HeartbeatResult, Refusal};
use super::entry::{Group, Kind};
use super::shard::Shard;
use super::turn::{GroupSettings, Waiter};
use super::{Described, GroupError, Groups, Io};
use std::collections::BTreeSet;

impl Groups {
    /// ConsumerGroupHeartbeat.
    pub fn consumer_heartbeat(
        &self,
        group_id: &str,
        input: &HeartbeatInput,
        waiter: Waiter<HeartbeatResult>,
        io: &mut Io<'_>,
    ) {
        let shard = self.shard_of(group_id, io).map_err(Refusal::from);
        let shard = shard.and_then(|shard| check(group_id, input, &self.settings).map(|()| shard));
        let mut shard = match shard {
            Ok(shard) => shard,
            Err(refusal) => return io.answer(waiter, Err(refusal)),
        };
        shard.consumer_heartbeat((group_id, input), waiter, &self.settings, io);
        shard.drop_if_unused(group_id);
        io.wake(shard.next_deadline());
    }

    /// ConsumerGroupDescribe, one group.
    pub fn describe_consumers(
        &self,
        group_id: &str,
        io: &Io<'_>,
    ) -> Result<Described<ConsumerDescription>, GroupError> {
        let shard = self.shard_of_named(group_id, io)?;
        Ok(match shard.groups.get(group_id).map(Group::consumer) {
            Some(Some(group)) => Described::Found(group.describe(&self.settings, &|id| io.topics.name(id))),
            Some(None) => Described::OtherProtocol,
            None => Described::Missing,
        })
    }

    /// Topics were made, changed or deleted: groups that read them look again at their next heartbeat.
    pub fn on_topics_changed(&self, topics: &[String]) {
        let topics: BTreeSet<&str> = topics.iter().map(String::as_str).collect();
        let shards: Vec<_> = self.shards.read().values().cloned().collect();
        for shard in shards {
            for group in shard.lock().groups.values_mut() {
                if let Kind::Consumer(group) = &mut group.kind {
                    group.on_topics_changed(&topics);
                }
            }
        }
    }
}

impl Shard {
    fn consumer_heartbeat(
        &mut self,
        (group_id, input): (&str, &HeartbeatInput),
        waiter: Waiter<HeartbeatResult>,
        settings: &GroupSettings,
        io: &mut Io<'_>,
    ) {
        let joins = input.epoch == 0;
        let found = self.groups.get(group_id).map(|group| (group.consumer().is_some(), group.is_idle()));
        let refuse = |text: String| Err(GroupError::NotFound.because(text));
        match found {
            Some((true, _)) => {}
            None if joins => self.ensure(group_id, io.now),
            None => return io.answer(waiter, refuse(format!("Consumer group {group_id} not found."))),
            Some((false, true)) if joins => {}
            Some((false, _)) => {
                return io.answer(waiter, refuse(format!("Group {group_id} is not a consumer group.")));
            }
        }
        self.with(group_id, settings, io, |group, turn| {
            let before =
                if group.consumer().is_some() || !group.is_recorded() { Vec::new() } else { group.tombstones() };
            let empty = match &group.kind {
                Kind::Consumer(_) => None,
                Kind::Classic(_) => {
                    let fresh = Kind::Consumer(Box::new(ConsumerGroup::new(group_id)));
                    Some(std::mem::replace(&mut group.kind, fresh))
                }
            };
            let Kind::Consumer(consumers) = &mut group.kind else { return };
            consumers.heartbeat(input, before, waiter, turn);
            if let (Some(empty), 0) = (empty, consumers.epoch) {
                // Nothing came of it.
                group.kind = empty;
            }
        });
    }
}

/// What is wrong with a heartbeat whatever group there is. As Kafka 4.0, which lets members read no topic.
fn check(group_id: &str, input: &HeartbeatInput, settings: &GroupSettings) -> Result<(), Refusal> {
    let is_blank = |text: &str| text.trim().is_empty();
    let is_blank_some = |text: &Option<String>| text.as_deref().is_some_and(is_blank);
    let needs_id = input.needs_member_id || input.epoch != 0;
    let is_join = input.epoch == 0;
    let rules = [
        (needs_id && is_blank(&input.member_id), "MemberId can't be empty."),
        (is_blank(group_id), "GroupId can't be empty."),
        (is_blank_some(&input.instance_id), "InstanceId can't be empty."),
        (is_blank_some(&input.rack_id), "RackId can't be empty."),
        (is_join && input.rebalance_timeout_ms == -1, "RebalanceTimeoutMs must be provided in first request."),
        (
            is_join && input.owned.as_ref().is_none_or(|owned| !owned.is_empty()),
            "TopicPartitions must be empty when (re-)joining.",
        ),
        (
            is_join && input.topics.is_none() && input.regex.is_none(),
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
        ),
        (input.epoch == -2 && input.instance_id.is_none(), "InstanceId can't be null."),
        (input.epoch < -2, "MemberEpoch is invalid."),
    ];
    if let Some((_, text)) = rules.into_iter().find(|(is_broken, _)| *is_broken) {
        return Err(GroupError::InvalidRequest.because(text));
    }
    let Some(name) = &input.assignor else { return Ok(()) };
    let known: Vec<&str> = settings.assignors.iter().map(|assignor| assignor.name()).collect();
    if known.contains(&name.as_str()) {
        return Ok(());
    }
    let text = format!("ServerAssignor {name} is not supported. Supported assignors: {}.", known.join(", "));
    Err(GroupError::UnsupportedAssignor.because(text))
}
