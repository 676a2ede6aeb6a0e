//! Registers are linearizable for writes and synced reads, and sequential for each session: a version has one value, a
//! write takes a later version than all that was known when it was asked for, and no session sees time run backwards.

use crate::sim::history::{History, ZkAsk, ZkOp, ZkOutcome};
use crate::sim::world::Micros;
use std::collections::{BTreeMap, BTreeSet};

/// A register was seen to have this version.
struct Seen<'a> {
    path: &'a str,
    version: i32,
    value: &'a str,
    is_write: bool,
    op: &'a ZkOp,
}

/// Checks the whole history.
pub fn check(history: &History) -> Result<(), String> {
    let written = written(history);
    let mut values: BTreeMap<(&str, i32), &str> = BTreeMap::new();
    let mut writers: BTreeSet<(&str, i32)> = BTreeSet::new();
    let mut by_path: BTreeMap<&str, Vec<Seen<'_>>> = BTreeMap::new();
    for seen in history.zk.iter().flat_map(sightings) {
        if !seen.value.is_empty() && !written.contains(&(seen.path, seen.value)) {
            return Err(format!("{} held {:?}, which nobody wrote: {:?}", seen.path, seen.value, seen.op));
        }
        let first = *values.entry((seen.path, seen.version)).or_insert(seen.value);
        if first != seen.value {
            return Err(format!(
                "{} version {} was {first} and {}: {:?}",
                seen.path, seen.version, seen.value, seen.op
            ));
        }
        if seen.is_write && !writers.insert((seen.path, seen.version)) {
            return Err(format!("{} version {} was given to two writes: {:?}", seen.path, seen.version, seen.op));
        }
        if let ZkAsk::Set { version, .. } = &seen.op.ask
            && *version >= 0
            && seen.version != version + 1
        {
            return Err(format!("a write on version {version} made version {}: {:?}", seen.version, seen.op));
        }
        by_path.entry(seen.path).or_default().push(seen);
    }
    for (path, seen) in &by_path {
        in_real_time(path, seen)?;
        in_session_order(path, seen)?;
    }
    Ok(())
}

fn written(history: &History) -> BTreeSet<(&str, &str)> {
    let mut written = BTreeSet::new();
    for op in &history.zk {
        match &op.ask {
            ZkAsk::Set { path, value, .. } => drop(written.insert((path.as_str(), value.as_str()))),
            ZkAsk::SetBoth { paths, value } => written.extend(paths.iter().map(|path| (path.as_str(), value.as_str()))),
            _ => {}
        }
    }
    written
}

fn sightings(op: &ZkOp) -> Vec<Seen<'_>> {
    match (&op.ask, &op.outcome) {
        (ZkAsk::Set { path, value, .. }, ZkOutcome::Set(versions)) => {
            vec![Seen { path, version: versions[0], value, is_write: true, op }]
        }
        (ZkAsk::SetBoth { paths, value }, ZkOutcome::Set(versions)) => {
            let pairs = paths.iter().zip(versions);
            pairs.map(|(path, version)| Seen { path, version: *version, value, is_write: true, op }).collect()
        }
        (ZkAsk::Get { path, .. }, ZkOutcome::Read { value, version }) => {
            vec![Seen { path, version: *version, value, is_write: false, op }]
        }
        _ => Vec::new(),
    }
}

