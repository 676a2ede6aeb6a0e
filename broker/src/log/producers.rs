//! What a partition knows of its producers: epochs, sequences (KIP-98, the last five batches each), open and aborted
//! transactions, and the `.snapshot` files in which this survives. Decides whether a batch may be appended; never
//! appends.

use super::segment::{file_path, remove_if_there};
use super::{AppendOrigin, LogError};
use common::disk::Disk;
use common::kafka::batch::BatchHeader;
use common::mutants;
use common::time::WallMillis;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Batches of which a repetition is recognized; idempotent clients have at most that many requests in flight.
const RETAINED_BATCHES: usize = 5;
/// Suffix of the files.
pub(crate) const SNAPSHOT_SUFFIX: &str = ".snapshot";
const SNAPSHOT_VERSION: i16 = 1;
/// Version, checksum, count.
const SNAPSHOT_HEADER_BYTES: usize = 10;
const SNAPSHOT_ENTRY_BYTES: usize = 46;
/// Largest snapshot that is read; a million producers take half of it.
const MAX_SNAPSHOT_BYTES: usize = 96 << 20;

/// Why a batch of an idempotent or transactional producer is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ProducerError {
    /// A batch is missing before this one, or it is older than the batches that are remembered.
    #[error("sequence {sequence} of producer {producer_id} does not follow {last_sequence}")]
    OutOfOrderSequence {
        /// The producer.
        producer_id: i64,
        /// First sequence of the batch.
        sequence: i32,
        /// Last sequence in the log; -1 if there is none in this epoch.
        last_sequence: i32,
    },
    /// A later instance of the producer has written.
    #[error("epoch {epoch} of producer {producer_id} is older than {current_epoch}")]
    InvalidProducerEpoch {
        /// The producer.
        producer_id: i64,
        /// Epoch of the batch.
        epoch: i16,
        /// Latest epoch seen.
        current_epoch: i16,
    },
    /// A record outside of a transaction while the producer has one open here.
    #[error("producer {producer_id} has an open transaction and sent a batch outside of it")]
    InvalidTxnState {
        /// The producer.
        producer_id: i64,
    },
    /// A marker from a coordinator that lost its office.
    #[error("marker of coordinator epoch {epoch} for producer {producer_id} is older than {current_epoch}")]
    CoordinatorFenced {
        /// The producer.
        producer_id: i64,
        /// Epoch in the marker.
        epoch: i32,
        /// Latest epoch seen.
        current_epoch: i32,
    },
}

/// One remembered batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchMetadata {
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Last minus first offset.
    pub offset_delta: i32,
    /// Its max timestamp.
    pub timestamp: i64,
}

impl BatchMetadata {
    /// Sequence of its first record; sequences wrap from 2^31-1 to 0.
    pub fn first_sequence(&self) -> i32 {
        let first = i64::from(self.last_sequence) - i64::from(self.offset_delta);
        (if first < 0 { first + (1 << 31) } else { first }) as i32
    }

    /// Offset of its first record.
    pub fn first_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }
}

/// What is known of one producer. Read after a restart from the snapshot, which keeps the last batch only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    /// The producer.
    pub producer_id: i64,
    /// Its latest epoch; -1 if none.
    pub epoch: i16,
    /// Epoch of the coordinator that wrote its last marker; -1 if none.
    pub coordinator_epoch: i32,
    /// Timestamp of its last batch or marker.
    pub last_timestamp: i64,
    /// First offset of its open transaction.
    pub txn_first_offset: Option<i64>,
    batches: [BatchMetadata; RETAINED_BATCHES],
    batch_count: u8,
}

impl ProducerEntry {
    fn new(producer_id: i64) -> ProducerEntry {
        ProducerEntry {
            producer_id,
            epoch: -1,
            coordinator_epoch: -1,
            last_timestamp: -1,
            txn_first_offset: None,
            batches: [BatchMetadata::default(); RETAINED_BATCHES],
            batch_count: 0,
        }
    }

