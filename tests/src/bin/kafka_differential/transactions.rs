//! Cases of transactions: each version of each API walks through its life, with mistakes on the way.

use crate::data::{batch, fetch, produce, records};
use crate::mask::Facts;
use crate::{Pair, admin};
use common::kafka::batch::BatchSpec;
use common::kafka::messages::*;

fn init(id: Option<&str>, timeout_ms: i32, producer: (i64, i16)) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: id.map(str::to_owned),
        transaction_timeout_ms: timeout_ms,
        producer_id: producer.0,
        producer_epoch: producer.1,
    }
}

fn add(version: i16, id: &str, producer: (i64, i16), places: &[(&str, i32)]) -> AddPartitionsToTxnRequest {
    let topics: Vec<_> = places
        .iter()
        .map(|(name, partition)| add_partitions_to_txn::AddPartitionsToTxnTopic {
            name: (*name).into(),
            partitions: vec![*partition],
        })
        .collect();
    if version < 4 {
        return AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: id.into(),
            v3_and_below_producer_id: producer.0,
            v3_and_below_producer_epoch: producer.1,
            v3_and_below_topics: topics,
            ..Default::default()
        };
    }
    AddPartitionsToTxnRequest {
        transactions: vec![add_partitions_to_txn::AddPartitionsToTxnTransaction {
            transactional_id: id.into(),
            producer_id: producer.0,
            producer_epoch: producer.1,
            verify_only: false,
            topics,
        }],
        ..Default::default()
    }
}

