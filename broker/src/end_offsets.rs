//! Where partitions end, also those that other brokers lead: asked of their leaders when somebody wants to know how far groups
//! lag, so that who looks after a group can tell it for all that the group reads. Remembers nothing.

use crate::broker::Broker;
use crate::group::Place;
use crate::outbox::Channel;
use crate::peers::PeerCall;
use crate::report::EndOffsets;
use common::id::BrokerId;
use common::kafka::messages::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic};
use common::time::Now;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long leaders may take; who scrapes has more patience than that.
const TIMEOUT_MS: u64 = 2_000;
/// The newest ListOffsets of all brokers that may be in a cluster with this one.
const LIST_OFFSETS: i16 = 7;
/// Asks as a consumer, for the end that consumers see.
const CONSUMER: i32 = -1;
/// `ListOffsets` for the end of the log.
const LATEST: i64 = -1;

type Then = Box<dyn FnOnce(EndOffsets) + Send>;

/// What the leaders said so far, and who waits for all of them.
struct Gathering {
    left: usize,
    ends: EndOffsets,
    then: Option<Then>,
}

/// Questions to leaders that are not answered.
#[derive(Default)]
pub(crate) struct EndQuestions(Mutex<Open>);

#[derive(Default)]
struct Open {
    last_number: u64,
    waiting: BTreeMap<u64, Arc<Mutex<Gathering>>>,
}

impl Broker {
    /// Gives the ends of the partitions that groups of this broker have committed and that others lead, as far as these
    /// answer in time. `then` may be called before this returns.
    pub fn ask_ends(self: &Arc<Self>, then: Then, now: Now) {
        self.ask_leaders(self.led_elsewhere(), EndOffsets::new(), then, now);
    }

    /// Gives the ends of these partitions, as far as their leaders answer in time. `then` may be called before this returns.
    pub fn ask_ends_of(self: &Arc<Self>, places: &BTreeSet<Place>, then: Then, now: Now) {
        let mut ends = EndOffsets::new();
        let mut asked: BTreeMap<BrokerId, BTreeSet<Place>> = BTreeMap::new();
        for place in places {
            let leader = self.image.read().partition(&place.0, place.1).map_or(-1, |partition| partition.leader);
            if leader == self.config.broker_id {
                ends.extend(self.replicas.high_watermark(&place.0, place.1).map(|end| (place.clone(), end)));
            } else if leader >= 0 {
                asked.entry(BrokerId(leader)).or_default().insert(place.clone());
            }
        }
        self.ask_leaders(asked, ends, then, now);
    }

    fn ask_leaders(
        self: &Arc<Self>,
        asked: BTreeMap<BrokerId, BTreeSet<Place>>,
        ends: EndOffsets,
        then: Then,
        now: Now,
    ) {
        if asked.is_empty() {
            return then(ends);
        }
        let gathering = Gathering { left: asked.len(), ends, then: Some(then) };
        let gathering = Arc::new(Mutex::new(gathering));
        for (leader, places) in asked {
            let number = {
                let mut open = self.end_questions.0.lock();
                open.last_number += 1;
                let number = open.last_number;
                open.waiting.insert(number, gathering.clone());
                number
            };
            let call = PeerCall::Ends(leader, number);
            let request = (request(&places), LIST_OFFSETS);
            if !self.send((leader, Channel::Figures), call, &request, now.mono + TIMEOUT_MS) {
                self.on_ends(number, None);
            }
        }
    }

    /// What groups of this broker have committed in partitions that other brokers lead, by leader.
    fn led_elsewhere(&self) -> BTreeMap<BrokerId, BTreeSet<Place>> {
        let figures = self.groups.figures();
        let image = self.image.read();
        let mut asked: BTreeMap<BrokerId, BTreeSet<Place>> = BTreeMap::new();
        for (place, _) in figures.into_iter().flat_map(|group| group.offsets) {
            let leader = image.partition(&place.0, place.1).map_or(-1, |partition| partition.leader);
            if leader >= 0 && leader != self.config.broker_id {
                asked.entry(BrokerId(leader)).or_default().insert(place);
            }
        }
        asked
    }

    /// A leader's answer, or none.
    pub(crate) fn on_ends(&self, number: u64, response: Option<ListOffsetsResponse>) {
        let Some(gathering) = self.end_questions.0.lock().waiting.remove(&number) else { return };
        let mut gathering = gathering.lock();
        gathering.left -= 1;
        for topic in response.into_iter().flat_map(|response| response.topics) {
            let told = topic.partitions.iter().filter(|partition| partition.error_code == 0 && partition.offset >= 0);
            let told = told.map(|partition| ((topic.name.clone(), partition.partition_index), partition.offset));
            gathering.ends.extend(told);
        }
        if gathering.left > 0 {
            return;
        }
        let ends = std::mem::take(&mut gathering.ends);
        let then = gathering.then.take();
        drop(gathering);
        if let Some(then) = then {
            then(ends);
        }
    }
}

fn request(places: &BTreeSet<Place>) -> ListOffsetsRequest {
    let mut topics: Vec<ListOffsetsTopic> = Vec::new();
    for (name, partition) in places {
        if topics.last().is_none_or(|last| last.name != *name) {
            topics.push(ListOffsetsTopic { name: name.clone(), ..ListOffsetsTopic::default() });
        }
        let Some(last) = topics.last_mut() else { continue };
        let partition_index = *partition;
        last.partitions.push(ListOffsetsPartition {
            partition_index,
            current_leader_epoch: -1,
            timestamp: LATEST,
            ..ListOffsetsPartition::default()
        });
    }
    ListOffsetsRequest { replica_id: CONSUMER, topics, ..ListOffsetsRequest::default() }
}
