//! Sends the same requests to two Kafka brokers and compares the answers field by field, in every version that both serve:
//! written cases, good and bad, and random ones from printed seeds. Times, ports and directories are masked, ids that a
//! broker draws are written by the names of what they belong to, and lists without an order of their own are sorted.
//! Knows nothing of either broker but its address.
//!
//! Differences that are meant stand in `mask.rs`, each with its reason.
//!
//! `kafka_differential REAL OURS [FIRST-SEED [SEEDS [STEPS]]]`; without seeds only the written cases run. `ONLY=newer` runs what is
//! compared with a Kafka 4.
#![expect(clippy::print_stdout, clippy::unwrap_used, clippy::panic, reason = "a tool whose findings are its output")]
#![expect(clippy::disallowed_methods, reason = "real brokers take real time")]
#![expect(clippy::too_many_lines, reason = "cases are written one below the other")]

mod admin;
mod data;
mod groups;
mod mask;
mod newer;
mod random;
mod transactions;

use bytes::{Buf, Bytes, BytesMut};
use common::kafka::header::{RequestHeader, decode_response, encode_request};
use common::kafka::messages::api_versions::ApiVersionsRequest;
use common::kafka::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use common::kafka::messages::{FetchResponse, Request};
use mask::Facts;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Kinds of differences that are printed for each group of cases: what follows would mostly be their echo.
const TOO_MANY: usize = 100;

/// What came back.
#[derive(Clone, Debug)]
pub(crate) enum Got<R> {
    /// An answer.
    Answer(R),
    /// The server closed the connection.
    Closed,
    /// The server said nothing for ten seconds.
    Silence,
}

impl<R> Got<R> {
    /// The answer; a closed connection is a bug of the case.
    pub(crate) fn answer(self) -> R {
        match self {
            Got::Answer(answer) => answer,
            Got::Closed | Got::Silence => panic!("the connection was closed, or there is no answer"),
        }
    }
}

/// One connection.
struct Line {
    stream: TcpStream,
    buffer: BytesMut,
    sent: i32,
}

impl Line {
    fn dial(address: &str) -> Line {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        Line { stream, buffer: BytesMut::new(), sent: 0 }
    }

    /// The next frame.
    fn frame(&mut self) -> Got<Bytes> {
        loop {
            if self.buffer.len() >= 4 {
                let len = (&self.buffer[..4]).get_i32() as usize;
                if self.buffer.len() >= 4 + len {
                    self.buffer.advance(4);
                    return Got::Answer(self.buffer.split_to(len).freeze());
                }
            }
            let mut bytes = [0; 65536];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Got::Closed,
                Ok(count) => self.buffer.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Got::Silence,
                Err(_) => return Got::Closed,
            }
        }
    }
}

/// One broker: connections to it, and what it gave names to.
pub(crate) struct Side {
    name: &'static str,
    address: String,
    lines: Vec<Line>,
    served: BTreeMap<i16, RangeInclusive<i16>>,
    /// What the cases noted.
    pub(crate) facts: Facts,
}

impl Side {
    fn new(name: &'static str, address: &str) -> Side {
        let mut side = Side {
            name,
            address: address.to_owned(),
            lines: Vec::new(),
            served: BTreeMap::new(),
            facts: Facts::default(),
        };
        let versions = side.ask(0, 0, &ApiVersionsRequest::default()).answer();
        side.served = versions.api_keys.iter().map(|api| (api.api_key, api.min_version..=api.max_version)).collect();
        side
    }

    /// False if the version cannot say the request.
    fn send<R: Request>(&mut self, line: usize, version: i16, request: &R) -> bool {
        while self.lines.len() <= line {
            self.lines.push(Line::dial(&self.address));
        }
        let line = &mut self.lines[line];
        line.sent += 1;
        let header = RequestHeader {
            api_key: R::KEY,
            api_version: version,
            correlation_id: line.sent,
            client_id: Some("differential".to_owned()),
        };
        let Ok(bytes) = encode_request(&header, request) else { return false };
        // A closed connection shows when it is read.
        let _ = line.stream.write_all(&bytes);
        true
    }

