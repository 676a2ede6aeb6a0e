//! Deletion of topics: every broker forgets the topic, every replica deletes its log, then the znodes go. A topic with a
//! replica on a dead broker waits for that broker.

use super::mirror::Tp;
use super::reign::{Question, Reign};
use crate::cluster::store::{ZkResult, children};
use crate::cluster::{Io, paths};
use common::zk::{Response, ZkError};
use std::collections::BTreeSet;
use tracing::{info, warn};

/// A topic on its way out.
///
/// Stopping (replicas are told to delete) -> Removing (all have; the topic is remembered if it can be brought back, then the
/// znodes go) -> gone from the mirror.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Deletion {
    /// Replicas that were told: partition and broker.
    told: BTreeSet<(i32, i32)>,
    /// Replicas whose log is deleted.
    done: BTreeSet<(i32, i32)>,
    /// Replicas that could not be deleted, as on a failed log directory; tried again when their broker is back.
    failed: BTreeSet<(i32, i32)>,
    pub(super) is_removing: bool,
    /// When the mark in `/admin/delete_topics` was made, and its zxid, once it is asked for.
    pub(super) marked_at: Option<(i64, i64)>,
}

impl Deletion {
    /// A broker left: what it was told is to be told again when it returns.
    pub(super) fn broker_gone(&mut self, broker: i32) {
        self.told.retain(|&(_, replica)| replica != broker);
        self.failed.retain(|&(_, replica)| replica != broker);
    }
}

impl Reign {
    /// Acts on the marks in `/admin/delete_topics`.
    pub(super) fn apply_deletion_marks(&mut self, io: &mut Io<'_>) {
        for topic in std::mem::take(&mut self.marked) {
            if !self.mirror.topics.contains_key(&topic) || !io.config.delete_topic_enable {
                warn!(topic, "dropping the mark for deletion: no such topic, or delete.topic.enable is false");
                self.delete_fenced(&paths::delete_topic(&topic), Question::Fenced, io);
            } else {
                self.begin_deletion(&topic);
            }
        }
    }

    /// From here on nobody leads the topic.
    pub(super) fn begin_deletion(&mut self, topic: &str) {
        if !self.mirror.deletions.insert(topic.to_owned()) {
            return;
        }
        info!(topic, "deleting topic");
        self.deleting.insert(topic.to_owned(), Deletion::default());
        let Some(mirror) = self.mirror.topics.get(topic) else { return };
        let partitions: Vec<Tp> = mirror.partitions.keys().map(|&number| (topic.to_owned(), number)).collect();
        for tp in partitions {
            self.tell_metadata(&tp);
            self.wishes.remove(&tp);
            self.dirty.insert(tp);
        }
    }

    pub(super) fn progress_deletions(&mut self, io: &mut Io<'_>) {
        if self.must_wait() {
            return;
        }
        let topics: Vec<String> = self.deleting.keys().cloned().collect();
        for topic in topics {
            self.progress_deletion(&topic, io);
        }
    }

    fn progress_deletion(&mut self, topic: &str, io: &mut Io<'_>) {
        let Some(mirror) = self.mirror.topics.get(topic) else { return };
        let Some(deletion) = self.deleting.get_mut(topic) else { return };
        if deletion.is_removing || mirror.partitions.values().any(|partition| partition.is_busy) {
            return;
        }
        let replicas: BTreeSet<(i32, i32)> = mirror
            .partitions
            .iter()
            .flat_map(|(&number, partition)| {
                partition.assignment.replicas.iter().map(move |&replica| (number, replica))
            })
            .collect();
        for &(number, replica) in replicas.difference(&deletion.told) {
            if let Some(channel) = self.channels.get_mut(&replica) {
                channel.tell_stop((topic.to_owned(), number), true);
            }
        }
        let channels = &self.channels;
        deletion.told.extend(replicas.iter().filter(|(_, replica)| channels.contains_key(replica)));
        if replicas.is_subset(&deletion.done) {
            deletion.is_removing = true;
            match io.config.undelete_ms > 0 {
                true => self.keep_topic(topic, io),
                false => self.remove_nodes(topic, io),
            }
        }
    }

    /// Asks which nodes there are, to delete them.
    pub(super) fn remove_nodes(&mut self, topic: &str, io: &mut Io<'_>) {
        let request = children(paths::partitions(topic), false);
        self.ask(Question::DeletionChildren(topic.to_owned()), request, io);
    }

    pub(super) fn replica_deleted(&mut self, broker: i32, tp: &Tp) {
        if let Some(deletion) = self.deleting.get_mut(&tp.0) {
            deletion.done.insert((tp.1, broker));
        }
    }

    /// The broker could not delete it; it is asked again when it comes back.
    pub(super) fn replica_not_deleted(&mut self, broker: i32, tp: &Tp, io: &mut Io<'_>) {
        let _ = io;
        warn!(broker, topic = tp.0, partition = tp.1, "a replica could not be deleted");
        if let Some(deletion) = self.deleting.get_mut(&tp.0) {
            deletion.failed.insert((tp.1, broker));
        }
    }

    /// True if a topic being deleted must wait for a dead broker or a failed directory.
    pub(super) fn deletion_is_stuck(&self, topic: &str) -> bool {
        let Some(mirror) = self.mirror.topics.get(topic) else { return false };
        let Some(deletion) = self.deleting.get(topic) else { return false };
        !deletion.failed.is_empty()
            || mirror
                .partitions
                .values()
                .flat_map(|partition| &partition.assignment.replicas)
                .any(|replica| !self.mirror.is_registered(*replica))
    }

    /// All replicas are gone: the nodes go, children before parents, in one stream of requests.
    pub(super) fn on_deletion_children(&mut self, topic: String, result: ZkResult, io: &mut Io<'_>) {
        let names = match result {
            Ok(Response::GetChildren2 { children, .. } | Response::GetChildren { children }) => children,
            _ => Vec::new(),
        };
        let step = |is_last| Question::Deleted { topic: topic.clone(), is_last };
        for name in names {
            let partition = format!("{}/{name}", paths::partitions(&topic));
            self.delete_fenced(&format!("{partition}/state"), step(false), io);
            self.delete_fenced(&partition, step(false), io);
        }
        self.delete_fenced(&paths::partitions(&topic), step(false), io);
        self.delete_fenced(&paths::topic(&topic), step(false), io);
        self.delete_fenced(&paths::config("topics", &topic), step(false), io);
        self.delete_fenced(&paths::delete_topic(&topic), step(true), io);
    }

    pub(super) fn on_deleted(&mut self, topic: String, is_last: bool, result: ZkResult, io: &mut Io<'_>) {
        match self.fenced_outcome(result) {
            Ok(_) | Err((_, ZkError::NoNode)) => {}
            Err((_, problem)) => {
                warn!(topic, %problem, "a node of a deleted topic could not be removed; trying again");
                if let Some(deletion) = self.deleting.get_mut(&topic) {
                    deletion.is_removing = false;
                }
                self.retry_later(io);
            }
        }
        if !is_last {
            return;
        }
        if self.deleting.get(&topic).is_none_or(|deletion| deletion.is_removing) {
            self.topic_gone(&topic);
            self.admin_topic_gone(&topic, io);
        }
    }
}
