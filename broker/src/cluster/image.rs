//! What this broker knows of the cluster: exactly what the controller's UpdateMetadata requests said, changed in place.
//! Asks nobody and decides nothing; a broker that is not the controller has no other knowledge.

use crate::config::SecurityProtocol;
use common::id::BrokerId;
use common::kafka::messages::{UpdateMetadataBroker, UpdateMetadataPartitionState, UpdateMetadataRequest};
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;
use uuid::Uuid;

/// Leader in an UpdateMetadata request that means: the partition is being deleted.
pub const LEADER_DURING_DELETE: i32 = -2;
/// Leader of a partition that has none.
pub const NO_LEADER: i32 = -1;

/// Where one listener of a broker is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Listener name, upper case.
    pub listener: String,
    /// Advertised host.
    pub host: String,
    /// Advertised port.
    pub port: u16,
    /// How it is protected.
    pub security_protocol: SecurityProtocol,
}

/// A live broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerImage {
    /// Its listeners.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
}

impl BrokerImage {
    /// The endpoint of a listener.
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.listener == listener)
    }
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionImage {
    /// The leader, -1 if there is none.
    pub leader: i32,
    /// Its epoch.
    pub leader_epoch: i32,
    /// In-sync replicas.
    pub isr: Vec<i32>,
    /// All replicas, preferred leader first.
    pub replicas: Vec<i32>,
    /// Replicas on dead brokers or failed log directories.
    pub offline_replicas: Vec<i32>,
    /// Version of the partition's state znode.
    pub partition_epoch: i32,
    /// Who may lead beside the in-sync replicas (KIP-966).
    pub eligible_leader_replicas: Vec<i32>,
}

/// A topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicImage {
    /// Zero if the controller gives no ids (inter-broker protocol below 2.8).
    pub id: Uuid,
    /// Partitions by number; never empty.
    pub partitions: BTreeMap<i32, PartitionImage>,
}

/// The cluster as the controller last told it.
#[derive(Debug, Default)]
pub struct Image {
    controller: Option<BrokerId>,
    controller_epoch: i32,
    brokers: BTreeMap<i32, Arc<BrokerImage>>,
    topics: BTreeMap<String, TopicImage>,
    names: BTreeMap<Uuid, String>,
}

/// Why an UpdateMetadata request is not believed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ImageError {
    /// A newer controller has spoken already.
    #[error("controller epoch {sent} is older than {known}")]
    StaleController {
        /// Of the request.
        sent: i32,
        /// Highest seen.
        known: i32,
    },
}

/// What an UpdateMetadata request changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageChange {
    /// Partitions that are gone, with what was known of them.
    pub deleted: Vec<(String, i32)>,
    /// Topics that are new or gone, or that have another id or number of partitions.
    pub topics: Vec<String>,
    /// Brokers that were live before the request and are not now, with what was known of them.
    pub brokers_gone: Vec<(BrokerId, Arc<BrokerImage>)>,
    /// Another broker is the controller, or the same in another reign.
    pub is_other_controller: bool,
}

impl Image {
    /// The controller, if one has spoken.
    pub fn controller(&self) -> Option<BrokerId> {
        self.controller
    }

    /// Epoch of the last controller that spoke.
    pub fn controller_epoch(&self) -> i32 {
        self.controller_epoch
    }

    /// A live broker.
    pub fn broker(&self, id: BrokerId) -> Option<&Arc<BrokerImage>> {
        self.brokers.get(&id.0)
    }

    /// All live brokers by id.
    pub fn brokers(&self) -> impl Iterator<Item = (BrokerId, &Arc<BrokerImage>)> {
        self.brokers.iter().map(|(&id, broker)| (BrokerId(id), broker))
    }

    /// Where a live broker is reached by a listener.
    pub fn endpoint(&self, id: BrokerId, listener: &str) -> Option<&Endpoint> {
        self.brokers.get(&id.0)?.endpoint(listener)
    }

    /// A topic.
    pub fn topic(&self, name: &str) -> Option<&TopicImage> {
        self.topics.get(name)
    }

    /// All topics by name.
    pub fn topics(&self) -> impl Iterator<Item = (&str, &TopicImage)> {
        self.topics.iter().map(|(name, topic)| (name.as_str(), topic))
    }

    /// The name of the topic with this id.
    pub fn topic_name(&self, id: Uuid) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    /// A topic's id; `None` for an unknown topic or one without id.
    pub fn topic_id(&self, name: &str) -> Option<Uuid> {
        self.topics.get(name).map(|topic| topic.id).filter(|id| !id.is_nil())
    }

    /// A partition.
    pub fn partition(&self, topic: &str, partition: i32) -> Option<&PartitionImage> {
        self.topics.get(topic)?.partitions.get(&partition)
    }

