//! Scripts: what is asked on the left, exactly what is answered on the right. The topic is number 1 with 2 partitions, the
//! group is `g` throughout.

use super::*;
use crate::group::TopicShape;
use crate::journal::memory::MemoryJournal;
use crate::share::DeliveryState;
use crate::share::records::ShareRecord;
use common::kafka::batch;
use common::time::WallMillis;
use parking_lot::Mutex;
use uuid::Uuid;

const TOPIC: Uuid = Uuid::from_u128(1);

#[derive(Default)]
struct Known(bool);

impl Topics for Known {
    fn topic(&self, name: &str) -> Option<TopicShape> {
        (self.0 && name == "t").then_some(TopicShape { id: TOPIC, partitions: 2 })
    }
    fn name(&self, id: Uuid) -> Option<String> {
        (self.0 && id == TOPIC).then(|| "t".to_owned())
    }
    fn matching(&self, _: &dyn Fn(&str) -> bool) -> Vec<String> {
        Vec::new()
    }
}

struct Bench {
    states: ShareStates,
    log: Arc<MemoryJournal>,
    topics: Known,
    now: Now,
    epoch: i32,
    is_held: bool,
    heard: Arc<Mutex<Vec<String>>>,
}

fn settings() -> Settings {
    Settings {
        updates_per_snapshot: 2,
        load_buffer_bytes: 1000,
        topic_partitions: 1,
        write_timeout_ms: 5_000,
        prune_interval_ms: 60_000,
        cold_snapshot_interval_ms: 300_000,
    }
}

/// `0-9:2x1`.
fn batches(text: &str) -> Vec<StateBatch> {
    let one = |word: &str| {
        let (range, what) = word.split_once(':').unwrap();
        let (first, last) = range.split_once('-').unwrap();
        let (state, count) = what.split_once('x').unwrap();
        StateBatch {
            first: first.parse().unwrap(),
            last: last.parse().unwrap(),
            state: DeliveryState::from_code(state.parse().unwrap()).unwrap(),
            delivery_count: count.parse().unwrap(),
        }
    };
    text.split(',').filter(|word| !word.is_empty()).map(one).collect()
}

fn show(result: &StateResult) -> String {
    match result {
        Err(error) => format!("{error:?}"),
        Ok(reply) if *reply == StateReply::default() => "ok".to_owned(),
        Ok(reply) => {
            let batch = |batch: &StateBatch| {
                format!("{}-{}:{}x{}", batch.first, batch.last, batch.state.code(), batch.delivery_count)
            };
            let batches: Vec<String> = reply.batches.iter().map(batch).collect();
            let StateReply { state_epoch, leader_epoch, start_offset, delivery_complete_count, .. } = reply;
            format!("s{state_epoch} l{leader_epoch} @{start_offset} n{delivery_complete_count} {}", batches.join(","))
        }
    }
}

impl Bench {
    fn new() -> Bench {
        let mut bench = Bench {
            states: ShareStates::new(settings()),
            log: Arc::default(),
            topics: Known(true),
            now: Now { mono: Millis(0), wall: WallMillis(1_000_000) },
            epoch: 0,
            is_held: false,
            heard: Arc::default(),
        };
        bench.lead();
        bench
    }

    /// Another broker takes over, and reads what is there.
    fn lead(&mut self) {
        self.epoch += 1;
        let epoch = self.epoch;
        self.states = ShareStates::new(settings());
        assert!(self.call(|states, io| states.on_leader(0, epoch, io)));
        self.call(|states, io| states.load(0, epoch, io));
    }

