//! One reign of the controller: the mirror of the znodes, what is to be decided anew, and who must be told. Everything
//! follows from the state of the mirror, not from the event that changed it: an input marks partitions, `settle` looks at
//! the marked ones and writes or tells what is not yet as it should be.

use super::admin::Admin;
use super::deletion::Deletion;
use super::election::{Case, Verdict, Wish};
use super::isr::IsrRequests;
use super::mirror::{ElectionOverrides, ElectionSettings, Mirror, Tp};
use super::notify::{Channel, Flight, Message, Teller};
use super::topic_writes::TopicWrites;
use super::undelete::Kept;
use super::writes::{Cause, StateWrite, Writes};
use super::{ControlledShutdownError, ControllerAsk, ProducerIdsError, What};
use crate::cluster::json::{PartitionState, ProducerIdBlock};
use crate::cluster::kept::KeptTopic;
use crate::cluster::store::{ANY_VERSION, get, multi_outcome, set};
use crate::cluster::{Effect, Io, Waiter, paths, store};
use crate::outbox::PeerError;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{LeaderAndIsrResponse, StopReplicaResponse, UpdateMetadataResponse};
use common::mutants;
use common::time::Millis;
use common::zk::{Request, Response, ZkError};
use std::collections::{BTreeMap, BTreeSet};
use tracing::{debug, info, warn};

/// How long after its election a controller first looks for leaders that are not the preferred ones; as Kafka.
const FIRST_BALANCE_AFTER_MS: u64 = 5_000;

/// How long after ZooKeeper refused something for no reason of ours (access lists, overload) it is tried again.
const REFUSED_RETRY_MS: u64 = 1_000;

/// What a reign asks of ZooKeeper.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Question {
    Feature,
    Brokers,
    Broker(i32),
    Topics,
    Topic(String),
    State(Tp),
    Deletions,
    IsrChanges,
    IsrChange(String),
    LogDirEvents,
    LogDirEvent(String),
    Preferred,
    Reassignment,
    /// The settings of a topic that decide who leads.
    Settings(String),
    /// A batch of state changes.
    States(u64),
    /// A batch of states to create, with the nodes above them.
    Creation(u64),
    TopicCreation {
        request: u64,
        topic: String,
    },
    DeletionMark {
        request: u64,
        topic: String,
    },
    TopicWrite(String),
    /// The deleted topics that can be brought back, and one of them.
    KeptTopics,
    KeptTopic(String),
    /// When the deletion of a topic was asked for.
    DeletionTime(String),
    /// The settings of a topic that is about to be remembered.
    DeletedSettings(String),
    TopicKept(Box<KeptTopic>),
    /// The children of a topic's `partitions`, to delete them.
    DeletionChildren(String),
    /// One of the last deletions of a topic; true: the very last.
    Deleted {
        topic: String,
        is_last: bool,
    },
    ProducerIds(u64),
    ProducerIdsWritten(u64, ProducerIdBlock),
    /// Nothing but that the fence held.
    Fenced,
}

/// Somebody who waits for the leaderships of a broker to be moved.
#[derive(Debug)]
struct ShutdownWait {
    broker: i32,
    done: Waiter<Vec<Tp>>,
}

/// Somebody who waits for producer ids.
#[derive(Debug)]
struct ProducerIdsWait {
    broker: i32,
    done: Waiter<Result<ProducerIdBlock, ProducerIdsError>>,
}

#[derive(Debug)]
pub(super) struct Reign {
    epoch: i32,
    epoch_version: i32,
    pub(super) mirror: Mirror,
    pub(super) channels: BTreeMap<i32, Channel>,
    /// Questions that must be answered before the reign begins.
    loading: usize,
    is_loaded: bool,
    is_deposed: bool,
    /// Brokers that were seen dead before the reign began.
    gone: BTreeSet<i32>,
    /// What is set in ZooKeeper for all brokers.
    defaults: ElectionOverrides,
    /// Topics whose settings changed and are to be read.
    unread: BTreeSet<String>,
    /// Partitions to look at.
    pub(super) dirty: BTreeSet<Tp>,
    pub(super) wishes: BTreeMap<Tp, Wish>,
    pub(super) writes: Writes,
    pub(super) isr: IsrRequests,
    pub(super) topic_writes: TopicWrites,
    pub(super) deleting: BTreeMap<String, Deletion>,
    /// Topics found in `/admin/delete_topics` that were not yet looked at.
    pub(super) marked: BTreeSet<String>,
    pub(super) admin: Admin,
    pub(super) kept: Kept,
    pub(super) elections: super::reassign::Elections,
    shutdowns: Vec<ShutdownWait>,
    producer_ids: BTreeMap<u64, ProducerIdsWait>,
    next_request: u64,
    balance_at: Millis,
    /// Partitions that ZooKeeper would not have read or written, to be tried again.
    postponed: BTreeSet<Tp>,
    /// When to try again what ZooKeeper refused for no reason of ours.
    retry_at: Option<Millis>,
}

