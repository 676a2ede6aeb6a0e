//! The small files at the top of a log directory: offset checkpoints, `meta.properties` and the clean shutdown marker,
//! in Kafka's formats. Knows nothing of logs; reads at most a bounded number of bytes and never panics on them.

use super::LogError;
use common::disk::Disk;
use common::id::TopicPartition;
use common::properties::Properties;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// Offsets below which each log is known to be on the disk; recovery starts there after an unclean stop.
pub const RECOVERY_POINT_FILE: &str = "recovery-point-offset-checkpoint";
/// High watermarks.
pub const HIGH_WATERMARK_FILE: &str = "replication-offset-checkpoint";
/// Log start offsets that lie inside a segment (DeleteRecords).
pub const LOG_START_OFFSET_FILE: &str = "log-start-offset-checkpoint";
/// First dirty offsets of compacted logs.
pub const CLEANER_OFFSET_FILE: &str = "cleaner-offset-checkpoint";
/// Who owns this log directory.
pub const META_PROPERTIES_FILE: &str = "meta.properties";
/// There if the last stop was a clean one.
pub const CLEAN_SHUTDOWN_FILE: &str = ".kafka_cleanshutdown";

/// Largest checkpoint that is read: some hundred thousand partitions with the longest names, far above what one
/// broker holds.
const MAX_CHECKPOINT_BYTES: usize = 64 << 20;
const MAX_META_BYTES: usize = 1 << 20;

/// Reads an offset checkpoint ("0", count, then lines `topic partition offset`). An absent or empty file has no entry.
///
/// Errors: `Malformed` for another version, a wrong count or a line that does not parse; the caller decides whether an
/// empty checkpoint will do.
pub fn read_offsets(disk: &dyn Disk, path: &Path) -> Result<BTreeMap<TopicPartition, i64>, LogError> {
    let mut offsets = BTreeMap::new();
    for fields in read_lines(disk, path)? {
        let [topic, partition, offset] = fields.split(' ').collect::<Vec<_>>()[..] else {
            return Err(LogError::malformed(path, format!("line `{fields}` is not `topic partition offset`")));
        };
        let (Ok(partition), Ok(offset)) = (partition.parse(), offset.parse()) else {
            return Err(LogError::malformed(path, format!("line `{fields}` has a bad number")));
        };
        offsets.insert(TopicPartition::new(topic, partition), offset);
    }
    Ok(offsets)
}

/// Replaces an offset checkpoint, whole or not at all.
pub fn write_offsets(disk: &dyn Disk, path: &Path, offsets: &BTreeMap<TopicPartition, i64>) -> Result<(), LogError> {
    let mut text = format!("0\n{}\n", offsets.len());
    for (partition, offset) in offsets {
        writeln!(text, "{} {} {offset}", partition.topic, partition.partition).expect("a String takes all");
    }
    disk.write_atomic(path, text.as_bytes()).map_err(LogError::io("write", path))
}

/// The entry lines of a checkpoint file (version line and count checked); none if the file is absent or empty.
pub(crate) fn read_lines(disk: &dyn Disk, path: &Path) -> Result<Vec<String>, LogError> {
    let Some(text) = read_text(disk, path, MAX_CHECKPOINT_BYTES)? else { return Ok(Vec::new()) };
    let mut lines = text.lines();
    let Some(version) = lines.next() else { return Ok(Vec::new()) };
    if version.trim() != "0" {
        return Err(LogError::malformed(path, format!("version `{version}` is not known")));
    }
    let Some(count) = lines.next() else { return Ok(Vec::new()) };
    let entries: Vec<String> = lines.filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if count.trim().parse() != Ok(entries.len()) {
        return Err(LogError::malformed(path, format!("{count} entries promised, {} found", entries.len())));
    }
    Ok(entries)
}

