//! Snapshots between servers: those this leader sends and the one this follower receives. Sends nothing itself.

use crate::ensemble::membership::{Configuration, Membership};
use crate::ensemble::message::{LogPosition, PeerBody, SnapshotAck, SnapshotChunk};
use crate::ensemble::snapshot::{Arrival, Incoming, Outgoing, SendState};
use crate::store::Staged;
use crate::tree::Tree;
use crate::tree::snapshot::{LoadError, TreeLoader, entries_of};
use bytes::Bytes;
use common::time::Millis;
use std::collections::BTreeMap;

/// What is to be done about snapshots on their way.
#[derive(Default)]
pub(super) struct ToSend {
    /// Messages by receiver.
    pub(super) messages: Vec<(u64, PeerBody)>,
    /// Followers that are done with, the number of the transfer, and true if they have all.
    pub(super) ended: Vec<(u64, u64, bool)>,
}

/// Snapshots on their way.
#[derive(Default)]
pub(super) struct Transfers {
    /// By receiver, with the number under which the store reads the tree.
    outgoing: BTreeMap<u64, (u64, Outgoing)>,
    count: u64,
    incoming: Incoming,
    loader: TreeLoader,
    /// A received tree, until consensus says that it takes the place of log and tree.
    staged: Option<(LogPosition, Tree, Membership)>,
}

/// What came of a chunk.
pub(super) struct Received {
    /// The answer.
    pub(super) ack: SnapshotAck,
    /// Entries for the store to lay aside.
    pub(super) staged: Option<Staged>,
    /// When the tree is whole: its position, and who took part there.
    pub(super) whole: Option<(LogPosition, Configuration)>,
}

/// The receiver for which the store reads under this number.
pub(super) fn receiver_of(number: u64) -> u64 {
    number & 0xff
}

impl Transfers {
    /// A follower lacks entries that are gone: it is to get the tree as of `position`. The number under which the store
    /// is to read it; none if that is under way.
    pub(super) fn begin(&mut self, to: u64, position: LogPosition, membership: Membership, now: Millis) -> Option<u64> {
        if self.outgoing.contains_key(&to) {
            return None;
        }
        tracing::info!(peer = to, index = position.index, "sending a snapshot");
        self.count += 1;
        let number = (self.count << 8) | to;
        self.outgoing.insert(to, (number, Outgoing::new(position, membership, now)));
        Some(number)
    }

    /// A part is there. It is dropped if it belongs to a transfer that has ended.
    pub(super) fn add(&mut self, number: u64, content: Bytes, is_last: bool, now: Millis) {
        let outgoing = self.outgoing.get_mut(&receiver_of(number)).filter(|(current, _)| *current == number);
        if let Some((_, outgoing)) = outgoing {
            outgoing.add(content, is_last, now);
        }
    }

    /// Takes a follower's acknowledgement; gives the transfer and how many more parts the store may read for it.
    pub(super) fn acknowledge(&mut self, from: u64, ack: SnapshotAck, now: Millis) -> Option<(u64, usize)> {
        let (number, outgoing) = self.outgoing.get_mut(&from)?;
        Some((*number, outgoing.acknowledge(ack, now)))
    }

    /// What to send now.
    pub(super) fn poll(&mut self, term: u64, now: Millis) -> ToSend {
        let ToSend { mut messages, mut ended } = ToSend::default();
        for (to, (number, outgoing)) in &mut self.outgoing {
            match outgoing.poll(term, now) {
                SendState::Send(chunks) => {
                    messages.extend(chunks.into_iter().map(|chunk| (*to, PeerBody::SnapshotChunk(chunk))));
                }
                SendState::Done => ended.push((*to, *number, true)),
                SendState::GivenUp => ended.push((*to, *number, false)),
            }
        }
        for (to, _, _) in &ended {
            self.outgoing.remove(to);
        }
        ToSend { messages, ended }
    }

    /// This server leads no more: the transfers that end with that.
    pub(super) fn stop_sending(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.outgoing).into_values().map(|(number, _)| number).collect()
    }

    /// True if a snapshot is being sent.
    pub(super) fn is_sending(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Takes a chunk from the leader.
    pub(super) fn receive(&mut self, from: u64, chunk: &SnapshotChunk, applied: u64) -> Result<Received, LoadError> {
        if chunk.position.index <= applied {
            // It arrived already, its acknowledgement did not.
            let received = chunk.offset.saturating_add(chunk.data.len() as u64);
            let ack = SnapshotAck { index: chunk.position.index, received };
            return Ok(Received { ack, staged: None, whole: None });
        }
        if self.staged.is_some() {
            // A whole one waits to be installed.
            let ack = SnapshotAck { index: chunk.position.index, received: 0 };
            return Ok(Received { ack, staged: None, whole: None });
        }
        let found = crc32c::crc32c(&chunk.data);
        if found != chunk.checksum {
            return Err(LoadError::Checksum { expected: chunk.checksum, found });
        }
        let (arrival, ack) = self.incoming.take(from, chunk);
        if arrival == Arrival::OutOfTurn {
            return Ok(Received { ack, staged: None, whole: None });
        }
        let is_first = arrival == Arrival::First;
        if is_first {
            self.loader = TreeLoader::default();
        }
        let mut entries = Vec::new();
        for entry in entries_of(&chunk.data) {
            let (key, value) = entry?;
            self.loader.push(key, value)?;
            entries.push((key.to_vec(), value.to_vec()));
        }
        let mut whole = None;
        if chunk.last {
            let membership = chunk.membership.clone().unwrap_or_default();
            whole = Some((chunk.position, membership.configuration.clone().unwrap_or_default()));
            self.staged = Some((chunk.position, std::mem::take(&mut self.loader).finish()?, membership));
        }
        Ok(Received { ack, staged: Some(Staged { is_first, entries }), whole })
    }

    /// The position of a received tree that waits.
    pub(super) fn staged_position(&self) -> Option<LogPosition> {
        self.staged.as_ref().map(|(position, _, _)| *position)
    }

    /// Consensus does not want what was received.
    pub(super) fn drop_staged(&mut self) {
        self.staged = None;
    }

    /// The received tree and membership of this position.
    pub(super) fn take_staged(&mut self, position: LogPosition) -> Option<(Tree, Membership)> {
        self.staged.take().filter(|(at, _, _)| *at == position).map(|(_, tree, membership)| (tree, membership))
    }
}
