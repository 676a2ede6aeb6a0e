//! Values of the records in `__remote_log_metadata`, byte for byte those of Kafka 3.9 (`RemoteLogMetadataSerde`): a frame
//! version, the record's type and its version as unsigned varints, and the message, whose structs all end in tagged fields.
//! Also which partition tells of which. Records have no key. Knows no rule.

use super::segment::{PartitionDeleteState, Place, RemoteSegment, SegmentState, SegmentUpdate};
use bytes::Bytes;
use common::kafka::wire::{DecodeError, EncodeError, Reader, Writer};
use std::collections::BTreeMap;
use thiserror::Error;

const FRAME_VERSION: u32 = 1;
const VERSION: u32 = 0;
const SEGMENT: u32 = 0;
const UPDATE: u32 = 1;
const PARTITION_DELETE: u32 = 2;

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataRecord {
    /// A segment, as it is when its copy begins.
    Segment(Place, RemoteSegment),
    /// A segment's next state.
    Update(Place, SegmentUpdate),
    /// The whole partition goes.
    PartitionDelete {
        /// Which.
        place: Place,
        /// How far.
        state: PartitionDeleteState,
        /// When it was told, milliseconds since the epoch.
        event_timestamp_ms: i64,
        /// Who told it.
        broker_id: i32,
    },
}

/// Why a record cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RecordError {
    /// Of a frame version, a type or a version that is not known.
    #[error("{what} {number} is unknown")]
    Unknown {
        /// What.
        what: &'static str,
        /// The number.
        number: u32,
    },
    /// A value that cannot be.
    #[error("{0}")]
    Impossible(&'static str),
    /// Malformed bytes.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

impl MetadataRecord {
    /// Whom it tells of.
    pub fn place(&self) -> &Place {
        match self {
            MetadataRecord::Segment(place, _) | MetadataRecord::Update(place, _) => place,
            MetadataRecord::PartitionDelete { place, .. } => place,
        }
    }

    /// As it stands in the log. Fails only for what is longer than the wire's strings and bytes can be.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let mut out = Writer::new();
        let kind = match self {
            MetadataRecord::Segment(..) => SEGMENT,
            MetadataRecord::Update(..) => UPDATE,
            MetadataRecord::PartitionDelete { .. } => PARTITION_DELETE,
        };
        for number in [FRAME_VERSION, kind, VERSION] {
            out.put_uvarint(number);
        }
        match self {
            MetadataRecord::Segment(place, segment) => {
                put_id(&mut out, place, segment.id)?;
                out.put_i64(segment.start_offset);
                out.put_i64(segment.end_offset);
                out.put_i32(segment.broker_id);
                out.put_i64(segment.max_timestamp_ms);
                out.put_i64(segment.event_timestamp_ms);
                out.put_length(Some(segment.epochs.len()), true)?;
                for (epoch, offset) in &segment.epochs {
                    out.put_i32(*epoch);
                    out.put_i64(*offset);
                    out.put_uvarint(0);
                }
                out.put_i32(segment.size_bytes);
                out.put_nullable_bytes(segment.custom.as_ref(), true)?;
                out.put_i8(segment.state.id());
            }
            MetadataRecord::Update(place, update) => {
                put_id(&mut out, place, update.id)?;
                out.put_i32(update.broker_id);
                out.put_i64(update.event_timestamp_ms);
                out.put_nullable_bytes(update.custom.as_ref(), true)?;
                out.put_i8(update.state.id());
            }
            MetadataRecord::PartitionDelete { place, state, event_timestamp_ms, broker_id } => {
                put_place(&mut out, place)?;
                out.put_i32(*broker_id);
                out.put_i64(*event_timestamp_ms);
                out.put_i8(state.id());
            }
        }
        out.put_uvarint(0);
        out.finish()?.into_bytes().map_err(EncodeError::Slice)
    }

    /// Reads a value.
    pub fn decode(value: Bytes) -> Result<MetadataRecord, RecordError> {
        let mut input = Reader::new(value);
        let frame = input.get_uvarint()?;
        if frame != FRAME_VERSION {
            return Err(RecordError::Unknown { what: "frame version", number: frame });
        }
        let kind = input.get_uvarint()?;
        let version = input.get_uvarint()?;
        if version != VERSION {
            return Err(RecordError::Unknown { what: "version", number: version });
        }
        let record = match kind {
            SEGMENT => segment(&mut input)?,
            UPDATE => update(&mut input)?,
            PARTITION_DELETE => partition_delete(&mut input)?,
            number => return Err(RecordError::Unknown { what: "record type", number }),
        };
        input.skip_tagged_fields()?;
        if input.remaining() > 0 {
            return Err(RecordError::Impossible("bytes are left behind the record"));
        }
        Ok(record)
    }
}

