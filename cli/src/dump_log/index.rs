//! Indexes: their entries, and whether the log has what they name. Repairs nothing.

use super::segment::Segment;
use super::{Wanted, read};
use anyhow::{anyhow, bail};
use broker::log::entries::{OFFSET_INDEX_BYTES, TIME_INDEX_BYTES, offset_index, time_index};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Pairs of numbers by file.
type Pairs = BTreeMap<String, Vec<(i64, i64)>>;

/// What is wrong, told at the end.
#[derive(Default)]
pub(super) struct Findings {
    /// Offset in the index, and in the log at its place.
    mismatches: Pairs,
    /// Timestamp in the index, and in the log.
    timestamps: Pairs,
    /// Timestamp, and the one before, which is not smaller.
    out_of_order: Pairs,
    /// Offset in the index, and what the log has instead; -1: nothing.
    not_found: Pairs,
    /// Offsets of records between which others are missing.
    gaps: Pairs,
}

fn absolute(file: &str) -> String {
    std::path::absolute(file).unwrap_or_else(|_| PathBuf::from(file)).display().to_string()
}

fn note(pairs: &mut Pairs, file: &str, one: i64, other: i64) {
    pairs.entry(absolute(file)).or_default().push((one, other));
}

impl Findings {
    /// Offsets are missing between two records.
    pub(super) fn not_consecutive(&mut self, file: &str, first: i64, second: i64) {
        note(&mut self.gaps, file, first, second);
    }

    /// Tells all on stderr.
    pub(super) fn print(&self) {
        let tell = |pairs: &Pairs, title: &str, newest_first: bool, line: &dyn Fn(i64, i64) -> String| {
            for (file, pairs) in pairs {
                eprintln!("{title}{file}");
                let mut lines: Vec<String> = pairs.iter().map(|(one, other)| line(*one, *other)).collect();
                if newest_first {
                    lines.reverse();
                }
                lines.iter().for_each(|line| eprintln!("  {line}"));
            }
        };
        tell(&self.mismatches, "Mismatches in :", true, &|one, other| {
            format!("Index offset: {one}, log offset: {other}")
        });
        tell(&self.timestamps, "Found timestamp mismatch in :", false, &|one, other| {
            format!("Index timestamp: {one}, log timestamp: {other}")
        });
        tell(&self.out_of_order, "Found out of order timestamp in :", false, &|one, other| {
            format!("Index timestamp: {one}, Previously indexed timestamp: {other}")
        });
        for pairs in self.not_found.values() {
            eprintln!("The following indexed offsets are not found in the log.");
            pairs.iter().for_each(|(one, other)| eprintln!("Indexed offset: {one}, found log offset: {other}"));
        }
        tell(&self.gaps, "Non-consecutive offsets in ", true, &|one, other| format!("{one} is followed by {other}"));
    }
}

/// The file of the same segment with another ending.
fn sibling(file: &str, ending: &str) -> String {
    let path = PathBuf::from(absolute(file));
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = name.split('.').next().unwrap_or_default();
    path.parent().unwrap_or(Path::new("/")).join(format!("{stem}.{ending}")).display().to_string()
}

/// A file with a part of an entry at its end cannot be used by a broker.
fn check_length(file: &str, kind: &str, bytes: &[u8], entry: usize) -> anyhow::Result<()> {
    if bytes.len().is_multiple_of(entry) {
        return Ok(());
    }
    bail!(
        "org.apache.kafka.storage.internals.log.CorruptIndexException: {kind} file {} is corrupt, found {} bytes which is \
         neither positive nor a multiple of {entry}",
        absolute(file),
        bytes.len()
    )
}

/// Shows an `.index`.
pub(super) fn print_offsets(file: &str, base: i64, wanted: &Wanted, findings: &mut Findings) -> anyhow::Result<()> {
    let log = Segment::open(&sibling(file, "log"), u64::MAX)?;
    let bytes = read(file)?;
    if bytes.len() < OFFSET_INDEX_BYTES {
        println!("{file} is empty.");
        return Ok(());
    }
    if wanted.sanity_only {
        let last = offset_index(base, &bytes).last().map_or(base, |(offset, _)| offset);
        if last < base {
            bail!(
                "org.apache.kafka.storage.internals.log.CorruptIndexException: Corrupt index found, index file ({}) has \
                 non-zero size but the last offset is {last} which is less than the base offset {base}.",
                absolute(file)
            );
        }
        check_length(file, "Index", &bytes, OFFSET_INDEX_BYTES)?;
        println!("{file} passed sanity check.");
        return Ok(());
    }
    for (number, (offset, position)) in offset_index(base, &bytes).enumerate() {
        // What was reserved and never written is zero.
        if offset == base && number > 0 {
            return Ok(());
        }
        let batch = log.batch_at(u64::from(position))?;
        let batch = batch.filter(|batch| batch.bytes.len() as u64 <= wanted.max_message_bytes);
        let batch = batch.ok_or_else(|| anyhow!("java.util.NoSuchElementException"))?;
        if batch.header.last_offset() != offset {
            note(&mut findings.mismatches, file, offset, batch.header.last_offset());
        }
        if !wanted.verify_only {
            println!("offset: {offset} position: {position}");
        }
    }
    Ok(())
}

/// Shows a `.timeindex`.
pub(super) fn print_times(file: &str, base: i64, wanted: &Wanted, findings: &mut Findings) -> anyhow::Result<()> {
    let log = Segment::open(&sibling(file, "log"), u64::MAX)?;
    let offsets: Vec<(i64, u32)> = offset_index(base, &read(&sibling(file, "index"))?).collect();
    let bytes = read(file)?;
    if wanted.sanity_only {
        check_length(file, "Time index", &bytes, TIME_INDEX_BYTES)?;
        println!("{file} passed sanity check.");
        return Ok(());
    }
    let mut previous = -1;
    for (number, (timestamp, offset)) in time_index(base, &bytes).enumerate() {
        if offset == base && number > 0 {
            return Ok(());
        }
        let before = offsets.partition_point(|(indexed, _)| *indexed <= offset);
        let mut position = before.checked_sub(1).map_or(0, |at| u64::from(offsets[at].1));
        let found = loop {
            match log.batch_at(position)? {
                Some(batch) if batch.header.last_offset() < offset => position += batch.bytes.len() as u64,
                found => break found,
            }
        };
        match found {
            Some(batch) if batch.header.last_offset() == offset => {
                let records = batch.records(i32::MAX as usize);
                let times =
                    records.into_iter().flatten().filter_map(|record| record.ok().map(|record| record.timestamp));
                let newest = times.max().unwrap_or(-1);
                if newest != timestamp {
                    note(&mut findings.timestamps, file, timestamp, newest);
                }
                if previous >= timestamp {
                    note(&mut findings.out_of_order, file, timestamp, previous);
                }
            }
            found => {
                let instead = found.map_or(-1, |batch| batch.header.last_offset());
                note(&mut findings.not_found, file, offset, instead);
            }
        }
        if !wanted.verify_only {
            println!("timestamp: {timestamp} offset: {offset}");
        }
        previous = timestamp;
    }
    Ok(())
}
