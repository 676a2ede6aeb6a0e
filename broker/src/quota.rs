//! Quotas of clients (KIP-13, 55, 124, 599, 612): how much users, client ids and addresses may have, what they have had
//! lately, and for how long they are held back. Counts and answers; delays nothing itself.

mod meter;

use crate::access::sanitize::sanitize;
use crate::cluster::Settings;
use crate::config::BrokerConfig;
use crate::outbox::ConnectionId;
use crate::resources::DEFAULT_ENTITY as DEFAULT;
use common::time::Millis;
use meter::{Bucket, Meter, Window};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

/// More of a kind than this are looked through for those that say nothing any more.
const MANY: usize = 10_000;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Bytes a second that are written.
    Produce,
    /// Bytes a second that are read.
    Fetch,
    /// Percent of one thread.
    Request,
    /// Partitions made and deleted a second.
    Mutation,
}

impl Kind {
    /// All of users and client ids.
    pub const ALL: [Kind; 4] = [Kind::Produce, Kind::Fetch, Kind::Request, Kind::Mutation];

    /// The setting.
    pub fn key(self) -> &'static str {
        match self {
            Kind::Produce => "producer_byte_rate",
            Kind::Fetch => "consumer_byte_rate",
            Kind::Request => "request_percentage",
            Kind::Mutation => "controller_mutation_rate",
        }
    }
}

/// The setting of addresses.
pub const CONNECTION_RATE: &str = "connection_creation_rate";

/// Who asks: the principal, and the client's own name for itself.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// `User:NAME`.
    pub principal: &'a str,
    /// Empty if it has none.
    pub client_id: &'a str,
}

/// Who shares a quota: a user, a client id, or the pair; as the znodes are named.
type Sharers = (Option<String>, Option<String>);

/// What is counted by names that clients choose: when there are many, those are dropped that say nothing any more. Looks at
/// all of them once in a sample at most, however many there are.
#[derive(Debug)]
struct Crowd<K, V> {
    all: BTreeMap<K, V>,
    looked_through: Option<Millis>,
}

impl<K, V> Default for Crowd<K, V> {
    fn default() -> Crowd<K, V> {
        Crowd { all: BTreeMap::new(), looked_through: None }
    }
}

impl<K: Ord, V: Default> Crowd<K, V> {
    fn get(&mut self, key: K, window: Window, now: Millis, is_over: fn(&mut V, Window, Millis) -> bool) -> &mut V {
        let is_time = self.looked_through.is_none_or(|then| now - then >= window.sample_ms);
        if self.all.len() >= MANY && is_time {
            self.looked_through = Some(now);
            self.all.retain(|_, one| !is_over(one, window, now));
        }
        self.all.entry(key).or_default()
    }
}

#[derive(Debug, Default)]
struct State {
    users: BTreeMap<String, Settings>,
    clients: BTreeMap<String, Settings>,
    ips: BTreeMap<String, Settings>,
    meters: Crowd<(Kind, Sharers), Meter>,
    buckets: Crowd<Sharers, Bucket>,
    connections: Crowd<String, Meter>,
    muted: BTreeMap<ConnectionId, Millis>,
    /// The same by the end of their time: some of these connections may be gone, and nobody asks for them again.
    muted_until: BTreeSet<(Millis, ConnectionId)>,
    /// Who spoke last on a connection, while time is counted.
    speakers: BTreeMap<ConnectionId, (String, String)>,
}

/// All quotas of this broker.
#[derive(Debug)]
pub struct Quotas {
    window: Window,
    mutation_window: Window,
    /// There are some: spares all others the look.
    is_used: AtomicBool,
    /// There are some of time.
    counts_time: AtomicBool,
    state: Mutex<State>,
}

fn number(settings: &Settings, key: &str) -> Option<f64> {
    settings.get(key)?.trim().parse().ok().filter(|limit: &f64| *limit > 0.0)
}

