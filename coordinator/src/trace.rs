//! What became of the latest requests and of the slow ones, stage by stage, as this server saw it, in bounded memory:
//! so an operator can ask why a write was slow when it is over. Decides nothing and reads no clock.

use crate::ensemble::message::LogEntry;
use crate::tree::txn::{Txn, TxnBody};
use crate::tree::write::{Write, WriteBody};
use common::time::WallMillis;
use common::zk::OpCode;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Log entries on their way that are followed. A leader has fewer; of a server that catches up with thousands the
/// last ones are enough.
const FOLLOWED: usize = 64;
/// Acknowledgements that are kept of one request.
const ACKNOWLEDGEMENTS: usize = 6;
/// So much is kept of a path.
const PATH_BYTES: usize = 256;
/// Answers of one turn whose time is taken when they are sent; that of further ones is taken when they are made.
const UNSENT: usize = 1024;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceLimits {
    /// So many writes, as many reads and as many slow requests (`requests.count`, 256); 0 for none.
    pub count: usize,
    /// A request that takes this long, in milliseconds, is slow (`requests.slowMs`, 100).
    pub slow_ms: u64,
}

/// What can happen to a request on a server, in the order in which it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It came from the client.
    Received,
    /// It was sent to the leader, which is another server.
    Sent,
    /// This server, which leads, has it: from its own client or from another server.
    Taken,
    /// This leader has judged it, put it into its log and sent it to the others.
    Proposed,
    /// The leader's proposal came here.
    Appended,
    /// It is in this server's log on disk.
    Durable,
    /// This server knows that a majority has it.
    Committed,
    /// It is in this server's tree.
    Applied,
    /// The answer went to the client.
    Replied,
}

const STAGES: [(Stage, &str); 9] = [
    (Stage::Received, "received"),
    (Stage::Sent, "sent"),
    (Stage::Taken, "taken"),
    (Stage::Proposed, "proposed"),
    (Stage::Appended, "appended"),
    (Stage::Durable, "durable"),
    (Stage::Committed, "committed"),
    (Stage::Applied, "applied"),
    (Stage::Replied, "replied"),
];

/// When what happened, in microseconds of this server's monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
struct Trail {
    at_us: [Option<u64>; STAGES.len()],
    /// Which servers have said that it is on their disks, and when that was heard.
    acknowledged: [Option<(u64, u64)>; ACKNOWLEDGEMENTS],
}

impl Trail {
    fn at(&self, stage: Stage) -> Option<u64> {
        self.at_us[stage as usize]
    }

    /// The first time counts.
    fn reach(&mut self, stage: Stage, at_us: u64) {
        self.at_us[stage as usize].get_or_insert(at_us);
    }

    fn acknowledge(&mut self, server: u64, at_us: u64) {
        let mut slots = self.acknowledged.iter_mut();
        if let Some(slot) = slots.find(|slot| slot.is_none_or(|(known, _)| known == server)) {
            slot.get_or_insert((server, at_us));
        }
    }

    fn begun_us(&self) -> u64 {
        self.at_us.iter().flatten().min().copied().unwrap_or_default()
    }

    /// How long the request took here: until the answer, or until it was applied.
    fn total_us(&self) -> u64 {
        let end = self.at(Stage::Replied).or(self.at(Stage::Applied)).unwrap_or_default();
        end.saturating_sub(self.begun_us())
    }
}

/// A log entry on its way.
#[derive(Debug, Default)]
struct Batch {
    index: u64,
    term: u64,
    trail: Trail,
    /// As leader: when each of its requests was taken; none for what the leader does by itself.
    taken_us: Vec<Option<u64>>,
}

/// One request.
#[derive(Clone, Debug, Default)]
struct Entry {
    /// 0 for a read.
    zxid: i64,
    session: i64,
    xid: i32,
    operation: &'static str,
    path: String,
    /// Whose client asked; 0 for what the leader does by itself.
    asked_of: u64,
    /// Where it stands in the log, and the term of that entry; 0 for a read.
    index: u64,
    term: u64,
    /// How often it was sent to a leader.
    sends: u32,
    /// When it began here.
    wall: WallMillis,
    trail: Trail,
}

