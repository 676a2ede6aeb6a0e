//! StopReplica: the controller tells a broker to give up, and maybe delete, replicas (ZooKeeper topology).
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    5 StopReplica: StopReplicaRequest -> StopReplicaResponse, 0-4, flexible 2+;

    StopReplicaRequest {
        controller_id: i32, 0+;
        is_kraft_controller: bool, 4+;
        controller_epoch: i32, 0+;
        broker_epoch: i64 = -1, 1+, [ignorable];
        delete_partitions: bool, 0-2;
        ungrouped_partitions: Vec<StopReplicaPartitionV0>, 0-0;
        topics: Vec<StopReplicaTopicV1>, 1-2;
        topic_states: Vec<StopReplicaTopicState>, 3+;
    }

    StopReplicaPartitionV0 {
        topic_name: String, 0-0;
        partition_index: i32, 0-0;
    }

    StopReplicaTopicV1 {
        name: String, 1-2;
        partition_indexes: Vec<i32>, 1-2;
    }

    StopReplicaTopicState {
        topic_name: String, 3+;
        partition_states: Vec<StopReplicaPartitionState>, 3+;
    }

    StopReplicaPartitionState {
        partition_index: i32, 3+;
        leader_epoch: i32 = -1, 3+;
        delete_partition: bool, 3+;
    }

    StopReplicaResponse {
        error_code: i16, 0+;
        partition_errors: Vec<StopReplicaPartitionError>, 0+;
    }

    StopReplicaPartitionError {
        topic_name: String, 0+;
        partition_index: i32, 0+;
        error_code: i16, 0+;
    }
}