fn put_place(out: &mut Writer, place: &Place) -> Result<(), EncodeError> {
    out.put_nullable_string(Some(&place.topic), true)?;
    out.put_uuid(place.topic_id);
    out.put_i32(place.partition);
    out.put_uvarint(0);
    Ok(())
}

fn put_id(out: &mut Writer, place: &Place, id: uuid::Uuid) -> Result<(), EncodeError> {
    put_place(out, place)?;
    out.put_uuid(id);
    out.put_uvarint(0);
    Ok(())
}

fn place(input: &mut Reader) -> Result<Place, RecordError> {
    let topic = input.get_nullable_string(true)?.ok_or(RecordError::Impossible("a topic without name"))?;
    let place = Place { topic: topic.into(), topic_id: input.get_uuid()?, partition: input.get_i32()? };
    input.skip_tagged_fields()?;
    Ok(place)
}

fn place_and_id(input: &mut Reader) -> Result<(Place, uuid::Uuid), RecordError> {
    let place = place(input)?;
    let id = input.get_uuid()?;
    input.skip_tagged_fields()?;
    Ok((place, id))
}

fn state(input: &mut Reader) -> Result<SegmentState, RecordError> {
    SegmentState::of(input.get_i8()?).ok_or(RecordError::Impossible("a segment state that is unknown"))
}

fn segment(input: &mut Reader) -> Result<MetadataRecord, RecordError> {
    let (place, id) = place_and_id(input)?;
    let (start_offset, end_offset) = (input.get_i64()?, input.get_i64()?);
    let broker_id = input.get_i32()?;
    let (max_timestamp_ms, event_timestamp_ms) = (input.get_i64()?, input.get_i64()?);
    let count = input.get_array_count(true)?.ok_or(RecordError::Impossible("no leader epochs"))?;
    let mut epochs = BTreeMap::new();
    for _ in 0..count {
        epochs.insert(input.get_i32()?, input.get_i64()?);
        input.skip_tagged_fields()?;
    }
    let size_bytes = input.get_i32()?;
    let custom = input.get_nullable_bytes(true)?;
    let state = state(input)?;
    if start_offset < 0 || end_offset < start_offset || size_bytes < 0 || epochs.is_empty() {
        return Err(RecordError::Impossible("offsets, size or leader epochs cannot be"));
    }
    let segment = RemoteSegment {
        id,
        start_offset,
        end_offset,
        max_timestamp_ms,
        broker_id,
        event_timestamp_ms,
        size_bytes,
        epochs,
        custom,
        state,
    };
    Ok(MetadataRecord::Segment(place, segment))
}

fn update(input: &mut Reader) -> Result<MetadataRecord, RecordError> {
    let (place, id) = place_and_id(input)?;
    let (broker_id, event_timestamp_ms) = (input.get_i32()?, input.get_i64()?);
    let custom = input.get_nullable_bytes(true)?;
    let update = SegmentUpdate { id, event_timestamp_ms, custom, state: state(input)?, broker_id };
    Ok(MetadataRecord::Update(place, update))
}

fn partition_delete(input: &mut Reader) -> Result<MetadataRecord, RecordError> {
    let place = place(input)?;
    let (broker_id, event_timestamp_ms) = (input.get_i32()?, input.get_i64()?);
    let state = PartitionDeleteState::of(input.get_i8()?);
    let state = state.ok_or(RecordError::Impossible("a partition state that is unknown"))?;
    Ok(MetadataRecord::PartitionDelete { place, state, event_timestamp_ms, broker_id })
}

