//! Of which partitions a share group has a state: it has the share coordinator make one for each partition that its members
//! read before anybody is given it, and delete those that nobody wants any more. Sends nothing; says what is to be sent, and
//! is told what became of it.

use super::{Alteration, AlteredTopic, Deletion, Initialize, ShareGroup};
use crate::group::consumer_records::Partitions;
use crate::group::share_records::{NamedPartitions, ShareRecord, StatePartitions};
use crate::group::topics::Topics;
use crate::group::turn::Turn;
use common::time::Millis;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// A start offset that the settings of the group decide on when somebody reads.
const BY_SETTINGS: i64 = -1;

impl ShareGroup {
    /// Partitions that may be given to members.
    pub(in crate::group) fn initialized(&self) -> Partitions {
        let topics = self.states.iter().flat_map(|states| &states.initialized);
        topics.map(|(id, topic)| (*id, topic.partitions.clone())).collect()
    }

    /// True if a state was made of a partition that somebody reads and nobody has.
    pub(super) fn has_states_that_nobody_has(&self, subscribed: &BTreeSet<&str>, turn: &Turn<'_>) -> bool {
        let Some(states) = &self.states else { return false };
        let mut given: BTreeMap<&Uuid, BTreeSet<i32>> = BTreeMap::new();
        for (topic, numbers) in self.target.values().flatten() {
            given.entry(topic).or_default().extend(numbers);
        }
        states.initialized.iter().any(|(id, topic)| {
            let is_read = subscribed.contains(topic.name.as_str())
                && turn.topics.topic(&topic.name).is_some_and(|shape| shape.id == *id);
            is_read && given.get(id) != Some(&topic.partitions)
        })
    }

    /// True if states of partitions of these topics are still to come.
    pub(super) fn waits_for_states(&self, topics: &BTreeSet<String>, turn: &Turn<'_>) -> bool {
        topics.iter().filter_map(|name| turn.topics.topic(name)).any(|shape| {
            let made = self.states.as_ref().and_then(|states| states.initialized.get(&shape.id));
            let count = made.map_or(0, |topic| topic.partitions.len());
            i32::try_from(count).is_ok_and(|count| count < shape.partitions)
        })
    }

    /// The partitions that are read and of which no state was asked for, or for too long, and the record of asking.
    pub(super) fn states_to_make(
        &self,
        subscribed: &BTreeSet<&str>,
        turn: &Turn<'_>,
    ) -> (Option<ShareRecord>, Vec<(Uuid, i32, i64)>) {
        let none = StatePartitions::default();
        let states = self.states.as_ref().unwrap_or(&none);
        let patience_ms = turn.settings.share_initialize_retry_ms;
        let mut wanted: BTreeMap<Uuid, NamedPartitions> = BTreeMap::new();
        for name in subscribed {
            let Some(shape) = turn.topics.topic(name) else { continue };
            let is_asked = self.told_at.get(&shape.id).is_some_and(|at| turn.now.mono < *at + patience_ms);
            let asked = states.initializing.get(&shape.id).filter(|_| is_asked);
            let known = [states.initialized.get(&shape.id), asked].into_iter().flatten();
            let known: BTreeSet<i32> = known.flat_map(|topic| &topic.partitions).copied().collect();
            let partitions: BTreeSet<i32> = (0..shape.partitions).filter(|number| !known.contains(number)).collect();
            if !partitions.is_empty() {
                wanted.insert(shape.id, NamedPartitions { name: (*name).to_owned(), partitions });
            }
        }
        if wanted.is_empty() {
            return (None, Vec::new());
        }
        let of_topic = |(id, topic): (&Uuid, &NamedPartitions)| {
            topic.partitions.iter().map(|number| (*id, *number, BY_SETTINGS)).collect::<Vec<_>>()
        };
        let partitions = wanted.iter().flat_map(of_topic).collect();
        (Some(self.with_initializing(wanted)), partitions)
    }

    fn with_initializing(&self, wanted: BTreeMap<Uuid, NamedPartitions>) -> ShareRecord {
        let mut states = self.states.clone().unwrap_or_default();
        for (id, topic) in wanted {
            states.deleting.remove(&id);
            let initializing = states.initializing.entry(id).or_default();
            initializing.name = topic.name;
            initializing.partitions.extend(topic.partitions);
        }
        ShareRecord::States(Some(states))
    }

    /// The share coordinator has made states, or has not; `None` if that changes nothing.
    pub(in crate::group) fn on_states_made(
        &mut self,
        results: &[(Uuid, i32, bool)],
        topics: &dyn Topics,
    ) -> Option<ShareRecord> {
        let before = self.states.clone().unwrap_or_default();
        let mut states = before.clone();
        for (id, number, is_made) in results {
            let asked = states.initializing.get_mut(id);
            let name = asked.as_ref().map(|topic| topic.name.clone()).or_else(|| topics.name(*id));
            if let Some(asked) = asked {
                asked.partitions.remove(number);
            }
            // Of a topic that is gone nothing is kept.
            let is_there = name.as_ref().is_some_and(|name| topics.topic(name).is_some_and(|shape| shape.id == *id));
            match name {
                Some(name) if *is_made && is_there => {
                    let made = states.initialized.entry(*id).or_default();
                    made.name = name;
                    made.partitions.insert(*number);
                }
                // Asked for again by the next heartbeat.
                _ => {
                    self.told_at.remove(id);
                }
            }
        }
        states.initializing.retain(|_, topic| !topic.partitions.is_empty());
        (states != before).then_some(ShareRecord::States(Some(states)))
    }

