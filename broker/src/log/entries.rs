//! The entries of index files, for whoever looks at a log's files without opening the log. Reads and writes no file.

use super::AbortedTxn;
use super::index::{OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES, TXN_ENTRY_BYTES, offset_entry, time_entry, txn_entry};

/// Bytes of an entry of an `.index` file.
pub const OFFSET_INDEX_BYTES: usize = OFFSET_ENTRY_BYTES;
/// Bytes of an entry of a `.timeindex` file.
pub const TIME_INDEX_BYTES: usize = TIME_ENTRY_BYTES;

/// Of an `.index` file: the last offset of a batch and where the batch begins. Of a segment with this base offset; a part
/// of an entry at the end does not count.
pub fn offset_index(base_offset: i64, bytes: &[u8]) -> impl Iterator<Item = (i64, u32)> {
    bytes.as_chunks().0.iter().map(move |entry| offset_entry(base_offset, entry))
}

/// Of a `.timeindex` file: a timestamp, milliseconds since the epoch, and the offset up to which none is larger.
pub fn time_index(base_offset: i64, bytes: &[u8]) -> impl Iterator<Item = (i64, i64)> {
    let entries = bytes.as_chunks().0.iter().map(move |entry| time_entry(base_offset, entry));
    entries.map(|entry| (entry.timestamp, entry.offset))
}

/// Of a `.txnindex` file; `None` for an entry of a version that is not known.
pub fn txn_index(bytes: &[u8]) -> impl Iterator<Item = Option<AbortedTxn>> {
    bytes.as_chunks::<TXN_ENTRY_BYTES>().0.iter().map(txn_entry)
}
