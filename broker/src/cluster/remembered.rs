//! A broker's ZooKeeper session as remembered on its disk, so that its next life can end it at once: a killed broker is back
//! without waiting for its old session to expire. Reads and writes no file.

use super::ClusterConfig;
use super::image::Endpoint;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use common::properties::Properties;

/// A session that an earlier life of this broker left behind.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) session: i64,
    /// Proves that the session was ours.
    pub(super) password: Bytes,
}

impl std::fmt::Debug for Remembered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Remembered({:x})", self.session)
    }
}

fn addresses(endpoints: &[Endpoint]) -> String {
    let address = |endpoint: &Endpoint| format!("{}://{}/{}", endpoint.listener, endpoint.host, endpoint.port);
    endpoints.iter().map(address).collect::<Vec<_>>().join(",")
}

/// What to keep of a session that began.
pub(super) fn write(config: &ClusterConfig, session: i64, password: &[u8]) -> String {
    format!(
        "# The ZooKeeper session of the running broker; its next start ends it. Not needed otherwise.\n\
         broker.id={}\naddresses={}\nsession.id={session}\nsession.password={}\n",
        config.broker_id,
        addresses(&config.endpoints).replace(':', "\\:"),
        STANDARD.encode(password).replace('=', "\\="),
    )
}

/// Reads it back. `None` unless the same broker at the same addresses wrote it: a copied directory must not end the session
/// of the broker it was copied from.
pub(super) fn read(config: &ClusterConfig) -> Option<Remembered> {
    let kept = Properties::parse(config.remembered_session.as_deref()?, "session");
    let is_ours = kept.get("broker.id")?.parse() == Ok(config.broker_id.0)
        && kept.get("addresses")? == addresses(&config.endpoints);
    let session = kept.get("session.id")?.parse().ok().filter(|&id| id != 0)?;
    let password = Bytes::from(STANDARD.decode(kept.get("session.password")?).ok()?);
    is_ours.then_some(Remembered { session, password })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecurityProtocol;
    use common::id::BrokerId;

    #[test]
    fn only_the_same_broker_at_the_same_address_gets_its_session_back() {
        let mut config = super::super::tests::config(3);
        config.endpoints[0].host = "::1".into();
        let text = write(&config, -77, b"0123456789abcdef");
        config.remembered_session = Some(text.clone());
        let found = read(&config).unwrap();
        assert_eq!((found.session, &found.password[..]), (-77, &b"0123456789abcdef"[..]));
        let moved = Endpoint {
            listener: "PLAINTEXT".into(),
            host: "other".into(),
            port: 9092,
            security_protocol: SecurityProtocol::Plaintext,
        };
        assert_eq!(read(&ClusterConfig { endpoints: vec![moved], ..config.clone() }), None);
        assert_eq!(read(&ClusterConfig { broker_id: BrokerId(4), ..config.clone() }), None);
        assert_eq!(read(&ClusterConfig { remembered_session: Some("x".into()), ..config }), None);
    }
}
