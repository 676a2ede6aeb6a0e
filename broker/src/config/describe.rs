//! What DescribeConfigs says of topics and brokers: each setting's value, where it comes from, and what else would give it
//! one (KIP-226). Changes nothing; errors of names are the caller's.

use super::setting::{Kind, Setting, Update, Value};
use super::{BROKER_SETTINGS, BrokerConfig, GROUP_SETTINGS, GroupConfig, TopicConfig};
use super::{broker_setting, listener_base_name, topic_setting};
use std::collections::BTreeMap;

/// Texts by name, as they stand in a znode.
pub type Texts = BTreeMap<String, String>;

/// Where a value comes from, in the order in which the first with a value wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Set for the topic.
    Topic,
    /// Set for the group.
    Group,
    /// Set for this broker while running.
    DynamicBroker,
    /// Set for all brokers while running.
    DynamicDefaultBroker,
    /// Set in the broker's file.
    StaticBroker,
    /// Kafka's default.
    Default,
    /// Set for clients' metrics, which have no other source.
    ClientMetrics,
}

/// One source of a setting's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// Name of the setting, which may be a broker's for a topic's.
    pub name: String,
    /// Its value; `None` if it must not be shown.
    pub value: Option<String>,
    /// Where it is set.
    pub source: Source,
}

/// One setting as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// Its value; `None` if there is none or it must not be shown.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
    /// True if it can only be changed in the file.
    pub is_read_only: bool,
    /// True if its value is never shown: passwords, and whatever has no known type.
    pub is_sensitive: bool,
    /// All sources, the one in force first.
    pub synonyms: Vec<Synonym>,
    /// Its type, if the name is known.
    pub kind: Option<Kind>,
    /// Its documentation, if the name is known.
    pub doc: Option<&'static str>,
}

/// A broker's settings in their layers.
#[derive(Clone, Debug)]
pub struct Layers<'a> {
    /// The file.
    pub file: &'a BrokerConfig,
    /// What is set for all brokers while running (`/config/brokers/<default>`).
    pub for_all: Texts,
    /// What is set for this broker while running (`/config/brokers/N`).
    pub own: Texts,
}

