//! Brokers whose connection just broke or that just left, and clients' questions for metadata that wait for the outcome. A client that loses a
//! leader asks another broker within a millisecond, before anybody can have elected the next one; told the old leader it
//! would believe that and ask again only after a second (librdkafka). So it is answered when the news is here, or when
//! waiting for news was in vain. Decides nothing about who is alive.

use crate::cluster::image::{BrokerImage, Image};
use common::id::BrokerId;
use common::time::{Millis, Now};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How long a question for named topics waits at least: a broken connection is noticed within that.
const GRACE_MS: u64 = 10;
/// How long it waits at most for another leader.
const HOLD_MS: u64 = 400;

/// How long clients are still told of a broker that left: until they have taken its partitions to the next leaders.
/// librdkafka 2.10 and later lets go of a broker that it is not told of any more; where that is told together with the
/// next leader, it may give the partition's records to nobody, and looks for the leader anew only after a second. Apache
/// Kafka tells of the dead for as long as their sessions live.
const DEPARTED_MS: u64 = 10_000;

/// Answers a question, from what the image says then.
pub(crate) type Answer = Box<dyn FnOnce(Now) + Send>;

struct Question {
    topics: Vec<String>,
    not_before: Millis,
    deadline: Millis,
    answer: Answer,
}

#[derive(Default)]
struct State {
    broken_at: BTreeMap<BrokerId, Millis>,
    departed: BTreeMap<BrokerId, (Arc<BrokerImage>, Millis)>,
    waiting: Vec<Question>,
}

/// See the file's first lines.
#[derive(Default)]
pub(crate) struct Suspects {
    state: Mutex<State>,
}

impl Suspects {
    /// The connection to a broker broke.
    pub(crate) fn suspect(&self, broker: BrokerId, now: Millis) {
        self.state.lock().broken_at.insert(broker, now);
    }

    /// It was reached again.
    pub(crate) fn clear(&self, broker: BrokerId) {
        self.state.lock().broken_at.remove(&broker);
    }

    /// These brokers are live no longer.
    pub(crate) fn note_departed(&self, brokers: Vec<(BrokerId, Arc<BrokerImage>)>, now: Millis) {
        let mut state = self.state.lock();
        state.departed.retain(|_, (_, at)| now - *at < DEPARTED_MS);
        state.departed.extend(brokers.into_iter().map(|(id, broker)| (id, (broker, now))));
    }

    /// The brokers of an image, and those that left lately, by id.
    pub(crate) fn told_brokers(&self, image: &Image, now: Millis) -> BTreeMap<BrokerId, Arc<BrokerImage>> {
        let state = self.state.lock();
        let lately = state.departed.iter().filter(|(_, (_, at))| now - *at < DEPARTED_MS);
        let departed = lately.map(|(id, (broker, _))| (*id, broker.clone()));
        departed.chain(image.brokers().map(|(id, broker)| (id, broker.clone()))).collect()
    }

    /// Keeps a question; when to look again.
    pub(crate) fn ask(&self, topics: Vec<String>, now: Millis, answer: Answer) -> Millis {
        let (not_before, deadline) = (now + GRACE_MS, now + HOLD_MS);
        self.state.lock().waiting.push(Question { topics, not_before, deadline, answer });
        not_before
    }

    /// The questions that can be answered now.
    pub(crate) fn ready(&self, image: &Image, now: Millis) -> Vec<Answer> {
        let mut guard = self.state.lock();
        let State { broken_at, waiting, .. } = &mut *guard;
        broken_at.retain(|_, at| now - *at < HOLD_MS);
        let is_ready = |question: &mut Question| {
            now >= question.deadline
                || (now >= question.not_before && !is_uncertain(image, &question.topics, broken_at))
        };
        waiting.extract_if(.., is_ready).map(|question| question.answer).collect()
    }

    /// When `ready` may have something to give though no news came.
    pub(crate) fn next_deadline(&self, now: Millis) -> Option<Millis> {
        let state = self.state.lock();
        let at = |question: &Question| if question.not_before > now { question.not_before } else { question.deadline };
        state.waiting.iter().map(at).min()
    }
}

/// Is a leader of these topics perhaps no more?
fn is_uncertain(image: &Image, topics: &[String], broken_at: &BTreeMap<BrokerId, Millis>) -> bool {
    topics.iter().filter_map(|topic| image.topic(topic)).flat_map(|topic| topic.partitions.values()).any(|partition| {
        let leader = BrokerId(partition.leader);
        partition.leader >= 0 && (broken_at.contains_key(&leader) || image.broker(leader).is_none())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::kafka::messages::{
        UpdateMetadataBroker, UpdateMetadataPartitionState, UpdateMetadataRequest, UpdateMetadataTopicState,
    };

    fn told(brokers: &[i32], leader: i32) -> UpdateMetadataRequest {
        let state = UpdateMetadataPartitionState { leader, replicas: vec![1, 2], ..Default::default() };
        UpdateMetadataRequest {
            live_brokers: brokers.iter().map(|&id| UpdateMetadataBroker { id, ..Default::default() }).collect(),
            topic_states: vec![UpdateMetadataTopicState {
                topic_name: "t".into(),
                partition_states: vec![state],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn who_left_is_told_of_for_a_while() {
        let suspects = Suspects::default();
        let mut image = Image::default();
        // Which brokers are live from when on, and of whom clients are told at a moment.
        let cases: [(&[i32], u64, u64, &[i32]); 5] = [
            (&[1, 2], 0, 0, &[1, 2]),
            (&[2], 100, 100, &[1, 2]),
            (&[2], 200, 99 + DEPARTED_MS, &[1, 2]),
            (&[2], 200, 100 + DEPARTED_MS, &[2]),
            (&[1, 2, 3], 300, 400, &[1, 2, 3]),
        ];
        for (live, since, now, expected) in cases {
            let change = image.update(told(live, 1)).unwrap();
            suspects.note_departed(change.brokers_gone, Millis(since));
            let told: Vec<i32> = suspects.told_brokers(&image, Millis(now)).keys().map(|id| id.0).collect();
            assert_eq!(told, expected, "{live:?} since {since}, asked at {now}");
        }
    }

    #[test]
    fn a_question_waits_for_the_next_leader_and_not_for_ever() {
        // What breaks when, what is told when, and when a question of moment 0 is answered.
        type Told<'a> = (u64, &'a [i32], i32);
        let cases: [(Option<u64>, &[Told<'_>], u64); 5] = [
            (None, &[], GRACE_MS),
            (Some(1), &[(10, &[2], 2)], 10),
            (Some(1), &[(5, &[2], 1), (20, &[2], 2)], 20),
            (Some(1), &[], HOLD_MS),
            (None, &[(1, &[2], 1)], HOLD_MS),
        ];
        for (broken, news, expected) in cases {
            let suspects = Suspects::default();
            let mut image = Image::default();
            image.update(told(&[1, 2], 1)).unwrap();
            suspects.ask(vec!["t".into()], Millis(0), Box::new(|_| {}));
            let mut answered = None;
            for moment in 0..=HOLD_MS {
                if broken == Some(moment) {
                    suspects.suspect(BrokerId(1), Millis(moment));
                }
                for (_, brokers, leader) in news.iter().filter(|(at, _, _)| *at == moment) {
                    image.update(told(brokers, *leader)).unwrap();
                }
                if !suspects.ready(&image, Millis(moment)).is_empty() {
                    answered = Some(moment);
                    break;
                }
            }
            assert_eq!(answered, Some(expected), "{broken:?} {news:?}");
            assert_eq!(suspects.next_deadline(Millis(0)), None);
        }
    }
}
