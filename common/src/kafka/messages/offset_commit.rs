//! OffsetCommit: a group member stores how far it has read.
//! Declares the two messages; holds no rule.

use uuid::Uuid;

use super::declare;

declare! {
    8 OffsetCommit: OffsetCommitRequest -> OffsetCommitResponse, 0-10, flexible 8+;

    OffsetCommitRequest {
        group_id: String, 0+;
        generation_id_or_member_epoch: i32 = -1, 1+, [ignorable];
        member_id: String, 1+, [ignorable];
        group_instance_id: Option<String>, 7+, null 7+;
        retention_time_ms: i64 = -1, 2-4, [ignorable];
        topics: Vec<OffsetCommitRequestTopic>, 0+;
    }

    OffsetCommitRequestTopic {
        name: String, 0-9, [ignorable];
        topic_id: Uuid, 10+, [ignorable];
        partitions: Vec<OffsetCommitRequestPartition>, 0+;
    }

    OffsetCommitRequestPartition {
        partition_index: i32, 0+;
        committed_offset: i64, 0+;
        committed_leader_epoch: i32 = -1, 6+, [ignorable];
        commit_timestamp: i64 = -1, 1-1;
        committed_metadata: Option<String> = Some(String::new()), 0+, null 0+;
    }

    OffsetCommitResponse {
        throttle_time_ms: i32, 3+, [ignorable];
        topics: Vec<OffsetCommitResponseTopic>, 0+;
    }

    OffsetCommitResponseTopic {
        name: String, 0-9, [ignorable];
        topic_id: Uuid, 10+, [ignorable];
        partitions: Vec<OffsetCommitResponsePartition>, 0+;
    }

    OffsetCommitResponsePartition {
        partition_index: i32, 0+;
        error_code: i16, 0+;
    }
}
