//! The log as its owner sees it, over real files in a temporary directory.

use super::*;
use crate::log::epochs::EpochEntry;
use crate::server::disk::StdDisk;
use common::time::WallMillis;
use std::collections::BTreeSet;
use tempfile::TempDir;

mod faults;

/// A batch to be built: one record per element of `timestamps`, keys and values made of their numbers.
#[derive(Clone)]
struct TestBatch {
    base_offset: i64,
    leader_epoch: i32,
    attributes: i16,
    timestamps: Vec<i64>,
    producer: (i64, i16, i32),
    value_bytes: usize,
    has_keys: bool,
    /// Content of a transaction marker: commit?, coordinator epoch.
    marker: Option<(bool, i32)>,
}

impl Default for TestBatch {
    fn default() -> TestBatch {
        TestBatch {
            base_offset: 0,
            leader_epoch: -1,
            attributes: 0,
            timestamps: vec![1000],
            producer: (-1, -1, -1),
            value_bytes: 10,
            has_keys: true,
            marker: None,
        }
    }
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

fn put_field(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_varint(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
        None => put_varint(out, -1),
    }
}

impl TestBatch {
    fn records(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let base = self.timestamps.first().copied().unwrap_or(-1);
        for (number, timestamp) in self.timestamps.iter().enumerate() {
            let mut record = vec![0];
            put_varint(&mut record, timestamp - base);
            put_varint(&mut record, number as i64);
            match self.marker {
                Some((is_commit, coordinator_epoch)) => {
                    put_field(&mut record, Some(&[0, 0, 0, u8::from(is_commit)]));
                    let value = [&[0, 0][..], &coordinator_epoch.to_be_bytes()].concat();
                    put_field(&mut record, Some(&value));
                }
                None => {
                    let key = format!("key-{number}");
                    put_field(&mut record, self.has_keys.then_some(key.as_bytes()));
                    put_field(&mut record, Some(&vec![b'v'; self.value_bytes]));
                }
            }
            put_varint(&mut record, 0);
            put_varint(&mut out, record.len() as i64);
            out.extend(record);
        }
        out
    }

    fn build(&self) -> Vec<u8> {
        let count = self.timestamps.len() as i32;
        let mut tail = Vec::new();
        let control = if self.marker.is_some() { 0x30 } else { 0 };
        tail.extend((self.attributes | control).to_be_bytes());
        tail.extend((count - 1).to_be_bytes());
        tail.extend(self.timestamps.first().copied().unwrap_or(-1).to_be_bytes());
        tail.extend(self.timestamps.iter().max().copied().unwrap_or(-1).to_be_bytes());
        tail.extend(self.producer.0.to_be_bytes());
        tail.extend(self.producer.1.to_be_bytes());
        tail.extend(self.producer.2.to_be_bytes());
        tail.extend(count.to_be_bytes());
        tail.extend(self.records());
        let mut out = Vec::new();
        out.extend(self.base_offset.to_be_bytes());
        out.extend((tail.len() as i32 + 9).to_be_bytes());
        out.extend(self.leader_epoch.to_be_bytes());
        out.push(2);
        out.extend(crc32c::crc32c(&tail).to_be_bytes());
        out.extend(tail);
        out
    }
}

fn batch(records: usize) -> TestBatch {
    TestBatch { timestamps: vec![1000; records], ..TestBatch::default() }
}

fn at(wall: i64) -> Now {
    Now { mono: Millis(wall as u64), wall: WallMillis(wall) }
}

const CLEAN: OpenState = OpenState { clean_shutdown: true, recovery_point: 0, log_start_offset: 0, compacted_to: 0 };
const UNCLEAN: OpenState = OpenState { clean_shutdown: false, recovery_point: 0, log_start_offset: 0, compacted_to: 0 };

struct Place {
    root: TempDir,
    config: LogConfig,
}

impl Place {
    fn new(config: LogConfig) -> Place {
        Place { root: tempfile::tempdir().unwrap(), config }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("topic-0")
    }

    fn open(&self, start: OpenState) -> Log {
        Log::open(Arc::new(StdDisk), self.dir(), self.config.clone(), start, at(1000)).unwrap()
    }

