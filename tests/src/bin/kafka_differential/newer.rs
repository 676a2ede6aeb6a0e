//! Cases of what Apache Kafka has with KRaft alone: groups of the new consumer protocol (KIP-848), share groups (KIP-932), feature
//! levels, and what Kafka 4 added to older APIs. Member ids are the cases' own, so that both sides know the same.

use crate::mask::Facts;
use crate::{Pair, admin, data};
use common::kafka::messages::*;

/// Member ids, as clients draw them.
const MEMBERS: [&str; 3] = ["AAAAAAAAAAAAAAAAAAAAAQ", "AAAAAAAAAAAAAAAAAAAAAg", "AAAAAAAAAAAAAAAAAAAAAw"];
/// Who is in no group.
const NOBODY: &str = "AAAAAAAAAAAAAAAAAAAAPw";
/// How often a thing is asked for that takes a moment on both sides.
const TRIES: usize = 500;

pub(crate) fn run(pair: &mut Pair) {
    pair.both(|side| {
        side.ask(0, 5, &admin::create(vec![admin::topic("t", 3, 1, &[])], false)).answer();
    });
    pair.settle("t");
    pair.both(coordinate);
    consumer_groups(pair);
    pair.report("consumer groups");
    share_group_members(pair);
    pair.report("share group members");
    share_sessions(pair);
    pair.report("share sessions");
    share_offsets(pair);
    pair.report("share offsets");
    features(pair);
    pair.report("features");
    additions(pair);
    pair.report("additions");
    lists(pair);
    pair.report("lists");
}

/// Has the coordinators' topics made, and waits until they serve.
fn coordinate(side: &mut crate::Side) {
    let share = share_keys(&side.facts);
    let keys = [
        (0, vec!["c".to_owned(), "g".into(), "nobody".into(), String::from("nobody-2")]),
        (1, vec!["x".into()]),
        (2, share),
    ];
    for (key_type, coordinator_keys) in keys {
        for _ in 0..TRIES {
            let request =
                FindCoordinatorRequest { key_type, coordinator_keys: coordinator_keys.clone(), ..Default::default() };
            let answer = side.ask(0, 6, &request).answer();
            if answer.coordinators.iter().all(|found| found.error_code == 0) {
                break;
            }
            crate::pause();
        }
    }
    // Those of groups are loading until then, and say so of each of theirs.
    for group in ["c", "g", "nobody", "nobody-2", ""] {
        for _ in 0..TRIES {
            let request = ShareGroupDescribeRequest { group_ids: vec![group.into()], ..Default::default() };
            let code = side.ask(0, 1, &request).answer().groups[0].error_code;
            if ![14, 15, 16].contains(&code) {
                break;
            }
            crate::pause();
        }
    }
}

/// The keys by which share coordinators are found: group, topic and partition.
fn share_keys(facts: &Facts) -> Vec<String> {
    let topic = base64(facts.id("t").as_bytes());
    (0..3).map(|partition| format!("g:{topic}:{partition}")).collect()
}

/// As Kafka writes ids: URL-safe, without padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letter = |group: &[u8], at: usize| {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        char::from(LETTERS[(bits >> (18 - 6 * at) & 63) as usize])
    };
    bytes.chunks(3).flat_map(|group| (0..=group.len()).map(move |at| letter(group, at))).collect()
}

fn names(of: &[&str]) -> Option<Vec<String>> {
    Some(of.iter().map(|name| (*name).to_owned()).collect())
}

// ---- groups of the new consumer protocol

fn consumer(group: &str, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        member_epoch: epoch,
        ..Default::default()
    }
}

/// As members join: with everything that there is to say.
fn joins(group: &str, member: &str, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: names(topics),
        topic_partitions: Some(Vec::new()),
        ..consumer(group, member, 0)
    }
}

