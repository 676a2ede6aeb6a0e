//! Tiered storage by requests alone: records are copied, deleted here, read, found by time and deleted there.

use super::alone::Alone;
use crate::partition::fetch_session::Wanted;
use crate::partition::{Chore, FetchPart};
use crate::peers::MetadataCall;
use crate::tiering::{Crew, consumer};
use common::id::BrokerId;
use common::kafka::batch::{self, BatchSpec, Record, build};
use common::kafka::error::ErrorCode;
use common::kafka::header;
use common::kafka::messages::create_topics::CreatableTopicConfig;
use common::kafka::messages::fetch::{FetchPartition, FetchTopic};
use common::kafka::messages::incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
use common::kafka::messages::*;
use common::kafka::records::Records;
use common::time::{Now, WallMillis};
use std::path::{Path, PathBuf};
use uuid::Uuid;

const CLIENT: &str = "a";

fn tiered(dir: &Path, more: &str) -> Alone {
    Alone::new(&format!(
        "remote.log.storage.system.enable=true\n\
         remote.log.storage.manager.class.name=org.apache.kafka.server.log.remote.storage.LocalTieredStorage\n\
         rsm.config.dir={}\n\
         rlmm.config.remote.log.metadata.topic.replication.factor=1\n\
         rlmm.config.remote.log.metadata.topic.num.partitions=3\n\
         remote.log.manager.task.interval.ms=1000\n{more}",
        dir.display()
    ))
}

fn create(alone: &mut Alone, settings: &[(&str, &str)]) -> Result<(), String> {
    create_with(alone, ("t", 1), settings)
}

fn create_with(
    alone: &mut Alone,
    (name, num_partitions): (&str, i32),
    settings: &[(&str, &str)],
) -> Result<(), String> {
    let setting = |(name, value): &(&str, &str)| CreatableTopicConfig {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
    };
    let new = create_topics::CreatableTopic {
        name: name.to_owned(),
        num_partitions,
        replication_factor: 1,
        configs: settings.iter().map(setting).collect(),
        ..Default::default()
    };
    let made = alone.ask(CLIENT, 7, &CreateTopicsRequest { topics: vec![new], ..Default::default() }).unwrap();
    if made.topics[0].error_code == 0 { Ok(()) } else { Err(made.topics[0].error_message.clone().unwrap_or_default()) }
}

fn produce(alone: &mut Alone, count: i64) {
    produce_to(alone, 0, count);
}

fn produce_to(alone: &mut Alone, index: i32, count: i64) {
    for _ in 0..count {
        let value = Some(bytes::Bytes::from(vec![b'v'; 50]));
        let timestamp = alone.now.wall.0;
        let record = Record { timestamp, value, ..Record::default() };
        let records = Some(Records::from(build(&BatchSpec::default(), &[record]).unwrap()));
        let data = produce::PartitionProduceData { index, records };
        let topic =
            produce::TopicProduceData { name: "t".to_owned(), partition_data: vec![data], ..Default::default() };
        let request = ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() };
        let answer = alone.ask(CLIENT, 9, &request).unwrap();
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "{answer:?}");
        alone.now = later(alone.now, 1);
    }
}

fn later(now: Now, ms: u64) -> Now {
    Now { mono: now.mono + ms, wall: WallMillis(now.wall.0 + i64::try_from(ms).unwrap()) }
}

/// Lets time pass, with everything that is due, and old segments deleted.
fn pass(alone: &mut Alone, ms: u64) {
    let until = later(alone.now, ms);
    while alone.now.mono < until.mono {
        alone.now = later(alone.now, 50);
        alone.broker.tick_tiered(alone.now);
        alone.settle();
    }
    let now = alone.now;
    alone.broker.with_replicas(now, |replicas, effects| replicas.do_chore(Chore::Retention, now, effects, &|_| {}));
}

