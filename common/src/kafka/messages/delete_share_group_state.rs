//! DeleteShareGroupState: the group coordinator removes the state of share partitions (KIP-932, between brokers).
//! Declares the two messages; holds no rule.

use uuid::Uuid;

use super::declare;

declare! {
    86 DeleteShareGroupState: DeleteShareGroupStateRequest -> DeleteShareGroupStateResponse, 0-0, flexible 0+;

    DeleteShareGroupStateRequest {
        group_id: String, 0+;
        topics: Vec<DeleteStateData>, 0+;
    }

    DeleteStateData {
        topic_id: Uuid, 0+;
        partitions: Vec<PartitionData>, 0+;
    }

    PartitionData {
        partition: i32, 0+;
    }

    DeleteShareGroupStateResponse {
        results: Vec<DeleteStateResult>, 0+;
    }

    DeleteStateResult {
        topic_id: Uuid, 0+;
        partitions: Vec<PartitionResult>, 0+;
    }

    PartitionResult {
        partition: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+, null 0+;
    }
}
