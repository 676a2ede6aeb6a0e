//! In a generation of a group each partition has one owner, and a generation that is over commits nothing. In a group of the
//! new protocol nobody commits to a partition that another has been given since.

use crate::sim::history::{Commit, CommitOutcome, Held, History, NewGroup};
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
    check_new(&history.new_group)
}

/// A partition is given to another only when its owner has given it up or is no member any more; one that does not know
/// that yet is refused.
fn check_new(group: &NewGroup) -> Result<(), String> {
    let mut by_partition: BTreeMap<&TopicPartition, Vec<&Held>> = BTreeMap::new();
    for held in &group.held {
        by_partition.entry(&held.partition).or_default().push(held);
    }
    for commit in group.commits.iter().filter(|commit| commit.outcome == CommitOutcome::Done) {
        let held = by_partition.get(&commit.partition).map_or(&[][..], Vec::as_slice);
        check_commit(commit, held)?;
    }
    Ok(())
}

fn check_commit(commit: &Commit, held: &[&Held]) -> Result<(), String> {
    let covers = |held: &Held| held.from <= commit.asked && held.until.is_none_or(|until| commit.asked <= until);
    let own = held.iter().filter(|held| held.member == commit.member && covers(held)).max_by_key(|held| held.from);
    let Some(own) = own else { return Err(format!("accepted from who does not have the partition: {commit:?}")) };
    let is_given = |other: &Held| other.member != commit.member && own.from < other.from && other.from < commit.asked;
    match held.iter().find(|other| is_given(other)) {
        Some(other) => Err(format!("accepted from who has the partition no longer: {commit:?} after {other:?}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::history::Assigned;
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

    #[test]
    fn who_has_lost_a_partition_commits_nothing() {
        let held = |member: &str, from: Micros, until: Option<Micros>| Held {
            member: member.to_owned(),
            partition: TopicPartition::new("t", 0),
            from,
            until,
        };
        for (holders, commits, is_right) in [
            (
                vec![held("a", 1, Some(10)), held("b", 12, None)],
                vec![commit("a", 1, 0, 9), commit("b", 2, 0, 13)],
                true,
            ),
            // It has given the partition up, and commits all the same.
            (vec![held("a", 1, Some(10)), held("b", 12, None)], vec![commit("a", 1, 0, 11)], false),
            // It does not know that another has it.
            (vec![held("a", 1, None), held("b", 12, None)], vec![commit("a", 1, 0, 13)], false),
            (vec![held("a", 1, Some(20)), held("b", 12, None)], vec![commit("a", 1, 0, 11)], true),
            (vec![held("a", 1, Some(5)), held("b", 6, Some(8)), held("a", 9, None)], vec![commit("a", 3, 0, 11)], true),
        ] {
            let new_group = NewGroup { commits, held: holders, ..NewGroup::default() };
            let history = History { new_group, ..History::default() };
            assert_eq!(check(&history).is_ok(), is_right, "{:?}", history.new_group);
        }
    }
}
