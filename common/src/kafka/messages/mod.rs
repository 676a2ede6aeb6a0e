//! Every Kafka message, declared: one file an API, one line a field, from which the `declare!` macro makes the structs,
//! the bounded decoder, the encoder and the version ranges. Holds no rule of the broker.
//!
//! A declaration reads `name: Type = default, versions, null versions, [ignorable];` with versions as `3+` or `0-2`. A
//! line that begins with `#N` is a tagged field (KIP-482). Names, types, versions and defaults are those of Kafka's own
//! message definitions: 3.9 for the low versions, 4.3 for the high ones. A field that the version at hand lacks is left
//! at its default when decoding; when encoding, a value other than the default is dropped if the field is `[ignorable]`
//! and an error if not, as in Kafka.
//!
//! `messages::Name` reaches a struct whose name only one API uses; others are at `messages::<api>::Name`. Where request
//! and response of one API use a name for different structs, the response's has `Response` behind it.
#![allow(missing_docs, reason = "structs and fields are named by the protocol, whose documentation describes them")]

use std::ops::RangeInclusive;

use bytes::Bytes;
use uuid::Uuid;

use super::records::Records;
use super::wire::{DecodeError, EncodeError, Reader, Shape, Writer};
use crate::limits::DECODE_RESERVE_COUNT;

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
pub mod create_delegation_token;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_acls;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_share_group_offsets;
pub mod delete_share_group_state;
pub mod delete_topics;
pub mod describe_acls;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_delegation_token;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_share_group_offsets;
pub mod describe_topic_partitions;
pub mod describe_transactions;
pub mod describe_user_scram_credentials;
pub mod elect_leaders;
pub mod end_txn;
pub mod envelope;
pub mod expire_delegation_token;
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
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod push_telemetry;
pub mod read_share_group_state;
pub mod read_share_group_state_summary;
pub mod renew_delegation_token;
pub mod sasl_authenticate;
pub mod sasl_handshake;
pub mod share_acknowledge;
pub mod share_fetch;
pub mod share_group_describe;
pub mod share_group_heartbeat;
pub mod stop_replica;
pub mod sync_group;
#[cfg(feature = "random")]
pub mod trial;
pub mod txn_offset_commit;
pub mod update_features;
pub mod update_metadata;
pub mod write_share_group_state;
pub mod write_txn_markers;

