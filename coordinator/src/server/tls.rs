//! TLS by ZooKeeper's settings, `ssl.*` for clients and `ssl.quorum.*` between servers: certificates and keys from PEM
//! files, who is trusted, which versions and cipher suites, and reading the files again when they change. Knows nothing
//! of what is carried.

use crate::config::{Config, QuorumTls};
use common::properties::Properties;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    SignatureScheme, SupportedProtocolVersion,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio::net::TcpStream;

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
        Ok(Arc::new(Tls { settings, current }))
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
            let changed_at = self.settings.changed_at();
            if self.current.lock().expect("no holder panics").changed_at == changed_at {
                continue;
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
                    .with_custom_certificate_verifier(self.server_verifier(provider)?)
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| problem(&store, &error))?,
            ),
        };
        Ok(Current { accepting: Arc::new(accepting), dialling: dialling.map(Arc::new), changed_at })
    }

    /// Cipher suites by the names that Java gives them; those that are old are not among ours and are passed over.
    fn provider(&self) -> Result<CryptoProvider, TlsError> {
        let mut provider = ring::default_provider();
        if let Some(list) = self.get("ciphersuites") {
            let wanted: Vec<String> = list.split(',').map(|name| name.trim().replace("TLS_AES", "TLS13_AES")).collect();
            let wanted: Vec<String> = wanted.iter().map(|name| name.replace("TLS_CHACHA", "TLS13_CHACHA")).collect();
            provider
                .cipher_suites
                .retain(|suite| suite.suite().as_str().is_some_and(|name| wanted.iter().any(|wanted| wanted == name)));
            if provider.cipher_suites.is_empty() {
                let known: Vec<&str> =
                    ring::ALL_CIPHER_SUITES.iter().filter_map(|suite| suite.suite().as_str()).collect();
                let key = self.key("ciphersuites");
                return Err(TlsError::Setting(format!(
                    "{key}={list}: none of these is supported; there are {}",
                    known.join(", ").replace("TLS13_", "TLS_")
                )));
            }
        }
        Ok(provider)
    }

    fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
        let Some(list) = self.get("enabledProtocols").or_else(|| self.get("protocol")) else {
            return Ok(rustls::ALL_VERSIONS.to_vec());
        };
        let is_named = |version: &str| list.split(',').any(|name| name.trim() == version);
        let mut versions = Vec::new();
        versions.extend(is_named("TLSv1.3").then_some(&rustls::version::TLS13));
        versions.extend(is_named("TLSv1.2").then_some(&rustls::version::TLS12));
        if versions.is_empty() {
            let key = self.key("enabledProtocols");
            return Err(TlsError::Setting(format!("{key}={list}: expected TLSv1.3, TLSv1.2 or both")));
        }
        Ok(versions)
    }

    fn client_verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        // As ZooKeeper: a client must show a certificate unless the configuration says otherwise.
        let wanted = self.get("clientAuth").unwrap_or("need").to_lowercase();
        if wanted == "none" {
            return Ok(WebPkiClientVerifier::no_client_auth());
        }
        let (roots, pinned) = self.trusted()?;
        let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
        let builder = match wanted.as_str() {
            "need" => builder,
            "want" => builder.allow_unauthenticated(),
            _ => {
                let key = self.key("clientAuth");
                return Err(TlsError::Setting(format!("{key}={wanted}: expected need, want or none")));
            }
        };
        let inner = builder.build().map_err(|error| TlsError::Setting(format!("{}: {error}", self.prefix)))?;
        Ok(Arc::new(TrustedClients { inner, pinned }))
    }

    fn server_verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
        let (roots, pinned) = self.trusted()?;
        let inner = WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| TlsError::Setting(format!("{}: {error}", self.prefix)))?;
        Ok(Arc::new(TrustedServers { inner, pinned, checks_host: self.is_on("hostnameVerification", true) }))
    }

    fn trusted(&self) -> Result<(Arc<RootCertStore>, Vec<CertificateDer<'static>>), TlsError> {
        let path = self.needed_store("trustStore")?;
        let pinned = certificates(&path)?;
        let mut roots = RootCertStore::empty();
        for certificate in &pinned {
            roots.add(certificate.clone()).map_err(|error| problem(&path, &error))?;
        }
        Ok((Arc::new(roots), pinned))
    }
}

/// Clients with a certificate of a trusted authority, or with one that is itself in the trust store, as Java has it.
#[derive(Debug)]
struct TrustedClients {
    inner: Arc<dyn ClientCertVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl ClientCertVerifier for TrustedClients {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if self.pinned.iter().any(|certificate| certificate == end_entity) {
            return Ok(ClientCertVerified::assertion());
        }
        self.inner.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Servers with a certificate of a trusted authority or of the trust store, and for the name that was dialled unless
/// `ssl.quorum.hostnameVerification` is false.
#[derive(Debug)]
struct TrustedServers {
    inner: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
    checks_host: bool,
}

impl ServerCertVerifier for TrustedServers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let is_pinned = self.pinned.iter().any(|certificate| certificate == end_entity);
        if is_pinned && !self.checks_host {
            return Ok(ServerCertVerified::assertion());
        }
        if is_pinned {
            let parsed = rustls::server::ParsedCertificate::try_from(end_entity)?;
            rustls::client::verify_server_name(&parsed, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        match self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last: all else was found good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_host => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
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
    let found = CertificateDer::pem_file_iter(path).map_err(|error| problem(path, &error))?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(|error| problem(path, &error))?;
    if found.is_empty() {
        return Err(TlsError::File { path: path.to_owned(), problem: "there is no certificate in it".to_owned() });
    }
    Ok(found)
}

fn problem(path: &Path, error: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), problem: error.to_string() }
}

/// Whether the client begins with TLS. Waits for its first byte and leaves it unread.
pub(super) async fn begins_with_tls(stream: &TcpStream) -> std::io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first[0] == HANDSHAKE_RECORD)
}
