//! The ensemble: the consensus library driven as a synchronous machine. Takes proposals, ticks and peer messages; says
//! what to keep on disk, what to send and what is committed. Knows nothing of znodes, and never waits for the disk
//! itself: keeping is work for the caller, who reports back with [`Ensemble::persisted`].

pub mod membership;
pub mod message;
pub mod snapshot;
mod storage;

use bytes::Bytes;
use common::{Rng, mutants};
use membership::{Configuration, ConfigurationChange};
use message::{Behind, Commit, HardState, LogEntry, LogPosition, MessageError, PeerBody, RaftMessage};
use prost::Message as _;
use raft::eraftpb::{EntryType, Message, MessageType};
use raft::{RawNode, ReadOnlyOption, SnapshotStatus, StateRole};
use std::collections::{BTreeMap, VecDeque};
use storage::LogStorage;
use thiserror::Error;

/// An append to a follower carries at most about this much, so that a lagging follower's first answer comes soon.
const APPEND_BYTES: u64 = 1024 * 1024;

/// Appends on their way to one follower.
const APPENDS_IN_FLIGHT: usize = 256;

/// When all know that the leader is gone, each leaves the one before it this long to be elected.
const TURN_TICKS: usize = 4;

/// The members and the pace of an ensemble.
#[derive(Clone, Debug)]
pub struct EnsembleConfig {
    /// This server.
    pub id: u64,
    /// Who takes part.
    pub configuration: Configuration,
    /// A follower that hears nothing for one to two times this many ticks seeks election.
    pub election_ticks: usize,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: usize,
}

/// What the store held at start.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Consensus state.
    pub hard_state: HardState,
    /// Position before the first kept entry.
    pub compacted: LogPosition,
    /// Kept entries in order.
    pub entries: Vec<LogEntry>,
    /// Last entry that the stored tree reflects.
    pub applied: u64,
}

/// The ensemble cannot start.
#[derive(Debug, Error)]
pub enum EnsembleError {
    /// The store contradicts itself.
    #[error("the store holds the log from {first} to {last}, but its tree reflects entry {applied}")]
    Inconsistent {
        /// First entry kept.
        first: u64,
        /// Last entry kept.
        last: u64,
        /// Entry that the tree reflects.
        applied: u64,
    },
    /// The consensus library refused the settings.
    #[error("consensus cannot start: {0}")]
    Refused(#[from] raft::Error),
}

/// What to keep on disk, in this order, before the number is reported as persisted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Append {
    /// Counts up; not without gaps.
    pub number: u64,
    /// The newest consensus state, if it changed.
    pub hard_state: Option<HardState>,
    /// Entries; whatever the store has at their places and behind is void.
    pub entries: Vec<LogEntry>,
    /// A snapshot that was handed in by [`Ensemble::restore`] takes the place of log and tree.
    pub installed: Option<LogPosition>,
}

/// An entry that will never change and is to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Where it stands.
    pub position: LogPosition,
    /// Its data; empty for a leader's first entry.
    pub data: Bytes,
    /// A change of who takes part: it counts from [`Ensemble::apply_change`] on.
    pub change: Option<ConfigurationChange>,
}

/// Whom this server may give its vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voting {
    /// Any server, itself included.
    Any,
    /// Any other server: this one cannot lead now.
    Others,
    /// This server only, which has a part in every majority.
    Only(u64),
    /// Nobody: its store was lost or is new, and it does not know yet what it once promised.
    Nobody,
}

/// What came of the inputs since the last call.
#[derive(Debug, Default)]
pub struct Progress {
    /// Disk work.
    pub append: Option<Append>,
    /// Messages by receiver.
    pub messages: Vec<(u64, PeerBody)>,
    /// Followers that lack entries which are compacted away.
    pub snapshots_wanted: Vec<u64>,
    /// To apply, in order.
    pub committed: Vec<Committed>,
    /// Contexts given to [`Ensemble::read_index`], each with the index that must be applied before its answer.
    pub reads: Vec<(u64, u64)>,
}

