//! DescribeDelegationToken: the delegation tokens of owners (KIP-48).
//! Declares the two messages; holds no rule.

use bytes::Bytes;

use super::declare;

declare! {
    41 DescribeDelegationToken: DescribeDelegationTokenRequest -> DescribeDelegationTokenResponse, 0-3, flexible 2+;

    DescribeDelegationTokenRequest {
        owners: Option<Vec<DescribeDelegationTokenOwner>> = Some(Vec::new()), 0+, null 0+;
    }

    DescribeDelegationTokenOwner {
        principal_type: String, 0+;
        principal_name: String, 0+;
    }

    DescribeDelegationTokenResponse {
        error_code: i16, 0+;
        tokens: Vec<DescribedDelegationToken>, 0+;
        throttle_time_ms: i32, 0+;
    }

    DescribedDelegationToken {
        principal_type: String, 0+;
        principal_name: String, 0+;
        token_requester_principal_type: String, 3+;
        token_requester_principal_name: String, 3+;
        issue_timestamp: i64, 0+;
        expiry_timestamp: i64, 0+;
        max_timestamp: i64, 0+;
        token_id: String, 0+;
        hmac: Bytes, 0+;
        renewers: Vec<DescribedDelegationTokenRenewer>, 0+;
    }

    DescribedDelegationTokenRenewer {
        principal_type: String, 0+;
        principal_name: String, 0+;
    }
}
