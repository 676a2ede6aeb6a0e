//! What a node tells of itself: the figures and lists of the four-letter words and of the admin server. Changes nothing
//! but what is there to be reset.

use super::Node;
use super::clients::SILENT_HANDSHAKE_MS;
use crate::admin::{self, AdminReply, AdminRequest};
use crate::four_letter::{self, ClientStatus, Facts, Lists, Report, Shown, Status, Watching};
use crate::metrics::Metrics;
use crate::tree::acl;
use crate::tree::watch::ConnectionId;
use common::time::{Millis, Now, WallMillis};
use std::collections::VecDeque;
use std::net::IpAddr;

/// From one snapshot, or tree to restore, that is asked for to the next, if `admin.rateLimiterIntervalInMS` is not set. ZooKeeper 3.9 takes
/// that setting, of 300,000 by default, for microseconds here: 300 ms.
const SNAPSHOT_OR_RESTORE_INTERVAL_US: u64 = 300_000;

/// `ZooTrace`'s mask at start.
const TRACE_MASK: i64 = 306;

/// How this server stands in the ensemble, over time.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// Log index and time of proposals that are not applied yet, as leader.
    proposed: VecDeque<(u64, Millis)>,
    has_leader: bool,
    since: Option<Millis>,
    proposal_sizes: (i64, i64, i64),
    trace_mask: i64,
}

impl Default for Standing {
    fn default() -> Standing {
        Standing {
            proposed: VecDeque::new(),
            has_leader: false,
            since: None,
            proposal_sizes: (-1, -1, -1),
            trace_mask: TRACE_MASK,
        }
    }
}

impl Standing {
    /// A leader was found or lost.
    pub(super) fn leader_changed(&mut self, has_leader: bool, metrics: &mut Metrics, now: Now) {
        if !has_leader && (self.has_leader || self.since.is_none()) {
            metrics.lookings += 1;
        }
        if has_leader
            && !self.has_leader
            && let Some(since) = self.since
        {
            metrics.unavailable_time.add(now.mono - since);
        }
        if has_leader != self.has_leader || self.since.is_none() {
            self.since = Some(now.mono);
        }
        self.proposed.clear();
        self.has_leader = has_leader;
    }

    /// Everything up to this index is applied.
    pub(super) fn applied(&mut self, index: u64, metrics: &mut Metrics, now: Now) {
        while let Some((_, since)) = self.proposed.pop_front_if(|(proposed, _)| *proposed <= index) {
            metrics.proposal_latency.add(now.mono - since);
        }
    }

    /// A proposal of this size was made.
    pub(super) fn proposed(&mut self, index: u64, size: usize, now: Now) {
        self.proposed.push_back((index, now.mono));
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let (_, least, greatest) = self.proposal_sizes;
        self.proposal_sizes = (size, if least < 0 { size } else { least.min(size) }, greatest.max(size));
    }
}

impl Node {
    /// What the process tells of itself, for the answers that follow.
    pub fn set_facts(&mut self, facts: Facts) {
        self.facts = facts;
    }

    /// What is counted, for whoever measures outside of the node.
    pub fn metrics_mut(&mut self) -> &mut Metrics {
        &mut self.clients.metrics
    }

    /// The answer to a four-letter word.
    pub(super) fn answer_word(&mut self, word: &str, argument: Option<i64>, asking: ConnectionId, now: Now) -> String {
        if !self.config.allows_word(word) {
            return four_letter::refusal(word);
        }
        match (word, argument) {
            ("stmk", Some(mask)) => self.standing.trace_mask = mask,
            ("crst", _) => self.clients.reset_counters(),
            ("srst", _) => self.reset_stats(),
            _ => {}
        }
        let status = self.status(Some(asking), now);
        let lists = self.lists(four_letter::shown_lists(word), now);
        four_letter::answer(word, self.report(&status, &lists))
    }

    /// The answer to a command of the admin server.
    pub fn admin(&mut self, request: &AdminRequest, now: Now) -> AdminReply {
        let is_serving = self.clients.is_serving() || self.clients.is_read_only();
        if let AdminRequest::Snapshot { authorization, remote } = request
            && is_serving
        {
            let refused = self.refuse_stranger("snapshot", authorization.as_deref(), *remote);
            if let Some(refused) = refused.or_else(|| self.refuse_haste("snapshot", self.snapshot_at, now.mono)) {
                return refused;
            }
            self.snapshot_at = Some(now.mono);
            // All that is applied is to be in it.
            let mut writes = Vec::new();
            self.store_tree(now.mono, &mut writes);
            self.unsent.append(&mut writes);
        }
        if let AdminRequest::Restore { authorization, remote, snapshot } = request
            && is_serving
        {
            return self.begin_restore(authorization.as_deref(), *remote, snapshot.clone(), now.mono);
        }
        match admin::effect(request) {
            Some(admin::Effect::ResetConnections) => self.clients.reset_counters(),
            Some(admin::Effect::ResetStats) => self.reset_stats(),
            Some(admin::Effect::SetTraceMask(mask)) => self.standing.trace_mask = mask,
            None => {}
        }
        let status = self.status(None, now);
        let lists = self.lists(admin::shown_lists(request), now);
        let standing = admin::Standing {
            leader: self.ensemble.leader(),
            term: self.ensemble.term(),
            is_serving: self.clients.is_serving(),
        };
        admin::answer(request, self.report(&status, &lists), standing)
    }

