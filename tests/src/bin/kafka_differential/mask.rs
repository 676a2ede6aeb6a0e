//! What is made equal before two answers are compared, and how their difference is shown. Works on the lines that Rust's
//! `{:#?}` prints, so that it knows no message.

use std::collections::BTreeMap;
use uuid::Uuid;

/// What one broker gave names to.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Topics by name.
    pub(crate) topic_ids: BTreeMap<String, Uuid>,
    /// Strings that cases noted: member ids.
    pub(crate) texts: BTreeMap<String, String>,
    /// Numbers that cases noted: producer ids, epochs, sessions.
    pub(crate) numbers: BTreeMap<String, i64>,
}

impl Facts {
    /// The id of a topic; one that no topic has if the name was not noted.
    pub(crate) fn id(&self, topic: &str) -> Uuid {
        self.topic_ids.get(topic).copied().unwrap_or(Uuid::from_u128(0x1234))
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.texts.get(name).cloned().unwrap_or_default()
    }

    pub(crate) fn number(&self, name: &str) -> i64 {
        self.numbers.get(name).copied().unwrap_or(-1)
    }
}

/// Fields whose values are each broker's own.
const OWN: [&str; 8] =
    ["port", "log_dir", "total_bytes", "usable_bytes", "cluster_id", "session_id", "size", "controller_epoch"];
/// Lists whose order means something.
const ORDERED: [&str; 3] = ["synonyms", "isr_nodes", "replica_nodes"];
/// Milliseconds since the epoch that are a time of this run.
const TIMES: std::ops::Range<i64> = 1_500_000_000_000..3_000_000_000_000;

/// The lines of an answer, masked, lists sorted.
pub(crate) fn lines(printed: &str, facts: &Facts) -> Vec<String> {
    let printed: Vec<&str> = printed.lines().collect();
    let mut at = 0;
    let mut all = Vec::new();
    while at < printed.len() {
        all.extend(node(&printed, &mut at, facts));
    }
    all
}

fn mask(line: &str, facts: &Facts) -> String {
    let indent = line.len() - line.trim_start().len();
    let Some((name, value)) = line.trim().split_once(": ") else { return uuids(line, facts) };
    if !name.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit()) {
        return uuids(line, facts);
    }
    let bare = value.trim_end_matches(',');
    let masked = match bare.parse::<i64>() {
        Ok(number) if OWN.contains(&name) && number > 0 => "<own>",
        Ok(number) if TIMES.contains(&number) => "<time>",
        Err(_) if OWN.contains(&name) && bare.contains('"') => "<own>",
        _ => return uuids(line, facts),
    };
    format!("{:indent$}{name}: {masked},", "")
}

/// Thirteen digits that are a time of this run, inside a text.
fn times(line: &str) -> String {
    let mut out = String::new();
    for piece in line.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = piece.trim_end_matches(|c: char| !c.is_ascii_digit());
        let is_time = digits.len() == 13 && digits.parse().is_ok_and(|number: i64| TIMES.contains(&number));
        out.push_str(if is_time { "<time>" } else { digits });
        out.push_str(&piece[digits.len()..]);
    }
    out
}

/// Ids of topics are written as their names, other ids of 36 letters as `<uuid>`.
fn uuids(line: &str, facts: &Facts) -> String {
    let mut line = times(line);
    let mut from = 0;
    while let Some(at) = find_uuid(&line, from) {
        let found = Uuid::parse_str(&line[at..at + 36]).unwrap();
        let named = facts.topic_ids.iter().find(|(_, id)| **id == found).map(|(name, _)| format!("<id of {name}>"));
        let text = named
            .unwrap_or_else(|| if found.as_u128() < 1 << 64 { found.simple().to_string() } else { "<uuid>".into() });
        line.replace_range(at..at + 36, &text);
        from = at + text.len();
    }
    line
}

fn find_uuid(line: &str, from: usize) -> Option<usize> {
    let bytes = line.as_bytes();
    (from..bytes.len().saturating_sub(35)).find(|&at| {
        let is_uuid = |index: usize, byte: u8| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        };
        bytes[at..at + 36].iter().enumerate().all(|(index, byte)| is_uuid(index, *byte))
    })
}