impl std::fmt::Debug for Teller<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Teller(to {})", self.broker)
    }
}

impl Reign {
    /// Starts reading the cluster's state.
    pub(super) fn begin(epoch: i32, epoch_version: i32, io: &mut Io<'_>) -> Reign {
        let mut reign = Reign {
            epoch,
            epoch_version,
            mirror: Mirror::default(),
            channels: BTreeMap::new(),
            loading: 0,
            is_loaded: false,
            is_deposed: false,
            gone: BTreeSet::new(),
            defaults: ElectionOverrides::default(),
            unread: BTreeSet::new(),
            dirty: BTreeSet::new(),
            wishes: BTreeMap::new(),
            writes: Writes::default(),
            isr: IsrRequests::default(),
            topic_writes: TopicWrites::default(),
            deleting: BTreeMap::new(),
            marked: BTreeSet::new(),
            admin: Admin::default(),
            kept: Kept::default(),
            elections: Default::default(),
            shutdowns: Vec::new(),
            producer_ids: BTreeMap::new(),
            // An answer may come that an earlier reign waited for.
            next_request: u64::from(epoch.unsigned_abs()) << 32,
            balance_at: io.now.mono + FIRST_BALANCE_AFTER_MS,
            postponed: BTreeSet::new(),
            retry_at: None,
        };
        reign.load(io);
        reign
    }

    pub(super) fn epoch(&self) -> i32 {
        self.epoch
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.is_loaded
    }

    /// Another controller has been elected: the fence did not hold.
    pub(super) fn is_deposed(&self) -> bool {
        self.is_deposed
    }

    /// These brokers were seen dead; what the reign finds registered of them is what they left behind.
    pub(super) fn expect_gone(&mut self, brokers: impl Iterator<Item = i32>) {
        self.gone.extend(brokers);
    }

    pub(super) fn depose(&mut self) {
        self.is_deposed = true;
    }

    /// A number for a request of somebody who waits.
    pub(super) fn next_request(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request
    }

    /// Asks ZooKeeper; while loading the reign waits for the answer.
    pub(super) fn ask(&mut self, question: Question, request: Request, io: &mut Io<'_>) {
        let is_loading = !self.is_loaded;
        if is_loading {
            self.loading += 1;
        }
        io.store.ask(ControllerAsk { reign: self.epoch, is_loading, what: What::Reign(question) }, request);
    }

    /// Changes that only happen if no other controller has been elected since.
    pub(super) fn fenced(&self, changes: Vec<Request>) -> Request {
        let version = if mutants::is_on("controller-not-fenced") { ANY_VERSION } else { self.epoch_version };
        let check = Request::Check { path: paths::CONTROLLER_EPOCH.to_owned(), version };
        Request::Multi(std::iter::once(check).chain(changes).collect())
    }

    /// The outcome of fenced changes, counted without the fence. An error that is not of a single change has number 0.
    pub(super) fn fenced_outcome(&mut self, result: store::ZkResult) -> Result<Vec<Response>, (usize, ZkError)> {
        match multi_outcome(result) {
            Ok(mut answers) => {
                if !answers.is_empty() {
                    answers.remove(0);
                }
                Ok(answers)
            }
            Err((0, error)) => {
                if error == ZkError::BadVersion {
                    info!(epoch = self.epoch, "another controller has been elected");
                    self.is_deposed = true;
                }
                Err((0, error))
            }
            Err((at, error)) => Err((at - 1, error)),
        }
    }

