//! Committed offsets never go back: whoever asks gets the last acknowledged commit or a later one.

use crate::sim::history::{Commit, CommitOutcome, History, OffsetSeen};
use crate::sim::world::Micros;

/// Checks every offset that was read against every commit.
pub fn check(history: &History) -> Result<(), String> {
    history.offsets.iter().try_for_each(|seen| check_one(&history.commits, seen))?;
    history.new_group.offsets.iter().try_for_each(|seen| check_one(&history.new_group.commits, seen))
}

/// An offset may be read if it was committed, and not surely overwritten before it was asked for: a commit whose outcome
/// is not known may happen at any time.
fn check_one(commits: &[Commit], seen: &OffsetSeen) -> Result<(), String> {
    let of_partition = || commits.iter().filter(|commit| commit.partition == seen.partition);
    let known = of_partition()
        .filter(|commit| commit.outcome == CommitOutcome::Done)
        .filter(|commit| commit.answered.is_some_and(|answered| answered < seen.asked))
        .max_by_key(|commit| commit.asked);
    let is_possible = |commit: &&Commit| {
        let happened_until = match commit.outcome {
            CommitOutcome::Done => commit.answered.unwrap_or(Micros::MAX),
            CommitOutcome::Unknown => Micros::MAX,
            CommitOutcome::Refused => return false,
        };
        let is_overwritten = known.is_some_and(|known| happened_until < known.asked);
        commit.offset == seen.offset && commit.asked <= seen.answered && !is_overwritten
    };
    let is_right = match seen.offset {
        -1 => known.is_none(),
        _ => of_partition().any(|commit| is_possible(&commit)),
    };
    if is_right { Ok(()) } else { Err(format!("{seen:?} after {known:?} was acknowledged")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::id::TopicPartition;

    fn commit(offset: i64, asked: Micros, answered: Option<Micros>, outcome: CommitOutcome) -> Commit {
        let partition = TopicPartition::new("t", 0);
        Commit { member: "m".to_owned(), generation: 1, partition, offset, asked, answered, outcome }
    }

    #[test]
    fn a_step_back_is_found() {
        use CommitOutcome::*;
        let commits = [
            commit(5, 10, Some(20), Done),
            commit(7, 30, Some(40), Done),
            commit(9, 50, Some(60), Refused),
            commit(8, 70, None, Unknown),
        ];
        for (offset, asked, answered, is_right) in [
            (-1, 1, 12, true),
            (5, 1, 12, true),
            (-1, 21, 25, false),
            (7, 21, 25, false),
            (5, 35, 45, true),
            (5, 41, 45, false),
            (7, 41, 45, true),
            (9, 61, 65, false),
            (8, 71, 75, true),
            (7, 900, 901, true),
            (3, 900, 901, false),
        ] {
            let seen = OffsetSeen { partition: TopicPartition::new("t", 0), offset, asked, answered };
            assert_eq!(check_one(&commits, &seen).is_ok(), is_right, "{seen:?}");
        }
    }
}
