//! The simple assignor of share groups (KIP-932): a partition may have several members. Each member has equally many
//! partitions and each partition equally many members, give or take one, and as much as that allows stays as it was. Where
//! members read different topics, each topic is shared out by itself.

use super::Members;
use crate::group::consumer_records::Partitions;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

type Place = (Uuid, i32);

/// As members and tools name it.
pub(in crate::group) const NAME: &str = "simple";

/// What each member shall have. `partitions` are those that may be given; others are nobody's.
pub(in crate::group) fn assign(members: &Members<'_>, partitions: &Partitions) -> BTreeMap<String, Partitions> {
    let mut assigned: BTreeMap<&str, BTreeSet<Place>> = members.keys().map(|id| (*id, BTreeSet::new())).collect();
    let mut subscriptions = members.values().map(|member| &member.topics);
    let first = subscriptions.next();
    if subscriptions.all(|topics| Some(topics) == first) {
        let all: Vec<&str> = members.keys().copied().collect();
        let topics = first.into_iter().flatten();
        let places = topics.flat_map(|topic| places(*topic, partitions)).collect();
        share_out(members, &all, &places, &mut assigned);
    } else {
        for (topic, subscribers) in super::subscribers(members) {
            share_out(members, &subscribers, &places(topic, partitions), &mut assigned);
        }
    }
    let of_member = |(id, places): (&str, BTreeSet<Place>)| {
        let mut of_member = Partitions::new();
        for (topic, number) in places {
            of_member.entry(topic).or_default().insert(number);
        }
        (id.to_owned(), of_member)
    };
    assigned.into_iter().map(of_member).collect()
}

fn places(topic: Uuid, partitions: &Partitions) -> BTreeSet<Place> {
    partitions.get(&topic).into_iter().flatten().map(|number| (topic, *number)).collect()
}

