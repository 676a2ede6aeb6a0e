//! The tree of znodes, the sessions that own some of them, and what was changed since the store last asked. It knows
//! neither the wire nor the ensemble, and changes only by applying transactions (see [`txn`]).

pub mod acl;
mod digest;
pub mod history;
pub mod pending;
mod quota;
pub mod session;
pub mod snapshot;
pub mod txn;
pub mod watch;
pub mod write;

use std::collections::{BTreeMap, BTreeSet};

use common::mutants;

use acl::{Acl, AclList, AclNumber, AclTable};
use digest::fingerprint;
use history::{History, HistoryLimits, Past};
use session::Session;
use txn::{EventKind, Refusal, SetData, WatchTrigger};

/// Where the ensemble's configuration can be read.
pub const CONFIG_PATH: &str = "/zookeeper/config";
/// Under which quotas are kept.
pub const QUOTA_PATH: &str = "/zookeeper/quota";

/// A znode's state as ZooKeeper's clients see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Transaction that made the znode.
    pub czxid: i64,
    /// Transaction that last set its data.
    pub mzxid: i64,
    /// Wall clock in milliseconds when it was made.
    pub ctime: i64,
    /// Wall clock in milliseconds when its data was last set.
    pub mtime: i64,
    /// How often its data was set.
    pub version: i32,
    /// How many children were made or removed.
    pub cversion: i32,
    /// How often its access control list was set.
    pub aversion: i32,
    /// The session that owns it, 0 if it is not ephemeral (also for containers and TTL znodes).
    pub ephemeral_owner: i64,
    /// Bytes of data.
    pub data_length: i32,
    /// How many children it has.
    pub num_children: i32,
    /// Transaction that last made or removed a child.
    pub pzxid: i64,
}

/// When a znode goes away by itself; ZooKeeper keeps it in the owner field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It stays.
    Persistent,
    /// It goes with this session.
    Ephemeral(i64),
    /// It goes some time after its last child.
    Container,
    /// It goes this many milliseconds after its last change if it has no children.
    Ttl(i64),
}

/// The owner field of a container.
const CONTAINER_OWNER: i64 = i64::MIN;
/// The top byte of the owner field of a TTL znode. No session id has it.
const TTL_OWNER: i64 = 0xffu64.cast_signed() << 56;
/// The longest time to live in milliseconds, some 34 years.
pub const LONGEST_TTL_MS: i64 = (1 << 40) - 1;

impl Kind {
    /// What an owner field means. A field that no version writes counts as persistent.
    pub fn from_owner(owner: i64) -> Kind {
        match owner {
            0 => Kind::Persistent,
            CONTAINER_OWNER => Kind::Container,
            _ if owner & TTL_OWNER != TTL_OWNER => Kind::Ephemeral(owner),
            _ if (owner >> 40) & 0xffff == 0 => Kind::Ttl(owner & LONGEST_TTL_MS),
            _ => Kind::Persistent,
        }
    }

    /// The owner field that says this.
    pub fn to_owner(self) -> i64 {
        match self {
            Kind::Persistent => 0,
            Kind::Ephemeral(session) => session,
            Kind::Container => CONTAINER_OWNER,
            Kind::Ttl(ttl_ms) => TTL_OWNER | (ttl_ms & LONGEST_TTL_MS),
        }
    }
}

/// As clients see how often the children changed, in 32 bits: each that is gone counts twice, once made and once removed.
fn stat_cversion(children_made: i64, children: i32) -> i32 {
    (children_made as i32).wrapping_mul(2).wrapping_sub(children)
}

type Children = BTreeMap<Box<str>, Box<Node>>;

/// A znode. Its name is kept by its parent only, and one that never had a child knows nothing of children: a million small
/// znodes are what this is laid out for (80 bytes each, a size that the allocator gives out).
#[derive(Debug)]
pub struct Node {
    czxid: i64,
    mzxid: i64,
    ctime: i64,
    mtime: i64,
    owner: i64,
    version: i32,
    aversion: i32,
    acl: AclNumber,
    data: Option<Box<[u8]>>,
    family: Option<Box<Family>>,
}

