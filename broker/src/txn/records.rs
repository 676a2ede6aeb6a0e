//! Keys and values of the records in `__transaction_state`, byte for byte those of Kafka: value version 0, and version 1
//! with its tagged fields where transaction.version 1 or 2 is in force (KIP-915, KIP-890). Knows no rule.

use bytes::Bytes;
use common::kafka::wire::{DecodeError, EncodeError, Reader, Writer};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

const KEY: i16 = 0;
const PREVIOUS_PRODUCER_ID: u32 = 0;
const NEXT_PRODUCER_ID: u32 = 1;
const CLIENT_VERSION: u32 = 2;
/// A producer id that is none.
pub const NO_PRODUCER_ID: i64 = -1;
/// An epoch that is none.
pub const NO_EPOCH: i16 = -1;

/// Topic and partition.
pub type Place = (String, i32);

/// What a transactional id is doing. Empty and Complete* -> Ongoing when a partition is added -> PrepareCommit or
/// PrepareAbort when the end is decided -> CompleteCommit or CompleteAbort when every partition has its marker; those
/// and Empty -> Empty when a producer begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TxnState {
    /// No transaction since the producer began.
    #[default]
    Empty,
    /// A transaction is open.
    Ongoing,
    /// It is committed; markers are being written.
    PrepareCommit,
    /// It is aborted; markers are being written.
    PrepareAbort,
    /// The last transaction was committed.
    CompleteCommit,
    /// The last transaction was aborted.
    CompleteAbort,
}

impl TxnState {
    const ALL: [TxnState; 6] = [
        TxnState::Empty,
        TxnState::Ongoing,
        TxnState::PrepareCommit,
        TxnState::PrepareAbort,
        TxnState::CompleteCommit,
        TxnState::CompleteAbort,
    ];

    /// Its name in ListTransactions and DescribeTransactions.
    pub fn name(self) -> &'static str {
        match self {
            TxnState::Empty => "Empty",
            TxnState::Ongoing => "Ongoing",
            TxnState::PrepareCommit => "PrepareCommit",
            TxnState::PrepareAbort => "PrepareAbort",
            TxnState::CompleteCommit => "CompleteCommit",
            TxnState::CompleteAbort => "CompleteAbort",
        }
    }

    /// True for the names that Kafka knows, also of states that are never recorded.
    pub fn is_name(name: &str) -> bool {
        name == "Dead" || name == "PrepareEpochFence" || TxnState::ALL.iter().any(|state| state.name() == name)
    }

    /// True if there is no transaction whose fate is open.
    pub fn is_settled(self) -> bool {
        matches!(self, TxnState::Empty | TxnState::CompleteCommit | TxnState::CompleteAbort)
    }

    /// While markers are written: whether they commit.
    pub fn prepared(self) -> Option<bool> {
        match self {
            TxnState::PrepareCommit => Some(true),
            TxnState::PrepareAbort => Some(false),
            _ => None,
        }
    }
}

/// Everything that is kept of a transactional id. Read by whichever broker coordinates it next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnValue {
    /// Id of its producer.
    pub producer_id: i64,
    /// The id before the last change; only in version 1 (KIP-890).
    pub previous_producer_id: i64,
    /// The id that the producer gets when its markers are written, its epochs being used up; only in version 1.
    pub next_producer_id: i64,
    /// Current epoch.
    pub producer_epoch: i16,
    /// The epoch before, if the producer itself asked for a new one (KIP-360). Not recorded.
    pub last_producer_epoch: i16,
    /// `transaction.timeout.ms` of the producer.
    pub timeout_ms: i32,
    /// State.
    pub state: TxnState,
    /// Partitions of the open transaction.
    pub places: BTreeSet<Place>,
    /// When the transaction began, milliseconds since the epoch; -1 if none has.
    pub start_timestamp: i64,
    /// When this was written.
    pub last_update_timestamp: i64,
    /// transaction.version by which the client ended its last transaction; only in version 1.
    pub client_version: i16,
}

/// A record: a transactional id and what is kept of it; `None` is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnRecord {
    /// The id.
    pub transactional_id: String,
    /// What is kept.
    pub value: Option<TxnValue>,
}

