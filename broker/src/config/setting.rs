//! One setting as a table row, and how its text becomes a value: types, checks and messages of Kafka's `ConfigDef`.
//! Knows no particular setting.

use super::group::ShareOffsetReset;
use thiserror::Error;

/// Type of a setting, as DescribeConfigs names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// 32 bits.
    Int,
    /// 16 bits.
    Short,
    /// 64 bits.
    Long,
    /// Floating point.
    Double,
    /// Texts separated by commas.
    List,
    /// Name of a Java class; kept as text.
    Class,
    /// Text that is never shown.
    Password,
}

impl Kind {
    /// As in Kafka's messages: `LONG`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Boolean => "BOOLEAN",
            Kind::String => "STRING",
            Kind::Int => "INT",
            Kind::Short => "SHORT",
            Kind::Long => "LONG",
            Kind::Double => "DOUBLE",
            Kind::List => "LIST",
            Kind::Class => "CLASS",
            Kind::Password => "PASSWORD",
        }
    }
}

/// How much an operator should care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// Look at it in every installation.
    High,
    /// Look at it when tuning.
    Medium,
    /// Seldom needed.
    Low,
}

/// Whether a broker setting can be changed while running (KIP-226).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Only in the file, read at start.
    ReadOnly,
    /// For one broker only.
    PerBroker,
    /// For one broker, or for all as the default.
    ClusterWide,
}

/// What a value must fulfil beyond its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Check {
    /// Anything.
    Any,
    /// A number not below this.
    AtLeast(i64),
    /// A number in this range, both ends included.
    Between(i64, i64),
    /// gzip's levels 1 to 9, or -1.
    GzipLevel,
    /// One of these texts; of a list, each element.
    OneOf(&'static [&'static str]),
    /// One of these texts in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// Not the empty text; absence is fine.
    NonEmpty,
    /// A version of the inter-broker protocol.
    MetadataVersion,
    /// `*`, or a list of `partition:broker`.
    ThrottledReplicas,
    /// Where a share group begins.
    ShareOffsetReset,
}

/// A row of a settings table.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Kafka's name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The default as text; `None` is no value.
    pub default: Option<&'static str>,
    /// What values are allowed.
    pub check: Check,
    /// How much an operator should care.
    pub importance: Importance,
    /// Whether it can be changed while running; meaningless for topic settings, which always can.
    pub update: Update,
    /// True for what Kafka does not document; left out of DescribeConfigs unless it is set.
    pub internal: bool,
    /// For a topic setting, the broker setting that gives its default.
    pub mirrors: Option<&'static str>,
    /// One sentence for whoever describes the setting.
    pub doc: &'static str,
}

macro_rules! constructors {
    ($($name:ident $kind:ident)*) => {$(
        #[doc = concat!("A row of type ", stringify!($kind), ": name, default, check, importance.")]
        pub(super) const fn $name(
            name: &'static str,
            default: Option<&'static str>,
            check: Check,
            importance: Importance,
        ) -> Setting {
            let kind = Kind::$kind;
            let update = Update::ReadOnly;
            Setting { name, kind, default, check, importance, update, internal: false, mirrors: None, doc: "" }
        }
    )*};
}
constructors!(boolean Boolean string String int Int short Short long Long double Double list List class Class);
constructors!(password Password);

impl Setting {
    pub(super) const fn per_broker(mut self) -> Setting {
        self.update = Update::PerBroker;
        self
    }

    pub(super) const fn cluster_wide(mut self) -> Setting {
        self.update = Update::ClusterWide;
        self
    }

    pub(super) const fn internal(mut self) -> Setting {
        self.internal = true;
        self
    }

    pub(super) const fn mirrors(mut self, broker_setting: &'static str) -> Setting {
        self.mirrors = Some(broker_setting);
        self
    }

    pub(super) const fn doc(mut self, doc: &'static str) -> Setting {
        self.doc = doc;
        self
    }

    /// The default as a value.
    pub fn default_value(&self) -> Value {
        match self.default {
            None => Value::Null,
            Some(text) => self.read(text).unwrap_or(Value::Null),
        }
    }

