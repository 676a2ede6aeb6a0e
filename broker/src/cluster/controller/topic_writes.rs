//! The controller's changes of topic znodes: more partitions, the start and end of a reassignment, an id for an old topic.
//! One write of a topic is on its way at a time; changes that come meanwhile go together with the next.

use super::mirror::Layout;
use super::reign::{Question, Reign};
use crate::cluster::assignment::Assignment;
use crate::cluster::json::{TopicRecord, random_id};
use crate::cluster::store::{ZkResult, get, set};
use crate::cluster::{Io, paths};
use common::zk::{Response, ZkError};
use std::collections::{BTreeMap, BTreeSet};
use tracing::{info, warn};
use uuid::Uuid;

/// One change of a topic's record.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TopicChange {
    /// More partitions; answered to this request.
    Grow { partitions: BTreeMap<i32, Vec<i32>>, request: u64 },
    /// The replicas of a partition, at the start or the cancelling of a reassignment.
    Reassign { partition: i32, assignment: Assignment, request: Option<u64> },
    /// The end of a reassignment.
    Complete { partition: i32 },
    /// An id for a topic from before 2.8.
    GiveId(Uuid),
}

#[derive(Debug, Default)]
struct Pending {
    queued: Vec<TopicChange>,
    writing: Vec<TopicChange>,
}

#[derive(Debug, Default)]
pub(super) struct TopicWrites {
    pending: BTreeMap<String, Pending>,
}

impl TopicWrites {
    pub(super) fn push(&mut self, topic: &str, change: TopicChange) {
        let pending = self.pending.entry(topic.to_owned()).or_default();
        if !pending.queued.contains(&change) && !pending.writing.contains(&change) {
            pending.queued.push(change);
        }
    }

    /// A topic that is no more has no changes. Requests that wait are answered when their time is over.
    pub(super) fn forget(&mut self, topic: &str) {
        self.pending.remove(topic);
    }
}

impl Reign {
    pub(super) fn give_id(&mut self, topic: String, io: &mut Io<'_>) {
        let id = random_id(io.rng);
        self.topic_writes.push(&topic, TopicChange::GiveId(id));
    }

    pub(super) fn progress_topic_writes(&mut self, io: &mut Io<'_>) {
        let topics: Vec<String> = self.topic_writes.pending.keys().cloned().collect();
        for topic in topics {
            let Some(mirror) = self.mirror.topics.get(&topic) else {
                self.topic_writes.pending.remove(&topic);
                continue;
            };
            let Some(pending) = self.topic_writes.pending.get_mut(&topic) else { continue };
            if !pending.writing.is_empty() {
                continue;
            }
            if pending.queued.is_empty() {
                self.topic_writes.pending.remove(&topic);
                continue;
            }
            pending.writing = std::mem::take(&mut pending.queued);
            let mut record = mirror.record();
            for change in &pending.writing {
                apply(&mut record, change);
            }
            let change = set(paths::topic(&topic), record.encode(), mirror.version);
            let request = self.fenced(vec![change]);
            self.ask(Question::TopicWrite(topic), request, io);
        }
    }

    pub(super) fn on_topic_written(&mut self, topic: String, result: ZkResult, io: &mut Io<'_>) {
        let outcome = self.fenced_outcome(result);
        let is_deposed = self.is_deposed();
        let Some(pending) = self.topic_writes.pending.get_mut(&topic) else { return };
        let changes = std::mem::take(&mut pending.writing);
        match outcome {
            Ok(answers) => {
                if let (Some(Response::SetData { stat }), Some(mirror)) =
                    (answers.first(), self.mirror.topics.get_mut(&topic))
                {
                    mirror.version = stat.version;
                }
                for change in changes {
                    self.topic_changed(&topic, change, io);
                }
            }
            Err((_, ZkError::BadVersion)) if !is_deposed => {
                info!(topic, "the assignment was changed by another; reading it again");
                pending.queued.splice(0..0, changes);
                self.ask(Question::Topic(topic.clone()), get(paths::topic(&topic), true), io);
            }
            Err((_, problem)) => {
                warn!(topic, %problem, "the assignment could not be written");
                for change in changes {
                    self.topic_change_failed(&topic, change, io);
                }
            }
        }
    }

    /// The change stands in ZooKeeper: it holds.
    fn topic_changed(&mut self, topic: &str, change: TopicChange, io: &mut Io<'_>) {
        let Some(mirror) = self.mirror.topics.get_mut(topic) else { return };
        match change {
            TopicChange::Grow { partitions, request } => {
                if mirror.layout == Layout::Bare {
                    mirror.layout = Layout::HasPartitions;
                }
                let numbers: BTreeSet<i32> = partitions.keys().copied().collect();
                for (number, replicas) in partitions {
                    mirror.partitions.entry(number).or_default().assignment = Assignment::new(replicas);
                    self.dirty.insert((topic.to_owned(), number));
                }
                self.topic_grown(request, topic, numbers, io);
            }
            TopicChange::Reassign { partition, assignment, request } => {
                self.reassignment_written((topic.to_owned(), partition), assignment, request, io);
            }
            TopicChange::Complete { partition } => self.reassignment_completed(topic, partition),
            TopicChange::GiveId(id) => {
                mirror.id = Some(id);
                self.mirror.names.insert(id, topic.to_owned());
                let numbers: Vec<i32> = self.mirror.topics[topic].partitions.keys().copied().collect();
                for number in numbers {
                    let tp = (topic.to_owned(), number);
                    self.tell_roles(&tp, &BTreeSet::new(), None);
                    self.tell_metadata(&tp);
                }
            }
        }
    }

    fn topic_change_failed(&mut self, topic: &str, change: TopicChange, io: &mut Io<'_>) {
        match change {
            TopicChange::Grow { request, .. } => self.topic_not_grown(request, topic, io),
            TopicChange::Reassign { partition, request, .. } => self.reassignment_failed(topic, partition, request, io),
            TopicChange::Complete { .. } | TopicChange::GiveId(_) => {}
        }
    }
}

fn apply(record: &mut TopicRecord, change: &TopicChange) {
    match change {
        TopicChange::Grow { partitions, .. } => {
            for (&number, replicas) in partitions {
                record.partitions.entry(number).or_insert_with(|| Assignment::new(replicas.clone()));
            }
        }
        TopicChange::Reassign { partition, assignment, .. } => {
            record.partitions.insert(*partition, assignment.clone());
        }
        TopicChange::Complete { partition } => {
            if let Some(assignment) = record.partitions.get_mut(partition) {
                *assignment = Assignment::new(assignment.target());
            }
        }
        TopicChange::GiveId(id) => record.topic_id = record.topic_id.or(Some(*id)),
    }
}
