//! Who is in sync: follower positions, the in-sync replicas (committed and proposed), and what follows from them, the
//! high watermark above all. Decides only; never writes a log, never sends AlterPartition itself.

use std::collections::BTreeMap;

use common::mutants;
use common::time::Millis;

/// The rules of one broker that do not change with a partition.
#[derive(Clone, Copy, Debug)]
pub struct LagRule {
    /// This broker.
    pub local: i32,
    /// `replica.lag.time.max.ms`: a follower that was not caught up for longer is out of sync.
    pub max_lag_ms: u64,
}

/// What the leader knows of one follower, from its fetch requests. Lost with leadership and rebuilt from the next ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    /// Its log end offset: the offset it asked for last. -1 before its first fetch.
    pub end_offset: i64,
    /// Its log start offset; -1 before its first fetch.
    pub start_offset: i64,
    /// The leader's end offset when it fetched last.
    leader_end_at_fetch: i64,
    /// When it fetched last.
    last_fetch: Option<Millis>,
    /// The latest moment at which it is known to have had all that the leader had at that moment.
    pub last_caught_up: Option<Millis>,
    /// Broker epoch of its last fetch, -1 if it told none.
    pub broker_epoch: i64,
}

impl Follower {
    fn unknown() -> Follower {
        Follower {
            end_offset: -1,
            start_offset: -1,
            leader_end_at_fetch: -1,
            last_fetch: None,
            last_caught_up: None,
            broker_epoch: -1,
        }
    }

    /// Takes note of a fetch. A fetch from the leader's end proves that the follower is caught up now; one from where the
    /// leader's end was at the fetch before proves that it was caught up then. Without the second rule a follower that
    /// keeps up with a busy leader would never count as caught up.
    fn fetched(&mut self, fetch: &FollowerFetch, now: Millis) {
        if fetch.end_offset >= fetch.leader_end {
            self.last_caught_up = self.last_caught_up.max(Some(now));
        } else if fetch.end_offset >= self.leader_end_at_fetch {
            self.last_caught_up = self.last_caught_up.max(self.last_fetch);
        }
        self.end_offset = fetch.end_offset;
        self.start_offset = fetch.start_offset;
        self.leader_end_at_fetch = self.leader_end_at_fetch.max(fetch.leader_end);
        self.last_fetch = Some(now);
        self.broker_epoch = fetch.broker_epoch;
    }

    fn is_caught_up(&self, leader_end: i64, now: Millis, rule: &LagRule) -> bool {
        self.end_offset == leader_end || self.last_caught_up.is_some_and(|at| now - at <= rule.max_lag_ms)
    }
}

/// One fetch request of a follower, as far as the leader keeps it.
#[derive(Clone, Copy, Debug)]
pub struct FollowerFetch {
    /// The follower's broker id.
    pub replica: i32,
    /// The offset it asked for: it has everything below.
    pub end_offset: i64,
    /// Its log start offset.
    pub start_offset: i64,
    /// The leader's end offset just before the read.
    pub leader_end: i64,
    /// Its broker epoch, -1 if unknown.
    pub broker_epoch: i64,
}

/// A proposed change of the in-sync replicas, on its way to the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// A follower came into sync. It counts at once: it only makes the high watermark stricter.
    Expand(i32),
    /// Followers fell out of sync. They count until the controller agrees: dropping them early could commit records
    /// that the next leader does not have (KIP-497).
    Shrink,
}

/// What is asked of the controller with AlterPartition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Number of the proposal within the partition; its answer carries it back.
    pub number: u64,
    /// The whole new set, ascending.
    pub isr: Vec<i32>,
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done: the set and its partition epoch are now these.
    Accepted {
        /// In-sync replicas.
        isr: Vec<i32>,
        /// Partition epoch (version of the state znode).
        partition_epoch: i32,
        /// Leader epoch of the answer.
        leader_epoch: i32,
        /// See [`InSync::assign`].
        eligible_min_isr: i32,
    },
    /// The controller knows this epoch and did not do it: the committed set stands.
    NotDone,
    /// Our state is old; the controller's next LeaderAndIsr brings the new one, until then nothing is proposed.
    Stale,
    /// Unknown; ask again.
    Retry,
}