    fn files(&self) -> Vec<String> {
        StdDisk.read_dir(&self.dir()).unwrap().into_iter().map(|entry| entry.name).collect()
    }
}

fn small_segments() -> LogConfig {
    LogConfig { segment_bytes: 1000, index_interval_bytes: 100, ..LogConfig::default() }
}

/// A snapshot of none.
fn no_producers() -> Vec<u8> {
    Place::new(LogConfig::default()).open(CLEAN).producers.snapshot_bytes(0).unwrap()
}

fn append(log: &mut Log, batch: &TestBatch) -> AppendInfo {
    log.append_as_leader(&batch.build(), 0, AppendOrigin::Client, at(1000)).unwrap()
}

fn fill(log: &mut Log, batches: usize) {
    for number in 0..batches {
        append(log, &batch(1 + number % 3));
    }
}

/// Base offsets and last offsets of all batches that a reader gets from `offset` to the log end.
fn read_all(log: &Log, offset: i64) -> Vec<(i64, i64)> {
    let mut found: Vec<(i64, i64)> = Vec::new();
    let mut next = offset;
    while next < log.log_end_offset() {
        let read = log.read(next, 300, log.log_end_offset(), true).unwrap();
        // A truncation inside of a batch leaves offsets without a record at the end.
        let Some(records) = read.records else { break };
        let bytes = records.read().unwrap();
        let mut rest = &bytes[..];
        while let Some(header) = check::first_batch(rest).unwrap() {
            check::check_crc(&header, &rest[..header.size_bytes()]).unwrap();
            found.push((header.base_offset, header.last_offset()));
            next = header.last_offset() + 1;
            rest = &rest[header.size_bytes()..];
        }
    }
    found
}

#[test]
fn appends_get_offsets_and_are_read_back() {
    let place = Place::new(LogConfig::default());
    let mut log = place.open(CLEAN);
    let info = log.append_as_leader(&batch(3).build(), 5, AppendOrigin::Client, at(1000)).unwrap();
    assert_eq!((info.first_offset, info.last_offset, info.log_append_time, info.duplicate), (0, 2, -1, false));
    let two = [batch(1).build(), batch(2).build()].concat();
    let info = log.append_as_leader(&two, 5, AppendOrigin::Client, at(1000)).unwrap();
    assert_eq!((info.first_offset, info.last_offset, info.size_bytes as usize), (3, 5, two.len()));
    assert_eq!(log.log_end_offset(), 6);
    assert_eq!(log.latest_epoch(), Some(5));
    assert_eq!(read_all(&log, 0), [(0, 2), (3, 3), (4, 5)]);
    assert_eq!(read_all(&log, 2), [(0, 2), (3, 3), (4, 5)]);
    assert_eq!(read_all(&log, 5), [(4, 5)]);

    let first = log.read(1, 1 << 20, 6, true).unwrap().records.unwrap().read().unwrap();
    let header = BatchHeader::parse(&first).unwrap();
    assert_eq!((header.partition_leader_epoch, header.base_offset, header.max_timestamp), (5, 0, 1000));
}

#[test]
fn the_brokers_time_replaces_the_producers() {
    let config = LogConfig { message_timestamp_type: TimestampType::LogAppendTime, ..LogConfig::default() };
    let place = Place::new(config);
    let mut log = place.open(CLEAN);
    let info = log.append_as_leader(&batch(2).build(), 0, AppendOrigin::Client, at(777_777)).unwrap();
    assert_eq!((info.log_append_time, info.max_timestamp), (777_777, 777_777));
    let bytes = log.read(0, 1 << 20, 2, true).unwrap().records.unwrap().read().unwrap();
    let header = check::first_batch(&bytes).unwrap().unwrap();
    check::check_crc(&header, &bytes).unwrap();
    assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
    let found = log.offset_for_timestamp(777_777).unwrap().unwrap();
    assert_eq!((found.timestamp, found.offset), (777_777, 0));
}

#[test]
fn reads_respect_their_bounds() {
    let place = Place::new(LogConfig::default());
    let mut log = place.open(CLEAN);
    for _ in 0..4 {
        append(&mut log, &batch(10));
    }
    let size = batch(10).build().len() as u32;
    // offset, max bytes, upper bound, at least one -> bytes, incomplete
    for (offset, max_bytes, bound, at_least_one, bytes, incomplete) in [
        (0, 10 * size, 40, true, Some(4 * size), false),
        (0, 10 * size, 99, true, Some(4 * size), false),
        (0, 10 * size, 30, true, Some(3 * size), false),
        (0, 10 * size, 35, true, Some(3 * size), false),
        (5, 10 * size, 10, true, Some(size), false),
        (0, size + 7, 40, true, Some(size + 7), false),
        (0, 7, 40, true, Some(size), true),
        (0, 7, 40, false, None, true),
        (0, 0, 40, true, Some(size), true),
        (10, 10 * size, 10, true, None, false),
        (12, 10 * size, 10, true, None, false),
        (12, 10 * size, 15, true, None, false),
        (40, 10 * size, 40, true, None, false),
    ] {
        let read = log.read(offset, max_bytes, bound, at_least_one).unwrap();
        let found = (read.records.map(|records| records.len), read.first_entry_incomplete);
        assert_eq!(found, (bytes, incomplete), "read {offset} max {max_bytes} bound {bound} {at_least_one}");
    }
    for offset in [-1, 41] {
        assert!(matches!(log.read(offset, 1, 40, true), Err(ReadError::OffsetOutOfRange { .. })), "{offset}");
    }
}

#[test]
fn segments_roll_and_every_offset_is_found() {
    let place = Place::new(small_segments());
    let mut log = place.open(CLEAN);
    fill(&mut log, 60);
    assert!(log.segment_count() > 5);
    let all = read_all(&log, 0);
    let check_all = |log: &Log| {
        for offset in 0..log.log_end_offset() {
            let read = log.read(offset, 1, log.log_end_offset(), true).unwrap();
            let header = BatchHeader::parse(&read.records.unwrap().read().unwrap()).unwrap();
            assert!(header.base_offset <= offset && offset <= header.last_offset(), "{offset} {header:?}");
            assert_eq!(header.base_offset, read.first_batch_base_offset);
        }
        assert_eq!(read_all(log, 0), all);
    };
    check_all(&log);
    let (end, size) = (log.log_end_offset(), log.size_bytes());
    log.close().unwrap();
    // The first time only the last segment is looked at, the second all are read anew.
    for start in [CLEAN, UNCLEAN] {
        let log = place.open(start);
        assert_eq!((log.log_end_offset(), log.size_bytes()), (end, size));
        check_all(&log);
    }
}

#[test]
fn segments_roll_by_age() {
    let place = Place::new(LogConfig { segment_ms: 500, ..LogConfig::default() });
    let mut log = place.open(CLEAN);
    for (timestamp, segments) in [(1000, 1), (1500, 1), (1501, 2), (1900, 2), (2002, 3), (-1, 3)] {
        append(&mut log, &TestBatch { timestamps: vec![timestamp], ..TestBatch::default() });
        assert_eq!(log.segment_count(), segments, "after {timestamp}");
    }
}

#[test]
fn what_a_leader_refuses_changes_nothing() {
    let place = Place::new(LogConfig {
        max_message_bytes: 500,
        timestamp_before_max_ms: 1000,
        timestamp_after_max_ms: 1000,
        segment_bytes: 800,
        ..LogConfig::default()
    });
    let mut log = place.open(CLEAN);
    append(&mut log, &batch(1));
    let good = batch(2);
    let patched = |at: usize, value: u8| {
        let mut bytes = good.build();
        bytes[at] = value;
        bytes
    };
    let bad = |change: fn(&mut TestBatch)| {
        let mut batch = good.clone();
        change(&mut batch);
        batch.build()
    };
    for (name, bytes) in [
        ("InvalidRecord", vec![]),
        ("InvalidRecord", good.build()[..40].to_vec()),
        ("InvalidRecord", good.build()[..100].to_vec()),
        ("Corrupt", patched(80, 0xff)),
        ("Corrupt", patched(8, 0xff)),
        ("Corrupt", patched(16, 3)),
        ("UnsupportedFormat", patched(16, 1)),
        ("InvalidRecord", bad(|batch| batch.base_offset = 7)),
        ("InvalidRecord", bad(|batch| batch.attributes = 0x20)),
        ("InvalidRecord", bad(|batch| batch.producer = (1, 0, -1))),
        ("InvalidRecord", bad(|batch| batch.timestamps.clear())),
        ("InvalidTimestamp", bad(|batch| batch.attributes = 8)),
        ("TimestampsOutOfRange", bad(|batch| batch.timestamps[0] = 5000)),
        ("TimestampsOutOfRange", bad(|batch| batch.timestamps[0] = -5000)),
        ("RecordTooLarge", bad(|batch| batch.value_bytes = 500)),
        ("LargerThanSegment", [batch(16).build(), batch(16).build()].concat()),
    ] {
        let error = log.append_as_leader(&bytes, 1, AppendOrigin::Client, at(1000)).unwrap_err();
        assert!(format!("{error:?}").starts_with(name), "{name}: {error:?}");
        assert_eq!((log.log_end_offset(), log.latest_epoch()), (1, Some(0)), "{name}");
    }
    append(&mut log, &good);
    assert_eq!(read_all(&log, 0), [(0, 0), (1, 2)]);
}

#[test]
fn a_follower_takes_offsets_and_epochs_as_they_are() {
    let place = Place::new(small_segments());
    let mut log = place.open(CLEAN);
    let from = |base_offset, leader_epoch| TestBatch { base_offset, leader_epoch, ..batch(3) }.build();
    let mut set = [from(10, 1), from(13, 1), from(20, 4)].concat();
    set.extend(&from(23, 4)[..50]);
    let info = log.append_as_follower(&set, at(1000)).unwrap();
    assert_eq!((info.first_offset, info.last_offset), (10, 22));
    assert_eq!(log.log_end_offset(), 23);
    assert_eq!(log.end_offset_for_epoch(1), Some((1, 20)));
    assert_eq!(log.end_offset_for_epoch(4), Some((4, 23)));
    assert_eq!(read_all(&log, 0), [(10, 12), (13, 15), (20, 22)]);
    assert_eq!(log.append_as_follower(&from(23, 4)[..50], at(1000)).unwrap().size_bytes, 0);

    for (name, set) in [
        ("UnexpectedOffset", from(22, 4)),
        ("OffsetsOutOfOrder", [from(30, 4), from(32, 4)].concat()),
        ("Corrupt", {
            let mut set = from(30, 4);
            set[90] ^= 1;
            set
        }),
    ] {
        let error = log.append_as_follower(&set, at(1000)).unwrap_err();
        assert!(format!("{error:?}").starts_with(name), "{name}: {error:?}");
        assert_eq!(log.log_end_offset(), 23);
    }
    // More than a segment takes, and offsets that do not fit behind one base.
    let many: Vec<u8> = (0..40).flat_map(|number| from(30 + 3 * number, 4)).collect();
    log.append_as_follower(&many, at(1000)).unwrap();
    log.append_as_follower(&from(5_000_000_000, 5), at(1000)).unwrap();
    assert!(log.segment_count() > 5);
    let expected: Vec<(i64, i64)> = read_all(&log, 0);
    assert_eq!((expected.len(), log.log_end_offset()), (44, 5_000_000_003));
    log.close().unwrap();
    assert_eq!(read_all(&place.open(CLEAN), 0), expected);
    assert_eq!(read_all(&place.open(UNCLEAN), 0), expected);
}

/// A log of three batches is cut, or spoiled, at every byte of the last one.
#[test]
fn a_torn_tail_is_cut_and_what_is_before_stays() {
    let place = Place::new(LogConfig { index_interval_bytes: 50, ..LogConfig::default() });
    let mut log = place.open(CLEAN);
    fill(&mut log, 3);
    let path = place.dir().join("00000000000000000000.log");
    drop(log);
    let whole = std::fs::read(&path).unwrap();
    let last_start = whole.len() - batch(3).build().len();
    for cut in last_start..=whole.len() {
        let mut contents = vec![whole[..cut].to_vec()];
        let mut zeros = whole[..cut].to_vec();
        zeros.resize(whole.len() + 100, 0);
        contents.push(zeros);
        if cut < whole.len() && !(last_start..last_start + 8).contains(&cut) && !(12..16).contains(&(cut - last_start))
        {
            let mut flipped = whole.clone();
            flipped[cut] ^= 0x55;
            contents.push(flipped);
        }
        for (number, content) in contents.into_iter().enumerate() {
            std::fs::write(&path, &content).unwrap();
            let mut log = place.open(UNCLEAN);
            let is_whole = content.starts_with(&whole);
            assert_eq!(log.log_end_offset(), if is_whole { 6 } else { 3 }, "cut {cut}, case {number}");
            let expected = if is_whole { whole.len() } else { last_start };
            assert_eq!(std::fs::metadata(&path).unwrap().len() as usize, expected, "cut {cut}, case {number}");
            assert_eq!(append(&mut log, &batch(1)).first_offset, if is_whole { 6 } else { 3 });
            let mut expected = vec![(0, 0), (1, 2)];
            expected.extend(if is_whole { vec![(3, 5), (6, 6)] } else { vec![(3, 3)] });
            assert_eq!(read_all(&log, 0), expected);
        }
    }
}

#[test]
fn damage_in_the_middle_drops_what_was_not_synced_behind_it() {
    let place = Place::new(small_segments());
    let mut log = place.open(CLEAN);
    fill(&mut log, 40);
    let bases: Vec<i64> = log.segments.keys().copied().collect();
    drop(log);
    let path = segment::file_path(&place.dir(), bases[2], ".log");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let log = place.open(OpenState { recovery_point: bases[2], ..UNCLEAN });
    assert_eq!(log.segment_count(), 3);
    assert!(log.log_end_offset() < bases[3]);
    assert_eq!(log.recovery_point(), bases[2]);
    assert_eq!(read_all(&log, 0).last().unwrap().1 + 1, log.log_end_offset());
    let names: BTreeSet<String> = place.files().into_iter().collect();
    assert!(!names.contains(&format!("{:020}.log", bases[3])), "{names:?}");
}

/// The loss of power may keep a later segment and not the end of an earlier one, cut between two batches.
#[test]
fn a_segment_without_its_end_is_noticed() {
    for (compacted_to, cleanup_compact) in [(0, false), (1_000, false), (0, true), (1_000, true)] {
        let place = Place::new(LogConfig { cleanup_compact, ..small_segments() });
        let mut log = place.open(CLEAN);
        fill(&mut log, 40);
        let bases: Vec<i64> = log.segments.keys().copied().collect();
        drop(log);
        let path = segment::file_path(&place.dir(), bases[2], ".log");
        let bytes = std::fs::read(&path).unwrap();
        let first = check::first_batch(&bytes).unwrap().unwrap();
        std::fs::write(&path, &bytes[..first.size_bytes()]).unwrap();
        let mut log = place.open(OpenState { recovery_point: bases[1], compacted_to, ..UNCLEAN });
        assert_eq!(log.segment_count(), bases.len(), "nothing goes before there is a leader to fetch from");
        let is_suspect = compacted_to == 0;
        // Flushed or closed, it is found again for as long as nobody has heeded it.
        for _ in 0..2 {
            assert_eq!(log.suspected_gap(), is_suspect.then(|| first.next_offset()));
            log.close().unwrap();
            let recovery_point = if is_suspect { log.recovery_point() } else { bases[1] };
            drop(log);
            log = place.open(OpenState { recovery_point, compacted_to, ..UNCLEAN });
        }
        assert_eq!(log.take_suspected_gap(), is_suspect.then(|| first.next_offset()));
        assert_eq!(log.take_suspected_gap(), None);
    }
}

#[test]
fn lost_and_torn_indexes_are_rebuilt() {
    let place = Place::new(small_segments());
    let mut log = place.open(CLEAN);
    fill(&mut log, 40);
    let bases: Vec<i64> = log.segments.keys().copied().collect();
    let expected = read_all(&log, 0);
    log.close().unwrap();
    let path = |base: i64, suffix| segment::file_path(&place.dir(), base, suffix);
    let contents: Vec<Vec<u8>> = bases[..4].iter().map(|base| std::fs::read(path(*base, ".index")).unwrap()).collect();
    std::fs::remove_file(path(bases[0], ".index")).unwrap();
    std::fs::remove_file(path(bases[1], ".timeindex")).unwrap();
    let torn = [&contents[2][..], &[1, 2, 3]].concat();
    std::fs::write(path(bases[2], ".index"), torn).unwrap();
    std::fs::write(place.dir().join("00000000000000999999.index"), b"orphan").unwrap();
    let log = place.open(CLEAN);
    assert_eq!(read_all(&log, 0), expected);
    for (base, content) in bases.iter().zip(&contents) {
        assert_eq!(&std::fs::read(path(*base, ".index")).unwrap(), content, "{base}");
    }
    assert!(!place.dir().join("00000000000000999999.index").exists());
    drop(log);
    // An index that lies about positions is found out while reading.
    std::fs::write(path(bases[3], ".index"), [[0, 0, 0, 0, 0, 0, 0, 99], [0, 0, 0, 1, 0, 1, 0, 0]].concat()).unwrap();
    assert_eq!(read_all(&place.open(CLEAN), 0), expected);
}

#[test]
fn truncation_cuts_at_batches_and_forgets_epochs() {
    let place = Place::new(small_segments());
    let template = {
        let mut log = place.open(CLEAN);
        for epoch in 0..40 {
            log.append_as_leader(&batch(2).build(), epoch, AppendOrigin::Client, at(1000)).unwrap();
        }
        assert!(log.segment_count() > 4);
        log
    };
    drop(template);
    for offset in (0..=80).rev() {
        let mut log = place.open(UNCLEAN);
        let had_more = log.log_end_offset() > offset;
        assert_eq!(log.truncate_to(offset).unwrap(), had_more, "{offset}");
        assert_eq!(log.log_end_offset(), offset.min(80));
        let last = read_all(&log, 0).last().map_or(0, |(_, last)| last + 1);
        assert_eq!(last, offset / 2 * 2, "{offset}");
        assert_eq!(log.latest_epoch(), (offset > 0).then_some(((offset - 1) / 2) as i32), "{offset}");
    }
    let mut log = place.open(UNCLEAN);
    assert_eq!(append(&mut log, &batch(1)).first_offset, 0);
    log.truncate_fully_and_start_at(500).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.latest_epoch()), (500, 500, None));
    assert_eq!(append(&mut log, &batch(1)).first_offset, 500);
    log.close().unwrap();
    let log = place.open(CLEAN);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (500, 501));
    assert!(place.files().iter().all(|name| !name.ends_with(".deleted")), "{:?}", place.files());
}

