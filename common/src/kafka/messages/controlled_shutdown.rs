//! ControlledShutdown: a broker asks the controller to move its leaderships away (ZooKeeper topology).
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    7 ControlledShutdown: ControlledShutdownRequest -> ControlledShutdownResponse, 0-3, flexible 3+;

    ControlledShutdownRequest {
        broker_id: i32, 0+;
        broker_epoch: i64 = -1, 2+, [ignorable];
    }

    ControlledShutdownResponse {
        error_code: i16, 0+;
        remaining_partitions: Vec<RemainingPartition>, 0+;
    }

    RemainingPartition {
        topic_name: String, 0+;
        partition_index: i32, 0+;
    }
}
