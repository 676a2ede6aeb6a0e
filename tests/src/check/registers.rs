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