    pub(super) fn on_answer(&mut self, question: Question, is_loading: bool, result: store::ZkResult, io: &mut Io<'_>) {
        match question {
            Question::Feature => self.on_feature(result, io),
            Question::Brokers => self.on_brokers(result, io),
            Question::Broker(broker) => self.on_broker(broker, result, io),
            Question::Topics => self.on_topics(result, io),
            Question::Topic(topic) => self.on_topic(topic, result, io),
            Question::State(tp) => self.on_state(tp, result, io),
            Question::Deletions => self.on_deletions(result),
            Question::IsrChanges => self.on_isr_changes(result, io),
            Question::IsrChange(path) => self.on_isr_change(path, result, io),
            Question::LogDirEvents => self.on_log_dir_events(result, io),
            Question::LogDirEvent(path) => self.on_log_dir_event(path, result, io),
            Question::Preferred => self.on_preferred_node(result, io),
            Question::Reassignment => self.on_reassignment_node(result, io),
            Question::Settings(topic) => self.on_settings(&topic, result, io),
            Question::States(batch) => self.on_states_written(batch, result, io),
            Question::Creation(batch) => self.on_states_created(batch, result, io),
            Question::TopicCreation { request, topic } => self.on_topic_created(request, topic, result, io),
            Question::DeletionMark { request, topic } => self.on_deletion_marked(request, topic, result, io),
            Question::KeptTopics => self.on_kept_topics(result, io),
            Question::KeptTopic(path) => self.on_kept_topic(&path, result, io),
            Question::DeletionTime(topic) => self.on_deletion_time(&topic, result),
            Question::DeletedSettings(topic) => self.on_deleted_settings(&topic, result, io),
            Question::TopicKept(kept) => self.on_topic_kept(*kept, result, io),
            Question::TopicWrite(topic) => self.on_topic_written(topic, result, io),
            Question::DeletionChildren(topic) => self.on_deletion_children(topic, result, io),
            Question::Deleted { topic, is_last } => self.on_deleted(topic, is_last, result, io),
            Question::ProducerIds(request) => self.on_producer_ids(request, result, io),
            Question::ProducerIdsWritten(request, block) => self.on_producer_ids_written(request, block, result, io),
            Question::Fenced => {
                let _ = self.fenced_outcome(result);
            }
        }
        if is_loading {
            self.loading -= 1;
            if self.loading == 0 && !self.is_loaded {
                self.loaded(io);
            }
        }
    }

    /// Everything is read: tell every broker everything, look at every partition.
    fn loaded(&mut self, io: &mut Io<'_>) {
        self.is_loaded = true;
        info!(
            epoch = self.epoch,
            brokers = self.mirror.brokers.len(),
            topics = self.mirror.topics.len(),
            "the controller knows the cluster"
        );
        for &broker in self.mirror.brokers.keys() {
            self.channels.insert(broker, Channel::of_a_registered_broker());
        }
        let all: Vec<Tp> = self.mirror.all_partitions().map(|(topic, number, _)| (topic.to_owned(), number)).collect();
        for tp in all {
            self.tell_roles(&tp, &BTreeSet::new(), None);
            self.dirty.insert(tp);
        }
        for broker in std::mem::take(&mut self.gone) {
            self.on_unreachable(broker, io);
        }
        let nameless: Vec<String> =
            self.mirror.topics.iter().filter(|(_, topic)| topic.id.is_none()).map(|(name, _)| name.clone()).collect();
        for topic in nameless {
            self.give_id(topic, io);
        }
    }

    /// Tells each replica its role. `new` are those that may not have existed before; a broker that is leaving hears it
    /// only if it was `previous_leader`, for what it follows it has been told to stop.
    pub(super) fn tell_roles(&mut self, tp: &Tp, new: &BTreeSet<i32>, previous_leader: Option<i32>) {
        let Some(partition) = self.mirror.partition(tp) else { return };
        if partition.state.is_none() {
            return;
        }
        for &replica in &partition.assignment.replicas {
            let is_leaving = self.mirror.shutting_down.contains(&replica);
            if is_leaving && previous_leader != Some(replica) {
                continue;
            }
            if let Some(channel) = self.channels.get_mut(&replica) {
                channel.tell_role(tp.clone(), new.contains(&replica));
            }
        }
    }

