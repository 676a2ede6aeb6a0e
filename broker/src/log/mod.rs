//! The log of one partition in Kafka's files: appends, reads and truncates batches over segments. Knows offsets,
//! batches, leader epochs and producers; never topics, replicas or the wire. Not thread-safe: the partition's lock
//! guards it. All of the disk is behind [`common::disk::Disk`].
//!
//! After an error of the disk (`LogError::Io`) the owner stops using the whole log directory, as Kafka does: what
//! reached the file is then unknown until the log is opened again and recovered.

mod append;
mod check;
pub mod checkpoints;
pub mod compaction;
pub mod config;
pub mod entries;
pub mod epochs;
mod flush;
mod index;
pub mod metadata;
pub mod producers;
mod read;
mod recovery;
pub mod remote;
mod retention;
mod scan;
mod segment;
#[cfg(test)]
#[cfg(feature = "server")]
mod tests;
mod truncate;

pub use append::{AppendError, AppendInfo, AppendOrigin};
pub use common::kafka::batch::TimestampType;
pub use config::{LocalRetention, LogConfig};
pub use flush::{FlushWork, is_deleted_dir, remove_deleted_dir};
pub use index::AbortedTxn;
pub use producers::Verification;
pub use read::{ReadError, ReadResult, TimestampedOffset};
pub use segment::SegmentPaths;

use common::Rng;
use common::disk::Disk;
use common::kafka::batch::BatchHeader;
use common::mutants;
use common::time::{Millis, Now};
use epochs::EpochCache;
use producers::{Prepared, Producers};
use retention::Doomed;
use segment::Segment;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Why a log cannot be opened, read or written.
#[derive(Debug, Error)]
pub enum LogError {
    /// The disk refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file's content is not what it must be.
    #[error("{} is damaged: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A segment holds messages of the formats before version 2 (Kafka before 0.11).
    #[error("{} holds messages of a format before version 2, which is not served; rewrite the topic with Kafka 3.x", path.display())]
    OldFormat {
        /// The segment.
        path: PathBuf,
    },
}

impl LogError {
    /// Wraps what the system said: `.map_err(LogError::io("open", path))`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
        let path = path.to_owned();
        move |source| LogError::Io { action, path, source }
    }

    pub(crate) fn malformed(path: &Path, reason: String) -> LogError {
        LogError::Malformed { path: path.to_owned(), reason }
    }
}

/// Most bytes to which a batch is decompressed where a log must look into it: a hundred times the largest batch that
/// Kafka's defaults allow. Beyond that it is a bomb, not data.
const MAX_DECOMPRESSED_BYTES: usize = 128 << 20;

/// What the log directory's checkpoint files say of a log that is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenState {
    /// The last stop was a clean one, so nothing needs checking.
    pub clean_shutdown: bool,
    /// From [`checkpoints::RECOVERY_POINT_FILE`]; 0 if it is not there.
    pub recovery_point: i64,
    /// From [`checkpoints::LOG_START_OFFSET_FILE`]; 0 if it is not there.
    pub log_start_offset: i64,
    /// From [`checkpoints::CLEANER_OFFSET_FILE`]; 0 if it is not there. Below it a segment may end before the next begins.
    pub compacted_to: i64,
}

/// The log of one partition.
pub struct Log {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    config: LogConfig,
    /// By base offset; never empty. The last one is active.
    segments: BTreeMap<i64, Segment>,
    epochs: EpochCache,
    producers: Producers,
    log_start_offset: i64,
    /// The log start of the checkpoint, if it lies before the first segment: it counts if the topic's settings, which are not
    /// known yet, say that what lies between is in the remote store.
    remembered_start: Option<i64>,
    /// The last offset that is in the remote store; -1 if none is, or it is not known.
    highest_copied: i64,
    log_end_offset: i64,
    /// Everything before is synced.
    recovery_point: i64,
    /// When the oldest record that is not synced was appended.
    unflushed_since: Option<Millis>,
    /// After a crash: where records may be missing between two segments.
    suspected_gap: Option<i64>,
    /// Counts truncations, so that a flush that began before one proves nothing.
    truncations: u64,
    /// Files to be removed when their delay is over.
    doomed: Vec<Doomed>,
    /// For the jitter of segment ages.
    rng: Rng,
    /// The latest time that was passed in.
    now: Now,
    scratch: Scratch,
}

