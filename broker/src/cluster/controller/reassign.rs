//! Elections and moves that an operator asks for (KIP-460, KIP-455), by request or by the old nodes under `/admin`.

use super::election::Wish;
use super::mirror::Tp;
use super::reign::{Question, Reign};
use super::topic_writes::TopicChange;
use crate::cluster::assignment::Assignment;
use crate::cluster::{Io, Waiter, paths};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;
use tracing::{info, warn};

/// Which leader is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElectionKind {
    /// The first replica.
    Preferred,
    /// Anyone alive, even out of sync.
    Unclean,
}

/// What an election came to.
pub type ElectionOutcome = Result<(), ElectionError>;

/// Why there was no election.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ElectionError {
    /// The leader is the wanted one already.
    #[error("Leader election not needed for topic partition.")]
    NotNeeded,
    /// There is no such partition.
    #[error("The partition does not exist.")]
    UnknownPartition,
    /// Its topic is going.
    #[error("The topic is being deleted")]
    TopicDeleted,
    /// The first replica is not in sync or not alive.
    #[error("Failed to elect leader for partition {0} under strategy PreferredReplicaPartitionLeaderElectionStrategy")]
    PreferredNotAvailable(String),
    /// No replica is alive.
    #[error("Failed to elect leader for partition {0} under strategy OfflinePartitionLeaderElectionStrategy(true)")]
    NoneAvailable(String),
    /// Another broker is the controller by now.
    #[error("this broker is not the controller any more")]
    NotController,
}

/// Which partitions are to be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moves {
    /// Their new replicas; `None` takes a move back.
    pub wanted: BTreeMap<Tp, Option<Vec<i32>>>,
    /// False: only moves that leave as many replicas as there are (KIP-860).
    pub may_change_factor: bool,
}

/// Why a partition is not moved. The texts are Kafka 3.9's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReassignError {
    /// There is no such partition, or its topic is going.
    #[error("The partition does not exist.")]
    UnknownPartition,
    /// Nothing to take back.
    #[error("No partition reassignment is in progress.")]
    NotInProgress,
    /// No replica.
    #[error("Empty replica list specified in partition reassignment.")]
    Empty,
    /// A broker twice.
    #[error("Duplicate replica ids in partition reassignment replica list: {0}")]
    Duplicate(String),
    /// A negative id.
    #[error("Invalid broker id in replica list: {0}")]
    InvalidBroker(String),
    /// A new replica on a dead broker.
    #[error("Replica assignment has brokers that are not alive. Replica list: {adding}, live broker list: {live}")]
    NotAlive {
        /// Replicas to add.
        adding: String,
        /// Brokers alive.
        live: String,
    },
    /// The move is to leave the number of replicas as it is, and would not. The text is Kafka 4.3's.
    #[error("The replication factor is changed from {from} to {to}")]
    FactorChanges {
        /// Replicas when the last move is over.
        from: usize,
        /// Replicas wanted.
        to: usize,
    },
    /// ZooKeeper refused, or another broker is the controller by now.
    #[error("the assignment could not be written")]
    NotWritten,
}

/// A partition being moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OngoingReassignment {
    /// Topic and partition.
    pub partition: Tp,
    /// Its replicas.
    pub assignment: Assignment,
}

#[derive(Debug)]
struct ElectionWait {
    kind: ElectionKind,
    open: BTreeSet<Tp>,
    outcomes: BTreeMap<Tp, ElectionOutcome>,
    done: Waiter<BTreeMap<Tp, ElectionOutcome>>,
}

#[derive(Debug)]
struct ReassignWait {
    open: BTreeSet<Tp>,
    outcomes: BTreeMap<Tp, Result<(), ReassignError>>,
    done: Waiter<BTreeMap<Tp, Result<(), ReassignError>>>,
}

/// Requests that are not yet answered, and what the old nodes ask for.
#[derive(Debug, Default)]
pub(super) struct Elections {
    elections: BTreeMap<u64, ElectionWait>,
    moves: BTreeMap<u64, ReassignWait>,
    /// Read from `/admin/reassign_partitions` and not yet begun.
    node_wants: BTreeMap<Tp, Vec<i32>>,
    /// Begun for the node, which goes when all are done.
    node_moves: BTreeSet<Tp>,
}

