//! The node's way from consensus to tree: what the ensemble says is kept, sent and applied here, and the store is
//! written behind. Judges no request and knows no client.

use super::forward::Waiter;
use super::lead::TxnBatch;
use super::transfer::ToSend;
use super::{Node, Output};
use crate::admin;
use crate::ensemble::membership::Membership;
use crate::ensemble::message::{LogPosition, PeerBody};
use crate::ensemble::{Append, Committed, Progress};
use crate::store::StoreWrite;
use crate::tree::txn::{Txn, TxnBody};
use crate::tree::{CONFIG_PATH, Tree};
use common::time::{Millis, Now};
use prost::Message;

/// The stored tree follows the live one at this distance; a restart applies the rest again from the log.
const STORE_BEHIND_MS: u64 = 1_000;
/// Or after this many changed records, so that no write is large.
const STORE_BEHIND_RECORDS: usize = 4_096;

/// Entries that stay for followers that were away for a moment; others get a snapshot.
const KEPT_ENTRIES: u64 = 5_000;
/// The log is cut when it has more entries or bytes than this: it is kept in memory as well.
const LOG_ENTRIES: usize = 20_000;
const LOG_BYTES: usize = 16 * 1024 * 1024;

impl Node {
    /// Carries out everything that consensus has to say.
    pub(super) fn drive(&mut self, now: Now, out: &mut Vec<Output>) {
        for to in std::mem::take(&mut self.healing.wanted) {
            self.send_tree(to, now.mono, out);
        }
        while let Some(progress) = self.ensemble.progress() {
            let Progress { append, messages, snapshots_wanted, committed, reads } = progress;
            for (to, body) in messages {
                self.tell_peer(to, body);
            }
            for to in snapshots_wanted {
                self.send_tree(to, now.mono, out);
            }
            if let Some(append) = append {
                self.keep(append, now.mono, out);
            }
            self.apply_all(committed, now);
            for (context, index) in reads {
                self.clients.set_read_index(context, index);
            }
            self.release_syncs(now);
        }
        self.replace_tree(now, out);
        self.write_behind(now.mono, out);
    }

    /// Making a large tree into bytes takes longer than an election timeout: the store does it.
    fn send_tree(&mut self, to: u64, now: Millis, out: &mut Vec<Output>) {
        let (position, membership) = (self.ensemble.applied_position(), self.whole_membership());
        if let Some(number) = self.transfers.begin(to, position, membership, now) {
            self.store_tree(now, out);
            out.push(Output::Export { to: number });
        }
    }

    fn keep(&mut self, append: Append, now: Millis, out: &mut Vec<Output>) {
        self.clients.trace.appended(append.number, &append.entries);
        let mut write = StoreWrite {
            number: Some(append.number),
            hard_state: append.hard_state,
            entries: append.entries,
            ..Default::default()
        };
        if let Some(position) = append.installed {
            let staged = self.transfers.take_staged(position);
            let (tree, membership) = staged.expect("consensus installs only what was handed in");
            self.take_tree(tree);
            tracing::info!(index = position.index, "a snapshot has taken the place of the log");
            write.installed = Some(position);
            write.applied = Some(position.index);
            write.takes_staged = true;
            self.ensemble.applied(position);
            self.applied_term = position.term;
            self.stored_index = position.index;
            // What the clients' watches should have told is lost with the entries that were skipped.
            self.outbox.abandon();
            self.outbox.begin_term(position.term, now);
            self.clients.close_all();
            self.healing.reset();
            self.forget_held();
            self.adopt(Membership { configuration: None, ..membership }, now);
            write.membership = self.unsaved_membership();
        }
        out.push(Output::Store(write));
    }

    /// Another tree takes the place of this server's; what came between is not known.
    pub(super) fn take_tree(&mut self, tree: Tree) {
        self.tree = tree;
        self.tree.keep_history(self.config.history);
    }

    pub(super) fn apply_all(&mut self, committed: Vec<Committed>, now: Now) {
        if self.healing.is_wrong() {
            return self.healing.defer(committed);
        }
        let Some(last) = committed.last().map(|committed| committed.position) else { return };
        self.clients.trace.committed(last.index);
        for committed in committed {
            let LogPosition { index, term } = committed.position;
            self.clients.trace.begin_entry(term, index);
            for txn in self.open_entry(committed, now) {
                self.apply(&txn, now);
            }
            self.healing.applied(index, self.tree.digest());
        }
        self.ensemble.applied(last);
        self.standing.applied(last.index, &mut self.clients.metrics, now);
    }

    /// What an entry does but to the tree; gives its transactions.
    fn open_entry(&mut self, committed: Committed, now: Now) -> Vec<Txn> {
        let Committed { position, data, change } = committed;
        if position.term > self.applied_term {
            self.applied_term = position.term;
            self.outbox.begin_term(position.term, now.mono);
        }
        let has_effect = change.is_none_or(|change| self.apply_change(&change, now));
        let TxnBatch { txns, membership } = self.batch(position, data);
        if let Some(membership) = membership.filter(|_| has_effect) {
            self.adopt(membership, now.mono);
        }
        txns
    }

