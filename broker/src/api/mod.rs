//! The table of every Kafka API served: dispatch and the answer to ApiVersions derive from it. A handler gets a decoded
//! request and returns its reply, or takes a ticket and lets a machine answer later. It never encodes, never sends.

pub mod access;
mod acl_words;
pub mod add_offsets_to_txn;
pub mod add_partitions_to_txn;
pub mod allocate_producer_ids;
pub mod alter_client_quotas;
pub mod alter_configs;
pub mod alter_partition;
pub mod alter_partition_reassignments;
pub mod alter_replica_log_dirs;
pub mod alter_share_group_offsets;
pub mod alter_user_scram_credentials;
pub mod api_versions;
pub mod consumer_group_describe;
pub mod consumer_group_heartbeat;
pub mod controlled_shutdown;
pub mod create_acls;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_acls;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_share_group_offsets;
pub mod delete_share_group_state;
pub mod delete_topics;
mod deleted_topics;
pub mod describe_acls;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_share_group_offsets;
pub mod describe_topic_partitions;
pub mod describe_transactions;
pub mod describe_user_scram_credentials;
pub mod elect_leaders;
pub mod end_txn;
pub mod error;
pub mod fetch;
pub mod find_coordinator;
pub mod get_telemetry_subscriptions;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod initialize_share_group_state;
pub mod join_group;
pub mod leader_and_isr;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod list_transactions;
pub mod metadata;
mod mutations;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod push_telemetry;
pub mod read_share_group_state;
pub mod read_share_group_state_summary;
pub mod sasl_authenticate;
pub mod sasl_handshake;
pub mod share_acknowledge;
mod share_acks;
pub mod share_fetch;
pub mod share_group_describe;
pub mod share_group_heartbeat;
mod share_state;
pub mod stop_replica;
pub mod sync_group;
pub mod txn_offset_commit;
pub mod update_features;
pub mod update_metadata;
pub mod write_share_group_state;
pub mod write_txn_markers;

#[cfg(test)]
pub(crate) mod tests;

use crate::broker::Broker;
use crate::connection::ConnectionInfo;
use crate::metrics::{ApiCounters, RequestCounters};
use crate::outbox::Outbox;
use crate::quota::{Kind, Who};
use access::Access;
use common::kafka::error::ErrorCode;
use common::kafka::header::{self, RequestHeader};
use common::kafka::messages::{FetchRequest, Field, FindCoordinatorRequest, MetadataRequest, ProduceRequest, Response};
use common::kafka::messages::{LeaderAndIsrRequest, Message, Request, StopReplicaRequest, UpdateMetadataRequest};
use common::kafka::wire::{Frame, Reader};
use common::time::Now;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// One Kafka API.
pub trait Endpoint {
    /// The request, which names key and response.
    type Request: Request;
    /// Versions served.
    const VERSIONS: RangeInclusive<i16>;
    /// Lowest version advertised: below `VERSIONS` only where clients misread a missing low version (KAFKA-18659).
    const ADVERTISED_FROM: i16 = *Self::VERSIONS.start();
    /// May requests behind it on its connection be handled while one is parked? Kafka never does it, and clients pipeline on
    /// the strength of that: a commit of offsets and, behind it, their fetch. So true only where nothing behind it can tell.
    const LETS_PASS: bool = false;
    /// What the client must be permitted for the request as a whole.
    const ACCESS: Access<Self::Request> = Access::ByNames;
    /// Decides and replies.
    fn handle(ctx: &Context<'_>, request: Self::Request) -> Reply<<Self::Request as Request>::Response>;
}

/// What a handler gives back.
#[derive(Debug)]
pub enum Reply<R> {
    /// The response.
    Now(R),
    /// A ticket was taken; the machine that holds it will answer.
    Parked,
    /// As `Parked`, and no request behind it is handled before it is answered.
    ParkedAlone,
    /// The client expects no bytes (Produce with acks=0).
    Silent,
    /// The client expects no bytes and must learn of a failure: its connection is closed.
    Close(String),
}

/// What a handler may use beside its request.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// All machines of this broker.
    pub broker: &'a Arc<Broker>,
    /// The moment the request is handled.
    pub now: Now,
    /// The request's version.
    pub version: i16,
    /// By which connection it came.
    pub connection: &'a ConnectionInfo,
    /// The client's own name for itself.
    pub client_id: Option<&'a str>,
    correlation_id: i32,
    sequence: u64,
    /// For so long the client is held back; its answer says so (KIP-219).
    throttle_ms: u64,
    /// Row of the table.
    row: usize,
    /// The row as which its time counts.
    timed_as: &'a Cell<usize>,
}

