//! Who belongs to the ensemble, as this server sees it: whom it knows, whose votes and acknowledgements count, and, while
//! it leads, every change of that. A store that was lost must not take its old promises along: ARCHITECTURE.md, "A lost
//! disk", has the argument. Sends nothing itself and touches no znode.

use super::forward::Request;
use super::lead::TxnBatch;
use super::{Node, Output};
use crate::config::{Config, Server, parse_server};
use crate::ensemble::Voting;
use crate::ensemble::membership::{
    Configuration, ConfigurationChange, Identity, Member, MemberRole, Membership, SingleChange,
};
use crate::ensemble::message::{Greeting, PeerBody};
use crate::store::{Persisted, StoreWrite};
use crate::tree::txn::{Origin, Outcome, Refusal, Txn};
use crate::tree::watch::ConnectionId;
use crate::tree::write::{ReconfigWrite, Write, WriteBody};
use bytes::Bytes;
use common::Rng;
use common::time::{Millis, Now};
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};

/// New servers found an ensemble without those that cannot be reached only after this long: one that holds the data of an
/// ensemble may be among them.
const FOUND_WITHOUT_ALL_MS: u64 = 3_000;

/// A follower that lacks fewer entries than this counts as synced.
const SYNCED_ENTRIES: u64 = 1_000;

/// How often a leader compares its file with the membership, where the file has the say.
const COMPARE_EVERY_MS: u64 = 1_000;

/// A guest that was not heard of for this long is forgotten.
const GUEST_AWAY_MS: u64 = 60_000;

/// A server that was heard of.
struct Acquaintance {
    greeting: Greeting,
}

/// What this server knows of the ensemble.
pub(super) struct Circle {
    identity: Identity,
    is_identity_unsaved: bool,
    pub(super) membership: Membership,
    is_membership_unsaved: bool,
    known: BTreeMap<u64, Acquaintance>,
    connected: BTreeSet<u64>,
    /// As leader: servers without a recorded life, with the one that is counted.
    admitted: BTreeMap<u64, u64>,
    /// As leader: where the last proposed change of membership stands in the log.
    change_at: u64,
    is_reconfig: bool,
    /// As leader: when the file was last compared with the membership.
    compared_at: Option<Millis>,
    guests_seen: BTreeMap<u64, Millis>,
    announced: BTreeMap<u64, Server>,
    /// Answers of reconfigurations of which the second half is not applied yet.
    held: Vec<(ConnectionId, u64, Result<Outcome, Refusal>)>,
}

impl Circle {
    /// From what the store held; a store without a membership starts with the file's.
    pub(super) fn new(config: &Config, persisted: &Persisted, rng: &mut Rng) -> Circle {
        let membership = persisted.membership.clone().unwrap_or_else(|| of_file(config));
        let mut identity = persisted.identity;
        let is_new = identity.incarnation == 0;
        if is_new {
            identity.incarnation = rng.u64(1..);
        }
        let has_data = persisted.applied > 0 || !persisted.entries.is_empty();
        let is_alone = config.servers.keys().all(|id| *id == config.my_id);
        // A store of a version that knew no incarnations is what it was.
        if persisted.membership.is_none() && ((has_data && is_new) || is_alone) {
            identity.is_founder = true;
        }
        Circle {
            is_identity_unsaved: identity != persisted.identity,
            identity,
            membership,
            is_membership_unsaved: false,
            known: BTreeMap::new(),
            connected: BTreeSet::new(),
            admitted: BTreeMap::new(),
            change_at: 0,
            is_reconfig: false,
            compared_at: None,
            guests_seen: BTreeMap::new(),
            announced: BTreeMap::new(),
            held: Vec::new(),
        }
    }

    /// Who takes part when the node starts.
    pub(super) fn configuration(&self) -> Configuration {
        self.membership.configuration.clone().unwrap_or_default()
    }

    fn is_founded(&self) -> bool {
        self.membership.ensemble != 0
    }

