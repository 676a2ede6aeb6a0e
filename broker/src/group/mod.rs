//! The group coordinator: decides on requests of group members, has the decisions recorded in `__consumer_offsets`, and
//! answers once they are replicated. One shard with its own lock for each partition that this broker leads. Never sends,
//! never names a wire error code.

mod assignor;
mod classic;
mod consumer_group;
mod consumer_protocol;
pub mod consumer_records;
mod consumer_requests;
mod entry;
mod load;
mod offsets;
pub mod records;
mod shard;
mod share_group;
pub mod share_records;
mod share_requests;
mod topics;
mod turn;

pub use assignor::Assignor;
pub use classic::{JoinInput, JoinResult, Joined, Sender, State, SyncInput, SyncResult, Synced};
pub use consumer_group::{
    AssignedTopic, ConsumerDescription, ConsumerMember, HeartbeatInput, HeartbeatOutput, HeartbeatResult, Refusal,
};
pub use offsets::Place;
pub use share_group::{
    Alteration, AlteredTopic, Deletion, Initialize, ShareDescription, ShareHeartbeatInput, ShareHeartbeatOutput,
    ShareHeartbeatResult, ShareMember,
};
pub use share_requests::{StatesMade, StatesToDelete};
pub use topics::{TopicShape, Topics};
pub use turn::{Answer, GroupSettings, Journal, StoreError, Waiter};

use crate::journal::{LockedShard, Shards, Stage};
use crate::log::Verification;
use bytes::Bytes;
use classic::ClassicGroup;
use common::Rng;
use common::kafka::control::TxnMarker;
use common::time::{Millis, Now};
use entry::{Group, Kind};
use parking_lot::Mutex;
use records::OffsetValue;
use shard::{Removal, Shard};
use std::collections::BTreeSet;
use thiserror::Error;
use tracing::{debug, info};

/// Name of the topic that holds groups and offsets.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Protocol type of consumers, as JoinGroup names it.
const PROTOCOL_TYPE: &str = "consumer";

/// Why a group does not do what it was asked.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupError {
    /// The group id is empty where a group is needed.
    #[error("the group id is not valid")]
    InvalidGroupId,
    /// The offsets topic cannot take records now.
    #[error("the coordinator is not available")]
    NotAvailable,
    /// The partition of the group is being read.
    #[error("the coordinator is loading")]
    Loading,
    /// Another broker looks after this group.
    #[error("this is not the coordinator of the group")]
    NotCoordinator,
    /// Outside `group.min.session.timeout.ms` and `group.max.session.timeout.ms`.
    #[error("the session timeout is out of range")]
    InvalidSessionTimeout,
    /// No such member.
    #[error("the member is unknown")]
    UnknownMember,
    /// The member has an id now and has to join again with it (KIP-394).
    #[error("the member has to rejoin with its id")]
    MemberIdRequired,
    /// Another member has taken over this `group.instance.id`.
    #[error("another member has the instance id")]
    FencedInstance,
    /// Not the generation of the group.
    #[error("the generation is not current")]
    IllegalGeneration,
    /// The member's protocols do not fit those of the others.
    #[error("the protocols do not fit the group")]
    InconsistentProtocol,
    /// The member has to join again.
    #[error("a rebalance is in progress")]
    RebalanceInProgress,
    /// `group.max.size` members are there already.
    #[error("the group is full")]
    GroupFull,
    /// The group has members.
    #[error("the group is not empty")]
    NotEmpty,
    /// No such group.
    #[error("the group does not exist")]
    NotFound,
    /// Members of the group read this topic.
    #[error("the group is subscribed to the topic")]
    SubscribedToTopic,
    /// Longer than `offset.metadata.max.bytes`.
    #[error("the offset metadata is too large")]
    MetadataTooLarge,
    /// A newer offset may become visible at any moment (KIP-447).
    #[error("an offset of the partition is not stable")]
    UnstableOffset,
    /// The offsets of one commit make a batch larger than the topic takes.
    #[error("the commit is too large")]
    CommitTooLarge,
    /// The members of the group make a record larger than the topic takes.
    #[error("the record of the group is too large")]
    RecordTooLarge,
    /// Not replicated in time.
    #[error("timed out")]
    TimedOut,
    /// A later instance of the transactional producer has written.
    #[error("the producer's epoch is old")]
    ProducerFenced,
    /// The transaction of the commit is not open.
    #[error("the transaction is not open")]
    NotInTransaction,
    /// A heartbeat of the new protocol contradicts itself.
    #[error("the request is not valid")]
    InvalidRequest,
    /// No such assignor.
    #[error("the assignor is not supported")]
    UnsupportedAssignor,
    /// A pattern of topics that is none.
    #[error("the regular expression is not valid")]
    InvalidRegex,
    /// Not the epoch of the member, which has to give up all it has and join again.
    #[error("the member's epoch is fenced")]
    FencedEpoch,
    /// Not the epoch of the member, which learns the current one by its next heartbeat.
    #[error("the member's epoch is stale")]
    StaleEpoch,
    /// Another member has the instance id and has not left.
    #[error("the instance id is in use")]
    UnreleasedInstance,
    /// A version of the request that knows no member epochs.
    #[error("the version does not know members of the new protocol")]
    UnsupportedVersion,
}

