//! Fetch (1), versions 4 to 18: reads record batches, for consumers up to the high watermark or the last stable offset
//! (read_committed), for following replicas up to the log end. Waits for `min_bytes` at most `max_wait_ms`; sessions
//! (KIP-227) from version 7 on, topic ids (KIP-516) from 13 on, the leader in case of NOT_LEADER_OR_FOLLOWER and
//! FENCED_LEADER_EPOCH (KIP-951) from 16 on. Records are never looked at and stay in their files until they are sent.
//!
//! Errors: FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR; by partition
//! UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, INCONSISTENT_TOPIC_ID, NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH,
//! UNKNOWN_LEADER_EPOCH, OFFSET_OUT_OF_RANGE, KAFKA_STORAGE_ERROR, CORRUPT_MESSAGE, UNSUPPORTED_COMPRESSION_TYPE (zstd
//! before version 10). A consumer that says its rack is sent to an in-sync replica there (KIP-392) if
//! `replica.selector.class` says so; replicas serve consumers that ask them whatever it says.

use super::{Context, Endpoint, Reply};
use crate::access::acl::Operation;
use crate::broker::Broker;
use crate::cluster::image::BrokerImage;
use crate::leaders::{CurrentLeader, current_leader};
use crate::outbox::ConnectionId;
use crate::partition::fetch_session::{FetchKey, SessionRequest, Target, TopicKey, Wanted};
use crate::partition::{
    FetchData, FetchOrder, FetchParams, FetchPiece, FetchResult, Isolation, PieceError, ReadError, Topics,
};
use crate::quota::{Kind, Who};
use common::kafka::error::ErrorCode;
use common::kafka::messages::fetch::{
    AbortedTransaction, EpochEndOffset, FetchPartition, FetchTopic, FetchableTopicResponse, ForgottenTopic,
    LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use common::kafka::messages::{FetchRequest, FetchResponse};
use common::kafka::records::Records;
use common::time::Millis;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use uuid::Uuid;

const SESSIONS_FROM: i16 = 7;
const ZSTD_FROM: i16 = 10;
const FROM_FOLLOWERS_FROM: i16 = 11;
/// The one selector of Kafka's that is not the leader alone.
const RACK_AWARE: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
/// Replica id of a debugging tool (`kafka-replica-verification`), which any replica answers.
const DEBUGGER: i32 = -2;
const TOPIC_IDS_FROM: i16 = 13;
const REPLICA_STATE_FROM: i16 = 15;
const LEADER_FROM: i16 = 16;
/// Up to here clients do not know KAFKA_STORAGE_ERROR (KIP-112).
const NO_STORAGE_ERROR_TO: i16 = 5;

/// See the top of the file.
pub struct Fetch;

impl Endpoint for Fetch {
    type Request = FetchRequest;
    const VERSIONS: RangeInclusive<i16> = 4..=18;
    // A read that waits for more changes nothing.
    const LETS_PASS: bool = true;

    fn handle(ctx: &Context<'_>, request: FetchRequest) -> Reply<FetchResponse> {
        let order = order(ctx, request);
        ctx.count_fetch(order.params.replica.is_some());
        let consumer = (order.params.replica.is_none() && ctx.broker.quotas.is_used()).then(|| {
            ctx.broker.quotas.speaks(ctx.connection.id, ctx.who());
            Consumer {
                connection: ctx.connection.id,
                principal: ctx.connection.principal.clone(),
                client_id: ctx.client_id.unwrap_or_default().to_owned(),
                at: ctx.now.mono,
            }
        });
        let answer = || Answer {
            broker: ctx.broker.clone(),
            listener: ctx.connection.listener.clone(),
            version: ctx.version,
            consumer: consumer.clone(),
        };
        let follows = order.params.replica.map(|_| ctx.may_cluster(Operation::ClusterAction));
        if follows == Some(true) {
            ctx.broker.isolation.heard(ctx.now.mono);
        }
        let topics = Known { ctx, follows };
        let result = ctx.broker.with_replicas(ctx.now, |replicas, effects| {
            let done = || -> Box<dyn FnOnce(FetchResult) + Send> {
                let (ticket, answer) = (ctx.ticket::<FetchRequest>(), answer());
                Box::new(move |result| ticket.answer(&answer.response(result)))
            };
            replicas.serve_fetch(order, &topics, done, (ctx.now, effects))
        });
        match result {
            Some(result) => Reply::Now(answer().response(result)),
            None => Reply::Parked,
        }
    }
}

/// The topics that the controller told of.
struct Known<'a> {
    ctx: &'a Context<'a>,
    /// Whether it may, if it says that it is a follower. What a follower says moves the high watermark.
    follows: Option<bool>,
}

