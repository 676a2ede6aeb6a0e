//! The records of one partition as they travel in Produce and Fetch: bytes that nobody looks into, in memory or still
//! in files. Never decodes a batch; `batch` does.

use std::io;

use bytes::{Bytes, BytesMut};

use super::wire::Part;
use crate::disk::FileSlice;

/// Record batches, one behind the other. Decoding a message always gives `Bytes`, a slice of the frame.
#[derive(Clone, Debug)]
pub enum Records {
    /// In memory.
    Bytes(Bytes),
    /// In one file.
    Slice(FileSlice),
    /// Several stretches in order, when an answer spans segments or mixes memory and files.
    Parts(Vec<Part>),
}

impl Records {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Records::Bytes(bytes) => bytes.len(),
            Records::Slice(slice) => slice.len as usize,
            Records::Parts(parts) => parts.iter().map(Part::len).sum(),
        }
    }

    /// True if there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All in memory: reads the file slices.
    pub fn to_bytes(&self) -> io::Result<Bytes> {
        match self {
            Records::Bytes(bytes) => Ok(bytes.clone()),
            Records::Slice(slice) => slice.read().map(Bytes::from),
            Records::Parts(parts) => {
                let mut all = BytesMut::with_capacity(self.len());
                for part in parts {
                    match part {
                        Part::Bytes(bytes) => all.extend_from_slice(bytes),
                        Part::File(slice) => all.extend_from_slice(&slice.read()?),
                    }
                }
                Ok(all.freeze())
            }
        }
    }
}

impl Default for Records {
    fn default() -> Records {
        Records::Bytes(Bytes::new())
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Records {
        Records::Bytes(bytes)
    }
}

impl PartialEq for Records {
    /// Equal bytes, or the same stretches of the same open files. File content is not read, so records in memory and
    /// the same records in a file are not equal.
    fn eq(&self, other: &Records) -> bool {
        fn part(records: &Records) -> Option<Part> {
            match records {
                Records::Bytes(bytes) => Some(Part::Bytes(bytes.clone())),
                Records::Slice(slice) => Some(Part::File(slice.clone())),
                Records::Parts(_) => None,
            }
        }
        match (self, other) {
            (Records::Parts(a), Records::Parts(b)) => a == b,
            _ => part(self).is_some() && part(self) == part(other),
        }
    }
}
