//! A replicated change as plain data, and the one function that applies it. Applying cannot fail and never looks at
//! anything but the tree and the change: the same live, on a follower and on load.

use bytes::Bytes;

use super::acl::{Acl, AclList};
use super::{NewNode, Stat, Tree};

/// One entry of the replicated log: what changes, when, and who waits for the answer. Read back after a restart by
/// whoever replays the log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Txn {
    /// The transaction id; each transaction has its own, and it is larger than every one before.
    #[prost(int64, tag = "1")]
    pub zxid: i64,
    /// Wall clock of the leader in milliseconds when it was prepared; becomes ctime and mtime.
    #[prost(int64, tag = "2")]
    pub time: i64,
    /// Who waits for the answer; none for what the leader does by itself (expiry, container removal).
    #[prost(message, optional, tag = "3")]
    pub origin: Option<Origin>,
    /// The session that asked, 0 when none did.
    #[prost(int64, tag = "4")]
    pub session: i64,
    /// The client's number of the request (xid), for inspection only.
    #[prost(int32, tag = "5")]
    pub cxid: i32,
    /// What changes; none changes nothing but still takes its zxid.
    #[prost(oneof = "TxnBody", tags = "10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20")]
    pub body: Option<TxnBody>,
}

/// Which server waits for the answer of a transaction, and under which number of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub struct Origin {
    /// Id of the server in the ensemble.
    #[prost(uint64, tag = "1")]
    pub server: u64,
    /// That server's number of the request.
    #[prost(uint64, tag = "2")]
    pub request: u64,
}

/// What a transaction changes. Everything was checked by the leader; applying only does.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum TxnBody {
    /// A session begins; its id is the transaction's `session`.
    #[prost(message, tag = "10")]
    CreateSession(CreateSession),
    /// A session ends, by its client's wish or by expiry; its ephemeral znodes go with it.
    #[prost(message, tag = "11")]
    CloseSession(CloseSession),
    /// A znode is made.
    #[prost(message, tag = "12")]
    Create(Create),
    /// A znode without children is removed.
    #[prost(message, tag = "13")]
    Delete(Delete),
    /// A znode's data is replaced.
    #[prost(message, tag = "14")]
    SetData(SetData),
    /// A znode's access control list is replaced.
    #[prost(message, tag = "15")]
    SetAcl(SetAcl),
    /// A version was checked, nothing changes.
    #[prost(message, tag = "16")]
    Check(Check),
    /// All of these, under one zxid.
    #[prost(message, tag = "17")]
    Multi(Multi),
    /// A multi of which an operation was refused: nothing changes.
    #[prost(message, tag = "18")]
    FailedMulti(FailedMulti),
    /// A refused request: nothing changes, and the answer comes in its turn.
    #[prost(message, tag = "19")]
    Error(ErrorTxn),
    /// Another tree takes the place of this one, and its sessions that of the present ones.
    #[prost(message, tag = "20")]
    Restore(Restore),
}

/// A whole tree.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Restore {
    /// As [`Tree::snapshot`] makes it.
    #[prost(bytes = "bytes", tag = "1")]
    pub snapshot: Bytes,
}

/// Parameters of a new session.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CreateSession {
    /// Negotiated timeout in milliseconds.
    #[prost(int32, tag = "1")]
    pub timeout_ms: i32,
    /// The 16 bytes with which the client may move the session to another connection.
    #[prost(bytes = "vec", tag = "2")]
    pub password: Vec<u8>,
}

/// End of a session.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct CloseSession {}

/// A znode to make.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Create {
    /// Full path, with its sequence number if it has one.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Data; ZooKeeper tells none from empty.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub data: Option<Bytes>,
    /// Access control list, expanded.
    #[prost(message, repeated, tag = "3")]
    pub acl: Vec<Acl>,
    /// The owning session, 0, or a container or TTL mark: see [`super::Kind`].
    #[prost(int64, tag = "4")]
    pub owner: i64,
    /// How many children the parent has ever had, this one counted.
    #[prost(int64, tag = "5")]
    pub parent_cversion: i64,
}

/// A znode to remove.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Delete {
    /// Full path.
    #[prost(string, tag = "1")]
    pub path: String,
}

