//! `zoo.cfg`: ZooKeeper 3.9's names and defaults, checked. A key that is not known is a warning, a value that cannot be
//! used an error with file, line and key. Reads no file by itself: the caller hands in how.

use crate::connection_tokens::ThrottleSettings;
use crate::ops::sasl::{Users, jaas_users};
use crate::trace::TraceLimits;
use crate::tree::history::HistoryLimits;
use common::properties::{Properties, PropertyError};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Largest request, as ZooKeeper's `jute.maxbuffer` (0xfffff bytes).
const DEFAULT_MAX_BUFFER: usize = 0xf_ffff;

/// Four-letter words answered unless `4lw.commands.whitelist` says otherwise. ZooKeeper answers `srvr` alone; ours
/// change nothing and cost little, and probes in the field expect them.
const DEFAULT_WORDS: [&str; 6] = ["ruok", "srvr", "stat", "mntr", "conf", "isro"];

/// Accepted and without effect here: they steer ZooKeeper's threads, files or JVM.
const WITHOUT_EFFECT: &[&str] = &[
    "admin.idleTimeout",
    "admin.portUnification",
    "autopurge.snapRetainCount",
    "autopurge.purgeInterval",
    "connectToLearnerMasterLimit",
    "electionAlg",
    "electionPortBindRetry",
    "fsync.warningthresholdms",
    "jvm.pause.info-threshold.ms",
    "jvm.pause.monitor",
    "jvm.pause.sleep.time.ms",
    "jvm.pause.warn-threshold.ms",
    "preAllocSize",
    "quorum.cnxn.threads.size",
    "snapCount",
    "snapSizeLimitInKb",
    "syncEnabled",
    "commitLogCount",
    "cnxTimeout",
    "leaderServes",
    "watchManagerName",
    "forceSync",
];

/// A configuration that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A value cannot be used.
    #[error(transparent)]
    Value(#[from] PropertyError),
    /// A key is missing; the text names it.
    #[error("{file}: {problem}")]
    Missing {
        /// The file.
        file: String,
        /// What is missing and why it is needed.
        problem: String,
    },
}

/// One server of the ensemble, from a line `server.N=host:2888:3888[:participant|observer][;[address:]2181]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The N.
    pub id: u64,
    /// Host name or address.
    pub host: String,
    /// Port on which the servers talk; ours bind this one.
    pub peer_port: u16,
    /// ZooKeeper's election port. Kept for `conf`; not bound, elections run over the peer port.
    pub election_port: u16,
    /// An observer takes part in everything but voting.
    pub is_observer: bool,
    /// Client address and port, if the line has one.
    pub client: Option<(String, u16)>,
}

impl Server {
    /// As ZooKeeper prints it in `conf` and `/zookeeper/config`, without the client part taken from `clientPort`.
    pub fn line(&self) -> String {
        let role = if self.is_observer { "observer" } else { "participant" };
        let host = bracketed(&self.host);
        let mut line = format!("{host}:{}:{}:{role}", self.peer_port, self.election_port);
        if let Some((address, port)) = &self.client {
            line.push_str(&format!(";{}:{port}", bracketed(address)));
        }
        line
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Whether servers talk to each other over TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuorumTls {
    /// They dial so and take nothing else (`sslQuorum`).
    pub is_on: bool,
    /// They take both, for the time of a change (`portUnification`).
    pub accepts_both: bool,
    /// The certificates are read again when their files change (`sslQuorumReloadCertFiles`).
    pub reloads: bool,
}

/// How servers prove to each other who they are, beside TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuorumSasl {
    /// Who may dial this server (`quorum.auth.enableSasl`).
    pub users: Option<Users>,
    /// Nobody else may (`quorum.auth.serverRequireSasl`).
    pub is_required: bool,
    /// Name and password for dialling others (`quorum.auth.learnerRequireSasl`).
    pub own: Option<(String, String)>,
}

/// The settings of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the tree and `myid` live.
    pub data_dir: PathBuf,
    /// Where the log would live in ZooKeeper; kept for `conf`, ours has both in `dataDir`.
    pub data_log_dir: PathBuf,
    /// Address the client port is bound to.
    pub client_address: String,
    /// Client port; `None` if none is set (nothing listens then).
    pub client_port: Option<u16>,
    /// Address and port for clients over TLS (`secureClientPort`), if there is one.
    pub secure_client: Option<(String, u16)>,
    /// Whether the client port takes TLS, too (`client.portUnification`).
    pub client_port_unification: bool,
    /// Whether the certificates for clients are read again when their files change (`client.certReload`).
    pub reloads_client_certificates: bool,
    /// `listen` backlog; -1 for the system's.
    pub client_port_listen_backlog: i32,
    /// The unit of session timeouts and of `initLimit` and `syncLimit`, in milliseconds.
    pub tick_time_ms: u32,
    /// Ticks a follower may take to catch up. Shown in `conf`; ours needs no such limit.
    pub init_limit: u32,
    /// Ticks a follower may lag. Shown in `conf`; ours needs no such limit.
    pub sync_limit: u32,
    /// Connections from one address; 0 for any number.
    pub max_client_connections: u32,
    /// Connections from all addresses together; 0 for any number.
    pub max_connections: u32,
    /// `connection_throttle_*`: how fast new connections are let in.
    pub connection_throttle: ThrottleSettings,
    /// Shortest session timeout granted, in milliseconds.
    pub min_session_timeout_ms: i32,
    /// Longest session timeout granted, in milliseconds.
    pub max_session_timeout_ms: i32,
    /// Largest request in bytes.
    pub max_buffer_bytes: usize,
    /// Requests read and not answered, over all clients; past it no client is read.
    pub global_outstanding_limit: u32,
    /// Four-letter words that are answered; `*` allows all.
    pub four_letter_words: BTreeSet<String>,
    /// The ensemble by id; empty for a server alone.
    pub servers: BTreeMap<u64, Server>,
    /// The servers' port is bound on all addresses instead of the one on this server's line (`quorumListenOnAllIPs`).
    pub listens_on_all: bool,
    /// A server without a leader serves reads to clients that asked for it (`readonlymode.enabled`).
    pub read_only_mode: bool,
    /// Sessions are begun by the server that a client connects to alone (`localSessionsEnabled`).
    pub local_sessions: bool,
    /// Such a session becomes one of the ensemble when it makes an ephemeral znode (`localSessionsUpgradingEnabled`).
    pub local_sessions_upgrading: bool,
    /// How many earlier values are kept: `history.count` (1000) and `history.bytes` (1 MiB); 0 for none. Ours alone.
    pub history: HistoryLimits,
    /// How many requests are remembered, and which are slow: `requests.count` (256, 0 for none), `requests.slowMs` (100).
    /// Ours alone.
    pub requests: TraceLimits,
    /// TLS between servers.
    pub quorum_tls: QuorumTls,
    /// SASL between servers.
    pub quorum_sasl: QuorumSasl,
    /// Clients may change the ensemble's membership (`reconfigEnabled`).
    pub reconfig_enabled: bool,
    /// A single server line means a server alone (`standaloneEnabled`, true unless set).
    pub standalone_enabled: bool,
    /// The version of the membership in the file, from the name of the dynamic file; 0 without one.
    pub dynamic_version: i64,
    /// A new server whose data directory is empty may help to found an ensemble before it has seen all others: unless
    /// `db.autocreate` is false and there is no file `initialize` in the directory.
    pub trusts_empty_store: bool,
    /// This server's id: 1 for a server alone without `myid`.
    pub my_id: u64,
    /// Users that may prove themselves by SASL DIGEST-MD5, from the JAAS file that `java.security.auth.login.config` names;
    /// `None` if there is none.
    pub sasl_users: Option<Users>,
    /// All settings as given: what other parts (authentication, quotas, metrics) look up by name.
    pub properties: Properties,
}

