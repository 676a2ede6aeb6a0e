//! Compaction (`cleanup.policy=compact`): for each key the last record stays. In three steps, so that the partition's
//! lock is held only at both ends: [`Log::start_compaction`] chooses segments, [`Compaction::run`] writes compacted
//! copies beside them, [`Log::finish_compaction`] puts those in their place. Offsets never change; a batch that loses
//! records keeps its offset range, and the last batch of each producer stays, if need be empty, so that sequences are
//! known after a restart. Decides no schedule.

use super::recovery::{CLEANED_SUFFIX, SWAP_SUFFIX};
use super::scan::{Scanner, WALK_CHUNK_BYTES, size_of};
use super::segment::{NewBatches, Segment};
use super::{AbortedTxn, Log, LogConfig, LogError, MAX_DECOMPRESSED_BYTES, check};
use common::disk::{Disk, DiskFile};
use common::kafka::batch::{self, Batch, BatchError, BatchHeader, BatchSpec, Record, TimestampType};
use common::mutants;
use common::time::{Millis, Now};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

/// Records that are written at once.
const WRITE_BYTES: usize = 1 << 20;
/// What an entry of the key map takes beside its key.
const MAP_ENTRY_BYTES: usize = 48;

/// How much of a log there is to compact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompactionState {
    /// Compaction begins here: everything before was compacted.
    pub first_dirty_offset: i64,
    /// And ends here: base of the first segment that is active, holds an unstable record, or is too young.
    pub first_uncleanable_offset: i64,
    /// Bytes before the dirty part.
    pub clean_bytes: u64,
    /// Bytes between the two offsets.
    pub dirty_bytes: u64,
    /// The dirty share is above `min.cleanable.dirty.ratio`, or a dirty record is older than `max.compaction.lag.ms`.
    pub is_due: bool,
}

/// A segment that is to be compacted.
struct Source {
    base_offset: i64,
    /// Base offset of the next segment.
    end_offset: i64,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    size: u32,
    /// Bytes of its larger index.
    index_bytes: u64,
}

/// The last word of a producer in the log, which compaction keeps.
#[derive(Clone, Copy, Debug)]
struct LastWord {
    last_data_offset: Option<i64>,
    epoch: i16,
}

/// A compaction that was begun.
pub struct Compaction {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    config: LogConfig,
    now: Now,
    truncations: u64,
    state: CompactionState,
    sources: Vec<Source>,
    aborted: Vec<AbortedTxn>,
    producers: BTreeMap<i64, LastWord>,
}

/// Compacted copies, ready to be put in place.
pub struct Compacted {
    truncations: u64,
    groups: Vec<Group>,
    /// Up to where keys were taken into account.
    end_offset: i64,
}

struct Group {
    /// Base offset and size of the segments that are replaced.
    replaced: Vec<(i64, u32)>,
    segment: Segment,
}

impl Log {
    /// What there is to compact, given where the last compaction ended (the entry in
    /// [`super::checkpoints::CLEANER_OFFSET_FILE`]; `None` if there was none).
    pub fn compaction_state(
        &self,
        first_dirty_offset: Option<i64>,
        high_watermark: i64,
        now: Now,
    ) -> Result<CompactionState, LogError> {
        let disk = self.disk.as_ref();
        let known = first_dirty_offset.unwrap_or(self.log_start_offset);
        // An offset outside of the log is left over from records that are gone: all is dirty.
        let is_valid = (self.log_start_offset..=self.log_end_offset).contains(&known);
        let first_dirty_offset = if is_valid { known } else { self.log_start_offset };
        let mut limit = self.last_stable_offset(high_watermark).min(self.active_base_offset());
        let mut oldest_dirty = i64::MAX;
        let floor =
            self.segments.range(..=first_dirty_offset).next_back().map_or(first_dirty_offset, |(base, _)| *base);
        for (base, segment) in self.segments.range(floor..self.active_base_offset().max(floor)) {
            if self.config.min_compaction_lag_ms > 0
                && segment.largest_timestamp(disk)? > now.wall.0.saturating_sub(self.config.min_compaction_lag_ms)
            {
                limit = limit.min(*base);
                break;
            }
            let first = segment.first_timestamp(disk)?;
            if first > 0 {
                oldest_dirty = oldest_dirty.min(first);
            }
        }
        // Whole segments only.
        let first_uncleanable_offset = self.segments.range(..=limit).next_back().map_or(limit, |(base, _)| *base);
        let (mut clean_bytes, mut dirty_bytes) = (0, 0);
        for (base, segment) in self.segments.range(..first_uncleanable_offset) {
            let bytes = if *base < floor { &mut clean_bytes } else { &mut dirty_bytes };
            *bytes += u64::from(segment.size());
        }
        let is_dirty_enough =
            dirty_bytes as f64 > (clean_bytes + dirty_bytes) as f64 * self.config.min_cleanable_dirty_ratio;
        let is_old = oldest_dirty < now.wall.0.saturating_sub(self.config.max_compaction_lag_ms.max(0));
        Ok(CompactionState {
            first_dirty_offset,
            first_uncleanable_offset: first_uncleanable_offset.max(first_dirty_offset),
            clean_bytes,
            dirty_bytes,
            is_due: dirty_bytes > 0 && (is_dirty_enough || is_old),
        })
    }