/// New data of a znode.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SetData {
    /// Full path.
    #[prost(string, tag = "1")]
    pub path: String,
    /// New data; ZooKeeper tells none from empty.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub data: Option<Bytes>,
    /// The version after the change.
    #[prost(int32, tag = "3")]
    pub version: i32,
}

/// New access control list of a znode.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SetAcl {
    /// Full path.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Access control list, expanded.
    #[prost(message, repeated, tag = "2")]
    pub acl: Vec<Acl>,
    /// The `aversion` after the change.
    #[prost(int32, tag = "3")]
    pub version: i32,
}

/// A version that held when the leader looked.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Check {
    /// Full path.
    #[prost(string, tag = "1")]
    pub path: String,
}

/// Operations under one zxid.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Multi {
    /// In the client's order.
    #[prost(message, repeated, tag = "1")]
    pub steps: Vec<Step>,
}

/// One operation of a multi.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Step {
    /// Create, delete, set data, set acl or check.
    #[prost(oneof = "TxnBody", tags = "10, 11, 12, 13, 14, 15, 16, 17, 18, 19")]
    pub body: Option<TxnBody>,
}

/// What became of each operation of a refused multi.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FailedMulti {
    /// One [`Refusal`] an operation, as a number; 0 for those before the one that was refused.
    #[prost(int32, repeated, tag = "1")]
    pub codes: Vec<i32>,
}

/// Why a request was refused.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ErrorTxn {
    /// A [`Refusal`] as a number.
    #[prost(enumeration = "Refusal", tag = "1")]
    pub code: i32,
}

/// Why the tree does not do what was asked. The numbers are stored in logs: they are never reused. Wire codes are
/// another matter, see `ops/error.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Refusal {
    /// A refusal of which the cause is not known here (written by a newer version).
    Unknown = 0,
    /// The znode, or the parent of one to create, does not exist.
    NoNode = 1,
    /// The znode exists already.
    NodeExists = 2,
    /// The version is not the expected one.
    BadVersion = 3,
    /// The znode has children.
    NotEmpty = 4,
    /// An ephemeral znode may not have children.
    NoChildrenForEphemerals = 5,
    /// The access control list is empty or names an unknown scheme or a malformed id.
    InvalidAcl = 6,
    /// The session has not the permission.
    NoAuth = 7,
    /// The path or another argument is malformed.
    BadArguments = 8,
    /// The session has expired or is being closed.
    SessionExpired = 9,
    /// The session is not known.
    UnknownSession = 10,
    /// The session now lives on another server.
    SessionMoved = 11,
    /// The operation is switched off or not known.
    Unimplemented = 12,
    /// A hard quota would be exceeded.
    QuotaExceeded = 13,
    /// An earlier operation of the same multi was refused.
    EarlierStepRefused = 14,
    /// The request's bytes do not make sense.
    Malformed = 15,
    /// No such watch to remove or check.
    NoWatcher = 16,
    /// Dynamic reconfiguration is switched off.
    ReconfigDisabled = 17,
    /// A session of this id exists already.
    SessionExists = 18,
    /// Another reconfiguration has not ended yet.
    ReconfigInProgress = 19,
    /// The new configuration has no connected and synced quorum.
    NewConfigNoQuorum = 20,
    /// Client authentication failed.
    AuthFailed = 21,
    /// The session is known to one server alone and may not have ephemeral znodes.
    EphemeralOnLocalSession = 22,
}

/// What an applied change answers to who asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Nothing to say beyond success.
    Done,
    /// A session began.
    SessionCreated {
        /// Negotiated timeout in milliseconds.
        timeout_ms: i32,
    },
    /// A session ended.
    SessionClosed,
    /// A znode was made.
    Created {
        /// Its full path, sequence number included.
        path: String,
        /// Its state.
        stat: Stat,
    },
    /// A znode was removed.
    Deleted,
    /// Data or access control list was replaced.
    Changed {
        /// The znode's state after the change.
        stat: Stat,
    },
    /// A version was as expected.
    Checked,
    /// What each operation of a multi did.
    Multi(Vec<Result<Outcome, Refusal>>),
    /// Why a multi did nothing: none for the operations before the refused one.
    FailedMulti(Vec<Option<Refusal>>),
}