/// What a znode knows of its children, present and past.
#[derive(Debug)]
struct Family {
    /// Transaction that last made or removed one; that which made the znode itself if none did.
    pzxid: i64,
    /// Children ever made (not made and removed, as [`Stat::cversion`] counts).
    made: i64,
    children: Children,
}

impl Node {
    fn new(acl: AclNumber, data: Option<&[u8]>) -> Node {
        Node {
            czxid: 0,
            mzxid: 0,
            ctime: 0,
            mtime: 0,
            owner: 0,
            version: 0,
            aversion: 0,
            acl,
            data: data.map(Box::from),
            family: None,
        }
    }

    /// Data; ZooKeeper tells none from empty.
    pub fn data(&self) -> Option<&[u8]> {
        self.data.as_deref()
    }

    /// Names of the children, in order.
    pub fn children(&self) -> impl Iterator<Item = &str> {
        self.entries().map(|(name, _)| name)
    }

    /// Names and znodes of the children, in order of the names.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = (&str, &Node)> {
        self.family.iter().flat_map(|family| family.children.iter()).map(|(name, node)| (&**name, &**node))
    }

    /// How many children there are.
    pub fn children_count(&self) -> usize {
        self.family.as_ref().map_or(0, |family| family.children.len())
    }

    /// See [`Stat::pzxid`].
    fn pzxid(&self) -> i64 {
        self.family.as_ref().map_or(self.czxid, |family| family.pzxid)
    }

    /// Children ever made.
    fn cversion(&self) -> i64 {
        self.family.as_ref().map_or(0, |family| family.made)
    }

    fn family_mut(&mut self) -> &mut Family {
        let pzxid = self.czxid;
        self.family.get_or_insert_with(|| Box::new(Family { pzxid, made: 0, children: Children::new() }))
    }

    /// Sets what was stored of its children; comes after `czxid`.
    fn set_past(&mut self, pzxid: i64, made: i64) {
        if (pzxid, made) != (self.pzxid(), self.cversion()) {
            let family = self.family_mut();
            (family.pzxid, family.made) = (pzxid, made);
        }
    }

    /// When it goes away by itself.
    pub fn kind(&self) -> Kind {
        Kind::from_owner(self.owner)
    }

    /// Its state as clients see it.
    pub fn stat(&self) -> Stat {
        let num_children = i32::try_from(self.children_count()).unwrap_or(i32::MAX);
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: stat_cversion(self.cversion(), num_children),
            aversion: self.aversion,
            ephemeral_owner: match self.kind() {
                Kind::Ephemeral(session) => session,
                Kind::Persistent | Kind::Container | Kind::Ttl(_) => 0,
            },
            data_length: self.data.as_ref().map_or(0, |data| i32::try_from(data.len()).unwrap_or(i32::MAX)),
            num_children,
            pzxid: self.pzxid(),
        }
    }

    fn child(&self, name: &str) -> Option<&Node> {
        self.family.as_ref()?.children.get(name).map(|node| &**node)
    }

    fn fingerprint(&self, path: &str, acl: u64) -> u64 {
        let mut value = fingerprint(acl, path.as_bytes());
        for number in [self.czxid, self.mzxid, self.pzxid(), self.ctime, self.mtime, self.owner] {
            value = fingerprint(value, &number.to_le_bytes());
        }
        for number in [self.version, self.cversion() as i32, self.aversion, i32::from(self.data.is_some())] {
            value = fingerprint(value, &number.to_le_bytes());
        }
        fingerprint(value, self.data().unwrap_or_default())
    }
}

/// A znode about to be made.
pub(crate) struct NewNode<'a> {
    pub(crate) data: Option<&'a [u8]>,
    pub(crate) acl: &'a [Acl],
    pub(crate) owner: i64,
    pub(crate) zxid: i64,
    pub(crate) time: i64,
}

/// What the store must write again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Dirty {
    Node(Box<str>),
    Session(i64),
}

