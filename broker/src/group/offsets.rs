//! The committed offsets of one group: what stands, what is on its way into the log, and what a transaction holds back.
//! Appends nothing and knows no members.

use super::records::OffsetValue;
use std::collections::{BTreeMap, BTreeSet};

/// Topic and partition.
pub type Place = (String, i32);

/// A committed offset and where in `__consumer_offsets` it stands: of two, the later record counts, also when a
/// transaction makes it visible long after it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    /// Offset of its record.
    pub record_offset: i64,
    /// What was committed.
    pub value: OffsetValue,
}

/// Offsets of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offsets {
    committed: BTreeMap<Place, Committed>,
    /// Commits appended but not yet replicated, counted by place.
    pending: BTreeMap<Place, u32>,
    /// By producer id: offsets of an open transaction, replicated.
    transactional: BTreeMap<i64, BTreeMap<Place, Committed>>,
}

impl Offsets {
    /// The committed offset of a partition.
    pub(super) fn get(&self, place: &Place) -> Option<&OffsetValue> {
        self.committed.get(place).map(|committed| &committed.value)
    }

    /// All committed offsets, by topic and partition.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Place, &OffsetValue)> {
        self.committed.iter().map(|(place, committed)| (place, &committed.value))
    }

    /// True if there is nothing: neither committed, nor on its way, nor in a transaction.
    pub(super) fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty() && self.transactional.is_empty()
    }

    /// True if a newer offset may become visible: one on its way, or one in an open transaction (KIP-447).
    pub(super) fn is_unstable(&self, place: &Place) -> bool {
        self.pending.contains_key(place) || self.transactional.values().any(|offsets| offsets.contains_key(place))
    }

    /// A commit was appended and waits to be replicated.
    pub(super) fn begin(&mut self, place: Place) {
        *self.pending.entry(place).or_insert(0) += 1;
    }

    /// That commit is replicated.
    pub(super) fn end(&mut self, place: &Place) {
        if let Some(count) = self.pending.get_mut(place) {
            *count -= 1;
            if *count == 0 {
                self.pending.remove(place);
            }
        }
    }

    /// Applies a record; `None` is a tombstone.
    pub(super) fn apply(&mut self, place: Place, record_offset: i64, value: Option<OffsetValue>) {
        match value {
            None => {
                self.committed.remove(&place);
            }
            Some(value) => {
                let is_newer = self.committed.get(&place).is_none_or(|known| known.record_offset <= record_offset);
                if is_newer {
                    self.committed.insert(place, Committed { record_offset, value });
                }
            }
        }
    }

    /// Applies a record written in a transaction: it counts once the transaction commits.
    pub(super) fn apply_in_transaction(
        &mut self,
        producer_id: i64,
        place: Place,
        record_offset: i64,
        value: Option<OffsetValue>,
    ) {
        let offsets = self.transactional.entry(producer_id).or_default();
        match value {
            Some(value) => {
                offsets.insert(place, Committed { record_offset, value });
            }
            None => {
                offsets.remove(&place);
            }
        }
    }

    /// A transaction ended.
    pub(super) fn end_transaction(&mut self, producer_id: i64, is_commit: bool) {
        let Some(offsets) = self.transactional.remove(&producer_id) else { return };
        if is_commit {
            for (place, Committed { record_offset, value }) in offsets {
                self.apply(place, record_offset, Some(value));
            }
        }
    }

    /// Which offsets have expired (KIP-211). `since` is when the group became empty; without it each offset's own
    /// commit counts. Topics in `subscribed` are spared.
    pub(super) fn expired(
        &self,
        now_ms: i64,
        retention_ms: i64,
        since: Option<i64>,
        subscribed: &BTreeSet<String>,
    ) -> Vec<Place> {
        let is_expired = |committed: &Committed| match committed.value.expire_timestamp {
            Some(expiry) => now_ms >= expiry,
            None => now_ms - since.unwrap_or(committed.value.commit_timestamp) >= retention_ms,
        };
        self.committed
            .iter()
            .filter(|(place, committed)| {
                !subscribed.contains(&place.0) && !self.pending.contains_key(*place) && is_expired(committed)
            })
            .map(|(place, _)| place.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(partition: i32) -> Place {
        ("t".to_owned(), partition)
    }

    fn value(offset: i64) -> Option<OffsetValue> {
        Some(OffsetValue { offset, commit_timestamp: 100, ..OffsetValue::default() })
    }

    fn all(offsets: &Offsets) -> Vec<(i32, i64)> {
        offsets.iter().map(|((_, partition), value)| (*partition, value.offset)).collect()
    }

    #[test]
    fn the_later_record_counts_whenever_its_transaction_commits() {
        let mut offsets = Offsets::default();
        offsets.apply_in_transaction(7, place(0), 1, value(10));
        offsets.apply_in_transaction(7, place(1), 1, value(11));
        offsets.apply(place(0), 2, value(20));
        assert_eq!((all(&offsets), offsets.is_unstable(&place(1))), (vec![(0, 20)], true));
        offsets.end_transaction(7, true);
        assert_eq!((all(&offsets), offsets.is_unstable(&place(1))), (vec![(0, 20), (1, 11)], false));
        offsets.apply_in_transaction(8, place(2), 5, value(30));
        offsets.end_transaction(8, false);
        assert_eq!(all(&offsets), [(0, 20), (1, 11)]);
    }

    #[test]
    fn offsets_expire_by_group_or_by_commit() {
        let mut offsets = Offsets::default();
        offsets.apply(place(0), 1, value(1));
        let none = BTreeSet::new();
        for (now, since, expected) in [(149, None, 0), (150, None, 1), (150, Some(101), 0), (151, Some(101), 1)] {
            assert_eq!(offsets.expired(now, 50, since, &none).len(), expected, "{now} {since:?}");
        }
        let subscribed = BTreeSet::from(["t".to_owned()]);
        assert_eq!(offsets.expired(1000, 50, None, &subscribed), []);
        offsets.begin(place(0));
        assert_eq!(offsets.expired(1000, 50, None, &none), []);
        offsets.end(&place(0));
        assert_eq!(offsets.expired(1000, 50, None, &none), [place(0)]);
        let mut old = value(1).unwrap();
        old.expire_timestamp = Some(120);
        offsets.apply(place(0), 2, Some(old));
        assert_eq!(offsets.expired(120, 50, None, &none), [place(0)]);
    }
}
