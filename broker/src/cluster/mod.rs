//! This broker in the cluster: its ZooKeeper session, its registration, the settings kept there, and the controller when
//! it is elected. Says what should be sent and to whom; sends nothing, and never touches a partition's log.

mod acls;
pub mod assignment;
mod configs;
mod controller;
mod effect;
mod feature_levels;
mod first_reading;
pub mod image;
pub mod json;
pub mod kept;
pub mod paths;
mod registry;
mod remembered;
mod store;
pub mod topic_name;

#[cfg(test)]
pub(crate) mod tests;

pub use acls::{AclChange, AclOutcome, Remove};
pub use configs::{Entity, Settings};
pub use controller::admin::{
    AdminError, CreatedTopic, NewPartitions, NewTopic, TopicsAction, TopicsOutcome, TopicsRequest,
};
pub use controller::isr::{AlterPartitionError, IsrChange, IsrOutcome, IsrState, TopicRef};
pub use controller::mirror::Standing;
pub use controller::reassign::{
    ElectionError, ElectionKind, ElectionOutcome, Moves, OngoingReassignment, ReassignError,
};
pub use controller::{ControlledShutdownError, NotController, ProducerIdsError};
pub use effect::{Answer, Effect, Waiter};
pub use feature_levels::Levels;

use crate::config::BrokerConfig;
use crate::metrics::ControllerCounters;
use crate::outbox::{PeerError, ZkCommand, ZkInput};
use crate::resources::DEFAULT_ENTITY;
use acls::Acls;
use common::Rng;
use common::id::BrokerId;
use common::kafka::messages::{LeaderAndIsrResponse, StopReplicaResponse, UpdateMetadataResponse};
use common::mutants;
use common::time::{Millis, Now};
use common::zk::session::{Output, Session, SessionConfig, SessionEvent, Trouble};
use common::zk::{CreateMode, KeeperState, WatcherEvent, ZkError};
use configs::Configs;
use controller::Controller;
use feature_levels::FeatureLevels;
use image::{Endpoint, Image};
use json::{DiskPast, ProducerIdBlock};
use kept::KeptTopic;
use parking_lot::Mutex;
use registry::{Progress, Registry};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use store::{Ask, Store};
use thiserror::Error;
use tracing::{info, warn};

/// What of the broker's settings matters here.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// `broker.id`.
    pub broker_id: BrokerId,
    /// `zookeeper.connect`, with its chroot.
    pub zookeeper_connect: String,
    /// `zookeeper.session.timeout.ms`.
    pub session_timeout_ms: u32,
    /// `zookeeper.set.acl`.
    pub secure_acls: bool,
    /// Advertised listeners with the ports that are really bound.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// -1: no JMX here.
    pub jmx_port: i32,
    /// The listener by which the controller reaches brokers: `control.plane.listener.name`, else the inter-broker listener.
    pub control_listener: String,
    /// `cluster.id` of meta.properties and the file it stands in, if the broker has run before.
    pub stored_cluster_id: Option<StoredClusterId>,
    /// What the last `Effect::RememberSession` gave, from this life or an earlier one.
    pub remembered_session: Option<String>,
    /// What the log directories tell of the lives before this one.
    pub disk_past: DiskPast,
    /// `min.insync.replicas` for topics that do not set it.
    pub min_insync_replicas: i32,
    /// Access control lists count (`authorizer.class.name`).
    pub uses_acls: bool,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// `unclean.leader.election.enable` for topics that do not set it.
    pub unclean_leader_election: bool,
    /// `auto.leader.rebalance.enable`.
    pub auto_leader_rebalance: bool,
    /// `leader.imbalance.per.broker.percentage`.
    pub leader_imbalance_percentage: i32,
    /// `leader.imbalance.check.interval.seconds`, in milliseconds.
    pub leader_imbalance_check_interval_ms: u64,
    /// `castellan.topic.undelete.ms`.
    pub undelete_ms: i64,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i32,
}

