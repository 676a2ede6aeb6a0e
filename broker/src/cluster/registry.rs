//! This broker's presence in ZooKeeper: the persistent nodes, the cluster's id, `/brokers/ids/N`. Decides when the broker
//! may join and when it must stop; never touches topics.

use super::json::{
    BrokerRegistration, DiskPast, decode_cluster_id, encode_cluster_id, encode_id, encode_log_dir_event, random_id,
};
use super::store::{Ask, ZkResult, delete, get, multi_outcome, set};
use super::{ClusterError, Effect, Io, paths};
use common::time::Millis;
use common::zk::{CreateMode, EventType, Request, Response, WatcherEvent, ZkError};
use tracing::{info, warn};

/// What an earlier life's session may outlast its timeout by: each election in the ensemble begins it anew, and on an overloaded
/// machine, where coordinators lose one another every few seconds, there may be several in a row.
const ELECTIONS_MS: u64 = 30_000;

/// What the registry asks of ZooKeeper.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum RegistryAsk {
    EnsurePath(&'static str),
    ReadClusterId,
    WriteClusterId,
    Register,
    ReadRegistration,
    DeleteOwnOld,
}

/// How far the broker has come in this session.
///
/// Absent -> Preparing (new session) -> LoadingConfigs (nodes and cluster id are there) -> Registering -> Registered;
/// Registering <-> WaitingForOld (an earlier life of this broker is still registered). Any -> Absent (session over).
#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Absent,
    Preparing { paths_left: usize, cluster_id_known: bool },
    LoadingConfigs,
    Registering,
    WaitingForOld { until: Millis, owner: i64 },
    Registered { epoch: i64 },
}

/// Where the registration stands after an input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Progress {
    /// Nothing to do for others.
    Same,
    /// Nodes and cluster id are there: settings can be read.
    Prepared,
    /// The broker is registered: it may stand for controller.
    Registered,
}

#[derive(Debug)]
pub(super) struct Registry {
    phase: Phase,
    session: i64,
    /// The session before this one in the same process, whose ephemeral nodes are ours to remove (KAFKA-7165).
    previous_session: Option<i64>,
    cluster_id: Option<String>,
    /// What began with this life of the broker, if it did, began with its first registration.
    first_epoch: Option<i64>,
}

impl Registry {
    pub(super) fn new() -> Registry {
        Registry { phase: Phase::Absent, session: 0, previous_session: None, cluster_id: None, first_epoch: None }
    }

    /// Id of the ZooKeeper session, 0 before the first.
    pub(super) fn session(&self) -> i64 {
        self.session
    }

    /// czxid of the registration; `None` while not registered.
    pub(super) fn broker_epoch(&self) -> Option<i64> {
        match self.phase {
            Phase::Registered { epoch } => Some(epoch),
            _ => None,
        }
    }

    pub(super) fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    pub(super) fn next_deadline(&self) -> Option<Millis> {
        match self.phase {
            Phase::WaitingForOld { until, .. } => Some(until),
            _ => None,
        }
    }

    /// A new session: everything from the beginning.
    pub(super) fn on_session(&mut self, session: i64, io: &mut Io<'_>) {
        self.session = session;
        self.phase = Phase::Preparing { paths_left: paths::PERSISTENT.len(), cluster_id_known: false };
        for path in paths::PERSISTENT {
            let request = io.store.persistent(path, None);
            io.store.ask(RegistryAsk::EnsurePath(path), request);
        }
        io.store.ask(RegistryAsk::ReadClusterId, get(paths::CLUSTER_ID, false));
    }

    pub(super) fn on_session_over(&mut self) {
        if self.session != 0 {
            self.previous_session = Some(self.session);
        }
        self.phase = Phase::Absent;
    }

    /// The settings have been read; now others may see the broker.
    pub(super) fn register(&mut self, io: &mut Io<'_>) {
        self.phase = Phase::Registering;
        let path = paths::broker(io.config.broker_id.0);
        let data = registration(io, self.first_epoch).encode();
        // The data goes in by a second operation so that the answer carries the stat, and with it the broker epoch.
        let create = io.store.create(&path, None, CreateMode::Ephemeral);
        io.store.ask(RegistryAsk::Register, Request::Multi(vec![create, set(path, data, 0)]));
    }

