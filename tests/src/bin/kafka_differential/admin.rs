//! Cases of topics, settings and the cluster.

use crate::Pair;
use crate::mask::Facts;
use crate::pause;
use common::kafka::messages::*;
use uuid::Uuid;

/// Name, partitions, settings.
type Prepared = (&'static str, i32, &'static [(&'static str, &'static str)]);

/// Topics that all groups of cases have.
pub(crate) const TOPICS: &[Prepared] = &[
    ("t", 3, &[]),
    ("compacted", 1, &[("cleanup.policy", "compact")]),
    ("small", 1, &[("max.message.bytes", "300")]),
    ("gzip", 1, &[("compression.type", "gzip")]),
    ("append-time", 1, &[("message.timestamp.type", "LogAppendTime")]),
    ("recent", 1, &[("message.timestamp.difference.max.ms", "1000")]),
    ("doomed", 2, &[]),
    // A partition for each case that may leave something behind on one side only.
    ("bad", 60, &[]),
];

fn config(name: &str, value: Option<&str>) -> create_topics::CreatableTopicConfig {
    create_topics::CreatableTopicConfig { name: name.into(), value: value.map(str::to_owned) }
}

pub(crate) fn topic(
    name: &str,
    partitions: i32,
    replicas: i16,
    configs: &[(&str, &str)],
) -> create_topics::CreatableTopic {
    let configs = configs.iter().map(|(name, value)| config(name, Some(value))).collect();
    create_topics::CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: replicas,
        configs,
        ..Default::default()
    }
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> create_topics::CreatableTopic {
    let assignments = assignments
        .iter()
        .map(|(partition, brokers)| create_topics::CreatableReplicaAssignment {
            partition_index: *partition,
            broker_ids: brokers.to_vec(),
        })
        .collect();
    create_topics::CreatableTopic { assignments, ..topic(name, -1, -1, &[]) }
}

pub(crate) fn create(topics: Vec<create_topics::CreatableTopic>, validate_only: bool) -> CreateTopicsRequest {
    CreateTopicsRequest { topics, timeout_ms: 10_000, validate_only }
}

/// All groups of cases begin from the same topics.
pub(crate) fn prepare(pair: &mut Pair) {
    let all = || TOPICS.iter().map(|(name, partitions, configs)| topic(name, *partitions, 1, configs)).collect();
    pair.both(|side| {
        side.ask(0, 5, &create(all(), false)).answer();
    });
    for (name, ..) in TOPICS {
        pair.settle(name);
    }
}

pub(crate) fn run(pair: &mut Pair) {
    api_versions(pair);
    prepare(pair);
    cluster(pair);
    creation(pair);
    metadata(pair);
    describe_configs(pair);
    alter_configs(pair);
    partitions(pair);
    reassignments(pair);
    log_dirs(pair);
    deletion(pair);
}

fn api_versions(pair: &mut Pair) {
    for version in 0..=3 {
        for (name, number) in [("", ""), ("lib", "1.0"), ("-bad", "1"), ("lib", "1 0")] {
            let make = |_: &Facts| ApiVersionsRequest {
                client_software_name: name.into(),
                client_software_version: number.into(),
            };
            // What each serves is its own; whether it says so is compared.
            let got = [make(&pair.theirs.facts), make(&pair.ours.facts)];
            let theirs = pair.theirs.ask(0, version, &got[0]).answer().error_code;
            let ours = pair.ours.ask(0, version, &got[1]).answer().error_code;
            if theirs != ours {
                println!("DIFFERS ApiVersions v{version} of {name} {number}: {theirs} there, {ours} here");
                pair.differ += 1;
            }
        }
    }
}

