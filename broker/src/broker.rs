//! The whole broker: owns every machine, takes what comes in from the server (or the simulator), and carries effects from
//! one machine to the next. Decides nothing itself and never waits.

use crate::access::acl::{Operation, ResourceType};
use crate::access::authorizer::{Asker, Authorizer};
use crate::access::sanitize::{desanitize, sanitize};
use crate::api::{self, Handled};
use crate::cluster::image::Image;
use crate::cluster::{self, Cluster, ClusterConfig, ClusterError, StoredClusterId};
use crate::config::{BrokerConfig, GroupConfigs, TopicConfig};
use crate::connection::ConnectionInfo;
use crate::controller_link::ControllerLink;
use crate::deadline::Deadline;
use crate::end_offsets::EndQuestions;
use crate::features::Features;
use crate::group::{GroupSettings, Groups};
use crate::in_order::InOrder;
use crate::isolation::Isolation;
use crate::log::LogConfig;
use crate::metrics::{ListenerCounters, RequestCounters};
use crate::outbox::{Outbox, PeerAddress, PeerError, StopReason, ZkCommand, ZkInput};
use crate::partition::throttle::ThrottledReplicas;
use crate::partition::{Replicas, StorageError, is_internal};
use crate::peers::Peers;
use crate::producer_ids::ProducerIds;
use crate::quota::Quotas;
use crate::resources::{CLIENT_METRICS_KIND, DEFAULT_ENTITY, GROUPS};
use crate::share::leading::Shares;
use crate::share::persister::Persister;
use crate::share::{self, ShareStates};
use crate::shutdown::Stage;
use crate::suspects::Suspects;
use crate::telemetry::Telemetry;
use crate::telemetry::subscription::Subscription;
use crate::tiered::METADATA_TOPIC;
use crate::tiering::Tiering;
use crate::txn::{self, Transactions};
use crate::txn_peers::Questions;
use crate::wiring;
use bytes::Bytes;
use common::Rng;
use common::disk::Disk;
use common::id::BrokerId;
use common::properties::Properties;
use common::scram::{ScramCredential, ScramMechanism};
use common::time::{Millis, Now};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use thiserror::Error;

/// A `meta.properties` is three lines.
const META_PROPERTIES_BYTES_MAX: usize = 64 * 1024;

/// Up to so many brokers each watches all others, so that everyone can tell a client of a leader's death at once; beyond it
/// the silent connections would be many.
const ALL_WATCH_ALL: usize = 32;

/// Kafka's words for a broker that would give up what topics have in the remote store.
const TIERED_TOPICS: &str = "You have to delete all topics with the property remote.storage.enable=true before disabling \
    tiered storage cluster-wide; or set remote.log.storage.system.enable=true";

/// The two directions of a replication throttle, as settings name them.
const LEADING: &str = "leader";
const FOLLOWING: &str = "follower";

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
    #[error(transparent)]
    LogDirs(#[from] StorageError),
    /// The settings about ZooKeeper cannot be used.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The settings of access cannot be used.
    #[error("{0}")]
    Access(String),
}

/// What ZooKeeper holds has not been read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotReadYet;

