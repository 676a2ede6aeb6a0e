//! InitProducerId: producer id and epoch for idempotence and transactions (KIP-98, KIP-360).
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    22 InitProducerId: InitProducerIdRequest -> InitProducerIdResponse, 0-5, flexible 2+;

    InitProducerIdRequest {
        transactional_id: Option<String> = Some(String::new()), 0+, null 0+;
        transaction_timeout_ms: i32, 0+;
        producer_id: i64 = -1, 3+;
        producer_epoch: i16 = -1, 3+;
    }

    InitProducerIdResponse {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        producer_id: i64 = -1, 0+;
        producer_epoch: i16, 0+;
    }
}
