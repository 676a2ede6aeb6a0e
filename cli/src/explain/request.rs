//! `castellan explain request`: where a request spent its time, out of what each coordinator remembers of it, as one
//! timeline over all of them. Asks and judges; changes nothing.

use super::answer::{Answer, Finding};
use super::world::{Places, coordinators_of, reach_tcp};
use crate::clock::log_time_of;
use crate::zookeeper::ZooKeeper;
use anyhow::{Context as _, bail};
use clap::ArgMatches;
use common::zk::error::ZkError;
use common::zk::request::{Request, RequestsWanted};
use common::zk::response::Response;
use serde_json::Value;
use std::collections::BTreeMap;

/// How long a coordinator may take to let a session in, milliseconds.
const SESSION_MS: u32 = 10_000;
/// Requests in the list of the slowest.
const SLOWEST: usize = 10;

/// Something that happened to a request on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stage {
    name: String,
    /// Whose acknowledgement it is.
    by: Option<u64>,
    /// Microseconds after the request began on that server.
    us: i64,
}

/// What one server tells of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    server: u64,
    zxid: Option<String>,
    session: String,
    xid: i64,
    operation: String,
    path: String,
    /// Whose client asked; 0 for what the leader does by itself.
    asked_of: u64,
    sends: u64,
    begun_ms: i64,
    total_us: i64,
    is_slow: bool,
    stages: Vec<Stage>,
}

impl Seen {
    fn parse(server: u64, json: &Value) -> Option<Seen> {
        let text = |key: &str| json.get(key)?.as_str().map(str::to_owned);
        let number = |key: &str| json.get(key)?.as_i64();
        let stage = |stage: &Value| {
            let name = stage.get("stage")?.as_str()?.to_owned();
            Some(Stage { name, by: stage.get("by").and_then(Value::as_u64), us: stage.get("us")?.as_i64()? })
        };
        Some(Seen {
            server,
            zxid: text("zxid"),
            session: text("session")?,
            xid: number("xid")?,
            operation: text("operation")?,
            path: text("path")?,
            asked_of: json.get("asked_of")?.as_u64()?,
            sends: json.get("sends")?.as_u64()?,
            begun_ms: number("begun_ms")?,
            total_us: number("total_us")?,
            is_slow: json.get("is_slow")?.as_bool()?,
            stages: json.get("stages")?.as_array()?.iter().filter_map(stage).collect(),
        })
    }

    fn at(&self, name: &str) -> Option<i64> {
        self.stages.iter().find(|stage| stage.name == name).map(|stage| stage.us)
    }

    fn heard_from(&self, server: u64) -> Option<i64> {
        self.stages.iter().find(|stage| stage.by == Some(server)).map(|stage| stage.us)
    }

    fn leads(&self) -> bool {
        self.at("proposed").is_some()
    }

    /// What it is called.
    fn title(&self) -> String {
        let what = format!("{} {}", self.operation, self.path);
        match &self.zxid {
            Some(zxid) => format!("{zxid} {}", what.trim_end()),
            None => format!("{}:{} {}", self.session, self.xid, what.trim_end()),
        }
    }
}

/// What all servers tell.
#[derive(Debug, Default)]
struct Told {
    requests: Vec<Seen>,
    /// Addresses by id.
    servers: BTreeMap<u64, String>,
    /// From what time on a request is slow, as the servers say.
    slow_ms: u64,
    problems: Vec<Finding>,
    raw: Vec<Value>,
}

/// The request that is asked for: a write by its zxid, any by its session and its number; none for the slowest.
pub(super) fn parse_id(text: &str) -> Result<RequestsWanted, String> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(u64::cast_signed),
        None => text.parse::<i64>().ok(),
    };
    let all = RequestsWanted { limit: 100, ..RequestsWanted::default() };
    let wanted = match text.split_once(':') {
        None => number(text).filter(|zxid| *zxid > 0).map(|zxid| RequestsWanted { zxid, ..all }),
        Some((session, xid)) => number(session).filter(|session| *session != 0).and_then(|session| {
            let xid = number(xid).and_then(|xid| i32::try_from(xid).ok()).filter(|xid| *xid != 0)?;
            Some(RequestsWanted { session, xid, ..all })
        }),
    };
    wanted.ok_or_else(|| "expected a zxid (0x1c or 28) or SESSION:XID (0x1000a2b:5)".to_owned())
}

