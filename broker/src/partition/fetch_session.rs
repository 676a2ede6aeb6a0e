//! Incremental fetch sessions (KIP-227): what a consumer or follower asked for is remembered, so that a request names
//! only what changed and a response only what is new. Never reads a log and never answers a request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use common::Rng;
use common::time::Millis;
use parking_lot::Mutex;
use thiserror::Error;
use uuid::Uuid;

use super::standing::Standing;

/// A session unused for this long gives way to any new one (`FetchSession` of Kafka 3.9: two minutes).
pub const EVICTION_MS: u64 = 120_000;
/// Session id of a request or response without a session.
pub const NO_SESSION: i32 = 0;
/// Epoch of a request that lists all it wants and would like a session.
pub const INITIAL_EPOCH: i32 = 0;
/// Epoch of a request that lists all it wants and closes its session.
pub const FINAL_EPOCH: i32 = -1;

/// The epoch behind `epoch`: grows to the largest number and starts again with 1.
pub fn next_epoch(epoch: i32) -> i32 {
    match epoch {
        ..0 => FINAL_EPOCH,
        i32::MAX => 1,
        _ => epoch + 1,
    }
}

/// Why a fetch request cannot use the session that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SessionError {
    /// There is no such session: it was evicted, or another broker made it.
    #[error("no such fetch session")]
    UnknownSession,
    /// A request was lost, repeated or overtaken.
    #[error("fetch session epoch is not the next one")]
    InvalidEpoch,
    /// The session names topics by id and the request by name, or the reverse.
    #[error("fetch session and request differ in the use of topic ids")]
    TopicIdMismatch,
}

/// A topic as the fetcher names it: by id from Fetch version 13 on, by name before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicKey {
    /// By id.
    Id(Uuid),
    /// By name.
    Name(Arc<str>),
}

/// A partition as the fetcher names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetchKey {
    /// The topic.
    pub topic: TopicKey,
    /// Partition number.
    pub partition: i32,
}

/// What is wanted of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// First offset to return.
    pub fetch_offset: i64,
    /// Log start offset of a follower; -1 of a consumer.
    pub log_start_offset: i64,
    /// Most bytes to return.
    pub max_bytes: i32,
    /// The leader epoch that the fetcher believes in.
    pub current_leader_epoch: Option<i32>,
    /// Leader epoch of the last record that the fetcher has.
    pub last_fetched_epoch: Option<i32>,
}

impl Wanted {
    /// Nothing, from offset 0 on, by whoever believes in nothing.
    pub fn of_consumer() -> Wanted {
        Wanted {
            fetch_offset: 0,
            log_start_offset: -1,
            max_bytes: 0,
            current_leader_epoch: None,
            last_fetched_epoch: None,
        }
    }
}

/// What a fetcher was told of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// High watermark.
    pub high_watermark: i64,
    /// Log start offset.
    pub log_start_offset: i64,
}

/// One partition of a fetch, with the name of its topic if this broker knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As the fetcher names it; answered in the same way.
    pub key: FetchKey,
    /// The topic's name; `None` while its id is unknown here.
    pub topic: Option<Arc<str>>,
    /// What is wanted.
    pub wanted: Wanted,
}

/// What decides if a partition belongs into the response of an incremental fetch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of records in the response.
    pub records_bytes: usize,
    /// High watermark in the response.
    pub high_watermark: i64,
    /// Log start offset in the response.
    pub log_start_offset: i64,
    /// An error, a diverging epoch or a preferred read replica must be told.
    pub must_tell: bool,
    /// The response is an error, so the partition is sent again once it recovers.
    pub is_error: bool,
}

#[derive(Debug)]
struct Cached {
    key: FetchKey,
    topic: Option<Arc<str>>,
    wanted: Wanted,
    high_watermark: i64,
    log_start_offset: i64,
}

impl Cached {
    fn new(target: Target) -> Cached {
        let Target { key, topic, wanted } = target;
        Cached { key, topic, wanted, high_watermark: -1, log_start_offset: -1 }
    }

