//! Metrics that clients pushed (KIP-714), under their own names, and what is counted of the pushing.

use super::single;
use crate::broker::Broker;
use common::exposition::{Exposition, Kind};
use common::time::Millis;
use std::collections::BTreeMap;

/// A figure with its labels.
type Sample = (Vec<(String, String)>, f64);

pub(super) fn write(broker: &Broker, now: Millis, text: &mut Exposition) {
    let telemetry = &broker.telemetry;
    let mut clients: Vec<Vec<(&str, String)>> = Vec::new();
    let mut families: BTreeMap<String, (bool, Vec<Sample>)> = BTreeMap::new();
    telemetry.for_each(now, |client, pushed| {
        let client_id = client.client_id.clone().unwrap_or_default();
        let ours =
            [("client_id".to_owned(), client_id.clone()), ("client_instance_id".to_owned(), client.instance.clone())];
        for (name, labels, series) in pushed.iter() {
            let all = ours.iter().chain(labels).cloned().collect();
            // Where clients disagree of what kind it is, it is what the first says.
            let family = families.entry(name.to_owned()).or_insert_with(|| (series.is_counter, Vec::new()));
            family.1.push((all, series.value));
        }
        clients.push(vec![
            ("client_id", client_id),
            ("client_instance_id", client.instance.clone()),
            ("client_software_name", client.software_name.clone().unwrap_or_default()),
            ("client_software_version", client.software_version.clone().unwrap_or_default()),
            ("client_source_address", client.host.clone()),
        ]);
    });
    let name = "kafka_server_client_metrics_instance_info";
    let mut family = text.family(name, Kind::Gauge, "1 for each client that has asked which metrics to push.");
    for labels in &clients {
        let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        family.sample(&labels, 1.0);
    }
    let name = "kafka_server_client_metrics_instance_count";
    single(text, name, Kind::Gauge, "Clients that have asked which metrics to push.", clients.len() as f64);
    for (name, help, counter) in [
        ("plugin_export_count", "Pushes of clients that were taken.", &telemetry.pushes),
        ("plugin_error_count", "Pushes that could not be read.", &telemetry.unreadable),
        ("throttle_count", "Requests that came before the client's interval was over.", &telemetry.throttled),
        (
            "unknown_subscription_request_count",
            "Pushes for another subscription than the client's.",
            &telemetry.unknown_subscriptions,
        ),
        ("dropped_series_total", "Series for which there was no room.", &telemetry.dropped),
    ] {
        let name = format!("kafka_server_client_metrics_{name}");
        single(text, &name, Kind::Counter, help, counter.get() as f64);
    }
    for (name, (is_counter, samples)) in &families {
        let kind = if *is_counter { Kind::Counter } else { Kind::Gauge };
        let mut family = text.family(name, kind, "Pushed by clients.");
        for (labels, value) in samples {
            let labels: Vec<(&str, &str)> =
                labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            family.sample(&labels, *value);
        }
    }
}
