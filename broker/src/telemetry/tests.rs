//! Clients and what they push, against Kafka's `ClientMetricsManager`.

use super::*;
use crate::config::describe::Texts;
use bytes::Bytes;

/// A length-delimited field of protobuf.
fn field(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag << 3 | 2];
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

fn number(tag: u8, value: u64) -> Vec<u8> {
    let mut bytes = vec![tag << 3];
    prost::encoding::encode_varint(value, &mut bytes);
    bytes
}

fn fixed(tag: u8, bits: u64) -> Vec<u8> {
    [&[tag << 3 | 1][..], &bits.to_le_bytes()].concat()
}

fn pair(tag: u8, key: &str, value: &str) -> Vec<u8> {
    field(tag, &[field(1, key.as_bytes()), field(2, &field(1, value.as_bytes()))].concat())
}

/// A point with a label `topic`.
fn point(topic: &str, value: f64) -> Vec<u8> {
    field(1, &[fixed(4, value.to_bits()), pair(7, "topic", topic)].concat())
}

fn gauge(name: &str, points: &[Vec<u8>]) -> Vec<u8> {
    field(2, &[field(5, &points.concat()), field(1, name.as_bytes())].concat())
}

fn sum(name: &str, points: &[Vec<u8>], temporality: u64, is_monotonic: bool) -> Vec<u8> {
    let sum = [points.concat(), number(2, temporality), number(3, u64::from(is_monotonic))].concat();
    field(2, &[field(1, name.as_bytes()), field(7, &sum)].concat())
}

/// A message of a client that is in a group.
fn message(metrics: &[Vec<u8>]) -> Vec<u8> {
    field(1, &[field(2, &metrics.concat()), field(1, &pair(1, "group_id", "g"))].concat())
}

