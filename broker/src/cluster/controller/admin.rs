//! Topics created, deleted and grown on request: checked as Kafka checks, written fenced, answered when the image shows it
//! or the request's time is over. Settings of topics arrive checked; this file knows their names only.

use super::mirror::Layout;
use super::reign::{Question, Reign};
use super::topic_writes::TopicChange;
use crate::cluster::assignment::{Assignment, PlacementError, Start, place};
use crate::cluster::configs::Settings;
use crate::cluster::image::{Image, NO_LEADER};
use crate::cluster::json::{TopicRecord, encode_config, random_id};
use crate::cluster::kept::KeptTopic;
use crate::cluster::store::{ANY_VERSION, ZkResult, get, set};
use crate::cluster::topic_name::{self, TopicNameError};
use crate::cluster::{Io, Waiter, paths};
use common::time::Millis;
use common::zk::ZkError;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;
use tracing::{info, warn};
use uuid::Uuid;

/// A topic's znode must fit into one request to ZooKeeper (`jute.maxbuffer`, 1 MB), with some ten bytes a partition.
const MAX_PARTITIONS: i32 = 50_000;

/// What is to be done with topics.
#[derive(Clone, Debug, PartialEq)]
pub enum TopicsAction {
    /// New ones.
    Create(Vec<NewTopic>),
    /// These, by name.
    Delete(Vec<String>),
    /// More partitions.
    Grow(Vec<NewPartitions>),
    /// Back again: by name, the one of this id if there is one given, else the one that was deleted last.
    Undelete(Vec<(String, Option<Uuid>)>),
}

/// A request about topics.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicsRequest {
    /// What is to be done.
    pub action: TopicsAction,
    /// How long to wait until brokers know, milliseconds; 0 or less: only until it is written, and then it counts as timed
    /// out, as in Kafka.
    pub timeout_ms: i32,
    /// Only check.
    pub validate_only: bool,
}

/// A topic to create.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Number of partitions; -1: `num.partitions`.
    pub partitions: i32,
    /// Replicas of each; -1: `default.replication.factor`.
    pub replication_factor: i32,
    /// Replicas by partition, instead of the two above (then both -1).
    pub assignments: BTreeMap<i32, Vec<i32>>,
    /// Its own settings, checked.
    pub settings: Settings,
}

/// A topic that gets more partitions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewPartitions {
    /// Its name.
    pub topic: String,
    /// How many it shall have.
    pub count: i32,
    /// Replicas of each new partition.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// What became of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id; nil if it was only checked, or deleted.
    pub id: Uuid,
    /// Its partitions.
    pub partitions: i32,
    /// Replicas of the first partition.
    pub replication_factor: i16,
}

/// Outcome by topic.
pub type TopicsOutcome = BTreeMap<String, Result<CreatedTopic, AdminError>>;