fn scala_list(kind: &str, ids: &[i32]) -> String {
    let ids: Vec<String> = ids.iter().map(i32::to_string).collect();
    format!("{kind}({})", ids.join(", "))
}

impl Reign {
    pub(super) fn elect_leaders(
        &mut self,
        kind: ElectionKind,
        partitions: Option<Vec<Tp>>,
        done: Waiter<BTreeMap<Tp, ElectionOutcome>>,
        io: &mut Io<'_>,
    ) {
        let number = self.next_request();
        let partitions = partitions.unwrap_or_else(|| {
            self.mirror.all_partitions().map(|(topic, number, _)| (topic.to_owned(), number)).collect()
        });
        let mut wait = ElectionWait { kind, open: BTreeSet::new(), outcomes: BTreeMap::new(), done };
        for tp in partitions {
            let problem = self.refuse_election(kind, &tp);
            if let Some(problem) = problem {
                wait.outcomes.insert(tp, Err(problem));
                continue;
            }
            let wish = match kind {
                ElectionKind::Preferred => Wish::Preferred,
                ElectionKind::Unclean => Wish::Unclean,
            };
            self.wishes.insert(tp.clone(), wish);
            self.dirty.insert(tp.clone());
            wait.open.insert(tp);
        }
        self.elections.elections.insert(number, wait);
        self.answer_elections(io);
    }

    fn refuse_election(&self, kind: ElectionKind, tp: &Tp) -> Option<ElectionError> {
        let Some(partition) = self.mirror.partition(tp) else { return Some(ElectionError::UnknownPartition) };
        if self.mirror.deletions.contains(&tp.0) {
            return Some(ElectionError::TopicDeleted);
        }
        let state = partition.state.as_ref()?;
        let is_satisfied = match kind {
            ElectionKind::Preferred => partition.assignment.replicas.first() == Some(&state.leader),
            ElectionKind::Unclean => self.mirror.is_live(state.leader),
        };
        is_satisfied.then_some(ElectionError::NotNeeded)
    }

    /// The wish about a partition is granted or cannot be.
    pub(super) fn election_done(&mut self, tp: &Tp, io: &mut Io<'_>) {
        if self.elections.elections.is_empty() || self.wishes.contains_key(tp) {
            return;
        }
        let Some(partition) = self.mirror.partition(tp) else { return };
        let leader = partition.state.as_ref().map_or(-1, |state| state.leader);
        let is_preferred = partition.assignment.replicas.first() == Some(&leader);
        let name = format!("{}-{}", tp.0, tp.1);
        for wait in self.elections.elections.values_mut() {
            if wait.open.remove(tp) {
                let outcome = match wait.kind {
                    ElectionKind::Preferred if is_preferred => Ok(()),
                    ElectionKind::Preferred => Err(ElectionError::PreferredNotAvailable(name.clone())),
                    ElectionKind::Unclean if leader >= 0 => Ok(()),
                    ElectionKind::Unclean => Err(ElectionError::NoneAvailable(name.clone())),
                };
                wait.outcomes.insert(tp.clone(), outcome);
            }
        }
        self.answer_elections(io);
    }

    fn answer_elections(&mut self, io: &mut Io<'_>) {
        let complete: Vec<u64> = self
            .elections
            .elections
            .iter()
            .filter(|(_, wait)| wait.open.is_empty())
            .map(|(&number, _)| number)
            .collect();
        for number in complete {
            if let Some(wait) = self.elections.elections.remove(&number) {
                io.answer(wait.done, wait.outcomes);
            }
        }
    }

    pub(super) fn reassign(
        &mut self,
        moves: Moves,
        done: Waiter<BTreeMap<Tp, Result<(), ReassignError>>>,
        io: &mut Io<'_>,
    ) {
        let number = self.next_request();
        let mut wait = ReassignWait { open: BTreeSet::new(), outcomes: BTreeMap::new(), done };
        for (tp, target) in moves.wanted {
            match self.resolve_reassignment(&tp, target.as_deref(), moves.may_change_factor) {
                Ok(assignment) => {
                    let change = TopicChange::Reassign { partition: tp.1, assignment, request: Some(number) };
                    self.topic_writes.push(&tp.0, change);
                    wait.open.insert(tp);
                }
                Err(problem) => {
                    wait.outcomes.insert(tp, Err(problem));
                }
            }
        }
        self.elections.moves.insert(number, wait);
        self.answer_moves(io);
    }

