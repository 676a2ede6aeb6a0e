//! What a store holds, without a server: the tree after everything in its log. Writes nothing.

use super::NodeError;
use super::lead::TxnBatch;
use crate::store::Persisted;
use crate::tree::Tree;
use prost::Message;

/// The tree that a server with this store would come to if everything in its log was committed. Of a server that stood
/// alone, and of the one with the longest log if all were stopped, that is every write that was acknowledged.
///
/// # Errors
/// If the stored tree cannot be loaded. A log entry that makes no sense ends the tree before it, with a warning.
pub fn recovered_tree(persisted: Persisted) -> Result<Tree, NodeError> {
    let mut tree = Tree::load(persisted.tree)?;
    for entry in persisted.entries.iter().filter(|entry| entry.index > persisted.applied && entry.kind == 0) {
        match TxnBatch::decode(entry.data.clone()) {
            Ok(batch) => batch.txns.iter().for_each(|txn| drop(tree.apply(txn))),
            Err(error) => {
                tracing::warn!(index = entry.index, %error, "a log entry does not decode, and those behind it are left out");
                break;
            }
        }
    }
    Ok(tree)
}
