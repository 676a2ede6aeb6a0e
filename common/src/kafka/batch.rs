//! Record batches of magic 2 (KIP-98): look at the header, check, patch in place, iterate, build. The records inside
//! stay untouched unless asked for. Knows no log and no topic, and no message formats before Kafka 0.11.

use bytes::{BufMut, Bytes, BytesMut};

use super::compression::{Compression, CompressionError};
use super::wire::{DecodeError, EncodeError, Reader, Writer};

/// Bytes of the header, before the first record.
pub const HEADER_BYTES: usize = 61;
/// Base offset and length, which `BatchHeader::length` does not count.
pub const LOG_OVERHEAD_BYTES: usize = 12;
/// The magic byte of this format.
pub const MAGIC: i8 = 2;
/// Producer id of a batch without idempotence.
pub const NO_PRODUCER_ID: i64 = -1;
/// Producer epoch of a batch without idempotence.
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// Base sequence of a batch without idempotence, and of control batches.
pub const NO_SEQUENCE: i32 = -1;
/// Where a timestamp is unknown.
pub const NO_TIMESTAMP: i64 = -1;
/// Where a leader epoch is unknown.
pub const NO_LEADER_EPOCH: i32 = -1;

const LEADER_EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
/// First byte that the checksum covers.
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;

const COMPRESSION_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;

/// Why bytes are not a usable batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The batch reaches beyond the end; at the end of a fetch this only means that the batch was cut.
    #[error("a batch of {needed} bytes is cut after {left}")]
    Truncated {
        /// Bytes of the batch, or of a header as long as its length is unknown.
        needed: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// The length field is smaller than a header.
    #[error("batch length {0} is impossible")]
    Length(i32),
    /// A message format that is not spoken here; 0 and 1 are those before Kafka 0.11.
    #[error("message format {0} is not supported")]
    Magic(i8),
    /// The checksum differs: the bytes were damaged.
    #[error("checksum is {computed:#010x} but {stored:#010x} is stored")]
    Crc {
        /// What the batch claims.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// The attributes name a compression that does not exist.
    #[error("compression {0} is unknown")]
    UnknownCompression(i16),
    /// Decompressing failed or gave too much.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A record is malformed.
    #[error("record {index} of the batch is malformed: {source}")]
    Record {
        /// Its place in the batch, from 0.
        index: usize,
        /// What is wrong.
        source: DecodeError,
    },
    /// More bytes than the declared records.
    #[error("{0} bytes are left behind the last record")]
    BytesLeft(usize),
    /// A record to be written has an offset or timestamp that its delta cannot hold, or it is too long.
    #[error("a record does not fit the batch")]
    DoesNotFit,
}

/// Who set the timestamps of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer.
    #[default]
    CreateTime,
    /// The broker, when it appended the batch: all records have the max timestamp of the batch.
    LogAppendTime,
}