impl Entry {
    /// What tells it from others, however often it is looked at.
    fn key(&self) -> (i64, i64, i32, u64) {
        if self.zxid != 0 { (self.zxid, 0, 0, 0) } else { (0, self.session, self.xid, self.trail.begun_us()) }
    }

    fn set_path(&mut self, path: &str) {
        self.path.clear();
        self.path.push_str(&path[..path.floor_char_boundary(PATH_BYTES)]);
    }

    fn json(&self, slow_us: u64) -> Value {
        let begun_us = self.trail.begun_us();
        let mut stages: Vec<(u64, Value)> = Vec::new();
        for (stage, name) in STAGES {
            // What others say stands before what comes of it.
            if stage == Stage::Committed {
                for (server, at_us) in self.trail.acknowledged.iter().flatten() {
                    let us = at_us.saturating_sub(begun_us);
                    stages.push((us, json!({"stage": "acknowledged", "by": server, "us": us})));
                }
            }
            if let Some(at_us) = self.trail.at(stage) {
                let us = at_us - begun_us;
                stages.push((us, json!({"stage": name, "us": us})));
            }
        }
        stages.sort_by_key(|(us, _)| *us);
        let stages: Vec<Value> = stages.into_iter().map(|(_, stage)| stage).collect();
        let total_us = self.trail.total_us();
        json!({
            "zxid": (self.zxid != 0).then(|| format!("{:#x}", self.zxid)),
            "session": format!("{:#x}", self.session),
            "xid": self.xid,
            "operation": self.operation,
            "path": self.path,
            "asked_of": self.asked_of,
            "sends": self.sends,
            "begun_ms": self.wall.0,
            "total_us": total_us,
            "is_slow": total_us >= slow_us,
            "stages": stages,
        })
    }
}

/// The last so many. Each has a number, which counts up.
#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Entry>,
    first: u64,
}

impl Ring {
    /// The entry that is the newest from now on, to be filled: the oldest one's memory is used again.
    fn add(&mut self, limit: usize, fill: impl FnOnce(&mut Entry)) -> u64 {
        let mut entry = Entry::default();
        if self.entries.len() >= limit {
            let oldest = self.entries.pop_front().unwrap_or_default();
            self.first += 1;
            entry.path = oldest.path;
        }
        fill(&mut entry);
        self.entries.push_back(entry);
        self.first + self.entries.len() as u64 - 1
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut Entry> {
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.entries.get_mut(place)
    }

    /// A server has acknowledged the entries of this leader's log behind the first index, up to the second.
    fn acknowledge(&mut self, server: u64, term: u64, (behind, index): (u64, u64), at_us: u64) {
        for entry in self.entries.iter_mut().rev().take_while(|entry| entry.index > behind) {
            if entry.index <= index && entry.term == term && entry.trail.at(Stage::Proposed).is_some() {
                entry.trail.acknowledge(server, at_us);
            }
        }
    }
}

/// Which of the three rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Write,
    Read,
}

/// A client's request as its connection knows it.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The session.
    pub session: i64,
    /// The client's number.
    pub xid: i32,
    /// What it asks for.
    pub operation: OpCode,
    /// When it came, as [`Trace::received_us`] said then.
    pub received_us: u64,
}

/// A write of this server's client, as it went to the leader.
#[derive(Clone, Copy, Debug)]
pub struct Handed<'a> {
    /// When it was ready to go.
    pub ready_us: u64,
    /// When it was first sent to another server, if it was.
    pub sent_us: Option<u64>,
    /// How often it was.
    pub sends: u32,
    /// What is to change; none if a session moves here.
    pub write: Option<&'a Write>,
}

/// Which requests are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The write with this zxid alone, unless it is 0.
    pub zxid: i64,
    /// Those of this session alone, unless it is 0.
    pub session: i64,
    /// That with this number of the client alone, unless it is 0.
    pub xid: i32,
    /// The slowest first, not the newest.
    pub is_slowest_first: bool,
    /// So many at most.
    pub limit: usize,
}

