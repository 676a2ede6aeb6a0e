//! Keeps the mirror true: reads everything at the start of a reign, then what the watches point at. Every reading sets its
//! watch again, so nothing is missed between.

use super::mirror::{LiveBroker, Tp};
use super::notify::Channel;
use super::reign::{Question, Reign};
use crate::cluster::json::{
    BrokerRegistration, FeatureRecord, TopicRecord, decode_log_dir_event, decode_partitions, decode_reassignment,
};
use crate::cluster::store::{Ask, ZkResult, children, exists, get, set};
use crate::cluster::{Io, paths};
use common::zk::{EventType, Response, WatcherEvent, ZkError};
use std::collections::BTreeSet;
use tracing::{debug, info, warn};

impl Reign {
    pub(super) fn load(&mut self, io: &mut Io<'_>) {
        self.ask(Question::Feature, get(paths::FEATURE, false), io);
        self.ask(Question::Brokers, children(paths::BROKER_IDS, true), io);
        self.ask(Question::Topics, children(paths::TOPICS, true), io);
        self.ask(Question::Deletions, children(paths::DELETE_TOPICS, true), io);
        self.load_kept(io);
        self.ask(Question::IsrChanges, children(paths::ISR_CHANGES, true), io);
        self.ask(Question::LogDirEvents, children(paths::LOG_DIR_EVENTS, true), io);
        self.watch_and_read(paths::PREFERRED_REPLICA_ELECTION, Question::Preferred, io);
        self.watch_and_read(paths::REASSIGN_PARTITIONS, Question::Reassignment, io);
    }

    /// Reads a node that mostly is not there; the watch fires when it comes.
    fn watch_and_read(&mut self, path: &str, question: Question, io: &mut Io<'_>) {
        io.store.ask(Ask::Nobody, exists(path, true));
        self.ask(question, get(path, false), io);
    }

    pub(super) fn on_watch(&mut self, event: &WatcherEvent, io: &mut Io<'_>) {
        let path = event.path.as_str();
        match event.kind {
            EventType::NodeChildrenChanged => match path {
                paths::BROKER_IDS => self.ask(Question::Brokers, children(path, true), io),
                paths::TOPICS => self.ask(Question::Topics, children(path, true), io),
                paths::DELETE_TOPICS => self.ask(Question::Deletions, children(path, true), io),
                paths::ISR_CHANGES => self.ask(Question::IsrChanges, children(path, true), io),
                paths::LOG_DIR_EVENTS => self.ask(Question::LogDirEvents, children(path, true), io),
                _ => {}
            },
            EventType::NodeCreated | EventType::NodeDataChanged | EventType::NodeDeleted => {
                self.on_node_watch(path, event.kind, io);
            }
            _ => {}
        }
    }

    fn on_node_watch(&mut self, path: &str, kind: EventType, io: &mut Io<'_>) {
        if path == paths::PREFERRED_REPLICA_ELECTION {
            return self.watch_and_read(paths::PREFERRED_REPLICA_ELECTION, Question::Preferred, io);
        }
        if path == paths::REASSIGN_PARTITIONS {
            return self.watch_and_read(paths::REASSIGN_PARTITIONS, Question::Reassignment, io);
        }
        if let Some(broker) = path.strip_prefix(paths::BROKER_IDS).and_then(|rest| rest.strip_prefix('/')) {
            let Ok(broker) = broker.parse() else { return };
            if kind == EventType::NodeDeleted {
                self.broker_gone(broker);
            } else {
                self.ask(Question::Broker(broker), get(path, true), io);
            }
            return;
        }
        if let Some(topic) = path.strip_prefix(paths::TOPICS).and_then(|rest| rest.strip_prefix('/'))
            && kind != EventType::NodeDeleted
            && !topic.contains('/')
        {
            self.ask(Question::Topic(topic.to_owned()), get(path, true), io);
        }
    }

    /// The finalized features: Kafka's controller creates the node, and raises its format.
    pub(super) fn on_feature(&mut self, result: ZkResult, io: &mut Io<'_>) {
        match result {
            Ok(Response::GetData { data, stat }) => match FeatureRecord::decode(&data.unwrap_or_default()) {
                Ok(found) if found.version == 2 && found.enabled => {}
                Ok(found) => {
                    let features = if found.enabled { found.features } else { Default::default() };
                    let wanted = FeatureRecord { version: 2, enabled: true, features, levels: found.levels };
                    io.store.ask(Ask::Nobody, set(paths::FEATURE, wanted.encode(), stat.version));
                }
                Err(problem) => warn!(%problem, "the features in zookeeper cannot be read"),
            },
            Err(ZkError::NoNode) => {
                let record = FeatureRecord { version: 2, enabled: true, ..FeatureRecord::default() };
                let request = io.store.persistent(paths::FEATURE, Some(record.encode()));
                io.store.ask(Ask::Nobody, request);
            }
            _ => {}
        }
    }