/// Why a record cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RecordError {
    /// A record without key.
    #[error("a record has no key")]
    NoKey,
    /// A key or value of a version that is not known.
    #[error("version {0} is unknown")]
    Version(i16),
    /// A state that is not known or never recorded.
    #[error("state {0} is unknown")]
    State(i8),
    /// Malformed bytes.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

impl TxnRecord {
    /// Key and value as they stand in the log; `is_flexible` writes version 1. Fails only for a text above 32767 bytes.
    pub fn encode(&self, is_flexible: bool) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        let mut key = Writer::new();
        key.put_i16(KEY);
        key.put_nullable_string(Some(&self.transactional_id), false)?;
        let value = self.value.as_ref().map(|value| encode_value(value, is_flexible)).transpose()?;
        Ok((bytes(key)?, value))
    }

    /// Reads key and value.
    pub fn decode(key: Option<Bytes>, value: Option<Bytes>) -> Result<TxnRecord, RecordError> {
        let mut key = Reader::new(key.ok_or(RecordError::NoKey)?);
        match key.get_i16()? {
            KEY => {}
            version => return Err(RecordError::Version(version)),
        }
        let transactional_id = text(&mut key, false)?;
        Ok(TxnRecord { transactional_id, value: value.map(decode_value).transpose()? })
    }
}

fn encode_value(value: &TxnValue, is_flexible: bool) -> Result<Bytes, EncodeError> {
    let mut out = Writer::new();
    out.put_i16(i16::from(is_flexible));
    out.put_i64(value.producer_id);
    out.put_i16(value.producer_epoch);
    out.put_i32(value.timeout_ms);
    out.put_i8(value.state as i8);
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in &value.places {
        topics.entry(topic).or_default().push(*partition);
    }
    // Kafka writes null for Empty and an empty array for the others.
    out.put_length((value.state != TxnState::Empty).then_some(topics.len()), is_flexible)?;
    for (topic, partitions) in topics {
        out.put_nullable_string(Some(topic), is_flexible)?;
        out.put_length(Some(partitions.len()), is_flexible)?;
        partitions.iter().for_each(|partition| out.put_i32(*partition));
        if is_flexible {
            out.put_uvarint(0);
        }
    }
    out.put_i64(value.last_update_timestamp);
    out.put_i64(value.start_timestamp);
    if is_flexible {
        let ids = [(PREVIOUS_PRODUCER_ID, value.previous_producer_id), (NEXT_PRODUCER_ID, value.next_producer_id)];
        let set = ids.iter().filter(|(_, id)| *id != NO_PRODUCER_ID);
        out.put_uvarint(u32::try_from(set.clone().count()).unwrap_or(0) + u32::from(value.client_version != 0));
        for (tag, id) in set {
            out.put_tagged(*tag, |out| {
                out.put_i64(*id);
                Ok(())
            })?;
        }
        if value.client_version != 0 {
            out.put_tagged(CLIENT_VERSION, |out| {
                out.put_i16(value.client_version);
                Ok(())
            })?;
        }
    }
    bytes(out)
}

fn decode_value(value: Bytes) -> Result<TxnValue, RecordError> {
    let mut from = Reader::new(value);
    let version = from.get_i16()?;
    if !(0..=1).contains(&version) {
        return Err(RecordError::Version(version));
    }
    let is_flexible = version == 1;
    let (producer_id, producer_epoch, timeout_ms) = (from.get_i64()?, from.get_i16()?, from.get_i32()?);
    let status = from.get_i8()?;
    let state = usize::try_from(status).ok().and_then(|index| TxnState::ALL.get(index).copied());
    let state = state.ok_or(RecordError::State(status))?;
    let mut places = BTreeSet::new();
    for _ in 0..from.get_array_count(is_flexible)?.unwrap_or(0) {
        let topic = text(&mut from, is_flexible)?;
        for _ in 0..from.get_array_count(is_flexible)?.ok_or(DecodeError::UnexpectedNull)? {
            places.insert((topic.clone(), from.get_i32()?));
        }
        if is_flexible {
            from.skip_tagged_fields()?;
        }
    }
    let mut value = TxnValue {
        producer_id,
        previous_producer_id: NO_PRODUCER_ID,
        next_producer_id: NO_PRODUCER_ID,
        producer_epoch,
        last_producer_epoch: NO_EPOCH,
        timeout_ms,
        state,
        places,
        last_update_timestamp: from.get_i64()?,
        start_timestamp: from.get_i64()?,
        client_version: 0,
    };
    if is_flexible {
        for _ in 0..from.get_uvarint()? {
            let (tag, size) = (from.get_uvarint()?, from.get_uvarint()? as usize);
            let mut field = Reader::new(from.slice(size)?);
            match tag {
                PREVIOUS_PRODUCER_ID => value.previous_producer_id = field.get_i64()?,
                NEXT_PRODUCER_ID => value.next_producer_id = field.get_i64()?,
                CLIENT_VERSION => value.client_version = field.get_i16()?,
                _ => {}
            }
        }
    }
    Ok(value)
}