/// What this server remembers of requests.
#[derive(Debug)]
pub struct Trace {
    server: u64,
    limits: TraceLimits,
    /// When it is.
    at_us: u64,
    wall: WallMillis,
    /// When what is served now arrived, if that was earlier.
    arrived_us: Option<u64>,
    /// Log entries on their way, in order.
    batches: VecDeque<Batch>,
    /// Numbers of disk work, each with the last index it makes durable.
    on_disk: VecDeque<(u64, u64)>,
    /// The entry that is being applied, and how many of its transactions are.
    applying: Batch,
    applied_count: usize,
    committed: u64,
    durable: u64,
    /// The last index that was applied before it was durable here.
    applied_before: u64,
    /// As leader of the term: how far each server has acknowledged.
    acknowledged: (u64, BTreeMap<u64, u64>),
    writes: Ring,
    reads: Ring,
    slow: Ring,
    /// The last index that a slow request has.
    slow_index: u64,
    /// What was applied or answered in this turn.
    unsent: Vec<(Kind, u64)>,
    /// So many of them are of the turn before.
    stamped: usize,
}

impl Trace {
    /// Remembers nothing yet.
    pub fn new(server: u64, limits: TraceLimits) -> Trace {
        Trace {
            server,
            limits,
            at_us: 0,
            wall: WallMillis(0),
            arrived_us: None,
            batches: VecDeque::new(),
            on_disk: VecDeque::new(),
            applying: Batch::default(),
            applied_count: 0,
            committed: 0,
            durable: 0,
            applied_before: 0,
            acknowledged: (0, BTreeMap::new()),
            writes: Ring::default(),
            reads: Ring::default(),
            slow: Ring::default(),
            slow_index: 0,
            unsent: Vec::new(),
            stamped: 0,
        }
    }

    /// Whether anything is remembered.
    pub fn is_on(&self) -> bool {
        self.limits.count > 0
    }

    /// It is so late, in microseconds of the monotonic clock. It does not go back.
    pub fn tell_time(&mut self, at_us: u64, wall: WallMillis) {
        self.at_us = self.at_us.max(at_us);
        self.wall = wall;
    }

    /// When it is.
    pub fn now_us(&self) -> u64 {
        self.at_us
    }

    /// What is served from here on arrived then; with `None`, now.
    pub fn set_arrival(&mut self, arrived_us: Option<u64>) {
        self.arrived_us = arrived_us;
    }

    /// When the request that is served now was received.
    pub fn received_us(&self) -> u64 {
        self.arrived_us.unwrap_or(self.at_us)
    }

    /// This leader has put an entry into its log; for each of its requests, when it was taken.
    pub fn proposed(&mut self, term: u64, index: u64, taken_us: Vec<Option<u64>>) {
        if self.is_on() {
            let batch = self.follow(term, index);
            batch.taken_us = taken_us;
            let at_us = self.at_us;
            self.batches.back_mut().expect("it was just added").trail.reach(Stage::Proposed, at_us);
        }
    }

    fn follow(&mut self, term: u64, index: u64) -> &mut Batch {
        // What stood there in the log does no more.
        while self.batches.back().is_some_and(|batch| batch.index >= index) {
            self.batches.pop_back();
        }
        if self.batches.len() >= FOLLOWED {
            self.batches.pop_front();
        }
        self.batches.push_back(Batch { index, term, ..Batch::default() });
        self.batches.back_mut().expect("it was just added")
    }

    /// Entries go to this server's disk, as a part of the disk work with this number.
    pub fn appended(&mut self, number: u64, entries: &[LogEntry]) {
        let Some(last) = entries.last().filter(|_| self.is_on()) else { return };
        if self.on_disk.len() >= FOLLOWED {
            self.on_disk.pop_front();
        }
        self.on_disk.push_back((number, last.index));
        for entry in &entries[entries.len().saturating_sub(FOLLOWED)..] {
            let is_known = |batch: &Batch| (batch.index, batch.term) == (entry.index, entry.term);
            if !self.batches.iter().rev().any(is_known) {
                let at_us = self.at_us;
                self.follow(entry.term, entry.index).trail.reach(Stage::Appended, at_us);
            }
        }
    }

