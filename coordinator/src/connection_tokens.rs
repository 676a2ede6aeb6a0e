//! New connections take a token each, and tokens come back at a rate (`connection_throttle_tokens`, ZOOKEEPER-3242): a crowd
//! of clients that all come back at once is let in by and by. Knows no clock.

use common::time::Millis;

/// What `zoo.cfg` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThrottleSettings {
    /// `connection_throttle_tokens`: how many there are; 0 lets everybody in.
    pub tokens: u32,
    /// `connection_throttle_fill_time`: after so many milliseconds tokens come back.
    pub fill_ms: u32,
    /// `connection_throttle_fill_count`: how many then.
    pub fill_count: u32,
}

/// See the top of the file.
#[derive(Debug)]
pub struct ConnectionTokens {
    settings: ThrottleSettings,
    left: u32,
    /// Since when that counts.
    since: Millis,
}

impl ConnectionTokens {
    /// All are there.
    pub fn new(settings: ThrottleSettings, now: Millis) -> ConnectionTokens {
        ConnectionTokens { settings, left: settings.tokens, since: now }
    }

    /// Takes one; false if none is left.
    pub fn take(&mut self, now: Millis) -> bool {
        let ThrottleSettings { tokens, fill_ms, fill_count } = self.settings;
        if tokens == 0 {
            return true;
        }
        let fills = (now - self.since) / u64::from(fill_ms.max(1));
        let back = fills.saturating_mul(u64::from(fill_count));
        let left = u32::try_from(back.saturating_add(u64::from(self.left))).unwrap_or(u32::MAX).min(tokens);
        (self.left, self.since) = (left.saturating_sub(1), self.since + fills * u64::from(fill_ms.max(1)));
        left > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_run_out_and_come_back() {
        let check = |settings: (u32, u32, u32), arrivals: &[(u64, bool)]| {
            let (tokens, fill_ms, fill_count) = settings;
            let mut throttle = ConnectionTokens::new(ThrottleSettings { tokens, fill_ms, fill_count }, Millis(1_000));
            for (index, (at, expected)) in arrivals.iter().enumerate() {
                assert_eq!(throttle.take(Millis(1_000 + at)), *expected, "{settings:?}, arrival {index} at {at}");
            }
        };
        check((0, 1, 1), &[(0, true), (0, true), (0, true)]);
        check((2, 100, 1), &[(0, true), (0, true), (0, false), (99, false), (100, true), (150, false), (200, true)]);
        check((2, 100, 5), &[(0, true), (0, true), (0, false), (100, true), (100, true), (100, false)]);
        check((1, 0, 1), &[(0, true), (0, false), (1, true)]);
        check((3, 100, 0), &[(0, true), (0, true), (0, true), (90_000, false)]);
    }
}
