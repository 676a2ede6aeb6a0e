//! Compaction over real files: what a reader sees before and after.

use super::super::{AppendOrigin, OpenState};
use super::*;
use crate::server::disk::StdDisk;
use common::Rng;
use common::kafka::compression::Compression;
use common::kafka::control::{TxnMarker, marker_batch};
use common::time::WallMillis;
use tempfile::TempDir;

const MAP_BYTES: usize = 1 << 20;

fn at(wall: i64) -> Now {
    Now { mono: Millis(wall as u64), wall: WallMillis(wall) }
}

fn config() -> LogConfig {
    LogConfig {
        cleanup_compact: true,
        cleanup_delete: false,
        segment_bytes: 600,
        index_interval_bytes: 100,
        delete_retention_ms: 100,
        min_cleanable_dirty_ratio: 0.0,
        ..LogConfig::default()
    }
}

fn open(root: &TempDir, config: &LogConfig, clean_shutdown: bool) -> Log {
    let start = OpenState { clean_shutdown, recovery_point: 0, log_start_offset: 0, compacted_to: 0 };
    Log::open(Arc::new(StdDisk), root.path().join("topic-0"), config.clone(), start, at(1000)).unwrap()
}

fn record(number: usize, key: &str, value: Option<&str>) -> Record {
    Record {
        offset: number as i64,
        timestamp: 1000 + number as i64,
        key: Some(key.to_owned().into()),
        value: value.map(|value| value.to_owned().into()),
        headers: Vec::new(),
    }
}

fn put(log: &mut Log, spec: BatchSpec, pairs: &[(&str, Option<&str>)]) {
    let records: Vec<Record> =
        pairs.iter().enumerate().map(|(number, (key, value))| record(number, key, *value)).collect();
    let batch = batch::build(&spec, &records).unwrap();
    log.append_as_leader(&batch, 0, AppendOrigin::Client, at(1000)).unwrap();
}

fn end_txn(log: &mut Log, producer_id: i64, is_commit: bool) {
    let marker = TxnMarker { producer_id, producer_epoch: 0, is_commit, coordinator_epoch: 1 };
    let batch = marker_batch(&marker, 0, -1, 1000).unwrap();
    log.append_as_leader(&batch, 0, AppendOrigin::Coordinator, at(1000)).unwrap();
}

fn from(producer_id: i64, base_sequence: i32, is_transactional: bool) -> BatchSpec {
    BatchSpec { producer_id, producer_epoch: 0, base_sequence, is_transactional, ..BatchSpec::default() }
}

/// Compacts from `first_dirty` on; the new first dirty offset.
fn compact(log: &mut Log, first_dirty: Option<i64>, now: i64, map_bytes: usize) -> Option<i64> {
    let state = log.compaction_state(first_dirty, log.log_end_offset(), at(now)).unwrap();
    let compaction = log.start_compaction(state, at(now)).unwrap()?;
    let compacted = compaction.run(map_bytes, &mut |_| {}).unwrap();
    log.finish_compaction(compacted, at(now)).unwrap()
}

/// Rolls so that all so far can be compacted.
fn roll(log: &mut Log) {
    log.roll(log.log_end_offset(), at(1000)).unwrap();
}

fn batches(log: &Log) -> Vec<Batch> {
    let (mut found, mut next) = (Vec::new(), log.log_start_offset());
    while next < log.log_end_offset() {
        let read = log.read(next, 1000, log.log_end_offset(), true).unwrap();
        let Some(records) = read.records else { break };
        for batch in batch::batches(records.read().unwrap().into()) {
            let Ok(batch) = batch else { break };
            batch.check_crc().unwrap();
            next = batch.header.next_offset();
            found.push(batch);
        }
    }
    found
}