fn consumer_groups(pair: &mut Pair) {
    // Version 0 has the coordinator draw the member's id.
    if let Some((theirs, ours)) = pair.ask("joins", 1, |_| joins("c", MEMBERS[0], &["t"])) {
        for (side, answer) in [(&mut pair.theirs, theirs), (&mut pair.ours, ours)] {
            side.facts.numbers.insert("epoch of c".into(), i64::from(answer.answer().member_epoch));
        }
    }
    // Kafka's first epoch is another.
    let epoch = |facts: &Facts| i32::try_from(facts.number("epoch of c")).unwrap_or(-1);
    for (what, request) in [
        ("no group", joins("", MEMBERS[0], &["t"])),
        ("no member", joins("c", "", &["t"])),
        ("no topics", ConsumerGroupHeartbeatRequest { subscribed_topic_names: None, ..joins("c", MEMBERS[1], &["t"]) }),
        ("no time", ConsumerGroupHeartbeatRequest { rebalance_timeout_ms: -1, ..joins("c", MEMBERS[1], &["t"]) }),
        ("no partitions", ConsumerGroupHeartbeatRequest { topic_partitions: None, ..joins("c", MEMBERS[1], &["t"]) }),
        (
            "no assignor",
            ConsumerGroupHeartbeatRequest {
                server_assignor: Some("nonsense".into()),
                ..joins("c", MEMBERS[1], &["t"])
            },
        ),
        (
            "an empty assignor",
            ConsumerGroupHeartbeatRequest { server_assignor: Some(String::new()), ..joins("c", MEMBERS[1], &["t"]) },
        ),
        (
            "an empty rack",
            ConsumerGroupHeartbeatRequest { rack_id: Some(String::new()), ..joins("c", MEMBERS[1], &["t"]) },
        ),
        (
            "an empty instance",
            ConsumerGroupHeartbeatRequest { instance_id: Some(String::new()), ..joins("c", MEMBERS[1], &["t"]) },
        ),
        (
            "a bad pattern",
            ConsumerGroupHeartbeatRequest {
                subscribed_topic_names: None,
                subscribed_topic_regex: Some("(".into()),
                ..joins("c", MEMBERS[1], &["t"])
            },
        ),
        ("an unknown member", consumer("c", NOBODY, 5)),
        ("an unknown group", consumer("nobody", NOBODY, 5)),
        ("an old epoch", consumer("c", MEMBERS[0], 77)),
        ("an epoch that is none", consumer("c", MEMBERS[0], -7)),
        ("a static one that is none", consumer("c", MEMBERS[0], -2)),
        ("an unknown one leaves", consumer("c", NOBODY, -1)),
    ] {
        pair.ask(what, 1, |_| request.clone());
    }
    pair.ask("goes on", 1, |facts| consumer("c", MEMBERS[0], epoch(facts)));
    let partitions = |facts: &Facts| {
        vec![consumer_group_heartbeat::TopicPartitions { topic_id: facts.id("t"), partitions: vec![0, 1, 2] }]
    };
    pair.ask("has its partitions", 1, |facts| ConsumerGroupHeartbeatRequest {
        topic_partitions: Some(partitions(facts)),
        ..consumer("c", MEMBERS[0], epoch(facts))
    });
    described(pair, "c");
    for (more, what) in [(0, "commits"), (-1, "commits with an old epoch"), (9, "commits with a later epoch")] {
        for version in 9..=10 {
            pair.ask(what, version, |facts| {
                let mut request =
                    crate::groups::commit("c", epoch(facts) + more, MEMBERS[0], &[("t", 0, 5, Some("x"))]);
                for topic in &mut request.topics {
                    if version >= 10 {
                        topic.topic_id = facts.id(&topic.name);
                        topic.name = String::new();
                    }
                }
                request
            });
        }
    }
    pair.ask("joins the classic way", 9, |_| JoinGroupRequest {
        group_id: "c".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![join_group::JoinGroupRequestProtocol { name: "range".into(), ..Default::default() }],
        ..Default::default()
    });
    pair.each("a group of members is deleted", |_, _| DeleteGroupsRequest { groups_names: vec!["c".into()] });
    pair.ask("leaves", 1, |_| consumer("c", MEMBERS[0], -1));
    described(pair, "c");
    pair.each("offsets of such a group", |_, version| OffsetFetchRequest {
        group_id: if version < 8 { "c".into() } else { String::new() },
        topics: if version < 8 {
            Some(vec![offset_fetch::OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![0, 1] }])
        } else {
            Some(Vec::new())
        },
        groups: match version {
            8..10 => vec![offset_fetch::OffsetFetchRequestGroup {
                group_id: "c".into(),
                topics: Some(vec![offset_fetch::OffsetFetchRequestTopics {
                    name: "t".into(),
                    partition_indexes: vec![0, 1],
                    ..Default::default()
                }]),
                ..Default::default()
            }],
            _ => Vec::new(),
        },
        ..Default::default()
    });
    pair.ask("an empty group is deleted", 2, |_| DeleteGroupsRequest { groups_names: vec!["c".into()] });
}

