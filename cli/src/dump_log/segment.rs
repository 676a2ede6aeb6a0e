//! Segments: their batches and records, one line each. Reads batch by batch; whole segments need not fit in memory.

use super::index::Findings;
use super::{Wanted, optional};
use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use common::kafka::batch::{
    Batch, BatchError, BatchHeader, HEADER_BYTES, LOG_OVERHEAD_BYTES, NO_SEQUENCE, Record, TimestampType,
};
use common::kafka::control::{ControlKind, control_kind, coordinator_epoch};
use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// Bytes up to and with the byte that tells the format: where fewer are left, nothing is looked for.
const LEAST: u64 = 17;
/// Less is impossible for a record of any format.
const RECORD_MIN: i32 = 14;
/// Java's arrays, and therefore its decompressed batches, are not longer.
const UNCOMPRESSED_MAX: usize = i32::MAX as usize;

/// An open segment, or the beginning of one.
pub(super) struct Segment {
    name: String,
    file: File,
    /// Where to stop looking.
    end: u64,
}

impl Segment {
    /// Opens a segment of which at most `max_bytes` are read.
    pub(super) fn open(name: &str, max_bytes: u64) -> anyhow::Result<Segment> {
        let file = File::open(name).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => anyhow!("java.nio.file.NoSuchFileException: {name}"),
            _ => anyhow!("java.io.IOException: {name}: {error}"),
        })?;
        let end = file.metadata().map(|metadata| metadata.len()).context("java.io.IOException")?;
        Ok(Segment { name: name.to_owned(), file, end: end.min(max_bytes) })
    }

    /// The batch at a position, if a whole one is there.
    pub(super) fn batch_at(&self, position: u64) -> anyhow::Result<Option<Batch>> {
        if position.saturating_add(LEAST) >= self.end {
            return Ok(None);
        }
        let (mut start, broken) = ([0; LEAST as usize], "java.io.IOException: reading the log");
        self.file.read_exact_at(&mut start, position).context(broken)?;
        let length = i32::from_be_bytes([start[8], start[9], start[10], start[11]]);
        if length < RECORD_MIN {
            bail!(
                "org.apache.kafka.common.errors.CorruptRecordException: Found record size {length} smaller than minimum \
                 record overhead ({RECORD_MIN}) in file {}.",
                self.name
            );
        }
        let size = u64::from(length.unsigned_abs()) + LOG_OVERHEAD_BYTES as u64;
        if position + size > self.end {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(size)?];
        self.file.read_exact_at(&mut bytes, position).context(broken)?;
        Batch::parse(Bytes::from(bytes)).map(Some).map_err(|error| match error {
            BatchError::Magic(magic) => {
                anyhow!("The batch at position {position} is of format {magic}; only format 2 is shown here")
            }
            error => anyhow!("org.apache.kafka.common.errors.CorruptRecordException: {error}"),
        })
    }
}

/// Shows a segment.
pub(super) fn print(file: &str, base_offset: i64, wanted: &Wanted, findings: &mut Findings) -> anyhow::Result<()> {
    println!("Log starting offset: {base_offset}");
    let segment = Segment::open(file, wanted.max_bytes)?;
    let (mut position, mut last_offset) = (0, None);
    while let Some(batch) = segment.batch_at(position)? {
        println!("{}", batch_line(&batch, position)?);
        if wanted.deep {
            for record in batch.records(UNCOMPRESSED_MAX).map_err(corrupt)? {
                let record = record.map_err(corrupt)?;
                if let Some(last) = last_offset.filter(|last| record.offset != last + 1) {
                    findings.not_consecutive(file, last, record.offset);
                }
                last_offset = Some(record.offset);
                println!("{}", record_line(&batch.header, &record, wanted)?);
            }
        }
        position += batch.bytes.len() as u64;
    }
    let left = segment.end - position;
    if left > 0 && wanted.max_bytes == i32::MAX as u64 {
        let name = file.rsplit('/').next().unwrap_or(file);
        println!("Found {left} invalid bytes at the end of {name}");
    }
    Ok(())
}

fn corrupt(error: BatchError) -> anyhow::Error {
    anyhow!("org.apache.kafka.common.InvalidRecordException: {error}")
}

fn timestamp_type(header: &BatchHeader) -> &'static str {
    match header.timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

fn batch_line(batch: &Batch, position: u64) -> anyhow::Result<String> {
    let header = &batch.header;
    let compression = header.compression().map_err(|_| {
        let id = header.attributes & 7;
        anyhow!("java.lang.IllegalArgumentException: Unknown compression type id: {id}")
    })?;
    Ok(format!(
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} producerEpoch: {} \
         partitionLeaderEpoch: {} isTransactional: {} isControl: {} deleteHorizonMs: {} position: {position} {}: {} size: \
         {} magic: {} compresscodec: {} crc: {} isvalid: {}",
        header.base_offset,
        header.last_offset(),
        header.record_count,
        header.base_sequence,
        header.last_sequence(),
        header.producer_id,
        header.producer_epoch,
        header.partition_leader_epoch,
        header.is_transactional(),
        header.is_control(),
        optional(header.delete_horizon_ms()),
        timestamp_type(header),
        header.max_timestamp,
        batch.bytes.len(),
        header.magic,
        format!("{compression:?}").to_lowercase(),
        header.crc,
        batch.bytes.len() >= HEADER_BYTES && batch.check_crc().is_ok(),
    ))
}

fn record_line(header: &BatchHeader, record: &Record, wanted: &Wanted) -> anyhow::Result<String> {
    let (mut line, mut prefix) = (String::new(), "| ");
    if !wanted.skip_metadata {
        let size = |bytes: &Option<Bytes>| bytes.as_ref().map_or("-1".to_owned(), |bytes| bytes.len().to_string());
        let keys: Vec<&str> = record.headers.iter().map(|header| header.key.as_str()).collect();
        line = format!(
            "| offset: {} {}: {} keySize: {} valueSize: {} sequence: {} headerKeys: [{}]",
            record.offset,
            timestamp_type(header),
            record.timestamp,
            size(&record.key),
            size(&record.value),
            sequence(header, record),
            keys.join(",")
        );
        prefix = " ";
        if header.is_control() {
            line += &marker(record)?;
        }
    }
    if wanted.contents && !header.is_control() {
        let (key, value) = wanted.decoder.show(record)?;
        if let Some(key) = key {
            line += &format!("{prefix}key: {key}");
        }
        if let Some(value) = value {
            line += &format!(" payload: {value}");
        }
    }
    Ok(line)
}

/// Sequences go on with 0 behind the largest.
fn sequence(header: &BatchHeader, record: &Record) -> i64 {
    if header.base_sequence == NO_SEQUENCE {
        return -1;
    }
    (i64::from(header.base_sequence) + record.offset - header.base_offset) & i64::from(i32::MAX)
}

fn marker(record: &Record) -> anyhow::Result<String> {
    let malformed = "org.apache.kafka.common.InvalidRecordException: a malformed control record";
    let kind = control_kind(record.key.as_ref().context(malformed)?).context(malformed)?;
    let name = match kind {
        ControlKind::Commit => "COMMIT",
        ControlKind::Abort => "ABORT",
        ControlKind::Other(id) => return Ok(format!(" controlType: UNKNOWN({id})")),
    };
    let epoch = coordinator_epoch(record.value.as_ref().context(malformed)?).context(malformed)?;
    Ok(format!(" endTxnMarker: {name} coordinatorEpoch: {epoch}"))
}
