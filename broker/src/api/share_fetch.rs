//! ShareFetch (78, KIP-932), versions 1 and 2: a member of a share group acquires records, and says with it what became of
//! others. Answered when there are records or the time is up, and what was said is written down. Sessions say what is read,
//! so that requests name only what changed. Version 2 renews locks (KIP-1222), then nothing is read, and knows the exact
//! limit of records (KIP-1206). Records are never looked at and stay in their files until they are sent.
//!
//! Errors: INVALID_REQUEST, GROUP_AUTHORIZATION_FAILED, SHARE_SESSION_NOT_FOUND, INVALID_SHARE_SESSION_EPOCH,
//! SHARE_SESSION_LIMIT_REACHED (after the time that the client would have waited), UNSUPPORTED_VERSION where share groups are
//! not in force; by partition UNKNOWN_TOPIC_ID, TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_OR_PARTITION,
//! NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH with the leader, COORDINATOR_NOT_AVAILABLE, KAFKA_STORAGE_ERROR; and for what
//! was acknowledged those of ShareAcknowledge.

use super::share_acks::{self, Ack};
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::Operation;
use crate::broker::Broker;
use crate::gathered::Gathered;
use crate::outbox::ConnectionId;
use crate::quota::{Kind, Who};
use crate::share::leading::{ShareData, ShareOrder, ShareOutcome};
use crate::share::session::{INITIAL_EPOCH, Member, Opened, Place, ShareSessionError};
use common::kafka::error::ErrorCode;
use common::kafka::messages::share_fetch::{
    AcquiredRecords, LeaderIdAndEpoch, NodeEndpoint, PartitionData, ShareFetchableTopicResponse,
};
use common::kafka::messages::{ShareFetchRequest, ShareFetchResponse};
use common::time::{Millis, Now};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// `share.acquire.mode=record_limit`.
const RECORD_LIMIT: i8 = 1;
const RENEWS_FROM: i16 = 2;
/// A session names at most as many partitions as there are, and so many more: members hear of deleted and new ones by and by.
const PLACES_SLACK: usize = 1000;

/// See the top of the file.
pub struct ShareFetch;

impl Endpoint for ShareFetch {
    type Request = ShareFetchRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=2;

    fn handle(ctx: &Context<'_>, request: ShareFetchRequest) -> Reply<ShareFetchResponse> {
        let refuse = |code: ErrorCode| {
            Reply::Now(ShareFetchResponse { error_code: code.code(), ..ShareFetchResponse::default() })
        };
        let member = match share_acks::asker(ctx, request.group_id.as_ref(), request.member_id.as_ref()) {
            Ok(member) => member,
            Err(code) => return refuse(code),
        };
        let renews = ctx.version >= RENEWS_FROM && request.is_renew_ack;
        let asks = [request.max_bytes, request.min_bytes, request.max_records, request.max_wait_ms];
        if renews && asks.iter().any(|asked| *asked != 0) {
            return refuse(ErrorCode::InvalidRequest);
        }
        let acknowledges = request
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .any(|partition| !partition.acknowledgement_batches.is_empty());
        let opened = open(ctx, &member, &request, acknowledges);
        if request.share_session_epoch == INITIAL_EPOCH {
            ctx.broker.end_share_waiting(&member, ctx.now);
        }
        let opened = match opened {
            Ok(opened) => opened,
            Err(ShareSessionError::LimitReached) => return answer_later(ctx, &request, member),
            Err(error) => return refuse(error.into()),
        };
        let acks = if acknowledges { acks(ctx, &request) } else { Vec::new() };
        let answer = Answer::new(ctx, member, &opened);
        let ticket: Ticket<ShareFetchRequest> = ctx.ticket();
        let finish = move |parts: Parts| answer.finish(ticket, parts);
        let gathered = Gathered::new(Parts { now: Some(ctx.now), ..Parts::default() }, acks.len() + 1, finish);
        let member = (request.group_id.unwrap_or_default(), request.member_id.unwrap_or_default());
        for ack in acks {
            let (place, gathered) = (ack.place, gathered.clone());
            let then = move |code: ErrorCode| {
                gathered.put(|parts| parts.acknowledged(place, code));
            };
            share_acks::acknowledge(ctx, &member, ack, renews, Box::new(then));
        }
        let places = match opened {
            Opened::Reads { places, .. } if !renews => places,
            Opened::Reads { .. } | Opened::Ends(_) => Vec::new(),
        };
        let limits =
            [request.max_wait_ms, request.min_bytes, request.max_bytes, request.max_records, request.batch_size];
        let mode = (limits, request.share_acquire_mode == RECORD_LIMIT && ctx.version >= RENEWS_FROM);
        fetch(ctx, member, (places, request.share_session_epoch), mode, gathered);
        Reply::Parked
    }
}

/// What is known of the answer so far.
#[derive(Default)]
struct Parts {
    outcomes: Vec<ShareOutcome>,
    acks: BTreeMap<Place, ErrorCode>,
    now: Option<Now>,
}

