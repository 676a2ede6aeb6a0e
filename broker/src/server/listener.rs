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
    socket: TcpListener,
}

/// Binds every listener; an error names the address and what to do.
pub(super) async fn bind(config: &BrokerConfig) -> anyhow::Result<Vec<Bound>> {
    let mut bound = Vec::new();
    for listener in &config.listeners {
        let host = listener.host.as_deref().unwrap_or("0.0.0.0");
        let socket = listen(host, listener.port).await.with_context(|| {
            format!(
                "Socket server failed to bind to {host}:{}: another process may be listening there; choose another port in 'listeners'",
                listener.port
            )
        })?;
        bound.push(Bound { name: listener.name.clone(), socket });
    }
    Ok(bound)
}

async fn listen(host: &str, port: u16) -> anyhow::Result<TcpListener> {
    let address = tokio::net::lookup_host((host, port)).await?.next().context("the host name has no address")?;
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    // A broker started again must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(TcpListener::from_std(socket.into())?)
}

/// The port each listener really has (a configured port 0 is chosen by the system).
pub(super) fn ports(bound: &[Bound]) -> BTreeMap<String, u16> {
    bound
        .iter()
        .map(|bound| (bound.name.clone(), bound.socket.local_addr().map_or(0, |address| address.port())))
        .collect()
}

/// Accepts clients until the task is dropped.
pub(super) async fn accept(shared: Arc<Shared>, bound: Bound) {
    loop {
        match bound.socket.accept().await {
            Ok((stream, address)) => {
                let info = connection_info(&shared, &bound.name, address.ip().to_string());
                tokio::spawn(socket::serve(shared.clone(), stream, info));
            }
            Err(error) => {
                // Out of descriptors, most likely: others go on, and a pause keeps this from spinning.
                tracing::error!(listener = bound.name, %error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}
