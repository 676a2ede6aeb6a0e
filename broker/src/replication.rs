//! What the partitions' machine wants to say to other brokers, as Kafka's messages, and their answers back. Knows the wire
//! of Fetch, ListOffsets and AlterPartition as a follower and leader speak it; decides nothing.

use crate::broker::Broker;
use crate::cluster;
use crate::partition::follower::{
    EpochEnd, EpochsAsk, FetchAnswer, FetchAsk, FetchFailure, Fetched, Key, LeaderOffset, OffsetsAsk, SessionFailure,
    TopicName, Which,
};
use crate::partition::isr::Verdict;
use crate::partition::{IsrAnswer, IsrChange};
use bytes::Bytes;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{
    AlterPartitionRequest, AlterPartitionResponse, FetchRequest, FetchResponse, ListOffsetsPartition,
    ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, ReplicaState, alter_partition,
    fetch::{FetchPartition, FetchTopic, ForgottenTopic},
    offset_for_leader_epoch::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// Fetch with topic ids; the newest version of Kafka 3.9.
const FETCH_BY_ID: i16 = 17;
/// The newest Fetch that names topics.
const FETCH_BY_NAME: i16 = 12;
/// ListOffsets with leader epochs.
const LIST_OFFSETS: i16 = 7;
/// ListOffsets with the first local offset (KIP-405).
const LIST_LOCAL_OFFSETS: i16 = 8;
/// OffsetForLeaderEpoch that says who asks.
const EPOCH_ENDS: i16 = 4;
/// `ListOffsets` for the end of the log.
const LATEST: i64 = -1;
/// `ListOffsets` for the begin of the log.
const EARLIEST: i64 = -2;
/// `ListOffsets` for the begin of what the leader has itself.
const EARLIEST_LOCAL: i64 = -4;

/// A follower's Fetch and the version to send it in.
pub(crate) fn fetch_request(broker: &Broker, ask: FetchAsk) -> (FetchRequest, i16) {
    let config = &broker.config;
    let mut topics: Vec<FetchTopic> = Vec::new();
    for (topic, topic_id, partition, wanted) in ask.wanted {
        if topics.last().is_none_or(|last| last.topic != *topic || last.topic_id != topic_id) {
            topics.push(FetchTopic { topic: topic.to_string(), topic_id, ..FetchTopic::default() });
        }
        let Some(last) = topics.last_mut() else { continue };
        last.partitions.push(FetchPartition {
            partition,
            current_leader_epoch: wanted.current_leader_epoch.unwrap_or(-1),
            fetch_offset: wanted.fetch_offset,
            last_fetched_epoch: wanted.last_fetched_epoch.unwrap_or(-1),
            log_start_offset: wanted.log_start_offset,
            partition_max_bytes: wanted.max_bytes,
            ..FetchPartition::default()
        });
    }
    let mut forgotten: BTreeMap<(Arc<str>, Uuid), Vec<i32>> = BTreeMap::new();
    for (topic, topic_id, partition) in ask.forgotten {
        forgotten.entry((topic, topic_id)).or_default().push(partition);
    }
    let replica_epoch = broker.replicas.broker_epoch();
    let version = if ask.by_id { FETCH_BY_ID } else { FETCH_BY_NAME };
    let by_state = version >= 15;
    let request = FetchRequest {
        replica_id: if by_state { -1 } else { config.broker_id },
        replica_state: if by_state {
            ReplicaState { replica_id: config.broker_id, replica_epoch }
        } else {
            ReplicaState::default()
        },
        max_wait_ms: ask.patience_ms.map_or(config.replica_fetch_wait_max_ms, |patience| {
            config.replica_fetch_wait_max_ms.min(patience.try_into().unwrap_or(i32::MAX))
        }),
        min_bytes: config.replica_fetch_min_bytes,
        max_bytes: config.replica_fetch_response_max_bytes,
        session_id: ask.session_id,
        session_epoch: ask.session_epoch,
        topics,
        forgotten_topics_data: forgotten
            .into_iter()
            .map(|((topic, topic_id), partitions)| ForgottenTopic { topic: topic.to_string(), topic_id, partitions })
            .collect(),
        ..FetchRequest::default()
    };
    (request, version)
}

/// A leader's answer to a follower's Fetch.
pub(crate) fn fetch_answer(response: FetchResponse, version: i16) -> Result<FetchAnswer, SessionFailure> {
    match ErrorCode::from_code(response.error_code) {
        Some(ErrorCode::None) => {}
        Some(ErrorCode::FetchSessionIdNotFound) => return Err(SessionFailure::UnknownSession),
        _ => return Err(SessionFailure::Refused(response.error_code)),
    }
    let mut partitions = Vec::new();
    for topic in response.responses {
        let name = if version >= 13 { TopicName::Id(topic.topic_id) } else { TopicName::Name(topic.topic.clone()) };
        for partition in topic.partitions {
            let outcome = match ErrorCode::from_code(partition.error_code) {
                Some(ErrorCode::None) => Ok(Fetched {
                    records: partition
                        .records
                        .map_or_else(Bytes::new, |records| records.to_bytes().unwrap_or_default()),
                    high_watermark: partition.high_watermark,
                    log_start_offset: partition.log_start_offset,
                    diverging: (partition.diverging_epoch.epoch >= 0)
                        .then_some((partition.diverging_epoch.epoch, partition.diverging_epoch.end_offset)),
                }),
                Some(ErrorCode::OffsetOutOfRange) => Err(FetchFailure::OffsetOutOfRange),
                Some(ErrorCode::OffsetMovedToTieredStorage) => {
                    Err(FetchFailure::InRemote(partition.log_start_offset.max(0)))
                }
                Some(ErrorCode::FencedLeaderEpoch) => Err(FetchFailure::FencedEpoch),
                _ => Err(FetchFailure::Other(partition.error_code)),
            };
            partitions.push((name.clone(), partition.partition_index, outcome));
        }
    }
    Ok(FetchAnswer { session_id: response.session_id, partitions })
}

/// A follower's question for the ends of a leader's logs.
pub(crate) fn list_offsets_request(broker: &Broker, ask: &OffsetsAsk) -> (ListOffsetsRequest, i16) {
    let (timestamp, version) = match ask.which {
        Which::End => (LATEST, LIST_OFFSETS),
        Which::Start => (EARLIEST, LIST_OFFSETS),
        Which::LocalStart => (EARLIEST_LOCAL, LIST_LOCAL_OFFSETS),
    };
    let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for (topic, partition, epoch) in &ask.partitions {
        topics.entry(topic).or_default().push(ListOffsetsPartition {
            partition_index: *partition,
            current_leader_epoch: *epoch,
            timestamp,
            ..ListOffsetsPartition::default()
        });
    }
    let topics =
        topics.into_iter().map(|(name, partitions)| ListOffsetsTopic { name: name.to_owned(), partitions }).collect();
    (ListOffsetsRequest { replica_id: broker.config.broker_id, topics, ..ListOffsetsRequest::default() }, version)
}

/// A leader's answer to it.
pub(crate) fn list_offsets_answer(response: ListOffsetsResponse) -> Vec<(Key, Result<LeaderOffset, FetchFailure>)> {
    let mut answers = Vec::new();
    for topic in response.topics {
        let name: Arc<str> = topic.name.into();
        for partition in topic.partitions {
            let outcome = match ErrorCode::from_code(partition.error_code) {
                Some(ErrorCode::None) => {
                    Ok(LeaderOffset { offset: partition.offset, leader_epoch: partition.leader_epoch })
                }
                Some(ErrorCode::FencedLeaderEpoch) => Err(FetchFailure::FencedEpoch),
                _ => Err(FetchFailure::Other(partition.error_code)),
            };
            answers.push(((name.clone(), partition.partition_index), outcome));
        }
    }
    answers
}

/// A follower's question where epochs end.
pub(crate) fn epochs_request(broker: &Broker, ask: &EpochsAsk) -> (OffsetForLeaderEpochRequest, i16) {
    let mut topics: BTreeMap<&str, Vec<OffsetForLeaderPartition>> = BTreeMap::new();
    for (topic, partition, current_leader_epoch, leader_epoch) in &ask.partitions {
        topics.entry(topic).or_default().push(OffsetForLeaderPartition {
            partition: *partition,
            current_leader_epoch: *current_leader_epoch,
            leader_epoch: *leader_epoch,
        });
    }
    let topic = |(topic, partitions): (&str, _)| OffsetForLeaderTopic { topic: topic.to_owned(), partitions };
    let topics = topics.into_iter().map(topic).collect();
    (OffsetForLeaderEpochRequest { replica_id: broker.config.broker_id, topics }, EPOCH_ENDS)
}

/// A leader's answer to it.
pub(crate) fn epochs_answer(response: OffsetForLeaderEpochResponse) -> Vec<EpochEnd> {
    let mut answers = Vec::new();
    for topic in response.topics {
        let name: Arc<str> = topic.topic.into();
        for partition in topic.partitions {
            let outcome = match ErrorCode::from_code(partition.error_code) {
                Some(ErrorCode::None) => Ok((partition.leader_epoch, partition.end_offset)),
                Some(ErrorCode::FencedLeaderEpoch) => Err(FetchFailure::FencedEpoch),
                _ => Err(FetchFailure::Other(partition.error_code)),
            };
            answers.push(((name.clone(), partition.partition), outcome));
        }
    }
    answers
}

/// ISR changes for a controller elsewhere: by topic id, or by name where a topic has none.
pub(crate) fn alter_partition_request(broker: &Broker, changes: &[IsrChange]) -> (AlterPartitionRequest, i16) {
    let by_id = changes.iter().all(|change| !change.topic_id.is_nil());
    let mut topics: BTreeMap<(&str, Uuid), Vec<alter_partition::PartitionData>> = BTreeMap::new();
    for change in changes {
        topics.entry((&change.topic, change.topic_id)).or_default().push(alter_partition::PartitionData {
            partition_index: change.partition,
            leader_epoch: change.leader_epoch,
            new_isr: change.isr.clone(),
            partition_epoch: change.partition_epoch,
            ..alter_partition::PartitionData::default()
        });
    }
    let request = AlterPartitionRequest {
        broker_id: broker.config.broker_id,
        broker_epoch: broker.replicas.broker_epoch(),
        topics: topics
            .into_iter()
            .map(|((name, topic_id), partitions)| alter_partition::TopicData {
                topic_name: name.to_owned(),
                topic_id,
                partitions,
            })
            .collect(),
    };
    (request, if by_id { 2 } else { 1 })
}

/// The controller's answer; `None` if it refused the request as a whole.
pub(crate) fn alter_partition_answer(response: AlterPartitionResponse, version: i16) -> Option<Vec<IsrAnswer>> {
    if response.error_code != ErrorCode::None.code() {
        tracing::debug!(error_code = response.error_code, "the controller refused a change of in-sync replicas");
        return None;
    }
    let mut answers = Vec::new();
    for topic in response.topics {
        let name = if version >= 2 { TopicName::Id(topic.topic_id) } else { TopicName::Name(topic.topic_name) };
        for partition in topic.partitions {
            let verdict = match ErrorCode::from_code(partition.error_code) {
                Some(ErrorCode::None) => Verdict::Accepted {
                    isr: partition.isr,
                    partition_epoch: partition.partition_epoch,
                    leader_epoch: partition.leader_epoch,
                    eligible_min_isr: partition.eligible_min_isr,
                },
                Some(ErrorCode::OperationNotAttempted | ErrorCode::IneligibleReplica) => Verdict::NotDone,
                Some(
                    ErrorCode::UnknownTopicOrPartition
                    | ErrorCode::UnknownTopicId
                    | ErrorCode::FencedLeaderEpoch
                    | ErrorCode::InvalidUpdateVersion
                    | ErrorCode::InvalidRequest
                    | ErrorCode::NewLeaderElected,
                ) => Verdict::Stale,
                _ => Verdict::Retry,
            };
            answers.push(IsrAnswer { topic: name.clone(), partition: partition.partition_index, verdict });
        }
    }
    Some(answers)
}

/// ISR changes for the controller in this process.
pub(crate) fn isr_changes(changes: &[IsrChange]) -> Vec<cluster::IsrChange> {
    changes
        .iter()
        .map(|change| cluster::IsrChange {
            topic: cluster::TopicRef::Name(change.topic.to_string()),
            partition: change.partition,
            leader_epoch: change.leader_epoch,
            isr: change.isr.clone(),
            recovering: false,
            partition_epoch: change.partition_epoch,
        })
        .collect()
}

/// Its answers.
pub(crate) fn isr_answers(outcomes: Vec<cluster::IsrOutcome>) -> Vec<IsrAnswer> {
    use cluster::AlterPartitionError as Error;
    let verdict = |outcome| match outcome {
        Ok(cluster::IsrState { state, partition_epoch }) => {
            let eligible_min_isr = state.eligible_min_isr();
            Verdict::Accepted { isr: state.isr, partition_epoch, leader_epoch: state.leader_epoch, eligible_min_isr }
        }
        Err(Error::IneligibleReplica) => Verdict::NotDone,
        Err(Error::NotController | Error::StaleBrokerEpoch) => Verdict::Retry,
        Err(
            Error::UnknownTopicId
            | Error::UnknownPartition
            | Error::FencedLeaderEpoch
            | Error::StalePartitionEpoch
            | Error::BadRecoveryState,
        ) => Verdict::Stale,
    };
    let name = |topic| match topic {
        cluster::TopicRef::Name(name) => TopicName::Name(name),
        cluster::TopicRef::Id(id) => TopicName::Id(id),
    };
    outcomes
        .into_iter()
        .map(|answer| IsrAnswer {
            topic: name(answer.topic),
            partition: answer.partition,
            verdict: verdict(answer.outcome),
        })
        .collect()
}
