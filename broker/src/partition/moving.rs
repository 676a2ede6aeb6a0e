//! Moving a replica from one log directory of this broker to another (KIP-113): a second log, the future one, is filled from
//! the current one while that serves on, and takes its place as soon as it has all of it. Never talks to another broker.

use super::storage::{self, Checkpoint};
use super::*;
use crate::log::ReadError as LogReadError;
use std::path::Path;
use std::sync::atomic::Ordering;

/// Read and written under the partition's lock at once: little enough that clients do not notice.
const STEP_BYTES: u32 = 1 << 20;
/// Between two rounds of a move that is throttled.
const THROTTLED_PAUSE_MS: u64 = 100;
/// After so many bytes other work of the thread has its turn.
const ROUND_BYTES: u64 = 64 << 20;
/// In the directory of a future log that has everything and is about to take the current one's place.
pub(super) const COMPLETE_FILE: &str = ".complete";

/// The second log of a partition that moves to another log directory.
pub(super) struct FutureLog {
    pub(super) log: Log,
    /// The log directory that it will be in.
    pub(super) log_dir: PathBuf,
}

/// A future log, for DescribeLogDirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FutureView {
    /// The log directory.
    pub log_dir: PathBuf,
    /// Bytes in all segments.
    pub size_bytes: u64,
    /// Offsets that the current log has more.
    pub offset_lag: i64,
}

/// Why a replica does not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MoveError {
    /// `log.dirs` has no such directory.
    #[error("no such log directory")]
    UnknownDir,
    /// The log directory failed, or that of the replica.
    #[error("log directory failed")]
    Storage,
    /// The replica is not here; if it comes, it will be made in the directory that was named.
    #[error("no such replica here")]
    NotHeld,
}

/// What a step came to.
enum Step {
    /// Nothing moves.
    Idle,
    /// So many bytes were copied, and there is more.
    Copied(u64),
    /// The future log is the current one now; what the old one is called, and the directory it was in.
    Moved { from: PathBuf, deleted: PathBuf },
}

impl Partition {
    /// How the move stands, if there is one.
    pub fn future_view(&self) -> Option<FutureView> {
        let state = self.state.lock();
        let future = state.future.as_ref().filter(|_| !state.is_offline)?;
        Some(FutureView {
            log_dir: future.log_dir.clone(),
            size_bytes: future.log.size_bytes(),
            offset_lag: (state.log.log_end_offset() - future.log.log_end_offset()).max(0),
        })
    }

