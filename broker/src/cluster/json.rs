//! What Kafka 3.9 writes into its znodes, key by key in Kafka's order, and how it is read: leniently, as Kafka does.
//! Knows no paths and asks nobody.

use crate::cluster::assignment::Assignment;
use crate::cluster::image::Endpoint;
use crate::config::SecurityProtocol;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use thiserror::Error;
use uuid::Uuid;

/// A node's data is not what Kafka writes there.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{what}: {problem}")]
pub struct JsonError {
    /// Which record was expected.
    pub what: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

fn error(what: &'static str, problem: impl ToString) -> JsonError {
    JsonError { what, problem: problem.to_string() }
}

fn encode(record: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(record).expect("maps have string or number keys and nothing else can fail")
}

fn decode<'a, T: Deserialize<'a>>(what: &'static str, data: &'a [u8]) -> Result<T, JsonError> {
    serde_json::from_slice(data).map_err(|problem| error(what, problem))
}

/// A number written as number or as text: both occur in the wild for timestamps and ids.
fn number(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A topic or cluster id as Kafka writes it: 22 characters of unpadded URL-safe base64.
pub fn encode_id(id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}

/// Reads an id back; `None` if it is not 16 bytes.
pub fn decode_id(text: &str) -> Option<Uuid> {
    Uuid::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// A new id. As in Kafka its text never starts with a dash, which command lines would take for a flag.
pub fn random_id(rng: &mut Rng) -> Uuid {
    loop {
        let id = uuid::Builder::from_random_bytes(rng.u128(..).to_be_bytes()).into_uuid();
        if !encode_id(id).starts_with('-') {
            return id;
        }
    }
}

/// `/brokers/ids/N`, version 5; versions 1 to 5 are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// What clients connect to, one for each listener, in the order of `advertised.listeners`.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// -1 if there is none.
    pub jmx_port: i32,
    /// When the broker registered, milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Supported features with their range of versions (KIP-584).
    pub features: BTreeMap<String, (i16, i16)>,
    /// What the broker knows of the past of its disks. `None`: one that does not tell, as Apache Kafka's, and that
    /// heeds no `min.insync.replicas` of the controller's.
    pub past: Option<DiskPast>,
    /// For so long it keeps its replicas of deleted topics; 0: not at all. A field of Castellan's own.
    pub undelete_ms: i64,
}

/// Since which broker epoch the logs of a broker are what they should be; in a registration `None` is the epoch of the
/// registration itself. A field `log_dirs` of Castellan's own, which Apache Kafka passes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskPast {
    /// Every life from this one on but the present ended in order, or at least its machine stayed up: no record was lost.
    pub clean_since: Option<i64>,
    /// No log directory has been empty or another one since, though the newest records may have been lost with power.
    pub kept_since: Option<i64>,
}

impl DiskPast {
    fn json(self) -> BTreeMap<&'static str, i64> {
        let told = |epoch: Option<i64>| epoch.unwrap_or(-1);
        BTreeMap::from([("clean_since", told(self.clean_since)), ("kept_since", told(self.kept_since))])
    }

    fn parse(json: &Value) -> Option<DiskPast> {
        let epoch = |key| number(json.get(key)).map(|epoch| (epoch >= 0).then_some(epoch));
        Some(DiskPast { clean_since: epoch("clean_since")?, kept_since: epoch("kept_since")? })
    }
}

#[derive(Serialize)]
struct BrokerOut<'a> {
    features: BTreeMap<&'a str, BTreeMap<&'a str, i16>>,
    listener_security_protocol_map: serde_json::Map<String, Value>,
    endpoints: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rack: Option<&'a str>,
    jmx_port: i32,
    port: i32,
    host: Option<&'a str>,
    version: i32,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_dirs: Option<BTreeMap<&'static str, i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    undelete_ms: Option<i64>,
}

