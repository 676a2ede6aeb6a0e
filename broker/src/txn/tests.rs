//! Scripts: inputs on the left, exactly what comes of each on the right. The transactional id is `a` throughout; producer
//! ids are given out from 100 on; the coordinator epoch is 5.

use super::*;
use crate::journal::memory::MemoryJournal;
use common::time::WallMillis;
use parking_lot::Mutex;

struct Bench {
    transactions: Transactions,
    log: Arc<MemoryJournal>,
    now: Now,
    is_held: bool,
    next_producer_id: i64,
    coordinator_epoch: i32,
    orders: Vec<MarkerOrder>,
    heard: Arc<Mutex<Vec<String>>>,
}

fn settings() -> Settings {
    Settings {
        max_timeout_ms: 900_000,
        abort_check_interval_ms: 10_000,
        expiration_ms: 604_800_000,
        expiry_check_interval_ms: 3_600_000,
        load_buffer_bytes: 1000,
        topic_partitions: 1,
        append_timeout_ms: 30_000,
    }
}

fn place(text: &str) -> Place {
    let (topic, partition) = text.rsplit_once('-').unwrap();
    (topic.to_owned(), partition.parse().unwrap())
}

fn producer(text: &str) -> Producer {
    let (id, epoch) = text.split_once('/').unwrap();
    (id.parse().unwrap(), epoch.parse().unwrap())
}

fn show_places(places: &BTreeSet<Place>) -> String {
    places.iter().map(|(topic, partition)| format!("{topic}-{partition}")).collect::<Vec<_>>().join(",")
}

/// `word name=value t-0 ...` of one input.
struct Words<'a>(Vec<&'a str>);

impl Words<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// Who does it; the first producer unless it is said.
    fn by(&self) -> Producer {
        self.get("by").map_or((100, 0), producer)
    }

    fn places(&self) -> BTreeSet<Place> {
        let is_place = |word: &&&str| word.contains('-') && !word.contains('=');
        self.0[1..].iter().filter(is_place).map(|word| place(word)).collect()
    }
}

impl Bench {
    fn new() -> Bench {
        let now = Now { mono: Millis(0), wall: WallMillis(1_000_000) };
        let mut bench = Bench {
            transactions: Transactions::new(settings()),
            log: Arc::default(),
            now,
            is_held: false,
            next_producer_id: 100,
            coordinator_epoch: 5,
            orders: Vec::new(),
            heard: Arc::default(),
        };
        bench.lead();
        bench
    }

    fn lead(&mut self) {
        self.transactions.set_version(2);
        let epoch = self.coordinator_epoch;
        assert!(self.call(|txns, io| txns.on_leader(0, epoch, io)));
        self.call(|txns, io| txns.load(0, epoch, io));
    }

