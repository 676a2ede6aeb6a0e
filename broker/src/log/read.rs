//! Reading: which stretch of which file answers a fetch, and which offset belongs to a timestamp. Copies no record;
//! what is returned stays readable even if the segment is deleted meanwhile, because it holds the file open.

use super::scan::LOOKUP_CHUNK_BYTES;
use super::segment::Segment;
use super::{AbortedTxn, Log, LogError, MAX_DECOMPRESSED_BYTES};
use common::disk::{Disk, FileSlice};
use common::kafka::batch::{BatchError, BatchHeader};
use common::mutants;
use std::ops::Bound;
use thiserror::Error;

/// What a fetch gets.
#[derive(Clone, Debug)]
pub struct ReadResult {
    /// Whole batches from the one that holds the offset on, perhaps with a cut-off batch at the end; `None` if there
    /// is nothing to read.
    pub records: Option<FileSlice>,
    /// Base offset of the first batch: at or before the offset asked for. The offset asked for if there is no record.
    pub first_batch_base_offset: i64,
    /// Bytes of the first batch; 0 if there is none.
    pub first_batch_bytes: u32,
    /// The first batch is larger than the limit and was therefore left away.
    pub first_entry_incomplete: bool,
}

/// Why a fetch cannot be answered.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The offset was deleted or is not written yet.
    #[error("offset {offset} is not within {log_start_offset} and {log_end_offset}")]
    OffsetOutOfRange {
        /// The offset asked for.
        offset: i64,
        /// First offset there is.
        log_start_offset: i64,
        /// Offset of the next record.
        log_end_offset: i64,
    },
    /// The offset is before the first local segment: it is in the remote store.
    #[error("offset {offset} is not here any more")]
    InRemote {
        /// The offset asked for.
        offset: i64,
    },
    /// The disk, or a damaged segment.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A record found by its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampedOffset {
    /// Its timestamp.
    pub timestamp: i64,
    /// Its offset.
    pub offset: i64,
    /// Leader epoch of its batch; -1 if unknown.
    pub leader_epoch: i32,
}

impl Log {
    /// The records from `offset` on, at most `max_bytes` of them out of one segment, none at or behind `upper_bound`
    /// (high watermark, last stable offset, or log end). With `at_least_one` the first batch comes whole, however
    /// large.
    pub fn read(
        &self,
        offset: i64,
        max_bytes: u32,
        upper_bound: i64,
        at_least_one: bool,
    ) -> Result<ReadResult, ReadError> {
        let (log_start_offset, log_end_offset) = (self.log_start_offset, self.log_end_offset);
        if offset < log_start_offset || offset > log_end_offset {
            return Err(ReadError::OffsetOutOfRange { offset, log_start_offset, log_end_offset });
        }
        let nothing = ReadResult {
            records: None,
            first_batch_base_offset: offset,
            first_batch_bytes: 0,
            first_entry_incomplete: false,
        };
        let bound = upper_bound.min(log_end_offset);
        if offset >= bound {
            return Ok(nothing);
        }
        let disk = self.disk.as_ref();
        let Some((&first_segment, _)) = self.segments.range(..=offset).next_back() else {
            return Err(ReadError::InRemote { offset });
        };
        for (base, segment) in self.segments.range(first_segment..bound) {
            let Some(first) = segment.locate(disk, offset)? else { continue };
            let end = self.end_position(*base, segment, bound)?;
            if end <= first.position {
                return Ok(nothing);
            }
            let incomplete = max_bytes < first.size;
            if incomplete && !at_least_one {
                return Ok(ReadResult { first_entry_incomplete: true, ..nothing });
            }
            let slice = FileSlice {
                file: segment.file(disk)?.clone(),
                position: u64::from(first.position),
                len: max_bytes.max(first.size).min(end - first.position),
            };
            return Ok(ReadResult {
                records: Some(slice),
                first_batch_base_offset: first.base_offset,
                first_batch_bytes: first.size,
                first_entry_incomplete: incomplete,
            });
        }
        Ok(nothing)
    }

    /// Where in a segment the batch that holds `bound` begins, or the segment's end.
    fn end_position(&self, base: i64, segment: &Segment, bound: i64) -> Result<u32, LogError> {
        let next = self.segments.range((Bound::Excluded(base), Bound::Unbounded)).next();
        if bound >= self.log_end_offset || next.is_some_and(|(next, _)| *next <= bound) {
            return Ok(segment.size());
        }
        let end = segment.locate(self.disk.as_ref(), bound)?;
        Ok(end.map_or(segment.size(), |batch| batch.position))
    }

