//! Which leader epoch began at which offset (KIP-101, KIP-279), kept in `leader-epoch-checkpoint`. Never looks into
//! batches: it is told of epochs by whoever appends them.

use super::{LogError, checkpoints};
use common::disk::Disk;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the file in the partition's directory.
pub const LEADER_EPOCH_FILE: &str = "leader-epoch-checkpoint";

/// The epochs of one log in ascending order, epochs and start offsets both strictly growing. The file is replaced on
/// each change; it is read when the log is opened, and by followers' truncation through
/// [`EpochCache::end_offset_for`].
///
/// A change is not synced: a failover changes thousands of these files at once, and records behind the recovery point
/// tell their epochs again when the log is opened. Before the recovery point rises the file is made durable. An epoch
/// that begins without a record is not even written: opened again, the log would not have it, as in Kafka.
///
/// No record here tells the epochs of what is only in a remote store. Once there is such the file is replaced durably or
/// not at all: an epoch that begins waits for the next flush, up to which its records tell it, and what is cut off is
/// synced.
pub struct EpochCache {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    entries: Vec<EpochEntry>,
    /// What is no more an entry since the log was opened and still is in the file: see [`EpochCache::forget_from_start`].
    /// Of the changes of the leader meanwhile, no more.
    forgotten: Vec<EpochEntry>,
    is_unsynced: bool,
    /// The latest entry is not in the file.
    is_unwritten: bool,
    /// Some entries are of what lies before the first record here.
    is_more_elsewhere: bool,
}

/// An epoch and the offset of its first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    /// Leader epoch, from 0.
    pub epoch: i32,
    /// Offset of the first record written in it.
    pub start_offset: i64,
}

/// A line of the checkpoint behind the first two, `epoch offset`; `None` if it is none.
pub fn parse_line(line: &str) -> Option<EpochEntry> {
    let (epoch, start_offset) = line.split_once(' ')?;
    let entry = EpochEntry { epoch: epoch.parse().ok()?, start_offset: start_offset.parse().ok()? };
    (entry.epoch >= 0 && entry.start_offset >= 0).then_some(entry)
}