    /// Reads and checks a text.
    pub fn parse(&self, text: &str) -> Result<Value, ConfigError> {
        let value = self.read(text)?;
        self.check(&value).map_err(|problem| ConfigError::value(self.name, &self.at_fault(&value), problem))?;
        Ok(value)
    }

    fn read(&self, text: &str) -> Result<Value, ConfigError> {
        let trimmed = text.trim();
        let not_a_number = || ConfigError::value(self.name, text, format!("Not a number of type {}", self.kind.name()));
        Ok(match self.kind {
            Kind::Boolean if trimmed.eq_ignore_ascii_case("true") => Value::Boolean(true),
            Kind::Boolean if trimmed.eq_ignore_ascii_case("false") => Value::Boolean(false),
            Kind::Boolean => {
                return Err(ConfigError::value(
                    self.name,
                    text,
                    "Expected value to be either true or false".to_owned(),
                ));
            }
            Kind::String | Kind::Class | Kind::Password => Value::Text(trimmed.to_owned()),
            Kind::Int => Value::Int(trimmed.parse().map_err(|_| not_a_number())?),
            Kind::Short => Value::Short(trimmed.parse().map_err(|_| not_a_number())?),
            Kind::Long => Value::Long(trimmed.parse().map_err(|_| not_a_number())?),
            Kind::Double => Value::Double(trimmed.parse().map_err(|_| not_a_number())?),
            Kind::List if trimmed.is_empty() => Value::List(Vec::new()),
            Kind::List => Value::List(trimmed.split(',').map(|element| element.trim().to_owned()).collect()),
        })
    }

    /// What of a refused value Kafka names: of a list with a few allowed elements the first that is none.
    fn at_fault(&self, value: &Value) -> String {
        match (self.check, value) {
            (Check::OneOf(allowed), Value::List(elements)) => {
                let wrong = elements.iter().find(|element| !allowed.contains(&element.as_str()));
                wrong.cloned().unwrap_or_default()
            }
            (Check::ThrottledReplicas, Value::List(elements)) => format!("[{}]", elements.join(", ")),
            _ => value.to_text(),
        }
    }

    fn check(&self, value: &Value) -> Result<(), String> {
        match self.check {
            Check::Any => Ok(()),
            Check::AtLeast(low) => range(value, low, None),
            Check::Between(low, high) => range(value, low, Some(high)),
            Check::GzipLevel => match value.as_number() {
                Some(level) if level == -1.0 || (1.0..=9.0).contains(&level) => Ok(()),
                _ => Err("Value must be between 1 and 9 or equal to -1".to_owned()),
            },
            Check::OneOf(allowed) => {
                let is_allowed = |text: &String| allowed.contains(&text.as_str());
                let fine = match value {
                    Value::List(elements) => elements.iter().all(is_allowed),
                    Value::Text(text) => is_allowed(text),
                    _ => false,
                };
                if fine { Ok(()) } else { Err(format!("String must be one of: {}", allowed.join(", "))) }
            }
            Check::OneOfAnyCase(allowed) => match value {
                Value::Text(text) if allowed.iter().any(|one| one.eq_ignore_ascii_case(text)) => Ok(()),
                _ => Err(format!("String must be one of (case insensitive): {}", allowed.join(", "))),
            },
            Check::NonEmpty => match value {
                Value::Text(text) if text.is_empty() => Err("String must be non-empty".to_owned()),
                _ => Ok(()),
            },
            Check::MetadataVersion => match value {
                Value::Text(text) if is_metadata_version(text) => Ok(()),
                _ => Err(format!("Version {} is not a valid version", value.to_text())),
            },
            Check::ShareOffsetReset => match value {
                Value::Text(text) if ShareOffsetReset::parse(text).is_some() => Ok(()),
                _ => Err(format!(
                    "Invalid value `{}` for configuration {}. The value must be either 'earliest', 'latest' or of the format \
                     'by_duration:<PnDTnHnMn.nS>'.",
                    value.to_text(),
                    self.name
                )),
            },
            Check::ThrottledReplicas => match value {
                Value::List(elements) if elements.concat() == "*" || elements.iter().all(|e| is_replica(e)) => Ok(()),
                _ => Err(format!(
                    "{} must be the literal '*' or a list of replicas in the following format: \
                     [partitionId]:[brokerId],[partitionId]:[brokerId],...",
                    self.name
                )),
            },
        }
    }
}

