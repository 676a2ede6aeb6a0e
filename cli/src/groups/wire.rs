//! What the tool asks of group coordinators, in plain structs. Prints nothing.

use crate::client::{Unsupported, check};
use crate::cluster::{Cluster, Target, address};
use crate::java_order;
use crate::log_offsets::Partition;
use anyhow::bail;
use bytes::{Buf as _, Bytes};
use common::kafka::error::ErrorCode;
use common::kafka::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use common::kafka::messages::offset_delete::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use common::kafka::messages::offset_fetch::OffsetFetchRequestGroup;
use common::kafka::messages::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest,
};
use std::collections::BTreeMap;

/// A group in a list.
pub(crate) struct Listing {
    pub(crate) id: String,
    /// The type of its protocol: `consumer`, `share`, `connect`, nothing.
    pub(crate) protocol: String,
    pub(crate) kind: String,
    pub(crate) state: String,
}

/// A group in detail.
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) assignor: String,
    pub(crate) members: Vec<Member>,
    /// `host:port  (id)`.
    pub(crate) coordinator: String,
}

/// A member with what it has to read.
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) instance_id: String,
    pub(crate) client_id: String,
    pub(crate) host: String,
    pub(crate) partitions: Vec<Partition>,
}

/// Every consumer group of the cluster, in the order of a Java map; not those of brokers that do not answer who looks once.
pub(crate) fn list(cluster: &mut Cluster, states: &[String], types: &[String]) -> anyhow::Result<Vec<Listing>> {
    list_those(cluster, states, types, |group| matches!(group.protocol.as_str(), "" | "consumer"))
}

/// Those groups of the cluster, in the order of a Java map.
pub(crate) fn list_those(
    cluster: &mut Cluster,
    states: &[String],
    types: &[String],
    is_wanted: impl Fn(&Listing) -> bool,
) -> anyhow::Result<Vec<Listing>> {
    let mut groups: BTreeMap<String, Listing> = BTreeMap::new();
    for broker in cluster.broker_ids()? {
        let request = |version| ListGroupsRequest {
            states_filter: if version < 4 { Vec::new() } else { states.to_vec() },
            types_filter: if version < 5 { Vec::new() } else { types.to_vec() },
        };
        let response = cluster.call(Target::Node(broker), request, |response| response.error_code);
        let response = response.and_then(|response| Ok(check(response.error_code, None).map(|()| response)?));
        let response = match response {
            Err(error) if cluster.leaves_out(broker, &error) => continue,
            response => response?,
        };
        for group in response.groups {
            let listing = Listing {
                id: group.group_id.clone(),
                protocol: group.protocol_type,
                kind: group.group_type,
                state: group.group_state,
            };
            if is_wanted(&listing) {
                groups.insert(group.group_id, listing);
            }
        }
    }
    let groups: Vec<Listing> = groups.into_values().collect();
    Ok(java_order::hash_order(groups, 16, |group| java_order::hash(&group.id)))
}

/// A group by its newer protocol if it has that, else as a classic one. One that does not exist is `Dead`.
pub(crate) fn describe(cluster: &mut Cluster, id: &str) -> anyhow::Result<Group> {
    let coordinator = cluster.coordinator(id)?;
    let coordinator = format!("{}  ({})", address(&coordinator.1, coordinator.2), coordinator.0);
    match describe_consumer(cluster, id, &coordinator) {
        Ok(Some(group)) => Ok(group),
        Ok(None) => describe_classic(cluster, id, &coordinator),
        Err(error) if error.is::<Unsupported>() => describe_classic(cluster, id, &coordinator),
        Err(error) => Err(error),
    }
}

