//! ExpireDelegationToken: ends a delegation token, now or later (KIP-48).
//! Declares the two messages; holds no rule.

use bytes::Bytes;

use super::declare;

declare! {
    40 ExpireDelegationToken: ExpireDelegationTokenRequest -> ExpireDelegationTokenResponse, 0-2, flexible 2+;

    ExpireDelegationTokenRequest {
        hmac: Bytes, 0+;
        expiry_time_period_ms: i64, 0+;
    }

    ExpireDelegationTokenResponse {
        error_code: i16, 0+;
        expiry_timestamp_ms: i64, 0+;
        throttle_time_ms: i32, 0+;
    }
}
