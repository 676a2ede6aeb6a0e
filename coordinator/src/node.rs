//! The whole coordinator as one machine: inputs in, outputs out. It owns the ensemble's part, the tree, the sessions and
//! the clients' connections, and lets them work together. It touches no socket, clock or disk: given the same inputs it
//! does the same.

mod clients;
mod forward;
mod heal;
mod lead;
mod local_sessions;
mod membership;
mod recover;
mod replicate;
mod status;
mod transfer;

use crate::admin::AdminReply;
use crate::config::{Config, Server};
use crate::connection::{ConnectionSettings, SaslSettings};
use crate::ensemble::message::{self, MessageError, PeerBody, PeerMessage, Touched};
use crate::ensemble::{Ensemble, EnsembleConfig, EnsembleError, Recovered};
use crate::four_letter::Facts;
use crate::store::{Persisted, StoreWrite};
use crate::tree::Tree;
use crate::tree::acl::AclSettings;
use crate::tree::pending::PrepareSettings;
use crate::tree::snapshot::LoadError;
use crate::tree::txn::Origin;
use crate::tree::watch::ConnectionId;
use bytes::{Bytes, BytesMut};
use clients::Clients;
use common::time::{Millis, Now};
use common::{Rng, mutants};
use forward::Outbox;
use heal::Healing;
use lead::{Early, Lead};
use membership::Circle;
pub use recover::recovered_tree;
use status::Standing;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use thiserror::Error;
use transfer::{Received, Transfers};

/// Milliseconds between two [`Input::Tick`]s. Elections and heartbeats count in ticks and do not follow `tickTime`:
/// sessions may be slow, failover may not.
pub const TICK_MS: u64 = 10;

/// A silent leader is replaced after 150 to 300 ms.
const ELECTION_TICKS: usize = 15;
const HEARTBEAT_TICKS: usize = 3;

/// A gap between two ticks beyond this means that the process, or its host, stood still.
const PAUSE_MS: u64 = 1_000;

/// A server without a leader waits this long before it serves reads, at least: an election is over sooner.
const READ_ONLY_AFTER_MS: u64 = 2_000;

/// Something that happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client has connected. Ids are never used twice.
    ClientConnected {
        /// Its name from now on.
        connection: ConnectionId,
        /// Its address.
        remote: SocketAddr,
    },
    /// The client that has just connected did so over TLS.
    ClientSecured {
        /// Who.
        connection: ConnectionId,
        /// The name in its certificate, if it showed one.
        subject: Option<String>,
    },
    /// One or more whole frames of a client, each with its length in front.
    ClientFrames {
        /// Who.
        connection: ConnectionId,
        /// The bytes.
        frames: Bytes,
    },
    /// A client asks with a four-letter word instead of a session.
    FourLetter {
        /// Who.
        connection: ConnectionId,
        /// What.
        word: &'static str,
        /// The eight bytes behind `stmk`.
        argument: Option<i64>,
    },
    /// A client's connection has ended; also after [`Output::CloseClient`].
    ClientClosed {
        /// Who.
        connection: ConnectionId,
    },
    /// Messages from a server whose identity was checked, each with its length in front.
    PeerMessages {
        /// Who.
        from: u64,
        /// The bytes.
        frames: Bytes,
    },
    /// What is sent to this server arrives, in order, until it is lost.
    PeerConnected {
        /// Which.
        peer: u64,
    },
    /// Of what was sent to this server an unknown end part is lost.
    PeerLost {
        /// Which.
        peer: u64,
    },
    /// The server's port refuses connections: its process is not there.
    PeerRefused {
        /// Which.
        peer: u64,
    },
    /// Store writes up to this number are durable.
    Persisted {
        /// The number.
        number: u64,
    },
    /// A part of what [`Output::Export`] asked for: whole entries, see [`crate::tree::snapshot::entries_of`].
    Exported {
        /// For which transfer.
        to: u64,
        /// The entries.
        content: Bytes,
        /// True if no further one comes.
        is_last: bool,
    },
    /// [`TICK_MS`] have passed, or more: after a pause there is one tick, not many.
    Tick,
    /// The process is to end soon: the lead is given away.
    Stop,
}

