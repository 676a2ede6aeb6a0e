//! Produce (0), versions 3 to 13: appends record batches; one batch of format 2 for each partition. acks=0 gets no answer,
//! acks=1 the leader's word, acks=-1 that of all replicas in sync. Versions 0 to 2 are advertised and closed upon, because
//! librdkafka takes their absence for a broker without compression (KAFKA-18659).
//!
//! Errors by partition: UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, NOT_LEADER_OR_FOLLOWER (from version 10 on with the
//! leader, KIP-951), INVALID_REQUIRED_ACKS, NOT_ENOUGH_REPLICAS, NOT_ENOUGH_REPLICAS_AFTER_APPEND, REQUEST_TIMED_OUT,
//! INVALID_TOPIC_EXCEPTION (internal topic), and what the log finds wrong with a batch. Before the first batch of a
//! transaction in a partition its coordinator is asked (KIP-890): TRANSACTION_ABORTABLE (INVALID_TXN_STATE before version
//! 11) if the partition is not part of it, INVALID_PRODUCER_EPOCH, INVALID_PRODUCER_ID_MAPPING, CONCURRENT_TRANSACTIONS (12
//! on), NETWORK_EXCEPTION; NOT_ENOUGH_REPLICAS where it cannot tell yet. TRANSACTIONAL_ID_AUTHORIZATION_FAILED without an id.

use super::error::text;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::leaders::{CurrentLeader, current_leader};
use crate::log::{AppendError, AppendOrigin, Verification};
use crate::partition::{Append, Appended, ProduceCall, ProduceError, is_internal};
use crate::txn::Producer;
use crate::txn::records::Place;
use crate::txn_peers::{Question, Verdicts};
use bytes::Bytes;
use common::kafka::batch::{Batch, BatchHeader, HEADER_BYTES};
use common::kafka::compression::Compression;
use common::kafka::error::ErrorCode;
use common::kafka::messages::produce::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceData, PartitionProduceResponse,
    TopicProduceResponse,
};
use common::kafka::messages::{ProduceRequest, ProduceResponse};
use common::time::Now;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use uuid::Uuid;

/// The client id by which Kafka's own tools may write to internal topics.
const ADMIN_CLIENT_ID: &str = "__admin_client";
/// First version that may carry zstd (KIP-110).
const ZSTD_FROM: i16 = 7;
/// First version that tells the leader.
const LEADER_FROM: i16 = 10;
/// First version that knows TRANSACTION_ABORTABLE (KIP-1050).
const ABORTABLE_FROM: i16 = 11;
/// First version of transaction.version 2: a partition joins the transaction by being written to.
const ADDS_FROM: i16 = 12;
/// First version that names topics by id.
const TOPIC_ID_FROM: i16 = 13;

/// Where a batch of any format has its length and its format, and how long it is at least.
const LENGTH_AT: usize = 8;
const MAGIC_AT: usize = 16;
const LENGTH_MIN: i32 = 14;

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
        let transactional_id = request.transactional_id.clone();
        let (mut answer, mut parts) = sort(ctx, request);
        if parts.is_empty() {
            return reply(acks, answer);
        }
        // A transactional batch without an id has been refused.
        let asked = transactional_id.and_then(|id| Some((id, begin_verification(ctx, &mut parts)?)));
        if let (Some((transactional_id, (producer, places))), true) = (asked, acks != 0) {
            let verify_only = ctx.version < ADDS_FROM;
            let question = Question { transactional_id, producer, places, verify_only };
            let (broker, ticket) = (ctx.broker.clone(), ctx.ticket::<ProduceRequest>());
            let then = Box::new(move |verdicts: Verdicts, now: Now| {
                let parts = answer.refuse(parts, &verdicts);
                let call = ProduceCall { acks_all: acks == -1, timeout_ms, origin: AppendOrigin::Client, parts };
                let mut ticket = Some(ticket);
                let answered = append(&broker, answer, || ticket.take().expect("called once"), call, now);
                if let (Some(answer), Some(ticket)) = (answered, ticket) {
                    ticket.answer(&answer.into_response());
                }
            });
            ctx.broker.ask_coordinator(question, then, ctx.now);
            // The next batches of the producer must not come into the log before these.
            return Reply::ParkedAlone;
        }
        let call = ProduceCall { acks_all: acks == -1, timeout_ms, origin: AppendOrigin::Client, parts };
        match append(ctx.broker, answer, || ctx.ticket(), call, ctx.now) {
            Some(answer) => reply(acks, answer),
            None => Reply::Parked,
        }
    }
}