/// Gives `places` to `subscribers`, each of whom reads all of them.
fn share_out<'a>(
    members: &Members<'a>,
    subscribers: &[&'a str],
    places: &BTreeSet<Place>,
    assigned: &mut BTreeMap<&'a str, BTreeSet<Place>>,
) {
    if places.is_empty() || subscribers.is_empty() {
        return;
    }
    let sharing = subscribers.len().div_ceil(places.len());
    let total = sharing * places.len();
    let mut holders: BTreeMap<Place, usize> = places.iter().map(|place| (*place, 0)).collect();
    // How many more each is to get, so that all of them together get `total`.
    let mut wants: Vec<(usize, &str)> = Vec::with_capacity(subscribers.len());
    for (index, id) in subscribers.iter().enumerate() {
        let up_to = |index: usize| (total * index).div_ceil(subscribers.len());
        let mut want = up_to(index + 1) - up_to(index);
        let before = members.get(id).map(|member| member.target);
        let before = before.into_iter().flatten().flat_map(|(topic, numbers)| numbers.iter().map(|n| (*topic, *n)));
        for place in before {
            let Some(count) = holders.get_mut(&place) else { continue };
            if want > 0 && *count < sharing {
                (want, *count) = (want - 1, *count + 1);
                assigned.entry(id).or_default().insert(place);
            }
        }
        wants.push((want, id));
    }
    // Nobody has a partition twice before each has one member.
    for level in 1..=sharing {
        for (place, count) in holders.iter_mut().filter(|(_, count)| **count < level) {
            let lacks = |id: &str| !assigned.get(id).is_some_and(|places| places.contains(place));
            // The first of those that want most; a partition without any member is given even if nobody wants more.
            let takers = wants.iter_mut().filter(|(want, id)| (*want > 0 || level == 1) && lacks(id));
            let Some((want, id)) = takers.reduce(|best, next| if next.0 > best.0 { next } else { best }) else {
                continue;
            };
            *want = want.saturating_sub(1);
            *count += 1;
            let id = *id;
            assigned.entry(id).or_default().insert(*place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::assignor::MemberSpec;

    /// `a: t u = t0 t1` is a member, what it reads and what it had; answers in the same words.
    fn check(members: &str, partitions: &str, expected: &str) {
        let id = |name: &str| Uuid::from_u128(u128::from(name.as_bytes()[0]));
        let parse = |text: &str| {
            let mut parsed = Partitions::new();
            for place in text.split_whitespace() {
                parsed.entry(id(place)).or_default().insert(place[1..].parse().unwrap());
            }
            parsed
        };
        let lines: Vec<(&str, BTreeSet<Uuid>, Partitions)> = members
            .split(", ")
            .map(|line| {
                let (name, rest) = line.split_once(':').unwrap();
                let (topics, before) = rest.split_once('=').unwrap_or((rest, ""));
                (name, topics.split_whitespace().map(id).collect(), parse(before))
            })
            .collect();
        let specs = lines
            .iter()
            .map(|(name, topics, target)| (*name, MemberSpec { instance_id: None, topics: topics.clone(), target }))
            .collect();
        let show = |(name, places): (&String, &Partitions)| {
            let of_topic = |(topic, numbers): (&Uuid, &BTreeSet<i32>)| {
                let topic = char::from(u8::try_from(topic.as_u128()).unwrap());
                numbers.iter().map(|number| format!(" {topic}{number}")).collect::<String>()
            };
            format!("{name}:{}", places.iter().map(of_topic).collect::<String>())
        };
        let found = assign(&specs, &parse(partitions));
        let found: Vec<String> = found.iter().map(show).collect();
        assert_eq!(found.join(", "), expected, "{members}");
    }

    #[test]
    fn partitions_are_shared_evenly_and_stay() {
        for (members, partitions, expected) in [
            ("a: t", "t0 t1", "a: t0 t1"),
            ("a: t, b: t", "t0 t1 t2", "a: t0 t1, b: t2"),
            ("a: t, b: t, c: t", "t0", "a: t0, b: t0, c: t0"),
            ("a: t, b: t, c: t", "t0 t1", "a: t0 t1, b: t0, c: t1"),
            ("a: t, b: t, c: t, d: t", "t0 t1", "a: t0, b: t1, c: t0, d: t1"),
            // Who had something keeps it as far as it is not too much.
            ("a: t = t0 t1 t2 t3, b: t", "t0 t1 t2 t3", "a: t0 t1, b: t2 t3"),
            ("a: t, b: t = t0 t1", "t0 t1 t2 t3", "a: t2 t3, b: t0 t1"),
            ("a: t = t0, b: t = t0", "t0 t1", "a: t0, b: t1"),
            // What may not be given any more is taken away.
            ("a: t = t0 u0, b: t", "t0 t1", "a: t0, b: t1"),
            ("a: t = t0 t1", "t1", "a: t1"),
            ("a: t", "", "a:"),
            ("a:, b:", "t0", "a:, b:"),
            // Different topics: each by itself.
            ("a: t, b: u, c: t u", "t0 t1 u0 u1", "a: t0, b: u0, c: t1 u1"),
            ("a: t, b: t u = u0 u1", "t0 u0 u1", "a: t0, b: t0 u0 u1"),
        ] {
            check(members, partitions, expected);
        }
    }

    #[test]
    fn every_partition_has_a_member_and_no_member_is_idle() {
        for member_count in 1..=12_usize {
            for partition_count in 1..=12_i32 {
                let names: Vec<String> = (0..member_count).map(|index| format!("m{index:02}")).collect();
                let topic = Uuid::from_u128(1);
                let partitions: Partitions = [(topic, (0..partition_count).collect())].into();
                let mut before: BTreeMap<String, Partitions> = BTreeMap::new();
                // All at once, then with the first one gone.
                for names in [&names[..], &names[1..]] {
                    let none = Partitions::new();
                    let spec = |name: &'_ String| before.get(name).cloned().unwrap_or_else(|| none.clone());
                    let targets: Vec<Partitions> = names.iter().map(spec).collect();
                    let specs = names
                        .iter()
                        .zip(&targets)
                        .map(|(name, target)| {
                            (name.as_str(), MemberSpec { instance_id: None, topics: [topic].into(), target })
                        })
                        .collect();
                    let found = assign(&specs, &partitions);
                    let loads: Vec<usize> = found.values().map(|of| of.values().map(BTreeSet::len).sum()).collect();
                    let context = format!("{member_count} members, {partition_count} partitions: {found:?}");
                    let covered: BTreeSet<i32> = found.values().flat_map(|of| of.values().flatten().copied()).collect();
                    assert!(names.is_empty() || covered.len() == partitions[&topic].len(), "{context}");
                    let (least, most) =
                        (loads.iter().min().copied().unwrap_or(1), loads.iter().max().copied().unwrap_or(1));
                    assert!(least >= 1 && most <= least + 1, "{context}");
                    before = found;
                }
            }
        }
    }
}