/// The answer.
pub(super) fn explain(places: &Places, matches: &ArgMatches) -> anyhow::Result<Answer> {
    let servers = coordinators_of(places)?;
    let mut answer = Answer::default();
    let wanted = match matches.get_one::<RequestsWanted>("request") {
        Some(wanted) => *wanted,
        None => {
            let told = ask_all(&servers, RequestsWanted { is_slowest_first: true, limit: 100, ..Default::default() })?;
            let slowest = slowest(&told.requests);
            let Some(first) = slowest.first() else {
                answer.findings = told.problems;
                answer.summary = Some("The coordinators remember no requests.".to_owned());
                return Ok(answer);
            };
            answer.facts.extend(list(&slowest));
            let id = first.zxid.clone().unwrap_or_else(|| format!("{}:{}", first.session, first.xid));
            parse_id(&id).map_err(anyhow::Error::msg).context("reading what a coordinator told")?
        }
    };
    let told = ask_all(&servers, wanted)?;
    answer.findings.extend(told.problems.iter().cloned());
    answer.details = Some(Value::Array(told.raw.clone()));
    judge(&told, &mut answer);
    Ok(answer)
}

fn ask_all(servers: &[String], wanted: RequestsWanted) -> anyhow::Result<Told> {
    let mut told = Told::default();
    for server in servers {
        match ask(server, wanted) {
            Ok(json) => {
                let id = json.get("server").and_then(Value::as_u64).unwrap_or_default();
                told.servers.insert(id, server.clone());
                told.slow_ms = json.get("slow_ms").and_then(Value::as_u64).unwrap_or_default();
                let requests = json.get("requests").and_then(Value::as_array).into_iter().flatten();
                told.requests.extend(requests.filter_map(|request| Seen::parse(id, request)));
                told.raw.push(json);
            }
            Err(why) => told.problems.push(Finding {
                subject: format!("coordinator {server}"),
                fact: "tells nothing, so its part of the answer is missing".to_owned(),
                why: vec![why],
                ..Finding::default()
            }),
        }
    }
    if told.servers.is_empty() {
        let whys: Vec<String> = told.problems.iter().map(|it| format!("{}: {}", it.subject, it.why[0])).collect();
        bail!("no coordinator tells anything: {}", whys.join("; "));
    }
    Ok(told)
}

fn ask(server: &str, wanted: RequestsWanted) -> Result<Value, String> {
    reach_tcp(server)?;
    let mut zookeeper = ZooKeeper::open(server, SESSION_MS).map_err(|error| format!("{error:#}"))?;
    let answer = zookeeper.call(Request::GetRequests(wanted));
    zookeeper.leave();
    match answer {
        Ok(Response::GetRequests { found }) => serde_json::from_slice(&found.unwrap_or_default())
            .map_err(|error| format!("its answer is no JSON: {error}")),
        Err(ZkError::NoAuth) => {
            Err("it tells those alone who have all permissions on / (its admin server tells, too: \
                                     /commands/requests)"
                .to_owned())
        }
        Ok(_) | Err(ZkError::Unimplemented | ZkError::ConnectionLoss | ZkError::SessionExpired) => {
            Err("it is no coordinator of Castellan, or requests.count is 0".to_owned())
        }
        Err(error) => Err(error.name().to_owned()),
    }
}

/// Each by the word of the server whose client asked, the slowest first.
fn slowest(requests: &[Seen]) -> Vec<&Seen> {
    let mut own: Vec<&Seen> = requests.iter().filter(|seen| seen.server == seen.asked_of).collect();
    own.sort_by_key(|seen| std::cmp::Reverse(seen.total_us));
    own.truncate(SLOWEST);
    own
}

fn list(slowest: &[&Seen]) -> Vec<String> {
    let line = |seen: &&Seen| {
        format!("  {:>12}  {}  server {}  {}", ms(seen.total_us), log_time_of(seen.begun_ms), seen.server, seen.title())
    };
    std::iter::once("The slowest of late:".to_owned()).chain(slowest.iter().map(line)).collect()
}