    /// Calls the machine and everything that follows from it.
    fn call<T>(&mut self, act: impl FnOnce(&Transactions, &mut Io<'_>) -> T) -> T {
        let log = self.log.clone();
        let mut io = Io::new(log.as_ref(), self.now);
        let outcome = act(&self.transactions, &mut io);
        self.finish(io);
        let mut replicated = -1;
        while !self.is_held && replicated < *log.next.lock() {
            replicated = *log.next.lock();
            let mut io = Io::new(log.as_ref(), self.now);
            self.transactions.on_high_watermark(0, replicated, &mut io);
            self.finish(io);
        }
        outcome
    }

    fn finish(&mut self, io: Io<'_>) {
        io.answers.into_iter().for_each(|answer| answer());
        for order in io.orders {
            let word = if order.is_commit { "commit" } else { "abort" };
            let (id, epoch, by) = (order.producer_id, order.producer_epoch, order.coordinator_epoch);
            let version = order.transaction_version;
            let places = show_places(&order.places);
            self.say(format!("markers {word} {id}/{epoch} c{by} v{version} {places}"));
            self.orders.push(order);
        }
        for (partition, epoch) in io.loads {
            self.call(|txns, io| txns.load(partition, epoch, io));
        }
    }

    fn say(&self, text: String) {
        self.heard.lock().push(text);
    }

    fn waiter(&self) -> ProducerWaiter {
        let heard = self.heard.clone();
        Box::new(move |result| {
            heard.lock().push(match result {
                Ok((id, epoch)) => format!("{id}/{epoch}"),
                Err(error) => format!("{error:?}"),
            });
        })
    }

    fn run(&mut self, input: &str) {
        let words = Words(input.split_whitespace().collect());
        match words.0[0] {
            "init" => self.init(&words),
            "add" => self.add(&words),
            "verify" => self.verify(&words),
            "commit" | "abort" => self.end(&words),
            "written" | "failed" | "fenced" => self.markers(&words),
            "wait" => self.wait(words.0[1].parse().unwrap()),
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
                *self.log.refuses.lock() = errors.into_iter().find(|error| format!("{error:?}") == words.0[1]);
            }
            "lose" => *self.log.lost_after.lock() = Some(words.0[1].parse().unwrap()),
            // A bit of the last record turns, and back the next time.
            "rot" => {
                let mut batches = self.log.batches.lock();
                let (_, last) = batches.last_mut().unwrap();
                let mut bytes = last.to_vec();
                *bytes.last_mut().unwrap() ^= 1;
                *last = bytes.into();
            }
            "resign" => self.call(|txns, io| txns.on_resigned(0, Some(9), io)),
            "reload" => {
                self.coordinator_epoch += 1;
                self.transactions = Transactions::new(settings());
                self.orders.clear();
                self.lead();
            }
            "describe" => {
                let result = self.call(|txns, io| txns.describe("a", io));
                self.say(match result {
                    Ok(value) => format!(
                        "{} {}/{} {}",
                        value.state.name(),
                        value.producer_id,
                        value.producer_epoch,
                        show_places(&value.places)
                    ),
                    Err(error) => format!("{error:?}"),
                });
            }
            "list" => {
                let listed = self.call(|txns, _| txns.list()).unwrap();
                self.say(listed.iter().map(|one| one.transactional_id.clone()).collect::<Vec<_>>().join(","));
            }
            // As if so many transactions of version 2 had been.
            "exhaust" => {
                let mut shard = self.transactions.shards.lock(0).unwrap();
                let value = shard.entries.get_mut("a").unwrap().value.as_mut().unwrap();
                value.producer_epoch = state::LAST_CLIENT_EPOCH;
            }
            other => panic!("no such input: {other}"),
        }
    }

    fn init(&mut self, words: &Words<'_>) {
        let input = InitInput {
            transactional_id: words.get("id").unwrap_or("a").to_owned(),
            timeout_ms: words.get("timeout").map_or(60_000, |text| text.parse().unwrap()),
            expected: words.get("has").map(producer),
        };
        let waiter = self.waiter();
        if let Some(waiter) = self.call(|txns, io| txns.init(&input, waiter, io)) {
            let id = self.next_producer_id;
            self.next_producer_id += 1;
            self.call(|txns, io| {
                io.fresh_id = Some(id);
                assert!(txns.init(&input, waiter, io).is_none());
            });
        }
    }

    fn add(&mut self, words: &Words<'_>) {
        let heard = self.heard.clone();
        let waiter = Box::new(move |result: Result<(), TxnError>| {
            heard.lock().push(result.map_or_else(|error| format!("{error:?}"), |()| "ok".to_owned()));
        });
        self.call(|txns, io| txns.add(("a", words.by()), words.places(), waiter, io));
    }

    fn verify(&mut self, words: &Words<'_>) {
        let result = self.call(|txns, io| txns.verify("a", words.by(), &words.places(), io));
        self.say(match result {
            Ok(missing) if missing.is_empty() => "ok".to_owned(),
            Ok(missing) => format!("missing {}", show_places(&missing)),
            Err(error) => format!("{error:?}"),
        });
    }

    fn end(&mut self, words: &Words<'_>) {
        let input = EndInput {
            transactional_id: "a".to_owned(),
            producer: words.by(),
            is_commit: words.0[0] == "commit",
            bumps_epoch: words.0.contains(&"v2"),
        };
        let waiter = self.waiter();
        if let Some(waiter) = self.call(|txns, io| txns.end(&input, waiter, io)) {
            let id = self.next_producer_id;
            self.next_producer_id += 1;
            self.call(|txns, io| {
                io.fresh_id = Some(id);
                assert!(txns.end(&input, waiter, io).is_none());
            });
        }
    }

    fn markers(&mut self, words: &Words<'_>) {
        let order = self.orders.remove(0);
        let places = words.places();
        let of = if places.is_empty() { order.places.clone() } else { places };
        let what = match words.0[0] {
            "written" => Written::Yes,
            "failed" => Written::NotYet,
            _ => Written::Fenced,
        };
        let outcomes = of.into_iter().map(|place| (place, what)).collect();
        self.call(|txns, io| txns.on_markers(&order, &outcomes, io));
    }

