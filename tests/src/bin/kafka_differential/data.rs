//! Cases of records: Produce, Fetch, ListOffsets, DeleteRecords, OffsetForLeaderEpoch, DescribeProducers.

use crate::mask::Facts;
use crate::{Pair, admin};
use bytes::{Bytes, BytesMut};
use common::kafka::batch::{Batch, BatchSpec, HEADER_BYTES, Record, RecordHeader, build};
use common::kafka::compression::Compression;
use common::kafka::messages::*;

/// Where the checksum of a batch begins; it covers all behind it.
const CRC_AT: usize = 17;
/// Where a batch has its first and its last timestamp.
const TIMES_AT: usize = 27;
/// Where the length of a batch stands.
const LENGTH_AT: usize = 8;

/// Records with small timestamps, so that answers can hold them.
pub(crate) fn records(count: usize, value_bytes: usize) -> Vec<Record> {
    (0..count)
        .map(|index| Record {
            offset: index as i64,
            timestamp: 1000 + index as i64 * 10,
            key: Some(Bytes::from(format!("k{}", index % 3))),
            value: Some(Bytes::from(vec![b'v'; value_bytes])),
            headers: vec![RecordHeader { key: "h".into(), value: None }],
        })
        .collect()
}

pub(crate) fn batch(spec: &BatchSpec, records: &[Record]) -> Bytes {
    build(spec, records).expect("a batch of small records")
}

/// A batch with other bytes in its header, and its checksum right again.
fn patched(batch: &Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let mut batch = BytesMut::from(&batch[..]);
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    let mut header = [0; HEADER_BYTES];
    header.copy_from_slice(&batch[..HEADER_BYTES]);
    let crc = common::kafka::batch::crc_of(&header, &batch[HEADER_BYTES..]);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    batch.freeze()
}

/// Batches that a broker itself compressed with gzip are compared by what they hold: which bytes that becomes is up to the library.
/// Markers are compared without their time, which is that of this run.
pub(crate) fn comparable(mut answer: FetchResponse) -> FetchResponse {
    let partitions = answer.responses.iter_mut().flat_map(|topic| &mut topic.partitions);
    for records in partitions.flat_map(|partition| &mut partition.records) {
        let bytes = records.to_bytes().expect("in memory");
        let mut at = 0;
        let mut plain = BytesMut::new();
        while let Ok(batch) = Batch::parse(bytes.slice(at..)) {
            let size = batch.header.size_bytes();
            let is_gzip = matches!(batch.header.compression(), Ok(Compression::Gzip));
            let body = is_gzip.then(|| Compression::Gzip.decompress(&batch.bytes[HEADER_BYTES..], 1 << 20));
            match body {
                Some(Ok(body)) => {
                    let mut header = BytesMut::from(&batch.bytes[..HEADER_BYTES]);
                    header[LENGTH_AT..LENGTH_AT + 4].fill(0);
                    header[CRC_AT..CRC_AT + 4].fill(0);
                    plain.extend_from_slice(&header);
                    plain.extend_from_slice(&body);
                }
                _ if batch.header.is_control() => {
                    let mut marker = BytesMut::from(&batch.bytes[..]);
                    marker[CRC_AT..CRC_AT + 4].fill(0);
                    marker[TIMES_AT..TIMES_AT + 16].fill(0);
                    plain.extend_from_slice(&marker);
                }
                _ => plain.extend_from_slice(&batch.bytes),
            }
            at += size;
        }
        plain.extend_from_slice(&bytes[at..]);
        *records = plain.freeze().into();
    }
    answer
}

pub(crate) fn produce(topic: &str, partition: i32, records: Option<Bytes>) -> ProduceRequest {
    ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 5000,
        topic_data: vec![produce::TopicProduceData {
            name: topic.into(),
            partition_data: vec![produce::PartitionProduceData { index: partition, records: records.map(Into::into) }],
            ..Default::default()
        }],
    }
}

