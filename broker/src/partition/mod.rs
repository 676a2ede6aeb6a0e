//! The partitions of this broker: one leader-or-follower machine each, the fetchers that follow other leaders, and the
//! requests that wait for them. Leader epochs, high watermark, in-sync replicas and truncation follow Kafka 3.9. Knows
//! offsets and batches' headers, never the meaning of a record; never talks to ZooKeeper or to a socket.

mod cleaning;
pub mod fetch_session;
pub mod follower;
mod following;
pub mod isr;
mod leading;
pub mod moving;
mod past;
mod remote;
mod replicas;
mod serving;
mod standing;
mod storage;
#[cfg(all(test, feature = "server"))]
mod tests;
pub mod throttle;
mod transitions;
mod upkeep;
pub mod waiting;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use common::disk::Disk;
use common::kafka::compression::Compression;
use common::kafka::records::Records;
use common::time::{Millis, Now};
use parking_lot::{Mutex, RwLock};
use thiserror::Error;
use uuid::Uuid;

use crate::log::{AbortedTxn, AppendError, Log, LogConfig, LogError};
use crate::metrics::{ReplicaCounters, TopicCounters};
use fetch_session::Wanted;
use follower::{EpochsAsk, FetchAsk, OffsetsAsk, RebuildAsk};
use isr::{InSync, LagRule};
use moving::FutureLog;
use standing::{Event, ParkedFollower};
use throttle::{ThrottleWindow, Throttles};
use waiting::{ParkedDelete, ParkedFetch, ParkedProduce, Waiters};

pub use cleaning::CleanerSettings;
pub use leading::{Asker, FoundOffset, OffsetQuery};
pub use remote::{RemoteFetch, RemoteView};
pub use replicas::{Append, FetchCall, FetchPart, IsrAnswer, ProduceCall, Replicas};
pub use serving::{FetchOrder, FetchPiece, FetchReply, FetchResult, PieceError, Topics};
pub use storage::StorageError;
pub use transitions::{EPOCH_DURING_DELETE, NO_EPOCH, NewState, StateError, Stop};
pub use upkeep::Chore;

/// Settings of a broker that its partitions need. Names in the docs are those of `server.properties`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `broker.id`.
    pub broker: i32,
    /// `log.dirs`.
    pub log_dirs: Vec<PathBuf>,
    /// `replica.lag.time.max.ms`.
    pub lag_time_max_ms: u64,
    /// `num.replica.fetchers`.
    pub fetchers_per_leader: u32,
    /// `replica.fetch.max.bytes`.
    pub replica_fetch_max_bytes: i32,
    /// `replica.fetch.backoff.ms`.
    pub replica_fetch_backoff_ms: u64,
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub high_watermark_checkpoint_ms: u64,
    /// `log.flush.offset.checkpoint.interval.ms`.
    pub recovery_point_checkpoint_ms: u64,
    /// `log.flush.start.offset.checkpoint.interval.ms`.
    pub start_offset_checkpoint_ms: u64,
    /// `log.flush.scheduler.interval.ms`.
    pub flush_check_ms: u64,
    /// `log.retention.check.interval.ms`.
    pub retention_check_ms: u64,
    /// `log.cleaner.enable`.
    pub compacts: bool,
    /// The rest of `log.cleaner.*`, as at the start.
    pub cleaner: CleanerSettings,
    /// `log.initial.task.delay.ms`: before the first retention check.
    pub initial_delay_ms: u64,
    /// `producer.id.expiration.check.interval.ms`.
    pub producer_expiration_check_ms: u64,
    /// `log.segment.delete.delay.ms`: between the renaming of a deleted partition's directory and its removal.
    pub delete_delay_ms: u64,
    /// `max.incremental.fetch.session.cache.slots`.
    pub fetch_session_slots: usize,
    /// `replication.quota.window.num` and `replication.quota.window.size.seconds`.
    pub throttle_window: ThrottleWindow,
    /// Topic settings that a topic does not set itself.
    pub log: LogConfig,
}