impl BrokerRegistration {
    /// The endpoint of a listener.
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.listener == listener)
    }

    /// The first plaintext endpoint, which very old clients read; Kafka writes null and -1 if there is none.
    pub fn legacy_address(&self) -> Option<(&str, i32)> {
        let plain = self.endpoints.iter().find(|endpoint| endpoint.security_protocol == SecurityProtocol::Plaintext)?;
        Some((&plain.host, i32::from(plain.port)))
    }

    /// The node's data.
    pub fn encode(&self) -> Vec<u8> {
        let legacy = self.legacy_address();
        encode(&BrokerOut {
            features: self
                .features
                .iter()
                .map(|(name, &(min, max))| {
                    (name.as_str(), BTreeMap::from([("min_version", min), ("max_version", max)]))
                })
                .collect(),
            listener_security_protocol_map: self
                .endpoints
                .iter()
                .map(|endpoint| (endpoint.listener.clone(), Value::from(endpoint.security_protocol.name())))
                .collect(),
            endpoints: self.endpoints.iter().map(connection_string).collect(),
            rack: self.rack.as_deref(),
            jmx_port: self.jmx_port,
            port: legacy.map_or(-1, |(_, port)| port),
            host: legacy.map(|(host, _)| host),
            version: 5,
            timestamp: self.timestamp_ms.to_string(),
            log_dirs: self.past.map(DiskPast::json),
            undelete_ms: Some(self.undelete_ms).filter(|ms| *ms > 0),
        })
    }

    /// Reads the node's data.
    pub fn decode(data: &[u8]) -> Result<BrokerRegistration, JsonError> {
        const WHAT: &str = "broker registration";
        let json: Value = decode(WHAT, data)?;
        let version = number(json.get("version")).ok_or_else(|| error(WHAT, "no version"))?;
        let endpoints = match version {
            ..1 => return Err(error(WHAT, format!("unsupported version {version}"))),
            1 => {
                let host = json.get("host").and_then(Value::as_str).ok_or_else(|| error(WHAT, "no host"))?;
                let port = number(json.get("port")).and_then(|port| u16::try_from(port).ok());
                let port = port.ok_or_else(|| error(WHAT, "no port"))?;
                let security_protocol = SecurityProtocol::Plaintext;
                vec![Endpoint { listener: "PLAINTEXT".into(), host: host.into(), port, security_protocol }]
            }
            _ => {
                let list =
                    json.get("endpoints").and_then(Value::as_array).ok_or_else(|| error(WHAT, "no endpoints"))?;
                let protocols = json.get("listener_security_protocol_map");
                list.iter().map(|endpoint| parse_endpoint(endpoint, protocols)).collect::<Result<_, _>>()?
            }
        };
        Ok(BrokerRegistration {
            endpoints,
            rack: json.get("rack").and_then(Value::as_str).map(str::to_owned),
            jmx_port: number(json.get("jmx_port")).and_then(|port| i32::try_from(port).ok()).unwrap_or(-1),
            timestamp_ms: number(json.get("timestamp")).unwrap_or(-1),
            features: parse_features(json.get("features")),
            past: json.get("log_dirs").and_then(DiskPast::parse),
            undelete_ms: number(json.get("undelete_ms")).unwrap_or(0),
        })
    }
}

fn parse_features(json: Option<&Value>) -> BTreeMap<String, (i16, i16)> {
    let version = |range: &Value, key| number(range.get(key)).and_then(|version| i16::try_from(version).ok());
    json.and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(name, range)| {
            Some((name.clone(), (version(range, "min_version")?, version(range, "max_version")?)))
        })
        .collect()
}

/// `LISTENER://host:port`, an IPv6 address in brackets.
fn connection_string(endpoint: &Endpoint) -> String {
    let Endpoint { listener, host, port, .. } = endpoint;
    if host.contains(':') { format!("{listener}://[{host}]:{port}") } else { format!("{listener}://{host}:{port}") }
}

fn parse_endpoint(json: &Value, protocols: Option<&Value>) -> Result<Endpoint, JsonError> {
    const WHAT: &str = "broker endpoint";
    let text = json.as_str().ok_or_else(|| error(WHAT, "not a text"))?;
    let bad = || error(WHAT, format!("{text} is not LISTENER://host:port"));
    let (listener, address) = text.split_once("://").ok_or_else(bad)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    let port = port.parse().map_err(|_| bad())?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let protocol = match protocols.and_then(|protocols| protocols.get(listener)) {
        Some(name) => name.as_str().unwrap_or_default(),
        None => listener,
    };
    let security_protocol = SecurityProtocol::parse(protocol)
        .ok_or_else(|| error(WHAT, format!("{text} has the unknown security protocol {protocol}")))?;
    Ok(Endpoint { listener: listener.to_ascii_uppercase(), host: host.to_owned(), port, security_protocol })
}

