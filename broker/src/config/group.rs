//! The settings of one group: its own where it has them, else what the broker's settings give; bounded by what the broker
//! allows. Reads no znode.

use super::setting::{ConfigError, FromValue, Value};
use super::{BrokerConfig, GROUP_SETTINGS, group_setting};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a share group begins in a partition that it has not read (`share.auto.offset.reset`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareOffsetReset {
    /// At the first record that there is.
    Earliest,
    /// Behind the last.
    Latest,
    /// At the first record of so many milliseconds ago.
    ByDuration(i64),
}

impl ShareOffsetReset {
    /// `earliest`, `latest`, or `by_duration:` and a duration of ISO 8601 in days, hours, minutes and seconds that is not
    /// negative.
    pub fn parse(text: &str) -> Option<ShareOffsetReset> {
        match text {
            "earliest" => Some(ShareOffsetReset::Earliest),
            "latest" => Some(ShareOffsetReset::Latest),
            _ => duration_ms(text.strip_prefix("by_duration:")?).map(ShareOffsetReset::ByDuration),
        }
    }
}

/// `P1DT2H3M4.5S` in milliseconds, in either case, as `java.time.Duration` reads it; `None` for a negative one.
fn duration_ms(text: &str) -> Option<i64> {
    let text = text.to_ascii_uppercase();
    let (days, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (text.strip_prefix('P')?, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let mut total = part(days, &[('D', 86_400_000)])?;
    total = total.checked_add(part(time, &[('H', 3_600_000), ('M', 60_000), ('S', 1000)])?)?;
    (total >= 0).then_some(total)
}

/// The sum of numbers with their units, which come in this order; only the last unit takes a fraction.
fn part(mut text: &str, units: &[(char, i64)]) -> Option<i64> {
    let mut total: i64 = 0;
    for (unit, unit_ms) in units {
        let Some((number, rest)) = text.split_once(*unit) else { continue };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if !fraction.is_empty() && *unit != 'S' || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let is_negative = whole.starts_with('-');
        let whole: i64 = whole.parse().ok()?;
        let millis: i64 = format!("{fraction:0<3}")[..3].parse().ok()?;
        let millis = if is_negative { -millis } else { millis };
        total = total.checked_add(whole.checked_mul(*unit_ms)?.checked_add(millis)?)?;
        text = rest;
    }
    text.is_empty().then_some(total)
}

/// Fields whose name is the setting's with `.` written `_`; type and setting stand together here once.
macro_rules! group_config {
    ($($field:ident: $type:ty = $name:literal,)*) => {
        /// The settings in force for a group. Fields bear Kafka's names with `.` written `_`.
        #[derive(Clone, Debug, PartialEq)]
        pub struct GroupConfig {
            /// Every setting's value by name, not yet bounded.
            pub values: BTreeMap<&'static str, Value>,
            /// `share.auto.offset.reset`
            pub share_auto_offset_reset: ShareOffsetReset,
            $(#[doc = concat!("`", $name, "`")] pub $field: $type,)*
        }

        fn build(values: BTreeMap<&'static str, Value>, share_auto_offset_reset: ShareOffsetReset) -> GroupConfig {
            GroupConfig { share_auto_offset_reset, $($field: typed(&values, $name),)* values }
        }
    };
}

group_config! {
    consumer_heartbeat_interval_ms: i32 = "consumer.heartbeat.interval.ms",
    consumer_session_timeout_ms: i32 = "consumer.session.timeout.ms",
    share_delivery_count_limit: i32 = "share.delivery.count.limit",
    share_heartbeat_interval_ms: i32 = "share.heartbeat.interval.ms",
    share_isolation_level: String = "share.isolation.level",
    share_partition_max_record_locks: i32 = "share.partition.max.record.locks",
    share_record_lock_duration_ms: i32 = "share.record.lock.duration.ms",
    share_renew_acknowledge_enable: bool = "share.renew.acknowledge.enable",
    share_session_timeout_ms: i32 = "share.session.timeout.ms",
}

fn typed<T: FromValue>(values: &BTreeMap<&'static str, Value>, name: &str) -> T {
    let value = values.get(name).unwrap_or(&Value::Null);
    T::from_value(value).unwrap_or_else(|| unreachable!("the row of {name} has the type of its field"))
}

impl GroupConfig {
    /// The settings of a group with these of its own. Errors: an unknown name, a wrong value.
    fn from_own(broker: &BrokerConfig, own: &BTreeMap<String, String>) -> Result<GroupConfig, ConfigError> {
        if let Some(unknown) = own.keys().find(|name| group_setting(name).is_none()) {
            return Err(ConfigError::UnknownGroupConfig(unknown.clone()));
        }
        let mut values = BTreeMap::new();
        for row in GROUP_SETTINGS {
            let value = match (own.get(row.name), row.mirrors) {
                (Some(text), _) => row.parse(text)?,
                (None, Some(mirrored)) => broker.value(mirrored).clone(),
                (None, None) => row.default_value(),
            };
            values.insert(row.name, value);
        }
        let reset = values.get("share.auto.offset.reset").map(Value::to_text);
        let reset = reset.and_then(|text| ShareOffsetReset::parse(&text)).unwrap_or(ShareOffsetReset::Latest);
        Ok(build(values, reset))
    }

    /// The settings of a group that has none of its own.
    pub fn defaults(broker: &BrokerConfig) -> GroupConfig {
        GroupConfig::from_own(broker, &BTreeMap::new())
            .expect("without own settings nothing can be wrong")
            .bounded(broker)
    }

    /// For what is stored already: what cannot be used is left out and returned; what the broker does not allow becomes
    /// what it does.
    pub fn from_stored(broker: &BrokerConfig, own: &BTreeMap<String, String>) -> (GroupConfig, Vec<ConfigError>) {
        let mut usable = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, text) in own {
            match group_setting(name).map(|row| row.parse(text)) {
                Some(Ok(_)) => {
                    usable.insert(name.clone(), text.clone());
                }
                Some(Err(problem)) => problems.push(problem),
                None => problems.push(ConfigError::UnknownGroupConfig(name.clone())),
            }
        }
        let config = GroupConfig::from_own(broker, &usable).expect("each value was just parsed");
        (config.bounded(broker), problems)
    }

    fn bounded(mut self, broker: &BrokerConfig) -> GroupConfig {
        for (value, name) in [
            (&mut self.consumer_heartbeat_interval_ms, "consumer.heartbeat.interval.ms"),
            (&mut self.consumer_session_timeout_ms, "consumer.session.timeout.ms"),
            (&mut self.share_delivery_count_limit, "share.delivery.count.limit"),
            (&mut self.share_heartbeat_interval_ms, "share.heartbeat.interval.ms"),
            (&mut self.share_partition_max_record_locks, "share.partition.max.record.locks"),
            (&mut self.share_record_lock_duration_ms, "share.record.lock.duration.ms"),
            (&mut self.share_session_timeout_ms, "share.session.timeout.ms"),
        ] {
            let is_own =
                self.values.get(name) != group_setting(name).and_then(|row| row.mirrors).map(|of| broker.value(of));
            if let (true, Some(bound)) = (is_own, BOUNDS.iter().find(|bound| bound.name == name)) {
                *value = (*value).max((bound.least)(broker)).min((bound.most)(broker));
            }
        }
        self
    }
}

/// What the broker allows for a setting.
struct Bound {
    name: &'static str,
    least: fn(&BrokerConfig) -> i32,
    least_name: &'static str,
    most: fn(&BrokerConfig) -> i32,
    most_name: &'static str,
}

/// In the order in which Kafka looks at them.
const BOUNDS: [Bound; 7] = [
    Bound {
        name: "consumer.heartbeat.interval.ms",
        least: |broker| broker.group_consumer_min_heartbeat_interval_ms,
        least_name: "group.consumer.min.heartbeat.interval.ms",
        most: |broker| broker.group_consumer_max_heartbeat_interval_ms,
        most_name: "group.consumer.max.heartbeat.interval.ms",
    },
    Bound {
        name: "consumer.session.timeout.ms",
        least: |broker| broker.group_consumer_min_session_timeout_ms,
        least_name: "group.consumer.min.session.timeout.ms",
        most: |broker| broker.group_consumer_max_session_timeout_ms,
        most_name: "group.consumer.max.session.timeout.ms",
    },
    Bound {
        name: "share.heartbeat.interval.ms",
        least: |broker| broker.group_share_min_heartbeat_interval_ms,
        least_name: "group.share.min.heartbeat.interval.ms",
        most: |broker| broker.group_share_max_heartbeat_interval_ms,
        most_name: "group.share.max.heartbeat.interval.ms",
    },
    Bound {
        name: "share.session.timeout.ms",
        least: |broker| broker.group_share_min_session_timeout_ms,
        least_name: "group.share.min.session.timeout.ms",
        most: |broker| broker.group_share_max_session_timeout_ms,
        most_name: "group.share.max.session.timeout.ms",
    },
    Bound {
        name: "share.record.lock.duration.ms",
        least: |broker| broker.group_share_min_record_lock_duration_ms,
        least_name: "group.share.min.record.lock.duration.ms",
        most: |broker| broker.group_share_max_record_lock_duration_ms,
        most_name: "group.share.max.record.lock.duration.ms",
    },
    Bound {
        name: "share.delivery.count.limit",
        least: |broker| broker.group_share_min_delivery_count_limit,
        least_name: "group.share.min.delivery.count.limit",
        most: |broker| broker.group_share_max_delivery_count_limit,
        most_name: "group.share.max.delivery.count.limit",
    },
    Bound {
        name: "share.partition.max.record.locks",
        least: |broker| broker.group_share_min_partition_max_record_locks,
        least_name: "group.share.min.partition.max.record.locks",
        most: |broker| broker.group_share_max_partition_max_record_locks,
        most_name: "group.share.max.partition.max.record.locks",
    },
];

/// Whether a group may be given these settings: names, values, the broker's bounds, and sessions longer than the time
/// between heartbeats. Only what the group itself sets is held against the bounds.
pub fn validate_group(broker: &BrokerConfig, own: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    let config = GroupConfig::from_own(broker, own)?;
    for bound in BOUNDS.iter().filter(|bound| own.contains_key(bound.name)) {
        let value: i32 = typed(&config.values, bound.name);
        let (name, least_name, most_name) = (bound.name, bound.least_name, bound.most_name);
        if value < (bound.least)(broker) {
            return Err(ConfigError::Conflict(format!("{name} must be greater than or equal to {least_name}")));
        }
        if value > (bound.most)(broker) {
            return Err(ConfigError::Conflict(format!("{name} must be less than or equal to {most_name}")));
        }
    }
    for kind in ["consumer", "share"] {
        let (session, interval) = (format!("{kind}.session.timeout.ms"), format!("{kind}.heartbeat.interval.ms"));
        if typed::<i32>(&config.values, &session) <= typed(&config.values, &interval) {
            return Err(ConfigError::Conflict(format!("{session} must be greater than {interval}")));
        }
    }
    Ok(())
}

/// The settings of all groups, as last read from ZooKeeper; asked on every heartbeat and share fetch.
#[derive(Debug)]
pub struct GroupConfigs {
    defaults: Arc<GroupConfig>,
    own: RwLock<BTreeMap<String, Arc<GroupConfig>>>,
}

impl GroupConfigs {
    /// No group has settings of its own.
    pub fn new(broker: &BrokerConfig) -> GroupConfigs {
        GroupConfigs { defaults: Arc::new(GroupConfig::defaults(broker)), own: RwLock::default() }
    }

    /// Those in force for a group.
    pub fn get(&self, group: &str) -> Arc<GroupConfig> {
        self.own.read().get(group).unwrap_or(&self.defaults).clone()
    }

    /// A group's own settings are these from now on. What of them cannot be used is told.
    pub fn set(&self, broker: &BrokerConfig, group: &str, own: &BTreeMap<String, String>) -> Vec<ConfigError> {
        if own.is_empty() {
            self.own.write().remove(group);
            return Vec::new();
        }
        let (config, problems) = GroupConfig::from_stored(broker, own);
        self.own.write().insert(group.to_owned(), Arc::new(config));
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::properties::Properties;

    #[test]
    fn durations() {
        use ShareOffsetReset::*;
        for (text, expected) in [
            ("earliest", Some(Earliest)),
            ("latest", Some(Latest)),
            ("LATEST", None),
            ("none", None),
            ("by_duration", None),
            ("by_duration:", None),
            ("by_duration:P", None),
            ("by_duration:PT", None),
            ("by_duration:P1D", Some(ByDuration(86_400_000))),
            ("by_duration:PT1H2M3.5S", Some(ByDuration(3_723_500))),
            ("by_duration:P1DT0.001S", Some(ByDuration(86_400_001))),
            ("by_duration:pt5s", Some(ByDuration(5000))),
            ("by_duration:PT-5S", None),
            ("by_duration:PT1M-5S", Some(ByDuration(55_000))),
            ("by_duration:PT1.5M", None),
            ("by_duration:PT5S1H", None),
            ("by_duration:P999999999999999D", None),
        ] {
            assert_eq!(ShareOffsetReset::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn groups_have_what_the_broker_allows() {
        let text = "zookeeper.connect=x\ngroup.share.min.session.timeout.ms=6000\ngroup.share.session.timeout.ms=7000";
        let broker = BrokerConfig::parse(&Properties::parse(text, "f")).unwrap().0;
        for (own, session_ms, problem) in [
            (&[][..], 7000, None),
            (&[("share.session.timeout.ms", "8000")], 8000, None),
            (
                &[("share.session.timeout.ms", "5500")],
                6000,
                Some("share.session.timeout.ms must be greater than or equal to group.share.min.session.timeout.ms"),
            ),
            (
                &[("share.session.timeout.ms", "70000")],
                60_000,
                Some("share.session.timeout.ms must be less than or equal to group.share.max.session.timeout.ms"),
            ),
            (
                &[("share.heartbeat.interval.ms", "7000")],
                7000,
                Some("share.session.timeout.ms must be greater than share.heartbeat.interval.ms"),
            ),
            (
                &[("share.session.timeout.ms", "x")],
                7000,
                Some("Invalid value x for configuration share.session.timeout.ms: Not a number of type INT"),
            ),
            (&[("share.x", "1")], 7000, Some("Unknown group config name: share.x")),
        ] {
            let own: BTreeMap<String, String> = own.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let configs = GroupConfigs::new(&broker);
            configs.set(&broker, "g", &own);
            assert_eq!(configs.get("g").share_session_timeout_ms, session_ms, "{own:?}");
            assert_eq!(configs.get("h").share_session_timeout_ms, 7000);
            let found = validate_group(&broker, &own).err().map(|error| error.to_string());
            assert_eq!(found.as_deref(), problem, "{own:?}");
        }
    }
}