pub(crate) fn run(pair: &mut Pair) {
    admin::prepare(pair);
    good_batches(pair);
    bad_batches(pair);
    bad_produces(pair);
    sequences(pair);
    fetches(pair);
    sessions(pair);
    offsets(pair);
    deleted_records(pair);
    epochs(pair);
    producers(pair);
}

/// Every topic takes batches of each compression.
fn good_batches(pair: &mut Pair) {
    for (topic, ..) in admin::TOPICS {
        for compression in
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
        {
            let spec = BatchSpec { compression, ..BatchSpec::default() };
            pair.each("a good batch", |_, _| produce(topic, 0, Some(batch(&spec, &records(5, 7)))));
        }
    }
    let two = |_: &Facts, _: i16| {
        let one = batch(&BatchSpec::default(), &records(2, 3));
        produce("t", 1, Some([&one[..], &one[..]].concat().into()))
    };
    pair.each("two batches", two);
    pair.each("offsets that do not begin at 0", |_, _| {
        let spec = BatchSpec { base_offset: 77, ..BatchSpec::default() };
        let moved: Vec<Record> = records(3, 3).into_iter().map(|r| Record { offset: r.offset + 77, ..r }).collect();
        produce("t", 1, Some(batch(&spec, &moved)))
    });
    pair.each("null values and keys", |_, _| {
        let bare = Record { key: None, value: None, headers: vec![], ..records(1, 0).remove(0) };
        produce("t", 1, Some(batch(&BatchSpec::default(), &[bare])))
    });
}

/// What is wrong, topic, and the batch.
fn bad_ones() -> Vec<(&'static str, &'static str, Bytes)> {
    let good = batch(&BatchSpec::default(), &records(3, 10));
    let gzip = batch(&BatchSpec { compression: Compression::Gzip, ..BatchSpec::default() }, &records(3, 10));
    let damaged = |at: usize| {
        let mut bytes = BytesMut::from(&good[..]);
        bytes[at] ^= 1;
        bytes.freeze()
    };
    let null_key = Record { key: None, ..records(1, 3).remove(0) };
    let control = BatchSpec { is_control: true, ..BatchSpec::default() };
    let now_ish =
        |millis: i64| records(1, 3).into_iter().map(|r| Record { timestamp: millis, ..r }).collect::<Vec<_>>();
    let mut cases = vec![
        ("no batch", "t", Bytes::new()),
        ("half a header", "t", good.slice(..30)),
        ("half a batch", "t", good.slice(..good.len() - 3)),
        ("a batch and a half", "t", [&good[..], &good[..40]].concat().into()),
        ("bytes behind it", "t", [&good[..], b"xyz"].concat().into()),
        ("a wrong checksum", "t", damaged(CRC_AT)),
        ("a damaged record", "t", damaged(good.len() - 2)),
        ("a damaged length", "t", damaged(11)),
        ("a later format", "t", damaged(16)),
        ("format 1", "t", patched(&good, 16, &[1])),
        ("format 3", "t", patched(&good, 16, &[3])),
        ("fewer records than it says", "t", patched(&good, 57, &4i32.to_be_bytes())),
        ("more records than it says", "t", patched(&good, 57, &2i32.to_be_bytes())),
        ("no records, it says", "t", patched(&good, 57, &0i32.to_be_bytes())),
        ("less than no records", "t", patched(&good, 57, &(-1i32).to_be_bytes())),
        ("another last offset", "t", patched(&good, 23, &7i32.to_be_bytes())),
        ("a negative last offset", "t", patched(&good, 23, &(-1i32).to_be_bytes())),
        ("an unknown compression", "t", patched(&good, 21, &[0, 7])),
        ("compressed, it says", "t", patched(&good, 21, &[0, 1])),
        ("not compressed, it says", "t", patched(&gzip, 21, &[0, 0])),
        ("compressed otherwise", "t", patched(&gzip, 21, &[0, 3])),
        ("its time is that of appending, it says", "t", patched(&good, 21, &[0, 8])),
        ("unknown attributes", "t", patched(&good, 21, &[1, 0])),
        ("transactional without producer", "t", patched(&good, 21, &[0, 16])),
        ("a control batch", "t", batch(&control, &records(1, 4))),
        ("another max timestamp", "t", patched(&good, 35, &5000i64.to_be_bytes())),
        ("a negative base timestamp", "t", patched(&good, 27, &(-5i64).to_be_bytes())),
        ("a producer without sequence", "t", patched(&good, 43, &5i64.to_be_bytes())),
        (
            "a negative epoch of a producer",
            "t",
            batch(
                &BatchSpec { producer_id: 5, producer_epoch: -1, base_sequence: 0, ..BatchSpec::default() },
                &records(1, 1),
            ),
        ),
    ];
    cases.extend([
        ("too long", "small", batch(&BatchSpec::default(), &records(3, 200))),
        (
            "too long, but compressed",
            "small",
            batch(&BatchSpec { compression: Compression::Gzip, ..BatchSpec::default() }, &records(3, 200)),
        ),
        ("no key", "compacted", batch(&BatchSpec::default(), std::slice::from_ref(&null_key))),
        (
            "a key and none",
            "compacted",
            batch(&BatchSpec::default(), &[records(1, 3).remove(0), Record { offset: 1, ..null_key.clone() }]),
        ),
        (
            "no key, compressed",
            "compacted",
            batch(&BatchSpec { compression: Compression::Zstd, ..BatchSpec::default() }, &[null_key]),
        ),
        ("an old time", "recent", batch(&BatchSpec::default(), &now_ish(1000))),
        ("a late time", "recent", batch(&BatchSpec::default(), &now_ish(9_000_000_000_000))),
        ("a late time in any topic", "t", batch(&BatchSpec::default(), &now_ish(9_000_000_000_000))),
        ("no time", "t", batch(&BatchSpec::default(), &now_ish(-1))),
        ("a time before all", "t", batch(&BatchSpec::default(), &now_ish(-7))),
    ]);
    cases
}

