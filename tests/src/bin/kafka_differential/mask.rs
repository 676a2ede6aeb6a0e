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
        if shown.len() > 14 {
            shown.push("...".to_owned());
            break;
        }
    }
    shown
}

/// Differences that are meant: API, case (empty: any), what each line of ours holds (empty: anything), and why.
const DELIBERATE: &[(&str, &str, &str, &str)] = &[
    ("CreatePartitions", "more partitions of no name", "", "not UNKNOWN_SERVER_ERROR"),
    ("CreateTopics", "a partition without replicas", "", "refused here; Kafka makes it"),
    ("CreateTopics", "no time", "topic_id", "a topic that is not made yet has no id here"),
    ("DeleteTopics", "neither name nor id", "", "an unknown id, not a lack of rights"),
    ("DescribeConfigs", "", "documentation: Some(", "settings are documented in our own words"),
    ("DescribeConfigs", "", "is_default: true", "version 0 is told the truth"),
    ("DescribeConfigs", "", "classic,consumer", "the new group protocol is on here"),
    ("DescribeConfigs", "", "PLAINTEXT://127", "each its own address"),
    ("DescribeConfigs", "", "/broker-0/logs", "each its own directory"),
    ("DescribeConfigs", "", "value: Some(\"127.0.0.1:", "each its own place in ZooKeeper"),
    ("ElectLeaders", "no kind of election", "", "not UNKNOWN_SERVER_ERROR"),
    ("IncrementalAlterConfigs", "no such operation", "", "not UNKNOWN_SERVER_ERROR"),
    ("Fetch", "an isolation that is none", "", "reads uncommitted, not UNKNOWN_SERVER_ERROR"),
    ("Produce", "", "error_message: Some(\"invalid record", "says what is wrong, where Kafka says nothing"),
    ("Produce", "its time is that of appending, it says", "", "the type of time is the broker's to set"),
    ("Produce", "an unknown compression", "", "not UNKNOWN_SERVER_ERROR"),
    ("Produce", "compressed, it says", "", "records are looked into only where settings ask for it"),
    ("Produce", "compressed otherwise", "", "records are looked into only where settings ask for it"),
    ("Produce", "not compressed, it says", "", "records are looked into only where settings ask for it"),
];

/// True if the lines of ours are all of differences that are meant.
pub(crate) fn is_deliberate(api: &str, case: &str, lines: &[String]) -> bool {
    let is_meant = |line: &str| {
        let mut of_api = DELIBERATE.iter().filter(|(of, ..)| *of == api);
        of_api.any(|(_, of, holds, _)| (of.is_empty() || *of == case) && line.contains(holds))
    };
    let mut ours = lines.iter().filter(|line| line.starts_with("+ ")).peekable();
    // Where ours only lacks lines the case decides alone.
    if ours.peek().is_none() { is_meant("") } else { ours.all(|line| is_meant(line)) }
}