    /// True if what this server promised in its life counts, and it kept all of it.
    fn is_proven(&self, id: u64) -> bool {
        if !self.is_founded() {
            return self.identity.is_founder;
        }
        self.membership.member(id).is_some_and(|member| member.incarnation == self.identity.incarnation)
    }

    /// Tells this life of this server from all others it had, in 24 bits: which store it is, and how often it was
    /// opened.
    pub(super) fn life(&self, boot: u64) -> u64 {
        life_of(self.identity.incarnation, boot)
    }

    /// True unless the number of a life is one of a store that the server no longer has.
    pub(super) fn is_life_of(&self, id: u64, life: u64) -> bool {
        self.incarnation_of(id).is_some_and(|incarnation| life_of(incarnation, life) == life)
    }

    fn incarnation_of(&self, id: u64) -> Option<u64> {
        self.known.get(&id).map(|known| known.greeting.incarnation)
    }

    /// The leader begins a new term.
    pub(super) fn begin_lead(&mut self) {
        self.admitted.clear();
        self.guests_seen.clear();
        (self.change_at, self.is_reconfig, self.compared_at) = (0, false, None);
    }
}

fn life_of(incarnation: u64, boot: u64) -> u64 {
    ((incarnation & 0xffff) << 8) | (boot & 0xff)
}

/// The membership that the file describes, before the ensemble has one of its own.
fn of_file(config: &Config) -> Membership {
    let mut membership = Membership { version: config.dynamic_version, ..Default::default() };
    for server in config.servers.values() {
        membership.put(member_of(server, 0));
    }
    if membership.members.is_empty() {
        membership.put(Member { id: config.my_id, ..Default::default() });
    }
    membership.configuration = Some(Configuration {
        voters: membership.with_role(MemberRole::Participant),
        learners: membership.with_role(MemberRole::Observer),
        ..Default::default()
    });
    membership
}

fn member_of(server: &Server, incarnation: u64) -> Member {
    let role = if server.is_observer { MemberRole::Observer } else { MemberRole::Participant };
    Member { id: server.id, line: server.line(), role: role as i32, incarnation }
}

impl Node {
    fn greeting(&self) -> Greeting {
        Greeting {
            incarnation: self.circle.identity.incarnation,
            ensemble: self.circle.membership.ensemble,
            has_entries: self.ensemble.last_index() > 0,
            voters: self.ensemble.settled_voters(),
            line: self.config.servers.get(&self.id).map_or_else(String::new, Server::line),
        }
    }

    /// A connection to a peer is open: it hears first who this server is.
    pub(super) fn peer_connected(&mut self, peer: u64) {
        self.circle.connected.insert(peer);
        // What was to be sent before it is void: the peer hears first which life speaks.
        self.peer_buffers.remove(&peer);
        let greeting = self.greeting();
        self.tell_peer(peer, PeerBody::Greeting(greeting));
    }

    pub(super) fn peer_gone(&mut self, peer: u64) {
        self.circle.connected.remove(&peer);
    }

    /// A peer says who it is.
    pub(super) fn greeted(&mut self, from: u64, greeting: Greeting, now: Millis) {
        let known = self.circle.known.get(&from);
        let is_same = known.is_some_and(|known| known.greeting.incarnation == greeting.incarnation);
        let is_foreign = is_foreign(&self.circle.membership, &greeting);
        if is_foreign && !is_same {
            tracing::error!(peer = from, "a server of another ensemble speaks to this one: it is not heard");
        }
        let has_data = greeting.has_entries || greeting.ensemble != 0;
        let incarnation = greeting.incarnation;
        self.circle.known.insert(from, Acquaintance { greeting });
        let is_founder = self.circle.identity.is_founder && !self.circle.is_founded();
        if has_data && is_founder && self.ensemble.last_index() == 0 {
            // There is an ensemble already; this server is new to it, or has lost its store.
            self.circle.identity.is_founder = false;
            self.circle.is_identity_unsaved = true;
        }
        let recorded = self.circle.membership.member(from).map_or(0, |member| member.incarnation);
        let counted = if recorded == 0 { self.circle.admitted.get(&from).copied().unwrap_or(0) } else { recorded };
        if self.ensemble.is_leader() && self.circle.is_founded() && counted != 0 && counted != incarnation && !is_same {
            tracing::warn!(peer = from, "a server has lost its store: it counts again when a majority knows of it");
            self.ensemble.forget_progress(from);
        }
        self.settle_voting(now);
        let voters = self.ensemble.configuration().voters;
        let met = voters.iter().filter(|id| **id == self.id || self.circle.connected.contains(id));
        if met.count() > voters.len() / 2 {
            self.ensemble.majority_met();
        }
    }

