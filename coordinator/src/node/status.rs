//! What a node tells of itself: counters, and the figures of the four-letter words. Changes nothing.

use super::Node;
use crate::four_letter::{self, Status};
use crate::tree::watch::ConnectionId;
use common::time::Now;

/// What is counted while serving.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) received: u64,
    pub(super) sent_by_closed: u64,
    writes: u64,
    latency_sum_ms: u64,
    latency_min_ms: u64,
    latency_max_ms: u64,
}

impl Counters {
    /// A write was answered after this many milliseconds.
    pub(super) fn answered_after(&mut self, latency_ms: u64) {
        self.latency_min_ms = if self.writes == 0 { latency_ms } else { self.latency_min_ms.min(latency_ms) };
        self.latency_max_ms = self.latency_max_ms.max(latency_ms);
        self.latency_sum_ms += latency_ms;
        self.writes += 1;
    }
}

impl Node {
    /// The answer to a four-letter word.
    pub(super) fn answer_word(&self, word: &str, asking: ConnectionId, now: Now) -> String {
        four_letter::answer(word, &self.config, &self.status(asking, now))
    }

    fn status(&self, asking: ConnectionId, now: Now) -> Status {
        let counters = &self.counters;
        let mode = match self.ensemble.leader() {
            None => None,
            Some(_) if self.config.is_standalone() => Some("standalone"),
            Some(leader) if leader == self.id => Some("leader"),
            Some(_) if self.config.servers.get(&self.id).is_some_and(|me| me.is_observer) => Some("observer"),
            Some(_) => Some("follower"),
        };
        let connections = self.clients.connections.values();
        let clients: Vec<_> = connections
            .map(|client| {
                let counters = client.connection.counters();
                (client.remote, client.connection.outstanding_count() as u64, counters.received, counters.sent)
            })
            .collect();
        let mean = if counters.writes == 0 { 0.0 } else { counters.latency_sum_ms as f64 / counters.writes as f64 };
        debug_assert!(self.clients.connections.contains_key(&asking), "who asks is connected");
        Status {
            mode,
            latency_ms: (counters.latency_min_ms, mean, counters.latency_max_ms),
            received: counters.received,
            sent: counters.sent_by_closed + clients.iter().map(|(_, _, _, sent)| sent).sum::<u64>(),
            outstanding: clients.iter().map(|(_, outstanding, _, _)| outstanding).sum(),
            zxid: self.tree.zxid(),
            nodes_count: self.tree.nodes_count(),
            watches_count: self.clients.watches.count(),
            ephemerals_count: self.tree.ephemerals_count(),
            data_bytes: self.tree.data_size_bytes(),
            sessions_count: self.tree.sessions().count(),
            uptime_ms: now.mono - self.started_at,
            followers: self.ensemble.followers(),
            quorum_size: self.config.servers.values().filter(|server| !server.is_observer).count(),
            clients,
        }
    }
}