impl GroupError {
    /// What a failed record of a generation means for members.
    fn of_rebalance(error: StoreError) -> GroupError {
        match error {
            StoreError::NotLeader | StoreError::Storage => GroupError::NotCoordinator,
            StoreError::NotEnoughReplicas => GroupError::NotAvailable,
            StoreError::TooLarge => GroupError::RecordTooLarge,
            StoreError::TimedOut => GroupError::RebalanceInProgress,
            StoreError::FencedProducer | StoreError::FencedCoordinator => GroupError::ProducerFenced,
            StoreError::NotInTransaction => GroupError::NotInTransaction,
        }
    }

    /// What a failed record of offsets means for who commits.
    fn of_commit(error: StoreError) -> GroupError {
        match error {
            StoreError::NotLeader | StoreError::Storage => GroupError::NotCoordinator,
            StoreError::NotEnoughReplicas => GroupError::NotAvailable,
            StoreError::TooLarge => GroupError::CommitTooLarge,
            StoreError::TimedOut => GroupError::TimedOut,
            StoreError::FencedProducer | StoreError::FencedCoordinator => GroupError::ProducerFenced,
            StoreError::NotInTransaction => GroupError::NotInTransaction,
        }
    }
}

/// Offsets to be committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitInput {
    /// Group id; may be empty, as old clients do.
    pub group_id: String,
    /// Who commits.
    pub sender: Sender,
    /// Id and epoch of the producer in whose transaction the offsets are committed (KIP-98).
    pub producer: Option<(i64, i16)>,
    /// What must hold of that transaction (KIP-890).
    pub verification: Verification,
    /// True if the version of the request knows member epochs (KIP-848).
    pub knows_member_epochs: bool,
    /// What to commit, in the order of the answer.
    pub offsets: Vec<(Place, OffsetValue)>,
}

impl CommitInput {
    fn all(&self, error: GroupError) -> CommitResult {
        self.offsets.iter().map(|(place, _)| (place.clone(), Err(error))).collect()
    }
}

/// What became of each offset of a commit.
pub type CommitResult = Vec<(Place, Result<(), GroupError>)>;
/// What is committed for each partition asked for.
pub type FetchResult = Vec<(Place, Result<Option<OffsetValue>, GroupError>)>;

/// What is known of a group under one protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Described<T> {
    /// This.
    Found(T),
    /// The group has the other protocol.
    OtherProtocol,
    /// There is no such group.
    Missing,
}

/// A group as tools show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// `Stable`, `Empty`, ...
    pub state: State,
    /// `consumer`, ...; empty if unknown.
    pub protocol_type: String,
    /// Chosen protocol, empty unless stable.
    pub protocol: String,
    /// Members by id; metadata and assignment only if stable.
    pub members: Vec<DescribedMember>,
}

