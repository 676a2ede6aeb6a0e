//! Client writes on their way to the leader, each carried out once whatever happens to leaders and connections between
//! servers. Holds queues and numbers; sends nothing and decides nothing about requests.
//!
//! A server numbers its clients' writes and hands them to the leader of one term. The leader takes each number once and
//! in order, and only of its own term. When a server has applied the first entry of a new term, the log can hold no
//! further entry of an older one: whatever it has not seen applied by then never will be, so it is safe to hand it, in
//! the old order, to the new leader.

use crate::ensemble::message::{Forward, ForwardGap};
use crate::trace::Handed;
use crate::tree::acl::AuthId;
use crate::tree::watch::ConnectionId;
use crate::tree::write::{Write, WriteBody};
use bytes::Bytes;
use common::mutants;
use common::time::Millis;
use prost::Message;
use std::collections::{BTreeMap, VecDeque};

/// Bits of a request number that count within one life of a server; the 24 bits above tell its lives apart.
const COUNT_BITS: u32 = 40;

/// Requests in one forwarded message.
const REQUESTS_PER_MESSAGE: usize = 1024;

/// Bytes of requests in one forwarded message, if it has more than one.
const BYTES_PER_MESSAGE: usize = 1024 * 1024;

/// Without any request applied for this long everything is handed over again; the leader ignores what it has.
const RESEND_AFTER_MS: u64 = 500;

/// A client's write with what the leader needs to judge it.
#[derive(Clone, PartialEq, ::prost::Message)]
pub(super) struct Request {
    /// The session that asks, begins, ends or moves.
    #[prost(sint64, tag = "1")]
    pub session: i64,
    /// The client's number (xid).
    #[prost(sint32, tag = "2")]
    pub cxid: i32,
    /// Who the client has shown to be.
    #[prost(message, repeated, tag = "3")]
    pub auth: Vec<AuthId>,
    /// The change; none if the session is to move here.
    #[prost(message, optional, tag = "4")]
    pub write: Option<Write>,
    /// The password shown by a client whose session is to move here.
    #[prost(bytes = "bytes", optional, tag = "5")]
    pub attach: Option<Bytes>,
    /// The timeout in milliseconds that a session which moves here is to have.
    #[prost(int32, tag = "6")]
    pub timeout_ms: i32,
    /// Whether only the server that hands the request over knows the session.
    #[prost(bool, tag = "7")]
    pub is_local: bool,
}

impl Request {
    /// What is carried out even if the client is gone before it could be handed over.
    fn outlives_client(&self) -> bool {
        matches!(self.write, Some(Write { body: Some(WriteBody::CloseSession(_)) }))
    }
}

/// A request that waits to be applied.
#[derive(Clone, Debug)]
struct Waiting {
    connection: ConnectionId,
    /// The connection's own number of the request.
    number: u64,
    is_alone: bool,
    /// When it was ready to go, and when it was first sent to another server, in microseconds; see [`crate::trace`].
    ready_us: u64,
    sent_us: Option<u64>,
    sends: u32,
    request: Request,
}

/// Who waited for a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Waiter {
    pub(super) connection: ConnectionId,
    pub(super) number: u64,
    ready_us: u64,
    sent_us: Option<u64>,
    sends: u32,
    request: Request,
}

impl Waiter {
    /// How the request went to the leader.
    pub(super) fn handed(&self) -> Handed<'_> {
        let Waiter { ready_us, sent_us, sends, .. } = *self;
        Handed { ready_us, sent_us, sends, write: self.request.write.as_ref() }
    }
}

/// Where the next requests are to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stream {
    term: u64,
    base: u64,
    next: u64,
    /// This server leads the term: what it took from itself cannot be lost on the way, and no inbox would know it again.
    is_own: bool,
}

/// This server's requests that are not yet applied.
#[derive(Debug)]
pub(super) struct Outbox {
    boot: u64,
    /// Number of the first waiting request.
    first: u64,
    waiting: VecDeque<Waiting>,
    stream: Option<Stream>,
    last_progress: Millis,
    /// When it is, in microseconds, for whoever asks later how long what took.
    pub(super) at_us: u64,
}

impl Outbox {
    /// `boot` tells the lives of this server apart, in 24 bits: the last eight count.
    pub(super) fn new(boot: u64) -> Outbox {
        Outbox {
            boot,
            first: (boot << COUNT_BITS) + 1,
            waiting: VecDeque::new(),
            stream: None,
            last_progress: Millis(0),
            at_us: 0,
        }
    }

    /// Takes a request of a client; `number` is what the client's connection knows it by.
    pub(super) fn push(&mut self, connection: ConnectionId, number: u64, request: Request, now: Millis) {
        if self.waiting.is_empty() {
            self.last_progress = now;
        }
        let ready_us = self.at_us;
        let waiting = Waiting { connection, number, is_alone: false, ready_us, sent_us: None, sends: 0, request };
        self.waiting.push_back(waiting);
    }