impl ClusterConfig {
    /// Takes what matters from the broker's settings. `ports` are those bound, by listener name; they replace port 0.
    /// A listener without host is advertised as `host_name`.
    pub fn new(
        config: &BrokerConfig,
        ports: &BTreeMap<String, u16>,
        host_name: &str,
        stored_cluster_id: Option<StoredClusterId>,
    ) -> ClusterConfig {
        let endpoint = |listener: &crate::config::Listener| Endpoint {
            listener: listener.name.clone(),
            host: listener.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| host_name.to_owned()),
            port: if listener.port == 0 { ports.get(&listener.name).copied().unwrap_or(0) } else { listener.port },
            security_protocol: listener.protocol,
        };
        let control = config.control_listener_name();
        let check_seconds = u64::try_from(config.leader_imbalance_check_interval_seconds).unwrap_or(300);
        ClusterConfig {
            broker_id: BrokerId(config.broker_id),
            zookeeper_connect: config.zookeeper_connect.clone(),
            session_timeout_ms: u32::try_from(config.zookeeper_session_timeout_ms).unwrap_or(18_000),
            secure_acls: config.zookeeper_set_acl,
            endpoints: config.advertised_listeners.iter().map(endpoint).collect(),
            rack: config.broker_rack.clone(),
            jmx_port: -1,
            control_listener: control.to_owned(),
            stored_cluster_id,
            remembered_session: None,
            disk_past: DiskPast::default(),
            min_insync_replicas: config.min_insync_replicas,
            uses_acls: !config.authorizer_class_name.trim().is_empty(),
            delete_topic_enable: config.delete_topic_enable,
            unclean_leader_election: config.unclean_leader_election_enable,
            auto_leader_rebalance: config.auto_leader_rebalance_enable,
            leader_imbalance_percentage: config.leader_imbalance_per_broker_percentage,
            leader_imbalance_check_interval_ms: check_seconds.saturating_mul(1000),
            undelete_ms: config.castellan_topic_undelete_ms,
            num_partitions: config.num_partitions,
            default_replication_factor: config.default_replication_factor,
        }
    }
}

/// A cluster id remembered from an earlier run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredClusterId {
    /// The `meta.properties` file.
    pub place: String,
    /// The id.
    pub id: String,
}

/// Why the broker cannot go on in this cluster. The texts are what the operator reads.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ClusterError {
    /// The log directories belong to another cluster.
    #[error(
        "Invalid cluster.id in: {place}. Expected {expected}, but read {read}: the log directory belongs to another \
         cluster, or zookeeper.connect names the wrong ensemble"
    )]
    InconsistentClusterId {
        /// The file.
        place: String,
        /// The id in ZooKeeper.
        expected: String,
        /// The id in the file.
        read: String,
    },
    /// Another broker has this id.
    #[error(
        "Error while creating ephemeral at {path}, node already exists and owner '0x{owner:x}' does not match current \
         session '0x{session:x}': another broker runs with this broker.id"
    )]
    BrokerIdTaken {
        /// Its registration.
        path: String,
        /// The session that holds it.
        owner: i64,
        /// Ours.
        session: i64,
    },
    /// ZooKeeper refused something the broker cannot do without.
    #[error("{doing}: {problem}")]
    ZooKeeper {
        /// What was attempted.
        doing: String,
        /// What ZooKeeper said.
        problem: String,
    },
    /// ZooKeeper did not accept the credentials.
    #[error("ZooKeeper refused the credentials of this broker")]
    AuthFailed,
}

/// What the parts of this machine share during one call.
struct Io<'a> {
    now: Now,
    config: &'a ClusterConfig,
    store: &'a mut Store,
    effects: &'a mut Vec<Effect>,
    rng: &'a mut Rng,
    counters: &'a ControllerCounters,
}

impl Io<'_> {
    fn stop(&mut self, error: ClusterError) {
        self.effects.push(Effect::Stop(error));
    }

    fn answer<T: Send + 'static>(&mut self, waiter: Waiter<T>, answer: T) {
        self.effects.push(Effect::Answer(Answer::new(waiter, answer)));
    }
}

/// This broker in the cluster. Every method returns at once and says in `effects` what is to be done.
pub struct Cluster {
    inner: Mutex<Inner>,
    told: Arc<Told>,
}