    pub(super) fn on_brokers(&mut self, result: ZkResult, io: &mut Io<'_>) {
        let Some(names) = names(result) else { return };
        let ids: BTreeSet<i32> = names.iter().filter_map(|name| name.parse().ok()).collect();
        let gone: Vec<i32> = self.mirror.brokers.keys().copied().filter(|id| !ids.contains(id)).collect();
        for broker in gone {
            self.broker_gone(broker);
        }
        for broker in ids {
            if !self.mirror.is_registered(broker) {
                self.ask(Question::Broker(broker), get(paths::broker(broker), true), io);
            }
        }
    }

    pub(super) fn on_broker(&mut self, broker: i32, result: ZkResult, io: &mut Io<'_>) {
        let (data, stat) = match result {
            Ok(Response::GetData { data, stat }) => (data.unwrap_or_default(), stat),
            _ => return self.broker_gone(broker),
        };
        let registration = match BrokerRegistration::decode(&data) {
            Ok(registration) => registration,
            Err(problem) => {
                warn!(broker, %problem, "the registration of a broker cannot be read");
                return;
            }
        };
        let known = self.mirror.brokers.get(&broker);
        if known.is_some_and(|known| known.epoch == stat.czxid && known.registration == registration) {
            return;
        }
        let is_same_life = known.is_some_and(|known| known.epoch == stat.czxid);
        if known.is_some() && !is_same_life {
            self.broker_gone(broker);
            if self.is_loaded() {
                // What follows from the end of its last life is decided first.
                return self.ask(Question::Broker(broker), get(paths::broker(broker), true), io);
            }
        }
        self.mirror.last_epochs.remove(&broker);
        self.mirror.brokers.insert(broker, LiveBroker { registration, epoch: stat.czxid });
        if is_same_life {
            return self.tell_brokers();
        }
        if self.is_loaded() {
            info!(broker, epoch = stat.czxid, "broker joined");
            self.channels.insert(broker, Channel::new());
            self.revive(broker);
        }
    }

    pub(super) fn broker_gone(&mut self, broker: i32) {
        let Some(left) = self.mirror.brokers.remove(&broker) else { return };
        self.mirror.last_epochs.insert(broker, left.epoch);
        info!(broker, "broker left");
        self.mirror.shutting_down.remove(&broker);
        self.mirror.unreachable.remove(&broker);
        self.mirror.offline_replicas.remove(&broker);
        self.channels.remove(&broker);
        for deletion in self.deleting.values_mut() {
            deletion.broker_gone(broker);
        }
        self.tell_brokers();
        self.end_leaderships_of(broker);
        self.look_at_replicas_of(broker);
    }

    fn end_leaderships_of(&mut self, broker: i32) {
        for tp in self.mirror.partitions_on(broker) {
            let Some(partition) = self.mirror.partition_mut(&tp) else { continue };
            if let Some(state) = partition.state.as_ref().filter(|state| state.leader == broker) {
                partition.ended_epoch = Some(state.leader_epoch);
            }
        }
    }

    pub(super) fn on_topics(&mut self, result: ZkResult, io: &mut Io<'_>) {
        let Some(names) = names(result) else { return };
        let names: BTreeSet<String> = names.into_iter().collect();
        let gone: Vec<String> = self.mirror.topics.keys().filter(|topic| !names.contains(*topic)).cloned().collect();
        for topic in gone {
            self.topic_gone(&topic);
        }
        for topic in names {
            if !self.mirror.topics.contains_key(&topic) {
                let request = get(paths::topic(&topic), true);
                self.ask(Question::Topic(topic), request, io);
            }
        }
    }

    /// A topic's znode is no more.
    pub(super) fn topic_gone(&mut self, topic: &str) {
        let Some(removed) = self.mirror.remove_topic(topic) else { return };
        info!(topic, "topic deleted");
        self.deleting.remove(topic);
        self.topic_writes.forget(topic);
        for number in removed.partitions.into_keys() {
            let tp = (topic.to_owned(), number);
            self.wishes.remove(&tp);
            self.tell_metadata(&tp);
        }
    }

