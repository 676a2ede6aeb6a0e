//! The one socket to ZooKeeper: does what the session machine says. Never decides to connect by itself.

use super::Shared;
use crate::outbox::{ZkCommand, ZkInput};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// A server that does not accept within this time is passed over for the next one.
const CONNECT: Duration = Duration::from_secs(3);

/// Servers may refuse for so long before it is told: a whole cluster that starts at once is no trouble.
const QUIET: Duration = Duration::from_secs(1);
/// How often it is told that there is still no connection.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Tells of attempts to connect that fail, but not of each.
#[derive(Default)]
struct Attempts {
    failing_since: Option<Instant>,
    told: Option<Instant>,
    count: u32,
}

impl Attempts {
    fn connecting(&self, address: &str) {
        if self.count == 0 {
            tracing::info!(address, "connecting to ZooKeeper");
        }
    }

    fn failed(&mut self, address: &str, reason: &str) {
        let now = Instant::now();
        self.count = self.count.saturating_add(1);
        let since = *self.failing_since.get_or_insert(now);
        if now - since >= QUIET && self.told.is_none_or(|told| now - told >= TELL_EVERY) {
            self.told = Some(now);
            tracing::warn!(address, reason, attempts = self.count, "no connection to ZooKeeper; trying on");
        }
    }
}

/// Connects, or gives the address and why not.
async fn connect(address: String) -> Result<TcpStream, (String, String)> {
    let reason = match tokio::time::timeout(CONNECT, TcpStream::connect(&address)).await {
        Ok(Ok(open)) => {
            let _ = open.set_nodelay(true);
            return Ok(open);
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", CONNECT.as_secs()),
    };
    Err((address, reason))
}

/// A connection that is being opened; else the address and the reason.
type Attempt = Pin<Box<dyn Future<Output = Result<TcpStream, (String, String)>> + Send>>;

/// The socket: Idle -> Connecting -> Open, and back to Idle from both. What is written waits in `unsent`, so that
/// commands and the server's bytes are heeded meanwhile.
enum Socket {
    Idle,
    Connecting(Attempt),
    Open { stream: TcpStream, unsent: VecDeque<Bytes> },
}

/// What happened on the socket.
enum Happened {
    /// If it failed, the address and the reason.
    Connected(Result<TcpStream, (String, String)>),
    Read(io::Result<usize>),
    Written(io::Result<usize>),
}

impl Socket {
    /// Goes on with whatever is under way; `Idle` never ends. To be dropped and called again at any time.
    async fn go_on(&mut self, buffer: &mut BytesMut) -> Happened {
        match self {
            Socket::Idle => std::future::pending().await,
            Socket::Connecting(attempt) => Happened::Connected(attempt.await),
            Socket::Open { stream, unsent } => {
                let (mut read, mut write) = stream.split();
                let next = unsent.front().cloned().unwrap_or_default();
                tokio::select! {
                    biased;
                    count = read.read_buf(buffer) => Happened::Read(count),
                    count = write.write(&next), if !next.is_empty() => Happened::Written(count),
                }
            }
        }
    }

    /// Takes a command; `Disconnect` and `Connect` end what is under way, whatever it is.
    fn obey(&mut self, command: ZkCommand) {
        match command {
            ZkCommand::Connect(address) => {
                *self = Socket::Connecting(Box::pin(connect(address)));
            }
            ZkCommand::Send(bytes) => {
                if let Socket::Open { unsent, .. } = self
                    && !bytes.is_empty()
                {
                    unsent.push_back(bytes);
                }
            }
            ZkCommand::Disconnect => *self = Socket::Idle,
        }
    }

    /// What the session is told of what happened, if anything.
    fn note(&mut self, happened: Happened, buffer: &mut BytesMut) -> Option<ZkInput> {
        match happened {
            Happened::Connected(Ok(stream)) => {
                buffer.clear();
                *self = Socket::Open { stream, unsent: VecDeque::new() };
                Some(ZkInput::Connected)
            }
            Happened::Read(Ok(count)) if count > 0 => Some(ZkInput::Bytes(buffer.split().freeze())),
            Happened::Written(Ok(count)) if count > 0 => {
                if let Socket::Open { unsent, .. } = self
                    && let Some(front) = unsent.front_mut()
                {
                    front.advance(count);
                    if front.is_empty() {
                        unsent.pop_front();
                    }
                }
                None
            }
            Happened::Connected(Err(_)) | Happened::Read(_) | Happened::Written(_) => {
                *self = Socket::Idle;
                Some(ZkInput::Disconnected)
            }
        }
    }
}

/// Runs until the broker is gone.
pub(super) async fn drive(shared: Arc<Shared>, mut commands: mpsc::UnboundedReceiver<ZkCommand>) {
    let mut socket = Socket::Idle;
    let mut attempts = Attempts::default();
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(64 * 1024);
        let happened = tokio::select! {
            biased;
            command = commands.recv() => {
                let Some(command) = command else { return };
                if let ZkCommand::Connect(address) = &command {
                    attempts.connecting(address);
                }
                socket.obey(command);
                continue;
            }
            happened = socket.go_on(&mut buffer) => happened,
        };
        match &happened {
            Happened::Connected(Ok(_)) => attempts = Attempts::default(),
            Happened::Connected(Err((address, reason))) => attempts.failed(address, reason),
            Happened::Read(_) | Happened::Written(_) => {}
        }
        if let Some(input) = socket.note(happened, &mut buffer) {
            shared.broker().on_zk(input, shared.clock.now());
        }
    }
}