    /// True if a peer's words on consensus are to be heard. As leader, a voter's count only from the life that is
    /// recorded; or, if none is, from the first life that this leader meets.
    pub(super) fn heeds(&mut self, from: u64) -> bool {
        let Some(known) = self.circle.known.get(&from) else { return false };
        if is_foreign(&self.circle.membership, &known.greeting) {
            return false;
        }
        if !self.ensemble.is_leader() || !self.circle.is_founded() {
            return true;
        }
        let incarnation = known.greeting.incarnation;
        let configuration = self.ensemble.configuration();
        let is_pair = configuration.voters.len() <= 2 && configuration.voters_outgoing.is_empty();
        if !configuration.votes(from) || is_pair {
            return true;
        }
        match self.circle.membership.member(from).map_or(0, |member| member.incarnation) {
            0 => *self.circle.admitted.entry(from).or_insert(incarnation) == incarnation,
            recorded => recorded == incarnation,
        }
    }

    /// Whom this server may vote for follows from what it knows.
    pub(super) fn settle_voting(&mut self, now: Millis) {
        self.try_to_found(now);
        if self.circle.is_proven(self.id) {
            let cannot_lead = self.healing.is_wrong();
            return self.ensemble.set_voting(if cannot_lead { Voting::Others } else { Voting::Any });
        }
        // Of two voters each is in every majority: the other has all that this one ever acknowledged.
        let mut pair = self.circle.known.iter().filter(|(id, known)| {
            let mut both = [self.id, **id];
            both.sort_unstable();
            self.circle.connected.contains(id) && known.greeting.voters == both
        });
        let voting = pair.next().map_or(Voting::Nobody, |(id, _)| Voting::Only(*id));
        self.ensemble.set_voting(voting);
    }

    /// A server without data founds an ensemble together with others that have none either, when no server with data
    /// is to be seen.
    fn try_to_found(&mut self, now: Millis) {
        let circle = &self.circle;
        if circle.identity.is_founder || circle.is_founded() || self.ensemble.last_index() > 0 {
            return;
        }
        let voters = self.ensemble.configuration().voters;
        if !voters.contains(&self.id) {
            return;
        }
        let seen = || circle.known.iter().filter(|(id, _)| circle.connected.contains(id));
        if seen().any(|(_, known)| known.greeting.has_entries || known.greeting.ensemble != 0) {
            return;
        }
        let count = 1 + seen().filter(|(id, _)| voters.contains(id)).count();
        let has_waited = now - self.started_at >= FOUND_WITHOUT_ALL_MS && self.config.trusts_empty_store;
        if count == voters.len() || (has_waited && count > voters.len() / 2) {
            self.circle.identity.is_founder = true;
            self.circle.is_identity_unsaved = true;
        }
    }

    /// Writes to the store what must be there before anything that follows from it is said.
    pub(super) fn save_identity(&mut self, out: &mut Vec<Output>) {
        if std::mem::take(&mut self.circle.is_identity_unsaved) {
            let identity = Some(self.circle.identity);
            out.push(Output::Store(StoreWrite { identity, ..Default::default() }));
        }
    }

