//! What the tool asks of the coordinators of share groups, in plain structs. Prints nothing.

use crate::client::{KafkaError, check};
use crate::cluster::{Cluster, Target, address};
use crate::log_offsets::Partition;
use anyhow::Context as _;
use common::kafka::messages::alter_share_group_offsets::{
    AlterShareGroupOffsetsRequestPartition, AlterShareGroupOffsetsRequestTopic,
};
use common::kafka::messages::delete_share_group_offsets::DeleteShareGroupOffsetsRequestTopic;
use common::kafka::messages::describe_share_group_offsets::DescribeShareGroupOffsetsRequestGroup;
use common::kafka::messages::share_group_describe::Member;
use common::kafka::messages::{
    AlterShareGroupOffsetsRequest, DeleteShareGroupOffsetsRequest, DescribeShareGroupOffsetsRequest,
    ShareGroupDescribeRequest,
};
use std::collections::BTreeMap;

/// A group in detail.
pub(super) struct Group {
    /// `host:port  (id)`.
    pub(super) coordinator: String,
    pub(super) state: String,
    pub(super) epoch: i32,
    pub(super) assignment_epoch: i32,
    pub(super) members: Vec<Member>,
}

/// Where a group stands in a partition; `None`: nowhere yet.
pub(super) type Standing = Option<Offset>;

/// An offset with what belongs to it.
pub(super) struct Offset {
    pub(super) start: i64,
    pub(super) leader_epoch: Option<i32>,
    pub(super) lag: Option<i64>,
}

/// What became of each topic.
pub(super) type Outcomes = BTreeMap<String, Result<(), KafkaError>>;

/// A group, or the broker's error.
pub(super) fn describe(cluster: &mut Cluster, id: &str) -> anyhow::Result<Group> {
    let coordinator = cluster.coordinator(id)?;
    let coordinator = format!("{}  ({})", address(&coordinator.1, coordinator.2), coordinator.0);
    let request =
        |_| ShareGroupDescribeRequest { group_ids: vec![id.to_owned()], include_authorized_operations: false };
    let mut response = cluster
        .call(Target::Group(id), request, |response| response.groups.first().map_or(0, |group| group.error_code))?;
    let group = response.groups.pop().with_context(|| format!("the coordinator did not describe group {id}"))?;
    check(group.error_code, group.error_message.as_deref())?;
    Ok(Group {
        coordinator,
        state: group.group_state,
        epoch: group.group_epoch,
        assignment_epoch: group.assignment_epoch,
        members: group.members,
    })
}

/// Where a group stands in every partition that it has to do with. Those that cannot be told are left out.
pub(super) fn offsets(cluster: &mut Cluster, id: &str) -> anyhow::Result<BTreeMap<Partition, Standing>> {
    let group = DescribeShareGroupOffsetsRequestGroup { group_id: id.to_owned(), topics: None };
    let request = |_| DescribeShareGroupOffsetsRequest { groups: vec![group.clone()] };
    let response = cluster
        .call(Target::Group(id), request, |response| response.groups.first().map_or(0, |group| group.error_code))?;
    let mut offsets = BTreeMap::new();
    for group in response.groups {
        check(group.error_code, group.error_message.as_deref())?;
        for topic in group.topics {
            for partition in topic.partitions.iter().filter(|partition| partition.error_code == 0) {
                let offset = Offset {
                    start: partition.start_offset,
                    leader_epoch: Some(partition.leader_epoch).filter(|epoch| *epoch >= 0),
                    lag: Some(partition.lag).filter(|lag| *lag >= 0),
                };
                let standing = (partition.start_offset >= 0).then_some(offset);
                offsets.insert((topic.topic_name.clone(), partition.partition_index), standing);
            }
        }
    }
    Ok(offsets)
}

/// Has a group begin at these offsets; for each partition that cannot be, why. An error of the whole is that of each.
pub(super) fn alter(
    cluster: &mut Cluster,
    id: &str,
    offsets: &[(Partition, i64)],
) -> anyhow::Result<BTreeMap<Partition, KafkaError>> {
    let mut topics: Vec<AlterShareGroupOffsetsRequestTopic> = Vec::new();
    for ((topic, partition_index), start_offset) in offsets {
        let partition =
            AlterShareGroupOffsetsRequestPartition { partition_index: *partition_index, start_offset: *start_offset };
        match topics.iter_mut().find(|found| found.topic_name == *topic) {
            Some(found) => found.partitions.push(partition),
            None => topics
                .push(AlterShareGroupOffsetsRequestTopic { topic_name: topic.clone(), partitions: vec![partition] }),
        }
    }
    let request = |_| AlterShareGroupOffsetsRequest { group_id: id.to_owned(), topics: topics.clone() };
    let response = cluster.call(Target::Group(id), request, |response| response.error_code)?;
    let mut refused = BTreeMap::new();
    if response.error_code != 0 {
        for (partition, _) in offsets {
            if let Err(error) = check(response.error_code, response.error_message.as_deref()) {
                refused.insert(partition.clone(), error);
            }
        }
    }
    for topic in response.responses {
        for partition in topic.partitions {
            if let Err(error) = check(partition.error_code, partition.error_message.as_deref()) {
                refused.insert((topic.topic_name.clone(), partition.partition_index), error);
            }
        }
    }
    Ok(refused)
}

/// Removes what a group knows of topics: the error of the whole, else the outcome of each topic.
pub(super) fn delete_offsets(
    cluster: &mut Cluster,
    id: &str,
    topics: &[String],
) -> anyhow::Result<Result<Outcomes, KafkaError>> {
    let topic = |name: &String| DeleteShareGroupOffsetsRequestTopic { topic_name: name.clone() };
    let request =
        |_| DeleteShareGroupOffsetsRequest { group_id: id.to_owned(), topics: topics.iter().map(topic).collect() };
    let response = cluster.call(Target::Group(id), request, |response| response.error_code)?;
    if let Err(error) = check(response.error_code, response.error_message.as_deref()) {
        return Ok(Err(error));
    }
    let outcomes = response
        .responses
        .into_iter()
        .map(|topic| (topic.topic_name, check(topic.error_code, topic.error_message.as_deref())));
    Ok(Ok(outcomes.collect()))
}