impl Topics for Known<'_> {
    fn name(&self, id: &Uuid) -> Option<Arc<str>> {
        self.ctx.broker.image.read().topic_name(*id).map(Arc::from)
    }
    fn contains(&self, topic: &str, partition: i32) -> bool {
        self.ctx.broker.image.read().partition(topic, partition).is_some()
    }
    fn may_follow(&self) -> bool {
        self.follows != Some(false)
    }
    fn may_read(&self, topic: &str) -> bool {
        self.follows.unwrap_or_else(|| self.ctx.may_topic(Operation::Read, topic))
    }
}

fn order(ctx: &Context<'_>, request: FetchRequest) -> FetchOrder {
    let by_state = ctx.version >= REPLICA_STATE_FROM;
    let asker = if by_state { request.replica_state.replica_id } else { request.replica_id };
    let replica = (asker >= 0).then_some(asker);
    let isolation = match (replica, request.isolation_level) {
        (Some(_), _) => Isolation::LogEnd,
        (None, 1) => Isolation::Committed,
        (None, _) => Isolation::HighWatermark,
    };
    let mut max_bytes = request.max_bytes.min(ctx.broker.config.fetch_max_bytes);
    if let Some(most) = ctx.broker.quotas.fetch_bytes_max(ctx.who()).filter(|_| replica.is_none()) {
        max_bytes = max_bytes.min(i32::try_from(most).unwrap_or(i32::MAX));
    }
    let params = FetchParams {
        replica,
        replica_epoch: if by_state { request.replica_state.replica_epoch } else { -1 },
        // Only who says where it stands is sent to a follower; any other consumer takes this broker for the leader, and would
        // take the end of a follower's log for that of the partition.
        only_leader: replica.is_some()
            || ctx.version < FROM_FOLLOWERS_FROM
            || (request.rack_id.is_empty() && asker != DEBUGGER),
        nearer: if replica.is_none() { nearer(ctx, &request.rack_id) } else { Arc::default() },
        isolation,
        max_wait_ms: u64::try_from(request.max_wait_ms).unwrap_or(0),
        min_bytes: request.min_bytes.min(max_bytes),
        max_bytes,
    };
    let has_sessions = ctx.version >= SESSIONS_FROM;
    let session = SessionRequest {
        id: if has_sessions { request.session_id } else { 0 },
        epoch: if has_sessions { request.session_epoch } else { -1 },
        from_follower: replica.is_some(),
        uses_topic_ids: ctx.version >= TOPIC_IDS_FROM,
        wanted: targets(ctx, request.topics),
        forgotten: forgotten(ctx.version, request.forgotten_topics_data),
    };
    FetchOrder { params, session }
}

