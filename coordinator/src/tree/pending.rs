//! What the leader checks a request against: the committed tree plus everything that is prepared and not yet applied.
//! It decides, and remembers what it decided; it never changes the tree.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::acl::{self, Acl, AclList, AclSettings, AuthId};
use super::txn::{Check, Create, Delete, FailedMulti, Multi, Refusal, SetAcl, SetData, Step, TxnBody};
use super::write::{
    CheckStatWrite, CreateOp, CreateWrite, DeleteWrite, MultiWrite, RemoveRecursiveWrite, SetAclWrite, SetDataWrite,
    Write, WriteBody,
};
use super::{CONFIG_PATH, Kind, LONGEST_TTL_MS, QUOTA_PATH, Stat, Tree, split};

/// What the configuration says about changes.
#[derive(Clone, Debug, Default)]
pub struct PrepareSettings {
    /// Schemes and the super user.
    pub acl: AclSettings,
    /// `extendedTypesEnabled`: whether TTL znodes may be made.
    pub extended_types: bool,
    /// `sequentialNodes64Bit`: whether the numbers of sequential znodes go on beyond 2^31. The leader's setting counts.
    pub long_sequences: bool,
    /// `enforceQuota`: whether hard limits refuse requests.
    pub enforce_quota: bool,
}

/// One request for the leader to decide.
#[derive(Debug)]
pub struct PrepareRequest<'a> {
    /// The server through which it came, 0 for the leader's own.
    pub server: u64,
    /// The session that asks (or that begins or ends), 0 for the leader's own.
    pub session: i64,
    /// Whether only that server knows the session.
    pub is_local: bool,
    /// Who the client has shown to be.
    pub auth: &'a [AuthId],
    /// Wall clock of the leader in milliseconds, the same that the transaction is stamped with.
    pub time: i64,
    /// What is asked.
    pub write: Write,
}

/// A znode as it will be when everything prepared is applied: what later checks need of it.
#[derive(Clone, Debug)]
struct View {
    czxid: i64,
    mzxid: i64,
    pzxid: i64,
    ctime: i64,
    mtime: i64,
    version: i32,
    cversion: i64,
    aversion: i32,
    owner: i64,
    children: usize,
    data_length: usize,
    acl: AclList,
}

impl View {
    /// As [`super::Node::stat`] will give it.
    fn stat(&self) -> Stat {
        let num_children = i32::try_from(self.children).unwrap_or(i32::MAX);
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: super::stat_cversion(self.cversion, num_children),
            aversion: self.aversion,
            ephemeral_owner: match Kind::from_owner(self.owner) {
                Kind::Ephemeral(session) => session,
                Kind::Persistent | Kind::Container | Kind::Ttl(_) => 0,
            },
            data_length: i32::try_from(self.data_length).unwrap_or(i32::MAX),
            num_children,
            pzxid: self.pzxid,
        }
    }
}

/// The last prepared state of a path.
#[derive(Clone, Debug)]
struct Record {
    zxid: i64,
    /// None if it will be gone.
    view: Option<View>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionState {
    Beginning,
    Ending,
}

/// One step back in case a multi fails halfway.
#[derive(Debug)]
struct Undo {
    path: String,
    before: Option<Record>,
}

/// Prepared and not yet applied changes, by path. Its size is that of the transactions in flight. Wiped when
/// leadership is lost: a new leader starts with an empty one, after it has applied its whole log.
#[derive(Debug, Default)]
pub struct Pending {
    settings: PrepareSettings,
    records: BTreeMap<String, Record>,
    /// Which paths each transaction in flight touched, oldest first.
    in_flight: VecDeque<(i64, Vec<String>)>,
    /// Ephemeral znodes that are prepared, by owner.
    ephemerals: BTreeSet<(i64, String)>,
    sessions: BTreeMap<i64, (i64, SessionState)>,
    /// On which server each session lives, as far as it has shown.
    homes: BTreeMap<i64, u64>,
    last_zxid: i64,
}

impl Pending {
    /// Nothing in flight.
    pub fn new(settings: PrepareSettings) -> Pending {
        Pending { settings, ..Pending::default() }
    }

