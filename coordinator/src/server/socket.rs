//! The client port: accepts connections, cuts their bytes into whole frames for the node and writes what the node
//! answers. Knows frame lengths and four-letter words, no request. Everything it holds for a client is bounded.

use super::atomic::AtomicI64;
use super::link::Link;
use super::outstanding::Outstanding;
use super::tls::{self, Tls};
use super::{Event, Events};
use crate::connection_tokens::{ConnectionTokens, ThrottleSettings};
use crate::four_letter;
use crate::node::Input;
use crate::tree::watch::ConnectionId;
use bytes::{Buf, BytesMut};
use common::distinguished_name;
use common::time::Millis;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Bytes read at once: a pipelining client's burst fits.
const READ_BYTES: usize = 16 * 1024;

/// Answers that a client does not fetch; one that lets more pile up is cut off. ZooKeeper has no such bound and runs out
/// of memory instead.
const BACKLOG_LIMIT_BYTES: usize = 32 * 1024 * 1024;

/// Who says nothing on a port that takes TLS and plain connections is dropped after this long.
const FIRST_BYTE: std::time::Duration = std::time::Duration::from_secs(30);

/// A closed connection gets this long to take the last answers.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(5);

/// Bounds for clients, all from `zoo.cfg`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientLimits {
    pub(super) per_address: u32,
    pub(super) total: u32,
    pub(super) throttle: ThrottleSettings,
    pub(super) frame_bytes: usize,
    pub(super) outstanding: i64,
}

/// What the client port counts.
#[derive(Debug, Default)]
pub(super) struct SocketCounters {
    /// Connections that were not admitted.
    pub(super) rejected: AtomicU64,
    /// Bytes read.
    pub(super) bytes: AtomicU64,
    /// Requests longer than allowed.
    pub(super) too_large: AtomicU64,
    /// Times a client was not read on because too many requests wait.
    pub(super) throttled: AtomicU64,
    /// TLS handshakes that failed.
    pub(super) handshakes_failed: AtomicU64,
    /// TLS handshakes under way.
    pub(super) handshakes: AtomicU64,
}

/// One client's connection, shared by the task that reads it and the loop that answers it.
pub(super) struct Client {
    pub(super) id: ConnectionId,
    link: Link,
    outstanding: Outstanding,
    answered: Notify,
}

impl Client {
    /// Writes now what the socket takes and keeps the rest. `answered` requests make room for new ones.
    pub(super) fn send(&self, bytes: bytes::Bytes, answered: u32) {
        self.link.send(bytes);
        if answered > 0 && self.outstanding.answered(i64::from(answered)) {
            self.answered.notify_one();
        }
    }

    /// Ends the connection once everything is written.
    pub(super) fn close(&self) {
        self.link.close();
    }
}

/// What the accepting task and its connections share.
pub(super) struct ClientPort {
    limits: ClientLimits,
    events: Events,
    next_id: AtomicU64,
    per_address: Mutex<HashMap<IpAddr, u32>>,
    /// Requests of all clients that are read and not answered.
    all_outstanding: Arc<AtomicI64>,
    counters: Arc<SocketCounters>,
    tls: Option<Arc<Tls>>,
    tokens: Mutex<ConnectionTokens>,
    started: Instant,
}

/// What a port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// ZooKeeper's protocol as it is.
    Plain,
    /// The same in TLS.
    Tls,
    /// Either, as the client begins.
    Both,
}

impl ClientPort {
    pub(super) fn new(
        limits: ClientLimits,
        events: Events,
        counters: Arc<SocketCounters>,
        tls: Option<Arc<Tls>>,
    ) -> ClientPort {
        ClientPort {
            counters,
            tls,
            tokens: Mutex::new(ConnectionTokens::new(limits.throttle, Millis(0))),
            started: Instant::now(),
            limits,
            events,
            next_id: AtomicU64::new(1),
            per_address: Mutex::new(HashMap::new()),
            all_outstanding: Arc::new(AtomicI64::new(0)),
        }
    }

