//! A member of a consumer group of the new protocol (KIP-848): it heartbeats, takes what it is given, gives up what it is
//! told to before it says so, commits offsets that only grow, falls silent, leaves and comes back. It reads no records.

use super::group::{self, Group};
use super::wire::{Answered, Correlation};
use super::{Cluster, REQUEST_TIMEOUT_MS, RETRY_MS, decode};
use crate::sim::history::Held;
use crate::sim::world::{Ctx, Micros};
use bytes::Bytes;
use common::id::TopicPartition;
use common::kafka::error::ErrorCode;
use common::kafka::messages::consumer_group_heartbeat::{Assignment, TopicPartitions};
use common::kafka::messages::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use common::kafka::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, OffsetFetchRequest};
use common::time::Millis;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// All members of the new protocol are in this group.
pub const NEW_GROUP: &str = "n";

const OF: Group = Group {
    name: NEW_GROUP,
    commit_version: 9,
    refusals: &[
        ErrorCode::StaleMemberEpoch,
        ErrorCode::UnknownMemberId,
        ErrorCode::FencedMemberEpoch,
        ErrorCode::CoordinatorLoadInProgress,
    ],
    commits: |history| &mut history.new_group.commits,
    offsets: |history| &mut history.new_group.offsets,
};

/// Members get so long to give up what others are to have.
const REBALANCE_MS: i32 = 4_000;
const HEARTBEAT_MS: u64 = 500;
/// A member that leaves says so with this epoch.
const LEAVING: i32 = -1;

/// What was asked last; one request at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ask {
    Coordinator,
    Heartbeat,
    Leave,
    /// Where the group stands in partitions that were given; or just to look.
    Offsets {
        asked: Micros,
    },
    /// The numbers of the commits in the history.
    Commit(Vec<usize>),
}

/// The member. Epoch 0 -> joining.
#[derive(Debug)]
pub struct NewMember {
    version: i16,
    coordinator: Option<String>,
    member_id: String,
    epoch: i32,
    /// What it has, and the number of that in the history.
    owned: BTreeMap<TopicPartition, usize>,
    /// What it was given, but does not know the offsets of.
    starting: BTreeSet<TopicPartition>,
    positions: BTreeMap<TopicPartition, i64>,
    /// The next heartbeat says what it has.
    must_tell: bool,
    under_way: Option<(Correlation, Ask)>,
    not_before: Millis,
    heartbeat_at: Millis,
    /// Commits acknowledged.
    pub commits: u64,
}

impl NewMember {
    pub(super) fn new(ctx: &mut Ctx<'_>) -> NewMember {
        NewMember {
            version: ctx.core.rng.i16(0..=1),
            coordinator: None,
            member_id: String::new(),
            epoch: 0,
            owned: BTreeMap::new(),
            starting: BTreeSet::new(),
            positions: BTreeMap::new(),
            must_tell: true,
            under_way: None,
            not_before: Millis(0),
            heartbeat_at: Millis(0),
            commits: 0,
        }
    }

    pub(super) fn step(&mut self, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        let now = ctx.now().mono;
        let knows_topics =
            cluster.topics.topics.iter().all(|(name, _)| cluster.topic_ids.values().any(|id| id == name));
        if self.under_way.is_some() || now < self.not_before || !knows_topics {
            return;
        }
        let Some(coordinator) = self.coordinator.clone() else {
            self.under_way = Some((OF.find_coordinator(cluster, ctx), Ask::Coordinator));
            return;
        };
        if self.epoch == 0 || now >= self.heartbeat_at {
            return self.heartbeat(&coordinator, cluster, ctx);
        }
        if !self.starting.is_empty() {
            return self.fetch_offsets(&coordinator, cluster, ctx);
        }
        match ctx.core.rng.u32(..1000) {
            // Long enough to be thrown out, and to come back as one who does not know it.
            0 => self.not_before = now + ctx.core.rng.u64(3_000..9_000),
            1 => self.leave(&coordinator, cluster, ctx),
            2..20 => self.fetch_offsets(&coordinator, cluster, ctx),
            20..120 if !self.owned.is_empty() => self.commit(&coordinator, cluster, ctx),
            _ => {}
        }
    }