fn range(value: &Value, low: i64, high: Option<i64>) -> Result<(), String> {
    let Some(number) = value.as_number() else { return Err("Value must be non-null".to_owned()) };
    if number < low as f64 {
        return Err(format!("Value must be at least {low}"));
    }
    match high {
        Some(high) if number > high as f64 => Err(format!("Value must be no more than {high}")),
        _ => Ok(()),
    }
}

fn is_replica(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.is_empty() || text.split_once(':').is_some_and(|(partition, broker)| digits(partition) && digits(broker))
}

/// Short versions (`2.8`) stand for the newest of that release; `IV` marks the steps within one.
fn is_metadata_version(text: &str) -> bool {
    const RELEASES: &[(&str, u8)] = &[
        ("0.10.0", 1),
        ("0.10.1", 2),
        ("0.10.2", 0),
        ("0.11.0", 2),
        ("1.0", 0),
        ("1.1", 0),
        ("2.0", 1),
        ("2.1", 2),
        ("2.2", 1),
        ("2.3", 1),
        ("2.4", 1),
        ("2.5", 0),
        ("2.6", 0),
        ("2.7", 2),
        ("2.8", 1),
        ("3.0", 1),
        ("3.1", 0),
        ("3.2", 0),
        ("3.3", 3),
        ("3.4", 0),
        ("3.5", 2),
        ("3.6", 2),
        ("3.7", 4),
        ("3.8", 0),
        ("3.9", 0),
        ("4.0", 1),
    ];
    let kept = if text.starts_with("0.") { 3 } else { 2 };
    let key = text.splitn(kept + 1, '.').take(kept).collect::<Vec<_>>().join(".");
    if ["0.8.0", "0.8.1", "0.8.2", "0.9.0"].contains(&key.as_str()) {
        return true;
    }
    let (release, step) = key.split_once("-IV").map_or((key.as_str(), None), |(release, step)| (release, Some(step)));
    RELEASES.iter().any(|(name, last)| {
        *name == release && step.is_none_or(|step| step.parse::<u8>().is_ok_and(|step| step <= *last))
    })
}

/// A setting's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Not set, and without default.
    Null,
    /// A boolean.
    Boolean(bool),
    /// A text, class name or password.
    Text(String),
    /// A number of 32 bits.
    Int(i32),
    /// A number of 16 bits.
    Short(i16),
    /// A number of 64 bits.
    Long(i64),
    /// A floating point number.
    Double(f64),
    /// Texts.
    List(Vec<String>),
}

impl Value {
    /// As Kafka writes it in DescribeConfigs: a list joined by commas, a double as Java does. `Null` is the empty text.
    pub fn to_text(&self) -> String {
        match self {
            Value::Null => String::new(),
            Value::Boolean(value) => value.to_string(),
            Value::Text(text) => text.clone(),
            Value::Int(number) => number.to_string(),
            Value::Short(number) => number.to_string(),
            Value::Long(number) => number.to_string(),
            Value::Double(number) => java_double(*number),
            Value::List(elements) => elements.join(","),
        }
    }

    /// As [`Value::to_text`]; `None` for no value.
    pub fn to_shown(&self) -> Option<String> {
        (*self != Value::Null).then(|| self.to_text())
    }

    /// The number in it, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Value::Int(number) => Some(f64::from(*number)),
            Value::Short(number) => Some(f64::from(*number)),
            Value::Long(number) => Some(*number as f64),
            Value::Double(number) => Some(*number),
            Value::Null | Value::Boolean(_) | Value::Text(_) | Value::List(_) => None,
        }
    }
}

/// `Double.toString`: plain from 10^-3 to 10^7, otherwise `d.ddE±n`.
fn java_double(number: f64) -> String {
    if !number.is_finite() {
        return if number.is_nan() {
            "NaN".to_owned()
        } else {
            format!("{}Infinity", if number < 0.0 { "-" } else { "" })
        };
    }
    let size = number.abs();
    if number == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{number:?}");
    }
    let text = format!("{number:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text,
    }
}