    /// The aborted transactions with records or markers in `from..to`, and perhaps some more beyond.
    pub fn aborted_transactions(&self, from: i64, to: i64) -> Result<Vec<AbortedTxn>, LogError> {
        let mut found = Vec::new();
        let first_segment = self.segments.range(..=from).next_back().map_or(from, |(base, _)| *base);
        for (_, segment) in self.segments.range(first_segment..) {
            if segment.txn_index().collect(self.disk.as_ref(), from, to, &mut found)? {
                break;
            }
        }
        Ok(found)
    }

    /// The aborted transactions that a consumer of committed records must know to read what `read` gave for `offset`.
    pub fn aborted_transactions_in(&self, offset: i64, read: &ReadResult) -> Result<Vec<AbortedTxn>, LogError> {
        let Some(records) = &read.records else { return Ok(Vec::new()) };
        if mutants::is_on("aborted-not-told") {
            return Ok(Vec::new());
        }
        let segment = self.segments.range(..=read.first_batch_base_offset).next_back();
        let Some((base, segment)) = segment else { return Ok(Vec::new()) };
        let end = u32::try_from(records.position).unwrap_or(u32::MAX).saturating_add(records.len);
        let to = match segment.offset_bound(self.disk.as_ref(), end)? {
            Some(bound) => bound,
            None => {
                let next = self.segments.range((Bound::Excluded(*base), Bound::Unbounded)).next();
                next.map_or(self.log_end_offset, |(next, _)| *next)
            }
        };
        self.aborted_transactions(offset, to)
    }

    /// The first record, at or behind the log start, whose timestamp is `timestamp` or later.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<TimestampedOffset>, LogError> {
        let disk = self.disk.as_ref();
        for segment in self.segments.values() {
            if segment.largest_timestamp(disk)? < timestamp {
                continue;
            }
            // As in Kafka, only the first segment that reaches the timestamp is searched: if all its matching records
            // lie before the log start, there is none.
            let position = segment.position_for_timestamp(disk, timestamp, self.log_start_offset)?;
            let mut scanner = segment.scanner(disk, position, LOOKUP_CHUNK_BYTES)?;
            while let Some((position, header)) = scanner.next_batch()? {
                if header.max_timestamp < timestamp || header.last_offset() < self.log_start_offset {
                    continue;
                }
                let found = first_record(disk, segment, position, &header, |record_timestamp, offset| {
                    record_timestamp >= timestamp && offset >= self.log_start_offset
                })?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            return Ok(None);
        }
        Ok(None)
    }

    /// The record with the largest timestamp, the first of them (KIP-734).
    pub fn max_timestamp_offset(&self) -> Result<Option<TimestampedOffset>, LogError> {
        let disk = self.disk.as_ref();
        let mut best: Option<(i64, i64, &Segment)> = None;
        for segment in self.segments.values() {
            let max = segment.max_timestamp(disk)?;
            if max.timestamp >= 0 && best.is_none_or(|(timestamp, ..)| max.timestamp > timestamp) {
                best = Some((max.timestamp, max.offset, segment));
            }
        }
        let Some((timestamp, offset, segment)) = best else { return Ok(None) };
        let Some(batch) = segment.locate(disk, offset)? else { return Ok(None) };
        let Some((position, header)) = segment.scanner(disk, batch.position, 0)?.next_batch()? else {
            return Ok(None);
        };
        first_record(disk, segment, position, &header, |record_timestamp, _| record_timestamp >= timestamp)
    }
}

/// The first record of a batch that is `wanted`, by timestamp and offset.
pub(super) fn first_record(
    disk: &dyn Disk,
    segment: &Segment,
    position: u32,
    header: &BatchHeader,
    wanted: impl Fn(i64, i64) -> bool,
) -> Result<Option<TimestampedOffset>, LogError> {
    let batch = segment.scanner(disk, position, 0)?.batch(position, header)?;
    let malformed = |error: BatchError| LogError::malformed(segment.path(), format!("{error} (position {position})"));
    for record in batch.records(MAX_DECOMPRESSED_BYTES).map_err(malformed)? {
        let record = record.map_err(malformed)?;
        if wanted(record.timestamp, record.offset) {
            return Ok(Some(TimestampedOffset {
                timestamp: record.timestamp,
                offset: record.offset,
                leader_epoch: header.partition_leader_epoch,
            }));
        }
    }
    Ok(None)
}