/// `/brokers/topics/T`, version 3; versions 1 to 3 are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicRecord {
    /// Absent on topics created before 2.8; the controller then gives one.
    pub topic_id: Option<Uuid>,
    /// Replicas of each partition.
    pub partitions: BTreeMap<i32, Assignment>,
}

#[derive(Serialize)]
struct TopicOut<'a> {
    partitions: BTreeMap<i32, &'a [i32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic_id: Option<String>,
    adding_replicas: BTreeMap<i32, &'a [i32]>,
    removing_replicas: BTreeMap<i32, &'a [i32]>,
    version: i32,
}

#[derive(Deserialize)]
struct TopicIn {
    #[serde(default)]
    partitions: BTreeMap<String, Vec<i32>>,
    topic_id: Option<String>,
    #[serde(default)]
    adding_replicas: BTreeMap<String, Vec<i32>>,
    #[serde(default)]
    removing_replicas: BTreeMap<String, Vec<i32>>,
}

impl TopicRecord {
    /// The node's data.
    pub fn encode(&self) -> Vec<u8> {
        let list = |of: fn(&Assignment) -> &Vec<i32>, even_empty: bool| {
            let lists = self.partitions.iter().map(|(&partition, assignment)| (partition, of(assignment).as_slice()));
            lists.filter(|(_, list)| even_empty || !list.is_empty()).collect()
        };
        encode(&TopicOut {
            partitions: list(|assignment| &assignment.replicas, true),
            topic_id: self.topic_id.map(encode_id),
            adding_replicas: list(|assignment| &assignment.adding, false),
            removing_replicas: list(|assignment| &assignment.removing, false),
            version: 3,
        })
    }

    /// Reads the node's data.
    pub fn decode(data: &[u8]) -> Result<TopicRecord, JsonError> {
        const WHAT: &str = "topic assignment";
        let mut json: TopicIn = decode(WHAT, data)?;
        let topic_id = match &json.topic_id {
            None => None,
            Some(text) => Some(decode_id(text).ok_or_else(|| error(WHAT, format!("{text} is no topic id")))?),
        };
        let mut partitions = BTreeMap::new();
        for (key, replicas) in json.partitions {
            let partition = key.parse().map_err(|_| error(WHAT, format!("{key} is no partition number")))?;
            let adding = json.adding_replicas.remove(&key).unwrap_or_default();
            let removing = json.removing_replicas.remove(&key).unwrap_or_default();
            partitions.insert(partition, Assignment { replicas, adding, removing });
        }
        Ok(TopicRecord { topic_id, partitions })
    }
}

/// Leader and ISR of a partition, `/brokers/topics/T/partitions/P/state`, version 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// Epoch of the controller that wrote it.
    pub controller_epoch: i32,
    /// The leader; -1 if there is none.
    pub leader: i32,
    /// Grows with each election and each change that the replicas must learn of.
    pub leader_epoch: i32,
    /// In-sync replicas.
    pub isr: Vec<i32>,
    /// True after an unclean election until the leader says otherwise (KIP-704).
    pub recovering: bool,
    /// Who may lead beside the in-sync replicas; `None` where nobody can.
    pub eligibility: Option<Eligibility>,
}

/// The eligible leader replicas of a partition (KIP-966), in its state under `eligible_leader_replicas`. Apache Kafka passes
/// over the field and writes the state without it, which means that nobody but the in-sync replicas is eligible.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Eligibility {
    /// With fewer replicas in sync the leader does not move the high watermark; it is told together with the in-sync
    /// replicas. At least 2.
    pub min_isr: i32,
    /// Broker epochs of the in-sync replicas, as far as they are known.
    pub isr: BTreeMap<i32, i64>,
    /// Replicas that left the in-sync replicas and have all up to the high watermark, with the broker epoch of their life
    /// then. Empty while enough are in sync.
    pub eligible: BTreeMap<i32, i64>,
}

