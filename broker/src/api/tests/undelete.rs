//! A topic that is deleted and brought back, by requests alone.

use super::NOW;
use super::alone::Alone;
use common::kafka::batch::{BatchSpec, Record, build};
use common::kafka::messages::create_topics::CreatableTopicConfig;
use common::kafka::messages::incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
use common::kafka::messages::*;
use common::kafka::records::Records;
use uuid::Uuid;

const DELETED_TOPICS: i8 = 100;
const CLIENT: &str = "a";

fn create(alone: &mut Alone) -> Uuid {
    let setting = CreatableTopicConfig { name: "retention.ms".to_owned(), value: Some("-1".to_owned()) };
    let new = create_topics::CreatableTopic {
        name: "t".to_owned(),
        num_partitions: 2,
        replication_factor: 1,
        configs: vec![setting],
        ..Default::default()
    };
    let made = alone.ask(CLIENT, 7, &CreateTopicsRequest { topics: vec![new], ..Default::default() }).unwrap();
    assert_eq!(made.topics[0].error_code, 0, "{made:?}");
    made.topics[0].topic_id
}

fn delete(alone: &mut Alone) {
    let topic = DeleteTopicState { name: Some("t".to_owned()), topic_id: Uuid::nil() };
    let request = DeleteTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
    assert_eq!(alone.ask(CLIENT, 6, &request).unwrap().responses[0].error_code, 0);
}

/// Sends records; the offset of the first, or the error.
fn produce(alone: &mut Alone, count: i64) -> Result<i64, i16> {
    let record = |offset| Record { offset, timestamp: NOW.wall.0, ..Record::default() };
    let records: Vec<Record> = (0..count).map(record).collect();
    let records = Some(Records::from(build(&BatchSpec::default(), &records).unwrap()));
    let data = produce::PartitionProduceData { index: 1, records };
    let topic = produce::TopicProduceData { name: "t".to_owned(), partition_data: vec![data], ..Default::default() };
    let request = ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() };
    let answer = alone.ask(CLIENT, 9, &request).unwrap().responses[0].partition_responses[0].clone();
    if answer.error_code == 0 { Ok(answer.base_offset) } else { Err(answer.error_code) }
}

/// Names and values of a resource's settings that are set for it.
fn described(alone: &mut Alone, resource_type: i8, name: &str) -> Vec<(String, String)> {
    let asked = DescribeConfigsResource { resource_type, resource_name: name.to_owned(), configuration_keys: None };
    let request = DescribeConfigsRequest { resources: vec![asked], ..Default::default() };
    let result = alone.ask(CLIENT, 4, &request).unwrap().results.remove(0);
    assert_eq!(result.error_code, 0, "{result:?}");
    let own = result.configs.into_iter().filter(|config| config.config_source < 4);
    own.map(|config| (config.name, config.value.unwrap_or_default())).collect()
}

fn undelete(alone: &mut Alone, id: &str) -> Result<(), String> {
    let config = AlterableConfig { name: "undelete".to_owned(), config_operation: 0, value: Some(id.to_owned()) };
    let resource =
        AlterConfigsResource { resource_type: DELETED_TOPICS, resource_name: "t".to_owned(), configs: vec![config] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer = alone.ask(CLIENT, 1, &request).unwrap().responses.remove(0);
    if answer.error_code == 0 { Ok(()) } else { Err(answer.error_message.unwrap_or_default()) }
}

#[test]
fn a_deleted_topic_comes_back_with_its_records() {
    let mut alone = Alone::new("castellan.topic.undelete.ms=60000");
    let nothing = Err("There is no deleted topic 't' that can be brought back.".to_owned());
    assert_eq!(undelete(&mut alone, ""), nothing);
    let id = create(&mut alone);
    assert_eq!(produce(&mut alone, 5), Ok(0));
    delete(&mut alone);
    assert!(produce(&mut alone, 1).is_err());
    let kept = described(&mut alone, DELETED_TOPICS, "");
    assert_eq!(kept.len(), 1);
    assert!(kept[0].1.starts_with("topic=t,partitions=2,deleted.at.ms="), "{kept:?}");
    let other = create(&mut alone);
    assert_eq!(undelete(&mut alone, ""), Err("Topic 't' already exists.".to_owned()));
    delete(&mut alone);
    assert_eq!(described(&mut alone, DELETED_TOPICS, "").len(), 2);
    assert_eq!(undelete(&mut alone, &kept[0].0), Ok(()));
    assert_eq!(alone.broker.image.read().topic_id("t"), Some(id));
    assert_ne!(id, other);
    assert_eq!(described(&mut alone, 2, "t"), [("retention.ms".to_owned(), "-1".to_owned())]);
    assert_eq!(produce(&mut alone, 1), Ok(5));
    assert_eq!(undelete(&mut alone, "not an id"), Err("This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details.".to_owned()));
}

#[test]
fn without_the_setting_deleted_topics_are_gone() {
    let mut alone = Alone::new("");
    create(&mut alone);
    delete(&mut alone);
    assert_eq!(described(&mut alone, DELETED_TOPICS, ""), []);
    assert!(undelete(&mut alone, "").is_err());
    assert!(!alone.zk.exists("/castellan"));
}
