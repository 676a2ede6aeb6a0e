//! A program on the `rdkafka` crate as an application would write it: produces keyed records with every acks and every
//! compression while a group grows to three members and shrinks to one, and checks what the members saw. Uses nothing of
//! ours but the address it is given: `rdkafka_client BOOTSTRAP TOPIC`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a program of the tests: it says what it saw, and stops at the first surprise"
)]

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const KEYS: usize = 20;
const RECORDS_PER_KEY: usize = 25;
const PATIENCE: Duration = Duration::from_secs(60);

/// What the members saw: for each pair of setting and key its numbers, in the order of arrival, and the partitions.
#[derive(Default)]
struct Seen {
    numbers: BTreeMap<String, Vec<usize>>,
    members_that_read: BTreeSet<usize>,
    members_with_partitions: BTreeSet<usize>,
}

fn main() {
    let mut words = std::env::args().skip(1);
    let (bootstrap, topic) = (words.next().expect("BOOTSTRAP"), words.next().expect("TOPIC"));
    create(&bootstrap, &topic);

    let seen = Arc::new(Mutex::new(Seen::default()));
    let count = Arc::new(AtomicUsize::new(0));
    let mut members: Vec<(Arc<AtomicBool>, std::thread::JoinHandle<()>)> = Vec::new();
    let mut expected = 0;
    for (round, acks) in ["0", "1", "all"].into_iter().enumerate() {
        // One member more each round.
        members.push(member(&bootstrap, &topic, round, &seen, &count));
        wait("members with partitions", round + 1, || seen.lock().unwrap().members_with_partitions.len());
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            produce(&bootstrap, &topic, acks, codec);
            expected += KEYS * RECORDS_PER_KEY;
        }
        wait("records", expected, || count.load(Ordering::Relaxed));
    }
    // The group shrinks to the last member, which must get every partition.
    for (leave, thread) in members.drain(..2) {
        leave.store(true, Ordering::Relaxed);
        thread.join().unwrap();
    }
    produce(&bootstrap, &topic, "all", "shrunk");
    expected += KEYS * RECORDS_PER_KEY;
    wait("records", expected, || count.load(Ordering::Relaxed));
    for (leave, thread) in members {
        leave.store(true, Ordering::Relaxed);
        thread.join().unwrap();
    }

    let seen = seen.lock().unwrap();
    let whole: Vec<usize> = (0..RECORDS_PER_KEY).collect();
    assert_eq!(seen.numbers.len(), 16 * KEYS, "settings times keys");
    for (key, numbers) in &seen.numbers {
        // A rebalance may deliver again what was not committed; the order of first deliveries is that of the producer.
        let mut first = Vec::new();
        numbers.iter().for_each(|number| {
            if !first.contains(number) {
                first.push(*number)
            }
        });
        assert_eq!(first, whole, "{key}");
    }
    assert_eq!(seen.members_that_read.len(), 3, "each member has read");
    println!("{expected} records, complete and in order, three members");
}

fn create(bootstrap: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    let new = NewTopic::new(topic, 6, TopicReplication::Fixed(3));
    let created = admin.create_topics([&new], &AdminOptions::new().operation_timeout(Some(PATIENCE)));
    let results = block_on(created).unwrap();
    assert_eq!(results, vec![Ok(topic.to_owned())]);
}

/// Drives one future on this thread; the admin client completes it from a thread of its own.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

/// Sends the numbers of each key in order; `shrunk` is a label of its own, sent without compression.
fn produce(bootstrap: &str, topic: &str, acks: &str, codec: &str) {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("acks", acks)
        .set("compression.type", if codec == "shrunk" { "none" } else { codec })
        .set("linger.ms", "5")
        // With more in flight a retry could overtake; an idempotent producer needs acks=all.
        .set("max.in.flight.requests.per.connection", "1")
        .create()
        .unwrap();
    for number in 0..RECORDS_PER_KEY {
        for key in 0..KEYS {
            let (key, value) = (format!("{acks}-{codec}-{key}"), number.to_string());
            producer.send(BaseRecord::to(topic).key(&key).payload(&value)).map_err(|(error, _)| error).unwrap();
        }
    }
    producer.flush(PATIENCE).unwrap();
}

/// A member of the group on a thread of its own, until told to leave.
fn member(
    bootstrap: &str,
    topic: &str,
    number: usize,
    seen: &Arc<Mutex<Seen>>,
    count: &Arc<AtomicUsize>,
) -> (Arc<AtomicBool>, std::thread::JoinHandle<()>) {
    let strategy = "cooperative-sticky";
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", format!("{topic}-group"))
        .set("partition.assignment.strategy", strategy)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let leave = Arc::new(AtomicBool::new(false));
    let (told, seen, count) = (leave.clone(), seen.clone(), count.clone());
    let thread = std::thread::spawn(move || {
        while !told.load(Ordering::Relaxed) {
            if consumer.assignment().unwrap().count() > 0 {
                seen.lock().unwrap().members_with_partitions.insert(number);
            }
            let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
            let message = message.unwrap();
            let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
            let value: usize = std::str::from_utf8(message.payload().unwrap()).unwrap().parse().unwrap();
            let mut seen = seen.lock().unwrap();
            let numbers = seen.numbers.entry(key).or_default();
            if !numbers.contains(&value) {
                count.fetch_add(1, Ordering::Relaxed);
            }
            numbers.push(value);
            seen.members_that_read.insert(number);
            drop(seen);
            consumer.commit_message(&message, CommitMode::Async).unwrap();
        }
    });
    (leave, thread)
}

fn wait(what: &str, expected: usize, count: impl Fn() -> usize) {
    let deadline = Instant::now() + PATIENCE;
    while count() < expected {
        assert!(Instant::now() < deadline, "{} of {expected} {what}", count());
        std::thread::sleep(Duration::from_millis(20));
    }
}
