//! `kafka-topics --describe`: topics and partitions, one line each. Changes nothing.

use super::{REPORTS, can_do_without, ensure_found, joined, matching, metadata, wanted_id};
use crate::client::check;
use crate::cluster::{Cluster, Target};
use crate::java_order;
use crate::options::Options;
use crate::uuid_text;
use anyhow::{Context as _, bail};
use common::kafka::error::ErrorCode;
use common::kafka::messages::describe_configs::{DescribeConfigsResource, DescribeConfigsResult};
use common::kafka::messages::describe_topic_partitions::TopicRequest;
use common::kafka::messages::list_partition_reassignments::{
    ListPartitionReassignmentsTopics, OngoingPartitionReassignment,
};
use common::kafka::messages::{
    DescribeConfigsRequest, DescribeTopicPartitionsRequest, ListPartitionReassignmentsRequest, MetadataResponse,
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// `ConfigResource.Type.TOPIC`.
const TOPIC: i8 = 2;
/// `ConfigEntry.ConfigSource.DEFAULT_CONFIG` on the wire.
const DEFAULT_CONFIG: i8 = 5;

struct Topic {
    name: String,
    id: Uuid,
    partitions: Vec<Partition>,
}

struct Partition {
    index: i32,
    leader: Option<i32>,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
    /// Eligible and last known eligible leader replicas (KIP-966); `None` from brokers that do not know them.
    eligible: Option<Vec<i32>>,
    last_eligible: Option<Vec<i32>>,
}

/// Prints what the options ask for.
pub(super) fn describe(options: &Options, cluster: &mut Cluster) -> anyhow::Result<()> {
    let wanted = wanted_id(options)?;
    let all = metadata(cluster, None)?;
    let names = match wanted {
        Some(id) => {
            let found: Vec<String> =
                all.topics.iter().filter(|topic| topic.topic_id == id).filter_map(|topic| topic.name.clone()).collect();
            if found.is_empty() && !options.has("if-exists") {
                bail!("TopicId '{}' does not exist as expected", uuid_text::format(id));
            }
            found
        }
        None => {
            let names = matching(options, &all)?;
            ensure_found(options, !names.is_empty())?;
            names
        }
    };
    if names.is_empty() {
        return Ok(());
    }
    let limit = options.number("partition-size-limit-per-response")?.unwrap_or(2000);
    let mut topics = match partitions(cluster, &names, limit) {
        Err(error) if can_do_without(&error) => from_metadata(metadata(cluster, Some(&names))?)?,
        topics => topics?,
    };
    // Kafka's tool goes through two hash maps, the first created for the number of topics as the second.
    for _ in 0..2 {
        topics = java_order::hash_order(topics, names.len(), |topic| java_order::hash(&topic.name));
    }
    let configs = configs(cluster, &names)?;
    let live = cluster.broker_ids()?;
    let moves = reassignments(cluster, &topics)?;
    for topic in &topics {
        let config =
            configs.iter().find(|config| config.resource_name == topic.name).context("no configuration came")?;
        check(config.error_code, config.error_message.as_deref())?;
        print_topic(options, topic, config, &moves);
        print_partitions(options, topic, config, (&moves, &live));
    }
    Ok(())
}

fn partitions(cluster: &mut Cluster, names: &[String], limit: i32) -> anyhow::Result<Vec<Topic>> {
    let live = cluster.broker_ids()?;
    let mut topics: Vec<Topic> = Vec::new();
    let mut cursor = None;
    loop {
        let request = |_| DescribeTopicPartitionsRequest {
            topics: names.iter().map(|name| TopicRequest { name: name.clone() }).collect(),
            response_partition_limit: limit,
            cursor: cursor.clone(),
        };
        let response = cluster.call(Target::Any, request, |_| 0)?;
        for found in response.topics {
            check(found.error_code, None)?;
            let name = found.name.unwrap_or_default();
            let partitions = found.partitions.into_iter().map(|partition| Partition {
                index: partition.partition_index,
                leader: live.contains(&partition.leader_id).then_some(partition.leader_id),
                replicas: partition.replica_nodes,
                in_sync: partition.isr_nodes,
                eligible: partition.eligible_leader_replicas,
                last_eligible: partition.last_known_elr,
            });
            match topics.iter_mut().find(|topic| topic.name == name) {
                Some(topic) => topic.partitions.extend(partitions),
                None => topics.push(Topic { name, id: found.topic_id, partitions: partitions.collect() }),
            }
        }
        match response.next_cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    for topic in &mut topics {
        topic.partitions.sort_by_key(|partition| partition.index);
    }
    Ok(topics)
}

fn from_metadata(metadata: MetadataResponse) -> anyhow::Result<Vec<Topic>> {
    let live: Vec<i32> = metadata.brokers.iter().map(|broker| broker.node_id).collect();
    let mut topics = Vec::new();
    for topic in metadata.topics {
        check(topic.error_code, None)?;
        let mut partitions: Vec<Partition> = topic
            .partitions
            .into_iter()
            .map(|partition| Partition {
                index: partition.partition_index,
                leader: live.contains(&partition.leader_id).then_some(partition.leader_id),
                replicas: partition.replica_nodes,
                in_sync: partition.isr_nodes,
                eligible: None,
                last_eligible: None,
            })
            .collect();
        partitions.sort_by_key(|partition| partition.index);
        topics.push(Topic { name: topic.name.unwrap_or_default(), id: topic.topic_id, partitions });
    }
    Ok(topics)
}

fn configs(cluster: &mut Cluster, names: &[String]) -> anyhow::Result<Vec<DescribeConfigsResult>> {
    let request = |_| DescribeConfigsRequest {
        resources: names
            .iter()
            .map(|name| DescribeConfigsResource {
                resource_type: TOPIC,
                resource_name: name.clone(),
                configuration_keys: None,
            })
            .collect(),
        ..DescribeConfigsRequest::default()
    };
    Ok(cluster.call(Target::Any, request, |_| 0)?.results)
}

type Moves = BTreeMap<(String, i32), OngoingPartitionReassignment>;

fn reassignments(cluster: &mut Cluster, topics: &[Topic]) -> anyhow::Result<Moves> {
    let timeout_ms = cluster.timeout_ms();
    let request = |_| ListPartitionReassignmentsRequest {
        timeout_ms,
        topics: Some(
            topics
                .iter()
                .map(|topic| ListPartitionReassignmentsTopics {
                    name: topic.name.clone(),
                    partition_indexes: topic.partitions.iter().map(|partition| partition.index).collect(),
                })
                .collect(),
        ),
    };
    let response = match cluster.call(Target::Controller, request, |response| response.error_code) {
        Err(error) if can_do_without(&error) => return Ok(Moves::new()),
        response => response?,
    };
    match check(response.error_code, response.error_message.as_deref()) {
        Err(error) if error.code == ErrorCode::ClusterAuthorizationFailed => return Ok(Moves::new()),
        outcome => outcome?,
    }
    let moves = response.topics.into_iter().flat_map(|topic| {
        let name = topic.name;
        topic.partitions.into_iter().map(move |partition| ((name.clone(), partition.partition_index), partition))
    });
    Ok(moves.collect())
}

/// How many replicas a partition has when the move it is in is over.
fn replication_factor(partition: &Partition, moving: Option<&OngoingPartitionReassignment>) -> usize {
    match moving {
        Some(moving)
            if partition
                .replicas
                .iter()
                .any(|id| moving.adding_replicas.contains(id) || moving.removing_replicas.contains(id)) =>
        {
            moving.replicas.len() - moving.adding_replicas.len().min(moving.replicas.len())
        }
        _ => partition.replicas.len(),
    }
}

fn print_topic(options: &Options, topic: &Topic, config: &DescribeConfigsResult, moves: &Moves) {
    let changed: Vec<String> = config
        .configs
        .iter()
        .filter(|entry| entry.config_source != DEFAULT_CONFIG && !entry.is_default)
        .map(|entry| format!("{}={}", entry.name, entry.value.as_deref().unwrap_or("null")))
        .collect();
    let only_partitions = REPORTS.iter().any(|report| options.has(report));
    let Some(first) = topic.partitions.first().filter(|_| !only_partitions) else { return };
    if options.has("topics-with-overrides") && changed.is_empty() {
        return;
    }
    let id = if topic.id.is_nil() { String::new() } else { format!("\tTopicId: {}", uuid_text::format(topic.id)) };
    println!(
        "Topic: {}{id}\tPartitionCount: {}\tReplicationFactor: {}\tConfigs: {}",
        topic.name,
        topic.partitions.len(),
        replication_factor(first, moves.get(&(topic.name.clone(), first.index))),
        changed.join(",")
    );
}

fn print_partitions(options: &Options, topic: &Topic, config: &DescribeConfigsResult, (moves, live): (&Moves, &[i32])) {
    if options.has("topics-with-overrides") {
        return;
    }
    let min_in_sync = config.configs.iter().find(|entry| entry.name == "min.insync.replicas");
    let min_in_sync = min_in_sync.and_then(|entry| entry.value.as_deref()?.parse().ok()).unwrap_or(1);
    for partition in &topic.partitions {
        let moving = moves.get(&(topic.name.clone(), partition.index));
        let reported = REPORTS.iter().filter(|report| options.has(report)).any(|report| match *report {
            "under-replicated-partitions" => replication_factor(partition, moving) > partition.in_sync.len(),
            "under-min-isr-partitions" => partition.leader.is_none() || partition.in_sync.len() < min_in_sync,
            "at-min-isr-partitions" => partition.in_sync.len() == min_in_sync,
            _ => partition.leader.is_none_or(|leader| !live.contains(&leader)),
        });
        if reported || !REPORTS.iter().any(|report| options.has(report)) {
            println!("{}", partition_line(&topic.name, partition, moving));
        }
    }
}

fn partition_line(topic: &str, partition: &Partition, moving: Option<&OngoingPartitionReassignment>) -> String {
    let known = |ids: &Option<Vec<i32>>| ids.as_ref().map_or_else(|| "N/A".to_owned(), joined);
    let moving = moving.map_or_else(String::new, |moving| {
        format!(
            "\tAdding Replicas: {}\tRemoving Replicas: {}",
            joined(&moving.adding_replicas),
            joined(&moving.removing_replicas)
        )
    });
    format!(
        "\tTopic: {topic}\tPartition: {}\tLeader: {}\tReplicas: {}\tIsr: {}{moving}\tElr: {}\tLastKnownElr: {}",
        partition.index,
        partition.leader.map_or_else(|| "none".to_owned(), |id| id.to_string()),
        joined(&partition.replicas),
        joined(&partition.in_sync),
        known(&partition.eligible),
        known(&partition.last_eligible)
    )
}
