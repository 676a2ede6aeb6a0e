//! Is a batch acceptable? Looks at headers and checksums, and into records only where a setting asks for it. Knows no
//! offsets of the log and no producers' state.

use super::append::{AppendError, AppendOrigin};
use super::producers::EndTxnMarker;
use super::scan::size_of;
use super::{LogConfig, MAX_DECOMPRESSED_BYTES, TimestampType};
use bytes::{Bytes, BytesMut};
use common::kafka::batch::{self, Batch, BatchError, BatchHeader, BatchSpec, Record};
use common::kafka::compression::Compression;
use common::kafka::control::{self, ControlKind};
use common::time::Now;

/// Least bytes of which a batch's length and format can be told: up to the magic, in all formats.
const MAGIC_END: usize = 17;

/// So many records of a batch are named at most as not acceptable.
const NAMED_RECORDS: usize = 10_000;

/// The batch at the beginning of `bytes`: `None` if it is cut off, which ends a fetched or produced set.
pub(crate) fn first_batch(bytes: &[u8]) -> Result<Option<BatchHeader>, AppendError> {
    if bytes.len() < MAGIC_END {
        return Ok(None);
    }
    let length = i32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    let magic = bytes[16] as i8;
    let Some(size) = usize::try_from(length).ok().filter(|length| *length >= 14).map(|length| length + 12) else {
        return Err(AppendError::Corrupt { reason: "a batch's length is impossible" });
    };
    match magic {
        2 => {}
        0 | 1 => return Err(AppendError::UnsupportedFormat { magic }),
        _ => return Err(AppendError::Corrupt { reason: "a batch's magic is unknown" }),
    }
    if bytes.len() < size {
        return Ok(None);
    }
    match BatchHeader::parse(&bytes[..size]) {
        Ok(header) => Ok(Some(header)),
        Err(_) => Err(AppendError::Corrupt { reason: "a batch is shorter than its header" }),
    }
}

/// Checks the checksum over the attributes and all behind them.
pub(crate) fn check_crc(header: &BatchHeader, batch: &[u8]) -> Result<(), AppendError> {
    if crc32c::crc32c(&batch[21..]) == header.crc {
        Ok(())
    } else {
        Err(AppendError::Corrupt { reason: "the checksum is wrong" })
    }
}

/// Whether a leader may take this batch. `batch` are its bytes, all of them.
pub(crate) fn check_for_leader(
    header: &BatchHeader,
    batch: &[u8],
    config: &LogConfig,
    origin: AppendOrigin,
    now: Now,
) -> Result<(), AppendError> {
    let size_bytes = size_of(header);
    if size_bytes > config.max_message_bytes {
        return Err(AppendError::RecordTooLarge { size_bytes, max_bytes: config.max_message_bytes });
    }
    check_crc(header, batch)?;
    if header.last_offset_delta < 0 {
        return Err(AppendError::InvalidRecord { reason: "a batch's last offset is before its first" });
    }
    if origin == AppendOrigin::Client {
        check_from_client(header)?;
    }
    let has_time_limits = config.timestamp_before_max_ms != i64::MAX || config.timestamp_after_max_ms != i64::MAX;
    let checks_times = has_time_limits && config.message_timestamp_type == TimestampType::CreateTime;
    if (config.cleanup_compact || checks_times) && !header.is_control() {
        check_records(header, batch, config, checks_times.then_some(now))?;
    }
    Ok(())
}

/// Looks into the records, as only some topics want it: keys must be there, timestamps near `now`. Names those that are not
/// (KIP-467), so that a producer fails them alone. One after the other: as many small records as a batch can be decompressed
/// to would take gigabytes at once.
fn check_records(header: &BatchHeader, batch: &[u8], config: &LogConfig, now: Option<Now>) -> Result<(), AppendError> {
    let (mut indexes, mut records) = (Vec::new(), Vec::new());
    let batch = Batch { header: *header, bytes: Bytes::copy_from_slice(batch) };
    for (index, record) in (0..).zip(batch.records(MAX_DECOMPRESSED_BYTES).map_err(refused)?) {
        let record = record.map_err(refused)?;
        if indexes.len().max(records.len()) >= NAMED_RECORDS {
            break;
        }
        if config.cleanup_compact && record.key.is_none() {
            indexes.push(index);
        }
        if record.offset != header.base_offset + i64::from(index) {
            return Err(AppendError::InvalidRecord { reason: "the offsets of a batch's records have gaps" });
        }
        if now.is_some_and(|now| !is_near(record.timestamp, config, now)) {
            records.push((index, record.timestamp));
        }
    }
    if let (Some(now), false) = (now, records.is_empty()) {
        let earliest = now.wall.0.saturating_sub(config.timestamp_before_max_ms);
        let latest = now.wall.0.saturating_add(config.timestamp_after_max_ms);
        return Err(AppendError::TimestampsOutOfRange { records, earliest, latest });
    }
    if indexes.is_empty() { Ok(()) } else { Err(AppendError::RecordsWithoutKey { indexes }) }
}