/// All znodes and sessions as of one transaction.
#[derive(Debug)]
pub struct Tree {
    root: Node,
    acls: AclTable,
    sessions: BTreeMap<i64, Session>,
    /// Paths by owning session.
    ephemerals: BTreeMap<i64, BTreeSet<Box<str>>>,
    containers: BTreeSet<Box<str>>,
    ttls: BTreeSet<Box<str>>,
    /// Paths that have a quota.
    quotas: BTreeSet<Box<str>>,
    zxid: i64,
    nodes_count: usize,
    /// Bytes of all paths and data, as ZooKeeper's `approximate_data_size`.
    data_size: u64,
    digest: u64,
    dirty: BTreeSet<Dirty>,
    history: History,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree::new()
    }
}

impl Drop for Tree {
    /// Takes deep trees apart level by level; by recursion they would overflow the stack.
    fn drop(&mut self) {
        let mut left = Vec::new();
        left.extend(self.root.family.take());
        while let Some(family) = left.pop() {
            for (_, mut node) in family.children {
                left.extend(node.family.take());
            }
        }
    }
}

impl Tree {
    /// The tree of a new ensemble: `/`, `/zookeeper`, `/zookeeper/quota` and `/zookeeper/config`.
    pub fn new() -> Tree {
        let mut tree = Tree::bare();
        for path in ["/zookeeper", QUOTA_PATH, CONFIG_PATH] {
            let acl = if path == CONFIG_PATH { Acl::read_only() } else { Acl::open() };
            let mut node = Node::new(tree.acls.take(&acl), Some(&[]));
            // ZooKeeper sets this list by a call that means "no version".
            node.aversion = if path == CONFIG_PATH { -1 } else { 0 };
            let (parent, name) = split(path).expect("a constant");
            tree.attach(path, parent, name, node).expect("parents come first");
            tree.dirty.insert(Dirty::Node(path.into()));
        }
        tree.dirty.insert(Dirty::Node("/".into()));
        tree
    }

    /// A root and nothing else.
    fn bare() -> Tree {
        let mut acls = AclTable::default();
        let root = Node::new(acls.take(&Acl::open()), Some(&[]));
        let digest = root.fingerprint("/", acls.fingerprint(root.acl));
        Tree {
            root,
            acls,
            sessions: BTreeMap::new(),
            ephemerals: BTreeMap::new(),
            containers: BTreeSet::new(),
            ttls: BTreeSet::new(),
            quotas: BTreeSet::new(),
            zxid: 0,
            nodes_count: 1,
            data_size: 0,
            digest,
            dirty: BTreeSet::new(),
            history: History::default(),
        }
    }

    /// From now on so many values that are replaced or removed are kept; what was kept goes.
    pub fn keep_history(&mut self, limits: HistoryLimits) {
        self.history = History::new(limits);
    }

    /// Values that znodes had.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The last transaction applied.
    pub fn zxid(&self) -> i64 {
        self.zxid
    }

    /// A number that is the same for equal trees (znodes and sessions) and almost surely another for different ones.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// How many znodes there are, the root counted.
    pub fn nodes_count(&self) -> usize {
        self.nodes_count
    }

    /// Bytes of all paths and data together.
    pub fn data_size_bytes(&self) -> u64 {
        self.data_size
    }

    /// How many ephemeral znodes there are.
    pub fn ephemerals_count(&self) -> usize {
        self.ephemerals.values().map(BTreeSet::len).sum()
    }

    /// How many distinct access control lists there are.
    pub fn acls_count(&self) -> usize {
        self.acls.len()
    }

    /// The znode at a path. The empty path means the root, as in ZooKeeper.
    pub fn node(&self, path: &str) -> Option<&Node> {
        let mut node = &self.root;
        for name in names(path)? {
            node = node.child(name)?;
        }
        Some(node)
    }

    /// The access control list of a znode of this tree.
    pub fn acl(&self, node: &Node) -> &AclList {
        self.acls.get(node.acl)
    }

