//! The three indexes of a segment, in Kafka's formats: `.index` (offset to position), `.timeindex` (timestamp to
//! offset), `.txnindex` (aborted transactions). Sparse, and rebuilt from the log when in doubt: they are never the only
//! place that knows something.

use super::LogError;
use common::disk::{Disk, DiskFile};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Entries that are kept in memory behind the file's end at most; twice as many as [`TAIL_KEEP`].
const TAIL_MAX: usize = 1024;
/// Newest entries that stay in memory when the rest is written: lookups near the end of the log never touch the disk.
const TAIL_KEEP: usize = 512;
/// Entries that one read fetches at the end of a binary search.
const BLOCK: u32 = 512;

/// A file that is opened when first needed, so that opening a log of a thousand segments opens a handful of files.
#[derive(Debug)]
pub(crate) struct LazyFile {
    path: PathBuf,
    handle: OnceLock<Arc<dyn DiskFile>>,
}

impl LazyFile {
    pub(crate) fn new(path: PathBuf) -> LazyFile {
        LazyFile { path, handle: OnceLock::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The open file; `NotFound` if it is gone.
    pub(crate) fn get(&self, disk: &dyn Disk) -> Result<&Arc<dyn DiskFile>, LogError> {
        match self.handle.get() {
            Some(handle) => Ok(handle),
            None => {
                let handle = disk.open(&self.path, false).map_err(LogError::io("open", &self.path))?;
                Ok(self.handle.get_or_init(|| handle))
            }
        }
    }

    /// The open file, made if it is not there.
    pub(crate) fn create(&self, disk: &dyn Disk) -> Result<&Arc<dyn DiskFile>, LogError> {
        match self.handle.get() {
            Some(handle) => Ok(handle),
            None => {
                let handle = disk.open(&self.path, true).map_err(LogError::io("create", &self.path))?;
                Ok(self.handle.get_or_init(|| handle))
            }
        }
    }

    /// The file if it was opened before.
    pub(crate) fn opened(&self) -> Option<&Arc<dyn DiskFile>> {
        self.handle.get()
    }

    /// Closes the file; it is opened again when needed. Most of thousands of new partitions are not written to for long,
    /// and must not use up the process's descriptors.
    pub(crate) fn release(&mut self) {
        self.handle = OnceLock::new();
    }

    /// Follows a renaming of the file or its directory; an open handle stays good.
    pub(crate) fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }
}

/// A file of fixed-size entries that only grows at its end or is cut. The newest entries live in memory; they reach the
/// file in blocks, at the latest when the segment is rolled, flushed or closed. Losing them costs nothing: after an
/// unclean stop the index is rebuilt.
#[derive(Debug)]
struct EntryFile<const N: usize> {
    file: LazyFile,
    /// Entries in all.
    count: u32,
    /// Entries in the file.
    written: u32,
    /// Number of the first entry in `tail`.
    tail_first: u32,
    /// The newest entries.
    tail: Vec<[u8; N]>,
}

impl<const N: usize> EntryFile<N> {
    /// An index whose file has `len` bytes (a part entry at its end does not count); the file is not touched.
    fn new(path: PathBuf, len: u64) -> EntryFile<N> {
        let count = u32::try_from(len / N as u64).unwrap_or(u32::MAX);
        EntryFile { file: LazyFile::new(path), count, written: count, tail_first: count, tail: Vec::new() }
    }

    fn push(&mut self, disk: &dyn Disk, entry: [u8; N]) -> Result<(), LogError> {
        if self.tail.len() >= TAIL_MAX {
            self.write_out(disk)?;
            self.tail.drain(..TAIL_MAX - TAIL_KEEP);
            self.tail_first = self.count - TAIL_KEEP as u32;
        }
        self.tail.push(entry);
        self.count += 1;
        Ok(())
    }

    /// Writes what is only in memory.
    fn write_out(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        if self.written == self.count {
            return Ok(());
        }
        let skip = (self.written - self.tail_first) as usize;
        let bytes = self.tail[skip..].as_flattened();
        let file = self.file.create(disk)?;
        file.write_at(bytes, u64::from(self.written) * N as u64).map_err(LogError::io("write", self.file.path()))?;
        self.written = self.count;
        Ok(())
    }

    /// Forgets entries that are in the file.
    fn free_memory(&mut self) {
        if self.written == self.count {
            self.tail_first = self.count;
            self.tail = Vec::new();
        }
    }