fn cluster(pair: &mut Pair) {
    for authorized in [false, true] {
        pair.each("the cluster", |_, _| DescribeClusterRequest {
            include_cluster_authorized_operations: authorized,
            ..Default::default()
        });
    }
    pair.each("controllers", |_, _| DescribeClusterRequest { endpoint_type: 2, ..Default::default() });
    pair.each("a kind of endpoint that is none", |_, _| DescribeClusterRequest {
        endpoint_type: 7,
        ..Default::default()
    });
    for (key, kind) in [("g", 0), ("tx", 1), ("g", 2), ("", 0), ("", 1), ("g", 9)] {
        pair.both(|side| {
            loop {
                let request =
                    FindCoordinatorRequest { key: "g".into(), key_type: i8::from(kind == 1), ..Default::default() };
                if side.ask(0, 1, &request).answer().error_code == 0 {
                    break;
                }
                pause();
            }
        });
        let what = if kind == 2 { "a coordinator of share groups" } else { "a coordinator" };
        pair.each(what, |_, version| FindCoordinatorRequest {
            key: if version < 4 { key.into() } else { String::new() },
            key_type: kind,
            coordinator_keys: if version < 4 { vec![] } else { vec![key.into(), "another".into()] },
        });
    }
}

/// Topics that may not be, most of them.
fn bad_topics() -> Vec<create_topics::CreatableTopic> {
    let longer = "n".repeat(250);
    vec![
        topic("t", 1, 1, &[]),
        topic("", 1, 1, &[]),
        topic(".", 1, 1, &[]),
        topic("..", 1, 1, &[]),
        topic("a b", 1, 1, &[]),
        topic("größe", 1, 1, &[]),
        topic(&longer, 1, 1, &[]),
        topic("__consumer_offsets", 1, 1, &[]),
        topic("append.time", 1, 1, &[]),
        topic("append_time", 1, 1, &[]),
        topic("none", 0, 1, &[]),
        topic("none", -2, 1, &[]),
        topic("none", 1, 0, &[]),
        topic("none", 1, -2, &[]),
        topic("none", 1, 2, &[]),
        topic("none", 1, 1, &[("no.such.setting", "1")]),
        topic("none", 1, 1, &[("retention.ms", "a while")]),
        topic("none", 1, 1, &[("retention.ms", "-5")]),
        topic("none", 1, 1, &[("cleanup.policy", "burn")]),
        topic("none", 1, 1, &[("segment.bytes", "3")]),
        topic("none", 1, 1, &[("min.insync.replicas", "0")]),
        topic("none", 1, 1, &[("compression.type", "brotli")]),
        topic("none", 1, 1, &[("max.message.bytes", "")]),
        topic("none", 1, 1, &[("message.timestamp.type", "Never")]),
        topic("none", 1, 1, &[("preallocate", "maybe")]),
        topic("none", 1, 1, &[("leader.replication.throttled.replicas", "x")]),
        topic("none", 1, 1, &[("min.cleanable.dirty.ratio", "2")]),
        topic("none", 1, 1, &[("unclean.leader.election.enable", "TRUE")]),
        topic("none", 1, 1, &[("retention.ms", " 7 ")]),
        topic("none", 1, 1, &[("remote.storage.enable", "true")]),
        topic("none", 1, 1, &[("local.retention.ms", "5")]),
        topic("none", 1, 1, &[("local.retention.ms", "5"), ("retention.ms", "1")]),
        topic("none", 1, 1, &[("message.format.version", "0.9.0")]),
        topic("none", 1, 1, &[("message.format.version", "nonsense")]),
        topic("none", 1, 1, &[("message.timestamp.before.max.ms", "-1")]),
        topic("none", 1, 1, &[("max.compaction.lag.ms", "1"), ("min.compaction.lag.ms", "2")]),
        topic("none", 1, 1, &[("segment.ms", "0")]),
        topic("none", 1, 1, &[("index.interval.bytes", "-1")]),
        topic("none", 1, 1, &[("flush.messages", "0")]),
        topic("none", 1, 1, &[("retention.ms", "1"), ("retention.ms", "2")]),
        create_topics::CreatableTopic { configs: vec![config("retention.ms", None)], ..topic("none", 1, 1, &[]) },
        create_topics::CreatableTopic { configs: vec![config("", Some("1"))], ..topic("none", 1, 1, &[]) },
        assigned("none", &[(0, &[0])]),
        assigned("none", &[(0, &[0, 0])]),
        assigned("none", &[(0, &[9])]),
        assigned("none", &[(0, &[-1])]),
        assigned("none", &[(1, &[0])]),
        assigned("none", &[(0, &[0]), (2, &[0])]),
        assigned("none", &[(0, &[0]), (0, &[0])]),
        assigned("none", &[(0, &[0]), (1, &[0, 9])]),
        create_topics::CreatableTopic { num_partitions: 1, ..assigned("none", &[(0, &[0])]) },
        create_topics::CreatableTopic { replication_factor: 1, ..assigned("none", &[(0, &[0])]) },
    ]
}