    /// `resolve` names the topic if its id was unknown until now.
    fn target(&mut self, resolve: impl Fn(&Uuid) -> Option<Arc<str>>) -> Target {
        if let (None, TopicKey::Id(id)) = (&self.topic, &self.key.topic) {
            self.topic = resolve(id);
        }
        Target { key: self.key.clone(), topic: self.topic.clone(), wanted: self.wanted }
    }

    /// Remembers what is told; true if there is something to tell.
    fn update(&mut self, summary: &Summary) -> bool {
        let mut tell = summary.records_bytes > 0 || summary.must_tell || summary.is_error;
        tell |= self.high_watermark != summary.high_watermark;
        tell |= self.log_start_offset != summary.log_start_offset;
        self.high_watermark = if summary.is_error { -1 } else { summary.high_watermark };
        self.log_start_offset = summary.log_start_offset;
        tell
    }
}

/// The partitions of one session, in the order in which they get the bytes of a response: a partition that returned
/// records goes to the end, so that none starves.
#[derive(Debug, Default)]
struct Session {
    epoch: i32,
    uses_topic_ids: bool,
    next_order: u64,
    order: BTreeMap<u64, Cached>,
    index: BTreeMap<FetchKey, u64>,
    /// Of a follower: which of them rest. Its places are those of `order`.
    standing: Option<Arc<Standing>>,
}

impl Session {
    fn put(&mut self, target: Target) {
        if let Some(at) = self.index.get(&target.key)
            && let Some(cached) = self.order.get_mut(at)
        {
            if cached.wanted.current_leader_epoch != target.wanted.current_leader_epoch {
                // Who begins a new epoch may not have heard what was told in the last.
                cached.high_watermark = -1;
            }
            cached.wanted = target.wanted;
            self.standing.iter().for_each(|standing| standing.wake(*at));
            return;
        }
        self.standing.iter().for_each(|standing| standing.wake(self.next_order));
        self.index.insert(target.key.clone(), self.next_order);
        self.order.insert(self.next_order, Cached::new(target));
        self.next_order += 1;
    }

    fn forget(&mut self, key: &FetchKey) {
        if let Some(at) = self.index.remove(key) {
            self.order.remove(&at);
            self.standing.iter().for_each(|standing| standing.forget(at));
        }
    }

    fn tell(&mut self, key: &FetchKey, summary: &Summary) -> bool {
        let Some(at) = self.index.get_mut(key) else { return true };
        let Some(cached) = self.order.get_mut(at) else { return true };
        let tell = cached.update(summary);
        if summary.records_bytes > 0
            && let Some(cached) = self.order.remove(at)
        {
            if let Some(standing) = &self.standing {
                standing.forget(*at);
                standing.wake(self.next_order);
            }
            *at = self.next_order;
            self.order.insert(self.next_order, cached);
            self.next_order += 1;
        }
        tell
    }
}

#[derive(Debug)]
struct Slot {
    session: Arc<Mutex<Session>>,
    privileged: bool,
    created: Millis,
    last_used: Millis,
    size: usize,
}

/// Order of value: a follower's session above a consumer's, then the larger above the smaller.
type Evictable = (bool, usize, i32);

#[derive(Debug)]
struct Cache {
    slots: usize,
    rng: Rng,
    sessions: BTreeMap<i32, Slot>,
    last_used: BTreeSet<(Millis, i32)>,
    by_all: BTreeSet<Evictable>,
    by_privileged: BTreeSet<Evictable>,
}

impl Cache {
    fn remove(&mut self, id: i32) {
        let Some(slot) = self.sessions.remove(&id) else { return };
        self.last_used.remove(&(slot.last_used, id));
        self.by_all.remove(&(slot.privileged, slot.size, id));
        self.by_privileged.remove(&(slot.privileged, slot.size, id));
    }

    fn touch(&mut self, id: i32, size: usize, now: Millis) {
        let Some(slot) = self.sessions.get_mut(&id) else { return };
        self.last_used.remove(&(slot.last_used, id));
        self.by_all.remove(&(slot.privileged, slot.size, id));
        self.by_privileged.remove(&(slot.privileged, slot.size, id));
        slot.last_used = now;
        slot.size = size;
        self.last_used.insert((now, id));
        let is_old = now - slot.created > EVICTION_MS;
        if !slot.privileged || is_old {
            self.by_privileged.insert((slot.privileged, size, id));
        }
        if is_old {
            self.by_all.insert((slot.privileged, size, id));
        }
    }

