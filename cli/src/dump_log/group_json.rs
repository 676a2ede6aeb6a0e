//! The records of `__consumer_offsets` as the JSON in which Kafka's tool shows them. Decodes with the broker's reader;
//! only what clients put into the records of their groups is read here.

use crate::uuid_text;
use anyhow::anyhow;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::group::consumer_records::{ConsumerMemberValue, ConsumerRecord, CurrentValue, Partitions, TopicValue};
use broker::group::records::{GroupRecord, GroupValue, MemberValue, OffsetValue};
use broker::group::share_records::{NamedPartitions, ShareRecord};
use bytes::Bytes;
use common::kafka::batch::Record;
use common::kafka::wire::Reader;
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Key and value.
pub(super) fn show(record: &Record) -> anyhow::Result<(Option<String>, Option<String>)> {
    let Some(key) = &record.key else {
        return Err(anyhow!(
            "java.lang.RuntimeException: Failed to decode message at offset {} using offset topic decoder (message had a \
             missing key)",
            record.offset
        ));
    };
    let version = |bytes: Option<&Bytes>| bytes.and_then(|bytes| Reader::new(bytes.clone()).get_i16().ok());
    let (key_version, value_version) = (version(Some(key)).unwrap_or(-1), version(record.value.as_ref()).unwrap_or(-1));
    Ok(match GroupRecord::decode(record.key.clone(), record.value.clone()) {
        Ok(GroupRecord::Unknown(version)) => {
            (Some(format!("Unknown record type {version} at offset {}, skipping.", record.offset)), None)
        }
        Ok(decoded) => {
            let (key, value) = both(&decoded, value_version);
            let value = value
                .map_or("<DELETE>".to_owned(), |value| format!("{{\"version\":\"{value_version}\",\"data\":{value}}}"));
            (Some(format!("{{\"type\":\"{key_version}\",\"data\":{key}}}")), Some(value))
        }
        Err(error) => (Some(format!("Error at offset {}, skipping. {error}", record.offset)), None),
    })
}

/// An object whose fields stand in this order.
fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

fn list<T>(items: impl IntoIterator<Item = T>, show: impl Fn(T) -> String) -> String {
    format!("[{}]", items.into_iter().map(show).collect::<Vec<_>>().join(","))
}

fn text(text: &str) -> String {
    Value::from(text).to_string()
}

fn nullable(value: Option<&str>) -> String {
    value.map_or("null".to_owned(), text)
}

/// The key, and the value unless it is a tombstone.
fn both(record: &GroupRecord, version: i16) -> (String, Option<String>) {
    match record {
        GroupRecord::Offset(key, value) => (
            object(&[
                ("group", text(&key.group)),
                ("topic", text(&key.topic)),
                ("partition", key.partition.to_string()),
            ]),
            value.as_ref().map(|value| offset(value, version)),
        ),
        GroupRecord::Group(group, value) => {
            (object(&[("group", text(group))]), value.as_ref().map(|value| classic(value, version)))
        }
        GroupRecord::Consumer(group, record) => {
            let mut key = vec![("groupId", text(group))];
            if let ConsumerRecord::Member(member, _)
            | ConsumerRecord::Target(member, _)
            | ConsumerRecord::Current(member, _) = record
            {
                key.push(("memberId", text(member)));
            }
            (object(&key), consumer(record))
        }
        GroupRecord::Share(group, record) => {
            let mut key = vec![("groupId", text(group))];
            if let ShareRecord::Member(member, _) | ShareRecord::Target(member, _) | ShareRecord::Current(member, _) =
                record
            {
                key.push(("memberId", text(member)));
            }
            (object(&key), share(record))
        }
        GroupRecord::Unknown(_) => (String::new(), None),
    }
}

fn offset(value: &OffsetValue, version: i16) -> String {
    let mut fields = vec![("offset", value.offset.to_string())];
    if version >= 3 {
        fields.push(("leaderEpoch", value.leader_epoch.to_string()));
    }
    fields.push(("metadata", text(&value.metadata)));
    fields.push(("commitTimestamp", value.commit_timestamp.to_string()));
    if version == 1 {
        fields.push(("expireTimestamp", value.expire_timestamp.unwrap_or(-1).to_string()));
    }
    object(&fields)
}

fn classic(value: &GroupValue, version: i16) -> String {
    let mut fields = vec![
        ("protocolType", text(&value.protocol_type)),
        ("generation", value.generation.to_string()),
        ("protocol", nullable(value.protocol.as_deref())),
        ("leader", nullable(value.leader.as_deref())),
    ];
    if version >= 2 {
        fields.push(("currentStateTimestamp", value.current_state_timestamp.to_string()));
    }
    let of_consumers = value.protocol_type == "consumer";
    fields.push(("members", list(&value.members, |member| classic_member(member, version, of_consumers))));
    object(&fields)
}

