//! How much was read in what time, and the lines that tell it. Prints nothing; times are given.

use crate::date_format::DateFormat;
use crate::java_float::fixed;
use std::fmt::Write as _;

const MIB: f64 = 1024.0 * 1024.0;

/// What was read so far, in all and in the round since the last line.
#[derive(Clone, Copy)]
pub(crate) struct Progress {
    start_ms: i64,
    every_ms: i64,
    pub(crate) records: i64,
    bytes: u64,
    round_start_ms: i64,
    round_records: i64,
    round_bytes: u64,
}

#[allow(clippy::cast_precision_loss, reason = "rates")]
impl Progress {
    /// Begins, with rounds of `every_ms`.
    pub(crate) fn new(start_ms: i64, every_ms: i64) -> Progress {
        Progress {
            start_ms,
            every_ms,
            records: 0,
            bytes: 0,
            round_start_ms: start_ms,
            round_records: 0,
            round_bytes: 0,
        }
    }

    /// One record more; is the round over?
    pub(crate) fn add(&mut self, bytes: usize, now_ms: i64) -> bool {
        self.records += 1;
        self.bytes += bytes as u64;
        self.round_records += 1;
        self.round_bytes += bytes as u64;
        now_ms - self.round_start_ms >= self.every_ms
    }

    /// A new round.
    pub(crate) fn begin_round(&mut self, now_ms: i64) {
        (self.round_start_ms, self.round_records, self.round_bytes) = (now_ms, 0, 0);
    }

    /// The line of a round, in which joining took `joined_ms`.
    pub(crate) fn line(&self, now_ms: i64, joined_ms: i64, format: &DateFormat) -> String {
        let elapsed = (now_ms - self.round_start_ms) as f64;
        let fetch_ms = now_ms - self.round_start_ms - joined_ms;
        let (mib, records) = (self.round_bytes as f64 / MIB, self.round_records as f64);
        let while_fetching = |amount: f64| if fetch_ms <= 0 { 0.0 } else { 1000.0 * amount / fetch_ms as f64 };
        format!(
            "{}, 0, {}, {}, {}, {}, {joined_ms}, {fetch_ms}, {}, {}",
            format.format(now_ms),
            fixed(self.bytes as f64 / MIB, 4),
            fixed(1000.0 * mib / elapsed, 4),
            self.records,
            fixed(records / elapsed * 1000.0, 4),
            fixed(while_fetching(mib), 4),
            fixed(while_fetching(records), 4),
        )
    }

    /// The line at the end.
    pub(crate) fn total(&self, end_ms: i64, joined_ms: i64, format: &DateFormat) -> String {
        let seconds = (end_ms - self.start_ms) as f64 / 1000.0;
        let fetch_ms = end_ms - self.start_ms - joined_ms;
        let fetching = fetch_ms as f64 / 1000.0;
        let (mib, records) = (self.bytes as f64 / MIB, self.records as f64);
        format!(
            "{}, {}, {}, {}, {}, {}, {joined_ms}, {fetch_ms}, {}, {}",
            format.format(self.start_ms),
            format.format(end_ms),
            fixed(mib, 4),
            fixed(mib / seconds, 4),
            self.records,
            fixed(records / seconds, 4),
            fixed(mib / fetching, 4),
            fixed(records / fetching, 4),
        )
    }

    /// What several readers read together.
    pub(crate) fn together(each: &[Progress], start_ms: i64) -> Progress {
        let mut all = Progress::new(start_ms, 0);
        all.records = each.iter().map(|one| one.records).sum();
        all.bytes = each.iter().map(|one| one.bytes).sum();
        all
    }

    /// The line of a round of a share consumer, counted from 1.
    pub(crate) fn share_line(&self, now_ms: i64, number: usize, format: &DateFormat) -> String {
        let elapsed_ms = now_ms - self.round_start_ms;
        format!(
            "{}, {}, {}, {}, {}, {}, {elapsed_ms} for share consumer {number}",
            format.format(self.round_start_ms),
            format.format(now_ms),
            fixed(self.bytes as f64 / MIB, 4),
            fixed(1000.0 * (self.round_bytes as f64 / MIB) / elapsed_ms as f64, 4),
            fixed(self.round_records as f64 / elapsed_ms as f64 * 1000.0, 4),
            self.records,
        )
    }

    /// The line at the end, of share consumers.
    pub(crate) fn share_total(&self, end_ms: i64, format: &DateFormat) -> String {
        let elapsed_ms = end_ms - self.start_ms;
        let seconds = elapsed_ms as f64 / 1000.0;
        let mib = self.bytes as f64 / MIB;
        format!(
            "{}, {}, {}, {}, {}, {}, {elapsed_ms}",
            format.format(self.start_ms),
            format.format(end_ms),
            fixed(mib, 4),
            fixed(mib / seconds, 4),
            fixed(self.records as f64 / seconds, 4),
            self.records,
        )
    }

    /// Of the metrics of Java's consumer, in this group of them, those that are known here, in its tool's table.
    pub(crate) fn metrics(&self, group: &str, client_id: &str, end_ms: i64) -> String {
        let (records, bytes) = (self.records as f64, self.bytes as f64);
        let seconds = (end_ms - self.start_ms) as f64 / 1000.0;
        let of = |name: &str| format!("{group}:{name}:{{client-id={client_id}}}");
        let rows = [
            (of("bytes-consumed-rate"), bytes / seconds),
            (of("bytes-consumed-total"), bytes),
            (of("records-consumed-rate"), records / seconds),
            (of("records-consumed-total"), records),
        ];
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut text = format!("\n{:width$}   Value\n", "Metric Name");
        for (name, value) in rows {
            let _ = writeln!(text, "{name:width$} : {}", fixed(value, 3));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kafkas() {
        let format = DateFormat::new("S").unwrap();
        let mut progress = Progress::new(1000, 500);
        assert!(!progress.add(1 << 20, 1100));
        assert!(progress.add(1 << 20, 1500));
        assert_eq!(progress.line(1500, 100, &format), "500, 0, 2.0000, 4.0000, 2, 4.0000, 100, 400, 5.0000, 5.0000");
        progress.begin_round(1500);
        assert_eq!(progress.line(1500, 0, &format), "500, 0, 2.0000, NaN, 2, NaN, 0, 0, 0.0000, 0.0000");
        assert_eq!(progress.total(3000, 1000, &format), "0, 0, 2.0000, 1.0000, 2, 1.0000, 1000, 1000, 2.0000, 2.0000");
    }

    #[test]
    fn lines_of_share_consumers_are_kafkas() {
        let format = DateFormat::new("s.S").unwrap();
        let mut progress = Progress::new(1000, 500);
        assert!(!progress.add(1 << 20, 1100));
        progress.begin_round(1500);
        assert!(progress.add(1 << 20, 2000));
        let line = "1.500, 2.0, 2.0000, 2.0000, 2.0000, 2, 500 for share consumer 3";
        assert_eq!(progress.share_line(2000, 3, &format), line);
        assert_eq!(progress.share_total(3000, &format), "1.0, 3.0, 2.0000, 1.0000, 1.0000, 2, 2000");
        let both = Progress::together(&[progress, progress], 1000);
        assert_eq!(both.share_total(5000, &format), "1.0, 5.0, 4.0000, 1.0000, 1.0000, 4, 4000");
    }
}
