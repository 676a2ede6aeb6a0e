//! The header of a record batch v2 (and the first 17 bytes of older messages), as far as the log needs it. Never looks
//! into records.

/// Bytes of a version 2 header, up to the first record.
pub(crate) const HEADER_BYTES: usize = 61;

/// The header's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub base_offset: i64,
    /// Bytes of the whole batch: the length field and the 12 bytes before what it counts.
    pub size: u32,
    pub leader_epoch: i32,
    pub magic: i8,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

/// Reads big-endian numbers at fixed places; the caller has checked the length.
fn at<const N: usize>(bytes: &[u8], position: usize) -> [u8; N] {
    bytes[position..position + N].try_into().expect("the slice has N bytes")
}

impl BatchHeader {
    /// Reads a header; `None` if there are fewer than 61 bytes, the length field is too small for a header, or the
    /// magic is not 2.
    pub(crate) fn read(bytes: &[u8]) -> Option<BatchHeader> {
        if bytes.len() < HEADER_BYTES {
            return None;
        }
        let size = u32::try_from(i32::from_be_bytes(at(bytes, 8))).ok()?.checked_add(12)?;
        let header = BatchHeader {
            base_offset: i64::from_be_bytes(at(bytes, 0)),
            size,
            leader_epoch: i32::from_be_bytes(at(bytes, 12)),
            magic: i8::from_be_bytes(at(bytes, 16)),
            crc: u32::from_be_bytes(at(bytes, 17)),
            attributes: i16::from_be_bytes(at(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(at(bytes, 23)),
            base_timestamp: i64::from_be_bytes(at(bytes, 27)),
            max_timestamp: i64::from_be_bytes(at(bytes, 35)),
            producer_id: i64::from_be_bytes(at(bytes, 43)),
            producer_epoch: i16::from_be_bytes(at(bytes, 51)),
            base_sequence: i32::from_be_bytes(at(bytes, 53)),
            record_count: i32::from_be_bytes(at(bytes, 57)),
        };
        (size as usize >= HEADER_BYTES && header.magic == 2).then_some(header)
    }

    pub(crate) fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }
}

impl BatchHeader {
    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    pub(crate) fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// Low three attribute bits.
    pub(crate) fn compression(&self) -> u8 {
        (self.attributes & 7) as u8
    }

    pub(crate) fn is_log_append_time(&self) -> bool {
        self.attributes & 8 != 0
    }
}
