//! SaslHandshake: which SASL mechanism the connection is to use.
//! Declares the two messages; holds no rule.

use super::declare;

declare! {
    17 SaslHandshake: SaslHandshakeRequest -> SaslHandshakeResponse, 0-1, flexible none;

    SaslHandshakeRequest {
        mechanism: String, 0+;
    }

    SaslHandshakeResponse {
        error_code: i16, 0+;
        mechanisms: Vec<String>, 0+;
    }
}
