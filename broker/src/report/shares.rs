//! Share groups where their records are: sessions, what members said of records, and what is between delivery and done.

use super::single;
use crate::broker::Broker;
use common::exposition::{Exposition, Kind};

pub(super) fn write(broker: &Broker, text: &mut Exposition) {
    let sessions = broker.shares.sessions.lock().len();
    let name = "kafka_server_sharesessioncache_sharesessionscount";
    single(text, name, Kind::Gauge, "Sessions of members of share groups.", sessions as f64);
    let counters = &broker.shares.counters;
    let help = "Records of share groups that members have spoken of.";
    let mut family = text.family("kafka_server_sharegroupmetrics_recordacknowledgements_total", Kind::Counter, help);
    for (word, counter) in [
        ("Accept", &counters.accepted),
        ("Release", &counters.released),
        ("Reject", &counters.rejected),
        ("Renew", &counters.renewed),
    ] {
        family.sample(&[("ackType", word)], counter.get() as f64);
    }
    let all = broker.shares.figures();
    let numbers: Vec<String> = all.iter().map(|of| of.partition.to_string()).collect();
    let labels = |at: usize| [("group", &*all[at].group), ("topic", &*all[at].topic), ("partition", &*numbers[at])];
    let help = "Records from the first that is not done to the last that was delivered.";
    let mut family = text.family("kafka_server_sharepartitionmetrics_inflightmessagecount", Kind::Gauge, help);
    for (at, of) in all.iter().enumerate() {
        family.sample(&labels(at), of.in_flight as f64);
    }
    let help = "Records whose lock ended before anything was said of them.";
    let name = "kafka_server_sharepartitionmetrics_acquisitionlocktimeout_total";
    let mut family = text.family(name, Kind::Counter, help);
    for (at, of) in all.iter().enumerate() {
        family.sample(&labels(at), of.lock_timeouts as f64);
    }
}
