//! Reads one partition of `__consumer_offsets` from its first offset to its end and makes the groups it tells of: the
//! same records that made them live. Changes no group that is being served.

use super::classic::ClassicGroup;
use super::consumer_group::ConsumerGroup;
use super::consumer_records::ConsumerRecord;
use super::entry::{Group, Kind};
use super::offsets::Offsets;
use super::records::{GroupRecord, GroupValue};
use super::share_group::ShareGroup;
use super::share_records::ShareRecord;
use super::turn::GroupSettings;
use crate::journal::{DECOMPRESSED_BYTES, Journal, LoadError, read_batches};
use bytes::Bytes;
use common::kafka::batch::{Batch, BatchError};
use common::kafka::control::{ControlKind, control_kind};
use common::time::Now;
use std::collections::BTreeMap;
use tracing::warn;

/// What has been read so far.
#[derive(Default)]
pub(super) struct Loaded {
    groups: BTreeMap<String, GroupValue>,
    consumers: BTreeMap<String, ConsumerGroup>,
    shares: BTreeMap<String, ShareGroup>,
    offsets: BTreeMap<String, Offsets>,
}

/// Reads the whole partition. A batch that cannot be read ends it; a record that is not understood, which may be a newer
/// broker's, is passed over.
pub(super) fn read_all(journal: &dyn Journal, partition: i32, max_bytes: usize) -> Result<Loaded, LoadError> {
    let mut loaded = Loaded::default();
    read_batches(journal, partition, max_bytes, |batch| loaded.add_batch(batch))?;
    Ok(loaded)
}

impl Loaded {
    fn add_batch(&mut self, batch: &Batch) -> Result<(), BatchError> {
        let producer_id = batch.header.is_transactional().then_some(batch.header.producer_id);
        for record in batch.records(DECOMPRESSED_BYTES)? {
            let record = record?;
            if batch.header.is_control() {
                self.add_marker(record.key, batch.header.producer_id);
                continue;
            }
            match GroupRecord::decode(record.key, record.value) {
                Ok(decoded) => self.add(decoded, record.offset, producer_id),
                Err(error) => warn!(offset = record.offset, %error, "a record of the offsets topic cannot be read"),
            }
        }
        Ok(())
    }

    fn add_marker(&mut self, key: Option<Bytes>, producer_id: i64) {
        let is_commit = match key.as_ref().map(control_kind) {
            Some(Ok(ControlKind::Commit)) => true,
            Some(Ok(ControlKind::Abort)) => false,
            _ => return,
        };
        for offsets in self.offsets.values_mut() {
            offsets.end_transaction(producer_id, is_commit);
        }
    }

    fn add(&mut self, record: GroupRecord, record_offset: i64, producer_id: Option<i64>) {
        match record {
            GroupRecord::Offset(key, value) => {
                let offsets = self.offsets.entry(key.group).or_default();
                let place = (key.topic, key.partition);
                match producer_id {
                    Some(producer_id) => offsets.apply_in_transaction(producer_id, place, record_offset, value),
                    None => offsets.apply(place, record_offset, value),
                }
            }
            GroupRecord::Group(group, Some(value)) => {
                self.groups.insert(group, value);
            }
            GroupRecord::Group(group, None) => {
                self.groups.remove(&group);
            }
            GroupRecord::Consumer(group, ConsumerRecord::Epoch(None)) => {
                self.consumers.remove(&group);
            }
            GroupRecord::Consumer(group, record) => {
                let consumers = self.consumers.entry(group);
                consumers.or_insert_with_key(|id| ConsumerGroup::new(id)).apply(&record);
            }
            GroupRecord::Share(group, ShareRecord::Epoch(None)) => {
                self.shares.remove(&group);
            }
            GroupRecord::Share(group, record) => {
                let shares = self.shares.entry(group);
                shares.or_insert_with_key(|id| ShareGroup::new(id)).apply(&record);
            }
            GroupRecord::Unknown(version) => warn!(version, "a record of a newer broker is passed over"),
        }
    }

    /// The groups. Those without a record of their own have only offsets.
    pub(super) fn into_groups(self, now: Now, settings: &GroupSettings) -> BTreeMap<String, Group> {
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for (id, value) in self.groups {
            let classic = ClassicGroup::from_value(&id, value, now);
            groups.insert(id.clone(), Group::of(&id, Kind::Classic(Box::new(classic))));
        }
        for (id, mut consumers) in self.consumers {
            // Without an epoch there is no group, but tombstones that compaction has not yet taken.
            if consumers.epoch > 0 {
                consumers.on_loaded(now.mono, settings);
                groups.insert(id.clone(), Group::of(&id, Kind::Consumer(Box::new(consumers))));
            }
        }
        for (id, mut share) in self.shares {
            if share.is_recorded() {
                share.on_loaded(now.mono, settings);
                groups.insert(id.clone(), Group::of(&id, Kind::Share(Box::new(share))));
            }
        }
        for (id, offsets) in self.offsets {
            if !offsets.is_empty() {
                groups.entry(id.clone()).or_insert_with(|| Group::new(&id, now)).offsets = offsets;
            }
        }
        groups
    }
}
