//! This server's clients: which connections there are, which sessions live here, who watches and who waits for the
//! leader's position. Between a connection (which knows its client's order) and the node (which knows the ensemble).

use super::forward::{Request, Waiter};
use super::local_sessions::{LocalSessions, makes_ephemeral};
use super::{Node, Output, Settings};
use crate::config::Config;
use crate::connection::{Action, CloseReason, Connection, ConnectionSettings, Serving, decode_request};
use crate::ensemble::message;
use crate::metrics::Metrics;
use crate::trace::Trace;
use crate::tree::Tree;
use crate::tree::session::SessionIds;
use crate::tree::txn::{Applied, CreateSession, EventKind, Outcome, Refusal, Txn, TxnBody};
use crate::tree::watch::{ConnectionId, Watches};
use crate::tree::write::{ReconfigWrite, Write, WriteBody};
use bytes::Bytes;
use common::time::{Millis, Now};
use common::zk::{ConnectRequest, Reader};
use common::{Rng, mutants};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

/// Who connects and says nothing is dropped after this long.
pub(super) const SILENT_HANDSHAKE_MS: u64 = 30_000;
/// How often connections are looked at for silence.
const SILENCE_CHECK_MS: u64 = 1_000;
/// How often the leader is told which sessions live. Far below any timeout, far above what a ping costs.
const TOUCH_EVERY_MS: u64 = 50;
/// A question for the leader's position that got no answer is asked again.
const ASK_AGAIN_MS: u64 = 100;
/// Transactions from one kept digest to the next, and how many are kept, as ZooKeeper's digest log.
const DIGEST_EVERY: i64 = 128;
const DIGESTS_KEPT: usize = 1024;
/// The request number by which a handshake waits; requests are numbered from 1.
pub(super) const HANDSHAKE: u64 = 0;

/// A client's connection with what the node keeps about it.
pub(super) struct Client {
    pub(super) connection: Connection,
    pub(super) remote: SocketAddr,
    /// Frames that came while no leader was known, and when, in microseconds.
    held: Vec<(Bytes, u64)>,
    /// While the session is being created or attached: its id and password.
    establishing: Option<(i64, Bytes)>,
    handed: u64,
    reported: u64,
    /// How much of what the connection counts as sent is in the server's figure.
    counted_sent: u64,
    pub(super) last_heard: Millis,
    is_closing: bool,
}

/// Connections that wait until this server has applied what the leader had committed when they asked.
struct Round {
    context: u64,
    waiting: Vec<(ConnectionId, u64)>,
    index: Option<u64>,
    asked_at: Millis,
}

/// All clients of this server.
pub(super) struct Clients {
    pub(super) connections: BTreeMap<ConnectionId, Client>,
    /// Where the established sessions live.
    sessions: BTreeMap<i64, ConnectionId>,
    pub(super) watches: Watches,
    settings: ConnectionSettings,
    next_request: u64,
    session_ids: SessionIds,
    rng: Rng,
    touched: BTreeSet<i64>,
    touched_at: Millis,
    checked_at: Millis,
    /// Connections that may have something to send.
    stirred: BTreeSet<ConnectionId>,
    is_serving: bool,
    /// There is no leader, and clients that asked for it are served what can be read here.
    is_read_only: bool,
    pub(super) local: LocalSessions,
    /// New sessions are local ones.
    begins_local: bool,
    /// Local sessions may become the ensemble's.
    upgrades: bool,
    asking: Vec<(ConnectionId, u64)>,
    rounds: Vec<Round>,
    next_context: u64,
    /// When the node was last called.
    pub(super) now: Now,
    pub(super) metrics: Metrics,
    /// What became of requests.
    pub(super) trace: Trace,
    /// Digests of the tree at every 128th transaction, for `hash`.
    pub(super) digests: VecDeque<(i64, u64)>,
}

