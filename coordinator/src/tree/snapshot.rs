//! The tree as keys and values for the store that is written behind, and as one block of bytes for a follower. Reads
//! and writes no file. Whatever bytes come in, loading them ends in a tree or an error.

use std::collections::BTreeSet;

use prost::Message;

use super::acl::Acl;
use super::session::Session;
use super::txn::{Outcome, Refusal};
use super::{CONFIG_PATH, Dirty, Node, QUOTA_PATH, Tree, join, split};

/// Before the path in the key of a znode.
const NODE_KEY: u8 = b'n';
/// Before the big-endian id in the key of a session.
const SESSION_KEY: u8 = b's';
/// The key of zxid and digest. It comes first, before all znodes.
const META_KEY: &[u8] = b"m";

/// First bytes of a snapshot; the last one is the version of its format.
const MAGIC: &[u8; 8] = b"CSTLSNP\x01";

/// A tree with later transactions is not restored: they have to go on growing behind it.
const LAST_ZXID: i64 = i64::MAX >> 1;

/// A key and its value, none if the key is to be removed.
pub type KeyChange = (Vec<u8>, Option<Vec<u8>>);

/// Stored bytes that make no tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Not a snapshot, or one of a newer format.
    #[error("this is not a snapshot that this version can read")]
    Format,
    /// Fewer bytes than were announced.
    #[error("the snapshot ends early")]
    Truncated,
    /// Damaged on disk or on the way.
    #[error("the snapshot's checksum is {found:#010x} and should be {expected:#010x}")]
    Checksum {
        /// As stored.
        expected: u32,
        /// As computed.
        found: u32,
    },
    /// A key that means nothing.
    #[error("unknown key {0:?}")]
    Key(Vec<u8>),
    /// A value that cannot be read.
    #[error("the value of key {0:?} cannot be read")]
    Value(Vec<u8>),
    /// A znode whose parent did not come before it.
    #[error("znode {0} has no parent")]
    Orphan(String),
    /// The tree that came out is not the one that was stored.
    #[error("the tree's digest is {found:#x} and should be {expected:#x}")]
    Digest {
        /// As stored.
        expected: u64,
        /// As computed.
        found: u64,
    },
}

/// A znode's value: all but its name and its children.
#[derive(Clone, PartialEq, Message)]
struct StoredNode {
    #[prost(int64, tag = "1")]
    czxid: i64,
    #[prost(int64, tag = "2")]
    mzxid: i64,
    #[prost(int64, tag = "3")]
    pzxid: i64,
    #[prost(int64, tag = "4")]
    ctime: i64,
    #[prost(int64, tag = "5")]
    mtime: i64,
    #[prost(int32, tag = "6")]
    version: i32,
    #[prost(int64, tag = "7")]
    cversion: i64,
    #[prost(int32, tag = "8")]
    aversion: i32,
    #[prost(sfixed64, tag = "9")]
    owner: i64,
    #[prost(bytes = "vec", optional, tag = "10")]
    data: Option<Vec<u8>>,
    /// Left out if it is the one that lets everyone do everything.
    #[prost(message, repeated, tag = "11")]
    acl: Vec<Acl>,
    /// Whether the list was left out (an empty list is another thing).
    #[prost(bool, tag = "12")]
    open: bool,
}

#[derive(Clone, PartialEq, Message)]
struct StoredSession {
    #[prost(int32, tag = "1")]
    timeout_ms: i32,
    #[prost(bytes = "vec", tag = "2")]
    password: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredMeta {
    #[prost(int64, tag = "1")]
    zxid: i64,
    #[prost(fixed64, tag = "2")]
    digest: u64,
}

/// A znode's state as it is kept, its name and children left out: what trees of other origin are made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawNode {
    /// Transaction that made it.
    pub czxid: i64,
    /// Transaction that last set its data.
    pub mzxid: i64,
    /// Transaction that last made or removed a child.
    pub pzxid: i64,
    /// Wall clock in milliseconds when it was made.
    pub ctime: i64,
    /// Wall clock in milliseconds when its data was last set.
    pub mtime: i64,
    /// How often its data was set.
    pub version: i32,
    /// Children ever made, in ZooKeeper's 32 bits.
    pub cversion: i32,
    /// How often its access control list was set.
    pub aversion: i32,
    /// Session, or the mark of a container or of a time to live.
    pub owner: i64,
    /// Data.
    pub data: Option<Vec<u8>>,
    /// Access control list.
    pub acl: Vec<Acl>,
}

/// Takes a znode: path, state, access control list and data.
pub type GiveNode<'a> = dyn FnMut(&str, &RawNode, &super::acl::AclList, Option<&[u8]>) + 'a;

