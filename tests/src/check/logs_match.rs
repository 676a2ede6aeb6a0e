//! Up to its high watermark every replica holds the same batches, for ever: what one has below its high watermark, all
//! others have at the same offsets. Compacted topics are left out.

use super::brokers;
use crate::sim::disk::SimDisk;
use crate::sim::workload::kafka::COMPACTED;
use crate::sim::world::{Store, World};
use broker::partition::is_internal;
use common::kafka::batch::batches;
use std::collections::BTreeMap;

/// A batch as far as it can be told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    last_offset: i64,
    leader_epoch: i32,
    crc: u32,
}

/// Batches by base offset.
type Committed = BTreeMap<i64, Seen>;

/// What was seen so far.
#[derive(Debug, Default)]
pub struct LogsMatch {
    committed: BTreeMap<String, Committed>,
    /// How far each replica, in this life of its broker, was compared.
    compared: BTreeMap<(usize, u32, String), i64>,
}

impl LogsMatch {
    /// Reads what is new on the disks of all running brokers.
    pub fn look(&mut self, world: &World) -> Result<(), String> {
        for (host, process) in brokers(world) {
            let machine = world.machine(host);
            let Store::Disk(disk) = &machine.store else { continue };
            for partition in process.broker.replicas.all() {
                // Compaction keeps offsets and removes records.
                if is_internal(partition.topic()) || &**partition.topic() == COMPACTED {
                    continue;
                }
                let name = format!("{}-{}", partition.topic(), partition.index());
                let compared = self.compared.entry((host.0, machine.life, name.clone())).or_insert(0);
                let view = partition.view();
                let high_watermark = view.high_watermark;
                // Before the controller's first word nobody counts on what a crash has left.
                if high_watermark > *compared && view.leader.is_some() {
                    let committed = self.committed.entry(name.clone()).or_default();
                    compare(disk, &name, *compared..high_watermark, committed)
                        .map_err(|problem| format!("{}, {name}: {problem}", machine.name))?;
                    *compared = high_watermark;
                }
            }
        }
        Ok(())
    }
}

fn compare(disk: &SimDisk, name: &str, range: std::ops::Range<i64>, committed: &mut Committed) -> Result<(), String> {
    let segments = disk.segments(&format!("/data/{name}"));
    let first = segments.range(..=range.start).next_back().map_or(range.start, |(base, _)| *base);
    let mut next = range.start;
    for bytes in segments.range(first..range.end).map(|(_, bytes)| bytes) {
        for batch in batches(bytes.clone()) {
            let Ok(batch) = batch else { break };
            let header = &batch.header;
            if header.last_offset() < range.start {
                continue;
            }
            if header.base_offset >= range.end {
                return Ok(());
            }
            if header.base_offset > next {
                return Err(format!("offset {next} is below the high watermark {} and is not there", range.end));
            }
            let seen = Seen {
                last_offset: header.last_offset(),
                leader_epoch: header.partition_leader_epoch,
                crc: header.crc,
            };
            let first = *committed.entry(header.base_offset).or_insert(seen);
            if first != seen {
                let offset = header.base_offset;
                return Err(format!("the batch at offset {offset} is {seen:?} and elsewhere {first:?}"));
            }
            next = header.next_offset();
        }
    }
    if next < range.end {
        return Err(format!("the log ends at {next}, below the high watermark {}", range.end));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use common::disk::Disk as _;
    use common::kafka::batch::{BatchSpec, Record, build, set_base_offset, set_leader_epoch};
    use std::path::Path;

    /// A log of batches, each with offset, leader epoch and value.
    fn disk(log: &[(i64, i32, &str)]) -> SimDisk {
        let disk = SimDisk::default();
        disk.create_dir_all(Path::new("/data/t-0")).unwrap();
        let file = disk.open(Path::new("/data/t-0/00000000000000000000.log"), true).unwrap();
        for (offset, epoch, value) in log {
            let record = Record { value: Some(Bytes::from((*value).to_owned())), ..Record::default() };
            let mut batch = build(&BatchSpec::default(), &[record]).unwrap().to_vec();
            set_base_offset(&mut batch, *offset);
            set_leader_epoch(&mut batch, *epoch);
            file.write_at(&batch, file.len().unwrap()).unwrap();
        }
        disk
    }

    #[test]
    fn other_batches_and_holes_are_found() {
        let whole = [(0, 0, "a"), (1, 0, "b"), (2, 1, "c")];
        for (log, end, is_right) in [
            (vec![(0, 0, "a"), (1, 0, "b"), (2, 1, "c")], 3, true),
            (vec![(0, 0, "a"), (1, 0, "b")], 2, true),
            (vec![(0, 0, "a"), (1, 0, "b")], 3, false),
            (vec![(0, 0, "a"), (1, 0, "x")], 2, false),
            (vec![(0, 0, "a"), (1, 0, "x")], 1, true),
            (vec![(0, 0, "a"), (1, 1, "b")], 2, false),
            (vec![(0, 0, "a"), (2, 1, "c")], 3, false),
        ] {
            let mut committed = Committed::new();
            compare(&disk(&whole), "t-0", 0..3, &mut committed).unwrap();
            let found = compare(&disk(&log), "t-0", 0..end, &mut committed);
            assert_eq!(found.is_ok(), is_right, "{log:?}: {found:?}");
        }
    }
}