impl Clients {
    pub(super) fn new(config: &Config, settings: &Settings, life: u64, rng: Rng, now: Now) -> Clients {
        Clients {
            connections: BTreeMap::new(),
            sessions: BTreeMap::new(),
            watches: Watches::default(),
            settings: settings.connection.clone(),
            next_request: HANDSHAKE + 1,
            session_ids: SessionIds::new(config.my_id, now.wall),
            rng,
            touched: BTreeSet::new(),
            touched_at: now.mono,
            checked_at: now.mono,
            stirred: BTreeSet::new(),
            is_serving: false,
            is_read_only: false,
            local: LocalSessions::default(),
            // A server alone has no use for them; neither has ZooKeeper's.
            begins_local: config.local_sessions && !config.is_standalone(),
            upgrades: config.local_sessions_upgrading,
            asking: Vec::new(),
            rounds: Vec::new(),
            // Unique in the ensemble: server, life, count.
            now,
            metrics: Metrics::default(),
            trace: Trace::new(config.my_id, config.requests),
            digests: VecDeque::new(),
            next_context: (config.my_id << 56) | ((life & 0xff_ffff) << 32),
        }
    }

    pub(super) fn is_serving(&self) -> bool {
        self.is_serving
    }

    pub(super) fn set_serving(&mut self, is_serving: bool) {
        self.is_serving = is_serving;
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// From now on clients that ask for it are served reads without a leader. All others must look elsewhere.
    pub(super) fn begin_read_only(&mut self) {
        if !self.is_read_only {
            tracing::info!("no leader is known: serving reads to clients that asked for it");
            self.close_all();
            self.is_read_only = true;
        }
    }

    /// There is a leader again: who was served without one comes back for a session of the ensemble.
    pub(super) fn end_read_only(&mut self) {
        if std::mem::take(&mut self.is_read_only) {
            self.close_all();
            self.local = LocalSessions::default();
        }
    }

    pub(super) fn connected(&mut self, id: ConnectionId, remote: SocketAddr, now: Now) {
        let client = Client {
            connection: Connection::new(id, remote.ip()),
            remote,
            held: Vec::new(),
            establishing: None,
            handed: 0,
            reported: 0,
            counted_sent: 0,
            last_heard: now.mono,
            is_closing: false,
        };
        self.connections.insert(id, client);
    }

    /// The client came over TLS.
    pub(super) fn secured(&mut self, id: ConnectionId, subject: Option<String>) {
        if let Some(client) = self.connections.get_mut(&id) {
            client.connection.secured(subject, &self.settings);
        }
    }

    /// Forgets a connection.
    pub(super) fn closed(&mut self, id: ConnectionId) {
        let Some(client) = self.connections.remove(&id) else { return };
        self.watches.remove_connection(id);
        let session = client.connection.session();
        if self.sessions.get(&session) == Some(&id) {
            self.sessions.remove(&session);
        }
    }

    /// Sets what is counted of each connection back to nothing.
    pub(super) fn reset_counters(&mut self) {
        for client in self.connections.values_mut() {
            client.connection.reset_counters();
            client.counted_sent = 0;
        }
    }

    /// Sessions heard of since the last time, if it is time to tell the leader.
    pub(super) fn take_touched(&mut self, now: Millis) -> Vec<i64> {
        if self.touched.is_empty() || now - self.touched_at < TOUCH_EVERY_MS {
            return Vec::new();
        }
        self.touched_at = now;
        std::mem::take(&mut self.touched).into_iter().collect()
    }

    /// Takes every client for just heard of.
    pub(super) fn restart_clocks(&mut self, now: Millis) {
        for client in self.connections.values_mut() {
            client.last_heard = now;
        }
        self.local.restart_clocks(now);
    }

    /// Drops who has been silent for longer than its session can live.
    pub(super) fn drop_silent(&mut self, now: Millis) {
        if now - self.checked_at < SILENCE_CHECK_MS {
            return;
        }
        self.checked_at = now;
        let expired = self.local.expire(now);
        let mut silent: Vec<ConnectionId> =
            expired.iter().filter_map(|session| self.sessions.get(session).copied()).collect();
        for (id, client) in &self.connections {
            let limit = match client.connection.timeout_ms() {
                0 => SILENT_HANDSHAKE_MS,
                timeout_ms => u64::try_from(timeout_ms).unwrap_or(0),
            };
            if now - client.last_heard > limit && !client.is_closing {
                silent.push(*id);
            }
        }
        for id in silent {
            if self.connections.get(&id).is_some_and(|client| client.connection.timeout_ms() == 0) {
                self.metrics.sessionless_expired += 1;
            }
            self.close(id, CloseReason::SessionInvalid);
        }
    }

    /// Ends a connection by our wish.
    fn close(&mut self, id: ConnectionId, reason: CloseReason) {
        if let Some(client) = self.connections.get_mut(&id) {
            client.connection.close(reason);
            self.closing(id, reason);
        }
    }

    fn closing(&mut self, id: ConnectionId, reason: CloseReason) {
        let Some(client) = self.connections.get_mut(&id) else { return };
        tracing::debug!(remote = %client.remote, %reason, "closing a client connection");
        if !client.is_closing {
            self.metrics.connections_dropped += 1;
        }
        client.is_closing = true;
        client.held.clear();
        let session = client.connection.session();
        if reason == CloseReason::SessionClosed {
            self.local.remove(session);
        }
        if self.sessions.get(&session) == Some(&id) {
            self.sessions.remove(&session);
        }
        self.watches.remove_connection(id);
        self.stirred.insert(id);
    }

    pub(super) fn close_all(&mut self) {
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            self.close(id, CloseReason::OutcomeUnknown);
        }
        self.rounds.clear();
        self.asking.clear();
    }

