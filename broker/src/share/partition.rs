//! One share partition on its leader (KIP-932): which records are to be delivered, which are acquired by whom and until when,
//! which are done with, and from which offset on it does not know yet. Reads no log and writes no state; it is told what was
//! read, and says what is to be written.

use super::batches::combine;
use super::coordinator::{StateReply, StateWrite};
use super::{DeliveryState, StateBatch};
use common::mutants;
use common::time::Millis;
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;

/// From so many deliveries on, at the least, records are delivered in ever smaller numbers, so that one that cannot be
/// processed does not take its neighbours with it (Kafka 4.2).
const ISOLATE_FROM: i16 = 2;

/// What a client says of a record. In the requests the number of its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckType {
    /// There is no such record.
    Gap,
    /// Done.
    Accept,
    /// To be delivered again.
    Release,
    /// Not to be delivered again.
    Reject,
    /// Still at it (KIP-1222).
    Renew,
}

impl AckType {
    /// As a request says it.
    pub fn from_code(code: i8) -> Option<AckType> {
        [AckType::Gap, AckType::Accept, AckType::Release, AckType::Reject, AckType::Renew]
            .get(usize::try_from(code).ok()?)
            .copied()
    }
}

/// What a client says of records in a row: one word for all, or one for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckBatch {
    /// First offset.
    pub first: i64,
    /// Last offset.
    pub last: i64,
    /// What it says.
    pub types: Vec<AckType>,
}

/// Why an acknowledgement counts for nothing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AckError {
    /// The request contradicts itself, or names records that nobody can have acquired.
    #[error("the acknowledgement is not valid")]
    Invalid,
    /// The records are not acquired, or not by who says something of them, or that is being written down.
    #[error("the records are not acquired by the member")]
    NotAcquired,
    /// The group does not allow to renew.
    #[error("locks cannot be renewed in this group")]
    NoRenewal,
}

/// What holds for the group now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `share.partition.max.record.locks`: offsets between the first that is not done with and the last acquired.
    pub max_locks: i64,
    /// `share.delivery.count.limit`.
    pub delivery_limit: i16,
    /// `share.record.lock.duration.ms`.
    pub lock_ms: u64,
    /// `share.renew.acknowledge.enable`.
    pub renews: bool,
}

/// A batch of the log that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBatch {
    /// First offset.
    pub base: i64,
    /// Last offset.
    pub last: i64,
    /// Of a transaction that was aborted, and the group is not to see it.
    pub is_aborted: bool,
}

/// Who would like which records.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The member.
    pub member: &'a Arc<str>,
    /// From where on the log was read; what [`SharePartition::next_fetch`] said.
    pub fetch_offset: i64,
    /// How many; a batch that is begun is taken whole.
    pub max_records: i64,
    /// Where a batch of the log begins and so many were taken, another stretch is told.
    pub batch_size: i64,
    /// Not more than `max_records`, even in the middle of a batch (KIP-1206, `record_limit`).
    pub is_exact: bool,
}

/// Records in a row that a member got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acquired {
    /// First offset.
    pub first: i64,
    /// Last offset.
    pub last: i64,
    /// The how manieth delivery this is.
    pub delivery_count: i16,
}

/// A change that counts once it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// To be told of to [`SharePartition::complete`].
    pub number: u64,
    /// What is to be written.
    pub batches: Vec<StateBatch>,
}

/// Available -> Acquired when a member gets it -> Available, Acknowledged or Archived when that is written down, or Available
/// or Archived when the lock ends.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Available,
    Acquired { member: Arc<str>, until: Millis },
    Acknowledged,
    Archived,
}

/// Records in a row of which the same is known.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    last: i64,
    state: State,
    delivery_count: i16,
    /// What it becomes when the change of this number is written. Nothing else happens to it before.
    pending: Option<(u64, DeliveryState)>,
}

impl Run {
    fn is_free(&self) -> bool {
        self.state == State::Available && self.pending.is_none()
    }

    fn is_done(&self) -> bool {
        matches!(self.state, State::Acknowledged | State::Archived) && self.pending.is_none()
    }

