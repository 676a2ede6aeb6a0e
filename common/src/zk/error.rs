//! The error codes of the ZooKeeper wire, as `KeeperException` of ZooKeeper 3.9 has them. Says nothing about when each is right.

use std::fmt;

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why an operation failed, as told to clients.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ZkError {
            $($(#[$doc])* $name,)*
            /// A number that ZooKeeper 3.9 does not define; never 0 and never one of the others.
            Other(i32),
        }

        impl ZkError {
            /// Every error that has a name.
            pub const ALL: &'static [ZkError] = &[$(ZkError::$name,)*];

            /// The number on the wire.
            pub fn code(self) -> i32 {
                match self {
                    $(ZkError::$name => $code,)*
                    ZkError::Other(code) => code,
                }
            }

            /// The error with this number; `Other` if it has no name.
            pub fn from_code(code: i32) -> ZkError {
                match code {
                    $($code => ZkError::$name,)*
                    other => ZkError::Other(other),
                }
            }

            /// The short name, such as `NoNode`.
            pub fn name(self) -> &'static str {
                match self {
                    $(ZkError::$name => stringify!($name),)*
                    ZkError::Other(_) => "Other",
                }
            }

            /// The words ZooKeeper's command line prints after `KeeperErrorCode = `.
            pub fn text(self) -> &'static str {
                match self {
                    $(ZkError::$name => $text,)*
                    ZkError::Other(_) => "Unknown error",
                }
            }
        }
    };
}

errors! {
    /// No error: an operation that was fine but is undone, because another one of the same multi failed.
    Ok = 0, "ok";
    /// A failure inside the server, and the lower bound of all such.
    SystemError = -1, "SystemError";
    /// The server found its state inconsistent; in a multi, an operation after the one that failed.
    RuntimeInconsistency = -2, "RuntimeInconsistency";
    /// The server found its data inconsistent.
    DataInconsistency = -3, "DataInconsistency";
    /// The connection broke: the operation may or may not have happened.
    ConnectionLoss = -4, "ConnectionLoss";
    /// Bytes that could not be read or written.
    MarshallingError = -5, "MarshallingError";
    /// The server does not know the operation.
    Unimplemented = -6, "Unimplemented";
    /// The operation took too long.
    OperationTimeout = -7, "OperationTimeout";
    /// An argument is outside its range, or a path is malformed.
    BadArguments = -8, "BadArguments";
    /// The session is unknown to the server.
    UnknownSession = -12, "Unknown error UNKNOWNSESSION";
    /// No quorum of the new configuration is connected.
    NewConfigNoQuorum = -13, "NewConfigNoQuorum";
    /// Another reconfiguration is under way.
    ReconfigInProgress = -14, "ReconfigInProgress";
    /// The lower bound of errors of the request itself.
    ApiError = -100, "APIError";
    /// The node does not exist.
    NoNode = -101, "NoNode";
    /// The identities of the connection do not permit it.
    NoAuth = -102, "NoAuth";
    /// The version given is not the node's.
    BadVersion = -103, "BadVersion";
    /// An ephemeral node cannot have children.
    NoChildrenForEphemerals = -108, "NoChildrenForEphemerals";
    /// The node is there already.
    NodeExists = -110, "NodeExists";
    /// The node has children.
    NotEmpty = -111, "Directory not empty";
    /// The session is over.
    SessionExpired = -112, "Session expired";
    /// A callback was wrong; from clients only.
    InvalidCallback = -113, "Invalid callback";
    /// The access list is empty or malformed.
    InvalidAcl = -114, "InvalidACL";
    /// The credentials were refused.
    AuthFailed = -115, "AuthFailed";
    /// The session now lives on another server.
    SessionMoved = -118, "Session moved";
    /// A change was sent to a read-only server.
    NotReadOnly = -119, "Not a read-only call";
    /// A local session cannot own an ephemeral node.
    EphemeralOnLocalSession = -120, "Ephemeral node on local session";
    /// There is no such watch.
    NoWatcher = -121, "No such watcher";
    /// The client gave up waiting.
    RequestTimeout = -122, "Unknown error REQUESTTIMEOUT";
    /// Reconfiguration is switched off.
    ReconfigDisabled = -123, "Reconfig is disabled";
    /// The server demands SASL and the session did not authenticate.
    SessionClosedRequireSaslAuth = -124, "Session closed because client failed to authenticate";
    /// The quota of a subtree is used up.
    QuotaExceeded = -125, "Quota has exceeded";
    /// The server is overloaded and dropped the operation.
    ThrottledOp = -127, "Op throttled due to high load";
}

impl ZkError {
    /// What `KeeperException.getMessage` says: `KeeperErrorCode = NoNode for /x`; without a path if it is empty.
    pub fn message(self, path: &str) -> String {
        if path.is_empty() { self.to_string() } else { format!("{self} for {path}") }
    }
}

impl fmt::Display for ZkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ZkError::Other(code) => write!(f, "KeeperErrorCode = Unknown error {code}"),
            named => write!(f, "KeeperErrorCode = {}", named.text()),
        }
    }
}

impl std::error::Error for ZkError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_and_texts_are_those_of_the_java_client() {
        for &error in ZkError::ALL {
            assert_eq!(ZkError::from_code(error.code()), error);
        }
        assert_eq!(ZkError::from_code(-126), ZkError::Other(-126));
        assert_eq!(ZkError::Other(-126).code(), -126);
        assert_eq!(ZkError::NoNode.name(), "NoNode");
        let cases = [
            (ZkError::NoNode, "/x", "KeeperErrorCode = NoNode for /x"),
            (ZkError::NotEmpty, "/a/b", "KeeperErrorCode = Directory not empty for /a/b"),
            (ZkError::ConnectionLoss, "", "KeeperErrorCode = ConnectionLoss"),
            (ZkError::InvalidAcl, "/x", "KeeperErrorCode = InvalidACL for /x"),
            (ZkError::Other(-126), "/x", "KeeperErrorCode = Unknown error -126 for /x"),
        ];
        for (error, path, message) in cases {
            assert_eq!(error.message(path), message);
        }
    }
}