/// Offset, key, value of all data records.
fn contents(log: &Log) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: &bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let mut found = Vec::new();
    for batch in batches(log).iter().filter(|batch| !batch.header.is_control()) {
        for record in batch.records(MAP_BYTES).unwrap() {
            let record = record.unwrap();
            found.push((record.offset, text(record.key.as_ref().unwrap()), record.value.as_ref().map(text)));
        }
    }
    found
}

fn short(log: &Log) -> String {
    let words: Vec<String> = contents(log)
        .into_iter()
        .map(|(offset, key, value)| format!("{offset}:{key}={}", value.as_deref().unwrap_or("-")))
        .collect();
    words.join(" ")
}

#[test]
fn the_last_value_of_each_key_stays() {
    for compression in [Compression::None, Compression::Zstd] {
        let root = tempfile::tempdir().unwrap();
        let mut log = open(&root, &config(), true);
        let spec = BatchSpec { compression, ..BatchSpec::default() };
        put(&mut log, spec, &[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))]);
        put(&mut log, spec, &[("c", Some("1"))]);
        roll(&mut log);
        put(&mut log, spec, &[("b", Some("2")), ("d", Some("1"))]);
        roll(&mut log);
        put(&mut log, spec, &[("c", Some("9")), ("d", Some("9"))]);

        assert_eq!(compact(&mut log, None, 1000, MAP_BYTES), Some(6));
        // The active segment is neither compacted nor looked at for keys.
        assert_eq!(short(&log), "2:a=2 3:c=1 4:b=2 5:d=1 6:c=9 7:d=9");
        assert_eq!(log.segment_count(), 2, "two small segments became one");
        let header = batches(&log)[0].header;
        assert_eq!((header.base_offset, header.last_offset(), header.record_count), (0, 2, 1));
        assert_eq!(header.compression().unwrap(), compression);
        for clean_shutdown in [true, false] {
            let log = open(&root, &config(), clean_shutdown);
            assert_eq!(short(&log), "2:a=2 3:c=1 4:b=2 5:d=1 6:c=9 7:d=9");
        }
        let state = log.compaction_state(Some(6), 8, at(1000)).unwrap();
        assert_eq!((state.dirty_bytes, state.is_due), (0, false));
        roll(&mut log);
        assert_eq!(compact(&mut log, Some(6), 1000, MAP_BYTES), Some(8));
        assert_eq!(short(&log), "2:a=2 4:b=2 6:c=9 7:d=9");
    }
}

#[test]
fn tombstones_go_after_their_retention() {
    let root = tempfile::tempdir().unwrap();
    let mut log = open(&root, &config(), true);
    put(&mut log, BatchSpec::default(), &[("a", Some("1")), ("b", Some("1"))]);
    put(&mut log, BatchSpec::default(), &[("a", None), ("c", Some("1"))]);
    roll(&mut log);
    compact(&mut log, None, 2000, MAP_BYTES).unwrap();
    assert_eq!(short(&log), "1:b=1 2:a=- 3:c=1");
    let horizons: Vec<_> = batches(&log).iter().map(|batch| batch.header.delete_horizon_ms()).collect();
    assert_eq!(horizons, [None, Some(2100)]);
    let timestamps: Vec<i64> =
        batches(&log)[1].records(1000).unwrap().map(|record| record.unwrap().timestamp).collect();
    assert_eq!(timestamps, [1000, 1001]);
    for (now, expected) in [(2099, "1:b=1 2:a=- 3:c=1"), (2100, "1:b=1 3:c=1")] {
        put(&mut log, BatchSpec::default(), &[("z", Some("1"))]);
        roll(&mut log);
        compact(&mut log, None, now, MAP_BYTES).unwrap();
        assert!(short(&log).starts_with(expected), "{now}: {}", short(&log));
    }
}

