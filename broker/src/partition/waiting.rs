//! Parked produce, fetch and delete-records requests: what they wait for and until when. Each partition lists its own, so
//! that an append touches only those that wait for it. Never reads a log; the answer itself is the caller's closure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::time::Millis;
use parking_lot::Mutex;

use super::standing::{ParkedFollower, Watch};
use super::{DeleteOutcome, FetchOutcome, FetchParams, FetchTarget, Isolation, Partition, ProduceOutcome};

/// Called once with the outcome of each partition of the request, in request order. It may encode and send; it must
/// not call a machine, because it can run in the middle of another one's call.
pub type Done<T> = Box<dyn FnOnce(Vec<T>) + Send>;

/// A request over several partitions that is answered when the last of them has its outcome.
pub struct Joined<T> {
    id: u64,
    deadline: Millis,
    state: Mutex<Option<JoinState<T>>>,
}

struct JoinState<T> {
    slots: Vec<(T, bool)>,
    /// Slots that wait, and one more until [`Joined::seal`].
    waiting: usize,
    /// There from [`Joined::seal`] on.
    done: Option<Done<T>>,
}

impl<T: Clone> Joined<T> {
    /// A request of `slots` partitions, each with the outcome `initial` until it gets its own.
    pub fn new(id: u64, slots: usize, initial: &T, deadline: Millis) -> Arc<Joined<T>> {
        let slots = vec![(initial.clone(), false); slots];
        Arc::new(Joined { id, deadline, state: Mutex::new(Some(JoinState { slots, waiting: 1, done: None })) })
    }

    /// Unique among the parked requests of a broker.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The outcome of a partition that needs no waiting.
    pub fn settle(&self, slot: usize, outcome: T) {
        if let Some(state) = self.state.lock().as_mut() {
            state.slots[slot] = (outcome, false);
        }
    }

    /// A partition must wait; `outcome` is its outcome if nothing goes wrong. The caller lists the request with the
    /// partition while it holds the partition's lock, so that no event is missed.
    pub fn wait(&self, slot: usize, outcome: T) {
        if let Some(state) = self.state.lock().as_mut() {
            state.slots[slot] = (outcome, true);
            state.waiting += 1;
        }
    }

    /// All partitions are settled or wait. Gives the outcomes if nothing waits any more; otherwise `done` will get them.
    pub fn seal(&self, done: impl FnOnce() -> Done<T>) -> Option<Vec<T>> {
        let mut guard = self.state.lock();
        let state = guard.as_mut()?;
        state.waiting -= 1;
        if state.waiting > 0 {
            state.done = Some(done());
            return None;
        }
        guard.take().map(|state| state.slots.into_iter().map(|(outcome, _)| outcome).collect())
    }

    /// What a partition waited for happened; `change` may turn the outcome into a failure. True if the answer went out.
    pub fn resolve(&self, slot: usize, change: impl FnOnce(&mut T)) -> bool {
        let mut guard = self.state.lock();
        let Some(state) = guard.as_mut() else { return false };
        let (outcome, is_waiting) = &mut state.slots[slot];
        assert!(*is_waiting, "a partition resolves a request once");
        *is_waiting = false;
        change(outcome);
        state.waiting -= 1;
        if state.waiting > 0 {
            return false;
        }
        let state = guard.take();
        drop(guard);
        state.into_iter().for_each(JoinState::finish);
        true
    }

    /// The time is up: `change` says so in each outcome that still waits. Nothing if the answer went out before.
    pub fn expire(&self, mut change: impl FnMut(&mut T)) {
        let Some(mut state) = self.state.lock().take() else { return };
        state.slots.iter_mut().filter(|(_, waits)| *waits).for_each(|(outcome, _)| change(outcome));
        state.finish();
    }

    /// Where [`Deadlines`] keeps it.
    pub fn place(&self) -> (Millis, u64) {
        (self.deadline, self.id)
    }
}

impl<T> JoinState<T> {
    fn finish(self) {
        let outcomes = self.slots.into_iter().map(|(outcome, _)| outcome).collect();
        let done = self.done.expect("before the seal a request cannot end: the seal itself is awaited");
        done(outcomes);
    }
}

/// A parked produce request with acks=all.
pub type ParkedProduce = Joined<ProduceOutcome>;
/// A parked DeleteRecords request.
pub type ParkedDelete = Joined<DeleteOutcome>;

/// A fetch request that waits for enough bytes.
pub struct ParkedFetch {
    id: u64,
    deadline: Millis,
    /// The request.
    pub params: FetchParams,
    /// Its partitions; all exist and none had an error when it was parked.
    pub targets: Vec<FetchTarget>,
    progress: Mutex<Option<Progress>>,
}

struct Progress {
    available: Vec<usize>,
    total: usize,
    done: Done<FetchOutcome>,
}

impl ParkedFetch {
    /// Waits with `available` bytes readable of each partition already.
    pub fn new(
        id: u64,
        deadline: Millis,
        params: FetchParams,
        targets: Vec<FetchTarget>,
        (available, done): (Vec<usize>, Done<FetchOutcome>),
    ) -> Arc<ParkedFetch> {
        let progress = Mutex::new(Some(Progress { total: available.iter().sum(), available, done }));
        Arc::new(ParkedFetch { id, deadline, params, targets, progress })
    }

    /// Unique among the parked requests of a broker.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Where [`Deadlines`] keeps it.
    pub fn place(&self) -> (Millis, u64) {
        (self.deadline, self.id)
    }

