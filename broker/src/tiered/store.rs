//! The remote store as a folder that all brokers see: that of Kafka's `LocalTieredStorage`, to the name and the byte, so that a
//! Kafka with that class reads what is copied here, and the other way round:
//! `DIR/kafka-tiered-storage/TOPIC-PARTITION-TOPICID/START-SEGMENTID.log`, `.index`, `.timeindex`, `.txnindex`,
//! `.leader_epoch_checkpoint`, `.snapshot`, with ids in Kafka's base 64. Besides `DIR/castellan-store-id`, by which a folder that
//! is not the store is known. Decides nothing.

use super::segment::{Place, RemoteSegment};
use crate::log::remote::{self, RemoteFiles, RemoteState, RemoteTxnIndex, SegmentCopy};
use crate::log::{LogError, SegmentPaths};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use common::disk::{Disk, DiskFile};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// Says in the folder that is set which store it is: ids, one a line. Copies are told with the first; who puts two stores
/// together writes the ids of both.
const ID_FILE: &str = "castellan-store-id";
const ID_FILE_BYTES_MAX: usize = 1 << 16;
/// Kafka makes this folder in the one that is set.
const ROOT: &str = "kafka-tiered-storage";
/// Bytes that a copy has in memory.
const CHUNK_BYTES: usize = 1 << 20;
/// Neither leader epochs nor producers of a partition come near.
const SMALL_FILE_BYTES_MAX: usize = 64 << 20;
const EPOCHS_SUFFIX: &str = ".leader_epoch_checkpoint";
const PRODUCERS_SUFFIX: &str = ".snapshot";

/// See the top of the file.
pub struct Store {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    root: PathBuf,
}

/// What copies that are finished tell of the store they are in. A folder on which nothing is mounted, or another one, is not
/// it: what is copied there is lost, and the brokers would delete their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownStore {
    /// The ids that were told with them; those that a Kafka made have none.
    ids: BTreeSet<Uuid>,
    /// There was one.
    has_copies: bool,
    /// There may be more that are not known yet.
    is_partial: bool,
}

impl KnownStore {
    /// A copy was finished; `custom` is what was told with it.
    pub(super) fn note(&mut self, custom: Option<&Bytes>) {
        self.has_copies = true;
        self.ids.extend(custom.and_then(|custom| Uuid::from_slice(custom).ok()));
    }

    /// Takes in what is known of another partition's.
    pub(super) fn merge(&mut self, other: &KnownStore) {
        self.has_copies |= other.has_copies;
        self.ids.extend(&other.ids);
    }

    /// More may be known soon: until then no store is made.
    pub(super) fn note_partial(&mut self) {
        self.is_partial = true;
    }

    /// Some copy named its store.
    pub(super) fn is_named(&self) -> bool {
        !self.ids.is_empty()
    }
}