/// How a file is read; absence is `ErrorKind::NotFound`.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

impl Config {
    /// Reads `path`, the dynamic configuration it may name and `myid`. The strings are warnings.
    pub fn load(path: &Path, read: ReadFile<'_>) -> Result<(Config, Vec<String>), ConfigError> {
        let text = read(path).map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
        let mut properties = Properties::parse(&text, &path.display().to_string());
        if let Some(dynamic) = properties.get("dynamicConfigFile").map(|name| PathBuf::from(name.trim())) {
            let text = read(&dynamic).map_err(|error| ConfigError::Unreadable { path: dynamic.clone(), error })?;
            let more = Properties::parse(&text, &dynamic.display().to_string());
            for (key, entry) in more.iter() {
                properties.set(key, &entry.value, &entry.place);
            }
        }
        Config::from_properties(properties, &path.display().to_string(), read)
    }

    /// The two to four arguments that ZooKeeper's standalone server takes: port, data directory, tick time and
    /// connections per address.
    pub fn standalone(arguments: &[String]) -> Result<(Config, Vec<String>), ConfigError> {
        let mut properties = Properties::default();
        for (key, argument) in ["clientPort", "dataDir", "tickTime", "maxClientCnxns"].iter().zip(arguments) {
            properties.set(key, argument, "argument");
        }
        Config::from_properties(properties, "arguments", &|_| Err(io::ErrorKind::NotFound.into()))
    }

