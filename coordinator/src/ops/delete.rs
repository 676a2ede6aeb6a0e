//! delete, deleteContainer, and ClickHouse's tryRemove and removeRecursive. Decides nothing: the leader does.

use super::ReplyShape;
use crate::tree::write::{DeleteWrite, RemoveRecursiveWrite, WriteBody};

pub(super) fn delete(path: String, version: i32) -> (WriteBody, ReplyShape) {
    (WriteBody::Delete(DeleteWrite { path, version }), ReplyShape::Delete)
}

pub(super) fn delete_container(path: String) -> (WriteBody, ReplyShape) {
    (WriteBody::DeleteContainer(DeleteWrite { path, version: -1 }), ReplyShape::Delete)
}

pub(super) fn try_remove(path: String, version: i32) -> (WriteBody, ReplyShape) {
    (WriteBody::TryRemove(DeleteWrite { path, version }), ReplyShape::TryRemove)
}

pub(super) fn remove_recursive(path: String, limit: u32) -> (WriteBody, ReplyShape) {
    (WriteBody::RemoveRecursive(RemoveRecursiveWrite { path, limit }), ReplyShape::RemoveRecursive)
}
