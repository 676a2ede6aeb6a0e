//! getRequests, an operation of our own: what became of requests on this server, stage by stage.

use common::zk::{RequestsWanted, Response, ZkError};

use super::ReadContext;
use crate::trace::Wanted;
use crate::tree::acl::{ADMIN, CREATE, DELETE, READ, WRITE};

/// Requests in one answer.
const SHOWN: usize = 1000;

/// The requests that are wanted, as the admin server's command `requests` shows them. They are those of all clients: who
/// asks must have all permissions on the root, as for a snapshot.
///
/// # Errors
/// `Unimplemented` if this server remembers none, `NoAuth` if the client may not see them.
pub(super) fn get_requests(context: &ReadContext<'_>, wanted: &RequestsWanted) -> Result<Response, ZkError> {
    if !context.trace.is_on() {
        return Err(ZkError::Unimplemented);
    }
    for perms in [READ, WRITE, CREATE, DELETE, ADMIN] {
        context.permitted("/", perms)?;
    }
    let RequestsWanted { zxid, session, xid, is_slowest_first, limit } = *wanted;
    let limit = usize::try_from(limit).unwrap_or_default().min(SHOWN);
    let found = context.trace.json(&Wanted { zxid, session, xid, is_slowest_first, limit });
    Ok(Response::GetRequests { found: Some(serde_json::Value::Object(found).to_string().into()) })
}
