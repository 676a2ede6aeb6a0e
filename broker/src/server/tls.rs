//! TLS of the broker's listeners and of its connections to other brokers, by Kafka's settings `ssl.*`: certificates and
//! keys in PEM, who is trusted, and reading the files again when they change. Knows nothing of what is carried.

use crate::config::{BrokerConfig, SecurityProtocol, Value};
use common::tls;
use parking_lot::Mutex;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whom Java trusts if no trust store is named stands in a file of its own; this is the system's.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// TLS cannot be set up.
#[derive(Debug, Error)]
#[error("listener {listener}: {setting}: {problem}")]
pub(super) struct TlsError {
    listener: String,
    setting: String,
    problem: String,
}

/// The TLS of each listener that has it, as its files were when they were last read.
pub(super) struct Listeners {
    by_name: BTreeMap<String, Mutex<Current>>,
}

struct Current {
    accepting: Arc<ServerConfig>,
    dialling: Arc<ClientConfig>,
    /// What they were made from: settings by name, and when each file was written.
    source: Source,
}

type Source = (Vec<Option<String>>, Vec<Option<SystemTime>>);

impl Listeners {
    /// Reads certificates and keys of every listener that uses them.
    ///
    /// # Errors
    /// If those of one cannot be used.
    pub(super) fn read(config: &BrokerConfig) -> Result<Listeners, TlsError> {
        let mut by_name = BTreeMap::new();
        for listener in config.listeners.iter().filter(|listener| listener.protocol.uses_tls()) {
            let settings = Settings { config, listener: &listener.name, protocol: listener.protocol };
            by_name.insert(listener.name.clone(), Mutex::new(settings.read()?));
        }
        Ok(Listeners { by_name })
    }

    /// The server's side of a handshake.
    pub(super) async fn accept(&self, listener: &str, stream: TcpStream) -> io::Result<Transport> {
        let Some(current) = self.by_name.get(listener) else { return Ok(Transport::Plain(stream)) };
        let acceptor = TlsAcceptor::from(Arc::clone(&current.lock().accepting));
        Ok(Transport::Tls(Box::new(acceptor.accept(stream).await?.into())))
    }

    /// The client's side of a handshake, with the certificate and the trusted ones of this listener.
    pub(super) async fn dial(&self, listener: &str, host: &str, stream: TcpStream) -> io::Result<Transport> {
        let Some(current) = self.by_name.get(listener) else { return Ok(Transport::Plain(stream)) };
        let connector = TlsConnector::from(Arc::clone(&current.lock().dialling));
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Transport::Tls(Box::new(connector.connect(name, stream).await?.into())))
    }

    /// Reads files and settings again whenever they change, until the task is dropped. What cannot be used changes nothing.
    pub(super) async fn watch(&self, config: impl Fn() -> Arc<BrokerConfig>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let config = config();
            for listener in &config.listeners {
                let Some(current) = self.by_name.get(&listener.name) else { continue };
                let settings = Settings { config: &config, listener: &listener.name, protocol: listener.protocol };
                let source = settings.source();
                if current.lock().source == source {
                    continue;
                }
                match settings.read() {
                    Ok(next) => {
                        tracing::info!(listener = listener.name, "certificates were read again");
                        *current.lock() = next;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "changed certificates cannot be used; the old ones stay");
                        current.lock().source = source;
                    }
                }
            }
        }
    }
}

/// What the configuration says for one listener.
struct Settings<'a> {
    config: &'a BrokerConfig,
    listener: &'a str,
    protocol: SecurityProtocol,
}

/// All that may change what is read.
const SETTINGS: [&str; 12] = [
    "ssl.keystore.type",
    "ssl.keystore.location",
    "ssl.keystore.key",
    "ssl.keystore.certificate.chain",
    "ssl.key.password",
    "ssl.truststore.type",
    "ssl.truststore.location",
    "ssl.truststore.certificates",
    "ssl.client.auth",
    "ssl.cipher.suites",
    "ssl.enabled.protocols",
    "ssl.endpoint.identification.algorithm",
];