/// Which partition of `__remote_log_metadata` tells of a partition, of `count` (Kafka's `RemoteLogMetadataTopicPartitioner`).
pub fn metadata_partition(place: &Place, count: i32) -> i32 {
    let (most, least) = place.topic_id.as_u64_pair();
    let mut hash: i32 = 1;
    for part in [hash_of(least), hash_of(most), place.partition] {
        hash = hash.wrapping_mul(31).wrapping_add(part);
    }
    (murmur2(&hash.to_be_bytes()) & i32::MAX) % count.max(1)
}

/// Java's hash of a long.
fn hash_of(value: u64) -> i32 {
    ((value ^ (value >> 32)) as u32).cast_signed()
}

/// The hash by which Kafka's clients spread keys.
fn murmur2(data: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32 ^ (data.len() as u32);
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    for (number, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * number);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    (hash ^ (hash >> 15)).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn place() -> Place {
        Place { topic: "t".into(), topic_id: Uuid::from_u128(0x0102), partition: 3 }
    }

    #[test]
    fn records_have_kafkas_bytes() {
        let topic_id = [&[0; 14][..], &[1, 2]].concat();
        let id = [&[0; 15][..], &[9]].concat();
        // Name, topic id, partition, tags.
        let of_place = [&[2, b't'][..], &topic_id, &[0, 0, 0, 3, 0]].concat();
        let of_segment = [&of_place[..], &id, &[0]].concat();
        let long = |value: i64| value.to_be_bytes();
        let segment = RemoteSegment {
            id: Uuid::from_u128(9),
            start_offset: 5,
            end_offset: 8,
            max_timestamp_ms: 77,
            broker_id: 2,
            event_timestamp_ms: 99,
            size_bytes: 300,
            epochs: BTreeMap::from([(0, 5), (4, 7)]),
            custom: None,
            state: SegmentState::CopyStarted,
        };
        let epochs = [&[3, 0, 0, 0, 0][..], &long(5), &[0, 0, 0, 0, 4], &long(7), &[0]].concat();
        let update = SegmentUpdate {
            id: Uuid::from_u128(9),
            event_timestamp_ms: 99,
            custom: Some(Bytes::from_static(b"xy")),
            state: SegmentState::DeleteStarted,
            broker_id: 2,
        };
        for (record, bytes) in [
            (
                MetadataRecord::Segment(place(), segment),
                [
                    &[1, 0, 0][..],
                    &of_segment,
                    &long(5),
                    &long(8),
                    &[0, 0, 0, 2],
                    &long(77),
                    &long(99),
                    &epochs,
                    &[0, 0, 1, 44],
                    &[0, 0, 0],
                ]
                .concat(),
            ),
            (
                MetadataRecord::Update(place(), update),
                [&[1, 1, 0][..], &of_segment, &[0, 0, 0, 2], &long(99), &[3, b'x', b'y', 2, 0]].concat(),
            ),
            (
                MetadataRecord::PartitionDelete {
                    place: place(),
                    state: PartitionDeleteState::Finished,
                    event_timestamp_ms: 99,
                    broker_id: 2,
                },
                [&[1, 2, 0][..], &of_place, &[0, 0, 0, 2], &long(99), &[2, 0]].concat(),
            ),
        ] {
            assert_eq!(record.encode().unwrap(), bytes, "{record:?}");
            assert_eq!(MetadataRecord::decode(Bytes::from(bytes.clone())), Ok(record));
            for cut in 0..bytes.len() {
                MetadataRecord::decode(Bytes::copy_from_slice(&bytes[..cut])).unwrap_err();
            }
            let longer = Bytes::from([&bytes[..], &[0]].concat());
            MetadataRecord::decode(longer).unwrap_err();
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for bytes in [&[0, 0, 0][..], &[2, 0, 0], &[1, 9, 0], &[1, 0, 1], &[]] {
            MetadataRecord::decode(Bytes::copy_from_slice(bytes)).unwrap_err();
        }
    }

    /// The hashes are those of Kafka's `UtilsTest.testMurmur2`.
    #[test]
    fn partitions_are_spread_as_kafka_does() {
        for (text, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()), expected, "{text}");
        }
        let spread: Vec<i32> =
            (0..6).map(|partition| metadata_partition(&Place { partition, ..place() }, 50)).collect();
        assert!(spread.iter().all(|partition| (0..50).contains(partition)), "{spread:?}");
    }
}
