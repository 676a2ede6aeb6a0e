//! Making records durable, in place or as work that another thread does without the partition's lock; closing and
//! deleting a log. Decides no intervals.

use super::metadata;
use super::{Log, LogError};
use common::Rng;
use common::disk::{Disk, DiskFile};
use common::time::Now;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// The syncs that make a log durable up to an offset. To be run without holding the log.
pub struct FlushWork {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    files: Vec<Arc<dyn DiskFile>>,
    syncs_dir: bool,
    /// The first time, the folder's own name as well.
    syncs_name: bool,
    offset: i64,
    truncations: u64,
}

impl FlushWork {
    /// Does the syncs; blocks.
    pub fn run(&self) -> Result<(), LogError> {
        for file in &self.files {
            file.sync().map_err(LogError::io("sync a file in", &self.dir))?;
        }
        if self.syncs_dir {
            self.disk.sync_dir(&self.dir).map_err(LogError::io("sync", &self.dir))?;
        }
        match self.dir.parent().filter(|_| self.syncs_name) {
            Some(parent) => self.disk.sync_dir(parent).map_err(LogError::io("sync", parent)),
            None => Ok(()),
        }
    }
}

impl Log {
    /// Syncs all records. The recovery point is then the log end.
    pub fn flush(&mut self) -> Result<(), LogError> {
        if let Some(work) = self.start_flush(false)? {
            work.run()?;
            self.finish_flush(&work);
        }
        Ok(())
    }

    /// What must be synced; `None` if nothing must. With `only_rolled` the active segment, which is being written, is
    /// left away: this is what Kafka does in the background after a roll.
    pub fn start_flush(&mut self, only_rolled: bool) -> Result<Option<FlushWork>, LogError> {
        let offset = if only_rolled { self.active_base_offset() } else { self.log_end_offset };
        if offset <= self.recovery_point {
            return Ok(None);
        }
        self.epochs.sync()?;
        let first = self.segments.range(..=self.recovery_point).next_back().map_or(0, |(base, _)| *base);
        let mut files = Vec::new();
        let mut syncs_dir = self.recovery_point == 0;
        if syncs_dir {
            files.extend(metadata::to_sync(self.disk.as_ref(), &self.dir)?);
        }
        for (base, segment) in self.segments.range_mut(first..) {
            if only_rolled && *base >= offset {
                break;
            }
            syncs_dir |= *base >= self.recovery_point;
            segment.write_indexes(self.disk.as_ref())?;
            files.extend(segment.files_to_sync());
        }
        Ok(Some(FlushWork {
            disk: Arc::clone(&self.disk),
            dir: self.dir.clone(),
            files,
            syncs_dir,
            syncs_name: self.recovery_point == 0,
            offset,
            truncations: self.truncations,
        }))
    }

    /// Takes note that `work` was run. Without effect if the log was truncated since it was started.
    pub fn finish_flush(&mut self, work: &FlushWork) {
        if work.truncations != self.truncations {
            return;
        }
        self.recovery_point = self.recovery_point.max(work.offset);
        if self.recovery_point >= self.log_end_offset {
            self.unflushed_since = None;
        }
    }

    /// Whether a record has been waiting for `flush.ms`.
    pub fn is_flush_due(&self, now: Now) -> bool {
        self.unflushed_since.is_some_and(|since| (now.mono - since) as i128 >= i128::from(self.config.flush_ms))
    }