/// A member as tools show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Member id.
    pub member_id: String,
    /// `group.instance.id`
    pub instance_id: Option<String>,
    /// The client's name for itself.
    pub client_id: String,
    /// The client's address.
    pub client_host: String,
    /// Its metadata for the chosen protocol.
    pub metadata: Bytes,
    /// What it was assigned.
    pub assignment: Bytes,
}

/// A group in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Group id.
    pub group_id: String,
    /// `consumer`, ...; empty if unknown.
    pub protocol_type: String,
    /// `Stable`, `Empty`, ...
    pub state: &'static str,
    /// `classic`, `consumer` or `share`.
    pub group_type: &'static str,
}

/// A group in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupFigures {
    /// Group id.
    pub group_id: String,
    /// `classic`, `consumer` or `share`.
    pub kind: &'static str,
    /// `Stable`, `Empty`, ...
    pub state: &'static str,
    /// Its members.
    pub members: usize,
    /// What is committed.
    pub offsets: Vec<(Place, i64)>,
}

/// What a call may use, and what it leaves to its caller: first carry out what the journal caused, then call each
/// answer, in order, holding no lock.
pub struct Io<'a> {
    /// The offsets topic.
    pub journal: &'a dyn Journal,
    /// The cluster's topics.
    pub topics: &'a dyn Topics,
    /// The moment of the call.
    pub now: Now,
    /// Answers to parked requests.
    pub answers: Vec<Answer>,
    /// When [`Groups::tick`] has to be called at the latest, if the call made that earlier than it was.
    pub wake_at: Option<Millis>,
    /// Partitions with their leader epochs for which [`Groups::load`] is to be called, off this thread.
    pub loads: Vec<(i32, i32)>,
}

impl<'a> Io<'a> {
    /// Nothing to carry out yet.
    pub fn new(journal: &'a dyn Journal, topics: &'a dyn Topics, now: Now) -> Io<'a> {
        Io { journal, topics, now, answers: Vec::new(), wake_at: None, loads: Vec::new() }
    }

    fn answer<T: Send + 'static>(&mut self, waiter: Waiter<T>, value: T) {
        self.answers.push(Box::new(move || waiter(value)));
    }

    fn wake(&mut self, at: Option<Millis>) {
        self.wake_at = self.wake_at.into_iter().chain(at).min();
    }
}

/// All groups this broker looks after.
pub struct Groups {
    settings: GroupSettings,
    shards: Shards<Shard>,
    rng: Mutex<Rng>,
}

impl Groups {
    /// No group yet: `rng` seeds member ids.
    pub fn new(settings: GroupSettings, rng: Rng) -> Groups {
        Groups { settings, shards: Shards::default(), rng: Mutex::new(rng) }
    }

    // ---- leadership of the partitions

    /// This broker leads a partition of the offsets topic from now on: its groups are loading. True if [`Groups::load`]
    /// is to be called.
    pub fn on_leader(&self, partition: i32, epoch: i32, io: &mut Io<'_>) -> bool {
        let first_check = io.now.mono + self.settings.retention_check_interval_ms.max(1);
        let shard = || Shard::new((partition, epoch), self.rng.lock().fork(), first_check);
        self.shards.begin(partition, epoch, shard, |before| before.unload(&self.settings, io))
    }

    /// Reads the partition, and begins to serve its groups once all that was read is replicated. May take long; requests
    /// hear meanwhile that the coordinator is loading.
    pub fn load(&self, partition: i32, epoch: i32, io: &mut Io<'_>) {
        let loaded = load::read_all(io.journal, partition, self.settings.load_buffer_bytes);
        let Some(mut shard) = self.shards.lock(partition) else { return };
        if let Some(high_watermark) = shard.lead.on_read(epoch, loaded, "groups", (io.journal, io.now)) {
            self.begin_serving(&mut shard, high_watermark, io);
        }
        io.wake(shard.next_deadline());
    }

