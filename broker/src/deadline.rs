//! A moment that several threads may bring forward and one waits for. Reads no clock.

use common::time::Millis;
use std::sync::atomic::{AtomicU64, Ordering};

/// When something has to be done at the latest; at once, to begin with.
#[derive(Debug, Default)]
pub(crate) struct Deadline(AtomicU64);

impl Deadline {
    /// True if it is due. It is forgotten then: who asked does what is due, and says when the next is.
    pub(crate) fn take_if_due(&self, now: Millis) -> bool {
        if self.0.load(Ordering::SeqCst) > now.0 {
            return false;
        }
        // Whoever brings it forward from here on is heard; who did before has left what there is to do.
        self.0.store(u64::MAX, Ordering::SeqCst);
        true
    }

    /// Not later than this.
    pub(crate) fn bring_forward(&self, at: Millis) {
        self.0.fetch_min(at.0, Ordering::SeqCst);
    }

    /// When it is, if there is anything to be done.
    pub(crate) fn get(&self) -> Option<Millis> {
        Some(self.0.load(Ordering::SeqCst)).filter(|at| *at != u64::MAX).map(Millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_once_and_never_put_off() {
        let deadline = Deadline::default();
        assert!(deadline.take_if_due(Millis(0)));
        assert_eq!(deadline.get(), None);
        assert!(!deadline.take_if_due(Millis(1_000_000)));
        deadline.bring_forward(Millis(30));
        deadline.bring_forward(Millis(20));
        deadline.bring_forward(Millis(40));
        assert_eq!(deadline.get(), Some(Millis(20)));
        assert!(!deadline.take_if_due(Millis(19)));
        assert!(deadline.take_if_due(Millis(20)));
        assert!(!deadline.take_if_due(Millis(20)));
    }
}