    /// What is to be sent and closed.
    pub(super) fn flush(&mut self, out: &mut Vec<Output>) {
        for id in std::mem::take(&mut self.stirred) {
            let Some(client) = self.connections.get_mut(&id) else { continue };
            let waiting = client.connection.outstanding_count() + usize::from(client.establishing.is_some());
            let total = client.handed.saturating_sub(waiting as u64);
            let answered = u32::try_from(total.saturating_sub(client.reported)).unwrap_or(u32::MAX);
            client.reported = client.reported.max(total);
            let sent = client.connection.counters().sent;
            self.metrics.packets_sent += sent.saturating_sub(client.counted_sent);
            client.counted_sent = sent;
            let bytes = client.connection.take_output().freeze();
            if !bytes.is_empty() || answered > 0 {
                out.push(Output::ToClient { connection: id, bytes, answered });
            }
            if client.is_closing {
                out.push(Output::CloseClient { connection: id });
            }
        }
    }

    /// The question for the leader's position that covers all who ask now.
    pub(super) fn next_round(&mut self, now: Millis) -> Option<u64> {
        if self.asking.is_empty() {
            return None;
        }
        self.next_context += 1;
        let context = self.next_context;
        self.rounds.push(Round { context, waiting: std::mem::take(&mut self.asking), index: None, asked_at: now });
        Some(context)
    }

    /// Questions that got no answer for some time.
    pub(super) fn unanswered_rounds(&mut self, now: Millis) -> Vec<u64> {
        let due = |round: &&mut Round| round.index.is_none() && now - round.asked_at >= ASK_AGAIN_MS;
        let mut contexts = Vec::new();
        for round in self.rounds.iter_mut().filter(due) {
            round.asked_at = now;
            contexts.push(round.context);
        }
        contexts
    }

    pub(super) fn set_read_index(&mut self, context: u64, index: u64) {
        for round in self.rounds.iter_mut().filter(|round| round.context == context) {
            round.index = Some(index);
        }
    }

    fn take_reached(&mut self, applied: u64) -> Vec<(ConnectionId, u64)> {
        let mut reached = Vec::new();
        self.rounds.retain_mut(|round| {
            let is_reached = round.index.is_some_and(|index| index <= applied);
            if is_reached {
                reached.append(&mut round.waiting);
            }
            !is_reached
        });
        reached
    }