    /// How many znodes are under a path, itself not counted; for the root all but itself.
    pub fn descendants_count(&self, path: &str) -> usize {
        let mut left: Vec<&Node> = self.node(path).into_iter().collect();
        let mut count = 0;
        while let Some(node) = left.pop() {
            count += node.children_count();
            left.extend(node.entries().map(|(_, child)| child));
        }
        count
    }

    /// Paths of the ephemeral znodes of a session, in order.
    pub fn ephemerals(&self, session: i64) -> impl Iterator<Item = &str> {
        self.ephemerals.get(&session).into_iter().flatten().map(|path| &**path)
    }

    /// Sessions that own ephemeral znodes, with their paths, in order.
    pub fn ephemeral_owners(&self) -> impl Iterator<Item = (i64, impl Iterator<Item = &str>)> {
        self.ephemerals.iter().map(|(session, paths)| (*session, paths.iter().map(|path| &**path)))
    }

    /// A session, if it lives.
    pub fn session(&self, session: i64) -> Option<&Session> {
        self.sessions.get(&session)
    }

    /// All sessions that live, in order of their ids.
    pub fn sessions(&self) -> impl Iterator<Item = (i64, &Session)> {
        self.sessions.iter().map(|(id, session)| (*id, session))
    }

    /// Containers and TTL znodes that the leader should remove at `time` (wall clock, milliseconds): those without
    /// children that had some, or that have outlived their time. `never_used_ms` (0 for never) is how long a container
    /// may wait for its first child.
    pub fn outlived(&self, time: i64, never_used_ms: i64) -> Vec<String> {
        let mut outlived = Vec::new();
        for path in self.containers.iter().chain(&self.ttls) {
            let Some(node) = self.node(path).filter(|node| node.children_count() == 0) else { continue };
            let age_ms = time.saturating_sub(node.mtime);
            let due = match node.kind() {
                Kind::Container => node.cversion() > 0 || (never_used_ms != 0 && age_ms > never_used_ms),
                Kind::Ttl(ttl_ms) => ttl_ms != 0 && age_ms > ttl_ms,
                Kind::Persistent | Kind::Ephemeral(_) => false,
            };
            if due {
                outlived.push(path.to_string());
            }
        }
        outlived
    }

    fn set_zxid(&mut self, zxid: i64) {
        self.zxid = self.zxid.max(zxid);
    }

    /// Makes a znode. `parent_cversion` is the parent's count of children ever made, this one included.
    fn create(
        &mut self,
        path: &str,
        new: NewNode<'_>,
        parent_cversion: i64,
        events: &mut Vec<WatchTrigger>,
    ) -> Result<Stat, Refusal> {
        let (parent_path, name) = split(path).ok_or(Refusal::BadArguments)?;
        if name.is_empty() {
            return Err(Refusal::BadArguments);
        }
        let parent = self.node(parent_path).ok_or(Refusal::NoNode)?;
        if parent.child(name).is_some() {
            return Err(Refusal::NodeExists);
        }
        let parent_acl = self.acl(parent).clone();
        let number = self.acls.take(new.acl);
        let mut node = Node::new(number, new.data);
        (node.czxid, node.mzxid) = (new.zxid, new.zxid);
        (node.ctime, node.mtime) = (new.time, new.time);
        node.owner = new.owner;
        let stat = node.stat();
        let acl = self.acl(&node).clone();
        self.change(parent_path, |parent, _| {
            let family = parent.family_mut();
            (family.made, family.pzxid) = (parent_cversion, new.zxid);
        });
        self.attach(path, parent_path, name, node)?;
        self.dirty.insert(Dirty::Node(path.into()));
        self.quota_node_created(parent_path, name);
        self.charge_quota(path, new.data.map_or(0, |data| data.len() as i64), 1);
        events.push(WatchTrigger { kind: EventKind::Created, path: path.to_owned(), acl });
        events.push(WatchTrigger { kind: EventKind::ChildrenChanged, path: parent_path.to_owned(), acl: parent_acl });
        Ok(stat)
    }

