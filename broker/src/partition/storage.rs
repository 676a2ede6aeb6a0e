//! The log directories of a broker: what is loaded at the start, where a new partition goes, checkpoints, and the removal
//! of deleted partitions. Knows files, not leaders.

pub(super) mod kept;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use common::disk::Disk;
use common::id::TopicPartition;
use common::time::{Millis, Now};
use thiserror::Error;

use self::kept::{KeptId, Mark, parse_kept_dir_name};
use super::moving::{self, COMPLETE_FILE, FutureLog};
use super::past::{self, DirPast, Kept};
use super::{Opened, Shared};
use crate::cluster::json::DiskPast;
use crate::log::checkpoints::{
    CLEAN_SHUTDOWN_FILE, CLEANER_OFFSET_FILE, CleanShutdown, HIGH_WATERMARK_FILE, LOG_START_OFFSET_FILE,
    MetaProperties, RECOVERY_POINT_FILE, read_clean_shutdown, read_meta_properties, read_offsets,
    remove_clean_shutdown, write_clean_shutdown, write_meta_properties, write_offsets,
};
use crate::log::{Log, LogConfig, LogError, OpenState, is_deleted_dir, remove_deleted_dir};

/// Why the log directories cannot be used.
#[derive(Debug, Error)]
pub enum StorageError {
    /// A log cannot be opened for another reason than the disk.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Two directories hold the same partition.
    #[error("partition {partition} is in both {} and {}", first.display(), second.display())]
    Duplicate {
        /// The partition.
        partition: TopicPartition,
        /// Its first directory.
        first: PathBuf,
        /// Its other directory.
        second: PathBuf,
    },
    /// No directory of `log.dirs` can be used.
    #[error("none of the log directories can be used")]
    NoneUsable,
    /// A directory belongs to another cluster.
    #[error("cluster id is {actual}, but {} of {} says {stored}; is zookeeper.connect or log.dirs wrong?", crate::log::checkpoints::META_PROPERTIES_FILE, dir.display())]
    OtherCluster {
        /// The directory.
        dir: PathBuf,
        /// Its cluster.
        stored: String,
        /// The cluster that the broker found.
        actual: String,
    },
    /// A directory belongs to another broker.
    #[error("broker.id is {actual}, but {} of {} says {stored}; use that id or another directory", crate::log::checkpoints::META_PROPERTIES_FILE, dir.display())]
    OtherBroker {
        /// The directory.
        dir: PathBuf,
        /// Its broker.
        stored: i32,
        /// This broker.
        actual: i32,
    },
}

/// One directory of `log.dirs`.
#[derive(Debug)]
struct LogDir {
    path: PathBuf,
    is_failed: bool,
    partitions: usize,
}

/// All directories of `log.dirs`.
pub(super) struct LogDirs {
    dirs: Vec<LogDir>,
    /// Directories of deleted partitions, and when they may be removed.
    deleted: Vec<(Millis, PathBuf)>,
    /// `castellan.topic.undelete.ms`: for so long the replicas of a deleted topic can be brought back.
    undelete_ms: u64,
    /// Those of them that can be brought back until then.
    kept: BTreeMap<KeptId, PathBuf>,
    /// What they told of the lives before.
    past: DiskPast,
    /// That was written down.
    is_kept: bool,
    /// Each has its `meta.properties`.
    is_claimed: bool,
    /// Where partitions are to be made that may come.
    preferred: BTreeMap<TopicPartition, PathBuf>,
    /// Found at the start, until each is given to its partition.
    futures: Vec<(TopicPartition, FutureLog)>,
}

/// A reassignment names no more replicas for a broker than it can hold.
const PREFERRED_MAX: usize = 100_000;

/// A partition found at the start.
pub(super) struct Loaded {
    pub partition: TopicPartition,
    pub opened: Opened,
}

/// What the checkpoints of one log directory say.
struct Checkpointed {
    clean_shutdown: Option<CleanShutdown>,
    recovery_points: BTreeMap<TopicPartition, i64>,
    start_offsets: BTreeMap<TopicPartition, i64>,
    high_watermarks: BTreeMap<TopicPartition, i64>,
    compacted: BTreeMap<TopicPartition, i64>,
}

