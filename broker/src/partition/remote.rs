//! A partition part of which is in the remote store (KIP-405): what whoever copies, reads and removes there needs to know of
//! it, and fetches that wait for what is read there. Never reads the store itself.

use super::follower::EpochEnd;
use super::waiting::Done;
use super::*;
use crate::log::epochs::EpochEntry;
use crate::log::remote::{RemoteState, SegmentCopy};
use crate::metrics::RemoteCounters;
use crate::tiered::{LogFacts, Place, Role};

/// A partition with a remote store, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteView {
    /// Which.
    pub place: Place,
    /// What this broker is to it.
    pub role: Role,
    /// High watermark.
    pub high_watermark: i64,
    /// What its log says.
    pub facts: LogFacts,
    /// The last offset in the remote store.
    pub highest_copied: i64,
    /// Full segments that are not in the remote store: bytes, and how many.
    pub to_copy: (u64, usize),
}

/// A fetch of which one partition must be read in the remote store. As in Kafka the first one that must; the others are asked
/// for again.
pub struct RemoteFetch {
    /// What holds for all its partitions.
    pub params: FetchParams,
    pub(super) targets: Vec<Option<FetchTarget>>,
    pub(super) outcomes: Vec<FetchOutcome>,
    pub(super) slot: usize,
    /// Bytes that the other partitions gave.
    pub(super) bytes: usize,
    pub(super) done: Done<FetchOutcome>,
    /// When it was asked.
    pub asked_at: Millis,
}

impl std::fmt::Debug for RemoteFetch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RemoteFetch of slot {} of {}", self.slot, self.outcomes.len())
    }
}

impl RemoteFetch {
    /// The partition that is to be read, how many bytes of it at most, and whether one batch is to be given at least.
    pub fn wanted(&self) -> Option<(&FetchTarget, usize, bool)> {
        let target = self.targets.get(self.slot)?.as_ref()?;
        let left = usize::try_from(self.params.max_bytes).unwrap_or(0).saturating_sub(self.bytes);
        Some((target, left.min(usize::try_from(target.wanted.max_bytes).unwrap_or(0)), self.bytes == 0))
    }
}

impl RemoteFetch {
    /// No records, this time.
    pub fn nothing(&self) -> FetchOutcome {
        let mut outcome = self.outcomes[self.slot].clone();
        if let Ok(data) = &mut outcome {
            data.is_in_remote = false;
        }
        outcome
    }
}

impl Partition {
    /// `None` if nothing of it goes to a remote store, or if it has no topic id, or is not here.
    pub fn remote_view(&self) -> Option<RemoteView> {
        let state = self.state.lock();
        if state.is_offline || state.is_gone || state.log.config().remote.is_none() {
            return None;
        }
        let (config, log) = (state.log.config(), &state.log);
        let (only_local_bytes, only_local_count) = log.only_local();
        let leads = self.is_leader(&state);
        Some(RemoteView {
            place: Place { topic: self.topic.clone(), topic_id: state.topic_id?, partition: self.index },
            role: if leads { Role::Leader(state.leader_epoch) } else { Role::Follower },
            high_watermark: state.high_watermark,
            facts: LogFacts {
                retention_ms: config.retention_ms,
                retention_bytes: config.retention_bytes,
                only_local_bytes,
                log_start_offset: log.log_start_offset(),
                local_start_offset: log.local_start_offset(),
                log_end_offset: log.log_end_offset(),
                epochs: log.epochs().entries().to_vec(),
            },
            highest_copied: log.highest_copied(),
            to_copy: (only_local_bytes.saturating_sub(log.active_bytes()), only_local_count.saturating_sub(1)),
        })
    }

    /// Which partition it is and what this broker is to it; `None` as of [`Partition::remote_view`].
    pub fn remote_role(&self) -> Option<(Place, Role)> {
        let state = self.state.lock();
        if state.is_offline || state.is_gone || state.log.config().remote.is_none() || state.leader.is_none() {
            return None;
        }
        let place = Place { topic: self.topic.clone(), topic_id: state.topic_id?, partition: self.index };
        let leads = self.is_leader(&state);
        Some((place, if leads { Role::Leader(state.leader_epoch) } else { Role::Follower }))
    }

    fn is_in_role(&self, state: &State, role: Role) -> bool {
        match role {
            Role::Leader(epoch) => self.is_leader(state) && state.leader_epoch == epoch,
            Role::Follower => !self.is_leader(state),
        }
    }

    /// The next segment to be copied, if this broker leads in this epoch.
    pub fn next_copy(&self, epoch: i32) -> Result<Option<SegmentCopy>, LogError> {
        let state = self.state.lock();
        if !self.is_in_role(&state, Role::Leader(epoch)) || state.log.config().remote.is_none() {
            return Ok(None);
        }
        state.log.next_copy(state.high_watermark)
    }

