//! TLS and SCRAM for librdkafka, which is built without either: it talks to a port of this process on the loopback, and here its
//! requests go to the broker over a connection that is encrypted and logged in. Brokers' addresses in answers become such ports.
//! Nobody else may use them: librdkafka shows a secret drawn for this run. One request after the other, as brokers handle them.

use crate::client::Connection;
use crate::client_settings::warn;
use crate::cluster::address;
use crate::security::{Login, Security};
use crate::zookeeper::tls::Wire;
use anyhow::{Context as _, bail};
use bytes::Bytes;
use common::kafka::header::{self, RequestHeader};
use common::kafka::messages::{
    ApiVersionsRequest, FetchRequest, FindCoordinatorRequest, Message, MetadataRequest, ProduceRequest, Request,
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use common::kafka::wire::Reader;
use common::scram::is_same_secret;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const HOST: &str = "127.0.0.1";
const USER: &str = "castellan";
/// For a connection to a broker, with all that belongs to its begin.
const CONNECT: Duration = Duration::from_secs(30);
/// Larger frames come from nobody.
const FRAME_BYTES_MAX: usize = 512 << 20;
/// From these versions on answers name brokers in yet other places (KIP-951): API key, last version before.
const BEFORE_HINTS: [(i16, i16); 2] = [(ProduceRequest::KEY, 9), (FetchRequest::KEY, 15)];

/// The ports of this run.
struct Tunnel {
    security: Security,
    secret: String,
    by_server: Mutex<BTreeMap<String, u16>>,
}

/// Servers and settings for librdkafka in place of those given, if these ask for more than it can do.
///
/// # Errors
/// If the settings cannot be used, or a broker does not let us in.
pub(crate) fn through(
    servers: &str,
    settings: &BTreeMap<String, String>,
) -> anyhow::Result<(String, BTreeMap<String, String>)> {
    let security = Security::of(settings)?;
    if security.tls.is_none() && !matches!(security.login, Login::Scram { .. }) {
        return Ok((servers.to_owned(), settings.clone()));
    }
    // Who is refused hears of it at once, and not of a broker that is not there.
    if let Some(refusal) = servers.split(',').find_map(|server| refusal(server, &security)) {
        return Err(refusal);
    }
    let secret = uuid::Uuid::new_v4().simple().to_string();
    let tunnel = Arc::new(Tunnel { security, secret, by_server: Mutex::default() });
    let mut ports = Vec::new();
    for server in servers.split(',') {
        ports.push(format!("{HOST}:{}", tunnel.port(server)?));
    }
    let kept = settings.iter().filter(|(key, _)| !is_of_access(key));
    let mut kept: BTreeMap<String, String> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
    let jaas = format!("PlainLoginModule required username=\"{USER}\" password=\"{}\";", tunnel.secret);
    for (key, value) in
        [("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", "PLAIN"), ("sasl.jaas.config", &jaas)]
    {
        kept.insert(key.to_owned(), value.to_owned());
    }
    Ok((ports.join(","), kept))
}

fn is_of_access(key: &str) -> bool {
    key.starts_with("ssl.") || key.starts_with("sasl.")
}

fn refusal(server: &str, security: &Security) -> Option<anyhow::Error> {
    let error = Connection::open_as(server, CONNECT, security).err()?;
    crate::client::code_of(&error).is_some().then_some(error)
}

impl Tunnel {
    /// The port behind which a server is.
    fn port(self: &Arc<Tunnel>, server: &str) -> anyhow::Result<u16> {
        let mut by_server = self.by_server.lock().expect("no holder panics");
        if let Some(port) = by_server.get(server) {
            return Ok(*port);
        }
        let listener = TcpListener::bind((HOST, 0)).context("opening a port on the loopback")?;
        let port = listener.local_addr()?.port();
        by_server.insert(server.to_owned(), port);
        let (tunnel, server) = (Arc::clone(self), server.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tunnel, server) = (Arc::clone(&tunnel), server.clone());
                std::thread::spawn(move || {
                    if let Err(error) = tunnel.serve(stream, &server) {
                        warn(&format!("Connection to {server} ended: {error:#}"));
                    }
                });
            }
        });
        Ok(port)
    }

    fn serve(self: &Arc<Tunnel>, mut client: TcpStream, server: &str) -> anyhow::Result<()> {
        client.set_nodelay(true)?;
        let mut broker: Option<Wire> = None;
        let mut is_known = false;
        while let Some(frame) = read_frame(&mut client)? {
            let mut body = Reader::new(frame.clone());
            let header = header::decode_request_header(&mut body)?;
            if let Some(answer) = self.log_in(&header, &mut body, &mut is_known)? {
                client.write_all(&answer)?;
                continue;
            }
            if !is_known && header.api_key != ApiVersionsRequest::KEY {
                bail!("somebody without the secret of this run came to its port");
            }
            let broker = match &mut broker {
                Some(open) => open,
                None => broker.insert(self.open(server)?),
            };
            let len = u32::try_from(frame.len()).context("the request is too long")?;
            broker.write_all(&[&len.to_be_bytes(), frame.as_ref()].concat())?;
            broker.flush()?;
            let is_produce = header.api_key == ProduceRequest::KEY;
            if is_produce && ProduceRequest::decode(&mut body, header.api_version)?.acks == 0 {
                continue;
            }
            let answer = read_frame(broker)?.context("the broker ended it")?;
            client.write_all(&self.with_ports(&header, answer)?)?;
        }
        Ok(())
    }

    fn open(&self, server: &str) -> anyhow::Result<Wire> {
        let wire = Connection::open_as(server, CONNECT, &self.security)?.into_wire();
        // A member may wait long for its group.
        wire.socket().set_read_timeout(None)?;
        wire.socket().set_write_timeout(None)?;
        Ok(wire)
    }

    /// The answer to a request of librdkafka's login, if it is one.
    fn log_in(&self, header: &RequestHeader, body: &mut Reader, is_known: &mut bool) -> anyhow::Result<Option<Bytes>> {
        let (correlation_id, version) = (header.correlation_id, header.api_version);
        let frame = match header.api_key {
            SaslHandshakeRequest::KEY => {
                let mechanisms = vec!["PLAIN".to_owned()];
                let answer = SaslHandshakeResponse { error_code: 0, mechanisms };
                header::encode_response(correlation_id, version, &answer)?
            }
            SaslAuthenticateRequest::KEY => {
                let token = SaslAuthenticateRequest::decode(body, version)?.auth_bytes;
                let expected = format!("\0{USER}\0{}", self.secret);
                if !is_same_secret(&token, expected.as_bytes()) {
                    bail!("somebody without the secret of this run came to its port");
                }
                *is_known = true;
                let answer = SaslAuthenticateResponse { error_message: None, ..Default::default() };
                header::encode_response(correlation_id, version, &answer)?
            }
            _ => return Ok(None),
        };
        Ok(Some(frame.into_bytes()?))
    }

    /// The answer, with its length before it, with our ports for brokers.
    fn with_ports(self: &Arc<Tunnel>, header: &RequestHeader, answer: Bytes) -> anyhow::Result<Bytes> {
        let here = |host: &mut String, port: &mut i32| -> anyhow::Result<()> {
            if !host.is_empty() {
                *port = i32::from(self.port(&address(host, *port))?);
                *host = HOST.to_owned();
            }
            Ok(())
        };
        match header.api_key {
            MetadataRequest::KEY => changed::<MetadataRequest>(header, answer, |response| {
                response.brokers.iter_mut().try_for_each(|broker| here(&mut broker.host, &mut broker.port))
            }),
            FindCoordinatorRequest::KEY => changed::<FindCoordinatorRequest>(header, answer, |response| {
                here(&mut response.host, &mut response.port)?;
                response.coordinators.iter_mut().try_for_each(|found| here(&mut found.host, &mut found.port))
            }),
            ApiVersionsRequest::KEY => changed::<ApiVersionsRequest>(header, answer, |response| {
                for (key, last) in BEFORE_HINTS {
                    for api in response.api_keys.iter_mut().filter(|api| api.api_key == key) {
                        api.max_version = api.max_version.min(last);
                    }
                }
                Ok(())
            }),
            _ => framed(&answer),
        }
    }
}

