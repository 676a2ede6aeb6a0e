//! The records of groups of the new consumer protocol (KIP-848), byte for byte those of Kafka 3.9: keys 3 to 8, values of
//! version 0 with compact lengths and tagged fields. Knows no group's state.

use super::records::RecordError;
use bytes::Bytes;
use common::kafka::wire::{DecodeError, EncodeError, Reader, Writer};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Versions of keys, which say what the record is.
const GROUP_KEY: i16 = 3;
const TOPICS_KEY: i16 = 4;
const MEMBER_KEY: i16 = 5;
const TARGET_EPOCH_KEY: i16 = 6;
const TARGET_KEY: i16 = 7;
const CURRENT_KEY: i16 = 8;
/// Version of every value.
const VALUE: i16 = 0;
/// Tag of what a member of the classic protocol brings along.
const CLASSIC_TAG: u32 = 0;

/// Partitions by topic id; no topic without partitions.
pub type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// What a record says of a group of the new protocol; `None` is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerRecord {
    /// The group is in this epoch.
    Epoch(Option<i32>),
    /// The topics that members read, when last looked at.
    Topics(Option<Vec<TopicValue>>),
    /// A member and its subscription.
    Member(String, Option<ConsumerMemberValue>),
    /// The target assignment belongs to this epoch.
    TargetEpoch(Option<i32>),
    /// What a member shall have.
    Target(String, Option<Partitions>),
    /// What a member has.
    Current(String, Option<CurrentValue>),
}

/// A topic that members read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicValue {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Number of partitions.
    pub partitions: i32,
}

/// A member and its subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerMemberValue {
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// `client.rack`.
    pub rack_id: Option<String>,
    /// The client's name for itself.
    pub client_id: String,
    /// The client's address.
    pub client_host: String,
    /// Topics by name.
    pub topics: BTreeSet<String>,
    /// Topics by pattern.
    pub regex: Option<String>,
    /// How long the member may take to give up partitions, milliseconds; -1 if it never said.
    pub rebalance_timeout_ms: i32,
    /// The assignor it asks for.
    pub assignor: Option<String>,
    /// Set for a member that uses the classic protocol.
    pub classic: Option<ClassicMemberValue>,
}

/// What only members of the classic protocol have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicMemberValue {
    /// How long the member may be silent, milliseconds.
    pub session_timeout_ms: i32,
    /// Protocols it can do, best first, with its metadata for each.
    pub protocols: Vec<(String, Bytes)>,
}

/// What stands between a member and its target. Stable -> Unrevoked or Unreleased when there is a new target, Unrevoked ->
/// any when it has given up, Unreleased -> any when others have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberState {
    /// Nothing.
    #[default]
    Stable,
    /// The member has to give up partitions.
    Unrevoked,
    /// Others have to give up partitions.
    Unreleased,
    /// Something that only a newer broker knows.
    Unknown,
}

impl MemberState {
    /// As it is recorded.
    pub fn id(self) -> i8 {
        match self {
            MemberState::Stable => 0,
            MemberState::Unrevoked => 1,
            MemberState::Unreleased => 2,
            MemberState::Unknown => 127,
        }
    }

    pub(super) fn of_id(id: i8) -> MemberState {
        let all = [MemberState::Stable, MemberState::Unrevoked, MemberState::Unreleased];
        all.into_iter().find(|state| state.id() == id).unwrap_or(MemberState::Unknown)
    }
}

/// How far a member has come from what it had to what it shall have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CurrentValue {
    /// Its epoch.
    pub epoch: i32,
    /// The one before, in which a member may still be that has not heard.
    pub previous_epoch: i32,
    /// What it is waited for.
    pub state: MemberState,
    /// Partitions it has.
    pub assigned: Partitions,
    /// Partitions it has to give up.
    pub revoking: Partitions,
}