/// What every request may ask, without waiting for the controller's work; written whenever the machine has run.
#[derive(Debug)]
struct Told {
    cluster_id: OnceLock<String>,
    /// -1: not the controller, or it has not read the cluster's state yet.
    controller_epoch: AtomicI32,
}

struct Inner {
    core: Core,
    session_config: SessionConfig,
    session: Session,
    /// Put before every path; the session knows nothing of it, so that the chroot itself can be created.
    chroot: String,
    /// `session` is that of an earlier life, taken up only to be closed.
    is_burying: bool,
    is_closing: bool,
    /// Since when there is no connection; `None` before the first.
    lost_at: Option<Millis>,
    /// When a server of the session that is now lost was heard last.
    heard_at: Option<Millis>,
    /// A session has ended, and no controller has told this broker since what it leads.
    is_untold: bool,
    /// Number of the next command to the socket.
    next_command: u64,
    told: Arc<Told>,
}

/// Everything but the session: questions out, answers in.
struct Core {
    config: Arc<ClusterConfig>,
    store: Store,
    rng: Rng,
    registry: Registry,
    configs: Configs,
    acls: Acls,
    feature_levels: FeatureLevels,
    controller: Controller,
    counters: Arc<ControllerCounters>,
}

/// Token of requests whose answer nobody needs.
const NO_TOKEN: u64 = u64::MAX;

impl Cluster {
    /// Does nothing until `start`. An error names what is wrong with `zookeeper.connect`.
    pub fn new(config: ClusterConfig, mut rng: Rng, now: Now) -> Result<Cluster, ClusterError> {
        let mut session_config =
            SessionConfig::new(&config.zookeeper_connect, config.session_timeout_ms).map_err(|error| {
                ClusterError::ZooKeeper { doing: "reading zookeeper.connect".into(), problem: error.to_string() }
            })?;
        let chroot = std::mem::take(&mut session_config.chroot);
        let mut session = Session::new(session_config.clone(), rng.fork(), now.mono);
        let remembered = remembered::read(&config);
        let is_burying = remembered.is_some();
        if let Some(old) = remembered {
            session.resume(old.session, old.password);
        }
        let core = Core::new(config, rng);
        let told = Arc::new(Told { cluster_id: OnceLock::new(), controller_epoch: AtomicI32::new(-1) });
        Ok(Cluster {
            told: told.clone(),
            inner: Mutex::new(Inner {
                core,
                session_config,
                session,
                chroot,
                is_burying,
                is_closing: false,
                lost_at: None,
                heard_at: None,
                is_untold: false,
                next_command: 0,
                told,
            }),
        })
    }

    /// Begins to connect to ZooKeeper.
    pub fn start(&self, now: Now, effects: &mut Vec<Effect>) {
        let mut inner = self.inner.lock();
        inner.session.start(now.mono);
        inner.run(now, effects);
    }

    /// Something happened on the ZooKeeper socket.
    pub fn on_zk(&self, input: ZkInput, now: Now, effects: &mut Vec<Effect>) {
        let mut inner = self.inner.lock();
        match input {
            ZkInput::Connected => inner.session.on_connected(now.mono),
            ZkInput::Bytes(bytes) => inner.session.on_bytes(bytes, now.mono),
            ZkInput::Disconnected => inner.session.on_disconnected(now.mono),
        }
        inner.run(now, effects);
    }

    /// Does what is due.
    pub fn tick(&self, now: Now, effects: &mut Vec<Effect>) {
        let mut inner = self.inner.lock();
        inner.session.tick(now.mono);
        inner.core.tick(now, effects);
        inner.run(now, effects);
    }

    /// When `tick` must be called at the latest.
    pub fn next_deadline(&self) -> Option<Millis> {
        let inner = self.inner.lock();
        [inner.session.next_deadline(), inner.core.next_deadline()].into_iter().flatten().min()
    }

    /// Ends the session, so that the others see at once that this broker is gone; `Effect::Closed` follows.
    pub fn close(&self, now: Now, effects: &mut Vec<Effect>) {
        let mut inner = self.inner.lock();
        inner.is_closing = true;
        // Whoever waits is answered, and nothing more is decided in a session that is ending.
        inner.core.on_session_over(now, effects);
        inner.session.close(now.mono);
        inner.run(now, effects);
    }