impl LogDirs {
    /// Opens every log. A directory that cannot be read counts as failed; an error if none is left.
    pub(super) fn load(
        shared: &Shared,
        config: impl Fn(&str) -> LogConfig,
        now: Now,
    ) -> Result<(LogDirs, Vec<Loaded>), StorageError> {
        let mut dirs = LogDirs {
            dirs: Vec::new(),
            deleted: Vec::new(),
            undelete_ms: 0,
            kept: BTreeMap::new(),
            past: DiskPast::default(),
            is_kept: false,
            is_claimed: false,
            preferred: BTreeMap::new(),
            futures: Vec::new(),
        };
        let mut pasts = Vec::new();
        let mut all: BTreeMap<TopicPartition, Loaded> = BTreeMap::new();
        for path in &shared.settings.log_dirs {
            let (loaded, is_failed) = match dirs.load_dir(shared, path, &config, now) {
                Ok((loaded, past)) => {
                    pasts.push(past);
                    (loaded, false)
                }
                Err(error @ LogError::Io { .. }) => {
                    tracing::error!(dir = %path.display(), %error, "log directory failed");
                    pasts.push(DirPast::default());
                    (Vec::new(), true)
                }
                Err(error) => return Err(error.into()),
            };
            dirs.dirs.push(LogDir { path: path.clone(), is_failed, partitions: loaded.len() });
            for one in loaded {
                if let Some(first) = all.get(&one.partition) {
                    let (first, second) = (first.opened.log.dir().to_owned(), one.opened.log.dir().to_owned());
                    return Err(StorageError::Duplicate { partition: one.partition, first, second });
                }
                all.insert(one.partition.clone(), one);
            }
        }
        if dirs.dirs.iter().all(|dir| dir.is_failed) {
            return Err(StorageError::NoneUsable);
        }
        dirs.give_futures(shared.disk.as_ref(), &mut all)?;
        dirs.past = past::combine(&pasts, shared.disk.memory_id().as_deref());
        Ok((dirs, all.into_values().collect()))
    }

    /// Replicas that were moving when the broker stopped move on. One whose old log is gone and whose new one has everything
    /// is where it was going to; any other new log without an old one is of no use, unless its old one is in a directory
    /// that failed.
    fn give_futures(
        &mut self,
        disk: &dyn Disk,
        all: &mut BTreeMap<TopicPartition, Loaded>,
    ) -> Result<(), StorageError> {
        for (partition, mut future) in std::mem::take(&mut self.futures) {
            if let Some(held) = all.get_mut(&partition) {
                // It may have been complete; now the old log goes on.
                let _ = disk.remove_file(&future.log.dir().join(COMPLETE_FILE));
                if held.opened.future.is_none() {
                    if let Err(error) = moving::align(&held.opened.log, &mut future.log) {
                        tracing::error!(dir = %future.log.dir().display(), %error, "a move cannot go on");
                        continue;
                    }
                    self.take_place_in(&future.log_dir);
                    held.opened.future = Some(future);
                }
                continue;
            }
            let mark = future.log.dir().join(COMPLETE_FILE);
            let is_complete = disk.read(&mark, 1).is_ok();
            let Some(name) = dir_name(&partition.topic, partition.partition).filter(|_| is_complete) else {
                tracing::warn!(dir = %future.log.dir().display(), "a move without the log it came from, left alone");
                continue;
            };
            future.log.rename_dir(future.log_dir.join(name))?;
            disk.remove_file(&future.log.dir().join(COMPLETE_FILE)).map_err(LogError::io("remove", &mark))?;
            let FutureLog { log, log_dir, .. } = future;
            self.take_place_in(&log_dir);
            let topic_id = log.topic_id()?;
            let high_watermark = log.log_start_offset();
            let opened = Opened { log, log_dir, future: None, topic_id, high_watermark, first_dirty_offset: None };
            tracing::info!(
                topic = partition.topic,
                partition = partition.partition,
                "the move to another log directory is complete"
            );
            all.insert(partition.clone(), Loaded { partition, opened });
        }
        Ok(())
    }