    fn receive<R: Request>(&mut self, line: usize, version: i16) -> Got<R::Response> {
        let frame = match self.lines[line].frame() {
            Got::Answer(frame) => frame,
            other => {
                self.lines[line] = Line::dial(&self.address);
                return if matches!(other, Got::Closed) { Got::Closed } else { Got::Silence };
            }
        };
        let (correlation, answer) = decode_response::<R>(frame, version)
            .unwrap_or_else(|error| panic!("{}: {} v{version} cannot be read: {error}", self.name, R::NAME));
        assert_eq!(correlation, self.lines[line].sent, "{}: an answer to another request", self.name);
        Got::Answer(answer)
    }

    /// Asks one side alone, to prepare or to note something.
    pub(crate) fn ask<R: Request>(&mut self, line: usize, version: i16, request: &R) -> Got<R::Response> {
        assert!(self.send(line, version, request), "{} v{version} cannot be said", R::NAME);
        self.receive::<R>(line, version)
    }

    /// Waits until all partitions of a topic are led, and notes its id.
    fn settle(&mut self, topic: &str) {
        let begin = Instant::now();
        loop {
            let asked = MetadataRequestTopic { name: Some(topic.to_owned()), ..Default::default() };
            let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
            let answer = self.ask(0, 12, &request).answer();
            let found = &answer.topics[0];
            let is_led = |error: i16, leader: i32| error == 0 && leader >= 0;
            if found.error_code == 0 && found.partitions.iter().all(|p| is_led(p.error_code, p.leader_id)) {
                self.facts.topic_ids.insert(topic.to_owned(), found.topic_id);
                return;
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "{}: {topic} has no leader: {answer:?}", self.name);
        }
    }
}

/// One kind of difference: in which versions, and the first case with its request and its lines.
struct Found {
    versions: BTreeSet<i16>,
    cases: BTreeSet<String>,
    request: String,
    lines: Vec<String>,
}