    /// Number of partitions of a topic; `None` for an unknown topic.
    pub fn partition_count(&self, topic: &str) -> Option<i32> {
        self.topics.get(topic).map(|topic| i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX))
    }

    /// Takes over what a controller says: live brokers replace those known, partitions are merged (the request is partial).
    pub fn update(&mut self, request: UpdateMetadataRequest) -> Result<ImageChange, ImageError> {
        if request.controller_epoch < self.controller_epoch {
            let (sent, known) = (request.controller_epoch, self.controller_epoch);
            return Err(ImageError::StaleController { sent, known });
        }
        let is_other_controller = request.controller_epoch != self.controller_epoch;
        self.controller_epoch = request.controller_epoch;
        self.controller = (request.controller_id >= 0).then_some(BrokerId(request.controller_id));
        let live: BTreeMap<i32, Arc<BrokerImage>> =
            request.live_brokers.into_iter().map(|broker| (broker.id, Arc::new(broker_image(broker)))).collect();
        let before = std::mem::replace(&mut self.brokers, live);
        let gone = before.into_iter().filter(|(id, _)| !self.brokers.contains_key(id));
        let mut change = ImageChange {
            brokers_gone: gone.map(|(id, broker)| (BrokerId(id), broker)).collect(),
            is_other_controller,
            ..ImageChange::default()
        };
        for topic in request.topic_states {
            let before = self.shape(&topic.topic_name);
            self.set_id(&topic.topic_name, topic.topic_id);
            for partition in topic.partition_states {
                self.merge(&topic.topic_name, partition, &mut change);
            }
            if self.shape(&topic.topic_name) != before {
                change.topics.push(topic.topic_name);
            }
        }
        for mut partition in request.ungrouped_partition_states {
            let topic = std::mem::take(&mut partition.topic_name);
            let before = self.shape(&topic);
            self.merge(&topic, partition, &mut change);
            if self.shape(&topic) != before && change.topics.last() != Some(&topic) {
                change.topics.push(topic);
            }
        }
        Ok(change)
    }

    /// What groups look at: a topic's id and how many partitions it has.
    fn shape(&self, topic: &str) -> Option<(Uuid, usize)> {
        self.topics.get(topic).map(|topic| (topic.id, topic.partitions.len()))
    }

    /// Gives a topic its id; a new id means that the topic was deleted and created again.
    fn set_id(&mut self, name: &str, id: Uuid) {
        let known = self.topics.get_mut(name);
        if let Some(topic) = known {
            if topic.id == id {
                return;
            }
            self.names.remove(&topic.id);
            if !topic.id.is_nil() && !id.is_nil() {
                topic.partitions.clear();
            }
            topic.id = id;
        } else {
            self.topics.insert(name.to_owned(), TopicImage { id, partitions: BTreeMap::new() });
        }
        if !id.is_nil() {
            self.names.insert(id, name.to_owned());
        }
    }

    fn merge(&mut self, topic: &str, state: UpdateMetadataPartitionState, change: &mut ImageChange) {
        if state.leader != LEADER_DURING_DELETE {
            let partition = PartitionImage {
                leader: state.leader,
                leader_epoch: state.leader_epoch,
                isr: state.isr,
                replicas: state.replicas,
                offline_replicas: state.offline_replicas,
                partition_epoch: state.zk_version,
                eligible_leader_replicas: state.eligible_leader_replicas,
            };
            match self.topics.get_mut(topic) {
                Some(known) => known.partitions.insert(state.partition_index, partition),
                None => {
                    self.topics.entry(topic.to_owned()).or_default().partitions.insert(state.partition_index, partition)
                }
            };
            return;
        }
        let Some(known) = self.topics.get_mut(topic) else { return };
        if known.partitions.remove(&state.partition_index).is_some() {
            change.deleted.push((topic.to_owned(), state.partition_index));
        }
        if known.partitions.is_empty() {
            self.names.remove(&known.id);
            self.topics.remove(topic);
        }
    }
}

const PROTOCOLS: [SecurityProtocol; 4] =
    [SecurityProtocol::Plaintext, SecurityProtocol::Ssl, SecurityProtocol::SaslPlaintext, SecurityProtocol::SaslSsl];