/// One value with all that it holds, from the line at which it begins.
fn node(lines: &[&str], at: &mut usize, facts: &Facts) -> Vec<String> {
    let head = lines[*at];
    *at += 1;
    if !head.ends_with(['{', '[', '(']) {
        return vec![mask(head, facts)];
    }
    let mut children = Vec::new();
    while !lines[*at].trim_start().starts_with(['}', ']', ')']) {
        children.push(node(lines, at, facts));
    }
    let foot = lines[*at];
    *at += 1;
    if let [only] = &children[..]
        && let ([line], true) = (&only[..], head.ends_with("Some("))
    {
        let value = line.trim().trim_end_matches(',');
        return vec![mask(&format!("{head}{value}),"), facts)];
    }
    let name = head.trim().split(':').next().unwrap_or_default();
    if head.ends_with('[') && !ORDERED.contains(&name) {
        children.sort();
    }
    let mut all = vec![head.to_owned()];
    all.extend(children.into_iter().flatten());
    all.push(foot.to_owned());
    all
}

/// The lines that only one has, each with the lines around it that say where it is.
pub(crate) fn difference(theirs: &[String], ours: &[String]) -> Vec<String> {
    let mut shown = Vec::new();
    let (mut a, mut b) = (0, 0);
    while a < theirs.len() || b < ours.len() {
        if a < theirs.len() && b < ours.len() && theirs[a] == ours[b] {
            (a, b) = (a + 1, b + 1);
            continue;
        }
        // The nearest place where they meet again.
        let rest = (theirs.len() - a) + (ours.len() - b);
        let meets = (1..=rest).find_map(|sum| {
            (0..=sum).map(|x| (x, sum - x)).find(|(x, y)| {
                let (i, j) = (a + x, b + y);
                i < theirs.len() && j < ours.len() && theirs[i] == ours[j] && theirs[i].trim().len() > 3
            })
        });
        let (x, y) = meets.unwrap_or((theirs.len() - a, ours.len() - b));
        let context = theirs[..a]
            .iter()
            .rev()
            .find(|line| line.contains("name: ") || line.contains("Some(") || line.contains("_id: "));
        if let Some(context) = context {
            shown.push(format!("  {}", context.trim()));
        }
        let says = |line: &&String| line.trim().len() > 2;
        shown.extend(theirs[a..a + x].iter().filter(says).map(|line| format!("- {}", line.trim())));
        shown.extend(ours[b..b + y].iter().filter(says).map(|line| format!("+ {}", line.trim())));
        (a, b) = (a + x, b + y);
    }
    shown
}

/// A difference that is meant.
struct Meant {
    api: &'static str,
    /// The cases that meet it.
    cases: &'static [&'static str],
    /// How its lines begin, those of either side: the line that says where it is (empty: anywhere), and the field.
    lines: &'static [(&'static str, &'static str)],
    /// Why it is meant. `docs/kafka.md` tells users.
    #[expect(dead_code, reason = "for whoever reads the list")]
    why: &'static str,
}

