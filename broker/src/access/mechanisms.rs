//! What the settings say of SASL on a listener: which mechanisms, the users of PLAIN, how long a login counts, and as whom
//! this broker logs in with the others. Reads no file.

use crate::config::BrokerConfig;
use common::jaas::{self, LoginModule};
use common::scram::ScramMechanism;
use std::collections::BTreeMap;

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mechanism {
    /// By its password in the clear (RFC 4616).
    Plain,
    /// By a proof that it has the password.
    Scram(ScramMechanism),
}

impl Mechanism {
    /// By its name; `None` if it is not served here.
    pub fn from_name(name: &str) -> Option<Mechanism> {
        match name {
            "PLAIN" => Some(Mechanism::Plain),
            other => ScramMechanism::from_name(other).map(Mechanism::Scram),
        }
    }

    /// As in `sasl.enabled.mechanisms`.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Scram(scram) => scram.name(),
        }
    }
}

/// The contexts of the file that `java.security.auth.login.config` names, by name.
pub type JaasFile = BTreeMap<String, Vec<LoginModule>>;

/// SASL on one listener.
#[derive(Clone, Debug)]
pub struct SaslSettings {
    /// Those that are on, in the order of the setting.
    pub mechanisms: Vec<Mechanism>,
    /// Passwords of PLAIN by user.
    pub plain_users: BTreeMap<String, String>,
    /// `connections.max.reauth.ms` by mechanism, where it is not 0.
    pub max_reauth_ms: BTreeMap<Mechanism, u64>,
}

/// As whom a broker logs in with another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerLogin {
    /// `sasl.mechanism.inter.broker.protocol`.
    pub mechanism: Mechanism,
    /// The user.
    pub username: String,
    /// Its password.
    pub password: String,
}

impl SaslSettings {
    /// Of a listener with SASL.
    ///
    /// # Errors
    /// If a mechanism is not known here, or has no users; the text names the setting.
    pub fn of(config: &BrokerConfig, listener: &str, file: &JaasFile) -> Result<SaslSettings, String> {
        let mut settings =
            SaslSettings { mechanisms: Vec::new(), plain_users: BTreeMap::new(), max_reauth_ms: BTreeMap::new() };
        for name in enabled(config, listener) {
            let Some(mechanism) = Mechanism::from_name(&name) else {
                return Err(format!(
                    "listener {listener}: sasl.enabled.mechanisms={name}: there are PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512"
                ));
            };
            if mechanism == Mechanism::Plain {
                let modules = modules(config, listener, mechanism, file)?;
                let module = modules.iter().find(|module| module.class.ends_with("PlainLoginModule"));
                let module = module.ok_or_else(|| missing(listener, mechanism))?;
                let users = module.options.iter();
                let users = users.filter_map(|(key, password)| Some((key.strip_prefix("user_")?, password)));
                settings.plain_users = users.map(|(user, password)| (user.to_owned(), password.clone())).collect();
            }
            let key = format!("{}.connections.max.reauth.ms", mechanism.name().to_lowercase());
            let own = config.listener_value(listener, &key).and_then(|text| text.trim().parse().ok());
            let ms: i64 = own.unwrap_or(config.connections_max_reauth_ms);
            if let Some(ms) = u64::try_from(ms).ok().filter(|ms| *ms > 0) {
                settings.max_reauth_ms.insert(mechanism, ms);
            }
            settings.mechanisms.push(mechanism);
        }
        Ok(settings)
    }

    /// Names of those that are on, for a client that asks for another.
    pub fn names(&self) -> Vec<String> {
        self.mechanisms.iter().map(|mechanism| mechanism.name().to_owned()).collect()
    }
}

impl PeerLogin {
    /// For a listener that brokers use among themselves.
    ///
    /// # Errors
    /// If there is no login for it; the text names the setting.
    pub fn of(config: &BrokerConfig, listener: &str, file: &JaasFile) -> Result<PeerLogin, String> {
        let key = "sasl.mechanism.inter.broker.protocol";
        let name = config.listener_value(listener, key).unwrap_or(&config.sasl_mechanism_inter_broker_protocol);
        let mechanism = Mechanism::from_name(name)
            .ok_or_else(|| format!("{key}={name}: there are PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512"))?;
        let modules = modules(config, listener, mechanism, file)?;
        let find = |name: &str| modules.iter().find_map(|module| module.options.get(name)).cloned();
        let option = |name: &str| {
            find(name).ok_or_else(|| format!("listener {listener}: the login configuration for {key} has no {name}"))
        };
        Ok(PeerLogin { mechanism, username: option("username")?, password: option("password")? })
    }
}

fn enabled(config: &BrokerConfig, listener: &str) -> Vec<String> {
    match config.listener_value(listener, "sasl.enabled.mechanisms") {
        Some(text) => text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect(),
        None => config.sasl_enabled_mechanisms.clone(),
    }
}

/// The login modules of a mechanism: `listener.name.L.M.sasl.jaas.config`, else the file's `l.KafkaServer` or `KafkaServer`.
fn modules(
    config: &BrokerConfig,
    listener: &str,
    mechanism: Mechanism,
    file: &JaasFile,
) -> Result<Vec<LoginModule>, String> {
    let key = format!("{}.sasl.jaas.config", mechanism.name().to_lowercase());
    if let Some(text) = config.listener_value(listener, &key) {
        return jaas::parse(text).map_err(|error| format!("listener {listener}: {key}: {error}"));
    }
    let own = format!("{}.KafkaServer", listener.to_lowercase());
    let found = file.get(&own).or_else(|| file.get("KafkaServer"));
    found.cloned().ok_or_else(|| missing(listener, mechanism))
}

fn missing(listener: &str, mechanism: Mechanism) -> String {
    let (listener, name) = (listener.to_lowercase(), mechanism.name().to_lowercase());
    format!("listener.name.{listener}.{name}.sasl.jaas.config is not set: it names the users, or as whom to log in")
}
