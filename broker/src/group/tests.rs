//! Scripts: inputs on the left, exactly what comes of each on the right. Member ids are written m1, m2, ... in the order
//! in which they are given out; what comes of one input is sorted.

use super::*;
use crate::journal::LOAD_RETRY_MS;
use crate::journal::memory::MemoryJournal;
use common::time::WallMillis;
use std::sync::Arc;

struct Bench {
    groups: Groups,
    log: Arc<MemoryJournal>,
    now: Now,
    is_held: bool,
    ids: Vec<String>,
    heard: Arc<Mutex<Vec<String>>>,
}

/// `word key=value ...` of one input.
struct Words<'a>(Vec<&'a str>);

impl Words<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    fn number(&self, key: &str, default: i32) -> i32 {
        self.get(key).map_or(default, |value| value.parse().unwrap())
    }
}

fn settings() -> GroupSettings {
    let text = "zookeeper.connect=x\ngroup.max.size=3\noffsets.retention.minutes=60";
    let properties = common::properties::Properties::parse(text, "f");
    let config = crate::config::BrokerConfig::parse(&properties).unwrap().0;
    GroupSettings::of(&config, Arc::new(crate::config::GroupConfigs::new(&config)))
}

#[test]
fn who_stops_tells_no_offsets_any_more() {
    let mut bench = Bench::new();
    let fetch = |groups: &Groups, io: &mut Io<'_>| groups.fetch_offsets(("g", (None, -1)), None, false, io);
    assert!(bench.call(fetch).is_ok());
    bench.call(|groups, io| groups.close(io));
    assert_eq!(bench.call(fetch), Err(GroupError::NotCoordinator));
}

#[test]
fn a_partition_that_cannot_be_read_serves_no_group_until_it_can() {
    let mut bench = Bench::new();
    let place = ("t".to_owned(), 0);
    for offset in 1..=3 {
        let value = OffsetValue { offset, ..OffsetValue::default() };
        let input = CommitInput {
            group_id: "g".into(),
            sender: Sender { member_id: String::new(), instance_id: None, generation: -1 },
            producer: None,
            verification: Verification::Off,
            knows_member_epochs: true,
            offsets: vec![(place.clone(), value)],
        };
        bench.call(|groups, io| groups.commit(input, Box::new(|_| {}), io));
    }
    let whole = bench.log.batches.lock()[1].clone();
    let wounds: [fn(&mut Vec<u8>); 3] =
        [|bytes| *bytes.last_mut().unwrap() ^= 1, |bytes| bytes[16] = 9, |bytes| bytes.truncate(70)];
    for (epoch, wound) in (2..).zip(wounds) {
        let mut bytes = whole.1.to_vec();
        wound(&mut bytes);
        bench.log.batches.lock()[1].1 = bytes.into();
        bench.lead(epoch);
        let fetch = |groups: &Groups, io: &mut Io<'_>| {
            groups.fetch_offsets(("g", (None, -1)), Some(std::slice::from_ref(&place)), false, io)
        };
        assert_eq!(bench.call(fetch), Err(GroupError::NotCoordinator), "{epoch}");
        bench.log.batches.lock()[1].1 = whole.1.clone();
        bench.now.mono = bench.now.mono + LOAD_RETRY_MS;
        let loads = bench.call(|groups, io| {
            groups.tick(io);
            std::mem::take(&mut io.loads)
        });
        assert_eq!(loads, [(0, epoch)]);
        assert_eq!(bench.call(fetch), Err(GroupError::Loading), "{epoch}");
        bench.call(|groups, io| groups.load(0, epoch, io));
        let found = bench.call(fetch).unwrap().remove(0).1.unwrap().unwrap();
        assert_eq!(found.offset, 3, "{epoch}");
    }
}

/// Classic groups do not ask.
struct NoTopics;

impl Topics for NoTopics {
    fn topic(&self, _: &str) -> Option<TopicShape> {
        None
    }

    fn name(&self, _: uuid::Uuid) -> Option<String> {
        None
    }

    fn matching(&self, _: &dyn Fn(&str) -> bool) -> Vec<String> {
        Vec::new()
    }
}

