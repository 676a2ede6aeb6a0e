//! The one request of a member: it joins, keeps its place, says what it reads, and leaves; the answer says what it has.
//! Decides first, and changes the group only by the records that came of it.

use super::{
    Initialize, JOINS, LEAVES, Member, ShareGroup, ShareHeartbeatInput, ShareHeartbeatOutput, ShareHeartbeatResult,
    session_ms,
};
use crate::group::GroupError;
use crate::group::assignor::{MemberSpec, simple};
use crate::group::consumer_group::{Refusal, of_member};
use crate::group::consumer_records::{MemberState, Partitions};
use crate::group::share_records::{ShareCurrentValue, ShareEpochValue, ShareMemberValue, ShareRecord};
use crate::group::turn::{StoreError, Turn, Waiter};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use tracing::{debug, info};
use uuid::Uuid;

/// While states are being made, members come back after this: what they wait for takes milliseconds.
const INITIALIZING_INTERVAL_MS: i32 = 500;

/// What a heartbeat does.
struct Decision {
    records: Vec<ShareRecord>,
    output: ShareHeartbeatOutput,
}

impl ShareGroup {
    /// One heartbeat.
    pub(in crate::group) fn heartbeat(
        &mut self,
        input: &ShareHeartbeatInput,
        waiter: Waiter<ShareHeartbeatResult>,
        turn: &mut Turn<'_>,
    ) {
        let decided = match input.epoch {
            LEAVES => self.decide_to_leave(input, turn),
            _ => self.decide(input, turn),
        };
        let Decision { records, output } = match decided {
            Ok(decision) => decision,
            Err(refusal) => return turn.answer(waiter, Err(refusal)),
        };
        // Whether or not the records can be written: the member is alive.
        let session_ends = turn.now.mono + session_ms(&self.id, turn.settings);
        let (told, epoch) = (output.initialize.partitions.clone(), output.initialize.epoch);
        let is_rebalance = records.iter().any(|record| matches!(record, ShareRecord::Epoch(_)));
        // The waiter is wanted twice, but only one of the two gets it.
        let waiter = std::sync::Arc::new(parking_lot::Mutex::new(Some(waiter)));
        let on_recorded = waiter.clone();
        let then: Waiter<Result<(), StoreError>> = Box::new(move |result| {
            if let Some(waiter) = on_recorded.lock().take() {
                waiter(result.map(|()| output).map_err(|error| of_member(error).into()));
            }
        });
        match self.record(records, then, turn) {
            Ok(()) => {
                if is_rebalance {
                    info!(group = self.id, epoch = self.epoch, members = self.members.len(), "group epoch begins");
                }
                // Whoever finds it so has looked at them.
                self.is_stale = false;
                if !told.is_empty() {
                    debug!(group = self.id, epoch, partitions = told.len(), "states are to be made");
                }
                self.on_told(told.into_iter().map(|(topic, ..)| topic), turn.now.mono);
            }
            Err(error) => {
                let refusal: Refusal = of_member(error).into();
                if let Some(waiter) = waiter.lock().take() {
                    turn.answer(waiter, Err(refusal));
                }
            }
        }
        if let Some(member) = self.members.get_mut(&input.member_id) {
            member.session_ends = Some(session_ends);
        }
    }