/// A tree in the making, from entries in order, each parent before its children.
#[derive(Debug)]
pub struct TreeLoader {
    tree: Tree,
    meta: Option<StoredMeta>,
}

impl Default for TreeLoader {
    fn default() -> TreeLoader {
        TreeLoader { tree: Tree::bare(), meta: None }
    }
}

impl TreeLoader {
    /// Takes the next entry.
    ///
    /// # Errors
    /// If it belongs to no tree that could come of the entries so far.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), LoadError> {
        let bad_value = |_| LoadError::Value(key.to_vec());
        match key.split_first() {
            Some((&NODE_KEY, path)) => {
                let path = std::str::from_utf8(path).map_err(|_| LoadError::Key(key.to_vec()))?;
                self.tree.load_node(path, StoredNode::decode(value).map_err(bad_value)?)
            }
            Some((&SESSION_KEY, id)) => {
                let id = id.try_into().map_err(|_| LoadError::Key(key.to_vec()))?;
                let stored = StoredSession::decode(value).map_err(bad_value)?;
                self.tree.add_session(i64::from_be_bytes(id), stored.timeout_ms, &stored.password);
                Ok(())
            }
            _ if key == META_KEY => {
                self.meta = Some(StoredMeta::decode(value).map_err(bad_value)?);
                Ok(())
            }
            _ => Err(LoadError::Key(key.to_vec())),
        }
    }

    /// The tree, when all entries were taken. Without any it is the tree of a new ensemble.
    ///
    /// # Errors
    /// If it is not the tree that was stored.
    pub fn finish(self) -> Result<Tree, LoadError> {
        let TreeLoader { mut tree, meta } = self;
        let Some(meta) = meta else {
            return if tree.nodes_count == 1 { Ok(Tree::new()) } else { Err(LoadError::Truncated) };
        };
        tree.zxid = meta.zxid;
        tree.dirty = BTreeSet::new();
        if tree.digest != meta.digest {
            return Err(LoadError::Digest { expected: meta.digest, found: tree.digest });
        }
        tree.find_quotas();
        Ok(tree)
    }
}

impl Tree {
    /// A tree of these znodes, each parent before its children (as paths in order are), and sessions: id, timeout in
    /// milliseconds and password.
    ///
    /// # Errors
    /// A znode without parent, or no root.
    pub fn from_raw(
        zxid: i64,
        nodes: impl IntoIterator<Item = (String, RawNode)>,
        sessions: impl IntoIterator<Item = (i64, i32, [u8; 16])>,
    ) -> Result<Tree, LoadError> {
        let mut tree = Tree::bare();
        for (path, node) in nodes {
            let stored = StoredNode {
                czxid: node.czxid,
                mzxid: node.mzxid,
                pzxid: node.pzxid,
                ctime: node.ctime,
                mtime: node.mtime,
                version: node.version,
                cversion: i64::from(node.cversion),
                aversion: node.aversion,
                owner: node.owner,
                data: node.data,
                acl: node.acl,
                open: false,
            };
            tree.load_node(&path, stored)?;
        }
        for (id, timeout_ms, password) in sessions {
            tree.add_session(id, timeout_ms, &password);
        }
        tree.zxid = zxid;
        tree.dirty = BTreeSet::new();
        tree.find_quotas();
        Ok(tree)
    }

    /// Hands out every znode, parents first: path, state (without list and data), list and data.
    pub fn each_raw(&self, give: &mut GiveNode<'_>) {
        for (path, node) in (Walk { left: vec![("/".to_owned(), &self.root)] }) {
            let raw = RawNode {
                czxid: node.czxid,
                mzxid: node.mzxid,
                pzxid: node.pzxid(),
                ctime: node.ctime,
                mtime: node.mtime,
                version: node.version,
                cversion: node.cversion() as i32,
                aversion: node.aversion,
                owner: node.owner,
                ..RawNode::default()
            };
            give(&path, &raw, self.acl(node), node.data());
        }
    }

    /// What changed since the last call, as of now, in order of the keys: a store that writes it in one batch (with the
    /// position in the log) holds this very tree. After many transactions a key still comes once.
    pub fn take_changes(&mut self) -> Vec<KeyChange> {
        let dirty = std::mem::take(&mut self.dirty);
        let mut changes = Vec::with_capacity(dirty.len() + 1);
        changes.push((META_KEY.to_vec(), Some(self.stored_meta())));
        for key in dirty {
            changes.push(match key {
                Dirty::Node(path) => (node_key(&path), self.node(&path).map(|node| self.stored_node(node))),
                Dirty::Session(id) => (session_key(id), self.session(id).map(stored_session)),
            });
        }
        changes
    }