    /// Hangs a finished znode into its place and into every index.
    fn attach(&mut self, path: &str, parent_path: &str, name: &str, node: Node) -> Result<(), Refusal> {
        match node.kind() {
            Kind::Persistent => {}
            Kind::Ephemeral(session) => {
                self.ephemerals.entry(session).or_default().insert(path.into());
            }
            Kind::Container => {
                self.containers.insert(path.into());
            }
            Kind::Ttl(_) => {
                self.ttls.insert(path.into());
            }
        }
        let acl = self.acls.fingerprint(node.acl);
        let print = node.fingerprint(path, acl);
        let size = path.len() + node.data.as_ref().map_or(0, |data| data.len());
        let parent = find_mut(&mut self.root, parent_path).ok_or(Refusal::NoNode)?;
        if parent.family_mut().children.insert(name.into(), Box::new(node)).is_some() {
            return Err(Refusal::NodeExists);
        }
        self.digest = self.digest.wrapping_add(print);
        self.nodes_count += 1;
        self.data_size += size as u64;
        Ok(())
    }

    fn delete(&mut self, path: &str, zxid: i64, events: &mut Vec<WatchTrigger>) -> Result<(), Refusal> {
        let (parent_path, name) = split(path).ok_or(Refusal::BadArguments)?;
        let parent = self.node(parent_path).ok_or(Refusal::NoNode)?;
        let node = parent.child(name).ok_or(Refusal::NoNode)?;
        if node.children_count() > 0 {
            return Err(Refusal::NotEmpty);
        }
        let (acl, parent_acl) = (self.acl(node).clone(), self.acl(parent).clone());
        let print = node.fingerprint(path, self.acls.fingerprint(node.acl));
        let mut removed = None;
        self.change(parent_path, |parent, _| {
            let family = parent.family_mut();
            family.pzxid = family.pzxid.max(zxid);
            removed = family.children.remove(name);
        });
        let mut node = removed.expect("it was found");
        let data_length = node.data.as_ref().map_or(0, |data| data.len());
        self.digest = self.digest.wrapping_sub(print);
        self.nodes_count -= 1;
        self.data_size -= (path.len() + data_length) as u64;
        if self.history.is_on() {
            let data = node.data.take();
            self.history.push(path, past(&node, data, zxid, (acl.clone(), true)));
        }
        self.acls.release(node.acl);
        self.forget_kind(path, node.kind());
        self.dirty.insert(Dirty::Node(path.into()));
        self.quota_node_deleted(parent_path, name);
        self.charge_quota(path, -(data_length as i64), -1);
        events.push(WatchTrigger { kind: EventKind::Deleted, path: path.to_owned(), acl });
        events.push(WatchTrigger { kind: EventKind::ChildrenChanged, path: parent_path.to_owned(), acl: parent_acl });
        Ok(())
    }

    fn forget_kind(&mut self, path: &str, kind: Kind) {
        match kind {
            Kind::Persistent => {}
            Kind::Ephemeral(session) => {
                if let Some(paths) = self.ephemerals.get_mut(&session) {
                    paths.remove(path);
                    if paths.is_empty() {
                        self.ephemerals.remove(&session);
                    }
                }
            }
            Kind::Container => {
                self.containers.remove(path);
            }
            Kind::Ttl(_) => {
                self.ttls.remove(path);
            }
        }
    }

    fn set_data(
        &mut self,
        set: &SetData,
        zxid: i64,
        time: i64,
        events: &mut Vec<WatchTrigger>,
    ) -> Result<Stat, Refusal> {
        let node = self.node(&set.path).ok_or(Refusal::NoNode)?;
        let acl = self.acl(node).clone();
        let grown =
            set.data.as_ref().map_or(0, |data| data.len() as i64) - node.data().map_or(0, |data| data.len() as i64);
        let is_on = self.history.is_on();
        let mut replaced = None;
        self.change(&set.path, |node, _| {
            let data = std::mem::replace(&mut node.data, set.data.as_deref().map(Box::from));
            replaced = is_on.then(|| past(node, data, zxid, (acl.clone(), false)));
            node.version = set.version;
            node.mzxid = zxid;
            node.mtime = time;
        });
        if let Some(replaced) = replaced {
            self.history.push(&set.path, replaced);
        }
        self.data_size = self.data_size.wrapping_add_signed(grown);
        self.charge_quota(&set.path, grown, 0);
        let stat = self.node(&set.path).expect("it was found").stat();
        events.push(WatchTrigger { kind: EventKind::DataChanged, path: set.path.clone(), acl });
        Ok(stat)
    }

