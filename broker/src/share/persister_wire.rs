//! The five requests to a share coordinator as a broker sends them, and their answers. Asks nobody by itself.

use super::batches_wire;
use super::coordinator::StateWrite;
use super::{NO_COUNT, StateReply, StateRequest};
use crate::broker::Broker;
use crate::outbox::Channel;
use crate::peers::PeerCall;
use bytes::Bytes;
use common::id::BrokerId;
use common::kafka::error::ErrorCode;
use common::kafka::header;
use common::kafka::messages::{
    DeleteShareGroupStateRequest, InitializeShareGroupStateRequest, ReadShareGroupStateRequest,
    ReadShareGroupStateSummaryRequest, Request, WriteShareGroupStateRequest, delete_share_group_state,
    initialize_share_group_state, read_share_group_state, read_share_group_state_summary, write_share_group_state,
};
use common::time::Millis;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// Versions in which brokers speak: those of Kafka 4.3.
const VERSION: i16 = 0;
const WITH_COUNT: i16 = 1;

/// What the coordinator said, by topic and partition.
pub(super) type Answers = BTreeMap<(Uuid, i32), Result<StateReply, ErrorCode>>;

/// Which of the five requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Initialize,
    Read,
    Write,
    Delete,
    Summarize,
}

impl Kind {
    pub(super) fn of(request: &StateRequest) -> Kind {
        match request {
            StateRequest::Initialize { .. } => Kind::Initialize,
            StateRequest::Read { .. } => Kind::Read,
            StateRequest::Write(_) => Kind::Write,
            StateRequest::Delete => Kind::Delete,
            StateRequest::Summarize => Kind::Summarize,
        }
    }
}

/// By topic, in order.
fn by_topic<T>(asked: impl Iterator<Item = (Uuid, T)>) -> BTreeMap<Uuid, Vec<T>> {
    let mut topics: BTreeMap<Uuid, Vec<T>> = BTreeMap::new();
    for (topic, partition) in asked {
        topics.entry(topic).or_default().push(partition);
    }
    topics
}

/// Sends the question; false if it is not known where the broker is.
pub(super) fn send(
    broker: &Arc<Broker>,
    to: (BrokerId, Channel),
    call: PeerCall,
    (kind, group_id, asked): (Kind, String, Vec<(Uuid, i32, StateRequest)>),
    deadline: Millis,
) -> bool {
    match kind {
        Kind::Initialize => {
            let partition = |(topic, partition, request)| match request {
                StateRequest::Initialize { state_epoch, start_offset } => {
                    Some((topic, initialize_share_group_state::PartitionData { partition, state_epoch, start_offset }))
                }
                _ => None,
            };
            let topics = by_topic(asked.into_iter().filter_map(partition)).into_iter().map(|(topic_id, partitions)| {
                initialize_share_group_state::InitializeStateData { topic_id, partitions }
            });
            let request = InitializeShareGroupStateRequest { group_id, topics: topics.collect() };
            broker.send(to, call, &(request, VERSION), deadline)
        }
        Kind::Read => {
            let partition = |(topic, partition, request)| match request {
                StateRequest::Read { leader_epoch } => {
                    Some((topic, read_share_group_state::PartitionData { partition, leader_epoch }))
                }
                _ => None,
            };
            let topics = by_topic(asked.into_iter().filter_map(partition))
                .into_iter()
                .map(|(topic_id, partitions)| read_share_group_state::ReadStateData { topic_id, partitions });
            let request = ReadShareGroupStateRequest { group_id, topics: topics.collect() };
            broker.send(to, call, &(request, VERSION), deadline)
        }
        Kind::Write => {
            let partition = |(topic, partition, request)| match request {
                StateRequest::Write(write) => Some((topic, write_data(partition, write))),
                _ => None,
            };
            let topics = by_topic(asked.into_iter().filter_map(partition))
                .into_iter()
                .map(|(topic_id, partitions)| write_share_group_state::WriteStateData { topic_id, partitions });
            let request = WriteShareGroupStateRequest { group_id, topics: topics.collect() };
            broker.send(to, call, &(request, WITH_COUNT), deadline)
        }
        Kind::Delete => {
            let partition = |(topic, partition, _)| (topic, delete_share_group_state::PartitionData { partition });
            let topics = by_topic(asked.into_iter().map(partition))
                .into_iter()
                .map(|(topic_id, partitions)| delete_share_group_state::DeleteStateData { topic_id, partitions });
            let request = DeleteShareGroupStateRequest { group_id, topics: topics.collect() };
            broker.send(to, call, &(request, VERSION), deadline)
        }
        Kind::Summarize => {
            let partition = |(topic, partition, _)| {
                (topic, read_share_group_state_summary::PartitionData { partition, leader_epoch: -1 })
            };
            let topics = by_topic(asked.into_iter().map(partition)).into_iter().map(|(topic_id, partitions)| {
                read_share_group_state_summary::ReadStateSummaryData { topic_id, partitions }
            });
            let request = ReadShareGroupStateSummaryRequest { group_id, topics: topics.collect() };
            broker.send(to, call, &(request, WITH_COUNT), deadline)
        }
    }
}