#[derive(Serialize)]
struct StateOut<'a> {
    controller_epoch: i32,
    leader: i32,
    version: i32,
    leader_epoch: i32,
    isr: &'a [i32],
    #[serde(skip_serializing_if = "Option::is_none")]
    leader_recovery_state: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eligible_leader_replicas: Option<&'a Eligibility>,
}

#[derive(Deserialize)]
struct StateIn {
    controller_epoch: i32,
    leader: i32,
    leader_epoch: i32,
    isr: Vec<i32>,
    #[serde(default)]
    leader_recovery_state: i32,
    #[serde(default)]
    eligible_leader_replicas: Value,
}

impl PartitionState {
    /// What the leader must hold to beside its own `min.insync.replicas`; 0: nothing.
    pub fn eligible_min_isr(&self) -> i32 {
        self.eligibility.as_ref().map_or(0, |eligibility| eligibility.min_isr)
    }

    /// The node's data.
    pub fn encode(&self) -> Vec<u8> {
        encode(&StateOut {
            controller_epoch: self.controller_epoch,
            leader: self.leader,
            version: 1,
            leader_epoch: self.leader_epoch,
            isr: &self.isr,
            leader_recovery_state: self.recovering.then_some(1),
            eligible_leader_replicas: self.eligibility.as_ref(),
        })
    }

    /// Reads the node's data.
    pub fn decode(data: &[u8]) -> Result<PartitionState, JsonError> {
        let StateIn { controller_epoch, leader, leader_epoch, isr, leader_recovery_state, eligible_leader_replicas } =
            decode("partition state", data)?;
        let recovering = leader_recovery_state != 0;
        // What cannot be read makes nobody eligible.
        let eligibility: Option<Eligibility> = serde_json::from_value(eligible_leader_replicas).unwrap_or_default();
        let eligibility = eligibility.filter(|eligibility| eligibility.min_isr > 1);
        Ok(PartitionState { controller_epoch, leader, leader_epoch, isr, recovering, eligibility })
    }
}

#[derive(Serialize)]
struct ControllerOut {
    version: i32,
    brokerid: i32,
    timestamp: String,
    #[serde(rename = "kraftControllerEpoch")]
    kraft_controller_epoch: i32,
}

/// `/controller`, version 2.
pub fn encode_controller(broker: i32, timestamp_ms: i64) -> Vec<u8> {
    encode(&ControllerOut {
        version: 2,
        brokerid: broker,
        timestamp: timestamp_ms.to_string(),
        kraft_controller_epoch: -1,
    })
}

/// The broker id in `/controller`.
pub fn decode_controller(data: &[u8]) -> Result<i32, JsonError> {
    let json: Value = decode("controller", data)?;
    number(json.get("brokerid")).and_then(|id| i32::try_from(id).ok()).ok_or_else(|| error("controller", "no brokerid"))
}

/// `/controller_epoch`: the number as text.
pub fn encode_controller_epoch(epoch: i32) -> Vec<u8> {
    epoch.to_string().into_bytes()
}

/// Reads `/controller_epoch`.
pub fn decode_controller_epoch(data: &[u8]) -> Result<i32, JsonError> {
    let text = std::str::from_utf8(data).map_err(|problem| error("controller epoch", problem))?;
    text.trim().parse().map_err(|problem| error("controller epoch", problem))
}

#[derive(Serialize)]
struct ClusterIdOut<'a> {
    version: &'a str,
    id: &'a str,
}

/// `/cluster/id`, version 1 (written as text, unlike the others).
pub fn encode_cluster_id(id: &str) -> Vec<u8> {
    encode(&ClusterIdOut { version: "1", id })
}

/// The id in `/cluster/id`.
pub fn decode_cluster_id(data: &[u8]) -> Result<String, JsonError> {
    let json: Value = decode("cluster id", data)?;
    json.get("id").and_then(Value::as_str).map(str::to_owned).ok_or_else(|| error("cluster id", "no id"))
}

