//! Keys and values of the records in `__consumer_offsets`, byte for byte those of Kafka 3.9: a version in front, then the
//! fields. Writes versions 1 and 3 as Kafka does, reads 0 to 4. Knows no group's state.

use super::consumer_records::{self, ConsumerRecord};
use super::share_records::{self, ShareRecord};
use bytes::Bytes;
use common::kafka::wire::{DecodeError, EncodeError, Reader, Writer};
use thiserror::Error;

/// Versions of keys: 0 and 1 are offsets, 2 is a group of the classic protocol, 3 to 8 of the new one, 10 to 15 a share group.
const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
/// Highest version that brokers before Kafka 3.5 read (KIP-915).
const VALUE: i16 = 3;
/// The only version with an expiry time of its own.
const OFFSET_VALUE_WITH_EXPIRY: i16 = 1;

/// A group, topic and partition for which an offset is committed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OffsetKey {
    /// Group id.
    pub group: String,
    /// Topic name.
    pub topic: String,
    /// Partition.
    pub partition: i32,
}

/// A committed offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetValue {
    /// Next offset to read.
    pub offset: i64,
    /// Epoch of the leader from which the last record was read; -1 if unknown (KIP-320).
    pub leader_epoch: i32,
    /// The client's own text.
    pub metadata: String,
    /// When it was committed, milliseconds since the epoch.
    pub commit_timestamp: i64,
    /// When it expires, for clients before KIP-211 that said so.
    pub expire_timestamp: Option<i64>,
}

/// A group of the classic protocol in one generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupValue {
    /// `consumer`, `connect`, ...; empty if nobody ever joined.
    pub protocol_type: String,
    /// Number of the generation.
    pub generation: i32,
    /// Chosen protocol; `None` without members.
    pub protocol: Option<String>,
    /// Member id of the leader; `None` without members.
    pub leader: Option<String>,
    /// When the group entered this state, milliseconds since the epoch; -1 if unknown. Counts for expiry (KIP-211).
    pub current_state_timestamp: i64,
    /// Members with what they were assigned.
    pub members: Vec<MemberValue>,
}

/// A member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberValue {
    /// Member id.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub group_instance_id: Option<String>,
    /// The client's name for itself.
    pub client_id: String,
    /// The client's address.
    pub client_host: String,
    /// How long the member may take to rejoin, milliseconds.
    pub rebalance_timeout_ms: i32,
    /// How long the member may be silent, milliseconds.
    pub session_timeout_ms: i32,
    /// Its metadata for the chosen protocol.
    pub subscription: Bytes,
    /// What it was assigned.
    pub assignment: Bytes,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRecord {
    /// An offset was committed; `None` is a tombstone.
    Offset(OffsetKey, Option<OffsetValue>),
    /// A group entered a generation; `None` is a tombstone.
    Group(String, Option<GroupValue>),
    /// Of a group of the new consumer protocol.
    Consumer(String, ConsumerRecord),
    /// Of a share group.
    Share(String, ShareRecord),
    /// Written by a newer broker, and of no use here.
    Unknown(i16),
}

/// Why a record cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RecordError {
    /// A record without key.
    #[error("a record has no key")]
    NoKey,
    /// A value of a version that does not exist.
    #[error("value version {0} is unknown")]
    Version(i16),
    /// Malformed bytes.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

impl GroupRecord {
    /// Key and value as they stand in the log. Fails only for a text above 32767 bytes. An unknown record is not
    /// written.
    pub fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        match self {
            GroupRecord::Offset(key, value) => {
                let mut out = Writer::new();
                out.put_i16(OFFSET_KEY);
                text(&mut out, &key.group)?;
                text(&mut out, &key.topic)?;
                out.put_i32(key.partition);
                Ok((bytes(out)?, value.as_ref().map(offset_value).transpose()?))
            }
            GroupRecord::Group(group, value) => {
                let mut out = Writer::new();
                out.put_i16(GROUP_KEY);
                text(&mut out, group)?;
                Ok((bytes(out)?, value.as_ref().map(group_value).transpose()?))
            }
            GroupRecord::Consumer(group, record) => consumer_records::encode(group, record),
            GroupRecord::Share(group, record) => share_records::encode(group, record),
            GroupRecord::Unknown(version) => Err(EncodeError::UnsupportedVersion { key: -1, version: *version }),
        }
    }

    /// Reads key and value.
    pub fn decode(key: Option<Bytes>, value: Option<Bytes>) -> Result<GroupRecord, RecordError> {
        let mut key = Reader::new(key.ok_or(RecordError::NoKey)?);
        match key.get_i16()? {
            0 | OFFSET_KEY => {
                let key =
                    OffsetKey { group: get_text(&mut key)?, topic: get_text(&mut key)?, partition: key.get_i32()? };
                Ok(GroupRecord::Offset(key, value.map(get_offset_value).transpose()?))
            }
            GROUP_KEY => Ok(GroupRecord::Group(get_text(&mut key)?, value.map(get_group_value).transpose()?)),
            version => {
                let found = consumer_records::decode(version, &mut key, value.clone())?;
                if let Some((group, record)) = found {
                    return Ok(GroupRecord::Consumer(group, record));
                }
                Ok(match share_records::decode(version, &mut key, value)? {
                    Some((group, record)) => GroupRecord::Share(group, record),
                    None => GroupRecord::Unknown(version),
                })
            }
        }
    }
}

