//! ListPartitionReassignments: the moves under way (KIP-455).
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    46 ListPartitionReassignments: ListPartitionReassignmentsRequest -> ListPartitionReassignmentsResponse, 0-0, flexible 0+;

    ListPartitionReassignmentsRequest {
        timeout_ms: i32 = 60000, 0+;
        topics: Option<Vec<ListPartitionReassignmentsTopics>>, 0+, null 0+;
    }

    ListPartitionReassignmentsTopics {
        name: String, 0+;
        partition_indexes: Vec<i32>, 0+;
    }

    ListPartitionReassignmentsResponse {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String> = Some(String::new()), 0+, null 0+;
        topics: Vec<OngoingTopicReassignment>, 0+;
    }

    OngoingTopicReassignment {
        name: String, 0+;
        partitions: Vec<OngoingPartitionReassignment>, 0+;
    }

    OngoingPartitionReassignment {
        partition_index: i32, 0+;
        replicas: Vec<i32>, 0+;
        adding_replicas: Vec<i32>, 0+;
        removing_replicas: Vec<i32>, 0+;
    }
}