impl Bench {
    fn new() -> Bench {
        let mut bench = Bench {
            groups: Groups::new(settings(), Rng::with_seed(1)),
            log: Arc::default(),
            now: Now { mono: Millis(0), wall: WallMillis(1_000_000) },
            is_held: false,
            ids: Vec::new(),
            heard: Arc::default(),
        };
        bench.lead(1);
        bench
    }

    fn lead(&mut self, epoch: i32) {
        self.call(|groups, io| {
            assert!(groups.on_leader(0, epoch, io));
            groups.load(0, epoch, io);
        });
    }

    fn call<T>(&mut self, f: impl FnOnce(&Groups, &mut Io<'_>) -> T) -> T {
        let log = self.log.clone();
        let mut io = Io::new(&*log, &NoTopics, self.now);
        let result = f(&self.groups, &mut io);
        if !self.is_held {
            self.groups.on_high_watermark(0, *log.next.lock(), &mut io);
        }
        for answer in std::mem::take(&mut io.answers) {
            answer();
        }
        result
    }

    fn say(&self, text: String) {
        self.heard.lock().push(text);
    }

    fn waiter<T: 'static>(&self, tag: &str, show: impl FnOnce(T) -> String + Send + 'static) -> Waiter<T> {
        let (tag, heard) = (tag.to_owned(), self.heard.clone());
        Box::new(move |result| heard.lock().push(format!("{tag}: {}", show(result))))
    }

    /// The real id of `m1`.
    fn id(&self, name: Option<&str>) -> String {
        let Some(name) = name else { return String::new() };
        match name.strip_prefix('m').and_then(|number| number.parse::<usize>().ok()) {
            Some(number) => self.ids[number - 1].clone(),
            None => name.to_owned(),
        }
    }

    fn sender(&self, words: &Words<'_>) -> Sender {
        Sender {
            member_id: self.id(words.get("member")),
            instance_id: words.get("instance").map(str::to_owned),
            generation: words.number("gen", -1),
        }
    }

    fn run(&mut self, input: &str) {
        let words = Words(input.split_whitespace().collect());
        let tag = words.0.get(1).copied().unwrap_or("");
        match words.0[0] {
            "join" => self.join(tag, &words),
            "sync" => self.sync(tag, &words),
            "beat" => {
                let sender = self.sender(&words);
                let result = self.call(|groups, io| groups.heartbeat("g", &sender, io));
                self.say(format!("{result:?}"));
            }
            "leave" => {
                let sender = self.sender(&words);
                let result = self.call(|groups, io| groups.leave("g", &[sender], io));
                self.say(format!("{result:?}"));
            }
            "commit" => self.commit(tag, &words),
            "fetch" => {
                let places: Option<Vec<Place>> = words.get("of").map(|text| text.split(',').map(place).collect());
                let is_stable = words.0.contains(&"stable");
                let result =
                    self.call(|groups, io| groups.fetch_offsets(("g", (None, -1)), places.as_deref(), is_stable, io));
                self.say(show_offsets(result));
            }
            "forget" => {
                let places = words.get("of").unwrap().split(',').map(place).collect();
                let waiter = self.waiter(tag, |result: Result<CommitResult, _>| match result {
                    Ok(results) => show_results(results),
                    Err(error) => format!("{error:?}"),
                });
                self.call(|groups, io| groups.delete_offsets("g", places, waiter, io));
            }
            "delete" => {
                let waiter = self.waiter(tag, |result: Result<(), GroupError>| format!("{result:?}"));
                self.call(|groups, io| groups.delete_group("g", waiter, io));
            }
            "end" => {
                let is_commit = tag == "commit";
                let marker = TxnMarker { producer_id: 7, producer_epoch: 0, is_commit, coordinator_epoch: 1 };
                self.call(|groups, io| groups.write_marker(0, &marker, Box::new(|_| {}), io));
            }
            "wait" => self.wait(tag.parse().unwrap()),
            "hold" => {
                self.is_held = true;
                *self.log.held_at.lock() = Some(*self.log.next.lock());
            }
            "release" => {
                self.is_held = false;
                *self.log.held_at.lock() = None;
                self.call(|_, _| ());
            }
            "refuse" => {
                let errors = [StoreError::NotLeader, StoreError::NotEnoughReplicas, StoreError::TooLarge];
                *self.log.refuses.lock() = errors.into_iter().find(|error| format!("{error:?}") == tag);
            }
            "resign" => self.call(|groups, io| groups.on_resigned(0, Some(1), io)),
            "reload" => {
                self.groups = Groups::new(settings(), Rng::with_seed(2));
                self.lead(5);
            }
            "describe" => {
                let result = self.call(|groups, io| groups.describe("g", io));
                self.say(show_description(result.map(classic)));
            }
            other => panic!("no such input: {other}"),
        }
    }

