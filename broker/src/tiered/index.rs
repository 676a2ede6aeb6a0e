//! The remote segments of one partition by leader epoch, as Kafka's `RemoteLogMetadataCache` keeps them: which one holds an
//! offset of an epoch, up to where an epoch was copied, which ones nobody reads any more. Applies what the metadata topic
//! tells, in its order, and nothing else changes it.

use super::segment::{RemoteSegment, SegmentState, SegmentUpdate};
use super::store::KnownStore;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The segments that hold records of one leader epoch.
#[derive(Clone, Debug, Default)]
struct OfEpoch {
    /// Those that can be read, by where the epoch begins in them.
    by_start: BTreeMap<i64, Uuid>,
    /// Those that are copied or removed now, or that others replaced; whoever cleans up must find them.
    unreferenced: BTreeSet<Uuid>,
    /// The last offset of the epoch that ever was copied.
    highest: Option<i64>,
}

/// See the top of the file.
#[derive(Clone, Debug, Default)]
pub struct Index {
    segments: BTreeMap<Uuid, RemoteSegment>,
    epochs: BTreeMap<i32, OfEpoch>,
    store: KnownStore,
}

impl Index {
    /// A copy began. A segment that is further already stays as it is.
    pub fn add(&mut self, segment: RemoteSegment) {
        let known = self.segments.get(&segment.id).map(|known| known.state);
        if !is_valid(known, segment.state, segment.id) || segment.state != SegmentState::CopyStarted {
            return;
        }
        for epoch in segment.epochs.keys() {
            self.epochs.entry(*epoch).or_default().unreferenced.insert(segment.id);
        }
        self.segments.insert(segment.id, segment);
    }

    /// A segment's next state. Of one that is not known any more nothing is kept.
    pub fn update(&mut self, update: &SegmentUpdate) {
        let Some(segment) = self.segments.get_mut(&update.id) else {
            tracing::debug!(id = %update.id, state = ?update.state, "the remote segment is gone");
            return;
        };
        if update.state == SegmentState::CopyStarted || !is_valid(Some(segment.state), update.state, update.id) {
            return;
        }
        segment.state = update.state;
        segment.broker_id = update.broker_id;
        segment.event_timestamp_ms = update.event_timestamp_ms;
        segment.custom.clone_from(&update.custom);
        let segment = segment.clone();
        if update.state == SegmentState::CopyFinished {
            self.store.note(update.custom.as_ref());
        }
        for (epoch, start) in &segment.epochs {
            let of_epoch = self.epochs.entry(*epoch).or_default();
            let end = segment.epoch_end(*epoch);
            match update.state {
                SegmentState::CopyStarted => {}
                SegmentState::CopyFinished => {
                    let same = of_epoch.by_start.get(start).and_then(|other| self.segments.get(other));
                    if same.is_some_and(|other| other.id != segment.id && other.epoch_end(*epoch) > end) {
                        // Kafka forgets the longer one, and what only that one has is lost.
                        of_epoch.unreferenced.insert(segment.id);
                    } else {
                        of_epoch.copied(*start, segment.id, end);
                    }
                }
                SegmentState::DeleteStarted => {
                    if of_epoch.by_start.get(start) == Some(&segment.id) {
                        of_epoch.by_start.remove(start);
                    }
                    of_epoch.unreferenced.insert(segment.id);
                }
                SegmentState::DeleteFinished => {
                    of_epoch.unreferenced.remove(&segment.id);
                }
            }
        }
        if update.state == SegmentState::DeleteFinished {
            self.segments.remove(&update.id);
        }
    }

    /// What is known of a segment.
    pub fn get(&self, id: &Uuid) -> Option<&RemoteSegment> {
        self.segments.get(id)
    }

    /// All that are not gone, in no order that means anything.
    pub fn all(&self) -> impl Iterator<Item = &RemoteSegment> {
        self.segments.values()
    }

    /// What finished copies tell of the store they are in.
    pub fn store(&self) -> &KnownStore {
        &self.store
    }

    /// The readable segment that holds an offset of a leader epoch.
    pub fn find(&self, epoch: i32, offset: i64) -> Option<&RemoteSegment> {
        self.holding(epoch, offset).next()
    }