    pub(super) fn on_answer(&mut self, ask: RegistryAsk, result: ZkResult, io: &mut Io<'_>) -> Progress {
        match ask {
            RegistryAsk::EnsurePath(path) => self.on_path(path, result, io),
            RegistryAsk::ReadClusterId => self.on_cluster_id(result, io),
            RegistryAsk::WriteClusterId => {
                // Whoever was first wrote it; what stands there counts.
                io.store.ask(RegistryAsk::ReadClusterId, get(paths::CLUSTER_ID, false));
                Progress::Same
            }
            RegistryAsk::Register => self.on_registered(result, io),
            RegistryAsk::ReadRegistration => self.on_existing(result, io),
            RegistryAsk::DeleteOwnOld => {
                self.register(io);
                Progress::Same
            }
        }
    }

    fn on_path(&mut self, path: &'static str, result: ZkResult, io: &mut Io<'_>) -> Progress {
        if let Err(problem) = result
            && problem != ZkError::NodeExists
        {
            io.stop(ClusterError::ZooKeeper { doing: format!("creating {path}"), problem: problem.message(path) });
            return Progress::Same;
        }
        if let Phase::Preparing { paths_left, .. } = &mut self.phase {
            *paths_left -= 1;
        }
        self.maybe_prepared()
    }

    fn on_cluster_id(&mut self, result: ZkResult, io: &mut Io<'_>) -> Progress {
        let data = match result {
            Ok(Response::GetData { data, .. }) => data.unwrap_or_default(),
            Err(ZkError::NoNode) => {
                let id = encode_id(random_id(io.rng));
                let request = io.store.persistent(paths::CLUSTER_ID, Some(encode_cluster_id(&id)));
                io.store.ask(RegistryAsk::WriteClusterId, request);
                return Progress::Same;
            }
            other => {
                let problem =
                    other.map_or_else(|error| error.message(paths::CLUSTER_ID), |_| "unexpected answer".into());
                io.stop(ClusterError::ZooKeeper { doing: "reading the cluster id".into(), problem });
                return Progress::Same;
            }
        };
        let id = match decode_cluster_id(&data) {
            Ok(id) => id,
            Err(problem) => {
                let doing = format!("reading {}", paths::CLUSTER_ID);
                io.stop(ClusterError::ZooKeeper { doing, problem: problem.to_string() });
                return Progress::Same;
            }
        };
        let stored = io.config.stored_cluster_id.as_ref().map(|stored| (stored.place.as_str(), stored.id.as_str()));
        let seen = self.cluster_id.as_deref().map(|id| ("the session before", id));
        if let Some((place, read)) = stored.or(seen)
            && read != id
        {
            let (place, read) = (place.to_owned(), read.to_owned());
            io.stop(ClusterError::InconsistentClusterId { place, expected: id, read });
            return Progress::Same;
        }
        if self.cluster_id.is_none() {
            info!(cluster_id = id, "cluster id known");
            self.cluster_id = Some(id.clone());
            io.effects.push(Effect::ClusterId(id));
        }
        if let Phase::Preparing { cluster_id_known, .. } = &mut self.phase {
            *cluster_id_known = true;
        }
        self.maybe_prepared()
    }

    fn maybe_prepared(&mut self) -> Progress {
        if self.phase != (Phase::Preparing { paths_left: 0, cluster_id_known: true }) {
            return Progress::Same;
        }
        self.phase = Phase::LoadingConfigs;
        Progress::Prepared
    }

    fn on_registered(&mut self, result: ZkResult, io: &mut Io<'_>) -> Progress {
        match multi_outcome(result) {
            Ok(answers) => {
                let Some(Response::SetData { stat }) = answers.last() else { return Progress::Same };
                self.registered(stat.czxid, io)
            }
            Err((_, ZkError::NodeExists)) => {
                let path = paths::broker(io.config.broker_id.0);
                io.store.ask(RegistryAsk::ReadRegistration, get(path, true));
                Progress::Same
            }
            Err((_, problem)) => {
                let path = paths::broker(io.config.broker_id.0);
                let doing = format!("registering the broker at {path}");
                io.stop(ClusterError::ZooKeeper { doing, problem: problem.message(&path) });
                Progress::Same
            }
        }
    }