    fn load_dir(
        &mut self,
        shared: &Shared,
        path: &Path,
        config: impl Fn(&str) -> LogConfig,
        now: Now,
    ) -> Result<(Vec<Loaded>, DirPast), LogError> {
        let disk = &shared.disk;
        if disk.read_dir(path).is_err() {
            disk.create_dir_all(path).map_err(LogError::io("create", path))?;
            // Or everything in it may go with its name when power fails. Who may not open the parent goes without.
            if let Some(Err(error)) = path.parent().map(|parent| disk.sync_dir(parent)) {
                tracing::warn!(dir = %path.display(), %error, "the new log directory may not outlast a loss of power");
            }
        }
        let checkpointed = Checkpointed::read(disk.as_ref(), path)?;
        let past = DirPast::read(disk.as_ref(), path, checkpointed.clean_shutdown);
        if checkpointed.clean_shutdown.is_some() {
            remove_clean_shutdown(disk.as_ref(), path)?;
        }
        let mut loaded = Vec::new();
        for entry in disk.read_dir(path).map_err(LogError::io("list", path))? {
            if !entry.is_dir {
                continue;
            }
            let dir = path.join(&entry.name);
            if is_deleted_dir(&entry.name) {
                self.deleted.push((now.mono, dir));
                continue;
            }
            if let Some(id) = parse_kept_dir_name(&entry.name)
                && let Some(mark) = Mark::read(disk.as_ref(), &dir)
            {
                let left_ms = u64::try_from(mark.until_ms.saturating_sub(now.wall.0)).unwrap_or(0);
                self.keep(id, dir, now.mono + left_ms + shared.settings.delete_delay_ms);
                continue;
            }
            if let Some(partition) = parse_future_dir_name(&entry.name) {
                let start = OpenState { clean_shutdown: checkpointed.clean_shutdown.is_some(), ..NOTHING_KNOWN };
                let log = Log::open(disk.clone(), dir, config(&partition.topic), start, now)?;
                let unflushed = log.size_bytes();
                self.futures.push((partition, FutureLog { log, log_dir: path.to_owned(), unflushed }));
                continue;
            }
            let Some(partition) = parse_dir_name(&entry.name) else {
                tracing::warn!(dir = %dir.display(), "not the directory of a partition, left alone");
                continue;
            };
            let start = checkpointed.open_state(&partition);
            let log = Log::open(disk.clone(), dir, config(&partition.topic), start, now)?;
            let topic_id = log.topic_id()?;
            let high_watermark = checkpointed.high_watermarks.get(&partition).copied().unwrap_or(0);
            let first_dirty_offset = checkpointed.compacted.get(&partition).copied();
            let opened =
                Opened { log, log_dir: path.to_owned(), future: None, topic_id, high_watermark, first_dirty_offset };
            loaded.push(Loaded { partition, opened });
        }
        Ok((loaded, past))
    }

    /// The directory for a new partition: the one that was asked for, or the usable one with the fewest. `None` if none is
    /// left.
    pub(super) fn take_place(&mut self, (topic, partition): (&str, i32)) -> Option<PathBuf> {
        let preferred = self.preferred.remove(&TopicPartition::new(topic, partition));
        let usable = || self.dirs.iter().filter(|dir| !dir.is_failed);
        let asked_for = usable().find(|dir| preferred.as_ref() == Some(&dir.path));
        let path = asked_for.or_else(|| usable().min_by_key(|dir| dir.partitions))?.path.clone();
        self.take_place_in(&path);
        Some(path)
    }

    /// A partition comes into this directory.
    pub(super) fn take_place_in(&mut self, log_dir: &Path) {
        if let Some(dir) = self.dirs.iter_mut().find(|dir| dir.path == log_dir) {
            dir.partitions += 1;
        }
    }

