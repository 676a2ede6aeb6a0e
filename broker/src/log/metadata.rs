//! `partition.metadata`: the topic id to which a partition directory belongs (KIP-516), in Kafka's format. Never checks
//! whether it is the expected one.

use super::LogError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::disk::{Disk, DiskFile};
use std::io;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// Name of the file in the partition's directory.
pub const PARTITION_METADATA_FILE: &str = "partition.metadata";
const MAX_BYTES: usize = 4096;
/// `version: 0`, `topic_id: ` and 22 characters of base64.
const TEXT_BYTES: usize = 11 + 10 + 22;

/// The topic id of a partition directory; `None` if the file is not there.
pub fn read_topic_id(disk: &dyn Disk, dir: &Path) -> Result<Option<Uuid>, LogError> {
    let path = dir.join(PARTITION_METADATA_FILE);
    let bytes = match disk.read(&path, MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LogError::io("read", &path)(error)),
    };
    // A machine that lost power before the first record was synced may have lost this as well.
    if bytes.len() < TEXT_BYTES {
        tracing::warn!(path = %path.display(), "written in part only; the controller tells the topic id again");
        return Ok(None);
    }
    let malformed = || LogError::malformed(&path, "not `version: 0` and `topic_id: ...`".to_owned());
    let text = std::str::from_utf8(&bytes).map_err(|_| malformed())?;
    let mut lines = text.lines().map(|line| line.split_once(": "));
    let (Some(Some(("version", version))), Some(Some(("topic_id", id)))) = (lines.next(), lines.next()) else {
        return Err(malformed());
    };
    // Any version from 0 on is read, as Kafka does so that a downgrade stays possible.
    version.trim().parse::<u32>().map_err(|_| malformed())?;
    let id = URL_SAFE_NO_PAD.decode(id.trim()).ok().and_then(|id| Uuid::from_slice(&id).ok()).ok_or_else(malformed)?;
    if id.is_nil() { Err(malformed()) } else { Ok(Some(id)) }
}

/// The file, if it is there, to be made durable.
pub(crate) fn to_sync(disk: &dyn Disk, dir: &Path) -> Result<Option<Arc<dyn DiskFile>>, LogError> {
    let path = dir.join(PARTITION_METADATA_FILE);
    match disk.open(&path, false) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::io("open", &path)(error)),
    }
}

/// Writes the topic id of a partition directory that has none, not synced: what is written in part only counts as nothing.
pub fn write_topic_id(disk: &dyn Disk, dir: &Path, topic_id: Uuid) -> Result<(), LogError> {
    let path = dir.join(PARTITION_METADATA_FILE);
    let text = format!("version: 0\ntopic_id: {}", URL_SAFE_NO_PAD.encode(topic_id.as_bytes()));
    let file = disk.open(&path, true).map_err(LogError::io("create", &path))?;
    file.write_at(text.as_bytes(), 0).map_err(LogError::io("write", &path))
}

#[cfg(test)]
#[cfg(feature = "server")]
mod tests {
    use super::*;
    use crate::server::disk::StdDisk;

    #[test]
    fn a_topic_id_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_topic_id(&StdDisk, dir.path()).unwrap(), None);
        let id = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        write_topic_id(&StdDisk, dir.path(), id).unwrap();
        let text = std::fs::read_to_string(dir.path().join(PARTITION_METADATA_FILE)).unwrap();
        assert_eq!(text, "version: 0\ntopic_id: ASNFZ4mrze8BI0VniavN7w");
        assert_eq!(read_topic_id(&StdDisk, dir.path()).unwrap(), Some(id));
        for torn in ["", "version: 0\n", "version: 0\ntopic_id: AS"] {
            std::fs::write(dir.path().join(PARTITION_METADATA_FILE), torn).unwrap();
            assert_eq!(read_topic_id(&StdDisk, dir.path()).unwrap(), None, "{torn:?}");
        }
        for bad in ["version: x\ntopic_id: ASNFZ4mrze8BI0VniavN7w", "version: 0\ntopic_id: !!!!!4mrze8BI0VniavN7w"] {
            std::fs::write(dir.path().join(PARTITION_METADATA_FILE), bad).unwrap();
            assert!(read_topic_id(&StdDisk, dir.path()).is_err(), "{bad:?}");
        }
    }
}