    /// The client is gone: what was not handed over yet need not be.
    pub(super) fn disown(&mut self, connection: ConnectionId) {
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.connection == connection) {
            waiting.is_alone = true;
        }
    }

    /// The first entry of `term` is applied: everything that waits was not carried out and goes to that term's leader,
    /// in order and under new numbers.
    pub(super) fn begin_term(&mut self, term: u64, now: Millis) {
        if self.stream.is_some_and(|stream| stream.term >= term) {
            return;
        }
        let base = self.first + self.waiting.len() as u64;
        self.first = base;
        if mutants::is_on("forgotten-at-new-term") {
            self.waiting.clear();
        }
        self.waiting.retain(|waiting| !waiting.is_alone || waiting.request.outlives_client());
        self.stream = Some(Stream { term, base, next: base, is_own: false });
        self.last_progress = now;
    }

    /// A request of this server was applied: who waits for it. Requests of an earlier life give `None`.
    pub(super) fn applied(&mut self, number: u64, now: Millis) -> Option<Waiter> {
        if number >> COUNT_BITS != self.boot || number < self.first {
            return None;
        }
        assert!(number == self.first, "request {number} was applied before request {}", self.first);
        let waiting = self.waiting.pop_front().expect("an applied request was waiting");
        self.first += 1;
        self.last_progress = now;
        if let Some(stream) = &mut self.stream {
            // After a connection to the leader broke, what is handed over again may have been applied meanwhile.
            stream.next = stream.next.max(self.first);
        }
        let Waiting { connection, number, ready_us, sent_us, sends, request, .. } = waiting;
        Some(Waiter { connection, number, ready_us, sent_us, sends, request })
    }

    /// Everything that waits is lost from sight: a snapshot took the place of the log.
    pub(super) fn abandon(&mut self) {
        self.first += self.waiting.len() as u64;
        self.waiting.clear();
        if let Some(stream) = &mut self.stream {
            // The leader may wait for some of these numbers, which will never come again.
            stream.base = self.first;
            stream.next = self.first;
        }
    }

    /// The connection to the leader was made anew: some of what was handed over may not have arrived.
    pub(super) fn resend(&mut self) {
        if let Some(stream) = self.stream.as_mut().filter(|stream| !stream.is_own) {
            stream.next = self.first.max(stream.base);
        }
    }

    /// The leader of `gap.term` misses requests.
    pub(super) fn fill_gap(&mut self, gap: ForwardGap) {
        if let Some(stream) = self.stream.as_mut().filter(|stream| stream.term == gap.term) {
            stream.next = gap.expected.max(self.first).min(stream.next);
        }
    }

    /// Sees to it that a message lost without a trace is sent again.
    pub(super) fn tick(&mut self, now: Millis) {
        if !self.waiting.is_empty() && now - self.last_progress >= RESEND_AFTER_MS {
            self.last_progress = now;
            self.resend();
        }
    }

    /// The requests that the leader of `term` is to get now, if this server itself leads: with their numbers.
    pub(super) fn take_own(&mut self, term: u64) -> Vec<(u64, Request)> {
        let first = self.first;
        let Some(stream) = self.stream.as_mut().filter(|stream| stream.term == term) else { return Vec::new() };
        stream.is_own = !mutants::is_on("own-request-taken-twice");
        let skip = usize::try_from(stream.next - first).unwrap_or(usize::MAX);
        let mut taken = Vec::new();
        for waiting in self.waiting.iter().skip(skip) {
            taken.push((stream.next, waiting.request.clone()));
            stream.next += 1;
        }
        taken
    }

    /// The next message for the leader of `term`, if there is anything to hand over.
    pub(super) fn next_message(&mut self, term: u64) -> Option<Forward> {
        let (first, boot, at_us) = (self.first, self.boot, self.at_us);
        let stream = self.stream.as_mut().filter(|stream| stream.term == term)?;
        let skip = usize::try_from(stream.next - first).ok()?;
        let mut requests = Vec::new();
        let mut bytes = 0;
        for waiting in self.waiting.iter_mut().skip(skip).take(REQUESTS_PER_MESSAGE) {
            let request = Bytes::from(waiting.request.encode_to_vec());
            bytes += request.len();
            if bytes > BYTES_PER_MESSAGE && !requests.is_empty() {
                break;
            }
            requests.push(request);
            waiting.sent_us.get_or_insert(at_us);
            waiting.sends += 1;
        }
        if requests.is_empty() {
            return None;
        }
        let forward = Forward { term, boot, base: stream.base, first: stream.next, requests };
        stream.next += forward.requests.len() as u64;
        Some(forward)
    }
}

/// What one server has handed to this leader.
#[derive(Clone, Copy, Debug)]
struct Sender {
    boot: u64,
    expected: u64,
}

/// The leader's memory of what it took from whom, for one term.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    senders: BTreeMap<u64, Sender>,
}

