//! What the node asks the disk to keep and what it finds there at start, as plain data, and the same in memory for
//! tests and the simulator. The real disk is `server/disk.rs`; nothing here touches one.

use crate::ensemble::membership::{Identity, Membership};
use crate::ensemble::message::{HardState, LogEntry, LogPosition};
use crate::tree::snapshot::encode_entry;
use std::collections::BTreeMap;

/// A key of the stored tree; its meaning is the tree's.
pub type TreeKey = Vec<u8>;

/// One write, all of it or nothing. Writes take effect in the order in which they are given, and a crash keeps a
/// prefix of them which contains at least everything up to the last one that was reported as persisted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreWrite {
    /// If set, the write is to be made durable and reported under this number; a report covers all smaller ones.
    pub number: Option<u64>,
    /// A snapshot takes the place of everything: the log is emptied before the rest is done.
    pub installed: Option<LogPosition>,
    /// New consensus state.
    pub hard_state: Option<HardState>,
    /// Entries that follow each other; what the log holds at their places and behind goes first.
    pub entries: Vec<LogEntry>,
    /// A part of a tree that is received: laid aside until a write takes it.
    pub staged: Option<Staged>,
    /// What was laid aside takes the place of the tree, before anything else is done to it.
    pub takes_staged: bool,
    /// Records of the tree to set, or to remove where there is no value.
    pub tree: Vec<(TreeKey, Option<Vec<u8>>)>,
    /// The entry that the stored tree reflects after this write.
    pub applied: Option<u64>,
    /// Entries up to and with this one go.
    pub compacted: Option<LogPosition>,
    /// Which life of the store this is.
    pub identity: Option<Identity>,
    /// The ensemble as of `applied`.
    pub membership: Option<Box<Membership>>,
}

/// A part of a received tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Staged {
    /// What was laid aside before is void.
    pub is_first: bool,
    /// Records in order.
    pub entries: Vec<(TreeKey, Vec<u8>)>,
}

/// What a store holds at start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Persisted {
    /// How often this store has been opened, this time included. Tells a server's lives apart.
    pub boot: u64,
    /// Which life of the store this is; incarnation 0 for a store that was just made.
    pub identity: Identity,
    /// The ensemble as of `applied`, if it was ever told.
    pub membership: Option<Membership>,
    /// Consensus state.
    pub hard_state: HardState,
    /// Position before the first entry.
    pub compacted: LogPosition,
    /// Entries in order.
    pub entries: Vec<LogEntry>,
    /// The entry that the tree reflects.
    pub applied: u64,
    /// Records of the tree in the order of their keys.
    pub tree: Vec<(TreeKey, Vec<u8>)>,
}

/// A store in memory. Cloning it is what a crash leaves when the clone is taken at a durable moment.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    boot: u64,
    identity: Identity,
    membership: Option<Box<Membership>>,
    hard_state: HardState,
    compacted: LogPosition,
    entries: BTreeMap<u64, LogEntry>,
    applied: u64,
    tree: BTreeMap<TreeKey, Vec<u8>>,
    staged: BTreeMap<TreeKey, Vec<u8>>,
}

impl MemoryStore {
    /// Does a write.
    pub fn write(&mut self, write: &StoreWrite) {
        if let Some(position) = write.installed {
            self.entries.clear();
            self.compacted = position;
        }
        if let Some(staged) = &write.staged {
            if staged.is_first {
                self.staged.clear();
            }
            self.staged.extend(staged.entries.iter().cloned());
        }
        if write.takes_staged {
            self.tree = std::mem::take(&mut self.staged);
        }
        if let Some(state) = write.hard_state {
            self.hard_state = state;
        }
        if let Some(first) = write.entries.first() {
            self.entries.split_off(&first.index);
            self.entries.extend(write.entries.iter().map(|entry| (entry.index, entry.clone())));
        }
        for (key, value) in &write.tree {
            match value {
                Some(value) => drop(self.tree.insert(key.clone(), value.clone())),
                None => drop(self.tree.remove(key)),
            }
        }
        self.applied = write.applied.unwrap_or(self.applied);
        self.identity = write.identity.unwrap_or(self.identity);
        if let Some(membership) = &write.membership {
            self.membership = Some(membership.clone());
        }
        if let Some(position) = write.compacted {
            self.entries = self.entries.split_off(&(position.index + 1));
            self.compacted = position;
        }
    }

    /// The stored tree in one part, as a follower gets it.
    pub fn export(&self) -> bytes::Bytes {
        let mut part = Vec::new();
        for (key, value) in &self.tree {
            encode_entry(key, value, &mut part);
        }
        part.into()
    }

    /// Puts other records in the place of the tree's, as a fault would.
    pub fn replace_tree(&mut self, records: impl IntoIterator<Item = (TreeKey, Vec<u8>)>) {
        self.tree = records.into_iter().collect();
    }

    /// Opens the store once more.
    pub fn open(&mut self) -> Persisted {
        self.boot += 1;
        Persisted {
            boot: self.boot,
            identity: self.identity,
            membership: self.membership.as_deref().cloned(),
            hard_state: self.hard_state,
            compacted: self.compacted,
            entries: self.entries.values().cloned().collect(),
            applied: self.applied,
            tree: self.tree.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        }
    }
}
