//! What the log directories of a broker tell of their past at its start: since which broker epoch no record can have been
//! lost, because every life ended in order or at least the machine stayed up, and since which no directory was replaced by
//! an empty one. The controller judges by it who may lead without a loss
//! (KIP-966). Reads and writes two small files, `.kafka_cleanshutdown` and `.log-dirs-kept`; decides no leader.

use crate::cluster::json::DiskPast;
use crate::log::LogError;
use crate::log::checkpoints::CleanShutdown;
use common::disk::Disk;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// In each log directory: the broker had it in all its lives since the one named. Kafka looks only at the folders there.
const KEPT_FILE: &str = ".log-dirs-kept";
const KEPT_BYTES_MAX: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Broker epoch.
    pub(super) since: i64,
    /// How many log directories the broker had.
    pub(super) directories: usize,
    /// Broker epoch since which no record was lost.
    pub(super) clean_since: i64,
    /// `Disk::memory_id` of that life: if it is the same now, nothing was lost since, though it may have been killed.
    pub(super) memory: Option<String>,
}

/// What one directory tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DirPast {
    pub(super) mark: Option<CleanShutdown>,
    kept: Option<Kept>,
}

impl DirPast {
    /// What is not there or cannot be read tells nothing.
    pub(super) fn read(disk: &dyn Disk, dir: &Path, mark: Option<CleanShutdown>) -> DirPast {
        let kept = disk.read(&dir.join(KEPT_FILE), KEPT_BYTES_MAX).ok();
        DirPast { mark, kept: kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()) }
    }
}

/// What all directories together tell; one that failed tells nothing. `memory` is `Disk::memory_id` now.
pub(super) fn combine(dirs: &[DirPast], memory: Option<&str>) -> DiskPast {
    let kept = dirs.iter().map(|dir| dir.kept.as_ref().filter(|kept| kept.directories == dirs.len())).collect();
    let kept: Option<Vec<&Kept>> = kept;
    let kept = kept.unwrap_or_default();
    let kept_since = kept.iter().map(|kept| kept.since).max();
    let stayed_up = memory.is_some() && kept.iter().all(|kept| kept.memory.as_deref() == memory);
    let not_lost_since = kept.iter().map(|kept| kept.clean_since).max().filter(|_| stayed_up);
    DiskPast { clean_since: marked_clean_since(dirs).or(not_lost_since), kept_since }
}

fn marked_clean_since(dirs: &[DirPast]) -> Option<i64> {
    let marks: Option<Vec<CleanShutdown>> = dirs.iter().map(|dir| dir.mark).collect();
    let marks = marks?;
    // A mark of another life is that of a directory that was elsewhere meanwhile.
    let is_one_life = marks.windows(2).all(|pair| pair[0].broker_epoch == pair[1].broker_epoch)
        && marks.iter().all(|mark| mark.directories.is_none_or(|count| count == dirs.len()));
    let since = |mark: &CleanShutdown| mark.clean_since.or(mark.broker_epoch).filter(|epoch| *epoch >= 0);
    let clean_since: Option<Vec<i64>> = marks.iter().map(since).collect();
    clean_since.filter(|_| is_one_life)?.into_iter().max()
}

/// Notes since when the directory is the broker's, and its logs are whole.
pub(super) fn keep(disk: &dyn Disk, dir: &Path, kept: &Kept) -> Result<(), LogError> {
    let path = dir.join(KEPT_FILE);
    let text = serde_json::to_vec(kept).expect("numbers and texts can be written");
    disk.write_atomic(&path, &text).map_err(LogError::io("write", &path))
}

/// The directory failed: what was written to it last may be lost though the machine stays up.
pub(super) fn doubt(disk: &dyn Disk, dir: &Path) {
    // If this fails as well, the directory is most likely not to be read any more.
    let _ = disk.remove_file(&dir.join(KEPT_FILE));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Broker epoch, clean since, directories of a mark; since, directories, clean since and memory of what was kept.
    type Told<'a> = (Option<(i64, Option<i64>, Option<usize>)>, Option<(i64, usize, i64, &'a str)>);

    fn check(told: &[Told<'_>], clean_since: Option<i64>, kept_since: Option<i64>) {
        let dir = |&(mark, kept): &Told<'_>| DirPast {
            mark: mark.map(|(epoch, clean_since, directories)| CleanShutdown {
                broker_epoch: Some(epoch),
                clean_since,
                directories,
            }),
            kept: kept.map(|(since, directories, clean_since, memory)| Kept {
                since,
                directories,
                clean_since,
                memory: Some(memory.to_owned()),
            }),
        };
        let dirs: Vec<DirPast> = told.iter().map(dir).collect();
        assert_eq!(combine(&dirs, Some("now")), DiskPast { clean_since, kept_since }, "{told:?}");
    }

    #[test]
    fn a_past_is_what_all_directories_agree_on() {
        let ours = Some((20, Some(10), Some(1)));
        check(&[(None, None)], None, None);
        check(&[(ours, Some((5, 1, 8, "before")))], Some(10), Some(5));
        check(&[(None, Some((5, 1, 8, "before")))], None, Some(5));
        // It was killed, but what it wrote is in the memory of the machine.
        check(&[(None, Some((5, 1, 8, "now")))], Some(8), Some(5));
        // Apache Kafka's mark, and one without an epoch.
        check(&[(Some((20, None, None)), None)], Some(20), None);
        check(&[(Some((-1, None, None)), None)], None, None);
        let two = Some((20, Some(10), Some(2)));
        check(&[(two, Some((5, 2, 8, "before"))), (two, Some((7, 2, 8, "now")))], Some(10), Some(7));
        check(&[(two, Some((5, 2, 8, "now"))), (None, None)], None, None);
        check(&[(None, Some((5, 2, 8, "now"))), (None, Some((5, 2, 9, "now")))], Some(9), Some(5));
        check(&[(None, Some((5, 2, 8, "now"))), (None, Some((5, 2, 9, "before")))], None, Some(5));
        check(&[(two, Some((5, 2, 8, "now")))], None, None);
        check(&[(two, None), (Some((19, Some(10), Some(2))), None)], None, None);
    }
}