fn creation(pair: &mut Pair) {
    let (long, bad) = ("n".repeat(249), bad_topics());
    for each in &bad {
        pair.each("a topic alone, to see whether it could be", |_, _| create(vec![each.clone()], true));
    }
    pair.each("a partition without replicas", |_, _| create(vec![assigned("none", &[(0, &[])])], true));
    pair.each("all at once", |_, _| create(bad[..14].to_vec(), true));
    pair.each("nothing", |_, _| create(vec![], false));
    pair.each("one topic twice", |_, version| {
        let name = format!("twice-{version}");
        create(
            vec![topic(&name, 1, 1, &[]), topic(&name, 2, 1, &[]), topic(&format!("once-{version}"), 1, 1, &[])],
            false,
        )
    });
    pair.each("no time", |_, version| CreateTopicsRequest {
        timeout_ms: 0,
        ..create(vec![topic(&format!("hurried-{version}"), 1, 1, &[])], false)
    });
    for version in pair.versions::<CreateTopicsRequest>() {
        let name = format!("made-{version}");
        let made =
            |name: &str| topic(name, -1, -1, &[("cleanup.policy", "compact,delete"), ("retention.bytes", "1000000")]);
        pair.ask("defaults of the broker", version, |_| create(vec![made(&name)], false));
        pair.ask("the longest name", version, |_| create(vec![topic(&long, 1, 1, &[])], version != 5));
        pair.settle(&name);
    }
    pair.each("a collision", |_, _| create(vec![topic("made_5", 1, 1, &[]), topic("made.5", 1, 1, &[])], true));
}

fn asked(facts: &Facts, names: &[&str], version: i16) -> Option<Vec<metadata::MetadataRequestTopic>> {
    let of = |name: &&str| match name.strip_prefix('#') {
        Some(name) if version >= 10 => metadata::MetadataRequestTopic { topic_id: facts.id(name), name: None },
        _ => metadata::MetadataRequestTopic { name: Some((*name).into()), ..Default::default() },
    };
    Some(names.iter().map(of).collect())
}

fn metadata(pair: &mut Pair) {
    let names: [&[&str]; 9] = [
        &["t"],
        &["t", "t"],
        &["compacted", "nobody", "t"],
        &[""],
        &["a b", "..", "t"],
        &["#t", "#nobody"],
        &["#t", "compacted"],
        &["__consumer_offsets"],
        &[],
    ];
    for names in names {
        for (create, authorized) in [(false, false), (false, true), (true, false)] {
            pair.each("named topics", |facts, version| MetadataRequest {
                topics: asked(facts, names, version),
                allow_auto_topic_creation: create || version < 4,
                include_topic_authorized_operations: authorized && version >= 8,
                include_cluster_authorized_operations: authorized && (8..=10).contains(&version),
            });
        }
    }
    pair.each("all topics", |_, version| MetadataRequest {
        topics: if version == 0 { Some(vec![]) } else { None },
        ..Default::default()
    });
    pair.each("a topic by both", |facts, _| MetadataRequest {
        topics: Some(vec![metadata::MetadataRequestTopic { topic_id: facts.id("t"), name: Some("compacted".into()) }]),
        ..Default::default()
    });
    pair.each("the zero id", |_, _| MetadataRequest {
        topics: Some(vec![metadata::MetadataRequestTopic { topic_id: Uuid::nil(), name: None }]),
        ..Default::default()
    });
    pair.each("topics with their partitions", |_, _| DescribeTopicPartitionsRequest {
        topics: vec![describe_topic_partitions::TopicRequest { name: "t".into() }],
        ..Default::default()
    });
}

fn resource(kind: i8, name: &str, keys: Option<&[&str]>) -> describe_configs::DescribeConfigsResource {
    describe_configs::DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect()),
    }
}

