//! The one request of a member: it joins, keeps its place, says what it reads and has, and leaves; the answer says what it
//! shall have. Decides first, and changes the group only by the records that came of it.

use super::reconcile::{Goal, UnknownState, reconcile};
use super::{
    ConsumerGroup, HeartbeatInput, HeartbeatOutput, HeartbeatResult, JOINS, LEAVES, LEAVES_FOR_A_WHILE, Matched,
    Matches, Member, Refusal, TopicTable, revocation_ms,
};
use crate::group::GroupError;
use crate::group::assignor::{Assignor, MemberSpec};
use crate::group::consumer_records::{
    ConsumerMemberValue, ConsumerRecord, CurrentValue, MemberState, Partitions, TopicValue,
};
use crate::group::records::GroupRecord;
use crate::group::turn::{StoreError, Turn, Waiter};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use regex::Regex;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use tracing::{debug, info};

/// A pattern may not compile to more than this, so that one member's pattern cannot fill the memory.
const PATTERN_MAX_BYTES: usize = 1 << 20;
/// Different patterns in one group: each is kept compiled, and looked for in all topics whenever topics change, under the
/// lock of its partition. The members of one group seldom have more than one.
const PATTERNS_PER_GROUP: usize = 32;

/// What a heartbeat does.
struct Decision {
    records: Vec<ConsumerRecord>,
    output: HeartbeatOutput,
    /// What patterns match, if topics were looked at.
    matches: Option<Matches>,
    /// The member as it will be; `None` for one that leaves.
    current: Option<CurrentValue>,
}

/// The member of a heartbeat: as it was and as it says it is.
struct Subject<'a> {
    id: String,
    before: Cow<'a, Member>,
    subscription: ConsumerMemberValue,
    /// The member whose place it takes.
    replaces: Option<&'a str>,
}

impl ConsumerGroup {
    /// One heartbeat. `before` are records that come first: those by which a group of another protocol ends. False if
    /// nothing came of it.
    pub(in crate::group) fn heartbeat(
        &mut self,
        input: &HeartbeatInput,
        before: Vec<GroupRecord>,
        waiter: Waiter<HeartbeatResult>,
        turn: &mut Turn<'_>,
    ) -> bool {
        let decided = match input.epoch {
            LEAVES | LEAVES_FOR_A_WHILE => self.decide_to_leave(input, turn),
            _ => self.decide(input, turn),
        };
        let Decision { records, output, matches, current } = match decided {
            Ok(decision) => decision,
            Err(refusal) => {
                turn.answer(waiter, Err(refusal));
                return false;
            }
        };
        // Whether or not the records can be written: the member is alive.
        let session_ends = match &input.classic {
            Some(classic) => turn.after(classic.session_timeout_ms),
            None => turn.now.mono + turn.settings.consumer_session_timeout_ms(&self.id),
        };
        let id = output.member_id.clone();
        let is_unchanged =
            current.as_ref().is_some_and(|current| self.members.get(&id).is_some_and(|m| m.current == *current));
        // The waiter is wanted twice, but only one of the two gets it.
        let waiter = std::sync::Arc::new(parking_lot::Mutex::new(Some(waiter)));
        let on_recorded = waiter.clone();
        let then: Waiter<Result<(), StoreError>> = Box::new(move |result| {
            if let Some(waiter) = on_recorded.lock().take() {
                waiter(result.map(|()| output).map_err(|error| of_member(error).into()));
            }
        });
        let is_rebalance = records.iter().any(|record| matches!(record, ConsumerRecord::Epoch(_)));
        if let Err(error) = self.record((before, records), then, turn) {
            let refusal: Refusal = of_member(error).into();
            if let Some(waiter) = waiter.lock().take() {
                turn.answer(waiter, Err(refusal));
            }
            if let Some(member) = self.members.get_mut(&id) {
                member.session_ends = Some(session_ends);
            }
            return false;
        }
        if is_rebalance {
            info!(group = self.id, epoch = self.epoch, members = self.members.len(), "group epoch begins");
        }
        if let Some(matches) = matches {
            self.matches = matches;
            self.is_stale = false;
        }
        let (Some(current), Some(member)) = (current, self.members.get_mut(&id)) else { return true };
        member.session_ends = Some(session_ends);
        member.join_ends = None;
        member.sync_ends = input.classic.as_ref().map(|_| turn.after(input.rebalance_timeout_ms));
        if input.classic.is_some() {
            member.revocation_ends = None;
        } else if !is_unchanged {
            member.revocation_ends = (current.state == MemberState::Unrevoked)
                .then(|| (turn.now.mono + revocation_ms(member), current.epoch));
        }
        true
    }