    /// All readable segments that hold an offset of a leader epoch, those that others replaced last.
    pub fn holding(&self, epoch: i32, offset: i64) -> impl Iterator<Item = &RemoteSegment> {
        let of_epoch = self.epochs.get(&epoch).filter(|of_epoch| of_epoch.highest.is_some_and(|last| offset <= last));
        let ids = of_epoch.into_iter().flat_map(move |of_epoch| {
            let read = of_epoch.by_start.range(..=offset).rev().map(|(_, id)| id);
            read.chain(&of_epoch.unreferenced)
        });
        ids.filter_map(|id| self.segments.get(id)).filter(move |segment| {
            segment.state == SegmentState::CopyFinished
                && segment.epochs.get(&epoch).is_some_and(|start| *start <= offset)
                && offset <= segment.epoch_end(epoch)
        })
    }

    /// The segments of an epoch that are not gone, those that nobody reads included, by start offset.
    pub fn of_epoch(&self, epoch: i32) -> Vec<&RemoteSegment> {
        let Some(of_epoch) = self.epochs.get(&epoch) else { return Vec::new() };
        let ids = of_epoch.by_start.values().chain(&of_epoch.unreferenced);
        let mut segments: Vec<&RemoteSegment> = ids.filter_map(|id| self.segments.get(id)).collect();
        segments.sort_by_key(|segment| segment.start_offset);
        segments
    }

    /// The last offset of an epoch that ever was copied.
    pub fn highest_of(&self, epoch: i32) -> Option<i64> {
        self.epochs.get(&epoch)?.highest
    }
}

impl OfEpoch {
    /// A copy is complete. Those that a leader copied before and that this one covers are replaced: a leader copies the whole
    /// of its own segment, of which another may have copied parts.
    fn copied(&mut self, start: i64, id: Uuid, end: i64) {
        while let Some((last, other)) = self.by_start.last_key_value().map(|(last, other)| (*last, *other))
            && last >= start
            && self.highest.is_none_or(|highest| highest <= end)
        {
            self.by_start.remove(&last);
            self.unreferenced.insert(other);
        }
        if let Some(other) = self.by_start.insert(start, id).filter(|other| *other != id) {
            self.unreferenced.insert(other);
        }
        self.unreferenced.remove(&id);
        self.highest = Some(self.highest.map_or(end, |highest| highest.max(end)));
    }
}

fn is_valid(from: Option<SegmentState>, to: SegmentState, id: Uuid) -> bool {
    let is_valid = SegmentState::may_become(from, to);
    if !is_valid {
        tracing::warn!(%id, ?from, ?to, "a remote segment's state is passed over");
    }
    is_valid
}

#[cfg(test)]
mod tests {
    use super::*;
    use SegmentState::{CopyFinished as Done, CopyStarted as Copying, DeleteFinished as Gone, DeleteStarted as Going};

