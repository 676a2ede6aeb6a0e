//! What a broker counts while it serves, each where it happens: an addition that nobody waits for. Nothing is computed
//! here, and nothing is written; `report` does, when somebody asks.

use common::kafka::error::ErrorCode;
use common::summary::{Distribution, SharedSummary};
use common::time::Millis;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Only goes up, from the start of the process on.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Records in and out of a topic on this broker, or of all of them. The words are those of Kafka's `BrokerTopicMetrics`.
#[derive(Debug, Default)]
pub struct TopicCounters {
    /// Records appended as leader.
    pub messages_in: Counter,
    /// Bytes of batches appended as leader.
    pub bytes_in: Counter,
    /// Bytes of batches given to consumers.
    pub bytes_out: Counter,
    /// Bytes of batches that were too large.
    pub bytes_rejected: Counter,
    /// Partitions of produce requests, and what coordinators wrote.
    pub produces: Counter,
    /// Partitions of fetch requests that were answered.
    pub fetches: Counter,
    /// Partitions of produce requests that failed for other reasons than that they went to the wrong broker, were too large
    /// or damaged.
    pub failed_produces: Counter,
    /// Partitions of fetch requests that failed for no reason of the client's.
    pub failed_fetches: Counter,
    /// What is done in the remote store.
    pub remote: RemoteCounters,
}

/// Copies to the remote store of a topic, reads and removals there (KIP-405).
#[derive(Debug, Default)]
pub struct RemoteCounters {
    /// Bytes of copied segments.
    pub bytes_copied: Counter,
    /// Copies.
    pub copies: Counter,
    /// Copies that failed.
    pub failed_copies: Counter,
    /// Bytes that were read.
    pub bytes_read: Counter,
    /// Reads.
    pub reads: Counter,
    /// Reads that failed.
    pub failed_reads: Counter,
    /// Removals.
    pub removals: Counter,
    /// Removals that failed.
    pub failed_removals: Counter,
    /// Times that a follower wanted to go on from there.
    pub rebuilds: Counter,
    /// Times that it could not.
    pub failed_rebuilds: Counter,
}

/// What the partitions of a broker count together.
#[derive(Debug, Default)]
pub struct ReplicaCounters {
    /// All topics.
    pub all: TopicCounters,
    /// Bytes of batches that followers of this broker were given.
    pub replication_bytes_out: Counter,
    /// Bytes of batches that this broker was given as follower.
    pub replication_bytes_in: Counter,
    /// The controller agreed to fewer in-sync replicas.
    pub isr_shrinks: Counter,
    /// The controller agreed to more in-sync replicas.
    pub isr_expands: Counter,
    /// The controller did not agree.
    pub isr_updates_failed: Counter,
}

/// What the controller counts.
#[derive(Debug, Default)]
pub struct ControllerCounters {
    /// A partition got another leader, or its first.
    pub elections: Counter,
    /// It was one that was not in sync: records may be lost.
    pub unclean_elections: Counter,
}

/// Records that members of share groups have spoken of, by their word. The words are those of Kafka's `ShareGroupMetrics`.
#[derive(Debug, Default)]
pub struct ShareCounters {
    /// Done.
    pub accepted: Counter,
    /// Given back.
    pub released: Counter,
    /// Never to be delivered again.
    pub rejected: Counter,
    /// Kept for longer.
    pub renewed: Counter,
}

/// What a listener counts.
#[derive(Debug, Default)]
pub struct ListenerCounters {
    /// Connections that are open.
    pub open: AtomicI64,
    /// Connections that were taken.
    pub accepted: Counter,
    /// Logins, with SASL.
    pub logins: Counter,
    /// Logins that failed.
    pub failed_logins: Counter,
}

/// Versions of one API that are told apart: more than any has.
const VERSIONS: usize = 24;

/// Requests of one API.
#[derive(Debug)]
pub struct ApiCounters {
    versions: [Counter; VERSIONS],
    /// By code, from -1 on; what is beyond the codes counts as the last.
    errors: Box<[Counter]>,
    /// Microseconds from the request's arrival to the answer's departure.
    pub micros: SharedSummary,
    recent: Mutex<Option<Recent>>,
}

