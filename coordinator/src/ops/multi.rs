//! multi and multiRead, and the checks that a multi is made of. Each operation is what its own file makes of it.

use common::zk::{CreateMode, Request, Response, Stat, ZkError};

use super::{ReadContext, ReplyShape, error, read, reply as reply_one, write};
use crate::tree::Tree;
use crate::tree::txn::{Outcome, Refusal};
use crate::tree::write::{CheckStatWrite, DeleteWrite, MultiWrite, WriteBody};

pub(super) fn check(path: String, version: i32) -> (WriteBody, ReplyShape) {
    (WriteBody::Check(DeleteWrite { path, version }), ReplyShape::Check)
}

pub(super) fn check_not_exists(path: String, version: i32) -> (WriteBody, ReplyShape) {
    (WriteBody::CheckNotExists(DeleteWrite { path, version }), ReplyShape::CheckNotExists)
}

pub(super) fn check_stat(path: String, version: i32, stat: Stat) -> (WriteBody, ReplyShape) {
    let body = CheckStatWrite {
        path,
        version,
        longs: vec![stat.czxid, stat.mzxid, stat.ctime, stat.mtime, stat.ephemeral_owner, stat.pzxid],
        ints: vec![stat.version, stat.cversion, stat.aversion, stat.data_length, stat.num_children],
    };
    (WriteBody::CheckStat(body), ReplyShape::CheckStat)
}

pub(super) fn multi(requests: Vec<Request>) -> Result<(WriteBody, ReplyShape), ZkError> {
    let mut writes = Vec::with_capacity(requests.len());
    let mut shapes = Vec::with_capacity(requests.len());
    for request in requests {
        let (body, shape) = write(as_in_multi(request)?)?;
        writes.push(body);
        shapes.push(shape);
    }
    Ok((WriteBody::Multi(MultiWrite { writes }), ReplyShape::Multi(shapes)))
}

/// Inside a multi ZooKeeper goes by the flags first: a create with a container's flag makes a container, and flags that
/// do not fit the operation spoil the whole request.
fn as_in_multi(request: Request) -> Result<Request, ZkError> {
    match request {
        Request::Create(create) | Request::Create2(create) if create.flags == CreateMode::Container.flag() => {
            Ok(Request::CreateContainer(create))
        }
        Request::CreateTtl { create, .. } if create.flags == CreateMode::Container.flag() => {
            Ok(Request::CreateContainer(create))
        }
        Request::CreateTtl { create, .. } if !create.mode().is_some_and(CreateMode::is_ttl) => {
            Ok(Request::Create(create))
        }
        Request::Create(ref create) | Request::Create2(ref create) | Request::CreateContainer(ref create)
            if create.mode().is_none_or(CreateMode::is_ttl) =>
        {
            Err(ZkError::MarshallingError)
        }
        other => Ok(other),
    }
}

pub(super) fn reply(shapes: &[ReplyShape], results: &[Result<Outcome, Refusal>], tree: &Tree) -> Response {
    Response::Multi(shapes.iter().zip(results).map(|(shape, result)| reply_one(shape, result, tree)).collect())
}

/// A refused multi is answered without an error in the header: each operation has its own.
pub(super) fn failed_reply(refusals: &[Option<Refusal>]) -> Response {
    Response::Multi(refusals.iter().map(|refusal| Err(refusal.map_or(ZkError::Ok, error::code))).collect())
}

/// Reads that fail one by one. They leave no watches, whatever their flags say, as in ZooKeeper.
pub(super) fn multi_read(context: &mut ReadContext<'_>, requests: &[Request]) -> Response {
    let mut results = Vec::with_capacity(requests.len());
    for request in requests {
        let unwatched = match request.clone() {
            Request::GetData { path, .. } => Request::GetData { path, watch: false },
            Request::GetChildren { path, .. } => Request::GetChildren { path, watch: false },
            Request::GetChildren2 { path, .. } => Request::GetChildren2 { path, watch: false },
            Request::Exists { path, .. } => Request::Exists { path, watch: false },
            Request::FilteredList { path, filter, .. } => Request::FilteredList { path, watch: false, filter },
            _ => {
                results.push(Err(ZkError::Unimplemented));
                continue;
            }
        };
        results.push(read(context, &unwatched));
    }
    Response::MultiRead(results)
}
