//! AlterPartition: a leader asks the controller to change the in-sync replicas (KIP-497).
//! Declares the two messages; holds no rule. The tagged field is Castellan's own: who does not know it passes over it.

use uuid::Uuid;

use super::declare;

declare! {
    56 AlterPartition: AlterPartitionRequest -> AlterPartitionResponse, 0-3, flexible 0+;

    AlterPartitionRequest {
        broker_id: i32, 0+;
        broker_epoch: i64 = -1, 0+;
        topics: Vec<TopicData>, 0+;
    }

    TopicData {
        topic_name: String, 0-1, [ignorable];
        topic_id: Uuid, 2+, [ignorable];
        partitions: Vec<PartitionData>, 0+;
    }

    PartitionData {
        partition_index: i32, 0+;
        leader_epoch: i32, 0+;
        new_isr: Vec<i32>, 0-2;
        new_isr_with_epochs: Vec<BrokerState>, 3+;
        leader_recovery_state: i8, 1+;
        partition_epoch: i32, 0+;
    }

    BrokerState {
        broker_id: i32, 3+;
        broker_epoch: i64 = -1, 3+;
    }

    AlterPartitionResponse {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        topics: Vec<TopicDataResponse>, 0+;
    }

    TopicDataResponse {
        topic_name: String, 0-1, [ignorable];
        topic_id: Uuid, 2+, [ignorable];
        partitions: Vec<PartitionDataResponse>, 0+;
    }

    PartitionDataResponse {
        partition_index: i32, 0+;
        error_code: i16, 0+;
        leader_id: i32, 0+;
        leader_epoch: i32, 0+;
        isr: Vec<i32>, 0+;
        leader_recovery_state: i8, 1+, [ignorable];
        partition_epoch: i32, 0+;
        #10966 eligible_min_isr: i32, 0+, [ignorable];
    }
}