pub use add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
pub use add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AddPartitionsToTxnResult,
    AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult, AddPartitionsToTxnTransaction,
};
pub use allocate_producer_ids::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
pub use alter_client_quotas::{AlterClientQuotasRequest, AlterClientQuotasResponse, EntryDataResponse, OpData};
pub use alter_configs::{AlterConfigsRequest, AlterConfigsResponse};
pub use alter_partition::{
    AlterPartitionRequest, AlterPartitionResponse, BrokerState, PartitionDataResponse, TopicDataResponse,
};
pub use alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignablePartitionResponse, ReassignableTopic, ReassignableTopicResponse,
};
pub use alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopic, AlterReplicaLogDirTopicResult,
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse,
};
pub use alter_share_group_offsets::{
    AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsRequestPartition, AlterShareGroupOffsetsRequestTopic,
    AlterShareGroupOffsetsResponse, AlterShareGroupOffsetsResponsePartition, AlterShareGroupOffsetsResponseTopic,
};
pub use alter_user_scram_credentials::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, AlterUserScramCredentialsResult,
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
pub use api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey};
pub use consumer_group_describe::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
pub use consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
pub use controlled_shutdown::{ControlledShutdownRequest, ControlledShutdownResponse, RemainingPartition};
pub use create_acls::{AclCreation, AclCreationResult, CreateAclsRequest, CreateAclsResponse};
pub use create_delegation_token::{CreatableRenewers, CreateDelegationTokenRequest, CreateDelegationTokenResponse};
pub use create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};
pub use create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreatableTopicConfigs, CreatableTopicResult,
    CreateTopicsRequest, CreateTopicsResponse,
};
pub use delete_acls::{
    DeleteAclsFilter, DeleteAclsFilterResult, DeleteAclsMatchingAcl, DeleteAclsRequest, DeleteAclsResponse,
};
pub use delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};
pub use delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopic, DeleteRecordsTopicResult,
};
pub use delete_share_group_offsets::{
    DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsRequestTopic, DeleteShareGroupOffsetsResponse,
    DeleteShareGroupOffsetsResponseTopic,
};
pub use delete_share_group_state::{
    DeleteShareGroupStateRequest, DeleteShareGroupStateResponse, DeleteStateData, DeleteStateResult,
};
pub use delete_topics::{DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse};
pub use describe_acls::{AclDescription, DescribeAclsRequest, DescribeAclsResource, DescribeAclsResponse};
pub use describe_client_quotas::{ComponentData, DescribeClientQuotasRequest, DescribeClientQuotasResponse, ValueData};
pub use describe_cluster::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse};
pub use describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};
pub use describe_delegation_token::{
    DescribeDelegationTokenOwner, DescribeDelegationTokenRequest, DescribeDelegationTokenResponse,
    DescribedDelegationToken, DescribedDelegationTokenRenewer,
};
pub use describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroupMember};
pub use describe_log_dirs::{
    DescribableLogDirTopic, DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeLogDirsResult, DescribeLogDirsTopic,
};
pub use describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
pub use describe_share_group_offsets::{
    DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsRequestGroup, DescribeShareGroupOffsetsRequestTopic,
    DescribeShareGroupOffsetsResponse, DescribeShareGroupOffsetsResponseGroup,
    DescribeShareGroupOffsetsResponsePartition, DescribeShareGroupOffsetsResponseTopic,
};
pub use describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
pub use describe_transactions::{DescribeTransactionsRequest, DescribeTransactionsResponse};
pub use describe_user_scram_credentials::{
    CredentialInfo, DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
    DescribeUserScramCredentialsResult, UserName,
};
pub use elect_leaders::{ElectLeadersRequest, ElectLeadersResponse, ReplicaElectionResult};
pub use end_txn::{EndTxnRequest, EndTxnResponse};
pub use envelope::{EnvelopeRequest, EnvelopeResponse};
pub use expire_delegation_token::{ExpireDelegationTokenRequest, ExpireDelegationTokenResponse};
pub use fetch::{AbortedTransaction, FetchRequest, FetchResponse, FetchableTopicResponse, ReplicaState, SnapshotId};
pub use find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
pub use get_telemetry_subscriptions::{GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse};
pub use heartbeat::{HeartbeatRequest, HeartbeatResponse};
pub use incremental_alter_configs::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
pub use init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
pub use initialize_share_group_state::{
    InitializeShareGroupStateRequest, InitializeShareGroupStateResponse, InitializeStateData, InitializeStateResult,
};
pub use join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse, JoinGroupResponseMember};
pub use leader_and_isr::{
    LeaderAndIsrLiveLeader, LeaderAndIsrPartitionError, LeaderAndIsrPartitionState, LeaderAndIsrRequest,
    LeaderAndIsrResponse, LeaderAndIsrTopicError, LeaderAndIsrTopicState,
};
pub use leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse};
pub use list_config_resources::{ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse};
pub use list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
pub use list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
    ListOffsetsTopicResponse,
};
pub use list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, ListPartitionReassignmentsTopics,
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
pub use list_transactions::{ListTransactionsRequest, ListTransactionsResponse};
pub use metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
pub use offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
pub use offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic, OffsetDeleteResponse,
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
pub use offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
pub use offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition, OffsetForLeaderTopic,
    OffsetForLeaderTopicResult,
};
pub use produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData, TopicProduceResponse,
};
pub use push_telemetry::{PushTelemetryRequest, PushTelemetryResponse};
pub use read_share_group_state::{
    ReadShareGroupStateRequest, ReadShareGroupStateResponse, ReadStateData, ReadStateResult,
};
pub use read_share_group_state_summary::{
    ReadShareGroupStateSummaryRequest, ReadShareGroupStateSummaryResponse, ReadStateSummaryData, ReadStateSummaryResult,
};
pub use renew_delegation_token::{RenewDelegationTokenRequest, RenewDelegationTokenResponse};
pub use sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};
pub use sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};
pub use share_acknowledge::{
    AcknowledgePartition, AcknowledgeTopic, ShareAcknowledgeRequest, ShareAcknowledgeResponse,
    ShareAcknowledgeTopicResponse,
};
pub use share_fetch::{AcquiredRecords, ShareFetchRequest, ShareFetchResponse, ShareFetchableTopicResponse};
pub use share_group_describe::{ShareGroupDescribeRequest, ShareGroupDescribeResponse};
pub use share_group_heartbeat::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};
pub use stop_replica::{
    StopReplicaPartitionError, StopReplicaPartitionState, StopReplicaPartitionV0, StopReplicaRequest,
    StopReplicaResponse, StopReplicaTopicState, StopReplicaTopicV1,
};
pub use sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};
pub use txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic, TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
pub use update_features::{FeatureUpdateKey, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse};
pub use update_metadata::{
    UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataPartitionState, UpdateMetadataRequest,
    UpdateMetadataResponse, UpdateMetadataTopicState,
};
pub use write_share_group_state::{
    WriteShareGroupStateRequest, WriteShareGroupStateResponse, WriteStateData, WriteStateResult,
};
pub use write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopic,
    WritableTxnMarkerTopicResult, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
