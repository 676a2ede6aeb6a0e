//! What is due with time: parked requests that ran out of it, replicas that lag, checkpoints, flushes, retention, files
//! of deleted partitions; and the clean end. Nothing here is done on behalf of a request.

use std::collections::BTreeMap;
use std::path::Path;

use common::id::TopicPartition;
use common::mutants;

use super::storage::{self, Checkpoint};
use super::waiting::Parked;
use super::*;

/// Work that comes again and again and blocks on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chore {
    /// Writes the high watermarks down.
    HighWatermarks,
    /// Makes full segments durable and writes down up to where logs are.
    RecoveryPoints,
    /// Writes the log start offsets down.
    StartOffsets,
    /// Makes durable what waits for `flush.ms`.
    Flush,
    /// Deletes segments by age and size.
    Retention,
    /// Forgets producers that were idle for long.
    Producers,
    /// Compacts what is dirty enough; as many at a time as `log.cleaner.threads` says, told apart by number.
    Compaction(u32),
    /// Removes files of deleted partitions.
    Removal,
    /// Copies replicas that move to another log directory.
    Moves,
}

impl Chore {
    const REGULAR: [Chore; 6] = [
        Chore::HighWatermarks,
        Chore::RecoveryPoints,
        Chore::StartOffsets,
        Chore::Flush,
        Chore::Retention,
        Chore::Producers,
    ];

    /// Milliseconds between two times; `None` for what is done when there is something to do, or says itself when.
    fn every_ms(self, settings: &Settings) -> Option<u64> {
        Some(match self {
            Chore::HighWatermarks => settings.high_watermark_checkpoint_ms,
            Chore::RecoveryPoints => settings.recovery_point_checkpoint_ms,
            Chore::StartOffsets => settings.start_offset_checkpoint_ms,
            Chore::Flush => settings.flush_check_ms,
            Chore::Retention => settings.retention_check_ms,
            Chore::Producers => settings.producer_expiration_check_ms,
            Chore::Compaction(_) | Chore::Removal | Chore::Moves => return None,
        })
    }
}

/// When what is due next. A chore that is under way has no time: it gets one when it is done.
#[derive(Clone, Debug)]
pub(super) struct Chores {
    shrink: Millis,
    due: BTreeMap<Chore, Millis>,
}

impl Chores {
    pub(super) fn new(settings: &Settings, start: Millis) -> Chores {
        let first = |chore: Chore| {
            let every_ms = chore.every_ms(settings)?;
            let wait_ms = if chore == Chore::Retention { settings.initial_delay_ms } else { every_ms };
            Some((chore, start + wait_ms))
        };
        let mut due: BTreeMap<Chore, Millis> = Chore::REGULAR.into_iter().filter_map(first).collect();
        if settings.compacts {
            let at = start + settings.cleaner.backoff_ms;
            due.extend((0..settings.cleaner.threads).map(|number| (Chore::Compaction(number), at)));
        }
        Chores { shrink: start + settings.lag_time_max_ms / 2, due }
    }

    /// Has a chore done soon that is not regular.
    pub(super) fn wake(&mut self, chore: Chore, at: Millis) {
        self.due.insert(chore, at);
    }

    fn next(&self) -> Millis {
        self.due.values().copied().fold(self.shrink, Millis::min)
    }

    fn take_due(&mut self, now: Millis) -> Vec<Chore> {
        self.due.extract_if(.., |_, at| *at <= now).map(|(chore, _)| chore).collect()
    }
}