    /// Tells every broker the state of a partition.
    pub(super) fn tell_metadata(&mut self, tp: &Tp) {
        for channel in self.channels.values_mut() {
            channel.tell_metadata(tp.clone());
        }
    }

    pub(super) fn tell_brokers(&mut self) {
        self.channels.values_mut().for_each(Channel::tell_brokers);
    }

    /// Looks at what was marked until nothing is left to decide, and sends what is to be said.
    pub(super) fn settle(&mut self, io: &mut Io<'_>) {
        if !self.is_loaded || self.is_deposed {
            return;
        }
        for topic in std::mem::take(&mut self.unread) {
            self.read_settings(&topic, io);
        }
        self.apply_deletion_marks(io);
        self.progress_node_reassignment(io);
        while let Some(tp) = self.dirty.pop_first() {
            self.reconcile(&tp, io);
        }
        self.progress_deletions(io);
        self.progress_topic_writes(io);
        self.flush_writes(io);
        self.answer_shutdowns(io);
        self.pump(io);
    }

    fn reconcile(&mut self, tp: &Tp, io: &mut Io<'_>) {
        if self.mirror.deletions.contains(&tp.0) {
            self.drop_proposals(tp, io);
            return;
        }
        let Some(topic) = self.mirror.topics.get(&tp.0) else { return };
        let Some(partition) = topic.partitions.get(&tp.1) else { return };
        if partition.is_busy {
            return;
        }
        let case = Case {
            mirror: &self.mirror,
            topic: &tp.0,
            number: tp.1,
            partition,
            unclean: topic.settings.map(|settings| settings.unclean),
            min_isr: topic.settings.map(|settings| settings.min_isr),
            controller_epoch: self.epoch,
        };
        match case.judge() {
            Verdict::Write(state) => return self.decide(tp, state, Cause::Decision),
            Verdict::NeedsUncleanSetting => return self.read_settings(&tp.0, io),
            Verdict::NobodyAlive => {
                debug!(topic = tp.0, partition = tp.1, "no replica of a new partition is alive");
                return;
            }
            Verdict::Keep => {}
        }
        let wish = self.wishes.get(tp).copied();
        let granted = wish.map(|wish| case.grant(wish));
        let reassigned = partition.assignment.is_being_reassigned().then(|| case.reassign());
        if self.try_proposal(tp, io) {
            return;
        }
        if wish.is_some() {
            self.wishes.remove(tp);
            if let Some(Verdict::Write(state)) = granted {
                return self.decide(tp, state, Cause::Decision);
            }
            self.election_done(tp, io);
        }
        match reassigned {
            Some(Verdict::Write(state)) => self.decide(tp, state, Cause::Decision),
            _ => self.stop_removed_replicas(tp),
        }
    }

    /// Writes a decision down, with who is eligible from then on.
    pub(super) fn decide(&mut self, tp: &Tp, mut state: PartitionState, cause: Cause) {
        let Some(topic) = self.mirror.topics.get(&tp.0) else { return };
        let Some(partition) = topic.partitions.get(&tp.1) else { return };
        let min_isr = topic.settings.map(|settings| settings.min_isr);
        state.eligibility = super::eligible::next(&self.mirror, partition, &state, min_isr);
        let Some(partition) = self.mirror.partition_mut(tp) else { return };
        partition.is_busy = true;
        let version = partition.state.as_ref().map(|_| partition.version);
        self.writes.push(StateWrite { tp: tp.clone(), state, version, cause });
    }

    /// Reads the settings of a topic if they are not known.
    pub(super) fn read_settings(&mut self, topic: &str, io: &mut Io<'_>) {
        let Some(mirror) = self.mirror.topics.get_mut(topic) else { return };
        if mirror.settings.is_none() && !std::mem::replace(&mut mirror.is_reading_settings, true) {
            self.ask(Question::Settings(topic.to_owned()), get(paths::config("topics", topic), false), io);
        }
    }