    fn will_be_done(&self) -> bool {
        match self.pending {
            Some((_, state)) => state.is_final(),
            None => self.is_done(),
        }
    }

    /// What it is when nobody has it any more.
    fn when_free(&self, limits: &Limits) -> DeliveryState {
        let is_worn = self.delivery_count >= limits.delivery_limit;
        if is_worn { DeliveryState::Archived } else { DeliveryState::Available }
    }
}

fn state_of(state: DeliveryState) -> State {
    match state {
        DeliveryState::Available => State::Available,
        DeliveryState::Acknowledged => State::Acknowledged,
        DeliveryState::Archived => State::Archived,
    }
}

/// See the top of the file.
#[derive(Debug)]
pub struct SharePartition {
    /// Everything before is done with.
    start: i64,
    /// Nothing is known from here on.
    end: i64,
    /// By first offset. What is missing between `start` and `end` was acquired under another leader, or never.
    runs: BTreeMap<i64, Run>,
    state_epoch: i32,
    /// There may be something to deliver below `end`.
    may_have_free: bool,
    last_number: u64,
}

impl SharePartition {
    /// As the coordinator knows it. `start` is where to begin if it does not say.
    pub fn load(known: &StateReply, start: i64) -> SharePartition {
        let start = if known.start_offset < 0 { start } else { known.start_offset };
        let runs: BTreeMap<i64, Run> = combine(&[], &known.batches, start)
            .into_iter()
            .map(|batch| {
                let (state, delivery_count) = (state_of(batch.state), batch.delivery_count);
                (batch.first, Run { last: batch.last, state, delivery_count, pending: None })
            })
            .collect();
        let end = runs.last_key_value().map_or(start, |(_, run)| run.last + 1);
        let state_epoch = known.state_epoch;
        let mut partition = SharePartition { start, end, runs, state_epoch, may_have_free: true, last_number: 0 };
        partition.advance();
        partition
    }

    /// Everything before is done with.
    pub fn start(&self) -> i64 {
        self.start
    }

    /// Nothing is known from here on.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// True if nobody has anything and nothing is being written.
    pub fn is_idle(&self) -> bool {
        let is_held = |run: &Run| run.pending.is_some() || matches!(run.state, State::Acquired { .. });
        !self.runs.values().any(is_held)
    }

    /// The first offset that may be acquired.
    pub fn next_fetch(&mut self) -> i64 {
        if !self.may_have_free {
            return self.end;
        }
        let mut at = self.start;
        for (first, run) in &self.runs {
            if *first > at || run.is_free() {
                return at;
            }
            at = run.last + 1;
        }
        self.may_have_free = false;
        self.end
    }

    /// True if records may be acquired, should the log have some.
    pub fn can_acquire(&mut self, limits: &Limits) -> bool {
        self.next_fetch() < self.end || self.end - self.start < limits.max_locks
    }

    // ---- acquiring

    /// Gives a member what it asks for out of what was read. What is missing between the batches is not in the log any more.
    pub fn acquire(
        &mut self,
        batches: &mut impl Iterator<Item = LogBatch>,
        ask: &Ask<'_>,
        limits: &Limits,
        now: Millis,
    ) -> Vec<Acquired> {
        let room = limits.max_locks - (self.end - self.start);
        let (budget, up_to) = match room > 0 {
            true => (ask.max_records.min(room), i64::MAX),
            false => (ask.max_records, self.end - 1),
        };
        let mut taking =
            Taking { acquired: Vec::new(), taken: 0, budget, in_batch: false, until: now + limits.lock_ms };
        let mut at = ask.fetch_offset.max(self.start);
        while taking.taken < budget && at <= up_to {
            let Some(batch) = batches.next() else { break };
            if batch.last < at {
                continue;
            }
            if at < batch.base {
                self.bury(at, (batch.base - 1).min(up_to));
                at = batch.base;
            }
            if at > up_to {
                break;
            }
            let last = batch.last.min(up_to);
            if batch.is_aborted {
                self.bury(at, last);
            } else {
                taking.in_batch = false;
                if self.take((at, last), ask, limits, &mut taking) {
                    break;
                }
            }
            at = batch.last + 1;
        }
        self.advance();
        self.merge();
        taking.acquired
    }