    fn set_acl(&mut self, path: &str, acl: &[Acl], version: i32) -> Result<Stat, Refusal> {
        self.node(path).ok_or(Refusal::NoNode)?;
        self.change(path, |node, acls| {
            let old = std::mem::replace(&mut node.acl, acls.take(acl));
            acls.release(old);
            node.aversion = version;
        });
        Ok(self.node(path).expect("it was found").stat())
    }

    /// Changes a znode in place, keeping digest and store informed. Does nothing if there is none.
    fn change(&mut self, path: &str, with: impl FnOnce(&mut Node, &mut AclTable)) {
        let path = if path.is_empty() { "/" } else { path };
        let Some(node) = find_mut(&mut self.root, path) else { return };
        self.digest = self.digest.wrapping_sub(node.fingerprint(path, self.acls.fingerprint(node.acl)));
        with(node, &mut self.acls);
        self.digest = self.digest.wrapping_add(node.fingerprint(path, self.acls.fingerprint(node.acl)));
        self.dirty.insert(Dirty::Node(path.into()));
    }

    fn add_session(&mut self, id: i64, timeout_ms: i32, password: &[u8]) {
        let mut session = Session { timeout_ms, password: [0; 16] };
        let length = password.len().min(16);
        session.password[..length].copy_from_slice(&password[..length]);
        self.digest = self.digest.wrapping_add(session.fingerprint(id));
        if let Some(old) = self.sessions.insert(id, session) {
            self.digest = self.digest.wrapping_sub(old.fingerprint(id));
        }
        self.dirty.insert(Dirty::Session(id));
    }

    fn close_session(&mut self, id: i64, zxid: i64, events: &mut Vec<WatchTrigger>) {
        for path in self.ephemerals.get(&id).cloned().unwrap_or_default() {
            // An ephemeral has no children, so this cannot be refused.
            if !mutants::is_on("ephemerals-stay") {
                let _ = self.delete(&path, zxid, events);
            }
        }
        if let Some(session) = self.sessions.remove(&id) {
            self.digest = self.digest.wrapping_sub(session.fingerprint(id));
        }
        self.dirty.insert(Dirty::Session(id));
    }
}

/// What a znode was until it was changed.
fn past(node: &Node, data: Option<Box<[u8]>>, until: i64, (acl, is_removed): (AclList, bool)) -> Past {
    let Node { czxid, mzxid, mtime, version, .. } = *node;
    Past { czxid, mzxid, mtime, version, until, is_removed, data, acl }
}

/// Parent and name of a path: what stands before and after the last slash, the root written as `/`. None without a
/// slash and for the root itself.
pub(crate) fn split(path: &str) -> Option<(&str, &str)> {
    let at = path.rfind('/')?;
    match (at, path.len()) {
        (0, 1) => None,
        (0, _) => Some(("/", &path[1..])),
        _ => Some((&path[..at], &path[at + 1..])),
    }
}

fn join(parent: &str, name: &str) -> String {
    if parent == "/" { format!("/{name}") } else { format!("{parent}/{name}") }
}

/// The names on the way to a path; none if it does not start at the root.
fn names(path: &str) -> Option<impl Iterator<Item = &str>> {
    let below = if path.is_empty() { path } else { path.strip_prefix('/')? };
    let count = if below.is_empty() { 0 } else { usize::MAX };
    Some(below.split('/').take(count))
}

fn find_mut<'a>(root: &'a mut Node, path: &str) -> Option<&'a mut Node> {
    let mut node = root;
    for name in names(path)? {
        node = node.family.as_mut()?.children.get_mut(name)?;
    }
    Some(node)
}

#[cfg(test)]
mod tests;