    /// If the partition comes, it is to be made in this directory.
    pub(super) fn prefer(&mut self, (topic, partition): (&str, i32), log_dir: &Path) {
        if self.preferred.len() < PREFERRED_MAX {
            self.preferred.insert(TopicPartition::new(topic, partition), log_dir.to_owned());
        }
    }

    /// A partition of this directory is gone; its files, if renamed to `deleted`, may be removed at `at`.
    pub(super) fn release(&mut self, log_dir: &Path, deleted: Option<(Millis, PathBuf)>) {
        if let Some(dir) = self.dirs.iter_mut().find(|dir| dir.path == log_dir) {
            dir.partitions = dir.partitions.saturating_sub(1);
        }
        self.deleted.extend(deleted);
    }

    /// For how long replicas of deleted topics are kept.
    pub(super) fn undelete_ms(&self) -> u64 {
        self.undelete_ms
    }

    /// From now on they are kept for so long.
    pub(super) fn set_undelete_ms(&mut self, undelete_ms: u64) {
        self.undelete_ms = undelete_ms;
    }

    /// This directory can be brought back until it is removed.
    pub(super) fn keep(&mut self, id: KeptId, dir: PathBuf, until: Millis) {
        self.deleted.push((until, dir.clone()));
        self.kept.insert(id, dir);
    }

    /// The directory of a deleted replica that comes back, if it is here.
    pub(super) fn take_kept(&mut self, id: KeptId) -> Option<PathBuf> {
        let dir = self.kept.remove(&id)?;
        self.deleted.retain(|(_, deleted)| *deleted != dir);
        let log_dir = dir.parent()?;
        let is_usable = self.usable().any(|usable| usable == log_dir);
        is_usable.then_some(dir)
    }

    /// A directory failed; false if that was known.
    pub(super) fn fail(&mut self, disk: &dyn Disk, log_dir: &Path) -> bool {
        let Some(dir) = self.dirs.iter_mut().find(|dir| dir.path == log_dir) else { return false };
        past::doubt(disk, log_dir);
        !std::mem::replace(&mut dir.is_failed, true)
    }

    /// True if some directory failed: a partition that is not here may be there.
    pub(super) fn has_failed(&self) -> bool {
        self.dirs.iter().any(|dir| dir.is_failed)
    }

    /// Checks that all belong to this cluster and broker, and says so in those that belong to none.
    pub(super) fn claim(&mut self, disk: &dyn Disk, broker: i32, cluster_id: &str) -> Result<(), StorageError> {
        claim(disk, self.usable(), broker, cluster_id)?;
        self.is_claimed = true;
        Ok(())
    }

    /// The directories in use that somebody has removed, or emptied: what is open in them can still be written, and is gone
    /// with the process.
    pub(super) fn removed(&self, disk: &dyn Disk) -> Vec<PathBuf> {
        let is_there = |dir: &&PathBuf| !matches!(read_meta_properties(disk, dir), Ok(None));
        let dirs = self.usable().filter(|_| self.is_claimed);
        dirs.filter(|dir| !is_there(dir)).cloned().collect()
    }

    /// What they told of the lives before this one.
    pub(super) fn past(&self) -> DiskPast {
        self.past
    }

    /// The broker is registered, with its first epoch of this life or a later one: what was to be counted from then is
    /// known, and each directory is told that it is kept.
    pub(super) fn begin_life(&mut self, disk: &dyn Disk, broker_epoch: i64) {
        let clean_since = *self.past.clean_since.get_or_insert(broker_epoch);
        let since = *self.past.kept_since.get_or_insert(broker_epoch);
        if std::mem::replace(&mut self.is_kept, true) {
            return;
        }
        let kept = Kept { since, directories: self.dirs.len(), clean_since, memory: disk.memory_id() };
        for dir in self.usable() {
            if let Err(error) = past::keep(disk, dir, &kept) {
                tracing::warn!(dir = %dir.display(), %error, "the next start will take the log directory for a new one");
            }
        }
    }

    /// The mark of a clean stop.
    pub(super) fn clean_mark(&self, broker_epoch: i64) -> CleanShutdown {
        let directories = Some(self.dirs.len());
        CleanShutdown { broker_epoch: Some(broker_epoch), clean_since: self.past.clean_since, directories }
    }