    /// Makes room for a new session if it is worth more than an old one: stale ones go first, then what is less
    /// valuable and not too young.
    fn make_room(&mut self, privileged: bool, size: usize, now: Millis) -> bool {
        if self.sessions.len() < self.slots {
            return true;
        }
        let Some(&(oldest, stale)) = self.last_used.first() else { return false };
        if now - oldest > EVICTION_MS {
            self.remove(stale);
            return true;
        }
        let candidates = if privileged { &self.by_privileged } else { &self.by_all };
        match candidates.first() {
            Some(&least) if (privileged, size, 0) >= least => {
                self.remove(least.2);
                true
            }
            _ => false,
        }
    }

    fn create(&mut self, mut session: Session, privileged: bool, now: Millis) -> i32 {
        let size = session.order.len();
        if !self.make_room(privileged, size, now) {
            return NO_SESSION;
        }
        let mut id = self.rng.i32(1..=i32::MAX);
        while self.sessions.contains_key(&id) {
            id = self.rng.i32(1..=i32::MAX);
        }
        session.epoch = next_epoch(INITIAL_EPOCH);
        let session = Arc::new(Mutex::new(session));
        self.sessions.insert(id, Slot { session, privileged, created: now, last_used: now, size });
        self.touch(id, size, now);
        id
    }
}

/// The session part of a fetch request.
#[derive(Debug)]
pub struct SessionRequest {
    /// Session id; [`NO_SESSION`] without one.
    pub id: i32,
    /// Session epoch.
    pub epoch: i32,
    /// The fetcher is a broker; its session is not evicted for a consumer's.
    pub from_follower: bool,
    /// The request names topics by id.
    pub uses_topic_ids: bool,
    /// What is new or changed; all that is wanted if the request is a full one.
    pub wanted: Vec<Target>,
    /// What is no longer wanted.
    pub forgotten: Vec<FetchKey>,
}

/// How one fetch request relates to a session.
#[derive(Debug)]
pub struct FetchContext(Kind);

#[derive(Debug)]
enum Kind {
    Sessionless(Vec<Target>),
    Full { targets: Vec<Target>, privileged: bool, uses_topic_ids: bool },
    Incremental { id: i32, session: Arc<Mutex<Session>>, epoch: i32 },
}

/// All fetch sessions of a broker.
#[derive(Debug)]
pub struct FetchSessions {
    cache: Mutex<Cache>,
}

impl FetchSessions {
    /// Room for `slots` sessions (`max.incremental.fetch.session.cache.slots`); `rng` makes session ids.
    pub fn new(slots: usize, rng: Rng) -> FetchSessions {
        FetchSessions {
            cache: Mutex::new(Cache {
                slots,
                rng,
                sessions: BTreeMap::new(),
                last_used: BTreeSet::new(),
                by_all: BTreeSet::new(),
                by_privileged: BTreeSet::new(),
            }),
        }
    }

    /// Sessions that are kept now.
    pub fn len(&self) -> usize {
        self.cache.lock().sessions.len()
    }

