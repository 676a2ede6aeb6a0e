//! The mesh between servers: each dials every other on the first port of its `server.N` line and sends on that
//! connection only; what it accepts it only reads. Either may be in TLS. A broken connection is dialled again. Parses lengths and the greeting;
//! the second (election) port is not used, elections run over the same mesh.

use super::link::Link;
use super::tls::{self, Tls};
use super::{Event, Events};
use crate::config::{QuorumSasl, Server};
use crate::ensemble::message::{FRAME_HEADER_BYTES, Hello, PEER_PROTOCOL, PeerBody, PeerMessage, Sasl};
use crate::node::Input;
use crate::ops::sasl::{self, Exchange, Users};
use bytes::{Bytes, BytesMut};
use common::Rng;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

/// Bytes waiting for one peer; past it the connection is given up and consensus starts over with that peer.
const BACKLOG_LIMIT_BYTES: usize = 64 * 1024 * 1024;
/// Read at once.
const READ_BYTES: usize = 64 * 1024;
/// No peer message is longer: an append carries a megabyte or one entry, and an entry is bounded by the node.
const FRAME_LIMIT_BYTES: usize = 128 * 1024 * 1024;
/// Time for a greeting, and for a connection to open.
const GREETING: Duration = Duration::from_secs(3);
/// What TLS and SASL have to say to a peer that dials.
const HANDSHAKE_BYTES: usize = 64 * 1024;
/// First and longest pause between two attempts to dial.
const PAUSE_MS: (u64, u64) = (20, 500);

/// A connection on which this server sends to a peer.
pub(super) struct PeerLink {
    pub(super) peer: u64,
    link: Link,
}

impl PeerLink {
    /// Writes now what the socket takes and keeps the rest.
    pub(super) fn send(&self, bytes: Bytes) {
        self.link.send(bytes);
    }

    /// Gives the connection up; it will be dialled again.
    pub(super) fn close(&self) {
        self.link.close();
    }
}

/// TLS and SASL between servers as both sides need it.
#[derive(Clone, Default)]
pub(super) struct PeerTls {
    /// Who dials proves who he is.
    pub(super) sasl: QuorumSasl,
    /// Certificates and who is trusted, if there is TLS at all.
    pub(super) tls: Option<Arc<Tls>>,
    /// Peers are dialled in TLS.
    pub(super) dials: bool,
    /// Peers may come without it.
    pub(super) accepts_plain: bool,
}

impl PeerTls {
    async fn dialled(&self, peer: &Server, stream: TcpStream) -> io::Result<Link> {
        stream.set_nodelay(true)?;
        let Some(tls) = self.tls.as_ref().filter(|_| self.dials) else {
            return Ok(Link::new(stream, BACKLOG_LIMIT_BYTES));
        };
        let dialling = tls.dial(&peer.host).map_err(io::Error::other)?;
        let link = Link::secured(stream, BACKLOG_LIMIT_BYTES, dialling);
        tokio::time::timeout(GREETING, link.handshake(tls.turns())).await??;
        Ok(link)
    }

    async fn accepted(&self, stream: TcpStream) -> io::Result<Link> {
        let Some(tls) = &self.tls else { return Ok(Link::new(stream, HANDSHAKE_BYTES)) };
        if self.accepts_plain && !tokio::time::timeout(GREETING, tls::begins_with_tls(&stream)).await?? {
            return Ok(Link::new(stream, HANDSHAKE_BYTES));
        }
        let link = Link::secured(stream, HANDSHAKE_BYTES, tls.accept().map_err(io::Error::other)?);
        tokio::time::timeout(GREETING, link.handshake(tls.turns())).await??;
        Ok(link)
    }
}

/// Keeps a connection to one peer until the task is dropped.
async fn dial(mesh: (u64, PeerTls, Events), peer: Server, is_back: Arc<Notify>, mut rng: Rng) {
    let (my_id, tls, events) = mesh;
    let mut pause_ms = PAUSE_MS.0;
    loop {
        let opened = tokio::time::timeout(GREETING, TcpStream::connect((peer.host.as_str(), peer.peer_port))).await;
        match opened {
            Ok(Ok(stream)) => {
                let since = tokio::time::Instant::now();
                let opened = async {
                    let link = tls.dialled(&peer, stream).await?;
                    greet(
                        &link,
                        Hello { protocol: PEER_PROTOCOL, from: my_id, to: peer.id, is_sasl: tls.sasl.own.is_some() },
                    );
                    if let Some(own) = &tls.sasl.own {
                        tokio::time::timeout(GREETING, prove(&link, own, &mut rng)).await??;
                    }
                    io::Result::Ok(link)
                };
                match opened.await {
                    Ok(link) => send_until_broken(peer.id, link, &events).await,
                    Err(error) => tracing::warn!(peer = peer.id, %error, "connection to peer was not opened"),
                }
                if since.elapsed() > Duration::from_secs(1) {
                    pause_ms = PAUSE_MS.0;
                }
                if events.send(Event::PeerDown(peer.id)).await.is_err() {
                    return;
                }
                // A crashed process is told from a broken connection by its port, so that is looked at right away.
                if pause_ms == PAUSE_MS.0 {
                    pause_ms *= 2;
                    continue;
                }
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let _ = events.send(Event::Node(Input::PeerRefused { peer: peer.id })).await;
            }
            Ok(Err(error)) => tracing::debug!(peer = peer.id, %error, "peer cannot be dialled"),
            Err(_) => tracing::debug!(peer = peer.id, "peer does not answer"),
        }
        let pause = Duration::from_millis(pause_ms + rng.u64(0..=pause_ms / 2));
        // A peer that has just dialled this server can be dialled.
        let _ = tokio::time::timeout(pause, is_back.notified()).await;
        pause_ms = (pause_ms * 2).min(PAUSE_MS.1);
    }
}

