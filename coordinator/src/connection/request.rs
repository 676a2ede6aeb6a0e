//! The frame of a request into what is to be done, or what is wrong with it. Knows no connection.

use crate::ops::{self, Class};
use bytes::Bytes;
use common::zk::{DecodeError, OpCode, Reader, Request, RequestHeader};

/// A request that cannot be served as it is; it is answered in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// No operation has this number. The answer is the connection's last.
    #[error("no such operation")]
    Unknown,
    /// The body does not decode.
    #[error("the body of {0:?} does not decode")]
    Malformed(OpCode),
    /// The same of a write for which ZooKeeper takes a zxid before it sees that.
    #[error("the body of {0:?} is no write")]
    MalformedWrite(OpCode),
}

/// Reads the frame of a request. An inner error is answered in the request's turn; an outer one ends the connection.
pub fn decode_request(frame: Bytes) -> Result<(i32, Result<Request, BadRequest>), DecodeError> {
    let mut reader = Reader::new(frame);
    let header = RequestHeader::decode(&mut reader)?;
    let request = match OpCode::from_code(header.opcode) {
        None => Err(BadRequest::Unknown),
        Some(opcode) if is_refused(opcode) => Err(BadRequest::Unknown),
        Some(opcode) => match Request::decode(opcode, &mut reader) {
            Ok(request) if !reader.lacks_required() => Ok(request),
            Ok(_) if ops::class(opcode) == Class::Write && opcode != OpCode::DeleteContainer => {
                Err(BadRequest::MalformedWrite(opcode))
            }
            Err(_) if opcode == OpCode::Multi => Err(BadRequest::MalformedWrite(opcode)),
            Ok(_) | Err(_) => Err(BadRequest::Malformed(opcode)),
        },
    };
    Ok((header.xid, request))
}

/// What ZooKeeper answers as unknown: what only servers say, and checks outside of a multi.
fn is_refused(opcode: OpCode) -> bool {
    opcode == OpCode::Check || ops::class(opcode) == Class::Refused
}
