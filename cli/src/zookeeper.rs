//! A ZooKeeper session for command-line tools: drives the common session machine over one blocking socket, one request at
//! a time. Understands no command.

pub(crate) mod tls;

use crate::clock;
use anyhow::bail;
use bytes::Bytes;
use common::time::Millis;
use common::zk::error::ZkError;
use common::zk::request::Request;
use common::zk::response::Response;
use common::zk::session::{Output, Session, SessionConfig, SessionEvent, WatchedEvent};
use rustls::ClientConfig;
use std::collections::{BTreeSet, VecDeque};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tls::Wire;

/// An attempt to connect may take this long before the next server is tried.
const CONNECT: Duration = Duration::from_secs(10);

/// What the session has to tell besides replies.
#[derive(Debug)]
pub(crate) enum Notice {
    Session(SessionEvent),
    Watch(WatchedEvent),
}

/// A session and its socket.
pub(crate) struct ZooKeeper {
    session: Session,
    stream: Option<Wire>,
    tls: Option<Arc<ClientConfig>>,
    started: Instant,
    /// Attempts to connect that failed since one succeeded.
    failures: usize,
    servers: usize,
    /// Servers of which it was told that their names have no address.
    unresolved: BTreeSet<String>,
    next_token: u64,
    reply: Option<(u64, Result<Response, ZkError>)>,
    /// Oldest first; whoever shows them takes them.
    pub(crate) notices: VecDeque<Notice>,
}

impl ZooKeeper {
    /// Starts a session and waits until it is connected; gives up when the session timeout has passed.
    pub(crate) fn open(connect: &str, timeout_ms: u32) -> anyhow::Result<ZooKeeper> {
        let mut zookeeper = ZooKeeper::start(SessionConfig::new(connect, timeout_ms)?, None);
        let deadline = Instant::now() + Duration::from_millis(u64::from(timeout_ms));
        while !zookeeper.is_connected() {
            if zookeeper.unresolved.len() == zookeeper.servers {
                bail!("No server of the ZooKeeper connect string {connect} has an address");
            }
            if Instant::now() >= deadline || zookeeper.session.has_ended() {
                bail!("Timed out waiting for connection to ZooKeeper at {connect} while in state: CONNECTING");
            }
            zookeeper.step(Some(deadline));
        }
        Ok(zookeeper)
    }

    /// Starts a session that connects while it is waited for something.
    pub(crate) fn start(config: SessionConfig, tls: Option<Arc<ClientConfig>>) -> ZooKeeper {
        let servers = config.servers.len();
        let session = Session::new(config, common::Rng::new(), Millis(0));
        let mut zookeeper = ZooKeeper {
            session,
            stream: None,
            tls,
            started: Instant::now(),
            failures: 0,
            servers,
            unresolved: BTreeSet::new(),
            next_token: 0,
            reply: None,
            notices: VecDeque::new(),
        };
        zookeeper.session.start(Millis(0));
        zookeeper.carry_out();
        zookeeper
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.session.is_connected()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.session.has_ended()
    }

    /// Has every server refused a connection?
    pub(crate) fn is_refused(&self) -> bool {
        self.failures >= self.servers
    }

    /// The socket, for waiting on it together with others.
    pub(crate) fn stream(&self) -> Option<&TcpStream> {
        self.stream.as_ref().map(Wire::socket)
    }

    /// How long the session can be left alone.
    pub(crate) fn idle_time(&self) -> Duration {
        match self.session.next_deadline() {
            Some(deadline) => Duration::from_millis(deadline.0.saturating_sub(self.now().0)),
            None => Duration::from_secs(3600),
        }
    }

    /// Sends a request and waits for the reply. Without a connection, and with every server refusing one, it is lost.
    pub(crate) fn call(&mut self, request: Request) -> Result<Response, ZkError> {
        self.next_token += 1;
        let token = self.next_token;
        self.session.submit(token, request, self.now());
        self.carry_out();
        loop {
            if let Some((answered, result)) = self.reply.take()
                && answered == token
            {
                return result;
            }
            if self.session.has_ended() {
                return Err(ZkError::SessionExpired);
            }
            if !self.is_connected() && self.is_refused() {
                return Err(ZkError::ConnectionLoss);
            }
            self.step(None);
        }
    }

    /// Closes the session without waiting for the server to say so.
    pub(crate) fn leave(&mut self) {
        self.session.close(self.now());
        self.carry_out();
    }

    /// Closes the session and waits a moment for the server to say so.
    pub(crate) fn close(&mut self) {
        self.session.close(self.now());
        self.carry_out();
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.session.has_ended() && Instant::now() < deadline {
            self.step(Some(deadline));
        }
    }

