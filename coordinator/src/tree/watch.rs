//! The watches that clients left with this server: one-shot, persistent and recursive, found by path and by
//! connection. It says who hears of a change; sending and permission are for others.

use std::collections::{BTreeMap, BTreeSet};

use common::time::WallMillis;

use super::txn::{EventKind, WatchTrigger};

/// A client connection of this server; never used twice in the life of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// How a watch lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Until it fires once.
    OneShot,
    /// Until it is removed.
    Persistent,
    /// Until it is removed, and for everything under its path (but never told of changed children).
    Recursive,
}

/// Which watches a client asks about or removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// One-shot watches on children.
    Children,
    /// One-shot watches on data or existence.
    Data,
    /// Persistent watches.
    Persistent,
    /// Recursive watches.
    Recursive,
    /// All.
    Any,
}

/// A set of modes on one path by one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Modes(u8);

impl Modes {
    const fn of(mode: Mode) -> Modes {
        match mode {
            Mode::OneShot => Modes(1),
            Mode::Persistent => Modes(2),
            Mode::Recursive => Modes(4),
        }
    }

    fn has(self, mode: Mode) -> bool {
        self.0 & Modes::of(mode).0 != 0
    }
}

/// What one connection watches of one path, and since when.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    modes: Modes,
    since: WallMillis,
}

/// A watch as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watcher<'a> {
    /// What is watched.
    pub path: &'a str,
    /// Who watches.
    pub connection: ConnectionId,
    /// Its children, or else data and existence.
    pub of_children: bool,
    /// Whether it ends when it fires; else it stays.
    pub is_one_shot: bool,
    /// Whether it is for everything below, too.
    pub is_recursive: bool,
    /// When it was first set.
    pub since: WallMillis,
}

/// One of the two tables that ZooKeeper keeps: data watches (existence included) or child watches.
#[derive(Debug, Default)]
struct Table {
    by_path: BTreeMap<Box<str>, BTreeMap<ConnectionId, Watch>>,
    by_connection: BTreeMap<ConnectionId, BTreeSet<Box<str>>>,
    recursive_count: usize,
}

impl Table {
    fn add(&mut self, path: &str, connection: ConnectionId, mode: Mode, since: WallMillis) {
        if !self.by_path.contains_key(path) {
            self.by_path.insert(path.into(), BTreeMap::new());
        }
        let watch = Watch { modes: Modes(0), since };
        let watch = self.by_path.get_mut(path).expect("just inserted").entry(connection).or_insert(watch);
        let modes = &mut watch.modes;
        if mode == Mode::Recursive && !modes.has(mode) {
            self.recursive_count += 1;
        }
        if modes.0 == 0 {
            self.by_connection.entry(connection).or_default().insert(path.into());
        }
        modes.0 |= Modes::of(mode).0;
    }

    fn contains(&self, path: &str, connection: ConnectionId, modes: Modes) -> bool {
        let found = self.by_path.get(path).and_then(|watchers| watchers.get(&connection));
        found.is_some_and(|found| found.modes.0 & modes.0 != 0)
    }

    fn remove(&mut self, path: &str, connection: ConnectionId, modes: Modes) -> bool {
        let Some(watchers) = self.by_path.get_mut(path) else { return false };
        let Some(Watch { modes: found, .. }) = watchers.get_mut(&connection) else { return false };
        let removed = found.0 & modes.0;
        found.0 &= !modes.0;
        if Modes(removed).has(Mode::Recursive) {
            self.recursive_count -= 1;
        }
        if found.0 == 0 {
            watchers.remove(&connection);
            if watchers.is_empty() {
                self.by_path.remove(path);
            }
            self.forget(connection, path);
        }
        removed != 0
    }

    fn forget(&mut self, connection: ConnectionId, path: &str) {
        if let Some(paths) = self.by_connection.get_mut(&connection) {
            paths.remove(path);
            if paths.is_empty() {
                self.by_connection.remove(&connection);
            }
        }
    }

    fn remove_connection(&mut self, connection: ConnectionId) {
        for path in self.by_connection.remove(&connection).unwrap_or_default() {
            let Some(watchers) = self.by_path.get_mut(&path) else { continue };
            if watchers.remove(&connection).is_some_and(|watch| watch.modes.has(Mode::Recursive)) {
                self.recursive_count -= 1;
            }
            if watchers.is_empty() {
                self.by_path.remove(&path);
            }
        }
    }