/// The header of a batch, field by field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record that was in the batch when it was written.
    pub base_offset: i64,
    /// Bytes behind this field: the size of the batch without `LOG_OVERHEAD_BYTES`.
    pub length: i32,
    /// Leader epoch under which the batch was appended; not covered by the checksum.
    pub partition_leader_epoch: i32,
    /// Format, always 2.
    pub magic: i8,
    /// CRC-32C of all from the attributes on.
    pub crc: u32,
    /// Compression, timestamp type and flags; see the methods.
    pub attributes: i16,
    /// Last offset minus base offset; stays when compaction removes records.
    pub last_offset_delta: i32,
    /// What the timestamp deltas of the records count from; the delete horizon if the batch has one (KIP-534).
    pub base_timestamp: i64,
    /// Largest timestamp of the records, or the time of appending.
    pub max_timestamp: i64,
    /// Id of an idempotent producer, or -1.
    pub producer_id: i64,
    /// Its epoch, or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Records in the batch.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads a header; only the first `HEADER_BYTES` of `bytes` are looked at. The checksum is not checked.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        if let Some(magic) = bytes.get(MAGIC_AT)
            && *magic as i8 != MAGIC
        {
            return Err(BatchError::Magic(*magic as i8));
        }
        let header = bytes.first_chunk().ok_or(BatchError::Truncated { needed: HEADER_BYTES, left: bytes.len() })?;
        let header = BatchHeader::from_array(header);
        if header.length < (HEADER_BYTES - LOG_OVERHEAD_BYTES) as i32 {
            return Err(BatchError::Length(header.length));
        }
        Ok(header)
    }

    fn from_array(bytes: &[u8; HEADER_BYTES]) -> BatchHeader {
        BatchHeader {
            base_offset: i64::from_be_bytes(array(bytes, 0)),
            length: i32::from_be_bytes(array(bytes, 8)),
            partition_leader_epoch: i32::from_be_bytes(array(bytes, LEADER_EPOCH_AT)),
            magic: i8::from_be_bytes(array(bytes, MAGIC_AT)),
            crc: u32::from_be_bytes(array(bytes, CRC_AT)),
            attributes: i16::from_be_bytes(array(bytes, ATTRIBUTES_AT)),
            last_offset_delta: i32::from_be_bytes(array(bytes, 23)),
            base_timestamp: i64::from_be_bytes(array(bytes, 27)),
            max_timestamp: i64::from_be_bytes(array(bytes, MAX_TIMESTAMP_AT)),
            producer_id: i64::from_be_bytes(array(bytes, 43)),
            producer_epoch: i16::from_be_bytes(array(bytes, 51)),
            base_sequence: i32::from_be_bytes(array(bytes, 53)),
            record_count: i32::from_be_bytes(array(bytes, 57)),
        }
    }

    /// The header as it stands in a file. The checksum is written as it is; `crc_of` computes one.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut rest = &mut bytes[..];
        rest.put_i64(self.base_offset);
        rest.put_i32(self.length);
        rest.put_i32(self.partition_leader_epoch);
        rest.put_i8(self.magic);
        rest.put_u32(self.crc);
        rest.put_i16(self.attributes);
        rest.put_i32(self.last_offset_delta);
        rest.put_i64(self.base_timestamp);
        rest.put_i64(self.max_timestamp);
        rest.put_i64(self.producer_id);
        rest.put_i16(self.producer_epoch);
        rest.put_i32(self.base_sequence);
        rest.put_i32(self.record_count);
        assert!(rest.is_empty());
        bytes
    }

    /// Bytes of the whole batch.
    pub fn size_bytes(&self) -> usize {
        // `parse` refuses a negative length.
        self.length as usize + LOG_OVERHEAD_BYTES
    }

    /// Offset of the last record that was in the batch when it was written.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(i64::from(self.last_offset_delta))
    }

    /// Offset behind the batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().wrapping_add(1)
    }

    /// Sequence number of the last record; sequences go on with 0 behind the largest 32-bit number. -1 without
    /// idempotence.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }

    /// How the records are compressed.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        let id = self.attributes & COMPRESSION_MASK;
        Compression::from_id(id).ok_or(BatchError::UnknownCompression(id))
    }

    /// Who set the timestamps.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME != 0 { TimestampType::LogAppendTime } else { TimestampType::CreateTime }
    }

    /// True if the records belong to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// True if the records are markers for brokers and clients, not user data.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// When compaction may drop the tombstones or markers in this batch (KIP-534).
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// True if an idempotent producer wrote it.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }
}

fn array<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}

/// The checksum of a batch whose header and records are in two places.
pub fn crc_of(header: &[u8; HEADER_BYTES], records: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[ATTRIBUTES_AT..]), records)
}

/// Compares the checksum of exactly one batch, header and records, with the stored one.
pub fn check_crc(batch: &[u8]) -> Result<(), BatchError> {
    let stored = BatchHeader::parse(batch)?.crc;
    let computed = crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
    if stored != computed {
        return Err(BatchError::Crc { stored, computed });
    }
    Ok(())
}

/// Sets the base offset of a batch in place; the checksum does not cover it. Panics if `batch` is shorter than a header.
pub fn set_base_offset(batch: &mut [u8], base_offset: i64) {
    batch[..8].copy_from_slice(&base_offset.to_be_bytes());
}

