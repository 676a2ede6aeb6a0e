//! Cases of groups of the classic protocol and their offsets.

use crate::mask::Facts;
use crate::{Pair, admin};
use bytes::Bytes;
use common::kafka::messages::*;

fn join(group: &str, member: &str, protocols: &[&str]) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: protocols
            .iter()
            .map(|name| join_group::JoinGroupRequestProtocol {
                name: (*name).into(),
                metadata: Bytes::from_static(b"meta"),
            })
            .collect(),
        ..Default::default()
    }
}

fn sync(group: &str, generation: i32, member: &str, to: &[&str]) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: group.into(),
        generation_id: generation,
        member_id: member.into(),
        assignments: to
            .iter()
            .map(|to| sync_group::SyncGroupRequestAssignment {
                member_id: (*to).into(),
                assignment: Bytes::from_static(b"part"),
            })
            .collect(),
        ..Default::default()
    }
}

fn beat(group: &str, generation: i32, member: &str) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: group.into(),
        generation_id: generation,
        member_id: member.into(),
        ..Default::default()
    }
}

fn leave(version: i16, group: &str, member: &str) -> LeaveGroupRequest {
    let identity = leave_group::MemberIdentity { member_id: member.into(), ..Default::default() };
    LeaveGroupRequest {
        group_id: group.into(),
        member_id: if version < 3 { member.into() } else { String::new() },
        members: if version < 3 { vec![] } else { vec![identity] },
    }
}