    /// Lets the leader put another tree in the place of the ensemble's. [`Node::take_restored`] says when it is done.
    fn begin_restore(
        &mut self,
        authorization: Option<&str>,
        remote: IpAddr,
        snapshot: Option<bytes::Bytes>,
        now: Millis,
    ) -> AdminReply {
        const COMMAND: &str = "restore";
        if let Some(refused) = self.refuse_stranger(COMMAND, authorization, remote) {
            return refused;
        }
        let leader = self.ensemble.leader().unwrap_or_default();
        if self.lead.is_none() || !self.ensemble.may_propose() {
            return admin::refused(
                COMMAND,
                503,
                Some(&format!("Server {leader} leads the ensemble: restore is asked of it")),
            );
        }
        if let Some(refused) = self.refuse_haste(COMMAND, self.restore_at, now) {
            return refused;
        }
        if let (Some(snapshot), Some(lead)) = (snapshot, &mut self.lead) {
            self.restore_at = Some(now);
            lead.push_restore(snapshot);
        }
        AdminReply { status: 200, body: admin::AdminBody::Restoring }
    }

    /// What became of the trees that were to be restored: an answer to each request that gave one and was let in, in the
    /// order of the requests.
    pub fn take_restored(&mut self) -> Vec<AdminReply> {
        std::mem::take(&mut self.restored)
    }

    /// The lead is over: whoever waits for a tree to be restored cannot be told here whether it will be.
    pub(super) fn end_restores(&mut self) {
        let waiting = self.lead.as_mut().map_or(0, |lead| std::mem::take(&mut lead.restores_waiting));
        let error = "this server leads no longer, and it is not known whether the ensemble has taken the tree";
        let answers = std::iter::repeat_with(|| admin::refused("restore", 503, Some(error)));
        self.restored.extend(answers.take(waiting));
    }

    /// As ZooKeeper: who shows to be somebody, and may do everything with the root, may have the tree or give another.
    fn refuse_stranger(
        &self,
        command: &'static str,
        authorization: Option<&str>,
        remote: IpAddr,
    ) -> Option<AdminReply> {
        let Some(authorization) = authorization else {
            return Some(admin::refused(command, 401, Some("Auth info is missing for the command")));
        };
        let settings = &self.settings.connection.acl;
        let ids = match authorization.trim_end_matches(' ').split(' ').collect::<Vec<_>>()[..] {
            ["digest", proof] => acl::authenticate(settings, remote, "digest", proof.as_bytes()),
            ["ip"] | ["ip", _] => acl::authenticate(settings, remote, "ip", b""),
            _ => Vec::new(),
        };
        if ids.is_empty() {
            return Some(admin::refused(command, 401, Some("Not authenticated")));
        }
        let root = self.tree.node("/").expect("the root is always there");
        let permits = |perms| acl::permits(settings, self.tree.acl(root), perms, &ids);
        if ![acl::READ, acl::WRITE, acl::CREATE, acl::DELETE, acl::ADMIN].into_iter().all(permits) {
            return Some(admin::refused(command, 403, Some("Not authorized")));
        }
        let is_off = self.config.properties.get(&format!("admin.{command}.enabled"));
        let is_off = is_off.is_some_and(|value| value.trim() == "false");
        let error = if command == "snapshot" { "Snapshot command is disabled" } else { "Restore command is disabled" };
        is_off.then(|| admin::refused(command, 503, Some(error)))
    }

    /// Now and then, not more often.
    fn refuse_haste(&self, command: &'static str, last: Option<Millis>, now: Millis) -> Option<AdminReply> {
        let is_early = last.is_some_and(|last| now - last <= interval_ms(&self.config));
        is_early.then(|| admin::refused(command, 429, None))
    }

