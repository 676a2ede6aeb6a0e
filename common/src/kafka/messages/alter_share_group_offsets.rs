//! AlterShareGroupOffsets: moves start offsets of a share group (KIP-932).
//! Declares the two messages; holds no rule.

use uuid::Uuid;

use super::declare;

declare! {
    91 AlterShareGroupOffsets: AlterShareGroupOffsetsRequest -> AlterShareGroupOffsetsResponse, 0-0, flexible 0+;

    AlterShareGroupOffsetsRequest {
        group_id: String, 0+;
        topics: Vec<AlterShareGroupOffsetsRequestTopic>, 0+;
    }

    AlterShareGroupOffsetsRequestTopic {
        topic_name: String, 0+;
        partitions: Vec<AlterShareGroupOffsetsRequestPartition>, 0+;
    }

    AlterShareGroupOffsetsRequestPartition {
        partition_index: i32, 0+;
        start_offset: i64, 0+;
    }

    AlterShareGroupOffsetsResponse {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+, null 0+;
        responses: Vec<AlterShareGroupOffsetsResponseTopic>, 0+;
    }

    AlterShareGroupOffsetsResponseTopic {
        topic_name: String, 0+;
        topic_id: Uuid, 0+;
        partitions: Vec<AlterShareGroupOffsetsResponsePartition>, 0+;
    }

    AlterShareGroupOffsetsResponsePartition {
        partition_index: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+, null 0+;
    }
}
