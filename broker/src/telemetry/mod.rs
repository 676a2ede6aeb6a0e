//! Metrics that clients push (KIP-714): who is to push what how often, and what was pushed, until the client is gone. Knows
//! no wire code, and keeps nothing over a restart.

mod otlp;
mod pushed;
pub mod subscription;
#[cfg(test)]
mod tests;

pub use otlp::{OtlpError, Point, Temporality};
pub use pushed::{Pushed, Series};

use crate::metrics::Counter;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::Rng;
use common::kafka::compression::{Compression, CompressionError};
use common::time::Millis;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use subscription::{Attributes, DEFAULT_INTERVAL_MS, Subscription};
use thiserror::Error;
use uuid::Uuid;

/// Clients that are remembered at most, as in Kafka; beyond it the one goes that would go next anyway.
pub const INSTANCES_MAX: usize = 16_384;
/// Bytes of memory for what all clients have pushed; what does not fit any more is dropped and counted.
pub const PUSHED_BYTES_MAX: usize = 32 << 20;
/// A client is forgotten when it is silent for this long, or for three of its intervals if that is longer.
const SILENCE_MS: u64 = 60_000;
/// So much larger than what is taken compressed may be what comes out of it.
const EXPANSION_MAX: usize = 8;
/// Names all metrics.
const ALL: &str = "*";

/// Compression types that are told to clients, best first.
pub const ACCEPTED: [Compression; 4] = [Compression::Zstd, Compression::Lz4, Compression::Gzip, Compression::Snappy];

/// Why a request is refused.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// An id that stands for no client.
    #[error("invalid client instance id")]
    InvalidInstance,
    /// The client has said before that this was its last request.
    #[error("the client has said that it ends")]
    Terminated,
    /// The interval is not over.
    #[error("the request came before the next push interval")]
    TooSoon,
    /// The client pushes what was asked of it before, or never.
    #[error("the subscription is not the client's current one")]
    UnknownSubscription,
    /// No such compression.
    #[error("compression type {0} is not known")]
    UnknownCompression(i8),
    /// More than `telemetry.max.bytes`.
    #[error("{0} bytes are more than are taken")]
    TooLarge(usize),
    /// It cannot be decompressed.
    #[error(transparent)]
    Compressed(#[from] CompressionError),
    /// Nobody could see it: there is no port for metrics.
    #[error("metrics of clients are not taken: metrics.http.port is not set")]
    NotTaken,
    /// It is no OpenTelemetry message.
    #[error(transparent)]
    Unreadable(#[from] OtlpError),
}

/// What a client is to push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The client's id; made if it had none.
    pub instance: Uuid,
    /// Stands for the rest.
    pub subscription_id: i32,
    /// Prefixes of names, or `*`.
    pub metrics: Vec<String>,
    /// Between two pushes.
    pub interval_ms: i32,
}

/// A push as it came.
#[derive(Clone, Debug)]
pub struct Push {
    /// Who pushes.
    pub instance: Uuid,
    /// What was asked of it.
    pub subscription_id: i32,
    /// Nothing comes after this.
    pub is_last: bool,
    /// As on the wire.
    pub compression: i8,
    /// OpenTelemetry's `MetricsData`, compressed.
    pub metrics: bytes::Bytes,
}

/// What clients push.
#[derive(Debug)]
pub struct Telemetry {
    state: Mutex<State>,
    max_bytes: usize,
    /// Pushes that were taken.
    pub pushes: Counter,
    /// Requests that came too soon.
    pub throttled: Counter,
    /// Pushes for another subscription than the client's.
    pub unknown_subscriptions: Counter,
    /// Pushes that could not be read.
    pub unreadable: Counter,
    /// Series for which there was no room.
    pub dropped: Counter,
}

#[derive(Debug)]
struct State {
    rng: Rng,
    subscriptions: BTreeMap<String, Subscription>,
    /// Goes up with each change of the subscriptions.
    version: u64,
    instances: BTreeMap<Uuid, Instance>,
    /// When each instance goes.
    deadlines: BTreeSet<(Millis, Uuid)>,
    pushed_bytes: usize,
}

/// The last request was refused for a reason after which the client may ask at once what is wanted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Content,
    MayAskAgain,
}

/// A client.
#[derive(Debug)]
struct Instance {
    attributes: Attributes,
    told: Told,
    version: u64,
    last_get: Option<Millis>,
    last_push: Option<Millis>,
    is_terminating: bool,
    mood: Mood,
    deadline: Millis,
    pushed: Pushed,
}

