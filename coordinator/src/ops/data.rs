//! exists, getData, setData.

use bytes::Bytes;
use common::zk::{Response, Stat, ZkError};

use super::{ReadContext, ReplyShape, wire_stat};
use crate::tree::acl::READ;
use crate::tree::write::{SetDataWrite, WriteBody};

/// Where ClickHouse's client looks which operations it may use. No znode: nobody lists it, and one that is made there counts.
const FEATURE_FLAGS: &str = "/keeper/feature_flags";
/// Where its older versions look.
const API_VERSION: &str = "/keeper/api_version";

/// A bit for each feature, the highest of a byte first. There are filtered lists, multiRead, checkNotExists,
/// createIfNotExists, removeRecursive, not watches in multiRead, checkStat and persistent watches; then create with a
/// Stat, tryRemove and lists with Stats and data.
const FEATURES: &[u8] = &[0b1111_1011, 0b1110_0000];
/// Filtered lists and multiRead, as ClickHouse Keeper says there.
const API: &[u8] = b"2";

pub(super) fn exists(context: &mut ReadContext<'_>, path: &str, watch: bool) -> Result<Response, ZkError> {
    if path.contains('\0') {
        return Err(ZkError::BadArguments);
    }
    let node = context.tree.node(path);
    if node.is_some_and(|node| !context.permits(node, READ)) {
        return Err(ZkError::NoAuth);
    }
    // Also on what is not there: the client waits for it.
    if watch {
        context.watches.watch_data(path, context.connection);
    }
    Ok(Response::Exists { stat: wire_stat(&node.ok_or(ZkError::NoNode)?.stat()) })
}

pub(super) fn get_data(context: &mut ReadContext<'_>, path: &str, watch: bool) -> Result<Response, ZkError> {
    let node = match (context.readable(path), path) {
        (Err(ZkError::NoNode), FEATURE_FLAGS) => return Ok(told(FEATURES)),
        (Err(ZkError::NoNode), API_VERSION) => return Ok(told(API)),
        (node, _) => node?,
    };
    let data = node.data().map(Bytes::copy_from_slice);
    let stat = wire_stat(&node.stat());
    if watch {
        context.watches.watch_data(path, context.connection);
    }
    Ok(Response::GetData { data, stat })
}

fn told(data: &'static [u8]) -> Response {
    let data_length = i32::try_from(data.len()).expect("a few bytes");
    Response::GetData { data: Some(Bytes::from_static(data)), stat: Stat { data_length, ..Stat::default() } }
}

pub(super) fn set_data(path: String, data: Option<Bytes>, version: i32) -> (WriteBody, ReplyShape) {
    (WriteBody::SetData(SetDataWrite { path, data, version }), ReplyShape::SetData)
}
