//! FindCoordinator: the broker that looks after a group, a transactional id or a share partition.
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    10 FindCoordinator: FindCoordinatorRequest -> FindCoordinatorResponse, 0-6, flexible 3+;

    FindCoordinatorRequest {
        key: String, 0-3;
        key_type: i8, 1+;
        coordinator_keys: Vec<String>, 4+;
    }

    FindCoordinatorResponse {
        throttle_time_ms: i32, 1+, [ignorable];
        error_code: i16, 0-3;
        error_message: Option<String> = Some(String::new()), 1-3, null 1-3, [ignorable];
        node_id: i32, 0-3;
        host: String, 0-3;
        port: i32, 0-3;
        coordinators: Vec<Coordinator>, 4+;
    }

    Coordinator {
        key: String, 4+;
        node_id: i32, 4+;
        host: String, 4+;
        port: i32, 4+;
        error_code: i16, 4+;
        error_message: Option<String> = Some(String::new()), 4+, null 4+, [ignorable];
    }
}
