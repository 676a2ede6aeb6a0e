//! What the consensus library reads: the tail of the log in memory, with the position before it, and the state it
//! started from. Written before the disk is (the library asks for that); never touches the disk itself.

use super::message::{HardState, LogEntry, LogPosition};
use raft::eraftpb::{ConfState, Entry, EntryType, Snapshot, SnapshotMetadata};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use std::collections::VecDeque;

/// What an entry weighs besides its data; keeps the bound honest for logs of tiny entries.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// The log in memory.
pub(super) struct LogStorage {
    hard_state: HardState,
    conf_state: ConfState,
    /// Last entry that is no longer kept; the first kept one follows it.
    compacted: LogPosition,
    entries: VecDeque<Entry>,
    bytes: usize,
    applied: LogPosition,
}

impl LogStorage {
    pub(super) fn new(hard_state: HardState, conf_state: ConfState, compacted: LogPosition) -> LogStorage {
        LogStorage { hard_state, conf_state, compacted, entries: VecDeque::new(), bytes: 0, applied: compacted }
    }

    /// Appends entries that follow each other, replacing what stood at their places and behind.
    pub(super) fn append(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            assert!(entry.index > self.compacted.index, "entry {} is compacted away", entry.index);
            let place = usize::try_from(entry.index - self.compacted.index - 1).expect("the log fits in memory");
            assert!(place <= self.entries.len(), "entry {} leaves a gap", entry.index);
            for removed in self.entries.drain(place..) {
                self.bytes -= weight(&removed);
            }
            self.bytes += weight(&entry);
            self.entries.push_back(entry);
        }
    }

    /// Starts again behind a snapshot.
    pub(super) fn install(&mut self, position: LogPosition, conf_state: ConfState) {
        self.conf_state = conf_state;
        self.entries.clear();
        self.bytes = 0;
        self.compacted = position;
        self.applied = position;
    }

    /// Forgets entries up to and with `index`, which must be applied.
    pub(super) fn compact(&mut self, index: u64) {
        assert!(index <= self.applied.index, "only applied entries may go");
        while self.compacted.index < index {
            let Some(entry) = self.entries.pop_front() else { break };
            self.bytes -= weight(&entry);
            self.compacted = LogPosition { index: entry.index, term: entry.term };
        }
    }

    pub(super) fn set_applied(&mut self, position: LogPosition) {
        self.applied = position;
    }

    pub(super) fn applied(&self) -> LogPosition {
        self.applied
    }

    pub(super) fn conf_state(&self) -> &ConfState {
        &self.conf_state
    }

    pub(super) fn set_conf_state(&mut self, conf_state: ConfState) {
        self.conf_state = conf_state;
    }

    /// True if an entry behind `index` changes who takes part.
    pub(super) fn has_change_after(&self, index: u64) -> bool {
        self.entries
            .iter()
            .rev()
            .take_while(|entry| entry.index > index)
            .any(|entry| entry.get_entry_type() != EntryType::EntryNormal)
    }

    pub(super) fn compacted(&self) -> LogPosition {
        self.compacted
    }

    /// Kept entries, and about how many bytes they take.
    pub(super) fn weight(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }

    pub(super) fn last(&self) -> LogPosition {
        match self.entries.back() {
            Some(entry) => LogPosition { index: entry.index, term: entry.term },
            None => self.compacted,
        }
    }

    /// Term of an entry that is kept, or of the one before the first.
    pub(super) fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.compacted.index {
            return Some(self.compacted.term);
        }
        let place = usize::try_from(index.checked_sub(self.compacted.index + 1)?).ok()?;
        self.entries.get(place).map(|entry| entry.term)
    }
}

fn weight(entry: &Entry) -> usize {
    entry.data.len() + ENTRY_OVERHEAD_BYTES
}

impl Storage for LogStorage {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.to_raft(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.compacted.index {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last().index + 1 {
            return Err(StorageError::Unavailable.into());
        }
        let limit = max_size.into().unwrap_or(u64::MAX);
        let from = usize::try_from(low - self.compacted.index - 1).expect("the log fits in memory");
        let count = usize::try_from(high.saturating_sub(low)).expect("the log fits in memory");
        let mut size = 0u64;
        let mut found = Vec::new();
        for entry in self.entries.iter().skip(from).take(count) {
            size = size.saturating_add(weight(entry) as u64);
            if size > limit && !found.is_empty() {
                break;
            }
            found.push(entry.clone());
        }
        Ok(found)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.compacted.index {
            return Err(StorageError::Compacted.into());
        }
        self.term_at(index).ok_or_else(|| StorageError::Unavailable.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.compacted.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last().index)
    }

    /// Only says what a snapshot taken now would reflect: its bytes are made and sent by the caller of the ensemble.
    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        if self.applied.index == 0 || self.applied.index < request_index {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        Ok(snapshot_at(self.applied, &self.conf_state))
    }
}

/// The library's description of a snapshot, without content.
pub(super) fn snapshot_at(position: LogPosition, conf_state: &ConfState) -> Snapshot {
    let mut metadata = SnapshotMetadata { index: position.index, term: position.term, ..Default::default() };
    metadata.set_conf_state(conf_state.clone());
    let mut snapshot = Snapshot::default();
    snapshot.set_metadata(metadata);
    snapshot
}

/// Puts entries read from the store behind each other; stops at the first that does not follow.
pub(super) fn restore_entries(storage: &mut LogStorage, entries: Vec<LogEntry>) {
    for entry in entries {
        if entry.index == storage.last().index + 1 {
            storage.append([entry.into_raft()]);
        }
    }
}