/// One broker.
pub struct Broker {
    /// Its settings, as the file gives them.
    pub config: Arc<BrokerConfig>,
    /// Its settings with those laid over them that were set while running.
    pub current: RwLock<Arc<BrokerConfig>>,
    /// Where its log directories are.
    pub disk: Arc<dyn Disk>,
    /// Its way out.
    pub outbox: Arc<dyn Outbox>,
    /// Requests to other brokers that wait for a response.
    pub peers: Peers,
    /// What the controller has told of the cluster.
    pub image: RwLock<Image>,
    /// ZooKeeper: registration, settings, and the controller if this broker is it.
    pub cluster: Cluster,
    /// This broker's partitions.
    pub replicas: Replicas,
    /// Ids for idempotent producers.
    pub producer_ids: ProducerIds,
    /// The groups this broker looks after.
    pub groups: Groups,
    /// Settings that groups have of their own.
    pub group_configs: Arc<GroupConfigs>,
    /// The transactional ids this broker looks after.
    pub transactions: Transactions,
    /// The state of share partitions this broker looks after.
    pub share_states: ShareStates,
    /// Who may do what; `None`: everybody everything.
    pub authorizer: Option<Authorizer>,
    /// How much clients may have.
    pub quotas: Quotas,
    /// Requests, counted by API.
    pub requests: Arc<RequestCounters>,
    /// Connections, counted by listener.
    pub listeners: BTreeMap<String, ListenerCounters>,
    /// Metrics that clients push.
    pub telemetry: Telemetry,
    pub(crate) txn_questions: Questions,
    pub(crate) end_questions: EndQuestions,
    pub(crate) persister: Persister,
    pub(crate) shares: Shares,
    /// Features that all live brokers serve.
    pub(crate) features: Features,
    pub(crate) tiering: Tiering,
    pub(crate) stage: Mutex<Stage>,
    pub(crate) isolation: Isolation,
    pub(crate) controller_link: ControllerLink,
    pub(crate) suspects: Suspects,
    /// When groups and transactions have to be looked at.
    pub(crate) groups_due: Deadline,
    pub(crate) transactions_due: Deadline,
    /// The same of the share coordinator.
    pub(crate) share_states_due: Deadline,
    /// It has said in its log that it serves.
    pub(crate) has_started: AtomicBool,
    /// On their way from the cluster's machine to the socket.
    pub(crate) zk_commands: Mutex<InOrder<ZkCommand>>,
}

impl Broker {
    /// Loads what the log directories hold. Nothing is sent before `begin`. `ports` are those bound, by listener name;
    /// `host_name` is advertised where a listener names no host.
    pub fn start(
        config: BrokerConfig,
        (ports, host_name): (&BTreeMap<String, u16>, &str),
        collaborators: Collaborators,
        now: Now,
    ) -> Result<Arc<Broker>, StartError> {
        let Collaborators { disk, outbox, mut rng } = collaborators;
        let authorizer = Authorizer::of(&config).map_err(StartError::Access)?;
        let stored = stored_cluster_id(&config, disk.as_ref());
        let replicas = Replicas::new(wiring::partition_settings(&config), disk.clone(), rng.fork(), None, now)?;
        replicas.keep_deleted_for(u64::try_from(config.castellan_topic_undelete_ms).unwrap_or(0));
        let mut cluster_config = ClusterConfig::new(&config, ports, host_name, stored);
        cluster_config.remembered_session = remembered_session(&config, disk.as_ref());
        cluster_config.disk_past = replicas.disk_past();
        let cluster = Cluster::new(cluster_config, rng.fork(), now)?;
        let group_configs = Arc::new(GroupConfigs::new(&config));
        let groups = Groups::new(GroupSettings::of(&config, group_configs.clone()), rng.fork());
        let transactions = Transactions::new(txn::Settings::of(&config));
        let share_states = ShareStates::new(share::coordinator::Settings::of(&config));
        let peers = Peers::new(outbox.clone(), format!("broker-{}", config.broker_id));
        let quotas = Quotas::new(&config);
        let sessions = usize::try_from(config.group_share_max_share_sessions).unwrap_or(0);
        let requests = Arc::new(RequestCounters::new(api::counted_names().count()));
        let listeners = config.listeners.iter().map(|listener| (listener.name.clone(), Default::default())).collect();
        let features = Features::new(config.group_share_enable);
        let (image, stage, config) = (RwLock::default(), Mutex::default(), Arc::new(config));
        let current = RwLock::new(config.clone());
        let producer_ids = ProducerIds::new();
        let telemetry = Telemetry::new(usize::try_from(config.telemetry_max_bytes).unwrap_or(0), rng.fork());
        let tiering = Tiering::new(&config, disk.clone(), rng.fork());
        Ok(Arc::new(Broker {
            config,
            current,
            disk,
            outbox,
            peers,
            image,
            cluster,
            replicas,
            producer_ids,
            groups,
            group_configs,
            transactions,
            share_states,
            authorizer,
            quotas,
            requests,
            listeners,
            telemetry,
            txn_questions: Questions::default(),
            end_questions: EndQuestions::default(),
            persister: Persister::default(),
            shares: Shares::new(sessions),
            features,
            tiering,
            stage,
            isolation: Isolation::default(),
            controller_link: ControllerLink::default(),
            suspects: Suspects::default(),
            groups_due: Deadline::default(),
            transactions_due: Deadline::default(),
            share_states_due: Deadline::default(),
            has_started: AtomicBool::new(false),
            zk_commands: Mutex::default(),
        }))
    }

