//! Is this broker cut off from all the others? Its leaderships are then another's by now, or will be, but it cannot know; and
//! clients that still reach it would believe what it says and wait. Only tells; the table of APIs turns them away.
//!
//! ZooKeeper alone being gone is no isolation: brokers that hear each other go on, as Kafka's do. But a controller that acts
//! meanwhile without telling this broker, as it shows when another refuses an old leader epoch, sees what this one does not.

use common::time::Millis;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Who was heard when.
#[derive(Debug, Default)]
pub(crate) struct Isolation {
    /// When another broker said something last; 0 before the first time.
    heard_at: AtomicU64,
    /// When another refused this broker's leader epoch, and no controller has told this broker anything since; 0 for never.
    fenced_at: AtomicU64,
    is_isolated: AtomicBool,
}

impl Isolation {
    /// Another broker answered or asked.
    pub(crate) fn heard(&self, now: Millis) {
        self.heard_at.store(now.0, Ordering::Relaxed);
    }

    /// Another broker knows a later leader epoch.
    pub(crate) fn fenced(&self, now: Millis) {
        self.fenced_at.store(now.0, Ordering::Relaxed);
    }

    /// A controller has told this broker what is so.
    pub(crate) fn told(&self) {
        self.fenced_at.store(0, Ordering::Relaxed);
    }

    /// Looks again. `zookeeper_lost_at` is when ZooKeeper was heard last, if there is no connection; after `session_ms`
    /// without it, and half of that without a word of another broker, this one is alone. So it is from when it was fenced on.
    pub(crate) fn look(&self, others: bool, zookeeper_lost_at: Option<Millis>, session_ms: u64, now: Millis) {
        let (heard_at, fenced_at) = (self.heard_at.load(Ordering::Relaxed), self.fenced_at.load(Ordering::Relaxed));
        let is_alone =
            |lost: Millis| now.0.saturating_sub(lost.0) >= session_ms && now.0 - heard_at.min(now.0) >= session_ms / 2;
        let is_left_out = |lost: Millis| fenced_at > lost.0;
        let is_isolated = others && zookeeper_lost_at.is_some_and(|lost| is_alone(lost) || is_left_out(lost));
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
        for (others, lost_at, heard_at, fenced_at, now, expected) in [
            (true, Some(1_000), 1_000, None, 7_000, true),
            (true, Some(1_000), 1_000, None, 6_999, false),
            (true, Some(1_000), 4_000, None, 7_000, true),
            (true, Some(1_000), 4_001, None, 7_000, false),
            (true, None, 1_000, None, 70_000, false),
            (false, Some(1_000), 0, None, 70_000, false),
            (true, Some(1_000), 2_000, Some(2_000), 2_000, true),
            (true, Some(1_000), 2_000, Some(900), 2_000, false),
            (true, None, 2_000, Some(2_000), 2_000, false),
        ] {
            let isolation = Isolation::default();
            isolation.heard(Millis(heard_at));
            if let Some(at) = fenced_at {
                isolation.fenced(Millis(at));
            }
            isolation.look(others, lost_at.map(Millis), 6_000, Millis(now));
            assert_eq!(isolation.is_isolated(), expected, "{others} {lost_at:?} {heard_at} {fenced_at:?} {now}");
            isolation.told();
            isolation.heard(Millis(now));
            isolation.look(others, lost_at.map(Millis), 6_000, Millis(now));
            assert!(!isolation.is_isolated());
        }
    }
}
