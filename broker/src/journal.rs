//! An internal topic as its coordinators see it: where they record what they decided, and from where they read it back. A
//! coordinator answers once its record is replicated; it watches the high watermark itself. Decides nothing.

#[cfg(test)]
pub(crate) mod memory;
mod shards;
mod unreplicated;

pub(crate) use shards::{Lead, LockedShard, Shards, Stage};
pub(crate) use unreplicated::{Appended, Unreplicated};

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

/// Why what a partition of an internal topic tells is not known. To serve the part that could be read would take back what
/// was acknowledged.
#[derive(Debug, Error)]
pub(crate) enum LoadError {
    /// The log cannot be read, or is another broker's.
    #[error(transparent)]
    Log(#[from] StoreError),
    /// The bytes are no batch, or its checksum is wrong.
    #[error("the batch at or after offset {offset} cannot be read: {problem}")]
    Batch {
        /// Next offset to be read.
        offset: i64,
        /// What is wrong.
        problem: BatchError,
    },
}

/// A partition that could not be read is tried again after this: a disk does not heal sooner, and each attempt may read
/// all of it.
pub(crate) const LOAD_RETRY_MS: u64 = 10_000;

/// Hands out the batches of a partition from its first offset to its end, their checksums checked. One that cannot be read,
/// or that `each` finds an error in, ends it.
pub(crate) fn read_batches(
    journal: &dyn Journal,
    partition: i32,
    max_bytes: usize,
    mut each: impl FnMut(&Batch) -> Result<(), BatchError>,
) -> Result<(), LoadError> {
    let (mut offset, end) = journal.bounds(partition).ok_or(StoreError::NotLeader)?;
    while offset < end {
        let before = offset;
        for batch in batch::batches(journal.read(partition, offset, max_bytes)?) {
            let next = batch.as_ref().map_or(offset, |batch| offset.max(batch.header.next_offset()));
            // The last batch of a chunk may be cut; the next chunk begins with it.
            if !matches!(batch, Err(BatchError::Truncated { .. }) if offset > before) {
                let taken = batch.and_then(|batch| {
                    batch::check_crc(&batch.bytes)?;
                    each(&batch)
                });
                taken.map_err(|problem| LoadError::Batch { offset, problem })?;
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
