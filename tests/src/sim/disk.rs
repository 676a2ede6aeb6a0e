//! A file system in memory behind [`common::disk::Disk`], with what a real one does when the power goes: writes that were
//! not synced are lost from some point on, the last of them is torn, and names that were not synced are lost as well. It
//! fails when it is told to (all changes, for want of room, one sync, what is read), and decides nothing by itself.

use bytes::Bytes;
use common::Rng;
use common::disk::{DirEntry, Disk, DiskFile};
use common::kafka::batch::{BatchHeader, HEADER_BYTES};
use common::time::WallMillis;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, MutexGuard};

const ROOT: u64 = 0;
/// While a disk rots, one in so many reads of records has a wrong bit.
const ROTTEN_ONE_IN: u32 = 12;

/// A change of a file that is not durable yet, with what it takes to undo it.
#[derive(Debug)]
enum Change {
    Write { position: usize, new: Vec<u8>, old: Vec<u8>, old_len: usize },
    SetLen { new_len: usize, cut: Vec<u8>, old_len: usize },
}

#[derive(Debug, Default)]
struct File {
    bytes: Vec<u8>,
    changes: Vec<Change>,
    modified: WallMillis,
    /// A sync has failed: the system took its writes for done, and no later sync makes anything durable.
    is_lying: bool,
}

impl File {
    fn write(&mut self, position: usize, new: &[u8]) {
        let old_len = self.bytes.len();
        let end = position + new.len();
        let old = self.bytes.get(position..end.min(old_len)).unwrap_or_default().to_vec();
        self.bytes.resize(old_len.max(end), 0);
        self.bytes[position..end].copy_from_slice(new);
        self.changes.push(Change::Write { position, new: new.to_vec(), old, old_len });
    }

    fn set_len(&mut self, new_len: usize) {
        let old_len = self.bytes.len();
        let cut = self.bytes.get(new_len..).unwrap_or_default().to_vec();
        self.bytes.resize(new_len, 0);
        self.changes.push(Change::SetLen { new_len, cut, old_len });
    }

    /// Back to what is durable, then forward through a beginning of the changes.
    fn lose(&mut self, rng: &mut Rng) {
        let changes = std::mem::take(&mut self.changes);
        for change in changes.iter().rev() {
            match change {
                Change::Write { position, old, old_len, .. } => {
                    self.bytes.truncate(*old_len);
                    self.bytes[*position..*position + old.len()].copy_from_slice(old);
                }
                Change::SetLen { cut, old_len, .. } => {
                    self.bytes.resize(*old_len - cut.len(), 0);
                    self.bytes.extend_from_slice(cut);
                }
            }
        }
        let kept = rng.usize(0..=changes.len());
        for change in &changes[..kept] {
            match change {
                Change::Write { position, new, .. } => self.write(*position, new),
                Change::SetLen { new_len, .. } => self.set_len(*new_len),
            }
        }
        if let Some(Change::Write { position, new, .. }) = changes.get(kept)
            && rng.bool()
        {
            self.write(*position, &new[..rng.usize(0..=new.len())]);
        }
        self.changes.clear();
        self.is_lying = false;
    }

    fn sync(&mut self) {
        if !self.is_lying {
            self.changes.clear();
        }
    }
}

/// Names that change together: a rename is one change.
type Renaming = Vec<(String, Option<u64>)>;

#[derive(Debug, Default)]
struct Folder {
    names: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    changes: Vec<Renaming>,
}

impl Folder {
    fn change(&mut self, renaming: Renaming) {
        for (name, inode) in &renaming {
            match inode {
                Some(inode) => self.names.insert(name.clone(), *inode),
                None => self.names.remove(name),
            };
        }
        self.changes.push(renaming);
    }

    fn sync(&mut self) {
        self.durable = self.names.clone();
        self.changes.clear();
    }

