//! Connections to other brokers, opened when there is something to send. Every request is answered exactly once, by a
//! response or by the reason why there is none. Never retries: the machines decide that.

use super::Shared;
use crate::outbox::{Channel, PeerAddress, PeerError};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// How long an attempt to connect may take: a host that is up answers or refuses within a round trip.
const CONNECT: Duration = Duration::from_secs(5);

type Requests = mpsc::UnboundedSender<(u64, Bytes)>;

/// The connections by broker and channel.
pub(super) struct Peers {
    shared: Weak<Shared>,
    open: Mutex<HashMap<(PeerAddress, Channel), Requests>>,
}

impl Peers {
    pub(super) fn new(shared: Weak<Shared>) -> Peers {
        Peers { shared, open: Mutex::default() }
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
        shared.runtime.spawn(drive(shared.clone(), to.clone(), requests));
    }
}

/// Connects, exchanges frames until the connection ends, and fails what is left.
async fn drive(shared: Arc<Shared>, to: PeerAddress, mut requests: mpsc::UnboundedReceiver<(u64, Bytes)>) {
    let mut waiting = VecDeque::new();
    let error = match connect(&to).await {
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

async fn connect(to: &PeerAddress) -> Result<TcpStream, PeerError> {
    match tokio::time::timeout(CONNECT, TcpStream::connect((to.host.as_str(), to.port))).await {
        Ok(Ok(stream)) => {
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Err(PeerError::Refused),
        Ok(Err(_)) => Err(PeerError::Lost),
        Err(_) => Err(PeerError::TimedOut),
    }
}

async fn exchange(
    shared: &Shared,
    stream: TcpStream,
    requests: &mut mpsc::UnboundedReceiver<(u64, Bytes)>,
    waiting: &mut VecDeque<u64>,
) {
    let (mut read, mut write) = stream.into_split();
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(64 * 1024);
        tokio::select! {
            biased;
            got = read.read_buf(&mut buffer) => {
                if got.unwrap_or(0) == 0 {
                    return;
                }
                while let Some(prefix) = buffer.first_chunk::<4>() {
                    let Ok(len) = usize::try_from(i32::from_be_bytes(*prefix)) else { return };
                    if buffer.len() < 4 + len {
                        break;
                    }
                    let frame = buffer.split_to(4 + len).freeze().slice(4..);
                    let Some(id) = waiting.pop_front() else { return };
                    shared.broker().on_peer_response(id, Ok(frame), shared.clock.now());
                }
            }
            request = requests.recv() => {
                let Some((id, frame)) = request else { return };
                waiting.push_back(id);
                let mut burst = vec![frame];
                while let Ok((id, frame)) = requests.try_recv() {
                    waiting.push_back(id);
                    burst.push(frame);
                }
                for frame in burst {
                    if write.write_all(&frame).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
