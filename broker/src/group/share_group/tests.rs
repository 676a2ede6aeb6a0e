//! Scripts: what is asked on the left; on the right what was recorded, in order, and what is answered. Topic `t` has id 1, `u`
//! id 2; partitions are written `t:0+1,u:0`.

use crate::config::{BrokerConfig, GroupConfigs};
use crate::group::consumer_group::tests::Table;
use crate::group::share_records::{NamedPartitions, ShareRecord};
use crate::group::*;
use crate::journal::memory::MemoryJournal;
use common::kafka::batch;
use common::properties::Properties;
use common::time::WallMillis;
use consumer_records::Partitions;
use records::GroupRecord;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

struct Bench {
    config: BrokerConfig,
    configs: Arc<GroupConfigs>,
    groups: Groups,
    log: Arc<MemoryJournal>,
    topics: Table,
    now: Now,
    is_held: bool,
    shown: usize,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    fn new() -> Bench {
        let text = "zookeeper.connect=x\ngroup.share.max.size=2\ngroup.share.session.timeout.ms=45000";
        let config = BrokerConfig::parse(&Properties::parse(text, "f")).unwrap().0;
        let configs = Arc::new(GroupConfigs::new(&config));
        let mut bench = Bench {
            groups: Groups::new(GroupSettings::of(&config, configs.clone()), Rng::with_seed(1)),
            config,
            configs,
            log: Arc::default(),
            topics: Table(Mutex::new(vec![("t", 2), ("u", 1)])),
            now: Now { mono: Millis(0), wall: WallMillis(1_000_000) },
            is_held: false,
            shown: 0,
            heard: Arc::default(),
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

    fn say(&self, text: String) {
        self.heard.lock().push(text);
    }

    fn run(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "beat" => self.beat(&words),
            "made" | "failed" => {
                let is_made = words[0] == "made";
                let results = places(words[1]).into_iter().map(|(topic, number)| (topic, number, is_made)).collect();
                let waiter = self.waiter(|()| "told".to_owned());
                self.call(|groups, io| {
                    groups.share_states_made("g", &results, Box::new(|r| waiter(r.map_err(Into::into))), io)
                });
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
                let names = ["t".to_owned(), "u".to_owned()];
                let gone = self.call(|groups, io| groups.on_shared_topics_changed(&names, io));
                for (group, gone) in gone {
                    self.say(format!("{group} without {}", show_places(&gone)));
                }
            }
            "set" => {
                let (key, value) = words[1].split_once('=').unwrap();
                let own = BTreeMap::from([(key.to_owned(), value.to_owned())]);
                assert_eq!(self.configs.set(&self.config, "g", &own), []);
            }
            "lead" => self.lead(words[1].parse().unwrap()),
            "hold" => self.is_held = true,
            "release" => {
                self.is_held = false;
                self.call(|_, _| {});
            }
            "refuse" => *self.log.refuses.lock() = Some(StoreError::NotEnoughReplicas),
            "accept" => *self.log.refuses.lock() = None,
            _ => self.run_admin(&words),
        }
        let mut all = self.recorded();
        all.append(&mut self.heard.lock());
        all
    }

    fn beat(&mut self, words: &[&str]) {
        let get = |key: &str| words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let epoch = get("e").map_or(0, |text| text.parse().unwrap());
        let topics = get("topics").or(if epoch == 0 { Some("t") } else { None });
        let names = |names: &str| names.split(',').filter(|n| !n.is_empty()).map(str::to_owned).collect();
        let input = ShareHeartbeatInput {
            member_id: get("m").unwrap_or_default().to_owned(),
            epoch,
            rack_id: get("rack").map(str::to_owned),
            client_id: "c".to_owned(),
            client_host: "/h".to_owned(),
            topics: topics.map(names),
        };
        let heard = self.heard.clone();
        let waiter = Box::new(move |result: ShareHeartbeatResult| {
            heard.lock().push(match result {
                Ok(output) => {
                    let assigned = output.assignment.as_ref().map_or("as before".to_owned(), show);
                    let mut make = Partitions::new();
                    for (topic, number, start) in &output.initialize.partitions {
                        assert_eq!(*start, -1);
                        make.entry(*topic).or_default().insert(*number);
                    }
                    let make = if make.is_empty() { String::new() } else { format!(" make {}", show(&make)) };
                    format!("{} {} [{assigned}] {}{make}", output.member_id, output.epoch, output.interval_ms)
                }
                Err(refusal) => format!("{:?}: {}", refusal.error, refusal.message),
            });
        });
        self.call(|groups, io| groups.share_heartbeat(get("g").unwrap_or("g"), &input, waiter, io));
    }

    fn waiter<T: 'static>(&self, show: impl FnOnce(T) -> String + Send + 'static) -> Waiter<Result<T, Refusal>> {
        let heard = self.heard.clone();
        Box::new(move |result| {
            let text = match result {
                Ok(value) => show(value),
                Err(refusal) => format!("{:?}: {}", refusal.error, refusal.message),
            };
            heard.lock().push(text);
        })
    }

