//! TLS by ZooKeeper's settings, `ssl.*` for clients and `ssl.quorum.*` between servers: certificates and keys from PEM
//! files, who is trusted, which versions and cipher suites, and reading the files again when they change. Knows nothing
//! of what is carried.

use crate::config::{Config, QuorumTls};
use common::properties::Properties;
use common::tls;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Who does not finish a handshake in this time is dropped.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

/// How often the files are looked at if they are to be read again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The first byte of every TLS connection; the length of a ZooKeeper frame cannot begin with it.
const HANDSHAKE_RECORD: u8 = 0x16;

/// TLS cannot be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A setting is needed.
    #[error("{0} is not set")]
    Missing(String),
    /// A kind of store that is not read.
    #[error("{path}: {kind} key stores are not read; {advice}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: String,
        /// How to make a PEM file of it.
        advice: String,
    },
    /// A file cannot be read, or holds not what it should.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Certificate and key do not fit, or a value is unknown.
    #[error("{0}")]
    Setting(String),
}

/// TLS for one kind of connection, as its files were when they were last read.
pub(super) struct Tls {
    settings: Settings,
    current: Mutex<Current>,
    /// Handshakes that are computed at the same time.
    turns: Arc<Semaphore>,
}

struct Current {
    accepting: Arc<ServerConfig>,
    dialling: Option<Arc<ClientConfig>>,
    changed_at: Vec<Option<SystemTime>>,
}

/// What `zoo.cfg` says under one prefix.
struct Settings {
    /// `ssl` or `ssl.quorum`.
    prefix: &'static str,
    properties: Properties,
    /// Servers dial as well as they accept.
    dials: bool,
}

/// TLS for clients; `None` if no key store is named.
///
/// # Errors
/// If it cannot be used.
pub(super) fn for_clients(config: &Config) -> Result<Option<Arc<Tls>>, TlsError> {
    let settings = Settings { prefix: "ssl", properties: config.properties.clone(), dials: false };
    if settings.get("keyStore.location").is_none() {
        return Ok(None);
    }
    Tls::read(settings).map(Some)
}

/// TLS between servers; `None` if neither `sslQuorum` nor `portUnification` asks for it.
///
/// # Errors
/// If it cannot be used.
pub(super) fn for_servers(config: &Config) -> Result<Option<Arc<Tls>>, TlsError> {
    if config.quorum_tls == QuorumTls::default() {
        return Ok(None);
    }
    let settings = Settings { prefix: "ssl.quorum", properties: config.properties.clone(), dials: true };
    Tls::read(settings).map(Some)
}

impl Tls {
    fn read(settings: Settings) -> Result<Arc<Tls>, TlsError> {
        let current = Mutex::new(settings.read()?);
        // One processor is left to the node, which must answer its peers meanwhile.
        let turns = std::thread::available_parallelism().map_or(1, |count| count.get().saturating_sub(1).max(1));
        Ok(Arc::new(Tls { settings, current, turns: Arc::new(Semaphore::new(turns)) }))
    }

    /// What [`super::link::Link::handshake`] takes turns by.
    pub(super) fn turns(&self) -> &Arc<Semaphore> {
        &self.turns
    }

    /// One more connection that was accepted.
    pub(super) fn accept(&self) -> Result<rustls::Connection, rustls::Error> {
        let config = Arc::clone(&self.current.lock().expect("no holder panics").accepting);
        rustls::ServerConnection::new(config).map(rustls::Connection::Server)
    }

    /// One more connection that is dialled.
    pub(super) fn dial(&self, host: &str) -> Result<rustls::Connection, rustls::Error> {
        let config = self.current.lock().expect("no holder panics").dialling.clone();
        let config = config.expect("only servers dial, and theirs was read");
        let name = ServerName::try_from(host.to_owned()).map_err(|_| rustls::Error::UnsupportedNameType)?;
        rustls::ClientConnection::new(config, name).map(rustls::Connection::Client)
    }

    /// Reads the files again whenever they change, until the task is dropped. What cannot be used changes nothing.
    pub(super) async fn watch(self: Arc<Tls>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let tls = Arc::clone(&self);
            // Not on the thread that runs the node: a file may be slow to come, and keys take time to read.
            if tokio::task::spawn_blocking(move || tls.look()).await.is_err() {
                return;
            }
        }
    }

    fn look(&self) {
        let changed_at = self.settings.changed_at();
        if self.current.lock().expect("no holder panics").changed_at == changed_at {
            return;
        }
        let prefix = self.settings.prefix;
        match self.settings.read() {
            Ok(current) => {
                tracing::info!(prefix, "certificates were read again");
                *self.current.lock().expect("no holder panics") = current;
            }
            Err(error) => {
                tracing::warn!(prefix, %error, "changed certificates cannot be used; the old ones stay");
                self.current.lock().expect("no holder panics").changed_at = changed_at;
            }
        }
    }
}