    fn heartbeat(&mut self, coordinator: &str, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        if self.version > 0 && self.member_id.is_empty() {
            self.member_id = Uuid::from_u128(ctx.core.rng.u128(..)).to_string();
        }
        let is_whole = self.epoch == 0 || self.must_tell;
        let names = cluster.topics.topics.iter().map(|(name, _)| name.clone()).collect();
        let request = ConsumerGroupHeartbeatRequest {
            group_id: NEW_GROUP.to_owned(),
            member_id: self.member_id.clone(),
            member_epoch: self.epoch,
            rebalance_timeout_ms: if is_whole { REBALANCE_MS } else { -1 },
            subscribed_topic_names: is_whole.then_some(names),
            topic_partitions: is_whole.then(|| self.owned_by_id(cluster)),
            ..ConsumerGroupHeartbeatRequest::default()
        };
        self.must_tell = false;
        self.heartbeat_at = ctx.now().mono + HEARTBEAT_MS;
        let sent = cluster.wire.send(coordinator, (&request, self.version), REQUEST_TIMEOUT_MS, ctx);
        self.under_way = Some((sent, Ask::Heartbeat));
    }

    /// What was given counts as had even before its offsets are known, or it would seem to be given back.
    fn owned_by_id(&self, cluster: &Cluster) -> Vec<TopicPartitions> {
        let mut by_id: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for partition in self.owned.keys().chain(&self.starting) {
            if let Some((id, _)) = cluster.topic_ids.iter().find(|(_, name)| **name == *partition.topic) {
                by_id.entry(*id).or_default().push(partition.partition);
            }
        }
        by_id.into_iter().map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions }).collect()
    }

    fn leave(&mut self, coordinator: &str, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        self.give_up_all(ctx);
        let request = ConsumerGroupHeartbeatRequest {
            group_id: NEW_GROUP.to_owned(),
            member_id: self.member_id.clone(),
            member_epoch: LEAVING,
            ..ConsumerGroupHeartbeatRequest::default()
        };
        let sent = cluster.wire.send(coordinator, (&request, self.version), REQUEST_TIMEOUT_MS, ctx);
        self.under_way = Some((sent, Ask::Leave));
    }

    /// All partitions, not only the own ones: what others committed must not go back either.
    fn fetch_offsets(&mut self, coordinator: &str, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        let topic = |(name, count): &(String, i32)| OffsetFetchRequestTopics {
            name: name.clone(),
            partition_indexes: (0..*count).collect(),
            ..Default::default()
        };
        let group = OffsetFetchRequestGroup {
            group_id: NEW_GROUP.to_owned(),
            member_id: Some(self.member_id.clone()),
            member_epoch: self.epoch,
            topics: Some(cluster.topics.topics.iter().map(topic).collect()),
        };
        let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
        let sent = cluster.wire.send(coordinator, (&request, 9), REQUEST_TIMEOUT_MS, ctx);
        self.under_way = Some((sent, Ask::Offsets { asked: ctx.core.now() }));
    }

    fn commit(&mut self, coordinator: &str, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        let me = (&*self.member_id, self.epoch);
        let (sent, numbers) = OF.commit(me, (self.owned.keys(), &mut self.positions), (coordinator, cluster), ctx);
        self.under_way = Some((sent, Ask::Commit(numbers)));
    }

    pub(super) fn answered(&mut self, (correlation, frame): Answered, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        let Some((_, ask)) = self.under_way.take_if(|(asked, _)| *asked == correlation) else { return };
        if ask == Ask::Leave {
            self.start_anew();
            self.not_before = ctx.now().mono + ctx.core.rng.u64(10..3_000);
            return;
        }
        let Some(frame) = frame else {
            // Nobody knows what became of it, and perhaps another broker is the coordinator now.
            self.coordinator = None;
            self.must_tell = true;
            self.not_before = ctx.now().mono + RETRY_MS;
            return;
        };
        match ask {
            Ask::Coordinator => match Group::coordinator(&frame, ctx) {
                Some(Ok(address)) => self.coordinator = Some(address),
                Some(Err(code)) => self.failed(code, ctx),
                None => {}
            },
            Ask::Heartbeat => {
                let decoded = decode::<ConsumerGroupHeartbeatRequest>(&frame, self.version, ctx);
                let Some(response) = decoded else { return };
                self.heard(response, cluster, ctx);
            }
            Ask::Offsets { asked } => self.offsets(&frame, asked, ctx),
            Ask::Commit(numbers) => self.committed(&frame, &numbers, ctx),
            Ask::Leave => {}
        }
    }

    fn heard(&mut self, response: ConsumerGroupHeartbeatResponse, cluster: &Cluster, ctx: &mut Ctx<'_>) {
        if response.error_code != 0 {
            self.must_tell = true;
            return self.failed(response.error_code, ctx);
        }
        if let Some(id) = response.member_id {
            self.member_id = id;
        }
        self.epoch = response.member_epoch;
        let Some(assignment) = response.assignment else { return };
        let target = self.target(assignment, cluster);
        let given_up: Vec<TopicPartition> = self.owned.keys().filter(|had| !target.contains(had)).cloned().collect();
        let is_known = |had: &TopicPartition| self.owned.contains_key(had) || self.starting.contains(had);
        let has_more = !target.iter().all(is_known);
        if !given_up.is_empty() || has_more {
            // What it has now is told at once.
            self.must_tell = true;
            self.heartbeat_at = ctx.now().mono;
        }
        self.starting.retain(|partition| target.contains(partition));
        for partition in given_up {
            self.give_up(&partition, ctx);
        }
        for partition in target {
            if !self.owned.contains_key(&partition) {
                self.starting.insert(partition);
            }
        }
    }

    fn target(&self, assignment: Assignment, cluster: &Cluster) -> BTreeSet<TopicPartition> {
        let named = assignment.topic_partitions.into_iter().filter_map(|topic| {
            let name = cluster.topic_ids.get(&topic.topic_id)?.clone();
            Some((name, topic.partitions))
        });
        let of_topic = |(name, numbers): (String, Vec<i32>)| {
            numbers.into_iter().map(move |number| TopicPartition::new(&name, number)).collect::<Vec<_>>()
        };
        named.flat_map(of_topic).collect()
    }

    fn give_up(&mut self, partition: &TopicPartition, ctx: &mut Ctx<'_>) {
        let now = ctx.core.now();
        if let Some(number) = self.owned.remove(partition) {
            ctx.core.history.new_group.held[number].until = Some(now);
        }
    }

    fn give_up_all(&mut self, ctx: &mut Ctx<'_>) {
        for partition in self.owned.keys().cloned().collect::<Vec<_>>() {
            self.give_up(&partition, ctx);
        }
        self.starting.clear();
    }

    /// Joins again, as another.
    fn start_anew(&mut self) {
        (self.epoch, self.must_tell) = (0, true);
        self.member_id.clear();
    }

    fn offsets(&mut self, frame: &Bytes, asked: Micros, ctx: &mut Ctx<'_>) {
        let Some(response) = decode::<OffsetFetchRequest>(frame, 9, ctx) else { return };
        let answered = ctx.core.now();
        let mut problem = 0;
        for group in response.groups {
            problem = if group.error_code == 0 { problem } else { group.error_code };
            let take = |partition, offset: i64| {
                if self.starting.contains(&partition) {
                    self.positions.insert(partition, offset.max(0));
                }
            };
            let of_partitions = OF.offsets_seen(group::of_group(group.topics), asked, ctx, take);
            problem = if of_partitions == 0 { problem } else { of_partitions };
        }
        if problem != 0 {
            return self.failed(problem, ctx);
        }
        for partition in std::mem::take(&mut self.starting) {
            let held = &mut ctx.core.history.new_group.held;
            self.owned.insert(partition.clone(), held.len());
            held.push(Held { member: self.member_id.clone(), partition, from: answered, until: None });
        }
    }

    fn committed(&mut self, frame: &Bytes, numbers: &[usize], ctx: &mut Ctx<'_>) {
        let Some(problem) = OF.committed(frame, numbers, ctx) else { return };
        self.commits += u64::from(problem == 0 && !numbers.is_empty());
        self.failed(problem, ctx);
    }

    /// Does what a client does about an error; nothing if it is none.
    fn failed(&mut self, code: i16, ctx: &mut Ctx<'_>) {
        match ErrorCode::from_code(code) {
            Some(ErrorCode::None) => return,
            Some(ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch) => {
                self.give_up_all(ctx);
                self.start_anew();
            }
            // The next heartbeat tells the epoch.
            Some(ErrorCode::StaleMemberEpoch) => self.heartbeat_at = ctx.now().mono,
            Some(ErrorCode::CoordinatorLoadInProgress) => {}
            // A broker that has just started does not know yet that all others speak the protocol.
            Some(ErrorCode::UnsupportedVersion) => self.coordinator = None,
            Some(error) if error.is_retriable() => self.coordinator = None,
            error => ctx.violation(format!("a member of a group of the new protocol gets {error:?} ({code})")),
        }
        self.not_before = ctx.now().mono + RETRY_MS;
    }
}
