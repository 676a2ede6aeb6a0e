//! AlterPartition on the controller (KIP-497, KIP-841): a leader's wish for another ISR is checked against the mirror,
//! written, and answered when it stands in ZooKeeper. Decides no leader.

use super::mirror::{IsrProposal, Tp};
use super::reign::Reign;
use super::writes::{Cause, StateWrite};
use crate::cluster::json::PartitionState;
use crate::cluster::{Io, Waiter};
use std::collections::BTreeMap;
use thiserror::Error;
use tracing::info;
use uuid::Uuid;

/// A topic as a request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicRef {
    /// By name (versions 0 and 1).
    Name(String),
    /// By id.
    Id(Uuid),
}

/// One partition's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrChange {
    /// The topic.
    pub topic: TopicRef,
    /// Partition number.
    pub partition: i32,
    /// The leader epoch the leader knows.
    pub leader_epoch: i32,
    /// The wanted ISR.
    pub isr: Vec<i32>,
    /// Still recovering from an unclean election.
    pub recovering: bool,
    /// The partition epoch the leader knows.
    pub partition_epoch: i32,
}

/// What stands in ZooKeeper now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrState {
    /// Leader, leader epoch, ISR.
    pub state: PartitionState,
    /// Partition epoch.
    pub partition_epoch: i32,
}

/// One partition's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrOutcome {
    /// As asked for.
    pub topic: TopicRef,
    /// Partition number.
    pub partition: i32,
    /// What stands now, or why nothing changed.
    pub outcome: Result<IsrState, AlterPartitionError>,
}

/// Why an ISR does not change.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AlterPartitionError {
    /// This broker is not the controller, or the leader knows of a later one.
    #[error("this broker is not the controller")]
    NotController,
    /// The request comes from an earlier life of the broker, or from an unknown one.
    #[error("the broker's epoch is not the registered one")]
    StaleBrokerEpoch,
    /// There is no topic with this id.
    #[error("unknown topic id")]
    UnknownTopicId,
    /// There is no such partition.
    #[error("unknown partition")]
    UnknownPartition,
    /// The partition has another leader by now.
    #[error("the leader epoch is older than the partition's")]
    FencedLeaderEpoch,
    /// The ISR changed since.
    #[error("the partition epoch is older than the partition's")]
    StalePartitionEpoch,
    /// The recovery state contradicts the ISR or what stands.
    #[error("the recovery state is impossible")]
    BadRecoveryState,
    /// A replica that is not alive would join.
    #[error("a replica of the new ISR is not alive")]
    IneligibleReplica,
}

#[derive(Debug)]
struct IsrRequest {
    topics: BTreeMap<Tp, TopicRef>,
    outcomes: Vec<IsrOutcome>,
    done: Waiter<Vec<IsrOutcome>>,
}

/// Requests of leaders that are not yet answered.
#[derive(Debug, Default)]
pub(super) struct IsrRequests {
    open: BTreeMap<u64, IsrRequest>,
}

/// What a proposal comes to.
enum Judgement {
    Answer(Result<IsrState, AlterPartitionError>),
    Write(PartitionState),
}

impl Reign {
    pub(super) fn alter_partitions(
        &mut self,
        (broker, broker_epoch): (i32, i64),
        changes: Vec<IsrChange>,
        done: Waiter<Vec<IsrOutcome>>,
        io: &mut Io<'_>,
    ) -> Result<(), AlterPartitionError> {
        if self.mirror.brokers.get(&broker).is_none_or(|live| live.epoch != broker_epoch) {
            return Err(AlterPartitionError::StaleBrokerEpoch);
        }
        let number = self.next_request();
        let mut request = IsrRequest { topics: BTreeMap::new(), outcomes: Vec::new(), done };
        for change in changes {
            let name = match &change.topic {
                TopicRef::Name(name) => Some(name.clone()),
                TopicRef::Id(id) => self.mirror.names.get(id).cloned(),
            };
            let refused = |problem| IsrOutcome {
                topic: change.topic.clone(),
                partition: change.partition,
                outcome: Err(problem),
            };
            let Some(name) = name else {
                request.outcomes.push(refused(AlterPartitionError::UnknownTopicId));
                continue;
            };
            let tp = (name, change.partition);
            let Some(partition) = self.mirror.partition_mut(&tp) else {
                request.outcomes.push(refused(AlterPartitionError::UnknownPartition));
                continue;
            };
            partition.proposals.push_back(IsrProposal {
                request: number,
                leader: broker,
                leader_epoch: change.leader_epoch,
                isr: change.isr,
                recovering: change.recovering,
                partition_epoch: change.partition_epoch,
            });
            request.topics.insert(tp.clone(), change.topic);
            self.dirty.insert(tp);
        }
        self.isr.open.insert(number, request);
        self.maybe_answer_isr(number, io);
        Ok(())
    }

