//! What members of share groups and those who look after them ask of the groups (KIP-932). Routes to the group; what a share
//! coordinator is to be asked is said in the answers, and asked by whoever hears them.

use super::consumer_group::Refusal;
use super::consumer_records::Partitions;
use super::entry::{Group, Kind};
use super::records::GroupRecord;
use super::shard::Shard;
use super::share_group::{
    Alteration, Deletion, ShareDescription, ShareGroup, ShareHeartbeatInput, ShareHeartbeatResult,
};
use super::share_records::ShareRecord;
use super::topics::Topics;
use super::turn::{Pending, Then, Turn, Waiter};
use super::{Described, GroupError, Groups, Io};
use std::collections::{BTreeMap, BTreeSet};
use tracing::{info, warn};
use uuid::Uuid;

/// What became of the states that a share coordinator was to make: topic, partition, and whether there is one.
pub type StatesMade = Vec<(Uuid, i32, bool)>;

/// The states of a group that is to end; `None` if it is no share group.
pub type StatesToDelete = Result<Option<Vec<(Uuid, i32)>>, Refusal>;

/// What a group must be for a change of its states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// There.
    Any,
    /// There, without members.
    Empty,
    /// Without members; it is made if it is not there.
    EmptyOrNew,
}

impl Groups {
    /// ShareGroupHeartbeat.
    pub fn share_heartbeat(
        &self,
        group_id: &str,
        input: &ShareHeartbeatInput,
        waiter: Waiter<ShareHeartbeatResult>,
        io: &mut Io<'_>,
    ) {
        let shard = check(group_id, input).and_then(|()| self.shard_of(group_id, io).map_err(Refusal::from));
        let mut shard = match shard {
            Ok(shard) => shard,
            Err(refusal) => return io.answer(waiter, Err(refusal)),
        };
        if let Err(refusal) = shard.find_share(group_id, input.epoch == 0) {
            return io.answer(waiter, Err(refusal));
        }
        shard.with_share(group_id, &self.settings, io, |group, turn| group.heartbeat(input, waiter, turn));
        shard.drop_if_unused(group_id);
        io.wake(shard.next_deadline());
    }

    /// ShareGroupDescribe, one group.
    pub fn describe_share(&self, group_id: &str, io: &Io<'_>) -> Result<Described<ShareDescription>, GroupError> {
        let shard = self.shard_of_named(group_id, io)?;
        Ok(match shard.groups.get(group_id).map(Group::share) {
            Some(Some(group)) => Described::Found(group.describe(&|id| io.topics.name(id))),
            Some(None) => Described::OtherProtocol,
            None => Described::Missing,
        })
    }

    /// The partitions of which a share group has a state; none if there is no such group.
    pub fn initialized_share_partitions(&self, group_id: &str, io: &Io<'_>) -> Result<Partitions, GroupError> {
        let shard = self.shard_of(group_id, io)?;
        Ok(shard.groups.get(group_id).and_then(Group::share).map(ShareGroup::initialized).unwrap_or_default())
    }

    /// The share coordinator has made states, or has not. `waiter` hears when that is recorded; if this broker does not look
    /// after the group any more, whoever does asks for them again.
    pub fn share_states_made(
        &self,
        group_id: &str,
        results: &StatesMade,
        waiter: Waiter<Result<(), GroupError>>,
        io: &mut Io<'_>,
    ) {
        let act = |group: &mut ShareGroup, topics: &dyn Topics| (group.on_states_made(results, topics), ());
        let waiter = Box::new(move |result: Result<(), Refusal>| waiter(result.map_err(|refusal| refusal.error)));
        self.change_states((group_id, Need::Any), act, waiter, io);
    }

