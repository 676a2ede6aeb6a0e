//! LeaderAndIsr: the controller tells a broker which partitions it leads or follows (ZooKeeper topology).
//! Declares the two messages; holds no rule. The tagged field is Castellan's own: who does not know it passes over it.

use uuid::Uuid;

use super::declare;

declare! {
    4 LeaderAndIsr: LeaderAndIsrRequest -> LeaderAndIsrResponse, 0-7, flexible 4+;

    LeaderAndIsrRequest {
        controller_id: i32, 0+;
        is_kraft_controller: bool, 7+;
        controller_epoch: i32, 0+;
        broker_epoch: i64 = -1, 2+, [ignorable];
        r#type: i8, 5+;
        ungrouped_partition_states: Vec<LeaderAndIsrPartitionState>, 0-1;
        topic_states: Vec<LeaderAndIsrTopicState>, 2+;
        live_leaders: Vec<LeaderAndIsrLiveLeader>, 0+;
    }

    LeaderAndIsrPartitionState {
        topic_name: String, 0-1, [ignorable];
        partition_index: i32, 0+;
        controller_epoch: i32, 0+;
        leader: i32, 0+;
        leader_epoch: i32, 0+;
        isr: Vec<i32>, 0+;
        partition_epoch: i32, 0+;
        replicas: Vec<i32>, 0+;
        adding_replicas: Vec<i32>, 3+, [ignorable];
        removing_replicas: Vec<i32>, 3+, [ignorable];
        is_new: bool, 1+, [ignorable];
        leader_recovery_state: i8, 6+;
        #10966 eligible_min_isr: i32, 4+, [ignorable];
    }

    LeaderAndIsrTopicState {
        topic_name: String, 2+;
        topic_id: Uuid, 5+, [ignorable];
        partition_states: Vec<LeaderAndIsrPartitionState>, 2+;
    }

    LeaderAndIsrLiveLeader {
        broker_id: i32, 0+;
        host_name: String, 0+;
        port: i32, 0+;
    }

    LeaderAndIsrResponse {
        error_code: i16, 0+;
        partition_errors: Vec<LeaderAndIsrPartitionError>, 0-4;
        topics: Vec<LeaderAndIsrTopicError>, 5+;
    }

    LeaderAndIsrPartitionError {
        topic_name: String, 0-4, [ignorable];
        partition_index: i32, 0+;
        error_code: i16, 0+;
    }

    LeaderAndIsrTopicError {
        topic_id: Uuid, 5+;
        partition_errors: Vec<LeaderAndIsrPartitionError>, 5+;
    }
}