    /// Disk work up to this number is done.
    pub fn persisted(&mut self, number: u64) {
        let mut durable = 0;
        while let Some((_, index)) = self.on_disk.pop_front_if(|(at, _)| *at <= number) {
            durable = index;
        }
        for batch in self.batches.iter_mut().take_while(|batch| batch.index <= durable) {
            batch.trail.reach(Stage::Durable, self.at_us);
        }
        // This disk was slower than those of a majority.
        let is_behind = self.durable < self.applied_before;
        self.durable = self.durable.max(durable);
        if !is_behind {
            return;
        }
        let at_us = self.at_us;
        for ring in [&mut self.writes, &mut self.slow] {
            for entry in ring.entries.iter_mut().rev().take(FOLLOWED) {
                if entry.index != 0 && entry.index <= durable && entry.trail.at(Stage::Durable).is_none() {
                    entry.trail.reach(Stage::Durable, at_us);
                }
            }
        }
    }

    /// A server tells this leader of the term that it has the log on disk up to an index.
    pub fn acknowledged(&mut self, server: u64, term: u64, index: u64) {
        if !self.is_on() {
            return;
        }
        if self.acknowledged.0 != term {
            self.acknowledged = (term, BTreeMap::new());
        }
        let known = self.acknowledged.1.entry(server).or_default();
        let behind = *known;
        if index <= behind {
            return;
        }
        *known = index;
        for batch in self.batches.iter_mut().filter(|batch| batch.index > behind && batch.index <= index) {
            batch.trail.acknowledge(server, self.at_us);
        }
        self.writes.acknowledge(server, term, (behind, index), self.at_us);
        if self.slow_index > behind {
            self.slow.acknowledge(server, term, (behind, index), self.at_us);
        }
    }

    /// The log is committed up to this index, as far as is known here.
    pub fn committed(&mut self, index: u64) {
        if index > self.committed {
            self.committed = index;
            for batch in self.batches.iter_mut().take_while(|batch| batch.index <= index) {
                batch.trail.reach(Stage::Committed, self.at_us);
            }
        }
    }

    /// The transactions that come next are those of this entry.
    pub fn begin_entry(&mut self, term: u64, index: u64) {
        self.applying = Batch { index, term, ..Batch::default() };
        self.applied_count = 0;
        while let Some(batch) = self.batches.pop_front_if(|batch| batch.index <= index) {
            if (batch.index, batch.term) == (index, term) {
                self.applying = batch;
            }
        }
    }

    /// A transaction of that entry is applied; `handed` if this server's client waits for it.
    pub fn applied(&mut self, txn: &Txn, handed: Option<Handed<'_>>) {
        if !self.is_on() {
            return;
        }
        let (batch, at_us) = (&self.applying, self.at_us);
        let mut trail = batch.trail;
        trail.reach(Stage::Applied, at_us);
        if let Some(taken_us) = batch.taken_us.get(self.applied_count).copied().flatten() {
            trail.reach(Stage::Taken, taken_us);
        }
        self.applied_count += 1;
        if trail.at(Stage::Durable).is_none() {
            self.applied_before = batch.index;
        }
        if let Some(handed) = &handed {
            trail.reach(Stage::Received, handed.ready_us);
            if let Some(sent_us) = handed.sent_us {
                trail.reach(Stage::Sent, sent_us);
            }
        }
        let (operation, path) = match (&txn.body, handed.and_then(|handed| handed.write)) {
            (Some(TxnBody::Error(_) | TxnBody::FailedMulti(_)) | None, Some(write)) => of_write(write),
            (body, _) => of_txn(body.as_ref()),
        };
        let wall = WallMillis(self.wall.0 - i64::try_from((at_us - trail.begun_us()) / 1000).unwrap_or_default());
        let number = self.writes.add(self.limits.count, |entry| {
            entry.zxid = txn.zxid;
            (entry.session, entry.xid) = (txn.session, txn.cxid);
            entry.operation = operation;
            entry.set_path(path);
            entry.asked_of = txn.origin.map_or(0, |origin| origin.server);
            (entry.index, entry.term) = (batch.index, batch.term);
            entry.sends = handed.map_or(0, |handed| handed.sends);
            (entry.wall, entry.trail) = (wall, trail);
        });
        self.put_unsent(Kind::Write, number);
    }

