//! getChildren, getChildren2, getAllChildrenNumber, getEphemerals, and ClickHouse's filtered and recursive lists.

use bytes::Bytes;
use common::zk::{Response, Stat, ZkError};

use super::{ReadContext, wire_stat};
use crate::tree::acl::READ;
use crate::tree::{Kind, Node};

pub(super) fn get_children(context: &mut ReadContext<'_>, path: &str, watch: bool) -> Result<Response, ZkError> {
    let children = context.readable(path)?.children().map(str::to_owned).collect();
    if watch {
        context.watches.watch_children(path, context.connection);
    }
    Ok(Response::GetChildren { children })
}

pub(super) fn get_children2(context: &mut ReadContext<'_>, path: &str, watch: bool) -> Result<Response, ZkError> {
    filtered(context, path, watch, 0)
}

/// Children of a kind: 0 all, 1 those that stay, 2 ephemeral ones.
pub(super) fn filtered(
    context: &mut ReadContext<'_>,
    path: &str,
    watch: bool,
    filter: u8,
) -> Result<Response, ZkError> {
    let node = context.readable(path)?;
    let children = node.entries().filter(|(_, child)| passes(child, filter)).map(|(name, _)| name.to_owned()).collect();
    let stat = wire_stat(&node.stat());
    if watch {
        context.watches.watch_children(path, context.connection);
    }
    Ok(Response::GetChildren2 { children, stat })
}

/// What a filtered list with stats and data should have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) filter: u8,
    pub(super) stats: bool,
    pub(super) data: bool,
}

/// As [`filtered`], with stat and data of each child. What the client may not read comes without.
pub(super) fn filtered_with(
    context: &mut ReadContext<'_>,
    path: &str,
    watch: bool,
    wanted: Wanted,
) -> Result<Response, ZkError> {
    let node = context.readable(path)?;
    let (mut children, mut stats, mut data) = (Vec::new(), Vec::new(), Vec::new());
    for (name, child) in node.entries().filter(|(_, child)| passes(child, wanted.filter)) {
        let readable = context.permits(child, READ);
        children.push(name.to_owned());
        if wanted.stats {
            stats.push(if readable { wire_stat(&child.stat()) } else { Stat::default() });
        }
        if wanted.data {
            data.push(child.data().filter(|_| readable).map(Bytes::copy_from_slice));
        }
    }
    let stat = wire_stat(&node.stat());
    if watch {
        context.watches.watch_children(path, context.connection);
    }
    Ok(Response::FilteredListWithStatsAndData { children, stat, stats, data })
}

fn passes(child: &Node, filter: u8) -> bool {
    let ephemeral = matches!(child.kind(), Kind::Ephemeral(_));
    match filter {
        1 => !ephemeral,
        2 => ephemeral,
        _ => true,
    }
}

/// All paths below a znode, at most `limit` (0: all). Children of what the client may not read are left out.
pub(super) fn list_recursive(context: &mut ReadContext<'_>, path: &str, limit: u32) -> Result<Response, ZkError> {
    let limit = if limit == 0 { usize::MAX } else { limit as usize };
    let mut paths = Vec::new();
    let mut left = vec![(path.trim_end_matches('/').to_owned(), context.readable(path)?)];
    while let Some((above, node)) = left.pop() {
        for (name, child) in node.entries() {
            if paths.len() == limit {
                return Ok(Response::ListRecursive { paths });
            }
            let path = format!("{above}/{name}");
            if child.children_count() > 0 && context.permits(child, READ) {
                left.push((path.clone(), child));
            }
            paths.push(path);
        }
    }
    Ok(Response::ListRecursive { paths })
}

pub(super) fn get_all_children_number(context: &mut ReadContext<'_>, path: &str) -> Result<Response, ZkError> {
    context.readable(path)?;
    let total = i32::try_from(context.tree.descendants_count(path)).unwrap_or(i32::MAX);
    Ok(Response::GetAllChildrenNumber { total })
}

/// The session's own ephemeral znodes whose path starts with `prefix`; of its blank forms and `/`, all.
pub(super) fn get_ephemerals(context: &mut ReadContext<'_>, prefix: &str) -> Response {
    let prefix = if matches!(prefix.trim(), "" | "/") { "" } else { prefix };
    let mine = context.tree.ephemerals(context.session);
    Response::GetEphemerals { ephemerals: mine.filter(|path| path.starts_with(prefix)).map(str::to_owned).collect() }
}