fn offset_value(value: &OffsetValue) -> Result<Bytes, EncodeError> {
    let mut out = Writer::new();
    let version = if value.expire_timestamp.is_some() { OFFSET_VALUE_WITH_EXPIRY } else { VALUE };
    out.put_i16(version);
    out.put_i64(value.offset);
    if version >= 3 {
        out.put_i32(value.leader_epoch);
    }
    text(&mut out, &value.metadata)?;
    out.put_i64(value.commit_timestamp);
    if let Some(expiry) = value.expire_timestamp {
        out.put_i64(expiry);
    }
    bytes(out)
}

fn get_offset_value(value: Bytes) -> Result<OffsetValue, RecordError> {
    let mut from = Reader::new(value);
    let version = from.get_i16()?;
    if !(0..=4).contains(&version) {
        return Err(RecordError::Version(version));
    }
    let flexible = version >= 4;
    let offset = from.get_i64()?;
    let leader_epoch = if version >= 3 { from.get_i32()? } else { -1 };
    let metadata = from.get_nullable_string(flexible)?.ok_or(DecodeError::UnexpectedNull)?;
    let commit_timestamp = from.get_i64()?;
    let expiry = if version == OFFSET_VALUE_WITH_EXPIRY { from.get_i64()? } else { -1 };
    let expire_timestamp = (expiry != -1).then_some(expiry);
    Ok(OffsetValue { offset, leader_epoch, metadata, commit_timestamp, expire_timestamp })
}

fn group_value(value: &GroupValue) -> Result<Bytes, EncodeError> {
    let mut out = Writer::new();
    out.put_i16(VALUE);
    text(&mut out, &value.protocol_type)?;
    out.put_i32(value.generation);
    out.put_nullable_string(value.protocol.as_deref(), false)?;
    out.put_nullable_string(value.leader.as_deref(), false)?;
    out.put_i64(value.current_state_timestamp);
    out.put_length(Some(value.members.len()), false)?;
    for member in &value.members {
        text(&mut out, &member.member_id)?;
        out.put_nullable_string(member.group_instance_id.as_deref(), false)?;
        text(&mut out, &member.client_id)?;
        text(&mut out, &member.client_host)?;
        out.put_i32(member.rebalance_timeout_ms);
        out.put_i32(member.session_timeout_ms);
        out.put_nullable_bytes(Some(&member.subscription), false)?;
        out.put_nullable_bytes(Some(&member.assignment), false)?;
    }
    bytes(out)
}

fn get_group_value(value: Bytes) -> Result<GroupValue, RecordError> {
    let mut from = Reader::new(value);
    let version = from.get_i16()?;
    if !(0..=4).contains(&version) {
        return Err(RecordError::Version(version));
    }
    let flexible = version >= 4;
    let mut group = GroupValue {
        protocol_type: from.get_nullable_string(flexible)?.ok_or(DecodeError::UnexpectedNull)?,
        generation: from.get_i32()?,
        protocol: from.get_nullable_string(flexible)?,
        leader: from.get_nullable_string(flexible)?,
        current_state_timestamp: if version >= 2 { from.get_i64()? } else { -1 },
        members: Vec::new(),
    };
    let count = from.get_array_count(flexible)?.ok_or(DecodeError::UnexpectedNull)?;
    for _ in 0..count {
        group.members.push(get_member(&mut from, version)?);
    }
    Ok(group)
}