/// Both sides and what was found.
pub(crate) struct Pair {
    pub(crate) theirs: Side,
    pub(crate) ours: Side,
    asked: usize,
    differ: usize,
    /// Each kind of difference of the present group once: API, and fields that differ.
    found: BTreeMap<(&'static str, Vec<String>), Found>,
    /// For each API: versions that were compared.
    covered: BTreeMap<(i16, &'static str), BTreeSet<i16>>,
}

/// What the two answered.
type Both<T> = (Got<T>, Got<T>);
/// Cases that belong together.
type Group = fn(&mut Pair);

impl Pair {
    /// Versions of an API that both serve.
    pub(crate) fn versions<R: Request>(&self) -> RangeInclusive<i16> {
        let none = RangeInclusive::new(1, 0);
        let of = |side: &Side| side.served.get(&R::KEY).cloned().unwrap_or(none.clone());
        let (a, b) = (of(&self.theirs), of(&self.ours));
        // What a broker names but does not read (Produce 0) is not compared.
        *a.start().max(b.start()).max(R::VERSIONS.start())..=*a.end().min(b.end())
    }

    /// The same request to both, in every version that both serve and that can say it.
    pub(crate) fn each<R: Request + Debug>(&mut self, what: &str, make: impl Fn(&Facts, i16) -> R)
    where
        R::Response: Debug + 'static,
    {
        for version in self.versions::<R>() {
            self.ask(what, version, |facts| make(facts, version));
        }
    }

    /// The same request to both in one version; the answers, if it could be said.
    pub(crate) fn ask<R: Request + Debug>(
        &mut self,
        what: &str,
        version: i16,
        make: impl Fn(&Facts) -> R,
    ) -> Option<Both<R::Response>>
    where
        R::Response: Debug + 'static,
    {
        // Kafka keeps the offsets of version 0 of OffsetCommit and OffsetFetch in ZooKeeper, ours with all others.
        if version == 0 && ["OffsetCommit", "OffsetFetch"].contains(&R::NAME) {
            return None;
        }
        let (to_theirs, to_ours) = (make(&self.theirs.facts), make(&self.ours.facts));
        if !(self.theirs.send(0, version, &to_theirs) && self.ours.send(0, version, &to_ours)) {
            return None;
        }
        let begin = Instant::now();
        let theirs = self.theirs.receive::<R>(0, version);
        let until = begin.elapsed();
        let ours = self.ours.receive::<R>(0, version);
        if begin.elapsed() > Duration::from_secs(2) {
            println!("SLOW {} v{version}: {what}: {until:?} there, {:?} both", R::NAME, begin.elapsed());
        }
        self.compare::<R>(what, version, &to_theirs, (&theirs, &ours));
        Some((theirs, ours))
    }

    fn compare<R: Request + Debug>(
        &mut self,
        what: &str,
        version: i16,
        request: &R,
        (theirs, ours): (&Got<R::Response>, &Got<R::Response>),
    ) where
        R::Response: Debug + 'static,
    {
        self.asked += 1;
        self.covered.entry((R::KEY, R::NAME)).or_default().insert(version);
        let lines = |got: &Got<R::Response>, facts: &Facts| mask::lines(&shown(got), facts);
        let (a, b) = (lines(theirs, &self.theirs.facts), lines(ours, &self.ours.facts));
        if a == b {
            return;
        }
        // Names that carry the version make no kinds of their own.
        let lines = mask::difference(&a, &b)
            .iter()
            .map(|line| line.replace(&format!("-{version}\""), "-N\""))
            .collect::<Vec<_>>();
        if mask::is_deliberate(R::NAME, what, &lines) {
            return;
        }
        self.differ += 1;
        let field = |line: &String| line.split(": ").next().unwrap_or_default().to_owned();
        let differing = lines.iter().filter(|line| !line.starts_with(' ')).take(14);
        let kind = differing.map(field).chain([what.to_owned()]).collect();
        let request: String = format!("{request:?}").chars().take(500).collect();
        let new = || Found { versions: BTreeSet::new(), cases: BTreeSet::new(), request, lines };
        let found = self.found.entry((R::NAME, kind)).or_insert_with(new);
        found.versions.insert(version);
        found.cases.insert(what.to_owned());
    }

    /// Prints what a group of cases found.
    pub(crate) fn report(&mut self, group: &str) {
        let found = std::mem::take(&mut self.found);
        println!("{group}: {} kinds of differences", found.len());
        for ((api, _), Found { versions, cases, request, lines }) in found.iter().take(TOO_MANY) {
            println!("DIFFERS {api} {versions:?}: {cases:?}\n  {request}");
            for line in lines.iter().take(14) {
                println!("    {line}");
            }
        }
    }

    /// Both know the topic, all its partitions are led and its id is noted.
    pub(crate) fn settle(&mut self, topic: &str) {
        self.theirs.settle(topic);
        self.ours.settle(topic);
    }

    /// Does the same with each side, uncompared.
    pub(crate) fn both(&mut self, work: impl Fn(&mut Side)) {
        work(&mut self.theirs);
        work(&mut self.ours);
    }
}

/// An answer as it is compared.
fn shown<R: Debug + 'static>(got: &Got<R>) -> String {
    match (got as &dyn Any).downcast_ref::<Got<FetchResponse>>() {
        Some(Got::Answer(answer)) => format!("{:#?}", Got::Answer(data::comparable(answer.clone()))),
        _ => format!("{got:#?}"),
    }
}

/// Between two looks at something that a server does on its own.
#[expect(clippy::disallowed_methods, reason = "the servers run by the real clock")]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: u64| arguments.get(index).map_or(default, |text| text.parse().unwrap());
    let (theirs, ours) = (Side::new("theirs", &arguments[0]), Side::new("ours", &arguments[1]));
    let mut pair = Pair { theirs, ours, asked: 0, differ: 0, found: BTreeMap::new(), covered: BTreeMap::new() };
    let only = std::env::var("ONLY").unwrap_or_default();
    let groups: [(&str, Group); 4] =
        [("admin", admin::run), ("data", data::run), ("groups", groups::run), ("transactions", transactions::run)];
    for (name, run) in groups {
        if only.is_empty() || only == name {
            run(&mut pair);
            pair.report(name);
        }
    }
    if only == "newer" {
        newer::run(&mut pair);
    }
    let (first, seeds, steps) = (number(2, 0), number(3, 0), number(4, 200));
    for seed in first..first + seeds {
        random::run(&mut pair, seed, steps);
        pair.report(&format!("seed {seed}"));
    }
    for ((key, name), versions) in &pair.covered {
        let served = [&pair.theirs, &pair.ours].map(|side| side.served.get(key).cloned());
        println!("{name}: {} versions compared of {:?} there, {:?} here", versions.len(), served[0], served[1]);
    }
    println!("{} requests compared, {} differ", pair.asked, pair.differ);
    if pair.differ == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
