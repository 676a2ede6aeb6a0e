//! Scripts: heartbeats on the left; on the right what was recorded, in order, and what is answered. Topic `t` has id 1,
//! `u` id 2; partitions are written `t:0,1 u:0`.

use crate::config::{BrokerConfig, GroupConfigs};
use crate::group::consumer_records::{ConsumerRecord, Partitions};
use crate::group::records::GroupRecord;
use crate::group::*;
use crate::journal::memory::MemoryJournal;
use common::kafka::batch;
use common::properties::Properties;
use common::time::WallMillis;
use std::sync::Arc;
use uuid::Uuid;

/// Names with numbers of partitions; the id is the place, from 1.
pub(in crate::group) struct Table(pub(in crate::group) Mutex<Vec<(&'static str, i32)>>);

impl Topics for Table {
    fn topic(&self, name: &str) -> Option<TopicShape> {
        let topics = self.0.lock();
        let place = topics.iter().position(|(known, count)| *known == name && *count > 0)?;
        Some(TopicShape { id: Uuid::from_u128(place as u128 + 1), partitions: topics[place].1 })
    }

    fn name(&self, id: Uuid) -> Option<String> {
        self.0.lock().get(id.as_u128() as usize - 1).map(|(name, _)| (*name).to_owned())
    }

    fn matching(&self, is_wanted: &dyn Fn(&str) -> bool) -> Vec<String> {
        let topics = self.0.lock();
        topics
            .iter()
            .filter(|(name, count)| *count > 0 && is_wanted(name))
            .map(|(name, _)| (*name).to_owned())
            .collect()
    }
}

pub(in crate::group) struct Bench {
    config: BrokerConfig,
    configs: Arc<GroupConfigs>,
    groups: Groups,
    log: Arc<MemoryJournal>,
    topics: Table,
    now: Now,
    is_held: bool,
    /// Batches of the log that were shown.
    shown: usize,
    heard: Arc<Mutex<Vec<String>>>,
    /// Ids that the coordinator gave.
    ids: Vec<String>,
}

impl Bench {
    fn new(more: &str) -> Bench {
        let text = format!(
            "zookeeper.connect=x\ngroup.consumer.max.size=3\ngroup.consumer.migration.policy=bidirectional\n{more}"
        );
        let config = BrokerConfig::parse(&Properties::parse(&text, "f")).unwrap().0;
        let configs = Arc::new(GroupConfigs::new(&config));
        let mut bench = Bench {
            groups: Groups::new(GroupSettings::of(&config, configs.clone()), Rng::with_seed(1)),
            config,
            configs,
            log: Arc::default(),
            topics: Table(Mutex::new(vec![("t", 4), ("u", 2)])),
            now: Now { mono: Millis(0), wall: WallMillis(1_000_000) },
            is_held: false,
            shown: 0,
            heard: Arc::default(),
            ids: Vec::new(),
        };
        bench.lead(1);
        bench
    }

    fn lead(&mut self, epoch: i32) {
        self.call(|groups, io| {
            groups.on_leader(0, epoch, io);
            groups.load(0, epoch, io);
        });
    }

    fn call<T>(&mut self, f: impl FnOnce(&Groups, &mut Io<'_>) -> T) -> T {
        let log = self.log.clone();
        let mut io = Io::new(&*log, &self.topics, self.now);
        let result = f(&self.groups, &mut io);
        if !self.is_held {
            self.groups.on_high_watermark(0, *log.next.lock(), &mut io);
        }
        for answer in std::mem::take(&mut io.answers) {
            answer();
        }
        result
    }

    fn partitions(&self, text: &str) -> Partitions {
        let of_topic = |part: &str| {
            let (name, numbers) = part.split_once(':').unwrap();
            let numbers = numbers.split('+').map(|number| number.parse().unwrap()).collect();
            (self.topics.topic(name).unwrap().id, numbers)
        };
        text.split(',').filter(|part| !part.is_empty()).map(of_topic).collect()
    }

    fn run(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let get = |key: &str| words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let number = |key: &str, default: i32| get(key).map_or(default, |text| text.parse().unwrap());
        match words[0] {
            "beat" => {
                let joins = number("e", 0) == 0;
                let topics = get("topics").or(if joins && get("regex").is_none() { Some("t") } else { None });
                let input = HeartbeatInput {
                    member_id: get("m").unwrap_or_default().to_owned(),
                    epoch: number("e", 0),
                    instance_id: get("instance").map(str::to_owned),
                    rebalance_timeout_ms: number("rebalance", if joins { 1000 } else { -1 }),
                    client_id: "c".to_owned(),
                    client_host: "/h".to_owned(),
                    topics: topics
                        .map(|names| names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()),
                    regex: get("regex").map(str::to_owned),
                    assignor: get("assignor").map(str::to_owned),
                    owned: get("owned").or(if joins { Some("") } else { None }).map(|text| self.partitions(text)),
                    ..HeartbeatInput::default()
                };
                let heard = self.heard.clone();
                let waiter = Box::new(move |result: HeartbeatResult| {
                    heard.lock().push(match result {
                        Ok(output) => {
                            let assigned = output.assignment.as_ref().map_or("as before".to_owned(), show);
                            format!("{} {} [{assigned}]", output.member_id, output.epoch)
                        }
                        Err(refusal) => format!("{:?}: {}", refusal.error, refusal.message),
                    });
                });
                self.call(|groups, io| groups.consumer_heartbeat(get("g").unwrap_or("g"), &input, waiter, io));
            }
            "wait" => {
                self.now.mono = self.now.mono + words[1].parse::<u64>().unwrap();
                self.now.wall.0 += words[1].parse::<i64>().unwrap();
                self.call(|groups, io| {
                    groups.tick(io);
                });
            }
            "topics" => {
                let table = words[1].split(',').map(|part| part.split_once(':').unwrap());
                let named = |name: &str| if name == "t" { "t" } else { "u" };
                *self.topics.0.lock() = table.map(|(name, count)| (named(name), count.parse().unwrap())).collect();
                self.groups.on_topics_changed(&["t".to_owned(), "u".to_owned()]);
            }
            "lead" => self.lead(words[1].parse().unwrap()),
            "hold" => self.is_held = true,
            "release" => {
                self.is_held = false;
                self.call(|_, _| {});
            }
            "set" => {
                let (key, value) = words[1].split_once('=').unwrap();
                let own = [(key.to_owned(), value.to_owned())].into();
                assert_eq!(self.configs.set(&self.config, "g", &own), []);
            }
            "refuse" => *self.log.refuses.lock() = Some(StoreError::NotEnoughReplicas),
            "accept" => *self.log.refuses.lock() = None,
            "commit" | "txn-commit" | "fetch" => self.run_offsets(&words),
            word if word.starts_with("classic-") => self.run_classic(&words),
            _ => self.run_view(words[0]),
        }
        let mut all = self.recorded();
        all.append(&mut self.heard.lock());
        // Members that the coordinator names are m1, m2, ...
        for (number, id) in (1..).zip(&self.ids) {
            all.iter_mut().for_each(|text| *text = text.replace(id, &format!("m{number}")));
        }
        all
    }

    fn id(&self, name: &str) -> String {
        let number = name.strip_prefix('m').and_then(|number| number.parse::<usize>().ok());
        number.map_or_else(|| name.to_owned(), |number| self.ids[number - 1].clone())
    }

    /// What members of the classic protocol ask.
    fn run_classic(&mut self, words: &[&str]) {
        let get = |key: &str| words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let generation = get("e").map_or(-1, |text| text.parse().unwrap());
        let sender = Sender {
            member_id: get("m").map_or_else(String::new, |name| self.id(name)),
            instance_id: None,
            generation,
        };
        let heard = self.heard.clone();
        match words[0] {
            "classic-join" => {
                let subscription = [b"\0\x01\0\0\0\x01\0\x01t\xff\xff\xff\xff", &named(get("owned"))[..]].concat();
                let input = JoinInput {
                    member_id: sender.member_id,
                    client_id: "c".to_owned(),
                    client_host: "/h".to_owned(),
                    rebalance_timeout_ms: 1000,
                    session_timeout_ms: 10_000,
                    protocol_type: get("type").unwrap_or("consumer").to_owned(),
                    protocols: vec![("range".to_owned(), Bytes::from(subscription))],
                    ..JoinInput::default()
                };
                let ids = Arc::new(Mutex::new(Vec::new()));
                let new = ids.clone();
                let waiter = Box::new(move |result: JoinResult| {
                    new.lock().push(result.member_id.clone());
                    let outcome = result.outcome.map(|joined| (joined.generation, joined.protocol.unwrap_or_default()));
                    heard.lock().push(format!("{} {outcome:?}", result.member_id));
                });
                self.call(|groups, io| groups.join("g", input, waiter, io));
                for id in ids.lock().drain(..) {
                    if !id.is_empty() && !self.ids.contains(&id) {
                        self.ids.push(id);
                    }
                }
            }
            "classic-sync" => {
                let all = get("all").map(|text| {
                    let bytes = [b"\0\x01", &named(Some(text))[..], b"\xff\xff\xff\xff"].concat();
                    (sender.member_id.clone(), Bytes::from(bytes))
                });
                let input = SyncInput { sender, assignments: all.into_iter().collect(), ..SyncInput::default() };
                let waiter = Box::new(move |result: SyncResult| {
                    heard.lock().push(format!("{:?}", result.map(|synced| synced.assignment.slice(6..))));
                });
                self.call(|groups, io| groups.sync("g", input, waiter, io));
            }
            "classic-beat" => {
                let result = self.call(|groups, io| groups.heartbeat("g", &sender, io));
                self.say(format!("{result:?}"));
            }
            "classic-leave" => {
                let result = self.call(|groups, io| groups.leave("g", &[sender], io));
                self.say(format!("{result:?}"));
            }
            other => panic!("{other}"),
        }
    }

    fn run_offsets(&mut self, words: &[&str]) {
        let get = |key: &str| words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let number = |key: &str, default: i32| get(key).map_or(default, |text| text.parse().unwrap());
        match words[0] {
            "commit" | "txn-commit" => {
                let heard = self.heard.clone();
                let sender = Sender {
                    member_id: self.id(get("m").unwrap_or_default()),
                    instance_id: None,
                    generation: number("e", -1),
                };
                let producer = (words[0] == "txn-commit").then_some((1, 0));
                let offset = ("t".to_owned(), 0);
                let input = CommitInput {
                    group_id: "g".to_owned(),
                    sender,
                    producer,
                    verification: Verification::Off,
                    knows_member_epochs: number("version", 9) >= 9,
                    offsets: vec![(offset, OffsetValue { offset: 7, ..OffsetValue::default() })],
                };
                let waiter = Box::new(move |results: CommitResult| heard.lock().push(format!("{:?}", results[0].1)));
                self.call(|groups, io| groups.commit(input, waiter, io));
                self.shown = self.log.batches.lock().len();
            }
            "fetch" => {
                let member = (get("m"), number("e", -1));
                let found = self.call(|groups, io| groups.fetch_offsets(("g", member), None, false, io));
                self.say(found.map_or_else(|error| format!("{error:?}"), |found| format!("{} offsets", found.len())));
            }
            other => panic!("{other}"),
        }
    }

    fn run_view(&mut self, word: &str) {
        match word {
            "describe" => {
                let found = self.call(|groups, io| groups.describe_consumers("g", io));
                let Ok(Described::Found(group)) = found else { panic!("{found:?}") };
                self.say(format!("{} {}/{} {}", group.state, group.epoch, group.target_epoch, group.assignor));
                for member in group.members {
                    let topic = |topic: &AssignedTopic| format!("{}:{:?}", topic.name, topic.partitions);
                    let all = |topics: &[AssignedTopic]| topics.iter().map(topic).collect::<Vec<_>>().join(" ");
                    let (assigned, target) = (all(&member.assigned), all(&member.target));
                    self.say(format!("{} {} has {assigned} shall {target}", member.member_id, member.epoch));
                }
            }
            "list" => {
                for group in self.groups.list().0 {
                    self.say(format!(
                        "{} {} {} {}",
                        group.group_id, group.group_type, group.protocol_type, group.state
                    ));
                }
            }
            "delete" => {
                let heard = self.heard.clone();
                let waiter = Box::new(move |result| heard.lock().push(format!("{result:?}")));
                self.call(|groups, io| groups.delete_group("g", waiter, io));
            }
            "classic" => {
                let found = self.call(|groups, io| groups.describe("g", io));
                self.say(match found.unwrap() {
                    Described::Found(group) => group.state.name().to_owned(),
                    Described::OtherProtocol => "OtherProtocol".to_owned(),
                    Described::Missing => "Missing".to_owned(),
                });
            }
            other => panic!("{other}"),
        }
    }

    fn say(&self, text: String) {
        self.heard.lock().push(text);
    }

    fn recorded(&mut self) -> Vec<String> {
        let batches: Vec<Bytes> =
            self.log.batches.lock()[self.shown..].iter().map(|(_, bytes)| bytes.clone()).collect();
        self.shown += batches.len();
        let mut all = Vec::new();
        for bytes in batches {
            let batch = batch::batches(bytes).next().unwrap().unwrap();
            for record in batch.records(1 << 20).unwrap() {
                let record = record.unwrap();
                all.push(match GroupRecord::decode(record.key, record.value).unwrap() {
                    GroupRecord::Consumer(_, record) => show_record(&record),
                    GroupRecord::Group(id, value) => {
                        format!("classic {id} {}", value.map_or("-".to_owned(), |v| v.generation.to_string()))
                    }
                    GroupRecord::Offset(_, value) => format!("offset {:?}", value.map(|value| value.offset)),
                    GroupRecord::Share(_, record) => panic!("{record:?}"),
                    GroupRecord::Unknown(version) => panic!("{version}"),
                });
            }
        }
        all
    }
}

/// Partitions of `t`, as the classic protocol has them: `t:0+1`.
fn named(text: Option<&str>) -> Vec<u8> {
    let Some((_, numbers)) = text.and_then(|text| text.split_once(':')) else { return vec![0; 4] };
    let numbers: Vec<i32> = numbers.split('+').map(|number| number.parse().unwrap()).collect();
    let mut bytes = b"\0\0\0\x01\0\x01t".to_vec();
    bytes.extend(i32::try_from(numbers.len()).unwrap().to_be_bytes());
    bytes.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    bytes
}

fn show(partitions: &Partitions) -> String {
    let topic = |(id, numbers): (&Uuid, &BTreeSet<i32>)| {
        let numbers: Vec<String> = numbers.iter().map(i32::to_string).collect();
        format!("{}:{}", ["t", "u"][id.as_u128() as usize - 1], numbers.join("+"))
    };
    partitions.iter().map(topic).collect::<Vec<_>>().join(",")
}

fn show_record(record: &ConsumerRecord) -> String {
    match record {
        ConsumerRecord::Epoch(epoch) => format!("epoch {}", epoch.map_or("-".to_owned(), |epoch| epoch.to_string())),
        ConsumerRecord::TargetEpoch(epoch) => {
            format!("target {}", epoch.map_or("-".to_owned(), |epoch| epoch.to_string()))
        }
        ConsumerRecord::Topics(None) => "topics -".to_owned(),
        ConsumerRecord::Topics(Some(topics)) => {
            let topics: Vec<String> =
                topics.iter().map(|topic| format!("{}/{}", topic.name, topic.partitions)).collect();
            format!("topics {}", topics.join(","))
        }
        ConsumerRecord::Member(id, None) => format!("member {id} -"),
        ConsumerRecord::Member(id, Some(member)) => {
            let topics: Vec<&str> = member.topics.iter().map(String::as_str).collect();
            let classic = if member.classic.is_some() { " classic" } else { "" };
            format!(
                "member {id} {}{}{classic}",
                topics.join(","),
                member.regex.as_ref().map_or(String::new(), |r| format!("/{r}/"))
            )
        }
        ConsumerRecord::Target(id, partitions) => {
            format!("target {id} {}", partitions.as_ref().map_or("-".to_owned(), show))
        }
        ConsumerRecord::Current(id, None) => format!("current {id} -"),
        ConsumerRecord::Current(id, Some(current)) => {
            let revoking = if current.revoking.is_empty() {
                String::new()
            } else {
                format!(" without {}", show(&current.revoking))
            };
            let (epoch, previous) = (current.epoch, current.previous_epoch);
            format!("current {id} {epoch}<{previous} {:?} [{}]{revoking}", current.state, show(&current.assigned))
        }
    }
}

fn check(more: &str, script: &[(&str, &[&str])]) {
    let mut bench = Bench::new(more);
    for (line, expected) in script {
        assert_eq!(bench.run(line), *expected, "{line}");
    }
}

#[test]
fn a_group_has_a_session_timeout_of_its_own() {
    check(
        "",
        &[
            ("set consumer.session.timeout.ms=50000", &[]),
            (
                "beat m=a",
                &[
                    "member a t",
                    "topics t/4",
                    "epoch 1",
                    "target a t:0+1+2+3",
                    "target 1",
                    "current a 1<0 Stable [t:0+1+2+3]",
                    "a 1 [t:0+1+2+3]",
                ],
            ),
            ("wait 49999", &[]),
            ("wait 1", &["current a -", "target a -", "member a -", "topics ", "epoch 2"]),
        ],
    );
}

#[test]
fn a_member_joins_a_second_one_takes_its_half_and_leaves() {
    check(
        "",
        &[
            (
                "beat m=a",
                &[
                    "member a t",
                    "topics t/4",
                    "epoch 1",
                    "target a t:0+1+2+3",
                    "target 1",
                    "current a 1<0 Stable [t:0+1+2+3]",
                    "a 1 [t:0+1+2+3]",
                ],
            ),
            ("beat m=a e=1", &["a 1 [as before]"]),
            ("beat m=a e=1 topics=t owned=t:0+1+2+3 rebalance=1000", &["a 1 [t:0+1+2+3]"]),
            (
                "beat m=b",
                &[
                    "member b t",
                    "epoch 2",
                    "target a t:0+1",
                    "target b t:2+3",
                    "target 2",
                    "current b 2<0 Unreleased []",
                    "b 2 []",
                ],
            ),
            ("beat m=b e=2", &["current b 2<2 Unreleased []", "b 2 [as before]"]),
            ("beat m=b e=2", &["b 2 [as before]"]),
            ("beat m=a e=1", &["current a 1<1 Unrevoked [t:0+1] without t:2+3", "a 1 [t:0+1]"]),
            ("describe", &["Reconciling 2/2 uniform", "a 1 has t:[0, 1] shall t:[0, 1]", "b 2 has  shall t:[2, 3]"]),
            ("beat m=a e=1 owned=t:0+1+2", &["a 1 [as before]"]),
            ("beat m=b e=2", &["b 2 [as before]"]),
            ("beat m=a e=1 owned=t:0+1", &["current a 2<1 Stable [t:0+1]", "a 2 [as before]"]),
            ("beat m=b e=2", &["current b 2<2 Stable [t:2+3]", "b 2 [t:2+3]"]),
            ("list", &["g consumer consumer Stable"]),
            ("classic", &["OtherProtocol"]),
            // The answer with epoch 2 was lost; what it has is its own.
            ("beat m=a e=1 owned=t:0", &["a 2 [as before]"]),
            ("beat m=b e=-1", &["current b -", "target b -", "member b -", "epoch 3", "b -1 [as before]"]),
            (
                "beat m=a e=2",
                &["target a t:0+1+2+3", "target 3", "current a 3<2 Stable [t:0+1+2+3]", "a 3 [t:0+1+2+3]"],
            ),
            ("delete", &["Err(NotEmpty)"]),
            ("beat m=a e=-1", &["current a -", "target a -", "member a -", "topics ", "epoch 4", "a -1 [as before]"]),
            ("list", &["g consumer consumer Empty"]),
            ("delete", &["target -", "topics -", "epoch -", "Ok(())"]),
            ("list", &[]),
        ],
    );
}

#[test]
fn wrong_members_and_epochs_are_refused() {
    check(
        "",
        &[
            ("beat m=a e=1", &["NotFound: Consumer group g not found."]),
            (
                "beat m=a topics=t rebalance=-1",
                &["InvalidRequest: RebalanceTimeoutMs must be provided in first request."],
            ),
            ("beat m=a owned=t:0", &["InvalidRequest: TopicPartitions must be empty when (re-)joining."]),
            ("beat e=1", &["InvalidRequest: MemberId can't be empty."]),
            ("beat m=a e=-2", &["InvalidRequest: InstanceId can't be null."]),
            ("beat m=a e=-3", &["InvalidRequest: MemberEpoch is invalid."]),
            (
                "beat m=a assignor=x",
                &["UnsupportedAssignor: ServerAssignor x is not supported. Supported assignors: uniform, range."],
            ),
            ("list", &[]),
            (
                "beat m=a topics=",
                &["member a ", "epoch 1", "target a ", "target 1", "current a 1<0 Stable []", "a 1 []"],
            ),
            ("beat m=b e=1", &["UnknownMember: Member b is not a member of group g."]),
            ("beat m=b e=-1", &["UnknownMember: Member b is not a member of group g."]),
            (
                "beat m=a e=2",
                &["FencedEpoch: The consumer group member has a greater member epoch (2) than the one known by the \
                   group coordinator (1). The member must abandon all its partitions and rejoin."],
            ),
            // Joining again is joining for the first time as long as it cannot have heard more.
            (
                "beat m=a",
                &[
                    "member a t",
                    "topics t/4",
                    "epoch 2",
                    "target a t:0+1+2+3",
                    "target 2",
                    "current a 2<1 Stable [t:0+1+2+3]",
                    "a 2 [t:0+1+2+3]",
                ],
            ),
            (
                "beat m=a",
                &["FencedEpoch: The consumer group member has a smaller member epoch (0) than the one known by the \
                   group coordinator (2). The member must abandon all its partitions and rejoin."],
            ),
            ("commit m=a e=2", &["Ok(())"]),
            ("commit m=a e=1", &["Err(StaleEpoch)"]),
            ("txn-commit m=a e=1", &["Err(IllegalGeneration)"]),
            ("commit m=b e=2", &["Err(UnknownMember)"]),
            ("commit m=a e=2 version=8", &["Err(UnsupportedVersion)"]),
            ("commit", &["Err(UnknownMember)"]),
            ("fetch", &["1 offsets"]),
            ("fetch m=a e=2", &["1 offsets"]),
            ("fetch m=a e=1", &["StaleEpoch"]),
            ("fetch m=b e=1", &["UnknownMember"]),
        ],
    );
}

#[test]
fn members_that_are_silent_or_keep_partitions_are_removed() {
    check(
        "",
        &[
            ("refuse", &[]),
            ("beat m=a", &["NotAvailable: "]),
            ("list", &[]),
            ("accept", &[]),
            (
                "beat m=a",
                &[
                    "member a t",
                    "topics t/4",
                    "epoch 1",
                    "target a t:0+1+2+3",
                    "target 1",
                    "current a 1<0 Stable [t:0+1+2+3]",
                    "a 1 [t:0+1+2+3]",
                ],
            ),
            (
                "beat m=b",
                &[
                    "member b t",
                    "epoch 2",
                    "target a t:0+1",
                    "target b t:2+3",
                    "target 2",
                    "current b 2<0 Unreleased []",
                    "b 2 []",
                ],
            ),
            ("wait 44000", &[]),
            ("beat m=a e=1", &["current a 1<1 Unrevoked [t:0+1] without t:2+3", "a 1 [t:0+1]"]),
            ("refuse", &[]),
            ("wait 1000", &[]),
            ("accept", &[]),
            // Both: `b` was silent for 45 s, and `a` kept `b` waiting for more than its 1000 ms.
            (
                "wait 500",
                &[
                    "current a -",
                    "target a -",
                    "member a -",
                    "current b -",
                    "target b -",
                    "member b -",
                    "topics ",
                    "epoch 3",
                ],
            ),
            ("list", &["g consumer consumer Empty"]),
        ],
    );
}

#[test]
fn a_static_member_comes_back_to_what_it_had() {
    check(
        "",
        &[
            (
                "beat m=a instance=i",
                &[
                    "member a t",
                    "topics t/4",
                    "epoch 1",
                    "target a t:0+1+2+3",
                    "target 1",
                    "current a 1<0 Stable [t:0+1+2+3]",
                    "a 1 [t:0+1+2+3]",
                ],
            ),
            (
                "beat m=b instance=i",
                &[
                    "UnreleasedInstance: Static member b with instance id i cannot join the group because the instance id is \
                   owned by a member.",
                ],
            ),
            (
                "beat m=b e=1 instance=i",
                &["FencedInstance: Static member b with instance id i was fenced by member a."],
            ),
            ("beat m=b e=1 instance=j", &["UnknownMember: Instance id j is unknown."]),
            ("beat m=a e=-2 instance=i", &["current a -2<0 Stable [t:0+1+2+3]", "a -2 [as before]"]),
            ("describe", &["Reconciling 1/1 uniform", "a -2 has t:[0, 1, 2, 3] shall t:[0, 1, 2, 3]"]),
            ("lead 2", &[]),
            (
                "beat m=b instance=i",
                &[
                    "current a -",
                    "target a -",
                    "member a -",
                    "member b t",
                    "target b t:0+1+2+3",
                    "current b 0<0 Stable [t:0+1+2+3]",
                    "current b 1<0 Stable [t:0+1+2+3]",
                    "b 1 [t:0+1+2+3]",
                ],
            ),
            ("describe", &["Stable 1/1 uniform", "b 1 has t:[0, 1, 2, 3] shall t:[0, 1, 2, 3]"]),
            // Back again, but not in time.
            ("beat m=b e=-2 instance=i", &["current b -2<0 Stable [t:0+1+2+3]", "b -2 [as before]"]),
            ("wait 45000", &["current b -", "target b -", "member b -", "topics ", "epoch 2"]),
        ],
    );
}

#[test]
fn members_that_are_silent_together_go_together() {
    let mut bench = Bench::new("");
    for id in ["a", "b", "c"] {
        bench.run(&format!("beat m={id}"));
    }
    bench.run("wait 44000");
    bench.run("beat m=c e=3");
    assert_eq!(
        bench.run("wait 1000"),
        ["current a -", "target a -", "member a -", "current b -", "target b -", "member b -", "epoch 4"]
    );
    bench.run("refuse");
    assert_eq!(bench.run("wait 44000"), Vec::<String>::new());
    bench.run("accept");
    assert_eq!(bench.run("wait 500"), ["current c -", "target c -", "member c -", "topics ", "epoch 5"]);
}

#[test]
fn a_group_has_no_more_than_so_many_patterns() {
    let mut bench = Bench::new("group.consumer.max.size=100");
    for number in 0..32 {
        bench.run(&format!("beat m=m{number:02} regex=t{{1,{}}}", number + 1));
    }
    let full = ["InvalidRegex: The members of the group have 32 different regular expressions already."];
    assert_eq!(bench.run("beat m=a regex=t+"), full);
    assert_eq!(bench.run("beat m=z regex=t+"), full);
    assert_eq!(bench.run("beat m=m05 e=6 regex=u")[0], "member m05 /u/");
    assert_eq!(bench.run("beat m=a regex=u")[0], "member a /u/");
    bench.run("topics t:5,u:3");
    assert_eq!(bench.run("beat m=m05 e=33")[0], "topics t/5,u/3");
}

#[test]
fn topics_and_patterns_are_followed() {
    check(
        "",
        &[
            (
                "beat m=a regex=t|u",
                &[
                    "member a /t|u/",
                    "topics t/4,u/2",
                    "epoch 1",
                    "target a t:0+1+2+3,u:0+1",
                    "target 1",
                    "current a 1<0 Stable [t:0+1+2+3,u:0+1]",
                    "a 1 [t:0+1+2+3,u:0+1]",
                ],
            ),
            (
                "beat m=b topics=u assignor=range",
                &[
                    "member b u",
                    "epoch 2",
                    "target a t:0+1+2+3,u:0",
                    "target b u:1",
                    "target 2",
                    "current b 2<0 Unreleased []",
                    "b 2 []",
                ],
            ),
            (
                "beat m=c regex=(",
                &["InvalidRegex: SubscribedTopicRegex `(` is not a valid regular expression: unclosed group."],
            ),
            ("topics t:4,u:3", &[]),
            ("lead 2", &[]),
            (
                "beat m=b e=2",
                &[
                    "topics t/4,u/3",
                    "epoch 3",
                    "target a t:0+1+2+3,u:0+1",
                    "target b u:2",
                    "target 3",
                    "current b 3<2 Stable [u:2]",
                    "b 3 [u:2]",
                ],
            ),
            ("topics t:4,u:0", &[]),
            (
                "beat m=a e=1",
                &[
                    "topics t/4",
                    "epoch 4",
                    "target a t:0+1+2+3",
                    "target b ",
                    "target 4",
                    "current a 1<1 Unrevoked [t:0+1+2+3] without u:0+1",
                    "a 1 [t:0+1+2+3]",
                ],
            ),
            ("beat m=b e=3 owned=", &["current b 4<3 Stable []", "b 4 []"]),
        ],
    );
}

#[test]
fn what_is_not_replicated_is_not_told_and_a_group_is_loaded_as_it_was() {
    check(
        "",
        &[
            ("hold", &[]),
            (
                "beat m=a",
                &[
                    "member a t",
                    "topics t/4",
                    "epoch 1",
                    "target a t:0+1+2+3",
                    "target 1",
                    "current a 1<0 Stable [t:0+1+2+3]",
                ],
            ),
            ("beat m=a e=1", &[]),
            (
                "beat m=b",
                &[
                    "member b t",
                    "epoch 2",
                    "target a t:0+1",
                    "target b t:2+3",
                    "target 2",
                    "current b 2<0 Unreleased []",
                ],
            ),
            ("release", &["a 1 [t:0+1+2+3]", "a 1 [as before]", "b 2 []"]),
            ("beat m=a e=1", &["current a 1<1 Unrevoked [t:0+1] without t:2+3", "a 1 [t:0+1]"]),
            ("lead 2", &[]),
            ("describe", &["Reconciling 2/2 uniform", "a 1 has t:[0, 1] shall t:[0, 1]", "b 2 has  shall t:[2, 3]"]),
            ("beat m=b e=2", &["current b 2<2 Unreleased []", "b 2 [as before]"]),
            ("wait 999", &[]),
            // The time to give up partitions began again with the load.
            ("wait 1", &["current a -", "target a -", "member a -", "epoch 3"]),
            (
                "beat m=c",
                &["member c t", "epoch 4", "target c t:0+1", "target 4", "current c 4<0 Stable [t:0+1]", "c 4 [t:0+1]"],
            ),
            (
                "beat m=d",
                &[
                    "member d t",
                    "epoch 5",
                    "target c t:0",
                    "target d t:1",
                    "target 5",
                    "current d 5<0 Unreleased []",
                    "d 5 []",
                ],
            ),
            ("beat m=e", &["GroupFull: The consumer group has reached its maximum capacity of 3 members."]),
        ],
    );
}

/// What SyncGroup answers about `t`, behind version and number of topics.
fn synced(numbers: &[i32]) -> String {
    let mut bytes = b"\0\x01t".to_vec();
    bytes.extend(i32::try_from(numbers.len()).unwrap().to_be_bytes());
    bytes.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    bytes.extend([0xff; 4]);
    format!("Ok({:?})", Bytes::from(bytes))
}

#[test]
fn a_group_goes_to_the_new_protocol_and_back() {
    let (all, half) = (synced(&[0, 1, 2, 3]), synced(&[0, 1]));
    check(
        "group.initial.rebalance.delay.ms=0",
        &[
            ("classic-join", &["m1 Ok((1, \"range\"))"]),
            ("classic-sync m=m1 e=1 all=t:0+1+2+3", &["classic g 1", &all]),
            (
                "beat m=a",
                &[
                    "classic g -",
                    "member m1 t classic",
                    "epoch 1",
                    "target m1 t:0+1+2+3",
                    "target 1",
                    "current m1 1<1 Stable [t:0+1+2+3]",
                    "member a t",
                    "topics t/4",
                    "epoch 2",
                    "target a t:2+3",
                    "target m1 t:0+1",
                    "target 2",
                    "current a 2<0 Unreleased []",
                    "a 2 []",
                ],
            ),
            ("list", &["g consumer consumer Reconciling"]),
            ("classic-beat m=m1 e=1", &["Err(RebalanceInProgress)"]),
            (
                "classic-join m=m1 owned=t:0+1+2+3",
                &["member m1 t classic", "current m1 1<1 Unrevoked [t:0+1] without t:2+3", "m1 Ok((1, \"range\"))"],
            ),
            ("classic-sync m=m1 e=1", &[&half]),
            ("classic-beat m=m1 e=1", &["Err(RebalanceInProgress)"]),
            (
                "classic-join m=m1 owned=t:0+1",
                &["member m1 t classic", "current m1 2<1 Stable [t:0+1]", "m1 Ok((2, \"range\"))"],
            ),
            ("classic-sync m=m1 e=2", &[&half]),
            ("classic-beat m=m1 e=2", &["Ok(())"]),
            ("classic-beat m=m1 e=1", &["Err(IllegalGeneration)"]),
            ("classic-beat m=a e=2", &["Err(UnknownMember)"]),
            ("beat m=a e=2", &["current a 2<2 Stable [t:2+3]", "a 2 [t:2+3]"]),
            ("commit m=m1 e=2 version=8", &["Ok(())"]),
            ("commit m=m1 e=1 version=8", &["Err(IllegalGeneration)"]),
            ("lead 2", &[]),
            ("classic-beat m=m1 e=2", &["Ok(())"]),
            (
                "beat m=a e=-1",
                &[
                    "current a -",
                    "target a -",
                    "member a -",
                    "epoch 3",
                    "current m1 -",
                    "target m1 -",
                    "target -",
                    "member m1 -",
                    "topics -",
                    "epoch -",
                    "classic g 3",
                    "a -1 [as before]",
                ],
            ),
            ("list", &["g classic consumer PreparingRebalance"]),
            ("lead 3", &[]),
            ("list", &["g classic consumer Stable"]),
            ("classic-beat m=m1 e=3", &["Ok(())"]),
        ],
    );
}

#[test]
fn members_of_the_classic_protocol_come_and_go_in_a_group_of_the_new_one() {
    check(
        "",
        &[
            (
                "beat m=a",
                &[
                    "member a t",
                    "topics t/4",
                    "epoch 1",
                    "target a t:0+1+2+3",
                    "target 1",
                    "current a 1<0 Stable [t:0+1+2+3]",
                    "a 1 [t:0+1+2+3]",
                ],
            ),
            ("classic-join type=connect", &[" Err(InconsistentProtocol)"]),
            (
                "classic-join m=x",
                &[
                    "member m1 t classic",
                    "epoch 2",
                    "target a t:0+1",
                    "target m1 t:2+3",
                    "target 2",
                    "current m1 2<0 Unreleased []",
                    "m1 Ok((2, \"range\"))",
                ],
            ),
            ("classic-beat m=m1 e=2", &["Ok(())"]),
            ("beat m=a e=1", &["current a 1<1 Unrevoked [t:0+1] without t:2+3", "a 1 [t:0+1]"]),
            ("beat m=a e=1 owned=t:0+1", &["current a 2<1 Stable [t:0+1]", "a 2 [as before]"]),
            ("classic-beat m=m1 e=2", &["Err(RebalanceInProgress)"]),
            ("classic-join m=m1", &["current m1 2<2 Stable [t:2+3]", "m1 Ok((2, \"range\"))"]),
            // It does not sync within its 1000 ms.
            ("wait 1000", &["current m1 -", "target m1 -", "member m1 -", "epoch 3"]),
            ("classic-leave m=a", &["Ok([Err(UnknownMember)])"]),
            ("beat m=a e=-1", &["current a -", "target a -", "member a -", "topics ", "epoch 4", "a -1 [as before]"]),
            ("classic-join m=x", &["m1 Err(UnknownMember)"]),
        ],
    );
}