    fn run_admin(&mut self, words: &[&str]) {
        match words[0] {
            "alter" => {
                let topic = |part: &str| {
                    let (name, rest) = part.split_once(':').unwrap();
                    let one = |text: &str| {
                        let (number, offset) = text.split_once('@').unwrap();
                        (number.parse().unwrap(), offset.parse().unwrap())
                    };
                    (name.to_owned(), rest.split('+').map(one).collect())
                };
                let wanted = words[1].split(',').map(topic).collect();
                let waiter = self.waiter(|found: Alteration| {
                    let topic = |topic: &AlteredTopic| format!("{}:{:?}", topic.name, topic.partitions);
                    let topics: Vec<String> = found.topics.iter().map(topic).collect();
                    let make = found.initialize.partitions.iter().map(|(t, n, o)| format!("{}:{n}@{o}", name(t)));
                    let make: Vec<String> = make.collect();
                    format!("{} epoch {} make {}", topics.join(" "), found.initialize.epoch, make.join(","))
                });
                self.call(|groups, io| groups.alter_share_offsets("g", wanted, waiter, io));
            }
            "delete-offsets" => {
                let topics = words[1].split(',').map(str::to_owned).collect();
                let waiter = self.waiter(|found: Deletion| {
                    let topics: Vec<String> =
                        found.topics.iter().map(|(_, name, numbers)| format!("{name}:{numbers:?}")).collect();
                    format!("delete {} stateless {:?} missing {:?}", topics.join(" "), found.stateless, found.missing)
                });
                self.call(|groups, io| groups.delete_share_offsets("g", topics, waiter, io));
            }
            "deleted" => {
                let topics = words[1].split(',').map(id).collect();
                let waiter = self.waiter(|()| "told".to_owned());
                self.call(|groups, io| groups.share_states_deleted("g", &topics, waiter, io));
            }
            "delete-states" => {
                let waiter = self.waiter(|found: Option<Vec<(Uuid, i32)>>| {
                    found.map_or("no share group".to_owned(), |found| format!("delete {}", show_places(&found)))
                });
                self.call(|groups, io| groups.delete_share_states("g", waiter, io));
            }
            "delete" => {
                let heard = self.heard.clone();
                let waiter = Box::new(move |result| heard.lock().push(format!("{result:?}")));
                self.call(|groups, io| groups.delete_group("g", waiter, io));
            }
            "describe" => {
                let found = self.call(|groups, io| groups.describe_share("g", io)).unwrap();
                let Described::Found(group) = found else { return self.say(format!("{found:?}")) };
                self.say(format!("{} {}/{} {}", group.state, group.epoch, group.target_epoch, group.assignor));
                for member in group.members {
                    let topic = |topic: &AssignedTopic| format!("{}:{:?}", topic.name, topic.partitions);
                    let assigned: Vec<String> = member.assigned.iter().map(topic).collect();
                    self.say(format!("{} {} has {}", member.member_id, member.epoch, assigned.join(" ")));
                }
            }
            "states" => {
                let found = self.call(|groups, io| groups.initialized_share_partitions("g", io)).unwrap();
                self.say(show(&found));
            }
            "list" => {
                for group in self.groups.list().0 {
                    let Listed { group_id, protocol_type, state, group_type } = group;
                    self.say(format!("{group_id} {group_type} {protocol_type} {state}"));
                }
            }
            "others" => self.run_others(),
            other => panic!("{other}"),
        }
    }