pub(crate) fn commit(
    group: &str,
    generation: i32,
    member: &str,
    places: &[(&str, i32, i64, Option<&str>)],
) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: generation,
        member_id: member.into(),
        topics: places
            .iter()
            .map(|(topic, partition_index, committed_offset, metadata)| offset_commit::OffsetCommitRequestTopic {
                name: (*topic).into(),
                partitions: vec![offset_commit::OffsetCommitRequestPartition {
                    partition_index: *partition_index,
                    committed_offset: *committed_offset,
                    committed_metadata: metadata.map(str::to_owned),
                    ..Default::default()
                }],
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

pub(crate) fn committed(version: i16, groups: &[&str], places: Option<&[(&str, &[i32])]>) -> OffsetFetchRequest {
    if version < 8 {
        let topics = places.map(|places| {
            let topic = |(name, parts): &(&str, &[i32])| offset_fetch::OffsetFetchRequestTopic {
                name: (*name).into(),
                partition_indexes: parts.to_vec(),
            };
            places.iter().map(topic).collect()
        });
        return OffsetFetchRequest { group_id: groups[0].into(), topics, ..Default::default() };
    }
    let topics = || {
        places.map(|places| {
            let topic = |(name, parts): &(&str, &[i32])| offset_fetch::OffsetFetchRequestTopics {
                name: (*name).into(),
                partition_indexes: parts.to_vec(),
                ..Default::default()
            };
            places.iter().map(topic).collect()
        })
    };
    let group = |group: &&str| offset_fetch::OffsetFetchRequestGroup {
        group_id: (*group).into(),
        topics: topics(),
        ..Default::default()
    };
    OffsetFetchRequest { groups: groups.iter().map(group).collect(), ..Default::default() }
}

/// Waits until both serve groups.
fn ready(pair: &mut Pair) {
    pair.both(|side| {
        while side.ask(0, 1, &beat("ready", 1, "m")).answer().error_code != 25 {
            let request = FindCoordinatorRequest { key: "ready".into(), ..Default::default() };
            side.ask(0, 1, &request).answer();
            crate::pause();
        }
    });
}

pub(crate) fn run(pair: &mut Pair) {
    admin::prepare(pair);
    ready(pair);
    strangers(pair);
    bad_joins(pair);
    members(pair);
    static_members(pair);
    offsets(pair);
    views(pair);
    deletions(pair);
}

/// Requests of members that nobody knows, to groups that are not there.
fn strangers(pair: &mut Pair) {
    for group in ["nobody", ""] {
        for member in ["m", ""] {
            pair.each("a stranger's heartbeat", |_, _| beat(group, 1, member));
            pair.each("a stranger leaves", |_, version| leave(version, group, member));
            pair.each("a stranger syncs", |_, _| sync(group, 1, member, &[]));
            for generation in [-1, 0, 5] {
                pair.each("a stranger commits", |_, version| {
                    let generation = if version == 0 { -1 } else { generation };
                    commit(&format!("{group}{version}"), generation, member, &[("t", 0, 5, Some("x"))])
                });
            }
        }
    }
    pair.each("a static stranger's heartbeat", |_, _| HeartbeatRequest {
        group_instance_id: Some("i".into()),
        ..beat("nobody", 1, "m")
    });
    pair.each("a commit to no group", |_, _| commit("", -1, "", &[("t", 0, 5, None)]));
}

fn bad_joins(pair: &mut Pair) {
    pair.each("an unknown member joins", |_, _| join("j", "m", &["range"]));
    pair.each("no group", |_, _| join("", "", &["range"]));
    pair.each("no protocol", |_, _| join("j", "", &[]));
    pair.each("no type", |_, _| JoinGroupRequest { protocol_type: String::new(), ..join("j", "", &["range"]) });
    for session_timeout_ms in [0, 10, -1, i32::MAX] {
        pair.each("a session that may not be", |_, _| JoinGroupRequest {
            session_timeout_ms,
            ..join("j", "", &["range"])
        });
    }
    for instance in ["", ".", "a b", "i"] {
        pair.each("an instance and a member that is not known", |_, _| JoinGroupRequest {
            group_instance_id: Some(instance.into()),
            ..join("j", "m", &["range"])
        });
    }
    pair.each("a group of joins that were refused", |_, _| DescribeGroupsRequest {
        groups: vec!["j".into()],
        ..Default::default()
    });
    // The lists of later cases are compared whole.
    pair.both(|side| {
        side.ask(0, 1, &DeleteGroupsRequest { groups_names: vec!["j".into()] }).answer();
    });
}

/// Joins both; from version 4 on a member is first told its id.
fn joined(pair: &mut Pair, version: i16, group: &str) {
    let member = |facts: &Facts| facts.text(group);
    let note = |facts: &mut Facts, answer: &JoinGroupResponse| {
        facts.texts.insert(group.to_owned(), answer.member_id.clone());
        facts.numbers.insert(group.to_owned(), answer.generation_id.into());
    };
    for round in ["joins", "joins again"] {
        let Some((theirs, ours)) =
            pair.ask(round, version, |facts| join(group, &member(facts), &["range", "roundrobin"]))
        else {
            return;
        };
        note(&mut pair.theirs.facts, &theirs.answer());
        note(&mut pair.ours.facts, &ours.answer());
    }
}

/// The life of a lone member, in every version of JoinGroup; the others follow as far as they go.
fn members(pair: &mut Pair) {
    for version in pair.versions::<JoinGroupRequest>() {
        let group = format!("life{version}");
        joined(pair, version, &group);
        let id = |facts: &Facts| facts.text(&group);
        let generation = |facts: &Facts| facts.number(&group) as i32;
        pair.each("heartbeat before the assignment", |facts, _| beat(&group, generation(facts), &id(facts)));
        pair.ask("commit before the assignment", version.min(8), |facts| {
            commit(&group, generation(facts), &id(facts), &[("t", 0, 1, None)])
        });
        pair.ask("sync of another generation", version.min(5), |facts| {
            sync(&group, generation(facts) + 1, &id(facts), &[])
        });
        pair.ask("sync of another member", version.min(5), |facts| sync(&group, generation(facts), "other", &[]));
        if version >= 7 {
            pair.ask("sync of another protocol", 5, |facts| SyncGroupRequest {
                protocol_type: Some("consumer".into()),
                protocol_name: Some("roundrobin".into()),
                ..sync(&group, generation(facts), &id(facts), &[])
            });
            pair.ask("sync of another type", 5, |facts| SyncGroupRequest {
                protocol_type: Some("connect".into()),
                ..sync(&group, generation(facts), &id(facts), &[])
            });
        }
        pair.ask("sync", version.min(5), |facts| sync(&group, generation(facts), &id(facts), &[&id(facts), "another"]));
        pair.each("sync again", |facts, _| sync(&group, generation(facts), &id(facts), &[]));
        for wrong in [-1, 0, 1, 5] {
            pair.each("heartbeats", |facts, _| beat(&group, generation(facts) + wrong, &id(facts)));
        }
        pair.each("heartbeat of another", |facts, _| beat(&group, generation(facts), "other"));
        pair.each("a static heartbeat of a dynamic member", |facts, _| HeartbeatRequest {
            group_instance_id: Some("i".into()),
            ..beat(&group, generation(facts), &id(facts))
        });
        pair.each("a simple commit to a living group", |_, _| commit(&group, -1, "", &[("t", 0, 3, None)]));
        pair.each("commits of wrong generations", |facts, _| {
            commit(&group, generation(facts) + 1, &id(facts), &[("t", 0, 3, None)])
        });
        pair.each("commits", |facts, version| {
            commit(&group, if version == 0 { -1 } else { generation(facts) }, &id(facts), &[("t", 0, 3, Some("meta"))])
        });
        pair.each("described", |_, version| DescribeGroupsRequest {
            groups: vec![group.clone()],
            include_authorized_operations: version == 3,
        });
        pair.each("deleted while it lives", |_, _| DeleteGroupsRequest { groups_names: vec![group.clone()] });
        pair.ask("offsets deleted while it lives", 0, |_| delete(&group, &[("t", 0), ("nobody", 0)]));
        pair.ask("another type joins", version, |_| JoinGroupRequest {
            protocol_type: "connect".into(),
            ..join(&group, "", &["range"])
        });
        pair.ask("other protocols join", version, |_| join(&group, "", &["sticky"]));
        pair.ask("another leaves", version.min(5), |_| leave(version.min(5), &group, "other"));
        pair.ask("leaves", version.min(5), |facts| leave(version.min(5), &group, &id(facts)));
        pair.ask("leaves again", version.min(5), |facts| leave(version.min(5), &group, &id(facts)));
        pair.each("described when empty", |_, _| DescribeGroupsRequest {
            groups: vec![group.clone()],
            ..Default::default()
        });
        pair.each("heartbeat when empty", |facts, _| beat(&group, generation(facts), &id(facts)));
    }
}

fn static_members(pair: &mut Pair) {
    for version in pair.versions::<JoinGroupRequest>().filter(|version| *version >= 5) {
        let group = format!("static{version}");
        let as_static =
            |member: &str| JoinGroupRequest { group_instance_id: Some("i".into()), ..join(&group, member, &["range"]) };
        for round in ["first", "again, with its id", "anew, without its id"] {
            let make = |facts: &Facts| {
                as_static(&if round.ends_with("its id") && round.starts_with("again") {
                    facts.text(&group)
                } else {
                    String::new()
                })
            };
            if round.starts_with("anew") {
                pair.ask("sync", 5, |facts| SyncGroupRequest {
                    group_instance_id: Some("i".into()),
                    ..sync(&group, facts.number(&group) as i32, &facts.text(&group), &[&facts.text(&group)])
                });
            }
            let Some((theirs, ours)) = pair.ask(round, version, make) else { continue };
            for (facts, answer) in [(&mut pair.theirs.facts, theirs.answer()), (&mut pair.ours.facts, ours.answer())] {
                facts.texts.insert(format!("{group}-before"), facts.text(&group));
                facts.texts.insert(group.clone(), answer.member_id);
                facts.numbers.insert(group.clone(), answer.generation_id.into());
            }
        }
        let held = |facts: &Facts, of: &str| HeartbeatRequest {
            group_instance_id: Some("i".into()),
            ..beat(&group, facts.number(&group) as i32, &facts.text(of))
        };
        pair.ask("its heartbeat", 4, |facts| held(facts, &group));
        pair.ask("the fenced one's heartbeat", 4, |facts| held(facts, &format!("{group}-before")));
        pair.ask("the fenced one joins", version, |facts| as_static(&facts.text(&format!("{group}-before"))));
        pair.ask("described", 5, |_| DescribeGroupsRequest { groups: vec![group.clone()], ..Default::default() });
        for instance in ["i", "other"] {
            pair.ask("removed by its instance", 5, |_| LeaveGroupRequest {
                group_id: group.clone(),
                members: vec![leave_group::MemberIdentity {
                    group_instance_id: Some(instance.into()),
                    ..Default::default()
                }],
                ..Default::default()
            });
        }
    }
}

fn offsets(pair: &mut Pair) {
    let long = "m".repeat(5000);
    let places: [(&str, i32, i64, Option<&str>); 9] = [
        ("t", 0, 7, Some("meta")),
        ("t", 1, 0, None),
        ("t", 2, -1, Some("")),
        ("t", 9, 1, None),
        ("t", -1, 1, None),
        ("nobody", 0, 1, None),
        ("", 0, 1, None),
        ("a b", 0, 1, None),
        ("t", 0, 8, Some(&long)),
    ];
    for place in &places {
        pair.each("a simple commit", |_, version| {
            commit(&format!("simple{version}"), -1, "", std::slice::from_ref(place))
        });
    }
    pair.each("all at once", |_, version| commit(&format!("all{version}"), -1, "", &[places[0], places[5], places[7]]));
    pair.each("nothing", |_, _| commit("nothing", -1, "", &[]));
    /// Topics and partitions of theirs; `None` for all.
    type Asked<'a> = Option<&'a [(&'a str, &'a [i32])]>;
    let asked: [Asked<'_>; 6] = [
        Some(&[("t", &[0, 1, 2, 9])]),
        Some(&[("nobody", &[0])]),
        Some(&[("t", &[0]), ("nobody", &[0]), ("a b", &[0]), ("", &[0])]),
        Some(&[("t", &[])]),
        Some(&[]),
        None,
    ];
    for places in asked {
        for require_stable in [false, true] {
            for groups in [&["simple3"][..], &["nobody", "all5"], &[""]] {
                pair.each("offsets of groups", |_, version| OffsetFetchRequest {
                    require_stable: require_stable && version >= 7,
                    ..committed(version, groups, if version < 2 && places.is_none() { Some(&[]) } else { places })
                });
            }
        }
    }
    pair.ask("a member's view that is wrong", 9, |_| {
        let mut request = committed(9, &["life5"], Some(&[("t", &[0])]));
        request.groups[0].member_id = Some("m".into());
        request.groups[0].member_epoch = 7;
        request
    });
}

fn delete(group: &str, places: &[(&str, i32)]) -> OffsetDeleteRequest {
    OffsetDeleteRequest {
        group_id: group.into(),
        topics: places
            .iter()
            .map(|(name, partition_index)| offset_delete::OffsetDeleteRequestTopic {
                name: (*name).into(),
                partitions: vec![offset_delete::OffsetDeleteRequestPartition { partition_index: *partition_index }],
            })
            .collect(),
    }
}

fn views(pair: &mut Pair) {
    for (states, types) in [
        (vec![], vec![]),
        (vec!["Empty"], vec![]),
        (vec!["stable", "EMPTY"], vec![]),
        (vec!["Nonsense"], vec![]),
        (vec![], vec!["classic"]),
        (vec![], vec!["consumer"]),
        (vec![], vec!["Classic", "nonsense"]),
    ] {
        let own = |all: &[&str]| all.iter().map(|each| (*each).to_owned()).collect::<Vec<_>>();
        pair.each("groups", |_, _| ListGroupsRequest { states_filter: own(&states), types_filter: own(&types) });
    }
    for groups in [vec!["simple3"], vec!["nobody", "simple3", "nobody"], vec![""], vec![]] {
        pair.each("some groups", |_, _| DescribeGroupsRequest {
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..Default::default()
        });
    }
}

fn deletions(pair: &mut Pair) {
    pair.each("offsets", |_, _| delete("simple4", &[("t", 0), ("nobody", 0)]));
    pair.each("offsets again", |_, _| delete("simple4", &[("t", 0)]));
    pair.each("offsets of no group", |_, _| delete("nobody", &[("t", 0)]));
    pair.each("offsets of a group without name", |_, _| delete("", &[("t", 0)]));
    pair.each("no offsets", |_, _| delete("simple4", &[]));
    pair.each("groups", |_, version| DeleteGroupsRequest {
        groups_names: vec![format!("simple{}", version + 5), "nobody".into(), String::new(), format!("life{version}")],
    });
    pair.each("one group twice", |_, version| DeleteGroupsRequest {
        groups_names: vec![format!("all{version}"), format!("all{version}")],
    });
    pair.each("no groups", |_, _| DeleteGroupsRequest { groups_names: vec![] });
}
