//! How many requests of one client, and of all, are read and not answered; and whether the client waits for an answer
//! before more of it is read. Without locks, shared by the task that reads the client and the loop that answers it: the
//! crate `tests` plays every interleaving. Never waits itself.

use super::atomic::{AtomicBool, AtomicI64, Ordering, fence};
use std::sync::Arc;

/// Far below any count: the connection is gone, and what is still answered counts no more.
const ENDED: i64 = i64::MIN / 2;

/// One client's account, and its share in the sum of all.
pub(super) struct Outstanding {
    mine: AtomicI64,
    waits: AtomicBool,
    all: Arc<AtomicI64>,
}

impl Outstanding {
    pub(super) fn new(all: Arc<AtomicI64>) -> Outstanding {
        Outstanding { mine: AtomicI64::new(0), waits: AtomicBool::new(false), all }
    }

    /// So many requests were read.
    pub(super) fn read(&self, count: i64) {
        self.mine.fetch_add(count, Ordering::Relaxed);
        self.all.fetch_add(count, Ordering::Relaxed);
    }

    /// So many were answered; true if the client waits for that and must be woken.
    pub(super) fn answered(&self, count: i64) -> bool {
        if self.mine.fetch_sub(count, Ordering::Relaxed) > 0 {
            self.all.fetch_sub(count, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        self.waits.swap(false, Ordering::Relaxed)
    }

    /// A client is not read while as many requests as the limit wait, except if none of them is its own. After true, an
    /// answer to it says that it must be woken: the mark is set before the count is looked at, and `answered` does the
    /// reverse, so one of the two sees the other. Without the fences both can miss it, on x86 as well.
    pub(super) fn must_wait(&self, limit: i64) -> bool {
        if self.all.load(Ordering::Relaxed) < limit {
            return false;
        }
        self.waits.swap(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.mine.load(Ordering::Relaxed) > 0
    }

    /// The connection is gone: what it had outstanding keeps nobody waiting.
    pub(super) fn end(&self) {
        let left = self.mine.swap(ENDED, Ordering::Relaxed);
        self.all.fetch_sub(left, Ordering::Relaxed);
    }
}
