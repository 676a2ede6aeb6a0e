//! Request and response headers and the frames around a message. Never reads a socket.

use bytes::{Buf, Bytes};

use super::messages::{self, Message, Request, Response};
use super::wire::{DecodeError, EncodeError, Frame, Reader, Writer};

/// Key of ApiVersions, whose reply a client must understand before it knows what the broker speaks.
const API_VERSIONS_KEY: i16 = 18;
/// Key of ControlledShutdown, whose version 0 predates the client id.
const CONTROLLED_SHUTDOWN_KEY: i16 = 7;

/// What stands before every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which API.
    pub api_key: i16,
    /// Version of the request, and of the reply; not checked here.
    pub api_version: i16,
    /// Chosen by the client and returned with the reply.
    pub correlation_id: i32,
    /// Name that the client gives itself: for quotas and logs.
    pub client_id: Option<String>,
}

/// The version of the header before a request; any version of the API is taken, known or not, because an ApiVersions
/// request that is too new must still be answered. `UnknownApi` if no API has the key.
pub fn request_header_version(api_key: i16, api_version: i16) -> Result<i16, DecodeError> {
    if api_key == CONTROLLED_SHUTDOWN_KEY && api_version == 0 {
        return Ok(0);
    }
    let api = messages::api(api_key).ok_or(DecodeError::UnknownApi(api_key))?;
    Ok(if is_flexible(api.flexible_from, api_version) { 2 } else { 1 })
}

/// The version of the header before a reply. ApiVersions stays at 0 for ever (KIP-511): the client may not know yet
/// what the broker speaks.
pub fn response_header_version(api_key: i16, flexible_from: Option<i16>, api_version: i16) -> i16 {
    i16::from(api_key != API_VERSIONS_KEY && is_flexible(flexible_from, api_version))
}

fn is_flexible(flexible_from: Option<i16>, version: i16) -> bool {
    flexible_from.is_some_and(|from| version >= from)
}

/// Reads the header of a request, without the length prefix. The reader is then at the first byte of the message.
pub fn decode_request_header(reader: &mut Reader) -> Result<RequestHeader, DecodeError> {
    let api_key = reader.get_i16()?;
    let api_version = reader.get_i16()?;
    let correlation_id = reader.get_i32()?;
    let header_version = request_header_version(api_key, api_version)?;
    // The client id keeps its 16-bit length even in the flexible header.
    let client_id = if header_version >= 1 { reader.get_nullable_string(false)? } else { None };
    if header_version >= 2 {
        reader.skip_tagged_fields()?;
    }
    Ok(RequestHeader { api_key, api_version, correlation_id, client_id })
}

/// A whole request with its length prefix, in memory. The key comes from `R`, the version from the header.
pub fn encode_request<R: Request>(header: &RequestHeader, request: &R) -> Result<Bytes, EncodeError> {
    let version = header.api_version;
    let mut writer = Writer::length_prefixed();
    writer.put_i16(R::KEY);
    writer.put_i16(version);
    writer.put_i32(header.correlation_id);
    if R::KEY != CONTROLLED_SHUTDOWN_KEY || version > 0 {
        writer.put_nullable_string(header.client_id.as_deref(), false)?;
    }
    if is_flexible(R::FLEXIBLE_FROM, version) {
        writer.put_uvarint(0);
    }
    request.encode(&mut writer, version)?;
    Ok(writer.finish()?.into_bytes()?)
}

/// A whole reply with its length prefix; records in files stay there.
pub fn encode_response<S: Response>(correlation_id: i32, version: i16, response: &S) -> Result<Frame, EncodeError> {
    let mut writer = Writer::length_prefixed();
    writer.put_i32(correlation_id);
    if response_header_version(S::Request::KEY, S::Request::FLEXIBLE_FROM, version) >= 1 {
        writer.put_uvarint(0);
    }
    response.encode(&mut writer, version)?;
    writer.finish()
}

/// The correlation id and reply in a frame without its length prefix, for a request of `version`.
pub fn decode_response<R: Request>(frame: Bytes, version: i16) -> Result<(i32, R::Response), DecodeError> {
    let mut reader = Reader::new(frame);
    let correlation_id = reader.get_i32()?;
    if response_header_version(R::KEY, R::FLEXIBLE_FROM, version) >= 1 {
        reader.skip_tagged_fields()?;
    }
    let response = R::Response::decode(&mut reader, version)?;
    Ok((correlation_id, response))
}

