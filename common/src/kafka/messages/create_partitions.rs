//! CreatePartitions: gives topics more partitions.
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    37 CreatePartitions: CreatePartitionsRequest -> CreatePartitionsResponse, 0-3, flexible 2+;

    CreatePartitionsRequest {
        topics: Vec<CreatePartitionsTopic>, 0+;
        timeout_ms: i32, 0+;
        validate_only: bool, 0+;
    }

    CreatePartitionsTopic {
        name: String, 0+;
        count: i32, 0+;
        assignments: Option<Vec<CreatePartitionsAssignment>> = Some(Vec::new()), 0+, null 0+;
    }

    CreatePartitionsAssignment {
        broker_ids: Vec<i32>, 0+;
    }

    CreatePartitionsResponse {
        throttle_time_ms: i32, 0+;
        results: Vec<CreatePartitionsTopicResult>, 0+;
    }

    CreatePartitionsTopicResult {
        name: String, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+, null 0+;
    }
}
