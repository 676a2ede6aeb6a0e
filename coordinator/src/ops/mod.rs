//! The operations of the ZooKeeper wire, one file a group: what each asks of the leader, reads from the tree, and
//! answers. Nothing here sends, waits, or changes the tree.

mod acl;
mod auth;
mod children;
mod create;
mod data;
mod delete;
pub mod error;
mod history;
mod multi;
mod reconfig;
mod requests;
pub mod sasl;
mod session;
mod sync;
mod watches;

use common::zk::{OpCode, Request, Response, Stat, ZkError};

pub use auth::authenticate;
pub use sync::reply as synced;
pub use watches::Missed;

use crate::trace::Trace;
use crate::tree::acl::{self as tree_acl, AclSettings, AuthId};
use crate::tree::txn::{Outcome, Refusal};
use crate::tree::watch::{ConnectionId, Watches};
use crate::tree::write::Write;
use crate::tree::{self, Node, Tree};

/// How an operation is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// From this server's tree, in the session's order.
    Read,
    /// By the leader, as a transaction.
    Write,
    /// Waits until this server has applied what the leader had committed.
    Sync,
    /// Changes the ensemble's membership.
    Reconfig,
    /// By the connection itself.
    Connection,
    /// Not by clients.
    Refused,
}

/// The one table: how each operation is carried out.
pub fn class(opcode: OpCode) -> Class {
    match opcode {
        OpCode::Exists
        | OpCode::GetData
        | OpCode::GetAcl
        | OpCode::GetChildren
        | OpCode::GetChildren2
        | OpCode::MultiRead
        | OpCode::CheckWatches
        | OpCode::RemoveWatches
        | OpCode::AddWatch
        | OpCode::SetWatches
        | OpCode::SetWatches2
        | OpCode::GetEphemerals
        | OpCode::GetAllChildrenNumber
        | OpCode::WhoAmI
        | OpCode::FilteredList
        | OpCode::FilteredListWithStatsAndData
        | OpCode::ListRecursive
        | OpCode::GetHistory
        | OpCode::GetRequests => Class::Read,
        OpCode::Create
        | OpCode::Create2
        | OpCode::CreateContainer
        | OpCode::CreateTtl
        | OpCode::Delete
        | OpCode::DeleteContainer
        | OpCode::SetData
        | OpCode::SetAcl
        | OpCode::Check
        | OpCode::Multi
        | OpCode::CloseSession
        | OpCode::CheckNotExists
        | OpCode::CreateIfNotExists
        | OpCode::RemoveRecursive
        | OpCode::CheckStat
        | OpCode::TryRemove => Class::Write,
        OpCode::Sync => Class::Sync,
        OpCode::Reconfig => Class::Reconfig,
        OpCode::Ping | OpCode::Auth | OpCode::Sasl => Class::Connection,
        OpCode::Notification | OpCode::Error | OpCode::CreateSession => Class::Refused,
    }
}

/// What a read may look at and leave behind.
#[derive(Debug)]
pub struct ReadContext<'a> {
    /// The applied tree.
    pub tree: &'a Tree,
    /// This server's watches.
    pub watches: &'a mut Watches,
    /// Who reads.
    pub connection: ConnectionId,
    /// Its session.
    pub session: i64,
    /// Who it has shown to be.
    pub auth: &'a [AuthId],
    /// Schemes and the super user.
    pub settings: &'a AclSettings,
    /// What became of requests.
    pub trace: &'a Trace,
    /// Changes that the client missed while it was away: they are told before the answer.
    pub missed: Vec<Missed>,
}

impl ReadContext<'_> {
    /// The znode at a path if the client may read it.
    fn readable(&self, path: &str) -> Result<&Node, ZkError> {
        self.permitted(path, tree_acl::READ)
    }

    /// The znode at a path if the client has one of the permissions.
    fn permitted(&self, path: &str, perms: i32) -> Result<&Node, ZkError> {
        let node = self.tree.node(path).ok_or(ZkError::NoNode)?;
        if self.permits(node, perms) { Ok(node) } else { Err(ZkError::NoAuth) }
    }

    fn permits(&self, node: &Node, perms: i32) -> bool {
        tree_acl::permits(self.settings, self.tree.acl(node), perms, self.auth)
    }
}

