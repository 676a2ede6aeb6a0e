//! Topics and partitions as this broker holds them: what came and went, how replicas stand, how large logs are.

use super::{labelled, of_partition, single};
use crate::broker::Broker;
use crate::metrics::{Counter, TopicCounters};
use crate::partition::PartitionView;
use crate::tiered::Role;
use common::exposition::{Exposition, Kind};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A partition that this broker holds, looked at once for all figures.
pub(super) struct Held {
    pub(super) topic: Arc<str>,
    pub(super) index: i32,
    /// The same as a label.
    pub(super) number: String,
    pub(super) view: PartitionView,
    counters: Arc<TopicCounters>,
}

impl Held {
    pub(super) fn all(broker: &Broker) -> Vec<Held> {
        let held = |partition: Arc<crate::partition::Partition>| Held {
            topic: partition.topic().clone(),
            index: partition.index(),
            number: partition.index().to_string(),
            view: partition.view(),
            counters: partition.counters().clone(),
        };
        broker.replicas.all().into_iter().map(held).collect()
    }

    fn is_under_replicated(&self) -> bool {
        self.view.is_led_here && self.view.isr.len() < self.view.replica_count
    }
}

pub(super) fn write(broker: &Broker, held: &[Held], text: &mut Exposition) {
    write_topics(broker, held, text);
    write_replicas(broker, held, text);
    write_lags(broker, text);
    write_remote(broker, text);
    write_logs(held, text);
    write_led(broker, held, text);
}

type OfTopic = fn(&TopicCounters) -> &Counter;

/// Without the label `topic`: of all topics, those included that are not here any more.
const OF_TOPICS: &[(&str, &str, OfTopic)] = &[
    ("messagesin", "Records appended as leader.", |topic| &topic.messages_in),
    ("bytesin", "Bytes appended as leader.", |topic| &topic.bytes_in),
    ("bytesout", "Bytes given to consumers.", |topic| &topic.bytes_out),
    ("bytesrejected", "Bytes of batches that were too large.", |topic| &topic.bytes_rejected),
    ("totalproducerequests", "Partitions of produce requests.", |topic| &topic.produces),
    ("totalfetchrequests", "Partitions of fetch requests.", |topic| &topic.fetches),
    ("failedproducerequests", "Partitions of produce requests that failed.", |topic| &topic.failed_produces),
    ("failedfetchrequests", "Partitions of fetch requests that failed.", |topic| &topic.failed_fetches),
];

/// The same with tiered storage.
const OF_REMOTE: &[(&str, &str, OfTopic)] = &[
    ("remotecopybytes", "Bytes copied to the remote store.", |topic| &topic.remote.bytes_copied),
    ("remotecopyrequests", "Segments copied to the remote store.", |topic| &topic.remote.copies),
    ("remotecopyerrors", "Copies to the remote store that failed.", |topic| &topic.remote.failed_copies),
    ("remotefetchbytes", "Bytes read in the remote store.", |topic| &topic.remote.bytes_read),
    ("remotefetchrequests", "Reads in the remote store.", |topic| &topic.remote.reads),
    ("remotefetcherrors", "Reads in the remote store that failed.", |topic| &topic.remote.failed_reads),
    ("remotedeleterequests", "Segments removed from the remote store.", |topic| &topic.remote.removals),
    ("remotedeleteerrors", "Removals from the remote store that failed.", |topic| &topic.remote.failed_removals),
    ("buildremotelogauxstaterequests", "Times that a follower wanted to go on from the remote store.", |topic| {
        &topic.remote.rebuilds
    }),
    ("buildremotelogauxstateerrors", "Times that a follower could not go on from the remote store.", |topic| {
        &topic.remote.failed_rebuilds
    }),
];

