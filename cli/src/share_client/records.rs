//! The records in an answer to ShareFetch that are this member's: whole batches come, of which it may have acquired parts.
//! Talks to nobody.

use super::Acknowledge;
use common::kafka::batch::{Batch, Record, TimestampType, batches};
use common::kafka::messages::share_fetch::PartitionData;

/// A batch with more bytes than this when decompressed is not looked into.
const RECORDS_BYTES_MAX: usize = 1 << 30;

/// What a member acquired.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    /// A record.
    Record {
        record: Record,
        /// The broker's clock gave the timestamp.
        is_log_append_time: bool,
        /// Of its batch.
        leader_epoch: i32,
        delivery_count: i16,
    },
    /// Offsets, first and last, that have no record for the tool, and what the broker is to hear of them.
    Nothing(i64, i64, Acknowledge),
}

/// What of a partition's answer the member acquired, in order of offsets: every acquired offset is in exactly one piece.
pub(super) fn delivered(data: &PartitionData) -> Vec<Piece> {
    let bytes = data.records.to_bytes().unwrap_or_default();
    let all: Vec<(Batch, Option<Vec<Record>>)> =
        batches(bytes).map_while(Result::ok).map(|batch| (batch.clone(), records(&batch))).collect();
    let mut pieces = Vec::new();
    for range in &data.acquired_records {
        let mut next = range.first_offset;
        for (batch, records) in &all {
            let (first, last) =
                (batch.header.base_offset.max(range.first_offset), batch.header.last_offset().min(range.last_offset));
            if first > last {
                continue;
            }
            let Some(records) = records else {
                // Nobody could read it.
                gap(&mut pieces, next, first - 1);
                pieces.push(Piece::Nothing(first, last, Acknowledge::Reject));
                next = last + 1;
                continue;
            };
            let is_log_append_time = batch.header.timestamp_type() == TimestampType::LogAppendTime;
            for record in records.iter().filter(|record| (first..=last).contains(&record.offset)) {
                gap(&mut pieces, next, record.offset - 1);
                next = record.offset + 1;
                pieces.push(Piece::Record {
                    record: record.clone(),
                    is_log_append_time,
                    leader_epoch: batch.header.partition_leader_epoch,
                    delivery_count: range.delivery_count,
                });
            }
        }
        gap(&mut pieces, next, range.last_offset);
    }
    pieces
}

fn gap(pieces: &mut Vec<Piece>, first: i64, last: i64) {
    if first <= last {
        pieces.push(Piece::Nothing(first, last, Acknowledge::Gap));
    }
}

/// The records of a batch; none of one that only marks the end of a transaction. `None`: it cannot be read.
fn records(batch: &Batch) -> Option<Vec<Record>> {
    batch.check_crc().ok()?;
    if batch.header.is_control() {
        return Some(Vec::new());
    }
    batch.records(RECORDS_BYTES_MAX).ok()?.collect::<Result<_, _>>().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use common::kafka::batch::{BatchSpec, build};
    use common::kafka::messages::share_fetch::AcquiredRecords;
    use common::kafka::records::Records;

    fn batch(offsets: &[i64], is_control: bool) -> Vec<u8> {
        let record = |offset: &i64| Record { offset: *offset, value: Some(Bytes::from("v")), ..Record::default() };
        let records: Vec<Record> = offsets.iter().map(record).collect();
        let spec = BatchSpec { base_offset: offsets[0], partition_leader_epoch: 5, is_control, ..BatchSpec::default() };
        build(&spec, &records).unwrap().to_vec()
    }

    #[test]
    fn each_acquired_offset_is_in_one_piece() {
        let mut spoilt = batch(&[20, 21, 22], false);
        let last = spoilt.len() - 1;
        spoilt[last] ^= 1;
        let log = [batch(&[0, 1, 2, 3], false), batch(&[5, 8], false), batch(&[9], true), spoilt].concat();
        let nothing = |first, last, word| format!("{first}-{last} {word:?}");
        for (acquired, expected) in [
            (&[(0, 3, 1)][..], vec!["0 x1".to_owned(), "1 x1".into(), "2 x1".into(), "3 x1".into()]),
            (
                &[(1, 1, 2), (3, 6, 1)],
                vec![
                    "1 x2".to_owned(),
                    "3 x1".into(),
                    nothing(4, 4, Acknowledge::Gap),
                    "5 x1".into(),
                    nothing(6, 6, Acknowledge::Gap),
                ],
            ),
            (&[(8, 12, 1)], vec!["8 x1".to_owned(), nothing(9, 12, Acknowledge::Gap)]),
            (&[(9, 21, 3)], vec![nothing(9, 19, Acknowledge::Gap), nothing(20, 21, Acknowledge::Reject)]),
            (&[], vec![]),
        ] {
            let acquired_records = acquired
                .iter()
                .map(|&(first_offset, last_offset, delivery_count)| AcquiredRecords {
                    first_offset,
                    last_offset,
                    delivery_count,
                })
                .collect();
            let records = Records::from(Bytes::from(log.clone()));
            let data = PartitionData { records, acquired_records, ..PartitionData::default() };
            let found: Vec<String> = delivered(&data)
                .into_iter()
                .map(|piece| match piece {
                    Piece::Record { record, delivery_count, leader_epoch: 5, .. } => {
                        format!("{} x{delivery_count}", record.offset)
                    }
                    Piece::Record { leader_epoch, .. } => format!("epoch {leader_epoch}"),
                    Piece::Nothing(first, last, word) => nothing(first, last, word),
                })
                .collect();
            assert_eq!(found, expected, "{acquired:?}");
        }
    }
}
