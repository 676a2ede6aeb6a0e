//! Requests by API, connections by listener.

use crate::api;
use crate::broker::Broker;
use crate::metrics::ListenerCounters;
use common::exposition::{Exposition, Kind};
use common::time::Millis;
use std::sync::atomic::Ordering;

/// Those that the JMX exporter gives of a histogram of Kafka.
const QUANTILES: [(&str, f64); 6] =
    [("0.50", 0.5), ("0.75", 0.75), ("0.95", 0.95), ("0.98", 0.98), ("0.99", 0.99), ("0.999", 0.999)];

pub(super) fn write(broker: &Broker, now: Millis, text: &mut Exposition) {
    let mut family = text.family("kafka_network_requestmetrics_requests_total", Kind::Counter, "Requests.");
    for (row, request) in api::counted_names() {
        for (version, count) in broker.requests.api(row).versions() {
            family.sample(&[("request", request), ("version", &version.to_string())], count as f64);
        }
    }
    let help = "Error codes of answers, one for each part of an answer that has one; NONE for success.";
    let mut family = text.family("kafka_network_requestmetrics_errors_total", Kind::Counter, help);
    for (row, request) in api::counted_names() {
        for (code, count) in broker.requests.api(row).errors() {
            family.sample(&[("request", request), ("error", code.name())], count as f64);
        }
    }
    let help = "Milliseconds from a request's arrival to its answer's departure; quantiles of the last minutes.";
    let mut family = text.family("kafka_network_requestmetrics_totaltimems", Kind::Summary, help);
    for (row, request) in api::counted_names() {
        let (all, late) = broker.requests.api(row).measured(now);
        if all.count() == 0 {
            continue;
        }
        let quantiles = QUANTILES.map(|(name, part)| {
            let micros = late.quantile(part);
            (name, micros.map_or(f64::NAN, |micros| micros as f64 / 1000.0))
        });
        family.summary(&[("request", request)], &quantiles, all.count() as f64, all.sum() as f64 / 1000.0);
    }
    write_listeners(broker, text);
}

type OfListener = fn(&ListenerCounters) -> f64;

fn write_listeners(broker: &Broker, text: &mut Exposition) {
    let families: [(&str, Kind, &str, OfListener); 4] = [
        ("connection_count", Kind::Gauge, "Connections of clients and brokers that are open.", |listener| {
            listener.open.load(Ordering::Relaxed) as f64
        }),
        ("connection_creation_total", Kind::Counter, "Connections that were taken.", |listener| {
            listener.accepted.get() as f64
        }),
        ("successful_authentication_total", Kind::Counter, "Logins with SASL.", |listener| {
            listener.logins.get() as f64
        }),
        ("failed_authentication_total", Kind::Counter, "Logins with SASL that failed.", |listener| {
            listener.failed_logins.get() as f64
        }),
    ];
    for (name, kind, help, figure) in families {
        let name = format!("kafka_server_socket_server_metrics_{name}");
        let listeners = broker.listeners.iter().map(|(listener, counters)| (listener.as_str(), figure(counters)));
        super::labelled(text, (&name, kind, help), "listener", listeners);
    }
}
