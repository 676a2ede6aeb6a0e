//! Produce: record batches to append, and where they landed.
//! Declares the two messages; holds no rule.

use uuid::Uuid;

use super::declare;
use crate::kafka::records::Records;

declare! {
    0 Produce: ProduceRequest -> ProduceResponse, 3-13, flexible 9+;

    ProduceRequest {
        transactional_id: Option<String>, 3+, null 3+;
        acks: i16, 0+;
        timeout_ms: i32, 0+;
        topic_data: Vec<TopicProduceData>, 0+;
    }

    TopicProduceData {
        name: String, 0-12, [ignorable];
        topic_id: Uuid, 13+, [ignorable];
        partition_data: Vec<PartitionProduceData>, 0+;
    }

    PartitionProduceData {
        index: i32, 0+;
        records: Option<Records>, 0+, null 0+;
    }

    ProduceResponse {
        responses: Vec<TopicProduceResponse>, 0+;
        throttle_time_ms: i32, 1+;
        #0 node_endpoints: Vec<NodeEndpoint>, 10+;
    }

    TopicProduceResponse {
        name: String, 0-12, [ignorable];
        topic_id: Uuid, 13+, [ignorable];
        partition_responses: Vec<PartitionProduceResponse>, 0+;
    }

    PartitionProduceResponse {
        index: i32, 0+;
        error_code: i16, 0+;
        base_offset: i64, 0+;
        log_append_time_ms: i64 = -1, 2+;
        log_start_offset: i64 = -1, 5+, [ignorable];
        record_errors: Vec<BatchIndexAndErrorMessage>, 8+, [ignorable];
        error_message: Option<String>, 8+, null 8+, [ignorable];
        #0 current_leader: LeaderIdAndEpoch, 10+;
    }

    BatchIndexAndErrorMessage {
        batch_index: i32, 8+;
        batch_index_error_message: Option<String>, 8+, null 8+;
    }

    LeaderIdAndEpoch {
        leader_id: i32 = -1, 10+;
        leader_epoch: i32 = -1, 10+;
    }

    NodeEndpoint {
        node_id: i32, 10+;
        host: String, 10+;
        port: i32, 10+;
        rack: Option<String>, 10+, null 10+;
    }
}