#[test]
fn retention_by_age_size_and_log_start() {
    let config = LogConfig { retention_ms: -1, file_delete_delay_ms: 100, ..small_segments() };
    // settings, log start, now, high watermark (from the end) -> segments that stay
    for (name, change, log_start, now, lag, kept) in [
        ("nothing", (-1, -1), 0, 1_000_000, 0, 10),
        ("age", (500, -1), 0, 1400, 0, 10),
        ("age", (500, -1), 0, 1501, 0, 1),
        ("age below the high watermark", (500, -1), 0, 1501, 40, 4),
        ("size", (-1, 3000), 0, 1000, 0, 4),
        ("size", (-1, 0), 0, 1000, 0, 1),
        ("log start", (-1, -1), 45, 1000, 0, 7),
    ] {
        let place = Place::new(LogConfig { retention_ms: change.0, retention_bytes: change.1, ..config.clone() });
        let mut log = place.open(CLEAN);
        while log.segment_count() < 10 || log.active().size() < 800 {
            append(&mut log, &batch(1));
        }
        let end = log.log_end_offset();
        log.set_log_start_offset(log_start).unwrap();
        let dropped = log.delete_old_segments(at(now), end - lag).unwrap();
        assert_eq!(log.segment_count(), kept, "{name} {change:?}");
        assert!(log.log_end_offset() == end && dropped as usize >= 10 - kept, "{name}");
        let first = *log.segments.keys().next().unwrap();
        assert_eq!(log.log_start_offset(), first.max(log_start), "{name}");
        assert!(log.epochs().earliest().unwrap().start_offset <= log.log_start_offset().max(first));
        let deleted = |place: &Place| place.files().iter().filter(|name| name.ends_with(".deleted")).count();
        assert_eq!(deleted(&place), dropped as usize * 3, "{name}");
        log.delete_old_segments(at(now + 99), 0).unwrap();
        assert_eq!(deleted(&place), dropped as usize * 3, "{name}");
        log.delete_old_segments(at(now + 100), 0).unwrap();
        assert_eq!(deleted(&place), 0, "{name}");
    }
}