    fn begin_serving(&self, shard: &mut Shard, high_watermark: i64, io: &mut Io<'_>) {
        let Some(loaded) = shard.lead.serve(high_watermark) else { return };
        let (partition, epoch) = (shard.lead.partition, shard.lead.epoch);
        shard.groups = loaded.into_groups(io.now, &self.settings);
        match shard.groups.len() {
            0 => debug!(partition, epoch, "there are no groups to load"),
            groups => info!(partition, epoch, groups, "groups are loaded"),
        }
        for group_id in shard.groups.keys().cloned().collect::<Vec<_>>() {
            shard.with_classic(&group_id, &self.settings, io, |group, turn| {
                if group.members.len() > turn.settings.max_size {
                    group.prepare_rebalance("more members than group.max.size", turn);
                }
            });
        }
    }

    /// This broker leads a partition of the offsets topic no longer; without epoch, the partition is deleted.
    pub fn on_resigned(&self, partition: i32, epoch: Option<i32>, io: &mut Io<'_>) {
        self.shards.end(partition, epoch, |shard| {
            debug!(partition, "groups are unloaded");
            shard.unload(&self.settings, io);
        });
    }

    /// This broker stops: it looks after none any more.
    pub fn close(&self, io: &mut Io<'_>) {
        self.shards.partitions().into_iter().for_each(|partition| self.on_resigned(partition, None, io));
    }

    /// Everything below `offset` of a partition of the offsets topic is replicated.
    pub fn on_high_watermark(&self, partition: i32, offset: i64, io: &mut Io<'_>) {
        let Some(mut shard) = self.shards.lock(partition) else { return };
        self.begin_serving(&mut shard, offset, io);
        shard.on_high_watermark(offset, &self.settings, io);
        io.wake(shard.next_deadline());
    }

    /// Appends a transaction marker to a partition of the offsets topic. It takes effect when it is replicated, and
    /// `waiter` hears of it. While the partition is being read this broker counts as not leading it.
    pub fn write_marker(
        &self,
        partition: i32,
        marker: &TxnMarker,
        waiter: Waiter<Result<(), StoreError>>,
        io: &mut Io<'_>,
    ) {
        let shard = self.shards.lock(partition).filter(|shard| shard.lead.stage == Stage::Serving);
        let Some(mut shard) = shard else { return io.answer(waiter, Err(StoreError::NotLeader)) };
        shard.write_marker(marker, waiter, &self.settings, io);
        io.wake(shard.next_deadline());
    }

    /// Partition of the offsets topic that a group belongs to: Java's hash of the id, so that every broker agrees.
    pub fn partition_for(&self, group_id: &str, journal: &dyn Journal) -> i32 {
        let count = journal.partition_count().unwrap_or(self.settings.topic_partitions).max(1);
        partition_for(group_id, count)
    }

    // ---- time

    /// Does what is due; when to call again at the latest.
    pub fn tick(&self, io: &mut Io<'_>) -> Option<Millis> {
        let mut next = None;
        for shard in self.shards.all() {
            let mut shard = shard.lock();
            shard.tick(&self.settings, io);
            next = next.into_iter().chain(shard.next_deadline()).min();
        }
        next
    }

    // ---- requests

    /// JoinGroup.
    pub fn join(&self, group_id: &str, input: JoinInput, waiter: Waiter<JoinResult>, io: &mut Io<'_>) {
        let timeouts = self.settings.min_session_timeout_ms..=self.settings.max_session_timeout_ms;
        let shard = match self.shard_of_named(group_id, io) {
            Ok(_) if !timeouts.contains(&input.session_timeout_ms) => Err(GroupError::InvalidSessionTimeout),
            other => other,
        };
        let member_id = input.member_id.clone();
        let refuse = |error| JoinResult { member_id, outcome: Err(error) };
        let mut shard = match shard {
            Ok(shard) => shard,
            Err(error) => return io.answer(waiter, refuse(error)),
        };
        if input.member_id.is_empty() {
            shard.ensure(group_id, io.now);
        }
        if !shard.groups.contains_key(group_id) {
            return io.answer(waiter, refuse(GroupError::UnknownMember));
        }
        shard.with(group_id, &self.settings, io, |group, turn| group.join(input, waiter, turn));
        shard.drop_if_unused(group_id);
        io.wake(shard.next_deadline());
    }