fn bad_batches(pair: &mut Pair) {
    for (index, (what, topic, bytes)) in bad_ones().into_iter().enumerate() {
        let (topic, partition) = if topic == "t" { ("bad", index as i32) } else { (topic, 0) };
        pair.each(what, |_, _| produce(topic, partition, Some(bytes.clone())));
    }
}

fn bad_produces(pair: &mut Pair) {
    let good = || Some(batch(&BatchSpec::default(), &records(1, 3)));
    for (topic, partition) in
        [("nobody", 0), ("t", 9), ("t", -1), ("", 0), ("a b", 0), ("__consumer_offsets", 0), ("__transaction_state", 0)]
    {
        pair.each("a bad place", |_, _| produce(topic, partition, good()));
    }
    for acks in [1, 2, -2, 100] {
        pair.each("acks", |_, _| ProduceRequest { acks, ..produce("t", 2, good()) });
        pair.each("acks and a bad place", |_, _| ProduceRequest { acks, ..produce("nobody", 2, good()) });
    }
    pair.each("nothing", |_, _| ProduceRequest { acks: -1, timeout_ms: 100, ..Default::default() });
    pair.each("good and bad", |_, _| {
        let mut request = produce("t", 2, good());
        request.topic_data.extend(produce("nobody", 0, good()).topic_data);
        request.topic_data[0]
            .partition_data
            .push(produce::PartitionProduceData { index: 9, records: good().map(Into::into) });
        request
    });
    pair.each("a transactional id without a transaction", |_, _| ProduceRequest {
        transactional_id: Some("x".into()),
        ..produce("t", 2, good())
    });
}

