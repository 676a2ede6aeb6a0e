//! The store on disk: RocksDB in one directory, written by one thread. Everything that waits is put into one write
//! batch and synced once. Decides nothing: what to write comes from the node, and what was found goes to it.

use crate::ensemble::membership::{Identity, Membership};
use crate::ensemble::message::{HardState, LogEntry, LogPosition};
use crate::ensemble::snapshot::{PART_BYTES, WINDOW_PARTS};
use crate::store::{Persisted, StoreWrite};
use crate::tree::Tree;
use crate::tree::snapshot::{LoadError, TreeLoader, encode_entry, entries_of};
use crate::zookeeper_data::export;
use bytes::Bytes;
use prost::Message;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, DBRawIterator, Env, IteratorMode,
    LogLevel, Options, ReadOptions, WriteBatch, WriteOptions,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use thiserror::Error;

/// The folder inside `dataDir`.
const FOLDER: &str = "store";
/// The folder inside `dataLogDir`, if that is another one: RocksDB's own log, the only thing that is synced.
const LOG_FOLDER: &str = "store-log";

const LOG: &str = "log";
/// One of these holds the tree; the other one what is being received to take its place.
const TREES: [&str; 2] = ["tree", "tree2"];
const META: &str = "meta";

/// The formats of a store that this version reads, the one it writes among them. Another format is read a version before it
/// is written, so that the version before can always be gone back to. A store without a number is of the first.
const FORMATS: std::ops::RangeInclusive<u64> = 1..=1;
/// The format that this version writes.
const FORMAT: u64 = 1;

const FORMAT_KEY: &[u8] = b"format";
const BOOT_KEY: &[u8] = b"boot";
const HARD_STATE_KEY: &[u8] = b"hard_state";
const COMPACTED_KEY: &[u8] = b"compacted";
const APPLIED_KEY: &[u8] = b"applied";
const IDENTITY_KEY: &[u8] = b"identity";
/// Which of the two it is, as one byte; the first if it is not there.
const TREE_KEY: &[u8] = b"tree";
const MEMBERSHIP_KEY: &[u8] = b"membership";

/// Memory for what is not yet in a sorted file, each for log and tree.
const WRITE_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Everything is read once, at start: a cache would hold what nobody asks for.
const CACHE_BYTES: usize = 1024 * 1024;
/// Writes joined in one batch; bounds the pause between two reports.
const JOINED_WRITES: usize = 1024;

/// Bytes that must be left on the disk: what RocksDB takes to put two write buffers into sorted files. Without them one of
/// its own writes would fail, and Debian's RocksDB, which is built with assertions, may end the process while it tries to
/// recover from that, before anybody was told why.
const RESERVE_BYTES: u64 = 2 * WRITE_BUFFER_BYTES as u64;

/// The store cannot be used.
#[derive(Debug, Error)]
pub enum DiskError {
    /// No room is left.
    #[error(
        "the disk of {path} is full: {left} bytes are left and a server needs {needed}. What was acknowledged is safe. Make \
         room there, or move the directory to a larger disk and name it in the configuration, and start the server again"
    )]
    Full {
        /// The store, or its log.
        path: PathBuf,
        /// What may be written.
        left: u64,
        /// What is needed at least.
        needed: u64,
    },
    /// Another process has it open.
    #[error("data directory {0} is used by another process")]
    InUse(PathBuf),
    /// The directory cannot be made.
    #[error("data directory {path} cannot be created: {error}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A version wrote it that this one does not know.
    #[error(
        "store {path} has format {found}, and this version reads {} to {}: start the version that wrote it, or one after it",
        FORMATS.start(), FORMATS.end()
    )]
    Format {
        /// The store.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// A record does not decode.
    #[error("store {path}: {what} is damaged")]
    Damaged {
        /// The store.
        path: PathBuf,
        /// Which record.
        what: String,
    },
    /// The records are no tree.
    #[error("store {path}: the stored tree cannot be loaded: {error}")]
    Tree {
        /// The store.
        path: PathBuf,
        /// Why.
        error: LoadError,
    },
    /// RocksDB reports an error.
    #[error("store {path}: {error}")]
    Rocks {
        /// The store.
        path: PathBuf,
        /// What it said.
        error: rocksdb::Error,
    },
}