    /// Syncs everything and leaves a snapshot of the producers, so that the next opening (with `clean_shutdown`, if
    /// the log directory gets its marker) reads next to nothing.
    pub fn close(&mut self) -> Result<(), LogError> {
        let disk = Arc::clone(&self.disk);
        self.remove_doomed(None);
        // A log to which nothing was written since it was opened is as durable as it was; most of thousands are.
        let is_empty = self.log_start_offset == self.log_end_offset;
        let is_settled = self.log_end_offset <= self.recovery_point && !self.producers.lacks_snapshot();
        // Kafka takes a segment without indexes for a damaged one.
        self.active_mut().make_indexes(disk.as_ref())?;
        if is_settled && (is_empty || !self.epochs.is_unsynced()) {
            return Ok(());
        }
        self.epochs.sync()?;
        self.producers.take_snapshot()?;
        self.producers.sync_snapshot()?;
        self.active_mut().finish_indexes(disk.as_ref())?;
        for file in self.active().files_to_sync() {
            file.sync().map_err(LogError::io("sync a file in", &self.dir))?;
        }
        self.flush()?;
        disk.sync_dir(&self.dir).map_err(LogError::io("sync", &self.dir))
    }

    /// Renames the directory to `topic-partition.<id>-delete`, so that a log of the same name can be made at once, and
    /// gives the new path, which [`remove_deleted_dir`] removes. The log is gone for its owner; reads that are under
    /// way keep their files.
    pub fn delete(&mut self, rng: &mut Rng) -> Result<PathBuf, LogError> {
        let to = renamed_dir(&self.dir, "delete", rng);
        self.disk.rename(&self.dir, &to).map_err(LogError::io("rename", &self.dir))?;
        if let Some(parent) = to.parent() {
            self.disk.sync_dir(parent).map_err(LogError::io("sync", parent))?;
        }
        Ok(to)
    }

    /// Renames the directory, as [`Log::delete`] does, to a name from which it may come back. To be closed before.
    pub fn rename_away(&mut self, to: &Path) -> Result<(), LogError> {
        self.disk.rename(&self.dir, to).map_err(LogError::io("rename", &self.dir))?;
        match to.parent() {
            Some(parent) => self.disk.sync_dir(parent).map_err(LogError::io("sync", parent)),
            None => Ok(()),
        }
    }

    /// Moves the log to another directory on the same file system (`-future` directories that become current).
    pub fn rename_dir(&mut self, to: PathBuf) -> Result<(), LogError> {
        self.disk.rename(&self.dir, &to).map_err(LogError::io("rename", &self.dir))?;
        for segment in self.segments.values_mut() {
            segment.set_dir(&to);
        }
        self.epochs.set_dir(&to);
        self.producers.set_dir(&to);
        self.move_doomed(&to);
        self.dir = to;
        match self.dir.parent() {
            Some(parent) => self.disk.sync_dir(parent).map_err(LogError::io("sync", parent)),
            None => Ok(()),
        }
    }

    /// The topic id in `partition.metadata`.
    pub fn topic_id(&self) -> Result<Option<Uuid>, LogError> {
        metadata::read_topic_id(self.disk.as_ref(), &self.dir)
    }

    /// Writes the topic id to `partition.metadata`; to be done before the first append. It is synced together with the
    /// first records.
    pub fn set_topic_id(&mut self, topic_id: Uuid) -> Result<(), LogError> {
        metadata::write_topic_id(self.disk.as_ref(), &self.dir, topic_id)
    }
}

/// `topic-partition.<32 hex digits>-suffix`; the topic is cut so that the name stays within 255 bytes.
fn renamed_dir(dir: &Path, suffix: &str, rng: &mut Rng) -> PathBuf {
    let name = dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let (topic, partition) = name.rsplit_once('-').unwrap_or((&name, "0"));
    let tail = format!("-{partition}.{:032x}-{suffix}", rng.u128(..));
    // Topic names are ASCII; should one not be, cutting at a character is still needed.
    let mut keep = topic.len().min(255_usize.saturating_sub(tail.len()));
    while !topic.is_char_boundary(keep) {
        keep -= 1;
    }
    dir.with_file_name(format!("{}{tail}", &topic[..keep]))
}

/// Whether a directory's name says that it waits for removal.
pub fn is_deleted_dir(name: &str) -> bool {
    name.ends_with("-delete") && name.contains('.')
}

/// Removes a directory that [`Log::delete`] renamed, with all in it.
pub fn remove_deleted_dir(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    disk.remove_dir_all(dir).map_err(LogError::io("remove", dir))
}