/// All of them.
const MEANT: &[Meant] = &[
    Meant {
        api: "CreatePartitions",
        cases: &["more partitions of no name"],
        lines: &[("", "error_code: -1"), ("", "error_code: 3,"), ("", "error_message: ")],
        why: "Kafka: UNKNOWN_SERVER_ERROR, by an exception that nobody catches",
    },
    Meant {
        api: "CreateTopics",
        cases: &["a partition without replicas"],
        lines: &[("", "error_code: 0,"), ("", "error_code: 38,"), ("", "error_message: ")],
        why: "refused here; Kafka would make it",
    },
    Meant {
        api: "CreateTopics",
        cases: &["a partition without replicas"],
        lines: &[
            ("", "num_partitions: "),
            ("", "replication_factor: 0,"),
            ("", "replication_factor: -1,"),
            ("", "configs: "),
            ("", "CreatableTopicConfigs {"),
            ("", "name: "),
            ("", "value: "),
            ("", "read_only: "),
            ("", "config_source: "),
            ("", "is_sensitive: "),
        ],
        why: "what the topic would be like, in Kafka's answer alone",
    },
    Meant {
        api: "CreateTopics",
        cases: &["no time"],
        lines: &[("name: \"hurried", "topic_id: ")],
        why: "a topic that is not made yet has no id here",
    },
    Meant {
        api: "DeleteTopics",
        cases: &["neither name nor id"],
        lines: &[("", "error_code: 29,"), ("", "error_code: 100,")],
        why: "an unknown id, not a lack of rights",
    },
    Meant {
        api: "AlterConfigs",
        cases: &["client metrics"],
        lines: &[("", "error_code: 42,"), ("", "error_code: 0,"), ("", "error_message: ")],
        why: "clients push metrics here, as to Kafka with KRaft",
    },
    Meant {
        api: "DescribeConfigs",
        cases: &["settings of client metrics"],
        lines: &[("", "error_code: 42,"), ("", "error_code: 0,"), ("", "error_message: ")],
        why: "clients push metrics here, as to Kafka with KRaft",
    },
    Meant {
        api: "IncrementalAlterConfigs",
        cases: &["client metrics"],
        lines: &[("", "error_code: 42,"), ("", "error_code: 0,"), ("", "error_message: ")],
        why: "clients push metrics here, as to Kafka with KRaft",
    },
    Meant {
        api: "ListOffsets",
        cases: &["each topic"],
        lines: &[("name: \"append-time\"", "offset: ")],
        why: "which records have the largest time follows from which were appended within one millisecond",
    },
    Meant {
        api: "FindCoordinator",
        cases: &["a coordinator of share groups"],
        lines: &[("", "error_code: 15,"), ("", "error_code: 42,")],
        why: "share groups are served here: a key that is none of theirs is not valid",
    },
    Meant {
        api: "DescribeConfigs",
        cases: &["settings of a group"],
        lines: &[
            ("", "error_code: 42,"),
            ("", "error_code: 0,"),
            ("", "error_message: "),
            ("", "configs: "),
            ("", "DescribeConfigsResourceResult {"),
            ("", "name: "),
            ("", "value: "),
            ("", "read_only: "),
            ("", "is_default: "),
            ("", "config_source: "),
            ("", "is_sensitive: "),
            ("", "synonyms: "),
            ("", "DescribeConfigsSynonym {"),
            ("", "source: "),
            ("", "config_type: "),
            ("", "documentation: "),
        ],
        why: "groups have settings here, as in Kafka 4",
    },
    Meant {
        api: "DescribeConfigs",
        cases: &["settings of one"],
        lines: &[("", "documentation: Some(")],
        why: "settings are documented in our own words",
    },
    Meant {
        api: "DescribeConfigs",
        cases: &["settings of one", "twice", "what is then set"],
        lines: &[("", "is_default: ")],
        why: "version 0, which alone has it, is told the truth",
    },
    Meant {
        api: "DescribeConfigs",
        cases: &["settings of one"],
        lines: &[("name: \"group.coordinator.rebalance.protocols\"", "value: Some(\"classic")],
        why: "the new group protocol is on here",
    },
    Meant {
        api: "DescribeGroups",
        cases: &["described"],
        lines: &[("", "authorized_operations: ")],
        why: "groups have settings here, as in Kafka 4",
    },
    Meant {
        api: "DescribeConfigs",
        cases: &["settings of one"],
        lines: &[("name: \"group.share.partition.max.record.locks\"", "value: Some(\"2")],
        why: "share groups are on here, with the default of Kafka 4.2",
    },
    Meant {
        api: "DescribeConfigs",
        cases: &["settings of one"],
        lines: &[
            ("name: \"listeners\"", "value: Some(\"PLAINTEXT://127.0.0.1:"),
            ("name: \"log.dirs\"", "value: Some(\"/"),
            ("name: \"zookeeper.connect\"", "value: Some(\"127.0.0.1:"),
        ],
        why: "each broker has its own addresses and directory",
    },
    Meant {
        api: "ElectLeaders",
        cases: &["no kind of election"],
        lines: &[
            ("", "error_code: -1,"),
            ("", "error_code: 42,"),
            ("", "replica_election_results: "),
            ("", "ReplicaElectionResult {"),
            ("", "topic: "),
            ("", "partition_result: "),
            ("", "PartitionResult {"),
            ("", "partition_id: "),
            ("", "error_message: "),
        ],
        why: "Kafka: UNKNOWN_SERVER_ERROR, by an exception that nobody catches",
    },
    Meant {
        api: "IncrementalAlterConfigs",
        cases: &["no such operation"],
        lines: &[("", "error_code: -1,"), ("", "error_code: 42,"), ("", "error_message: ")],
        why: "Kafka: UNKNOWN_SERVER_ERROR, by an exception that nobody catches",
    },
    Meant {
        api: "DescribeGroups",
        cases: &["a group of joins that were refused"],
        lines: &[("", "group_state: \"Empty\""), ("", "group_state: \"Dead\"")],
        why: "Kafka keeps an empty group of a join that it refused, until it next looks for what has expired",
    },
    Meant {
        api: "ListTransactions",
        cases: &["transactions open for long"],
        lines: &[
            ("", "TransactionState {"),
            ("", "transactional_id: "),
            ("", "producer_id: "),
            ("", "transaction_state: \"Empty\""),
        ],
        why: "Kafka takes the start of the last transaction for that of none, until a restart; here, as there after one, it has no start",
    },
    Meant {
        api: "Metadata",
        cases: &["the zero id"],
        lines: &[
            ("", "brokers: "),
            ("", "MetadataResponseBroker {"),
            ("", "node_id: "),
            ("", "host: "),
            ("", "port: "),
            ("", "rack: "),
            ("", "cluster_id: "),
            ("", "controller_id: "),
            ("", "error_code: -1,"),
            ("", "error_code: 17,"),
        ],
        why: "Kafka: UNKNOWN_SERVER_ERROR, by an exception that nobody catches",
    },
    Meant {
        api: "Fetch",
        cases: &["an isolation that is none"],
        lines: &[
            ("", "error_code: -1,"),
            ("", "error_code: 0,"),
            ("", "high_watermark: "),
            ("", "last_stable_offset: "),
            ("", "log_start_offset: "),
            ("", "aborted_transactions: "),
            ("", "records: "),
            ("", "Bytes("),
            ("", "b\""),
            ("", "responses: "),
            ("", "FetchableTopicResponse {"),
            ("", "topic: "),
            ("", "topic_id: "),
            ("", "partitions: "),
            ("", "PartitionData {"),
            ("", "partition_index: "),
            ("", "diverging_epoch"),
            ("", "EpochEndOffset {"),
            ("", "epoch: "),
            ("", "end_offset: "),
            ("", "current_leader"),
            ("", "LeaderIdAndEpoch {"),
            ("", "leader_id: "),
            ("", "leader_epoch: "),
            ("", "snapshot_id"),
            ("", "SnapshotId {"),
            ("", "preferred_read_replica: "),
        ],
        why: "reads uncommitted records here; Kafka: UNKNOWN_SERVER_ERROR",
    },
    Meant {
        api: "Produce",
        cases: &[
            "a control batch",
            "a negative last offset",
            "a negative sequence",
            "a producer without sequence",
            "another last offset",
            "fewer records than it says",
            "less than no records",
            "more records than it says",
            "no records, it says",
            "offsets that do not begin at 0",
            "an unknown compression",
        ],
        lines: &[("", "error_message: None"), ("", "error_message: Some(\"invalid record: ")],
        why: "says what is wrong, where Kafka says nothing",
    },
    Meant {
        api: "Produce",
        cases: &["an unknown compression"],
        lines: &[("", "error_code: -1,"), ("", "error_code: 87,"), ("", "log_start_offset: ")],
        why: "INVALID_RECORD; Kafka: UNKNOWN_SERVER_ERROR, by an exception that nobody catches",
    },
    Meant {
        api: "Produce",
        cases: &["its time is that of appending, it says"],
        lines: &[
            ("", "error_code: 0,"),
            ("", "error_code: 32,"),
            ("", "base_offset: "),
            ("", "error_message: None"),
            ("", "error_message: Some(\"timestamp "),
        ],
        why: "the type of time is the broker's to set; Kafka takes it from clients",
    },
    Meant {
        api: "Produce",
        cases: &["compressed, it says", "compressed otherwise"],
        lines: &[("", "error_code: -1,"), ("", "error_code: 0,"), ("", "base_offset: "), ("", "log_start_offset: ")],
        why: "records are looked into only where settings ask for it; Kafka: UNKNOWN_SERVER_ERROR",
    },
    Meant {
        api: "Produce",
        cases: &["not compressed, it says"],
        lines: &[
            ("", "error_code: 87,"),
            ("", "error_code: 0,"),
            ("", "base_offset: "),
            ("", "log_start_offset: "),
            ("", "error_message: "),
        ],
        why: "records are looked into only where settings ask for it",
    },
    // What follows is of `newer`, compared with Kafka 4.3.
    Meant {
        api: "ConsumerGroupHeartbeat",
        cases: &["joins", "goes on", "has its partitions", "an old epoch"],
        lines: &[
            ("", "member_epoch: "),
            ("", "error_message: Some(\"The consumer group member has a greater member epoch"),
        ],
        why: "a group's first epoch is 1 here, and 2 there",
    },
    Meant {
        api: "ConsumerGroupDescribe",
        cases: &["described"],
        lines: &[("", "group_epoch: "), ("", "assignment_epoch: "), ("", "member_epoch: ")],
        why: "a group's first epoch is 1 here, and 2 there",
    },
    Meant {
        api: "ShareGroupDescribe",
        cases: &["share groups described"],
        lines: &[("", "group_epoch: "), ("", "assignment_epoch: "), ("", "member_epoch: ")],
        why: "how many epochs pass until the states of partitions are there",
    },
    Meant {
        api: "ShareGroupHeartbeat",
        cases: &["a later epoch"],
        lines: &[("", "error_message: Some(\"The share group member has a greater member epoch")],
        why: "how many epochs pass until the states of partitions are there",
    },
    Meant {
        api: "ConsumerGroupHeartbeat",
        cases: &["a bad pattern"],
        lines: &[("", "error_message: Some(\"SubscribedTopicRegex ")],
        why: "each library of patterns has its own words",
    },
    Meant {
        api: "JoinGroup",
        cases: &["joins the classic way"],
        lines: &[("", "error_code: 79,"), ("", "error_code: 23,"), ("", "member_id: ")],
        why: "protocols that cannot be are refused before the member gets an id",
    },
    Meant {
        api: "OffsetCommit",
        cases: &["offsets are committed in a share group"],
        lines: &[("", "error_code: 69,"), ("", "error_code: 22,")],
        why: "up to version 9 as Kafka 3.9 with ZooKeeper says that a group is gone",
    },
    Meant {
        api: "ShareAcknowledge",
        cases: &[
            "a negative word",
            "an unknown word",
            "backwards",
            "no words",
            "too few words",
            "words about another's records",
            "words of a partition that is not there",
            "words of a topic that is not there",
        ],
        lines: &[("", "error_message: ")],
        why: "says what the code means",
    },
    Meant {
        api: "ShareFetch",
        cases: &["a partition that is not there"],
        lines: &[
            ("", "error_code: "),
            ("", "error_message: "),
            ("", "acquisition_lock_timeout_ms: "),
            ("", "responses: "),
            ("", "ShareFetchableTopicResponse {"),
            ("", "topic_id: "),
            ("", "partitions: "),
            ("", "PartitionData {"),
            ("", "partition_index: "),
            ("", "acknowledge_error_"),
            ("", "current_leader: "),
            ("", "leader_id: "),
            ("", "leader_epoch: "),
            ("", "records: "),
            ("", "b\""),
            ("", "acquired_records: "),
        ],
        why: "Kafka: UNKNOWN_SERVER_ERROR, by an exception that nobody catches",
    },
    Meant {
        api: "ShareFetch",
        cases: &["forgets a partition", "no records at most"],
        lines: &[
            ("", "responses: "),
            ("", "ShareFetchableTopicResponse {"),
            ("", "topic_id: "),
            ("", "partitions: "),
            ("", "PartitionData {"),
            ("", "partition_index: "),
            ("", "error_code: 0,"),
            ("", "error_message: None"),
            ("", "acknowledge_error_"),
            ("", "current_leader: "),
            ("", "leader_id: "),
            ("", "leader_epoch: "),
            ("", "records: "),
            ("", "b\""),
            ("", "acquired_records: "),
        ],
        why: "a partition that is new in a session is told also if there is nothing in it",
    },
    Meant {
        api: "DescribeShareGroupOffsets",
        cases: &["offsets"],
        lines: &[("", "start_offset: "), ("", "lag: ")],
        why: "where a group begins is written at once, and with each change after that",
    },
    Meant {
        api: "DeleteShareGroupOffsets",
        cases: &["forgets in a group that is not there"],
        lines: &[("", "error_message: Some(\"")],
        why: "says that it looked for a share group",
    },
    Meant {
        api: "UpdateFeatures",
        cases: &[
            "a level that is there",
            "an unknown kind",
            "higher again",
            "higher, as a downgrade",
            "lower",
            "lower, unsafe",
            "only to see",
        ],
        lines: &[("", "error_message: Some(\"NONE\")"), ("", "error_message: None")],
        why: "no error has no text",
    },
    Meant {
        api: "AlterPartitionReassignments",
        cases: &["a move that keeps the replicas"],
        lines: &[("", "error_message: Some(\"")],
        why: "Kafka 3.9's words for an empty list",
    },
];

/// True if all lines that differ are of differences that are meant.
pub(crate) fn is_deliberate(api: &str, case: &str, lines: &[String]) -> bool {
    let entries = || MEANT.iter().filter(|meant| meant.api == api && meant.cases.contains(&case));
    let mut place = "";
    lines.iter().all(|line| {
        let (sign, text) = line.split_at(2);
        if sign == "  " {
            place = text;
            return true;
        }
        let mut meant = entries().flat_map(|meant| meant.lines);
        meant.any(|(at, field)| place.starts_with(at) && text.starts_with(field))
    })
}