fn described(pair: &mut Pair, group: &str) {
    for groups in [vec![group], vec!["nobody", ""], vec![]] {
        let group_ids: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        for include_authorized_operations in [false, true] {
            pair.each("described", |_, _| ConsumerGroupDescribeRequest {
                group_ids: group_ids.clone(),
                include_authorized_operations,
            });
            pair.each("share groups described", |_, _| ShareGroupDescribeRequest {
                group_ids: group_ids.clone(),
                include_authorized_operations,
            });
        }
    }
}

// ---- share groups

fn share(group: &str, member: &str, epoch: i32, topics: Option<&[&str]>) -> ShareGroupHeartbeatRequest {
    ShareGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        member_epoch: epoch,
        subscribed_topic_names: topics.and_then(names),
        ..Default::default()
    }
}

fn share_group_members(pair: &mut Pair) {
    for (what, request) in [
        ("no group", share("", MEMBERS[0], 0, Some(&["t"]))),
        ("no member", share("g", "", 0, Some(&["t"]))),
        ("a member id that is long", share("g", &"x".repeat(37), 0, Some(&["t"]))),
        ("no topics", share("g", MEMBERS[0], 0, None)),
        ("an empty list of topics", share("g", MEMBERS[0], 0, Some(&[]))),
        ("an epoch that is none", share("g", MEMBERS[0], -2, Some(&["t"]))),
        ("an unknown group", share("nobody", NOBODY, 3, None)),
        (
            "an empty rack",
            ShareGroupHeartbeatRequest { rack_id: Some(String::new()), ..share("g", MEMBERS[0], 0, Some(&["t"])) },
        ),
    ] {
        pair.each(what, |_, _| request.clone());
    }
    // Until the states of its partitions are there.
    pair.both(|side| {
        let mut epoch = 0;
        for _ in 0..TRIES {
            let request = share("g", MEMBERS[0], epoch, if epoch == 0 { Some(&["t"]) } else { None });
            let answer = side.ask(0, 1, &request).answer();
            if answer.error_code == 0 {
                epoch = answer.member_epoch;
                side.facts.numbers.insert("epoch of g".into(), i64::from(epoch));
            }
            if answer.assignment.is_some_and(|assignment| !assignment.topic_partitions.is_empty()) {
                return;
            }
            crate::pause();
        }
    });
    described(pair, "g");
    for (what, member, epoch) in [
        ("an unknown member", NOBODY, 3),
        ("an unknown one leaves", NOBODY, -1),
        ("a later epoch", MEMBERS[0], 99),
        ("no topics of one that stays", MEMBERS[0], 0),
    ] {
        pair.each(what, |_, _| share("g", member, epoch, None));
    }
    pair.ask("a consumer of the new protocol joins", 1, |_| joins("g", MEMBERS[1], &["t"]));
    pair.each("a group of members is deleted", |_, _| DeleteGroupsRequest { groups_names: vec!["g".into()] });
    pair.ask("offsets are committed in a share group", 9, |_| crate::groups::commit("g", -1, "", &[("t", 0, 5, None)]));
    pair.each("a share group is described as a classic one", |_, _| DescribeGroupsRequest {
        groups: vec!["g".into()],
        ..Default::default()
    });
}

// ---- share sessions

