//! Who may do nothing is answered what Kafka 3.9's `KafkaApis` answers, by each API that is advertised and in each version,
//! and changes nothing.

use super::NOW;
use super::alone::Alone;
use crate::api::TABLE;
use ErrorCode::{
    ClusterAuthorizationFailed as Cluster, GroupAuthorizationFailed as Group, IllegalSaslState as Sasl,
    InvalidRequest as Invalid, None as Fine, TopicAuthorizationFailed as Topic,
    TransactionalIdAuthorizationFailed as Txn,
};
use bytes::Bytes;
use common::kafka::batch::{BatchSpec, Record, build};
use common::kafka::error::ErrorCode;
use common::kafka::messages::alter_configs::AlterConfigsResource;
use common::kafka::messages::fetch::{FetchPartition, FetchTopic};
use common::kafka::messages::*;
use common::kafka::records::Records;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::RangeInclusive;
use uuid::Uuid;

const TOPIC: &str = "secret";
const GROUP: &str = "secret-group";
const ID: &str = "secret-id";
const USER: &str = "secret-user";
const SUPER: &str = "admin";

/// Asks in a version; what the answer is shown as, or why there is none.
type Ask = Box<dyn Fn(&mut Alone, Uuid, i16) -> Result<String, String>>;

/// A request in these versions, and the codes of the answer in the order in which they stand in it. Where nothing is refused,
/// the answer leaves out what may not be seen.
struct Case {
    key: i16,
    name: &'static str,
    versions: RangeInclusive<i16>,
    ask: Ask,
    expected: Vec<ErrorCode>,
}

/// `request` is made for a version and the id of the topic.
fn case<R: Request>(
    versions: RangeInclusive<i16>,
    request: impl Fn(i16, Uuid) -> R + 'static,
    expected: &[ErrorCode],
) -> Case
where
    R::Response: Debug,
{
    let ask = move |alone: &mut Alone, topic: Uuid, version: i16| {
        alone.ask("mallory", version, &request(version, topic)).map(|response| format!("{response:?}"))
    };
    Case { key: R::KEY, name: R::NAME, versions, ask: Box::new(ask), expected: expected.to_vec() }
}

/// Every number behind `error_code: ` in what is shown.
fn codes(shown: &str) -> Vec<i16> {
    let number = |rest: &str| rest.split([',', ' ', '}']).next().unwrap().parse().unwrap();
    shown.split("error_code: ").skip(1).map(number).collect()
}

fn name() -> String {
    TOPIC.to_owned()
}

fn named(version: i16, by_id_from: i16) -> String {
    if version < by_id_from { name() } else { String::new() }
}

fn group() -> String {
    GROUP.to_owned()
}

fn id() -> String {
    ID.to_owned()
}