impl Default for ApiCounters {
    fn default() -> ApiCounters {
        ApiCounters {
            versions: Default::default(),
            errors: ErrorCode::ALL.iter().map(|_| Counter::default()).collect(),
            micros: SharedSummary::default(),
            recent: Mutex::default(),
        }
    }
}

/// Quantiles are of the last one to two times so long: those of all time say nothing of now.
const RECENT_MS: u64 = 60_000;

/// What had been measured by two moments, the later at least [`RECENT_MS`] after the earlier.
#[derive(Debug)]
struct Recent {
    earlier: Distribution,
    later: Distribution,
    later_at: Millis,
}

impl ApiCounters {
    /// A request of a version.
    pub fn requested(&self, version: i16) {
        let version = usize::try_from(version).unwrap_or(0).min(VERSIONS - 1);
        self.versions[version].increment();
    }

    /// An error code of an answer, 0 included.
    pub fn answered(&self, code: i16) {
        let index = usize::try_from(i32::from(code) + 1).unwrap_or(0).min(self.errors.len() - 1);
        self.errors[index].increment();
    }

    /// Versions that were asked for, and how often.
    pub fn versions(&self) -> impl Iterator<Item = (usize, u64)> {
        self.versions.iter().map(Counter::get).enumerate().filter(|(_, count)| *count > 0)
    }

    /// Codes that were answered, and how often.
    pub fn errors(&self) -> impl Iterator<Item = (ErrorCode, u64)> {
        ErrorCode::ALL.iter().copied().zip(self.errors.iter().map(Counter::get)).filter(|(_, count)| *count > 0)
    }

    /// What was measured since the start, and of late.
    pub fn measured(&self, now: Millis) -> (Distribution, Distribution) {
        let current = self.micros.read();
        let mut recent = self.recent.lock();
        let known = recent.take().unwrap_or_else(|| {
            let nothing = current.since(&current);
            Recent { earlier: nothing.clone(), later: nothing, later_at: now }
        });
        let known = match now.0 >= known.later_at.0.saturating_add(RECENT_MS) {
            true => Recent { earlier: known.later, later: current.clone(), later_at: now },
            false => known,
        };
        let of_late = current.since(&known.earlier);
        *recent = Some(known);
        (current, of_late)
    }
}

/// All requests, by the row of the table of APIs; behind these rows, fetches once more: those of consumers, and those of
/// followers.
#[derive(Debug)]
pub struct RequestCounters {
    apis: Box<[ApiCounters]>,
}

impl RequestCounters {
    /// For a table of so many rows.
    pub fn new(rows: usize) -> RequestCounters {
        RequestCounters { apis: (0..rows).map(|_| ApiCounters::default()).collect() }
    }

    /// The counters of a row.
    pub fn api(&self, row: usize) -> &ApiCounters {
        &self.apis[row]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_last_minutes() {
        let api = ApiCounters::default();
        let check = |now: u64, expected: (u64, u64, Option<u64>)| {
            let (all, late) = api.measured(Millis(now));
            assert_eq!((all.count(), late.count(), late.quantile(1.0)), expected, "at {now}");
        };
        check(1_000, (0, 0, None));
        api.micros.add(9);
        check(2_000, (1, 1, Some(9)));
        check(61_000, (1, 1, Some(9)));
        api.micros.add(3);
        check(120_999, (2, 2, Some(9)));
        check(121_000, (2, 1, Some(3)));
        check(181_000, (2, 0, None));
    }

    #[test]
    fn codes_and_versions_are_told_apart() {
        let api = ApiCounters::default();
        [0, 0, -1, 3, 9_999].into_iter().for_each(|code| api.answered(code));
        [4, 4, 17].into_iter().for_each(|version| api.requested(version));
        let last = *ErrorCode::ALL.last().unwrap();
        let errors = [
            (ErrorCode::UnknownServerError, 1),
            (ErrorCode::None, 2),
            (ErrorCode::UnknownTopicOrPartition, 1),
            (last, 1),
        ];
        assert_eq!(api.errors().collect::<Vec<_>>(), errors);
        assert_eq!(api.versions().collect::<Vec<_>>(), [(4, 2), (17, 1)]);
    }
}