fn get_member(from: &mut Reader, version: i16) -> Result<MemberValue, DecodeError> {
    let flexible = version >= 4;
    let required = |value: Option<String>| value.ok_or(DecodeError::UnexpectedNull);
    let member_id = required(from.get_nullable_string(flexible)?)?;
    let group_instance_id = if version >= 3 { from.get_nullable_string(flexible)? } else { None };
    let client_id = required(from.get_nullable_string(flexible)?)?;
    let client_host = required(from.get_nullable_string(flexible)?)?;
    let rebalance_timeout_ms = if version >= 1 { Some(from.get_i32()?) } else { None };
    let session_timeout_ms = from.get_i32()?;
    let subscription = from.get_nullable_bytes(flexible)?.ok_or(DecodeError::UnexpectedNull)?;
    let assignment = from.get_nullable_bytes(flexible)?.ok_or(DecodeError::UnexpectedNull)?;
    if flexible {
        from.skip_tagged_fields()?;
    }
    Ok(MemberValue {
        member_id,
        group_instance_id,
        client_id,
        client_host,
        // Before version 1 there was one timeout for both.
        rebalance_timeout_ms: rebalance_timeout_ms.unwrap_or(session_timeout_ms),
        session_timeout_ms,
        subscription,
        assignment,
    })
}

fn text(out: &mut Writer, value: &str) -> Result<(), EncodeError> {
    out.put_nullable_string(Some(value), false)
}

fn get_text(from: &mut Reader) -> Result<String, DecodeError> {
    from.get_nullable_string(false)?.ok_or(DecodeError::UnexpectedNull)
}

fn bytes(out: Writer) -> Result<Bytes, EncodeError> {
    Ok(out.finish()?.into_bytes()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn check(record: GroupRecord, key: &str, value: Option<&str>) {
        let (found_key, found_value) = record.encode().unwrap();
        assert_eq!(hex(&found_key), key.replace(' ', ""));
        assert_eq!(found_value.as_ref().map(|value| hex(value)), value.map(|value| value.replace(' ', "")));
        assert_eq!(GroupRecord::decode(Some(found_key), found_value).unwrap(), record);
    }

    fn offset_key() -> OffsetKey {
        OffsetKey { group: "g".to_owned(), topic: "t".to_owned(), partition: 2 }
    }

    #[test]
    fn records_have_kafkas_bytes() {
        let mut offset = OffsetValue { offset: 5, leader_epoch: 1, metadata: "m".to_owned(), ..OffsetValue::default() };
        offset.commit_timestamp = 255;
        let key = "0001 0001 67 0001 74 00000002";
        check(
            GroupRecord::Offset(offset_key(), Some(offset.clone())),
            key,
            Some("0003 0000000000000005 00000001 0001 6d 00000000000000ff"),
        );
        offset.expire_timestamp = Some(256);
        offset.leader_epoch = -1;
        check(
            GroupRecord::Offset(offset_key(), Some(offset)),
            key,
            Some("0001 0000000000000005 0001 6d 00000000000000ff 0000000000000100"),
        );
        check(GroupRecord::Offset(offset_key(), None), key, None);
        let member = MemberValue {
            member_id: "a".to_owned(),
            client_id: "c".to_owned(),
            client_host: "/h".to_owned(),
            rebalance_timeout_ms: 3,
            session_timeout_ms: 4,
            subscription: Bytes::from_static(b"s"),
            ..MemberValue::default()
        };
        let group = GroupValue {
            protocol_type: "consumer".to_owned(),
            generation: 1,
            protocol: Some("range".to_owned()),
            leader: Some("a".to_owned()),
            current_state_timestamp: 9,
            members: vec![member],
        };
        check(
            GroupRecord::Group("g".to_owned(), Some(group)),
            "0002 0001 67",
            Some(
                "0003 0008 636f6e73756d6572 00000001 0005 72616e6765 0001 61 0000000000000009 00000001 \
                 0001 61 ffff 0001 63 0002 2f68 00000003 00000004 00000001 73 00000000",
            ),
        );
    }

    #[test]
    fn old_and_foreign_records_are_read() {
        let key = Bytes::from_static(&[0, 9, 0, 1]);
        assert_eq!(GroupRecord::decode(Some(key), None).unwrap(), GroupRecord::Unknown(9));
        assert_eq!(GroupRecord::decode(None, None), Err(RecordError::NoKey));
        // Version 0 of a group: neither state time nor instance id nor rebalance timeout.
        let value = [0, 0, 0, 1, b'p', 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1];
        let member = [0, 1, b'a', 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0];
        let value = Bytes::from([&value[..], &member[..]].concat());
        let found = GroupRecord::decode(Some(Bytes::from_static(&[0, 2, 0, 1, b'g'])), Some(value)).unwrap();
        let GroupRecord::Group(_, Some(group)) = found else { panic!("{found:?}") };
        assert_eq!((group.generation, group.current_state_timestamp), (7, -1));
        assert_eq!((group.members[0].rebalance_timeout_ms, group.members[0].session_timeout_ms), (9, 9));
    }
}
