//! EndTxn: commits or aborts a transaction.
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    26 EndTxn: EndTxnRequest -> EndTxnResponse, 0-5, flexible 3+;

    EndTxnRequest {
        transactional_id: String, 0+;
        producer_id: i64, 0+;
        producer_epoch: i16, 0+;
        committed: bool, 0+;
    }

    EndTxnResponse {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        producer_id: i64 = -1, 5+, [ignorable];
        producer_epoch: i16 = -1, 5+, [ignorable];
    }
}