impl Default for Settings {
    /// Kafka 3.9's defaults, as broker 0 without a log directory.
    fn default() -> Settings {
        Settings {
            broker: 0,
            log_dirs: Vec::new(),
            lag_time_max_ms: 30_000,
            fetchers_per_leader: 1,
            replica_fetch_max_bytes: 1 << 20,
            replica_fetch_backoff_ms: 1000,
            high_watermark_checkpoint_ms: 5000,
            recovery_point_checkpoint_ms: 60_000,
            start_offset_checkpoint_ms: 60_000,
            flush_check_ms: u64::MAX,
            retention_check_ms: 300_000,
            compacts: true,
            cleaner: CleanerSettings::default(),
            initial_delay_ms: 30_000,
            producer_expiration_check_ms: 600_000,
            delete_delay_ms: 60_000,
            fetch_session_slots: 1000,
            throttle_window: ThrottleWindow::default(),
            log: LogConfig::default(),
        }
    }
}

/// What `broker.rs` carries out for the partitions, after their locks are released.
#[derive(Debug)]
pub enum Effect {
    /// The high watermark of a partition of an internal topic, or of one that is watched, which this broker leads, rose to
    /// `offset`.
    HighWatermark {
        /// Topic.
        topic: Arc<str>,
        /// Partition.
        partition: i32,
        /// The new high watermark.
        offset: i64,
    },
    /// This broker leads a partition from now on, in a new leader epoch.
    BecameLeader {
        /// Topic.
        topic: Arc<str>,
        /// Partition.
        partition: i32,
        /// Its leader epoch.
        leader_epoch: i32,
    },
    /// This broker leads a partition no longer, or does not hold it any more.
    Resigned {
        /// Topic.
        topic: Arc<str>,
        /// Partition.
        partition: i32,
        /// The leader epoch that made it so; `None` if the topic is deleted.
        leader_epoch: Option<i32>,
    },
    /// To be sent to the controller; the answer comes back through [`Replicas::on_alter_partition`].
    AlterPartition(Vec<IsrChange>),
    /// To be sent to a leader; the answer comes back through [`Replicas::on_fetch`].
    Fetch {
        /// The leader.
        leader: i32,
        /// Which of the fetchers of that leader.
        fetcher: u32,
        /// The request.
        ask: FetchAsk,
    },
    /// To be sent to a leader; the answer comes back through [`Replicas::on_offsets`].
    ListOffsets {
        /// The leader.
        leader: i32,
        /// Which of the fetchers of that leader.
        fetcher: u32,
        /// The request.
        ask: OffsetsAsk,
    },
    /// Something of a fetch is in the remote store; it is answered when that was read.
    ReadRemote(Box<RemoteFetch>),
    /// A follower wants to go on from the remote store; the answer comes back through [`Replicas::on_rebuilt`].
    Rebuild {
        /// The leader.
        leader: i32,
        /// What is needed.
        ask: RebuildAsk,
    },
    /// To be sent to a leader; the answer comes back through [`Replicas::on_epochs`].
    EpochEnds {
        /// The leader.
        leader: i32,
        /// Which of the fetchers of that leader.
        fetcher: u32,
        /// The request.
        ask: EpochsAsk,
    },
    /// Work that blocks on the disk, to be done by [`Replicas::do_chore`] off the thread of the tick.
    Chore(Chore),
    /// `Replicas::tick` is to be called no later than at this moment.
    WakeAt(Millis),
    /// A log directory failed: its partitions are offline. ZooKeeper's `/log_dir_event_notification` tells the controller.
    LogDirFailed(PathBuf),
    /// No log directory is left: the broker must stop.
    NoLogDirLeft,
}

/// A proposed change of in-sync replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrChange {
    /// Topic.
    pub topic: Arc<str>,
    /// Topic id; nil if it has none.
    pub topic_id: Uuid,
    /// Partition.
    pub partition: i32,
    /// Number of the proposal in its partition.
    pub number: u64,
    /// The leader's epoch.
    pub leader_epoch: i32,
    /// Partition epoch that the change is based on.
    pub partition_epoch: i32,
    /// The whole new set.
    pub isr: Vec<i32>,
}

