//! Bytes that nobody meant: every decoder is given messages that were changed, cut or made up, and everything on disk is
//! damaged and opened again. Nothing may panic; what is accepted must be what it claims to be. One round follows from one
//! seed; how many rounds there are is the caller's affair.

use crate::sim::disk::SimDisk;
use crate::wounds::machines::{Lone, odd_request};
use broker::cluster::json;
use broker::group::records::GroupRecord;
use broker::log::{AppendOrigin, Log, LogConfig, OpenState, checkpoints, metadata};
use bytes::{Bytes, BytesMut};
use common::Rng;
use common::disk::Disk;
use common::kafka::batch::{BatchSpec, Record, batches, build};
use common::kafka::compression::Compression;
use common::kafka::messages::APIS;
use common::properties::Properties;
use common::time::{Millis, Now, WallMillis};
use coordinator::ensemble::message::{
    Behind, Commit, HardState, LogEntry, LogPosition, PeerBody, PeerMessage, RaftMessage, Touched, next_frame,
};
use coordinator::tree::Tree;
use prost::Message as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// A kind of bytes.
#[derive(Clone, Copy)]
pub struct Area {
    /// What is damaged.
    pub name: &'static str,
    round: fn(&mut Rng) -> Result<(), String>,
}

/// All of them.
pub const AREAS: &[Area] = &[
    Area { name: "Kafka requests and responses of every version", round: kafka_messages },
    Area { name: "record batches", round: record_batches },
    Area { name: "ZooKeeper requests to a coordinator", round: zookeeper_requests },
    Area { name: "messages between coordinators", round: peer_messages },
    Area { name: "the coordinator's stored records and snapshots", round: stored_tree },
    Area { name: "a partition's log and its indexes", round: log_recovery },
    Area { name: "checkpoint files", round: checkpoint_files },
    Area { name: "records of groups and znodes of the cluster", round: group_and_cluster_records },
];

/// One round: what is wrong, with the seed that repeats it.
pub fn round(area: &Area, seed: u64) -> Result<(), String> {
    let caught = catch_unwind(AssertUnwindSafe(|| (area.round)(&mut Rng::with_seed(seed))));
    let result = caught.unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    });
    result.map_err(|problem| format!("{}, seed {seed}: {problem}", area.name))
}

/// Some bytes changed, some taken out or put in, the end cut off or something behind it.
fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(0..=bytes.len());
        match rng.u32(..6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, rng.u8(..)),
            2 => bytes.extend((0..rng.usize(..30)).map(|_| rng.u8(..))),
            3 if at + 4 <= bytes.len() => {
                let length = [i32::MAX, -1, i32::MIN, 0x7fff, 0x0100_0000, 0][rng.usize(..6)];
                bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
            }
            4 => drop(bytes.drain(at..(at + rng.usize(..9)).min(bytes.len()))),
            _ if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
            _ => {}
        }
    }
}

fn damaged(bytes: impl Into<Vec<u8>>, rng: &mut Rng) -> Bytes {
    let mut bytes = bytes.into();
    damage(&mut bytes, rng);
    Bytes::from(bytes)
}

fn kafka_messages(rng: &mut Rng) -> Result<(), String> {
    for _ in 0..200 {
        let api = &APIS[rng.usize(..APIS.len())];
        let version = rng.i16(api.versions.clone());
        let request = damaged((api.trial.random_request)(rng, version), rng);
        let _ = (api.trial.recode_request)(request, version);
        let response = damaged((api.trial.random_response)(rng, version), rng);
        let _ = (api.trial.recode_response)(response, version);
    }
    Ok(())
}

fn batch(rng: &mut Rng, now: i64) -> Bytes {
    let record = |offset: usize| Record {
        offset: offset as i64,
        timestamp: now,
        key: offset.is_multiple_of(2).then(|| Bytes::from_static(b"key")),
        value: Some(Bytes::from(vec![b'v'; offset * 7])),
        ..Record::default()
    };
    let records: Vec<Record> = (0..rng.usize(1..8)).map(record).collect();
    let compression = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
        [rng.usize(..5)];
    build(&BatchSpec { compression, ..BatchSpec::default() }, &records).expect("some small records")
}