    /// How many keys changed since they were last taken.
    pub fn changes_count(&self) -> usize {
        self.dirty.len()
    }

    /// Everything, as [`Tree::take_changes`] would give it for a tree that was never stored; forgets nothing.
    pub fn entries(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        let meta = std::iter::once((META_KEY.to_vec(), self.stored_meta()));
        let nodes = Walk { left: vec![("/".to_owned(), &self.root)] };
        let nodes = nodes.map(|(path, node)| (node_key(&path), self.stored_node(node)));
        let sessions = self.sessions().map(|(id, session)| (session_key(id), stored_session(session)));
        meta.chain(nodes).chain(sessions)
    }

    /// The tree whose entries these are, each parent before its children (as keys in order are). Without any entry it
    /// is the tree of a new ensemble.
    pub fn load<K: AsRef<[u8]>, V: AsRef<[u8]>>(entries: impl IntoIterator<Item = (K, V)>) -> Result<Tree, LoadError> {
        let mut loader = TreeLoader::default();
        for (key, value) in entries {
            loader.push(key.as_ref(), value.as_ref())?;
        }
        loader.finish()
    }

    fn load_node(&mut self, path: &str, stored: StoredNode) -> Result<(), LoadError> {
        let number = if stored.open { self.acls.take(&Acl::open()) } else { self.acls.take(&stored.acl) };
        let mut node = Node::new(number, stored.data.as_deref());
        (node.czxid, node.mzxid) = (stored.czxid, stored.mzxid);
        (node.ctime, node.mtime) = (stored.ctime, stored.mtime);
        (node.version, node.aversion) = (stored.version, stored.aversion);
        node.owner = stored.owner;
        node.set_past(stored.pzxid, stored.cversion);
        if path == "/" {
            if let Some(before) = self.root.family.take() {
                node.family_mut().children = before.children;
            }
            self.acls.release(self.root.acl);
            self.change("/", |root, _| *root = node);
            return Ok(());
        }
        let (parent_path, name) = split(path).ok_or_else(|| LoadError::Key(node_key(path)))?;
        if name.is_empty() {
            return Err(LoadError::Key(node_key(path)));
        }
        self.attach(path, parent_path, name, node).map_err(|refusal| match refusal {
            Refusal::NodeExists => LoadError::Key(node_key(path)),
            _ => LoadError::Orphan(path.to_owned()),
        })
    }

    /// Fills the index of quotas from the znodes that hold them.
    fn find_quotas(&mut self) {
        let Some(root) = self.node(QUOTA_PATH) else { return };
        let nodes: Vec<String> = Walk { left: vec![(QUOTA_PATH.to_owned(), root)] }.map(|(path, _)| path).collect();
        for path in nodes {
            if let Some((parent, name)) = split(&path) {
                self.quota_node_loaded(parent, name);
            }
        }
    }

    /// The whole tree as one block: see [`encode_entries`].
    pub fn snapshot(&self) -> Vec<u8> {
        encode_entries(self.entries())
    }

    /// The tree of which this is the [`Tree::snapshot`]. A store that held another tree must be emptied and given all
    /// of [`Tree::entries`].
    pub fn from_snapshot(bytes: &[u8]) -> Result<Tree, LoadError> {
        let (content, checksum) = bytes.split_last_chunk::<4>().ok_or(LoadError::Truncated)?;
        let mut rest = content.strip_prefix(MAGIC.as_slice()).ok_or(LoadError::Format)?;
        let (expected, found) = (u32::from_le_bytes(*checksum), crc32c::crc32c(content));
        if expected != found {
            return Err(LoadError::Checksum { expected, found });
        }
        let mut entries = Vec::new();
        while !rest.is_empty() {
            entries.push((take_block(&mut rest)?, take_block(&mut rest)?));
        }
        Tree::load(entries)
    }

