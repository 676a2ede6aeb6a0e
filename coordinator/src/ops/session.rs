//! closeSession. Connecting and pings are the connection's own.

use super::ReplyShape;
use crate::tree::txn::CloseSession;
use crate::tree::write::WriteBody;

pub(super) fn close() -> (WriteBody, ReplyShape) {
    (WriteBody::CloseSession(CloseSession {}), ReplyShape::CloseSession)
}