/// Every API, by key.
pub static APIS: &[ApiDescriptor] = &[
    descriptor::<ProduceRequest>("Produce"),
    descriptor::<FetchRequest>("Fetch"),
    descriptor::<ListOffsetsRequest>("ListOffsets"),
    descriptor::<MetadataRequest>("Metadata"),
    descriptor::<LeaderAndIsrRequest>("LeaderAndIsr"),
    descriptor::<StopReplicaRequest>("StopReplica"),
    descriptor::<UpdateMetadataRequest>("UpdateMetadata"),
    descriptor::<ControlledShutdownRequest>("ControlledShutdown"),
    descriptor::<OffsetCommitRequest>("OffsetCommit"),
    descriptor::<OffsetFetchRequest>("OffsetFetch"),
    descriptor::<FindCoordinatorRequest>("FindCoordinator"),
    descriptor::<JoinGroupRequest>("JoinGroup"),
    descriptor::<HeartbeatRequest>("Heartbeat"),
    descriptor::<LeaveGroupRequest>("LeaveGroup"),
    descriptor::<SyncGroupRequest>("SyncGroup"),
    descriptor::<DescribeGroupsRequest>("DescribeGroups"),
    descriptor::<ListGroupsRequest>("ListGroups"),
    descriptor::<SaslHandshakeRequest>("SaslHandshake"),
    descriptor::<ApiVersionsRequest>("ApiVersions"),
    descriptor::<CreateTopicsRequest>("CreateTopics"),
    descriptor::<DeleteTopicsRequest>("DeleteTopics"),
    descriptor::<DeleteRecordsRequest>("DeleteRecords"),
    descriptor::<InitProducerIdRequest>("InitProducerId"),
    descriptor::<OffsetForLeaderEpochRequest>("OffsetForLeaderEpoch"),
    descriptor::<AddPartitionsToTxnRequest>("AddPartitionsToTxn"),
    descriptor::<AddOffsetsToTxnRequest>("AddOffsetsToTxn"),
    descriptor::<EndTxnRequest>("EndTxn"),
    descriptor::<WriteTxnMarkersRequest>("WriteTxnMarkers"),
    descriptor::<TxnOffsetCommitRequest>("TxnOffsetCommit"),
    descriptor::<DescribeAclsRequest>("DescribeAcls"),
    descriptor::<CreateAclsRequest>("CreateAcls"),
    descriptor::<DeleteAclsRequest>("DeleteAcls"),
    descriptor::<DescribeConfigsRequest>("DescribeConfigs"),
    descriptor::<AlterConfigsRequest>("AlterConfigs"),
    descriptor::<AlterReplicaLogDirsRequest>("AlterReplicaLogDirs"),
    descriptor::<DescribeLogDirsRequest>("DescribeLogDirs"),
    descriptor::<SaslAuthenticateRequest>("SaslAuthenticate"),
    descriptor::<CreatePartitionsRequest>("CreatePartitions"),
    descriptor::<CreateDelegationTokenRequest>("CreateDelegationToken"),
    descriptor::<RenewDelegationTokenRequest>("RenewDelegationToken"),
    descriptor::<ExpireDelegationTokenRequest>("ExpireDelegationToken"),
    descriptor::<DescribeDelegationTokenRequest>("DescribeDelegationToken"),
    descriptor::<DeleteGroupsRequest>("DeleteGroups"),
    descriptor::<ElectLeadersRequest>("ElectLeaders"),
    descriptor::<IncrementalAlterConfigsRequest>("IncrementalAlterConfigs"),
    descriptor::<AlterPartitionReassignmentsRequest>("AlterPartitionReassignments"),
    descriptor::<ListPartitionReassignmentsRequest>("ListPartitionReassignments"),
    descriptor::<OffsetDeleteRequest>("OffsetDelete"),
    descriptor::<DescribeClientQuotasRequest>("DescribeClientQuotas"),
    descriptor::<AlterClientQuotasRequest>("AlterClientQuotas"),
    descriptor::<DescribeUserScramCredentialsRequest>("DescribeUserScramCredentials"),
    descriptor::<AlterUserScramCredentialsRequest>("AlterUserScramCredentials"),
    descriptor::<AlterPartitionRequest>("AlterPartition"),
    descriptor::<UpdateFeaturesRequest>("UpdateFeatures"),
    descriptor::<EnvelopeRequest>("Envelope"),
    descriptor::<DescribeClusterRequest>("DescribeCluster"),
    descriptor::<DescribeProducersRequest>("DescribeProducers"),
    descriptor::<DescribeTransactionsRequest>("DescribeTransactions"),
    descriptor::<ListTransactionsRequest>("ListTransactions"),
    descriptor::<AllocateProducerIdsRequest>("AllocateProducerIds"),
    descriptor::<ConsumerGroupHeartbeatRequest>("ConsumerGroupHeartbeat"),
    descriptor::<ConsumerGroupDescribeRequest>("ConsumerGroupDescribe"),
    descriptor::<GetTelemetrySubscriptionsRequest>("GetTelemetrySubscriptions"),
    descriptor::<PushTelemetryRequest>("PushTelemetry"),
    descriptor::<ListConfigResourcesRequest>("ListConfigResources"),
    descriptor::<DescribeTopicPartitionsRequest>("DescribeTopicPartitions"),
    descriptor::<ShareGroupHeartbeatRequest>("ShareGroupHeartbeat"),
    descriptor::<ShareGroupDescribeRequest>("ShareGroupDescribe"),
    descriptor::<ShareFetchRequest>("ShareFetch"),
    descriptor::<ShareAcknowledgeRequest>("ShareAcknowledge"),
    descriptor::<InitializeShareGroupStateRequest>("InitializeShareGroupState"),
    descriptor::<ReadShareGroupStateRequest>("ReadShareGroupState"),
    descriptor::<WriteShareGroupStateRequest>("WriteShareGroupState"),
    descriptor::<DeleteShareGroupStateRequest>("DeleteShareGroupState"),
    descriptor::<ReadShareGroupStateSummaryRequest>("ReadShareGroupStateSummary"),
    descriptor::<DescribeShareGroupOffsetsRequest>("DescribeShareGroupOffsets"),
    descriptor::<AlterShareGroupOffsetsRequest>("AlterShareGroupOffsets"),
    descriptor::<DeleteShareGroupOffsetsRequest>("DeleteShareGroupOffsets"),
];