fn describe_configs(pair: &mut Pair) {
    let resources = [
        resource(2, "t", None),
        resource(2, "small", None),
        resource(2, "small", Some(&["max.message.bytes", "retention.ms", "no.such"])),
        resource(2, "small", Some(&[])),
        resource(2, "nobody", None),
        resource(2, "a b", None),
        resource(2, "", None),
        resource(4, "0", None),
        resource(4, "", None),
        resource(4, "7", None),
        resource(4, "x", None),
        resource(4, "0", Some(&["log.retention.ms", "num.io.threads", "no.such", "ssl.keystore.password"])),
        resource(8, "x", None),
        resource(16, "m", None),
        resource(32, "g", None),
        resource(1, "x", None),
        resource(99, "x", None),
    ];
    for each in &resources {
        for (synonyms, documentation) in [(false, false), (true, false), (true, true)] {
            let case = match each.resource_type {
                16 => "settings of client metrics",
                32 => "settings of a group",
                _ => "settings of one",
            };
            pair.each(case, |_, version| DescribeConfigsRequest {
                resources: vec![each.clone()],
                include_synonyms: synonyms && version >= 1,
                include_documentation: documentation && version >= 3,
            });
        }
    }
    pair.each("twice", |_, _| DescribeConfigsRequest {
        resources: vec![
            resource(2, "t", Some(&["retention.ms"])),
            resource(2, "t", Some(&["segment.ms"])),
            resource(2, "nobody", None),
        ],
        ..Default::default()
    });
}

type Change<'a> = (i8, &'a str, &'a [(i8, &'a str, Option<&'a str>)]);

/// Kind and name of a resource; operation, name and value of each change.
const CHANGES: [Change<'_>; 33] = [
    (2, "t", &[(0, "retention.bytes", Some("5000"))]),
    (2, "t", &[(0, "retention.bytes", None)]),
    (2, "t", &[(1, "retention.bytes", None)]),
    (2, "t", &[(1, "no.such", None)]),
    (2, "t", &[(0, "no.such", Some("1"))]),
    (2, "t", &[(0, "retention.ms", Some("x"))]),
    (2, "t", &[(0, "retention.ms", Some("1")), (0, "retention.ms", Some("2"))]),
    (2, "t", &[(2, "cleanup.policy", Some("compact"))]),
    (2, "t", &[(2, "cleanup.policy", Some("compact"))]),
    (2, "t", &[(2, "cleanup.policy", Some("burn"))]),
    (2, "t", &[(3, "cleanup.policy", Some("compact"))]),
    (2, "t", &[(3, "cleanup.policy", Some("absent"))]),
    (2, "t", &[(2, "retention.ms", Some("1"))]),
    (2, "t", &[(3, "retention.ms", Some("1"))]),
    (2, "t", &[(4, "retention.ms", Some("1"))]),
    (2, "t", &[(9, "retention.ms", Some("1"))]),
    (2, "t", &[(0, "", Some("1"))]),
    (2, "t", &[]),
    (2, "t", &[(0, "leader.replication.throttled.replicas", Some("0:0"))]),
    (2, "t", &[(2, "leader.replication.throttled.replicas", Some("1:0,0:0"))]),
    (2, "t", &[(1, "leader.replication.throttled.replicas", None)]),
    (2, "nobody", &[(0, "retention.ms", Some("1"))]),
    (2, "", &[(0, "retention.ms", Some("1"))]),
    (2, "a b", &[(0, "retention.ms", Some("1"))]),
    (4, "", &[(0, "no.such", Some("1"))]),
    (4, "", &[(0, "log.retention.ms", Some("x"))]),
    (4, "0", &[(0, "broker.id", Some("3"))]),
    (4, "0", &[(0, "num.io.threads", Some("100"))]),
    (4, "7", &[(0, "num.io.threads", Some("9"))]),
    (4, "x", &[(0, "num.io.threads", Some("9"))]),
    (1, "x", &[(0, "a", Some("1"))]),
    (16, "m", &[(0, "interval.ms", Some("1000"))]),
    (99, "x", &[(0, "a", Some("1"))]),
];

