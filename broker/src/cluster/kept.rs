//! Topics that were deleted and can be brought back for a while (`castellan.topic.undelete.ms`): what stands of each in
//! ZooKeeper, `/castellan/deleted_topics/ID`. Apache Kafka knows nothing of these nodes. Holds no records.

use super::configs::Settings;
use super::json::{JsonError, decode_id, encode_id};
use super::paths;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A topic is brought back in one request to ZooKeeper (`jute.maxbuffer`, 1 MB); one that would not fit is not kept.
const RESTORATION_BYTES_MAX: usize = 900_000;
/// What a node to be created takes beside its path and its data: access list, flags, lengths.
const NODE_BYTES: usize = 80;
/// A partition's state as text, with some replicas.
const STATE_BYTES: usize = 160;

/// A deleted topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptTopic {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// When its deletion was asked for, in milliseconds since 1970.
    pub deleted_at_ms: i64,
    /// The zxid of the request: a log directory that was empty since has none of its records.
    pub deleted_zxid: i64,
    /// From then on it is gone for good.
    pub until_ms: i64,
    /// Its own settings.
    pub settings: Settings,
    /// Its partitions.
    pub partitions: BTreeMap<i32, KeptPartition>,
}

/// A partition of a deleted topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPartition {
    /// Its replicas, the preferred one first.
    pub replicas: Vec<i32>,
    /// Who led it last; -1 for nobody.
    pub leader: i32,
    /// Its last leader epoch.
    pub leader_epoch: i32,
    /// Who was in sync and keeps its files.
    pub isr: Vec<i32>,
}

#[derive(Serialize, Deserialize)]
struct Json {
    version: i32,
    topic: String,
    topic_id: String,
    deleted_at_ms: i64,
    deleted_zxid: i64,
    until_ms: i64,
    config: Settings,
    partitions: BTreeMap<i32, KeptPartition>,
}

impl KeptTopic {
    /// Can it be brought back in one request?
    pub fn fits(&self) -> bool {
        let node = |path: String, data: usize| path.len() + data + NODE_BYTES;
        let partitions: usize = self
            .partitions
            .iter()
            .map(|(&number, partition)| {
                let state = STATE_BYTES + 8 * partition.isr.len();
                node(paths::partition(&self.name, number), 0) + node(paths::partition_state(&self.name, number), state)
            })
            .sum();
        let settings: usize = self.settings.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
        let assignment: usize = self.partitions.values().map(|partition| 16 + 8 * partition.replicas.len()).sum();
        partitions + settings + assignment < RESTORATION_BYTES_MAX
    }

    /// The node's data.
    pub fn encode(&self) -> Vec<u8> {
        let json = Json {
            version: 1,
            topic: self.name.clone(),
            topic_id: encode_id(self.id),
            deleted_at_ms: self.deleted_at_ms,
            deleted_zxid: self.deleted_zxid,
            until_ms: self.until_ms,
            config: self.settings.clone(),
            partitions: self.partitions.clone(),
        };
        serde_json::to_vec(&json).expect("maps have string or number keys and nothing else can fail")
    }

    /// Reads the node's data.
    pub fn decode(data: &[u8]) -> Result<KeptTopic, JsonError> {
        let error = |problem: String| JsonError { what: "deleted topic", problem };
        let json: Json = serde_json::from_slice(data).map_err(|problem| error(problem.to_string()))?;
        let id = decode_id(&json.topic_id).ok_or_else(|| error(format!("{} is no topic id", json.topic_id)))?;
        Ok(KeptTopic {
            name: json.topic,
            id,
            deleted_at_ms: json.deleted_at_ms,
            deleted_zxid: json.deleted_zxid,
            until_ms: json.until_ms,
            settings: json.config,
            partitions: json.partitions,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(partitions: i32) -> KeptTopic {
        let partition = KeptPartition { replicas: vec![1, 2], leader: 2, leader_epoch: 7, isr: vec![2] };
        KeptTopic {
            name: "orders".to_owned(),
            id: Uuid::from_u128(5),
            deleted_at_ms: 10,
            deleted_zxid: 77,
            until_ms: 20,
            settings: Settings::from([("retention.ms".to_owned(), "-1".to_owned())]),
            partitions: (0..partitions).map(|number| (number, partition.clone())).collect(),
        }
    }

    #[test]
    fn the_node_is_read_as_it_was_written() {
        let text = r#"{"version":1,"topic":"orders","topic_id":"AAAAAAAAAAAAAAAAAAAABQ","deleted_at_ms":10,"deleted_zxid":77,"until_ms":20,"config":{"retention.ms":"-1"},"partitions":{"0":{"replicas":[1,2],"leader":2,"leader_epoch":7,"isr":[2]}}}"#;
        assert_eq!(String::from_utf8(topic(1).encode()).unwrap(), text);
        assert_eq!(KeptTopic::decode(text.as_bytes()).unwrap(), topic(1));
        for bad in ["", "{}", &text.replace("AAAAAAAAAAAAAAAAAAAABQ", "x"), &text.replace("[2]", "2")] {
            assert!(KeptTopic::decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_fits_into_one_request_is_kept() {
        assert!(topic(2_000).fits());
        assert!(!topic(10_000).fits());
    }
}
