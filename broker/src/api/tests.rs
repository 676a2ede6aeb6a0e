//! Frames in, frames out, with a broker that has no sockets, no ZooKeeper and no other brokers.

mod alone;
mod commits;
mod refusals;
mod share_groups;
mod shares;
mod tiered;
mod undelete;

use super::*;
use crate::access::acl::{AclEntry, Operation, PatternType, Permission, ResourcePattern, ResourceType};
use crate::broker::Collaborators;
use crate::config::BrokerConfig;
use crate::outbox::{Channel, ConnectionId, Job, PeerAddress, StopReason, ZkCommand};
use crate::server::disk::StdDisk;
use bytes::{Buf, Bytes};
use common::kafka::error::ErrorCode;
use common::kafka::messages::alter_configs::AlterConfigsResource;
use common::kafka::messages::fetch::{FetchPartition, FetchTopic};
use common::kafka::messages::incremental_alter_configs;
use common::kafka::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, DescribeConfigsResource, FetchRequest, IncrementalAlterConfigsRequest,
    UpdateMetadataBroker,
};
use common::kafka::wire::STRING_MAX_BYTES;
use common::properties::Properties;
use common::time::{Millis, WallMillis};
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Keeps what clients are answered, and that the process is to end; everything else is lost, as on a cut cable.
#[derive(Default)]
pub(crate) struct Answered(Mutex<Vec<(u64, Result<Frame, String>)>>, pub(crate) Mutex<Vec<StopReason>>);

impl Outbox for Answered {
    fn reply(&self, _: ConnectionId, sequence: u64, frame: Frame) {
        self.0.lock().push((sequence, Ok(frame)));
    }
    fn close(&self, _: ConnectionId, sequence: u64, reason: String) {
        self.0.lock().push((sequence, Err(reason)));
    }
    fn peer(&self, _: &PeerAddress, _: Channel, _: u64, _: Bytes) {}
    fn zk(&self, _: ZkCommand) {}
    fn wake_at(&self, _: Millis) {}
    fn run(&self, _: Job) {}
    fn stop(&self, reason: StopReason) {
        self.1.lock().push(reason);
    }
}

pub(crate) struct Place {
    pub(crate) broker: Arc<Broker>,
    pub(crate) answered: Arc<Answered>,
    _dir: tempfile::TempDir,
}

pub(crate) const NOW: Now = Now { mono: Millis(1), wall: WallMillis(1) };

impl Place {
    pub(crate) fn new() -> Place {
        Place::with("")
    }

    /// With these settings, too.
    fn with(settings: &str) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("broker.id=1\nzookeeper.connect=h:1\nlog.dirs={}\n{settings}\n", dir.path().display());
        let (config, _) = BrokerConfig::parse(&Properties::parse(&text, "test")).unwrap();
        let answered = Arc::new(Answered::default());
        let collaborators =
            Collaborators { disk: Arc::new(StdDisk), outbox: answered.clone(), rng: common::Rng::with_seed(1) };
        let broker = Broker::start(config, (&BTreeMap::new(), "h"), collaborators, NOW).unwrap();
        let me = UpdateMetadataBroker { id: 1, ..Default::default() };
        let request = UpdateMetadataRequest { live_brokers: vec![me], ..Default::default() };
        broker.image.write().update(request).unwrap();
        Place { broker, answered, _dir: dir }
    }

    /// What becomes of a request that is answered without the help of others.
    pub(crate) fn ask<R: Request>(&self, version: i16, request: &R) -> Result<R::Response, String> {
        let header = RequestHeader { api_key: R::KEY, api_version: version, correlation_id: 7, client_id: None };
        let mut frame = header::encode_request(&header, request).unwrap();
        frame.advance(4);
        let info = ConnectionInfo {
            id: ConnectionId(1),
            listener: "PLAINTEXT".into(),
            client_host: "127.0.0.1".into(),
            client_port: 0,
            software: Default::default(),
            principal: "User:ANONYMOUS".into(),
        };
        let frame = match dispatch(&self.broker, &info, 0, frame, NOW).0 {
            Handled::Now(frame) => frame,
            Handled::Parked { .. } => self.answered.0.lock().pop().expect("nobody else is needed").1?,
            Handled::Silent => panic!("no answer"),
            Handled::Close(reason) => return Err(reason),
        };
        let mut bytes = frame.into_bytes().unwrap();
        bytes.advance(4);
        Ok(header::decode_response::<R>(bytes, version).unwrap().1)
    }
}

#[test]
fn a_text_that_quotes_the_longest_name_is_cut() {
    let place = Place::new();
    for len in [2, 200, STRING_MAX_BYTES - 20, STRING_MAX_BYTES] {
        for kind in [2, 4, 8, 16, 99] {
            let name = "ä".repeat(len / 2);
            if kind == 16 && len <= 200 {
                // Which can be; ZooKeeper is asked.
                continue;
            }
            let check = |version: i16, found: (i16, Option<String>)| {
                assert_ne!(found.0, ErrorCode::None.code(), "version {version} kind {kind}");
                let text = found.1.unwrap_or_default();
                assert!(text.len() <= STRING_MAX_BYTES && !text.ends_with('\u{fffd}'), "version {version} kind {kind}");
            };
            for version in 1..=4 {
                let resource = DescribeConfigsResource {
                    resource_type: kind,
                    resource_name: name.clone(),
                    configuration_keys: None,
                };
                let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
                let mut results = place.ask(version, &request).unwrap().results;
                let result = results.remove(0);
                check(version, (result.error_code, result.error_message));
            }
            for version in 0..=2 {
                let resource =
                    AlterConfigsResource { resource_type: kind, resource_name: name.clone(), ..Default::default() };
                let request = AlterConfigsRequest { resources: vec![resource], ..Default::default() };
                let result = place.ask(version, &request).unwrap().responses.remove(0);
                check(version, (result.error_code, result.error_message));
            }
            for version in 0..=1 {
                let resource = incremental_alter_configs::AlterConfigsResource {
                    resource_type: kind,
                    resource_name: name.clone(),
                    ..Default::default()
                };
                let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
                let result = place.ask(version, &request).unwrap().responses.remove(0);
                check(version, (result.error_code, result.error_message));
            }
        }
    }
}