fn text(from: &mut Reader, is_flexible: bool) -> Result<String, DecodeError> {
    from.get_nullable_string(is_flexible)?.ok_or(DecodeError::UnexpectedNull)
}

fn bytes(out: Writer) -> Result<Bytes, EncodeError> {
    Ok(out.finish()?.into_bytes().expect("nothing but memory was written"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(state: TxnState, places: &[(&str, i32)]) -> TxnValue {
        TxnValue {
            producer_id: 7,
            previous_producer_id: NO_PRODUCER_ID,
            next_producer_id: NO_PRODUCER_ID,
            producer_epoch: 3,
            last_producer_epoch: NO_EPOCH,
            timeout_ms: 60_000,
            state,
            places: places.iter().map(|(topic, partition)| ((*topic).to_owned(), *partition)).collect(),
            start_timestamp: 5,
            last_update_timestamp: 6,
            client_version: 0,
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn bytes_are_those_of_kafka() {
        let rotated = TxnValue {
            previous_producer_id: 6,
            next_producer_id: 9,
            client_version: 2,
            ..value(TxnState::PrepareCommit, &[("t", 1)])
        };
        for (value, is_flexible, expected) in [
            (
                value(TxnState::Empty, &[]),
                false,
                "000000000000000000070003".to_owned()
                    + "0000ea60"
                    + "00"
                    + "ffffffff"
                    + "0000000000000006"
                    + "0000000000000005",
            ),
            (
                value(TxnState::Ongoing, &[("t", 1), ("t", 0)]),
                false,
                "000000000000000000070003".to_owned()
                    + "0000ea60"
                    + "01"
                    + "00000001"
                    + "000174"
                    + "00000002"
                    + "0000000000000001"
                    + "0000000000000006"
                    + "0000000000000005",
            ),
            (
                rotated,
                true,
                "000100000000000000070003".to_owned()
                    + "0000ea60"
                    + "02"
                    + "02"
                    + "0274"
                    + "02"
                    + "00000001"
                    + "00"
                    + "0000000000000006"
                    + "0000000000000005"
                    + "03"
                    + "0008"
                    + "0000000000000006"
                    + "0108"
                    + "0000000000000009"
                    + "0202"
                    + "0002",
            ),
        ] {
            let record = TxnRecord { transactional_id: "id".to_owned(), value: Some(value) };
            let (key, bytes) = record.encode(is_flexible).unwrap();
            assert_eq!(hex(&key), "000000026964");
            assert_eq!(hex(bytes.as_ref().unwrap()), expected);
            assert_eq!(TxnRecord::decode(Some(key), bytes), Ok(record));
        }
    }

    #[test]
    fn tombstones_and_bad_bytes() {
        let record = TxnRecord { transactional_id: "id".to_owned(), value: None };
        let (key, none) = record.encode(true).unwrap();
        assert_eq!(TxnRecord::decode(Some(key.clone()), none), Ok(record));
        assert_eq!(TxnRecord::decode(None, None), Err(RecordError::NoKey));
        assert_eq!(TxnRecord::decode(Some(Bytes::from_static(&[0, 1])), None), Err(RecordError::Version(1)));
        let state = "0000000000000000000700030000ea6007ffffffff00000000000000060000000000000005";
        let bytes: Vec<u8> =
            (0..state.len()).step_by(2).map(|at| u8::from_str_radix(&state[at..at + 2], 16).unwrap()).collect();
        assert_eq!(TxnRecord::decode(Some(key), Some(bytes.into())), Err(RecordError::State(7)));
    }
}
