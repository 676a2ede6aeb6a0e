//! What a group may use while it handles one input: the time, its settings, the log it records to, and a place for
//! answers. Answers are collected and given by the caller once no lock is held. Holds no state of a group.

use super::assignor::Assignor;
use super::records::GroupRecord;
use super::topics::Topics;
use crate::config::{BrokerConfig, GroupConfigs};
pub use crate::journal::{Answer, Journal, StoreError, Waiter};
use crate::journal::{Appended, Unreplicated};
use crate::log::Verification;
use bytes::Bytes;
use common::Rng;
use common::kafka::batch::{self, BatchSpec, Record};
use common::kafka::compression::Compression;
use common::kafka::wire::STRING_MAX_BYTES;
use common::time::{Millis, Now};
use std::sync::Arc;
use tracing::warn;

/// The settings that groups look at; times in milliseconds.
#[derive(Clone, Debug)]
pub struct GroupSettings {
    /// `group.min.session.timeout.ms`
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay_ms: u64,
    /// `group.max.size`
    pub max_size: usize,
    /// `offset.metadata.max.bytes`
    pub metadata_max_bytes: usize,
    /// `offsets.retention.minutes` in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub retention_check_interval_ms: u64,
    /// `offsets.commit.timeout.ms`
    pub commit_timeout_ms: u64,
    /// `offsets.load.buffer.size`
    pub load_buffer_bytes: usize,
    /// `offsets.topic.num.partitions`, used until the topic exists.
    pub topic_partitions: i32,
    /// `offsets.topic.compression.codec`
    pub compression: Compression,
    /// What groups have of their own, with the broker's settings behind it.
    pub configs: Arc<GroupConfigs>,
    /// `group.consumer.max.size`
    pub consumer_max_size: usize,
    /// `group.consumer.assignors`, the default one first.
    pub assignors: Vec<Assignor>,
    /// `group.consumer.migration.policy`: groups may go to the new protocol.
    pub allows_upgrade: bool,
    /// `group.consumer.migration.policy`: groups may go back.
    pub allows_downgrade: bool,
    /// `group.share.max.size`
    pub share_max_size: usize,
    /// `group.share.initialize.retry.interval.ms`
    pub share_initialize_retry_ms: u64,
}

impl GroupSettings {
    /// Those of a broker, with its groups' own.
    pub fn of(config: &BrokerConfig, configs: Arc<GroupConfigs>) -> GroupSettings {
        let unsigned = |value: i32| u64::try_from(value).unwrap_or(0);
        let size = |value: i32| usize::try_from(value).unwrap_or(0);
        let policy = &config.group_consumer_migration_policy;
        let is_policy = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(policy));
        GroupSettings {
            min_session_timeout_ms: config.group_min_session_timeout_ms,
            max_session_timeout_ms: config.group_max_session_timeout_ms,
            initial_rebalance_delay_ms: unsigned(config.group_initial_rebalance_delay_ms),
            max_size: size(config.group_max_size),
            metadata_max_bytes: size(config.offset_metadata_max_bytes),
            offsets_retention_ms: i64::from(config.offsets_retention_minutes) * 60_000,
            retention_check_interval_ms: u64::try_from(config.offsets_retention_check_interval_ms).unwrap_or(1),
            commit_timeout_ms: unsigned(config.offsets_commit_timeout_ms),
            load_buffer_bytes: size(config.offsets_load_buffer_size),
            topic_partitions: config.offsets_topic_num_partitions,
            compression: i16::try_from(config.offsets_topic_compression_codec)
                .ok()
                .and_then(Compression::from_id)
                .unwrap_or(Compression::None),
            configs,
            consumer_max_size: size(config.group_consumer_max_size),
            assignors: assignors(&config.group_consumer_assignors),
            allows_upgrade: is_policy(&["UPGRADE", "BIDIRECTIONAL"]),
            allows_downgrade: is_policy(&["DOWNGRADE", "BIDIRECTIONAL"]),
            share_max_size: usize::try_from(config.group_share_max_size).unwrap_or(0),
            share_initialize_retry_ms: unsigned(config.group_share_initialize_retry_interval_ms),
        }
    }

    /// How long a member of a consumer group may be silent, milliseconds.
    pub(super) fn consumer_session_timeout_ms(&self, group: &str) -> u64 {
        u64::try_from(self.configs.get(group).consumer_session_timeout_ms).unwrap_or(0)
    }
}

/// Those named that there are here: an assignor of one's own is a Java class. Uniform if none is left.
fn assignors(names: &[String]) -> Vec<Assignor> {
    let known: Vec<Assignor> = names.iter().filter_map(|name| Assignor::parse(name)).collect();
    if known.len() < names.len() {
        warn!(names = names.join(","), "only the uniform and the range assignor can be used");
    }
    if known.is_empty() { vec![Assignor::Uniform] } else { known }
}