impl Telemetry {
    /// Takes pushes of at most so many bytes, compressed. `rng` makes the ids of clients.
    pub fn new(max_bytes: usize, rng: Rng) -> Telemetry {
        let state = State {
            rng,
            subscriptions: BTreeMap::new(),
            version: 0,
            instances: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            pushed_bytes: 0,
        };
        Telemetry {
            state: Mutex::new(state),
            max_bytes,
            pushes: Counter::default(),
            throttled: Counter::default(),
            unknown_subscriptions: Counter::default(),
            unreadable: Counter::default(),
            dropped: Counter::default(),
        }
    }

    /// Most bytes that are taken at once, compressed.
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// A subscription was set, or taken away: `None`.
    pub fn set_subscription(&self, name: &str, subscription: Option<Subscription>) {
        let mut state = self.state.lock();
        let is_changed = match subscription {
            Some(subscription) => {
                state.subscriptions.insert(name.to_owned(), subscription);
                true
            }
            None => state.subscriptions.remove(name).is_some(),
        };
        state.version += u64::from(is_changed);
    }

    /// What a client is to push. `instance` is nil if it has no id yet.
    ///
    /// # Errors
    /// [`TelemetryError::TooSoon`]
    pub fn subscribe(&self, instance: Uuid, mut attributes: Attributes, now: Millis) -> Result<Told, TelemetryError> {
        let mut state = self.state.lock();
        let id = if instance.is_nil() { state.new_id() } else { instance };
        attributes.instance = shown(id);
        let client = state.touch(id, attributes, now);
        let last = client.last_get.max(client.last_push);
        if !is_over(last, client.told.interval_ms, now) && client.mood != Mood::MayAskAgain {
            self.throttled.increment();
            return Err(TelemetryError::TooSoon);
        }
        client.last_get = Some(now);
        client.mood = Mood::Content;
        Ok(client.told.clone())
    }

    /// Takes what a client pushes.
    ///
    /// # Errors
    /// The client hears why; nothing is kept.
    pub fn push(&self, push: Push, mut attributes: Attributes, now: Millis) -> Result<(), TelemetryError> {
        // Kafka's reserved ids: nil, and that of the metadata topic.
        if push.instance.as_u128() <= 1 {
            return Err(TelemetryError::InvalidInstance);
        }
        attributes.instance = shown(push.instance);
        let compression = self.admit(&push, attributes, now)?;
        if push.metrics.is_empty() {
            return Ok(());
        }
        let outcome = self.read(compression, &push.metrics);
        match outcome {
            Ok(pushed) => self.keep(push.instance, pushed),
            Err(error) => {
                self.unreadable.increment();
                return Err(error);
            }
        }
        self.pushes.increment();
        Ok(())
    }

    /// May the client push this now?
    fn admit(&self, push: &Push, attributes: Attributes, now: Millis) -> Result<Compression, TelemetryError> {
        let mut state = self.state.lock();
        let client = state.touch(push.instance, attributes, now);
        let outcome = client.check(push, self.max_bytes, now);
        client.is_terminating = push.is_last;
        client.mood = match outcome {
            Err(TelemetryError::UnknownSubscription | TelemetryError::UnknownCompression(_)) => Mood::MayAskAgain,
            _ => Mood::Content,
        };
        if push.is_last {
            state.set_deadline(push.instance, Millis(now.0.saturating_add(SILENCE_MS)));
        }
        match outcome {
            Err(TelemetryError::TooSoon) => self.throttled.increment(),
            Err(TelemetryError::UnknownSubscription) => self.unknown_subscriptions.increment(),
            _ => {}
        }
        outcome
    }

    fn read(&self, compression: Compression, metrics: &[u8]) -> Result<Pushed, TelemetryError> {
        let bytes = compression.decompress(metrics, self.max_bytes.saturating_mul(EXPANSION_MAX))?;
        let mut pushed = Pushed::default();
        let passed_over = otlp::read(bytes.into(), &mut |point| pushed.add(point))?;
        pushed.pass_over(passed_over);
        Ok(pushed)
    }

    /// Puts what was pushed in the place of what was pushed before.
    fn keep(&self, instance: Uuid, mut pushed: Pushed) {
        let mut state = self.state.lock();
        let State { instances, pushed_bytes, .. } = &mut *state;
        let Some(client) = instances.get_mut(&instance) else { return };
        let others = *pushed_bytes - client.pushed.bytes();
        pushed.add_to(&client.pushed);
        self.dropped.add(pushed.shrink_to(PUSHED_BYTES_MAX.saturating_sub(others)));
        *pushed_bytes = others + pushed.bytes();
        client.pushed = pushed;
    }

    /// Shows every client with what it pushed last; those that are silent for too long are forgotten.
    pub fn for_each(&self, now: Millis, mut show: impl FnMut(&Attributes, &Pushed)) {
        let mut state = self.state.lock();
        state.expire(now);
        state.instances.values().for_each(|client| show(&client.attributes, &client.pushed));
    }
}

