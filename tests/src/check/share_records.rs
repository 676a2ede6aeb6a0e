//! Share groups: a record is one member's at a time as long as one broker leads, what was accepted or rejected is never
//! delivered again, the start never goes back, and in the end every record was delivered and somebody was done with it.

use super::brokers;
use crate::sim::history::{CommitOutcome, History, ShareAck, ShareDelivery, ShareWord};
use crate::sim::world::{Micros, World};
use common::id::TopicPartition;
use std::collections::{BTreeMap, BTreeSet};

/// Clocks do not run alike: of a lock so much surely has passed, in percent.
const SURE_PERCENT: u64 = 80;

/// How long a broker was seen to lead a partition, life and leader epoch being the same all the while.
#[derive(Clone, Copy, Debug)]
struct Term {
    broker: i32,
    life: u32,
    epoch: i32,
    from: Micros,
    to: Micros,
}

/// Who led what, as far as was seen.
#[derive(Debug, Default)]
pub struct Terms(BTreeMap<TopicPartition, Vec<Term>>);

impl Terms {
    /// Looks at the leaders of these partitions.
    pub fn look(&mut self, world: &World, partitions: impl Iterator<Item = TopicPartition>) {
        let partitions: Vec<TopicPartition> = partitions.collect();
        for (host, process) in brokers(world) {
            let (broker, life, now) = (process.broker.config.broker_id, world.machine(host).life, world.core.now());
            for partition in &partitions {
                let epoch = process.broker.replicas.leader_epoch_if_leader(&partition.topic, partition.partition);
                if let Some(epoch) = epoch {
                    self.leads(partition, Term { broker, life, epoch, from: now, to: now });
                }
            }
        }
    }

    fn leads(&mut self, partition: &TopicPartition, seen: Term) {
        let terms = self.0.entry(partition.clone()).or_default();
        let same = |term: &&mut Term| (term.broker, term.life, term.epoch) == (seen.broker, seen.life, seen.epoch);
        match terms.iter_mut().find(same) {
            Some(term) => term.to = seen.to,
            None => terms.push(seen),
        }
    }

    fn is_one(&self, partition: &TopicPartition, broker: i32, from: Micros, to: Micros) -> bool {
        let holds = |term: &Term| term.broker == broker && term.from <= from && to <= term.to;
        self.0.get(partition).is_some_and(|terms| terms.iter().any(holds))
    }
}

impl Terms {
    /// Another broker led by then, and this one had not heard of it: it hands out what it knew, and what its members say of
    /// that is refused. Kafka's former leaders do the same; locks are not written down.
    fn is_superseded(&self, partition: &TopicPartition, broker: i32, at: Micros) -> bool {
        let seen = self.0.get(partition).into_iter().flatten().filter(|term| term.from <= at);
        let newest = seen.clone().filter(|term| term.broker == broker).map(|term| term.epoch).max();
        newest.is_some_and(|newest| seen.clone().any(|term| term.epoch > newest))
    }
}

/// Looks at all that was noted. `ends` is where each partition ends, if the group has come to the end.
pub fn check(history: &History, terms: &Terms, ends: Option<&BTreeMap<TopicPartition, i64>>) -> Result<(), String> {
    let mut partitions: BTreeMap<&TopicPartition, (Vec<&ShareDelivery>, Vec<&ShareAck>)> = BTreeMap::new();
    for delivery in &history.share_deliveries {
        partitions.entry(&delivery.partition).or_default().0.push(delivery);
    }
    for ack in history.share_acks.iter().filter(|ack| ack.asked != Micros::MAX) {
        partitions.entry(&ack.partition).or_default().1.push(ack);
    }
    for (partition, (deliveries, acks)) in &partitions {
        delivered_after_done(terms, partition, deliveries, acks)?;
        locked_twice((history, terms), partition, deliveries, acks)?;
        if let Some(end) = ends.and_then(|ends| ends.get(*partition)) {
            left_out(partition, *end, deliveries, acks)?;
        }
    }
    starts(history)
}