impl Store {
    /// The store in a folder. Nothing is made before the first copy.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path) -> Store {
        Store { disk, dir: dir.to_owned(), root: dir.join(ROOT) }
    }

    /// The id of the store. With `new` it is made if nothing is known of any; without it and without an id it is nil.
    /// An error if it is not the one that is known, or not there.
    fn identify(&self, known: &KnownStore, new: Option<Uuid>) -> Result<Uuid, LogError> {
        let path = self.dir.join(ID_FILE);
        let refused = |reason: &str| LogError::io("identify the remote store by", &path)(io::Error::other(reason));
        match self.disk.read(&path, ID_FILE_BYTES_MAX) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let ids: Vec<Uuid> = text.lines().filter_map(|line| Uuid::parse_str(line.trim()).ok()).collect();
                let first = ids.first().copied().ok_or_else(|| refused("it is empty: if it stays so, remove it"))?;
                if known.ids.iter().all(|id| ids.contains(id)) {
                    return Ok(first);
                }
                Err(refused("it is another store than the one that was copied to"))
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LogError::io("read", &path)(error)),
            Err(_) if known.is_named() => Err(refused("it is missing: is the store mounted?")),
            Err(_) => {
                if known.has_copies {
                    self.disk.read_dir(&self.root).map_err(LogError::io("find the copies in", &self.root))?;
                }
                let Some(new) = new else { return Ok(Uuid::nil()) };
                if known.is_partial {
                    return Err(refused("it is missing, and not all that was copied is known yet"));
                }
                self.make(&path, new)
            }
        }
    }

    /// Makes the store, durably, and says which it is. Of several brokers that do one succeeds.
    fn make(&self, path: &Path, id: Uuid) -> Result<Uuid, LogError> {
        self.disk.create_dir_all(&self.root).map_err(LogError::io("create", &self.root))?;
        let file = self.disk.create_new(path).map_err(LogError::io("create", path))?;
        let written = file.write_at(format!("{id}\n").as_bytes(), 0).and_then(|()| file.sync());
        if let Err(error) = written {
            // An empty one would keep every broker from copying until somebody removes it.
            if let Err(error) = self.disk.remove_file(path) {
                tracing::error!(path = %path.display(), %error, "not removed, though nothing is in it");
            }
            return Err(LogError::io("write", path)(error));
        }
        for dir in [Some(self.dir.as_path()), self.dir.parent()].into_iter().flatten() {
            if !dir.as_os_str().is_empty() {
                self.disk.sync_dir(dir).map_err(LogError::io("sync", dir))?;
            }
        }
        Ok(id)
    }

    fn dir_of(&self, place: &Place) -> PathBuf {
        let id = URL_SAFE_NO_PAD.encode(place.topic_id.as_bytes());
        self.root.join(format!("{}-{}-{id}", place.topic, place.partition))
    }

    fn file(&self, place: &Place, id: Uuid, start_offset: i64, suffix: &str) -> PathBuf {
        let id = URL_SAFE_NO_PAD.encode(id.as_bytes());
        self.dir_of(place).join(format!("{start_offset:020}-{id}{suffix}"))
    }

    fn paths(&self, place: &Place, id: Uuid, start_offset: i64) -> SegmentPaths {
        let file = |suffix| self.file(place, id, start_offset, suffix);
        SegmentPaths {
            log: file(".log"),
            index: file(".index"),
            time_index: file(".timeindex"),
            txn_index: file(".txnindex"),
        }
    }

    /// Copies a segment and makes it durable: the local one may go as soon as this is told. What was copied before a failure
    /// is removed again. Gives the store's id, which is to be told with it.
    pub fn copy(&self, place: &Place, id: Uuid, copy: &SegmentCopy, known: &KnownStore) -> Result<Uuid, LogError> {
        let store = self.identify(known, Some(id))?;
        let copied = self.copy_files(place, id, copy);
        if copied.is_err()
            && let Err(error) = self.remove_files(place, id, copy.start_offset)
        {
            tracing::error!(topic = &*place.topic, partition = place.partition, %id, %error, "parts of a copy remain");
        }
        copied.map(|()| store)
    }

    fn copy_files(&self, place: &Place, id: Uuid, copy: &SegmentCopy) -> Result<(), LogError> {
        let dir = self.dir_of(place);
        self.disk.create_dir_all(&dir).map_err(LogError::io("create", &dir))?;
        let paths = self.paths(place, id, copy.start_offset);
        let files = &copy.files;
        self.copy_file(files.log.as_ref(), Some(u64::from(copy.size_bytes)), &paths.log)?;
        self.copy_file(files.index.as_ref(), None, &paths.index)?;
        self.copy_file(files.time_index.as_ref(), None, &paths.time_index)?;
        if let Some(txn_index) = &files.txn_index {
            self.copy_file(txn_index.as_ref(), None, &paths.txn_index)?;
        }
        self.write(copy.epochs_text.as_bytes(), &self.file(place, id, copy.start_offset, EPOCHS_SUFFIX))?;
        self.write(&copy.producers, &self.file(place, id, copy.start_offset, PRODUCERS_SUFFIX))?;
        for dir in [&dir, &self.root] {
            self.disk.sync_dir(dir).map_err(LogError::io("sync", dir))?;
        }
        Ok(())
    }

    fn copy_file(&self, from: &dyn DiskFile, len: Option<u64>, to: &Path) -> Result<(), LogError> {
        let len = len.map_or_else(|| from.len(), Ok).map_err(LogError::io("measure what is copied to", to))?;
        let file = self.disk.open(to, true).map_err(LogError::io("create", to))?;
        let mut chunk = vec![0; usize::try_from(len).unwrap_or(usize::MAX).min(CHUNK_BYTES)];
        let mut position = 0;
        while position < len {
            let wanted = usize::try_from(len - position).unwrap_or(usize::MAX).min(chunk.len());
            let read =
                from.read_at(&mut chunk[..wanted], position).map_err(LogError::io("read what is copied to", to))?;
            if read < wanted {
                let short = io::Error::new(io::ErrorKind::UnexpectedEof, "the segment is shorter than it was");
                return Err(LogError::io("copy to", to)(short));
            }
            file.write_at(&chunk[..read], position).map_err(LogError::io("write", to))?;
            position += read as u64;
        }
        file.sync().map_err(LogError::io("sync", to))
    }

    fn write(&self, bytes: &[u8], to: &Path) -> Result<(), LogError> {
        let file = self.disk.open(to, true).map_err(LogError::io("create", to))?;
        file.write_at(bytes, 0).and_then(|()| file.sync()).map_err(LogError::io("write", to))
    }

    /// Removes a segment; no error if it is not there, but for the store. The partition's folder stays, as Kafka leaves it.
    pub fn remove(&self, place: &Place, id: Uuid, start_offset: i64, known: &KnownStore) -> Result<(), LogError> {
        self.identify(known, None)?;
        self.remove_files(place, id, start_offset)
    }

    fn remove_files(&self, place: &Place, id: Uuid, start_offset: i64) -> Result<(), LogError> {
        let paths = self.paths(place, id, start_offset);
        let file = |suffix| self.file(place, id, start_offset, suffix);
        let others = [file(EPOCHS_SUFFIX), file(PRODUCERS_SUFFIX)];
        for path in [paths.log, paths.index, paths.time_index, paths.txn_index].iter().chain(&others) {
            match self.disk.remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(LogError::io("remove", path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A segment, to be read.
    pub fn open(&self, place: &Place, segment: &RemoteSegment) -> Result<RemoteFiles, LogError> {
        let paths = self.paths(place, segment.id, segment.start_offset);
        RemoteFiles::open(self.disk.clone(), (segment.start_offset, segment.end_offset), paths)
    }

    /// A segment's aborted transactions; `None` if it has none. An error if the segment is not there: where no store is
    /// mounted no file is.
    pub fn open_txn_index(&self, place: &Place, segment: &RemoteSegment) -> Result<Option<RemoteTxnIndex>, LogError> {
        let paths = self.paths(place, segment.id, segment.start_offset);
        let index = RemoteTxnIndex::open(self.disk.clone(), paths.txn_index)?;
        if index.is_none() {
            self.disk.open(&paths.log, false).map_err(LogError::io("open", &paths.log))?;
        }
        Ok(index)
    }

    /// What a follower needs that goes on behind a segment.
    pub fn state_behind(
        &self,
        place: &Place,
        segment: &RemoteSegment,
        log_start_offset: i64,
    ) -> Result<RemoteState, LogError> {
        let read = |suffix| -> Result<(Vec<u8>, PathBuf), LogError> {
            let path = self.file(place, segment.id, segment.start_offset, suffix);
            let bytes = self.disk.read(&path, SMALL_FILE_BYTES_MAX).map_err(LogError::io("read", &path))?;
            Ok((bytes, path))
        };
        let (epochs, path) = read(EPOCHS_SUFFIX)?;
        let epochs = remote::parse_epochs(&String::from_utf8_lossy(&epochs), &path)?;
        let (producers, path) = read(PRODUCERS_SUFFIX)?;
        remote::check_producers(&producers, &path)?;
        Ok(RemoteState { next_offset: segment.end_offset + 1, log_start_offset, epochs, producers })
    }
}

#[cfg(test)]
#[cfg(feature = "server")]
mod tests {
    use super::*;
    use crate::server::disk::StdDisk;
    use common::disk::DirEntry;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A disk on which new files get no bytes while it is full.
    #[derive(Debug, Default)]
    struct Small {
        is_full: Arc<AtomicBool>,
    }

    #[derive(Debug)]
    struct SmallFile(Arc<dyn DiskFile>, Arc<AtomicBool>);

    impl Disk for Small {
        fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
            Ok(Arc::new(SmallFile(StdDisk.open(path, create)?, Arc::clone(&self.is_full))))
        }
        fn create_dir_all(&self, path: &Path) -> io::Result<()> {
            StdDisk.create_dir_all(path)
        }
        fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
            StdDisk.read_dir(path)
        }
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            StdDisk.rename(from, to)
        }
        fn remove_file(&self, path: &Path) -> io::Result<()> {
            StdDisk.remove_file(path)
        }
        fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
            StdDisk.remove_dir_all(path)
        }
        fn sync_dir(&self, path: &Path) -> io::Result<()> {
            StdDisk.sync_dir(path)
        }
    }

    impl DiskFile for SmallFile {
        fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
            self.0.read_at(buffer, position)
        }
        fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
            match self.1.load(Ordering::Relaxed) {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => self.0.write_at(bytes, position),
            }
        }
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.set_len(len)
        }
        fn sync(&self) -> io::Result<()> {
            self.0.sync()
        }
        fn as_file(&self) -> Option<&std::fs::File> {
            None
        }
    }

    #[test]
    fn a_store_is_made_once_all_is_known_and_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let is_full = Arc::new(AtomicBool::new(false));
        let store = Store::new(Arc::new(Small { is_full: is_full.clone() }), dir.path());
        let (id, mut partial) = (Uuid::from_u128(7), KnownStore::default());
        partial.note_partial();
        let is_made = || dir.path().join(ID_FILE).exists();
        assert!(store.identify(&partial, Some(id)).is_err() && !is_made() && !dir.path().join(ROOT).exists());
        is_full.store(true, Ordering::Relaxed);
        assert!(store.identify(&KnownStore::default(), Some(id)).is_err() && !is_made(), "an empty file is left");
        is_full.store(false, Ordering::Relaxed);
        assert_eq!(store.identify(&KnownStore::default(), Some(id)).unwrap(), id);
        // What is there is no new one.
        assert_eq!(store.identify(&partial, Some(Uuid::from_u128(8))).unwrap(), id);
    }
}