/// One server's part in the ensemble.
pub struct Ensemble {
    raw: RawNode<LogStorage>,
    rng: Rng,
    id: u64,
    election_ticks: usize,
    /// Our seeded choice, put in the place of the library's own whenever that may have drawn one.
    timeout_ticks: usize,
    seen: (u64, StateRole, u64),
    /// Numbers given out as disk work and not reported back.
    in_flight: VecDeque<u64>,
    /// Messages that wait for disk work: (number of the state they follow, receiver, message).
    held: VecDeque<(u64, Message)>,
    hard_state: HardState,
    /// Term that is surely on disk: what promises no more than it may be said at once.
    persisted_term: u64,
    term_in_flight: VecDeque<(u64, u64)>,
    ready_number: u64,
    behind: Vec<(u64, Behind)>,
    /// As leader: the committed index that each follower was told last.
    told_commit: BTreeMap<u64, u64>,
    told_term: u64,
    leaving: bool,
    voting: Voting,
}

impl Ensemble {
    /// Starts from what the store held. An ensemble of one leads at once.
    pub fn new(config: &EnsembleConfig, recovered: Recovered, mut rng: Rng) -> Result<Ensemble, EnsembleError> {
        let first = recovered.compacted.index + 1;
        let last = recovered.entries.last().map_or(recovered.compacted.index, |entry| entry.index);
        if recovered.applied > last || recovered.applied + 1 < first {
            return Err(EnsembleError::Inconsistent { first, last, applied: recovered.applied });
        }
        let mut hard_state = recovered.hard_state;
        // The committed index is written with the next entries, so it may lag behind what was applied.
        hard_state.commit = hard_state.commit.max(recovered.applied).max(recovered.compacted.index).min(last);
        let mut storage = LogStorage::new(hard_state, config.configuration.to_raft(), recovered.compacted);
        storage::restore_entries(&mut storage, recovered.entries);
        let term = storage.term_at(recovered.applied).unwrap_or(0);
        storage.set_applied(LogPosition { index: recovered.applied, term });
        let library = raft::Config {
            id: config.id,
            election_tick: config.election_ticks,
            heartbeat_tick: config.heartbeat_ticks,
            applied: recovered.applied,
            max_size_per_msg: APPEND_BYTES,
            max_inflight_msgs: APPENDS_IN_FLIGHT,
            check_quorum: true,
            pre_vote: true,
            skip_bcast_commit: true,
            read_only_option: if mutants::is_on("lease-read") {
                ReadOnlyOption::LeaseBased
            } else {
                ReadOnlyOption::Safe
            },
            ..Default::default()
        };
        library.validate()?;
        let raw = RawNode::new(&library, storage, &slog::Logger::root(TracingDrain, slog::o!()))?;
        let timeout_ticks = rng.usize(config.election_ticks..2 * config.election_ticks);
        let mut ensemble = Ensemble {
            raw,
            rng,
            id: config.id,
            election_ticks: config.election_ticks,
            timeout_ticks,
            seen: (0, StateRole::Follower, 0),
            in_flight: VecDeque::new(),
            held: VecDeque::new(),
            hard_state,
            persisted_term: hard_state.term,
            term_in_flight: VecDeque::new(),
            ready_number: 0,
            behind: Vec::new(),
            told_commit: BTreeMap::new(),
            told_term: 0,
            leaving: false,
            voting: Voting::Nobody,
        };
        ensemble.settle_timeout();
        Ok(ensemble)
    }

    /// Says whom this server may vote for; nobody until this was called. An ensemble of one leads at once.
    pub fn set_voting(&mut self, voting: Voting) {
        self.voting = voting;
        let is_alone = self.raw.store().conf_state().voters == [self.id]
            && self.raw.store().conf_state().voters_outgoing.is_empty();
        if is_alone && voting == Voting::Any && self.role() == Role::Follower {
            // Refused while a change of the configuration is not applied yet; then time does it.
            let _ = self.raw.campaign();
            self.settle_timeout();
        }
    }

    /// Time goes on by one tick.
    pub fn tick(&mut self) {
        if self.voting != Voting::Any {
            self.raw.raft.election_elapsed = 0;
        }
        self.raw.tick();
        self.settle_timeout();
        if self.leaving && self.raw.raft.lead_transferee.is_none() {
            // The chosen one did not take over in time.
            self.leaving = false;
            self.hand_over();
        }
    }

