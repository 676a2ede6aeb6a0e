//! Topics that brokers create by themselves: those a client asks for that are not there, and the internal ones. Decides with
//! which settings; the controller, this broker or another, creates them.

use crate::broker::Broker;
use crate::cluster::{NewTopic, Settings, TopicsAction, TopicsRequest, Waiter, topic_name};
use crate::config::BrokerConfig;
use crate::outbox::Channel;
use crate::peers::PeerCall;
use common::kafka::messages::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use common::time::Now;
use std::sync::Arc;
use tracing::debug;

/// Version of CreateTopics that a controller is asked in: Kafka 3.9's latest.
const CREATE_TOPICS_VERSION: i16 = 7;

impl Broker {
    /// Has the controller create topics and waits for nothing: whoever needs them asks again.
    pub(crate) fn ask_controller_for_topics(&self, topics: Vec<NewTopic>, now: Now) {
        let Some(controller) = self.image.read().controller() else { return };
        let setting = |(name, value): (String, String)| CreatableTopicConfig { name, value: Some(value) };
        let topic = |topic: NewTopic| CreatableTopic {
            name: topic.name,
            num_partitions: topic.partitions,
            replication_factor: i16::try_from(topic.replication_factor).unwrap_or(i16::MAX),
            configs: topic.settings.into_iter().map(setting).collect(),
            ..Default::default()
        };
        let timeout_ms = self.config.request_timeout_ms;
        let request =
            CreateTopicsRequest { topics: topics.into_iter().map(topic).collect(), timeout_ms, ..Default::default() };
        let deadline = now.mono + u64::try_from(timeout_ms).unwrap_or(0);
        let request = (request, CREATE_TOPICS_VERSION);
        if !self.send((controller, Channel::ToController), PeerCall::CreateTopics, &request, deadline) {
            debug!(%controller, "it is not known where the controller is; topics are not created");
        }
    }

    /// Sees to it that an internal topic (`__consumer_offsets`, `__transaction_state`, `__share_group_state`) comes to be. Returns at once.
    pub fn create_internal_topic(self: &Arc<Self>, name: &str, now: Now) {
        let wanted = vec![new_topic(&self.config, name)];
        if !self.cluster.is_controller() {
            return self.ask_controller_for_topics(wanted, now);
        }
        let request = TopicsRequest { action: TopicsAction::Create(wanted), timeout_ms: 0, validate_only: false };
        let done = Waiter::new(|outcome| debug!(?outcome, "internal topic"));
        let _ = self.with_cluster(now, |cluster, effects| cluster.change_topics(request, done, now, effects));
    }
}

/// A topic as brokers create it by themselves: internal ones with the settings they need.
pub(crate) fn new_topic(config: &BrokerConfig, name: &str) -> NewTopic {
    let settings = |pairs: &[(&str, String)]| -> Settings {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    };
    match name {
        topic_name::GROUP_METADATA => NewTopic {
            name: name.to_owned(),
            partitions: config.offsets_topic_num_partitions,
            replication_factor: i32::from(config.offsets_topic_replication_factor),
            settings: settings(&[
                ("cleanup.policy", "compact".to_owned()),
                ("compression.type", "producer".to_owned()),
                ("segment.bytes", config.offsets_topic_segment_bytes.to_string()),
            ]),
            ..NewTopic::default()
        },
        topic_name::TRANSACTION_STATE => NewTopic {
            name: name.to_owned(),
            partitions: config.transaction_state_log_num_partitions,
            replication_factor: i32::from(config.transaction_state_log_replication_factor),
            settings: settings(&[
                ("cleanup.policy", "compact".to_owned()),
                ("compression.type", "uncompressed".to_owned()),
                ("min.insync.replicas", config.transaction_state_log_min_isr.to_string()),
                ("segment.bytes", config.transaction_state_log_segment_bytes.to_string()),
                ("unclean.leader.election.enable", "false".to_owned()),
            ]),
            ..NewTopic::default()
        },
        topic_name::SHARE_GROUP_STATE => NewTopic {
            name: name.to_owned(),
            partitions: config.share_coordinator_state_topic_num_partitions,
            replication_factor: i32::from(share_state_replication_factor(config)),
            settings: settings(&[
                ("cleanup.policy", "delete".to_owned()),
                ("compression.type", "producer".to_owned()),
                ("min.insync.replicas", share_state_min_isr(config).to_string()),
                // What goes is what snapshots have overtaken, whatever is set for all other topics.
                ("retention.bytes", "-1".to_owned()),
                ("retention.ms", "-1".to_owned()),
                ("segment.bytes", config.share_coordinator_state_topic_segment_bytes.to_string()),
            ]),
            ..NewTopic::default()
        },
        topic_name::REMOTE_LOG_METADATA => NewTopic {
            name: name.to_owned(),
            partitions: config.remote_store.as_ref().map_or(1, |store| store.metadata_partitions),
            replication_factor: config.remote_store.as_ref().map_or(1, |store| store.metadata_replication_factor),
            settings: settings(&[
                ("cleanup.policy", "delete".to_owned()),
                // Told is told: a copy that nobody knows of is lost, and the broker's own may be gone.
                ("min.insync.replicas", remote_metadata_min_isr(config).to_string()),
                ("remote.storage.enable", "false".to_owned()),
                // Whatever is set for all other topics.
                ("retention.bytes", "-1".to_owned()),
                (
                    "retention.ms",
                    config.remote_store.as_ref().map_or(-1, |store| store.metadata_retention_ms).to_string(),
                ),
                ("unclean.leader.election.enable", "false".to_owned()),
            ]),
            ..NewTopic::default()
        },
        _ => NewTopic {
            name: name.to_owned(),
            partitions: config.num_partitions,
            replication_factor: config.default_replication_factor,
            ..NewTopic::default()
        },
    }
}