    fn lose(&mut self, rng: &mut Rng) {
        let changes = std::mem::take(&mut self.changes);
        self.names = self.durable.clone();
        let kept = rng.usize(0..=changes.len());
        for renaming in changes.into_iter().take(kept) {
            self.change(renaming);
        }
        self.sync();
    }
}

#[derive(Debug)]
enum Inode {
    File(File),
    Folder(Folder),
}

#[derive(Debug)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    next: u64,
    clock: WallMillis,
    /// Changes that will still succeed; then each fails.
    changes_left: Option<u64>,
    /// Counts every change, for the trace.
    changes: u64,
    /// How often power was lost.
    boots: u64,
    /// There is no room: what makes a file longer, or a new one, is refused.
    is_full: bool,
    /// The next sync of a file fails.
    fails_sync: bool,
    /// Something was refused since the process began.
    has_refused: bool,
    /// While set, some of what is read from logs comes back with a wrong bit.
    rot: Option<Rng>,
    /// Counts what was read with a wrong bit.
    rotten_reads: u64,
}

/// A disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl Default for SimDisk {
    fn default() -> SimDisk {
        let mut root = Folder::default();
        root.sync();
        let state = State {
            inodes: BTreeMap::from([(ROOT, Inode::Folder(root))]),
            next: 1,
            clock: WallMillis(0),
            changes_left: None,
            changes: 0,
            boots: 0,
            is_full: false,
            fails_sync: false,
            has_refused: false,
            rot: None,
            rotten_reads: 0,
        };
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }
}

impl SimDisk {
    /// Gives the memory back when a run is over: what a broker has parked for its clients holds the broker itself, and so the
    /// disk.
    pub fn forget(&self) {
        self.state.lock().expect("no holder panics").inodes.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// The time that changes of files bear.
    pub fn set_clock(&self, now: WallMillis) {
        self.state().clock = now;
    }

    /// After so many changes every further one fails; `None` for a disk that works.
    pub fn fail_after(&self, changes: Option<u64>) {
        self.state().changes_left = changes;
    }

    /// True if a change was refused, or the next one will be.
    pub fn has_failed(&self) -> bool {
        self.state().changes_left == Some(0)
    }

    /// True if something was refused to this process.
    pub fn has_refused(&self) -> bool {
        self.state().has_refused
    }

    /// A new process begins: what was refused to the last one is forgotten, and what it did not see rot is whole.
    pub fn process_began(&self) {
        let mut state = self.state();
        (state.has_refused, state.rot, state.changes_left) = (false, None, None);
    }

    /// True if some sync has failed and those after it lie.
    pub fn is_lying(&self) -> bool {
        self.state().inodes.values().any(|inode| matches!(inode, Inode::File(file) if file.is_lying))
    }

    /// Whether there is room for more.
    pub fn set_full(&self, is_full: bool) {
        self.state().is_full = is_full;
    }

    /// If set, the next sync fails, and what it was for stays as uncertain as it was, whatever later syncs say.
    pub fn set_failing_sync(&self, fails: bool) {
        self.state().fails_sync = fails;
    }

    /// From now on some of what is read from logs has a wrong bit, until this is called with `None`.
    pub fn set_rot(&self, rot: Option<Rng>) {
        self.state().rot = rot;
    }

    /// How often something was read with a wrong bit so far.
    pub fn rotten_reads(&self) -> u64 {
        self.state().rotten_reads
    }

    /// The segments of a log by base offset, as they are on the disk; for checkers.
    pub fn segments(&self, folder: &str) -> BTreeMap<i64, Bytes> {
        let state = self.state();
        let mut segments = BTreeMap::new();
        let Ok(folder) = state.find(Path::new(folder)).and_then(|inode| state.folder(inode)) else { return segments };
        for (name, inode) in &folder.names {
            if let Some(base) = name.strip_suffix(".log").and_then(|base| base.parse().ok())
                && let Ok(file) = state.file(*inode)
            {
                segments.insert(base, Bytes::copy_from_slice(&file.bytes));
            }
        }
        segments
    }

    /// How many changes were made.
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// What was not synced is lost, from some point on in each file and folder.
    pub fn lose_power(&self, rng: &mut Rng) {
        let mut state = self.state();
        for inode in state.inodes.values_mut() {
            match inode {
                Inode::File(file) => file.lose(rng),
                Inode::Folder(folder) => folder.lose(rng),
            }
        }
        state.forget_unnamed();
        state.boots += 1;
    }
}

impl State {
    /// Files that no folder names are gone, once nobody can have them open.
    fn forget_unnamed(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut next = vec![ROOT];
        while let Some(inode) = next.pop() {
            if let Some(Inode::Folder(folder)) = self.inodes.get(&inode) {
                next.extend(folder.names.values().filter(|inode| reached.insert(**inode)));
            }
        }
        self.inodes.retain(|inode, _| reached.contains(inode));
    }

