//! Produce (0), versions 3 to 13: appends record batches; one batch of format 2 for each partition. acks=0 gets no answer,
//! acks=1 the leader's word, acks=-1 that of all replicas in sync. Versions 0 to 2 are advertised and closed upon, because
//! librdkafka takes their absence for a broker without compression (KAFKA-18659).
//!
//! Errors by partition: UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, NOT_LEADER_OR_FOLLOWER (from version 10 on with the
//! leader, KIP-951), INVALID_REQUIRED_ACKS, NOT_ENOUGH_REPLICAS, NOT_ENOUGH_REPLICAS_AFTER_APPEND, REQUEST_TIMED_OUT,
//! INVALID_TOPIC_EXCEPTION (internal topic), and what the log finds wrong with a batch. Transactional batches are refused
//! with INVALID_TXN_STATE: there is no transaction coordinator to ask.

use super::error::text;
use super::{Context, Endpoint, Reply};
use crate::broker::Broker;
use crate::leaders::{CurrentLeader, current_leader};
use crate::log::AppendOrigin;
use crate::partition::{Append, Appended, ProduceCall, ProduceError, is_internal};
use bytes::Bytes;
use common::kafka::batch::{BatchHeader, HEADER_BYTES};
use common::kafka::compression::Compression;
use common::kafka::error::ErrorCode;
use common::kafka::messages::produce::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceData, PartitionProduceResponse, TopicProduceResponse,
};
use common::kafka::messages::{ProduceRequest, ProduceResponse};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use uuid::Uuid;

/// The client id by which Kafka's own tools may write to internal topics.
const ADMIN_CLIENT_ID: &str = "__admin_client";
/// First version that may carry zstd (KIP-110).
const ZSTD_FROM: i16 = 7;
/// First version that tells the leader.
const LEADER_FROM: i16 = 10;
/// First version that names topics by id.
const TOPIC_ID_FROM: i16 = 13;

/// See the top of the file.
pub struct Produce;

impl Endpoint for Produce {
    type Request = ProduceRequest;
    const VERSIONS: RangeInclusive<i16> = 3..=13;
    // Appends are done in order, at once; only the acknowledgement waits.
    const LETS_PASS: bool = true;
    const ADVERTISED_FROM: i16 = 0;

    fn handle(ctx: &Context<'_>, request: ProduceRequest) -> Reply<ProduceResponse> {
        let acks = request.acks;
        let timeout_ms = u64::try_from(request.timeout_ms).unwrap_or(0);
        let (mut answer, parts) = sort(ctx, request);
        if parts.is_empty() {
            return reply(acks, answer);
        }
        let call = ProduceCall { acks_all: acks == -1, timeout_ms, origin: AppendOrigin::Client, parts };
        let outcomes = ctx.broker.with_replicas(ctx.now, |replicas, effects| {
            let done = || -> crate::partition::waiting::Done<_> {
                let (ticket, mut answer) = (ctx.ticket::<ProduceRequest>(), std::mem::take(&mut answer));
                Box::new(move |outcomes| {
                    answer.fill(outcomes);
                    ticket.answer(&answer.into_response());
                })
            };
            replicas.produce(call, done, ctx.now, effects)
        });
        match outcomes {
            Some(outcomes) => {
                answer.fill(outcomes);
                reply(acks, answer)
            }
            None => Reply::Parked,
        }
    }
}

fn reply(acks: i16, answer: Answer) -> Reply<ProduceResponse> {
    if acks != 0 {
        return Reply::Now(answer.into_response());
    }
    // Without an answer the only way to tell of a failure is to close; the client then asks for metadata.
    match answer.first_error() {
        Some(error) => Reply::Close(format!("produce with acks=0 failed: {error}")),
        None => Reply::Silent,
    }
}

/// Separates what can be appended from what cannot.
fn sort(ctx: &Context<'_>, request: ProduceRequest) -> (Answer, Vec<Append>) {
    let mut answer = Answer {
        broker: Some(ctx.broker.clone()),
        listener: ctx.connection.listener.clone(),
        version: ctx.version,
        ..Answer::default()
    };
    let mut parts = Vec::new();
    let are_acks_valid = matches!(request.acks, -1..=1);
    let image = ctx.broker.image.read();
    for topic in request.topic_data {
        let name = if ctx.version >= TOPIC_ID_FROM { image.topic_name(topic.topic_id) } else { Some(&*topic.name) };
        let name: Option<Arc<str>> = name.map(Arc::from);
        answer.topics.push((name.clone(), topic.name, topic.topic_id));
        let place = answer.topics.len() - 1;
        for PartitionProduceData { index, records } in topic.partition_data {
            let checked = match &name {
                None => Err(ErrorCode::UnknownTopicId),
                Some(name) if image.partition(name, index).is_none() => Err(ErrorCode::UnknownTopicOrPartition),
                Some(_) if !are_acks_valid => Err(ErrorCode::InvalidRequiredAcks),
                Some(name) if is_internal(name) && ctx.client_id != Some(ADMIN_CLIENT_ID) => {
                    Err(ErrorCode::InvalidTopicException)
                }
                Some(name) => {
                    let records = records.map_or(Ok(Bytes::new()), |records| records.to_bytes());
                    let records = records.map_err(|_| ErrorCode::InvalidRecord);
                    records.and_then(|records| {
                        check(&records, ctx.version)?;
                        Ok(Append { topic: name.clone(), partition: index, records })
                    })
                }
            };
            match checked {
                Ok(part) => {
                    parts.push(part);
                    answer.partitions.push((place, index, None));
                }
                Err(code) => answer.partitions.push((place, index, Some(failure(index, code)))),
            }
        }
    }
    (answer, parts)
}

