//! TLS of a client of ZooKeeper from the file that ZooKeeper's shell takes by `-client-configuration` and Kafka's tools by
//! `-zk-tls-config-file`: PEM files, TLS 1.2 and 1.3.

use anyhow::{Context as _, anyhow, bail};
use common::properties::Properties;
use common::tls;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

/// The connection to a server.
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    /// Does the handshake if there is TLS; the socket's timeouts bound each of its steps.
    pub(crate) fn new(stream: TcpStream, tls: Option<&Arc<ClientConfig>>, server: &str) -> io::Result<Wire> {
        let Some(tls) = tls else { return Ok(Wire::Plain(stream)) };
        let host = server.rsplit_once(':').map_or(server, |(host, _)| host).trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?;
        let mut secured = StreamOwned::new(connection, stream);
        while secured.conn.is_handshaking() {
            secured.conn.complete_io(&mut secured.sock)?;
        }
        Ok(Wire::Tls(Box::new(secured)))
    }

    /// The socket, for waiting and for its timeouts.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Wire::Plain(stream) => stream,
            Wire::Tls(secured) => &secured.sock,
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(buffer),
            Wire::Tls(secured) => secured.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.write(bytes),
            Wire::Tls(secured) => secured.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.flush(),
            Wire::Tls(secured) => secured.flush(),
        }
    }
}

/// What the file says; `None` if it asks for no TLS. Kafka's spelling and ZooKeeper's are taken alike.
///
/// # Errors
/// If a file cannot be read, or holds not what it should.
pub(crate) fn read(path: &str) -> anyhow::Result<Option<Arc<ClientConfig>>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    let properties = Properties::parse(&text, path);
    let get = |wanted: &str| {
        let mut found = properties.iter().filter(|(key, _)| key.eq_ignore_ascii_case(wanted));
        found.next().map(|(_, entry)| entry.value.trim()).filter(|value| !value.is_empty())
    };
    let is_on = |key: &str| get(key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if !is_on("zookeeper.client.secure") && !is_on("zookeeper.ssl.client.enable") {
        return Ok(None);
    }
    let checks_host =
        !get("zookeeper.ssl.hostnameVerification").is_some_and(|value| value.eq_ignore_ascii_case("false"));
    let store = |name: &str| -> anyhow::Result<Option<&str>> {
        let Some(file) = get(&format!("zookeeper.ssl.{name}.location")) else { return Ok(None) };
        let kind = get(&format!("zookeeper.ssl.{name}.type"));
        if !kind.map_or(file.ends_with(".pem"), |kind| kind.eq_ignore_ascii_case("PEM")) {
            bail!("{file}: only PEM files are read; make one: openssl pkcs12 -in STORE.p12 -nodes -out STORE.pem");
        }
        Ok(Some(file))
    };
    let trusted = store("trustStore")?.with_context(|| format!("{path} names no zookeeper.ssl.trustStore.location"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = tls::server_verifier(of_pem(trusted, tls::certificates)?, &provider, checks_host)
        .map_err(|problem| anyhow!("{trusted}: {problem}"))?;
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(rustls::ALL_VERSIONS)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let config = match store("keyStore")? {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let (chain, key) = (of_pem(file, tls::certificates)?, of_pem(file, tls::private_key)?);
            builder.with_client_auth_cert(chain, key).with_context(|| format!("using {file}"))?
        }
    };
    Ok(Some(Arc::new(config)))
}

fn of_pem<T>(file: &str, find: fn(&[u8]) -> Result<T, String>) -> anyhow::Result<T> {
    let pem = std::fs::read(file).with_context(|| format!("reading {file}"))?;
    find(&pem).map_err(|problem| anyhow!("{file}: {problem}"))
}
