//! Jute's binary encoding: big-endian numbers, length-prefixed bytes, counted vectors. The only place of the ZooKeeper wire
//! that looks at a length; it never reserves memory for a length before the bytes are there.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::limits::DECODE_RESERVE_COUNT;

/// Why bytes are not the record they should be. The connection they came from cannot be trusted any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The record ends before its last field.
    #[error("record is cut short: {needed} bytes needed, {left} left")]
    Truncated {
        /// Bytes the next field takes.
        needed: usize,
        /// Bytes there are.
        left: usize,
    },
    /// A length below -1 (which stands for null).
    #[error("unreasonable length {length}")]
    BadLength {
        /// The length as sent.
        length: i32,
    },
    /// A request or an answer cannot have this operation code.
    #[error("operation {code} cannot stand here")]
    BadOpcode {
        /// The code as sent.
        code: i32,
    },
    /// A number outside its enumeration.
    #[error("{field} cannot be {value}")]
    BadValue {
        /// The field, in the protocol's words.
        field: &'static str,
        /// The number as sent.
        value: i32,
    },
}

/// Reads fields one after another from one frame. Buffers that it gives out share the frame's memory: whoever keeps a small
/// one for long should copy it.
#[derive(Debug)]
pub struct Reader {
    bytes: Bytes,
    /// A required string was null.
    lacks_required: bool,
}

impl Reader {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: Bytes) -> Reader {
        Reader { bytes, lacks_required: false }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn need(&self, needed: usize) -> Result<(), DecodeError> {
        let left = self.bytes.len();
        if left < needed { Err(DecodeError::Truncated { needed, left }) } else { Ok(()) }
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        self.need(1)?;
        Ok(self.bytes.get_u8())
    }