/// Work for the disk thread.
enum Job {
    Write(Box<StoreWrite>),
    /// Read the stored tree for this transfer, a part for each permit.
    Export(u64, Receiver<()>),
    /// The stored tree as a snapshot of ZooKeeper.
    Snapshot(SnapshotReply),
}

/// That it is a snapshot's turn. It goes with the snapshot until that is sent, also when nobody waits for it any more.
pub(crate) type Turn = tokio::sync::OwnedSemaphorePermit;

/// A snapshot in memory, and its turn.
pub(crate) struct SnapshotBytes {
    bytes: Vec<u8>,
    _turn: Turn,
}

impl SnapshotBytes {
    pub(crate) fn new(bytes: Vec<u8>, turn: Turn) -> SnapshotBytes {
        SnapshotBytes { bytes, _turn: turn }
    }
}

impl AsRef<[u8]> for SnapshotBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Where a snapshot goes, with its zxid, and its turn.
pub(crate) type SnapshotReply = (tokio::sync::oneshot::Sender<Result<(i64, SnapshotBytes), DiskError>>, Turn);

/// What the disk thread reports.
pub(crate) enum DiskEvent {
    /// A part of the stored tree as it was when it was asked for.
    Exported {
        /// For which transfer.
        to: u64,
        /// Its entries.
        content: Bytes,
        /// True if it is the last part.
        is_last: bool,
    },
    /// All writes up to this number are durable.
    Persisted(u64),
    /// A write failed: nothing after it will be done.
    Failed(DiskError),
}

/// The open store.
pub(crate) struct Disk {
    writer: Arc<Mutex<Writer>>,
    /// Jobs that are queued or under way.
    waiting: Arc<AtomicUsize>,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// What lets the threads that read for transfers go on.
    exports: BTreeMap<u64, Sender<()>>,
}

impl Disk {
    /// Opens or creates the store and reads all that the node starts from.
    pub(crate) fn open(data_dir: &Path, data_log_dir: &Path) -> Result<(Store, Persisted, Tree), DiskError> {
        let (store, persisted) = Disk::open_log(data_dir, data_log_dir)?;
        let tree = load_tree(&store.db, &data_dir.join(FOLDER))?;
        Ok((store, persisted, tree))
    }

    /// Opens or creates the store and reads all but the tree.
    fn open_log(data_dir: &Path, data_log_dir: &Path) -> Result<(Store, Persisted), DiskError> {
        let path = data_dir.join(FOLDER);
        let log_path = if data_log_dir == data_dir { path.clone() } else { data_log_dir.join(LOG_FOLDER) };
        for path in [&path, &log_path] {
            let made = std::fs::create_dir_all(path);
            made.map_err(|error| DiskError::Directory { path: path.clone(), error })?;
            check_room(path, RESERVE_BYTES)?;
        }
        let db = open_db(&path, &log_path, data_dir)?;
        let persisted = load(&db, &path)?;
        Ok((Store { db, path, log_path }, persisted))
    }

    /// Starts the thread that writes.
    pub(crate) fn start(store: Store, report: impl Fn(DiskEvent) + Clone + Send + 'static) -> Result<Disk, DiskError> {
        let writer = Arc::new(Mutex::new(Writer::new(store)?));
        let waiting = Arc::new(AtomicUsize::new(0));
        let (jobs, queue) = channel();
        let (thread_writer, thread_waiting) = (Arc::clone(&writer), Arc::clone(&waiting));
        let thread = std::thread::Builder::new()
            .name("disk".to_owned())
            .spawn(move || run(&thread_writer, &thread_waiting, &queue, &report))
            .expect("the process may start a thread");
        Ok(Disk { writer, waiting, jobs: Some(jobs), thread: Some(thread), exports: BTreeMap::new() })
    }

    /// True if nothing is queued or under way: [`Disk::write_now`] would not wait for another write.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }

