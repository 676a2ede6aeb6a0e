//! The numbers that name ZooKeeper's operations, and the xids with a meaning of their own. Knows no message bodies.

macro_rules! opcodes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// What a request asks for. The numbers are those of `ZooDefs.OpCode` of ZooKeeper 3.9; 500 to 507 are ClickHouse
        /// Keeper's additions.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i32)]
        pub enum OpCode {
            $($(#[$doc])* $name = $code,)*
        }

        impl OpCode {
            /// Every operation, by ascending position in ZooKeeper's own list.
            pub const ALL: &'static [OpCode] = &[$(OpCode::$name,)*];

            /// The operation with this number on the wire; `None` if neither ZooKeeper 3.9 nor ClickHouse Keeper nor we know one.
            pub fn from_code(code: i32) -> Option<OpCode> {
                match code {
                    $($code => Some(OpCode::$name),)*
                    _ => None,
                }
            }

            /// The name as ZooKeeper's documentation and `ZooDefs` spell it.
            pub fn name(self) -> &'static str {
                match self {
                    $(OpCode::$name => $text,)*
                }
            }
        }
    };
}

opcodes! {
    /// Only from server to client: a watch fired. Never a request.
    Notification = 0, "notification";
    /// Creates a node; answered by its path.
    Create = 1, "create";
    /// Deletes a node without children.
    Delete = 2, "delete";
    /// The stat of a node, if it exists.
    Exists = 3, "exists";
    /// Data and stat of a node.
    GetData = 4, "getData";
    /// Replaces the data of a node.
    SetData = 5, "setData";
    /// The access list of a node.
    GetAcl = 6, "getACL";
    /// Replaces the access list of a node.
    SetAcl = 7, "setACL";
    /// The names of the children.
    GetChildren = 8, "getChildren";
    /// Waits until the server has caught up with the leader.
    Sync = 9, "sync";
    /// Keeps the session alive.
    Ping = 11, "ping";
    /// The names of the children, and the stat of the parent.
    GetChildren2 = 12, "getChildren2";
    /// Compares a version; only inside a multi.
    Check = 13, "check";
    /// Several changes, all or none.
    Multi = 14, "multi";
    /// Creates a node; answered by path and stat.
    Create2 = 15, "create2";
    /// Changes the ensemble's membership.
    Reconfig = 16, "reconfig";
    /// Is a watch of this kind set?
    CheckWatches = 17, "checkWatches";
    /// Takes watches back.
    RemoveWatches = 18, "removeWatches";
    /// Creates a container node (goes away some time after its last child).
    CreateContainer = 19, "createContainer";
    /// The server's own removal of an empty container or expired TTL node; refused from clients.
    DeleteContainer = 20, "deleteContainer";
    /// Creates a node with a time to live.
    CreateTtl = 21, "createTTL";
    /// Several reads, each with its own outcome.
    MultiRead = 22, "multiRead";
    /// Adds an identity to the connection.
    Auth = 100, "auth";
    /// Registers watches again after a reconnect.
    SetWatches = 101, "setWatches";
    /// One step of a SASL exchange.
    Sasl = 102, "sasl";
    /// The session's own ephemeral nodes below a prefix.
    GetEphemerals = 103, "getEphemerals";
    /// How many nodes are below a node, at any depth.
    GetAllChildrenNumber = 104, "getAllChildrenNumber";
    /// Like `setWatches`, with persistent watches as well.
    SetWatches2 = 105, "setWatches2";
    /// Sets a persistent watch.
    AddWatch = 106, "addWatch";
    /// The identities of the connection.
    WhoAmI = 107, "whoAmI";
    /// The server's own record of a new session; never a request.
    CreateSession = -10, "createSession";
    /// Ends the session.
    CloseSession = -11, "closeSession";
    /// Marks a failed operation in the answer to a multi; never a request.
    Error = -1, "error";
    /// ClickHouse: children by kind (all, persistent, ephemeral).
    FilteredList = 500, "filteredList";
    /// ClickHouse: fails if the node exists; only inside a multi.
    CheckNotExists = 501, "checkNotExists";
    /// ClickHouse: creates a node unless it is there already.
    CreateIfNotExists = 502, "createIfNotExists";
    /// ClickHouse: deletes a node and all below it, up to a limit.
    RemoveRecursive = 503, "removeRecursive";
    /// ClickHouse: compares a version and the given fields of the stat.
    CheckStat = 504, "checkStat";
    /// ClickHouse: deletes a node if it is there.
    TryRemove = 505, "tryRemove";
    /// ClickHouse: children by kind with their stats and data.
    FilteredListWithStatsAndData = 506, "filteredListWithStatsAndData";
    /// ClickHouse: all paths below a node, up to a limit.
    ListRecursive = 507, "listRecursive";
    /// Ours alone, far from ZooKeeper's and ClickHouse's numbers: earlier values of a node, also of one that is gone.
    GetHistory = 0x4361_0001, "getHistory";
    /// Ours alone: what became of requests on this server, stage by stage.
    GetRequests = 0x4361_0002, "getRequests";
}

impl OpCode {
    /// The number on the wire.
    pub fn code(self) -> i32 {
        self as i32
    }
}

/// xid of a notification: the frame is a watch event and answers no request.
pub const XID_NOTIFICATION: i32 = -1;
/// xid of a ping and of its answer, which may overtake other answers.
pub const XID_PING: i32 = -2;
/// xid of an auth packet and of its answer.
pub const XID_AUTH: i32 = -4;
/// xid of `setWatches` and `setWatches2` as ZooKeeper's own clients send them after a reconnect.
pub const XID_SET_WATCHES: i32 = -8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back() {
        for &op in OpCode::ALL {
            assert_eq!(OpCode::from_code(op.code()), Some(op), "{}", op.name());
        }
        for unknown in [10, 23, 99, 108, -2, -12, 499, 508, i32::MAX, i32::MIN] {
            assert_eq!(OpCode::from_code(unknown), None);
        }
    }
}
