//! What TLS needs everywhere: certificates and keys from PEM text, who is trusted (as Java trusts), and versions and cipher
//! suites by the names that Java gives them. Opens no file and no socket.

use crate::distinguished_name::{self, Issuing};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
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

/// Whom a list of certificates makes trusted, as Java has it: who holds one of them, and whom one of them that may issue
/// certificates has issued one.
#[derive(Debug)]
struct Trusted {
    pinned: Vec<CertificateDer<'static>>,
    /// Those of them that may issue certificates.
    authorities: Arc<RootCertStore>,
    /// What a client is told, so that it knows which of its certificates to show.
    subjects: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Trusted {
    fn new(pinned: Vec<CertificateDer<'static>>, provider: &CryptoProvider) -> Result<Trusted, String> {
        let (mut all, mut authorities) = (RootCertStore::empty(), RootCertStore::empty());
        for certificate in &pinned {
            all.add(certificate.clone()).map_err(|error| error.to_string())?;
            if may_issue(certificate) {
                authorities.add(certificate.clone()).map_err(|error| error.to_string())?;
            }
        }
        let algorithms = provider.signature_verification_algorithms;
        Ok(Trusted { pinned, authorities: Arc::new(authorities), subjects: all.subjects(), algorithms })
    }

    fn holds(&self, certificate: &CertificateDer<'_>) -> bool {
        self.pinned.iter().any(|pinned| pinned == certificate)
    }
}

const UNKNOWN_ISSUER: rustls::Error = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);

/// Whether other certificates may be trusted because this one has signed them: if its basicConstraints say so, and of the
/// first version, which has none, if it is its own issuer. The key of any other speaks for its holder alone.
fn may_issue(certificate: &[u8]) -> bool {
    match distinguished_name::issuing(certificate) {
        Some(Issuing { is_authority: Some(is_authority), .. }) => is_authority,
        Some(Issuing { is_authority: None, is_first_version, is_own_issuer }) => is_first_version && is_own_issuer,
        None => false,
    }
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
    let trusted = Trusted::new(trusted, provider)?;
    let issued = match trusted.authorities.is_empty() {
        true => None,
        false => {
            let authorities = Arc::clone(&trusted.authorities);
            let builder = WebPkiClientVerifier::builder_with_provider(authorities, Arc::clone(provider));
            Some(builder.build().map_err(|error| error.to_string())?)
        }
    };
    Ok(Arc::new(TrustedClients { trusted, issued, optional }))
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
    let trusted = Trusted::new(trusted, provider)?;
    let issued = match trusted.authorities.is_empty() {
        true => None,
        false => {
            let authorities = Arc::clone(&trusted.authorities);
            let builder = WebPkiServerVerifier::builder_with_provider(authorities, Arc::clone(provider));
            Some(builder.build().map_err(|error| error.to_string())?)
        }
    };
    Ok(Arc::new(TrustedServers { trusted, issued, checks_host }))
}

/// The part of a verifier that looks at signatures and not at who signed.
macro_rules! signatures_as_trusted {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls12_signature(message, cert, dss, &self.trusted.algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls13_signature(message, cert, dss, &self.trusted.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.trusted.algorithms.supported_schemes()
        }
    };
}

/// Clients with a certificate of a trusted authority, or with one that is itself trusted.
#[derive(Debug)]
struct TrustedClients {
    trusted: Trusted,
    /// For certificates of an authority, if there is one.
    issued: Option<Arc<dyn ClientCertVerifier>>,
    optional: bool,
}

impl ClientCertVerifier for TrustedClients {
    fn client_auth_mandatory(&self) -> bool {
        !self.optional
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.trusted.subjects
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if self.trusted.holds(end_entity) {
            return Ok(ClientCertVerified::assertion());
        }
        let issued = self.issued.as_ref().ok_or(UNKNOWN_ISSUER)?;
        issued.verify_client_cert(end_entity, intermediates, now)
    }

    signatures_as_trusted!();
}

