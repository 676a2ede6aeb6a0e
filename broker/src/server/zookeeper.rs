//! The one socket to ZooKeeper: does what the session machine says. Never decides to connect by itself.

use super::Shared;
use crate::outbox::{ZkCommand, ZkInput};
use bytes::BytesMut;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// A server that does not accept within this time is passed over for the next one.
const CONNECT: Duration = Duration::from_secs(3);

/// Runs until the broker is gone.
pub(super) async fn drive(shared: Arc<Shared>, mut commands: mpsc::UnboundedReceiver<ZkCommand>) {
    let mut stream: Option<TcpStream> = None;
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(64 * 1024);
        let command = match &mut stream {
            None => commands.recv().await,
            Some(open) => tokio::select! {
                biased;
                command = commands.recv() => command,
                read = open.read_buf(&mut buffer) => {
                    let input = match read {
                        Ok(count) if count > 0 => ZkInput::Bytes(buffer.split().freeze()),
                        _ => {
                            stream = None;
                            ZkInput::Disconnected
                        }
                    };
                    shared.broker().on_zk(input, shared.clock.now());
                    continue;
                }
            },
        };
        let Some(command) = command else { return };
        match command {
            ZkCommand::Connect(address) => {
                buffer.clear();
                stream = match tokio::time::timeout(CONNECT, TcpStream::connect(&address)).await {
                    Ok(Ok(open)) => {
                        let _ = open.set_nodelay(true);
                        Some(open)
                    }
                    _ => None,
                };
                let input = if stream.is_some() { ZkInput::Connected } else { ZkInput::Disconnected };
                shared.broker().on_zk(input, shared.clock.now());
            }
            ZkCommand::Send(bytes) => {
                if let Some(open) = &mut stream
                    && open.write_all(&bytes).await.is_err()
                {
                    stream = None;
                    shared.broker().on_zk(ZkInput::Disconnected, shared.clock.now());
                }
            }
            ZkCommand::Disconnect => stream = None,
        }
    }
}
