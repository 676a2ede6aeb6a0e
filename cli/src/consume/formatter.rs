//! How a record is shown: Kafka's message formatters and the deserializers that tutorials name. Reads no topic.

use crate::clock;
use crate::java_float::java_float;
use anyhow::bail;
use rdkafka::Timestamp;
use rdkafka::message::{Headers as _, Message};
use std::collections::BTreeMap;
use std::io::Write;

/// The formatters by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Default,
    /// Shows the record on stderr as well, as a log line.
    Logging,
    /// Shows nothing.
    NoOp,
}

/// How a record came to a member of a share group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    /// How often it was delivered, this time included.
    pub(crate) count: i16,
    /// Of its batch; negative if that has none.
    pub(crate) leader_epoch: i32,
}

/// Shows records.
#[derive(Debug)]
pub(crate) struct Formatter {
    kind: Kind,
    print_timestamp: bool,
    print_key: bool,
    print_offset: bool,
    /// Of share groups, as the next.
    print_delivery: bool,
    print_epoch: bool,
    print_partition: bool,
    print_headers: bool,
    print_value: bool,
    key_separator: Vec<u8>,
    line_separator: Vec<u8>,
    headers_separator: Vec<u8>,
    null_literal: Vec<u8>,
    key_deserializer: Option<Deserializer>,
    value_deserializer: Option<Deserializer>,
    headers_deserializer: Option<Deserializer>,
}

impl Formatter {
    /// The formatter of a class with its properties (`print.key`, `key.separator`, ...).
    pub(crate) fn new(class: &str, properties: &BTreeMap<String, String>) -> anyhow::Result<Formatter> {
        let kind = kind(class)?;
        let yes = |key: &str, default: bool| {
            properties.get(key).map_or(default, |value| value.trim().eq_ignore_ascii_case("true"))
        };
        let bytes = |key: &str, default: &str| properties.get(key).map_or(default, String::as_str).as_bytes().to_vec();
        let deserializer = |key: &str| properties.get(key).and_then(|class| Deserializer::named(class));
        Ok(Formatter {
            kind,
            print_timestamp: yes("print.timestamp", false),
            print_key: yes("print.key", false),
            print_offset: yes("print.offset", false),
            print_delivery: false,
            print_epoch: false,
            print_partition: yes("print.partition", false),
            print_headers: yes("print.headers", false),
            print_value: yes("print.value", true),
            key_separator: bytes("key.separator", "\t"),
            line_separator: bytes("line.separator", "\n"),
            headers_separator: bytes("headers.separator", ","),
            null_literal: bytes("null.literal", "null"),
            key_deserializer: deserializer("key.deserializer"),
            value_deserializer: deserializer("value.deserializer"),
            headers_deserializer: deserializer("headers.deserializer"),
        })
    }

    /// The same for records that are delivered to a share group (`print.delivery`, `print.epoch`).
    pub(crate) fn with_deliveries(mut self, properties: &BTreeMap<String, String>) -> Formatter {
        let yes = |key: &str| properties.get(key).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
        (self.print_delivery, self.print_epoch) = (yes("print.delivery"), yes("print.epoch"));
        self
    }

    /// Appends the record's text.
    pub(crate) fn write(&self, message: &impl Message, out: &mut Vec<u8>) -> anyhow::Result<()> {
        self.write_delivered(message, Delivery { count: 0, leader_epoch: -1 }, out)
    }

    /// Appends the text of a record that was delivered to a share group.
    pub(crate) fn write_delivered(
        &self,
        message: &impl Message,
        how: Delivery,
        out: &mut Vec<u8>,
    ) -> anyhow::Result<()> {
        if self.kind == Kind::NoOp {
            return Ok(());
        }
        if self.kind == Kind::Logging {
            log(message);
        }
        let [timestamp, partition, offset, delivery, epoch, headers, key, value] = [
            self.print_timestamp,
            self.print_partition,
            self.print_offset,
            self.print_delivery,
            self.print_epoch,
            self.print_headers,
            self.print_key,
            self.print_value,
        ];
        if timestamp {
            out.extend_from_slice(timestamp_text(message.timestamp()).as_bytes());
            self.separate(offset || partition || delivery || epoch || headers || key || value, out);
        }
        if partition {
            write!(out, "Partition:{}", message.partition())?;
            self.separate(offset || delivery || epoch || headers || key || value, out);
        }
        if offset {
            write!(out, "Offset:{}", message.offset())?;
            self.separate(delivery || epoch || headers || key || value, out);
        }
        if delivery {
            write!(out, "Delivery:{}", how.count)?;
            self.separate(epoch || headers || key || value, out);
        }
        if epoch {
            match how.leader_epoch {
                ..0 => write!(out, "Epoch:NOT_PRESENT")?,
                leader_epoch => write!(out, "Epoch:{leader_epoch}")?,
            }
            self.separate(headers || key || value, out);
        }
        if headers {
            self.write_headers(message, out)?;
            self.separate(key || value, out);
        }
        if key {
            self.write_bytes(message.key(), self.key_deserializer, out)?;
            self.separate(value, out);
        }
        if value {
            self.write_bytes(message.payload(), self.value_deserializer, out)?;
            self.separate(false, out);
        }
        Ok(())
    }

