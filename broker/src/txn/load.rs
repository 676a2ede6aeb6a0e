//! Reads one partition of `__transaction_state` from its first offset to its end: the last record of each transactional id
//! counts. Changes nothing that is being served.

use super::records::{TxnRecord, TxnValue};
use crate::journal::{DECOMPRESSED_BYTES, Journal, LoadError, read_batches};
use common::kafka::batch::{Batch, BatchError};
use std::collections::BTreeMap;
use tracing::warn;

/// What the partition says of each id. A batch that cannot be read ends it; a record that is not understood, which may be a
/// newer broker's, is passed over.
pub(super) fn read_all(
    journal: &dyn Journal,
    partition: i32,
    max_bytes: usize,
) -> Result<BTreeMap<String, TxnValue>, LoadError> {
    let mut values = BTreeMap::new();
    read_batches(journal, partition, max_bytes, |batch| add_batch(batch, &mut values))?;
    Ok(values)
}

fn add_batch(batch: &Batch, values: &mut BTreeMap<String, TxnValue>) -> Result<(), BatchError> {
    if batch.header.is_control() {
        return Ok(());
    }
    for record in batch.records(DECOMPRESSED_BYTES)? {
        let record = record?;
        match TxnRecord::decode(record.key, record.value) {
            Ok(TxnRecord { transactional_id, value: Some(value) }) => {
                values.insert(transactional_id, value);
            }
            Ok(TxnRecord { transactional_id, value: None }) => {
                values.remove(&transactional_id);
            }
            Err(error) => warn!(offset = record.offset, %error, "a record of the transaction topic cannot be read"),
        }
    }
    Ok(())
}