    /// Is there a connection to ZooKeeper with an accepted session?
    pub fn is_connected(&self) -> bool {
        self.inner.lock().session.is_connected()
    }

    /// When ZooKeeper was heard last, if the connection is lost; `None` while there is one, and before the first.
    pub fn lost_at(&self) -> Option<Millis> {
        self.inner.lock().lost_at
    }

    /// Could others lead by now what this broker leads, without its knowing? Not while it is heard of in ZooKeeper: half of
    /// the session's timeout leaves a server that was cut off from the others, and still answers pings, the other half to
    /// notice (ZooKeeper's may take longer: `syncLimit`).
    pub fn may_be_succeeded(&self, now: Millis) -> bool {
        let inner = self.inner.lock();
        let heard_at = if inner.session.is_connected() { Some(inner.session.last_heard()) } else { inner.heard_at };
        let is_heard = |heard: Millis| now.0.saturating_sub(heard.0) < inner.session.timeout_ms() / 2;
        (inner.is_untold || !heard_at.is_some_and(is_heard)) && !mutants::is_on("succeeded-coordinator-tells")
    }

    /// Can this be the epoch of a registration whose answer is still on its way? It is later than all that was answered in
    /// the session; an earlier life's is not.
    pub fn may_become(&self, epoch: i64) -> bool {
        let inner = self.inner.lock();
        !inner.is_burying && inner.session.session_id() != 0 && (1..epoch).contains(&inner.session.last_zxid())
    }

    /// A controller told this broker what it leads.
    pub fn told_roles(&self) {
        let mut inner = self.inner.lock();
        // What was said to an earlier registration may be long in coming.
        if inner.core.registry.broker_epoch().is_some() {
            inner.is_untold = false;
        }
    }

    /// Epoch of the registration; `None` while not registered.
    pub fn broker_epoch(&self) -> Option<i64> {
        self.inner.lock().core.registry.broker_epoch()
    }

    /// The cluster's id, once known.
    pub fn cluster_id(&self) -> Option<String> {
        self.told.cluster_id.get().cloned()
    }

    /// The controller's epoch, if this broker is the controller and has read the cluster's state.
    pub fn controller_epoch(&self) -> Option<i32> {
        Some(self.told.controller_epoch.load(Ordering::Acquire)).filter(|epoch| *epoch >= 0)
    }

    /// True if this broker is the controller and has read the cluster's state.
    pub fn is_controller(&self) -> bool {
        self.controller_epoch().is_some()
    }

    /// What this broker counts as controller.
    pub fn counters(&self) -> Arc<ControllerCounters> {
        self.inner.lock().core.counters.clone()
    }

    /// How the cluster stands in the eyes of this broker, if it is the controller. Looks at every partition.
    pub fn standing(&self) -> Option<Standing> {
        self.inner.lock().core.controller.standing()
    }

    /// Who stands in `/controller`, as far as this broker has seen.
    pub fn controller_id(&self) -> Option<BrokerId> {
        self.inner.lock().core.controller.known_controller().map(BrokerId)
    }

    /// What is set for an entity in ZooKeeper, as last read.
    pub fn settings(&self, kind: &str, name: &str) -> Settings {
        self.inner.lock().core.configs.get(kind, name).cloned().unwrap_or_default()
    }

    /// What is set for every entity of a kind.
    pub fn settings_of_kind(&self, kind: &str) -> BTreeMap<String, Settings> {
        let inner = self.inner.lock();
        inner.core.configs.of_kind(kind).map(|(name, settings)| (name.to_owned(), settings.clone())).collect()
    }

    /// Replaces what is set for an entity and tells all brokers; any broker may do so. `done` hears when it is written.
    pub fn change_settings(
        &self,
        entity: Entity,
        settings: Settings,
        done: Waiter<Result<(), ZkError>>,
        (now, effects): (Now, &mut Vec<Effect>),
    ) {
        self.with(now, effects, |core, io| core.configs.change(entity, settings, done, io));
    }