    /// The remembered batches, oldest first.
    pub fn batches(&self) -> &[BatchMetadata] {
        &self.batches[..usize::from(self.batch_count)]
    }

    /// Last sequence in the log; -1 if none is known in this epoch.
    pub fn last_sequence(&self) -> i32 {
        self.batches().last().map_or(-1, |batch| batch.last_sequence)
    }

    fn set_epoch(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batch_count = 0;
        }
    }

    fn add(&mut self, batch: BatchMetadata) {
        if usize::from(self.batch_count) == RETAINED_BATCHES {
            self.batches.rotate_left(1);
            self.batch_count -= 1;
        }
        self.batches[usize::from(self.batch_count)] = batch;
        self.batch_count += 1;
    }

    fn duplicate_of(&self, header: &BatchHeader) -> Option<BatchMetadata> {
        if self.epoch != header.producer_epoch || mutants::is_on("sequence-not-checked") {
            return None;
        }
        let last_sequence = header.last_sequence();
        let is_same = |batch: &&BatchMetadata| {
            batch.first_sequence() == header.base_sequence && batch.last_sequence == last_sequence
        };
        self.batches().iter().find(is_same).copied()
    }

    fn check_epoch(&self, epoch: i16, origin: AppendOrigin) -> Result<(), ProducerError> {
        if epoch < self.epoch && origin != AppendOrigin::Replication {
            return Err(ProducerError::InvalidProducerEpoch {
                producer_id: self.producer_id,
                epoch,
                current_epoch: self.epoch,
            });
        }
        Ok(())
    }

    fn check_sequence(&self, header: &BatchHeader) -> Result<(), ProducerError> {
        // A producer of whom nothing is known may start anywhere: its records may have been deleted (KIP-360).
        if self.epoch == -1 || mutants::is_on("sequence-not-checked") {
            return Ok(());
        }
        let last = if header.producer_epoch == self.epoch { self.last_sequence() } else { -1 };
        let follows =
            i64::from(header.base_sequence) == i64::from(last) + 1 || (header.base_sequence == 0 && last == i32::MAX);
        if follows {
            return Ok(());
        }
        Err(ProducerError::OutOfOrderSequence {
            producer_id: self.producer_id,
            sequence: header.base_sequence,
            last_sequence: last,
        })
    }

    fn append_data(&mut self, header: &BatchHeader, origin: AppendOrigin) -> Result<(), ProducerError> {
        self.check_epoch(header.producer_epoch, origin)?;
        if origin == AppendOrigin::Client {
            self.check_sequence(header)?;
        }
        if self.txn_first_offset.is_some() && !header.is_transactional() && origin != AppendOrigin::Replication {
            return Err(ProducerError::InvalidTxnState { producer_id: self.producer_id });
        }
        self.set_epoch(header.producer_epoch);
        self.add(BatchMetadata {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
        self.last_timestamp = header.max_timestamp;
        if header.is_transactional() && self.txn_first_offset.is_none() {
            self.txn_first_offset = Some(header.base_offset);
        }
        Ok(())
    }

    fn append_marker(
        &mut self,
        header: &BatchHeader,
        marker: EndTxnMarker,
        origin: AppendOrigin,
    ) -> Result<Option<CompletedTxn>, ProducerError> {
        self.check_epoch(header.producer_epoch, origin)?;
        if marker.coordinator_epoch < self.coordinator_epoch && origin != AppendOrigin::Replication {
            return Err(ProducerError::CoordinatorFenced {
                producer_id: self.producer_id,
                epoch: marker.coordinator_epoch,
                current_epoch: self.coordinator_epoch,
            });
        }
        if origin == AppendOrigin::LaterEpochMarker
            && header.producer_epoch == self.epoch
            && self.txn_first_offset.is_some()
        {
            return Err(ProducerError::InvalidProducerEpoch {
                producer_id: self.producer_id,
                epoch: header.producer_epoch,
                current_epoch: self.epoch,
            });
        }
        // A marker without records before it changes nothing that a consumer could see.
        let completed = self.txn_first_offset.take().map(|first_offset| CompletedTxn {
            producer_id: self.producer_id,
            first_offset,
            last_offset: header.base_offset,
            is_aborted: !marker.is_commit,
        });
        self.set_epoch(header.producer_epoch);
        self.coordinator_epoch = marker.coordinator_epoch;
        self.last_timestamp = marker.timestamp;
        Ok(completed)
    }
}

/// The record in a control batch that ends a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndTxnMarker {
    pub is_commit: bool,
    pub coordinator_epoch: i32,
    pub timestamp: i64,
}

