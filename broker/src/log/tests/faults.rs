//! A disk that fails at its n-th change, in the middle of it: whatever was acknowledged before is there afterwards.

use super::*;
use common::disk::{DirEntry, DiskFile};
use common::kafka::batch::Batch;
use std::sync::atomic::{AtomicI64, Ordering};

/// Lets so many changes pass and fails from then on; the first that fails is done by half.
#[derive(Clone, Debug)]
struct FailingDisk {
    left: Arc<AtomicI64>,
}

#[derive(Debug)]
struct FailingFile {
    file: Arc<dyn DiskFile>,
    left: Arc<AtomicI64>,
}

fn full() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "no space left on device")
}

/// How many changes were left before this one.
fn take(left: &AtomicI64) -> i64 {
    left.fetch_sub(1, Ordering::Relaxed)
}

fn pass(left: &AtomicI64) -> io::Result<()> {
    if take(left) > 0 { Ok(()) } else { Err(full()) }
}

impl Disk for FailingDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        if create && !path.exists() {
            pass(&self.left)?;
        }
        Ok(Arc::new(FailingFile { file: StdDisk.open(path, create)?, left: Arc::clone(&self.left) }))
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        pass(&self.left)?;
        StdDisk.create_dir_all(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        StdDisk.read_dir(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        pass(&self.left)?;
        StdDisk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        pass(&self.left)?;
        StdDisk.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        pass(&self.left)?;
        StdDisk.remove_dir_all(path)
    }
    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        pass(&self.left)
    }
}

impl DiskFile for FailingFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        match take(&self.left) {
            1.. => self.file.write_at(bytes, position),
            0 => self.file.write_at(&bytes[..bytes.len() / 2], position).and(Err(full())),
            _ => Err(full()),
        }
    }
    fn write_all_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()> {
        self.write_at(&parts.concat(), position)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        pass(&self.left)?;
        self.file.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        pass(&self.left)
    }
    fn as_file(&self) -> Option<&std::fs::File> {
        None
    }
}

/// A disk that keeps half of what was written without a sync, as after a loss of power.
pub(super) struct Forgetful;

impl Disk for Forgetful {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        StdDisk.open(path, create)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        StdDisk.create_dir_all(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        StdDisk.read_dir(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        StdDisk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        StdDisk.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        StdDisk.remove_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        StdDisk.sync_dir(path)
    }
    fn write_unsynced(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        StdDisk.write_unsynced(path, &bytes[..bytes.len() / 2])
    }
}

/// Appends, rolls, flushes, deletes and compacts until the disk fails; the offsets and sequences acknowledged.
fn run_until_failure(place: &Place, changes: i64) -> (Vec<(i64, i32)>, bool) {
    let mut acknowledged = Vec::new();
    let disk = FailingDisk { left: Arc::new(AtomicI64::new(changes)) };
    let mut run = || -> Result<(), AppendError> {
        let mut log = Log::open(Arc::new(disk.clone()), place.dir(), place.config.clone(), UNCLEAN, at(1000))?;
        for sequence in 0..40 {
            let batch = idempotent(1, 0, sequence, 1).build();
            let info = log.append_as_leader(&batch, sequence / 15, AppendOrigin::Client, at(1000))?;
            acknowledged.push((info.first_offset, sequence));
            if sequence % 13 == 12 {
                log.flush()?;
            }
            if sequence == 30 {
                let state = log.compaction_state(None, log.log_end_offset(), at(1000))?;
                if let Some(compaction) = log.start_compaction(state, at(1000))? {
                    let compacted = compaction.run(1 << 20, &mut |_| {})?;
                    log.finish_compaction(compacted, at(1000))?;
                }
            }
        }
        log.delete_old_segments(at(1000), log.log_end_offset())?;
        Ok(log.close()?)
    };
    let is_done = run().is_ok();
    (acknowledged, is_done)
}

#[test]
fn what_was_acknowledged_survives_a_failing_disk() {
    let mut changes = 0;
    loop {
        let place = Place::new(LogConfig { file_delete_delay_ms: 0, ..small_segments() });
        let (acknowledged, is_done) = run_until_failure(&place, changes);
        let mut log = place.open(UNCLEAN);
        let read = read_batches(&log);
        for (offset, sequence) in &acknowledged {
            let header = read.iter().map(|batch| batch.header).find(|header| header.base_offset == *offset);
            // All keys are the same, so compaction leaves older ones out.
            let is_compacted = *sequence < 30 && acknowledged.len() > 30;
            match header {
                Some(header) => assert_eq!(header.base_sequence, *sequence, "{changes} changes"),
                None => assert!(is_compacted, "{changes} changes: offset {offset} is lost"),
            }
        }
        // At most the one append that failed is there in addition.
        let next = acknowledged.len() as i64;
        assert!((next..=next + 1).contains(&log.log_end_offset()), "{changes} changes: {}", log.log_end_offset());
        let last_sequence = log.log_end_offset() as i32 - 1;
        assert_eq!(log.producers().get(1).map_or(-1, |entry| entry.last_sequence()), last_sequence, "{changes}");
        append(&mut log, &idempotent(1, 0, last_sequence + 1, 1));
        if is_done {
            break;
        }
        changes += 1;
    }
    assert!(changes > 100, "the script makes many changes: {changes}");
}

fn read_batches(log: &Log) -> Vec<Batch> {
    let (mut found, mut next) = (Vec::new(), 0);
    while next < log.log_end_offset() {
        let Some(records) = log.read(next, 1 << 16, log.log_end_offset(), true).unwrap().records else { break };
        for batch in common::kafka::batch::batches(records.read().unwrap().into()) {
            let Ok(batch) = batch else { break };
            batch.check_crc().unwrap();
            next = batch.header.next_offset();
            found.push(batch);
        }
    }
    found
}
