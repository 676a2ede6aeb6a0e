//! Opening a log: clearing away what a crash left half done, checking what was not synced, and finding out where the
//! log ends and who its producers are. After it everything in memory agrees with the files.

use super::epochs::{EpochCache, LEADER_EPOCH_FILE};
use super::index::{AbortedTxn, OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES, TXN_ENTRY_BYTES};
use super::producers::{CompletedTxn, Prepared, Producers, SNAPSHOT_SUFFIX};
use super::scan::{Scanned, Scanner, WALK_CHUNK_BYTES};
use super::segment::{
    DELETED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, Segment, SegmentFiles, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX, file_path,
    remove_if_there,
};
use super::{AppendOrigin, Log, LogConfig, LogError, OpenState, Scratch, check};
use common::Rng;
use common::disk::{DirEntry, Disk};
use common::kafka::batch::BatchHeader;
use common::mutants;
use common::time::{Now, WallMillis};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that compaction was writing.
pub(crate) const CLEANED_SUFFIX: &str = ".cleaned";
/// A file that compaction had written and was putting in place.
pub(crate) const SWAP_SUFFIX: &str = ".swap";

/// See [`Log::open`].
pub(super) fn open(
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    config: LogConfig,
    start: OpenState,
    now: Now,
) -> Result<Log, LogError> {
    disk.create_dir_all(&dir).map_err(LogError::io("create", &dir))?;
    let mut entries = list(disk.as_ref(), &dir)?;
    if finish_interrupted_work(disk.as_ref(), &dir, &entries)? {
        entries = list(disk.as_ref(), &dir)?;
    }
    let is_new = entries.is_empty();
    let files = DirFiles::sort(disk.as_ref(), &dir, &entries)?;
    let mut start = start;
    let has_epochs = entries.iter().any(|entry| entry.name == LEADER_EPOCH_FILE);
    let epochs = if has_epochs {
        EpochCache::open(Arc::clone(&disk), &dir)
    } else {
        Ok(EpochCache::empty(Arc::clone(&disk), &dir))
    };
    let mut epochs = match epochs {
        Ok(epochs) => epochs,
        // Kafka makes the file when it makes the log, and writes to it with the first record.
        Err(LogError::Malformed { .. }) if files.is_without_records() => EpochCache::empty(Arc::clone(&disk), &dir),
        Err(error @ LogError::Malformed { .. }) => {
            tracing::warn!(%error, "reading all segments to find the leader epochs");
            start.clean_shutdown = false;
            start.recovery_point = 0;
            EpochCache::empty(Arc::clone(&disk), &dir)
        }
        Err(error) => return Err(error),
    };
    // Before the topic's settings are known, the file tells that there is more elsewhere.
    let first = files.segments.keys().next();
    let is_more_elsewhere = epochs.earliest().zip(first).is_some_and(|(entry, first)| entry.start_offset < *first);
    epochs.set_more_elsewhere(is_more_elsewhere);
    let producers = Producers::new(Arc::clone(&disk), &dir, config.producer_id_expiration_ms, files.snapshots.clone());
    let seed = u64::from(crc32c::crc32c(dir.as_os_str().as_encoded_bytes()));
    let mut log = Log {
        disk,
        dir,
        config,
        segments: BTreeMap::new(),
        epochs,
        producers,
        log_start_offset: start.log_start_offset.max(0),
        remembered_start: None,
        highest_copied: -1,
        log_end_offset: 0,
        recovery_point: start.recovery_point.max(0),
        unflushed_since: None,
        suspected_gap: None,
        truncations: 0,
        doomed: Vec::new(),
        rng: Rng::with_seed(seed),
        now,
        scratch: Scratch::default(),
    };
    load_segments(&mut log, &files, start)?;
    find_ends(&mut log, start, is_new)?;
    log.epochs.truncate_from_end(log.log_end_offset)?;
    if is_more_elsewhere {
        // The next change writes what is left: nothing is lost if it is cut off again, and an open log waits for no sync.
        log.epochs.cut_start(start.log_start_offset);
    } else {
        log.epochs.truncate_from_start(start.log_start_offset)?;
    }

    let base_offsets: BTreeSet<i64> = log.segments.keys().copied().collect();
    log.producers.remove_stray_snapshots(&base_offsets)?;
    let range = log.log_start_offset..log.log_end_offset;
    if start.clean_shutdown && !log.producers.has_snapshot() {
        // No snapshot after a clean stop: there never was a producer to remember.
        log.producers.set_end_offset(range.end);
        log.producers.take_snapshot()?;
    } else {
        rebuild_producers(log.disk.as_ref(), &log.segments, &mut log.producers, range, now.wall)?;
    }
    Ok(log)
}