    /// Decides a request and remembers its effects for those that follow. A refused request gives a body too, so that
    /// its answer comes in its turn. `zxid` must be larger than any before, also than the tree's.
    pub fn prepare(&mut self, tree: &Tree, request: PrepareRequest<'_>, zxid: i64) -> TxnBody {
        assert!(zxid > self.last_zxid && zxid > tree.zxid(), "a transaction id is used once and grows");
        self.last_zxid = zxid;
        let PrepareRequest { server, session, is_local, auth, time, write } = request;
        let mut prepare =
            Prepare { pending: self, tree, server, session, is_local, auth, time, zxid, undo: Vec::new() };
        let body = match write.body {
            Some(WriteBody::Multi(multi)) => prepare.multi(multi),
            Some(body) => prepare.one(body).unwrap_or_else(TxnBody::refused),
            None => TxnBody::refused(Refusal::Malformed),
        };
        let touched: Vec<String> = prepare.undo.into_iter().map(|undo| undo.path).collect();
        if !touched.is_empty() {
            self.in_flight.push_back((zxid, touched));
        }
        body
    }

    /// Forgets what has been applied up to and with `zxid`: the tree tells it now.
    pub fn applied(&mut self, zxid: i64) {
        while self.in_flight.front().is_some_and(|(oldest, _)| *oldest <= zxid) {
            let (_, paths) = self.in_flight.pop_front().expect("just seen");
            for path in paths {
                if self.records.get(&path).is_some_and(|record| record.zxid <= zxid) {
                    self.set_record(path, None);
                }
            }
        }
        if !self.sessions.is_empty() {
            self.sessions.retain(|_, (at, _)| *at > zxid);
        }
    }

    /// Forgets everything: leadership was lost, or has just begun.
    pub fn reset(&mut self) {
        *self = Pending::new(std::mem::take(&mut self.settings));
    }

    /// How many transactions that change znodes are prepared and not yet applied.
    pub fn in_flight_count(&self) -> usize {
        self.in_flight.len()
    }

    /// A client shows up on a server with an old session: whether it may go on there. From now on requests of the
    /// session through other servers are refused as moved. Gives the negotiated timeout in milliseconds.
    pub fn attach(&mut self, tree: &Tree, session: i64, password: &[u8], server: u64) -> Result<i32, Refusal> {
        let known = tree.session(session).ok_or(Refusal::SessionExpired)?;
        if self.sessions.get(&session).is_some_and(|(_, state)| *state == SessionState::Ending)
            || !known.admits(password)
        {
            return Err(Refusal::SessionExpired);
        }
        self.homes.insert(session, server);
        Ok(known.timeout_ms)
    }

    /// The server on which a session was last seen, if it was.
    pub fn home(&self, session: i64) -> Option<u64> {
        self.homes.get(&session).copied()
    }

    fn set_record(&mut self, path: String, record: Option<Record>) -> Option<Record> {
        let owner = |record: &Record| match Kind::from_owner(record.view.as_ref()?.owner) {
            Kind::Ephemeral(session) => Some(session),
            Kind::Persistent | Kind::Container | Kind::Ttl(_) => None,
        };
        let new_owner = record.as_ref().and_then(owner);
        let before = match record {
            Some(record) => self.records.insert(path.clone(), record),
            None => self.records.remove(&path),
        };
        let old_owner = before.as_ref().and_then(owner);
        if old_owner != new_owner {
            if let Some(session) = old_owner {
                self.ephemerals.remove(&(session, path.clone()));
            }
            if let Some(session) = new_owner {
                self.ephemerals.insert((session, path));
            }
        }
        before
    }
}

/// One request being decided.
struct Prepare<'a> {
    pending: &'a mut Pending,
    tree: &'a Tree,
    server: u64,
    session: i64,
    is_local: bool,
    auth: &'a [AuthId],
    time: i64,
    zxid: i64,
    undo: Vec<Undo>,
}

