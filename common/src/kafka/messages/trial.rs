//! Random messages and what a test does with them: write, read back, write again. Only compiled with the feature
//! `random`; never part of a server.

use bytes::Bytes;

use super::{Field, Message, Request};
use crate::Rng;
use crate::kafka::records::Records;
use crate::kafka::wire::{DecodeError, Reader, Shape, Writer};

/// The trial of one API: functions over its two messages.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// A random request of a version, encoded.
    pub random_request: fn(&mut Rng, i16) -> Bytes,
    /// A random response of a version, encoded.
    pub random_response: fn(&mut Rng, i16) -> Bytes,
    /// Decodes a request of a version and encodes it again; also the bytes left behind it.
    pub recode_request: fn(Bytes, i16) -> Result<(Bytes, usize), DecodeError>,
    /// Decodes a response of a version and encodes it again; also the bytes left behind it.
    pub recode_response: fn(Bytes, i16) -> Result<(Bytes, usize), DecodeError>,
}

impl Trial {
    pub(super) const fn of<R: Request + 'static>() -> Trial {
        Trial {
            random_request: random::<R, R>,
            random_response: random::<R::Response, R>,
            recode_request: recode::<R>,
            recode_response: recode::<R::Response>,
        }
    }
}

fn random<M: Message, R: Request>(rng: &mut Rng, version: i16) -> Bytes {
    let flexible = R::FLEXIBLE_FROM.is_some_and(|from| version >= from);
    bytes_of(&M::random(rng, Shape { version, flexible, nullable: false }), version)
}

fn recode<M: Message>(bytes: Bytes, version: i16) -> Result<(Bytes, usize), DecodeError> {
    let mut reader = Reader::new(bytes);
    let message = M::decode(&mut reader, version)?;
    Ok((bytes_of(&message, version), reader.remaining()))
}

fn bytes_of<M: Message>(message: &M, version: i16) -> Bytes {
    let mut writer = Writer::new();
    message.encode(&mut writer, version).expect("what was decoded or made for a version fits it");
    let frame = writer.finish().expect("a test message is short");
    frame.into_bytes().expect("all is in memory")
}

/// Small numbers, edges of the types and anything else.
pub(super) fn number(rng: &mut Rng) -> i64 {
    match rng.u8(..4) {
        0 => rng.i64(-2..3),
        1 => [i64::MAX, i64::MIN, i64::from(i32::MAX), i64::from(i32::MIN), 127, 128][rng.usize(..6)],
        2 => rng.i64(0..1000),
        _ => rng.i64(..),
    }
}

pub(super) fn string(rng: &mut Rng) -> String {
    let len = [0, 1, 5, 130][rng.usize(..4)];
    (0..len).map(|_| if rng.u8(..20) == 0 { 'é' } else { rng.alphanumeric() }).collect()
}

pub(super) fn bytes(rng: &mut Rng) -> Bytes {
    let len = [0, 1, 7, 200, 700][rng.usize(..5)];
    (0..len).map(|_| rng.u8(..)).collect()
}

pub(super) fn records(rng: &mut Rng) -> Records {
    Records::Bytes(bytes(rng))
}

pub(super) fn nullable<T>(rng: &mut Rng, shape: Shape, value: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    if shape.nullable && rng.u8(..3) == 0 { None } else { Some(value(rng)) }
}

pub(super) fn elements<T: Field>(rng: &mut Rng, shape: Shape) -> Vec<T> {
    let count = rng.usize(..4);
    (0..count).map(|_| T::random(rng, shape.with_nullable(false))).collect()
}