    fn decide(&self, input: &HeartbeatInput, turn: &mut Turn<'_>) -> Result<Decision, Refusal> {
        self.check_room(&input.member_id, turn)?;
        let mut records = Vec::new();
        let mut subject = self.subject(input, &mut records, turn)?;
        update(&mut subject.subscription, input);
        let (id, before) = (subject.id.clone(), &subject.before.subscription);
        if subject.subscription != *before {
            records.push(ConsumerRecord::Member(id.clone(), Some(subject.subscription.clone())));
        }
        // A group without epoch is new, and epoch 0 is that of a member that joins.
        let mut is_new_epoch = self.epoch == 0
            || subject.subscription.topics != before.topics
            || subject.subscription.regex != before.regex;
        let (mut epoch, mut matches, mut topics) = (self.epoch, None, Cow::Borrowed(&self.topics));
        if is_new_epoch || self.is_stale {
            let (found, matched) = self.look_at_topics(Some(&subject), turn)?;
            is_new_epoch |= found != self.topics;
            if found != self.topics {
                records.push(ConsumerRecord::Topics(Some(found.values().cloned().collect())));
            }
            if is_new_epoch {
                epoch += 1;
                records.push(ConsumerRecord::Epoch(Some(epoch)));
            }
            (topics, matches) = (Cow::Owned(found), Some(matched));
        }
        let (target_epoch, target) = if epoch > self.target_epoch {
            let matched = matches.as_ref().unwrap_or(&self.matches);
            (epoch, self.new_target((&subject, epoch), &topics, matched, (turn, &mut records)))
        } else {
            let owner = subject.replaces.unwrap_or(&id);
            (self.target_epoch, self.target.get(owner).cloned().unwrap_or_default())
        };
        let before = &subject.before.current;
        let is_taken = |topic, number| self.owned.contains_key(&(topic, number));
        let goal = Goal { epoch: target_epoch, target: &target, owned: input.owned.as_ref(), is_taken: &is_taken };
        let current = reconcile(before, &goal).map_err(|UnknownState| {
            let text = "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin.";
            GroupError::FencedEpoch.because(text)
        })?;
        if current != *before {
            debug!(group = self.id, member = id, epoch = current.epoch, state = ?current.state, "member moves on");
            records.push(ConsumerRecord::Current(id.clone(), Some(current.clone())));
        }
        let is_full = input.epoch == JOINS
            || (input.rebalance_timeout_ms != -1
                && (input.topics.is_some() || input.regex.is_some())
                && input.owned.is_some());
        let assignment = (is_full || current.assigned != before.assigned).then(|| current.assigned.clone());
        let interval_ms = turn.settings.configs.get(&self.id).consumer_heartbeat_interval_ms;
        let output = HeartbeatOutput { member_id: id, epoch: current.epoch, interval_ms, assignment };
        Ok(Decision { records, output, matches, current: Some(current) })
    }

    pub(super) fn check_room(&self, member_id: &str, turn: &Turn<'_>) -> Result<(), Refusal> {
        let most = turn.settings.consumer_max_size;
        if self.members.len() < most || self.members.contains_key(member_id) {
            return Ok(());
        }
        let text = format!("The consumer group has reached its maximum capacity of {most} members.");
        Err(GroupError::GroupFull.because(text))
    }

    // ---- who it is