fn describe_consumer(cluster: &mut Cluster, id: &str, coordinator: &str) -> anyhow::Result<Option<Group>> {
    let request =
        |_| ConsumerGroupDescribeRequest { group_ids: vec![id.to_owned()], include_authorized_operations: false };
    let mut response = cluster
        .call(Target::Group(id), request, |response| response.groups.first().map_or(0, |group| group.error_code))?;
    let Some(group) = response.groups.pop() else { return Ok(None) };
    match check(group.error_code, group.error_message.as_deref()) {
        Err(error) if matches!(error.code, ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion) => {
            return Ok(None);
        }
        outcome => outcome?,
    }
    let members = group.members.into_iter().map(|member| Member {
        id: member.member_id,
        instance_id: member.instance_id.unwrap_or_default(),
        client_id: member.client_id,
        host: member.client_host,
        partitions: member
            .assignment
            .topic_partitions
            .into_iter()
            .flat_map(|topic| {
                let name = topic.topic_name;
                topic.partitions.into_iter().map(move |partition| (name.clone(), partition))
            })
            .collect(),
    });
    Ok(Some(Group {
        id: id.to_owned(),
        state: group.group_state,
        assignor: group.assignor_name,
        members: members.collect(),
        coordinator: coordinator.to_owned(),
    }))
}

fn describe_classic(cluster: &mut Cluster, id: &str, coordinator: &str) -> anyhow::Result<Group> {
    let request = |_| DescribeGroupsRequest { groups: vec![id.to_owned()], include_authorized_operations: false };
    let mut response = cluster
        .call(Target::Group(id), request, |response| response.groups.first().map_or(0, |group| group.error_code))?;
    let Some(group) = response.groups.pop() else { bail!("the coordinator did not describe group {id}") };
    let mut described = Group {
        id: id.to_owned(),
        state: group.group_state,
        assignor: group.protocol_data,
        members: Vec::new(),
        coordinator: coordinator.to_owned(),
    };
    match check(group.error_code, group.error_message.as_deref()) {
        Err(error) if error.code == ErrorCode::GroupIdNotFound => {
            "Dead".clone_into(&mut described.state);
            return Ok(described);
        }
        outcome => outcome?,
    }
    if !matches!(group.protocol_type.as_str(), "" | "consumer") {
        bail!("java.lang.IllegalArgumentException: GroupId {id} is not a consumer group ({}).", group.protocol_type);
    }
    for member in group.members {
        described.members.push(Member {
            id: member.member_id,
            instance_id: member.group_instance_id.unwrap_or_default(),
            client_id: member.client_id,
            host: member.client_host,
            partitions: assigned(member.member_assignment).unwrap_or_default(),
        });
    }
    Ok(described)
}

/// The partitions in an assignment of the consumer protocol; `None` if it is none.
fn assigned(mut bytes: Bytes) -> Option<Vec<Partition>> {
    bytes.try_get_i16().ok()?;
    let mut partitions = Vec::new();
    for _ in 0..bytes.try_get_i32().ok()? {
        let len = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
        if bytes.remaining() < len {
            return None;
        }
        let name = String::from_utf8_lossy(&bytes.split_to(len)).into_owned();
        for _ in 0..bytes.try_get_i32().ok()? {
            partitions.push((name.clone(), bytes.try_get_i32().ok()?));
        }
    }
    Some(partitions)
}

/// What a group has committed; -1 counts as nothing.
pub(crate) fn committed(cluster: &mut Cluster, id: &str) -> anyhow::Result<BTreeMap<Partition, i64>> {
    let request = |version| OffsetFetchRequest {
        group_id: if version < 8 { id.to_owned() } else { String::new() },
        topics: if version < 8 { None } else { Some(Vec::new()) },
        groups: match version {
            ..8 => Vec::new(),
            _ => vec![OffsetFetchRequestGroup { group_id: id.to_owned(), topics: None, ..Default::default() }],
        },
        require_stable: false,
    };
    let response = cluster.call(Target::Group(id), request, |response| {
        response.groups.first().map_or(response.error_code, |group| group.error_code)
    })?;
    check(response.error_code, None)?;
    let mut offsets = BTreeMap::new();
    for topic in response.topics {
        for partition in topic.partitions {
            check(partition.error_code, None)?;
            offsets.insert((topic.name.clone(), partition.partition_index), partition.committed_offset);
        }
    }
    for group in response.groups {
        match check(group.error_code, None) {
            // A group of which nobody has heard has committed nothing.
            Err(error) if error.code == ErrorCode::GroupIdNotFound => {}
            outcome => outcome?,
        }
        for topic in group.topics {
            for partition in topic.partitions {
                check(partition.error_code, None)?;
                offsets.insert((topic.name.clone(), partition.partition_index), partition.committed_offset);
            }
        }
    }
    offsets.retain(|_, offset| *offset >= 0);
    Ok(offsets)
}

