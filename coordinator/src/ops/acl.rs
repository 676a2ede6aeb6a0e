//! getACL, setACL.

use common::zk::{Acl, Id, Response, ZkError};

use super::{ReadContext, ReplyShape, wire_stat};
use crate::tree::acl::{self, ADMIN, READ};
use crate::tree::write::{SetAclWrite, WriteBody};

/// An access control list in the tree's own terms.
pub(super) fn tree_acl(acl: Vec<Acl>) -> Vec<acl::Acl> {
    acl.into_iter().map(|entry| acl::Acl { perms: entry.perms, scheme: entry.id.scheme, id: entry.id.id }).collect()
}

/// Digests are shown only to who may change the list; others see whose they are.
pub(super) fn get_acl(context: &mut ReadContext<'_>, path: &str) -> Result<Response, ZkError> {
    let node = context.permitted(path, READ | ADMIN)?;
    let whole = context.permits(node, ADMIN);
    let shown = |entry: &acl::Acl| match entry.id.split_once(':') {
        Some((user, _)) if !whole && entry.scheme == "digest" => format!("{user}:x"),
        _ => entry.id.clone(),
    };
    let acl = context.tree.acl(node);
    let acl = acl.iter().map(|entry| Acl::new(entry.perms, Id::new(entry.scheme.clone(), shown(entry)))).collect();
    Ok(Response::GetAcl { acl, stat: wire_stat(&node.stat()) })
}

pub(super) fn set_acl(path: String, acl: Vec<Acl>, version: i32) -> (WriteBody, ReplyShape) {
    (WriteBody::SetAcl(SetAclWrite { path, acl: tree_acl(acl), version }), ReplyShape::SetAcl)
}
