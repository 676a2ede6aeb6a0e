//! OpenTelemetry's `MetricsData` (protobuf, version 1), read point by point: nothing is built that grows with what the
//! message claims. Gauges and sums alone, which is what Kafka's clients send; other kinds are passed over.

use bytes::{Buf as _, Bytes};
use prost::encoding::{WireType, decode_key, decode_varint};
use thiserror::Error;

/// The bytes are no such message.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OtlpError {
    /// A field is cut off, or has a type that it cannot have.
    #[error("the metrics are no OpenTelemetry message")]
    Malformed,
    /// A name that is not UTF-8.
    #[error("a text of the metrics is not UTF-8")]
    NotUtf8,
}

/// How a figure relates to those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temporality {
    /// It is what is now.
    Gauge,
    /// All since the start.
    Cumulative,
    /// What came since the last push.
    Delta,
}

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Name as the client gives it, with points.
    pub name: String,
    /// What it is a figure of.
    pub temporality: Temporality,
    /// It never goes down.
    pub is_monotonic: bool,
    /// What it is about, of the point and of the client as a whole.
    pub labels: Vec<(String, String)>,
    /// The figure.
    pub value: f64,
}

/// Of names and values, in bytes; the rest is cut off.
const TEXT_BYTES_MAX: usize = 256;
/// Of one point; more are left out.
const LABELS_MAX: usize = 32;
/// Of one message. A small one can hold millions that cost all the labels of their resource each.
pub(super) const POINTS_MAX: usize = 5_000;

/// What a field holds.
enum Value {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(Bytes),
}

/// The fields of a message, one after the other; nothing follows an error.
struct Fields(Bytes);

impl Iterator for Fields {
    type Item = Result<(u32, Value), OtlpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_none() {
            self.0.clear();
        }
        Some(field.ok_or(OtlpError::Malformed))
    }
}

impl Fields {
    fn read(&mut self) -> Option<(u32, Value)> {
        let (tag, kind) = decode_key(&mut self.0).ok()?;
        let value = match kind {
            WireType::Varint => Value::Varint(decode_varint(&mut self.0).ok()?),
            WireType::SixtyFourBit => Value::Fixed64(self.0.try_get_u64_le().ok()?),
            WireType::ThirtyTwoBit => {
                self.0.try_get_u32_le().ok()?;
                Value::Fixed32
            }
            WireType::LengthDelimited => {
                let len = usize::try_from(decode_varint(&mut self.0).ok()?).ok()?;
                if len > self.0.len() {
                    return None;
                }
                Value::Bytes(self.0.split_to(len))
            }
            WireType::StartGroup | WireType::EndGroup => return None,
        };
        Some((tag, value))
    }
}

/// Calls `each` with the messages in a field.
fn nested(message: &Bytes, wanted: u32, mut each: impl FnMut(Bytes) -> Result<(), OtlpError>) -> Result<(), OtlpError> {
    for field in Fields(message.clone()) {
        if let (tag, Value::Bytes(bytes)) = field?
            && tag == wanted
        {
            each(bytes)?;
        }
    }
    Ok(())
}

/// Reads the points of a message; how many there were beyond [`POINTS_MAX`], which are not looked at.
pub(super) fn read(message: Bytes, each: &mut impl FnMut(Point)) -> Result<usize, OtlpError> {
    let mut count = 0;
    nested(&message, 1, |of_resource| {
        let mut labels = Vec::new();
        nested(&of_resource, 1, |resource| nested(&resource, 1, |pair| label(pair, &mut labels)))?;
        nested(&of_resource, 2, |scope| nested(&scope, 2, |metric| read_metric(&metric, &labels, &mut count, each)))
    })?;
    Ok(count.saturating_sub(POINTS_MAX))
}

fn read_metric(
    metric: &Bytes,
    labels: &[(String, String)],
    count: &mut usize,
    each: &mut impl FnMut(Point),
) -> Result<(), OtlpError> {
    let mut name = String::new();
    nested(metric, 1, |bytes| {
        name = text(&bytes)?;
        Ok(())
    })?;
    nested(metric, 5, |gauge| points(&gauge, (&name, Temporality::Gauge, false), labels, count, each))?;
    nested(metric, 7, |sum| {
        let (mut temporality, mut is_monotonic) = (Temporality::Cumulative, false);
        for field in Fields(sum.clone()) {
            match field? {
                (2, Value::Varint(1)) => temporality = Temporality::Delta,
                (3, Value::Varint(value)) => is_monotonic = value != 0,
                _ => {}
            }
        }
        points(&sum, (&name, temporality, is_monotonic), labels, count, each)
    })
}

fn points(
    message: &Bytes,
    (name, temporality, is_monotonic): (&str, Temporality, bool),
    of_resource: &[(String, String)],
    count: &mut usize,
    each: &mut impl FnMut(Point),
) -> Result<(), OtlpError> {
    nested(message, 1, |point| {
        *count += 1;
        if *count > POINTS_MAX {
            return Ok(());
        }
        let mut value = None;
        let mut labels = of_resource.to_vec();
        for field in Fields(point) {
            match field? {
                (4, Value::Fixed64(bits)) => value = Some(f64::from_bits(bits)),
                (6, Value::Fixed64(bits)) => value = Some(bits.cast_signed() as f64),
                (7, Value::Bytes(pair)) => label(pair, &mut labels)?,
                _ => {}
            }
        }
        if let Some(value) = value.filter(|_| !name.is_empty()) {
            each(Point { name: name.to_owned(), temporality, is_monotonic, labels, value });
        }
        Ok(())
    })
}

/// A `KeyValue` whose value is one text, number or truth.
fn label(pair: Bytes, labels: &mut Vec<(String, String)>) -> Result<(), OtlpError> {
    let (mut key, mut value) = (String::new(), None);
    for field in Fields(pair) {
        match field? {
            (1, Value::Bytes(bytes)) => key = text(&bytes)?,
            (2, Value::Bytes(any)) => {
                for field in Fields(any) {
                    match field? {
                        (1, Value::Bytes(bytes)) => value = Some(text(&bytes)?),
                        (2, Value::Varint(truth)) => value = Some((truth != 0).to_string()),
                        (3, Value::Varint(number)) => value = Some(number.cast_signed().to_string()),
                        (4, Value::Fixed64(bits)) => value = Some(f64::from_bits(bits).to_string()),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if let Some(value) = value
        && !key.is_empty()
        && labels.len() < LABELS_MAX
    {
        labels.push((key, value));
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Result<String, OtlpError> {
    let text = std::str::from_utf8(bytes).map_err(|_| OtlpError::NotUtf8)?;
    Ok(text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned())
}
