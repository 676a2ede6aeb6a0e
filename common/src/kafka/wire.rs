//! The primitives of the Kafka wire: a reader that trusts no length and a writer that never copies file content.
//! Knows no message and opens no socket.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::records::Records;
use crate::disk::FileSlice;

/// Record bytes shorter than this are copied into the frame; longer ones are passed on by reference, because a part
/// of its own costs about as much as copying this much.
const COPY_BELOW_BYTES: usize = 512;

/// Strings carry a 16-bit length on the wire; the flexible versions keep the bound (KIP-482).
pub const STRING_MAX_BYTES: usize = i16::MAX as usize;

/// Why bytes are not the message they claim to be. The connection cannot be read on after one of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A value reaches beyond the end of the frame.
    #[error("{needed} bytes needed but {left} left")]
    Truncated {
        /// Bytes that the value claims.
        needed: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// A string is not UTF-8.
    #[error("a string is not utf-8")]
    NotUtf8,
    /// A string is longer than 32767 bytes.
    #[error("a string has {0} bytes")]
    StringTooLong(usize),
    /// Null where the version of the message does not allow it.
    #[error("null in a field that cannot be null")]
    UnexpectedNull,
    /// A length below -1.
    #[error("negative length {0}")]
    NegativeLength(i32),
    /// An array declares more elements than bytes are left.
    #[error("{count} elements declared but {left} bytes left")]
    ArrayTooLong {
        /// Declared elements.
        count: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// A varint has more bytes than its type can hold.
    #[error("a varint is too long")]
    VarintTooLong,
    /// A tagged field is longer or shorter than its declared size.
    #[error("tagged field {tag} does not fill its declared size")]
    TagSize {
        /// The tag.
        tag: u32,
    },
    /// No API has this key.
    #[error("api key {0} is unknown")]
    UnknownApi(i16),
    /// The message has no such version.
    #[error("version {version} of api {key} is not supported")]
    UnsupportedVersion {
        /// API key.
        key: i16,
        /// The version asked for.
        version: i16,
    },
}

/// Why a message cannot be written in a version.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The message has no such version.
    #[error("version {version} of api {key} is not supported")]
    UnsupportedVersion {
        /// API key.
        key: i16,
        /// The version asked for.
        version: i16,
    },
    /// A field that the version lacks has a value other than its default, and dropping it would change the meaning.
    #[error("version {version} has no field {field}")]
    FieldNotInVersion {
        /// Name of the field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// Null where the version of the message does not allow it.
    #[error("null in a field that cannot be null in version {version}")]
    UnexpectedNull {
        /// The version asked for.
        version: i16,
    },
    /// A string is longer than 32767 bytes.
    #[error("a string has {0} bytes")]
    StringTooLong(usize),
    /// A value or frame is longer than its length field can say.
    #[error("{0} bytes or elements do not fit the length field")]
    TooLong(usize),
    /// A file slice could not be read where bytes were asked for.
    #[error("reading a file slice")]
    Slice(#[from] io::Error),
}

/// How a field is laid out in the version at hand.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Version of the message.
    pub version: i16,
    /// True from the first flexible version on (KIP-482): compact lengths and tagged fields.
    pub flexible: bool,
    /// True if null is allowed.
    pub nullable: bool,
}

impl Shape {
    /// The same version with `nullable` as given.
    pub fn with_nullable(self, nullable: bool) -> Shape {
        Shape { nullable, ..self }
    }
}

/// Reads values from the front of a frame. Each read is bounded by what is left; bytes and records are slices of the
/// frame, strings are checked and copied.
#[derive(Clone, Debug)]
pub struct Reader {
    frame: Bytes,
    position: usize,
}

impl Reader {
    /// Reads `frame` from its first byte.
    pub fn new(frame: Bytes) -> Reader {
        Reader { frame, position: 0 }
    }

    /// Bytes that are not read yet.
    pub fn remaining(&self) -> usize {
        self.frame.len() - self.position
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.position
    }

    fn take(&mut self, count: usize) -> Result<&[u8], DecodeError> {
        let left = self.remaining();
        if count > left {
            return Err(DecodeError::Truncated { needed: count, left });
        }
        let start = self.position;
        self.position += count;
        Ok(&self.frame[start..start + count])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    /// Passes over `count` bytes.
    pub fn skip(&mut self, count: usize) -> Result<(), DecodeError> {
        self.take(count).map(|_| ())
    }

    /// The next `count` bytes as a slice of the frame, not copied.
    pub fn slice(&mut self, count: usize) -> Result<Bytes, DecodeError> {
        let start = self.position;
        self.take(count)?;
        Ok(self.frame.slice(start..start + count))
    }

    /// A signed byte.
    pub fn get_i8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    /// A big-endian 16-bit integer.
    pub fn get_i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    /// A big-endian unsigned 16-bit integer.
    pub fn get_u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// A big-endian 32-bit integer.
    pub fn get_i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// A big-endian unsigned 32-bit integer.
    pub fn get_u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// A big-endian 64-bit integer.
    pub fn get_i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A big-endian IEEE double.
    pub fn get_f64(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_be_bytes(self.array()?))
    }

    /// 16 bytes, most significant first.
    pub fn get_uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid::from_bytes(self.array()?))
    }

    /// An unsigned varint of at most 32 bits.
    pub fn get_uvarint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                return Err(DecodeError::VarintTooLong);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    /// A zigzag varint of 32 bits, as inside records.
    pub fn get_varint(&mut self) -> Result<i32, DecodeError> {
        let raw = self.get_uvarint()?;
        Ok(((raw >> 1) as i32) ^ -((raw & 1) as i32))
    }

    /// A zigzag varint of 64 bits, as inside records.
    pub fn get_varlong(&mut self) -> Result<i64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::VarintTooLong);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(((value >> 1) as i64) ^ -((value & 1) as i64));
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    /// The length of bytes, records or an array; `None` is null.
    fn length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            return Ok((self.get_uvarint()? as usize).checked_sub(1));
        }
        length_of(self.get_i32()?)
    }

    /// The length of a string; `None` is null.
    fn string_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            return Ok((self.get_uvarint()? as usize).checked_sub(1));
        }
        length_of(i32::from(self.get_i16()?))
    }

    /// A string that may be null, whatever the shape allows.
    pub fn get_nullable_string(&mut self, flexible: bool) -> Result<Option<String>, DecodeError> {
        let Some(length) = self.string_length(flexible)? else { return Ok(None) };
        if length > STRING_MAX_BYTES {
            return Err(DecodeError::StringTooLong(length));
        }
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| DecodeError::NotUtf8)?;
        Ok(Some(text.to_owned()))
    }

    /// Bytes that may be null, as a slice of the frame.
    pub fn get_nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        match self.length(flexible)? {
            Some(length) => self.slice(length).map(Some),
            None => Ok(None),
        }
    }

    /// Records that may be null, as a slice of the frame.
    pub fn get_nullable_records(&mut self, flexible: bool) -> Result<Option<Records>, DecodeError> {
        Ok(self.get_nullable_bytes(flexible)?.map(Records::Bytes))
    }

    /// The count of an array, `None` for null. Each element takes at least one byte, so a count above the bytes left
    /// is a lie.
    pub fn get_array_count(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        let Some(count) = self.length(flexible)? else { return Ok(None) };
        let left = self.remaining();
        if count > left {
            return Err(DecodeError::ArrayTooLong { count, left });
        }
        Ok(Some(count))
    }

    /// Passes over a whole section of tagged fields.
    pub fn skip_tagged_fields(&mut self) -> Result<(), DecodeError> {
        for _ in 0..self.get_uvarint()? {
            self.get_uvarint()?;
            let size = self.get_uvarint()? as usize;
            self.skip(size)?;
        }
        Ok(())
    }
}

