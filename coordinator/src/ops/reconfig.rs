//! reconfig. What the new membership is, and whether it may be, is for the ensemble to say.

use bytes::Bytes;
use common::zk::Response;

use super::wire_stat;
use crate::tree::{CONFIG_PATH, Stat, Tree};

/// The configuration as it stands now, with the state of the znode that holds it.
pub(super) fn reply(stat: &Stat, tree: &Tree) -> Response {
    let data = tree.node(CONFIG_PATH).and_then(|node| node.data()).map(Bytes::copy_from_slice);
    Response::Reconfig { data, stat: wire_stat(stat) }
}
