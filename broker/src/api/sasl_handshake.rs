//! SaslHandshake (17), versions 0 and 1, from a client that does not log in: it is on a listener without SASL, or logged in
//! for good. ILLEGAL_SASL_STATE. Logins are the business of `access/sasl.rs`.

use super::{Context, Endpoint, Reply};
use common::kafka::error::ErrorCode;
use common::kafka::messages::{SaslHandshakeRequest, SaslHandshakeResponse};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct SaslHandshake;

impl Endpoint for SaslHandshake {
    type Request = SaslHandshakeRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    fn handle(_: &Context<'_>, _: SaslHandshakeRequest) -> Reply<SaslHandshakeResponse> {
        let error_code = ErrorCode::IllegalSaslState.code();
        Reply::Now(SaslHandshakeResponse { error_code, mechanisms: Vec::new() })
    }
}
