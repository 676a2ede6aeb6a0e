//! Is a batch acceptable? Looks at headers and checksums, and into records only where a setting asks for it. Knows no
//! offsets of the log and no producers' state.

use super::append::{AppendError, AppendOrigin};
use super::batch::{BatchHeader, HEADER_BYTES};
use super::producers::EndTxnMarker;
use super::{LogConfig, TimestampType, records};
use common::time::Now;

/// Least bytes of which a batch's length and format can be told: up to the magic, in all formats.
const MAGIC_END: usize = 17;

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
    match BatchHeader::read(&bytes[..size]) {
        Some(header) => Ok(Some(header)),
        None => Err(AppendError::Corrupt { reason: "a batch is shorter than its header" }),
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
    if header.size > config.max_message_bytes {
        return Err(AppendError::RecordTooLarge { size_bytes: header.size, max_bytes: config.max_message_bytes });
    }
    check_crc(header, batch)?;
    if header.last_offset_delta < 0 {
        return Err(AppendError::InvalidRecord { reason: "a batch's last offset is before its first" });
    }
    if origin == AppendOrigin::Client {
        check_from_client(header)?;
    }
    if config.message_timestamp_type == TimestampType::CreateTime {
        check_timestamp(header, config, now)?;
    }
    Ok(())
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
    } else if header.is_log_append_time() {
        return Err(AppendError::InvalidTimestamp { timestamp: header.max_timestamp });
    } else {
        return Ok(());
    };
    Err(AppendError::InvalidRecord { reason })
}

fn check_timestamp(header: &BatchHeader, config: &LogConfig, now: Now) -> Result<(), AppendError> {
    let is_late = |timestamp: i64| now.wall.0.saturating_sub(timestamp) > config.timestamp_before_max_ms;
    let is_early = |timestamp: i64| timestamp.saturating_sub(now.wall.0) > config.timestamp_after_max_ms;
    for timestamp in [header.base_timestamp, header.max_timestamp] {
        if timestamp != -1 && (is_late(timestamp) || is_early(timestamp)) {
            return Err(AppendError::InvalidTimestamp { timestamp });
        }
    }
    Ok(())
}

/// The marker in a control batch; `None` if it holds none (emptied by compaction), or something that is not one.
pub(crate) fn end_txn_marker(header: &BatchHeader, batch: &[u8]) -> Option<EndTxnMarker> {
    if !header.is_control() || header.record_count < 1 || header.compression() != 0 {
        return None;
    }
    let record = records::iter(header, batch.get(HEADER_BYTES..)?).next()?.ok()?;
    let (key, value) = (record.key?, record.value?);
    let is_commit = match *key.get(2..4)? {
        [0, 0] => false,
        [0, 1] => true,
        _ => return None,
    };
    let coordinator_epoch = i32::from_be_bytes(value.get(2..6)?.try_into().ok()?);
    Some(EndTxnMarker { is_commit, coordinator_epoch, timestamp: record.timestamp(header) })
}