    /// Begins a compaction of what `state` tells; `None` if there is nothing. Only one may be under way.
    pub fn start_compaction(&mut self, state: CompactionState, now: Now) -> Result<Option<Compaction>, LogError> {
        self.now = now;
        let disk = self.disk.as_ref();
        if state.dirty_bytes == 0 {
            return Ok(None);
        }
        let mut sources = Vec::new();
        let mut segments = self.segments.range(..=state.first_uncleanable_offset).peekable();
        while let Some((base_offset, segment)) = segments.next() {
            let Some((end_offset, _)) = segments.peek() else { break };
            sources.push(Source {
                base_offset: *base_offset,
                end_offset: **end_offset,
                path: segment.path().to_owned(),
                file: Arc::clone(segment.file(disk)?),
                size: segment.size(),
                index_bytes: segment.index_bytes(),
            });
        }
        let (Some(first), Some(last)) = (sources.first(), sources.last()) else { return Ok(None) };
        let mut aborted = self.aborted_transactions(first.base_offset, last.end_offset)?;
        aborted.sort_by_key(|txn| txn.first_offset);
        let last_word = |entry: &super::producers::ProducerEntry| LastWord {
            last_data_offset: entry.batches().last().map(|batch| batch.last_offset),
            epoch: entry.epoch,
        };
        Ok(Some(Compaction {
            disk: Arc::clone(&self.disk),
            dir: self.dir.clone(),
            config: self.config.clone(),
            now,
            truncations: self.truncations,
            state,
            sources,
            aborted,
            producers: self.producers.entries().map(|entry| (entry.producer_id, last_word(entry))).collect(),
        }))
    }

    /// Puts compacted segments in the place of their sources, and tells the new first dirty offset. `None`, and the
    /// copies are removed, if the sources changed meanwhile (truncation, retention).
    pub fn finish_compaction(&mut self, compacted: Compacted, now: Now) -> Result<Option<i64>, LogError> {
        self.now = now;
        let disk = Arc::clone(&self.disk);
        let is_unchanged = compacted.truncations == self.truncations
            && compacted.groups.iter().flat_map(|group| &group.replaced).all(|(base_offset, size)| {
                self.segments.get(base_offset).is_some_and(|segment| segment.size() == *size)
            });
        if !is_unchanged {
            for group in &compacted.groups {
                group.segment.remove_files(disk.as_ref())?;
            }
            return Ok(None);
        }
        let due: Millis = now.mono + self.config.file_delete_delay_ms;
        for mut group in compacted.groups {
            // While one file is still `.cleaned`, an interruption undoes the replacement; when all are `.swap`, the
            // next opening completes it.
            group.segment.rename_to_suffix(disk.as_ref(), &self.dir, SWAP_SUFFIX)?;
            disk.sync_dir(&self.dir).map_err(LogError::io("sync", &self.dir))?;
            for (base_offset, _) in &group.replaced {
                let old = self.segments.remove(base_offset).expect("it was there a moment ago");
                if *base_offset == group.segment.base_offset {
                    self.doom_files(&old, Some(due))?;
                } else {
                    self.doom(&old, Some(due))?;
                }
            }
            group.segment.rename_to_suffix(disk.as_ref(), &self.dir, "")?;
            self.segments.insert(group.segment.base_offset, group.segment);
        }
        disk.sync_dir(&self.dir).map_err(LogError::io("sync", &self.dir))?;
        Ok(Some(compacted.end_offset))
    }
}