/// A request or response.
pub trait Message: Field {
    /// Reads a message of `version`; bytes behind it are left in the reader.
    fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError>;
    /// Writes the message as `version` has it.
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError>;
}

/// A request: which API it belongs to and what answers it.
pub trait Request: Message {
    /// API key.
    const KEY: i16;
    /// Name as Kafka writes it, `ListOffsets`.
    const NAME: &'static str;
    /// Versions that can be decoded and encoded.
    const VERSIONS: RangeInclusive<i16>;
    /// First version with compact lengths and tagged fields (KIP-482); `None` if there is none.
    const FLEXIBLE_FROM: Option<i16>;
    /// What answers it.
    type Response: Response<Request = Self>;
}

/// What answers a request.
pub trait Response: Message + Struct + Clone {
    /// The request that it answers.
    type Request: Request<Response = Self>;
}

/// One API of the wire.
#[derive(Clone, Debug)]
pub struct ApiDescriptor {
    /// API key.
    pub key: i16,
    /// Name as Kafka writes it, `ListOffsets`.
    pub name: &'static str,
    /// Versions that can be decoded and encoded. What a broker advertises is its own decision.
    pub versions: RangeInclusive<i16>,
    /// First version with compact lengths and tagged fields; `None` if there is none.
    pub flexible_from: Option<i16>,
    /// Random messages of this API, for tests.
    #[cfg(feature = "random")]
    pub trial: trial::Trial,
}

const fn descriptor<R: Request + 'static>(name: &'static str) -> ApiDescriptor {
    ApiDescriptor {
        key: R::KEY,
        name,
        versions: R::VERSIONS,
        flexible_from: R::FLEXIBLE_FROM,
        #[cfg(feature = "random")]
        trial: trial::Trial::of::<R>(),
    }
}

/// The API with this key.
pub fn api(key: i16) -> Option<&'static ApiDescriptor> {
    APIS.binary_search_by_key(&key, |api| api.key).ok().map(|at| &APIS[at])
}

/// A value that knows its place on the wire. Implemented for the primitive types here and for each struct by `declare!`.
pub trait Field: Default {
    /// Reads in place, over whatever was there: one value is moved about less and much less code is made than by
    /// returning it.
    #[doc(hidden)]
    fn read(&mut self, reader: &mut Reader, shape: Shape) -> Result<(), DecodeError>;
    #[doc(hidden)]
    fn write(&self, writer: &mut Writer, shape: Shape) -> Result<(), EncodeError>;
    /// True for the value that a field without a declared default has.
    #[doc(hidden)]
    fn is_default(&self) -> bool;
    /// Shows every `error_code` in it.
    #[doc(hidden)]
    fn each_error_code(&self, see: &mut dyn FnMut(i16)) {
        let _ = see;
    }
    /// A value that `write` takes in this shape.
    #[cfg(feature = "random")]
    #[doc(hidden)]
    fn random(rng: &mut crate::Rng, shape: Shape) -> Self;
}