    /// SyncGroup.
    pub fn sync(&self, group_id: &str, input: SyncInput, waiter: Waiter<SyncResult>, io: &mut Io<'_>) {
        let mut shard = match self.shard_of_named(group_id, io) {
            Ok(shard) => shard,
            // The rebalance it belongs to is lost; older clients do not know the answer that loading has elsewhere.
            Err(GroupError::Loading) => return io.answer(waiter, Err(GroupError::RebalanceInProgress)),
            Err(error) => return io.answer(waiter, Err(error)),
        };
        if !shard.groups.contains_key(group_id) {
            return io.answer(waiter, Err(GroupError::UnknownMember));
        }
        shard.with(group_id, &self.settings, io, |group, turn| match &mut group.kind {
            Kind::Classic(group) => group.sync(input, waiter, turn),
            Kind::Consumer(group) => {
                let result = group.classic_sync(&input, turn);
                turn.answer(waiter, result);
            }
            Kind::Share(_) => turn.answer(waiter, Err(GroupError::UnknownMember)),
        });
        io.wake(shard.next_deadline());
    }

    /// Heartbeat.
    pub fn heartbeat(&self, group_id: &str, sender: &Sender, io: &mut Io<'_>) -> Result<(), GroupError> {
        let mut shard = match self.shard_of_named(group_id, io) {
            Ok(shard) => shard,
            // Nobody is removed while loading.
            Err(GroupError::Loading) => return Ok(()),
            Err(error) => return Err(error),
        };
        let result = shard.with(group_id, &self.settings, io, |group, turn| match &mut group.kind {
            Kind::Classic(group) => group.heartbeat(sender, turn),
            Kind::Consumer(group) => group.classic_heartbeat(sender, turn),
            Kind::Share(_) => Err(GroupError::UnknownMember),
        });
        io.wake(shard.next_deadline());
        result.unwrap_or(Err(GroupError::UnknownMember))
    }

    /// LeaveGroup of several members, whose generation does not matter; one result each.
    pub fn leave(
        &self,
        group_id: &str,
        members: &[Sender],
        io: &mut Io<'_>,
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        let mut shard = self.shard_of_named(group_id, io)?;
        let results = shard.with(group_id, &self.settings, io, |group, turn| {
            let leave = |member: &Sender| match &mut group.kind {
                Kind::Classic(group) => group.leave(member, turn),
                Kind::Consumer(group) => group.classic_leave(member, turn),
                Kind::Share(_) => Err(GroupError::UnknownMember),
            };
            members.iter().map(leave).collect()
        });
        shard.drop_if_unused(group_id);
        io.wake(shard.next_deadline());
        Ok(results.unwrap_or_else(|| vec![Err(GroupError::UnknownMember); members.len()]))
    }

    /// OffsetCommit and TxnOffsetCommit.
    pub fn commit(&self, input: CommitInput, waiter: Waiter<CommitResult>, io: &mut Io<'_>) {
        let mut shard = match self.shard_of(&input.group_id, io) {
            Ok(shard) => shard,
            Err(error) => return io.answer(waiter, input.all(error)),
        };
        shard.commit(input, waiter, &self.settings, io);
        io.wake(shard.next_deadline());
    }

    /// OffsetFetch of one group; without `places` all that it has. `require_stable` refuses what may change by itself.
    /// `member` is who asks, if it says so.
    pub fn fetch_offsets(
        &self,
        (group_id, member): (&str, (Option<&str>, i32)),
        places: Option<&[Place]>,
        require_stable: bool,
        io: &Io<'_>,
    ) -> Result<FetchResult, GroupError> {
        let shard = self.shard_of(group_id, io)?;
        let Some(group) = shard.groups.get(group_id) else {
            return Ok(places.unwrap_or_default().iter().map(|place| (place.clone(), Ok(None))).collect());
        };
        if let Some(consumers) = group.consumer() {
            consumers.check_fetch(member.0, member.1)?;
        }
        if group.share().is_some() {
            return Err(GroupError::NotFound);
        }
        let one = |place: &Place| {
            let unstable = require_stable && group.offsets.is_unstable(place);
            let value = if unstable { Err(GroupError::UnstableOffset) } else { Ok(group.offsets.get(place).cloned()) };
            (place.clone(), value)
        };
        Ok(match places {
            Some(places) => places.iter().map(one).collect(),
            None => group.offsets.iter().map(|(place, _)| one(place)).collect(),
        })
    }