/// What a partition's directory holds, by base offset.
struct DirFiles {
    segments: BTreeMap<i64, SegmentFiles>,
    snapshots: BTreeSet<i64>,
}

/// `00000000000000000017.index` is offset 17 and `.index`.
fn split_name(name: &str) -> Option<(i64, &str)> {
    let (digits, _) = name.split_once('.')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let offset = digits.parse().ok().filter(|_| is_number)?;
    Some((offset, &name[digits.len()..]))
}

fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<DirEntry>, LogError> {
    let mut entries = disk.read_dir(dir).map_err(LogError::io("list", dir))?;
    entries.retain(|entry| !entry.is_dir);
    Ok(entries)
}

impl DirFiles {
    fn is_without_records(&self) -> bool {
        self.segments.values().all(|segment| segment.log_len == 0)
    }

    fn sort(disk: &dyn Disk, dir: &Path, entries: &[DirEntry]) -> Result<DirFiles, LogError> {
        let mut files = DirFiles { segments: BTreeMap::new(), snapshots: BTreeSet::new() };
        for entry in entries {
            if let Some((base, LOG_SUFFIX)) = split_name(&entry.name) {
                let segment = SegmentFiles { log_len: entry.len, modified: entry.modified, ..Default::default() };
                files.segments.insert(base, segment);
            }
        }
        for entry in entries {
            let Some((base, suffix)) = split_name(&entry.name) else { continue };
            let segment = files.segments.get_mut(&base);
            let slot = match (suffix, segment) {
                (SNAPSHOT_SUFFIX, _) => {
                    files.snapshots.insert(base);
                    continue;
                }
                (INDEX_SUFFIX, Some(segment)) => &mut segment.index_len,
                (TIME_INDEX_SUFFIX, Some(segment)) => &mut segment.time_index_len,
                (TXN_INDEX_SUFFIX, Some(segment)) => &mut segment.txn_index_len,
                (INDEX_SUFFIX | TIME_INDEX_SUFFIX | TXN_INDEX_SUFFIX, None) => {
                    tracing::warn!(dir = %dir.display(), name = entry.name, "removing index without a segment");
                    remove_if_there(disk, &dir.join(&entry.name))?;
                    continue;
                }
                _ => continue,
            };
            *slot = Some(entry.len);
        }
        Ok(files)
    }
}