impl EpochCache {
    /// Reads the checkpoint of a partition's directory; empty if there is none. `Malformed` if it cannot be used.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<EpochCache, LogError> {
        let mut cache = EpochCache::empty(disk, dir);
        cache.check_whole()?;
        for line in checkpoints::read_lines(cache.disk.as_ref(), &cache.path)? {
            match parse_line(&line) {
                Some(entry) => {
                    cache.put(entry);
                }
                None => return Err(LogError::malformed(&cache.path, format!("line `{line}` is not `epoch offset`"))),
            }
        }
        Ok(cache)
    }

    /// A file that lost its end with the power is recognized: whole ones end with a line's end.
    fn check_whole(&self) -> Result<(), LogError> {
        let file = match self.disk.open(&self.path, false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(LogError::io("open", &self.path)(error)),
        };
        let mut last = [0];
        let len = file.len().map_err(LogError::io("measure", &self.path))?;
        let read = file.read_at(&mut last, len.saturating_sub(1)).map_err(LogError::io("read", &self.path))?;
        if read == 1 && last == *b"\n" {
            return Ok(());
        }
        Err(LogError::malformed(&self.path, "its end is missing".to_owned()))
    }

    /// True if what is in memory might not survive a loss of power.
    pub(crate) fn is_unsynced(&self) -> bool {
        self.is_unsynced
    }

    /// A cache without entries; whatever the file holds stays until the next change.
    pub fn empty(disk: Arc<dyn Disk>, dir: &Path) -> EpochCache {
        EpochCache {
            disk,
            path: dir.join(LEADER_EPOCH_FILE),
            entries: Vec::new(),
            forgotten: Vec::new(),
            is_unsynced: false,
            is_unwritten: false,
            is_more_elsewhere: false,
        }
    }

    /// Whether some entries are of what lies before the first record here. Before records go whose epochs nothing else tells
    /// the file is to be made durable: see [`EpochCache::sync`].
    pub(crate) fn set_more_elsewhere(&mut self, is_more_elsewhere: bool) {
        self.is_more_elsewhere = is_more_elsewhere;
    }

    /// Follows the renaming of the partition's directory.
    pub(crate) fn set_dir(&mut self, dir: &Path) {
        self.path = dir.join(LEADER_EPOCH_FILE);
    }

    /// Notes that `epoch` begins at `start_offset`, with a record. Entries that contradict it (same or later epoch, same
    /// or later offset) go. No effect, and no write, if the epoch is the latest and began before with a record.
    pub fn assign(&mut self, epoch: i32, start_offset: i64) -> Result<(), LogError> {
        if epoch < 0 || start_offset < 0 {
            return Ok(());
        }
        let is_changed = self.put(EpochEntry { epoch, start_offset });
        if !is_changed && !self.is_unwritten {
            return Ok(());
        }
        if self.is_more_elsewhere {
            (self.is_unsynced, self.is_unwritten) = (true, false);
            return Ok(());
        }
        self.write()
    }

    /// As [`EpochCache::assign`] for an epoch without a record so far, which the file gets with its first one: a failover
    /// of thousands of partitions, most of which nobody writes to, changes no file.
    pub fn assign_without_record(&mut self, epoch: i32, start_offset: i64) {
        if epoch >= 0 && start_offset >= 0 && self.put(EpochEntry { epoch, start_offset }) {
            self.is_unwritten = true;
        }
    }

    /// As [`EpochCache::assign`], without writing the file: for recovery, which writes once at its end.
    pub(crate) fn assign_unwritten(&mut self, epoch: i32, start_offset: i64) {
        if epoch >= 0 && start_offset >= 0 && self.latest().is_none_or(|latest| epoch > latest.epoch) {
            self.put(EpochEntry { epoch, start_offset });
        }
    }

    fn put(&mut self, entry: EpochEntry) -> bool {
        put(&mut self.entries, entry)
    }

    /// The latest entry.
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// The earliest entry.
    pub fn earliest(&self) -> Option<EpochEntry> {
        self.entries.first().copied()
    }

    /// All entries in ascending order.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// Where an epoch ended, as OffsetsForLeaderEpoch answers: the largest known epoch not above `epoch`, and the start
    /// of the next one; for the latest epoch the log end. An epoch older than all known ones ends where the first known
    /// one starts. `None` (undefined) if `epoch` is negative or above all known ones.
    pub fn end_offset_for(&self, epoch: i32, log_end_offset: i64) -> Option<(i32, i64)> {
        let latest = self.latest()?;
        if epoch < 0 || epoch > latest.epoch {
            return None;
        }
        if epoch == latest.epoch {
            return Some((epoch, log_end_offset));
        }
        let next = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let end_offset = self.entries[next].start_offset;
        match next.checked_sub(1) {
            Some(floor) => Some((self.entries[floor].epoch, end_offset)),
            None => Some((epoch, end_offset)),
        }
    }

    /// The epoch in which `offset` was (or would be) written.
    pub fn epoch_for_offset(&self, offset: i64) -> Option<i32> {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        after.checked_sub(1).map(|index| self.entries[index].epoch)
    }

    /// Drops epochs that start at or after `end_offset`: the log was cut there.
    pub fn truncate_from_end(&mut self, end_offset: i64) -> Result<(), LogError> {
        self.forgotten.retain(|entry| entry.start_offset < end_offset);
        let keep = self.entries.partition_point(|entry| entry.start_offset < end_offset);
        if keep == self.entries.len() {
            return Ok(());
        }
        self.entries.truncate(keep);
        self.write()
    }

    /// Drops epochs that ended before `start_offset`; the one that holds it now starts there.
    pub fn truncate_from_start(&mut self, start_offset: i64) -> Result<(), LogError> {
        if self.cut_start(start_offset).is_empty() {
            return Ok(());
        }
        self.write()
    }

    /// The same for a log of which more is in a remote store: the file keeps them until the log is opened again. The log
    /// start is checkpointed once a minute; after a crash in between the log has an older one, and without the epochs behind
    /// that nobody could tell what of the store is its own. Opening it cuts them off again.
    pub(crate) fn forget_from_start(&mut self, start_offset: i64) {
        for entry in self.cut_start(start_offset) {
            put(&mut self.forgotten, entry);
        }
    }

    /// In memory alone; gives what was cut off, the epoch that holds `start_offset` included.
    pub(super) fn cut_start(&mut self, start_offset: i64) -> Vec<EpochEntry> {
        let after = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(holding) = after.checked_sub(1) else { return Vec::new() };
        if holding == 0 && self.entries[0].start_offset == start_offset {
            return Vec::new();
        }
        let cut = self.entries[..=holding].to_vec();
        self.entries.drain(..holding);
        self.entries[0].start_offset = start_offset;
        cut
    }

    /// Forgets all epochs.
    pub fn clear(&mut self) -> Result<(), LogError> {
        self.is_more_elsewhere = false;
        self.forgotten.clear();
        if self.entries.is_empty() {
            return Ok(());
        }
        self.entries.clear();
        self.write()
    }

    /// Replaces all entries by those of what is only elsewhere, and the file once, durably.
    pub(crate) fn replace(&mut self, entries: impl IntoIterator<Item = EpochEntry>) -> Result<(), LogError> {
        self.is_more_elsewhere = true;
        self.forgotten.clear();
        self.entries.clear();
        for entry in entries {
            self.assign_unwritten(entry.epoch, entry.start_offset);
        }
        self.is_unsynced = true;
        self.sync()
    }

    /// Replaces the file by what is in memory.
    pub(crate) fn write(&mut self) -> Result<(), LogError> {
        (self.is_unsynced, self.is_unwritten) = (true, false);
        if self.is_more_elsewhere {
            return self.sync();
        }
        self.disk.write_unsynced(&self.path, self.text().as_bytes()).map_err(LogError::io("write", &self.path))
    }

    /// Makes durable what was written; to be done before the recovery point rises above a record.
    pub(crate) fn sync(&mut self) -> Result<(), LogError> {
        if self.is_unsynced {
            self.disk.write_atomic(&self.path, self.text().as_bytes()).map_err(LogError::io("write", &self.path))?;
            (self.is_unsynced, self.is_unwritten) = (false, false);
        }
        Ok(())
    }

    fn text(&self) -> String {
        let mut entries = self.forgotten.clone();
        for entry in &self.entries {
            put(&mut entries, *entry);
        }
        let mut text = format!("0\n{}\n", entries.len());
        for entry in &entries {
            writeln!(text, "{} {}", entry.epoch, entry.start_offset).expect("a String takes all");
        }
        text
    }
}