    /// The membership for the store, if it changed since the last call.
    pub(super) fn unsaved_membership(&mut self) -> Option<Box<Membership>> {
        std::mem::take(&mut self.circle.is_membership_unsaved).then(|| Box::new(self.whole_membership()))
    }

    /// The membership as of what is applied, with who takes part.
    pub(super) fn whole_membership(&self) -> Membership {
        Membership { configuration: Some(self.ensemble.configuration()), ..self.circle.membership.clone() }
    }

    /// A change of who takes part has been committed. False if it has no effect.
    pub(super) fn apply_change(&mut self, change: &ConfigurationChange, now: Now) -> bool {
        let has_effect = self.ensemble.apply_change(change);
        self.circle.is_membership_unsaved = true;
        if !self.ensemble.is_joint() {
            for (connection, request, result) in std::mem::take(&mut self.circle.held) {
                self.complete(connection, request, &result, now);
            }
            let configuration = self.ensemble.configuration();
            tracing::info!(voters = ?configuration.voters, others = ?configuration.learners, "the ensemble has changed");
        }
        has_effect
    }

    /// The answer to a reconfiguration waits until the old majority counts no more.
    pub(super) fn hold_answer(&mut self, connection: ConnectionId, request: u64, result: Result<Outcome, Refusal>) {
        self.circle.held.push((connection, request, result));
    }

    /// A new membership has been committed, or came with a snapshot.
    pub(super) fn adopt(&mut self, mut membership: Membership, now: Millis) {
        if let Some(configuration) = membership.configuration.take() {
            self.ensemble.set_configuration(&configuration);
        }
        self.circle.membership = membership;
        self.circle.is_membership_unsaved = true;
        self.settle_voting(now);
    }

    /// A snapshot took the place of everything.
    pub(super) fn forget_held(&mut self) {
        self.circle.held.clear();
    }

    /// The servers to connect to: those of the ensemble, and those of the file where that has the say.
    pub fn peers(&self) -> BTreeMap<u64, Server> {
        let membership = &self.circle.membership;
        let mut peers = BTreeMap::new();
        if self.circle.is_founded() {
            for member in &membership.members {
                if let Ok(server) = parse_server(member.id, &member.line) {
                    peers.insert(member.id, server);
                }
            }
        }
        let is_full = membership.member(self.id).is_some_and(|me| me.role() != MemberRole::Guest);
        if !(self.circle.is_founded() && is_full && self.config.reconfig_enabled) {
            for (id, server) in &self.config.servers {
                if !self.config.reconfig_enabled || !peers.contains_key(id) {
                    peers.insert(*id, server.clone());
                }
            }
        }
        peers.remove(&self.id);
        peers
    }

    /// Says whom to connect to, if that has changed.
    pub(super) fn announce_peers(&mut self, out: &mut Vec<Output>) {
        let peers = self.peers();
        if peers != self.circle.announced {
            let announced = &self.circle.announced;
            self.circle.connected.retain(|id| announced.get(id).is_none_or(|old| peers.get(id) == Some(old)));
            self.circle.announced.clone_from(&peers);
            out.push(Output::Peers { peers });
        }
    }

    /// What a leader does for the membership by itself: one change at a time.
    pub(super) fn tend_membership(&mut self, now: Now) {
        let leads = self.ensemble.is_leader() && !self.ensemble.is_joint();
        if leads && self.ensemble.may_propose() && !self.ensemble.configuration().votes(self.id) {
            // It led its own removal.
            return self.ensemble.hand_over();
        }
        if self.lead.is_none()
            || !self.ensemble.may_propose()
            || self.ensemble.applied_position().index < self.circle.change_at
        {
            return;
        }
        if self.ensemble.must_leave_joint() {
            self.circle.change_at = self.ensemble.propose_change(&ConfigurationChange::default());
            return;
        }
        if !self.ensemble.can_change() {
            return;
        }
        self.circle.is_reconfig = false;
        if !self.circle.is_founded() {
            return self.found();
        }
        if self.record_incarnation() || self.promote() || self.forget_guest(now.mono) {
            return;
        }
        let is_due = self.circle.compared_at.is_none_or(|at| now.mono - at >= COMPARE_EVERY_MS);
        if is_due && !self.config.reconfig_enabled {
            self.circle.compared_at = Some(now.mono);
            self.follow_file();
        }
        self.describe_ensemble();
    }