    /// AlterShareGroupOffsets: topics, partitions, first offsets. A group that is not there is made.
    pub fn alter_share_offsets(
        &self,
        group_id: &str,
        wanted: Vec<(String, Vec<(i32, i64)>)>,
        waiter: Waiter<Result<Alteration, Refusal>>,
        io: &mut Io<'_>,
    ) {
        let now = io.now.mono;
        let act = move |group: &mut ShareGroup, topics: &dyn Topics| {
            let (record, alteration) = group.alter(wanted, topics);
            // Nobody who joins meanwhile asks for what the settings say.
            group.on_told(alteration.initialize.partitions.iter().map(|(topic, ..)| *topic), now);
            (record, alteration)
        };
        self.change_states((group_id, Need::EmptyOrNew), act, waiter, io);
    }

    /// DeleteShareGroupOffsets, its beginning: what of these topics is to be deleted.
    pub fn delete_share_offsets(
        &self,
        group_id: &str,
        topics: Vec<String>,
        waiter: Waiter<Result<Deletion, Refusal>>,
        io: &mut Io<'_>,
    ) {
        let act = move |group: &mut ShareGroup, names: &dyn Topics| group.delete_offsets(topics, names);
        self.change_states((group_id, Need::Empty), act, waiter, io);
    }

    /// DeleteShareGroupOffsets, its end: the share coordinator has deleted the states of these topics.
    pub fn share_states_deleted(
        &self,
        group_id: &str,
        topics: &BTreeSet<Uuid>,
        waiter: Waiter<Result<(), Refusal>>,
        io: &mut Io<'_>,
    ) {
        self.change_states((group_id, Need::Any), |group, _| (group.on_deleted(topics), ()), waiter, io);
    }

    /// DeleteGroups, one group, what comes first: which states of it the share coordinator is to delete; `None` if it is no
    /// share group.
    pub fn delete_share_states(&self, group_id: &str, waiter: Waiter<StatesToDelete>, io: &mut Io<'_>) {
        let shard = match self.shard_of(group_id, io) {
            Ok(shard) => shard,
            Err(error) => return io.answer(waiter, Err(error.into())),
        };
        let is_share = shard.groups.get(group_id).is_some_and(|group| group.share().is_some());
        drop(shard);
        if !is_share {
            return io.answer(waiter, Ok(None));
        }
        let act = |group: &mut ShareGroup, topics: &dyn Topics| {
            let (record, deleted) = group.delete_all(topics);
            (record, Some(deleted))
        };
        self.change_states((group_id, Need::Empty), act, waiter, io);
    }

    /// Topics were made, changed or deleted: share groups that read them look again at their next heartbeat, and keep
    /// nothing of those that are gone. Whose states are to be deleted, by group.
    pub fn on_shared_topics_changed(&self, names: &[String], io: &mut Io<'_>) -> BTreeMap<String, Vec<(Uuid, i32)>> {
        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let mut all_gone = BTreeMap::new();
        for shard in self.shards.all() {
            let mut shard = shard.lock();
            let is_share = |(_, group): &(&String, &Group)| group.share().is_some();
            let ids: Vec<String> = shard.groups.iter().filter(is_share).map(|(id, _)| id.clone()).collect();
            for id in ids {
                let gone = shard.with_share(&id, &self.settings, io, |group, turn| {
                    let (record, gone) = group.on_topics_changed(&names, turn.topics);
                    if let Some(record) = record {
                        info!(group = group.id, partitions = gone.len(), "states of deleted topics are forgotten");
                        group.record_states(record, turn);
                    }
                    gone
                });
                if let Some(gone) = gone.filter(|gone| !gone.is_empty()) {
                    all_gone.insert(id, gone);
                }
            }
            io.wake(shard.next_deadline());
        }
        all_gone
    }

    /// Records what `act` says of the states of a share group; `waiter` hears what it gave when that is replicated.
    fn change_states<T: Send + 'static>(
        &self,
        (group_id, need): (&str, Need),
        act: impl FnOnce(&mut ShareGroup, &dyn Topics) -> (Option<ShareRecord>, T),
        waiter: Waiter<Result<T, Refusal>>,
        io: &mut Io<'_>,
    ) {
        let mut shard = match self.shard_of_named(group_id, io) {
            Ok(shard) => shard,
            Err(error) => return io.answer(waiter, Err(error.into())),
        };
        if let Err(refusal) = shard.find_share(group_id, need == Need::EmptyOrNew) {
            return io.answer(waiter, Err(refusal));
        }
        if need != Need::Any && shard.groups.get(group_id).is_some_and(|group| !group.is_empty()) {
            return io.answer(waiter, Err(GroupError::NotEmpty.into()));
        }
        shard.with_share(group_id, &self.settings, io, |group, turn| {
            let (record, value) = act(group, turn.topics);
            group.record_then(record, value, waiter, turn);
        });
        shard.drop_if_unused(group_id);
        io.wake(shard.next_deadline());
    }
}

