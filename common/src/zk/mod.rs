//! ZooKeeper's client wire, both directions, and the client side of a session. Knows no tree, opens no socket.

pub mod digest;
pub mod error;
pub mod frame;
pub mod jute;
pub mod opcode;
pub mod path;
pub mod records;
pub mod request;
pub mod response;
pub mod session;

pub use error::ZkError;
pub use jute::{DecodeError, Reader, Writer};
pub use opcode::OpCode;
pub use records::{
    Acl, AddWatchMode, ClientInfo, ConnectRequest, ConnectResponse, CreateMode, EventType, Id, KeeperState, PastValue,
    ReplyHeader, RequestHeader, Stat, WatcherEvent, WatcherType, perms,
};
pub use request::{CreateRequest, ReconfigRequest, Request, RequestsWanted, SetWatches};
pub use response::{OpResult, Response};
pub use session::{Output, Session, SessionConfig, SessionEvent, WatchedEvent, parse_connect_string};

#[cfg(test)]
mod tests;
