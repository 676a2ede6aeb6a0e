//! The disk as an argument: the file operations that the broker's log needs, as two traits. The real twin lives in
//! `server/`, the simulated one (torn, lost and failed writes) in the tests. Never touches a file itself.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file system. All calls block until done. Paths are absolute.
pub trait Disk: Send + Sync {
    /// Opens a file for reading and writing; `NotFound` if it is absent and `create` is false.
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates a directory and its parents; no error if it is there.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// What a directory holds, sorted by name.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Atomically replaces `to`. Durable only after `sync_dir` of the parent.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes created, renamed and removed entries of a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Names the memory that holds what was written and not yet synced: the same as long as the machine has not gone down
    /// since, so that a process that ended has lost nothing. `None` if that cannot be told.
    fn memory_id(&self) -> Option<String> {
        None
    }
    /// Bytes of the file system that holds a path: all, and those free for this process; `None` where nobody counts.
    fn space(&self, path: &Path) -> io::Result<Option<(u64, u64)>> {
        let _ = path;
        Ok(None)
    }

    /// A whole small file; `InvalidData` if it is longer than `max_bytes`.
    fn read(&self, path: &Path, max_bytes: usize) -> io::Result<Vec<u8>> {
        let file = self.open(path, false)?;
        let len = file.len()?;
        if len > max_bytes as u64 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} is longer than {max_bytes} bytes", path.display()),
            ));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Makes a file that is not there; `AlreadyExists` if it is. Of several that do at once, on several machines, one succeeds
    /// (as far as this implementation's disk can do that).
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        match self.open(path, false) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.open(path, true),
            Err(error) => Err(error),
        }
    }

    /// Replaces a small file so that after a crash either the old or the new content is there, whole.
    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = temporary(path);
        let file = self.open(&temporary, true)?;
        file.set_len(0)?;
        file.write_at(bytes, 0)?;
        file.sync()?;
        self.rename(&temporary, path)?;
        match path.parent() {
            Some(parent) => self.sync_dir(parent),
            None => Ok(()),
        }
    }

    /// Replaces a small file without waiting for the disk: a process that ends leaves the old or the new content, whole; a
    /// machine that loses power may leave less.
    fn write_unsynced(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = temporary(path);
        let file = self.open(&temporary, true)?;
        file.set_len(0)?;
        file.write_at(bytes, 0)?;
        self.rename(&temporary, path)
    }
}

fn temporary(path: &Path) -> PathBuf {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    PathBuf::from(temporary)
}

/// An open file. Usable from several threads; reads and writes name their position.
pub trait DiskFile: Send + Sync + std::fmt::Debug {
    /// Fills `buffer` from `position` as far as the file goes; the count is short only at its end.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `position`.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    /// Writes all parts, one behind the other, from `position` on; one system call where the system can.
    fn write_all_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()> {
        let mut position = position;
        for part in parts {
            self.write_at(part, position)?;
            position += part.len() as u64;
        }
        Ok(())
    }
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// True if the file has no byte.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends (with zeros) to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;
    /// The descriptor for zero-copy sending; `None` in the simulator.
    fn as_file(&self) -> Option<&std::fs::File>;
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// Name without the directory.
    pub name: String,
    /// True for a directory.
    pub is_dir: bool,
    /// Length in bytes; 0 for a directory.
    pub len: u64,
    /// Time of the last change.
    pub modified: crate::time::WallMillis,
}

/// A stretch of an open file, to be sent without being read into memory.
#[derive(Clone, Debug)]
pub struct FileSlice {
    /// The file.
    pub file: Arc<dyn DiskFile>,
    /// First byte.
    pub position: u64,
    /// Bytes.
    pub len: u32,
}

impl FileSlice {
    /// The bytes, read into memory; an error if the file is shorter than promised.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.len as usize];
        let read = self.file.read_at(&mut bytes, self.position)?;
        if read < bytes.len() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "file is shorter than the slice"));
        }
        Ok(bytes)
    }
}