impl State {
    /// The limit that counts for somebody, and with whom it is shared: the most special of those there are (KIP-55).
    fn limit(&self, kind: Kind, user: &str, client: &str) -> Option<(Sharers, f64)> {
        let both = || (Some(user.to_owned()), Some(client.to_owned()));
        let of_user = |name: String| self.users.get(&name).and_then(|settings| number(settings, kind.key()));
        let of_client = |name: &str| self.clients.get(name).and_then(|settings| number(settings, kind.key()));
        let of_pair = |user: &str, client: &str| of_user(format!("{user}/clients/{client}"));
        of_pair(user, client)
            .or_else(|| of_pair(user, DEFAULT))
            .map(|limit| (both(), limit))
            .or_else(|| Some(((Some(user.to_owned()), None), of_user(user.to_owned())?)))
            .or_else(|| {
                let limit = of_pair(DEFAULT, client).or_else(|| of_pair(DEFAULT, DEFAULT))?;
                Some((both(), limit))
            })
            .or_else(|| Some(((Some(user.to_owned()), None), of_user(DEFAULT.to_owned())?)))
            .or_else(|| {
                let limit = of_client(client).or_else(|| of_client(DEFAULT))?;
                Some(((None, Some(client.to_owned())), limit))
            })
    }

    fn is_used(&self) -> bool {
        let has = |all: &BTreeMap<String, Settings>, keys: &[&str]| {
            all.values().any(|settings| keys.iter().any(|key| settings.contains_key(*key)))
        };
        let keys = Kind::ALL.map(Kind::key);
        has(&self.users, &keys) || has(&self.clients, &keys) || has(&self.ips, &[CONNECTION_RATE])
    }

    fn unmute(&mut self, connection: ConnectionId) {
        if let Some(until) = self.muted.remove(&connection) {
            self.muted_until.remove(&(until, connection));
        }
    }

    fn counts_time(&self) -> bool {
        self.users.values().chain(self.clients.values()).any(|settings| settings.contains_key(Kind::Request.key()))
    }
}

/// Names as the znodes have them.
fn names(who: Who<'_>) -> (String, String) {
    let user = who.principal.split_once(':').map_or(who.principal, |(_, name)| name);
    (sanitize(user), sanitize(who.client_id))
}

