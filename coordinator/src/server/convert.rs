//! `import-zookeeper` and `export-zookeeper`: files of an Apache ZooKeeper into the store of a server that has none yet,
//! and a stopped server's store into such files. Changes nothing of what it reads.

use super::disk::Disk;
use crate::config::Config;
use crate::ensemble::message::{HardState, LogPosition};
use crate::node::recovered_tree;
use crate::store::StoreWrite;
use crate::tree::Tree;
use crate::zookeeper_data::{Compression, Import, export, parse_name};
use anyhow::{Context, bail, ensure};
use std::path::{Path, PathBuf};

/// Where ZooKeeper keeps its files inside `dataDir` and `dataLogDir`.
const FOLDER: &str = "version-2";

/// What was carried over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Converted {
    /// The last transaction in it.
    pub zxid: i64,
    /// Znodes.
    pub nodes: usize,
    /// Sessions.
    pub sessions: usize,
}

/// Reads the newest whole snapshot and all newer transactions of a ZooKeeper that is stopped, and makes them the store
/// of the server of `config`. Every server of a new ensemble is to be given the same files before its first start.
///
/// # Errors
/// If there is nothing to read, what there is makes no sense, or the server has a store with something in it.
pub fn import_zookeeper(config: &Config, data_dir: &Path, log_dir: &Path) -> anyhow::Result<Converted> {
    let tree = read_zookeeper(&folder(data_dir), &folder(log_dir))?;
    let converted = describe(&tree);
    let (store, persisted, stored) = Disk::open(&config.data_dir, &config.data_log_dir)?;
    let is_new = persisted.applied == 0 && persisted.entries.is_empty() && stored.zxid() == 0;
    ensure!(is_new, "{} holds a server's data already", config.data_dir.display());
    let position = LogPosition { index: 1, term: 1 };
    let disk = Disk::start(store, |_| {})?;
    disk.write_now(&StoreWrite {
        number: Some(1),
        installed: Some(position),
        hard_state: Some(HardState { term: 1, vote: 0, commit: 1 }),
        tree: tree.entries().map(|(key, value)| (key, Some(value))).collect(),
        applied: Some(1),
        ..StoreWrite::default()
    })?;
    disk.close();
    Ok(converted)
}

/// Writes what a stopped server holds as a data directory from which an Apache ZooKeeper starts.
///
/// # Errors
/// If the server runs, has nothing, or the directory has a snapshot already.
pub fn export_zookeeper(config: &Config, target: &Path) -> anyhow::Result<Converted> {
    let (_store, persisted, stored) = Disk::open(&config.data_dir, &config.data_log_dir)?;
    ensure!(
        persisted.applied > 0 || !persisted.entries.is_empty(),
        "{} holds no server's data",
        config.data_dir.display()
    );
    let tree = recovered_tree(&persisted, stored);
    let folder = target.join(FOLDER);
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    ensure!(files(&folder, "snapshot")?.is_empty(), "{} has a snapshot already", folder.display());
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
    };
    // An ensemble of ZooKeeper goes on from the epoch in the zxid.
    let epoch = (tree.zxid() >> 32).to_string();
    write("acceptedEpoch", epoch.as_bytes())?;
    write("currentEpoch", epoch.as_bytes())?;
    write(&format!("snapshot.{:x}", tree.zxid()), &export(&tree))?;
    Ok(describe(&tree))
}

fn describe(tree: &Tree) -> Converted {
    Converted { zxid: tree.zxid(), nodes: tree.nodes_count(), sessions: tree.sessions().count() }
}

/// The directory itself may be named, or the one above it.
fn folder(dir: &Path) -> PathBuf {
    let inner = dir.join(FOLDER);
    if inner.is_dir() { inner } else { dir.to_owned() }
}

/// Files of one kind by ascending zxid.
fn files(dir: &Path, prefix: &str) -> anyhow::Result<Vec<(i64, Compression, PathBuf)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.extend(parse_name(&name, prefix).map(|(zxid, compression)| (zxid, compression, path)));
    }
    files.sort_by_key(|(zxid, ..)| *zxid);
    Ok(files)
}

fn read_zookeeper(data_dir: &Path, log_dir: &Path) -> anyhow::Result<Tree> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("reading {}", path.display()));
    let snapshots = files(data_dir, "snapshot")?;
    let mut import = None;
    for (zxid, compression, path) in snapshots.iter().rev() {
        match Import::from_snapshot(&read(path)?, *compression, *zxid) {
            Ok(whole) => {
                tracing::info!(file = %path.display(), "read a snapshot");
                import = Some(whole);
                break;
            }
            // ZooKeeper goes on with an older one, too: a crash may have left the newest unfinished.
            Err(error) => tracing::warn!(file = %path.display(), %error, "a snapshot cannot be used"),
        }
    }
    let Some(mut import) = import else { bail!("{} holds no snapshot that can be used", data_dir.display()) };
    let logs = files(log_dir, "log")?;
    // Of those that begin before the snapshot, the last may reach beyond it.
    let first = logs.iter().rposition(|(zxid, ..)| *zxid <= import.zxid()).unwrap_or(0);
    for (_, _, path) in &logs[first..] {
        let count = import.apply_log(&read(path)?).with_context(|| format!("reading {}", path.display()))?;
        tracing::info!(file = %path.display(), transactions = count, "read a log");
    }
    Ok(import.into_tree()?)
}