    /// A peer's connection broke or refuses to open: if it led, a new leader is sought without waiting for silence.
    /// The others are asked first (pre-vote), so a leader that still lives for them stays.
    pub fn leader_lost(&mut self, peer: u64) {
        if self.raw.raft.leader_id == peer && self.role() == Role::Follower {
            self.raw.raft.leader_id = raft::INVALID_ID;
            self.seek_soon(peer);
        }
        self.raw.report_unreachable(peer);
    }

    /// A majority can be asked: where no leader is known, one is sought without waiting for silence. One that lives for
    /// the others stays (pre-vote).
    pub fn majority_met(&mut self) {
        if self.raw.raft.leader_id == raft::INVALID_ID && self.role() == Role::Follower {
            self.seek_soon(raft::INVALID_ID);
        }
    }

    /// All but `gone` see the same at about the same moment: they come one after the other, so that the votes are not
    /// split.
    fn seek_soon(&mut self, gone: u64) {
        let voters = self.raw.store().conf_state().voters.iter();
        let rank = voters.filter(|voter| **voter != gone && **voter < self.id).count();
        self.settle_timeout();
        let due = self.timeout_ticks.saturating_sub(2 + TURN_TICKS * rank);
        self.raw.raft.election_elapsed = self.raw.raft.election_elapsed.max(due);
    }

    /// An unknown part of what was sent to a peer is lost.
    pub fn unreachable(&mut self, peer: u64) {
        self.raw.report_unreachable(peer);
    }

    /// A message from a peer whose name the transport has checked.
    pub fn step(&mut self, from: u64, message: RaftMessage) -> Result<(), MessageError> {
        let message = message.into_raft(from, self.id)?;
        if !self.may_answer(from, message.get_msg_type()) {
            return Ok(());
        }
        if !self.fits_log(&message)? {
            return Ok(());
        }
        let outcome = self.raw.step(message);
        self.settle_timeout();
        match outcome {
            Ok(()) | Err(raft::Error::StepPeerNotFound | raft::Error::ProposalDropped) => Ok(()),
            Err(error) => Err(MessageError::Refused(error.to_string())),
        }
    }

    fn may_answer(&self, from: u64, kind: MessageType) -> bool {
        match kind {
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => match self.voting {
                Voting::Any | Voting::Others => true,
                Voting::Only(candidate) => candidate == from,
                Voting::Nobody => false,
            },
            MessageType::MsgTimeoutNow => self.voting == Voting::Any,
            _ => true,
        }
    }

    /// What the library takes for granted about its peers is checked here, because it ends the process otherwise.
    /// False if the message is to be ignored.
    fn fits_log(&mut self, message: &Message) -> Result<bool, MessageError> {
        // A leader that was paused or cut off speaks for a log that the ensemble has left: not wrong, only late.
        if message.term < self.raw.raft.term {
            return Ok(true);
        }
        let last = self.raw.raft.raft_log.last_index();
        let committed = self.raw.raft.raft_log.committed;
        match message.get_msg_type() {
            MessageType::MsgHeartbeat if message.commit > last && message.term >= self.raw.raft.term => {
                // This server has lost entries that it acknowledged (its data was removed, or the disk lied).
                self.behind.push((message.from, Behind { term: message.term, last }));
                return Ok(false);
            }
            // Only a leader of this very term has all that is acknowledged to it. One that ended before its own disk had
            // an entry follows in the same term when it is back, and the answers to its earlier life come late.
            MessageType::MsgAppendResponse
                if !message.reject
                    && message.index > last
                    && (self.is_leader() && message.term == self.raw.raft.term
                        || mutants::is_on("late-answer-closes-link")) =>
            {
                return Err(MessageError::BeyondLog { index: message.index, last });
            }
            MessageType::MsgAppend => {
                for entry in message.entries.iter().take_while(|entry| entry.index <= committed) {
                    let known = self.raw.raft.raft_log.term(entry.index).unwrap_or(0);
                    if message.index >= committed.min(self.raw.raft.raft_log.first_index()) && known != entry.term {
                        return Err(MessageError::ContradictsCommitted(entry.index));
                    }
                }
            }
            _ => {}
        }
        Ok(true)
    }

