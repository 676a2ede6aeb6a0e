//! sync. Waiting for the leader is the connection's and the node's.

use common::zk::Response;

/// The answer to a sync once this server has caught up.
pub fn reply(path: String) -> Response {
    Response::Sync { path }
}
