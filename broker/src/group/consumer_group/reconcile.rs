//! The next step of one member from what it has to what it shall have. A partition is given only when nobody has it; a
//! member keeps its epoch until it has given up what others shall have. Changes nothing.

use crate::group::consumer_records::{CurrentValue, MemberState, Partitions};
use common::mutants;
use std::collections::BTreeSet;
use uuid::Uuid;

/// What the step depends on beside the member itself.
pub(super) struct Goal<'a> {
    /// Epoch of the target.
    pub epoch: i32,
    /// What the member shall have.
    pub target: &'a Partitions,
    /// What it says it has; `None` if it does not say.
    pub owned: Option<&'a Partitions>,
    /// True for partitions that a member has, or has yet to give up.
    pub is_taken: &'a dyn Fn(Uuid, i32) -> bool,
}

/// The member is in a state that only a newer broker knows: it has to start anew, without partitions.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnknownState;

/// What the member has after the step.
pub(super) fn reconcile(current: &CurrentValue, goal: &Goal<'_>) -> Result<CurrentValue, UnknownState> {
    match current.state {
        MemberState::Stable if current.epoch == goal.epoch => Ok(current.clone()),
        MemberState::Stable | MemberState::Unreleased => Ok(goal.next(current, current.epoch)),
        MemberState::Unrevoked if goal.has_kept_any(&current.revoking) => Ok(current.clone()),
        MemberState::Unrevoked => Ok(goal.next(current, current.epoch + 1)),
        MemberState::Unknown if goal.owned.is_some_and(Partitions::is_empty) => Ok(goal.next(current, goal.epoch)),
        MemberState::Unknown => Err(UnknownState),
    }
}

impl Goal<'_> {
    /// True unless the member says that it has none of these any more.
    fn has_kept_any(&self, partitions: &Partitions) -> bool {
        let Some(owned) = self.owned else { return true };
        owned.iter().any(|(topic, numbers)| {
            partitions.get(topic).is_some_and(|revoked| numbers.iter().any(|number| revoked.contains(number)))
        })
    }

    fn next(&self, current: &CurrentValue, epoch: i32) -> CurrentValue {
        let none = BTreeSet::new();
        let (mut assigned, mut revoking, mut added) = (Partitions::new(), Partitions::new(), Partitions::new());
        let mut waits = false;
        let topics: BTreeSet<&Uuid> = self.target.keys().chain(current.assigned.keys()).collect();
        for topic in topics {
            let target = self.target.get(topic).unwrap_or(&none);
            let before = current.assigned.get(topic).unwrap_or(&none);
            let (taken, free): (BTreeSet<i32>, BTreeSet<i32>) = target
                .difference(before)
                .partition(|number| (self.is_taken)(*topic, **number) && !mutants::is_on("given-before-released"));
            waits |= !taken.is_empty();
            put(&mut assigned, topic, before & target);
            put(&mut revoking, topic, before - target);
            put(&mut added, topic, free);
        }
        if !revoking.is_empty() && self.has_kept_any(&revoking) {
            let state = MemberState::Unrevoked;
            return CurrentValue { epoch, previous_epoch: current.epoch, state, assigned, revoking };
        }
        for (topic, numbers) in added {
            assigned.entry(topic).or_default().extend(numbers);
        }
        let state = if waits { MemberState::Unreleased } else { MemberState::Stable };
        CurrentValue { epoch: self.epoch, previous_epoch: current.epoch, state, assigned, revoking: Partitions::new() }
    }
}

fn put(partitions: &mut Partitions, topic: &Uuid, numbers: BTreeSet<i32>) {
    if !numbers.is_empty() {
        partitions.insert(*topic, numbers);
    }
}