    fn report<'a>(&'a self, status: &'a Status, lists: &'a Lists) -> Report<'a> {
        let (metrics, trace) = (&self.clients.metrics, &self.clients.trace);
        Report { config: &self.config, status, metrics, facts: &self.facts, lists, trace }
    }

    fn reset_stats(&mut self) {
        self.clients.metrics.reset();
        self.standing.proposal_sizes = (-1, -1, -1);
    }

    fn status(&self, asking: Option<ConnectionId>, now: Now) -> Status {
        let mode = match self.ensemble.leader().filter(|_| self.clients.is_serving()) {
            None => None,
            Some(_) if self.config.is_standalone() => Some("standalone"),
            Some(leader) if leader == self.id => Some("leader"),
            Some(_) if self.observes() => Some("observer"),
            Some(_) => Some("follower"),
        };
        let clients = self.clients.connections.iter().map(|(id, client)| ClientStatus {
            remote: client.remote,
            is_asking: asking == Some(*id),
            is_secure: client.connection.is_secure(),
            outstanding: client.connection.outstanding_count() as u64,
            session: client.connection.session(),
            timeout_ms: client.connection.timeout_ms(),
            counters: client.connection.counters(),
        });
        Status {
            mode,
            is_read_only: self.clients.is_read_only(),
            zxid: self.tree.zxid(),
            nodes_count: self.tree.nodes_count(),
            watches_count: self.clients.watches.count(),
            watches_summary: self.clients.watches.data_summary(),
            ephemerals_count: self.tree.ephemerals_count(),
            data_bytes: self.tree.data_size_bytes(),
            sessions_count: self.tree.sessions().count(),
            local_sessions_count: self.clients.local.len(),
            uptime_ms: now.mono - self.started_at,
            leader_uptime_ms: self.standing.since.filter(|_| self.lead.is_some()).map(|since| now.mono - since),
            followers: self.ensemble.followers(),
            synced_observers: 0,
            quorum_size: self.participants_count(),
            proposal_sizes: self.standing.proposal_sizes,
            clients: clients.collect(),
            trace_mask: self.standing.trace_mask,
        }
    }

    /// The lists that an answer shows, and no others.
    fn lists(&self, shown: Shown<'_>, now: Now) -> Lists {
        let session =
            |id: ConnectionId| self.clients.connections.get(&id).map_or(0, |client| client.connection.session());
        let watches = &self.clients.watches;
        let mut lists = Lists::default();
        match shown {
            Shown::Nothing => {}
            Shown::Sessions => self.list_sessions(&mut lists, now),
            Shown::Digests => lists.digests = self.clients.digests.iter().copied().collect(),
            Shown::WatchesBySession => {
                let each = watches.by_connection();
                lists.watches = each.map(|(id, paths)| (session(id), paths.map(str::to_owned).collect())).collect();
            }
            Shown::WatchesByPath => {
                let each = watches.by_path();
                lists.watchers = each.map(|(path, ids)| (path.to_owned(), ids.map(session).collect())).collect();
            }
            Shown::Watchers { path, limit } => {
                let mut each = watches.each(path);
                lists.watching = each
                    .by_ref()
                    .take(limit)
                    .map(|watcher| Watching {
                        path: watcher.path.to_owned(),
                        of_children: watcher.of_children,
                        mode: match (watcher.is_recursive, watcher.is_one_shot) {
                            (true, _) => "recursive",
                            (false, true) => "once",
                            (false, false) => "persistent",
                        },
                        session: session(watcher.connection),
                        remote: self.clients.connections.get(&watcher.connection).map(|client| client.remote),
                        since: watcher.since,
                    })
                    .collect();
                lists.not_shown = each.count();
            }
        }
        lists
    }

    fn list_sessions(&self, lists: &mut Lists, now: Now) {
        let wall = |at: Millis| WallMillis(now.wall.0 + (at - now.mono).cast_signed() - (now.mono - at).cast_signed());
        for client in self.clients.connections.values() {
            let timeout_ms = match u64::try_from(client.connection.timeout_ms()) {
                Ok(0) | Err(_) => SILENT_HANDSHAKE_MS,
                Ok(timeout_ms) => timeout_ms,
            };
            let at = wall(client.last_heard + timeout_ms);
            lists.connections.entry(at).or_default().push((client.remote, client.connection.session()));
        }
        lists.expiring = self.lead.as_ref().map(|lead| {
            lead.expiry.buckets().map(|(at, sessions)| (wall(at), sessions.iter().copied().collect())).collect()
        });
        lists.sessions = self.tree.sessions().map(|(id, session)| (id, session.timeout_ms)).collect();
        let owners = self.tree.ephemeral_owners();
        lists.ephemerals = owners.map(|(session, paths)| (session, paths.map(str::to_owned).collect())).collect();
    }
}

fn interval_ms(config: &crate::config::Config) -> u64 {
    let setting = config.properties.get("admin.rateLimiterIntervalInMS");
    setting.and_then(|value| value.trim().parse().ok()).unwrap_or(SNAPSHOT_OR_RESTORE_INTERVAL_US) / 1000
}