fn classic_member(member: &MemberValue, version: i16, of_consumers: bool) -> String {
    let mut fields = vec![("memberId", text(&member.member_id))];
    if version >= 3 {
        fields.push(("groupInstanceId", nullable(member.group_instance_id.as_deref())));
    }
    fields.push(("clientId", text(&member.client_id)));
    fields.push(("clientHost", text(&member.client_host)));
    if version >= 1 {
        fields.push(("rebalanceTimeout", member.rebalance_timeout_ms.to_string()));
    }
    fields.push(("sessionTimeout", member.session_timeout_ms.to_string()));
    let read = |bytes: &Bytes, read: fn(Bytes) -> Option<String>| {
        of_consumers.then(|| read(bytes.clone())).flatten().unwrap_or_else(|| base64(bytes))
    };
    fields.push(("subscription", read(&member.subscription, subscription)));
    fields.push(("assignment", read(&member.assignment, assignment)));
    object(&fields)
}

/// The consumers' own subscription; `None` if it is none.
fn subscription(bytes: Bytes) -> Option<String> {
    let mut from = Reader::new(bytes);
    let version = from.get_i16().ok().filter(|version| (0..=3).contains(version))?;
    let mut topics = Vec::new();
    for _ in 0..from.get_array_count(false).ok()?? {
        topics.push(from.get_nullable_string(false).ok()??);
    }
    let mut fields = vec![("topics", list(&topics, |topic| text(topic))), ("userData", user_data(&mut from)?)];
    if version >= 1 {
        fields.push(("ownedPartitions", named_partitions(&mut from)?));
    }
    if version >= 2 {
        fields.push(("generationId", from.get_i32().ok()?.to_string()));
    }
    if version >= 3 {
        fields.push(("rackId", nullable(from.get_nullable_string(false).ok()?.as_deref())));
    }
    Some(object(&fields))
}

/// The consumers' own assignment; `None` if it is none.
fn assignment(bytes: Bytes) -> Option<String> {
    let mut from = Reader::new(bytes);
    from.get_i16().ok().filter(|version| (0..=3).contains(version))?;
    let partitions = named_partitions(&mut from)?;
    Some(object(&[("assignedPartitions", partitions), ("userData", user_data(&mut from)?)]))
}

fn user_data(from: &mut Reader) -> Option<String> {
    let data = from.get_nullable_bytes(false).ok()?;
    Some(data.map_or("null".to_owned(), |data| base64(&data)))
}

fn named_partitions(from: &mut Reader) -> Option<String> {
    let mut topics = Vec::new();
    for _ in 0..from.get_array_count(false).ok()?? {
        let topic = from.get_nullable_string(false).ok()??;
        let mut partitions = Vec::new();
        for _ in 0..from.get_array_count(false).ok()?? {
            partitions.push(from.get_i32().ok()?);
        }
        topics.push(object(&[("topic", text(&topic)), ("partitions", list(partitions, |one| one.to_string()))]));
    }
    Some(list(topics, |topic| topic))
}

fn consumer(record: &ConsumerRecord) -> Option<String> {
    match record {
        ConsumerRecord::Epoch(value) => value.map(|epoch| object(&[("epoch", epoch.to_string())])),
        ConsumerRecord::TargetEpoch(value) => value.map(|epoch| object(&[("assignmentEpoch", epoch.to_string())])),
        ConsumerRecord::Topics(value) => value.as_ref().map(|topics| object(&[("topics", list(topics, topic))])),
        ConsumerRecord::Member(_, value) => value.as_ref().map(consumer_member),
        ConsumerRecord::Target(_, value) => {
            value.as_ref().map(|partitions| object(&[("topicPartitions", by_id(partitions))]))
        }
        ConsumerRecord::Current(_, value) => value.as_ref().map(current),
    }
}

fn topic(topic: &TopicValue) -> String {
    object(&[
        ("topicId", text(&uuid_text::format(topic.id))),
        ("topicName", text(&topic.name)),
        ("numPartitions", topic.partitions.to_string()),
        ("partitionMetadata", "[]".to_owned()),
    ])
}

