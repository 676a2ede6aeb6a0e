//! Keys and values of the records in `__share_group_state`, byte for byte those of Kafka 4.3: ShareSnapshot (0), all that is
//! known of a share partition, and ShareUpdate (1), what changed since. Knows no rule.

use super::{DeliveryState, NO_COUNT, ShareKey, StateBatch};
use bytes::Bytes;
use common::kafka::wire::{DecodeError, EncodeError, Reader, Writer};
use thiserror::Error;

const SNAPSHOT: i16 = 0;
const UPDATE: i16 = 1;
const VALUE_VERSION: i16 = 0;
const DELIVERY_COMPLETE_COUNT: u32 = 0;

/// Everything that is kept of a share partition. Read by whichever broker coordinates it next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Number of this snapshot, which the updates behind it repeat.
    pub snapshot_epoch: i32,
    /// Raised when the state begins anew.
    pub state_epoch: i32,
    /// Of the leader that read the state last.
    pub leader_epoch: i32,
    /// Everything before is done with; -1 if nobody has decided where to begin.
    pub start_offset: i64,
    /// Records from the start offset on that are done with; -1 if unknown (KIP-1226).
    pub delivery_complete_count: i32,
    /// When the state came to be, milliseconds since the epoch.
    pub created: i64,
    /// When it was written last as a whole.
    pub written: i64,
    /// What is known from the start offset on.
    pub batches: Vec<StateBatch>,
}

/// What changed in a share partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Number of the snapshot that it goes with.
    pub snapshot_epoch: i32,
    /// Of the leader that read the state last.
    pub leader_epoch: i32,
    /// The start offset; -1 if it is the same as before.
    pub start_offset: i64,
    /// As in a snapshot.
    pub delivery_complete_count: i32,
    /// What became of records.
    pub batches: Vec<StateBatch>,
}

/// What a record says of a share partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShareValue {
    /// All of it.
    Snapshot(Snapshot),
    /// What changed.
    Update(Update),
    /// Nothing is kept of it any more.
    Gone,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareRecord {
    /// Of which share partition.
    pub key: ShareKey,
    /// What it says.
    pub value: ShareValue,
}

/// Why a record cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RecordError {
    /// A record without key, or an update without value.
    #[error("a record has no key or no value")]
    Missing,
    /// A key or value of a version that is not known.
    #[error("version {0} is unknown")]
    Version(i16),
    /// A state that is not known or never recorded.
    #[error("delivery state {0} is unknown")]
    State(i8),
    /// Malformed bytes.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

impl ShareRecord {
    /// Key and value as they stand in the log. Fails only for a group's name above 32767 bytes.
    pub fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        let kind = if matches!(self.value, ShareValue::Update(_)) { UPDATE } else { SNAPSHOT };
        let mut key = Writer::new();
        key.put_i16(kind);
        key.put_nullable_string(Some(&self.key.group), false)?;
        key.put_uuid(self.key.topic_id);
        key.put_i32(self.key.partition);
        let value = match &self.value {
            ShareValue::Snapshot(snapshot) => Some(encode_snapshot(snapshot)?),
            ShareValue::Update(update) => Some(encode_update(update)?),
            ShareValue::Gone => None,
        };
        Ok((bytes(key)?, value))
    }

    /// Reads key and value.
    pub fn decode(key: Option<Bytes>, value: Option<Bytes>) -> Result<ShareRecord, RecordError> {
        let mut key = Reader::new(key.ok_or(RecordError::Missing)?);
        let kind = key.get_i16()?;
        if !(SNAPSHOT..=UPDATE).contains(&kind) {
            return Err(RecordError::Version(kind));
        }
        let group = key.get_nullable_string(false)?.ok_or(DecodeError::UnexpectedNull)?;
        let key = ShareKey { group, topic_id: key.get_uuid()?, partition: key.get_i32()? };
        let value = match value {
            None if kind == SNAPSHOT => ShareValue::Gone,
            None => return Err(RecordError::Missing),
            Some(value) => {
                let mut from = Reader::new(value);
                match from.get_i16()? {
                    VALUE_VERSION if kind == SNAPSHOT => ShareValue::Snapshot(decode_snapshot(&mut from)?),
                    VALUE_VERSION => ShareValue::Update(decode_update(&mut from)?),
                    version => return Err(RecordError::Version(version)),
                }
            }
        };
        Ok(ShareRecord { key, value })
    }
}

fn encode_snapshot(value: &Snapshot) -> Result<Bytes, EncodeError> {
    let mut out = Writer::new();
    out.put_i16(VALUE_VERSION);
    out.put_i32(value.snapshot_epoch);
    out.put_i32(value.state_epoch);
    out.put_i32(value.leader_epoch);
    out.put_i64(value.start_offset);
    out.put_i64(value.created);
    out.put_i64(value.written);
    put_batches(&mut out, &value.batches)?;
    put_count(&mut out, value.delivery_complete_count)?;
    bytes(out)
}

fn encode_update(value: &Update) -> Result<Bytes, EncodeError> {
    let mut out = Writer::new();
    out.put_i16(VALUE_VERSION);
    out.put_i32(value.snapshot_epoch);
    out.put_i32(value.leader_epoch);
    out.put_i64(value.start_offset);
    put_batches(&mut out, &value.batches)?;
    put_count(&mut out, value.delivery_complete_count)?;
    bytes(out)
}

