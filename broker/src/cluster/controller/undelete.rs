//! Deleted topics that can be brought back: remembered in ZooKeeper when the last of their nodes are about to go, brought
//! back on request with all of them, forgotten when their time is over. The files are the brokers' to keep.

use super::admin::AdminError;
use super::reign::{Question, Reign};
use crate::cluster::configs::Settings;
use crate::cluster::json::{PartitionState, decode_config, encode_id};
use crate::cluster::kept::{KeptPartition, KeptTopic};
use crate::cluster::store::{ANY_VERSION, Ask, ZkResult, children, get};
use crate::cluster::{Io, paths};
use common::time::Millis;
use common::zk::{Request, Response, ZkError};
use std::collections::BTreeMap;
use tracing::{info, warn};
use uuid::Uuid;

/// What is kept, by id, and when it goes.
#[derive(Debug, Default)]
pub(super) struct Kept {
    topics: BTreeMap<Uuid, (Millis, KeptTopic)>,
}

impl Kept {
    /// When the next one goes.
    pub(super) fn deadline(&self) -> Option<Millis> {
        self.topics.values().map(|(due, _)| *due).min()
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &KeptTopic> {
        self.topics.values().map(|(_, topic)| topic)
    }

    /// The one of this name and, if it is given, this id, that was deleted last.
    pub(super) fn find(&self, name: &str, id: Option<Uuid>) -> Option<&KeptTopic> {
        let named = self.all().filter(|topic| topic.name == name && id.is_none_or(|id| id == topic.id));
        named.max_by_key(|topic| topic.deleted_at_ms)
    }

    pub(super) fn forget(&mut self, id: Uuid) {
        self.topics.remove(&id);
    }

    fn insert(&mut self, topic: KeptTopic, io: &Io<'_>) {
        let left_ms = u64::try_from(topic.until_ms.saturating_sub(io.now.wall.0)).unwrap_or(0);
        self.topics.insert(topic.id, (io.now.mono + left_ms, topic));
    }
}

impl Reign {
    pub(super) fn load_kept(&mut self, io: &mut Io<'_>) {
        self.ask(Question::KeptTopics, children(paths::DELETED_TOPICS, false), io);
    }

    pub(super) fn on_kept_topics(&mut self, result: ZkResult, io: &mut Io<'_>) {
        let Ok(Response::GetChildren2 { children, .. } | Response::GetChildren { children }) = result else { return };
        for name in children {
            let path = format!("{}/{name}", paths::DELETED_TOPICS);
            self.ask(Question::KeptTopic(path.clone()), get(path, false), io);
        }
    }

    pub(super) fn on_kept_topic(&mut self, path: &str, result: ZkResult, io: &mut Io<'_>) {
        let Ok(Response::GetData { data, .. }) = result else { return };
        match KeptTopic::decode(&data.unwrap_or_default()) {
            Ok(topic) => self.kept.insert(topic, io),
            Err(problem) => warn!(path, %problem, "a deleted topic cannot be read, and not be brought back"),
        }
    }

    /// All replicas of a topic are gone; before its nodes go it is seen what they say.
    pub(super) fn keep_topic(&mut self, topic: &str, io: &mut Io<'_>) {
        // Every replica was told after the mark was made: none forgets its files before this topic is forgotten.
        self.ask(Question::DeletionTime(topic.to_owned()), get(paths::delete_topic(topic), false), io);
        self.ask(Question::DeletedSettings(topic.to_owned()), get(paths::config("topics", topic), false), io);
    }

    pub(super) fn on_deletion_time(&mut self, topic: &str, result: ZkResult) {
        if let (Ok(Response::GetData { stat, .. }), Some(deletion)) = (result, self.deleting.get_mut(topic)) {
            deletion.marked_at = Some((stat.ctime, stat.czxid));
        }
    }

    pub(super) fn on_deleted_settings(&mut self, topic: &str, result: ZkResult, io: &mut Io<'_>) {
        let settings = match result {
            Ok(Response::GetData { data, .. }) => decode_config(&data.unwrap_or_default()).unwrap_or_default(),
            _ => Settings::new(),
        };
        let Some(kept) = self.kept_of(topic, settings, io) else { return self.remove_nodes(topic, io) };
        for parent in [paths::CASTELLAN, paths::DELETED_TOPICS] {
            let request = io.store.persistent(parent, None);
            io.store.ask(Ask::Nobody, request);
        }
        let create = io.store.persistent(&paths::deleted_topic(&encode_id(kept.id)), Some(kept.encode()));
        let request = self.fenced(vec![create]);
        self.ask(Question::TopicKept(Box::new(kept)), request, io);
    }

