//! Fetch sessions of followers between their requests. A follower of thousands of partitions says with most requests that
//! nothing is new, and nothing is new for it either: a partition of its session rests from when the follower has all of it
//! and was told so until something happens to the partition, and a request costs by the partitions that do not rest.
//! Kafka 3.9 looks at every partition of a session for every request. Knows no wire format.

use std::collections::BTreeSet;

use super::fetch_session::{FetchContext, SessionError, Told, TopicKey};
use super::serving::{FetchPiece, FetchResult, PieceError, Topics, finish};
use super::waiting::{Deadlines, Parked};
use super::*;

/// What a session of a follower is waiting for.
#[derive(Debug, Default)]
pub struct Standing(Mutex<Awaited>);

#[derive(Debug, Default)]
struct Awaited {
    /// Places in the session of the partitions that do not rest.
    awake: BTreeSet<u64>,
    /// Places of those that do: each request says that the follower still has all of them. A place is in one of the two
    /// sets, and in neither once the session has it no more.
    resting: BTreeSet<u64>,
    /// When the follower asked last.
    heard: Millis,
    /// The follower's broker epoch.
    broker_epoch: i64,
    /// Something came in for it since it asked last.
    is_news: bool,
    /// Its request, if it waits.
    parked: Option<Arc<ParkedFollower>>,
}

/// What a partition knows of a session that is to be told when something happens. Guarded by the partition's lock. Outlives
/// the session: what a follower said in its last one still counts.
pub(super) struct Watch {
    replica: i32,
    standing: Arc<Standing>,
    place: u64,
}

/// What happens to a partition, for the followers that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Something that is told with the next answer.
    Other,
    /// Records, which are told at once where replication is not throttled.
    Records,
    /// The partition is not led as before, which is told at once.
    Leadership,
}

/// What a session says to an event.
struct Roused {
    /// Its request, if that is to be answered.
    parked: Option<Arc<ParkedFollower>>,
    /// The partition was at rest: until then the follower had all.
    had_all_at: Option<Millis>,
}

/// A follower's request that waits for records.
pub struct ParkedFollower {
    id: u64,
    deadline: Millis,
    params: FetchParams,
    answer: Mutex<Option<(FetchContext, Answer)>>,
}

impl std::fmt::Debug for ParkedFollower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParkedFollower").field("id", &self.id).field("deadline", &self.deadline).finish()
    }
}

type Answer = Box<dyn FnOnce(FetchResult) + Send>;

impl ParkedFollower {
    /// Where [`super::waiting::Deadlines`] keeps it.
    pub fn place(&self) -> (Millis, u64) {
        (self.deadline, self.id)
    }

    /// What is needed to answer it; `None` if it was answered before.
    fn take(&self, deadlines: &Deadlines) -> Option<(FetchContext, Answer)> {
        let taken = self.answer.lock().take();
        if taken.is_some() {
            deadlines.forget(self.place());
        }
        taken
    }
}

impl Standing {
    /// The partition at this place, which may be new, is looked at with the next answer.
    pub(super) fn wake(&self, place: u64) {
        let mut state = self.0.lock();
        state.resting.remove(&place);
        state.awake.insert(place);
    }

    /// Nothing is at this place any more.
    pub(super) fn forget(&self, place: u64) {
        let mut state = self.0.lock();
        state.resting.remove(&place);
        state.awake.remove(&place);
    }

    /// The places that do not rest.
    pub(super) fn awake(&self) -> Vec<u64> {
        self.0.lock().awake.iter().copied().collect()
    }

    fn rest(&self, place: u64) {
        let mut state = self.0.lock();
        if state.awake.remove(&place) {
            state.resting.insert(place);
        }
    }

    /// A request comes. Gives an earlier one that still waits, and if the follower is another than before.
    fn begin(&self, broker_epoch: i64, now: Millis) -> (Option<Arc<ParkedFollower>>, bool) {
        let mut state = self.0.lock();
        state.heard = now;
        state.is_news = false;
        let is_other = std::mem::replace(&mut state.broker_epoch, broker_epoch) != broker_epoch;
        (state.parked.take(), is_other)
    }

