//! What clients ask: one variant an operation, read from and written to the wire. Judges no argument: paths may be malformed,
//! flags and versions out of range.

use bytes::Bytes;

use super::jute::{DecodeError, Reader, Writer};
use super::opcode::OpCode;
use super::records::{Acl, CreateMode, Stat};
use crate::limits::DECODE_RESERVE_COUNT;

/// The body of `create`, `create2`, `createContainer` and `createIfNotExists`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateRequest {
    /// The node to create.
    pub path: String,
    /// Its data; null is kept apart from empty.
    pub data: Option<Bytes>,
    /// Its access list; empty is refused by servers.
    pub acl: Vec<Acl>,
    /// A [`CreateMode`], or a number that is none.
    pub flags: i32,
}

impl CreateRequest {
    /// A create of `path` with `data`.
    pub fn new(path: impl Into<String>, data: impl Into<Bytes>, acl: Vec<Acl>, mode: CreateMode) -> CreateRequest {
        CreateRequest { path: path.into(), data: Some(data.into()), acl, flags: mode.flag() }
    }

    /// What `flags` stands for; `None` if nothing.
    pub fn mode(&self) -> Option<CreateMode> {
        CreateMode::from_flag(self.flags)
    }

    fn decode(r: &mut Reader) -> Result<CreateRequest, DecodeError> {
        Ok(CreateRequest { path: r.required()?, data: r.buffer()?, acl: r.vector(Acl::decode)?, flags: r.int()? })
    }

    fn encode(&self, w: &mut Writer<'_>) {
        w.string(&self.path);
        w.buffer(self.data.as_deref());
        w.vector(&self.acl, |w, acl| acl.encode(w));
        w.int(self.flags);
    }
}

/// The body of `reconfig`: either joining and leaving, or the whole new membership.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReconfigRequest {
    /// `server.N=...` lines, separated by commas.
    pub joining: Option<String>,
    /// Server ids, separated by commas.
    pub leaving: Option<String>,
    /// The whole list.
    pub new_members: Option<String>,
    /// Version of the configuration this is based on; -1 for whichever.
    pub config_version: i64,
}

/// The body of `setWatches` and `setWatches2`: what a client was watching when its connection broke.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetWatches {
    /// Changes after this zxid fire at once.
    pub relative_zxid: i64,
    /// Nodes whose data was read.
    pub data: Vec<String>,
    /// Nodes that were not there.
    pub exist: Vec<String>,
    /// Nodes whose children were read.
    pub child: Vec<String>,
    /// Persistent watches; only in `setWatches2`.
    pub persistent: Vec<String>,
    /// Persistent recursive watches; only in `setWatches2`.
    pub persistent_recursive: Vec<String>,
}

/// The body of `getRequests`: which of the requests that a server remembers are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestsWanted {
    /// The write with this zxid; 0 for any.
    pub zxid: i64,
    /// Those of this session; 0 for any.
    pub session: i64,
    /// That with this xid; 0 for any.
    pub xid: i32,
    /// The slowest first instead of the newest.
    pub is_slowest_first: bool,
    /// So many at most.
    pub limit: i32,
}

