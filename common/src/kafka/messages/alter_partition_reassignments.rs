//! AlterPartitionReassignments: starts or cancels the move of partitions to other brokers (KIP-455).
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    45 AlterPartitionReassignments: AlterPartitionReassignmentsRequest -> AlterPartitionReassignmentsResponse, 0-1, flexible 0+;

    AlterPartitionReassignmentsRequest {
        timeout_ms: i32 = 60000, 0+;
        allow_replication_factor_change: bool = true, 1+;
        topics: Vec<ReassignableTopic>, 0+;
    }

    ReassignableTopic {
        name: String, 0+;
        partitions: Vec<ReassignablePartition>, 0+;
    }

    ReassignablePartition {
        partition_index: i32, 0+;
        replicas: Option<Vec<i32>>, 0+, null 0+;
    }

    AlterPartitionReassignmentsResponse {
        throttle_time_ms: i32, 0+;
        allow_replication_factor_change: bool = true, 1+, [ignorable];
        error_code: i16, 0+;
        error_message: Option<String> = Some(String::new()), 0+, null 0+;
        responses: Vec<ReassignableTopicResponse>, 0+;
    }

    ReassignableTopicResponse {
        name: String, 0+;
        partitions: Vec<ReassignablePartitionResponse>, 0+;
    }

    ReassignablePartitionResponse {
        partition_index: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String> = Some(String::new()), 0+, null 0+;
    }
}
