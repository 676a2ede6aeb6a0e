//! In a generation of a group each partition has one owner, and a generation that is over commits nothing.

use crate::sim::history::{CommitOutcome, History};
use common::id::TopicPartition;
use std::collections::BTreeMap;

/// Checks what members were given and what they committed.
pub fn check(history: &History) -> Result<(), String> {
    let mut owners: BTreeMap<(i32, &TopicPartition), &str> = BTreeMap::new();
    for assigned in &history.assigned {
        for partition in &assigned.partitions {
            let owner = *owners.entry((assigned.generation, partition)).or_insert(&assigned.member);
            if owner != assigned.member {
                return Err(format!("{partition} belongs to {owner} in the same generation: {assigned:?}"));
            }
        }
    }
    for commit in history.commits.iter().filter(|commit| commit.outcome == CommitOutcome::Done) {
        if owners.get(&(commit.generation, &commit.partition)) != Some(&&*commit.member) {
            return Err(format!("accepted from who does not own the partition: {commit:?}"));
        }
        let is_over = |generation: i32, at| generation > commit.generation && at < commit.asked;
        if let Some(later) = history.assigned.iter().find(|later| is_over(later.generation, later.at)) {
            return Err(format!("accepted in a generation that was over: {commit:?} after {later:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::history::{Assigned, Commit};
    use crate::sim::world::Micros;
    use std::collections::BTreeSet;

    fn assigned(member: &str, generation: i32, partitions: &[i32], at: Micros) -> Assigned {
        let partitions: BTreeSet<TopicPartition> = partitions.iter().map(|n| TopicPartition::new("t", *n)).collect();
        Assigned { member: member.to_owned(), generation, partitions, at }
    }

    fn commit(member: &str, generation: i32, partition: i32, asked: Micros) -> Commit {
        Commit {
            member: member.to_owned(),
            generation,
            partition: TopicPartition::new("t", partition),
            offset: 1,
            asked,
            answered: Some(asked + 1),
            outcome: CommitOutcome::Done,
        }
    }

    #[test]
    fn two_owners_and_late_commits_are_found() {
        let shares = [assigned("a", 1, &[0], 1), assigned("b", 1, &[1], 2), assigned("a", 2, &[0, 1], 20)];
        for (extra, commits, is_right) in [
            (None, vec![commit("a", 1, 0, 5), commit("b", 1, 1, 5), commit("a", 2, 1, 30)], true),
            (Some(assigned("b", 2, &[1], 21)), vec![], false),
            (None, vec![commit("a", 1, 1, 5)], false),
            (None, vec![commit("b", 1, 1, 25)], false),
            (None, vec![commit("b", 1, 1, 19)], true),
        ] {
            let assigned = shares.iter().cloned().chain(extra).collect();
            let history = History { assigned, commits, ..History::default() };
            assert_eq!(check(&history).is_ok(), is_right, "{:?}", history.commits);
        }
    }
}
