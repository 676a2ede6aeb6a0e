//! What hurt transactions at Kafka, Redpanda and Bufstream: an end that comes late and hits the next transaction, a producer
//! that was succeeded, readers that see what is not committed. The cases speak to the brokers themselves, one request at a
//! time, so that what is late is late by intent.

use super::{Case, Script, broker, controller, in_sync, numbers, one_partition, wait, znode};
use crate::sim::scenario::Run;
use crate::sim::world::{Host, Program, SECOND, Store, World};
use bytes::Bytes;
use common::Rng;
use common::kafka::batch::{BatchSpec, Record, batches, build};
use common::kafka::error::ErrorCode;
use common::kafka::header::{RequestHeader, decode_response, encode_request};
use common::kafka::messages::create_topics::CreatableTopic;
use common::kafka::messages::fetch::{FetchPartition, FetchTopic, PartitionData};
use common::kafka::messages::produce::{PartitionProduceData, TopicProduceData};
use common::kafka::messages::{
    CreateTopicsRequest, EndTxnRequest, FetchRequest, FetchResponse, FindCoordinatorRequest, InitProducerIdRequest,
    ProduceRequest, ProduceResponse, Request,
};
use common::kafka::records::Records;
use std::collections::BTreeSet;

/// All cases of transactions.
pub const CASES: &[Case] = &[
    Case {
        name: "an end that comes late does not end the next transaction",
        known: "KAFKA-17754: a retried EndTxn arrives when the next transaction is open, and commits half of it",
        script: Script::Cluster(one_partition, ends_come_late),
        off: &["end-keeps-epoch"],
        seeds: 4,
    },
    Case {
        name: "who reads what is committed reads nothing else",
        known: "Redpanda #3036, Bufstream (Jepsen 2022, 2024): records of open and of aborted transactions are read",
        script: Script::Cluster(one_partition, read_all_the_while),
        off: &["stable-is-high-watermark", "aborted-not-told"],
        seeds: 4,
    },
    Case {
        name: "a producer that was succeeded commits nothing",
        known: "KIP-98, Redpanda (Jepsen 2022): a producer that was away decides a transaction of its successor",
        script: Script::Cluster(one_partition, succeeded),
        off: &["txn-epoch-not-checked"],
        seeds: 4,
    },
];

/// Id and epoch.
type Producer = (i64, i16);

const TRANSACTIONAL_ID: &str = "late";
const TOPIC: &str = "x";
/// Attempts, each after a pause: whoever begins has to wait for its coordinator, and for the markers of the last end.
const ATTEMPTS: usize = 100;
const PAUSE_MS: u64 = 200;

/// Asks a broker and waits for the answer.
fn ask<R: Request>(run: &mut Run, host: Host, request: &R, version: i16) -> Result<R::Response, String> {
    let header = RequestHeader { api_key: R::KEY, api_version: version, correlation_id: 1, client_id: None };
    let frame = encode_request(&header, request).map_err(|error| error.to_string())?;
    let number = run.world.act(host, |program, ctx| match program {
        Program::Broker(process) => Some(process.ask_directly(frame.slice(4..), ctx)),
        _ => None,
    });
    let number = number.flatten().ok_or("no broker runs there")?;
    let answer = |world: &World| match world.program(host) {
        Some(Program::Broker(process)) => process.told_directly(number),
        _ => None,
    };
    run.run_until(R::NAME, 10 * SECOND, |world| answer(world).is_some())?;
    let bytes = answer(&run.world).unwrap_or_default();
    decode_response::<R>(bytes.slice(4..), version).map(|(_, response)| response).map_err(|error| error.to_string())
}

/// Asks until the answer has no error.
fn ask_until_done<R: Request>(
    run: &mut Run,
    find: impl Fn(&World) -> Option<i32>,
    (request, version): (&R, i16),
    error: impl Fn(&R::Response) -> i16,
) -> Result<R::Response, String> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        if let Some(id) = find(&run.world) {
            let host = broker(&run.world, id);
            let response = ask(run, host, request, version)?;
            last = ErrorCode::from_code(error(&response));
            if last == Some(ErrorCode::None) {
                return Ok(response);
            }
        }
        wait(run, PAUSE_MS)?;
    }
    Err(format!("{} fails for ever: {last:?}", R::NAME))
}

fn leader(world: &World) -> Option<i32> {
    let state = znode(world, &format!("/brokers/topics/{TOPIC}/partitions/0/state"))?;
    numbers(&state, "leader").first().copied().filter(|leader| *leader >= 0)
}