/// Replicas of a partition as its leader sees them.
#[derive(Clone, Debug)]
pub struct InSync {
    rule: LagRule,
    followers: BTreeMap<i32, Follower>,
    committed: Vec<i32>,
    eligible_min: usize,
    pending: Option<(Change, Proposal)>,
    proposals: u64,
}

impl InSync {
    /// No replicas: this broker does not lead.
    pub fn new(rule: LagRule) -> InSync {
        InSync { rule, followers: BTreeMap::new(), committed: Vec::new(), eligible_min: 0, pending: None, proposals: 0 }
    }

    /// Takes replicas and in-sync replicas from the controller. A pending proposal is void. `eligible_min_isr` is the
    /// `min.insync.replicas` by which the controller counts replicas as eligible that left: with fewer in sync nothing
    /// may be committed, whatever this broker knows of the setting. 0 or less: nobody is eligible.
    pub fn assign(&mut self, replicas: &[i32], isr: &[i32], eligible_min_isr: i32) {
        self.followers.retain(|id, _| replicas.contains(id));
        for id in replicas.iter().filter(|id| **id != self.rule.local) {
            self.followers.entry(*id).or_insert_with(Follower::unknown);
        }
        self.committed = isr.to_vec();
        self.committed.sort_unstable();
        self.eligible_min = usize::try_from(eligible_min_isr).unwrap_or(0);
        self.pending = None;
    }

    /// Forgets all: this broker leads no longer.
    pub fn clear(&mut self) {
        self.followers.clear();
        self.committed.clear();
        self.eligible_min = 0;
        self.pending = None;
    }

    /// A leader epoch begins at `epoch_start`. Followers in sync get a full lag time to show up; the others count as
    /// never caught up, so that they hold no high watermark back.
    pub fn begin_epoch(&mut self, epoch_start: i64, was_leader: bool, now: Millis) {
        for (id, follower) in &mut self.followers {
            let at = self.committed.contains(id).then_some(now);
            if was_leader {
                follower.leader_end_at_fetch = epoch_start;
                follower.last_fetch = at;
            } else {
                *follower = Follower::unknown();
            }
            follower.last_caught_up = at;
        }
    }

    /// The set that the controller committed, ascending.
    pub fn committed(&self) -> &[i32] {
        &self.committed
    }

    /// Size of the set including a proposed newcomer: what acks=all must wait for.
    pub fn maximal_len(&self) -> usize {
        self.committed.len() + usize::from(matches!(self.pending, Some((Change::Expand(_), _))))
    }

    /// True while AlterPartition is unanswered.
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// All followers by broker id.
    pub fn followers(&self) -> &BTreeMap<i32, Follower> {
        &self.followers
    }

    /// Of some brokers the follower in sync that has an offset and most beyond it. As Kafka: who is not in sync may stay
    /// behind, and a consumer would be sent to it again and again.
    pub fn nearest(&self, brokers: &[i32], offset: i64) -> Option<i32> {
        let has_it = |follower: &Follower| follower.start_offset <= offset && offset <= follower.end_offset;
        let in_sync = brokers.iter().filter(|id| self.committed().contains(id));
        let candidates = in_sync.filter_map(|id| self.followers.get(id).filter(|it| has_it(it)).map(|it| (it, *id)));
        candidates.max_by_key(|(follower, id)| (follower.end_offset, follower.last_caught_up, *id)).map(|(_, id)| id)
    }

    /// `min.insync.replicas`, or what the controller holds this leader to if that is more; at most the number of replicas.
    pub fn effective_min(&self, configured: i32) -> usize {
        usize::try_from(configured).unwrap_or(0).max(self.eligible_min).min(self.followers.len() + 1)
    }

    /// Notes a fetch; false if the broker is no replica of the partition.
    pub fn fetched(&mut self, fetch: &FollowerFetch, now: Millis) -> bool {
        match self.followers.get_mut(&fetch.replica) {
            Some(follower) => {
                follower.fetched(fetch, now);
                true
            }
            None => false,
        }
    }