    fn resolve_reassignment(
        &self,
        tp: &Tp,
        target: Option<&[i32]>,
        may_change_factor: bool,
    ) -> Result<Assignment, ReassignError> {
        let partition = self.mirror.partition(tp).filter(|_| !self.mirror.deletions.contains(&tp.0));
        let Some(target) = target else {
            let current = &partition.ok_or(ReassignError::NotInProgress)?.assignment;
            if !current.is_being_reassigned() {
                return Err(ReassignError::NotInProgress);
            }
            return Ok(current.reassign_to(&current.origin()));
        };
        if target.is_empty() {
            return Err(ReassignError::Empty);
        }
        if target.iter().collect::<BTreeSet<_>>().len() != target.len() {
            return Err(ReassignError::Duplicate(scala_list("ArrayBuffer", target)));
        }
        if target.iter().any(|&id| id < 0) {
            return Err(ReassignError::InvalidBroker(scala_list("ArrayBuffer", target)));
        }
        let current = &partition.ok_or(ReassignError::UnknownPartition)?.assignment;
        let next = current.reassign_to(target);
        if next.adding.iter().any(|&id| !self.mirror.is_live(id)) {
            let live: Vec<i32> = self.mirror.live_brokers().collect();
            let adding = scala_list("ArrayBuffer", &next.adding);
            return Err(ReassignError::NotAlive { adding, live: scala_list("Set", &live) });
        }
        let from = current.target().len();
        if !may_change_factor && from != target.len() {
            return Err(ReassignError::FactorChanges { from, to: target.len() });
        }
        Ok(next)
    }

    /// Replicas stand in the topic's znode as wanted: the move begins, is replaced or is taken back.
    pub(super) fn reassignment_written(
        &mut self,
        tp: Tp,
        assignment: Assignment,
        request: Option<u64>,
        io: &mut Io<'_>,
    ) {
        if let Some(partition) = self.mirror.partition_mut(&tp) {
            info!(topic = tp.0, partition = tp.1, replicas = ?assignment.replicas, "reassigning");
            let dropped = partition.assignment.replicas.iter().filter(|id| !assignment.replicas.contains(id));
            partition.removed.extend(dropped);
            partition.removed.retain(|id| !assignment.replicas.contains(id));
            partition.reassignment_begun = false;
            partition.is_taken_back = !assignment.is_being_reassigned();
            partition.assignment = assignment;
        }
        self.dirty.insert(tp.clone());
        self.move_outcome(&tp, request, Ok(()), io);
    }

    pub(super) fn reassignment_failed(&mut self, topic: &str, number: i32, request: Option<u64>, io: &mut Io<'_>) {
        let tp = (topic.to_owned(), number);
        self.elections.node_moves.remove(&tp);
        self.move_outcome(&tp, request, Err(ReassignError::NotWritten), io);
    }

    fn move_outcome(&mut self, tp: &Tp, request: Option<u64>, outcome: Result<(), ReassignError>, io: &mut Io<'_>) {
        if let Some(wait) = request.and_then(|request| self.elections.moves.get_mut(&request))
            && wait.open.remove(tp)
        {
            wait.outcomes.insert(tp.clone(), outcome);
        }
        self.answer_moves(io);
    }

    fn answer_moves(&mut self, io: &mut Io<'_>) {
        let complete: Vec<u64> =
            self.elections.moves.iter().filter(|(_, wait)| wait.open.is_empty()).map(|(&number, _)| number).collect();
        for number in complete {
            if let Some(wait) = self.elections.moves.remove(&number) {
                io.answer(wait.done, wait.outcomes);
            }
        }
    }

