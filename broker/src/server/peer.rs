//! Connections to other brokers, opened when there is something to send. Every request is answered exactly once, by a
//! response or by the reason why there is none. Never retries: the machines decide that.

use super::Shared;
use super::socket::next_frame;
use super::tls::Transport;
use crate::outbox::{Channel, PeerAddress, PeerError};
use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// How long an attempt to connect may take: a host that is up answers or refuses within a round trip.
const CONNECT: Duration = Duration::from_secs(5);

/// Pause before a watched broker is connected to again; doubled while connections end at once.
const WATCH_PAUSE_MIN: Duration = Duration::from_millis(1);
/// The longest such pause, and the pause after an attempt that failed.
const WATCH_PAUSE_MAX: Duration = Duration::from_secs(1);

/// A connection on which nothing has arrived at the other side for so long is given up: with a new one all goes on as soon
/// as the network does, while the old one may wait for minutes until it tries again.
const UNHEARD: Duration = Duration::from_secs(5);

type Requests = mpsc::UnboundedSender<(u64, Bytes)>;

/// The connections by broker and channel.
pub(super) struct Peers {
    shared: Weak<Shared>,
    open: Mutex<HashMap<(PeerAddress, Channel), Requests>>,
    watched: Mutex<BTreeMap<PeerAddress, AbortHandle>>,
}

impl Peers {
    pub(super) fn new(shared: Weak<Shared>) -> Peers {
        Peers { shared, open: Mutex::default(), watched: Mutex::default() }
    }

    pub(super) fn send(&self, to: &PeerAddress, channel: Channel, request_id: u64, frame: Bytes) {
        let Some(shared) = self.shared.upgrade() else { return };
        let mut open = self.open.lock();
        let key = (to.clone(), channel);
        let mut request = (request_id, frame);
        if let Some(sender) = open.get(&key) {
            match sender.send(request) {
                Ok(()) => return,
                Err(mpsc::error::SendError(unsent)) => request = unsent,
            }
        }
        let (sender, requests) = mpsc::unbounded_channel();
        let _ = sender.send(request);
        open.insert(key, sender);
        shared.runtime.spawn(drive(shared.clone(), to.clone(), channel, requests));
    }

    /// Its task ends when it sees that nothing can be sent any more.
    pub(super) fn drop_connection(&self, to: &PeerAddress, channel: Channel) {
        self.open.lock().remove(&(to.clone(), channel));
    }

    pub(super) fn watch(&self, brokers: &BTreeSet<PeerAddress>) {
        let Some(shared) = self.shared.upgrade() else { return };
        let mut watched = self.watched.lock();
        watched.retain(|address, task| {
            let stays = brokers.contains(address);
            if !stays {
                task.abort();
            }
            stays
        });
        for address in brokers {
            watched
                .entry(address.clone())
                .or_insert_with(|| shared.runtime.spawn(watch(shared.clone(), address.clone())).abort_handle());
        }
    }
}

/// Tells when the broker's process ends. Only a broker that was reached before can be gone: a port that refused from the
/// beginning may be behind a wall that is there for us alone.
async fn watch(shared: Arc<Shared>, to: PeerAddress) {
    let mut was_reached = false;
    let mut pause = WATCH_PAUSE_MIN;
    loop {
        match connect(&to, shared.broker().config.replica_socket_receive_buffer_bytes).await {
            Ok(mut stream) => {
                was_reached = true;
                shared.broker().on_peer_reached(to.broker, shared.clock.now());
                let begun = tokio::time::Instant::now();
                let mut nothing = [0; 16];
                while stream.read(&mut nothing).await.is_ok_and(|count| count > 0) {}
                shared.broker().on_peer_broken(to.broker, shared.clock.now());
                // The sockets of a dying process are closed one by one, the listening one maybe last.
                pause = if begun.elapsed() > WATCH_PAUSE_MAX { WATCH_PAUSE_MIN } else { pause * 2 };
            }
            Err(PeerError::Refused) if was_reached => {
                was_reached = false;
                shared.broker().on_peer_gone(to.broker, shared.clock.now());
                pause = WATCH_PAUSE_MAX;
            }
            Err(_) => pause = WATCH_PAUSE_MAX,
        }
        pause = pause.min(WATCH_PAUSE_MAX);
        tokio::time::sleep(pause).await;
    }
}