/// Appends; gives the answer, unless it waits for replicas: then the ticket gets it.
fn append(
    broker: &Arc<Broker>,
    mut answer: Answer,
    ticket: impl FnOnce() -> Ticket<ProduceRequest>,
    call: ProduceCall,
    now: Now,
) -> Option<Answer> {
    let outcomes = broker.with_replicas(now, |replicas, effects| {
        let done = || -> crate::partition::waiting::Done<_> {
            let (ticket, mut answer) = (ticket(), std::mem::take(&mut answer));
            Box::new(move |outcomes| {
                answer.fill(outcomes);
                ticket.answer(&answer.into_response());
            })
        };
        replicas.produce(call, done, now, effects)
    });
    answer.fill(outcomes?);
    Some(answer)
}

/// Notes what each transactional batch needs to be appended (KIP-890): the producer, and the partitions about which its
/// transaction's coordinator is to be asked, if there are any.
fn begin_verification(ctx: &Context<'_>, parts: &mut [Append]) -> Option<(Producer, BTreeSet<Place>)> {
    let mut asked: Option<(Producer, BTreeSet<Place>)> = None;
    for part in parts {
        let Ok(header) = BatchHeader::parse(&part.records) else { continue };
        if !header.is_transactional() || !ctx.broker.current.read().transaction_partition_verification_enable {
            continue;
        }
        let producer = (header.producer_id, header.producer_epoch);
        let held = ctx.broker.replicas.get(&part.topic, part.partition);
        let needed = held.and_then(|held| held.begin_verification(producer, header.base_sequence, ctx.now));
        part.verification = needed.unwrap_or_default();
        if let Verification::Asked(_) = part.verification {
            let (_, places) = asked.get_or_insert_with(|| (producer, BTreeSet::new()));
            places.insert((part.topic.to_string(), part.partition));
        }
    }
    asked
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
    let may_use = |id: &str| ctx.may(Operation::Write, ResourceType::TransactionalId, id);
    let has_id = request.transactional_id.as_deref().is_some_and(may_use);
    let mut refusal = None;
    let image = ctx.broker.image.read();
    for topic in request.topic_data {
        let name = if ctx.version >= TOPIC_ID_FROM { image.topic_name(topic.topic_id) } else { Some(&*topic.name) };
        let name: Option<Arc<str>> = name.map(Arc::from);
        let may_write = name.as_ref().is_none_or(|name| ctx.may_topic(Operation::Write, name));
        answer.topics.push((name.clone(), topic.name, topic.topic_id));
        let place = answer.topics.len() - 1;
        for PartitionProduceData { index, records } in topic.partition_data {
            let records = records.map_or(Ok(Bytes::new()), |records| records.to_bytes());
            refusal = refusal.or_else(|| refuse_all(records.as_ref().ok()?, has_id));
            let checked = match &name {
                None => Err(ErrorCode::UnknownTopicId),
                Some(_) if !may_write => Err(ErrorCode::TopicAuthorizationFailed),
                Some(name) if image.partition(name, index).is_none() => Err(ErrorCode::UnknownTopicOrPartition),
                Some(name) => {
                    let records = records.map_err(|_| ErrorCode::InvalidRecord);
                    match records.and_then(|records| check(&records, ctx.version)) {
                        Ok(_) if !are_acks_valid => Err(ErrorCode::InvalidRequiredAcks),
                        Ok(_) if is_internal(name) && ctx.client_id != Some(ADMIN_CLIENT_ID) => {
                            Err(ErrorCode::InvalidTopicException)
                        }
                        Ok(records) => {
                            let (topic, verification) = (name.clone(), Verification::Off);
                            Ok(Append { topic, partition: index, records, verification })
                        }
                        Err(code) => Err(code),
                    }
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
    if let Some((code, error_message)) = refusal {
        parts.clear();
        for (_, index, response) in &mut answer.partitions {
            *response =
                Some(PartitionProduceResponse { error_message: error_message.clone(), ..failure(*index, code) });
        }
    }
    (answer, parts)
}

/// What is wrong with one partition's records so that the whole request is refused, as Kafka does it: bytes that are no batch
/// of any format, or a batch of a transaction that the client may not write to.
fn refuse_all(records: &[u8], has_transactional_id: bool) -> Option<(ErrorCode, Option<String>)> {
    let length = i32::from_be_bytes(*records.get(LENGTH_AT..)?.first_chunk()?);
    if length < LENGTH_MIN {
        let text = format!("Record size {length} is less than the minimum record overhead ({LENGTH_MIN})");
        return Some((ErrorCode::CorruptMessage, Some(text)));
    }
    let magic = *records.get(MAGIC_AT)? as i8;
    if !(0..=2).contains(&magic) {
        return Some((ErrorCode::CorruptMessage, Some(format!("Invalid magic found in record: {magic}"))));
    }
    let header = BatchHeader::parse(records).ok().filter(|header| header.size_bytes() <= records.len())?;
    let is_forbidden = header.is_transactional() && !has_transactional_id;
    is_forbidden.then_some((ErrorCode::TransactionalIdAuthorizationFailed, None))
}

/// Produce carries one batch of format 2 for each partition. What is behind it and no whole batch is left away.
fn check(records: &Bytes, version: i16) -> Result<Bytes, ErrorCode> {
    if records.len() < HEADER_BYTES {
        return Err(ErrorCode::InvalidRecord);
    }
    let header = BatchHeader::parse(records).map_err(|_| ErrorCode::InvalidRecord)?;
    let size_bytes = header.size_bytes();
    if size_bytes > records.len() || Batch::parse(records.slice(size_bytes..)).is_ok() {
        return Err(ErrorCode::InvalidRecord);
    }
    match header.compression() {
        Ok(Compression::Zstd) if version < ZSTD_FROM => Err(ErrorCode::UnsupportedCompressionType),
        _ => Ok(records.slice(..size_bytes)),
    }
}

/// What the coordinator of a transaction says, as a producer understands it.
fn unverified(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if version < ABORTABLE_FROM => ErrorCode::InvalidTxnState,
        ErrorCode::ConcurrentTransactions if version >= ADDS_FROM => code,
        // Nothing that a producer would wait for comes from the leader of a partition; that, however, it tries again.
        ErrorCode::ConcurrentTransactions
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => ErrorCode::NotEnoughReplicas,
        other => other,
    }
}

/// A batch that the log did not take: where the log begins, and which records are to blame (KIP-467).
fn refused(broker: Option<&Broker>, topic: &str, index: i32, error: &ProduceError) -> PartitionProduceResponse {
    let code = ErrorCode::from(error);
    // Clients show what is wrong with their own records; the rest has texts of its own.
    let is_theirs = matches!(code, ErrorCode::InvalidRecord | ErrorCode::InvalidTimestamp);
    let mut response = PartitionProduceResponse {
        error_message: if is_theirs { text(error.to_string()) } else { None },
        ..failure(index, code)
    };
    let ProduceError::Refused(cause) = error else { return response };
    if !matches!(code, ErrorCode::CorruptMessage | ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge) {
        let held = broker.and_then(|broker| broker.replicas.get(topic, index));
        response.log_start_offset = held.map_or(-1, |held| held.log_start_offset());
    }
    let blamed: Vec<(i32, String)> = match &**cause {
        AppendError::RecordsWithoutKey { indexes } => {
            let text = format!("Compacted topic cannot accept message without key in topic partition {topic}-{index}");
            indexes.iter().map(|index| (*index, text.clone())).collect()
        }
        AppendError::TimestampsOutOfRange { records, earliest, latest } => {
            let text = |offset: i32, timestamp: i64| {
                format!(
                    "Timestamp {timestamp} of message with offset {offset} is out of range. The timestamp should be within \
                     [{earliest}, {latest}]"
                )
            };
            records.iter().map(|(index, timestamp)| (*index, text(*index, *timestamp))).collect()
        }
        _ => return response,
    };
    response.error_message = Some(if code == ErrorCode::InvalidTimestamp {
        "One or more records have been rejected due to invalid timestamp".to_owned()
    } else {
        let shown =
            blamed.iter().take(3).map(|(index, text)| format!("RecordError(batchIndex={index}, message='{text}')"));
        format!(
            "One or more records have been rejected due to {} record errors in total, and only showing the first three errors \
             at most: [{}]",
            blamed.len(),
            shown.collect::<Vec<_>>().join(", ")
        )
    });
    let blame = |(batch_index, text)| BatchIndexAndErrorMessage { batch_index, batch_index_error_message: Some(text) };
    response.record_errors = blamed.into_iter().map(blame).collect();
    response
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
    /// Takes those parts away that the coordinator of their transaction objects to.
    fn refuse(&mut self, parts: Vec<Append>, verdicts: &Verdicts) -> Vec<Append> {
        let version = self.version;
        let open = self.partitions.iter_mut().filter(|(_, _, response)| response.is_none());
        let mut kept = Vec::new();
        for ((_, index, response), part) in open.zip(parts) {
            match verdicts.get(&(part.topic.to_string(), part.partition)) {
                Some(code) if matches!(part.verification, Verification::Asked(_)) => {
                    *response = Some(failure(*index, unverified(*code, version)));
                }
                _ => kept.push(part),
            }
        }
        kept
    }

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
                    let topic = self.topics[*place].0.as_deref().unwrap_or_default();
                    refused(self.broker.as_deref(), topic, *index, &error)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_producer_is_told_which_records_are_to_blame() {
        let of = |cause: AppendError| refused(None, "c", 3, &ProduceError::Refused(Arc::new(cause)));
        let no_key = of(AppendError::RecordsWithoutKey { indexes: vec![1, 4] });
        assert_eq!(no_key.error_code, ErrorCode::InvalidRecord.code());
        assert_eq!(no_key.record_errors.iter().map(|blamed| blamed.batch_index).collect::<Vec<_>>(), [1, 4]);
        let text = "Compacted topic cannot accept message without key in topic partition c-3";
        assert_eq!(no_key.record_errors[0].batch_index_error_message.as_deref(), Some(text));
        assert!(
            no_key.error_message.unwrap().starts_with("One or more records have been rejected due to 2 record errors")
        );
        let late = of(AppendError::TimestampsOutOfRange { records: vec![(2, 99)], earliest: 5, latest: 7 });
        assert_eq!(late.error_code, ErrorCode::InvalidTimestamp.code());
        let text = "Timestamp 99 of message with offset 2 is out of range. The timestamp should be within [5, 7]";
        assert_eq!(late.record_errors[0].batch_index_error_message.as_deref(), Some(text));
        assert!(of(AppendError::Corrupt { reason: "x" }).record_errors.is_empty());
    }

    #[test]
    fn what_refuses_a_whole_request() {
        use common::kafka::batch::{BatchSpec, Record, build};
        let record = Record { offset: 0, timestamp: 1, key: None, value: None, headers: Vec::new() };
        let batch = |is_transactional: bool, change: Option<(usize, u8)>| {
            let spec = BatchSpec {
                is_transactional,
                producer_id: 1,
                producer_epoch: 0,
                base_sequence: 0,
                ..BatchSpec::default()
            };
            let mut bytes = build(&spec, std::slice::from_ref(&record)).unwrap().to_vec();
            if let Some((at, byte)) = change {
                bytes[at] = byte;
            }
            bytes
        };
        let short = "Record size 5 is less than the minimum record overhead (14)";
        let of_short = [&[0; 11][..], &[5]].concat();
        use ErrorCode::{CorruptMessage, TransactionalIdAuthorizationFailed};
        for (records, has_id, expected) in [
            (Vec::new(), false, None),
            (of_short, false, Some((CorruptMessage, Some(short)))),
            (batch(false, None), false, None),
            (batch(false, Some((MAGIC_AT, 1))), false, None),
            (batch(false, Some((MAGIC_AT, 3))), true, Some((CorruptMessage, Some("Invalid magic found in record: 3")))),
            (batch(true, None), true, None),
            (batch(true, None), false, Some((TransactionalIdAuthorizationFailed, None))),
            (batch(true, None)[..HEADER_BYTES].to_vec(), false, None),
        ] {
            let found = refuse_all(&records, has_id);
            let found = found.as_ref().map(|(code, text)| (*code, text.as_deref()));
            assert_eq!(found, expected, "{records:?} {has_id}");
        }
    }
}
