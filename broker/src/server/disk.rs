//! The real disk behind [`common::disk::Disk`]: plain files with positioned reads and writes. Never caches and never
//! syncs unasked.

use common::disk::{DirEntry, Disk, DiskFile};
use common::time::WallMillis;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// The file in every log directory that a running broker holds locked, as Kafka does.
const LOCK_FILE: &str = ".lock";

/// Keeps other processes, Kafka's included, out of the log directories for as long as the files are kept. Makes the
/// directories that are not there; one that cannot be used is left to be found offline, unless there is no other. `Err`
/// is for the operator.
pub fn lock_log_dirs(dirs: &[String]) -> anyhow::Result<Vec<File>> {
    let mut locks = Vec::new();
    let mut problems = Vec::new();
    for dir in dirs.iter().map(Path::new) {
        let opened = fs::create_dir_all(dir).and_then(|()| {
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join(LOCK_FILE))
        });
        let file = match opened {
            Ok(file) => file,
            Err(error) => {
                problems.push(format!("{}: {error}", dir.display()));
                continue;
            }
        };
        // The kind of lock that Java takes; it goes with the process.
        match rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => locks.push(file),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => anyhow::bail!(
                "Failed to acquire lock on file {LOCK_FILE} in {}. A Kafka instance in another process or thread is using this directory.",
                dir.display()
            ),
            Err(error) => problems.push(format!("{}: {error}", dir.display())),
        }
    }
    if locks.is_empty() {
        anyhow::bail!(
            "Shutdown broker because none of the specified log dirs can be created or validated: {}; log.dirs names them",
            problems.join(", ")
        );
    }
    for problem in problems {
        tracing::error!("a log directory cannot be used: {problem}");
    }
    Ok(locks)
}

/// The host's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct StdDisk;

impl Disk for StdDisk {
    fn memory_id(&self) -> Option<String> {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned()).filter(|id| !id.is_empty())
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path)?;
        Ok(Arc::new(StdFile(file)))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(StdFile(file)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // A file may go between listing and looking: it is then as if it had gone before.
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let since_epoch = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            entries.push(DirEntry {
                name: entry.file_name().to_string_lossy().into_owned(),
                is_dir: metadata.is_dir(),
                len: if metadata.is_dir() { 0 } else { metadata.len() },
                modified: WallMillis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)),
            });
        }
        entries.sort();
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn space(&self, path: &Path) -> io::Result<Option<(u64, u64)>> {
        let found = rustix::fs::statvfs(path)?;
        Ok(Some((found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

/// An open file.
#[derive(Debug)]
struct StdFile(File);

impl DiskFile for StdFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, position)
    }

    fn write_all_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()> {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let mut written = 0;
        // One call takes up to 1024 parts; what it leaves (a full disk, a signal) is written part by part, which
        // then tells the reason.
        if parts.len() <= 1024 {
            let mut slices = [IoSlice::new(&[]); 2];
            written = if let [first, second] = parts {
                slices[0] = IoSlice::new(first);
                slices[1] = IoSlice::new(second);
                rustix::io::pwritev(&self.0, &slices, position)
            } else {
                let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
                rustix::io::pwritev(&self.0, &slices, position)
            }
            .or_else(|error| if error == rustix::io::Errno::INTR { Ok(0) } else { Err(error) })?;
        }
        if written == total {
            return Ok(());
        }
        let mut start = 0;
        for part in parts {
            let end = start + part.len();
            if end > written {
                let skipped = written.saturating_sub(start);
                self.0.write_all_at(&part[skipped..], position + (start + skipped) as u64)?;
            }
            start = end;
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn as_file(&self) -> Option<&File> {
        Some(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_directory_is_made_and_locked() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("a/logs");
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        // What is no directory is for the broker to find offline.
        let dirs = [logs.clone(), file].map(|path| path.to_string_lossy().into_owned());
        assert_eq!(lock_log_dirs(&dirs).unwrap().len(), 1);
        assert!(logs.join(LOCK_FILE).exists());
    }

    #[test]
    fn parts_are_written_one_behind_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let many: Vec<&[u8]> = vec![b"xy"; 3000];
        for parts in [vec![], vec![&b"abc"[..]], vec![b"abc", b"defg"], vec![b"a", b"", b"b"], many] {
            let file = StdDisk.open(&path, true).unwrap();
            file.set_len(0).unwrap();
            file.write_all_at(&parts, 2).unwrap();
            let mut expected = if parts.is_empty() { vec![] } else { vec![0, 0] };
            expected.extend(parts.concat());
            assert_eq!(fs::read(&path).unwrap(), expected);
        }
    }

    #[test]
    fn reading_past_the_end_is_short() {
        let dir = tempfile::tempdir().unwrap();
        let file = StdDisk.open(&dir.path().join("f"), true).unwrap();
        file.write_at(b"hello", 0).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(file.read_at(&mut buffer, 3).unwrap(), 2);
        assert_eq!(&buffer[..2], b"lo");
        assert_eq!(file.read_at(&mut buffer, 30).unwrap(), 0);
        assert!(StdDisk.open(&dir.path().join("absent"), false).is_err());
    }
}
