//! Looking into a batch's records, for the few occasions when a log must: keys of compacted topics, offsets of
//! timestamps, transaction markers. Never on the way of a plain produce or fetch.

use super::batch::{BatchHeader, HEADER_BYTES};
use std::borrow::Cow;

/// A record, borrowed from its batch's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordView<'a> {
    pub timestamp_delta: i64,
    pub offset_delta: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// The whole record with its length in front.
    pub bytes: &'a [u8],
}

impl RecordView<'_> {
    pub(crate) fn offset(&self, header: &BatchHeader) -> i64 {
        header.base_offset.saturating_add(self.offset_delta)
    }

    /// The record's timestamp: the batch's own if the broker set it.
    pub(crate) fn timestamp(&self, header: &BatchHeader) -> i64 {
        if header.is_log_append_time() {
            header.max_timestamp
        } else {
            header.base_timestamp.saturating_add(self.timestamp_delta)
        }
    }
}

/// What follows a batch's header, decompressed.
pub(crate) fn payload<'a>(header: &BatchHeader, batch: &'a [u8]) -> Result<Cow<'a, [u8]>, &'static str> {
    let payload = batch.get(HEADER_BYTES..).ok_or("a batch is shorter than its header")?;
    match header.compression() {
        0 => Ok(Cow::Borrowed(payload)),
        _ => Err("a batch's compression is unknown"),
    }
}

/// The records of a decompressed payload, as many as the header tells; ends after the first error.
pub(crate) fn iter<'a>(
    header: &BatchHeader,
    payload: &'a [u8],
) -> impl Iterator<Item = Result<RecordView<'a>, &'static str>> {
    let mut left = header.record_count;
    let mut rest = payload;
    std::iter::from_fn(move || {
        if left <= 0 {
            return None;
        }
        left -= 1;
        match next_record(&mut rest) {
            Some(record) => Some(Ok(record)),
            None => {
                left = 0;
                Some(Err("a record is malformed"))
            }
        }
    })
}

fn next_record<'a>(rest: &mut &'a [u8]) -> Option<RecordView<'a>> {
    let all = *rest;
    let len = usize::try_from(varint(rest)?).ok()?;
    let (mut body, behind) = rest.split_at_checked(len)?;
    let bytes = &all[..all.len() - behind.len()];
    *rest = behind;
    body = body.get(1..)?;
    let timestamp_delta = varint(&mut body)?;
    let offset_delta = varint(&mut body)?;
    let key = field(&mut body)?;
    let value = field(&mut body)?;
    Some(RecordView { timestamp_delta, offset_delta, key, value, bytes })
}

/// A length and as many bytes; the inner `None` is a null, of length -1.
fn field<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let len = varint(rest)?;
    if len == -1 {
        return Some(None);
    }
    let (field, behind) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *rest = behind;
    Some(Some(field))
}

/// A zigzag number of up to ten bytes.
fn varint(rest: &mut &[u8]) -> Option<i64> {
    let mut number: u64 = 0;
    for shift in (0..70).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some((number >> 1) as i64 ^ -((number & 1) as i64));
        }
    }
    None
}