    fn from_properties(
        properties: Properties,
        file: &str,
        read: ReadFile<'_>,
    ) -> Result<(Config, Vec<String>), ConfigError> {
        let mut warnings = Vec::new();
        let missing = |problem: &str| ConfigError::Missing { file: file.to_owned(), problem: problem.to_owned() };
        let data_dir = match properties.get("dataDir").map(str::trim) {
            None if properties.get("zookeeper.connect").is_some() => {
                return Err(missing(
                    "this looks like a broker's file (server.properties); a coordinator's names dataDir",
                ));
            }
            None | Some("") => return Err(missing("dataDir is not set")),
            Some(dir) => PathBuf::from(dir),
        };
        let data_log_dir = properties.get("dataLogDir").map_or_else(|| data_dir.clone(), |dir| dir.trim().into());
        let tick_time_ms: u32 = properties.parse_or("tickTime", 3000, "milliseconds, 1 or more")?;
        if tick_time_ms == 0 || tick_time_ms > 3_600_000 {
            return Err(properties.error("tickTime", "expected 1 to 3600000 milliseconds").into());
        }
        let (min_session_timeout_ms, max_session_timeout_ms) = session_timeouts(&properties, tick_time_ms)?;
        let standalone_enabled = is_true_or(&properties, "standaloneEnabled", true)?;
        let servers = servers(&properties, standalone_enabled, &mut warnings)?;
        let my_id = my_id(&data_dir, &servers, file, read)?;
        warn_role(&properties, servers.get(&my_id), &mut warnings);
        let (client_address, client_port) = client_port(&properties, servers.get(&my_id), file)?;
        let max_buffer_bytes: usize =
            properties.parse_or("jute.maxbuffer", DEFAULT_MAX_BUFFER, "bytes as a decimal number")?;
        if !(1024..=1 << 30).contains(&max_buffer_bytes) {
            return Err(properties.error("jute.maxbuffer", "expected 1024 to 1073741824 bytes").into());
        }
        let config = Config {
            secure_client: secure_client_port(&properties, file)?,
            client_port_unification: is_true(&properties, "client.portUnification")?,
            reloads_client_certificates: is_true(&properties, "client.certReload")?,
            sasl_users: sasl_users(&properties, read)?,
            data_log_dir,
            client_address,
            client_port,
            client_port_listen_backlog: properties.parse_or("clientPortListenBacklog", -1, "a number")?,
            tick_time_ms,
            init_limit: limit(&properties, "initLimit", servers.len() > 1, file)?,
            sync_limit: limit(&properties, "syncLimit", servers.len() > 1, file)?,
            max_client_connections: properties.parse_or("maxClientCnxns", 60, "a number, 0 for no limit")?,
            max_connections: properties.parse_or("maxCnxns", 0, "a number, 0 for no limit")?,
            connection_throttle: connection_throttle(&properties)?,
            min_session_timeout_ms,
            max_session_timeout_ms,
            max_buffer_bytes,
            global_outstanding_limit: properties.parse_or("globalOutstandingLimit", 1000, "a number, 1 or more")?,
            four_letter_words: words(&properties),
            listens_on_all: is_true(&properties, "quorumListenOnAllIPs")?,
            read_only_mode: is_true(&properties, "readonlymode.enabled")?,
            local_sessions: is_true(&properties, "localSessionsEnabled")?,
            local_sessions_upgrading: is_true(&properties, "localSessionsUpgradingEnabled")?,
            history: history_limits(&properties)?,
            requests: trace_limits(&properties)?,
            quorum_tls: quorum_tls(&properties)?,
            quorum_sasl: quorum_sasl(&properties, read)?,
            reconfig_enabled: is_true(&properties, "reconfigEnabled")?,
            standalone_enabled,
            dynamic_version: dynamic_version(&properties)?,
            trusts_empty_store: is_true_or(&properties, "db.autocreate", true)?
                || read(&data_dir.join("initialize")).is_ok(),
            servers,
            my_id,
            data_dir,
            properties,
        };
        check_numbers(&config.properties)?;
        check_tls(&config.properties, &mut warnings)?;
        warn_unknown(&config.properties, &mut warnings);
        Ok((config, warnings))
    }

    /// True for a server that has no ensemble to ask.
    pub fn is_standalone(&self) -> bool {
        let voters = self.servers.values().filter(|server| !server.is_observer).count();
        self.servers.is_empty() || (voters <= 1 && self.standalone_enabled)
    }

    /// True if the four-letter word is answered; `srvr` always is, as ZooKeeper's own scripts ask it.
    pub fn allows_word(&self, word: &str) -> bool {
        word == "srvr" || self.four_letter_words.contains("*") || self.four_letter_words.contains(word)
    }
}

fn quorum_tls(properties: &Properties) -> Result<QuorumTls, PropertyError> {
    Ok(QuorumTls {
        is_on: is_true(properties, "sslQuorum")?,
        accepts_both: is_true(properties, "portUnification")?,
        reloads: is_true(properties, "sslQuorumReloadCertFiles")?,
    })
}

/// The contexts `QuorumServer` and `QuorumLearner` of the JAAS file, or those that are named instead.
fn quorum_sasl(properties: &Properties, read: ReadFile<'_>) -> Result<QuorumSasl, ConfigError> {
    const ON: &str = "quorum.auth.enableSasl";
    const DIALS: &str = "quorum.auth.learnerRequireSasl";
    const REQUIRED: &str = "quorum.auth.serverRequireSasl";
    const FILE: &str = "java.security.auth.login.config";
    let (dials, is_required) = (is_true(properties, DIALS)?, is_true(properties, REQUIRED)?);
    let without = |key: &str, needed: &str| properties.error(key, &format!("it needs {needed}=true")).into();
    if !is_true(properties, ON)? {
        let wrong = [(dials, DIALS), (is_required, REQUIRED)].into_iter().find(|(is_on, _)| *is_on);
        return wrong.map_or(Ok(QuorumSasl::default()), |(_, key)| Err(without(key, ON)));
    }
    if is_required && !dials {
        return Err(without(REQUIRED, DIALS));
    }
    let Some(path) = properties.get(FILE).map(|path| PathBuf::from(path.trim())) else {
        return Err(properties.error(ON, &format!("the file with users and passwords is not named: {FILE}")).into());
    };
    let text = read(&path).map_err(|error| ConfigError::Unreadable { path: path.clone(), error })?;
    let wrong = |problem: &str| properties.error(FILE, problem);
    let contexts = common::jaas::parse_file(&text).map_err(|error| wrong(&error.to_string()))?;
    let options = |key: &str, default: &str| {
        let name = properties.get(key).map_or(default, str::trim);
        let module = contexts.get(name).and_then(|modules| modules.first());
        let module = module.ok_or_else(|| wrong(&format!("the file has no context {name}")))?;
        if module.class.ends_with(".DigestLoginModule") {
            return Ok(&module.options);
        }
        Err(wrong(&format!("{} of {name} is not served, DigestLoginModule is", module.class)))
    };
    let users = options("quorum.auth.server.saslLoginContext", "QuorumServer")?.iter();
    let users = users.filter_map(|(key, password)| Some((key.strip_prefix("user_")?.to_owned(), password.clone())));
    let own = match dials {
        false => None,
        true => {
            let options = options("quorum.auth.learner.saslLoginContext", "QuorumLearner")?;
            let named = options.get("username").cloned().zip(options.get("password").cloned());
            Some(named.ok_or_else(|| wrong("the learner's context needs username and password"))?)
        }
    };
    Ok(QuorumSasl { users: Some(Users::new(users.collect())), is_required, own })
}