    /// Time passes, and everything due on the way is done at its moment.
    fn wait(&mut self, millis: u64) {
        let end = self.now.mono + millis;
        loop {
            let next = self.call(|groups, io| groups.tick(io));
            let step = next.map_or(end, |next| next.min(end)) - self.now.mono;
            if step == 0 {
                break;
            }
            self.now.mono = self.now.mono + step;
            self.now.wall.0 += step as i64;
        }
        self.call(|groups, io| groups.tick(io));
    }

    fn join(&mut self, tag: &str, words: &Words<'_>) {
        let version = words.number("v", 3);
        let sender = self.sender(words);
        let protocols = words.get("protocols").unwrap_or("range");
        let input = JoinInput {
            member_id: sender.member_id,
            instance_id: sender.instance_id,
            can_be_asked_to_rejoin: version >= 4,
            can_skip_assignment: version >= 9,
            client_id: "c".to_owned(),
            client_host: "/h".to_owned(),
            rebalance_timeout_ms: words.number("rebalance", 60_000),
            session_timeout_ms: words.number("session", 10_000),
            protocol_type: words.get("type").unwrap_or("consumer").to_owned(),
            protocols: protocols.split(',').map(|name| (name.to_owned(), subscription())).collect(),
            reason: None,
        };
        let waiter = self.waiter(tag, |result: JoinResult| {
            let id = result.member_id;
            match result.outcome {
                Err(error) => format!("{id} {error:?}"),
                Ok(j) => {
                    let members: Vec<String> = j.members.into_iter().map(|(id, _, _)| id).collect();
                    let skip = if j.skip_assignment { " skip" } else { "" };
                    let protocol = j.protocol.unwrap_or_default();
                    format!("{id} in {} {protocol}, leader {}{skip} {members:?}", j.generation, j.leader)
                }
            }
        });
        self.call(|groups, io| groups.join("g", input, waiter, io));
        // Ids are learnt from the answers, or by asking who waits.
        self.learn();
    }

    fn sync(&mut self, tag: &str, words: &Words<'_>) {
        let assignment = |pair: &str| {
            let (member, bytes) = pair.split_once(':').unwrap();
            (self.id(Some(member)), Bytes::copy_from_slice(bytes.as_bytes()))
        };
        let assignments = words.get("assign").map(|text| text.split(',').map(assignment).collect());
        let input = SyncInput {
            sender: self.sender(words),
            protocol_type: words.get("type").map(str::to_owned),
            protocol: words.get("protocol").map(str::to_owned),
            assignments: assignments.unwrap_or_default(),
        };
        let waiter = self.waiter(tag, |result: SyncResult| match result {
            Ok(synced) => utf8(&synced.assignment),
            Err(error) => format!("{error:?}"),
        });
        self.call(|groups, io| groups.sync("g", input, waiter, io));
    }

    fn commit(&mut self, tag: &str, words: &Words<'_>) {
        let offset = |word: &&str| {
            let (at, offset) = word.strip_prefix("t-")?.split_once('=')?;
            let value = OffsetValue {
                offset: offset.parse().unwrap(),
                leader_epoch: -1,
                metadata: "x".repeat(words.number("metadata", 1) as usize),
                commit_timestamp: self.now.wall.0,
                expire_timestamp: None,
            };
            Some((place(&format!("t-{at}")), value))
        };
        let input = CommitInput {
            group_id: "g".to_owned(),
            sender: self.sender(words),
            producer: words.0.contains(&"txn").then_some((7, 0)),
            verification: Verification::Off,
            knows_member_epochs: words.number("version", 9) >= 9,
            offsets: words.0.iter().filter_map(offset).collect(),
        };
        let waiter = self.waiter(tag, show_results);
        self.call(|groups, io| groups.commit(input, waiter, io));
    }