impl Layers<'_> {
    /// The settings in force. What cannot be used among those set while running is left out, as at the start of a broker.
    pub fn current(&self) -> BrokerConfig {
        self.file.with_dynamic(&usable(&self.for_all), &usable(&self.own)).unwrap_or_else(|_| self.file.clone())
    }

    /// Every source of a broker setting, best first; those before the first that bears the asked name itself are left out,
    /// as Kafka does.
    fn synonyms(&self, name: &str, is_sensitive: bool) -> Vec<Synonym> {
        let names = synonym_names(name);
        let mut found = Vec::new();
        let mut add = |value: Option<&str>, name: &str, source: Source| {
            if let Some(value) = value {
                let value = (!is_sensitive).then(|| value.to_owned());
                found.push(Synonym { name: name.to_owned(), value, source });
            }
        };
        for name in &names {
            add(self.own.get(*name).map(String::as_str), name, Source::DynamicBroker);
        }
        for name in &names {
            add(self.for_all.get(*name).map(String::as_str), name, Source::DynamicDefaultBroker);
        }
        for name in &names {
            add(self.file.properties.get(name), name, Source::StaticBroker);
        }
        for name in &names {
            add(exact_row(name).and_then(|row| row.default), name, Source::Default);
        }
        found.into_iter().skip_while(|synonym| synonym.name != name).collect()
    }

    /// All settings of this broker.
    pub fn broker(&self) -> Vec<Described> {
        let current = self.current();
        let mut values: BTreeMap<&str, Option<String>> = BTreeMap::new();
        for (name, entry) in current.properties.iter() {
            values.insert(name, Some(entry.value.clone()));
        }
        for row in BROKER_SETTINGS.iter().filter(|row| !row.internal) {
            values.insert(row.name, current.value(row.name).to_shown());
        }
        values.into_iter().map(|(name, value)| self.broker_row(name, value, |_| true)).collect()
    }

    /// What is set for all brokers while running.
    pub fn for_all_brokers(&self) -> Vec<Described> {
        let only = |synonym: &Synonym| synonym.source == Source::DynamicDefaultBroker;
        self.for_all.iter().map(|(name, value)| self.broker_row(name, Some(value.clone()), only)).collect()
    }

    fn broker_row(&self, name: &str, value: Option<String>, keeps: impl Fn(&Synonym) -> bool) -> Described {
        let row = typed_row(name);
        let is_sensitive = row.is_none_or(|row| row.kind == Kind::Password);
        let mut synonyms = self.synonyms(name, is_sensitive);
        synonyms.retain(keeps);
        Described {
            name: name.to_owned(),
            value: value.filter(|_| !is_sensitive),
            source: synonyms.first().map_or(Source::Default, |synonym| synonym.source),
            is_read_only: exact_row(name).is_none_or(|row| row.update == Update::ReadOnly),
            is_sensitive,
            synonyms,
            kind: row.map(|row| row.kind),
            doc: exact_row(name).map(|row| row.doc),
        }
    }

    /// All settings of a topic that has these of its own.
    pub fn topic(&self, overrides: &Texts) -> Vec<Described> {
        let (config, _) = TopicConfig::from_stored(&self.current(), overrides);
        let mut described: Vec<Described> = Vec::with_capacity(config.values.len());
        for (name, value) in &config.values {
            let row = topic_setting(name).expect("values are those of the table");
            described.push(self.own_row((name, value.to_shown()), Some(row), overrides, Source::Topic));
        }
        for name in overrides.keys().filter(|name| topic_setting(name).is_none()) {
            described.push(self.own_row((name, None), None, overrides, Source::Topic));
        }
        described
    }

    /// All settings of a group that has these of its own.
    pub fn group(&self, own: &Texts) -> Vec<Described> {
        let (config, _) = GroupConfig::from_stored(&self.current(), own);
        let row = |row: &'static Setting| {
            let value = config.values.get(row.name).and_then(Value::to_shown);
            self.own_row((row.name, value), Some(row), own, Source::Group)
        };
        GROUP_SETTINGS.iter().map(row).collect()
    }

    /// A setting of something that may have it of its own, where the broker's comes behind it.
    fn own_row(
        &self,
        (name, value): (&str, Option<String>),
        row: Option<&Setting>,
        overrides: &Texts,
        source: Source,
    ) -> Described {
        let mut synonyms = Vec::new();
        if overrides.contains_key(name) {
            synonyms.push(Synonym { name: name.to_owned(), value: value.clone(), source });
        }
        if let Some(mirrored) = row.and_then(|row| row.mirrors) {
            synonyms.extend(self.synonyms(mirrored, false));
        }
        Described {
            name: name.to_owned(),
            value,
            source: synonyms.first().map_or(Source::Default, |synonym| synonym.source),
            is_read_only: false,
            is_sensitive: row.is_none(),
            synonyms,
            kind: row.map(|row| row.kind),
            doc: row.map(|row| row.doc),
        }
    }
}

/// What can be used of settings from a znode.
fn usable(texts: &Texts) -> Texts {
    let is_usable = |(name, text): &(&String, &String)| broker_setting(name).is_none_or(|row| row.parse(text).is_ok());
    texts.iter().filter(is_usable).map(|(name, text)| (name.clone(), text.clone())).collect()
}

fn exact_row(name: &str) -> Option<&'static Setting> {
    broker_setting(name).filter(|row| row.name == name)
}

/// Settings of a SASL mechanism on a listener: `listener.name.NAME.MECHANISM.KEY`.
const OF_MECHANISM: [&str; 5] = [
    "sasl.jaas.config",
    "sasl.login.callback.handler.class",
    "sasl.login.class",
    "sasl.server.callback.handler.class",
    "connections.max.reauth.ms",
];

/// The row that gives a name its type; a listener's setting has that of the broker's.
pub(super) fn typed_row(name: &str) -> Option<&'static Setting> {
    exact_row(name).or_else(|| synonym_names(name).into_iter().find_map(exact_row))
}

/// The names under which a setting may be given, best first.
pub(super) fn synonym_names(name: &str) -> Vec<&str> {
    const SETS: [&[&str]; 4] = [
        &["log.roll.ms", "log.roll.hours"],
        &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
        &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
    ];
    if name == "log.flush.scheduler.interval.ms" {
        return vec![name];
    }
    if let Some(set) = SETS.iter().find(|set| set.contains(&name)) {
        return set.to_vec();
    }
    match listener_base_name(name) {
        Some(base) => vec![name, OF_MECHANISM.iter().find(|of| base.ends_with(*of)).copied().unwrap_or(base)],
        None => vec![name],
    }
}