    fn registered(&mut self, epoch: i64, io: &mut Io<'_>) -> Progress {
        info!(broker = io.config.broker_id.0, epoch, "registered in zookeeper");
        self.phase = Phase::Registered { epoch };
        self.first_epoch.get_or_insert(epoch);
        io.effects.push(Effect::Registered { broker_epoch: epoch });
        Progress::Registered
    }

    /// Somebody is registered with this broker's id.
    fn on_existing(&mut self, result: ZkResult, io: &mut Io<'_>) -> Progress {
        let (data, stat) = match result {
            Ok(Response::GetData { data, stat }) => (data.unwrap_or_default(), stat),
            _ => {
                self.register(io);
                return Progress::Same;
            }
        };
        let owner = stat.ephemeral_owner;
        if owner == self.session {
            return self.registered(stat.czxid, io);
        }
        if self.previous_session == Some(owner) {
            info!(owner, "removing the registration of this broker's expired session");
            let path = paths::broker(io.config.broker_id.0);
            io.store.ask(RegistryAsk::DeleteOwnOld, delete(path));
            return Progress::Same;
        }
        let is_our_address =
            BrokerRegistration::decode(&data).is_ok_and(|found| found.endpoints == io.config.endpoints);
        if !is_our_address {
            self.refuse(owner, io);
            return Progress::Same;
        }
        let until = match self.phase {
            Phase::WaitingForOld { until, .. } => until,
            _ => io.now.mono + u64::from(io.config.session_timeout_ms) * 3 / 2 + ELECTIONS_MS,
        };
        warn!(owner, "an earlier life of this broker is still registered; waiting for its session to expire");
        self.phase = Phase::WaitingForOld { until, owner };
        Progress::Same
    }

    fn refuse(&mut self, owner: i64, io: &mut Io<'_>) {
        let path = paths::broker(io.config.broker_id.0);
        info!(path, owner, session = self.session, "the broker id is taken");
        io.stop(ClusterError::BrokerIdTaken { path, owner, session: self.session });
    }

    /// Whoever is not registered is told its roles when it is, and answers then what it has lost.
    pub(super) fn on_log_dir_failed(&self, io: &mut Io<'_>) {
        if self.broker_epoch().is_some() {
            let path = format!("{}/{}", paths::LOG_DIR_EVENTS, paths::LOG_DIR_EVENT_PREFIX);
            let data = encode_log_dir_event(io.config.broker_id.0);
            let note = io.store.create(&path, Some(data), CreateMode::PersistentSequential);
            io.store.ask(Ask::Nobody, note);
        }
    }

    pub(super) fn on_watch(&mut self, event: &WatcherEvent, io: &mut Io<'_>) {
        let ours = event.path == paths::broker(io.config.broker_id.0);
        if ours && event.kind == EventType::NodeDeleted && matches!(self.phase, Phase::WaitingForOld { .. }) {
            self.register(io);
        }
    }

    pub(super) fn tick(&mut self, io: &mut Io<'_>) {
        if let Phase::WaitingForOld { until, owner } = self.phase
            && until <= io.now.mono
        {
            self.refuse(owner, io);
        }
    }
}

fn registration(io: &Io<'_>, first_epoch: Option<i64>) -> BrokerRegistration {
    let DiskPast { clean_since, kept_since } = io.config.disk_past;
    BrokerRegistration {
        undelete_ms: io.config.undelete_ms,
        endpoints: io.config.endpoints.clone(),
        rack: io.config.rack.clone(),
        jmx_port: io.config.jmx_port,
        timestamp_ms: io.now.wall.0,
        features: Default::default(),
        past: Some(DiskPast { clean_since: clean_since.or(first_epoch), kept_since: kept_since.or(first_epoch) }),
    }
}
