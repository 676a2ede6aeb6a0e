//! exists, getData, setData.

use bytes::Bytes;
use common::zk::{Response, ZkError};

use super::{ReadContext, ReplyShape, wire_stat};
use crate::tree::acl::READ;
use crate::tree::write::{SetDataWrite, WriteBody};

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
    let node = context.readable(path)?;
    let data = node.data().map(Bytes::copy_from_slice);
    let stat = wire_stat(&node.stat());
    if watch {
        context.watches.watch_data(path, context.connection);
    }
    Ok(Response::GetData { data, stat })
}

pub(super) fn set_data(path: String, data: Option<Bytes>, version: i32) -> (WriteBody, ReplyShape) {
    (WriteBody::SetData(SetDataWrite { path, data, version }), ReplyShape::SetData)
}