    /// Time passes, and everything due on the way is done at its moment.
    fn wait(&mut self, millis: u64) {
        let end = self.now.mono + millis;
        loop {
            let next = self.call(|txns, io| txns.tick(io)).filter(|at| *at <= end);
            let to = next.unwrap_or(end).max(self.now.mono);
            let passed = to - self.now.mono;
            self.now = Now { mono: to, wall: WallMillis(self.now.wall.0 + passed as i64) };
            if next.is_none() {
                return;
            }
        }
    }
}

/// `input => output | output` by line.
fn check(script: &str) {
    let mut bench = Bench::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (input, expected) = line.split_once("=>").unwrap_or((line, ""));
        let expected: Vec<&str> = expected.split('|').map(str::trim).filter(|text| !text.is_empty()).collect();
        bench.run(input.trim());
        let heard = std::mem::take(&mut *bench.heard.lock());
        let heard: Vec<&str> = heard.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
        assert_eq!(heard, expected, "{line}\nof\n{script}");
    }
}

#[test]
fn transactions_commit_and_abort() {
    check(
        "init => 100/0
         commit => InvalidTxnState
         add t-0 t-1 => ok
         describe => Ongoing 100/0 t-0,t-1
         add t-1 => ok
         commit => 100/0 | markers commit 100/0 c5 v0 t-0,t-1
         commit => Concurrent
         abort => Concurrent
         init => Concurrent
         add t-2 => Concurrent
         verify t-0 => Concurrent
         written t-0
         describe => PrepareCommit 100/0 t-1
         wait 100 => markers commit 100/0 c5 v0 t-1
         written
         describe => CompleteCommit 100/0
         commit => 100/0
         abort => InvalidTxnState
         add t-0 => ok
         abort => 100/0 | markers abort 100/0 c5 v0 t-0
         written
         describe => CompleteAbort 100/0
         list => a",
    );
}

#[test]
fn a_new_instance_fences_the_old_one_and_aborts_its_transaction() {
    check(
        "init => 100/0
         add t-0 => ok
         init => Concurrent | markers abort 100/1 c5 v0 t-0
         add t-1 => ProducerFenced
         commit => ProducerFenced
         init => Concurrent
         written
         init => 100/2
         add t-1 => ProducerFenced
         verify t-1 => ProducerFenced
         verify by=100/2 t-1 => missing t-1
         add by=100/2 t-1 => ok
         verify by=100/2 t-0 t-1 => missing t-0
         add by=7/2 t-1 => InvalidProducerIdMapping",
    );
}

#[test]
fn a_producer_goes_on_after_an_error() {
    check(
        "init => 100/0
         init has=100/0 => 100/1
         init has=100/0 => 100/1
         init has=100/1 => 100/2
         init has=100/0 => ProducerFenced
         init has=7/0 => ProducerFenced
         init => 100/3
         init has=100/2 => ProducerFenced
         init timeout=0 => InvalidTimeout
         init timeout=900001 => InvalidTimeout
         init id= => InvalidId
         init id=b has=7/7 => 101/0",
    );
}

#[test]
fn exhausted_epochs_give_a_new_producer_id() {
    check(
        "init => 100/0
         exhaust
         init => 101/0
         exhaust
         init has=101/32766 => 102/0
         exhaust
         add by=102/32766 t-0 => ok
         commit v2 by=102/32766 => 102/32767 | markers commit 102/32767 c5 v2 t-0
         written
         describe => CompleteCommit 103/0
         commit v2 by=102/32766 => 103/0
         add by=103/0 t-0 => ok
         commit v2 by=102/32766 => InvalidProducerIdMapping",
    );
}

#[test]
fn each_end_of_version_2_has_an_epoch_of_its_own() {
    check(
        "init => 100/0
         add t-0 => ok
         commit v2 => 100/1 | markers commit 100/1 c5 v2 t-0
         commit v2 => Concurrent
         written
         commit v2 => 100/1
         abort v2 => InvalidTxnState
         add by=100/1 t-0 => ok
         commit v2 => ProducerFenced
         abort v2 => ProducerFenced
         describe => Ongoing 100/1 t-0
         abort v2 by=100/1 => 100/2 | markers abort 100/2 c5 v2 t-0
         written
         commit v2 by=100/1 => InvalidTxnState
         commit v2 by=100/2 => InvalidTxnState
         abort v2 by=100/2 => 100/3
         describe => CompleteAbort 100/3
         abort v2 by=100/0 => ProducerFenced",
    );
}