    /// Connects to ZooKeeper; the broker serves clients from here on.
    pub fn begin(self: &Arc<Self>, now: Now) {
        self.with_cluster(now, |cluster, effects| cluster.start(now, effects));
        self.outbox.wake_at(now.mono);
    }

    /// A request frame without its length prefix.
    pub fn on_request(self: &Arc<Self>, connection: &ConnectionInfo, sequence: u64, frame: Bytes, now: Now) -> Handled {
        api::dispatch(self, connection, sequence, frame, now).0
    }

    /// The response to a request to another broker, without its length prefix, or why there is none.
    pub fn on_peer_response(self: &Arc<Self>, request_id: u64, response: Result<Bytes, PeerError>, now: Now) {
        let Some((call, version)) = self.peers.finish(request_id) else { return };
        if response.is_ok() {
            self.isolation.heard(now.mono);
        }
        if matches!(response, Err(PeerError::Refused))
            && let Some(broker) = call.broker()
        {
            // Its process is gone: if this broker is the controller, nobody has to wait for the session.
            self.with_cluster(now, |cluster, effects| cluster.on_broker_unreachable(broker, now, effects));
        }
        self.deliver_peer_response((call, version), response, now);
    }

    /// A broker that `Outbox::watch` reached before refuses connections now: its process is gone. Nobody has to wait for the
    /// end of its session.
    pub fn on_peer_gone(self: &Arc<Self>, broker: BrokerId, now: Now) {
        self.with_cluster(now, |cluster, effects| cluster.on_broker_gone(broker, now, effects));
    }

    /// The silent connection to a broker broke; whether its process is gone will be seen.
    pub fn on_peer_broken(self: &Arc<Self>, broker: BrokerId, now: Now) {
        self.suspects.suspect(broker, now.mono);
    }

    /// A silent connection to a broker stands, for the first time or again.
    pub fn on_peer_reached(self: &Arc<Self>, broker: BrokerId, now: Now) {
        self.suspects.clear(broker);
        self.with_cluster(now, |cluster, effects| cluster.on_broker_reached(broker, now, effects));
        self.answer_waiting(now);
    }

    /// Answers clients that waited for news of leaders.
    pub(crate) fn answer_waiting(&self, now: Now) {
        let ready = self.suspects.ready(&self.image.read(), now.mono);
        for answer in ready {
            answer(now);
        }
    }

    /// What was asked of the controller before is asked again of the one there is now.
    pub(crate) fn ask_new_controller(self: &Arc<Self>, now: Now) {
        for call in self.peers.abandon_asked_of_controller() {
            self.deliver_peer_response((call, 0), Err(PeerError::Lost), now);
        }
    }

    /// Watches over whom this broker depends on: the controller, and everybody if it is the controller itself or the
    /// cluster is small.
    pub(crate) fn watch_others(&self) {
        let me = BrokerId(self.config.broker_id);
        let listener = &self.config.inter_broker_listener_name;
        let watched: BTreeSet<PeerAddress> = {
            let image = self.image.read();
            let watches_all = image.controller() == Some(me) || image.brokers().count() <= ALL_WATCH_ALL;
            let others =
                image.brokers().filter(|(id, _)| *id != me && (watches_all || image.controller() == Some(*id)));
            others
                .filter_map(|(id, broker)| {
                    let endpoint = broker.endpoint(listener)?;
                    Some(PeerAddress { broker: id, host: endpoint.host.clone(), port: endpoint.port })
                })
                .collect()
        };
        self.outbox.watch(&watched);
    }

    /// Something happened on the ZooKeeper socket.
    pub fn on_zk(self: &Arc<Self>, input: ZkInput, now: Now) {
        self.with_cluster(now, |cluster, effects| cluster.on_zk(input, now, effects));
    }

    /// May this be done?
    pub fn permits(&self, asker: &Asker<'_>, operation: Operation, resource: (ResourceType, &str)) -> bool {
        self.authorizer.as_ref().is_none_or(|authorizer| authorizer.permits(asker, operation, resource))
    }