/// What a request may read of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// All: a follower.
    LogEnd,
    /// Up to the high watermark: a consumer.
    HighWatermark,
    /// Up to the last stable offset: a consumer with `isolation.level=read_committed`.
    Committed,
}

/// The parts of a fetch request that hold for all its partitions.
#[derive(Clone, Debug)]
pub struct FetchParams {
    /// Broker id of a following replica; `None` for a consumer.
    pub replica: Option<i32>,
    /// The follower's broker epoch; -1 if unknown.
    pub replica_epoch: i64,
    /// Only the leader may answer; a consumer that knows KIP-392 may also read from a follower.
    pub only_leader: bool,
    /// The brokers that a consumer would rather read from than from the leader, if one of them is in sync and has the
    /// asked offset (KIP-392); none if the leader is as near as any.
    pub nearer: Arc<[i32]>,
    /// What may be read.
    pub isolation: Isolation,
    /// Longest time to wait for `min_bytes`.
    pub max_wait_ms: u64,
    /// Bytes worth answering for.
    pub min_bytes: i32,
    /// Most bytes of the whole answer; the first batch is given even if it is larger.
    pub max_bytes: i32,
}

/// One partition of a fetch.
#[derive(Clone)]
pub struct FetchTarget {
    /// The partition.
    pub partition: Arc<Partition>,
    /// The topic id of the request, nil without one.
    pub topic_id: Uuid,
    /// What is wanted.
    pub wanted: Wanted,
}

/// What a fetch read of one partition.
#[derive(Clone, Debug, Default)]
pub struct FetchData {
    /// Whole batches; the first one may begin before the asked offset.
    pub records: Records,
    /// High watermark before the read.
    pub high_watermark: i64,
    /// Last stable offset before the read.
    pub last_stable_offset: i64,
    /// Log start offset before the read.
    pub log_start_offset: i64,
    /// Aborted transactions that touch the records; only for read_committed.
    pub aborted: Option<Vec<AbortedTxn>>,
    /// The fetcher's log differs from ours: our largest epoch not above its last one, and where it ends.
    pub diverging: Option<(i32, i64)>,
    /// Nothing was read: the consumer is to read from this replica.
    pub preferred_replica: Option<i32>,
    /// Nothing was read: the records are in the remote store only.
    pub is_in_remote: bool,
}

/// The outcome of one partition of a fetch.
pub type FetchOutcome = Result<FetchData, ReadError>;

/// Why a partition cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// This broker does not lead (or, if that is enough, not hold) the partition.
    #[error("not leader or follower")]
    NotLeaderOrFollower,
    /// This broker has no such partition, nor has anyone it knows.
    #[error("unknown topic or partition")]
    UnknownPartition,
    /// The request believes in an earlier leader epoch.
    #[error("leader epoch of the request is old")]
    FencedEpoch,
    /// The request believes in a later leader epoch, or its replica is not known yet.
    #[error("leader epoch of the request is not known here")]
    UnknownEpoch,
    /// The offset is below the log's start or above what may be read.
    #[error("offset is out of range")]
    OffsetOutOfRange,
    /// The topic was deleted and created again.
    #[error("topic id differs from the log's")]
    InconsistentTopicId,
    /// The high watermark of a new leader has not reached its epoch yet.
    #[error("high watermark lags behind the epoch's start")]
    OffsetNotAvailable,
    /// The log directory failed.
    #[error("log directory failed")]
    Storage,
    /// A batch in the log is damaged.
    #[error("log is corrupt")]
    Corrupt,
    /// A follower's offset is only in the remote store: it goes on from what lies there.
    #[error("offset is in the remote store")]
    InRemote {
        /// High watermark.
        high_watermark: i64,
        /// Log start offset.
        log_start_offset: i64,
    },
    /// What is in the remote store is not known yet.
    #[error("the remote part is not known yet")]
    RemoteUnknown,
    /// The remote store cannot be read, or too many wait for it.
    #[error("the remote store cannot be read")]
    RemoteStore,
}

