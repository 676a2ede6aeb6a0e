//! Replication throttles (KIP-73): how many bytes a second this broker sends to replicas that catch up, and fetches for
//! its own, while partitions move. Only replicas that are named and out of sync are held back. Counts and answers;
//! delays nothing itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};

use common::time::Millis;
use parking_lot::{Mutex, RwLock};

/// The replicas of one topic on this broker that are held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThrottledReplicas {
    /// Every partition's.
    All,
    /// Those of these partitions.
    Of(BTreeSet<i32>),
}

impl ThrottledReplicas {
    /// Reads `leader.` or `follower.replication.throttled.replicas`: `*`, or `partition:broker` separated by commas.
    /// `None` if nothing of `broker` is named. What is no such pair names nobody.
    pub fn parse(text: &str, broker: i32) -> Option<ThrottledReplicas> {
        if text.trim() == "*" {
            return Some(ThrottledReplicas::All);
        }
        let pair = |pair: &str| -> Option<(i32, i32)> {
            let (partition, broker) = pair.trim().split_once(':')?;
            Some((partition.parse().ok()?, broker.parse().ok()?))
        };
        let own = text.split(',').filter_map(pair).filter(|(_, of)| *of == broker);
        let partitions: BTreeSet<i32> = own.map(|(partition, _)| partition).collect();
        (!partitions.is_empty()).then_some(ThrottledReplicas::Of(partitions))
    }

    fn contains(&self, partition: i32) -> bool {
        match self {
            ThrottledReplicas::All => true,
            ThrottledReplicas::Of(partitions) => partitions.contains(&partition),
        }
    }
}

/// Over which time bytes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleWindow {
    /// `replication.quota.window.num`.
    pub samples: usize,
    /// `replication.quota.window.size.seconds`, in milliseconds.
    pub sample_ms: u64,
}

impl Default for ThrottleWindow {
    fn default() -> ThrottleWindow {
        ThrottleWindow { samples: 11, sample_ms: 1000 }
    }
}

#[derive(Debug, Default)]
struct Meter {
    /// Bytes a second; `None` for no limit.
    limit: Option<u64>,
    /// Begin and bytes of each sample, the oldest first.
    samples: VecDeque<(Millis, u64)>,
}

impl Meter {
    fn forget_old(&mut self, window: ThrottleWindow, now: Millis) {
        let age_max = window.sample_ms.saturating_mul(window.samples as u64);
        while self.samples.front().is_some_and(|(begin, _)| now - *begin >= age_max) {
            self.samples.pop_front();
        }
    }

    fn record(&mut self, bytes: u64, window: ThrottleWindow, now: Millis) {
        match self.samples.back_mut() {
            Some((begin, sum)) if now - *begin < window.sample_ms => *sum += bytes,
            _ => self.samples.push_back((now, bytes)),
        }
        self.forget_old(window, now);
    }

    fn give_back(&mut self, bytes: u64) {
        let mut left = bytes;
        for (_, sum) in self.samples.iter_mut().rev() {
            let part = left.min(*sum);
            *sum -= part;
            left -= part;
        }
    }

    fn is_exceeded(&mut self, window: ThrottleWindow, now: Millis) -> bool {
        self.forget_old(window, now);
        let (Some(limit), Some((oldest, _))) = (self.limit, self.samples.front()) else { return false };
        let elapsed_ms = (now - *oldest).max(window.sample_ms);
        let bytes: u64 = self.samples.iter().map(|(_, bytes)| bytes).sum();
        u128::from(bytes) * 1000 > u128::from(limit) * u128::from(elapsed_ms)
    }
}

/// The throttle of one direction.
#[derive(Debug, Default)]
pub struct Throttle {
    window: ThrottleWindow,
    topics: RwLock<BTreeMap<String, ThrottledReplicas>>,
    /// There are topics: spares all others the look.
    is_used: AtomicBool,
    meter: Mutex<Meter>,
    was_exceeded: AtomicBool,
}

impl Throttle {
    /// Holds nobody back.
    pub fn new(window: ThrottleWindow) -> Throttle {
        Throttle { window, ..Throttle::default() }
    }

    /// `leader.` or `follower.replication.throttled.rate`, in bytes a second; `None` for no limit.
    pub fn set_limit(&self, limit: Option<u64>) {
        self.meter.lock().limit = limit;
    }

    /// Whom to hold back, of all topics.
    pub fn set_topics(&self, topics: BTreeMap<String, ThrottledReplicas>) {
        self.is_used.store(!topics.is_empty(), Ordering::Relaxed);
        *self.topics.write() = topics;
    }

