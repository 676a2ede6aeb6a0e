//! One client connection: bytes in, frames to the broker, answers out in order. One read and one write system call serve
//! a whole burst of pipelined requests. Never looks into a frame.

use super::Shared;
use super::admission::Place;
use super::login;
use super::tls::Transport;
use crate::access::ANONYMOUS;
use crate::access::sasl::{SaslLogin, Step, Surroundings};
use crate::api::{self, Handled, NO_IMAGE_YET};
use crate::connection::{Answers, ConnectionInfo, Timed};
use crate::metrics::ListenerCounters;
use bytes::{Bytes, BytesMut};
use common::disk::FileSlice;
use common::kafka::wire::{Frame, Part};
use rustix::io::ReadWriteFlags;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Room made for the next read; a frame larger than it grows the buffer only as its bytes arrive.
const READ_BYTES: usize = 64 * 1024;

/// What becomes of a parked request.
pub(super) enum Due {
    Answer(u64, Frame),
    /// There is no answer, for this reason.
    Close(u64, String),
}

impl Due {
    fn note(self, answers: &mut Answers) {
        match self {
            Due::Answer(sequence, frame) => answers.ready(sequence, frame),
            Due::Close(sequence, reason) => answers.close(sequence, reason),
        }
    }
}

/// Serves a connection until either side ends it.
pub(super) async fn serve(shared: Arc<Shared>, stream: TcpStream, mut info: ConnectionInfo, _place: Place) {
    let _ = stream.set_nodelay(true);
    let stream = match secure(&shared, stream, &mut info).await {
        Ok(stream) => stream,
        Err(error) => {
            let (client, listener) = (&info.client_host, &info.listener);
            return tracing::info!(client, listener, %error, "a client could not begin TLS");
        }
    };
    let counters = shared.broker().listeners.get(&info.listener);
    if let Some(counters) = counters {
        counters.accepted.increment();
        counters.open.fetch_add(1, Ordering::Relaxed);
    }
    let (sender, replies) = mpsc::unbounded_channel();
    let login = shared.security.logins.of_clients(&info.listener).map(SaslLogin::new);
    let mut client = Client { info, login, refusal: None };
    shared.connections.lock().insert(client.info.id, sender);
    let result = converse(&shared, stream, &mut client, replies).await;
    let info = client.info;
    shared.connections.lock().remove(&info.id);
    if let Some(counters) = shared.broker().listeners.get(&info.listener) {
        counters.open.fetch_sub(1, Ordering::Relaxed);
    }
    // Also without any quotas now: there may have been some.
    shared.broker().quotas.forget(info.id);
    shared.broker().on_connection_closed(info.id, shared.clock.now());
    if let Err(error) = result {
        tracing::debug!(connection = info.id.0, client = info.client_host, %error, "connection closed");
    }
}

/// Does the handshake where the listener has TLS, and takes the client's name from its certificate. Like Kafka, it gives a
/// client as much time for it as an idle one has.
async fn secure(shared: &Shared, stream: TcpStream, info: &mut ConnectionInfo) -> io::Result<Transport> {
    let Some(protocol) = shared.protocol(&info.listener).filter(|protocol| protocol.uses_tls()) else {
        return Ok(Transport::Plain(stream));
    };
    let handshake = shared.security.tls.accept(&info.listener, stream);
    let stream = within(shared.idle_limit(), handshake).await?;
    if !protocol.uses_sasl()
        && let Some(subject) = stream.peer_subject()
    {
        let user = shared.security.principals.user(&subject);
        let user = user.ok_or_else(|| io::Error::other(format!("No rules apply to {subject}")))?;
        info.principal = format!("User:{user}");
    }
    Ok(stream)
}

/// Who is at the other end.
struct Client {
    info: ConnectionInfo,
    /// Where the listener has SASL.
    login: Option<SaslLogin>,
    /// What it is told when the connection ends because the login failed.
    refusal: Option<Frame>,
}