/// Why nothing was done about a topic. The texts are Kafka 3.9's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AdminError {
    /// The topic is there.
    #[error("Topic '{0}' already exists.")]
    TopicExists(String),
    /// It is being deleted.
    #[error("Topic '{0}' is marked for deletion.")]
    MarkedForDeletion(String),
    /// It is being deleted and cannot grow.
    #[error("The topic is queued for deletion.")]
    QueuedForDeletion,
    /// Not a topic name.
    #[error(transparent)]
    InvalidName(#[from] TopicNameError),
    /// The metrics of the topics would collide.
    #[error("Topic '{topic}' collides with existing topics: {others}")]
    Collides {
        /// The new one.
        topic: String,
        /// Those there.
        others: String,
    },
    /// Replicas cannot be placed.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The topic's record would be too large for ZooKeeper.
    #[error("Number of partitions must not exceed {MAX_PARTITIONS}.")]
    TooManyPartitions,
    /// Numbers and assignment at once.
    #[error(
        "Both numPartitions or replicationFactor and replicasAssignments were set. Both cannot be used at the same time."
    )]
    NumbersAndAssignment,
    /// Partitions with different numbers of replicas.
    #[error("All partitions should have the same number of replicas")]
    UnequalReplicas,
    /// A broker twice in one partition.
    #[error("Duplicate replica assignment found: {0}")]
    DuplicateReplica(String),
    /// Partition numbers with gaps.
    #[error("partitions should be a consecutive 0-based integer sequence")]
    NotConsecutive,
    /// No such topic.
    #[error("The topic '{0}' does not exist.")]
    UnknownTopic(String),
    /// It was never deleted, or is gone for good.
    #[error("There is no deleted topic '{0}' that can be brought back.")]
    NotKept(String),
    /// The brokers that kept it have lost it.
    #[error("No replica of the deleted topic '{0}' has its records any more.")]
    NothingLeft(String),
    /// It has more already.
    #[error("Topic currently has {current} partitions, which is higher than the requested {wanted}.")]
    FewerPartitions {
        /// Partitions there are.
        current: usize,
        /// Partitions wanted.
        wanted: i32,
    },
    /// It has as many already.
    #[error("Topic already has {0} partitions.")]
    SamePartitions(usize),
    /// Replicas on brokers that are not there.
    #[error("Unknown broker(s) in replica assignment: {0}.")]
    UnknownBrokers(String),
    /// Not one assignment for each new partition.
    #[error("Increasing the number of partitions by {increase} but {given} assignments provided.")]
    AssignmentCount {
        /// New partitions.
        increase: i32,
        /// Assignments given.
        given: usize,
    },
    /// No replica.
    #[error("Cannot have replication factor of 0 for partition id {0}.")]
    EmptyReplicas(i32),
    /// A broker twice in a new partition.
    #[error("Duplicate brokers not allowed in replica assignment: {brokers} for partition id {partition}.")]
    DuplicateBrokers {
        /// The replicas.
        brokers: String,
        /// The partition.
        partition: i32,
    },
    /// New partitions with another number of replicas.
    #[error(
        "Inconsistent replication factor between partitions, partition 0 has {expected} while partitions [{partitions}] \
         have replication factors [{factors}], respectively."
    )]
    InconsistentFactor {
        /// Replicas of partition 0.
        expected: usize,
        /// Those that differ.
        partitions: String,
        /// Their numbers of replicas.
        factors: String,
    },
    /// Its partitions are being moved.
    #[error("A partition reassignment is in progress for the topic '{0}'.")]
    ReassignmentInProgress(String),
    /// Written, but not yet known to the brokers.
    #[error("the topic was not seen by the brokers in time")]
    TimedOut,
    /// Another broker is the controller by now.
    #[error("this broker is not the controller any more")]
    NotController,
    /// ZooKeeper refused.
    #[error("{0}")]
    ZooKeeper(String),
}

impl AdminError {
    /// What a client is told beside the code; Kafka says nothing where the text would only repeat it.
    pub fn client_text(&self) -> Option<String> {
        match self {
            AdminError::TimedOut | AdminError::NotController | AdminError::ZooKeeper(_) => None,
            AdminError::Placement(PlacementError::RacksIncomplete) => None,
            other => Some(other.to_string()),
        }
    }
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// What a request waits for.
#[derive(Clone, Debug, PartialEq)]
enum Awaited {
    /// These partitions have leaders in the image.
    Leaders(BTreeSet<i32>),
    /// The image does not have the topic any more, and its znodes are gone or must wait for a dead broker.
    Gone { left_image: bool, left_zookeeper: bool },
}

#[derive(Debug)]
struct Request {
    /// `None`: does not wait beyond the writing.
    deadline: Option<Millis>,
    outcomes: TopicsOutcome,
    writing: BTreeMap<String, CreatedTopic>,
    awaited: BTreeMap<String, (CreatedTopic, Awaited)>,
    done: Waiter<TopicsOutcome>,
}

#[derive(Debug)]
struct Creation {
    record: TopicRecord,
    settings: Settings,
    /// The topic that is brought back.
    kept: Option<KeptTopic>,
}

/// Requests about topics that are not yet answered.
#[derive(Debug, Default)]
pub(super) struct Admin {
    open: BTreeMap<u64, Request>,
    creating: BTreeMap<String, Creation>,
}

impl Reign {
    pub(super) fn change_topics(&mut self, request: TopicsRequest, done: Waiter<TopicsOutcome>, io: &mut Io<'_>) {
        let TopicsRequest { action, timeout_ms, validate_only } = request;
        let number = self.next_request();
        let deadline =
            u64::try_from(timeout_ms).ok().filter(|&timeout| timeout > 0).map(|timeout| io.now.mono + timeout);
        let open =
            Request { deadline, outcomes: BTreeMap::new(), writing: BTreeMap::new(), awaited: BTreeMap::new(), done };
        self.admin.open.insert(number, open);
        match action {
            TopicsAction::Create(topics) => {
                for topic in topics {
                    let name = topic.name.clone();
                    let outcome = self.create_topic(number, topic, validate_only, io);
                    self.note(number, name, outcome);
                }
            }
            TopicsAction::Delete(topics) => {
                for topic in topics {
                    let outcome = self.delete_topic(number, &topic, io);
                    self.note(number, topic, outcome);
                }
            }
            TopicsAction::Undelete(topics) => {
                for (name, id) in topics {
                    let outcome = self.undelete_topic(number, (&name, id), validate_only, io);
                    self.note(number, name, outcome);
                }
            }
            TopicsAction::Grow(topics) => {
                for topic in topics {
                    let name = topic.topic.clone();
                    let outcome = self.grow_topic(number, topic, validate_only, io);
                    self.note(number, name, outcome);
                }
            }
        }
        self.maybe_answer_admin(number, io);
    }

