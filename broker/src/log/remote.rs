//! What a log has to do with the remote store (KIP-405): where its local part begins, which segments may be copied and what
//! goes with them, a new beginning behind what is there, and segments that lie there, read as local ones are. Knows neither
//! the store nor who decides.

use super::epochs::EpochEntry;
use super::index::TxnIndex;
use super::read::first_record;
use super::scan::LOOKUP_CHUNK_BYTES;
use super::segment::{Segment, SegmentFiles, SegmentPaths};
use super::{AbortedTxn, Log, LogError, TimestampedOffset, producers};
use bytes::Bytes;
use common::disk::{Disk, DiskFile, FileSlice};
use common::kafka::batch;
use common::time::Now;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything that goes to the remote store with one segment. The files stay readable if the segment is deleted meanwhile.
#[derive(Clone, Debug)]
pub struct SegmentCopy {
    /// Base offset.
    pub start_offset: i64,
    /// Last offset before the next segment.
    pub end_offset: i64,
    /// Largest timestamp.
    pub max_timestamp_ms: i64,
    /// Bytes of the records.
    pub size_bytes: u32,
    /// The leader epochs in it and where each begins.
    pub epochs: Vec<EpochEntry>,
    /// All leader epochs up to its end, as a `leader-epoch-checkpoint`.
    pub epochs_text: String,
    /// The producers at its end, as a `.snapshot`.
    pub producers: Vec<u8>,
    /// `.log`, `.index`, `.timeindex`, and `.txnindex` if there is one.
    pub files: SegmentHandles,
}

/// The open files of a segment.
#[derive(Clone, Debug)]
pub struct SegmentHandles {
    /// `.log`
    pub log: Arc<dyn DiskFile>,
    /// `.index`
    pub index: Arc<dyn DiskFile>,
    /// `.timeindex`
    pub time_index: Arc<dyn DiskFile>,
    /// `.txnindex`
    pub txn_index: Option<Arc<dyn DiskFile>>,
}

/// What a follower needs to go on behind a segment of the remote store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteState {
    /// First offset behind the segment.
    pub next_offset: i64,
    /// The leader's log start offset.
    pub log_start_offset: i64,
    /// The leader epochs up to there.
    pub epochs: Vec<EpochEntry>,
    /// The producers there, as a `.snapshot` that can be read.
    pub producers: Vec<u8>,
}

impl Log {
    /// First offset that is on this broker. What lies between the log start and here is in the remote store.
    pub fn local_start_offset(&self) -> i64 {
        self.log_start_offset.max(self.first_base_offset())
    }

    /// The leader epochs reach back to before the first segment: those of what is only in the remote store.
    pub(super) fn has_epochs_of_more(&self) -> bool {
        self.epochs.earliest().is_some_and(|entry| entry.start_offset < self.first_base_offset())
    }

    /// The last offset that is in the remote store, as far as this broker knows; -1 if none is.
    pub fn highest_copied(&self) -> i64 {
        self.highest_copied
    }

    /// The first offset that is to be copied; `None` if nothing ever is, or if what is copied is not known (KIP-1023).
    pub fn earliest_pending_copy(&self) -> Option<i64> {
        self.config.remote?;
        match self.highest_copied {
            -1 if self.local_start_offset() != self.log_start_offset => None,
            highest => Some((highest + 1).max(self.log_start_offset)),
        }
    }

    /// So much of this log's history is in the remote store.
    pub fn set_highest_copied(&mut self, offset: i64) {
        self.highest_copied = offset;
    }

    /// What belongs into [`super::checkpoints::LOG_START_OFFSET_FILE`]; `None` if the first segment tells it.
    pub fn checkpointed_start(&self) -> Option<i64> {
        let start = self.remembered_start.unwrap_or(self.log_start_offset);
        (start != self.first_base_offset()).then_some(start)
    }

    /// Bytes and number of the segments that are not in the remote store, the active one included.
    pub fn only_local(&self) -> (u64, usize) {
        let segments = self.segments.range(self.highest_copied.max(0)..).map(|(_, segment)| segment);
        segments.fold((0, 0), |(bytes, count), segment| (bytes + u64::from(segment.size()), count + 1))
    }

    /// Bytes of the segment that takes appends.
    pub fn active_bytes(&self) -> u64 {
        u64::from(self.active().size())
    }