/// Offsets of what a consumer gets, or the error.
fn fetch(alone: &mut Alone, fetch_offset: i64, isolation_level: i8) -> Result<Vec<i64>, i16> {
    let partition = FetchPartition {
        fetch_offset,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let topic = FetchTopic { topic: "t".to_owned(), partitions: vec![partition], ..FetchTopic::default() };
    let request = FetchRequest {
        replica_id: -1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        isolation_level,
        topics: vec![topic],
        ..FetchRequest::default()
    };
    let mut answer = alone.ask(CLIENT, 12, &request).unwrap();
    let found = answer.responses.remove(0).partitions.remove(0);
    if found.error_code != 0 {
        return Err(found.error_code);
    }
    assert_eq!(found.aborted_transactions.is_some(), isolation_level == 1);
    let bytes = found.records.unwrap().to_bytes().unwrap();
    Ok(batch::batches(bytes).map_while(Result::ok).map(|batch| batch.header.base_offset).collect())
}

fn everything(alone: &mut Alone, from: i64) -> Vec<i64> {
    let mut found = Vec::new();
    let mut offset = from;
    while let Ok(more) = fetch(alone, offset, 0)
        && let Some(last) = more.last()
    {
        offset = last + 1;
        found.extend(more);
    }
    found
}

fn offset(alone: &mut Alone, timestamp: i64) -> i64 {
    let found = offset_or_error(alone, timestamp);
    found.unwrap_or_else(|code| panic!("{timestamp}: {code}"))
}

fn offset_or_error(alone: &mut Alone, timestamp: i64) -> Result<i64, i16> {
    let partition = list_offsets::ListOffsetsPartition { timestamp, current_leader_epoch: -1, ..Default::default() };
    let topic = list_offsets::ListOffsetsTopic { name: "t".to_owned(), partitions: vec![partition] };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let found = alone.ask(CLIENT, 9, &request).unwrap().topics.remove(0).partitions.remove(0);
    if found.error_code == 0 { Ok(found.offset) } else { Err(found.error_code) }
}

fn alter(alone: &mut Alone, operation: i8, name: &str, value: Option<&str>) -> Result<(), String> {
    let value = value.map(str::to_owned);
    let config = AlterableConfig { name: name.to_owned(), config_operation: operation, value };
    let resource = AlterConfigsResource { resource_type: 2, resource_name: "t".to_owned(), configs: vec![config] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer = alone.ask(CLIENT, 1, &request).unwrap().responses.remove(0);
    if answer.error_code == 0 { Ok(()) } else { Err(answer.error_message.unwrap_or_default()) }
}

/// Names of the files of the partition in the store.
fn stored(dir: &Path) -> Vec<String> {
    let Ok(folders) = std::fs::read_dir(dir.join("kafka-tiered-storage")) else { return Vec::new() };
    let folder = folders.map(|entry| entry.unwrap().path()).find(|path| path.to_string_lossy().contains("/t-0-"));
    let Some(folder) = folder else { return Vec::new() };
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn records_are_read_found_and_deleted_where_only_the_store_has_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = tiered(dir.path(), "");
    pass(&mut alone, 2000);
    let settings = [("remote.storage.enable", "true"), ("segment.bytes", "300"), ("local.retention.bytes", "1")];
    create(&mut alone, &settings).unwrap();
    let begin = alone.now.wall.0;
    produce(&mut alone, 30);
    assert_eq!((offset(&mut alone, -4), offset(&mut alone, -5)), (0, -1));
    pass(&mut alone, 5000);
    pass(&mut alone, 5000);
    let local = offset(&mut alone, -4);
    assert!(local >= 28, "{local}");
    assert_eq!((offset(&mut alone, -2), offset(&mut alone, -1), offset(&mut alone, -5)), (0, 30, local - 1));
    assert_eq!(everything(&mut alone, 0), (0..30).collect::<Vec<i64>>());
    assert_eq!(fetch(&mut alone, 5, 1).map(|found| found[0]), Ok(5));
    for (at, expected) in [(0, 0), (7, 7), (29, 29), (30, -1)] {
        assert_eq!(offset(&mut alone, begin + at), expected, "time {at}");
    }
    let names = stored(dir.path());
    let kinds: std::collections::BTreeSet<&str> =
        names.iter().filter_map(|name| name.split_once('.')).map(|(_, kind)| kind).collect();
    assert_eq!(kinds, ["index", "leader_epoch_checkpoint", "log", "snapshot", "timeindex"].into());
    assert!(names.iter().all(|name| name.len() > 20 + 1 + 22 && name.as_bytes()[20] == b'-'), "{names:?}");
    // By request.
    let partition = delete_records::DeleteRecordsPartition { partition_index: 0, offset: 10 };
    let topic = delete_records::DeleteRecordsTopic { name: "t".to_owned(), partitions: vec![partition] };
    let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 1000 };
    assert_eq!(alone.ask(CLIENT, 2, &request).unwrap().topics[0].partitions[0].low_watermark, 10);
    assert_eq!(fetch(&mut alone, 9, 0), Err(ErrorCode::OffsetOutOfRange.code()));
    assert_eq!((offset(&mut alone, -2), offset(&mut alone, begin)), (10, 10));
    pass(&mut alone, 5000);
    assert!(stored(dir.path()).len() < names.len());
    assert_eq!(everything(&mut alone, 10), (10..30).collect::<Vec<i64>>());
    // With the topic.
    let topic = DeleteTopicState { name: Some("t".to_owned()), topic_id: Uuid::nil() };
    let request = DeleteTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
    assert_eq!(alone.ask(CLIENT, 6, &request).unwrap().responses[0].error_code, 0);
    pass(&mut alone, 2000);
    assert_eq!(stored(dir.path()), [] as [String; 0]);
}

#[test]
fn a_topic_with_a_remote_store_cannot_be_brought_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = tiered(dir.path(), "castellan.topic.undelete.ms=60000");
    pass(&mut alone, 2000);
    create(&mut alone, &[("remote.storage.enable", "true")]).unwrap();
    produce(&mut alone, 1);
    let topic = DeleteTopicState { name: Some("t".to_owned()), topic_id: Uuid::nil() };
    let request = DeleteTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
    assert_eq!(alone.ask(CLIENT, 6, &request).unwrap().responses[0].error_code, 0);
    pass(&mut alone, 2000);
    assert!(!alone.zk.exists("/castellan/deleted_topics"));
    create(&mut alone, &[]).unwrap();
}