    /// Keeps the first `count` entries.
    fn truncate(&mut self, disk: &dyn Disk, count: u32) -> Result<(), LogError> {
        if count >= self.count {
            return Ok(());
        }
        if count < self.written {
            let file = self.file.create(disk)?;
            file.set_len(u64::from(count) * N as u64).map_err(LogError::io("cut", self.file.path()))?;
            self.written = count;
        }
        if count < self.tail_first {
            self.tail_first = count;
            self.tail.clear();
        } else {
            self.tail.truncate((count - self.tail_first) as usize);
        }
        self.count = count;
        Ok(())
    }

    /// Empties the file even if its length is no multiple of an entry.
    fn reset(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        let file = self.file.create(disk)?;
        file.set_len(0).map_err(LogError::io("cut", self.file.path()))?;
        (self.count, self.written, self.tail_first) = (0, 0, 0);
        self.tail.clear();
        Ok(())
    }

    fn read(&self, disk: &dyn Disk, first: u32, buffer: &mut [u8]) -> Result<(), LogError> {
        let file = self.file.get(disk)?;
        let read = file.read_at(buffer, u64::from(first) * N as u64).map_err(LogError::io("read", self.file.path()))?;
        if read < buffer.len() {
            let short = io::Error::new(io::ErrorKind::UnexpectedEof, "index is shorter than it was");
            return Err(LogError::io("read", self.file.path())(short));
        }
        Ok(())
    }

    fn get(&self, disk: &dyn Disk, number: u32) -> Result<[u8; N], LogError> {
        if number >= self.tail_first {
            return Ok(self.tail[(number - self.tail_first) as usize]);
        }
        let mut entry = [0; N];
        self.read(disk, number, &mut entry)?;
        Ok(entry)
    }

    fn last(&self, disk: &dyn Disk) -> Result<Option<[u8; N]>, LogError> {
        self.count.checked_sub(1).map(|number| self.get(disk, number)).transpose()
    }

    /// How many entries, from the first on, satisfy `before`, which must hold for a beginning of them only.
    fn partition_point(&self, disk: &dyn Disk, before: impl Fn(&[u8; N]) -> bool) -> Result<u32, LogError> {
        if let Some(first) = self.tail.first()
            && (self.tail_first == 0 || before(first))
        {
            return Ok(self.tail_first + self.tail.partition_point(before) as u32);
        }
        let (mut low, mut high) = (0, self.tail_first);
        while high - low > BLOCK {
            let middle = low + (high - low) / 2;
            if before(&self.get(disk, middle)?) { low = middle + 1 } else { high = middle }
        }
        let mut block = [[0; N]; BLOCK as usize];
        let block = &mut block[..(high - low) as usize];
        if !block.is_empty() {
            self.read(disk, low, block.as_flattened_mut())?;
        }
        Ok(low + block.partition_point(before) as u32)
    }
}

/// Bytes of an `.index` entry: offset relative to the segment's base and position in the log, four bytes each.
pub(crate) const OFFSET_ENTRY_BYTES: usize = 8;
/// Bytes of a `.timeindex` entry: timestamp, and relative offset in four bytes.
pub(crate) const TIME_ENTRY_BYTES: usize = 12;
/// Bytes of a `.txnindex` entry.
pub(crate) const TXN_ENTRY_BYTES: usize = 34;

/// `.index`: the last offset of some batches and where those batches begin.
#[derive(Debug)]
pub(crate) struct OffsetIndex {
    base_offset: i64,
    entries: EntryFile<OFFSET_ENTRY_BYTES>,
}

pub(super) fn offset_entry(base_offset: i64, entry: &[u8; OFFSET_ENTRY_BYTES]) -> (i64, u32) {
    let number = u64::from_be_bytes(*entry);
    (base_offset + (number >> 32) as i64, number as u32)
}

impl OffsetIndex {
    pub(crate) fn new(base_offset: i64, path: PathBuf, len: u64) -> OffsetIndex {
        OffsetIndex { base_offset, entries: EntryFile::new(path, len) }
    }

    pub(crate) fn count(&self) -> u32 {
        self.entries.count
    }

    pub(crate) fn file(&self) -> &LazyFile {
        &self.entries.file
    }

    pub(crate) fn file_mut(&mut self) -> &mut LazyFile {
        &mut self.entries.file
    }

    /// Notes that the batch at `position` ends with `offset`.
    pub(crate) fn append(&mut self, disk: &dyn Disk, offset: i64, position: u32) -> Result<(), LogError> {
        let relative = u32::try_from(offset - self.base_offset).expect("the segment rolls before its offsets overflow");
        self.entries.push(disk, (u64::from(relative) << 32 | u64::from(position)).to_be_bytes())
    }