/// Sets what an inactive group has committed.
pub(crate) fn commit(cluster: &mut Cluster, id: &str, offsets: &[(Partition, i64)]) -> anyhow::Result<()> {
    let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
    for ((topic, partition_index), committed_offset) in offsets {
        let partition = OffsetCommitRequestPartition {
            partition_index: *partition_index,
            committed_offset: *committed_offset,
            ..Default::default()
        };
        match topics.iter_mut().find(|found| found.name == *topic) {
            Some(found) => found.partitions.push(partition),
            None => topics.push(OffsetCommitRequestTopic {
                name: topic.clone(),
                partitions: vec![partition],
                ..Default::default()
            }),
        }
    }
    let request =
        |_| OffsetCommitRequest { group_id: id.to_owned(), topics: topics.clone(), ..OffsetCommitRequest::default() };
    let response = cluster.call(Target::Group(id), request, |response| {
        let first = response.topics.first().and_then(|topic| topic.partitions.first());
        first.map_or(0, |partition| partition.error_code)
    })?;
    for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
        check(partition.error_code, None)?;
    }
    Ok(())
}

/// Deletes a group.
pub(crate) fn delete(cluster: &mut Cluster, id: &str) -> anyhow::Result<()> {
    let request = |_| DeleteGroupsRequest { groups_names: vec![id.to_owned()] };
    let response = cluster
        .call(Target::Group(id), request, |response| response.results.first().map_or(0, |group| group.error_code))?;
    for result in &response.results {
        check(result.error_code, None)?;
    }
    Ok(())
}

/// Deletes committed offsets. The first error is of the group, the others of partitions.
pub(crate) fn delete_offsets(
    cluster: &mut Cluster,
    id: &str,
    partitions: &[Partition],
) -> anyhow::Result<(i16, BTreeMap<Partition, i16>)> {
    let mut topics: Vec<OffsetDeleteRequestTopic> = Vec::new();
    for (topic, partition_index) in partitions {
        let partition = OffsetDeleteRequestPartition { partition_index: *partition_index };
        match topics.iter_mut().find(|found| found.name == *topic) {
            Some(found) => found.partitions.push(partition),
            None => topics.push(OffsetDeleteRequestTopic { name: topic.clone(), partitions: vec![partition] }),
        }
    }
    let request = |_| OffsetDeleteRequest { group_id: id.to_owned(), topics: topics.clone() };
    let response = cluster.call(Target::Group(id), request, |response| response.error_code)?;
    let mut codes = BTreeMap::new();
    for topic in response.topics {
        for partition in topic.partitions {
            codes.insert((topic.name.clone(), partition.partition_index), partition.error_code);
        }
    }
    Ok((response.error_code, codes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_of_others_are_no_partitions() {
        let cases: [(&[u8], Option<Vec<Partition>>); 4] = [
            (b"", None),
            (b"\0\0\0\0\0\x01\0\x09t", None),
            (b"\0\x01\0\0\0\0", Some(Vec::new())),
            (b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x05", Some(vec![("t".into(), 0), ("t".into(), 5)])),
        ];
        for (bytes, expected) in cases {
            assert_eq!(assigned(Bytes::from_static(bytes)), expected, "{bytes:?}");
        }
    }
}
