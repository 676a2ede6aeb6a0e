//! A share group as the leader of its partition sees it: scripts of requests on the left, answers on the right. The topic has
//! one partition, the group is `g`, and time stands still.

use super::NOW;
use super::alone::Alone;
use crate::outbox::ConnectionId;
use crate::share::ShareKey;
use crate::share::leading::ShareOrder;
use crate::share::partition::{AckBatch, AckType};
use common::kafka::batch::{BatchSpec, Record, build};
use common::kafka::messages::share_acknowledge::{AcknowledgePartition, AcknowledgeTopic};
use common::kafka::messages::share_fetch::{AcknowledgementBatch, FetchPartition, FetchTopic};
use common::kafka::messages::*;
use common::kafka::records::Records;
use uuid::Uuid;

struct Bench {
    alone: Alone,
    topic_id: Uuid,
    version: i16,
    sequence: i32,
}

/// `0-4:1` or `0-4:1,1,2,1,1`.
fn saying(word: &str) -> (i64, i64, Vec<i8>) {
    let (range, types) = word.split_once(':').unwrap();
    let (first, last) = range.split_once('-').unwrap();
    (first.parse().unwrap(), last.parse().unwrap(), types.split(',').map(|code| code.parse().unwrap()).collect())
}

impl Bench {
    fn new(settings: &str) -> Bench {
        let mut alone = Alone::new(&format!(
            "offsets.topic.num.partitions=1\noffsets.topic.replication.factor=1\n\
             share.coordinator.state.topic.num.partitions=3\n{settings}"
        ));
        let new = create_topics::CreatableTopic {
            name: "t".to_owned(),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![new], ..Default::default() };
        let topic_id = alone.ask("a", 7, &request).unwrap().topics[0].topic_id;
        Bench { alone, topic_id, version: 2, sequence: 0 }
    }