/// Something to be done outside. The order counts within one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Bytes for a client.
    ToClient {
        /// Who.
        connection: ConnectionId,
        /// Whole frames.
        bytes: Bytes,
        /// How many requests they answer.
        answered: u32,
    },
    /// The connection ends after what was sent.
    CloseClient {
        /// Who.
        connection: ConnectionId,
    },
    /// Whole messages for another server.
    ToPeer {
        /// Which.
        peer: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// What this server sends makes no sense: its connections are closed.
    ClosePeer {
        /// Which.
        peer: u64,
    },
    /// Something to keep.
    Store(StoreWrite),
    /// The stored tree is wanted as it is after all earlier writes, read while other work goes on: a server lacks
    /// entries that are gone from the log. Answered by [`Input::Exported`], part by part; no more than
    /// [`crate::ensemble::snapshot::WINDOW_PARTS`] unless more are asked for.
    Export {
        /// Number of the transfer; used once.
        to: u64,
    },
    /// One more part may be read.
    ExportMore {
        /// For which transfer.
        to: u64,
    },
    /// No more of it is wanted.
    ExportEnd {
        /// Which transfer.
        to: u64,
    },
    /// The servers to keep a connection to, all of them, by id.
    Peers {
        /// Which, and where they are.
        peers: BTreeMap<u64, Server>,
    },
}