    fn on_settings(&mut self, topic: &str, result: store::ZkResult, io: &mut Io<'_>) {
        let settings = match result {
            Ok(Response::GetData { data, .. }) => {
                crate::cluster::json::decode_config(&data.unwrap_or_default()).unwrap_or_default()
            }
            _ => BTreeMap::new(),
        };
        let own = ElectionOverrides::of(&settings);
        let Some(mirror) = self.mirror.topics.get_mut(topic) else { return };
        mirror.settings = Some(ElectionSettings {
            unclean: own.unclean.or(self.defaults.unclean).unwrap_or(io.config.unclean_leader_election),
            min_isr: own.min_isr.or(self.defaults.min_isr).unwrap_or(io.config.min_insync_replicas),
        });
        mirror.is_reading_settings = false;
        // All others are as they should be, whatever the settings are.
        let depends = mirror.partitions.iter().filter(|(_, partition)| {
            partition.state.as_ref().is_some_and(|state| state.leader < 0 || state.eligibility.is_some())
        });
        self.dirty.extend(depends.map(|(&number, _)| (topic.to_owned(), number)));
    }

    /// The settings of a topic changed: what was known of them counts no more.
    pub(super) fn on_settings_changed(&mut self, topic: &str) {
        if let Some(mirror) = self.mirror.topics.get_mut(topic) {
            mirror.settings = None;
            mirror.is_reading_settings = false;
            self.unread.insert(topic.to_owned());
        }
    }

    /// Settings in ZooKeeper for topics that have none of their own changed.
    pub(super) fn set_defaults(&mut self, defaults: ElectionOverrides) {
        if std::mem::replace(&mut self.defaults, defaults) != defaults {
            let topics: Vec<String> = self.mirror.topics.keys().cloned().collect();
            topics.iter().for_each(|topic| self.on_settings_changed(topic));
        }
    }

    fn pump(&mut self, io: &mut Io<'_>) {
        for (&broker, channel) in &mut self.channels {
            let Some(broker_epoch) = self.mirror.brokers.get(&broker).map(|broker| broker.epoch) else { continue };
            let teller = Teller {
                mirror: &self.mirror,
                controller: io.config.broker_id.0,
                controller_epoch: self.epoch,
                listener: &io.config.control_listener,
                broker,
                broker_epoch,
            };
            let flight = self.next_request + 1;
            let Some(message) = channel.next_message(flight, &teller, io.now.mono) else { continue };
            self.next_request = flight;
            let Some(to) = teller.address() else {
                warn!(broker, listener = io.config.control_listener, "the broker has no such listener");
                channel.crashed(flight, io.now.mono);
                continue;
            };
            io.effects.push(match message {
                Message::Roles(request) => Effect::LeaderAndIsr { to, flight, request },
                Message::Metadata(request) => Effect::UpdateMetadata { to, flight, request },
                Message::Stops(request) => Effect::StopReplica { to, flight, request },
            });
        }
    }

    /// What a request told that was answered; `None` if it failed, or nobody waits for it.
    fn landed<R>(
        &mut self,
        (broker, flight): (i32, u64),
        response: Result<R, PeerError>,
        io: &mut Io<'_>,
    ) -> Option<(R, Flight)> {
        let channel = self.channels.get_mut(&broker)?;
        match response {
            Ok(response) => {
                let flight = channel.landed(flight)?;
                if self.mirror.unreachable.remove(&broker) {
                    info!(broker, "reachable again");
                    // Most likely a new process that waits for the old one's session to end, and knows nothing.
                    *channel = Channel::new();
                    channel.has_answered = true;
                    self.revive(broker);
                }
                Some((response, flight))
            }
            Err(error) => {
                debug!(broker, %error, "a request of the controller failed; trying again");
                if !channel.crashed(flight, io.now.mono) {
                    return None;
                }
                if error == PeerError::Refused && channel.is_refused() {
                    self.on_unreachable(broker, io);
                }
                None
            }
        }
    }

