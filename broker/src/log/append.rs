//! Appending: offsets and epochs are stamped into headers, payloads go from the request's bytes to the file in one
//! write and are not looked at. Everything is decided before the first byte is written.

use super::producers::{Prepared, ProducerError};
use super::scan::size_of;
use super::segment::{NewBatches, RollQuestion, Segment};
use super::{AbortedTxn, Log, LogError, Scratch, TimestampType, check};
use common::disk::Disk;
use common::kafka::batch::{self, BatchHeader, HEADER_BYTES};
use common::time::Now;
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;

/// The attribute bit of batches whose timestamps the broker set.
const LOG_APPEND_TIME_FLAG: i16 = 0x08;

/// Who appends, which decides what is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A produce request: everything is checked.
    Client,
    /// A group or transaction coordinator of this broker, or a transaction marker: sequences are not checked, control
    /// batches are allowed.
    Coordinator,
    /// A marker that ends a transaction of transaction.version 2: its epoch is later than that of the records, so that one
    /// that arrives twice ends no later transaction (KIP-1228).
    LaterEpochMarker,
    /// The leader's log: only checksums and offsets are checked, the leader has done the rest.
    Replication,
}

/// Why an append was refused. Nothing was written, except with `Log`.
#[derive(Debug, Error)]
pub enum AppendError {
    /// Not a batch, or its checksum is wrong.
    #[error("corrupt batch: {reason}")]
    Corrupt {
        /// What is wrong.
        reason: &'static str,
    },
    /// A message format before version 2.
    #[error("message format {magic} is not supported, clients must use version 2 (Kafka 0.11 or newer)")]
    UnsupportedFormat {
        /// The magic byte: 0 or 1.
        magic: i8,
    },
    /// A batch is larger than `max.message.bytes`.
    #[error("batch of {size_bytes} bytes is larger than max.message.bytes={max_bytes}")]
    RecordTooLarge {
        /// Bytes of the batch.
        size_bytes: u32,
        /// The limit.
        max_bytes: u32,
    },
    /// The batches do not fit into one segment.
    #[error("batches of {size_bytes} bytes are larger than segment.bytes={max_bytes}")]
    LargerThanSegment {
        /// Bytes of all batches.
        size_bytes: u64,
        /// The limit.
        max_bytes: u32,
    },
    /// A batch contradicts itself or the rules of the topic.
    #[error("invalid record: {reason}")]
    InvalidRecord {
        /// What is wrong.
        reason: &'static str,
    },
    /// Records of a compacted topic have no key; the others of the batch are good.
    #[error("invalid record: records {indexes:?} of the batch for a compacted topic have no key")]
    RecordsWithoutKey {
        /// Their places in the batch.
        indexes: Vec<i32>,
    },
    /// Timestamps are too far from the broker's clock.
    #[error("timestamps are not within {earliest} to {latest}: {records:?}")]
    TimestampsOutOfRange {
        /// The records' places in the batch, and their timestamps.
        records: Vec<(i32, i64)>,
        /// The least that is allowed.
        earliest: i64,
        /// The largest that is allowed.
        latest: i64,
    },
    /// The producer set the broker's timestamp type.
    #[error("timestamp {timestamp} is of a type that only brokers set")]
    InvalidTimestamp {
        /// The timestamp.
        timestamp: i64,
    },
    /// An idempotent or transactional producer is out of step.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// A fetched set's offsets do not grow.
    #[error("offsets do not grow: {offset} after {previous}")]
    OffsetsOutOfOrder {
        /// Last offset of a batch.
        offset: i64,
        /// Last offset of the batch before.
        previous: i64,
    },
    /// A fetched set begins before the end of the log.
    #[error("records begin at {first_offset}, before the log end {log_end_offset}")]
    UnexpectedOffset {
        /// First offset of the set.
        first_offset: i64,
        /// Last offset of the set.
        last_offset: i64,
        /// The log end.
        log_end_offset: i64,
    },
    /// The disk.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendInfo {
    /// Offset of the first record; of the earlier append for a duplicate.
    pub first_offset: i64,
    /// Offset of the last record.
    pub last_offset: i64,
    /// The broker's timestamp, which the producer is told; -1 with `CreateTime`. For a duplicate the earlier
    /// batch's max timestamp, as in Kafka.
    pub log_append_time: i64,
    /// The log start offset.
    pub log_start_offset: i64,
    /// Nothing was written: an idempotent producer repeated itself.
    pub duplicate: bool,
    /// Largest timestamp of the batches; -1 if they have none.
    pub max_timestamp: i64,
    /// Records, by the batches' offsets.
    pub record_count: u32,
    /// Bytes of whole batches.
    pub size_bytes: u32,
    /// Leader epoch of the last batch; -1 if there is none.
    pub last_leader_epoch: i32,
}