    /// Position of the last indexed batch that ends at or before `offset`; 0 if there is none.
    pub(crate) fn lookup(&self, disk: &dyn Disk, offset: i64) -> Result<u32, LogError> {
        let after = self.entries.partition_point(disk, |entry| offset_entry(self.base_offset, entry).0 <= offset)?;
        match after.checked_sub(1) {
            Some(number) => Ok(offset_entry(self.base_offset, &self.entries.get(disk, number)?).1),
            None => Ok(0),
        }
    }

    /// Offset of the first indexed batch at or behind `position`: nothing before `position` has a higher one.
    pub(crate) fn offset_at_or_after(&self, disk: &dyn Disk, position: u32) -> Result<Option<i64>, LogError> {
        let number = self.entries.partition_point(disk, |entry| offset_entry(self.base_offset, entry).1 < position)?;
        if number == self.entries.count {
            return Ok(None);
        }
        Ok(Some(offset_entry(self.base_offset, &self.entries.get(disk, number)?).0))
    }

    /// The last entry: offset and position.
    pub(crate) fn last(&self, disk: &dyn Disk) -> Result<Option<(i64, u32)>, LogError> {
        Ok(self.entries.last(disk)?.map(|entry| offset_entry(self.base_offset, &entry)))
    }

    /// Drops entries with `offset` or later.
    pub(crate) fn truncate_to(&mut self, disk: &dyn Disk, offset: i64) -> Result<(), LogError> {
        let base_offset = self.base_offset;
        let keep = self.entries.partition_point(disk, |entry| offset_entry(base_offset, entry).0 < offset)?;
        self.entries.truncate(disk, keep)
    }

    pub(crate) fn reset(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        self.entries.reset(disk)
    }

    pub(crate) fn write_out(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        self.entries.write_out(disk)
    }

    pub(crate) fn free_memory(&mut self) {
        self.entries.free_memory();
    }
}

/// A timestamp and the offset that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimestampOffset {
    pub timestamp: i64,
    pub offset: i64,
}

/// `.timeindex`: the largest timestamp up to some offset.
#[derive(Debug)]
pub(crate) struct TimeIndex {
    base_offset: i64,
    entries: EntryFile<TIME_ENTRY_BYTES>,
}

pub(super) fn time_entry(base_offset: i64, entry: &[u8; TIME_ENTRY_BYTES]) -> TimestampOffset {
    let (timestamp, relative) = entry.split_at(8);
    TimestampOffset {
        timestamp: i64::from_be_bytes(timestamp.try_into().expect("8 of 12 bytes")),
        offset: base_offset + i64::from(u32::from_be_bytes(relative.try_into().expect("4 of 12 bytes"))),
    }
}

impl TimeIndex {
    pub(crate) fn new(base_offset: i64, path: PathBuf, len: u64) -> TimeIndex {
        TimeIndex { base_offset, entries: EntryFile::new(path, len) }
    }

    pub(crate) fn count(&self) -> u32 {
        self.entries.count
    }

    pub(crate) fn file(&self) -> &LazyFile {
        &self.entries.file
    }

    pub(crate) fn file_mut(&mut self) -> &mut LazyFile {
        &mut self.entries.file
    }

    /// Notes the largest timestamp so far, unless it is not above the last one noted.
    pub(crate) fn append(&mut self, disk: &dyn Disk, max: TimestampOffset) -> Result<(), LogError> {
        let last = self.last(disk)?;
        if max.timestamp <= last.timestamp || (self.count() > 0 && max.offset < last.offset) {
            return Ok(());
        }
        let relative = u32::try_from(max.offset - self.base_offset).expect("the segment rolls before that");
        let mut entry = [0; TIME_ENTRY_BYTES];
        entry[..8].copy_from_slice(&max.timestamp.to_be_bytes());
        entry[8..].copy_from_slice(&relative.to_be_bytes());
        self.entries.push(disk, entry)
    }

    /// The last entry; timestamp -1 at the base offset if there is none.
    pub(crate) fn last(&self, disk: &dyn Disk) -> Result<TimestampOffset, LogError> {
        let last = self.entries.last(disk)?.map(|entry| time_entry(self.base_offset, &entry));
        Ok(last.unwrap_or(TimestampOffset { timestamp: -1, offset: self.base_offset }))
    }

    /// The last entry whose timestamp is not above `timestamp`.
    pub(crate) fn lookup(&self, disk: &dyn Disk, timestamp: i64) -> Result<TimestampOffset, LogError> {
        let base = self.base_offset;
        let after = self.entries.partition_point(disk, |entry| time_entry(base, entry).timestamp <= timestamp)?;
        match after.checked_sub(1) {
            Some(number) => Ok(time_entry(base, &self.entries.get(disk, number)?)),
            None => Ok(TimestampOffset { timestamp: -1, offset: base }),
        }
    }

