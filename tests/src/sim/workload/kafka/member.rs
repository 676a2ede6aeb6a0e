//! A member of a consumer group (the classic protocol): it joins, shares partitions out if it leads, heartbeats, commits
//! offsets that only grow, falls silent, leaves and comes back. It reads no records.

use super::group::{self, Group};
use super::wire::{Answered, Correlation};
use super::{Cluster, REQUEST_TIMEOUT_MS, RETRY_MS, decode};
use crate::sim::history::Assigned;
use crate::sim::world::{Ctx, Micros};
use bytes::Bytes;
use common::id::TopicPartition;
use common::kafka::error::ErrorCode;
use common::kafka::messages::join_group::JoinGroupRequestProtocol;
use common::kafka::messages::leave_group::MemberIdentity;
use common::kafka::messages::offset_fetch::OffsetFetchRequestTopic;
use common::kafka::messages::sync_group::SyncGroupRequestAssignment;
use common::kafka::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, OffsetFetchRequest, SyncGroupRequest,
};
use common::time::Millis;
use std::collections::{BTreeMap, BTreeSet};

/// All members of the simulation are in this group.
pub const GROUP: &str = "g";

const OF: Group = Group {
    name: GROUP,
    commit_version: 7,
    refusals: &[
        ErrorCode::IllegalGeneration,
        ErrorCode::UnknownMemberId,
        ErrorCode::RebalanceInProgress,
        ErrorCode::CoordinatorLoadInProgress,
    ],
    commits: |history| &mut history.commits,
    offsets: |history| &mut history.offsets,
};

/// The shortest that brokers allow by default.
const SESSION_MS: i32 = 6_000;
/// Members get so long to come back when the group shares its partitions out anew.
const REBALANCE_MS: i32 = 4_000;
const HEARTBEAT_MS: u64 = 500;

/// What was asked last; one request at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ask {
    Coordinator,
    Join,
    Sync,
    /// Where the group stands, to go on from there; or just to look.
    Offsets {
        is_start: bool,
        asked: Micros,
    },
    Heartbeat,
    /// The numbers of the commits in the history.
    Commit(Vec<usize>),
    Leave,
}

/// Joining -> Syncing -> Starting -> Stable; any -> Joining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Joining,
    /// The generation is known, the share is not.
    Syncing,
    /// The share is known, the offsets are not.
    Starting,
    Stable,
}

/// The member.
#[derive(Debug)]
pub struct Member {
    coordinator: Option<String>,
    phase: Phase,
    member_id: String,
    generation: i32,
    /// Everybody in this generation, if this member leads it.
    others: Vec<String>,
    share: BTreeSet<TopicPartition>,
    positions: BTreeMap<TopicPartition, i64>,
    under_way: Option<(Correlation, Ask)>,
    not_before: Millis,
    heartbeat_at: Millis,
    /// Commits acknowledged.
    pub commits: u64,
}

impl Member {
    pub(super) fn new() -> Member {
        Member {
            coordinator: None,
            phase: Phase::Joining,
            member_id: String::new(),
            generation: -1,
            others: Vec::new(),
            share: BTreeSet::new(),
            positions: BTreeMap::new(),
            under_way: None,
            not_before: Millis(0),
            heartbeat_at: Millis(0),
            commits: 0,
        }
    }

