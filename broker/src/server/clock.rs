//! The only clock of the process.

use common::time::{Millis, Now, WallMillis};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Reads both clocks of the host.
#[derive(Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose monotonic reading starts at zero.
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// Microseconds since the start.
    pub fn micros(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Both readings.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            mono: Millis(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)),
            wall: WallMillis(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)),
        }
    }
}