    /// The first leader there is says once and for all which ensemble this is, and whose acknowledgements counted.
    fn found(&mut self) {
        let mut membership = self.whole_membership();
        membership.ensemble = self.rng.u64(1..);
        for member in &mut membership.members {
            let known = self.circle.incarnation_of(member.id).unwrap_or(0);
            member.incarnation = if member.id == self.id { self.circle.identity.incarnation } else { known };
        }
        tracing::info!(ensemble = format_args!("{:x}", membership.ensemble), "a new ensemble");
        self.propose_membership(membership, Vec::new(), Vec::new());
    }

    /// A server that has another life than the recorded one, or was never seen: true if one was found.
    fn record_incarnation(&mut self) -> bool {
        let mut found = None;
        for (id, known) in &self.circle.known {
            let greeting = &known.greeting;
            let member = self.circle.membership.member(*id);
            // Whom nobody knows yet nobody dials.
            if (member.is_some() && !self.circle.connected.contains(id))
                || is_foreign(&self.circle.membership, greeting)
                || member.is_some_and(|member| member.incarnation == greeting.incarnation)
                || (member.is_none() && parse_server(*id, &greeting.line).is_err())
            {
                continue;
            }
            let guest =
                || Member { id: *id, line: greeting.line.clone(), role: MemberRole::Guest as i32, incarnation: 0 };
            let member = member.cloned().unwrap_or_else(guest);
            found = Some(Member { incarnation: greeting.incarnation, ..member });
            break;
        }
        let Some(member) = found else { return false };
        let id = member.id;
        let mut membership = self.circle.membership.clone();
        membership.put(member);
        let configuration = self.ensemble.configuration();
        let is_there = configuration.votes(id) || configuration.learners.contains(&id);
        let changes = if is_there { Vec::new() } else { vec![SingleChange::follow(id)] };
        self.propose_membership(membership, changes, Vec::new());
        true
    }

    /// A participant that has caught up gets its vote.
    fn promote(&mut self) -> bool {
        let learners = self.ensemble.configuration().learners;
        let ready = learners.into_iter().find(|id| {
            let member = self.circle.membership.member(*id);
            member.is_some_and(|member| member.role() == MemberRole::Participant) && self.is_synced(*id)
        });
        let Some(id) = ready else { return false };
        self.propose_membership(self.circle.membership.clone(), vec![SingleChange::vote(id)], Vec::new());
        true
    }

    /// A guest that is gone need not be kept up to date.
    fn forget_guest(&mut self, now: Millis) -> bool {
        let mut gone = None;
        for id in self.circle.membership.with_role(MemberRole::Guest) {
            let is_active = self.circle.connected.contains(&id);
            let seen = self.circle.guests_seen.entry(id).or_insert(now);
            if is_active {
                *seen = now;
            } else if now - *seen >= GUEST_AWAY_MS {
                gone = Some(id);
            }
        }
        let Some(id) = gone else { return false };
        let mut membership = self.circle.membership.clone();
        membership.members.retain(|member| member.id != id);
        self.circle.guests_seen.remove(&id);
        self.circle.known.remove(&id);
        self.propose_membership(membership, vec![SingleChange::remove(id)], Vec::new());
        true
    }