#[derive(Serialize)]
struct ConfigOut<'a> {
    version: i32,
    config: &'a BTreeMap<String, String>,
}

/// `/config/KIND/NAME`, version 1.
pub fn encode_config(config: &BTreeMap<String, String>) -> Vec<u8> {
    encode(&ConfigOut { version: 1, config })
}

/// Reads settings; what is not text or no such record is left out, as Kafka does; an empty node has none.
pub fn decode_config(data: &[u8]) -> Result<BTreeMap<String, String>, JsonError> {
    if data.is_empty() {
        return Ok(BTreeMap::new());
    }
    let json: Value = decode("settings", data)?;
    let entries = json.get("config").and_then(Value::as_object).into_iter().flatten();
    Ok(entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect())
}

#[derive(Serialize)]
struct ConfigChangeOut<'a> {
    version: i32,
    entity_path: &'a str,
}

/// A note of `/config/changes`, version 2: `entity_path` is `topics/T`, `brokers/<default>`, `users/U/clients/C` ...
pub fn encode_config_change(entity_path: &str) -> Vec<u8> {
    encode(&ConfigChangeOut { version: 2, entity_path })
}

/// The entity path of a note; version 1 named kind and entity apart.
pub fn decode_config_change(data: &[u8]) -> Result<String, JsonError> {
    let json: Value = decode("settings change", data)?;
    let text = |key| json.get(key).and_then(Value::as_str);
    match (text("entity_path"), text("entity_type"), text("entity_name")) {
        (Some(path), _, _) => Ok(path.to_owned()),
        (None, Some(kind), Some(name)) => Ok(format!("{kind}/{name}")),
        _ => Err(error("settings change", "no entity_path")),
    }
}

#[derive(Serialize, Deserialize)]
struct Named {
    topic: String,
    partition: i32,
}

#[derive(Serialize)]
struct PartitionsOut {
    version: i32,
    partitions: Vec<Named>,
}

#[derive(Deserialize)]
struct PartitionsIn {
    partitions: Vec<Named>,
}

/// A note of `/isr_change_notification` or the node `/admin/preferred_replica_election`, version 1.
pub fn encode_partitions(partitions: &[(String, i32)]) -> Vec<u8> {
    let partitions = partitions.iter().map(|(topic, partition)| Named { topic: topic.clone(), partition: *partition });
    encode(&PartitionsOut { version: 1, partitions: partitions.collect() })
}

/// Reads such a list of partitions.
pub fn decode_partitions(data: &[u8]) -> Result<Vec<(String, i32)>, JsonError> {
    let json: PartitionsIn = decode("list of partitions", data)?;
    Ok(json.partitions.into_iter().map(|named| (named.topic, named.partition)).collect())
}

#[derive(Serialize)]
struct LogDirEventOut {
    version: i32,
    broker: i32,
    event: i32,
}

/// A note of `/log_dir_event_notification`, version 1: event 1 is a failed log directory.
pub fn encode_log_dir_event(broker: i32) -> Vec<u8> {
    encode(&LogDirEventOut { version: 1, broker, event: 1 })
}

/// The broker that lost a log directory.
pub fn decode_log_dir_event(data: &[u8]) -> Result<i32, JsonError> {
    let json: Value = decode("log directory event", data)?;
    let broker = number(json.get("broker")).and_then(|id| i32::try_from(id).ok());
    broker.ok_or_else(|| error("log directory event", "no broker"))
}

/// `/latest_producer_id_block`, version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// Who got it.
    pub broker: i32,
    /// First id of the block.
    pub first: i64,
    /// Last id of the block.
    pub last: i64,
}

#[derive(Serialize)]
struct ProducerIdBlockOut {
    version: i32,
    broker: i32,
    block_start: String,
    block_end: String,
}

impl ProducerIdBlock {
    /// Ids in a block.
    pub const SIZE: i64 = 1000;

    /// The node's data.
    pub fn encode(&self) -> Vec<u8> {
        let ProducerIdBlock { broker, first, last } = *self;
        encode(&ProducerIdBlockOut { version: 1, broker, block_start: first.to_string(), block_end: last.to_string() })
    }

