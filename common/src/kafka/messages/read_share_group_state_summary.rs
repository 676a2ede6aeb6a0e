//! ReadShareGroupStateSummary: start offsets of share partitions (KIP-932, between brokers).
//! Declares the two messages; holds no rule.

use uuid::Uuid;

use super::declare;

declare! {
    87 ReadShareGroupStateSummary: ReadShareGroupStateSummaryRequest -> ReadShareGroupStateSummaryResponse, 0-1, flexible 0+;

    ReadShareGroupStateSummaryRequest {
        group_id: String, 0+;
        topics: Vec<ReadStateSummaryData>, 0+;
    }

    ReadStateSummaryData {
        topic_id: Uuid, 0+;
        partitions: Vec<PartitionData>, 0+;
    }

    PartitionData {
        partition: i32, 0+;
        leader_epoch: i32, 0+;
    }

    ReadShareGroupStateSummaryResponse {
        results: Vec<ReadStateSummaryResult>, 0+;
    }

    ReadStateSummaryResult {
        topic_id: Uuid, 0+;
        partitions: Vec<PartitionResult>, 0+;
    }

    PartitionResult {
        partition: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+, null 0+;
        state_epoch: i32, 0+;
        leader_epoch: i32, 0+;
        start_offset: i64, 0+;
        delivery_complete_count: i32 = -1, 1+, [ignorable];
    }
}