async fn converse(
    shared: &Arc<Shared>,
    mut stream: Transport,
    client: &mut Client,
    mut replies: mpsc::UnboundedReceiver<Due>,
) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    let mut answers = Answers::default();
    let mut has_ended = false;
    let mut idle = Box::pin(tokio::time::sleep(shared.idle_limit()));
    loop {
        let more = handle_frames(shared, client, &mut buffer, &mut answers);
        while let Ok(due) = replies.try_recv() {
            due.note(&mut answers);
        }
        let has_sent = send_answers(&mut stream, &mut answers, shared.idle_limit()).await?;
        if has_sent {
            count_times(shared, &mut answers);
        }
        if has_sent || more {
            idle.as_mut().reset(tokio::time::Instant::now() + shared.idle_limit());
        }
        if let Some(reason) = answers.must_close() {
            say_why(client, reason);
            return refuse(shared, &mut stream, client.refusal.take()).await;
        }
        let muted_ms = shared.broker().quotas.muted_ms(client.info.id, shared.clock.now().mono);
        if more && answers.has_room() && muted_ms.is_none() {
            continue;
        }
        if has_ended && !more {
            return Ok(());
        }
        // A client that may not be served yet is still read a little, so that its end is seen.
        let may_read = !has_ended && ((answers.has_room() && muted_ms.is_none()) || buffer.len() < READ_BYTES);
        buffer.reserve(READ_BYTES);
        tokio::select! {
            biased;
            Some(due) = replies.recv() => due.note(&mut answers),
            read = stream.read_buf(&mut buffer), if may_read => {
                // What came before the end is still handled: producers with acks=0 rely on it.
                has_ended = read? == 0;
                idle.as_mut().reset(tokio::time::Instant::now() + shared.idle_limit());
            }
            // Its quota is used up; until then it is only read a little.
            () = tokio::time::sleep(Duration::from_millis(muted_ms.unwrap_or(0))), if muted_ms.is_some() => {}
            () = &mut idle, if answers.is_empty() => return Ok(()),
        }
    }
}

/// How long the requests took whose answers have left.
fn count_times(shared: &Shared, answers: &mut Answers) {
    let now = shared.clock.micros();
    for Timed { row, at_micros } in answers.take_timed() {
        shared.broker().requests.api(row).micros.add(now.saturating_sub(at_micros));
    }
}

fn say_why(client: &Client, reason: &str) {
    let (host, listener) = (&client.info.client_host, &client.info.listener);
    if client.login.as_ref().is_some_and(SaslLogin::is_pending) && reason != NO_IMAGE_YET {
        tracing::info!(client = host, listener, reason, "failed authentication");
    } else if reason == NO_IMAGE_YET {
        tracing::debug!(client = host, listener, reason, "closing a connection");
    } else {
        tracing::info!(client = host, listener, reason, "closing a connection");
    }
}

/// Whoever guesses passwords is told only after a while that he was wrong.
async fn refuse(shared: &Shared, stream: &mut Transport, refusal: Option<Frame>) -> io::Result<()> {
    let Some(frame) = refusal else { return Ok(()) };
    let delay_ms = shared.broker().config.connection_failed_authentication_delay_ms;
    tokio::time::sleep(Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0))).await;
    let bytes = frame.into_bytes()?;
    within(shared.idle_limit(), async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await
    })
    .await
}