/// Marks the structs of `declare!`, so that an optional one has its own layout.
#[doc(hidden)]
pub trait Struct: Field {
    /// Sets `throttle_time_ms`, if the struct has it.
    fn set_throttle_time_ms(&mut self, ms: i32);
}

macro_rules! number_fields {
    ($($type:ty: $get:ident, $put:ident;)*) => {$(
        impl Field for $type {
            fn read(&mut self, reader: &mut Reader, _shape: Shape) -> Result<(), DecodeError> {
                *self = reader.$get()?;
                Ok(())
            }
            fn write(&self, writer: &mut Writer, _shape: Shape) -> Result<(), EncodeError> {
                writer.$put(*self);
                Ok(())
            }
            fn is_default(&self) -> bool {
                *self == <$type>::default()
            }
            #[cfg(feature = "random")]
            fn random(rng: &mut crate::Rng, _shape: Shape) -> Self {
                trial::number(rng) as $type
            }
        }
    )*};
}

number_fields! {
    i8: get_i8, put_i8;
    i16: get_i16, put_i16;
    u16: get_u16, put_u16;
    i32: get_i32, put_i32;
    u32: get_u32, put_u32;
    i64: get_i64, put_i64;
    f64: get_f64, put_f64;
}

impl Field for bool {
    fn read(&mut self, reader: &mut Reader, _shape: Shape) -> Result<(), DecodeError> {
        *self = reader.get_i8()? != 0;
        Ok(())
    }
    fn write(&self, writer: &mut Writer, _shape: Shape) -> Result<(), EncodeError> {
        writer.put_i8(i8::from(*self));
        Ok(())
    }
    fn is_default(&self) -> bool {
        !*self
    }
    #[cfg(feature = "random")]
    fn random(rng: &mut crate::Rng, _shape: Shape) -> Self {
        rng.bool()
    }
}

impl Field for Uuid {
    fn read(&mut self, reader: &mut Reader, _shape: Shape) -> Result<(), DecodeError> {
        *self = reader.get_uuid()?;
        Ok(())
    }
    fn write(&self, writer: &mut Writer, _shape: Shape) -> Result<(), EncodeError> {
        writer.put_uuid(*self);
        Ok(())
    }
    fn is_default(&self) -> bool {
        self.is_nil()
    }
    #[cfg(feature = "random")]
    fn random(rng: &mut crate::Rng, _shape: Shape) -> Self {
        if rng.u8(..4) == 0 { Uuid::nil() } else { Uuid::from_u128(rng.u128(..)) }
    }
}

/// A type whose null stands in its length: the plain type must not be null, the optional one may where its shape says.
macro_rules! nullable_fields {
    ($($type:ty: $get:ident, $put:ident, $borrow:ident, $random:ident;)*) => {$(
        impl Field for $type {
            fn read(&mut self, reader: &mut Reader, shape: Shape) -> Result<(), DecodeError> {
                *self = reader.$get(shape.flexible)?.ok_or(DecodeError::UnexpectedNull)?;
                Ok(())
            }
            fn write(&self, writer: &mut Writer, shape: Shape) -> Result<(), EncodeError> {
                writer.$put(Some(self), shape.flexible)
            }
            fn is_default(&self) -> bool {
                self.is_empty()
            }
            #[cfg(feature = "random")]
            fn random(rng: &mut crate::Rng, _shape: Shape) -> Self {
                trial::$random(rng)
            }
        }
        impl Field for Option<$type> {
            fn read(&mut self, reader: &mut Reader, shape: Shape) -> Result<(), DecodeError> {
                *self = reader.$get(shape.flexible)?;
                if self.is_none() && !shape.nullable { Err(DecodeError::UnexpectedNull) } else { Ok(()) }
            }
            fn write(&self, writer: &mut Writer, shape: Shape) -> Result<(), EncodeError> {
                check_null(self.is_none(), shape)?;
                writer.$put(self.$borrow(), shape.flexible)
            }
            fn is_default(&self) -> bool {
                self.is_none()
            }
            #[cfg(feature = "random")]
            fn random(rng: &mut crate::Rng, shape: Shape) -> Self {
                trial::nullable(rng, shape, |rng| trial::$random(rng))
            }
        }
    )*};
}

nullable_fields! {
    String: get_nullable_string, put_nullable_string, as_deref, string;
    Bytes: get_nullable_bytes, put_nullable_bytes, as_ref, bytes;
    Records: get_nullable_records, put_nullable_records, as_ref, records;
}

fn check_null(is_null: bool, shape: Shape) -> Result<(), EncodeError> {
    if is_null && !shape.nullable {
        return Err(EncodeError::UnexpectedNull { version: shape.version });
    }
    Ok(())
}

