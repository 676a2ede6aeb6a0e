//! The one socket to ZooKeeper: does what the session machine says. Never decides to connect by itself.

use super::Shared;
use crate::outbox::{ZkCommand, ZkInput};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// A server that does not accept within this time is passed over for the next one.
const CONNECT: Duration = Duration::from_secs(3);

/// The socket: Idle -> Connecting -> Open, and back to Idle from both. What is written waits in `unsent`, so that commands and
/// the server's bytes are heeded meanwhile.
enum Socket {
    Idle,
    Connecting(Pin<Box<dyn Future<Output = Option<TcpStream>> + Send>>),
    Open { stream: TcpStream, unsent: VecDeque<Bytes> },
}

/// What happened on the socket.
enum Happened {
    Connected(Option<TcpStream>),
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
                *self = Socket::Connecting(Box::pin(async move {
                    let stream = tokio::time::timeout(CONNECT, TcpStream::connect(&address)).await.ok()?.ok()?;
                    let _ = stream.set_nodelay(true);
                    Some(stream)
                }));
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
            Happened::Connected(Some(stream)) => {
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
            Happened::Connected(None) | Happened::Read(_) | Happened::Written(_) => {
                *self = Socket::Idle;
                Some(ZkInput::Disconnected)
            }
        }
    }
}

/// Runs until the broker is gone.
pub(super) async fn drive(shared: Arc<Shared>, mut commands: mpsc::UnboundedReceiver<ZkCommand>) {
    let mut socket = Socket::Idle;
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(64 * 1024);
        let happened = tokio::select! {
            biased;
            command = commands.recv() => {
                let Some(command) = command else { return };
                socket.obey(command);
                continue;
            }
            happened = socket.go_on(&mut buffer) => happened,
        };
        if let Some(input) = socket.note(happened, &mut buffer) {
            shared.broker().on_zk(input, shared.clock.now());
        }
    }
}
