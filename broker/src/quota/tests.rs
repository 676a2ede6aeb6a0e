//! Quotas as settings make them, and what they hold back.

use super::*;
use common::properties::Properties;

fn quotas(lines: &[(&str, &str, &str, &str)]) -> Quotas {
    let properties = Properties::parse("zookeeper.connect=h:1\nbroker.id=1", "test");
    let quotas = Quotas::new(&BrokerConfig::parse(&properties).unwrap().0);
    for (kind, name, key, value) in lines {
        quotas.set(kind, name, &Settings::from([((*key).to_owned(), (*value).to_owned())]));
    }
    quotas
}

const RATE: &str = "producer_byte_rate";

#[test]
fn the_most_special_quota_counts() {
    let all = [
        ("users", "a%20b/clients/c", RATE, "1"),
        ("users", "a%20b/clients/<default>", RATE, "2"),
        ("users", "a%20b", RATE, "3"),
        ("users", "<default>/clients/c", RATE, "4"),
        ("users", "<default>/clients/<default>", RATE, "5"),
        ("users", "<default>", RATE, "6"),
        ("clients", "c", RATE, "7"),
        ("clients", "<default>", RATE, "8"),
    ];
    let both = |user: &str| (Some(user.to_owned()), Some("c".to_owned()));
    let expected = [
        (both("a%20b"), 1.0),
        (both("a%20b"), 2.0),
        ((Some("a%20b".to_owned()), None), 3.0),
        (both("a%20b"), 4.0),
        (both("a%20b"), 5.0),
        ((Some("a%20b".to_owned()), None), 6.0),
        ((None, Some("c".to_owned())), 7.0),
        ((None, Some("c".to_owned())), 8.0),
    ];
    for (first, expected) in expected.into_iter().enumerate() {
        let quotas = quotas(&all[first..]);
        let (user, client) = names(Who { principal: "User:a b", client_id: "c" });
        assert_eq!(quotas.state.lock().limit(Kind::Produce, &user, &client), Some(expected));
        assert_eq!(quotas.state.lock().limit(Kind::Fetch, &user, &client), None);
    }
}

#[test]
fn who_exceeds_a_quota_waits_as_with_kafka() {
    let who = Who { principal: "User:a", client_id: "c" };
    let quotas = quotas(&[("clients", "c", RATE, "1000"), ("ips", "10.0.0.1", CONNECTION_RATE, "2")]);
    // What is written when, and for how long the writer is held back.
    for (bytes, at, wait) in
        [(10_000.0, 0, 0), (5000.0, 0, 5000), (0.0, 5000, 5000), (0.0, 10_000, 5000), (0.0, 11_000, 0)]
    {
        assert_eq!(quotas.record(Kind::Produce, who, bytes, Millis(at)), wait, "{bytes} at {at}");
    }
    assert_eq!(quotas.record(Kind::Fetch, who, 1e9, Millis(0)), 0);
    let waits: Vec<u64> = (0..22).map(|_| quotas.connect("10.0.0.1", Millis(0))).collect();
    assert!(waits[..20].iter().all(|wait| *wait == 0) && waits[20..].iter().all(|wait| *wait == 500), "{waits:?}");
    assert_eq!(quotas.connect("10.0.0.2", Millis(0)), 0);
}

#[test]
fn partitions_are_made_as_long_as_there_are_tokens() {
    let who = Who { principal: "User:a", client_id: "c" };
    let quotas = quotas(&[("users", "a", "controller_mutation_rate", "1")]);
    assert_eq!(quotas.mutate(who, 11, true, Millis(0)), Ok(0));
    assert_eq!(quotas.mutate(who, 5, true, Millis(0)), Ok(5000));
    assert_eq!(quotas.mutate(who, 1, true, Millis(1000)), Err(4000));
    assert_eq!(quotas.mutate(who, 1, false, Millis(1000)), Ok(5000));
    assert_eq!(quotas.mutate(who, 1, true, Millis(6000)), Ok(1000));
}

#[test]
fn full_buckets_go_when_there_are_many() {
    let quotas = quotas(&[("clients", "<default>", "controller_mutation_rate", "1")]);
    let mutate = |name: &str, partitions, at| {
        quotas.mutate(Who { principal: "User:a", client_id: name }, partitions, true, Millis(at))
    };
    for number in 0..MANY {
        assert_eq!(mutate(&format!("c{number}"), 1, 0), Ok(0));
    }
    assert_eq!(mutate("greedy", 21, 0), Ok(10_000));
    // All but the greedy one have got their token back.
    assert_eq!(mutate("late", 1, 1500), Ok(0));
    assert_eq!(quotas.state.lock().buckets.all.len(), 2);
    assert_eq!(mutate("greedy", 1, 1500), Err(8500));
}

#[test]
fn a_crowd_is_looked_through_once_in_a_sample() {
    thread_local!(static LOOKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) });
    let window = Window { samples: 2, sample_ms: 1000 };
    let mut crowd: Crowd<usize, ()> = Crowd::default();
    let mut meet = |key: usize, at: u64| {
        crowd.get(key, window, Millis(at), |_, _, _| {
            LOOKS.set(LOOKS.get() + 1);
            false
        });
    };
    (0..MANY).for_each(|key| meet(key, 0));
    for (at, looks) in [(0, MANY), (1, MANY), (999, MANY), (1000, 2 * MANY), (1500, 2 * MANY)] {
        meet(0, at);
        assert_eq!(LOOKS.get(), looks, "at {at}");
    }
}

#[test]
fn a_connection_is_mute_for_a_while() {
    let quotas = quotas(&[("clients", "<default>", RATE, "1")]);
    let connection = ConnectionId(4);
    assert_eq!(quotas.muted_ms(connection, Millis(0)), None);
    quotas.mute(connection, 10, Millis(5));
    assert_eq!(quotas.muted_ms(connection, Millis(6)), Some(9));
    assert_eq!(quotas.muted_ms(connection, Millis(15)), None);
    quotas.set("clients", "<default>", &Settings::new());
    assert!(!quotas.is_used());
}

#[test]
fn nothing_stays_of_connections_that_are_gone() {
    let quotas = quotas(&[("clients", "<default>", RATE, "1")]);
    let muted = || {
        let state = quotas.state.lock();
        let all: Vec<u64> = state.muted.keys().map(|connection| connection.0).collect();
        assert_eq!(state.muted_until.len(), all.len());
        all
    };
    for (connection, ms, at, left) in [
        (1, 10, 0, vec![1]),
        (2, 30, 5, vec![1, 2]),
        (1, 1, 6, vec![1, 2]),
        (3, 5, 9, vec![1, 2, 3]),
        (4, 5, 10, vec![2, 3, 4]),
        (2, 40, 14, vec![2, 4]),
        (5, 1, 40, vec![2, 5]),
    ] {
        quotas.mute(ConnectionId(connection), ms, Millis(at));
        assert_eq!(muted(), left, "at {at}");
    }
    quotas.set("clients", "<default>", &Settings::new());
    quotas.forget(ConnectionId(2));
    assert_eq!(muted(), [5]);
}
