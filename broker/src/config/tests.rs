//! Whole files in, settings or errors out.

use super::*;

const ZK: &str = "zookeeper.connect=localhost:2181\n";

fn parse(text: &str) -> Result<(BrokerConfig, Vec<ConfigWarning>), PropertyError> {
    BrokerConfig::parse(&Properties::parse(&format!("{ZK}{text}"), "f"))
}

fn refused(text: &str, expected: &str) {
    assert_eq!(parse(text).expect_err(text).to_string(), expected);
}

#[test]
fn tables_are_sorted_and_every_default_passes_its_own_check() {
    for table in [BROKER_SETTINGS, TOPIC_SETTINGS, GROUP_SETTINGS] {
        assert!(table.windows(2).all(|pair| pair[0].name < pair[1].name));
        for row in table {
            assert!(!row.doc.is_empty(), "{} has no documentation", row.name);
            if let Some(text) = row.default {
                assert_eq!(row.parse(text).unwrap().to_text(), text, "{}", row.name);
            }
        }
    }
    for row in TOPIC_SETTINGS.iter().chain(GROUP_SETTINGS) {
        assert!(row.mirrors.is_none_or(|name| broker_setting(name).is_some()), "{}", row.name);
    }
}

#[test]
fn defaults_are_kafkas() {
    let (config, warnings) = parse("").unwrap();
    assert_eq!(warnings, []);
    assert_eq!((config.broker_id, config.num_partitions, config.log_retention_ms), (-1, 1, 604_800_000));
    assert_eq!((config.zookeeper_session_timeout_ms, config.zookeeper_connection_timeout_ms), (18_000, 18_000));
    assert_eq!(config.log_dirs, ["/tmp/kafka-logs"]);
    assert_eq!(config.inter_broker_listener().endpoint(), "PLAINTEXT://:9092");
    assert_eq!(config.log_flush_interval_ms, i64::MAX);
}

#[test]
fn the_finer_unit_comes_first() {
    for (text, expected) in [
        ("log.retention.hours=1", 3_600_000),
        ("log.retention.hours=1\nlog.retention.minutes=2", 120_000),
        ("log.retention.hours=1\nlog.retention.minutes=2\nlog.retention.ms=3", 3),
        ("log.retention.hours=-1", -1),
    ] {
        assert_eq!(parse(text).unwrap().0.log_retention_ms, expected, "{text}");
    }
    assert_eq!(parse("log.dirs=/a, /b\nlog.dir=/c").unwrap().0.log_dirs, ["/a", "/b"]);
}

#[test]
fn wrong_values_name_file_line_and_key() {
    refused("num.partitions=0", "f:2: num.partitions=0: Value must be at least 1");
    refused("\nnum.partitions=x", "f:3: num.partitions=x: Not a number of type INT");
    refused(
        "process.roles=broker",
        "f:2: process.roles=broker: KRaft mode is not available: remove process.roles and set zookeeper.connect",
    );
    refused(
        "broker.id=1001",
        "f:2: broker.id=1001: broker.id must be greater than or equal to -1 and not greater than reserved.broker.max.id",
    );
    refused("broker.id=1\nnode.id=2", "f:3: node.id=2: You must set `node.id` to the same value as `broker.id`.");
    refused(
        "advertised.listeners=PLAINTEXT://0.0.0.0:9092",
        "f:2: advertised.listeners=PLAINTEXT://0.0.0.0:9092: advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.",
    );
    refused(
        "listeners=SSL://a:1",
        "default: inter.broker.listener.name=: inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options based on currently configured listeners are SSL",
    );
    let missing = BrokerConfig::parse(&Properties::default()).unwrap_err();
    assert_eq!(missing.problem, "Missing required configuration `zookeeper.connect` which has no default value.");
}

#[test]
fn listeners_follow_the_protocol_map() {
    let (config, _) = parse(
        "listeners=INSIDE://:9092,OUTSIDE://:9094\nadvertised.listeners=INSIDE://kafka:9092,OUTSIDE://localhost:9094\n\
         listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT\ninter.broker.listener.name=INSIDE",
    )
    .unwrap();
    assert_eq!(config.inter_broker_listener().endpoint(), "INSIDE://kafka:9092");
    assert_eq!(config.listeners.len(), 2);
}