    /// True if a server has nearly all that is committed, in the life that counts.
    fn is_synced(&self, id: u64) -> bool {
        if id == self.id {
            return true;
        }
        let recorded = self.circle.membership.member(id).map_or(0, |member| member.incarnation);
        let is_known = recorded != 0 && self.circle.incarnation_of(id) == Some(recorded);
        let committed = self.ensemble.committed_index();
        is_known
            && self.ensemble.reach(id).is_some_and(|(active, matched)| active && matched + SYNCED_ENTRIES >= committed)
    }

    fn propose_membership(&mut self, membership: Membership, changes: Vec<SingleChange>, txns: Vec<Txn>) {
        let mut membership = membership;
        if self.circle.is_founded() {
            membership.configuration = None;
        }
        let data = Bytes::from(TxnBatch { txns, membership: Some(membership) }.encode_to_vec());
        self.circle.change_at = if changes.is_empty() {
            self.ensemble.propose(data)
        } else {
            self.ensemble.propose_change(&ConfigurationChange { transition: 0, changes, context: data })
        };
    }

    /// Without dynamic reconfiguration the file of the leader is what the operator wants.
    fn follow_file(&mut self) {
        let servers = self.config.servers.clone();
        let members = self.circle.membership.members.iter().filter(|member| member.role() != MemberRole::Guest);
        let is_same = members.clone().count() == servers.len()
            && members.clone().all(|member| {
                servers.get(&member.id).is_some_and(|server| {
                    server.line() == member.line && server.is_observer == (member.role() == MemberRole::Observer)
                })
            });
        if is_same || !servers.contains_key(&self.id) || self.check_quorum(&servers).is_err() {
            return;
        }
        tracing::info!("the file's servers take the place of those that were known");
        let (membership, changes) = self.change_to(&servers);
        self.propose_membership(membership, changes, Vec::new());
    }

    /// Clients find the ensemble's members in a znode.
    fn describe_ensemble(&mut self) {
        if self.config.servers.is_empty() || self.config.is_standalone() {
            return;
        }
        let text = self.circle.membership.text();
        if let Some(lead) = &mut self.lead {
            lead.describe_ensemble(&self.tree, text);
        }
    }

    /// A client's wish for another membership, first in the leader's queue. False if it must wait for a change that is
    /// under way.
    pub(super) fn reconfigure(&mut self, now: Now) -> bool {
        let is_busy = self.ensemble.applied_position().index < self.circle.change_at || !self.ensemble.can_change();
        if is_busy && !self.circle.is_reconfig && self.config.reconfig_enabled {
            return false;
        }
        let Some((origin, request)) = self.lead.as_mut().and_then(super::lead::Lead::take_first) else { return false };
        let wanted = match &request.write {
            Some(Write { body: Some(WriteBody::Reconfig(wanted)) }) if !is_busy => self.judge_reconfig(wanted),
            _ if !self.config.reconfig_enabled => Err(Refusal::ReconfigDisabled),
            _ => Err(Refusal::ReconfigInProgress),
        };
        let change = wanted.map(|servers| self.change_to(&servers));
        self.propose_reconfig(origin, request, change, now);
        true
    }

    fn judge_reconfig(&self, wanted: &ReconfigWrite) -> Result<BTreeMap<u64, Server>, Refusal> {
        if !self.config.reconfig_enabled {
            return Err(Refusal::ReconfigDisabled);
        }
        if self.config.is_standalone() {
            return Err(Refusal::Unimplemented);
        }
        if wanted.version != -1 && wanted.version != self.circle.membership.version {
            return Err(Refusal::BadVersion);
        }
        let servers = wanted_servers(&self.circle.membership, wanted, self.config.standalone_enabled)?;
        let voters = servers.values().filter(|server| !server.is_observer).count();
        if voters < 1 || (voters < 2 && self.config.standalone_enabled) {
            return Err(Refusal::BadArguments);
        }
        self.check_quorum(&servers)?;
        Ok(servers)
    }

