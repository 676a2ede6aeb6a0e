//! Sessions that this server alone knows: those of clients that connected while it was read-only, and all of them with
//! `localSessionsEnabled`. No transaction begins or ends them. They live in memory and end with the process; one that
//! makes an ephemeral znode becomes a session of the ensemble.

use crate::tree::write::{CreateOp, Write, WriteBody};
use bytes::Bytes;
use common::time::Millis;
use std::collections::BTreeMap;

/// ZooKeeper's create flags that make an ephemeral znode: ephemeral, and ephemeral and sequential.
const EPHEMERAL_FLAGS: [i32; 2] = [1, 3];

#[derive(Debug)]
struct LocalSession {
    password: Bytes,
    timeout_ms: i32,
    heard_at: Millis,
}

/// The local sessions of this server.
#[derive(Debug, Default)]
pub(super) struct LocalSessions {
    sessions: BTreeMap<i64, LocalSession>,
}

impl LocalSessions {
    /// A session begins.
    pub(super) fn begin(&mut self, session: i64, password: Bytes, timeout_ms: i32, now: Millis) {
        self.sessions.insert(session, LocalSession { password, timeout_ms, heard_at: now });
    }

    /// A client comes with an old session: `None` if it is no local one, else whether it may have it.
    pub(super) fn attach(&mut self, session: i64, password: &[u8], timeout_ms: i32, now: Millis) -> Option<bool> {
        let known = self.sessions.get_mut(&session)?;
        let is_right = known.password == password;
        if is_right {
            (known.timeout_ms, known.heard_at) = (timeout_ms, now);
        }
        Some(is_right)
    }

    /// Password and timeout of a session that is to be the ensemble's.
    pub(super) fn get(&self, session: i64) -> Option<(Bytes, i32)> {
        self.sessions.get(&session).map(|known| (known.password.clone(), known.timeout_ms))
    }

    /// The session was heard of; says whether it is a local one.
    pub(super) fn touch(&mut self, session: i64, now: Millis) -> bool {
        let Some(known) = self.sessions.get_mut(&session) else { return false };
        known.heard_at = now;
        true
    }

    /// Gives every session its full timeout again.
    pub(super) fn restart_clocks(&mut self, now: Millis) {
        for known in self.sessions.values_mut() {
            known.heard_at = now;
        }
    }

    /// The session has ended or is the ensemble's now.
    pub(super) fn remove(&mut self, session: i64) {
        self.sessions.remove(&session);
    }

    /// Takes out those that were silent for too long.
    pub(super) fn expire(&mut self, now: Millis) -> Vec<i64> {
        let is_over = |known: &LocalSession| now - known.heard_at > u64::try_from(known.timeout_ms).unwrap_or(0);
        let expired: Vec<i64> =
            self.sessions.iter().filter(|(_, known)| is_over(known)).map(|(session, _)| *session).collect();
        for session in &expired {
            self.sessions.remove(session);
        }
        expired
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }
}

/// Whether the write makes a znode that goes with its session.
pub(super) fn makes_ephemeral(write: &Write) -> bool {
    match &write.body {
        Some(WriteBody::Create(create) | WriteBody::CreateIfNotExists(create)) => {
            create.op() == CreateOp::Plain && EPHEMERAL_FLAGS.contains(&create.flags)
        }
        Some(WriteBody::Multi(multi)) => multi.writes.iter().any(makes_ephemeral),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_session_lives_while_it_is_heard_of() {
        let mut sessions = LocalSessions::default();
        sessions.begin(7, Bytes::from_static(b"secret"), 100, Millis(0));
        assert!(sessions.touch(7, Millis(90)));
        assert_eq!(sessions.expire(Millis(190)), Vec::<i64>::new());
        assert_eq!(sessions.attach(7, b"guess", 100, Millis(190)), Some(false));
        assert_eq!(sessions.attach(8, b"secret", 100, Millis(190)), None);
        assert_eq!(sessions.attach(7, b"secret", 50, Millis(190)), Some(true));
        assert_eq!(sessions.expire(Millis(240)), Vec::<i64>::new());
        assert_eq!(sessions.expire(Millis(241)), [7]);
        assert!(!sessions.touch(7, Millis(241)) && sessions.len() == 0);
    }
}
