//! What groups and share partitions ask of the share coordinator, which may be this broker or another: finds it, asks it, and
//! asks again where that may help. Knows the wire of the five requests; decides nothing.

use super::coordinator::StateWrite;
use super::persister_wire::{self as wire, Kind};
use super::{SHARE_STATE_TOPIC, ShareKey, ShareStateError, StateReply, StateRequest};
use crate::broker::Broker;
use crate::group::partition_for;
use crate::outbox::{Channel, PeerError};
use crate::peers::PeerCall;
use bytes::Bytes;
use common::id::BrokerId;
use common::kafka::error::ErrorCode;
use common::time::{Millis, Now};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// How long another broker may take; as `request.timeout.ms` between brokers by default.
const TIMEOUT_MS: u64 = 30_000;
/// Pauses before asking again: 50 ms, twice as long each time; together a quarter of a minute, which is longer than the
/// election of another coordinator takes.
const BACKOFF_MS: u64 = 50;
const BACKOFF_MAX_MS: u64 = 4_000;
const ATTEMPTS: u32 = 10;

/// What the coordinator says of one share partition: topic, partition, and the state or why there is none.
pub type Outcome = (Uuid, i32, Result<StateReply, ErrorCode>);
/// Hears of all that was asked about, in the order in which it was.
pub type Then = Box<dyn FnOnce(Vec<Outcome>, Now) + Send>;

/// Questions to share coordinators that are not answered.
#[derive(Default)]
pub(crate) struct Persister(Mutex<Open>);

#[derive(Default)]
struct Open {
    last_number: u64,
    /// With other brokers.
    waiting: BTreeMap<u64, (Kind, Vec<Part>)>,
    /// To be asked again.
    retries: BTreeMap<(Millis, u64), Vec<Part>>,
}

/// One share partition of a question.
struct Part {
    key: ShareKey,
    request: StateRequest,
    slot: usize,
    attempts: u32,
    call: Arc<Mutex<Call>>,
}

/// A question about some share partitions of one group.
struct Call {
    left: usize,
    outcomes: Vec<Outcome>,
    then: Option<Then>,
}

impl Persister {
    /// When something is to be asked again.
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        self.0.lock().retries.first_key_value().map(|((at, _), _)| *at)
    }
}

impl Broker {
    /// The group begins to read partitions, or begins anew: (topic, partition, state epoch, start offset; -1 leaves that to the
    /// leader). Asked twice with one state epoch and no start offset, the second time changes nothing.
    pub fn initialize_share_state(self: &Arc<Self>, group: &str, asked: Vec<(Uuid, i32, i32, i64)>, then: Then) {
        let request = |(topic, partition, state_epoch, start_offset)| {
            (topic, partition, StateRequest::Initialize { state_epoch, start_offset })
        };
        self.ask_share_state(group, asked.into_iter().map(request).collect(), then);
    }

    /// A leader takes states over: (topic, partition, leader epoch; -1 only to look).
    pub fn read_share_state(self: &Arc<Self>, group: &str, asked: Vec<(Uuid, i32, i32)>, then: Then) {
        let request = |(topic, partition, leader_epoch)| (topic, partition, StateRequest::Read { leader_epoch });
        self.ask_share_state(group, asked.into_iter().map(request).collect(), then);
    }

    /// A leader tells what changed.
    pub fn write_share_state(self: &Arc<Self>, group: &str, asked: Vec<(Uuid, i32, StateWrite)>, then: Then) {
        let request = |(topic, partition, write)| (topic, partition, StateRequest::Write(write));
        self.ask_share_state(group, asked.into_iter().map(request).collect(), then);
    }

    /// The group reads partitions no more.
    pub fn delete_share_state(self: &Arc<Self>, group: &str, asked: Vec<(Uuid, i32)>, then: Then) {
        let request = |(topic, partition)| (topic, partition, StateRequest::Delete);
        self.ask_share_state(group, asked.into_iter().map(request).collect(), then);
    }

    /// Where the group stands: a start offset of -1 says that nothing is known.
    pub fn read_share_state_summary(self: &Arc<Self>, group: &str, asked: Vec<(Uuid, i32)>, then: Then) {
        let request = |(topic, partition)| (topic, partition, StateRequest::Summarize);
        self.ask_share_state(group, asked.into_iter().map(request).collect(), then);
    }

    /// `then` is called later, never before this returns, and with no lock held; so this may be called under any.
    fn ask_share_state(self: &Arc<Self>, group: &str, asked: Vec<(Uuid, i32, StateRequest)>, then: Then) {
        if asked.is_empty() {
            return self.outbox.run(Box::new(move |now| then(Vec::new(), now)));
        }
        let unknown = Err(ErrorCode::CoordinatorNotAvailable);
        let outcomes = asked.iter().map(|(topic, partition, _)| (*topic, *partition, unknown.clone())).collect();
        let call = Arc::new(Mutex::new(Call { left: asked.len(), outcomes, then: Some(then) }));
        let part = |(slot, (topic_id, partition, request))| Part {
            key: ShareKey { group: group.to_owned(), topic_id, partition },
            request,
            slot,
            attempts: 0,
            call: call.clone(),
        };
        let parts: Vec<Part> = asked.into_iter().enumerate().map(part).collect();
        // Whoever asks may hold locks that the coordinator's partition needs, too.
        let broker = self.clone();
        self.outbox.run(Box::new(move |now| broker.send_share_parts(parts, now)));
    }

