//! What the broker asks of the world: answers to clients, requests to other brokers, bytes to ZooKeeper, a wake-up.
//! The server and the simulator each implement it. Nothing here waits.

use bytes::Bytes;
use common::id::BrokerId;
use common::kafka::wire::Frame;
use common::time::{Millis, Now};
use std::collections::BTreeSet;

/// A connection that a client opened; unique in the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Where another broker is reached on the inter-broker listener.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    /// The other broker.
    pub broker: BrokerId,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// Requests to one broker travel on separate connections, so that a long-polling fetch delays no election.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Replica fetcher of this number.
    Fetch(u32),
    /// From the controller to a broker: LeaderAndIsr, UpdateMetadata, StopReplica.
    Controller,
    /// From a broker to a transaction coordinator: AddPartitionsToTxn.
    Transactions,
    /// From a transaction coordinator to the leaders of its partitions: WriteTxnMarkers.
    Markers,
    /// From a broker to a share coordinator.
    ShareStates,
    /// From a broker to leaders of the metadata topic of remote segments, which it reads.
    RemoteMetadataRead,
    /// From a broker to leaders of the metadata topic of remote segments, to which it writes.
    RemoteMetadataWrite,
    /// Between any two, for what is only looked at: ListOffsets.
    Figures,
    /// From a broker to the controller: AlterPartition, AllocateProducerIds, ControlledShutdown.
    ToController,
}

/// What the ZooKeeper session wants of its one socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZkCommand {
    /// Close what is open and connect to this `host:port`; answered by `ZkInput::Connected` or `Disconnected`.
    Connect(String),
    /// Send these bytes.
    Send(Bytes),
    /// Close the connection; not answered.
    Disconnect,
}

/// What happens on the ZooKeeper socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZkInput {
    /// The connection asked for is open.
    Connected,
    /// Bytes arrived.
    Bytes(Bytes),
    /// The connection asked for failed or ended.
    Disconnected,
}

/// Why a request to another broker has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Nobody listens on its port: the process is gone.
    #[error("connection refused")]
    Refused,
    /// The connection broke before the response came.
    #[error("connection lost")]
    Lost,
    /// No response in time.
    #[error("timed out")]
    TimedOut,
    /// The response could not be read.
    #[error("malformed response")]
    Malformed,
}

/// Why the process should end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// A requested shutdown is complete.
    Finished,
    /// Going on is impossible or would do damage; the text says why and what to do.
    Fatal(String),
}

/// Something to do later, at a moment that it is told.
pub type Job = Box<dyn FnOnce(Now) + Send>;

/// The broker's way out. Calls return at once, may come from any thread and in any order that the caller chose.
pub trait Outbox: Send + Sync {
    /// The response to request `sequence` of a connection; the connection sends them in order.
    fn reply(&self, connection: ConnectionId, sequence: u64, frame: Frame);
    /// Request `sequence` cannot be answered: its connection is closed when the answers before it have left.
    fn close(&self, connection: ConnectionId, sequence: u64, reason: String);
    /// Sends a request; answered by `Broker::on_peer_response` with the same id, exactly once.
    fn peer(&self, to: &PeerAddress, channel: Channel, request_id: u64, frame: Bytes);
    /// Closes the connection to a broker; what was asked on it fails. Where this is not done, late answers are ignored.
    fn drop_peer(&self, to: &PeerAddress, channel: Channel) {
        let _ = (to, channel);
    }
    /// Keeps a connection to each of these brokers and to no others, on which nothing is ever said: when it breaks and the
    /// broker's port refuses a new one, its process is gone, and `Broker::on_peer_gone` hears of it. Where this is not
    /// done, the end of its session tells, later.
    fn watch(&self, brokers: &BTreeSet<PeerAddress>) {
        let _ = brokers;
    }
    /// Drives the ZooKeeper socket.
    fn zk(&self, command: ZkCommand);
    /// Calls `Broker::tick` no later than at this moment.
    fn wake_at(&self, at: Millis);
    /// Runs a job that may take long, off the caller's thread.
    fn run(&self, job: Job);
    /// Blocks a job for so long. Where jobs take no time, neither does this.
    fn rest(&self, millis: u64) {
        let _ = millis;
    }
    /// Ends the process.
    fn stop(&self, reason: StopReason);
}