    fn learn(&mut self) {
        let mut found: Vec<String> = self
            .call(|groups, io| groups.describe("g", io))
            .ok()
            .and_then(classic)
            .map(|group| group.members.into_iter().map(|member| member.member_id).collect())
            .unwrap_or_default();
        for text in self.heard.lock().iter() {
            found.extend(text.split([' ', '"']).filter(|word| word.len() > 36).map(str::to_owned));
        }
        for id in found {
            if !self.ids.contains(&id) {
                self.ids.push(id);
            }
        }
    }

    fn heard(&mut self) -> Vec<String> {
        self.learn();
        let mut heard = std::mem::take(&mut *self.heard.lock());
        for text in &mut heard {
            for (number, id) in (1..).zip(&self.ids) {
                *text = text.replace(id, &format!("m{number}"));
            }
            *text = text.replace('"', "");
            // Members are in the order of their ids, which are random.
            if let Some((head, list)) = text.strip_suffix(']').and_then(|text| text.split_once('[')) {
                let mut list: Vec<&str> = list.split(", ").collect();
                list.sort_unstable();
                *text = format!("{head}[{}]", list.join(", "));
            }
        }
        heard.sort_unstable();
        heard
    }
}

/// Version 0, topic `t`.
fn subscription() -> Bytes {
    Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff])
}

fn place(text: &str) -> Place {
    let (topic, partition) = text.split_once('-').unwrap();
    (topic.to_owned(), partition.parse().unwrap())
}