fn put_batches(out: &mut Writer, batches: &[StateBatch]) -> Result<(), EncodeError> {
    out.put_length(Some(batches.len()), true)?;
    for batch in batches {
        out.put_i64(batch.first);
        out.put_i64(batch.last);
        out.put_i8(batch.state.code());
        out.put_i16(batch.delivery_count);
        out.put_uvarint(0);
    }
    Ok(())
}

fn put_count(out: &mut Writer, count: i32) -> Result<(), EncodeError> {
    if count == NO_COUNT {
        out.put_uvarint(0);
        return Ok(());
    }
    out.put_uvarint(1);
    out.put_tagged(DELIVERY_COMPLETE_COUNT, |out| {
        out.put_i32(count);
        Ok(())
    })
}

fn decode_snapshot(from: &mut Reader) -> Result<Snapshot, RecordError> {
    let mut value = Snapshot {
        snapshot_epoch: from.get_i32()?,
        state_epoch: from.get_i32()?,
        leader_epoch: from.get_i32()?,
        start_offset: from.get_i64()?,
        delivery_complete_count: NO_COUNT,
        created: from.get_i64()?,
        written: from.get_i64()?,
        batches: get_batches(from)?,
    };
    value.delivery_complete_count = get_count(from)?;
    Ok(value)
}

fn decode_update(from: &mut Reader) -> Result<Update, RecordError> {
    let mut value = Update {
        snapshot_epoch: from.get_i32()?,
        leader_epoch: from.get_i32()?,
        start_offset: from.get_i64()?,
        delivery_complete_count: NO_COUNT,
        batches: get_batches(from)?,
    };
    value.delivery_complete_count = get_count(from)?;
    Ok(value)
}

fn get_batches(from: &mut Reader) -> Result<Vec<StateBatch>, RecordError> {
    let mut batches = Vec::new();
    for _ in 0..from.get_array_count(true)?.ok_or(DecodeError::UnexpectedNull)? {
        let (first, last, state) = (from.get_i64()?, from.get_i64()?, from.get_i8()?);
        let state = DeliveryState::from_code(state).ok_or(RecordError::State(state))?;
        batches.push(StateBatch { first, last, state, delivery_count: from.get_i16()? });
        from.skip_tagged_fields()?;
    }
    Ok(batches)
}

fn get_count(from: &mut Reader) -> Result<i32, RecordError> {
    let mut count = NO_COUNT;
    for _ in 0..from.get_uvarint()? {
        let (tag, size) = (from.get_uvarint()?, from.get_uvarint()? as usize);
        let mut field = Reader::new(from.slice(size)?);
        if tag == DELIVERY_COMPLETE_COUNT {
            count = field.get_i32()?;
        }
    }
    Ok(count)
}

fn bytes(out: Writer) -> Result<Bytes, EncodeError> {
    Ok(out.finish()?.into_bytes().expect("nothing but memory was written"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn key() -> ShareKey {
        ShareKey { group: "g".to_owned(), topic_id: Uuid::from_u128(2), partition: 3 }
    }

    #[test]
    fn bytes_are_those_of_kafka() {
        let batches = vec![StateBatch { first: 1, last: 2, state: DeliveryState::Archived, delivery_count: 5 }];
        let snapshot = Snapshot {
            snapshot_epoch: 1,
            state_epoch: 2,
            leader_epoch: 3,
            start_offset: 4,
            delivery_complete_count: 9,
            created: 5,
            written: 6,
            batches: batches.clone(),
        };
        let update =
            Update { snapshot_epoch: 1, leader_epoch: 3, start_offset: -1, delivery_complete_count: NO_COUNT, batches };
        let batch = "02".to_owned() + "0000000000000001" + "0000000000000002" + "04" + "0005" + "00";
        for (value, expected_key, expected) in [
            (
                ShareValue::Snapshot(snapshot),
                "0000",
                Some(
                    "0000".to_owned()
                        + "00000001"
                        + "00000002"
                        + "00000003"
                        + "0000000000000004"
                        + "0000000000000005"
                        + "0000000000000006"
                        + &batch
                        + "01"
                        + "0004"
                        + "00000009",
                ),
            ),
            (
                ShareValue::Update(update),
                "0001",
                Some("0000".to_owned() + "00000001" + "00000003" + "ffffffffffffffff" + &batch + "00"),
            ),
            (ShareValue::Gone, "0000", None),
        ] {
            let record = ShareRecord { key: key(), value };
            let (key, value) = record.encode().unwrap();
            let id = "00000000000000000000000000000002";
            assert_eq!(hex(&key), format!("{expected_key}000167{id}00000003"));
            assert_eq!(value.as_deref().map(hex), expected);
            assert_eq!(ShareRecord::decode(Some(key), value), Ok(record));
        }
    }

    #[test]
    fn bad_bytes_are_told() {
        let (key, _) = ShareRecord { key: key(), value: ShareValue::Gone }.encode().unwrap();
        let decode = |key: &Bytes, value: &[u8]| {
            ShareRecord::decode(Some(key.clone()), Some(Bytes::copy_from_slice(value))).unwrap_err()
        };
        assert_eq!(ShareRecord::decode(None, None), Err(RecordError::Missing));
        assert_eq!(ShareRecord::decode(Some(Bytes::from_static(&[0, 2])), None), Err(RecordError::Version(2)));
        assert_eq!(decode(&key, &[0, 7]), RecordError::Version(7));
        assert!(matches!(decode(&key, &[0, 0, 1]), RecordError::Malformed(_)));
    }
}