impl Compaction {
    /// Reads the dirty part for its keys and writes compacted copies of all segments up to there; blocks for as long as
    /// that takes. `max_map_bytes` bounds the memory for keys (`log.cleaner.dedupe.buffer.size`): what does not fit is
    /// left for the next time. `took` hears of bytes that were read or written, and may wait.
    pub fn run(self, max_map_bytes: usize, took: &mut dyn FnMut(u64)) -> Result<Compacted, LogError> {
        let keys = self.read_keys(max_map_bytes, took)?;
        let mut groups: Vec<Group> = Vec::new();
        let result = self.write_groups(&keys, &mut groups, took);
        if let Err(error) = result {
            for group in &groups {
                group.segment.remove_files(self.disk.as_ref())?;
            }
            return Err(error);
        }
        Ok(Compacted { truncations: self.truncations, groups, end_offset: keys.end_offset })
    }

    fn read_keys(&self, max_map_bytes: usize, took: &mut dyn FnMut(u64)) -> Result<Keys, LogError> {
        let mut keys = Keys { offsets: BTreeMap::new(), bytes: 0, end_offset: self.state.first_dirty_offset };
        let mut txns = Txns::new(&self.aborted);
        for source in &self.sources {
            if source.end_offset <= self.state.first_dirty_offset {
                continue;
            }
            let mut scanner = source.scanner();
            while let Some((position, header)) = scanner.next_batch()? {
                took(u64::from(size_of(&header)));
                let is_discarded = if header.is_control() {
                    txns.on_control_batch(&source.whole(&mut scanner, position, &header)?);
                    true
                } else {
                    txns.on_batch(&header)
                };
                if !is_discarded && header.last_offset() >= self.state.first_dirty_offset {
                    let batch = source.whole(&mut scanner, position, &header)?;
                    if !keys.add(&source.records(&batch)?, self.state.first_dirty_offset, max_map_bytes) {
                        return Ok(keys);
                    }
                }
                keys.end_offset = keys.end_offset.max(header.next_offset());
            }
            keys.end_offset = keys.end_offset.max(source.end_offset);
        }
        Ok(keys)
    }

    /// Several segments become one as long as they would fit in one uncompacted.
    fn write_groups(&self, keys: &Keys, groups: &mut Vec<Group>, took: &mut dyn FnMut(u64)) -> Result<(), LogError> {
        let mut txns = Txns::new(&self.aborted);
        let mut sources = self.sources.iter().take_while(|source| source.base_offset < keys.end_offset).peekable();
        while let Some(first) = sources.next() {
            let (mut bytes, mut index_bytes) = (u64::from(first.size), first.index_bytes);
            let mut members = vec![first];
            while let Some(next) = sources.peek() {
                bytes += u64::from(next.size);
                index_bytes += next.index_bytes;
                if bytes > u64::from(self.config.segment_bytes)
                    || index_bytes > u64::from(self.config.segment_index_bytes)
                    || next.end_offset - first.base_offset > i64::from(i32::MAX)
                {
                    break;
                }
                members.extend(sources.next());
            }
            let disk = self.disk.as_ref();
            let segment = Segment::create_aside(disk, &self.dir, first.base_offset, CLEANED_SUFFIX, self.now)?;
            groups.push(Group { replaced: Vec::new(), segment });
            let group = groups.last_mut().expect("just pushed");
            for source in members {
                group.replaced.push((source.base_offset, source.size));
                self.write_source(keys, (source, &mut group.segment), &mut txns, took)?;
            }
            group.segment.seal(disk)?;
            for file in group.segment.files_to_sync() {
                file.sync().map_err(LogError::io("sync", group.segment.path()))?;
            }
        }
        Ok(())
    }

