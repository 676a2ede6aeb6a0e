//! Records as Kafka 3.9 wrote them, read and written again.

use super::*;

fn text(data: Vec<u8>) -> String {
    String::from_utf8(data).unwrap()
}

/// `data` is read as `record`, and `record` is written as `data`.
fn check<T: std::fmt::Debug + PartialEq>(
    data: &str,
    record: T,
    read: fn(&[u8]) -> Result<T, JsonError>,
    write: fn(&T) -> Vec<u8>,
) {
    assert_eq!(read(data.as_bytes()), Ok(record), "reading {data}");
    let record = read(data.as_bytes()).unwrap();
    assert_eq!(text(write(&record)), data, "writing {record:?}");
}

fn endpoint(listener: &str, host: &str, port: u16, security_protocol: SecurityProtocol) -> Endpoint {
    Endpoint { listener: listener.into(), host: host.into(), port, security_protocol }
}

#[test]
fn broker_registrations() {
    check(
        r#"{"features":{},"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},"endpoints":["PLAINTEXT://127.0.0.1:29392"],"rack":"r1","jmx_port":-1,"port":29392,"host":"127.0.0.1","version":5,"timestamp":"1795270125486"}"#,
        BrokerRegistration {
            undelete_ms: 0,
            endpoints: vec![endpoint("PLAINTEXT", "127.0.0.1", 29392, SecurityProtocol::Plaintext)],
            rack: Some("r1".into()),
            jmx_port: -1,
            timestamp_ms: 1795270125486,
            features: BTreeMap::new(),
            past: None,
        },
        BrokerRegistration::decode,
        BrokerRegistration::encode,
    );
    check(
        r#"{"features":{},"listener_security_protocol_map":{"CLIENT":"SASL_SSL","REPLICATION":"SSL"},"endpoints":["CLIENT://h:1","REPLICATION://[::1]:2"],"jmx_port":9999,"port":-1,"host":null,"version":5,"timestamp":"1"}"#,
        BrokerRegistration {
            undelete_ms: 0,
            endpoints: vec![
                endpoint("CLIENT", "h", 1, SecurityProtocol::SaslSsl),
                endpoint("REPLICATION", "::1", 2, SecurityProtocol::Ssl),
            ],
            rack: None,
            jmx_port: 9999,
            timestamp_ms: 1,
            features: BTreeMap::new(),
            past: None,
        },
        BrokerRegistration::decode,
        BrokerRegistration::encode,
    );
    let of_ours = r#"{"features":{},"listener_security_protocol_map":{},"endpoints":[],"jmx_port":-1,"port":-1,"host":null,"version":5,"timestamp":"1","log_dirs":{"clean_since":-1,"kept_since":7}}"#;
    check(
        of_ours,
        BrokerRegistration {
            undelete_ms: 0,
            endpoints: Vec::new(),
            rack: None,
            jmx_port: -1,
            timestamp_ms: 1,
            features: BTreeMap::new(),
            past: Some(DiskPast { clean_since: None, kept_since: Some(7) }),
        },
        BrokerRegistration::decode,
        BrokerRegistration::encode,
    );
    let old = br#"{"version":1,"host":"localhost","port":9092,"jmx_port":9999,"timestamp":"2233345666"}"#;
    let read = BrokerRegistration::decode(old).unwrap();
    assert_eq!(read.endpoints, [endpoint("PLAINTEXT", "localhost", 9092, SecurityProtocol::Plaintext)]);
    assert!(BrokerRegistration::decode(br#"{"version":5,"endpoints":["X://h:1"],"jmx_port":1}"#).is_err());
    assert!(BrokerRegistration::decode(b"").is_err());
}

#[test]
fn topics() {
    let id = decode_id("IRWp4pYlTEGM8IZ9SzUC9A");
    assert!(id.is_some());
    let plain = |replicas: &[i32]| Assignment { replicas: replicas.to_vec(), ..Assignment::default() };
    check(
        r#"{"partitions":{"0":[1,0],"1":[0,1],"2":[1,0]},"topic_id":"IRWp4pYlTEGM8IZ9SzUC9A","adding_replicas":{},"removing_replicas":{},"version":3}"#,
        TopicRecord {
            topic_id: id,
            partitions: BTreeMap::from([(0, plain(&[1, 0])), (1, plain(&[0, 1])), (2, plain(&[1, 0]))]),
        },
        TopicRecord::decode,
        TopicRecord::encode,
    );
    check(
        r#"{"partitions":{"0":[3,1],"10":[2]},"adding_replicas":{"0":[3]},"removing_replicas":{"0":[1]},"version":3}"#,
        TopicRecord {
            topic_id: None,
            partitions: BTreeMap::from([
                (0, Assignment { replicas: vec![3, 1], adding: vec![3], removing: vec![1] }),
                (10, plain(&[2])),
            ]),
        },
        TopicRecord::decode,
        TopicRecord::encode,
    );
    let old = TopicRecord::decode(br#"{"version":1,"partitions":{"0":[0]}}"#).unwrap();
    assert_eq!(old.partitions, BTreeMap::from([(0, plain(&[0]))]));
    assert!(TopicRecord::decode(br#"{"partitions":{"x":[0]}}"#).is_err());
}

#[test]
fn partition_states() {
    let (controller_epoch, leader, leader_epoch, isr) = (1, 1, 0, vec![1, 0]);
    let state = PartitionState { controller_epoch, leader, leader_epoch, isr, recovering: false, eligibility: None };
    check(
        r#"{"controller_epoch":1,"leader":1,"version":1,"leader_epoch":0,"isr":[1,0]}"#,
        state.clone(),
        PartitionState::decode,
        PartitionState::encode,
    );
    check(
        r#"{"controller_epoch":1,"leader":1,"version":1,"leader_epoch":0,"isr":[1,0],"leader_recovery_state":1}"#,
        PartitionState { recovering: true, ..state.clone() },
        PartitionState::decode,
        PartitionState::encode,
    );
    let (isr, eligible) = (BTreeMap::from([(1, 17)]), BTreeMap::from([(0, 12), (2, 9)]));
    check(
        r#"{"controller_epoch":1,"leader":1,"version":1,"leader_epoch":0,"isr":[1,0],"eligible_leader_replicas":{"min_isr":2,"isr":{"1":17},"eligible":{"0":12,"2":9}}}"#,
        PartitionState { eligibility: Some(Eligibility { min_isr: 2, isr, eligible }), ..state.clone() },
        PartitionState::decode,
        PartitionState::encode,
    );
    let strange = br#"{"controller_epoch":1,"leader":1,"leader_epoch":0,"isr":[1,0],"eligible_leader_replicas":[7]}"#;
    assert_eq!(PartitionState::decode(strange), Ok(state));
}

#[test]
fn small_records() {
    let controller = r#"{"version":2,"brokerid":0,"timestamp":"1795270125638","kraftControllerEpoch":-1}"#;
    assert_eq!(text(encode_controller(0, 1795270125638)), controller);
    assert_eq!(decode_controller(controller.as_bytes()), Ok(0));
    assert_eq!(decode_controller(br#"{"version":1,"brokerid":7,"timestamp":"1"}"#), Ok(7));
    assert_eq!(text(encode_controller_epoch(12)), "12");
    assert_eq!(decode_controller_epoch(b"12"), Ok(12));
    assert!(decode_controller_epoch(b"x").is_err());
    let cluster = r#"{"version":"1","id":"3YwjBJs7TlK_ESBmvmWhMg"}"#;
    assert_eq!(text(encode_cluster_id("3YwjBJs7TlK_ESBmvmWhMg")), cluster);
    assert_eq!(decode_cluster_id(cluster.as_bytes()).as_deref(), Ok("3YwjBJs7TlK_ESBmvmWhMg"));
    let config = r#"{"version":1,"config":{"cleanup.policy":"compact,delete","retention.ms":"1000"}}"#;
    let entries = decode_config(config.as_bytes()).unwrap();
    assert_eq!(text(encode_config(&entries)), config);
    assert_eq!(text(encode_config(&BTreeMap::new())), r#"{"version":1,"config":{}}"#);
    assert_eq!(decode_config(b""), Ok(BTreeMap::new()));
    let change = r#"{"version":2,"entity_path":"topics/ta"}"#;
    assert_eq!(text(encode_config_change("topics/ta")), change);
    assert_eq!(decode_config_change(change.as_bytes()).as_deref(), Ok("topics/ta"));
    let old = br#"{"version":1,"entity_type":"topics","entity_name":"ta"}"#;
    assert_eq!(decode_config_change(old).as_deref(), Ok("topics/ta"));
    let partitions = r#"{"version":1,"partitions":[{"topic":"t","partition":3}]}"#;
    assert_eq!(text(encode_partitions(&[("t".into(), 3)])), partitions);
    assert_eq!(decode_partitions(partitions.as_bytes()), Ok(vec![("t".into(), 3)]));
    assert_eq!(text(encode_log_dir_event(2)), r#"{"version":1,"broker":2,"event":1}"#);
    assert_eq!(decode_log_dir_event(br#"{"version":1,"broker":2,"event":1}"#), Ok(2));
    let block = r#"{"version":1,"broker":2,"block_start":"1000","block_end":"1999"}"#;
    let read = ProducerIdBlock { broker: 2, first: 1000, last: 1999 };
    assert_eq!(text(read.encode()), block);
    assert_eq!(ProducerIdBlock::decode(block.as_bytes()), Ok(Some(read)));
    assert_eq!(ProducerIdBlock::decode(b""), Ok(None));
    let feature = r#"{"features":{},"version":2,"status":1}"#;
    assert_eq!(text(FeatureRecord::decode(feature.as_bytes()).unwrap().encode()), feature);
    let set = r#"{"features":{},"version":2,"status":1,"castellan_levels":{"share.version":0}}"#;
    assert_eq!(text(FeatureRecord::decode(set.as_bytes()).unwrap().encode()), set);
    let reassign = r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1,2]}]}"#;
    assert_eq!(text(encode_reassignment(&decode_reassignment(reassign.as_bytes()).unwrap())), reassign);
}