    /// Does a write on the calling thread, which waits for the disk; only while [`Disk::is_idle`]. The number to report.
    pub(crate) fn write_now(&self, write: &StoreWrite) -> Result<Option<u64>, DiskError> {
        assert!(self.is_idle(), "writes take effect in the order in which they are given");
        self.writer.lock().expect("no holder panics").write([write])
    }

    /// Queues a write. The node never has more than a few under way that it waits for, which bounds the queue.
    pub(crate) fn write(&self, write: StoreWrite) {
        self.queue(Job::Write(Box::new(write)));
    }

    /// Queues the reading of the tree as all writes before it have left it.
    pub(crate) fn export(&mut self, to: u64) {
        let (permits, permitted) = channel();
        for _ in 0..WINDOW_PARTS {
            let _ = permits.send(());
        }
        self.exports.insert(to, permits);
        self.queue(Job::Export(to, permitted));
    }

    /// Queues the making of a snapshot of the tree as all writes before it have left it.
    pub(crate) fn snapshot(&self, reply: SnapshotReply) {
        self.queue(Job::Snapshot(reply));
    }

    /// One more part is wanted.
    pub(crate) fn export_more(&self, to: u64) {
        if let Some(permits) = self.exports.get(&to) {
            // The thread may have given all there was.
            let _ = permits.send(());
        }
    }

    /// No more parts are wanted.
    pub(crate) fn export_end(&mut self, to: u64) {
        self.exports.remove(&to);
    }

    fn queue(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            // A closed queue means that a write failed, which was reported.
            let _ = jobs.send(job);
        }
    }

    /// Waits until all queued writes are done.
    pub(crate) fn close(mut self) {
        self.exports.clear();
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the disk thread has panicked");
        }
    }
}

/// A store that is open and not written yet.
pub(crate) struct Store {
    db: DB,
    path: PathBuf,
    /// RocksDB's own log.
    log_path: PathBuf,
}

/// An error unless so many bytes are left where `path` is. A disk that does not tell is not asked.
fn check_room(path: &Path, needed: u64) -> Result<(), DiskError> {
    let Ok(disk) = rustix::fs::statvfs(path) else { return Ok(()) };
    let left = disk.f_bavail.saturating_mul(disk.f_frsize);
    if left < needed { Err(DiskError::Full { path: path.to_owned(), left, needed }) } else { Ok(()) }
}

fn open_db(path: &Path, log_path: &Path, data_dir: &Path) -> Result<DB, DiskError> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_background_jobs(2);
    // Compaction has time; a write has not.
    let mut env = Env::new().map_err(|error| rocks(path, error))?;
    env.lower_thread_pool_cpu_priority();
    options.set_env(&env);
    options.set_max_open_files(256);
    options.set_keep_log_file_num(2);
    options.set_log_level(LogLevel::Warn);
    options.set_max_total_wal_size(64 * 1024 * 1024);
    options.set_bytes_per_sync(1024 * 1024);
    if log_path != path {
        options.set_wal_dir(log_path);
    }
    let cache = Cache::new_lru_cache(CACHE_BYTES).map_err(|error| rocks(path, error))?;
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&cache);
    let family = |name: &str, compression| {
        let mut options = Options::default();
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_max_write_buffer_number(2);
        options.set_compression_type(compression);
        options.set_block_based_table_factory(&blocks);
        ColumnFamilyDescriptor::new(name, options)
    };
    let families = [
        family(LOG, DBCompressionType::None),
        family(TREES[0], DBCompressionType::Lz4),
        family(TREES[1], DBCompressionType::Lz4),
        family(META, DBCompressionType::None),
    ];
    DB::open_cf_descriptors(&options, path, families).map_err(|error| {
        if error.to_string().contains("lock") { DiskError::InUse(data_dir.to_owned()) } else { rocks(path, error) }
    })
}

fn rocks(path: &Path, error: rocksdb::Error) -> DiskError {
    DiskError::Rocks { path: path.to_owned(), error }
}