fn length_of(declared: i32) -> Result<Option<usize>, DecodeError> {
    match declared {
        -1 => Ok(None),
        _ => usize::try_from(declared).map(Some).map_err(|_| DecodeError::NegativeLength(declared)),
    }
}

/// A stretch of a frame.
#[derive(Clone, Debug)]
pub enum Part {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes of a file, to be sent without reading them.
    File(FileSlice),
}

impl Part {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Part::Bytes(bytes) => bytes.len(),
            Part::File(slice) => slice.len as usize,
        }
    }

    /// True if there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl PartialEq for Part {
    /// Equal bytes, or the same stretch of the same open file.
    fn eq(&self, other: &Part) -> bool {
        match (self, other) {
            (Part::Bytes(a), Part::Bytes(b)) => a == b,
            (Part::File(a), Part::File(b)) => {
                std::sync::Arc::ptr_eq(&a.file, &b.file) && a.position == b.position && a.len == b.len
            }
            _ => false,
        }
    }
}

/// What is written, in order; some of it may still be in files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    /// The stretches, in order.
    pub parts: Vec<Part>,
}

impl Frame {
    /// Length in bytes of all parts.
    pub fn len(&self) -> usize {
        self.parts.iter().map(Part::len).sum()
    }

    /// True if there is no byte.
    pub fn is_empty(&self) -> bool {
        self.parts.iter().all(Part::is_empty)
    }