fn add_offsets(id: &str, producer: (i64, i16), group: &str) -> AddOffsetsToTxnRequest {
    AddOffsetsToTxnRequest {
        transactional_id: id.into(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        group_id: group.into(),
    }
}

fn end(id: &str, producer: (i64, i16), committed: bool) -> EndTxnRequest {
    EndTxnRequest { transactional_id: id.into(), producer_id: producer.0, producer_epoch: producer.1, committed }
}

fn offsets(version: i16, id: &str, producer: (i64, i16), group: &str, place: (&str, i32)) -> TxnOffsetCommitRequest {
    let partition = txn_offset_commit::TxnOffsetCommitRequestPartition {
        partition_index: place.1,
        committed_offset: i64::from(version) + 3,
        committed_metadata: Some("m".into()),
        ..Default::default()
    };
    TxnOffsetCommitRequest {
        transactional_id: id.into(),
        group_id: group.into(),
        producer_id: producer.0,
        producer_epoch: producer.1,
        topics: vec![txn_offset_commit::TxnOffsetCommitRequestTopic {
            name: place.0.into(),
            partitions: vec![partition],
        }],
        ..Default::default()
    }
}

pub(crate) fn run(pair: &mut Pair) {
    admin::prepare(pair);
    ready(pair);
    pair.each("no transactional id", |_, _| init(None, 1000, (-1, -1)));
    pair.each("an empty transactional id", |_, _| init(Some(""), 1000, (-1, -1)));
    for timeout_ms in [0, -1, i32::MAX] {
        pair.each("a timeout that may not be", |_, _| init(Some("timeouts"), timeout_ms, (-1, -1)));
    }
    pair.each("a producer without epoch", |_, version| {
        init(Some("x"), 1000, if version < 3 { (-1, -1) } else { (5, -1) })
    });
    pair.each("an epoch without producer", |_, version| {
        init(Some("x"), 1000, if version < 3 { (-1, -1) } else { (-1, 5) })
    });
    pair.each("a producer of its own invention", |_, version| {
        init(Some("x"), 1000, if version < 3 { (-1, -1) } else { (555, 5) })
    });
    strangers(pair);
    for version in pair.versions::<InitProducerIdRequest>() {
        life(pair, version);
    }
    views(pair);
    markers(pair);
}

fn ready(pair: &mut Pair) {
    pair.both(|side| {
        loop {
            let request = FindCoordinatorRequest { key: "ready".into(), key_type: 1, ..Default::default() };
            let is_found = side.ask(0, 1, &request).answer().error_code == 0;
            if is_found && side.ask(0, 1, &init(Some("ready"), 1000, (-1, -1))).answer().error_code == 0 {
                return;
            }
            crate::pause();
        }
    });
}

fn strangers(pair: &mut Pair) {
    for id in ["nobody", ""] {
        pair.each("a stranger's partitions", |_, version| add(version, id, (1, 0), &[("t", 0)]));
        pair.each("a stranger's offsets", |_, _| add_offsets(id, (1, 0), "g"));
        pair.each("a stranger's end", |_, _| end(id, (1, 0), true));
        pair.each("a stranger's commit", |_, version| offsets(version, id, (1, 0), "g", ("t", 0)));
    }
}

/// One transactional id, from its beginning to its fencing. `version` is InitProducerId's; the other APIs follow in it as far as they go.
fn life(pair: &mut Pair, version: i16) {
    let id = format!("life{version}");
    let of = |facts: &Facts| (facts.number("producer"), facts.number("epoch") as i16);
    let begin = |pair: &mut Pair, what: &str, make: &dyn Fn(&Facts) -> InitProducerIdRequest| {
        let Some((theirs, ours)) = pair.ask(what, version, make) else { return };
        for (facts, answer) in [(&mut pair.theirs.facts, theirs.answer()), (&mut pair.ours.facts, ours.answer())] {
            if answer.error_code == 0 {
                facts.numbers.insert("producer".into(), answer.producer_id);
                facts.numbers.insert("epoch".into(), answer.producer_epoch.into());
            }
        }
    };
    begin(pair, "begins", &|_| init(Some(&id), 60_000, (-1, -1)));
    pair.each("an end without a beginning", |facts, _| end(&id, of(facts), true));
    pair.each("an abort without a beginning", |facts, _| end(&id, of(facts), false));
    let bad: [&[(&str, i32)]; 5] = [&[("nobody", 0)], &[("t", 9)], &[("t", 0), ("nobody", 0)], &[("a b", 0)], &[]];
    for places in bad {
        pair.each("bad partitions", |facts, version| add(version, &id, of(facts), places));
    }
    pair.each("another producer", |facts, version| add(version, &id, (of(facts).0 + 1000, 0), &[("t", 0)]));
    pair.each("another epoch", |facts, version| add(version, &id, (of(facts).0, of(facts).1 + 1), &[("t", 0)]));
    pair.each("partitions", |facts, version| add(version, &id, of(facts), &[("t", 0), ("compacted", 0)]));
    pair.each("the same again", |facts, version| add(version, &id, of(facts), &[("t", 0)]));
    let group = format!("txn{version}");
    pair.each("offsets of a group", |facts, _| add_offsets(&id, of(facts), &group));
    pair.each("offsets of no group", |facts, _| add_offsets(&id, of(facts), ""));
    pair.each("offsets", |facts, version| offsets(version, &id, of(facts), &group, ("t", 1)));
    pair.each("offsets of no topic", |facts, version| offsets(version, &id, of(facts), &group, ("nobody", 1)));
    pair.each("offsets of a group without name", |facts, version| offsets(version, &id, of(facts), "", ("t", 1)));
    pair.each("unstable offsets", |_, version| {
        let asked: &[(&str, &[i32])] = &[("t", &[0, 1])];
        OffsetFetchRequest { require_stable: version >= 7, ..crate::groups::committed(version, &[&group], Some(asked)) }
    });
    let write = |facts: &Facts, topic: &str, partition: i32, sequence: i32| {
        let (producer_id, producer_epoch) = of(facts);
        let spec = BatchSpec {
            producer_id,
            producer_epoch,
            base_sequence: sequence,
            is_transactional: true,
            ..BatchSpec::default()
        };
        ProduceRequest {
            transactional_id: Some(id.clone()),
            ..produce(topic, partition, Some(batch(&spec, &records(2, 4))))
        }
    };
    pair.ask("writes", 11, |facts| write(facts, "t", 0, 0));
    pair.ask("writes to a partition that is not in it", 11, |facts| write(facts, "t", 2, 0));
    pair.ask("writes without its id", 11, |facts| ProduceRequest { transactional_id: None, ..write(facts, "t", 0, 2) });
    for isolation_level in [0, 1] {
        pair.each("what readers see", |facts, version| FetchRequest {
            isolation_level,
            ..fetch(facts, version, &[("t", 0, 0, -1, -1, 1 << 20)])
        });
        pair.each("where it ends for them", |_, version| ListOffsetsRequest {
            replica_id: -1,
            isolation_level: if version < 2 { 0 } else { isolation_level },
            topics: vec![list_offsets::ListOffsetsTopic {
                name: "t".into(),
                partitions: vec![list_offsets::ListOffsetsPartition { timestamp: -1, ..Default::default() }],
            }],
            ..Default::default()
        });
    }
    pair.each("described while it is open", |_, _| DescribeTransactionsRequest {
        transactional_ids: vec![id.clone(), "nobody".into(), String::new()],
    });
    pair.ask("producers while it is open", 0, |_| DescribeProducersRequest {
        topics: vec![describe_producers::TopicRequest { name: "t".into(), partition_indexes: vec![0] }],
    });
    pair.ask("an end of another epoch", version.min(3), |facts| end(&id, (of(facts).0, of(facts).1 + 1), true));
    pair.ask("an end of another producer", version.min(3), |facts| end(&id, (of(facts).0 + 1000, of(facts).1), true));
    pair.ask("the end", version.min(3), |facts| end(&id, of(facts), version % 2 == 0));
    settled(pair, &id);
    pair.ask("the same end again", version.min(3), |facts| end(&id, of(facts), version % 2 == 0));
    pair.ask("the other end", version.min(3), |facts| end(&id, of(facts), version % 2 != 0));
    pair.each("what readers see then", |facts, version| FetchRequest {
        isolation_level: 1,
        ..fetch(facts, version, &[("t", 0, 0, -1, -1, 1 << 20)])
    });
    begin(pair, "begins again", &|_| init(Some(&id), 60_000, (-1, -1)));
    if version >= 3 {
        begin(pair, "goes on with its epoch", &|facts| init(Some(&id), 60_000, of(facts)));
        begin(pair, "goes on with an old epoch", &|facts| init(Some(&id), 60_000, (of(facts).0, 0)));
    }
    let old = |facts: &Facts| (of(facts).0, of(facts).1 - 1);
    pair.each("the fenced one adds", |facts, version| add(version, &id, old(facts), &[("t", 0)]));
    pair.each("the fenced one adds offsets", |facts, _| add_offsets(&id, old(facts), "g"));
    pair.each("the fenced one ends", |facts, _| end(&id, old(facts), true));
    pair.each("the fenced one's offsets", |facts, version| offsets(version, &id, old(facts), "g", ("t", 0)));
}

/// Waits until the markers of the last end are written.
fn settled(pair: &mut Pair, id: &str) {
    pair.both(|side| {
        loop {
            let request = DescribeTransactionsRequest { transactional_ids: vec![id.to_owned()] };
            if side.ask(0, 0, &request).answer().transaction_states[0].transaction_state.starts_with("Complete") {
                return;
            }
            crate::pause();
        }
    });
}

fn views(pair: &mut Pair) {
    for (states, producers) in
        [(vec![], vec![]), (vec!["Ongoing"], vec![]), (vec!["Nonsense", "Empty"], vec![]), (vec![], vec![3, 99999])]
    {
        for duration_filter in [-1, 0, 1_000_000] {
            let what = if duration_filter > 0 { "transactions open for long" } else { "transactions" };
            pair.each(what, |_, version| ListTransactionsRequest {
                state_filters: states.iter().map(|state: &&str| (*state).to_owned()).collect(),
                producer_id_filters: producers.clone(),
                duration_filter: if version < 1 { -1 } else { duration_filter },
                ..Default::default()
            });
        }
    }
}

fn markers(pair: &mut Pair) {
    for (topic, partition, epoch) in [("t", 1, 0), ("t", 9, 0), ("nobody", 0, 0), ("t", 1, -5)] {
        pair.each("markers", |_, _| WriteTxnMarkersRequest {
            markers: vec![write_txn_markers::WritableTxnMarker {
                producer_id: 88_888,
                producer_epoch: 0,
                transaction_result: true,
                topics: vec![write_txn_markers::WritableTxnMarkerTopic {
                    name: topic.into(),
                    partition_indexes: vec![partition],
                }],
                coordinator_epoch: epoch,
                ..Default::default()
            }],
        });
    }
}
