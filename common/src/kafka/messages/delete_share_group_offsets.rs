//! DeleteShareGroupOffsets: forgets topics of a share group (KIP-932).
//! Declares the two messages; holds no rule.

use uuid::Uuid;

use super::declare;

declare! {
    92 DeleteShareGroupOffsets: DeleteShareGroupOffsetsRequest -> DeleteShareGroupOffsetsResponse, 0-0, flexible 0+;

    DeleteShareGroupOffsetsRequest {
        group_id: String, 0+;
        topics: Vec<DeleteShareGroupOffsetsRequestTopic>, 0+;
    }

    DeleteShareGroupOffsetsRequestTopic {
        topic_name: String, 0+;
    }

    DeleteShareGroupOffsetsResponse {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+, null 0+;
        responses: Vec<DeleteShareGroupOffsetsResponseTopic>, 0+;
    }

    DeleteShareGroupOffsetsResponseTopic {
        topic_name: String, 0+;
        topic_id: Uuid, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+, null 0+;
    }
}