    /// The answer to a write is made.
    pub fn replied(&mut self, asked: Asked) {
        let key = (asked.session, asked.xid);
        let mut known = self.writes.entries.iter_mut().enumerate().rev();
        let Some((place, entry)) = known.find(|(_, entry)| (entry.session, entry.xid) == key) else { return };
        if entry.trail.at(Stage::Replied).is_some() {
            return;
        }
        entry.operation = asked.operation.name();
        // It may have waited here before it could go to the leader.
        let earlier_us = entry.trail.begun_us().saturating_sub(asked.received_us);
        entry.wall.0 -= i64::try_from(earlier_us / 1000).unwrap_or_default();
        entry.trail.at_us[Stage::Received as usize] = Some(asked.received_us);
        entry.trail.reach(Stage::Replied, self.at_us);
        let number = self.writes.first + place as u64;
        self.put_unsent(Kind::Write, number);
    }

    /// The session that this transaction begins or moves is told to its client.
    pub fn handshake_replied(&mut self, zxid: i64) {
        let at_us = self.at_us;
        let mut known = self.writes.entries.iter_mut().rev();
        if let Some(entry) = known.find(|entry| entry.zxid == zxid) {
            entry.trail.reach(Stage::Replied, at_us);
        }
    }

    /// A read is answered.
    pub fn read(&mut self, asked: Asked, path: &str) {
        if !self.is_on() {
            return;
        }
        let mut trail = Trail::default();
        trail.reach(Stage::Received, asked.received_us);
        trail.reach(Stage::Replied, self.at_us);
        let ago_ms = i64::try_from((self.at_us - asked.received_us) / 1000).unwrap_or_default();
        let number = self.reads.add(self.limits.count, |entry| {
            (entry.session, entry.xid) = (asked.session, asked.xid);
            entry.operation = asked.operation.name();
            entry.set_path(path);
            entry.asked_of = self.server;
            (entry.wall, entry.trail) = (WallMillis(self.wall.0 - ago_ms), trail);
        });
        self.put_unsent(Kind::Read, number);
    }

    fn put_unsent(&mut self, kind: Kind, number: u64) {
        if self.unsent[self.stamped..].last() == Some(&(kind, number)) {
            return;
        }
        if self.unsent.len() >= UNSENT {
            self.sent();
        }
        self.unsent.push((kind, number));
    }

    /// The turn is over: what was answered in it goes out.
    pub fn answered(&mut self) {
        self.unsent.drain(..self.stamped);
        self.stamp();
        self.stamped = self.unsent.len();
    }

    /// What was answered in the last turn is with the clients' sockets now.
    pub fn sent(&mut self) {
        self.stamp();
        self.unsent.clear();
        self.stamped = 0;
    }

    /// The answers leave at this time; who took long is kept apart.
    fn stamp(&mut self) {
        let slow_us = self.slow_us();
        let unsent = std::mem::take(&mut self.unsent);
        for (kind, number) in &unsent {
            let ring = if *kind == Kind::Read { &mut self.reads } else { &mut self.writes };
            let Some(entry) = ring.get_mut(*number) else { continue };
            if let Some(at_us) = &mut entry.trail.at_us[Stage::Replied as usize] {
                *at_us = self.at_us;
            }
            if entry.trail.total_us() >= slow_us {
                let entry = entry.clone();
                self.keep_slow(entry);
            }
        }
        self.unsent = unsent;
    }

    fn slow_us(&self) -> u64 {
        self.limits.slow_ms.saturating_mul(1000)
    }