/// Sets the leader epoch of a batch in place; the checksum does not cover it. Panics if `batch` is shorter than a
/// header.
pub fn set_leader_epoch(batch: &mut [u8], leader_epoch: i32) {
    batch[LEADER_EPOCH_AT..LEADER_EPOCH_AT + 4].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Sets timestamp type and max timestamp of exactly one batch in place, and its checksum anew. Panics if `batch` is
/// shorter than a header.
pub fn set_max_timestamp(batch: &mut [u8], timestamp_type: TimestampType, max_timestamp: i64) {
    let mut attributes = i16::from_be_bytes([batch[ATTRIBUTES_AT], batch[ATTRIBUTES_AT + 1]]);
    match timestamp_type {
        TimestampType::CreateTime => attributes &= !LOG_APPEND_TIME,
        TimestampType::LogAppendTime => attributes |= LOG_APPEND_TIME,
    }
    batch[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.to_be_bytes());
    batch[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&max_timestamp.to_be_bytes());
    let crc = crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
}

/// One batch: its header and its bytes, header included.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The header, parsed.
    pub header: BatchHeader,
    /// Exactly the bytes of the batch.
    pub bytes: Bytes,
}

/// Walks over the batches in `bytes`, zero-copy. Ends after the first error; `Truncated` is the normal end of a fetch
/// whose last batch was cut. Checksums are not checked.
pub fn batches(bytes: Bytes) -> Batches {
    Batches { rest: bytes }
}

/// The iterator of `batches`.
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    fn split_first(&mut self) -> Result<Batch, BatchError> {
        let header = BatchHeader::parse(&self.rest)?;
        let (needed, left) = (header.size_bytes(), self.rest.len());
        if needed > left {
            return Err(BatchError::Truncated { needed, left });
        }
        Ok(Batch { header, bytes: self.rest.split_to(needed) })
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let batch = self.split_first();
        if batch.is_err() {
            self.rest = Bytes::new();
        }
        Some(batch)
    }
}

/// One record, with its offset and timestamp in full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Offset in the partition.
    pub offset: i64,
    /// Milliseconds since the epoch; that of the batch under `LogAppendTime`.
    pub timestamp: i64,
    /// Key; `None` is null.
    pub key: Option<Bytes>,
    /// Value; `None` is null, a tombstone on compacted topics.
    pub value: Option<Bytes>,
    /// Headers in order; keys may repeat (KIP-82).
    pub headers: Vec<RecordHeader>,
}

/// One header of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordHeader {
    /// Key.
    pub key: String,
    /// Value; `None` is null.
    pub value: Option<Bytes>,
}

impl Batch {
    /// The one batch at the front of `bytes`; what is behind it is ignored.
    pub fn parse(bytes: Bytes) -> Result<Batch, BatchError> {
        batches(bytes).split_first()
    }

    /// Compares the checksum with the stored one.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        check_crc(&self.bytes)
    }

    /// Walks over the records. Compressed ones are decompressed first, to at most `max_bytes`; keys and values are
    /// slices. Ends after the first error.
    pub fn records(&self, max_bytes: usize) -> Result<RecordIter, BatchError> {
        let body = self.bytes.slice(HEADER_BYTES..);
        let body = match self.header.compression()? {
            Compression::None => body,
            compression => Bytes::from(compression.decompress(&body, max_bytes)?),
        };
        let count = usize::try_from(self.header.record_count).map_err(|_| BatchError::Record {
            index: 0,
            source: DecodeError::NegativeLength(self.header.record_count),
        })?;
        Ok(RecordIter { header: self.header, reader: Reader::new(body), index: 0, count })
    }
}

/// The iterator of `Batch::records`.
#[derive(Clone, Debug)]
pub struct RecordIter {
    header: BatchHeader,
    reader: Reader,
    index: usize,
    count: usize,
}

impl RecordIter {
    fn read(&mut self) -> Result<Record, DecodeError> {
        let length = self.reader.get_varint()?;
        let length = usize::try_from(length).map_err(|_| DecodeError::NegativeLength(length))?;
        let mut reader = Reader::new(self.reader.slice(length)?);
        // Attributes of records are reserved and always 0 so far.
        reader.get_i8()?;
        let timestamp_delta = reader.get_varlong()?;
        let offset_delta = reader.get_varint()?;
        let key = read_varint_bytes(&mut reader)?;
        let value = read_varint_bytes(&mut reader)?;
        let headers = read_record_headers(&mut reader)?;
        if reader.remaining() > 0 {
            return Err(DecodeError::Truncated { needed: length, left: length - reader.remaining() });
        }
        let timestamp = match self.header.timestamp_type() {
            TimestampType::CreateTime => self.header.base_timestamp.wrapping_add(timestamp_delta),
            TimestampType::LogAppendTime => self.header.max_timestamp,
        };
        let offset = self.header.base_offset.wrapping_add(i64::from(offset_delta));
        Ok(Record { offset, timestamp, key, value, headers })
    }
}

