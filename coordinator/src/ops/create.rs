//! create, create2, createContainer, createTTL and ClickHouse's createIfNotExists. Decides nothing: the leader does.

use common::zk::CreateRequest;

use super::ReplyShape;
use super::acl::tree_acl;
use crate::tree::write::{CreateOp, CreateWrite, WriteBody};

fn body(create: CreateRequest, op: CreateOp, ttl_ms: i64) -> CreateWrite {
    let CreateRequest { path, data, acl, flags } = create;
    CreateWrite { path, data, acl: tree_acl(acl), flags, op: op as i32, ttl_ms }
}

pub(super) fn plain(create: CreateRequest, shape: ReplyShape) -> (WriteBody, ReplyShape) {
    (WriteBody::Create(body(create, CreateOp::Plain, 0)), shape)
}

pub(super) fn container(create: CreateRequest) -> (WriteBody, ReplyShape) {
    (WriteBody::Create(body(create, CreateOp::Container, 0)), ReplyShape::Create2)
}

pub(super) fn ttl(create: CreateRequest, ttl_ms: i64) -> (WriteBody, ReplyShape) {
    (WriteBody::Create(body(create, CreateOp::Ttl, ttl_ms)), ReplyShape::Create2)
}

pub(super) fn if_not_exists(create: CreateRequest) -> (WriteBody, ReplyShape) {
    let shape = ReplyShape::CreateIfNotExists(create.path.clone());
    (WriteBody::CreateIfNotExists(body(create, CreateOp::Plain, 0)), shape)
}