/// Adds an entry, and drops those that contradict it; false if there is no news in it.
fn put(entries: &mut Vec<EpochEntry>, entry: EpochEntry) -> bool {
    if let Some(latest) = entries.last()
        && latest.epoch == entry.epoch
        && latest.start_offset <= entry.start_offset
    {
        return false;
    }
    while let Some(last) = entries.last()
        && (last.epoch >= entry.epoch || last.start_offset >= entry.start_offset)
    {
        entries.pop();
    }
    entries.push(entry);
    true
}

#[cfg(test)]
#[cfg(feature = "server")]
mod tests {
    use super::*;
    use crate::server::disk::StdDisk;

    fn cache(dir: &Path, entries: &[(i32, i64)]) -> EpochCache {
        let mut cache = EpochCache::empty(Arc::new(StdDisk), dir);
        for (epoch, start_offset) in entries {
            cache.assign(*epoch, *start_offset).unwrap();
        }
        cache
    }

    fn pairs(cache: &EpochCache) -> Vec<(i32, i64)> {
        cache.entries().iter().map(|entry| (entry.epoch, entry.start_offset)).collect()
    }

    #[test]
    fn assigning_keeps_epochs_and_offsets_growing() {
        let dir = tempfile::tempdir().unwrap();
        for (given, kept) in [
            (vec![(0, 0), (1, 10), (2, 20)], vec![(0, 0), (1, 10), (2, 20)]),
            (vec![(0, 0), (0, 5)], vec![(0, 0)]),
            (vec![(1, 10), (2, 10)], vec![(2, 10)]),
            (vec![(1, 10), (3, 20), (2, 15)], vec![(1, 10), (2, 15)]),
            (vec![(1, 10), (2, 20), (3, 5)], vec![(3, 5)]),
            (vec![(2, 20), (2, 10)], vec![(2, 10)]),
            (vec![(-1, 0)], vec![]),
        ] {
            let cache = cache(dir.path(), &given);
            assert_eq!(pairs(&cache), kept, "{given:?}");
            if !kept.is_empty() {
                let reread = EpochCache::open(Arc::new(StdDisk), dir.path()).unwrap();
                assert_eq!(pairs(&reread), kept, "{given:?} on disk");
            }
        }
    }

