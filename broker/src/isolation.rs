//! Is this broker cut off from all the others? Its leaderships are then another's by now, or will be, but it cannot know; and
//! clients that still reach it would believe what it says and wait. Only tells; the table of APIs turns them away.
//!
//! ZooKeeper alone being gone is no isolation: brokers that hear each other go on, as Kafka's do.

use common::time::Millis;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Who was heard when.
#[derive(Debug, Default)]
pub(crate) struct Isolation {
    /// When another broker said something last; 0 before the first time.
    heard_at: AtomicU64,
    is_isolated: AtomicBool,
}

impl Isolation {
    /// Another broker answered or asked.
    pub(crate) fn heard(&self, now: Millis) {
        self.heard_at.store(now.0, Ordering::Relaxed);
    }

    /// Looks again. `zookeeper_lost_at` is when the connection to ZooKeeper was lost, if there is none; after
    /// `session_ms` without it and without a word of another broker, this one is alone.
    pub(crate) fn look(&self, others: bool, zookeeper_lost_at: Option<Millis>, session_ms: u64, now: Millis) {
        let heard_at = Millis(self.heard_at.load(Ordering::Relaxed));
        let is_long = |since: Millis| now.0.saturating_sub(since.0) >= session_ms;
        let is_isolated = others && zookeeper_lost_at.is_some_and(is_long) && is_long(heard_at);
        if self.is_isolated.swap(is_isolated, Ordering::Relaxed) != is_isolated {
            tracing::warn!(is_isolated, "whether this broker is cut off from ZooKeeper and all brokers has changed");
        }
    }

    /// As of the last look.
    pub(crate) fn is_isolated(&self) -> bool {
        self.is_isolated.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_hears_nobody_for_a_whole_session_is_isolated() {
        for (others, lost_at, heard_at, now, expected) in [
            (true, Some(1_000), 1_000, 7_000, true),
            (true, Some(1_000), 1_000, 6_999, false),
            (true, Some(1_000), 3_000, 7_000, false),
            (true, None, 1_000, 70_000, false),
            (false, Some(1_000), 0, 70_000, false),
        ] {
            let isolation = Isolation::default();
            isolation.heard(Millis(heard_at));
            isolation.look(others, lost_at.map(Millis), 6_000, Millis(now));
            assert_eq!(isolation.is_isolated(), expected, "{others} {lost_at:?} {heard_at} {now}");
        }
    }
}
