//! The records of share groups (KIP-932), byte for byte those of Kafka 4.3: keys 10 to 15, values of version 0 with compact
//! lengths and tagged fields. Knows no group's state.

use super::consumer_records::{
    MemberState, Partitions, bytes, count, get_partitions, put_partitions, read, text, value,
};
use super::records::RecordError;
use bytes::Bytes;
use common::kafka::wire::{DecodeError, EncodeError, Reader, Writer};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Versions of keys, which say what the record is.
const MEMBER_KEY: i16 = 10;
const GROUP_KEY: i16 = 11;
const TARGET_EPOCH_KEY: i16 = 12;
const TARGET_KEY: i16 = 13;
const CURRENT_KEY: i16 = 14;
const STATES_KEY: i16 = 15;

/// What a record says of a share group; `None` is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShareRecord {
    /// A member and its subscription.
    Member(String, Option<ShareMemberValue>),
    /// The group is in this epoch.
    Epoch(Option<ShareEpochValue>),
    /// The target assignment belongs to this epoch.
    TargetEpoch(Option<i32>),
    /// What a member shall have.
    Target(String, Option<Partitions>),
    /// What a member has.
    Current(String, Option<ShareCurrentValue>),
    /// The partitions of which the group has a state.
    States(Option<StatePartitions>),
}

/// A member and its subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShareMemberValue {
    /// `client.rack`.
    pub rack_id: Option<String>,
    /// The client's name for itself.
    pub client_id: String,
    /// The client's address.
    pub client_host: String,
    /// Topics by name.
    pub topics: BTreeSet<String>,
}

/// An epoch of a share group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShareEpochValue {
    /// Its number.
    pub epoch: i32,
    /// Changes with the topics that members read; 0 if there are none.
    pub metadata_hash: i64,
}

/// What a member has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShareCurrentValue {
    /// Its epoch.
    pub epoch: i32,
    /// The one before, in which a member may still be that has not heard.
    pub previous_epoch: i32,
    /// Always stable: share groups have nothing to give up first.
    pub state: MemberState,
    /// Partitions it has.
    pub assigned: Partitions,
}

/// The partitions of which a share group has, or shall have, a state with the share coordinator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatePartitions {
    /// Whose state the share coordinator was told to make.
    pub initializing: BTreeMap<Uuid, NamedPartitions>,
    /// Whose state there is; members are given these only.
    pub initialized: BTreeMap<Uuid, NamedPartitions>,
    /// Topics whose states the share coordinator was told to delete, with their names.
    pub deleting: BTreeMap<Uuid, String>,
}

/// Partitions of a topic, which had this name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedPartitions {
    /// Name of the topic.
    pub name: String,
    /// Its partitions.
    pub partitions: BTreeSet<i32>,
}

/// Key and value of a record of `group` as they stand in the log. Fails only for a text above 32767 bytes.
pub(super) fn encode(group: &str, record: &ShareRecord) -> Result<(Bytes, Option<Bytes>), EncodeError> {
    let key = |version: i16, member: Option<&str>| {
        let mut out = Writer::new();
        out.put_i16(version);
        out.put_nullable_string(Some(group), false)?;
        if let Some(member) = member {
            out.put_nullable_string(Some(member), false)?;
        }
        bytes(out)
    };
    Ok(match record {
        ShareRecord::Member(member, subscription) => {
            let written = subscription.as_ref().map(|subscription| value(|out| put_member(out, subscription)));
            (key(MEMBER_KEY, Some(member))?, written.transpose()?)
        }
        ShareRecord::Epoch(epoch) => {
            let written = epoch.map(|epoch| {
                value(|out| {
                    out.put_i32(epoch.epoch);
                    out.put_i64(epoch.metadata_hash);
                    Ok(())
                })
            });
            (key(GROUP_KEY, None)?, written.transpose()?)
        }
        ShareRecord::TargetEpoch(epoch) => {
            let written = epoch.map(|epoch| {
                value(|out| {
                    out.put_i32(epoch);
                    Ok(())
                })
            });
            (key(TARGET_EPOCH_KEY, None)?, written.transpose()?)
        }
        ShareRecord::Target(member, partitions) => {
            let written = partitions.as_ref().map(|partitions| value(|out| put_partitions(out, partitions)));
            (key(TARGET_KEY, Some(member))?, written.transpose()?)
        }
        ShareRecord::Current(member, current) => {
            let written = current.as_ref().map(|current| value(|out| put_current(out, current)));
            (key(CURRENT_KEY, Some(member))?, written.transpose()?)
        }
        ShareRecord::States(states) => {
            let written = states.as_ref().map(|states| value(|out| put_states(out, states)));
            (key(STATES_KEY, None)?, written.transpose()?)
        }
    })
}

