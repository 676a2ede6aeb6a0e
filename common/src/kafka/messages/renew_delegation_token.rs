//! RenewDelegationToken: lets a delegation token live longer (KIP-48).
//! Declares the two messages; holds no rule.

use bytes::Bytes;

use super::declare;

declare! {
    39 RenewDelegationToken: RenewDelegationTokenRequest -> RenewDelegationTokenResponse, 0-2, flexible 2+;

    RenewDelegationTokenRequest {
        hmac: Bytes, 0+;
        renew_period_ms: i64, 0+;
    }

    RenewDelegationTokenResponse {
        error_code: i16, 0+;
        expiry_timestamp_ms: i64, 0+;
        throttle_time_ms: i32, 0+;
    }
}