fn read_elements<T: Field>(reader: &mut Reader, shape: Shape) -> Result<Option<Vec<T>>, DecodeError> {
    let Some(count) = reader.get_array_count(shape.flexible)? else {
        return if shape.nullable { Ok(None) } else { Err(DecodeError::UnexpectedNull) };
    };
    let shape = shape.with_nullable(false);
    let mut elements = Vec::with_capacity(count.min(DECODE_RESERVE_COUNT));
    for _ in 0..count {
        let mut element = T::default();
        element.read(reader, shape)?;
        elements.push(element);
    }
    Ok(Some(elements))
}

fn write_elements<T: Field>(elements: &[T], writer: &mut Writer, shape: Shape) -> Result<(), EncodeError> {
    writer.put_length(Some(elements.len()), shape.flexible)?;
    let shape = shape.with_nullable(false);
    for element in elements {
        element.write(writer, shape)?;
    }
    Ok(())
}

impl<T: Field> Field for Vec<T> {
    fn read(&mut self, reader: &mut Reader, shape: Shape) -> Result<(), DecodeError> {
        *self = read_elements(reader, shape.with_nullable(false))?.ok_or(DecodeError::UnexpectedNull)?;
        Ok(())
    }
    fn write(&self, writer: &mut Writer, shape: Shape) -> Result<(), EncodeError> {
        write_elements(self, writer, shape)
    }
    fn is_default(&self) -> bool {
        self.is_empty()
    }
    fn each_error_code(&self, see: &mut dyn FnMut(i16)) {
        self.iter().for_each(|element| element.each_error_code(see));
    }
    #[cfg(feature = "random")]
    fn random(rng: &mut crate::Rng, shape: Shape) -> Self {
        trial::elements(rng, shape)
    }
}

impl<T: Field> Field for Option<Vec<T>> {
    fn read(&mut self, reader: &mut Reader, shape: Shape) -> Result<(), DecodeError> {
        *self = read_elements(reader, shape)?;
        Ok(())
    }
    fn write(&self, writer: &mut Writer, shape: Shape) -> Result<(), EncodeError> {
        check_null(self.is_none(), shape)?;
        match self {
            Some(elements) => write_elements(elements, writer, shape),
            None => writer.put_length(None, shape.flexible),
        }
    }
    fn is_default(&self) -> bool {
        self.is_none()
    }
    fn each_error_code(&self, see: &mut dyn FnMut(i16)) {
        self.iter().flatten().for_each(|element| element.each_error_code(see));
    }
    #[cfg(feature = "random")]
    fn random(rng: &mut crate::Rng, shape: Shape) -> Self {
        trial::nullable(rng, shape, |rng| trial::elements(rng, shape))
    }
}

impl<T: Struct> Field for Option<T> {
    /// A struct that may be null has a byte before it: -1 for null, 1 for a value.
    fn read(&mut self, reader: &mut Reader, shape: Shape) -> Result<(), DecodeError> {
        *self = None;
        if shape.nullable && reader.get_i8()? < 0 {
            return Ok(());
        }
        self.insert(T::default()).read(reader, shape.with_nullable(false))
    }
    fn write(&self, writer: &mut Writer, shape: Shape) -> Result<(), EncodeError> {
        check_null(self.is_none(), shape)?;
        if shape.nullable {
            writer.put_i8(if self.is_some() { 1 } else { -1 });
        }
        match self {
            Some(value) => value.write(writer, shape.with_nullable(false)),
            None => Ok(()),
        }
    }
    fn is_default(&self) -> bool {
        self.is_none()
    }
    fn each_error_code(&self, see: &mut dyn FnMut(i16)) {
        self.iter().for_each(|value| value.each_error_code(see));
    }
    #[cfg(feature = "random")]
    fn random(rng: &mut crate::Rng, shape: Shape) -> Self {
        trial::nullable(rng, shape, |rng| T::random(rng, shape.with_nullable(false)))
    }
}

fn absent(field: &'static str, shape: Shape) -> EncodeError {
    EncodeError::FieldNotInVersion { field, version: shape.version }
}

/// Reads the tagged fields of a struct: `known` reads those it knows and says so, the others are passed over.
fn read_tagged(
    reader: &mut Reader,
    known: &mut dyn FnMut(u32, &mut Reader) -> Result<bool, DecodeError>,
) -> Result<(), DecodeError> {
    for _ in 0..reader.get_uvarint()? {
        let tag = reader.get_uvarint()?;
        let size = reader.get_uvarint()? as usize;
        let left = reader.remaining();
        if size > left {
            return Err(DecodeError::Truncated { needed: size, left });
        }
        let start = reader.position();
        if !known(tag, reader)? {
            reader.skip(size)?;
        }
        if reader.position() - start != size {
            return Err(DecodeError::TagSize { tag });
        }
    }
    Ok(())
}