/// Handles every complete frame of the buffer, as far as answers may be owed; true if a complete frame may be left.
fn handle_frames(shared: &Shared, client: &mut Client, buffer: &mut BytesMut, answers: &mut Answers) -> bool {
    let quotas = &shared.broker().quotas;
    while answers.has_room() {
        if quotas.muted_ms(client.info.id, shared.clock.now().mono).is_some() {
            return true;
        }
        let frame = match next_frame(buffer, max_frame_bytes(shared, client)) {
            Ok(Some(frame)) => frame,
            Ok(None) => return false,
            Err(error) => {
                tracing::warn!(%error, "a client sent something that is not a request of this protocol");
                let sequence = answers.begin();
                answers.close(sequence, error.to_string());
                return false;
            }
        };
        let sequence = answers.begin();
        let was_pending = client.login.as_ref().is_some_and(SaslLogin::is_pending);
        let step = client.login.as_mut().map_or(Step::PassOn, |login| log_in(shared, login, &frame));
        match step {
            Step::PassOn => {}
            Step::Answer(frame) => {
                if was_pending && client.login.as_ref().is_some_and(|login| !login.is_pending()) {
                    count_login(shared, client, |counters| counters.logins.increment());
                }
                client.info.principal = client.login.as_ref().map_or(ANONYMOUS, SaslLogin::principal).to_owned();
                answers.ready(sequence, frame);
                continue;
            }
            Step::Refuse(frame, reason) => {
                count_login(shared, client, |counters| counters.failed_logins.increment());
                // Without an answer the delay is as long.
                client.refusal = Some(frame.unwrap_or(Frame { parts: Vec::new() }));
                answers.close(sequence, reason);
                continue;
            }
            Step::Close(reason) => {
                answers.close(sequence, reason);
                continue;
            }
        }
        let begun = shared.clock.now();
        let counts = quotas.is_used().then(std::time::Instant::now);
        let at_micros = shared.clock.micros();
        let (handled, row) = api::dispatch(shared.broker(), &client.info, sequence, frame, begun);
        if let Some(row) = row {
            answers.timed(sequence, Timed { row, at_micros });
        }
        if let Some(counts) = counts {
            let nanos = u64::try_from(counts.elapsed().as_nanos()).unwrap_or(u64::MAX);
            quotas.took(client.info.id, nanos, begun.mono);
        }
        match handled {
            Handled::Now(frame) => answers.ready(sequence, frame),
            Handled::Silent => answers.silent(sequence),
            Handled::Parked { lets_pass } => answers.parked(sequence, lets_pass),
            Handled::Close(reason) => answers.close(sequence, reason),
        }
    }
    true
}

fn count_login(shared: &Shared, client: &Client, count: impl Fn(&ListenerCounters)) {
    if let Some(counters) = shared.broker().listeners.get(&client.info.listener) {
        count(counters);
    }
}

fn log_in(shared: &Shared, login: &mut SaslLogin, frame: &Bytes) -> Step {
    let broker = shared.broker();
    let around = Surroundings {
        credential: &|mechanism, user| broker.scram_credential(mechanism, user),
        nonce: &login::nonce,
        now: shared.clock.now().mono,
    };
    login.on_frame(frame, &around)
}

/// Who has not logged in has little to say.
fn max_frame_bytes(shared: &Shared, client: &Client) -> usize {
    match client.login.as_ref().is_some_and(SaslLogin::is_pending) {
        true => usize::try_from(shared.broker().config.sasl_server_max_receive_size).unwrap_or(0),
        false => shared.max_request_bytes,
    }
}

/// Splits one frame off, without its length prefix; an error if the length is not possible.
pub(super) fn next_frame(buffer: &mut BytesMut, max_bytes: usize) -> io::Result<Option<Bytes>> {
    let Some(prefix) = buffer.first_chunk::<4>() else { return Ok(None) };
    let declared = i32::from_be_bytes(*prefix);
    let len = usize::try_from(declared).ok().filter(|len| *len <= max_bytes).ok_or_else(|| {
        let text = format!("Invalid receive (size = {declared} larger than {max_bytes})");
        io::Error::new(io::ErrorKind::InvalidData, text)
    })?;
    if buffer.len() < 4 + len {
        return Ok(None);
    }
    let frame = buffer.split_to(4 + len).freeze();
    Ok(Some(frame.slice(4..)))
}

/// Sends every answer that is due; true if there was one. The client must take a part of it every `patience`.
async fn send_answers(stream: &mut Transport, answers: &mut Answers, patience: Duration) -> io::Result<bool> {
    let mut memory: VecDeque<Bytes> = VecDeque::new();
    let mut any = false;
    while let Some(frame) = answers.pop() {
        any = true;
        for part in frame.parts {
            match part {
                Part::Bytes(bytes) => memory.push_back(bytes),
                Part::File(slice) => {
                    send_memory(stream, &mut memory, patience).await?;
                    send_file(stream, slice, patience).await?;
                }
            }
        }
    }
    send_memory(stream, &mut memory, patience).await?;
    if any {
        // TLS may hold back sealed bytes that the socket did not take.
        within(patience, stream.flush()).await?;
    }
    Ok(any)
}

/// A client that takes nothing for as long as an idle one is kept is not kept either.
async fn within<T>(patience: Duration, write: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(patience, write).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its answers")),
    }
}