fn decode(header: &BatchHeader, batch: &[u8]) -> Result<Vec<Record>, AppendError> {
    let batch = Batch { header: *header, bytes: Bytes::copy_from_slice(batch) };
    batch.records(MAX_DECOMPRESSED_BYTES).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(refused)
}

fn refused(error: BatchError) -> AppendError {
    tracing::debug!(%error, "batch refused");
    AppendError::InvalidRecord { reason: "a batch's records cannot be decoded" }
}

fn check_from_client(header: &BatchHeader) -> Result<(), AppendError> {
    let reason = if header.base_offset != 0 {
        "a batch's base offset is not 0"
    } else if header.record_count <= 0 {
        "a batch has no record"
    } else if i64::from(header.last_offset_delta) + 1 != i64::from(header.record_count) {
        "a batch's record count and offset range differ"
    } else if header.is_control() {
        "clients may not write control records"
    } else if header.producer_id >= 0 && header.base_sequence < 0 {
        "a batch has a producer id but no sequence"
    } else if header.compression().is_err() {
        "a batch's compression is unknown"
    } else if header.timestamp_type() == TimestampType::LogAppendTime {
        return Err(AppendError::InvalidTimestamp { timestamp: header.max_timestamp });
    } else {
        return Ok(());
    };
    Err(AppendError::InvalidRecord { reason })
}

fn is_near(timestamp: i64, config: &LogConfig, now: Now) -> bool {
    let age_ms = now.wall.0.saturating_sub(timestamp);
    timestamp == batch::NO_TIMESTAMP
        || (age_ms <= config.timestamp_before_max_ms && age_ms.saturating_neg() <= config.timestamp_after_max_ms)
}

/// The batches in the topic's own compression; `None` if they have it, or if it is the producers' choice. Checks what
/// it converts.
pub(crate) fn convert(
    records: &[u8],
    config: &LogConfig,
    origin: AppendOrigin,
    now: Now,
) -> Result<Option<Bytes>, AppendError> {
    let Some(target) = config.compression_type else { return Ok(None) };
    let mut converted = BytesMut::new();
    let mut is_changed = false;
    let mut rest = records;
    while let Some(header) = first_batch(rest)? {
        let (batch, behind) = rest.split_at(header.size_bytes());
        rest = behind;
        let compression = header.compression().map_err(|_| UNKNOWN_COMPRESSION)?;
        // Markers stay as they are: Kafka's brokers read them without decompressing.
        if compression == target || (header.is_control() && compression == Compression::None) {
            converted.extend_from_slice(batch);
            continue;
        }
        check_for_leader(&header, batch, config, origin, now)?;
        let spec = BatchSpec {
            base_offset: header.base_offset,
            last_offset: Some(header.last_offset()),
            compression: target,
            compression_level: config.compression_level,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            is_transactional: header.is_transactional(),
            is_control: header.is_control(),
            ..BatchSpec::default()
        };
        let batch = batch::build(&spec, &decode(&header, batch)?)
            .map_err(|_| AppendError::InvalidRecord { reason: "a batch cannot be converted to compression.type" })?;
        converted.extend_from_slice(&batch);
        is_changed = true;
    }
    Ok(is_changed.then(|| converted.freeze()))
}

const UNKNOWN_COMPRESSION: AppendError = AppendError::InvalidRecord { reason: "a batch's compression is unknown" };

/// The marker in a control batch; `None` if it holds none (emptied by compaction), or something that is not one.
pub(crate) fn end_txn_marker(batch: &Batch) -> Option<EndTxnMarker> {
    if !batch.header.is_control() {
        return None;
    }
    let record = batch.records(MAX_DECOMPRESSED_BYTES).ok()?.next()?.ok()?;
    let is_commit = match control::control_kind(&record.key?).ok()? {
        ControlKind::Abort => false,
        ControlKind::Commit => true,
        ControlKind::Other(_) => return None,
    };
    let coordinator_epoch = control::coordinator_epoch(&record.value?).ok()?;
    Some(EndTxnMarker { is_commit, coordinator_epoch, timestamp: record.timestamp })
}

/// As [`end_txn_marker`], of a batch in a request. Data batches, that is nearly all, cost nothing.
pub(crate) fn end_txn_marker_of(header: &BatchHeader, batch: &[u8]) -> Option<EndTxnMarker> {
    if !header.is_control() {
        return None;
    }
    end_txn_marker(&Batch { header: *header, bytes: Bytes::copy_from_slice(batch) })
}