/// A transaction that a marker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CompletedTxn {
    pub producer_id: i64,
    pub first_offset: i64,
    pub last_offset: i64,
    pub is_aborted: bool,
}

/// The changes that an append will make, decided before it is written. Kept between appends for its memory.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    updates: Vec<ProducerEntry>,
    /// First offsets of transactions that begin, with their producers.
    started: Vec<(i64, i64)>,
    pub(crate) completed: Vec<CompletedTxn>,
}

impl Prepared {
    pub(crate) fn clear(&mut self) {
        self.updates.clear();
        self.started.clear();
        self.completed.clear();
    }
}

/// The producers of one partition.
pub struct Producers {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    expiration_ms: i64,
    entries: BTreeMap<i64, ProducerEntry>,
    /// First offset to producer.
    ongoing: BTreeMap<i64, i64>,
    /// First offset to marker offset of transactions whose marker may not be replicated yet.
    unreplicated: BTreeMap<i64, i64>,
    /// All records before this are taken into account.
    end_offset: i64,
    last_snapshot: i64,
    snapshots: BTreeSet<i64>,
    /// Producers of whom the transaction coordinator is being asked whether this partition is in their transaction.
    verifying: BTreeMap<i64, Verifying>,
    next_guard: u64,
}

/// A question to the transaction coordinator that is not done with (KIP-890): lives until the first record, or a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verifying {
    guard: u64,
    epoch: i16,
    /// Least sequence that was asked about: the transaction begins with it here.
    sequence: i32,
    since: WallMillis,
}

/// What must hold for a transactional batch of a client, so that none comes into the log behind its transaction's marker
/// and holds back the last stable offset for ever (KIP-890).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// Nothing: the batch is not transactional, or `transaction.partition.verification.enable` is false.
    #[default]
    Off,
    /// The transaction is open here.
    Ongoing,
    /// It is open here, or the coordinator said since this question that it is open, and no marker came.
    Asked(u64),
}