/// Removes what was being deleted or compacted, and completes the replacement of segments by compacted ones. True if
/// there was something to do.
fn finish_interrupted_work(disk: &dyn Disk, dir: &Path, entries: &[DirEntry]) -> Result<bool, LogError> {
    let is_left_over = |name: &str| [DELETED_SUFFIX, CLEANED_SUFFIX, SWAP_SUFFIX].iter().any(|end| name.ends_with(end));
    if !entries.iter().any(|entry| is_left_over(&entry.name)) {
        return Ok(false);
    }
    let with_suffix =
        |suffix: &str| -> Vec<&DirEntry> { entries.iter().filter(|entry| entry.name.ends_with(suffix)).collect() };
    for entry in with_suffix(DELETED_SUFFIX).into_iter().chain(with_suffix(CLEANED_SUFFIX)) {
        remove_if_there(disk, &dir.join(&entry.name))?;
    }
    // A swap at or above a segment that was still being written belongs to a replacement that was not complete.
    let cleaned = with_suffix(CLEANED_SUFFIX);
    let first_cleaned = cleaned.iter().filter_map(|entry| split_name(&entry.name)).map(|(base, _)| base).min();
    let mut swaps = Vec::new();
    for entry in with_suffix(SWAP_SUFFIX) {
        match split_name(&entry.name) {
            Some((base, _)) if first_cleaned.is_none_or(|first| base < first) => swaps.push((base, entry)),
            _ => remove_if_there(disk, &dir.join(&entry.name))?,
        }
    }
    if swaps.is_empty() {
        return Ok(true);
    }
    let mut replaced: Option<Range<i64>> = None;
    for (base, entry) in &swaps {
        if entry.name.ends_with(".log.swap") {
            let end = end_of_file(disk, &dir.join(&entry.name), entry.len, *base)?;
            let range = replaced.get_or_insert(*base..end);
            *range = range.start.min(*base)..range.end.max(end);
        }
    }
    if let Some(replaced) = replaced {
        for entry in entries {
            let Some((base, suffix)) = split_name(&entry.name) else { continue };
            if replaced.contains(&base) && !suffix.ends_with(SWAP_SUFFIX) {
                tracing::info!(dir = %dir.display(), name = entry.name, "removing file replaced by compaction");
                remove_if_there(disk, &dir.join(&entry.name))?;
            }
        }
    }
    for (_, entry) in &swaps {
        let from = dir.join(&entry.name);
        let to = dir.join(entry.name.trim_end_matches(SWAP_SUFFIX));
        disk.rename(&from, &to).map_err(LogError::io("rename", &from))?;
    }
    disk.sync_dir(dir).map_err(LogError::io("sync", dir))?;
    Ok(true)
}

/// Offset behind the last whole batch of a segment file.
fn end_of_file(disk: &dyn Disk, path: &Path, len: u64, base: i64) -> Result<i64, LogError> {
    let file = disk.open(path, false).map_err(LogError::io("open", path))?;
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    let mut scanner = Scanner::new(file.as_ref(), path, 0, len, WALK_CHUNK_BYTES);
    let mut end = base;
    while let Scanned::Batch(_, header) = scanner.next()? {
        end = header.next_offset();
    }
    Ok(end)
}

/// Opens the segments, and recovers those that need it.
fn load_segments(log: &mut Log, files: &DirFiles, start: OpenState) -> Result<(), LogError> {
    let disk = Arc::clone(&log.disk);
    let first_unsynced = files.segments.range(..=log.recovery_point).next_back().map_or(0, |(base, _)| *base);
    let last = files.segments.keys().next_back().copied();
    let mut assigned = false;
    for (base, segment_files) in &files.segments {
        let mut segment = Segment::open(&log.dir, *base, *segment_files, log.now)?;
        let unsynced = !start.clean_shutdown && *base >= first_unsynced;
        let reason = if last == Some(*base) && segment.is_bare(segment_files) {
            None
        } else if unsynced {
            Some("not synced")
        } else if !has_sane_indexes(disk.as_ref(), &segment, segment_files)? {
            Some("an index is missing or torn")
        } else if last == Some(*base) && segment.find_end(disk.as_ref())?.is_none() {
            Some("its end is torn")
        } else {
            None
        };
        let Some(reason) = reason else {
            log.segments.insert(*base, segment);
            continue;
        };
        tracing::info!(path = %segment.path().display(), reason, "recovering segment");
        let recovered = recover_segment(log, &mut segment)?;
        assigned = true;
        log.segments.insert(*base, segment);
        let next = files.segments.range((Bound::Excluded(*base), Bound::Unbounded)).next().map(|(base, _)| *base);
        // Where a damaged segment was synced once, those behind it are whole and stay: a gap loses less.
        let lacks_its_end = recovered.lacks_its_end(next, start.compacted_to) && !mutants::is_on("hole-not-noticed");
        if unsynced && lacks_its_end {
            log.suspected_gap.get_or_insert(recovered.end_offset);
        }
        if unsynced && recovered.cut > 0 {
            drop_segments_behind(log, files, *base)?;
            break;
        }
    }
    if assigned { log.epochs.write() } else { Ok(()) }
}