fn load(db: &DB, path: &Path) -> Result<Persisted, DiskError> {
    let damaged = |what: &str| DiskError::Damaged { path: path.to_owned(), what: what.to_owned() };
    let meta = family(db, META);
    let record = |key: &[u8]| db.get_cf(meta, key).map_err(|error| rocks(path, error));
    let number = |key: &[u8], what: &str| -> Result<u64, DiskError> {
        let Some(bytes) = record(key)? else { return Ok(0) };
        bytes.try_into().map(u64::from_be_bytes).map_err(|_| damaged(what))
    };
    // Before anything else is believed, or changed.
    if let Some(found) = record(FORMAT_KEY)?.map(|_| number(FORMAT_KEY, "format")).transpose()?
        && !FORMATS.contains(&found)
    {
        return Err(DiskError::Format { path: path.to_owned(), found });
    }
    let mut persisted = Persisted {
        boot: number(BOOT_KEY, "boot count")? + 1,
        applied: number(APPLIED_KEY, "applied index")?,
        ..Default::default()
    };
    if let Some(bytes) = record(HARD_STATE_KEY)? {
        persisted.hard_state = HardState::decode(&bytes[..]).map_err(|_| damaged("consensus state"))?;
    }
    if let Some(bytes) = record(IDENTITY_KEY)? {
        persisted.identity = Identity::decode(&bytes[..]).map_err(|_| damaged("identity"))?;
    }
    if let Some(bytes) = record(MEMBERSHIP_KEY)? {
        persisted.membership = Some(Membership::decode(&bytes[..]).map_err(|_| damaged("membership"))?);
    }
    if let Some(bytes) = record(COMPACTED_KEY)? {
        persisted.compacted = LogPosition::decode(&bytes[..]).map_err(|_| damaged("log position"))?;
    }
    let mut batch = WriteBatch::default();
    batch.put_cf(meta, FORMAT_KEY, FORMAT.to_be_bytes());
    batch.put_cf(meta, BOOT_KEY, persisted.boot.to_be_bytes());
    db.write_opt(batch, &synced(true)).map_err(|error| rocks(path, error))?;
    for record in db.iterator_cf(family(db, LOG), IteratorMode::Start) {
        let (key, value) = record.map_err(|error| rocks(path, error))?;
        let entry = LogEntry::decode(bytes::Bytes::from(value)).map_err(|_| damaged("a log entry"))?;
        let expected = persisted.entries.last().map_or(persisted.compacted.index, |last| last.index) + 1;
        if key[..] != entry.index.to_be_bytes() || entry.index > expected {
            return Err(damaged(&format!("log entry {expected}")));
        }
        if entry.index == expected {
            persisted.entries.push(entry);
        }
    }
    Ok(persisted)
}

/// Which of the two families holds the tree.
fn tree_place(db: &DB) -> Result<usize, rocksdb::Error> {
    let record = db.get_cf(family(db, META), TREE_KEY)?;
    Ok(usize::from(record.is_some_and(|bytes| bytes == [1])))
}

/// Reads the tree as it is now.
fn load_tree(db: &DB, path: &Path) -> Result<Tree, DiskError> {
    let place = tree_place(db).map_err(|error| rocks(path, error))?;
    put_together(db.raw_iterator_cf_opt(family(db, TREES[place]), all_at_once()), path)
}

/// One thread reads, the other puts the tree together.
fn put_together(mut records: DBRawIterator<'_>, path: &Path) -> Result<Tree, DiskError> {
    let damaged = |error| DiskError::Tree { path: path.to_owned(), error };
    std::thread::scope(|scope| {
        let (parts, read) = sync_channel(WINDOW_PARTS);
        let reader = scope.spawn(move || read_parts(&mut records, |part, _| parts.send(part).is_ok()));
        let mut loader = TreeLoader::default();
        for part in read {
            for entry in entries_of(&part) {
                let (key, value) = entry.map_err(damaged)?;
                loader.push(key, value).map_err(damaged)?;
            }
        }
        reader.join().expect("reading does not panic").map_err(|error| rocks(path, error))?;
        loader.finish().map_err(damaged)
    })
}

/// How much less than the rest of the server a thread gets of the processors that reads the whole store.
const READING_NICENESS: i32 = 10;

