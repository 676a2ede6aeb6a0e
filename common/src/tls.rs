//! What TLS needs everywhere: certificates and keys from PEM text, who is trusted (as Java trusts), and versions and cipher
//! suites by the names that Java gives them. Opens no file and no socket.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use std::sync::Arc;

/// Cipher suites by the names that Java gives them, of a list with commas; an empty one is all. Those that are old are not
/// among ours and are passed over.
///
/// # Errors
/// If none is left; the text names those there are.
pub fn provider(suites: &str) -> Result<CryptoProvider, String> {
    let mut provider = ring::default_provider();
    if suites.trim().is_empty() {
        return Ok(provider);
    }
    let wanted: Vec<String> = suites.split(',').map(|name| name.trim().replace("TLS_AES", "TLS13_AES")).collect();
    let wanted: Vec<String> = wanted.iter().map(|name| name.replace("TLS_CHACHA", "TLS13_CHACHA")).collect();
    provider
        .cipher_suites
        .retain(|suite| suite.suite().as_str().is_some_and(|name| wanted.iter().any(|wanted| wanted == name)));
    if provider.cipher_suites.is_empty() {
        let known: Vec<&str> = ring::ALL_CIPHER_SUITES.iter().filter_map(|suite| suite.suite().as_str()).collect();
        let known = known.join(", ").replace("TLS13_", "TLS_");
        return Err(format!("none of these is supported; there are {known}"));
    }
    Ok(provider)
}

/// Versions by the names that Java gives them, of a list with commas; an empty one is all.
///
/// # Errors
/// If none is left.
pub fn versions(names: &str) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    if names.trim().is_empty() {
        return Ok(rustls::ALL_VERSIONS.to_vec());
    }
    let is_named = |version: &str| names.split(',').any(|name| name.trim() == version);
    let mut versions = Vec::new();
    versions.extend(is_named("TLSv1.3").then_some(&rustls::version::TLS13));
    versions.extend(is_named("TLSv1.2").then_some(&rustls::version::TLS12));
    match versions.is_empty() {
        true => Err("expected TLSv1.3, TLSv1.2 or both".to_owned()),
        false => Ok(versions),
    }
}

/// The certificates in PEM text, in their order.
///
/// # Errors
/// If there is none or one cannot be read.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| error.to_string())?;
    match found.is_empty() {
        true => Err("there is no certificate in it".to_owned()),
        false => Ok(found),
    }
}

/// The private key in PEM text.
///
/// # Errors
/// If there is none, or it is encrypted.
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    const ENCRYPTED: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        match pem.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) {
            true => {
                "encrypted keys are not read; write it in the clear: openssl pkey -in key.pem -out clear.pem".to_owned()
            }
            false => format!("private key: {error}"),
        }
    })
}

fn roots(trusted: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.clone()).map_err(|error| error.to_string())?;
    }
    Ok(Arc::new(roots))
}

/// Who checks clients: their certificates must be trusted; if `optional` they may show none.
///
/// # Errors
/// If one of the trusted certificates cannot be used.
pub fn client_verifier(
    trusted: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
    optional: bool,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let builder = WebPkiClientVerifier::builder_with_provider(roots(&trusted)?, Arc::clone(provider));
    let builder = if optional { builder.allow_unauthenticated() } else { builder };
    let inner = builder.build().map_err(|error| error.to_string())?;
    Ok(Arc::new(TrustedClients { inner, pinned: trusted }))
}

/// Who checks servers; `checks_host`: they must be those that were dialled.
///
/// # Errors
/// If one of the trusted certificates cannot be used.
pub fn server_verifier(
    trusted: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
    checks_host: bool,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let inner = WebPkiServerVerifier::builder_with_provider(roots(&trusted)?, Arc::clone(provider));
    let inner = inner.build().map_err(|error| error.to_string())?;
    Ok(Arc::new(TrustedServers { inner, pinned: trusted, checks_host }))
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
/// the configuration waives that.
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