    fn separate(&self, more_follows: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(if more_follows { &self.key_separator } else { &self.line_separator });
    }

    fn write_headers(&self, message: &impl Message, out: &mut Vec<u8>) -> anyhow::Result<()> {
        let mut first = true;
        for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
            if !std::mem::take(&mut first) {
                out.extend_from_slice(&self.headers_separator);
            }
            write!(out, "{}:", header.key)?;
            self.write_bytes(header.value, self.headers_deserializer, out)?;
        }
        if first {
            out.extend_from_slice(b"NO_HEADERS");
        }
        Ok(())
    }

    fn write_bytes(
        &self,
        bytes: Option<&[u8]>,
        deserializer: Option<Deserializer>,
        out: &mut Vec<u8>,
    ) -> anyhow::Result<()> {
        let bytes = bytes.unwrap_or(&self.null_literal);
        match deserializer {
            None => out.extend_from_slice(bytes),
            Some(deserializer) => out.extend_from_slice(deserializer.text(bytes)?.as_bytes()),
        }
        Ok(())
    }
}

/// The formatter by its class. Kafka 3.9 has moved the classes and still takes the old names, with a warning.
fn kind(class: &str) -> anyhow::Result<Kind> {
    let name = match class.strip_prefix("kafka.tools.") {
        Some(name @ ("DefaultMessageFormatter" | "LoggingMessageFormatter" | "NoOpMessageFormatter")) => {
            eprintln!(
                "WARNING: {class} is deprecated and will be removed in the next major release. Please use \
                 org.apache.kafka.tools.consumer.{name} instead"
            );
            Some(name)
        }
        _ => class.strip_prefix("org.apache.kafka.tools.consumer."),
    };
    match name {
        Some("DefaultMessageFormatter") => Ok(Kind::Default),
        Some("LoggingMessageFormatter") => Ok(Kind::Logging),
        Some("NoOpMessageFormatter") => Ok(Kind::NoOp),
        _ => bail!("{class}"),
    }
}

fn timestamp_text(timestamp: Timestamp) -> String {
    match timestamp {
        Timestamp::NotAvailable => "NO_TIMESTAMP".to_owned(),
        Timestamp::CreateTime(ms) => format!("CreateTime:{ms}"),
        Timestamp::LogAppendTime(ms) => format!("LogAppendTime:{ms}"),
    }
}

fn log(message: &impl Message) {
    let timestamp = match message.timestamp() {
        Timestamp::NotAvailable => String::new(),
        timestamp => format!("{}, ", timestamp_text(timestamp)),
    };
    let key = message.key().map_or("null ".to_owned(), |key| format!("{}, ", String::from_utf8_lossy(key)));
    let value = message.payload().map_or("null".into(), |value| String::from_utf8_lossy(value));
    eprintln!(
        "[{}] INFO {timestamp}key:{key}value:{value} (org.apache.kafka.tools.consumer.LoggingMessageFormatter)",
        clock::log_time()
    );
}

/// How bytes become text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deserializer {
    String,
    Bytes,
    Short,
    Integer,
    Long,
    Float,
    Double,
    Boolean,
    Uuid,
    Void,
}

impl Deserializer {
    /// By its Java class; an unknown one is said on stderr and then not used, as Kafka's tool does.
    fn named(class: &str) -> Option<Deserializer> {
        Some(match class.strip_prefix("org.apache.kafka.common.serialization.") {
            Some("StringDeserializer") => Deserializer::String,
            Some("ByteArrayDeserializer" | "BytesDeserializer" | "ByteBufferDeserializer") => Deserializer::Bytes,
            Some("ShortDeserializer") => Deserializer::Short,
            Some("IntegerDeserializer") => Deserializer::Integer,
            Some("LongDeserializer") => Deserializer::Long,
            Some("FloatDeserializer") => Deserializer::Float,
            Some("DoubleDeserializer") => Deserializer::Double,
            Some("BooleanDeserializer") => Deserializer::Boolean,
            Some("UUIDDeserializer") => Deserializer::Uuid,
            Some("VoidDeserializer") => Deserializer::Void,
            _ => {
                eprintln!("[{}] ERROR Unable to instantiate a deserializer from {class}", clock::log_time());
                return None;
            }
        })
    }