    /// Who watches `path`, or above it recursively; one-shot watches on it are used up.
    fn fire(&mut self, path: &str) -> BTreeSet<ConnectionId> {
        let mut heard = BTreeSet::new();
        let mut used_up = Vec::new();
        if let Some(watchers) = self.by_path.get_mut(path) {
            for (connection, Watch { modes, .. }) in watchers.iter_mut() {
                heard.insert(*connection);
                modes.0 &= !Modes::of(Mode::OneShot).0;
                if modes.0 == 0 {
                    used_up.push(*connection);
                }
            }
            for connection in &used_up {
                watchers.remove(connection);
            }
            if watchers.is_empty() {
                self.by_path.remove(path);
            }
        }
        for connection in used_up {
            self.forget(connection, path);
        }
        if self.recursive_count > 0 {
            let mut above = path;
            while let Some(at) = above.rfind('/').filter(|_| above.len() > 1) {
                above = if at == 0 { "/" } else { &above[..at] };
                let watchers = self.by_path.get(above).into_iter().flatten();
                let recursive = watchers.filter(|(_, watch)| watch.modes.has(Mode::Recursive));
                heard.extend(recursive.map(|(connection, _)| connection));
            }
        }
        heard
    }

    fn count(&self) -> usize {
        self.by_connection.values().map(BTreeSet::len).sum()
    }
}

/// All watches of one server.
#[derive(Debug, Default)]
pub struct Watches {
    data: Table,
    children: Table,
    now: WallMillis,
}

impl Watches {
    /// Watches that are set from now on are of this moment.
    pub fn set_now(&mut self, now: WallMillis) {
        self.now = now;
    }

    /// All watches of paths that begin with `prefix`, data watches first.
    pub fn each(&self, prefix: &str) -> impl Iterator<Item = Watcher<'_>> {
        [(false, &self.data), (true, &self.children)].into_iter().flat_map(move |(of_children, table)| {
            let from = std::ops::Bound::Included(prefix);
            let paths = table.by_path.range::<str, _>((from, std::ops::Bound::Unbounded));
            let below = paths.take_while(move |(path, _)| path.starts_with(prefix));
            below.flat_map(move |(path, watchers)| {
                watchers.iter().map(move |(connection, Watch { modes, since })| Watcher {
                    path,
                    connection: *connection,
                    of_children,
                    is_one_shot: *modes == Modes::of(Mode::OneShot),
                    is_recursive: modes.has(Mode::Recursive),
                    since: *since,
                })
            })
        })
    }

    /// Tells the connection once when data or existence of `path` changes.
    pub fn watch_data(&mut self, path: &str, connection: ConnectionId) {
        self.data.add(path, connection, Mode::OneShot, self.now);
    }

    /// Tells the connection once when the children of `path` change or it is removed.
    pub fn watch_children(&mut self, path: &str, connection: ConnectionId) {
        self.children.add(path, connection, Mode::OneShot, self.now);
    }

    /// Tells the connection of every change, of `path` alone or of everything under it.
    pub fn watch_always(&mut self, path: &str, connection: ConnectionId, recursive: bool) {
        if recursive {
            self.data.add(path, connection, Mode::Recursive, self.now);
        } else {
            self.data.add(path, connection, Mode::Persistent, self.now);
            self.children.add(path, connection, Mode::Persistent, self.now);
        }
    }

    /// Whether the connection has such a watch on the path.
    pub fn contains(&self, path: &str, connection: ConnectionId, which: Selection) -> bool {
        let (data, children) = which.modes();
        self.data.contains(path, connection, data) || self.children.contains(path, connection, children)
    }

    /// Removes such watches of the connection on the path; says whether there were any.
    pub fn remove(&mut self, path: &str, connection: ConnectionId, which: Selection) -> bool {
        let (data, children) = which.modes();
        let from_children = self.children.remove(path, connection, children);
        self.data.remove(path, connection, data) || from_children
    }

    /// Removes all watches of a connection that ended.
    pub fn remove_connection(&mut self, connection: ConnectionId) {
        self.data.remove_connection(connection);
        self.children.remove_connection(connection);
    }

    /// Who hears of a change, each once, in order of their ids. One-shot watches are used up.
    pub fn fire(&mut self, trigger: &WatchTrigger) -> BTreeSet<ConnectionId> {
        match trigger.kind {
            EventKind::Created | EventKind::DataChanged => self.data.fire(&trigger.path),
            EventKind::ChildrenChanged => self.children.fire(&trigger.path),
            EventKind::Deleted => {
                // Who watched both the znode and its children is told once.
                let mut heard = self.data.fire(&trigger.path);
                heard.append(&mut self.children.fire(&trigger.path));
                heard
            }
        }
    }

    /// How many watches there are: pairs of path and connection, data and child watches counted apart.
    pub fn count(&self) -> usize {
        self.data.count() + self.children.count()
    }

    /// How many connections and how many paths have data watches, and how many of these there are: the figures of
    /// `wchs`.
    pub fn data_summary(&self) -> (usize, usize, usize) {
        (self.data.by_connection.len(), self.data.by_path.len(), self.data.count())
    }

    /// Data watches by connection, for `wchc`.
    pub fn by_connection(&self) -> impl Iterator<Item = (ConnectionId, impl Iterator<Item = &str>)> {
        self.data.by_connection.iter().map(|(connection, paths)| (*connection, paths.iter().map(|path| &**path)))
    }

    /// Data watches by path, for `wchp`.
    pub fn by_path(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = ConnectionId>)> {
        self.data.by_path.iter().map(|(path, watchers)| (&**path, watchers.keys().copied()))
    }
}