    /// Has `waiter` hear when this broker surely still looked after the group: what [`Groups::fetch_offsets`] told before
    /// was true then, whoever led since.
    pub fn confirm(&self, group_id: &str, waiter: Waiter<Result<(), GroupError>>, io: &mut Io<'_>) {
        let mut shard = match self.shard_of(group_id, io) {
            Ok(shard) => shard,
            Err(error) => return io.answer(waiter, Err(error)),
        };
        let refused = |error| match error {
            StoreError::NotLeader => GroupError::NotCoordinator,
            _ => GroupError::NotAvailable,
        };
        let then: Waiter<Result<(), StoreError>> = Box::new(move |result| waiter(result.map_err(refused)));
        shard.confirm(group_id, then, &self.settings, io);
        io.wake(shard.next_deadline());
    }

    /// OffsetDelete: one result for each partition, or why none was looked at.
    pub fn delete_offsets(
        &self,
        group_id: &str,
        places: Vec<Place>,
        waiter: Waiter<Result<CommitResult, GroupError>>,
        io: &mut Io<'_>,
    ) {
        let mut shard = match self.shard_of_named(group_id, io) {
            Ok(shard) => shard,
            Err(error) => return io.answer(waiter, Err(error)),
        };
        let Some(group) = shard.groups.get(group_id) else {
            return io.answer(waiter, Err(GroupError::NotFound));
        };
        if group.share().is_some() {
            return io.answer(waiter, Err(GroupError::NotFound));
        }
        if !group.is_empty() && group.protocol_type() != "consumer" {
            return io.answer(waiter, Err(GroupError::NotEmpty));
        }
        let mut results: CommitResult = Vec::with_capacity(places.len());
        let mut removed = Vec::new();
        for place in places {
            if group.is_subscribed_to(&place.0) {
                results.push((place, Err(GroupError::SubscribedToTopic)));
                continue;
            }
            if group.offsets.get(&place).is_some() {
                removed.push(place.clone());
            }
            results.push((place, Ok(())));
        }
        let then: Waiter<Result<(), StoreError>> =
            Box::new(move |result| waiter(result.map(|()| results).map_err(GroupError::of_commit)));
        let removal = Removal { group_id, places: &removed, with_group: false };
        shard.remove_offsets(removal, then, &self.settings, io);
        io.wake(shard.next_deadline());
    }

    /// DeleteGroups, one group.
    pub fn delete_group(&self, group_id: &str, waiter: Waiter<Result<(), GroupError>>, io: &mut Io<'_>) {
        let mut shard = match self.shard_of(group_id, io) {
            Ok(shard) => shard,
            Err(error) => return io.answer(waiter, Err(error)),
        };
        let Some(group) = shard.groups.get(group_id) else {
            return io.answer(waiter, Err(GroupError::NotFound));
        };
        if !group.is_empty() {
            return io.answer(waiter, Err(GroupError::NotEmpty));
        }
        let places: Vec<Place> = group.offsets.iter().map(|(place, _)| place.clone()).collect();
        let with_group = group.is_recorded();
        let then: Waiter<Result<(), StoreError>> =
            Box::new(move |result| waiter(result.map_err(GroupError::of_commit)));
        shard.remove_offsets(Removal { group_id, places: &places, with_group }, then, &self.settings, io);
        shard.drop_if_unused(group_id);
        io.wake(shard.next_deadline());
    }

