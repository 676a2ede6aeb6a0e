//! A snapshot on its way to a lagging follower: in parts, as the store gives them, sent in a window and sent again from
//! the last acknowledged byte; and the other side's count of them. Neither side ever holds more than the window. Does not
//! know what is in it, and never sends anything itself.

use super::membership::Membership;
use super::message::{LogPosition, SnapshotAck, SnapshotChunk};
use bytes::Bytes;
use common::time::Millis;
use std::collections::VecDeque;

/// Bytes of a part, or one entry if that is larger: small enough that heartbeats between two are not late.
pub const PART_BYTES: usize = 256 * 1024;

/// Parts that are read and not acknowledged: a megabyte or so keeps a network busy and the peer's queue short.
pub const WINDOW_PARTS: usize = 8;

/// Without an acknowledgement for this long the window is sent again.
const RESEND_AFTER_MS: u64 = 1_000;

/// Without an acknowledgement for this long the follower is given up; consensus starts over when it is back.
const GIVE_UP_AFTER_MS: u64 = 15_000;

/// A part with its place.
#[derive(Debug)]
struct Part {
    offset: u64,
    data: Bytes,
    is_last: bool,
}

/// A snapshot being sent to one follower.
#[derive(Debug)]
pub struct Outgoing {
    position: LogPosition,
    membership: Membership,
    /// Read and not acknowledged, in order.
    parts: VecDeque<Part>,
    /// How many of them were sent.
    sent: usize,
    /// Bytes read.
    end: u64,
    is_whole: bool,
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
    /// A snapshot that reflects `position`, with the ensemble as it was there.
    pub fn new(position: LogPosition, membership: Membership, now: Millis) -> Outgoing {
        Outgoing {
            position,
            membership,
            parts: VecDeque::new(),
            sent: 0,
            end: 0,
            is_whole: false,
            last_progress: now,
            last_send: now,
        }
    }

    /// The next part; only the last may be followed by none.
    pub fn add(&mut self, data: Bytes, is_last: bool, now: Millis) {
        if self.parts.is_empty() {
            // It was the store that was waited for.
            self.last_progress = now;
        }
        let offset = self.end;
        self.end += data.len() as u64;
        self.is_whole = is_last;
        self.parts.push_back(Part { offset, data, is_last });
    }

    /// Takes an acknowledgement; one of another snapshot is ignored. Gives how many parts are done with: as many more
    /// may be read.
    pub fn acknowledge(&mut self, ack: SnapshotAck, now: Millis) -> usize {
        if ack.index != self.position.index || ack.received > self.end {
            return 0;
        }
        let mut done = 0;
        while self.parts.front().is_some_and(|part| part.offset + part.data.len() as u64 <= ack.received) {
            self.parts.pop_front();
            self.sent = self.sent.saturating_sub(1);
            self.last_progress = now;
            done += 1;
        }
        done
    }

    /// What to do now.
    pub fn poll(&mut self, term: u64, now: Millis) -> SendState {
        if self.parts.is_empty() {
            return if self.is_whole { SendState::Done } else { SendState::Send(Vec::new()) };
        }
        if now - self.last_progress >= GIVE_UP_AFTER_MS {
            return SendState::GivenUp;
        }
        if now - self.last_send >= RESEND_AFTER_MS && now - self.last_progress >= RESEND_AFTER_MS {
            self.sent = 0;
        }
        let mut chunks = Vec::new();
        for part in self.parts.iter().skip(self.sent) {
            chunks.push(SnapshotChunk {
                term,
                position: self.position,
                offset: part.offset,
                last: part.is_last,
                data: part.data.clone(),
                membership: part.is_last.then(|| self.membership.clone()),
                checksum: crc32c::crc32c(&part.data),
            });
            self.last_send = now;
        }
        self.sent = self.parts.len();
        SendState::Send(chunks)
    }
}

/// How much of a snapshot has been received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Incoming {
    from: u64,
    term: u64,
    position: LogPosition,
    received: u64,
}

/// What a chunk is to its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The first part of a snapshot: whatever came of another one is void.
    First,
    /// The next part.
    Next,
    /// Known already, or too early: dropped. The acknowledgement says from where to go on.
    OutOfTurn,
}

impl Incoming {
    /// Takes a chunk; gives what it is and what to answer.
    pub fn take(&mut self, from: u64, chunk: &SnapshotChunk) -> (Arrival, SnapshotAck) {
        if (from, chunk.term, chunk.position) != (self.from, self.term, self.position) {
            *self = Incoming { from, term: chunk.term, position: chunk.position, received: 0 };
        }
        let arrival = match chunk.offset {
            offset if offset != self.received => Arrival::OutOfTurn,
            0 => Arrival::First,
            _ => Arrival::Next,
        };
        if arrival != Arrival::OutOfTurn {
            self.received += chunk.data.len() as u64;
        }
        (arrival, SnapshotAck { index: self.position.index, received: self.received })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSITION: LogPosition = LogPosition { index: 7, term: 2 };

    #[test]
    fn arrives_whole_although_chunks_get_lost_and_only_the_window_is_held() {
        let content: Vec<Bytes> = (0..40u8).map(|part| Bytes::from(vec![part; 1000 + usize::from(part)])).collect();
        let mut outgoing = Outgoing::new(POSITION, Membership::default(), Millis(0));
        let mut incoming = Incoming::default();
        let (mut now, mut read, mut may_read, mut lost) = (Millis(0), 0, WINDOW_PARTS, 0);
        let mut received = Vec::new();
        for step in 0.. {
            while may_read > 0 && read < content.len() {
                outgoing.add(content[read].clone(), read + 1 == content.len(), now);
                (read, may_read) = (read + 1, may_read - 1);
            }
            assert!(outgoing.parts.len() <= WINDOW_PARTS);
            let SendState::Send(chunks) = outgoing.poll(2, now) else { break };
            for (index, chunk) in chunks.iter().enumerate() {
                if step < 6 && index == 1 {
                    lost += 1;
                    continue;
                }
                let (arrival, ack) = incoming.take(1, chunk);
                assert_eq!(arrival == Arrival::First, received.is_empty());
                if arrival != Arrival::OutOfTurn {
                    received.push(chunk.data.clone());
                    assert_eq!(chunk.last, received.len() == content.len());
                }
                may_read += outgoing.acknowledge(ack, now);
            }
            now = now + 400;
        }
        assert!(lost > 0);
        assert_eq!(received, content);
        assert_eq!(outgoing.poll(2, now), SendState::Done);
    }

    #[test]
    fn a_silent_follower_is_given_up_and_a_slow_store_is_not() {
        let mut outgoing = Outgoing::new(POSITION, Membership::default(), Millis(0));
        let late = Millis(2 * GIVE_UP_AFTER_MS);
        assert_eq!(outgoing.poll(1, late), SendState::Send(Vec::new()));
        outgoing.add(Bytes::from_static(b"x"), true, late);
        assert!(matches!(outgoing.poll(1, late), SendState::Send(chunks) if chunks.len() == 1));
        assert_eq!(outgoing.poll(1, late + GIVE_UP_AFTER_MS), SendState::GivenUp);
    }
}
