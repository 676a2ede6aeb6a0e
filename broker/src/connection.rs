//! One client connection without its socket: requests are handled in order, several may wait for their answer at once,
//! and answers leave in the order of the requests (KIP-219 and every client rely on it). Never touches a socket.

use crate::outbox::ConnectionId;
use common::kafka::wire::Frame;
use common::limits::IN_FLIGHT_PER_CONNECTION;
use std::collections::VecDeque;
use std::sync::OnceLock;

/// What handlers may know of the connection a request came by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Its id.
    pub id: ConnectionId,
    /// Name of the listener it came in by, as in `listeners`.
    pub listener: String,
    /// The client's address without port.
    pub client_host: String,
    /// The client's port; 0 if it is not known.
    pub client_port: u16,
    /// Who the client is; `User:ANONYMOUS` on a plaintext listener.
    pub principal: String,
    /// What the client is made with, once it has said so (KIP-511).
    pub software: OnceLock<Software>,
}

/// Name and version of a client's library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Software {
    /// Such as `librdkafka`.
    pub name: String,
    /// Such as `2.10.0`.
    pub version: String,
}

/// The answers a connection still owes, in request order.
#[derive(Debug, Default)]
pub struct Answers {
    /// Sequence number of the front of `slots`.
    first: u64,
    slots: VecDeque<Slot>,
    /// A request that none behind it may overtake, until it is answered.
    barrier: Option<u64>,
    is_closing: bool,
    timings: Timings,
}

/// Which requests are timed, by sequence number, and which of them were answered.
#[derive(Debug, Default)]
struct Timings {
    running: VecDeque<(u64, Timed)>,
    over: Vec<Timed>,
}

/// A request whose time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timed {
    /// As which row of the counters.
    pub row: usize,
    /// When it came, in microseconds.
    pub at_micros: u64,
}

#[derive(Debug)]
enum Slot {
    Waiting,
    Ready(Frame),
    /// Produce with acks=0: the client expects no bytes.
    Silent,
    /// No answer can be given; the connection ends here.
    Close(String),
}

impl Answers {
    /// A place for the next request's answer; its sequence number.
    pub fn begin(&mut self) -> u64 {
        self.slots.push_back(Slot::Waiting);
        self.first + self.slots.len() as u64 - 1
    }

    /// The time of the request that was begun last counts.
    pub fn timed(&mut self, sequence: u64, timed: Timed) {
        self.timings.running.push_back((sequence, timed));
    }