#[test]
fn with_a_remote_store_only_what_is_copied_goes_and_the_start_stays() {
    let remote = LogConfig { remote: Some(LocalRetention { ms: -1, bytes: 1 }), ..small_segments() };
    let place = Place::new(remote.clone());
    let mut log = place.open(CLEAN);
    fill(&mut log, 30);
    let end = log.log_end_offset();
    log.delete_old_segments(at(2000), end).unwrap();
    assert_eq!(
        (log.local_start_offset(), log.next_copy(0).unwrap().is_none()),
        (0, true),
        "nothing is copied or stable"
    );
    // Nothing of a segment is copied before all of it is stable.
    let first = log.next_copy(end).unwrap().unwrap();
    assert_eq!(first.start_offset, 0);
    assert!(log.next_copy(first.end_offset).unwrap().is_none());
    assert!(log.next_copy(first.end_offset + 1).unwrap().is_some());
    log.set_highest_copied(first.end_offset);
    log.delete_old_segments(at(2000), end).unwrap();
    let local = first.end_offset + 1;
    assert_eq!((log.log_start_offset(), log.local_start_offset()), (0, local));
    assert_eq!(log.next_copy(end).unwrap().unwrap().start_offset, local);
    assert!(matches!(log.read(0, 1000, end, true), Err(ReadError::InRemote { offset: 0 })));
    assert!(log.read(local, 1000, end, true).unwrap().records.is_some());
    assert_eq!(log.checkpointed_start(), Some(0));
    // What was copied of what is cut counts no more: the next leader may write something else there.
    log.set_highest_copied(end - 1);
    log.truncate_to(end - 2).unwrap();
    assert_eq!(log.highest_copied(), end - 3);
    fill(&mut log, 2);
    let end = log.log_end_offset();
    log.close().unwrap();
    drop(log);
    // When a log is opened its topic's settings may not be known yet.
    for (later, start) in [(remote.clone(), 0), (small_segments(), local)] {
        let mut log = Log::open(Arc::new(StdDisk), place.dir(), small_segments(), CLEAN, at(3000)).unwrap();
        assert_eq!((log.log_start_offset(), log.checkpointed_start()), (local, Some(0)));
        log.update_config(later);
        assert_eq!((log.log_start_offset(), log.local_start_offset()), (start, local));
        assert_eq!(log.highest_copied(), -1);
    }
    // Deleted records need no copy.
    let mut log = place.open(CLEAN);
    assert!(log.set_log_start_offset(end - 1).unwrap());
    log.delete_old_segments(at(4000), end).unwrap();
    assert_eq!((log.log_start_offset(), log.segment_count()), (end - 1, 1));
}

#[test]
fn a_log_goes_on_behind_what_a_copy_says() {
    let remote = LogConfig { remote: Some(LocalRetention { ms: -1, bytes: 1 }), ..small_segments() };
    let (one, other) = (Place::new(remote.clone()), Place::new(remote));
    let mut log = one.open(CLEAN);
    append(&mut log, &idempotent(7, 3, 0, 2));
    fill(&mut log, 20);
    let copy = log.next_copy(log.log_end_offset()).unwrap().unwrap();
    let path = Path::new("copy");
    let behind = remote::RemoteState {
        next_offset: copy.end_offset + 1,
        log_start_offset: 1,
        epochs: remote::parse_epochs(&copy.epochs_text, path).unwrap(),
        producers: copy.producers.clone(),
    };
    remote::check_producers(&copy.producers, path).unwrap();
    for is_reopened in [false, true] {
        let mut log = other.open(CLEAN);
        if !is_reopened {
            fill(&mut log, 3);
            log.restart_behind(&behind, at(2000)).unwrap();
        }
        let start = if is_reopened { 0 } else { 1 };
        assert_eq!((log.log_start_offset(), log.local_start_offset()), (start, behind.next_offset));
        assert_eq!(log.log_end_offset(), behind.next_offset);
        assert_eq!(log.epochs().epoch_for_offset(1), Some(0));
        assert!(log.producers().get(7).is_some_and(|entry| entry.epoch == 3), "reopened: {is_reopened}");
        log.close().unwrap();
    }
    for text in ["", "1\n0\n", "0\n2\n0 0\n", "0\n1\n0 x\n"] {
        assert!(remote::parse_epochs(text, path).is_err(), "{text:?}");
    }
    assert!(remote::check_producers(&copy.producers[1..], path).is_err());
}

