//! The data directory of an Apache ZooKeeper, as bytes: what its snapshot and its transaction logs (versions 3.5 to 3.9)
//! hold, as a plain model that becomes our tree, and our tree as a snapshot that ZooKeeper starts from. Opens no file.

mod log;
mod model;
mod snapshot;

use crate::tree::Tree;
use crate::tree::snapshot::LoadError;
use common::zk::DecodeError;
use model::Model;
use thiserror::Error;

/// Bytes that are no data of a ZooKeeper.
#[derive(Debug, Error)]
pub enum DataError {
    /// The first bytes are others.
    #[error("this is not a {0} of ZooKeeper")]
    Magic(&'static str),
    /// A version of the format that no ZooKeeper from 3.4 to 3.9 writes.
    #[error("format version {0} is not known")]
    Version(i32),
    /// The bytes do not make sense.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The compressed bytes do not.
    #[error("the compressed snapshot is damaged: {0}")]
    Compressed(String),
    /// The checksum is another.
    #[error("the checksum is {found:#x} and should be {expected:#x}")]
    Checksum {
        /// As stored.
        expected: u64,
        /// As computed.
        found: u64,
    },
    /// A znode names an access control list that is not there.
    #[error("znode {0} has an unknown access control list")]
    Acl(String),
    /// A znode without parent.
    #[error("znode {0} has no parent")]
    Orphan(String),
    /// A transaction that no version writes.
    #[error("transaction {zxid:#x} has the unknown type {kind}")]
    Type {
        /// Its id.
        zxid: i64,
        /// What stands there.
        kind: i32,
    },
    /// What came out makes no tree.
    #[error(transparent)]
    Tree(#[from] LoadError),
}

/// How a snapshot file is compressed, which its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// `.gz`
    Gzip,
    /// `.snappy`
    Snappy,
}

/// The zxid and compression that a file's name tells: `snapshot.1a`, `snapshot.1a.gz`, `log.1b`.
pub fn parse_name(name: &str, prefix: &str) -> Option<(i64, Compression)> {
    let rest = name.strip_prefix(prefix)?.strip_prefix('.')?;
    let (zxid, compression) = match rest.split_once('.') {
        None => (rest, Compression::None),
        Some((zxid, "gz")) => (zxid, Compression::Gzip),
        Some((zxid, "snappy")) => (zxid, Compression::Snappy),
        Some(_) => return None,
    };
    u64::from_str_radix(zxid, 16).ok().map(|zxid| (zxid.cast_signed(), compression))
}

/// What is read from a data directory, file by file.
#[derive(Debug, Default)]
pub struct Import {
    model: Model,
}

impl Import {
    /// Begins with a snapshot; `zxid` is that of its name.
    ///
    /// # Errors
    /// If the bytes are not a whole snapshot. Another, older one may be tried then.
    pub fn from_snapshot(bytes: &[u8], compression: Compression, zxid: i64) -> Result<Import, DataError> {
        Ok(Import { model: snapshot::read(bytes, compression, zxid)? })
    }

    /// The last transaction that is in it.
    pub fn zxid(&self) -> i64 {
        self.model.zxid
    }

    /// How many znodes and sessions there are.
    pub fn counts(&self) -> (usize, usize) {
        (self.model.nodes.len(), self.model.sessions.len())
    }

    /// Applies a log file's transactions that are newer than what is in it; the number of those. A log that ends in the
    /// middle of a transaction, as a crash leaves it, ends before that.
    ///
    /// # Errors
    /// If the bytes are no log, or a whole transaction makes no sense.
    pub fn apply_log(&mut self, bytes: &[u8]) -> Result<u64, DataError> {
        log::apply(bytes, &mut self.model)
    }

    /// The tree: zxids, times, versions, owners and sessions as they were.
    ///
    /// # Errors
    /// If a znode has no parent.
    pub fn into_tree(self) -> Result<Tree, DataError> {
        self.model.into_tree()
    }
}

/// The tree as a snapshot file of ZooKeeper, not compressed. Its name is to be `snapshot.` and the zxid in hexadecimal.
pub fn export(tree: &Tree) -> Vec<u8> {
    snapshot::write(tree)
}

/// Adler-32, with which ZooKeeper checks its files.
fn adler32(bytes: &[u8]) -> u64 {
    let (mut a, mut b) = (1u32, 0u32);
    // So many bytes at most keep the sums below 2^32.
    for chunk in bytes.chunks(5552) {
        for byte in chunk {
            a += u32::from(*byte);
            b += a;
        }
        (a, b) = (a % 65_521, b % 65_521);
    }
    u64::from(b) << 16 | u64::from(a)
}

#[cfg(test)]
mod tests;