/// Gauges of tiered storage, of the partitions that this broker leads.
fn write_remote(broker: &Broker, text: &mut Exposition) {
    let Some(on) = broker.tiering.on() else { return };
    let mut topics: BTreeMap<Arc<str>, [f64; 4]> = BTreeMap::new();
    for partition in broker.replicas.all() {
        let Some(view) = partition.remote_view().filter(|view| matches!(view.role, Role::Leader(_))) else { continue };
        let sums = topics.entry(view.place.topic.clone()).or_default();
        sums[0] += view.to_copy.0 as f64;
        sums[1] += view.to_copy.1 as f64;
        if let Ok(index) = on.machine.lock().index(&view.place) {
            sums[2] += index.all().count() as f64;
            sums[3] += index.all().map(|segment| segment.bytes() as f64).sum::<f64>();
        }
    }
    for (number, (name, help)) in [
        ("remotecopylagbytes", "Bytes of full segments that are not in the remote store."),
        ("remotecopylagsegments", "Full segments that are not in the remote store."),
        ("remotelogmetadatacount", "Segments that are known to be in the remote store."),
        ("remotelogsizebytes", "Bytes of them."),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("kafka_server_brokertopicmetrics_{name}");
        let mut family = text.family(&name, Kind::Gauge, help);
        family.sample(&[], topics.values().map(|sums| sums[number]).sum());
        for (topic, sums) in &topics {
            family.sample(&[("topic", topic)], sums[number]);
        }
    }
    let (waiting, _) = on.readers_load();
    let name = "org_apache_kafka_storage_internals_log_remotestoragethreadpool_remotelogreadertaskqueuesize";
    single(text, name, Kind::Gauge, "Reads that wait for others to be done.", waiting as f64);
}

fn write_topics(broker: &Broker, held: &[Held], text: &mut Exposition) {
    let counters = broker.replicas.counters();
    let topics: BTreeMap<&str, &TopicCounters> = held.iter().map(|held| (&*held.topic, &*held.counters)).collect();
    let of_remote = if broker.tiering.on().is_some() { OF_REMOTE } else { &[] };
    for (name, help, counter) in OF_TOPICS.iter().chain(of_remote) {
        let name = format!("kafka_server_brokertopicmetrics_{name}_total");
        let mut family = text.family(&name, Kind::Counter, help);
        family.sample(&[], counter(&counters.all).get() as f64);
        for (topic, counters) in &topics {
            family.sample(&[("topic", topic)], counter(counters).get() as f64);
        }
    }
    for (name, help, counter) in [
        ("replicationbytesin", "Bytes appended as follower.", &counters.replication_bytes_in),
        ("replicationbytesout", "Bytes given to followers.", &counters.replication_bytes_out),
    ] {
        let name = format!("kafka_server_brokertopicmetrics_{name}_total");
        single(text, &name, Kind::Counter, help, counter.get() as f64);
    }
}

fn write_replicas(broker: &Broker, held: &[Held], text: &mut Exposition) {
    let count = |is_one: &dyn Fn(&Held) -> bool| held.iter().filter(|held| is_one(held)).count() as f64;
    let led = |held: &Held| held.view.is_led_here;
    for (name, help, value) in [
        ("partitioncount", "Partitions held.", held.len() as f64),
        ("leadercount", "Partitions led.", count(&led)),
        (
            "underreplicatedpartitions",
            "Partitions led that have replicas out of sync.",
            count(&Held::is_under_replicated),
        ),
        (
            "underminisrpartitioncount",
            "Partitions led with fewer replicas in sync than min.insync.replicas.",
            count(&|held| led(held) && held.view.isr.len() < held.view.min_isr),
        ),
        (
            "atminisrpartitioncount",
            "Partitions led with just min.insync.replicas replicas in sync.",
            count(&|held| led(held) && held.view.isr.len() == held.view.min_isr),
        ),
        ("offlinereplicacount", "Partitions held in log directories that failed.", count(&|held| held.view.is_offline)),
    ] {
        single(text, &format!("kafka_server_replicamanager_{name}"), Kind::Gauge, help, value);
    }
    let counters = broker.replicas.counters();
    for (name, help, counter) in [
        ("isrshrinks", "Times that replicas fell out of sync.", &counters.isr_shrinks),
        ("isrexpands", "Times that replicas came into sync.", &counters.isr_expands),
        ("failedisrupdates", "Changes of in-sync replicas that the controller refused.", &counters.isr_updates_failed),
    ] {
        let name = format!("kafka_server_replicamanager_{name}_total");
        single(text, &name, Kind::Counter, help, counter.get() as f64);
    }
    let failed = broker.replicas.log_dirs().iter().filter(|(_, is_failed)| *is_failed).count();
    let name = "kafka_log_logmanager_offlinelogdirectorycount";
    single(text, name, Kind::Gauge, "Log directories that failed.", failed as f64);
}