fn history_limits(properties: &Properties) -> Result<HistoryLimits, PropertyError> {
    Ok(HistoryLimits {
        count: properties.parse_or("history.count", 1_000, "a number, 0 for none")?,
        bytes: properties.parse_or("history.bytes", 1024 * 1024, "bytes as a decimal number, 0 for none")?,
    })
}

fn trace_limits(properties: &Properties) -> Result<TraceLimits, PropertyError> {
    const COUNT: &str = "requests.count";
    let count = properties.parse_or(COUNT, 256, "a number from 0 (for none) to 10000")?;
    if count > 10_000 {
        return Err(properties.error(COUNT, "expected a number from 0 (for none) to 10000"));
    }
    Ok(TraceLimits { count, slow_ms: properties.parse_or("requests.slowMs", 100, "milliseconds as a decimal number")? })
}

fn is_true(properties: &Properties, key: &str) -> Result<bool, PropertyError> {
    is_true_or(properties, key, false)
}

fn is_true_or(properties: &Properties, key: &str, default: bool) -> Result<bool, PropertyError> {
    match properties.get(key).map(|value| value.trim().to_lowercase()).as_deref() {
        None => Ok(default),
        Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(properties.error(key, "expected true or false")),
    }
}

/// ZooKeeper writes the version of the membership into the name of the file: `zoo.cfg.dynamic.100000000`, in hex.
fn dynamic_version(properties: &Properties) -> Result<i64, PropertyError> {
    let Some(name) = properties.get("dynamicConfigFile") else { return Ok(0) };
    let Some((_, version)) = name.trim().rsplit_once(".dynamic.") else { return Ok(0) };
    i64::from_str_radix(version, 16)
        .map_err(|_| properties.error("dynamicConfigFile", "expected a version in hex behind .dynamic."))
}

/// As ZooKeeper: the server lines say what a server is, `peerType` only repeats it.
fn warn_role(properties: &Properties, me: Option<&Server>, warnings: &mut Vec<String>) {
    let (Some(role), Some(me)) = (properties.get("peerType"), me) else { return };
    let observes = role.trim().eq_ignore_ascii_case("observer");
    if observes != me.is_observer {
        let line = if me.is_observer { "observer" } else { "participant" };
        warnings.push(format!("peerType={} is ignored: server.{} is a {line}", role.trim(), me.id));
    }
}

/// The users of the section `Server`, or of the one that `sasl.serverconfig` names.
fn sasl_users(properties: &Properties, read: ReadFile<'_>) -> Result<Option<Users>, ConfigError> {
    const KEY: &str = "java.security.auth.login.config";
    let Some(path) = properties.get(KEY).map(|path| PathBuf::from(path.trim())) else { return Ok(None) };
    let text = read(&path).map_err(|error| ConfigError::Unreadable { path: path.clone(), error })?;
    let section = properties.get("sasl.serverconfig").map_or("Server", str::trim);
    match jaas_users(&text, section) {
        Some(users) => Ok(Some(Users::new(users))),
        // The file is the servers' alone.
        None if is_true(properties, "quorum.auth.enableSasl")? && properties.get("sasl.serverconfig").is_none() => {
            Ok(None)
        }
        None => Err(properties.error(KEY, &format!("the file has no section {section}")).into()),
    }
}

fn session_timeouts(properties: &Properties, tick_time_ms: u32) -> Result<(i32, i32), PropertyError> {
    let tick = i64::from(tick_time_ms);
    let bound = |key: &str, default: i64| -> Result<i32, PropertyError> {
        let value = properties.parse_or(key, -1i64, "milliseconds, or -1 for the default")?;
        let value = if value == -1 { default } else { value };
        i32::try_from(value)
            .ok()
            .filter(|value| *value > 0)
            .ok_or_else(|| properties.error(key, "expected 1 to 2147483647 milliseconds"))
    };
    let min = bound("minSessionTimeout", tick * 2)?;
    let max = bound("maxSessionTimeout", tick * 20)?;
    if min > max {
        let key = if properties.get("minSessionTimeout").is_some() { "minSessionTimeout" } else { "maxSessionTimeout" };
        return Err(properties.error(key, "minSessionTimeout must not be larger than maxSessionTimeout"));
    }
    Ok((min, max))
}

