//! The uniform assignor: members have equally many partitions, give or take one where subscriptions allow, and keep what
//! they had as far as that leaves it so.

use super::{Members, subscribers};
use crate::group::consumer_records::Partitions;
use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// See the top of the file.
pub(super) fn assign(members: &Members<'_>, partitions: &BTreeMap<Uuid, i32>) -> BTreeMap<String, Partitions> {
    let mut subscriptions = members.values().map(|member| &member.topics);
    let first = subscriptions.next();
    if subscriptions.all(|topics| Some(topics) == first) {
        of_same_subscriptions(members, partitions)
    } else {
        Balance::new(members, partitions).assign()
    }
}

/// Everyone reads the same topics: quotas are known before anything is moved.
fn of_same_subscriptions(members: &Members<'_>, partitions: &BTreeMap<Uuid, i32>) -> BTreeMap<String, Partitions> {
    let Some(topics) = members.values().next().map(|member| &member.topics) else { return BTreeMap::new() };
    let mut free: BTreeSet<(Uuid, i32)> = BTreeSet::new();
    for topic in topics {
        free.extend((0..partitions.get(topic).copied().unwrap_or(0)).map(|number| (*topic, number)));
    }
    let (quota, extra) = (free.len() / members.len(), free.len() % members.len());
    let mut kept: Vec<(&str, Vec<(Uuid, i32)>)> = Vec::with_capacity(members.len());
    for (id, member) in members {
        let before = member.target.iter().flat_map(|(topic, numbers)| numbers.iter().map(|number| (*topic, *number)));
        kept.push((id, before.filter(|place| free.remove(place)).collect()));
    }
    // One more than the others for those who have more already: nothing has to move for that.
    kept.sort_by_key(|(_, places)| Reverse(places.len()));
    let mut assigned = BTreeMap::new();
    for (index, (_, places)) in kept.iter_mut().enumerate() {
        let quota = quota + usize::from(index < extra);
        free.extend(places.split_off(quota.min(places.len())));
    }
    let mut free = free.into_iter();
    for (index, (id, mut places)) in kept.into_iter().enumerate() {
        let quota = quota + usize::from(index < extra);
        places.extend(free.by_ref().take(quota - places.len()));
        let mut of_member = Partitions::new();
        for (topic, number) in places {
            of_member.entry(topic).or_default().insert(number);
        }
        assigned.insert(id.to_owned(), of_member);
    }
    assigned
}

/// Members read different topics: partitions move, one at a time, from who has more to who has at least two fewer, until
/// no such pair is left. Each move makes the sum of the squares of the loads smaller, so that ends.
struct Balance<'a> {
    subscribers: BTreeMap<Uuid, Vec<&'a str>>,
    owners: BTreeMap<(Uuid, i32), &'a str>,
    loads: BTreeMap<&'a str, usize>,
    /// Those with the fewest subscribers for their number first: they have the least choice.
    order: Vec<(Uuid, i32)>,
}

impl<'a> Balance<'a> {
    fn new(members: &Members<'a>, partitions: &BTreeMap<Uuid, i32>) -> Balance<'a> {
        let subscribers = subscribers(members);
        let count = |topic: &Uuid| partitions.get(topic).copied().unwrap_or(0);
        let mut topics: Vec<(&Uuid, usize)> =
            subscribers.iter().map(|(topic, readers)| (topic, readers.len())).collect();
        // Most partitions a subscriber first; compared crosswise, without fractions.
        topics.sort_by(|(a, readers_of_a), (b, readers_of_b)| {
            let of = |topic: &Uuid, others: usize| u64::from(count(topic).unsigned_abs()) * others as u64;
            of(b, *readers_of_a).cmp(&of(a, *readers_of_b)).then(readers_of_a.cmp(readers_of_b)).then(a.cmp(b))
        });
        let order =
            topics.into_iter().flat_map(|(topic, _)| (0..count(topic)).map(|number| (*topic, number))).collect();
        let mut owners = BTreeMap::new();
        let mut loads: BTreeMap<&str, usize> = members.keys().map(|id| (*id, 0)).collect();
        for (id, member) in members {
            for (topic, numbers) in member.target.iter().filter(|(topic, _)| member.topics.contains(topic)) {
                for number in numbers.range(..count(topic)) {
                    if let Entry::Vacant(entry) = owners.entry((*topic, *number)) {
                        entry.insert(*id);
                        *loads.entry(id).or_default() += 1;
                    }
                }
            }
        }
        Balance { subscribers, owners, loads, order }
    }

    fn assign(mut self) -> BTreeMap<String, Partitions> {
        for place in self.order.clone() {
            if !self.owners.contains_key(&place)
                && let Some(reader) = self.least_loaded(place.0)
            {
                self.give(place, reader);
            }
        }
        let mut is_moving = true;
        while is_moving {
            is_moving = false;
            for place in self.order.clone() {
                let Some(owner) = self.owners.get(&place).copied() else { continue };
                let Some(reader) = self.least_loaded(place.0) else { continue };
                if self.loads[reader] + 1 < self.loads[owner] {
                    *self.loads.entry(owner).or_default() -= 1;
                    self.give(place, reader);
                    is_moving = true;
                }
            }
        }
        let mut assigned: BTreeMap<String, Partitions> =
            self.loads.keys().map(|id| ((*id).to_owned(), Partitions::new())).collect();
        for ((topic, number), owner) in self.owners {
            assigned.entry(owner.to_owned()).or_default().entry(topic).or_default().insert(number);
        }
        assigned
    }

    fn least_loaded(&self, topic: Uuid) -> Option<&'a str> {
        self.subscribers.get(&topic)?.iter().copied().min_by_key(|id| self.loads[id])
    }

    fn give(&mut self, place: (Uuid, i32), reader: &'a str) {
        self.owners.insert(place, reader);
        *self.loads.entry(reader).or_default() += 1;
    }
}