    fn decide(&self, input: &ShareHeartbeatInput, turn: &Turn<'_>) -> Result<Decision, Refusal> {
        let id = &input.member_id;
        self.check_room(id, turn)?;
        let before = self.subject(input)?;
        let mut subscription = before.subscription.clone();
        update(&mut subscription, input);
        let mut records = Vec::new();
        if subscription != before.subscription {
            records.push(ShareRecord::Member(id.clone(), Some(subscription.clone())));
        }
        let mut subscribed = self.subscribed_topics();
        if subscription.topics != before.subscription.topics {
            let others = self.members.iter().filter(|(other, _)| *other != id);
            subscribed = others.flat_map(|(_, member)| &member.subscription.topics).map(String::as_str).collect();
        }
        subscribed.extend(subscription.topics.iter().map(String::as_str));
        let mut is_new_epoch = self.epoch == 0 || subscription.topics != before.subscription.topics;
        is_new_epoch |= self.target_epoch >= self.epoch && self.has_states_that_nobody_has(&subscribed, turn);
        let mut epoch = self.epoch;
        if is_new_epoch || self.is_stale {
            let metadata_hash = hash_of(&subscribed, turn);
            is_new_epoch |= metadata_hash != self.metadata_hash;
            if is_new_epoch {
                epoch += 1;
                records.push(ShareRecord::Epoch(Some(ShareEpochValue { epoch, metadata_hash })));
            }
        }
        let (target_epoch, target) = if epoch > self.target_epoch {
            (epoch, self.new_target((id, &subscription), epoch, turn, &mut records))
        } else {
            (self.target_epoch, self.target.get(id).cloned().unwrap_or_default())
        };
        let mut current = before.current.clone();
        if is_new_epoch || current.epoch != target_epoch {
            if current.epoch != target_epoch {
                (current.epoch, current.previous_epoch) = (target_epoch, current.epoch);
            }
            (current.state, current.assigned) = (MemberState::Stable, readable(&target, &subscription, turn));
        }
        if current != before.current {
            debug!(group = self.id, member = id, epoch = current.epoch, "member moves on");
            records.push(ShareRecord::Current(id.clone(), Some(current.clone())));
        }
        let (states, partitions) = self.states_to_make(&subscribed, turn);
        records.extend(states);
        let waits = !partitions.is_empty() || self.waits_for_states(&subscription.topics, turn);
        let interval_ms = turn.settings.configs.get(&self.id).share_heartbeat_interval_ms;
        let is_full = input.epoch == JOINS || input.topics.is_some();
        let assignment = (is_full || current.assigned != before.current.assigned).then(|| current.assigned.clone());
        let output = ShareHeartbeatOutput {
            member_id: id.clone(),
            epoch: current.epoch,
            interval_ms: if waits { interval_ms.min(INITIALIZING_INTERVAL_MS) } else { interval_ms },
            assignment,
            initialize: Initialize { epoch, partitions },
        };
        Ok(Decision { records, output })
    }

    fn check_room(&self, member_id: &str, turn: &Turn<'_>) -> Result<(), Refusal> {
        let most = turn.settings.share_max_size;
        if self.members.len() < most || self.members.contains_key(member_id) {
            return Ok(());
        }
        let text = format!("The share group has reached its maximum capacity of {most} members.");
        Err(GroupError::GroupFull.because(text))
    }

