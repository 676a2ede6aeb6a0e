//! DescribeProducers: the producers that a partition knows (KIP-664).
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    61 DescribeProducers: DescribeProducersRequest -> DescribeProducersResponse, 0-0, flexible 0+;

    DescribeProducersRequest {
        topics: Vec<TopicRequest>, 0+;
    }

    TopicRequest {
        name: String, 0+;
        partition_indexes: Vec<i32>, 0+;
    }

    DescribeProducersResponse {
        throttle_time_ms: i32, 0+;
        topics: Vec<TopicResponse>, 0+;
    }

    TopicResponse {
        name: String, 0+;
        partitions: Vec<PartitionResponse>, 0+;
    }

    PartitionResponse {
        partition_index: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+, null 0+;
        active_producers: Vec<ProducerState>, 0+;
    }

    ProducerState {
        producer_id: i64, 0+;
        producer_epoch: i32, 0+;
        last_sequence: i32 = -1, 0+;
        last_timestamp: i64 = -1, 0+;
        coordinator_epoch: i32, 0+;
        current_txn_start_offset: i64 = -1, 0+;
    }
}