    /// Takes what is free in a batch; true if nothing more is to be taken.
    fn take(&mut self, (first, last): (i64, i64), ask: &Ask<'_>, limits: &Limits, taking: &mut Taking) -> bool {
        let isolate_from = ISOLATE_FROM.max((limits.delivery_limit + 1) / 2);
        let mut at = first;
        while at <= last {
            let (stretch_last, free) = self.stretch(at, last);
            let Some((delivery_count, size)) = free else {
                at = stretch_last + 1;
                continue;
            };
            let mut count = stretch_last - at + 1;
            if ask.is_exact {
                count = count.min(taking.budget - taking.taken);
            }
            if count <= 0 {
                return true;
            }
            let is_isolated = delivery_count >= isolate_from;
            if is_isolated {
                if taking.taken > 0 {
                    return true;
                }
                let is_last_time = limits.delivery_limit > ISOLATE_FROM && delivery_count + 1 >= limits.delivery_limit;
                let few = if is_last_time { 1 } else { (size >> (delivery_count - isolate_from + 1).min(62)).max(1) };
                count = count.min(few);
            }
            let delivery_count = delivery_count.saturating_add(1);
            let state = State::Acquired { member: ask.member.clone(), until: taking.until };
            self.put(at, at + count - 1, Run { last: 0, state, delivery_count, pending: None });
            taking.tell(Acquired { first: at, last: at + count - 1, delivery_count }, ask.batch_size);
            at += count;
            if is_isolated || (ask.is_exact && taking.taken >= taking.budget) {
                return true;
            }
        }
        false
    }

    /// Up to where, at most `last`, the same holds as at an offset; if that can be acquired, how often it was delivered and
    /// how many in a row were.
    fn stretch(&self, at: i64, last: i64) -> (i64, Option<(i16, i64)>) {
        if let Some((first, run)) = self.runs.range(..=at).next_back()
            && run.last >= at
        {
            let is_free = run.is_free() || (mutants::is_on("share-locked-twice") && !run.is_done());
            let free = is_free.then_some((run.delivery_count, run.last - first + 1));
            return (run.last.min(last), free);
        }
        let next = self.runs.range(at..).next().map_or(i64::MAX, |(first, _)| *first);
        let last = last.min(next - 1);
        (last, Some((0, last - at + 1)))
    }

    /// What can be acquired in a stretch never will be: it is not in the log, or nobody is to see it.
    fn bury(&mut self, first: i64, last: i64) {
        let mut at = first;
        while at <= last {
            let (stretch_last, free) = self.stretch(at, last);
            if let Some((delivery_count, _)) = free {
                self.put(at, stretch_last, Run { last: 0, state: State::Archived, delivery_count, pending: None });
            }
            at = stretch_last + 1;
        }
    }

    // ---- giving back

    /// What a member says became of records. Nothing changes if any of it cannot be.
    pub fn acknowledge(
        &mut self,
        member: &str,
        acks: &[AckBatch],
        limits: &Limits,
        now: Millis,
    ) -> Result<Option<Change>, AckError> {
        let mut decided = Vec::new();
        let mut behind = 0;
        for ack in acks {
            if ack.first < behind || ack.first > ack.last || ack.last == i64::MAX {
                return Err(AckError::Invalid);
            }
            let count = ack.last - ack.first + 1;
            if ack.types.len() != 1 && i64::try_from(ack.types.len()) != Ok(count) {
                return Err(AckError::Invalid);
            }
            behind = ack.last + 1;
            if ack.last < self.start {
                continue;
            }
            if ack.last >= self.end {
                return Err(AckError::Invalid);
            }
            for (first, last, kind) in same_words(ack) {
                let first = first.max(self.start);
                if first > last {
                    continue;
                }
                self.check_acquired(first, last, member)?;
                if kind == AckType::Renew && !limits.renews {
                    return Err(AckError::NoRenewal);
                }
                decided.push((first, last, kind));
            }
        }
        let number = self.last_number + 1;
        let mut is_change = false;
        for (first, last, kind) in decided {
            self.split(first);
            self.split(last + 1);
            for run in self.runs.range_mut(first..=last).map(|(_, run)| run) {
                let target = match kind {
                    AckType::Renew => {
                        if let State::Acquired { until, .. } = &mut run.state {
                            *until = now + limits.lock_ms;
                        }
                        continue;
                    }
                    AckType::Accept => DeliveryState::Acknowledged,
                    AckType::Gap | AckType::Reject => DeliveryState::Archived,
                    AckType::Release => run.when_free(limits),
                };
                is_change = true;
                run.pending = Some((number, target));
            }
        }
        self.merge();
        Ok(is_change.then(|| self.change(number)))
    }