/// A request's body, by operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields named alike mean the same in all variants: said once, above each group")]
pub enum Request {
    /// Create a node, answered by `Response::Create`.
    Create(CreateRequest),
    /// Create a node, answered by `Response::Create2`.
    Create2(CreateRequest),
    /// Create a container, answered by `Response::Create2`.
    CreateContainer(CreateRequest),
    /// Create a node with a time to live of `ttl_ms`, answered by `Response::Create2`.
    CreateTtl { create: CreateRequest, ttl_ms: i64 },
    /// Delete the node if its version is `version` (-1: any).
    Delete { path: String, version: i32 },
    /// The server's own removal of containers; refused from clients.
    DeleteContainer { path: String },
    /// Does the node exist? `watch`: tell when that changes.
    Exists { path: String, watch: bool },
    /// The node's data.
    GetData { path: String, watch: bool },
    /// Replace the data if the version is `version` (-1: any).
    SetData { path: String, data: Option<Bytes>, version: i32 },
    /// The node's access list.
    GetAcl { path: String },
    /// Replace the access list if its version is `version` (-1: any).
    SetAcl { path: String, acl: Vec<Acl>, version: i32 },
    /// The names of the children.
    GetChildren { path: String, watch: bool },
    /// The names of the children and the parent's stat.
    GetChildren2 { path: String, watch: bool },
    /// Catch up with the leader.
    Sync { path: String },
    /// Keep the session alive.
    Ping,
    /// Fail unless the node's version is `version` (-1: any). Only inside `Multi`.
    Check { path: String, version: i32 },
    /// All or nothing. Decoding lets in `Create*`, `Delete`, `SetData`, `Check`, `CheckNotExists`, `CreateIfNotExists`,
    /// `RemoveRecursive`, `CheckStat` and `TryRemove`, and no other.
    Multi(Vec<Request>),
    /// Several reads. Decoding lets in `GetData`, `GetChildren`, and (ClickHouse) `Exists`, `GetChildren2`, `FilteredList`,
    /// and no other.
    MultiRead(Vec<Request>),
    /// Change the membership.
    Reconfig(ReconfigRequest),
    /// Is a watch of this `kind` (a [`super::records::WatcherType`]) set?
    CheckWatches { path: String, kind: i32 },
    /// Take watches of this `kind` back.
    RemoveWatches { path: String, kind: i32 },
    /// Set a persistent watch; `mode` is an [`super::records::AddWatchMode`].
    AddWatch { path: String, mode: i32 },
    /// Add an identity to the connection. `auth_type` is always 0.
    Auth { auth_type: i32, scheme: String, auth: Bytes },
    /// Register watches again.
    SetWatches(SetWatches),
    /// Register watches again, persistent ones as well.
    SetWatches2(SetWatches),
    /// A step of SASL.
    Sasl { token: Option<Bytes> },
    /// The session's ephemeral nodes whose path starts with `prefix`.
    GetEphemerals { prefix: String },
    /// Number of nodes below the node.
    GetAllChildrenNumber { path: String },
    /// The connection's identities.
    WhoAmI,
    /// End the session.
    CloseSession,
    /// Children by kind: `filter` 0 all, 1 persistent, 2 ephemeral.
    FilteredList { path: String, watch: bool, filter: u8 },
    /// Fail if the node exists (`version` -1), or exists with this version. Only inside `Multi`.
    CheckNotExists { path: String, version: i32 },
    /// Create the node unless it is there, answered by `Response::CreateIfNotExists`.
    CreateIfNotExists(CreateRequest),
    /// Delete the node and all below it, if they are not more than `limit`.
    RemoveRecursive { path: String, limit: u32 },
    /// Fail unless version and stat are as given; -1 matches anything.
    CheckStat { path: String, version: i32, stat: Stat },
    /// Delete the node if it is there.
    TryRemove { path: String, version: i32 },
    /// Children by kind, with stats and data of each if asked for.
    FilteredListWithStatsAndData { path: String, watch: bool, filter: u8, with_stat: bool, with_data: bool },
    /// All paths below the node, at most `limit` of them (0: no limit).
    ListRecursive { path: String, limit: u32 },
    /// Earlier values of the node, the newest first: all, or the newest that was set by `zxid` or before it and ended after
    /// (0: all). Ours alone.
    GetHistory { path: String, zxid: i64, with_data: bool },
    /// What became of requests. Ours alone.
    GetRequests(RequestsWanted),
}