    /// A follower says that its log is shorter than it once acknowledged; the leader sends the rest again.
    pub fn step_behind(&mut self, from: u64, behind: Behind) {
        if !self.is_leader() || behind.term != self.term() {
            return;
        }
        let Some(progress) = self.raw.raft.mut_prs().get_mut(from) else { return };
        if progress.matched > behind.last && progress.state != raft::ProgressState::Snapshot {
            tracing::warn!(peer = from, matched = progress.matched, last = behind.last, "a server has lost entries");
            progress.matched = behind.last;
            progress.become_probe();
        }
    }

    /// True if this server leads and means to go on leading.
    pub fn may_propose(&self) -> bool {
        self.is_leader() && !self.leaving
    }

    /// Proposes an entry and says where in the log it stands. Only while [`Ensemble::may_propose`].
    pub fn propose(&mut self, data: Bytes) -> u64 {
        assert!(self.may_propose(), "only a leader proposes");
        let mut entry = raft::eraftpb::Entry { data, ..Default::default() };
        entry.set_entry_type(EntryType::EntryNormal);
        let mut message = Message { from: self.id, ..Default::default() };
        message.set_msg_type(MessageType::MsgPropose);
        message.set_entries(vec![entry].into());
        self.raw.raft.step(message).expect("a leader that hands nothing over takes every proposal");
        self.last_index()
    }

    /// True if a change of who takes part may be proposed: none is under way.
    pub fn can_change(&self) -> bool {
        self.may_propose() && !self.raw.raft.has_pending_conf() && !self.is_joint()
    }

    /// True between the two halves of a change, while the old and the new majority both count.
    pub fn is_joint(&self) -> bool {
        !self.raw.store().conf_state().voters_outgoing.is_empty()
    }

    /// Proposes a change and says where in the log it stands. Only while [`Ensemble::can_change`], or to end a joint
    /// configuration.
    pub fn propose_change(&mut self, change: &ConfigurationChange) -> u64 {
        assert!(self.may_propose() && !self.raw.raft.has_pending_conf(), "one change at a time");
        let mut entry = raft::eraftpb::Entry { data: change.encode_to_vec().into(), ..Default::default() };
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        let mut message = Message { from: self.id, ..Default::default() };
        message.set_msg_type(MessageType::MsgPropose);
        message.set_entries(vec![entry].into());
        self.raw.raft.step(message).expect("a leader that hands nothing over takes every proposal");
        self.last_index()
    }

    /// True if the leader should end a joint configuration: the library does it, unless the lead changed meanwhile.
    pub fn must_leave_joint(&self) -> bool {
        self.may_propose() && self.is_joint() && !self.raw.raft.has_pending_conf()
    }

    /// A committed change takes effect. False if it makes no sense at this place, which is the same on every server.
    pub fn apply_change(&mut self, change: &ConfigurationChange) -> bool {
        match self.raw.apply_conf_change(&change.to_raft()) {
            Ok(state) => {
                self.raw.mut_store().set_conf_state(state);
                self.settle_timeout();
                true
            }
            Err(error) => {
                tracing::warn!(%error, "a change of the configuration has no effect");
                false
            }
        }
    }

    /// Puts a whole configuration in the place of the one this server started with.
    pub fn set_configuration(&mut self, configuration: &Configuration) {
        let changes = self.configuration().changes_to(&configuration.voters, &configuration.learners);
        if changes.is_empty() {
            return;
        }
        let transition = raft::eraftpb::ConfChangeTransition::Explicit as i32;
        let change = ConfigurationChange { transition, changes, context: Bytes::new() };
        if self.apply_change(&change) {
            self.apply_change(&ConfigurationChange::default());
        }
    }

    /// Who takes part, as far as it is applied here.
    pub fn configuration(&self) -> Configuration {
        Configuration::from_raft(self.raw.store().conf_state())
    }

    /// The voters, if nothing in the log of this server may have changed them.
    pub fn settled_voters(&self) -> Vec<u64> {
        let is_settled = !self.is_joint() && !self.raw.store().has_change_after(self.applied_position().index);
        if is_settled { self.configuration().voters } else { Vec::new() }
    }

