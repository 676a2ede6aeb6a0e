//! A snapshot on its way to a lagging follower: cut into chunks, sent in a window, resent from the last acknowledged
//! byte, and put together again on the other side. Does not know what is in it, and never sends anything itself.

use super::membership::Membership;
use super::message::{LogPosition, SnapshotAck, SnapshotChunk};
use bytes::{Bytes, BytesMut};
use common::time::Millis;

/// Bytes of a chunk: small enough that heartbeats between two chunks are not late.
const CHUNK_BYTES: usize = 256 * 1024;

/// Chunks on their way: a megabyte or so keeps a network busy and the peer's queue short.
const WINDOW_CHUNKS: usize = 8;

/// Without an acknowledgement for this long the window is sent again.
const RESEND_AFTER_MS: u64 = 1_000;

/// Without an acknowledgement for this long the follower is given up; consensus starts over when it is back.
const GIVE_UP_AFTER_MS: u64 = 15_000;

/// A snapshot being sent to one follower.
#[derive(Debug)]
pub struct Outgoing {
    position: LogPosition,
    membership: Membership,
    content: Bytes,
    acknowledged: usize,
    sent: usize,
    last_progress: Millis,
    last_send: Millis,
}

/// What a sender has to do now.
#[derive(Debug, PartialEq, Eq)]
pub enum SendState {
    /// Send these chunks (maybe none).
    Send(Vec<SnapshotChunk>),
    /// All is acknowledged.
    Done,
    /// The follower does not answer.
    GivenUp,
}

impl Outgoing {
    /// A snapshot that reflects `position`.
    pub fn new(position: LogPosition, membership: Membership, content: Bytes, now: Millis) -> Outgoing {
        Outgoing { position, membership, content, acknowledged: 0, sent: 0, last_progress: now, last_send: now }
    }

    /// Takes an acknowledgement; one of another snapshot is ignored.
    pub fn acknowledge(&mut self, ack: SnapshotAck, now: Millis) {
        let received = usize::try_from(ack.received).unwrap_or(usize::MAX);
        if ack.index != self.position.index || received > self.content.len() {
            return;
        }
        if received > self.acknowledged {
            self.acknowledged = received;
            self.last_progress = now;
        }
        self.sent = self.sent.max(self.acknowledged);
    }

    /// What to do now.
    pub fn poll(&mut self, term: u64, now: Millis) -> SendState {
        if self.acknowledged == self.content.len() {
            return SendState::Done;
        }
        if now - self.last_progress >= GIVE_UP_AFTER_MS {
            return SendState::GivenUp;
        }
        if now - self.last_send >= RESEND_AFTER_MS && now - self.last_progress >= RESEND_AFTER_MS {
            self.sent = self.acknowledged;
        }
        let mut chunks = Vec::new();
        while self.sent < self.content.len() && self.sent < self.acknowledged + WINDOW_CHUNKS * CHUNK_BYTES {
            let end = (self.sent + CHUNK_BYTES).min(self.content.len());
            chunks.push(SnapshotChunk {
                term,
                position: self.position,
                offset: self.sent as u64,
                last: end == self.content.len(),
                data: self.content.slice(self.sent..end),
                membership: (end == self.content.len()).then(|| self.membership.clone()),
            });
            self.sent = end;
            self.last_send = now;
        }
        SendState::Send(chunks)
    }
}

/// A snapshot being received.
#[derive(Debug, Default)]
pub struct Incoming {
    from: u64,
    term: u64,
    position: LogPosition,
    content: BytesMut,
}

impl Incoming {
    /// Takes a chunk; gives what to answer and, when it was the last, the whole. Chunks that do not follow are dropped:
    /// the answer says from where to go on.
    pub fn take(&mut self, from: u64, chunk: &SnapshotChunk) -> (SnapshotAck, Option<Bytes>) {
        if (from, chunk.term, chunk.position) != (self.from, self.term, self.position) {
            *self = Incoming { from, term: chunk.term, position: chunk.position, content: BytesMut::new() };
        }
        let follows = chunk.offset == self.content.len() as u64;
        if follows {
            self.content.extend_from_slice(&chunk.data);
        }
        let ack = SnapshotAck { index: self.position.index, received: self.content.len() as u64 };
        let whole = (follows && chunk.last).then(|| std::mem::take(&mut self.content).freeze());
        if whole.is_some() {
            *self = Incoming::default();
        }
        (ack, whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSITION: LogPosition = LogPosition { index: 7, term: 2 };

    #[test]
    fn arrives_whole_although_chunks_get_lost() {
        let content = Bytes::from((0..3_000_000u32).map(|i| i as u8).collect::<Vec<u8>>());
        let mut outgoing = Outgoing::new(POSITION, Membership::default(), content.clone(), Millis(0));
        let mut incoming = Incoming::default();
        let mut now = Millis(0);
        let mut lost = 0;
        let mut received = None;
        for step in 0.. {
            let SendState::Send(chunks) = outgoing.poll(2, now) else { break };
            for (index, chunk) in chunks.iter().enumerate() {
                if step < 3 && index == 1 {
                    lost += 1;
                    continue;
                }
                let (ack, whole) = incoming.take(1, chunk);
                outgoing.acknowledge(ack, now);
                received = received.or(whole);
            }
            now = now + 400;
        }
        assert!(lost > 0);
        assert_eq!(received, Some(content));
        assert_eq!(outgoing.poll(2, now), SendState::Done);
    }

    #[test]
    fn a_silent_follower_is_given_up() {
        let mut outgoing = Outgoing::new(POSITION, Membership::default(), Bytes::from_static(b"x"), Millis(0));
        assert!(matches!(outgoing.poll(1, Millis(0)), SendState::Send(chunks) if chunks.len() == 1));
        assert_eq!(outgoing.poll(1, Millis(GIVE_UP_AFTER_MS)), SendState::GivenUp);
    }
}
