//! DeleteTopics: topics to delete, by name or id.
//! Declares the two messages; holds no rule.

use uuid::Uuid;

use super::declare;

declare! {
    20 DeleteTopics: DeleteTopicsRequest -> DeleteTopicsResponse, 0-6, flexible 4+;

    DeleteTopicsRequest {
        topics: Vec<DeleteTopicState>, 6+;
        topic_names: Vec<String>, 0-5, [ignorable];
        timeout_ms: i32, 0+;
    }

    DeleteTopicState {
        name: Option<String>, 6+, null 6+;
        topic_id: Uuid, 6+;
    }

    DeleteTopicsResponse {
        throttle_time_ms: i32, 1+, [ignorable];
        responses: Vec<DeletableTopicResult>, 0+;
    }

    DeletableTopicResult {
        name: Option<String> = Some(String::new()), 0+, null 6+;
        topic_id: Uuid, 6+, [ignorable];
        error_code: i16, 0+;
        error_message: Option<String>, 5+, null 5+, [ignorable];
    }
}