impl Log {
    /// Appends one or several batches as the partition's leader: gives them offsets from the log end on and the
    /// leader's epoch, and the broker's time where the topic wants it. A cut-off batch at the end is left away. All
    /// or nothing.
    pub fn append_as_leader(
        &mut self,
        records: &[u8],
        leader_epoch: i32,
        origin: AppendOrigin,
        now: Now,
    ) -> Result<AppendInfo, AppendError> {
        self.now = now;
        let mut scratch = std::mem::take(&mut self.scratch);
        let result = self.append_leader_batches(records, leader_epoch, origin, &mut scratch);
        self.scratch = scratch;
        result
    }

    fn append_leader_batches(
        &mut self,
        records: &[u8],
        leader_epoch: i32,
        origin: AppendOrigin,
        scratch: &mut Scratch,
    ) -> Result<AppendInfo, AppendError> {
        scratch.headers.clear();
        scratch.prepared.clear();
        let converted = check::convert(records, &self.config, origin, self.now)?;
        let records = converted.as_deref().unwrap_or(records);
        let mut position = 0;
        let mut next_offset = self.log_end_offset;
        while let Some(mut header) = check::first_batch(&records[position..])? {
            let batch = &records[position..position + header.size_bytes()];
            check::check_for_leader(&header, batch, &self.config, origin, self.now)?;
            if origin == AppendOrigin::Client
                && let Some(earlier) = self.producers.duplicate_of(&header)
            {
                return Ok(AppendInfo {
                    first_offset: earlier.first_offset(),
                    last_offset: earlier.last_offset,
                    log_append_time: earlier.timestamp,
                    duplicate: true,
                    max_timestamp: earlier.timestamp,
                    ..self.append_info(&[])
                });
            }
            self.stamp(&mut header, batch, next_offset, leader_epoch);
            next_offset = header.next_offset();
            let marker = check::end_txn_marker_of(&header, batch);
            if header.is_control() && marker.is_none() {
                return Err(AppendError::InvalidRecord { reason: "a control batch holds no transaction marker" });
            }
            self.producers.prepare(&mut scratch.prepared, &header, marker, origin)?;
            scratch.headers.push(header);
            position += header.size_bytes();
        }
        if scratch.headers.is_empty() {
            return Err(AppendError::InvalidRecord { reason: "there is no whole batch" });
        }
        if position as u64 > u64::from(self.config.segment_bytes) {
            let max_bytes = self.config.segment_bytes;
            return Err(AppendError::LargerThanSegment { size_bytes: position as u64, max_bytes });
        }
        self.epochs.assign(leader_epoch, self.log_end_offset)?;
        let roll = roll_question(&scratch.headers);
        if self.active().should_roll(self.disk.as_ref(), &self.config, roll, self.now)? {
            self.roll(self.log_end_offset, self.now)?;
        }
        self.write(&records[..position], &scratch.headers)?;
        self.finish_append(&scratch.headers, &scratch.prepared)?;
        let mut info = self.append_info(&scratch.headers);
        if self.config.message_timestamp_type == TimestampType::LogAppendTime {
            info.log_append_time = self.now.wall.0;
        }
        Ok(info)
    }