/// Reads what is behind the version of a key, and the value; `None` if the key is of another kind.
pub(super) fn decode(
    version: i16,
    key: &mut Reader,
    value: Option<Bytes>,
) -> Result<Option<(String, ShareRecord)>, RecordError> {
    if !(MEMBER_KEY..=STATES_KEY).contains(&version) {
        return Ok(None);
    }
    let group = text(key, false)?;
    let record = match version {
        MEMBER_KEY => {
            let member = text(key, false)?;
            ShareRecord::Member(member, value.map(|bytes| read(bytes, get_member)).transpose()?)
        }
        GROUP_KEY => {
            let epoch =
                |from: &mut Reader| Ok(ShareEpochValue { epoch: from.get_i32()?, metadata_hash: from.get_i64()? });
            ShareRecord::Epoch(value.map(|bytes| read(bytes, epoch)).transpose()?)
        }
        TARGET_EPOCH_KEY => ShareRecord::TargetEpoch(value.map(|bytes| read(bytes, Reader::get_i32)).transpose()?),
        TARGET_KEY => {
            let member = text(key, false)?;
            ShareRecord::Target(member, value.map(|bytes| read(bytes, get_partitions)).transpose()?)
        }
        CURRENT_KEY => {
            let member = text(key, false)?;
            ShareRecord::Current(member, value.map(|bytes| read(bytes, get_current)).transpose()?)
        }
        _ => ShareRecord::States(value.map(|bytes| read(bytes, get_states)).transpose()?),
    };
    Ok(Some((group, record)))
}

fn put_member(out: &mut Writer, member: &ShareMemberValue) -> Result<(), EncodeError> {
    out.put_nullable_string(member.rack_id.as_deref(), true)?;
    out.put_nullable_string(Some(&member.client_id), true)?;
    out.put_nullable_string(Some(&member.client_host), true)?;
    out.put_length(Some(member.topics.len()), true)?;
    for topic in &member.topics {
        out.put_nullable_string(Some(topic), true)?;
    }
    Ok(())
}

fn put_current(out: &mut Writer, current: &ShareCurrentValue) -> Result<(), EncodeError> {
    out.put_i32(current.epoch);
    out.put_i32(current.previous_epoch);
    out.put_i8(current.state.id());
    put_partitions(out, &current.assigned)
}

fn put_states(out: &mut Writer, states: &StatePartitions) -> Result<(), EncodeError> {
    for topics in [&states.initializing, &states.initialized] {
        out.put_length(Some(topics.len()), true)?;
        for (id, topic) in topics {
            out.put_uuid(*id);
            out.put_nullable_string(Some(&topic.name), true)?;
            out.put_length(Some(topic.partitions.len()), true)?;
            for number in &topic.partitions {
                out.put_i32(*number);
            }
            out.put_uvarint(0);
        }
    }
    out.put_length(Some(states.deleting.len()), true)?;
    for (id, name) in &states.deleting {
        out.put_uuid(*id);
        out.put_nullable_string(Some(name), true)?;
        out.put_uvarint(0);
    }
    Ok(())
}

fn get_member(from: &mut Reader) -> Result<ShareMemberValue, DecodeError> {
    let mut member = ShareMemberValue {
        rack_id: from.get_nullable_string(true)?,
        client_id: text(from, true)?,
        client_host: text(from, true)?,
        topics: BTreeSet::new(),
    };
    for _ in 0..count(from)? {
        member.topics.insert(text(from, true)?);
    }
    Ok(member)
}

fn get_current(from: &mut Reader) -> Result<ShareCurrentValue, DecodeError> {
    Ok(ShareCurrentValue {
        epoch: from.get_i32()?,
        previous_epoch: from.get_i32()?,
        state: MemberState::of_id(from.get_i8()?),
        assigned: get_partitions(from)?,
    })
}