    fn count(&mut self) -> io::Result<()> {
        self.changes += 1;
        match &mut self.changes_left {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the disk fails")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    /// Room for a file to grow, or for a new one.
    fn make_room(&mut self) -> io::Result<()> {
        if self.is_full {
            self.has_refused = true;
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device"));
        }
        Ok(())
    }

    fn find(&self, path: &Path) -> io::Result<u64> {
        let mut inode = ROOT;
        for name in names(path)? {
            let folder = self.folder(inode)?;
            inode = *folder.names.get(name).ok_or_else(|| absent(path))?;
        }
        Ok(inode)
    }

    fn folder(&self, inode: u64) -> io::Result<&Folder> {
        match self.inodes.get(&inode) {
            Some(Inode::Folder(folder)) => Ok(folder),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn folder_mut(&mut self, inode: u64) -> io::Result<&mut Folder> {
        match self.inodes.get_mut(&inode) {
            Some(Inode::Folder(folder)) => Ok(folder),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn file(&self, inode: u64) -> io::Result<&File> {
        match self.inodes.get(&inode) {
            Some(Inode::File(file)) => Ok(file),
            Some(Inode::Folder(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn file_mut(&mut self, inode: u64) -> io::Result<&mut File> {
        let clock = self.clock;
        match self.inodes.get_mut(&inode) {
            Some(Inode::File(file)) => {
                file.modified = clock;
                Ok(file)
            }
            Some(Inode::Folder(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The folder that a path is in, and its name there.
    fn place(&self, path: &Path) -> io::Result<(u64, String)> {
        let parent = path.parent().ok_or_else(|| absent(path))?;
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| absent(path))?;
        Ok((self.find(parent)?, name.to_owned()))
    }

    fn add(&mut self, inode: Inode) -> u64 {
        let number = self.next;
        self.next += 1;
        self.inodes.insert(number, inode);
        number
    }
}

fn absent(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} is not there", path.display()))
}

fn names(path: &Path) -> io::Result<Vec<&str>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => names.push(name.to_str().ok_or_else(|| absent(path))?),
            Component::ParentDir | Component::Prefix(_) => return Err(absent(path)),
        }
    }
    Ok(names)
}

fn index(position: u64) -> io::Result<usize> {
    usize::try_from(position).map_err(io::Error::other)
}

impl Disk for SimDisk {
    fn memory_id(&self) -> Option<String> {
        Some(self.state().boots.to_string())
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        let inode = match state.find(path) {
            Ok(inode) => inode,
            Err(error) if error.kind() == io::ErrorKind::NotFound && create => {
                let (folder, name) = state.place(path)?;
                state.make_room()?;
                state.count()?;
                let file = File { modified: state.clock, ..File::default() };
                let inode = state.add(Inode::File(file));
                state.folder_mut(folder)?.change(vec![(name, Some(inode))]);
                inode
            }
            Err(error) => return Err(error),
        };
        state.file(inode)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let mut inode = ROOT;
        for name in names(path)? {
            inode = match state.folder(inode)?.names.get(name) {
                Some(found) => *found,
                None => {
                    state.count()?;
                    let added = state.add(Inode::Folder(Folder::default()));
                    state.folder_mut(inode)?.change(vec![(name.to_owned(), Some(added))]);
                    added
                }
            };
        }
        state.folder(inode).map(drop)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.state();
        let folder = state.folder(state.find(path)?)?;
        let entry = |(name, inode): (&String, &u64)| match state.inodes.get(inode) {
            Some(Inode::File(file)) => {
                DirEntry { name: name.clone(), is_dir: false, len: file.bytes.len() as u64, modified: file.modified }
            }
            _ => DirEntry { name: name.clone(), is_dir: true, len: 0, modified: WallMillis(0) },
        };
        Ok(folder.names.iter().map(entry).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.find(from)?;
        let (old_folder, old_name) = state.place(from)?;
        let (new_folder, new_name) = state.place(to)?;
        let is_occupied = state
            .find(to)
            .is_ok_and(|other| other != inode && state.folder(other).is_ok_and(|folder| !folder.names.is_empty()));
        if is_occupied {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.count()?;
        if old_folder == new_folder {
            return state
                .folder_mut(old_folder)
                .map(|folder| folder.change(vec![(old_name, None), (new_name, Some(inode))]));
        }
        state.folder_mut(new_folder)?.change(vec![(new_name, Some(inode))]);
        state.folder_mut(old_folder)?.change(vec![(old_name, None)]);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.find(path)?;
        state.file(inode)?;
        let (folder, name) = state.place(path)?;
        state.count()?;
        state.folder_mut(folder)?.change(vec![(name, None)]);
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.find(path)?;
        state.folder(inode)?;
        let (folder, name) = state.place(path)?;
        state.count()?;
        state.folder_mut(folder)?.change(vec![(name, None)]);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.find(path)?;
        state.count()?;
        state.folder_mut(inode).map(Folder::sync)
    }
}

/// An open file; it stays usable when its name goes.
#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: u64,
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let state = &mut *self.disk.state();
        let file = state.file(self.inode)?;
        let rest = file.bytes.get(index(position)?..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        if let Some(rot) = &mut state.rot
            && let Ok(header) = BatchHeader::parse(&buffer[..count])
            && rot.u32(..ROTTEN_ONE_IN) == 0
        {
            // In the records, which the checksum covers: for headers and indexes Kafka's format has none.
            let end = header.size_bytes().min(count);
            if end > HEADER_BYTES {
                buffer[rot.usize(HEADER_BYTES..end)] ^= 1 << rot.u32(..8);
                state.rotten_reads += 1;
            }
        }
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let position = index(position)?;
        let room = state.file(self.inode)?.bytes.len();
        if position + bytes.len() > room
            && let Err(error) = state.make_room()
        {
            // As a real file system does: what there is room for is written.
            let fitting = (room.saturating_sub(position)).min(bytes.len());
            state.file_mut(self.inode)?.write(position.min(room), &bytes[..fitting]);
            return Err(error);
        }
        state.count()?;
        state.file_mut(self.inode).map(|file| file.write(position, bytes))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().file(self.inode)?.bytes.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.count()?;
        let len = index(len)?;
        state.file_mut(self.inode).map(|file| file.set_len(len))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.count()?;
        if std::mem::take(&mut state.fails_sync) {
            state.has_refused = true;
            state.file_mut(self.inode)?.is_lying = true;
            return Err(io::Error::other("input/output error"));
        }
        state.file_mut(self.inode).map(File::sync)
    }

    fn as_file(&self) -> Option<&std::fs::File> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After a loss of power: what the file may hold.
    fn check(synced: &[u8], unsynced: &[(u64, &[u8])], allowed: impl Fn(&[u8]) -> bool) {
        let mut seen = BTreeSet::new();
        for seed in 0..100 {
            let disk = SimDisk::default();
            disk.create_dir_all(Path::new("/d")).unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            let file = disk.open(Path::new("/d/f"), true).unwrap();
            disk.sync_dir(Path::new("/d")).unwrap();
            file.write_at(synced, 0).unwrap();
            file.sync().unwrap();
            for (position, bytes) in unsynced {
                file.write_at(bytes, *position).unwrap();
            }
            disk.lose_power(&mut Rng::with_seed(seed));
            let left = disk.read(Path::new("/d/f"), 100).unwrap();
            assert!(allowed(&left), "{left:?}");
            seen.insert(left);
        }
        assert!(seen.len() > 2, "{seen:?}");
    }

    #[test]
    fn what_was_synced_stays_and_the_rest_is_a_beginning() {
        check(b"abc", &[(3, b"de"), (5, b"fg")], |left| left.starts_with(b"abc") && b"abcdefg".starts_with(left));
        check(b"abc", &[(1, b"XY"), (3, b"z")], |left| [&b"abc"[..], b"aXc", b"aXY", b"aXYz"].contains(&left));
    }

    #[test]
    fn a_name_lasts_when_its_folder_was_synced() {
        let disk = SimDisk::default();
        let folder = Path::new("/d");
        disk.create_dir_all(folder).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        disk.write_atomic(&folder.join("kept"), b"1").unwrap();
        let mut lost = 0;
        for seed in 0..20 {
            disk.open(&folder.join("new"), true).unwrap();
            disk.lose_power(&mut Rng::with_seed(seed));
            assert_eq!(disk.read(&folder.join("kept"), 10).unwrap(), b"1");
            lost += usize::from(disk.open(&folder.join("new"), false).is_err());
            let _ = disk.remove_file(&folder.join("new"));
            disk.sync_dir(folder).unwrap();
        }
        assert!((1..20).contains(&lost), "{lost}");
    }

    #[test]
    fn a_sync_that_failed_makes_later_ones_lie() {
        for seed in 0..20 {
            let disk = SimDisk::default();
            let file = disk.open(Path::new("/f"), true).unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            file.write_at(b"a", 0).unwrap();
            file.sync().unwrap();
            disk.set_failing_sync(true);
            file.write_at(b"b", 1).unwrap();
            file.sync().unwrap_err();
            assert!(disk.has_refused());
            file.write_at(b"c", 2).unwrap();
            file.sync().unwrap();
            assert_eq!(disk.read(Path::new("/f"), 10).unwrap(), b"abc");
            disk.lose_power(&mut Rng::with_seed(seed));
            assert!(b"abc".starts_with(&disk.read(Path::new("/f"), 10).unwrap()[..]));
        }
    }

    #[test]
    fn a_full_disk_takes_what_fits() {
        let disk = SimDisk::default();
        let file = disk.open(Path::new("/f"), true).unwrap();
        file.write_at(b"abc", 0).unwrap();
        disk.set_full(true);
        file.write_at(b"xyz", 1).unwrap_err();
        disk.open(Path::new("/g"), true).unwrap_err();
        assert_eq!(disk.read(Path::new("/f"), 10).unwrap(), b"axy");
        disk.set_full(false);
        file.write_at(b"z", 3).unwrap();
        assert_eq!(disk.read(Path::new("/f"), 10).unwrap(), b"axyz");
    }

    #[test]
    fn a_failing_disk_refuses_every_change() {
        let disk = SimDisk::default();
        let file = disk.open(Path::new("/f"), true).unwrap();
        disk.fail_after(Some(1));
        file.write_at(b"a", 0).unwrap();
        file.write_at(b"b", 1).unwrap_err();
        file.sync().unwrap_err();
        assert!(disk.has_failed());
        assert_eq!(disk.read(Path::new("/f"), 10).unwrap(), b"a");
    }
}
