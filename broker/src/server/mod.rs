//! The broker as a process: sockets, threads, clock and files, and nothing that decides. The only place that is async.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "server/ owns clocks, files and threads")]

mod admin;
mod admission;
mod broker_id;
pub mod clock;
pub mod disk;
mod listener;
mod login;
mod peer;
mod socket;
mod tls;
mod zookeeper;

use crate::access::ANONYMOUS;
use crate::access::principal::PrincipalMapping;
use crate::broker::{Broker, Collaborators};
use crate::config::{BrokerConfig, SecurityProtocol};
use crate::connection::ConnectionInfo;
use crate::outbox::{Channel, ConnectionId, Job, Outbox, PeerAddress, StopReason, ZkCommand};
use anyhow::Context as _;
use bytes::Bytes;
use clock::Clock;
use common::kafka::wire::Frame;
use common::time::Millis;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

/// What the tasks share, and the broker's way out to them.
pub struct Shared {
    clock: Clock,
    broker: OnceLock<Arc<Broker>>,
    runtime: tokio::runtime::Handle,
    connections: Mutex<HashMap<ConnectionId, mpsc::UnboundedSender<socket::Due>>>,
    next_connection: AtomicU64,
    admission: Arc<admission::Admission>,
    peers: peer::Peers,
    security: Security,
    zookeeper: mpsc::UnboundedSender<ZkCommand>,
    wake: Notify,
    wake_at: AtomicU64,
    /// When what is due was looked at last, by the monotonic clock.
    ticked_at: AtomicU64,
    stopped: mpsc::UnboundedSender<StopReason>,
    max_request_bytes: usize,
    /// A fetch answer is as long as was asked for, or one batch, which came in a request.
    max_response_bytes: usize,
    idle_limit: Duration,
}

/// Who may connect, and as whom.
struct Security {
    tls: tls::Listeners,
    logins: login::Logins,
    principals: PrincipalMapping,
}

impl Security {
    fn read(config: &BrokerConfig) -> anyhow::Result<Security> {
        let rules = &config.ssl_principal_mapping_rules;
        let principals = PrincipalMapping::parse(rules)
            .map_err(|problem| anyhow::anyhow!("ssl.principal.mapping.rules={rules}: {problem}"))?;
        Ok(Security { tls: tls::Listeners::read(config)?, logins: login::Logins::read(config)?, principals })
    }
}

impl Shared {
    fn idle_limit(&self) -> Duration {
        self.idle_limit
    }

    fn settle(&self, connection: ConnectionId, due: socket::Due) {
        if let Some(sender) = self.connections.lock().get(&connection) {
            // A connection that ended meanwhile has no reader for its answer, and needs none.
            let _ = sender.send(due);
        }
    }

    /// How bytes travel on a listener.
    fn protocol(&self, listener: &str) -> Option<SecurityProtocol> {
        let listeners = &self.broker().config.listeners;
        listeners.iter().find(|one| one.name == listener).map(|one| one.protocol)
    }

    fn broker(&self) -> &Arc<Broker> {
        self.broker.get().expect("tasks start after the broker")
    }
}

impl Outbox for Shared {
    fn reply(&self, connection: ConnectionId, sequence: u64, frame: Frame) {
        self.settle(connection, socket::Due::Answer(sequence, frame));
    }

    fn close(&self, connection: ConnectionId, sequence: u64, reason: String) {
        self.settle(connection, socket::Due::Close(sequence, reason));
    }

    fn peer(&self, to: &PeerAddress, channel: Channel, request_id: u64, frame: Bytes) {
        self.peers.send(to, channel, request_id, frame);
    }

    fn drop_peer(&self, to: &PeerAddress, channel: Channel) {
        self.peers.drop_connection(to, channel);
    }

    fn watch(&self, brokers: &BTreeSet<PeerAddress>) {
        self.peers.watch(brokers);
    }

    fn zk(&self, command: ZkCommand) {
        let _ = self.zookeeper.send(command);
    }