impl Quotas {
    /// Nobody has one yet.
    pub fn new(config: &BrokerConfig) -> Quotas {
        let window = |samples: i32, seconds: i32| Window {
            samples: u64::try_from(samples).unwrap_or(1).max(1),
            sample_ms: u64::try_from(seconds).unwrap_or(1).max(1) * 1000,
        };
        Quotas {
            window: window(config.quota_window_num, config.quota_window_size_seconds),
            mutation_window: window(config.controller_quota_window_num, config.controller_quota_window_size_seconds),
            is_used: AtomicBool::new(false),
            counts_time: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// There may be somebody to hold back.
    pub fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }

    /// This is set for an entity now; `kind` is that of the znodes.
    pub fn set(&self, kind: &str, name: &str, settings: &Settings) {
        let mut state = self.state.lock();
        let all = match kind {
            "users" => &mut state.users,
            "clients" => &mut state.clients,
            "ips" => &mut state.ips,
            _ => return,
        };
        if settings.is_empty() {
            all.remove(name);
        } else {
            all.insert(name.to_owned(), settings.clone());
        }
        self.is_used.store(state.is_used(), Ordering::Relaxed);
        self.counts_time.store(state.counts_time(), Ordering::Relaxed);
    }

    /// Counts; for how many milliseconds to hold the client back, 0 for not at all.
    pub fn record(&self, kind: Kind, who: Who<'_>, value: f64, now: Millis) -> u64 {
        if !self.is_used() {
            return 0;
        }
        let (user, client) = names(who);
        let mut state = self.state.lock();
        let Some((sharers, limit)) = state.limit(kind, &user, &client) else { return 0 };
        let meter = state.meters.get((kind, sharers), self.window, now, Meter::is_idle);
        if value > 0.0 {
            meter.record(value, self.window, now);
        }
        let ms = meter.throttle_ms(limit, self.window, now);
        // Time is not saved up for long (KIP-124).
        if kind == Kind::Request { ms.min(self.window.sample_ms) } else { ms }
    }

    /// Most bytes that a fetch should give, for it not to exceed its quota by itself.
    pub fn fetch_bytes_max(&self, who: Who<'_>) -> Option<u64> {
        if !self.is_used() {
            return None;
        }
        let (user, client) = names(who);
        let (_, limit) = self.state.lock().limit(Kind::Fetch, &user, &client)?;
        let seconds = (self.window.samples.saturating_sub(1).max(1) * self.window.sample_ms) as f64 / 1000.0;
        Some((limit * seconds) as u64)
    }

    /// Somebody makes or deletes partitions. `Err`: it may not, for so many milliseconds, if `strict`; else it is only held
    /// back afterwards (KIP-599).
    pub fn mutate(&self, who: Who<'_>, partitions: u32, strict: bool, now: Millis) -> Result<u64, u64> {
        if !self.is_used() {
            return Ok(0);
        }
        let (user, client) = names(who);
        let mut state = self.state.lock();
        let Some((sharers, limit)) = state.limit(Kind::Mutation, &user, &client) else { return Ok(0) };
        let bucket = state.buckets.get(sharers, self.mutation_window, now, Bucket::is_full);
        bucket.refill(limit, self.mutation_window, now);
        let wait_ms = bucket.wait_ms(limit);
        if strict && wait_ms > 0 {
            return Err(wait_ms);
        }
        bucket.take(f64::from(partitions));
        Ok(bucket.wait_ms(limit))
    }

    /// A client connects: for how long it is to wait before it is sent away, 0 if it may come in (KIP-612).
    pub fn connect(&self, address: &str, now: Millis) -> u64 {
        if !self.is_used() {
            return 0;
        }
        let mut state = self.state.lock();
        let own = state.ips.get(&sanitize(address)).or_else(|| state.ips.get(DEFAULT));
        let Some(limit) = own.and_then(|settings| number(settings, CONNECTION_RATE)) else { return 0 };
        let meter = state.connections.get(address.to_owned(), self.window, now, Meter::is_idle);
        meter.record(1.0, self.window, now);
        let wait_ms = meter.throttle_ms(limit, self.window, now);
        if wait_ms > 0 {
            // Whoever is sent away did not connect.
            meter.record(-1.0, self.window, now);
        }
        wait_ms
    }

    /// Nothing more is handled of this connection for so long.
    pub fn mute(&self, connection: ConnectionId, ms: u64, now: Millis) {
        let until = Millis(now.0.saturating_add(ms));
        let mut state = self.state.lock();
        while let Some(&(end, over)) = state.muted_until.first().filter(|(end, _)| *end <= now) {
            state.muted_until.remove(&(end, over));
            state.muted.remove(&over);
        }
        let until = state.muted.get(&connection).map_or(until, |before| until.max(*before));
        state.unmute(connection);
        state.muted.insert(connection, until);
        state.muted_until.insert((until, connection));
    }

    /// How many milliseconds longer nothing is handled of this connection.
    pub fn muted_ms(&self, connection: ConnectionId, now: Millis) -> Option<u64> {
        if !self.is_used() {
            return None;
        }
        let mut state = self.state.lock();
        let until = *state.muted.get(&connection)?;
        if until <= now {
            state.unmute(connection);
            return None;
        }
        Some(until - now)
    }

    /// Who speaks on a connection, for the time that is counted when its request has been handled.
    pub fn speaks(&self, connection: ConnectionId, who: Who<'_>) {
        if self.counts_time.load(Ordering::Relaxed) {
            let speaker = (who.principal.to_owned(), who.client_id.to_owned());
            self.state.lock().speakers.insert(connection, speaker);
        }
    }

    /// Handling a connection's request took so long.
    pub fn took(&self, connection: ConnectionId, nanos: u64, now: Millis) {
        if !self.counts_time.load(Ordering::Relaxed) {
            return;
        }
        let Some((principal, client_id)) = self.state.lock().speakers.get(&connection).cloned() else { return };
        let who = Who { principal: &principal, client_id: &client_id };
        self.record(Kind::Request, who, nanos as f64 * 1e-7, now);
    }

    /// The connection has ended.
    pub fn forget(&self, connection: ConnectionId) {
        let mut state = self.state.lock();
        state.unmute(connection);
        state.speakers.remove(&connection);
    }
}

#[cfg(test)]
mod tests;