/// Carries out a read.
///
/// # Errors
/// As ZooKeeper answers them. `Unimplemented` for what is no read.
pub fn read(context: &mut ReadContext<'_>, request: &Request) -> Result<Response, ZkError> {
    match request {
        Request::Exists { path, watch } => data::exists(context, path, *watch),
        Request::GetData { path, watch } => data::get_data(context, path, *watch),
        Request::GetAcl { path } => acl::get_acl(context, path),
        Request::GetChildren { path, watch } => children::get_children(context, path, *watch),
        Request::GetChildren2 { path, watch } => children::get_children2(context, path, *watch),
        Request::FilteredList { path, watch, filter } => children::filtered(context, path, *watch, *filter),
        Request::FilteredListWithStatsAndData { path, watch, filter, with_stat, with_data } => {
            let wanted = children::Wanted { filter: *filter, stats: *with_stat, data: *with_data };
            children::filtered_with(context, path, *watch, wanted)
        }
        Request::ListRecursive { path, limit } => children::list_recursive(context, path, *limit),
        Request::GetHistory { path, zxid, with_data } => history::get_history(context, path, *zxid, *with_data),
        Request::GetRequests(wanted) => requests::get_requests(context, wanted),
        Request::GetAllChildrenNumber { path } => children::get_all_children_number(context, path),
        Request::GetEphemerals { prefix } => Ok(children::get_ephemerals(context, prefix)),
        Request::MultiRead(requests) => Ok(multi::multi_read(context, requests)),
        Request::SetWatches(watches) | Request::SetWatches2(watches) => Ok(watches::set_watches(context, watches)),
        Request::AddWatch { path, mode } => watches::add_watch(context, path, *mode),
        Request::CheckWatches { path, kind } => watches::check_watches(context, path, *kind),
        Request::RemoveWatches { path, kind } => watches::remove_watches(context, path, *kind),
        Request::WhoAmI => Ok(auth::who_am_i(context)),
        Request::Create(_)
        | Request::Create2(_)
        | Request::CreateContainer(_)
        | Request::CreateTtl { .. }
        | Request::Delete { .. }
        | Request::DeleteContainer { .. }
        | Request::SetData { .. }
        | Request::SetAcl { .. }
        | Request::Sync { .. }
        | Request::Ping
        | Request::Check { .. }
        | Request::Multi(_)
        | Request::Reconfig(_)
        | Request::Auth { .. }
        | Request::Sasl { .. }
        | Request::CloseSession
        | Request::CheckNotExists { .. }
        | Request::CreateIfNotExists(_)
        | Request::RemoveRecursive { .. }
        | Request::CheckStat { .. }
        | Request::TryRemove { .. } => Err(ZkError::Unimplemented),
    }
}

/// What must be remembered of a write until its answer: little, and none of its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyShape {
    /// The path alone.
    Create,
    /// Path and stat.
    Create2,
    /// Nothing.
    Delete,
    /// The stat.
    SetData,
    /// The stat.
    SetAcl,
    /// Nothing.
    Check,
    /// One answer an operation.
    Multi(Vec<ReplyShape>),
    /// Nothing; the connection closes after it.
    CloseSession,
    /// Configuration and stat.
    Reconfig,
    /// Nothing.
    CheckNotExists,
    /// This path, whether it was there or not.
    CreateIfNotExists(String),
    /// Nothing.
    RemoveRecursive,
    /// Nothing.
    CheckStat,
    /// Nothing.
    TryRemove,
}