/// Splits the first whole frame off `buffer`: `None` if it has not fully arrived, `NegativeLength` if the prefix lies.
/// The caller bounds the length before it buffers.
pub fn split_frame(buffer: &mut Bytes) -> Result<Option<Bytes>, DecodeError> {
    let Some(prefix) = buffer.first_chunk::<4>() else { return Ok(None) };
    let declared = i32::from_be_bytes(*prefix);
    let len = usize::try_from(declared).map_err(|_| DecodeError::NegativeLength(declared))?;
    if buffer.len() - 4 < len {
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(len)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::messages::{
        ApiVersionsRequest, ApiVersionsResponse, ControlledShutdownRequest, FetchRequest, FetchResponse,
        SaslHandshakeRequest,
    };

    fn check_request<R: Request>(version: i16, request: &R, header_hex: &str) {
        let header = RequestHeader {
            api_key: R::KEY,
            api_version: version,
            correlation_id: 7,
            client_id: Some("ab".to_owned()),
        };
        let mut stream = encode_request(&header, request).unwrap();
        let frame = split_frame(&mut stream).unwrap().unwrap();
        assert!(stream.is_empty());
        let mut reader = Reader::new(frame.clone());
        let back = decode_request_header(&mut reader).unwrap();
        let hex: String = frame[..reader.position()].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, header_hex);
        assert_eq!((back.api_key, back.api_version, back.correlation_id), (R::KEY, version, 7));
        R::decode(&mut reader, version).unwrap();
        assert_eq!(reader.remaining(), 0);
    }

    #[test]
    fn request_headers_grow_with_the_version() {
        check_request(0, &ControlledShutdownRequest::default(), "0007000000000007");
        check_request(1, &ControlledShutdownRequest::default(), "000700010000000700026162");
        check_request(11, &FetchRequest::default(), "0001000b0000000700026162");
        check_request(12, &FetchRequest::default(), "0001000c000000070002616200");
        check_request(1, &SaslHandshakeRequest::default(), "001100010000000700026162");
        check_request(3, &ApiVersionsRequest::default(), "00120003000000070002616200");
    }

    #[test]
    fn the_header_of_a_too_new_api_versions_request_is_read() {
        let frame = Bytes::from_static(b"\x00\x12\x00\x63\x00\x00\x00\x01\xff\xff\x00");
        let header = decode_request_header(&mut Reader::new(frame)).unwrap();
        assert_eq!(header, RequestHeader { api_key: 18, api_version: 99, correlation_id: 1, client_id: None });
        let frame = Bytes::from_static(b"\x7f\x12\x00\x63\x00\x00\x00\x01\xff\xff\x00");
        assert_eq!(decode_request_header(&mut Reader::new(frame)), Err(DecodeError::UnknownApi(0x7f12)));
    }

    fn check_response<S: Response + PartialEq + std::fmt::Debug>(version: i16, response: &S, header_bytes: usize) {
        let mut stream = encode_response(9, version, response).unwrap().into_bytes().unwrap();
        let frame = split_frame(&mut stream).unwrap().unwrap();
        let mut body = Writer::new();
        response.encode(&mut body, version).unwrap();
        assert_eq!(frame.len() - body.len(), header_bytes);
        let (correlation_id, back) = decode_response::<S::Request>(frame, version).unwrap();
        let mut again = Writer::new();
        back.encode(&mut again, version).unwrap();
        assert_eq!((correlation_id, again.finish().unwrap()), (9, body.finish().unwrap()));
    }

    #[test]
    fn response_headers_have_tags_but_for_api_versions() {
        check_response(11, &FetchResponse::default(), 4);
        check_response(12, &FetchResponse::default(), 5);
        check_response(0, &ApiVersionsResponse::default(), 4);
        check_response(4, &ApiVersionsResponse::default(), 4);
    }

    #[test]
    fn frames_are_split_when_whole() {
        let mut stream = Bytes::from_static(b"\0\0\0\x02ab\0\0\0\x03c");
        assert_eq!(split_frame(&mut stream), Ok(Some(Bytes::from_static(b"ab"))));
        assert_eq!(split_frame(&mut stream), Ok(None));
        assert_eq!(stream.len(), 5);
        assert_eq!(split_frame(&mut Bytes::from_static(b"\xff\0\0\0")), Err(DecodeError::NegativeLength(-16777216)));
    }
}