/// This thread has time. Where that cannot be said it takes its share.
fn yield_to_others() {
    let _ = rustix::process::nice(READING_NICENESS);
}

/// Everything is read once, from one end to the other.
fn all_at_once() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_readahead_size(1024 * 1024);
    options
}

/// Gives all records in parts of whole ones, each with whether it is the last, until the taker has enough.
fn read_parts(
    records: &mut DBRawIterator<'_>,
    mut take: impl FnMut(Vec<u8>, bool) -> bool,
) -> Result<(), rocksdb::Error> {
    let mut part = Vec::with_capacity(PART_BYTES + 4096);
    records.seek_to_first();
    while let Some((key, value)) = records.item() {
        encode_entry(key, value, &mut part);
        records.next();
        if part.len() >= PART_BYTES && records.valid() {
            let whole = std::mem::replace(&mut part, Vec::with_capacity(PART_BYTES + 4096));
            if !take(whole, false) {
                return Ok(());
            }
        }
    }
    records.status()?;
    take(part, true);
    Ok(())
}

fn family<'a>(db: &'a DB, name: &str) -> &'a rocksdb::ColumnFamily {
    db.cf_handle(name).expect("all column families are created on opening")
}

fn synced(sync: bool) -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(sync);
    options
}

/// What writes to the store, on one thread at a time.
struct Writer {
    db: Arc<DB>,
    path: PathBuf,
    log_path: PathBuf,
    place: Place,
    sync: WriteOptions,
    lazy: WriteOptions,
}

impl Writer {
    fn new(Store { db, path, log_path }: Store) -> Result<Writer, DiskError> {
        let last_index = db
            .iterator_cf(family(&db, LOG), IteratorMode::End)
            .next()
            .and_then(Result::ok)
            .and_then(|(key, _)| key[..].try_into().ok())
            .map_or(0, u64::from_be_bytes);
        let tree = tree_place(&db).map_err(|error| rocks(db.path(), error))?;
        let place = Place { last_index, tree };
        Ok(Writer { db: Arc::new(db), path, log_path, place, sync: synced(true), lazy: synced(false) })
    }

    /// All of them or none, synced if one of them wants that. The last number to report.
    fn write<'a>(&mut self, writes: impl IntoIterator<Item = &'a StoreWrite>) -> Result<Option<u64>, DiskError> {
        let mut batch = WriteBatch::default();
        let mut number = None;
        for write in writes {
            number = write.number.or(number);
            add(&self.db, &mut batch, write, &mut self.place);
        }
        let needed = RESERVE_BYTES + batch.size_in_bytes() as u64;
        check_room(&self.log_path, needed)?;
        if self.path != self.log_path {
            check_room(&self.path, needed)?;
        }
        let options = if number.is_some() { &self.sync } else { &self.lazy };
        self.db.write_opt(batch, options).map_err(|error| rocks(self.db.path(), error))?;
        Ok(number)
    }
}