/// What a request asks of the leader, and how it will be answered.
///
/// # Errors
/// `Unimplemented` for what is no write.
pub fn write(request: Request) -> Result<(Write, ReplyShape), ZkError> {
    let (body, shape) = match request {
        Request::Create(create) => create::plain(create, ReplyShape::Create),
        Request::Create2(create) => create::plain(create, ReplyShape::Create2),
        Request::CreateContainer(create) => create::container(create),
        Request::CreateTtl { create, ttl_ms } => create::ttl(create, ttl_ms),
        Request::CreateIfNotExists(create) => create::if_not_exists(create),
        Request::Delete { path, version } => delete::delete(path, version),
        Request::DeleteContainer { path } => delete::delete_container(path),
        Request::TryRemove { path, version } => delete::try_remove(path, version),
        Request::RemoveRecursive { path, limit } => delete::remove_recursive(path, limit),
        Request::SetData { path, data, version } => data::set_data(path, data, version),
        Request::SetAcl { path, acl, version } => acl::set_acl(path, acl, version),
        Request::Check { path, version } => multi::check(path, version),
        Request::CheckNotExists { path, version } => multi::check_not_exists(path, version),
        Request::CheckStat { path, version, stat } => multi::check_stat(path, version, stat),
        Request::Multi(requests) => multi::multi(requests)?,
        Request::CloseSession => session::close(),
        Request::Exists { .. }
        | Request::GetData { .. }
        | Request::GetAcl { .. }
        | Request::GetChildren { .. }
        | Request::GetChildren2 { .. }
        | Request::Sync { .. }
        | Request::Ping
        | Request::MultiRead(_)
        | Request::Reconfig(_)
        | Request::CheckWatches { .. }
        | Request::RemoveWatches { .. }
        | Request::AddWatch { .. }
        | Request::Auth { .. }
        | Request::SetWatches(_)
        | Request::SetWatches2(_)
        | Request::Sasl { .. }
        | Request::GetEphemerals { .. }
        | Request::GetAllChildrenNumber { .. }
        | Request::WhoAmI
        | Request::FilteredList { .. }
        | Request::FilteredListWithStatsAndData { .. }
        | Request::ListRecursive { .. }
        | Request::GetHistory { .. }
        | Request::GetRequests(_) => return Err(ZkError::Unimplemented),
    };
    Ok((body.into(), shape))
}

/// The answer to a write that has been applied.
///
/// # Errors
/// What the leader refused it with. `SystemError` if the outcome is not of this write, which only a bug brings about.
pub fn reply(shape: &ReplyShape, result: &Result<Outcome, Refusal>, tree: &Tree) -> Result<Response, ZkError> {
    let outcome = result.as_ref().map_err(|refusal| error::code(*refusal))?;
    match (shape, outcome) {
        (ReplyShape::Create, Outcome::Created { path, .. }) => Ok(Response::Create { path: path.clone() }),
        (ReplyShape::Create2, Outcome::Created { path, stat }) => {
            Ok(Response::Create2 { path: path.clone(), stat: wire_stat(stat) })
        }
        (ReplyShape::CreateIfNotExists(_), Outcome::Created { path, .. })
        | (ReplyShape::CreateIfNotExists(path), _) => Ok(Response::CreateIfNotExists { path: path.clone() }),
        (ReplyShape::Delete, Outcome::Deleted) => Ok(Response::Delete),
        (ReplyShape::SetData, Outcome::Changed { stat }) => Ok(Response::SetData { stat: wire_stat(stat) }),
        (ReplyShape::SetAcl, Outcome::Changed { stat }) => Ok(Response::SetAcl { stat: wire_stat(stat) }),
        (ReplyShape::Check, Outcome::Checked) => Ok(Response::Check),
        (ReplyShape::CheckNotExists, Outcome::Checked) => Ok(Response::CheckNotExists),
        (ReplyShape::CheckStat, Outcome::Checked) => Ok(Response::CheckStat),
        (ReplyShape::TryRemove, _) => Ok(Response::TryRemove),
        (ReplyShape::RemoveRecursive, _) => Ok(Response::RemoveRecursive),
        (ReplyShape::Multi(shapes), Outcome::Multi(results)) => Ok(multi::reply(shapes, results, tree)),
        (ReplyShape::Multi(_), Outcome::FailedMulti(refusals)) => Ok(multi::failed_reply(refusals)),
        (ReplyShape::CloseSession, Outcome::SessionClosed) => Ok(Response::CloseSession),
        (ReplyShape::Reconfig, Outcome::Changed { stat }) => Ok(reconfig::reply(stat, tree)),
        _ => {
            tracing::error!(?shape, ?outcome, "an applied change is not the one that was asked for");
            Err(ZkError::SystemError)
        }
    }
}

fn wire_stat(stat: &tree::Stat) -> Stat {
    Stat {
        czxid: stat.czxid,
        mzxid: stat.mzxid,
        ctime: stat.ctime,
        mtime: stat.mtime,
        version: stat.version,
        cversion: stat.cversion,
        aversion: stat.aversion,
        ephemeral_owner: stat.ephemeral_owner,
        data_length: stat.data_length,
        num_children: stat.num_children,
        pzxid: stat.pzxid,
    }
}

#[cfg(test)]
mod tests;
