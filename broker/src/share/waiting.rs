//! The fetches of members of share groups that wait: because they found nothing, or because there is no session for them.
//! Reads nothing itself; who tries them again is the business of what they wait for (`leading.rs`).

use super::ShareKey;
use super::leading::{Fetched, Held, ShareOrder, Shares};
use super::session::Member;
use crate::broker::Broker;
use common::kafka::error::ErrorCode;
use common::time::{Millis, Now};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Waiting {
    last_id: u64,
    pub(super) fetches: BTreeMap<u64, Arc<Parked>>,
    pub(super) deadlines: BTreeSet<(Millis, u64)>,
    by_key: BTreeMap<ShareKey, BTreeSet<u64>>,
}

/// A fetch that waits.
pub(super) struct Parked {
    pub(super) id: u64,
    pub(super) deadline: Millis,
    pub(super) member: Arc<str>,
    pub(super) order: ShareOrder,
    pub(super) targets: Vec<Result<Arc<Held>, ErrorCode>>,
    /// Taken by who answers. Held while the fetch is tried, so that nobody else tries it.
    pub(super) done: Mutex<Option<Fetched>>,
}

impl Shares {
    pub(super) fn park(&self, parked: Parked) -> Arc<Parked> {
        let mut waiting = self.waiting.lock();
        waiting.last_id += 1;
        let parked = Arc::new(Parked { id: waiting.last_id, ..parked });
        waiting.deadlines.insert((parked.deadline, parked.id));
        for held in parked.targets.iter().flatten() {
            waiting.by_key.entry(held.key.clone()).or_default().insert(parked.id);
        }
        waiting.fetches.insert(parked.id, parked.clone());
        parked
    }

    pub(super) fn unpark(&self, parked: &Parked) {
        let mut waiting = self.waiting.lock();
        waiting.fetches.remove(&parked.id);
        waiting.deadlines.remove(&(parked.deadline, parked.id));
        for held in parked.targets.iter().flatten() {
            if let Some(ids) = waiting.by_key.get_mut(&held.key) {
                ids.remove(&parked.id);
                if ids.is_empty() {
                    waiting.by_key.remove(&held.key);
                }
            }
        }
    }

    fn of_member(&self, member: &Member) -> Vec<Arc<Parked>> {
        let waiting = self.waiting.lock();
        waiting.fetches.values().filter(|parked| parked.order.member == *member).cloned().collect()
    }

    pub(super) fn waiting_for(&self, key: &ShareKey) -> Vec<Arc<Parked>> {
        let waiting = self.waiting.lock();
        let ids = waiting.by_key.get(key);
        ids.into_iter().flatten().filter_map(|id| waiting.fetches.get(id).cloned()).collect()
    }
}

impl Broker {
    /// Waits as a fetch that reads nothing.
    pub(crate) fn share_wait(&self, order: ShareOrder, done: Fetched, now: Now) {
        let deadline = now.mono + order.max_wait_ms;
        let member = Arc::from(order.member.1.as_str());
        self.shares.park(Parked { id: 0, deadline, member, order, targets: Vec::new(), done: Mutex::new(Some(done)) });
        self.outbox.wake_at(deadline);
    }

    /// What a member waits for in a session that is over is not for it: what came now would be locked for nobody.
    pub(crate) fn end_share_waiting(&self, member: &Member, now: Now) {
        for parked in self.shares.of_member(member) {
            let done = parked.done.lock().take();
            self.shares.unpark(&parked);
            if let Some(done) = done {
                done(Vec::new(), now);
            }
        }
    }
}
