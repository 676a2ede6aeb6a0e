//! What a client of one listener sees of an image.

use super::*;
use common::kafka::messages::{
    UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataPartitionState, UpdateMetadataRequest,
    UpdateMetadataTopicState,
};

fn image() -> Image {
    let endpoint = |listener: &str, port| UpdateMetadataEndpoint {
        port,
        host: "h".into(),
        listener: listener.into(),
        security_protocol: 0,
    };
    let broker = |id, listeners: &[&str]| UpdateMetadataBroker {
        id,
        endpoints: listeners.iter().map(|listener| endpoint(listener, 9090 + id)).collect(),
        rack: None,
        ..Default::default()
    };
    let partition = |index, leader, isr: &[i32]| UpdateMetadataPartitionState {
        partition_index: index,
        leader,
        leader_epoch: 7,
        isr: isr.to_vec(),
        replicas: vec![1, 2, 3],
        offline_replicas: vec![3],
        ..Default::default()
    };
    let mut image = Image::default();
    image
        .update(UpdateMetadataRequest {
            controller_id: 2,
            controller_epoch: 1,
            live_brokers: vec![broker(1, &["A", "B"]), broker(2, &["A"])],
            topic_states: vec![UpdateMetadataTopicState {
                topic_name: "t".into(),
                topic_id: Uuid::from_u128(5),
                partition_states: vec![partition(0, 1, &[1, 2]), partition(1, 2, &[2]), partition(2, -1, &[3])],
            }],
            ..Default::default()
        })
        .unwrap();
    image
}

fn view(version: i16, listener: &str) -> View<'_> {
    let brokers = image().brokers().map(|(id, broker)| (id, broker.clone())).collect();
    View { version, listener, brokers }
}

fn names(names: &[&str]) -> MetadataRequest {
    let topic = |name: &&str| MetadataRequestTopic { name: Some((*name).into()), ..Default::default() };
    MetadataRequest { topics: Some(names.iter().map(topic).collect()), ..Default::default() }
}

/// Error, leader and number of replicas of each partition of `t`.
fn check(version: i16, listener: &str, expected: &[(ErrorCode, i32, usize)]) {
    let (response, missing) = view(version, listener).respond(&image(), &names(&["t", "t", "none"]));
    assert_eq!(missing, ["none"]);
    let [topic] = &response.topics[..] else { panic!("{response:?}") };
    let found: Vec<_> = topic.partitions.iter().map(|p| (p.error_code, p.leader_id, p.replica_nodes.len())).collect();
    let expected: Vec<_> = expected.iter().map(|&(code, leader, replicas)| (code.code(), leader, replicas)).collect();
    assert_eq!(found, expected, "version {version} listener {listener}");
}

#[test]
fn partitions_by_version_and_listener() {
    use ErrorCode::{LeaderNotAvailable, ListenerNotFound, None as Fine, ReplicaNotAvailable};
    check(9, "A", &[(Fine, 1, 3), (Fine, 2, 3), (LeaderNotAvailable, -1, 3)]);
    check(9, "B", &[(Fine, 1, 3), (ListenerNotFound, -1, 3), (LeaderNotAvailable, -1, 3)]);
    check(5, "B", &[(Fine, 1, 3), (LeaderNotAvailable, -1, 3), (LeaderNotAvailable, -1, 3)]);
    check(0, "A", &[(ReplicaNotAvailable, 1, 2), (ReplicaNotAvailable, 2, 2), (LeaderNotAvailable, -1, 2)]);
}

#[test]
fn brokers_of_the_listener_alone() {
    let brokers = |listener| {
        let (response, _) = view(9, listener).respond(&image(), &names(&[]));
        assert_eq!((response.controller_id, response.topics.len()), (2, 0));
        response.brokers.iter().map(|broker| (broker.node_id, broker.port)).collect::<Vec<_>>()
    };
    assert_eq!(brokers("A"), [(1, 9091), (2, 9092)]);
    assert_eq!(brokers("B"), [(1, 9091)]);
}

#[test]
fn all_topics_and_ids() {
    let image = image();
    let all = |version, topics| {
        let request = MetadataRequest { topics, ..Default::default() };
        view(version, "A").respond(&image, &request).0.topics.len()
    };
    assert_eq!((all(0, Some(Vec::new())), all(1, None), all(1, Some(Vec::new()))), (1, 1, 0));
    let id = |id| MetadataRequestTopic { topic_id: Uuid::from_u128(id), name: None };
    let request = MetadataRequest { topics: Some(vec![id(5), id(6)]), ..Default::default() };
    let (response, missing) = view(12, "A").respond(&image, &request);
    assert!(missing.is_empty());
    let found: Vec<_> = response.topics.iter().map(|topic| (topic.name.as_deref(), topic.error_code)).collect();
    assert_eq!(found, [(Some("t"), 0), (None, ErrorCode::UnknownTopicId.code())]);
}

#[test]
fn ids_and_missing_names_need_version_12() {
    let id = MetadataRequestTopic { topic_id: Uuid::from_u128(5), name: None };
    let request = MetadataRequest { topics: Some(vec![id]), ..Default::default() };
    assert_eq!(refuse(&request, 12), None);
    let refusal = refuse(&request, 11).unwrap();
    assert_eq!(refusal.topics[0].error_code, ErrorCode::InvalidRequest.code());
    assert_eq!(refusal.topics[0].name.as_deref(), Some(""));
    assert_eq!(refuse(&names(&["t"]), 1), None);
}
