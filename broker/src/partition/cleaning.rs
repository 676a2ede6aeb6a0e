//! Compaction of the logs that are dirty enough, the dirtiest first: `log.cleaner.*`. Reads no clock; how a log is
//! compacted is [`crate::log`]'s.

use std::sync::Arc;

use common::time::Now;

use super::storage::Checkpoint;
use super::*;

/// What of `log.cleaner.*` may change while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CleanerSettings {
    /// `log.cleaner.threads`: logs that are compacted at the same time; at least 1.
    pub threads: u32,
    /// `log.cleaner.backoff.ms`: between two looks for logs to compact.
    pub backoff_ms: u64,
    /// `log.cleaner.dedupe.buffer.size`: memory for keys, which all that are under way share.
    pub map_bytes: usize,
    /// `log.cleaner.io.max.bytes.per.second`: what all that are under way read and write in a second.
    pub bytes_per_second: f64,
}

impl Default for CleanerSettings {
    /// Kafka 3.9's defaults.
    fn default() -> CleanerSettings {
        CleanerSettings { threads: 1, backoff_ms: 15_000, map_bytes: 128 << 20, bytes_per_second: f64::MAX }
    }
}

/// What is in force, and how many compact.
pub(super) struct Cleaning {
    settings: CleanerSettings,
    running: u32,
}

impl Cleaning {
    pub(super) fn new(settings: CleanerSettings) -> Cleaning {
        Cleaning { settings, running: 0 }
    }

    /// When the cleaner of this number looks again; `None` if there are not as many any more.
    pub(super) fn backoff_ms(&self, number: u32) -> Option<u64> {
        (number < self.settings.threads).then_some(self.settings.backoff_ms)
    }

    /// What one of those that run may read and write in a millisecond.
    fn bytes_per_ms(&self) -> f64 {
        self.settings.bytes_per_second / 1000.0 / f64::from(self.running.max(1))
    }
}

/// After so many bytes one rests, even if only for a moment.
const STRETCH_BYTES: f64 = (1 << 20) as f64;
/// Shorter rests are put together.
const SHORT_REST_MS: f64 = 10.0;
/// A rest is no longer, so that another rate counts soon.
const LONG_REST_MS: f64 = 1000.0;

/// Bytes that were read and written and not yet rested for.
#[derive(Default)]
struct Pace {
    owed_bytes: f64,
}

impl Pace {
    /// How long to rest now, in milliseconds; `None` if enough was rested. To be asked until then.
    fn rest_ms(&mut self, bytes_per_ms: f64) -> Option<u64> {
        let rest = self.owed_bytes / bytes_per_ms;
        if rest < 1.0 && self.owed_bytes >= STRETCH_BYTES {
            self.owed_bytes = 0.0;
        }
        if rest < 1.0 || rest < SHORT_REST_MS && self.owed_bytes < STRETCH_BYTES {
            return None;
        }
        let rest = rest.min(LONG_REST_MS).floor();
        self.owed_bytes -= rest * bytes_per_ms;
        Some(rest as u64)
    }
}

impl Partition {
    /// The dirty share of the log if it is to be compacted.
    fn dirty_share(&self, now: Now) -> Option<f64> {
        let state = self.state.lock();
        if state.is_offline || state.is_gone || !state.log.config().cleanup_compact {
            return None;
        }
        let found = state.log.compaction_state(state.first_dirty_offset, state.high_watermark, now);
        let found = found.inspect_err(|error| tracing::error!(%error, "cannot see what is to be compacted")).ok()?;
        found.is_due.then(|| found.dirty_bytes as f64 / (found.clean_bytes + found.dirty_bytes) as f64)
    }