    fn produce(&mut self, count: i64) -> String {
        let record = |offset| Record { offset, timestamp: 1, key: None, value: None, headers: Vec::new() };
        let records: Vec<Record> = (0..count).map(record).collect();
        let records = Records::from(build(&BatchSpec::default(), &records).unwrap());
        let data = produce::PartitionProduceData { index: 0, records: Some(records) };
        let topic =
            produce::TopicProduceData { name: "t".to_owned(), partition_data: vec![data], ..Default::default() };
        let request = ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() };
        let answer = self.alone.ask("a", 9, &request).unwrap();
        let one = &answer.responses[0].partition_responses[0];
        format!("{} @{}", one.error_code, one.base_offset)
    }

    /// fetch MEMBER EPOCH [new] [old] [max=N] [exact] [renew] [SAYING...] [/ SAYING...]
    fn fetch(&mut self, words: &[&str]) -> String {
        let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.parse::<i32>().ok());
        let batch = |(first_offset, last_offset, acknowledge_types)| AcknowledgementBatch {
            first_offset,
            last_offset,
            acknowledge_types,
        };
        let renews = words.contains(&"renew");
        let partition = |words: &[&str]| {
            let sayings = words.iter().filter(|word| word.contains(':')).map(|word| batch(saying(word)));
            FetchPartition { acknowledgement_batches: sayings.collect(), ..FetchPartition::default() }
        };
        let partitions: Vec<_> = words[3..].split(|word| *word == "/").map(partition).collect();
        let is_named = words.contains(&"new") || !partitions[0].acknowledgement_batches.is_empty();
        let old = share_fetch::ForgottenTopic { topic_id: self.topic_id, partitions: vec![0] };
        let topic = FetchTopic { topic_id: self.topic_id, partitions };
        let request = ShareFetchRequest {
            group_id: Some("g".to_owned()),
            member_id: Some(words[1].to_owned()),
            share_session_epoch: words[2].parse().unwrap(),
            max_wait_ms: 0,
            min_bytes: i32::from(!renews),
            max_bytes: if renews { 0 } else { 1_000_000 },
            max_records: if renews { 0 } else { value("max=").unwrap_or(500) },
            batch_size: 500,
            share_acquire_mode: i8::from(words.contains(&"exact")),
            is_renew_ack: renews,
            topics: if is_named { vec![topic] } else { Vec::new() },
            forgotten_topics_data: if words.contains(&"old") { vec![old] } else { Vec::new() },
        };
        let answer = self.alone.ask("a", self.version, &request).unwrap();
        let mut shown = answer.error_code.to_string();
        for data in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            shown += &format!(" | {}/{}", data.error_code, data.acknowledge_error_code);
            for one in &data.acquired_records {
                shown += &format!(" {}-{}x{}", one.first_offset, one.last_offset, one.delivery_count);
            }
            if !data.records.is_empty() {
                let batches = common::kafka::batch::batches(data.records.to_bytes().unwrap());
                shown += &format!(
                    " in {}",
                    batches.map(|batch| batch.unwrap().header.base_offset.to_string()).collect::<Vec<_>>().join(",")
                );
            }
        }
        shown
    }

    /// ack MEMBER EPOCH [renew] SAYING...
    fn ack(&mut self, words: &[&str]) -> String {
        let batch = |(first_offset, last_offset, acknowledge_types)| share_acknowledge::AcknowledgementBatch {
            first_offset,
            last_offset,
            acknowledge_types,
        };
        let sayings = words[3..].iter().filter(|word| word.contains(':')).map(|word| batch(saying(word)));
        let partition = AcknowledgePartition { partition_index: 0, acknowledgement_batches: sayings.collect() };
        let is_named = !partition.acknowledgement_batches.is_empty();
        let topic = AcknowledgeTopic { topic_id: self.topic_id, partitions: vec![partition] };
        let request = ShareAcknowledgeRequest {
            group_id: Some("g".to_owned()),
            member_id: Some(words[1].to_owned()),
            share_session_epoch: words[2].parse().unwrap(),
            is_renew_ack: words.contains(&"renew"),
            topics: if is_named { vec![topic] } else { Vec::new() },
        };
        let answer = self.alone.ask("a", self.version, &request).unwrap();
        let codes =
            answer.responses.iter().flat_map(|topic| &topic.partitions).map(|one| format!(" | {}", one.error_code));
        format!("{}{}", answer.error_code, codes.collect::<String>())
    }

    fn summary(&mut self) -> String {
        let asked = read_share_group_state_summary::PartitionData { partition: 0, leader_epoch: -1 };
        let topic =
            read_share_group_state_summary::ReadStateSummaryData { topic_id: self.topic_id, partitions: vec![asked] };
        let request = ReadShareGroupStateSummaryRequest { group_id: "g".to_owned(), topics: vec![topic] };
        let answer = self.alone.ask("a", 1, &request).unwrap();
        let one = &answer.results[0].partitions[0];
        format!("{} s{} @{} n{}", one.error_code, one.state_epoch, one.start_offset, one.delivery_complete_count)
    }

    fn delete(&mut self) -> String {
        let partitions = vec![delete_share_group_state::PartitionData { partition: 0 }];
        let topic = delete_share_group_state::DeleteStateData { topic_id: self.topic_id, partitions };
        let request = DeleteShareGroupStateRequest { group_id: "g".to_owned(), topics: vec![topic] };
        let answer = self.alone.ask("a", 0, &request).unwrap();
        answer.results[0].partitions[0].error_code.to_string()
    }

    /// begin START [STATE EPOCH]
    fn begin(&mut self, words: &[&str]) -> String {
        let start_offset = words[1].parse().unwrap();
        let state_epoch = words.get(2).map_or(1, |epoch| epoch.parse().unwrap());
        let key = broker_key(self.topic_id);
        let find = FindCoordinatorRequest { key_type: 2, coordinator_keys: vec![key], ..Default::default() };
        self.alone.ask("a", 6, &find).unwrap();
        let found = self.alone.ask("a", 6, &find).unwrap().coordinators[0].node_id;
        let data = initialize_share_group_state::PartitionData { partition: 0, state_epoch, start_offset };
        let topic =
            initialize_share_group_state::InitializeStateData { topic_id: self.topic_id, partitions: vec![data] };
        let request = InitializeShareGroupStateRequest { group_id: "g".to_owned(), topics: vec![topic] };
        let answer = self.alone.ask("a", 0, &request).unwrap();
        format!("at {found}: {}", answer.results[0].partitions[0].error_code)
    }

    /// A batch in the transaction of producer 7.
    fn produce_in_transaction(&mut self) -> String {
        let spec = BatchSpec {
            is_transactional: true,
            producer_id: 7,
            producer_epoch: 0,
            base_sequence: self.sequence,
            ..BatchSpec::default()
        };
        self.sequence += 2;
        let record = |offset| Record { offset, timestamp: 1, key: None, value: None, headers: Vec::new() };
        let records = Records::from(build(&spec, &[record(0), record(1)]).unwrap());
        let data = produce::PartitionProduceData { index: 0, records: Some(records) };
        let topic =
            produce::TopicProduceData { name: "t".to_owned(), partition_data: vec![data], ..Default::default() };
        let transactional_id = Some("x".to_owned());
        let request = ProduceRequest { transactional_id, acks: -1, timeout_ms: 1000, topic_data: vec![topic] };
        let answer = self.alone.ask("a", 9, &request).unwrap();
        let one = &answer.responses[0].partition_responses[0];
        format!("{} @{}", one.error_code, one.base_offset)
    }

    fn end_transaction(&mut self, is_commit: bool) -> String {
        let topic = write_txn_markers::WritableTxnMarkerTopic { name: "t".to_owned(), partition_indexes: vec![0] };
        let marker = write_txn_markers::WritableTxnMarker {
            producer_id: 7,
            transaction_result: is_commit,
            topics: vec![topic],
            ..Default::default()
        };
        let answer = self.alone.ask("a", 1, &WriteTxnMarkersRequest { markers: vec![marker] }).unwrap();
        answer.markers[0].topics[0].partitions[0].error_code.to_string()
    }

    /// Sets a setting of the group.
    fn set(&mut self, name: &str, value: &str) -> String {
        use incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
        let config = AlterableConfig { name: name.to_owned(), value: Some(value.to_owned()), ..Default::default() };
        let (resource_type, resource_name) = (32, "g".to_owned());
        let asked = AlterConfigsResource { resource_type, resource_name, configs: vec![config] };
        let request = IncrementalAlterConfigsRequest { resources: vec![asked], ..Default::default() };
        self.alone.ask("a", 1, &request).unwrap().responses[0].error_code.to_string()
    }

    /// Records accepted, released, rejected and renewed, and those in flight.
    fn counts(&self) -> String {
        let shares = &self.alone.broker.shares;
        let counters = &shares.counters;
        let words = [&counters.accepted, &counters.released, &counters.rejected, &counters.renewed];
        let in_flight: i64 = shares.figures().iter().map(|one| one.in_flight).sum();
        format!("{:?} {in_flight}", words.map(crate::metrics::Counter::get))
    }

    fn step(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "version" => {
                self.version = words[1].parse().unwrap();
                String::new()
            }
            "slow" => {
                self.alone.is_slow = true;
                String::new()
            }
            "settle" => {
                self.alone.is_slow = false;
                self.alone.settle();
                String::new()
            }
            "begin" => self.begin(&words),
            "produce" => self.produce(words[1].parse().unwrap()),
            "fetch" => self.fetch(&words),
            "ack" => self.ack(&words),
            "summary" => self.summary(),
            "produce-in-transaction" => self.produce_in_transaction(),
            "commit" => self.end_transaction(true),
            "abort" => self.end_transaction(false),
            "set" => self.set(words[1], words[2]),
            "delete" => self.delete(),
            "counts" => self.counts(),
            _ => panic!("{line}"),
        }
    }
}