    /// An entry that a received tree reflects already; whoever waited for it is gone.
    pub(super) fn skip(&mut self, committed: Committed, now: Now) {
        for txn in self.open_entry(committed, now) {
            if let Some(origin) = txn.origin.filter(|origin| origin.server == self.id) {
                let _ = self.outbox.applied(origin.request, now.mono);
            }
        }
    }

    fn batch(&mut self, position: LogPosition, data: bytes::Bytes) -> TxnBatch {
        let own = self.lead.as_mut().filter(|lead| lead.term == position.term);
        if let Some(txns) = own.and_then(|lead| lead.take_proposal(position.index)) {
            return TxnBatch { txns, membership: None };
        }
        match TxnBatch::decode(data) {
            Ok(batch) => batch,
            // What a majority has kept was written by a leader. If it makes no sense here, then the ensemble has
            // mixed versions or a bug; going on would let the trees differ.
            Err(error) => unreachable!("log entry {} does not decode: {error}", position.index),
        }
    }

    fn apply(&mut self, txn: &Txn, now: Now) {
        let applied = self.tree.apply(txn);
        if let Some(lead) = &mut self.lead {
            lead.applied(txn, now.mono);
        }
        let own = txn.origin.filter(|origin| origin.server == self.id);
        let mut waiter = own.and_then(|origin| self.outbox.applied(origin.request, now.mono));
        self.clients.trace.applied(txn, waiter.as_ref().map(Waiter::handed));
        if let Some(held) = waiter.take_if(|_| self.ensemble.is_joint() && is_config(txn)) {
            self.hold_answer(held.connection, held.number, applied.result.clone());
        }
        self.tell_clients(txn, &applied, waiter, now);
        if matches!(txn.body, Some(TxnBody::Restore(_))) {
            if applied.result.is_ok() {
                self.tree_restored(now);
            }
            self.answer_restore(applied.result.is_ok());
        }
    }

    /// Trees that this leader was given come back in the order in which they were asked for; one of another term is
    /// nobody's who waits here.
    fn answer_restore(&mut self, is_restored: bool) {
        let own = self.lead.as_mut().filter(|lead| lead.term == self.applied_term && lead.restores_waiting > 0);
        let Some(lead) = own else { return };
        lead.restores_waiting -= 1;
        self.restored.push(match is_restored {
            true => admin::restored(self.tree.zxid()),
            false => admin::refused("restore", 500, Some("the ensemble cannot take this tree")),
        });
    }

    /// Another tree stands where the last one stood: nothing of what clients were told or wait for holds.
    fn tree_restored(&mut self, now: Now) {
        let zxid = self.tree.zxid();
        tracing::warn!(zxid = format_args!("{zxid:#x}"), znodes = self.tree.nodes_count(), "the tree was restored");
        self.clients.close_all();
        if let Some(lead) = &mut self.lead {
            lead.tree_restored(&self.tree, now.mono);
        }
    }

    /// Lets the store follow, and cuts the log behind what it has.
    fn write_behind(&mut self, now: Millis, out: &mut Vec<Output>) {
        let applied = self.ensemble.applied_position().index;
        let is_due = now - self.stored_at >= STORE_BEHIND_MS || self.tree.changes_count() >= STORE_BEHIND_RECORDS;
        if applied != self.stored_index && is_due {
            self.store_tree(now, out);
        }
    }

    pub(super) fn store_tree(&mut self, now: Millis, out: &mut Vec<Output>) {
        let applied = self.ensemble.applied_position().index;
        self.stored_index = applied;
        self.stored_at = now;
        let tree = self.tree.take_changes();
        let compacted = self.ensemble.compact(KEPT_ENTRIES, LOG_ENTRIES, LOG_BYTES);
        let membership = self.unsaved_membership();
        out.push(Output::Store(StoreWrite {
            tree,
            applied: Some(applied),
            compacted,
            membership,
            ..Default::default()
        }));
    }

    pub(super) fn poll_transfers(&mut self, now: Millis) {
        if !self.transfers.is_sending() {
            return;
        }
        if !self.ensemble.is_leader() {
            let ended = self.transfers.stop_sending();
            return self.unsent.extend(ended.into_iter().map(|to| Output::ExportEnd { to }));
        }
        let ToSend { messages, ended } = self.transfers.poll(self.ensemble.term(), now);
        for (to, body) in messages {
            self.tell_peer(to, body);
        }
        for (to, number, complete) in ended {
            self.unsent.push(Output::ExportEnd { to: number });
            tracing::info!(peer = to, complete, "snapshot sent");
            self.ensemble.snapshot_sent(to, complete);
        }
    }

    /// Puts a message into the buffer that leaves with the next flush.
    pub(super) fn tell_peer(&mut self, to: u64, body: PeerBody) {
        let buffer = self.peer_buffers.entry(to).or_default();
        crate::ensemble::message::PeerMessage { body: Some(body) }.encode_frame(buffer);
    }
}

/// True if the transaction is a reconfiguration.
fn is_config(txn: &Txn) -> bool {
    matches!(&txn.body, Some(TxnBody::SetData(set)) if set.path == CONFIG_PATH)
}
