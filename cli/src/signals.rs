//! The signals that ask a tool to end: noted, so that it may end in order. Ends nothing.

use anyhow::Context as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where the number of a signal is noted that asks to end.
pub(crate) fn noted() -> anyhow::Result<Arc<AtomicUsize>> {
    let noted = Arc::new(AtomicUsize::new(0));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        let number = usize::try_from(signal).expect("signals have small positive numbers");
        signal_hook::flag::register_usize(signal, noted.clone(), number).context("listening for signals")?;
    }
    Ok(noted)
}

/// The exit code of a tool that ended by itself, or because of a signal.
pub(crate) fn ended_by(signal: &AtomicUsize) -> ExitCode {
    let number = signal.load(Ordering::Relaxed);
    ExitCode::from(if number == 0 { 0 } else { u8::try_from(128 + number).unwrap_or(1) })
}