    /// Every directory, and whether it failed.
    pub(super) fn all(&self) -> Vec<(PathBuf, bool)> {
        self.dirs.iter().map(|dir| (dir.path.clone(), dir.is_failed)).collect()
    }

    /// The directories in use.
    pub(super) fn usable(&self) -> impl Iterator<Item = &PathBuf> {
        self.dirs.iter().filter(|dir| !dir.is_failed).map(|dir| &dir.path)
    }

    /// Takes the directories of deleted partitions whose delay is over.
    pub(super) fn take_removable(&mut self, now: Millis) -> Vec<PathBuf> {
        let due: Vec<PathBuf> = self.deleted.extract_if(.., |(at, _)| *at <= now).map(|(_, dir)| dir).collect();
        self.kept.retain(|_, dir| !due.contains(dir));
        due
    }

    /// When files of deleted partitions may be removed next.
    pub(super) fn next_removal(&self) -> Option<Millis> {
        self.deleted.iter().map(|(at, _)| *at).min()
    }
}

impl Checkpointed {
    /// A damaged checkpoint is as good as none: recovery then starts at the beginning.
    fn read(disk: &dyn Disk, dir: &Path) -> Result<Checkpointed, LogError> {
        let offsets = |file: &str| match read_offsets(disk, &dir.join(file)) {
            Err(error @ LogError::Malformed { .. }) => {
                tracing::warn!(%error, "checkpoint ignored");
                Ok(BTreeMap::new())
            }
            other => other,
        };
        Ok(Checkpointed {
            clean_shutdown: read_clean_shutdown(disk, dir)?,
            recovery_points: offsets(RECOVERY_POINT_FILE)?,
            start_offsets: offsets(LOG_START_OFFSET_FILE)?,
            high_watermarks: offsets(HIGH_WATERMARK_FILE)?,
            compacted: offsets(CLEANER_OFFSET_FILE)?,
        })
    }

    fn open_state(&self, partition: &TopicPartition) -> OpenState {
        OpenState {
            clean_shutdown: self.clean_shutdown.is_some(),
            recovery_point: self.recovery_points.get(partition).copied().unwrap_or(0),
            log_start_offset: self.start_offsets.get(partition).copied().unwrap_or(0),
            compacted_to: self.compacted.get(partition).copied().unwrap_or(0),
        }
    }
}

/// Removes the files of a deleted partition.
pub(super) fn remove_deleted(disk: &dyn Disk, dir: &Path) {
    if let Err(error) = remove_deleted_dir(disk, dir) {
        tracing::warn!(%error, "files of a deleted partition remain until the next start");
    }
}

/// As Kafka's: with the number behind it, and the suffix of a deleted one, it is still a file name.
const TOPIC_NAME_BYTES_MAX: usize = 249;

/// The directory of a partition's log; `None` for what Kafka allows no topic to be called: it could lie elsewhere.
pub(super) fn dir_name(topic: &str, partition: i32) -> Option<String> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_name = !topic.is_empty() && topic.len() <= TOPIC_NAME_BYTES_MAX && topic.chars().all(is_legal);
    (is_name && !matches!(topic, "." | "..") && partition >= 0).then(|| format!("{topic}-{partition}"))
}

/// What is known of a log without checkpoints.
pub(super) const NOTHING_KNOWN: OpenState =
    OpenState { clean_shutdown: false, recovery_point: 0, log_start_offset: 0, compacted_to: 0 };

/// The directory of a log that is to take another's place, `topic-3.<32 hex digits>-future`; the topic is cut so that the
/// name stays within 255 bytes.
pub(super) fn future_dir_name(topic: &str, partition: i32, rng: &mut common::Rng) -> String {
    let tail = format!("-{partition}.{:032x}-future", rng.u128(..));
    let keep = topic.len().min(255_usize.saturating_sub(tail.len()));
    format!("{}{tail}", &topic[..keep])
}