/// A setting that cannot be used, in Kafka's words.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A value of the wrong type or out of range.
    #[error("Invalid value {value} for configuration {name}: {problem}")]
    Value {
        /// The setting.
        name: String,
        /// The value as given.
        value: String,
        /// What is wrong.
        problem: String,
    },
    /// No topic setting has this name.
    #[error("Unknown topic config name: {0}")]
    UnknownTopicConfig(String),
    /// No group setting has this name.
    #[error("Unknown group config name: {0}")]
    UnknownGroupConfig(String),
    /// Values that do not go together.
    #[error("{0}")]
    Conflict(String),
}

impl ConfigError {
    fn value(name: &str, value: &str, problem: String) -> ConfigError {
        ConfigError::Value { name: name.to_owned(), value: value.to_owned(), problem }
    }

    /// What is wrong, without name and value.
    pub fn problem(&self) -> String {
        match self {
            ConfigError::Value { problem, .. } => problem.clone(),
            ConfigError::UnknownTopicConfig(_) | ConfigError::UnknownGroupConfig(_) | ConfigError::Conflict(_) => {
                self.to_string()
            }
        }
    }
}

/// Typed reading of a value that was read by a row of the fitting type.
pub(super) trait FromValue: Sized {
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! from_value {
    ($($type:ty: $variant:ident),*) => {$(
        impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::$variant(inner) => Some(inner.clone()),
                    _ => None,
                }
            }
        }
    )*};
}
from_value!(bool: Boolean, String: Text, i32: Int, i16: Short, i64: Long, f64: Double, Vec<String>: List);

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            _ => T::from_value(value).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(row: Setting, text: &str, expected: Result<&str, &str>) {
        let found = row.parse(text).map(|value| value.to_text()).map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{} = {text}", row.name);
    }

    #[test]
    fn values_are_read_and_refused_in_kafkas_words() {
        const N: Option<&str> = None;
        let retention = long("retention.ms", N, Check::AtLeast(-1), Importance::Medium);
        check(retention, " 5 ", Ok("5"));
        check(retention, "x", Err("Invalid value x for configuration retention.ms: Not a number of type LONG"));
        check(retention, "-2", Err("Invalid value -2 for configuration retention.ms: Value must be at least -1"));
        let ratio = double("ratio", N, Check::Between(0, 1), Importance::Medium);
        check(ratio, "0.5", Ok("0.5"));
        check(ratio, "1", Ok("1.0"));
        check(ratio, "1.5", Err("Invalid value 1.5 for configuration ratio: Value must be no more than 1"));
        let policy = list("cleanup.policy", N, Check::OneOf(&["compact", "delete"]), Importance::Medium);
        check(policy, "compact , delete", Ok("compact,delete"));
        check(policy, "", Ok(""));
        let refused = "Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete";
        check(policy, "foo", Err(refused));
        let flag = boolean("preallocate", N, Check::Any, Importance::Low);
        check(flag, "TRUE", Ok("true"));
        let refused = "Invalid value 1 for configuration preallocate: Expected value to be either true or false";
        check(flag, "1", Err(refused));
        let replicas = list("leader.throttled", N, Check::ThrottledReplicas, Importance::Low);
        check(replicas, "*", Ok("*"));
        check(replicas, "0:1, 2:3", Ok("0:1,2:3"));
        assert!(replicas.parse("0").is_err());
        let version = string("v", N, Check::MetadataVersion, Importance::Low);
        for fine in ["2.8", "2.8.1", "3.9-IV0", "0.10.2.1", "0.10.2-IV0", "0.9.0.1"] {
            check(version, fine, Ok(fine));
        }
        for wrong in ["2.9", "3.9-IV1", "x", ""] {
            assert!(version.parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn doubles_are_written_as_java_writes_them() {
        for (number, text) in [
            (0.0, "0.0"),
            (0.5, "0.5"),
            (100.0, "100.0"),
            (1e7, "1.0E7"),
            (1.25e-4, "1.25E-4"),
            (f64::MAX, "1.7976931348623157E308"),
        ] {
            assert_eq!(java_double(number), text);
        }
    }
}
