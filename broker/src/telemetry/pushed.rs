//! What one client has pushed, bounded, under the names that Prometheus takes. Knows no other client.

use super::otlp::{Point, Temporality};
use std::collections::BTreeMap;

/// Series of one client; more are dropped. A Java consumer of a few topics has some two hundred.
const SERIES_MAX: usize = 4_000;
/// Bytes of memory of one client; what does not fit is dropped. The room for all clients is for many of them.
const BYTES_MAX: usize = 1 << 20;
/// What a series costs beside its texts: the nodes of the map, and the lengths.
const SERIES_BYTES: usize = 160;
const LABEL_BYTES: usize = 48;
/// Under this prefix are the names that Kafka defines.
const KAFKAS: &str = "org_apache_kafka_";
/// Put before every other name, which could be one of ours.
const OTHERS: &str = "client_metric_";
/// Labels that are ours to give.
const OURS: [&str; 2] = ["client_id", "client_instance_id"];

/// A name with its labels, sorted and each once.
type Key = (String, Vec<(String, String)>);

/// One figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Series {
    /// It never goes down.
    pub is_counter: bool,
    /// Now.
    pub value: f64,
    is_delta: bool,
}

/// All figures of a client.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pushed {
    series: BTreeMap<Key, Series>,
    bytes: usize,
    dropped: u64,
}

impl Pushed {
    /// Adds a point. Another of the same name and labels is replaced.
    pub(super) fn add(&mut self, point: Point) {
        let mut labels: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in point.labels {
            labels.entry(label_name(&name)).or_insert(value);
        }
        OURS.iter().for_each(|name| drop(labels.remove(*name)));
        let key: Key = (metric_name(&point.name), labels.into_iter().collect());
        let bytes = cost(&key);
        let is_full = self.series.len() >= SERIES_MAX || self.bytes + bytes > BYTES_MAX;
        if is_full && !self.series.contains_key(&key) {
            self.dropped += 1;
            return;
        }
        let is_delta = point.temporality == Temporality::Delta;
        let is_counter = point.is_monotonic && point.temporality != Temporality::Gauge;
        if self.series.insert(key, Series { is_counter, value: point.value, is_delta }).is_none() {
            self.bytes += bytes;
        }
    }

    /// So many points were not even looked at.
    pub(super) fn pass_over(&mut self, points: usize) {
        self.dropped += u64::try_from(points).unwrap_or(u64::MAX);
    }

    /// Adds what came since the last push to what there was then.
    pub(super) fn add_to(&mut self, before: &Pushed) {
        for (key, series) in self.series.iter_mut().filter(|(_, series)| series.is_delta) {
            series.value += before.series.get(key).map_or(0.0, |before| before.value);
        }
    }

    /// Leaves out what does not fit into so many bytes; how many series were dropped in all.
    pub(super) fn shrink_to(&mut self, max_bytes: usize) -> u64 {
        while self.bytes > max_bytes {
            let Some((key, _)) = self.series.pop_last() else { break };
            self.bytes -= cost(&key);
            self.dropped += 1;
        }
        std::mem::take(&mut self.dropped)
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Names, labels and figures, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[(String, String)], Series)> {
        self.series.iter().map(|((name, labels), series)| (name.as_str(), labels.as_slice(), *series))
    }
}

fn cost((name, labels): &Key) -> usize {
    let labels = labels.iter().map(|(name, value)| name.len() + value.len() + LABEL_BYTES);
    SERIES_BYTES + name.len() + labels.sum::<usize>()
}

/// `org.apache.kafka.producer.node.request.latency.avg` with underscores.
fn metric_name(name: &str) -> String {
    let name = identifier(name);
    if name.starts_with(KAFKAS) { name } else { format!("{OTHERS}{name}") }
}

fn label_name(name: &str) -> String {
    let name = identifier(name);
    // Prometheus keeps names with two for itself.
    let trimmed = name.trim_start_matches('_');
    if trimmed.is_empty() || trimmed.starts_with(|first: char| first.is_ascii_digit()) {
        return format!("label_{trimmed}");
    }
    trimmed.to_owned()
}

fn identifier(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect()
}