/// Declares the messages of one API; the syntax is in the module's documentation.
macro_rules! declare {
    (
        $key:literal $api:ident: $request:ident -> $response:ident, $min:literal - $max:literal,
        flexible $($flexible:literal +)? $(none)?;
        $($struct:ident { $($fields:tt)* })*
    ) => {
        $($crate::kafka::messages::declare! { @struct $struct $($fields)* })*

        $crate::kafka::messages::declare! { @message $request, $key, $min, $max, [$($flexible)?] }
        $crate::kafka::messages::declare! { @message $response, $key, $min, $max, [$($flexible)?] }

        impl $crate::kafka::messages::Request for $request {
            const KEY: i16 = $key;
            const NAME: &'static str = stringify!($api);
            const VERSIONS: std::ops::RangeInclusive<i16> = $min..=$max;
            const FLEXIBLE_FROM: Option<i16> = [$(Some($flexible),)? None::<i16>][0];
            type Response = $response;
        }
        impl $crate::kafka::messages::Response for $response {
            type Request = $request;
        }
    };

    (@throttle $it:ident, throttle_time_ms, $ms:ident) => {
        $it.throttle_time_ms = $ms;
    };
    (@throttle $it:ident, $other:ident, $ms:ident) => {};

    (@error $it:ident, error_code, $see:ident) => {
        $see($it.error_code)
    };
    (@error $it:ident, $other:ident, $see:ident) => {
        $crate::kafka::messages::Field::each_error_code(&$it.$other, $see)
    };

    (@message $message:ident, $key:literal, $min:literal, $max:literal, [$($flexible:literal)?]) => {
        impl $crate::kafka::messages::Message for $message {
            fn decode(
                reader: &mut $crate::kafka::wire::Reader,
                version: i16,
            ) -> Result<Self, $crate::kafka::wire::DecodeError> {
                if !($min..=$max).contains(&version) {
                    return Err($crate::kafka::wire::DecodeError::UnsupportedVersion { key: $key, version });
                }
                let flexible = false $(|| version >= $flexible)?;
                let shape = $crate::kafka::wire::Shape { version, flexible, nullable: false };
                let mut message = $message::default();
                $crate::kafka::messages::Field::read(&mut message, reader, shape)?;
                Ok(message)
            }
            fn encode(
                &self,
                writer: &mut $crate::kafka::wire::Writer,
                version: i16,
            ) -> Result<(), $crate::kafka::wire::EncodeError> {
                if !($min..=$max).contains(&version) {
                    return Err($crate::kafka::wire::EncodeError::UnsupportedVersion { key: $key, version });
                }
                let flexible = false $(|| version >= $flexible)?;
                let shape = $crate::kafka::wire::Shape { version, flexible, nullable: false };
                $crate::kafka::messages::Field::write(self, writer, shape)
            }
        }
    };

    (@struct $struct:ident
        $($field:ident: $type:ty $(= $default:expr)?, $from:tt $(+)? $(- $to:tt)?
            $(, null $null_from:literal $(+)? $(- $null_to:literal)?)? $(, [$ignorable:ident])?;)*
        $(# $tag:literal $tagged:ident: $tagged_type:ty $(= $tagged_default:expr)?,
            $tagged_from:literal $(+)? $(- $tagged_to:literal)?
            $(, null $tagged_null_from:literal $(+)? $(- $tagged_null_to:literal)?)?
            $(, [$tagged_ignorable:ident])?;)*
    ) => {
        #[derive(Clone, Debug, PartialEq)]
        pub struct $struct {
            $(pub $field: $type,)*
            $(pub $tagged: $tagged_type,)*
        }

        impl Default for $struct {
            fn default() -> Self {
                $struct {
                    $($field: $crate::kafka::messages::declare!(@default $($default)?),)*
                    $($tagged: $crate::kafka::messages::declare!(@default $($tagged_default)?),)*
                }
            }
        }

        impl $crate::kafka::messages::Struct for $struct {
            fn set_throttle_time_ms(&mut self, ms: i32) {
                let it = self;
                $($crate::kafka::messages::declare! { @throttle it, $field, ms })*
                let _ = (it, ms);
            }
        }

        #[allow(
            unused_variables,
            unused_mut,
            clippy::manual_range_contains,
            clippy::double_comparisons,
            reason = "a struct may lack fields of a kind, and a version range may hold one version"
        )]
        impl $crate::kafka::messages::Field for $struct {
            fn read(
                &mut self,
                reader: &mut $crate::kafka::wire::Reader,
                shape: $crate::kafka::wire::Shape,
            ) -> Result<(), $crate::kafka::wire::DecodeError> {
                let version = shape.version;
                $(if $crate::kafka::messages::declare!(@present version $from $($to)?) {
                    let nullable = false $(|| version >= $null_from $(&& version <= $null_to)?)?;
                    $crate::kafka::messages::Field::read(&mut self.$field, reader, shape.with_nullable(nullable))?;
                })*
                if shape.flexible {
                    $crate::kafka::messages::read_tagged(reader, &mut |tag, reader| {
                        $(if tag == $tag && version >= $tagged_from $(&& version <= $tagged_to)? {
                            let nullable = false $(|| version >= $tagged_null_from $(&& version <= $tagged_null_to)?)?;
                            let shape = shape.with_nullable(nullable);
                            $crate::kafka::messages::Field::read(&mut self.$tagged, reader, shape)?;
                            return Ok(true);
                        })*
                        Ok(false)
                    })?;
                }
                Ok(())
            }

            fn write(
                &self,
                writer: &mut $crate::kafka::wire::Writer,
                shape: $crate::kafka::wire::Shape,
            ) -> Result<(), $crate::kafka::wire::EncodeError> {
                let version = shape.version;
                $(if $crate::kafka::messages::declare!(@present version $from $($to)?) {
                    let nullable = false $(|| version >= $null_from $(&& version <= $null_to)?)?;
                    $crate::kafka::messages::Field::write(&self.$field, writer, shape.with_nullable(nullable))?;
                }
                $crate::kafka::messages::declare!(
                    @absent [$from $($to)?] [$($ignorable)?] self.$field, shape, [$($default)?]);
                )*
                let mut tagged_count = 0u32;
                $(let present = version >= $tagged_from $(&& version <= $tagged_to)?;
                if !$crate::kafka::messages::declare!(@is_default self.$tagged, $($tagged_default)?) {
                    if present {
                        tagged_count += 1;
                    } else if [$(stringify!($tagged_ignorable),)? ""][0].is_empty() {
                        return Err($crate::kafka::messages::absent(stringify!($tagged), shape));
                    }
                })*
                if shape.flexible {
                    writer.put_uvarint(tagged_count);
                    $(let present = version >= $tagged_from $(&& version <= $tagged_to)?;
                    if present && !$crate::kafka::messages::declare!(@is_default self.$tagged, $($tagged_default)?) {
                        let nullable = false $(|| version >= $tagged_null_from $(&& version <= $tagged_null_to)?)?;
                        let shape = shape.with_nullable(nullable);
                        writer.put_tagged($tag, |writer| {
                            $crate::kafka::messages::Field::write(&self.$tagged, writer, shape)
                        })?;
                    })*
                }
                Ok(())
            }

            fn is_default(&self) -> bool {
                *self == $struct::default()
            }

            fn each_error_code(&self, see: &mut dyn FnMut(i16)) {
                let it = self;
                $($crate::kafka::messages::declare! { @error it, $field, see };)*
            }

            #[cfg(feature = "random")]
            fn random(rng: &mut $crate::Rng, shape: $crate::kafka::wire::Shape) -> Self {
                let version = shape.version;
                let mut value = $struct::default();
                $(if $crate::kafka::messages::declare!(@present version $from $($to)?) {
                    let nullable = false $(|| version >= $null_from $(&& version <= $null_to)?)?;
                    value.$field = $crate::kafka::messages::Field::random(rng, shape.with_nullable(nullable));
                })*
                $(if version >= $tagged_from $(&& version <= $tagged_to)? && rng.bool() {
                    let nullable = false $(|| version >= $tagged_null_from $(&& version <= $tagged_null_to)?)?;
                    value.$tagged = $crate::kafka::messages::Field::random(rng, shape.with_nullable(nullable));
                })*
                value
            }
        }
    };

    (@default) => { Default::default() };
    (@default $default:expr) => { $default };

    (@is_default $value:expr,) => { $crate::kafka::messages::Field::is_default(&$value) };
    (@is_default $value:expr, $default:expr) => { $value == $default };

    // Version 0 is the lowest of all, so a field of `0+` is in every version: no code is made to find out.
    (@present $version:ident 0) => { true };
    (@present $version:ident $from:tt) => { $version >= $from };
    (@present $version:ident $from:tt $to:tt) => { $version >= $from && $version <= $to };

    (@absent [0] $ignorable:tt $self:ident.$field:ident, $shape:ident, $default:tt) => {};
    (@absent $versions:tt [ignorable] $self:ident.$field:ident, $shape:ident, $default:tt) => {};
    (@absent [$($versions:tt)*] [] $self:ident.$field:ident, $shape:ident, [$($default:expr)?]) => {
        let version = $shape.version;
        if !$crate::kafka::messages::declare!(@present version $($versions)*)
            && !$crate::kafka::messages::declare!(@is_default $self.$field, $($default)?)
        {
            return Err($crate::kafka::messages::absent(stringify!($field), $shape));
        }
    };
}
pub(crate) use declare;
