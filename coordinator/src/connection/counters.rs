//! What is counted of one connection, for `cons` and `stat`. Decides nothing.

use common::time::WallMillis;
use common::zk::OpCode;

/// What is shown of a connection by `cons` and `stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests that came, pings too.
    pub received: u64,
    /// Answers and notifications that went.
    pub sent: u64,
    /// The last operation answered.
    pub last_operation: Option<OpCode>,
    /// The client's number of it.
    pub last_cxid: i32,
    /// The zxid in its answer.
    pub last_zxid: i64,
    /// When the session was established here.
    pub established: WallMillis,
    /// When the last answer was made; 0 before the first.
    pub last_response: WallMillis,
    /// Answers whose time was taken.
    pub timed: u64,
    /// Milliseconds that the last answer took.
    pub last_latency_ms: u64,
    /// The least of them.
    pub min_latency_ms: u64,
    /// The greatest.
    pub max_latency_ms: u64,
    /// Their sum.
    pub sum_latency_ms: u64,
}

impl Counters {
    pub(super) fn took(&mut self, latency_ms: u64, now: WallMillis) {
        self.min_latency_ms = if self.timed == 0 { latency_ms } else { self.min_latency_ms.min(latency_ms) };
        self.max_latency_ms = self.max_latency_ms.max(latency_ms);
        self.sum_latency_ms += latency_ms;
        self.last_latency_ms = latency_ms;
        self.last_response = now;
        self.timed += 1;
    }

    /// What `crst` resets: counts and times, not what the last operation was.
    pub(super) fn reset(&mut self) {
        let Counters { last_operation, last_cxid, last_zxid, established, .. } = *self;
        *self = Counters { last_operation, last_cxid, last_zxid, established, ..Counters::default() };
    }
}
