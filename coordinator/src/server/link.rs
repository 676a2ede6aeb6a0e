//! A TCP connection that is written from one place and read from another: writing takes what the socket takes and keeps
//! the rest, bounded; the reading side flushes it. With TLS what is sent is sealed before and what is read opened
//! after; all else is the same. Knows nothing of what it carries.

use bytes::{Buf, Bytes, BytesMut};
use rustls::Connection as Tls;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};

/// Pieces given to one write call.
const PIECES: usize = 64;

/// Sealed bytes read at once: a TLS record fits.
const SEALED_BYTES: usize = 17 * 1024;

/// One connection.
pub(super) struct Link {
    stream: TcpStream,
    backlog: Mutex<Backlog>,
    changed: Notify,
    limit_bytes: usize,
    is_secured: bool,
}

#[derive(Default)]
struct Backlog {
    tls: Option<Box<Tls>>,
    /// What TLS has opened and nobody has read.
    opened: BytesMut,
    pieces: VecDeque<Bytes>,
    bytes: usize,
    /// Nothing more will be sent; the connection ends when the rest is written.
    is_closing: bool,
    /// The other side does not read, or is gone.
    is_broken: bool,
}

impl Backlog {
    /// Hands the bytes to the socket as far as it takes them, and keeps the rest.
    fn put(&mut self, mut bytes: Bytes, link: &Link) {
        if self.pieces.is_empty() {
            match link.stream.try_write(&bytes) {
                Ok(written) => bytes.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.is_broken = true,
            }
        }
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            self.pieces.push_back(bytes);
            self.is_broken |= self.bytes > link.limit_bytes;
            link.changed.notify_one();
        }
    }

    /// Sends what TLS has to say: sealed bytes, its part of the handshake, an alert.
    fn put_sealed(&mut self, link: &Link) {
        let Some(tls) = &mut self.tls else { return };
        let mut sealed = Vec::new();
        while tls.wants_write() {
            if tls.write_tls(&mut sealed).is_err() {
                self.is_broken = true;
                return;
            }
        }
        self.put(sealed.into(), link);
    }

    /// Takes sealed bytes in. False if the other side has ended TLS.
    fn open(&mut self, sealed: &[u8], link: &Link) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        let outcome = open(tls, sealed, &mut self.opened);
        self.put_sealed(link);
        outcome
    }
}

/// Opens sealed bytes behind those that are opened already. False if the other side has ended TLS.
fn open(tls: &mut Tls, mut sealed: &[u8], opened: &mut BytesMut) -> io::Result<bool> {
    let mut goes_on = true;
    while !sealed.is_empty() && goes_on {
        tls.read_tls(&mut sealed)?;
        let state = tls.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        goes_on = !state.peer_has_closed();
        let before = opened.len();
        opened.resize(before + state.plaintext_bytes_to_read(), 0);
        tls.reader().read_exact(&mut opened[before..])?;
    }
    Ok(goes_on)
}

impl Link {
    pub(super) fn new(stream: TcpStream, limit_bytes: usize) -> Link {
        Link { stream, backlog: Mutex::default(), changed: Notify::new(), limit_bytes, is_secured: false }
    }

    /// A connection in TLS, of which [`Link::handshake`] must be done before anything is sent.
    pub(super) fn secured(stream: TcpStream, limit_bytes: usize, mut tls: Tls) -> Link {
        // What is sent is sealed and taken out at once; the bound is the backlog's.
        tls.set_buffer_limit(None);
        let link = Link { is_secured: true, ..Link::new(stream, limit_bytes) };
        let mut backlog = link.backlog.lock().expect("no holder panics");
        backlog.tls = Some(Box::new(tls));
        backlog.put_sealed(&link);
        drop(backlog);
        link
    }