    fn call<T>(&mut self, act: impl FnOnce(&ShareStates, &mut Io<'_>) -> T) -> T {
        let log = self.log.clone();
        let mut io = Io::new(log.as_ref(), &self.topics, self.now);
        let outcome = act(&self.states, &mut io);
        let Io { answers, prunes, .. } = io;
        answers.into_iter().for_each(|answer| answer());
        for (_, offset) in prunes {
            self.heard.lock().push(format!("prune {offset}"));
        }
        if !self.is_held {
            let end = *log.next.lock();
            let mut io = Io::new(log.as_ref(), &self.topics, self.now);
            self.states.on_high_watermark(0, end, &mut io);
            io.answers.into_iter().for_each(|answer| answer());
        }
        outcome
    }

    fn ask(&mut self, partition: i32, request: StateRequest) {
        let heard = self.heard.clone();
        let waiter = move |result| heard.lock().push(show(&result));
        let key = ShareKey { group: "g".to_owned(), topic_id: TOPIC, partition };
        self.call(|states, io| states.handle(key, request, Box::new(waiter), io));
    }

    fn number<T: std::str::FromStr>(words: &[&str], at: usize) -> T
    where
        T::Err: std::fmt::Debug,
    {
        words[at].parse().unwrap()
    }

    fn step(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "init" => {
                let (state_epoch, start_offset) = (Self::number(&words, 2), Self::number(&words, 3));
                self.ask(Self::number(&words, 1), StateRequest::Initialize { state_epoch, start_offset });
            }
            "read" => self.ask(Self::number(&words, 1), StateRequest::Read { leader_epoch: Self::number(&words, 2) }),
            // write PARTITION STATE-EPOCH LEADER-EPOCH START [BATCHES]
            "write" => {
                let write = StateWrite {
                    state_epoch: Self::number(&words, 2),
                    leader_epoch: Self::number(&words, 3),
                    start_offset: Self::number(&words, 4),
                    delivery_complete_count: 7,
                    batches: batches(words.get(5).copied().unwrap_or_default()),
                };
                self.ask(Self::number(&words, 1), StateRequest::Write(write));
            }
            "delete" => self.ask(Self::number(&words, 1), StateRequest::Delete),
            "summary" => self.ask(Self::number(&words, 1), StateRequest::Summarize),
            "lead" => self.lead(),
            "hold" => {
                *self.log.held_at.lock() = Some(*self.log.next.lock());
                self.is_held = true;
            }
            "release" => {
                *self.log.held_at.lock() = None;
                self.is_held = false;
                self.call(|_, _| ());
            }
            "refuse" => *self.log.refuses.lock() = Some(StoreError::NotEnoughReplicas),
            "resign" => {
                self.call(|states, io| states.on_resigned(0, Some(9), io));
            }
            "topic-gone" => self.topics.0 = false,
            "wait" => {
                let ms: u64 = Self::number(&words, 1);
                self.now.mono = self.now.mono + ms;
                self.now.wall = WallMillis(self.now.wall.0 + i64::try_from(ms).unwrap());
                self.call(|states, io| states.tick(io));
            }
            "log" => {
                let batches: Vec<_> = self.log.batches.lock().clone();
                for (_, bytes) in batches {
                    for record in batch::Batch::parse(bytes).unwrap().records(1000).unwrap() {
                        let record = record.unwrap();
                        let record = ShareRecord::decode(record.key, record.value).unwrap();
                        let kind = match record.value {
                            crate::share::records::ShareValue::Snapshot(one) => {
                                format!("snapshot{}", one.snapshot_epoch)
                            }
                            crate::share::records::ShareValue::Update(one) => format!("update{}", one.snapshot_epoch),
                            crate::share::records::ShareValue::Gone => "gone".to_owned(),
                        };
                        self.heard.lock().push(format!("{}/{kind}", record.key.partition));
                    }
                }
            }
            _ => panic!("{line}"),
        }
    }
}

fn check(script: &[(&str, &str)]) {
    let mut bench = Bench::new();
    for (line, expected) in script {
        bench.step(line);
        let heard = std::mem::take(&mut *bench.heard.lock()).join(" | ");
        assert_eq!(heard, *expected, "{line} in {script:?}");
    }
}

#[test]
fn a_state_begins_is_taken_over_written_and_ends() {
    check(&[
        ("summary 0", "ok"),
        ("read 0 1", "ReadUninitialized"),
        ("write 0 0 1 5", "WriteUninitialized"),
        ("init 0 3 -1", "ok"),
        ("read 0 5", "s3 l0 @-1 n-1 "),
        ("write 0 3 5 10 10-19:2x1", "ok"),
        ("read 0 -1", "s3 l5 @10 n7 10-19:2x1"),
        ("write 0 3 5 20 20-29:0x1", "ok"),
        ("summary 0", "s3 l5 @20 n7 "),
        ("read 0 5", "s3 l5 @20 n7 20-29:0x1"),
        ("delete 0", "ok"),
        ("delete 0", "ok"),
        ("summary 0", "ok"),
        ("init 2 0 -1", "UnknownPartition"),
        ("init -1 0 -1", "InvalidKey"),
    ]);
}

#[test]
fn earlier_leaders_and_states_are_fenced() {
    check(&[
        ("init 0 3 -1", "ok"),
        ("read 0 5", "s3 l0 @-1 n-1 "),
        ("read 0 6", "s3 l5 @-1 n-1 "),
        ("write 0 3 5 0", "FencedLeaderEpoch"),
        ("read 0 5", "FencedLeaderEpoch"),
        ("write 0 2 6 0", "FencedStateEpoch"),
        ("init 0 2 0", "FencedStateEpoch"),
        ("init 0 4 50", "ok"),
        ("write 0 3 6 60", "FencedStateEpoch"),
        // The leader that had the state before the new beginning is the one it is told to.
        ("read 0 5", "FencedLeaderEpoch"),
        ("read 0 -1", "s4 l0 @50 n0 "),
        ("lead", ""),
        ("read 0 5", "FencedLeaderEpoch"),
        ("read 0 6", "s4 l0 @50 n0 "),
    ]);
}