/// What an idempotent producer may and may not send.
fn sequences(pair: &mut Pair) {
    let steps: [(&str, i64, i16, i32, usize); 22] = [
        ("begins in the middle", 70, 0, 5, 1),
        ("the first", 71, 0, 0, 3),
        ("again", 71, 0, 0, 3),
        ("a gap", 71, 0, 7, 1),
        ("next", 71, 0, 3, 2),
        ("the first once more", 71, 0, 0, 3),
        ("a part of an old one", 71, 0, 1, 1),
        ("a new epoch in the middle", 71, 1, 5, 1),
        ("a new epoch", 71, 1, 0, 1),
        ("an old epoch", 71, 0, 5, 1),
        ("next of the new epoch", 71, 1, 1, 1),
        ("2", 71, 1, 2, 1),
        ("3", 71, 1, 3, 1),
        ("4", 71, 1, 4, 1),
        ("5", 71, 1, 5, 1),
        ("6", 71, 1, 6, 1),
        ("one that is not remembered", 71, 1, 0, 1),
        ("the oldest that is", 71, 1, 2, 1),
        ("a negative sequence", 71, 1, -1, 1),
        ("a far epoch", 71, 9, 0, 1),
        ("another producer", 72, 3, 0, 1),
        ("the last sequence", 73, 0, i32::MAX - 1, 3),
    ];
    for version in pair.versions::<ProduceRequest>() {
        let base = i64::from(version) * 1000;
        for (what, producer_id, producer_epoch, base_sequence, count) in steps {
            let spec =
                BatchSpec { producer_id: producer_id + base, producer_epoch, base_sequence, ..BatchSpec::default() };
            pair.ask(what, version, |_| produce("t", 2, Some(batch(&spec, &records(count, 3)))));
        }
    }
}

/// (topic, partition, offset, current epoch, last fetched epoch, max bytes)
type Place<'a> = (&'a str, i32, i64, i32, i32, i32);

pub(crate) fn fetch(facts: &Facts, version: i16, places: &[Place<'_>]) -> FetchRequest {
    let topics = places
        .iter()
        .map(|&(topic, partition, fetch_offset, current_leader_epoch, last_fetched_epoch, partition_max_bytes)| {
            fetch::FetchTopic {
                topic: topic.into(),
                topic_id: facts.id(topic),
                partitions: vec![fetch::FetchPartition {
                    partition,
                    current_leader_epoch,
                    fetch_offset,
                    last_fetched_epoch: if version < 12 { -1 } else { last_fetched_epoch },
                    partition_max_bytes,
                    ..Default::default()
                }],
            }
        })
        .collect();
    FetchRequest { max_wait_ms: 0, min_bytes: 0, max_bytes: 1 << 20, session_epoch: -1, topics, ..Default::default() }
}

fn fetches(pair: &mut Pair) {
    let all = 1 << 20;
    let cases: Vec<Vec<Place<'_>>> = vec![
        vec![("t", 0, 0, -1, -1, all)],
        vec![("t", 1, 0, -1, -1, all)],
        vec![("t", 0, 3, -1, -1, all)],
        vec![("t", 0, 0, -1, -1, 1)],
        vec![("t", 0, 0, -1, -1, 0)],
        vec![("t", 0, 0, -1, -1, 500)],
        vec![("t", 0, 100_000, -1, -1, all)],
        vec![("t", 0, -1, -1, -1, all)],
        vec![("t", 0, -5, -1, -1, all)],
        vec![("t", 9, 0, -1, -1, all)],
        vec![("t", -1, 0, -1, -1, all)],
        vec![("nobody", 0, 0, -1, -1, all)],
        vec![("t", 0, 0, 0, -1, all)],
        vec![("t", 0, 0, 7, -1, all)],
        vec![("t", 0, 0, -7, -1, all)],
        vec![("t", 0, 3, 0, 0, all)],
        vec![("t", 0, 3, 0, 5, all)],
        vec![("t", 0, 100_000, 0, 0, all)],
        vec![("compacted", 0, 0, -1, -1, all)],
        vec![("doomed", 1, 0, -1, -1, all)],
        vec![("t", 0, 0, -1, -1, all), ("nobody", 0, 0, -1, -1, all), ("compacted", 0, 2, -1, -1, all)],
        vec![("t", 0, 0, -1, -1, all), ("t", 1, 0, -1, -1, all), ("compacted", 0, 2, -1, -1, all)],
        vec![],
    ];
    for places in &cases {
        for isolation_level in [0, 1] {
            pair.each("places", |facts, version| FetchRequest { isolation_level, ..fetch(facts, version, places) });
        }
    }
    let place: Place<'_> = ("t", 0, 0, -1, -1, all);
    pair.each("few bytes in all", |facts, version| FetchRequest {
        max_bytes: 10,
        ..fetch(facts, version, &[place, ("t", 1, 0, -1, -1, all)])
    });
    pair.each("no bytes in all", |facts, version| FetchRequest { max_bytes: 0, ..fetch(facts, version, &[place]) });
    pair.each("an isolation that is none", |facts, version| FetchRequest {
        isolation_level: 5,
        ..fetch(facts, version, &[place])
    });
    pair.each("more bytes than there are", |facts, version| FetchRequest {
        min_bytes: 1 << 20,
        max_wait_ms: 5,
        ..fetch(facts, version, &[place])
    });
    pair.each("a consumer for its debugging", |facts, version| FetchRequest {
        replica_id: if version < 15 { -2 } else { -1 },
        ..fetch(facts, version, &[place])
    });
    pair.each("the same place twice", |facts, version| fetch(facts, version, &[place, place]));
}

