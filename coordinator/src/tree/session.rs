//! Sessions: what is replicated of them, and the leader's clockwork that tells which have been silent too long. It
//! never ends a session: that is a transaction.

use std::collections::{BTreeMap, BTreeSet};

use common::mutants;
use common::time::{Millis, WallMillis};

use super::digest::fingerprint;

/// The replicated part of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Negotiated timeout in milliseconds.
    pub timeout_ms: i32,
    /// With this the client may move the session to another connection.
    pub password: [u8; 16],
}

impl Session {
    pub(crate) fn fingerprint(&self, id: i64) -> u64 {
        let seed = fingerprint(id.cast_unsigned(), &self.timeout_ms.to_le_bytes());
        fingerprint(seed, &self.password)
    }

    /// Whether a client that shows this password may have the session. Compares all bytes whatever differs.
    pub fn admits(&self, password: &[u8]) -> bool {
        let differing = self.password.iter().zip(password).fold(0, |sum, (a, b)| sum | (a ^ b));
        password.len() == self.password.len() && differing == 0
    }
}

/// Gives out session ids as ZooKeeper does: the server's number in the top byte, then the time, then a count.
#[derive(Debug)]
pub struct SessionIds {
    next: i64,
}

impl SessionIds {
    /// Ids of this server from now on. Server 255 uses 0 as its byte, because 255 marks TTL znodes.
    pub fn new(server: u64, now: WallMillis) -> SessionIds {
        let byte = if server & 0xff == 0xff { 0 } else { server & 0xff };
        let time = (now.0.cast_unsigned() << 24) >> 8;
        let next = (time | (byte << 56)).cast_signed();
        // Neither "no session" nor the mark of a container is an id.
        SessionIds { next: if next == 0 || next == i64::MIN { next + 1 } else { next } }
    }

    /// One more id, never given out before by this server.
    pub fn take(&mut self) -> i64 {
        let id = self.next;
        self.next += 1;
        id
    }
}

/// When each session expires, in buckets of one tick: touching a session and finding the expired ones cost little
/// however many there are. The leader's alone; a new leader starts with every session fresh.
#[derive(Debug)]
pub struct Expiry {
    tick_ms: u64,
    sessions: BTreeMap<i64, Clock>,
    buckets: BTreeMap<Millis, BTreeSet<i64>>,
}

#[derive(Clone, Copy, Debug)]
struct Clock {
    timeout_ms: u64,
    deadline: Millis,
}

impl Expiry {
    /// No sessions yet. `tick_ms` is the width of a bucket; at least 1.
    pub fn new(tick_ms: u64) -> Expiry {
        Expiry { tick_ms: tick_ms.max(1), sessions: BTreeMap::new(), buckets: BTreeMap::new() }
    }

    /// Starts, or starts again, the clock of a session.
    pub fn track(&mut self, session: i64, timeout_ms: i32, now: Millis) {
        self.remove(session);
        let timeout_ms = u64::try_from(timeout_ms).unwrap_or(0);
        let timeout_ms = if mutants::is_on("session-ends-early") { timeout_ms / 4 } else { timeout_ms };
        let deadline = self.bucket(now + timeout_ms);
        self.sessions.insert(session, Clock { timeout_ms, deadline });
        self.buckets.entry(deadline).or_default().insert(session);
    }

    /// The session was heard of: its clock starts again. Says whether it is tracked at all.
    pub fn touch(&mut self, session: i64, now: Millis) -> bool {
        let Some(clock) = self.sessions.get(&session).copied() else { return false };
        if self.bucket(now + clock.timeout_ms) > clock.deadline {
            self.track(session, i32::try_from(clock.timeout_ms).unwrap_or(i32::MAX), now);
        }
        true
    }

    /// Stops the clock of a session.
    pub fn remove(&mut self, session: i64) {
        let Some(clock) = self.sessions.remove(&session) else { return };
        if let Some(bucket) = self.buckets.get_mut(&clock.deadline) {
            bucket.remove(&session);
            if bucket.is_empty() {
                self.buckets.remove(&clock.deadline);
            }
        }
    }

    /// Stops all clocks.
    pub fn clear(&mut self) {
        self.sessions.clear();
        self.buckets.clear();
    }

    /// Sessions whose time is over, in order of their deadlines; their clocks are removed.
    pub fn expired(&mut self, now: Millis) -> Vec<i64> {
        let mut expired = Vec::new();
        while let Some(bucket) = self.buckets.first_entry().filter(|bucket| *bucket.key() <= now) {
            expired.extend(bucket.remove());
        }
        for session in &expired {
            self.sessions.remove(session);
        }
        expired
    }

    /// When the next session may expire.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.buckets.keys().next().copied()
    }

    /// Sessions by the moment they expire, for `dump`.
    pub fn buckets(&self) -> impl Iterator<Item = (Millis, &BTreeSet<i64>)> {
        self.buckets.iter().map(|(deadline, sessions)| (*deadline, sessions))
    }

    /// The end of the bucket in which a moment falls: later than the moment, by one tick at most.
    fn bucket(&self, at: Millis) -> Millis {
        Millis((at.0 / self.tick_ms).saturating_add(1).saturating_mul(self.tick_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_expire_when_silent_for_their_timeout_and_at_most_a_tick_more() {
        let mut expiry = Expiry::new(10);
        expiry.track(1, 100, Millis(0));
        expiry.track(2, 50, Millis(5));
        assert_eq!(expiry.next_deadline(), Some(Millis(60)));
        assert_eq!(expiry.expired(Millis(59)), Vec::<i64>::new());
        assert!(expiry.touch(2, Millis(59)));
        assert_eq!(expiry.expired(Millis(109)), Vec::<i64>::new());
        assert_eq!(expiry.expired(Millis(110)), vec![1, 2]);
        assert!(!expiry.touch(1, Millis(111)));
        assert_eq!(expiry.next_deadline(), None);
    }

    #[test]
    fn a_touch_never_shortens_a_session() {
        let mut expiry = Expiry::new(10);
        expiry.track(1, 100, Millis(50));
        assert!(expiry.touch(1, Millis(0)));
        assert_eq!(expiry.next_deadline(), Some(Millis(160)));
    }

    #[test]
    fn ids_are_unique_and_never_look_like_a_ttl_mark() {
        for (server, byte) in [(1, 1), (254, 254), (255, 0), (0, 0)] {
            let mut ids = SessionIds::new(server, WallMillis(1_700_000_000_123));
            let (first, second) = (ids.take(), ids.take());
            assert_eq!(first.cast_unsigned() >> 56, byte);
            assert_eq!(second, first + 1);
            assert_eq!(super::super::Kind::from_owner(first), super::super::Kind::Ephemeral(first));
        }
    }

    #[test]
    fn passwords_are_compared_whole() {
        let session = Session { timeout_ms: 1, password: [7; 16] };
        assert!(session.admits(&[7; 16]));
        for wrong in [&[][..], &[7; 15], &[7; 17], &[0; 16]] {
            assert!(!session.admits(wrong));
        }
    }
}