    /// Reads the node's data; an empty node says that no block was given out yet.
    pub fn decode(data: &[u8]) -> Result<Option<ProducerIdBlock>, JsonError> {
        const WHAT: &str = "producer id block";
        if data.is_empty() {
            return Ok(None);
        }
        let json: Value = decode(WHAT, data)?;
        let field = |key| number(json.get(key)).ok_or_else(|| error(WHAT, format!("no {key}")));
        let broker = i32::try_from(field("broker")?).map_err(|problem| error(WHAT, problem))?;
        Ok(Some(ProducerIdBlock { broker, first: field("block_start")?, last: field("block_end")? }))
    }
}

#[derive(Serialize)]
struct FeaturesOut<'a> {
    features: BTreeMap<&'a str, BTreeMap<&'a str, i16>>,
    version: i32,
    status: i32,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    castellan_levels: &'a BTreeMap<String, i16>,
}

/// `/feature`: finalized features. Apache Kafka 3.9 with ZooKeeper knows none, and its brokers stop when `features` names one; so
/// the levels that an operator sets stand in a field of our own, which they pass over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeatureRecord {
    /// 1, or 2 since inter-broker protocol 3.3.
    pub version: i64,
    /// Whether the features count.
    pub enabled: bool,
    /// Version level of each feature, as Kafka writes it.
    pub features: BTreeMap<String, i16>,
    /// Level of each feature that an operator has set.
    pub levels: BTreeMap<String, i16>,
}

impl FeatureRecord {
    /// The node's data, version 2.
    pub fn encode(&self) -> Vec<u8> {
        let level = |(name, &level): (&'_ String, &i16)| (name.clone(), level);
        let features: Vec<(String, i16)> = self.features.iter().map(level).collect();
        encode(&FeaturesOut {
            features: features
                .iter()
                .map(|(name, level)| (name.as_str(), BTreeMap::from([("max_version_level", *level)])))
                .collect(),
            version: 2,
            status: i32::from(self.enabled),
            castellan_levels: &self.levels,
        })
    }

    /// Reads the node's data.
    pub fn decode(data: &[u8]) -> Result<FeatureRecord, JsonError> {
        const WHAT: &str = "features";
        let json: Value = decode(WHAT, data)?;
        let version = number(json.get("version")).ok_or_else(|| error(WHAT, "no version"))?;
        let level = |range: &Value| number(range.get("max_version_level")).and_then(|level| i16::try_from(level).ok());
        let features = json.get("features").and_then(Value::as_object).into_iter().flatten();
        let levels = json.get("castellan_levels").and_then(Value::as_object).into_iter().flatten();
        let set = |level: &Value| number(Some(level)).and_then(|level| i16::try_from(level).ok());
        Ok(FeatureRecord {
            version,
            enabled: number(json.get("status")) == Some(1),
            features: features.filter_map(|(name, range)| Some((name.clone(), level(range)?))).collect(),
            levels: levels.filter_map(|(name, level)| Some((name.clone(), set(level)?))).collect(),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Reassigned {
    topic: String,
    partition: i32,
    replicas: Vec<i32>,
}

#[derive(Serialize, Deserialize)]
struct Reassignment {
    version: i32,
    partitions: Vec<Reassigned>,
}

/// `/admin/reassign_partitions`, version 1: wanted replicas of each partition.
pub fn encode_reassignment(wanted: &BTreeMap<(String, i32), Vec<i32>>) -> Vec<u8> {
    let partitions = wanted.iter().map(|((topic, partition), replicas)| Reassigned {
        topic: topic.clone(),
        partition: *partition,
        replicas: replicas.clone(),
    });
    encode(&Reassignment { version: 1, partitions: partitions.collect() })
}

/// Reads `/admin/reassign_partitions`.
pub fn decode_reassignment(data: &[u8]) -> Result<BTreeMap<(String, i32), Vec<i32>>, JsonError> {
    let json: Reassignment = decode("reassignment", data)?;
    Ok(json.partitions.into_iter().map(|wanted| ((wanted.topic, wanted.partition), wanted.replicas)).collect())
}

#[cfg(test)]
mod tests;