#[test]
fn beginning_twice_forgets_nothing() {
    check(&[
        ("init 0 3 -1", "ok"),
        ("write 0 3 0 10 10-19:2x1", "ok"),
        ("init 0 3 -1", "ok"),
        ("read 0 -1", "s3 l0 @10 n7 10-19:2x1"),
        ("init 0 4 -1", "ok"),
        ("read 0 -1", "s4 l0 @-1 n-1 "),
    ]);
}

#[test]
fn a_write_that_comes_late_does_not_take_the_start_back() {
    check(&[
        ("init 0 0 0", "ok"),
        ("write 0 0 0 20 20-29:2x1", "ok"),
        ("write 0 0 0 10 10-29:0x1", "ok"),
        ("read 0 -1", "s0 l0 @20 n7 20-29:2x1"),
        ("write 0 0 0 10 30-30:0x1", "ok"),
        ("read 0 -1", "s0 l0 @20 n7 20-29:2x1,30-30:0x1"),
    ]);
}

#[test]
fn what_was_recorded_is_there_for_the_next_coordinator() {
    check(&[
        ("init 0 0 0", "ok"),
        ("init 1 0 0", "ok"),
        ("write 0 0 0 0 0-4:2x1", "ok"),
        ("write 0 0 0 -1 7-9:0x1", "ok"),
        ("write 0 0 0 5 5-6:4x5", "ok"),
        ("delete 1", "ok"),
        ("log", "0/snapshot0 | 1/snapshot0 | 0/update0 | 0/update0 | 0/snapshot1 | 1/gone"),
        ("lead", ""),
        ("read 0 -1", "s0 l0 @5 n7 5-6:4x5,7-9:0x1"),
        ("summary 1", "ok"),
    ]);
}

#[test]
fn answers_wait_for_what_they_rest_on() {
    check(&[
        ("init 0 0 0", "ok"),
        ("hold", ""),
        ("write 0 0 0 5", ""),
        ("read 0 -1", ""),
        ("release", "ok | s0 l0 @5 n7 "),
        ("hold", ""),
        ("write 0 0 0 6", ""),
        ("wait 5000", "NotAvailable"),
        ("write 0 0 0 7", ""),
        ("resign", "NotCoordinator"),
        ("read 0 -1", "NotCoordinator"),
    ]);
    check(&[("refuse", ""), ("init 0 0 0", "NotAvailable")]);
}

/// Seed 166 of the simulator: the snapshot before was deleted, the new one was not replicated, and the next leader had none.
#[test]
fn a_snapshot_is_needed_until_the_next_is_replicated() {
    check(&[
        ("init 0 0 0", "ok"),
        ("write 0 0 0 1", "ok"),
        ("write 0 0 0 2", "ok"),
        ("hold", ""),
        ("write 0 0 0 3", ""),
        ("wait 60000", "NotAvailable"),
        ("release", ""),
        ("wait 60000", "prune 3"),
        ("lead", ""),
        ("read 0 -1", "s0 l0 @3 n7 "),
    ]);
}

#[test]
fn a_snapshot_is_needed_until_the_end_of_its_state_is_replicated() {
    check(&[
        ("init 0 0 0", "ok"),
        ("init 1 0 0", "ok"),
        ("write 1 0 0 1", "ok"),
        ("write 1 0 0 2", "ok"),
        ("write 1 0 0 3", "ok"),
        ("hold", ""),
        ("delete 0", ""),
        ("wait 60000", "NotAvailable"),
        ("init 0 0 0", ""),
        ("wait 60000", "NotAvailable"),
        ("release", ""),
        ("wait 60000", "prune 4"),
    ]);
}

#[test]
fn what_says_nothing_any_more_is_deleted() {
    check(&[
        ("init 0 0 0", "ok"),
        ("init 1 0 0", "ok"),
        ("write 0 0 0 1", "ok"),
        ("write 0 0 0 2", "ok"),
        ("write 0 0 0 3", "ok"),
        ("wait 60000", "prune 1"),
        ("wait 60000", ""),
        // Partition 1 is cold: it is written anew.
        ("wait 180000", "prune 5"),
        ("log", "0/snapshot0 | 1/snapshot0 | 0/update0 | 0/update0 | 0/snapshot1 | 0/snapshot2 | 1/snapshot1"),
        ("topic-gone", ""),
        ("wait 300000", ""),
        ("wait 300000", ""),
        (
            "log",
            "0/snapshot0 | 1/snapshot0 | 0/update0 | 0/update0 | 0/snapshot1 | 0/snapshot2 | 1/snapshot1 | 0/gone | 1/gone",
        ),
    ]);
}
