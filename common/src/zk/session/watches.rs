//! Which watches a client has set, so that a new connection can set them again. Holds the server's paths, calls nobody.

use std::collections::BTreeSet;

use crate::zk::records::{AddWatchMode, EventType, WatcherType};
use crate::zk::request::{Request, SetWatches};

/// A batch of watches is sent when its paths reach this many bytes: a server whose `jute.maxbuffer` is 1 MiB, the default,
/// must accept the frame however many watches there are (ZOOKEEPER-706).
const BATCH_BYTES: usize = 128 * 1024;

/// What a request will do to the watches if it succeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WatchChange {
    /// Sets a data watch, or an exist watch if there is no node.
    Exists(String),
    Data(String),
    Child(String),
    Persistent(String),
    PersistentRecursive(String),
    Remove(String, WatcherType),
}

impl WatchChange {
    /// What `request` will do; `None` if it touches no watch.
    pub(super) fn of(request: &Request) -> Option<WatchChange> {
        match request {
            Request::Exists { path, watch: true } => Some(WatchChange::Exists(path.clone())),
            Request::GetData { path, watch: true } => Some(WatchChange::Data(path.clone())),
            Request::GetChildren { path, watch: true }
            | Request::GetChildren2 { path, watch: true }
            | Request::FilteredList { path, watch: true, .. }
            | Request::FilteredListWithStatsAndData { path, watch: true, .. } => Some(WatchChange::Child(path.clone())),
            Request::AddWatch { path, mode } => AddWatchMode::from_code(*mode).map(|mode| match mode {
                AddWatchMode::Persistent => WatchChange::Persistent(path.clone()),
                AddWatchMode::PersistentRecursive => WatchChange::PersistentRecursive(path.clone()),
            }),
            Request::RemoveWatches { path, kind } => {
                WatcherType::from_code(*kind).map(|kind| WatchChange::Remove(path.clone(), kind))
            }
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Watches {
    data: BTreeSet<String>,
    exist: BTreeSet<String>,
    child: BTreeSet<String>,
    persistent: BTreeSet<String>,
    persistent_recursive: BTreeSet<String>,
}

impl Watches {
    /// The request succeeded.
    pub(super) fn succeeded(&mut self, change: WatchChange) {
        match change {
            WatchChange::Exists(path) | WatchChange::Data(path) => self.data.insert(path),
            WatchChange::Child(path) => self.child.insert(path),
            WatchChange::Persistent(path) => self.persistent.insert(path),
            WatchChange::PersistentRecursive(path) => self.persistent_recursive.insert(path),
            WatchChange::Remove(path, kind) => self.remove(&path, kind),
        };
    }

    /// The request was answered with `NoNode`: only asking for existence sets a watch then.
    pub(super) fn found_no_node(&mut self, change: WatchChange) {
        if let WatchChange::Exists(path) = change {
            self.exist.insert(path);
        }
    }

    fn remove(&mut self, path: &str, kind: WatcherType) -> bool {
        let any = kind == WatcherType::Any;
        if any || kind == WatcherType::Children {
            self.child.remove(path);
        }
        if any || kind == WatcherType::Data {
            self.data.remove(path);
            self.exist.remove(path);
        }
        if any || kind == WatcherType::Persistent {
            self.persistent.remove(path);
        }
        if any || kind == WatcherType::PersistentRecursive {
            self.persistent_recursive.remove(path);
        }
        true
    }

    /// An event arrived: one-shot watches that it belongs to are used up.
    pub(super) fn fired(&mut self, kind: EventType, path: &str) {
        match kind {
            EventType::NodeCreated | EventType::NodeDataChanged => {
                self.data.remove(path);
                self.exist.remove(path);
            }
            EventType::NodeChildrenChanged => {
                self.child.remove(path);
            }
            EventType::NodeDeleted => {
                self.data.remove(path);
                self.exist.remove(path);
                self.child.remove(path);
            }
            EventType::None
            | EventType::DataWatchRemoved
            | EventType::ChildWatchRemoved
            | EventType::PersistentWatchRemoved => {}
        }
    }

    /// The requests that set all watches again, and let those fire at once whose nodes changed after `last_zxid`. Without
    /// persistent watches they are `setWatches`, which servers before 3.6 know.
    pub(super) fn again(&self, last_zxid: i64) -> Vec<Request> {
        let lists = [&self.data, &self.exist, &self.child, &self.persistent, &self.persistent_recursive];
        let mut batches = Vec::new();
        let mut batch = SetWatches { relative_zxid: last_zxid, ..SetWatches::default() };
        let mut batch_bytes = 0;
        for (kind, list) in lists.into_iter().enumerate() {
            for path in list {
                let target = match kind {
                    0 => &mut batch.data,
                    1 => &mut batch.exist,
                    2 => &mut batch.child,
                    3 => &mut batch.persistent,
                    _ => &mut batch.persistent_recursive,
                };
                target.push(path.clone());
                batch_bytes += path.len();
                if batch_bytes >= BATCH_BYTES {
                    batches.push(std::mem::take(&mut batch));
                    batch.relative_zxid = last_zxid;
                    batch_bytes = 0;
                }
            }
        }
        if batch_bytes > 0 {
            batches.push(batch);
        }
        batches.into_iter().map(as_request).collect()
    }
}

fn as_request(batch: SetWatches) -> Request {
    if batch.persistent.is_empty() && batch.persistent_recursive.is_empty() {
        Request::SetWatches(batch)
    } else {
        Request::SetWatches2(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_watches_go_in_batches_of_bounded_size() {
        let mut watches = Watches::default();
        for i in 0..4000 {
            watches.succeeded(WatchChange::Data(format!("/{i:0100}")));
        }
        watches.succeeded(WatchChange::Persistent("/p".into()));
        let batches = watches.again(7);
        let sizes: Vec<_> = batches
            .iter()
            .map(|batch| match batch {
                Request::SetWatches(w) => (101, w.relative_zxid, w.data.len(), w.persistent.len()),
                Request::SetWatches2(w) => (105, w.relative_zxid, w.data.len(), w.persistent.len()),
                other => panic!("not a batch: {other:?}"),
            })
            .collect();
        assert_eq!(sizes, [(101, 7, 1298, 0), (101, 7, 1298, 0), (101, 7, 1298, 0), (105, 7, 106, 1)]);
    }

    #[test]
    fn removing_by_type_leaves_the_others() {
        let all = |w: &Watches| {
            (w.data.len(), w.exist.len(), w.child.len(), w.persistent.len(), w.persistent_recursive.len())
        };
        for (kind, left) in [
            (WatcherType::Children, (1, 1, 0, 1, 1)),
            (WatcherType::Data, (0, 0, 1, 1, 1)),
            (WatcherType::Persistent, (1, 1, 1, 0, 1)),
            (WatcherType::PersistentRecursive, (1, 1, 1, 1, 0)),
            (WatcherType::Any, (0, 0, 0, 0, 0)),
        ] {
            let mut watches = Watches::default();
            watches.succeeded(WatchChange::Data("/a".into()));
            watches.found_no_node(WatchChange::Exists("/a".into()));
            watches.found_no_node(WatchChange::Data("/a".into()));
            watches.succeeded(WatchChange::Child("/a".into()));
            watches.succeeded(WatchChange::Persistent("/a".into()));
            watches.succeeded(WatchChange::PersistentRecursive("/a".into()));
            watches.succeeded(WatchChange::Remove("/a".into(), kind));
            assert_eq!(all(&watches), left, "{kind:?}");
        }
    }
}