    fn check_acquired(&self, first: i64, last: i64, member: &str) -> Result<(), AckError> {
        let mut at = first;
        while at <= last {
            let run = self.runs.range(..=at).next_back().map(|(_, run)| run).filter(|run| run.last >= at);
            let is_own = |run: &&Run| {
                run.pending.is_none()
                    && matches!(&run.state, State::Acquired { member: holder, .. } if **holder == *member)
            };
            at = run.filter(is_own).ok_or(AckError::NotAcquired)?.last + 1;
        }
        Ok(())
    }

    /// A member is gone: what it has is to be delivered to others.
    pub fn release(&mut self, member: &str, limits: &Limits) -> Option<Change> {
        let number = self.last_number + 1;
        let mut is_change = false;
        for run in self.runs.values_mut().filter(|run| run.pending.is_none()) {
            if matches!(&run.state, State::Acquired { member: holder, .. } if **holder == *member) {
                run.pending = Some((number, run.when_free(limits)));
                is_change = true;
            }
        }
        is_change.then(|| self.change(number))
    }

    /// Locks that end by now end: the records are free at once, and what is given is to be written.
    pub fn expire(&mut self, limits: &Limits, now: Millis) -> Vec<StateBatch> {
        let mut batches = Vec::new();
        for (first, run) in &mut self.runs {
            if run.pending.is_some() || !matches!(run.state, State::Acquired { until, .. } if until <= now) {
                continue;
            }
            let state = run.when_free(limits);
            run.state = state_of(state);
            let (last, delivery_count) = (run.last, run.delivery_count);
            batches.push(StateBatch { first: *first, last, state, delivery_count });
        }
        if !batches.is_empty() {
            self.may_have_free = true;
            self.advance();
            self.merge();
        }
        batches
    }

    /// When [`SharePartition::expire`] has something to do at the earliest.
    pub fn next_deadline(&self) -> Option<Millis> {
        let until = |run: &Run| match run.state {
            State::Acquired { until, .. } if run.pending.is_none() => Some(until),
            _ => None,
        };
        self.runs.values().filter_map(until).min()
    }

    fn change(&mut self, number: u64) -> Change {
        self.last_number = number;
        let batch = |(first, run): (&i64, &Run)| match run.pending {
            Some((of, state)) if of == number => {
                Some(StateBatch { first: *first, last: run.last, state, delivery_count: run.delivery_count })
            }
            _ => None,
        };
        let batches: Vec<StateBatch> = self.runs.iter().filter_map(batch).collect();
        Change { number, batches: combine(&[], &batches, -1) }
    }

    /// A change is written, or cannot be: then its records are with their member again, if its lock has not ended since.
    pub fn complete(&mut self, number: u64, is_written: bool, limits: &Limits, now: Millis) {
        for run in self.runs.values_mut() {
            let Some((_, state)) = run.pending.take_if(|(of, _)| *of == number) else { continue };
            if is_written {
                run.state = state_of(state);
            } else if matches!(run.state, State::Acquired { until, .. } if until <= now) {
                run.state = state_of(run.when_free(limits));
            }
            self.may_have_free |= run.is_free();
        }
        self.advance();
        self.merge();
    }

