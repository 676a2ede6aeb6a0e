//! The range assignor: each topic's partitions in order, cut into one stretch a subscriber. Static members come first,
//! by instance id, so that who restarts gets the same stretch. Keeps nothing of the assignment before.

use super::{Members, subscribers};
use crate::group::consumer_records::Partitions;
use std::collections::BTreeMap;
use uuid::Uuid;

/// See the top of the file.
pub(super) fn assign(members: &Members<'_>, partitions: &BTreeMap<Uuid, i32>) -> BTreeMap<String, Partitions> {
    let mut assigned: BTreeMap<String, Partitions> = BTreeMap::new();
    for (topic, mut readers) in subscribers(members) {
        let Some(count) = partitions.get(&topic).and_then(|count| usize::try_from(*count).ok()) else { continue };
        readers.sort_by_key(|id| {
            let instance = members[id].instance_id;
            (instance.is_none(), instance, *id)
        });
        let (quota, extra) = (count / readers.len(), count % readers.len());
        let mut numbers = 0..partitions[&topic];
        for (index, reader) in readers.into_iter().enumerate() {
            let stretch: std::collections::BTreeSet<i32> =
                numbers.by_ref().take(quota + usize::from(index < extra)).collect();
            if !stretch.is_empty() {
                assigned.entry(reader.to_owned()).or_default().insert(topic, stretch);
            }
        }
    }
    assigned
}
