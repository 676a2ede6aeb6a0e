//! What a server counts and measures, under ZooKeeper's names, and the two texts made of it: `mntr` and Prometheus. Reads
//! no clock and asks the system nothing: figures are handed in.

pub use common::summary::Summary;

pub(crate) use common::exposition::real;
use common::exposition::{Exposition, Kind};
use std::fmt::Write;

/// What is counted while serving. One value lives as long as the process.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Milliseconds from a request's arrival to its answer, reads and writes; `srst` resets it.
    pub latency: Summary,
    /// The same of reads alone.
    pub read_latency: Summary,
    /// The same of writes alone.
    pub update_latency: Summary,
    /// Milliseconds from handing a write to the disk until it is durable.
    pub sync_time: Summary,
    /// Milliseconds from a proposal until it is applied here, as leader.
    pub proposal_latency: Summary,
    /// Milliseconds that reading the store took at start.
    pub init_time: Summary,
    /// Log entries that were not yet in the stored tree at start.
    pub startup_entries: Summary,
    /// Milliseconds without a leader, for each such time.
    pub unavailable_time: Summary,
    /// Watchers told of each created znode.
    pub created_watchers: Summary,
    /// Watchers told of each deleted znode.
    pub deleted_watchers: Summary,
    /// Watchers told of each changed znode.
    pub changed_watchers: Summary,
    /// Watchers told of each change of children.
    pub children_watchers: Summary,
    /// Requests read; `srst` resets it.
    pub packets_received: u64,
    /// Answers and notifications; `srst` resets it.
    pub packets_sent: u64,
    /// Handshakes.
    pub connection_requests: u64,
    /// Handshakes that asked for an old session.
    pub revalidations: u64,
    /// Connections ended by this server.
    pub connections_dropped: u64,
    /// Connections ended because they never said anything.
    pub sessionless_expired: u64,
    /// Sessions that this server as leader ended for silence.
    pub sessions_expired: u64,
    /// Auth packets that proved nothing.
    pub auth_failed: u64,
    /// Requests refused because there were too many.
    pub throttled: u64,
    /// Bytes of answers.
    pub response_bytes: u64,
    /// Bytes of notifications.
    pub watch_bytes: u64,
    /// Sizes of answers: last, least, greatest; `None` before the first.
    pub response_size: Option<(u64, u64, u64)>,
    /// Transactions applied.
    pub commits: u64,
    /// Transactions proposed as leader.
    pub proposals: u64,
    /// Times without a leader.
    pub lookings: u64,
    /// Snapshots sent to others, as leader.
    pub snapshots_sent: u64,
}

impl Metrics {
    /// An answer of this many bytes has been made.
    pub fn answered(&mut self, bytes: u64) {
        self.response_bytes += bytes;
        self.response_size = Some(match self.response_size {
            None => (bytes, bytes, bytes),
            Some((_, min, max)) => (bytes, min.min(bytes), max.max(bytes)),
        });
    }

    /// What `srst` resets.
    pub fn reset(&mut self) {
        self.latency.reset();
        (self.packets_received, self.packets_sent) = (0, 0);
        self.response_size = None;
    }
}

