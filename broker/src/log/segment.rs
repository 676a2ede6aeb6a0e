//! One segment of a log: a stretch of offsets in a `.log` file and its three indexes. Appends what it is given and finds
//! what it is asked for; knows nothing of leaders, producers or retention.

use super::index::{LazyFile, OFFSET_ENTRY_BYTES, OffsetIndex, TIME_ENTRY_BYTES, TimeIndex, TimestampOffset, TxnIndex};
use super::remote::SegmentHandles;
use super::scan::{LOOKUP_CHUNK_BYTES, Scanned, Scanner, WALK_CHUNK_BYTES, size_of};
use super::{LogConfig, LogError};
use common::disk::{Disk, DiskFile};
use common::kafka::batch::BatchHeader;
use common::time::{Now, WallMillis};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Batches at the end of the log whose places are remembered: fetches near the end, which most are, and the search
/// for the high watermark need no read. Some hundred batches is more than a follower or a live consumer lags.
const RECENT_BATCHES: usize = 128;

/// Largest segment file: positions are 32 bits in the index and signed in Kafka.
pub(crate) const MAX_SEGMENT_BYTES: u32 = i32::MAX as u32;

pub(crate) const LOG_SUFFIX: &str = ".log";
pub(crate) const INDEX_SUFFIX: &str = ".index";
pub(crate) const TIME_INDEX_SUFFIX: &str = ".timeindex";
pub(crate) const TXN_INDEX_SUFFIX: &str = ".txnindex";
pub(crate) const DELETED_SUFFIX: &str = ".deleted";

/// Where a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub base_offset: i64,
    pub last_offset: i64,
    pub position: u32,
    pub size: u32,
}

impl Located {
    pub(crate) fn new(position: u32, header: &BatchHeader) -> Located {
        Located { base_offset: header.base_offset, last_offset: header.last_offset(), position, size: size_of(header) }
    }
}

/// Lengths of a segment's files as a directory listing tells them; `None` for a file that is not there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SegmentFiles {
    pub log_len: u64,
    pub modified: WallMillis,
    pub index_len: Option<u64>,
    pub time_index_len: Option<u64>,
    pub txn_index_len: Option<u64>,
}

/// Where the files of a segment lie that has no place in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentPaths {
    /// `.log`
    pub log: PathBuf,
    /// `.index`
    pub index: PathBuf,
    /// `.timeindex`
    pub time_index: PathBuf,
    /// `.txnindex`
    pub txn_index: PathBuf,
}

#[derive(Debug)]
pub(crate) struct Segment {
    pub base_offset: i64,
    log: LazyFile,
    size: u32,
    index: OffsetIndex,
    time_index: TimeIndex,
    txn_index: TxnIndex,
    /// The largest timestamp and the last offset of its batch; read from the time index when first needed.
    max_timestamp: OnceLock<TimestampOffset>,
    /// Max timestamp of the first batch, from which the segment's age counts; read when first needed.
    first_timestamp: OnceLock<i64>,
    created: WallMillis,
    modified: WallMillis,
    roll_jitter_ms: i64,
    bytes_since_index_entry: u32,
    /// The files of the two sparse indexes are not there: nothing was ever written.
    lacks_indexes: bool,
    /// The last batches, without a gap up to the end of the file.
    recent: VecDeque<Located>,
}

/// Name of a file of the segment that begins at `base_offset`.
pub(crate) fn file_path(dir: &Path, base_offset: i64, suffix: &str) -> PathBuf {
    dir.join(format!("{base_offset:020}{suffix}"))
}