#[test]
fn unknown_keys_are_warnings() {
    let (_, warnings) =
        parse("foo=1\nhost.name=x\nlistener.name.a.ssl.keystore.location=/x\nlistener.name.a.plain.sasl.jaas.config=y\nnum.partitons=3")
            .unwrap();
    let texts: Vec<String> = warnings.iter().map(ConfigWarning::to_string).collect();
    assert_eq!(
        texts,
        [
            "f:2: foo: unknown setting, ignored",
            "f:3: host.name: removed in Kafka 3.0 and ignored; use listeners and advertised.listeners",
            "f:6: num.partitons: unknown setting, ignored; is num.partitions meant?",
        ]
    );
}

fn overrides(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_topic_takes_the_brokers_settings_and_its_own() {
    let broker = parse("log.retention.hours=2\nlog.segment.bytes=1000\nlog.cleanup.policy=compact").unwrap().0;
    let topic = TopicConfig::from_overrides(&broker, &overrides(&[("segment.bytes", "2000")])).unwrap();
    assert_eq!((topic.retention_ms, topic.segment_bytes, topic.is_compacted()), (7_200_000, 2000, true));
    for (pairs, expected) in [
        (&[("foo", "1")][..], "Unknown topic config name: foo"),
        (&[("retention.ms", "x")], "Invalid value x for configuration retention.ms: Not a number of type LONG"),
        (
            &[("min.compaction.lag.ms", "5"), ("max.compaction.lag.ms", "4")],
            "conflict topic config setting min.compaction.lag.ms (5) > max.compaction.lag.ms (4)",
        ),
    ] {
        assert_eq!(validate_topic(&broker, &overrides(pairs)).unwrap_err().to_string(), expected);
    }
    let (kept, problems) =
        TopicConfig::from_stored(&broker, &overrides(&[("retention.ms", "x"), ("segment.bytes", "2000")]));
    assert_eq!((kept.segment_bytes, kept.retention_ms, problems.len()), (2000, 7_200_000, 1));
}

#[test]
fn dynamic_settings_lie_over_the_file() {
    let broker = parse("log.retention.ms=5").unwrap().0;
    let all = overrides(&[("log.retention.ms", "6"), ("num.io.threads", "3")]);
    let own = overrides(&[("log.retention.ms", "7")]);
    let now = broker.with_dynamic(&all, &own).unwrap();
    assert_eq!((now.log_retention_ms, now.num_io_threads), (7, 3));
}

fn layers<'a>(file: &'a BrokerConfig, for_all: &[(&str, &str)], own: &[(&str, &str)]) -> describe::Layers<'a> {
    describe::Layers { file, for_all: overrides(for_all), own: overrides(own) }
}

/// As kafka-configs shows it, without the marks for sensitive ones.
fn shown(described: &[describe::Described], name: &str) -> String {
    let found = described.iter().find(|one| one.name == name).unwrap_or_else(|| panic!("no {name}"));
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    let synonym = |s: &describe::Synonym| format!("{:?}:{}={}", s.source, s.name, text(&s.value));
    let synonyms: Vec<String> = found.synonyms.iter().map(synonym).collect();
    format!("{} {:?} [{}]", text(&found.value), found.source, synonyms.join(", "))
}

