//! What a store holds, without a server: the tree after everything in its log. Writes nothing.

use super::lead::TxnBatch;
use crate::ensemble::membership::ConfigurationChange;
use crate::store::Persisted;
use crate::tree::Tree;
use prost::Message;

/// The tree that a server with this store would come to if everything in its log was committed; `tree` is the stored one. Of
/// a server that stood alone, and of the one with the longest log if all were stopped, that is every write that was
/// acknowledged. A log entry that makes no sense ends the tree before it, with a warning.
pub fn recovered_tree(persisted: &Persisted, mut tree: Tree) -> Tree {
    for entry in persisted.entries.iter().filter(|entry| entry.index > persisted.applied) {
        let data = match entry.kind {
            0 => Ok(entry.data.clone()),
            _ => ConfigurationChange::decode(entry.data.clone()).map(|change| change.context),
        };
        match data.and_then(TxnBatch::decode) {
            Ok(batch) => batch.txns.iter().for_each(|txn| drop(tree.apply(txn))),
            Err(error) => {
                tracing::warn!(index = entry.index, %error, "a log entry does not decode, and those behind it are left out");
                break;
            }
        }
    }
    tree
}