fn consumer_member(member: &ConsumerMemberValue) -> String {
    let mut fields = vec![
        ("instanceId", nullable(member.instance_id.as_deref())),
        ("rackId", nullable(member.rack_id.as_deref())),
        ("clientId", text(&member.client_id)),
        ("clientHost", text(&member.client_host)),
        ("subscribedTopicNames", list(&member.topics, |topic| text(topic))),
        ("subscribedTopicRegex", nullable(member.regex.as_deref())),
        ("rebalanceTimeoutMs", member.rebalance_timeout_ms.to_string()),
        ("serverAssignor", nullable(member.assignor.as_deref())),
    ];
    if let Some(classic) = &member.classic {
        let protocols = list(&classic.protocols, |(name, metadata)| {
            object(&[("name", text(name)), ("metadata", base64(metadata))])
        });
        let timeout = classic.session_timeout_ms.to_string();
        fields.push((
            "classicMemberMetadata",
            object(&[("sessionTimeoutMs", timeout), ("supportedProtocols", protocols)]),
        ));
    }
    object(&fields)
}

fn current(value: &CurrentValue) -> String {
    object(&[
        ("memberEpoch", value.epoch.to_string()),
        ("previousMemberEpoch", value.previous_epoch.to_string()),
        ("state", value.state.id().to_string()),
        ("assignedPartitions", by_id(&value.assigned)),
        ("partitionsPendingRevocation", by_id(&value.revoking)),
    ])
}

fn share(record: &ShareRecord) -> Option<String> {
    match record {
        ShareRecord::Member(_, value) => value.as_ref().map(|member| {
            object(&[
                ("rackId", nullable(member.rack_id.as_deref())),
                ("clientId", text(&member.client_id)),
                ("clientHost", text(&member.client_host)),
                ("subscribedTopicNames", list(&member.topics, |topic| text(topic))),
            ])
        }),
        ShareRecord::Epoch(value) => value.map(|value| {
            object(&[("epoch", value.epoch.to_string()), ("metadataHash", value.metadata_hash.to_string())])
        }),
        ShareRecord::TargetEpoch(value) => value.map(|epoch| object(&[("assignmentEpoch", epoch.to_string())])),
        ShareRecord::Target(_, value) => {
            value.as_ref().map(|partitions| object(&[("topicPartitions", by_id(partitions))]))
        }
        ShareRecord::Current(_, value) => value.as_ref().map(|value| {
            object(&[
                ("memberEpoch", value.epoch.to_string()),
                ("previousMemberEpoch", value.previous_epoch.to_string()),
                ("state", value.state.id().to_string()),
                ("assignedPartitions", by_id(&value.assigned)),
            ])
        }),
        ShareRecord::States(value) => value.as_ref().map(|states| {
            let deleting = list(&states.deleting, |(id, name)| {
                object(&[("topicId", text(&uuid_text::format(*id))), ("topicName", text(name))])
            });
            object(&[
                ("initializingTopics", named(&states.initializing)),
                ("initializedTopics", named(&states.initialized)),
                ("deletingTopics", deleting),
            ])
        }),
    }
}

fn named(topics: &BTreeMap<Uuid, NamedPartitions>) -> String {
    list(topics, |(id, topic)| {
        object(&[
            ("topicId", text(&uuid_text::format(*id))),
            ("topicName", text(&topic.name)),
            ("partitions", list(&topic.partitions, |partition| partition.to_string())),
        ])
    })
}

fn by_id(partitions: &Partitions) -> String {
    list(partitions, |(id, partitions)| {
        let id = text(&uuid_text::format(*id));
        object(&[("topicId", id), ("partitions", list(partitions, |partition| partition.to_string()))])
    })
}

/// Bytes as JSON has them.
fn base64(bytes: &[u8]) -> String {
    format!("\"{}\"", STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker::group::records::OffsetKey;

    #[test]
    fn records_are_shown_as_kafka_shows_them() {
        let key = OffsetKey { group: "g".into(), topic: "t".into(), partition: 2 };
        let value = OffsetValue { offset: 7, leader_epoch: 1, commit_timestamp: 5, ..OffsetValue::default() };
        let (key, value) = GroupRecord::Offset(key, Some(value)).encode().unwrap();
        let record = Record { key: Some(key), value, ..Record::default() };
        let (key, value) = show(&record).unwrap();
        assert_eq!(key.as_deref(), Some(r#"{"type":"1","data":{"group":"g","topic":"t","partition":2}}"#));
        assert_eq!(
            value.as_deref(),
            Some(r#"{"version":"3","data":{"offset":7,"leaderEpoch":1,"metadata":"","commitTimestamp":5}}"#)
        );
        let broken = Record { key: Some(Bytes::from_static(b"\x00\x63")), offset: 9, ..Record::default() };
        let (key, value) = show(&broken).unwrap();
        assert_eq!((key.as_deref(), value), (Some("Unknown record type 99 at offset 9, skipping."), None));
    }
}