/// Where an append landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Offset of the last record.
    pub last_offset: i64,
    /// The append time if the topic uses `LogAppendTime`; -1 otherwise.
    pub log_append_time: i64,
    /// Log start offset.
    pub log_start_offset: i64,
}

/// The outcome of one partition of a produce request.
pub type ProduceOutcome = Result<Appended, ProduceError>;

/// Why records were not appended, or not acknowledged.
#[derive(Clone, Debug, Error)]
pub enum ProduceError {
    /// This broker does not lead the partition.
    #[error("not leader")]
    NotLeader,
    /// This broker has no such partition.
    #[error("unknown topic or partition")]
    UnknownPartition,
    /// Fewer replicas in sync than `min.insync.replicas`; nothing was appended.
    #[error("not enough replicas in sync")]
    NotEnoughReplicas,
    /// Appended, but fewer replicas in sync than `min.insync.replicas` by then.
    #[error("not enough replicas in sync after the append")]
    NotEnoughReplicasAfterAppend,
    /// Appended, but not replicated in time.
    #[error("not replicated in time")]
    TimedOut,
    /// The log directory failed.
    #[error("log directory failed")]
    Storage,
    /// A transactional batch of a transaction that this partition is not, or no longer, part of; nothing was appended.
    #[error("the partition is not part of the transaction")]
    NotInTransaction,
    /// The log refused the records.
    #[error(transparent)]
    Refused(Arc<AppendError>),
}

/// The outcome of one partition of DeleteRecords: the low watermark.
pub type DeleteOutcome = Result<i64, DeleteError>;

/// Why records were not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DeleteError {
    /// This broker does not lead the partition.
    #[error("not leader")]
    NotLeader,
    /// This broker has no such partition.
    #[error("unknown topic or partition")]
    UnknownPartition,
    /// The offset is negative or above the high watermark.
    #[error("offset is out of range")]
    OffsetOutOfRange,
    /// The topic's `cleanup.policy` does not allow it.
    #[error("cleanup policy forbids it")]
    Policy,
    /// Deleted here, but not on all replicas in time.
    #[error("not done on all replicas in time")]
    TimedOut,
    /// The log directory failed.
    #[error("log directory failed")]
    Storage,
}

/// Why a follower cannot go on with a partition.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FollowError {
    /// The leader epoch changed; whoever changed it starts a new fetch.
    #[error("leader epoch changed")]
    Superseded,
    /// The records cannot be appended.
    #[error("{0}")]
    Rejected(String),
    /// The log directory failed.
    #[error("log directory failed")]
    Storage,
}

/// Where a follower's log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Next offset to fetch.
    pub offset: i64,
    /// Leader epoch of the last record.
    pub epoch: Option<i32>,
}

/// What a change of a partition sets in motion. Filled under the partition's lock, carried out after its release by
/// [`Replicas::settle`].
#[derive(Default)]
pub struct Woken {
    /// Produce requests whose offset is replicated, or never will be.
    produces: Vec<(Arc<ParkedProduce>, usize, Option<ProduceError>)>,
    /// DeleteRecords requests: the low watermark, or why there is none.
    deletes: Vec<(Arc<ParkedDelete>, usize, DeleteOutcome)>,
    /// Fetches that have enough to answer, or must be answered.
    fetches: Vec<Arc<ParkedFetch>>,
    /// The same, of followers in their sessions.
    followers: Vec<Arc<ParkedFollower>>,
    /// ISR proposals for the controller.
    changes: Vec<IsrChange>,
    /// High watermarks of internal topics and of those that are watched.
    high_watermarks: Vec<(Arc<str>, i32, i64)>,
    /// Log directories in which an operation failed.
    failed_dirs: BTreeSet<PathBuf>,
}