    /// The first segment behind `highest_copied` that is full and ends below the last stable offset, so that nothing in it
    /// changes any more.
    pub fn next_copy(&self, high_watermark: i64) -> Result<Option<SegmentCopy>, LogError> {
        let stable = self.last_stable_offset(high_watermark);
        if stable <= self.highest_copied {
            return Ok(None);
        }
        let from = (self.highest_copied + 1).max(self.log_start_offset);
        let Some((&base, segment)) =
            self.segments.range(..=from).next_back().or_else(|| self.segments.first_key_value())
        else {
            return Ok(None);
        };
        let Some((&next, _)) = self.segments.range(base + 1..).next() else { return Ok(None) };
        if next > stable {
            return Ok(None);
        }
        let disk = self.disk.as_ref();
        let epochs = self.epochs_within(Some(base), next);
        if epochs.is_empty() {
            return Ok(None);
        }
        Ok(Some(SegmentCopy {
            start_offset: base,
            end_offset: next - 1,
            max_timestamp_ms: segment.largest_timestamp(disk)?,
            size_bytes: segment.size(),
            epochs,
            epochs_text: text_of(&self.epochs_within(None, next)),
            producers: self.producers.snapshot_bytes(next)?,
            files: segment.handles(disk)?,
        }))
    }

    /// What another log needs that is to begin where this one's local part does; `None` if that is where the log begins.
    pub fn remote_state(&self) -> Result<Option<RemoteState>, LogError> {
        let next_offset = self.first_base_offset();
        if self.log_start_offset >= next_offset {
            return Ok(None);
        }
        Ok(Some(RemoteState {
            next_offset,
            log_start_offset: self.log_start_offset,
            epochs: self.epochs_within(None, next_offset),
            producers: self.producers.snapshot_bytes(next_offset)?,
        }))
    }

    /// The epochs that begin before `to`; with `from` those that end behind it, the first beginning there.
    fn epochs_within(&self, from: Option<i64>, to: i64) -> Vec<EpochEntry> {
        let all = self.epochs.entries();
        let entries = &all[..all.partition_point(|entry| entry.start_offset < to)];
        let Some(from) = from else { return entries.to_vec() };
        let first = entries.partition_point(|entry| entry.start_offset <= from).saturating_sub(1);
        let mut entries = entries[first..].to_vec();
        if let Some(first) = entries.first_mut() {
            first.start_offset = first.start_offset.max(from);
        }
        entries
    }

    /// Forgets everything that is here and goes on behind what the remote store has.
    pub fn restart_behind(&mut self, state: &RemoteState, now: Now) -> Result<(), LogError> {
        self.drop_segments(state.next_offset)?;
        self.log_start_offset = state.log_start_offset.min(state.next_offset);
        // No record here will ever tell these epochs again: at no time are there none of them on the disk.
        let start = self.log_start_offset;
        let entries = state.epochs.iter().filter(|entry| entry.start_offset < state.next_offset);
        let before = entries.clone().rfind(|entry| entry.start_offset <= start);
        let first = before.map(|entry| EpochEntry { start_offset: start, ..*entry });
        let behind = entries.filter(|entry| entry.start_offset > start).copied();
        self.epochs.replace(first.into_iter().chain(behind))?;
        self.producers.restart_at(state.next_offset)?;
        self.producers.restore(state.next_offset, &state.producers, now.wall)
    }
}

fn text_of(entries: &[EpochEntry]) -> String {
    let mut text = format!("0\n{}\n", entries.len());
    for entry in entries {
        writeln!(text, "{} {}", entry.epoch, entry.start_offset).expect("a String takes all");
    }
    text
}

/// Reads what [`SegmentCopy::epochs_text`] is.
pub fn parse_epochs(text: &str, path: &Path) -> Result<Vec<EpochEntry>, LogError> {
    let malformed = |line: &str| LogError::malformed(path, format!("line `{line}` is not what it must be"));
    let mut lines = text.lines();
    let (version, count) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    if version != "0" {
        return Err(malformed(version));
    }
    let entries: Vec<EpochEntry> = lines
        .map(|line| super::epochs::parse_line(line).ok_or_else(|| malformed(line)))
        .collect::<Result<_, LogError>>()?;
    if count.parse() != Ok(entries.len()) {
        return Err(malformed(count));
    }
    Ok(entries)
}

/// Whether these are the bytes of a `.snapshot`.
pub fn check_producers(bytes: &[u8], path: &Path) -> Result<(), LogError> {
    producers::decode_snapshot(bytes).map(drop).map_err(|reason| LogError::malformed(path, reason))
}