#[test]
fn a_brokers_settings_are_described_as_kafka_describes_them() {
    let file =
        parse("broker.id=0\nlog.retention.hours=24\nfoo.bar=1\nlistener.name.a.ssl.keystore.type=PEM").unwrap().0;
    let layers =
        layers(&file, &[("log.cleaner.threads", "2"), ("log.retention.ms", "7000")], &[("log.cleaner.threads", "3")]);
    let described = layers.broker();
    for (name, expected) in [
        ("advertised.listeners", "null Default []"),
        ("authorizer.class.name", " Default [Default:authorizer.class.name=]"),
        ("broker.id", "0 StaticBroker [StaticBroker:broker.id=0, Default:broker.id=-1]"),
        ("foo.bar", "null StaticBroker [StaticBroker:foo.bar=null]"),
        (
            "listener.name.a.ssl.keystore.type",
            "PEM StaticBroker [StaticBroker:listener.name.a.ssl.keystore.type=PEM, Default:ssl.keystore.type=JKS]",
        ),
        (
            "log.cleaner.threads",
            "3 DynamicBroker [DynamicBroker:log.cleaner.threads=3, DynamicDefaultBroker:log.cleaner.threads=2, \
             Default:log.cleaner.threads=1]",
        ),
        ("log.flush.interval.ms", "null Default []"),
        // A setting made while running takes the place of its synonyms in the file.
        (
            "log.retention.hours",
            "168 StaticBroker [StaticBroker:log.retention.hours=24, Default:log.retention.hours=168]",
        ),
        (
            "log.retention.ms",
            "7000 DynamicDefaultBroker [DynamicDefaultBroker:log.retention.ms=7000, \
             StaticBroker:log.retention.hours=24, Default:log.retention.hours=168]",
        ),
        ("node.id", "0 StaticBroker [StaticBroker:node.id=0, Default:node.id=-1]"),
        ("sasl.jaas.config", "null Default []"),
    ] {
        assert_eq!(shown(&described, name), expected, "{name}");
    }
    assert!(!described.iter().any(|one| one.name == "group.share.enable"), "internal settings are not shown");
    let read_only = |name: &str| described.iter().find(|one| one.name == name).unwrap().is_read_only;
    assert!(read_only("broker.id") && !read_only("log.cleaner.threads"));
    let for_all = layers.for_all_brokers();
    assert_eq!(for_all.len(), 2);
    assert_eq!(
        shown(&for_all, "log.cleaner.threads"),
        "2 DynamicDefaultBroker [DynamicDefaultBroker:log.cleaner.threads=2]"
    );
}

#[test]
fn a_topics_settings_are_described_as_kafka_describes_them() {
    let file = parse("broker.id=0\nlog.retention.hours=24").unwrap().0;
    let described = layers(&file, &[("log.retention.ms", "7000")], &[]).topic(&overrides(&[("retention.ms", "5000")]));
    assert_eq!(described.len(), TOPIC_SETTINGS.len());
    for (name, expected) in [
        ("cleanup.policy", "delete Default [Default:log.cleanup.policy=delete]"),
        ("flush.ms", "9223372036854775807 Default []"),
        ("leader.replication.throttled.replicas", " Default []"),
        (
            "retention.ms",
            "5000 Topic [Topic:retention.ms=5000, DynamicDefaultBroker:log.retention.ms=7000, \
             StaticBroker:log.retention.hours=24, Default:log.retention.hours=168]",
        ),
        ("segment.ms", "604800000 Default []"),
    ] {
        assert_eq!(shown(&described, name), expected, "{name}");
    }
}

#[test]
fn changes_of_topics_are_checked_in_kafkas_words() {
    let file = parse("").unwrap().0;
    let resource = "Invalid config value for resource ConfigResource(type=TOPIC, name='t')";
    for (pairs, expected) in [
        (
            &[("retention.ms", "x")][..],
            format!("{resource}: Invalid value x for configuration retention.ms: Not a number of type LONG"),
        ),
        (&[("foo", "x")], "Unknown topic config name: foo".to_owned()),
        (
            &[("cleanup.policy", "foo")],
            format!(
                "{resource}: Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete"
            ),
        ),
    ] {
        assert_eq!(
            change::check_topic(&file, "t", &overrides(&[]), &overrides(pairs)),
            Err(change::ChangeError::InvalidConfig(expected))
        );
    }
}

#[test]
fn changes_of_brokers_are_checked_in_kafkas_words() {
    let file = parse("broker.id=0").unwrap().0;
    let layers = layers(&file, &[], &[]);
    for (pairs, is_for_all, expected) in [
        (
            &[("log.cleaner.threads", "x")][..],
            false,
            "Invalid value x for configuration log.cleaner.threads: Not a number of type INT",
        ),
        (&[("broker.rack", "x")], false, "Cannot update these configs dynamically: Set(broker.rack)"),
        (
            &[("listeners", "PLAINTEXT://:1")],
            true,
            "Cannot update these configs at default cluster level, broker id must be specified: Set(listeners)",
        ),
        (
            &[("ssl.keystore.type", "PEM")],
            true,
            "These security configs can be dynamically updated only per-listener using the listener prefix: \
             HashSet(ssl.keystore.type)",
        ),
        (
            &[("num.io.threads", "100")],
            true,
            "Invalid value org.apache.kafka.common.config.ConfigException: Dynamic thread count update validation failed \
             for num.io.threads=100, value should not be greater than double the current value 8 for configuration \
             Invalid dynamic configuration",
        ),
    ] {
        let refused = change::check_broker(&layers, &overrides(pairs), is_for_all);
        assert_eq!(refused, Err(change::ChangeError::InvalidRequest(expected.to_owned())));
    }
    for fine in [("foo", "x"), ("log.cleaner.threads", "2"), ("leader.replication.throttled.rate", "5")] {
        assert_eq!(change::check_broker(&layers, &overrides(&[fine]), true), Ok(()));
    }
}

