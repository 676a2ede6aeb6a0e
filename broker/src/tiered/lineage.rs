//! Which remote segments belong to the history that the partition's leader has: after an unclean election the store also
//! holds what others wrote. The rules are those of Kafka 3.9's `RemoteLogManager`.

use super::index::Index;
use super::segment::{RemoteSegment, SegmentState};
use crate::log::epochs::EpochEntry;
use std::collections::BTreeMap;

/// Leader epochs and where each begins.
pub type Epochs = BTreeMap<i32, i64>;

/// Those that have records: of several that begin at one offset the last.
pub fn with_records(entries: impl IntoIterator<Item = (i32, i64)>) -> Epochs {
    let mut epochs = Epochs::new();
    for (epoch, start) in entries {
        if let Some((&last, &same)) = epochs.last_key_value()
            && same == start
        {
            epochs.remove(&last);
        }
        epochs.insert(epoch, start);
    }
    epochs
}

/// The same of what a log knows.
pub fn of_log(entries: &[EpochEntry]) -> Epochs {
    with_records(entries.iter().map(|entry| (entry.epoch, entry.start_offset)))
}

/// Whether all of a segment lies in the leader's history: its epochs are those of the leader, each up to where the leader's
/// ends, except that the first one may begin elsewhere.
pub fn holds(segment: &RemoteSegment, log_end_offset: i64, leader: &Epochs) -> bool {
    let epochs = with_records(segment.epochs.iter().map(|(epoch, start)| (*epoch, *start)));
    let (Some((&last, _)), Some((&leader_first, _)), Some((&leader_last, _))) =
        (epochs.last_key_value(), leader.first_key_value(), leader.last_key_value())
    else {
        return false;
    };
    if last < leader_first || last > leader_last {
        return false;
    }
    // What lies before the leader's first epoch was deleted, or overlaps with what was.
    let Some((&first, _)) = epochs.range(leader_first..).next() else { return false };
    for (&epoch, &start) in epochs.range(first..) {
        let Some(&leader_start) = leader.get(&epoch) else { return false };
        let is_leaders_first = epoch == leader_first;
        if epoch == first && !is_leaders_first && start < leader_start {
            return false;
        }
        let next = epoch.saturating_add(1);
        let leader_next = leader.range(next..).next();
        if epoch == last {
            if leader_next.is_some_and(|(_, next_start)| segment.end_offset > next_start - 1) {
                return false;
            }
        } else if leader_next != epochs.range(next..).next() {
            return false;
        }
    }
    segment.end_offset < log_end_offset
}

/// The last offset of the leader's history that is in the store; -1 if there is none.
pub fn highest_copied(index: &Index, entries: &[EpochEntry], log_end_offset: i64) -> i64 {
    for (number, entry) in entries.iter().enumerate().rev() {
        let Some(highest) = index.highest_of(entry.epoch) else { continue };
        let end = entries.get(number + 1).map_or(log_end_offset, |next| next.start_offset);
        return highest.min(end - 1);
    }
    -1
}

/// Where the leader's history begins in the store, if anything of it is there: what is being copied or removed is not.
pub fn first_copied(index: &Index, entries: &[EpochEntry]) -> Option<i64> {
    let first = |entry: &EpochEntry| {
        let segments = index.of_epoch(entry.epoch).into_iter();
        segments.filter(|segment| segment.state == SegmentState::CopyFinished).map(|segment| segment.start_offset).min()
    };
    entries.iter().find_map(first)
}

/// The epoch in which an offset was written.
pub fn epoch_of(entries: &[EpochEntry], offset: i64) -> Option<i32> {
    let after = entries.partition_point(|entry| entry.start_offset <= offset);
    after.checked_sub(1).map(|at| entries[at].epoch)
}

