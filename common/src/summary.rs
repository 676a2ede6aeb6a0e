//! Measured values as count, sum, extremes and an estimate of their distribution, for one thread and for many. Reads no
//! clock and writes no text.

use std::sync::atomic::{AtomicU64, Ordering};

/// Values below this have a bucket each; above it there are four buckets for each power of two.
const EXACT: u64 = 16;
/// Enough for any 64-bit value.
const BUCKETS: usize = EXACT as usize + 4 * 60;

/// Count, sum, extremes and an estimate of the distribution of a measured value. An estimated quantile is at most a
/// quarter too large.
#[derive(Clone, Debug)]
pub struct Summary {
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
    buckets: Box<[u64; BUCKETS]>,
}

impl Default for Summary {
    fn default() -> Summary {
        Summary { count: 0, sum: 0, min: 0, max: 0, buckets: Box::new([0; BUCKETS]) }
    }
}

impl Summary {
    /// Takes one more value.
    pub fn add(&mut self, value: u64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        self.buckets[bucket(value)] += 1;
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all values.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The least value, 0 if there was none.
    pub fn min(&self) -> u64 {
        self.min
    }

    /// The greatest value, 0 if there was none.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean, rounded to four places as ZooKeeper does; 0 if there was none.
    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        (self.sum as f64 / self.count as f64 * 10_000.0).round() / 10_000.0
    }

    /// The value that this part (0 to 1) of all values does not exceed; `None` if there was none.
    pub fn quantile(&self, part: f64) -> Option<u64> {
        quantile(&self.buckets, part).map(|bound| bound.min(self.max))
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        *self = Summary::default();
    }
}

/// What has been measured by many threads at once: count, sum and an estimate of the distribution. Taking a value is two
/// additions that nobody waits for.
#[derive(Debug)]
pub struct SharedSummary {
    sum: AtomicU64,
    buckets: Box<[AtomicU64; BUCKETS]>,
}

impl Default for SharedSummary {
    fn default() -> SharedSummary {
        SharedSummary { sum: AtomicU64::new(0), buckets: Box::new([const { AtomicU64::new(0) }; BUCKETS]) }
    }
}

impl SharedSummary {
    /// Takes one more value.
    pub fn add(&self, value: u64) {
        self.sum.fetch_add(value, Ordering::Relaxed);
        self.buckets[bucket(value)].fetch_add(1, Ordering::Relaxed);
    }

    /// As it is now; values that are being taken may count in part.
    pub fn read(&self) -> Distribution {
        let mut buckets = Box::new([0; BUCKETS]);
        for (read, shared) in buckets.iter_mut().zip(self.buckets.iter()) {
            *read = shared.load(Ordering::Relaxed);
        }
        Distribution { sum: self.sum.load(Ordering::Relaxed), buckets }
    }
}

/// What a [`SharedSummary`] was at some time, or what came to it since.
#[derive(Clone, Debug)]
pub struct Distribution {
    sum: u64,
    buckets: Box<[u64; BUCKETS]>,
}

impl Distribution {
    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// What came since `earlier`.
    pub fn since(&self, earlier: &Distribution) -> Distribution {
        let mut buckets = self.buckets.clone();
        for (bucket, before) in buckets.iter_mut().zip(earlier.buckets.iter()) {
            *bucket = bucket.saturating_sub(*before);
        }
        Distribution { sum: self.sum.wrapping_sub(earlier.sum), buckets }
    }

    /// The value that this part (0 to 1) of all values does not exceed, at most a quarter too large; `None` if there was
    /// none.
    pub fn quantile(&self, part: f64) -> Option<u64> {
        quantile(&self.buckets, part)
    }
}

fn quantile(buckets: &[u64; BUCKETS], part: f64) -> Option<u64> {
    let count: u64 = buckets.iter().sum();
    let rank = (part * count as f64).ceil().max(1.0) as u64;
    let mut seen = 0;
    for (number, count) in buckets.iter().enumerate() {
        seen += count;
        if seen >= rank {
            return Some(upper_bound(number));
        }
    }
    None
}

fn bucket(value: u64) -> usize {
    if value < EXACT {
        return value as usize;
    }
    let power = value.ilog2();
    let quarter = (value >> (power - 2)) & 3;
    EXACT as usize + (power as usize - 4) * 4 + quarter as usize
}

fn upper_bound(number: usize) -> u64 {
    if number < EXACT as usize {
        return number as u64;
    }
    let (power, quarter) = ((number - EXACT as usize) / 4 + 4, (number - EXACT as usize) % 4);
    (1u64 << power).saturating_add(((quarter as u64 + 1) << (power - 2)) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_they_say() {
        for value in (0..5000).chain([1 << 20, (1 << 40) + 12345, u64::MAX]) {
            let number = bucket(value);
            assert!(number < BUCKETS, "{value}");
            let bound = upper_bound(number);
            assert!(bound >= value && (bound - value) as f64 <= value as f64 / 4.0, "{value} -> {bound}");
            assert!(number == 0 || upper_bound(number - 1) < value, "{value}");
        }
    }

    #[test]
    fn a_summary_sums_up() {
        let mut summary = Summary::default();
        assert_eq!((summary.mean(), summary.quantile(0.5)), (0.0, None));
        for value in 1..=10 {
            summary.add(value);
        }
        assert_eq!((summary.min(), summary.max(), summary.mean()), (1, 10, 5.5));
        let parts: Vec<_> = [0.0, 0.5, 0.95, 0.999].into_iter().map(|part| summary.quantile(part)).collect();
        assert_eq!(parts, [Some(1), Some(5), Some(10), Some(10)]);
    }

    #[test]
    fn what_came_since_is_told_apart() {
        let shared = SharedSummary::default();
        let parts = |it: &Distribution| (it.count(), it.sum(), it.quantile(0.5), it.quantile(1.0));
        assert_eq!(parts(&shared.read()), (0, 0, None, None));
        (1..=10).for_each(|value| shared.add(value));
        let earlier = shared.read();
        assert_eq!(parts(&earlier), (10, 55, Some(5), Some(10)));
        [3, 3, 15].into_iter().for_each(|value| shared.add(value));
        assert_eq!(parts(&shared.read().since(&earlier)), (3, 21, Some(3), Some(15)));
        assert_eq!(parts(&shared.read()), (13, 76, Some(5), Some(15)));
    }
}
