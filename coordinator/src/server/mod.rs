//! The process: sockets, the disk thread and the clock around one node. Everything runs on one thread but the disk: the
//! node is one machine, and answers leave from the loop that runs it. Decides nothing about znodes.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "server/ owns threads, clocks and hash maps")]

mod admin;
mod atomic;
mod code;
mod convert;
mod disk;
mod facts;
mod link;
mod outstanding;
mod pace;
mod peer;
mod socket;
mod tls;

use crate::admin::{AdminBody, AdminReply, AdminRequest};
use crate::config::Config;
use crate::ensemble::EnsembleError;
use crate::node::{Input, Node, NodeError, Output, TICK_MS};
use crate::store::StoreWrite;
use crate::tree::watch::ConnectionId;
use admin::{Question, Snapshot};
use bytes::Bytes;
use common::Rng;
use common::time::{Millis, Now, WallMillis};
use disk::{Disk, DiskEvent, SnapshotReply};
use link::Link;
use pace::Pace;
use peer::{Mesh, PeerLink, PeerTls};
use socket::{Client, ClientLimits, ClientPort, SocketCounters, Speaks};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use thiserror::Error;
use tls::Tls;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, oneshot};

pub use convert::{Converted, export_zookeeper, import_zookeeper};
pub use disk::DiskError;
pub use tls::TlsError;

/// Events that wait for the node's loop. Readers wait when it is full.
const QUEUED_EVENTS: usize = 4096;

/// How long a stopping leader waits for another server to take over.
const HAND_OVER: Duration = Duration::from_millis(300);

/// A turn of the loop with no more events than this may wait for the disk itself.
const QUIET_EVENTS: usize = 2;
/// If it writes no more than this.
const SMALL_WRITE_BYTES: usize = 4096;

/// The server cannot start or go on.
#[derive(Debug, Error)]
pub enum ServerError {
    /// A port cannot be bound.
    #[error("{what} {address} cannot be bound: {error}")]
    Bind {
        /// Which port it is.
        what: &'static str,
        /// Address and port.
        address: String,
        /// Why.
        error: std::io::Error,
    },
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// TLS.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] TlsError),
    /// A setting of an HTTP port.
    #[error(transparent)]
    Setting(#[from] common::properties::PropertyError),
    /// The stored state.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The stored log.
    #[error(transparent)]
    Ensemble(#[from] EnsembleError),
    /// The operating system refused something basic.
    #[error("the process cannot be set up: {0}")]
    System(#[from] std::io::Error),
}

/// What reaches the node's loop.
enum Event {
    /// An input as it is.
    Node(Input),
    /// A client has connected.
    Client(Arc<Client>, SocketAddr),
    /// A connection to send to a peer is open.
    Peer(Arc<PeerLink>),
    /// That connection broke.
    PeerDown(u64),
    /// A peer has connected to send to this server.
    Receiving(u64, Arc<Link>),
    /// Messages that came over this connection.
    PeerFrames(Arc<Link>, Input),
    /// The disk reports.
    Disk(DiskEvent),
    /// Someone asks over HTTP.
    Admin(Question),
}

type Events = mpsc::Sender<Event>;

/// Both clocks, read by the server alone.
struct Clock {
    started: Instant,
}

impl Clock {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            mono: Millis(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)),
            wall: WallMillis(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)),
        }
    }

    /// The clock of [`Clock::now`]'s `mono`, more finely.
    fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Runs a server until `stop` is ready or the disk fails.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
    let clock = Clock { started: Instant::now() };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        server_id = config.my_id,
        servers = config.servers.len().max(1),
        data_dir = %config.data_dir.display(),
        "castellan coordinator is starting"
    );
    let listeners = ClientListeners::open(&config).await?;
    let peer_tls = PeerTls {
        sasl: config.quorum_sasl.clone(),
        tls: tls::for_servers(&config)?,
        dials: config.quorum_tls.is_on,
        accepts_plain: config.quorum_tls.accepts_both,
    };
    let is_distributed = config.servers.len() > 1 || !config.standalone_enabled;
    let me = config.servers.get(&config.my_id).filter(|_| is_distributed);
    let peer_listener = match me {
        Some(me) => {
            Some(bind("server port", if config.listens_on_all { "0.0.0.0" } else { &me.host }, me.peer_port, -1).await?)
        }
        None => None,
    };
    let (store, persisted, tree) = Disk::open(&config.data_dir, &config.data_log_dir)?;
    let mut rng = Rng::new();
    let entries = persisted.entries.iter().filter(|entry| entry.index > persisted.applied).count();
    let mut node = Node::with_tree(&config, persisted, tree, rng.fork(), clock.now())?;
    node.metrics_mut().init_time.add(clock.now().mono.0);
    node.metrics_mut().startup_entries.add(entries as u64);
    let (events, queue) = mpsc::channel(QUEUED_EVENTS);
    let reports = events.clone();
    let disk = Disk::start(store, move |event| {
        // A closed queue means that the server stops.
        let _ = reports.blocking_send(Event::Disk(event));
    })?;
    let mut tasks = tokio::task::JoinSet::new();
    serve_http(&config, &events, &mut tasks).await?;
    let counters = Arc::new(SocketCounters::default());
    let mesh = Mesh::new(config.my_id, peer_tls.clone(), events.clone(), rng.fork());
    if let Some(listener) = peer_listener {
        if let Some(tls) = peer_tls.tls.as_ref().filter(|_| config.quorum_tls.reloads) {
            tasks.spawn(Arc::clone(tls).watch());
        }
        tasks.spawn(peer::accept(config.my_id, peer_tls, mesh.wakers(), listener, events.clone()));
    }
    listeners.serve(&config, &events, &counters, &mut tasks)?;
    tasks.spawn(code::give_back_after_start());
    let mut main_loop = Loop {
        node,
        config,
        counters,
        clock,
        disk,
        snapshots: Vec::new(),
        syncs: VecDeque::new(),
        restores: VecDeque::new(),
        pace: Pace::default(),
        stores: Vec::new(),
        clients: HashMap::new(),
        peers: HashMap::new(),
        receiving: HashMap::new(),
        mesh,
    };
    let outcome = main_loop.run(queue, stop).await;
    tasks.abort_all();
    close(main_loop.disk, &outcome);
    outcome
}

