//! What the cluster machine leaves to its caller: messages to brokers and to ZooKeeper, settings that changed, answers to
//! those who wait. Carries nothing out.

use super::{ClusterError, Levels, Settings};
use crate::access::acl::{Entries, ResourcePattern};
use crate::outbox::{PeerAddress, ZkCommand};
use common::kafka::messages::{LeaderAndIsrRequest, StopReplicaRequest, UpdateMetadataRequest};

/// Somebody who waits for an answer. Called at most once, outside every lock.
pub struct Waiter<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Waiter<T> {
    /// Calls `then` with the answer.
    pub fn new(then: impl FnOnce(T) + Send + 'static) -> Waiter<T> {
        Waiter(Box::new(then))
    }
}

impl<T> std::fmt::Debug for Waiter<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiter")
    }
}

/// An answer on its way to whoever waits for it.
pub struct Answer(Box<dyn FnOnce() + Send>);

impl Answer {
    pub(super) fn new<T: Send + 'static>(waiter: Waiter<T>, answer: T) -> Answer {
        Answer(Box::new(move || (waiter.0)(answer)))
    }

    /// Hands it over. No lock of a machine may be held.
    pub fn deliver(self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

/// What should happen outside; to be carried out in order, after the call that gave it.
#[derive(Debug)]
pub enum Effect {
    /// Drive the ZooKeeper socket. The numbers have no gap: commands are to be carried out in their order, also those of
    /// calls on several threads, for the session counts on answers in the order of its requests.
    Zk(u64, ZkCommand),
    /// Tell a broker its roles (version 7); to this broker itself directly. Answer: `on_leader_and_isr_response`.
    LeaderAndIsr {
        /// To whom.
        to: PeerAddress,
        /// Comes back with the answer.
        flight: u64,
        /// What.
        request: LeaderAndIsrRequest,
    },
    /// Tell a broker the state of the cluster (version 8). Answer: `on_update_metadata_response`.
    UpdateMetadata {
        /// To whom.
        to: PeerAddress,
        /// Comes back with the answer.
        flight: u64,
        /// What.
        request: UpdateMetadataRequest,
    },
    /// Tell a broker to give replicas up (version 4). Answer: `on_stop_replica_response`.
    StopReplica {
        /// To whom.
        to: PeerAddress,
        /// Comes back with the answer.
        flight: u64,
        /// What.
        request: StopReplicaRequest,
    },
    /// Settings in ZooKeeper are new or changed; these are all that are set for the entity now.
    ConfigChanged {
        /// `topics`, `brokers`, `users`, `clients` or `ips`.
        kind: String,
        /// Which; `<default>` for the default of brokers.
        name: String,
        /// By key.
        settings: Settings,
    },
    /// This is the list of these resources now; an empty one is none.
    AclsChanged {
        /// Which.
        resource: ResourcePattern,
        /// All of it.
        entries: Entries,
    },
    /// The levels of features that an operator has set; all of them.
    FeatureLevels(Levels),
    /// Keep this text on the disk, for `ClusterConfig::remembered_session` at the next start. It holds a password.
    RememberSession(String),
    /// The cluster's id is known; log directories without one are given it.
    ClusterId(String),
    /// The broker is registered, with this epoch; again after each lost session.
    Registered {
        /// czxid of the registration.
        broker_epoch: i64,
    },
    /// The ZooKeeper session is closed, as asked.
    Closed,
    /// Somebody gets an answer.
    Answer(Answer),
    /// The broker must stop.
    Stop(ClusterError),
}
