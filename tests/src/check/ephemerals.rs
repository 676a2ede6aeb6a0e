//! A session ends when its client closes it or was silent for the timeout, not earlier; its ephemeral nodes end with it,
//! and none is left behind.

use super::coordinators;
use crate::sim::history::History;
use crate::sim::world::{Micros, World};
use std::collections::BTreeMap;

/// A server reports the sessions that it heard of to the leader at intervals; if it ends in between, the leader's
/// knowledge is older by so much. Milliseconds, with some for drifting clocks.
const REPORT_MS: u64 = 1_100;

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Ephemerals {
    /// Sessions and when they were first seen to be gone from a tree that had them.
    known: BTreeMap<i64, Option<Micros>>,
    /// The newest zxid that any tree ever had.
    newest: i64,
}

impl Ephemerals {
    /// Looks at all trees.
    pub fn look(&mut self, world: &World) -> Result<(), String> {
        let newest = coordinators(world).map(|(_, process)| process.node.tree()).max_by_key(|tree| tree.zxid());
        // A tree that lags behind what was seen elsewhere proves nothing about sessions.
        let Some(tree) = newest.filter(|tree| tree.zxid() >= self.newest) else { return Ok(()) };
        self.newest = tree.zxid();
        for (session, _) in tree.sessions() {
            self.known.entry(session).or_insert(None);
        }
        for (owner, paths) in tree.ephemeral_owners() {
            if tree.session(owner).is_none() {
                let paths: Vec<&str> = paths.collect();
                return Err(format!("{paths:?} outlive their session {owner:x}"));
            }
        }
        for (session, gone) in &mut self.known {
            if gone.is_none() && tree.session(*session).is_none() {
                *gone = Some(world.core.now());
                check(&world.core.history, *session, world.core.now())?;
            }
        }
        Ok(())
    }
}

fn check(history: &History, session: i64, now: Micros) -> Result<(), String> {
    let Some(life) = history.sessions.get(&session) else { return Ok(()) };
    let silent_ms = now.saturating_sub(life.heard) / 1000;
    if life.closed.is_none() && silent_ms + REPORT_MS < u64::from(life.timeout_ms) {
        return Err(format!(
            "session {session:x} of {} ms has ended {silent_ms} ms after its client was heard, at {} us",
            life.timeout_ms, life.heard
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::history::SessionLife;

    #[test]
    fn a_session_that_ends_too_early_is_found() {
        for (closed, now, is_right) in [
            (None, 1_000_000, false),
            (None, 12_800_000, false),
            (None, 14_000_000, true),
            (Some(10_500_000), 10_600_000, true),
        ] {
            let life = SessionLife { timeout_ms: 4_000, heard: 10_000_000, closed };
            let history = History { sessions: [(7, life)].into(), ..History::default() };
            assert_eq!(check(&history, 7, now).is_ok(), is_right, "{closed:?} {now}");
        }
    }
}