impl ShareGroup {
    /// Records a change of states that nobody waits for.
    fn record_states(&mut self, record: ShareRecord, turn: &mut Turn<'_>) {
        match turn.store(vec![GroupRecord::Share(self.id.clone(), record.clone())], None) {
            Ok(stored) => {
                self.apply(&record);
                turn.wait(Pending { records: Vec::new(), ..stored }, Then::Nothing);
            }
            Err(error) => warn!(group = self.id, %error, "a change of states was not recorded"),
        }
    }

    fn record_then<T: Send + 'static>(
        &mut self,
        record: Option<ShareRecord>,
        value: T,
        waiter: Waiter<Result<T, Refusal>>,
        turn: &mut Turn<'_>,
    ) {
        let Some(record) = record else {
            return turn.wait_for_all(Box::new(move |result| {
                waiter(result.map(|()| value).map_err(|error| GroupError::of_commit(error).into()));
            }));
        };
        match turn.store(vec![GroupRecord::Share(self.id.clone(), record.clone())], None) {
            Ok(stored) => {
                self.apply(&record);
                let then = move |result: Result<(), _>| {
                    waiter(result.map(|()| value).map_err(|error| GroupError::of_commit(error).into()));
                };
                turn.wait(Pending { records: Vec::new(), ..stored }, Then::Answer(Box::new(then)));
            }
            Err(error) => turn.answer(waiter, Err(GroupError::of_commit(error).into())),
        }
    }
}

impl Shard {
    /// Is there a share group of this id? One that may be made is.
    fn find_share(&mut self, group_id: &str, may_make: bool) -> Result<(), Refusal> {
        match self.groups.get(group_id) {
            Some(group) if group.share().is_some() => Ok(()),
            Some(_) => Err(GroupError::NotFound.because(format!("Group {group_id} is not a share group."))),
            None if may_make => {
                let share = ShareGroup::new(group_id);
                self.groups.insert(group_id.to_owned(), Group::of(group_id, Kind::Share(Box::new(share))));
                Ok(())
            }
            None => Err(GroupError::NotFound.because(format!("Share group {group_id} not found."))),
        }
    }

    fn with_share<T>(
        &mut self,
        group_id: &str,
        settings: &super::turn::GroupSettings,
        io: &mut Io<'_>,
        input: impl FnOnce(&mut ShareGroup, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let with_kind = |group: &mut Group, turn: &mut Turn<'_>| match &mut group.kind {
            Kind::Share(group) => Some(input(group, turn)),
            Kind::Classic(_) | Kind::Consumer(_) => None,
        };
        self.with(group_id, settings, io, with_kind).flatten()
    }
}

/// What is wrong with a heartbeat whatever group there is.
fn check(group_id: &str, input: &ShareHeartbeatInput) -> Result<(), Refusal> {
    let is_blank = |text: &str| text.trim().is_empty();
    let reads_nothing = input.topics.as_ref().is_none_or(BTreeSet::is_empty);
    let rules = [
        (is_blank(&input.member_id), "MemberId can't be empty."),
        (is_blank(group_id), "GroupId can't be empty."),
        (input.rack_id.as_deref().is_some_and(is_blank), "RackId can't be empty."),
        (input.epoch == 0 && reads_nothing, "SubscribedTopicNames must be set in first request."),
        (input.epoch < -1, "MemberEpoch is invalid."),
    ];
    match rules.into_iter().find(|(is_broken, _)| *is_broken) {
        Some((_, text)) => Err(GroupError::InvalidRequest.because(text)),
        None => Ok(()),
    }
}