    /// A follower had all that the leader had when it asked at `at`. Not to be called once a new epoch has begun, which
    /// forgets that for followers out of sync.
    pub fn had_all(&mut self, replica: i32, at: Millis) {
        if let Some(follower) = self.followers.get_mut(&replica) {
            follower.last_fetch = follower.last_fetch.max(Some(at));
            follower.last_caught_up = follower.last_caught_up.max(Some(at));
        }
    }

    /// The high watermark that the followers allow: the least end offset of all in sync, of a proposed newcomer, and of
    /// those that are caught up and about to join (otherwise the high watermark would run away from them forever).
    /// `is_alive` tells if a broker is known to be alive.
    pub fn high_watermark(&self, leader_end: i64, now: Millis, is_alive: impl Fn(i32) -> bool) -> i64 {
        let mut least = leader_end;
        for (id, follower) in &self.followers {
            if mutants::is_on("high-watermark-early") {
                break;
            }
            if follower.end_offset < least
                && (self.is_in_maximal(*id) || (follower.is_caught_up(leader_end, now, &self.rule) && is_alive(*id)))
            {
                least = follower.end_offset;
            }
        }
        least
    }

    /// Proposes `replica` if it may join: it has all up to the high watermark and up to this epoch's start (KIP-101:
    /// before, it could miss records that the previous leader committed).
    pub fn expand(&mut self, replica: i32, high_watermark: i64, epoch_start: i64) -> Option<Proposal> {
        if self.pending.is_some() || self.committed.contains(&replica) {
            return None;
        }
        let end = self.followers.get(&replica)?.end_offset;
        if (end < high_watermark || end < epoch_start) && !mutants::is_on("lagging-in-isr") {
            return None;
        }
        let mut isr = self.committed.clone();
        isr.push(replica);
        isr.sort_unstable();
        Some(self.propose(Change::Expand(replica), isr))
    }

    /// Proposes to drop the followers that are neither at `leader_end` nor were caught up within the allowed lag.
    pub fn shrink(&mut self, leader_end: i64, now: Millis) -> Option<Proposal> {
        if self.pending.is_some() {
            return None;
        }
        let is_in_sync = |id: &i32| {
            *id == self.rule.local
                || self.followers.get(id).is_some_and(|follower| follower.is_caught_up(leader_end, now, &self.rule))
        };
        let isr: Vec<i32> = self.committed.iter().copied().filter(is_in_sync).collect();
        (isr.len() < self.committed.len()).then(|| self.propose(Change::Shrink, isr))
    }

    /// The proposal whose answer is awaited, if it is still `number`.
    pub fn pending(&self, number: u64) -> Option<&Proposal> {
        self.pending.as_ref().map(|(_, proposal)| proposal).filter(|proposal| proposal.number == number)
    }

    /// The controller committed `isr`.
    pub fn commit(&mut self, isr: &[i32], eligible_min_isr: i32) {
        self.committed = isr.to_vec();
        self.committed.sort_unstable();
        self.eligible_min = usize::try_from(eligible_min_isr).unwrap_or(0);
        self.pending = None;
    }

    /// The proposal is known not to have happened.
    pub fn withdraw(&mut self) {
        self.pending = None;
    }

    fn propose(&mut self, change: Change, isr: Vec<i32>) -> Proposal {
        self.proposals += 1;
        let proposal = Proposal { number: self.proposals, isr };
        self.pending = Some((change, proposal.clone()));
        proposal
    }

