//! Metadata: the brokers, the topics and who leads which partition.
//! Declares the two messages; holds no rule.

use uuid::Uuid;

use super::declare;

declare! {
    3 Metadata: MetadataRequest -> MetadataResponse, 0-13, flexible 9+;

    MetadataRequest {
        topics: Option<Vec<MetadataRequestTopic>> = Some(Vec::new()), 0+, null 1+;
        allow_auto_topic_creation: bool = true, 4+;
        include_cluster_authorized_operations: bool, 8-10;
        include_topic_authorized_operations: bool, 8+;
    }

    MetadataRequestTopic {
        topic_id: Uuid, 10+, [ignorable];
        name: Option<String> = Some(String::new()), 0+, null 10+;
    }

    MetadataResponse {
        throttle_time_ms: i32, 3+, [ignorable];
        brokers: Vec<MetadataResponseBroker>, 0+;
        cluster_id: Option<String>, 2+, null 2+, [ignorable];
        controller_id: i32 = -1, 1+, [ignorable];
        topics: Vec<MetadataResponseTopic>, 0+;
        cluster_authorized_operations: i32 = i32::MIN, 8-10;
        error_code: i16, 13+, [ignorable];
    }

    MetadataResponseBroker {
        node_id: i32, 0+;
        host: String, 0+;
        port: i32, 0+;
        rack: Option<String>, 1+, null 1+, [ignorable];
    }

    MetadataResponseTopic {
        error_code: i16, 0+;
        name: Option<String> = Some(String::new()), 0+, null 12+;
        topic_id: Uuid, 10+, [ignorable];
        is_internal: bool, 1+, [ignorable];
        partitions: Vec<MetadataResponsePartition>, 0+;
        topic_authorized_operations: i32 = i32::MIN, 8+;
    }

    MetadataResponsePartition {
        error_code: i16, 0+;
        partition_index: i32, 0+;
        leader_id: i32, 0+;
        leader_epoch: i32 = -1, 7+, [ignorable];
        replica_nodes: Vec<i32>, 0+;
        isr_nodes: Vec<i32>, 0+;
        offline_replicas: Vec<i32>, 5+, [ignorable];
    }
}
