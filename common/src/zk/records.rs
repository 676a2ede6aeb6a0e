//! The building blocks of ZooKeeper's messages: handshake, headers, stat, access lists, events and their enumerations.
//! Operation bodies are in `request` and `response`.

use bytes::Bytes;

use super::error::ZkError;
use super::jute::{DecodeError, Reader, Writer};

/// Permissions of an access list entry, one bit each.
pub mod perms {
    /// Read data and list children.
    pub const READ: i32 = 1;
    /// Replace data.
    pub const WRITE: i32 = 2;
    /// Create children.
    pub const CREATE: i32 = 4;
    /// Delete children.
    pub const DELETE: i32 = 8;
    /// Replace the access list.
    pub const ADMIN: i32 = 16;
    /// All of them.
    pub const ALL: i32 = 31;
}

/// Who an access list entry speaks of.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// `world`, `auth`, `digest`, `ip`, `x509`, `sasl`, ...
    pub scheme: String,
    /// What the scheme makes of it, such as `user:digest`.
    pub id: String,
}

impl Id {
    /// The pair of `scheme` and `id`.
    pub fn new(scheme: impl Into<String>, id: impl Into<String>) -> Id {
        Id { scheme: scheme.into(), id: id.into() }
    }

    /// Reads the record.
    pub fn decode(r: &mut Reader) -> Result<Id, DecodeError> {
        Ok(Id { scheme: r.string()?, id: r.string()? })
    }

    /// Appends the record.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.string(&self.scheme);
        w.string(&self.id);
    }
}

/// One entry of an access list.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Acl {
    /// Bits of [`perms`].
    pub perms: i32,
    /// Who has them.
    pub id: Id,
}

impl Acl {
    /// `perms` for `id`.
    pub fn new(perms: i32, id: Id) -> Acl {
        Acl { perms, id }
    }

    /// Everything for everyone (`OPEN_ACL_UNSAFE`).
    pub fn open_unsafe() -> Vec<Acl> {
        vec![Acl::new(perms::ALL, Id::new("world", "anyone"))]
    }

    /// Everything for the creator's own identities (`CREATOR_ALL_ACL`); the server puts them in.
    pub fn creator_all() -> Vec<Acl> {
        vec![Acl::new(perms::ALL, Id::new("auth", ""))]
    }

    /// Reading for everyone (`READ_ACL_UNSAFE`).
    pub fn read_unsafe() -> Vec<Acl> {
        vec![Acl::new(perms::READ, Id::new("world", "anyone"))]
    }

    /// Reads the record.
    pub fn decode(r: &mut Reader) -> Result<Acl, DecodeError> {
        Ok(Acl { perms: r.int()?, id: Id::decode(r)? })
    }

    /// Appends the record.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.int(self.perms);
        self.id.encode(w);
    }
}

/// An identity of a connection, as `whoAmI` tells it (without the secret part).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// The scheme it authenticated with.
    pub auth_scheme: String,
    /// User name, address, or what else the scheme knows.
    pub user: String,
}

impl ClientInfo {
    /// Reads the record.
    pub fn decode(r: &mut Reader) -> Result<ClientInfo, DecodeError> {
        Ok(ClientInfo { auth_scheme: r.string()?, user: r.string()? })
    }

    /// Appends the record.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.string(&self.auth_scheme);
        w.string(&self.user);
    }
}

/// A value that a node had, or has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PastValue {
    /// zxid of the change that created the node: another one for each of its lives.
    pub czxid: i64,
    /// zxid of the change that set the value.
    pub mzxid: i64,
    /// Wall clock in milliseconds when it was set.
    pub mtime: i64,
    /// The node's version with this value.
    pub version: i32,
    /// zxid of the change that replaced or removed it; 0 for the present value.
    pub until: i64,
    /// The change that ended it removed the node.
    pub is_removed: bool,
    /// Bytes of the value.
    pub data_length: i32,
    /// The value, if it was asked for.
    pub data: Option<Bytes>,
    /// The access list that the node had at the end of it.
    pub acl: Vec<Acl>,
}

impl PastValue {
    /// Reads the record.
    pub fn decode(r: &mut Reader) -> Result<PastValue, DecodeError> {
        Ok(PastValue {
            czxid: r.long()?,
            mzxid: r.long()?,
            mtime: r.long()?,
            version: r.int()?,
            until: r.long()?,
            is_removed: r.bool()?,
            data_length: r.int()?,
            data: r.buffer()?,
            acl: r.vector(Acl::decode)?,
        })
    }