    /// Asks again where it is time to.
    pub(crate) fn tick_persister(self: &Arc<Self>, now: Now) {
        loop {
            let parts = {
                let mut open = self.persister.0.lock();
                match open.retries.first_entry() {
                    Some(first) if first.key().0 <= now.mono => first.remove(),
                    _ => return,
                }
            };
            self.send_share_parts(parts, now);
        }
    }

    fn send_share_parts(self: &Arc<Self>, parts: Vec<Part>, now: Now) {
        let me = BrokerId(self.config.broker_id);
        let mut by_leader: BTreeMap<BrokerId, Vec<Part>> = BTreeMap::new();
        let (mut lost, mut is_there) = (Vec::new(), true);
        {
            let image = self.image.read();
            let count = image.partition_count(SHARE_STATE_TOPIC);
            is_there &= count.is_some();
            for part in parts {
                let partition = partition_for(&part.key.text(), count.unwrap_or(1).max(1));
                let leader = image.partition(SHARE_STATE_TOPIC, partition).map(|partition| partition.leader);
                match leader.filter(|leader| *leader >= 0) {
                    Some(leader) => by_leader.entry(BrokerId(leader)).or_default().push(part),
                    None => lost.push(part),
                }
            }
        }
        if !is_there {
            self.create_internal_topic(SHARE_STATE_TOPIC, now);
        }
        for part in lost {
            self.finish_share_part(part, Err(ErrorCode::CoordinatorNotAvailable), now);
        }
        for (leader, parts) in by_leader {
            if leader == me {
                self.ask_share_state_here(parts, now);
            } else {
                self.ask_share_state_of(leader, parts, now);
            }
        }
    }

    fn ask_share_state_here(self: &Arc<Self>, parts: Vec<Part>, now: Now) {
        self.with_share_states(now, |states, io| {
            for part in parts {
                let (key, request) = (part.key.clone(), part.request.clone());
                let broker = self.clone();
                let waiter = move |result: Result<StateReply, ShareStateError>| {
                    let result = result.map_err(ErrorCode::from);
                    let outbox = broker.outbox.clone();
                    outbox.run(Box::new(move |now| broker.finish_share_part(part, result, now)));
                };
                states.handle(key, request, Box::new(waiter), io);
            }
        });
    }

    fn ask_share_state_of(self: &Arc<Self>, leader: BrokerId, parts: Vec<Part>, now: Now) {
        let Some(first) = parts.first() else { return };
        let (kind, group) = (Kind::of(&first.request), first.key.group.clone());
        let asked: Vec<_> =
            parts.iter().map(|part| (part.key.topic_id, part.key.partition, part.request.clone())).collect();
        let number = {
            let mut open = self.persister.0.lock();
            open.last_number += 1;
            let number = open.last_number;
            open.waiting.insert(number, (kind, parts));
            number
        };
        let call = PeerCall::ShareState(leader, number);
        let to = (leader, Channel::ShareStates);
        if !wire::send(self, to, call, (kind, group, asked), now.mono + TIMEOUT_MS) {
            self.on_share_state_response(number, Err(PeerError::Lost), 0, now);
        }
    }

    /// A coordinator's answer, or none.
    pub(crate) fn on_share_state_response(
        self: &Arc<Self>,
        number: u64,
        response: Result<Bytes, PeerError>,
        version: i16,
        now: Now,
    ) {
        let waiting = self.persister.0.lock().waiting.remove(&number);
        let Some((kind, parts)) = waiting else { return };
        let answers = response.ok().and_then(|bytes| wire::read(kind, bytes, version));
        for part in parts {
            let place = (part.key.topic_id, part.key.partition);
            let result = match &answers {
                None => Err(ErrorCode::NetworkException),
                Some(answers) => answers.get(&place).cloned().unwrap_or(Err(ErrorCode::UnknownServerError)),
            };
            self.finish_share_part(part, result, now);
        }
    }

    fn finish_share_part(self: &Arc<Self>, mut part: Part, result: Result<StateReply, ErrorCode>, now: Now) {
        if let Err(code) = result
            && part.attempts + 1 < ATTEMPTS
            && helps_to_ask_again(code, &part.request)
        {
            let pause = (BACKOFF_MS << part.attempts.min(16)).min(BACKOFF_MAX_MS);
            part.attempts += 1;
            let at = now.mono + pause;
            let mut open = self.persister.0.lock();
            open.last_number += 1;
            let number = open.last_number;
            open.retries.insert((at, number), vec![part]);
            drop(open);
            return self.outbox.wake_at(at);
        }
        let (outcomes, then) = {
            let mut call = part.call.lock();
            call.outcomes[part.slot].2 = result;
            call.left -= 1;
            if call.left > 0 {
                return;
            }
            (std::mem::take(&mut call.outcomes), call.then.take())
        };
        if let Some(then) = then {
            then(outcomes, now);
        }
    }
}

fn helps_to_ask_again(code: ErrorCode, request: &StateRequest) -> bool {
    match code {
        ErrorCode::NotCoordinator
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::NetworkException
        | ErrorCode::RequestTimedOut => true,
        // The coordinator may not have heard yet of a topic that is new.
        ErrorCode::UnknownTopicOrPartition => matches!(request, StateRequest::Initialize { .. }),
        _ => false,
    }
}
