//! What a coordinator has acknowledged is still there at the end: created nodes that nobody deleted, and the last version
//! of every register.

use crate::sim::history::{History, ZkAsk, ZkOutcome};
use coordinator::tree::Tree;
use std::collections::{BTreeMap, BTreeSet};

/// Compares a tree that is at rest with the history.
pub fn check(history: &History, tree: &Tree) -> Result<(), String> {
    let node = |path: &str| {
        let node = tree.node(path)?;
        Some((node.data().unwrap_or_default().to_vec(), node.stat().version))
    };
    compare(history, &node, &|session| tree.session(session).is_some())
}

/// Data and version of a node, if it is there.
type Nodes<'a> = dyn Fn(&str) -> Option<(Vec<u8>, i32)> + 'a;

fn compare(history: &History, node: &Nodes<'_>, is_alive: &dyn Fn(i64) -> bool) -> Result<(), String> {
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
                let found = node(path).map(|(data, _)| data);
                let is_due = !deleted.contains(path.as_str()) && (!is_ephemeral || is_alive(op.session));
                if is_due && found.as_deref() != Some(value.as_bytes()) {
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
        let found = node(path).map(|(_, version)| version);
        if found.is_none_or(|found| found < version) {
            return Err(format!("{path}: version {version} was acknowledged, the tree has {found:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_writes_are_found() {
        let mut history = History::default();
        let create = |path: &str, is_ephemeral| {
            let ask = ZkAsk::Create { path: path.to_owned(), value: "v".to_owned(), is_ephemeral };
            (ask, ZkOutcome::Created(path.to_owned()))
        };
        let set = ZkAsk::Set { path: "/r".to_owned(), value: "w".to_owned(), version: -1 };
        let delete = ZkAsk::Delete { path: "/gone".to_owned() };
        for (ask, outcome) in [
            create("/a", false),
            create("/e", true),
            create("/gone", false),
            (set, ZkOutcome::Set(vec![3])),
            (delete, ZkOutcome::Deleted),
        ] {
            let number = history.ask(1, ask, 0);
            history.answer(number, 7, outcome, 1);
        }
        let whole = [("/a", "v", 0), ("/e", "v", 0), ("/r", "w", 3)];
        for (without, with, is_alive, is_right) in [
            ("", None, true, true),
            ("/a", None, true, false),
            ("/a", Some(("/a", "x", 0)), true, false),
            ("/e", None, true, false),
            ("/e", None, false, true),
            ("/r", Some(("/r", "w", 2)), true, false),
            ("", Some(("/gone", "v", 0)), true, false),
        ] {
            let node = |path: &str| {
                let mut nodes = whole.into_iter().filter(|(path, ..)| *path != without).chain(with);
                nodes.find(|(found, ..)| *found == path).map(|(_, data, version)| (data.as_bytes().to_vec(), version))
            };
            let found = compare(&history, &node, &|_| is_alive);
            assert_eq!(found.is_ok(), is_right, "{without} {with:?}: {found:?}");
        }
    }
}