fn alter_configs(pair: &mut Pair) {
    for validate_only in [true, false] {
        for (kind, name, configs) in &CHANGES {
            let what = match kind {
                16 => "client metrics",
                _ if configs.iter().any(|(operation, ..)| *operation > 3) => "no such operation",
                _ => "one change",
            };
            pair.each(what, |_, _| IncrementalAlterConfigsRequest {
                resources: vec![incremental_alter_configs::AlterConfigsResource {
                    resource_type: *kind,
                    resource_name: (*name).into(),
                    configs: configs
                        .iter()
                        .map(|(operation, name, value)| incremental_alter_configs::AlterableConfig {
                            name: (*name).into(),
                            config_operation: *operation,
                            value: value.map(str::to_owned),
                        })
                        .collect(),
                }],
                validate_only,
            });
            let what = if *kind == 16 { "client metrics" } else { "all settings of one replaced" };
            pair.each(what, |_, _| AlterConfigsRequest {
                resources: vec![alter_configs::AlterConfigsResource {
                    resource_type: *kind,
                    resource_name: (*name).into(),
                    configs: configs
                        .iter()
                        .map(|(_, name, value)| alter_configs::AlterableConfig {
                            name: (*name).into(),
                            value: value.map(str::to_owned),
                        })
                        .collect(),
                }],
                validate_only,
            });
        }
    }
    pair.each("what is then set", |_, _| DescribeConfigsRequest {
        resources: vec![resource(2, "t", None)],
        ..Default::default()
    });
}

fn partitions(pair: &mut Pair) {
    let one = |name: &str, count: i32, brokers: Option<&[&[i32]]>| create_partitions::CreatePartitionsTopic {
        name: name.into(),
        count,
        assignments: brokers.map(|all| {
            all.iter().map(|ids| create_partitions::CreatePartitionsAssignment { broker_ids: ids.to_vec() }).collect()
        }),
    };
    let all = [
        one("t", 3, None),
        one("t", 2, None),
        one("t", 0, None),
        one("t", -1, None),
        one("nobody", 3, None),
        one("", 3, None),
        one("t", 4, Some(&[])),
        one("t", 4, Some(&[&[0]])),
        one("t", 4, Some(&[&[9]])),
        one("t", 4, Some(&[&[0, 0]])),
        one("t", 4, Some(&[&[]])),
        one("t", 4, Some(&[&[-1]])),
        one("t", 5, Some(&[&[0]])),
        one("t", 5, Some(&[&[0], &[0, 9]])),
        one("t", 4, None),
        one("__consumer_offsets", 2, None),
    ];
    for each in &all {
        let what = if each.name.is_empty() { "more partitions of no name" } else { "more partitions, to see" };
        pair.each(what, |_, _| CreatePartitionsRequest {
            topics: vec![each.clone()],
            timeout_ms: 10_000,
            validate_only: true,
        });
    }
    pair.each("twice", |_, _| CreatePartitionsRequest {
        topics: vec![one("t", 4, None), one("t", 5, None), one("nobody", 1, None)],
        timeout_ms: 10_000,
        validate_only: true,
    });
    for version in pair.versions::<CreatePartitionsRequest>() {
        let count = i32::from(version) + 3;
        pair.ask("more partitions", version, |_| CreatePartitionsRequest {
            topics: vec![one("doomed", count, None)],
            timeout_ms: 10_000,
            validate_only: false,
        });
        pair.settle("doomed");
    }
}

