//! Who leads a partition, for the hints in answers to who asked the wrong broker (KIP-951): what this broker was told as a
//! replica, otherwise what it was told as everybody. Decides nothing.

use crate::broker::Broker;
use common::id::BrokerId;

/// The leader of a partition; -1 where it is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CurrentLeader {
    pub(crate) id: i32,
    pub(crate) epoch: i32,
    /// Where the client's listener reaches it.
    pub(crate) node: Option<LeaderNode>,
}

/// Address of a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeaderNode {
    pub(crate) host: String,
    pub(crate) port: i32,
    pub(crate) rack: Option<String>,
}

/// The leader of a partition, with its address on `listener`.
pub(crate) fn current_leader(broker: &Broker, topic: &str, partition: i32, listener: &str) -> CurrentLeader {
    let held = broker.replicas.get(topic, partition).map(|held| held.view());
    let image = broker.image.read();
    let known = image.partition(topic, partition);
    let (id, epoch) = match (held, known) {
        (Some(held), _) => (held.leader.unwrap_or(-1), held.leader_epoch),
        (None, Some(known)) => (known.leader, known.leader_epoch),
        (None, None) => (-1, -1),
    };
    let node = image.endpoint(BrokerId(id), listener).map(|endpoint| LeaderNode {
        host: endpoint.host.clone(),
        port: i32::from(endpoint.port),
        rack: image.broker(BrokerId(id)).and_then(|broker| broker.rack.clone()),
    });
    CurrentLeader { id, epoch, node }
}