    fn wake_at(&self, at: Millis) {
        if self.wake_at.fetch_min(at.0, Ordering::SeqCst) > at.0 {
            self.wake.notify_one();
        }
    }

    fn run(&self, job: Job) {
        let clock = self.clock;
        self.runtime.spawn_blocking(move || job(clock.now()));
    }

    fn rest(&self, millis: u64) {
        std::thread::sleep(Duration::from_millis(millis));
    }

    fn stop(&self, reason: StopReason) {
        let _ = self.stopped.send(reason);
    }
}

/// Why a broker that cannot reach ZooKeeper does not start, in Kafka's words.
const NO_ZOOKEEPER: &str = "Fatal error during KafkaServer startup. Prepare to shutdown: \
    kafka.zookeeper.ZooKeeperClientTimeoutException: Timed out waiting for connection while in state: CONNECTING";

/// Runs a broker until it is told to stop by a signal or by itself. `Err` carries the one line for the operator.
pub fn run(config: BrokerConfig) -> anyhow::Result<()> {
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).max(2);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("broker")
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let result = runtime.block_on(serve(config, runtime.handle().clone()));
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}

async fn serve(mut config: BrokerConfig, runtime: tokio::runtime::Handle) -> anyhow::Result<()> {
    broker_id::settle(&mut config).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        broker_id = config.broker_id,
        log_dirs = config.log_dirs.join(","),
        zookeeper = config.zookeeper_connect,
        "castellan broker is starting"
    );
    let security = Security::read(&config)?;
    let _locks = disk::lock_log_dirs(&config.log_dirs)?;
    let listeners = listener::bind(&config).await?;
    let admin = admin::bind(&config).await?;
    let (zookeeper, zk_commands) = mpsc::unbounded_channel();
    let (stopped, mut stop) = mpsc::unbounded_channel();
    let max_request_bytes = usize::try_from(config.socket_request_max_bytes).unwrap_or(usize::MAX);
    let max_fetch_bytes = usize::try_from(config.replica_fetch_response_max_bytes).unwrap_or(0);
    let max_response_bytes = max_request_bytes.saturating_add(max_fetch_bytes);
    let idle_limit = Duration::from_millis(u64::try_from(config.connections_max_idle_ms).unwrap_or(u64::MAX / 2));
    let shared = Arc::new_cyclic(|weak| Shared {
        clock: Clock::start(),
        broker: OnceLock::new(),
        runtime,
        connections: Mutex::default(),
        next_connection: AtomicU64::new(1),
        admission: Arc::default(),
        peers: peer::Peers::new(weak.clone()),
        security,
        zookeeper,
        wake: Notify::new(),
        wake_at: AtomicU64::new(u64::MAX),
        ticked_at: AtomicU64::new(0),
        stopped,
        max_request_bytes,
        max_response_bytes,
        idle_limit,
    });
    let ports = listener::ports(&listeners);
    let admin_task = admin.map(|admin| tokio::spawn(admin::serve(shared.clone(), admin)));
    let patience = Duration::from_millis(u64::try_from(config.zookeeper_connection_timeout_ms).unwrap_or(18_000));
    let collaborators =
        Collaborators { disk: Arc::new(disk::StdDisk), outbox: shared.clone(), rng: common::Rng::new() };
    let began = shared.clock.now();
    let broker = Broker::start(config, (&ports, &host_name()), collaborators, began).map_err(anyhow::Error::new)?;
    let (partitions, took_ms) = (broker.replicas.all().len(), shared.clock.now().mono.0 - began.mono.0);
    tracing::info!(partitions, took_ms, "logs are loaded");
    shared.broker.set(broker.clone()).unwrap_or_else(|_| unreachable!("set once"));
    let listeners: Vec<_> = listeners.into_iter().map(listener::Bound::listen).collect::<Result<_, _>>()?;
    let mut zk_task = tokio::spawn(zookeeper::drive(shared.clone(), zk_commands));
    let mut tick_task = tokio::spawn(tick(shared.clone()));
    let watching = shared.clone();
    let certificates_task =
        tokio::spawn(async move { watching.security.tls.watch(|| watching.broker().current.read().clone()).await });
    broker.begin(shared.clock.now());
    let accept_tasks: Vec<_> =
        listeners.into_iter().map(|listener| tokio::spawn(listener::accept(shared.clone(), listener))).collect();
    let reason = wait_for_stop(&shared, &mut stop, (&mut zk_task, &mut tick_task), patience).await?;
    for task in accept_tasks {
        task.abort();
    }
    for task in [tick_task, certificates_task].into_iter().chain(admin_task) {
        task.abort();
    }
    // A shutdown that finished has ZooKeeper's word that the session is closed.
    zk_task.abort();
    match reason {
        StopReason::Finished => Ok(()),
        StopReason::Fatal(text) => Err(anyhow::anyhow!(text)),
    }
}