    /// Appends the record.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.long(self.czxid);
        w.long(self.mzxid);
        w.long(self.mtime);
        w.int(self.version);
        w.long(self.until);
        w.bool(self.is_removed);
        w.int(self.data_length);
        w.buffer(self.data.as_deref());
        w.vector(&self.acl, |w, acl| acl.encode(w));
    }
}

/// What is known of a node besides its data. 68 bytes on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// zxid of the change that created the node.
    pub czxid: i64,
    /// zxid of the change that last replaced the data.
    pub mzxid: i64,
    /// Creation, milliseconds since 1970.
    pub ctime: i64,
    /// Last replacement of the data, milliseconds since 1970.
    pub mtime: i64,
    /// How often the data was replaced.
    pub version: i32,
    /// How often children were created or deleted.
    pub cversion: i32,
    /// How often the access list was replaced.
    pub aversion: i32,
    /// The owning session of an ephemeral node; 0 for others; containers and TTL nodes have the high bits set.
    pub ephemeral_owner: i64,
    /// Bytes of data.
    pub data_length: i32,
    /// Number of children.
    pub num_children: i32,
    /// zxid of the change that last created or deleted a child.
    pub pzxid: i64,
}

impl Stat {
    /// Reads the record.
    pub fn decode(r: &mut Reader) -> Result<Stat, DecodeError> {
        Ok(Stat {
            czxid: r.long()?,
            mzxid: r.long()?,
            ctime: r.long()?,
            mtime: r.long()?,
            version: r.int()?,
            cversion: r.int()?,
            aversion: r.int()?,
            ephemeral_owner: r.long()?,
            data_length: r.int()?,
            num_children: r.int()?,
            pzxid: r.long()?,
        })
    }

    /// Appends the record.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.long(self.czxid);
        w.long(self.mzxid);
        w.long(self.ctime);
        w.long(self.mtime);
        w.int(self.version);
        w.int(self.cversion);
        w.int(self.aversion);
        w.long(self.ephemeral_owner);
        w.int(self.data_length);
        w.int(self.num_children);
        w.long(self.pzxid);
    }
}

/// The first frame of a connection: a new session is asked for, or an old one brought along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectRequest {
    /// 0.
    pub protocol_version: i32,
    /// The newest zxid the client has seen; a server that is behind it refuses the connection.
    pub last_zxid_seen: i64,
    /// The session timeout the client would like, milliseconds.
    pub timeout_ms: i32,
    /// 0 for a new session.
    pub session_id: i64,
    /// 16 bytes that prove that the session is the client's.
    pub password: Bytes,
    /// May the server be cut off from the ensemble? `None`: the client is older than 3.4 and sends (and expects) no such byte.
    pub read_only: Option<bool>,
}

impl ConnectRequest {
    /// Reads the record; the last byte may be missing.
    pub fn decode(r: &mut Reader) -> Result<ConnectRequest, DecodeError> {
        Ok(ConnectRequest {
            protocol_version: r.int()?,
            last_zxid_seen: r.long()?,
            timeout_ms: r.int()?,
            session_id: r.long()?,
            password: r.buffer()?.unwrap_or_default(),
            read_only: if r.remaining() > 0 { Some(r.bool()?) } else { None },
        })
    }

    /// Appends the record.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.int(self.protocol_version);
        w.long(self.last_zxid_seen);
        w.int(self.timeout_ms);
        w.long(self.session_id);
        w.buffer(Some(&self.password));
        if let Some(read_only) = self.read_only {
            w.bool(read_only);
        }
    }
}