impl Parts {
    /// A partition may be named more than once: the first error counts.
    fn acknowledged(&mut self, place: Place, code: ErrorCode) {
        let known = self.acks.entry(place).or_insert(code);
        if *known == ErrorCode::None {
            *known = code;
        }
    }
}

fn open(
    ctx: &Context<'_>,
    member: &Member,
    request: &ShareFetchRequest,
    acknowledges: bool,
) -> Result<Opened, ShareSessionError> {
    let wanted = request
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|partition| (topic.topic_id, partition.partition_index)));
    let forgotten = request
        .forgotten_topics_data
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|partition| (topic.topic_id, *partition)));
    let places: (Vec<Place>, Vec<Place>) = (wanted.collect(), forgotten.collect());
    let most_places = match places.0.is_empty() {
        true => usize::MAX,
        false => {
            let image = ctx.broker.image.read();
            image.topics().map(|(_, topic)| topic.partitions.len()).sum::<usize>() + PLACES_SLACK
        }
    };
    let mut sessions = ctx.broker.shares.sessions.lock();
    sessions.open(member, request.share_session_epoch, places, (acknowledges, ctx.connection.id, most_places))
}

/// Who cannot have a session waits as if it read something, so that it does not ask all the time.
fn answer_later(ctx: &Context<'_>, request: &ShareFetchRequest, member: Member) -> Reply<ShareFetchResponse> {
    let ticket: Ticket<ShareFetchRequest> = ctx.ticket();
    let error_code = ErrorCode::ShareSessionLimitReached.code();
    let order = order(member, Vec::new(), &[request.max_wait_ms, 1, 1, 1, 1], false);
    let done =
        move |_: Vec<ShareOutcome>, _: Now| ticket.answer(&ShareFetchResponse { error_code, ..Default::default() });
    ctx.broker.share_wait(order, Box::new(done), ctx.now);
    Reply::Parked
}

fn acks(ctx: &Context<'_>, request: &ShareFetchRequest) -> Vec<Ack> {
    let mut acks = Vec::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            if partition.acknowledgement_batches.is_empty() {
                continue;
            }
            let batches = partition
                .acknowledgement_batches
                .iter()
                .map(|batch| (batch.first_offset, batch.last_offset, batch.acknowledge_types.clone()));
            let place = (topic.topic_id, partition.partition_index);
            acks.push(Ack { place, batches: batches.collect(), version: ctx.version });
        }
    }
    acks
}

fn order(
    member: Member,
    targets: Vec<(uuid::Uuid, i32, Arc<str>)>,
    [max_wait_ms, min_bytes, max_bytes, max_records, batch_size]: &[i32; 5],
    is_exact: bool,
) -> ShareOrder {
    let size = |value: i32| usize::try_from(value).unwrap_or(0);
    ShareOrder {
        member,
        targets,
        max_wait_ms: u64::try_from(*max_wait_ms).unwrap_or(0),
        min_bytes: size(*min_bytes).min(size(*max_bytes)),
        max_bytes: size(*max_bytes),
        max_records: i64::from(*max_records),
        batch_size: i64::from(*batch_size).max(1),
        is_exact,
    }
}

fn fetch(
    ctx: &Context<'_>,
    member: Member,
    (places, epoch): (Vec<Place>, i32),
    (mut limits, is_exact): ([i32; 5], bool),
    gathered: Gathered<Parts>,
) {
    let broker: &Arc<Broker> = ctx.broker;
    let mut refused = Vec::new();
    let mut targets = Vec::new();
    for place in places {
        let name: Option<Arc<str>> = broker.image.read().topic_name(place.0).map(Arc::from);
        let code = match &name {
            None => ErrorCode::UnknownTopicId,
            Some(name) if !ctx.may_topic(Operation::Read, name) => ErrorCode::TopicAuthorizationFailed,
            Some(name) if broker.image.read().partition(name, place.1).is_none() => ErrorCode::UnknownTopicOrPartition,
            Some(name) => {
                targets.push((place.0, place.1, name.clone()));
                continue;
            }
        };
        refused.push(ShareOutcome { place, result: Err(code) });
    }
    // Another one is the first each time, so that none starves.
    if let Some(by) = usize::try_from(epoch).ok().and_then(|epoch| epoch.checked_rem(targets.len())) {
        targets.rotate_left(by);
    }
    limits[2] = limits[2].min(broker.config.fetch_max_bytes);
    if let Some(most) = broker.quotas.fetch_bytes_max(ctx.who()) {
        limits[2] = limits[2].min(i32::try_from(most).unwrap_or(i32::MAX));
    }
    let done = move |outcomes: Vec<ShareOutcome>, now: Now| {
        gathered.put(move |parts| {
            parts.outcomes = outcomes;
            parts.outcomes.extend(refused);
            parts.now = Some(now);
        });
    };
    if targets.is_empty() {
        return done(Vec::new(), ctx.now);
    }
    broker.share_fetch(order(member, targets, &limits, is_exact), Box::new(done), ctx.now);
}

/// What is needed to say how a fetch ended.
struct Answer {
    broker: Arc<Broker>,
    listener: String,
    connection: ConnectionId,
    principal: String,
    client_id: String,
    member: Member,
    continues: Option<i32>,
    /// The number of the session that ends with it.
    ended: Option<u64>,
}

