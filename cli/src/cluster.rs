//! A cluster as its administrators see it: finds the broker that can answer (any, the controller, a group's coordinator,
//! a given one), waits for it as patiently as Kafka's admin client, and asks again when leadership has moved.

use crate::client::{Connection, NotABroker, check};
use crate::client_settings::{ConfigError, warn};
use crate::clock;
use crate::security::Security;
use crate::zookeeper;
use anyhow::Context as _;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{FindCoordinatorRequest, MetadataRequest, MetadataResponseBroker, Request};
use common::properties::Properties;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::ToSocketAddrs as _;
use std::time::{Duration, Instant};

/// The first pause between attempts; it doubles up to [`BACKOFF_MAX`].
const BACKOFF: Duration = Duration::from_millis(50);
/// The longest pause between attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Who is to answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    /// Any broker.
    Any,
    /// The controller.
    Controller,
    /// The broker with this id.
    Node(i32),
    /// The coordinator of this group.
    Group(&'a str),
}

/// Nobody could be asked in time.
#[derive(Debug, thiserror::Error)]
#[error("Timed out waiting for a node assignment. Call: {0}")]
pub(crate) struct TimedOut(String);

/// A broker did not answer who looks only once: its port refuses connections, or nothing comes in time.
#[derive(Debug, thiserror::Error)]
#[error("broker {broker} does not answer: {why}")]
pub(crate) struct Silent {
    broker: i32,
    why: String,
}

/// Why a look goes on without what a broker alone knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// It answers, and gives an error; one that does not is not asked again.
    pub(crate) answers: bool,
    pub(crate) why: String,
}

/// None of the named brokers answers who looks only once.
#[derive(Debug, thiserror::Error)]
#[error("none of {servers} answers ({why})")]
pub(crate) struct AllSilent {
    servers: String,
    why: String,
}

/// The bootstrap servers cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("Failed to create new KafkaAdminClient\nCaused by: {0}")]
pub(crate) struct NoServers(pub(crate) ConfigError);

/// The servers of a bootstrap list that have an address; those that have none are told. An error if none has.
pub(crate) fn resolvable(servers: &str) -> Result<Vec<String>, ConfigError> {
    let mut found = Vec::new();
    for server in servers.split(',').map(str::trim).filter(|server| !server.is_empty()) {
        if !is_host_and_port(server) {
            return Err(ConfigError(format!("Invalid url in bootstrap.servers: {server}")));
        }
        match server.to_socket_addrs().map(|mut addresses| addresses.next()) {
            Ok(Some(_)) => found.push(server.to_owned()),
            _ => {
                let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
                warn(&format!(
                    "Couldn't resolve server {server} from bootstrap.servers as DNS resolution failed for {host}"
                ));
            }
        }
    }
    if found.is_empty() {
        return Err(ConfigError("No resolvable bootstrap urls given in bootstrap.servers".to_owned()));
    }
    Ok(found)
}

/// Connections to the brokers of a cluster, opened when needed.
pub(crate) struct Cluster {
    servers: Vec<String>,
    security: Security,
    /// What the connections call themselves, if not as all tools.
    client_id: Option<String>,
    /// For one attempt to connect or to get an answer.
    request_timeout: Duration,
    /// For a call with all its attempts.
    call_timeout: Duration,
    bootstrap: Option<Connection>,
    nodes: BTreeMap<i32, Connection>,
    brokers: BTreeMap<i32, MetadataResponseBroker>,
    controller_id: i32,
    coordinators: BTreeMap<String, i32>,
    /// Brokers of which something is not known; `None`: they are asked again until the time of the call is over.
    left_out: Option<BTreeMap<i32, LeftOut>>,
}

impl Cluster {
    /// Reads the settings; connects to nobody yet.
    pub(crate) fn new(servers: &str, settings: &BTreeMap<String, String>) -> anyhow::Result<Cluster> {
        Ok(Cluster {
            servers: resolvable(servers).map_err(NoServers)?,
            security: Security::of(settings)?,
            client_id: None,
            request_timeout: milliseconds(settings, "request.timeout.ms", 30_000)?,
            call_timeout: milliseconds(settings, "default.api.timeout.ms", 60_000)?,
            bootstrap: None,
            nodes: BTreeMap::new(),
            brokers: BTreeMap::new(),
            controller_id: -1,
            coordinators: BTreeMap::new(),
            left_out: None,
        })
    }