/// Says who dials.
fn greet(link: &Link, hello: Hello) {
    tell(link, PeerBody::Hello(hello));
}

fn tell(link: &Link, body: PeerBody) {
    let mut bytes = BytesMut::new();
    PeerMessage { body: Some(body) }.encode_frame(&mut bytes);
    link.send(bytes.freeze());
}

/// The dialling side of SASL. The caller bounds the time.
async fn prove(link: &Link, (user, password): &(String, String), rng: &mut Rng) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    let challenge = sasl_token(link, &mut buffer).await?;
    let cnonce: String = std::iter::repeat_with(|| rng.alphanumeric()).take(32).collect();
    let (token, wanted) =
        sasl::respond(&challenge, (user, password), &cnonce).map_err(|error| invalid(error.to_string()))?;
    tell(link, PeerBody::Sasl(Sasl { token: token.into() }));
    if sasl_token(link, &mut buffer).await? == wanted {
        return Ok(());
    }
    Err(invalid("the server that was dialled does not know the password".to_owned()))
}

/// The side that is dialled: who it was. The caller bounds the time.
async fn examine(link: &Link, buffer: &mut BytesMut, users: &Users) -> io::Result<String> {
    // A nonce is worth no more than the chance to guess it.
    let nonce = || std::iter::repeat_with(fastrand::alphanumeric).take(32).collect();
    let mut exchange = Exchange::default();
    let failed = |error: sasl::SaslError| invalid(format!("SASL: {error}"));
    let (challenge, _) = exchange.step(users, b"", nonce).map_err(failed)?;
    tell(link, PeerBody::Sasl(Sasl { token: challenge.into() }));
    let answer = sasl_token(link, buffer).await?;
    let (last, user) = exchange.step(users, &answer, nonce).map_err(failed)?;
    tell(link, PeerBody::Sasl(Sasl { token: last.into() }));
    user.ok_or_else(|| failed(sasl::SaslError::Unexpected))
}

async fn sasl_token(link: &Link, buffer: &mut BytesMut) -> io::Result<Bytes> {
    match first_message(link, buffer).await? {
        Some(PeerBody::Sasl(Sasl { token })) => Ok(token),
        Some(_) => Err(invalid("no step of SASL".to_owned())),
        None => Err(invalid("the other server ended the connection: is SASL on there, with this user?".to_owned())),
    }
}

async fn send_until_broken(peer: u64, link: Link, events: &Events) {
    let link = Arc::new(PeerLink { peer, link });
    if events.send(Event::Peer(Arc::clone(&link))).await.is_err() {
        return;
    }
    let mut nothing = BytesMut::with_capacity(16);
    // The peer sends nothing here: a byte or an end means that it is another program, or gone.
    let ended = link.link.read(&mut nothing).await;
    tracing::debug!(peer, ?ended, "connection to peer ended");
}

/// The tasks that dial the other servers, each with the address it dials and what wakes it.
pub(super) struct Mesh {
    my_id: u64,
    tls: PeerTls,
    events: Events,
    rng: Rng,
    tasks: JoinSet<()>,
    dialled: BTreeMap<u64, (Server, AbortHandle)>,
    wakers: Wakers,
}

/// What wakes the task that dials a server.
pub(super) type Wakers = Arc<Mutex<BTreeMap<u64, Arc<Notify>>>>;

impl Mesh {
    /// Nobody is dialled yet.
    pub(super) fn new(my_id: u64, tls: PeerTls, events: Events, rng: Rng) -> Mesh {
        let (dialled, wakers) = (BTreeMap::new(), Wakers::default());
        Mesh { my_id, tls, events, rng, tasks: JoinSet::new(), dialled, wakers }
    }

    /// What those who accept connections need.
    pub(super) fn wakers(&self) -> Wakers {
        Arc::clone(&self.wakers)
    }

