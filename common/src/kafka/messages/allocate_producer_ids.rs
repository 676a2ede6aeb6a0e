//! AllocateProducerIds: a broker asks the controller for a block of producer ids (KIP-730).
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    67 AllocateProducerIds: AllocateProducerIdsRequest -> AllocateProducerIdsResponse, 0-0, flexible 0+;

    AllocateProducerIdsRequest {
        broker_id: i32, 0+;
        broker_epoch: i64 = -1, 0+;
    }

    AllocateProducerIdsResponse {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        producer_id_start: i64, 0+;
        producer_id_len: i32, 0+;
    }
}