/// Fetch sessions (KIP-227): what each side drew is remembered.
fn sessions(pair: &mut Pair) {
    let (all, line) = (1 << 20, [("t", 0, 0, -1, -1, 1 << 20), ("compacted", 0, 0, -1, -1, 1 << 20)]);
    for version in pair.versions::<FetchRequest>().filter(|version| *version >= 7) {
        let full = pair.ask("a session begins", version, |facts| FetchRequest {
            session_epoch: 0,
            ..fetch(facts, version, &line)
        });
        let Some((theirs, ours)) = full else { continue };
        pair.theirs.facts.numbers.insert("session".into(), theirs.answer().session_id.into());
        pair.ours.facts.numbers.insert("session".into(), ours.answer().session_id.into());
        let step = |facts: &Facts, session_epoch: i32, places: &[Place<'_>]| FetchRequest {
            session_id: facts.number("session") as i32,
            session_epoch,
            ..fetch(facts, version, places)
        };
        pair.ask("nothing new", version, |facts| step(facts, 1, &[("t", 0, 100_000, -1, -1, all)]));
        pair.ask("what changed", version, |facts| step(facts, 2, &[("t", 0, 0, -1, -1, all)]));
        pair.ask("a new one", version, |facts| {
            step(facts, 3, &[("t", 1, 0, -1, -1, all), ("nobody", 0, 0, -1, -1, all)])
        });
        pair.ask("one less", version, |facts| {
            let id = facts.id("compacted");
            let forgotten = fetch::ForgottenTopic { topic: "compacted".into(), topic_id: id, partitions: vec![0] };
            FetchRequest { forgotten_topics_data: vec![forgotten], ..step(facts, 4, &[]) }
        });
        pair.ask("a wrong epoch", version, |facts| step(facts, 9, &[]));
        pair.ask("an unknown session", version, |facts| FetchRequest { session_id: 12345, ..step(facts, 1, &[]) });
        pair.ask("its end", version, |facts| step(facts, -1, &[]));
        pair.ask("after its end", version, |facts| step(facts, 5, &[]));
    }
}