    /// Compacts the log if it is still to be; its lock is free while segments are read and written.
    fn compact(&self, max_map_bytes: usize, now: Now, took: &mut dyn FnMut(u64), woken: &mut Woken) {
        let (compacted, number) = {
            let mut state = self.state.lock();
            // What is being copied stays as it is.
            if state.is_offline || state.is_gone || state.is_compacting || state.future.is_some() {
                return;
            }
            let found = state.log.compaction_state(state.first_dirty_offset, state.high_watermark, now);
            if found.as_ref().is_ok_and(|found| !found.is_due) {
                return;
            }
            let begun = found.and_then(|found| state.log.start_compaction(found, now));
            state.is_compacting = true;
            (begun, state.log_number)
        };
        let compacted =
            compacted.and_then(|compaction| compaction.map(|begun| begun.run(max_map_bytes, took)).transpose());
        let mut state = self.state.lock();
        state.is_compacting = false;
        // Deleted or moved meanwhile: its directory has another name.
        if state.is_offline || state.is_gone || state.log_number != number {
            return;
        }
        let done = match compacted {
            Ok(Some(compacted)) => state.log.finish_compaction(compacted, now),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        match done {
            Ok(first_dirty_offset) => {
                state.first_dirty_offset = first_dirty_offset.or(state.first_dirty_offset);
                tracing::info!(topic = &*self.topic, partition = self.index, first_dirty_offset, "compacted");
            }
            Err(error @ LogError::Io { .. }) => self.note_failure(&state, &error, woken),
            // One damaged log must not keep the others from being compacted.
            Err(error) => {
                tracing::error!(topic = &*self.topic, partition = self.index, %error, "cannot be compacted");
            }
        }
    }
}

impl Replicas {
    /// `log.cleaner.*` changed. Further cleaners begin with the next tick, and what is too many ends with its round.
    pub fn set_cleaner(&self, settings: CleanerSettings) {
        let before = std::mem::replace(&mut self.cleaning.lock().settings, settings);
        if self.shared.settings.compacts && before.threads < settings.threads {
            let mut chores = self.chores.lock();
            (before.threads..settings.threads).for_each(|number| chores.wake(Chore::Compaction(number), Millis(0)));
        }
    }

    /// One round: compacts the logs that are dirty enough, the dirtiest first, but for those that others compact.
    pub(super) fn compact(&self, now: Now, rest: &dyn Fn(u64), woken: &mut Woken) {
        let mut due: Vec<(f64, Arc<Partition>)> = Vec::new();
        for partition in self.all() {
            due.extend(partition.dirty_share(now).map(|share| (share, partition)));
        }
        if due.is_empty() {
            return;
        }
        due.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let map_bytes = {
            let mut cleaning = self.cleaning.lock();
            cleaning.running += 1;
            cleaning.settings.map_bytes / cleaning.settings.threads.max(1) as usize
        };
        let mut pace = Pace::default();
        let mut took = |bytes: u64| {
            pace.owed_bytes += bytes as f64;
            loop {
                // Not in a `while let`, which would keep the lock for as long as the rest is.
                let bytes_per_ms = self.cleaning.lock().bytes_per_ms();
                let Some(millis) = pace.rest_ms(bytes_per_ms) else { break };
                rest(millis);
            }
        };
        for (_, partition) in &due {
            partition.compact(map_bytes, now, &mut took, woken);
        }
        self.cleaning.lock().running -= 1;
        self.checkpoint(Checkpoint::Compacted, woken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_are_as_long_as_the_rate_says() {
        // Bytes at a time, how often, bytes a millisecond, all rests together.
        for (bytes, times, bytes_per_ms, rests_ms) in [
            (100, 1, f64::INFINITY, 0),
            (10_000_000, 10, f64::INFINITY, 0),
            (100, 10_000, 1_000_000.0, 0),
            (2_000_000, 10, 1_000_000.0, 20),
            (100, 99, 1000.0, 0),
            (100, 1000, 1000.0, 100),
            (100_000, 10, 1000.0, 1000),
            (1, 3, 0.001, 3000),
        ] {
            let mut pace = Pace::default();
            let mut rested = 0;
            for _ in 0..times {
                pace.owed_bytes += f64::from(bytes);
                while let Some(millis) = pace.rest_ms(bytes_per_ms) {
                    assert!((1..=1000).contains(&millis));
                    rested += millis;
                }
            }
            assert_eq!(rested, rests_ms, "{bytes} bytes {times} times at {bytes_per_ms}");
        }
    }
}
