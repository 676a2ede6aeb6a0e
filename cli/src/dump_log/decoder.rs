//! Keys and values of records as texts: by a class of Kafka's, or as what brokers themselves keep in their topics.

use super::group_json;
use super::specs::STRINGS;
use crate::options::Options;
use anyhow::anyhow;
use broker::txn::records::{RecordError, TxnRecord, TxnValue};
use bytes::Bytes;
use common::kafka::batch::Record;

/// What bytes mean.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Integer,
    Long,
    Bytes,
}

/// How keys and values are shown.
pub(super) enum Decoder {
    /// By classes.
    Classes { key: ClassKind, value: ClassKind },
    /// `__consumer_offsets`.
    Offsets,
    /// `__transaction_state`.
    Transactions,
}

/// The meaning that a class gives to bytes.
#[derive(Clone, Copy)]
pub(super) struct ClassKind(Kind);

impl Decoder {
    /// As the options ask for.
    pub(super) fn of(options: &Options) -> anyhow::Result<Decoder> {
        if options.has("offsets-decoder") {
            return Ok(Decoder::Offsets);
        }
        if options.has("transaction-log-decoder") {
            return Ok(Decoder::Transactions);
        }
        let class = |name: &str| -> anyhow::Result<ClassKind> {
            let class = options.value(name).map_err(|error| anyhow!(error.uncaught()))?.unwrap_or(STRINGS);
            kind(class)
        };
        // In the order in which Kafka's tool makes them.
        let value = class("value-decoder-class")?;
        Ok(Decoder::Classes { value, key: class("key-decoder-class")? })
    }

    /// Key and value, as far as there are any.
    ///
    /// # Errors
    /// If the record does not fit the decoder at all.
    pub(super) fn show(&self, record: &Record) -> anyhow::Result<(Option<String>, Option<String>)> {
        match self {
            Decoder::Classes { key, value } => {
                let show = |bytes: &Option<Bytes>, kind: &ClassKind| bytes.as_ref().map(|bytes| shown(kind.0, bytes));
                Ok((show(&record.key, key).transpose()?, show(&record.value, value).transpose()?))
            }
            Decoder::Offsets => group_json::show(record),
            Decoder::Transactions => transaction(record),
        }
    }
}

fn kind(class: &str) -> anyhow::Result<ClassKind> {
    const NEW: &str = "org.apache.kafka.tools.api.";
    let name = class.strip_prefix(NEW).or_else(|| {
        let name = class.strip_prefix("kafka.serializer.")?;
        println!("{class} is deprecated. Please use {NEW}{name} instead");
        Some(name)
    });
    Ok(ClassKind(match name {
        Some("StringDecoder") => Kind::Text,
        Some("IntegerDecoder") => Kind::Integer,
        Some("LongDecoder") => Kind::Long,
        Some("DefaultDecoder") => Kind::Bytes,
        _ => return Err(anyhow!("Exception in thread \"main\" java.lang.ClassNotFoundException: {class}")),
    }))
}

fn shown(kind: Kind, bytes: &[u8]) -> anyhow::Result<String> {
    let short = || anyhow!("java.nio.BufferUnderflowException");
    Ok(match kind {
        Kind::Text => String::from_utf8_lossy(bytes).into_owned(),
        Kind::Integer => i32::from_be_bytes(*bytes.first_chunk().ok_or_else(short)?).to_string(),
        Kind::Long => i64::from_be_bytes(*bytes.first_chunk().ok_or_else(short)?).to_string(),
        // Java shows where the array lies in memory.
        Kind::Bytes => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

fn transaction(record: &Record) -> anyhow::Result<(Option<String>, Option<String>)> {
    match TxnRecord::decode(record.key.clone(), record.value.clone()) {
        Ok(TxnRecord { transactional_id, value }) => Ok((
            Some(format!("transaction_metadata::transactionalId={transactional_id}")),
            Some(value.map_or("<DELETE>".to_owned(), |value| transaction_value(&value))),
        )),
        Err(RecordError::Version(version)) => Ok((Some(format!("unknown::version={version}")), None)),
        Err(error) => Err(anyhow!("java.lang.IllegalStateException: {error}")),
    }
}

fn transaction_value(value: &TxnValue) -> String {
    let places: Vec<String> = value.places.iter().map(|(topic, partition)| format!("{topic}-{partition}")).collect();
    format!(
        "producerId:{},producerEpoch:{},state={},partitions=[{}],txnLastUpdateTimestamp={},txnTimeoutMs={}",
        value.producer_id,
        value.producer_epoch,
        value.state.name(),
        places.join(","),
        value.last_update_timestamp,
        value.timeout_ms
    )
}
