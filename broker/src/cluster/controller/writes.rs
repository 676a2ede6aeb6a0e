//! The controller's writes of partition states: several in one multi, each multi fenced by the controller's epoch, each
//! state by its version. What could not be written is looked at again.

use super::mirror::{Layout, Tp};
use super::reign::{Question, Reign};
use crate::cluster::json::PartitionState;
use crate::cluster::store::{ANY_VERSION, ZkResult, get, set};
use crate::cluster::{Io, paths};
use common::zk::{Request, Response, ZkError};
use std::collections::{BTreeMap, BTreeSet};
use tracing::{debug, info, warn};

/// States in one multi: enough to make a failover of thousands of partitions few transactions, few enough that one
/// conflict makes little work anew and that ZooKeeper's limit on a request (1 MB) is far.
const STATES_PER_MULTI: usize = 64;

/// Why a state is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The controller decided it; the replicas must be told.
    Decision,
    /// A leader asked for another ISR.
    Isr {
        /// The request that is answered.
        request: u64,
    },
}

/// One state to write.
#[derive(Clone, Debug)]
pub(super) struct StateWrite {
    pub(super) tp: Tp,
    pub(super) state: PartitionState,
    /// `None`: there is no state yet.
    pub(super) version: Option<i32>,
    pub(super) cause: Cause,
}

#[derive(Debug, Default)]
pub(super) struct Writes {
    queue: Vec<StateWrite>,
    next_batch: u64,
    batches: BTreeMap<u64, Vec<StateWrite>>,
}

impl Writes {
    pub(super) fn push(&mut self, write: StateWrite) {
        self.queue.push(write);
    }
}