impl Settings<'_> {
    /// As set for the listener or for all, else the default.
    fn get(&self, name: &str) -> Option<String> {
        if let Some(text) = self.config.listener_value(self.listener, name) {
            return Some(text.trim().to_owned());
        }
        match self.config.value(name) {
            Value::Null => None,
            value => value.to_shown(),
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).filter(|text| !text.is_empty())
    }

    fn refuse(&self, setting: &str, problem: impl std::fmt::Display) -> TlsError {
        let (listener, setting) = (self.listener.to_owned(), setting.to_owned());
        TlsError { listener, setting, problem: problem.to_string() }
    }

    fn source(&self) -> Source {
        let values = SETTINGS.iter().map(|name| self.get(name)).collect();
        let changed_at = ["ssl.keystore.location", "ssl.truststore.location"].iter().map(|name| {
            let metadata = std::fs::metadata(self.text(name)?).ok()?;
            metadata.modified().ok()
        });
        (values, changed_at.collect())
    }

    fn read(&self) -> Result<Current, TlsError> {
        let source = self.source();
        let (chain, key) = self.identity()?;
        let suites = self.text("ssl.cipher.suites").unwrap_or_default();
        let provider = tls::provider(&suites).map_err(|problem| self.refuse("ssl.cipher.suites", problem))?;
        let provider = Arc::new(provider);
        let named = self.text("ssl.enabled.protocols").unwrap_or_default();
        let versions = tls::versions(&named).map_err(|problem| self.refuse("ssl.enabled.protocols", problem))?;
        let trusted = self.trusted()?;
        let client_auth = self.client_auth();
        let verifier = match client_auth.as_str() {
            "none" => WebPkiClientVerifier::no_client_auth(),
            wanted => tls::client_verifier(trusted.clone(), &provider, wanted == "requested")
                .map_err(|problem| self.refuse("ssl.truststore.location", problem))?,
        };
        let key_problem = |error: rustls::Error| self.refuse("ssl.keystore.location", error);
        let accepting = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(|error| self.refuse("ssl.enabled.protocols", error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(key_problem)?;
        let dialling = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(|error| self.refuse("ssl.enabled.protocols", error))?;
        let dialling = match trusted.is_empty() {
            true => dialling.with_root_certificates(RootCertStore::empty()),
            false => {
                let checks_host = self.text("ssl.endpoint.identification.algorithm").is_some();
                let verifier = tls::server_verifier(trusted, &provider, checks_host)
                    .map_err(|problem| self.refuse("ssl.truststore.location", problem))?;
                dialling.dangerous().with_custom_certificate_verifier(verifier)
            }
        };
        let dialling = dialling.with_client_auth_cert(chain, key).map_err(key_problem)?;
        Ok(Current { accepting: Arc::new(accepting), dialling: Arc::new(dialling), source })
    }

    /// On a listener with SASL only a setting of its own asks for certificates (KIP-684).
    fn client_auth(&self) -> String {
        let own = format!("listener.name.{}.ssl.client.auth", self.listener.to_lowercase());
        let text = match self.protocol.uses_sasl() {
            true => self.config.properties.get(&own).map(str::to_owned),
            false => self.text("ssl.client.auth"),
        };
        text.unwrap_or_else(|| "none".to_owned())
    }

    fn identity(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let (setting, pem) = match self.text("ssl.keystore.key") {
            Some(key) => {
                let setting = "ssl.keystore.certificate.chain";
                let chain = self.text(setting).ok_or_else(|| self.refuse(setting, "is not set, but the key is"))?;
                ("ssl.keystore.key", format!("{key}\n{chain}\n").into_bytes())
            }
            None => {
                let setting = "ssl.keystore.location";
                (setting, self.file("ssl.keystore")?.ok_or_else(|| self.refuse(setting, "is not set"))?)
            }
        };
        let key = tls::private_key(&pem).map_err(|problem| self.refuse(setting, problem))?;
        let chain = tls::certificates(&pem).map_err(|problem| self.refuse(setting, problem))?;
        Ok((chain, key))
    }

    /// Empty if nobody is: then no client may have to show a certificate, and no broker can be dialled.
    fn trusted(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let (setting, pem) = match self.text("ssl.truststore.certificates") {
            Some(text) => ("ssl.truststore.certificates", text.into_bytes()),
            None => match self.file("ssl.truststore")? {
                Some(pem) => ("ssl.truststore.location", pem),
                None => match std::fs::read(SYSTEM_AUTHORITIES) {
                    Ok(pem) => (SYSTEM_AUTHORITIES, pem),
                    Err(_) => return Ok(Vec::new()),
                },
            },
        };
        tls::certificates(&pem).map_err(|problem| self.refuse(setting, problem))
    }

    /// The file of a store, if one is named.
    fn file(&self, store: &str) -> Result<Option<Vec<u8>>, TlsError> {
        let setting = format!("{store}.location");
        let Some(path) = self.text(&setting) else { return Ok(None) };
        let kind = self.text(&format!("{store}.type")).unwrap_or_default().to_uppercase();
        let bytes = std::fs::read(&path).map_err(|error| self.refuse(&setting, format!("{path}: {error}")))?;
        if kind != "PEM" && !bytes.windows(10).any(|part| part == b"-----BEGIN") {
            return Err(self.refuse(&format!("{store}.type"), advice(&path, &kind)));
        }
        Ok(Some(bytes))
    }
}

/// How to make a PEM file of a store of another kind.
fn advice(path: &str, kind: &str) -> String {
    let shown = Path::new(path).display();
    match kind {
        "PKCS12" => format!(
            "PKCS12 stores are not read; make a PEM file of it: openssl pkcs12 -in {shown} -nodes -out {shown}.pem, and \
             set the type to PEM"
        ),
        _ => format!(
            "{kind} stores are not read; make a PEM file of it: keytool -importkeystore -srckeystore {shown} \
             -destkeystore {shown}.p12 -deststoretype PKCS12, then openssl pkcs12 -in {shown}.p12 -nodes -out \
             {shown}.pem, and set the type to PEM"
        ),
    }
}

/// A connection, with TLS or without.
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// The socket that bytes may be put on as they are.
    pub(super) fn plain(&self) -> Option<&TcpStream> {
        match self {
            Transport::Plain(stream) => Some(stream),
            Transport::Tls(_) => None,
        }
    }

    /// The subject of the certificate that the other side has shown.
    pub(super) fn peer_subject(&self) -> Option<String> {
        let Transport::Tls(stream) = self else { return None };
        let certificate = stream.get_ref().1.peer_certificates()?.first()?;
        common::distinguished_name::subject(certificate)
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Transport::Tls(stream) => match Pin::new(stream).poll_read(cx, buffer) {
                // Many clients end without TLS's farewell; frames have lengths, so nothing can be cut off unseen.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
                done => done,
            },
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