fn connection_throttle(properties: &Properties) -> Result<ThrottleSettings, PropertyError> {
    Ok(ThrottleSettings {
        tokens: properties.parse_or("connection_throttle_tokens", 0, "a number, 0 for no limit")?,
        fill_ms: properties.parse_or("connection_throttle_fill_time", 1, "a number of milliseconds")?,
        fill_count: properties.parse_or("connection_throttle_fill_count", 1, "a number")?,
    })
}

fn limit(properties: &Properties, key: &str, is_needed: bool, file: &str) -> Result<u32, ConfigError> {
    let value = properties.parse_or(key, 0u32, "a number of ticks, 1 or more")?;
    match (value, is_needed, properties.get(key)) {
        (0, true, None) => Err(ConfigError::Missing { file: file.to_owned(), problem: format!("{key} is not set") }),
        (0, true, Some(_)) => Err(properties.error(key, "expected a number of ticks, 1 or more").into()),
        _ => Ok(value),
    }
}

fn client_port(properties: &Properties, me: Option<&Server>, file: &str) -> Result<(String, Option<u16>), ConfigError> {
    let address = properties.get("clientPortAddress").map(|address| address.trim().to_owned());
    let port: Option<u16> = match properties.get("clientPort") {
        None => None,
        Some(_) => Some(properties.parse_or("clientPort", 0, "a port number from 0 to 65535")?),
    };
    if address.is_some() && port.is_none() {
        let problem = "clientPortAddress is set but clientPort is not set".to_owned();
        return Err(ConfigError::Missing { file: file.to_owned(), problem });
    }
    let Some((line_address, line_port)) = me.and_then(|me| me.client.clone()) else {
        return Ok((address.unwrap_or_else(|| "0.0.0.0".to_owned()), port));
    };
    if port.is_some_and(|port| port != line_port) || address.is_some_and(|address| address != line_address) {
        let problem = format!("differs from {line_address}:{line_port} on this server's server line");
        return Err(properties.error("clientPort", &problem).into());
    }
    Ok((line_address, Some(line_port)))
}

fn secure_client_port(properties: &Properties, file: &str) -> Result<Option<(String, u16)>, ConfigError> {
    let address = properties.get("secureClientPortAddress").map(str::trim);
    if properties.get("secureClientPort").is_none() {
        return match address {
            None => Ok(None),
            Some(_) => {
                let problem = "secureClientPortAddress is set but secureClientPort is not set".to_owned();
                Err(ConfigError::Missing { file: file.to_owned(), problem })
            }
        };
    }
    let port = properties.parse_or("secureClientPort", 0, "a port number from 0 to 65535")?;
    Ok(Some((address.unwrap_or("0.0.0.0").to_owned(), port)))
}

fn words(properties: &Properties) -> BTreeSet<String> {
    match properties.get("4lw.commands.whitelist") {
        None => DEFAULT_WORDS.iter().map(|word| (*word).to_owned()).collect(),
        Some(list) => list.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect(),
    }
}

fn servers(
    properties: &Properties,
    standalone_enabled: bool,
    warnings: &mut Vec<String>,
) -> Result<BTreeMap<u64, Server>, PropertyError> {
    let mut servers = BTreeMap::new();
    for (key, entry) in properties.iter() {
        let Some(id) = key.strip_prefix("server.") else { continue };
        let id: u64 = id
            .trim()
            .parse()
            .ok()
            .filter(|id| (1..=255).contains(id))
            .ok_or_else(|| properties.error(key, "the N of server.N must be a number from 1 to 255"))?;
        let server = parse_server(id, entry.value.trim()).map_err(|problem| properties.error(key, &problem))?;
        servers.insert(id, server);
    }
    let voters = servers.values().filter(|server| !server.is_observer).count();
    match (voters, servers.len()) {
        (_, 0) => {}
        (0, _) => {
            let key = format!("server.{}", servers.keys().next().expect("not empty"));
            return Err(properties.error(&key, "observers without participants make no ensemble"));
        }
        (1, _) if !standalone_enabled => {}
        (1, 1) => warnings.push("only one server is specified: it runs alone".to_owned()),
        (1, _) => {
            let observer = servers.values().find(|server| server.is_observer).expect("more servers than voters");
            return Err(properties.error(&format!("server.{}", observer.id), "observers need a quorum to observe"));
        }
        (2, _) => warnings.push("no server failure will be tolerated: at least 3 servers are needed".to_owned()),
        (voters, _) if voters % 2 == 0 => {
            warnings.push("an even number of servers tolerates no more failures than one less".to_owned());
        }
        _ => {}
    }
    Ok(servers)
}