    /// The request waits from now on; false if something came in meanwhile.
    fn park(&self, parked: &Arc<ParkedFollower>) -> bool {
        let mut state = self.0.lock();
        if !state.is_news {
            state.parked = Some(parked.clone());
        }
        !state.is_news
    }

    /// Something happened at a place; with `is_news` it must be told at once. `None` if nothing is there any more.
    fn rouse(&self, place: u64, is_news: bool) -> Option<Roused> {
        let mut state = self.0.lock();
        let has_rested = state.resting.remove(&place);
        if has_rested {
            state.awake.insert(place);
        } else if !state.awake.contains(&place) {
            return None;
        }
        state.is_news |= is_news;
        let parked = if is_news { state.parked.take() } else { None };
        Some(Roused { parked, had_all_at: has_rested.then_some(state.heard) })
    }
}

/// What was found in the partitions that do not rest.
#[derive(Default)]
struct Found {
    pieces: Vec<FetchPiece>,
    bytes: usize,
    must_answer: bool,
}

impl Replicas {
    /// Serves a follower's request in its session; see [`Replicas::serve_fetch`].
    pub(super) fn serve_standing(
        &self,
        (standing, context, params): (&Arc<Standing>, FetchContext, FetchParams),
        topics: &dyn Topics,
        done: impl FnOnce() -> Answer,
        (now, effects): (Now, &mut Vec<Effect>),
    ) -> Option<FetchResult> {
        let (earlier, is_other) = standing.begin(params.replica_epoch, now.mono);
        if is_other {
            context.wake_all();
        }
        if let Some((_, done)) = earlier.and_then(|earlier| earlier.take(&self.deadlines)) {
            done(Err(SessionError::InvalidEpoch));
        }
        let mut woken = Woken::default();
        let found = self.find_news((standing, &context), &params, Some(topics), (now, &mut woken));
        self.settle(woken, now, effects);
        if params.max_wait_ms == 0 || found.must_answer || found.bytes > 0 {
            return Some(finish(&self.sessions, context, found.pieces, now.mono));
        }
        let (id, deadline) = (self.deadlines.next_id(), now.mono + params.max_wait_ms);
        let answer = Mutex::new(Some((context, done())));
        let parked = Arc::new(ParkedFollower { id, deadline, params, answer });
        effects.extend(self.deadlines.watch(Parked::Follower(parked.clone())).map(Effect::WakeAt));
        if !standing.park(&parked) {
            self.answer_follower(&parked, now, effects);
        }
        None
    }

    /// Answers a request with what there is now. Nothing if it was answered before.
    pub(super) fn answer_follower(&self, parked: &ParkedFollower, now: Now, effects: &mut Vec<Effect>) {
        let Some((context, done)) = parked.take(&self.deadlines) else { return };
        let Some(standing) = context.standing() else { return };
        let mut woken = Woken::default();
        let found = self.find_news((&standing, &context), &parked.params, None, (now, &mut woken));
        done(finish(&self.sessions, context, found.pieces, now.mono));
        // A read can fail a directory; it wakes nobody else, so this ends.
        if !woken.failed_dirs.is_empty() {
            self.settle(woken, now, effects);
        }
    }