/// Connects, exchanges frames until the connection ends, and fails what is left.
async fn drive(
    shared: Arc<Shared>,
    to: PeerAddress,
    channel: Channel,
    mut requests: mpsc::UnboundedReceiver<(u64, Bytes)>,
) {
    let mut waiting = VecDeque::new();
    let error = match open(&shared, &to, channel).await {
        Ok(stream) => {
            exchange(&shared, stream, &mut requests, &mut waiting).await;
            PeerError::Lost
        }
        Err(error) => error,
    };
    requests.close();
    while let Some((id, _)) = requests.recv().await {
        waiting.push_back(id);
    }
    tracing::debug!(broker = to.broker.0, port = to.port, %error, unanswered = waiting.len(), "connection to a broker ended");
    for id in waiting {
        shared.broker().on_peer_response(id, Err(error), shared.clock.now());
    }
}

/// Connects as the listener wants it that this channel leads to.
async fn open(shared: &Shared, to: &PeerAddress, channel: Channel) -> Result<Transport, PeerError> {
    let config = &shared.broker().config;
    let stream = connect(to, config.replica_socket_receive_buffer_bytes).await?;
    let listener = match channel {
        Channel::Controller => config.control_listener_name(),
        _ => &config.inter_broker_listener_name,
    };
    let secured = tokio::time::timeout(CONNECT, async {
        let mut stream = shared.security.tls.dial(listener, &to.host, stream).await?;
        shared.security.logins.log_in(shared, listener, &mut stream).await?;
        Ok::<_, io::Error>(stream)
    });
    match secured.await.map_err(|_| PeerError::TimedOut)? {
        Ok(stream) => Ok(stream),
        Err(error) => {
            tracing::warn!(broker = to.broker.0, host = to.host, port = to.port, %error, "a broker does not let this one in");
            Err(PeerError::Lost)
        }
    }
}

async fn connect(to: &PeerAddress, buffer_bytes: i32) -> Result<TcpStream, PeerError> {
    match tokio::time::timeout(CONNECT, dial(to, buffer_bytes)).await {
        Ok(Ok(stream)) => {
            let _ = stream.set_nodelay(true);
            let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNHEARD));
            Ok(stream)
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Err(PeerError::Refused),
        Ok(Err(_)) => Err(PeerError::Lost),
        Err(_) => Err(PeerError::TimedOut),
    }
}

/// Tries the addresses of the host one after the other. What is received is kept small (`replica.socket.receive.buffer.bytes`; -1
/// leaves it to the system), which must be said before the connection is made.
async fn dial(to: &PeerAddress, buffer_bytes: i32) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in tokio::net::lookup_host((to.host.as_str(), to.port)).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Ok(bytes @ 1..) = u32::try_from(buffer_bytes) {
            socket.set_recv_buffer_size(bytes)?;
        }
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Reads and writes at once: a broker that answers before it reads on must not be waited for.
async fn exchange(
    shared: &Shared,
    stream: Transport,
    requests: &mut mpsc::UnboundedReceiver<(u64, Bytes)>,
    waiting: &mut VecDeque<u64>,
) {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut buffer = BytesMut::new();
    let mut unsent: VecDeque<Bytes> = VecDeque::new();
    let mut is_unflushed = false;
    loop {
        buffer.reserve(64 * 1024);
        let next = unsent.front().cloned().unwrap_or_default();
        tokio::select! {
            biased;
            got = read.read_buf(&mut buffer) => {
                if got.unwrap_or(0) == 0 {
                    return;
                }
                loop {
                    let frame = match next_frame(&mut buffer, shared.max_response_bytes) {
                        Ok(Some(frame)) => frame,
                        Ok(None) => break,
                        Err(error) => return tracing::warn!(%error, "a broker's response has an impossible length"),
                    };
                    let Some(id) = waiting.pop_front() else { return };
                    shared.broker().on_peer_response(id, Ok(frame), shared.clock.now());
                }
            }
            request = requests.recv() => {
                let Some((id, frame)) = request else { return };
                waiting.push_back(id);
                unsent.push_back(frame);
            }
            sent = push(&mut write, &next), if !next.is_empty() || is_unflushed => {
                let Ok(sent) = sent else { return };
                is_unflushed = !next.is_empty();
                let Some(front) = unsent.front_mut() else { continue };
                front.advance(sent);
                if front.is_empty() {
                    unsent.pop_front();
                }
            }
        }
    }
}

/// Writes of the bytes what is taken. If there are none, pushes out what TLS has sealed and the socket did not take.
async fn push(write: &mut WriteHalf<Transport>, bytes: &[u8]) -> io::Result<usize> {
    match bytes.is_empty() {
        true => write.flush().await.map(|()| 0),
        false => write.write(bytes).await,
    }
}
