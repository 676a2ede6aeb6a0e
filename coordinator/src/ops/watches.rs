//! setWatches, setWatches2, addWatch, removeWatches, checkWatches.

use common::zk::{AddWatchMode, Response, SetWatches, WatcherType, ZkError};

use super::ReadContext;
use crate::tree::txn::EventKind;
use crate::tree::watch::Selection;

/// A change that a client missed while it had no connection. Told without asking for permission, as ZooKeeper does:
/// the client had it when it set the watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// What happened.
    pub kind: EventKind,
    /// To which znode.
    pub path: String,
}

/// Watches of a client that comes back: those whose change it missed fire at once, the others are set again.
pub(super) fn set_watches(context: &mut ReadContext<'_>, watches: &SetWatches) -> Response {
    let connection = context.connection;
    let mut missed = |kind, path: &str| context.missed.push(Missed { kind, path: path.to_owned() });
    for path in &watches.data {
        match context.tree.node(path).map(|node| node.stat().mzxid) {
            None => missed(EventKind::Deleted, path),
            Some(mzxid) if mzxid > watches.relative_zxid => missed(EventKind::DataChanged, path),
            Some(_) => context.watches.watch_data(path, connection),
        }
    }
    for path in &watches.exist {
        match context.tree.node(path) {
            Some(_) => missed(EventKind::Created, path),
            None => context.watches.watch_data(path, connection),
        }
    }
    for path in &watches.child {
        match context.tree.node(path).map(|node| node.stat().pzxid) {
            None => missed(EventKind::Deleted, path),
            Some(pzxid) if pzxid > watches.relative_zxid => missed(EventKind::ChildrenChanged, path),
            Some(_) => context.watches.watch_children(path, connection),
        }
    }
    for path in &watches.persistent {
        context.watches.watch_always(path, connection, false);
    }
    for path in &watches.persistent_recursive {
        context.watches.watch_always(path, connection, true);
    }
    Response::SetWatches
}

pub(super) fn add_watch(context: &mut ReadContext<'_>, path: &str, mode: i32) -> Result<Response, ZkError> {
    // ZooKeeper answers a mode that it does not know as if the bytes were wrong.
    let mode = AddWatchMode::from_code(mode).ok_or(ZkError::MarshallingError)?;
    context.watches.watch_always(path, context.connection, mode == AddWatchMode::PersistentRecursive);
    Ok(Response::AddWatch)
}

pub(super) fn check_watches(context: &mut ReadContext<'_>, path: &str, kind: i32) -> Result<Response, ZkError> {
    let found = context.watches.contains(path, context.connection, selection(kind)?);
    if found { Ok(Response::CheckWatches) } else { Err(ZkError::NoWatcher) }
}

pub(super) fn remove_watches(context: &mut ReadContext<'_>, path: &str, kind: i32) -> Result<Response, ZkError> {
    let removed = context.watches.remove(path, context.connection, selection(kind)?);
    if removed { Ok(Response::RemoveWatches) } else { Err(ZkError::NoWatcher) }
}

fn selection(kind: i32) -> Result<Selection, ZkError> {
    Ok(match WatcherType::from_code(kind).ok_or(ZkError::MarshallingError)? {
        WatcherType::Children => Selection::Children,
        WatcherType::Data => Selection::Data,
        WatcherType::Any => Selection::Any,
        WatcherType::Persistent => Selection::Persistent,
        WatcherType::PersistentRecursive => Selection::Recursive,
    })
}