    fn subject(
        &self,
        input: &HeartbeatInput,
        records: &mut Vec<ConsumerRecord>,
        turn: &mut Turn<'_>,
    ) -> Result<Subject<'_>, Refusal> {
        let joins = input.epoch == JOINS;
        let id = match input.member_id.is_empty() {
            true => {
                URL_SAFE_NO_PAD.encode(uuid::Builder::from_random_bytes(turn.rng.u128(..).to_be_bytes()).into_uuid())
            }
            false => input.member_id.clone(),
        };
        let known = match &input.instance_id {
            Some(instance) => match self.static_member(instance) {
                // A member of the classic protocol that has its id yet only joins again.
                Some(known) if joins && (input.classic.is_none() || input.member_id.is_empty()) => {
                    return self.take_over(known, id, input, records);
                }
                Some(known) => {
                    check_instance(known.0, &id, instance)?;
                    Some(known)
                }
                None if joins => None,
                None => return Err(GroupError::UnknownMember.because(format!("Instance id {instance} is unknown."))),
            },
            None => self.members.get_key_value(&id).map(|(id, member)| (id.as_str(), member)),
        };
        let before = match known {
            Some((_, member)) => {
                if input.classic.is_none() {
                    check_epoch(member, input)?;
                }
                Cow::Borrowed(member)
            }
            None if joins => Cow::Owned(Member::new()),
            None => {
                let text = format!("Member {id} is not a member of group {}.", self.id);
                return Err(GroupError::UnknownMember.because(text));
            }
        };
        if joins {
            info!(group = self.id, member = id, instance = input.instance_id, "member joins");
        }
        let subscription = before.subscription.clone();
        Ok(Subject { id, before, subscription, replaces: None })
    }

    pub(super) fn static_member(&self, instance: &str) -> Option<(&str, &Member)> {
        let id = self.static_members.get(instance)?;
        Some((id, self.members.get(id)?))
    }

    /// A static member is back: it has what its former self had, if that left in peace.
    fn take_over<'a>(
        &'a self,
        (former, member): (&'a str, &'a Member),
        id: String,
        input: &HeartbeatInput,
        records: &mut Vec<ConsumerRecord>,
    ) -> Result<Subject<'a>, Refusal> {
        let instance = input.instance_id.as_deref().unwrap_or_default();
        if member.current.epoch != LEAVES_FOR_A_WHILE && input.classic.is_none() {
            let text = format!(
                "Static member {id} with instance id {instance} cannot join the group because the instance id is owned by \
                 {former} member."
            );
            return Err(GroupError::UnreleasedInstance.because(text));
        }
        info!(group = self.id, instance, former, member = id, "static member is back");
        let mut before = member.clone();
        before.current = CurrentValue { epoch: JOINS, previous_epoch: JOINS, ..member.current.clone() };
        let target = self.target.get(former).cloned().unwrap_or_default();
        records.extend(removed(former));
        records.push(ConsumerRecord::Member(id.clone(), Some(before.subscription.clone())));
        records.push(ConsumerRecord::Target(id.clone(), Some(target)));
        records.push(ConsumerRecord::Current(id.clone(), Some(before.current.clone())));
        let subscription = before.subscription.clone();
        Ok(Subject { id, before: Cow::Owned(before), subscription, replaces: Some(former) })
    }

    // ---- what it reads

    /// Topics that members read, as they are now, and what each pattern matches. With `subject` as it will be; without
    /// those of nobody else.
    fn look_at_topics(&self, subject: Option<&Subject<'_>>, turn: &Turn<'_>) -> Result<(TopicTable, Matches), Refusal> {
        let (mut names, mut matches): (BTreeSet<String>, Matches) = Default::default();
        for (_, subscription) in self.subscriptions(subject) {
            names.extend(subscription.topics.iter().cloned());
            let Some(pattern) = &subscription.regex else { continue };
            if matches.contains_key(pattern) {
                continue;
            }
            let matched = match self.matches.get(pattern) {
                Some(known) if !self.is_stale => known.clone(),
                Some(known) => Matched::of(known.regex.clone(), turn),
                None => Matched::of(compiled(pattern)?, turn),
            };
            matches.insert(pattern.clone(), matched);
        }
        let brings_another =
            subject.is_some_and(|subject| subject.subscription.regex != subject.before.subscription.regex);
        if matches.len() > PATTERNS_PER_GROUP && brings_another {
            let text =
                format!("The members of the group have {PATTERNS_PER_GROUP} different regular expressions already.");
            return Err(GroupError::InvalidRegex.because(text));
        }
        names.extend(matches.values().flat_map(|matched| &matched.topics).cloned());
        let found = names.into_iter().filter_map(|name| {
            let shape = turn.topics.topic(&name)?;
            let topic = TopicValue { id: shape.id, name: name.clone(), partitions: shape.partitions };
            Some((name, topic))
        });
        Ok((found.collect(), matches))
    }

    /// The members' subscriptions, with `subject` as it will be and without the one it replaces.
    fn subscriptions<'a>(&'a self, subject: Option<&'a Subject<'_>>) -> BTreeMap<&'a str, &'a ConsumerMemberValue> {
        let mut all: BTreeMap<&str, &ConsumerMemberValue> =
            self.members.iter().map(|(id, member)| (id.as_str(), &member.subscription)).collect();
        if let Some(subject) = subject {
            if let Some(former) = subject.replaces {
                all.remove(former);
            }
            all.insert(&subject.id, &subject.subscription);
        }
        all
    }

    // ---- what it shall have

    /// The assignor that most members ask for, else the default one. `with` is a member as it will be.
    pub(super) fn assignor_of(
        &self,
        subscriptions: &BTreeMap<&str, &ConsumerMemberValue>,
        assignors: &[Assignor],
    ) -> Assignor {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for name in subscriptions.values().filter_map(|subscription| subscription.assignor.as_deref()) {
            *votes.entry(name).or_default() += 1;
        }
        let most = votes.into_iter().max_by_key(|(_, count)| *count);
        let asked_for = most.and_then(|(name, _)| assignors.iter().find(|assignor| assignor.name() == name));
        asked_for.or(assignors.first()).copied().unwrap_or(Assignor::Uniform)
    }

    /// Computes a target for an epoch and records where it differs; the subject's part of it.
    fn new_target(
        &self,
        (subject, epoch): (&Subject<'_>, i32),
        topics: &TopicTable,
        matches: &Matches,
        (turn, records): (&Turn<'_>, &mut Vec<ConsumerRecord>),
    ) -> Partitions {
        let none = Partitions::new();
        let subscriptions = self.subscriptions(Some(subject));
        let target_of = |id: &str| {
            let former = subject.replaces.filter(|_| id == subject.id);
            self.target.get(former.unwrap_or(id)).unwrap_or(&none)
        };
        let specs = subscriptions.iter().map(|(id, subscription)| {
            let spec = MemberSpec {
                instance_id: subscription.instance_id.as_deref(),
                topics: names(subscription, matches).filter_map(|name| Some(topics.get(name)?.id)).collect(),
                target: target_of(id),
            };
            (*id, spec)
        });
        let partitions = topics.values().map(|topic| (topic.id, topic.partitions)).collect();
        let assignor = self.assignor_of(&subscriptions, &turn.settings.assignors);
        let mut assigned = assignor.assign(&specs.collect(), &partitions);
        debug!(group = self.id, epoch, assignor = assignor.name(), "a new target is computed");
        for id in subscriptions.keys() {
            let of_member = assigned.get(*id).unwrap_or(&none);
            if self.target.get(*id) != Some(of_member) {
                records.push(ConsumerRecord::Target((*id).to_owned(), Some(of_member.clone())));
            }
        }
        records.push(ConsumerRecord::TargetEpoch(Some(epoch)));
        assigned.remove(&subject.id).unwrap_or_default()
    }

    // ---- leaving

    fn decide_to_leave(&self, input: &HeartbeatInput, turn: &Turn<'_>) -> Result<Decision, Refusal> {
        let id = &input.member_id;
        let member = match &input.instance_id {
            None => self.members.get(id).ok_or_else(|| {
                let text = format!("Member {id} is not a member of group {}.", self.id);
                GroupError::UnknownMember.because(text)
            })?,
            Some(instance) => {
                let (known, member) = self
                    .static_member(instance)
                    .ok_or_else(|| GroupError::UnknownMember.because(format!("Instance id {instance} is unknown.")))?;
                check_instance(known, id, instance)?;
                member
            }
        };
        let output = HeartbeatOutput { member_id: id.clone(), epoch: input.epoch, interval_ms: 0, assignment: None };
        info!(group = self.id, member = id, instance = input.instance_id, epoch = input.epoch, "member leaves");
        if input.instance_id.is_some() && input.epoch == LEAVES_FOR_A_WHILE {
            let current =
                CurrentValue { epoch: LEAVES_FOR_A_WHILE, revoking: Partitions::new(), ..member.current.clone() };
            let records = vec![ConsumerRecord::Current(id.clone(), Some(current))];
            return Ok(Decision { records, output, matches: None, current: None });
        }
        Ok(Decision { records: self.removal(std::slice::from_ref(id), turn), output, matches: None, current: None })
    }

    /// The records by which members go, together. The next heartbeat of whoever is left finds the epoch changed.
    pub(super) fn removal(&self, ids: &[String], turn: &Turn<'_>) -> Vec<ConsumerRecord> {
        let mut records: Vec<ConsumerRecord> = ids.iter().flat_map(|id| removed(id)).collect();
        let gone: BTreeSet<&String> = ids.iter().collect();
        let mut wanted: BTreeSet<&String> = BTreeSet::new();
        for (_, member) in self.members.iter().filter(|(id, _)| !gone.contains(id)) {
            wanted.extend(names(&member.subscription, &self.matches));
        }
        let found: TopicTable = wanted
            .into_iter()
            .filter_map(|name| {
                let shape = turn.topics.topic(name)?;
                let topic = TopicValue { id: shape.id, name: name.clone(), partitions: shape.partitions };
                Some((name.clone(), topic))
            })
            .collect();
        if found != self.topics {
            records.push(ConsumerRecord::Topics(Some(found.into_values().collect())));
        }
        records.push(ConsumerRecord::Epoch(Some(self.epoch + 1)));
        records
    }
}

fn removed(id: &str) -> [ConsumerRecord; 3] {
    let id = id.to_owned();
    [
        ConsumerRecord::Current(id.clone(), None),
        ConsumerRecord::Target(id.clone(), None),
        ConsumerRecord::Member(id, None),
    ]
}

fn update(subscription: &mut ConsumerMemberValue, input: &HeartbeatInput) {
    let keep = |new: &Option<String>, before: &mut Option<String>| {
        if new.is_some() {
            before.clone_from(new);
        }
    };
    keep(&input.instance_id, &mut subscription.instance_id);
    keep(&input.rack_id, &mut subscription.rack_id);
    keep(&input.assignor, &mut subscription.assignor);
    if let Some(regex) = &input.regex {
        subscription.regex = Some(regex.clone()).filter(|regex| !regex.is_empty());
    }
    if let Some(topics) = &input.topics {
        subscription.topics.clone_from(topics);
    }
    if input.rebalance_timeout_ms != -1 {
        subscription.rebalance_timeout_ms = input.rebalance_timeout_ms;
    }
    subscription.client_id.clone_from(&input.client_id);
    subscription.client_host.clone_from(&input.client_host);
    subscription.classic.clone_from(&input.classic);
}

/// What a failed record means for the member.
pub(in crate::group) fn of_member(error: StoreError) -> GroupError {
    match error {
        StoreError::NotLeader | StoreError::Storage => GroupError::NotCoordinator,
        StoreError::NotEnoughReplicas | StoreError::TimedOut => GroupError::NotAvailable,
        StoreError::TooLarge => GroupError::RecordTooLarge,
        StoreError::FencedProducer | StoreError::FencedCoordinator => GroupError::ProducerFenced,
        StoreError::NotInTransaction => GroupError::NotInTransaction,
    }
}

fn check_instance(known: &str, id: &str, instance: &str) -> Result<(), Refusal> {
    if known == id {
        return Ok(());
    }
    let text = format!("Static member {id} with instance id {instance} was fenced by member {known}.");
    Err(GroupError::FencedInstance.because(text))
}

/// A member one epoch behind, that has nothing but what it was given, may not have heard of the new one.
fn check_epoch(member: &Member, input: &HeartbeatInput) -> Result<(), Refusal> {
    let (sent, known) = (input.epoch, &member.current);
    let has_only_its_own = || {
        input.owned.as_ref().is_some_and(|owned| {
            let is_assigned = |(topic, numbers): (_, &BTreeSet<i32>)| {
                known.assigned.get(topic).is_some_and(|assigned| numbers.is_subset(assigned))
            };
            owned.iter().all(is_assigned)
        })
    };
    if sent == known.epoch || (sent < known.epoch && sent == known.previous_epoch && has_only_its_own()) {
        return Ok(());
    }
    let compared = if sent > known.epoch { "greater" } else { "smaller" };
    let text = format!(
        "The consumer group member has a {compared} member epoch ({sent}) than the one known by the group coordinator \
         ({}). The member must abandon all its partitions and rejoin.",
        known.epoch
    );
    Err(GroupError::FencedEpoch.because(text))
}

/// A pattern that matches names as a whole, as Java's `matches` does.
fn compiled(pattern: &str) -> Result<Regex, Refusal> {
    let whole = regex::RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(PATTERN_MAX_BYTES).build();
    whole.map_err(|error| {
        // The last line says what is wrong, those before where.
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        let text = format!("SubscribedTopicRegex `{pattern}` is not a valid regular expression: {reason}.");
        GroupError::InvalidRegex.because(text)
    })
}

impl Matched {
    fn of(regex: Regex, turn: &Turn<'_>) -> Matched {
        let topics = turn.topics.matching(&|name| regex.is_match(name)).into_iter().collect();
        Matched { regex, topics }
    }
}

/// The names that a subscription means: those it says, and those that its pattern matched.
fn names<'a>(subscription: &'a ConsumerMemberValue, matches: &'a Matches) -> impl Iterator<Item = &'a String> {
    let matched = subscription.regex.iter().filter_map(|pattern| matches.get(pattern));
    subscription.topics.iter().chain(matched.flat_map(|matched| &matched.topics))
}