/// The brokers of a consumer's rack that have its listener; none if it is this broker's rack, too, or if all read from leaders.
fn nearer(ctx: &Context<'_>, rack: &str) -> Arc<[i32]> {
    let config = &ctx.broker.config;
    if rack.is_empty()
        || ctx.version < FROM_FOLLOWERS_FROM
        || config.replica_selector_class.as_deref() != Some(RACK_AWARE)
    {
        return Arc::default();
    }
    let image = ctx.broker.image.read();
    let is_there = |broker: &BrokerImage| {
        broker.rack.as_deref() == Some(rack) && broker.endpoint(&ctx.connection.listener).is_some()
    };
    let there: Vec<i32> = image.brokers().filter(|(_, broker)| is_there(broker)).map(|(id, _)| id.0).collect();
    if there.contains(&config.broker_id) { Arc::default() } else { there.into() }
}

fn targets(ctx: &Context<'_>, topics: Vec<FetchTopic>) -> Vec<Target> {
    let image = ctx.broker.image.read();
    let mut targets = Vec::new();
    for FetchTopic { topic, topic_id, partitions } in topics {
        let (key, name): (TopicKey, Option<Arc<str>>) = if ctx.version >= TOPIC_IDS_FROM {
            (TopicKey::Id(topic_id), image.topic_name(topic_id).map(Arc::from))
        } else {
            let name: Arc<str> = topic.into();
            (TopicKey::Name(name.clone()), Some(name))
        };
        targets.extend(partitions.into_iter().map(|partition| Target {
            key: FetchKey { topic: key.clone(), partition: partition.partition },
            topic: name.clone(),
            wanted: wanted(&partition),
        }));
    }
    targets
}

fn wanted(partition: &FetchPartition) -> Wanted {
    let epoch = |epoch: i32| (epoch >= 0).then_some(epoch);
    Wanted {
        fetch_offset: partition.fetch_offset,
        log_start_offset: partition.log_start_offset,
        max_bytes: partition.partition_max_bytes,
        current_leader_epoch: epoch(partition.current_leader_epoch),
        last_fetched_epoch: epoch(partition.last_fetched_epoch),
    }
}

fn forgotten(version: i16, topics: Vec<ForgottenTopic>) -> Vec<FetchKey> {
    let mut keys = Vec::new();
    for ForgottenTopic { topic, topic_id, partitions } in topics {
        let topic = if version >= TOPIC_IDS_FROM { TopicKey::Id(topic_id) } else { TopicKey::Name(topic.into()) };
        keys.extend(partitions.into_iter().map(|partition| FetchKey { topic: topic.clone(), partition }));
    }
    keys
}

/// What is needed to say how a fetch ended.
struct Answer {
    broker: Arc<Broker>,
    listener: String,
    version: i16,
    consumer: Option<Consumer>,
}

/// A client whose quota is used up by what it reads.
#[derive(Clone)]
struct Consumer {
    connection: ConnectionId,
    principal: String,
    client_id: String,
    at: Millis,
}

impl Answer {
    fn response(&self, result: FetchResult) -> FetchResponse {
        let mut response = self.uncounted(result);
        if let Some(consumer) = &self.consumer {
            let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
            let bytes: usize = partitions.filter_map(|partition| partition.records.as_ref()).map(Records::len).sum();
            let who = Who { principal: &consumer.principal, client_id: &consumer.client_id };
            let quotas = &self.broker.quotas;
            let ms = quotas.record(Kind::Fetch, who, bytes as f64, consumer.at);
            let ms = ms.max(quotas.record(Kind::Request, who, 0.0, consumer.at));
            if ms > 0 {
                quotas.mute(consumer.connection, ms, consumer.at);
                response.throttle_time_ms = i32::try_from(ms).unwrap_or(i32::MAX);
            }
        }
        response
    }