    /// Waits for bytes, for the session's next deadline or for `until`, and lets the session act.
    pub(crate) fn step(&mut self, until: Option<Instant>) {
        let mut patience = self.idle_time();
        if let Some(until) = until {
            patience = patience.min(until.saturating_duration_since(Instant::now()));
        }
        let patience = patience.max(Duration::from_millis(1));
        match &mut self.stream {
            None => std::thread::sleep(patience),
            Some(stream) => {
                let mut buffer = vec![0; 64 << 10];
                let read = stream.socket().set_read_timeout(Some(patience)).and_then(|()| stream.read(&mut buffer));
                let now = self.now();
                match read {
                    Ok(0) => self.lost(now),
                    Ok(len) => {
                        buffer.truncate(len);
                        self.session.on_bytes(Bytes::from(buffer), now);
                    }
                    Err(error)
                        if matches!(
                            error.kind(),
                            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                        ) => {}
                    Err(_) => self.lost(now),
                }
            }
        }
        self.session.tick(self.now());
        self.carry_out();
    }

    fn connect(&mut self, server: &str) -> Option<Wire> {
        let addresses = match server.to_socket_addrs() {
            Ok(addresses) => addresses,
            Err(_) => {
                if self.unresolved.insert(server.to_owned()) {
                    let (now, (host, port)) = (clock::log_time(), server.rsplit_once(':').unwrap_or((server, "")));
                    eprintln!(
                        "[{now}] ERROR Unable to resolve address: {host}/<unresolved>:{port} \
                         (org.apache.zookeeper.client.StaticHostProvider)\njava.net.UnknownHostException: {host}: Name or \
                         service not known"
                    );
                }
                return None;
            }
        };
        for address in addresses {
            if let Ok(stream) = TcpStream::connect_timeout(&address, CONNECT) {
                stream.set_nodelay(true).ok()?;
                stream.set_read_timeout(Some(CONNECT)).ok()?;
                match Wire::new(stream, self.tls.as_ref(), server) {
                    Ok(wire) => return Some(wire),
                    Err(error) => eprintln!("[{}] ERROR No TLS with {server}: {error}", clock::log_time()),
                }
            }
        }
        None
    }

    fn lost(&mut self, now: Millis) {
        self.stream = None;
        self.session.on_disconnected(now);
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Connect(server) => {
                    self.stream = self.connect(&server);
                    let now = self.now();
                    match self.stream {
                        Some(_) => {
                            self.failures = 0;
                            self.session.on_connected(now);
                        }
                        None => {
                            self.failures += 1;
                            self.session.on_disconnected(now);
                        }
                    }
                }
                Output::Send(bytes) => {
                    let sent = self.stream.as_mut().map(|stream| stream.write_all(&bytes));
                    if !matches!(sent, Some(Ok(()))) {
                        self.lost(self.now());
                    }
                }
                Output::Disconnect => self.stream = None,
                Output::Event(event) => self.notices.push_back(Notice::Session(event)),
                Output::Watch(event) => self.notices.push_back(Notice::Watch(event)),
                Output::Reply { token, result, .. } => self.reply = Some((token, result)),
            }
        }
    }

    /// The plain text endpoints that the brokers registered, as a bootstrap list.
    fn bootstrap_servers(&mut self) -> anyhow::Result<String> {
        let ids = match self.call(Request::GetChildren { path: "/brokers/ids".to_owned(), watch: false }) {
            Ok(Response::GetChildren { children }) => children,
            Ok(_) => Vec::new(),
            Err(error) => bail!("reading the brokers' registrations from ZooKeeper: {}", error.name()),
        };
        let mut servers = Vec::new();
        for id in ids {
            let read = self.call(Request::GetData { path: format!("/brokers/ids/{id}"), watch: false });
            if let Ok(Response::GetData { data: Some(data), .. }) = read {
                servers.extend(endpoint(&data));
            }
        }
        if servers.is_empty() {
            bail!("No broker is registered in ZooKeeper; start one first");
        }
        Ok(servers.join(","))
    }
}

/// The brokers registered at a connect string, as a bootstrap list: what `--zookeeper` is good for.
pub(crate) fn registered_brokers(connect: &str) -> anyhow::Result<String> {
    let mut zookeeper = ZooKeeper::open(connect, 30_000)?;
    let servers = zookeeper.bootstrap_servers();
    zookeeper.leave();
    servers
}

/// `host:port` of a broker's first plain text listener.
pub(crate) fn endpoint(registration: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(registration).ok()?;
    let protocols = json.get("listener_security_protocol_map");
    for endpoint in json.get("endpoints").and_then(|endpoints| endpoints.as_array()).into_iter().flatten() {
        let (listener, address) = endpoint.as_str()?.split_once("://")?;
        let protocol = protocols.and_then(|map| map.get(listener)).and_then(|value| value.as_str()).unwrap_or(listener);
        if protocol == "PLAINTEXT" {
            return Some(address.to_owned());
        }
    }
    let host = json.get("host")?.as_str()?;
    Some(format!("{host}:{}", json.get("port")?.as_i64()?))
}