fn close(disk: Disk, outcome: &Result<(), ServerError>) {
    if matches!(outcome, Err(ServerError::Disk(_))) {
        // What failed is to be told now. Closing a store of which a write failed may end the process instead.
        std::mem::forget(disk);
    } else {
        disk.close();
    }
}

/// The ports for clients, bound and not served yet.
struct ClientListeners {
    plain: Option<TcpListener>,
    secure: Option<TcpListener>,
    tls: Option<Arc<Tls>>,
}

impl ClientListeners {
    async fn open(config: &Config) -> Result<ClientListeners, ServerError> {
        let backlog = config.client_port_listen_backlog;
        let tls = match config.secure_client.is_some() || config.client_port_unification {
            true => tls::for_clients(config)?,
            false => None,
        };
        let plain = match config.client_port {
            Some(port) => Some(bind("client port", &config.client_address, port, backlog).await?),
            None => None,
        };
        let secure = match &config.secure_client {
            Some(_) if tls.is_none() => return Err(TlsError::Missing("ssl.keyStore.location".to_owned()).into()),
            Some((host, port)) => Some(bind("secure client port", host, *port, backlog).await?),
            None => None,
        };
        Ok(ClientListeners { plain, secure, tls })
    }

    fn serve(
        self,
        config: &Config,
        events: &Events,
        counters: &Arc<SocketCounters>,
        tasks: &mut tokio::task::JoinSet<()>,
    ) -> Result<(), ServerError> {
        let limits = ClientLimits {
            per_address: config.max_client_connections,
            total: config.max_connections,
            throttle: config.connection_throttle,
            frame_bytes: config.max_buffer_bytes,
            outstanding: i64::from(config.global_outstanding_limit.max(1)),
        };
        let takes_both = config.client_port_unification && self.tls.is_some();
        let speaks = if takes_both { Speaks::Both } else { Speaks::Plain };
        if let Some(tls) = self.tls.as_ref().filter(|_| config.reloads_client_certificates) {
            tasks.spawn(Arc::clone(tls).watch());
        }
        let port = Arc::new(ClientPort::new(limits, events.clone(), Arc::clone(counters), self.tls));
        for (listener, speaks) in [(self.plain, speaks), (self.secure, Speaks::Tls)] {
            if let Some(listener) = listener {
                tracing::info!(?speaks, "binding to port {}", listener.local_addr()?);
                tasks.spawn(Arc::clone(&port).accept(listener, speaks));
            }
        }
        Ok(())
    }
}

/// Opens the HTTP ports. One that is taken is no reason not to serve clients: several servers on one host have the same
/// default.
async fn serve_http(config: &Config, events: &Events, tasks: &mut tokio::task::JoinSet<()>) -> Result<(), ServerError> {
    for http in admin::ports(config, events)? {
        match bind(http.name, &http.host, http.port, -1).await {
            Ok(listener) => {
                tracing::info!(port = http.name, address = %listener.local_addr()?, "serving HTTP");
                tasks.spawn(http.serve(listener));
            }
            Err(error) => tracing::warn!(%error, "an HTTP port is not served"),
        }
    }
    Ok(())
}