/// One figure.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// May go up and down.
    Gauge(i64),
    /// May go up and down, and is no whole number.
    Real(f64),
    /// Only goes up.
    Counter(u64),
    /// Mean, extremes, count, sum.
    Basic(&'a Summary),
    /// The same and quantiles.
    Advanced(&'a Summary),
}

/// A figure and ZooKeeper's name for it.
pub type Sample<'a> = (&'static str, Value<'a>);

/// As lines `zk_name<TAB>value`.
pub fn mntr(samples: &[Sample<'_>]) -> String {
    let mut text = String::new();
    each_flat(samples, &mut |name, value| {
        line(&mut text, format_args!("zk_{name}\t{value}"));
    });
    text
}

/// Hands out every figure as `mntr` and the monitor command name it; a summary is several.
pub fn each_flat(samples: &[Sample<'_>], give: &mut dyn FnMut(&str, &str)) {
    for (name, value) in samples {
        match value {
            Value::Gauge(value) => give(name, &value.to_string()),
            Value::Real(value) => give(name, &real(*value)),
            Value::Counter(value) => give(name, &value.to_string()),
            Value::Basic(summary) => each_basic(name, summary, give),
            Value::Advanced(summary) => {
                each_basic(name, summary, give);
                for (label, part) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)] {
                    give(&format!("{label}_{name}"), &summary.quantile(part).unwrap_or(0).to_string());
                }
            }
        }
    }
}

fn each_basic(name: &str, summary: &Summary, give: &mut dyn FnMut(&str, &str)) {
    give(&format!("avg_{name}"), &real(summary.mean()));
    for (label, value) in
        [("min", summary.min()), ("max", summary.max()), ("cnt", summary.count()), ("sum", summary.sum())]
    {
        give(&format!("{label}_{name}"), &value.to_string());
    }
}

/// Prometheus' text format 0.0.4, as ZooKeeper's provider writes it.
pub fn prometheus(samples: &[Sample<'_>]) -> String {
    let mut text = Exposition::default();
    for (name, value) in samples {
        let kind = match value {
            Value::Gauge(_) | Value::Real(_) => Kind::Gauge,
            Value::Counter(_) => Kind::Counter,
            Value::Basic(_) | Value::Advanced(_) => Kind::Summary,
        };
        let mut family = text.family(name, kind, name);
        let (summary, parts) = match value {
            Value::Gauge(value) => {
                family.sample(&[], *value as f64);
                continue;
            }
            Value::Real(value) => {
                family.sample(&[], *value);
                continue;
            }
            Value::Counter(value) => {
                family.sample(&[], *value as f64);
                continue;
            }
            Value::Basic(summary) => (summary, &["0.5"][..]),
            Value::Advanced(summary) => (summary, &["0.5", "0.9", "0.99"][..]),
        };
        let quantiles: Vec<(&str, f64)> = parts
            .iter()
            .map(|part| {
                let value = summary.quantile(part.parse().expect("each is a number"));
                (*part, value.map_or(f64::NAN, |value| value as f64))
            })
            .collect();
        family.summary(&[], &quantiles, summary.count() as f64, summary.sum() as f64);
    }
    text.into_text()
}

/// Adds a line.
pub(crate) fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes everything");
    text.push('\n');
}

/// ZooKeeper's counters of things that cannot happen in this server (processor stages, caches and limits that it does
/// not have). Dashboards and alerts look for them; their count is truly zero.
pub const NEVER_COUNTED: &[&str] = &[
    "add_dead_watcher_stall_time",
    "cnxn_closed_without_zk_server_running",
    "dead_watchers_cleared",
    "dead_watchers_queued",
    "digest_mismatches_count",
    "ensemble_auth_fail",
    "ensemble_auth_skip",
    "ensemble_auth_success",
    "insecure_admin_count",
    "learner_commit_received_count",
    "learner_proposal_received_count",
    "outstanding_changes_queued",
    "outstanding_changes_removed",
    "prep_processor_request_queued",
    "quit_leading_due_to_disloyal_voter",
    "request_commit_queued",
    "requests_not_forwarded_to_commit_processor",
    "response_packet_cache_hits",
    "response_packet_cache_misses",
    "response_packet_get_children_cache_hits",
    "response_packet_get_children_cache_misses",
    "restore_error_count",
    "restore_rate_limited_count",
    "skip_learner_request_to_next_processor_count",
    "snapshot_error_count",
    "snapshot_rate_limited_count",
    "stale_replies",
    "stale_requests",
    "stale_requests_dropped",
    "sync_processor_request_queued",
    "unrecoverable_error_count",
];

/// ZooKeeper's measures of stages and caches that this server does not have: no value was ever taken.
pub const NEVER_MEASURED: &[&str] = &[
    "commit_commit_proc_req_queued",
    "commit_process_time",
    "concurrent_request_processing_in_commit_processor",
    "connection_token_deficit",
    "follower_sync_time",
    "inflight_diff_count",
    "inflight_snap_count",
    "learner_request_processor_queue_size",
    "netty_queued_buffer_capacity",
    "observer_sync_time",
    "pending_session_queue_size",
    "prep_process_time",
    "prep_processor_queue_size",
    "proposal_process_time",
    "read_commit_proc_issued",
    "read_commit_proc_req_queued",
    "reads_after_write_in_session_queue",
    "reads_issued_from_session_queue",
    "requests_in_session_queue",
    "restore_time",
    "session_queues_drained",
    "snapshottime",
    "socket_closing_time",
    "sync_process_time",
    "sync_processor_batch_size",
    "sync_processor_queue_size",
    "time_waiting_empty_pool_in_commit_processor_read_ms",
    "write_batch_time_in_commit_processor",
    "write_commit_proc_issued",
    "write_commit_proc_req_queued",
];

/// The same of those that have quantiles.
pub const NEVER_MEASURED_CLOSELY: &[&str] = &[
    "close_session_prep_time",
    "commit_propagation_latency",
    "dead_watchers_cleaner_latency",
    "jvm_pause_time_ms",
    "local_write_committed_time_ms",
    "om_commit_process_time_ms",
    "om_proposal_process_time_ms",
    "prep_processor_queue_time_ms",
    "propagation_latency",
    "proposal_ack_creation_latency",
    "read_commitproc_time_ms",
    "read_final_proc_time_ms",
    "request_throttle_queue_time_ms",
    "server_write_committed_time_ms",
    "sync_processor_queue_flush_time_ms",
    "sync_processor_queue_time_ms",
    "write_commitproc_time_ms",
    "write_final_proc_time_ms",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let mut summary = Summary::default();
        summary.add(2);
        summary.add(3);
        let samples = [
            ("g", Value::Gauge(-1)),
            ("r", Value::Real(0.25)),
            ("c", Value::Counter(7)),
            ("b", Value::Basic(&summary)),
        ];
        let want = "zk_g\t-1\nzk_r\t0.25\nzk_c\t7\nzk_avg_b\t2.5\nzk_min_b\t2\nzk_max_b\t3\nzk_cnt_b\t2\nzk_sum_b\t5\n";
        assert_eq!(mntr(&samples), want);
        let want = "# HELP g g\n# TYPE g gauge\ng -1.0\n# HELP r r\n# TYPE r gauge\nr 0.25\n\
                    # HELP c c\n# TYPE c counter\nc 7.0\n# HELP b b\n# TYPE b summary\n\
                    b{quantile=\"0.5\",} 2.0\nb_count 2.0\nb_sum 5.0\n";
        assert_eq!(prometheus(&samples), want);
        let advanced = mntr(&[("a", Value::Advanced(&summary))]);
        assert!(advanced.ends_with("zk_p50_a\t2\nzk_p95_a\t3\nzk_p99_a\t3\nzk_p999_a\t3\n"), "{advanced}");
    }
}