impl Request {
    /// The operation this is.
    pub fn opcode(&self) -> OpCode {
        match self {
            Request::Create(_) => OpCode::Create,
            Request::Create2(_) => OpCode::Create2,
            Request::CreateContainer(_) => OpCode::CreateContainer,
            Request::CreateTtl { .. } => OpCode::CreateTtl,
            Request::Delete { .. } => OpCode::Delete,
            Request::DeleteContainer { .. } => OpCode::DeleteContainer,
            Request::Exists { .. } => OpCode::Exists,
            Request::GetData { .. } => OpCode::GetData,
            Request::SetData { .. } => OpCode::SetData,
            Request::GetAcl { .. } => OpCode::GetAcl,
            Request::SetAcl { .. } => OpCode::SetAcl,
            Request::GetChildren { .. } => OpCode::GetChildren,
            Request::GetChildren2 { .. } => OpCode::GetChildren2,
            Request::Sync { .. } => OpCode::Sync,
            Request::Ping => OpCode::Ping,
            Request::Check { .. } => OpCode::Check,
            Request::Multi(_) => OpCode::Multi,
            Request::MultiRead(_) => OpCode::MultiRead,
            Request::Reconfig(_) => OpCode::Reconfig,
            Request::CheckWatches { .. } => OpCode::CheckWatches,
            Request::RemoveWatches { .. } => OpCode::RemoveWatches,
            Request::AddWatch { .. } => OpCode::AddWatch,
            Request::Auth { .. } => OpCode::Auth,
            Request::SetWatches(_) => OpCode::SetWatches,
            Request::SetWatches2(_) => OpCode::SetWatches2,
            Request::Sasl { .. } => OpCode::Sasl,
            Request::GetEphemerals { .. } => OpCode::GetEphemerals,
            Request::GetAllChildrenNumber { .. } => OpCode::GetAllChildrenNumber,
            Request::WhoAmI => OpCode::WhoAmI,
            Request::CloseSession => OpCode::CloseSession,
            Request::FilteredList { .. } => OpCode::FilteredList,
            Request::CheckNotExists { .. } => OpCode::CheckNotExists,
            Request::CreateIfNotExists(_) => OpCode::CreateIfNotExists,
            Request::RemoveRecursive { .. } => OpCode::RemoveRecursive,
            Request::CheckStat { .. } => OpCode::CheckStat,
            Request::TryRemove { .. } => OpCode::TryRemove,
            Request::FilteredListWithStatsAndData { .. } => OpCode::FilteredListWithStatsAndData,
            Request::ListRecursive { .. } => OpCode::ListRecursive,
            Request::GetHistory { .. } => OpCode::GetHistory,
            Request::GetRequests(_) => OpCode::GetRequests,
        }
    }

    /// Reads the body of a request for `opcode`. Bytes after it are ignored, as ZooKeeper does.
    ///
    /// # Errors
    /// If the bytes are no such record, or no client may send this operation at all.
    pub fn decode(opcode: OpCode, r: &mut Reader) -> Result<Request, DecodeError> {
        Ok(match opcode {
            OpCode::Notification | OpCode::Error | OpCode::CreateSession => {
                return Err(DecodeError::BadOpcode { code: opcode.code() });
            }
            OpCode::Create => Request::Create(CreateRequest::decode(r)?),
            OpCode::Create2 => Request::Create2(CreateRequest::decode(r)?),
            OpCode::CreateContainer => Request::CreateContainer(CreateRequest::decode(r)?),
            OpCode::CreateTtl => Request::CreateTtl { create: CreateRequest::decode(r)?, ttl_ms: r.long()? },
            OpCode::Delete => Request::Delete { path: r.required()?, version: r.int()? },
            OpCode::DeleteContainer => Request::DeleteContainer { path: r.required()? },
            OpCode::Exists => Request::Exists { path: r.required()?, watch: r.bool()? },
            OpCode::GetData => Request::GetData { path: r.required()?, watch: r.bool()? },
            OpCode::SetData => Request::SetData { path: r.string()?, data: r.buffer()?, version: r.int()? },
            OpCode::GetAcl => Request::GetAcl { path: r.required()? },
            OpCode::SetAcl => Request::SetAcl { path: r.string()?, acl: r.vector(Acl::decode)?, version: r.int()? },
            OpCode::GetChildren => Request::GetChildren { path: r.required()?, watch: r.bool()? },
            OpCode::GetChildren2 => Request::GetChildren2 { path: r.required()?, watch: r.bool()? },
            OpCode::Sync => Request::Sync { path: r.string()? },
            OpCode::Ping => Request::Ping,
            OpCode::Check => Request::Check { path: r.required()?, version: r.int()? },
            OpCode::Multi => Request::Multi(decode_multi(r, may_write)?),
            OpCode::MultiRead => Request::MultiRead(decode_multi(r, may_read)?),
            OpCode::Reconfig => Request::Reconfig(ReconfigRequest {
                joining: r.ustring()?,
                leaving: r.ustring()?,
                new_members: r.ustring()?,
                config_version: r.long()?,
            }),
            OpCode::CheckWatches => Request::CheckWatches { path: r.required()?, kind: r.int()? },
            OpCode::RemoveWatches => Request::RemoveWatches { path: r.required()?, kind: r.int()? },
            OpCode::AddWatch => Request::AddWatch { path: r.required()?, mode: r.int()? },
            OpCode::Auth => {
                Request::Auth { auth_type: r.int()?, scheme: r.required()?, auth: r.buffer()?.unwrap_or_default() }
            }
            OpCode::SetWatches => Request::SetWatches(decode_set_watches(r)?),
            OpCode::SetWatches2 => {
                let mut watches = decode_set_watches(r)?;
                watches.persistent = r.strings()?;
                watches.persistent_recursive = r.strings()?;
                Request::SetWatches2(watches)
            }
            OpCode::Sasl => Request::Sasl { token: r.buffer()? },
            OpCode::GetEphemerals => Request::GetEphemerals { prefix: r.string()? },
            OpCode::GetAllChildrenNumber => Request::GetAllChildrenNumber { path: r.required()? },
            OpCode::WhoAmI => Request::WhoAmI,
            OpCode::CloseSession => Request::CloseSession,
            OpCode::FilteredList
            | OpCode::CheckNotExists
            | OpCode::CreateIfNotExists
            | OpCode::RemoveRecursive
            | OpCode::CheckStat
            | OpCode::TryRemove
            | OpCode::FilteredListWithStatsAndData
            | OpCode::ListRecursive => return decode_clickhouse(opcode, r),
            OpCode::GetHistory => Request::GetHistory { path: r.required()?, zxid: r.long()?, with_data: r.bool()? },
            OpCode::GetRequests => Request::GetRequests(RequestsWanted {
                zxid: r.long()?,
                session: r.long()?,
                xid: r.int()?,
                is_slowest_first: r.bool()?,
                limit: r.int()?,
            }),
        })
    }

