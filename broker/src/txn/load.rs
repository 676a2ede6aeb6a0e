//! Reads one partition of `__transaction_state` from its first offset to its end: the last record of each transactional id
//! counts. Changes nothing that is being served.

use super::records::{TxnRecord, TxnValue};
use crate::journal::{Journal, StoreError};
use common::kafka::batch::{self, Batch, BatchError};
use std::collections::BTreeMap;
use tracing::warn;

/// A batch of the topic never decompresses to more; the largest request is a tenth of this.
const DECOMPRESSED_BYTES: usize = 1 << 30;

/// What the partition says of each id. An error of the log ends it; a record that cannot be read is passed over.
pub(super) fn read_all(
    journal: &dyn Journal,
    partition: i32,
    max_bytes: usize,
) -> Result<BTreeMap<String, TxnValue>, StoreError> {
    let mut values = BTreeMap::new();
    let (mut offset, end) = journal.bounds(partition).ok_or(StoreError::NotLeader)?;
    while offset < end {
        let chunk = journal.read(partition, offset, max_bytes)?;
        let before = offset;
        for batch in batch::batches(chunk) {
            let read = match batch {
                Ok(batch) => {
                    offset = offset.max(batch.header.next_offset());
                    add_batch(&batch, &mut values)
                }
                // The last batch of a chunk may be cut; the next chunk begins with it.
                Err(BatchError::Truncated { .. }) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = read {
                warn!(partition, offset, %error, "a batch of the transaction topic cannot be read");
            }
        }
        if offset == before {
            break;
        }
    }
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