    /// A user's SCRAM credential, as ZooKeeper has it. `Err` before its settings have been read for the first time.
    pub fn scram_credential(
        &self,
        mechanism: ScramMechanism,
        user: &str,
    ) -> Result<Option<ScramCredential>, NotReadYet> {
        if !self.has_started.load(Ordering::Relaxed) {
            return Err(NotReadYet);
        }
        let settings = self.cluster.settings("users", &sanitize(user));
        Ok(settings.get(mechanism.name()).and_then(|text| ScramCredential::from_text(text)))
    }

    /// Are clients asked for metrics? Only where what they push can be seen.
    pub(crate) fn takes_telemetry(&self) -> bool {
        self.config.metrics_http_port.is_some()
    }

    /// Does what is due; when to call again at the latest.
    pub fn tick(self: &Arc<Self>, now: Now) -> Option<Millis> {
        for call in self.peers.expired(now.mono) {
            self.deliver_peer_response((call, 0), Err(PeerError::TimedOut), now);
        }
        if self.cluster.next_deadline().is_some_and(|at| at <= now.mono) {
            self.with_cluster(now, |cluster, effects| cluster.tick(now, effects));
        }
        if self.replicas.next_deadline() <= now.mono {
            self.with_replicas(now, |replicas, effects| replicas.tick(now, effects));
        }
        if self.groups_due.take_if_due(now.mono)
            && let Some(next) = self.with_groups(now, |groups, io| groups.tick(io))
        {
            self.groups_due.bring_forward(next);
        }
        if self.transactions_due.take_if_due(now.mono)
            && let Some(next) = self.with_transactions(now, |transactions, io| transactions.tick(io))
        {
            self.transactions_due.bring_forward(next);
        }
        if self.share_states_due.take_if_due(now.mono)
            && let Some(next) = self.with_share_states(now, |states, io| states.tick(io))
        {
            self.share_states_due.bring_forward(next);
        }
        self.tick_persister(now);
        self.tick_shares(now);
        self.tick_tiered(now);
        self.ask_for_features(now);
        self.tick_shutdown(now);
        let has_others = self.image.read().brokers().count() > 1;
        let session_ms = u64::try_from(self.config.zookeeper_session_timeout_ms).unwrap_or(0);
        self.isolation.look(has_others, self.cluster.lost_at(), session_ms, now.mono);
        self.answer_waiting(now);
        let others = [
            self.suspects.next_deadline(now.mono),
            self.cluster.next_deadline(),
            self.groups_due.get(),
            self.transactions_due.get(),
            self.share_states_due.get(),
            self.persister.next_deadline(),
            self.shares.next_deadline(),
            self.tiering.next_deadline(),
            self.peers.next_deadline(),
            self.shutdown_deadline(),
            self.features.next_deadline(),
        ];
        others.into_iter().flatten().chain([self.replicas.next_deadline()]).min()
    }

    /// Keeps the ZooKeeper session for the next start, which is only slower without.
    pub(crate) fn remember_session(&self, text: &str) {
        let Some(path) = session_file(&self.config) else { return };
        if let Err(error) = self.disk.write_atomic(&path, text.as_bytes()) {
            tracing::warn!(path = %path.display(), %error, "the zookeeper session cannot be remembered");
        }
    }

    /// Settings in ZooKeeper changed.
    pub(crate) fn on_settings(&self, kind: &str, name: &str, settings: &cluster::Settings) {
        if kind == "brokers" && (name == DEFAULT_ENTITY || name == self.config.broker_id.to_string()) {
            return self.apply_settings();
        }
        if kind == GROUPS {
            let group = desanitize(name);
            for problem in self.group_configs.set(&self.config, &group, settings) {
                tracing::warn!(group, %problem, "a setting in ZooKeeper cannot be used");
            }
            return;
        }
        self.quotas.set(kind, name, settings);
        if kind == CLIENT_METRICS_KIND {
            match Subscription::parse(settings) {
                Ok(subscription) => self.telemetry.set_subscription(name, subscription),
                Err(problem) => tracing::warn!(name, %problem, "client metrics in ZooKeeper cannot be used"),
            }
        }
        if kind == "topics" {
            let config = self.topic_log_config(name, settings);
            self.replicas.set_topic_config(name, config);
            let throttles = self.replicas.throttles();
            throttles.leading.set_topic(name, self.throttled(settings, LEADING));
            throttles.following.set_topic(name, self.throttled(settings, FOLLOWING));
        }
    }

