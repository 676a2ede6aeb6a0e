//! An internal topic as its coordinators see it: where they record what they decided, and from where they read it back. A
//! coordinator answers once its record is replicated; it watches the high watermark itself. Decides nothing.

#[cfg(test)]
pub(crate) mod memory;

use crate::log::Verification;
use bytes::Bytes;
use common::kafka::batch::{self, Batch, BatchError};
use common::time::Now;
use thiserror::Error;

/// A batch of an internal topic never decompresses to more; the largest request is a tenth of this.
pub(crate) const DECOMPRESSED_BYTES: usize = 1 << 30;

/// Takes the one answer to a parked request.
pub type Waiter<T> = Box<dyn FnOnce(T) + Send>;
/// An answer on its way: to be called when no lock is held.
pub type Answer = Box<dyn FnOnce() + Send>;

/// The partitions of an internal topic. An implementation must not call back into the coordinator; what its appends cause
/// (a new high watermark) it reports after the call into the coordinator returned.
pub trait Journal {
    /// Partitions of the topic, `None` before it exists.
    fn partition_count(&self) -> Option<i32>;
    /// Appends one batch as the leader; offset of its last record. acks=all: too few in-sync replicas is an error.
    fn append(&self, partition: i32, batch: Bytes, now: Now) -> Result<i64, StoreError>;
    /// As `append`, of records in a producer's transaction, if that is still open (KIP-890).
    fn append_in_transaction(
        &self,
        partition: i32,
        batch: Bytes,
        verification: Verification,
        now: Now,
    ) -> Result<i64, StoreError>;
    /// First and next offset of a partition that this broker leads.
    fn bounds(&self, partition: i32) -> Option<(i64, i64)>;
    /// Whole batches from `offset` on, at least one if any is left, else about `max_bytes`; also beyond the high
    /// watermark.
    fn read(&self, partition: i32, offset: i64, max_bytes: usize) -> Result<Bytes, StoreError>;
    /// The first offset that is not yet replicated to all in-sync replicas.
    fn high_watermark(&self, partition: i32) -> Option<i64>;
}

/// Why a record did not get into the log, or is not known to be safe there.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// This broker does not lead the partition (any more).
    #[error("not the leader of the coordinator's partition")]
    NotLeader,
    /// Fewer in-sync replicas than `min.insync.replicas`, or no such partition.
    #[error("not enough in-sync replicas of the coordinator's partition")]
    NotEnoughReplicas,
    /// The batch is larger than the partition takes.
    #[error("the record is too large")]
    TooLarge,
    /// The log directory failed.
    #[error("the log of the coordinator's partition failed")]
    Storage,
    /// Appended, but not replicated in time. It may still be.
    #[error("the record was not replicated in time")]
    TimedOut,
    /// A later epoch of the producer in whose transaction the records stand has written.
    #[error("the producer's epoch is old")]
    FencedProducer,
    /// The transaction in which the records stand has ended.
    #[error("the transaction is not open")]
    NotInTransaction,
    /// A later transaction coordinator has written.
    #[error("the transaction coordinator's epoch is old")]
    FencedCoordinator,
}

/// Hands out the batches of a partition from its first offset to its end, or those before the first error of `each`. What
/// cannot be read as a batch is handed out as an error with the offset it stands at or after. Checksums are not checked.
pub(crate) fn read_batches<E: From<StoreError>>(
    journal: &dyn Journal,
    partition: i32,
    max_bytes: usize,
    mut each: impl FnMut(i64, Result<Batch, BatchError>) -> Result<(), E>,
) -> Result<(), E> {
    let (mut offset, end) = journal.bounds(partition).ok_or(StoreError::NotLeader)?;
    while offset < end {
        let before = offset;
        for batch in batch::batches(journal.read(partition, offset, max_bytes)?) {
            let next = batch.as_ref().map_or(offset, |batch| offset.max(batch.header.next_offset()));
            // The last batch of a chunk may be cut; the next chunk begins with it.
            if !matches!(batch, Err(BatchError::Truncated { .. }) if offset > before) {
                each(offset, batch)?;
            }
            offset = next;
        }
        // Compaction may have left nothing up to the end.
        if offset == before {
            break;
        }
    }
    Ok(())
}
