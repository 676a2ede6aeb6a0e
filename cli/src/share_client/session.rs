//! A member's session with one broker: which partitions are in it, what is to be told of records, and the requests that say
//! so. Waits for nothing but the end of its thread.

use super::{Acknowledge, Event, MAX_BYTES, MAX_WAIT_MS, PAUSE, Place, carry};
use crate::security::Security;
use common::kafka::error::ErrorCode;
use common::kafka::messages::share_acknowledge::{
    AcknowledgePartition, AcknowledgeTopic, AcknowledgementBatch as AcknowledgedBatch,
};
use common::kafka::messages::share_fetch::{AcknowledgementBatch, FetchPartition, FetchTopic, ForgottenTopic};
use common::kafka::messages::{ShareAcknowledgeRequest, ShareFetchRequest, ShareFetchResponse};
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
    /// The last.
    Close(ShareAcknowledgeRequest),
}

/// What is asked for.
pub(super) struct Wanted<'a> {
    pub(super) group: &'a str,
    pub(super) member_id: &'a str,
    pub(super) places: &'a BTreeSet<Place>,
    pub(super) max_records: i32,
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
        Session {
            epoch: BEGINS,
            places: BTreeSet::new(),
            sayings: Sayings::new(),
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
        self.held.remove(&(place, first));
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

    /// Tells what there is to tell and asks for more, unless an answer is awaited or the tool is still busy.
    pub(super) fn ask(&mut self, wanted: &Wanted<'_>) {
        if self.not_before.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.not_before = None;
        let is_idle = wanted.places.is_empty() && self.places.is_empty() && self.sayings.is_empty();
        if self.is_asking || !self.held.is_empty() || is_idle {
            return;
        }
        let request = self.request(wanted);
        self.places.clone_from(wanted.places);
        // A thread that has ended has told why.
        self.is_asking = self.orders.send(Order::Fetch(request)).is_ok();
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
            max_bytes: MAX_BYTES,
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

    /// In the order of their offsets. A session that begins knows of no records, and none can be spoken of.
    fn take_sayings(&mut self) -> Sayings {
        let mut sayings = std::mem::take(&mut self.sayings);
        if self.epoch == BEGINS {
            sayings.clear();
        }
        for stretches in sayings.values_mut() {
            stretches.sort_unstable_by_key(|(first, ..)| *first);
        }
        sayings
    }

    /// The broker has answered. Gives the partitions that it does not lead.
    pub(super) fn on_answer(&mut self, response: &ShareFetchResponse) -> Vec<Place> {
        self.is_asking = false;
        if response.error_code != 0 {
            // Whatever it is, a new session is the remedy.
            (self.epoch, self.not_before) = (BEGINS, Some(Instant::now() + PAUSE));
            return std::mem::take(&mut self.places).into_iter().collect();
        }
        self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        let mut moved = Vec::new();
        for topic in &response.responses {
            for data in &topic.partitions {
                let codes = [data.error_code, data.acknowledge_error_code].map(ErrorCode::from_code);
                if data.error_code != 0 {
                    self.not_before = Some(Instant::now() + PAUSE);
                }
                let elsewhere = |code: &Option<ErrorCode>| {
                    matches!(
                        code,
                        Some(
                            ErrorCode::NotLeaderOrFollower
                                | ErrorCode::FencedLeaderEpoch
                                | ErrorCode::UnknownTopicOrPartition
                                | ErrorCode::UnknownTopicId
                        )
                    )
                };
                if codes.iter().any(elsewhere) {
                    moved.push((topic.topic_id, data.partition_index));
                }
            }
        }
        moved
    }

    /// Tells what is left to tell, gives the rest back, and waits until the broker has heard it.
    pub(super) fn close(mut self, wanted: &Wanted<'_>) {
        if self.epoch != BEGINS && !self.is_asking {
            let mut topics: BTreeMap<Uuid, Vec<AcknowledgePartition>> = BTreeMap::new();
            for ((topic, partition_index), sayings) in self.take_sayings() {
                let batch = |(first_offset, last_offset, word): (i64, i64, Acknowledge)| AcknowledgedBatch {
                    first_offset,
                    last_offset,
                    acknowledge_types: vec![word as i8],
                };
                let acknowledgement_batches = sayings.into_iter().map(batch).collect();
                topics
                    .entry(topic)
                    .or_default()
                    .push(AcknowledgePartition { partition_index, acknowledgement_batches });
            }
            let topics = topics.into_iter().map(|(topic_id, partitions)| AcknowledgeTopic { topic_id, partitions });
            let request = ShareAcknowledgeRequest {
                group_id: Some(wanted.group.to_owned()),
                member_id: Some(wanted.member_id.to_owned()),
                share_session_epoch: ENDS,
                topics: topics.collect(),
                ..ShareAcknowledgeRequest::default()
            };
            // A thread that has ended has lost its broker.
            let _ = self.orders.send(Order::Close(request));
        }
        drop(self.orders);
        // A panic has told itself.
        let _ = self.thread.join();
    }
}
