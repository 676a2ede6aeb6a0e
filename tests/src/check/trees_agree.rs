//! Two coordinators that have applied the same number of transactions hold the same tree, for ever: the committed logs are
//! one log.

use super::coordinators;
use crate::sim::world::World;
use std::collections::BTreeMap;

/// What was seen so far.
#[derive(Debug, Default)]
pub struct TreesAgree {
    digests: BTreeMap<i64, u64>,
}

impl TreesAgree {
    /// Looks at all trees.
    pub fn look(&mut self, world: &World) -> Result<(), String> {
        for (host, process) in coordinators(world) {
            let (zxid, digest) = (process.node.tree().zxid(), process.node.tree().digest());
            self.compare(&world.machine(host).name, zxid, digest)?;
        }
        Ok(())
    }

    fn compare(&mut self, name: &str, zxid: i64, digest: u64) -> Result<(), String> {
        let first = *self.digests.entry(zxid).or_insert(digest);
        if first == digest {
            return Ok(());
        }
        Err(format!("trees differ at zxid {zxid}: {digest:x} on {name}, {first:x} seen before"))
    }

    /// True if all running coordinators hold the same.
    pub fn is_same_everywhere(world: &World) -> bool {
        let mut zxids = coordinators(world).map(|(_, process)| process.node.tree().zxid());
        let first = zxids.next();
        zxids.all(|zxid| Some(zxid) == first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_that_differ_are_found() {
        let mut seen = TreesAgree::default();
        for (zxid, digest, is_right) in [(1, 7, true), (2, 8, true), (1, 7, true), (2, 9, false)] {
            assert_eq!(seen.compare("c1", zxid, digest).is_ok(), is_right, "{zxid} {digest}");
        }
    }
}