    /// For a look at what there is: says nothing of connections that fail, and asks a broker that does not answer within
    /// `patience` no more. What it alone knows is left out by who looks; [`Cluster::left_out`] tells whom.
    pub(crate) fn look_once(&mut self, patience: Duration) {
        self.request_timeout = self.request_timeout.min(patience);
        self.call_timeout = patience * 2;
        self.left_out = Some(BTreeMap::new());
    }

    /// The brokers that did not tell what they know who looks only once, and why.
    pub(crate) fn left_out(&self) -> BTreeMap<i32, LeftOut> {
        self.left_out.clone().unwrap_or_default()
    }

    /// Does a look go on without this broker, which did not tell what it was asked?
    pub(crate) fn leaves_out(&mut self, broker: i32, error: &anyhow::Error) -> bool {
        if let Some(left_out) = &mut self.left_out {
            // One that does not answer at all was noted when it was asked.
            left_out.entry(broker).or_insert_with(|| LeftOut { answers: true, why: format!("{error:#}") });
        }
        self.looks_once()
    }

    /// Does it ask only once?
    pub(crate) fn looks_once(&self) -> bool {
        self.left_out.is_some()
    }

    /// The settings of its connections.
    pub(crate) fn security(&self) -> &Security {
        &self.security
    }

    /// A cluster by the endpoints that its brokers registered in ZooKeeper: `--zookeeper`, as before Kafka 3.0.
    pub(crate) fn by_zookeeper(connect: &str, settings: &BTreeMap<String, String>) -> anyhow::Result<Cluster> {
        Cluster::new(&zookeeper::registered_brokers(connect)?, settings)
    }

    /// Gives each call so long, as `--timeout` says.
    pub(crate) fn set_call_timeout(&mut self, timeout: Duration) {
        self.call_timeout = timeout;
    }

    /// Calls itself so.
    pub(crate) fn set_client_id(&mut self, client_id: &str) {
        self.client_id = Some(client_id.to_owned());
    }

    /// The time that a request may take on the server, milliseconds.
    pub(crate) fn timeout_ms(&self) -> i32 {
        i32::try_from(self.request_timeout.as_millis()).unwrap_or(i32::MAX)
    }