/// Reads what stands behind `server.N=`.
///
/// # Errors
/// What is wrong with it, for whoever wrote it.
pub fn parse_server(id: u64, text: &str) -> Result<Server, String> {
    const FORM: &str = "expected host:port:port[:participant|observer][;[address:]client-port]";
    let (server, client) = match text.split_once(';') {
        Some((server, client)) => (server, Some(client)),
        None => (text, None),
    };
    if server.contains('|') {
        return Err("several addresses of one server are not supported".to_owned());
    }
    let (host, rest) = split_host(server).ok_or(FORM)?;
    let mut parts = rest.split(':');
    let mut port = |what: &str| -> Result<u16, String> {
        let text = parts.next().ok_or(FORM)?;
        text.trim().parse().map_err(|_| format!("{what} {text:?} is not a number from 0 to 65535; {FORM}"))
    };
    let peer_port = port("port")?;
    let election_port = port("election port")?;
    let is_observer = match parts.next().map(|role| role.trim().to_lowercase()).as_deref() {
        None | Some("participant") => false,
        Some("observer") => true,
        Some(role) => return Err(format!("unknown role {role:?}; expected participant or observer")),
    };
    if parts.next().is_some() {
        return Err(FORM.to_owned());
    }
    if peer_port == election_port {
        return Err("the two ports must differ".to_owned());
    }
    let client = match client {
        None => None,
        Some(client) => {
            let (address, port) = match split_host(client) {
                Some((address, port)) => (address, port),
                None => ("0.0.0.0", client),
            };
            let port = port.trim().parse().map_err(|_| format!("client port {port:?} is not a number; {FORM}"))?;
            Some((address.trim().to_owned(), port))
        }
    };
    Ok(Server { id, host: host.trim().to_owned(), peer_port, election_port, is_observer, client })
}

/// Host and what follows its colon; an IPv6 host stands in brackets.
fn split_host(text: &str) -> Option<(&str, &str)> {
    if let Some(rest) = text.trim_start().strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return Some((host, rest.strip_prefix(':')?));
    }
    text.split_once(':').filter(|(host, _)| !host.trim().is_empty())
}

fn my_id(data_dir: &Path, servers: &BTreeMap<u64, Server>, file: &str, read: ReadFile<'_>) -> Result<u64, ConfigError> {
    let path = data_dir.join("myid");
    let missing = |problem: String| ConfigError::Missing { file: file.to_owned(), problem };
    let text = match read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && servers.len() <= 1 => {
            return Ok(servers.keys().next().copied().unwrap_or(1));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(missing(format!("myid file is missing: {} must hold this server's number", path.display())));
        }
        Err(error) => return Err(ConfigError::Unreadable { path, error }),
    };
    let line = text.lines().next().unwrap_or("").trim();
    let id: u64 = line.parse().map_err(|_| missing(format!("serverid {line} is not a number ({})", path.display())))?;
    if !servers.is_empty() && !servers.contains_key(&id) {
        return Err(missing(format!("no line server.{id}, which {} says this server is", path.display())));
    }
    if !(1..=255).contains(&id) {
        return Err(missing(format!("serverid {id} is not from 1 to 255 ({})", path.display())));
    }
    Ok(id)
}

/// Keys that are read somewhere in the coordinator.
const KNOWN: &[&str] = &[
    "dataDir",
    "dataLogDir",
    "clientPort",
    "clientPortAddress",
    "clientPortListenBacklog",
    "tickTime",
    "initLimit",
    "syncLimit",
    "maxClientCnxns",
    "minSessionTimeout",
    "maxSessionTimeout",
    "jute.maxbuffer",
    "globalOutstandingLimit",
    "4lw.commands.whitelist",
    "dynamicConfigFile",
    "version",
    "quorumListenOnAllIPs",
    "linearizableReads",
    "localSessionsEnabled",
    "localSessionsUpgradingEnabled",
    "history.bytes",
    "history.count",
    "requests.count",
    "requests.slowMs",
    "readonlymode.enabled",
    "reconfigEnabled",
    "standaloneEnabled",
    "peerType",
    "db.autocreate",
    "extendedTypesEnabled",
    "skipACL",
    "enforceQuota",
    "DigestAuthenticationProvider.superDigest",
    "DigestAuthenticationProvider.digestAlg",
    "znode.container.checkIntervalMs",
    "znode.container.maxNeverUsedIntervalMs",
    "allowSaslFailedClients",
    "client.certReload",
    "client.portUnification",
    "fips-mode",
    "portUnification",
    "sslQuorum",
    "sslQuorumReloadCertFiles",
    "maxCnxns",
    "sequentialNodes64Bit",
    "connection_throttle_tokens",
    "connection_throttle_fill_time",
    "connection_throttle_fill_count",
    "secureClientPort",
    "secureClientPortAddress",
    // Names the class of ZooKeeper's that serves TLS; ours needs none.
    "serverCnxnFactory",
    "X509AuthenticationProvider.superUser",
    "audit.enable",
    "java.security.auth.login.config",
    "quorum.auth.enableSasl",
    "quorum.auth.learner.saslLoginContext",
    "quorum.auth.learnerRequireSasl",
    "quorum.auth.server.saslLoginContext",
    "quorum.auth.serverRequireSasl",
    "sasl.serverconfig",
    "superUser",
    "admin.enableServer",
    "admin.restore.enabled",
    "admin.snapshot.enabled",
    "admin.rateLimiterIntervalInMS",
    "admin.serverAddress",
    "admin.serverPort",
    "admin.commandURL",
];

/// Numbers that are read where they are used.
fn check_numbers(properties: &Properties) -> Result<(), PropertyError> {
    for key in
        ["znode.container.checkIntervalMs", "znode.container.maxNeverUsedIntervalMs", "admin.rateLimiterIntervalInMS"]
    {
        let _: u64 = properties.parse_or(key, 0, "milliseconds as a decimal number")?;
    }
    Ok(())
}

/// What is read behind `ssl.` and `ssl.quorum.`.
const TLS_KEYS: &[&str] = &[
    "keyStore.location",
    "keyStore.type",
    "trustStore.location",
    "trustStore.type",
    "ciphersuites",
    "enabledProtocols",
    "protocol",
    "clientAuth",
    "hostnameVerification",
];