#[test]
fn settings_follow_kafkas_rules() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = tiered(dir.path(), "");
    let on = ("remote.storage.enable", "true");
    for (settings, expected) in [
        (&[on, ("cleanup.policy", "compact")][..], "Remote log storage is unsupported for the compacted topics"),
        (
            &[on, ("retention.ms", "5"), ("local.retention.ms", "6")],
            "Invalid value 6 for configuration local.retention.ms: Value must not be more than retention.ms property value: 5",
        ),
        (
            &[on, ("retention.bytes", "5"), ("local.retention.bytes", "-1")],
            "Invalid value -1 for configuration local.retention.bytes: Value must not be -1 as retention.bytes value is set as 5.",
        ),
        (
            &[on, ("remote.log.copy.disable", "true")],
            "It is invalid to set `remote.log.delete.on.disable` or `remote.log.copy.disable` under Zookeeper's mode.",
        ),
    ] {
        assert_eq!(create(&mut alone, settings), Err(expected.to_owned()), "{settings:?}");
    }
    create(&mut alone, &[on]).unwrap();
    for (operation, value) in [(1, None), (0, Some("false"))] {
        let text = alter(&mut alone, operation, "remote.storage.enable", value).unwrap_err();
        assert!(text.starts_with("It is invalid to disable remote storage without deleting remote data."), "{text}");
    }
    alter(&mut alone, 0, "local.retention.ms", Some("1000")).unwrap();
}

#[test]
fn without_the_system_no_topic_has_it() {
    let mut alone = Alone::new("");
    let expected = "Tiered Storage functionality is disabled in the broker. \
                    Topic cannot be configured with remote log storage.";
    assert_eq!(create(&mut alone, &[("remote.storage.enable", "true")]), Err(expected.to_owned()));
}

const SMALL: &[(&str, &str)] =
    &[("remote.storage.enable", "true"), ("segment.bytes", "300"), ("local.retention.bytes", "1")];