impl Reign {
    /// Sends what is queued.
    pub(super) fn flush_writes(&mut self, io: &mut Io<'_>) {
        let (mut changes, creations): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.writes.queue).into_iter().partition(|write| write.version.is_some());
        // When a broker of thousands of partitions dies, those that it led come before those that only lose a follower.
        let leader = |tp: &Tp| self.mirror.partition(tp).and_then(|partition| Some(partition.state.as_ref()?.leader));
        changes.sort_by_cached_key(|write| leader(&write.tp) == Some(write.state.leader));
        for batch in changes.chunks(STATES_PER_MULTI) {
            let number = self.new_batch(batch.to_vec());
            let ops = batch.iter().map(|write| {
                let version = write.version.unwrap_or(ANY_VERSION);
                set(paths::partition_state(&write.tp.0, write.tp.1), write.state.encode(), version)
            });
            let request = self.fenced(ops.collect());
            self.ask(Question::States(number), request, io);
        }
        let mut by_topic: BTreeMap<String, Vec<StateWrite>> = BTreeMap::new();
        for write in creations {
            by_topic.entry(write.tp.0.clone()).or_default().push(write);
        }
        for (topic, writes) in by_topic {
            for batch in writes.chunks(STATES_PER_MULTI) {
                self.create_states(&topic, batch.to_vec(), io);
            }
        }
    }

    fn new_batch(&mut self, writes: Vec<StateWrite>) -> u64 {
        let number = self.writes.next_batch;
        self.writes.next_batch += 1;
        self.writes.batches.insert(number, writes);
        number
    }

    fn create_states(&mut self, topic: &str, writes: Vec<StateWrite>, io: &mut Io<'_>) {
        let Some(mirror) = self.mirror.topics.get_mut(topic) else { return };
        let layout = mirror.layout;
        if layout == Layout::Bare {
            // The next batch of this topic finds the node there, for requests are done in order.
            mirror.layout = Layout::HasPartitions;
        }
        if layout == Layout::Unknown {
            return self.create_states_one_by_one(topic, writes, io);
        }
        let mut ops = Vec::with_capacity(writes.len() * 2 + 1);
        if layout == Layout::Bare {
            ops.push(io.store.persistent(&paths::partitions(topic), None));
        }
        for write in &writes {
            ops.push(io.store.persistent(&paths::partition(topic, write.tp.1), None));
            let state = Some(write.state.encode());
            ops.push(io.store.persistent(&paths::partition_state(topic, write.tp.1), state));
        }
        let request = self.fenced(ops);
        let number = self.new_batch(writes);
        self.ask(Question::Creation(number), request, io);
    }

    /// Some of the nodes above the states may be there: each is created for itself, and it does not matter if it is there.
    fn create_states_one_by_one(&mut self, topic: &str, writes: Vec<StateWrite>, io: &mut Io<'_>) {
        let parents = std::iter::once(paths::partitions(topic))
            .chain(writes.iter().map(|write| paths::partition(topic, write.tp.1)));
        for path in parents.collect::<Vec<_>>() {
            let request = self.fenced(vec![io.store.persistent(&path, None)]);
            self.ask(Question::Fenced, request, io);
        }
        for write in writes {
            let path = paths::partition_state(topic, write.tp.1);
            let request = self.fenced(vec![io.store.persistent(&path, Some(write.state.encode()))]);
            let number = self.new_batch(vec![write]);
            self.ask(Question::Creation(number), request, io);
        }
    }

    pub(super) fn on_states_written(&mut self, batch: u64, result: ZkResult, io: &mut Io<'_>) {
        let Some(writes) = self.writes.batches.remove(&batch) else { return };
        match self.fenced_outcome(result) {
            Ok(answers) => {
                info!(partitions = writes.len(), "partition states written");
                for (write, answer) in writes.into_iter().zip(answers) {
                    let Response::SetData { stat } = answer else { continue };
                    self.state_written(write, stat.version, Some(stat.mzxid), io);
                }
            }
            Err((at, problem)) => self.states_not_written(writes, at, problem, io),
        }
    }

    pub(super) fn on_states_created(&mut self, batch: u64, result: ZkResult, io: &mut Io<'_>) {
        let Some(writes) = self.writes.batches.remove(&batch) else { return };
        match self.fenced_outcome(result) {
            Ok(_) => {
                info!(partitions = writes.len(), "partition states created");
                for write in writes {
                    self.state_written(write, 0, None, io);
                }
            }
            Err((_, problem)) => {
                let Some(first) = writes.first() else { return };
                let topic = first.tp.0.clone();
                if problem != ZkError::NodeExists {
                    warn!(topic, %problem, "partition states cannot be created");
                    writes.iter().for_each(|write| self.postpone(&write.tp, io));
                    return;
                }
                debug!(topic, "some nodes of the partitions are there already");
                let was_alone = writes.len() == 1;
                let Some(mirror) = self.mirror.topics.get_mut(&topic) else { return };
                let was_unknown = std::mem::replace(&mut mirror.layout, Layout::Unknown) == Layout::Unknown;
                for write in writes {
                    // Alone and still refused: the state itself must be there.
                    self.look_again(&write.tp, was_unknown && was_alone, io);
                }
            }
        }
    }

    /// One write of a batch failed and took the others with it.
    fn states_not_written(&mut self, writes: Vec<StateWrite>, at: usize, problem: ZkError, io: &mut Io<'_>) {
        if self.is_deposed() {
            return;
        }
        // The answer to a first attempt may have been lost with the connection: then all of the batch stands there.
        let may_stand = matches!(problem, ZkError::BadVersion | ZkError::NoNode);
        for (index, write) in writes.into_iter().enumerate() {
            if index != at {
                match write.cause {
                    Cause::Isr { .. } => self.writes.push(write),
                    Cause::Decision => self.look_again(&write.tp, may_stand, io),
                }
                continue;
            }
            if let Cause::Isr { request } = write.cause {
                self.judge_again(request, &write);
            }
            if may_stand {
                info!(topic = write.tp.0, partition = write.tp.1, %problem, "the state was changed by another");
                self.look_again(&write.tp, true, io);
            } else {
                warn!(topic = write.tp.0, partition = write.tp.1, %problem, "the state cannot be written");
                self.postpone(&write.tp, io);
            }
        }
    }

    /// A write failed: the partition is decided anew, if need be after reading what stands there.
    fn look_again(&mut self, tp: &Tp, read: bool, io: &mut Io<'_>) {
        if read {
            self.ask(Question::State(tp.clone()), get(paths::partition_state(&tp.0, tp.1), false), io);
            return;
        }
        if let Some(partition) = self.mirror.partition_mut(tp) {
            partition.is_busy = false;
        }
        self.dirty.insert(tp.clone());
    }

    fn state_written(&mut self, write: StateWrite, version: i32, written_at: Option<i64>, io: &mut Io<'_>) {
        let StateWrite { tp, state, cause, .. } = write;
        let Some(partition) = self.mirror.partition_mut(&tp) else { return };
        partition.is_busy = false;
        partition.version = version;
        partition.written_at = written_at;
        let previous = partition.state.replace(state.clone());
        if state.leader >= 0 && previous.as_ref().is_none_or(|previous| previous.leader != state.leader) {
            io.counters.elections.increment();
            // The eligible are not in sync either, but have all that was acknowledged.
            let is_unclean =
                state.recovering && previous.as_ref().is_some_and(|previous| !previous.isr.contains(&state.leader));
            if is_unclean {
                io.counters.unclean_elections.increment();
            }
        }
        debug!(
            topic = tp.0,
            partition = tp.1,
            leader = state.leader,
            leader_epoch = state.leader_epoch,
            isr = ?state.isr,
            "partition state written"
        );
        match cause {
            Cause::Isr { request } => self.isr_accepted(request, &tp, io),
            Cause::Decision => {
                partition.is_taken_back = false;
                let mut new = BTreeSet::new();
                if previous.is_none() {
                    new.extend(state.isr.iter().copied());
                } else if partition.assignment.is_being_reassigned()
                    && !std::mem::replace(&mut partition.reassignment_begun, true)
                {
                    new.extend(partition.assignment.adding.iter().copied());
                }
                self.maybe_end_reassignment(&tp);
                self.tell_roles(&tp, &new, previous.map(|previous| previous.leader));
                self.election_done(&tp, io);
            }
        }
        self.tell_metadata(&tp);
        self.dirty.insert(tp);
    }

    /// A state was read: while loading, or because a write met another version.
    pub(super) fn on_state(&mut self, tp: Tp, result: ZkResult, io: &mut Io<'_>) {
        let epoch = self.epoch();
        let is_loaded = self.is_loaded();
        let Some(partition) = self.mirror.partition_mut(&tp) else { return };
        partition.is_busy = false;
        match result {
            Ok(Response::GetData { data, stat }) => match PartitionState::decode(&data.unwrap_or_default()) {
                Ok(state) if state.controller_epoch > epoch => {
                    warn!(topic = tp.0, partition = tp.1, "the state was written by a later controller");
                    return self.depose();
                }
                Ok(state) => {
                    partition.state = Some(state);
                    partition.version = stat.version;
                    partition.written_at = Some(stat.mzxid);
                }
                Err(problem) => {
                    warn!(topic = tp.0, partition = tp.1, %problem, "the state of a partition cannot be read");
                    // Nothing can be decided about it.
                    partition.is_busy = true;
                    return;
                }
            },
            Err(ZkError::NoNode) => partition.state = None,
            other => {
                warn!(topic = tp.0, partition = tp.1, ?other, "the state cannot be read");
                return self.postpone(&tp, io);
            }
        }
        if is_loaded {
            self.tell_roles(&tp, &BTreeSet::new(), None);
            self.tell_metadata(&tp);
        }
        self.dirty.insert(tp);
    }

    /// Deletes nodes, each for itself; it does not matter if one is gone.
    pub(super) fn delete_fenced(&mut self, path: &str, question: Question, io: &mut Io<'_>) {
        let request = self.fenced(vec![Request::Delete { path: path.to_owned(), version: ANY_VERSION }]);
        self.ask(question, request, io);
    }
}