    /// What of the log's history is in the remote store, by its leader epochs and its end; no effect in another role.
    pub fn note_copied(&self, role: Role, highest: impl Fn(&[EpochEntry], i64) -> i64) {
        let mut state = self.state.lock();
        if self.is_in_role(&state, role) {
            let log = &mut state.log;
            log.set_highest_copied(highest(log.epochs().entries(), log.log_end_offset()));
        }
    }

    /// What lies before was removed from the remote store, or never was there. False if the log does not begin there now.
    pub(super) fn start_at(&self, epoch: i32, offset: i64, woken: &mut Woken) -> bool {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let is_ours = !state.is_offline && !state.is_gone && self.is_in_role(state, Role::Leader(epoch));
        if !is_ours || offset > state.high_watermark {
            return false;
        }
        if let Err(error) = state.log.set_log_start_offset(offset) {
            self.note_failure(state, &error, woken);
            return false;
        }
        self.rouse(state, Event::Other, woken);
        state.log.log_start_offset() >= offset
    }

    /// Aborted transactions of `from..to` that are known here.
    pub fn aborted_here(&self, from: i64, to: i64) -> Result<Vec<AbortedTxn>, LogError> {
        self.state.lock().log.aborted_transactions(from, to)
    }

    /// Goes on as a follower behind what is in the remote store.
    pub(super) fn restart_behind(
        &self,
        leader_epoch: i32,
        behind: &RemoteState,
        now: Now,
    ) -> Result<Position, FollowError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        self.check_following(state, leader_epoch)?;
        tracing::info!(
            topic = &*self.topic,
            partition = self.index,
            end = state.log.log_end_offset(),
            to = behind.next_offset,
            "going on behind the remote store"
        );
        let restarted = state.log.restart_behind(behind, now);
        restarted.map_err(|error| super::following::follow_error(&error))?;
        state.truncate_future(0)?;
        state.set_high_watermark(behind.next_offset);
        state.first_dirty_offset = None;
        Ok(state.position())
    }
}

impl Replicas {
    /// Has the log of a partition that this broker leads in this epoch begin at an offset; false if it does not.
    pub fn start_at(&self, place: &Place, (epoch, offset): (i32, i64), now: Now, effects: &mut Vec<Effect>) -> bool {
        let Some(partition) = self.get(&place.topic, place.partition) else { return false };
        let mut woken = Woken::default();
        let holds = partition.start_at(epoch, offset, &mut woken);
        self.settle(woken, now, effects);
        holds
    }

    /// A leader's answer to [`Effect::EpochEnds`]; `None` if it gave none.
    pub fn on_epochs(
        &self,
        (leader, number): (i32, u32),
        answer: Option<Vec<EpochEnd>>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(fetcher) = self.fetchers.lock().get(&(leader, number)).cloned() else { return };
        let mut fetcher = fetcher.lock();
        fetcher.on_epochs(answer, now.mono);
        self.send_next(&mut fetcher, (leader, number), now, effects);
    }

    /// What is in the remote store for [`Effect::Rebuild`]; `None` if that cannot be told now. The partition may follow by
    /// another fetcher of the leader meanwhile.
    pub fn on_rebuilt(
        &self,
        leader: i32,
        (ask, behind): (&RebuildAsk, Option<&RemoteState>),
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let fetchers: Vec<_> = {
            let fetchers = self.fetchers.lock();
            fetchers.range((leader, 0)..=(leader, u32::MAX)).map(|(id, fetcher)| (*id, fetcher.clone())).collect()
        };
        for (id, fetcher) in fetchers {
            let mut fetcher = fetcher.lock();
            fetcher.on_rebuilt(ask, behind, now);
            self.send_next(&mut fetcher, id, now, effects);
        }
    }

    /// Counts what is done in the remote store for a partition, for its topic and for all.
    pub fn count_remote(&self, topic: &str, partition: i32, add: impl Fn(&RemoteCounters)) {
        match self.get(topic, partition) {
            Some(partition) => partition.count(|counters| add(&counters.remote)),
            None => add(&self.shared.counters.all.remote),
        }
    }

    /// The remote store was read, or could not be: the fetch is answered.
    pub fn finish_remote(&self, fetch: RemoteFetch, outcome: FetchOutcome, now: Now) {
        let RemoteFetch { params, targets, mut outcomes, slot, done, .. } = fetch;
        outcomes[slot] = outcome;
        self.count_served(&params, targets.iter().map(Option::as_ref), &outcomes, now);
        done(outcomes);
    }
}