/// What becomes true once an appended batch is replicated.
#[derive(Debug)]
pub(super) struct Pending {
    /// Offset of the batch's last record.
    pub offset: i64,
    /// What its records say.
    pub records: Vec<GroupRecord>,
    /// The transaction they belong to.
    pub producer_id: Option<i64>,
    /// Set for a marker that ends that transaction.
    pub ends_with_commit: Option<bool>,
    /// Who waits for it; taken when it was answered because of the timeout.
    pub then: Then,
    /// When `then` hears that it took too long.
    pub deadline: Millis,
}

impl Appended for Pending {
    fn offset(&self) -> i64 {
        self.offset
    }

    fn deadline(&self) -> Option<Millis> {
        (!matches!(self.then, Then::Nothing)).then_some(self.deadline)
    }
}

/// Who waits for a record to be replicated.
pub(super) enum Then {
    /// Nobody.
    Nothing,
    /// The members of a group whose leader handed in the assignment of this generation.
    Sync {
        /// Group id.
        group: String,
        /// Generation.
        generation: i32,
    },
    /// A request.
    Answer(Waiter<Result<(), StoreError>>),
}

impl std::fmt::Debug for Then {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Then::Nothing => f.write_str("Nothing"),
            Then::Sync { group, generation } => write!(f, "Sync({group}, {generation})"),
            Then::Answer(_) => f.write_str("Answer"),
        }
    }
}

/// One input being handled.
pub(super) struct Turn<'a> {
    pub now: Now,
    pub settings: &'a GroupSettings,
    pub journal: &'a dyn Journal,
    pub topics: &'a dyn Topics,
    pub rng: &'a mut Rng,
    /// Partition of `__consumer_offsets` that the group belongs to.
    pub partition: i32,
    /// Appended and not yet replicated, by offset.
    pub pending: &'a mut Unreplicated<Pending>,
    pub answers: &'a mut Vec<Answer>,
}

impl Turn<'_> {
    pub(super) fn answer<T: Send + 'static>(&mut self, waiter: Waiter<T>, value: T) {
        self.answers.push(Box::new(move || waiter(value)));
    }

    /// The moment `millis` from now; a negative time is none.
    pub(super) fn after(&self, millis: i32) -> Millis {
        self.now.mono + u64::try_from(millis).unwrap_or(0)
    }

    /// A member id that nobody has: `prefix`, then a random UUID, as clients show it.
    pub(super) fn new_member_id(&mut self, prefix: &str) -> String {
        let id = uuid::Builder::from_random_bytes(self.rng.u128(..).to_be_bytes()).into_uuid();
        // The id must fit into a string of the wire, whatever length the client's name for itself has.
        let room = STRING_MAX_BYTES - "-".len() - uuid::fmt::Hyphenated::LENGTH;
        let prefix = &prefix[..prefix.floor_char_boundary(room)];
        format!("{prefix}-{id}")
    }

    /// Appends records in one batch; nothing changes before they are accepted. What they say becomes true when they
    /// are replicated, and `then` hears of it.
    pub(super) fn store(
        &mut self,
        records: Vec<GroupRecord>,
        producer: Option<(i64, i16, Verification)>,
    ) -> Result<Pending, StoreError> {
        let mut spec = BatchSpec { compression: self.settings.compression, ..BatchSpec::default() };
        let mut verification = Verification::Off;
        if let Some((producer_id, producer_epoch, needed)) = producer {
            verification = needed;
            spec = BatchSpec { producer_id, producer_epoch, base_sequence: 0, is_transactional: true, ..spec };
        }
        let batch = batch_of(&records, &spec, self.now)?;
        let offset = self.journal.append_in_transaction(self.partition, batch, verification, self.now)?;
        let producer_id = producer.map(|(id, ..)| id);
        let deadline = self.now.mono + self.settings.commit_timeout_ms;
        Ok(Pending { offset, records, producer_id, ends_with_commit: None, then: Then::Nothing, deadline })
    }

    /// Has `then` hear when all that was appended is replicated: what an answer tells of may not be yet.
    pub(super) fn wait_for_all(&mut self, then: Waiter<Result<(), StoreError>>) {
        let Some(last) = self.pending.last() else { return self.answer(then, Ok(())) };
        let last = Pending {
            offset: last.offset,
            records: Vec::new(),
            producer_id: None,
            ends_with_commit: None,
            then: Then::Answer(then),
            deadline: self.now.mono + self.settings.commit_timeout_ms,
        };
        self.pending.push(last);
    }

    /// Has `then` hear of a stored batch.
    pub(super) fn wait(&mut self, stored: Pending, then: Then) {
        self.pending.push(Pending { then, ..stored });
    }
}

/// The records as one batch.
pub(super) fn batch_of(records: &[GroupRecord], spec: &BatchSpec, now: Now) -> Result<Bytes, StoreError> {
    let mut encoded = Vec::with_capacity(records.len());
    for (offset, record) in (0..).zip(records) {
        let (key, value) = record.encode().map_err(|_| StoreError::TooLarge)?;
        encoded.push(Record { offset, timestamp: now.wall.0, key: Some(key), value, headers: Vec::new() });
    }
    batch::build(spec, &encoded).map_err(|_| StoreError::TooLarge)
}