    /// Appends the body (without header).
    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Request::Ping | Request::WhoAmI | Request::CloseSession => {}
            Request::Create(create)
            | Request::Create2(create)
            | Request::CreateContainer(create)
            | Request::CreateIfNotExists(create) => create.encode(w),
            Request::CreateTtl { create, ttl_ms } => {
                create.encode(w);
                w.long(*ttl_ms);
            }
            Request::DeleteContainer { path }
            | Request::GetAcl { path }
            | Request::Sync { path }
            | Request::GetEphemerals { prefix: path }
            | Request::GetAllChildrenNumber { path } => w.string(path),
            Request::Delete { path, version: number }
            | Request::Check { path, version: number }
            | Request::CheckNotExists { path, version: number }
            | Request::TryRemove { path, version: number }
            | Request::CheckWatches { path, kind: number }
            | Request::RemoveWatches { path, kind: number }
            | Request::AddWatch { path, mode: number } => {
                w.string(path);
                w.int(*number);
            }
            Request::Exists { path, watch }
            | Request::GetData { path, watch }
            | Request::GetChildren { path, watch }
            | Request::GetChildren2 { path, watch } => {
                w.string(path);
                w.bool(*watch);
            }
            Request::SetData { path, data, version } => {
                w.string(path);
                w.buffer(data.as_deref());
                w.int(*version);
            }
            Request::SetAcl { path, acl, version } => {
                w.string(path);
                w.vector(acl, |w, acl| acl.encode(w));
                w.int(*version);
            }
            Request::Multi(ops) | Request::MultiRead(ops) => encode_multi(ops, w),
            Request::Reconfig(reconfig) => {
                w.ustring(reconfig.joining.as_deref());
                w.ustring(reconfig.leaving.as_deref());
                w.ustring(reconfig.new_members.as_deref());
                w.long(reconfig.config_version);
            }
            Request::Auth { auth_type, scheme, auth } => {
                w.int(*auth_type);
                w.string(scheme);
                w.buffer(Some(auth));
            }
            Request::SetWatches(watches) => encode_set_watches(watches, w),
            Request::SetWatches2(watches) => {
                encode_set_watches(watches, w);
                w.strings(&watches.persistent);
                w.strings(&watches.persistent_recursive);
            }
            Request::Sasl { token } => w.buffer(token.as_deref()),
            Request::FilteredList { .. }
            | Request::RemoveRecursive { .. }
            | Request::CheckStat { .. }
            | Request::FilteredListWithStatsAndData { .. }
            | Request::ListRecursive { .. }
            | Request::GetHistory { .. }
            | Request::GetRequests(_) => self.encode_more(w),
        }
    }

    fn encode_more(&self, w: &mut Writer<'_>) {
        match self {
            Request::FilteredList { path, watch, filter } => {
                w.string(path);
                w.bool(*watch);
                w.byte(*filter);
            }
            Request::RemoveRecursive { path, limit } | Request::ListRecursive { path, limit } => {
                w.string(path);
                w.int(limit.cast_signed());
            }
            Request::CheckStat { path, version, stat } => {
                w.string(path);
                w.int(*version);
                stat.encode(w);
            }
            Request::GetHistory { path, zxid, with_data } => {
                w.string(path);
                w.long(*zxid);
                w.bool(*with_data);
            }
            Request::GetRequests(wanted) => {
                w.long(wanted.zxid);
                w.long(wanted.session);
                w.int(wanted.xid);
                w.bool(wanted.is_slowest_first);
                w.int(wanted.limit);
            }
            Request::FilteredListWithStatsAndData { path, watch, filter, with_stat, with_data } => {
                w.string(path);
                w.bool(*watch);
                w.byte(*filter);
                w.bool(*with_stat);
                w.bool(*with_data);
            }
            _ => unreachable!("encode calls this for the variants above only"),
        }
    }

    /// The node the request is about: that which audit lines and error texts name. `None` for requests about several or none.
    pub fn path(&self) -> Option<&str> {
        match self {
            Request::Create(create)
            | Request::Create2(create)
            | Request::CreateContainer(create)
            | Request::CreateIfNotExists(create)
            | Request::CreateTtl { create, .. } => Some(&create.path),
            Request::Delete { path, .. }
            | Request::DeleteContainer { path }
            | Request::Exists { path, .. }
            | Request::GetData { path, .. }
            | Request::SetData { path, .. }
            | Request::GetAcl { path }
            | Request::SetAcl { path, .. }
            | Request::GetChildren { path, .. }
            | Request::GetChildren2 { path, .. }
            | Request::Sync { path }
            | Request::Check { path, .. }
            | Request::CheckWatches { path, .. }
            | Request::RemoveWatches { path, .. }
            | Request::AddWatch { path, .. }
            | Request::GetEphemerals { prefix: path }
            | Request::GetAllChildrenNumber { path }
            | Request::FilteredList { path, .. }
            | Request::CheckNotExists { path, .. }
            | Request::RemoveRecursive { path, .. }
            | Request::CheckStat { path, .. }
            | Request::TryRemove { path, .. }
            | Request::FilteredListWithStatsAndData { path, .. }
            | Request::ListRecursive { path, .. }
            | Request::GetHistory { path, .. } => Some(path),
            Request::Ping
            | Request::Multi(_)
            | Request::MultiRead(_)
            | Request::Reconfig(_)
            | Request::Auth { .. }
            | Request::SetWatches(_)
            | Request::SetWatches2(_)
            | Request::Sasl { .. }
            | Request::WhoAmI
            | Request::CloseSession
            | Request::GetRequests(_) => None,
        }
    }

    /// Puts every path of the request through `change`; a client's chroot needs it.
    pub fn change_paths(&mut self, change: &impl Fn(&mut String)) {
        match self {
            Request::Create(create)
            | Request::Create2(create)
            | Request::CreateContainer(create)
            | Request::CreateIfNotExists(create)
            | Request::CreateTtl { create, .. } => change(&mut create.path),
            Request::Delete { path, .. }
            | Request::DeleteContainer { path }
            | Request::Exists { path, .. }
            | Request::GetData { path, .. }
            | Request::SetData { path, .. }
            | Request::GetAcl { path }
            | Request::SetAcl { path, .. }
            | Request::GetChildren { path, .. }
            | Request::GetChildren2 { path, .. }
            | Request::Sync { path }
            | Request::Check { path, .. }
            | Request::CheckWatches { path, .. }
            | Request::RemoveWatches { path, .. }
            | Request::AddWatch { path, .. }
            | Request::GetEphemerals { prefix: path }
            | Request::GetAllChildrenNumber { path }
            | Request::FilteredList { path, .. }
            | Request::CheckNotExists { path, .. }
            | Request::RemoveRecursive { path, .. }
            | Request::CheckStat { path, .. }
            | Request::TryRemove { path, .. }
            | Request::FilteredListWithStatsAndData { path, .. }
            | Request::ListRecursive { path, .. }
            | Request::GetHistory { path, .. } => change(path),
            Request::Multi(ops) | Request::MultiRead(ops) => ops.iter_mut().for_each(|op| op.change_paths(change)),
            Request::SetWatches(watches) | Request::SetWatches2(watches) => {
                let lists = [
                    &mut watches.data,
                    &mut watches.exist,
                    &mut watches.child,
                    &mut watches.persistent,
                    &mut watches.persistent_recursive,
                ];
                lists.into_iter().flatten().for_each(change);
            }
            Request::Ping
            | Request::Reconfig(_)
            | Request::Auth { .. }
            | Request::Sasl { .. }
            | Request::WhoAmI
            | Request::CloseSession
            | Request::GetRequests(_) => {}
        }
    }
}