    /// Calls a connection with what it works with.
    fn call<T>(
        &mut self,
        id: ConnectionId,
        tree: &Tree,
        what: impl FnOnce(&mut Connection, &mut Serving<'_>) -> T,
    ) -> Option<T> {
        let client = self.connections.get_mut(&id)?;
        self.stirred.insert(id);
        self.watches.set_now(self.now.wall);
        let mut serving = Serving {
            tree,
            watches: &mut self.watches,
            settings: &self.settings,
            now: self.now,
            metrics: &mut self.metrics,
            trace: &mut self.trace,
            rng: &mut self.rng,
            next_request: &mut self.next_request,
        };
        Some(what(&mut client.connection, &mut serving))
    }

    /// Watches hear of a change, before anyone gets an answer that shows it.
    fn notify(&mut self, applied: &Applied) {
        for trigger in &applied.events {
            let watchers = self.watches.fire(trigger);
            if watchers.is_empty() || mutants::is_on("watch-forgotten") {
                continue;
            }
            let told = match trigger.kind {
                EventKind::Created => &mut self.metrics.created_watchers,
                EventKind::Deleted => &mut self.metrics.deleted_watchers,
                EventKind::DataChanged => &mut self.metrics.changed_watchers,
                EventKind::ChildrenChanged => &mut self.metrics.children_watchers,
            };
            told.add(watchers.len() as u64);
            for id in watchers {
                if let Some(client) = self.connections.get_mut(&id) {
                    let before = client.connection.output_len();
                    client.connection.notify(trigger, applied.zxid, &self.settings.acl);
                    self.metrics.watch_bytes += (client.connection.output_len() - before) as u64;
                    self.stirred.insert(id);
                }
            }
        }
    }
}

impl Node {
    /// Whole frames of a client; they wait while this server has no leader.
    pub(super) fn client_frames(&mut self, id: ConnectionId, frames: Bytes, now: Now) {
        let Some(client) = self.clients.connections.get_mut(&id) else { return };
        client.last_heard = now.mono;
        if client.is_closing {
            return;
        }
        if !self.clients.is_serving && !self.clients.is_read_only {
            client.held.push((frames, self.clients.trace.now_us()));
            return;
        }
        let session = client.connection.session();
        if client.connection.is_open() && !self.clients.local.touch(session, now.mono) {
            self.clients.touched.insert(session);
        }
        self.serve(id, frames, now);
    }

    /// A leader is known again: what waited is served.
    pub(super) fn resume_clients(&mut self, now: Now) {
        let holding = self.clients.connections.iter().filter(|(_, client)| !client.held.is_empty());
        for id in holding.map(|(id, _)| *id).collect::<Vec<_>>() {
            let Some(client) = self.clients.connections.get_mut(&id) else { continue };
            for (frames, arrived_us) in std::mem::take(&mut client.held) {
                self.clients.trace.set_arrival(Some(arrived_us));
                self.serve(id, frames, now);
            }
            self.clients.trace.set_arrival(None);
        }
    }

    fn serve(&mut self, id: ConnectionId, mut frames: Bytes, now: Now) {
        while let Some(frame) = message::next_frame(&mut frames) {
            let Some(client) = self.clients.connections.get_mut(&id) else { return };
            self.clients.metrics.packets_received += 1;
            let is_first = client.handed == 0;
            client.handed += 1;
            if is_first {
                self.handshake(id, frame, now);
                continue;
            }
            let actions = match decode_request(frame) {
                Ok((xid, request)) => self
                    .clients
                    .call(id, &self.tree, |connection, serving| connection.on_request(xid, request, serving)),
                Err(error) => {
                    tracing::debug!(%error, "a client's request makes no sense");
                    self.clients.close(id, CloseReason::Protocol);
                    return;
                }
            };
            self.act_all(id, actions.unwrap_or_default(), now);
        }
    }

    fn handshake(&mut self, id: ConnectionId, frame: Bytes, now: Now) {
        match ConnectRequest::decode(&mut Reader::new(frame)) {
            Ok(request) => {
                if self.clients.is_read_only && request.read_only != Some(true) {
                    self.clients.close(id, CloseReason::ReadOnly);
                    return;
                }
                self.clients.metrics.connection_requests += 1;
                self.clients.metrics.revalidations += u64::from(request.session_id != 0);
                let is_read_only = self.clients.is_read_only;
                let action = self.clients.call(id, &self.tree, |connection, serving| {
                    if is_read_only {
                        connection.be_read_only();
                    }
                    connection.on_connect(request, serving)
                });
                self.act_all(id, action.into_iter().collect(), now);
            }
            Err(error) => {
                tracing::debug!(%error, "a client's first frame makes no sense");
                self.clients.close(id, CloseReason::Protocol);
            }
        }
    }