/// What it was done with when this was asked cannot be delivered by the leader.
fn delivered_after_done(
    terms: &Terms,
    partition: &TopicPartition,
    deliveries: &[&ShareDelivery],
    acks: &[&ShareAck],
) -> Result<(), String> {
    let is_final = |ack: &&&ShareAck| ack.outcome == CommitOutcome::Done && ack.word != ShareWord::Release;
    let mut done: BTreeMap<i64, &ShareAck> = BTreeMap::new();
    for ack in acks.iter().filter(is_final) {
        for offset in ack.first..=ack.last {
            // Who says it later, of what is before the start by then, is heard and changes nothing, as in Kafka.
            let first = done.entry(offset).or_insert(ack);
            if ack.answered < first.answered {
                *first = ack;
            }
        }
    }
    for delivery in deliveries {
        if terms.is_superseded(partition, delivery.broker, delivery.answered) {
            continue;
        }
        for (offset, ack) in done.range(delivery.first..=delivery.last) {
            if ack.answered.is_some_and(|answered| answered < delivery.asked) {
                return Err(format!(
                    "shared {partition} offset {offset} was delivered after it was done with: {delivery:?}, {ack:?}"
                ));
            }
        }
    }
    Ok(())
}

/// Two members have a record within the time of one lock, though nobody gave it back.
fn locked_twice(
    (history, terms): (&History, &Terms),
    partition: &TopicPartition,
    deliveries: &[&ShareDelivery],
    acks: &[&ShareAck],
) -> Result<(), String> {
    let mut by_offset: BTreeMap<i64, Vec<&ShareDelivery>> = BTreeMap::new();
    for delivery in deliveries {
        (delivery.first..=delivery.last).for_each(|offset| by_offset.entry(offset).or_default().push(delivery));
    }
    for (offset, deliveries) in by_offset {
        for pair in deliveries.windows(2) {
            let (one, other) = (pair[0], pair[1]);
            let (from, to) = (one.asked.min(other.asked), one.answered.max(other.answered));
            let sure = one.lock_ms.min(other.lock_ms) * 1000 * SURE_PERCENT / 100;
            if one.broker != other.broker || to - from >= sure || !terms.is_one(partition, one.broker, from, to) {
                continue;
            }
            let gave_back = |who: &ShareDelivery| {
                let said = acks.iter().any(|ack| {
                    ack.member == who.member && ack.asked <= to && ack.first <= offset && offset <= ack.last
                        // Of an earlier delivery to the same member.
                        && ack.answered.is_none_or(|answered| answered >= from)
                });
                said || history.share_ends.iter().any(|(member, at)| *member == who.member && *at <= to)
            };
            let is_first_known = one.answered < other.asked;
            if !gave_back(one) && (is_first_known || !gave_back(other)) {
                return Err(format!("shared {partition} offset {offset} is locked twice: {one:?} and {other:?}"));
            }
        }
    }
    Ok(())
}

fn left_out(
    partition: &TopicPartition,
    end: i64,
    deliveries: &[&ShareDelivery],
    acks: &[&ShareAck],
) -> Result<(), String> {
    let delivered: BTreeSet<i64> = deliveries.iter().flat_map(|one| one.first..=one.last).collect();
    let may_be_done = |ack: &&&ShareAck| ack.outcome != CommitOutcome::Refused && ack.word != ShareWord::Release;
    let done: BTreeSet<i64> = acks.iter().filter(may_be_done).flat_map(|ack| ack.first..=ack.last).collect();
    for offset in 0..end {
        if !delivered.contains(&offset) {
            return Err(format!("shared {partition} offset {offset} was never delivered"));
        }
        // What was delivered as often as allowed is nobody's business any more.
        let is_worn = || deliveries.iter().any(|one| one.first <= offset && offset <= one.last && one.count >= 10);
        if !done.contains(&offset) && !is_worn() {
            return Err(format!("shared {partition} offset {offset} is done with, and nobody said so"));
        }
    }
    Ok(())
}

