//! Offsets of partitions by time (ListOffsets), asked of each partition's leader. Knows no group.

use crate::client::{KafkaError, check};
use crate::cluster::{Cluster, Silent, Target};
use common::kafka::error::ErrorCode;
use common::kafka::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use common::kafka::messages::{ListOffsetsRequest, MetadataRequest, MetadataRequestTopic, MetadataResponse};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Topic and partition.
pub(crate) type Partition = (String, i32);
/// An offset for each partition, or why there is none. -1: no record fits the time.
pub(crate) type Offsets = BTreeMap<Partition, Result<i64, KafkaError>>;

/// The end of the log.
pub(crate) const LATEST: i64 = -1;
/// The start of the log.
pub(crate) const EARLIEST: i64 = -2;

/// How long a partition without leader is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The offsets of partitions at a time (milliseconds, or one of the constants).
pub(crate) fn at(cluster: &mut Cluster, partitions: &[Partition], time: i64) -> anyhow::Result<Offsets> {
    let mut offsets = Offsets::new();
    let mut open: Vec<Partition> = partitions.to_vec();
    let deadline = Instant::now() + if cluster.looks_once() { Duration::ZERO } else { PATIENCE };
    while !open.is_empty() {
        let late = Instant::now() >= deadline;
        let mut again = Vec::new();
        for (leader, partitions) in by_leader(cluster, &open, &mut offsets)? {
            let Some(leader) = leader else {
                again.extend(partitions.into_iter().map(|partition| (partition, ErrorCode::LeaderNotAvailable)));
                continue;
            };
            let answer = match ask(cluster, leader, &partitions, time) {
                Err(error) if error.is::<Silent>() => {
                    let silent = || KafkaError { code: ErrorCode::LeaderNotAvailable, message: error.to_string() };
                    offsets.extend(partitions.into_iter().map(|partition| (partition, Err(silent()))));
                    continue;
                }
                answer => answer?,
            };
            for (partition, result) in answer {
                match result {
                    Err(error) if error.code.is_retriable() && !late => again.push((partition, error.code)),
                    result => drop(offsets.insert(partition, result)),
                }
            }
        }
        if late {
            for (partition, code) in again.drain(..) {
                offsets.insert(partition, check(code.code(), None).map(|()| LATEST));
            }
        }
        open = again.into_iter().map(|(partition, _)| partition).collect();
        if !open.is_empty() {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(offsets)
}

/// Partitions by leader; those that do not exist get their error at once.
fn by_leader(
    cluster: &mut Cluster,
    partitions: &[Partition],
    offsets: &mut Offsets,
) -> anyhow::Result<BTreeMap<Option<i32>, Vec<Partition>>> {
    let mut names: Vec<String> = partitions.iter().map(|(topic, _)| topic.clone()).collect();
    names.sort_unstable();
    names.dedup();
    let metadata = metadata(cluster, &names)?;
    let mut leaders: BTreeMap<Option<i32>, Vec<Partition>> = BTreeMap::new();
    for (topic, index) in partitions {
        let found = metadata.topics.iter().find(|found| found.name.as_deref() == Some(topic));
        let code = found.map_or(0, |topic| topic.error_code);
        let found = found.and_then(|topic| topic.partitions.iter().find(|found| found.partition_index == *index));
        match found {
            Some(found) => {
                let leader = (found.leader_id >= 0).then_some(found.leader_id);
                leaders.entry(leader).or_default().push((topic.clone(), *index));
            }
            None => {
                let code = if code == 0 { ErrorCode::UnknownTopicOrPartition.code() } else { code };
                offsets.insert((topic.clone(), *index), check(code, None).map(|()| LATEST));
            }
        }
    }
    Ok(leaders)
}

fn ask(
    cluster: &mut Cluster,
    leader: i32,
    partitions: &[Partition],
    timestamp: i64,
) -> anyhow::Result<Vec<(Partition, Result<i64, KafkaError>)>> {
    let mut topics: Vec<ListOffsetsTopic> = Vec::new();
    for (topic, partition_index) in partitions {
        let partition = ListOffsetsPartition { partition_index: *partition_index, timestamp, ..Default::default() };
        match topics.iter_mut().find(|found| found.name == *topic) {
            Some(found) => found.partitions.push(partition),
            None => topics.push(ListOffsetsTopic { name: topic.clone(), partitions: vec![partition] }),
        }
    }
    let timeout_ms = cluster.timeout_ms();
    let request = |version| ListOffsetsRequest {
        replica_id: -1,
        isolation_level: 0,
        topics: topics.clone(),
        timeout_ms: if version < 10 { 0 } else { timeout_ms },
    };
    let response = cluster.call(Target::Node(leader), request, |_| 0)?;
    let results = response.topics.into_iter().flat_map(|topic| {
        let name = topic.name;
        topic.partitions.into_iter().map(move |partition| {
            let result = check(partition.error_code, None).map(|()| partition.offset);
            ((name.clone(), partition.partition_index), result)
        })
    });
    Ok(results.collect())
}

/// The named topics.
pub(crate) fn metadata(cluster: &mut Cluster, names: &[String]) -> anyhow::Result<MetadataResponse> {
    let named = |name: &String| MetadataRequestTopic { name: Some(name.clone()), ..Default::default() };
    let request = |_| MetadataRequest {
        topics: Some(names.iter().map(named).collect()),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    cluster.call(Target::Any, request, |_| 0)
}
