//! getACL, setACL.

use common::zk::{Acl, Id, Response, ZkError};

use super::{ReadContext, ReplyShape, wire_stat};
use crate::tree::acl::{self, ADMIN, READ};
use crate::tree::write::{SetAclWrite, WriteBody};

/// An access control list in the tree's own terms.
pub(super) fn tree_acl(acl: Vec<Acl>) -> Vec<acl::Acl> {
    acl.into_iter().map(|entry| acl::Acl { perms: entry.perms, scheme: entry.id.scheme, id: entry.id.id }).collect()
}

/// A list as the client may see it. Digests are shown only to who may change it; others see whose they are.
pub(super) fn shown(context: &ReadContext<'_>, acl: &[acl::Acl]) -> Vec<Acl> {
    let whole = acl::permits(context.settings, acl, ADMIN, context.auth);
    let id = |entry: &acl::Acl| match entry.id.split_once(':') {
        Some((user, _)) if !whole && entry.scheme == "digest" => format!("{user}:x"),
        _ => entry.id.clone(),
    };
    acl.iter().map(|entry| Acl::new(entry.perms, Id::new(entry.scheme.clone(), id(entry)))).collect()
}

pub(super) fn get_acl(context: &mut ReadContext<'_>, path: &str) -> Result<Response, ZkError> {
    let node = context.permitted(path, READ | ADMIN)?;
    Ok(Response::GetAcl { acl: shown(context, context.tree.acl(node)), stat: wire_stat(&node.stat()) })
}

pub(super) fn set_acl(path: String, acl: Vec<Acl>, version: i32) -> (WriteBody, ReplyShape) {
    (WriteBody::SetAcl(SetAclWrite { path, acl: tree_acl(acl), version }), ReplyShape::SetAcl)
}