impl Iterator for RecordIter {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index == self.count {
            let left = self.reader.remaining();
            self.reader = Reader::new(Bytes::new());
            return (left > 0).then_some(Err(BatchError::BytesLeft(left)));
        }
        let index = self.index;
        match self.read() {
            Ok(record) => {
                self.index += 1;
                Some(Ok(record))
            }
            Err(source) => {
                self.index = self.count;
                self.reader = Reader::new(Bytes::new());
                Some(Err(BatchError::Record { index, source }))
            }
        }
    }
}

fn read_varint_bytes(reader: &mut Reader) -> Result<Option<Bytes>, DecodeError> {
    let length = reader.get_varint()?;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| DecodeError::NegativeLength(length))?;
    reader.slice(length).map(Some)
}

fn read_record_headers(reader: &mut Reader) -> Result<Vec<RecordHeader>, DecodeError> {
    let count = reader.get_varint()?;
    let count = usize::try_from(count).map_err(|_| DecodeError::NegativeLength(count))?;
    let left = reader.remaining();
    if count > left {
        return Err(DecodeError::ArrayTooLong { count, left });
    }
    let mut headers = Vec::with_capacity(count.min(crate::limits::DECODE_RESERVE_COUNT));
    for _ in 0..count {
        let key = read_varint_bytes(reader)?.ok_or(DecodeError::UnexpectedNull)?;
        let key = std::str::from_utf8(&key).map_err(|_| DecodeError::NotUtf8)?.to_owned();
        let value = read_varint_bytes(reader)?;
        headers.push(RecordHeader { key, value });
    }
    Ok(headers)
}

/// What a new batch is to be, apart from its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSpec {
    /// Base offset; the records' offsets are at or above it.
    pub base_offset: i64,
    /// Last offset if it is not that of the last record: compaction keeps it when it drops records.
    pub last_offset: Option<i64>,
    /// Leader epoch, -1 if unknown.
    pub partition_leader_epoch: i32,
    /// Compression of the records.
    pub compression: Compression,
    /// Level of the compression; `None` is its default.
    pub compression_level: Option<i32>,
    /// The time of appending, if the broker sets the timestamps; also the timestamp of a batch without records.
    pub log_append_time_ms: Option<i64>,
    /// When compaction may drop tombstones and markers (KIP-534).
    pub delete_horizon_ms: Option<i64>,
    /// Max timestamp of a batch without records.
    pub empty_timestamp_ms: i64,
    /// Id of an idempotent producer, or -1.
    pub producer_id: i64,
    /// Its epoch, or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// True if the records belong to a transaction.
    pub is_transactional: bool,
    /// True if the records are markers.
    pub is_control: bool,
}

impl Default for BatchSpec {
    /// Offset 0, no compression, no producer id, timestamps of the records.
    fn default() -> BatchSpec {
        BatchSpec {
            base_offset: 0,
            last_offset: None,
            partition_leader_epoch: NO_LEADER_EPOCH,
            compression: Compression::None,
            compression_level: None,
            log_append_time_ms: None,
            delete_horizon_ms: None,
            empty_timestamp_ms: NO_TIMESTAMP,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            is_transactional: false,
            is_control: false,
        }
    }
}

