//! TxnOffsetCommit: offsets that count once their transaction commits.
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    28 TxnOffsetCommit: TxnOffsetCommitRequest -> TxnOffsetCommitResponse, 0-5, flexible 3+;

    TxnOffsetCommitRequest {
        transactional_id: String, 0+;
        group_id: String, 0+;
        producer_id: i64, 0+;
        producer_epoch: i16, 0+;
        generation_id: i32 = -1, 3+;
        member_id: String, 3+;
        group_instance_id: Option<String>, 3+, null 3+;
        topics: Vec<TxnOffsetCommitRequestTopic>, 0+;
    }

    TxnOffsetCommitRequestTopic {
        name: String, 0+;
        partitions: Vec<TxnOffsetCommitRequestPartition>, 0+;
    }

    TxnOffsetCommitRequestPartition {
        partition_index: i32, 0+;
        committed_offset: i64, 0+;
        committed_leader_epoch: i32 = -1, 2+, [ignorable];
        committed_metadata: Option<String> = Some(String::new()), 0+, null 0+;
    }

    TxnOffsetCommitResponse {
        throttle_time_ms: i32, 0+;
        topics: Vec<TxnOffsetCommitResponseTopic>, 0+;
    }

    TxnOffsetCommitResponseTopic {
        name: String, 0+;
        partitions: Vec<TxnOffsetCommitResponsePartition>, 0+;
    }

    TxnOffsetCommitResponsePartition {
        partition_index: i32, 0+;
        error_code: i16, 0+;
    }
}
