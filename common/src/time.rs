//! Time as an argument: a monotonic and a wall reading, two types that cannot be mixed. Never reads a clock.

use std::ops::{Add, Sub};

/// Milliseconds on a clock that never steps back and means nothing outside the process (since start, or since the
/// beginning of a simulation). Deadlines and timeouts use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

/// Milliseconds since 1970-01-01 UTC as the host believes them to be; may jump. Record timestamps, znode times and
/// retention use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallMillis(pub i64);

/// Both clocks, read at one moment by the server (or set by the simulator) and passed down as an argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For deadlines.
    pub mono: Millis,
    /// For timestamps that others will see.
    pub wall: WallMillis,
}

impl Add<u64> for Millis {
    type Output = Millis;
    fn add(self, millis: u64) -> Millis {
        Millis(self.0.saturating_add(millis))
    }
}

impl Sub for Millis {
    type Output = u64;
    /// Milliseconds from `earlier` to `self`; zero if `earlier` is later.
    fn sub(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