fn broker_image(broker: UpdateMetadataBroker) -> BrokerImage {
    let mut endpoints: Vec<Endpoint> = Vec::with_capacity(broker.endpoints.len());
    for endpoint in broker.endpoints {
        let Some(security_protocol) = PROTOCOLS.into_iter().find(|known| known.id() == endpoint.security_protocol)
        else {
            continue;
        };
        let Ok(port) = u16::try_from(endpoint.port) else { continue };
        // Before version 3 listeners were called by their protocol.
        let listener =
            if endpoint.listener.is_empty() { security_protocol.name().to_owned() } else { endpoint.listener };
        endpoints.push(Endpoint { listener, host: endpoint.host, port, security_protocol });
    }
    if let (true, Ok(port @ 1..)) = (endpoints.is_empty(), u16::try_from(broker.v0_port)) {
        let security_protocol = SecurityProtocol::Plaintext;
        endpoints.push(Endpoint { listener: "PLAINTEXT".into(), host: broker.v0_host, port, security_protocol });
    }
    BrokerImage { endpoints, rack: broker.rack.filter(|rack| !rack.is_empty()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::kafka::messages::{UpdateMetadataEndpoint, UpdateMetadataTopicState};

    fn partition(index: i32, leader: i32) -> UpdateMetadataPartitionState {
        UpdateMetadataPartitionState {
            partition_index: index,
            leader,
            leader_epoch: 3,
            isr: vec![1, 2],
            replicas: vec![1, 2, 3],
            offline_replicas: vec![3],
            zk_version: 9,
            ..Default::default()
        }
    }

    /// Name, id, and number and leader of each partition.
    type Topic<'a> = (&'a str, u128, &'a [(i32, i32)]);

    fn request(epoch: i32, brokers: &[i32], topics: &[Topic<'_>]) -> UpdateMetadataRequest {
        let endpoint =
            UpdateMetadataEndpoint { port: 9092, host: "h".into(), listener: "PLAINTEXT".into(), security_protocol: 0 };
        UpdateMetadataRequest {
            controller_id: 1,
            controller_epoch: epoch,
            live_brokers: brokers
                .iter()
                .map(|&id| UpdateMetadataBroker { id, endpoints: vec![endpoint.clone()], ..Default::default() })
                .collect(),
            topic_states: topics
                .iter()
                .map(|&(name, id, partitions)| UpdateMetadataTopicState {
                    topic_name: name.into(),
                    topic_id: Uuid::from_u128(id),
                    partition_states: partitions.iter().map(|&(index, leader)| partition(index, leader)).collect(),
                })
                .collect(),
            ..Default::default()
        }
    }

    #[test]
    fn partial_updates_are_merged() {
        let mut image = Image::default();
        image.update(request(5, &[1, 2], &[("t", 7, &[(0, 1), (1, 2)]), ("u", 8, &[(0, 1)])])).unwrap();
        let change = image.update(request(5, &[1], &[("t", 7, &[(1, -1)])])).unwrap();
        assert_eq!(change.brokers_gone.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [2]);
        assert_eq!(change.topics, Vec::<String>::new(), "it has other leaders, and is the same");
        assert_eq!(image.partition("t", 0).unwrap().leader, 1);
        assert_eq!(image.partition("t", 1).unwrap().leader, NO_LEADER);
        assert_eq!(image.partition_count("t"), Some(2));
        assert_eq!(image.topic_name(Uuid::from_u128(8)), Some("u"));
        assert_eq!(image.endpoint(BrokerId(1), "PLAINTEXT").unwrap().port, 9092);
        assert_eq!(image.endpoint(BrokerId(1), "OTHER"), None);
        assert_eq!(image.controller(), Some(BrokerId(1)));
    }

    #[test]
    fn deleted_topics_go_with_their_id() {
        let mut image = Image::default();
        image.update(request(5, &[1], &[("t", 7, &[(0, 1), (1, 1)])])).unwrap();
        let change = image.update(request(5, &[1], &[("t", 7, &[(0, -2), (1, -2)])])).unwrap();
        assert_eq!(change.deleted, [("t".to_owned(), 0), ("t".to_owned(), 1)]);
        assert_eq!(change.topics, ["t"]);
        assert_eq!((image.topic("t"), image.topic_name(Uuid::from_u128(7))), (None, None));
        image.update(request(5, &[1], &[("t", 9, &[(0, 1)])])).unwrap();
        let change = image.update(request(5, &[1], &[("t", 10, &[(0, 1)])])).unwrap();
        assert_eq!(change.topics, ["t"], "it has another id");
        let change = image.update(request(5, &[1], &[("t", 10, &[(0, 1), (1, 1)])])).unwrap();
        assert_eq!(change.topics, ["t"], "it has grown");
        assert_eq!(image.topic_name(Uuid::from_u128(9)), None);
        assert_eq!(image.topic_id("t"), Some(Uuid::from_u128(10)));
    }

    #[test]
    fn an_old_controller_is_not_believed() {
        let mut image = Image::default();
        image.update(request(5, &[1], &[])).unwrap();
        let refused = image.update(request(4, &[2], &[("t", 7, &[(0, 1)])]));
        assert_eq!(refused, Err(ImageError::StaleController { sent: 4, known: 5 }));
        assert!(image.topic("t").is_none() && image.broker(BrokerId(2)).is_none());
    }

    #[test]
    fn old_versions_name_no_listener() {
        let mut image = Image::default();
        let mut old = request(1, &[1], &[]);
        old.live_brokers[0].endpoints[0].listener = String::new();
        old.live_brokers.push(UpdateMetadataBroker { id: 2, v0_host: "v0".into(), v0_port: 1, ..Default::default() });
        old.ungrouped_partition_states =
            vec![UpdateMetadataPartitionState { topic_name: "t".into(), ..partition(4, 2) }];
        image.update(old).unwrap();
        assert_eq!(image.endpoint(BrokerId(1), "PLAINTEXT").unwrap().host, "h");
        assert_eq!(image.endpoint(BrokerId(2), "PLAINTEXT").unwrap().host, "v0");
        assert_eq!(image.partition("t", 4).unwrap().leader, 2);
        assert_eq!(image.topic_id("t"), None);
    }
}