impl Producers {
    /// Knows nobody; `snapshots` are the offsets of the snapshot files in `dir`.
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path, expiration_ms: i64, snapshots: BTreeSet<i64>) -> Producers {
        Producers {
            disk,
            dir: dir.to_owned(),
            expiration_ms,
            entries: BTreeMap::new(),
            ongoing: BTreeMap::new(),
            unreplicated: BTreeMap::new(),
            end_offset: 0,
            last_snapshot: 0,
            snapshots,
            verifying: BTreeMap::new(),
            next_guard: 0,
        }
    }

    /// What a transactional batch needs to be appended: nothing more while its transaction is open here, otherwise the
    /// coordinator's word.
    pub(crate) fn begin_verification(
        &mut self,
        (producer_id, epoch): (i64, i16),
        sequence: i32,
        now: WallMillis,
    ) -> Verification {
        if self.get(producer_id).is_some_and(|entry| entry.epoch == epoch && entry.txn_first_offset.is_some()) {
            return Verification::Ongoing;
        }
        match self.verifying.get_mut(&producer_id) {
            Some(known) if known.epoch == epoch => {
                known.sequence = known.sequence.min(sequence);
                Verification::Asked(known.guard)
            }
            // A late request of an earlier instance must not take the question away from the later one.
            Some(known) if known.epoch > epoch => Verification::Ongoing,
            _ => {
                self.next_guard += 1;
                let guard = self.next_guard;
                self.verifying.insert(producer_id, Verifying { guard, epoch, sequence, since: now });
                Verification::Asked(guard)
            }
        }
    }

    /// Whether a transactional batch may be appended. An error if it is not the first that was asked about: of a producer
    /// of whom nothing is known here any sequence would do otherwise, and the first batch would be lost.
    pub(crate) fn is_verified(&self, header: &BatchHeader, verification: Verification) -> Result<bool, ProducerError> {
        let entry = self.get(header.producer_id);
        let is_ongoing = entry.is_some_and(|entry| entry.txn_first_offset.is_some());
        match (verification, self.verifying.get(&header.producer_id)) {
            (Verification::Off, _) => Ok(true),
            _ if is_ongoing => Ok(true),
            (Verification::Asked(guard), Some(verifying)) if verifying.guard == guard => {
                let is_known = entry.is_some_and(|entry| entry.last_sequence() >= 0);
                if !is_known && header.base_sequence > verifying.sequence {
                    return Err(ProducerError::OutOfOrderSequence {
                        producer_id: header.producer_id,
                        sequence: header.base_sequence,
                        last_sequence: -1,
                    });
                }
                Ok(true)
            }
            (Verification::Ongoing | Verification::Asked(_), _) => Ok(false),
        }
    }

    pub(crate) fn set_dir(&mut self, dir: &Path) {
        self.dir = dir.to_owned();
    }

    pub(crate) fn set_expiration_ms(&mut self, expiration_ms: i64) {
        self.expiration_ms = expiration_ms;
    }

    /// All known producers, by id.
    pub fn entries(&self) -> impl Iterator<Item = &ProducerEntry> {
        self.entries.values()
    }

    /// One producer.
    pub fn get(&self, producer_id: i64) -> Option<&ProducerEntry> {
        self.entries.get(&producer_id)
    }

    /// Records before this offset are taken into account.
    pub(crate) fn end_offset(&self) -> i64 {
        self.end_offset
    }

    pub(crate) fn set_end_offset(&mut self, offset: i64) {
        self.end_offset = offset;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.unreplicated.is_empty()
    }

    /// The earlier append that this batch of a client repeats.
    pub(crate) fn duplicate_of(&self, header: &BatchHeader) -> Option<BatchMetadata> {
        self.entries.get(&header.producer_id)?.duplicate_of(header)
    }

    /// Decides on one batch of an append, after those already in `prepared`. Changes nothing but `prepared`. `marker`
    /// is the content of a control batch; `None` for data, or for a control batch emptied by compaction.
    pub(crate) fn prepare(
        &self,
        prepared: &mut Prepared,
        header: &BatchHeader,
        marker: Option<EndTxnMarker>,
        origin: AppendOrigin,
    ) -> Result<(), ProducerError> {
        if header.producer_id < 0 || (header.is_control() && marker.is_none()) {
            return Ok(());
        }
        let known = prepared.updates.iter().position(|entry| entry.producer_id == header.producer_id);
        let number = known.unwrap_or_else(|| {
            let entry = self.entries.get(&header.producer_id).copied();
            prepared.updates.push(entry.unwrap_or_else(|| ProducerEntry::new(header.producer_id)));
            prepared.updates.len() - 1
        });
        let entry = &mut prepared.updates[number];
        if let Some(marker) = marker {
            prepared.completed.extend(entry.append_marker(header, marker, origin)?);
            return Ok(());
        }
        let had_txn = entry.txn_first_offset;
        entry.append_data(header, origin)?;
        if let (None, Some(first_offset)) = (had_txn, entry.txn_first_offset) {
            prepared.started.push((first_offset, header.producer_id));
        }
        Ok(())
    }

    /// Applies what was prepared, once the batches are in the log; `end_offset` is the offset behind them. Completed
    /// transactions follow with [`Producers::complete`].
    pub(crate) fn apply(&mut self, prepared: &Prepared, end_offset: i64) {
        for entry in prepared.updates.iter().filter(|_| !mutants::is_on("producers-not-kept")) {
            self.entries.insert(entry.producer_id, *entry);
            // Either its transaction is open here now, or it has just ended.
            self.verifying.remove(&entry.producer_id);
        }
        self.ongoing.extend(prepared.started.iter().copied());
        self.end_offset = end_offset;
    }

    /// The last stable offset just after a transaction ended, for the transaction index.
    ///
    /// A follower appends many batches at once, so that transactions which began behind the marker, also the next of the same
    /// producer, are known here already: they change nothing.
    pub(crate) fn stable_offset_after(&self, txn: &CompletedTxn) -> i64 {
        let other = self.ongoing.keys().find(|first_offset| **first_offset != txn.first_offset);
        other.map_or(txn.last_offset + 1, |first_offset| (*first_offset).min(txn.last_offset + 1))
    }

    /// Notes that a transaction ended; it holds back the last stable offset until its marker is replicated.
    pub(crate) fn complete(&mut self, txn: &CompletedTxn) {
        self.ongoing.remove(&txn.first_offset);
        self.unreplicated.insert(txn.first_offset, txn.last_offset);
    }

    /// First offset that a consumer of committed records may not see: of the oldest transaction that is open or whose
    /// marker is not below the high watermark.
    pub(crate) fn first_unstable_offset(&self, high_watermark: i64) -> Option<i64> {
        let unreplicated = self.unreplicated.iter().find(|(_, marker)| **marker >= high_watermark);
        let undecided = self.ongoing.keys().next().copied();
        match (unreplicated.map(|(first, _)| *first), undecided) {
            (Some(left), Some(right)) => Some(left.min(right)),
            (left, right) => left.or(right),
        }
    }

    /// Forgets ended transactions whose marker is replicated.
    pub(crate) fn on_high_watermark(&mut self, high_watermark: i64) {
        if !self.unreplicated.is_empty() {
            self.unreplicated.retain(|_, marker| *marker >= high_watermark);
        }
    }

    /// Follows the log start offset.
    pub(crate) fn on_log_start(&mut self, log_start_offset: i64) {
        self.on_high_watermark(log_start_offset);
        self.end_offset = self.end_offset.max(log_start_offset);
        self.last_snapshot = self.snapshots.last().copied().unwrap_or(log_start_offset);
    }

    fn is_expired(&self, entry: &ProducerEntry, now: WallMillis) -> bool {
        entry.txn_first_offset.is_none() && now.0.saturating_sub(entry.last_timestamp) >= self.expiration_ms
    }

    /// Forgets producers that were idle for `producer.id.expiration.ms` and have no open transaction.
    pub fn remove_expired(&mut self, now: WallMillis) {
        let expired: Vec<i64> =
            self.entries.values().filter(|entry| self.is_expired(entry, now)).map(|entry| entry.producer_id).collect();
        for producer_id in expired {
            self.entries.remove(&producer_id);
        }
        let expiration_ms = self.expiration_ms;
        self.verifying.retain(|_, verifying| now.0.saturating_sub(verifying.since.0) < expiration_ms);
    }

    /// Forgets everything and removes all snapshots.
    pub(crate) fn restart_at(&mut self, offset: i64) -> Result<(), LogError> {
        self.entries.clear();
        self.ongoing.clear();
        self.unreplicated.clear();
        for snapshot in std::mem::take(&mut self.snapshots) {
            remove_if_there(self.disk.as_ref(), &self.snapshot_path(snapshot))?;
        }
        self.last_snapshot = 0;
        self.end_offset = offset;
        Ok(())
    }

    /// Goes back to the latest snapshot that is not beyond `log_end_offset`, dropping those outside of the log. The
    /// caller feeds the batches from [`Producers::end_offset`] on. No effect on the state if it already ends there.
    pub(crate) fn reload(
        &mut self,
        log_start_offset: i64,
        log_end_offset: i64,
        now: WallMillis,
    ) -> Result<(), LogError> {
        let outside = |snapshot: &i64| *snapshot > log_end_offset || *snapshot <= log_start_offset;
        for snapshot in self.snapshots.iter().copied().filter(outside).collect::<Vec<_>>() {
            self.remove_snapshot(snapshot)?;
        }
        if log_end_offset == self.end_offset {
            self.on_log_start(log_start_offset);
            return Ok(());
        }
        self.entries.clear();
        self.ongoing.clear();
        // Truncation never goes below the high watermark, so all that is left of these is replicated.
        self.unreplicated.clear();
        while let Some(snapshot) = self.snapshots.last().copied() {
            let path = self.snapshot_path(snapshot);
            let read = self.disk.read(&path, MAX_SNAPSHOT_BYTES).map_err(LogError::io("read", &path));
            match read.and_then(|bytes| decode_snapshot(&bytes).map_err(|reason| LogError::malformed(&path, reason))) {
                Ok(entries) => {
                    for entry in entries {
                        if !self.is_expired(&entry, now) {
                            self.ongoing.extend(entry.txn_first_offset.map(|offset| (offset, entry.producer_id)));
                            self.entries.insert(entry.producer_id, entry);
                        }
                    }
                    (self.last_snapshot, self.end_offset) = (snapshot, snapshot);
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(%error, "producer snapshot is unusable, removing it");
                    self.remove_snapshot(snapshot)?;
                }
            }
        }
        (self.last_snapshot, self.end_offset) = (log_start_offset, log_start_offset);
        Ok(())
    }

    /// Writes a snapshot of the state at [`Producers::end_offset`] unless there is one. Not synced: a torn one is
    /// recognized by its checksum and costs a longer replay.
    pub(crate) fn take_snapshot(&mut self) -> Result<(), LogError> {
        if self.end_offset <= self.last_snapshot {
            return Ok(());
        }
        let path = self.snapshot_path(self.end_offset);
        let bytes = encode_snapshot(self.entries.values());
        let file = self.disk.open(&path, true).map_err(LogError::io("create", &path))?;
        let written = file.set_len(0).and_then(|()| file.write_at(&bytes, 0));
        written.map_err(LogError::io("write", &path))?;
        self.snapshots.insert(self.end_offset);
        self.last_snapshot = self.end_offset;
        Ok(())
    }

    /// The snapshot at an offset as it lies on the disk; where there is none, that of no producers, which is what is known.
    pub(crate) fn snapshot_bytes(&self, offset: i64) -> Result<Vec<u8>, LogError> {
        if !self.snapshots.contains(&offset) {
            return Ok(encode_snapshot(std::iter::empty()));
        }
        let path = self.snapshot_path(offset);
        self.disk.read(&path, MAX_SNAPSHOT_BYTES).map_err(LogError::io("read", &path))
    }

    /// Goes on at an offset with what a snapshot says.
    pub(crate) fn restore(&mut self, offset: i64, snapshot: &[u8], now: WallMillis) -> Result<(), LogError> {
        let path = self.snapshot_path(offset);
        let file = self.disk.open(&path, true).map_err(LogError::io("create", &path))?;
        let written = file.set_len(0).and_then(|()| file.write_at(snapshot, 0));
        written.map_err(LogError::io("write", &path))?;
        self.snapshots.insert(offset);
        // What is not known of the end is read anew.
        self.end_offset = -1;
        self.reload(offset.saturating_sub(1), offset, now)?;
        self.end_offset = offset;
        Ok(())
    }

    /// Syncs the latest snapshot.
    pub(crate) fn sync_snapshot(&self) -> Result<(), LogError> {
        let Some(snapshot) = self.snapshots.last() else { return Ok(()) };
        let path = self.snapshot_path(*snapshot);
        self.disk.open(&path, false).and_then(|file| file.sync()).map_err(LogError::io("sync", &path))
    }

    /// True if there is no snapshot of the state as it is.
    pub(crate) fn lacks_snapshot(&self) -> bool {
        self.end_offset > self.last_snapshot
    }

    /// True if there is any snapshot file.
    pub(crate) fn has_snapshot(&self) -> bool {
        !self.snapshots.is_empty()
    }

    /// Removes the snapshot at an offset, if there is one.
    pub(crate) fn remove_snapshot(&mut self, offset: i64) -> Result<(), LogError> {
        if self.snapshots.remove(&offset) {
            remove_if_there(self.disk.as_ref(), &self.snapshot_path(offset))?;
        }
        Ok(())
    }

    /// Removes snapshots that belong to no segment, except the one beyond the last segment's base that a clean stop
    /// left.
    pub(crate) fn remove_stray_snapshots(&mut self, base_offsets: &BTreeSet<i64>) -> Result<(), LogError> {
        let stray: Vec<i64> = self.snapshots.difference(base_offsets).copied().collect();
        let keep = stray.last().copied().filter(|last| base_offsets.last().is_none_or(|base| last > base));
        for offset in stray {
            if Some(offset) != keep {
                self.remove_snapshot(offset)?;
            }
        }
        Ok(())
    }

    fn snapshot_path(&self, offset: i64) -> PathBuf {
        file_path(&self.dir, offset, SNAPSHOT_SUFFIX)
    }
}