#[test]
fn epochs_of_what_is_only_in_the_store_survive_a_loss_of_power() {
    let remote = LogConfig { remote: Some(LocalRetention { ms: -1, bytes: 1 }), ..small_segments() };
    let place = Place::new(remote.clone());
    let disk: Arc<dyn Disk> = Arc::new(faults::Forgetful);
    let behind = remote::RemoteState {
        next_offset: 100,
        log_start_offset: 5,
        epochs: [(0, 0), (1, 3), (2, 50)].map(|(epoch, start_offset)| EpochEntry { epoch, start_offset }).to_vec(),
        producers: no_producers(),
    };
    let mut log = Log::open(disk.clone(), place.dir(), remote.clone(), CLEAN, at(1000)).unwrap();
    append(&mut log, &batch(2));
    log.restart_behind(&behind, at(1000)).unwrap();
    let expected = |more: &[(i32, i64)]| [&[(1, 5), (2, 50)], more].concat();
    let pairs = |log: &Log| -> Vec<(i32, i64)> {
        log.epochs().entries().iter().map(|entry| (entry.epoch, entry.start_offset)).collect()
    };
    assert_eq!(pairs(&log), expected(&[]));
    log.append_as_leader(&batch(1).build(), 3, AppendOrigin::Client, at(1000)).unwrap();
    drop(log);
    // The second time the topic's settings are not known when it is opened, and the power goes again.
    for config in [remote.clone(), small_segments(), small_segments()] {
        let start = OpenState { log_start_offset: 5, ..UNCLEAN };
        let mut log = Log::open(disk.clone(), place.dir(), config, start, at(1000)).unwrap();
        log.update_config(remote.clone());
        assert_eq!(pairs(&log), expected(&[(3, 100)]));
    }
}

/// What the file tells of leader epochs, without the head.
fn epochs_on_disk(place: &Place) -> String {
    let text = std::fs::read_to_string(place.dir().join(epochs::LEADER_EPOCH_FILE)).unwrap_or_default();
    text.lines().skip(2).collect::<Vec<_>>().join(", ")
}

#[test]
fn epochs_that_a_later_start_cut_off_are_there_after_a_crash() {
    for is_deleted_here in [false, true] {
        let place = Place::new(LogConfig { remote: Some(LocalRetention { ms: -1, bytes: 0 }), ..small_segments() });
        let mut log = place.open(CLEAN);
        fill(&mut log, 10);
        log.append_as_leader(&batch(1).build(), 1, AppendOrigin::Client, at(1000)).unwrap();
        let cut = log.log_end_offset();
        log.append_as_leader(&batch(30).build(), 1, AppendOrigin::Client, at(1000)).unwrap();
        let end = log.log_end_offset();
        if is_deleted_here {
            log.roll(end, at(1000)).unwrap();
            log.set_highest_copied(end - 1);
            log.delete_old_segments(at(2000), end).unwrap();
            assert_eq!(log.local_start_offset(), end);
        }
        assert!(log.set_log_start_offset(cut).unwrap());
        // Whatever writes the file before the start is checkpointed.
        log.append_as_leader(&batch(1).build(), 2, AppendOrigin::Client, at(2000)).unwrap();
        log.flush().unwrap();
        let first = log.epochs().entries()[0];
        assert_eq!(first, EpochEntry { epoch: 1, start_offset: cut });
        drop(log);
        let one = cut - 1;
        assert_eq!(epochs_on_disk(&place), format!("0 0, 1 {one}, 2 {end}"), "deleted here: {is_deleted_here}");
        for (start, expected) in [(0, (0, 0)), (cut, (1, cut))] {
            let log = place.open(OpenState { log_start_offset: start, ..UNCLEAN });
            let first = log.epochs().entries()[0];
            assert_eq!((first.epoch, first.start_offset), expected, "start {start}, deleted here: {is_deleted_here}");
        }
    }
}

#[test]
fn an_epoch_that_begins_waits_for_no_disk() {
    let remote = LogConfig { remote: Some(LocalRetention { ms: -1, bytes: 0 }), ..small_segments() };
    let place = Place::new(remote.clone());
    let disk: Arc<dyn Disk> = Arc::new(faults::Forgetful);
    let mut log = Log::open(disk.clone(), place.dir(), remote.clone(), CLEAN, at(1000)).unwrap();
    let append = |log: &mut Log, epoch: i32| {
        log.append_as_leader(&batch(30).build(), epoch, AppendOrigin::Client, at(1000)).unwrap();
        log.log_end_offset()
    };
    // As long as all is here, the file is what it is for every other log: not durable before the next flush.
    let one = append(&mut log, 0);
    assert_ne!(epochs_on_disk(&place), "0 0");
    log.roll(one, at(1000)).unwrap();
    log.set_highest_copied(one - 1);
    // Before anything goes that told its epoch, it is.
    log.delete_old_segments(at(2000), one).unwrap();
    assert_eq!((log.local_start_offset(), epochs_on_disk(&place).as_str()), (one, "0 0"));
    let two = append(&mut log, 1);
    assert_eq!(epochs_on_disk(&place), "0 0", "its records tell it");
    drop(log);
    let mut log = Log::open(disk, place.dir(), remote, UNCLEAN, at(1000)).unwrap();
    assert_eq!(epochs_on_disk(&place), format!("0 0, 1 {one}"));
    // What is cut off no record tells.
    append(&mut log, 2);
    log.flush().unwrap();
    assert_eq!(epochs_on_disk(&place), format!("0 0, 1 {one}, 2 {two}"));
    log.truncate_to(two).unwrap();
    assert_eq!(epochs_on_disk(&place), format!("0 0, 1 {one}"));
    append(&mut log, 3);
    log.flush().unwrap();
    assert_eq!(epochs_on_disk(&place), format!("0 0, 1 {one}, 3 {two}"));
}

#[test]
fn what_is_cut_below_the_first_segment_is_in_the_store_still() {
    for (to, start, epochs) in [(100, 5, vec![(1, 5), (2, 50)]), (50, 5, vec![(1, 5)]), (5, 5, vec![]), (4, 4, vec![])]
    {
        let remote = LogConfig { remote: Some(LocalRetention { ms: -1, bytes: 1 }), ..small_segments() };
        let place = Place::new(remote);
        let mut log = place.open(CLEAN);
        let behind = remote::RemoteState {
            next_offset: 120,
            log_start_offset: 5,
            epochs: [(1, 3), (2, 50)].map(|(epoch, start_offset)| EpochEntry { epoch, start_offset }).to_vec(),
            producers: no_producers(),
        };
        log.restart_behind(&behind, at(1000)).unwrap();
        log.append_as_leader(&batch(3).build(), 3, AppendOrigin::Client, at(1000)).unwrap();
        assert!(log.truncate_to(to).unwrap());
        let found: Vec<(i32, i64)> =
            log.epochs().entries().iter().map(|entry| (entry.epoch, entry.start_offset)).collect();
        assert_eq!((log.log_start_offset(), log.local_start_offset(), log.log_end_offset()), (start, to, to));
        assert_eq!(found, epochs, "to {to}");
    }
}

