//! What a coordinator has acknowledged is still there at the end: created nodes that nobody deleted, and the last version
//! of every register.

use crate::sim::history::{History, ZkAsk, ZkOutcome};
use coordinator::tree::Tree;
use std::collections::{BTreeMap, BTreeSet};

/// Compares a tree that is at rest with the history.
pub fn check(history: &History, tree: &Tree) -> Result<(), String> {
    let deleted: BTreeSet<&str> = history
        .zk
        .iter()
        .filter_map(|op| match (&op.ask, &op.outcome) {
            (ZkAsk::Delete { path }, ZkOutcome::Deleted | ZkOutcome::Unknown | ZkOutcome::Pending) => {
                Some(path.as_str())
            }
            _ => None,
        })
        .collect();
    let surely_deleted: BTreeSet<&str> = history
        .zk
        .iter()
        .filter_map(|op| match (&op.ask, &op.outcome) {
            (ZkAsk::Delete { path }, ZkOutcome::Deleted) => Some(path.as_str()),
            _ => None,
        })
        .collect();
    let mut paths = BTreeMap::new();
    let mut versions: BTreeMap<&str, i32> = BTreeMap::new();
    for op in &history.zk {
        match (&op.ask, &op.outcome) {
            (ZkAsk::Create { value, is_ephemeral, .. }, ZkOutcome::Created(path)) => {
                if let Some(other) = paths.insert(path.as_str(), value.as_str()) {
                    return Err(format!("{path} was created for {other} and for {value}"));
                }
                let found = tree.node(path).and_then(|node| node.data());
                let is_due = !deleted.contains(path.as_str()) && (!is_ephemeral || tree.session(op.session).is_some());
                if is_due && found != Some(value.as_bytes()) {
                    return Err(format!("{path} with {value} was acknowledged and is now {found:?}: {op:?}"));
                }
                if found.is_some() && surely_deleted.contains(path.as_str()) {
                    return Err(format!("{path} was deleted and is there: {op:?}"));
                }
            }
            (ZkAsk::Set { path, .. }, ZkOutcome::Set(set)) => {
                let version = versions.entry(path).or_insert(set[0]);
                *version = (*version).max(set[0]);
            }
            _ => {}
        }
    }
    for (path, version) in versions {
        let found = tree.node(path).map(|node| node.stat().version);
        if found.is_none_or(|found| found < version) {
            return Err(format!("{path}: version {version} was acknowledged, the tree has {found:?}"));
        }
    }
    Ok(())
}