fn record_batches(rng: &mut Rng) -> Result<(), String> {
    for _ in 0..50 {
        let mut bytes = batch(rng, 1).to_vec();
        bytes.extend_from_slice(&batch(rng, 1));
        // Behind the header only, so that what is compressed is damaged and its checksum is not what stops it.
        let mut tail = bytes.split_off(rng.usize(0..bytes.len().min(70)));
        damage(&mut tail, rng);
        bytes.extend_from_slice(&tail);
        for batch in batches(Bytes::from(bytes)).take(1_000) {
            let Ok(batch) = batch else { break };
            let _ = batch.check_crc();
            let Ok(records) = batch.records(1 << 20) else { continue };
            for record in records.take(100_000) {
                if record.is_err() {
                    break;
                }
            }
        }
    }
    Ok(())
}

fn zookeeper_requests(rng: &mut Rng) -> Result<(), String> {
    let mut lone = Lone::new(&Tree::new(), rng.u64(..))?;
    for _ in 0..4 {
        lone.connect()?;
        for _ in 0..40 {
            let mut frame = odd_request(rng).to_vec();
            if rng.bool() {
                let mut body = frame.split_off(4);
                damage(&mut body, rng);
                frame = [&u32::try_from(body.len()).unwrap_or(0).to_be_bytes()[..], &body].concat();
            }
            lone.send(Bytes::from(frame));
        }
    }
    // A first frame that is none.
    lone.greet(damaged(vec![0; 44], rng));
    Ok(())
}

fn peer_messages(rng: &mut Rng) -> Result<(), String> {
    let entry = |index| LogEntry { index, term: 3, kind: 0, data: Bytes::from_static(b"data") };
    for _ in 0..100 {
        let body = match rng.u32(..5) {
            0 => PeerBody::Raft(RaftMessage { kind: rng.u32(..20), term: 3, index: 7, ..RaftMessage::default() }),
            1 => {
                PeerBody::Raft(RaftMessage { kind: 3, entries: (1..9).map(entry).collect(), ..RaftMessage::default() })
            }
            2 => PeerBody::Commit(Commit { term: 3, index: 9 }),
            3 => PeerBody::Behind(Behind { term: 3, last: 9 }),
            _ => PeerBody::Touched(Touched { term: 3, sessions: (0..rng.i64(..50)).collect() }),
        };
        let mut frame = BytesMut::new();
        PeerMessage { body: Some(body) }.encode_frame(&mut frame);
        let mut frames = damaged(frame.to_vec(), rng);
        while let Some(frame) = next_frame(&mut frames) {
            let _ = PeerMessage::parse(frame);
        }
    }
    Ok(())
}

/// What is stored is read as it was, or refused: the tree's digest sees to that.
fn stored_tree(rng: &mut Rng) -> Result<(), String> {
    let mut lone = Lone::new(&Tree::new(), rng.u64(..))?;
    lone.connect()?;
    for _ in 0..20 {
        lone.send(odd_request(rng));
    }
    let tree = lone.tree();
    let snapshot = damaged(tree.snapshot(), rng);
    if let Ok(loaded) = Tree::from_snapshot(&snapshot)
        && loaded.digest() != tree.digest()
    {
        return Err(format!("a damaged snapshot is taken for a tree with digest {:x}", loaded.digest()));
    }
    for _ in 0..20 {
        let mut entries: Vec<(Vec<u8>, Vec<u8>)> = tree.entries().collect();
        let at = rng.usize(..entries.len());
        if rng.bool() {
            damage(&mut entries[at].0, rng)
        } else {
            damage(&mut entries[at].1, rng)
        }
        let loaded = Tree::load(entries.iter().map(|(key, value)| (key, value)));
        // The first record says what zxid and digest are; a lie about both is a tree of its own.
        if let Ok(loaded) = loaded
            && at != 0
            && loaded.digest() != tree.digest()
        {
            return Err(format!("stored record {at} is damaged and the tree is loaded"));
        }
        let _ = LogEntry::decode(damaged(LogEntry { index: 1, ..LogEntry::default() }.encode_to_vec(), rng));
        let _ = HardState::decode(damaged(HardState { term: 3, vote: 1, commit: 9 }.encode_to_vec(), rng));
        let _ = LogPosition::decode(damaged(LogPosition { index: 3, term: 3 }.encode_to_vec(), rng));
    }
    Ok(())
}