    /// id, start, end, epochs.
    type Row = (u128, i64, i64, &'static [(i32, i64)]);

    pub(super) fn segment((id, start_offset, end_offset, epochs): Row) -> RemoteSegment {
        RemoteSegment {
            id: Uuid::from_u128(id),
            start_offset,
            end_offset,
            max_timestamp_ms: 0,
            broker_id: 1,
            event_timestamp_ms: 0,
            size_bytes: 100,
            epochs: epochs.iter().copied().collect(),
            custom: None,
            state: Copying,
        }
    }

    fn update(id: u128, state: SegmentState) -> SegmentUpdate {
        SegmentUpdate { id: Uuid::from_u128(id), event_timestamp_ms: 1, custom: None, state, broker_id: 2 }
    }

    /// What is found for (epoch, offset), and the highest offset of epochs 0 to 2.
    fn check(
        name: &str,
        rows: &[Row],
        updates: &[(u128, SegmentState)],
        found: &[(i32, i64, u128)],
        highest: [i64; 3],
    ) {
        let mut index = Index::default();
        for row in rows {
            index.add(segment(*row));
        }
        for (id, state) in updates {
            index.update(&update(*id, *state));
        }
        for (epoch, offset, id) in found {
            let held = index.find(*epoch, *offset).map_or(0, |segment| segment.id.as_u128());
            assert_eq!(held, *id, "{name}: epoch {epoch} offset {offset}");
        }
        assert_eq!([0, 1, 2].map(|epoch| index.highest_of(epoch).unwrap_or(-1)), highest, "{name}");
    }

    #[test]
    fn an_offset_is_found_in_its_epoch() {
        let plain: &[Row] = &[(1, 0, 99, &[(0, 0)]), (2, 100, 199, &[(0, 100), (1, 150), (2, 180)])];
        let both = &[(1, Done), (2, Done)];
        check("copying", plain, &[], &[(0, 0, 0)], [-1; 3]);
        check(
            "done",
            plain,
            both,
            &[
                (0, 0, 1),
                (0, 99, 1),
                (0, 100, 2),
                (0, 149, 2),
                (0, 150, 0),
                (1, 149, 0),
                (1, 150, 2),
                (1, 179, 2),
                (1, 180, 0),
                (2, 199, 2),
                (2, 200, 0),
                (3, 0, 0),
            ],
            [149, 179, 199],
        );
        check("going", plain, &[(1, Done), (2, Done), (1, Going)], &[(0, 50, 0), (0, 100, 2)], [149, 179, 199]);
        check("gone", plain, &[(1, Done), (2, Done), (1, Going), (1, Gone)], &[(0, 50, 0)], [149, 179, 199]);
        check("not finished, and given up", plain, &[(1, Going), (1, Gone), (1, Done)], &[(0, 50, 0)], [-1; 3]);
        check("out of order", plain, &[(1, Gone), (1, Done)], &[(0, 50, 1)], [99, -1, -1]);
    }

    #[test]
    fn a_later_copy_replaces_what_it_covers() {
        let covered: &[Row] = &[(1, 0, 100, &[(0, 0)]), (2, 0, 200, &[(0, 0)])];
        check("longer", covered, &[(1, Done), (2, Done)], &[(0, 50, 2), (0, 150, 2)], [200, -1, -1]);
        let overlapping: &[Row] = &[(1, 10, 90, &[(0, 10)]), (2, 5, 100, &[(0, 5)]), (3, 101, 200, &[(0, 101)])];
        check(
            "overlapping",
            overlapping,
            &[(1, Done), (2, Done), (3, Done)],
            &[(0, 95, 2), (0, 101, 3)],
            [200, -1, -1],
        );
        let shorter: &[Row] = &[(1, 0, 200, &[(0, 0)]), (2, 0, 100, &[(0, 0)])];
        check("shorter", shorter, &[(1, Done), (2, Done)], &[(0, 50, 1), (0, 150, 1)], [200, -1, -1]);
        check("the longer one goes", shorter, &[(1, Done), (2, Done), (1, Going)], &[(0, 50, 2)], [200, -1, -1]);
        let within: &[Row] = &[(1, 0, 200, &[(0, 0)]), (2, 50, 100, &[(0, 50)])];
        check(
            "one that lies within another",
            within,
            &[(1, Done), (2, Done)],
            &[(0, 49, 1), (0, 50, 2), (0, 101, 1), (0, 201, 0)],
            [200, -1, -1],
        );
    }

    #[test]
    fn those_that_nobody_reads_are_listed_until_they_are_gone() {
        let mut index = Index::default();
        for row in [(1, 0, 100, &[(0, 0)][..]), (2, 0, 200, &[(0, 0)]), (3, 201, 300, &[(0, 201), (1, 250)])] {
            index.add(segment(row));
        }
        let listed =
            |index: &Index, epoch| index.of_epoch(epoch).iter().map(|one| one.id.as_u128()).collect::<Vec<_>>();
        for (id, state, epoch_0, epoch_1) in [
            (1, Done, vec![1, 2, 3], vec![3]),
            (2, Done, vec![2, 1, 3], vec![3]),
            (1, Going, vec![2, 1, 3], vec![3]),
            (1, Gone, vec![2, 3], vec![3]),
            (3, Going, vec![2, 3], vec![3]),
            (3, Gone, vec![2], vec![]),
        ] {
            index.update(&update(id, state));
            assert_eq!((listed(&index, 0), listed(&index, 1)), (epoch_0, epoch_1), "after {id} {state:?}");
        }
        assert_eq!(index.all().count(), 1);
    }
}