    /// Drops entries with `offset` or later.
    pub(crate) fn truncate_to(&mut self, disk: &dyn Disk, offset: i64) -> Result<(), LogError> {
        let base = self.base_offset;
        let keep = self.entries.partition_point(disk, |entry| time_entry(base, entry).offset < offset)?;
        self.entries.truncate(disk, keep)
    }

    pub(crate) fn reset(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        self.entries.reset(disk)
    }

    pub(crate) fn write_out(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        self.entries.write_out(disk)
    }

    pub(crate) fn free_memory(&mut self) {
        self.entries.free_memory();
    }
}

/// A transaction that ended with an abort marker, as consumers of committed records need it (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTxn {
    /// The producer.
    pub producer_id: i64,
    /// Offset of its first record in this partition.
    pub first_offset: i64,
    /// Offset of the abort marker.
    pub last_offset: i64,
    /// The last stable offset just after the marker was written.
    pub last_stable_offset: i64,
}

pub(super) fn txn_entry(entry: &[u8; TXN_ENTRY_BYTES]) -> Option<AbortedTxn> {
    let number = |at: usize| i64::from_be_bytes(entry[at..at + 8].try_into().expect("8 of 34 bytes"));
    (entry[..2] == [0, 0]).then(|| AbortedTxn {
        producer_id: number(2),
        first_offset: number(10),
        last_offset: number(18),
        last_stable_offset: number(26),
    })
}

/// `.txnindex`: the aborted transactions whose marker is in the segment. The file is there only if there are some.
#[derive(Debug)]
pub(crate) struct TxnIndex {
    entries: EntryFile<TXN_ENTRY_BYTES>,
    exists: bool,
}

impl TxnIndex {
    /// `len` is `None` if the file is not there.
    pub(crate) fn new(path: PathBuf, len: Option<u64>) -> TxnIndex {
        TxnIndex { entries: EntryFile::new(path, len.unwrap_or(0)), exists: len.is_some() }
    }

    pub(crate) fn exists(&self) -> bool {
        self.exists
    }

    pub(crate) fn file(&self) -> &LazyFile {
        &self.entries.file
    }

    pub(crate) fn file_mut(&mut self) -> &mut LazyFile {
        &mut self.entries.file
    }

    /// Adds a transaction and writes it at once: unlike the other two, this index is asked for by consumers.
    pub(crate) fn append(&mut self, disk: &dyn Disk, txn: AbortedTxn) -> Result<(), LogError> {
        let mut entry = [0; TXN_ENTRY_BYTES];
        entry[2..10].copy_from_slice(&txn.producer_id.to_be_bytes());
        entry[10..18].copy_from_slice(&txn.first_offset.to_be_bytes());
        entry[18..26].copy_from_slice(&txn.last_offset.to_be_bytes());
        entry[26..].copy_from_slice(&txn.last_stable_offset.to_be_bytes());
        self.exists = true;
        self.entries.push(disk, entry)?;
        self.entries.write_out(disk)
    }

    /// Adds to `found` what overlaps `from..to`; true if no later segment can have more.
    pub(crate) fn collect(
        &self,
        disk: &dyn Disk,
        from: i64,
        to: i64,
        found: &mut Vec<AbortedTxn>,
    ) -> Result<bool, LogError> {
        // Markers stand in the order of their offsets, so what ended before `from` is skipped by a search.
        let first =
            self.entries.partition_point(disk, |entry| txn_entry(entry).is_some_and(|t| t.last_offset < from))?;
        for number in first..self.entries.count {
            let Some(txn) = txn_entry(&self.entries.get(disk, number)?) else {
                return Err(LogError::malformed(self.file().path(), "unknown version of an entry".to_owned()));
            };
            if txn.first_offset < to {
                found.push(txn);
            }
            if txn.last_stable_offset >= to {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// False if an entry cannot be of a segment with this base offset.
    pub(crate) fn is_sane(&self, disk: &dyn Disk, base_offset: i64) -> Result<bool, LogError> {
        for number in 0..self.entries.count {
            if txn_entry(&self.entries.get(disk, number)?).is_none_or(|txn| txn.last_offset < base_offset) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Drops transactions whose marker is at `offset` or later.
    pub(crate) fn truncate_to(&mut self, disk: &dyn Disk, offset: i64) -> Result<(), LogError> {
        let keep =
            self.entries.partition_point(disk, |entry| txn_entry(entry).is_some_and(|t| t.last_offset < offset))?;
        self.entries.truncate(disk, keep)
    }

    pub(crate) fn reset(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        if self.exists { self.entries.reset(disk) } else { Ok(()) }
    }
}
