//! What only the leader does: it judges requests against the tree and everything that is proposed, gives out transaction
//! ids, ends sessions that were silent and removes znodes that outlived themselves. One value lives as long as one
//! leadership. Proposing is the caller's.

use super::forward::{Inbox, Request};
use crate::config::Config;
use crate::ensemble::membership::Membership;
use crate::ensemble::message::Forward;
use crate::tree::pending::{Pending, PrepareRequest, PrepareSettings};
use crate::tree::session::Expiry;
use crate::tree::txn::{CloseSession, Origin, Refusal, Restore, Txn, TxnBody};
use crate::tree::write::{DeleteWrite, Write, WriteBody};
use crate::tree::{CONFIG_PATH, Tree};
use bytes::{Bytes, BytesMut};
use common::mutants;
use common::time::{Millis, Now};
use prost::Message;
use std::collections::VecDeque;

/// A proposal that reaches this size is closed and the next one begun: it must fit a peer message.
const PROPOSAL_BYTES: usize = 1024 * 1024;

/// Proposals on their way. While this many are, requests gather, so that under load few large ones travel.
const PROPOSALS_IN_FLIGHT: usize = 4;

/// How often containers and TTL znodes are looked at unless `znode.container.checkIntervalMs` says otherwise.
const OUTLIVED_EVERY_MS: u64 = 60_000;

/// Removed in one go at most, so that other requests get their turn.
const OUTLIVED_AT_ONCE: usize = 1_000;

/// The transactions of one log entry.
#[derive(Clone, PartialEq, ::prost::Message)]
pub(super) struct TxnBatch {
    #[prost(message, repeated, tag = "1")]
    pub(super) txns: Vec<Txn>,
    /// Who belongs to the ensemble from here on, if that changes.
    #[prost(message, optional, tag = "2")]
    pub(super) membership: Option<Membership>,
}

/// A proposal that is not applied yet, so that the leader need not parse what it wrote itself.
struct Proposal {
    index: u64,
    txns: Vec<Txn>,
}

/// A request that waits to be judged.
struct Queued {
    /// Who waits for it; none for what the leader does by itself.
    origin: Option<Origin>,
    request: Request,
    /// When this leader took it, in microseconds; see [`crate::trace`].
    taken_us: Option<u64>,
}

/// One leadership.
pub(super) struct Lead {
    pub(super) term: u64,
    pub(super) inbox: Inbox,
    pub(super) expiry: Expiry,
    pending: Pending,
    next_zxid: i64,
    last_time: i64,
    queue: VecDeque<Queued>,
    proposals: VecDeque<Proposal>,
    next_outlived: Millis,
    /// What was proposed last takes the place of the tree.
    has_restored: bool,
    /// Trees that wait in the queue or are proposed: they are applied in order.
    pub(super) restores_waiting: usize,
    /// The text last written to the znode of the configuration.
    described: Option<String>,
    outlived_every_ms: u64,
    /// How long a container may wait for its first child, 0 for ever.
    never_used_ms: i64,
}

impl Lead {
    /// Begins to lead, with everything of earlier terms applied to `tree`. Every session gets its full timeout: nobody
    /// knows when the last leader heard of it.
    pub(super) fn new(term: u64, tree: &Tree, settings: PrepareSettings, config: &Config, now: Now) -> Lead {
        let expiry = Expiry::new(u64::from(config.tick_time_ms).min(1000));
        // Checked when the configuration was read.
        let number = |key: &str, default| config.properties.parse_or(key, default, "").unwrap_or(default);
        let mut lead = Lead {
            term,
            inbox: Inbox::default(),
            expiry,
            pending: Pending::new(settings),
            next_zxid: tree.zxid() + if mutants::is_on("zxid-used-again") { 0 } else { 1 },
            last_time: 0,
            queue: VecDeque::new(),
            proposals: VecDeque::new(),
            described: None,
            has_restored: false,
            restores_waiting: 0,
            next_outlived: now.mono + number("znode.container.checkIntervalMs", OUTLIVED_EVERY_MS).max(1),
            outlived_every_ms: number("znode.container.checkIntervalMs", OUTLIVED_EVERY_MS).max(1),
            never_used_ms: i64::try_from(number("znode.container.maxNeverUsedIntervalMs", 0)).unwrap_or(i64::MAX),
        };
        lead.restart_clocks(tree, now.mono);
        lead
    }

    /// Gives every session its full timeout again.
    pub(super) fn restart_clocks(&mut self, tree: &Tree, now: Millis) {
        for (id, session) in tree.sessions() {
            self.expiry.track(id, session.timeout_ms, now);
        }
    }