    /// Changes one access control list and tells all brokers; any broker may do so. `done` hears when it is written.
    pub fn change_acls(&self, change: AclChange, done: Waiter<AclOutcome>, now: Now, effects: &mut Vec<Effect>) {
        self.with(now, effects, |core, io| core.acls.change(change, done, io));
    }

    /// Runs `go_on` when the settings of these topics are known; they are before a topic's first LeaderAndIsr request, but
    /// nobody announces them.
    pub fn ensure_topic_settings(
        &self,
        topics: &BTreeSet<String>,
        go_on: Waiter<()>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        self.with(now, effects, |core, io| core.configs.ensure_topics(topics, go_on, io));
    }

    /// Runs `go_on` when the settings of these entities have been read anew, as an administrator expects who has just
    /// changed them through another broker.
    pub fn refresh_settings(&self, entities: BTreeSet<Entity>, go_on: Waiter<()>, now: Now, effects: &mut Vec<Effect>) {
        self.with(now, effects, |core, io| core.configs.refresh(entities, go_on, io));
    }

    /// Runs `go_on` when everything is known that any broker had written, and answered, before: for who asks for all
    /// entities of a kind, some of which may be new.
    pub fn catch_up_settings(&self, go_on: Waiter<()>, now: Now, effects: &mut Vec<Effect>) {
        self.with(now, effects, |core, io| core.configs.catch_up(go_on, io));
    }

    /// The image changed: who waits for topics to come or go may have an answer, and settings of deleted topics are
    /// forgotten.
    pub fn on_image(&self, image: &Image, deleted_topics: &[String], now: Now, effects: &mut Vec<Effect>) {
        self.with(now, effects, |core, io| {
            for topic in deleted_topics {
                core.configs.forget_topic(topic);
            }
            core.controller.on_image(image, io);
        });
    }

    /// A broker's answer to `Effect::LeaderAndIsr`.
    pub fn on_leader_and_isr_response(
        &self,
        (broker, flight): (BrokerId, u64),
        response: Result<LeaderAndIsrResponse, PeerError>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        self.with(now, effects, |core, io| core.controller.on_roles_answer((broker.0, flight), response, io));
    }

    /// A broker's answer to `Effect::UpdateMetadata`.
    pub fn on_update_metadata_response(
        &self,
        (broker, flight): (BrokerId, u64),
        response: Result<UpdateMetadataResponse, PeerError>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        self.with(now, effects, |core, io| core.controller.on_metadata_answer((broker.0, flight), response, io));
    }

    /// A broker's answer to `Effect::StopReplica`.
    pub fn on_stop_replica_response(
        &self,
        (broker, flight): (BrokerId, u64),
        response: Result<StopReplicaResponse, PeerError>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        self.with(now, effects, |core, io| core.controller.on_stops_answer((broker.0, flight), response, io));
    }

    /// A broker's connections broke and its port refuses new ones: its process is gone, whatever its session says. Its
    /// leaderships move at once; epochs fence it should it still live.
    pub fn on_broker_unreachable(&self, broker: BrokerId, now: Now, effects: &mut Vec<Effect>) {
        self.with(now, effects, |core, io| core.controller.on_unreachable(broker.0, io));
    }

    /// As `on_broker_unreachable`, of a broker that was reached before. If it is the controller, this broker takes its
    /// place without waiting for its session to end.
    pub fn on_broker_gone(&self, broker: BrokerId, now: Now, effects: &mut Vec<Effect>) {
        self.with(now, effects, |core, io| core.controller.on_gone(broker.0, io));
    }

    /// A broker was reached, for the first time or again.
    pub fn on_broker_reached(&self, broker: BrokerId, now: Now, effects: &mut Vec<Effect>) {
        self.with(now, effects, |core, _| core.controller.on_reached(broker.0));
    }

    /// A log directory of this broker failed: the controller is told by a note in ZooKeeper, and asks what is lost.
    pub fn on_log_dir_failed(&self, now: Now, effects: &mut Vec<Effect>) {
        self.with(now, effects, |core, io| core.registry.on_log_dir_failed(io));
    }

