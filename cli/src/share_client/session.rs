//! A member's session with one broker: which partitions are in it, what is to be told of records, the requests that say so, and
//! what of it counts. Waits for nothing but the end of its thread.

use super::answer::{Answer, NO_ANSWER};
use super::{Acknowledge, Event, MAX_WAIT_MS, PAUSE, Place, carry};
use crate::security::Security;
use common::kafka::error::ErrorCode;
use common::kafka::messages::share_acknowledge::{
    AcknowledgePartition, AcknowledgeTopic, AcknowledgementBatch as AcknowledgedBatch,
};
use common::kafka::messages::share_fetch::{AcknowledgementBatch, FetchPartition, FetchTopic, ForgottenTopic};
use common::kafka::messages::{ShareAcknowledgeRequest, ShareFetchRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;
use uuid::Uuid;

/// Epoch of a new session, and of one that ends.
const BEGINS: i32 = 0;
const ENDS: i32 = -1;

/// What the broker's thread is to carry there.
pub(super) enum Order {
    Fetch(ShareFetchRequest),
    Acknowledge(ShareAcknowledgeRequest),
}

/// What is asked for.
pub(super) struct Wanted<'a> {
    pub(super) group: &'a str,
    pub(super) member_id: &'a str,
    pub(super) places: &'a BTreeSet<Place>,
    pub(super) max_records: i32,
    pub(super) max_bytes: i32,
}

/// Records of which the tool has said something.
type Told = BTreeMap<Place, Vec<i64>>;

/// Of records of one partition of which the tool has said something: why it does not count, if it does not.
pub(super) type Heard = (Place, Vec<i64>, Option<String>);

/// What becomes of what was told with this answer, or without any.
pub(super) fn heard(told: Told, answer: Option<&Answer>) -> Vec<Heard> {
    let problem = |place: &Place| answer.map_or_else(|| Some(NO_ANSWER.to_owned()), |answer| answer.problem_of(place));
    told.into_iter().map(|(place, offsets)| (place, offsets, problem(&place))).collect()
}

/// Stretches of offsets, first and last, with what became of their records; by the first.
type Sayings = BTreeMap<Place, Vec<(i64, i64, Acknowledge)>>;

/// A member's session with a broker.
pub(super) struct Session {
    epoch: i32,
    /// The partitions that the broker knows to be in the session.
    places: BTreeSet<Place>,
    /// Still to be told.
    sayings: Sayings,
    /// What of it the tool has said, not the member itself.
    told: Told,
    /// The same of what is under way.
    awaiting: Told,
    /// Records that the tool has, and has said nothing of.
    held: BTreeSet<(Place, i64)>,
    is_asking: bool,
    /// The broker must not be asked before.
    not_before: Option<Instant>,
    orders: Sender<Order>,
    thread: JoinHandle<()>,
}

impl Session {
    /// A session with the broker at `server`, whose answers go to `answers`.
    pub(super) fn open(
        leader: i32,
        server: &str,
        (security, client_id): (&Security, &str),
        answers: &Sender<Event>,
    ) -> Session {
        let (orders, requests) = channel();
        let (server, security, client_id) = (server.to_owned(), security.clone(), client_id.to_owned());
        let answers = answers.clone();
        let thread = std::thread::spawn(move || carry((leader, &server), (&security, &client_id), &requests, &answers));
        Session::over(orders, thread)
    }

    /// One that has asked nothing yet, on a connection that has its own thread.
    fn over(orders: Sender<Order>, thread: JoinHandle<()>) -> Session {
        Session {
            epoch: BEGINS,
            places: BTreeSet::new(),
            sayings: Sayings::new(),
            told: Told::new(),
            awaiting: Told::new(),
            held: BTreeSet::new(),
            is_asking: false,
            not_before: None,
            orders,
            thread,
        }
    }

    /// The tool has this record from now on.
    pub(super) fn hands_out(&mut self, place: Place, offset: i64) {
        self.held.insert((place, offset));
    }

    /// This is to be told of a stretch of records.
    pub(super) fn say(&mut self, place: Place, (first, last): (i64, i64), word: Acknowledge) {
        if self.held.remove(&(place, first)) {
            self.told.entry(place).or_default().push(first);
        }
        let sayings = self.sayings.entry(place).or_default();
        match sayings.last_mut() {
            Some((_, end, before)) if *before == word && *end + 1 == first => *end = last,
            _ => sayings.push((first, last, word)),
        }
    }

    pub(super) fn is_asking(&self) -> bool {
        self.is_asking
    }

