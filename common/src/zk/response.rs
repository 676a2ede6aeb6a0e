//! What servers answer: one variant a kind of body, read from and written to the wire. Failed requests have no body but an
//! error in the reply header; only the operations of a multi carry their errors in here.

use bytes::Bytes;

use super::error::ZkError;
use super::jute::{DecodeError, Reader, Writer};
use super::opcode::OpCode;
use super::records::{Acl, ClientInfo, PastValue, Stat};
use crate::limits::DECODE_RESERVE_COUNT;

/// The outcome of one operation of a multi. After a failed `Multi` all are errors: `Ok` for those before the culprit, its
/// own error, `RuntimeInconsistency` for those after it. The operations of a `MultiRead` fail one by one.
pub type OpResult = Result<Response, ZkError>;

/// An answer's body, by operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields named alike mean the same in all variants and are the records' own")]
pub enum Response {
    /// The path that was created, with its number if sequential.
    Create { path: String },
    /// Answer to `create2`, `createContainer` and `createTTL`.
    Create2 { path: String, stat: Stat },
    /// Answer to `delete` and `deleteContainer`; no body.
    Delete,
    /// The node is there.
    Exists { stat: Stat },
    /// Data (null if it was created so) and stat.
    GetData { data: Option<Bytes>, stat: Stat },
    /// The stat after the change.
    SetData { stat: Stat },
    /// The access list.
    GetAcl { acl: Vec<Acl>, stat: Stat },
    /// The stat after the change.
    SetAcl { stat: Stat },
    /// Names, in no particular order.
    GetChildren { children: Vec<String> },
    /// Names and the parent's stat; answers `getChildren2` and `filteredList`.
    GetChildren2 { children: Vec<String>, stat: Stat },
    /// The path that was asked for.
    Sync { path: String },
    /// No body.
    Ping,
    /// No body.
    Check,
    /// One outcome an operation, in their order.
    Multi(Vec<OpResult>),
    /// One outcome an operation, in their order.
    MultiRead(Vec<OpResult>),
    /// The new configuration as text.
    Reconfig { data: Option<Bytes>, stat: Stat },
    /// No body.
    CheckWatches,
    /// No body.
    RemoveWatches,
    /// An error record that says 0.
    AddWatch,
    /// No body.
    Auth,
    /// Answer to `setWatches` and `setWatches2`; no body.
    SetWatches,
    /// The server's step.
    Sasl { token: Option<Bytes> },
    /// Paths.
    GetEphemerals { ephemerals: Vec<String> },
    /// How many.
    GetAllChildrenNumber { total: i32 },
    /// Identities.
    WhoAmI { clients: Vec<ClientInfo> },
    /// No body; the server closes the connection after it.
    CloseSession,
    /// No body.
    CheckNotExists,
    /// The path that exists now.
    CreateIfNotExists { path: String },
    /// No body.
    RemoveRecursive,
    /// No body.
    CheckStat,
    /// No body.
    TryRemove,
    /// Names, the parent's stat, and one stat and one data an entry if they were asked for.
    FilteredListWithStatsAndData { children: Vec<String>, stat: Stat, stats: Vec<Stat>, data: Vec<Option<Bytes>> },
    /// Paths.
    ListRecursive { paths: Vec<String> },
    /// Values, the newest first.
    GetHistory { values: Vec<PastValue> },
    /// JSON, as the admin server's command `requests` gives it.
    GetRequests { found: Option<Bytes> },
}