    /// Creates topics, deletes them or gives them partitions; `done` hears the outcome of each topic, when it can be seen in
    /// the image or the request's time is over. Only the controller does it.
    pub fn change_topics(
        &self,
        request: TopicsRequest,
        done: Waiter<TopicsOutcome>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), NotController> {
        self.with(now, effects, |core, io| core.controller.change_topics(request, done, io))
    }

    /// Deleted topics that can be brought back. Only the controller knows them.
    pub fn deleted_topics(&self) -> Result<Vec<KeptTopic>, NotController> {
        self.inner.lock().core.controller.deleted_topics()
    }

    /// A leader asks for another ISR.
    pub fn alter_partitions(
        &self,
        (broker, broker_epoch): (BrokerId, i64),
        changes: Vec<IsrChange>,
        done: Waiter<Vec<IsrOutcome>>,
        (now, effects): (Now, &mut Vec<Effect>),
    ) -> Result<(), AlterPartitionError> {
        self.with(now, effects, |core, io| {
            core.controller.alter_partitions((broker.0, broker_epoch), changes, done, io)
        })
    }

    /// A broker wants to stop: its leaderships are moved; `done` hears which it still has.
    pub fn controlled_shutdown(
        &self,
        (broker, broker_epoch): (BrokerId, i64),
        done: Waiter<Vec<(String, i32)>>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ControlledShutdownError> {
        self.with(now, effects, |core, io| core.controller.controlled_shutdown((broker.0, broker_epoch), done, io))
    }

    /// A block of producer ids for a broker.
    pub fn allocate_producer_ids(
        &self,
        (broker, broker_epoch): (BrokerId, i64),
        done: Waiter<Result<ProducerIdBlock, ProducerIdsError>>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ProducerIdsError> {
        self.with(now, effects, |core, io| core.controller.allocate_producer_ids((broker.0, broker_epoch), done, io))
    }

    /// Elects leaders on request; `None`: of every partition.
    pub fn elect_leaders(
        &self,
        kind: ElectionKind,
        partitions: Option<Vec<(String, i32)>>,
        done: Waiter<BTreeMap<(String, i32), ElectionOutcome>>,
        (now, effects): (Now, &mut Vec<Effect>),
    ) -> Result<(), NotController> {
        self.with(now, effects, |core, io| core.controller.elect_leaders(kind, partitions, done, io))
    }

    /// Starts moving partitions to other brokers, or takes moves back.
    pub fn reassign(
        &self,
        moves: Moves,
        done: Waiter<BTreeMap<(String, i32), Result<(), ReassignError>>>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), NotController> {
        self.with(now, effects, |core, io| core.controller.reassign(moves, done, io))
    }

    /// Sets levels of features; `done` hears when they stand in ZooKeeper.
    pub fn set_feature_levels(
        &self,
        levels: Levels,
        done: Waiter<Result<(), ZkError>>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        self.with(now, effects, |core, io| core.feature_levels.change(levels, done, io));
    }

    /// Partitions being moved; of those named, or all.
    pub fn reassignments(&self, of: Option<&[(String, i32)]>) -> Result<Vec<OngoingReassignment>, NotController> {
        self.inner.lock().core.controller.reassignments(of)
    }

    /// Name of a topic, by what the controller knows.
    pub fn topic_name(&self, id: uuid::Uuid) -> Option<String> {
        self.inner.lock().core.controller.topic_name(id)
    }

    /// Runs a part of the machine and what follows from it.
    fn with<T>(&self, now: Now, effects: &mut Vec<Effect>, act: impl FnOnce(&mut Core, &mut Io<'_>) -> T) -> T {
        let mut inner = self.inner.lock();
        let outcome = inner.core.act(now, effects, act);
        inner.run(now, effects);
        outcome
    }
}

impl Inner {
    /// Lets session and core talk until both are silent.
    fn run(&mut self, now: Now, effects: &mut Vec<Effect>) {
        loop {
            for (token, mut request) in self.core.store.drain() {
                if !self.chroot.is_empty() {
                    request.change_paths(&|path| path.insert_str(0, &self.chroot));
                }
                self.session.submit(token, request, now.mono);
            }
            let Some(output) = self.session.poll() else { break };
            match output {
                Output::Connect(server) => self.drive(ZkCommand::Connect(server), effects),
                Output::Send(bytes) => self.drive(ZkCommand::Send(bytes), effects),
                Output::Disconnect => self.drive(ZkCommand::Disconnect, effects),
                Output::Event(event) => self.on_session_event(event, now, effects),
                Output::Reply { token: NO_TOKEN, .. } => {}
                Output::Reply { token, result, .. } => self.core.on_reply(token, result, now, effects),
                Output::Watch(event) => {
                    let path = event.path.strip_prefix(&self.chroot).unwrap_or(&event.path).to_owned();
                    let event = WatcherEvent { kind: event.kind, state: KeeperState::SyncConnected, path };
                    self.core.on_watch(&event, now, effects);
                }
            }
        }
        self.told.controller_epoch.store(self.core.controller.active_epoch().unwrap_or(-1), Ordering::Release);
        if self.told.cluster_id.get().is_none()
            && let Some(id) = self.core.registry.cluster_id()
        {
            // Only this thread, which holds the machine, writes it.
            let _ = self.told.cluster_id.set(id.to_owned());
        }
    }

    fn drive(&mut self, command: ZkCommand, effects: &mut Vec<Effect>) {
        effects.push(Effect::Zk(self.next_command, command));
        self.next_command += 1;
    }

    fn on_session_event(&mut self, event: SessionEvent, now: Now, effects: &mut Vec<Effect>) {
        if self.is_burying {
            return self.bury(event, now, effects);
        }
        if matches!(event, SessionEvent::Connected { .. }) {
            (self.lost_at, self.heard_at) = (None, None);
        }
        match event {
            SessionEvent::Connected { session_id, reconnected: true, .. } => {
                info!(session = format_args!("{session_id:#x}"), "zookeeper session resumed");
                self.core.store.ask_again();
            }
            SessionEvent::Connected { session_id, password, negotiated_timeout_ms, .. } => {
                let session = format_args!("{session_id:#x}");
                info!(session, timeout_ms = negotiated_timeout_ms, "zookeeper session established");
                let text = remembered::write(&self.core.config, session_id, &password);
                effects.push(Effect::RememberSession(text));
                self.create_chroot(now);
                self.core.on_session(session_id, now, effects);
            }
            SessionEvent::Disconnected => {
                let silent_ms = match self.session.trouble() {
                    Some(Trouble::ReadTimeout { silent_ms }) => *silent_ms,
                    _ => 0,
                };
                self.heard_at.get_or_insert(self.session.last_heard());
                self.lost_at.get_or_insert(Millis(now.mono.0.saturating_sub(silent_ms)));
                warn!(trouble = ?self.session.trouble(), "zookeeper connection lost");
            }
            SessionEvent::AuthFailed => effects.push(Effect::Stop(ClusterError::AuthFailed)),
            SessionEvent::Expired | SessionEvent::Closed => {
                self.is_untold = true;
                self.core.on_session_over(now, effects);
                if self.is_closing {
                    effects.push(Effect::Closed);
                    return;
                }
                warn!("zookeeper session expired; beginning a new one");
                self.session = Session::new(self.session_config.clone(), self.core.rng.fork(), now.mono);
                self.session.start(now.mono);
            }
        }
    }

    /// The session of this broker's earlier life is closed, and with it go its registration and controllership; then the life
    /// of this one begins. If ZooKeeper has given it up already there is nothing to close.
    fn bury(&mut self, event: SessionEvent, now: Now, effects: &mut Vec<Effect>) {
        match event {
            SessionEvent::Connected { session_id, .. } => {
                info!(session = format_args!("{session_id:#x}"), "closing the session of this broker's earlier life");
                self.session.close(now.mono);
            }
            SessionEvent::Disconnected => {}
            SessionEvent::Expired | SessionEvent::AuthFailed | SessionEvent::Closed => {
                self.is_burying = false;
                if self.is_closing {
                    effects.push(Effect::Closed);
                    return;
                }
                self.session = Session::new(self.session_config.clone(), self.core.rng.fork(), now.mono);
                self.session.start(now.mono);
            }
        }
    }

    /// Kafka creates the chroot and its parents; the answers come before those of anything that needs them.
    fn create_chroot(&mut self, now: Now) {
        let ends = self.chroot.match_indices('/').map(|(at, _)| at).skip(1).chain([self.chroot.len()]);
        for end in ends.filter(|&end| end > 1) {
            let request = self.core.store.create(&self.chroot[..end], None, CreateMode::Persistent);
            self.session.submit(NO_TOKEN, request, now.mono);
        }
    }
}

impl Core {
    fn new(config: ClusterConfig, rng: Rng) -> Core {
        Core {
            store: Store::new(config.secure_acls),
            config: Arc::new(config),
            rng,
            registry: Registry::new(),
            configs: Configs::default(),
            acls: Acls::default(),
            feature_levels: FeatureLevels::default(),
            controller: Controller::new(),
            counters: Arc::default(),
        }
    }

    fn act<T>(&mut self, now: Now, effects: &mut Vec<Effect>, act: impl FnOnce(&mut Core, &mut Io<'_>) -> T) -> T {
        // The parts that `Io` lends out are taken from the core for the time of the call.
        let mut store = std::mem::take(&mut self.store);
        let mut rng = self.rng.fork();
        let config = self.config.clone();
        let counters = self.counters.clone();
        let (store_lent, counters) = (&mut store, &*counters);
        let mut io = Io { now, config: &config, store: store_lent, effects, rng: &mut rng, counters };
        let before = io.effects.len();
        let outcome = act(self, &mut io);
        for effect in &io.effects[before..] {
            if let Effect::ConfigChanged { kind, name, settings } = effect {
                match kind.as_str() {
                    "topics" => self.controller.on_settings_changed(name),
                    "brokers" if name == DEFAULT_ENTITY => self.controller.on_default_settings(settings),
                    _ => {}
                }
            }
        }
        self.controller.settle(&mut io);
        self.store = store;
        outcome
    }

    fn on_session(&mut self, session: i64, now: Now, effects: &mut Vec<Effect>) {
        self.act(now, effects, |core, io| core.registry.on_session(session, io));
    }

    fn on_session_over(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.act(now, effects, |core, io| {
            io.store.forget_all();
            core.registry.on_session_over();
            core.configs.on_session_over(io);
            core.acls.on_session_over(io);
            core.feature_levels.on_session_over(io);
            core.controller.on_session_over(io);
        });
    }

    fn on_reply(&mut self, token: u64, result: store::ZkResult, now: Now, effects: &mut Vec<Effect>) {
        let Some(ask) = self.store.answered(token, &result) else { return };
        self.act(now, effects, |core, io| match ask {
            Ask::Nobody => {}
            Ask::Registry(ask) => match core.registry.on_answer(ask, result, io) {
                Progress::Same => {}
                Progress::Prepared => {
                    core.feature_levels.load(io);
                    core.configs.load(io);
                }
                Progress::Registered => core.controller.stand(core.registry.session(), io),
            },
            Ask::Config(ask) => {
                if core.configs.on_answer(ask, result, io) {
                    if io.config.uses_acls {
                        core.acls.load(io);
                    } else {
                        core.registry.register(io);
                    }
                }
            }
            Ask::Acl(ask) => {
                if core.acls.on_answer(ask, result, io) {
                    core.registry.register(io);
                }
            }
            Ask::Level(ask) => core.feature_levels.on_answer(ask, result, io),
            Ask::Controller(ask) => core.controller.on_answer(ask, result, io),
        });
    }

    fn on_watch(&mut self, event: &WatcherEvent, now: Now, effects: &mut Vec<Effect>) {
        self.act(now, effects, |core, io| {
            core.registry.on_watch(event, io);
            core.configs.on_watch(event, io);
            core.acls.on_watch(event, io);
            core.feature_levels.on_watch(event, io);
            core.controller.on_watch(event, io);
        });
    }

    fn tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.act(now, effects, |core, io| {
            core.registry.tick(io);
            core.controller.tick(io);
        });
    }

    fn next_deadline(&self) -> Option<Millis> {
        [self.registry.next_deadline(), self.controller.next_deadline()].into_iter().flatten().min()
    }
}