    /// True if no session is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a request: updates its session, or prepares for a new one.
    pub fn open(&self, request: SessionRequest, now: Millis) -> Result<FetchContext, SessionError> {
        if request.epoch == INITIAL_EPOCH || request.epoch == FINAL_EPOCH {
            if request.id != NO_SESSION {
                self.cache.lock().remove(request.id);
            }
            let targets = without_repeats(request.wanted);
            return Ok(FetchContext(if request.epoch == FINAL_EPOCH {
                Kind::Sessionless(targets)
            } else {
                let (privileged, uses_topic_ids) = (request.from_follower, request.uses_topic_ids);
                Kind::Full { targets, privileged, uses_topic_ids }
            }));
        }
        let mut cache = self.cache.lock();
        let slot = cache.sessions.get(&request.id).ok_or(SessionError::UnknownSession)?;
        let session = slot.session.clone();
        let mut state = session.lock();
        if state.epoch != request.epoch {
            return Err(SessionError::InvalidEpoch);
        }
        if state.uses_topic_ids != request.uses_topic_ids {
            return Err(SessionError::TopicIdMismatch);
        }
        for target in &request.wanted {
            state.put(target.clone());
        }
        for key in &request.forgotten {
            state.forget(key);
        }
        if state.order.is_empty() {
            cache.remove(request.id);
            return Ok(FetchContext(Kind::Sessionless(without_repeats(request.wanted))));
        }
        state.epoch = next_epoch(state.epoch);
        let (epoch, size) = (state.epoch, state.order.len());
        drop(state);
        cache.touch(request.id, size, now);
        Ok(FetchContext(Kind::Incremental { id: request.id, session, epoch }))
    }

    /// Ends a request: `answers` are its partitions in the order of the response. Gives the session id for the response
    /// and, for each answer, if it is part of the response.
    pub fn finish(
        &self,
        context: FetchContext,
        answers: &[(FetchKey, Summary)],
        now: Millis,
    ) -> Result<(i32, Vec<bool>), SessionError> {
        match context.0 {
            Kind::Sessionless(_) => Ok((NO_SESSION, vec![true; answers.len()])),
            Kind::Full { targets, privileged, uses_topic_ids } => {
                let mut wanted: BTreeMap<FetchKey, Target> =
                    targets.into_iter().map(|target| (target.key.clone(), target)).collect();
                let standing = privileged.then(Arc::default);
                let mut session = Session { uses_topic_ids, standing, ..Session::default() };
                for (key, summary) in answers {
                    if let Some(target) = wanted.remove(key) {
                        let (high_watermark, log_start_offset) = (summary.high_watermark, summary.log_start_offset);
                        session.put(target);
                        if let Some(cached) = session.order.values_mut().next_back() {
                            cached.high_watermark = high_watermark;
                            cached.log_start_offset = log_start_offset;
                        }
                    }
                }
                let id = self.cache.lock().create(session, privileged, now);
                Ok((id, vec![true; answers.len()]))
            }
            Kind::Incremental { id, session, epoch } => {
                let mut session = session.lock();
                if session.epoch != epoch {
                    return Err(SessionError::InvalidEpoch);
                }
                Ok((id, answers.iter().map(|(key, summary)| session.tell(key, summary)).collect()))
            }
        }
    }
}

impl FetchContext {
    /// Which partitions of a follower's session rest; `None` unless the request goes on with one.
    pub fn standing(&self) -> Option<Arc<Standing>> {
        match &self.0 {
            Kind::Incremental { session, .. } => session.lock().standing.clone(),
            Kind::Sessionless(_) | Kind::Full { .. } => None,
        }
    }

    /// None of them rests.
    pub fn wake_all(&self) {
        if let Kind::Incremental { session, .. } = &self.0 {
            let session = session.lock();
            let standing = session.standing.iter();
            standing.for_each(|standing| session.order.keys().for_each(|place| standing.wake(*place)));
        }
    }

    /// The partitions of a follower's session that do not rest, in their order: place, partition, what it was told.
    pub fn awake(&self, resolve: impl Fn(&Uuid) -> Option<Arc<str>>) -> Vec<(u64, Target, Told)> {
        let Kind::Incremental { session, .. } = &self.0 else { return Vec::new() };
        let mut session = session.lock();
        let places = session.standing.as_ref().map(|standing| standing.awake()).unwrap_or_default();
        let awake = places.into_iter().filter_map(|place| {
            let cached = session.order.get_mut(&place)?;
            let told = Told { high_watermark: cached.high_watermark, log_start_offset: cached.log_start_offset };
            Some((place, cached.target(&resolve), told))
        });
        awake.collect()
    }

