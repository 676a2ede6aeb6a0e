//! ListOffsets: the offset that belongs to a timestamp, or the first, last or tiered one.
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    2 ListOffsets: ListOffsetsRequest -> ListOffsetsResponse, 0-11, flexible 6+;

    ListOffsetsRequest {
        replica_id: i32, 0+;
        isolation_level: i8, 2+;
        topics: Vec<ListOffsetsTopic>, 0+;
        timeout_ms: i32, 10+, [ignorable];
    }

    ListOffsetsTopic {
        name: String, 0+;
        partitions: Vec<ListOffsetsPartition>, 0+;
    }

    ListOffsetsPartition {
        partition_index: i32, 0+;
        current_leader_epoch: i32 = -1, 4+, [ignorable];
        timestamp: i64, 0+;
        max_num_offsets: i32 = 1, 0-0;
    }

    ListOffsetsResponse {
        throttle_time_ms: i32, 2+, [ignorable];
        topics: Vec<ListOffsetsTopicResponse>, 0+;
    }

    ListOffsetsTopicResponse {
        name: String, 0+;
        partitions: Vec<ListOffsetsPartitionResponse>, 0+;
    }

    ListOffsetsPartitionResponse {
        partition_index: i32, 0+;
        error_code: i16, 0+;
        old_style_offsets: Vec<i64>, 0-0;
        timestamp: i64 = -1, 1+;
        offset: i64 = -1, 1+;
        leader_epoch: i32 = -1, 4+;
    }
}
