//! What of the remote part of a partition may go: by time, by size, by the log's start, what of former leaders nobody can
//! read, and what began to go. Kafka 3.9's `RLMExpirationTask`, but that only finished copies count and move the log's start,
//! as in Kafka 4: what failed is not in the store, and no broker may delete its own for that. Removes nothing.

use super::index::Index;
use super::lineage::{self, Epochs};
use super::segment::{RemoteSegment, SegmentState};
use crate::log::epochs::EpochEntry;
use std::collections::BTreeSet;
use uuid::Uuid;

/// What the leader's log says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention<'a> {
    /// The wall clock, milliseconds since the epoch.
    pub now_ms: i64,
    /// `retention.ms`; negative keeps all.
    pub retention_ms: i64,
    /// `retention.bytes`; negative keeps all.
    pub retention_bytes: i64,
    /// Bytes of the local segments that are not in the store.
    pub only_local_bytes: u64,
    /// Log start offset.
    pub log_start_offset: i64,
    /// Log end offset.
    pub log_end_offset: i64,
    /// The log's leader epochs.
    pub epochs: &'a [EpochEntry],
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expired {
    /// Where the log begins from now on; to be told before anything is removed.
    pub log_start_offset: Option<i64>,
    /// Segments to be removed, in order.
    pub segments: Vec<Uuid>,
}

/// Decides.
pub(super) fn expired(index: &Index, log: Retention<'_>) -> Expired {
    let leader = lineage::of_log(log.epochs);
    let mut surplus_bytes = surplus_bytes(index, log, &leader);
    let mut found = Expired::default();
    let mut seen = BTreeSet::new();
    'all: for &epoch in leader.keys() {
        for segment in index.of_epoch(epoch) {
            if segment.state >= SegmentState::DeleteStarted || seen.contains(&segment.id) {
                continue;
            }
            let is_finished = segment.state == SegmentState::CopyFinished;
            let mut goes = is_before_start(segment, log.log_start_offset, &leader);
            let mut is_ours = false;
            if !goes {
                is_ours = lineage::holds(segment, log.log_end_offset, &leader);
                let is_too_large = surplus_bytes > 0 && segment.bytes() <= surplus_bytes;
                goes = is_ours
                    && match is_finished {
                        true => is_too_old(segment, log) || is_too_large,
                        // With what was copied in its place.
                        false => {
                            is_too_old(segment, log)
                                || found.log_start_offset.is_some_and(|start| segment.end_offset < start)
                        }
                    };
                if goes && is_finished {
                    surplus_bytes = surplus_bytes.saturating_sub(segment.bytes());
                    let behind = segment.end_offset + 1;
                    found.log_start_offset = Some(found.log_start_offset.map_or(behind, |start| start.max(behind)));
                }
            }
            if goes {
                seen.insert(segment.id);
                found.segments.push(segment.id);
            }
            if !goes && is_ours && is_finished {
                break 'all;
            }
        }
    }
    // After an unclean election there may be segments of epochs before the leader's first.
    if let Some(earliest) = log.epochs.first() {
        let mut before: Vec<&RemoteSegment> = index
            .all()
            .filter(|segment| segment.epochs.keys().all(|epoch| *epoch < earliest.epoch))
            .filter(|segment| segment.state < SegmentState::DeleteStarted && !seen.contains(&segment.id))
            .collect();
        before.sort_by_key(|segment| (segment.start_offset, segment.id));
        found.segments.extend(before.iter().map(|segment| segment.id));
    }
    // Last, so that one that cannot be removed keeps nothing else.
    let mut going: Vec<&RemoteSegment> =
        index.all().filter(|segment| segment.state == SegmentState::DeleteStarted).collect();
    going.sort_by_key(|segment| (segment.start_offset, segment.id));
    found.segments.extend(going.iter().map(|segment| segment.id));
    found
}

/// What ends before the log's start, by offsets alone: for a log whose epochs do not reach back to its start.
pub(super) fn before(index: &Index, log_start_offset: i64) -> Vec<Uuid> {
    let mut before: Vec<&RemoteSegment> = index.all().filter(|segment| segment.end_offset < log_start_offset).collect();
    before.sort_by_key(|segment| (segment.start_offset, segment.id));
    before.iter().map(|segment| segment.id).collect()
}

fn is_too_old(segment: &RemoteSegment, log: Retention<'_>) -> bool {
    log.retention_ms >= 0 && segment.max_timestamp_ms <= log.now_ms.saturating_sub(log.retention_ms)
}

/// The log's start was moved behind it: its epochs are then gone from the leader's, or about to go.
fn is_before_start(segment: &RemoteSegment, log_start_offset: i64, leader: &Epochs) -> bool {
    leader.first_key_value().is_some_and(|(first, _)| segment.epochs.keys().all(|epoch| epoch <= first))
        && segment.end_offset < log_start_offset
}