/// What was read of a segment.
#[derive(Clone, Debug)]
pub struct RemoteRead {
    /// Whole batches from the one that holds the offset on, perhaps with a cut-off one at the end.
    pub records: FileSlice,
    /// Base offset of the first of them.
    pub first_batch_base_offset: i64,
    /// Bytes of the first of them.
    pub first_batch_bytes: u32,
    /// An offset that none of them exceeds.
    pub end_offset: i64,
}

/// The transaction index of a segment that lies elsewhere.
pub struct RemoteTxnIndex {
    disk: Arc<dyn Disk>,
    index: TxnIndex,
}

impl RemoteTxnIndex {
    /// Opens it; `None` if there is none, or nothing in it.
    pub fn open(disk: Arc<dyn Disk>, path: PathBuf) -> Result<Option<RemoteTxnIndex>, LogError> {
        let len = match disk.open(&path, false).and_then(|file| file.len()) {
            Ok(0) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            len => len.map_err(LogError::io("open", &path))?,
        };
        let index = TxnIndex::new(path, Some(len));
        Ok(Some(RemoteTxnIndex { disk, index }))
    }

    /// Adds the aborted transactions of `from..to`; true if no later segment can know more.
    pub fn aborted(&self, from: i64, to: i64, found: &mut Vec<AbortedTxn>) -> Result<bool, LogError> {
        self.index.collect(self.disk.as_ref(), from, to, found)
    }
}

/// A segment that lies elsewhere, under other names.
pub struct RemoteFiles {
    disk: Arc<dyn Disk>,
    segment: Segment,
    end_offset: i64,
}

impl RemoteFiles {
    /// Opens it, but for its transaction index; `NotFound` within the error if one of its files is missing.
    pub fn open(
        disk: Arc<dyn Disk>,
        (base_offset, end_offset): (i64, i64),
        paths: SegmentPaths,
    ) -> Result<RemoteFiles, LogError> {
        let len = |path: &Path| -> Result<u64, LogError> {
            let file = disk.open(path, false).map_err(LogError::io("open", path))?;
            file.len().map_err(LogError::io("measure", path))
        };
        let files = SegmentFiles {
            log_len: len(&paths.log)?,
            index_len: Some(len(&paths.index)?),
            time_index_len: Some(len(&paths.time_index)?),
            ..SegmentFiles::default()
        };
        let segment = Segment::open_elsewhere(base_offset, paths, files)?;
        Ok(RemoteFiles { disk, segment, end_offset })
    }

    /// The records from `offset` on, at most `max_bytes`, but the first batch whole. `None` if there is none.
    pub fn read(&self, offset: i64, max_bytes: u32) -> Result<Option<RemoteRead>, LogError> {
        let disk = self.disk.as_ref();
        let Some(first) = self.segment.locate(disk, offset)? else { return Ok(None) };
        let len = max_bytes.max(first.size).min(self.segment.size().saturating_sub(first.position));
        let bound = self.segment.offset_bound(disk, first.position.saturating_add(len))?;
        Ok(Some(RemoteRead {
            records: FileSlice { file: self.segment.file(disk)?.clone(), position: u64::from(first.position), len },
            first_batch_base_offset: first.base_offset,
            first_batch_bytes: first.size,
            end_offset: bound.unwrap_or(self.end_offset + 1),
        }))
    }

    /// The bytes of what was read, without what begins or ends behind `end_offset`.
    pub fn bytes(&self, read: &RemoteRead, end_offset: i64) -> Result<Bytes, LogError> {
        let bytes = read.records.read().map_err(LogError::io("read", self.segment.path()))?;
        let bytes = Bytes::from(bytes);
        if end_offset > self.end_offset {
            return Ok(bytes);
        }
        let batches = batch::batches(bytes.clone()).map_while(Result::ok);
        let ours = batches.take_while(|batch| batch.header.next_offset() <= end_offset);
        let len = ours.map(|batch| batch.bytes.len()).sum::<usize>();
        Ok(bytes.slice(..len))
    }

    /// The first record at or behind `from` whose timestamp is `timestamp` or later.
    pub fn offset_for_timestamp(&self, timestamp: i64, from: i64) -> Result<Option<TimestampedOffset>, LogError> {
        let disk = self.disk.as_ref();
        let position = self.segment.position_for_timestamp(disk, timestamp, from)?;
        let mut scanner = self.segment.scanner(disk, position, LOOKUP_CHUNK_BYTES)?;
        while let Some((position, header)) = scanner.next_batch()? {
            if header.max_timestamp < timestamp || header.last_offset() < from {
                continue;
            }
            let is_wanted = |of_record: i64, offset: i64| of_record >= timestamp && offset >= from;
            if let Some(found) = first_record(disk, &self.segment, position, &header, is_wanted)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}
