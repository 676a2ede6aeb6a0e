//! The pieces that every produce, fetch and znode request runs through, each alone: `make bench-micro`. Never starts a server.
#![allow(missing_docs, reason = "criterion's macros make functions")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::log::{AppendOrigin, Log, LogConfig, OpenState};
use broker::server::disk::StdDisk;
use bytes::{Bytes, BytesMut};
use common::Rng;
use common::kafka::batch::{self, BatchHeader, BatchSpec, Record};
use common::time::{Millis, Now, WallMillis};
use common::zk::frame;
use common::zk::jute::Reader;
use common::zk::opcode::OpCode;
use common::zk::request::Request;
use coordinator::tree::Tree;
use coordinator::tree::txn::{Create, SetData, Txn, TxnBody};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const NOW: Now = Now { mono: Millis(1), wall: WallMillis(1_700_000_000_000) };
/// After this many appends the log begins anew: 64 MiB of 16 KiB batches.
const APPENDS_PER_LOG: u64 = 4096;

/// A batch of about `bytes` bytes in records of `value` bytes, as a producer sends it.
fn produced(bytes: usize, value: usize) -> Bytes {
    let record = |n| Record {
        offset: i64::try_from(n).expect("few"),
        timestamp: 1_700_000_000_000,
        key: None,
        value: Some(Bytes::from(vec![b'x'; value])),
        headers: Vec::new(),
    };
    let records: Vec<Record> = (0..bytes / (value + 8)).map(record).collect();
    batch::build(&BatchSpec::default(), &records).expect("it fits")
}

fn log(dir: &Path) -> Log {
    let start = OpenState { clean_shutdown: true, recovery_point: 0, log_start_offset: 0, compacted_to: 0 };
    Log::open(Arc::new(StdDisk), dir.join("t-0"), LogConfig::default(), start, NOW).expect("a new log opens")
}

fn batches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch");
    for (name, size, value) in [("16 KiB of 100 B", 16 << 10, 100), ("128 KiB of 1 KiB", 128 << 10, 1 << 10)] {
        let records = produced(size, value);
        group.throughput(Throughput::Bytes(records.len() as u64));
        group.bench_function(format!("header and checksum, {name}"), |bench| {
            bench.iter(|| {
                batch::check_crc(&records).expect("it is right");
                BatchHeader::parse(&records).expect("it is right")
            });
        });
        group.bench_function(format!("append as leader, {name}"), |bench| {
            bench.iter_custom(|iterations| {
                let (mut spent, mut left) = (Duration::ZERO, iterations);
                while left > 0 {
                    let dir = tempfile::tempdir().expect("there is room");
                    let mut log = log(dir.path());
                    let now = left.min(APPENDS_PER_LOG);
                    let begin = Instant::now();
                    for _ in 0..now {
                        log.append_as_leader(&records, 0, AppendOrigin::Client, NOW).expect("it is taken");
                    }
                    spent += begin.elapsed();
                    left -= now;
                }
                spent
            });
        });
    }
    group.finish();
}

fn fetch(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("there is room");
    let mut log = log(dir.path());
    let records = produced(16 << 10, 100);
    for _ in 0..APPENDS_PER_LOG {
        log.append_as_leader(&records, 0, AppendOrigin::Client, NOW).expect("it is taken");
    }
    let (end, mut rng) = (log.log_end_offset(), Rng::with_seed(1));
    criterion.bench_function("fetch: find 1 MiB at any of 622,592 offsets", |bench| {
        bench.iter(|| log.read(rng.i64(0..end), 1 << 20, end, true).expect("it is there"));
    });
}

fn jute(criterion: &mut Criterion) {
    let request = Request::SetData { path: "/app/config/node-1".into(), data: Some(vec![7; 100].into()), version: -1 };
    let mut framed = BytesMut::new();
    frame::encode_request(1, &request, &mut framed);
    // Behind the frame's length, xid and opcode.
    let body = framed.freeze().slice(12..);
    criterion.bench_function("jute: decode setData of 100 B", |bench| {
        bench.iter(|| Request::decode(OpCode::SetData, &mut Reader::new(body.clone())).expect("it is right"));
    });
    let mut out = BytesMut::new();
    criterion.bench_function("jute: encode setData of 100 B", |bench| {
        bench.iter(|| {
            out.clear();
            frame::encode_request(1, &request, &mut out);
        });
    });
}

fn tree(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tree: apply setData of 100 B");
    for nodes in [1_000_u32, 100_000, 1_000_000] {
        let (mut tree, mut zxid) = (Tree::new(), 0);
        let mut apply = |tree: &mut Tree, body| {
            zxid += 1;
            tree.apply(&Txn { zxid, time: zxid, origin: None, session: 0, cxid: 0, body: Some(body) })
        };
        let data = Some(Bytes::from(vec![7; 100]));
        for node in 0..nodes {
            let create = Create { path: format!("/n{node}"), data: data.clone(), ..Create::default() };
            apply(&mut tree, TxnBody::Create(create));
        }
        tree.take_changes();
        let (mut rng, mut version) = (Rng::with_seed(1), 0);
        group.bench_function(format!("{nodes} znodes"), |bench| {
            bench.iter_batched(
                || {
                    version += 1;
                    TxnBody::SetData(SetData { path: format!("/n{}", rng.u32(0..nodes)), data: data.clone(), version })
                },
                |body| {
                    apply(&mut tree, body);
                    tree.take_changes()
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = hot_paths;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
    targets = batches, fetch, jute, tree
}
criterion_main!(hot_paths);
