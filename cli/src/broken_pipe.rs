//! What a tool does when nobody reads its output any more (`kafka-topics --list | grep -q t`): it ends at once and silently,
//! with success, as Kafka's tools do, so that a script with `pipefail` goes on. Rust by itself ignores the signal and
//! fails at the next print. Prints nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static DEADLY: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on SIGPIPE ends this process. Sockets do not raise it.
pub(crate) fn ends_the_tool() {
    let deadly = DEADLY.get_or_init(|| Arc::new(AtomicBool::new(true)));
    // Without it the tool works all the same; it complains where it should be silent.
    let _ = signal_hook::flag::register_conditional_shutdown(signal_hook::consts::SIGPIPE, 0, deadly.clone());
}

/// From now on a write into a closed pipe is an error like any other: for tools that have something to put in order.
pub(crate) fn is_survived() {
    if let Some(deadly) = DEADLY.get() {
        deadly.store(false, Ordering::Relaxed);
    }
}