    pub(super) fn on_topic(&mut self, topic: String, result: ZkResult, io: &mut Io<'_>) {
        let (data, stat) = match result {
            Ok(Response::GetData { data, stat }) => (data.unwrap_or_default(), stat),
            Err(ZkError::NoNode) => return self.topic_gone(&topic),
            _ => return,
        };
        let record = match TopicRecord::decode(&data) {
            Ok(record) => record,
            Err(problem) => {
                warn!(topic, %problem, "the assignment of a topic cannot be read");
                return;
            }
        };
        let has_no_id = record.topic_id.is_none();
        let added = self.mirror.merge_topic(&topic, record, stat.version);
        self.read_settings(&topic, io);
        if !self.is_loaded() {
            for tp in added {
                let request = get(paths::partition_state(&tp.0, tp.1), false);
                self.ask(Question::State(tp), request, io);
            }
            return;
        }
        if !added.is_empty() {
            info!(topic, partitions = added.len(), "new partitions");
        }
        self.dirty.extend(added);
        if has_no_id {
            self.give_id(topic, io);
        }
    }

    pub(super) fn on_deletions(&mut self, result: ZkResult) {
        self.marked.extend(names(result).unwrap_or_default());
    }

    /// Leaders of inter-broker protocol below 2.7 changed ISRs by themselves. At the start all states are read anyway.
    pub(super) fn on_isr_changes(&mut self, result: ZkResult, io: &mut Io<'_>) {
        for name in names(result).unwrap_or_default() {
            let path = format!("{}/{name}", paths::ISR_CHANGES);
            if self.is_loaded() {
                self.ask(Question::IsrChange(path.clone()), get(path, false), io);
            } else {
                self.delete_fenced(&path, Question::Fenced, io);
            }
        }
    }

    pub(super) fn on_isr_change(&mut self, path: String, result: ZkResult, io: &mut Io<'_>) {
        let Ok(Response::GetData { data, .. }) = result else { return };
        for tp in decode_partitions(&data.unwrap_or_default()).unwrap_or_default() {
            if self.mirror.partition(&tp).is_some_and(|partition| !partition.is_busy) {
                self.read_state(tp, io);
            }
        }
        self.delete_fenced(&path, Question::Fenced, io);
    }

    pub(super) fn read_state(&mut self, tp: Tp, io: &mut Io<'_>) {
        if let Some(partition) = self.mirror.partition_mut(&tp) {
            partition.is_busy = true;
        }
        let request = get(paths::partition_state(&tp.0, tp.1), false);
        self.ask(Question::State(tp), request, io);
    }

    pub(super) fn on_log_dir_events(&mut self, result: ZkResult, io: &mut Io<'_>) {
        for name in names(result).unwrap_or_default() {
            let path = format!("{}/{name}", paths::LOG_DIR_EVENTS);
            if self.is_loaded() {
                self.ask(Question::LogDirEvent(path.clone()), get(path, false), io);
            } else {
                self.delete_fenced(&path, Question::Fenced, io);
            }
        }
    }

    /// A broker lost a log directory: told its roles again, it answers which replicas are lost.
    pub(super) fn on_log_dir_event(&mut self, path: String, result: ZkResult, io: &mut Io<'_>) {
        let Ok(Response::GetData { data, .. }) = result else { return };
        match decode_log_dir_event(&data.unwrap_or_default()) {
            Ok(broker) => {
                warn!(broker, "a broker lost a log directory");
                let replicas = self.mirror.partitions_on(broker);
                if let Some(channel) = self.channels.get_mut(&broker) {
                    replicas.into_iter().for_each(|tp| channel.tell_role(tp, false));
                }
            }
            Err(problem) => warn!(%problem, "a log directory event cannot be read"),
        }
        self.delete_fenced(&path, Question::Fenced, io);
    }

    pub(super) fn on_preferred_node(&mut self, result: ZkResult, io: &mut Io<'_>) {
        let Ok(Response::GetData { data, .. }) = result else { return };
        match decode_partitions(&data.unwrap_or_default()) {
            Ok(partitions) => {
                for tp in partitions {
                    self.wishes.insert(tp.clone(), super::election::Wish::Preferred);
                    self.dirty.insert(tp);
                }
            }
            Err(problem) => warn!(%problem, "a preferred election in zookeeper cannot be read"),
        }
        self.delete_fenced(paths::PREFERRED_REPLICA_ELECTION, Question::Fenced, io);
    }

    pub(super) fn on_reassignment_node(&mut self, result: ZkResult, io: &mut Io<'_>) {
        let Ok(Response::GetData { data, .. }) = result else { return };
        match decode_reassignment(&data.unwrap_or_default()) {
            Ok(wanted) => self.start_reassignments_of_node(wanted),
            Err(problem) => {
                warn!(%problem, "a reassignment in zookeeper cannot be read");
                self.delete_fenced(paths::REASSIGN_PARTITIONS, Question::Fenced, io);
            }
        }
        debug!("reassignment node read");
    }
}

fn names(result: ZkResult) -> Option<Vec<String>> {
    match result {
        Ok(Response::GetChildren2 { children, .. } | Response::GetChildren { children }) => Some(children),
        _ => None,
    }
}