    /// The member as it was.
    fn subject(&self, input: &ShareHeartbeatInput) -> Result<Cow<'_, Member>, Refusal> {
        let id = &input.member_id;
        let joins = input.epoch == JOINS;
        let member = match self.members.get(id) {
            Some(member) => {
                check_epoch(member, input.epoch)?;
                Cow::Borrowed(member)
            }
            None if joins => {
                let current = ShareCurrentValue { previous_epoch: -1, ..ShareCurrentValue::default() };
                Cow::Owned(Member { current, ..Member::default() })
            }
            None => return Err(self.unknown(id)),
        };
        if joins {
            info!(group = self.id, member = id, "member joins");
        }
        Ok(member)
    }

    fn unknown(&self, id: &str) -> Refusal {
        GroupError::UnknownMember.because(format!("Member {id} is not a member of group {}.", self.id))
    }

    /// Computes a target for an epoch and records where it differs; the subject's part of it.
    fn new_target(
        &self,
        (subject, subscription): (&str, &ShareMemberValue),
        epoch: i32,
        turn: &Turn<'_>,
        records: &mut Vec<ShareRecord>,
    ) -> Partitions {
        let none = Partitions::new();
        let mut subscriptions: BTreeMap<&str, &ShareMemberValue> =
            self.members.iter().map(|(id, member)| (id.as_str(), &member.subscription)).collect();
        subscriptions.insert(subject, subscription);
        let target_of = |id: &str| self.target.get(id).unwrap_or(&none);
        let specs = subscriptions.iter().map(|(id, subscription)| {
            let topics = subscription.topics.iter().filter_map(|name| Some(turn.topics.topic(name)?.id)).collect();
            (*id, MemberSpec { instance_id: None, topics, target: target_of(id) })
        });
        let mut assigned = simple::assign(&specs.collect(), &self.initialized());
        debug!(group = self.id, epoch, "a new target is computed");
        for id in subscriptions.keys() {
            let of_member = assigned.get(*id).unwrap_or(&none);
            if self.target.get(*id) != Some(of_member) {
                records.push(ShareRecord::Target((*id).to_owned(), Some(of_member.clone())));
            }
        }
        records.push(ShareRecord::TargetEpoch(Some(epoch)));
        assigned.remove(subject).unwrap_or_default()
    }

    // ---- leaving

    fn decide_to_leave(&self, input: &ShareHeartbeatInput, turn: &Turn<'_>) -> Result<Decision, Refusal> {
        let id = &input.member_id;
        if !self.members.contains_key(id) {
            return Err(self.unknown(id));
        }
        info!(group = self.id, member = id, "member leaves");
        let output = ShareHeartbeatOutput {
            member_id: id.clone(),
            epoch: input.epoch,
            interval_ms: 0,
            assignment: None,
            initialize: Initialize::default(),
        };
        Ok(Decision { records: self.removal(std::slice::from_ref(id), turn), output })
    }

    /// The records by which members go, together. The next heartbeat of whoever is left finds the epoch changed.
    pub(super) fn removal(&self, ids: &[String], turn: &Turn<'_>) -> Vec<ShareRecord> {
        let removed = |id: &String| {
            [
                ShareRecord::Current(id.clone(), None),
                ShareRecord::Target(id.clone(), None),
                ShareRecord::Member(id.clone(), None),
            ]
        };
        let mut records: Vec<ShareRecord> = ids.iter().flat_map(removed).collect();
        let left = self.members.iter().filter(|(id, _)| !ids.contains(id));
        let subscribed = left.flat_map(|(_, member)| &member.subscription.topics).map(String::as_str).collect();
        let value = ShareEpochValue { epoch: self.epoch + 1, metadata_hash: hash_of(&subscribed, turn) };
        records.push(ShareRecord::Epoch(Some(value)));
        records
    }
}

fn update(subscription: &mut ShareMemberValue, input: &ShareHeartbeatInput) {
    if input.rack_id.is_some() {
        subscription.rack_id.clone_from(&input.rack_id);
    }
    if let Some(topics) = &input.topics {
        subscription.topics.clone_from(topics);
    }
    subscription.client_id.clone_from(&input.client_id);
    subscription.client_host.clone_from(&input.client_host);
}

/// Of a target, what the member reads.
fn readable(target: &Partitions, subscription: &ShareMemberValue, turn: &Turn<'_>) -> Partitions {
    let read: BTreeSet<Uuid> =
        subscription.topics.iter().filter_map(|name| Some(turn.topics.topic(name)?.id)).collect();
    target.iter().filter(|(topic, _)| read.contains(topic)).map(|(topic, numbers)| (*topic, numbers.clone())).collect()
}

/// A member one epoch behind may not have heard of the new one.
fn check_epoch(member: &Member, sent: i32) -> Result<(), Refusal> {
    let (known, previous) = (member.current.epoch, member.current.previous_epoch);
    if sent == JOINS || sent == known || (sent < known && sent == previous) {
        return Ok(());
    }
    let (compared, not_previous) = match sent > known {
        true => ("greater", String::new()),
        false => ("smaller", format!(", and it does not match the previous member epoch ({previous})")),
    };
    let text = format!(
        "The share group member has a {compared} member epoch ({sent}) than the one known by the group coordinator \
         ({known}){not_previous}. The member must abandon all its partitions and rejoin."
    );
    Err(GroupError::FencedEpoch.because(text))
}

/// A number that changes with the topics of these names: FNV-1a of their names, ids and numbers of partitions; 0 if there
/// are none, as in Kafka, whose own number is another but never compared with this one.
fn hash_of(names: &BTreeSet<&str>, turn: &Turn<'_>) -> i64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut hash = OFFSET;
    for name in names {
        let Some(shape) = turn.topics.topic(name) else { continue };
        let number = shape.partitions.to_be_bytes();
        let bytes = name.bytes().chain([0]).chain(shape.id.into_bytes()).chain(number);
        hash = bytes.fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    }
    if hash == OFFSET { 0 } else { hash.cast_signed() }
}