impl Segment {
    /// A segment whose files are there. Opens none of them.
    pub(crate) fn open(dir: &Path, base_offset: i64, files: SegmentFiles, now: Now) -> Result<Segment, LogError> {
        let path = |suffix| file_path(dir, base_offset, suffix);
        let log = LazyFile::new(path(LOG_SUFFIX));
        let size = u32::try_from(files.log_len).ok().filter(|size| *size <= MAX_SEGMENT_BYTES);
        let size = size.ok_or_else(|| LogError::malformed(log.path(), "longer than 2 GiB".to_owned()))?;
        Ok(Segment {
            base_offset,
            log,
            size,
            index: OffsetIndex::new(base_offset, path(INDEX_SUFFIX), files.index_len.unwrap_or(0)),
            time_index: TimeIndex::new(base_offset, path(TIME_INDEX_SUFFIX), files.time_index_len.unwrap_or(0)),
            txn_index: TxnIndex::new(path(TXN_INDEX_SUFFIX), files.txn_index_len),
            max_timestamp: OnceLock::new(),
            first_timestamp: OnceLock::new(),
            created: now.wall,
            modified: files.modified,
            roll_jitter_ms: 0,
            bytes_since_index_entry: 0,
            lacks_indexes: files.log_len == 0 && files.index_len.is_none() && files.time_index_len.is_none(),
            recent: VecDeque::new(),
        })
    }

    /// A segment whose files lie elsewhere, to be read.
    pub(crate) fn open_elsewhere(
        base_offset: i64,
        paths: SegmentPaths,
        files: SegmentFiles,
    ) -> Result<Segment, LogError> {
        let mut segment = Segment::open(Path::new(""), base_offset, files, Now::default())?;
        segment.log.set_path(paths.log);
        segment.index.file_mut().set_path(paths.index);
        segment.time_index.file_mut().set_path(paths.time_index);
        segment.txn_index.file_mut().set_path(paths.txn_index);
        Ok(segment)
    }

    /// The open files of a segment that is written to no more.
    pub(crate) fn handles(&self, disk: &dyn Disk) -> Result<SegmentHandles, LogError> {
        let txn_index = self.txn_index.exists().then(|| self.txn_index.file().get(disk)).transpose()?;
        Ok(SegmentHandles {
            log: self.log.get(disk)?.clone(),
            index: self.index.file().get(disk)?.clone(),
            time_index: self.time_index.file().get(disk)?.clone(),
            txn_index: txn_index.cloned(),
        })
    }

    /// Makes an empty segment; files of that name that are in the way are emptied.
    pub(crate) fn create(
        disk: &dyn Disk,
        dir: &Path,
        base_offset: i64,
        roll_jitter_ms: i64,
        now: Now,
    ) -> Result<Segment, LogError> {
        let mut segment = Segment::without_files(dir, base_offset, roll_jitter_ms, now)?;
        segment.empty_files(disk)?;
        Ok(segment)
    }

    fn without_files(dir: &Path, base_offset: i64, roll_jitter_ms: i64, now: Now) -> Result<Segment, LogError> {
        let files = SegmentFiles { modified: now.wall, ..SegmentFiles::default() };
        let segment = Segment::open(dir, base_offset, files, now)?;
        Ok(Segment { roll_jitter_ms, ..segment })
    }

    /// Makes the first segment of a log whose directory is new. Its indexes are made with its first batch: of thousands of
    /// new partitions most are not written to for long.
    pub(crate) fn create_first(
        disk: &dyn Disk,
        dir: &Path,
        base_offset: i64,
        roll_jitter_ms: i64,
        now: Now,
    ) -> Result<Segment, LogError> {
        let mut segment = Segment::without_files(dir, base_offset, roll_jitter_ms, now)?;
        segment.log.create(disk)?;
        segment.log.release();
        segment.max_timestamp = OnceLock::from(TimestampOffset { timestamp: -1, offset: base_offset });
        Ok(segment)
    }

    /// Makes the indexes' files if they are not there.
    pub(crate) fn make_indexes(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        if self.lacks_indexes {
            self.index.reset(disk)?;
            self.time_index.reset(disk)?;
            self.index.file_mut().release();
            self.time_index.file_mut().release();
            self.lacks_indexes = false;
        }
        Ok(())
    }