    /// Begins to move, unless it is there already or on its way; a move to elsewhere is given up.
    fn begin_move(&self, log_dir: &Path, now: Now, rng: &mut common::Rng) -> Result<Vec<(PathBuf, PathBuf)>, LogError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.future.as_ref().is_some_and(|future| future.log_dir == log_dir) {
            return Ok(Vec::new());
        }
        let mut given_up = Vec::new();
        if let Some(mut future) = state.future.take() {
            given_up.push((future.log_dir.clone(), future.log.delete(rng)?));
        }
        if state.log_dir == log_dir {
            return Ok(given_up);
        }
        let name = storage::future_dir_name(&self.topic, self.index, rng);
        let start =
            crate::log::OpenState { clean_shutdown: false, recovery_point: 0, log_start_offset: 0, compacted_to: 0 };
        let config = state.log.config().clone();
        let log = Log::open(self.shared.disk.clone(), log_dir.join(name), config, start, now)?;
        state.future = Some(FutureLog { log, log_dir: log_dir.to_owned() });
        Ok(given_up)
    }

    /// Copies a little. With all there is the future log takes the current one's place.
    fn step_move(&self, most: u64, (now, rng): (Now, &mut common::Rng), woken: &mut Woken) -> Step {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.is_offline || state.is_gone {
            return Step::Idle;
        }
        let Some(future) = &mut state.future else { return Step::Idle };
        let log_dir = future.log_dir.clone();
        if future.log.log_end_offset() != state.log.log_end_offset() {
            return match copy(&state.log, &mut future.log, most, now) {
                Ok(bytes) => Step::Copied(bytes),
                Err(CopyError::From(error)) => {
                    self.note_failure(state, &error, woken);
                    Step::Idle
                }
                Err(CopyError::To(error)) => {
                    tracing::error!(topic = &*self.topic, partition = self.index, %error, "log directory failed");
                    woken.failed_dirs.insert(log_dir);
                    Step::Idle
                }
                Err(CopyError::Refused(problem)) => {
                    tracing::error!(topic = &*self.topic, partition = self.index, problem, "cannot be moved; given up");
                    state.future = None;
                    Step::Idle
                }
            };
        }
        let from = state.log_dir.clone();
        match self.take_place(state, rng) {
            Ok(deleted) => {
                tracing::info!(topic = &*self.topic, partition = self.index, from = %from.display(), to = %log_dir.display(), "moved to another log directory");
                Step::Moved { from, deleted }
            }
            Err(error) => {
                // One of the two failed; what stands in the other decides at the next start.
                self.note_failure(state, &error, woken);
                Step::Idle
            }
        }
    }

    /// The mark is there before the old log goes, so that a start in between finds which of the two is whole.
    fn take_place(&self, state: &mut State, rng: &mut common::Rng) -> Result<PathBuf, LogError> {
        let Some(mut future) = state.future.take() else { unreachable!("only called with one") };
        let disk = self.shared.disk.as_ref();
        if let Some(id) = state.topic_id
            && future.log.topic_id()?.is_none()
        {
            future.log.set_topic_id(id)?;
        }
        future.log.set_log_start_offset(state.log.log_start_offset())?;
        future.log.on_high_watermark(state.high_watermark);
        // What a leader that wrote nothing assigned has no record.
        for entry in state.log.epochs().entries() {
            if entry.start_offset >= future.log.log_end_offset() {
                future.log.assign_epoch_start_offset(entry.epoch, entry.start_offset);
            }
        }
        future.log.flush()?;
        let mark = future.log.dir().join(COMPLETE_FILE);
        disk.write_atomic(&mark, b"").map_err(LogError::io("write", &mark))?;
        let deleted = state.log.delete(rng)?;
        let name = storage::dir_name(&self.topic, self.index).expect("it has a log of this name");
        future.log.rename_dir(future.log_dir.join(name))?;
        let mark = future.log.dir().join(COMPLETE_FILE);
        disk.remove_file(&mark).map_err(LogError::io("remove", &mark))?;
        state.log = future.log;
        state.log_dir = future.log_dir;
        state.log_number += 1;
        Ok(deleted)
    }
}

/// Cuts from a future log what the current one has not: after a loss of power the two need not be alike. Their batches are
/// the same for as long as they are of the same epochs.
pub(super) fn align(current: &Log, future: &mut Log) -> Result<(), LogError> {
    let starts = current.log_start_offset()..current.log_end_offset();
    if future.log_start_offset() > starts.start {
        return future.truncate_fully_and_start_at(starts.start);
    }
    let to = alike_to(current, future);
    if to < future.log_end_offset() { future.truncate_to(to).map(drop) } else { Ok(()) }
}

/// The offset to which two logs are of the same epochs, at most where one of them ends.
fn alike_to(one: &Log, other: &Log) -> i64 {
    let end = one.log_end_offset().min(other.log_end_offset());
    let start = one.log_start_offset().max(other.log_start_offset());
    let entries = one.epochs().entries().iter().chain(other.epochs().entries());
    // Between two of these both stay as they are.
    let changes = entries.map(|entry| entry.start_offset.max(start)).chain([start]).filter(|offset| *offset < end);
    let differ = |offset: &i64| one.epochs().epoch_for_offset(*offset) != other.epochs().epoch_for_offset(*offset);
    changes.filter(differ).min().unwrap_or(end)
}

enum CopyError {
    From(LogError),
    To(LogError),
    Refused(String),
}

