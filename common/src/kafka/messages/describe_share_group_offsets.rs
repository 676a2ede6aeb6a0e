//! DescribeShareGroupOffsets: start offsets of share groups (KIP-932).
//! Declares the two messages; holds no rule.

use uuid::Uuid;

use super::declare;

declare! {
    90 DescribeShareGroupOffsets: DescribeShareGroupOffsetsRequest -> DescribeShareGroupOffsetsResponse, 0-1, flexible 0+;

    DescribeShareGroupOffsetsRequest {
        groups: Vec<DescribeShareGroupOffsetsRequestGroup>, 0+;
    }

    DescribeShareGroupOffsetsRequestGroup {
        group_id: String, 0+;
        topics: Option<Vec<DescribeShareGroupOffsetsRequestTopic>> = Some(Vec::new()), 0+, null 0+;
    }

    DescribeShareGroupOffsetsRequestTopic {
        topic_name: String, 0+;
        partitions: Vec<i32>, 0+;
    }

    DescribeShareGroupOffsetsResponse {
        throttle_time_ms: i32, 0+;
        groups: Vec<DescribeShareGroupOffsetsResponseGroup>, 0+;
    }

    DescribeShareGroupOffsetsResponseGroup {
        group_id: String, 0+;
        topics: Vec<DescribeShareGroupOffsetsResponseTopic>, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+, null 0+;
    }

    DescribeShareGroupOffsetsResponseTopic {
        topic_name: String, 0+;
        topic_id: Uuid, 0+;
        partitions: Vec<DescribeShareGroupOffsetsResponsePartition>, 0+;
    }

    DescribeShareGroupOffsetsResponsePartition {
        partition_index: i32, 0+;
        start_offset: i64, 0+;
        leader_epoch: i32, 0+;
        lag: i64 = -1, 1+, [ignorable];
        error_code: i16, 0+;
        error_message: Option<String>, 0+, null 0+;
    }
}