    /// True if nothing is in the segment or in its indexes, so that nothing can be wrong with it.
    pub(crate) fn is_bare(&self, files: &SegmentFiles) -> bool {
        let lengths = [Some(files.log_len), files.index_len, files.time_index_len, files.txn_index_len];
        lengths.into_iter().all(|length| length.unwrap_or(0) == 0)
    }

    /// Makes an empty segment whose files have `suffix` behind their names, for compaction to write.
    pub(crate) fn create_aside(
        disk: &dyn Disk,
        dir: &Path,
        base_offset: i64,
        suffix: &str,
        now: Now,
    ) -> Result<Segment, LogError> {
        let files = SegmentFiles { modified: now.wall, ..SegmentFiles::default() };
        let mut segment = Segment::open(dir, base_offset, files, now)?;
        segment.set_paths(dir, suffix);
        segment.empty_files(disk)?;
        Ok(segment)
    }

    fn empty_files(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        let file = self.log.create(disk)?;
        if !file.is_empty().map_err(LogError::io("measure", self.log.path()))? {
            file.set_len(0).map_err(LogError::io("empty", self.log.path()))?;
        }
        self.index.reset(disk)?;
        self.time_index.reset(disk)?;
        self.log.release();
        self.index.file_mut().release();
        self.time_index.file_mut().release();
        self.lacks_indexes = false;
        remove_if_there(disk, self.txn_index.file().path())?;
        self.max_timestamp = OnceLock::from(TimestampOffset { timestamp: -1, offset: self.base_offset });
        Ok(())
    }

    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// Bytes of the larger of the two indexes.
    pub(crate) fn index_bytes(&self) -> u64 {
        let offsets = u64::from(self.index.count()) * OFFSET_ENTRY_BYTES as u64;
        offsets.max(u64::from(self.time_index.count()) * TIME_ENTRY_BYTES as u64)
    }

    pub(crate) fn path(&self) -> &Path {
        self.log.path()
    }

    pub(crate) fn file(&self, disk: &dyn Disk) -> Result<&Arc<dyn DiskFile>, LogError> {
        self.log.get(disk)
    }

    /// Whether `bytes` more, ending with `last_offset`, belong into a new segment.
    pub(crate) fn should_roll(
        &self,
        disk: &dyn Disk,
        config: &LogConfig,
        append: RollQuestion,
        now: Now,
    ) -> Result<bool, LogError> {
        let segment_bytes = config.segment_bytes.min(MAX_SEGMENT_BYTES);
        if self.size > segment_bytes.saturating_sub(append.bytes) || !self.fits(append.last_offset) {
            return Ok(true);
        }
        let max_index_entries = config.segment_index_bytes / OFFSET_ENTRY_BYTES as u32;
        let max_time_entries = (config.segment_index_bytes / TIME_ENTRY_BYTES as u32).saturating_sub(1);
        if self.size == 0 {
            // An empty segment is never replaced, even if its indexes are "full" because they have no room at all.
            return Ok(false);
        }
        if self.index.count() >= max_index_entries || self.time_index.count() >= max_time_entries {
            return Ok(true);
        }
        let first_timestamp = self.first_timestamp(disk)?;
        let age_ms = if first_timestamp >= 0 {
            append.max_timestamp.saturating_sub(first_timestamp)
        } else {
            now.wall.0.saturating_sub(self.created.0)
        };
        Ok(age_ms > config.roll_after_ms().saturating_sub(self.roll_jitter_ms))
    }

    /// Whether an offset can be written relative to the base.
    fn fits(&self, offset: i64) -> bool {
        (0..=i64::from(i32::MAX)).contains(&offset.saturating_sub(self.base_offset))
    }