impl Instance {
    fn check(&mut self, push: &Push, max_bytes: usize, now: Millis) -> Result<Compression, TelemetryError> {
        if self.is_terminating {
            return Err(TelemetryError::Terminated);
        }
        // Clients spread their pushes around the interval, so the first behind a subscription comes when it likes.
        let is_due = self.last_get > self.last_push || is_over(self.last_push, self.told.interval_ms, now);
        if is_due {
            self.last_push = Some(now);
        } else if !push.is_last {
            return Err(TelemetryError::TooSoon);
        }
        if push.subscription_id != self.told.subscription_id {
            return Err(TelemetryError::UnknownSubscription);
        }
        let compression = Compression::from_id(i16::from(push.compression))
            .ok_or(TelemetryError::UnknownCompression(push.compression))?;
        if push.metrics.len() > max_bytes {
            return Err(TelemetryError::TooLarge(push.metrics.len()));
        }
        Ok(compression)
    }
}

impl State {
    fn new_id(&mut self) -> Uuid {
        loop {
            let id = uuid::Builder::from_random_bytes(self.rng.u128(..).to_be_bytes()).into_uuid();
            if !self.instances.contains_key(&id) {
                return id;
            }
        }
    }

    /// The client, known from now on, with what it is to push by the subscriptions of now.
    fn touch(&mut self, id: Uuid, attributes: Attributes, now: Millis) -> &mut Instance {
        self.expire(now);
        let known = self.instances.remove(&id);
        let client = match known {
            Some(client) if client.version == self.version => client,
            old => Instance {
                told: self.told(id, &attributes),
                version: self.version,
                last_get: None,
                last_push: None,
                is_terminating: false,
                mood: Mood::Content,
                deadline: old.as_ref().map_or(Millis(0), |client| client.deadline),
                pushed: old.map(|client| client.pushed).unwrap_or_default(),
                attributes,
            },
        };
        if self.instances.len() >= INSTANCES_MAX
            && let Some((_, first)) = self.deadlines.first().copied()
        {
            self.forget(first);
        }
        let silence_ms = u64::try_from(client.told.interval_ms).unwrap_or(0).saturating_mul(3).max(SILENCE_MS);
        self.instances.insert(id, client);
        self.set_deadline(id, Millis(now.0.saturating_add(silence_ms)));
        self.instances.get_mut(&id).expect("inserted above")
    }

    fn set_deadline(&mut self, id: Uuid, deadline: Millis) {
        if let Some(client) = self.instances.get_mut(&id) {
            self.deadlines.remove(&(client.deadline, id));
            client.deadline = deadline;
            self.deadlines.insert((deadline, id));
        }
    }

    fn expire(&mut self, now: Millis) {
        while let Some((deadline, id)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: Uuid) {
        if let Some(client) = self.instances.remove(&id) {
            self.deadlines.remove(&(client.deadline, id));
            self.pushed_bytes -= client.pushed.bytes();
        }
    }

    fn told(&self, instance: Uuid, attributes: &Attributes) -> Told {
        let matching = || self.subscriptions.values().filter(|one| one.matches(attributes));
        let mut metrics: BTreeSet<&str> = matching().flat_map(|one| one.metrics.iter().map(String::as_str)).collect();
        if metrics.contains(ALL) {
            metrics = BTreeSet::from([ALL]);
        }
        let interval_ms = matching().map(|one| one.interval_ms).min().unwrap_or(DEFAULT_INTERVAL_MS);
        let interval_ms = interval_ms.min(DEFAULT_INTERVAL_MS);
        let metrics: Vec<String> = metrics.into_iter().map(str::to_owned).collect();
        // Every broker gets to the same number, so that a client may turn to another.
        let crc = crc32c::crc32c(format!("{metrics:?}{interval_ms}").as_bytes());
        let folded = instance.as_u64_pair().0 ^ instance.as_u64_pair().1;
        let [a, b, c, d, e, f, g, h] = folded.to_be_bytes();
        let subscription_id = crc ^ u32::from_be_bytes([a, b, c, d]) ^ u32::from_be_bytes([e, f, g, h]);
        Told { instance, subscription_id: subscription_id.cast_signed(), metrics, interval_ms }
    }
}

/// Is the interval since the last request over?
fn is_over(last: Option<Millis>, interval_ms: i32, now: Millis) -> bool {
    last.is_none_or(|last| now.0.saturating_sub(last.0) >= u64::try_from(interval_ms).unwrap_or(0))
}

/// An id as Kafka writes it.
fn shown(id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}
