//! What members of groups of either protocol do in the same way: they ask for their group's coordinator, commit offsets that
//! only grow, and note what they hear. Knows nothing of joining and of shares.

use super::{Cluster, REQUEST_TIMEOUT_MS, decode, wire::Correlation};
use crate::sim::history::{Commit, CommitOutcome, History, OffsetSeen};
use crate::sim::world::{Ctx, Micros};
use bytes::Bytes;
use common::id::TopicPartition;
use common::kafka::error::ErrorCode;
use common::kafka::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use common::kafka::messages::offset_fetch::{OffsetFetchResponseTopic, OffsetFetchResponseTopics};
use common::kafka::messages::{FindCoordinatorRequest, OffsetCommitRequest};
use std::collections::BTreeMap;

/// A group, and what the members' protocol decides.
pub(super) struct Group {
    /// Its name.
    pub(super) name: &'static str,
    /// Version in which its members commit.
    pub(super) commit_version: i16,
    /// Errors after which a commit is known not to be there.
    pub(super) refusals: &'static [ErrorCode],
    /// Where its commits are noted.
    pub(super) commits: fn(&mut History) -> &mut Vec<Commit>,
    /// Where the offsets that its members read are noted.
    pub(super) offsets: fn(&mut History) -> &mut Vec<OffsetSeen>,
}

/// A partition with its committed offset, or the error instead.
type Found = (TopicPartition, Result<i64, i16>);

impl Group {
    /// Asks any broker for the coordinator.
    pub(super) fn find_coordinator(&self, cluster: &mut Cluster, ctx: &mut Ctx<'_>) -> Correlation {
        let request = FindCoordinatorRequest { key: self.name.to_owned(), ..FindCoordinatorRequest::default() };
        let address = cluster.any(ctx);
        cluster.wire.send(&address, (&request, 3), REQUEST_TIMEOUT_MS, ctx)
    }

    /// The coordinator's address, or an error's code.
    pub(super) fn coordinator(frame: &Bytes, ctx: &mut Ctx<'_>) -> Option<Result<String, i16>> {
        let response = decode::<FindCoordinatorRequest>(frame, 3, ctx)?;
        Some(match response.error_code {
            0 => Ok(format!("{}:{}", response.host, response.port)),
            code => Err(code),
        })
    }

    /// Moves each position on and commits it as `member` of `generation`. Gives the commits' numbers in the history, too.
    pub(super) fn commit<'a>(
        &self,
        (member, generation): (&str, i32),
        (partitions, positions): (impl Iterator<Item = &'a TopicPartition>, &mut BTreeMap<TopicPartition, i64>),
        (coordinator, cluster): (&str, &mut Cluster),
        ctx: &mut Ctx<'_>,
    ) -> (Correlation, Vec<usize>) {
        let asked = ctx.core.now();
        let (mut topics, mut numbers) = (BTreeMap::<String, Vec<_>>::new(), Vec::new());
        for partition in partitions {
            let position = positions.entry(partition.clone()).or_insert(0);
            *position += ctx.core.rng.i64(1..5);
            let commit = OffsetCommitRequestPartition {
                partition_index: partition.partition,
                committed_offset: *position,
                ..Default::default()
            };
            topics.entry(partition.topic.clone()).or_default().push(commit);
            let commits = (self.commits)(&mut ctx.core.history);
            numbers.push(commits.len());
            commits.push(Commit {
                member: member.to_owned(),
                generation,
                partition: partition.clone(),
                offset: *position,
                asked,
                answered: None,
                outcome: CommitOutcome::Unknown,
            });
        }
        let topic = |(name, partitions)| OffsetCommitRequestTopic { name, partitions, ..Default::default() };
        let request = OffsetCommitRequest {
            group_id: self.name.to_owned(),
            generation_id_or_member_epoch: generation,
            member_id: member.to_owned(),
            topics: topics.into_iter().map(topic).collect(),
            ..OffsetCommitRequest::default()
        };
        let sent = cluster.wire.send(coordinator, (&request, self.commit_version), 2 * REQUEST_TIMEOUT_MS, ctx);
        (sent, numbers)
    }

    /// Notes what became of commits. Gives the last error's code, or 0.
    pub(super) fn committed(&self, frame: &Bytes, numbers: &[usize], ctx: &mut Ctx<'_>) -> Option<i16> {
        let response = decode::<OffsetCommitRequest>(frame, self.commit_version, ctx)?;
        let now = ctx.core.now();
        let mut codes = BTreeMap::new();
        for topic in response.topics {
            for partition in topic.partitions {
                codes.insert(TopicPartition::new(topic.name.clone(), partition.partition_index), partition.error_code);
            }
        }
        let mut problem = 0;
        for number in numbers {
            let commit = &mut (self.commits)(&mut ctx.core.history)[*number];
            commit.answered = Some(now);
            let code = codes.get(&commit.partition).copied().unwrap_or(-1);
            commit.outcome = match ErrorCode::from_code(code) {
                Some(ErrorCode::None) => CommitOutcome::Done,
                Some(error) if self.refusals.contains(&error) => CommitOutcome::Refused,
                // Appended, perhaps, and not replicated in time.
                _ => CommitOutcome::Unknown,
            };
            problem = if code == 0 { problem } else { code };
        }
        Some(problem)
    }

    /// Notes committed offsets that were asked for at `asked` and hands each to `take`. Gives the last error's code, or 0.
    pub(super) fn offsets_seen(
        &self,
        found: impl Iterator<Item = Found>,
        asked: Micros,
        ctx: &mut Ctx<'_>,
        mut take: impl FnMut(TopicPartition, i64),
    ) -> i16 {
        let answered = ctx.core.now();
        let mut problem = 0;
        for (partition, outcome) in found {
            match outcome {
                Ok(offset) => {
                    let seen = OffsetSeen { partition: partition.clone(), offset, asked, answered };
                    (self.offsets)(&mut ctx.core.history).push(seen);
                    take(partition, offset);
                }
                Err(code) => problem = code,
            }
        }
        problem
    }
}

fn found(topic: String, index: i32, code: i16, offset: i64) -> Found {
    (TopicPartition::new(topic, index), if code == 0 { Ok(offset) } else { Err(code) })
}

/// What an answer for one group tells, as versions before 8 do.
pub(super) fn of_topics(topics: Vec<OffsetFetchResponseTopic>) -> impl Iterator<Item = Found> {
    topics.into_iter().flat_map(|topic| {
        let of = move |one: common::kafka::messages::offset_fetch::OffsetFetchResponsePartition| {
            found(topic.name.clone(), one.partition_index, one.error_code, one.committed_offset)
        };
        topic.partitions.into_iter().map(of)
    })
}

/// What an answer tells of a group, from version 8 on.
pub(super) fn of_group(topics: Vec<OffsetFetchResponseTopics>) -> impl Iterator<Item = Found> {
    topics.into_iter().flat_map(|topic| {
        let of = move |one: common::kafka::messages::offset_fetch::OffsetFetchResponsePartitions| {
            found(topic.name.clone(), one.partition_index, one.error_code, one.committed_offset)
        };
        topic.partitions.into_iter().map(of)
    })
}
