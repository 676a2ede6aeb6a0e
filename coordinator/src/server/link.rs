//! A TCP connection that is written from one place and read from another: writing takes what the socket takes and keeps
//! the rest, bounded; the reading side flushes it. Knows nothing of what it carries.

use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Mutex;
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Pieces given to one write call.
const PIECES: usize = 64;

/// One connection.
pub(super) struct Link {
    stream: TcpStream,
    backlog: Mutex<Backlog>,
    changed: Notify,
    limit_bytes: usize,
}

#[derive(Default)]
struct Backlog {
    pieces: VecDeque<Bytes>,
    bytes: usize,
    /// Nothing more will be sent; the connection ends when the rest is written.
    is_closing: bool,
    /// The other side does not read, or is gone.
    is_broken: bool,
}

impl Link {
    pub(super) fn new(stream: TcpStream, limit_bytes: usize) -> Link {
        Link { stream, backlog: Mutex::new(Backlog::default()), changed: Notify::new(), limit_bytes }
    }

    /// Writes what the socket takes now and keeps the rest.
    pub(super) fn send(&self, mut bytes: Bytes) {
        let mut backlog = self.backlog.lock().expect("no holder panics");
        if backlog.is_broken || backlog.is_closing {
            return;
        }
        if backlog.pieces.is_empty() {
            match self.stream.try_write(&bytes) {
                Ok(written) => bytes.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => backlog.is_broken = true,
            }
        }
        if !bytes.is_empty() {
            backlog.bytes += bytes.len();
            backlog.pieces.push_back(bytes);
            backlog.is_broken |= backlog.bytes > self.limit_bytes;
            self.changed.notify_one();
        }
    }

    /// Ends the connection when everything is written.
    pub(super) fn close(&self) {
        self.backlog.lock().expect("no holder panics").is_closing = true;
        self.changed.notify_one();
    }

    /// Reads what is there, at least one byte, and flushes meanwhile; 0 when either side has ended the connection.
    pub(super) async fn read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        loop {
            let (must_write, is_closing) = self.state()?;
            if is_closing {
                return Ok(0);
            }
            tokio::select! {
                biased;
                ready = self.stream.readable() => {
                    ready?;
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