    /// Another tree was put in the place of the last one, with nothing under way: only its sessions live on, and
    /// transactions go on behind its last one.
    pub(super) fn tree_restored(&mut self, tree: &Tree, now: Millis) {
        self.next_zxid = self.next_zxid.max(tree.zxid() + 1);
        self.expiry.clear();
        self.restart_clocks(tree, now);
    }

    /// Writes the configuration for clients, if it is not what they read.
    pub(super) fn describe_ensemble(&mut self, tree: &Tree, text: String) {
        let is_there = tree.node(CONFIG_PATH).and_then(|node| node.data()) == Some(text.as_bytes());
        if !is_there && self.described.as_ref() != Some(&text) {
            self.described = Some(text.clone());
            self.push_own(0, WriteBody::Config(Bytes::from(text.into_bytes())));
        }
    }

    /// True if what waits first changes the membership.
    pub(super) fn is_reconfig_next(&self) -> bool {
        self.queue.front().is_some_and(|queued| is_reconfig(&queued.request))
    }

    /// An operator's tree is to take the place of the ensemble's.
    pub(super) fn push_restore(&mut self, snapshot: Bytes) {
        self.restores_waiting += 1;
        self.push_own(0, WriteBody::Restore(Restore { snapshot }));
    }

    /// True if what waits first, or what was proposed last, takes the place of the tree: requests before it are to be
    /// applied first, and those behind it are judged by what it brings.
    pub(super) fn must_settle(&self) -> bool {
        self.has_restored || self.queue.front().is_some_and(|queued| is_restore(&queued.request))
    }

    /// Takes what waits first.
    pub(super) fn take_first(&mut self) -> Option<(Option<Origin>, Request)> {
        self.queue.pop_front().map(|queued| (queued.origin, queued.request))
    }

    /// The id that the next transaction will have.
    pub(super) fn peek_zxid(&self) -> i64 {
        self.next_zxid
    }

    /// The transaction that a change of membership is to clients, and whether it was refused.
    pub(super) fn judge_config(
        &mut self,
        tree: &Tree,
        (origin, request): (Option<Origin>, Request),
        text: Result<Bytes, Refusal>,
        now: Now,
    ) -> (Txn, bool) {
        let zxid = self.next_zxid;
        self.next_zxid += 1;
        self.last_time = now.wall.0.max(self.last_time);
        let Request { session, cxid, auth, is_local, .. } = request;
        let server = origin.map_or(0, |origin| origin.server);
        let body = match text {
            Ok(text) => {
                let write = Write { body: Some(WriteBody::Config(text)) };
                let time = self.last_time;
                let request = PrepareRequest { server, session, is_local, auth: &auth, write, time };
                self.pending.prepare(tree, request, zxid)
            }
            Err(refusal) => TxnBody::refused(refusal),
        };
        let is_refused = matches!(body, TxnBody::Error(_));
        if let (false, TxnBody::SetData(set)) = (is_refused, &body) {
            self.described = set.data.as_ref().and_then(|data| String::from_utf8(data.to_vec()).ok());
        }
        (Txn { zxid, time: self.last_time, origin, session, cxid, body: Some(body) }, is_refused)
    }

    /// A request of this server's own clients or of another server's, in order.
    pub(super) fn push(&mut self, origin: Origin, request: Request, taken_us: u64) {
        self.queue.push_back(Queued { origin: Some(origin), request, taken_us: Some(taken_us) });
    }

    fn push_own(&mut self, session: i64, body: WriteBody) {
        let request = Request { session, write: Some(Write { body: Some(body) }), ..Default::default() };
        self.queue.push_back(Queued { origin: None, request, taken_us: None });
    }

    /// Requests in a message from another server; what does not decode is refused in its place.
    pub(super) fn push_forwarded(&mut self, server: u64, requests: Vec<(u64, Bytes)>, taken_us: u64) {
        for (request, bytes) in requests {
            // A request that does not decode (a newer version's) has no write and is refused when its turn comes.
            let decoded = Request::decode(bytes).unwrap_or_default();
            self.push(Origin { server, request }, decoded, taken_us);
        }
    }

    /// Sessions that were heard of.
    pub(super) fn touch(&mut self, sessions: impl IntoIterator<Item = i64>, now: Millis) {
        for session in sessions {
            self.expiry.touch(session, now);
        }
    }

