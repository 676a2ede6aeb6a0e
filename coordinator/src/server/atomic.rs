//! The atomics of the parts without locks. The crate `tests` compiles those parts with loom's in place of these.

pub(super) use std::sync::atomic::{AtomicBool, AtomicI64, Ordering, fence};
