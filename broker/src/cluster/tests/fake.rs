//! A ZooKeeper for tests: paths, versions, ephemerals, sequences, one-shot watches and multi, in one map. No quorum, no
//! sessions that expire by themselves, no access lists.

use bytes::Bytes;
use common::zk::{CreateMode, EventType, KeeperState, Request, Response, Stat, WatcherEvent, ZkError};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, Default)]
struct Node {
    data: Option<Bytes>,
    stat: Stat,
    next_sequence: u32,
}

/// See the file's first line.
#[derive(Debug, Default)]
pub(crate) struct FakeZk {
    nodes: BTreeMap<String, Node>,
    zxid: i64,
    sessions: i64,
    data_watches: BTreeMap<String, BTreeSet<i64>>,
    child_watches: BTreeMap<String, BTreeSet<i64>>,
    /// Answers until one is lost.
    lose_after: Option<u32>,
    refuses_writes: bool,
    unreadable: BTreeSet<String>,
}

type Events = Vec<(i64, WatcherEvent)>;

impl FakeZk {
    pub(crate) fn open(&mut self) -> i64 {
        self.sessions += 1;
        self.sessions
    }

    /// The next answer but `count` is lost, though the request is carried out.
    pub(super) fn lose_answer_after(&mut self, count: u32) {
        self.lose_after = Some(count);
    }

    /// From now on no multi is permitted, as with access lists of another.
    pub(super) fn refuse_writes(&mut self, refuse: bool) {
        self.refuses_writes = refuse;
    }

    /// From now on nobody may read this node, nor list what is below it.
    pub(super) fn refuse_reads(&mut self, path: &str) {
        self.unreadable.insert(path.to_owned());
    }

    pub(super) fn close(&mut self, session: i64) -> Events {
        let owned = |node: &Node| node.stat.ephemeral_owner == session;
        let paths: Vec<String> =
            self.nodes.iter().filter(|(_, node)| owned(node)).map(|(path, _)| path.clone()).collect();
        for watches in self.data_watches.values_mut().chain(self.child_watches.values_mut()) {
            watches.remove(&session);
        }
        let mut events = Vec::new();
        for path in paths {
            self.zxid += 1;
            self.remove(&path, &mut events);
        }
        events
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.nodes.contains_key(path)
    }

    pub(super) fn data(&self, path: &str) -> Option<&Bytes> {
        self.nodes.get(path)?.data.as_ref()
    }

    pub(super) fn force_set(&mut self, path: &str, data: &[u8]) -> Events {
        let request = Request::SetData { path: path.into(), data: Some(Bytes::copy_from_slice(data)), version: -1 };
        self.apply(0, request, 0).1
    }

    pub(super) fn force_delete(&mut self, path: &str) -> Events {
        self.apply(0, Request::Delete { path: path.into(), version: -1 }, 0).1
    }

    pub(super) fn force_create(&mut self, path: &str, data: &[u8]) -> Events {
        let create = common::zk::CreateRequest::new(path, data.to_vec(), Vec::new(), CreateMode::Persistent);
        self.apply(0, Request::Create(create), 0).1
    }

    /// Carries a request out: its answer, and the watches that fire before it.
    pub(crate) fn apply(&mut self, session: i64, request: Request, time: i64) -> (Result<Response, ZkError>, Events) {
        let mut events = Vec::new();
        let result = match request {
            Request::GetData { path, .. } | Request::GetChildren2 { path, .. } if self.unreadable.contains(&path) => {
                Err(ZkError::NoAuth)
            }
            Request::Multi(ops) if self.refuses_writes => {
                let outcome = |index| Err(if index == 1 { ZkError::NoAuth } else { ZkError::Ok });
                Ok(Response::Multi((0..ops.len()).map(outcome).collect()))
            }
            Request::Multi(ops) => self.multi(session, ops, time, &mut events),
            single => self.single(session, single, time, &mut events),
        };
        if let Some(left) = &mut self.lose_after {
            if *left == 0 {
                self.lose_after = None;
                return (Err(ZkError::ConnectionLoss), events);
            }
            *left -= 1;
        }
        (result, events)
    }

    fn multi(&mut self, session: i64, ops: Vec<Request>, time: i64, events: &mut Events) -> Result<Response, ZkError> {
        let before = (self.nodes.clone(), self.zxid, self.data_watches.clone(), self.child_watches.clone());
        let count = ops.len();
        let mut results = Vec::new();
        let mut fired = Vec::new();
        for (at, op) in ops.into_iter().enumerate() {
            match self.single(session, op, time, &mut fired) {
                Ok(response) => results.push(Ok(response)),
                Err(error) => {
                    (self.nodes, self.zxid, self.data_watches, self.child_watches) = before;
                    let outcome = |index: usize| match index.cmp(&at) {
                        std::cmp::Ordering::Less => ZkError::Ok,
                        std::cmp::Ordering::Equal => error,
                        std::cmp::Ordering::Greater => ZkError::RuntimeInconsistency,
                    };
                    return Ok(Response::Multi((0..count).map(|index| Err(outcome(index))).collect()));
                }
            }
        }
        events.extend(fired);
        Ok(Response::Multi(results))
    }