/// Microseconds as milliseconds.
fn ms(us: i64) -> String {
    format!("{}.{:03} ms", us / 1000, us % 1000)
}

fn judge(told: &Told, answer: &mut Answer) {
    // Of one that several match (a client may use a number again), the newest.
    let asked = told.requests.iter().filter(|seen| seen.server == seen.asked_of).max_by_key(|seen| seen.begun_ms);
    let Some(base) = asked.or_else(|| told.requests.iter().find(|seen| seen.leads())).or(told.requests.first()) else {
        answer.findings.push(Finding {
            subject: "the request".to_owned(),
            fact: "no coordinator remembers it".to_owned(),
            why: vec![
                "each remembers its last writes, its last reads and the slow ones, until it is restarted".to_owned(),
            ],
            remedy: vec!["requests.count and requests.slowMs in zoo.cfg say how many, and which are slow".to_owned()],
            ..Finding::default()
        });
        return;
    };
    let seen: Vec<&Seen> = told.requests.iter().filter(|seen| seen.zxid == base.zxid).collect();
    let seen = if base.zxid.is_some() { seen } else { vec![base] };
    let placed = place(base, &seen);
    let by =
        if base.asked_of == 0 { "by the leader itself".to_owned() } else { format!("of server {}", base.asked_of) };
    let took =
        if base.server == base.asked_of { ms(base.total_us) } else { "the server that was asked does not say".into() };
    answer.facts.push(format!("{} at {}, asked {by}: {took}", base.title(), log_time_of(base.begun_ms)));
    answer.facts.push(format!("  session {}, xid {}", base.session, base.xid));
    answer.facts.extend(table(&placed));
    if placed.len() > 1 {
        answer
            .facts
            .push("  Other servers' clocks are placed so that the ways there and back take equally long.".to_owned());
    }
    let spent = longest(base, &placed);
    if let Some(Spent { us, what, .. }) = &spent {
        answer.facts.push(format!("Most of it, {}: {what}", ms(*us)));
    }
    let outcome =
        if base.operation == "refused" { ": the coordinators refused it, and fast" } else { ", and was not slow" };
    answer.summary = Some(format!("{} took {took}{outcome}.", base.title()));
    if seen.iter().any(|seen| seen.is_slow) {
        let (why, remedy) = spent.map(|spent| (spent.what, spent.remedy.to_owned())).unzip();
        answer.findings.push(Finding {
            subject: base.title(),
            fact: format!(
                "took {}; from {} ms on a request is slow (requests.slowMs)",
                ms(base.total_us),
                told.slow_ms
            ),
            since_ms: Some(base.begun_ms),
            why: why.into_iter().collect(),
            remedy: remedy.into_iter().collect(),
            ..Finding::default()
        });
    }
}

/// What each server tells, each with how long after the first server's beginning its own was.
fn place<'a>(base: &'a Seen, seen: &[&'a Seen]) -> Vec<(i64, &'a Seen)> {
    let mut placed = vec![(0, base)];
    let leader = seen.iter().copied().find(|seen| seen.leads());
    let leader_at = leader.and_then(|leader| if leader == base { Some(0) } else { lead_at(base, leader) });
    if let (Some(leader), Some(at)) = (leader, leader_at)
        && leader != base
    {
        placed.push((at, leader));
    }
    for follower in seen.iter().copied().filter(|seen| *seen != base && !seen.leads()) {
        let Some(appended) = follower.at("appended") else { continue };
        let at = match (leader, leader_at) {
            (Some(leader), Some(at)) => {
                let there = leader.at("proposed").unwrap_or_default() - appended;
                let back = leader.heard_from(follower.server).zip(follower.at("durable"));
                let by_wall = (follower.begun_ms - base.begun_ms) * 1000;
                back.map_or(by_wall.max(at + there), |(heard, durable)| at + (there + heard - durable) / 2)
            }
            // They got it from the same leader, at about the same time.
            _ => base.at("appended").unwrap_or_default() - appended,
        };
        placed.push((at, follower));
    }
    placed
}