    /// The requests whose answers were taken since the last call, for their time to be counted.
    pub fn take_timed(&mut self) -> std::vec::Drain<'_, Timed> {
        self.timings.over.drain(..)
    }

    /// The answer to the request comes later. Unless `lets_pass`, no other is handled before.
    pub fn parked(&mut self, sequence: u64, lets_pass: bool) {
        if !lets_pass {
            self.barrier = Some(sequence);
        }
    }

    /// The answer to a request; a second answer to the same request is dropped.
    pub fn ready(&mut self, sequence: u64, frame: Frame) {
        self.fill(sequence, Slot::Ready(frame));
    }

    /// The request has no answer.
    pub fn silent(&mut self, sequence: u64) {
        self.fill(sequence, Slot::Silent);
    }

    /// The request has no answer and the connection must end; the answers before it still leave. No further request is
    /// handled.
    pub fn close(&mut self, sequence: u64, reason: String) {
        self.is_closing |= self.fill(sequence, Slot::Close(reason));
    }

    /// The next frame to send, if the oldest unanswered request is answered.
    pub fn pop(&mut self) -> Option<Frame> {
        loop {
            if matches!(self.slots.front()?, Slot::Waiting | Slot::Close(_)) {
                return None;
            }
            if let Some((_, timed)) = self.timings.running.pop_front_if(|(sequence, _)| *sequence == self.first) {
                self.timings.over.push(timed);
            }
            self.first += 1;
            if let Some(Slot::Ready(frame)) = self.slots.pop_front() {
                return Some(frame);
            }
        }
    }

    /// Why the connection is to be closed now: every answer that was due has left.
    pub fn must_close(&self) -> Option<&str> {
        match self.slots.front() {
            Some(Slot::Close(reason)) => Some(reason),
            _ => None,
        }
    }

    /// True while more requests may be handled before an answer leaves.
    pub fn has_room(&self) -> bool {
        !self.is_closing && self.barrier.is_none() && self.slots.len() < IN_FLIGHT_PER_CONNECTION
    }

    /// True if nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn fill(&mut self, sequence: u64, slot: Slot) -> bool {
        let index = sequence.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let Some(waiting @ Slot::Waiting) = index.and_then(|index| self.slots.get_mut(index)) else { return false };
        *waiting = slot;
        if self.barrier == Some(sequence) {
            self.barrier = None;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use common::kafka::wire::Part;

    fn frame(text: &'static str) -> Frame {
        Frame { parts: vec![Part::Bytes(Bytes::from_static(text.as_bytes()))] }
    }

    fn drain(answers: &mut Answers) -> Vec<Bytes> {
        std::iter::from_fn(|| answers.pop()).map(|frame| frame.into_bytes().unwrap()).collect()
    }

    #[test]
    fn answers_leave_in_request_order() {
        let mut answers = Answers::default();
        let [a, b, c, d] = [(); 4].map(|()| answers.begin());
        answers.ready(c, frame("c"));
        answers.silent(b);
        assert!(drain(&mut answers).is_empty());
        answers.ready(a, frame("a"));
        assert_eq!(drain(&mut answers), ["a", "c"]);
        answers.ready(a, frame("again"));
        answers.ready(d, frame("d"));
        answers.ready(d + 9, frame("never asked"));
        assert_eq!(drain(&mut answers), ["d"]);
        assert!(answers.is_empty());
    }

    #[test]
    fn answers_that_are_due_leave_before_the_connection_is_closed() {
        let mut answers = Answers::default();
        let [a, b, c] = [(); 3].map(|()| answers.begin());
        answers.ready(a, frame("a"));
        answers.close(c, "why".to_owned());
        assert!(!answers.has_room(), "nothing is handled any more");
        assert_eq!(drain(&mut answers), ["a"]);
        assert_eq!(answers.must_close(), None, "an answer is still owed");
        answers.ready(b, frame("b"));
        assert_eq!(drain(&mut answers), ["b"]);
        assert_eq!(answers.must_close(), Some("why"));
    }

    #[test]
    fn nothing_overtakes_a_parked_request_that_does_not_let_pass() {
        let mut answers = Answers::default();
        let fetch = answers.begin();
        answers.parked(fetch, true);
        assert!(answers.has_room(), "a fetch lets others pass");
        let commit = answers.begin();
        answers.parked(commit, false);
        assert!(!answers.has_room(), "what is behind a commit must see it");
        answers.ready(fetch, frame("f"));
        assert!(!answers.has_room());
        answers.ready(commit, frame("c"));
        assert!(answers.has_room());
        assert_eq!(drain(&mut answers), ["f", "c"]);
    }

    #[test]
    fn a_request_is_timed_until_its_answer_leaves() {
        let mut answers = Answers::default();
        let timed = |row| Timed { row, at_micros: 0 };
        let [a, b, c] = [1, 0, 3].map(|row| {
            let sequence = answers.begin();
            if row > 0 {
                answers.timed(sequence, timed(row));
            }
            sequence
        });
        answers.ready(c, frame("c"));
        answers.ready(b, frame("b"));
        assert!(drain(&mut answers).is_empty() && answers.take_timed().next().is_none());
        answers.silent(a);
        drain(&mut answers);
        assert_eq!(answers.take_timed().collect::<Vec<_>>(), [timed(1), timed(3)]);
        assert_eq!(answers.take_timed().next(), None);
    }

    #[test]
    fn a_connection_owes_a_bounded_number_of_answers() {
        let mut answers = Answers::default();
        for _ in 0..IN_FLIGHT_PER_CONNECTION {
            assert!(answers.has_room());
            answers.begin();
        }
        assert!(!answers.has_room());
        answers.ready(0, frame("x"));
        answers.pop();
        assert!(answers.has_room());
    }
}