    /// Keeps what is known of a topic at once: `None` while something is being written for it.
    fn note(&mut self, number: u64, topic: String, outcome: Result<Option<CreatedTopic>, AdminError>) {
        let Some(open) = self.admin.open.get_mut(&number) else { return };
        match outcome {
            Ok(None) => {}
            Ok(Some(done)) => {
                open.outcomes.insert(topic, Ok(done));
            }
            Err(problem) => {
                open.outcomes.insert(topic, Err(problem));
            }
        }
    }

    fn create_topic(
        &mut self,
        number: u64,
        topic: NewTopic,
        validate_only: bool,
        io: &mut Io<'_>,
    ) -> Result<Option<CreatedTopic>, AdminError> {
        // Kafka asks its metadata first: the answer for a topic that is there does not depend on the rest of the request.
        if self.mirror.topics.contains_key(&topic.name) && !self.mirror.deletions.contains(&topic.name) {
            return Err(AdminError::TopicExists(topic.name));
        }
        let partitions = self.resolve_assignment(&topic, io)?;
        self.check_new_topic(&topic.name, &partitions)?;
        let mut created = CreatedTopic {
            id: Uuid::nil(),
            partitions: i32::try_from(partitions.len()).unwrap_or(i32::MAX),
            replication_factor: partitions
                .values()
                .next()
                .map_or(0, |first| i16::try_from(first.len()).unwrap_or(i16::MAX)),
        };
        if validate_only {
            return Ok(Some(created));
        }
        created.id = random_id(io.rng);
        let partitions = partitions.into_iter().map(|(number, replicas)| (number, Assignment::new(replicas)));
        let record = TopicRecord { topic_id: Some(created.id), partitions: partitions.collect() };
        info!(topic = topic.name, partitions = created.partitions, "creating topic");
        let name = topic.name;
        self.admin.creating.insert(name.clone(), Creation { record, settings: topic.settings, kept: None });
        if let Some(open) = self.admin.open.get_mut(&number) {
            open.writing.insert(name.clone(), created);
        }
        self.write_creation(number, name, false, io);
        Ok(None)
    }

    fn undelete_topic(
        &mut self,
        number: u64,
        (name, id): (&str, Option<Uuid>),
        validate_only: bool,
        io: &mut Io<'_>,
    ) -> Result<Option<CreatedTopic>, AdminError> {
        if self.mirror.topics.contains_key(name) && !self.mirror.deletions.contains(name) {
            return Err(AdminError::TopicExists(name.to_owned()));
        }
        let kept = self.kept_topic(name, id, io)?;
        let replicas = kept.partitions.iter().map(|(&number, partition)| (number, partition.replicas.clone()));
        let replicas: BTreeMap<i32, Vec<i32>> = replicas.collect();
        // Whatever its replicas were when it was deleted, perhaps in the midst of a reassignment.
        self.check_new_name(name)?;
        let mut created = CreatedTopic {
            id: Uuid::nil(),
            partitions: i32::try_from(replicas.len()).unwrap_or(i32::MAX),
            replication_factor: replicas.get(&0).map_or(0, |first| i16::try_from(first.len()).unwrap_or(i16::MAX)),
        };
        if validate_only {
            return Ok(Some(created));
        }
        created.id = kept.id;
        let partitions = replicas.into_iter().map(|(number, replicas)| (number, Assignment::new(replicas)));
        let record = TopicRecord { topic_id: Some(kept.id), partitions: partitions.collect() };
        info!(topic = name, partitions = created.partitions, "bringing a deleted topic back");
        let settings = kept.settings.clone();
        self.admin.creating.insert(name.to_owned(), Creation { record, settings, kept: Some(kept) });
        if let Some(open) = self.admin.open.get_mut(&number) {
            open.writing.insert(name.to_owned(), created);
        }
        self.write_creation(number, name.to_owned(), false, io);
        Ok(None)
    }