    fn text(self, bytes: &[u8]) -> anyhow::Result<String> {
        fn fixed<const N: usize>(bytes: &[u8], kind: &str) -> anyhow::Result<[u8; N]> {
            match bytes.try_into() {
                Ok(bytes) => Ok(bytes),
                Err(_) => bail!("Size of data received by {kind}Deserializer is not {N}"),
            }
        }
        Ok(match self {
            Deserializer::String | Deserializer::Uuid => String::from_utf8_lossy(bytes).into_owned(),
            Deserializer::Bytes => bytes_text(bytes),
            Deserializer::Short => i16::from_be_bytes(fixed(bytes, "Short")?).to_string(),
            Deserializer::Integer => i32::from_be_bytes(fixed(bytes, "Integer")?).to_string(),
            Deserializer::Long => i64::from_be_bytes(fixed(bytes, "Long")?).to_string(),
            Deserializer::Float => java_float(f64::from(f32::from_be_bytes(fixed(bytes, "Float")?)), true),
            Deserializer::Double => java_float(f64::from_be_bytes(fixed(bytes, "Double")?), false),
            Deserializer::Boolean => match fixed::<1>(bytes, "Boolean")? {
                [0] => "false".to_owned(),
                [1] => "true".to_owned(),
                [other] => bail!("Unexpected byte received by BooleanDeserializer: {other}"),
            },
            Deserializer::Void => bail!("Data should be null for a VoidDeserializer."),
        })
    }
}

/// As Kafka's `Bytes` shows itself: what is no printable ASCII as `\xNN`.
fn bytes_text(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| match byte {
            b' '..=b'[' | b']'..=b'~' => char::from(*byte).to_string(),
            other => format!("\\x{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

    fn check(properties: &str, message: &OwnedMessage, expected: &str) {
        let properties = properties.split(' ').filter_map(|pair| pair.split_once('='));
        let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let formatter = Formatter::new("org.apache.kafka.tools.consumer.DefaultMessageFormatter", &properties).unwrap();
        let mut out = Vec::new();
        let outcome = formatter
            .write(message, &mut out)
            .map_or_else(|error| error.to_string(), |()| String::from_utf8_lossy(&out).into_owned());
        assert_eq!(outcome, expected, "{properties:?}");
    }

    #[test]
    fn shows_records_as_kafka_does() {
        let headers = OwnedHeaders::new()
            .insert(Header { key: "h", value: Some("v") })
            .insert(Header { key: "n", value: None::<&str> });
        let message = |key: Option<&[u8]>, value: Option<&[u8]>, headers| {
            OwnedMessage::new(
                value.map(<[u8]>::to_vec),
                key.map(<[u8]>::to_vec),
                "t".to_owned(),
                Timestamp::CreateTime(7),
                1,
                42,
                headers,
            )
        };
        let all = "print.timestamp=true print.partition=true print.offset=true print.headers=true print.key=true";
        check("", &message(None, Some(b"v"), None), "v\n");
        check("print.key=true", &message(None, None, None), "null\tnull\n");
        check(
            all,
            &message(Some(b"k"), Some(b"v"), Some(headers)),
            "CreateTime:7\tPartition:1\tOffset:42\th:v,n:null\tk\tv\n",
        );
        check(all, &message(Some(b"k"), Some(b"v"), None), "CreateTime:7\tPartition:1\tOffset:42\tNO_HEADERS\tk\tv\n");
        check("print.value=false print.key=true key.separator=:", &message(Some(b"k"), Some(b"v"), None), "k\n");
        let long = "value.deserializer=org.apache.kafka.common.serialization.LongDeserializer";
        check(long, &message(None, Some(&5_i64.to_be_bytes()), None), "5\n");
        check(long, &message(None, Some(b"x"), None), "Size of data received by LongDeserializer is not 8");
    }

    #[test]
    fn shows_how_records_came_to_a_share_group() {
        let message = OwnedMessage::new(
            Some(b"v".to_vec()),
            None,
            "t".to_owned(),
            Timestamp::CreateTime(7),
            1,
            42,
            Some(OwnedHeaders::new().insert(Header { key: "h", value: Some("w") })),
        );
        for (names, leader_epoch, expected) in [
            ("offset delivery epoch headers", 5, "Offset:42\tDelivery:3\tEpoch:5\th:w\tv\n"),
            ("epoch", -1, "Epoch:NOT_PRESENT\tv\n"),
            ("timestamp delivery", 5, "CreateTime:7\tDelivery:3\tv\n"),
            ("timestamp epoch -value", 5, "CreateTime:7\tEpoch:5\n"),
            ("delivery epoch -value", 5, "Delivery:3\tEpoch:5\n"),
        ] {
            let property = |name: &str| match name.strip_prefix('-') {
                Some(name) => (format!("print.{name}"), "false".to_owned()),
                None => (format!("print.{name}"), "true".to_owned()),
            };
            let properties: BTreeMap<String, String> = names.split(' ').map(property).collect();
            let class = "org.apache.kafka.tools.consumer.DefaultMessageFormatter";
            let formatter = Formatter::new(class, &properties).unwrap().with_deliveries(&properties);
            let mut out = Vec::new();
            formatter.write_delivered(&message, Delivery { count: 3, leader_epoch }, &mut out).unwrap();
            assert_eq!(String::from_utf8_lossy(&out), expected, "{names}");
        }
    }
}