    /// Takes the oldest proposal of a partition that is not being written; true if it led to a write.
    pub(super) fn try_proposal(&mut self, tp: &Tp, io: &mut Io<'_>) -> bool {
        loop {
            let Some(partition) = self.mirror.partition_mut(tp) else { return false };
            let Some(proposal) = partition.proposals.pop_front() else { return false };
            let request = proposal.request;
            match self.judge_proposal(tp, &proposal) {
                Judgement::Write(state) => {
                    self.decide(tp, state, Cause::Isr { request });
                    return true;
                }
                Judgement::Answer(outcome) => self.isr_outcome(request, tp, outcome, io),
            }
        }
    }

    fn judge_proposal(&self, tp: &Tp, proposal: &IsrProposal) -> Judgement {
        use AlterPartitionError::*;
        let refuse = |problem| Judgement::Answer(Err(problem));
        let Some(partition) = self.mirror.partition(tp) else { return refuse(UnknownPartition) };
        let Some(state) = &partition.state else { return refuse(UnknownPartition) };
        // A leader ahead of us has heard of a controller after us.
        if proposal.partition_epoch > partition.version || proposal.leader_epoch > state.leader_epoch {
            return refuse(NotController);
        }
        if proposal.leader_epoch < state.leader_epoch {
            return refuse(FencedLeaderEpoch);
        }
        let is_as_wanted =
            proposal.leader == state.leader && proposal.isr == state.isr && proposal.recovering == state.recovering;
        if is_as_wanted {
            let partition_epoch = partition.version;
            return Judgement::Answer(Ok(IsrState { state: state.clone(), partition_epoch }));
        }
        if proposal.partition_epoch < partition.version {
            return refuse(StalePartitionEpoch);
        }
        if proposal.recovering && (proposal.isr.len() > 1 || !state.recovering) {
            return refuse(BadRecoveryState);
        }
        if proposal.isr.iter().any(|&replica| !self.mirror.is_live(replica)) {
            info!(topic = tp.0, partition = tp.1, isr = ?proposal.isr, "refused an ISR with a replica that is not alive");
            return refuse(IneligibleReplica);
        }
        Judgement::Write(PartitionState {
            controller_epoch: self.epoch(),
            leader: proposal.leader,
            leader_epoch: proposal.leader_epoch,
            isr: proposal.isr.clone(),
            recovering: proposal.recovering,
            eligibility: None,
        })
    }

    pub(super) fn isr_accepted(&mut self, request: u64, tp: &Tp, io: &mut Io<'_>) {
        let Some(partition) = self.mirror.partition(tp) else { return };
        let Some(state) = partition.state.clone() else { return };
        let partition_epoch = partition.version;
        self.isr_outcome(request, tp, Ok(IsrState { state, partition_epoch }), io);
    }

    /// The state in ZooKeeper had another version. It may be this very write's, if its answer was lost with a connection:
    /// only what stands there can tell, so the proposal waits for the reading and is judged by it. A leader that was told of
    /// a stale epoch in vain would wait for news that nobody sends, and count a dead follower for ever.
    pub(super) fn judge_again(&mut self, request: u64, write: &StateWrite) {
        let Some(partition) = self.mirror.partition_mut(&write.tp) else { return };
        let state = &write.state;
        partition.proposals.push_front(IsrProposal {
            request,
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            isr: state.isr.clone(),
            recovering: state.recovering,
            partition_epoch: write.version.unwrap_or(partition.version),
        });
    }

    /// The topic is being deleted: nothing about it changes any more.
    pub(super) fn drop_proposals(&mut self, tp: &Tp, io: &mut Io<'_>) {
        let Some(partition) = self.mirror.partition_mut(tp) else { return };
        for proposal in std::mem::take(&mut partition.proposals) {
            self.isr_outcome(proposal.request, tp, Err(AlterPartitionError::UnknownPartition), io);
        }
    }

    fn isr_outcome(&mut self, request: u64, tp: &Tp, outcome: Result<IsrState, AlterPartitionError>, io: &mut Io<'_>) {
        let Some(open) = self.isr.open.get_mut(&request) else { return };
        let Some(topic) = open.topics.remove(tp) else { return };
        open.outcomes.push(IsrOutcome { topic, partition: tp.1, outcome });
        self.maybe_answer_isr(request, io);
    }

    fn maybe_answer_isr(&mut self, request: u64, io: &mut Io<'_>) {
        if self.isr.open.get(&request).is_some_and(|open| open.topics.is_empty())
            && let Some(open) = self.isr.open.remove(&request)
        {
            io.answer(open.done, open.outcomes);
        }
    }

    pub(super) fn end_isr_requests(&mut self, io: &mut Io<'_>) {
        for mut open in std::mem::take(&mut self.isr.open).into_values() {
            for (tp, topic) in std::mem::take(&mut open.topics) {
                let outcome = Err(AlterPartitionError::NotController);
                open.outcomes.push(IsrOutcome { topic, partition: tp.1, outcome });
            }
            io.answer(open.done, open.outcomes);
        }
    }
}
