//! ElectLeaders: preferred or unclean leader election (KIP-460).
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    43 ElectLeaders: ElectLeadersRequest -> ElectLeadersResponse, 0-2, flexible 2+;

    ElectLeadersRequest {
        election_type: i8, 1+;
        topic_partitions: Option<Vec<TopicPartitions>> = Some(Vec::new()), 0+, null 0+;
        timeout_ms: i32 = 60000, 0+;
    }

    TopicPartitions {
        topic: String, 0+;
        partitions: Vec<i32>, 0+;
    }

    ElectLeadersResponse {
        throttle_time_ms: i32, 0+;
        error_code: i16, 1+;
        replica_election_results: Vec<ReplicaElectionResult>, 0+;
    }

    ReplicaElectionResult {
        topic: String, 0+;
        partition_result: Vec<PartitionResult>, 0+;
    }

    PartitionResult {
        partition_id: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String> = Some(String::new()), 0+, null 0+;
    }
}