    fn keep_slow(&mut self, slow: Entry) {
        self.slow_index = self.slow_index.max(slow.index);
        // It may have been slow before it was sent, or answered.
        let key = slow.key();
        if let Some(known) = self.slow.entries.iter_mut().rev().find(|known| known.key() == key) {
            *known = slow;
            return;
        }
        self.slow.add(self.limits.count, |entry| *entry = slow);
    }

    /// The requests that are wanted, and from what time on they are slow.
    pub fn json(&self, wanted: &Wanted) -> Map<String, Value> {
        let is_wanted = |entry: &&Entry| {
            (wanted.zxid == 0 || entry.zxid == wanted.zxid)
                && (wanted.session == 0 || entry.session == wanted.session)
                && (wanted.xid == 0 || entry.xid == wanted.xid)
        };
        let mut seen = BTreeSet::new();
        // The newest of a ring has seen most.
        let all = [&self.slow, &self.writes, &self.reads].into_iter().flat_map(|ring| ring.entries.iter().rev());
        let mut found: Vec<&Entry> = all.filter(is_wanted).filter(|entry| seen.insert(entry.key())).collect();
        if wanted.is_slowest_first {
            found.sort_by_key(|entry| std::cmp::Reverse(entry.trail.total_us()));
        } else {
            found.sort_by_key(|entry| std::cmp::Reverse((entry.trail.begun_us(), entry.zxid)));
        }
        let slow_us = self.slow_us();
        let requests: Vec<Value> = found.iter().take(wanted.limit).map(|entry| entry.json(slow_us)).collect();
        let mut map = Map::new();
        map.insert("server".to_owned(), json!(self.server));
        map.insert("slow_ms".to_owned(), json!(self.limits.slow_ms));
        map.insert("count".to_owned(), json!(self.limits.count));
        map.insert("requests".to_owned(), json!(requests));
        map
    }
}

/// What a transaction does, in the words of the operation that asks for it, and where.
fn of_txn(body: Option<&TxnBody>) -> (&'static str, &str) {
    match body {
        None => ("moveSession", ""),
        Some(TxnBody::CreateSession(_)) => (OpCode::CreateSession.name(), ""),
        Some(TxnBody::CloseSession(_)) => (OpCode::CloseSession.name(), ""),
        Some(TxnBody::Create(create)) => (OpCode::Create.name(), &create.path),
        Some(TxnBody::Delete(delete)) => (OpCode::Delete.name(), &delete.path),
        Some(TxnBody::SetData(set)) => (OpCode::SetData.name(), &set.path),
        Some(TxnBody::SetAcl(set)) => (OpCode::SetAcl.name(), &set.path),
        Some(TxnBody::Check(check)) => (OpCode::Check.name(), &check.path),
        Some(TxnBody::Multi(multi)) => {
            (OpCode::Multi.name(), multi.steps.first().map_or("", |step| of_txn(step.body.as_ref()).1))
        }
        Some(TxnBody::FailedMulti(_)) => (OpCode::Multi.name(), ""),
        Some(TxnBody::Error(_)) => ("refused", ""),
        Some(TxnBody::Restore(_)) => ("restore", "/"),
    }
}

