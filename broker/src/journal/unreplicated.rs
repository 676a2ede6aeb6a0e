//! What was appended and is not known to be replicated, in the order of offsets, and who waits for it.

use common::time::Millis;
use std::collections::VecDeque;

/// Something appended.
pub(crate) trait Appended {
    /// Offset of its last record.
    fn offset(&self) -> i64;
    /// When who waits for it hears that it took too long; `None` if nobody waits.
    fn deadline(&self) -> Option<Millis>;
}

/// See the top of the file.
#[derive(Debug)]
pub(crate) struct Unreplicated<T> {
    queue: VecDeque<T>,
    /// How many at the front of it nobody waits for.
    unawaited: usize,
}

impl<T> Default for Unreplicated<T> {
    fn default() -> Unreplicated<T> {
        Unreplicated { queue: VecDeque::new(), unawaited: 0 }
    }
}

impl<T: Appended> Unreplicated<T> {
    pub(crate) fn push(&mut self, appended: T) {
        self.queue.push_back(appended);
    }

    pub(crate) fn last(&self) -> Option<&T> {
        self.queue.back()
    }

    /// The first, if it is below the high watermark; it is replicated then.
    pub(crate) fn pop_replicated(&mut self, high_watermark: i64) -> Option<T> {
        let first = self.queue.pop_front_if(|first| first.offset() < high_watermark)?;
        self.unawaited = self.unawaited.saturating_sub(1);
        Some(first)
    }

    /// When somebody hears that it took too long, at the earliest.
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        self.queue.range(self.unawaited..).find_map(T::deadline)
    }

    /// One that took too long, each once; who waits for it is to be taken from it. What it says still becomes true should it be
    /// replicated after all, as it would after a failover.
    pub(crate) fn pop_late(&mut self, now: Millis) -> Option<&mut T> {
        while let Some(next) = self.queue.get(self.unawaited) {
            let deadline = next.deadline();
            if deadline.is_some_and(|at| at > now) {
                return None;
            }
            self.unawaited += 1;
            if deadline.is_some() {
                return self.queue.get_mut(self.unawaited - 1);
            }
        }
        None
    }

    /// All, and none is left.
    pub(crate) fn take(&mut self) -> VecDeque<T> {
        self.unawaited = 0;
        std::mem::take(&mut self.queue)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