    /// The state shows that the target replicas, and they alone, are in sync: the move is over. The replicas are told of the
    /// smaller set with the epoch just written; the topic's znode follows.
    pub(super) fn maybe_end_reassignment(&mut self, tp: &Tp) {
        let Some(partition) = self.mirror.partition_mut(tp) else { return };
        if !partition.assignment.is_being_reassigned() {
            return;
        }
        let target = partition.assignment.target();
        let Some(state) = &partition.state else { return };
        let is_over = target.contains(&state.leader)
            && target.iter().all(|replica| state.isr.contains(replica))
            && state.isr.iter().all(|replica| target.contains(replica));
        if !is_over {
            return;
        }
        info!(topic = tp.0, partition = tp.1, replicas = ?target, "reassigned");
        let dropped: Vec<i32> =
            partition.assignment.replicas.iter().copied().filter(|id| !target.contains(id)).collect();
        partition.removed.extend(dropped);
        partition.assignment = Assignment::new(target);
        partition.reassignment_begun = false;
        self.topic_writes.push(&tp.0, TopicChange::Complete { partition: tp.1 });
    }

    /// Replicas that left the assignment are deleted, once neither leader nor ISR needs them.
    pub(super) fn stop_removed_replicas(&mut self, tp: &Tp) {
        let Some(partition) = self.mirror.partition_mut(tp) else { return };
        let Some(state) = &partition.state else { return };
        let free: Vec<i32> =
            partition.removed.iter().copied().filter(|id| state.leader != *id && !state.isr.contains(id)).collect();
        for replica in free {
            partition.removed.remove(&replica);
            if let Some(channel) = self.channels.get_mut(&replica) {
                channel.tell_stop(tp.clone(), true);
            }
        }
    }

    pub(super) fn reassignment_completed(&mut self, topic: &str, number: i32) {
        let tp = (topic.to_owned(), number);
        self.elections.node_moves.remove(&tp);
        self.tell_metadata(&tp);
    }

    pub(super) fn start_reassignments_of_node(&mut self, wanted: BTreeMap<Tp, Vec<i32>>) {
        self.elections.node_wants = wanted;
    }

    /// Begins what the node asks for, and removes the node when all of it is done.
    pub(super) fn progress_node_reassignment(&mut self, io: &mut Io<'_>) {
        let had_moves = !self.elections.node_moves.is_empty();
        let wants = std::mem::take(&mut self.elections.node_wants);
        let had_wants = !wants.is_empty();
        for (tp, target) in wants {
            let is_there = |current: &Assignment| !current.is_being_reassigned() && current.replicas == target;
            if self.mirror.partition(&tp).is_some_and(|partition| is_there(&partition.assignment)) {
                continue;
            }
            match self.resolve_reassignment(&tp, Some(&target), true) {
                Ok(assignment) => {
                    let change = TopicChange::Reassign { partition: tp.1, assignment, request: None };
                    self.topic_writes.push(&tp.0, change);
                    self.elections.node_moves.insert(tp);
                }
                Err(problem) => warn!(topic = tp.0, partition = tp.1, %problem, "not reassigned"),
            }
        }
        let topics = &self.mirror.topics;
        self.elections.node_moves.retain(|(topic, _)| topics.contains_key(topic));
        if (had_moves || had_wants) && self.elections.node_moves.is_empty() {
            self.delete_fenced(paths::REASSIGN_PARTITIONS, Question::Fenced, io);
        }
    }

    pub(super) fn reassignments(&self, of: Option<&[Tp]>) -> Vec<OngoingReassignment> {
        let ongoing = |tp: Tp, assignment: &Assignment| {
            assignment
                .is_being_reassigned()
                .then(|| OngoingReassignment { partition: tp, assignment: assignment.clone() })
        };
        match of {
            Some(partitions) => {
                partitions.iter().filter_map(|tp| ongoing(tp.clone(), &self.mirror.partition(tp)?.assignment)).collect()
            }
            None => self
                .mirror
                .all_partitions()
                .filter_map(|(topic, number, partition)| ongoing((topic.to_owned(), number), &partition.assignment))
                .collect(),
        }
    }

    pub(super) fn end_elections(&mut self, io: &mut Io<'_>) {
        for mut wait in std::mem::take(&mut self.elections.elections).into_values() {
            let open = std::mem::take(&mut wait.open);
            wait.outcomes.extend(open.into_iter().map(|tp| (tp, Err(ElectionError::NotController))));
            io.answer(wait.done, wait.outcomes);
        }
        for mut wait in std::mem::take(&mut self.elections.moves).into_values() {
            let open = std::mem::take(&mut wait.open);
            wait.outcomes.extend(open.into_iter().map(|tp| (tp, Err(ReassignError::NotWritten))));
            io.answer(wait.done, wait.outcomes);
        }
    }
}