    fn is_in_maximal(&self, id: i32) -> bool {
        self.committed.contains(&id) || matches!(self.pending, Some((Change::Expand(new), _)) if new == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: LagRule = LagRule { local: 1, max_lag_ms: 30_000 };

    fn leader(isr: &[i32]) -> InSync {
        let mut in_sync = InSync::new(RULE);
        in_sync.assign(&[1, 2, 3], isr, 0);
        in_sync.begin_epoch(0, false, Millis(100_000));
        in_sync
    }

    fn fetch(in_sync: &mut InSync, replica: i32, end_offset: i64, leader_end: i64, now: u64) {
        let fetch = FollowerFetch { replica, end_offset, start_offset: 0, leader_end, broker_epoch: -1 };
        assert!(in_sync.fetched(&fetch, Millis(now)));
    }

    fn high_watermark(in_sync: &InSync, leader_end: i64, now: u64) -> i64 {
        in_sync.high_watermark(leader_end, Millis(now), |_| true)
    }

    #[test]
    fn the_high_watermark_waits_for_all_in_sync() {
        let mut in_sync = leader(&[1, 2, 3]);
        assert_eq!(high_watermark(&in_sync, 10, 100_000), -1, "nothing known of the followers yet");
        fetch(&mut in_sync, 2, 7, 10, 100_001);
        fetch(&mut in_sync, 3, 5, 10, 100_001);
        assert_eq!(high_watermark(&in_sync, 10, 100_001), 5);
        let mut alone = leader(&[1]);
        assert_eq!(high_watermark(&alone, 10, 100_000), 10);
        fetch(&mut alone, 2, 10, 10, 100_001);
        assert_eq!(high_watermark(&alone, 12, 100_002), 10, "who is caught up and about to join is waited for");
        assert_eq!(alone.high_watermark(12, Millis(100_002), |_| false), 12, "unless its broker is dead");
        assert_eq!(high_watermark(&alone, 12, 140_002), 12, "or it lags too long");
    }

    #[test]
    fn a_newcomer_counts_before_it_is_committed_and_a_leaver_after() {
        let mut in_sync = leader(&[1]);
        fetch(&mut in_sync, 2, 4, 10, 100_001);
        assert_eq!(in_sync.expand(2, 5, 0), None, "below the high watermark");
        assert_eq!(in_sync.expand(2, 4, 5), None, "below the start of the epoch");
        assert_eq!(in_sync.expand(2, 4, 4), Some(Proposal { number: 1, isr: vec![1, 2] }));
        assert_eq!(in_sync.committed(), [1]);
        assert_eq!(in_sync.maximal_len(), 2);
        assert_eq!(high_watermark(&in_sync, 10, 900_000), 4);
        assert_eq!(in_sync.expand(3, -1, -1), None, "one proposal at a time");
        in_sync.commit(&[2, 1], 0);
        assert_eq!(in_sync.committed(), [1, 2]);

        assert_eq!(in_sync.shrink(10, Millis(130_000)), Some(Proposal { number: 2, isr: vec![1] }));
        assert_eq!(in_sync.maximal_len(), 2);
        assert_eq!(high_watermark(&in_sync, 10, 900_000), 4, "a leaver holds the high watermark until it is committed");
        in_sync.withdraw();
        assert_eq!(in_sync.committed(), [1, 2]);
    }

    #[test]
    fn a_follower_of_a_busy_leader_stays_in_sync() {
        let mut in_sync = leader(&[1, 2]);
        let mut leader_end = 0;
        for step in 0..100 {
            let end = leader_end;
            leader_end += 10;
            fetch(&mut in_sync, 2, end, leader_end, 100_000 + step * 1000);
        }
        assert_eq!(in_sync.shrink(leader_end, Millis(200_000)), None);
        assert_eq!(in_sync.shrink(leader_end, Millis(228_001)).unwrap().isr, [1], "stuck since 198000");
    }

    #[test]
    fn who_has_all_is_in_sync_however_long_ago_it_fetched() {
        let mut in_sync = leader(&[1, 2]);
        fetch(&mut in_sync, 2, 10, 10, 100_000);
        assert_eq!(in_sync.shrink(10, Millis(10_000_000)), None);
        assert_eq!(in_sync.shrink(11, Millis(10_000_000)).unwrap().isr, [1]);
    }

    #[test]
    fn a_new_epoch_gives_those_in_sync_time_and_no_one_else() {
        let mut in_sync = leader(&[1, 2]);
        fetch(&mut in_sync, 3, 10, 10, 100_000);
        in_sync.assign(&[1, 2, 3], &[1, 2], 0);
        in_sync.begin_epoch(10, true, Millis(200_000));
        assert_eq!(in_sync.followers()[&3].last_caught_up, None);
        assert_eq!(in_sync.shrink(11, Millis(230_000)), None);
        assert_eq!(in_sync.shrink(11, Millis(230_001)).unwrap().isr, [1]);
    }

    #[test]
    fn the_minimum_is_never_above_the_number_of_replicas() {
        let in_sync = leader(&[1]);
        assert_eq!([1, 2, 5, -1].map(|min| in_sync.effective_min(min)), [1, 2, 3, 0]);
    }
}
