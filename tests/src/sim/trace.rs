//! What happened in a run: a running hash of every event, and on demand lines for people. Never influences a run.

use super::world::Micros;
use std::cell::RefCell;
use std::io;

thread_local! {
    /// What the servers logged since it was last taken.
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct LogWriter;

impl io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// From now on the traces of this process have what the servers log as well: `filter` is a list such as
/// `info,coordinator=debug`.
pub fn keep_logs(filter: &str) {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_ansi(false)
        .without_time()
        .with_writer(|| LogWriter);
    // A second call finds the first one's subscriber, which is as good.
    let _ = subscriber.try_init();
}

/// How much of a run is kept as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Only the hash.
    #[default]
    Hash,
    /// Faults, starts, elections, what clients noticed.
    Story,
    /// Every event.
    Events,
}

/// The trace of one run.
#[derive(Debug)]
pub struct Trace {
    detail: Detail,
    hash: u64,
    events: u64,
    lines: Vec<String>,
}

impl Trace {
    /// An empty trace.
    pub fn new(detail: Detail) -> Trace {
        Trace { detail, hash: 0xcbf2_9ce4_8422_2325, events: 0, lines: Vec::new() }
    }

    /// Mixes a number into the hash.
    pub fn mix(&mut self, word: u64) {
        let mixed = (self.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.hash = mixed ^ (mixed >> 29);
    }

    /// Mixes bytes into the hash.
    pub fn mix_bytes(&mut self, bytes: &[u8]) {
        self.mix(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    /// What was logged while this host's process ran.
    pub fn logs(&mut self, at: Micros, name: &str) {
        if self.detail >= Detail::Story {
            let log = LOG.take();
            let lines = String::from_utf8_lossy(&log);
            self.lines.extend(lines.lines().map(|line| format!("{}     {name}: {}", clock(at), line.trim_start())));
        }
    }

    /// One more event.
    pub fn event(&mut self, at: Micros, kind: u64, bytes: &[u8], line: impl FnOnce() -> String) {
        self.events += 1;
        self.mix(at);
        self.mix(kind);
        self.mix_bytes(bytes);
        if self.detail >= Detail::Events {
            self.lines.push(format!("{}   {}", clock(at), line()));
        }
    }

    /// Something that a person wants to know.
    pub fn story(&mut self, at: Micros, line: impl FnOnce() -> String) {
        if self.detail >= Detail::Story {
            self.lines.push(format!("{} {}", clock(at), line()));
        }
    }

    /// The hash of all events so far, and their number.
    pub fn digest(&self) -> (u64, u64) {
        (self.hash, self.events)
    }

    /// The lines kept.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// Virtual seconds with six places.
fn clock(at: Micros) -> String {
    format!("{:>4}.{:06}", at / 1_000_000, at % 1_000_000)
}