/// The answer to [`ConnectRequest`]. A session that is over is answered with timeout 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectResponse {
    /// 0.
    pub protocol_version: i32,
    /// The session timeout that holds, milliseconds; 0 or less: the session is over.
    pub timeout_ms: i32,
    /// The session.
    pub session_id: i64,
    /// 16 bytes to bring along when reconnecting.
    pub password: Bytes,
    /// Is the server cut off from the ensemble? Sent only to clients that sent the byte themselves.
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    /// Reads the record; the last byte may be missing.
    pub fn decode(r: &mut Reader) -> Result<ConnectResponse, DecodeError> {
        Ok(ConnectResponse {
            protocol_version: r.int()?,
            timeout_ms: r.int()?,
            session_id: r.long()?,
            password: r.buffer()?.unwrap_or_default(),
            read_only: if r.remaining() > 0 { Some(r.bool()?) } else { None },
        })
    }

    /// Appends the record.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.int(self.protocol_version);
        w.int(self.timeout_ms);
        w.long(self.session_id);
        w.buffer(Some(&self.password));
        if let Some(read_only) = self.read_only {
            w.bool(read_only);
        }
    }
}

/// Before each request but the first frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// The client's number for the request; negative ones are in [`super::opcode`].
    pub xid: i32,
    /// An operation code, perhaps unknown.
    pub opcode: i32,
}

impl RequestHeader {
    /// Reads the record.
    pub fn decode(r: &mut Reader) -> Result<RequestHeader, DecodeError> {
        Ok(RequestHeader { xid: r.int()?, opcode: r.int()? })
    }

    /// Appends the record.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.int(self.xid);
        w.int(self.opcode);
    }
}

/// Before each answer and each watch event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplyHeader {
    /// The request's xid, or one of those in [`super::opcode`].
    pub xid: i32,
    /// Of a change: its zxid; of a read: the newest the server had applied; of an event: of the change that fired it.
    pub zxid: i64,
    /// 0, or why the request failed; then no body follows.
    pub err: i32,
}

impl ReplyHeader {
    /// Reads the record.
    pub fn decode(r: &mut Reader) -> Result<ReplyHeader, DecodeError> {
        Ok(ReplyHeader { xid: r.int()?, zxid: r.long()?, err: r.int()? })
    }

    /// Appends the record.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.int(self.xid);
        w.long(self.zxid);
        w.int(self.err);
    }

    /// `Ok`, or the error that `err` stands for.
    pub fn outcome(&self) -> Result<(), ZkError> {
        if self.err == 0 { Ok(()) } else { Err(ZkError::from_code(self.err)) }
    }
}

/// What happened to a watched node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum EventType {
    /// Nothing happened to a node: the connection's state changed.
    None = -1,
    /// The node was created.
    NodeCreated = 1,
    /// The node was deleted.
    NodeDeleted = 2,
    /// The data was replaced.
    NodeDataChanged = 3,
    /// A child was created or deleted.
    NodeChildrenChanged = 4,
    /// A data watch was taken back.
    DataWatchRemoved = 5,
    /// A child watch was taken back.
    ChildWatchRemoved = 6,
    /// A persistent watch was taken back.
    PersistentWatchRemoved = 7,
}

impl EventType {
    /// The number on the wire.
    pub fn code(self) -> i32 {
        self as i32
    }

    /// The event with this number.
    pub fn from_code(code: i32) -> Option<EventType> {
        Some(match code {
            -1 => EventType::None,
            1 => EventType::NodeCreated,
            2 => EventType::NodeDeleted,
            3 => EventType::NodeDataChanged,
            4 => EventType::NodeChildrenChanged,
            5 => EventType::DataWatchRemoved,
            6 => EventType::ChildWatchRemoved,
            7 => EventType::PersistentWatchRemoved,
            _ => return None,
        })
    }
}

/// The state of a client's connection, as events name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum KeeperState {
    /// Not connected to any server.
    Disconnected = 0,
    /// Connected to a server of the ensemble; every watch event says so.
    SyncConnected = 3,
    /// The credentials were refused.
    AuthFailed = 4,
    /// Connected to a server that is cut off from the ensemble.
    ConnectedReadOnly = 5,
    /// SASL succeeded.
    SaslAuthenticated = 6,
    /// The client closed the session.
    Closed = 7,
    /// The session is over.
    Expired = -112,
}

impl KeeperState {
    /// The number on the wire.
    pub fn code(self) -> i32 {
        self as i32
    }

    /// The state with this number.
    pub fn from_code(code: i32) -> Option<KeeperState> {
        Some(match code {
            0 => KeeperState::Disconnected,
            3 => KeeperState::SyncConnected,
            4 => KeeperState::AuthFailed,
            5 => KeeperState::ConnectedReadOnly,
            6 => KeeperState::SaslAuthenticated,
            7 => KeeperState::Closed,
            -112 => KeeperState::Expired,
            _ => return None,
        })
    }
}

