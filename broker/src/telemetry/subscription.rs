//! One resource of client metrics: which clients are to push which metrics how often, with Kafka's rules and messages for
//! its settings. Pushes nothing.

use crate::config::change::ChangeError;
use crate::config::describe::Texts;
use regex::Regex;
use std::collections::BTreeMap;

/// Milliseconds between two pushes where no subscription says less.
pub const DEFAULT_INTERVAL_MS: i32 = 300_000;
const INTERVAL_MS_MIN: i32 = 100;
const INTERVAL_MS_MAX: i32 = 3_600_000;

const METRICS: &str = "metrics";
const INTERVAL: &str = "interval.ms";
const MATCH: &str = "match";

/// What a client is known by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Its instance id as Kafka writes it.
    pub instance: String,
    /// Its name for itself.
    pub client_id: Option<String>,
    /// The library that it is made with.
    pub software_name: Option<String>,
    /// Version of the library.
    pub software_version: Option<String>,
    /// Its address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Attributes {
    fn get(&self, name: &str) -> Option<String> {
        match name {
            "client_instance_id" => Some(self.instance.clone()),
            "client_id" => self.client_id.clone(),
            "client_software_name" => self.software_name.clone(),
            "client_software_version" => self.software_version.clone(),
            "client_source_address" => Some(self.host.clone()),
            "client_source_port" => Some(self.port.to_string()),
            _ => None,
        }
    }
}

/// What a client may be chosen by.
const SELECTORS: [&str; 6] = [
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// A subscription.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Prefixes of names; `*` for all.
    pub metrics: Vec<String>,
    /// Between two pushes.
    pub interval_ms: i32,
    selectors: BTreeMap<String, Regex>,
}

impl Subscription {
    /// Reads settings; `None` if there are none, which is how a subscription goes.
    ///
    /// # Errors
    /// Settings that cannot be.
    pub fn parse(texts: &Texts) -> Result<Option<Subscription>, ChangeError> {
        if let Some(name) = texts.keys().find(|name| ![METRICS, INTERVAL, MATCH].contains(&name.as_str())) {
            return Err(ChangeError::InvalidRequest(format!("Unknown client metrics configuration: {name}")));
        }
        let interval_ms = texts.get(INTERVAL).map(|text| interval(text)).transpose()?.unwrap_or(DEFAULT_INTERVAL_MS);
        let selectors = texts.get(MATCH).map(|text| selectors(text)).transpose()?.unwrap_or_default();
        let metrics = texts.get(METRICS).map_or("", String::as_str).split(',').map(str::trim);
        let metrics = metrics.filter(|one| !one.is_empty()).map(str::to_owned).collect();
        Ok((!texts.is_empty()).then_some(Subscription { metrics, interval_ms, selectors }))
    }

    /// Is it about this client? Without selectors it is about all.
    pub fn matches(&self, attributes: &Attributes) -> bool {
        self.selectors.iter().all(|(name, regex)| attributes.get(name).is_some_and(|value| regex.is_match(&value)))
    }
}

fn interval(text: &str) -> Result<i32, ChangeError> {
    let interval_ms: i32 = text.trim().parse().map_err(|_| {
        ChangeError::InvalidRequest(format!("Invalid value {text} for {INTERVAL}, interval must be a whole number"))
    })?;
    if !(INTERVAL_MS_MIN..=INTERVAL_MS_MAX).contains(&interval_ms) {
        let problem = format!(
            "Invalid value {interval_ms} for {INTERVAL}, interval must be between {INTERVAL_MS_MIN} and \
             {INTERVAL_MS_MAX} (1 hour)"
        );
        return Err(ChangeError::InvalidRequest(problem));
    }
    Ok(interval_ms)
}

fn selectors(text: &str) -> Result<BTreeMap<String, Regex>, ChangeError> {
    let mut selectors = BTreeMap::new();
    for pair in text.split(',') {
        let illegal = || ChangeError::InvalidConfig(format!("Illegal client matching pattern: {pair}"));
        let (name, pattern) = pair.split_once('=').ok_or_else(illegal)?;
        let (name, pattern) = (name.trim(), pattern.trim());
        if !SELECTORS.contains(&name) || pattern.is_empty() || pattern.contains('=') {
            return Err(illegal());
        }
        let regex = Regex::new(&format!("^(?:{pattern})$")).map_err(|_| illegal())?;
        selectors.insert(name.to_owned(), regex);
    }
    Ok(selectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked_as_by_kafka() {
        for (name, value, problem) in [
            ("metrics", "org.apache.kafka.producer., org.apache.kafka.consumer.", None),
            ("metrics", "", None),
            ("interval.ms", "100", None),
            ("interval.ms", "3600000", None),
            (
                "interval.ms",
                "99",
                Some("Invalid value 99 for interval.ms, interval must be between 100 and 3600000 (1 hour)"),
            ),
            ("interval.ms", "x", Some("Invalid value x for interval.ms, interval must be a whole number")),
            ("match", "client_id=a.*, client_software_name=.*java", None),
            ("match", "client_id", Some("Illegal client matching pattern: client_id")),
            ("match", "client_id=", Some("Illegal client matching pattern: client_id=")),
            ("match", "client_id=a=b", Some("Illegal client matching pattern: client_id=a=b")),
            ("match", "color=blue", Some("Illegal client matching pattern: color=blue")),
            ("match", "client_id=(", Some("Illegal client matching pattern: client_id=(")),
            ("intervall", "1", Some("Unknown client metrics configuration: intervall")),
        ] {
            let outcome = Subscription::parse(&Texts::from([(name.to_owned(), value.to_owned())]));
            assert_eq!(outcome.err().map(|error| error.to_string()).as_deref(), problem, "{name}={value}");
        }
        assert!(Subscription::parse(&Texts::new()).unwrap().is_none());
    }

    #[test]
    fn clients_are_chosen_by_all_of_the_selectors() {
        let attributes = Attributes {
            client_id: Some("shop-7".to_owned()),
            software_name: Some("librdkafka".to_owned()),
            host: "10.0.0.1".to_owned(),
            port: 4711,
            ..Attributes::default()
        };
        for (selectors, expected) in [
            ("client_id=shop-.*", true),
            ("client_id=shop", false),
            ("client_id=shop-.*,client_software_name=apache-kafka-java", false),
            ("client_id=shop-.*,client_source_port=47..", true),
            ("client_software_version=.*", false),
            ("client_source_address=10\\.0\\..*", true),
        ] {
            let texts = Texts::from([("match".to_owned(), selectors.to_owned())]);
            let subscription = Subscription::parse(&texts).unwrap().unwrap();
            assert_eq!(subscription.matches(&attributes), expected, "{selectors}");
        }
    }
}
