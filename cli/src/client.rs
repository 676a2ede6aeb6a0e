//! A Kafka connection for administration: one request, one response, in our own codecs. Never produces or consumes.

use crate::security::{Login, Security};
use crate::zookeeper::tls::Wire;
use anyhow::{Context as _, bail};
use bytes::Bytes;
use common::kafka::error::ErrorCode;
use common::kafka::header::{self, RequestHeader};
use common::kafka::messages::{
    ApiVersionsRequest, MetadataRequest, MetadataResponse, Request, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use common::scram::ScramClient;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A response larger than this is not from a Kafka broker.
const RESPONSE_BYTES_MAX: usize = 512 << 20;

/// What a broker answered instead of doing it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct KafkaError {
    pub(crate) code: ErrorCode,
    /// The broker's own text, or the code's.
    pub(crate) message: String,
}

impl KafkaError {
    /// As Java's tools show the exception: its class and the message.
    pub(crate) fn java_text(&self) -> String {
        format!("org.apache.kafka.common.errors.{}: {}", exception_class(self.code), self.message)
    }
}

/// The class of the exception that Java's clients throw for a code: its name in camel case, with exceptions.
fn exception_class(code: ErrorCode) -> String {
    let class = match code {
        ErrorCode::UnknownServerError => "UnknownServerException",
        ErrorCode::CorruptMessage => "CorruptRecordException",
        ErrorCode::RequestTimedOut => "TimeoutException",
        ErrorCode::MessageTooLarge => "RecordTooLargeException",
        ErrorCode::StaleControllerEpoch => "ControllerMovedException",
        ErrorCode::NetworkException => "NetworkException",
        ErrorCode::InvalidTopicException => "InvalidTopicException",
        ErrorCode::RecordListTooLarge => "RecordBatchTooLargeException",
        ErrorCode::TopicAuthorizationFailed => "TopicAuthorizationException",
        ErrorCode::GroupAuthorizationFailed => "GroupAuthorizationException",
        ErrorCode::ClusterAuthorizationFailed => "ClusterAuthorizationException",
        ErrorCode::TopicAlreadyExists => "TopicExistsException",
        ErrorCode::InvalidConfig => "InvalidConfigurationException",
        ErrorCode::KafkaStorageError => "KafkaStorageException",
        ErrorCode::SaslAuthenticationFailed => "SaslAuthenticationException",
        ErrorCode::NonEmptyGroup => "GroupNotEmptyException",
        other => return format!("{other:?}Exception"),
    };
    class.to_owned()
}

/// An error as Java's tools show the exception.
pub(crate) fn java_text(error: &anyhow::Error) -> String {
    match error.downcast_ref::<KafkaError>() {
        Some(error) => error.java_text(),
        None if error.downcast_ref::<crate::cluster::TimedOut>().is_some() => {
            format!("org.apache.kafka.common.errors.TimeoutException: {error}")
        }
        None if error.downcast_ref::<Unsupported>().is_some() => {
            format!("org.apache.kafka.common.errors.UnsupportedVersionException: {error}")
        }
        None => error.to_string(),
    }
}

/// An error if the code is one. The broker's own text goes before the code's.
pub(crate) fn check(code: i16, message: Option<&str>) -> Result<(), KafkaError> {
    if code == 0 {
        return Ok(());
    }
    let code = ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
    let message = message.unwrap_or(code.message()).to_owned();
    Err(KafkaError { code, message })
}

/// The Kafka error inside an error, if it is one.
pub(crate) fn code_of(error: &anyhow::Error) -> Option<ErrorCode> {
    error.downcast_ref::<KafkaError>().map(|error| error.code)
}

/// The broker lacks an API, or all versions of it that we speak.
#[derive(Debug, thiserror::Error)]
#[error("The node does not support {}", constant_name(.0))]
pub(crate) struct Unsupported(&'static str);

/// `UpdateFeatures` as Java's constants are named: `UPDATE_FEATURES`.
fn constant_name(api: &str) -> String {
    let mut name = String::new();
    for letter in api.chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
    }
    name
}

/// Something else listens at that port.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotABroker {
    /// A ZooKeeper, ours or Apache's.
    #[error("{0} is a ZooKeeper server, no Kafka broker; brokers usually listen at port 9092")]
    ZooKeeper(String),
    /// Nothing known.
    #[error("{0} does not answer in Kafka's protocol; is that a broker's port, and one for plain text?")]
    Unknown(String),
}

/// The answer is not Kafka's protocol.
#[derive(Debug, thiserror::Error)]
#[error("the server's answer is not Kafka's protocol")]
struct Garbage;

/// Looks why a server did not answer the first request. A broker that is just starting or ending closes connections, too.
fn who_is_there(server: &str, error: anyhow::Error) -> anyhow::Error {
    if crate::up::process::coordinator_mode(server).is_some() {
        return NotABroker::ZooKeeper(server.to_owned()).into();
    }
    match error.downcast_ref::<Garbage>() {
        Some(Garbage) => NotABroker::Unknown(server.to_owned()).into(),
        None => error,
    }
}

/// An open connection to one broker that knows what the broker serves.
pub(crate) struct Connection {
    stream: Wire,
    versions: BTreeMap<i16, (i16, i16)>,
    correlation_id: i32,
    client_id: String,
}