    /// Ends silent sessions and removes what outlived itself.
    pub(super) fn tick(&mut self, tree: &Tree, now: Now) {
        for session in self.expiry.expired(now.mono) {
            tracing::info!(session = format_args!("{session:#x}"), "session expired");
            self.push_own(session, WriteBody::CloseSession(CloseSession {}));
        }
        if now.mono >= self.next_outlived {
            self.next_outlived = now.mono + self.outlived_every_ms;
            for path in tree.outlived(now.wall.0, self.never_used_ms).into_iter().take(OUTLIVED_AT_ONCE) {
                self.push_own(0, WriteBody::DeleteContainer(DeleteWrite { path, version: -1 }));
            }
        }
    }

    /// True if nothing waits or enough is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() || self.proposals.len() >= PROPOSALS_IN_FLIGHT
    }

    /// Judges what waits, as far as one proposal goes: its bytes, its transactions, and when each was taken.
    pub(super) fn next_proposal(&mut self, tree: &Tree, now: Now) -> (Bytes, Vec<Txn>, Vec<Option<u64>>) {
        let mut bytes = BytesMut::new();
        let mut txns = Vec::with_capacity(self.queue.len());
        let mut taken = Vec::with_capacity(self.queue.len());
        self.has_restored = self.queue.front().is_some_and(|queued| is_restore(&queued.request));
        self.last_time = now.wall.0.max(self.last_time);
        while bytes.len() < PROPOSAL_BYTES {
            let is_alone = self.must_settle();
            if self.is_reconfig_next() || (is_alone && !txns.is_empty()) {
                break;
            }
            let Some(Queued { origin, request, taken_us }) = self.queue.pop_front() else { break };
            let mut zxid = self.next_zxid;
            if mutants::is_on("zxid-in-32-bits") {
                zxid &= 0xffff_ffff;
            }
            self.next_zxid += 1;
            let Request { session, cxid, auth, write, attach, timeout_ms, is_local } = request;
            let server = origin.map_or(0, |origin| origin.server);
            let body = match attach {
                Some(password) => match self.pending.attach(tree, session, &password, server) {
                    Ok(_) => {
                        self.expiry.track(session, timeout_ms, now.mono);
                        None
                    }
                    Err(refusal) => Some(TxnBody::refused(refusal)),
                },
                None => {
                    let write = write.unwrap_or_default();
                    let time = self.last_time;
                    let request = PrepareRequest { server, session, is_local, auth: &auth, write, time };
                    Some(self.pending.prepare(tree, request, zxid))
                }
            };
            let txn = Txn { zxid, time: self.last_time, origin, session, cxid, body };
            prost::encoding::message::encode(1, &txn, &mut bytes);
            txns.push(txn);
            taken.push(taken_us);
        }
        (bytes.freeze(), txns, taken)
    }

    /// What was just judged stands in the log at `index`.
    pub(super) fn proposed(&mut self, index: u64, txns: Vec<Txn>) {
        self.proposals.push_back(Proposal { index, txns });
    }

    /// The transactions of an entry that this leadership proposed.
    pub(super) fn take_proposal(&mut self, index: u64) -> Option<Vec<Txn>> {
        let first = self.proposals.front()?;
        if first.index != index {
            return None;
        }
        self.proposals.pop_front().map(|proposal| proposal.txns)
    }

    /// A transaction has been applied.
    pub(super) fn applied(&mut self, txn: &Txn, now: Millis) {
        self.pending.applied(txn.zxid);
        match &txn.body {
            Some(TxnBody::CreateSession(session)) => self.expiry.track(txn.session, session.timeout_ms, now),
            Some(TxnBody::CloseSession(_)) => self.expiry.remove(txn.session),
            // A session that moved was heard of.
            None => drop(self.expiry.touch(txn.session, now)),
            Some(_) => {}
        }
    }
}

fn is_restore(request: &Request) -> bool {
    matches!(&request.write, Some(Write { body: Some(WriteBody::Restore(_)) }))
}

fn is_reconfig(request: &Request) -> bool {
    matches!(&request.write, Some(Write { body: Some(WriteBody::Reconfig(_)) }))
}

/// Messages for a leader that is not ready, because it has not applied what earlier leaders left. Bounded; a server
/// whose message is dropped sends it again.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// From whom, what, and when it came.
    messages: Vec<(u64, Forward, u64)>,
}

impl Early {
    const LIMIT: usize = 256;

    pub(super) fn push(&mut self, from: u64, forward: Forward, at_us: u64) {
        if self.messages.len() < Self::LIMIT {
            self.messages.push((from, forward, at_us));
        }
    }

    pub(super) fn take(&mut self) -> Vec<(u64, Forward, u64)> {
        std::mem::take(&mut self.messages)
    }
}