fn broker_key(topic_id: Uuid) -> String {
    key(topic_id).text()
}

fn key(topic_id: Uuid) -> ShareKey {
    ShareKey { group: "g".to_owned(), topic_id, partition: 0 }
}

fn check(settings: &str, script: &[(&str, &str)]) {
    let mut bench = Bench::new(settings);
    for (line, expected) in script {
        assert_eq!(bench.step(line), *expected, "{line} in {script:?}");
    }
}

#[test]
fn records_are_acquired_and_acknowledged() {
    for version in ["version 1", "version 2"] {
        check(
            "",
            &[
                (version, ""),
                ("begin 0", "at 1: 0"),
                ("produce 5", "0 @0"),
                ("produce 5", "0 @5"),
                ("fetch a 0 new", "0 | 0/0"),
                // Its state was not loaded when the first one was answered.
                ("fetch a 1 max=5", "0 | 0/0 0-4x1 in 0"),
                ("fetch a 1", "123"),
                ("fetch b 0 new", "0 | 0/0 5-9x1 in 5"),
                ("fetch a 2 0-1:1 2-4:2,2,1", "0 | 0/0"),
                ("fetch b 1", "0 | 0/0 2-3x2 in 0"),
                ("counts", "[3, 2, 0, 0] 8"),
                ("ack a 3 2-3:1", "0 | 121"),
                ("ack b 2 2-3:1 5-9:3", "0 | 0"),
                ("counts", "[5, 2, 5, 0] 0"),
                ("ack b 3", "0"),
                ("ack b 3", "123"),
                ("ack b 0", "123"),
                ("ack c 1", "122"),
                ("summary", "0 s1 @2 n8"),
            ],
        );
    }
}