    /// When it is to be looked at again, if it waits for a moment.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.not_before.filter(|_| !self.is_asking && self.held.is_empty())
    }

    /// Tells what there is to tell and asks for more, unless an answer is awaited or the tool is still busy. Gives what nobody can
    /// be told.
    pub(super) fn ask(&mut self, wanted: &Wanted<'_>) -> Vec<Heard> {
        if self.is_asking || !self.held.is_empty() || self.not_before.is_some_and(|at| Instant::now() < at) {
            return Vec::new();
        }
        self.not_before = None;
        let lost = self.forget();
        if wanted.places.is_empty() && self.places.is_empty() && self.sayings.is_empty() {
            return lost;
        }
        let request = self.request(wanted);
        self.places.clone_from(wanted.places);
        self.send(Order::Fetch(request));
        lost
    }

    /// Tells what there is to tell, and asks for nothing. Gives what nobody can be told.
    pub(super) fn tell(&mut self, group: &str, member_id: &str) -> Vec<Heard> {
        let lost = self.forget();
        if !self.is_asking && !self.sayings.is_empty() {
            let request = self.acknowledgement(group, member_id, self.epoch);
            self.send(Order::Acknowledge(request));
        }
        lost
    }

    fn send(&mut self, order: Order) {
        self.awaiting = std::mem::take(&mut self.told);
        // A thread that has ended has told why.
        self.is_asking = self.orders.send(order).is_ok();
    }

    /// A session that begins knows of no records, and none can be spoken of.
    fn forget(&mut self) -> Vec<Heard> {
        if self.epoch != BEGINS {
            return Vec::new();
        }
        self.sayings.clear();
        let problem = || Some(ErrorCode::InvalidShareSessionEpoch.message().to_owned());
        std::mem::take(&mut self.told).into_iter().map(|(place, offsets)| (place, offsets, problem())).collect()
    }

    fn request(&mut self, wanted: &Wanted<'_>) -> ShareFetchRequest {
        let mut topics: BTreeMap<Uuid, BTreeMap<i32, Vec<AcknowledgementBatch>>> = BTreeMap::new();
        for (topic, partition) in wanted.places.difference(&self.places) {
            topics.entry(*topic).or_default().entry(*partition).or_default();
        }
        for ((topic, partition), sayings) in self.take_sayings() {
            let batch = |(first_offset, last_offset, word): (i64, i64, Acknowledge)| AcknowledgementBatch {
                first_offset,
                last_offset,
                acknowledge_types: vec![word as i8],
            };
            let batches = topics.entry(topic).or_default().entry(partition).or_default();
            batches.extend(sayings.into_iter().map(batch));
        }
        let mut forgotten: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in self.places.difference(wanted.places) {
            forgotten.entry(*topic).or_default().push(*partition);
        }
        let partition =
            |(partition_index, acknowledgement_batches)| FetchPartition { partition_index, acknowledgement_batches };
        ShareFetchRequest {
            group_id: Some(wanted.group.to_owned()),
            member_id: Some(wanted.member_id.to_owned()),
            share_session_epoch: self.epoch,
            max_wait_ms: MAX_WAIT_MS,
            min_bytes: 1,
            max_bytes: wanted.max_bytes,
            max_records: wanted.max_records,
            batch_size: wanted.max_records,
            topics: topics
                .into_iter()
                .map(|(topic_id, of)| FetchTopic { topic_id, partitions: of.into_iter().map(partition).collect() })
                .collect(),
            forgotten_topics_data: forgotten
                .into_iter()
                .map(|(topic_id, partitions)| ForgottenTopic { topic_id, partitions })
                .collect(),
            ..ShareFetchRequest::default()
        }
    }

    fn acknowledgement(&mut self, group: &str, member_id: &str, epoch: i32) -> ShareAcknowledgeRequest {
        let mut topics: BTreeMap<Uuid, Vec<AcknowledgePartition>> = BTreeMap::new();
        for ((topic, partition_index), sayings) in self.take_sayings() {
            let batch = |(first_offset, last_offset, word): (i64, i64, Acknowledge)| AcknowledgedBatch {
                first_offset,
                last_offset,
                acknowledge_types: vec![word as i8],
            };
            let acknowledgement_batches = sayings.into_iter().map(batch).collect();
            topics.entry(topic).or_default().push(AcknowledgePartition { partition_index, acknowledgement_batches });
        }
        let topics = topics.into_iter().map(|(topic_id, partitions)| AcknowledgeTopic { topic_id, partitions });
        ShareAcknowledgeRequest {
            group_id: Some(group.to_owned()),
            member_id: Some(member_id.to_owned()),
            share_session_epoch: epoch,
            topics: topics.collect(),
            ..ShareAcknowledgeRequest::default()
        }
    }

    /// In the order of their offsets.
    fn take_sayings(&mut self) -> Sayings {
        let mut sayings = std::mem::take(&mut self.sayings);
        for stretches in sayings.values_mut() {
            stretches.sort_unstable_by_key(|(first, ..)| *first);
        }
        sayings
    }

    /// The broker has answered. Gives the partitions that it does not lead, and what of what was told counts.
    pub(super) fn on_answer(&mut self, answer: &Answer) -> (Vec<Place>, Vec<Heard>) {
        self.is_asking = false;
        let heard = heard(std::mem::take(&mut self.awaiting), Some(answer));
        if !answer.is_of_session() {
            // Whatever it is, a new session is the remedy.
            (self.epoch, self.not_before) = (BEGINS, Some(Instant::now() + PAUSE));
            return (std::mem::take(&mut self.places).into_iter().collect(), heard);
        }
        self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        if answer.has_fetch_errors() {
            self.not_before = Some(Instant::now() + PAUSE);
        }
        (answer.moved(), heard)
    }

    /// The connection broke. Gives what was told in vain.
    pub(super) fn give_up(self) -> Vec<Heard> {
        [self.awaiting, self.told].into_iter().flat_map(|told| heard(told, None)).collect()
    }

    /// Tells what is left to tell, gives the rest back, and waits until the broker has answered. Gives what it was told.
    pub(super) fn close(mut self, group: &str, member_id: &str) -> Told {
        if self.epoch != BEGINS && !self.is_asking {
            let request = self.acknowledgement(group, member_id, ENDS);
            // A thread that has ended has lost its broker.
            let _ = self.orders.send(Order::Acknowledge(request));
        }
        drop(self.orders);
        // A panic has told itself.
        let _ = self.thread.join();
        for (place, offsets) in self.awaiting {
            self.told.entry(place).or_default().extend(offsets);
        }
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::kafka::messages::ShareAcknowledgeResponse;
    use common::kafka::messages::share_acknowledge::{PartitionData, ShareAcknowledgeTopicResponse};
    use std::sync::mpsc::Receiver;

    const TOPIC: Uuid = Uuid::from_u128(7);

    fn session(epoch: i32) -> (Session, Receiver<Order>) {
        let (orders, requests) = channel();
        let session = Session { epoch, ..Session::over(orders, std::thread::spawn(|| {})) };
        (session, requests)
    }

    fn answer(code: ErrorCode, partitions: &[(i32, ErrorCode)]) -> Answer {
        let partitions = partitions.iter().map(|&(partition_index, code)| PartitionData {
            partition_index,
            error_code: code.code(),
            ..PartitionData::default()
        });
        let partitions = partitions.collect();
        Answer::from(&ShareAcknowledgeResponse {
            error_code: code.code(),
            responses: vec![ShareAcknowledgeTopicResponse { topic_id: TOPIC, partitions }],
            ..ShareAcknowledgeResponse::default()
        })
    }

    fn shown(heard: Vec<Heard>) -> Vec<String> {
        let show = |((_, partition), offsets, problem): Heard| {
            format!("{partition} {offsets:?} {}", problem.as_deref().unwrap_or("counts"))
        };
        heard.into_iter().map(show).collect()
    }

    /// The tool has records 3 and 5 of partition 0 and 9 of 1 and accepts them; 4 is a gap, of which it knows nothing.
    fn check(epoch: i32, told: &[&str], answered: Option<Answer>, expected: &[&str]) {
        let (mut session, requests) = session(epoch);
        for (partition, offset) in [(0, 3), (0, 5), (1, 9)] {
            session.hands_out((TOPIC, partition), offset);
        }
        session.say((TOPIC, 0), (4, 4), Acknowledge::Gap);
        for (partition, offset) in [(0, 3), (0, 5), (1, 9)] {
            session.say((TOPIC, partition), (offset, offset), Acknowledge::Accept);
        }
        let mut found = session.tell("group", "member");
        let mut requested = Vec::new();
        for order in requests.try_iter() {
            let Order::Acknowledge(request) = order else { panic!("records are asked for") };
            assert_eq!(request.share_session_epoch, epoch);
            for partition in &request.topics[0].partitions {
                for batch in &partition.acknowledgement_batches {
                    let (first, last, words) = (batch.first_offset, batch.last_offset, &batch.acknowledge_types);
                    requested.push(format!("{} {first}-{last} {words:?}", partition.partition_index));
                }
            }
        }
        assert_eq!(requested, told);
        match answered {
            Some(answer) => found.extend(session.on_answer(&answer).1),
            None => found.extend(session.give_up()),
        }
        assert_eq!(shown(found), expected);
    }

    #[test]
    fn each_word_of_the_tool_is_answered_once() {
        const NONE: ErrorCode = ErrorCode::None;
        let told = ["0 3-3 [1]", "0 4-4 [0]", "0 5-5 [1]", "1 9-9 [1]"];
        check(3, &told, Some(answer(NONE, &[(0, NONE), (1, NONE)])), &["0 [3, 5] counts", "1 [9] counts"]);
        let refused = format!("1 [9] {}", ErrorCode::InvalidRecordState.message());
        let partly = answer(NONE, &[(0, NONE), (1, ErrorCode::InvalidRecordState)]);
        check(3, &told, Some(partly), &["0 [3, 5] counts", &refused]);
        let silent = "0 [3, 5] Acknowledgement not successful due to invalid response from broker";
        check(3, &told, Some(answer(NONE, &[(1, NONE)])), &[silent, "1 [9] counts"]);
        let code = ErrorCode::ShareSessionNotFound;
        let all = |message: &str| [format!("0 [3, 5] {message}"), format!("1 [9] {message}")];
        let none = all(code.message());
        check(3, &told, Some(answer(code, &[])), &none.each_ref().map(String::as_str));
        check(3, &told, None, &all(NO_ANSWER).each_ref().map(String::as_str));
        let new = all(ErrorCode::InvalidShareSessionEpoch.message());
        check(BEGINS, &[], None, &new.each_ref().map(String::as_str));
    }
}
