//! CreateTopics: new topics with their partitions, replicas and settings.
//! Declares the two messages; holds no rule.

use uuid::Uuid;

use super::declare;

declare! {
    19 CreateTopics: CreateTopicsRequest -> CreateTopicsResponse, 0-7, flexible 5+;

    CreateTopicsRequest {
        topics: Vec<CreatableTopic>, 0+;
        timeout_ms: i32 = 60000, 0+;
        validate_only: bool, 1+;
    }

    CreatableTopic {
        name: String, 0+;
        num_partitions: i32, 0+;
        replication_factor: i16, 0+;
        assignments: Vec<CreatableReplicaAssignment>, 0+;
        configs: Vec<CreatableTopicConfig>, 0+;
    }

    CreatableReplicaAssignment {
        partition_index: i32, 0+;
        broker_ids: Vec<i32>, 0+;
    }

    CreatableTopicConfig {
        name: String, 0+;
        value: Option<String> = Some(String::new()), 0+, null 0+;
    }

    CreateTopicsResponse {
        throttle_time_ms: i32, 2+, [ignorable];
        topics: Vec<CreatableTopicResult>, 0+;
    }

    CreatableTopicResult {
        name: String, 0+;
        topic_id: Uuid, 7+, [ignorable];
        error_code: i16, 0+;
        error_message: Option<String> = Some(String::new()), 1+, null 0+, [ignorable];
        num_partitions: i32 = -1, 5+, [ignorable];
        replication_factor: i16 = -1, 5+, [ignorable];
        configs: Option<Vec<CreatableTopicConfigs>> = Some(Vec::new()), 5+, null 5+, [ignorable];
        #0 topic_config_error_code: i16, 5+, [ignorable];
    }

    CreatableTopicConfigs {
        name: String, 5+;
        value: Option<String> = Some(String::new()), 5+, null 5+;
        read_only: bool, 5+;
        config_source: i8 = -1, 5+, [ignorable];
        is_sensitive: bool, 5+;
    }
}