/// Bytes above `retention.bytes`, of what is in the store and what is only here.
fn surplus_bytes(index: &Index, log: Retention<'_>, leader: &Epochs) -> u64 {
    let Ok(retention_bytes) = u64::try_from(log.retention_bytes) else { return 0 };
    let mut counted = BTreeSet::new();
    let mut bytes = log.only_local_bytes;
    for segment in leader.keys().flat_map(|epoch| index.of_epoch(*epoch)) {
        let is_there = segment.state == SegmentState::CopyFinished && segment.end_offset >= log.log_start_offset;
        if is_there && lineage::holds(segment, log.log_end_offset, leader) && counted.insert(segment.id) {
            bytes = bytes.saturating_add(segment.bytes());
        }
    }
    bytes.saturating_sub(retention_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiered::segment::SegmentUpdate;

    /// Number, leader epochs, state.
    type Row = (u8, &'static [(i32, i64)], SegmentState);

    /// Segments of 100 offsets, 100 bytes, and timestamps of ten times their last offset; (number, epochs, state).
    fn index(rows: &[Row]) -> Index {
        let mut index = Index::default();
        for (number, epochs, state) in rows {
            let start_offset = i64::from(*number % 10) * 100;
            let id = Uuid::from_u128(u128::from(*number));
            index.add(RemoteSegment {
                id,
                start_offset,
                end_offset: start_offset + 99,
                max_timestamp_ms: (start_offset + 99) * 10,
                broker_id: 1,
                event_timestamp_ms: 0,
                size_bytes: 100,
                epochs: epochs.iter().copied().collect(),
                custom: None,
                state: SegmentState::CopyStarted,
            });
            for state in (1..=state.id()).filter_map(SegmentState::of) {
                index.update(&SegmentUpdate { id, event_timestamp_ms: 0, custom: None, state, broker_id: 1 });
            }
        }
        index
    }

    #[test]
    fn what_may_go_goes_from_the_start_on() {
        use SegmentState::{CopyFinished as Done, CopyStarted as Copying, DeleteStarted as Going};
        let four: &[Row] =
            &[(0, &[(0, 0)], Done), (1, &[(0, 100), (1, 150)], Done), (2, &[(1, 200)], Done), (3, &[(1, 300)], Done)];
        let epochs = [EpochEntry { epoch: 0, start_offset: 0 }, EpochEntry { epoch: 1, start_offset: 150 }];
        let keep = Retention {
            now_ms: 10_000,
            retention_ms: -1,
            retention_bytes: -1,
            only_local_bytes: 50,
            log_start_offset: 0,
            log_end_offset: 450,
            epochs: &epochs,
        };
        let cut = [EpochEntry { epoch: 1, start_offset: 250 }];
        let later = [EpochEntry { epoch: 5, start_offset: 0 }];
        let dangling: &[Row] = &[(10, &[(0, 0)], Copying), (0, &[(0, 0)], Done), (1, &[(0, 100), (1, 150)], Going)];
        // The store was away: of the end of the log there are three copies that failed.
        let failed: &[Row] = &[
            (0, &[(0, 0)], Done),
            (1, &[(0, 100), (1, 150)], Done),
            (2, &[(1, 200)], Going),
            (12, &[(1, 200)], Going),
            (22, &[(1, 200)], Copying),
        ];
        for (name, rows, log, segments, start) in [
            ("all stays", four, keep, &[][..], None),
            ("by time", four, Retention { retention_ms: 8010, ..keep }, &[0, 1], Some(200)),
            ("just not by time", four, Retention { retention_ms: 8011, ..keep }, &[0], Some(100)),
            ("all by time", four, Retention { retention_ms: 0, ..keep }, &[0, 1, 2, 3], Some(400)),
            ("by size", four, Retention { retention_bytes: 250, ..keep }, &[0, 1], Some(200)),
            ("by size, no more than is too much", four, Retention { retention_bytes: 251, ..keep }, &[0], Some(100)),
            ("by both", four, Retention { retention_ms: 9010, retention_bytes: 250, ..keep }, &[0, 1], Some(200)),
            // Segment 2 ends behind the start, and so stays.
            ("by start", four, Retention { log_start_offset: 250, epochs: &cut, ..keep }, &[1, 0], None),
            ("of former leaders", four, Retention { epochs: &later, ..keep }, &[0, 1, 2, 3], None),
            ("a log without records", four, Retention { epochs: &[], ..keep }, &[], None),
            (
                "by size, what lies before the start is gone",
                four,
                Retention { retention_bytes: 250, log_start_offset: 100, ..keep },
                &[0, 1],
                Some(200),
            ),
            ("copies that nobody finished", dangling, Retention { retention_ms: 8500, ..keep }, &[0, 10, 1], Some(100)),
            ("of those by size", dangling, Retention { retention_bytes: 50, ..keep }, &[0, 10, 1], Some(100)),
            ("a removal that nobody finished", dangling, keep, &[1], None),
            (
                "nor is the log's end gone with it",
                dangling,
                Retention { retention_ms: 0, ..keep },
                &[0, 10, 1],
                Some(100),
            ),
            ("failed copies do not count", failed, Retention { retention_bytes: 250, ..keep }, &[2, 12], None),
            ("and the rest does", failed, Retention { retention_bytes: 249, ..keep }, &[2, 12], None),
            ("up to what is too much", failed, Retention { retention_bytes: 150, ..keep }, &[0, 2, 12], Some(100)),
            (
                "by time no more than is in the store",
                failed,
                Retention { retention_ms: 0, ..keep },
                &[0, 1, 22, 2, 12],
                Some(200),
            ),
            ("and no more by size", failed, Retention { retention_bytes: 0, ..keep }, &[0, 1, 2, 12], Some(200)),
        ] {
            let ids: Vec<u128> = expired(&index(rows), log).segments.iter().map(Uuid::as_u128).collect();
            let expected: Vec<u128> = segments.to_vec();
            assert_eq!((ids, expired(&index(rows), log).log_start_offset), (expected, start), "{name}");
        }
    }
}
