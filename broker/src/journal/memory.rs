//! A journal in memory, for the tests of the coordinators. Never used by a server.

use super::{Journal, StoreError};
use crate::log::Verification;
use bytes::Bytes;
use common::kafka::batch::{BatchHeader, set_base_offset};
use common::time::Now;
use parking_lot::Mutex;

/// A topic of one partition; the high watermark follows the end unless it is held.
#[derive(Default)]
pub(crate) struct MemoryJournal {
    /// Base offset and bytes.
    pub(crate) batches: Mutex<Vec<(i64, Bytes)>>,
    /// The offset that comes next.
    pub(crate) next: Mutex<i64>,
    /// What appends fail with.
    pub(crate) refuses: Mutex<Option<StoreError>>,
    /// The high watermark, if it is held.
    pub(crate) held_at: Mutex<Option<i64>>,
    /// After so many questions for its bounds another leads it.
    pub(crate) lost_after: Mutex<Option<u32>>,
}

impl Journal for MemoryJournal {
    fn partition_count(&self) -> Option<i32> {
        Some(1)
    }

    fn append(&self, _: i32, batch: Bytes, _: Now) -> Result<i64, StoreError> {
        if let Some(error) = *self.refuses.lock() {
            return Err(error);
        }
        let mut batch = batch.to_vec();
        let mut next = self.next.lock();
        set_base_offset(&mut batch, *next);
        let header = BatchHeader::parse(&batch).unwrap();
        self.batches.lock().push((*next, Bytes::from(batch)));
        *next = header.next_offset();
        Ok(header.last_offset())
    }

    fn append_in_transaction(&self, p: i32, batch: Bytes, _: Verification, now: Now) -> Result<i64, StoreError> {
        self.append(p, batch, now)
    }

    fn bounds(&self, _: i32) -> Option<(i64, i64)> {
        if let Some(left) = &mut *self.lost_after.lock() {
            *left = left.checked_sub(1)?;
        }
        Some((0, *self.next.lock()))
    }

    fn read(&self, _: i32, offset: i64, _: usize) -> Result<Bytes, StoreError> {
        let batches = self.batches.lock();
        Ok(batches.iter().find(|(base, _)| *base >= offset).map(|(_, batch)| batch.clone()).unwrap_or_default())
    }

    fn high_watermark(&self, _: i32) -> Option<i64> {
        Some(self.held_at.lock().unwrap_or(*self.next.lock()))
    }
}
