//! No watch is lost: when all is quiet, a client that still waits for a watch has seen the register as it is.

use crate::sim::world::{Host, Program, World};
use coordinator::tree::Tree;
use std::collections::BTreeMap;

/// Compares what connected clients wait for with a tree that is at rest.
pub fn check(world: &World, tree: &Tree) -> Result<(), String> {
    let version = |path: &str| tree.node(path).map(|node| node.stat().version);
    for host in (0..world.core.machines.len()).map(Host) {
        if let Some(Program::ZkClient(client)) = world.program(host)
            && client.is_connected()
        {
            compare(client.watched(), version).map_err(|problem| format!("client {}: {problem}", client.number()))?;
        }
    }
    Ok(())
}

fn compare(watched: &BTreeMap<String, i32>, version: impl Fn(&str) -> Option<i32>) -> Result<(), String> {
    for (path, shown) in watched {
        let found = version(path);
        if found != Some(*shown) {
            return Err(format!("{path} was watched at version {shown}, is at {found:?}, and no watch came"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_without_its_watch_is_found() {
        let watched = BTreeMap::from([("/r/0".to_owned(), 3)]);
        for (version, is_right) in [(Some(3), true), (Some(4), false), (None, false)] {
            assert_eq!(compare(&watched, |_| version).is_ok(), is_right, "{version:?}");
        }
    }
}