fn offsets(pair: &mut Pair) {
    let cases: [(&str, i32, i32, i64); 20] = [
        ("t", 0, -1, -1),
        ("t", 0, -1, -2),
        ("t", 0, -1, -3),
        ("t", 0, -1, -4),
        ("t", 0, -1, -5),
        ("t", 0, -1, -6),
        ("t", 0, -1, 0),
        ("t", 0, -1, 1000),
        ("t", 0, -1, 1001),
        ("t", 0, -1, 1040),
        ("t", 0, -1, 1041),
        ("t", 0, -1, i64::MAX),
        ("doomed", 1, -1, 1000),
        ("doomed", 1, -1, -3),
        ("t", 9, -1, -1),
        ("t", -1, -1, -1),
        ("nobody", 0, -1, -1),
        ("", 0, -1, -1),
        ("t", 0, 0, -1),
        ("t", 0, 5, -1),
    ];
    let one = |(topic, partition_index, current_leader_epoch, timestamp): (&str, i32, i32, i64)| {
        list_offsets::ListOffsetsTopic {
            name: topic.into(),
            partitions: vec![list_offsets::ListOffsetsPartition {
                partition_index,
                current_leader_epoch,
                timestamp,
                ..Default::default()
            }],
        }
    };
    for case in cases {
        for isolation_level in [0, 1] {
            pair.each("an offset", |_, version| ListOffsetsRequest {
                replica_id: -1,
                isolation_level: if version < 2 { 0 } else { isolation_level },
                topics: vec![one(case)],
                ..Default::default()
            });
        }
    }
    pair.each("several", |_, _| ListOffsetsRequest {
        replica_id: -1,
        topics: cases.map(one).to_vec(),
        ..Default::default()
    });
    pair.each("a consumer for its debugging", |_, _| ListOffsetsRequest {
        replica_id: -2,
        topics: vec![one(cases[0])],
        ..Default::default()
    });
    pair.each("a follower that is none", |_, _| ListOffsetsRequest {
        replica_id: 7,
        topics: vec![one(cases[0])],
        ..Default::default()
    });
    for (topic, ..) in admin::TOPICS {
        for timestamp in [-1, -2, -3, 1020] {
            pair.each("each topic", |_, _| ListOffsetsRequest {
                replica_id: -1,
                topics: vec![one((topic, 0, -1, timestamp))],
                ..Default::default()
            });
        }
    }
}

fn deleted_records(pair: &mut Pair) {
    let cases: [(&str, i32, i64); 10] = [
        ("t", 0, 3),
        ("t", 0, 2),
        ("t", 0, 1_000_000),
        ("t", 0, -2),
        ("t", 9, 0),
        ("nobody", 0, 0),
        ("compacted", 0, 1),
        ("__consumer_offsets", 0, 0),
        ("t", 1, -1),
        ("t", 0, 0),
    ];
    for (topic, partition_index, offset) in cases {
        pair.each("records", |_, _| DeleteRecordsRequest {
            topics: vec![delete_records::DeleteRecordsTopic {
                name: topic.into(),
                partitions: vec![delete_records::DeleteRecordsPartition { partition_index, offset }],
            }],
            timeout_ms: 5000,
        });
    }
    pair.each("no records", |_, _| DeleteRecordsRequest { topics: vec![], timeout_ms: 5000 });
    for place in [("t", 0, 0, -1, -1, 1 << 20), ("t", 0, 3, -1, -1, 1 << 20), ("t", 1, 0, -1, -1, 1 << 20)] {
        pair.each("after the deletion", |facts, version| fetch(facts, version, &[place]));
    }
}

fn epochs(pair: &mut Pair) {
    let cases: [(&str, i32, i32, i32); 10] = [
        ("t", 0, -1, 0),
        ("t", 0, 0, 0),
        ("t", 0, 5, 0),
        ("t", 0, -1, 1),
        ("t", 0, -1, -1),
        ("doomed", 1, -1, 0),
        ("t", 9, -1, 0),
        ("nobody", 0, -1, 0),
        ("", 0, -1, 0),
        ("compacted", 0, 0, 7),
    ];
    for (topic, partition, current_leader_epoch, leader_epoch) in cases {
        pair.each("an epoch", |_, version| OffsetForLeaderEpochRequest {
            replica_id: if version < 3 { -2 } else { -1 },
            topics: vec![offset_for_leader_epoch::OffsetForLeaderTopic {
                topic: topic.into(),
                partitions: vec![offset_for_leader_epoch::OffsetForLeaderPartition {
                    partition,
                    current_leader_epoch,
                    leader_epoch,
                }],
            }],
        });
    }
}

fn producers(pair: &mut Pair) {
    for (topic, partition) in [("t", 2), ("t", 0), ("t", 9), ("nobody", 0), ("a b", 0), ("", 0)] {
        pair.each("producers", |_, _| DescribeProducersRequest {
            topics: vec![describe_producers::TopicRequest { name: topic.into(), partition_indexes: vec![partition] }],
        });
    }
}