#[test]
fn a_late_end_of_version_1_hits_the_next_transaction() {
    // What KAFKA-17754 describes and only version 2 heals: the two ends cannot be told apart.
    check(
        "init => 100/0
         add t-0 => ok
         abort => 100/0 | markers abort 100/0 c5 v0 t-0
         written
         add t-0 => ok
         commit => 100/0 | markers commit 100/0 c5 v0 t-0",
    );
}

#[test]
fn forgotten_transactions_are_aborted() {
    check(
        "init timeout=15000 => 100/0
         add t-0 => ok
         wait 15000
         describe => Ongoing 100/0 t-0
         wait 5000 => markers abort 100/1 c5 v0 t-0
         commit => ProducerFenced
         written
         describe => CompleteAbort 100/1
         init => 100/2",
    );
}

#[test]
fn unused_ids_are_forgotten() {
    check(
        "init => 100/0
         wait 604790000
         list => a
         wait 3600000
         list =>
         init => 101/0",
    );
}

#[test]
fn a_new_coordinator_knows_what_the_old_one_answered() {
    check(
        "init => 100/0
         add t-0 t-1 => ok
         reload
         describe => Ongoing 100/0 t-0,t-1
         commit => 100/0 | markers commit 100/0 c6 v0 t-0,t-1
         reload => markers commit 100/0 c7 v0 t-0,t-1
         commit => Concurrent
         written
         reload
         describe => CompleteCommit 100/0
         commit => 100/0",
    );
}

#[test]
fn nothing_is_true_before_it_is_replicated() {
    check(
        "init => 100/0
         hold
         add t-0
         verify t-0 => missing t-0
         add t-1 => Concurrent
         commit => Concurrent
         release => ok
         verify t-0 => ok
         hold
         commit
         wait 30000 => NotAvailable
         commit => Concurrent
         release => markers commit 100/0 c5 v0 t-0
         hold
         written
         describe => PrepareCommit 100/0
         release
         describe => CompleteCommit 100/0",
    );
}

#[test]
fn what_the_next_leader_may_not_have_is_nothing_to_act_on() {
    check(
        "init => 100/0
         add t-0 => ok
         hold
         commit
         reload
         commit => Loading
         release => markers commit 100/0 c6 v0 t-0
         commit => Concurrent
         written
         commit => 100/0",
    );
}

#[test]
fn a_log_that_refuses_changes_nothing() {
    check(
        "refuse NotEnoughReplicas
         init => NotAvailable
         list =>
         refuse nothing
         init => 101/0
         add by=101/0 t-0 => ok
         refuse NotEnoughReplicas
         commit by=101/0 => NotAvailable
         describe => Ongoing 101/0 t-0
         refuse nothing
         commit by=101/0 => 101/0 | markers commit 101/0 c5 v0 t-0
         refuse NotEnoughReplicas
         written
         describe => PrepareCommit 101/0
         refuse nothing
         wait 100
         describe => CompleteCommit 101/0
         refuse NotLeader
         add by=101/0 t-0 => NotCoordinator
         resign
         add by=101/0 t-0 => NotCoordinator",
    );
}

#[test]
fn markers_are_tried_until_they_are_written() {
    check(
        "init => 100/0
         add t-0 t-1 => ok
         commit => 100/0 | markers commit 100/0 c5 v0 t-0,t-1
         failed
         wait 99
         wait 1 => markers commit 100/0 c5 v0 t-0,t-1
         written
         describe => CompleteCommit 100/0
         add t-0 => ok
         commit => 100/0 | markers commit 100/0 c5 v0 t-0
         fenced
         wait 1000
         describe => PrepareCommit 100/0 t-0",
    );
}

#[test]
fn a_leader_that_is_deposed_while_it_reads_serves_nothing() {
    check(
        "init => 100/0
         lose 1
         reload
         describe => Loading",
    );
}

#[test]
fn a_log_that_cannot_be_read_is_not_served_in_part() {
    check(
        "init => 100/0
         init id=b => 101/0
         rot
         reload
         describe => NotCoordinator
         init => NotCoordinator
         rot
         wait 10000
         describe => Empty 100/0
         init => 100/1",
    );
}