fn write_lags(broker: &Broker, text: &mut Exposition) {
    let lags = broker.replicas.lags();
    let most = lags.iter().map(|(_, _, lag)| *lag).max().unwrap_or(0);
    let help = "Records that the partition furthest behind its leader lacks.";
    let mut family = text.family("kafka_server_replicafetchermanager_maxlag", Kind::Gauge, help);
    family.sample(&[("clientId", "Replica")], most as f64);
    let help = "Records that a followed partition lacks.";
    let mut family = text.family("kafka_server_fetcherlagmetrics_consumerlag", Kind::Gauge, help);
    for ((topic, partition), (leader, number), lag) in lags {
        let (fetcher, number) = (format!("ReplicaFetcherThread-{number}-{leader}"), partition.to_string());
        family.sample(&[("clientId", &fetcher), ("topic", &topic), ("partition", &number)], lag as f64);
    }
}

type OfHeld = fn(&Held) -> f64;

fn write_logs(held: &[Held], text: &mut Exposition) {
    let families: [(&str, &str, OfHeld); 4] = [
        ("size", "Bytes of the log.", |held| held.view.size_bytes as f64),
        ("logstartoffset", "First offset of the log.", |held| held.view.start_offset as f64),
        ("logendoffset", "Offset of the next record.", |held| held.view.end_offset as f64),
        ("numlogsegments", "Segments of the log.", |held| held.view.segment_count as f64),
    ];
    for (name, help, figure) in families {
        let name = format!("kafka_log_log_{name}");
        let mut family = text.family(&name, Kind::Gauge, help);
        for held in held {
            family.sample(&of_partition(&held.topic, &held.number), figure(held));
        }
    }
}

type OfLed<'a> = dyn Fn(&Held) -> f64 + 'a;

/// The names of kafka_exporter, which asks all brokers: each tells only of what it leads, so that sums over them are right.
fn write_led(broker: &Broker, held: &[Held], text: &mut Exposition) {
    let led: Vec<&Held> = held.iter().filter(|held| held.view.is_led_here).collect();
    let image = broker.image.read();
    labelled(
        text,
        ("kafka_topic_partitions", Kind::Gauge, "Partitions of a topic, told by who leads its first."),
        "topic",
        led.iter().filter_map(|held| {
            let topic = image.topic(&held.topic)?;
            let is_first = topic.partitions.keys().next() == Some(&held.index);
            is_first.then_some((&*held.topic, topic.partitions.len() as f64))
        }),
    );
    let first = |held: &Held| image.partition(&held.topic, held.index)?.replicas.first().copied();
    let me = broker.config.broker_id;
    let families: [(&str, &str, &OfLed<'_>); 7] = [
        ("current_offset", "End offset that consumers see.", &|held| held.view.high_watermark as f64),
        ("oldest_offset", "First offset.", &|held| held.view.start_offset as f64),
        ("leader", "Broker that leads.", &|_| f64::from(me)),
        ("leader_is_preferred", "1 if the first of the replicas leads.", &|held| {
            f64::from(u8::from(first(held) == Some(me)))
        }),
        ("replicas", "Replicas.", &|held| held.view.replica_count as f64),
        ("in_sync_replica", "Replicas in sync.", &|held| held.view.isr.len() as f64),
        ("under_replicated_partition", "1 if replicas are out of sync.", &|held| {
            f64::from(u8::from(held.is_under_replicated()))
        }),
    ];
    for (name, help, figure) in families {
        let name = format!("kafka_topic_partition_{name}");
        let mut family = text.family(&name, Kind::Gauge, help);
        for held in &led {
            family.sample(&of_partition(&held.topic, &held.number), figure(held));
        }
    }
}