    #[test]
    fn an_epoch_without_a_record_is_written_with_its_first_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = cache(dir.path(), &[(1, 0)]);
        let on_disk = || pairs(&EpochCache::open(Arc::new(StdDisk), dir.path()).unwrap());
        cache.assign_without_record(2, 10);
        cache.assign_without_record(4, 10);
        assert_eq!((pairs(&cache), on_disk()), (vec![(1, 0), (4, 10)], vec![(1, 0)]));
        cache.assign(4, 10).unwrap();
        assert_eq!((pairs(&cache), on_disk()), (vec![(1, 0), (4, 10)], vec![(1, 0), (4, 10)]));
    }

    #[test]
    fn the_file_is_kafkas() {
        let dir = tempfile::tempdir().unwrap();
        cache(dir.path(), &[(0, 0), (4, 12)]);
        let text = std::fs::read_to_string(dir.path().join(LEADER_EPOCH_FILE)).unwrap();
        assert_eq!(text, "0\n2\n0 0\n4 12\n");
        for bad in ["0\n1\n-3 4\n", "", "0\n1", "0\n1\n3 4"] {
            std::fs::write(dir.path().join(LEADER_EPOCH_FILE), bad).unwrap();
            assert!(EpochCache::open(Arc::new(StdDisk), dir.path()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn end_offsets_are_those_of_kip_279() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path(), &[(2, 10), (4, 20), (7, 30)]);
        for (epoch, expected) in [
            (-1, None),
            (0, Some((0, 10))),
            (2, Some((2, 20))),
            (3, Some((2, 20))),
            (4, Some((4, 30))),
            (6, Some((4, 30))),
            (7, Some((7, 99))),
            (8, None),
        ] {
            assert_eq!(cache.end_offset_for(epoch, 99), expected, "epoch {epoch}");
        }
        for (offset, expected) in [(9, None), (10, Some(2)), (19, Some(2)), (20, Some(4)), (1000, Some(7))] {
            assert_eq!(cache.epoch_for_offset(offset), expected, "offset {offset}");
        }
    }

    #[test]
    fn truncation_at_both_ends() {
        let dir = tempfile::tempdir().unwrap();
        let all = [(2, 10), (4, 20), (7, 30)];
        for (end, kept) in [(31, vec![(2, 10), (4, 20), (7, 30)]), (30, vec![(2, 10), (4, 20)]), (10, vec![])] {
            let mut cache = cache(dir.path(), &all);
            cache.truncate_from_end(end).unwrap();
            assert_eq!(pairs(&cache), kept, "end {end}");
        }
        for (start, kept) in [
            (9, vec![(2, 10), (4, 20), (7, 30)]),
            (15, vec![(2, 15), (4, 20), (7, 30)]),
            (20, vec![(4, 20), (7, 30)]),
            (99, vec![(7, 99)]),
        ] {
            let mut cache = cache(dir.path(), &all);
            cache.truncate_from_start(start).unwrap();
            assert_eq!(pairs(&cache), kept, "start {start}");
        }
    }
}