fn changed<R: Request>(
    header: &RequestHeader,
    answer: Bytes,
    change: impl FnOnce(&mut R::Response) -> anyhow::Result<()>,
) -> anyhow::Result<Bytes> {
    let (correlation_id, version) = (header.correlation_id, header.api_version);
    // A broker that does not know the version answers in the first one.
    let Ok((_, mut response)) = header::decode_response::<R>(answer.clone(), version) else { return framed(&answer) };
    change(&mut response)?;
    Ok(header::encode_response(correlation_id, version, &response)?.into_bytes()?)
}

fn framed(answer: &Bytes) -> anyhow::Result<Bytes> {
    let len = u32::try_from(answer.len()).context("the answer is too long")?;
    Ok(Bytes::from([&len.to_be_bytes(), answer.as_ref()].concat()))
}

/// A frame without its length; `None` at the end.
fn read_frame(from: &mut impl Read) -> anyhow::Result<Option<Bytes>> {
    let mut prefix = [0; 4];
    let mut read = 0;
    while read < prefix.len() {
        match from.read(&mut prefix[read..]) {
            Ok(0) | Err(_) if read == 0 => return Ok(None),
            Ok(0) => bail!("a frame was cut off"),
            Ok(count) => read += count,
            Err(error) => return Err(error.into()),
        }
    }
    let len = usize::try_from(i32::from_be_bytes(prefix)).ok().filter(|len| *len <= FRAME_BYTES_MAX);
    let len = len.context("a frame has an impossible length")?;
    let mut frame = Vec::new();
    from.take(len as u64).read_to_end(&mut frame)?;
    if frame.len() < len {
        bail!("a frame was cut off");
    }
    Ok(Some(Bytes::from(frame)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::kafka::messages::{MetadataResponse, MetadataResponseBroker};

    #[test]
    fn answers_name_ports_of_this_process() {
        let tunnel = Arc::new(Tunnel {
            security: Security::default(),
            secret: "s".to_owned(),
            by_server: Mutex::new(BTreeMap::from([("broker:9093".to_owned(), 7)])),
        });
        let broker = MetadataResponseBroker { host: "broker".to_owned(), port: 9093, ..Default::default() };
        let response = MetadataResponse { brokers: vec![broker], ..Default::default() };
        let header =
            RequestHeader { api_key: MetadataRequest::KEY, api_version: 9, correlation_id: 4, client_id: None };
        let answer = header::encode_response(4, 9, &response).unwrap().into_bytes().unwrap().slice(4..);
        let changed = tunnel.with_ports(&header, answer).unwrap().slice(4..);
        let (correlation_id, changed) = header::decode_response::<MetadataRequest>(changed, 9).unwrap();
        assert_eq!((correlation_id, changed.brokers[0].host.as_str(), changed.brokers[0].port), (4, HOST, 7));
    }

    #[test]
    fn only_who_has_the_secret_is_let_through() {
        let tunnel = Tunnel { security: Security::default(), secret: "s".to_owned(), by_server: Mutex::default() };
        for (password, lets_in) in [("s", true), ("t", false)] {
            let header = RequestHeader {
                api_key: SaslAuthenticateRequest::KEY,
                api_version: 1,
                correlation_id: 4,
                client_id: None,
            };
            let auth_bytes = Bytes::from(format!("\0{USER}\0{password}"));
            let frame = header::encode_request(&header, &SaslAuthenticateRequest { auth_bytes }).unwrap();
            let mut body = Reader::new(frame.slice(4..));
            header::decode_request_header(&mut body).unwrap();
            let mut is_known = false;
            assert_eq!(tunnel.log_in(&header, &mut body, &mut is_known).is_ok(), lets_in);
            assert_eq!(is_known, lets_in);
        }
    }
}