/// Writes one record in the transaction that this producer has, or begins.
fn write(run: &mut Run, (producer_id, producer_epoch, sequence): (i64, i16, i32), value: &str) -> Result<(), String> {
    let record = Record { value: Some(Bytes::from(value.to_owned())), ..Record::default() };
    let base_sequence = sequence;
    let spec = BatchSpec { producer_id, producer_epoch, base_sequence, is_transactional: true, ..BatchSpec::default() };
    let bytes = build(&spec, &[record]).map_err(|error| error.to_string())?;
    let data = PartitionProduceData { index: 0, records: Some(Records::Bytes(bytes)) };
    let topic = TopicProduceData { name: TOPIC.to_owned(), partition_data: vec![data], ..TopicProduceData::default() };
    let request = ProduceRequest {
        transactional_id: Some(TRANSACTIONAL_ID.to_owned()),
        acks: -1,
        timeout_ms: 3_000,
        topic_data: vec![topic],
    };
    let error = |response: &ProduceResponse| {
        let partition = response.responses.first().and_then(|topic| topic.partition_responses.first());
        partition.map_or(-1, |partition| partition.error_code)
    };
    ask_until_done(run, leader, (&request, 12), error).map(drop)
}

/// What the partition's log holds: values, and `+` or `-` for markers of commits and aborts.
fn log(world: &World) -> Vec<String> {
    let Some(id) = leader(world) else { return Vec::new() };
    let Store::Disk(disk) = &world.machine(broker(world, id)).store else { return Vec::new() };
    let mut found = Vec::new();
    for bytes in disk.segments(&format!("/data/{TOPIC}-0")).into_values() {
        for batch in batches(bytes).map_while(Result::ok) {
            let records = batch.records(1 << 16).into_iter().flatten().map_while(Result::ok);
            for record in records {
                let key = record.key.unwrap_or_default();
                let is_commit = key.last() == Some(&1);
                let value = String::from_utf8_lossy(&record.value.unwrap_or_default()).into_owned();
                let marker = if is_commit { "+" } else { "-" };
                found.push(if batch.header.is_control() { marker.to_owned() } else { value });
            }
        }
    }
    found
}

/// A topic for the case, and a producer with the transactional id: its coordinator, and what it is.
fn begin(run: &mut Run, rng: &mut Rng) -> Result<(i32, Producer), String> {
    in_sync(run, 3)?;
    let topic = CreatableTopic {
        name: TOPIC.to_owned(),
        num_partitions: 1,
        replication_factor: 3,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..CreateTopicsRequest::default() };
    ask_until_done(run, controller, (&request, 5), |response| {
        response.topics.first().map_or(-1, |topic| topic.error_code)
    })?;
    let request =
        FindCoordinatorRequest { key: TRANSACTIONAL_ID.to_owned(), key_type: 1, ..FindCoordinatorRequest::default() };
    let anyone = rng.i32(1..=3);
    let found = ask_until_done(run, |_| Some(anyone), (&request, 3), |response| response.error_code)?;
    let coordinator = found.node_id;
    Ok((coordinator, instance(run, coordinator)?))
}

/// A new instance of the producer.
fn instance(run: &mut Run, coordinator: i32) -> Result<Producer, String> {
    let request = InitProducerIdRequest {
        transactional_id: Some(TRANSACTIONAL_ID.to_owned()),
        transaction_timeout_ms: 60_000,
        ..InitProducerIdRequest::default()
    };
    let answer = ask_until_done(run, |_| Some(coordinator), (&request, 4), |response| response.error_code)?;
    Ok((answer.producer_id, answer.producer_epoch))
}

fn end((producer_id, producer_epoch): Producer, committed: bool) -> EndTxnRequest {
    EndTxnRequest { transactional_id: TRANSACTIONAL_ID.to_owned(), producer_id, producer_epoch, committed }
}

/// Ends the producer's transaction; the producer of the next one.
fn end_until_done(run: &mut Run, coordinator: i32, producer: Producer, is_commit: bool) -> Result<Producer, String> {
    let request = end(producer, is_commit);
    let answer = ask_until_done(run, |_| Some(coordinator), (&request, 5), |response| response.error_code)?;
    Ok((answer.producer_id, answer.producer_epoch))
}

/// A transaction is committed; its end is sent again and arrives when the next one is open, which is then aborted.
fn ends_come_late(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    let (coordinator, first) = begin(run, rng)?;
    write(run, (first.0, first.1, 0), "whole")?;
    let second = end_until_done(run, coordinator, first, true)?;
    run.run_until("the first end has its marker", 30 * SECOND, |world| log(world) == ["whole", "+"])?;
    // Sequence numbers go on unless the producer has another epoch.
    write(run, (second.0, second.1, i32::from(second == first)), "half")?;

    wait(run, rng.u64(1..1_000))?;
    let host = broker(&run.world, coordinator);
    let late = ask(run, host, &end(first, true), 5)?;
    if late.error_code == ErrorCode::None.code() {
        return Err(format!("the late end of {first:?} is taken for that of {second:?}"));
    }
    end_until_done(run, coordinator, second, false)?;
    run.run_until("the second end has its marker", 30 * SECOND, |world| log(world).len() == 4)?;
    let found = log(&run.world);
    if found == ["whole", "+", "half", "-"] { Ok(()) } else { Err(format!("the log holds {found:?}")) }
}