impl Partition {
    /// Ages and sizes out old segments.
    fn retain(&self, now: Now, woken: &mut Woken) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.is_offline || state.is_gone {
            return;
        }
        let (high_watermark, start) = (state.high_watermark, state.log.log_start_offset());
        if let Err(error) = state.log.delete_old_segments(now, high_watermark) {
            self.note_failure(state, &error, woken);
        }
        if state.log.log_start_offset() != start {
            self.rouse(state, Event::Other, woken);
        }
    }

    /// Makes records durable without holding the lock while the disk works: all of them if `flush.ms` says so, otherwise
    /// those of segments that are full.
    fn flush(&self, now: Now, woken: &mut Woken) {
        let (work, number) = {
            let mut state = self.state.lock();
            if state.is_offline || state.is_gone {
                return;
            }
            let only_rolled = !state.log.is_flush_due(now);
            (state.log.start_flush(only_rolled), state.log_number)
        };
        let done = work.and_then(|work| {
            if let Some(work) = &work {
                work.run()?;
                let mut state = self.state.lock();
                if state.log_number == number {
                    state.log.finish_flush(work);
                }
            }
            Ok(())
        });
        if let Err(error) = done {
            let state = self.state.lock();
            // Deleted or moved meanwhile: its directory has another name.
            if !state.is_gone && state.log_number == number {
                self.note_failure(&state, &error, woken);
            }
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
            Checkpoint::Compacted => state.first_dirty_offset?,
            // A start that is the first segment's own needs no entry.
            Checkpoint::StartOffsets => state.log.checkpointed_start()?,
        };
        Some((state.log_dir.clone(), offset))
    }

    /// Makes all records durable, holding the lock.
    fn flush_all(&self) -> Result<(), LogError> {
        let mut state = self.state.lock();
        if state.is_offline || state.is_gone { Ok(()) } else { state.log.flush() }
    }

    /// Closes the log after everything in it is durable. False if the next start must check it nevertheless: records are
    /// missing after a crash, and no leader was followed since.
    fn close(&self) -> Result<bool, LogError> {
        let mut state = self.state.lock();
        if !state.is_offline && !state.is_gone {
            state.log.close()?;
            if let Some(future) = &mut state.future {
                future.log.close()?;
            }
            state.is_gone = true;
        }
        Ok(state.log.suspected_gap().is_none() || mutants::is_on("hole-forgotten-at-stop"))
    }
}

impl Replicas {
    /// Does what is due. To be called at [`Replicas::next_deadline`] and whenever [`Effect::WakeAt`] says so.
    pub fn tick(&self, now: Now, effects: &mut Vec<Effect>) {
        self.expire(now, effects);
        let mut woken = Woken::default();
        let due = {
            let mut chores = self.chores.lock();
            if chores.shrink <= now.mono {
                chores.shrink = now.mono + self.shared.settings.lag_time_max_ms / 2;
                self.all().iter().for_each(|partition| partition.shrink_isr(now, &mut woken));
            }
            if self.dirs.lock().next_removal().is_some_and(|at| at <= now.mono) {
                chores.due.entry(Chore::Removal).or_insert(now.mono);
            }
            chores.take_due(now.mono)
        };
        effects.extend(due.into_iter().map(Effect::Chore));
        self.settle(woken, now, effects);
        self.isr_queue.lock().send(now.mono, effects);
        self.send_all(now, effects);
    }

