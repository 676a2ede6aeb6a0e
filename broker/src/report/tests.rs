//! What is told of a broker that has no other to talk to: every figure as it was counted, in a text that can be read.

use super::*;
use crate::api::tests::{NOW, Place};
use crate::partition::NewState;
use bytes::Bytes;
use common::kafka::batch::{BatchSpec, Record, build};
use common::kafka::error::ErrorCode;
use common::kafka::messages::fetch::{FetchPartition, FetchTopic};
use common::kafka::messages::produce::{PartitionProduceData, TopicProduceData};
use common::kafka::messages::{
    ApiVersionsRequest, FetchRequest, ProduceRequest, UpdateMetadataBroker, UpdateMetadataPartitionState,
    UpdateMetadataRequest, UpdateMetadataTopicState,
};
use std::collections::{BTreeMap, BTreeSet};

/// All series of a text, after a look at its form: a family has one type, its series stand behind that, none twice.
fn read(text: &str) -> BTreeMap<String, f64> {
    let mut series = BTreeMap::new();
    let mut families = BTreeSet::new();
    let (mut family, mut suffixes): (&str, &[&str]) = ("", &[]);
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let words: Vec<&str> = comment.splitn(3, ' ').collect();
            match words[..] {
                ["HELP", _, help] => assert!(!help.is_empty(), "{line}"),
                ["TYPE", name, kind] => {
                    assert!(families.insert(name), "a second {line}");
                    assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{line}");
                    family = name;
                    suffixes = match kind {
                        "gauge" | "counter" => &[""],
                        "summary" => &["", "_count", "_sum"],
                        _ => panic!("{line}"),
                    };
                }
                _ => panic!("{line}"),
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let bare = name.split('{').next().unwrap();
        assert!(bare.strip_prefix(family).is_some_and(|suffix| suffixes.contains(&suffix)), "{line} below {family}");
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(series.insert(name.to_owned(), value).is_none(), "a second {line}");
    }
    series
}

fn scrape(place: &Place) -> BTreeMap<String, f64> {
    read(&place.broker.prometheus(&ProcessFacts::default(), &EndOffsets::new(), NOW))
}

/// The broker leads `t-0`, which has another replica out of sync, and `t-1`, which has none.
fn leading() -> Place {
    let place = Place::new();
    let partition = |index: i32, replicas: &[i32]| UpdateMetadataPartitionState {
        partition_index: index,
        leader: 1,
        isr: vec![1],
        replicas: replicas.to_vec(),
        ..Default::default()
    };
    let topic = UpdateMetadataTopicState {
        topic_name: "t".into(),
        partition_states: vec![partition(0, &[2, 1]), partition(1, &[1])],
        ..Default::default()
    };
    let me = UpdateMetadataBroker { id: 1, ..Default::default() };
    let request = UpdateMetadataRequest { live_brokers: vec![me], topic_states: vec![topic], ..Default::default() };
    place.broker.image.write().update(request).unwrap();
    let state = |partition: i32, replicas: &[i32]| NewState {
        topic: "t".into(),
        topic_id: Default::default(),
        partition,
        leader: 1,
        leader_epoch: 0,
        partition_epoch: 0,
        isr: vec![1],
        eligible_min_isr: 0,
        replicas: replicas.to_vec(),
        adding: vec![],
        is_new: true,
    };
    let states = [state(0, &[2, 1]), state(1, &[1])];
    let told = place.broker.with_replicas(NOW, |it, effects| it.become_leader_or_follower(1, &states, NOW, effects));
    assert_eq!(told, Ok(vec![Ok(()), Ok(())]));
    place
}

fn batch(records: i64) -> Bytes {
    let record = |offset| Record {
        offset,
        timestamp: 1,
        key: None,
        value: Some(Bytes::from_static(b"value")),
        headers: Vec::new(),
    };
    build(&BatchSpec::default(), &(0..records).map(record).collect::<Vec<_>>()).unwrap()
}

fn produce(place: &Place, partition: i32, records: Bytes) -> i16 {
    let data = PartitionProduceData { index: partition, records: Some(records.into()) };
    let topic = TopicProduceData { name: "t".into(), partition_data: vec![data], ..Default::default() };
    let request = ProduceRequest { acks: 1, topic_data: vec![topic], ..Default::default() };
    place.ask(9, &request).unwrap().responses[0].partition_responses[0].error_code
}