async fn bind(what: &'static str, host: &str, port: u16, backlog: i32) -> Result<TcpListener, ServerError> {
    let failed = |error| ServerError::Bind { what, address: format!("{host}:{port}"), error };
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    let mut addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await.map_err(failed)?.collect();
    if host == "0.0.0.0" {
        // As Java, which takes it for "everything": one socket for both protocols where there is IPv6.
        addresses.insert(0, SocketAddr::from(([0u16; 8], port)));
    }
    for address in addresses {
        let opened = || -> std::io::Result<TcpListener> {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(u32::try_from(backlog).unwrap_or(1024))
        };
        match opened() {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => return Err(failed(error)),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

/// The loop that runs the node and carries out what it says.
struct Loop {
    node: Node,
    config: Config,
    counters: Arc<SocketCounters>,
    clock: Clock,
    disk: Disk,
    /// Snapshots that are to be made when the store has all that is applied.
    snapshots: Vec<SnapshotReply>,
    /// Writes that are to be durable and are not yet: number and when they were handed over.
    syncs: VecDeque<(u64, Instant)>,
    /// Who waits for a tree to be restored, in the order in which the node was asked.
    restores: VecDeque<oneshot::Sender<(AdminReply, Option<Snapshot>)>>,
    pace: Pace,
    /// What is to be done to the store when everything else is carried out.
    stores: Vec<Output>,
    clients: HashMap<ConnectionId, Arc<Client>>,
    peers: HashMap<u64, Arc<PeerLink>>,
    receiving: HashMap<u64, Arc<Link>>,
    mesh: Mesh,
}

impl Loop {
    async fn run(
        &mut self,
        mut queue: mpsc::Receiver<Event>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        let mut stop = std::pin::pin!(stop);
        let mut stopping: Option<tokio::time::Instant> = None;
        let mut events = Vec::new();
        let mut outputs = Vec::new();
        let tick = Duration::from_millis(TICK_MS);
        let mut next_tick = tokio::time::Instant::now() + tick;
        loop {
            tokio::select! {
                biased;
                () = &mut stop, if stopping.is_none() => {
                    stopping = Some(tokio::time::Instant::now() + HAND_OVER);
                    self.node.step(self.clock.now(), Input::Stop, &mut outputs);
                }
                _ = queue.recv_many(&mut events, QUEUED_EVENTS) => {}
                () = tokio::time::sleep_until(next_tick) => {}
            }
            let mut now = self.clock.now();
            self.node.trace_at(self.clock.micros());
            let is_quiet = events.len() <= QUIET_EVENTS;
            for event in events.drain(..) {
                if let Some(input) = self.input(event)? {
                    self.node.step(now, input, &mut outputs);
                }
            }
            // One tick at most: after a pause of the process, what arrived meanwhile is seen before time goes on.
            if tokio::time::Instant::now() >= next_tick {
                next_tick = tokio::time::Instant::now() + tick;
                self.node.step(now, Input::Tick, &mut outputs);
            }
            loop {
                self.node.trace_at(self.clock.micros());
                self.node.flush(now, &mut outputs);
                for output in outputs.drain(..) {
                    self.carry_out(output);
                }
                self.node.sent_at(self.clock.micros());
                let Some(number) = self.store(is_quiet && queue.is_empty())? else { break };
                now = self.clock.now();
                self.node.trace_at(self.clock.micros());
                self.node.step(now, Input::Persisted { number }, &mut outputs);
            }
            for reply in self.snapshots.drain(..) {
                self.disk.snapshot(reply);
            }
            for reply in self.node.take_restored() {
                if let Some(answer) = self.restores.pop_front() {
                    // Who asked may be gone.
                    let _ = answer.send((reply, None));
                }
            }
            if stopping.is_some_and(|until| !self.node.is_needed() || tokio::time::Instant::now() >= until) {
                return Ok(());
            }
        }
    }

    fn input(&mut self, event: Event) -> Result<Option<Input>, ServerError> {
        Ok(match event {
            Event::Node(input) => {
                match &input {
                    Input::ClientFrames { connection, .. } => self.pace.asked(*connection),
                    Input::ClientClosed { connection } => drop(self.clients.remove(connection)),
                    Input::FourLetter { .. } => self.node.set_facts(facts::gather(&self.config, &self.counters)),
                    _ => {}
                }
                Some(input)
            }
            Event::Client(client, remote) => {
                let connection = client.id;
                self.clients.insert(connection, client);
                Some(Input::ClientConnected { connection, remote })
            }
            Event::Peer(link) => {
                let peer = link.peer;
                self.peers.insert(peer, link);
                Some(Input::PeerConnected { peer })
            }
            Event::PeerDown(peer) => {
                self.peers.remove(&peer);
                Some(Input::PeerLost { peer })
            }
            Event::Receiving(peer, link) => {
                if let Some(old) = self.receiving.insert(peer, link) {
                    old.close();
                }
                None
            }
            Event::Admin(Question { request, answer, turn }) => {
                self.node.set_facts(facts::gather(&self.config, &self.counters));
                let reply = self.node.admin(&request, self.clock.now());
                let snapshot = match (&reply.body, turn) {
                    (AdminBody::Snapshot, Some(turn)) => {
                        let (made, snapshot) = oneshot::channel();
                        self.snapshots.push((made, turn));
                        Some(snapshot)
                    }
                    (AdminBody::Restoring, _)
                        if matches!(&request, AdminRequest::Restore { snapshot: Some(_), .. }) =>
                    {
                        self.restores.push_back(answer);
                        return Ok(None);
                    }
                    (AdminBody::Snapshot | AdminBody::Restoring | AdminBody::Json(_) | AdminBody::Text(_), _) => None,
                };
                // Who asked may be gone.
                let _ = answer.send((reply, snapshot));
                None
            }
            Event::Disk(DiskEvent::Persisted(number)) => {
                while let Some((_, since)) = self.syncs.pop_front_if(|(sync, _)| *sync <= number) {
                    self.synced(since.elapsed());
                }
                Some(Input::Persisted { number })
            }
            // An older connection of the same server may belong to an earlier life of it.
            Event::PeerFrames(link, input) => {
                let Input::PeerMessages { from, .. } = &input else { return Ok(None) };
                self.receiving.get(from).is_some_and(|current| Arc::ptr_eq(current, &link)).then_some(input)
            }
            Event::Disk(DiskEvent::Exported { to, content, is_last }) => Some(Input::Exported { to, content, is_last }),
            Event::Disk(DiskEvent::Failed(error)) => return Err(error.into()),
        })
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::ToClient { connection, bytes, answered } => {
                if let Some(client) = self.clients.get(&connection) {
                    client.send(bytes, answered);
                }
            }
            Output::CloseClient { connection } => {
                if let Some(client) = self.clients.get(&connection) {
                    client.close();
                }
            }
            Output::ToPeer { peer, bytes } => self.tell_peer(peer, bytes),
            Output::ClosePeer { peer } => {
                if let Some(link) = self.receiving.remove(&peer) {
                    link.close();
                }
                if let Some(link) = self.peers.get(&peer) {
                    link.close();
                }
            }
            Output::Store(_) | Output::Export { .. } | Output::ExportMore { .. } | Output::ExportEnd { .. } => {
                self.stores.push(output);
            }
            Output::Peers { peers } => {
                for gone in self.mesh.dial_only(&peers) {
                    if let Some(link) = self.peers.remove(&gone) {
                        link.close();
                    }
                }
            }
        }
    }

    /// Does to the store what was asked, behind everything that was to be sent: the other servers sync meanwhile. If there
    /// is one small write, nothing else to do (`is_quiet`) and the disk is quick, it is done here, without waking another
    /// thread and being woken by it; then its number is given.
    fn store(&mut self, is_quiet: bool) -> Result<Option<u64>, ServerError> {
        if let [Output::Store(write)] = &self.stores[..]
            && is_quiet
            && self.pace.may_wait()
            && is_small(write)
            && self.disk.is_idle()
        {
            let since = Instant::now();
            let number = self.disk.write_now(write)?;
            self.synced(since.elapsed());
            self.stores.clear();
            return Ok(number);
        }
        for output in self.stores.drain(..) {
            match output {
                Output::Store(write) => {
                    self.syncs.extend(write.number.map(|number| (number, Instant::now())));
                    self.disk.write(write);
                }
                Output::Export { to } => self.disk.export(to),
                Output::ExportMore { to } => self.disk.export_more(to),
                Output::ExportEnd { to } => self.disk.export_end(to),
                other => unreachable!("{other:?} is not for the store"),
            }
        }
        Ok(None)
    }

    fn synced(&mut self, took: Duration) {
        self.pace.took(took);
        self.node.metrics_mut().sync_time.add(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    }

    fn tell_peer(&mut self, peer: u64, bytes: Bytes) {
        if let Some(link) = self.peers.get(&peer) {
            link.send(bytes);
        }
    }
}

/// True if the write syncs a few bytes of log and does nothing else.
fn is_small(write: &StoreWrite) -> bool {
    let has_more = write.installed.is_some() || write.staged.is_some() || write.takes_staged || !write.tree.is_empty();
    write.number.is_some()
        && !has_more
        && write.entries.iter().map(|entry| entry.data.len()).sum::<usize>() <= SMALL_WRITE_BYTES
}