    /// One byte, true unless zero (as Java reads it).
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.byte()? != 0)
    }

    /// Four bytes.
    pub fn int(&mut self) -> Result<i32, DecodeError> {
        self.need(4)?;
        Ok(self.bytes.get_i32())
    }

    /// Eight bytes.
    pub fn long(&mut self) -> Result<i64, DecodeError> {
        self.need(8)?;
        Ok(self.bytes.get_i64())
    }

    /// Length and bytes; `None` for null (-1).
    pub fn buffer(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let length = self.int()?;
        if length == -1 {
            return Ok(None);
        }
        let needed = usize::try_from(length).map_err(|_| DecodeError::BadLength { length })?;
        self.need(needed)?;
        Ok(Some(self.bytes.split_to(needed)))
    }

    /// A string that may be null. What is not UTF-8 is replaced by U+FFFD, as Java does; no path may contain that, so
    /// such a path is refused as malformed and the connection lives on.
    pub fn ustring(&mut self) -> Result<Option<String>, DecodeError> {
        Ok(self.buffer()?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// A string that must not be null, such as a path in a request. Null is read as empty and remembered:
    /// [`Reader::lacks_required`] says so when everything is read.
    pub fn required(&mut self) -> Result<String, DecodeError> {
        let string = self.ustring()?;
        self.lacks_required |= string.is_none();
        Ok(string.unwrap_or_default())
    }

    /// Whether a required string was null. The bytes are well-formed then, and ZooKeeper stumbles over them later.
    pub fn lacks_required(&self) -> bool {
        self.lacks_required
    }

    /// A string, with null taken for the empty one: both are refused alike wherever a value is required.
    pub fn string(&mut self) -> Result<String, DecodeError> {
        Ok(self.ustring()?.unwrap_or_default())
    }

    /// A count and that many elements; null (-1) is taken for none, as both are refused alike wherever elements are required.
    pub fn vector<T>(
        &mut self,
        mut element: impl FnMut(&mut Reader) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let length = self.int()?;
        if length == -1 {
            return Ok(Vec::new());
        }
        let count = usize::try_from(length).map_err(|_| DecodeError::BadLength { length })?;
        let mut elements = Vec::with_capacity(count.min(DECODE_RESERVE_COUNT));
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    /// A vector of strings.
    pub fn strings(&mut self) -> Result<Vec<String>, DecodeError> {
        self.vector(Reader::string)
    }
}

/// Appends fields to a buffer.
///
/// # Panics
/// If a buffer, string or vector has 2^31 or more elements: nothing that came over the wire or is stored can.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut BytesMut,
}

impl<'a> Writer<'a> {
    /// A writer that appends to `out`.
    pub fn new(out: &'a mut BytesMut) -> Writer<'a> {
        Writer { out }
    }

    fn length(&mut self, length: usize) {
        let length = i32::try_from(length).expect("a record holds less than 2 GiB: frames are far smaller");
        self.int(length);
    }

    /// One byte.
    pub fn byte(&mut self, value: u8) {
        self.out.put_u8(value);
    }

    /// One byte, 0 or 1.
    pub fn bool(&mut self, value: bool) {
        self.out.put_u8(u8::from(value));
    }

    /// Four bytes.
    pub fn int(&mut self, value: i32) {
        self.out.put_i32(value);
    }

    /// Eight bytes.
    pub fn long(&mut self, value: i64) {
        self.out.put_i64(value);
    }

    /// Length and bytes; -1 for null.
    pub fn buffer(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.int(-1),
            Some(bytes) => {
                self.length(bytes.len());
                self.out.put_slice(bytes);
            }
        }
    }

    /// A string that may be null.
    pub fn ustring(&mut self, value: Option<&str>) {
        self.buffer(value.map(str::as_bytes));
    }

    /// A string.
    pub fn string(&mut self, value: &str) {
        self.buffer(Some(value.as_bytes()));
    }

    /// A count and the elements.
    pub fn vector<T>(&mut self, elements: &[T], mut element: impl FnMut(&mut Writer<'_>, &T)) {
        self.length(elements.len());
        for value in elements {
            element(self, value);
        }
    }

    /// A vector of strings.
    pub fn strings(&mut self, elements: &[String]) {
        self.vector(elements, |w, s| w.string(s));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &'static [u8]) -> Reader {
        Reader::new(Bytes::from_static(bytes))
    }

    #[test]
    fn null_empty_and_full_buffers_differ() {
        let mut out = BytesMut::new();
        let mut w = Writer::new(&mut out);
        w.buffer(None);
        w.buffer(Some(b""));
        w.buffer(Some(b"ab"));
        w.ustring(None);
        w.bool(true);
        w.strings(&["x".to_owned()]);
        let expected = b"\xff\xff\xff\xff\0\0\0\0\0\0\0\x02ab\xff\xff\xff\xff\x01\0\0\0\x01\0\0\0\x01x";
        assert_eq!(&out[..], &expected[..]);
        let mut r = Reader::new(out.freeze());
        assert_eq!(r.buffer(), Ok(None));
        assert_eq!(r.buffer(), Ok(Some(Bytes::new())));
        assert_eq!(r.buffer(), Ok(Some(Bytes::from_static(b"ab"))));
        assert_eq!(r.ustring(), Ok(None));
        assert_eq!(r.bool(), Ok(true));
        assert_eq!(r.strings(), Ok(vec!["x".to_owned()]));
        assert_eq!(r.remaining(), 0);
    }

    #[test]
    fn lying_lengths_are_errors_and_reserve_nothing() {
        assert_eq!(
            reader(b"\x7f\xff\xff\xffab").buffer(),
            Err(DecodeError::Truncated { needed: 0x7fff_ffff, left: 2 })
        );
        assert_eq!(reader(b"\xff\xff\xff\xfe").buffer(), Err(DecodeError::BadLength { length: -2 }));
        assert_eq!(reader(b"\x7f\xff\xff\xff").strings(), Err(DecodeError::Truncated { needed: 4, left: 0 }));
        assert_eq!(reader(b"\x80\0\0\0").strings(), Err(DecodeError::BadLength { length: i32::MIN }));
        assert_eq!(reader(b"\xff\xff\xff\xff").strings(), Ok(Vec::new()));
        assert_eq!(reader(b"\0\0").int(), Err(DecodeError::Truncated { needed: 4, left: 2 }));
    }

    #[test]
    fn bytes_that_are_not_utf8_become_replacement_characters() {
        assert_eq!(reader(b"\0\0\0\x03/\xff\xfe").string(), Ok("/\u{fffd}\u{fffd}".to_owned()));
    }
}