    /// Partitions are deleted: offsets for them mean nothing any more.
    pub fn on_partitions_deleted(&self, places: &BTreeSet<Place>, io: &mut Io<'_>) {
        for shard in self.shards.all() {
            let mut shard = shard.lock();
            let of_group = |(id, group): (&String, &Group)| {
                let gone: Vec<Place> =
                    group.offsets.iter().map(|(p, _)| p).filter(|p| places.contains(*p)).cloned().collect();
                (!gone.is_empty()).then(|| (id.clone(), gone))
            };
            let affected: Vec<(String, Vec<Place>)> = shard.groups.iter().filter_map(of_group).collect();
            for (group_id, gone) in affected {
                let removal = Removal { group_id: &group_id, places: &gone, with_group: false };
                shard.remove_offsets(removal, Box::new(|_| {}), &self.settings, io);
            }
            io.wake(shard.next_deadline());
        }
    }

    /// DescribeGroups, one group.
    pub fn describe(&self, group_id: &str, io: &Io<'_>) -> Result<Described<Description>, GroupError> {
        let shard = self.shard_of(group_id, io)?;
        Ok(match shard.groups.get(group_id).map(Group::classic) {
            Some(Some(group)) => Described::Found(describe(group)),
            Some(None) => Described::OtherProtocol,
            None => Described::Missing,
        })
    }

    /// Every group this broker looks after, in numbers.
    pub fn figures(&self) -> Vec<GroupFigures> {
        let of_group = |(id, group): (&String, &Group)| GroupFigures {
            group_id: id.clone(),
            kind: group.type_name(),
            state: group.state_name(),
            members: match &group.kind {
                Kind::Classic(group) => group.members.len(),
                Kind::Consumer(group) => group.members.len(),
                Kind::Share(group) => group.member_count(),
            },
            offsets: group.offsets.iter().map(|(place, value)| (place.clone(), value.offset)).collect(),
        };
        self.shards
            .all()
            .iter()
            .flat_map(|shard| shard.lock().groups.iter().map(of_group).collect::<Vec<_>>())
            .collect()
    }

    /// ListGroups: all groups, and whether some are still loading.
    pub fn list(&self) -> (Vec<Listed>, bool) {
        let mut listed = Vec::new();
        let mut is_loading = false;
        for shard in self.shards.all() {
            let shard = shard.lock();
            is_loading |= shard.lead.stage == Stage::Loading;
            listed.extend(shard.groups.values().map(|group| Listed {
                group_id: group.id.clone(),
                protocol_type: group.protocol_type().to_owned(),
                state: group.state_name(),
                group_type: group.type_name(),
            }));
        }
        (listed, is_loading)
    }

    /// The shard of a group, locked; an empty id is a group for those APIs that old clients used without one.
    fn shard_of(&self, group_id: &str, io: &Io<'_>) -> Result<LockedShard<Shard>, GroupError> {
        let partition = self.partition_for(group_id, io.journal);
        let shard = self.shards.lock(partition).ok_or(GroupError::NotCoordinator)?;
        match shard.lead.stage {
            Stage::Serving => Ok(shard),
            Stage::Loading => Err(GroupError::Loading),
            Stage::Failed { .. } | Stage::Over => Err(GroupError::NotCoordinator),
        }
    }

    fn shard_of_named(&self, group_id: &str, io: &Io<'_>) -> Result<LockedShard<Shard>, GroupError> {
        if group_id.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        self.shard_of(group_id, io)
    }
}

/// A copy to keep: a slice of a request or of a read log would keep all that was read with it, 64 KiB and more.
pub(crate) fn kept(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// `Utils.abs(group.hashCode) % count`: Java hashes the 16-bit units of the text.
pub fn partition_for(key: &str, count: i32) -> i32 {
    let hash = key.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0) % count
}

fn describe(group: &ClassicGroup) -> Description {
    let is_stable = group.state == State::Stable;
    let protocol = group.protocol.as_deref();
    let members = group.members.iter().map(|(id, member)| DescribedMember {
        member_id: id.clone(),
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        metadata: if is_stable { member.metadata(protocol) } else { Bytes::new() },
        assignment: if is_stable { member.assignment.clone() } else { Bytes::new() },
    });
    Description {
        state: group.state,
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        protocol: if is_stable { group.protocol.clone().unwrap_or_default() } else { String::new() },
        members: members.collect(),
    }
}

#[cfg(test)]
mod tests;