/// The node cannot start.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The stored tree.
    #[error("the stored tree cannot be loaded: {0}")]
    Tree(#[from] LoadError),
    /// The stored log.
    #[error(transparent)]
    Ensemble(#[from] EnsembleError),
}

/// What the configuration says, as the parts want to have it.
pub(crate) struct Settings {
    connection: ConnectionSettings,
    prepare: PrepareSettings,
}

fn settings(config: &Config) -> Settings {
    let is_on = |key: &str| config.properties.get(key).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
    let skips = |key: &str| config.properties.get(key).is_some_and(|value| value.trim().eq_ignore_ascii_case("yes"));
    let acl = AclSettings {
        super_digest: config.properties.get("DigestAuthenticationProvider.superDigest").map(|id| id.trim().to_owned()),
        skip: skips("skipACL"),
        sasl: config.sasl_users.is_some(),
        x509: config.secure_client.is_some() || config.properties.get("authProvider.x509").is_some(),
    };
    Settings {
        connection: ConnectionSettings {
            min_timeout_ms: config.min_session_timeout_ms,
            max_timeout_ms: config.max_session_timeout_ms,
            acl: acl.clone(),
            linearizable_reads: is_on("linearizableReads"),
            audit: is_on("audit.enable"),
            sasl: config.sasl_users.clone().map(|users| SaslSettings {
                users,
                allows_failure: is_on("allowSaslFailedClients"),
                super_user: config.properties.get("superUser").map(|user| user.trim().to_owned()),
            }),
            x509_super_user: config
                .properties
                .get("X509AuthenticationProvider.superUser")
                .map(|user| user.trim().to_owned()),
        },
        prepare: PrepareSettings {
            acl,
            extended_types: is_on("extendedTypesEnabled"),
            long_sequences: is_on("sequentialNodes64Bit"),
            enforce_quota: is_on("enforceQuota"),
        },
    }
}

/// One server.
pub struct Node {
    id: u64,
    config: Config,
    settings: Settings,
    ensemble: Ensemble,
    tree: Tree,
    lead: Option<Lead>,
    early: Early,
    outbox: Outbox,
    clients: Clients,
    transfers: Transfers,
    /// What is to be done outside and waits for the next flush.
    unsent: Vec<Output>,
    circle: Circle,
    healing: Healing,
    rng: Rng,
    /// Term of the last applied entry.
    applied_term: u64,
    /// How far the store follows the tree, and when it last did.
    stored_index: u64,
    stored_at: Millis,
    /// Messages that leave with the next flush, by receiver.
    peer_buffers: BTreeMap<u64, BytesMut>,
    /// For log lines about who leads.
    announced: (u64, Option<u64>),
    standing: Standing,
    /// When the last snapshot was asked for.
    snapshot_at: Option<Millis>,
    restore_at: Option<Millis>,
    /// Answers to those who asked for another tree, until they are told.
    restored: Vec<AdminReply>,
    facts: Facts,
    started_at: Millis,
    ticked_at: Millis,
    /// When this server last had a leader.
    led_at: Millis,
}

impl Node {
    /// A server with what its store held. A server alone serves at once, others when they have found a leader.
    pub fn new(config: &Config, mut persisted: Persisted, rng: Rng, now: Now) -> Result<Node, NodeError> {
        let tree = Tree::load(std::mem::take(&mut persisted.tree))?;
        Node::with_tree(config, persisted, tree, rng, now)
    }

    /// The same, with the stored tree loaded already.
    pub fn with_tree(
        config: &Config,
        persisted: Persisted,
        tree: Tree,
        mut rng: Rng,
        now: Now,
    ) -> Result<Node, NodeError> {
        let circle = Circle::new(config, &persisted, &mut rng);
        let shape = EnsembleConfig {
            id: config.my_id,
            configuration: circle.configuration(),
            election_ticks: ELECTION_TICKS,
            heartbeat_ticks: HEARTBEAT_TICKS,
        };
        let recovered = Recovered {
            hard_state: persisted.hard_state,
            compacted: persisted.compacted,
            entries: persisted.entries,
            applied: persisted.applied,
        };
        let ensemble = Ensemble::new(&shape, recovered, rng.fork())?;
        let settings = settings(config);
        let applied_term = ensemble.applied_position().term;
        let life = circle.life(persisted.boot);
        let mut outbox = Outbox::new(life);
        // The leader of that term may lead still, and its first entry is applied.
        outbox.begin_term(applied_term, now.mono);
        let mut node = Node {
            id: config.my_id,
            applied_term,
            clients: Clients::new(config, &settings, life, rng.fork(), now),
            circle,
            healing: Healing::default(),
            rng,
            settings,
            config: config.clone(),
            ensemble,
            tree,
            lead: None,
            early: Early::default(),
            outbox,
            transfers: Transfers::default(),
            unsent: Vec::new(),
            stored_index: persisted.applied,
            stored_at: now.mono,
            peer_buffers: BTreeMap::new(),
            announced: (0, None),
            standing: Standing::default(),
            snapshot_at: None,
            restore_at: None,
            restored: Vec::new(),
            facts: Facts::default(),
            started_at: now.mono,
            ticked_at: now.mono,
            led_at: now.mono,
        };
        node.tree.keep_history(config.history);
        node.settle_voting(now.mono);
        Ok(node)
    }

    /// Takes an input. What comes of it may be left for [`Node::flush`], which the caller calls when no further input is
    /// at hand: so all that arrived together is proposed, kept and answered together.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        self.tell_time(now);
        match input {
            Input::ClientConnected { connection, remote } => self.clients.connected(connection, remote, now),
            Input::ClientSecured { connection, subject } => self.clients.secured(connection, subject),
            Input::ClientFrames { connection, frames } => self.client_frames(connection, frames, now),
            Input::ClientClosed { connection } => {
                self.outbox.disown(connection);
                self.clients.closed(connection);
            }
            Input::FourLetter { connection, word, argument } => {
                let bytes = Bytes::from(self.answer_word(word, argument, connection, now));
                out.push(Output::ToClient { connection, bytes, answered: 0 });
                out.push(Output::CloseClient { connection });
            }
            Input::PeerMessages { from, frames } => {
                if let Err(error) = self.peer_messages(from, frames, now) {
                    tracing::warn!(peer = from, %error, "peer's connection is closed");
                    out.push(Output::ClosePeer { peer: from });
                }
            }
            Input::PeerConnected { peer } => {
                self.peer_connected(peer);
                if self.ensemble.leader() == Some(peer) {
                    self.outbox.resend();
                }
            }
            Input::PeerLost { peer } => {
                self.peer_gone(peer);
                self.ensemble.unreachable(peer);
            }
            Input::PeerRefused { peer } => {
                self.peer_gone(peer);
                self.ensemble.leader_lost(peer);
            }
            Input::Persisted { number } => {
                self.clients.trace.persisted(number);
                self.ensemble.persisted(number);
            }
            Input::Exported { to, content, is_last } => {
                self.transfers.add(to, content, is_last, now.mono);
                self.poll_transfers(now.mono);
            }
            Input::Tick => self.tick(now),
            Input::Stop => self.ensemble.hand_over(),
        }
        self.clients.trace.committed(self.ensemble.committed_index());
    }

    /// The monotonic clock, in microseconds, in which stages of requests are told apart; without it they are by the
    /// milliseconds of `now`. Nothing else depends on it.
    pub fn trace_at(&mut self, at_us: u64) {
        self.clients.trace.tell_time(at_us, self.clients.now.wall);
        self.outbox.at_us = self.clients.trace.now_us();
    }

    /// What was put out so far was sent by this time of the same clock.
    pub fn sent_at(&mut self, at_us: u64) {
        self.trace_at(at_us);
        self.clients.trace.sent();
    }

    fn tell_time(&mut self, now: Now) {
        self.clients.now = now;
        self.trace_at(now.mono.0.saturating_mul(1000));
    }

    fn tick(&mut self, now: Now) {
        self.settle_voting(now.mono);
        self.ensemble.tick();
        self.tend_membership(now);
        self.compare_replicas(now.mono);
        self.outbox.tick(now.mono);
        self.poll_transfers(now.mono);
        let pause_ms = now.mono - std::mem::replace(&mut self.ticked_at, now.mono);
        let was_paused = pause_ms > PAUSE_MS;
        if was_paused {
            // This process stood still: it is not the clients that were silent.
            tracing::warn!(pause_ms, "the process was paused");
            self.clients.restart_clocks(now.mono);
        }
        self.clients.drop_silent(now.mono);
        self.tend_read_only(now.mono);
        for context in self.clients.unanswered_rounds(now.mono) {
            self.ensemble.read_index(context);
        }
        if let Some(lead) = &mut self.lead {
            if was_paused {
                lead.restart_clocks(&self.tree, now.mono);
            }
            lead.tick(&self.tree, now);
        }
        let Some(leader) = self.ensemble.leader() else { return };
        let touched = self.clients.take_touched(now.mono);
        match &mut self.lead {
            _ if touched.is_empty() => {}
            Some(lead) => lead.touch(touched, now.mono),
            None if leader == self.id || mutants::is_on("touch-not-told") => {}
            None => {
                self.tell_peer(leader, PeerBody::Touched(Touched { term: self.ensemble.term(), sessions: touched }))
            }
        }
    }

    fn peer_messages(&mut self, from: u64, mut frames: Bytes, now: Now) -> Result<(), MessageError> {
        while let Some(frame) = message::next_frame(&mut frames) {
            self.peer_message(from, PeerMessage::parse(frame)?, now)?;
        }
        Ok(())
    }

    fn peer_message(&mut self, from: u64, body: PeerBody, now: Now) -> Result<(), MessageError> {
        let term = self.ensemble.term();
        match body {
            PeerBody::Greeting(greeting) => self.greeted(from, greeting, now.mono),
            PeerBody::Raft(message) if self.heeds(from) => {
                if let Some(index) = message.acknowledged().filter(|_| self.lead.is_some() && message.term == term) {
                    self.clients.trace.acknowledged(from, term, index);
                }
                self.ensemble.step(from, message)?;
            }
            PeerBody::Raft(_) => {}
            PeerBody::Forward(forward) if forward.term == term && self.ensemble.is_leader() => {
                if self.circle.is_life_of(from, forward.boot) {
                    self.early.push(from, forward, self.outbox.at_us);
                }
            }
            PeerBody::ForwardGap(gap) => self.outbox.fill_gap(gap),
            PeerBody::Touched(touched) => {
                if let Some(lead) = self.lead.as_mut().filter(|lead| lead.term == touched.term) {
                    lead.touch(touched.sessions, now.mono);
                }
            }
            PeerBody::Commit(commit) if self.heeds(from) => self.ensemble.step_commit(from, commit),
            PeerBody::Behind(behind) => self.ensemble.step_behind(from, behind),
            PeerBody::SnapshotChunk(chunk) if chunk.term == term => {
                let is_wrong = self.healing.is_wrong();
                let applied = if is_wrong { 0 } else { self.ensemble.applied_position().index };
                let received = self.transfers.receive(from, &chunk, applied);
                let Received { ack, staged, whole } =
                    received.map_err(|error| MessageError::Malformed(error.to_string()))?;
                if staged.is_some() {
                    self.unsent.push(Output::Store(StoreWrite { staged, ..Default::default() }));
                }
                self.tell_peer(from, PeerBody::SnapshotAck(ack));
                if let Some((position, configuration)) = whole
                    && !is_wrong
                    && !self.ensemble.restore(from, chunk.term, position, &configuration)
                {
                    self.transfers.drop_staged();
                }
            }
            PeerBody::SnapshotAck(ack) => {
                let more = self.transfers.acknowledge(from, ack, now.mono);
                if let Some((to, count)) = more {
                    self.unsent.extend((0..count).map(|_| Output::ExportMore { to }));
                }
                self.poll_transfers(now.mono);
            }
            PeerBody::Digest(asked) if asked.term == term => self.digest_asked(from, asked),
            PeerBody::DigestAnswer(answer) => self.digest_answered(from, answer),
            PeerBody::Diverged(told) => self.diverged(from, told),
            PeerBody::WantTree(wanted) if wanted.term == term && self.lead.is_some() => self.healing.wanted.push(from),
            PeerBody::Digest(_) | PeerBody::WantTree(_) => {}
            // From a server that does not count yet.
            PeerBody::Commit(_) => {}
            // Of another term: whoever sent it will see that and send anew.
            PeerBody::Forward(_) | PeerBody::SnapshotChunk(_) => {}
            PeerBody::Hello(_) | PeerBody::Sasl(_) => return Err(MessageError::Empty),
        }
        Ok(())
    }

    /// Lets everything that was taken in have its effects.
    pub fn flush(&mut self, now: Now, out: &mut Vec<Output>) {
        self.tell_time(now);
        self.save_identity(out);
        out.append(&mut self.unsent);
        loop {
            self.drive(now, out);
            self.settle(now);
            if !self.hand_over_requests(now) {
                break;
            }
        }
        self.announce_peers(out);
        self.clients.flush(out);
        out.append(&mut self.unsent);
        for (peer, buffer) in &mut self.peer_buffers {
            if !buffer.is_empty() {
                out.push(Output::ToPeer { peer: *peer, bytes: buffer.split().freeze() });
            }
        }
        self.clients.trace.answered();
    }

    /// Takes notice of who leads, and begins or ends leading.
    fn settle(&mut self, now: Now) {
        let (term, leader) = (self.ensemble.term(), self.ensemble.leader());
        if self.announced != (term, leader) {
            match leader {
                Some(leader) if self.ensemble.is_leader() => tracing::info!(term, leader, "leading"),
                Some(leader) => tracing::info!(term, leader, "following"),
                None => tracing::info!(term, "looking for a leader"),
            }
            self.announced = (term, leader);
            self.standing.leader_changed(leader.is_some(), &mut self.clients.metrics, now);
        }
        let leads = self.ensemble.is_leader();
        if self.lead.as_ref().is_some_and(|lead| !leads || lead.term != term) {
            self.end_restores();
            self.lead = None;
        }
        if self.lead.is_none() && leads && self.applied_term == term {
            let settings = self.settings.prepare.clone();
            self.lead = Some(Lead::new(term, &self.tree, settings, &self.config, now));
            self.circle.begin_lead();
            self.tend_membership(now);
        }
        // Before the first entry of a term is applied, this server may lack what clients were told by an earlier leader.
        let serves = leader.is_some() && self.applied_term == term && !self.healing.is_wrong();
        if serves != self.clients.is_serving() {
            self.clients.set_serving(serves);
            if serves {
                self.clients.end_read_only();
                self.resume_clients(now);
            }
        }
    }

    /// A server that has been without a leader for some time serves reads, if the configuration says so.
    fn tend_read_only(&mut self, now: Millis) {
        if self.ensemble.leader().is_some() || self.healing.is_wrong() {
            self.led_at = now;
        }
        let patience_ms = READ_ONLY_AFTER_MS.max(u64::from(self.config.tick_time_ms));
        if self.config.read_only_mode && !self.clients.is_serving() && now - self.led_at >= patience_ms {
            self.clients.begin_read_only();
        }
    }

    /// Asks the leader for its position, once for all who want to know.
    fn ask_read_index(&mut self, now: Now) -> bool {
        let Some(context) = self.clients.next_round(now.mono) else { return false };
        if mutants::is_on("sync-is-local") {
            self.clients.set_read_index(context, 0);
        } else {
            self.ensemble.read_index(context);
        }
        true
    }

    /// The applied tree, for whoever checks what became of it.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// True if this server leads the ensemble.
    pub fn is_leader(&self) -> bool {
        self.ensemble.is_leader()
    }

    /// True if others would have to find a new leader if this server stopped now.
    pub fn is_needed(&self) -> bool {
        self.ensemble.is_leader() && !self.config.is_standalone()
    }

    /// Hands this server's requests to the leader, and proposes if it is the leader. True if something was proposed.
    fn hand_over_requests(&mut self, now: Now) -> bool {
        let term = self.ensemble.term();
        let has_asked = self.ask_read_index(now);
        let Some(lead) = &mut self.lead else {
            if let Some(leader) = self.ensemble.leader().filter(|leader| *leader != self.id) {
                self.early.take();
                while let Some(forward) = self.outbox.next_message(term) {
                    self.tell_peer(leader, PeerBody::Forward(forward));
                }
            }
            return has_asked;
        };
        let mut gaps = Vec::new();
        for (from, forward, taken_us) in self.early.take() {
            if forward.term == term {
                match lead.inbox.take(from, forward) {
                    Ok(requests) => lead.push_forwarded(from, requests, taken_us),
                    Err(gap) => gaps.push((from, gap)),
                }
            }
        }
        for (request, what) in self.outbox.take_own(term) {
            lead.push(Origin { server: self.id, request }, what, self.outbox.at_us);
        }
        let mut has_proposed = false;
        while let Some(lead) = self.lead.as_mut().filter(|lead| !lead.is_idle()) {
            if lead.must_settle() && self.ensemble.applied_position().index < self.ensemble.last_index() {
                break;
            }
            if !self.ensemble.may_propose() || (lead.is_reconfig_next() && !self.reconfigure(now)) {
                break;
            }
            has_proposed = true;
            if let Some(lead) = self.lead.as_mut().filter(|lead| !lead.is_idle() && !lead.is_reconfig_next()) {
                let (bytes, txns, taken_us) = lead.next_proposal(&self.tree, now);
                self.clients.metrics.proposals += txns.len() as u64;
                let size = bytes.len();
                let index = self.ensemble.propose(bytes);
                self.standing.proposed(index, size, now);
                self.clients.trace.proposed(term, index, taken_us);
                lead.proposed(index, txns);
            }
        }
        for (to, gap) in gaps {
            self.tell_peer(to, PeerBody::ForwardGap(gap));
        }
        has_proposed || has_asked
    }
}
