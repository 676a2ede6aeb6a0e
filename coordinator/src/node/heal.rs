//! Replicas compared. The leader tells the digest of its tree at a place in the log, the others answer with theirs at that
//! place. A server that a majority contradicts stops serving, drops its tree and takes another server's; the log, which
//! is not in doubt, goes on meanwhile. Never changes a tree but by replacing all of it.

use super::{Node, Output};
use crate::ensemble::Committed;
use crate::ensemble::message::{DigestAt, PeerBody};
use crate::store::StoreWrite;
use common::time::{Millis, Now};
use std::collections::{BTreeMap, VecDeque};

/// How often the leader compares, if anything was applied since.
const COMPARE_EVERY_MS: u64 = 1_000;
/// Places of which the digest is kept: a follower is at most this far behind or ahead to be compared.
const KEPT_DIGESTS: usize = 4_096;
/// A tree that was asked for and does not come is asked for again.
const ASK_AGAIN_MS: u64 = 5_000;

/// What is known of digests, and the way back of a server that was contradicted.
#[derive(Default)]
pub(super) struct Healing {
    recent: VecDeque<(u64, u64)>,
    /// The leader's question about a place that is not applied yet.
    question: Option<(u64, DigestAt)>,
    compared_at: Millis,
    /// As leader: the last place that was compared, and what the others said of it.
    compared: DigestAt,
    answers: BTreeMap<u64, u64>,
    /// This server's tree is not what the majority has.
    is_wrong: bool,
    asked_at: Option<Millis>,
    /// Committed and not applied, because the tree is wrong.
    deferred: VecDeque<Committed>,
    /// As leader: servers that want the tree.
    pub(super) wanted: Vec<u64>,
}

impl Healing {
    /// True if this server's tree must not be used.
    pub(super) fn is_wrong(&self) -> bool {
        self.is_wrong
    }

    /// An entry was applied.
    pub(super) fn applied(&mut self, index: u64, digest: u64) {
        if self.recent.len() == KEPT_DIGESTS {
            self.recent.pop_front();
        }
        self.recent.push_back((index, digest));
    }

    /// Keeps what must wait for another tree.
    pub(super) fn defer(&mut self, committed: Vec<Committed>) {
        self.deferred.extend(committed);
    }

    /// A snapshot took the place of everything.
    pub(super) fn reset(&mut self) {
        *self = Healing::default();
    }

    fn digest_at(&self, index: u64) -> Option<u64> {
        let found = self.recent.binary_search_by_key(&index, |(at, _)| *at).ok()?;
        self.recent.get(found).map(|(_, digest)| *digest)
    }
}

impl Node {
    /// Asks, answers and asks again, when it is time.
    pub(super) fn compare_replicas(&mut self, now: Millis) {
        self.answer_digest();
        let term = self.ensemble.term();
        if self.healing.is_wrong {
            let leader = self.ensemble.leader().filter(|leader| *leader != self.id);
            let is_due = self.healing.asked_at.is_none_or(|at| now - at >= ASK_AGAIN_MS);
            if let Some(leader) = leader.filter(|_| is_due) {
                self.healing.asked_at = Some(now);
                self.tell_peer(leader, PeerBody::WantTree(DigestAt { term, ..Default::default() }));
            }
            return;
        }
        if self.lead.is_none() || now - self.healing.compared_at < COMPARE_EVERY_MS {
            return;
        }
        let index = self.ensemble.applied_position().index;
        let is_new = self.healing.compared.index != index || self.healing.compared.term != term;
        let Some(digest) = self.healing.digest_at(index).filter(|_| is_new) else { return };
        self.healing.compared_at = now;
        self.healing.compared = DigestAt { term, index, digest };
        self.healing.answers.clear();
        let configuration = self.ensemble.configuration();
        for to in configuration.voters.into_iter().chain(configuration.learners) {
            if to != self.id {
                self.tell_peer(to, PeerBody::Digest(self.healing.compared));
            }
        }
    }

    /// The leader wants to know this server's digest at a place.
    pub(super) fn digest_asked(&mut self, from: u64, asked: DigestAt) {
        self.healing.question = Some((from, asked));
        self.answer_digest();
    }