/// What a consumer of committed records makes of the partition.
fn read_committed(run: &mut Run) -> Result<Vec<String>, String> {
    let (mut values, mut ignored, mut offset) = (Vec::new(), BTreeSet::new(), 0);
    loop {
        let data = fetch_committed(run, offset)?;
        let mut aborted = data.aborted_transactions.unwrap_or_default();
        let bytes = data.records.map(|records| records.to_bytes().map_err(|error| error.to_string()));
        let bytes = bytes.transpose()?.unwrap_or_default();
        if bytes.is_empty() {
            return Ok(values);
        }
        for batch in batches(bytes).map_while(Result::ok) {
            let producer_id = batch.header.producer_id;
            offset = batch.header.next_offset();
            let begun = aborted.extract_if(.., |txn| txn.first_offset <= batch.header.last_offset());
            ignored.extend(begun.map(|txn| txn.producer_id));
            if batch.header.is_control() {
                ignored.remove(&producer_id);
            } else if !ignored.contains(&producer_id) {
                let records = batch.records(1 << 16).into_iter().flatten().map_while(Result::ok);
                let value = |record: Record| String::from_utf8_lossy(&record.value.unwrap_or_default()).into_owned();
                values.extend(records.map(value));
            }
        }
    }
}

fn fetch_committed(run: &mut Run, fetch_offset: i64) -> Result<PartitionData, String> {
    let partition = FetchPartition { fetch_offset, partition_max_bytes: 1 << 20, ..FetchPartition::default() };
    let topic = FetchTopic { topic: TOPIC.to_owned(), partitions: vec![partition], ..FetchTopic::default() };
    let request =
        FetchRequest { max_bytes: 1 << 20, isolation_level: 1, topics: vec![topic], ..FetchRequest::default() };
    let error = |response: &FetchResponse| {
        response.responses.first().and_then(|topic| topic.partitions.first()).map_or(-1, |data| data.error_code)
    };
    let mut response = ask_until_done(run, leader, (&request, 11), error)?;
    response.responses.pop().and_then(|mut topic| topic.partitions.pop()).ok_or("no partition".to_owned())
}

/// Reads the partition before and after each end of some transactions.
fn read_all_the_while(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    let (coordinator, mut producer) = begin(run, rng)?;
    let mut committed: Vec<String> = Vec::new();
    let mut sequence = 0;
    for number in 0..6 {
        let value = format!("value {number}");
        write(run, (producer.0, producer.1, sequence), &value)?;
        let found = read_committed(run)?;
        if found != committed {
            return Err(format!("{found:?} is read while a transaction is open, and only {committed:?} is committed"));
        }
        let is_commit = rng.bool();
        let next = end_until_done(run, coordinator, producer, is_commit)?;
        // Sequence numbers go on unless the producer has another epoch.
        sequence = if next == producer { sequence + 1 } else { 0 };
        producer = next;
        let ends = 2 * (number + 1);
        run.run_until("the end has its marker", 30 * SECOND, |world| log(world).len() == ends)?;
        if is_commit {
            committed.push(value);
        }
        wait(run, 1_000)?;
        let found = read_committed(run)?;
        if found != committed {
            return Err(format!("{found:?} is read, and {committed:?} is committed"));
        }
    }
    Ok(())
}

/// A second instance of the producer writes, and the first one, which does not know of it, commits.
fn succeeded(run: &mut Run, rng: &mut Rng) -> Result<(), String> {
    let (coordinator, first) = begin(run, rng)?;
    let second = instance(run, coordinator)?;
    write(run, (second.0, second.1, 0), "half")?;
    wait(run, rng.u64(1..1_000))?;
    let late = ask(run, broker(&run.world, coordinator), &end(first, true), 5)?;
    if late.error_code == ErrorCode::None.code() {
        return Err(format!("{first:?} commits what {second:?} has begun"));
    }
    end_until_done(run, coordinator, second, false)?;
    run.run_until("the end has its marker", 30 * SECOND, |world| log(world).len() == 2)?;
    let found = log(&run.world);
    if found == ["half", "-"] { Ok(()) } else { Err(format!("the log holds {found:?}")) }
}