    /// Asks and gives the answer that is not merely "not I" or "not yet".
    ///
    /// `request` makes the request for a version; `code` finds the error of a response that says whether to ask again.
    pub(crate) fn call<R: Request>(
        &mut self,
        target: Target,
        request: impl Fn(i16) -> R,
        code: impl Fn(&R::Response) -> i16,
    ) -> anyhow::Result<R::Response> {
        let deadline = Instant::now() + self.call_timeout;
        let mut pause = BACKOFF;
        loop {
            let late = Instant::now() + pause >= deadline;
            match self.attempt(target, &request) {
                Ok(response) => match ErrorCode::from_code(code(&response)) {
                    Some(problem) if !late && moved(problem) => self.forget(),
                    _ => return Ok(response),
                },
                Err(error) if is_lasting(&error) => return Err(error),
                Err(_) if late => return Err(TimedOut(call_name(R::NAME)).into()),
                Err(_) => self.forget(),
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(BACKOFF_MAX);
        }
    }

    fn attempt<R: Request>(&mut self, target: Target, request: &impl Fn(i16) -> R) -> anyhow::Result<R::Response> {
        let connection = self.connection(target)?;
        let version = connection.version::<R>()?.min(newest(R::KEY));
        let answer = connection.exchange(&request(version), version);
        match (answer, self.node_of(target)) {
            (Err(error), Some(id)) if self.looks_once() => Err(self.is_silent(id, error)),
            (answer, _) => answer,
        }
    }

    /// The broker that a target is, if it is a certain one.
    fn node_of(&self, target: Target) -> Option<i32> {
        match target {
            Target::Any => None,
            Target::Node(id) => Some(id),
            Target::Controller => Some(self.controller_id).filter(|id| *id >= 0),
            Target::Group(group) => self.coordinators.get(group).copied(),
        }
    }

    /// It is not asked again if only one look was wanted.
    fn is_silent(&mut self, id: i32, error: anyhow::Error) -> anyhow::Error {
        let Some(left_out) = self.left_out.as_mut().filter(|_| !is_lasting(&error)) else { return error };
        let late = |cause: &std::io::Error| matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        let why = match error.chain().filter_map(|cause| cause.downcast_ref()).any(late) {
            true => format!("no answer within {} s", self.request_timeout.as_secs()),
            false => format!("{error:#}"),
        };
        left_out.insert(id, LeftOut { answers: false, why: why.clone() });
        Silent { broker: id, why }.into()
    }

    /// Does it speak this version of an API?
    pub(crate) fn speaks<R: Request>(&mut self, target: Target, version: i16) -> anyhow::Result<bool> {
        Ok(self.connection(target)?.version::<R>()? >= version)
    }

    /// The ids of the live brokers.
    pub(crate) fn broker_ids(&mut self) -> anyhow::Result<Vec<i32>> {
        if self.brokers.is_empty() {
            self.call(Target::Any, |_| no_topics(), |_| 0).map(|response| self.learn(response))?;
        }
        Ok(self.brokers.keys().copied().collect())
    }

    /// A live broker, if it is known.
    pub(crate) fn broker(&self, id: i32) -> Option<MetadataResponseBroker> {
        self.brokers.get(&id).cloned()
    }

    /// The coordinator of a group: its id, host and port.
    pub(crate) fn coordinator(&mut self, group: &str) -> anyhow::Result<(i32, String, i32)> {
        let response = self.call(
            Target::Any,
            |version| FindCoordinatorRequest {
                key: if version < 4 { group.to_owned() } else { String::new() },
                key_type: 0,
                coordinator_keys: if version < 4 { Vec::new() } else { vec![group.to_owned()] },
            },
            |response| response.coordinators.first().map_or(response.error_code, |found| found.error_code),
        )?;
        match response.coordinators.first() {
            Some(found) => {
                check(found.error_code, found.error_message.as_deref())?;
                Ok((found.node_id, found.host.clone(), found.port))
            }
            None => {
                check(response.error_code, response.error_message.as_deref())?;
                Ok((response.node_id, response.host, response.port))
            }
        }
    }

    fn connection(&mut self, target: Target) -> anyhow::Result<&mut Connection> {
        let id = match target {
            Target::Any => return self.any(),
            Target::Node(id) => id,
            Target::Controller => {
                if self.controller_id < 0 {
                    self.refresh()?;
                }
                self.controller_id
            }
            Target::Group(group) => match self.coordinators.get(group) {
                Some(id) => *id,
                None => {
                    let (id, _, _) = self.coordinator(group)?;
                    self.coordinators.insert(group.to_owned(), id);
                    id
                }
            },
        };
        if let Some(left) = self.left_out.as_ref().and_then(|left| left.get(&id)).filter(|left| !left.answers) {
            return Err(Silent { broker: id, why: left.why.clone() }.into());
        }
        if !self.nodes.contains_key(&id) {
            if !self.brokers.contains_key(&id) {
                self.refresh()?;
            }
            let broker = self.brokers.get(&id).with_context(|| format!("broker {id} is not available"))?;
            let address = address(&broker.host, broker.port);
            let connection = self.open(&address, id).map_err(|error| self.is_silent(id, error))?;
            self.nodes.insert(id, connection);
        }
        Ok(self.nodes.get_mut(&id).expect("inserted above if it was not there"))
    }

    fn any(&mut self) -> anyhow::Result<&mut Connection> {
        if self.bootstrap.is_none() {
            let mut last = None;
            for (index, server) in self.servers.clone().iter().enumerate() {
                match self.open(server, -1 - i32::try_from(index).unwrap_or(0)) {
                    Ok(connection) => {
                        self.bootstrap = Some(connection);
                        break;
                    }
                    Err(error) => last = Some(error),
                }
            }
            if let (None, Some(error)) = (&self.bootstrap, last) {
                if self.looks_once() && !is_lasting(&error) {
                    return Err(AllSilent { servers: self.servers.join(", "), why: format!("{error:#}") }.into());
                }
                return Err(error);
            }
        }
        Ok(self.bootstrap.as_mut().expect("there is at least one server, and it was opened"))
    }

    fn open(&self, server: &str, id: i32) -> anyhow::Result<Connection> {
        let connection = Connection::open_as(server, self.request_timeout, &self.security);
        if connection.as_ref().is_err_and(|error| error.downcast_ref::<NotABroker>().is_some()) {
            return connection;
        }
        if !self.looks_once() && connection.as_ref().is_err_and(|error| !is_lasting(error)) {
            eprintln!(
                "[{}] WARN [AdminClient clientId=adminclient-1] Connection to node {id} ({server}) could not be \
                 established. Node may not be available.",
                clock::log_time()
            );
        }
        Ok(match &self.client_id {
            Some(client_id) => connection?.named(client_id),
            None => connection?,
        })
    }

    fn refresh(&mut self) -> anyhow::Result<()> {
        let response = self.any()?.call(&no_topics())?;
        self.learn(response);
        Ok(())
    }

    /// These are the brokers now.
    pub(crate) fn learn(&mut self, metadata: common::kafka::messages::MetadataResponse) {
        self.brokers = metadata.brokers.into_iter().map(|broker| (broker.node_id, broker)).collect();
        self.controller_id = metadata.controller_id;
    }

    /// Everything known may be out of date.
    fn forget(&mut self) {
        self.bootstrap = None;
        self.nodes.clear();
        self.brokers.clear();
        self.coordinators.clear();
        self.controller_id = -1;
    }
}

/// What Java's admin client calls its call of an API.
fn call_name(api: &str) -> String {
    match api {
        "Metadata" => "listTopics".to_owned(),
        api => api[..1].to_lowercase() + &api[1..],
    }
}

/// The newest version of an API that the tools use. OffsetCommit and OffsetFetch name topics by id from 10 on.
fn newest(key: i16) -> i16 {
    if matches!(key, 8 | 9) { 9 } else { i16::MAX }
}

fn no_topics() -> MetadataRequest {
    MetadataRequest { topics: Some(Vec::new()), allow_auto_topic_creation: false, ..MetadataRequest::default() }
}

/// Is the answer elsewhere, or soon?
fn moved(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotController
            | ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::LeaderNotAvailable
    )
}