fn parse_future_dir_name(name: &str) -> Option<TopicPartition> {
    let (of, id) = name.strip_suffix("-future")?.rsplit_once('.')?;
    (id.len() == 32).then(|| parse_dir_name(of))?
}

/// `topic-3` is partition 3 of `topic`; anything that no partition can be named is `None`.
fn parse_dir_name(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let is_number = !partition.is_empty() && partition.bytes().all(|byte| byte.is_ascii_digit());
    let partition = partition.parse().ok().filter(|_| is_number)?;
    (!topic.is_empty() && topic != "__cluster_metadata").then(|| TopicPartition::new(topic, partition))
}

/// Which checkpoint is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checkpoint {
    HighWatermarks,
    RecoveryPoints,
    StartOffsets,
    Compacted,
}

/// Replaces a checkpoint of one log directory.
pub(super) fn write_checkpoint(
    disk: &dyn Disk,
    log_dir: &Path,
    which: Checkpoint,
    offsets: &BTreeMap<TopicPartition, i64>,
) -> Result<(), LogError> {
    let file = match which {
        Checkpoint::HighWatermarks => HIGH_WATERMARK_FILE,
        Checkpoint::RecoveryPoints => RECOVERY_POINT_FILE,
        Checkpoint::StartOffsets => LOG_START_OFFSET_FILE,
        Checkpoint::Compacted => CLEANER_OFFSET_FILE,
    };
    write_offsets(disk, &log_dir.join(file), offsets)
}

/// Marks a log directory as cleanly closed; the last thing done to it.
pub(super) fn mark_clean(disk: &dyn Disk, log_dir: &Path, mark: CleanShutdown) -> Result<(), LogError> {
    write_clean_shutdown(disk, log_dir, mark)
        .inspect_err(|error| tracing::warn!(%error, file = CLEAN_SHUTDOWN_FILE, "the next start will check all logs"))
}

/// Sees to it that every directory belongs to this broker of this cluster, and says so in its `meta.properties`.
fn claim<'a>(
    disk: &dyn Disk,
    dirs: impl Iterator<Item = &'a PathBuf>,
    broker: i32,
    cluster_id: &str,
) -> Result<(), StorageError> {
    let mut unclaimed = BTreeSet::new();
    for dir in dirs {
        let meta = read_meta_properties(disk, dir)?;
        let meta = meta.unwrap_or_default();
        if let Some(stored) = &meta.cluster_id
            && stored != cluster_id
        {
            let (stored, actual) = (stored.clone(), cluster_id.to_owned());
            return Err(StorageError::OtherCluster { dir: dir.clone(), stored, actual });
        }
        if let Some(stored) = meta.broker_id
            && stored != broker
        {
            return Err(StorageError::OtherBroker { dir: dir.clone(), stored, actual: broker });
        }
        if meta.cluster_id.is_none() || meta.broker_id.is_none() {
            unclaimed.insert((dir.clone(), meta.directory_id));
        }
    }
    for (dir, directory_id) in unclaimed {
        let (broker_id, cluster_id) = (Some(broker), Some(cluster_id.to_owned()));
        write_meta_properties(disk, &dir, &MetaProperties { broker_id, cluster_id, directory_id })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_names_are_topic_and_partition() {
        for (name, expected) in [
            ("orders-0", Some(("orders", 0))),
            ("a-b-12", Some(("a-b", 12))),
            ("orders-0-future", None),
            ("orders-0.0123456789abcdef0123456789abcdef-future", None),
            ("orders-+1", None),
            ("-1", None),
            ("orders-", None),
            ("orders-99999999999", None),
            ("__cluster_metadata-0", None),
        ] {
            let expected = expected.map(|(topic, partition)| TopicPartition::new(topic, partition));
            assert_eq!(parse_dir_name(name), expected, "{name}");
        }
        let name = future_dir_name("a.b-c", 7, &mut common::Rng::with_seed(1));
        assert_eq!(parse_future_dir_name(&name), Some(TopicPartition::new("a.b-c", 7)), "{name}");
        assert_eq!(parse_future_dir_name("orders-0-future"), None);
    }
}