    /// What is to be written of the whole, beside the batches.
    pub fn write(&self, leader_epoch: i32, batches: Vec<StateBatch>) -> StateWrite {
        let done = |(first, run): (&i64, &Run)| if run.will_be_done() { run.last - first + 1 } else { 0 };
        let count: i64 = self.runs.iter().map(done).sum();
        StateWrite {
            state_epoch: self.state_epoch,
            leader_epoch,
            start_offset: self.start,
            delivery_complete_count: i32::try_from(count).unwrap_or(i32::MAX),
            batches,
        }
    }

    /// The log begins here now: nothing before can be delivered.
    pub fn move_start(&mut self, log_start: i64) {
        if log_start <= self.start {
            return;
        }
        self.split(log_start);
        self.runs = self.runs.split_off(&log_start);
        self.start = log_start;
        self.end = self.end.max(log_start);
        self.advance();
    }

    // ---- runs

    /// The start moves over what is done with.
    fn advance(&mut self) {
        while let Some(first) = self.runs.first_entry() {
            if *first.key() != self.start || !first.get().is_done() {
                break;
            }
            self.start = first.remove().last + 1;
        }
        self.end = self.end.max(self.start);
    }

    /// From here on another run.
    fn split(&mut self, at: i64) {
        let Some((first, run)) = self.runs.range_mut(..at).next_back() else { return };
        if run.last < at || *first == at {
            return;
        }
        let behind = run.clone();
        run.last = at - 1;
        self.runs.insert(at, behind);
    }

    /// The same holds for a stretch from now on, whatever was known of it.
    fn put(&mut self, first: i64, last: i64, run: Run) {
        self.split(first);
        self.split(last + 1);
        let gone: Vec<i64> = self.runs.range(first..=last).map(|(first, _)| *first).collect();
        for first in gone {
            self.runs.remove(&first);
        }
        self.runs.insert(first, Run { last, ..run });
        self.end = self.end.max(last + 1);
    }

    /// Neighbours of which the same is known are one.
    fn merge(&mut self) {
        let is_same = |(_, a): (&i64, &Run), (first, b): (&i64, &Run)| {
            a.last + 1 == *first && a.state == b.state && (a.delivery_count, a.pending) == (b.delivery_count, b.pending)
        };
        if !self.runs.iter().zip(self.runs.iter().skip(1)).any(|(a, b)| is_same(a, b)) {
            return;
        }
        let mut runs = std::mem::take(&mut self.runs).into_iter();
        let Some(mut open) = runs.next() else { return };
        for (first, run) in runs {
            if is_same((&open.0, &open.1), (&first, &run)) {
                open.1.last = run.last;
            } else {
                let (first, run) = std::mem::replace(&mut open, (first, run));
                self.runs.insert(first, run);
            }
        }
        self.runs.insert(open.0, open.1);
    }
}

/// What was given so far.
struct Taking {
    acquired: Vec<Acquired>,
    taken: i64,
    budget: i64,
    /// The last of `acquired` is, at its end, of the batch that is looked at.
    in_batch: bool,
    until: Millis,
}

impl Taking {
    fn tell(&mut self, new: Acquired, batch_size: i64) {
        self.taken += new.last - new.first + 1;
        let in_batch = std::mem::replace(&mut self.in_batch, true);
        if let Some(last) = self.acquired.last_mut()
            && last.last + 1 == new.first
            && last.delivery_count == new.delivery_count
            && (in_batch || new.first - last.first < batch_size)
        {
            last.last = new.last;
            return;
        }
        self.acquired.push(new);
    }
}

/// Stretches of a batch of which the same is said.
fn same_words(ack: &AckBatch) -> Vec<(i64, i64, AckType)> {
    if let [kind] = ack.types[..] {
        return vec![(ack.first, ack.last, kind)];
    }
    let mut stretches: Vec<(i64, i64, AckType)> = Vec::new();
    for (offset, kind) in (ack.first..).zip(&ack.types) {
        match stretches.last_mut() {
            Some((_, last, before)) if before == kind => *last = offset,
            _ => stretches.push((offset, offset, *kind)),
        }
    }
    stretches
}

#[cfg(test)]
mod tests;