#[test]
fn who_ends_its_session_gives_back_what_it_has() {
    check(
        "",
        &[
            ("begin -1", "at 1: 0"),
            // The group begins behind what there is.
            ("produce 3", "0 @0"),
            ("fetch a 0 new", "0 | 0/0"),
            ("summary", "0 s1 @3 n0"),
            ("produce 4", "0 @3"),
            ("fetch a 1", "0 | 0/0 3-6x1 in 3"),
            ("fetch b 0 new", "0 | 0/0"),
            ("fetch a -1 3-3:1", "0 | 0/0"),
            ("fetch a -1", "122"),
            ("fetch b 1", "0 | 0/0 4-6x2 in 3"),
            ("ack b -1 4-4:3", "0 | 0"),
            ("ack b -1", "122"),
            ("fetch c 0 new", "0 | 0/0"),
            ("fetch c 1", "0 | 0/0 5-6x3 in 3"),
        ],
    );
}

#[test]
fn a_group_without_members_finds_what_was_set_meanwhile() {
    // The session that ends last never named the partition, or names it no longer, or it is not loaded yet.
    for ends in [
        &[("ack a 2 0-4:1", "0 | 0"), ("ack a -1", "0"), ("ack b -1", "0")][..],
        &[("ack b -1", "0"), ("fetch a 2 old 0-4:1", "0 | 0/0"), ("ack a -1", "0")],
        // What it still has when it names the partition no longer is given back, too.
        &[("fetch a 2 old", "0"), ("ack a -1", "0"), ("ack b -1", "0")],
    ] {
        let mut script = vec![
            ("begin 0", "at 1: 0"),
            ("produce 5", "0 @0"),
            ("fetch a 0 new", "0 | 0/0"),
            ("fetch a 1", "0 | 0/0 0-4x1 in 0"),
            ("fetch b 0", "0"),
        ];
        script.extend(ends);
        script.extend([
            ("begin 0 2", "at 1: 0"),
            ("fetch c 0 new", "0 | 0/0"),
            ("fetch c 1", "0 | 0/0 0-4x1 in 0"),
            ("summary", "0 s2 @0 n0"),
        ]);
        check("", &script);
    }
}

#[test]
fn the_end_of_a_session_leaves_the_next_one_alone() {
    for end in ["ack a -1", "fetch a -1"] {
        check(
            "",
            &[
                ("begin 0", "at 1: 0"),
                ("produce 5", "0 @0"),
                ("fetch a 0 new", "0 | 0/0"),
                ("slow", ""),
                (end, "0"),
                ("fetch a 0 new", "0 | 0/0 0-4x1 in 0"),
                ("settle", ""),
                ("fetch a 1 0-4:1", "0 | 0/0"),
                ("summary", "0 s1 @0 n5"),
            ],
        );
    }
}

#[test]
fn who_comes_while_the_last_one_goes_keeps_what_it_acquires() {
    let mut bench = Bench::new("");
    let check = |bench: &mut Bench, script: &[(&str, &str)]| {
        script.iter().for_each(|(line, expected)| assert_eq!(bench.step(line), *expected, "{line}"));
    };
    check(
        &mut bench,
        &[
            ("begin 0", "at 1: 0"),
            ("produce 5", "0 @0"),
            ("fetch a 0 new", "0 | 0/0"),
            ("fetch a 1", "0 | 0/0 0-4x1 in 0"),
        ],
    );
    let (broker, topic_id) = (bench.alone.broker.clone(), bench.topic_id);
    let member = |name: &str| ("g".to_owned(), name.to_owned());
    assert!(broker.shares.sessions.lock().remove(&member("a"), 1));
    let (asked, order) = (
        broker.clone(),
        ShareOrder {
            member: member("c"),
            targets: vec![(topic_id, 0, "t".into())],
            max_wait_ms: 0,
            min_bytes: 1,
            max_bytes: 1000,
            max_records: 500,
            batch_size: 500,
            is_exact: false,
        },
    );
    // Another member comes at the moment at which the first one's last word is written.
    let then = Box::new(move |result| {
        assert_eq!(result, Ok(()));
        let places = (vec![(topic_id, 0)], Vec::new());
        asked.shares.sessions.lock().open(&order.member, 0, places, (false, ConnectionId(2), 1)).unwrap();
        asked.share_fetch(
            order,
            Box::new(|outcomes, _| {
                let acquired = outcomes.iter().map(|one| one.result.as_ref().unwrap().acquired.len());
                assert_eq!(acquired.sum::<usize>(), 1);
            }),
            NOW,
        );
    });
    let acks = [AckBatch { first: 0, last: 4, types: vec![AckType::Release] }];
    broker.share_acknowledge((&key(topic_id), "a"), &acks, then, NOW);
    bench.alone.settle();
    check(&mut bench, &[("fetch d 0 new", "0 | 0/0"), ("fetch d 1", "0"), ("ack c 1 0-4:1", "0 | 0")]);
}