    /// What members of groups of other kinds hear.
    fn run_others(&mut self) {
        let sender = Sender { member_id: "m".to_owned(), instance_id: None, generation: 1 };
        let found = self.call(|groups, io| groups.heartbeat("g", &sender, io));
        self.say(format!("{found:?}"));
        let heard = self.heard.clone();
        let waiter = Box::new(move |result: JoinResult| heard.lock().push(format!("{:?}", result.outcome.err())));
        let input = JoinInput { session_timeout_ms: 10_000, ..JoinInput::default() };
        self.call(|groups, io| groups.join("g", input, waiter, io));
        let heard = self.heard.clone();
        let waiter = Box::new(move |results: CommitResult| heard.lock().push(format!("{:?}", results[0].1)));
        let place = ("t".to_owned(), 0);
        let input = CommitInput {
            group_id: "g".to_owned(),
            sender: Sender { generation: -1, ..sender },
            offsets: vec![(place, OffsetValue::default())],
            ..CommitInput::default()
        };
        self.call(|groups, io| groups.commit(input, waiter, io));
        let found = self.call(|groups, io| groups.fetch_offsets(("g", (None, -1)), None, false, io));
        self.say(format!("{found:?}"));
        let heard = self.heard.clone();
        let waiter = Box::new(move |result: HeartbeatResult| heard.lock().push(result.unwrap_err().message));
        let input = HeartbeatInput {
            member_id: "m".to_owned(),
            rebalance_timeout_ms: 1,
            topics: Some(BTreeSet::new()),
            owned: Some(Partitions::new()),
            ..HeartbeatInput::default()
        };
        self.call(|groups, io| groups.consumer_heartbeat("g", &input, waiter, io));
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
                    GroupRecord::Share(_, record) => show_record(&record),
                    other => panic!("{other:?}"),
                });
            }
        }
        all
    }
}

fn name(id: &Uuid) -> &'static str {
    ["t", "u"][id.as_u128() as usize - 1]
}

fn id(name: &str) -> Uuid {
    Uuid::from_u128(if name == "t" { 1 } else { 2 })
}

fn places(text: &str) -> Vec<(Uuid, i32)> {
    let of_topic = |part: &str| {
        let (name, numbers) = part.split_once(':').unwrap();
        let id = id(name);
        numbers.split('+').map(|number| (id, number.parse().unwrap())).collect::<Vec<_>>()
    };
    text.split(',').flat_map(of_topic).collect()
}

fn show_places(places: &[(Uuid, i32)]) -> String {
    let mut partitions = Partitions::new();
    for (topic, number) in places {
        partitions.entry(*topic).or_default().insert(*number);
    }
    show(&partitions)
}

fn show(partitions: &Partitions) -> String {
    let topic = |(id, numbers): (&Uuid, &BTreeSet<i32>)| {
        let numbers: Vec<String> = numbers.iter().map(i32::to_string).collect();
        format!("{}:{}", name(id), numbers.join("+"))
    };
    partitions.iter().map(topic).collect::<Vec<_>>().join(",")
}

fn show_record(record: &ShareRecord) -> String {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    match record {
        ShareRecord::Member(id, member) => {
            let topics = |m: &share_records::ShareMemberValue| m.topics.iter().cloned().collect::<Vec<_>>().join(",");
            format!("member {id} {}", or_none(member.as_ref().map(topics)))
        }
        ShareRecord::Epoch(epoch) => format!("epoch {}", or_none(epoch.map(|epoch| epoch.epoch.to_string()))),
        ShareRecord::TargetEpoch(epoch) => format!("target {}", or_none(epoch.map(|epoch| epoch.to_string()))),
        ShareRecord::Target(id, target) => format!("target {id} {}", or_none(target.as_ref().map(show))),
        ShareRecord::Current(id, None) => format!("current {id} -"),
        ShareRecord::Current(id, Some(current)) => {
            format!("current {id} {}<{} [{}]", current.epoch, current.previous_epoch, show(&current.assigned))
        }
        ShareRecord::States(None) => "states -".to_owned(),
        ShareRecord::States(Some(states)) => {
            let of = |topics: &BTreeMap<Uuid, NamedPartitions>| {
                show(&topics.iter().map(|(id, topic)| (*id, topic.partitions.clone())).collect())
            };
            let deleting: Vec<&str> = states.deleting.values().map(String::as_str).collect();
            let (making, made) = (of(&states.initializing), of(&states.initialized));
            format!("states making [{making}] made [{made}] deleting [{}]", deleting.join(","))
        }
    }
}

fn check(script: &[(&str, &[&str])]) {
    let mut bench = Bench::new();
    for (line, expected) in script {
        assert_eq!(bench.run(line), *expected, "{line}");
    }
}

/// A member has both partitions of `t`.
const ONE: [(&str, &[&str]); 3] = [
    (
        "beat m=a",
        &[
            "member a t",
            "epoch 1",
            "target a ",
            "target 1",
            "current a 1<0 []",
            "states making [t:0+1] made [] deleting []",
            "a 1 [] 500 make t:0+1",
        ],
    ),
    ("made t:0+1", &["states making [] made [t:0+1] deleting []", "told"]),
    ("beat m=a e=1", &["epoch 2", "target a t:0+1", "target 2", "current a 2<1 [t:0+1]", "a 2 [t:0+1] 5000"]),
];