#[test]
fn offsets_by_timestamp() {
    let place = Place::new(LogConfig { index_interval_bytes: 50, segment_bytes: 400, ..LogConfig::default() });
    let mut log = place.open(CLEAN);
    let sets = [vec![100, 120, 110], vec![115], vec![200, 150], vec![], vec![300, 300], vec![250]];
    for timestamps in sets.iter().filter(|set| !set.is_empty()) {
        append(&mut log, &TestBatch { timestamps: timestamps.clone(), ..TestBatch::default() });
    }
    assert!(log.segment_count() > 1);
    let check = |log: &Log, cases: &[(i64, Option<(i64, i64)>)]| {
        for (timestamp, expected) in cases {
            let found = log.offset_for_timestamp(*timestamp).unwrap();
            assert_eq!(found.map(|found| (found.timestamp, found.offset)), *expected, "at {timestamp}");
        }
    };
    let cases = [
        (0, Some((100, 0))),
        (100, Some((100, 0))),
        (101, Some((120, 1))),
        (120, Some((120, 1))),
        (121, Some((200, 4))),
        (201, Some((300, 6))),
        (300, Some((300, 6))),
        (301, None),
    ];
    check(&log, &cases);
    let max = log.max_timestamp_offset().unwrap().unwrap();
    assert_eq!((max.timestamp, max.offset, max.leader_epoch), (300, 6, 0));
    log.close().unwrap();
    for start in [CLEAN, UNCLEAN] {
        check(&place.open(start), &cases);
    }
    let mut log = place.open(CLEAN);
    log.set_log_start_offset(1).unwrap();
    check(&log, &[(0, Some((120, 1)))]);
}

fn idempotent(producer_id: i64, epoch: i16, sequence: i32, records: usize) -> TestBatch {
    TestBatch { producer: (producer_id, epoch, sequence), ..batch(records) }
}

/// First offset, or the name of the error.
fn outcome(log: &mut Log, batch: &TestBatch, origin: AppendOrigin) -> Result<(i64, bool), String> {
    match log.append_as_leader(&batch.build(), 0, origin, at(1000)) {
        Ok(info) => Ok((info.first_offset, info.duplicate)),
        Err(AppendError::Producer(error)) => {
            Err(format!("{error:?}").split([' ', '{']).next().unwrap_or_default().to_owned())
        }
        Err(error) => Err(format!("{error:?}")),
    }
}

#[test]
fn idempotent_producers() {
    let place = Place::new(LogConfig::default());
    let mut log = place.open(CLEAN);
    let refused = |name: &str| Err(name.to_owned());
    for (epoch, sequence, records, expected) in [
        (0, 5, 2, Ok((0, false))), // unknown producer: any sequence
        (0, 7, 1, Ok((2, false))),
        (0, 7, 1, Ok((2, true))),
        (0, 5, 2, Ok((0, true))),
        (0, 5, 3, refused("OutOfOrderSequence")),
        (0, 9, 1, refused("OutOfOrderSequence")),
        (0, 8, 1, Ok((3, false))),
        (0, 9, 1, Ok((4, false))),
        (0, 10, 1, Ok((5, false))),
        (0, 5, 2, Ok((0, true))),
        (0, 11, 1, Ok((6, false))),
        (0, 5, 2, refused("OutOfOrderSequence")), // no longer among the last five
        (1, 12, 1, refused("OutOfOrderSequence")),
        (1, 0, 1, Ok((7, false))),
        (0, 12, 1, refused("InvalidProducerEpoch")),
        (1, 0, 1, Ok((7, true))),
    ] {
        let batch = idempotent(9, epoch, sequence, records);
        assert_eq!(outcome(&mut log, &batch, AppendOrigin::Client), expected, "{epoch} {sequence} {records}");
    }
    // A coordinator's appends carry no sequence worth checking.
    let batch = idempotent(9, 1, 77, 1);
    assert_eq!(outcome(&mut log, &batch, AppendOrigin::Coordinator), Ok((8, false)));

    // Sequences wrap.
    assert_eq!(outcome(&mut log, &idempotent(10, 0, i32::MAX - 1, 3), AppendOrigin::Client), Ok((9, false)));
    assert_eq!(outcome(&mut log, &idempotent(10, 0, 1, 1), AppendOrigin::Client), Ok((12, false)));
    assert_eq!(outcome(&mut log, &idempotent(10, 0, i32::MAX - 1, 3), AppendOrigin::Client), Ok((9, true)));

    log.close().unwrap();
    for start in [CLEAN, UNCLEAN, UNCLEAN] {
        let mut log = place.open(start);
        assert_eq!(outcome(&mut log, &idempotent(10, 0, 1, 1), AppendOrigin::Client), Ok((12, true)), "{start:?}");
        let refused = outcome(&mut log, &idempotent(10, 0, 3, 1), AppendOrigin::Client);
        assert_eq!(refused, Err("OutOfOrderSequence".to_owned()));
    }
    let mut log = place.open(CLEAN);
    log.remove_expired_producers(at(1000 + 24 * 3_600_000 - 1));
    assert_eq!(log.producers().entries().count(), 2);
    log.remove_expired_producers(at(1000 + 24 * 3_600_000));
    assert_eq!(log.producers().entries().count(), 0);
}

#[test]
fn truncation_takes_producers_back() {
    let place = Place::new(small_segments());
    let mut log = place.open(CLEAN);
    for sequence in 0..60 {
        append(&mut log, &idempotent(1, 0, sequence, 1));
    }
    assert!(log.segment_count() > 4);
    for offset in [59, 45, 44, 20, 3] {
        log.truncate_to(offset).unwrap();
        assert_eq!(log.producers().get(1).unwrap().last_sequence(), offset as i32 - 1, "{offset}");
        assert_eq!(append(&mut log, &idempotent(1, 0, offset as i32, 1)).first_offset, offset);
    }
    log.truncate_to(0).unwrap();
    assert!(log.producers().get(1).is_none());
}

fn transactional(producer_id: i64, sequence: i32) -> TestBatch {
    TestBatch { attributes: 0x10, ..idempotent(producer_id, 0, sequence, 1) }
}

fn marker(producer_id: i64, epoch: i16, is_commit: bool, coordinator_epoch: i32) -> TestBatch {
    TestBatch { marker: Some((is_commit, coordinator_epoch)), ..idempotent(producer_id, epoch, -1, 1) }
}