#[test]
fn the_last_batch_of_a_producer_stays_empty() {
    let root = tempfile::tempdir().unwrap();
    let mut log = open(&root, &config(), true);
    put(&mut log, from(1, 0, false), &[("a", Some("1"))]);
    put(&mut log, from(1, 1, false), &[("a", Some("2")), ("b", Some("2"))]);
    put(&mut log, from(2, 0, false), &[("a", Some("3")), ("b", Some("3"))]);
    roll(&mut log);
    for _ in 0..2 {
        compact(&mut log, None, 1000, MAP_BYTES).unwrap();
        assert_eq!(short(&log), "3:a=3 4:b=3");
        let headers: Vec<(i64, i64, i32, i32)> = batches(&log)
            .iter()
            .map(|batch| batch.header)
            .map(|header| (header.base_offset, header.last_offset(), header.base_sequence, header.record_count))
            .collect();
        assert_eq!(headers, [(1, 2, 1, 0), (3, 4, 0, 2)]);
    }
    for entry in StdDisk.read_dir(log.dir()).unwrap().iter().filter(|entry| entry.name.ends_with(".snapshot")) {
        std::fs::remove_file(log.dir().join(&entry.name)).unwrap();
    }
    let log = open(&root, &config(), false);
    assert_eq!(log.producers().get(1).unwrap().last_sequence(), 2);
}

#[test]
fn aborted_records_go_and_their_markers_later() {
    let root = tempfile::tempdir().unwrap();
    let mut log = open(&root, &config(), true);
    put(&mut log, from(1, 0, true), &[("a", Some("aborted")), ("b", Some("aborted"))]); // 0 1
    put(&mut log, from(2, 0, true), &[("a", Some("committed"))]); // 2
    put(&mut log, from(1, 2, true), &[("a", Some("aborted"))]); // 3
    end_txn(&mut log, 1, false); // 4
    end_txn(&mut log, 2, true); // 5
    put(&mut log, from(2, 1, true), &[("x", Some("open"))]); // 6
    roll(&mut log);
    // The open transaction is in the same segment, so nothing may be compacted yet.
    assert_eq!(log.last_stable_offset(7), 6);
    assert_eq!(compact(&mut log, None, 1000, MAP_BYTES), None);
    end_txn(&mut log, 2, true); // 7
    roll(&mut log);
    let offsets = |log: &Log| -> Vec<(i64, i32)> {
        batches(log).iter().map(|batch| (batch.header.base_offset, batch.header.record_count)).collect()
    };
    compact(&mut log, None, 1000, MAP_BYTES).unwrap();
    assert_eq!(short(&log), "2:a=committed 6:x=open");
    // The batch at 3 is the last of producer 1.
    assert_eq!(offsets(&log), [(2, 1), (3, 0), (4, 1), (5, 1), (6, 1), (7, 1)]);
    assert_eq!(log.aborted_transactions(0, 8).unwrap().len(), 1);
    log.remove_expired_producers(at(1 << 40));
    compact(&mut log, None, 2000, MAP_BYTES).unwrap();
    assert_eq!(offsets(&log), [(2, 1), (4, 1), (5, 1), (6, 1), (7, 1)]);
    compact(&mut log, None, 2001, MAP_BYTES).unwrap();
    compact(&mut log, None, 2200, MAP_BYTES).unwrap();
    assert_eq!(offsets(&log), [(2, 1), (5, 1), (6, 1), (7, 1)]);
    assert_eq!(log.aborted_transactions(0, 8).unwrap(), []);
}