#[test]
fn a_folder_that_is_not_the_store_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (mounted, away) = (dir.path().join("mnt"), dir.path().join("away"));
    let mut alone = tiered(&mounted, "");
    pass(&mut alone, 2000);
    create(&mut alone, SMALL).unwrap();
    produce(&mut alone, 30);
    pass(&mut alone, 5000);
    pass(&mut alone, 5000);
    let id = std::fs::read_to_string(mounted.join("castellan-store-id")).unwrap();
    assert!(Uuid::parse_str(id.trim_end()).is_ok(), "{id}");
    let (local, names) = (offset(&mut alone, -4), stored(&mounted));
    assert!(local > 20);
    alter(&mut alone, 0, "retention.bytes", Some("300")).unwrap();
    std::fs::rename(&mounted, &away).unwrap();
    for other in ["nothing", "an empty folder", "another store"] {
        if other != "nothing" {
            std::fs::create_dir_all(&mounted).unwrap();
        }
        if other == "another store" {
            std::fs::write(mounted.join("castellan-store-id"), format!("{}\n", Uuid::from_u128(5))).unwrap();
        }
        produce(&mut alone, 10);
        pass(&mut alone, 100_000);
        assert_eq!(offset(&mut alone, -4).max(local), offset(&mut alone, -2).max(local), "{other}: deleted here");
        assert_eq!(stored(&away), names, "{other}");
        assert!(!mounted.join("kafka-tiered-storage").exists(), "{other}");
    }
    std::fs::remove_dir_all(&mounted).unwrap();
    std::fs::rename(&away, &mounted).unwrap();
    pass(&mut alone, 200_000);
    assert!(offset(&mut alone, -4) > 50);
    assert!(!stored(&mounted).iter().any(|name| names.contains(name)), "nothing old remains");
    // Who has put two stores together says so.
    std::fs::write(mounted.join("castellan-store-id"), format!("{}\n{id}", Uuid::from_u128(5))).unwrap();
    produce(&mut alone, 10);
    pass(&mut alone, 100_000);
    assert!(offset(&mut alone, -4) > 60);
}

#[test]
fn copies_that_fail_while_the_store_is_away_delete_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mounted, away) = (dir.path().join("mnt"), dir.path().join("away"));
    let mut alone = tiered(&mounted, "");
    pass(&mut alone, 2000);
    create(&mut alone, SMALL).unwrap();
    // All of it is less than this, and with each failed copy on top it would be more.
    alter(&mut alone, 0, "retention.bytes", Some("5500")).unwrap();
    produce(&mut alone, 30);
    pass(&mut alone, 5000);
    pass(&mut alone, 5000);
    let names = stored(&mounted);
    std::fs::rename(&mounted, &away).unwrap();
    produce(&mut alone, 10);
    pass(&mut alone, 300_000);
    assert_eq!(offset(&mut alone, -2), 0);
    std::fs::rename(&away, &mounted).unwrap();
    pass(&mut alone, 200_000);
    assert_eq!(offset(&mut alone, -2), 0);
    let now = stored(&mounted);
    assert!(names.iter().all(|name| now.contains(name)));
    assert!(offset(&mut alone, -4) > 35, "copied and deleted here again");
    assert_eq!(everything(&mut alone, 0), (0..40).collect::<Vec<i64>>());
}

#[test]
fn a_metadata_topic_of_another_size_than_is_set_stops_everything() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = tiered(dir.path(), "");
    create_with(&mut alone, ("__remote_log_metadata", 2), &[]).unwrap();
    create(&mut alone, SMALL).unwrap();
    produce(&mut alone, 30);
    pass(&mut alone, 5000);
    assert_eq!(stored(dir.path()), [] as [String; 0]);
    assert_eq!(offset(&mut alone, -4), 0);
}

#[test]
fn what_is_copied_at_once_counts_for_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = tiered(dir.path(), "remote.log.manager.copy.max.bytes.per.second=100");
    pass(&mut alone, 2000);
    create_with(&mut alone, ("t", 4), SMALL).unwrap();
    (0..4).for_each(|partition| produce_to(&mut alone, partition, 10));
    pass(&mut alone, 1500);
    let folders = std::fs::read_dir(dir.path().join("kafka-tiered-storage")).unwrap();
    let files: Vec<String> = folders
        .flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".log"))
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
}