fn decode_clickhouse(opcode: OpCode, r: &mut Reader) -> Result<Request, DecodeError> {
    Ok(match opcode {
        OpCode::FilteredList => Request::FilteredList { path: r.required()?, watch: r.bool()?, filter: r.byte()? },
        OpCode::CheckNotExists => Request::CheckNotExists { path: r.required()?, version: r.int()? },
        OpCode::CreateIfNotExists => Request::CreateIfNotExists(CreateRequest::decode(r)?),
        OpCode::RemoveRecursive => Request::RemoveRecursive { path: r.required()?, limit: r.int()?.cast_unsigned() },
        OpCode::CheckStat => Request::CheckStat { path: r.required()?, version: r.int()?, stat: Stat::decode(r)? },
        OpCode::TryRemove => Request::TryRemove { path: r.required()?, version: r.int()? },
        OpCode::FilteredListWithStatsAndData => Request::FilteredListWithStatsAndData {
            path: r.required()?,
            watch: r.bool()?,
            filter: r.byte()?,
            with_stat: r.bool()?,
            with_data: r.bool()?,
        },
        OpCode::ListRecursive => Request::ListRecursive { path: r.required()?, limit: r.int()?.cast_unsigned() },
        other => return Err(DecodeError::BadOpcode { code: other.code() }),
    })
}