fn encode_snapshot<'a>(entries: impl Iterator<Item = &'a ProducerEntry>) -> Vec<u8> {
    let mut bytes = vec![0; SNAPSHOT_HEADER_BYTES];
    let mut count: i32 = 0;
    for entry in entries {
        let last = entry.batches().last();
        bytes.extend_from_slice(&entry.producer_id.to_be_bytes());
        bytes.extend_from_slice(&entry.epoch.to_be_bytes());
        bytes.extend_from_slice(&entry.last_sequence().to_be_bytes());
        bytes.extend_from_slice(&last.map_or(-1, |batch| batch.last_offset).to_be_bytes());
        bytes.extend_from_slice(&last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
        bytes.extend_from_slice(&entry.last_timestamp.to_be_bytes());
        bytes.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        bytes.extend_from_slice(&entry.txn_first_offset.unwrap_or(-1).to_be_bytes());
        count += 1;
    }
    bytes[..2].copy_from_slice(&SNAPSHOT_VERSION.to_be_bytes());
    bytes[6..10].copy_from_slice(&count.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[6..]);
    bytes[2..6].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// The producers of a snapshot file, or what is wrong with it.
pub fn decode_snapshot(bytes: &[u8]) -> Result<Vec<ProducerEntry>, String> {
    let Some((header, rows)) = bytes.split_first_chunk::<SNAPSHOT_HEADER_BYTES>() else {
        return Err("shorter than its header".to_owned());
    };
    let version = i16::from_be_bytes([header[0], header[1]]);
    if version != SNAPSHOT_VERSION {
        return Err(format!("version {version} is not known"));
    }
    if crc32c::crc32c(&bytes[6..]).to_be_bytes() != header[2..6] {
        return Err("the checksum is wrong".to_owned());
    }
    let count = u32::from_be_bytes([header[6], header[7], header[8], header[9]]);
    if rows.len() as u64 != u64::from(count) * SNAPSHOT_ENTRY_BYTES as u64 {
        return Err(format!("{count} entries promised, {} bytes found", rows.len()));
    }
    let (rows, _) = rows.as_chunks::<SNAPSHOT_ENTRY_BYTES>();
    Ok(rows.iter().map(decode_entry).collect())
}

fn decode_entry(row: &[u8; SNAPSHOT_ENTRY_BYTES]) -> ProducerEntry {
    let long = |at: usize| i64::from_be_bytes(row[at..at + 8].try_into().expect("8 of 46 bytes"));
    let int = |at: usize| i32::from_be_bytes(row[at..at + 4].try_into().expect("4 of 46 bytes"));
    let mut entry = ProducerEntry::new(long(0));
    entry.epoch = i16::from_be_bytes([row[8], row[9]]);
    entry.last_timestamp = long(26);
    entry.coordinator_epoch = int(34);
    entry.txn_first_offset = Some(long(38)).filter(|offset| *offset >= 0);
    if long(14) >= 0 {
        entry.add(BatchMetadata {
            last_sequence: int(10),
            last_offset: long(14),
            offset_delta: int(22),
            timestamp: long(26),
        });
    }
    entry
}