/// What all partitions of a broker share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) disk: Arc<dyn Disk>,
    /// Brokers that the controller calls alive: only they may join the in-sync replicas.
    pub(crate) alive: RwLock<BTreeSet<i32>>,
    /// In force for topics without settings of their own; begins as `settings.log` and changes with the broker's.
    pub(crate) default_log: RwLock<LogConfig>,
    pub(crate) throttles: Throttles,
    pub(crate) counters: ReplicaCounters,
}

impl Shared {
    fn is_alive(&self, broker: i32) -> bool {
        self.alive.read().contains(&broker)
    }
}

/// One replica of one partition: leader, follower, or neither before the controller's first word.
pub struct Partition {
    topic: Arc<str>,
    index: i32,
    is_internal: bool,
    /// Somebody wants to hear of its high watermark and of who leads it, as coordinators do of internal topics.
    is_watched: AtomicBool,
    shared: Arc<Shared>,
    /// Those of the topic, which its partitions on this broker share.
    counters: Arc<TopicCounters>,
    state: Mutex<State>,
}

/// Topics whose high watermark a coordinator waits for, and that clients must not write to.
pub fn is_internal(topic: &str) -> bool {
    matches!(topic, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}

/// A log with what its directory and the checkpoints say beside it.
struct Opened {
    log: Log,
    log_dir: PathBuf,
    future: Option<FutureLog>,
    topic_id: Option<Uuid>,
    /// From the checkpoint; 0 if it names none.
    high_watermark: i64,
    /// From the checkpoint: everything before was compacted.
    first_dirty_offset: Option<i64>,
}

struct State {
    log: Log,
    /// The topic's id, from `partition.metadata` or the controller.
    topic_id: Option<Uuid>,
    high_watermark: i64,
    /// Everything before was compacted.
    first_dirty_offset: Option<i64>,
    /// It is being compacted.
    is_compacting: bool,
    /// The log directory that holds it.
    log_dir: PathBuf,
    /// The log that is to take the place of this one.
    future: Option<FutureLog>,
    /// Counts the logs that took another's place: what was begun with one is not to be finished with the next.
    log_number: u64,
    /// The directory failed: nothing is read or written any more.
    is_offline: bool,
    /// Deleted: late callers that still hold the partition find nobody.
    is_gone: bool,
    leader: Option<i32>,
    leader_epoch: i32,
    /// Version of the partition's state znode.
    partition_epoch: i32,
    /// Where the current leader epoch starts; this broker leads.
    epoch_start: Option<i64>,
    in_sync: InSync,
    /// Replicas that a reassignment adds.
    adding: Vec<i32>,
    waiters: Waiters,
}

/// A picture of a partition for metrics, tests and tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionView {
    /// Leader's broker id.
    pub leader: Option<i32>,
    /// Leader epoch, -1 before the first.
    pub leader_epoch: i32,
    /// Partition epoch.
    pub partition_epoch: i32,
    /// In-sync replicas; empty on a follower.
    pub isr: Vec<i32>,
    /// Another set is proposed, and the controller's answer is awaited.
    pub is_isr_changing: bool,
    /// Replicas; 0 if this broker does not lead.
    pub replica_count: usize,
    /// In-sync replicas that acks=all asks for.
    pub min_isr: usize,
    /// This broker leads.
    pub is_led_here: bool,
    /// Segments of the log.
    pub segment_count: usize,
    /// High watermark.
    pub high_watermark: i64,
    /// First offset of the oldest open transaction, or the high watermark.
    pub last_stable_offset: i64,
    /// Log end offset.
    pub end_offset: i64,
    /// Log start offset.
    pub start_offset: i64,
    /// Bytes in all segments.
    pub size_bytes: u64,
    /// The log directory.
    pub log_dir: PathBuf,
    /// The directory failed.
    pub is_offline: bool,
}