#[test]
fn transactions_hold_back_the_stable_offset() {
    let place = Place::new(LogConfig::default());
    let mut log = place.open(CLEAN);
    let coordinator = AppendOrigin::Coordinator;
    append(&mut log, &batch(1)); // 0
    append(&mut log, &transactional(1, 0)); // 1
    append(&mut log, &transactional(2, 0)); // 2
    append(&mut log, &transactional(1, 1)); // 3
    assert!(log.has_ongoing_transaction(1, 0) && !log.has_ongoing_transaction(1, 1));
    assert_eq!((log.last_stable_offset(1), log.last_stable_offset(4)), (1, 1));
    assert_eq!(outcome(&mut log, &idempotent(1, 0, 2, 1), AppendOrigin::Client), Err("InvalidTxnState".to_owned()));

    assert_eq!(outcome(&mut log, &marker(1, 0, false, 3), coordinator), Ok((4, false)));
    // The marker is not replicated: still unstable. Replicated: the other transaction holds back.
    assert_eq!((log.last_stable_offset(4), log.last_stable_offset(5)), (1, 2));
    log.on_high_watermark(5);
    assert_eq!(outcome(&mut log, &marker(2, 0, true, 3), coordinator), Ok((5, false)));
    assert_eq!((log.last_stable_offset(5), log.last_stable_offset(6)), (2, 6));
    assert_eq!(outcome(&mut log, &marker(2, 0, true, 2), coordinator), Err("CoordinatorFenced".to_owned()));

    append(&mut log, &transactional(2, 1)); // 6
    append(&mut log, &transactional(1, 2)); // 7
    assert_eq!(outcome(&mut log, &marker(1, 1, false, 3), coordinator), Ok((8, false))); // fences epoch 0
    assert_eq!(outcome(&mut log, &transactional(1, 3), AppendOrigin::Client), Err("InvalidProducerEpoch".to_owned()));

    let first = AbortedTxn { producer_id: 1, first_offset: 1, last_offset: 4, last_stable_offset: 2 };
    let second = AbortedTxn { producer_id: 1, first_offset: 7, last_offset: 8, last_stable_offset: 6 };
    let check = |log: &Log, name: &str| {
        assert_eq!(log.last_stable_offset(9), 6, "{name}");
        assert_eq!(log.aborted_transactions(0, 9).unwrap(), [first, second], "{name}");
        assert_eq!(log.aborted_transactions(0, 2).unwrap(), [first], "{name}");
        assert_eq!(log.aborted_transactions(5, 9).unwrap(), [second], "{name}");
        let read = log.read(5, 1 << 20, 9, true).unwrap();
        assert_eq!(log.aborted_transactions_in(5, &read).unwrap(), [second], "{name}");
    };
    check(&log, "live");
    log.close().unwrap();
    check(&place.open(CLEAN), "clean");
    check(&place.open(UNCLEAN), "unclean");
    for name in place.files().iter().filter(|name| name.ends_with(".snapshot")) {
        std::fs::remove_file(place.dir().join(name)).unwrap();
    }
    check(&place.open(UNCLEAN), "without snapshots");

    let mut log = place.open(CLEAN);
    log.truncate_to(8).unwrap();
    assert_eq!(log.aborted_transactions(0, 9).unwrap(), [first]);
    assert!(log.has_ongoing_transaction(1, 0));
}

#[test]
fn a_follower_that_takes_many_transactions_at_once_knows_every_aborted_one() {
    let place = Place::new(LogConfig::default());
    let mut log = place.open(CLEAN);
    let batches = [
        transactional(1, 0),
        marker(1, 0, false, 3),
        transactional(1, 1),
        transactional(1, 2),
        transactional(2, 0),
        marker(1, 0, false, 3),
    ];
    let set = (0..).zip(batches).flat_map(|(base_offset, batch)| TestBatch { base_offset, ..batch }.build());
    log.append_as_follower(&set.collect::<Vec<u8>>(), at(1000)).unwrap();
    let firsts = |to| log.aborted_transactions(0, to).unwrap().iter().map(|txn| txn.first_offset).collect::<Vec<_>>();
    assert_eq!(firsts(2), [0]);
    assert_eq!(firsts(3), [0, 2]);
    assert_eq!(firsts(6), [0, 2]);
}

#[test]
fn transactional_batches_of_clients_are_verified() {
    let place = Place::new(LogConfig::default());
    let mut log = place.open(CLEAN);
    let header = |sequence| BatchHeader::parse(&transactional(1, sequence).build()).unwrap();
    let asked = |log: &mut Log, sequence| log.begin_verification((1, 0), sequence, at(1000));
    let allowed = |log: &Log, sequence, verification| {
        log.producers().is_verified(&header(sequence), verification).map_err(|error| error.to_string())
    };
    let question = asked(&mut log, 0);
    assert_eq!(question, Verification::Asked(1));
    assert_eq!(asked(&mut log, 1), question, "asked already");
    assert_eq!(log.begin_verification((1, -1), 0, at(1000)), Verification::Ongoing, "an earlier instance asks late");
    assert!(allowed(&log, 1, question).is_err(), "the first batch is missing");
    assert_eq!(allowed(&log, 0, question), Ok(true));
    assert_eq!(allowed(&log, 0, Verification::Ongoing), Ok(false));
    append(&mut log, &transactional(1, 0));
    assert_eq!(asked(&mut log, 1), Verification::Ongoing);
    assert_eq!(allowed(&log, 1, question), Ok(true));
    // The transaction ends between the question and the batch.
    let coordinator = AppendOrigin::Coordinator;
    let question = log.begin_verification((2, 0), 0, at(1000));
    assert_eq!(outcome(&mut log, &marker(2, 0, false, 3), coordinator), Ok((1, false)));
    let late = BatchHeader::parse(&transactional(2, 0).build()).unwrap();
    assert!(!log.producers().is_verified(&late, question).unwrap());
    assert!(log.producers().is_verified(&late, Verification::Off).unwrap());
    // A marker of transaction.version 2 that comes twice ends no later transaction.
    let later = AppendOrigin::LaterEpochMarker;
    let next = TestBatch { producer: (1, 1, 0), ..transactional(1, 0) };
    assert_eq!(outcome(&mut log, &marker(1, 1, true, 3), later), Ok((2, false)));
    assert_eq!(outcome(&mut log, &marker(1, 1, true, 3), later), Ok((3, false)));
    append(&mut log, &next);
    assert_eq!(outcome(&mut log, &marker(1, 1, true, 3), later), Err("InvalidProducerEpoch".to_owned()));
    assert_eq!(outcome(&mut log, &marker(1, 2, true, 3), later), Ok((5, false)));
}

#[test]
fn flushing_moves_the_recovery_point() {
    let place = Place::new(LogConfig { flush_ms: 50, ..small_segments() });
    let mut log = place.open(CLEAN);
    assert!(!log.is_flush_due(at(9_999)));
    fill(&mut log, 30);
    assert!(!log.is_flush_due(at(1049)) && log.is_flush_due(at(1050)));
    let work = log.start_flush(true).unwrap().unwrap();
    work.run().unwrap();
    log.finish_flush(&work);
    assert_eq!(log.recovery_point(), log.active_base_offset());
    assert!(log.start_flush(true).unwrap().is_none());
    let work = log.start_flush(false).unwrap().unwrap();
    log.truncate_to(log.log_end_offset() - 1).unwrap();
    let before = log.recovery_point();
    log.finish_flush(&work);
    assert_eq!(log.recovery_point(), before);
    log.flush().unwrap();
    assert_eq!(log.recovery_point(), log.log_end_offset());
    assert!(!log.is_flush_due(at(9_999)));

    let place = Place::new(LogConfig { flush_messages: 3, ..LogConfig::default() });
    let mut log = place.open(CLEAN);
    for (records, recovery_point) in [(2, 0), (1, 3), (1, 3), (5, 9)] {
        append(&mut log, &batch(records));
        assert_eq!(log.recovery_point(), recovery_point);
    }
}

#[test]
fn deleting_renames_the_directory_and_reads_go_on() {
    let place = Place::new(LogConfig::default());
    let mut log = place.open(CLEAN);
    fill(&mut log, 3);
    let read = log.read(0, 1 << 20, 6, true).unwrap();
    let to = log.delete(&mut Rng::with_seed(1)).unwrap();
    let name = to.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("topic-0.") && is_deleted_dir(name) && name.len() == "topic-0.".len() + 32 + 7, "{name}");
    assert!(!place.dir().exists());
    assert!(place.open(CLEAN).log_end_offset() == 0);
    remove_deleted_dir(&StdDisk, &to).unwrap();
    assert!(!to.exists());
    read.records.unwrap().read().unwrap();
}