    fn single(&mut self, session: i64, request: Request, time: i64, events: &mut Events) -> Result<Response, ZkError> {
        match request {
            Request::Create(create) => self.create(session, create, time, events),
            Request::Delete { path, version } => {
                let node = self.nodes.get(&path).ok_or(ZkError::NoNode)?;
                if version != -1 && version != node.stat.version {
                    return Err(ZkError::BadVersion);
                }
                if self.children(&path).next().is_some() {
                    return Err(ZkError::NotEmpty);
                }
                self.zxid += 1;
                self.remove(&path, events);
                Ok(Response::Delete)
            }
            Request::SetData { path, data, version } => {
                let node = self.nodes.get_mut(&path).ok_or(ZkError::NoNode)?;
                if version != -1 && version != node.stat.version {
                    return Err(ZkError::BadVersion);
                }
                self.zxid += 1;
                node.data = data;
                node.stat.version += 1;
                node.stat.mzxid = self.zxid;
                let stat = node.stat;
                fire(&mut self.data_watches, &path, EventType::NodeDataChanged, events);
                Ok(Response::SetData { stat })
            }
            Request::Check { path, version } => match self.nodes.get(&path) {
                None => Err(ZkError::NoNode),
                Some(node) if version != -1 && version != node.stat.version => Err(ZkError::BadVersion),
                Some(_) => Ok(Response::Check),
            },
            Request::Exists { path, watch } => {
                if watch {
                    self.data_watches.entry(path.clone()).or_default().insert(session);
                }
                self.nodes.get(&path).map(|node| Response::Exists { stat: node.stat }).ok_or(ZkError::NoNode)
            }
            Request::GetData { path, watch } => {
                let node = self.nodes.get(&path).ok_or(ZkError::NoNode)?;
                if watch {
                    self.data_watches.entry(path.clone()).or_default().insert(session);
                }
                Ok(Response::GetData { data: node.data.clone(), stat: node.stat })
            }
            Request::GetChildren2 { path, watch } => {
                let stat = self.nodes.get(&path).ok_or(ZkError::NoNode)?.stat;
                if watch {
                    self.child_watches.entry(path.clone()).or_default().insert(session);
                }
                let children = self.children(&path).map(|child| child[path.len() + 1..].to_owned()).collect();
                Ok(Response::GetChildren2 { children, stat })
            }
            other => panic!("not asked by a broker: {other:?}"),
        }
    }

    fn create(
        &mut self,
        session: i64,
        create: common::zk::CreateRequest,
        time: i64,
        events: &mut Events,
    ) -> Result<Response, ZkError> {
        let mode = create.mode().unwrap();
        let mut path = create.path;
        let parent = path.rsplit_once('/').unwrap().0.to_owned();
        if !parent.is_empty() && !self.nodes.contains_key(&parent) {
            return Err(ZkError::NoNode);
        }
        if mode.is_sequential() {
            let node = self.nodes.get_mut(&parent).unwrap();
            path = format!("{path}{:010}", node.next_sequence);
            node.next_sequence += 1;
        }
        if self.nodes.contains_key(&path) {
            return Err(ZkError::NodeExists);
        }
        self.zxid += 1;
        let ephemeral_owner = if mode.is_ephemeral() { session } else { 0 };
        let stat =
            Stat { czxid: self.zxid, mzxid: self.zxid, ctime: time, mtime: time, ephemeral_owner, ..Stat::default() };
        self.nodes.insert(path.clone(), Node { data: create.data, stat, next_sequence: 0 });
        fire(&mut self.data_watches, &path, EventType::NodeCreated, events);
        fire(&mut self.child_watches, &parent, EventType::NodeChildrenChanged, events);
        Ok(Response::Create { path })
    }

    fn remove(&mut self, path: &str, events: &mut Events) {
        self.nodes.remove(path);
        let parent = path.rsplit_once('/').unwrap().0;
        fire(&mut self.data_watches, path, EventType::NodeDeleted, events);
        fire(&mut self.child_watches, path, EventType::NodeDeleted, events);
        fire(&mut self.child_watches, parent, EventType::NodeChildrenChanged, events);
    }

    fn children<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a str> {
        let below = format!("{path}/");
        let depth = below.len();
        self.nodes
            .range(below.clone()..)
            .map(|(child, _)| child.as_str())
            .take_while(move |child| child.starts_with(&below))
            .filter(move |child| !child[depth..].contains('/'))
    }
}

fn fire(watches: &mut BTreeMap<String, BTreeSet<i64>>, path: &str, kind: EventType, events: &mut Events) {
    for session in watches.remove(path).unwrap_or_default() {
        events.push((session, WatcherEvent { kind, state: KeeperState::SyncConnected, path: path.to_owned() }));
    }
}
