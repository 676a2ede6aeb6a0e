//! SaslAuthenticate (36), versions 0 to 2, from a client that does not log in: it is on a listener without SASL, or logged in
//! already. ILLEGAL_SASL_STATE. Logins are the business of `access/sasl.rs`.

use super::{Context, Endpoint, Reply};
use common::kafka::error::ErrorCode;
use common::kafka::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct SaslAuthenticate;

impl Endpoint for SaslAuthenticate {
    type Request = SaslAuthenticateRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(_: &Context<'_>, _: SaslAuthenticateRequest) -> Reply<SaslAuthenticateResponse> {
        Reply::Now(SaslAuthenticateResponse {
            error_code: ErrorCode::IllegalSaslState.code(),
            error_message: Some("SaslAuthenticate request received after successful authentication".to_owned()),
            ..Default::default()
        })
    }
}