    fn answer_digest(&mut self) {
        let applied = self.ensemble.applied_position().index;
        let Some((from, asked)) = self.healing.question.filter(|(_, asked)| asked.index <= applied) else { return };
        self.healing.question = None;
        if let Some(digest) = self.healing.digest_at(asked.index).filter(|_| !self.healing.is_wrong) {
            self.tell_peer(from, PeerBody::DigestAnswer(DigestAt { digest, ..asked }));
        }
    }

    /// A server answers. When a majority is of one mind, whoever differs is told; the leader may be the one.
    pub(super) fn digest_answered(&mut self, from: u64, answer: DigestAt) {
        let compared = self.healing.compared;
        if (answer.term, answer.index) != (compared.term, compared.index) || self.lead.is_none() {
            return;
        }
        self.healing.answers.insert(from, answer.digest);
        let voters = self.ensemble.configuration().voters;
        let minds = |digest: u64| {
            let others = self.healing.answers.iter().filter(|(id, said)| voters.contains(id) && **said == digest);
            others.count() + usize::from(digest == compared.digest && voters.contains(&self.id))
        };
        let others: Vec<u64> = self.healing.answers.values().copied().filter(|said| *said != compared.digest).collect();
        if others.is_empty() {
            return;
        }
        let index = compared.index;
        if minds(compared.digest) > voters.len() / 2 {
            let wrong: Vec<u64> =
                self.healing.answers.iter().filter(|(_, said)| **said != compared.digest).map(|(id, _)| *id).collect();
            for peer in wrong {
                tracing::error!(peer, index, "a server's tree differs from the majority's: it is replaced");
                self.healing.answers.remove(&peer);
                self.tell_peer(peer, PeerBody::Diverged(compared));
            }
        } else if others.iter().any(|said| minds(*said) > voters.len() / 2) {
            tracing::error!(index, "this leader's tree differs from the majority's: another leads, and it is replaced");
            self.turn_wrong();
            self.ensemble.hand_over();
        } else if self.healing.answers.len() + 1 >= voters.len() {
            tracing::error!(index, "the servers' trees differ, and none is that of a majority");
        }
    }

    /// The leader says that a majority has another tree than this server at a place.
    pub(super) fn diverged(&mut self, from: u64, told: DigestAt) {
        let is_leader = self.ensemble.leader() == Some(from) && told.term == self.ensemble.term();
        let differs = self.healing.digest_at(told.index).is_some_and(|digest| digest != told.digest);
        if is_leader && differs && !self.healing.is_wrong {
            let index = told.index;
            tracing::error!(index, "this server's tree differs from the majority's: it is replaced");
            self.turn_wrong();
        }
    }

    /// What clients were told here may be wrong, too: they go elsewhere.
    fn turn_wrong(&mut self) {
        self.healing.is_wrong = true;
        self.healing.asked_at = None;
        self.clients.close_all();
    }

    /// A received tree takes the place of the wrong one as soon as the log is known up to where it reflects it.
    pub(super) fn replace_tree(&mut self, now: Now, out: &mut Vec<Output>) {
        let Some(position) = self.transfers.staged_position().filter(|_| self.healing.is_wrong) else { return };
        let applied = self.ensemble.applied_position().index;
        if position.index < applied {
            self.transfers.drop_staged();
            self.healing.asked_at = None;
            return;
        }
        if self.healing.deferred.back().map_or(applied, |last| last.position.index) < position.index {
            return;
        }
        let Some((tree, _)) = self.transfers.take_staged(position) else { return };
        let deferred: Vec<Committed> = std::mem::take(&mut self.healing).deferred.into();
        let (skipped, later): (Vec<_>, Vec<_>) =
            deferred.into_iter().partition(|committed| committed.position.index <= position.index);
        for committed in skipped {
            self.skip(committed, now);
        }
        self.take_tree(tree);
        self.ensemble.applied(position);
        self.stored_index = position.index;
        let membership = Some(Box::new(self.whole_membership()));
        let applied = Some(position.index);
        out.push(Output::Store(StoreWrite { takes_staged: true, applied, membership, ..Default::default() }));
        tracing::info!(index = position.index, "the tree is the majority's again");
        self.apply_all(later, now);
    }
}