#[test]
fn a_share_partition_that_its_coordinator_does_not_know_begins_anew() {
    check(
        "",
        &[
            ("begin 0", "at 1: 0"),
            ("produce 5", "0 @0"),
            ("fetch a 0 new", "0 | 0/0"),
            ("fetch a 1", "0 | 0/0 0-4x1 in 0"),
            ("delete", "0"),
            ("ack a 2 0-4:1", "0 | -1"),
            ("begin 3", "at 1: 0"),
            ("fetch a 3", "0"),
            ("fetch a 4", "0 | 0/0 3-4x1 in 0"),
        ],
    );
}

#[test]
fn of_acknowledgements_of_one_partition_the_first_error_counts() {
    check(
        "",
        &[
            ("begin 0", "at 1: 0"),
            ("produce 5", "0 @0"),
            ("fetch a 0 new", "0 | 0/0"),
            ("fetch a 1", "0 | 0/0 0-4x1 in 0"),
            ("fetch a 2 7-9:1 / 0-1:1", "0 | 0/42"),
            ("fetch a 3 2-2:1 / 7-9:1", "0 | 0/42"),
            ("fetch a 4 3-3:1 / 4-4:1", "0 | 0/0"),
        ],
    );
}

#[test]
fn requests_that_contradict_themselves_are_refused() {
    check(
        "group.share.max.share.sessions=200\n",
        &[
            ("begin 0", "at 1: 0"),
            ("produce 5", "0 @0"),
            ("fetch a 0 new 0-1:1", "42"),
            ("fetch a 0 new", "0 | 0/0"),
            ("fetch a 1 max=2 exact", "0 | 0/0 0-1x1 in 0"),
            ("fetch a 2 0-1:7", "0 | 0/42 2-4x1 in 0"),
            ("fetch a 3 1-0:1", "0 | 0/42"),
            ("fetch a 4 0-1:1,1,1", "0 | 0/42"),
            ("fetch a 5 0-9:1", "0 | 0/42"),
            // Renewing is said of the request as a whole, which then reads nothing.
            ("fetch a 6 0-1:4", "0 | 0/42"),
            ("fetch a 7 renew 0-1:4", "0 | 0/0"),
            ("ack a 8 0-1:4", "0 | 42"),
            ("ack a 9 renew 0-0:4 1-1:1", "0 | 0"),
            ("version 1", ""),
            ("ack a 10 0-0:4", "0 | 42"),
            ("fetch a 11 0-0:1", "0 | 0/0"),
            ("fetch 0123456789012345678901234567890123456 0 new", "42"),
        ],
    );
}

#[test]
fn groups_may_read_what_is_committed() {
    let script = [
        ("begin 0", "at 1: 0"),
        ("produce 2", "0 @0"),
        ("produce-in-transaction", "0 @2"),
        ("commit", "0"),
        ("produce-in-transaction", "0 @5"),
        ("abort", "0"),
        ("produce-in-transaction", "0 @8"),
        ("produce 1", "0 @10"),
    ];
    let settings = "transaction.partition.verification.enable=false\n";
    let mut all = script.to_vec();
    all.extend([("fetch a 0 new", "0 | 0/0"), ("fetch a 1", "0 | 0/0 0-10x1 in 0,2,4,5,7,8,10")]);
    check(settings, &all);
    let mut committed = script.to_vec();
    committed.extend([
        ("set share.isolation.level read_committed", "0"),
        ("fetch a 0 new", "0 | 0/0"),
        // The markers are records that clients pass over, as in Kafka.
        ("fetch a 1", "0 | 0/0 0-4x1 7-7x1 in 0,2,4,5,7"),
        ("fetch a 2", "0"),
        ("abort", "0"),
        ("fetch a 3", "0 | 0/0 10-11x1 in 10,11"),
        ("fetch a 4 0-11:1", "0 | 0/121"),
        ("fetch a 5 0-4:1 7-7:0 10-11:1", "0 | 0/0"),
        ("summary", "0 s1 @0 n12"),
    ]);
    check(settings, &committed);
}