    fn resolve_assignment(&self, topic: &NewTopic, io: &mut Io<'_>) -> Result<BTreeMap<i32, Vec<i32>>, AdminError> {
        if !topic.assignments.is_empty() {
            if topic.partitions != -1 || topic.replication_factor != -1 {
                return Err(AdminError::NumbersAndAssignment);
            }
            return Ok(topic.assignments.clone());
        }
        let partitions = if topic.partitions == -1 { io.config.num_partitions } else { topic.partitions };
        let factor = if topic.replication_factor == -1 {
            io.config.default_replication_factor
        } else {
            topic.replication_factor
        };
        if partitions > MAX_PARTITIONS {
            return Err(AdminError::TooManyPartitions);
        }
        Ok(place(&self.brokers_with_racks(), partitions, factor, Start::Random, io.rng)?)
    }

    fn brokers_with_racks(&self) -> Vec<(i32, Option<&str>)> {
        let reachable = self.mirror.brokers.iter().filter(|(id, _)| !self.mirror.unreachable.contains(id));
        reachable.map(|(&id, broker)| (id, broker.registration.rack.as_deref())).collect()
    }

    fn check_new_name(&self, name: &str) -> Result<(), AdminError> {
        topic_name::validate(name)?;
        if self.mirror.deletions.contains(name) {
            return Err(AdminError::MarkedForDeletion(name.to_owned()));
        }
        if self.admin.creating.contains_key(name) {
            return Err(AdminError::TopicExists(name.to_owned()));
        }
        let others = self.mirror.topics.keys().chain(self.admin.creating.keys());
        let colliding: Vec<&String> = others.filter(|other| topic_name::collide(other, name)).collect();
        if !colliding.is_empty() {
            return Err(AdminError::Collides { topic: name.to_owned(), others: list(colliding) });
        }
        Ok(())
    }

    fn check_new_topic(&self, name: &str, partitions: &BTreeMap<i32, Vec<i32>>) -> Result<(), AdminError> {
        self.check_new_name(name)?;
        let sizes: BTreeSet<usize> = partitions.values().map(Vec::len).collect();
        if sizes.len() != 1 {
            return Err(AdminError::UnequalReplicas);
        }
        if sizes.contains(&0) {
            return Err(PlacementError::NoReplicas.into());
        }
        if partitions.values().any(|replicas| has_duplicates(replicas)) {
            let entry = |(number, replicas): (&i32, &Vec<i32>)| format!("{number} -> ArrayBuffer({})", list(replicas));
            return Err(AdminError::DuplicateReplica(format!("HashMap({})", list(partitions.iter().map(entry)))));
        }
        if !partitions.keys().copied().eq((0..).take(partitions.len())) {
            return Err(AdminError::NotConsecutive);
        }
        Ok(())
    }

    /// Writes settings and assignment together, so that no topic is ever without its settings, nor settings without topic.
    fn write_creation(&mut self, request: u64, topic: String, settings_exist: bool, io: &mut Io<'_>) {
        let Some(creation) = self.admin.creating.get(&topic) else { return };
        let (path, settings) = (paths::config("topics", &topic), encode_config(&creation.settings));
        let settings =
            if settings_exist { set(path, settings, ANY_VERSION) } else { io.store.persistent(&path, Some(settings)) };
        let create = io.store.persistent(&paths::topic(&topic), Some(creation.record.encode()));
        let mut changes = vec![settings, create];
        if let Some(kept) = &creation.kept {
            changes.extend(self.restoration(kept, io));
        }
        let write = self.fenced(changes);
        self.ask(Question::TopicCreation { request, topic }, write, io);
    }