/// Produce carries one whole batch of format 2 for each partition.
fn check(records: &Bytes, version: i16) -> Result<(), ErrorCode> {
    if records.len() < HEADER_BYTES {
        return Err(ErrorCode::InvalidRecord);
    }
    let header = BatchHeader::parse(records).map_err(|_| ErrorCode::InvalidRecord)?;
    if header.size_bytes() != records.len() {
        return Err(ErrorCode::InvalidRecord);
    }
    match header.compression() {
        Ok(Compression::Zstd) if version < ZSTD_FROM => Err(ErrorCode::UnsupportedCompressionType),
        Ok(_) if header.is_transactional() => Err(ErrorCode::InvalidTxnState),
        _ => Ok(()),
    }
}

fn failure(index: i32, code: ErrorCode) -> PartitionProduceResponse {
    PartitionProduceResponse { index, error_code: code.code(), base_offset: -1, ..PartitionProduceResponse::default() }
}

/// The answer while it is being made. Partitions without a response of their own get the outcomes, in order.
#[derive(Default)]
struct Answer {
    broker: Option<Arc<Broker>>,
    listener: String,
    version: i16,
    /// Name if known, name and id as the request has them.
    topics: Vec<(Option<Arc<str>>, String, Uuid)>,
    /// Place of the topic, partition, response.
    partitions: Vec<(usize, i32, Option<PartitionProduceResponse>)>,
    nodes: BTreeMap<i32, NodeEndpoint>,
}

impl Answer {
    fn fill(&mut self, outcomes: Vec<Result<Appended, ProduceError>>) {
        let mut outcomes = outcomes.into_iter();
        for (place, index, response) in &mut self.partitions {
            if response.is_some() {
                continue;
            }
            let mut filled = match outcomes.next() {
                Some(Ok(appended)) => PartitionProduceResponse {
                    index: *index,
                    base_offset: appended.base_offset,
                    log_append_time_ms: appended.log_append_time,
                    log_start_offset: appended.log_start_offset,
                    ..PartitionProduceResponse::default()
                },
                Some(Err(error)) => {
                    let code = ErrorCode::from(&error);
                    // Clients show what is wrong with their own records; the rest has texts of its own.
                    let is_theirs = matches!(code, ErrorCode::InvalidRecord | ErrorCode::InvalidTimestamp);
                    let error_message = if is_theirs { text(error.to_string()) } else { None };
                    PartitionProduceResponse { error_message, ..failure(*index, code) }
                }
                None => failure(*index, ErrorCode::UnknownServerError),
            };
            if filled.error_code == ErrorCode::NotLeaderOrFollower.code()
                && self.version >= LEADER_FROM
                && let (Some(broker), Some(topic)) = (&self.broker, &self.topics[*place].0)
            {
                let leader = current_leader(broker, topic, *index, &self.listener);
                hint(&mut filled, &mut self.nodes, leader);
            }
            *response = Some(filled);
        }
    }

    fn first_error(&self) -> Option<ErrorCode> {
        let mut codes =
            self.partitions.iter().flat_map(|(_, _, response)| response).map(|response| response.error_code);
        codes.find(|code| *code != 0).and_then(ErrorCode::from_code)
    }

    fn into_response(self) -> ProduceResponse {
        let mut responses: Vec<TopicProduceResponse> = self
            .topics
            .into_iter()
            .map(|(_, name, topic_id)| TopicProduceResponse { name, topic_id, ..TopicProduceResponse::default() })
            .collect();
        for (place, _, response) in self.partitions {
            responses[place].partition_responses.extend(response);
        }
        ProduceResponse { responses, node_endpoints: self.nodes.into_values().collect(), ..ProduceResponse::default() }
    }
}

fn hint(response: &mut PartitionProduceResponse, nodes: &mut BTreeMap<i32, NodeEndpoint>, leader: CurrentLeader) {
    response.current_leader = LeaderIdAndEpoch { leader_id: leader.id, leader_epoch: leader.epoch };
    if let Some(node) = leader.node {
        nodes.insert(leader.id, NodeEndpoint { node_id: leader.id, host: node.host, port: node.port, rack: node.rack });
    }
}
