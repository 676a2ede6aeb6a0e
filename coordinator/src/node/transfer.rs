//! Snapshots between servers: those this leader sends and the one this follower receives. Sends nothing itself.

use crate::ensemble::membership::{Configuration, Membership};
use crate::ensemble::message::{LogPosition, PeerBody, SnapshotAck, SnapshotChunk};
use crate::ensemble::snapshot::{Incoming, Outgoing, SendState};
use crate::tree::Tree;
use bytes::Bytes;
use common::time::Millis;
use std::collections::BTreeMap;

/// What is to be done about snapshots on their way.
#[derive(Default)]
pub(super) struct ToSend {
    /// Messages by receiver.
    pub(super) messages: Vec<(u64, PeerBody)>,
    /// Followers that are done with; true if they have all.
    pub(super) ended: Vec<(u64, bool)>,
}

/// Snapshots on their way.
#[derive(Default)]
pub(super) struct Transfers {
    /// Snapshots that the store is making.
    prepared: BTreeMap<u64, (LogPosition, Membership)>,
    outgoing: BTreeMap<u64, Outgoing>,
    incoming: Incoming,
    /// A received tree, until consensus says that it takes the place of log and tree.
    staged: Option<(LogPosition, Tree, Membership)>,
}

impl Transfers {
    /// A follower lacks entries that are gone: it is to get the tree as of `position`. False if that is under way.
    pub(super) fn prepare(&mut self, to: u64, position: LogPosition, membership: Membership) -> bool {
        if self.outgoing.contains_key(&to) || self.prepared.contains_key(&to) {
            return false;
        }
        tracing::info!(peer = to, index = position.index, "sending a snapshot");
        self.prepared.insert(to, (position, membership));
        true
    }

    /// The content is there. It is dropped if this server has stopped leading meanwhile.
    pub(super) fn begin(&mut self, to: u64, content: Bytes, now: Millis) {
        if let Some((position, membership)) = self.prepared.remove(&to) {
            self.outgoing.insert(to, Outgoing::new(position, membership, content, now));
        }
    }

    /// Takes a follower's acknowledgement.
    pub(super) fn acknowledge(&mut self, from: u64, ack: SnapshotAck, now: Millis) {
        if let Some(outgoing) = self.outgoing.get_mut(&from) {
            outgoing.acknowledge(ack, now);
        }
    }

    /// What to send now.
    pub(super) fn poll(&mut self, term: u64, now: Millis) -> ToSend {
        let ToSend { mut messages, mut ended } = ToSend::default();
        for (to, outgoing) in &mut self.outgoing {
            match outgoing.poll(term, now) {
                SendState::Send(chunks) => {
                    messages.extend(chunks.into_iter().map(|chunk| (*to, PeerBody::SnapshotChunk(chunk))));
                }
                SendState::Done => ended.push((*to, true)),
                SendState::GivenUp => ended.push((*to, false)),
            }
        }
        for (to, _) in &ended {
            self.outgoing.remove(to);
        }
        ToSend { messages, ended }
    }

    /// This server leads no more.
    pub(super) fn stop_sending(&mut self) {
        self.outgoing.clear();
        self.prepared.clear();
    }

    /// True if a snapshot is being sent.
    pub(super) fn is_sending(&self) -> bool {
        !self.outgoing.is_empty() || !self.prepared.is_empty()
    }

    /// Takes a chunk from the leader; gives the answer and, when the tree is whole, the position to restore to.
    pub(super) fn receive(
        &mut self,
        from: u64,
        chunk: &SnapshotChunk,
        applied: u64,
    ) -> Result<(SnapshotAck, Option<(LogPosition, Configuration)>), crate::tree::snapshot::LoadError> {
        if chunk.position.index <= applied {
            // It arrived already, its acknowledgement did not.
            let received = chunk.offset.saturating_add(chunk.data.len() as u64);
            return Ok((SnapshotAck { index: chunk.position.index, received }, None));
        }
        let (ack, whole) = self.incoming.take(from, chunk);
        let Some(whole) = whole else { return Ok((ack, None)) };
        let membership = chunk.membership.clone().unwrap_or_default();
        let configuration = membership.configuration.clone().unwrap_or_default();
        self.staged = Some((chunk.position, Tree::from_snapshot(&whole)?, membership));
        Ok((ack, Some((chunk.position, configuration))))
    }

    /// The received tree and membership of this position.
    pub(super) fn take_staged(&mut self, position: LogPosition) -> Option<(Tree, Membership)> {
        self.staged.take().filter(|(at, _, _)| *at == position).map(|(_, tree, membership)| (tree, membership))
    }
}
