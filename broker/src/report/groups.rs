//! The groups that this broker looks after: how many, what they have committed, how far they lag.

use super::partitions::Held;
use super::{labelled, single};
use crate::broker::Broker;
use crate::group::{GroupFigures, Place};
use common::exposition::{Exposition, Kind};
use std::collections::BTreeMap;

/// Where partitions end, as their leaders say.
pub type EndOffsets = BTreeMap<Place, i64>;

/// States of a group and Kafka's names for their counts.
const STATES: [(&str, &str); 5] = [
    ("Stable", "stable"),
    ("Empty", "empty"),
    ("Dead", "dead"),
    ("PreparingRebalance", "preparingrebalance"),
    ("CompletingRebalance", "completingrebalance"),
];

/// States of groups whose types Kafka counts by state, in the words of their labels.
const STATES_OF_TYPES: [(&str, &[&str]); 2] =
    [("consumer", &["empty", "assigning", "reconciling", "stable", "dead"]), ("share", &["empty", "stable", "dead"])];

/// Takes a group, a partition, what is committed, and how far that is from the end.
type OfOffset<'a> = dyn FnMut(&str, &Place, i64, Option<i64>) + 'a;

/// What is committed of a topic, and how far that is from its end.
#[derive(Default)]
struct Sums {
    committed: i64,
    lag: i64,
}

pub(super) fn write(broker: &Broker, (held, ends): (&[Held], &EndOffsets), text: &mut Exposition) {
    let groups = broker.groups.figures();
    write_counts(&groups, text);
    let known: BTreeMap<Place, i64> =
        held.iter().map(|held| ((held.topic.to_string(), held.index), held.view.high_watermark)).collect();
    let led: BTreeMap<(&str, i32), bool> =
        held.iter().map(|held| ((&*held.topic, held.index), held.view.is_led_here)).collect();
    let end = |place: &Place| match led.get(&(place.0.as_str(), place.1)) {
        Some(true) => known.get(place).copied(),
        // A follower hears of the end a little later than others read to it.
        _ => ends.get(place).or_else(|| known.get(place)).copied(),
    };
    let each = |write: &mut OfOffset<'_>| {
        for group in &groups {
            for (place, offset) in &group.offsets {
                write(&group.group_id, place, *offset, end(place).map(|end| (end - offset).max(0)));
            }
        }
    };
    let name = "kafka_consumergroup_current_offset";
    let mut family = text.family(name, Kind::Gauge, "Offset that the group has committed.");
    each(&mut |group, (topic, partition), offset, _| {
        family.sample(&of_group(group, topic, &partition.to_string()), offset as f64);
    });
    let help = "Records between that and the end of the partition.";
    let mut family = text.family("kafka_consumergroup_lag", Kind::Gauge, help);
    each(&mut |group, (topic, partition), _, lag| {
        if let Some(lag) = lag {
            family.sample(&of_group(group, topic, &partition.to_string()), lag as f64);
        }
    });
    let mut sums: BTreeMap<(&str, &str), Sums> = BTreeMap::new();
    for group in &groups {
        for (place, offset) in &group.offsets {
            let sums = sums.entry((&group.group_id, &place.0)).or_default();
            sums.committed += offset;
            sums.lag += end(place).map_or(0, |end| (end - offset).max(0));
        }
    }
    for (name, help, sum) in [
        ("current_offset_sum", "Offsets committed, of all partitions.", (|sums| sums.committed) as fn(&Sums) -> i64),
        ("lag_sum", "Lag of all partitions whose end is known.", |sums| sums.lag),
    ] {
        let name = format!("kafka_consumergroup_{name}");
        let mut family = text.family(&name, Kind::Gauge, help);
        for ((group, topic), sums) in &sums {
            family.sample(&[("consumergroup", group), ("topic", topic)], sum(sums) as f64);
        }
    }
}

fn of_group<'a>(group: &'a str, topic: &'a str, partition: &'a str) -> [(&'static str, &'a str); 3] {
    [("consumergroup", group), ("topic", topic), ("partition", partition)]
}

fn write_counts(groups: &[GroupFigures], text: &mut Exposition) {
    let manager = |name: &str| format!("kafka_coordinator_group_groupmetadatamanager_{name}");
    single(text, &manager("numgroups"), Kind::Gauge, "Groups.", groups.len() as f64);
    let offsets: usize = groups.iter().map(|group| group.offsets.len()).sum();
    single(text, &manager("numoffsets"), Kind::Gauge, "Offsets committed.", offsets as f64);
    for (state, name) in STATES {
        let count = groups.iter().filter(|group| group.state == state).count();
        let help = format!("Groups that are {state}.");
        single(text, &manager(&format!("numgroups{name}")), Kind::Gauge, &help, count as f64);
    }
    let coordinator = |name: &str| format!("kafka_server_group_coordinator_metrics_{name}");
    let name = coordinator("group_count");
    let mut family = text.family(&name, Kind::Gauge, "Groups of a type.");
    for kind in ["classic", "consumer", "share"] {
        let count = groups.iter().filter(|group| group.kind == kind).count();
        family.sample(&[("protocol", kind)], count as f64);
    }
    for (kind, states) in STATES_OF_TYPES {
        let help = format!("Groups of the type {kind} in a state.");
        let name = coordinator(&format!("{kind}_group_count"));
        let mut family = text.family(&name, Kind::Gauge, &help);
        for state in states {
            let is_in = |group: &&GroupFigures| group.kind == kind && group.state.eq_ignore_ascii_case(state);
            family.sample(&[("state", state)], groups.iter().filter(is_in).count() as f64);
        }
    }
    labelled(
        text,
        ("kafka_consumergroup_members", Kind::Gauge, "Members of the group."),
        "consumergroup",
        groups.iter().map(|group| (group.group_id.as_str(), group.members as f64)),
    );
}
