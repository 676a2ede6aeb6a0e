//! ShareFetch: records acquired for a member of a share group, with acknowledgements on the way (KIP-932).
//! Declares the two messages; holds no rule.

use uuid::Uuid;

use super::declare;
use crate::kafka::records::Records;

declare! {
    78 ShareFetch: ShareFetchRequest -> ShareFetchResponse, 1-2, flexible 0+;

    ShareFetchRequest {
        group_id: Option<String>, 0+, null 0+;
        member_id: Option<String> = Some(String::new()), 0+, null 0+;
        share_session_epoch: i32, 0+;
        max_wait_ms: i32, 0+;
        min_bytes: i32, 0+;
        max_bytes: i32 = i32::MAX, 0+;
        max_records: i32, 1+;
        batch_size: i32, 1+;
        share_acquire_mode: i8, 2+, [ignorable];
        is_renew_ack: bool, 2+;
        topics: Vec<FetchTopic>, 0+;
        forgotten_topics_data: Vec<ForgottenTopic>, 0+;
    }

    FetchTopic {
        topic_id: Uuid, 0+;
        partitions: Vec<FetchPartition>, 0+;
    }

    FetchPartition {
        partition_index: i32, 0+;
        acknowledgement_batches: Vec<AcknowledgementBatch>, 0+;
    }

    AcknowledgementBatch {
        first_offset: i64, 0+;
        last_offset: i64, 0+;
        acknowledge_types: Vec<i8>, 0+;
    }

    ForgottenTopic {
        topic_id: Uuid, 0+;
        partitions: Vec<i32>, 0+;
    }

    ShareFetchResponse {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+, null 0+;
        acquisition_lock_timeout_ms: i32, 1+;
        responses: Vec<ShareFetchableTopicResponse>, 0+;
        node_endpoints: Vec<NodeEndpoint>, 0+;
    }

    ShareFetchableTopicResponse {
        topic_id: Uuid, 0+;
        partitions: Vec<PartitionData>, 0+;
    }

    PartitionData {
        partition_index: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+, null 0+;
        acknowledge_error_code: i16, 0+;
        acknowledge_error_message: Option<String>, 0+, null 0+;
        current_leader: LeaderIdAndEpoch, 0+;
        records: Records, 0+;
        acquired_records: Vec<AcquiredRecords>, 0+;
    }

    LeaderIdAndEpoch {
        leader_id: i32, 0+;
        leader_epoch: i32, 0+;
    }

    AcquiredRecords {
        first_offset: i64, 0+;
        last_offset: i64, 0+;
        delivery_count: i16, 0+;
    }

    NodeEndpoint {
        node_id: i32, 0+;
        host: String, 0+;
        port: i32, 0+;
        rack: Option<String>, 0+, null 0+;
    }
}
