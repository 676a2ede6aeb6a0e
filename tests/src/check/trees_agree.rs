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
            let first = *self.digests.entry(zxid).or_insert(digest);
            if first != digest {
                let name = &world.machine(host).name;
                return Err(format!("trees differ at zxid {zxid}: {digest:x} on {name}, {first:x} seen before"));
            }
        }
        Ok(())
    }

    /// True if all running coordinators hold the same.
    pub fn is_same_everywhere(world: &World) -> bool {
        let mut zxids = coordinators(world).map(|(_, process)| process.node.tree().zxid());
        let first = zxids.next();
        zxids.all(|zxid| Some(zxid) == first)
    }
}
