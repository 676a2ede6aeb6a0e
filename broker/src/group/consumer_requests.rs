//! What members of the new consumer protocol and those who watch them ask of the groups (KIP-848). Routes to the group, and
//! decides which protocol the group has from then on.

use super::consumer_group::{ConsumerDescription, ConsumerGroup, HeartbeatInput, HeartbeatResult, Refusal};
use super::entry::{Group, Kind};
use super::records::GroupRecord;
use super::shard::Shard;
use super::turn::{GroupSettings, Turn, Waiter};
use super::{Described, GroupError, Groups, Io, PROTOCOL_TYPE};
use std::collections::BTreeSet;
use tracing::info;

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
        for shard in self.shards.all() {
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
        let found = self.groups.get(group_id).map(|group| group.consumer().is_some());
        let refuse = |text: String| Err(GroupError::NotFound.because(text));
        match found {
            Some(true) => {}
            None if joins => self.ensure(group_id, io.now),
            None => return io.answer(waiter, refuse(format!("Consumer group {group_id} not found."))),
            Some(false) if joins => {}
            Some(false) => return io.answer(waiter, refuse(is_other(group_id))),
        }
        self.with(group_id, settings, io, |group, turn| {
            if let Kind::Consumer(consumers) = &mut group.kind {
                consumers.heartbeat(input, Vec::new(), waiter, turn);
                return group.downgrade_if_classic(turn);
            }
            match upgraded(group, turn) {
                Some(upgraded) => upgrade(group, upgraded, (input, waiter), turn),
                None => turn.answer(waiter, refuse(is_other(group_id))),
            }
        });
    }
}

fn is_other(group_id: &str) -> String {
    format!("Group {group_id} is not a consumer group.")
}

/// The group of the new protocol that a classic one becomes when a member of that joins, and the records by which it does;
/// `None` if it must stay as it is.
fn upgraded(group: &Group, turn: &Turn<'_>) -> Option<(ConsumerGroup, Vec<GroupRecord>)> {
    let mut records = if group.is_recorded() { group.tombstones() } else { Vec::new() };
    let classic = group.classic()?;
    if classic.is_idle() {
        return Some((ConsumerGroup::new(&group.id), records));
    }
    let settings = turn.settings;
    let is_consumer = classic.protocol_type.as_deref() == Some(PROTOCOL_TYPE);
    if !settings.allows_upgrade || !is_consumer || classic.members.len() > settings.consumer_max_size {
        return None;
    }
    let (consumers, made) = ConsumerGroup::of_classic(classic, turn.topics, turn.now)?;
    records.extend(made.into_iter().map(|record| GroupRecord::Consumer(group.id.clone(), record)));
    Some((consumers, records))
}

fn upgrade(
    group: &mut Group,
    (mut consumers, records): (ConsumerGroup, Vec<GroupRecord>),
    (input, waiter): (&HeartbeatInput, Waiter<HeartbeatResult>),
    turn: &mut Turn<'_>,
) {
    if !consumers.heartbeat(input, records, waiter, turn) {
        return;
    }
    info!(group = group.id, members = consumers.members.len(), "the group goes to the new protocol");
    if let Kind::Classic(classic) = &mut group.kind {
        classic.unload(GroupError::RebalanceInProgress, turn);
    }
    group.kind = Kind::Consumer(Box::new(consumers));
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
