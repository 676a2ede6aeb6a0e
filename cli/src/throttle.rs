//! Slows a sender down to a rate. Knows nothing of what is sent.

use std::time::{Duration, Instant};

/// Shorter sleeps are gathered: each lasts longer than it was asked to.
const SLEEP_MIN: Duration = Duration::from_millis(2);

/// Keeps a sender at about so many sendings a second.
pub(crate) struct Throttle {
    /// Below 0: as fast as it goes; 0: none at all.
    per_second: f64,
    start: Instant,
    owed: Duration,
}

impl Throttle {
    /// From now on.
    pub(crate) fn new(per_second: f64) -> Throttle {
        Throttle { per_second, start: Instant::now(), owed: Duration::ZERO }
    }

    /// After `sent` sendings: for how long nothing is to be sent; `None`: for ever.
    pub(crate) fn pause(&mut self, sent: u64) -> Option<Duration> {
        let elapsed = self.start.elapsed().as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "a rate")]
        let too_fast = self.per_second >= 0.0 && elapsed > 0.0 && sent as f64 / elapsed > self.per_second;
        if !too_fast {
            return Some(Duration::ZERO);
        }
        if self.per_second == 0.0 {
            return None;
        }
        self.owed += Duration::from_secs_f64((1.0 / self.per_second).min(3600.0));
        if self.owed < SLEEP_MIN {
            return Some(Duration::ZERO);
        }
        Some(std::mem::take(&mut self.owed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_too_fast_waits() {
        assert_eq!(Throttle::new(-1.0).pause(1_000_000), Some(Duration::ZERO));
        assert_eq!(Throttle::new(1e12).pause(1), Some(Duration::ZERO));
        assert_eq!(Throttle::new(10.0).pause(1_000_000), Some(Duration::from_millis(100)));
        assert_eq!(Throttle::new(0.0).pause(1), None);
    }
}