/// A write, or a read behind a sync, knows all writes that were answered before it was asked for.
fn in_real_time(path: &str, seen: &[Seen<'_>]) -> Result<(), String> {
    // Versions of writes by the time of their answer, each with the largest so far.
    let mut answered: Vec<(Micros, i32)> =
        seen.iter().filter(|seen| seen.is_write).map(|seen| (seen.op.answered, seen.version)).collect();
    answered.sort_unstable();
    let mut largest = -1;
    for (_, version) in &mut answered {
        largest = largest.max(*version);
        *version = largest;
    }
    for seen in seen {
        let count = answered.partition_point(|(at, _)| *at < seen.op.asked);
        let Some((at, known)) = count.checked_sub(1).map(|index| answered[index]) else { continue };
        let is_late = match seen.op.ask {
            ZkAsk::Get { is_synced: true, .. } => seen.version < known,
            ZkAsk::Get { .. } => false,
            _ => seen.version <= known,
        };
        if is_late {
            return Err(format!("{path}: version {known} was written by {at} us, but {:?}", seen.op));
        }
    }
    Ok(())
}

/// Within a session, requests are answered in their order.
fn in_session_order(path: &str, seen: &[Seen<'_>]) -> Result<(), String> {
    let mut sessions: BTreeMap<i64, (i32, &Seen<'_>)> = BTreeMap::new();
    for seen in seen {
        if let Some((version, earlier)) = sessions.get(&seen.op.session)
            && (seen.version < *version || (seen.is_write && seen.version == *version))
        {
            return Err(format!("{path} goes back in one session: {:?}, then {:?}", earlier.op, seen.op));
        }
        sessions.insert(seen.op.session, (seen.version, seen));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Client, session, when asked and answered, what, and what came of it.
    type Op = (u64, i64, Micros, Micros, ZkAsk, ZkOutcome);

    fn set(value: &str, version: i32) -> ZkAsk {
        ZkAsk::Set { path: "/r".to_owned(), value: value.to_owned(), version }
    }

    fn get(is_synced: bool) -> ZkAsk {
        ZkAsk::Get { path: "/r".to_owned(), is_synced }
    }

    fn read(value: &str, version: i32) -> ZkOutcome {
        ZkOutcome::Read { value: value.to_owned(), version }
    }

    fn is_right(ops: &[Op]) -> bool {
        let op = |(client, session, asked, answered, ask, outcome): &Op| ZkOp {
            client: *client,
            session: *session,
            asked: *asked,
            answered: *answered,
            ask: ask.clone(),
            outcome: outcome.clone(),
        };
        check(&History { zk: ops.iter().map(op).collect(), ..History::default() }).is_ok()
    }

    #[test]
    fn histories_that_no_register_has_are_found() {
        let write = |value: &str, version: i32, at| (1, 1, at, at + 1, set(value, -1), ZkOutcome::Set(vec![version]));
        let look = |session, at, is_synced, value: &str, version| {
            (2, session, at, at + 1, get(is_synced), read(value, version))
        };
        let (a, b) = (write("a", 1, 10), write("b", 2, 20));
        for (rest, is_well) in [
            (vec![look(2, 30, true, "b", 2)], true),
            // A plain read may be old, a synced one may not.
            (vec![look(2, 30, false, "a", 1)], true),
            (vec![look(2, 30, true, "a", 1)], false),
            // Time runs backwards within a session.
            (vec![look(2, 30, false, "b", 2), look(2, 40, false, "a", 1)], false),
            (vec![look(2, 30, false, "b", 2), look(3, 40, false, "a", 1)], true),
            // A version has one value and one write, and nobody reads what nobody wrote.
            (vec![look(2, 30, false, "a", 2)], false),
            (vec![look(2, 30, false, "c", 3)], false),
            (vec![(3, 3, 30, 31, set("c", -1), ZkOutcome::Set(vec![2]))], false),
            // A write takes a later version than those answered before, and follows the version it names.
            (vec![(3, 3, 30, 31, set("c", -1), ZkOutcome::Set(vec![3]))], true),
            (vec![(3, 3, 30, 31, set("c", 1), ZkOutcome::Set(vec![3]))], false),
            (vec![(3, 3, 30, 31, set("c", -1), ZkOutcome::Set(vec![0]))], false),
            // What is not known may have happened.
            (vec![(3, 3, 30, 30, set("c", -1), ZkOutcome::Unknown), look(2, 40, true, "c", 3)], true),
        ] {
            let ops: Vec<Op> = [a.clone(), b.clone()].into_iter().chain(rest).collect();
            assert_eq!(is_right(&ops), is_well, "{ops:?}");
        }
    }
}