    /// Puts another tree in the place of this one, whatever was there. As in ZooKeeper 3.9, only the sessions of the other
    /// tree live on: the ephemeral znodes of all others are gone, and their clients are to notice. What the ensemble says
    /// of itself stays.
    pub(super) fn restore(&mut self, snapshot: &[u8], zxid: i64) -> Result<Outcome, Refusal> {
        let mut tree = Tree::from_snapshot(snapshot).map_err(|_| Refusal::Malformed)?;
        // A file that was posted has no name to tell its zxid. What comes next is to be newer than all that is in it:
        // what is made from a znode's czxid (the epoch of a broker) never goes back.
        let nodes = Walk { left: vec![("/".to_owned(), &tree.root)] };
        let zxids = nodes.map(|(_, node)| node.czxid.max(node.mzxid).max(node.pzxid()));
        let newest = zxids.fold(tree.zxid, i64::max);
        if newest > LAST_ZXID {
            return Err(Refusal::Malformed);
        }
        // ZooKeeper writes sessions and znodes while both change: nobody else would ever remove these.
        let owners = tree.ephemerals.keys().copied();
        let lost: Vec<i64> = owners.filter(|owner| tree.session(*owner).is_none()).collect();
        for owner in lost {
            tree.close_session(owner, zxid, &mut Vec::new());
        }
        if let Some(config) = self.node(CONFIG_PATH) {
            tree.change(CONFIG_PATH, |node, _| {
                node.data.clone_from(&config.data);
                (node.mzxid, node.mtime, node.version) = (config.mzxid, config.mtime, config.version);
            });
        }
        // What was there and is no more is to be removed from the store.
        let mut changed = std::mem::take(&mut self.dirty);
        for keys in [&*self, &tree] {
            let paths = Walk { left: vec![("/".to_owned(), &keys.root)] };
            changed.extend(paths.map(|(path, _)| Dirty::Node(path.into())));
            changed.extend(keys.sessions().map(|(id, _)| Dirty::Session(id)));
        }
        tree.dirty = changed;
        tree.zxid = self.zxid.max(newest);
        tree.keep_history(self.history().limits());
        *self = tree;
        Ok(Outcome::Done)
    }

    fn stored_node(&self, node: &Node) -> Vec<u8> {
        let acl = self.acl(node);
        let open = **acl == *Acl::open();
        StoredNode {
            czxid: node.czxid,
            mzxid: node.mzxid,
            pzxid: node.pzxid(),
            ctime: node.ctime,
            mtime: node.mtime,
            version: node.version,
            cversion: node.cversion(),
            aversion: node.aversion,
            owner: node.owner,
            data: node.data().map(<[u8]>::to_vec),
            acl: if open { Vec::new() } else { acl.to_vec() },
            open,
        }
        .encode_to_vec()
    }

    fn stored_meta(&self) -> Vec<u8> {
        StoredMeta { zxid: self.zxid, digest: self.digest }.encode_to_vec()
    }
}

/// A tree's entries, wherever they are kept, as one block: magic and version, then each key and value with their
/// lengths, then a checksum. [`Tree::from_snapshot`] reads it.
pub fn encode_entries<K: AsRef<[u8]>, V: AsRef<[u8]>>(entries: impl IntoIterator<Item = (K, V)>) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for (key, value) in entries {
        let (key, value) = (key.as_ref(), value.as_ref());
        prost::encoding::encode_varint(key.len() as u64, &mut bytes);
        bytes.extend_from_slice(key);
        prost::encoding::encode_varint(value.len() as u64, &mut bytes);
        bytes.extend_from_slice(value);
    }
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Appends an entry to a part of a tree that is on its way.
pub fn encode_entry(key: &[u8], value: &[u8], part: &mut Vec<u8>) {
    prost::encoding::encode_varint(key.len() as u64, part);
    part.extend_from_slice(key);
    prost::encoding::encode_varint(value.len() as u64, part);
    part.extend_from_slice(value);
}

/// The entries of a part, one after the other.
pub fn entries_of(mut part: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), LoadError>> {
    std::iter::from_fn(move || {
        if part.is_empty() {
            return None;
        }
        let entry = take_block(&mut part).and_then(|key| Ok((key, take_block(&mut part)?)));
        if entry.is_err() {
            part = &[];
        }
        Some(entry)
    })
}

fn stored_session(session: &Session) -> Vec<u8> {
    StoredSession { timeout_ms: session.timeout_ms, password: session.password.to_vec() }.encode_to_vec()
}

fn node_key(path: &str) -> Vec<u8> {
    [&[NODE_KEY], path.as_bytes()].concat()
}

fn session_key(id: i64) -> Vec<u8> {
    [&[SESSION_KEY][..], &id.to_be_bytes()].concat()
}

fn take_block<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], LoadError> {
    let length = prost::encoding::decode_varint(rest).map_err(|_| LoadError::Truncated)?;
    let length = usize::try_from(length).map_err(|_| LoadError::Truncated)?;
    let (block, after) = rest.split_at_checked(length).ok_or(LoadError::Truncated)?;
    *rest = after;
    Ok(block)
}

/// All znodes from one on down, parents first, without recursion.
struct Walk<'a> {
    left: Vec<(String, &'a Node)>,
}

impl<'a> Iterator for Walk<'a> {
    type Item = (String, &'a Node);

    fn next(&mut self) -> Option<(String, &'a Node)> {
        let (path, node) = self.left.pop()?;
        self.left.extend(node.entries().rev().map(|(name, child)| (join(&path, name), child)));
        Some((path, node))
    }
}