fn lead_at(base: &Seen, leader: &Seen) -> Option<i64> {
    let back = base.at("appended")? - leader.at("proposed")?;
    // What was sent again went another way.
    let there = base.at("sent").zip(leader.at("taken")).filter(|_| base.sends == 1);
    Some(there.map_or(back, |(sent, taken)| (sent - taken + back) / 2))
}

fn table(placed: &[(i64, &Seen)]) -> Vec<String> {
    let mut rows: Vec<(i64, u64, String)> = Vec::new();
    for (at, seen) in placed {
        rows.extend(seen.stages.iter().map(|stage| (at + stage.us, seen.server, told_as(seen, stage))));
    }
    // Stable: what happened at once on one server stays in its order.
    rows.sort_by_key(|(us, ..)| *us);
    let mut lines = vec![format!("  {:>10} {:>10}  {:8}  stage", "us", "after", "server")];
    let mut last = rows.first().map_or(0, |(us, ..)| *us);
    for (us, server, what) in rows {
        lines.push(format!("  {us:>10} {:>10}  {server:<8}  {what}", format!("+{}", us - last)));
        last = us;
    }
    lines
}

fn told_as(seen: &Seen, stage: &Stage) -> String {
    match (stage.name.as_str(), stage.by) {
        ("received", _) => "received from the client".to_owned(),
        ("sent", _) if seen.sends > 1 => {
            format!("sent to the leader, {} times: it was lost, or the leader another", seen.sends)
        }
        ("sent", _) => "sent to the leader".to_owned(),
        ("taken", _) => "taken by the leader".to_owned(),
        ("proposed", _) => "judged and proposed to all".to_owned(),
        ("appended", _) => "has the proposal".to_owned(),
        ("durable", _) => "has it on disk".to_owned(),
        ("acknowledged", Some(by)) => format!("hears that server {by} has it on disk"),
        ("committed", _) => "knows that a majority has it: committed".to_owned(),
        ("applied", _) => "applied".to_owned(),
        ("replied", _) => "answered the client".to_owned(),
        (other, _) => other.to_owned(),
    }
}

/// A part of the way of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Spent {
    us: i64,
    what: String,
    remedy: &'static str,
}

const AT_SESSIONS: &str = "see what the same session asked before, and in the log when a leader was elected";
const AT_NETWORK: &str = "look at the network between these servers, and at their processors";
const AT_LEADER: &str = "the leader has more writes than its followers' disks take: fewer, or several in one multi";
const AT_DISK: &str = "look at that server's disk (fsynctime in mntr); dataDir wants one of its own";
const AT_OTHERS: &str =
    "see in the servers' logs whether one was paused, cut off or restarted, and when a leader was elected";
const AT_TURN: &str = "look at what the server did then: large answers, many watches, its processor";

/// The longest part, if more than one is known.
fn longest(base: &Seen, placed: &[(i64, &Seen)]) -> Option<Spent> {
    let part =
        |from: Option<i64>, until: Option<i64>, what: String, remedy| Some(Spent { us: until? - from?, what, remedy });
    let (own, id) = (|name: &str| base.at(name), base.server);
    if base.zxid.is_none() {
        let what = format!(
            "server {id} had it, from receipt to answer: behind what the session had asked before, or in its turn"
        );
        return part(own("received"), own("replied"), what, AT_TURN);
    }
    let mut parts = Vec::new();
    let leader = placed.iter().find(|(_, seen)| seen.leads());
    let lead = |name: &str| leader.and_then(|(at, seen)| seen.at(name).map(|us| at + us));
    let ready = own("sent").or(if base.leads() { own("taken") } else { None });
    let held =
        format!("on server {id}, before it could go to the leader: none was known, or an earlier request had to end");
    parts.push(part(own("received"), ready, held, AT_SESSIONS));
    if let Some((_, leading)) = leader {
        let lead_id = leading.server;
        parts.push(part(
            own("sent"),
            lead("taken"),
            format!("on the way from server {id} to the leader, server {lead_id}"),
            AT_NETWORK,
        ));
        parts.push(part(
            lead("taken"),
            lead("proposed"),
            format!("for its turn at the leader, server {lead_id}"),
            AT_LEADER,
        ));
        let (what, remedy) = majority(leading, placed);
        parts.push(part(lead("proposed"), lead("committed"), what, remedy));
        if !base.leads() {
            parts.push(part(
                lead("committed"),
                own("applied"),
                format!("until server {id} heard that it was committed"),
                AT_NETWORK,
            ));
        }
    } else {
        parts.push(part(
            own("sent"),
            own("appended"),
            "at the leader and on the ways to it and back".to_owned(),
            AT_LEADER,
        ));
        parts.push(part(own("appended"), own("committed"), "until a majority had it".to_owned(), AT_DISK));
    }
    if base.leads() || leader.is_none() {
        parts.push(part(own("committed"), own("applied"), format!("until server {id} applied it"), AT_TURN));
    }
    let turn =
        format!("on server {id} from applying it to the answer: behind earlier requests, or in the server's turn");
    parts.push(part(own("applied"), own("replied"), turn, AT_TURN));
    parts.into_iter().flatten().max_by_key(|part| part.us)
}

