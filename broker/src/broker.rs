//! The whole broker: owns every machine, takes what comes in from the server (or the simulator), and carries effects from
//! one machine to the next. Decides nothing itself and never waits.

use crate::api::{self, Handled};
use crate::config::BrokerConfig;
use crate::connection::ConnectionInfo;
use crate::outbox::{Outbox, PeerError, StopReason, ZkInput};
use crate::peers::Peers;
use bytes::Bytes;
use common::Rng;
use common::disk::Disk;
use common::time::{Millis, Now};
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;

/// What the broker needs of the world.
pub struct Collaborators {
    /// Where its log directories are.
    pub disk: Arc<dyn Disk>,
    /// Its way out.
    pub outbox: Arc<dyn Outbox>,
    /// Seeds everything random in it.
    pub rng: Rng,
}

/// Why a broker cannot start. Each text is the line the operator reads.
#[derive(Debug, Error)]
pub enum StartError {
    /// A log directory cannot be used.
    #[error("{0}")]
    LogDirs(String),
}

/// One broker.
pub struct Broker {
    /// Its settings.
    pub config: Arc<BrokerConfig>,
    /// Port by listener name, as bound.
    pub ports: BTreeMap<String, u16>,
    /// Where its log directories are.
    pub disk: Arc<dyn Disk>,
    /// Its way out.
    pub outbox: Arc<dyn Outbox>,
    /// Requests to other brokers that wait for a response.
    pub peers: Peers,
}

impl Broker {
    /// Loads what the log directories hold. Nothing is sent before `begin`.
    pub fn start(
        config: BrokerConfig,
        ports: BTreeMap<String, u16>,
        collaborators: Collaborators,
        now: Now,
    ) -> Result<Arc<Broker>, StartError> {
        let Collaborators { disk, outbox, rng: _ } = collaborators;
        let _ = now;
        let peers = Peers::new(outbox.clone(), format!("broker-{}", config.broker_id));
        Ok(Arc::new(Broker { config: Arc::new(config), ports, disk, outbox, peers }))
    }

    /// Connects to ZooKeeper; the broker serves clients from here on.
    pub fn begin(self: &Arc<Self>, now: Now) {
        self.outbox.wake_at(now.mono);
    }

    /// A request frame without its length prefix.
    pub fn on_request(self: &Arc<Self>, connection: &ConnectionInfo, sequence: u64, frame: Bytes, now: Now) -> Handled {
        api::dispatch(self, connection, sequence, frame, now)
    }

    /// A client's connection ended.
    pub fn on_connection_closed(self: &Arc<Self>, connection: &ConnectionInfo, now: Now) {
        let _ = (connection, now);
    }

    /// The response to a request to another broker, without its length prefix, or why there is none.
    pub fn on_peer_response(self: &Arc<Self>, request_id: u64, response: Result<Bytes, PeerError>, now: Now) {
        let Some((call, version)) = self.peers.finish(request_id) else { return };
        let _ = (call, version, response, now);
    }

    /// Something happened on the ZooKeeper socket.
    pub fn on_zk(self: &Arc<Self>, input: ZkInput, now: Now) {
        let _ = (input, now);
    }

    /// Does what is due; when to call again at the latest.
    pub fn tick(self: &Arc<Self>, now: Now) -> Option<Millis> {
        let _ = now;
        self.peers.next_deadline()
    }

    /// Hands leaderships over, closes the logs, then asks the outbox to stop.
    pub fn begin_shutdown(self: &Arc<Self>, now: Now) {
        let _ = now;
        self.outbox.stop(StopReason::Finished);
    }
}