    /// All in memory: reads the file slices. For the simulator, tests and TLS.
    pub fn into_bytes(self) -> io::Result<Bytes> {
        if let [Part::Bytes(only)] = self.parts.as_slice() {
            return Ok(only.clone());
        }
        let mut all = BytesMut::with_capacity(self.len());
        for part in self.parts {
            match part {
                Part::Bytes(bytes) => all.extend_from_slice(&bytes),
                Part::File(slice) => all.extend_from_slice(&slice.read()?),
            }
        }
        Ok(all.freeze())
    }
}

/// Collects a frame. Primitives go to one growing buffer; large records and file slices become parts of their own.
#[derive(Debug, Default)]
pub struct Writer {
    /// The first stretch, kept writable so that the length prefix can be set at the end.
    head: Option<BytesMut>,
    parts: Vec<Part>,
    buffer: BytesMut,
    /// Bytes in `head` and `parts`.
    flushed_bytes: usize,
    prefixed: bool,
}

impl Writer {
    /// An empty frame.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// A frame that starts with its own length as a 32-bit integer, not counting those 4 bytes.
    pub fn length_prefixed() -> Writer {
        let mut writer = Writer { prefixed: true, buffer: BytesMut::with_capacity(256), ..Writer::default() };
        writer.put_i32(0);
        writer
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.flushed_bytes + self.buffer.len()
    }