    fn act_all(&mut self, id: ConnectionId, actions: Vec<Action>, now: Now) {
        for action in actions {
            self.act(id, action, now);
        }
    }

    fn act(&mut self, id: ConnectionId, action: Action, now: Now) {
        let Some(client) = self.clients.connections.get_mut(&id) else { return };
        match action {
            Action::CreateSession { timeout_ms } => {
                let session = self.clients.session_ids.take();
                let password: Vec<u8> = std::iter::repeat_with(|| self.clients.rng.u8(..)).take(16).collect();
                if self.clients.is_read_only || self.clients.begins_local {
                    let password = Bytes::from(password);
                    self.clients.local.begin(session, password.clone(), timeout_ms, now.mono);
                    self.begin_here(id, session, &password, now);
                    return;
                }
                client.establishing = Some((session, Bytes::from(password.clone())));
                let body = WriteBody::CreateSession(CreateSession { timeout_ms, password });
                let write = Some(Write { body: Some(body) });
                self.outbox.push(id, HANDSHAKE, Request { session, write, ..Default::default() }, now.mono);
            }
            Action::AttachSession { session, password, timeout_ms } => {
                match self.clients.local.attach(session, &password, timeout_ms, now.mono) {
                    Some(true) => return self.begin_here(id, session, &password, now),
                    None if !self.clients.is_read_only => {}
                    // A session of the ensemble goes on where there is a majority.
                    None if self.tree.session(session).is_some() => {
                        return self.clients.close(id, CloseReason::ReadOnly);
                    }
                    Some(false) | None => {
                        let action = client.connection.refused();
                        return self.act(id, action, now);
                    }
                }
                client.establishing = Some((session, password.clone()));
                let request = Request { session, attach: Some(password), timeout_ms, ..Default::default() };
                self.outbox.push(id, HANDSHAKE, request, now.mono);
            }
            Action::Forward { request, cxid, write } => {
                let auth = client.connection.auth().to_vec();
                let session = client.connection.session();
                let mut is_local = client.connection.is_local();
                if is_local && makes_ephemeral(&write) {
                    if !self.clients.upgrades {
                        return self.complete(id, request, &Err(Refusal::EphemeralOnLocalSession), now);
                    }
                    self.upgrade(id, session, now);
                    is_local = false;
                }
                let what = Request { session, cxid, auth, write: Some(write), is_local, ..Default::default() };
                self.outbox.push(id, request, what, now.mono);
            }
            Action::Sync { request } => self.clients.asking.push((id, request)),
            Action::Reconfig { request, cxid, change } => {
                let auth = client.connection.auth().to_vec();
                let session = client.connection.session();
                let body = WriteBody::Reconfig(ReconfigWrite {
                    joining: change.joining,
                    leaving: change.leaving,
                    new_members: change.new_members,
                    version: change.config_version,
                });
                let is_local = client.connection.is_local();
                let what = Request { session, cxid, auth, write: Some(body.into()), is_local, ..Default::default() };
                self.outbox.push(id, request, what, now.mono);
            }
            Action::Close(reason) => self.clients.closing(id, reason),
        }
    }

    /// A local session becomes one of the ensemble, before the request that needs it.
    fn upgrade(&mut self, id: ConnectionId, session: i64, now: Now) {
        let Some(client) = self.clients.connections.get_mut(&id) else { return };
        let Some((password, timeout_ms)) = self.clients.local.get(session) else { return };
        client.connection.be_global();
        let body = WriteBody::CreateSession(CreateSession { timeout_ms, password: password.to_vec() });
        let what = Request { session, write: Some(body.into()), ..Default::default() };
        self.outbox.push(id, HANDSHAKE, what, now.mono);
    }

