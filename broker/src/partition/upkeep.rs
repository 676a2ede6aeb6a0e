//! What is due with time: parked requests that ran out of it, replicas that lag, checkpoints, flushes, retention, files
//! of deleted partitions; and the clean end. Nothing here is done on behalf of a request.

use std::collections::BTreeMap;
use std::path::Path;

use common::id::TopicPartition;

use super::storage::{self, Checkpoint};
use super::waiting::Parked;
use super::*;

/// When the regular chores are due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chores {
    shrink: Millis,
    high_watermarks: Millis,
    recovery_points: Millis,
    start_offsets: Millis,
    flush: Millis,
    retention: Millis,
    producers: Millis,
}

impl Chores {
    pub(super) fn new(settings: &Settings, start: Millis) -> Chores {
        Chores {
            shrink: start + settings.lag_time_max_ms / 2,
            high_watermarks: start + settings.high_watermark_checkpoint_ms,
            recovery_points: start + settings.recovery_point_checkpoint_ms,
            start_offsets: start + settings.start_offset_checkpoint_ms,
            flush: start + settings.flush_check_ms,
            retention: start + settings.initial_delay_ms,
            producers: start + settings.producer_expiration_check_ms,
        }
    }

    fn next(&self) -> Millis {
        let Chores { shrink, high_watermarks, recovery_points, start_offsets, flush, retention, producers } = *self;
        let first = shrink.min(high_watermarks).min(recovery_points).min(start_offsets);
        first.min(flush).min(retention).min(producers)
    }
}

/// True, and the next time is set, if a chore is due.
fn is_due(at: &mut Millis, every_ms: u64, now: Millis) -> bool {
    let is_due = *at <= now;
    if is_due {
        *at = now + every_ms;
    }
    is_due
}

impl Partition {
    /// Ages and sizes out old segments.
    fn retain(&self, now: Now, woken: &mut Woken) {
        let mut state = self.state.lock();
        if state.is_offline || state.is_gone {
            return;
        }
        let high_watermark = state.high_watermark;
        if let Err(error) = state.log.delete_old_segments(now, high_watermark) {
            self.note_failure(&state, &error, woken);
        }
    }

    /// Makes records durable without holding the lock while the disk works: all of them if `flush.ms` says so, otherwise
    /// those of segments that are full.
    fn flush(&self, now: Now, woken: &mut Woken) {
        let work = {
            let mut state = self.state.lock();
            if state.is_offline || state.is_gone {
                return;
            }
            let only_rolled = !state.log.is_flush_due(now);
            state.log.start_flush(only_rolled)
        };
        let done = work.and_then(|work| {
            if let Some(work) = &work {
                work.run()?;
                self.state.lock().log.finish_flush(work);
            }
            Ok(())
        });
        if let Err(error) = done {
            self.note_failure(&self.state.lock(), &error, woken);
        }
    }

    fn forget_idle_producers(&self, now: Now) {
        self.state.lock().log.remove_expired_producers(now);
    }

    /// What belongs into a checkpoint; `None` if there is nothing to say.
    fn checkpointed(&self, which: Checkpoint) -> Option<(PathBuf, i64)> {
        let state = self.state.lock();
        if state.is_offline || state.is_gone {
            return None;
        }
        let offset = match which {
            Checkpoint::HighWatermarks => state.high_watermark,
            Checkpoint::RecoveryPoints => state.log.recovery_point(),
            // A start that is the first segment's own needs no entry.
            Checkpoint::StartOffsets => {
                let start = state.log.log_start_offset();
                (start > state.log.first_base_offset()).then_some(start)?
            }
        };
        Some((state.log_dir.clone(), offset))
    }

    /// Makes all records durable, holding the lock.
    fn flush_all(&self) -> Result<(), LogError> {
        let mut state = self.state.lock();
        if state.is_offline || state.is_gone { Ok(()) } else { state.log.flush() }
    }

    /// Closes the log after everything in it is durable.
    fn close(&self) -> Result<PathBuf, LogError> {
        let mut state = self.state.lock();
        let log_dir = state.log_dir.clone();
        if !state.is_offline && !state.is_gone {
            state.log.close()?;
            state.is_gone = true;
        }
        Ok(log_dir)
    }
}