    /// `None` if the topic cannot be brought back.
    fn kept_of(&self, topic: &str, settings: Settings, io: &Io<'_>) -> Option<KeptTopic> {
        if settings.get("remote.storage.enable").is_some_and(|text| text.trim().eq_ignore_ascii_case("true")) {
            info!(topic, "what the topic had in the remote store is removed; the topic is gone for good");
            return None;
        }
        let mirror = self.mirror.topics.get(topic)?;
        let (deleted_at_ms, deleted_zxid) = self.deleting.get(topic)?.marked_at?;
        let keeps = |broker: &i32| {
            let known = self.mirror.brokers.get(broker);
            known.is_some_and(|known| known.registration.undelete_ms >= io.config.undelete_ms)
        };
        let partition = |(&number, partition): (&i32, &super::mirror::PartitionMirror)| {
            // One without a state has never had a leader, nor records.
            let state = partition.state.as_ref()?;
            let replicas = partition.assignment.replicas.clone();
            let isr: Vec<i32> = state.isr.iter().copied().filter(keeps).collect();
            let leader = isr.iter().copied().find(|&replica| replica == state.leader).or(isr.first().copied())?;
            Some((number, KeptPartition { replicas, leader, leader_epoch: state.leader_epoch, isr }))
        };
        let Some(partitions) = mirror.partitions.iter().map(partition).collect::<Option<_>>() else {
            warn!(topic, "a partition has no replica that was in sync and keeps its files; the topic is gone for good");
            return None;
        };
        let kept = KeptTopic {
            name: topic.to_owned(),
            id: mirror.id?,
            deleted_at_ms,
            deleted_zxid,
            until_ms: deleted_at_ms.saturating_add(io.config.undelete_ms),
            settings,
            partitions,
        };
        if !kept.fits() {
            warn!(topic, "the topic has too many partitions to be brought back; it is gone for good");
            return None;
        }
        (kept.until_ms > io.now.wall.0).then_some(kept)
    }

    pub(super) fn on_topic_kept(&mut self, kept: KeptTopic, result: ZkResult, io: &mut Io<'_>) {
        let topic = kept.name.clone();
        match self.fenced_outcome(result) {
            Ok(_) | Err((_, ZkError::NodeExists)) => {
                info!(topic, until_ms = kept.until_ms, "the deleted topic can be brought back");
                self.kept.insert(kept, io);
                self.remove_nodes(&topic, io);
            }
            Err(_) if self.is_deposed() => {}
            Err((_, problem)) => {
                warn!(topic, %problem, "a deleted topic could not be remembered; trying again");
                if let Some(deletion) = self.deleting.get_mut(&topic) {
                    deletion.is_removing = false;
                }
                self.retry_later(io);
            }
        }
    }

    pub(super) fn expire_kept(&mut self, io: &mut Io<'_>) {
        let due = self.kept.topics.iter().filter(|(_, (due, _))| *due <= io.now.mono);
        let due: Vec<(Uuid, String)> = due.map(|(&id, (_, topic))| (id, topic.name.clone())).collect();
        for (id, topic) in due {
            info!(topic, id = encode_id(id), "the deleted topic cannot be brought back any more");
            self.kept.forget(id);
            self.delete_fenced(&paths::deleted_topic(&encode_id(id)), Question::Fenced, io);
        }
    }

    /// The topic that is to be brought back.
    pub(super) fn kept_topic(&self, name: &str, id: Option<Uuid>, io: &Io<'_>) -> Result<KeptTopic, AdminError> {
        let kept = self.kept.find(name, id).filter(|topic| topic.until_ms > io.now.wall.0);
        let mut kept = kept.cloned().ok_or_else(|| AdminError::NotKept(name.to_owned()))?;
        for partition in kept.partitions.values_mut() {
            partition.isr.retain(|&broker| !self.has_lost_disk(broker, kept.deleted_zxid));
            if !partition.isr.contains(&partition.leader) {
                let first = partition.isr.first().copied();
                partition.leader = first.ok_or_else(|| AdminError::NothingLeft(name.to_owned()))?;
            }
        }
        Ok(kept)
    }

    /// Were the broker's log directories empty at some time after this?
    fn has_lost_disk(&self, broker: i32, zxid: i64) -> bool {
        let Some(known) = self.mirror.brokers.get(&broker) else { return false };
        known.registration.past.is_some_and(|past| past.kept_since.unwrap_or(known.epoch) > zxid)
    }

    /// Everything below the topic's node as it was, in leader epochs of their own; the node that remembered it goes.
    pub(super) fn restoration(&self, kept: &KeptTopic, io: &Io<'_>) -> Vec<Request> {
        let mut changes = vec![io.store.persistent(&paths::partitions(&kept.name), None)];
        for (&number, partition) in &kept.partitions {
            let state = PartitionState {
                controller_epoch: self.epoch(),
                leader: partition.leader,
                leader_epoch: partition.leader_epoch + 1,
                isr: partition.isr.clone(),
                recovering: false,
                eligibility: None,
            };
            changes.push(io.store.persistent(&paths::partition(&kept.name, number), None));
            changes.push(io.store.persistent(&paths::partition_state(&kept.name, number), Some(state.encode())));
        }
        let path = paths::deleted_topic(&encode_id(kept.id));
        changes.push(Request::Delete { path, version: ANY_VERSION });
        changes
    }
}