/// What the leader waited for: the last of those that made the majority.
fn majority(leader: &Seen, placed: &[(i64, &Seen)]) -> (String, &'static str) {
    let (proposed, committed) = (leader.at("proposed").unwrap_or_default(), leader.at("committed").unwrap_or(i64::MAX));
    let own = leader.at("durable").map(|us| (us, None));
    let others = leader.stages.iter().filter_map(|stage| Some((stage.us, Some(stage.by?))));
    let last = others.chain(own).filter(|(us, _)| *us <= committed).max();
    let (us, by) = last.unwrap_or((proposed, None));
    let (whole, id) = (committed - proposed, leader.server);
    if (committed - us) * 2 > whole {
        // It was not what was heard that made it committed.
        return (format!("until server {id} heard from others again, or another server led and told it"), AT_OTHERS);
    }
    let Some(server) = by else { return (format!("until the leader's disk had it (server {id})"), AT_DISK) };
    let follower = placed.iter().map(|(_, seen)| *seen).find(|seen| seen.server == server);
    match follower.and_then(|seen| Some(seen.at("durable")? - seen.at("appended")?)) {
        Some(disk) => (
            format!(
                "until server {server} made the majority: {} of {} for its disk, the rest there and back",
                ms(disk),
                ms(whole)
            ),
            if disk * 2 >= whole { AT_DISK } else { AT_NETWORK },
        ),
        None => (format!("until server {server} made the majority"), AT_DISK),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `stage=us` each, `acknowledged(2)=us` for another's.
    fn seen(server: u64, asked_of: u64, stages: &str) -> Seen {
        let stage = |text: &str| {
            let (name, us) = text.split_once('=').unwrap();
            let (name, by) = name.split_once('(').map_or((name, None), |(name, by)| (name, Some(by)));
            json!({"stage": name, "by": by.map(|by| by[..1].parse::<u64>().unwrap()), "us": us.parse::<i64>().unwrap()})
        };
        let stages: Vec<Value> = stages.split(' ').map(stage).collect();
        let total_us = stages.last().unwrap()["us"].clone();
        let request = json!({"zxid": "0x1c", "session": "0x5", "xid": 7, "operation": "create", "path": "/a", "sends": 1,
            "asked_of": asked_of, "begun_ms": 1, "total_us": total_us, "is_slow": false, "stages": stages});
        Seen::parse(server, &request).unwrap()
    }

    fn check(all: &[Seen], places: &[(i64, u64)], longest_part: &str) {
        let placed = place(&all[0], &all.iter().collect::<Vec<_>>());
        assert_eq!(placed.iter().map(|(at, seen)| (*at, seen.server)).collect::<Vec<_>>(), places);
        let Spent { us, what, .. } = longest(&all[0], &placed).unwrap();
        assert_eq!(format!("{us} {what}"), longest_part);
    }

    #[test]
    fn the_longest_part_is_found_over_all_servers() {
        let leader =
            "taken=0 proposed=10 durable=210 acknowledged(3)=510 committed=510 applied=511 acknowledged(2)=900";
        // Of 500 between proposal and answer 300 are server 3's disk: 100 each way.
        let third = seen(3, 2, "appended=0 durable=300 committed=620 applied=621");
        let asked = seen(2, 2, "received=0 sent=5 appended=115 durable=905 committed=620 applied=621 replied=630");
        check(
            &[asked.clone(), seen(1, 2, leader), third],
            &[(0, 2), (55, 1), (165, 3)],
            "500 until server 3 made the majority: 0.300 ms of 0.500 ms for its disk, the rest there and back",
        );
        check(&[asked], &[(0, 2)], "505 until a majority had it");
        check(
            &[seen(1, 1, "received=0 taken=900 proposed=901 durable=990 committed=990 applied=990 replied=995")],
            &[(0, 1)],
            "900 on server 1, before it could go to the leader: none was known, or an earlier request had to end",
        );
        check(
            &[seen(1, 1, "received=0 taken=1 proposed=2 durable=9 committed=990 applied=990 replied=995")],
            &[(0, 1)],
            "988 until server 1 heard from others again, or another server led and told it",
        );
        check(
            &[seen(
                1,
                1,
                "received=0 taken=1 proposed=2 durable=900 acknowledged(2)=100 committed=900 applied=901 replied=902",
            )],
            &[(0, 1)],
            "898 until the leader's disk had it (server 1)",
        );
        check(
            &[seen(
                1,
                1,
                "received=0 taken=1 proposed=2 durable=9 acknowledged(2)=8 committed=9 applied=10 replied=902",
            )],
            &[(0, 1)],
            "892 on server 1 from applying it to the answer: behind earlier requests, or in the server's turn",
        );
    }

    #[test]
    fn the_table_has_all_stages_in_order() {
        let all = [
            seen(2, 2, "received=0 sent=5 appended=115 durable=205 committed=220 applied=221 replied=230"),
            seen(1, 2, "taken=0 proposed=10 durable=20 acknowledged(2)=110 committed=110 applied=110"),
        ];
        let mut answer = Answer::default();
        let told = Told { requests: all.to_vec(), slow_ms: 100, ..Told::default() };
        judge(&told, &mut answer);
        assert!(answer.is_well());
        let lines: Vec<String> =
            answer.facts.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert!(
            lines[0].starts_with("0x1c create /a at ") && lines[0].ends_with("asked of server 2: 0.230 ms"),
            "{lines:?}"
        );
        assert_eq!(
            lines[1..5],
            [
                "session 0x5, xid 7",
                "us after server stage",
                "0 +0 2 received from the client",
                "5 +5 2 sent to the leader"
            ]
        );
        assert_eq!(lines[5], "55 +50 1 taken by the leader");
        assert_eq!(lines[9], "165 +50 1 hears that server 2 has it on disk");
        assert!(
            lines.last().unwrap().starts_with("Most of it, 0.100 ms: until server 2 made the majority: 0.090 ms"),
            "{lines:?}"
        );
        let slow = Told { requests: vec![Seen { is_slow: true, ..all[0].clone() }], slow_ms: 5, ..Told::default() };
        judge(&slow, &mut answer);
        assert_eq!(answer.findings[0].fact, "took 0.230 ms; from 5 ms on a request is slow (requests.slowMs)");
        judge(&Told::default(), &mut answer);
        assert_eq!(answer.findings[1].fact, "no coordinator remembers it");
    }

    #[test]
    fn a_request_is_named_by_zxid_or_by_session_and_xid() {
        let all = RequestsWanted { limit: 100, ..RequestsWanted::default() };
        for (text, expected) in [
            ("0x1c", Some(RequestsWanted { zxid: 28, ..all })),
            ("28", Some(RequestsWanted { zxid: 28, ..all })),
            ("0xff00000000000001:5", Some(RequestsWanted { session: -0x00ff_ffff_ffff_ffff, xid: 5, ..all })),
            ("5:-8", Some(RequestsWanted { session: 5, xid: -8, ..all })),
            ("-1", None),
            ("0x", None),
            ("5:", None),
            ("5:0", None),
        ] {
            assert_eq!(parse_id(text).ok(), expected, "{text}");
        }
    }
}