    pub(super) fn on_roles_answer(
        &mut self,
        (broker, flight): (i32, u64),
        response: Result<LeaderAndIsrResponse, PeerError>,
        io: &mut Io<'_>,
    ) {
        let Some((response, Flight::Roles(told))) = self.landed((broker, flight), response, io) else { return };
        if response.error_code != 0 {
            refused(broker, response.error_code, "LeaderAndIsr");
            return;
        }
        let offline_before = self.mirror.offline_replicas.get(&broker).cloned().unwrap_or_default();
        let mut offline = offline_before.clone();
        for (tp, error) in role_errors(&response, &self.mirror) {
            if error == ErrorCode::KafkaStorageError.code() {
                offline.insert(tp);
            } else if error == 0 {
                offline.remove(&tp);
            }
        }
        if offline == offline_before {
            return;
        }
        let changed: Vec<Tp> = offline.symmetric_difference(&offline_before).cloned().collect();
        warn!(broker, replicas = offline.len(), of = told.len(), "replicas on failed log directories");
        self.mirror.offline_replicas.insert(broker, offline);
        for tp in changed {
            self.tell_metadata(&tp);
            self.dirty.insert(tp);
        }
    }

    pub(super) fn on_metadata_answer(
        &mut self,
        (broker, flight): (i32, u64),
        response: Result<UpdateMetadataResponse, PeerError>,
        io: &mut Io<'_>,
    ) {
        if let Some((response, _)) = self.landed((broker, flight), response, io)
            && response.error_code != 0
        {
            refused(broker, response.error_code, "UpdateMetadata");
        }
    }

    pub(super) fn on_stops_answer(
        &mut self,
        (broker, flight): (i32, u64),
        response: Result<StopReplicaResponse, PeerError>,
        io: &mut Io<'_>,
    ) {
        let Some((response, Flight::Stops(stopped))) = self.landed((broker, flight), response, io) else { return };
        let failed: BTreeSet<Tp> = response
            .partition_errors
            .into_iter()
            .filter(|partition| partition.error_code != 0)
            .map(|partition| (partition.topic_name, partition.partition_index))
            .collect();
        for (tp, delete) in stopped {
            if delete && response.error_code == 0 && !failed.contains(&tp) {
                self.replica_deleted(broker, &tp);
            } else if delete {
                self.replica_not_deleted(broker, &tp, io);
            }
        }
    }

    /// Its process is gone; its session will follow.
    pub(super) fn on_unreachable(&mut self, broker: i32, io: &mut Io<'_>) {
        if broker == io.config.broker_id.0 || !self.mirror.is_registered(broker) {
            return;
        }
        if self.mirror.unreachable.insert(broker) {
            warn!(broker, "the broker's port refuses connections: its process is gone");
            self.tell_brokers();
            self.look_at_replicas_of(broker);
        }
    }

    /// Every partition on a broker is to be looked at and told anew.
    pub(super) fn look_at_replicas_of(&mut self, broker: i32) {
        for tp in self.mirror.partitions_on(broker) {
            self.tell_metadata(&tp);
            self.dirty.insert(tp);
        }
    }

    /// ZooKeeper refused to read or write the state of a partition: it is left alone for a while.
    pub(super) fn postpone(&mut self, tp: &Tp, io: &Io<'_>) {
        if let Some(partition) = self.mirror.partition_mut(tp) {
            partition.is_busy = true;
            self.postponed.insert(tp.clone());
        }
        self.retry_later(io);
    }

    /// Time for another attempt comes, with `tick`.
    pub(super) fn retry_later(&mut self, io: &Io<'_>) {
        self.retry_at.get_or_insert(io.now.mono + REFUSED_RETRY_MS);
    }

    /// True until the time of `retry_later` has come.
    pub(super) fn must_wait(&self) -> bool {
        self.retry_at.is_some()
    }

    /// A broker is there, or there again: it must learn its roles.
    pub(super) fn revive(&mut self, broker: i32) {
        self.tell_brokers();
        self.look_at_replicas_of(broker);
        let Some(channel) = self.channels.get_mut(&broker) else { return };
        for tp in self.mirror.partitions_on(broker) {
            channel.tell_role(tp, false);
        }
    }