    pub(super) fn on_topic_created(&mut self, request: u64, topic: String, result: ZkResult, io: &mut Io<'_>) {
        let problem = match self.fenced_outcome(result) {
            Ok(_) => {
                self.topic_created(request, topic, io);
                return self.maybe_answer_admin(request, io);
            }
            Err((0, ZkError::NodeExists)) => return self.write_creation(request, topic, true, io),
            Err((_, ZkError::NodeExists)) => AdminError::TopicExists(topic.clone()),
            Err((_, problem)) if !self.is_deposed() => AdminError::ZooKeeper(problem.message(&paths::topic(&topic))),
            Err(_) => AdminError::NotController,
        };
        self.admin.creating.remove(&topic);
        if let Some(open) = self.admin.open.get_mut(&request) {
            open.writing.remove(&topic);
            open.outcomes.insert(topic, Err(problem));
        }
        self.maybe_answer_admin(request, io);
    }

    fn topic_created(&mut self, request: u64, topic: String, io: &mut Io<'_>) {
        let Some(creation) = self.admin.creating.remove(&topic) else { return };
        let is_new = !self.mirror.topics.contains_key(&topic);
        let added = self.mirror.merge_topic(&topic, creation.record, 0);
        if let (true, Some(mirror)) = (is_new, self.mirror.topics.get_mut(&topic)) {
            mirror.layout = if creation.kept.is_some() { Layout::HasPartitions } else { Layout::Bare };
        }
        match creation.kept {
            Some(kept) => {
                self.kept.forget(kept.id);
                // Who leads stands in the nodes that were made with the topic's.
                added.into_iter().for_each(|tp| self.read_state(tp, io));
            }
            None => self.dirty.extend(added),
        }
        // Sets the watch; what it reads is known.
        self.ask(Question::Topic(topic.clone()), get(paths::topic(&topic), true), io);
        let numbers = self.mirror.topics[&topic].partitions.keys().copied().collect();
        if let Some(open) = self.admin.open.get_mut(&request)
            && let Some(created) = open.writing.remove(&topic)
        {
            open.awaited.insert(topic, (created, Awaited::Leaders(numbers)));
        }
    }

    fn delete_topic(&mut self, number: u64, topic: &str, io: &mut Io<'_>) -> Result<Option<CreatedTopic>, AdminError> {
        if !self.mirror.topics.contains_key(topic) {
            return Err(AdminError::UnknownTopic(topic.to_owned()));
        }
        if let Some(open) = self.admin.open.get_mut(&number) {
            open.writing.insert(topic.to_owned(), CreatedTopic::default());
        }
        let mark = io.store.persistent(&paths::delete_topic(topic), None);
        let mark = self.fenced(vec![mark]);
        self.ask(Question::DeletionMark { request: number, topic: topic.to_owned() }, mark, io);
        Ok(None)
    }

    pub(super) fn on_deletion_marked(&mut self, request: u64, topic: String, result: ZkResult, io: &mut Io<'_>) {
        let problem = match self.fenced_outcome(result) {
            Ok(_) | Err((_, ZkError::NodeExists)) => None,
            Err(_) if self.is_deposed() => Some(AdminError::NotController),
            Err((_, problem)) => Some(AdminError::ZooKeeper(problem.message(&paths::delete_topic(&topic)))),
        };
        if problem.is_none() && self.mirror.topics.contains_key(&topic) {
            self.begin_deletion(&topic);
        }
        if let Some(open) = self.admin.open.get_mut(&request) {
            open.writing.remove(&topic);
            match problem {
                Some(problem) => {
                    open.outcomes.insert(topic, Err(problem));
                }
                None => {
                    let left_zookeeper = !self.mirror.topics.contains_key(&topic);
                    let awaited = Awaited::Gone { left_image: left_zookeeper, left_zookeeper };
                    open.awaited.insert(topic, (CreatedTopic::default(), awaited));
                }
            }
        }
        self.maybe_answer_admin(request, io);
    }