    fn write_source(
        &self,
        keys: &Keys,
        (source, target): (&Source, &mut Segment),
        txns: &mut Txns,
        took: &mut dyn FnMut(u64),
    ) -> Result<(), LogError> {
        let disk = self.disk.as_ref();
        let (mut out, mut headers) = (Vec::new(), Vec::new());
        let mut scanner = source.scanner();
        while let Some((position, header)) = scanner.next_batch()? {
            let batch = source.whole(&mut scanner, position, &header)?;
            took(u64::from(size_of(&header)));
            if let Some(kept) = self.filter(keys, source, txns, batch)? {
                took(u64::from(size_of(&kept.header)));
                out.extend_from_slice(&kept.bytes);
                headers.push(kept.header);
            }
            for txn in txns.kept_aborted.drain(..) {
                target.txn_index_mut().append(disk, txn)?;
            }
            if out.len() >= WRITE_BYTES {
                target.append(disk, NewBatches { parts: &[&out], headers: &headers }, &self.config, self.now)?;
                out.clear();
                headers.clear();
            }
        }
        if !headers.is_empty() {
            target.append(disk, NewBatches { parts: &[&out], headers: &headers }, &self.config, self.now)?;
        }
        Ok(())
    }

    /// What is left of a batch.
    fn filter(&self, keys: &Keys, source: &Source, txns: &mut Txns, batch: Batch) -> Result<Option<Batch>, LogError> {
        let header = batch.header;
        let now_ms = self.now.wall.0;
        let horizon = header.delete_horizon_ms();
        let is_past_horizon = horizon.is_some_and(|horizon| horizon <= now_ms);
        let is_empty_txn = header.is_control() && txns.on_control_batch(&batch);
        // A marker waits for `delete.retention.ms` after the last record of its transaction went (KIP-534).
        let drops_all = if header.is_control() { is_empty_txn && is_past_horizon } else { txns.on_batch(&header) };
        let is_last_word = self.is_last_word(&header);
        if drops_all && !is_last_word {
            return Ok(None);
        }
        let records = source.records(&batch)?;
        let count = records.len();
        let kept: Vec<Record> = records
            .into_iter()
            .filter(|record| !drops_all && (header.is_control() || keys.keeps(record, is_past_horizon)))
            .collect();
        if kept.is_empty() && !is_last_word {
            return Ok(None);
        }
        let has_tombstone = !header.is_control() && kept.iter().any(|record| record.value.is_none());
        let needs_horizon = !kept.is_empty() && (has_tombstone || is_empty_txn) && horizon.is_none();
        if kept.len() == count && !needs_horizon {
            return Ok(Some(batch));
        }
        let horizon =
            if needs_horizon { Some(now_ms.saturating_add(self.config.delete_retention_ms)) } else { horizon };
        rebuild(&header, &kept, horizon).map(Some).map_err(|error| source.malformed(&error))
    }

    /// Whether the batch is what tells a producer's sequence, or its epoch, after a restart.
    fn is_last_word(&self, header: &BatchHeader) -> bool {
        let Some(last) = self.producers.get(&header.producer_id).filter(|_| header.has_producer_id()) else {
            return false;
        };
        match last.last_data_offset {
            Some(offset) => header.last_offset() == offset,
            None => header.is_control() && header.producer_epoch == last.epoch,
        }
    }
}

/// The same batch with other records: offsets, sequence, producer and leader epoch stay.
fn rebuild(header: &BatchHeader, kept: &[Record], delete_horizon_ms: Option<i64>) -> Result<Batch, BatchError> {
    let is_log_append_time = header.timestamp_type() == TimestampType::LogAppendTime;
    let spec = BatchSpec {
        base_offset: header.base_offset,
        last_offset: Some(header.last_offset()),
        partition_leader_epoch: header.partition_leader_epoch,
        compression: header.compression()?,
        compression_level: None,
        log_append_time_ms: is_log_append_time.then_some(header.max_timestamp),
        delete_horizon_ms: delete_horizon_ms.filter(|_| !kept.is_empty()),
        empty_timestamp_ms: header.max_timestamp,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        is_transactional: header.is_transactional(),
        is_control: header.is_control(),
    };
    Batch::parse(batch::build(&spec, kept)?)
}