fn texts(pairs: &[(&str, &str)]) -> Texts {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn subscription(pairs: &[(&str, &str)]) -> Option<Subscription> {
    Subscription::parse(&texts(pairs)).unwrap()
}

fn telemetry() -> Telemetry {
    let telemetry = Telemetry::new(1000, Rng::with_seed(7));
    telemetry.set_subscription("all", subscription(&[("metrics", "a.,b."), ("interval.ms", "1000")]));
    telemetry
}

fn client() -> Attributes {
    Attributes { client_id: Some("shop".to_owned()), ..Attributes::default() }
}

fn push_of(told: &Told, metrics: Vec<u8>) -> Push {
    Push {
        instance: told.instance,
        subscription_id: told.subscription_id,
        is_last: false,
        compression: 0,
        metrics: Bytes::from(metrics),
    }
}

/// Everything that is kept, as lines.
fn kept(telemetry: &Telemetry, now: u64) -> Vec<String> {
    let mut lines = Vec::new();
    telemetry.for_each(Millis(now), |attributes, pushed| {
        for (name, labels, series) in pushed.iter() {
            let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let kind = if series.is_counter { "counter" } else { "gauge" };
            let client = attributes.client_id.as_deref().unwrap_or("-");
            lines.push(format!("{client} {kind} {name}{{{}}} {}", labels.join(","), series.value));
        }
    });
    lines
}

#[test]
fn what_a_client_is_told_is_what_matches_it() {
    let telemetry = telemetry();
    let told = telemetry.subscribe(Uuid::nil(), client(), Millis(0)).unwrap();
    assert_eq!((told.metrics.join(" ").as_str(), told.interval_ms), ("a. b.", 1000));
    let again = telemetry.subscribe(told.instance, client(), Millis(1000)).unwrap();
    assert_eq!(again, told);
    telemetry.set_subscription("more", subscription(&[("metrics", "*"), ("match", "client_id=sh.*")]));
    let all = telemetry.subscribe(told.instance, client(), Millis(1001)).unwrap();
    assert_eq!((all.metrics.join(" ").as_str(), all.interval_ms), ("*", 1000));
    assert_ne!(all.subscription_id, told.subscription_id);
    let other = telemetry.subscribe(Uuid::nil(), Attributes::default(), Millis(1001)).unwrap();
    assert_eq!(other.metrics.join(" "), "a. b.");
    telemetry.set_subscription("all", None);
    telemetry.set_subscription("more", None);
    let none = telemetry.subscribe(told.instance, client(), Millis(1002)).unwrap();
    assert_eq!((none.metrics.len(), none.interval_ms), (0, DEFAULT_INTERVAL_MS));
}

#[test]
fn every_broker_gives_a_client_the_same_subscription_id() {
    let told = telemetry().subscribe(Uuid::nil(), client(), Millis(0)).unwrap();
    let elsewhere = telemetry();
    elsewhere.push(push_of(&told, message(&[])), client(), Millis(5)).unwrap();
    assert_eq!(elsewhere.subscribe(told.instance, client(), Millis(2000)).unwrap(), told);
}

#[test]
fn requests_are_refused_as_by_kafka() {
    type Change = fn(&mut Push);
    let cases: [(&str, u64, Change, Option<&str>); 10] = [
        ("at once", 0, |_| {}, None),
        ("nobody", 0, |push| push.instance = Uuid::nil(), Some("invalid client instance id")),
        ("reserved", 0, |push| push.instance = Uuid::from_u128(1), Some("invalid client instance id")),
        ("another's", 0, |push| push.subscription_id ^= 1, Some("the subscription is not the client's current one")),
        ("compression", 0, |push| push.compression = 9, Some("compression type 9 is not known")),
        ("too large", 0, |push| push.metrics = vec![0; 1001].into(), Some("1001 bytes are more than are taken")),
        ("rubbish", 0, |push| push.metrics = vec![1; 9].into(), Some("the metrics are no OpenTelemetry message")),
        ("not gzip", 0, |push| (push.compression, push.metrics) = (1, vec![7; 20].into()), Some("")),
        ("nothing", 0, |push| push.metrics = Bytes::new(), None),
        ("the last", 0, |push| push.is_last = true, None),
    ];
    for (name, at, change, problem) in cases {
        let telemetry = telemetry();
        let told = telemetry.subscribe(Uuid::nil(), client(), Millis(at)).unwrap();
        let mut push = push_of(&told, message(&[gauge("a.x", &[point("t", 1.0)])]));
        change(&mut push);
        let outcome = telemetry.push(push, client(), Millis(at)).map_err(|error| error.to_string());
        match problem {
            None => assert_eq!(outcome, Ok(()), "{name}"),
            Some(problem) => {
                assert!(outcome.as_ref().is_err_and(|text| text.starts_with(problem)), "{name}: {outcome:?}")
            }
        }
    }
}

#[test]
fn clients_keep_to_their_interval() {
    let telemetry = telemetry();
    let told = telemetry.subscribe(Uuid::nil(), client(), Millis(0)).unwrap();
    let push = |at: u64, is_last: bool| {
        let push = Push { is_last, ..push_of(&told, message(&[])) };
        telemetry.push(push, client(), Millis(at)).map_err(|error| error.to_string())
    };
    let too_soon = Err("the request came before the next push interval".to_owned());
    assert_eq!(push(10, false), Ok(()), "behind a subscription it comes when it likes");
    assert_eq!(push(1009, false), too_soon);
    assert!(telemetry.subscribe(told.instance, client(), Millis(1009)).is_err());
    assert_eq!(push(1010, false), Ok(()));
    assert_eq!(push(1020, true), Ok(()), "the last one need not wait");
    assert_eq!(push(9000, false), Err("the client has said that it ends".to_owned()));
    assert_eq!(telemetry.throttled.get(), 2);
}

#[test]
fn who_pushed_for_an_old_subscription_may_ask_at_once() {
    let telemetry = telemetry();
    let told = telemetry.subscribe(Uuid::nil(), client(), Millis(0)).unwrap();
    telemetry.set_subscription("more", subscription(&[("metrics", "c.")]));
    let outcome = telemetry.push(push_of(&told, message(&[])), client(), Millis(5));
    assert!(matches!(outcome, Err(TelemetryError::UnknownSubscription)));
    let told = telemetry.subscribe(told.instance, client(), Millis(6)).unwrap();
    assert_eq!(told.metrics.join(" "), "a. b. c.");
    assert_eq!(telemetry.push(push_of(&told, message(&[])), client(), Millis(7)).ok(), Some(()));
}

#[test]
fn what_was_pushed_is_kept_until_the_client_is_silent_for_long() {
    let telemetry = telemetry();
    let told = telemetry.subscribe(Uuid::nil(), client(), Millis(0)).unwrap();
    let first = [
        gauge("org.apache.kafka.x.avg", &[point("t", 1.5), point("u", -2.0)]),
        sum("org.apache.kafka.y.total", &[point("t", 7.0)], 2, true),
        sum("app-level", &[point("t", 3.0)], 1, true),
    ];
    telemetry.push(push_of(&told, message(&first)), client(), Millis(0)).unwrap();
    let lines = [
        "shop counter client_metric_app_level{group_id=g,topic=t} 3",
        "shop gauge org_apache_kafka_x_avg{group_id=g,topic=t} 1.5",
        "shop gauge org_apache_kafka_x_avg{group_id=g,topic=u} -2",
        "shop counter org_apache_kafka_y_total{group_id=g,topic=t} 7",
    ];
    assert_eq!(kept(&telemetry, 1), lines);
    let second =
        [sum("org.apache.kafka.y.total", &[point("t", 9.0)], 2, true), sum("app-level", &[point("t", 3.0)], 1, true)];
    let compressed = Compression::Zstd.compress(None, &message(&second)).unwrap();
    let push = Push { compression: 4, ..push_of(&told, compressed) };
    telemetry.push(push, client(), Millis(1000)).unwrap();
    let lines = [
        "shop counter client_metric_app_level{group_id=g,topic=t} 6",
        "shop counter org_apache_kafka_y_total{group_id=g,topic=t} 9",
    ];
    assert_eq!(kept(&telemetry, 60_999), lines);
    assert_eq!(kept(&telemetry, 61_000), [""; 0]);
    assert_eq!(telemetry.state.lock().pushed_bytes, 0);
}

#[test]
fn names_are_made_such_that_prometheus_takes_them() {
    let telemetry = telemetry();
    let told = telemetry.subscribe(Uuid::nil(), client(), Millis(0)).unwrap();
    let odd = field(
        1,
        &[
            fixed(6, 5),
            pair(7, "node.id", "a\"\n"),
            pair(7, "__name__", "x"),
            pair(7, "client_id", "not mine"),
            pair(7, "0", "zero"),
            pair(7, "node-id", "twice"),
        ]
        .concat(),
    );
    telemetry.push(push_of(&told, message(&[gauge("kafka_server:up", &[odd])])), client(), Millis(0)).unwrap();
    let line = "shop gauge client_metric_kafka_server_up{group_id=g,label_0=zero,name__=x,node_id=a\"\n} 5";
    assert_eq!(kept(&telemetry, 1), [line]);
}

#[test]
fn memory_is_bounded_by_client_and_in_all() {
    let mut pushed = Pushed::default();
    let point = |number: usize| Point {
        name: format!("m{number:05}"),
        temporality: Temporality::Gauge,
        is_monotonic: false,
        labels: Vec::new(),
        value: 0.0,
    };
    (0..5_000).for_each(|number| pushed.add(point(number)));
    assert_eq!(pushed.iter().count(), 4_000);
    let all = pushed.bytes();
    assert_eq!(pushed.shrink_to(all / 2), 1_000 + 2_000);
    assert_eq!((pushed.iter().count(), pushed.bytes()), (2_000, all / 2));
    let telemetry = telemetry();
    for number in 0..INSTANCES_MAX + 5 {
        telemetry.subscribe(Uuid::nil(), client(), Millis(number as u64 / 1000)).unwrap();
    }
    let state = telemetry.state.lock();
    assert_eq!((state.instances.len(), state.deadlines.len()), (INSTANCES_MAX, INSTANCES_MAX));
}

#[test]
fn a_message_costs_no_more_than_it_may() {
    let points: Vec<_> = (0..otlp::POINTS_MAX + 7).map(|number| point(&number.to_string(), 1.0)).collect();
    let labels: Vec<_> = (0..31).map(|number| pair(1, &format!("l{number}"), &"v".repeat(256))).collect();
    let resource = field(1, &labels.concat());
    let metrics = field(1, &[resource, field(2, &gauge("a.x", &points))].concat());
    let mut read = 0;
    assert_eq!(otlp::read(Bytes::from(metrics.clone()), &mut |_| read += 1), Ok(7));
    assert_eq!(read, otlp::POINTS_MAX);
    let telemetry = Telemetry::new(1 << 20, Rng::with_seed(7));
    let told = telemetry.subscribe(Uuid::nil(), client(), Millis(0)).unwrap();
    telemetry.push(push_of(&told, metrics), client(), Millis(0)).unwrap();
    let bytes = telemetry.state.lock().pushed_bytes;
    assert!((1 << 19..=1 << 20).contains(&bytes), "{bytes}");
    assert_eq!(kept(&telemetry, 0).len() as u64 + telemetry.dropped.get(), otlp::POINTS_MAX as u64 + 7);
}

proptest::proptest! {
    #[test]
    fn no_bytes_upset_the_reader(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
        at in 0usize..200,
        with in proptest::prelude::any::<u8>(),
    ) {
        let _ = otlp::read(Bytes::from(bytes), &mut |_| {});
        let mut good = message(&[gauge("a.x", &[point("t", 1.0)]), sum("b.y", &[point("t", 2.0)], 2, true)]);
        let at = at % good.len();
        good[at] = with;
        let _ = otlp::read(Bytes::from(good), &mut |_| {});
    }
}
