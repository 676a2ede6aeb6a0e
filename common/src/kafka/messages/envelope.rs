//! Envelope: a request forwarded to the controller together with its principal (KIP-590).
//! Declares the two messages; holds no rule.

use bytes::Bytes;

use super::declare;

declare! {
    58 Envelope: EnvelopeRequest -> EnvelopeResponse, 0-0, flexible 0+;

    EnvelopeRequest {
        request_data: Bytes, 0+;
        request_principal: Option<Bytes> = Some(Bytes::new()), 0+, null 0+;
        client_host_address: Bytes, 0+;
    }

    EnvelopeResponse {
        response_data: Option<Bytes>, 0+, null 0+;
        error_code: i16, 0+;
    }
}
