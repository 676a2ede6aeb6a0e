//! Moving a replica from one log directory of this broker to another (KIP-113): a second log, the future one, is filled from
//! the current one while that serves on, and takes its place as soon as it has all of it. Never talks to another broker.

use super::storage::{self, Checkpoint};
use super::*;
use crate::log::FlushWork;
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
    /// Bytes that are not known to be durable.
    pub(super) unflushed: u64,
}

/// The syncs of a future log, to be run without holding the partition.
struct FutureFlush {
    work: FlushWork,
    /// The directory of the future log.
    dir: PathBuf,
    end: i64,
    bytes: u64,
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
    /// The copy has everything, and must become durable.
    Flush(FutureFlush),
    /// It cannot be moved; where to, and what the future log is called now.
    GivenUp { to: PathBuf, deleted: Option<PathBuf> },
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

    /// Begins to move, unless it is there already or on its way; true if it does. A move to elsewhere is given up, which
    /// adds to `given_up` where to and what its log is called now.
    fn begin_move(
        &self,
        log_dir: &Path,
        (now, rng): (Now, &mut common::Rng),
        given_up: &mut Vec<(PathBuf, PathBuf)>,
    ) -> Result<bool, LogError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.future.as_ref().is_some_and(|future| future.log_dir == log_dir) {
            return Ok(false);
        }
        if let Some(future) = &mut state.future {
            let deleted = future.log.delete(rng)?;
            given_up.push((future.log_dir.clone(), deleted));
            state.future = None;
        }
        if state.log_dir == log_dir {
            return Ok(false);
        }
        let name = storage::future_dir_name(&self.topic, self.index, rng);
        let start =
            crate::log::OpenState { clean_shutdown: false, recovery_point: 0, log_start_offset: 0, compacted_to: 0 };
        let config = state.log.config().clone();
        let mut log = Log::open(self.shared.disk.clone(), log_dir.join(name), config, start, now)?;
        // Made durable together with the first records.
        if let Some(id) = state.topic_id {
            log.set_topic_id(id)?;
        }
        state.future = Some(FutureLog { log, log_dir: log_dir.to_owned(), unflushed: 0 });
        Ok(true)
    }

    /// Copies a little. With all there and durable the future log takes the current one's place.
    fn step_move(&self, most: u64, (now, rng): (Now, &mut common::Rng), woken: &mut Woken) -> Step {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.is_offline || state.is_gone {
            return Step::Idle;
        }
        let Some(future) = &mut state.future else { return Step::Idle };
        let done = if future.log.log_end_offset() != state.log.log_end_offset() {
            copy(&state.log, &mut future.log, most, now).map(|bytes| {
                future.unflushed += bytes;
                Step::Copied(bytes)
            })
        } else if future.unflushed > u64::from(STEP_BYTES) {
            future.start_flush().map_err(MoveFailure::To)
        } else {
            let (from, to) = (state.log_dir.clone(), future.log_dir.clone());
            self.take_place(state, rng).map(|(deleted, failure)| {
                tracing::info!(topic = &*self.topic, partition = self.index, from = %from.display(), to = %to.display(), "moved to another log directory");
                if let Some(error) = failure {
                    // The next start gives it its name.
                    self.note_failure(state, &error, woken);
                }
                Step::Moved { from, deleted }
            })
        };
        done.unwrap_or_else(|failure| self.end_move(state, failure, rng, woken))
    }

    /// The copy cannot be made. Of the two directories the one that failed is marked: if it is the one to move to, the log
    /// serves on where it is.
    fn end_move(&self, state: &mut State, failure: MoveFailure, rng: &mut common::Rng, woken: &mut Woken) -> Step {
        match failure {
            MoveFailure::From(error) => self.note_failure(state, &error, woken),
            MoveFailure::To(error) => {
                if let Some(future) = state.future.take() {
                    tracing::error!(topic = &*self.topic, partition = self.index, dir = %future.log_dir.display(), %error, "log directory failed");
                    woken.failed_dirs.insert(future.log_dir);
                }
            }
            MoveFailure::Refused(problem) => {
                tracing::error!(topic = &*self.topic, partition = self.index, problem, "cannot be moved; given up");
                let Some(mut future) = state.future.take() else { return Step::Idle };
                let deleted = future.log.delete(rng).inspect_err(|error| {
                    tracing::error!(topic = &*self.topic, partition = self.index, %error, "log directory failed");
                    woken.failed_dirs.insert(future.log_dir.clone());
                });
                return Step::GivenUp { to: future.log_dir, deleted: deleted.ok() };
            }
        }
        Step::Idle
    }

    /// Makes a future log durable while the partition serves.
    fn flush_future(&self, flush: &FutureFlush, woken: &mut Woken) {
        let done = flush.work.run();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        // Another move, or none any more: the files have gone elsewhere.
        let is_same = |future: &&mut FutureLog| future.log.dir() == flush.dir;
        let Some(future) = state.future.as_mut().filter(is_same) else { return };
        match done {
            Ok(()) => {
                future.log.finish_flush(&flush.work);
                if future.log.recovery_point() >= flush.end.min(future.log.log_end_offset()) {
                    future.unflushed = future.unflushed.saturating_sub(flush.bytes);
                }
            }
            Err(error) => {
                tracing::error!(topic = &*self.topic, partition = self.index, %error, "log directory failed");
                woken.failed_dirs.insert(future.log_dir.clone());
                state.future = None;
            }
        }
    }

    /// The mark is there before the old log goes, so that a start in between finds which of the two is whole. Gives what the
    /// old log is called now; with an error if it is gone and the new one has not got its name.
    fn take_place(&self, state: &mut State, rng: &mut common::Rng) -> Result<(PathBuf, Option<LogError>), MoveFailure> {
        let Some(mut future) = state.future.take() else { unreachable!("only called with one") };
        let mark = future.log.dir().join(COMPLETE_FILE);
        if let Err(error) = self.complete(state, &mut future.log) {
            // Or a later start could take it for whole when it no longer is.
            let _ = self.shared.disk.remove_file(&mark);
            state.future = Some(future);
            return Err(MoveFailure::To(error));
        }
        let deleted = match state.log.delete(rng) {
            Ok(deleted) => deleted,
            Err(error) => {
                state.future = Some(future);
                return Err(MoveFailure::From(error));
            }
        };
        let name = storage::dir_name(&self.topic, self.index).expect("it has a log of this name");
        let named = future.log.rename_dir(future.log_dir.join(name)).and_then(|()| {
            let mark = future.log.dir().join(COMPLETE_FILE);
            self.shared.disk.remove_file(&mark).map_err(LogError::io("remove", &mark))
        });
        state.log = future.log;
        state.log_dir = future.log_dir;
        state.log_number += 1;
        Ok((deleted, named.err()))
    }

    /// Gives a future log what the current one has beside records, makes it durable and marks it.
    fn complete(&self, state: &State, future: &mut Log) -> Result<(), LogError> {
        if let Some(id) = state.topic_id
            && future.topic_id()?.is_none()
        {
            future.set_topic_id(id)?;
        }
        future.set_log_start_offset(state.log.log_start_offset())?;
        future.on_high_watermark(state.high_watermark);
        // What a leader that wrote nothing assigned has no record.
        for entry in state.log.epochs().entries() {
            if entry.start_offset >= future.log_end_offset() {
                future.assign_epoch_start_offset(entry.epoch, entry.start_offset);
            }
        }
        future.flush()?;
        let mark = future.dir().join(COMPLETE_FILE);
        self.shared.disk.write_atomic(&mark, b"").map_err(LogError::io("write", &mark))
    }
}