fn get_states(from: &mut Reader) -> Result<StatePartitions, DecodeError> {
    let (initializing, initialized) = (get_named(from)?, get_named(from)?);
    let mut deleting = BTreeMap::new();
    for _ in 0..count(from)? {
        deleting.insert(from.get_uuid()?, text(from, true)?);
        from.skip_tagged_fields()?;
    }
    Ok(StatePartitions { initializing, initialized, deleting })
}

fn get_named(from: &mut Reader) -> Result<BTreeMap<Uuid, NamedPartitions>, DecodeError> {
    let mut topics = BTreeMap::new();
    for _ in 0..count(from)? {
        let (id, name) = (from.get_uuid()?, text(from, true)?);
        let mut partitions = BTreeSet::new();
        for _ in 0..count(from)? {
            partitions.insert(from.get_i32()?);
        }
        from.skip_tagged_fields()?;
        topics.insert(id, NamedPartitions { name, partitions });
    }
    Ok(topics)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::records::GroupRecord;

    fn check(record: ShareRecord, key: &str, value: Option<&str>) {
        let hex = |bytes: &Bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let record = GroupRecord::Share("g".to_owned(), record);
        let (found_key, found_value) = record.encode().unwrap();
        assert_eq!(hex(&found_key), key.replace(' ', ""));
        assert_eq!(found_value.as_ref().map(hex), value.map(|value| value.replace(' ', "")));
        assert_eq!(GroupRecord::decode(Some(found_key), found_value).unwrap(), record);
    }

    #[test]
    fn records_have_kafkas_bytes() {
        let id = Uuid::from_u128(1);
        let (m, one) = ("m".to_owned(), "00000000000000000000000000000001");
        let partitions: Partitions = [(id, [0, 2].into())].into();
        let member = ShareMemberValue {
            rack_id: None,
            client_id: "c".to_owned(),
            client_host: "/h".to_owned(),
            topics: ["t".to_owned(), "u".to_owned()].into(),
        };
        check(
            ShareRecord::Member(m.clone(), Some(member)),
            "000a 0001 67 0001 6d",
            Some("0000 00 02 63 03 2f68 03 02 74 02 75 00"),
        );
        let epoch = ShareEpochValue { epoch: 5, metadata_hash: -1 };
        check(ShareRecord::Epoch(Some(epoch)), "000b 0001 67", Some("0000 00000005 ffffffffffffffff 00"));
        check(ShareRecord::Epoch(None), "000b 0001 67", None);
        check(ShareRecord::TargetEpoch(Some(6)), "000c 0001 67", Some("0000 00000006 00"));
        let places = format!("02 {one} 03 00000000 00000002 00");
        check(
            ShareRecord::Target(m.clone(), Some(partitions.clone())),
            "000d 0001 67 0001 6d",
            Some(&format!("0000 {places} 00")),
        );
        let current =
            ShareCurrentValue { epoch: 3, previous_epoch: 2, state: MemberState::Stable, assigned: partitions };
        let value = format!("0000 00000003 00000002 00 {places} 00");
        check(ShareRecord::Current(m, Some(current)), "000e 0001 67 0001 6d", Some(&value));
        let named =
            |numbers: &[i32]| NamedPartitions { name: "t".to_owned(), partitions: numbers.iter().copied().collect() };
        let states = StatePartitions {
            initializing: [(id, named(&[1]))].into(),
            initialized: [(id, named(&[0]))].into(),
            deleting: [(id, "u".to_owned())].into(),
        };
        let value = format!("0000 02 {one} 02 74 02 00000001 00 02 {one} 02 74 02 00000000 00 02 {one} 02 75 00 00");
        check(ShareRecord::States(Some(states)), "000f 0001 67", Some(&value));
    }

    #[test]
    fn later_fields_are_passed_over() {
        // Kafka 4.3 says when a target was computed.
        let key = Bytes::from_static(&[0, 12, 0, 1, b'g']);
        let value = Bytes::from_static(&[0, 0, 0, 0, 0, 6, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 9]);
        let expected = GroupRecord::Share("g".to_owned(), ShareRecord::TargetEpoch(Some(6)));
        assert_eq!(GroupRecord::decode(Some(key), Some(value)).unwrap(), expected);
    }
}
