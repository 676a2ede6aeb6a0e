//! Frames of the ZooKeeper wire: four bytes of length, then a header and a body. Both directions; owns no socket.

use bytes::{Buf, Bytes, BytesMut};

use super::jute::Writer;
use super::opcode::XID_NOTIFICATION;
use super::records::{ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader, WatcherEvent};
use super::request::Request;
use super::response::Response;

/// A declared frame length that no peer of ours sends; the connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame length {length} is not between 0 and {limit}")]
pub struct FrameError {
    /// The length as sent.
    pub length: i32,
    /// The largest that is accepted (`jute.maxbuffer`).
    pub limit: usize,
}

/// Cuts the next whole frame, without its length, off the front of `input`; `None` if it has not arrived entirely. Memory
/// grows with what arrived, never with what is declared.
pub fn take_frame(input: &mut BytesMut, limit: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(prefix) = input.first_chunk::<4>() else { return Ok(None) };
    let declared = i32::from_be_bytes(*prefix);
    let length = usize::try_from(declared)
        .ok()
        .filter(|&length| length <= limit)
        .ok_or(FrameError { length: declared, limit })?;
    if input.len() - 4 < length {
        return Ok(None);
    }
    input.advance(4);
    Ok(Some(input.split_to(length).freeze()))
}

fn framed(out: &mut BytesMut, body: impl FnOnce(&mut Writer<'_>)) {
    let start = out.len();
    let mut writer = Writer::new(out);
    writer.int(0);
    body(&mut writer);
    let length = i32::try_from(out.len() - start - 4).expect("a frame is made of records of less than 2 GiB");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends the first frame of a client.
pub fn encode_connect_request(request: &ConnectRequest, out: &mut BytesMut) {
    framed(out, |w| request.encode(w));
}

/// Appends the first frame of a server.
pub fn encode_connect_response(response: &ConnectResponse, out: &mut BytesMut) {
    framed(out, |w| response.encode(w));
}

/// Appends the frame of a request.
pub fn encode_request(xid: i32, request: &Request, out: &mut BytesMut) {
    framed(out, |w| {
        RequestHeader { xid, opcode: request.opcode().code() }.encode(w);
        request.encode(w);
    });
}

/// Appends the frame of an answer; `body` is `None` when the header tells an error.
pub fn encode_reply(header: ReplyHeader, body: Option<&Response>, out: &mut BytesMut) {
    framed(out, |w| {
        header.encode(w);
        if let Some(body) = body {
            body.encode(w);
        }
    });
}

/// Appends the frame of a watch event. `zxid` is that of the change that fired it; -1 from servers
/// before 3.9, and for what `setWatches` finds changed.
pub fn encode_watch_event(zxid: i64, event: &WatcherEvent, out: &mut BytesMut) {
    framed(out, |w| {
        ReplyHeader { xid: XID_NOTIFICATION, zxid, err: 0 }.encode(w);
        event.encode(w);
    });
}
