//! Reads one partition of `__share_group_state` from its first offset to its end. Changes nothing that is being served.

use super::shard::States;
use crate::journal::{DECOMPRESSED_BYTES, Journal, LoadError, read_batches};
use crate::share::records::ShareRecord;
use common::kafka::batch::{Batch, BatchError};
use tracing::warn;

/// What the partition says of each share partition. A batch that cannot be read ends it; a record that is not understood,
/// which may be a newer broker's, is passed over.
pub(super) fn read_all(journal: &dyn Journal, partition: i32, max_bytes: usize) -> Result<States, LoadError> {
    let mut states = States::default();
    read_batches(journal, partition, max_bytes, |batch| add_batch(batch, &mut states))?;
    Ok(states)
}

fn add_batch(batch: &Batch, states: &mut States) -> Result<(), BatchError> {
    if batch.header.is_control() {
        return Ok(());
    }
    for record in batch.records(DECOMPRESSED_BYTES)? {
        let record = record?;
        match ShareRecord::decode(record.key, record.value) {
            Ok(ShareRecord { key, value }) => states.apply(key, value, record.offset),
            Err(error) => warn!(offset = record.offset, %error, "a record of the share state topic cannot be read"),
        }
    }
    Ok(())
}