#[test]
fn a_response_that_cannot_be_written_closes_the_connection() {
    let place = Place::new();
    let info = ConnectionInfo {
        id: ConnectionId(1),
        listener: String::new(),
        client_host: String::new(),
        client_port: 0,
        software: Default::default(),
        principal: String::new(),
    };
    let ctx = Context {
        broker: &place.broker,
        now: NOW,
        version: 4,
        connection: &info,
        client_id: None,
        correlation_id: 1,
        sequence: 5,
        throttle_ms: 0,
        row: 0,
        timed_as: &Cell::new(0),
    };
    let ticket: Ticket<common::kafka::messages::JoinGroupRequest> = ctx.ticket();
    let member_id = "x".repeat(STRING_MAX_BYTES + 1);
    ticket.answer(&common::kafka::messages::JoinGroupResponse { member_id, ..Default::default() });
    drop(ctx.ticket::<common::kafka::messages::JoinGroupRequest>());
    let answered = std::mem::take(&mut *place.answered.0.lock());
    let [(5, Err(first)), (5, Err(second))] = &answered[..] else { panic!("{answered:?}") };
    assert!(first.contains("32768"), "{first}");
    assert_eq!(second, "nobody is left to answer JoinGroup");
}

/// What a follower says moves the high watermark: who is none must not say it, whatever it may read.
#[test]
fn only_brokers_fetch_as_followers() {
    let place = Place::with(
        "authorizer.class.name=kafka.security.authorizer.AclAuthorizer\nallow.everyone.if.no.acl.found=true\n\
         super.users=User:admin",
    );
    let cluster = ResourcePattern {
        resource_type: ResourceType::Cluster,
        pattern_type: PatternType::Literal,
        name: "kafka-cluster".to_owned(),
    };
    let other = AclEntry {
        principal: "User:other".to_owned(),
        host: "*".to_owned(),
        operation: Operation::All,
        permission: Permission::Allow,
    };
    place.broker.authorizer.as_ref().unwrap().set(cluster, [other].into());
    for (replica_id, expected) in [(-1, ErrorCode::UnknownTopicOrPartition), (2, ErrorCode::TopicAuthorizationFailed)] {
        let partition = FetchPartition { partition_max_bytes: 1, ..FetchPartition::default() };
        let topic = FetchTopic { topic: "t".to_owned(), partitions: vec![partition], ..FetchTopic::default() };
        let request = FetchRequest { replica_id, topics: vec![topic], ..FetchRequest::default() };
        let answer = place.ask(11, &request).unwrap();
        assert_eq!(answer.responses[0].partitions[0].error_code, expected.code(), "{replica_id}");
    }
}

/// What is not there: the code, and what of the answer is told all the same.
#[test]
fn what_is_not_there_is_answered_as_kafka_does() {
    use common::kafka::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
    use common::kafka::messages::{FindCoordinatorRequest, ListOffsetsRequest, MetadataRequest, MetadataRequestTopic};
    let place = Place::new();
    for (timestamp, version, expected) in [
        (-1, 9, ErrorCode::UnknownTopicOrPartition),
        (-5, 9, ErrorCode::UnknownTopicOrPartition),
        (-5, 8, ErrorCode::UnsupportedVersion),
        (-6, 9, ErrorCode::UnsupportedVersion),
    ] {
        let partition = ListOffsetsPartition { timestamp, ..Default::default() };
        let topic = ListOffsetsTopic { name: "none".to_owned(), partitions: vec![partition] };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let answer = place.ask(version, &request).unwrap();
        assert_eq!(answer.topics[0].partitions[0].error_code, expected.code(), "{timestamp} in version {version}");
    }
    for (name, expected) in [("none", ErrorCode::UnknownTopicOrPartition), ("a b", ErrorCode::InvalidTopicException)] {
        let topic = MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(vec![topic]),
            include_topic_authorized_operations: true,
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let topic = place.ask(9, &request).unwrap().topics.remove(0);
        assert_eq!((topic.error_code, topic.topic_authorized_operations), (expected.code(), 3576), "{name}");
    }
    for (key_type, has_text) in [(2, false), (9, true)] {
        let request = FindCoordinatorRequest { key_type, coordinator_keys: vec!["g".to_owned()], ..Default::default() };
        let found = place.ask(5, &request).unwrap().coordinators.remove(0);
        let text = found.error_message.unwrap_or_default();
        assert_eq!((found.error_code, !text.is_empty()), (ErrorCode::InvalidRequest.code(), has_text), "{key_type}");
    }
}

/// Nobody calls the broker before it says so: after the loss of the connection, when the next attempt is due.
#[test]
fn a_lost_connection_to_zookeeper_is_soon_sought_again() {
    let alone = alone::Alone::new("");
    alone.woken_at();
    alone.broker.on_zk(crate::outbox::ZkInput::Disconnected, NOW);
    let at = alone.woken_at().expect("the next attempt is due at some time");
    assert!(at - NOW.mono <= 50, "{at:?}");
}