impl Settings {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.properties.get(&self.key(name)).map(str::trim).filter(|value| !value.is_empty())
    }

    fn is_on(&self, name: &str, default: bool) -> bool {
        self.get(name).map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }

    fn store(&self, name: &str) -> Result<Option<PathBuf>, TlsError> {
        let Some(path) = self.get(&format!("{name}.location")).map(PathBuf::from) else { return Ok(None) };
        pem_path(path, self.get(&format!("{name}.type"))).map(Some)
    }

    fn needed_store(&self, name: &str) -> Result<PathBuf, TlsError> {
        self.store(name)?.ok_or_else(|| TlsError::Missing(self.key(&format!("{name}.location"))))
    }

    fn changed_at(&self) -> Vec<Option<SystemTime>> {
        let stores = ["keyStore.location", "trustStore.location"].map(|name| self.get(name));
        let time = |path: &str| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        stores.iter().map(|path| path.and_then(time)).collect()
    }

    fn read(&self) -> Result<Current, TlsError> {
        let changed_at = self.changed_at();
        let store = self.needed_store("keyStore")?;
        let chain = certificates(&store)?;
        let key = PrivateKeyDer::from_pem_file(&store).map_err(|error| problem(&store, &error))?;
        let provider = Arc::new(self.provider()?);
        let versions = self.versions()?;
        let setting = |error: rustls::Error| TlsError::Setting(format!("{}: {error}", self.prefix));
        let accepting = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(setting)?
            .with_client_cert_verifier(self.client_verifier(&provider)?)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|error| problem(&store, &error))?;
        let dialling = match self.dials {
            false => None,
            true => Some(
                ClientConfig::builder_with_provider(Arc::clone(&provider))
                    .with_protocol_versions(&versions)
                    .map_err(setting)?
                    .dangerous()
                    .with_custom_certificate_verifier(self.server_verifier(&provider)?)
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| problem(&store, &error))?,
            ),
        };
        Ok(Current { accepting: Arc::new(accepting), dialling: dialling.map(Arc::new), changed_at })
    }

    fn provider(&self) -> Result<CryptoProvider, TlsError> {
        let list = self.get("ciphersuites").unwrap_or("");
        tls::provider(list).map_err(|problem| self.refuse("ciphersuites", list, &problem))
    }

    fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
        let list = self.get("enabledProtocols").or_else(|| self.get("protocol")).unwrap_or("");
        tls::versions(list).map_err(|problem| self.refuse("enabledProtocols", list, &problem))
    }

    fn refuse(&self, name: &str, value: &str, problem: &str) -> TlsError {
        TlsError::Setting(format!("{}={value}: {problem}", self.key(name)))
    }

    fn client_verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        // As ZooKeeper: a client must show a certificate unless the configuration says otherwise.
        let wanted = self.get("clientAuth").unwrap_or("need").to_lowercase();
        let optional = match wanted.as_str() {
            "none" => return Ok(WebPkiClientVerifier::no_client_auth()),
            "need" => false,
            "want" => true,
            _ => return Err(self.refuse("clientAuth", &wanted, "expected need, want or none")),
        };
        let (path, trusted) = self.trusted()?;
        tls::client_verifier(trusted, provider, optional).map_err(|error| problem(&path, &error))
    }

    fn server_verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
        let (path, trusted) = self.trusted()?;
        let checks_host = self.is_on("hostnameVerification", true);
        tls::server_verifier(trusted, provider, checks_host).map_err(|error| problem(&path, &error))
    }

    fn trusted(&self) -> Result<(PathBuf, Vec<CertificateDer<'static>>), TlsError> {
        let path = self.needed_store("trustStore")?;
        let trusted = certificates(&path)?;
        Ok((path, trusted))
    }
}

/// As ZooKeeper: the type that is set, or what the file's name ends with.
fn pem_path(path: PathBuf, kind: Option<&str>) -> Result<PathBuf, TlsError> {
    let by_name = match path.extension().and_then(|extension| extension.to_str()) {
        Some("pem") => "PEM",
        Some("jks") => "JKS",
        Some("p12") => "PKCS12",
        Some("bcfks") => "BCFKS",
        _ => "unknown",
    };
    let kind = kind.map_or_else(|| by_name.to_owned(), str::to_uppercase);
    let shown = path.display();
    let advice = match kind.as_str() {
        "PEM" => return Ok(path),
        "PKCS12" => format!("make a PEM file of it: openssl pkcs12 -in {shown} -nodes -out {shown}.pem"),
        "JKS" | "BCFKS" => format!(
            "make a PEM file of it: keytool -importkeystore -srckeystore {shown} -srcstoretype {kind} \
             -destkeystore {shown}.p12 -deststoretype PKCS12, then openssl pkcs12 -in {shown}.p12 -nodes -out {shown}.pem"
        ),
        _ => "name the type (PEM) by ...Store.type, or let the file's name end in .pem".to_owned(),
    };
    Err(TlsError::Format { path, kind, advice })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = std::fs::read(path).map_err(|error| problem(path, &error))?;
    tls::certificates(&pem).map_err(|error| problem(path, &error))
}

fn problem(path: &Path, error: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), problem: error.to_string() }
}

/// Whether the client begins with TLS. Waits for its first byte and leaves it unread.
pub(super) async fn begins_with_tls(stream: &TcpStream) -> std::io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first[0] == HANDSHAKE_RECORD)
}