    /// Max timestamp of the first batch; -1 if there is none.
    pub(crate) fn first_timestamp(&self, disk: &dyn Disk) -> Result<i64, LogError> {
        if let Some(timestamp) = self.first_timestamp.get() {
            return Ok(*timestamp);
        }
        if self.size == 0 {
            return Ok(-1);
        }
        let first = self.scanner(disk, 0, LOOKUP_CHUNK_BYTES)?.next_batch()?;
        Ok(*self.first_timestamp.get_or_init(|| first.map_or(-1, |(_, header)| header.max_timestamp)))
    }

    /// Writes batches in one call. After an error nothing has changed: the next append
    /// overwrites what may have reached the file.
    pub(crate) fn append(
        &mut self,
        disk: &dyn Disk,
        batches: NewBatches<'_>,
        config: &LogConfig,
        now: Now,
    ) -> Result<(), LogError> {
        self.make_indexes(disk)?;
        let file = self.log.get(disk)?;
        file.write_all_at(batches.parts, u64::from(self.size)).map_err(LogError::io("append to", self.log.path()))?;
        self.modified = now.wall;
        for header in batches.headers {
            let position = self.size;
            self.size += size_of(header);
            self.note(disk, position, header, config.index_interval_bytes);
        }
        Ok(())
    }

    /// Takes a batch that is in the file into account: largest timestamp, indexes, recent batches.
    fn note(&mut self, disk: &dyn Disk, position: u32, header: &BatchHeader, index_interval_bytes: u32) {
        if position == 0 {
            self.first_timestamp = OnceLock::from(header.max_timestamp);
        }
        let mut max = *self.max_timestamp.get().expect("known of a new, recovered or last segment");
        if header.max_timestamp > max.timestamp {
            max = TimestampOffset { timestamp: header.max_timestamp, offset: header.last_offset() };
            self.max_timestamp = OnceLock::from(max);
        }
        remember(&mut self.recent, Located::new(position, header));
        let indexed = self.bytes_since_index_entry > index_interval_bytes;
        if indexed {
            self.bytes_since_index_entry = 0;
        }
        self.bytes_since_index_entry = self.bytes_since_index_entry.saturating_add(size_of(header));
        if indexed {
            // An entry less only lengthens a scan; a disk that fails will tell at the next record or flush.
            let appended = self.index.append(disk, header.last_offset(), position);
            if let Err(error) = appended.and_then(|()| self.time_index.append(disk, max)) {
                tracing::warn!(path = %self.path().display(), %error, "index entry not written");
            }
        }
    }

    /// The largest timestamp and the last offset of its batch; timestamp -1 if there is none.
    pub(crate) fn max_timestamp(&self, disk: &dyn Disk) -> Result<TimestampOffset, LogError> {
        if let Some(max) = self.max_timestamp.get() {
            return Ok(*max);
        }
        let last = self.time_index.last(disk)?;
        Ok(*self.max_timestamp.get_or_init(|| last))
    }

    /// The largest timestamp, or the file's time of change if no record has one. Retention goes by it.
    pub(crate) fn largest_timestamp(&self, disk: &dyn Disk) -> Result<i64, LogError> {
        let timestamp = self.max_timestamp(disk)?.timestamp;
        Ok(if timestamp >= 0 { timestamp } else { self.modified.0 })
    }

