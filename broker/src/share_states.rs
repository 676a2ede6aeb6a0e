//! Has the share coordinator make, look at and delete the states that groups of this broker decided on, and tells the groups
//! what became of it. Decides nothing.

use crate::broker::Broker;
use crate::group::{Initialize, StatesMade};
use common::kafka::error::ErrorCode;
use common::time::Now;
use std::sync::Arc;
use uuid::Uuid;

/// What became of each share partition.
pub(crate) type Outcomes = Vec<(Uuid, i32, ErrorCode)>;
type Then = Box<dyn FnOnce(Outcomes, Now) + Send>;

impl Broker {
    /// Makes states, and tells the group; `then` hears once that is recorded.
    pub(crate) fn make_share_states(self: &Arc<Self>, group: String, initialize: Initialize, then: Then) {
        let broker = self.clone();
        let Initialize { epoch, partitions } = initialize;
        let asked = partitions.into_iter().map(|(topic, partition, start)| (topic, partition, epoch, start)).collect();
        let name = group.clone();
        let told = move |outcomes: Vec<(Uuid, i32, Result<_, ErrorCode>)>, now: Now| {
            let outcomes = codes(outcomes);
            let made: StatesMade =
                outcomes.iter().map(|(topic, number, code)| (*topic, *number, *code == ErrorCode::None)).collect();
            let failed = made.iter().filter(|(.., is_made)| !is_made).count();
            if failed > 0 {
                let code = outcomes.iter().map(|(.., code)| *code).find(|code| *code != ErrorCode::None);
                tracing::warn!(group, failed, ?code, "states of a share group were not made; they are asked for again");
            }
            let recorder = broker.clone();
            let waiter = Box::new(move |_| recorder.outbox.run(Box::new(move |now| then(outcomes, now))));
            broker.with_groups(now, |groups, io| groups.share_states_made(&group, &made, waiter, io));
        };
        self.initialize_share_state(&name, asked, Box::new(told));
    }

    /// Deletes states; `then` hears what became of each.
    pub(crate) fn delete_share_states(self: &Arc<Self>, group: String, asked: Vec<(Uuid, i32)>, then: Then) {
        let told = move |outcomes: Vec<(Uuid, i32, Result<_, ErrorCode>)>, now: Now| then(codes(outcomes), now);
        self.delete_share_state(&group, asked, Box::new(told));
    }

    /// Topics changed: what share groups of this broker had of those that are gone is deleted.
    pub(crate) fn on_shared_topics_changed(self: &Arc<Self>, names: &[String], now: Now) {
        let gone = self.with_groups(now, |groups, io| groups.on_shared_topics_changed(names, io));
        for (group, partitions) in gone {
            // The share coordinator sees by itself that a topic is gone, too; this is sooner.
            self.delete_share_states(group, partitions, Box::new(|_, _| {}));
        }
    }
}

fn codes<T>(outcomes: Vec<(Uuid, i32, Result<T, ErrorCode>)>) -> Outcomes {
    outcomes
        .into_iter()
        .map(|(topic, number, result)| (topic, number, result.err().unwrap_or(ErrorCode::None)))
        .collect()
}