    /// As leader: whether a server was heard of lately, and up to where it has the log.
    pub fn reach(&self, id: u64) -> Option<(bool, u64)> {
        self.raw.raft.prs().get(id).map(|progress| (progress.recent_active, progress.matched))
    }

    /// As leader: a server's store is another one, so nothing is known of what it has.
    pub fn forget_progress(&mut self, id: u64) {
        let last = self.last_index();
        let Some(progress) = self.raw.raft.mut_prs().get_mut(id).filter(|_| id != self.id) else { return };
        progress.matched = 0;
        progress.become_probe();
        progress.next_idx = last + 1;
    }

    /// Asks the leader how far a read that begins now must look; answered in [`Progress::reads`], or never (no leader,
    /// a lost message), so the caller asks again. `context` is unique in the ensemble.
    pub fn read_index(&mut self, context: u64) {
        self.raw.read_index(context.to_be_bytes().to_vec());
    }

    /// Disk work up to `number` is done.
    pub fn persisted(&mut self, number: u64) {
        while self.in_flight.front().is_some_and(|first| *first <= number) {
            self.in_flight.pop_front();
        }
        while let Some((_, term)) = self.term_in_flight.front().filter(|(at, _)| *at <= number) {
            self.persisted_term = *term;
            self.term_in_flight.pop_front();
        }
        self.release_persisted();
    }

    fn release_persisted(&mut self) {
        let settled = self.in_flight.front().map_or(self.ready_number, |first| first - 1);
        self.raw.on_persist_ready(settled);
        self.advance_applied();
        self.settle_timeout();
    }

    /// The node has applied everything up to `position`.
    pub fn applied(&mut self, position: LogPosition) {
        self.raw.mut_store().set_applied(position);
        self.advance_applied();
    }

    /// The library hears of what is applied as far as it is on disk: an installed snapshot is in the tree before.
    fn advance_applied(&mut self) {
        let applied = self.raw.store().applied().index.min(self.raw.raft.raft_log.persisted);
        if applied > self.raw.raft.raft_log.applied {
            self.raw.advance_apply_to(applied);
        }
    }

    /// Forgets all but the last entries, when more than the bounds are kept; the store does the same.
    pub fn compact(&mut self, keep_entries: u64, max_entries: usize, max_bytes: usize) -> Option<LogPosition> {
        let (entries, bytes) = self.raw.store().weight();
        if entries <= max_entries && bytes <= max_bytes {
            return None;
        }
        let applied = self.raw.store().applied().index;
        let mut up_to = applied.saturating_sub(keep_entries);
        if bytes > max_bytes {
            // Few large entries: half of them go.
            up_to = up_to.max(applied.saturating_sub(entries as u64 / 2));
        }
        if up_to <= self.raw.store().compacted().index {
            return None;
        }
        self.raw.mut_store().compact(up_to);
        Some(self.raw.store().compacted())
    }

    /// Hands in a snapshot whose content the node holds ready. True if it will be installed: it then comes back as
    /// [`Append::installed`].
    pub fn restore(&mut self, from: u64, term: u64, position: LogPosition, configuration: &Configuration) -> bool {
        if term < self.term() || position.index <= self.raw.raft.raft_log.committed {
            return false;
        }
        let mut message = Message { from, to: self.id, term, ..Default::default() };
        message.set_msg_type(MessageType::MsgSnapshot);
        message.set_snapshot(storage::snapshot_at(position, &configuration.to_raft()));
        let stepped = self.raw.step(message).is_ok();
        self.settle_timeout();
        stepped && self.raw.snap().is_some_and(|snapshot| snapshot.get_metadata().index == position.index)
    }