async fn wait_for_stop(
    shared: &Arc<Shared>,
    stop: &mut mpsc::UnboundedReceiver<StopReason>,
    (zk_task, tick_task): (&mut JoinHandle<()>, &mut JoinHandle<()>),
    zookeeper_patience: Duration,
) -> anyhow::Result<StopReason> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut signals = 0;
    let mut gave_up = false;
    let mut too_late = Some(Box::pin(tokio::time::sleep(zookeeper_patience)));
    loop {
        tokio::select! {
            biased;
            reason = stop.recv() => return Ok(match reason.unwrap_or(StopReason::Finished) {
                StopReason::Finished if gave_up => StopReason::Fatal(NO_ZOOKEEPER.to_owned()),
                reason => reason,
            }),
            // Neither ends by itself: it was a bug, and without it the broker is neither serving nor dead.
            ended = &mut *zk_task => return Ok(StopReason::Fatal(format!("the ZooKeeper connection's task ended: {ended:?}"))),
            ended = &mut *tick_task => return Ok(StopReason::Fatal(format!("the clock's task ended: {ended:?}"))),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = async { too_late.as_mut().expect("the branch is taken once").await }, if too_late.is_some() => {
                too_late = None;
                let cluster = &shared.broker().cluster;
                // Only a start is given up. Once registered, a broker waits for ZooKeeper as long as it takes.
                if cluster.broker_epoch().is_some() || cluster.is_connected() || signals > 0 {
                    continue;
                }
                gave_up = true;
            }
        }
        signals += 1;
        if signals > 1 {
            return Ok(StopReason::Fatal("stopped by a second signal before the shutdown was complete".to_owned()));
        }
        tracing::info!("shutting down");
        shared.broker().begin_shutdown(shared.clock.now());
    }
}

/// Calls `Broker::tick` when something is due.
async fn tick(shared: Arc<Shared>) {
    loop {
        shared.wake_at.store(u64::MAX, Ordering::SeqCst);
        let now = shared.clock.now();
        shared.ticked_at.store(now.mono.0, Ordering::Relaxed);
        if let Some(next) = shared.broker().tick(now) {
            shared.wake_at.fetch_min(next.0, Ordering::SeqCst);
        }
        let due = shared.wake_at.load(Ordering::SeqCst);
        let wait = due.saturating_sub(shared.clock.now().mono.0).clamp(1, 1000);
        tokio::select! {
            biased;
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(Duration::from_millis(wait)) => {}
        }
    }
}

fn connection_info(shared: &Shared, listener: &str, client: SocketAddr) -> ConnectionInfo {
    ConnectionInfo {
        id: ConnectionId(shared.next_connection.fetch_add(1, Ordering::Relaxed)),
        listener: listener.to_owned(),
        client_host: client.ip().to_string(),
        client_port: client.port(),
        software: OnceLock::new(),
        principal: ANONYMOUS.to_owned(),
    }
}

/// What clients are told where a listener names no host.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
