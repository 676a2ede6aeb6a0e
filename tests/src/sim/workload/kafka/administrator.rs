//! An administrator: has partitions moved to other brokers, changes its mind, takes a move back, and has preferred leaders
//! elected. Told to fall silent, it asks once more for each partition, until that is granted; then the cluster must get there.

use super::wire::{Answered, Correlation};
use super::{Cluster, REQUEST_TIMEOUT_MS, RETRY_MS, decode};
use crate::sim::world::Ctx;
use common::id::TopicPartition;
use common::kafka::error::ErrorCode;
use common::kafka::messages::alter_partition_reassignments::{ReassignablePartition, ReassignableTopic};
use common::kafka::messages::elect_leaders::TopicPartitions;
use common::kafka::messages::{AlterPartitionReassignmentsRequest, ElectLeadersRequest};
use common::time::Millis;
use std::collections::VecDeque;

/// Pause between two wishes, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 300..4_000;

/// What was asked last; one request at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ask {
    /// These replicas; to take a move back if there are none.
    Move(TopicPartition, Option<Vec<i32>>),
    /// The preferred leader of every partition.
    Elect,
}

/// The administrator.
#[derive(Debug)]
pub struct Administrator {
    wish: Option<Ask>,
    under_way: Option<Correlation>,
    not_before: Millis,
    /// What is left to be asked for at last; set when it is to fall silent.
    last: Option<VecDeque<TopicPartition>>,
    elect_version: i16,
}

impl Administrator {
    pub(super) fn new(ctx: &mut Ctx<'_>) -> Administrator {
        let not_before = ctx.now().mono + 3_000;
        let elect_version = ctx.core.rng.i16(0..=2);
        Administrator { wish: None, under_way: None, not_before, last: None, elect_version }
    }

    pub(super) fn fall_silent(&mut self, cluster: &Cluster) {
        if self.last.is_none() {
            self.last = Some(cluster.topics.partitions().collect());
        }
    }

    /// True if all that was asked for at last is granted.
    pub(super) fn is_done(&self) -> bool {
        self.last.as_ref().is_some_and(VecDeque::is_empty) && self.wish.is_none()
    }

    pub(super) fn step(&mut self, cluster: &mut Cluster, ctx: &mut Ctx<'_>) {
        if self.under_way.is_some() || ctx.now().mono < self.not_before {
            return;
        }
        if self.wish.is_none() {
            self.wish = self.next_wish(cluster, ctx);
        }
        let Some(wish) = self.wish.clone() else { return };
        // Only the controller grants it; whoever is not says so.
        let address = cluster.any(ctx);
        let timeout_ms = 2 * REQUEST_TIMEOUT_MS;
        self.under_way = Some(match wish {
            Ask::Elect => {
                let partition = |(topic, count): &(String, i32)| TopicPartitions {
                    topic: topic.clone(),
                    partitions: (0..*count).collect(),
                };
                let request = ElectLeadersRequest {
                    topic_partitions: Some(cluster.topics.topics.iter().map(partition).collect()),
                    timeout_ms: REQUEST_TIMEOUT_MS as i32,
                    ..ElectLeadersRequest::default()
                };
                cluster.wire.send(&address, (&request, self.elect_version), timeout_ms, ctx)
            }
            Ask::Move(partition, replicas) => {
                let of_partition = ReassignablePartition { partition_index: partition.partition, replicas };
                let topic = ReassignableTopic { name: partition.topic, partitions: vec![of_partition] };
                let request = AlterPartitionReassignmentsRequest {
                    timeout_ms: REQUEST_TIMEOUT_MS as i32,
                    topics: vec![topic],
                    ..AlterPartitionReassignmentsRequest::default()
                };
                cluster.wire.send(&address, (&request, 0), timeout_ms, ctx)
            }
        });
    }

    fn next_wish(&mut self, cluster: &Cluster, ctx: &mut Ctx<'_>) -> Option<Ask> {
        let rng = &mut ctx.core.rng;
        let partition = match &self.last {
            Some(left) => left.front().cloned()?,
            None => {
                let partitions: Vec<TopicPartition> = cluster.topics.partitions().collect();
                partitions[rng.usize(..partitions.len())].clone()
            }
        };
        let count = i32::try_from(cluster.bootstrap.len()).unwrap_or(1);
        let mut replicas: Vec<i32> = (1..=count).collect();
        rng.shuffle(&mut replicas);
        replicas.truncate(usize::try_from(cluster.topics.replication_factor).unwrap_or(1));
        let wish = match rng.u32(..10) {
            _ if self.last.is_some() => Ask::Move(partition, Some(replicas)),
            0 | 1 => Ask::Elect,
            2 | 3 => Ask::Move(partition, None),
            _ => Ask::Move(partition, Some(replicas)),
        };
        ctx.tell(|| format!("asks for {wish:?}"));
        Some(wish)
    }

    pub(super) fn answered(&mut self, (correlation, frame): Answered, ctx: &mut Ctx<'_>) {
        if self.under_way.take_if(|asked| *asked == correlation).is_none() {
            return;
        }
        self.not_before = ctx.now().mono + RETRY_MS;
        let Some(frame) = frame else { return };
        let code = match &self.wish {
            Some(Ask::Elect) => {
                // Each partition has an outcome of its own, and none of them is a promise.
                if decode::<ElectLeadersRequest>(&frame, self.elect_version, ctx).is_none() {
                    return;
                }
                0
            }
            _ => {
                let Some(response) = decode::<AlterPartitionReassignmentsRequest>(&frame, 0, ctx) else { return };
                let topic = response.responses.first().and_then(|topic| topic.partitions.first());
                if response.error_code == 0 { topic.map_or(0, |found| found.error_code) } else { response.error_code }
            }
        };
        let (wish, is_last) = (self.wish.take(), self.last.is_some());
        match ErrorCode::from_code(code) {
            Some(ErrorCode::None) => {
                if let (Some(Ask::Move(partition, Some(replicas))), Some(left)) = (wish, &mut self.last) {
                    // What it had asked for before it was to fall silent is not the last word.
                    if left.front() == Some(&partition) {
                        left.pop_front();
                        ctx.core.history.replicas.insert(partition, replicas);
                    }
                }
            }
            Some(ErrorCode::NoReassignmentInProgress) => {}
            // The last word is said until it is heard; of others it may think better. A broker that is away gets no replica.
            Some(error) if error.is_retriable() || error == ErrorCode::NotController => {
                if ctx.core.rng.u32(..3) != 0 {
                    self.wish = wish;
                }
                return;
            }
            Some(ErrorCode::InvalidReplicaAssignment) => return,
            error => ctx.violation(format!("an administrator gets {error:?} ({code}) for {wish:?}")),
        }
        if !is_last {
            self.not_before = ctx.now().mono + ctx.core.rng.u64(PAUSE_MS);
        }
    }
}