#[test]
fn single_settings_are_changed() {
    use change::Operation::{Append, Delete, Set, Subtract};
    let before = overrides(&[("cleanup.policy", "compact"), ("retention.ms", "5")]);
    let operation = |name: &str, operation| (name.to_owned(), operation);
    for (operations, expected) in [
        (vec![operation("retention.ms", Delete)], Ok(vec![("cleanup.policy", "compact")])),
        (
            vec![operation("cleanup.policy", Append("delete,compact".to_owned())), operation("retention.ms", Delete)],
            Ok(vec![("cleanup.policy", "compact,delete")]),
        ),
        (
            vec![
                operation("cleanup.policy", Subtract("compact".to_owned())),
                operation("retention.ms", Set("6".to_owned())),
            ],
            Ok(vec![("cleanup.policy", ""), ("retention.ms", "6")]),
        ),
        (
            vec![operation("retention.ms", Append("6".to_owned()))],
            Err("Config value append is not allowed for config key: retention.ms"),
        ),
        (vec![operation("foo", Subtract("6".to_owned()))], Err("Unknown config name: foo")),
    ] {
        let found = change::apply(&before, &operations, change::topic_row).map_err(|error| error.to_string());
        assert_eq!(found, expected.map(|pairs| overrides(&pairs)).map_err(str::to_owned));
    }
}

#[test]
fn the_remote_store_is_a_folder_or_nothing() {
    let on = "remote.log.storage.system.enable=true\n\
              remote.log.storage.manager.class.name=org.apache.kafka.server.log.remote.storage.LocalTieredStorage\n";
    assert_eq!(parse("rsm.config.dir=/r").unwrap().0.remote_store, None);
    let (config, warnings) =
        parse(&format!("{on}rsm.config.dir=/r\nrlmm.config.remote.log.metadata.topic.num.partitions=7")).unwrap();
    let store = config.remote_store.unwrap();
    assert_eq!((store.dir.as_str(), store.metadata_partitions, store.metadata_replication_factor), ("/r", 7, 3));
    assert_eq!((store.metadata_retention_ms, store.consume_wait_ms, warnings.len()), (-1, 120_000, 0));
    let own_prefix = format!("{on}remote.log.storage.manager.impl.prefix=x.\nx.dir=/q");
    assert_eq!(parse(&own_prefix).unwrap().0.remote_store.unwrap().dir, "/q");
    for (text, key) in [
        ("remote.log.storage.system.enable=true", "remote.log.storage.manager.class.name"),
        (
            "remote.log.storage.system.enable=true\nremote.log.storage.manager.class.name=S3",
            "remote.log.storage.manager.class.name",
        ),
        (on, "rsm.config.dir"),
        (
            &format!("{on}rsm.config.dir=/r\nremote.log.metadata.manager.class.name=Mine"),
            "remote.log.metadata.manager.class.name",
        ),
        (
            &format!("{on}rsm.config.dir=/r\nrlmm.config.remote.log.metadata.topic.num.partitions=0"),
            "rlmm.config.remote.log.metadata.topic.num.partitions",
        ),
        (
            &format!("{on}rsm.config.dir=/r\nlog.local.retention.bytes=5\nlog.retention.bytes=4"),
            "log.local.retention.bytes",
        ),
        (&format!("{on}rsm.config.dir=/r\nlog.local.retention.ms=-1"), "log.local.retention.ms"),
    ] {
        assert_eq!(parse(text).unwrap_err().key, key, "{text}");
    }
}
