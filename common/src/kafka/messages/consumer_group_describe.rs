//! ConsumerGroupDescribe: state and members of groups of the new protocol (KIP-848).
//! Declares the two messages; holds no rule.

use uuid::Uuid;

use super::declare;

declare! {
    69 ConsumerGroupDescribe: ConsumerGroupDescribeRequest -> ConsumerGroupDescribeResponse, 0-1, flexible 0+;

    ConsumerGroupDescribeRequest {
        group_ids: Vec<String>, 0+;
        include_authorized_operations: bool, 0+;
    }

    ConsumerGroupDescribeResponse {
        throttle_time_ms: i32, 0+;
        groups: Vec<DescribedGroup>, 0+;
    }

    DescribedGroup {
        error_code: i16, 0+;
        error_message: Option<String>, 0+, null 0+;
        group_id: String, 0+;
        group_state: String, 0+;
        group_epoch: i32, 0+;
        assignment_epoch: i32, 0+;
        assignor_name: String, 0+;
        members: Vec<Member>, 0+;
        authorized_operations: i32 = i32::MIN, 0+;
    }

    Member {
        member_id: String, 0+;
        instance_id: Option<String>, 0+, null 0+;
        rack_id: Option<String>, 0+, null 0+;
        member_epoch: i32, 0+;
        client_id: String, 0+;
        client_host: String, 0+;
        subscribed_topic_names: Vec<String>, 0+;
        subscribed_topic_regex: Option<String>, 0+, null 0+;
        assignment: Assignment, 0+;
        target_assignment: Assignment, 0+;
        member_type: i8 = -1, 1+, [ignorable];
    }

    Assignment {
        topic_partitions: Vec<TopicPartitions>, 0+;
    }

    TopicPartitions {
        topic_id: Uuid, 0+;
        topic_name: String, 0+;
        partitions: Vec<i32>, 0+;
    }
}