    /// Looks at the partitions that do not rest. `topics` are there if the request has just come: then the follower's
    /// positions are noted, and what it has and knows rests.
    fn find_news(
        &self,
        (standing, context): (&Arc<Standing>, &FetchContext),
        params: &FetchParams,
        topics: Option<&dyn Topics>,
        (now, woken): (Now, &mut Woken),
    ) -> Found {
        let awake = context.awake(|id| topics.and_then(|topics| topics.name(id)));
        let name = |target: &fetch_session::Target| target.topic.clone().unwrap_or_else(|| Arc::from(""));
        let names: Vec<(Arc<str>, i32)> =
            awake.iter().map(|(_, target, _)| (name(target), target.key.partition)).collect();
        let partitions = self.find(names.iter().map(|(topic, partition)| (&**topic, *partition)));
        let mut found = Found::default();
        let mut left = usize::try_from(params.max_bytes).unwrap_or(0);
        for ((place, target, told), partition) in awake.into_iter().zip(partitions) {
            let outcome = match (&target.topic, topics, partition) {
                (None, _, _) => Err(PieceError::UnknownTopicId),
                (Some(topic), Some(topics), _) if !topics.may_read(topic) => Err(PieceError::Forbidden),
                (Some(topic), Some(topics), _) if !topics.contains(topic, target.key.partition) => {
                    Err(ReadError::UnknownPartition.into())
                }
                (_, _, None) => Err(ReadError::NotLeaderOrFollower.into()),
                (_, _, Some(partition)) => {
                    let topic_id = match target.key.topic {
                        TopicKey::Id(id) => id,
                        TopicKey::Name(_) => Uuid::nil(),
                    };
                    let wanted = FetchTarget { partition, topic_id, wanted: target.wanted };
                    let budget = (left, found.bytes == 0, topics.is_some());
                    let outcome = wanted.partition.fetch(params, &wanted, budget, (now, woken));
                    if let Ok(data) = &outcome
                        && topics.is_some()
                        && data.records.is_empty()
                        && data.diverging.is_none()
                    {
                        match wanted.partition.rest((standing, place), params, &wanted.wanted, told) {
                            Watched::Rests => continue,
                            Watched::Waits => {}
                            Watched::Changed => found.must_answer = true,
                        }
                    } else {
                        self.count_served(params, std::iter::once(Some(&wanted)), std::slice::from_ref(&outcome), now);
                    }
                    outcome.map_err(PieceError::from)
                }
            };
            let bytes = outcome.as_ref().map_or(0, |data| data.records.len());
            found.bytes += bytes;
            left = left.saturating_sub(bytes);
            found.must_answer |= outcome.as_ref().map_or(true, |data| data.diverging.is_some());
            found.pieces.push(FetchPiece { key: target.key, topic: target.topic, outcome });
        }
        found
    }
}

/// What a partition says to a session that would be told when something happens.
enum Watched {
    /// Nothing is to be told before something happens.
    Rests,
    /// There are no records now; but the follower is to be told something else with the next answer.
    Waits,
    /// Something has happened already.
    Changed,
}

impl Partition {
    /// The follower fetched from the end of the log: the session is told of what happens from now on.
    fn rest(
        &self,
        (standing, place): (&Arc<Standing>, u64),
        params: &FetchParams,
        wanted: &Wanted,
        told: Told,
    ) -> Watched {
        let Some(replica) = params.replica else { return Watched::Changed };
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let is_led = !state.is_offline
            && !state.is_gone
            && self.is_leader(state)
            && wanted.current_leader_epoch.is_none_or(|epoch| epoch == state.leader_epoch);
        if !is_led {
            return Watched::Changed;
        }
        if wanted.fetch_offset != state.log.log_end_offset() {
            return if self.is_kept_back(state, replica) { Watched::Waits } else { Watched::Changed };
        }
        let now = Told { high_watermark: state.high_watermark, log_start_offset: state.log.log_start_offset() };
        let rests = told == now
            && state.high_watermark == wanted.fetch_offset
            && state.in_sync.committed().contains(&replica)
            && !state.in_sync.is_pending()
            && !state.waiters.has_deletes();
        let watches = &mut state.waiters.standing;
        if let Some(at) = watches.iter().position(|watch| watch.replica == replica) {
            let other = watches.swap_remove(at);
            // Another session of the follower that still has the partition must look by itself from now on.
            if !Arc::ptr_eq(&other.standing, standing) {
                other.standing.rouse(other.place, false);
            }
        }
        watches.push(Watch { replica, standing: standing.clone(), place });
        if rests {
            standing.rest(place);
            return Watched::Rests;
        }
        Watched::Waits
    }

    /// Something happened: the sessions of followers look at this partition with their next answers, or at once. Comes
    /// before a new epoch forgets what followers had.
    pub(super) fn rouse(&self, state: &mut State, event: Event, woken: &mut Woken) {
        for watch in std::mem::take(&mut state.waiters.standing) {
            let is_told = match event {
                Event::Other => false,
                Event::Records => !self.is_kept_back(state, watch.replica),
                Event::Leadership => true,
            };
            let Some(roused) = watch.standing.rouse(watch.place, is_told) else { continue };
            woken.followers.extend(roused.parked);
            if let Some(at) = roused.had_all_at {
                state.in_sync.had_all(watch.replica, at);
            }
            if event == Event::Other {
                state.waiters.standing.push(watch);
            }
        }
    }
}