#[test]
fn young_records_and_small_dirty_parts_wait() {
    let root = tempfile::tempdir().unwrap();
    let lagging = LogConfig {
        min_compaction_lag_ms: 500,
        max_compaction_lag_ms: 10_000,
        min_cleanable_dirty_ratio: 0.5,
        ..config()
    };
    let mut log = open(&root, &lagging, true);
    for number in 0..4 {
        put(&mut log, BatchSpec::default(), &[("a", Some(["1", "2", "3", "4"][number]))]);
        roll(&mut log);
    }
    for (first_dirty, now, first_uncleanable, is_due) in [
        (None, 1499, 0, false), // all records at 1000 are younger than the lag
        (None, 1500, 4, true),
        (Some(2), 1501, 4, false), // half is dirty: not more than half
        (Some(1), 1501, 4, true),
        (Some(2), 11_001, 4, true), // older than the maximal lag
        (Some(99), 1501, 4, true),  // beyond the log: all is dirty
    ] {
        let state = log.compaction_state(first_dirty, 4, at(now)).unwrap();
        assert_eq!(
            (state.first_uncleanable_offset, state.is_due),
            (first_uncleanable, is_due),
            "{first_dirty:?} {now}"
        );
    }
    // The high watermark is a limit, too.
    assert_eq!(log.compaction_state(None, 2, at(1501)).unwrap().first_uncleanable_offset, 2);
}

#[test]
fn a_compaction_of_what_has_changed_is_dropped() {
    let root = tempfile::tempdir().unwrap();
    let mut log = open(&root, &config(), true);
    for value in ["1", "2", "3"] {
        put(&mut log, BatchSpec::default(), &[("a", Some(value))]);
        roll(&mut log);
    }
    let state = log.compaction_state(None, 3, at(1000)).unwrap();
    let compacted = log.start_compaction(state, at(1000)).unwrap().unwrap().run(MAP_BYTES, &mut |_| {}).unwrap();
    log.truncate_to(2).unwrap();
    assert_eq!(log.finish_compaction(compacted, at(1000)).unwrap(), None);
    assert_eq!(short(&log), "0:a=1 1:a=2");
    let names = StdDisk.read_dir(log.dir()).unwrap();
    assert!(names.iter().all(|entry| !entry.name.ends_with(".cleaned")), "{names:?}");
}

/// Random histories, memory limits and restarts: a reader of the whole log always ends with the same table, and every
/// record that stays has the offset it was given.
#[test]
fn random_histories_keep_their_tables() {
    for seed in 0..8 {
        let mut rng = Rng::with_seed(seed);
        let root = tempfile::tempdir().unwrap();
        let mut log = open(&root, &config(), true);
        let mut table: BTreeMap<String, (i64, Option<String>)> = BTreeMap::new();
        let mut first_dirty = None;
        let mut now = 1000;
        for step in 0..80 {
            now += 30;
            match rng.u8(..10) {
                0..6 => {
                    let pairs: Vec<(String, Option<String>)> = (0..rng.usize(1..4))
                        .map(|_| (format!("k{}", rng.u8(..12)), rng.bool().then(|| format!("v{step}"))))
                        .collect();
                    for (number, (key, value)) in pairs.iter().enumerate() {
                        table.insert(key.clone(), (log.log_end_offset() + number as i64, value.clone()));
                    }
                    let pairs: Vec<(&str, Option<&str>)> =
                        pairs.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
                    put(&mut log, BatchSpec::default(), &pairs);
                }
                6 => roll(&mut log),
                7..9 => {
                    let map_bytes = if rng.bool() { MAP_BYTES } else { rng.usize(1..500) };
                    first_dirty = compact(&mut log, first_dirty, now, map_bytes).or(first_dirty);
                }
                _ => {
                    let clean_shutdown = rng.bool();
                    if clean_shutdown {
                        log.close().unwrap();
                    }
                    log = open(&root, &config(), clean_shutdown);
                }
            }
            let mut found: BTreeMap<String, (i64, Option<String>)> = BTreeMap::new();
            for (offset, key, value) in contents(&log) {
                found.insert(key, (offset, value));
            }
            // A tombstone may be gone for good.
            let live = |table: &BTreeMap<String, (i64, Option<String>)>| {
                table.iter().filter(|(_, (_, value))| value.is_some()).map(|(k, v)| (k.clone(), v.clone())).collect()
            };
            let (found, expected): (Vec<_>, Vec<_>) = (live(&found), live(&table));
            assert_eq!(found, expected, "seed {seed} step {step}");
        }
    }
}
