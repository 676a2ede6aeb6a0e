//! How a rate is measured: Kafka's samples, its time to wait, and its bucket of tokens. Knows no names.

use common::time::Millis;
use std::collections::VecDeque;

/// Over which time is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) samples: u64,
    pub(super) sample_ms: u64,
}

impl Window {
    /// What `limit` a second allows in all of it.
    fn tokens(self, limit: f64) -> f64 {
        limit * (self.samples * self.sample_ms) as f64 / 1000.0
    }
}

/// What was counted lately.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Begin and sum of each sample, the oldest first.
    samples: VecDeque<(Millis, f64)>,
}

impl Meter {
    fn forget_old(&mut self, window: Window, now: Millis) {
        let age_max = window.sample_ms.saturating_mul(window.samples);
        while self.samples.front().is_some_and(|(begin, _)| now - *begin >= age_max) {
            self.samples.pop_front();
        }
    }

    pub(super) fn is_idle(&mut self, window: Window, now: Millis) -> bool {
        self.forget_old(window, now);
        self.samples.is_empty()
    }

    pub(super) fn record(&mut self, value: f64, window: Window, now: Millis) {
        match self.samples.back_mut() {
            Some((begin, sum)) if now - *begin < window.sample_ms => *sum += value,
            _ => self.samples.push_back((now, value)),
        }
        self.forget_old(window, now);
    }

    /// How long to wait until the rate has come down to the limit. Samples that are not there count as full ones without
    /// anything in them, but for one.
    pub(super) fn throttle_ms(&mut self, limit: f64, window: Window, now: Millis) -> u64 {
        self.forget_old(window, now);
        let Some((oldest, _)) = self.samples.front() else { return 0 };
        let mut elapsed_ms = now - *oldest;
        let (full, full_min) = (elapsed_ms / window.sample_ms, window.samples.saturating_sub(1));
        elapsed_ms += full_min.saturating_sub(full) * window.sample_ms;
        let elapsed_ms = elapsed_ms.max(1) as f64;
        let sum: f64 = self.samples.iter().map(|(_, sum)| sum).sum();
        let rate = sum / elapsed_ms * 1000.0;
        if rate > limit { ((rate - limit) / limit * elapsed_ms).round() as u64 } else { 0 }
    }
}

/// Tokens that come at the rate of a limit, and may be saved up for as long as the window is (KIP-599).
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// How many were taken more than came, and when that was so; nothing was taken from a new one.
    missing: f64,
    at: Millis,
    is_begun: bool,
    /// What it was last filled by.
    limit: f64,
}

impl Bucket {
    pub(super) fn refill(&mut self, limit: f64, window: Window, now: Millis) {
        let full = window.tokens(limit);
        if !self.is_begun {
            (self.is_begun, self.missing) = (true, -full);
        }
        self.missing = (self.missing - (now - self.at) as f64 / 1000.0 * limit).max(-full);
        (self.at, self.limit) = (now, limit);
    }

    /// As good as a new one.
    pub(super) fn is_full(&mut self, window: Window, now: Millis) -> bool {
        self.refill(self.limit, window, now);
        self.missing <= -window.tokens(self.limit)
    }

    pub(super) fn take(&mut self, count: f64) {
        self.missing += count;
    }

    /// How long until none is missing.
    pub(super) fn wait_ms(&self, limit: f64) -> u64 {
        (self.missing / limit * 1000.0).max(0.0).round() as u64
    }
}
