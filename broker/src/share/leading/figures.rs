//! What is counted of share partitions, and how they stand, for those who watch. Decides nothing.

use super::{Acked, Held, Shares, Stage};
use crate::broker::Broker;
use crate::share::partition::{AckBatch, AckType};
use std::sync::Arc;

/// How a share partition stands.
pub(crate) struct ShareFigures {
    pub(crate) group: String,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    /// Records from the first that is not done to the last that was ever delivered.
    pub(crate) in_flight: i64,
    /// Records whose lock ended before anything was said of them.
    pub(crate) lock_timeouts: u64,
}

impl Shares {
    /// How those stand that are read.
    pub(crate) fn figures(&self) -> Vec<ShareFigures> {
        let all: Vec<Arc<Held>> = self.table.lock().held.values().cloned().collect();
        let figures = |held: &Arc<Held>| {
            let Stage::Serving(partition) = &held.state.lock().stage else { return None };
            Some(ShareFigures {
                group: held.key.group.clone(),
                topic: held.topic.clone(),
                partition: held.key.partition,
                in_flight: partition.end() - partition.start(),
                lock_timeouts: held.lock_timeouts.get(),
            })
        };
        all.iter().filter_map(figures).collect()
    }
}

impl Broker {
    /// Counts what is said of records when it stands.
    pub(super) fn counting(self: &Arc<Self>, acks: &[AckBatch], then: Acked) -> Acked {
        let mut counts = [0; 4];
        for ack in acks {
            let of_each = if ack.types.len() == 1 { ack.last.saturating_sub(ack.first).saturating_add(1) } else { 1 };
            for kind in &ack.types {
                let count = match kind {
                    AckType::Accept => &mut counts[0],
                    AckType::Release => &mut counts[1],
                    AckType::Reject => &mut counts[2],
                    AckType::Renew => &mut counts[3],
                    AckType::Gap => continue,
                };
                *count += u64::try_from(of_each).unwrap_or(0);
            }
        }
        let broker = self.clone();
        Box::new(move |result| {
            if result.is_ok() {
                let counters = &broker.shares.counters;
                let all = [&counters.accepted, &counters.released, &counters.rejected, &counters.renewed];
                all.into_iter().zip(counts).for_each(|(counter, count)| counter.add(count));
            }
            then(result);
        })
    }
}