impl Answer {
    fn new(ctx: &Context<'_>, member: Member, opened: &Opened) -> Answer {
        let (continues, ended) = match opened {
            Opened::Reads { continues, .. } => (*continues, None),
            Opened::Ends(number) => (None, Some(*number)),
        };
        Answer {
            broker: ctx.broker.clone(),
            listener: ctx.connection.listener.clone(),
            connection: ctx.connection.id,
            principal: ctx.connection.principal.clone(),
            client_id: ctx.client_id.unwrap_or_default().to_owned(),
            member,
            continues,
            ended,
        }
    }

    fn finish(self, ticket: Ticket<ShareFetchRequest>, parts: Parts) {
        let now = parts.now;
        let mut response = self.response(parts);
        if let Some(now) = now {
            self.count(&mut response, now.mono);
        }
        ticket.answer(&response);
        if let Some(number) = self.ended {
            share_acks::end_session(self.broker, self.member, number);
        }
    }

    /// What was read counts against the client's quota; it is held back afterwards.
    fn count(&self, response: &mut ShareFetchResponse, now: Millis) {
        let quotas = &self.broker.quotas;
        if !quotas.is_used() {
            return;
        }
        let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
        let bytes: usize = partitions.map(|partition| partition.records.len()).sum();
        let who = Who { principal: &self.principal, client_id: &self.client_id };
        quotas.speaks(self.connection, who);
        let ms = quotas.record(Kind::Fetch, who, bytes as f64, now);
        if ms > 0 {
            quotas.mute(self.connection, ms, now);
            response.throttle_time_ms = i32::try_from(ms).unwrap_or(i32::MAX);
        }
    }

    fn response(&self, Parts { outcomes, mut acks, .. }: Parts) -> ShareFetchResponse {
        let answers: Vec<(Place, bool, bool)> = outcomes
            .iter()
            .map(|outcome| {
                let has_records = outcome.result.as_ref().is_ok_and(|data| !data.records.is_empty());
                (outcome.place, has_records, outcome.result.is_err())
            })
            .collect();
        let told = match self.broker.shares.sessions.lock().tell(&self.member, self.continues, &answers) {
            Ok(told) => told,
            // What was acknowledged cannot be said any more, as in Kafka.
            Err(error) => {
                return ShareFetchResponse { error_code: ErrorCode::from(error).code(), ..Default::default() };
            }
        };
        let mut nodes = BTreeMap::new();
        let mut topics: BTreeMap<uuid::Uuid, Vec<PartitionData>> = BTreeMap::new();
        for (outcome, told) in outcomes.into_iter().zip(told) {
            let ack = acks.remove(&outcome.place);
            if told || ack.is_some() {
                let (place, partition) = (outcome.place, self.partition(outcome, &mut nodes));
                topics.entry(place.0).or_default().push(with_ack(partition, ack));
            }
        }
        for (place, code) in acks {
            let partition = PartitionData { partition_index: place.1, ..PartitionData::default() };
            topics.entry(place.0).or_default().push(with_ack(partition, Some(code)));
        }
        let responses =
            topics.into_iter().map(|(topic_id, partitions)| ShareFetchableTopicResponse { topic_id, partitions });
        ShareFetchResponse {
            acquisition_lock_timeout_ms: self.broker.share_lock_ms(&self.member.0),
            responses: responses.collect(),
            node_endpoints: nodes.into_values().collect(),
            ..ShareFetchResponse::default()
        }
    }

    fn partition(&self, outcome: ShareOutcome, nodes: &mut BTreeMap<i32, NodeEndpoint>) -> PartitionData {
        let (_, partition_index) = outcome.place;
        let code = match outcome.result {
            Ok(ShareData { records, acquired }) => {
                let acquired = acquired.iter().map(|one| AcquiredRecords {
                    first_offset: one.first,
                    last_offset: one.last,
                    delivery_count: one.delivery_count,
                });
                return PartitionData {
                    partition_index,
                    records,
                    acquired_records: acquired.collect(),
                    ..PartitionData::default()
                };
            }
            Err(code) => code,
        };
        let mut data = PartitionData { partition_index, error_code: code.code(), ..PartitionData::default() };
        if let Some(leader) = share_acks::leader_for(&self.broker, outcome.place, code, &self.listener) {
            data.current_leader = LeaderIdAndEpoch { leader_id: leader.id, leader_epoch: leader.epoch };
            if let Some(node) = leader.node {
                let (node_id, host, port, rack) = (leader.id, node.host, node.port, node.rack);
                nodes.insert(node_id, NodeEndpoint { node_id, host, port, rack });
            }
        }
        data
    }
}

fn with_ack(mut data: PartitionData, ack: Option<ErrorCode>) -> PartitionData {
    if let Some(code) = ack.filter(|code| *code != ErrorCode::None) {
        data.acknowledge_error_code = code.code();
        data.acknowledge_error_message = Some(code.message().to_owned());
    }
    data
}