    /// A majority of the new voters must be there and know what is committed. Of who was just added consensus supposes that it
    /// was heard of; only a connection tells that it lives.
    fn check_quorum(&self, servers: &BTreeMap<u64, Server>) -> Result<(), Refusal> {
        let voters = || servers.values().filter(|server| !server.is_observer);
        let is_there = |id: u64| id == self.id || self.circle.connected.contains(&id);
        let synced = voters().filter(|server| is_there(server.id) && self.is_synced(server.id)).count();
        if synced > voters().count() / 2 { Ok(()) } else { Err(Refusal::NewConfigNoQuorum) }
    }

    /// The membership with these servers, and what changes in consensus. A participant that has not caught up votes
    /// later; a server that leaves stays as a guest while it is connected.
    fn change_to(&self, servers: &BTreeMap<u64, Server>) -> (Membership, Vec<SingleChange>) {
        let old = &self.circle.membership;
        let configuration = self.ensemble.configuration();
        let mut membership = Membership { members: Vec::new(), ..old.clone() };
        for server in servers.values() {
            let recorded = old.member(server.id).map_or(0, |member| member.incarnation);
            membership.put(member_of(server, recorded));
        }
        for member in old.members.iter().filter(|member| !servers.contains_key(&member.id)) {
            if member.id == self.id || self.circle.connected.contains(&member.id) {
                membership.put(Member { role: MemberRole::Guest as i32, ..member.clone() });
            }
        }
        let has_vote = |member: &&Member| {
            member.role() == MemberRole::Participant && (configuration.votes(member.id) || self.is_synced(member.id))
        };
        let voters: Vec<u64> = membership.members.iter().filter(has_vote).map(|member| member.id).collect();
        let others = membership.members.iter().map(|member| member.id).filter(|id| !voters.contains(id));
        let learners: Vec<u64> = others.collect();
        (membership.clone(), configuration.changes_to(&voters, &learners))
    }

    fn propose_reconfig(
        &mut self,
        origin: Option<Origin>,
        request: Request,
        change: Result<(Membership, Vec<SingleChange>), Refusal>,
        now: Now,
    ) {
        let Some(lead) = &mut self.lead else { return };
        let zxid = lead.peek_zxid();
        let decided = change.map(|(membership, changes)| {
            let membership = Membership { version: zxid, ..membership };
            (Bytes::from(membership.text().into_bytes()), membership, changes)
        });
        let (text, change) = match decided {
            Ok((text, membership, changes)) => (Ok(text), Some((membership, changes))),
            Err(refusal) => (Err(refusal), None),
        };
        let (txn, is_refused) = lead.judge_config(&self.tree, (origin, request), text, now);
        match change.filter(|_| !is_refused) {
            Some((membership, changes)) => {
                self.propose_membership(membership, changes, vec![txn]);
                self.circle.is_reconfig = true;
            }
            None => {
                let data = TxnBatch { txns: vec![txn], membership: None }.encode_to_vec();
                self.ensemble.propose(data.into());
            }
        }
    }

    /// Who votes, as far as it is applied here.
    pub fn voters(&self) -> Vec<u64> {
        self.ensemble.configuration().voters
    }

    /// True if this server votes and what it promised counts.
    pub fn may_vote(&self) -> bool {
        self.circle.is_proven(self.id) && self.ensemble.configuration().votes(self.id)
    }

    /// True if this server never votes.
    pub(super) fn observes(&self) -> bool {
        let role = self.circle.membership.member(self.id).map(Member::role);
        let in_file = self.config.servers.get(&self.id).is_some_and(|me| me.is_observer);
        match role {
            Some(MemberRole::Participant) => false,
            Some(MemberRole::Observer) => true,
            Some(MemberRole::Guest) | None => in_file,
        }
    }

    /// How many servers vote according to the configuration.
    pub(super) fn participants_count(&self) -> usize {
        self.circle.membership.with_role(MemberRole::Participant).len()
    }
}

fn is_foreign(membership: &Membership, greeting: &Greeting) -> bool {
    membership.ensemble != 0 && greeting.ensemble != 0 && membership.ensemble != greeting.ensemble
}