/// Servers with a certificate of a trusted authority or with one that is itself trusted, and for the name that was dialled
/// unless the configuration waives that.
#[derive(Debug)]
struct TrustedServers {
    trusted: Trusted,
    /// For certificates of an authority, if there is one.
    issued: Option<Arc<WebPkiServerVerifier>>,
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
        if self.trusted.holds(end_entity) {
            if self.checks_host {
                let parsed = rustls::server::ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&parsed, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        let issued = self.issued.as_ref().ok_or(UNKNOWN_ISSUER)?;
        match issued.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last: all else was found good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_host => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    signatures_as_trusted!();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its own issuer, and may issue others.
    const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBfzCCASWgAwIBAgIUDLAWODUTyJxGaMRNmQpi6rKK/EUwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJYXV0aG9yaXR5MCAXDTI2MTEyMjAwMzAwOVoYDzIxMjYxMDI5
MDAzMDA5WjAUMRIwEAYDVQQDDAlhdXRob3JpdHkwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARr3Nu0elmBZiMdkqRBjEGGqIgxLSMhohLN+VevM0+yK/RejMJl+TfR
KWiRXr9H7qc0zHTt9CB4rQYnC22acFYUo1MwUTAdBgNVHQ4EFgQU3ld8Zg7Ugws7
tTrPnrOa+YHT7vcwHwYDVR0jBBgwFoAU3ld8Zg7Ugws7tTrPnrOa+YHT7vcwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiA1c7NUIvgJUm0lua3hAqUn
rlJ7hv2XZgAZzXAC4lno0gIhAIFY/qihjoesQ34b6wAwt8+RH3YDuxcErVz1yJH0
MK+4
-----END CERTIFICATE-----
";

    /// By the authority, for `friend`.
    const FRIEND: &str = "\
-----BEGIN CERTIFICATE-----
MIIBdjCCARygAwIBAgIUJ3gNreElGnNuis9B1IlCxn2ItV0wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJYXV0aG9yaXR5MCAXDTI2MTEyMjAwMzAwOVoYDzIxMjYxMDI5
MDAzMDA5WjARMQ8wDQYDVQQDDAZmcmllbmQwWTATBgcqhkjOPQIBBggqhkjOPQMB
BwNCAAQlMm71SL4lKWDb/pRTiLnda/eyMFua9GCbS38CwvOg5eZHuI61rMrbkmNl
xzAyUKK/E3L7XN7btcg/1jUkTCZ7o00wSzAJBgNVHRMEAjAAMB0GA1UdDgQWBBQS
F8HPG+1rlY+8UZM3DiAwKwp7XzAfBgNVHSMEGDAWgBTeV3xmDtSDCzu1Os+es5r5
gdPu9zAKBggqhkjOPQQDAgNIADBFAiAsRxjiE2HIhcI1lnPI0ltcEdnCnG083zC9
5ddstyqQagIhAPkqH1kkqLYSw1QL7JQ7F+zDmYNPi/RtnEFgwritCElA
-----END CERTIFICATE-----
";

    /// Its own issuer, and says nothing about issuing; for `pinned.example`.
    const PINNED: &str = "\
-----BEGIN CERTIFICATE-----
MIIBYzCCAQigAwIBAgIUcu0OYaRn+I9a9Iq7U+ivD12bf10wCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGcGlubmVkMCAXDTI2MTEyMjAwMzAwOVoYDzIxMjYxMDI5MDAz
MDA5WjARMQ8wDQYDVQQDDAZwaW5uZWQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AARjGVJDOY0K0tBNeTwbdQJmsH22GBjTKj/5GKJu6eNSl3eRD29UpXdW0ItFzVEk
jj0SzfWOxkejfOtPvmvq+JhMozwwOjAZBgNVHREEEjAQgg5waW5uZWQuZXhhbXBs
ZTAdBgNVHQ4EFgQUx92NVQUm+4C2BpySzcs2Cr+5kNwwCgYIKoZIzj0EAwIDSQAw
RgIhAOKaW0Dhm/Qy7C4m+q5J0XShCLc4CrugjDx+vsKkVBJFAiEAwnDo4TAycJYd
NOjzORZcugudnLzbLb30+egAi9RyqDo=
-----END CERTIFICATE-----
";

    /// For `admin`, signed with the key of the one before.
    const FORGED: &str = "\
-----BEGIN CERTIFICATE-----
MIIBcTCCARigAwIBAgIUbF1/5MbLvA3Aktaj1v26eaiHp9gwCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGcGlubmVkMCAXDTI2MTEyMjAwMzAwOVoYDzIxMjYxMDI5MDAz
MDA5WjAQMQ4wDAYDVQQDDAVhZG1pbjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA
BI6z0TrHDrbMqtfYxzhrVDPzzme+7b5dLUZAH75zffMvP2dSaUia/8J9uQwWpZQ7
OecsjhLPaREu7Jibk2ZicpWjTTBLMAkGA1UdEwQCMAAwHQYDVR0OBBYEFOnMBVMU
Ryj3MxjMbeYI43dcWvwMMB8GA1UdIwQYMBaAFMfdjVUFJvuAtgacks3LNgq/uZDc
MAoGCCqGSM49BAMCA0cAMEQCIBKMQMKr7W5P1OL2i8w4YjDPgvIYoWXRaTnjImy0
hVZ/AiB0R+T2x3VnD6JAUa3qy3vGbKvaQK3mnzYqXxVDWz3o7A==
-----END CERTIFICATE-----
";

    /// Of the first version, which cannot say who may issue.
    const OLD: &str = "\
-----BEGIN CERTIFICATE-----
MIIBFzCBvwIUelPunyRNDsilsKQT5B3DDs/axz4wCgYIKoZIzj0EAwIwDjEMMAoG
A1UEAwwDb2xkMCAXDTI2MTEyMjAwMzAwOVoYDzIxMjYxMDI5MDAzMDA5WjAOMQww
CgYDVQQDDANvbGQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQuwOmKFdDwR2fe
jxjaU09ykTAnBDMA1XNy9kBHaIqXAjQG/h2IBRa7o4E7qV1NG+LApO1cru9u95OL
t6Ob/cAmMAoGCCqGSM49BAMCA0cAMEQCIDRkwTNCRoMjQw4wsQKi6DNOlhBWCLKB
f/Ckyi08mVfiAiAqI7eeRpeG/DyE1Zg+SteyA8jb0nDQ40/X4Iyw8H5/1A==
-----END CERTIFICATE-----
";

    fn parsed(pems: &[&str]) -> Vec<CertificateDer<'static>> {
        certificates(pems.concat().as_bytes()).unwrap()
    }

    /// What `shown` proves to a server and to a client that trust these.
    fn check(trusted: &[&str], shown: &str, expected: bool) {
        let provider = Arc::new(provider("").unwrap());
        let shown = &parsed(&[shown])[0];
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_900_000_000));
        let clients = client_verifier(parsed(trusted), &provider, false).unwrap();
        assert!(clients.offer_client_auth() && clients.client_auth_mandatory());
        assert_eq!(clients.root_hint_subjects().len(), trusted.len());
        assert!(!clients.supported_verify_schemes().is_empty());
        assert_eq!(clients.verify_client_cert(shown, &[], now).is_ok(), expected);
        let servers = server_verifier(parsed(trusted), &provider, false).unwrap();
        let name = ServerName::try_from("elsewhere.example").unwrap();
        assert_eq!(servers.verify_server_cert(shown, &[], &name, &[], now).is_ok(), expected);
    }

    #[test]
    fn only_an_authority_vouches_for_others() {
        check(&[AUTHORITY], FRIEND, true);
        check(&[AUTHORITY], PINNED, false);
        check(&[PINNED], PINNED, true);
        check(&[PINNED], FORGED, false);
        check(&[PINNED, AUTHORITY], FORGED, false);
        check(&[PINNED, AUTHORITY], FRIEND, true);
        check(&[FRIEND], FRIEND, true);
        check(&[FRIEND, OLD], AUTHORITY, false);
    }

    #[test]
    fn who_may_issue() {
        for (pem, expected) in [(AUTHORITY, true), (FRIEND, false), (PINNED, false), (FORGED, false), (OLD, true)] {
            let der = parsed(&[pem])[0].to_vec();
            assert_eq!(may_issue(&der), expected, "{pem}");
            // Whatever is cut off, nothing panics.
            for len in 0..der.len() {
                assert!(!may_issue(&der[..len]), "{len} bytes of {pem}");
            }
        }
    }

    #[test]
    fn a_server_whose_certificate_is_trusted_must_be_the_one_that_was_dialled() {
        let provider = Arc::new(provider("").unwrap());
        let servers = server_verifier(parsed(&[PINNED]), &provider, true).unwrap();
        for (name, expected) in [("pinned.example", true), ("elsewhere.example", false)] {
            let name = ServerName::try_from(name).unwrap();
            let verified = servers.verify_server_cert(&parsed(&[PINNED])[0], &[], &name, &[], UnixTime::now());
            assert_eq!(verified.is_ok(), expected, "{name:?}");
        }
    }
}