const DIR: &str = "/data/t-0";

/// A log is written, its files are damaged, and it is opened as after a crash: it opens with a beginning of what was in it,
/// can be read to its end and takes new records; or it says what is wrong.
fn log_recovery(rng: &mut Rng) -> Result<(), String> {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::default());
    let config = LogConfig {
        segment_bytes: rng.u32(500..4_000),
        segment_index_bytes: 4_096,
        index_interval_bytes: 100,
        ..LogConfig::default()
    };
    let now = Now { mono: Millis(1_000), wall: WallMillis(1_750_000_000_000) };
    let fresh = OpenState { clean_shutdown: false, recovery_point: 0, log_start_offset: 0, compacted_to: 0 };
    let open = |start| Log::open(disk.clone(), DIR.into(), config.clone(), start, now);
    let mut log = open(fresh).map_err(|error| error.to_string())?;
    let mut epoch = 0;
    for _ in 0..rng.usize(5..60) {
        epoch += i32::from(rng.u32(..8) == 0);
        let batch = batch(rng, now.wall.0);
        log.append_as_leader(&batch, epoch, AppendOrigin::Client, now).map_err(|error| error.to_string())?;
    }
    let is_clean = rng.bool();
    if is_clean {
        log.close().map_err(|error| error.to_string())?;
    }
    let before = read_all(&log)?;
    drop(log);
    damage_files(disk.as_ref(), rng)?;
    let recovery_point = if is_clean { before.last().map_or(0, |(offset, _)| offset + 1) } else { 0 };
    let Ok(mut log) = open(OpenState { clean_shutdown: is_clean, recovery_point, ..fresh }) else { return Ok(()) };
    if !is_clean {
        // Everything was checked. The offset of a batch is outside of its checksum, and gaps are lawful (compaction), so a
        // damaged offset that grows is taken, here as in Kafka.
        for (offset, crc) in read_all(&log)? {
            if !before.iter().any(|(_, known)| *known == crc) {
                return Err(format!("a batch at {offset} was never written; the log had {}", before.len()));
            }
        }
    }
    let end = log.log_end_offset();
    let batch = batch(rng, now.wall.0);
    match log.append_as_leader(&batch, epoch + 1, AppendOrigin::Client, now) {
        Ok(info) if info.first_offset != end => Err(format!("offset {} follows the end {end}", info.first_offset)),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Offset and checksum of each batch, as a consumer reads them.
fn read_all(log: &Log) -> Result<Vec<(i64, u32)>, String> {
    let (mut offset, end) = (log.log_start_offset(), log.log_end_offset());
    let mut found = Vec::new();
    while offset < end {
        let read = log.read(offset, 1 << 16, end, true).map_err(|error| error.to_string())?;
        let Some(slice) = read.records else { break };
        let before = offset;
        for batch in batches(Bytes::from(slice.read().map_err(|error| error.to_string())?)) {
            let Ok(batch) = batch else { break };
            batch.check_crc().map_err(|error| format!("offset {offset}: {error}"))?;
            found.push((batch.header.last_offset(), batch.header.crc));
            offset = batch.header.next_offset();
        }
        if offset == before {
            return Err(format!("nothing can be read at {offset}, the log ends at {end}"));
        }
    }
    Ok(found)
}

fn damage_files(disk: &dyn Disk, rng: &mut Rng) -> Result<(), String> {
    let names = disk.read_dir(Path::new(DIR)).map_err(|error| error.to_string())?;
    for _ in 0..rng.usize(1..4) {
        let path = Path::new(DIR).join(&names[rng.usize(..names.len())].name);
        let Ok(file) = disk.open(&path, false) else { continue };
        let mut bytes = disk.read(&path, 1 << 20).map_err(|error| error.to_string())?;
        match rng.u32(..8) {
            0 => disk.remove_file(&path).map_err(|error| error.to_string())?,
            _ => {
                damage(&mut bytes, rng);
                let written = file.set_len(0).and_then(|()| file.write_at(&bytes, 0));
                written.map_err(|error| error.to_string())?;
            }
        }
    }
    Ok(())
}

fn checkpoint_files(rng: &mut Rng) -> Result<(), String> {
    let disk = SimDisk::default();
    let dir = Path::new("/data");
    disk.create_dir_all(dir).map_err(|error| error.to_string())?;
    let texts = [
        "0\n2\ntopic 0 17\nother-topic 12 9223372036854775807\n",
        "#\nversion=1\ncluster.id=abc\nbroker.id=3\ndirectory.id=xyz\n",
        "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ\n",
        "{\"version\":0,\"brokerEpoch\":17}",
        "0\n1\n0 0\n",
    ];
    for _ in 0..30 {
        let bytes = damaged(texts[rng.usize(..texts.len())].as_bytes(), rng);
        for name in [
            checkpoints::RECOVERY_POINT_FILE,
            checkpoints::META_PROPERTIES_FILE,
            checkpoints::CLEAN_SHUTDOWN_FILE,
            "partition.metadata",
        ] {
            disk.write_atomic(&dir.join(name), &bytes).map_err(|error| error.to_string())?;
        }
        let _ = checkpoints::read_offsets(&disk, &dir.join(checkpoints::RECOVERY_POINT_FILE));
        let _ = checkpoints::read_meta_properties(&disk, dir);
        let _ = checkpoints::read_clean_shutdown(&disk, dir);
        let _ = metadata::read_topic_id(&disk, dir);
        let _ = Properties::parse(&String::from_utf8_lossy(&bytes), "server.properties");
    }
    Ok(())
}

fn group_and_cluster_records(rng: &mut Rng) -> Result<(), String> {
    let texts = [
        r#"{"controller_epoch":1,"leader":1,"version":1,"leader_epoch":0,"isr":[1,2]}"#,
        r#"{"version":5,"host":"h","port":1,"endpoints":["PLAINTEXT://h:1"],"jmx_port":-1,"timestamp":"1"}"#,
        r#"{"version":3,"topic_id":"AAAAAAAAAAAAAAAAAAAAAQ","partitions":{"0":[1]},"adding_replicas":{}}"#,
        r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1,2]}]}"#,
        r#"{"version":2,"brokerid":1,"timestamp":"1"}"#,
    ];
    for _ in 0..50 {
        let (key, value) = (damaged(vec![0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 0], rng), damaged(vec![0; 40], rng));
        let _ = GroupRecord::decode(Some(key), Some(value.clone()));
        let _ = GroupRecord::decode(Some(damaged(vec![0, 2, 0, 1, b'g'], rng)), Some(value));
        let bytes = damaged(texts[rng.usize(..texts.len())].as_bytes(), rng);
        let _ = json::PartitionState::decode(&bytes);
        let _ = json::BrokerRegistration::decode(&bytes);
        let _ = json::TopicRecord::decode(&bytes);
        let _ = json::decode_reassignment(&bytes);
        let _ = json::decode_partitions(&bytes);
        let _ = json::decode_controller(&bytes);
        let _ = json::decode_controller_epoch(&bytes);
        let _ = json::decode_config(&bytes);
        let _ = json::ProducerIdBlock::decode(&bytes);
        let _ = json::FeatureRecord::decode(&bytes);
    }
    Ok(())
}