impl Response {
    /// The operation number that stands before this answer inside a multi. Several requests share one kind of answer, so this
    /// may differ from the request's.
    pub fn opcode(&self) -> OpCode {
        match self {
            Response::Create { .. } => OpCode::Create,
            Response::Create2 { .. } => OpCode::Create2,
            Response::Delete => OpCode::Delete,
            Response::Exists { .. } => OpCode::Exists,
            Response::GetData { .. } => OpCode::GetData,
            Response::SetData { .. } => OpCode::SetData,
            Response::GetAcl { .. } => OpCode::GetAcl,
            Response::SetAcl { .. } => OpCode::SetAcl,
            Response::GetChildren { .. } => OpCode::GetChildren,
            Response::GetChildren2 { .. } => OpCode::GetChildren2,
            Response::Sync { .. } => OpCode::Sync,
            Response::Ping => OpCode::Ping,
            Response::Check => OpCode::Check,
            Response::Multi(_) => OpCode::Multi,
            Response::MultiRead(_) => OpCode::MultiRead,
            Response::Reconfig { .. } => OpCode::Reconfig,
            Response::CheckWatches => OpCode::CheckWatches,
            Response::RemoveWatches => OpCode::RemoveWatches,
            Response::AddWatch => OpCode::AddWatch,
            Response::Auth => OpCode::Auth,
            Response::SetWatches => OpCode::SetWatches,
            Response::Sasl { .. } => OpCode::Sasl,
            Response::GetEphemerals { .. } => OpCode::GetEphemerals,
            Response::GetAllChildrenNumber { .. } => OpCode::GetAllChildrenNumber,
            Response::WhoAmI { .. } => OpCode::WhoAmI,
            Response::CloseSession => OpCode::CloseSession,
            Response::CheckNotExists => OpCode::CheckNotExists,
            Response::CreateIfNotExists { .. } => OpCode::CreateIfNotExists,
            Response::RemoveRecursive => OpCode::RemoveRecursive,
            Response::CheckStat => OpCode::CheckStat,
            Response::TryRemove => OpCode::TryRemove,
            Response::FilteredListWithStatsAndData { .. } => OpCode::FilteredListWithStatsAndData,
            Response::ListRecursive { .. } => OpCode::ListRecursive,
            Response::GetHistory { .. } => OpCode::GetHistory,
            Response::GetRequests { .. } => OpCode::GetRequests,
        }
    }