    /// The share coordinator is being told to make states of these topics.
    pub(in crate::group) fn on_told(&mut self, topics: impl Iterator<Item = Uuid>, now: Millis) {
        self.told_at.extend(topics.map(|topic| (topic, now)));
    }

    /// AlterShareGroupOffsets of an empty group.
    pub(in crate::group) fn alter(
        &self,
        wanted: Vec<(String, Vec<(i32, i64)>)>,
        topics: &dyn Topics,
    ) -> (Option<ShareRecord>, Alteration) {
        let mut alteration =
            Alteration { topics: Vec::new(), initialize: Initialize { epoch: self.epoch, partitions: Vec::new() } };
        let mut initializing: BTreeMap<Uuid, NamedPartitions> = BTreeMap::new();
        for (name, partitions) in wanted {
            let shape = topics.topic(&name);
            let is_known = |number: i32| shape.is_some_and(|shape| (0..shape.partitions).contains(&number));
            let id = shape.map_or(Uuid::nil(), |shape| shape.id);
            for (number, offset) in partitions.iter().filter(|(number, _)| is_known(*number)) {
                alteration.initialize.partitions.push((id, *number, *offset));
                let topic = initializing.entry(id).or_default();
                topic.name.clone_from(&name);
                topic.partitions.insert(*number);
            }
            let partitions = partitions.iter().map(|(number, _)| (*number, is_known(*number))).collect();
            alteration.topics.push(AlteredTopic { name, id, partitions });
        }
        let record = (!initializing.is_empty()).then(|| self.with_initializing(initializing));
        (record, alteration)
    }

    /// DeleteShareGroupOffsets of an empty group. A topic whose deletion was not heard of is deleted again.
    pub(in crate::group) fn delete_offsets(
        &self,
        wanted: Vec<String>,
        topics: &dyn Topics,
    ) -> (Option<ShareRecord>, Deletion) {
        let mut deletion = Deletion { missing: Vec::new(), stateless: Vec::new(), topics: Vec::new() };
        let Some(mut states) = self.states.clone() else {
            // Kafka says nothing of any topic then.
            return (None, deletion);
        };
        let before = states.clone();
        for name in wanted {
            let Some(shape) = topics.topic(&name) else {
                deletion.missing.push(name);
                continue;
            };
            let partitions = match states.initialized.remove(&shape.id) {
                Some(topic) => topic.partitions.into_iter().collect(),
                None if states.deleting.contains_key(&shape.id) => (0..shape.partitions).collect(),
                None => {
                    deletion.stateless.push(name);
                    continue;
                }
            };
            states.deleting.insert(shape.id, name.clone());
            deletion.topics.push((shape.id, name, partitions));
        }
        ((states != before).then_some(ShareRecord::States(Some(states))), deletion)
    }

    /// The share coordinator has deleted the states of these topics.
    pub(in crate::group) fn on_deleted(&self, topics: &BTreeSet<Uuid>) -> Option<ShareRecord> {
        let before = self.states.as_ref()?;
        let mut states = before.clone();
        states.deleting.retain(|id, _| !topics.contains(id));
        (states != *before).then_some(ShareRecord::States(Some(states)))
    }

    /// The group shall end: every state of it is to be deleted first.
    pub(in crate::group) fn delete_all(&self, topics: &dyn Topics) -> (Option<ShareRecord>, Vec<(Uuid, i32)>) {
        let Some(states) = &self.states else { return (None, Vec::new()) };
        let mut deleted: BTreeMap<Uuid, NamedPartitions> = BTreeMap::new();
        for (id, topic) in states.initialized.iter().chain(&states.initializing) {
            let all = deleted.entry(*id).or_default();
            all.name.clone_from(&topic.name);
            all.partitions.extend(&topic.partitions);
        }
        for (id, name) in &states.deleting {
            let Some(shape) = topics.topic(name).filter(|shape| shape.id == *id) else { continue };
            let all = deleted.entry(*id).or_default();
            all.name.clone_from(name);
            all.partitions.extend(0..shape.partitions);
        }
        let deleting = deleted.iter().map(|(id, topic)| (*id, topic.name.clone())).collect();
        let record = ShareRecord::States(Some(StatePartitions { deleting, ..StatePartitions::default() }));
        let of_topic = |(id, topic): (&Uuid, &NamedPartitions)| {
            topic.partitions.iter().map(|number| (*id, *number)).collect::<Vec<_>>()
        };
        (Some(record), deleted.iter().flat_map(of_topic).collect())
    }

    /// Topics were made, changed or deleted: the next heartbeat looks at them, and of those that are gone nothing is kept.
    /// Gives the record of that, and whose states are to be deleted.
    pub(in crate::group) fn on_topics_changed(
        &mut self,
        changed: &BTreeSet<&str>,
        topics: &dyn Topics,
    ) -> (Option<ShareRecord>, Vec<(Uuid, i32)>) {
        self.is_stale |= self.subscribed_topics().iter().any(|topic| changed.contains(topic));
        let Some(before) = &self.states else { return (None, Vec::new()) };
        // Named in the change, so that one is not taken for gone of which this broker has not heard yet.
        let is_gone =
            |id: &Uuid, name: &str| changed.contains(name) && topics.topic(name).is_none_or(|shape| shape.id != *id);
        let mut states = before.clone();
        let mut gone = Vec::new();
        for of in [&mut states.initializing, &mut states.initialized] {
            for (id, topic) in of.extract_if(.., |id, topic| is_gone(id, &topic.name)) {
                gone.extend(topic.partitions.into_iter().map(|number| (id, number)));
            }
        }
        states.deleting.retain(|id, name| !is_gone(id, name));
        ((states != *before).then_some(ShareRecord::States(Some(states))), gone)
    }
}