    /// Dials these servers from now on and no others; gives those that are no longer dialled, or elsewhere.
    pub(super) fn dial_only(&mut self, peers: &BTreeMap<u64, Server>) -> Vec<u64> {
        let is_other = |id: &u64, server: &Server| {
            let wanted = peers.get(id).map(|peer| (&peer.host, peer.peer_port));
            wanted != Some((&server.host, server.peer_port))
        };
        let gone: Vec<u64> =
            self.dialled.iter().filter(|(id, (server, _))| is_other(id, server)).map(|(id, _)| *id).collect();
        for id in &gone {
            if let Some((_, task)) = self.dialled.remove(id) {
                task.abort();
            }
        }
        for (id, peer) in peers {
            if !self.dialled.contains_key(id) {
                let mut wakers = self.wakers.lock().expect("no holder panics");
                let is_back = Arc::clone(wakers.entry(*id).or_default());
                let dialling =
                    dial((self.my_id, self.tls.clone(), self.events.clone()), peer.clone(), is_back, self.rng.fork());
                let task = self.tasks.spawn(dialling);
                self.dialled.insert(*id, (peer.clone(), task));
            }
        }
        gone
    }
}

/// Accepts peers until the task is dropped.
pub(super) async fn accept(my_id: u64, tls: PeerTls, wakers: Wakers, listener: TcpListener, events: Events) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                let (tls, events, wakers) = (tls.clone(), events.clone(), Arc::clone(&wakers));
                tokio::spawn(async move {
                    let received = match tls.accepted(stream).await {
                        Ok(link) => receive(my_id, (&wakers, &tls.sasl), link, &events).await,
                        Err(error) => Err(error),
                    };
                    if let Err(error) = received {
                        tracing::warn!(%remote, %error, "connection from peer closed");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a peer connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn invalid(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

async fn receive(my_id: u64, (wakers, sasl): (&Wakers, &QuorumSasl), link: Link, events: &Events) -> io::Result<()> {
    let link = Arc::new(link);
    let mut buffer = BytesMut::new();
    let Ok(greeted) = tokio::time::timeout(GREETING, greeting(&link, &mut buffer)).await else {
        return Err(invalid("no greeting in time".to_owned()));
    };
    let Some(hello) = greeted? else { return Ok(()) };
    let is_id = (1..=255).contains(&hello.from) && hello.from != my_id;
    if !is_id || hello.protocol != PEER_PROTOCOL || hello.to != my_id {
        return Err(invalid(format!(
            "greeting from server {} to server {} in protocol {}, this is server {my_id} in protocol {PEER_PROTOCOL}",
            hello.from, hello.to, hello.protocol
        )));
    }
    match (&sasl.users, hello.is_sasl) {
        (Some(users), true) => {
            let user = tokio::time::timeout(GREETING, examine(&link, &mut buffer, users)).await??;
            tracing::debug!(peer = hello.from, user, "a server has proved who it is");
        }
        (None, true) => {
            return Err(invalid("a server wants to prove who it is, and quorum.auth.enableSasl is off".to_owned()));
        }
        (_, false) if sasl.is_required => {
            return Err(invalid(format!("server {} has not proved who it is", hello.from)));
        }
        (_, false) => {}
    }
    if let Some(is_back) = wakers.lock().expect("no holder panics").get(&hello.from) {
        is_back.notify_one();
    }
    if events.send(Event::Receiving(hello.from, Arc::clone(&link))).await.is_err() {
        return Ok(());
    }
    loop {
        let end = whole_frames(&buffer)?;
        if end > 0 {
            let frames = buffer.split_to(end).freeze();
            if events
                .send(Event::PeerFrames(Arc::clone(&link), Input::PeerMessages { from: hello.from, frames }))
                .await
                .is_err()
            {
                return Ok(());
            }
        }
        buffer.reserve(READ_BYTES);
        if link.read(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

async fn greeting(link: &Link, buffer: &mut BytesMut) -> io::Result<Option<Hello>> {
    match first_message(link, buffer).await? {
        Some(PeerBody::Hello(hello)) => Ok(Some(hello)),
        Some(_) => Err(invalid("no greeting".to_owned())),
        None => Ok(None),
    }
}

/// The next message, of which there is one at a time in this part of the conversation; none if the other side is gone.
async fn first_message(link: &Link, buffer: &mut BytesMut) -> io::Result<Option<PeerBody>> {
    loop {
        if whole_frames(buffer)? > 0 {
            let len = u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]) as usize;
            let frame = buffer.split_to(FRAME_HEADER_BYTES + len).freeze().slice(FRAME_HEADER_BYTES..);
            return PeerMessage::parse(frame).map(Some).map_err(|error| invalid(error.to_string()));
        }
        if buffer.len() > HANDSHAKE_BYTES {
            return Err(invalid("a greeting of that length is none".to_owned()));
        }
        buffer.reserve(READ_BYTES);
        if link.read(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Length of the whole frames at the front.
fn whole_frames(bytes: &[u8]) -> io::Result<usize> {
    let mut end = 0;
    while let Some(header) = bytes[end..].first_chunk::<FRAME_HEADER_BYTES>() {
        let len = u32::from_be_bytes(*header) as usize;
        if len > FRAME_LIMIT_BYTES {
            return Err(invalid(format!("frame of {len} bytes")));
        }
        if bytes.len() - end - FRAME_HEADER_BYTES < len {
            break;
        }
        end += FRAME_HEADER_BYTES + len;
    }
    Ok(end)
}
