//! Znodes and sessions by path and id, changed the way ZooKeeper changes them when it reads its log: a snapshot that was
//! written while changes went on may hold some of them already, so every transaction may be applied twice.

use super::DataError;
use crate::tree::acl::Acl;
use crate::tree::snapshot::RawNode;
use crate::tree::{QUOTA_PATH, Tree};
use std::collections::{BTreeMap, BTreeSet};

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) zxid: i64,
    /// By path; the root is `/`.
    pub(super) nodes: BTreeMap<String, RawNode>,
    pub(super) sessions: BTreeMap<i64, i32>,
    owned: BTreeMap<i64, BTreeSet<String>>,
}

/// What a transaction says of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) session: i64,
    pub(super) zxid: i64,
    pub(super) time: i64,
}

/// A znode to make.
#[derive(Debug)]
pub(super) struct NewNode {
    pub(super) path: String,
    pub(super) data: Option<Vec<u8>>,
    pub(super) acl: Vec<Acl>,
    pub(super) owner: i64,
    /// The parent's count of children ever made, -1 in logs of old versions.
    pub(super) parent_cversion: i32,
}

fn parent_of(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(at) => &path[..at],
    }
}

impl Model {
    /// Takes a znode of a snapshot.
    pub(super) fn insert(&mut self, path: String, node: RawNode) {
        if node.owner > 0 || (node.owner < 0 && is_session(node.owner)) {
            self.owned.entry(node.owner).or_default().insert(path.clone());
        }
        self.nodes.insert(path, node);
    }

    pub(super) fn create(&mut self, header: Header, new: NewNode) {
        let NewNode { path, data, acl, owner, parent_cversion } = new;
        if let Some(parent) = self.nodes.get_mut(parent_of(&path)) {
            let cversion = if parent_cversion == -1 { parent.cversion + 1 } else { parent_cversion };
            if cversion > parent.cversion {
                parent.cversion = cversion;
                parent.pzxid = header.zxid;
            }
        }
        if self.nodes.contains_key(&path) {
            return;
        }
        let node = RawNode {
            czxid: header.zxid,
            mzxid: header.zxid,
            pzxid: header.zxid,
            ctime: header.time,
            mtime: header.time,
            version: 0,
            cversion: 0,
            aversion: 0,
            owner,
            data,
            acl,
        };
        self.insert(path, node);
    }

    pub(super) fn delete(&mut self, zxid: i64, path: &str) {
        let Some(node) = self.nodes.remove(path) else { return };
        if let Some(owned) = self.owned.get_mut(&node.owner) {
            owned.remove(path);
        }
        if let Some(parent) = self.nodes.get_mut(parent_of(path)) {
            parent.pzxid = parent.pzxid.max(zxid);
        }
    }

    pub(super) fn set_data(&mut self, header: Header, path: &str, data: Option<Vec<u8>>, version: i32) {
        if let Some(node) = self.nodes.get_mut(path) {
            (node.data, node.version, node.mzxid, node.mtime) = (data, version, header.zxid, header.time);
        }
    }

    pub(super) fn set_acl(&mut self, path: &str, acl: Vec<Acl>, version: i32) {
        if let Some(node) = self.nodes.get_mut(path) {
            (node.acl, node.aversion) = (acl, version);
        }
    }

    /// Ends a session. Its znodes are those that it owns here and those that the log names.
    pub(super) fn close_session(&mut self, header: Header, named: Vec<String>) {
        self.sessions.remove(&header.session);
        for path in named.into_iter().chain(self.owned.remove(&header.session).unwrap_or_default()) {
            self.delete(header.zxid, &path);
        }
    }

    /// The counters of quotas are not in the log: they are what they count.
    fn count_quotas(&mut self) {
        let stats: Vec<String> = self
            .nodes
            .range(QUOTA_PATH.to_owned()..)
            .take_while(|(path, _)| path.starts_with(QUOTA_PATH))
            .filter(|(path, _)| path.ends_with("/zookeeper_stats"))
            .map(|(path, _)| path.clone())
            .collect();
        for path in stats {
            let covered = &path[QUOTA_PATH.len()..path.len() - "/zookeeper_stats".len()];
            let below = format!("{covered}/");
            let (mut count, mut bytes) = (0, 0);
            for (path, node) in self.nodes.range(covered.to_owned()..) {
                if path != covered && !path.starts_with(&below) {
                    // Names that only begin alike stand between.
                    if path.as_str() > below.as_str() {
                        break;
                    }
                    continue;
                }
                count += 1;
                bytes += node.data.as_ref().map_or(0, Vec::len);
            }
            if let Some(node) = self.nodes.get_mut(&path) {
                node.data = Some(format!("count={count},bytes={bytes}").into_bytes());
            }
        }
    }

    pub(super) fn into_tree(mut self) -> Result<Tree, DataError> {
        self.count_quotas();
        let sessions = self.sessions.iter().map(|(id, timeout_ms)| (*id, *timeout_ms, password(*id)));
        Ok(Tree::from_raw(self.zxid, self.nodes, sessions)?)
    }
}

/// Whether an owner field names a session; containers and znodes with a time to live use it otherwise.
fn is_session(owner: i64) -> bool {
    matches!(crate::tree::Kind::from_owner(owner), crate::tree::Kind::Ephemeral(_))
}

/// The password that ZooKeeper derives from a session's id: sixteen bytes of Java's generator. With it a client goes on
/// with its session here.
pub(super) fn password(session: i64) -> [u8; 16] {
    const SECRET: i64 = 0xb341_5c00;
    const MULTIPLIER: i64 = 0x5_deec_e66d;
    const MASK: i64 = (1 << 48) - 1;
    let mut seed = (session ^ SECRET ^ MULTIPLIER) & MASK;
    let mut password = [0; 16];
    for word in password.chunks_mut(4) {
        seed = (seed.wrapping_mul(MULTIPLIER).wrapping_add(0xb)) & MASK;
        let bits = (seed >> 16) as i32;
        word.copy_from_slice(&bits.to_le_bytes());
    }
    password
}