/// Key and value of a record of `group` as they stand in the log. Fails only for a text above 32767 bytes.
pub(super) fn encode(group: &str, record: &ConsumerRecord) -> Result<(Bytes, Option<Bytes>), EncodeError> {
    let key = |version: i16, member: Option<&str>| {
        let mut out = Writer::new();
        out.put_i16(version);
        out.put_nullable_string(Some(group), false)?;
        if let Some(member) = member {
            out.put_nullable_string(Some(member), false)?;
        }
        bytes(out)
    };
    let epoch = |epoch: &Option<i32>| {
        epoch
            .map(|epoch| {
                value(|out| {
                    out.put_i32(epoch);
                    Ok(())
                })
            })
            .transpose()
    };
    Ok(match record {
        ConsumerRecord::Epoch(of_group) => (key(GROUP_KEY, None)?, epoch(of_group)?),
        ConsumerRecord::Topics(topics) => {
            let written = topics.as_ref().map(|topics| value(|out| put_topics(out, topics)));
            (key(TOPICS_KEY, None)?, written.transpose()?)
        }
        ConsumerRecord::Member(member, subscription) => {
            let written = subscription.as_ref().map(|subscription| versioned(|out| put_member(out, subscription)));
            (key(MEMBER_KEY, Some(member))?, written.transpose()?)
        }
        ConsumerRecord::TargetEpoch(of_target) => (key(TARGET_EPOCH_KEY, None)?, epoch(of_target)?),
        ConsumerRecord::Target(member, partitions) => {
            let written = partitions.as_ref().map(|partitions| value(|out| put_partitions(out, partitions)));
            (key(TARGET_KEY, Some(member))?, written.transpose()?)
        }
        ConsumerRecord::Current(member, current) => {
            let written = current.as_ref().map(|current| value(|out| put_current(out, current)));
            (key(CURRENT_KEY, Some(member))?, written.transpose()?)
        }
    })
}

/// Reads what is behind the version of a key, and the value; `None` if the key is of another kind.
pub(super) fn decode(
    version: i16,
    key: &mut Reader,
    value: Option<Bytes>,
) -> Result<Option<(String, ConsumerRecord)>, RecordError> {
    if !(GROUP_KEY..=CURRENT_KEY).contains(&version) {
        return Ok(None);
    }
    let group = text(key, false)?;
    let record = match version {
        GROUP_KEY => ConsumerRecord::Epoch(value.map(|bytes| read(bytes, Reader::get_i32)).transpose()?),
        TOPICS_KEY => ConsumerRecord::Topics(value.map(|bytes| read(bytes, get_topics)).transpose()?),
        MEMBER_KEY => {
            let member = text(key, false)?;
            // The tagged fields belong to the value itself.
            let subscription = value.map(|bytes| Ok::<_, RecordError>(get_member(&mut start(bytes)?)?)).transpose()?;
            ConsumerRecord::Member(member, subscription)
        }
        TARGET_EPOCH_KEY => ConsumerRecord::TargetEpoch(value.map(|bytes| read(bytes, Reader::get_i32)).transpose()?),
        TARGET_KEY => {
            let member = text(key, false)?;
            ConsumerRecord::Target(member, value.map(|bytes| read(bytes, get_partitions)).transpose()?)
        }
        _ => {
            let member = text(key, false)?;
            ConsumerRecord::Current(member, value.map(|bytes| read(bytes, get_current)).transpose()?)
        }
    };
    Ok(Some((group, record)))
}

/// A value without tagged fields.
pub(super) fn value(body: impl FnOnce(&mut Writer) -> Result<(), EncodeError>) -> Result<Bytes, EncodeError> {
    versioned(|out| {
        body(out)?;
        out.put_uvarint(0);
        Ok(())
    })
}

fn versioned(body: impl FnOnce(&mut Writer) -> Result<(), EncodeError>) -> Result<Bytes, EncodeError> {
    let mut out = Writer::new();
    out.put_i16(VALUE);
    body(&mut out)?;
    bytes(out)
}

fn put_topics(out: &mut Writer, topics: &[TopicValue]) -> Result<(), EncodeError> {
    out.put_length(Some(topics.len()), true)?;
    for topic in topics {
        out.put_uuid(topic.id);
        out.put_nullable_string(Some(&topic.name), true)?;
        out.put_i32(topic.partitions);
        // Racks of the partitions: no assignor asks for them, and here they would change with each broker that stops.
        out.put_length(Some(0), true)?;
        out.put_uvarint(0);
    }
    Ok(())
}