#[test]
fn too_many_reads_of_the_store_are_refused_by_partition() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = tiered(dir.path(), "remote.log.reader.threads=1\nremote.log.reader.max.pending.tasks=1");
    pass(&mut alone, 2000);
    create(&mut alone, SMALL).unwrap();
    produce(&mut alone, 30);
    pass(&mut alone, 5000);
    pass(&mut alone, 5000);
    for _ in 0..2 {
        assert!(alone.broker.hand_to(Crew::Readers, Box::new(drop)).is_ok());
    }
    // A follower does not wait for them.
    assert!(alone.broker.hand_to(Crew::Rebuilders, Box::new(drop)).is_ok());
    let refused = Err(ErrorCode::UnknownServerError.code());
    assert_eq!(offset_or_error(&mut alone, 0), refused);
    assert_eq!(offset_or_error(&mut alone, 0), Ok(0));
}

#[test]
fn only_what_is_needed_is_read_of_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = tiered(dir.path(), "");
    pass(&mut alone, 2000);
    create(&mut alone, SMALL).unwrap();
    produce(&mut alone, 30);
    pass(&mut alone, 5000);
    pass(&mut alone, 5000);
    let wanted = Wanted { fetch_offset: 0, max_bytes: 1 << 20, ..Wanted::of_consumer() };
    let part = FetchPart { topic: "t".into(), topic_id: Uuid::nil(), partition: 0, wanted };
    let mut effects = Vec::new();
    let params = consumer(1 << 20);
    let data = alone.broker.replicas.read_uncounted(&params, &part, true, (alone.now, &mut effects)).unwrap();
    assert!(data.is_in_remote);
    let read = alone.broker.read_remote_now(&params, &part, true, data).unwrap();
    assert!(matches!(read.records, Records::Bytes(_)), "the sender must not read a folder that may be slow");
    // Of the segments behind it only whether they have aborted transactions; where they are not this is not known.
    let folder = std::fs::read_dir(dir.path().join("kafka-tiered-storage")).unwrap().next().unwrap().unwrap();
    let mut behind: Vec<PathBuf> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    behind.retain(|path| !path.file_name().unwrap().to_string_lossy().starts_with("00000000000000000000-"));
    behind.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    assert_eq!(fetch(&mut alone, 0, 1), Err(ErrorCode::UnknownServerError.code()));
    behind.retain(|path| path.extension().is_some_and(|kind| kind == "log"));
    behind.iter().for_each(|path| std::fs::write(path, "").unwrap());
    assert_eq!(fetch(&mut alone, 0, 1).map(|found| found[0]), Ok(0));
}

#[test]
fn damage_in_another_brokers_metadata_is_not_asked_for_again_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut alone = tiered(dir.path(), "");
    pass(&mut alone, 2000);
    let record = Record { value: Some(bytes::Bytes::from_static(b"x")), ..Record::default() };
    let mut damaged = build(&BatchSpec::default(), &[record]).unwrap().to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    for (records, pause_ms) in [(vec![], 0), (damaged, 200)] {
        let partitions = vec![fetch::PartitionData {
            records: Some(Records::from(bytes::Bytes::from(records))),
            ..Default::default()
        }];
        let topic = "__remote_log_metadata".to_owned();
        let responses = vec![fetch::FetchableTopicResponse { topic, partitions, ..Default::default() }];
        let response = FetchResponse { responses, ..FetchResponse::default() };
        let frame = header::encode_response(7, 12, &response).unwrap();
        let mut bytes = frame.into_bytes().unwrap();
        bytes::Buf::advance(&mut bytes, 4);
        alone.woken_at();
        let call = (BrokerId(2), MetadataCall::Read(vec![(0, 0)]));
        alone.broker.on_metadata_answer(call, Ok(bytes), 12, alone.now);
        assert_eq!(alone.woken_at(), Some(alone.now.mono + pause_ms));
    }
}