    /// Waits until the TLS handshake is done; gives the other side's certificate, if it showed one. The caller bounds
    /// the time; `turns` bounds how many handshakes are computed at the same time.
    pub(super) async fn handshake(&self, turns: &Arc<Semaphore>) -> io::Result<Option<Vec<u8>>> {
        loop {
            let (must_write, is_closing) = self.state()?;
            {
                let backlog = self.backlog.lock().expect("no holder panics");
                let tls = backlog.tls.as_ref().filter(|tls| !tls.is_handshaking());
                if let Some(tls) = tls {
                    let first = tls.peer_certificates().and_then(|chain| chain.first());
                    return Ok(first.map(|certificate| certificate.to_vec()));
                }
            }
            if is_closing {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            tokio::select! {
                biased;
                ready = self.stream.readable() => {
                    ready?;
                    if !self.open_aside(turns).await? {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                ready = self.stream.writable(), if must_write => {
                    ready?;
                    self.write_some()?;
                }
                () = self.changed.notified() => {}
            }
        }
    }

    /// True of a connection in TLS.
    pub(super) fn is_secured(&self) -> bool {
        self.is_secured
    }

    /// Writes what the socket takes now and keeps the rest.
    pub(super) fn send(&self, bytes: Bytes) {
        let mut backlog = self.backlog.lock().expect("no holder panics");
        if backlog.is_broken || backlog.is_closing {
            return;
        }
        match &mut backlog.tls {
            None => backlog.put(bytes, self),
            Some(tls) => match tls.writer().write_all(&bytes) {
                Ok(()) => backlog.put_sealed(self),
                Err(_) => backlog.is_broken = true,
            },
        }
    }

    /// Ends the connection when everything is written.
    pub(super) fn close(&self) {
        let mut backlog = self.backlog.lock().expect("no holder panics");
        if !backlog.is_closing
            && let Some(tls) = &mut backlog.tls
        {
            tls.send_close_notify();
            backlog.put_sealed(self);
        }
        backlog.is_closing = true;
        self.changed.notify_one();
    }

    /// Reads what is there, at least one byte, and flushes meanwhile; 0 when either side has ended the connection.
    pub(super) async fn read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        loop {
            let (must_write, is_closing) = self.state()?;
            if is_closing {
                return Ok(0);
            }
            if let Some(opened) = self.take_opened() {
                let len = opened.len();
                buffer.unsplit(opened);
                return Ok(len);
            }
            tokio::select! {
                biased;
                ready = self.stream.readable() => {
                    ready?;
                    if self.is_secured {
                        if !self.open_some()? && self.backlog.lock().expect("no holder panics").opened.is_empty() {
                            return Ok(0);
                        }
                        continue;
                    }
                    match self.stream.try_read_buf(buffer) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        done => return done,
                    }
                }
                ready = self.stream.writable(), if must_write => {
                    ready?;
                    self.write_some()?;
                }
                () = self.changed.notified() => {}
            }
        }
    }

    /// Only writes, until the connection is to end and everything is written.
    pub(super) async fn flush(&self) -> io::Result<()> {
        loop {
            let (must_write, is_closing) = self.state()?;
            if is_closing && !must_write {
                return Ok(());
            }
            tokio::select! {
                biased;
                ready = self.stream.writable(), if must_write => {
                    ready?;
                    self.write_some()?;
                }
                () = self.changed.notified() => {}
            }
        }
    }

    /// True if this side has ended the connection.
    pub(super) fn is_closing(&self) -> bool {
        self.backlog.lock().expect("no holder panics").is_closing
    }

    /// Reads sealed bytes and opens them. False when the other side has ended the connection.
    fn open_some(&self) -> io::Result<bool> {
        let mut sealed = [0; SEALED_BYTES];
        match self.stream.try_read(&mut sealed) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
            Ok(0) => Ok(false),
            Ok(read) => self.backlog.lock().expect("no holder panics").open(&sealed[..read], self),
        }
    }

    /// The same during the handshake, on a thread of its own: signatures take milliseconds, and when hundreds of clients
    /// come back at once the node must go on meanwhile.
    async fn open_aside(&self, turns: &Arc<Semaphore>) -> io::Result<bool> {
        let mut sealed = vec![0; SEALED_BYTES];
        match self.stream.try_read(&mut sealed) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
            Ok(0) => return Ok(false),
            Ok(read) => sealed.truncate(read),
        }
        let turn = Arc::clone(turns).acquire_owned().await.map_err(io::Error::other)?;
        let Some(mut tls) = self.backlog.lock().expect("no holder panics").tls.take() else { return Ok(true) };
        let opening = tokio::task::spawn_blocking(move || {
            let mut opened = BytesMut::new();
            let outcome = open(&mut tls, &sealed, &mut opened);
            drop(turn);
            (tls, opened, outcome)
        });
        let (tls, opened, outcome) = opening.await.map_err(io::Error::other)?;
        let mut backlog = self.backlog.lock().expect("no holder panics");
        backlog.tls = Some(tls);
        backlog.opened.unsplit(opened);
        backlog.put_sealed(self);
        outcome
    }

    fn take_opened(&self) -> Option<BytesMut> {
        if !self.is_secured {
            return None;
        }
        let mut backlog = self.backlog.lock().expect("no holder panics");
        (!backlog.opened.is_empty()).then(|| std::mem::take(&mut backlog.opened))
    }

    fn state(&self) -> io::Result<(bool, bool)> {
        let backlog = self.backlog.lock().expect("no holder panics");
        if backlog.is_broken {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the other side does not read"));
        }
        let must_write = !backlog.pieces.is_empty();
        Ok((must_write, backlog.is_closing))
    }

    fn write_some(&self) -> io::Result<()> {
        let mut backlog = self.backlog.lock().expect("no holder panics");
        loop {
            let pieces: Vec<IoSlice<'_>> =
                backlog.pieces.iter().take(PIECES).map(|piece| IoSlice::new(piece)).collect();
            if pieces.is_empty() {
                return Ok(());
            }
            let mut written = match self.stream.try_write_vectored(&pieces) {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            backlog.bytes -= written;
            while let Some(front) = backlog.pieces.front_mut() {
                if front.len() > written {
                    front.advance(written);
                    break;
                }
                written -= front.len();
                backlog.pieces.pop_front();
            }
        }
    }
}