fn put_member(out: &mut Writer, member: &ConsumerMemberValue) -> Result<(), EncodeError> {
    out.put_nullable_string(member.instance_id.as_deref(), true)?;
    out.put_nullable_string(member.rack_id.as_deref(), true)?;
    out.put_nullable_string(Some(&member.client_id), true)?;
    out.put_nullable_string(Some(&member.client_host), true)?;
    out.put_length(Some(member.topics.len()), true)?;
    for topic in &member.topics {
        out.put_nullable_string(Some(topic), true)?;
    }
    out.put_nullable_string(member.regex.as_deref(), true)?;
    out.put_i32(member.rebalance_timeout_ms);
    out.put_nullable_string(member.assignor.as_deref(), true)?;
    out.put_uvarint(u32::from(member.classic.is_some()));
    let Some(classic) = &member.classic else { return Ok(()) };
    out.put_tagged(CLASSIC_TAG, |out| {
        out.put_i8(1);
        out.put_i32(classic.session_timeout_ms);
        out.put_length(Some(classic.protocols.len()), true)?;
        for (name, metadata) in &classic.protocols {
            out.put_nullable_string(Some(name), true)?;
            out.put_nullable_bytes(Some(metadata), true)?;
            out.put_uvarint(0);
        }
        out.put_uvarint(0);
        Ok(())
    })
}

pub(super) fn put_partitions(out: &mut Writer, partitions: &Partitions) -> Result<(), EncodeError> {
    out.put_length(Some(partitions.len()), true)?;
    for (topic, numbers) in partitions {
        out.put_uuid(*topic);
        out.put_length(Some(numbers.len()), true)?;
        for number in numbers {
            out.put_i32(*number);
        }
        out.put_uvarint(0);
    }
    Ok(())
}

fn put_current(out: &mut Writer, current: &CurrentValue) -> Result<(), EncodeError> {
    out.put_i32(current.epoch);
    out.put_i32(current.previous_epoch);
    out.put_i8(current.state.id());
    put_partitions(out, &current.assigned)?;
    put_partitions(out, &current.revoking)
}

fn start(value: Bytes) -> Result<Reader, RecordError> {
    let mut from = Reader::new(value);
    match from.get_i16()? {
        VALUE => Ok(from),
        version => Err(RecordError::Version(version)),
    }
}

/// A value of which tagged fields do not matter: later versions of Kafka add such.
pub(super) fn read<T>(
    value: Bytes,
    body: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
) -> Result<T, RecordError> {
    Ok(body(&mut start(value)?)?)
}

fn get_topics(from: &mut Reader) -> Result<Vec<TopicValue>, DecodeError> {
    let mut topics = Vec::new();
    for _ in 0..count(from)? {
        let topic = TopicValue { id: from.get_uuid()?, name: text(from, true)?, partitions: from.get_i32()? };
        for _ in 0..count(from)? {
            from.get_i32()?;
            for _ in 0..count(from)? {
                text(from, true)?;
            }
            from.skip_tagged_fields()?;
        }
        from.skip_tagged_fields()?;
        topics.push(topic);
    }
    Ok(topics)
}

fn get_member(from: &mut Reader) -> Result<ConsumerMemberValue, DecodeError> {
    let mut member = ConsumerMemberValue {
        instance_id: from.get_nullable_string(true)?,
        rack_id: from.get_nullable_string(true)?,
        client_id: text(from, true)?,
        client_host: text(from, true)?,
        ..ConsumerMemberValue::default()
    };
    for _ in 0..count(from)? {
        member.topics.insert(text(from, true)?);
    }
    member.regex = from.get_nullable_string(true)?;
    member.rebalance_timeout_ms = from.get_i32()?;
    member.assignor = from.get_nullable_string(true)?;
    for _ in 0..from.get_uvarint()? {
        let tag = from.get_uvarint()?;
        let size = from.get_uvarint()? as usize;
        let mut field = Reader::new(from.slice(size)?);
        if tag == CLASSIC_TAG && field.get_i8()? >= 0 {
            member.classic = Some(get_classic(&mut field)?);
        }
    }
    Ok(member)
}

