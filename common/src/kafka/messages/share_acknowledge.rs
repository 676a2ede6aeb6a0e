//! ShareAcknowledge: what became of acquired records (KIP-932).
//! Declares the two messages; holds no rule.

use uuid::Uuid;

use super::declare;

declare! {
    79 ShareAcknowledge: ShareAcknowledgeRequest -> ShareAcknowledgeResponse, 1-2, flexible 0+;

    ShareAcknowledgeRequest {
        group_id: Option<String>, 0+, null 0+;
        member_id: Option<String> = Some(String::new()), 0+, null 0+;
        share_session_epoch: i32, 0+;
        is_renew_ack: bool, 2+;
        topics: Vec<AcknowledgeTopic>, 0+;
    }

    AcknowledgeTopic {
        topic_id: Uuid, 0+;
        partitions: Vec<AcknowledgePartition>, 0+;
    }

    AcknowledgePartition {
        partition_index: i32, 0+;
        acknowledgement_batches: Vec<AcknowledgementBatch>, 0+;
    }

    AcknowledgementBatch {
        first_offset: i64, 0+;
        last_offset: i64, 0+;
        acknowledge_types: Vec<i8>, 0+;
    }

    ShareAcknowledgeResponse {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+, null 0+;
        acquisition_lock_timeout_ms: i32, 2+, [ignorable];
        responses: Vec<ShareAcknowledgeTopicResponse>, 0+;
        node_endpoints: Vec<NodeEndpoint>, 0+;
    }

    ShareAcknowledgeTopicResponse {
        topic_id: Uuid, 0+;
        partitions: Vec<PartitionData>, 0+;
    }

    PartitionData {
        partition_index: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+, null 0+;
        current_leader: LeaderIdAndEpoch, 0+;
    }

    LeaderIdAndEpoch {
        leader_id: i32, 0+;
        leader_epoch: i32, 0+;
    }

    NodeEndpoint {
        node_id: i32, 0+;
        host: String, 0+;
        port: i32, 0+;
        rack: Option<String>, 0+, null 0+;
    }
}