fn has_sane_indexes(disk: &dyn Disk, segment: &Segment, files: &SegmentFiles) -> Result<bool, LogError> {
    let is_whole = |len: Option<u64>, entry_bytes: usize| len.is_some_and(|len| len % entry_bytes as u64 == 0);
    let txn_is_whole = files.txn_index_len.is_none_or(|len| len % TXN_ENTRY_BYTES as u64 == 0);
    Ok(is_whole(files.index_len, OFFSET_ENTRY_BYTES)
        && is_whole(files.time_index_len, TIME_ENTRY_BYTES)
        && txn_is_whole
        && segment.txn_index().is_sane(disk, segment.base_offset)?)
}

/// What became of a recovered segment.
struct Recovered {
    /// Bytes cut off.
    cut: u32,
    /// Offset behind its last batch.
    end_offset: i64,
    /// No offset is missing within: compaction has not been here.
    is_dense: bool,
}

impl Recovered {
    /// A system that loses power may have written a later segment and not the end of an earlier one, cut between two
    /// batches: nothing is torn, and yet records are missing that would never be fetched again. Compaction leaves such
    /// gaps too, here, which the checkpoint tells, or at a leader that was followed; so nothing is dropped before there is
    /// a leader to fetch from.
    fn lacks_its_end(&self, next_segment: Option<i64>, compacted_to: i64) -> bool {
        self.is_dense && self.end_offset >= compacted_to && next_segment.is_some_and(|next| self.end_offset < next)
    }
}

/// Checks a segment batch by batch and rebuilds its indexes, noting leader epochs and following the producers on the
/// way: the transaction index needs them.
fn recover_segment(log: &mut Log, segment: &mut Segment) -> Result<Recovered, LogError> {
    let disk = Arc::clone(&log.disk);
    let base = segment.base_offset;
    let Log { segments, producers, epochs, config, log_start_offset, now, .. } = log;
    rebuild_producers(disk.as_ref(), segments, producers, *log_start_offset..base, now.wall)?;
    let mut prepared = Prepared::default();
    let (mut end_offset, mut is_dense) = (base, true);
    let cut = segment.recover(disk.as_ref(), config.index_interval_bytes, &mut |batch| {
        let header = &batch.header;
        let is_whole = i64::from(header.record_count) == header.next_offset() - header.base_offset;
        is_dense &= header.base_offset == end_offset && is_whole;
        end_offset = header.next_offset();
        epochs.assign_unwritten(header.partition_leader_epoch, header.base_offset);
        for txn in follow_producer(producers, &mut prepared, batch.scanner, batch.position, &batch.header)? {
            if txn.is_aborted {
                let last_stable_offset = producers.stable_offset_after(&txn);
                batch.txn_index.append(
                    disk.as_ref(),
                    AbortedTxn {
                        producer_id: txn.producer_id,
                        first_offset: txn.first_offset,
                        last_offset: txn.last_offset,
                        last_stable_offset,
                    },
                )?;
            }
            producers.complete(&txn);
        }
        Ok(())
    })?;
    producers.take_snapshot()?;
    Ok(Recovered { cut, end_offset, is_dense })
}

/// Takes one batch of the log into account. Returns the transactions it ends, which the caller completes.
fn follow_producer(
    producers: &mut Producers,
    prepared: &mut Prepared,
    scanner: &mut Scanner<'_>,
    position: u32,
    header: &BatchHeader,
) -> Result<Vec<CompletedTxn>, LogError> {
    if header.producer_id < 0 {
        producers.set_end_offset(header.next_offset());
        return Ok(Vec::new());
    }
    let marker = if header.is_control() { check::end_txn_marker(&scanner.batch(position, header)?) } else { None };
    prepared.clear();
    let result = producers.prepare(prepared, header, marker, AppendOrigin::Replication);
    assert!(result.is_ok(), "what is in the log is not refused");
    producers.apply(prepared, header.next_offset());
    Ok(std::mem::take(&mut prepared.completed))
}

