//! AlterReplicaLogDirs: moves replicas between log directories of a broker (KIP-113).
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    34 AlterReplicaLogDirs: AlterReplicaLogDirsRequest -> AlterReplicaLogDirsResponse, 0-2, flexible 2+;

    AlterReplicaLogDirsRequest {
        dirs: Vec<AlterReplicaLogDir>, 0+;
    }

    AlterReplicaLogDir {
        path: String, 0+;
        topics: Vec<AlterReplicaLogDirTopic>, 0+;
    }

    AlterReplicaLogDirTopic {
        name: String, 0+;
        partitions: Vec<i32>, 0+;
    }

    AlterReplicaLogDirsResponse {
        throttle_time_ms: i32, 0+;
        results: Vec<AlterReplicaLogDirTopicResult>, 0+;
    }

    AlterReplicaLogDirTopicResult {
        topic_name: String, 0+;
        partitions: Vec<AlterReplicaLogDirPartitionResult>, 0+;
    }

    AlterReplicaLogDirPartitionResult {
        partition_index: i32, 0+;
        error_code: i16, 0+;
    }
}