    /// A topic's znodes are removed.
    pub(super) fn admin_topic_gone(&mut self, topic: &str, io: &mut Io<'_>) {
        for open in self.admin.open.values_mut() {
            if let Some((_, Awaited::Gone { left_zookeeper, .. })) = open.awaited.get_mut(topic) {
                *left_zookeeper = true;
            }
        }
        self.check_awaited(io);
    }

    fn grow_topic(
        &mut self,
        number: u64,
        wanted: NewPartitions,
        validate_only: bool,
        io: &mut Io<'_>,
    ) -> Result<Option<CreatedTopic>, AdminError> {
        let topic = wanted.topic.clone();
        let partitions = self.resolve_growth(wanted, io)?;
        if validate_only {
            return Ok(Some(CreatedTopic::default()));
        }
        info!(topic, partitions = partitions.len(), "adding partitions");
        if let Some(open) = self.admin.open.get_mut(&number) {
            open.writing.insert(topic.clone(), CreatedTopic::default());
        }
        self.topic_writes.push(&topic, TopicChange::Grow { partitions, request: number });
        Ok(None)
    }

    fn resolve_growth(&self, wanted: NewPartitions, io: &mut Io<'_>) -> Result<BTreeMap<i32, Vec<i32>>, AdminError> {
        let NewPartitions { topic, count, assignments } = wanted;
        if self.mirror.deletions.contains(&topic) {
            return Err(AdminError::QueuedForDeletion);
        }
        let Some(mirror) = self.mirror.topics.get(&topic) else { return Err(AdminError::UnknownTopic(topic)) };
        if mirror.partitions.values().any(|partition| partition.assignment.is_being_reassigned()) {
            return Err(AdminError::ReassignmentInProgress(topic));
        }
        let current = mirror.partitions.len();
        let known = i32::try_from(current).unwrap_or(i32::MAX);
        if count < known {
            return Err(AdminError::FewerPartitions { current, wanted: count });
        }
        if count == known {
            return Err(AdminError::SamePartitions(current));
        }
        if count > MAX_PARTITIONS {
            return Err(AdminError::TooManyPartitions);
        }
        let Some(first) = mirror.partitions.get(&0).map(|partition| &partition.assignment.replicas) else {
            return Err(AdminError::UnknownTopic(topic));
        };
        let brokers = self.brokers_with_racks();
        let increase = count - known;
        let Some(assignments) = assignments else {
            let leader = first.first().copied().unwrap_or(0);
            let index = brokers.iter().position(|&(id, _)| id >= leader).unwrap_or(0);
            let factor = i32::try_from(first.len()).unwrap_or(i32::MAX);
            return Ok(place(&brokers, increase, factor, Start::After { index, partition: known }, io.rng)?);
        };
        let ids: BTreeSet<i32> = brokers.iter().map(|&(id, _)| id).collect();
        let unknown: BTreeSet<i32> = assignments.iter().flatten().copied().filter(|id| !ids.contains(id)).collect();
        if !unknown.is_empty() {
            return Err(AdminError::UnknownBrokers(list(unknown)));
        }
        if usize::try_from(increase).ok() != Some(assignments.len()) {
            return Err(AdminError::AssignmentCount { increase, given: assignments.len() });
        }
        let partitions: BTreeMap<i32, Vec<i32>> = (known..).zip(assignments).collect();
        check_replicas(&partitions, first.len())?;
        Ok(partitions)
    }

    pub(super) fn topic_grown(&mut self, request: u64, topic: &str, numbers: BTreeSet<i32>, io: &mut Io<'_>) {
        if let Some(open) = self.admin.open.get_mut(&request)
            && let Some(facts) = open.writing.remove(topic)
        {
            open.awaited.insert(topic.to_owned(), (facts, Awaited::Leaders(numbers)));
        }
        self.maybe_answer_admin(request, io);
    }

    pub(super) fn topic_not_grown(&mut self, request: u64, topic: &str, io: &mut Io<'_>) {
        if let Some(open) = self.admin.open.get_mut(&request) {
            open.writing.remove(topic);
            let problem = AdminError::ZooKeeper(format!("the assignment of {topic} could not be written"));
            open.outcomes.insert(topic.to_owned(), Err(problem));
        }
        self.maybe_answer_admin(request, io);
    }