fn read_text(disk: &dyn Disk, path: &Path, max_bytes: usize) -> Result<Option<String>, LogError> {
    match disk.read(path, max_bytes) {
        Ok(bytes) => {
            String::from_utf8(bytes).map(Some).map_err(|_| LogError::malformed(path, "not a text file".to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::io("read", path)(error)),
    }
}

/// What `meta.properties` says: to which broker and cluster a log directory belongs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetaProperties {
    /// `broker.id` (version 0) or `node.id` (version 1, read but never written).
    pub broker_id: Option<i32>,
    /// `cluster.id`: 16 bytes in base64 without padding.
    pub cluster_id: Option<String>,
    /// `directory.id` (KIP-858), kept as it stands.
    pub directory_id: Option<String>,
}

/// Reads `meta.properties` of a log directory; `None` if it is not there.
pub fn read_meta_properties(disk: &dyn Disk, log_dir: &Path) -> Result<Option<MetaProperties>, LogError> {
    let path = log_dir.join(META_PROPERTIES_FILE);
    let Some(text) = read_text(disk, &path, MAX_META_BYTES)? else { return Ok(None) };
    let properties = Properties::parse(&text, META_PROPERTIES_FILE);
    let version = properties.get("version").unwrap_or("0");
    let id_key = match version {
        "0" => "broker.id",
        "1" => "node.id",
        _ => return Err(LogError::malformed(&path, format!("version `{version}` is not known"))),
    };
    let broker_id = match properties.get(id_key) {
        Some(id) => {
            Some(id.trim().parse().map_err(|_| LogError::malformed(&path, format!("{id_key}={id} is not a number")))?)
        }
        None => None,
    };
    Ok(Some(MetaProperties {
        broker_id,
        cluster_id: properties.get("cluster.id").map(str::to_owned),
        directory_id: properties.get("directory.id").map(str::to_owned),
    }))
}

/// Writes `meta.properties`, version 0 (the form of ZooKeeper-based clusters).
pub fn write_meta_properties(disk: &dyn Disk, log_dir: &Path, meta: &MetaProperties) -> Result<(), LogError> {
    let path = log_dir.join(META_PROPERTIES_FILE);
    let mut text = String::from("#\n");
    let broker_id = meta.broker_id.map(|id| id.to_string());
    let rows = [
        ("broker.id", broker_id.as_ref()),
        ("cluster.id", meta.cluster_id.as_ref()),
        ("directory.id", meta.directory_id.as_ref()),
    ];
    for (key, value) in rows {
        if let Some(value) = value {
            writeln!(text, "{key}={value}").expect("a String takes all");
        }
    }
    text.push_str("version=0\n");
    disk.write_atomic(&path, text.as_bytes()).map_err(LogError::io("write", &path))
}

/// The marker of a clean stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanShutdown {
    /// Broker epoch of the life that ended, if the file tells (KIP-966).
    pub broker_epoch: Option<i64>,
    /// The lives from this broker epoch on were all ended in order. Castellan's own, as the next.
    pub clean_since: Option<i64>,
    /// How many log directories the broker had.
    pub directories: Option<usize>,
}

/// Reads the clean shutdown marker. A file that is there but says nothing readable still means a clean stop, as for
/// Kafka.
pub fn read_clean_shutdown(disk: &dyn Disk, log_dir: &Path) -> Result<Option<CleanShutdown>, LogError> {
    let path = log_dir.join(CLEAN_SHUTDOWN_FILE);
    match disk.read(&path, MAX_META_BYTES) {
        Ok(bytes) => {
            let content: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
            let told = |key| content.as_ref()?.get(key)?.as_i64();
            let directories = told("directories").and_then(|count| usize::try_from(count).ok());
            let (broker_epoch, clean_since) = (told("brokerEpoch"), told("cleanSince"));
            Ok(Some(CleanShutdown { broker_epoch, clean_since, directories }))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(CleanShutdown::default())),
        Err(error) => Err(LogError::io("read", &path)(error)),
    }
}