/// Checks that are not made here, with what to do instead: who asks for one must not believe that it is made.
const TLS_REFUSED: &[(&str, &str)] = &[
    ("crl", "revocation lists are not read; take who must not come in out of the trust store, and set this to false"),
    ("ocsp", "no one is asked whether certificates are revoked; give out short-lived ones, and set this to false"),
    (
        "clientHostnameVerification",
        "the names of who connects are not looked up; let only those be trusted who may connect, and set this to false",
    ),
];

/// Settings of TLS that are not read are told, those that would have to be obeyed are refused.
fn check_tls(properties: &Properties, warnings: &mut Vec<String>) -> Result<(), PropertyError> {
    for (key, entry) in properties.iter() {
        let Some(name) = key.strip_prefix("ssl.").map(|name| name.strip_prefix("quorum.").unwrap_or(name)) else {
            continue;
        };
        if let Some((_, advice)) = TLS_REFUSED.iter().find(|(refused, _)| *refused == name) {
            if is_true(properties, key)? {
                return Err(properties.error(key, advice));
            }
        } else if name.ends_with("assword") || name.ends_with("asswordPath") {
            warnings.push(format!("{}: {key} is ignored: the keys in PEM files must not be encrypted", entry.place));
        } else if !TLS_KEYS.contains(&name) {
            warnings.push(format!("{}: {key} is ignored: it is not among what is read of TLS", entry.place));
        }
    }
    Ok(())
}

