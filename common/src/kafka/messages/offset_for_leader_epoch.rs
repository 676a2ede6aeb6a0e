//! OffsetForLeaderEpoch: where a leader epoch ends, for truncation (KIP-101, KIP-320).
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    23 OffsetForLeaderEpoch: OffsetForLeaderEpochRequest -> OffsetForLeaderEpochResponse, 0-4, flexible 4+;

    OffsetForLeaderEpochRequest {
        replica_id: i32 = -2, 3+, [ignorable];
        topics: Vec<OffsetForLeaderTopic>, 0+;
    }

    OffsetForLeaderTopic {
        topic: String, 0+;
        partitions: Vec<OffsetForLeaderPartition>, 0+;
    }

    OffsetForLeaderPartition {
        partition: i32, 0+;
        current_leader_epoch: i32 = -1, 2+, [ignorable];
        leader_epoch: i32, 0+;
    }

    OffsetForLeaderEpochResponse {
        throttle_time_ms: i32, 2+, [ignorable];
        topics: Vec<OffsetForLeaderTopicResult>, 0+;
    }

    OffsetForLeaderTopicResult {
        topic: String, 0+;
        partitions: Vec<EpochEndOffset>, 0+;
    }

    EpochEndOffset {
        error_code: i16, 0+;
        partition: i32, 0+;
        leader_epoch: i32 = -1, 1+, [ignorable];
        end_offset: i64 = -1, 0+;
    }
}