/// As set; else not more than the offsets topic has. The sample files of Kafka 3.9, which know nothing of share groups, say
/// there that one replica is enough for a broker that is alone.
fn share_state_replication_factor(config: &BrokerConfig) -> i16 {
    let wanted = config.share_coordinator_state_topic_replication_factor;
    let is_set = config.properties.get("share.coordinator.state.topic.replication.factor").is_some();
    if is_set { wanted } else { wanted.min(config.offsets_topic_replication_factor) }
}

/// Two, if there are so many replicas.
fn remote_metadata_min_isr(config: &BrokerConfig) -> i32 {
    config.remote_store.as_ref().map_or(1, |store| store.metadata_replication_factor.min(2))
}

/// As set; else not more than there are replicas.
fn share_state_min_isr(config: &BrokerConfig) -> i16 {
    let wanted = config.share_coordinator_state_topic_min_isr;
    let is_set = config.properties.get("share.coordinator.state.topic.min.isr").is_some();
    if is_set { wanted } else { wanted.min(share_state_replication_factor(config)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::properties::Properties;

    #[test]
    fn what_is_set_for_all_topics_takes_nothing_of_the_remote_store_away() {
        for (replicas, min_isr) in [(3, "2"), (1, "1")] {
            let text = format!(
                "broker.id=1\nzookeeper.connect=h:1\nlog.dirs=/d\nlog.retention.bytes=1\nlog.retention.ms=1\n\
                 unclean.leader.election.enable=true\n\
                 remote.log.storage.system.enable=true\nrsm.config.dir=/d\n\
                 remote.log.storage.manager.class.name=org.apache.kafka.server.log.remote.storage.LocalTieredStorage\n\
                 rlmm.config.remote.log.metadata.topic.replication.factor={replicas}"
            );
            let (config, _) = BrokerConfig::parse(&Properties::parse(&text, "test")).unwrap();
            let settings = new_topic(&config, topic_name::REMOTE_LOG_METADATA).settings;
            for (name, value) in [
                ("retention.bytes", "-1"),
                ("retention.ms", "-1"),
                ("min.insync.replicas", min_isr),
                ("unclean.leader.election.enable", "false"),
            ] {
                assert_eq!(settings.get(name).map(String::as_str), Some(value), "{name} of {replicas}");
            }
        }
    }

    #[test]
    fn what_is_set_for_all_topics_takes_no_state_of_share_groups_away() {
        let text = "broker.id=1\nzookeeper.connect=h:1\nlog.dirs=/d\nlog.retention.bytes=1\nlog.retention.ms=1";
        let (config, _) = BrokerConfig::parse(&Properties::parse(text, "test")).unwrap();
        let settings = new_topic(&config, topic_name::SHARE_GROUP_STATE).settings;
        for name in ["retention.bytes", "retention.ms"] {
            assert_eq!(settings.get(name).map(String::as_str), Some("-1"), "{name}");
        }
    }
}
