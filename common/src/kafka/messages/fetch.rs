//! Fetch: record batches to read, by consumers and by following replicas (KIP-227 sessions, KIP-516 topic ids).
//! Declares the two messages; holds no rule.

use uuid::Uuid;

use super::declare;
use crate::kafka::records::Records;

declare! {
    1 Fetch: FetchRequest -> FetchResponse, 4-18, flexible 12+;

    FetchRequest {
        replica_id: i32 = -1, 0-14;
        max_wait_ms: i32, 0+;
        min_bytes: i32, 0+;
        max_bytes: i32 = i32::MAX, 3+;
        isolation_level: i8, 4+;
        session_id: i32, 7+, [ignorable];
        session_epoch: i32 = -1, 7+, [ignorable];
        topics: Vec<FetchTopic>, 0+;
        forgotten_topics_data: Vec<ForgottenTopic>, 7+;
        rack_id: String, 11+, [ignorable];
        #0 cluster_id: Option<String>, 12+, null 12+, [ignorable];
        #1 replica_state: ReplicaState, 15+;
    }

    ReplicaState {
        replica_id: i32 = -1, 15+;
        replica_epoch: i64 = -1, 15+;
    }

    FetchTopic {
        topic: String, 0-12, [ignorable];
        topic_id: Uuid, 13+, [ignorable];
        partitions: Vec<FetchPartition>, 0+;
    }

    FetchPartition {
        partition: i32, 0+;
        current_leader_epoch: i32 = -1, 9+, [ignorable];
        fetch_offset: i64, 0+;
        last_fetched_epoch: i32 = -1, 12+;
        log_start_offset: i64 = -1, 5+, [ignorable];
        partition_max_bytes: i32, 0+;
        #0 replica_directory_id: Uuid, 17+, [ignorable];
        #1 high_watermark: i64 = i64::MAX, 18+, [ignorable];
    }

    ForgottenTopic {
        topic: String, 7-12, [ignorable];
        topic_id: Uuid, 13+, [ignorable];
        partitions: Vec<i32>, 7+;
    }

    FetchResponse {
        throttle_time_ms: i32, 1+;
        error_code: i16, 7+, [ignorable];
        session_id: i32, 7+;
        responses: Vec<FetchableTopicResponse>, 0+;
        #0 node_endpoints: Vec<NodeEndpoint>, 16+;
    }

    FetchableTopicResponse {
        topic: String, 0-12, [ignorable];
        topic_id: Uuid, 13+, [ignorable];
        partitions: Vec<PartitionData>, 0+;
    }

    PartitionData {
        partition_index: i32, 0+;
        error_code: i16, 0+;
        high_watermark: i64, 0+;
        last_stable_offset: i64 = -1, 4+;
        log_start_offset: i64 = -1, 5+, [ignorable];
        aborted_transactions: Option<Vec<AbortedTransaction>> = Some(Vec::new()), 4+, null 4+;
        preferred_read_replica: i32 = -1, 11+;
        records: Option<Records>, 0+, null 0+;
        #0 diverging_epoch: EpochEndOffset, 12+;
        #1 current_leader: LeaderIdAndEpoch, 12+;
        #2 snapshot_id: SnapshotId, 12+;
    }

    EpochEndOffset {
        epoch: i32 = -1, 12+;
        end_offset: i64 = -1, 12+;
    }

    LeaderIdAndEpoch {
        leader_id: i32 = -1, 12+;
        leader_epoch: i32 = -1, 12+;
    }

    SnapshotId {
        end_offset: i64 = -1, 0+;
        epoch: i32 = -1, 0+;
    }

    AbortedTransaction {
        producer_id: i64, 4+;
        first_offset: i64, 4+;
    }

    NodeEndpoint {
        node_id: i32, 16+;
        host: String, 16+;
        port: i32, 16+;
        rack: Option<String>, 16+, null 16+;
    }
}
