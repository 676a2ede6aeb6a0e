//! getHistory, an operation of our own: values that a znode had.

use bytes::Bytes;
use common::zk::{PastValue, Response, ZkError};

use super::{ReadContext, acl};
use crate::tree::acl::{AclList, READ, permits};

/// Values in one answer take no more, the first one excepted.
const ANSWER_BYTES: usize = 1024 * 1024;

/// The values of a path that the client might read when they ended, and may read now if the znode is there: all, or the
/// one as of `zxid`.
///
/// # Errors
/// `Unimplemented` if this server keeps none, `NoNode` if nothing is known of the path, `NoAuth` if nothing may be read.
pub(super) fn get_history(
    context: &ReadContext<'_>,
    path: &str,
    zxid: i64,
    with_data: bool,
) -> Result<Response, ZkError> {
    let history = context.tree.history();
    if !history.is_on() {
        return Err(ZkError::Unimplemented);
    }
    let node = context.tree.node(path);
    if node.is_some_and(|node| !context.permits(node, READ)) {
        return Err(ZkError::NoAuth);
    }
    let value = |data: Option<&[u8]>, acl: &AclList| PastValue {
        data_length: data.map_or(0, |data| i32::try_from(data.len()).unwrap_or(i32::MAX)),
        data: data.filter(|_| with_data).map(Bytes::copy_from_slice),
        acl: acl::shown(context, acl),
        ..PastValue::default()
    };
    let present = node.map(|node| {
        let stat = node.stat();
        let (czxid, mzxid, mtime, version) = (stat.czxid, stat.mzxid, stat.mtime, stat.version);
        PastValue { czxid, mzxid, mtime, version, ..value(node.data(), context.tree.acl(node)) }
    });
    if present.is_none() && history.of(path).next().is_none() {
        return Err(ZkError::NoNode);
    }
    let readable = history.of(path).filter(|past| permits(context.settings, &past.acl, READ, context.auth));
    let past = readable.map(|past| PastValue {
        czxid: past.czxid,
        mzxid: past.mzxid,
        mtime: past.mtime,
        version: past.version,
        until: past.until,
        is_removed: past.is_removed,
        ..value(past.data.as_deref(), &past.acl)
    });
    let is_wanted = |value: &PastValue| zxid == 0 || (value.mzxid <= zxid && (value.until == 0 || value.until > zxid));
    let mut values = Vec::new();
    let mut bytes = 0;
    for value in present.into_iter().chain(past).filter(is_wanted) {
        bytes += value.data.as_ref().map_or(0, Bytes::len);
        if bytes > ANSWER_BYTES && !values.is_empty() {
            break;
        }
        values.push(value);
    }
    if values.is_empty() && zxid == 0 {
        return Err(ZkError::NoAuth);
    }
    Ok(Response::GetHistory { values })
}