    fn uncounted(&self, result: FetchResult) -> FetchResponse {
        let reply = match result {
            Ok(reply) => reply,
            Err(error) => {
                return FetchResponse { error_code: ErrorCode::from(error).code(), ..FetchResponse::default() };
            }
        };
        let mut nodes = BTreeMap::new();
        let mut responses: Vec<FetchableTopicResponse> = Vec::new();
        let mut last: Option<TopicKey> = None;
        for piece in reply.pieces {
            if last.as_ref() != Some(&piece.key.topic) {
                let (topic, topic_id) = match &piece.key.topic {
                    TopicKey::Id(id) => (String::new(), *id),
                    TopicKey::Name(name) => (name.to_string(), Uuid::nil()),
                };
                last = Some(piece.key.topic.clone());
                responses.push(FetchableTopicResponse { topic, topic_id, partitions: Vec::new() });
            }
            let partition = self.partition(piece, &mut nodes);
            responses.last_mut().expect("one was just pushed").partitions.push(partition);
        }
        let node_endpoints = nodes.into_values().collect();
        FetchResponse { session_id: reply.session_id, responses, node_endpoints, ..FetchResponse::default() }
    }

    fn partition(&self, piece: FetchPiece, nodes: &mut BTreeMap<i32, NodeEndpoint>) -> PartitionData {
        let (partition_index, topic) = (piece.key.partition, piece.topic);
        let code = match piece.outcome {
            Ok(_) if self.must_hide_zstd(topic.as_deref(), partition_index) => ErrorCode::UnsupportedCompressionType,
            Ok(data) => return read(partition_index, data),
            Err(PieceError::Read(ReadError::InRemote { high_watermark, log_start_offset })) => {
                return PartitionData {
                    partition_index,
                    error_code: ErrorCode::OffsetMovedToTieredStorage.code(),
                    high_watermark,
                    log_start_offset,
                    records: Some(Records::default()),
                    ..PartitionData::default()
                };
            }
            Err(error) => ErrorCode::from(error),
        };
        let is_unknown = matches!(
            code,
            ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId | ErrorCode::InconsistentTopicId
        );
        let mut data = PartitionData {
            partition_index,
            error_code: code.code(),
            high_watermark: -1,
            records: Some(Records::default()),
            // As Kafka: null from a log, empty where there is none.
            aborted_transactions: is_unknown.then(Vec::new),
            ..PartitionData::default()
        };
        match code {
            ErrorCode::KafkaStorageError if self.version <= NO_STORAGE_ERROR_TO => {
                data.error_code = ErrorCode::NotLeaderOrFollower.code();
            }
            ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch if self.version >= LEADER_FROM => {
                if let Some(topic) = topic {
                    hint(&mut data, nodes, current_leader(&self.broker, &topic, partition_index, &self.listener));
                }
            }
            _ => {}
        }
        data
    }

    fn must_hide_zstd(&self, topic: Option<&str>, partition: i32) -> bool {
        let held = || self.broker.replicas.get(topic?, partition);
        self.version < ZSTD_FROM && held().is_some_and(|held| held.insists_on_zstd())
    }
}

fn read(partition_index: i32, data: FetchData) -> PartitionData {
    let aborted = |txn: crate::log::AbortedTxn| AbortedTransaction {
        producer_id: txn.producer_id,
        first_offset: txn.first_offset,
    };
    PartitionData {
        partition_index,
        high_watermark: data.high_watermark,
        last_stable_offset: data.last_stable_offset,
        log_start_offset: data.log_start_offset,
        aborted_transactions: data.aborted.map(|aborted_txns| aborted_txns.into_iter().map(aborted).collect()),
        diverging_epoch: data
            .diverging
            .map_or_else(EpochEndOffset::default, |(epoch, end_offset)| EpochEndOffset { epoch, end_offset }),
        preferred_read_replica: data.preferred_replica.unwrap_or(-1),
        records: Some(data.records),
        ..PartitionData::default()
    }
}

fn hint(data: &mut PartitionData, nodes: &mut BTreeMap<i32, NodeEndpoint>, leader: CurrentLeader) {
    data.current_leader = LeaderIdAndEpoch { leader_id: leader.id, leader_epoch: leader.epoch };
    if let Some(node) = leader.node {
        nodes.insert(leader.id, NodeEndpoint { node_id: leader.id, host: node.host, port: node.port, rack: node.rack });
    }
}