impl Source {
    fn scanner(&self) -> Scanner<'_> {
        Scanner::new(self.file.as_ref(), &self.path, 0, self.size, WALK_CHUNK_BYTES)
    }

    /// A batch with all its bytes, checked: compaction must not make damage look whole.
    fn whole(&self, scanner: &mut Scanner<'_>, position: u32, header: &BatchHeader) -> Result<Batch, LogError> {
        assert!(size_of(header) <= self.size, "the scanner saw the whole batch");
        let batch = scanner.batch(position, header)?;
        batch.check_crc().map_err(|error| self.malformed(&error))?;
        Ok(batch)
    }

    fn records(&self, batch: &Batch) -> Result<Vec<Record>, LogError> {
        let records = batch.records(MAX_DECOMPRESSED_BYTES).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        records.map_err(|error| self.malformed(&error))
    }

    fn malformed(&self, error: &BatchError) -> LogError {
        LogError::malformed(&self.path, error.to_string())
    }
}

/// The last offset of each key in the dirty part.
struct Keys {
    offsets: BTreeMap<Box<[u8]>, i64>,
    bytes: usize,
    /// Records from here on were not looked at.
    end_offset: i64,
}

impl Keys {
    /// Adds a batch's keys; false, and nothing more than some of them is added, if there is no room.
    fn add(&mut self, records: &[Record], from_offset: i64, max_bytes: usize) -> bool {
        for record in records {
            let Some(key) = record.key.as_ref().filter(|_| record.offset >= from_offset) else { continue };
            if let Some(offset) = self.offsets.get_mut(key.as_ref()) {
                *offset = record.offset;
                continue;
            }
            // The first batch always fits, or a tiny limit would mean no progress ever.
            let bytes = self.bytes + key.len() + MAP_ENTRY_BYTES;
            if bytes > max_bytes && self.end_offset > from_offset {
                return false;
            }
            self.bytes = bytes;
            self.offsets.insert(key.as_ref().into(), record.offset);
        }
        true
    }

    fn keeps(&self, record: &Record, is_past_horizon: bool) -> bool {
        if record.offset >= self.end_offset {
            return true;
        }
        let Some(key) = &record.key else { return false };
        let is_latest = self.offsets.get(key.as_ref()).is_none_or(|latest| {
            if mutants::is_on("compaction-drops-newest") { record.offset < *latest } else { record.offset >= *latest }
        });
        is_latest && (record.value.is_some() || !is_past_horizon)
    }
}

/// Follows transactions through the batches: records of aborted ones go, markers stay as long as there are records.
struct Txns {
    /// Not yet begun, by first offset.
    aborted: VecDeque<AbortedTxn>,
    /// Begun; whether a batch of it was seen.
    ongoing_aborted: BTreeMap<i64, (AbortedTxn, bool)>,
    ongoing_committed: BTreeSet<i64>,
    /// Aborted transactions that must stay in the index.
    kept_aborted: Vec<AbortedTxn>,
}

impl Txns {
    fn new(aborted: &[AbortedTxn]) -> Txns {
        Txns {
            aborted: aborted.iter().copied().collect(),
            ongoing_aborted: BTreeMap::new(),
            ongoing_committed: BTreeSet::new(),
            kept_aborted: Vec::new(),
        }
    }

    fn begin_up_to(&mut self, offset: i64) {
        while let Some(txn) = self.aborted.front().copied().filter(|txn| txn.first_offset <= offset) {
            self.aborted.pop_front();
            self.ongoing_aborted.entry(txn.producer_id).or_insert((txn, false));
        }
    }

    /// Whether the records of a data batch belong to an aborted transaction.
    fn on_batch(&mut self, header: &BatchHeader) -> bool {
        self.begin_up_to(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        match self.ongoing_aborted.get_mut(&header.producer_id) {
            Some((_, was_seen)) => {
                *was_seen = true;
                true
            }
            None => {
                self.ongoing_committed.insert(header.producer_id);
                false
            }
        }
    }

    /// Whether the marker's transaction has no record any more.
    fn on_control_batch(&mut self, batch: &Batch) -> bool {
        let header = &batch.header;
        self.begin_up_to(header.last_offset());
        match check::end_txn_marker(batch) {
            None => header.record_count == 0,
            Some(marker) if marker.is_commit => !self.ongoing_committed.remove(&header.producer_id),
            Some(_) => match self.ongoing_aborted.remove(&header.producer_id) {
                Some((txn, true)) => {
                    self.kept_aborted.push(txn);
                    false
                }
                _ => true,
            },
        }
    }
}

#[cfg(test)]
#[cfg(feature = "server")]
mod tests;