impl Replicas {
    /// Does what is due. To be called at [`Replicas::next_deadline`] and whenever [`Effect::WakeAt`] says so.
    pub fn tick(&self, now: Now, effects: &mut Vec<Effect>) {
        self.expire(now, effects);
        let mut woken = Woken::default();
        let settings = &self.shared.settings;
        let mut due = { *self.chores.lock() };
        if is_due(&mut due.shrink, settings.lag_time_max_ms / 2, now.mono) {
            self.all().iter().for_each(|partition| partition.shrink_isr(now, &mut woken));
        }
        if is_due(&mut due.high_watermarks, settings.high_watermark_checkpoint_ms, now.mono) {
            self.checkpoint(Checkpoint::HighWatermarks, &mut woken);
        }
        let is_flush_due = is_due(&mut due.flush, settings.flush_check_ms, now.mono);
        let are_points_due = is_due(&mut due.recovery_points, settings.recovery_point_checkpoint_ms, now.mono);
        if is_flush_due || are_points_due {
            self.all().iter().for_each(|partition| partition.flush(now, &mut woken));
        }
        if are_points_due {
            self.checkpoint(Checkpoint::RecoveryPoints, &mut woken);
        }
        if is_due(&mut due.start_offsets, settings.start_offset_checkpoint_ms, now.mono) {
            self.checkpoint(Checkpoint::StartOffsets, &mut woken);
        }
        // Without its settings a topic that is kept for ever would lose records to the default.
        if is_due(&mut due.retention, settings.retention_check_ms, now.mono) && self.configs.read().is_some() {
            self.all().iter().for_each(|partition| partition.retain(now, &mut woken));
        }
        if is_due(&mut due.producers, settings.producer_expiration_check_ms, now.mono) {
            self.all().iter().for_each(|partition| partition.forget_idle_producers(now));
        }
        *self.chores.lock() = due;
        self.dirs.lock().remove_deleted(self.shared.disk.as_ref(), now.mono);
        self.settle(woken, now, effects);
        self.isr_queue.lock().send(now.mono, effects);
        self.send_all(now, effects);
    }

    /// When [`Replicas::tick`] has something to do.
    pub fn next_deadline(&self) -> Millis {
        let fetchers: Vec<_> = self.fetchers.lock().values().cloned().collect();
        let mut next = self.chores.lock().next();
        let others = [self.deadlines.next_deadline(), self.isr_queue.lock().retry_at, self.dirs.lock().next_removal()];
        for at in others.into_iter().chain(fetchers.iter().map(|fetcher| fetcher.lock().next_deadline())).flatten() {
            next = next.min(at);
        }
        next
    }

    fn expire(&self, now: Now, effects: &mut Vec<Effect>) {
        while let Some(parked) = self.deadlines.pop_expired(now.mono) {
            match parked {
                Parked::Fetch(parked) => self.answer_fetch(&parked, now, effects),
                Parked::Produce(parked, partitions) => {
                    partitions.iter().for_each(|partition| partition.unpark_joined(parked.id()));
                    parked.expire(|outcome| *outcome = Err(ProduceError::TimedOut));
                }
                Parked::Delete(parked, partitions) => {
                    partitions.iter().for_each(|partition| partition.unpark_joined(parked.id()));
                    parked.expire(|outcome| *outcome = Err(DeleteError::TimedOut));
                }
            }
        }
    }

    fn checkpoint(&self, which: Checkpoint, woken: &mut Woken) {
        let mut dirs: BTreeMap<PathBuf, BTreeMap<TopicPartition, i64>> =
            self.dirs.lock().usable().map(|dir| (dir.clone(), BTreeMap::new())).collect();
        for partition in self.all() {
            if let Some((dir, offset)) = partition.checkpointed(which)
                && let Some(offsets) = dirs.get_mut(&dir)
            {
                offsets.insert(TopicPartition::new(&**partition.topic(), partition.index()), offset);
            }
        }
        for (dir, offsets) in dirs {
            if let Err(error) = storage::write_checkpoint(self.shared.disk.as_ref(), &dir, which, &offsets) {
                tracing::error!(dir = %dir.display(), %error, "log directory failed");
                woken.failed_dirs.insert(dir);
            }
        }
    }

    /// Closes all logs and marks their directories as cleanly closed. Nothing may be asked of the partitions afterwards.
    pub fn shutdown(&self) {
        {
            let mut control = self.control.lock();
            if std::mem::replace(&mut control.is_closed, true) {
                return;
            }
        }
        let mut woken = Woken::default();
        // The offsets are read before the logs are closed; flushing raises the recovery points to the ends.
        let partitions = self.all();
        let mut unclean: BTreeSet<PathBuf> = BTreeSet::new();
        for partition in &partitions {
            if let Err(error) = partition.flush_all() {
                tracing::error!(topic = &**partition.topic(), partition = partition.index(), %error, "not flushed");
                unclean.insert(partition.view().log_dir);
            }
        }
        for which in [Checkpoint::HighWatermarks, Checkpoint::RecoveryPoints, Checkpoint::StartOffsets] {
            self.checkpoint(which, &mut woken);
        }
        for partition in &partitions {
            if let Err(error) = partition.close() {
                tracing::error!(topic = &**partition.topic(), partition = partition.index(), %error, "not closed");
                unclean.insert(partition.view().log_dir);
            }
        }
        unclean.extend(woken.failed_dirs);
        for dir in self.dirs.lock().usable().filter(|dir: &&PathBuf| !unclean.contains::<Path>(dir)) {
            if let Err(error) = storage::mark_clean(self.shared.disk.as_ref(), dir, self.broker_epoch()) {
                tracing::warn!(dir = %dir.display(), %error, "the next start will check all logs");
            }
        }
    }
}