/// The same of what a client asks for.
fn of_write(write: &Write) -> (&'static str, &str) {
    match &write.body {
        None => ("refused", ""),
        Some(WriteBody::CreateSession(_)) => (OpCode::CreateSession.name(), ""),
        Some(WriteBody::CloseSession(_)) => (OpCode::CloseSession.name(), ""),
        Some(WriteBody::Create(create)) => (OpCode::Create.name(), &create.path),
        Some(WriteBody::CreateIfNotExists(create)) => (OpCode::CreateIfNotExists.name(), &create.path),
        Some(WriteBody::Delete(delete) | WriteBody::DeleteContainer(delete)) => (OpCode::Delete.name(), &delete.path),
        Some(WriteBody::TryRemove(delete)) => (OpCode::TryRemove.name(), &delete.path),
        Some(WriteBody::RemoveRecursive(remove)) => (OpCode::RemoveRecursive.name(), &remove.path),
        Some(WriteBody::SetData(set)) => (OpCode::SetData.name(), &set.path),
        Some(WriteBody::SetAcl(set)) => (OpCode::SetAcl.name(), &set.path),
        Some(WriteBody::Check(check)) => (OpCode::Check.name(), &check.path),
        Some(WriteBody::CheckNotExists(check)) => (OpCode::CheckNotExists.name(), &check.path),
        Some(WriteBody::CheckStat(check)) => (OpCode::CheckStat.name(), &check.path),
        Some(WriteBody::Multi(multi)) => {
            (OpCode::Multi.name(), multi.writes.first().map_or("", |write| of_write(write).1))
        }
        Some(WriteBody::Reconfig(_) | WriteBody::Config(_)) => (OpCode::Reconfig.name(), ""),
        Some(WriteBody::Restore(_)) => ("restore", "/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::txn::{Origin, SetData};

    fn trace(count: usize) -> Trace {
        Trace::new(2, TraceLimits { count, slow_ms: 1 })
    }

    fn set(zxid: i64, path: &str) -> Txn {
        let body = Some(TxnBody::SetData(SetData { path: path.to_owned(), data: None, version: 1 }));
        let origin = Some(Origin { server: 2, request: 1 });
        Txn { zxid, time: 0, origin, session: 9, cxid: i32::try_from(zxid).unwrap(), body }
    }

    fn asked(xid: i32, received_us: u64) -> Asked {
        Asked { session: 9, xid, operation: OpCode::SetData, received_us }
    }

    fn at(trace: &mut Trace, us: u64) {
        trace.tell_time(us, WallMillis(1_000_000 + us.cast_signed() / 1000));
    }

    /// A write of this server's client, from receipt to answer.
    fn write(trace: &mut Trace, zxid: i64, from_us: u64, until_us: u64) {
        at(trace, from_us);
        let index = u64::try_from(zxid).unwrap();
        trace.appended(index, &[LogEntry { index, term: 1, ..LogEntry::default() }]);
        at(trace, until_us);
        trace.persisted(index);
        trace.committed(index);
        trace.begin_entry(1, index);
        trace.applied(&set(zxid, "/a"), Some(Handed { ready_us: from_us, sent_us: None, sends: 0, write: None }));
        trace.replied(asked(i32::try_from(zxid).unwrap(), from_us));
        trace.sent();
    }

    fn found(trace: &Trace, wanted: Wanted) -> Vec<String> {
        let map = trace.json(&wanted);
        let stage = |stage: &Value| {
            let by = stage["by"].as_u64().map_or(String::new(), |by| format!("({by})"));
            format!("{}{by}={}", stage["stage"].as_str().unwrap(), stage["us"])
        };
        let one = |entry: &Value| {
            let stages: Vec<String> = entry["stages"].as_array().unwrap().iter().map(stage).collect();
            let name = entry["zxid"].as_str().unwrap_or("read");
            format!("{name} {} {}", entry["path"].as_str().unwrap(), stages.join(" "))
        };
        map["requests"].as_array().unwrap().iter().map(one).collect()
    }

    const ALL: Wanted = Wanted { zxid: 0, session: 0, xid: 0, is_slowest_first: false, limit: 1000 };

    #[test]
    fn a_leader_knows_who_acknowledged_when_also_later() {
        let mut trace = trace(4);
        at(&mut trace, 100);
        trace.proposed(3, 7, vec![Some(90)]);
        trace.appended(1, &[LogEntry { index: 7, term: 3, ..LogEntry::default() }]);
        at(&mut trace, 150);
        trace.acknowledged(1, 3, 7);
        trace.acknowledged(3, 3, 6);
        at(&mut trace, 160);
        trace.persisted(1);
        trace.committed(7);
        trace.begin_entry(3, 7);
        trace.applied(&set(5, "/a"), None);
        at(&mut trace, 400);
        trace.acknowledged(1, 3, 8);
        trace.acknowledged(3, 3, 8);
        let expected =
            "0x5 /a taken=0 proposed=10 acknowledged(1)=60 durable=70 committed=70 applied=70 acknowledged(3)=310";
        assert_eq!(found(&trace, ALL), [expected]);
    }

    #[test]
    fn a_slow_disk_is_told_though_a_majority_was_quicker() {
        let mut trace = trace(4);
        trace.proposed(1, 7, Vec::new());
        trace.appended(1, &[LogEntry { index: 7, term: 1, ..LogEntry::default() }]);
        at(&mut trace, 50);
        trace.committed(7);
        trace.begin_entry(1, 7);
        trace.applied(&set(5, "/a"), None);
        at(&mut trace, 900);
        trace.persisted(1);
        assert_eq!(found(&trace, ALL), ["0x5 /a proposed=0 committed=50 applied=50 durable=900"]);
    }

    #[test]
    fn what_another_leader_put_into_its_place_is_not_taken_for_it() {
        let mut trace = trace(4);
        let entry = |index, term| LogEntry { index, term, ..LogEntry::default() };
        trace.appended(1, &[entry(7, 1), entry(8, 1)]);
        at(&mut trace, 30);
        trace.appended(2, &[entry(7, 2)]);
        at(&mut trace, 40);
        trace.persisted(2);
        trace.begin_entry(2, 7);
        trace.applied(&set(5, "/a"), None);
        trace.begin_entry(2, 8);
        trace.applied(&set(6, "/b"), None);
        assert_eq!(found(&trace, ALL), ["0x6 /b applied=0", "0x5 /a appended=0 durable=10 applied=10"]);
    }

    #[test]
    fn the_latest_and_the_slow_ones_are_kept_and_no_more() {
        let mut trace = trace(3);
        write(&mut trace, 1, 1_000, 6_000);
        for zxid in 2..200i64 {
            let from_us = 10_000 * zxid.cast_unsigned();
            write(&mut trace, zxid, from_us, from_us + 10);
            at(&mut trace, from_us + 20);
            trace.read(Asked { operation: OpCode::GetData, ..asked(7, from_us + 15) }, "/read");
            trace.sent();
        }
        write(&mut trace, 200, 2_000_000, 2_002_000);
        let names = |wanted| -> Vec<String> {
            found(&trace, wanted).iter().map(|text| text.split(' ').next().unwrap().to_owned()).collect()
        };
        assert_eq!(names(ALL), ["0xc8", "read", "0xc7", "read", "0xc6", "read", "0x1"]);
        assert_eq!(names(Wanted { is_slowest_first: true, limit: 3, ..ALL }), ["0x1", "0xc8", "0xc7"]);
        assert_eq!(names(Wanted { zxid: 1, ..ALL }), ["0x1"]);
        assert_eq!(names(Wanted { session: 9, xid: 7, ..ALL }), ["read", "read", "read"]);
        let slow = &trace.json(&Wanted { zxid: 1, ..ALL })["requests"][0];
        assert_eq!((slow["begun_ms"].as_i64(), slow["total_us"].as_u64()), (Some(1_000_001), Some(5_000)));
        assert_eq!((&slow["is_slow"], &slow["asked_of"]), (&json!(true), &json!(2)));
        assert_eq!((trace.writes.entries.len(), trace.reads.entries.len(), trace.slow.entries.len()), (3, 3, 2));
        assert!(trace.batches.is_empty() && trace.on_disk.is_empty() && trace.unsent.is_empty());
    }

    #[test]
    fn nothing_grows_with_what_does_not_end() {
        let mut trace = trace(2);
        for index in 1..10_000 {
            trace.appended(index, &[LogEntry { index, term: 1, ..LogEntry::default() }]);
            trace.read(asked(1, 0), &"\u{e4}".repeat(1000));
        }
        assert!(trace.batches.len() <= FOLLOWED && trace.on_disk.len() <= FOLLOWED && trace.unsent.len() <= UNSENT);
        assert!(trace.reads.entries.iter().all(|entry| entry.path.len() <= PATH_BYTES));
        let mut off = super::Trace::new(1, TraceLimits { count: 0, slow_ms: 0 });
        write(&mut off, 1, 0, 5);
        off.read(asked(1, 0), "/a");
        off.proposed(1, 1, Vec::new());
        assert_eq!(found(&off, ALL), [""; 0]);
    }
}
