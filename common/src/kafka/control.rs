//! Control records: the markers that end a transaction in a partition (KIP-98). Knows no transaction state.

use bytes::{BufMut, Bytes, BytesMut};

use super::batch::{self, BatchError, BatchSpec, Record};
use super::wire::{DecodeError, Reader};

/// What a control record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlKind {
    /// The transaction's records before it do not count.
    Abort,
    /// The transaction's records before it count.
    Commit,
    /// Another type (KRaft has some); readers pass over it.
    Other(i16),
}

/// A marker that ends a transaction of one producer in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnMarker {
    /// Id of the producer.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// True for commit, false for abort.
    pub is_commit: bool,
    /// Epoch of the transaction coordinator that had it written: leader epoch of its partition of
    /// `__transaction_state`.
    pub coordinator_epoch: i32,
}

/// What the key of a control record says.
pub fn control_kind(key: &Bytes) -> Result<ControlKind, DecodeError> {
    let mut reader = Reader::new(key.clone());
    // Later versions only add behind the type.
    reader.get_i16()?;
    Ok(match reader.get_i16()? {
        0 => ControlKind::Abort,
        1 => ControlKind::Commit,
        other => ControlKind::Other(other),
    })
}

/// The coordinator epoch in the value of a commit or abort marker.
pub fn coordinator_epoch(value: &Bytes) -> Result<i32, DecodeError> {
    let mut reader = Reader::new(value.clone());
    reader.get_i16()?;
    reader.get_i32()
}

/// The batch that ends a transaction, one control record.
pub fn marker_batch(
    marker: &TxnMarker,
    base_offset: i64,
    partition_leader_epoch: i32,
    timestamp: i64,
) -> Result<Bytes, BatchError> {
    let mut key = BytesMut::with_capacity(4);
    key.put_i16(0);
    key.put_i16(i16::from(marker.is_commit));
    let mut value = BytesMut::with_capacity(6);
    value.put_i16(0);
    value.put_i32(marker.coordinator_epoch);
    let record = Record {
        offset: base_offset,
        timestamp,
        key: Some(key.freeze()),
        value: Some(value.freeze()),
        headers: Vec::new(),
    };
    let spec = BatchSpec {
        base_offset,
        partition_leader_epoch,
        producer_id: marker.producer_id,
        producer_epoch: marker.producer_epoch,
        is_transactional: true,
        is_control: true,
        ..BatchSpec::default()
    };
    batch::build(&spec, &[record])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::batch::Batch;

    #[test]
    fn bytes_are_those_of_kafka() {
        // MemoryRecords.withEndTransactionMarker of kafka-clients 3.9.1.
        let theirs = "00000000000000280000004200000002025a9dbe4b00300000000000000000000003e800000000000003e8\
            00000000000000070003ffffffff000000012000000008000000010c00000000000c00";
        let marker = TxnMarker { producer_id: 7, producer_epoch: 3, is_commit: true, coordinator_epoch: 12 };
        let ours = marker_batch(&marker, 40, 2, 1000).unwrap();
        assert_eq!(ours.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), theirs);
    }

    #[test]
    fn a_marker_is_read_back() {
        for is_commit in [true, false] {
            let marker = TxnMarker { producer_id: 7, producer_epoch: 3, is_commit, coordinator_epoch: 12 };
            let batch = Batch::parse(marker_batch(&marker, 40, 2, 1000).unwrap()).unwrap();
            batch.check_crc().unwrap();
            assert!(batch.header.is_control() && batch.header.is_transactional());
            assert_eq!((batch.header.producer_id, batch.header.base_sequence), (7, -1));
            let record = batch.records(100).unwrap().next().unwrap().unwrap();
            let kind = if is_commit { ControlKind::Commit } else { ControlKind::Abort };
            assert_eq!(control_kind(&record.key.unwrap()), Ok(kind));
            assert_eq!(coordinator_epoch(&record.value.unwrap()), Ok(12));
        }
    }
}