impl Connection {
    /// Connects to one `host:port` and asks what it serves.
    pub(crate) fn open(server: &str, timeout: Duration) -> anyhow::Result<Connection> {
        Connection::open_as(server, timeout, &Security::default())
    }

    /// Connects to one `host:port`, asks what it serves and logs in.
    pub(crate) fn open_as(server: &str, timeout: Duration, security: &Security) -> anyhow::Result<Connection> {
        let addresses =
            server.to_socket_addrs().with_context(|| format!("Invalid url in bootstrap.servers: {server}"))?;
        let mut stream = Err(anyhow::anyhow!("No resolvable bootstrap urls given in bootstrap.servers"));
        for address in addresses {
            stream = TcpStream::connect_timeout(&address, timeout).with_context(|| format!("connecting to {server}"));
            if stream.is_ok() {
                break;
            }
        }
        let stream = stream?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        let stream = Wire::new(stream, security.tls.as_ref(), server)
            .with_context(|| format!("SSL handshake failed with {server}"))?;
        let client_id = "castellan".to_owned();
        let mut connection = Connection { stream, versions: BTreeMap::new(), correlation_id: 0, client_id };
        let request = ApiVersionsRequest {
            client_software_name: "castellan".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let mut response = connection.exchange(&request, 3).map_err(|error| who_is_there(server, error))?;
        if response.error_code == 35 {
            response = connection.exchange(&ApiVersionsRequest::default(), 0)?;
        }
        connection.versions =
            response.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
        connection.log_in(&security.login)?;
        Ok(connection)
    }

    /// Calls itself so from now on.
    pub(crate) fn named(mut self, client_id: &str) -> Connection {
        client_id.clone_into(&mut self.client_id);
        self
    }

    fn log_in(&mut self, login: &Login) -> anyhow::Result<()> {
        let (name, mut scram, mut token) = match login {
            Login::None => return Ok(()),
            Login::Plain { username, password } => ("PLAIN", None, format!("\0{username}\0{password}").into_bytes()),
            Login::Scram { mechanism, username, password } => {
                let nonce = uuid::Uuid::new_v4().simple().to_string();
                let (client, first) = ScramClient::begin(*mechanism, username, password, &nonce);
                (mechanism.name(), Some(client), first)
            }
        };
        let response = self.exchange(&SaslHandshakeRequest { mechanism: name.to_owned() }, 1)?;
        if response.error_code == ErrorCode::UnsupportedSaslMechanism.code() {
            let message = format!(
                "Client SASL mechanism '{name}' not enabled in the server, enabled mechanisms are {:?}",
                response.mechanisms
            );
            return Err(
                KafkaError { code: ErrorCode::UnsupportedSaslMechanism, message: message.replace('"', "") }.into()
            );
        }
        check(response.error_code, None)?;
        loop {
            let response = self.call(&SaslAuthenticateRequest { auth_bytes: Bytes::from(token) })?;
            check(response.error_code, response.error_message.as_deref())?;
            let Some(scram) = &mut scram else { return Ok(()) };
            match scram.step(&response.auth_bytes)? {
                Some(next) => token = next,
                None => return Ok(()),
            }
        }
    }

    /// What is underneath, logged in.
    pub(crate) fn into_wire(self) -> Wire {
        self.stream
    }

    /// The newest version of a request that both sides speak.
    pub(crate) fn version<R: Request>(&self) -> anyhow::Result<i16> {
        let (min, max) = self.versions.get(&R::KEY).copied().ok_or(Unsupported(R::NAME))?;
        let version = max.min(*R::VERSIONS.end());
        if version < min || version < *R::VERSIONS.start() {
            return Err(Unsupported(R::NAME).into());
        }
        Ok(version)
    }

    /// Sends a request in the newest common version and waits for the response.
    pub(crate) fn call<R: Request>(&mut self, request: &R) -> anyhow::Result<R::Response> {
        let version = self.version::<R>()?;
        self.exchange(request, version)
    }

    /// Sends a request in a given version and waits for the response.
    pub(crate) fn exchange<R: Request>(&mut self, request: &R, version: i16) -> anyhow::Result<R::Response> {
        self.correlation_id += 1;
        let header = RequestHeader {
            api_key: R::KEY,
            api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some(self.client_id.clone()),
        };
        self.stream.write_all(&header::encode_request(&header, request)?).context("sending a request")?;
        let mut prefix = [0; 4];
        self.stream.read_exact(&mut prefix).context("waiting for a response")?;
        let len = usize::try_from(i32::from_be_bytes(prefix)).ok().filter(|len| *len <= RESPONSE_BYTES_MAX);
        let len = len.ok_or(Garbage)?;
        let mut frame = Vec::new();
        (&mut self.stream).take(len as u64).read_to_end(&mut frame).context("reading a response")?;
        if frame.len() < len {
            bail!("the server closed the connection");
        }
        let (_, response) = header::decode_response::<R>(Bytes::from(frame), version).context(Garbage)?;
        Ok(response)
    }

    /// Brokers, controller and the named topics (`None`: all).
    pub(crate) fn metadata(&mut self, topics: Option<Vec<String>>) -> anyhow::Result<MetadataResponse> {
        let topics = topics.map(|names| {
            names
                .into_iter()
                .map(|name| common::kafka::messages::MetadataRequestTopic { name: Some(name), ..Default::default() })
                .collect()
        });
        self.call(&MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() })
    }
}