/// The body of a watch event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatcherEvent {
    /// What happened.
    pub kind: EventType,
    /// `SyncConnected` when it comes from a server.
    pub state: KeeperState,
    /// The node.
    pub path: String,
}

impl WatcherEvent {
    /// Reads the record.
    pub fn decode(r: &mut Reader) -> Result<WatcherEvent, DecodeError> {
        let (kind, state) = (r.int()?, r.int()?);
        Ok(WatcherEvent {
            kind: EventType::from_code(kind).ok_or(DecodeError::BadValue { field: "event type", value: kind })?,
            state: KeeperState::from_code(state).ok_or(DecodeError::BadValue { field: "state", value: state })?,
            path: r.string()?,
        })
    }

    /// Appends the record.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.int(self.kind.code());
        w.int(self.state.code());
        w.string(&self.path);
    }
}

/// Which watches `checkWatches` and `removeWatches` mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum WatcherType {
    /// Set by reading children.
    Children = 1,
    /// Set by reading data or asking for existence.
    Data = 2,
    /// All kinds.
    Any = 3,
    /// Persistent ones on the node alone.
    Persistent = 4,
    /// Persistent ones on the node and all below.
    PersistentRecursive = 5,
}

impl WatcherType {
    /// The number on the wire.
    pub fn code(self) -> i32 {
        self as i32
    }

    /// The type with this number.
    pub fn from_code(code: i32) -> Option<WatcherType> {
        Some(match code {
            1 => WatcherType::Children,
            2 => WatcherType::Data,
            3 => WatcherType::Any,
            4 => WatcherType::Persistent,
            5 => WatcherType::PersistentRecursive,
            _ => return None,
        })
    }
}

/// Which watch `addWatch` sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum AddWatchMode {
    /// Data, existence and children of the node, until taken back.
    Persistent = 0,
    /// Data and existence of the node and all below, until taken back; no child events.
    PersistentRecursive = 1,
}

impl AddWatchMode {
    /// The number on the wire.
    pub fn code(self) -> i32 {
        self as i32
    }

    /// The mode with this number.
    pub fn from_code(code: i32) -> Option<AddWatchMode> {
        match code {
            0 => Some(AddWatchMode::Persistent),
            1 => Some(AddWatchMode::PersistentRecursive),
            _ => None,
        }
    }
}

/// What kind of node a create request makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum CreateMode {
    /// Stays until deleted.
    Persistent = 0,
    /// Goes with its session.
    Ephemeral = 1,
    /// Stays; a number of 10 digits is appended to its name.
    PersistentSequential = 2,
    /// Goes with its session; numbered.
    EphemeralSequential = 3,
    /// Goes some time after its last child went.
    Container = 4,
    /// Goes when it has no children and was not changed for its time to live.
    PersistentWithTtl = 5,
    /// The same, numbered.
    PersistentSequentialWithTtl = 6,
}

impl CreateMode {
    /// The number on the wire.
    pub fn flag(self) -> i32 {
        self as i32
    }

    /// The mode with this number.
    pub fn from_flag(flag: i32) -> Option<CreateMode> {
        Some(match flag {
            0 => CreateMode::Persistent,
            1 => CreateMode::Ephemeral,
            2 => CreateMode::PersistentSequential,
            3 => CreateMode::EphemeralSequential,
            4 => CreateMode::Container,
            5 => CreateMode::PersistentWithTtl,
            6 => CreateMode::PersistentSequentialWithTtl,
            _ => return None,
        })
    }

    /// Does the node go with its session?
    pub fn is_ephemeral(self) -> bool {
        matches!(self, CreateMode::Ephemeral | CreateMode::EphemeralSequential)
    }

    /// Is a number appended to the name?
    pub fn is_sequential(self) -> bool {
        matches!(
            self,
            CreateMode::PersistentSequential
                | CreateMode::EphemeralSequential
                | CreateMode::PersistentSequentialWithTtl
        )
    }

    /// Is it a container?
    pub fn is_container(self) -> bool {
        self == CreateMode::Container
    }

    /// Has it a time to live?
    pub fn is_ttl(self) -> bool {
        matches!(self, CreateMode::PersistentWithTtl | CreateMode::PersistentSequentialWithTtl)
    }
}