/// The servers that a reconfiguration asks for. As ZooKeeper: a number that is none makes the request malformed, any
/// other fault its arguments bad.
fn wanted_servers(
    membership: &Membership,
    wanted: &ReconfigWrite,
    standalone_enabled: bool,
) -> Result<BTreeMap<u64, Server>, Refusal> {
    if let Some(text) = &wanted.new_members {
        return whole_list(text, standalone_enabled);
    }
    let mut servers = BTreeMap::new();
    for member in membership.members.iter().filter(|member| member.role() != MemberRole::Guest) {
        servers.insert(member.id, parse_server(member.id, &member.line).map_err(|_| Refusal::BadArguments)?);
    }
    let parts = |text: &Option<String>| -> Vec<String> {
        let parts = text.iter().flat_map(|text| text.split(','));
        parts.map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    };
    for leaving in parts(&wanted.leaving) {
        let id: i64 = leaving.parse().map_err(|_| Refusal::Malformed)?;
        servers.remove(&id.cast_unsigned());
    }
    for joining in parts(&wanted.joining) {
        let (key, line) = joining.split_once('=').ok_or(Refusal::BadArguments)?;
        let server = joiner(key.trim(), line.trim())?;
        if servers.values().any(|other| other.id != server.id && shares_address(&server, other)) {
            return Err(Refusal::BadArguments);
        }
        servers.insert(server.id, server);
    }
    Ok(servers)
}

fn joiner(key: &str, line: &str) -> Result<Server, Refusal> {
    let number = key.rsplit('.').next().unwrap_or(key);
    let id: i64 = number.parse().map_err(|_| Refusal::Malformed)?;
    let id = u64::try_from(id).ok().filter(|id| (1..=255).contains(id)).ok_or(Refusal::BadArguments)?;
    let server = parse_server(id, line).map_err(|_| Refusal::BadArguments)?;
    if server.client.is_none() || line.contains('=') { Err(Refusal::BadArguments) } else { Ok(server) }
}

fn whole_list(text: &str, standalone_enabled: bool) -> Result<BTreeMap<u64, Server>, Refusal> {
    let mut servers = BTreeMap::new();
    for line in text.split([',', '\n']).map(str::trim).filter(|line| !line.is_empty()) {
        let (key, value) = line.split_once('=').ok_or(Refusal::BadArguments)?;
        if key.trim() == "version" {
            i64::from_str_radix(value.trim(), 16).map_err(|_| Refusal::Malformed)?;
            continue;
        }
        let number = key.trim().strip_prefix("server.").ok_or(Refusal::BadArguments)?;
        let id: i64 = number.parse().map_err(|_| Refusal::Malformed)?;
        let id = u64::try_from(id).ok().filter(|id| (1..=255).contains(id)).ok_or(Refusal::BadArguments)?;
        servers.insert(id, parse_server(id, value.trim()).map_err(|_| Refusal::BadArguments)?);
    }
    let voters = servers.values().filter(|server| !server.is_observer).count();
    if voters < servers.len() && (voters == 0 || (voters == 1 && standalone_enabled)) {
        return Err(Refusal::Malformed);
    }
    Ok(servers)
}

/// True if two servers would bind the same address; as ZooKeeper, not asked of wildcards and loopback addresses.
fn shares_address(one: &Server, other: &Server) -> bool {
    let is_special = |host: &str| host.starts_with("127.") || ["0.0.0.0", "::", "::1", "localhost"].contains(&host);
    let addresses = |server: &Server| {
        let peer = [(server.host.clone(), server.peer_port), (server.host.clone(), server.election_port)];
        let all = peer.into_iter().chain(server.client.clone());
        all.filter(|(host, _)| !is_special(host)).collect::<Vec<_>>()
    };
    let others = addresses(other);
    addresses(one).iter().any(|address| others.contains(address))
}