fn warn_unknown(properties: &Properties, warnings: &mut Vec<String>) {
    for (key, entry) in properties.iter() {
        let is_known = KNOWN.contains(&key)
            || WITHOUT_EFFECT.contains(&key)
            || key.starts_with("server.")
            || key.starts_with("metricsProvider.")
            || key.starts_with("authProvider.")
            // Looked at by `check_tls`.
            || key.starts_with("ssl.");
        if key.starts_with("group") || key.starts_with("weight") {
            warnings.push(format!("{}: {key} is ignored: every participant has one vote", entry.place));
        } else if !is_known {
            let meant = common::nearest(key, KNOWN.iter().copied());
            let meant = meant.map_or_else(String::new, |meant| format!("; is {meant} meant?"));
            warnings.push(format!("{}: unknown key {key} is ignored{meant}", entry.place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, my_id: Option<&str>) -> Result<(Config, Vec<String>), String> {
        let read = |path: &Path| {
            match path.to_str() {
            Some("zoo.cfg") => Ok(text.to_owned()),
            Some("/d/myid") => my_id.map(str::to_owned).ok_or_else(|| io::ErrorKind::NotFound.into()),
            Some("/d/jaas") => Ok("Server { org.Any required user_a=\"b\"; };\nQuorumServer { org.apache.zookeeper.server.auth.DigestLoginModule required\nuser_q=\"s\"; };\n\
                 QuorumLearner { org.apache.zookeeper.server.auth.DigestLoginModule required username=\"q\" password=\"s\"; };\n\
                 Kerberos { com.sun.security.auth.module.Krb5LoginModule required useKeyTab=\"true\"; };"
                .to_owned()),
            Some("/d/dynamic") => Ok("server.1=a:1:2;3\nserver.2=b:1:2;4\nserver.3=c:1:2;5".to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
        };
        Config::load(Path::new("zoo.cfg"), &read).map_err(|error| error.to_string())
    }

    fn check_error(text: &str, my_id: Option<&str>, expected: &str) {
        assert_eq!(load(text, my_id).map(|(_, warnings)| warnings), Err(expected.to_owned()), "{text}");
    }

    #[test]
    fn servers_prove_who_they_are_as_zookeepers_settings_say() {
        let check = |lines: &str, want: Result<(Option<&str>, bool, Option<&str>), &str>| {
            let text = format!("dataDir=/d\nclientPort=1\njava.security.auth.login.config=/d/jaas\n{lines}");
            let got = load(&text, None).map(|(config, _)| config.quorum_sasl);
            match (got, want) {
                (Ok(got), Ok((users, is_required, own))) => {
                    let names = got.users.map(|users| users.keys().cloned().collect::<Vec<_>>().join(" "));
                    assert_eq!(names.as_deref(), users, "{lines}");
                    assert_eq!(got.is_required, is_required, "{lines}");
                    assert_eq!(got.own.map(|(name, _)| name).as_deref(), own, "{lines}");
                }
                (Err(error), Err(want)) => assert!(error.contains(want), "{error} should contain {want}"),
                (got, want) => panic!("{lines}: {got:?} is not {want:?}"),
            }
        };
        let (on, dials, required) = (
            "quorum.auth.enableSasl=true\n",
            "quorum.auth.learnerRequireSasl=true\n",
            "quorum.auth.serverRequireSasl=true\n",
        );
        check("", Ok((None, false, None)));
        check(on, Ok((Some("q"), false, None)));
        check(&format!("{on}{dials}"), Ok((Some("q"), false, Some("q"))));
        check(&format!("{on}{dials}{required}"), Ok((Some("q"), true, Some("q"))));
        check(dials, Err("it needs quorum.auth.enableSasl=true"));
        check(&format!("{on}{required}"), Err("it needs quorum.auth.learnerRequireSasl=true"));
        check(&format!("{on}quorum.auth.server.saslLoginContext=Other\n"), Err("no context Other"));
        check(&format!("{on}quorum.auth.server.saslLoginContext=Kerberos\n"), Err("DigestLoginModule is"));
    }

    #[test]
    fn the_sample_file_means_what_it_means_to_zookeeper() {
        let sample = "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=/d\nclientPort=2181\n#maxClientCnxns=60\n";
        let (config, warnings) = load(sample, None).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!((config.client_address.as_str(), config.client_port), ("0.0.0.0", Some(2181)));
        assert_eq!((config.min_session_timeout_ms, config.max_session_timeout_ms), (4000, 40000));
        assert_eq!((config.my_id, config.max_client_connections), (1, 60));
        assert_eq!(config.max_buffer_bytes, 1_048_575);
        assert!(config.is_standalone());
    }

    #[test]
    fn server_lines_in_all_their_forms() {
        let text = "dataDir=/d\ninitLimit=5\nsyncLimit=2\nclientPort=2181\nserver.1=a:2888:3888\n\
                    server.2=[::1]:2888:3888:participant;2182\nserver.3=c:2888:3888:observer;[::]:2183\nserver.4=d:1:2";
        let (config, _) = load(text, Some("1\n")).unwrap();
        let lines: Vec<String> = config.servers.values().map(Server::line).collect();
        assert_eq!(
            lines,
            [
                "a:2888:3888:participant",
                "[::1]:2888:3888:participant;0.0.0.0:2182",
                "c:2888:3888:observer;[::]:2183",
                "d:1:2:participant"
            ]
        );
        let (config, _) =
            load("dataDir=/d\ninitLimit=5\nsyncLimit=2\ndynamicConfigFile=/d/dynamic", Some("2")).unwrap();
        assert_eq!((config.my_id, config.client_port), (2, Some(4)));
    }

    #[test]
    fn an_error_names_file_line_and_key() {
        check_error("clientPort=1", None, "zoo.cfg: dataDir is not set");
        check_error("dataDir=/d\n\ntickTime=x", None, "zoo.cfg:3: tickTime=x: expected milliseconds, 1 or more");
        check_error(
            "dataDir=/d\nserver.1=a",
            Some("1"),
            "zoo.cfg:2: server.1=a: expected host:port:port[:participant|observer][;[address:]client-port]",
        );
        check_error(
            "dataDir=/d\nserver.x=a:1:2",
            None,
            "zoo.cfg:2: server.x=a:1:2: the N of server.N must be a number from 1 to 255",
        );
        check_error("dataDir=/d\nserver.1=a:1:1", None, "zoo.cfg:2: server.1=a:1:1: the two ports must differ");
        let three = "dataDir=/d\ninitLimit=1\nsyncLimit=1\nserver.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2";
        check_error(three, None, "zoo.cfg: myid file is missing: /d/myid must hold this server's number");
        check_error(three, Some("x"), "zoo.cfg: serverid x is not a number (/d/myid)");
        check_error(three, Some("9"), "zoo.cfg: no line server.9, which /d/myid says this server is");
        check_error(
            "dataDir=/d\nminSessionTimeout=9\nmaxSessionTimeout=8",
            None,
            "zoo.cfg:2: minSessionTimeout=9: minSessionTimeout must not be larger than maxSessionTimeout",
        );
        check_error(
            "dataDir=/d\nclientPortAddress=::1",
            None,
            "zoo.cfg: clientPortAddress is set but clientPort is not set",
        );
        check_error(
            "dataDir=/d\nsecureClientPortAddress=::1",
            None,
            "zoo.cfg: secureClientPortAddress is set but secureClientPort is not set",
        );
    }

    #[test]
    fn what_is_not_read_of_tls_is_told_and_what_would_have_to_be_obeyed_is_refused() {
        let tls = "dataDir=/d\nssl.keyStore.location=/s.pem\nssl.quorum.clientAuth=want\nssl.crl=false\n";
        let (_, warnings) =
            load(&format!("{tls}ssl.keyStore.password=x\nssl.quorum.authProvider=y\nssl.truststore.location=z"), None)
                .unwrap();
        assert_eq!(
            warnings,
            [
                "zoo.cfg:5: ssl.keyStore.password is ignored: the keys in PEM files must not be encrypted",
                "zoo.cfg:6: ssl.quorum.authProvider is ignored: it is not among what is read of TLS",
                "zoo.cfg:7: ssl.truststore.location is ignored: it is not among what is read of TLS",
            ]
        );
        for prefix in ["ssl", "ssl.quorum"] {
            for (name, advice) in TLS_REFUSED {
                let text = format!("dataDir=/d\n{prefix}.{name}=true");
                check_error(&text, None, &format!("zoo.cfg:2: {prefix}.{name}=true: {advice}"));
            }
        }
        check_error("dataDir=/d\nssl.crl=yes", None, "zoo.cfg:2: ssl.crl=yes: expected true or false");
    }

    #[test]
    fn an_unknown_key_is_a_warning() {
        let (_, warnings) = load("dataDir=/d\nclientport=2181\nweight.1=2\nautopurge.purgeInterval=1", None).unwrap();
        assert_eq!(
            warnings,
            [
                "zoo.cfg:2: unknown key clientport is ignored; is clientPort meant?",
                "zoo.cfg:3: weight.1 is ignored: every participant has one vote"
            ]
        );
    }
}