    pub(crate) fn scanner(&self, disk: &dyn Disk, position: u32, chunk_bytes: usize) -> Result<Scanner<'_>, LogError> {
        Ok(Scanner::new(self.log.get(disk)?.as_ref(), self.log.path(), position, self.size, chunk_bytes))
    }

    /// The first batch whose last offset is `offset` or later; `None` if all end before.
    pub(crate) fn locate(&self, disk: &dyn Disk, offset: i64) -> Result<Option<Located>, LogError> {
        if let Some(first) = self.recent.front()
            && (first.position == 0 || first.base_offset <= offset)
        {
            let number = self.recent.partition_point(|batch| batch.last_offset < offset);
            return Ok(self.recent.get(number).copied());
        }
        let position = self.index.lookup(disk, offset)?;
        match self.locate_from(disk, position, offset) {
            Ok((_, true)) | Err(_) if position > 0 => {
                tracing::warn!(path = %self.path().display(), position, offset, "index entry is wrong, scanning");
                Ok(self.locate_from(disk, 0, offset)?.0)
            }
            result => Ok(result?.0),
        }
    }

    /// The batch, and true if the start position was behind it.
    fn locate_from(&self, disk: &dyn Disk, position: u32, offset: i64) -> Result<(Option<Located>, bool), LogError> {
        if position > self.size {
            return Ok((None, true));
        }
        let mut scanner = self.scanner(disk, position, LOOKUP_CHUNK_BYTES)?;
        while let Some((at, header)) = scanner.next_batch()? {
            if header.last_offset() >= offset {
                let is_behind = at == position && position > 0 && header.base_offset > offset;
                return Ok((Some(Located::new(at, &header)), is_behind));
            }
        }
        Ok((None, false))
    }

    /// Offset behind the last batch, found through the index; remembers the last batches on the way. `None` if
    /// the file does not end with a whole batch.
    pub(crate) fn find_end(&mut self, disk: &dyn Disk) -> Result<Option<i64>, LogError> {
        if self.size == 0 && self.index.count() == 0 && self.time_index.count() == 0 {
            self.max_timestamp.get_or_init(|| TimestampOffset { timestamp: -1, offset: self.base_offset });
            return Ok(Some(self.base_offset));
        }
        self.max_timestamp(disk)?;
        let start = match self.index.last(disk)? {
            // The zeros at the end of an index that Kafka allocated and did not get to trim are no entries.
            Some((_, position)) if position < self.size && (position > 0 || self.index.count() == 1) => position,
            Some(_) => return Ok(None),
            None => 0,
        };
        let mut end = self.base_offset;
        let mut found = VecDeque::new();
        let mut scanner = self.scanner(disk, start, WALK_CHUNK_BYTES)?;
        loop {
            match scanner.next()? {
                Scanned::Batch(position, header) => {
                    end = header.next_offset();
                    remember(&mut found, Located::new(position, &header));
                }
                Scanned::End => break,
                Scanned::Corrupt { .. } => return Ok(None),
            }
        }
        self.recent = found;
        Ok(Some(end))
    }

    /// A position before which, from `from_offset` on, all records are older than `timestamp`.
    pub(crate) fn position_for_timestamp(
        &self,
        disk: &dyn Disk,
        timestamp: i64,
        from_offset: i64,
    ) -> Result<u32, LogError> {
        let before = self.time_index.lookup(disk, timestamp.saturating_sub(1))?;
        Ok(self.index.lookup(disk, before.offset.max(from_offset))?.min(self.size))
    }

    /// An offset that nothing before `position` exceeds; `None` if the rest of the segment must be assumed.
    pub(crate) fn offset_bound(&self, disk: &dyn Disk, position: u32) -> Result<Option<i64>, LogError> {
        self.index.offset_at_or_after(disk, position)
    }

    pub(crate) fn txn_index(&self) -> &TxnIndex {
        &self.txn_index
    }

    pub(crate) fn txn_index_mut(&mut self) -> &mut TxnIndex {
        &mut self.txn_index
    }

    /// Cuts off the batch that holds `offset` and all behind it.
    pub(crate) fn truncate_to(&mut self, disk: &dyn Disk, offset: i64, now: Now) -> Result<(), LogError> {
        let cut = self.locate(disk, offset)?;
        self.index.truncate_to(disk, offset)?;
        self.time_index.truncate_to(disk, offset)?;
        self.txn_index.truncate_to(disk, offset)?;
        if let Some(cut) = cut {
            let file = self.log.get(disk)?;
            file.set_len(u64::from(cut.position)).map_err(LogError::io("cut", self.log.path()))?;
            self.size = cut.position;
            self.recent.retain(|batch| batch.position < cut.position);
        }
        self.bytes_since_index_entry = 0;
        if self.size == 0 {
            self.created = now.wall;
            self.first_timestamp = OnceLock::new();
        }
        let max = self.scan_max_timestamp(disk)?;
        self.max_timestamp = OnceLock::from(max);
        Ok(())
    }

    fn scan_max_timestamp(&self, disk: &dyn Disk) -> Result<TimestampOffset, LogError> {
        let mut max = self.time_index.last(disk)?;
        let position = self.index.lookup(disk, max.offset)?;
        let mut scanner = self.scanner(disk, position.min(self.size), LOOKUP_CHUNK_BYTES)?;
        while let Some((_, header)) = scanner.next_batch()? {
            if header.max_timestamp > max.timestamp {
                max = TimestampOffset { timestamp: header.max_timestamp, offset: header.last_offset() };
            }
        }
        Ok(max)
    }

    /// Reads the whole segment, checks every batch, cuts the file where the first bad byte is, and rebuilds the offset
    /// and time indexes. `each` sees the batches in order and may refuse one, which is then where the file is cut. The
    /// transaction index is emptied first; `each` fills it again. Returns the bytes cut off.
    pub(crate) fn recover(
        &mut self,
        disk: &dyn Disk,
        index_interval_bytes: u32,
        each: &mut dyn FnMut(RecoveredBatch<'_, '_>) -> Result<(), LogError>,
    ) -> Result<u32, LogError> {
        self.index.reset(disk)?;
        self.time_index.reset(disk)?;
        self.lacks_indexes = false;
        self.txn_index.reset(disk)?;
        self.recent.clear();
        self.max_timestamp = OnceLock::from(TimestampOffset { timestamp: -1, offset: self.base_offset });
        self.first_timestamp = OnceLock::new();
        self.bytes_since_index_entry = 0;

        let file = Arc::clone(self.log.get(disk)?);
        let path = self.log.path().to_owned();
        let mut scanner = Scanner::new(file.as_ref(), &path, 0, self.size, WALK_CHUNK_BYTES);
        let (mut valid, mut next_offset) = (0, self.base_offset);
        let reason = loop {
            let (position, header) = match scanner.next()? {
                Scanned::Batch(position, header) => (position, header),
                Scanned::End => break None,
                Scanned::Corrupt { position, reason } => {
                    if position == 0 && scanner.is_old_format(0)? {
                        return Err(LogError::OldFormat { path });
                    }
                    break Some(reason);
                }
            };
            if header.base_offset < next_offset || !self.fits(header.last_offset()) {
                break Some("offsets of a batch do not follow");
            }
            if !scanner.has_valid_crc(position, &header)? {
                break Some("checksum of a batch is wrong");
            }
            each(RecoveredBatch { position, header, scanner: &mut scanner, txn_index: &mut self.txn_index })?;
            self.note(disk, position, &header, index_interval_bytes);
            next_offset = header.next_offset();
            valid = position + size_of(&header);
        };
        let cut = self.size - valid;
        if cut > 0 {
            tracing::warn!(path = %path.display(), position = valid, bytes = cut, reason, "cut the end of a segment");
            file.set_len(u64::from(valid)).map_err(LogError::io("cut", &path))?;
            self.size = valid;
        }
        self.finish_indexes(disk)?;
        Ok(cut)
    }

    /// Brings the indexes to the disk: the last timestamp is always noted, because it is what tells the segment's age.
    pub(crate) fn finish_indexes(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        let max = self.max_timestamp(disk)?;
        self.time_index.append(disk, max)?;
        self.index.write_out(disk)?;
        self.time_index.write_out(disk)
    }

    /// Ends the segment's time as the active one: finishes the indexes and frees what memory served the appends.
    pub(crate) fn seal(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        self.finish_indexes(disk)?;
        self.index.free_memory();
        self.time_index.free_memory();
        self.recent = VecDeque::new();
        Ok(())
    }

    /// Writes out index entries that are only in memory.
    pub(crate) fn write_indexes(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        self.index.write_out(disk)?;
        self.time_index.write_out(disk)
    }

    /// The files that must be synced to make the segment durable.
    pub(crate) fn files_to_sync(&self) -> Vec<Arc<dyn DiskFile>> {
        [&self.log, self.index.file(), self.time_index.file(), self.txn_index.file()]
            .into_iter()
            .filter_map(|file| file.opened().cloned())
            .collect()
    }

    fn files(&self) -> Vec<&LazyFile> {
        let mut files = vec![&self.log, self.index.file(), self.time_index.file()];
        if self.txn_index.exists() {
            files.push(self.txn_index.file());
        }
        files
    }

    /// Renames the files to `.deleted` and tells their new names. Open handles stay readable.
    pub(crate) fn rename_to_deleted(&self, disk: &dyn Disk) -> Result<Vec<PathBuf>, LogError> {
        let mut renamed = Vec::with_capacity(4);
        for file in self.files() {
            let mut to = file.path().as_os_str().to_owned();
            to.push(DELETED_SUFFIX);
            let to = PathBuf::from(to);
            match disk.rename(file.path(), &to) {
                Ok(()) => renamed.push(to),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(LogError::io("rename", file.path())(error)),
            }
        }
        Ok(renamed)
    }

    /// Renames the files so that `suffix` follows their names instead of what followed before.
    pub(crate) fn rename_to_suffix(&mut self, disk: &dyn Disk, dir: &Path, suffix: &str) -> Result<(), LogError> {
        let from: Vec<PathBuf> = self.files().into_iter().map(|file| file.path().to_owned()).collect();
        self.set_paths(dir, suffix);
        for (from, to) in from.iter().zip(self.files()) {
            disk.rename(from, to.path()).map_err(LogError::io("rename", from))?;
        }
        Ok(())
    }

    /// Removes the files.
    pub(crate) fn remove_files(&self, disk: &dyn Disk) -> Result<(), LogError> {
        for file in self.files() {
            remove_if_there(disk, file.path())?;
        }
        Ok(())
    }

    /// Follows a renaming of the directory.
    pub(crate) fn set_dir(&mut self, dir: &Path) {
        self.set_paths(dir, "");
    }

    fn set_paths(&mut self, dir: &Path, behind: &str) {
        let path = |suffix| file_path(dir, self.base_offset, &format!("{suffix}{behind}"));
        self.log.set_path(path(LOG_SUFFIX));
        self.index.file_mut().set_path(path(INDEX_SUFFIX));
        self.time_index.file_mut().set_path(path(TIME_INDEX_SUFFIX));
        self.txn_index.file_mut().set_path(path(TXN_INDEX_SUFFIX));
    }
}

/// What [`Segment::append`] writes: the bytes in some parts, and the headers that are in them.
#[derive(Clone, Copy)]
pub(crate) struct NewBatches<'a> {
    pub parts: &'a [&'a [u8]],
    pub headers: &'a [BatchHeader],
}

/// A batch met by [`Segment::recover`].
pub(crate) struct RecoveredBatch<'a, 'f> {
    pub position: u32,
    pub header: BatchHeader,
    pub scanner: &'a mut Scanner<'f>,
    pub txn_index: &'a mut TxnIndex,
}

/// What [`Segment::should_roll`] is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RollQuestion {
    pub bytes: u32,
    pub last_offset: i64,
    pub max_timestamp: i64,
}

fn remember(recent: &mut VecDeque<Located>, batch: Located) {
    if recent.len() == RECENT_BATCHES {
        recent.pop_front();
    }
    recent.push_back(batch);
}

/// Removes a file; no error if it is not there.
pub(crate) fn remove_if_there(disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
    match disk.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LogError::io("remove", path)(error)),
        _ => Ok(()),
    }
}