    /// Has everything that is set in ZooKeeper take effect: this broker's own settings (KIP-226), and those of topics.
    pub(crate) fn apply_settings(&self) {
        let current = Arc::new(self.setting_layers().current());
        self.replicas.set_default_config(wiring::log_config(&current, &TopicConfig::defaults(&current)));
        self.replicas.set_cleaner(wiring::cleaner_settings(&current));
        self.tiering.set_limits(&current);
        *self.current.write() = current;
        let topics = self.cluster.settings_of_kind("topics");
        let is_remote =
            |settings: &cluster::Settings| settings.get("remote.storage.enable").is_some_and(|on| on == "true");
        if self.tiering.on().is_none() && topics.values().any(is_remote) {
            return self.outbox.stop(StopReason::Fatal(TIERED_TOPICS.to_owned()));
        }
        let throttled = |direction: &str| -> BTreeMap<String, ThrottledReplicas> {
            let replicas = |settings| self.throttled(settings, direction);
            topics.iter().filter_map(|(topic, settings)| Some((topic.clone(), replicas(settings)?))).collect()
        };
        let throttles = self.replicas.throttles();
        throttles.leading.set_topics(throttled(LEADING));
        throttles.following.set_topics(throttled(FOLLOWING));
        let layers = self.setting_layers();
        let limit = |direction: &str| {
            let name = format!("{direction}.replication.throttled.rate");
            layers.own.get(&name).or_else(|| layers.for_all.get(&name))?.trim().parse().ok()
        };
        throttles.leading.set_limit(limit(LEADING));
        throttles.following.set_limit(limit(FOLLOWING));
        let rate = "replica.alter.log.dirs.io.max.bytes.per.second";
        let rate = layers.own.get(rate).or_else(|| layers.for_all.get(rate));
        self.replicas.set_move_rate(rate.and_then(|rate| rate.trim().parse().ok()));
        let configs = topics
            .iter()
            .filter_map(|(topic, settings)| Some((topic.clone(), self.topic_log_config(topic, settings)?)));
        self.replicas.set_topic_configs(configs.collect());
    }

    /// The replicas of this broker that a topic's settings hold back in one direction.
    fn throttled(&self, settings: &cluster::Settings, direction: &str) -> Option<ThrottledReplicas> {
        let text = settings.get(&format!("{direction}.replication.throttled.replicas"))?;
        ThrottledReplicas::parse(text, self.config.broker_id)
    }

    /// `None` for a topic without settings of its own.
    fn topic_log_config(&self, topic: &str, settings: &cluster::Settings) -> Option<LogConfig> {
        let current = self.current.read().clone();
        let (config, problems) = TopicConfig::from_stored(&current, settings);
        for problem in problems {
            tracing::warn!(topic, %problem, "a setting in ZooKeeper cannot be used");
        }
        (!settings.is_empty()).then(|| {
            let is_kept_here = is_internal(topic) || topic == METADATA_TOPIC;
            let config = wiring::log_config(&current, &config);
            LogConfig { remote: config.remote.filter(|_| !is_kept_here), ..config }
        })
    }
}

/// Where the ZooKeeper session is remembered. Kafka looks only at the folders of a log directory.
fn session_file(config: &BrokerConfig) -> Option<PathBuf> {
    config.log_dirs.first().map(|dir| Path::new(dir).join(".zookeeper-session"))
}

fn remembered_session(config: &BrokerConfig, disk: &dyn Disk) -> Option<String> {
    let bytes = disk.read(&session_file(config)?, META_PROPERTIES_BYTES_MAX).ok()?;
    String::from_utf8(bytes).ok()
}

/// The cluster id in the first `meta.properties` that has one.
fn stored_cluster_id(config: &BrokerConfig, disk: &dyn Disk) -> Option<StoredClusterId> {
    config.log_dirs.iter().find_map(|dir| {
        let path = Path::new(dir).join("meta.properties");
        let text = disk.read(&path, META_PROPERTIES_BYTES_MAX).ok()?;
        let properties = Properties::parse(&String::from_utf8_lossy(&text), "meta.properties");
        let id = properties.get("cluster.id")?.to_owned();
        Some(StoredClusterId { place: path.display().to_string(), id })
    })
}