    /// Does a chore that [`Effect::Chore`] asked for. Blocks on the disk, with no lock held for long. `rest` blocks for
    /// that many milliseconds, where a chore is to be slow.
    pub fn do_chore(&self, chore: Chore, now: Now, effects: &mut Vec<Effect>, rest: &dyn Fn(u64)) {
        let mut woken = Woken::default();
        let is_open = !self.control.lock().is_closed;
        let mut go_on = None;
        if is_open {
            match chore {
                Chore::HighWatermarks => {
                    for dir in self.dirs.lock().removed(self.shared.disk.as_ref()) {
                        tracing::error!(
                            dir = %dir.display(),
                            "the log directory was removed or emptied while the broker runs: its partitions are offline"
                        );
                        woken.failed_dirs.insert(dir);
                    }
                    self.checkpoint(Checkpoint::HighWatermarks, &mut woken);
                }
                Chore::RecoveryPoints => {
                    self.all().iter().for_each(|partition| partition.flush(now, &mut woken));
                    self.checkpoint(Checkpoint::RecoveryPoints, &mut woken);
                }
                Chore::StartOffsets => self.checkpoint(Checkpoint::StartOffsets, &mut woken),
                Chore::Flush => self.all().iter().for_each(|partition| partition.flush(now, &mut woken)),
                // Without its settings a topic that is kept for ever would lose records to the default.
                Chore::Retention if self.configs.read().is_none() => {}
                Chore::Retention => self.all().iter().for_each(|partition| partition.retain(now, &mut woken)),
                Chore::Producers => self.all().iter().for_each(|partition| partition.forget_idle_producers(now)),
                Chore::Compaction(number) => {
                    self.compact(now, rest, &mut woken);
                    go_on = self.cleaning.lock().backoff_ms(number).map(|ms| now.mono + ms);
                }
                Chore::Removal => {
                    let due = self.dirs.lock().take_removable(now.mono);
                    due.iter().for_each(|dir| storage::remove_deleted(self.shared.disk.as_ref(), dir));
                }
                Chore::Moves => go_on = self.move_on(now, &mut woken, effects),
            }
        }
        let regular = chore.every_ms(&self.shared.settings).map(|ms| now.mono + ms);
        if let Some(at) = regular.or(go_on) {
            self.chores.lock().wake(chore, at);
            effects.push(Effect::WakeAt(at));
        }
        self.settle(woken, now, effects);
    }

    /// When [`Replicas::tick`] has something to do.
    pub fn next_deadline(&self) -> Millis {
        let fetchers: Vec<_> = self.fetchers.lock().values().cloned().collect();
        let mut next = self.chores.lock().next();
        let others =
            [self.deadlines.next_deadline(), self.isr_queue.lock().next_deadline(), self.dirs.lock().next_removal()];
        for at in others.into_iter().chain(fetchers.iter().map(|fetcher| fetcher.lock().next_deadline())).flatten() {
            next = next.min(at);
        }
        next
    }

    fn expire(&self, now: Now, effects: &mut Vec<Effect>) {
        while let Some(parked) = self.deadlines.pop_expired(now.mono) {
            match parked {
                Parked::Fetch(parked) => self.answer_fetch(&parked, now, effects),
                Parked::Follower(parked) => self.answer_follower(&parked, now, effects),
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

    /// Not any more once the logs are being closed: a closed log has nothing to say, and a file without it would have the
    /// next start read everything anew.
    pub(super) fn checkpoint(&self, which: Checkpoint, woken: &mut Woken) {
        let _alone = self.checkpointing.lock();
        if !self.control.lock().is_closed {
            self.write_checkpoint(which, woken);
        }
    }

    fn write_checkpoint(&self, which: Checkpoint, woken: &mut Woken) {
        let mut dirs: BTreeMap<PathBuf, BTreeMap<TopicPartition, i64>> =
            self.dirs.lock().usable().map(|dir| (dir.clone(), BTreeMap::new())).collect();
        for partition in self.all() {
            if let Some((dir, offset)) = partition.checkpointed(which)
                && let Some(offsets) = dirs.get_mut(&dir)
            {
                offsets.insert(TopicPartition::new(&**partition.topic(), partition.index()), offset);
            }
        }
        dirs.retain(|dir, _| !woken.failed_dirs.contains(dir));
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
        let _alone = self.checkpointing.lock();
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
            self.write_checkpoint(which, &mut woken);
        }
        for partition in &partitions {
            let is_clean = partition.close().unwrap_or_else(|error| {
                tracing::error!(topic = &**partition.topic(), partition = partition.index(), %error, "not closed");
                false
            });
            if !is_clean {
                unclean.insert(partition.view().log_dir);
            }
        }
        unclean.extend(woken.failed_dirs);
        let dirs = self.dirs.lock();
        let mark = dirs.clean_mark(self.broker_epoch());
        for dir in dirs.usable().filter(|dir: &&PathBuf| !unclean.contains::<Path>(dir)) {
            if let Err(error) = storage::mark_clean(self.shared.disk.as_ref(), dir, mark) {
                tracing::warn!(dir = %dir.display(), %error, "the next start will check all logs");
            }
        }
    }
}
