//! Members on the left, what each gets on the right; then what holds for any members.

use super::*;
use common::Rng;

/// Id, instance id, subscription, target before.
type Case<'a> = (&'a str, Option<&'a str>, &'a [u128], &'a [(u128, &'a [i32])]);

fn partitions(of: &[(u128, &[i32])]) -> Partitions {
    of.iter().map(|(topic, numbers)| (Uuid::from_u128(*topic), numbers.iter().copied().collect())).collect()
}

fn check(assignor: Assignor, topics: &[(u128, i32)], members: &[Case<'_>], expected: &[&[(u128, &[i32])]]) {
    let targets: Vec<Partitions> = members.iter().map(|(.., target)| partitions(target)).collect();
    let spec = |(case, target)| {
        let (id, instance_id, topics, _): &Case<'_> = case;
        let topics = topics.iter().map(|topic| Uuid::from_u128(*topic)).collect();
        (*id, MemberSpec { instance_id: *instance_id, topics, target })
    };
    let specs: Members<'_> = members.iter().zip(&targets).map(spec).collect();
    let counts = topics.iter().map(|(topic, count)| (Uuid::from_u128(*topic), *count)).collect();
    let found = assignor.assign(&specs, &counts);
    for ((id, ..), expected) in members.iter().zip(expected) {
        assert_eq!(found.get(*id).cloned().unwrap_or_default(), partitions(expected), "{id} of {members:?}");
    }
}

#[test]
fn ranges() {
    let topics = [(1, 3), (2, 3), (3, 1)];
    check(
        Assignor::Range,
        &topics,
        &[("a", None, &[1, 2], &[]), ("b", None, &[1, 2], &[])],
        &[&[(1, &[0, 1]), (2, &[0, 1])], &[(1, &[2]), (2, &[2])]],
    );
    // Who is static comes first, by instance id.
    check(
        Assignor::Range,
        &topics,
        &[("a", None, &[1, 3], &[]), ("b", Some("y"), &[1, 2], &[]), ("c", Some("x"), &[1, 9], &[])],
        &[&[(1, &[2]), (3, &[0])], &[(1, &[1]), (2, &[0, 1, 2])], &[(1, &[0])]],
    );
    check(Assignor::Range, &topics, &[("a", None, &[3], &[]), ("b", None, &[3], &[])], &[&[(3, &[0])], &[]]);
}

#[test]
fn uniform() {
    let topics = [(1, 3), (2, 3)];
    check(
        Assignor::Uniform,
        &topics,
        &[("a", None, &[1, 2], &[]), ("b", None, &[1, 2], &[])],
        &[&[(1, &[0, 1, 2])], &[(2, &[0, 1, 2])]],
    );
    // `b` has more already and keeps it; a partition that does not exist any more is nobody's.
    check(
        Assignor::Uniform,
        &[(1, 3)],
        &[("a", None, &[1], &[(1, &[0])]), ("b", None, &[1], &[(1, &[1, 2, 7])])],
        &[&[(1, &[0])], &[(1, &[1, 2])]],
    );
    // A third one takes one of the two of each.
    check(
        Assignor::Uniform,
        &topics,
        &[
            ("a", None, &[1, 2], &[(1, &[0, 1, 2])]),
            ("b", None, &[1, 2], &[(2, &[0, 1, 2])]),
            ("c", None, &[1, 2], &[]),
        ],
        &[&[(1, &[0, 1])], &[(2, &[0, 1])], &[(1, &[2]), (2, &[2])]],
    );
    // Different subscriptions: `a` alone reads topic 1, so topic 2 is for `b`.
    check(
        Assignor::Uniform,
        &topics,
        &[("a", None, &[1, 2], &[(1, &[0, 1, 2]), (2, &[0, 1])]), ("b", None, &[2], &[(2, &[2])])],
        &[&[(1, &[0, 1, 2])], &[(2, &[0, 1, 2])]],
    );
    check(Assignor::Uniform, &topics, &[("a", None, &[], &[(1, &[0])]), ("b", None, &[], &[])], &[&[], &[]]);
}

#[test]
fn every_partition_has_one_reader_and_loads_are_even() {
    let mut rng = Rng::with_seed(848);
    for round in 0..300 {
        let counts: BTreeMap<Uuid, i32> =
            (1..=rng.u128(1..5)).map(|topic| (Uuid::from_u128(topic), rng.i32(1..9))).collect();
        let ids: Vec<String> = (0..rng.usize(1..7)).map(|member| format!("m{member}")).collect();
        let is_same = rng.bool();
        let subscriptions: Vec<BTreeSet<Uuid>> =
            ids.iter().map(|_| counts.keys().copied().filter(|_| is_same || rng.u8(..3) > 0).collect()).collect();
        let mut targets: BTreeMap<String, Partitions> = BTreeMap::new();
        for assignor in [Assignor::Uniform, Assignor::Range, Assignor::Uniform, Assignor::Uniform] {
            let none = Partitions::new();
            let spec = |(id, topics): (&'_ String, &BTreeSet<Uuid>)| MemberSpec {
                instance_id: None,
                topics: topics.clone(),
                target: targets.get(id).unwrap_or(&none),
            };
            let specs: Members<'_> =
                ids.iter().zip(&subscriptions).map(|(id, topics)| (id.as_str(), spec((id, topics)))).collect();
            let found = assignor.assign(&specs, &counts);
            let mut owners: BTreeMap<(Uuid, i32), &str> = BTreeMap::new();
            for (id, partitions) in &found {
                for (topic, numbers) in partitions {
                    assert!(specs[id.as_str()].topics.contains(topic), "{round} {assignor:?}: {id} does not read it");
                    for number in numbers {
                        assert_eq!(owners.insert((*topic, *number), id), None, "{round} {assignor:?}: two owners");
                    }
                }
            }
            let readable = counts.iter().filter(|(topic, _)| subscriptions.iter().any(|topics| topics.contains(topic)));
            let expected: i32 = readable.map(|(_, count)| *count).sum();
            assert_eq!(
                owners.len(),
                usize::try_from(expected).unwrap(),
                "{round} {assignor:?}: a partition without owner"
            );
            let load =
                |id: &str| found.get(id).map_or(0, |partitions| partitions.values().map(BTreeSet::len).sum::<usize>());
            if assignor == Assignor::Uniform {
                for ((topic, _), owner) in &owners {
                    let least =
                        specs.iter().filter(|(_, spec)| spec.topics.contains(topic)).map(|(id, _)| load(id)).min();
                    assert!(load(owner) <= least.unwrap() + 1, "{round}: {owner} has too much: {found:?}");
                }
            }
            targets = found;
            let again: Members<'_> = ids
                .iter()
                .zip(&subscriptions)
                .map(|(id, topics)| {
                    (
                        id.as_str(),
                        MemberSpec {
                            instance_id: None,
                            topics: topics.clone(),
                            target: targets.get(id).unwrap_or(&none),
                        },
                    )
                })
                .collect();
            assert_eq!(assignor.assign(&again, &counts), targets, "{round} {assignor:?}: moved for nothing");
        }
    }
}
