//! The remote store as a folder that all brokers see: that of Kafka's `LocalTieredStorage`, to the name and the byte, so that a
//! Kafka with that class reads what is copied here, and the other way round:
//! `DIR/kafka-tiered-storage/TOPIC-PARTITION-TOPICID/START-SEGMENTID.log`, `.index`, `.timeindex`, `.txnindex`,
//! `.leader_epoch_checkpoint`, `.snapshot`, with ids in Kafka's base 64. Decides nothing.

use super::segment::{Place, RemoteSegment};
use crate::log::remote::{self, RemoteFiles, RemoteState, SegmentCopy};
use crate::log::{LogError, SegmentPaths};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::disk::{Disk, DiskFile};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

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
    root: PathBuf,
}

impl Store {
    /// The store in a folder. Nothing is made before the first copy.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path) -> Store {
        Store { disk, root: dir.join(ROOT) }
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
    /// is removed again.
    pub fn copy(&self, place: &Place, id: Uuid, copy: &SegmentCopy) -> Result<(), LogError> {
        let copied = self.copy_files(place, id, copy);
        if copied.is_err()
            && let Err(error) = self.remove(place, id, copy.start_offset)
        {
            tracing::error!(topic = &*place.topic, partition = place.partition, %id, %error, "parts of a copy remain");
        }
        copied
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

    /// Removes a segment; no error if it is not there. The partition's folder stays, as Kafka leaves it.
    pub fn remove(&self, place: &Place, id: Uuid, start_offset: i64) -> Result<(), LogError> {
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
