//! What a consumer of committed records makes of an answer to Fetch, as Java's does: records of aborted transactions are
//! passed over, from the list that comes with the answer, until their marker. Asks nobody.

use common::kafka::batch::batches;
use common::kafka::control::{ControlKind, control_kind};
use common::kafka::messages::fetch::PartitionData;
use std::collections::BTreeSet;

/// No batch of the workload decompresses to more.
const RECORDS_BYTES_MAX: usize = 1 << 20;

/// Records with their offsets, and the offset to go on from.
pub(super) type Readable = (Vec<(i64, String)>, i64);

/// The records from `from` on that count.
pub(super) fn readable(data: &PartitionData, from: i64) -> Result<Readable, String> {
    let bytes = data.records.as_ref().map(|records| records.to_bytes().expect("an answer is in memory"));
    let mut begun: Vec<(i64, i64)> =
        data.aborted_transactions.iter().flatten().map(|txn| (txn.first_offset, txn.producer_id)).collect();
    begun.sort_unstable_by_key(|(first_offset, _)| std::cmp::Reverse(*first_offset));
    let mut aborted = BTreeSet::new();
    let (mut found, mut next) = (Vec::new(), from);
    for batch in batches(bytes.unwrap_or_default()) {
        // The last batch may be cut: it comes again, whole.
        let Ok(batch) = batch else { break };
        batch.check_crc().map_err(|error| error.to_string())?;
        let header = &batch.header;
        while let Some((_, producer)) = begun.pop_if(|(first_offset, _)| *first_offset <= header.last_offset()) {
            aborted.insert(producer);
        }
        if header.next_offset() <= next {
            continue;
        }
        let is_aborted = header.is_transactional() && aborted.contains(&header.producer_id);
        let records = batch.records(RECORDS_BYTES_MAX).map_err(|error| error.to_string())?;
        for record in records {
            let record = record.map_err(|error| error.to_string())?;
            if header.is_control() {
                if matches!(record.key.as_ref().map(control_kind), Some(Ok(ControlKind::Abort))) {
                    aborted.remove(&header.producer_id);
                }
            } else if !is_aborted && record.offset >= next {
                let value = String::from_utf8_lossy(&record.value.unwrap_or_default()).into_owned();
                found.push((record.offset, value));
            }
        }
        next = header.next_offset();
    }
    Ok((found, next))
}
