//! One segment in the remote store, and its life. Knows no store and no log.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// A partition of the topic that has this id; another topic of the same name is another place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Topic.
    pub topic: Arc<str>,
    /// The topic's id.
    pub topic_id: Uuid,
    /// Partition.
    pub partition: i32,
}

/// Where a segment stands. Read by every broker that holds the partition, from `__remote_log_metadata`.
///
/// nothing -> CopyStarted -> CopyFinished -> DeleteStarted -> DeleteFinished; CopyStarted -> DeleteStarted for a copy that
/// nobody finished. Each may be told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SegmentState {
    /// Its files are being written.
    CopyStarted,
    /// It can be read.
    CopyFinished,
    /// Its files are being removed.
    DeleteStarted,
    /// They are gone.
    DeleteFinished,
}

impl SegmentState {
    /// As records have it.
    pub fn id(self) -> i8 {
        self as i8
    }

    /// The state of an id.
    pub fn of(id: i8) -> Option<SegmentState> {
        use SegmentState::{CopyFinished, CopyStarted, DeleteFinished, DeleteStarted};
        [CopyStarted, CopyFinished, DeleteStarted, DeleteFinished].into_iter().find(|state| state.id() == id)
    }

    /// Whether `to` may follow `from`; `None` is a segment that nothing is known of.
    pub fn may_become(from: Option<SegmentState>, to: SegmentState) -> bool {
        use SegmentState::{CopyFinished, CopyStarted, DeleteFinished, DeleteStarted};
        match from {
            None => to == CopyStarted,
            Some(from) if from == to => true,
            Some(CopyStarted) => matches!(to, CopyFinished | DeleteStarted),
            Some(CopyFinished) => to == DeleteStarted,
            Some(DeleteStarted) => to == DeleteFinished,
            Some(DeleteFinished) => false,
        }
    }
}

/// Where the deletion of a whole partition stands. Kafka 3.9 declares it and writes none; it is read and passed over.
///
/// nothing -> Marked -> Started -> Finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartitionDeleteState {
    /// Its segments may go.
    Marked,
    /// They are going.
    Started,
    /// They are gone.
    Finished,
}

impl PartitionDeleteState {
    /// As records have it.
    pub fn id(self) -> i8 {
        self as i8
    }

    /// The state of an id.
    pub fn of(id: i8) -> Option<PartitionDeleteState> {
        use PartitionDeleteState::{Finished, Marked, Started};
        [Marked, Started, Finished].into_iter().find(|state| state.id() == id)
    }

    /// Whether `to` may follow `from`; `None` is a partition whose deletion nobody began.
    pub fn may_become(from: Option<PartitionDeleteState>, to: PartitionDeleteState) -> bool {
        match from {
            None => to == PartitionDeleteState::Marked,
            Some(from) => from == to || from.id() + 1 == to.id(),
        }
    }
}

/// What is known of a segment in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSegment {
    /// Its own id: the same stretch copied twice is two segments.
    pub id: Uuid,
    /// Base offset of the local segment it was copied from.
    pub start_offset: i64,
    /// Last offset, which need not have a record.
    pub end_offset: i64,
    /// Largest timestamp.
    pub max_timestamp_ms: i64,
    /// The broker that told of its state last.
    pub broker_id: i32,
    /// When it did.
    pub event_timestamp_ms: i64,
    /// Bytes of its records.
    pub size_bytes: i32,
    /// The leader epochs in it and where each begins, the first one at or behind the start offset; never empty.
    pub epochs: BTreeMap<i32, i64>,
    /// What a store may add: here its id, when the copy is finished.
    pub custom: Option<Bytes>,
    /// Where it stands.
    pub state: SegmentState,
}

impl RemoteSegment {
    /// The last offset of a leader epoch in it.
    pub fn epoch_end(&self, epoch: i32) -> i64 {
        match self.epochs.range(epoch.saturating_add(1)..).next() {
            Some((_, next_start)) => next_start - 1,
            None => self.end_offset,
        }
    }

    /// Bytes, which no record makes negative.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.size_bytes).unwrap_or(0)
    }
}

/// A segment's next state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentUpdate {
    /// Which segment.
    pub id: Uuid,
    /// When it was told.
    pub event_timestamp_ms: i64,
    /// As in [`RemoteSegment`].
    pub custom: Option<Bytes>,
    /// The state.
    pub state: SegmentState,
    /// Who told it.
    pub broker_id: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_follow_each_other() {
        let all: Vec<Option<SegmentState>> = [None].into_iter().chain((0..4).map(SegmentState::of)).collect();
        let allowed: Vec<(i8, i8)> = all
            .iter()
            .flat_map(|from| all.iter().flatten().map(move |to| (*from, *to)))
            .filter(|(from, to)| SegmentState::may_become(*from, *to))
            .map(|(from, to)| (from.map_or(-1, SegmentState::id), to.id()))
            .collect();
        assert_eq!(allowed, [(-1, 0), (0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2), (2, 3), (3, 3)]);
        let all: Vec<Option<PartitionDeleteState>> =
            [None].into_iter().chain((0..3).map(PartitionDeleteState::of)).collect();
        let allowed: Vec<(i8, i8)> = all
            .iter()
            .flat_map(|from| all.iter().flatten().map(move |to| (*from, *to)))
            .filter(|(from, to)| PartitionDeleteState::may_become(*from, *to))
            .map(|(from, to)| (from.map_or(-1, PartitionDeleteState::id), to.id()))
            .collect();
        assert_eq!(allowed, [(-1, 0), (0, 0), (0, 1), (1, 1), (1, 2), (2, 2)]);
        assert_eq!((SegmentState::of(4), PartitionDeleteState::of(-1)), (None, None));
    }
}