    pub(super) fn step(&mut self, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        let now = ctx.now().mono;
        if self.under_way.is_some() || now < self.not_before {
            return;
        }
        let Some(coordinator) = self.coordinator.clone() else {
            self.under_way = Some((OF.find_coordinator(cluster, ctx), Ask::Coordinator));
            return;
        };
        match self.phase {
            Phase::Joining => self.join(&coordinator, cluster, ctx),
            Phase::Syncing => self.sync(&coordinator, cluster, ctx),
            Phase::Starting => self.fetch_offsets(&coordinator, true, cluster, ctx),
            Phase::Stable => match ctx.core.rng.u32(..1000) {
                // Long enough to be thrown out, and to come back as one who does not know it.
                0 => self.not_before = now + ctx.core.rng.u64(3_000..9_000),
                1 => self.leave(&coordinator, cluster, ctx),
                2..20 => self.fetch_offsets(&coordinator, false, cluster, ctx),
                20..120 => self.commit(&coordinator, cluster, ctx),
                _ if now >= self.heartbeat_at => {
                    self.heartbeat_at = now + HEARTBEAT_MS;
                    let request = HeartbeatRequest {
                        group_id: GROUP.to_owned(),
                        generation_id: self.generation,
                        member_id: self.member_id.clone(),
                        ..HeartbeatRequest::default()
                    };
                    let sent = cluster.wire.send(&coordinator, (&request, 4), REQUEST_TIMEOUT_MS, ctx);
                    self.under_way = Some((sent, Ask::Heartbeat));
                }
                _ => {}
            },
        }
    }