impl Prepare<'_> {
    fn one(&mut self, body: WriteBody) -> Result<TxnBody, Refusal> {
        match body {
            WriteBody::CreateSession(session) => {
                if self.tree.session(self.session).is_some() || self.pending.sessions.contains_key(&self.session) {
                    return Err(Refusal::SessionExists);
                }
                self.pending.sessions.insert(self.session, (self.zxid, SessionState::Beginning));
                self.pending.homes.insert(self.session, self.server);
                Ok(TxnBody::CreateSession(session))
            }
            WriteBody::CloseSession(close) => {
                self.close_session();
                Ok(TxnBody::CloseSession(close))
            }
            WriteBody::Create(create) => self.create(create),
            WriteBody::Delete(delete) => self.delete(delete),
            WriteBody::DeleteContainer(delete) => self.delete_container(delete),
            WriteBody::SetData(set) => self.set_data(set),
            WriteBody::SetAcl(set) => self.set_acl(set),
            WriteBody::Check(check) => self.check(check),
            WriteBody::Config(text) => self.config(text),
            // Proposed when nothing is under way, and nothing is until it is applied.
            WriteBody::Restore(restore) => Ok(TxnBody::Restore(restore)),
            WriteBody::CreateIfNotExists(create) => match self.create(create) {
                Err(Refusal::NodeExists) => Ok(TxnBody::Check(Check::default())),
                decided => decided,
            },
            WriteBody::CheckNotExists(check) => self.check_not_exists(check),
            WriteBody::CheckStat(check) => self.check_stat(check),
            WriteBody::TryRemove(delete) => match self.delete(delete) {
                Err(Refusal::NoNode) => Ok(TxnBody::Check(Check::default())),
                decided => decided,
            },
            WriteBody::RemoveRecursive(remove) => self.remove_recursive(remove),
            WriteBody::Multi(_) | WriteBody::Reconfig(_) => Err(Refusal::Malformed),
        }
    }

    /// All operations or none: each sees what those before it did; after the first refusal nothing remains of them.
    fn multi(&mut self, multi: MultiWrite) -> TxnBody {
        let count = multi.writes.len();
        let mut steps = Vec::with_capacity(count);
        for write in multi.writes {
            let body = match write.body {
                Some(
                    body @ (WriteBody::Create(_)
                    | WriteBody::Delete(_)
                    | WriteBody::DeleteContainer(_)
                    | WriteBody::SetData(_)
                    | WriteBody::Check(_)
                    | WriteBody::CreateIfNotExists(_)
                    | WriteBody::CheckNotExists(_)
                    | WriteBody::CheckStat(_)
                    | WriteBody::TryRemove(_)
                    | WriteBody::RemoveRecursive(_)),
                ) => self.one(body),
                _ => Err(Refusal::Malformed),
            };
            match body {
                Ok(body) => steps.push(Step { body: Some(body) }),
                Err(refusal) => {
                    while let Some(Undo { path, before }) = self.undo.pop() {
                        self.pending.set_record(path, before);
                    }
                    let mut codes = vec![0; steps.len()];
                    codes.push(refusal as i32);
                    codes.resize(count, Refusal::EarlierStepRefused as i32);
                    return TxnBody::FailedMulti(FailedMulti { codes });
                }
            }
        }
        TxnBody::Multi(Multi { steps })
    }

    fn create(&mut self, create: CreateWrite) -> Result<TxnBody, Refusal> {
        let CreateWrite { mut path, data, acl, flags, op, ttl_ms } = create;
        let (kind, sequential) = self.create_kind(flags, op, ttl_ms)?;
        self.check_session().map_err(|refusal| match (refusal, kind) {
            (Refusal::UnknownSession, Kind::Ephemeral(_)) => Refusal::SessionExpired,
            _ => refusal,
        })?;
        // A sequential path may end with a slash, so the parent is cut off before the number is put on.
        let cut = path.rfind('/').filter(|_| !path.contains('\0')).ok_or(Refusal::BadArguments)?;
        let acl = acl::expand(&self.pending.settings.acl, self.auth, &acl)?;
        let parent_path = if cut == 0 { "/".to_owned() } else { path[..cut].to_owned() };
        let parent = self.view(&parent_path)?;
        self.check_permission(&parent.acl, acl::CREATE)?;
        let number = self.sequence_number(parent.cversion);
        if sequential {
            path.push_str(&format!("{number:010}"));
        }
        valid(&path)?;
        if self.view(&path).is_ok() {
            return Err(Refusal::NodeExists);
        }
        if matches!(Kind::from_owner(parent.owner), Kind::Ephemeral(_)) {
            return Err(Refusal::NoChildrenForEphemerals);
        }
        let data_length = data.as_ref().map_or(0, Bytes::len);
        self.check_quota(&path, data_length as i64, 1)?;
        let parent_cversion = number.wrapping_add(1);
        let owner = kind.to_owner();
        let view = View {
            czxid: self.zxid,
            mzxid: self.zxid,
            pzxid: self.zxid,
            ctime: self.time,
            mtime: self.time,
            version: 0,
            cversion: 0,
            aversion: 0,
            owner,
            children: 0,
            data_length,
            acl: acl.as_slice().into(),
        };
        let children = parent.children + 1;
        self.put(parent_path, Some(View { cversion: parent_cversion, children, pzxid: self.zxid, ..parent }));
        self.put(path.clone(), Some(view));
        Ok(TxnBody::Create(Create { path, data, acl, owner, parent_cversion }))
    }

    /// The number of the next child. In ZooKeeper's 32 bits it turns negative; with 64 it goes on, also where it did before.
    fn sequence_number(&self, children_made: i64) -> i64 {
        match self.pending.settings.long_sequences {
            true if children_made < 0 => i64::from(children_made as i32 as u32),
            true => children_made,
            false => i64::from(children_made as i32),
        }
    }

    /// What a create makes, and whether its name gets a number.
    fn create_kind(&self, flags: i32, op: i32, ttl_ms: i64) -> Result<(Kind, bool), Refusal> {
        let ttl_flag = match flags {
            0..=4 => false,
            5 | 6 => true,
            _ => return Err(Refusal::BadArguments),
        };
        if ttl_flag && !self.pending.settings.extended_types {
            return Err(Refusal::Unimplemented);
        }
        let op = CreateOp::try_from(op).map_err(|_| Refusal::Unimplemented)?;
        if ttl_flag != (op == CreateOp::Ttl) || (ttl_flag && !(1..=LONGEST_TTL_MS).contains(&ttl_ms)) {
            return Err(Refusal::BadArguments);
        }
        let kind = match (op, flags) {
            (CreateOp::Ttl, _) => Kind::Ttl(ttl_ms),
            (CreateOp::Container, _) => Kind::Container,
            (CreateOp::Plain, 1 | 3) => Kind::Ephemeral(self.session),
            (CreateOp::Plain, _) => Kind::Persistent,
        };
        Ok((kind, matches!(flags, 2 | 3 | 6)))
    }

    fn delete(&mut self, delete: DeleteWrite) -> Result<TxnBody, Refusal> {
        self.check_session()?;
        let path = delete.path;
        let parent_path = deletable(&path)?.to_owned();
        let parent = self.view(&parent_path)?;
        self.check_permission(&parent.acl, acl::DELETE)?;
        let node = self.view(&path)?;
        check_version(node.version, delete.version)?;
        if node.children > 0 {
            return Err(Refusal::NotEmpty);
        }
        self.remove(&path, &parent_path, parent);
        Ok(TxnBody::Delete(Delete { path }))
    }

    /// Removal of what has outlived itself. Unlike ZooKeeper, which lets any client remove any empty znode this way,
    /// only containers and TTL znodes go.
    fn delete_container(&mut self, delete: DeleteWrite) -> Result<TxnBody, Refusal> {
        if self.session != 0 {
            self.check_session()?;
        }
        let path = delete.path;
        let parent_path = deletable(&path)?.to_owned();
        let node = self.view(&path)?;
        if node.children > 0 {
            return Err(Refusal::NotEmpty);
        }
        if !matches!(Kind::from_owner(node.owner), Kind::Container | Kind::Ttl(_)) {
            return Err(Refusal::BadVersion);
        }
        let parent = self.view(&parent_path)?;
        self.remove(&path, &parent_path, parent);
        Ok(TxnBody::Delete(Delete { path }))
    }

    fn set_data(&mut self, set: SetDataWrite) -> Result<TxnBody, Refusal> {
        self.check_session()?;
        let SetDataWrite { path, data, version } = set;
        valid(&path)?;
        let node = self.view(&path)?;
        self.check_permission(&node.acl, acl::WRITE)?;
        let data_length = data.as_ref().map_or(0, Bytes::len);
        self.check_quota(&path, data_length as i64 - node.data_length as i64, 0)?;
        let version = check_version(node.version, version)?;
        self.put(path.clone(), Some(View { version, data_length, mzxid: self.zxid, mtime: self.time, ..node }));
        Ok(TxnBody::SetData(SetData { path, data, version }))
    }

    fn set_acl(&mut self, set: SetAclWrite) -> Result<TxnBody, Refusal> {
        self.check_session()?;
        let SetAclWrite { path, acl, version } = set;
        valid(&path)?;
        let acl: Vec<Acl> = acl::expand(&self.pending.settings.acl, self.auth, &acl)?;
        let node = self.view(&path)?;
        self.check_permission(&node.acl, acl::ADMIN)?;
        let version = check_version(node.aversion, version)?;
        self.put(path.clone(), Some(View { aversion: version, acl: acl.as_slice().into(), ..node }));
        Ok(TxnBody::SetAcl(SetAcl { path, acl, version }))
    }

    fn check(&mut self, check: DeleteWrite) -> Result<TxnBody, Refusal> {
        self.check_session()?;
        valid(&check.path)?;
        let node = self.view(&check.path)?;
        self.check_permission(&node.acl, acl::READ)?;
        check_version(node.version, check.version)?;
        Ok(TxnBody::Check(Check { path: check.path }))
    }

    /// Refused if the znode is there with this version, or with any for -1.
    fn check_not_exists(&mut self, check: DeleteWrite) -> Result<TxnBody, Refusal> {
        self.check_session()?;
        valid(&check.path)?;
        if let Ok(node) = self.view(&check.path) {
            self.check_permission(&node.acl, acl::READ)?;
            if check.version == -1 || check.version == node.version {
                return Err(Refusal::NodeExists);
            }
        }
        Ok(TxnBody::Check(Check { path: check.path }))
    }

    /// Version and state must be as given, where -1 fits anything.
    fn check_stat(&mut self, check: CheckStatWrite) -> Result<TxnBody, Refusal> {
        self.check_session()?;
        valid(&check.path)?;
        let node = self.view(&check.path)?;
        self.check_permission(&node.acl, acl::READ)?;
        check_version(node.version, check.version)?;
        let stat = node.stat();
        let longs = [stat.czxid, stat.mzxid, stat.ctime, stat.mtime, stat.ephemeral_owner, stat.pzxid];
        let ints = [stat.version, stat.cversion, stat.aversion, stat.data_length, stat.num_children];
        let differs = longs.iter().zip(&check.longs).any(|(is, want)| *want != -1 && is != want)
            || ints.iter().zip(&check.ints).any(|(is, want)| *want != -1 && is != want);
        if differs { Err(Refusal::BadVersion) } else { Ok(TxnBody::Check(Check { path: check.path })) }
    }

    /// The znode and all below it, if they are not too many and every one may be removed.
    fn remove_recursive(&mut self, remove: RemoveRecursiveWrite) -> Result<TxnBody, Refusal> {
        self.check_session()?;
        deletable(&remove.path)?;
        self.view(&remove.path)?;
        let mut paths = vec![remove.path];
        let mut looked_at = 0;
        while looked_at < paths.len() {
            let children = self.children(&paths[looked_at]);
            paths.extend(children);
            looked_at += 1;
            if paths.len() > remove.limit as usize {
                return Err(Refusal::NotEmpty);
            }
        }
        // All permissions first: a refusal leaves nothing half done.
        for path in &paths {
            let parent = self.view(deletable(path)?)?;
            self.check_permission(&parent.acl, acl::DELETE)?;
        }
        let mut steps = Vec::with_capacity(paths.len());
        for path in paths.into_iter().rev() {
            let parent_path = deletable(&path)?.to_owned();
            let parent = self.view(&parent_path)?;
            self.remove(&path, &parent_path, parent);
            steps.push(Step { body: Some(TxnBody::Delete(Delete { path })) });
        }
        Ok(TxnBody::Multi(Multi { steps }))
    }

    /// Paths of the children that a znode will have, in order.
    fn children(&self, path: &str) -> BTreeSet<String> {
        let below = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let committed = self.tree.node(path).into_iter().flat_map(|node| node.children());
        let mut children: BTreeSet<String> = committed.map(|name| format!("{below}{name}")).collect();
        let in_flight = self.pending.records.range(below.clone()..);
        for (path, record) in in_flight.take_while(|(path, _)| path.starts_with(&below)) {
            if path[below.len()..].contains('/') {
                continue;
            }
            if record.view.is_some() {
                children.insert(path.clone());
            } else {
                children.remove(path);
            }
        }
        children
    }

    /// The configuration's text; its version is always -1, as ZooKeeper writes it.
    fn config(&mut self, text: Bytes) -> Result<TxnBody, Refusal> {
        if self.session != 0 {
            self.check_session()?;
        }
        let node = self.view(CONFIG_PATH)?;
        if self.session != 0 {
            self.check_permission(&node.acl, acl::WRITE)?;
        }
        let changed = View { version: -1, data_length: text.len(), mzxid: self.zxid, mtime: self.time, ..node };
        self.put(CONFIG_PATH.to_owned(), Some(changed));
        Ok(TxnBody::SetData(SetData { path: CONFIG_PATH.to_owned(), data: Some(text), version: -1 }))
    }

    /// All ephemeral znodes of the session will go, those in flight too; no more will come, because the session is
    /// ending from now on.
    fn close_session(&mut self) {
        let mut paths: BTreeSet<String> = self.tree.ephemerals(self.session).map(str::to_owned).collect();
        let in_flight = self.pending.ephemerals.range((self.session, String::new())..);
        paths.extend(in_flight.take_while(|(owner, _)| *owner == self.session).map(|(_, path)| path.clone()));
        for path in paths {
            let still_mine = self.view(&path).is_ok_and(|view| view.owner == self.session);
            let parent_path = split(&path).map(|(parent, _)| parent.to_owned());
            if let (true, Some(parent_path)) = (still_mine, parent_path)
                && let Ok(parent) = self.view(&parent_path)
            {
                self.remove(&path, &parent_path, parent);
            }
        }
        self.pending.sessions.insert(self.session, (self.zxid, SessionState::Ending));
        self.pending.homes.remove(&self.session);
    }

    fn remove(&mut self, path: &str, parent_path: &str, parent: View) {
        let children = parent.children.saturating_sub(1);
        self.put(parent_path.to_owned(), Some(View { children, pzxid: self.zxid, ..parent }));
        self.put(path.to_owned(), None);
    }

    /// A znode as it will be; refused if it will not be there.
    fn view(&self, path: &str) -> Result<View, Refusal> {
        // The tree knows the root by the empty path too; here it has one name.
        if let Some(record) = self.pending.records.get(path) {
            return record.view.clone().ok_or(Refusal::NoNode);
        }
        let node = self.tree.node(path).filter(|_| !path.is_empty()).ok_or(Refusal::NoNode)?;
        Ok(View {
            czxid: node.czxid,
            mzxid: node.mzxid,
            pzxid: node.pzxid(),
            ctime: node.ctime,
            mtime: node.mtime,
            version: node.version,
            cversion: node.cversion(),
            aversion: node.aversion,
            owner: node.owner,
            children: node.children_count(),
            data_length: node.data().map_or(0, <[u8]>::len),
            acl: self.tree.acl(node).clone(),
        })
    }

    fn put(&mut self, path: String, view: Option<View>) {
        let before = self.pending.set_record(path.clone(), Some(Record { zxid: self.zxid, view }));
        self.undo.push(Undo { path, before });
    }

    fn check_session(&mut self) -> Result<(), Refusal> {
        if self.is_local {
            return Ok(());
        }
        match self.pending.sessions.get(&self.session) {
            Some((_, SessionState::Ending)) => return Err(Refusal::SessionExpired),
            Some((_, SessionState::Beginning)) => {}
            None if self.tree.session(self.session).is_some() => {}
            None => return Err(Refusal::UnknownSession),
        }
        let home = *self.pending.homes.entry(self.session).or_insert(self.server);
        if home == self.server { Ok(()) } else { Err(Refusal::SessionMoved) }
    }

    fn check_permission(&self, acl: &[Acl], perms: i32) -> Result<(), Refusal> {
        if acl::permits(&self.pending.settings.acl, acl, perms, self.auth) { Ok(()) } else { Err(Refusal::NoAuth) }
    }

    fn check_quota(&self, path: &str, bytes: i64, count: i64) -> Result<(), Refusal> {
        if self.pending.settings.enforce_quota && self.tree.exceeds_quota(path, bytes, count) {
            return Err(Refusal::QuotaExceeded);
        }
        Ok(())
    }
}

/// The version after a change, or a refusal if it is not the expected one (-1: any will do).
fn check_version(current: i32, expected: i32) -> Result<i32, Refusal> {
    if expected != -1 && expected != current {
        return Err(Refusal::BadVersion);
    }
    Ok(current.wrapping_add(1))
}

/// Parent of a path that may be removed at all.
fn deletable(path: &str) -> Result<&str, Refusal> {
    let (parent, _) = split(path).filter(|_| !path.contains('\0')).ok_or(Refusal::BadArguments)?;
    match path {
        "/zookeeper" | QUOTA_PATH | CONFIG_PATH => Err(Refusal::BadArguments),
        _ => Ok(parent),
    }
}

fn valid(path: &str) -> Result<(), Refusal> {
    if path.len() > common::limits::ZNODE_PATH_BYTES {
        return Err(Refusal::BadArguments);
    }
    common::zk::path::validate(path).map_err(|_| Refusal::BadArguments)
}