/// Memory that one append leaves to the next.
#[derive(Debug, Default)]
struct Scratch {
    headers: Vec<BatchHeader>,
    prepared: Prepared,
}

impl Log {
    /// Opens the log in `dir`, which is made if it is not there. After an unclean stop the segments from the recovery
    /// point on are checked batch by batch, cut where the first is broken, and their indexes rebuilt. Leftovers of
    /// deletions and compactions are cleared away or completed.
    ///
    /// Errors: `Io`, `OldFormat`; damage that recovery can repair is no error.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        config: LogConfig,
        start: OpenState,
        now: Now,
    ) -> Result<Log, LogError> {
        recovery::open(disk, dir, config, start, now)
    }

    /// Where records are missing between two segments that were not synced when the broker crashed, if that is not known to
    /// be the work of compaction; told once. A follower fetches anew from there: where the leader's compaction left the gap,
    /// it gets the same again.
    pub fn take_suspected_gap(&mut self) -> Option<i64> {
        let gap = self.suspected_gap();
        self.suspected_gap = None;
        gap
    }

    /// What [`Log::take_suspected_gap`] would tell. Until it was told, the next opening must find it again: the log is not
    /// to be marked as cleanly closed.
    pub fn suspected_gap(&self) -> Option<i64> {
        let is_within =
            |gap: i64| gap < self.log_end_offset && self.segments.keys().next().is_some_and(|base| *base <= gap);
        self.suspected_gap.filter(|gap| is_within(*gap))
    }

    /// The partition's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The settings in force.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Changes the settings; they hold from the next operation on.
    pub fn update_config(&mut self, config: LogConfig) {
        self.producers.set_expiration_ms(config.producer_id_expiration_ms);
        self.config = config;
        self.epochs.set_more_elsewhere(self.config.remote.is_some() && self.has_epochs_of_more());
        if let Some(start) = self.remembered_start.take().filter(|_| self.config.remote.is_some()) {
            self.log_start_offset = start;
        }
    }

    /// First offset that may be read. May lie inside a batch (DeleteRecords).
    pub fn log_start_offset(&self) -> i64 {
        self.log_start_offset
    }

    /// Offset of the next record.
    pub fn log_end_offset(&self) -> i64 {
        self.log_end_offset
    }

    /// All records before this are there and synced; goes into [`checkpoints::RECOVERY_POINT_FILE`].
    pub fn recovery_point(&self) -> i64 {
        let gap = self.suspected_gap().filter(|_| !mutants::is_on("hole-forgotten-at-stop"));
        gap.map_or(self.recovery_point, |gap| gap.min(self.recovery_point))
    }

    /// Bytes of all segments' records.
    pub fn size_bytes(&self) -> u64 {
        self.segments.values().map(|segment| u64::from(segment.size())).sum()
    }

    /// Bytes of the segments from the one that holds `offset` on: a bound of how far a reader at `offset` lags.
    pub fn size_bytes_from(&self, offset: i64) -> u64 {
        let first = self.segments.range(..=offset).next_back().map_or(offset, |(base, _)| *base);
        self.segments.range(first..).map(|(_, segment)| u64::from(segment.size())).sum()
    }

    /// Number of segments.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Base offset of the first segment.
    pub fn first_base_offset(&self) -> i64 {
        self.segments.keys().next().copied().expect("a log has at least one segment")
    }

    /// Base offset of the segment that takes appends.
    pub fn active_base_offset(&self) -> i64 {
        self.active().base_offset
    }

    /// The latest leader epoch of which there is a record (or that was assigned).
    pub fn latest_epoch(&self) -> Option<i32> {
        self.epochs.latest().map(|entry| entry.epoch)
    }

    /// The leader epochs and where they began.
    pub fn epochs(&self) -> &EpochCache {
        &self.epochs
    }

    /// Where an epoch ended (KIP-101, KIP-279): the largest known epoch up to the given one and its end offset. `None`
    /// if the epoch is negative or above all known ones.
    pub fn end_offset_for_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        self.epochs.end_offset_for(epoch, self.log_end_offset)
    }

    /// Notes that a leader epoch begins at an offset: done when becoming leader, before the first append.
    pub fn assign_epoch_start_offset(&mut self, epoch: i32, offset: i64) {
        self.epochs.assign_without_record(epoch, offset);
    }

    /// The producers that have written here, for DescribeProducers.
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// Whether a producer has a transaction open here.
    pub fn has_ongoing_transaction(&self, producer_id: i64, epoch: i16) -> bool {
        self.producers.get(producer_id).is_some_and(|entry| entry.epoch == epoch && entry.txn_first_offset.is_some())
    }

    /// What a transactional batch needs to be appended (KIP-890); `producer` is its id and epoch.
    pub fn begin_verification(&mut self, producer: (i64, i16), sequence: i32, now: Now) -> Verification {
        self.producers.begin_verification(producer, sequence, now.wall)
    }

    /// Forgets producers that were idle too long; to be called every `producer.id.expiration.check.interval.ms`.
    pub fn remove_expired_producers(&mut self, now: Now) {
        self.now = now;
        self.producers.remove_expired(now.wall);
    }

    /// Up to where consumers of committed records may read: the high watermark, or the first record of the oldest
    /// transaction that is open or whose marker is not replicated.
    pub fn last_stable_offset(&self, high_watermark: i64) -> i64 {
        match self.producers.first_unstable_offset(high_watermark) {
            Some(_) if mutants::is_on("stable-is-high-watermark") => high_watermark,
            Some(unstable) => unstable.max(self.log_start_offset).min(high_watermark),
            None => high_watermark,
        }
    }

    /// Tells of a new high watermark, so that ended transactions below it can be forgotten.
    pub fn on_high_watermark(&mut self, high_watermark: i64) {
        self.producers.on_high_watermark(high_watermark);
    }

    fn active(&self) -> &Segment {
        self.segments.values().next_back().expect("a log has at least one segment")
    }

    fn active_mut(&mut self) -> &mut Segment {
        self.segments.values_mut().next_back().expect("a log has at least one segment")
    }

    /// Begins a new segment at `base_offset`, which is at least the log end. The old one's indexes are finished, and a
    /// snapshot of the producers is taken that belongs to the new one.
    fn roll(&mut self, base_offset: i64, now: Now) -> Result<(), LogError> {
        let base_offset = base_offset.max(self.log_end_offset);
        let active = self.active();
        assert!(base_offset >= active.base_offset, "a segment never begins before the active one");
        if base_offset == active.base_offset {
            return Ok(());
        }
        let disk = Arc::clone(&self.disk);
        self.active_mut().seal(disk.as_ref())?;
        let jitter_ms = self.roll_jitter_ms();
        let segment = Segment::create(disk.as_ref(), &self.dir, base_offset, jitter_ms, now)?;
        self.producers.set_end_offset(base_offset);
        self.producers.take_snapshot()?;
        self.segments.insert(base_offset, segment);
        tracing::debug!(dir = %self.dir.display(), base_offset, "rolled");
        Ok(())
    }

    fn roll_jitter_ms(&mut self) -> i64 {
        let most = self.config.segment_jitter_ms.min(self.config.segment_ms);
        if most > 0 { self.rng.i64(0..most) } else { 0 }
    }
}