/// Writes the clean shutdown marker: the last thing to do to a log directory, after every log is flushed and closed.
/// What is not told is left out, as Kafka writes it.
pub fn write_clean_shutdown(disk: &dyn Disk, log_dir: &Path, mark: CleanShutdown) -> Result<(), LogError> {
    let path = log_dir.join(CLEAN_SHUTDOWN_FILE);
    let mut text = format!("{{\"version\":0,\"brokerEpoch\":{}", mark.broker_epoch.unwrap_or(-1));
    if let (Some(since), Some(count)) = (mark.clean_since, mark.directories) {
        write!(text, ",\"cleanSince\":{since},\"directories\":{count}").expect("a String takes all");
    }
    text.push('}');
    disk.write_atomic(&path, text.as_bytes()).map_err(LogError::io("write", &path))
}

/// Removes the marker, durably: to be done after it was read and before any log is written.
pub fn remove_clean_shutdown(disk: &dyn Disk, log_dir: &Path) -> Result<(), LogError> {
    let path = log_dir.join(CLEAN_SHUTDOWN_FILE);
    match disk.remove_file(&path) {
        Ok(()) => disk.sync_dir(log_dir).map_err(LogError::io("sync", log_dir)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(LogError::io("remove", &path)(error)),
    }
}

#[cfg(test)]
#[cfg(feature = "server")]
mod tests {
    use super::*;
    use crate::server::disk::StdDisk;

    #[test]
    fn offsets_are_written_as_kafka_writes_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RECOVERY_POINT_FILE);
        assert_eq!(read_offsets(&StdDisk, &path).unwrap(), BTreeMap::new());
        let offsets = BTreeMap::from([(TopicPartition::new("a.b_c-d", 3), 17), (TopicPartition::new("x", 0), 0)]);
        write_offsets(&StdDisk, &path, &offsets).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n2\na.b_c-d 3 17\nx 0 0\n");
        assert_eq!(read_offsets(&StdDisk, &path).unwrap(), offsets);
    }

    #[test]
    fn a_malformed_checkpoint_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RECOVERY_POINT_FILE);
        for (text, valid) in [
            ("", true),
            ("0\n", true),
            ("0\n0\n", true),
            ("1\n0\n", false),
            ("0\n2\na 0 1\n", false),
            ("0\n1\na 0\n", false),
            ("0\n1\na 0 b\n", false),
            ("0\n99999999999999999999\n", false),
            ("\u{0}\u{0}\u{0}", false),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_offsets(&StdDisk, &path).is_ok(), valid, "{text:?}");
        }
    }

    #[test]
    fn meta_properties_and_the_marker_come_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_meta_properties(&StdDisk, dir.path()).unwrap(), None);
        let meta = MetaProperties {
            broker_id: Some(4),
            cluster_id: Some("uXrZ3uK0QVWtDwgcA0h_Lg".to_owned()),
            directory_id: None,
        };
        write_meta_properties(&StdDisk, dir.path(), &meta).unwrap();
        assert_eq!(read_meta_properties(&StdDisk, dir.path()).unwrap(), Some(meta));

        assert_eq!(read_clean_shutdown(&StdDisk, dir.path()).unwrap(), None);
        let kafka = CleanShutdown { broker_epoch: Some(42), ..CleanShutdown::default() };
        let ours = CleanShutdown { clean_since: Some(7), directories: Some(2), ..kafka };
        for mark in [kafka, ours] {
            write_clean_shutdown(&StdDisk, dir.path(), mark).unwrap();
            assert_eq!(read_clean_shutdown(&StdDisk, dir.path()).unwrap(), Some(mark));
        }
        std::fs::write(dir.path().join(CLEAN_SHUTDOWN_FILE), "").unwrap();
        assert_eq!(read_clean_shutdown(&StdDisk, dir.path()).unwrap(), Some(CleanShutdown::default()));
        remove_clean_shutdown(&StdDisk, dir.path()).unwrap();
        remove_clean_shutdown(&StdDisk, dir.path()).unwrap();
        assert_eq!(read_clean_shutdown(&StdDisk, dir.path()).unwrap(), None);
    }
}