fn starts(history: &History) -> Result<(), String> {
    let mut seen: BTreeMap<&TopicPartition, Vec<(Micros, Micros, i64)>> = BTreeMap::new();
    for one in &history.share_starts {
        let before = seen.entry(&one.partition).or_default();
        let later = before.iter().find(|(_, answered, offset)| *answered < one.asked && *offset > one.offset);
        if let Some((.., offset)) = later {
            return Err(format!("shared {}: the start was {offset} and is {}", one.partition, one.offset));
        }
        before.push((one.asked, one.answered, one.offset));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::history::OffsetSeen;

    fn partition() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    /// `member first-last asked-answered`.
    fn delivery(text: &str) -> ShareDelivery {
        let words: Vec<&str> = text.split_whitespace().collect();
        let pair = |word: &str| -> (u64, u64) {
            let (a, b) = word.split_once('-').unwrap();
            (a.parse().unwrap(), b.parse().unwrap())
        };
        let ((first, last), (asked, answered)) = (pair(words[1]), pair(words[2]));
        let member = words[0].to_owned();
        ShareDelivery {
            member,
            broker: 1,
            partition: partition(),
            first: first as i64,
            last: last as i64,
            count: 1,
            asked: asked * 1000,
            answered: answered * 1000,
            lock_ms: 1000,
        }
    }

    /// As a delivery, with a word behind.
    fn ack(text: &str) -> ShareAck {
        let ShareDelivery { member, first, last, asked, answered, .. } = delivery(text);
        let (word, outcome) = match text.split_whitespace().nth(3).unwrap() {
            "accept" => (ShareWord::Accept, CommitOutcome::Done),
            "accept?" => (ShareWord::Accept, CommitOutcome::Unknown),
            "release" => (ShareWord::Release, CommitOutcome::Done),
            word => panic!("{word}"),
        };
        ShareAck { member, partition: partition(), first, last, word, asked, answered: Some(answered), outcome }
    }

    #[test]
    fn what_goes_wrong_with_shared_records_is_found() {
        let cases: &[(&[&str], &[&str], i64, &str)] = &[
            (&["a 0-9 0-10"], &["a 0-9 20-30 accept"], 10, ""),
            (&["a 0-9 0-10"], &["a 0-9 20-30 accept?"], 10, ""),
            (&["a 0-9 0-10"], &["a 0-8 20-30 accept"], 10, "nobody said so"),
            (&["a 0-9 0-10"], &["a 0-9 20-30 accept"], 11, "never delivered"),
            (&["a 0-9 0-10", "b 0-9 20-30"], &[], 0, "locked twice"),
            (&["a 0-9 0-10", "b 0-9 1000-1010"], &[], 0, ""),
            (&["a 0-9 0-10", "b 0-9 20-30"], &["a 0-9 15-18 release"], 0, ""),
            (&["a 0-9 0-10", "b 0-9 20-30"], &["a 0-8 15-18 release"], 0, "locked twice"),
            (&["a 0-9 0-10", "b 0-9 20-30"], &["b 0-9 25-28 release"], 0, "locked twice"),
            (&["a 0-9 0-10", "b 9-9 5-30"], &["b 9-9 25-28 release"], 0, ""),
            (&["a 0-9 0-10", "b 5-5 2000-2010"], &["a 0-9 15-18 accept"], 0, "after it was done"),
            (&["a 0-9 0-10", "b 5-5 2000-2010"], &["a 0-9 15-18 accept?"], 0, ""),
            (
                &["a 0-9 0-10", "b 5-5 2000-2010"],
                &["b 0-9 2020-2030 accept", "a 0-9 15-18 accept"],
                0,
                "after it was done",
            ),
        ];
        for (deliveries, acks, end, expected) in cases {
            let mut terms = Terms::default();
            terms.leads(&partition(), Term { broker: 1, life: 1, epoch: 1, from: 0, to: 0 });
            terms.leads(&partition(), Term { broker: 1, life: 1, epoch: 1, from: 0, to: 9_000_000 });
            let history = History {
                share_deliveries: deliveries.iter().map(|text| delivery(text)).collect(),
                share_acks: acks.iter().map(|text| ack(text)).collect(),
                ..History::default()
            };
            let ends = BTreeMap::from([(partition(), *end)]);
            let came = check(&history, &terms, Some(&ends)).err().unwrap_or_default();
            let is_right = if expected.is_empty() { came.is_empty() } else { came.contains(expected) };
            assert!(is_right, "{deliveries:?} {acks:?}: {came}");
        }
        let seen = |asked, answered, offset| OffsetSeen { partition: partition(), offset, asked, answered };
        for (offsets, is_right) in [([seen(0, 1, 5), seen(2, 3, 5)], true), ([seen(0, 1, 5), seen(2, 3, 4)], false)] {
            let history = History { share_starts: offsets.to_vec(), ..History::default() };
            assert_eq!(check(&history, &Terms::default(), None).is_ok(), is_right);
        }
    }

    #[test]
    fn who_led_until_lately_may_hand_out_what_is_done() {
        for (since, is_right) in [(1_000_000, true), (3_000_000, false)] {
            let mut terms = Terms::default();
            terms.leads(&partition(), Term { broker: 1, life: 1, epoch: 1, from: 0, to: 9_000_000 });
            terms.leads(&partition(), Term { broker: 2, life: 1, epoch: 2, from: since, to: 9_000_000 });
            let history = History {
                share_deliveries: vec![delivery("a 0-9 0-10"), delivery("b 5-5 2000-2010")],
                share_acks: vec![ack("a 0-9 15-18 accept")],
                ..History::default()
            };
            assert_eq!(check(&history, &terms, None).is_ok(), is_right, "another leads since {since}");
        }
    }
}