    /// All partitions of the fetch in their order. `resolve` names topics whose id was unknown when the session began.
    pub fn targets(&self, resolve: impl Fn(&Uuid) -> Option<Arc<str>>) -> Vec<Target> {
        match &self.0 {
            Kind::Sessionless(targets) | Kind::Full { targets, .. } => targets.clone(),
            Kind::Incremental { session, .. } => {
                session.lock().order.values_mut().map(|cached| cached.target(&resolve)).collect()
            }
        }
    }
}

/// A partition that is named twice is fetched once: at its first place, with its last wish.
fn without_repeats(wanted: Vec<Target>) -> Vec<Target> {
    let mut places: BTreeMap<FetchKey, usize> = BTreeMap::new();
    let mut targets: Vec<Target> = Vec::with_capacity(wanted.len());
    for target in wanted {
        match places.get(&target.key) {
            Some(&at) => targets[at] = target,
            None => {
                places.insert(target.key.clone(), targets.len());
                targets.push(target);
            }
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(partition: i32) -> FetchKey {
        FetchKey { topic: TopicKey::Name("t".into()), partition }
    }

    fn target(partition: i32, fetch_offset: i64) -> Target {
        let wanted = Wanted {
            fetch_offset,
            log_start_offset: -1,
            max_bytes: 1000,
            current_leader_epoch: None,
            last_fetched_epoch: None,
        };
        Target { key: key(partition), topic: Some("t".into()), wanted }
    }

    fn request(id: i32, epoch: i32, wanted: Vec<Target>) -> SessionRequest {
        SessionRequest { id, epoch, from_follower: false, uses_topic_ids: false, wanted, forgotten: vec![] }
    }

    fn summary(records_bytes: usize, high_watermark: i64) -> Summary {
        Summary { records_bytes, high_watermark, ..Summary::default() }
    }

    fn partitions(context: &FetchContext) -> Vec<(i32, i64)> {
        context.targets(|_| None).iter().map(|t| (t.key.partition, t.wanted.fetch_offset)).collect()
    }

    fn open_full(sessions: &FetchSessions, partitions: i32, follower: bool, now: u64) -> i32 {
        let wanted = (0..partitions).map(|p| target(p, 0)).collect();
        let context =
            sessions.open(SessionRequest { from_follower: follower, ..request(0, 0, wanted) }, Millis(now)).unwrap();
        let answers: Vec<_> = (0..partitions).map(|p| (key(p), summary(0, 0))).collect();
        sessions.finish(context, &answers, Millis(now)).unwrap().0
    }

    #[test]
    fn an_incremental_response_names_only_what_changed() {
        let sessions = FetchSessions::new(10, Rng::with_seed(1));
        let context = sessions.open(request(0, 0, vec![target(0, 0), target(1, 0)]), Millis(0)).unwrap();
        assert_eq!(partitions(&context), [(0, 0), (1, 0)]);
        let answers = [(key(0), summary(5, 1)), (key(1), summary(0, 0))];
        let (id, told) = sessions.finish(context, &answers, Millis(0)).unwrap();
        assert!(id > 0);
        assert_eq!(told, [true, true]);

        let context = sessions.open(request(id, 1, vec![target(0, 1)]), Millis(0)).unwrap();
        assert_eq!(partitions(&context), [(0, 1), (1, 0)]);
        let answers = [(key(0), summary(9, 1)), (key(1), summary(0, 0))];
        assert_eq!(sessions.finish(context, &answers, Millis(0)).unwrap(), (id, vec![true, false]));

        let context = sessions.open(request(id, 2, vec![]), Millis(0)).unwrap();
        assert_eq!(partitions(&context), [(1, 0), (0, 1)], "what returned records goes to the end");
        let answers = [(key(1), summary(0, 3)), (key(0), summary(0, 1))];
        assert_eq!(sessions.finish(context, &answers, Millis(0)).unwrap().1, [true, false]);
    }

    #[test]
    fn an_error_is_told_and_the_recovery_too() {
        let sessions = FetchSessions::new(10, Rng::with_seed(1));
        let id = open_full(&sessions, 1, false, 0);
        let error = Summary { is_error: true, high_watermark: -1, log_start_offset: -1, ..Summary::default() };
        for (epoch, summary, tell) in [(1, error, true), (2, error, true), (3, summary(0, 0), true)] {
            let context = sessions.open(request(id, epoch, vec![]), Millis(0)).unwrap();
            assert_eq!(sessions.finish(context, &[(key(0), summary)], Millis(0)).unwrap().1, [tell], "{epoch}");
        }
        let context = sessions.open(request(id, 4, vec![]), Millis(0)).unwrap();
        assert_eq!(sessions.finish(context, &[(key(0), summary(0, 0))], Millis(0)).unwrap().1, [false]);
    }

    #[test]
    fn who_begins_a_leader_epoch_is_told_the_high_watermark_again() {
        let sessions = FetchSessions::new(10, Rng::with_seed(1));
        let id = open_full(&sessions, 1, true, 0);
        for (epoch, leader_epoch, tell) in [(1, Some(1), true), (2, Some(1), false), (3, Some(2), true)] {
            let mut wanted = target(0, 0);
            wanted.wanted.current_leader_epoch = leader_epoch;
            let context = sessions.open(request(id, epoch, vec![wanted]), Millis(0)).unwrap();
            assert_eq!(sessions.finish(context, &[(key(0), summary(0, 0))], Millis(0)).unwrap().1, [tell], "{epoch}");
        }
    }

    #[test]
    fn wrong_epochs_and_unknown_sessions_are_refused() {
        let sessions = FetchSessions::new(10, Rng::with_seed(1));
        let id = open_full(&sessions, 1, false, 0);
        let by_id = SessionRequest { uses_topic_ids: true, ..request(id, 1, vec![]) };
        for (request, error) in [
            (request(id, 2, vec![]), SessionError::InvalidEpoch),
            (request(id ^ 1, 1, vec![]), SessionError::UnknownSession),
            (by_id, SessionError::TopicIdMismatch),
        ] {
            assert_eq!(sessions.open(request, Millis(0)).unwrap_err(), error);
        }
        let first = sessions.open(request(id, 1, vec![]), Millis(0)).unwrap();
        sessions.open(request(id, 2, vec![]), Millis(0)).unwrap();
        let late = sessions.finish(first, &[], Millis(0)).unwrap_err();
        assert_eq!(late, SessionError::InvalidEpoch, "an answer that a later request overtook");
    }

    #[test]
    fn a_session_ends_when_nothing_is_left_or_a_full_request_names_it() {
        let sessions = FetchSessions::new(10, Rng::with_seed(1));
        let id = open_full(&sessions, 1, false, 0);
        let emptied = SessionRequest { forgotten: vec![key(0)], ..request(id, 1, vec![]) };
        assert!(partitions(&sessions.open(emptied, Millis(0)).unwrap()).is_empty());
        assert!(sessions.is_empty());
        let id = open_full(&sessions, 1, false, 0);
        sessions.open(request(id, FINAL_EPOCH, vec![]), Millis(0)).unwrap();
        assert!(sessions.is_empty());
    }

    #[test]
    fn followers_push_consumers_out_and_the_stale_go_first() {
        let sessions = FetchSessions::new(2, Rng::with_seed(1));
        let small = open_full(&sessions, 1, false, 0);
        let large = open_full(&sessions, 3, false, 0);
        assert_eq!(open_full(&sessions, 9, false, 10), NO_SESSION, "young sessions are safe from consumers");
        let follower = open_full(&sessions, 1, true, 10);
        assert_ne!(follower, NO_SESSION);
        assert_eq!(sessions.open(request(small, 1, vec![]), Millis(10)).unwrap_err(), SessionError::UnknownSession);
        sessions.open(request(large, 1, vec![]), Millis(EVICTION_MS)).unwrap();
        assert_ne!(open_full(&sessions, 1, false, EVICTION_MS + 11), NO_SESSION);
        assert_eq!(
            sessions.open(request(follower, 1, vec![]), Millis(EVICTION_MS + 11)).unwrap_err(),
            SessionError::UnknownSession
        );
    }

    #[test]
    fn epochs_wrap_to_one() {
        assert_eq!([next_epoch(0), next_epoch(i32::MAX), next_epoch(-1)], [1, 1, -1]);
    }
}
