//! How a tool talks to brokers, by the settings of Java's clients: in TLS or not, and logged in as whom. Opens no connection.

use anyhow::{Context as _, bail};
use common::jaas;
use common::scram::ScramMechanism;
use common::tls;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whom everybody trusts if no trust store is named.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// How to prove who we are.
#[derive(Clone, Debug, Default)]
pub(crate) enum Login {
    /// Not at all.
    #[default]
    None,
    /// SASL/PLAIN (RFC 4616).
    Plain { username: String, password: String },
    /// SCRAM (RFC 5802).
    Scram { mechanism: ScramMechanism, username: String, password: String },
}

/// `security.protocol` and what belongs to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Security {
    pub(crate) login: Login,
    /// `None`: in the clear.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

impl Security {
    /// By the settings.
    ///
    /// # Errors
    /// If they cannot be used; the text names the setting.
    pub(crate) fn of(settings: &BTreeMap<String, String>) -> anyhow::Result<Security> {
        let protocol = settings.get("security.protocol").map_or("PLAINTEXT", |text| text.trim()).to_uppercase();
        let (uses_tls, uses_sasl) = match protocol.as_str() {
            "PLAINTEXT" => (false, false),
            "SSL" => (true, false),
            "SASL_PLAINTEXT" => (false, true),
            "SASL_SSL" => (true, true),
            other => bail!(
                "Invalid value {other} for configuration security.protocol: String must be one of: PLAINTEXT, SASL_PLAINTEXT, SASL_SSL, SSL"
            ),
        };
        Ok(Security {
            login: if uses_sasl { login(settings)? } else { Login::None },
            tls: if uses_tls { Some(encryption(settings)?) } else { None },
        })
    }
}

fn login(settings: &BTreeMap<String, String>) -> anyhow::Result<Login> {
    let mechanism = settings.get("sasl.mechanism").map_or("GSSAPI", |text| text.trim());
    let text = settings.get("sasl.jaas.config").context("sasl.jaas.config is needed to log in")?;
    let modules = jaas::parse(text).context("sasl.jaas.config")?;
    let option = |key: &str| {
        let found = modules.iter().find_map(|module| module.options.get(key)).cloned();
        found.with_context(|| format!("sasl.jaas.config has no {key}"))
    };
    if mechanism == "PLAIN" {
        return Ok(Login::Plain { username: option("username")?, password: option("password")? });
    }
    match ScramMechanism::from_name(mechanism) {
        Some(mechanism) => Ok(Login::Scram { mechanism, username: option("username")?, password: option("password")? }),
        None => {
            bail!("sasl.mechanism={mechanism}: this tool can log in with PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 only")
        }
    }
}

fn encryption(settings: &BTreeMap<String, String>) -> anyhow::Result<Arc<ClientConfig>> {
    let get = |key: &str| settings.get(key).map(|text| text.trim()).filter(|text| !text.is_empty());
    let problem = |key: &str, problem: String| anyhow::anyhow!("{key}: {problem}");
    let suites = get("ssl.cipher.suites").unwrap_or("");
    let provider = Arc::new(tls::provider(suites).map_err(|text| problem("ssl.cipher.suites", text))?);
    let versions = tls::versions(get("ssl.enabled.protocols").unwrap_or(""));
    let versions = versions.map_err(|text| problem("ssl.enabled.protocols", text))?;
    // Only an empty value waives the check; a missing one is https.
    let checks_host = settings.get("ssl.endpoint.identification.algorithm").is_none_or(|text| !text.trim().is_empty());
    let (key, trusted) = trusted(settings)?;
    let verifier = tls::server_verifier(trusted, &provider, checks_host).map_err(|text| problem(key, text))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let (key, pem) = match (get("ssl.keystore.key"), get("ssl.keystore.location")) {
        (Some(private), _) => {
            let chain = get("ssl.keystore.certificate.chain").context("ssl.keystore.certificate.chain is not set")?;
            ("ssl.keystore.key", format!("{private}\n{chain}\n").into_bytes())
        }
        (None, Some(file)) => ("ssl.keystore.location", read_pem(file)?),
        (None, None) => return Ok(Arc::new(builder.with_no_client_auth())),
    };
    let chain = tls::certificates(&pem).map_err(|text| problem(key, text))?;
    let private = tls::private_key(&pem).map_err(|text| problem(key, text))?;
    Ok(Arc::new(builder.with_client_auth_cert(chain, private).context(key)?))
}

fn trusted(settings: &BTreeMap<String, String>) -> anyhow::Result<(&'static str, Vec<CertificateDer<'static>>)> {
    let (key, pem) = match (settings.get("ssl.truststore.certificates"), settings.get("ssl.truststore.location")) {
        (Some(text), _) => ("ssl.truststore.certificates", text.clone().into_bytes()),
        (None, Some(file)) => ("ssl.truststore.location", read_pem(file.trim())?),
        (None, None) => (SYSTEM_AUTHORITIES, read_pem(SYSTEM_AUTHORITIES)?),
    };
    let certificates = tls::certificates(&pem).map_err(|text| anyhow::anyhow!("{key}: {text}"))?;
    Ok((key, certificates))
}

fn read_pem(file: &str) -> anyhow::Result<Vec<u8>> {
    let bytes = std::fs::read(file).with_context(|| format!("reading {file}"))?;
    if !bytes.windows(10).any(|part| part == b"-----BEGIN") {
        bail!("{file}: only PEM files are read; make one: openssl pkcs12 -in STORE.p12 -nodes -out STORE.pem");
    }
    Ok(bytes)
}
