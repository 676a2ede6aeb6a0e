//! Replicas of deleted topics that can be brought back for a while (`castellan.topic.undelete.ms`): their directories keep
//! everything under a name that a starting broker of Apache Kafka passes over (`-stray`), with a mark that tells until when.
//! Decides nothing about topics; that is the controller's.

use super::dir_name;
use crate::log::{Log, LogError, OpenState};
use crate::partition::State;
use common::disk::Disk;
use common::time::WallMillis;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// In the directory of a replica that is kept. Not a name that Kafka gives files of a log.
const MARK_FILE: &str = "castellan.deleted";
const MARK_BYTES_MAX: usize = 4096;
const SUFFIX: &str = "-stray";

/// A replica that is kept: its topic's id and its number.
pub(in crate::partition) type KeptId = (Uuid, i32);

/// What the checkpoints of the log directory said, and until when the replica is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::partition) struct Mark {
    version: i32,
    /// Milliseconds since 1970.
    pub(in crate::partition) until_ms: i64,
    pub(in crate::partition) high_watermark: i64,
    log_start_offset: i64,
    log_end_offset: i64,
    pub(in crate::partition) first_dirty_offset: Option<i64>,
}

impl Mark {
    /// `None` if there is none that can be read.
    pub(in crate::partition) fn read(disk: &dyn Disk, dir: &Path) -> Option<Mark> {
        let bytes = disk.read(&dir.join(MARK_FILE), MARK_BYTES_MAX).ok()?;
        serde_json::from_slice(&bytes).ok().filter(|mark: &Mark| mark.version == 1)
    }

    /// How the log is to be opened: it was closed before it was renamed.
    pub(in crate::partition) fn open_state(&self) -> OpenState {
        OpenState {
            clean_shutdown: true,
            recovery_point: self.log_end_offset,
            log_start_offset: self.log_start_offset,
            compacted_to: self.first_dirty_offset.unwrap_or(0),
        }
    }
}

/// Closes a log and renames its directory; the new path.
pub(in crate::partition) fn set_aside(
    state: &mut State,
    (topic, partition): (&str, i32),
    id: Uuid,
    until: WallMillis,
    disk: &dyn Disk,
) -> Result<PathBuf, LogError> {
    state.log.close()?;
    let mark = Mark {
        version: 1,
        until_ms: until.0,
        high_watermark: state.high_watermark,
        log_start_offset: state.log.log_start_offset(),
        log_end_offset: state.log.log_end_offset(),
        first_dirty_offset: state.first_dirty_offset,
    };
    let path = state.log.dir().join(MARK_FILE);
    let bytes = serde_json::to_vec(&mark).expect("numbers alone");
    disk.write_atomic(&path, &bytes).map_err(LogError::io("write", &path))?;
    let to = state.log_dir.join(kept_dir_name(topic, partition, id));
    state.log.rename_away(&to)?;
    Ok(to)
}

/// Gives a directory its name back.
pub(in crate::partition) fn give_back(disk: &dyn Disk, kept: &Path, to: &Path) -> Result<(), LogError> {
    disk.rename(kept, to).map_err(LogError::io("rename", kept))?;
    match to.parent() {
        Some(parent) => disk.sync_dir(parent).map_err(LogError::io("sync", parent)),
        None => Ok(()),
    }
}

/// The log is in use again. A mark that stays does no harm: only that of a directory with the suffix counts.
pub(in crate::partition) fn remove_mark(disk: &dyn Disk, log: &Log) {
    if let Err(error) = disk.remove_file(&log.dir().join(MARK_FILE))
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(dir = %log.dir().display(), %error, "the mark of a deleted topic remains");
    }
}

/// `topic-3.<topic id, 32 hex digits>-stray`; the topic is cut so that the name stays within 255 bytes.
fn kept_dir_name(topic: &str, partition: i32, id: Uuid) -> String {
    let tail = format!("-{partition}.{:032x}{SUFFIX}", id.as_u128());
    let keep = topic.floor_char_boundary(255_usize.saturating_sub(tail.len()));
    format!("{}{tail}", &topic[..keep])
}

/// Which replica a directory keeps, going by its name.
pub(in crate::partition) fn parse_kept_dir_name(name: &str) -> Option<KeptId> {
    let (of, id) = name.strip_suffix(SUFFIX)?.rsplit_once('.')?;
    let (topic, partition) = of.rsplit_once('-')?;
    let partition = partition.parse().ok()?;
    dir_name(topic, partition)?;
    let is_hex = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u128::from_str_radix(id, 16).ok()).flatten().map(|id| (Uuid::from_u128(id), partition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_known_by_their_names() {
        let id = Uuid::from_u128(0xabc << 96);
        let name = kept_dir_name("a.b-c", 7, id);
        assert_eq!(name, "a.b-c-7.00000abc000000000000000000000000-stray");
        assert_eq!(parse_kept_dir_name(&name), Some((id, 7)));
        let long = kept_dir_name(&"x".repeat(249), 123_456, id);
        assert_eq!((long.len(), parse_kept_dir_name(&long)), (255, Some((id, 123_456))));
        for other in [
            "a-7",
            "a-7.00000abc000000000000000000000000-delete",
            "a-7.0abc-stray",
            "a.00000abc000000000000000000000000-stray",
        ] {
            assert_eq!(parse_kept_dir_name(other), None, "{other}");
        }
    }
}
