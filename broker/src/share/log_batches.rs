//! The batches of what was read, header by header, as far as somebody wants to know them; and the stretch of it that holds
//! some of them. Never looks behind a header.

use super::partition::LogBatch;
use crate::log::AbortedTxn;
use bytes::Bytes;
use common::disk::FileSlice;
use common::kafka::batch::{BatchHeader, HEADER_BYTES};
use common::kafka::records::Records;

/// Read at a time: some headers if batches are small.
const CHUNK_BYTES: usize = 4096;

/// See the top of the file.
pub(super) struct LogBatches<'a> {
    records: &'a Records,
    aborted: &'a [AbortedTxn],
    at: usize,
    chunk: Vec<u8>,
    chunk_at: usize,
    /// Offsets and places of the batches that were asked for.
    seen: Vec<(i64, i64, usize, usize)>,
    /// Something could not be read.
    pub(super) is_damaged: bool,
}

impl<'a> LogBatches<'a> {
    /// The batches of what was read; `aborted` are transactions whose records are not to be delivered.
    pub(super) fn new(records: &'a Records, aborted: &'a [AbortedTxn]) -> LogBatches<'a> {
        LogBatches { records, aborted, at: 0, chunk: Vec::new(), chunk_at: 0, seen: Vec::new(), is_damaged: false }
    }

    fn header(&mut self) -> Option<BatchHeader> {
        let slice = match self.records {
            Records::Bytes(bytes) => return BatchHeader::parse(bytes.get(self.at..)?).ok(),
            Records::Slice(slice) => slice,
            // Nobody gets stretches of several files from one log.
            Records::Parts(_) => return None,
        };
        if slice.len as usize - self.at < HEADER_BYTES {
            return None;
        }
        if self.at < self.chunk_at || self.at + HEADER_BYTES > self.chunk_at + self.chunk.len() {
            self.chunk.resize(CHUNK_BYTES.min(slice.len as usize - self.at), 0);
            let read = slice.file.read_at(&mut self.chunk, slice.position + self.at as u64);
            self.chunk.truncate(*read.as_ref().unwrap_or(&0));
            self.chunk_at = self.at;
            self.is_damaged |= self.chunk.len() < HEADER_BYTES;
        }
        let header = BatchHeader::parse(self.chunk.get(self.at - self.chunk_at..)?);
        self.is_damaged |= header.is_err();
        header.ok()
    }

    /// Of the batches that were asked for the stretch that holds these offsets.
    pub(super) fn stretch(&self, first: i64, last: i64) -> Records {
        let held = |(base, end, ..): &&(i64, i64, usize, usize)| *end >= first && *base <= last;
        let mut held = self.seen.iter().filter(held);
        let Some((.., from, size)) = held.next() else { return Records::default() };
        let to = held.next_back().map_or(from + size, |(.., at, size)| at + size);
        match self.records {
            Records::Bytes(bytes) => Records::Bytes(Bytes::slice(bytes, *from..to)),
            Records::Slice(slice) => Records::Slice(FileSlice {
                file: slice.file.clone(),
                position: slice.position + *from as u64,
                len: u32::try_from(to - from).unwrap_or(slice.len),
            }),
            Records::Parts(_) => Records::default(),
        }
    }
}

impl Iterator for LogBatches<'_> {
    type Item = LogBatch;

    fn next(&mut self) -> Option<LogBatch> {
        let header = self.header()?;
        let size = header.size_bytes();
        // The last one may be cut.
        if self.at + size > self.records.len() || header.last_offset() < header.base_offset {
            return None;
        }
        let (base, last) = (header.base_offset, header.last_offset());
        self.seen.push((base, last, self.at, size));
        self.at += size;
        let is_its = |txn: &AbortedTxn| {
            txn.producer_id == header.producer_id && txn.first_offset <= base && base <= txn.last_offset
        };
        let is_aborted = header.is_transactional() && !header.is_control() && self.aborted.iter().any(is_its);
        Some(LogBatch { base, last, is_aborted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::kafka::batch::{BatchSpec, Record, build, set_base_offset};

    fn batch(base: i64, count: i64, producer_id: i64) -> Vec<u8> {
        let record = |offset| Record { offset, timestamp: 0, key: None, value: None, headers: Vec::new() };
        let records: Vec<Record> = (0..count).map(record).collect();
        let is_transactional = producer_id >= 0;
        let (producer_epoch, base_sequence) = if is_transactional { (0, 0) } else { (-1, -1) };
        let spec = BatchSpec { is_transactional, producer_id, producer_epoch, base_sequence, ..BatchSpec::default() };
        let mut bytes = build(&spec, &records).unwrap().to_vec();
        set_base_offset(&mut bytes, base);
        bytes
    }

    #[test]
    fn batches_are_told_by_their_headers() {
        let parts = [batch(0, 5, -1), batch(5, 1, 7), batch(9, 2, 8), batch(11, 1, 7)];
        let all = parts.concat();
        let aborted = [AbortedTxn { producer_id: 7, first_offset: 5, last_offset: 8, last_stable_offset: 8 }];
        for cut in [0, 1] {
            let records = Records::Bytes(Bytes::from(all[..all.len() - cut].to_vec()));
            let mut batches = LogBatches::new(&records, &aborted);
            let seen: Vec<_> = batches.by_ref().map(|one| (one.base, one.last, one.is_aborted)).collect();
            let expected = [(0, 4, false), (5, 5, true), (9, 10, false), (11, 11, false)];
            assert_eq!(seen, expected[..4 - cut]);
            assert_eq!(batches.stretch(5, 10), Records::Bytes(Bytes::from([&parts[1][..], &parts[2]].concat())));
            assert_eq!(batches.stretch(3, 3), Records::Bytes(Bytes::from(parts[0].clone())));
            assert_eq!(batches.stretch(6, 8).len(), 0);
        }
    }
}