    /// Sets in a header what the leader decides. The checksum covers timestamps and attributes, so it is computed
    /// anew where those change; offset and epoch stand before it.
    fn stamp(&self, header: &mut BatchHeader, batch: &[u8], base_offset: i64, leader_epoch: i32) {
        header.base_offset = base_offset;
        header.partition_leader_epoch = leader_epoch;
        if self.config.message_timestamp_type == TimestampType::LogAppendTime {
            header.attributes |= LOG_APPEND_TIME_FLAG;
            header.max_timestamp = self.now.wall.0;
            header.crc = batch::crc_of(&header.to_bytes(), &batch[HEADER_BYTES..]);
        }
    }

    /// Appends what was fetched from the leader, offsets and epochs as they are. A cut-off batch at the end is left
    /// away; a set without a whole batch changes nothing (`size_bytes` 0). Offsets must grow and begin at the log end
    /// or later.
    pub fn append_as_follower(&mut self, records: &[u8], now: Now) -> Result<AppendInfo, AppendError> {
        self.now = now;
        let mut scratch = std::mem::take(&mut self.scratch);
        let result = self.append_follower_batches(records, &mut scratch);
        self.scratch = scratch;
        result
    }

    fn append_follower_batches(&mut self, records: &[u8], scratch: &mut Scratch) -> Result<AppendInfo, AppendError> {
        scratch.headers.clear();
        let mut position = 0;
        while let Some(header) = check::first_batch(&records[position..])? {
            check::check_crc(&header, &records[position..position + header.size_bytes()])?;
            let previous = scratch.headers.last().map(BatchHeader::last_offset);
            if header.last_offset_delta < 0 || previous.is_some_and(|previous| header.base_offset <= previous) {
                let (offset, previous) = (header.last_offset(), previous.unwrap_or(header.base_offset));
                return Err(AppendError::OffsetsOutOfOrder { offset, previous });
            }
            scratch.headers.push(header);
            position += header.size_bytes();
        }
        let (Some(first), Some(last)) = (scratch.headers.first(), scratch.headers.last()) else {
            return Ok(self.append_info(&[]));
        };
        if first.base_offset < self.log_end_offset {
            return Err(AppendError::UnexpectedOffset {
                first_offset: first.base_offset,
                last_offset: last.last_offset(),
                log_end_offset: self.log_end_offset,
            });
        }
        let mut records = &records[..position];
        let mut rest = &scratch.headers[..];
        while !rest.is_empty() {
            let taken = self.append_follower_run(records, rest, &mut scratch.prepared)?;
            let bytes: u32 = rest[..taken].iter().map(size_of).sum();
            records = &records[bytes as usize..];
            rest = &rest[taken..];
        }
        Ok(self.append_info(&scratch.headers))
    }

    /// Appends as many of the batches as belong into one segment, at least one, and tells how many.
    fn append_follower_run(
        &mut self,
        records: &[u8],
        headers: &[BatchHeader],
        prepared: &mut Prepared,
    ) -> Result<usize, AppendError> {
        let disk = Arc::clone(&self.disk);
        if self.active().should_roll(disk.as_ref(), &self.config, roll_question(&headers[..1]), self.now)? {
            self.roll(headers[0].base_offset, self.now)?;
        }
        let mut count = 1;
        let mut run = roll_question(&headers[..1]);
        while let Some(header) = headers.get(count) {
            let longer = RollQuestion {
                bytes: run.bytes.saturating_add(size_of(header)),
                last_offset: header.last_offset(),
                max_timestamp: run.max_timestamp.max(header.max_timestamp),
            };
            // An empty segment asks for no roll, however much would come; the next run does then.
            let is_too_large = longer.bytes > self.config.segment_bytes;
            if is_too_large || self.active().should_roll(disk.as_ref(), &self.config, longer, self.now)? {
                break;
            }
            run = longer;
            count += 1;
        }
        let (headers, records) = (&headers[..count], &records[..run.bytes as usize]);
        prepared.clear();
        let mut position = 0;
        for header in headers {
            let batch = &records[position..position + header.size_bytes()];
            let marker = check::end_txn_marker_of(header, batch);
            self.producers.prepare(prepared, header, marker, AppendOrigin::Replication)?;
            position += header.size_bytes();
        }
        for header in headers {
            self.epochs.assign(header.partition_leader_epoch, header.base_offset)?;
        }
        let active = self.segments.values_mut().next_back().expect("a log has at least one segment");
        active.append(disk.as_ref(), NewBatches { parts: &[records], headers }, &self.config, self.now)?;
        self.finish_append(headers, prepared)?;
        Ok(count)
    }

