//! Binds the ports of `listeners` and accepts clients. Knows nothing of what they say.

use super::{Shared, connection_info, socket};
use crate::config::BrokerConfig;
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::net::TcpListener;

/// A bound port and the name of its listener.
pub(super) struct Bound {
    name: String,
    address: String,
    socket: socket2::Socket,
}

/// Binds every listener; an error names the address and what to do. Nobody can connect before `listen`: a client that
/// connected to a broker that still reads its logs would wait for it instead of asking another.
pub(super) async fn bind(config: &BrokerConfig) -> anyhow::Result<Vec<Bound>> {
    let mut bound = Vec::new();
    for listener in &config.listeners {
        let host = listener.host.as_deref().unwrap_or("0.0.0.0");
        let address = format!("{host}:{}", listener.port);
        let socket = bind_to(host, listener.port).await.with_context(|| failed_to_bind(&address))?;
        limit_buffers(&socket, config)?;
        bound.push(Bound { name: listener.name.clone(), address, socket });
    }
    Ok(bound)
}

fn failed_to_bind(address: &str) -> String {
    format!(
        "Socket server failed to bind to {address}: another process may be listening there; choose another port in 'listeners'"
    )
}

impl Bound {
    /// Lets clients connect. Only here is it seen if another process, bound to the same port, was quicker.
    pub(super) fn listen(self) -> anyhow::Result<Listening> {
        let socket = self.socket.listen(1024).and_then(|()| TcpListener::from_std(self.socket.into()));
        let socket = socket.with_context(|| failed_to_bind(&self.address))?;
        tracing::info!(listener = self.name, address = self.address, "listening");
        Ok(Listening { name: self.name, socket })
    }
}

/// A port that clients connect to.
pub(super) struct Listening {
    name: String,
    socket: TcpListener,
}

async fn bind_to(host: &str, port: u16) -> anyhow::Result<socket2::Socket> {
    let address = tokio::net::lookup_host((host, port)).await?.next().context("the host name has no address")?;
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    // A broker started again must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// `socket.send.buffer.bytes` and `socket.receive.buffer.bytes`, which the connections of this port take over; -1 leaves it to the
/// system. What the other side reads while it is still in a processor's cache costs both sides far less.
fn limit_buffers(socket: &socket2::Socket, config: &BrokerConfig) -> std::io::Result<()> {
    if let Ok(bytes @ 1..) = usize::try_from(config.socket_send_buffer_bytes) {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Ok(bytes @ 1..) = usize::try_from(config.socket_receive_buffer_bytes) {
        socket.set_recv_buffer_size(bytes)?;
    }
    Ok(())
}

/// The port each listener really has (a configured port 0 is chosen by the system).
pub(super) fn ports(bound: &[Bound]) -> BTreeMap<String, u16> {
    bound
        .iter()
        .map(|bound| {
            let address = bound.socket.local_addr().ok().and_then(|address| address.as_socket());
            (bound.name.clone(), address.map_or(0, |address| address.port()))
        })
        .collect()
}

/// Accepts clients until the task is dropped.
pub(super) async fn accept(shared: Arc<Shared>, bound: Listening) {
    let config = || shared.broker().current.read().clone();
    loop {
        shared.admission.room(&bound.name, config).await;
        match bound.socket.accept().await {
            Ok((stream, address)) => {
                let Some(place) = shared.admission.enter(address.ip(), &config()) else {
                    tracing::info!(client = %address.ip(), listener = bound.name, "too many connections from this address");
                    continue;
                };
                let wait_ms = shared.broker().quotas.connect(&address.ip().to_string(), shared.clock.now().mono);
                if wait_ms > 0 {
                    // It is sent away only after a while, lest it come again at once (KIP-612).
                    tokio::spawn(async move {
                        tokio::time::sleep(std::time::Duration::from_millis(wait_ms)).await;
                        drop((stream, place));
                    });
                    continue;
                }
                let info = connection_info(&shared, &bound.name, address);
                tokio::spawn(socket::serve(shared.clone(), stream, info, place));
            }
            Err(error) => {
                // Out of descriptors, most likely: others go on, and a pause keeps this from spinning.
                tracing::error!(listener = bound.name, %error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}