    /// The image changed: what is awaited may be there.
    pub(super) fn on_image(&mut self, image: &Image, io: &mut Io<'_>) {
        for open in self.admin.open.values_mut() {
            for (topic, (_, awaited)) in &mut open.awaited {
                match awaited {
                    Awaited::Leaders(numbers) => numbers.retain(|&number| {
                        image.partition(topic, number).is_none_or(|partition| partition.leader == NO_LEADER)
                    }),
                    Awaited::Gone { left_image, .. } => *left_image = image.topic(topic).is_none(),
                }
            }
        }
        self.check_awaited(io);
    }

    fn check_awaited(&mut self, io: &mut Io<'_>) {
        let numbers: Vec<u64> = self.admin.open.keys().copied().collect();
        for number in numbers {
            let Some(open) = self.admin.open.get(&number) else { continue };
            let is_done = |topic: &str, awaited: &Awaited| match awaited {
                Awaited::Leaders(missing) => missing.is_empty(),
                Awaited::Gone { left_image, left_zookeeper } => {
                    *left_image && (*left_zookeeper || self.deletion_is_stuck(topic))
                }
            };
            let done: Vec<String> = open
                .awaited
                .iter()
                .filter(|(topic, (_, awaited))| is_done(topic, awaited))
                .map(|(topic, _)| topic.clone())
                .collect();
            if let Some(open) = self.admin.open.get_mut(&number) {
                for topic in done {
                    if let Some((facts, _)) = open.awaited.remove(&topic) {
                        open.outcomes.insert(topic, Ok(facts));
                    }
                }
            }
            self.maybe_answer_admin(number, io);
        }
    }

    fn maybe_answer_admin(&mut self, number: u64, io: &mut Io<'_>) {
        let Some(open) = self.admin.open.get(&number) else { return };
        let waits = open.deadline.is_some() && !open.awaited.is_empty();
        if open.writing.is_empty() && !waits {
            self.answer_admin(number, io);
        }
    }

    fn answer_admin(&mut self, number: u64, io: &mut Io<'_>) {
        let Some(mut open) = self.admin.open.remove(&number) else { return };
        for topic in open.awaited.into_keys().chain(open.writing.into_keys()) {
            open.outcomes.insert(topic, Err(AdminError::TimedOut));
        }
        io.answer(open.done, open.outcomes);
    }

    pub(super) fn admin_deadline(&self) -> Option<Millis> {
        self.admin.open.values().filter_map(|open| open.deadline).min()
    }

    pub(super) fn expire_admin(&mut self, io: &mut Io<'_>) {
        let expired = |open: &Request| open.deadline.is_some_and(|deadline| deadline <= io.now.mono);
        let numbers: Vec<u64> =
            self.admin.open.iter().filter(|(_, open)| expired(open)).map(|(&number, _)| number).collect();
        for number in numbers {
            warn!("a request about topics was not complete in time");
            self.answer_admin(number, io);
        }
    }

    pub(super) fn end_admin(&mut self, io: &mut Io<'_>) {
        for mut open in std::mem::take(&mut self.admin.open).into_values() {
            for topic in open.awaited.into_keys().chain(open.writing.into_keys()) {
                open.outcomes.insert(topic, Err(AdminError::NotController));
            }
            io.answer(open.done, open.outcomes);
        }
    }
}

fn has_duplicates(replicas: &[i32]) -> bool {
    replicas.iter().collect::<BTreeSet<_>>().len() != replicas.len()
}

fn check_replicas(partitions: &BTreeMap<i32, Vec<i32>>, expected: usize) -> Result<(), AdminError> {
    for (&partition, replicas) in partitions {
        if replicas.is_empty() {
            return Err(AdminError::EmptyReplicas(partition));
        }
        if has_duplicates(replicas) {
            return Err(AdminError::DuplicateBrokers { brokers: list(replicas), partition });
        }
    }
    let odd: Vec<(i32, usize)> = partitions
        .iter()
        .filter(|(_, replicas)| replicas.len() != expected)
        .map(|(&partition, replicas)| (partition, replicas.len()))
        .collect();
    if odd.is_empty() {
        return Ok(());
    }
    let partitions = list(odd.iter().map(|(partition, _)| partition));
    Err(AdminError::InconsistentFactor { expected, partitions, factors: list(odd.iter().map(|(_, factor)| factor)) })
}