    /// The sending of a snapshot has ended.
    pub fn snapshot_sent(&mut self, to: u64, complete: bool) {
        let status = if complete { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.raw.report_snapshot(to, status);
    }

    /// Gives the lead to the follower that has most, before this server stops. No-op if it does not lead.
    pub fn hand_over(&mut self) {
        if !self.is_leader() {
            return;
        }
        let id = self.id;
        let voters = self.raw.store().conf_state().voters.clone();
        let best = voters
            .into_iter()
            .filter(|voter| *voter != id)
            .filter_map(|voter| self.raw.raft.prs().get(voter).map(|progress| (progress, voter)))
            .filter(|(progress, _)| progress.recent_active)
            .max_by_key(|(progress, voter)| (progress.matched, *voter));
        if let Some((_, voter)) = best {
            self.raw.transfer_leader(voter);
            self.leaving = true;
        }
    }

    /// What there is to do now. Call again until it returns `None`.
    pub fn progress(&mut self) -> Option<Progress> {
        let mut progress = Progress::default();
        progress.messages.extend(self.behind.drain(..).map(|(to, behind)| (to, PeerBody::Behind(behind))));
        let settled = self.in_flight.front().copied().unwrap_or(u64::MAX);
        while self.held.front().is_some_and(|(number, _)| *number < settled) {
            let (_, message) = self.held.pop_front().expect("front was seen");
            give_out(message, &mut progress);
        }
        let has_ready = self.raw.has_ready();
        if has_ready {
            self.take_ready(&mut progress);
        }
        self.tell_commit(&mut progress);
        let is_work = has_ready || !progress.messages.is_empty() || !progress.snapshots_wanted.is_empty();
        is_work.then_some(progress)
    }

    /// Followers whose log has what was committed hear of it at once, with the next append if there is one.
    fn tell_commit(&mut self, progress: &mut Progress) {
        if !self.is_leader() {
            return;
        }
        let (term, committed) = (self.term(), self.committed_index());
        if self.told_term != term {
            self.told_term = term;
            self.told_commit.clear();
        }
        for (to, body) in &progress.messages {
            if let PeerBody::Raft(message) = body {
                let told = self.told_commit.entry(*to).or_default();
                *told = message.commit.max(*told);
            }
        }
        for (id, peer) in self.raw.raft.prs().iter().filter(|(id, _)| **id != self.id) {
            let index = if mutants::is_on("commit-beyond-match") { committed } else { committed.min(peer.matched) };
            let told = self.told_commit.entry(*id).or_default();
            if index > *told {
                *told = index;
                progress.messages.push((*id, PeerBody::Commit(Commit { term, index })));
            }
        }
    }

    /// The leader says how far this server's log is committed.
    pub fn step_commit(&mut self, from: u64, commit: Commit) {
        let raft = &mut self.raw.raft;
        if commit.term == raft.term && raft.leader_id == from && commit.index <= raft.raft_log.last_index() {
            raft.raft_log.commit_to(commit.index);
        }
    }

    fn take_ready(&mut self, progress: &mut Progress) {
        let mut ready = self.raw.ready();
        let number = ready.number();
        self.ready_number = number;
        for message in ready.take_messages() {
            give_out(message, progress);
        }
        let mut append = Append { number, ..Default::default() };
        let snapshot = ready.snapshot().get_metadata();
        if snapshot.index != 0 {
            let position = LogPosition { index: snapshot.index, term: snapshot.term };
            let state = snapshot.get_conf_state().clone();
            self.raw.mut_store().install(position, state);
            append.installed = Some(position);
        }
        let entries = ready.take_entries();
        append.entries = entries.iter().map(LogEntry::from_raft).collect();
        self.raw.mut_store().append(entries);
        if let Some(state) = ready.hs() {
            self.hard_state = HardState::from_raft(state);
        }
        if ready.must_sync() {
            // Only a new committed index is no reason to wait for the disk: it is written with what comes next.
            append.hard_state = Some(self.hard_state).filter(|_| !mutants::is_on("vote-not-kept"));
            self.in_flight.push_back(number);
            self.term_in_flight.push_back((number, self.hard_state.term));
            progress.append = Some(append);
        }
        for message in ready.take_persisted_messages() {
            if self.may_go_early(&message) || mutants::is_on("ack-before-fsync") {
                give_out(message, progress);
            } else {
                self.held.push_back((number, message));
            }
        }
        for read in ready.take_read_states() {
            if let Ok(context) = <[u8; 8]>::try_from(read.request_ctx.as_slice()) {
                progress.reads.push((u64::from_be_bytes(context), read.index));
            }
        }
        for entry in ready.take_committed_entries() {
            let position = LogPosition { index: entry.index, term: entry.term };
            let is_change = entry.get_entry_type() != EntryType::EntryNormal;
            let mut change = is_change.then(|| match ConfigurationChange::parse(entry.data.clone()) {
                Ok(change) => change,
                // As for transactions: a leader wrote it and a majority has it.
                Err(error) => unreachable!("log entry {} does not decode: {error}", position.index),
            });
            let data = change.as_mut().map_or(entry.data, |change| std::mem::take(&mut change.context));
            progress.committed.push(Committed { position, data, change });
        }
        self.raw.advance_append_async(ready);
        if self.in_flight.is_empty() {
            self.release_persisted();
        }
    }

    /// A slow disk must not look like a dead server: what promises nothing about entries may overtake disk work, once
    /// the term it names is on disk.
    fn may_go_early(&self, message: &Message) -> bool {
        match message.get_msg_type() {
            MessageType::MsgHeartbeatResponse => message.term <= self.persisted_term,
            MessageType::MsgReadIndex => true,
            _ => false,
        }
    }

    /// The library draws its election timeout from ambient randomness; ours takes its place after every call that may
    /// have drawn one, and is drawn anew when term, role or leader change.
    fn settle_timeout(&mut self) {
        let now = (self.raw.raft.term, self.raw.raft.state, self.raw.raft.leader_id);
        if now != self.seen {
            self.seen = now;
            self.leaving &= self.raw.raft.state == StateRole::Leader;
            self.timeout_ticks = self.rng.usize(self.election_ticks..2 * self.election_ticks);
        }
        self.raw.raft.set_randomized_election_timeout(self.timeout_ticks);
    }

    /// This server's part.
    pub fn role(&self) -> Role {
        match self.raw.raft.state {
            StateRole::Leader => Role::Leader,
            StateRole::Follower => Role::Follower,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
        }
    }

    /// True if this server leads, as far as it knows.
    pub fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// The leader of the current term that has been heard of within the election timeout.
    pub fn leader(&self) -> Option<u64> {
        Some(self.raw.raft.leader_id).filter(|id| *id != raft::INVALID_ID)
    }

    /// The current term.
    pub fn term(&self) -> u64 {
        self.raw.raft.term
    }

    /// Last applied position.
    pub fn applied_position(&self) -> LogPosition {
        self.raw.store().applied()
    }

    /// Committed index as known here.
    pub fn committed_index(&self) -> u64 {
        self.raw.raft.raft_log.committed
    }

    /// End of the log, kept or not yet.
    pub fn last_index(&self) -> u64 {
        self.raw.raft.raft_log.last_index()
    }

    /// As leader: followers and observers heard of within the election timeout, and those whose log is nearly whole.
    pub fn followers(&self) -> (usize, usize) {
        if !self.is_leader() {
            return (0, 0);
        }
        let committed = self.committed_index();
        let others = || self.raw.raft.prs().iter().filter(|(id, _)| **id != self.id).map(|(_, progress)| progress);
        let active = others().filter(|progress| progress.recent_active).count();
        let synced = others().filter(|progress| progress.recent_active && progress.matched + 1000 >= committed).count();
        (active, synced)
    }
}

/// Sorts a message of the library: snapshots go their own way.
fn give_out(message: Message, progress: &mut Progress) {
    let to = message.to;
    if message.get_msg_type() == MessageType::MsgSnapshot {
        progress.snapshots_wanted.push(to);
    } else if let Some(message) = RaftMessage::from_raft(message) {
        progress.messages.push((to, PeerBody::Raft(message)));
    }
}

/// A server's part in the ensemble. Follower to candidate when the leader is silent; candidate to leader with a
/// majority, to follower when another leads; leader to follower when it sees a newer term or lacks a majority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes entries from the leader.
    Follower,
    /// Seeks votes.
    Candidate,
    /// Proposes.
    Leader,
}

/// Leads the consensus library's log to ours; its everyday notes are for debugging.
struct TracingDrain;

impl slog::Drain for TracingDrain {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &slog::Record<'_>, _values: &slog::OwnedKVList) -> Result<(), slog::Never> {
        match record.level() {
            slog::Level::Critical | slog::Level::Error => tracing::error!(target: "raft", "{}", record.msg()),
            slog::Level::Warning | slog::Level::Info => tracing::debug!(target: "raft", "{}", record.msg()),
            slog::Level::Debug | slog::Level::Trace => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