impl Partition {
    fn new(
        (topic, index): (Arc<str>, i32),
        counters: Arc<TopicCounters>,
        shared: Arc<Shared>,
        opened: Opened,
    ) -> Partition {
        let Opened { log, log_dir, future, topic_id, high_watermark, first_dirty_offset } = opened;
        let rule = LagRule { local: shared.settings.broker, max_lag_ms: shared.settings.lag_time_max_ms };
        let state = State {
            high_watermark: high_watermark.clamp(log.log_start_offset(), log.log_end_offset()),
            log,
            topic_id,
            first_dirty_offset,
            is_compacting: false,
            log_dir,
            future,
            log_number: 0,
            is_offline: false,
            is_gone: false,
            leader: None,
            leader_epoch: -1,
            partition_epoch: 0,
            epoch_start: None,
            in_sync: InSync::new(rule),
            adding: Vec::new(),
            waiters: Waiters::default(),
        };
        Partition {
            is_internal: is_internal(&topic),
            is_watched: AtomicBool::new(&*topic == crate::tiered::METADATA_TOPIC),
            topic,
            index,
            shared,
            counters,
            state: Mutex::new(state),
        }
    }

    /// From now on changes of its high watermark and of its leader are told, as those of internal topics are.
    pub fn watch(&self) {
        self.is_watched.store(true, Ordering::SeqCst);
    }

    fn is_told_of(&self) -> bool {
        self.is_internal || self.is_watched.load(Ordering::SeqCst)
    }

    /// The topic's name.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// What is counted of its topic on this broker.
    pub fn counters(&self) -> &Arc<TopicCounters> {
        &self.counters
    }

    /// Adds to what is counted of the topic, and of all.
    fn count(&self, add: impl Fn(&TopicCounters)) {
        add(&self.counters);
        add(&self.shared.counters.all);
    }

    /// The partition's number.
    pub fn index(&self) -> i32 {
        self.index
    }

    /// First offset of the log.
    pub fn log_start_offset(&self) -> i64 {
        self.state.lock().log.log_start_offset()
    }

    /// How the partition stands.
    pub fn view(&self) -> PartitionView {
        let state = self.state.lock();
        PartitionView {
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            partition_epoch: state.partition_epoch,
            isr: state.in_sync.committed().to_vec(),
            is_isr_changing: state.in_sync.is_pending(),
            replica_count: if self.is_leader(&state) { state.in_sync.followers().len() + 1 } else { 0 },
            min_isr: state.in_sync.effective_min(state.log.config().min_insync_replicas),
            is_led_here: self.is_leader(&state),
            segment_count: state.log.segment_count(),
            high_watermark: state.high_watermark,
            last_stable_offset: state.log.last_stable_offset(state.high_watermark),
            end_offset: state.log.log_end_offset(),
            start_offset: state.log.log_start_offset(),
            size_bytes: state.log.size_bytes(),
            log_dir: state.log_dir.clone(),
            is_offline: state.is_offline,
        }
    }

    /// The leader epoch if this broker leads.
    pub fn leader_epoch_if_leader(&self) -> Option<i32> {
        let state = self.state.lock();
        self.is_leader(&state).then_some(state.leader_epoch)
    }

    /// True if the topic insists on zstd (`compression.type`).
    pub fn insists_on_zstd(&self) -> bool {
        self.state.lock().log.config().compression_type == Some(Compression::Zstd)
    }

    /// Puts other settings in force.
    fn set_config(&self, config: &LogConfig) {
        let mut state = self.state.lock();
        state.log.update_config(config.clone());
        if let Some(future) = &mut state.future {
            future.log.update_config(config.clone());
        }
    }

    fn is_leader(&self, state: &State) -> bool {
        state.leader == Some(self.shared.settings.broker) && !state.is_offline && !state.is_gone
    }

    /// Takes note of a failed disk operation: the directory is failed as a whole, as in Kafka (KIP-112), because what
    /// reached its files is unknown.
    fn note_failure(&self, state: &State, error: &LogError, woken: &mut Woken) {
        tracing::error!(topic = &*self.topic, partition = self.index, %error, "log directory failed");
        woken.failed_dirs.insert(state.log_dir.clone());
    }
}