fn run(
    writer: &Mutex<Writer>,
    waiting: &AtomicUsize,
    queue: &Receiver<Job>,
    report: &(impl Fn(DiskEvent) + Clone + Send + 'static),
) {
    let mut exports: Vec<JoinHandle<()>> = Vec::new();
    while let Ok(first) = queue.recv() {
        let mut writes = Vec::new();
        let mut reading = None;
        let mut taken = 0;
        for job in std::iter::once(first).chain(queue.try_iter()).take(JOINED_WRITES) {
            taken += 1;
            match job {
                Job::Write(write) => writes.push(write),
                // What was asked before it must be in it, what is asked after it must not.
                Job::Export(..) | Job::Snapshot(_) => {
                    reading = Some(job);
                    break;
                }
            }
        }
        let mut writer = writer.lock().expect("no holder panics");
        let number = match writer.write(writes.iter().map(|write| &**write)) {
            Ok(number) => number,
            Err(error) => return report(DiskEvent::Failed(error)),
        };
        let (db, tree) = (Arc::clone(&writer.db), TREES[writer.place.tree]);
        if reading.is_some() {
            exports.retain(|thread| !thread.is_finished());
        }
        match reading {
            Some(Job::Snapshot(reply)) => exports.push(start_snapshot(&db, tree, reply)),
            Some(Job::Export(to, permitted)) => {
                exports.push(start_export(&db, tree, (to, permitted), report.clone()));
            }
            Some(Job::Write(_)) | None => {}
        }
        drop(writer);
        waiting.fetch_sub(taken, Ordering::Release);
        if let Some(number) = number {
            report(DiskEvent::Persisted(number));
        }
    }
    for thread in exports {
        if thread.join().is_err() {
            tracing::error!("a thread that read the store has panicked");
        }
    }
}

/// Makes a snapshot of the tree as it is now, while writes go on: for this time there is a second tree in memory.
fn start_snapshot(db: &Arc<DB>, tree: &'static str, (reply, turn): SnapshotReply) -> JoinHandle<()> {
    let db = Arc::clone(db);
    let (ready, is_ready) = channel();
    let thread = std::thread::Builder::new().name("snapshot".to_owned()).spawn(move || {
        let snapshot = db.snapshot();
        // The disk thread may write on as soon as this moment is held fast.
        let _ = ready.send(());
        yield_to_others();
        let records = snapshot.raw_iterator_cf_opt(family(&db, tree), all_at_once());
        let made = put_together(records, db.path());
        let made = made.map(|tree| (tree.zxid(), SnapshotBytes::new(export(&tree), turn)));
        // Who asked may be gone.
        let _ = reply.send(made);
    });
    let thread = thread.expect("the process may start a thread");
    let _ = is_ready.recv();
    thread
}

/// Reads the tree as it is now, while writes go on.
fn start_export(
    db: &Arc<DB>,
    tree: &'static str,
    (to, permitted): (u64, Receiver<()>),
    report: impl Fn(DiskEvent) + Send + 'static,
) -> JoinHandle<()> {
    let db = Arc::clone(db);
    let (ready, is_ready) = channel();
    let thread = std::thread::Builder::new().name("export".to_owned()).spawn(move || {
        let snapshot = db.snapshot();
        // The disk thread may write on as soon as this moment is held fast.
        let _ = ready.send(());
        yield_to_others();
        let mut records = snapshot.raw_iterator_cf_opt(family(&db, tree), all_at_once());
        let done = read_parts(&mut records, |part, is_last| {
            let is_wanted = permitted.recv().is_ok();
            if is_wanted {
                report(DiskEvent::Exported { to, content: Bytes::from(part), is_last });
            }
            is_wanted
        });
        if let Err(error) = done {
            report(DiskEvent::Failed(rocks(db.path(), error)));
        }
    });
    let thread = thread.expect("the process may start a thread");
    let _ = is_ready.recv();
    thread
}

/// What the disk thread knows of the store.
struct Place {
    /// End of the log.
    last_index: u64,
    /// Which family holds the tree.
    tree: usize,
}

fn add(db: &DB, batch: &mut WriteBatch, write: &StoreWrite, place: &mut Place) {
    let (log, meta) = (family(db, LOG), family(db, META));
    if let Some(position) = write.installed {
        batch.delete_range_cf(log, 0u64.to_be_bytes(), u64::MAX.to_be_bytes());
        batch.put_cf(meta, COMPACTED_KEY, position.encode_to_vec());
        place.last_index = position.index;
    }
    add_staged(db, batch, write, place);
    let tree = family(db, TREES[place.tree]);
    if let Some(state) = write.hard_state {
        batch.put_cf(meta, HARD_STATE_KEY, state.encode_to_vec());
    }
    if let Some(first) = write.entries.first()
        && first.index <= place.last_index
    {
        batch.delete_range_cf(log, first.index.to_be_bytes(), (place.last_index + 1).to_be_bytes());
    }
    for entry in &write.entries {
        batch.put_cf(log, entry.index.to_be_bytes(), entry.encode_to_vec());
        place.last_index = entry.index;
    }
    for (key, value) in &write.tree {
        match value {
            Some(value) => batch.put_cf(tree, key, value),
            None => batch.delete_cf(tree, key),
        }
    }
    if let Some(identity) = write.identity {
        batch.put_cf(meta, IDENTITY_KEY, identity.encode_to_vec());
    }
    if let Some(membership) = &write.membership {
        batch.put_cf(meta, MEMBERSHIP_KEY, membership.as_ref().encode_to_vec());
    }
    if let Some(applied) = write.applied {
        batch.put_cf(meta, APPLIED_KEY, applied.to_be_bytes());
    }
    if let Some(position) = write.compacted {
        batch.delete_range_cf(log, 0u64.to_be_bytes(), (position.index + 1).to_be_bytes());
        batch.put_cf(meta, COMPACTED_KEY, position.encode_to_vec());
    }
}

/// What is received is laid aside in the family that does not hold the tree, and becomes the tree when that changes.
fn add_staged(db: &DB, batch: &mut WriteBatch, write: &StoreWrite, place: &mut Place) {
    // No key of the tree begins with such a byte, so this one is behind them all.
    let behind_all = vec![0xff; 64];
    if let Some(staged) = &write.staged {
        let aside = family(db, TREES[1 - place.tree]);
        if staged.is_first {
            batch.delete_range_cf(aside, Vec::new(), behind_all.clone());
        }
        for (key, value) in &staged.entries {
            batch.put_cf(aside, key, value);
        }
    }
    if write.takes_staged {
        batch.delete_range_cf(family(db, TREES[place.tree]), Vec::new(), behind_all);
        place.tree = 1 - place.tree;
        batch.put_cf(family(db, META), TREE_KEY, [u8::from(place.tree == 1)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn entry(index: u64, term: u64) -> LogEntry {
        LogEntry { index, term, kind: 0, data: bytes::Bytes::from(format!("{index}@{term}")) }
    }

    /// What the store holds, the tree's records as they are.
    fn open(dir: &Path) -> (Store, Persisted) {
        let (store, mut found) = Disk::open_log(dir, dir).unwrap();
        let place = tree_place(&store.db).unwrap();
        let records = store.db.iterator_cf(family(&store.db, TREES[place]), IteratorMode::Start);
        found.tree = records.map(Result::unwrap).map(|(key, value)| (key.into_vec(), value.into_vec())).collect();
        (store, found)
    }

    /// Gives the writes to the real store and to the one in memory; both must hold the same when opened again.
    fn check(writes: &[StoreWrite]) {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = crate::store::MemoryStore::default();
        for (round, write) in writes.iter().enumerate() {
            let (db, found) = open(dir.path());
            assert_eq!(found, memory.open(), "before write {round}");
            let (reports, reported) = mpsc::channel();
            let disk = Disk::start(db, move |event| {
                let DiskEvent::Persisted(number) = event else { panic!("write failed") };
                reports.send(number).unwrap();
            })
            .unwrap();
            disk.write(write.clone());
            disk.close();
            memory.write(write);
            assert_eq!(reported.try_iter().last(), write.number);
        }
        let (_db, found) = open(dir.path());
        assert_eq!(found, memory.open());
    }

    #[test]
    fn holds_what_was_written() {
        let position = |index, term| Some(LogPosition { index, term });
        check(&[
            StoreWrite {
                number: Some(3),
                hard_state: Some(HardState { term: 1, vote: 2, commit: 0 }),
                entries: vec![entry(1, 1), entry(2, 1), entry(3, 1)],
                ..Default::default()
            },
            StoreWrite { number: Some(4), entries: vec![entry(2, 2)], ..Default::default() },
            StoreWrite {
                tree: vec![(b"/".to_vec(), Some(b"x".to_vec())), (b"/a".to_vec(), Some(Vec::new()))],
                applied: Some(2),
                ..Default::default()
            },
            StoreWrite {
                tree: vec![(b"/a".to_vec(), None)],
                applied: Some(2),
                compacted: position(1, 1),
                ..Default::default()
            },
            staged(true, "/void"),
            staged(true, "/y"),
            StoreWrite {
                number: Some(6),
                tree: vec![(b"/a".to_vec(), Some(b"a".to_vec()))],
                identity: Some(Identity { incarnation: 7, is_founder: true }),
                ..Default::default()
            },
            staged(false, "/z"),
            StoreWrite {
                number: Some(7),
                installed: position(40, 5),
                takes_staged: true,
                applied: Some(40),
                membership: Some(Box::new(Membership { ensemble: 9, ..Default::default() })),
                ..Default::default()
            },
            StoreWrite { number: Some(8), entries: vec![entry(41, 5)], ..Default::default() },
            staged(true, "/x"),
            StoreWrite { takes_staged: true, applied: Some(41), ..Default::default() },
        ]);
    }

    fn staged(is_first: bool, path: &str) -> StoreWrite {
        let entries = vec![(path.as_bytes().to_vec(), b"s".to_vec())];
        StoreWrite { staged: Some(crate::store::Staged { is_first, entries }), ..Default::default() }
    }

    #[test]
    fn a_tree_is_read_in_parts_as_it_was_when_it_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let (db, _) = open(dir.path());
        let (reports, reported) = mpsc::channel();
        let mut disk = Disk::start(db, move |event| reports.send(event).unwrap()).unwrap();
        let record = |i: u32, value: u8| (i.to_be_bytes().to_vec(), Some(vec![value; 1000]));
        let write = |value| StoreWrite { tree: (0..5000).map(|i| record(i, value)).collect(), ..Default::default() };
        disk.write(write(1));
        disk.export(77);
        disk.write(write(2));
        let mut keys = 0;
        for part in 0.. {
            let Ok(DiskEvent::Exported { to: 77, content, is_last }) = reported.recv() else { panic!("part {part}") };
            assert!(content.len() < PART_BYTES + 2_000);
            for entry in entries_of(&content) {
                let (key, value) = entry.unwrap();
                assert_eq!((key, value), (&u32::to_be_bytes(keys)[..], &[1; 1000][..]));
                keys += 1;
            }
            if is_last {
                break;
            }
            if part + 1 == WINDOW_PARTS {
                assert!(reported.try_recv().is_err(), "no more than were asked for");
            }
            if part + 1 >= WINDOW_PARTS {
                disk.export_more(77);
            }
        }
        assert_eq!(keys, 5000);
        // One that nobody wants any more ends.
        disk.export(78);
        disk.close();
    }

    #[test]
    fn a_full_disk_is_told_before_a_write_fails() {
        let dir = tempfile::tempdir().unwrap();
        check_room(dir.path(), 1).unwrap();
        let error = check_room(dir.path(), u64::MAX).unwrap_err().to_string();
        assert!(error.contains("is full") && error.contains("start the server again"), "{error}");
    }

    #[test]
    fn a_store_of_another_format_is_refused_by_name() {
        for (stored, problem) in [
            (None, None),
            (Some(FORMAT.to_be_bytes().to_vec()), None),
            (Some(0_u64.to_be_bytes().to_vec()), Some("has format 0, and this version reads 1 to 1")),
            (Some(7_u64.to_be_bytes().to_vec()), Some("has format 7, and this version reads 1 to 1")),
            (Some(b"x".to_vec()), Some("format is damaged")),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let (store, _) = open(dir.path());
            let meta = family(&store.db, META);
            assert_eq!(store.db.get_cf(meta, FORMAT_KEY).unwrap(), Some(FORMAT.to_be_bytes().to_vec()));
            match &stored {
                Some(value) => store.db.put_cf(meta, FORMAT_KEY, value).unwrap(),
                None => store.db.delete_cf(meta, FORMAT_KEY).unwrap(),
            }
            drop(store);
            let told = Disk::open_log(dir.path(), dir.path()).map(|_| ()).map_err(|error| error.to_string());
            let told = told.err().unwrap_or_default();
            assert_eq!(told.is_empty(), problem.is_none(), "{stored:?}: {told}");
            assert!(told.contains(problem.unwrap_or_default()), "{stored:?}: {told}");
        }
    }

    #[test]
    fn a_second_process_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let _open = Disk::open(dir.path(), dir.path()).unwrap();
        let error = Disk::open(dir.path(), dir.path()).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), format!("data directory {} is used by another process", dir.path().display()));
    }
}