fn reassignments(pair: &mut Pair) {
    use alter_partition_reassignments::{ReassignablePartition, ReassignableTopic};
    let cases: [(&str, i32, Option<&[i32]>); 12] = [
        // Apache's leader takes a new epoch for it, so not in the topic of the other cases.
        ("doomed", 0, Some(&[0])),
        ("t", 0, None),
        ("t", 9, Some(&[0])),
        ("t", -1, Some(&[0])),
        ("t", 0, Some(&[])),
        ("t", 0, Some(&[9])),
        ("t", 0, Some(&[0, 9])),
        ("t", 0, Some(&[0, 0])),
        ("t", 0, Some(&[-1])),
        ("nobody", 0, Some(&[0])),
        ("nobody", 0, None),
        ("", 0, None),
    ];
    for (name, partition, replicas) in cases {
        pair.each("a move", |_, _| AlterPartitionReassignmentsRequest {
            topics: vec![ReassignableTopic {
                name: name.into(),
                partitions: vec![ReassignablePartition {
                    partition_index: partition,
                    replicas: replicas.map(<[i32]>::to_vec),
                }],
            }],
            timeout_ms: 10_000,
            ..Default::default()
        });
    }
    let list = |topics: Option<Vec<(&str, Vec<i32>)>>| ListPartitionReassignmentsRequest {
        timeout_ms: 10_000,
        topics: topics.map(|all| {
            all.into_iter()
                .map(|(name, partition_indexes)| list_partition_reassignments::ListPartitionReassignmentsTopics {
                    name: name.into(),
                    partition_indexes,
                })
                .collect()
        }),
    };
    pair.each("all moves", |_, _| list(None));
    pair.each("some moves", |_, _| list(Some(vec![("t", vec![0, 9]), ("nobody", vec![0])])));
    let elect = |kind: i8, topics: Option<Vec<(&str, Vec<i32>)>>| ElectLeadersRequest {
        election_type: kind,
        topic_partitions: topics.map(|all| {
            all.into_iter()
                .map(|(topic, partitions)| elect_leaders::TopicPartitions { topic: topic.into(), partitions })
                .collect()
        }),
        timeout_ms: 10_000,
    };
    for (kind, what) in [(0, "an election"), (1, "an election"), (5, "no kind of election")] {
        pair.each(what, |_, version| {
            elect(if version == 0 { 0 } else { kind }, Some(vec![("t", vec![0, 1, 9, -1]), ("nobody", vec![0])]))
        });
        pair.each(if kind == 5 { what } else { "no election" }, |_, version| {
            elect(if version == 0 { 0 } else { kind }, Some(vec![]))
        });
    }
    pair.each("all elections", |_, _| elect(0, None));
}

fn log_dirs(pair: &mut Pair) {
    let some = |all: &[(&str, &[i32])]| {
        Some(
            all.iter()
                .map(|(topic, partitions)| describe_log_dirs::DescribableLogDirTopic {
                    topic: (*topic).into(),
                    partitions: partitions.to_vec(),
                })
                .collect(),
        )
    };
    pair.each("some logs", |_, _| DescribeLogDirsRequest { topics: some(&[("t", &[0, 1, 9]), ("nobody", &[0])]) });
    pair.each("no logs", |_, _| DescribeLogDirsRequest { topics: some(&[]) });
}

fn deletion(pair: &mut Pair) {
    let by = |names: &[&str], facts: &Facts, version: i16| {
        let state = |name: &&str| match name.strip_prefix('#') {
            Some(name) => delete_topics::DeleteTopicState { name: None, topic_id: facts.id(name) },
            None => delete_topics::DeleteTopicState { name: Some((*name).into()), topic_id: Uuid::nil() },
        };
        DeleteTopicsRequest {
            topics: if version >= 6 { names.iter().map(state).collect() } else { vec![] },
            topic_names: if version < 6 { names.iter().map(|name| (*name).into()).collect() } else { vec![] },
            timeout_ms: 10_000,
        }
    };
    let cases: [&[&str]; 7] =
        [&[], &["nobody"], &["nobody", "nobody"], &["a b"], &[""], &["#nobody"], &["#nobody", "nobody"]];
    for names in cases {
        pair.each("topics that are not there", |facts, version| by(names, facts, version));
    }
    pair.each("name and id", |facts, _| DeleteTopicsRequest {
        topics: vec![delete_topics::DeleteTopicState { name: Some("nobody".into()), topic_id: facts.id("nobody") }],
        timeout_ms: 10_000,
        ..Default::default()
    });
    pair.each("neither name nor id", |_, _| DeleteTopicsRequest {
        topics: vec![delete_topics::DeleteTopicState { name: None, topic_id: Uuid::nil() }],
        timeout_ms: 10_000,
        ..Default::default()
    });
    pair.each("a topic", |facts, version| by(&[&format!("made-{version}"), "nobody"], facts, version));
    pair.each("a topic twice", |facts, version| {
        by(&[&format!("twice-{version}"), &format!("once-{version}"), &format!("once-{version}")], facts, version)
    });
}