impl Inbox {
    /// The new ones of the requests in a message of this leader's term, each with its number; or the gap before them.
    pub(super) fn take(&mut self, from: u64, forward: Forward) -> Result<Vec<(u64, Bytes)>, ForwardGap> {
        let known = self.senders.get(&from).copied();
        let sender = match known {
            // The base moves on if the sender gave up requests (a snapshot took the place of its log).
            Some(sender) if sender.boot == forward.boot => {
                Sender { expected: sender.expected.max(forward.base), ..sender }
            }
            Some(sender) if is_earlier(forward.boot, sender.boot) => return Ok(Vec::new()),
            _ => Sender { boot: forward.boot, expected: forward.base },
        };
        self.senders.insert(from, sender);
        if forward.first > sender.expected {
            return Err(ForwardGap { term: forward.term, expected: sender.expected });
        }
        let known = if mutants::is_on("request-taken-twice") { 0 } else { sender.expected - forward.first };
        let skip = usize::try_from(known).unwrap_or(usize::MAX);
        let new: Vec<_> = (forward.first..).zip(forward.requests).skip(skip).collect();
        if let Some((last, _)) = new.last() {
            self.senders.insert(from, Sender { expected: last.saturating_add(1), ..sender });
        }
        Ok(new)
    }
}

/// True if a store was opened less often in one life than in the other. Lives of different stores are told apart before
/// this.
fn is_earlier(life: u64, than: u64) -> bool {
    life >> 8 == than >> 8 && life.wrapping_sub(than) & 0xff >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(0);

    fn request(cxid: i32) -> Request {
        Request { session: 1, cxid, ..Default::default() }
    }

    fn cxids(taken: Result<Vec<(u64, Bytes)>, ForwardGap>) -> Vec<i32> {
        taken.unwrap().into_iter().map(|(_, bytes)| Request::decode(bytes).unwrap().cxid).collect()
    }

    fn outbox(cxids: std::ops::Range<i32>, term: u64) -> Outbox {
        let mut outbox = Outbox::new(3);
        for cxid in cxids {
            outbox.push(ConnectionId(cxid as u64), 0, request(cxid), NOW);
        }
        outbox.begin_term(term, NOW);
        outbox
    }

    #[test]
    fn a_leader_takes_each_request_once_and_in_order() {
        let mut outbox = outbox(0..3, 5);
        let mut inbox = Inbox::default();
        let first = outbox.next_message(5).unwrap();
        assert_eq!(outbox.next_message(5), None);
        outbox.push(ConnectionId(9), 0, request(3), NOW);
        let second = outbox.next_message(5).unwrap();
        let gap = inbox.take(1, second).unwrap_err();
        assert_eq!(gap, ForwardGap { term: 5, expected: first.first });
        outbox.fill_gap(gap);
        assert_eq!(cxids(inbox.take(1, outbox.next_message(5).unwrap())), [0, 1, 2, 3]);
        assert_eq!(cxids(inbox.take(1, first)), [0; 0]);
        outbox.resend();
        assert_eq!(cxids(inbox.take(1, outbox.next_message(5).unwrap())), [0; 0]);
    }

    #[test]
    fn a_new_term_gets_what_was_not_applied_and_the_old_one_nothing() {
        let mut outbox = outbox(0..4, 5);
        let message = outbox.next_message(5).unwrap();
        assert_eq!(outbox.applied(message.first, NOW).unwrap().connection, ConnectionId(0));
        outbox.disown(ConnectionId(2));
        outbox.begin_term(6, NOW);
        assert_eq!(outbox.next_message(5), None);
        let again = outbox.next_message(6).unwrap();
        assert_eq!(cxids(Inbox::default().take(1, again.clone())), [1, 3]);
        assert_eq!(outbox.applied(again.first, NOW).unwrap().connection, ConnectionId(1));
        assert_eq!(outbox.applied(again.first + 1, NOW).unwrap().connection, ConnectionId(3));
        assert!(outbox.waiting.is_empty());
    }

    #[test]
    fn what_the_sender_gave_up_is_not_waited_for() {
        let mut outbox = outbox(0..3, 5);
        let mut inbox = Inbox::default();
        let lost = outbox.next_message(5).unwrap();
        outbox.abandon();
        outbox.push(ConnectionId(0), 0, request(7), NOW);
        assert_eq!(cxids(inbox.take(1, outbox.next_message(5).unwrap())), [7]);
        assert_eq!(cxids(inbox.take(1, lost)), [0; 0]);
    }

    #[test]
    fn a_leader_takes_its_own_requests_once_however_long_they_are_not_applied() {
        let mut outbox = outbox(0..2, 5);
        assert_eq!(outbox.take_own(5).len(), 2);
        outbox.tick(Millis(RESEND_AFTER_MS));
        assert_eq!(outbox.take_own(5), []);
        outbox.begin_term(6, NOW);
        assert_eq!(outbox.next_message(6).unwrap().requests.len(), 2);
    }

    #[test]
    fn an_earlier_life_is_not_heard() {
        let mut inbox = Inbox::default();
        let old = outbox(0..2, 5).next_message(5).unwrap();
        let mut reborn = Outbox::new(4);
        reborn.push(ConnectionId(0), 0, request(7), NOW);
        reborn.begin_term(5, NOW);
        let new = reborn.next_message(5).unwrap();
        assert_eq!(cxids(inbox.take(1, new)), [7]);
        assert_eq!(cxids(inbox.take(1, old.clone())), [0; 0]);
        assert_eq!(reborn.applied(old.first, NOW), None);
    }
}