/// Copies the next batches, at least one; how many bytes.
fn copy(from: &Log, to: &mut Log, most: u64, now: Now) -> Result<u64, CopyError> {
    if to.log_end_offset() > from.log_end_offset() {
        align(from, to).map_err(CopyError::To)?;
        return Ok(0);
    }
    let begin = to.log_end_offset().max(from.log_start_offset());
    let most = u32::try_from(most).unwrap_or(u32::MAX).min(STEP_BYTES);
    let read = match from.read(begin, most, from.log_end_offset(), true) {
        Ok(read) => read,
        Err(LogReadError::Log(error)) => return Err(CopyError::From(error)),
        Err(error) => return Err(CopyError::Refused(error.to_string())),
    };
    let Some(slice) = read.records else { return Err(CopyError::Refused("nothing to read before the end".into())) };
    let bytes = slice.read().map_err(LogError::io("read", from.dir())).map_err(CopyError::From)?;
    let mut appended = to.append_as_follower(&bytes, now);
    if let Err(AppendError::UnexpectedOffset { first_offset, .. }) = appended {
        // Our log begins later by now, or inside a batch.
        to.truncate_fully_and_start_at(first_offset).map_err(CopyError::To)?;
        appended = to.append_as_follower(&bytes, now);
    }
    match appended {
        Ok(_) => Ok(bytes.len() as u64),
        Err(AppendError::Log(error)) => Err(CopyError::To(error)),
        Err(error) => Err(CopyError::Refused(error.to_string())),
    }
}

impl Replicas {
    /// AlterReplicaLogDirs: has a replica move to another of this broker's log directories. A replica that is not here
    /// will be made there if it comes.
    pub fn move_to_dir(
        &self,
        (topic, partition): (&str, i32),
        dir: &Path,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), MoveError> {
        let is_failed =
            self.dirs.lock().all().into_iter().find(|(path, _)| path == dir).map(|(_, is_failed)| is_failed);
        match is_failed {
            None => return Err(MoveError::UnknownDir),
            Some(true) => return Err(MoveError::Storage),
            Some(false) => {}
        }
        let Some(held) = self.get(topic, partition) else {
            self.dirs.lock().prefer((topic, partition), dir);
            return Err(MoveError::NotHeld);
        };
        if held.view().is_offline {
            return Err(MoveError::Storage);
        }
        let mut rng = self.control.lock().rng.fork();
        let given_up = held.begin_move(dir, now, &mut rng).map_err(|error| {
            tracing::error!(topic, partition, %error, "cannot begin to move to another log directory");
            MoveError::Storage
        })?;
        let at = now.mono + self.shared.settings.delete_delay_ms;
        let mut dirs = self.dirs.lock();
        for (from, deleted) in given_up {
            dirs.release(&from, Some((at, deleted)));
        }
        if let Some(future) = held.future_view() {
            dirs.take_place_in(&future.log_dir);
            tracing::info!(topic, partition, to = %future.log_dir.display(), "moving to another log directory");
            self.chores.lock().wake(Chore::Moves, now.mono);
            effects.push(Effect::WakeAt(now.mono));
        }
        Ok(())
    }

    /// `replica.alter.log.dirs.io.max.bytes.per.second`; `None` for as fast as it goes.
    pub fn set_move_rate(&self, bytes_per_second: Option<u64>) {
        self.move_rate.store(bytes_per_second.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Copies for a while. Gives when to go on; `None` if nothing moves any more.
    pub(super) fn move_on(&self, now: Now, woken: &mut Woken, effects: &mut Vec<Effect>) -> Option<Millis> {
        let rate = self.move_rate.load(Ordering::Relaxed);
        let most = if rate == u64::MAX { ROUND_BYTES } else { (rate.saturating_mul(THROTTLED_PAUSE_MS) / 1000).max(1) };
        let mut rng = self.control.lock().rng.fork();
        let (mut copied, mut is_left) = (0, false);
        let mut has_moved = false;
        for partition in self.all() {
            loop {
                if copied >= most {
                    is_left |= partition.future_view().is_some();
                    break;
                }
                match partition.step_move(most - copied, (now, &mut rng), woken) {
                    Step::Idle => break,
                    Step::Copied(bytes) => copied += bytes,
                    Step::Moved { from, deleted } => {
                        let at = now.mono + self.shared.settings.delete_delay_ms;
                        self.dirs.lock().release(&from, Some((at, deleted)));
                        effects.push(Effect::WakeAt(at));
                        has_moved = true;
                        break;
                    }
                }
            }
        }
        if has_moved {
            // Where the log is now, nothing is known of it yet.
            for which in [Checkpoint::RecoveryPoints, Checkpoint::HighWatermarks, Checkpoint::StartOffsets] {
                self.checkpoint(which, woken);
            }
        }
        // A step copies at least one batch: a small rate has it wait for as long as that takes.
        let pause = if rate == u64::MAX { 1 } else { (copied.saturating_mul(1000) / rate.max(1)).max(1) };
        is_left.then(|| now.mono + pause)
    }
}
