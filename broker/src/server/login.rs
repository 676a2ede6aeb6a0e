//! SASL of the broker's connections: the settings of each listener, with the file that Java's login configuration may be in,
//! and this broker's own logins with others. What is said, `access/` decides.

use super::Shared;
use super::socket::next_frame;
use super::tls::Transport;
use crate::access::mechanisms::{JaasFile, Mechanism, PeerLogin, SaslSettings};
use crate::config::BrokerConfig;
use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use common::kafka::error::ErrorCode;
use common::kafka::header::{self, RequestHeader};
use common::kafka::messages::{Request, SaslAuthenticateRequest, SaslHandshakeRequest};
use common::scram::ScramClient;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How Java is told where its login configuration is.
const FILE_OPTION: &str = "-Djava.security.auth.login.config=";

/// An answer to a login is short.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// SASL of the listeners, by name.
#[derive(Debug, Default)]
pub(super) struct Logins {
    clients: BTreeMap<String, Arc<SaslSettings>>,
    peers: BTreeMap<String, PeerLogin>,
}

impl Logins {
    /// Reads the settings of all listeners with SASL.
    ///
    /// # Errors
    /// If those of one cannot be used.
    pub(super) fn read(config: &BrokerConfig) -> anyhow::Result<Logins> {
        let mut logins = Logins::default();
        let listeners: Vec<_> = config.listeners.iter().filter(|listener| listener.protocol.uses_sasl()).collect();
        if listeners.is_empty() {
            return Ok(logins);
        }
        let file = jaas_file()?;
        for listener in listeners {
            let name = &listener.name;
            let settings = SaslSettings::of(config, name, &file).map_err(anyhow::Error::msg)?;
            logins.clients.insert(name.clone(), Arc::new(settings));
            if [&*config.inter_broker_listener_name, config.control_listener_name()].contains(&name.as_str()) {
                let login = PeerLogin::of(config, name, &file).map_err(anyhow::Error::msg)?;
                logins.peers.insert(name.clone(), login);
            }
        }
        Ok(logins)
    }

    /// What clients of a listener must do; `None` where there is no SASL.
    pub(super) fn of_clients(&self, listener: &str) -> Option<Arc<SaslSettings>> {
        self.clients.get(listener).cloned()
    }

    /// Logs in with another broker, where the listener wants it.
    pub(super) async fn log_in(&self, shared: &Shared, listener: &str, stream: &mut Transport) -> io::Result<()> {
        let Some(login) = self.peers.get(listener) else { return Ok(()) };
        let mechanism = login.mechanism.name().to_owned();
        let mut exchange = Exchange { shared, stream, sent: 0 };
        let answer = exchange.ask(&SaslHandshakeRequest { mechanism }).await?;
        refused(answer.error_code, None)?;
        let (mut scram, mut token) = match login.mechanism {
            Mechanism::Plain => (None, format!("\0{}\0{}", login.username, login.password).into_bytes()),
            Mechanism::Scram(mechanism) => {
                let (client, first) = ScramClient::begin(mechanism, &login.username, &login.password, &nonce());
                (Some(client), first)
            }
        };
        loop {
            let answer = exchange.ask(&SaslAuthenticateRequest { auth_bytes: Bytes::from(token) }).await?;
            refused(answer.error_code, answer.error_message)?;
            let Some(scram) = &mut scram else { return Ok(()) };
            match scram.step(&answer.auth_bytes).map_err(io::Error::other)? {
                Some(next) => token = next,
                None => return Ok(()),
            }
        }
    }
}

fn refused(code: i16, message: Option<String>) -> io::Result<()> {
    match ErrorCode::from_code(code) {
        Some(ErrorCode::None) => Ok(()),
        code => {
            let text = code.map_or("unknown error", ErrorCode::message);
            Err(io::Error::other(message.unwrap_or_else(|| text.to_owned())))
        }
    }
}

/// Drawn for one exchange, from the system's generator.
pub(super) fn nonce() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Requests of a login, one after the other.
struct Exchange<'a> {
    shared: &'a Shared,
    stream: &'a mut Transport,
    sent: i32,
}

impl Exchange<'_> {
    async fn ask<R: Request>(&mut self, request: &R) -> io::Result<R::Response> {
        let api_version = *R::VERSIONS.end().min(&1);
        let client_id = Some(format!("broker-{}", self.shared.broker().config.broker_id));
        let header = RequestHeader { api_key: R::KEY, api_version, correlation_id: self.sent, client_id };
        self.sent += 1;
        self.stream.write_all(&header::encode_request(&header, request).map_err(io::Error::other)?).await?;
        self.stream.flush().await?;
        let mut buffer = BytesMut::new();
        loop {
            if let Some(frame) = next_frame(&mut buffer, ANSWER_BYTES_MAX)? {
                return header::decode_response::<R>(frame, api_version).map(|(_, it)| it).map_err(io::Error::other);
            }
            if self.stream.read_buf(&mut buffer).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the broker ended the connection"));
            }
        }
    }
}

/// The file that `KAFKA_OPTS` names; empty if it names none.
fn jaas_file() -> anyhow::Result<JaasFile> {
    let options = std::env::var("KAFKA_OPTS").unwrap_or_default();
    let Some(path) = options.split_whitespace().find_map(|option| option.strip_prefix(FILE_OPTION)) else {
        return Ok(JaasFile::new());
    };
    let path = path.trim_matches(['"', '\'']);
    let text = std::fs::read_to_string(path).with_context(|| format!("KAFKA_OPTS: reading {path}"))?;
    common::jaas::parse_file(&text).with_context(|| path.to_owned())
}