fn after_one(script: &[(&str, &[&str])]) {
    check(&ONE.iter().chain(script).copied().collect::<Vec<_>>());
}

#[test]
fn a_member_is_given_partitions_once_they_have_states_and_shares_them() {
    after_one(&[
        ("beat m=a e=2", &["a 2 [as before] 5000"]),
        // An answer was lost.
        ("beat m=a e=1", &["a 2 [as before] 5000"]),
        ("beat m=a e=2 topics=t", &["a 2 [t:0+1] 5000"]),
        (
            "beat m=b",
            &[
                "member b t",
                "epoch 3",
                "target a t:0",
                "target b t:1",
                "target 3",
                "current b 3<0 [t:1]",
                "b 3 [t:1] 5000",
            ],
        ),
        ("describe", &["Stable 3/3 simple", "a 2 has t:[0, 1]", "b 3 has t:[1]"]),
        ("beat m=a e=2", &["current a 3<2 [t:0]", "a 3 [t:0] 5000"]),
        ("beat m=c", &["GroupFull: The share group has reached its maximum capacity of 2 members."]),
        ("beat m=b e=-1", &["current b -", "target b -", "member b -", "epoch 4", "b -1 [as before] 0"]),
        ("beat m=a e=3", &["target a t:0+1", "target 4", "current a 4<3 [t:0+1]", "a 4 [t:0+1] 5000"]),
        ("list", &["g share share Stable"]),
    ]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    after_one(&[
        ("beat m=b e=1", &["UnknownMember: Member b is not a member of group g."]),
        (
            "beat m=a e=3",
            &["FencedEpoch: The share group member has a greater member epoch (3) than the one known by the group \
               coordinator (2). The member must abandon all its partitions and rejoin."],
        ),
        ("beat m=a e=0", &["a 2 [t:0+1] 5000"]),
        ("beat m=a e=0 topics=", &["InvalidRequest: SubscribedTopicNames must be set in first request."]),
        ("beat m=a e=-2", &["InvalidRequest: MemberEpoch is invalid."]),
        ("beat e=1", &["InvalidRequest: MemberId can't be empty."]),
        ("beat g=h m=a e=1", &["NotFound: Share group h not found."]),
        ("alter t:0@5", &["NotEmpty: "]),
        ("delete-offsets t", &["NotEmpty: "]),
        ("delete-states", &["NotEmpty: "]),
        (
            "others",
            &[
                "Err(UnknownMember)",
                "Some(InconsistentProtocol)",
                "Err(NotFound)",
                "Err(NotFound)",
                "Group g is not a consumer group.",
            ],
        ),
    ]);
}

#[test]
fn silent_members_are_removed_after_the_time_of_their_group() {
    after_one(&[
        ("wait 44999", &[]),
        ("wait 1", &["current a -", "target a -", "member a -", "epoch 3"]),
        ("describe", &["Empty 3/2 simple"]),
        ("set share.session.timeout.ms=50000", &[]),
        (
            "beat m=a",
            &["member a t", "epoch 4", "target a t:0+1", "target 4", "current a 4<0 [t:0+1]", "a 4 [t:0+1] 5000"],
        ),
        ("wait 49999", &[]),
        ("refuse", &[]),
        ("wait 1", &[]),
        ("accept", &[]),
        ("wait 500", &["current a -", "target a -", "member a -", "epoch 5"]),
        // Only somebody who deletes it ends a share group.
        ("wait 700000000", &[]),
        ("list", &["g share share Empty"]),
    ]);
}

#[test]
fn states_are_asked_for_again_and_for_what_is_new() {
    check(&[
        (
            "beat m=a",
            &[
                "member a t",
                "epoch 1",
                "target a ",
                "target 1",
                "current a 1<0 []",
                "states making [t:0+1] made [] deleting []",
                "a 1 [] 500 make t:0+1",
            ],
        ),
        ("beat m=a e=1", &["a 1 [as before] 500"]),
        // No answer.
        ("wait 30000", &[]),
        ("beat m=a e=1", &["states making [t:0+1] made [] deleting []", "a 1 [as before] 500 make t:0+1"]),
        ("made t:0", &["states making [t:1] made [t:0] deleting []", "told"]),
        ("failed t:1", &["states making [] made [t:0] deleting []", "told"]),
        (
            "beat m=a e=1",
            &[
                "epoch 2",
                "target a t:0",
                "target 2",
                "current a 2<1 [t:0]",
                "states making [t:1] made [t:0] deleting []",
                "a 2 [t:0] 500 make t:1",
            ],
        ),
        // Another coordinator has heard nothing.
        ("lead 2", &[]),
        ("beat m=a e=2", &["states making [t:1] made [t:0] deleting []", "a 2 [as before] 500 make t:1"]),
        ("made t:1", &["states making [] made [t:0+1] deleting []", "told"]),
        (
            "beat m=a e=2 topics=t,u",
            &[
                "member a t,u",
                "epoch 3",
                "target a t:0+1",
                "target 3",
                "current a 3<2 [t:0+1]",
                "states making [u:0] made [t:0+1] deleting []",
                "a 3 [t:0+1] 500 make u:0",
            ],
        ),
        ("topics t:3,u:1", &[]),
        (
            "beat m=a e=3",
            &[
                "epoch 4",
                "target 4",
                "current a 4<3 [t:0+1]",
                "states making [t:2,u:0] made [t:0+1] deleting []",
                "a 4 [as before] 500 make t:2",
            ],
        ),
        ("made t:2,u:0", &["states making [] made [t:0+1+2,u:0] deleting []", "told"]),
        (
            "beat m=a e=4",
            &["epoch 5", "target a t:0+1+2,u:0", "target 5", "current a 5<4 [t:0+1+2,u:0]", "a 5 [t:0+1+2,u:0] 5000"],
        ),
        // A topic is deleted.
        ("topics t:0,u:1", &["states making [] made [u:0] deleting []", "g without t:0+1+2"]),
        ("beat m=a e=5", &["epoch 6", "target a u:0", "target 6", "current a 6<5 [u:0]", "a 6 [u:0] 5000"]),
        ("states", &["u:0"]),
    ]);
}

#[test]
fn offsets_are_altered_and_deleted_while_nobody_is_there() {
    check(&[
        (
            "alter t:0@5+2@1,x:0@1",
            &["states making [t:0] made [] deleting []", "t:[(0, true), (2, false)] x:[(0, false)] epoch 0 make t:0@5"],
        ),
        ("list", &["g share share Empty"]),
        ("lead 2", &[]),
        ("list", &["g share share Empty"]),
        ("made t:0", &["states making [] made [t:0] deleting []", "told"]),
        (
            "delete-offsets t,u,x",
            &["states making [] made [] deleting [t]", r#"delete t:[0] stateless ["u"] missing ["x"]"#],
        ),
        // Nothing was heard of that.
        ("delete-offsets t", &[r#"delete t:[0, 1] stateless [] missing []"#]),
        ("deleted t", &["states making [] made [] deleting []", "told"]),
        ("delete-offsets t", &[r#"delete  stateless ["t"] missing []"#]),
        // Whoever joins meanwhile does not ask for what the settings say.
        (
            "alter t:0@5+1@6",
            &["states making [t:0+1] made [] deleting []", "t:[(0, true), (1, true)] epoch 0 make t:0@5,t:1@6"],
        ),
        ("beat m=a", &["member a t", "epoch 1", "target a ", "target 1", "current a 1<0 []", "a 1 [] 500"]),
    ]);
}

#[test]
fn a_group_ends_with_its_states() {
    after_one(&[
        ("beat m=a e=-1", &["current a -", "target a -", "member a -", "epoch 3", "a -1 [as before] 0"]),
        ("delete-states", &["states making [] made [] deleting [t]", "delete t:0+1"]),
        // The share coordinator did not; once more.
        ("delete-states", &["states making [] made [] deleting [t]", "delete t:0+1"]),
        ("delete", &["target -", "states -", "epoch -", "Ok(())"]),
        ("list", &[]),
        ("delete-states", &["no share group"]),
        ("lead 2", &[]),
        ("list", &[]),
        ("describe", &["Missing"]),
    ]);
}

#[test]
fn members_come_back_after_a_failover() {
    after_one(&[
        ("lead 2", &[]),
        ("describe", &["Stable 2/2 simple", "a 2 has t:[0, 1]"]),
        ("beat m=a e=2", &["a 2 [as before] 5000"]),
        ("wait 44999", &[]),
        ("beat m=a e=2", &["a 2 [as before] 5000"]),
        ("hold", &[]),
        ("beat m=b", &["member b t", "epoch 3", "target a t:0", "target b t:1", "target 3", "current b 3<0 [t:1]"]),
        ("beat m=b e=3", &[]),
        ("release", &["b 3 [t:1] 5000", "b 3 [as before] 5000"]),
    ]);
}