async fn send_memory(stream: &mut Transport, parts: &mut VecDeque<Bytes>, patience: Duration) -> io::Result<()> {
    while !parts.is_empty() {
        let slices: Vec<IoSlice<'_>> = parts.iter().take(64).map(|part| IoSlice::new(part)).collect();
        let mut sent = within(patience, stream.write_vectored(&slices)).await?;
        if sent == 0 && parts.iter().any(|part| !part.is_empty()) {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(front) = parts.front_mut() {
            if front.len() > sent {
                bytes::Buf::advance(front, sent);
                break;
            }
            sent -= front.len();
            parts.pop_front();
        }
    }
    Ok(())
}

/// Bytes that one call of `sendfile` is asked for, and that are read ahead when they are not in memory.
const SEND_BYTES: u32 = 256 * 1024;

/// How much of what follows the disk is asked for in advance when a reader is not served from memory.
const AHEAD_BYTES: Option<std::num::NonZeroU64> = std::num::NonZeroU64::new(2 * 1024 * 1024);

/// From the page cache to the socket, without a copy through this process. What is not in the page cache is brought there
/// by a thread that may wait for the disk, so that a reader of old data delays no other connection.
async fn send_file(stream: &mut Transport, slice: FileSlice, patience: Duration) -> io::Result<()> {
    let Some(file) = slice.file.as_file() else {
        return within(patience, stream.write_all(&slice.read()?)).await;
    };
    let end = slice.position + u64::from(slice.len);
    let mut position = slice.position;
    let mut in_memory = position;
    while position < end {
        if position >= in_memory {
            let next = FileSlice { position, len: SEND_BYTES.min((end - position) as u32), ..slice.clone() };
            in_memory = position + u64::from(next.len);
            if !is_in_memory(file, &next) {
                // The disk goes on with what comes next while this is sent: whoever looks for the place of the reader's
                // next fetch does not wait for it either. Without it all works, only slower.
                let _ = rustix::fs::fadvise(file, in_memory, AHEAD_BYTES, rustix::fs::Advice::WillNeed);
                tokio::task::spawn_blocking(move || next.read()).await.map_err(io::Error::other)??;
            }
        }
        let Some(stream) = stream.plain() else {
            // TLS seals what it sends: the bytes must come through this process.
            let next = FileSlice { position, len: (in_memory - position) as u32, ..slice.clone() };
            within(patience, stream.write_all(&next.read()?)).await?;
            position = in_memory;
            continue;
        };
        let want = (in_memory - position) as usize;
        let sending = stream.async_io(Interest::WRITABLE, || {
            let mut at = position;
            rustix::fs::sendfile(stream, file, Some(&mut at), want).map_err(io::Error::from)
        });
        let sent = within(patience, sending).await?;
        if sent == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a log file is shorter than the response promised",
            ));
        }
        position += sent as u64;
        // Whoever reads as fast as it is given would keep this thread, and the arrival of others' requests unseen.
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Whether the first and the last byte of a stretch can be had without the disk. A file system that cannot say counts as yes.
fn is_in_memory(file: &std::fs::File, slice: &FileSlice) -> bool {
    let last = slice.position + u64::from(slice.len) - 1;
    [slice.position, last].into_iter().all(|at| {
        let mut byte = [0];
        let read = rustix::io::preadv2(file, &mut [io::IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT);
        read != Err(rustix::io::Errno::AGAIN)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_taken_whole_or_not_at_all() {
        let cases: [(&[u8], &str); 8] = [
            (b"", "Ok(None)"),
            (&[0, 0, 0], "Ok(None)"),
            (&[0, 0, 0, 2, 1], "Ok(None)"),
            (&[0, 0, 0, 2, b'a', b'b', 3], "Ok(Some(b\"ab\"))"),
            (&[0, 0, 0, 0], "Ok(Some(b\"\"))"),
            (&[0x7f, 0xff, 0xff, 0xff], "Err(InvalidData)"),
            (&[0xff, 0xff, 0xff, 0xff, 1], "Err(InvalidData)"),
            (b"GET / HTTP/1.1", "Err(InvalidData)"),
        ];
        for (bytes, expected) in cases {
            let found = next_frame(&mut BytesMut::from(bytes), 100).map_err(|error| error.kind());
            assert_eq!(format!("{found:?}"), expected, "{bytes:?}");
        }
    }
}