fn get_classic(from: &mut Reader) -> Result<ClassicMemberValue, DecodeError> {
    let mut classic = ClassicMemberValue { session_timeout_ms: from.get_i32()?, protocols: Vec::new() };
    for _ in 0..count(from)? {
        let name = text(from, true)?;
        let metadata = from.get_nullable_bytes(true)?.ok_or(DecodeError::UnexpectedNull)?;
        from.skip_tagged_fields()?;
        classic.protocols.push((name, super::kept(&metadata)));
    }
    Ok(classic)
}

pub(super) fn get_partitions(from: &mut Reader) -> Result<Partitions, DecodeError> {
    let mut partitions = Partitions::new();
    for _ in 0..count(from)? {
        let topic = from.get_uuid()?;
        let mut numbers = BTreeSet::new();
        for _ in 0..count(from)? {
            numbers.insert(from.get_i32()?);
        }
        from.skip_tagged_fields()?;
        if !numbers.is_empty() {
            partitions.insert(topic, numbers);
        }
    }
    Ok(partitions)
}

fn get_current(from: &mut Reader) -> Result<CurrentValue, DecodeError> {
    Ok(CurrentValue {
        epoch: from.get_i32()?,
        previous_epoch: from.get_i32()?,
        state: MemberState::of_id(from.get_i8()?),
        assigned: get_partitions(from)?,
        revoking: get_partitions(from)?,
    })
}

pub(super) fn count(from: &mut Reader) -> Result<usize, DecodeError> {
    from.get_array_count(true)?.ok_or(DecodeError::UnexpectedNull)
}

pub(super) fn text(from: &mut Reader, flexible: bool) -> Result<String, DecodeError> {
    from.get_nullable_string(flexible)?.ok_or(DecodeError::UnexpectedNull)
}

pub(super) fn bytes(out: Writer) -> Result<Bytes, EncodeError> {
    Ok(out.finish()?.into_bytes()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::records::GroupRecord;

    fn check(record: ConsumerRecord, key: &str, value: Option<&str>) {
        let hex = |bytes: &Bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let record = GroupRecord::Consumer("g".to_owned(), record);
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
        let topics = vec![TopicValue { id, name: "t".to_owned(), partitions: 3 }];
        let mut member = ConsumerMemberValue {
            client_id: "c".to_owned(),
            client_host: "/h".to_owned(),
            topics: ["t".to_owned()].into(),
            rebalance_timeout_ms: 9,
            assignor: Some("range".to_owned()),
            ..ConsumerMemberValue::default()
        };
        let current = CurrentValue {
            epoch: 3,
            previous_epoch: 2,
            state: MemberState::Unrevoked,
            assigned: partitions.clone(),
            revoking: Partitions::new(),
        };
        check(ConsumerRecord::Epoch(Some(5)), "0003 0001 67", Some("0000 00000005 00"));
        check(ConsumerRecord::Epoch(None), "0003 0001 67", None);
        let value = format!("0000 02 {one} 02 74 00000003 01 00 00");
        check(ConsumerRecord::Topics(Some(topics)), "0004 0001 67", Some(&value));
        let plain = "0000 00 00 02 63 03 2f68 02 02 74 00 00000009 06 72616e6765";
        check(
            ConsumerRecord::Member(m.clone(), Some(member.clone())),
            "0005 0001 67 0001 6d",
            Some(&format!("{plain} 00")),
        );
        member.classic = Some(ClassicMemberValue {
            session_timeout_ms: 7,
            protocols: vec![("p".to_owned(), Bytes::from_static(b"x"))],
        });
        let classic = format!("{plain} 01 00 0c 01 00000007 02 02 70 02 78 00 00");
        check(ConsumerRecord::Member(m.clone(), Some(member)), "0005 0001 67 0001 6d", Some(&classic));
        check(ConsumerRecord::TargetEpoch(Some(6)), "0006 0001 67", Some("0000 00000006 00"));
        let places = format!("02 {one} 03 00000000 00000002 00");
        let value = format!("0000 {places} 00");
        check(ConsumerRecord::Target(m.clone(), Some(partitions)), "0007 0001 67 0001 6d", Some(&value));
        let value = format!("0000 00000003 00000002 01 {places} 01 00");
        check(ConsumerRecord::Current(m, Some(current)), "0008 0001 67 0001 6d", Some(&value));
    }
}
