//! A change as it is asked for, before the leader has looked at it: what a server forwards to the leader. Plain data,
//! it decides nothing.

use bytes::Bytes;

use super::acl::Acl;

/// A change that a client, or the leader itself, asks for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Write {
    /// What to change. None (written by a newer version) is refused.
    #[prost(oneof = "WriteBody", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17")]
    pub body: Option<WriteBody>,
}

/// The kinds of change.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum WriteBody {
    /// Begin a session under the id that the asking server chose.
    #[prost(message, tag = "1")]
    CreateSession(super::txn::CreateSession),
    /// End the session.
    #[prost(message, tag = "2")]
    CloseSession(super::txn::CloseSession),
    /// Make a znode.
    #[prost(message, tag = "3")]
    Create(CreateWrite),
    /// Remove a znode.
    #[prost(message, tag = "4")]
    Delete(DeleteWrite),
    /// Remove an empty container or an outlived TTL znode.
    #[prost(message, tag = "5")]
    DeleteContainer(DeleteWrite),
    /// Replace data.
    #[prost(message, tag = "6")]
    SetData(SetDataWrite),
    /// Replace an access control list.
    #[prost(message, tag = "7")]
    SetAcl(SetAclWrite),
    /// Compare a version.
    #[prost(message, tag = "8")]
    Check(DeleteWrite),
    /// Several, all or none.
    #[prost(message, tag = "9")]
    Multi(MultiWrite),
    /// The text of the ensemble's configuration, written to `/zookeeper/config` by the leader itself.
    #[prost(bytes = "bytes", tag = "10")]
    Config(Bytes),
    /// Make a znode unless it is there (ClickHouse).
    #[prost(message, tag = "11")]
    CreateIfNotExists(CreateWrite),
    /// Refuse if the znode is there, with this version or with any for -1 (ClickHouse).
    #[prost(message, tag = "12")]
    CheckNotExists(DeleteWrite),
    /// Compare version and state (ClickHouse).
    #[prost(message, tag = "13")]
    CheckStat(CheckStatWrite),
    /// Remove a znode if it is there (ClickHouse).
    #[prost(message, tag = "14")]
    TryRemove(DeleteWrite),
    /// Remove a znode and all below it (ClickHouse).
    #[prost(message, tag = "15")]
    RemoveRecursive(RemoveRecursiveWrite),
    /// Another membership of the ensemble; what comes of it is for the ensemble's leader to say, not for the tree.
    #[prost(message, tag = "16")]
    Reconfig(ReconfigWrite),
    /// Another tree, which an operator gives to the leader; no client can ask for it.
    #[prost(message, tag = "17")]
    Restore(super::txn::Restore),
}

/// A znode to make, as asked.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CreateWrite {
    /// Full path, without sequence number.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Data; ZooKeeper tells none from empty.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub data: Option<Bytes>,
    /// Access control list as the client gave it; `auth` entries are expanded by the leader.
    #[prost(message, repeated, tag = "3")]
    pub acl: Vec<Acl>,
    /// ZooKeeper's create flags, 0 to 6: 1 ephemeral, 2 sequential, 3 both, 4 container, 5 TTL, 6 TTL sequential.
    #[prost(int32, tag = "4")]
    pub flags: i32,
    /// Which operation asked: it, not the flags, decides between plain, container and TTL.
    #[prost(enumeration = "CreateOp", tag = "5")]
    pub op: i32,
    /// Time to live in milliseconds, for the TTL operation.
    #[prost(int64, tag = "6")]
    pub ttl_ms: i64,
}

/// The operations that make znodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum CreateOp {
    /// create and create2.
    Plain = 0,
    /// createContainer.
    Container = 1,
    /// createTTL.
    Ttl = 2,
}

/// A path and the version it must have.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeleteWrite {
    /// Full path.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Expected version, -1 for any.
    #[prost(int32, tag = "2")]
    pub version: i32,
}

/// New data of a znode, as asked.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SetDataWrite {
    /// Full path.
    #[prost(string, tag = "1")]
    pub path: String,
    /// New data; ZooKeeper tells none from empty.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub data: Option<Bytes>,
    /// Expected version, -1 for any.
    #[prost(int32, tag = "3")]
    pub version: i32,
}

/// New access control list of a znode, as asked.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SetAclWrite {
    /// Full path.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Access control list as the client gave it.
    #[prost(message, repeated, tag = "2")]
    pub acl: Vec<Acl>,
    /// Expected `aversion`, -1 for any.
    #[prost(int32, tag = "3")]
    pub version: i32,
}

/// A version and a state to compare. ClickHouse Keeper's checkStat.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CheckStatWrite {
    /// Full path.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Expected version, -1 for any.
    #[prost(int32, tag = "2")]
    pub version: i32,
    /// czxid, mzxid, ctime, mtime, ephemeralOwner, pzxid; -1 for any.
    #[prost(int64, repeated, tag = "3")]
    pub longs: Vec<i64>,
    /// version, cversion, aversion, dataLength, numChildren; -1 for any.
    #[prost(int32, repeated, tag = "4")]
    pub ints: Vec<i32>,
}

/// A znode to remove with all below it. ClickHouse Keeper's removeRecursive.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RemoveRecursiveWrite {
    /// Full path.
    #[prost(string, tag = "1")]
    pub path: String,
    /// How many znodes may go at most, the top one counted.
    #[prost(uint32, tag = "2")]
    pub limit: u32,
}

/// Another membership, as asked.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReconfigWrite {
    /// `server.N=...` lines, separated by commas.
    #[prost(string, optional, tag = "1")]
    pub joining: Option<String>,
    /// Server ids, separated by commas.
    #[prost(string, optional, tag = "2")]
    pub leaving: Option<String>,
    /// The whole list, separated by commas or newlines.
    #[prost(string, optional, tag = "3")]
    pub new_members: Option<String>,
    /// Version of the configuration it is based on; -1 for whichever.
    #[prost(int64, tag = "4")]
    pub version: i64,
}

/// Several changes, all or none.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MultiWrite {
    /// In the client's order.
    #[prost(message, repeated, tag = "1")]
    pub writes: Vec<Write>,
}

impl From<WriteBody> for Write {
    fn from(body: WriteBody) -> Write {
        Write { body: Some(body) }
    }
}
