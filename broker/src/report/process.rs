//! Figures of the process, under the names that every Prometheus client gives.

use super::single;
use common::exposition::{Exposition, Kind};

/// What the system tells of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessFacts {
    /// Seconds of processor time.
    pub cpu_seconds: f64,
    /// Bytes of memory in use.
    pub resident_bytes: u64,
    /// Bytes of address space.
    pub virtual_bytes: u64,
    /// Files and sockets that are open.
    pub open_files: u64,
    /// How many may be.
    pub max_files: u64,
    /// When it began, in seconds since 1970.
    pub start_seconds: f64,
}

pub(super) fn write(facts: &ProcessFacts, text: &mut Exposition) {
    let mut one = |name, kind, help, value| single(text, name, kind, help, value);
    one("process_cpu_seconds_total", Kind::Counter, "Processor time used, in seconds.", facts.cpu_seconds);
    one("process_resident_memory_bytes", Kind::Gauge, "Memory in use.", facts.resident_bytes as f64);
    one("process_virtual_memory_bytes", Kind::Gauge, "Address space.", facts.virtual_bytes as f64);
    one("process_open_fds", Kind::Gauge, "Open files and sockets.", facts.open_files as f64);
    one("process_max_fds", Kind::Gauge, "Files and sockets that may be open.", facts.max_files as f64);
    one("process_start_time_seconds", Kind::Gauge, "Start of the process, since 1970.", facts.start_seconds);
}