    pub(super) fn controlled_shutdown(
        &mut self,
        (broker, broker_epoch): (i32, i64),
        done: Waiter<Vec<Tp>>,
        io: &mut Io<'_>,
    ) -> Result<(), ControlledShutdownError> {
        let _ = io;
        let live = self.mirror.brokers.get(&broker).ok_or(ControlledShutdownError::UnknownBroker)?;
        if broker_epoch >= 0 && broker_epoch < live.epoch {
            return Err(ControlledShutdownError::StaleBrokerEpoch);
        }
        info!(broker, "moving leaderships away from a broker that is shutting down");
        self.mirror.shutting_down.insert(broker);
        for tp in self.mirror.partitions_on(broker) {
            let Some(partition) = self.mirror.partition(&tp) else { continue };
            let is_followed = partition.state.as_ref().is_some_and(|state| state.leader != broker);
            let is_replicated = partition.assignment.replicas.len() > 1;
            if is_followed
                && is_replicated
                && let Some(channel) = self.channels.get_mut(&broker)
            {
                channel.tell_stop(tp.clone(), false);
            }
            self.dirty.insert(tp);
        }
        self.shutdowns.push(ShutdownWait { broker, done });
        Ok(())
    }

    /// Answers brokers that wait to stop, once nothing of theirs is being written.
    fn answer_shutdowns(&mut self, io: &mut Io<'_>) {
        for wait in std::mem::take(&mut self.shutdowns) {
            let on_broker = self.mirror.partitions_on(wait.broker);
            let partition = |tp: &Tp| self.mirror.partition(tp);
            if on_broker.iter().any(|tp| partition(tp).is_some_and(|partition| partition.is_busy)) {
                self.shutdowns.push(wait);
                continue;
            }
            let remains = |tp: &Tp| {
                partition(tp).is_some_and(|partition| {
                    partition.assignment.replicas.len() > 1
                        && partition.state.as_ref().is_some_and(|state| state.leader == wait.broker)
                }) && !self.mirror.deletions.contains(&tp.0)
            };
            let remaining: Vec<Tp> = on_broker.into_iter().filter(remains).collect();
            io.answer(wait.done, remaining);
        }
    }

    pub(super) fn allocate_producer_ids(
        &mut self,
        (broker, broker_epoch): (i32, i64),
        done: Waiter<Result<ProducerIdBlock, ProducerIdsError>>,
        io: &mut Io<'_>,
    ) -> Result<(), ProducerIdsError> {
        let live = self.mirror.brokers.get(&broker).ok_or(ProducerIdsError::UnknownBroker)?;
        if live.epoch != broker_epoch {
            return Err(ProducerIdsError::StaleBrokerEpoch);
        }
        let request = self.next_request();
        self.producer_ids.insert(request, ProducerIdsWait { broker, done });
        self.ask(Question::ProducerIds(request), get(paths::PRODUCER_ID_BLOCK, false), io);
        Ok(())
    }

    fn on_producer_ids(&mut self, request: u64, result: store::ZkResult, io: &mut Io<'_>) {
        let Some(broker) = self.producer_ids.get(&request).map(|wait| wait.broker) else { return };
        let last = match &result {
            Ok(Response::GetData { data, stat }) => {
                let data = data.as_deref().unwrap_or_default();
                ProducerIdBlock::decode(data).ok().map(|block| (block.map_or(-1, |block| block.last), stat.version))
            }
            _ => None,
        };
        let next = last.and_then(|(last, version)| {
            Some((last.checked_add(1)?, last.checked_add(ProducerIdBlock::SIZE)?, version))
        });
        let Some((first, last, version)) = next else {
            warn!(?result, "no block of producer ids can be had");
            return self.answer_producer_ids(request, Err(ProducerIdsError::Unavailable), io);
        };
        let block = ProducerIdBlock { broker, first, last };
        // Brokers below inter-broker protocol 3.0 take their blocks by themselves: the version guards against both.
        let write = set(paths::PRODUCER_ID_BLOCK, block.encode(), version);
        self.ask(Question::ProducerIdsWritten(request, block), write, io);
    }

    fn on_producer_ids_written(
        &mut self,
        request: u64,
        block: ProducerIdBlock,
        result: store::ZkResult,
        io: &mut Io<'_>,
    ) {
        match result {
            Ok(_) => self.answer_producer_ids(request, Ok(block), io),
            // Also after a lost connection: then the block may be ours, but one block less is no harm.
            Err(ZkError::BadVersion) => {
                self.ask(Question::ProducerIds(request), get(paths::PRODUCER_ID_BLOCK, false), io);
            }
            Err(problem) => {
                warn!(%problem, "no block of producer ids can be had");
                self.answer_producer_ids(request, Err(ProducerIdsError::Unavailable), io);
            }
        }
    }

