//! Cutting the log at its end, as followers do to follow a new leader, and starting it anew. Decides no offsets.

use super::segment::Segment;
use super::{Log, LogError, recovery};
use std::sync::Arc;

impl Log {
    /// Removes all records from `offset` on (and the rest of the batch that holds it). False if there were none; leader
    /// epochs without a record go even then.
    pub fn truncate_to(&mut self, offset: i64) -> Result<bool, LogError> {
        let offset = offset.max(0);
        if offset >= self.log_end_offset {
            self.epochs.truncate_from_end(self.log_end_offset)?;
            return Ok(false);
        }
        let first = *self.segments.keys().next().expect("a log has at least one segment");
        if offset < first {
            if self.config.remote.is_some() && offset >= self.log_start_offset {
                self.truncate_to_what_is_remote(offset)?;
            } else {
                self.truncate_fully_and_start_at(offset)?;
            }
            return Ok(true);
        }
        tracing::info!(dir = %self.dir.display(), offset, log_end_offset = self.log_end_offset, "truncating");
        self.truncations += 1;
        // From the end on, so that a crash on the way leaves no gap.
        while let Some(last) = self.segments.last_entry()
            && *last.key() > offset
        {
            let segment = last.remove();
            self.doom(&segment, None)?;
        }
        let disk = Arc::clone(&self.disk);
        let now = self.now;
        self.active_mut().truncate_to(disk.as_ref(), offset, now)?;
        self.set_end(offset);
        self.epochs.truncate_from_end(offset)?;
        self.log_start_offset = self.log_start_offset.min(offset);
        recovery::rebuild_producers(
            disk.as_ref(),
            &self.segments,
            &mut self.producers,
            self.log_start_offset..offset,
            now.wall,
        )?;
        Ok(true)
    }

    /// All that is here goes, and what is before `offset` in the remote store still is this log's. Of the producers nothing
    /// is known then, as in Kafka.
    fn truncate_to_what_is_remote(&mut self, offset: i64) -> Result<(), LogError> {
        self.epochs.sync()?;
        self.epochs.set_more_elsewhere(true);
        self.drop_segments(offset)?;
        self.epochs.truncate_from_end(offset)?;
        self.producers.restart_at(offset)
    }

    /// Removes everything; the next record will have `offset`. Done when the leader's log begins behind our end.
    pub fn truncate_fully_and_start_at(&mut self, offset: i64) -> Result<(), LogError> {
        self.drop_segments(offset)?;
        self.epochs.clear()?;
        self.producers.restart_at(offset)?;
        self.log_start_offset = offset;
        Ok(())
    }

    /// Removes all segments; leader epochs and producers stay as they are, and so does the log start.
    pub(super) fn drop_segments(&mut self, offset: i64) -> Result<(), LogError> {
        tracing::info!(dir = %self.dir.display(), offset, log_end_offset = self.log_end_offset, "starting anew");
        self.truncations += 1;
        while let Some((_, segment)) = self.segments.pop_last() {
            self.doom(&segment, None)?;
        }
        let jitter_ms = self.roll_jitter_ms();
        let segment = Segment::create(self.disk.as_ref(), &self.dir, offset, jitter_ms, self.now)?;
        self.segments.insert(offset, segment);
        self.set_end(offset);
        Ok(())
    }

    fn set_end(&mut self, offset: i64) {
        self.log_end_offset = offset;
        // What is copied of what was cut is another history's.
        self.highest_copied = self.highest_copied.min(offset - 1);
        self.recovery_point = self.recovery_point.min(offset);
        if self.recovery_point == offset {
            self.unflushed_since = None;
        }
    }
}