/// Would another attempt end the same?
pub(crate) fn is_lasting(error: &anyhow::Error) -> bool {
    crate::client::code_of(error).is_some_and(|code| !code.is_retriable())
        || error.downcast_ref::<crate::client::Unsupported>().is_some()
        || error.downcast_ref::<TimedOut>().is_some()
        || error.downcast_ref::<Silent>().is_some()
        || error.downcast_ref::<AllSilent>().is_some()
        || error.downcast_ref::<NotABroker>().is_some()
}

/// `host:port`, with brackets around an IPv6 address.
pub(crate) fn address(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn is_host_and_port(server: &str) -> bool {
    server.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn milliseconds(settings: &BTreeMap<String, String>, key: &str, default: u64) -> anyhow::Result<Duration> {
    let value = match settings.get(key) {
        Some(value) => value
            .parse()
            .with_context(|| format!("Invalid value {value} for configuration {key}: Not a number of type INT"))?,
        None => default,
    };
    Ok(Duration::from_millis(value))
}

/// An option of a JAAS line: `...LoginModule required username="x" password="y";`.
pub(crate) fn jaas_option(jaas: &str, key: &str) -> Option<String> {
    let after = jaas.split_once(&format!("{key}="))?.1;
    match after.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').map(|(value, _)| value.to_owned()),
        None => after.split([' ', ';']).next().map(str::to_owned),
    }
}

/// The settings of a properties file.
pub(crate) fn load_settings(file: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{file} (No such file or directory)"))?;
    Ok(Properties::parse(&text, file).iter().map(|(key, entry)| (key.to_owned(), entry.value.clone())).collect())
}