fn utf8(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn show_results(results: CommitResult) -> String {
    let one = |((topic, partition), result)| match result {
        Ok(()) => format!("{topic}-{partition} ok"),
        Err(error) => format!("{topic}-{partition} {error:?}"),
    };
    results.into_iter().map(one).collect::<Vec<_>>().join(", ")
}

fn show_offsets(result: Result<FetchResult, GroupError>) -> String {
    let one = |((topic, partition), value): (Place, Result<Option<OffsetValue>, GroupError>)| match value {
        Ok(Some(value)) => format!("{topic}-{partition}={}", value.offset),
        Ok(None) => format!("{topic}-{partition} none"),
        Err(error) => format!("{topic}-{partition} {error:?}"),
    };
    match result {
        Ok(results) => results.into_iter().map(one).collect::<Vec<_>>().join(", "),
        Err(error) => format!("{error:?}"),
    }
}

fn classic(described: Described<Description>) -> Option<Description> {
    if let Described::Found(group) = described { Some(group) } else { None }
}

fn show_description(result: Result<Option<Description>, GroupError>) -> String {
    match result {
        Ok(Some(group)) => {
            let member = |m: DescribedMember| format!("{}={}", m.member_id, utf8(&m.assignment));
            let members: Vec<String> = group.members.into_iter().map(member).collect();
            format!("{:?} {} {members:?}", group.state, group.protocol)
        }
        Ok(None) => "no group".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

fn check(script: &[(&str, &[&str])]) {
    let mut bench = Bench::new();
    for (line, (input, expected)) in script.iter().enumerate() {
        bench.run(input);
        assert_eq!(bench.heard(), *expected, "line {}: {input}", line + 1);
    }
}

/// One stable member m1 in generation 1.
const ONE: &[(&str, &[&str])] = &[
    ("join J1", &[]),
    ("wait 3000", &["J1: m1 in 1 range, leader m1 [m1]"]),
    ("sync S1 member=m1 gen=1 assign=m1:a", &["S1: a"]),
];

/// Two stable members in generation 2.
const TWO: &[(&str, &[&str])] = &[
    ("join J2", &[]),
    ("join J1 member=m1", &["J1: m1 in 2 range, leader m1 [m1, m2]", "J2: m2 in 2 range, leader m1 []"]),
    ("sync S2 member=m2 gen=2", &[]),
    ("sync S1 member=m1 gen=2 assign=m1:a,m2:b", &["S1: a", "S2: b"]),
];

fn check_after(before: &[&[(&str, &[&str])]], script: &[(&str, &[&str])]) {
    let mut all: Vec<(&str, &[&str])> = before.concat();
    all.extend(script);
    check(&all);
}

#[test]
fn the_first_join_waits_for_others() {
    check_after(
        &[ONE],
        &[
            ("describe", &["Stable range [m1=a]"]),
            ("beat member=m1 gen=1", &["Ok(())"]),
            ("beat member=m1 gen=0", &["Err(IllegalGeneration)"]),
            ("beat member=other gen=1", &["Err(UnknownMember)"]),
        ],
    );
    check(&[
        ("join J1 rebalance=8000", &[]),
        ("wait 2900", &[]),
        ("join J2 rebalance=8000", &[]),
        ("wait 2900", &[]),
        ("wait 200", &["J1: m1 in 1 range, leader m1 [m1, m2]", "J2: m2 in 1 range, leader m1 []"]),
    ]);
}

#[test]
fn a_client_that_can_is_asked_to_rejoin_with_its_id() {
    check(&[
        ("join J1 v=4", &["J1: m1 MemberIdRequired"]),
        ("join J1 v=4 member=m1", &[]),
        ("wait 3000", &["J1: m1 in 1 range, leader m1 [m1]"]),
        ("sync S1 member=m1 gen=1 protocol=rr", &["S1: InconsistentProtocol"]),
        ("sync S1 member=m1 gen=1 protocol=range type=connect", &["S1: InconsistentProtocol"]),
        ("sync S1 member=m1 gen=1 protocol=range type=consumer assign=m1:a", &["S1: a"]),
    ]);
    // Who does not come back is forgotten and holds nobody up.
    check_after(
        &[ONE],
        &[
            ("join J2 v=4", &["J2: m2 MemberIdRequired"]),
            ("join J1 member=m1", &[]),
            ("wait 10000", &["J1: m1 in 2 range, leader m1 [m1]"]),
        ],
    );
}

#[test]
fn a_second_member_causes_a_rebalance() {
    check_after(
        &[ONE],
        &[
            ("join J2", &[]),
            ("beat member=m1 gen=1", &["Err(RebalanceInProgress)"]),
            ("sync S1 member=m1 gen=1", &["S1: RebalanceInProgress"]),
            ("join J1 member=m1", &["J1: m1 in 2 range, leader m1 [m1, m2]", "J2: m2 in 2 range, leader m1 []"]),
            ("sync S2 member=m2 gen=2", &[]),
            ("beat member=m2 gen=2", &["Ok(())"]),
            ("sync S1 member=m1 gen=2 assign=m1:a,m2:b", &["S1: a", "S2: b"]),
            ("describe", &["Stable range [m1=a, m2=b]"]),
        ],
    );
}

#[test]
fn protocols_are_voted_on_and_have_to_fit() {
    check(&[
        ("join J1 protocols=range,rr", &[]),
        ("join J2 protocols=rr,sticky", &[]),
        ("join J3 protocols=sticky", &["J3:  InconsistentProtocol"]),
        ("join J3 protocols=rr type=connect", &["J3:  InconsistentProtocol"]),
        ("wait 6000", &["J1: m1 in 1 rr, leader m1 [m1, m2]", "J2: m2 in 1 rr, leader m1 []"]),
        ("join J4 session=1", &["J4:  InvalidSessionTimeout"]),
    ]);
}

#[test]
fn silent_members_are_removed() {
    check_after(
        &[ONE, TWO],
        &[
            ("wait 6000", &[]),
            ("beat member=m1 gen=2", &["Ok(())"]),
            ("wait 6000", &[]),
            ("beat member=m1 gen=2", &["Err(RebalanceInProgress)"]),
            ("beat member=m2 gen=2", &["Err(UnknownMember)"]),
            ("join J1 member=m1", &["J1: m1 in 3 range, leader m1 [m1]"]),
            ("wait 10000", &[]),
            ("describe", &["Empty  []"]),
        ],
    );
}

#[test]
fn a_member_that_does_not_rejoin_in_time_is_removed() {
    check_after(
        &[ONE, TWO],
        &[
            ("join J1 member=m1 rebalance=5000", &[]),
            ("join J3 rebalance=5000", &[]),
            ("wait 4000", &[]),
            ("beat member=m2 gen=2", &["Err(RebalanceInProgress)"]),
            // m2's rebalance timeout is the longest: a minute, kept alive by heartbeats until it stops.
            ("wait 10000", &["J1: m1 in 3 range, leader m1 [m1, m3]", "J3: m3 in 3 range, leader m1 []"]),
            ("beat member=m2 gen=2", &["Err(UnknownMember)"]),
        ],
    );
}

#[test]
fn a_member_that_does_not_sync_in_time_is_removed() {
    check(&[
        ("join J1 rebalance=5000 session=60000", &[]),
        ("join J2 rebalance=5000 session=60000", &[]),
        ("wait 5000", &["J1: m1 in 1 range, leader m1 [m1, m2]", "J2: m2 in 1 range, leader m1 []"]),
        ("sync S1 member=m1 gen=1 assign=m1:a", &["S1: a"]),
        ("wait 5000", &[]),
        ("beat member=m1 gen=1", &["Err(RebalanceInProgress)"]),
        ("beat member=m2 gen=1", &["Err(UnknownMember)"]),
    ]);
}

#[test]
fn leaving_is_at_once() {
    check_after(
        &[ONE, TWO],
        &[
            ("leave member=m2", &["Ok([Ok(())])"]),
            ("leave member=m2", &["Ok([Err(UnknownMember)])"]),
            ("beat member=m1 gen=2", &["Err(RebalanceInProgress)"]),
            ("leave member=m1", &["Ok([Ok(())])"]),
            ("describe", &["Empty  []"]),
        ],
    );
}

#[test]
fn a_full_group_takes_nobody() {
    check(&[("join J1", &[]), ("join J2", &[]), ("join J3", &[]), ("join J4", &["J4:  GroupFull"])]);
}

#[test]
fn a_static_member_restarts_without_a_rebalance() {
    check(&[
        ("join J1 instance=i", &[]),
        ("wait 3000", &["J1: m1 in 1 range, leader m1 [m1]"]),
        ("sync S1 member=m1 instance=i gen=1 assign=m1:a", &["S1: a"]),
        // An old client must not see itself as the leader, or it would assign anew.
        ("join J2 instance=i v=8", &["J2: m2 in 1 range, leader m1 []"]),
        ("beat member=m1 instance=i gen=1", &["Err(FencedInstance)"]),
        ("sync S2 member=m2 instance=i gen=1", &["S2: a"]),
        ("join J3 instance=i v=9", &["J3: m3 in 1 range, leader m3 skip [m3]"]),
        ("commit C1 member=m2 instance=i gen=1 t-0=1", &["C1: t-0 FencedInstance"]),
        ("reload", &[]),
        ("describe", &["Stable range [m3=a]"]),
        ("leave instance=i", &["Ok([Ok(())])"]),
        ("describe", &["Empty  []"]),
    ]);
    // With other protocols the generation cannot stay.
    check(&[
        ("join J1 instance=i protocols=range,rr", &[]),
        ("wait 3000", &["J1: m1 in 1 range, leader m1 [m1]"]),
        ("sync S1 member=m1 instance=i gen=1 assign=m1:a", &["S1: a"]),
        ("join J2 instance=i protocols=rr,range", &["J2: m2 in 2 rr, leader m2 [m2]"]),
    ]);
}

#[test]
fn commits_are_fenced_by_generation() {
    check_after(
        &[ONE],
        &[
            ("commit C1 member=m1 gen=1 t-0=5 t-1=6", &["C1: t-0 ok, t-1 ok"]),
            ("commit C2 member=m1 gen=0 t-0=7", &["C2: t-0 IllegalGeneration"]),
            ("commit C3 member=x gen=1 t-0=7", &["C3: t-0 UnknownMember"]),
            ("commit C4 t-0=7", &["C4: t-0 UnknownMember"]),
            ("commit C5 member=m1 gen=1 t-0=7 metadata=4097", &["C5: t-0 MetadataTooLarge"]),
            ("fetch of=t-0,t-2", &["t-0=5, t-2 none"]),
            ("fetch", &["t-0=5, t-1=6"]),
            ("join J2", &[]),
            ("commit C6 member=m1 gen=1 t-0=8", &["C6: t-0 ok"]),
            ("join J1 member=m1", &["J1: m1 in 2 range, leader m1 [m1, m2]", "J2: m2 in 2 range, leader m1 []"]),
            ("commit C7 member=m1 gen=2 t-0=9", &["C7: t-0 RebalanceInProgress"]),
        ],
    );
    check(&[
        ("commit C1 gen=1 member=x t-0=1", &["C1: t-0 NotFound"]),
        ("commit C2 t-0=1", &["C2: t-0 ok"]),
        ("fetch", &["t-0=1"]),
    ]);
}

#[test]
fn nothing_is_true_before_it_is_replicated() {
    check_after(
        &[ONE],
        &[
            ("hold", &[]),
            ("commit C1 member=m1 gen=1 t-0=5", &[]),
            ("fetch of=t-0", &["t-0 none"]),
            ("fetch of=t-0 stable", &["t-0 UnstableOffset"]),
            ("release", &["C1: t-0 ok"]),
            ("fetch of=t-0 stable", &["t-0=5"]),
            ("hold", &[]),
            ("commit C2 member=m1 gen=1 t-0=6", &[]),
            ("wait 5000", &["C2: t-0 TimedOut"]),
            ("fetch", &["t-0=5"]),
            // It is in the log, and counts there after a failover: so it does here.
            ("release", &[]),
            ("fetch", &["t-0=6"]),
            ("hold", &[]),
            ("join J1 member=m1", &["J1: m1 in 2 range, leader m1 [m1]"]),
            ("sync S1 member=m1 gen=2 assign=m1:z", &[]),
            ("describe", &["CompletingRebalance  [m1=]"]),
            ("release", &["S1: z"]),
        ],
    );
}

#[test]
fn what_the_log_refuses_changes_nothing() {
    check_after(
        &[ONE],
        &[
            ("commit C1 member=m1 gen=1 t-0=5", &["C1: t-0 ok"]),
            ("refuse NotEnoughReplicas", &[]),
            ("commit C2 member=m1 gen=1 t-0=6", &["C2: t-0 NotAvailable"]),
            ("refuse TooLarge", &[]),
            ("commit C2 member=m1 gen=1 t-0=6", &["C2: t-0 CommitTooLarge"]),
            ("refuse NotLeader", &[]),
            ("fetch of=t-0 stable", &["t-0=5"]),
            ("join J1 member=m1", &["J1: m1 in 2 range, leader m1 [m1]"]),
            ("sync S1 member=m1 gen=2 assign=m1:z", &["S1: NotCoordinator"]),
            ("beat member=m1 gen=2", &["Err(RebalanceInProgress)"]),
        ],
    );
}

#[test]
fn the_log_tells_the_same_as_memory() {
    check_after(
        &[ONE, TWO],
        &[
            ("commit C1 member=m1 gen=2 t-0=5 t-1=6", &["C1: t-0 ok, t-1 ok"]),
            ("commit C2 member=m1 gen=2 t-0=7", &["C2: t-0 ok"]),
            ("describe", &["Stable range [m1=a, m2=b]"]),
            ("fetch", &["t-0=7, t-1=6"]),
            ("reload", &[]),
            ("describe", &["Stable range [m1=a, m2=b]"]),
            ("fetch", &["t-0=7, t-1=6"]),
            ("beat member=m2 gen=2", &["Ok(())"]),
            ("sync S1 member=m1 gen=2", &["S1: a"]),
            ("wait 10000", &[]),
            ("describe", &["Empty  []"]),
            ("reload", &[]),
            ("describe", &["Empty  []"]),
            ("fetch", &["t-0=7, t-1=6"]),
        ],
    );
}

#[test]
fn what_the_next_leader_may_not_have_is_told_nobody() {
    check_after(
        &[ONE],
        &[
            ("hold", &[]),
            ("commit C1 member=m1 gen=1 t-0=5", &[]),
            ("reload", &[]),
            ("describe", &["Loading"]),
            ("release", &[]),
            ("fetch", &["t-0=5"]),
            ("beat member=m1 gen=1", &["Ok(())"]),
        ],
    );
}

#[test]
fn who_waits_is_sent_away_when_leadership_goes() {
    check_after(
        &[ONE],
        &[
            ("hold", &[]),
            ("commit C1 member=m1 gen=1 t-0=5", &[]),
            ("join J2", &[]),
            ("resign", &["C1: t-0 NotCoordinator", "J2: m2 NotCoordinator"]),
            ("beat member=m1 gen=1", &["Err(NotCoordinator)"]),
            ("join J3", &["J3:  NotCoordinator"]),
        ],
    );
}

#[test]
fn a_second_request_of_a_member_answers_its_first() {
    check_after(
        &[ONE, TWO],
        &[
            ("join J1 member=m1", &[]),
            ("join J1b member=m1", &["J1: m1 RebalanceInProgress"]),
            ("join J2 member=m2", &["J1b: m1 in 3 range, leader m1 [m1, m2]", "J2: m2 in 3 range, leader m1 []"]),
            ("sync S2 member=m2 gen=3", &[]),
            ("sync S2b member=m2 gen=3", &["S2: RebalanceInProgress"]),
        ],
    );
}

#[test]
fn groups_and_offsets_are_deleted() {
    check_after(
        &[ONE],
        &[
            ("commit C1 member=m1 gen=1 t-0=5 u-0=6", &["C1: t-0 ok"]),
            ("delete D", &["D: Err(NotEmpty)"]),
            ("forget F of=t-0,u-0", &["F: t-0 SubscribedToTopic, u-0 ok"]),
            ("leave member=m1", &["Ok([Ok(())])"]),
            ("commit C2 t-1=8", &["C2: t-1 ok"]),
            ("forget F of=t-0,t-9", &["F: t-0 ok, t-9 ok"]),
            ("fetch", &["t-1=8"]),
            ("delete D", &["D: Ok(())"]),
            ("describe", &["no group"]),
            ("delete D", &["D: Err(NotFound)"]),
            ("forget F of=t-0", &["F: NotFound"]),
            ("reload", &[]),
            ("describe", &["no group"]),
        ],
    );
}

#[test]
fn offsets_of_a_transaction_count_when_it_commits() {
    check(&[
        ("commit C1 t-0=1", &["C1: t-0 ok"]),
        ("commit T1 txn t-0=2", &["T1: t-0 ok"]),
        ("fetch of=t-0", &["t-0=1"]),
        ("fetch of=t-0 stable", &["t-0 UnstableOffset"]),
        ("end abort", &[]),
        ("fetch of=t-0 stable", &["t-0=1"]),
        ("commit T2 txn t-0=3", &["T2: t-0 ok"]),
        ("end commit", &[]),
        ("fetch of=t-0 stable", &["t-0=3"]),
    ]);
}

#[test]
fn offsets_expire_when_nobody_comes_back() {
    check_after(
        &[ONE],
        &[
            ("commit C1 member=m1 gen=1 t-0=5", &["C1: t-0 ok"]),
            ("leave member=m1", &["Ok([Ok(())])"]),
            // Looked at every ten minutes; an hour after the group became empty they go.
            ("wait 3500000", &[]),
            ("fetch", &["t-0=5"]),
            ("wait 700000", &[]),
            ("fetch", &[""]),
            ("describe", &["no group"]),
            ("reload", &[]),
            ("describe", &["no group"]),
        ],
    );
}

#[test]
fn groups_are_spread_as_in_java() {
    // "polygenelubricants".hashCode() is Integer.MIN_VALUE, whose absolute value Kafka takes as 0.
    for (group, expected) in [("", 0), ("g", 3), ("console-consumer-1", 24), ("polygenelubricants", 0)] {
        assert_eq!(partition_for(group, 50), expected, "{group}");
    }
}
