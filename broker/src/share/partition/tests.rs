//! Scripts: what happens on the left, exactly what comes of it on the right. The log is a list of batches, `!` behind one
//! whose transaction was aborted. `1xN` behind a stretch is the number of its delivery.

use super::*;

struct Bench {
    partition: SharePartition,
    log: Vec<LogBatch>,
    limits: Limits,
    now: Millis,
}

fn range(text: &str) -> (i64, i64) {
    match text.split_once('-') {
        Some((first, last)) => (first.parse().unwrap(), last.parse().unwrap()),
        None => (text.parse().unwrap(), text.parse().unwrap()),
    }
}

fn show_batches(batches: &[StateBatch]) -> String {
    let one =
        |batch: &StateBatch| format!("{}-{}:{}x{}", batch.first, batch.last, batch.state.code(), batch.delivery_count);
    batches.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn state_batches(words: &[&str]) -> Vec<StateBatch> {
    let one = |word: &&str| {
        let (stretch, what) = word.split_once(':').unwrap();
        let (first, last) = range(stretch);
        let (state, count) = what.split_once('x').unwrap();
        let state = DeliveryState::from_code(state.parse().unwrap()).unwrap();
        StateBatch { first, last, state, delivery_count: count.parse().unwrap() }
    };
    words.iter().map(one).collect()
}

fn show_change(change: Option<Change>) -> String {
    change
        .map_or_else(|| "nothing".to_owned(), |change| format!("w{} {}", change.number, show_batches(&change.batches)))
}

impl Bench {
    fn new() -> Bench {
        Bench {
            partition: SharePartition::load(&StateReply::default(), 0),
            log: Vec::new(),
            limits: Limits { max_locks: 100, delivery_limit: 5, lock_ms: 1000, renews: true },
            now: Millis(0),
        }
    }

    fn get(&mut self, words: &[&str]) -> String {
        let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.parse::<i64>().ok());
        let fetch_offset = self.partition.next_fetch();
        if !self.partition.can_acquire(&self.limits) {
            return "full".to_owned();
        }
        let log = self.log.clone();
        let mut read = log.into_iter().filter(|batch| batch.last >= fetch_offset);
        let member: Arc<str> = words[1].into();
        let ask = Ask {
            member: &member,
            fetch_offset,
            max_records: value("max=").unwrap_or(500),
            batch_size: value("size=").unwrap_or(500),
            is_exact: words.contains(&"exact"),
        };
        let acquired = self.partition.acquire(&mut read, &ask, &self.limits, self.now);
        let show = |one: &Acquired| format!("{}-{}x{}", one.first, one.last, one.delivery_count);
        acquired.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    fn ack(&mut self, words: &[&str]) -> String {
        let one = |word: &&str| {
            let (stretch, types) = word.split_once(':').unwrap();
            let (first, last) = range(stretch);
            let types = types.split(',').map(|code| AckType::from_code(code.parse().unwrap()).unwrap()).collect();
            AckBatch { first, last, types }
        };
        let acks: Vec<AckBatch> = words[2..].iter().map(one).collect();
        match self.partition.acknowledge(words[1], &acks, &self.limits, self.now) {
            Ok(change) => show_change(change),
            Err(error) => format!("{error:?}"),
        }
    }

    fn show(&self) -> String {
        let run = |(first, run): (&i64, &Run)| {
            let state = match &run.state {
                State::Available => "free".to_owned(),
                State::Acquired { member, until } => format!("{member}@{}", until.0),
                State::Acknowledged => "done".to_owned(),
                State::Archived => "gone".to_owned(),
            };
            let pending = run.pending.map_or(String::new(), |(number, state)| format!(">{}w{number}", state.code()));
            format!(" {first}-{}:{state}x{}{pending}", run.last, run.delivery_count)
        };
        let runs: String = self.partition.runs.iter().map(run).collect();
        format!("{}..{}{runs}", self.partition.start, self.partition.end)
    }

    fn step(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<i64>().unwrap();
        match words[0] {
            "log" => {
                let one = |word: &&str| {
                    let (base, last) = range(word.trim_end_matches('!'));
                    LogBatch { base, last, is_aborted: word.ends_with('!') }
                };
                self.log = words[1..].iter().map(one).collect();
            }
            // load START|-1 INITIAL BATCHES...
            "load" => {
                let known = StateReply {
                    start_offset: number(1),
                    batches: state_batches(&words[3..]),
                    ..StateReply::default()
                };
                self.partition = SharePartition::load(&known, number(2));
            }
            "get" => return self.get(&words),
            "ack" => return self.ack(&words),
            "leave" => return show_change(self.partition.release(words[1], &self.limits)),
            "written" | "failed" => {
                let number = words[1].parse().unwrap();
                self.partition.complete(number, words[0] == "written", &self.limits, self.now);
            }
            "wait" => {
                self.now = self.now + words[1].parse().unwrap();
                let limits = self.limits;
                return show_batches(&self.partition.expire(&limits, self.now));
            }
            "at" => self.now = Millis(words[1].parse().unwrap()),
            "due" => {
                return self.partition.next_deadline().map_or_else(|| "never".to_owned(), |at| at.0.to_string());
            }
            "start" => self.partition.move_start(number(1)),
            "locks" => self.limits.max_locks = number(1),
            "limit" => self.limits.delivery_limit = words[1].parse().unwrap(),
            "no-renewal" => self.limits.renews = false,
            "next" => return self.partition.next_fetch().to_string(),
            "count" => return self.partition.write(0, Vec::new()).delivery_complete_count.to_string(),
            "show" => return self.show(),
            _ => panic!("{line}"),
        }
        String::new()
    }
}

fn check(script: &[(&str, &str)]) {
    let mut bench = Bench::new();
    for (line, expected) in script {
        let came = bench.step(line);
        assert_eq!(came, *expected, "{line}: {}", bench.show());
    }
}

#[test]
fn records_are_acquired_accepted_and_done_with() {
    check(&[
        ("log 0-4 5-9 10-14", ""),
        ("get a", "0-14x1"),
        ("get b", ""),
        ("ack a 0-9:1", "w1 0-9:2x1"),
        ("count", "10"),
        ("show", "0..15 0-9:a@1000x1>2w1 10-14:a@1000x1"),
        ("ack a 0-9:1", "NotAcquired"),
        ("written 1", ""),
        ("show", "10..15 10-14:a@1000x1"),
        ("count", "0"),
        ("ack a 0-4:1", "nothing"),
        ("ack a 10-14:1,3,0,2,1", "w2 10-10:2x1 11-12:4x1 13-13:0x1 14-14:2x1"),
        ("next", "15"),
        ("written 2", ""),
        ("show", "13..15 13-13:freex1 14-14:donex1"),
        ("count", "1"),
        ("get b", "13-13x2"),
        ("ack b 13:1", "w3 13-13:2x2"),
        ("written 3", ""),
        ("show", "15..15"),
    ]);
}

#[test]
fn who_has_not_acquired_a_record_has_no_say() {
    check(&[
        ("log 0-9", ""),
        ("ack a 0-9:1", "Invalid"),
        ("get a", "0-9x1"),
        ("ack b 0-9:1", "NotAcquired"),
        ("ack a 0-10:1", "Invalid"),
        ("ack a 5-4:1", "Invalid"),
        ("ack a 0-4:1,1", "Invalid"),
        ("ack a 0-4:1 4-5:1", "Invalid"),
        ("ack a 0-4:1 20-25:1", "Invalid"),
        ("show", "0..10 0-9:a@1000x1"),
        ("ack a 0-4:2", "w1 0-4:0x1"),
        ("ack a 0-9:1", "NotAcquired"),
        ("written 1", ""),
        ("ack a 0-4:1", "NotAcquired"),
        ("get b", "0-4x2"),
        ("ack a 0-9:1", "NotAcquired"),
        ("ack a 5-9:1", "w2 5-9:2x1"),
    ]);
}

#[test]
fn locks_end_and_can_be_renewed() {
    check(&[
        ("log 0-9", ""),
        ("due", "never"),
        ("get a", "0-9x1"),
        ("due", "1000"),
        ("wait 600", ""),
        ("ack a 0-4:4 5-5:1", "w1 5-5:2x1"),
        ("due", "1000"),
        ("wait 400", "6-9:0x1"),
        ("due", "1600"),
        ("get b", "6-9x2"),
        ("wait 600", "0-4:0x1"),
        ("show", "0..10 0-4:freex1 5-5:a@1000x1>2w1 6-9:b@2000x2"),
        ("written 1", ""),
        ("get b", "0-4x2"),
        ("show", "0..10 0-4:b@2600x2 5-5:donex1 6-9:b@2000x2"),
        ("no-renewal", ""),
        ("ack b 0-4:4", "NoRenewal"),
    ]);
}

#[test]
fn what_cannot_be_written_is_with_its_member_again() {
    check(&[
        ("log 0-9", ""),
        ("get a", "0-9x1"),
        ("ack a 0-4:1", "w1 0-4:2x1"),
        ("failed 1", ""),
        ("show", "0..10 0-9:a@1000x1"),
        ("ack a 0-4:1 5-9:2", "w2 0-4:2x1 5-9:0x1"),
        ("wait 1000", ""),
        ("failed 2", ""),
        ("show", "0..10 0-9:freex1"),
        ("get b", "0-9x2"),
    ]);
}

#[test]
fn who_leaves_gives_back_what_it_has() {
    check(&[
        ("log 0-4 5-9", ""),
        ("get a max=5", "0-4x1"),
        ("get b", "5-9x1"),
        ("ack a 0:1", "w1 0-0:2x1"),
        ("leave a", "w2 1-4:0x1"),
        ("leave a", "nothing"),
        ("next", "10"),
        ("written 1", ""),
        ("written 2", ""),
        ("next", "1"),
        ("get b", "1-4x2"),
        ("show", "1..10 1-4:b@1000x2 5-9:b@1000x1"),
    ]);
}

#[test]
fn records_are_delivered_so_often_and_in_the_end_alone() {
    check(&[
        ("log 0-7", ""),
        ("get a", "0-7x1"),
        ("ack a 0-7:2", "w1 0-7:0x1"),
        ("written 1", ""),
        ("get a", "0-7x2"),
        ("ack a 0-7:2", "w2 0-7:0x2"),
        ("written 2", ""),
        ("get a", "0-7x3"),
        ("ack a 0-7:2", "w3 0-7:0x3"),
        ("written 3", ""),
        // Half of them, then one.
        ("get a", "0-3x4"),
        ("ack a 0-3:2", "w4 0-3:0x4"),
        ("written 4", ""),
        ("get a", "0-0x5"),
        ("ack a 0:2", "w5 0-0:4x5"),
        ("written 5", ""),
        ("show", "1..8 1-3:freex4 4-7:freex3"),
        ("get a", "1-1x5"),
        ("get b", "2-2x5"),
        ("wait 1000", "1-1:4x5 2-2:4x5"),
        ("show", "3..8 3-3:freex4 4-7:freex3"),
    ]);
    check(&[
        ("limit 2", ""),
        ("log 0-7", ""),
        ("get a", "0-7x1"),
        ("wait 1000", "0-7:0x1"),
        ("get a", "0-7x2"),
        ("wait 1000", "0-7:4x2"),
        ("show", "8..8"),
    ]);
}

#[test]
fn there_are_not_more_locks_than_allowed() {
    check(&[
        ("locks 10", ""),
        ("log 0-3 4-7 8-11 12-15", ""),
        ("get a max=3", "0-3x1"),
        // A batch that is begun is taken whole.
        ("get a", "4-11x1"),
        ("get a", "full"),
        ("ack a 4-5:2", "w1 4-5:0x1"),
        ("written 1", ""),
        ("get b", "4-5x2"),
        ("get b", "full"),
        ("ack a 0-3:1", "w2 0-3:2x1"),
        ("written 2", ""),
        ("get b", "12-15x1"),
    ]);
}

#[test]
fn a_limit_of_records_can_be_exact() {
    check(&[
        ("log 0-9 10-19", ""),
        ("get a max=3 exact", "0-2x1"),
        ("get b max=3 exact", "3-5x1"),
        ("get b max=9 exact", "6-14x1"),
        ("ack a 0-2:2", "w1 0-2:0x1"),
        ("written 1", ""),
        ("get b max=2 exact", "0-1x2"),
        ("get b max=4 exact", "2-2x2 15-17x1"),
    ]);
}

#[test]
fn stretches_are_told_batch_by_batch() {
    check(&[
        ("log 0-3 4-7 8-11 12-15", ""),
        ("get a size=4", "0-3x1 4-7x1 8-11x1 12-15x1"),
        ("ack a 2-5:2", "w1 2-5:0x1"),
        ("written 1", ""),
        ("get b size=6", "2-5x2"),
    ]);
    check(&[("log 0-3 4-7 8-11 12-15", ""), ("get a size=6", "0-7x1 8-15x1")]);
}

#[test]
fn what_is_not_in_the_log_is_gone() {
    check(&[
        ("log 2-4 8-9", ""),
        ("get a", "2-4x1 8-9x1"),
        ("show", "2..10 2-4:a@1000x1 5-7:gonex0 8-9:a@1000x1"),
        ("count", "3"),
        ("leave a", "w1 2-4:0x1 8-9:0x1"),
        ("written 1", ""),
        // Compaction took the first ones.
        ("log 8-9 10-10!", ""),
        ("get b", "8-9x2"),
        ("show", "8..11 8-9:b@1000x2 10-10:gonex0"),
        ("ack b 2-9:1", "w2 8-9:2x2"),
        ("written 2", ""),
        ("show", "11..11"),
    ]);
}

#[test]
fn aborted_records_are_not_delivered() {
    check(&[
        ("log 0-3 4-5! 6-6 7-9!", ""),
        ("get a", "0-3x1 6-6x1"),
        ("show", "0..10 0-3:a@1000x1 4-5:gonex0 6-6:a@1000x1 7-9:gonex0"),
        ("ack a 0-3:1 6:1", "w1 0-3:2x1 6-6:2x1"),
        ("written 1", ""),
        ("show", "10..10"),
    ]);
}

#[test]
fn the_start_follows_the_log() {
    check(&[
        ("log 0-9 10-19", ""),
        ("get a max=10", "0-9x1"),
        ("ack a 0-4:2", "w1 0-4:0x1"),
        ("start 3", ""),
        ("show", "3..10 3-4:a@1000x1>0w1 5-9:a@1000x1"),
        ("written 1", ""),
        ("show", "3..10 3-4:freex1 5-9:a@1000x1"),
        ("ack a 0-9:1", "NotAcquired"),
        ("start 7", ""),
        ("ack a 0-9:1", "w2 7-9:2x1"),
        ("start 2", ""),
        ("start 15", ""),
        ("written 2", ""),
        ("show", "15..15"),
        ("get b", "15-19x1"),
    ]);
}

#[test]
fn what_was_written_is_where_another_leader_goes_on() {
    check(&[
        ("load -1 7", ""),
        ("show", "7..7"),
        ("load 5 0 5-9:2x1 10-14:0x3 15-15:4x5 20-24:2x1", ""),
        ("show", "10..25 10-14:freex3 15-15:gonex5 20-24:donex1"),
        ("log 0-12 13-30", ""),
        ("next", "10"),
        // The first delivered often, then those of which nothing is known, then new ones.
        ("get a max=1", "10-11x4"),
        ("get a", "12-12x4"),
        ("get a", "13-13x4"),
        ("get a", "14-14x4"),
        ("get a", "16-19x1 25-30x1"),
        ("ack a 10-14:1", "w1 10-14:2x4"),
        ("written 1", ""),
        ("show", "16..31 16-19:a@1000x1 20-24:donex1 25-30:a@1000x1"),
    ]);
    check(&[
        // Nothing is known of the first ones.
        ("load 0 0 5-9:2x1", ""),
        ("log 0-9 10-12", ""),
        ("show", "0..10 5-9:donex1"),
        ("get a max=1", "0-4x1"),
        ("show", "0..10 0-4:a@1000x1 5-9:donex1"),
        ("next", "10"),
    ]);
}