fn fetch(place: &Place, replica_id: i32, partition: i32, fetch_offset: i64) -> i16 {
    let partition = FetchPartition { partition, fetch_offset, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: "t".into(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest { replica_id, max_bytes: 1 << 20, topics: vec![topic], ..Default::default() };
    place.ask(12, &request).unwrap().responses[0].partitions[0].error_code
}

#[test]
fn counters_move_by_what_was_produced_and_fetched() {
    let place = leading();
    let before = scrape(&place);
    let (small, large) = (batch(3), batch(7));
    let (small_bytes, large_bytes) = (small.len() as f64, large.len() as f64);
    assert_eq!(produce(&place, 0, small), 0);
    assert_eq!(produce(&place, 1, large.clone()), 0);
    let unknown = ErrorCode::UnknownTopicOrPartition;
    assert_eq!(produce(&place, 9, large), unknown.code());
    // Twice by a consumer, once by the follower.
    assert_eq!(fetch(&place, -1, 1, 0), 0);
    assert_eq!(fetch(&place, -1, 1, 0), 0);
    assert_eq!(fetch(&place, -1, 1, 99), ErrorCode::OffsetOutOfRange.code());
    assert_eq!(fetch(&place, 2, 0, 0), 0);
    place.ask(3, &ApiVersionsRequest::default()).unwrap();
    let after = scrape(&place);
    let check = |series: &str, expected: f64| {
        let found = after.get(series).copied().unwrap_or(f64::NAN) - before.get(series).copied().unwrap_or(0.0);
        assert_eq!(found, expected, "{series}");
    };
    for topic in ["", "{topic=\"t\",}"] {
        let of_topic = |name: &str| format!("kafka_server_brokertopicmetrics_{name}_total{topic}");
        check(&of_topic("messagesin"), 10.0);
        check(&of_topic("bytesin"), small_bytes + large_bytes);
        check(&of_topic("bytesout"), 2.0 * large_bytes);
        check(&of_topic("totalproducerequests"), 2.0);
        check(&of_topic("totalfetchrequests"), 4.0);
        check(&of_topic("failedproducerequests"), 0.0);
        check(&of_topic("failedfetchrequests"), 0.0);
    }
    check("kafka_server_brokertopicmetrics_replicationbytesout_total", small_bytes);
    let requests = |request: &str, version: i16| {
        format!("kafka_network_requestmetrics_requests_total{{request=\"{request}\",version=\"{version}\",}}")
    };
    check(&requests("Produce", 9), 3.0);
    check(&requests("Fetch", 12), 4.0);
    check(&requests("FetchConsumer", 12), 3.0);
    check(&requests("FetchFollower", 12), 1.0);
    check(&requests("ApiVersions", 3), 1.0);
    let errors = |request: &str, error: &str| {
        format!("kafka_network_requestmetrics_errors_total{{request=\"{request}\",error=\"{error}\",}}")
    };
    check(&errors("Produce", "NONE"), 2.0);
    check(&errors("Produce", unknown.name()), 1.0);
    check(&errors("Fetch", "OFFSET_OUT_OF_RANGE"), 1.0);
    let of_partition = |name: &str, partition: i32| format!("{name}{{topic=\"t\",partition=\"{partition}\",}}");
    check(&of_partition("kafka_log_log_logendoffset", 0), 3.0);
    check(&of_partition("kafka_log_log_size", 1), large_bytes);
    check(&of_partition("kafka_topic_partition_current_offset", 1), 7.0);
}

#[test]
fn replicas_are_told_as_they_stand() {
    let found = scrape(&leading());
    for (series, expected) in [
        ("kafka_server_replicamanager_partitioncount", 2.0),
        ("kafka_server_replicamanager_leadercount", 2.0),
        ("kafka_server_replicamanager_underreplicatedpartitions", 1.0),
        ("kafka_server_replicamanager_underminisrpartitioncount", 0.0),
        ("kafka_server_replicamanager_atminisrpartitioncount", 2.0),
        ("kafka_server_replicamanager_offlinereplicacount", 0.0),
        ("kafka_topic_partitions{topic=\"t\",}", 2.0),
        ("kafka_topic_partition_leader{topic=\"t\",partition=\"0\",}", 1.0),
        ("kafka_topic_partition_leader_is_preferred{topic=\"t\",partition=\"0\",}", 0.0),
        ("kafka_topic_partition_leader_is_preferred{topic=\"t\",partition=\"1\",}", 1.0),
        ("kafka_topic_partition_replicas{topic=\"t\",partition=\"0\",}", 2.0),
        ("kafka_topic_partition_in_sync_replica{topic=\"t\",partition=\"0\",}", 1.0),
        ("kafka_topic_partition_under_replicated_partition{topic=\"t\",partition=\"0\",}", 1.0),
        ("kafka_server_kafkaserver_brokerstate", 1.0),
        ("kafka_brokers", 1.0),
        ("kafka_controller_kafkacontroller_activecontrollercount", 0.0),
    ] {
        assert_eq!(found.get(series), Some(&expected), "{series}");
    }
}

#[test]
fn who_is_not_registered_is_not_ready() {
    let place = leading();
    assert_eq!(place.broker.readiness(NOW.mono), Err(NotReady::NotRegistered));
    place.broker.begin_shutdown(NOW);
    assert_eq!(place.broker.readiness(NOW.mono), Err(NotReady::Stopping));
}

/// The names of our metrics in an expression, but for those of labels.
fn asked(expression: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = expression.split(|c: char| !is_part(c));
    words.filter(|word| word.starts_with("kafka_") || word.starts_with("process_")).map(str::to_owned).collect()
}

#[test]
fn the_dashboard_asks_for_what_is_there() {
    let text = leading().broker.prometheus(&ProcessFacts::default(), &EndOffsets::new(), NOW);
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let there: BTreeSet<&str> = families.collect();
    let is_there = |name: &str| {
        let bare = ["_sum", "_count"].into_iter().find_map(|suffix| name.strip_suffix(suffix));
        there.contains(name) || bare.is_some_and(|bare| text.contains(&format!("# TYPE {bare} summary\n")))
    };
    let board: serde_json::Value =
        serde_json::from_str(include_str!("../../../docker/dashboards/brokers.json")).unwrap();
    let mut found = 0;
    let mut look = |expression: &str| {
        let names = asked(expression);
        assert!(!names.is_empty(), "{expression}");
        for name in names {
            assert!(is_there(&name), "{name} of {expression} is no metric");
            found += 1;
        }
    };
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            look(target["expr"].as_str().unwrap());
        }
    }
    for variable in board["templating"]["list"].as_array().unwrap() {
        if let Some(query) = variable["query"]["query"].as_str() {
            look(query);
        }
    }
    assert!(found > 40, "{found}");
}