/// Makes a batch of `records`, in ascending order of offsets, with its checksum.
pub fn build(spec: &BatchSpec, records: &[Record]) -> Result<Bytes, BatchError> {
    let first_timestamp = records.first().map_or(spec.empty_timestamp_ms, |record| record.timestamp);
    let base_timestamp = spec.delete_horizon_ms.unwrap_or(first_timestamp);
    let mut body = Writer::new();
    for record in records {
        write_record(&mut body, record, spec.base_offset, base_timestamp).ok_or(BatchError::DoesNotFit)?;
    }
    let body = body.finish().and_then(|frame| frame.into_bytes().map_err(EncodeError::Slice));
    let body = body.map_err(|_| BatchError::DoesNotFit)?;
    // A batch without records has no body, so nothing of it is compressed.
    let compression = if records.is_empty() { Compression::None } else { spec.compression };
    let body = match compression {
        Compression::None => body,
        compression => Bytes::from(compression.compress(spec.compression_level, &body)?),
    };

    let last_record = records.last().map_or(spec.base_offset, |record| record.offset);
    let last_offset_delta = spec.last_offset.unwrap_or(last_record).checked_sub(spec.base_offset);
    let max_of_records = records.iter().map(|record| record.timestamp).max().unwrap_or(spec.empty_timestamp_ms);
    let mut header = BatchHeader {
        base_offset: spec.base_offset,
        length: i32::try_from(body.len() + HEADER_BYTES - LOG_OVERHEAD_BYTES).map_err(|_| BatchError::DoesNotFit)?,
        partition_leader_epoch: spec.partition_leader_epoch,
        magic: MAGIC,
        crc: 0,
        attributes: compression.id() | flags_of(spec),
        last_offset_delta: last_offset_delta
            .and_then(|delta| i32::try_from(delta).ok())
            .ok_or(BatchError::DoesNotFit)?,
        base_timestamp,
        max_timestamp: spec.log_append_time_ms.unwrap_or(max_of_records),
        producer_id: spec.producer_id,
        producer_epoch: spec.producer_epoch,
        base_sequence: spec.base_sequence,
        record_count: i32::try_from(records.len()).map_err(|_| BatchError::DoesNotFit)?,
    };
    header.crc = crc_of(&header.to_bytes(), &body);
    let mut batch = BytesMut::with_capacity(HEADER_BYTES + body.len());
    batch.extend_from_slice(&header.to_bytes());
    batch.extend_from_slice(&body);
    Ok(batch.freeze())
}

fn flags_of(spec: &BatchSpec) -> i16 {
    let flag = |set: bool, bit: i16| if set { bit } else { 0 };
    flag(spec.log_append_time_ms.is_some(), LOG_APPEND_TIME)
        | flag(spec.is_transactional, TRANSACTIONAL)
        | flag(spec.is_control, CONTROL)
        | flag(spec.delete_horizon_ms.is_some(), DELETE_HORIZON)
}

/// Writes a record; `None` if a delta or length does not fit its varint.
fn write_record(writer: &mut Writer, record: &Record, base_offset: i64, base_timestamp: i64) -> Option<()> {
    let offset_delta = i32::try_from(record.offset.checked_sub(base_offset)?).ok().filter(|delta| *delta >= 0)?;
    let timestamp_delta = record.timestamp.checked_sub(base_timestamp)?;
    let headers_bytes: usize =
        record.headers.iter().map(|header| bytes_size(Some(header.key.len())) + size_of_value(&header.value)).sum();
    let size = 1
        + varint_size(timestamp_delta)
        + varint_size(i64::from(offset_delta))
        + size_of_value(&record.key)
        + size_of_value(&record.value)
        + varint_size(record.headers.len() as i64)
        + headers_bytes;
    // With the whole below 2 GiB, so are its parts.
    writer.put_varint(i32::try_from(size).ok()?);
    writer.put_i8(0);
    writer.put_varlong(timestamp_delta);
    writer.put_varint(offset_delta);
    put_varint_bytes(writer, record.key.as_deref());
    put_varint_bytes(writer, record.value.as_deref());
    writer.put_varint(record.headers.len() as i32);
    for header in &record.headers {
        put_varint_bytes(writer, Some(header.key.as_bytes()));
        put_varint_bytes(writer, header.value.as_deref());
    }
    Some(())
}

fn put_varint_bytes(writer: &mut Writer, bytes: Option<&[u8]>) {
    match bytes {
        None => writer.put_varint(-1),
        Some(bytes) => {
            writer.put_varint(bytes.len() as i32);
            writer.put_slice(bytes);
        }
    }
}

fn size_of_value(value: &Option<Bytes>) -> usize {
    bytes_size(value.as_ref().map(Bytes::len))
}

fn bytes_size(length: Option<usize>) -> usize {
    length.map_or(1, |length| varint_size(length as i64) + length)
}

/// Bytes of a zigzag varint.
fn varint_size(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (zigzag | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests;