impl Context<'_> {
    /// Counts this request, which is a fetch, also as that of a consumer or of a follower.
    pub(crate) fn count_fetch(&self, is_follower: bool) {
        let row = TABLE.len() + usize::from(is_follower);
        self.timed_as.set(row);
        self.broker.requests.api(row).requested(self.version);
    }

    /// Whose quotas count.
    pub(crate) fn who(&self) -> Who<'_> {
        Who { principal: &self.connection.principal, client_id: self.client_id.unwrap_or_default() }
    }

    /// May the client make or delete so many partitions? For how long it is held back then; `Err`: until when it may not.
    pub(crate) fn may_mutate(&self, partitions: u32, strict: bool) -> Result<u64, u64> {
        let outcome = self.broker.quotas.mutate(self.who(), partitions, strict, self.now.mono);
        if let Ok(ms @ 1..) = outcome
            && !strict
        {
            self.broker.quotas.mute(self.connection.id, ms, self.now.mono);
        }
        outcome
    }

    /// The right and duty to answer this request later. The handler then returns `Reply::Parked`.
    pub fn ticket<E: Request>(&self) -> Ticket<E> {
        Ticket {
            outbox: self.broker.outbox.clone(),
            connection: self.connection.id,
            sequence: self.sequence,
            correlation_id: self.correlation_id,
            version: self.version,
            throttle_ms: self.throttle_ms,
            counters: self.broker.requests.clone(),
            row: self.row,
            is_answered: false,
            answers: PhantomData,
        }
    }
}

/// The right and duty to answer one parked request of type `E`.
pub struct Ticket<E: Request> {
    outbox: Arc<dyn Outbox>,
    connection: crate::outbox::ConnectionId,
    sequence: u64,
    correlation_id: i32,
    version: i16,
    throttle_ms: u64,
    counters: Arc<RequestCounters>,
    row: usize,
    is_answered: bool,
    answers: PhantomData<fn(E)>,
}

impl<E: Request> Ticket<E> {
    /// Version of the request, which decides what the answer may say.
    pub fn version(&self) -> i16 {
        self.version
    }

    /// Sends the answer.
    pub fn answer(mut self, response: &E::Response) {
        self.is_answered = true;
        count_errors(self.counters.api(self.row), response);
        let throttled = throttled(response, self.throttle_ms);
        match encode::<E>(self.correlation_id, self.version, throttled.as_ref().unwrap_or(response)) {
            Ok(frame) => self.outbox.reply(self.connection, self.sequence, frame),
            Err(reason) => self.outbox.close(self.connection, self.sequence, reason),
        }
    }
}

/// A machine that ends with a request in its hands leaves nobody waiting: the client sees its connection closed and asks
/// again.
impl<E: Request> Drop for Ticket<E> {
    fn drop(&mut self) {
        if !self.is_answered {
            let reason = format!("nobody is left to answer {}", E::NAME);
            self.outbox.close(self.connection, self.sequence, reason);
        }
    }
}

impl<E: Request> std::fmt::Debug for Ticket<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ticket(connection {}, request {})", self.connection.0, self.sequence)
    }
}

/// What became of a request's frame.
#[derive(Debug)]
pub enum Handled {
    /// Send this.
    Now(Frame),
    /// The answer comes through `Outbox::reply`.
    Parked {
        /// Requests behind it may be handled before.
        lets_pass: bool,
    },
    /// No answer.
    Silent,
    /// The bytes are no request that this broker serves, or its answer cannot be said; close the connection, as Kafka does.
    Close(String),
}