/// The readable segment that holds an offset of the leader's history, and up to where (exclusive, behind the offset) it does:
/// one of which all is the leader's if there is one, else no more than the leader has of the epoch. What lies behind the log's
/// end is not its history: a follower hears of what its leader copied before it has it.
pub fn find<'a>(
    index: &'a Index,
    entries: &[EpochEntry],
    log_end_offset: i64,
    offset: i64,
) -> Option<(&'a RemoteSegment, i64)> {
    let epoch = epoch_of(entries, offset).filter(|_| offset < log_end_offset)?;
    let leader = of_log(entries);
    let mut partly = None;
    for segment in index.holding(epoch, offset) {
        if holds(segment, log_end_offset, &leader) {
            return Some((segment, segment.end_offset + 1));
        }
        partly = partly.or(Some(segment));
    }
    let next = entries.iter().find(|entry| entry.epoch > epoch);
    let end = next.map_or(log_end_offset, |next| next.start_offset);
    partly.map(|segment| (segment, end.min(segment.epoch_end(epoch) + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiered::segment::SegmentUpdate;
    use uuid::Uuid;

    fn segment(id: u128, start_offset: i64, end_offset: i64, epochs: &[(i32, i64)]) -> RemoteSegment {
        RemoteSegment {
            id: Uuid::from_u128(id),
            start_offset,
            end_offset,
            max_timestamp_ms: 0,
            broker_id: 1,
            event_timestamp_ms: 0,
            size_bytes: 1,
            epochs: epochs.iter().copied().collect(),
            custom: None,
            state: SegmentState::CopyStarted,
        }
    }

    #[test]
    fn epochs_without_records_do_not_count() {
        let given = [(0, 0), (1, 10), (2, 20), (3, 30), (4, 40), (5, 60), (6, 60), (7, 70)];
        let kept = [(0, 0), (1, 10), (2, 20), (3, 30), (4, 40), (6, 60), (7, 70)];
        assert_eq!(with_records(given), Epochs::from(kept));
        assert_eq!(with_records([(1, 0), (2, 0), (3, 0)]), Epochs::from([(3, 0)]));
        assert!(with_records([]).is_empty());
    }

    /// The cases of Kafka's `RemoteLogManagerTest.testRemoteSegmentWithinLeaderEpochs` and its neighbours.
    #[test]
    fn a_segment_belongs_to_the_leader_or_does_not() {
        let leader = &[(0, 10), (1, 20), (2, 30), (3, 40), (5, 60)][..];
        let truncated = &[(7, 51), (9, 100)][..];
        for (name, leader, (start, end, epochs), expected) in [
            ("one epoch", leader, (15, 19, &[(0, 15)][..]), true),
            ("exactly", leader, (10, 19, &[(0, 10)]), true),
            ("several", leader, (15, 35, &[(0, 15), (1, 20), (2, 30)]), true),
            ("begins before the leader's first", leader, (5, 19, &[(0, 5)]), true),
            ("an epoch begins elsewhere", leader, (15, 35, &[(0, 15), (1, 19), (2, 30)]), false),
            ("an epoch too many", leader, (40, 65, &[(3, 40), (4, 50), (5, 60)]), false),
            ("an epoch is missing", leader, (15, 35, &[(0, 15), (2, 20)]), false),
            ("the last epoch is too long", leader, (15, 20, &[(0, 15)]), false),
            ("begins before its epoch", leader, (18, 25, &[(1, 18)]), false),
            ("above all epochs", leader, (70, 75, &[(6, 70)]), false),
            ("up to the end", leader, (60, 89, &[(5, 60)]), true),
            ("beyond the end", leader, (60, 90, &[(5, 60)]), false),
            ("an epoch of its without records", leader, (15, 35, &[(0, 15), (1, 20), (2, 30), (3, 36)]), false),
            ("none of ours in it without records", leader, (15, 35, &[(0, 15), (1, 20), (2, 30), (-1, 15)]), true),
            ("overlaps with what was deleted", truncated, (14, 150, &[(5, 14), (7, 15), (9, 100)]), true),
            ("all of it was deleted", truncated, (5, 50, &[(5, 10), (6, 15)]), false),
        ] {
            let log_end = if leader.len() == 2 { 200 } else { 90 };
            let leader: Epochs = leader.iter().copied().collect();
            assert_eq!(holds(&segment(1, start, end, epochs), log_end, &leader), expected, "{name}");
        }
    }

    #[test]
    fn how_far_the_leaders_history_is_copied() {
        let mut index = Index::default();
        for (id, start, end, epochs) in
            [(1, 5, 99, &[(0, 5)][..]), (2, 100, 249, &[(0, 100), (1, 150)]), (3, 250, 299, &[(3, 250)])]
        {
            index.add(segment(id, start, end, epochs));
            let id = Uuid::from_u128(id);
            let state = SegmentState::CopyFinished;
            index.update(&SegmentUpdate { id, event_timestamp_ms: 0, custom: None, state, broker_id: 1 });
        }
        let entries = |pairs: &[(i32, i64)]| -> Vec<EpochEntry> {
            pairs.iter().map(|&(epoch, start_offset)| EpochEntry { epoch, start_offset }).collect()
        };
        for (leader, log_end, highest, first) in [
            (&[(0, 0)][..], 400, 149, Some(5)),
            (&[(0, 0), (1, 150)], 400, 249, Some(5)),
            // This leader had only a part of what the one of epoch 1 copied.
            (&[(0, 0), (1, 150), (2, 200)], 400, 199, Some(5)),
            (&[(0, 0), (1, 150)], 180, 179, Some(5)),
            (&[(3, 250)], 400, 299, Some(250)),
            (&[(7, 0)], 400, -1, None),
            (&[], 0, -1, None),
        ] {
            let leader = entries(leader);
            let found = (highest_copied(&index, &leader, log_end), first_copied(&index, &leader));
            assert_eq!(found, (highest, first), "{leader:?}");
        }
        let leader = entries(&[(0, 0), (1, 150)]);
        let found = |offset| find(&index, &leader, 400, offset).map_or(0, |(segment, _)| segment.id.as_u128());
        assert_eq!([0, 5, 99, 100, 150, 249, 250].map(found), [0, 1, 1, 2, 2, 2, 0]);
    }

    #[test]
    fn a_follower_finds_no_more_than_it_has() {
        let mut index = Index::default();
        for (id, start, end) in [(1, 0, 99), (2, 100, 199)] {
            index.add(segment(id, start, end, &[(0, start)]));
            let (id, state) = (Uuid::from_u128(id), SegmentState::CopyFinished);
            index.update(&SegmentUpdate { id, event_timestamp_ms: 0, custom: None, state, broker_id: 1 });
        }
        let entries = [EpochEntry { epoch: 0, start_offset: 0 }];
        for (offset, expected) in
            [(0, Some((1, 100))), (100, Some((2, 150))), (149, Some((2, 150))), (150, None), (199, None)]
        {
            let found = find(&index, &entries, 150, offset).map(|(found, end)| (found.id.as_u128(), end));
            assert_eq!(found, expected, "{offset}");
        }
    }

    #[test]
    fn where_the_store_begins_is_what_can_be_read() {
        let mut index = Index::default();
        let states = [SegmentState::CopyFinished, SegmentState::DeleteStarted];
        for (id, start, states) in [(1, 0, &states[..]), (2, 0, &states[1..]), (3, 100, &states[..1]), (4, 50, &[])] {
            index.add(segment(id, start, start + 99, &[(0, start)]));
            for state in states {
                let (id, state) = (Uuid::from_u128(id), *state);
                index.update(&SegmentUpdate { id, event_timestamp_ms: 0, custom: None, state, broker_id: 1 });
            }
        }
        assert_eq!(first_copied(&index, &[EpochEntry { epoch: 0, start_offset: 0 }]), Some(100));
    }

    #[test]
    fn what_others_wrote_behind_the_leaders_epoch_is_not_read() {
        let mut index = Index::default();
        // 1 goes on in epoch 0 where the leader of epoch 2 did not; 2 is what that one copied of the same.
        let rows = [(1, 0, 99, &[(0, 0)][..]), (2, 20, 89, &[(0, 20), (2, 60)]), (3, 100, 149, &[(0, 100), (1, 120)])];
        for (number, (id, start, end, epochs)) in rows.into_iter().enumerate() {
            index.add(segment(id, start, end, epochs));
            let (id, state) = (Uuid::from_u128(id), SegmentState::CopyFinished);
            index.update(&SegmentUpdate { id, event_timestamp_ms: 0, custom: None, state, broker_id: 1 });
            let leader = [EpochEntry { epoch: 0, start_offset: 0 }, EpochEntry { epoch: 2, start_offset: 60 }];
            let found = |offset| find(&index, &leader, 200, offset).map(|(found, end)| (found.id.as_u128(), end));
            let expected = match number {
                0 => [Some((1, 60)), Some((1, 60)), None],
                _ => [Some((1, 60)), Some((2, 90)), Some((2, 90))],
            };
            assert_eq!([10, 59, 60].map(found), expected, "{number}");
        }
    }
}