fn some_text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn who_may_do_nothing_is_refused_by_every_api() {
    let (mut alone, topic) = furnished();
    let cases: Vec<Case> = [
        clients(),
        groups(),
        transactions(),
        topics(),
        settings(),
        rarer_settings(),
        brokers(),
        share_partitions(),
        lists(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut asked: BTreeMap<i16, BTreeSet<i16>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for case in cases {
        let expected: Vec<i16> = case.expected.iter().map(|code| code.code()).collect();
        for version in case.versions.clone() {
            asked.entry(case.key).or_default().insert(version);
            let before = state(&alone);
            let shown = (case.ask)(&mut alone, topic, version).unwrap_or_else(|reason| format!("closed: {reason}"));
            let is_list = expected.iter().all(|code| *code == 0);
            let (is_right, tells) = (codes(&shown) == expected, is_list && shown.contains(TOPIC));
            if !is_right || tells || shown.starts_with("closed") || state(&alone) != before {
                wrong.push(format!("{} version {version}, expected {expected:?}: {shown}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let served = TABLE.iter().map(|row| (row.key, row.served.clone().collect())).collect();
    assert_eq!(asked, served, "each API that is advertised has a case in each of its versions");
}

/// A cluster with something of everything that may be hidden.
fn furnished() -> (Alone, Uuid) {
    let mut alone = Alone::new(
        "authorizer.class.name=kafka.security.authorizer.AclAuthorizer\nsuper.users=User:admin\n\
         offsets.topic.num.partitions=1\noffsets.topic.replication.factor=1\ntransaction.state.log.num.partitions=1\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\nmetrics.http.port=0",
    );
    let new = |name: &str| create_topics::CreatableTopic {
        name: name.to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![new(TOPIC)], ..Default::default() };
    let made = alone.ask(SUPER, 7, &request).unwrap().topics.remove(0);
    assert_eq!(made.error_code, 0, "{made:?}");
    for (key_type, key) in [(0, GROUP), (1, ID)] {
        let request = FindCoordinatorRequest { key_type, coordinator_keys: vec![key.to_owned()], ..Default::default() };
        alone.ask(SUPER, 4, &request).unwrap();
        let found = alone.ask(SUPER, 4, &request).unwrap().coordinators.remove(0);
        assert_eq!(found.error_code, 0, "{found:?}");
    }
    let committed = alone.ask(SUPER, 9, &commit(9, made.topic_id)).unwrap();
    assert_eq!(committed.topics[0].partitions[0].error_code, 0);
    let request = InitProducerIdRequest {
        transactional_id: some_text(ID),
        transaction_timeout_ms: 1000,
        ..InitProducerIdRequest::default()
    };
    let begun = alone.ask(SUPER, 4, &request).unwrap();
    assert_eq!(begun.error_code, 0, "{begun:?}");
    let quota = alone.ask(SUPER, 1, &alter_quotas()).unwrap();
    assert_eq!(quota.entries[0].error_code, 0, "{quota:?}");
    let listed = alone.ask(SUPER, 5, &ListGroupsRequest::default()).unwrap();
    assert_eq!(listed.groups.len(), 1, "{listed:?}");
    let listed = alone.ask(SUPER, 1, &ListTransactionsRequest::default()).unwrap();
    assert_eq!(listed.transaction_states.len(), 1, "{listed:?}");
    (alone, made.topic_id)
}

/// Everything that a request could change.
fn state(alone: &Alone) -> String {
    let broker = &alone.broker;
    let logs: Vec<_> = broker.replicas.all().iter().map(|held| held.view()).collect();
    let groups = broker.with_groups(NOW, |groups, _| groups.list());
    let transactions = broker.with_transactions(NOW, |txns, _| txns.list());
    let lists = broker.authorizer.as_ref().unwrap().lists();
    format!("{:?}\n{:?}\n{logs:?}\n{groups:?}\n{transactions:?}\n{lists:?}", alone.zk, broker.image.read())
}

fn batch(is_transactional: bool) -> Records {
    let spec =
        BatchSpec { is_transactional, producer_id: 1, producer_epoch: 0, base_sequence: 0, ..BatchSpec::default() };
    let record = Record { offset: 0, timestamp: 1, key: None, value: None, headers: Vec::new() };
    Records::from(Bytes::from(build(&spec, &[record]).unwrap().to_vec()))
}

fn produce(version: i16, topic_id: Uuid, is_transactional: bool) -> ProduceRequest {
    let data = produce::PartitionProduceData { index: 0, records: Some(batch(is_transactional)) };
    let topic = produce::TopicProduceData { name: named(version, 13), topic_id, partition_data: vec![data] };
    ProduceRequest { transactional_id: is_transactional.then(id), acks: -1, timeout_ms: 1000, topic_data: vec![topic] }
}

fn fetch(version: i16, topic_id: Uuid, replica: i32) -> FetchRequest {
    let partition = FetchPartition { partition_max_bytes: 1, ..FetchPartition::default() };
    let topic = FetchTopic { topic: named(version, 13), topic_id, partitions: vec![partition] };
    let mut request = FetchRequest { topics: vec![topic], ..FetchRequest::default() };
    if version >= 15 {
        request.replica_state.replica_id = replica;
    } else {
        request.replica_id = replica;
    }
    request
}

/// What producers and consumers ask of the leaders of partitions.
fn clients() -> Vec<Case> {
    let list = |_: i16, _: Uuid| {
        let partition = list_offsets::ListOffsetsPartition { timestamp: -1, ..Default::default() };
        let topic = list_offsets::ListOffsetsTopic { name: name(), partitions: vec![partition] };
        ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() }
    };
    let epochs = |_: i16, _: Uuid| {
        let topic =
            offset_for_leader_epoch::OffsetForLeaderTopic { topic: name(), partitions: vec![Default::default()] };
        OffsetForLeaderEpochRequest { topics: vec![topic], ..Default::default() }
    };
    let metadata = |version: i16, by_id: bool, topic_id: Uuid| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            topic_id: if by_id { topic_id } else { Uuid::nil() },
            name: (!by_id).then(name),
        }]),
        include_topic_authorized_operations: version >= 8,
        ..Default::default()
    };
    let all = |version: i16, _: Uuid| MetadataRequest {
        topics: (version == 0).then(Vec::new),
        include_cluster_authorized_operations: (8..=10).contains(&version),
        ..Default::default()
    };
    let api_versions = |version: i16, _: Uuid| match version {
        ..3 => ApiVersionsRequest::default(),
        _ => ApiVersionsRequest { client_software_name: "a".to_owned(), client_software_version: "1".to_owned() },
    };
    vec![
        case(3..=13, |version, topic| produce(version, topic, false), &[Topic]),
        case(3..=13, |version, topic| produce(version, topic, true), &[Txn]),
        case(4..=18, |version, topic| fetch(version, topic, -1), &[Fine, Topic]),
        // Kafka looks at the same for followers, which need the cluster's ClusterAction.
        case(4..=18, |version, topic| fetch(version, topic, 2), &[Fine, Topic]),
        case(1..=11, list, &[Topic]),
        case(0..=4, epochs, &[Topic]),
        case(0..=13, move |version, topic| metadata(version, false, topic), &[Topic, Fine]),
        case(12..=13, move |version, topic| metadata(version, true, topic), &[Topic, Fine]),
        case(0..=13, all, &[Fine]),
        case(0..=4, api_versions, &[Fine]),
        // What one may push of oneself hides nothing.
        case(0..=0, |_, _| GetTelemetrySubscriptionsRequest::default(), &[Fine]),
        case(0..=0, |_, _| PushTelemetryRequest::default(), &[Invalid]),
        case(0..=1, |_, _| SaslHandshakeRequest { mechanism: "PLAIN".to_owned() }, &[Sasl]),
        case(0..=2, |_, _| SaslAuthenticateRequest::default(), &[Sasl]),
    ]
}

fn commit(version: i16, topic_id: Uuid) -> OffsetCommitRequest {
    let partition = offset_commit::OffsetCommitRequestPartition { committed_offset: 0, ..Default::default() };
    let topic =
        offset_commit::OffsetCommitRequestTopic { name: named(version, 10), topic_id, partitions: vec![partition] };
    OffsetCommitRequest { group_id: group(), topics: vec![topic], ..Default::default() }
}

fn fetch_offsets(version: i16, topic_id: Uuid) -> OffsetFetchRequest {
    match version {
        ..8 => {
            let topic = OffsetFetchRequestTopic { name: name(), partition_indexes: vec![0] };
            OffsetFetchRequest { group_id: group(), topics: Some(vec![topic]), ..Default::default() }
        }
        _ => {
            let topic = offset_fetch::OffsetFetchRequestTopics {
                name: named(version, 10),
                topic_id,
                partition_indexes: vec![0],
            };
            let asked = offset_fetch::OffsetFetchRequestGroup {
                group_id: group(),
                topics: Some(vec![topic]),
                ..Default::default()
            };
            OffsetFetchRequest { groups: vec![asked], ..Default::default() }
        }
    }
}

fn find(version: i16, key_type: i8, key: &str) -> FindCoordinatorRequest {
    match version {
        ..4 => FindCoordinatorRequest { key: key.to_owned(), key_type, ..Default::default() },
        _ => FindCoordinatorRequest { key_type, coordinator_keys: vec![key.to_owned()], ..Default::default() },
    }
}

fn beat_share(_: i16, _: Uuid) -> ShareGroupHeartbeatRequest {
    ShareGroupHeartbeatRequest {
        group_id: group(),
        member_id: "m".to_owned(),
        subscribed_topic_names: Some(vec![name()]),
        ..Default::default()
    }
}

/// Of all topics, or of one.
fn share_offsets(of_all: bool) -> DescribeShareGroupOffsetsRequest {
    use describe_share_group_offsets::{DescribeShareGroupOffsetsRequestGroup, DescribeShareGroupOffsetsRequestTopic};
    let topic = DescribeShareGroupOffsetsRequestTopic { topic_name: name(), partitions: vec![0] };
    let asked = DescribeShareGroupOffsetsRequestGroup { group_id: group(), topics: (!of_all).then(|| vec![topic]) };
    DescribeShareGroupOffsetsRequest { groups: vec![asked] }
}

/// What is asked of the coordinators of groups.
fn groups() -> Vec<Case> {
    let join = |_: i16, _: Uuid| {
        let protocol = JoinGroupRequestProtocol { name: "range".to_owned(), ..Default::default() };
        let (group_id, protocol_type) = (group(), "consumer".to_owned());
        JoinGroupRequest {
            group_id,
            protocol_type,
            session_timeout_ms: 10_000,
            protocols: vec![protocol],
            ..Default::default()
        }
    };
    let leave = |version: i16, _: Uuid| match version {
        ..3 => LeaveGroupRequest { group_id: group(), member_id: "m".to_owned(), ..Default::default() },
        _ => LeaveGroupRequest {
            group_id: group(),
            members: vec![MemberIdentity { member_id: "m".to_owned(), ..Default::default() }],
            ..Default::default()
        },
    };
    let sync = |version: i16, _: Uuid| SyncGroupRequest {
        group_id: group(),
        member_id: "m".to_owned(),
        protocol_type: (version >= 5).then(|| "consumer".to_owned()),
        protocol_name: (version >= 5).then(|| "range".to_owned()),
        ..Default::default()
    };
    let delete = |_: i16, _: Uuid| {
        let topic = offset_delete::OffsetDeleteRequestTopic { name: name(), partitions: vec![Default::default()] };
        OffsetDeleteRequest { group_id: group(), topics: vec![topic] }
    };
    let beat = |_: i16, _: Uuid| ConsumerGroupHeartbeatRequest {
        group_id: group(),
        member_id: "m".to_owned(),
        rebalance_timeout_ms: 1000,
        subscribed_topic_names: Some(vec![name()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    vec![
        case(0..=10, commit, &[Group]),
        // Before version 2 the error stands with each partition; in version 1 Kafka leaves it out, and the partitions.
        case(0..=1, fetch_offsets, &[Group, Fine]),
        case(2..=7, fetch_offsets, &[Group]),
        case(8..=10, fetch_offsets, &[Fine, Group]),
        case(0..=3, |version, _| find(version, 0, GROUP), &[Group]),
        case(1..=3, |version, _| find(version, 1, ID), &[Txn]),
        case(4..=6, |version, _| find(version, 0, GROUP), &[Fine, Group]),
        case(4..=6, |version, _| find(version, 1, ID), &[Fine, Txn]),
        case(6..=6, |version, _| find(version, 2, "g:AAAAAAAAAAAAAAAAAAAAAA:0"), &[Fine, Cluster]),
        case(0..=9, join, &[Group]),
        case(0..=4, |_, _| HeartbeatRequest { group_id: group(), ..Default::default() }, &[Group]),
        case(0..=5, leave, &[Group]),
        case(0..=5, sync, &[Group]),
        case(0..=6, |_, _| DescribeGroupsRequest { groups: vec![group()], ..Default::default() }, &[Group]),
        case(0..=2, |_, _| DeleteGroupsRequest { groups_names: vec![group()] }, &[Group]),
        case(0..=0, delete, &[Group]),
        case(0..=1, beat, &[Group]),
        case(0..=1, |_, _| ConsumerGroupDescribeRequest { group_ids: vec![group()], ..Default::default() }, &[Group]),
        case(1..=1, beat_share, &[Group]),
        case(1..=1, |_, _| ShareGroupDescribeRequest { group_ids: vec![group()], ..Default::default() }, &[Group]),
        case(0..=1, |_, _| share_offsets(true), &[Group]),
        case(0..=1, |_, _| share_offsets(false), &[Group]),
        case(0..=0, |_, _| AlterShareGroupOffsetsRequest { group_id: group(), ..Default::default() }, &[Group]),
        case(0..=0, |_, _| DeleteShareGroupOffsetsRequest { group_id: group(), ..Default::default() }, &[Group]),
    ]
}

/// What is asked of the coordinators of transactions.
fn transactions() -> Vec<Case> {
    let topics = || vec![add_partitions_to_txn::AddPartitionsToTxnTopic { name: name(), partitions: vec![0] }];
    let add = move |version: i16, _: Uuid| match version {
        ..4 => AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: id(),
            v3_and_below_topics: topics(),
            ..Default::default()
        },
        _ => {
            let transaction = add_partitions_to_txn::AddPartitionsToTxnTransaction {
                transactional_id: id(),
                topics: topics(),
                ..Default::default()
            };
            AddPartitionsToTxnRequest { transactions: vec![transaction], ..Default::default() }
        }
    };
    let init = |transactional_id: Option<String>| InitProducerIdRequest {
        transactional_id,
        transaction_timeout_ms: 1000,
        ..Default::default()
    };
    let commit = |_: i16, _: Uuid| {
        let topic =
            txn_offset_commit::TxnOffsetCommitRequestTopic { name: name(), partitions: vec![Default::default()] };
        TxnOffsetCommitRequest { transactional_id: id(), group_id: group(), topics: vec![topic], ..Default::default() }
    };
    let offsets =
        |_: i16, _: Uuid| AddOffsetsToTxnRequest { transactional_id: id(), group_id: group(), ..Default::default() };
    let markers = |_: i16, _: Uuid| {
        let topic = write_txn_markers::WritableTxnMarkerTopic { name: name(), partition_indexes: vec![0] };
        let marker = write_txn_markers::WritableTxnMarker { topics: vec![topic], ..Default::default() };
        WriteTxnMarkersRequest { markers: vec![marker] }
    };
    let producers = |_: i16, _: Uuid| {
        let topic = describe_producers::TopicRequest { name: name(), partition_indexes: vec![0] };
        DescribeProducersRequest { topics: vec![topic] }
    };
    vec![
        case(0..=5, move |_, _| init(some_text(ID)), &[Txn]),
        case(0..=5, move |_, _| init(None), &[Cluster]),
        case(0..=3, add, &[Fine, Txn]),
        case(4..=5, add, &[Cluster]),
        case(0..=4, offsets, &[Txn]),
        case(0..=5, |_, _| EndTxnRequest { transactional_id: id(), ..Default::default() }, &[Txn]),
        case(0..=2, markers, &[Cluster]),
        case(0..=5, commit, &[Txn]),
        case(0..=0, producers, &[Topic]),
        case(0..=0, |_, _| DescribeTransactionsRequest { transactional_ids: vec![id()] }, &[Txn]),
    ]
}

/// What changes topics.
fn topics() -> Vec<Case> {
    let create = |_: i16, _: Uuid| {
        let topic = create_topics::CreatableTopic {
            name: "new".to_owned(),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        };
        CreateTopicsRequest { topics: vec![topic], ..Default::default() }
    };
    let delete = |version: i16, by_id: bool, topic_id: Uuid| match version {
        ..6 => DeleteTopicsRequest { topic_names: vec![name()], ..Default::default() },
        _ => {
            let topic_id = if by_id { topic_id } else { Uuid::nil() };
            DeleteTopicsRequest {
                topics: vec![DeleteTopicState { name: (!by_id).then(name), topic_id }],
                ..Default::default()
            }
        }
    };
    let records = |_: i16, _: Uuid| {
        let topic = delete_records::DeleteRecordsTopic { name: name(), partitions: vec![Default::default()] };
        DeleteRecordsRequest { topics: vec![topic], ..Default::default() }
    };
    let grow = |_: i16, _: Uuid| {
        let topic = create_partitions::CreatePartitionsTopic { name: name(), count: 9, assignments: None };
        CreatePartitionsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() }
    };
    let elect = |_: i16, _: Uuid| {
        let topic = elect_leaders::TopicPartitions { topic: name(), partitions: vec![0] };
        ElectLeadersRequest { topic_partitions: Some(vec![topic]), ..Default::default() }
    };
    let reassign = |_: i16, _: Uuid| {
        let partition =
            alter_partition_reassignments::ReassignablePartition { partition_index: 0, replicas: Some(vec![1]) };
        let topic = alter_partition_reassignments::ReassignableTopic { name: name(), partitions: vec![partition] };
        AlterPartitionReassignmentsRequest { topics: vec![topic], ..Default::default() }
    };
    let moves = |_: i16, _: Uuid| {
        let topic =
            list_partition_reassignments::ListPartitionReassignmentsTopics { name: name(), partition_indexes: vec![0] };
        ListPartitionReassignmentsRequest { topics: Some(vec![topic]), ..Default::default() }
    };
    let describe = |_: i16, _: Uuid| DescribeTopicPartitionsRequest {
        topics: vec![describe_topic_partitions::TopicRequest { name: name() }],
        ..Default::default()
    };
    vec![
        // The second code is that of the settings, which are not told either (KIP-525).
        case(0..=4, create, &[Topic, Fine]),
        case(5..=7, create, &[Topic, Topic]),
        case(0..=6, move |version, topic| delete(version, false, topic), &[Topic]),
        case(6..=6, move |version, topic| delete(version, true, topic), &[Topic]),
        case(0..=2, records, &[Topic]),
        case(0..=3, grow, &[Topic]),
        case(0..=0, elect, &[Fine, Cluster]),
        case(1..=2, elect, &[Cluster, Cluster]),
        case(0..=1, reassign, &[Cluster, Cluster]),
        case(0..=0, moves, &[Cluster]),
        case(0..=0, describe, &[Topic]),
    ]
}

fn alter_quotas() -> AlterClientQuotasRequest {
    let entity = alter_client_quotas::EntityData { entity_type: "user".to_owned(), entity_name: some_text(USER) };
    let op = OpData { key: "producer_byte_rate".to_owned(), value: 1.0, remove: false };
    let entry = alter_client_quotas::EntryData { entity: vec![entity], ops: vec![op] };
    AlterClientQuotasRequest { entries: vec![entry], ..Default::default() }
}

fn users(_: i16, _: Uuid) -> DescribeUserScramCredentialsRequest {
    let user = describe_user_scram_credentials::UserName { name: USER.to_owned() };
    DescribeUserScramCredentialsRequest { users: Some(vec![user]) }
}

fn resource(kind: i8) -> (i8, String) {
    match kind {
        2 => (kind, name()),
        32 => (kind, group()),
        _ => (kind, "1".to_owned()),
    }
}

/// Settings of topics, brokers and users, and access control lists.
fn settings() -> Vec<Case> {
    let describe = move |kind: i8| {
        let (resource_type, resource_name) = resource(kind);
        let asked = DescribeConfigsResource { resource_type, resource_name, configuration_keys: None };
        DescribeConfigsRequest { resources: vec![asked], ..Default::default() }
    };
    let alter = move |kind: i8| {
        let (resource_type, resource_name) = resource(kind);
        let config = alter_configs::AlterableConfig { name: "a".to_owned(), value: some_text("1") };
        let asked = AlterConfigsResource { resource_type, resource_name, configs: vec![config] };
        AlterConfigsRequest { resources: vec![asked], ..Default::default() }
    };
    let change = move |kind: i8| {
        use incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
        let (resource_type, resource_name) = resource(kind);
        let config = AlterableConfig { name: "a".to_owned(), value: some_text("1"), ..Default::default() };
        let asked = AlterConfigsResource { resource_type, resource_name, configs: vec![config] };
        IncrementalAlterConfigsRequest { resources: vec![asked], ..Default::default() }
    };
    let scram = |_: i16, _: Uuid| AlterUserScramCredentialsRequest {
        deletions: vec![alter_user_scram_credentials::ScramCredentialDeletion { name: USER.to_owned(), mechanism: 1 }],
        ..Default::default()
    };
    let acls = |_: i16, _: Uuid| DescribeAclsRequest {
        resource_type_filter: 2,
        operation: 1,
        permission_type: 1,
        ..Default::default()
    };
    let grant = |_: i16, _: Uuid| {
        let creation = AclCreation {
            resource_type: 2,
            resource_name: name(),
            principal: "User:mallory".to_owned(),
            host: "*".to_owned(),
            operation: 2,
            permission_type: 3,
            ..Default::default()
        };
        CreateAclsRequest { creations: vec![creation] }
    };
    let revoke = |_: i16, _: Uuid| {
        let filter = delete_acls::DeleteAclsFilter {
            resource_type_filter: 2,
            operation: 1,
            permission_type: 1,
            ..Default::default()
        };
        DeleteAclsRequest { filters: vec![filter] }
    };
    vec![
        case(0..=4, move |_, _| describe(2), &[Topic]),
        case(0..=4, move |_, _| describe(4), &[Cluster]),
        case(0..=4, move |_, _| describe(32), &[Group]),
        case(0..=4, move |_, _| describe(8), &[Cluster]),
        case(0..=2, move |_, _| alter(2), &[Topic]),
        case(0..=2, move |_, _| alter(4), &[Cluster]),
        case(0..=2, move |_, _| alter(32), &[Group]),
        case(0..=1, move |_, _| change(2), &[Topic]),
        case(0..=1, move |_, _| change(4), &[Cluster]),
        case(0..=1, move |_, _| change(8), &[Cluster]),
        case(0..=1, move |_, _| change(32), &[Group]),
        case(0..=1, |_, _| DescribeClientQuotasRequest::default(), &[Cluster]),
        case(0..=1, |_, _| alter_quotas(), &[Cluster]),
        case(0..=0, users, &[Cluster, Cluster]),
        case(0..=0, scram, &[Cluster]),
        case(0..=3, acls, &[Cluster]),
        case(0..=3, grant, &[Cluster]),
        case(0..=3, revoke, &[Cluster]),
    ]
}

/// Which metrics clients push, and which deleted topics can be brought back.
fn rarer_settings() -> Vec<Case> {
    use incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
    let describe = |resource_type: i8| {
        let asked = DescribeConfigsResource { resource_type, resource_name: name(), configuration_keys: None };
        DescribeConfigsRequest { resources: vec![asked], ..Default::default() }
    };
    let change = |resource_type: i8, setting: &str| {
        let config = AlterableConfig { name: setting.to_owned(), value: some_text(""), ..Default::default() };
        let asked = AlterConfigsResource { resource_type, resource_name: name(), configs: vec![config] };
        IncrementalAlterConfigsRequest { resources: vec![asked], ..Default::default() }
    };
    vec![
        case(0..=4, move |_, _| describe(16), &[Cluster]),
        case(0..=1, move |_, _| change(16, "metrics"), &[Cluster]),
        case(0..=1, |_, _| ListConfigResourcesRequest::default(), &[Cluster]),
        case(0..=4, move |_, _| describe(100), &[Cluster]),
        case(0..=1, move |_, _| change(100, "undelete"), &[Topic]),
    ]
}

/// What brokers say to each other, and what is asked of one broker's disks.
fn brokers() -> Vec<Case> {
    let roles = |version: i16, topic_id: Uuid| {
        let state = leader_and_isr::LeaderAndIsrPartitionState {
            topic_name: named(version, 2),
            leader: 2,
            leader_epoch: 9,
            ..Default::default()
        };
        let mut request = LeaderAndIsrRequest { controller_id: 2, controller_epoch: 99, ..Default::default() };
        match version {
            ..2 => request.ungrouped_partition_states.push(state),
            _ => request.topic_states.push(leader_and_isr::LeaderAndIsrTopicState {
                topic_name: name(),
                topic_id,
                partition_states: vec![state],
            }),
        }
        request
    };
    let stop = |version: i16, _: Uuid| {
        let mut request = StopReplicaRequest { controller_id: 2, controller_epoch: 99, ..Default::default() };
        match version {
            0 => request
                .ungrouped_partitions
                .push(stop_replica::StopReplicaPartitionV0 { topic_name: name(), partition_index: 0 }),
            1..=2 => request.topics.push(stop_replica::StopReplicaTopicV1 { name: name(), partition_indexes: vec![0] }),
            _ => request.topic_states.push(stop_replica::StopReplicaTopicState {
                topic_name: name(),
                partition_states: vec![Default::default()],
            }),
        }
        request
    };
    let isr = |version: i16, topic_id: Uuid| {
        let topic = alter_partition::TopicData {
            topic_name: named(version, 2),
            topic_id,
            partitions: vec![Default::default()],
        };
        AlterPartitionRequest { broker_id: 1, topics: vec![topic], ..Default::default() }
    };
    let dirs = |_: i16, _: Uuid| {
        let topic = alter_replica_log_dirs::AlterReplicaLogDirTopic { name: name(), partitions: vec![0] };
        let dir = alter_replica_log_dirs::AlterReplicaLogDir { path: "/".to_owned(), topics: vec![topic] };
        AlterReplicaLogDirsRequest { dirs: vec![dir] }
    };
    vec![
        case(0..=7, roles, &[Cluster, Cluster]),
        case(0..=4, stop, &[Cluster, Cluster]),
        case(0..=8, |_, _| UpdateMetadataRequest { controller_epoch: 99, ..Default::default() }, &[Cluster]),
        case(0..=3, |_, _| ControlledShutdownRequest { broker_id: 1, ..Default::default() }, &[Cluster]),
        case(0..=3, isr, &[Cluster]),
        case(0..=0, |_, _| AllocateProducerIdsRequest { broker_id: 1, ..Default::default() }, &[Cluster]),
        case(0..=2, |_, _| UpdateFeaturesRequest::default(), &[Cluster]),
        case(0..=2, dirs, &[Cluster]),
        // An answer has a place for the error from version 3 on, before it is just empty.
        case(0..=2, |_, _| DescribeLogDirsRequest { topics: None }, &[Fine]),
        case(3..=5, |_, _| DescribeLogDirsRequest { topics: None }, &[Cluster]),
    ]
}

/// What is asked of the leaders of share partitions, and of their coordinators.
fn share_partitions() -> Vec<Case> {
    let share_fetch = |_: i16, topic_id: Uuid| {
        let topic = share_fetch::FetchTopic { topic_id, partitions: vec![Default::default()] };
        ShareFetchRequest {
            group_id: some_text(GROUP),
            member_id: some_text("m"),
            topics: vec![topic],
            ..Default::default()
        }
    };
    let share_ack = |_: i16, topic_id: Uuid| {
        let topic = share_acknowledge::AcknowledgeTopic { topic_id, partitions: vec![Default::default()] };
        ShareAcknowledgeRequest {
            group_id: some_text(GROUP),
            member_id: some_text("m"),
            share_session_epoch: 1,
            topics: vec![topic],
            ..Default::default()
        }
    };
    let begin = |_: i16, topic_id: Uuid| {
        let topic =
            initialize_share_group_state::InitializeStateData { topic_id, partitions: vec![Default::default()] };
        InitializeShareGroupStateRequest { group_id: group(), topics: vec![topic] }
    };
    let read = |_: i16, topic_id: Uuid| {
        let topic = read_share_group_state::ReadStateData { topic_id, partitions: vec![Default::default()] };
        ReadShareGroupStateRequest { group_id: group(), topics: vec![topic] }
    };
    let write = |_: i16, topic_id: Uuid| {
        let topic = write_share_group_state::WriteStateData { topic_id, partitions: vec![Default::default()] };
        WriteShareGroupStateRequest { group_id: group(), topics: vec![topic] }
    };
    let end = |_: i16, topic_id: Uuid| {
        let topic = delete_share_group_state::DeleteStateData { topic_id, partitions: vec![Default::default()] };
        DeleteShareGroupStateRequest { group_id: group(), topics: vec![topic] }
    };
    let summary = |_: i16, topic_id: Uuid| {
        let partitions = vec![Default::default()];
        let topic = read_share_group_state_summary::ReadStateSummaryData { topic_id, partitions };
        ReadShareGroupStateSummaryRequest { group_id: group(), topics: vec![topic] }
    };
    vec![
        case(1..=2, share_fetch, &[Group]),
        case(1..=2, share_ack, &[Group]),
        case(0..=0, begin, &[Cluster]),
        case(0..=0, read, &[Cluster]),
        case(0..=1, write, &[Cluster]),
        case(0..=0, end, &[Cluster]),
        case(0..=1, summary, &[Cluster]),
    ]
}

/// What everybody may ask, and is told only of what it may see.
fn lists() -> Vec<Case> {
    let cluster = |_: i16, _: Uuid| DescribeClusterRequest {
        include_cluster_authorized_operations: true,
        ..DescribeClusterRequest::default()
    };
    let topics = |_: i16, _: Uuid| DescribeTopicPartitionsRequest::default();
    vec![
        case(0..=5, |_, _| ListGroupsRequest::default(), &[Fine]),
        case(0..=2, |_, _| ListTransactionsRequest::default(), &[Fine]),
        case(0..=2, cluster, &[Fine]),
        case(0..=0, topics, &[]),
    ]
}