    /// Writes the batches with the heads that `headers` give them.
    fn write(&mut self, records: &[u8], headers: &[BatchHeader]) -> Result<(), LogError> {
        let now = self.now;
        let Log { disk, segments, config, .. } = self;
        let active = segments.values_mut().next_back().expect("a log has at least one segment");
        if let [header] = headers {
            let head = header.to_bytes();
            let parts = [&head[..], &records[HEADER_BYTES..]];
            return active.append(disk.as_ref(), NewBatches { parts: &parts, headers }, config, now);
        }
        let heads: Vec<_> = headers.iter().map(BatchHeader::to_bytes).collect();
        let mut parts: Vec<&[u8]> = Vec::with_capacity(headers.len() * 2);
        let mut position = 0;
        for (header, head) in headers.iter().zip(&heads) {
            parts.push(head);
            parts.push(&records[position + HEADER_BYTES..position + header.size_bytes()]);
            position += header.size_bytes();
        }
        active.append(disk.as_ref(), NewBatches { parts: &parts, headers }, config, now)
    }

    /// What follows the write: log end, producers, transaction index, and a flush if it is due.
    fn finish_append(&mut self, headers: &[BatchHeader], prepared: &Prepared) -> Result<(), LogError> {
        let last = headers.last().expect("something was appended");
        self.log_end_offset = last.next_offset();
        self.unflushed_since.get_or_insert(self.now.mono);
        self.producers.apply(prepared, self.log_end_offset);
        for txn in &prepared.completed {
            let stable_offset = self.producers.stable_offset_after(txn);
            if txn.is_aborted {
                let aborted = AbortedTxn {
                    producer_id: txn.producer_id,
                    first_offset: txn.first_offset,
                    last_offset: txn.last_offset,
                    last_stable_offset: stable_offset,
                };
                note_aborted(self.disk.as_ref(), &mut self.segments, aborted)?;
            }
            self.producers.complete(txn);
        }
        if self.log_end_offset - self.recovery_point >= self.config.flush_messages {
            self.flush()?;
        }
        Ok(())
    }

    fn append_info(&self, headers: &[BatchHeader]) -> AppendInfo {
        let (first, last) = (headers.first(), headers.last());
        let record_count: i64 = headers.iter().map(|header| i64::from(header.last_offset_delta) + 1).sum();
        AppendInfo {
            first_offset: first.map_or(self.log_end_offset, |header| header.base_offset),
            last_offset: last.map_or(self.log_end_offset - 1, BatchHeader::last_offset),
            log_append_time: -1,
            log_start_offset: self.log_start_offset,
            duplicate: false,
            max_timestamp: headers.iter().map(|header| header.max_timestamp).max().unwrap_or(-1),
            record_count: u32::try_from(record_count).unwrap_or(u32::MAX),
            size_bytes: headers.iter().map(size_of).sum(),
            last_leader_epoch: last.map_or(-1, |header| header.partition_leader_epoch),
        }
    }
}

fn note_aborted(disk: &dyn Disk, segments: &mut BTreeMap<i64, Segment>, aborted: AbortedTxn) -> Result<(), LogError> {
    let active = segments.values_mut().next_back().expect("a log has at least one segment");
    active.txn_index_mut().append(disk, aborted)
}

fn roll_question(headers: &[BatchHeader]) -> RollQuestion {
    RollQuestion {
        bytes: headers.iter().fold(0, |bytes: u32, header| bytes.saturating_add(size_of(header))),
        last_offset: headers.last().map_or(0, BatchHeader::last_offset),
        max_timestamp: headers.iter().map(|header| header.max_timestamp).max().unwrap_or(-1),
    }
}