#[test]
fn a_renamed_log_goes_on_in_its_new_place() {
    let place = Place::new(small_segments());
    let mut log = place.open(CLEAN);
    fill(&mut log, 20);
    let to = place.root.path().join("topic-0.abc-future");
    log.rename_dir(to.clone()).unwrap();
    fill(&mut log, 20);
    let expected = read_all(&log, 0);
    log.close().unwrap();
    let log = Log::open(Arc::new(StdDisk), to, place.config.clone(), CLEAN, at(1000)).unwrap();
    assert_eq!(read_all(&log, 0), expected);
    assert!(!place.dir().exists());
}

#[test]
fn leftovers_of_a_crash_are_cleared_or_completed() {
    let place = Place::new(small_segments());
    let mut log = place.open(CLEAN);
    fill(&mut log, 40);
    let bases: Vec<i64> = log.segments.keys().copied().collect();
    let expected = read_all(&log, 0);
    log.close().unwrap();
    let path = |base: i64, suffix| segment::file_path(&place.dir(), base, suffix);
    // A replacement of the first two segments by one that was interrupted before the old ones were removed.
    let joined = [std::fs::read(path(bases[0], ".log")).unwrap(), std::fs::read(path(bases[1], ".log")).unwrap()];
    std::fs::write(path(bases[0], ".log.swap"), joined.concat()).unwrap();
    std::fs::write(path(bases[0], ".index.swap"), []).unwrap();
    std::fs::write(path(bases[0], ".timeindex.swap"), []).unwrap();
    std::fs::write(path(bases[3], ".log.cleaned"), b"half").unwrap();
    std::fs::write(path(bases[4], ".log.swap"), b"half").unwrap();
    std::fs::write(path(7777, ".log.deleted"), b"old").unwrap();
    let log = place.open(CLEAN);
    assert_eq!(read_all(&log, 0), expected);
    assert_eq!(log.segment_count(), bases.len() - 1);
    let odd: Vec<String> = place
        .files()
        .into_iter()
        .filter(|name| [".swap", ".cleaned", ".deleted"].iter().any(|suffix| name.ends_with(suffix)))
        .collect();
    assert_eq!(odd, Vec::<String>::new());
}

#[test]
fn random_bytes_never_panic() {
    let mut rng = Rng::with_seed(7);
    for round in 0..40 {
        let place = Place::new(small_segments());
        let mut log = place.open(CLEAN);
        for sequence in 0..20 {
            append(&mut log, &idempotent(1, 0, sequence, 1));
        }
        log.close().unwrap();
        for entry in StdDisk.read_dir(&place.dir()).unwrap() {
            if rng.u8(..) < 100 {
                let path = place.dir().join(&entry.name);
                let mut bytes = std::fs::read(&path).unwrap();
                for _ in 0..rng.usize(1..5) {
                    if !bytes.is_empty() {
                        let at = rng.usize(..bytes.len());
                        bytes[at] = rng.u8(..);
                    }
                }
                bytes.truncate(rng.usize(..=bytes.len()));
                std::fs::write(&path, bytes).unwrap();
            }
        }
        let start = if round % 2 == 0 { UNCLEAN } else { CLEAN };
        if let Ok(mut log) = Log::open(Arc::new(StdDisk), place.dir(), place.config.clone(), start, at(1000)) {
            for offset in log.log_start_offset()..log.log_end_offset().min(100) {
                let _ = log.read(offset, 100, log.log_end_offset(), true);
                let _ = log.offset_for_timestamp(offset);
            }
            let _ = log.max_timestamp_offset();
            let _ = log.aborted_transactions(0, 100);
            let _ = log.truncate_to(rng.i64(0..25));
            let _ = log.append_as_leader(&batch(1).build(), 3, AppendOrigin::Client, at(1000));
            let _ = log.delete_old_segments(at(1 << 40), log.log_end_offset());
        }
        let garbage: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(200).collect();
        let place = Place::new(small_segments());
        let mut log = place.open(CLEAN);
        assert!(log.append_as_leader(&garbage, 0, AppendOrigin::Client, at(0)).is_err());
        let _ = log.append_as_follower(&garbage, at(0));
    }
}

#[test]
fn compacted_topics_want_keys() {
    let place = Place::new(LogConfig { cleanup_compact: true, ..LogConfig::default() });
    let mut log = place.open(CLEAN);
    append(&mut log, &batch(3));
    let without_keys = TestBatch { has_keys: false, ..batch(3) };
    for (bytes, reason) in [
        (without_keys.build(), "no key"),
        (
            {
                // A record count that the payload does not keep.
                let mut bytes = batch(3).build();
                bytes[23..27].copy_from_slice(&3_i32.to_be_bytes());
                bytes[57..61].copy_from_slice(&4_i32.to_be_bytes());
                let crc = crc32c::crc32c(&bytes[21..]);
                bytes[17..21].copy_from_slice(&crc.to_be_bytes());
                bytes
            },
            "cannot be decoded",
        ),
    ] {
        let error = log.append_as_leader(&bytes, 0, AppendOrigin::Client, at(1000)).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    let last_alone = TestBatch { has_keys: false, ..batch(1) };
    let refused = log.append_as_leader(&last_alone.build(), 0, AppendOrigin::Client, at(1000)).unwrap_err();
    assert!(matches!(refused, AppendError::RecordsWithoutKey { indexes } if indexes == [0]));
    let marker = marker(1, 0, true, 0).build();
    log.append_as_leader(&marker, 0, AppendOrigin::Coordinator, at(1000)).unwrap();
    assert_eq!(log.log_end_offset(), 4);
}

#[test]
fn batches_are_converted_to_the_topics_compression() {
    use common::kafka::batch::Batch;
    use common::kafka::compression::Compression;
    for target in [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let place = Place::new(LogConfig { compression_type: Some(target), ..LogConfig::default() });
        let mut log = place.open(CLEAN);
        let batch = TestBatch { timestamps: vec![100, 300, 200], ..idempotent(3, 0, 0, 3) };
        append(&mut log, &batch);
        let bytes = log.read(0, 1 << 20, 3, true).unwrap().records.unwrap().read().unwrap();
        let stored = Batch::parse(bytes.into()).unwrap();
        stored.check_crc().unwrap();
        let header = stored.header;
        assert_eq!(header.compression().unwrap(), target);
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (3, 0, 0));
        assert_eq!((header.base_offset, header.last_offset(), header.max_timestamp), (0, 2, 300));
        let records: Vec<_> = stored.records(1000).unwrap().map(Result::unwrap).collect();
        assert_eq!(records.iter().map(|record| record.timestamp).collect::<Vec<_>>(), [100, 300, 200]);
        assert_eq!(records[2].key.as_deref(), Some(&b"key-2"[..]));
        assert!(outcome(&mut log, &batch, AppendOrigin::Client).unwrap().1, "the repetition is recognized");
        let found = log.offset_for_timestamp(150).unwrap().unwrap();
        assert_eq!((found.timestamp, found.offset), (300, 1));
        log.append_as_leader(&marker(3, 0, true, 0).build(), 0, AppendOrigin::Coordinator, at(1000)).unwrap();
        // What is stored converted is also taken as it is.
        let bytes = log.read(0, 1 << 20, 4, true).unwrap().records.unwrap().read().unwrap();
        let place = Place::new(LogConfig::default());
        let mut follower = place.open(CLEAN);
        assert_eq!(follower.append_as_follower(&bytes, at(1000)).unwrap().last_offset, 3);
    }
}
