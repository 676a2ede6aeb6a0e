//! Rates and latencies of sent records, and the lines that tell them. Prints nothing and reads no clock: times are given,
//! in milliseconds since the start.

use crate::java_float::fixed;
use std::fmt::Write as _;
use std::time::Duration;

/// At most about so many latencies are kept, evenly spread.
const SAMPLES: u64 = 500_000;
const MIB: f64 = 1024.0 * 1024.0;

/// Since the last line.
#[derive(Default)]
struct Window {
    start_ms: u64,
    count: u64,
    bytes: u64,
    latency_ms: u64,
    latency_max_ms: u64,
}

/// What is known of all records.
pub(super) struct Stats {
    window_ms: u64,
    sampling: u64,
    latencies: Vec<u64>,
    window: Window,
    all: Window,
    bytes_max: usize,
    /// Records that were not acknowledged.
    pub(super) failed: u64,
}

#[allow(clippy::cast_precision_loss, reason = "rates and means")]
impl Stats {
    /// For so many records, with a line each `window`.
    pub(super) fn new(records: u64, window: Duration) -> Stats {
        Stats {
            window_ms: u64::try_from(window.as_millis()).unwrap_or(u64::MAX),
            sampling: (records / records.clamp(1, SAMPLES)).max(1),
            latencies: Vec::new(),
            window: Window::default(),
            all: Window::default(),
            bytes_max: 0,
            failed: 0,
        }
    }

    /// One record was acknowledged; gives the line of a window that is over.
    pub(super) fn record(&mut self, latency_ms: u64, bytes: usize, now_ms: u64) -> Option<String> {
        if self.all.count.is_multiple_of(self.sampling) {
            self.latencies.push(latency_ms);
        }
        for window in [&mut self.all, &mut self.window] {
            window.count += 1;
            window.bytes += bytes as u64;
            window.latency_ms += latency_ms;
            window.latency_max_ms = window.latency_max_ms.max(latency_ms);
        }
        self.bytes_max = self.bytes_max.max(bytes);
        if now_ms.saturating_sub(self.window.start_ms) < self.window_ms {
            return None;
        }
        let window = std::mem::replace(&mut self.window, Window { start_ms: now_ms, ..Window::default() });
        Some(format!(
            "{}, {} ms avg latency, {} ms max latency.",
            rates(&window, now_ms, 1),
            fixed(window.latency_ms as f64 / window.count as f64, 1),
            fixed(window.latency_max_ms as f64, 1),
        ))
    }

    /// The line at the end.
    pub(super) fn total(&mut self, now_ms: u64) -> String {
        self.latencies.sort_unstable();
        let mut line = format!(
            "{}, {} ms avg latency, {} ms max latency",
            rates(&self.all, now_ms, 6),
            fixed(self.all.latency_ms as f64 / self.all.count as f64, 2),
            fixed(self.all.latency_max_ms as f64, 2),
        );
        for (name, share) in [("50th", 0.5), ("95th", 0.95), ("99th", 0.99), ("99.9th", 0.999)] {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
            let at = (share * self.latencies.len() as f64) as usize;
            let _ = write!(line, ", {} ms {name}", self.latencies.get(at).copied().unwrap_or(0));
        }
        line + "."
    }

    /// Of the metrics of Java's producer those that are known here, in its tool's table.
    pub(super) fn metrics(&self, client_id: &str, now_ms: u64) -> String {
        let (count, seconds) = (self.all.count as f64, now_ms as f64 / 1000.0);
        let of = |name: &str| format!("producer-metrics:{name}:{{client-id={client_id}}}");
        let rows = [
            (of("record-error-rate"), self.failed as f64 / seconds),
            (of("record-error-total"), self.failed as f64),
            (of("record-send-rate"), count / seconds),
            (of("record-send-total"), count),
            (of("record-size-avg"), self.all.bytes as f64 / count),
            (of("record-size-max"), self.bytes_max as f64),
        ];
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut text = format!("\n{:width$}   Value\n", "Metric Name");
        for (name, value) in rows {
            let _ = writeln!(text, "{name:width$} : {}", fixed(value, 3));
        }
        text
    }
}

#[allow(clippy::cast_precision_loss, reason = "rates")]
fn rates(window: &Window, now_ms: u64, digits: usize) -> String {
    let per_second = |amount: f64| 1000.0 * amount / now_ms.saturating_sub(window.start_ms) as f64;
    format!(
        "{} records sent, {} records/sec ({} MB/sec)",
        window.count,
        fixed(per_second(window.count as f64), digits),
        fixed(per_second(window.bytes as f64) / MIB, 2),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kafkas() {
        let mut stats = Stats::new(3, Duration::from_secs(5));
        assert_eq!(stats.record(10, 1 << 20, 1000), None);
        assert_eq!(
            stats.record(20, 1 << 20, 5000).as_deref(),
            Some("2 records sent, 0.4 records/sec (0.40 MB/sec), 15.0 ms avg latency, 20.0 ms max latency.")
        );
        assert_eq!(stats.record(30, 1 << 20, 5500), None);
        assert_eq!(
            stats.total(6000),
            "3 records sent, 0.500000 records/sec (0.50 MB/sec), 20.00 ms avg latency, 30.00 ms max latency, 20 ms 50th, \
             30 ms 95th, 30 ms 99th, 30 ms 99.9th."
        );
        assert_eq!(
            Stats::new(1, Duration::from_secs(5)).total(0),
            "0 records sent, NaN records/sec (NaN MB/sec), NaN ms avg latency, 0.00 ms max latency, 0 ms 50th, 0 ms 95th, \
             0 ms 99th, 0 ms 99.9th."
        );
    }
}
