//! What may go at the beginning of the log: by age, by size, by the log start offset. Also the delayed removal of
//! renamed files. Decides nothing about compaction.

use super::segment::{Segment, remove_if_there};
use super::{LocalRetention, Log, LogError};
use common::time::{Millis, Now};
use std::path::{Path, PathBuf};

/// A file renamed to `.deleted`.
#[derive(Debug)]
pub(super) struct Doomed {
    path: PathBuf,
    /// Not removed before this.
    due: Millis,
}

/// Why a segment goes.
#[derive(Clone, Copy, Debug)]
enum Reason {
    LogStart,
    Size,
    Age,
}

impl Log {
    /// Moves the log start forward (DeleteRecords, or what the leader tells); never back. The segments before it go
    /// with the next [`Log::delete_old_segments`]. The caller sees to it that it stays below the high watermark. True
    /// if it moved.
    pub fn set_log_start_offset(&mut self, offset: i64) -> Result<bool, LogError> {
        if offset <= self.log_start_offset {
            return Ok(false);
        }
        self.log_start_offset = offset.min(self.log_end_offset);
        if self.config.remote.is_some() {
            self.epochs.forget_from_start(self.log_start_offset);
        } else {
            self.epochs.truncate_from_start(self.log_start_offset)?;
        }
        self.producers.on_log_start(self.log_start_offset);
        Ok(true)
    }

    /// Drops the oldest segments that lie before the log start, and with `cleanup.policy=delete` those above
    /// `retention.bytes` or older than `retention.ms`; never one that reaches the high watermark. If all may go, an
    /// empty segment takes their place. If the topic has a remote store, what is not in it stays, and the
    /// log start does. Also removes files whose deletion delay is over. Returns the number of
    /// segments dropped.
    pub fn delete_old_segments(&mut self, now: Now, high_watermark: i64) -> Result<u32, LogError> {
        self.now = now;
        self.remove_doomed(Some(now.mono));
        let mut dropped = self.delete_while(Reason::LogStart, high_watermark)?;
        if self.config.cleanup_delete {
            dropped += self.delete_while(Reason::Size, high_watermark)?;
            dropped += self.delete_while(Reason::Age, high_watermark)?;
        }
        Ok(dropped)
    }

    fn delete_while(&mut self, reason: Reason, high_watermark: i64) -> Result<u32, LogError> {
        let LocalRetention { ms: retention_ms, bytes: retention_bytes } = self.config.local_retention();
        let is_copied = self.config.remote.is_some();
        let mut must_roll = false;
        let mut surplus_bytes = self.size_bytes() as i64 - retention_bytes;
        match reason {
            Reason::Size if retention_bytes < 0 || surplus_bytes < 0 => return Ok(0),
            Reason::Age if retention_ms < 0 => return Ok(0),
            _ => {}
        }
        let mut deletable = Vec::new();
        let mut segments = self.segments.values().peekable();
        while let Some(segment) = segments.next() {
            let next = segments.peek();
            let end_offset = next.map_or(self.log_end_offset, |next| next.base_offset);
            if high_watermark < end_offset || (next.is_none() && segment.size() == 0) {
                break;
            }
            let goes = match reason {
                Reason::LogStart => next.is_some_and(|next| next.base_offset <= self.log_start_offset),
                Reason::Size => {
                    surplus_bytes -= i64::from(segment.size());
                    surplus_bytes >= 0
                }
                Reason::Age => {
                    let age_ms = self.now.wall.0.saturating_sub(segment.largest_timestamp(self.disk.as_ref())?);
                    age_ms > retention_ms
                }
            };
            // What is to go must be copied first, and what is written to is not.
            must_roll |= goes && is_copied && next.is_none();
            let may_go = !is_copied
                || (end_offset > 0 && end_offset - 1 <= self.highest_copied)
                || next.is_some_and(|next| next.base_offset <= self.log_start_offset);
            if !goes || !may_go {
                break;
            }
            deletable.push(segment.base_offset);
        }
        if must_roll {
            self.roll(self.log_end_offset, self.now)?;
        }
        self.delete_segments(&deletable, reason)
    }

    fn delete_segments(&mut self, deletable: &[i64], reason: Reason) -> Result<u32, LogError> {
        if deletable.is_empty() {
            return Ok(0);
        }
        if deletable.len() == self.segments.len() {
            self.roll(self.log_end_offset, self.now)?;
        }
        let first_kept = self.segments.keys().find(|base| !deletable.contains(base)).copied();
        let first_kept = first_kept.expect("the active segment stays");
        if self.config.remote.is_none() {
            self.set_log_start_offset(first_kept)?;
        } else {
            // What goes here tells its epochs no more.
            self.epochs.sync()?;
            self.epochs.set_more_elsewhere(true);
        }
        let due = self.now.mono + self.config.file_delete_delay_ms;
        for base in deletable {
            let segment = self.segments.remove(base).expect("it was just seen");
            tracing::info!(path = %segment.path().display(), ?reason, bytes = segment.size(), "deleting segment");
            self.doom(&segment, Some(due))?;
        }
        Ok(u32::try_from(deletable.len()).unwrap_or(u32::MAX))
    }

    /// Renames a segment's files and remembers to remove them, at once with the next occasion if `due` is `None`. Its
    /// producer snapshot goes, too.
    pub(super) fn doom(&mut self, segment: &Segment, due: Option<Millis>) -> Result<(), LogError> {
        self.doom_files(segment, due)?;
        self.producers.remove_snapshot(segment.base_offset)
    }

    /// As [`Log::doom`], but the producer snapshot stays.
    pub(super) fn doom_files(&mut self, segment: &Segment, due: Option<Millis>) -> Result<(), LogError> {
        let paths = segment.rename_to_deleted(self.disk.as_ref())?;
        let due = due.unwrap_or_default();
        self.doomed.extend(paths.into_iter().map(|path| Doomed { path, due }));
        Ok(())
    }

    /// Removes renamed files whose time has come, or all. A failure is no harm: the next opening removes them.
    pub(super) fn remove_doomed(&mut self, now: Option<Millis>) {
        let disk = self.disk.as_ref();
        self.doomed.retain(|doomed| {
            if now.is_some_and(|now| now < doomed.due) {
                return true;
            }
            if let Err(error) = remove_if_there(disk, &doomed.path) {
                tracing::warn!(%error, "deleted file not removed");
            }
            false
        });
    }

    pub(super) fn move_doomed(&mut self, dir: &Path) {
        for doomed in &mut self.doomed {
            if let Some(name) = doomed.path.file_name() {
                doomed.path = dir.join(name);
            }
        }
    }
}