    /// A session that this server alone knows begins, or goes on, on this connection.
    fn begin_here(&mut self, id: ConnectionId, session: i64, password: &[u8], now: Now) {
        self.settle_session(id, session);
        let actions = self.clients.call(id, &self.tree, |connection, serving| {
            connection.be_local();
            connection.established(session, password, serving)
        });
        self.act_all(id, actions.unwrap_or_default(), now);
    }

    /// From now on the session lives on this connection and no other.
    fn settle_session(&mut self, id: ConnectionId, session: i64) {
        if let Some(old) = self.clients.sessions.insert(session, id) {
            self.clients.close(old, CloseReason::SessionMoved);
            self.clients.sessions.insert(session, id);
        }
    }

    /// A transaction has been applied: watches hear of it, then whoever waited for it.
    pub(super) fn tell_clients(&mut self, txn: &Txn, applied: &Applied, waiter: Option<Waiter>, now: Now) {
        if !mutants::is_on("watch-behind-reply") {
            self.clients.notify(applied);
        }
        self.clients.metrics.commits += 1;
        if applied.closed_session.is_some() && txn.origin.is_none() && self.lead.is_some() {
            self.clients.metrics.sessions_expired += 1;
        }
        if applied.zxid % DIGEST_EVERY == 0 {
            if self.clients.digests.len() == DIGESTS_KEPT {
                self.clients.digests.pop_front();
            }
            self.clients.digests.push_back((applied.zxid, self.tree.digest()));
        }
        let is_own = txn.origin.is_some_and(|origin| origin.server == self.id);
        if is_own && matches!(txn.body, Some(TxnBody::CreateSession(_))) {
            self.clients.local.remove(txn.session);
            // The client may have come back on another connection than the one that asked for it.
            let id = self.clients.sessions.get(&txn.session).copied();
            if let Some(client) = id.and_then(|id| self.clients.connections.get_mut(&id)) {
                client.connection.be_global();
            }
        }
        if txn.body.is_none() && !is_own {
            // The session moved to another server.
            if let Some(id) = self.clients.sessions.get(&txn.session).copied() {
                self.clients.close(id, CloseReason::SessionMoved);
            }
        }
        match waiter.map(|waiter| (waiter.connection, waiter.number)) {
            Some((id, HANDSHAKE)) => {
                self.clients.trace.handshake_replied(txn.zxid);
                self.end_handshake(id, txn, applied, now);
            }
            Some((id, request)) => self.complete(id, request, &applied.result, now),
            None => {}
        }
        if mutants::is_on("watch-behind-reply") {
            self.clients.notify(applied);
        }
        if let Some(id) = applied.closed_session.and_then(|session| self.clients.sessions.get(&session).copied()) {
            self.clients.close(id, CloseReason::SessionInvalid);
        }
    }

    /// A client's write has this outcome.
    pub(super) fn complete(&mut self, id: ConnectionId, request: u64, result: &Result<Outcome, Refusal>, now: Now) {
        let actions =
            self.clients.call(id, &self.tree, |connection, serving| connection.complete(request, result, serving));
        self.act_all(id, actions.unwrap_or_default(), now);
    }

    fn end_handshake(&mut self, id: ConnectionId, txn: &Txn, applied: &Applied, now: Now) {
        let Some(client) = self.clients.connections.get_mut(&id) else { return };
        let Some((session, password)) = client.establishing.take() else { return };
        if applied.result.is_err() || matches!(txn.body, Some(TxnBody::Error(_))) {
            let action = client.connection.refused();
            self.act(id, action, now);
            return;
        }
        self.settle_session(id, session);
        let actions = self
            .clients
            .call(id, &self.tree, |connection, serving| connection.established(session, &password, serving));
        self.act_all(id, actions.unwrap_or_default(), now);
    }

    /// Those who waited for a position that is applied now go on.
    pub(super) fn release_syncs(&mut self, now: Now) {
        for (id, request) in self.clients.take_reached(self.ensemble.applied_position().index) {
            let actions = self.clients.call(id, &self.tree, |connection, serving| connection.synced(request, serving));
            self.act_all(id, actions.unwrap_or_default(), now);
        }
    }
}