    /// Accepts until the task is dropped.
    pub(super) async fn accept(self: Arc<ClientPort>, listener: TcpListener, speaks: Speaks) {
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => {
                    // An IPv4 client on a socket for both protocols.
                    let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
                    if !self.has_token() {
                        self.counters.rejected.fetch_add(1, Ordering::Relaxed);
                        tracing::warn!(%remote, throttle = ?self.limits.throttle, "too many new connections");
                        continue;
                    }
                    if !self.admit(remote.ip()) {
                        self.counters.rejected.fetch_add(1, Ordering::Relaxed);
                        let ClientLimits { per_address, total, .. } = self.limits;
                        tracing::warn!(%remote, per_address, total, "too many connections");
                        continue;
                    }
                    let port = Arc::clone(&self);
                    tokio::spawn(async move {
                        match port.secure(stream, speaks).await {
                            Ok((link, certificate)) => port.serve(link, certificate, remote).await,
                            Err(error) => tracing::info!(%remote, %error, "a client's connection was not opened"),
                        }
                        port.leave(remote.ip());
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: waiting for some to be closed is all that can be done.
                    tracing::warn!(%error, "a client connection could not be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn has_token(&self) -> bool {
        let now = u64::try_from(self.started.elapsed().as_millis()).map_or(Millis(u64::MAX), Millis);
        self.tokens.lock().expect("no holder panics").take(now)
    }

    fn admit(&self, address: IpAddr) -> bool {
        let mut counts = self.per_address.lock().expect("no holder panics");
        if self.limits.total > 0 && counts.values().sum::<u32>() >= self.limits.total {
            return false;
        }
        let count = counts.entry(address).or_insert(0);
        if self.limits.per_address != 0 && *count >= self.limits.per_address {
            return false;
        }
        *count += 1;
        true
    }

    fn leave(&self, address: IpAddr) {
        let mut counts = self.per_address.lock().expect("no holder panics");
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }

    /// The connection to serve and, of TLS, the client's certificate.
    async fn secure(&self, stream: TcpStream, speaks: Speaks) -> std::io::Result<(Link, Option<Vec<u8>>)> {
        stream.set_nodelay(true)?;
        let is_tls = match speaks {
            Speaks::Plain => false,
            Speaks::Tls => true,
            Speaks::Both => tokio::time::timeout(FIRST_BYTE, tls::begins_with_tls(&stream)).await??,
        };
        let Some(tls) = self.tls.as_ref().filter(|_| is_tls) else {
            return Ok((Link::new(stream, BACKLOG_LIMIT_BYTES), None));
        };
        let link = Link::secured(stream, BACKLOG_LIMIT_BYTES, tls.accept().map_err(std::io::Error::other)?);
        self.counters.handshakes.fetch_add(1, Ordering::Relaxed);
        let done = tokio::time::timeout(tls::HANDSHAKE, link.handshake(tls.turns())).await;
        self.counters.handshakes.fetch_sub(1, Ordering::Relaxed);
        let done = done.map_err(std::io::Error::from).and_then(|done| done).inspect_err(|_| {
            self.counters.handshakes_failed.fetch_add(1, Ordering::Relaxed);
        });
        done.map(|certificate| (link, certificate))
    }

    async fn serve(&self, link: Link, certificate: Option<Vec<u8>>, remote: SocketAddr) {
        let id = ConnectionId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let is_secure = link.is_secured();
        let client = Arc::new(Client {
            id,
            link,
            outstanding: Outstanding::new(Arc::clone(&self.all_outstanding)),
            answered: Notify::new(),
        });
        if self.events.send(Event::Client(Arc::clone(&client), remote)).await.is_err() {
            return;
        }
        if is_secure {
            let subject = certificate.as_deref().and_then(distinguished_name::subject);
            let secured = Input::ClientSecured { connection: id, subject };
            let _ = self.events.send(Event::Node(secured)).await;
        }
        if let Err(error) = self.read(&client).await {
            tracing::debug!(%remote, %error, "client connection ended");
        } else if client.link.is_closing() {
            let _ = tokio::time::timeout(LAST_WORDS, client.link.flush()).await;
        }
        client.outstanding.end();
        let _ = self.events.send(Event::Node(Input::ClientClosed { connection: id })).await;
    }

    /// Reads until either side ends the connection.
    async fn read(&self, client: &Client) -> std::io::Result<()> {
        let mut buffer = BytesMut::new();
        let mut is_first = true;
        loop {
            if client.outstanding.must_wait(self.limits.outstanding) {
                self.counters.throttled.fetch_add(1, Ordering::Relaxed);
                tokio::select! {
                    biased;
                    () = client.answered.notified() => {}
                    done = client.link.flush() => return done,
                }
                continue;
            }
            buffer.reserve(READ_BYTES);
            let read = client.link.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            self.counters.bytes.fetch_add(read as u64, Ordering::Relaxed);
            if is_first && buffer.len() >= 4 {
                if let Some(word) = four_letter::word(&buffer[..4]) {
                    let argument = buffer[4..].first_chunk().map(|mask| i64::from_be_bytes(*mask));
                    if word == "stmk" && argument.is_none() {
                        continue;
                    }
                    is_first = false;
                    let input = Input::FourLetter { connection: client.id, word, argument };
                    let _ = self.events.send(Event::Node(input)).await;
                    continue;
                }
                is_first = false;
            }
            let (end, count) = whole_frames(&buffer, self.limits.frame_bytes).inspect_err(|_| {
                self.counters.too_large.fetch_add(1, Ordering::Relaxed);
            })?;
            if count > 0 {
                let frames = buffer.split_to(end).freeze();
                client.outstanding.read(count);
                let input = Input::ClientFrames { connection: client.id, frames };
                if self.events.send(Event::Node(input)).await.is_err() {
                    return Ok(());
                }
            }
            if buffer.is_empty() {
                // An idle client keeps no buffer.
                buffer = BytesMut::new();
            }
        }
    }
}

/// Length and number of the whole frames at the front; an error for a length beyond the limit.
fn whole_frames(mut bytes: &[u8], limit: usize) -> std::io::Result<(usize, i64)> {
    let (mut end, mut count) = (0, 0);
    while bytes.len() >= 4 {
        let declared = bytes.get_i32();
        let len = usize::try_from(declared).ok().filter(|len| *len <= limit).ok_or_else(|| {
            std::io::Error::new(std::io::ErrorKind::InvalidData, format!("frame of {declared} bytes"))
        })?;
        if bytes.len() < len {
            break;
        }
        bytes.advance(len);
        end += 4 + len;
        count += 1;
    }
    Ok((end, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_where_they_end() {
        let check = |bytes: &[u8], expected: Result<(usize, i64), &str>| {
            let found = whole_frames(bytes, 8).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{bytes:?}");
        };
        check(&[], Ok((0, 0)));
        check(&[0, 0, 0], Ok((0, 0)));
        check(&[0, 0, 0, 0], Ok((4, 1)));
        check(&[0, 0, 0, 2, 7, 7, 0, 0, 0, 1], Ok((6, 1)));
        check(&[0, 0, 0, 2, 7, 7, 0, 0, 0, 1, 9], Ok((11, 2)));
        check(&[0, 0, 0, 9], Err("frame of 9 bytes"));
        check(&[255, 255, 255, 255], Err("frame of -1 bytes"));
    }
}