impl FutureLog {
    fn start_flush(&mut self) -> Result<Step, LogError> {
        let (dir, end, bytes) = (self.log.dir().to_owned(), self.log.log_end_offset(), self.unflushed);
        Ok(match self.log.start_flush(false)? {
            Some(work) => Step::Flush(FutureFlush { work, dir, end, bytes }),
            None => {
                self.unflushed = 0;
                Step::Copied(0)
            }
        })
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

/// Why a move does not go on.
enum MoveFailure {
    /// The log directory that it is in failed.
    From(LogError),
    /// The one that it moves to failed.
    To(LogError),
    /// Neither.
    Refused(String),
}

/// Copies the next batches, at least one; how many bytes.
fn copy(from: &Log, to: &mut Log, most: u64, now: Now) -> Result<u64, MoveFailure> {
    if to.log_end_offset() > from.log_end_offset() {
        align(from, to).map_err(MoveFailure::To)?;
        return Ok(0);
    }
    if from.log_start_offset() == from.log_end_offset() {
        // All records were deleted: there is nothing but where the next one goes.
        to.truncate_fully_and_start_at(from.log_end_offset()).map_err(MoveFailure::To)?;
        return Ok(0);
    }
    if let Some(behind) = from.remote_state().map_err(MoveFailure::From)?
        && to.log_end_offset() < behind.next_offset
    {
        to.restart_behind(&behind, now).map_err(MoveFailure::To)?;
        return Ok(0);
    }
    let begin = to.log_end_offset().max(from.log_start_offset());
    let most = u32::try_from(most).unwrap_or(u32::MAX).min(STEP_BYTES);
    let read = match from.read(begin, most, from.log_end_offset(), true) {
        Ok(read) => read,
        Err(LogReadError::Log(error)) => return Err(MoveFailure::From(error)),
        Err(error) => return Err(MoveFailure::Refused(error.to_string())),
    };
    let Some(slice) = read.records else { return Err(MoveFailure::Refused("nothing to read before the end".into())) };
    let bytes = slice.read().map_err(LogError::io("read", from.dir())).map_err(MoveFailure::From)?;
    let mut appended = to.append_as_follower(&bytes, now);
    if let Err(AppendError::UnexpectedOffset { first_offset, .. }) = appended {
        // Our log begins later by now, or inside a batch.
        to.truncate_fully_and_start_at(first_offset).map_err(MoveFailure::To)?;
        appended = to.append_as_follower(&bytes, now);
    }
    match appended {
        Ok(_) => Ok(bytes.len() as u64),
        Err(AppendError::Log(error)) => Err(MoveFailure::To(error)),
        Err(error) => Err(MoveFailure::Refused(error.to_string())),
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
        let mut given_up = Vec::new();
        let has_begun = held.begin_move(dir, (now, &mut rng), &mut given_up);
        let at = now.mono + self.shared.settings.delete_delay_ms;
        let mut dirs = self.dirs.lock();
        for (from, deleted) in given_up {
            dirs.release(&from, Some((at, deleted)));
        }
        let has_begun = has_begun.map_err(|error| {
            tracing::error!(topic, partition, %error, "cannot begin to move to another log directory");
            MoveError::Storage
        })?;
        if has_begun {
            dirs.take_place_in(dir);
            tracing::info!(topic, partition, to = %dir.display(), "moving to another log directory");
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
                    Step::Flush(flush) => partition.flush_future(&flush, woken),
                    Step::GivenUp { to, deleted } => {
                        let at = now.mono + self.shared.settings.delete_delay_ms;
                        self.dirs.lock().release(&to, deleted.map(|dir| (at, dir)));
                        effects.push(Effect::WakeAt(at));
                        break;
                    }
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