    fn join(&mut self, coordinator: &str, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        let request = JoinGroupRequest {
            group_id: GROUP.to_owned(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            member_id: self.member_id.clone(),
            protocol_type: "consumer".to_owned(),
            protocols: vec![JoinGroupRequestProtocol { name: "range".to_owned(), metadata: Bytes::new() }],
            ..JoinGroupRequest::default()
        };
        let timeout_ms = REQUEST_TIMEOUT_MS + 2 * u64::from(REBALANCE_MS.unsigned_abs());
        let sent = cluster.wire.send(coordinator, (&request, 5), timeout_ms, ctx);
        self.under_way = Some((sent, Ask::Join));
    }

    /// The leader gives each member every n-th partition.
    fn sync(&mut self, coordinator: &str, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        let partitions: Vec<TopicPartition> = cluster.topics.partitions().collect();
        let share = |(number, member): (usize, &String)| {
            let own = partitions.iter().skip(number).step_by(self.others.len());
            let text = own.map(|partition| format!("{}:{}", partition.topic, partition.partition)).collect::<Vec<_>>();
            SyncGroupRequestAssignment { member_id: member.clone(), assignment: Bytes::from(text.join(",")) }
        };
        let request = SyncGroupRequest {
            group_id: GROUP.to_owned(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            assignments: self.others.iter().enumerate().map(share).collect(),
            ..SyncGroupRequest::default()
        };
        let timeout_ms = REQUEST_TIMEOUT_MS + u64::from(REBALANCE_MS.unsigned_abs());
        let sent = cluster.wire.send(coordinator, (&request, 3), timeout_ms, ctx);
        self.under_way = Some((sent, Ask::Sync));
    }

    /// All partitions, not only the own ones: what others committed must not go back either.
    fn fetch_offsets(&mut self, coordinator: &str, is_start: bool, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        let topic = |(name, count): &(String, i32)| OffsetFetchRequestTopic {
            name: name.clone(),
            partition_indexes: (0..*count).collect(),
        };
        let topics = Some(cluster.topics.topics.iter().map(topic).collect());
        let request = OffsetFetchRequest { group_id: GROUP.to_owned(), topics, ..OffsetFetchRequest::default() };
        let sent = cluster.wire.send(coordinator, (&request, 5), REQUEST_TIMEOUT_MS, ctx);
        self.under_way = Some((sent, Ask::Offsets { is_start, asked: ctx.core.now() }));
    }

    fn commit(&mut self, coordinator: &str, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        let me = (&*self.member_id, self.generation);
        let (sent, numbers) = OF.commit(me, (self.share.iter(), &mut self.positions), (coordinator, cluster), ctx);
        self.under_way = Some((sent, Ask::Commit(numbers)));
    }

    fn leave(&mut self, coordinator: &str, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        let members = vec![MemberIdentity { member_id: self.member_id.clone(), ..MemberIdentity::default() }];
        let request = LeaveGroupRequest { group_id: GROUP.to_owned(), members, ..LeaveGroupRequest::default() };
        let sent = cluster.wire.send(coordinator, (&request, 3), REQUEST_TIMEOUT_MS, ctx);
        self.under_way = Some((sent, Ask::Leave));
    }

    pub(super) fn answered(&mut self, (correlation, frame): Answered, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        let Some((_, ask)) = self.under_way.take_if(|(asked, _)| *asked == correlation) else { return };
        let Some(frame) = frame else {
            // Nobody knows what became of it, and perhaps another broker is the coordinator now.
            self.coordinator = None;
            self.not_before = ctx.now().mono + RETRY_MS;
            return;
        };
        match ask {
            Ask::Coordinator => match Group::coordinator(&frame, ctx) {
                Some(Ok(address)) => self.coordinator = Some(address),
                Some(Err(code)) => self.failed(code, ctx),
                None => {}
            },
            Ask::Join => {
                let Some(response) = decode::<JoinGroupRequest>(&frame, 5, ctx) else { return };
                self.joined(response, ctx);
            }
            Ask::Sync => self.synced(&frame, cluster, ctx),
            Ask::Offsets { is_start, asked } => self.offsets(&frame, (is_start, asked), ctx),
            Ask::Heartbeat => {
                let Some(response) = decode::<HeartbeatRequest>(&frame, 4, ctx) else { return };
                self.failed(response.error_code, ctx);
            }
            Ask::Commit(numbers) => self.committed(&frame, &numbers, ctx),
            Ask::Leave => {
                self.rejoin(true);
                self.not_before = ctx.now().mono + ctx.core.rng.u64(10..3_000);
            }
        }
    }

    fn rejoin(&mut self, as_new: bool) {
        self.phase = Phase::Joining;
        self.share.clear();
        if as_new {
            self.member_id.clear();
        }
    }

    fn joined(&mut self, response: JoinGroupResponse, ctx: &mut Ctx<'_>) {
        if response.error_code == ErrorCode::MemberIdRequired.code() {
            self.member_id = response.member_id;
            return;
        }
        if response.error_code != 0 {
            return self.failed(response.error_code, ctx);
        }
        self.member_id = response.member_id;
        self.generation = response.generation_id;
        self.others = response.members.into_iter().map(|member| member.member_id).collect();
        self.phase = Phase::Syncing;
    }

    fn synced(&mut self, frame: &Bytes, cluster: &Cluster, ctx: &mut Ctx<'_>) {
        let Some(response) = decode::<SyncGroupRequest>(frame, 3, ctx) else { return };
        if response.error_code != 0 {
            return self.failed(response.error_code, ctx);
        }
        let text = String::from_utf8_lossy(&response.assignment).into_owned();
        let named: BTreeSet<&str> = text.split(',').collect();
        let is_named =
            |partition: &TopicPartition| named.contains(&*format!("{}:{}", partition.topic, partition.partition));
        self.share = cluster.topics.partitions().filter(is_named).collect();
        self.phase = Phase::Starting;
        let at = ctx.core.now();
        ctx.core.history.assigned.push(Assigned {
            member: self.member_id.clone(),
            generation: self.generation,
            partitions: self.share.clone(),
            at,
        });
    }

    fn offsets(&mut self, frame: &Bytes, (is_start, asked): (bool, Micros), ctx: &mut Ctx<'_>) {
        let Some(response) = decode::<OffsetFetchRequest>(frame, 5, ctx) else { return };
        let take = |partition, offset: i64| {
            if is_start {
                self.positions.insert(partition, offset.max(0));
            }
        };
        let of_partitions = OF.offsets_seen(group::of_topics(response.topics), asked, ctx, take);
        let problem = if of_partitions == 0 { response.error_code } else { of_partitions };
        if problem != 0 {
            return self.failed(problem, ctx);
        }
        if is_start {
            self.phase = Phase::Stable;
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
            Some(ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId) => self.rejoin(true),
            Some(ErrorCode::RebalanceInProgress) => self.rejoin(false),
            Some(ErrorCode::CoordinatorLoadInProgress) => {}
            Some(error) if error.is_retriable() => self.coordinator = None,
            error => ctx.violation(format!("a member of a group gets {error:?} ({code})")),
        }
        self.not_before = ctx.now().mono + RETRY_MS;
    }
}