    fn answer_producer_ids(
        &mut self,
        request: u64,
        answer: Result<ProducerIdBlock, ProducerIdsError>,
        io: &mut Io<'_>,
    ) {
        if let Some(wait) = self.producer_ids.remove(&request) {
            io.answer(wait.done, answer);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Millis> {
        let retries = self.channels.values().filter_map(Channel::retry_at);
        let retries = retries.chain(self.kept.deadline());
        retries.chain(self.admin_deadline()).chain(self.retry_at).chain([self.balance_at]).min()
    }

    pub(super) fn tick(&mut self, io: &mut Io<'_>) {
        self.expire_admin(io);
        self.expire_kept(io);
        if self.retry_at.is_some_and(|at| at <= io.now.mono) {
            self.retry_at = None;
            for tp in std::mem::take(&mut self.postponed) {
                self.read_state(tp, io);
            }
        }
        if self.balance_at <= io.now.mono {
            self.balance_at = io.now.mono + io.config.leader_imbalance_check_interval_ms;
            if io.config.auto_leader_rebalance {
                self.balance(io);
            }
        }
    }

    /// Wishes preferred leaders where a broker leads too few of the partitions whose first replica it is.
    fn balance(&mut self, io: &mut Io<'_>) {
        let mut preferred: BTreeMap<i32, (usize, Vec<Tp>)> = BTreeMap::new();
        for (topic, number, partition) in self.mirror.all_partitions() {
            if self.mirror.deletions.contains(topic) {
                continue;
            }
            let Some(&first) = partition.assignment.replicas.first() else { continue };
            let (count, elsewhere) = preferred.entry(first).or_default();
            *count += 1;
            if partition.state.as_ref().is_some_and(|state| state.leader != first) {
                elsewhere.push((topic.to_owned(), number));
            }
        }
        let limit = f64::from(io.config.leader_imbalance_percentage) / 100.0;
        for (broker, (count, elsewhere)) in preferred {
            if elsewhere.len() as f64 / count as f64 <= limit {
                continue;
            }
            info!(broker, partitions = elsewhere.len(), "electing preferred leaders");
            for tp in elsewhere {
                self.wishes.entry(tp.clone()).or_insert(Wish::Preferred);
                self.dirty.insert(tp);
            }
        }
    }

    /// The reign is over: whoever waits is sent to the next controller.
    pub(super) fn end(mut self: Box<Self>, io: &mut Io<'_>) {
        for wait in std::mem::take(&mut self.producer_ids).into_values() {
            io.answer(wait.done, Err(ProducerIdsError::NotController));
        }
        self.end_isr_requests(io);
        self.end_admin(io);
        self.end_elections(io);
        for wait in std::mem::take(&mut self.shutdowns) {
            let led = self.mirror.partitions_on(wait.broker);
            io.answer(wait.done, led);
        }
    }
}

/// Tells that a broker did not take a request. One that knows a later controller does as it should: this one's time is over.
fn refused(broker: i32, code: i16, request: &'static str) {
    let error = ErrorCode::name_of(code);
    if code == ErrorCode::StaleControllerEpoch.code() {
        info!(broker, request, %error, "a broker knows a later controller");
    } else {
        warn!(broker, request, %error, "a broker refused a request");
    }
}

/// Every partition with its error code, by name; older brokers name topics, newer ones their ids.
fn role_errors(response: &LeaderAndIsrResponse, mirror: &Mirror) -> Vec<(Tp, i16)> {
    let named = response
        .partition_errors
        .iter()
        .map(|partition| ((partition.topic_name.clone(), partition.partition_index), partition.error_code));
    let by_id = response.topics.iter().filter_map(|topic| Some((mirror.names.get(&topic.topic_id)?, topic)));
    let by_id = by_id.flat_map(|(name, topic)| {
        let errors = topic.partition_errors.iter();
        errors.map(move |partition| ((name.clone(), partition.partition_index), partition.error_code))
    });
    named.chain(by_id).collect()
}