fn may_write(opcode: OpCode) -> bool {
    matches!(
        opcode,
        OpCode::Create
            | OpCode::Create2
            | OpCode::CreateContainer
            | OpCode::CreateTtl
            | OpCode::Delete
            | OpCode::SetData
            | OpCode::Check
            | OpCode::CheckNotExists
            | OpCode::CreateIfNotExists
            | OpCode::RemoveRecursive
            | OpCode::CheckStat
            | OpCode::TryRemove
    )
}

fn may_read(opcode: OpCode) -> bool {
    matches!(
        opcode,
        OpCode::GetData | OpCode::GetChildren | OpCode::Exists | OpCode::GetChildren2 | OpCode::FilteredList
    )
}

/// A header (operation, done?, error) before each operation, and one that says done.
fn decode_multi(r: &mut Reader, may_stand: fn(OpCode) -> bool) -> Result<Vec<Request>, DecodeError> {
    let mut ops = Vec::with_capacity(DECODE_RESERVE_COUNT.min(r.remaining() / 9));
    loop {
        let (code, done, _err) = (r.int()?, r.bool()?, r.int()?);
        if done {
            return Ok(ops);
        }
        let opcode = OpCode::from_code(code).filter(|&op| may_stand(op)).ok_or(DecodeError::BadOpcode { code })?;
        ops.push(Request::decode(opcode, r)?);
    }
}

fn encode_multi(ops: &[Request], w: &mut Writer<'_>) {
    for op in ops {
        w.int(op.opcode().code());
        w.bool(false);
        w.int(-1);
        op.encode(w);
    }
    w.int(-1);
    w.bool(true);
    w.int(-1);
}

fn decode_set_watches(r: &mut Reader) -> Result<SetWatches, DecodeError> {
    Ok(SetWatches {
        relative_zxid: r.long()?,
        data: r.strings()?,
        exist: r.strings()?,
        child: r.strings()?,
        ..SetWatches::default()
    })
}

fn encode_set_watches(watches: &SetWatches, w: &mut Writer<'_>) {
    w.long(watches.relative_zxid);
    w.strings(&watches.data);
    w.strings(&watches.exist);
    w.strings(&watches.child);
}
