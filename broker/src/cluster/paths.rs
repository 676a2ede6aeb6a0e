//! Where Kafka 3.9 keeps what in ZooKeeper: every path, and nothing of what stands in the nodes.

/// Parent of the broker registrations.
pub const BROKER_IDS: &str = "/brokers/ids";
/// Its version counts generated broker ids.
pub const BROKER_SEQUENCE_ID: &str = "/brokers/seqid";
/// Parent of the topics.
pub const TOPICS: &str = "/brokers/topics";
/// Ephemeral: who is the controller.
pub const CONTROLLER: &str = "/controller";
/// The controller's epoch; the node's version fences every write of a controller.
pub const CONTROLLER_EPOCH: &str = "/controller_epoch";
/// The cluster's id.
pub const CLUSTER_ID: &str = "/cluster/id";
/// Parent of the settings of topics, brokers, users, clients and addresses.
pub const CONFIG: &str = "/config";
/// Sequential notes, one for each change of settings.
pub const CONFIG_CHANGES: &str = "/config/changes";
/// Name of a note of `CONFIG_CHANGES` without its number.
pub const CONFIG_CHANGE_PREFIX: &str = "config_change_";
/// Topics marked for deletion.
pub const DELETE_TOPICS: &str = "/admin/delete_topics";
/// Reassignment asked for by writing a node (deprecated since 2.4, still obeyed by 3.9).
pub const REASSIGN_PARTITIONS: &str = "/admin/reassign_partitions";
/// Preferred election asked for by writing a node (deprecated, still obeyed by 3.9).
pub const PREFERRED_REPLICA_ELECTION: &str = "/admin/preferred_replica_election";
/// Sequential notes of leaders (inter-broker protocol below 2.7) that changed an ISR by themselves.
pub const ISR_CHANGES: &str = "/isr_change_notification";
/// Sequential notes of brokers that lost a log directory.
pub const LOG_DIR_EVENTS: &str = "/log_dir_event_notification";
/// Name of a note of `LOG_DIR_EVENTS` without its number.
pub const LOG_DIR_EVENT_PREFIX: &str = "log_dir_event_";
/// The last block of producer ids given out.
pub const PRODUCER_ID_BLOCK: &str = "/latest_producer_id_block";
/// What is ours alone.
pub const CASTELLAN: &str = "/castellan";
/// Deleted topics that can be brought back, by id.
pub const DELETED_TOPICS: &str = "/castellan/deleted_topics";
/// Finalized features.
pub const FEATURE: &str = "/feature";

/// Which metrics clients push. Kafka keeps this with KRaft alone; here its folder is made with the first of them, so that
/// a cluster without has Kafka's nodes and no others.
pub const CLIENT_METRICS: &str = "client-metrics";

/// Kinds of settings: the children of `/config` beside `changes`, in the order Kafka creates them; the last two are ours.
pub const CONFIG_TYPES: [&str; 7] = ["topics", "clients", "users", "brokers", "ips", "groups", CLIENT_METRICS];

/// Nodes that every broker creates at start if they are missing, parents before children. Those Kafka creates first come
/// first; `/cluster` is created with the cluster's id.
pub const PERSISTENT: [&str; 19] = [
    "/consumers",
    "/brokers",
    BROKER_IDS,
    TOPICS,
    CONFIG,
    CONFIG_CHANGES,
    "/admin",
    DELETE_TOPICS,
    BROKER_SEQUENCE_ID,
    ISR_CHANGES,
    PRODUCER_ID_BLOCK,
    LOG_DIR_EVENTS,
    "/config/topics",
    "/config/clients",
    "/config/users",
    "/config/brokers",
    "/config/ips",
    "/config/groups",
    "/cluster",
];

/// `/brokers/ids/N`.
pub fn broker(id: i32) -> String {
    format!("{BROKER_IDS}/{id}")
}

/// `/brokers/topics/T`.
pub fn topic(topic: &str) -> String {
    format!("{TOPICS}/{topic}")
}

/// `/brokers/topics/T/partitions`.
pub fn partitions(topic: &str) -> String {
    format!("{TOPICS}/{topic}/partitions")
}

/// `/brokers/topics/T/partitions/P`.
pub fn partition(topic: &str, partition: i32) -> String {
    format!("{TOPICS}/{topic}/partitions/{partition}")
}

/// `/brokers/topics/T/partitions/P/state`.
pub fn partition_state(topic: &str, partition: i32) -> String {
    format!("{TOPICS}/{topic}/partitions/{partition}/state")
}

/// `/admin/delete_topics/T`.
pub fn delete_topic(topic: &str) -> String {
    format!("{DELETE_TOPICS}/{topic}")
}

/// `/castellan/deleted_topics/ID`.
pub fn deleted_topic(id: &str) -> String {
    format!("{DELETED_TOPICS}/{id}")
}

/// Parent of the settings of one kind: `/config/topics`.
pub fn config_type(kind: &str) -> String {
    format!("{CONFIG}/{kind}")
}

/// The settings of one entity: `/config/topics/T`; for a user's client `name` is `U/clients/C`.
pub fn config(kind: &str, name: &str) -> String {
    format!("{CONFIG}/{kind}/{name}")
}