/// Brings the producers to the state at the end of `range`, which begins at the log start: from the latest snapshot
/// within, and the batches behind it.
pub(super) fn rebuild_producers(
    disk: &dyn Disk,
    segments: &BTreeMap<i64, Segment>,
    producers: &mut Producers,
    range: Range<i64>,
    now: WallMillis,
) -> Result<(), LogError> {
    // Without producers before a truncation there are none behind it.
    let had_none = producers.is_empty() && producers.end_offset() >= range.end;
    producers.reload(range.start, range.end, now)?;
    if producers.end_offset() < range.end && !had_none {
        let from = producers.end_offset();
        let first = segments.range(..=from).next_back().map_or(from, |(base, _)| *base);
        let mut prepared = Prepared::default();
        for (base, segment) in segments.range(first..range.end) {
            let from = (*base).max(producers.end_offset()).max(range.start);
            producers.set_end_offset(from);
            // Those of the last two segments make a truncation or the next recovery cheap.
            if segments.range((Bound::Excluded(*base), Bound::Unbounded)).nth(1).is_none() {
                producers.take_snapshot()?;
            }
            let Some(located) = segment.locate(disk, from)? else { continue };
            let mut scanner = segment.scanner(disk, located.position, WALK_CHUNK_BYTES)?;
            while let Some((position, header)) = scanner.next_batch()?
                && header.base_offset < range.end
            {
                for txn in follow_producer(producers, &mut prepared, &mut scanner, position, &header)? {
                    producers.complete(&txn);
                }
            }
        }
    }
    producers.set_end_offset(range.end);
    producers.take_snapshot()
}

/// Behind a cut nothing can follow: the files of later segments go.
fn drop_segments_behind(log: &mut Log, files: &DirFiles, base: i64) -> Result<(), LogError> {
    let behind: Vec<i64> =
        files.segments.range((Bound::Excluded(base), Bound::Unbounded)).map(|(base, _)| *base).collect();
    for base in behind.into_iter().rev() {
        tracing::warn!(dir = %log.dir.display(), base_offset = base, "removing segment behind damage");
        for suffix in [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX] {
            remove_if_there(log.disk.as_ref(), &file_path(&log.dir, base, suffix))?;
        }
        log.producers.remove_snapshot(base)?;
    }
    Ok(())
}

/// Finds the log's two ends and the recovery point; makes the first segment of an empty log.
fn find_ends(log: &mut Log, start: OpenState, is_new: bool) -> Result<(), LogError> {
    let disk = Arc::clone(&log.disk);
    let mut end = None;
    if let Some(last) = log.segments.values_mut().next_back() {
        // A segment that was just recovered has no torn end.
        end = last.find_end(disk.as_ref())?;
        if let Some(offset) = end
            && offset < log.log_start_offset
        {
            tracing::warn!(
                dir = %log.dir.display(), log_end_offset = offset, log_start_offset = log.log_start_offset,
                "the log ends before its start, removing all segments",
            );
            end = None;
        }
    }
    match end {
        Some(offset) => {
            let first = *log.segments.keys().next().expect("there is one with an end");
            if log.config.remote.is_none() && log.log_start_offset < first {
                log.remembered_start = Some(log.log_start_offset);
                log.log_start_offset = first;
            }
            log.log_end_offset = offset;
        }
        None => {
            while let Some((_, segment)) = log.segments.pop_last() {
                log.doom(&segment, None)?;
            }
            let (offset, jitter_ms) = (log.log_start_offset, log.roll_jitter_ms());
            let make = if is_new { Segment::create_first } else { Segment::create };
            let segment = make(disk.as_ref(), &log.dir, offset, jitter_ms, log.now)?;
            log.segments.insert(offset, segment);
            log.epochs.clear()?;
            log.producers.restart_at(offset)?;
            log.log_end_offset = offset;
        }
    }
    log.recovery_point = match (start.clean_shutdown, end) {
        (true, Some(offset)) => offset,
        _ => log.recovery_point.min(log.log_end_offset),
    };
    Ok(())
}
