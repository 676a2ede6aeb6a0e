//! What the verifiable tools tell: events as lines of JSON, with the fields in Kafka's order. Reads no record.

use crate::clock;
use serde_json::Value;

/// Topic and partition.
pub(crate) type Place = (String, i32);

/// The fields that name a partition.
pub(crate) fn place_fields((topic, partition): &Place) -> String {
    format!("\"topic\":{},\"partition\":{partition}", quoted(topic))
}

/// A list of JSON.
pub(crate) fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

/// A text as JSON.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// One line of JSON; the fields, which are JSON, stand in this order.
pub(crate) fn event(name: &str, fields: &[(&str, String)]) {
    let mut line = format!("{{\"timestamp\":{},\"name\":\"{name}\"", clock::now_ms());
    for (field, value) in fields {
        line += &format!(",\"{field}\":{value}");
    }
    println!("{line}}}");
}

/// Tells one record.
pub(crate) fn record_data(place: &Place, offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
    let text = |bytes: Option<&[u8]>| bytes.map_or("null".to_owned(), |bytes| quoted(&String::from_utf8_lossy(bytes)));
    let fields = [
        ("key", text(key)),
        ("value", text(value)),
        ("topic", quoted(&place.0)),
        ("partition", place.1.to_string()),
        ("offset", offset.to_string()),
    ];
    event("record_data", &fields);
}