    /// True if nothing is written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let written = self.buffer.split();
        self.flushed_bytes += written.len();
        if self.head.is_none() && self.parts.is_empty() {
            self.head = Some(written);
        } else {
            self.parts.push(Part::Bytes(written.freeze()));
        }
    }

    /// Adds a part without copying it, unless it is small.
    pub fn put_part(&mut self, part: &Part) {
        match part {
            Part::Bytes(bytes) if bytes.len() < COPY_BELOW_BYTES => self.put_slice(bytes),
            Part::File(slice) if slice.len == 0 => {}
            _ => {
                self.flush();
                self.flushed_bytes += part.len();
                self.parts.push(part.clone());
            }
        }
    }

    /// Copies raw bytes.
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// A signed byte.
    pub fn put_i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    /// A big-endian 16-bit integer.
    pub fn put_i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    /// A big-endian unsigned 16-bit integer.
    pub fn put_u16(&mut self, value: u16) {
        self.buffer.put_u16(value);
    }

    /// A big-endian 32-bit integer.
    pub fn put_i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    /// A big-endian unsigned 32-bit integer.
    pub fn put_u32(&mut self, value: u32) {
        self.buffer.put_u32(value);
    }

    /// A big-endian 64-bit integer.
    pub fn put_i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    /// A big-endian IEEE double.
    pub fn put_f64(&mut self, value: f64) {
        self.buffer.put_f64(value);
    }

    /// 16 bytes, most significant first.
    pub fn put_uuid(&mut self, value: Uuid) {
        self.put_slice(value.as_bytes());
    }

    /// An unsigned varint.
    pub fn put_uvarint(&mut self, value: u32) {
        self.put_uvarlong(u64::from(value));
    }

    fn put_uvarlong(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buffer.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(value as u8);
    }

    /// A zigzag varint of 32 bits, as inside records.
    pub fn put_varint(&mut self, value: i32) {
        self.put_uvarint(((value << 1) ^ (value >> 31)) as u32);
    }

    /// A zigzag varint of 64 bits, as inside records.
    pub fn put_varlong(&mut self, value: i64) {
        self.put_uvarlong(((value << 1) ^ (value >> 63)) as u64);
    }

    /// The length of bytes, records or an array; `None` is null.
    pub fn put_length(&mut self, length: Option<usize>, flexible: bool) -> Result<(), EncodeError> {
        let Some(length) = length else {
            if flexible {
                self.put_uvarint(0);
            } else {
                self.put_i32(-1);
            }
            return Ok(());
        };
        let declared = i32::try_from(length).map_err(|_| EncodeError::TooLong(length))?;
        if flexible {
            self.put_uvarint(declared as u32 + 1);
        } else {
            self.put_i32(declared);
        }
        Ok(())
    }

    /// A string or null.
    pub fn put_nullable_string(&mut self, value: Option<&str>, flexible: bool) -> Result<(), EncodeError> {
        let Some(value) = value else {
            if flexible {
                self.put_uvarint(0);
            } else {
                self.put_i16(-1);
            }
            return Ok(());
        };
        if value.len() > STRING_MAX_BYTES {
            return Err(EncodeError::StringTooLong(value.len()));
        }
        if flexible {
            self.put_uvarint(value.len() as u32 + 1);
        } else {
            self.put_i16(value.len() as i16);
        }
        self.put_slice(value.as_bytes());
        Ok(())
    }

    /// Bytes or null.
    pub fn put_nullable_bytes(&mut self, value: Option<&Bytes>, flexible: bool) -> Result<(), EncodeError> {
        self.put_length(value.map(Bytes::len), flexible)?;
        if let Some(value) = value {
            self.put_slice(value);
        }
        Ok(())
    }

    /// Records or null; file slices are passed on, not read.
    pub fn put_nullable_records(&mut self, value: Option<&Records>, flexible: bool) -> Result<(), EncodeError> {
        self.put_length(value.map(Records::len), flexible)?;
        match value {
            None => {}
            Some(Records::Bytes(bytes)) => self.put_part(&Part::Bytes(bytes.clone())),
            Some(Records::Slice(slice)) => self.put_part(&Part::File(slice.clone())),
            Some(Records::Parts(parts)) => parts.iter().for_each(|part| self.put_part(part)),
        }
        Ok(())
    }

    /// Writes a tagged field: tag, size, and what `body` writes. The body must not hold records.
    pub fn put_tagged(
        &mut self,
        tag: u32,
        body: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.put_uvarint(tag);
        let flushed = self.flushed_bytes;
        let start = self.buffer.len();
        body(self)?;
        assert_eq!(flushed, self.flushed_bytes, "records inside a tagged field");
        let size = self.buffer.len() - start;
        let mut prefix = [0; 5];
        let mut prefix_len = 0;
        let mut left = u32::try_from(size).map_err(|_| EncodeError::TooLong(size))?;
        loop {
            let more = left >= 0x80;
            prefix[prefix_len] = left as u8 & 0x7f | if more { 0x80 } else { 0 };
            prefix_len += 1;
            left >>= 7;
            if !more {
                break;
            }
        }
        self.buffer.extend_from_slice(&prefix[..prefix_len]);
        self.buffer[start..].rotate_right(prefix_len);
        Ok(())
    }

    /// The frame; fails if it is longer than its length prefix can say.
    pub fn finish(mut self) -> Result<Frame, EncodeError> {
        let len = self.len();
        self.flush();
        if self.prefixed {
            let body = len - 4;
            let declared = i32::try_from(body).map_err(|_| EncodeError::TooLong(body))?;
            let head = self.head.as_mut().expect("a prefixed frame starts with its length");
            head[..4].copy_from_slice(&declared.to_be_bytes());
        }
        let mut parts = self.parts;
        if let Some(head) = self.head {
            parts.insert(0, Part::Bytes(head.freeze()));
        }
        Ok(Frame { parts })
    }
}

#[cfg(test)]
mod tests;