    /// Reads the answer to a request for `opcode` whose reply header said no error.
    pub fn decode(opcode: OpCode, r: &mut Reader) -> Result<Response, DecodeError> {
        Ok(match opcode {
            OpCode::Notification | OpCode::Error | OpCode::CreateSession => {
                return Err(DecodeError::BadOpcode { code: opcode.code() });
            }
            OpCode::Create => Response::Create { path: r.string()? },
            OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                Response::Create2 { path: r.string()?, stat: Stat::decode(r)? }
            }
            OpCode::Delete | OpCode::DeleteContainer => Response::Delete,
            OpCode::Exists => Response::Exists { stat: Stat::decode(r)? },
            OpCode::GetData => Response::GetData { data: r.buffer()?, stat: Stat::decode(r)? },
            OpCode::SetData => Response::SetData { stat: Stat::decode(r)? },
            OpCode::GetAcl => Response::GetAcl { acl: r.vector(Acl::decode)?, stat: Stat::decode(r)? },
            OpCode::SetAcl => Response::SetAcl { stat: Stat::decode(r)? },
            OpCode::GetChildren => Response::GetChildren { children: r.strings()? },
            OpCode::GetChildren2 | OpCode::FilteredList => {
                Response::GetChildren2 { children: r.strings()?, stat: Stat::decode(r)? }
            }
            OpCode::Sync => Response::Sync { path: r.string()? },
            OpCode::Ping => Response::Ping,
            OpCode::Check => Response::Check,
            OpCode::Multi => Response::Multi(decode_results(r)?),
            OpCode::MultiRead => Response::MultiRead(decode_results(r)?),
            OpCode::Reconfig => Response::Reconfig { data: r.buffer()?, stat: Stat::decode(r)? },
            OpCode::CheckWatches => Response::CheckWatches,
            OpCode::RemoveWatches => Response::RemoveWatches,
            OpCode::AddWatch => {
                r.int()?;
                Response::AddWatch
            }
            OpCode::Auth => Response::Auth,
            OpCode::SetWatches | OpCode::SetWatches2 => Response::SetWatches,
            OpCode::Sasl => Response::Sasl { token: r.buffer()? },
            OpCode::GetEphemerals => Response::GetEphemerals { ephemerals: r.strings()? },
            OpCode::GetAllChildrenNumber => Response::GetAllChildrenNumber { total: r.int()? },
            OpCode::WhoAmI => Response::WhoAmI { clients: r.vector(ClientInfo::decode)? },
            OpCode::CloseSession => Response::CloseSession,
            OpCode::CheckNotExists => Response::CheckNotExists,
            OpCode::CreateIfNotExists => Response::CreateIfNotExists { path: r.string()? },
            OpCode::RemoveRecursive => Response::RemoveRecursive,
            OpCode::CheckStat => Response::CheckStat,
            OpCode::TryRemove => Response::TryRemove,
            OpCode::FilteredListWithStatsAndData => Response::FilteredListWithStatsAndData {
                children: r.strings()?,
                stat: Stat::decode(r)?,
                stats: r.vector(Stat::decode)?,
                data: r.vector(Reader::buffer)?,
            },
            OpCode::ListRecursive => Response::ListRecursive { paths: r.strings()? },
            OpCode::GetHistory => Response::GetHistory { values: r.vector(PastValue::decode)? },
            OpCode::GetRequests => Response::GetRequests { found: r.buffer()? },
        })
    }

    /// Appends the body (without header).
    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Response::Delete
            | Response::Ping
            | Response::Check
            | Response::CheckWatches
            | Response::RemoveWatches
            | Response::Auth
            | Response::SetWatches
            | Response::CloseSession
            | Response::CheckNotExists
            | Response::RemoveRecursive
            | Response::CheckStat
            | Response::TryRemove => {}
            Response::Create { path } | Response::Sync { path } | Response::CreateIfNotExists { path } => {
                w.string(path)
            }
            Response::Create2 { path, stat } => {
                w.string(path);
                stat.encode(w);
            }
            Response::Exists { stat } | Response::SetData { stat } | Response::SetAcl { stat } => stat.encode(w),
            Response::GetData { data, stat } | Response::Reconfig { data, stat } => {
                w.buffer(data.as_deref());
                stat.encode(w);
            }
            Response::GetAcl { acl, stat } => {
                w.vector(acl, |w, acl| acl.encode(w));
                stat.encode(w);
            }
            Response::GetChildren { children: names }
            | Response::GetEphemerals { ephemerals: names }
            | Response::ListRecursive { paths: names } => w.strings(names),
            Response::GetChildren2 { children, stat } => {
                w.strings(children);
                stat.encode(w);
            }
            Response::Multi(results) | Response::MultiRead(results) => encode_results(results, w),
            Response::AddWatch => w.int(0),
            Response::Sasl { token: bytes } | Response::GetRequests { found: bytes } => w.buffer(bytes.as_deref()),
            Response::GetAllChildrenNumber { total } => w.int(*total),
            Response::GetHistory { values } => w.vector(values, |w, value| value.encode(w)),
            Response::WhoAmI { clients } => w.vector(clients, |w, client| client.encode(w)),
            Response::FilteredListWithStatsAndData { children, stat, stats, data } => {
                w.strings(children);
                stat.encode(w);
                w.vector(stats, |w, stat| stat.encode(w));
                w.vector(data, |w, data| w.buffer(data.as_deref()));
            }
        }
    }

    /// Puts every path (not: name) of the answer through `change`; a client's chroot needs it.
    pub fn change_paths(&mut self, change: &impl Fn(&mut String)) {
        match self {
            Response::Create { path }
            | Response::Create2 { path, .. }
            | Response::Sync { path }
            | Response::CreateIfNotExists { path } => change(path),
            Response::GetEphemerals { ephemerals: paths } | Response::ListRecursive { paths } => {
                paths.iter_mut().for_each(change);
            }
            Response::Multi(results) | Response::MultiRead(results) => {
                results.iter_mut().flatten().for_each(|result| result.change_paths(change));
            }
            _ => {}
        }
    }

    /// The first operation of a multi that failed for its own reason, and the reason; `None` if all went well, or if this
    /// is no multi.
    pub fn first_failure(&self) -> Option<(usize, ZkError)> {
        let (Response::Multi(results) | Response::MultiRead(results)) = self else { return None };
        let mut failures = results.iter().enumerate().filter_map(|(at, result)| Some((at, *result.as_ref().err()?)));
        failures.find(|(_, error)| *error != ZkError::Ok)
    }
}

fn decode_results(r: &mut Reader) -> Result<Vec<OpResult>, DecodeError> {
    let mut results = Vec::with_capacity(DECODE_RESERVE_COUNT.min(r.remaining() / 9));
    loop {
        let (code, done, _err) = (r.int()?, r.bool()?, r.int()?);
        if done {
            return Ok(results);
        }
        results.push(match OpCode::from_code(code) {
            Some(OpCode::Error) => Err(ZkError::from_code(r.int()?)),
            // One level only: a multi inside a multi would let the sender choose the depth of our recursion.
            Some(opcode) if !matches!(opcode, OpCode::Multi | OpCode::MultiRead) => Ok(Response::decode(opcode, r)?),
            _ => return Err(DecodeError::BadOpcode { code }),
        });
    }
}

fn encode_results(results: &[OpResult], w: &mut Writer<'_>) {
    for result in results {
        match result {
            Ok(response) => {
                w.int(response.opcode().code());
                w.bool(false);
                w.int(0);
                response.encode(w);
            }
            Err(error) => {
                w.int(OpCode::Error.code());
                w.bool(false);
                w.int(error.code());
                w.int(error.code());
            }
        }
    }
    w.int(-1);
    w.bool(true);
    w.int(-1);
}