/// What kind of change a watch hears of. ZooKeeper's names without "Node".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// The znode was made.
    Created,
    /// The znode was removed.
    Deleted,
    /// The znode's data was set.
    DataChanged,
    /// A child was made or removed.
    ChildrenChanged,
}

/// A change that watches may hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchTrigger {
    /// What happened.
    pub kind: EventKind,
    /// To which znode.
    pub path: String,
    /// Who may know: a watcher without READ on this list is not told (as ZooKeeper since 3.9.2).
    pub acl: AclList,
}

/// All that follows from one applied transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The transaction's id.
    pub zxid: i64,
    /// The answer for its origin.
    pub result: Result<Outcome, Refusal>,
    /// What watches hear, in order.
    pub events: Vec<WatchTrigger>,
    /// The session that ended with it: its connections close.
    pub closed_session: Option<i64>,
}

impl Refusal {
    /// The refusal that a stored number means.
    pub fn from_number(number: i32) -> Refusal {
        Refusal::try_from(number).unwrap_or(Refusal::Unknown)
    }
}

impl TxnBody {
    /// The body of a refused request.
    pub fn refused(refusal: Refusal) -> TxnBody {
        TxnBody::Error(ErrorTxn { code: refusal as i32 })
    }
}

impl Tree {
    /// Applies a transaction: the only way the tree changes. Total and deterministic. A transaction that cannot be done
    /// (which only a bug or a foreign log can bring about) changes nothing and answers why.
    pub fn apply(&mut self, txn: &Txn) -> Applied {
        let mut events = Vec::new();
        let mut closed_session = None;
        let result = match &txn.body {
            None => Ok(Outcome::Done),
            Some(TxnBody::CreateSession(session)) => {
                self.add_session(txn.session, session.timeout_ms, &session.password);
                Ok(Outcome::SessionCreated { timeout_ms: session.timeout_ms })
            }
            Some(TxnBody::CloseSession(_)) => {
                self.close_session(txn.session, txn.zxid, &mut events);
                closed_session = Some(txn.session);
                Ok(Outcome::SessionClosed)
            }
            Some(TxnBody::Restore(restore)) => self.restore(&restore.snapshot, txn.zxid),
            Some(body) => self.apply_step(txn, body, &mut events),
        };
        self.set_zxid(txn.zxid);
        Applied { zxid: txn.zxid, result, events, closed_session }
    }

    fn apply_step(&mut self, txn: &Txn, body: &TxnBody, events: &mut Vec<WatchTrigger>) -> Result<Outcome, Refusal> {
        match body {
            TxnBody::Create(create) => {
                let node = NewNode {
                    data: create.data.as_deref(),
                    acl: &create.acl,
                    owner: create.owner,
                    zxid: txn.zxid,
                    time: txn.time,
                };
                let stat = self.create(&create.path, node, create.parent_cversion, events)?;
                Ok(Outcome::Created { path: create.path.clone(), stat })
            }
            TxnBody::Delete(delete) => {
                self.delete(&delete.path, txn.zxid, events)?;
                Ok(Outcome::Deleted)
            }
            TxnBody::SetData(set) => {
                let stat = self.set_data(set, txn.zxid, txn.time, events)?;
                Ok(Outcome::Changed { stat })
            }
            TxnBody::SetAcl(set) => Ok(Outcome::Changed { stat: self.set_acl(&set.path, &set.acl, set.version)? }),
            TxnBody::Check(_) => Ok(Outcome::Checked),
            TxnBody::Multi(multi) => {
                let mut outcomes = Vec::with_capacity(multi.steps.len());
                for step in &multi.steps {
                    outcomes.push(match &step.body {
                        Some(body) => self.apply_step(txn, body, events),
                        None => Ok(Outcome::Done),
                    });
                }
                Ok(Outcome::Multi(outcomes))
            }
            TxnBody::FailedMulti(failed) => Ok(Outcome::FailedMulti(
                failed.codes.iter().map(|code| (*code != 0).then(|| Refusal::from_number(*code))).collect(),
            )),
            TxnBody::Error(error) => Err(Refusal::from_number(error.code)),
            // These come only as a transaction of their own.
            TxnBody::CreateSession(_) | TxnBody::CloseSession(_) | TxnBody::Restore(_) => Err(Refusal::Malformed),
        }
    }
}