fn write_data(partition: i32, write: StateWrite) -> write_share_group_state::PartitionData {
    let StateWrite { state_epoch, leader_epoch, start_offset, delivery_complete_count, batches } = write;
    write_share_group_state::PartitionData {
        partition,
        state_epoch,
        leader_epoch,
        start_offset,
        delivery_complete_count,
        state_batches: batches_wire::to_write(&batches),
    }
}

/// Reads an answer; `None` if it cannot be read.
pub(super) fn read(kind: Kind, bytes: Bytes, version: i16) -> Option<Answers> {
    let done = |code: i16| match ErrorCode::from_code(code) {
        Some(ErrorCode::None) => Ok(StateReply::default()),
        code => Err(code.unwrap_or(ErrorCode::UnknownServerError)),
    };
    let mut answers = Answers::new();
    match kind {
        Kind::Initialize => {
            for topic in decode::<InitializeShareGroupStateRequest>(bytes, version)?.results {
                for one in topic.partitions {
                    answers.insert((topic.topic_id, one.partition), done(one.error_code));
                }
            }
        }
        Kind::Read => {
            for topic in decode::<ReadShareGroupStateRequest>(bytes, version)?.results {
                for one in topic.partitions {
                    let result = done(one.error_code).map(|_| StateReply {
                        state_epoch: one.state_epoch,
                        leader_epoch: 0,
                        start_offset: one.start_offset,
                        delivery_complete_count: NO_COUNT,
                        batches: batches_wire::from_read(&one.state_batches),
                    });
                    answers.insert((topic.topic_id, one.partition), result);
                }
            }
        }
        Kind::Write => {
            for topic in decode::<WriteShareGroupStateRequest>(bytes, version)?.results {
                for one in topic.partitions {
                    answers.insert((topic.topic_id, one.partition), done(one.error_code));
                }
            }
        }
        Kind::Delete => {
            for topic in decode::<DeleteShareGroupStateRequest>(bytes, version)?.results {
                for one in topic.partitions {
                    answers.insert((topic.topic_id, one.partition), done(one.error_code));
                }
            }
        }
        Kind::Summarize => {
            for topic in decode::<ReadShareGroupStateSummaryRequest>(bytes, version)?.results {
                for one in topic.partitions {
                    let result = done(one.error_code).map(|_| StateReply {
                        state_epoch: one.state_epoch,
                        leader_epoch: one.leader_epoch,
                        start_offset: one.start_offset,
                        delivery_complete_count: one.delivery_complete_count,
                        batches: Vec::new(),
                    });
                    answers.insert((topic.topic_id, one.partition), result);
                }
            }
        }
    }
    Some(answers)
}

fn decode<R: Request>(response: Bytes, version: i16) -> Option<R::Response> {
    match header::decode_response::<R>(response, version) {
        Ok((_, response)) => Some(response),
        Err(error) => {
            tracing::warn!(api = R::NAME, version, %error, "a broker's response cannot be read");
            None
        }
    }
}