/// One row of the table.
pub struct Row {
    /// API key.
    pub key: i16,
    /// Name as in Kafka's documentation.
    pub name: &'static str,
    /// Versions that are handled.
    pub served: RangeInclusive<i16>,
    /// Lowest version that ApiVersions names.
    pub advertised_from: i16,
    /// False for what only brokers say to each other; still advertised, as Kafka 3.9 does with ZooKeeper.
    handle: fn(&Context<'_>, Reader) -> Handled,
}

const fn row<E: Endpoint>() -> Row {
    Row {
        key: <E::Request as Request>::KEY,
        name: <E::Request as Request>::NAME,
        served: E::VERSIONS,
        advertised_from: E::ADVERTISED_FROM,
        handle: handle::<E>,
    }
}

/// Every API served, by key.
pub const TABLE: &[Row] = &[
    row::<produce::Produce>(),
    row::<fetch::Fetch>(),
    row::<list_offsets::ListOffsets>(),
    row::<metadata::Metadata>(),
    row::<leader_and_isr::LeaderAndIsr>(),
    row::<stop_replica::StopReplica>(),
    row::<update_metadata::UpdateMetadata>(),
    row::<controlled_shutdown::ControlledShutdown>(),
    row::<offset_commit::OffsetCommit>(),
    row::<offset_fetch::OffsetFetch>(),
    row::<find_coordinator::FindCoordinator>(),
    row::<join_group::JoinGroup>(),
    row::<heartbeat::Heartbeat>(),
    row::<leave_group::LeaveGroup>(),
    row::<sync_group::SyncGroup>(),
    row::<describe_groups::DescribeGroups>(),
    row::<list_groups::ListGroups>(),
    row::<sasl_handshake::SaslHandshake>(),
    row::<api_versions::ApiVersions>(),
    row::<create_topics::CreateTopics>(),
    row::<delete_topics::DeleteTopics>(),
    row::<delete_records::DeleteRecords>(),
    row::<init_producer_id::InitProducerId>(),
    row::<offset_for_leader_epoch::OffsetForLeaderEpoch>(),
    row::<add_partitions_to_txn::AddPartitionsToTxn>(),
    row::<add_offsets_to_txn::AddOffsetsToTxn>(),
    row::<end_txn::EndTxn>(),
    row::<write_txn_markers::WriteTxnMarkers>(),
    row::<txn_offset_commit::TxnOffsetCommit>(),
    row::<describe_acls::DescribeAcls>(),
    row::<create_acls::CreateAcls>(),
    row::<delete_acls::DeleteAcls>(),
    row::<describe_configs::DescribeConfigs>(),
    row::<alter_configs::AlterConfigs>(),
    row::<alter_replica_log_dirs::AlterReplicaLogDirs>(),
    row::<describe_log_dirs::DescribeLogDirs>(),
    row::<sasl_authenticate::SaslAuthenticate>(),
    row::<create_partitions::CreatePartitions>(),
    row::<delete_groups::DeleteGroups>(),
    row::<elect_leaders::ElectLeaders>(),
    row::<incremental_alter_configs::IncrementalAlterConfigs>(),
    row::<alter_partition_reassignments::AlterPartitionReassignments>(),
    row::<list_partition_reassignments::ListPartitionReassignments>(),
    row::<offset_delete::OffsetDelete>(),
    row::<describe_client_quotas::DescribeClientQuotas>(),
    row::<alter_client_quotas::AlterClientQuotas>(),
    row::<describe_user_scram_credentials::DescribeUserScramCredentials>(),
    row::<alter_user_scram_credentials::AlterUserScramCredentials>(),
    row::<alter_partition::AlterPartition>(),
    row::<update_features::UpdateFeatures>(),
    row::<describe_cluster::DescribeCluster>(),
    row::<describe_producers::DescribeProducers>(),
    row::<describe_transactions::DescribeTransactions>(),
    row::<list_transactions::ListTransactions>(),
    row::<allocate_producer_ids::AllocateProducerIds>(),
    row::<consumer_group_heartbeat::ConsumerGroupHeartbeat>(),
    row::<consumer_group_describe::ConsumerGroupDescribe>(),
    row::<get_telemetry_subscriptions::GetTelemetrySubscriptions>(),
    row::<push_telemetry::PushTelemetry>(),
    row::<list_config_resources::ListConfigResources>(),
    row::<describe_topic_partitions::DescribeTopicPartitions>(),
    row::<share_group_heartbeat::ShareGroupHeartbeat>(),
    row::<share_group_describe::ShareGroupDescribe>(),
    row::<share_fetch::ShareFetch>(),
    row::<share_acknowledge::ShareAcknowledge>(),
    row::<initialize_share_group_state::InitializeShareGroupState>(),
    row::<read_share_group_state::ReadShareGroupState>(),
    row::<write_share_group_state::WriteShareGroupState>(),
    row::<delete_share_group_state::DeleteShareGroupState>(),
    row::<read_share_group_state_summary::ReadShareGroupStateSummary>(),
    row::<describe_share_group_offsets::DescribeShareGroupOffsets>(),
    row::<alter_share_group_offsets::AlterShareGroupOffsets>(),
    row::<delete_share_group_offsets::DeleteShareGroupOffsets>(),
];

/// As which requests count: the names of the table, and fetches once more by who asks.
pub fn counted_names() -> impl Iterator<Item = (usize, &'static str)> {
    TABLE.iter().map(|row| row.name).chain(["FetchConsumer", "FetchFollower"]).enumerate()
}

/// Why connections are closed while a broker starts. Clients come again at once, and again: not worth a line each.
pub const NO_IMAGE_YET: &str = "the controller has not told of the cluster yet";

/// What is served before the first UpdateMetadata: ApiVersions, and the controller's word. For anything else a broker
/// that has just started would say that no topic exists, which clients believe; a closed connection they try elsewhere.
const BEFORE_THE_IMAGE: [i16; 4] = [
    <LeaderAndIsrRequest as Request>::KEY,
    <StopReplicaRequest as Request>::KEY,
    <UpdateMetadataRequest as Request>::KEY,
    api_versions::KEY,
];

/// What a broker that is cut off from all others does not answer: clients that ask elsewhere find who leads now.
const NOT_IN_ISOLATION: [i16; 3] =
    [<ProduceRequest as Request>::KEY, <MetadataRequest as Request>::KEY, <FindCoordinatorRequest as Request>::KEY];

const _: () = {
    let mut index = 1;
    while index < TABLE.len() {
        assert!(TABLE[index - 1].key < TABLE[index].key, "rows are sorted by key, each key once");
        index += 1;
    }
};

/// Handles one request frame (without its length prefix). Also tells as which of [`counted_names`] its time counts, if it is
/// a request of this table at all.
pub fn dispatch(
    broker: &Arc<Broker>,
    connection: &ConnectionInfo,
    sequence: u64,
    frame: bytes::Bytes,
    now: Now,
) -> (Handled, Option<usize>) {
    let bytes = frame.len();
    let mut reader = Reader::new(frame);
    let header = match header::decode_request_header(&mut reader) {
        Ok(header) => header,
        Err(error) => return (Handled::Close(format!("request header: {error}")), None),
    };
    let throttle_ms = hold_back(broker, connection, &header, bytes, now);
    let RequestHeader { api_key, api_version, correlation_id, client_id } = header;
    let Ok(index) = TABLE.binary_search_by_key(&api_key, |row| row.key) else {
        return (Handled::Close(format!("api key {api_key} is not served")), None);
    };
    let row = &TABLE[index];
    broker.requests.api(index).requested(api_version);
    if !row.served.contains(&api_version) {
        if api_key == api_versions::KEY {
            broker.requests.api(index).answered(ErrorCode::UnsupportedVersion.code());
            return (Handled::Now(api_versions::unsupported_version(correlation_id)), Some(index));
        }
        return (Handled::Close(format!("{} version {api_version} is not served", row.name)), None);
    }
    if !BEFORE_THE_IMAGE.contains(&api_key) && broker.image.read().brokers().next().is_none() {
        return (Handled::Close(NO_IMAGE_YET.to_owned()), None);
    }
    if broker.isolation.is_isolated() && NOT_IN_ISOLATION.contains(&api_key) {
        return (Handled::Close("this broker is cut off from ZooKeeper and from all other brokers".to_owned()), None);
    }
    let timed_as = Cell::new(index);
    let ctx = Context {
        broker,
        now,
        version: api_version,
        connection,
        client_id: client_id.as_deref(),
        correlation_id,
        sequence,
        throttle_ms,
        row: index,
        timed_as: &timed_as,
    };
    let handled = (row.handle)(&ctx, reader);
    (handled, Some(timed_as.get()))
}

fn handle<E: Endpoint>(ctx: &Context<'_>, mut body: Reader) -> Handled {
    let request = match E::Request::decode(&mut body, ctx.version) {
        Ok(request) => request,
        Err(error) => {
            return Handled::Close(format!("{} version {}: {error}", <E::Request as Request>::NAME, ctx.version));
        }
    };
    let reply = match E::ACCESS.refusal(ctx, &request) {
        Some(refusal) => Reply::Now(refusal),
        None => E::handle(ctx, request),
    };
    match reply {
        Reply::Now(response) => {
            count_errors(ctx.broker.requests.api(ctx.row), &response);
            let response = throttled(&response, ctx.throttle_ms).unwrap_or(response);
            match encode::<E::Request>(ctx.correlation_id, ctx.version, &response) {
                Ok(frame) => Handled::Now(frame),
                Err(reason) => Handled::Close(reason),
            }
        }
        Reply::Parked => Handled::Parked { lets_pass: E::LETS_PASS },
        Reply::ParkedAlone => Handled::Parked { lets_pass: false },
        Reply::Silent => Handled::Silent,
        Reply::Close(reason) => Handled::Close(reason),
    }
}

fn count_errors<R: Field>(counters: &ApiCounters, response: &R) {
    response.each_error_code(&mut |code| counters.answered(code));
}

/// The response of a client that is held back; `None` if it is not.
fn throttled<R: Response>(response: &R, throttle_ms: u64) -> Option<R> {
    if throttle_ms == 0 {
        return None;
    }
    let mut response = response.clone();
    response.set_throttle_time_ms(i32::try_from(throttle_ms).unwrap_or(i32::MAX));
    Some(response)
}

/// What brokers say to each other, and what only they do, is not held back.
const NOT_HELD_BACK: [i16; 12] = [4, 5, 6, 7, 27, 56, 67, 83, 84, 85, 86, 87];

/// Counts a request as far as its size and the time of those before it go; for how long to hold its client back. Fetches are
/// counted with their answers.
fn hold_back(broker: &Broker, connection: &ConnectionInfo, header: &RequestHeader, bytes: usize, now: Now) -> u64 {
    let key = header.api_key;
    if !broker.quotas.is_used() || NOT_HELD_BACK.contains(&key) || key == <FetchRequest as Request>::KEY {
        return 0;
    }
    let client_id = header.client_id.as_deref().unwrap_or_default();
    let who = Who { principal: &connection.principal, client_id };
    broker.quotas.speaks(connection.id, who);
    let mut ms = broker.quotas.record(Kind::Request, who, 0.0, now.mono);
    if key == <ProduceRequest as Request>::KEY {
        ms = ms.max(broker.quotas.record(Kind::Produce, who, bytes as f64, now.mono));
    }
    if ms > 0 {
        broker.quotas.mute(connection.id, ms, now.mono);
    }
    ms
}

/// What a client or ZooKeeper gave may be too long to be said again; then no answer can be given.
fn encode<E: Request>(correlation_id: i32, version: i16, response: &E::Response) -> Result<Frame, String> {
    header::encode_response(correlation_id, version, response).map_err(|error| {
        tracing::error!(api = E::NAME, version, %error, "a response cannot be written");
        format!("response to {} version {version}: {error}", E::NAME)
    })
}

/// What becomes of an order of the controller that came late, over a connection that it has given up.
pub(crate) fn overtaken<R>(ctx: &Context<'_>, controller_epoch: i32) -> Option<Reply<R>> {
    let is_late = ctx.broker.controller_link.is_overtaken(controller_epoch, ctx.connection.id);
    is_late.then(|| Reply::Close(format!("controller {controller_epoch} speaks over a later connection")))
}

/// True if the controller means an earlier registration of this broker (KIP-380); -1 is a version without the field. Before
/// this life has heard its own epoch only a later one than all that it has seen can be meant for it.
pub(crate) fn is_for_earlier_life(broker: &Broker, broker_epoch: i64) -> bool {
    let own = broker.replicas.broker_epoch();
    broker_epoch >= 0 && (broker_epoch < own || (own < 0 && !broker.cluster.may_become(broker_epoch)))
}