type Acks<'a> = &'a [(i64, i64, &'a [i8])];

fn fetch(facts: &Facts, member: &str, epoch: i32, places: &[(&str, i32, Acks<'_>)]) -> ShareFetchRequest {
    let topics = places.iter().map(|(topic, partition_index, acks)| share_fetch::FetchTopic {
        topic_id: facts.id(topic),
        partitions: vec![share_fetch::FetchPartition {
            partition_index: *partition_index,
            acknowledgement_batches: acks
                .iter()
                .map(|(first_offset, last_offset, types)| share_fetch::AcknowledgementBatch {
                    first_offset: *first_offset,
                    last_offset: *last_offset,
                    acknowledge_types: types.to_vec(),
                })
                .collect(),
        }],
    });
    ShareFetchRequest {
        group_id: Some("g".into()),
        member_id: Some(member.into()),
        share_session_epoch: epoch,
        max_wait_ms: 100,
        min_bytes: 0,
        max_records: 500,
        batch_size: 500,
        topics: topics.collect(),
        ..Default::default()
    }
}

fn acknowledge(facts: &Facts, member: &str, epoch: i32, places: &[(&str, i32, Acks<'_>)]) -> ShareAcknowledgeRequest {
    let topics = places.iter().map(|(topic, partition_index, acks)| share_acknowledge::AcknowledgeTopic {
        topic_id: facts.id(topic),
        partitions: vec![share_acknowledge::AcknowledgePartition {
            partition_index: *partition_index,
            acknowledgement_batches: acks
                .iter()
                .map(|(first_offset, last_offset, types)| share_acknowledge::AcknowledgementBatch {
                    first_offset: *first_offset,
                    last_offset: *last_offset,
                    acknowledge_types: types.to_vec(),
                })
                .collect(),
        }],
    });
    ShareAcknowledgeRequest {
        group_id: Some("g".into()),
        member_id: Some(member.into()),
        share_session_epoch: epoch,
        topics: topics.collect(),
        ..Default::default()
    }
}

fn share_sessions(pair: &mut Pair) {
    let [me, other, _] = MEMBERS;
    for version in pair.versions::<ShareFetchRequest>() {
        pair.ask("a session that is not there", version, |facts| fetch(facts, me, 3, &[("t", 0, &[])]));
        pair.ask("a session ends that is not there", version, |facts| fetch(facts, me, -1, &[]));
        pair.ask("a session begins with words", version, |facts| fetch(facts, me, 0, &[("t", 0, &[(0, 0, &[1])])]));
        pair.ask("a group without name", version, |facts| ShareFetchRequest {
            group_id: Some(String::new()),
            ..fetch(facts, me, 0, &[("t", 0, &[])])
        });
        pair.ask("no records at most", version, |facts| ShareFetchRequest {
            max_records: 0,
            ..fetch(facts, me, 0, &[("t", 0, &[])])
        });
        pair.ask("an id of a member that is none", version, |facts| fetch(facts, "x", 0, &[("t", 0, &[])]));
        pair.ask("words without a session", version, |_| ShareAcknowledgeRequest {
            group_id: Some("g".into()),
            member_id: Some(me.into()),
            share_session_epoch: 3,
            ..Default::default()
        });
        pair.ask("words begin a session", version, |facts| acknowledge(facts, me, 0, &[("t", 0, &[(0, 0, &[1])])]));
    }
    // The group begins at the end of the log, when its partitions are first read.
    settle(pair, 0);
    let batch = data::batch(&common::kafka::batch::BatchSpec::default(), &data::records(10, 20));
    pair.ask("records", 9, |_| data::produce("t", 0, Some(batch.clone())));
    pair.ask("all of them", 1, |facts| fetch(facts, me, 0, &[("t", 0, &[])]));
    for (what, places) in [
        ("what is done already", &[("t", 0, &[(100, 101, &[1][..])][..])][..]),
        ("backwards", &[("t", 0, &[(3, 2, &[1])])]),
        ("too few words", &[("t", 0, &[(0, 3, &[1, 1])])]),
        ("an unknown word", &[("t", 0, &[(0, 0, &[9])])]),
        ("a negative word", &[("t", 0, &[(0, 0, &[-1])])]),
        ("no words", &[("t", 0, &[(0, 0, &[])])]),
        ("words of a partition that is not there", &[("t", 9, &[(0, 0, &[1])])]),
        ("words of a topic that is not there", &[("nobody", 0, &[(0, 0, &[1])])]),
    ] {
        // What is refused as a whole ends nothing: the epoch goes on where it was taken.
        pair.ask(what, 1, |facts| acknowledge(facts, me, epoch_of(facts), places));
        resume(pair, me);
    }
    pair.ask("accepts, releases, rejects", 1, |facts| {
        acknowledge(facts, me, epoch_of(facts), &[("t", 0, &[(0, 3, &[1]), (4, 6, &[2, 3, 0]), (7, 7, &[2])])])
    });
    resume(pair, me);
    pair.ask("what was released comes again", 1, |facts| fetch(facts, me, epoch_of(facts), &[]));
    resume(pair, me);
    pair.ask("another says what it does not hold", 1, |facts| fetch(facts, other, 0, &[("t", 0, &[])]));
    pair.ask("words about another's records", 1, |facts| acknowledge(facts, other, 1, &[("t", 0, &[(8, 8, &[1])])]));
    pair.ask("forgets a partition", 1, |facts| ShareFetchRequest {
        forgotten_topics_data: vec![share_fetch::ForgottenTopic { topic_id: facts.id("t"), partitions: vec![0] }],
        ..fetch(facts, me, epoch_of(facts), &[("t", 1, &[])])
    });
    pair.ask("a partition that is not there", 1, |facts| fetch(facts, me, 0, &[("t", 9, &[]), ("nobody", 0, &[])]));
    pair.ask("ends", 1, |facts| acknowledge(facts, me, -1, &[]));
    pair.ask("ends again", 1, |facts| acknowledge(facts, me, -1, &[]));
}

/// Which epoch the session of the first member has now, on each side.
fn epoch_of(facts: &Facts) -> i32 {
    i32::try_from(facts.number("session epoch")).unwrap_or(-1).max(0)
}

/// Begins the session anew, uncompared: what became of its epoch is known then. What it holds stays its.
fn resume(pair: &mut Pair, member: &str) {
    pair.both(|side| {
        let request = fetch(&side.facts, member, 0, &[("t", 2, &[])]);
        let answer = side.ask(0, 1, &request).answer();
        assert_eq!(answer.error_code, 0, "{answer:?}");
        let request = fetch(&side.facts, member, 1, &[("t", 0, &[])]);
        side.ask(0, 1, &ShareFetchRequest { max_wait_ms: 0, ..request }).answer();
        side.facts.numbers.insert("session epoch".into(), 2);
    });
}

/// Reads a partition of the group until it can be read.
fn settle(pair: &mut Pair, partition: i32) {
    pair.both(|side| {
        let mut last = None;
        for _ in 0..TRIES {
            let request = fetch(&side.facts, MEMBERS[0], 0, &[("t", partition, &[])]);
            let answer = side.ask(0, 1, &request).answer();
            let is_read = |topic: &share_fetch::ShareFetchableTopicResponse| {
                topic.partitions.iter().all(|data| data.error_code == 0)
            };
            if answer.error_code == 0 && answer.responses.iter().all(is_read) {
                return;
            }
            last = Some(answer);
            crate::pause();
        }
        panic!("the share partition is never read: {last:?}");
    });
}

// ---- where share groups stand

/// A group and, if not all are meant, topics with partitions.
type View<'a> = (&'a str, Option<&'a [(&'a str, &'a [i32])]>);

fn share_offsets(pair: &mut Pair) {
    let groups = |groups: &[View<'_>]| DescribeShareGroupOffsetsRequest {
        groups: groups
            .iter()
            .map(|(group, topics)| describe_share_group_offsets::DescribeShareGroupOffsetsRequestGroup {
                group_id: (*group).into(),
                topics: topics.map(|topics| {
                    topics
                        .iter()
                        .map(|(name, partitions)| describe_share_group_offsets::DescribeShareGroupOffsetsRequestTopic {
                            topic_name: (*name).into(),
                            partitions: partitions.to_vec(),
                        })
                        .collect()
                }),
            })
            .collect(),
    };
    let alter = |group: &str, places: &[(&str, i32, i64)]| AlterShareGroupOffsetsRequest {
        group_id: group.into(),
        topics: places
            .iter()
            .map(|(topic, partition_index, start_offset)| {
                alter_share_group_offsets::AlterShareGroupOffsetsRequestTopic {
                    topic_name: (*topic).into(),
                    partitions: vec![alter_share_group_offsets::AlterShareGroupOffsetsRequestPartition {
                        partition_index: *partition_index,
                        start_offset: *start_offset,
                    }],
                }
            })
            .collect(),
    };
    let delete = |group: &str, topics: &[&str]| DeleteShareGroupOffsetsRequest {
        group_id: group.into(),
        topics: topics
            .iter()
            .map(|name| delete_share_group_offsets::DeleteShareGroupOffsetsRequestTopic { topic_name: (*name).into() })
            .collect(),
    };
    let views: [&[View<'_>]; 5] = [
        // A partition that is not there Kafka 4.3 never answers.
        &[("g", Some(&[("t", &[0, 1])]))],
        &[("g", None)],
        &[("nobody", None), ("", None)],
        &[("g", Some(&[]))],
        &[],
    ];
    for view in views {
        pair.each("offsets", |_, _| groups(view));
    }
    pair.each("offsets of a group with members", |_, _| alter("g", &[("t", 0, 2)]));
    pair.each("offsets of a group with members go", |_, _| delete("g", &["t"]));
    pair.ask("leaves", 1, |_| share("g", MEMBERS[0], -1, None));
    described(pair, "g");
    for (what, request) in [
        ("moves", alter("g", &[("t", 0, 2), ("nobody", 0, 1)])),
        ("moves a group that is not there", alter("nobody-2", &[("t", 0, 2)])),
        ("moves a group without name", alter("", &[("t", 0, 2)])),
        ("moves nothing", alter("g", &[])),
    ] {
        pair.each(what, |_, _| request.clone());
    }
    pair.each("offsets after a move", |_, _| groups(&[("g", Some(&[("t", &[0])]))]));
    for (what, request) in [
        ("forgets topics", delete("g", &["t", "nobody"])),
        ("forgets again", delete("g", &["t"])),
        ("forgets nothing", delete("g", &[])),
        ("forgets in a group that is not there", delete("nobody", &["t"])),
        ("forgets in a group without name", delete("", &["t"])),
    ] {
        pair.each(what, |_, _| request.clone());
    }
    pair.each("offsets after all", |_, _| groups(&[("g", None)]));
    pair.ask("an empty share group is deleted", 2, |_| DeleteGroupsRequest { groups_names: vec!["g".into()] });
}

// ---- feature levels, and what Kafka 4 added

fn features(pair: &mut Pair) {
    let wish = |feature: &str, level: i16, kind: i8| update_features::FeatureUpdateKey {
        feature: feature.into(),
        max_version_level: level,
        upgrade_type: kind,
        ..Default::default()
    };
    for (what, updates, validate_only) in [
        ("a level that is there", vec![wish("group.version", 1, 1)], false),
        ("lower, as an upgrade", vec![wish("share.version", 0, 1)], false),
        ("higher, as a downgrade", vec![wish("transaction.version", 2, 2)], true),
        ("too high", vec![wish("share.version", 99, 1)], false),
        ("negative", vec![wish("share.version", -1, 2)], false),
        ("an unknown feature", vec![wish("nonsense", 1, 1)], false),
        ("no name", vec![wish("", 1, 1)], false),
        ("an unknown kind", vec![wish("share.version", 1, 9)], false),
        ("one of them cannot be", vec![wish("group.version", 1, 1), wish("nonsense", 1, 1)], false),
        ("only to see", vec![wish("share.version", 0, 2)], true),
        ("nothing", vec![], false),
        ("lower", vec![wish("transaction.version", 1, 2)], false),
        ("lower, unsafe", vec![wish("transaction.version", 0, 3)], false),
        ("higher again", vec![wish("transaction.version", 2, 1)], false),
    ] {
        pair.each(what, |_, version| UpdateFeaturesRequest {
            feature_updates: updates
                .iter()
                .map(|update| update_features::FeatureUpdateKey {
                    upgrade_type: if version < 1 { 1 } else { update.upgrade_type },
                    ..update.clone()
                })
                .collect(),
            validate_only: version > 0 && validate_only,
            ..Default::default()
        });
    }
}

fn additions(pair: &mut Pair) {
    for pattern in [None, Some(""), Some("("), Some("a)(b"), Some(".*"), Some("nobody-[0-9]+")] {
        pair.ask("transactions by a pattern", 2, |_| ListTransactionsRequest {
            transactional_id_pattern: pattern.map(str::to_owned),
            ..Default::default()
        });
    }
    for timestamp in -7..=-1 {
        pair.each("offsets by the names of times", |_, _| ListOffsetsRequest {
            replica_id: -1,
            topics: vec![list_offsets::ListOffsetsTopic {
                name: "t".into(),
                partitions: vec![list_offsets::ListOffsetsPartition { timestamp, ..Default::default() }],
            }],
            ..Default::default()
        });
    }
    for replicas in [vec![0], vec![]] {
        pair.ask("a move that keeps the replicas", 1, |_| AlterPartitionReassignmentsRequest {
            allow_replication_factor_change: false,
            topics: vec![alter_partition_reassignments::ReassignableTopic {
                name: "t".into(),
                partitions: vec![alter_partition_reassignments::ReassignablePartition {
                    partition_index: 0,
                    replicas: Some(replicas.clone()),
                }],
            }],
            ..Default::default()
        });
    }
    for resource_types in [vec![], vec![16], vec![32], vec![2, 4], vec![99]] {
        pair.ask("resources with settings", 1, |_| ListConfigResourcesRequest {
            resource_types: resource_types.clone(),
        });
    }
}

fn lists(pair: &mut Pair) {
    for types in [vec![], vec!["share"], vec!["consumer"], vec!["SHARE", "classic"], vec!["nonsense"]] {
        pair.ask("groups by type", 5, |_| ListGroupsRequest {
            types_filter: types.iter().map(|kind| (*kind).to_owned()).collect(),
            ..Default::default()
        });
    }
}
