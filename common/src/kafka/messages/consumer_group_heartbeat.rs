//! ConsumerGroupHeartbeat: the one request of a member of the new group protocol (KIP-848).
//! Declares the two messages; holds no rule.

use uuid::Uuid;

use super::declare;

declare! {
    68 ConsumerGroupHeartbeat: ConsumerGroupHeartbeatRequest -> ConsumerGroupHeartbeatResponse, 0-1, flexible 0+;

    ConsumerGroupHeartbeatRequest {
        group_id: String, 0+;
        member_id: String, 0+;
        member_epoch: i32, 0+;
        instance_id: Option<String>, 0+, null 0+;
        rack_id: Option<String>, 0+, null 0+;
        rebalance_timeout_ms: i32 = -1, 0+;
        subscribed_topic_names: Option<Vec<String>>, 0+, null 0+;
        subscribed_topic_regex: Option<String>, 1+, null 1+;
        server_assignor: Option<String>, 0+, null 0+;
        topic_partitions: Option<Vec<TopicPartitions>>, 0+, null 0+;
    }

    TopicPartitions {
        topic_id: Uuid, 0+;
        partitions: Vec<i32>, 0+;
    }

    ConsumerGroupHeartbeatResponse {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+, null 0+;
        member_id: Option<String>, 0+, null 0+;
        member_epoch: i32, 0+;
        heartbeat_interval_ms: i32, 0+;
        assignment: Option<Assignment>, 0+, null 0+;
    }

    Assignment {
        topic_partitions: Vec<TopicPartitions>, 0+;
    }
}