    /// Whom to hold back, of one topic.
    pub fn set_topic(&self, topic: &str, replicas: Option<ThrottledReplicas>) {
        let mut topics = self.topics.write();
        match replicas {
            Some(replicas) => topics.insert(topic.to_owned(), replicas),
            None => topics.remove(topic),
        };
        self.is_used.store(!topics.is_empty(), Ordering::Relaxed);
    }

    /// There is somebody to hold back.
    pub fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }

    /// This replica's bytes count, and it is held back while it is out of sync.
    pub fn covers(&self, topic: &str, partition: i32) -> bool {
        self.is_used() && self.topics.read().get(topic).is_some_and(|replicas| replicas.contains(partition))
    }

    /// Counts bytes of a covered replica.
    pub fn record(&self, bytes: usize, now: Millis) {
        self.meter.lock().record(bytes as u64, self.window, now);
    }

    /// Bytes that were counted and came to nothing.
    pub fn give_back(&self, bytes: usize) {
        self.meter.lock().give_back(bytes as u64);
    }

    /// More bytes a second than the limit were counted lately.
    pub fn is_exceeded(&self, now: Millis) -> bool {
        let is_exceeded = self.meter.lock().is_exceeded(self.window, now);
        self.was_exceeded.store(is_exceeded, Ordering::Relaxed);
        is_exceeded
    }

    /// What [`Throttle::is_exceeded`] said last.
    pub fn was_exceeded(&self) -> bool {
        self.was_exceeded.load(Ordering::Relaxed)
    }
}

/// Both directions.
#[derive(Debug, Default)]
pub struct Throttles {
    /// What this broker sends as a leader.
    pub leading: Throttle,
    /// What it fetches as a follower.
    pub following: Throttle,
}

impl Throttles {
    /// Hold nobody back.
    pub fn new(window: ThrottleWindow) -> Throttles {
        Throttles { leading: Throttle::new(window), following: Throttle::new(window) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_named_by_partition_and_broker() {
        let of = |partitions: &[i32]| Some(ThrottledReplicas::Of(partitions.iter().copied().collect()));
        for (text, expected) in [
            ("*", Some(ThrottledReplicas::All)),
            ("", None),
            ("0:1,2:1", None),
            ("0:1,2:7, 3:7", of(&[2, 3])),
            ("7,x:7,4:7", of(&[4])),
        ] {
            assert_eq!(ThrottledReplicas::parse(text, 7), expected, "{text:?}");
        }
    }

    #[test]
    fn the_rate_is_that_of_the_last_samples() {
        let throttle = Throttle::new(ThrottleWindow { samples: 3, sample_ms: 1000 });
        throttle.record(1_000_000, Millis(0));
        assert!(!throttle.is_exceeded(Millis(0)), "without a limit");
        throttle.set_limit(Some(1000));
        // What was counted when, and whether that is too much at a moment.
        for (bytes, at, asked, expected) in [
            (0, 500, 500, true),
            (0, 2000, 3001, false),
            (1500, 10_000, 10_500, true),
            (0, 10_500, 11_600, false),
            (1500, 11_700, 11_800, true),
            (0, 11_800, 13_300, false),
        ] {
            throttle.record(bytes, Millis(at));
            assert_eq!(throttle.is_exceeded(Millis(asked)), expected, "{bytes} at {at}, asked {asked}");
        }
    }

    #[test]
    fn what_is_given_back_does_not_count() {
        let throttle = Throttle::new(ThrottleWindow { samples: 3, sample_ms: 1000 });
        throttle.set_limit(Some(1000));
        throttle.record(900, Millis(0));
        throttle.record(900, Millis(1000));
        assert!(throttle.is_exceeded(Millis(1000)));
        throttle.give_back(1000);
        assert!(!throttle.is_exceeded(Millis(1000)));
        throttle.give_back(10_000);
        throttle.record(1000, Millis(1000));
        assert!(!throttle.is_exceeded(Millis(1000)));
    }

    #[test]
    fn only_named_replicas_are_covered() {
        let throttle = Throttle::default();
        assert!(!throttle.covers("t", 0));
        throttle.set_topic("t", ThrottledReplicas::parse("1:0", 0));
        assert!(throttle.covers("t", 1) && !throttle.covers("t", 0) && !throttle.covers("u", 1));
        throttle.set_topic("t", None);
        assert!(!throttle.covers("t", 1));
    }
}