    /// Of one partition `bytes` are readable now; true if that makes enough.
    pub fn available(&self, slot: usize, bytes: usize) -> bool {
        let mut guard = self.progress.lock();
        let Some(progress) = guard.as_mut() else { return false };
        progress.total = progress.total - progress.available[slot] + bytes;
        progress.available[slot] = bytes;
        progress.total >= usize::try_from(self.params.min_bytes).unwrap_or(0)
    }

    /// Ends the waiting: the first caller gets the closure and must answer.
    pub fn take(&self) -> Option<Done<FetchOutcome>> {
        self.progress.lock().take().map(|progress| progress.done)
    }
}

/// The requests that wait for one partition. Guarded by the partition's lock.
#[derive(Default)]
pub struct Waiters {
    /// acks=all: woken when the high watermark reaches the offset.
    produces: BTreeMap<(i64, u64, usize), Arc<ParkedProduce>>,
    /// Woken when the low watermark reaches the offset.
    deletes: BTreeMap<(i64, u64, usize), Arc<ParkedDelete>>,
    /// By what they may read.
    fetches: [BTreeMap<u64, (Arc<ParkedFetch>, usize)>; 3],
    /// Sessions of followers.
    pub(super) standing: Vec<Watch>,
}

impl Waiters {
    /// Lists a produce request that waits for the high watermark `offset`.
    pub fn add_produce(&mut self, offset: i64, slot: usize, parked: Arc<ParkedProduce>) {
        self.produces.insert((offset, parked.id(), slot), parked);
    }

    /// Lists a request that waits for the low watermark `offset`.
    pub fn add_delete(&mut self, offset: i64, slot: usize, parked: Arc<ParkedDelete>) {
        self.deletes.insert((offset, parked.id(), slot), parked);
    }

    /// Lists a fetch.
    pub fn add_fetch(&mut self, slot: usize, parked: Arc<ParkedFetch>) {
        self.fetches[parked.params.isolation as usize].insert(parked.id(), (parked, slot));
    }

    /// Drops a fetch from the list.
    pub fn remove_fetch(&mut self, isolation: Isolation, id: u64) {
        self.fetches[isolation as usize].remove(&id);
    }

    /// Drops an expired produce or delete-records request from the list.
    pub fn remove_joined(&mut self, id: u64) {
        self.produces.retain(|(_, other, _), _| *other != id);
        self.deletes.retain(|(_, other, _), _| *other != id);
    }

    /// Fetches that may read up to what `isolation` says.
    pub fn fetches(&self, isolation: Isolation) -> impl Iterator<Item = &(Arc<ParkedFetch>, usize)> {
        self.fetches[isolation as usize].values()
    }

    /// True if a DeleteRecords request waits.
    pub fn has_deletes(&self) -> bool {
        !self.deletes.is_empty()
    }

    /// Takes the produce requests that wait for an offset up to `high_watermark`.
    pub fn reached(&mut self, high_watermark: i64) -> impl Iterator<Item = (Arc<ParkedProduce>, usize)> {
        take_reached(&mut self.produces, high_watermark)
    }

    /// Takes the DeleteRecords requests that wait for an offset up to `low_watermark`.
    pub fn deleted(&mut self, low_watermark: i64) -> impl Iterator<Item = (Arc<ParkedDelete>, usize)> {
        take_reached(&mut self.deletes, low_watermark)
    }

    /// Takes all fetches, whatever they wait for.
    pub fn all_fetches(&mut self) -> impl Iterator<Item = Arc<ParkedFetch>> {
        std::mem::take(&mut self.fetches).into_iter().flatten().map(|(_, (parked, _))| parked)
    }
}

fn take_reached<T>(
    waiting: &mut BTreeMap<(i64, u64, usize), Arc<T>>,
    offset: i64,
) -> impl Iterator<Item = (Arc<T>, usize)> + use<T> {
    let rest = match offset.checked_add(1) {
        Some(next) => waiting.split_off(&(next, 0, 0)),
        None => BTreeMap::new(),
    };
    std::mem::replace(waiting, rest).into_iter().map(|((_, _, slot), parked)| (parked, slot))
}

/// A parked request, and the partitions that list it.
pub enum Parked {
    /// Produce.
    Produce(Arc<ParkedProduce>, Vec<Arc<Partition>>),
    /// Fetch.
    Fetch(Arc<ParkedFetch>),
    /// Fetch of a follower in its session.
    Follower(Arc<ParkedFollower>),
    /// DeleteRecords.
    Delete(Arc<ParkedDelete>, Vec<Arc<Partition>>),
}

/// When parked requests must be answered at the latest.
#[derive(Default)]
pub struct Deadlines {
    next_id: AtomicU64,
    queue: Mutex<BTreeMap<(Millis, u64), Parked>>,
}

impl Deadlines {
    /// An id for a request that may be parked.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Watches a request; gives its deadline if it is the earliest now.
    pub fn watch(&self, parked: Parked) -> Option<Millis> {
        let place = match &parked {
            Parked::Produce(joined, _) => joined.place(),
            Parked::Delete(joined, _) => joined.place(),
            Parked::Fetch(fetch) => fetch.place(),
            Parked::Follower(fetch) => fetch.place(),
        };
        let mut queue = self.queue.lock();
        queue.insert(place, parked);
        queue.first_key_value().is_some_and(|(first, _)| *first == place).then_some(place.0)
    }

    /// The request at this place was answered.
    pub fn forget(&self, place: (Millis, u64)) {
        self.queue.lock().remove(&place);
    }

    /// Takes the next request whose time is up.
    pub fn pop_expired(&self, now: Millis) -> Option<Parked> {
        let mut queue = self.queue.lock();
        let first = queue.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// The earliest deadline.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.queue.lock().first_key_value().map(|((deadline, _), _)| *deadline)
    }
}