impl Selection {
    /// Which modes are meant in the data table and in the child table.
    fn modes(self) -> (Modes, Modes) {
        match self {
            Selection::Children => (Modes(0), Modes::of(Mode::OneShot)),
            Selection::Data => (Modes::of(Mode::OneShot), Modes(0)),
            Selection::Persistent => (Modes::of(Mode::Persistent), Modes::of(Mode::Persistent)),
            Selection::Recursive => (Modes::of(Mode::Recursive), Modes(0)),
            Selection::Any => (Modes(7), Modes(7)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const ME: ConnectionId = ConnectionId(1);
    const YOU: ConnectionId = ConnectionId(2);

    fn fire(watches: &mut Watches, kind: EventKind, path: &str) -> Vec<u64> {
        let trigger = WatchTrigger { kind, path: path.into(), acl: Arc::from([]) };
        watches.fire(&trigger).into_iter().map(|connection| connection.0).collect()
    }

    #[test]
    fn which_change_fires_which_watch() {
        use EventKind::{ChildrenChanged, Created, DataChanged, Deleted};
        type Setup = fn(&mut Watches);
        let setups: [(&str, Setup); 4] = [
            ("data", |w| w.watch_data("/a/b", ME)),
            ("children", |w| w.watch_children("/a/b", ME)),
            ("persistent", |w| w.watch_always("/a/b", ME, false)),
            ("recursive", |w| w.watch_always("/a/b", ME, true)),
        ];
        // For each kind of watch on /a/b: does it fire, and does it fire again?
        let check = |kind, path: &str, want: [&str; 4]| {
            for ((name, setup), want) in setups.iter().zip(want) {
                let mut watches = Watches::default();
                setup(&mut watches);
                let got: String =
                    (0..2).map(|_| if fire(&mut watches, kind, path) == [1] { 'x' } else { '-' }).collect();
                assert_eq!(got, want, "{name} watch, {kind:?} {path}");
            }
        };
        check(Created, "/a/b", ["x-", "--", "xx", "xx"]);
        check(DataChanged, "/a/b", ["x-", "--", "xx", "xx"]);
        check(Deleted, "/a/b", ["x-", "x-", "xx", "xx"]);
        check(ChildrenChanged, "/a/b", ["--", "x-", "xx", "--"]);
        check(Created, "/a/b/c/d", ["--", "--", "--", "xx"]);
        check(Deleted, "/a/b/c", ["--", "--", "--", "xx"]);
        check(ChildrenChanged, "/a/b/c", ["--", "--", "--", "--"]);
        check(Created, "/a/bc", ["--", "--", "--", "--"]);
        check(Deleted, "/a", ["--", "--", "--", "--"]);
    }

    #[test]
    fn one_change_is_told_once_however_many_watches_see_it() {
        let mut watches = Watches::default();
        watches.watch_data("/a", ME);
        watches.watch_children("/a", ME);
        watches.watch_always("/", ME, true);
        watches.watch_always("/a", YOU, false);
        assert_eq!(fire(&mut watches, EventKind::Deleted, "/a"), [1, 2]);
        assert_eq!(fire(&mut watches, EventKind::Deleted, "/a"), [1, 2]);
        assert_eq!(watches.count(), 3);
    }

    #[test]
    fn removal() {
        let all = [Selection::Children, Selection::Data, Selection::Persistent, Selection::Recursive];
        for which in all {
            let mut watches = Watches::default();
            watches.watch_data("/a", ME);
            watches.watch_children("/a", ME);
            watches.watch_always("/a", ME, false);
            watches.watch_always("/a", ME, true);
            assert!(watches.contains("/a", ME, which) && watches.contains("/a", ME, Selection::Any));
            assert!(!watches.remove("/a", YOU, which));
            assert!(watches.remove("/a", ME, which));
            assert!(!watches.remove("/a", ME, which), "{which:?}");
            for other in all {
                assert_eq!(watches.contains("/a", ME, other), other != which, "{which:?} {other:?}");
            }
            assert!(watches.remove("/a", ME, Selection::Any));
            assert_eq!(watches.count(), 0);
        }
    }

    #[test]
    fn a_connection_leaves_nothing_behind() {
        let mut watches = Watches::default();
        watches.watch_data("/a", ME);
        watches.watch_always("/b", ME, true);
        watches.watch_children("/c", YOU);
        watches.remove_connection(ME);
        assert_eq!((watches.count(), watches.data_summary()), (1, (0, 0, 0)));
        assert_eq!(watches.data.recursive_count, 0);
        assert_eq!(fire(&mut watches, EventKind::Created, "/b/x"), Vec::<u64>::new());
    }
}
