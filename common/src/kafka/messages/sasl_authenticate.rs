//! SaslAuthenticate: one step of the SASL exchange.
//! Declares the two messages; holds no rule.

use bytes::Bytes;

use super::declare;

declare! {
    36 SaslAuthenticate: SaslAuthenticateRequest -> SaslAuthenticateResponse, 0-2, flexible 2+;

    SaslAuthenticateRequest {
        auth_bytes: Bytes, 0+;
    }

    SaslAuthenticateResponse {
        error_code: i16, 0+;
        error_message: Option<String> = Some(String::new()), 0+, null 0+;
        auth_bytes: Bytes, 0+;
        session_lifetime_ms: i64, 1+, [ignorable];
    }
}
