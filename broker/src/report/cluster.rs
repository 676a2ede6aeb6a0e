//! The cluster as this broker knows it, and what it counts as the controller.

use super::single;
use crate::broker::Broker;
use crate::shutdown::Stage;
use common::exposition::{Exposition, Kind};

/// Kafka's numbers for the states of a broker.
const STARTING: f64 = 1.0;
const RUNNING: f64 = 3.0;
const HANDING_OVER: f64 = 6.0;
const CLOSING: f64 = 7.0;

pub(super) fn write(broker: &Broker, text: &mut Exposition) {
    let state = match *broker.stage.lock() {
        Stage::Running if broker.cluster.broker_epoch().is_some() => RUNNING,
        Stage::Running => STARTING,
        Stage::HandingOver { .. } => HANDING_OVER,
        Stage::Closing { .. } | Stage::Closed => CLOSING,
    };
    let help = "1 starting, 3 running, 6 handing its leaderships over, 7 stopping.";
    single(text, "kafka_server_kafkaserver_brokerstate", Kind::Gauge, help, state);
    let help = "The version that runs.";
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    text.family("kafka_server_app_info", Kind::Gauge, help).sample(&version, 1.0);
    let brokers = broker.image.read().brokers().count();
    single(text, "kafka_brokers", Kind::Gauge, "Live brokers, as the controller told this one.", brokers as f64);
    write_controller(broker, text);
}

fn write_controller(broker: &Broker, text: &mut Exposition) {
    let standing = broker.cluster.standing();
    let is_controller = f64::from(u8::from(standing.is_some()));
    let standing = standing.unwrap_or_default();
    for (name, help, value) in [
        ("activecontrollercount", "1 if this broker is the controller. What follows is 0 if it is not.", is_controller),
        ("activebrokercount", "Registered brokers.", standing.brokers as f64),
        ("globaltopiccount", "Topics of the cluster.", standing.topics as f64),
        ("globalpartitioncount", "Partitions of the cluster.", standing.partitions as f64),
        ("offlinepartitionscount", "Partitions without a leader.", standing.offline_partitions as f64),
        (
            "preferredreplicaimbalancecount",
            "Partitions that another than the first of their replicas leads.",
            standing.not_led_by_preferred as f64,
        ),
        ("topicstodeletecount", "Topics that are being deleted.", standing.deletions as f64),
    ] {
        single(text, &format!("kafka_controller_kafkacontroller_{name}"), Kind::Gauge, help, value);
    }
    let counters = broker.cluster.counters();
    for (name, help, counter) in [
        // The exporter's name for the count of LeaderElectionRateAndTimeMs.
        ("leaderelectionrateandtimems_count", "Leaders that this broker elected as controller.", &counters.elections),
        (
            "uncleanleaderelections_total",
            "Those of them that were not in sync: records may be lost.",
            &counters.unclean_elections,
        ),
    ] {
        let name = format!("kafka_controller_controllerstats_{name}");
        single(text, &name, Kind::Counter, help, counter.get() as f64);
    }
}
