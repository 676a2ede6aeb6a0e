//! `listeners`, `advertised.listeners`, `listener.security.protocol.map` and which listener brokers use among
//! themselves: Kafka 3.9's rules and messages. Opens no socket, resolves no name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

/// How bytes travel on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL without encryption.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// By its name in any case.
    pub fn parse(name: &str) -> Option<SecurityProtocol> {
        Some(match name.to_uppercase().as_str() {
            "PLAINTEXT" => SecurityProtocol::Plaintext,
            "SSL" => SecurityProtocol::Ssl,
            "SASL_PLAINTEXT" => SecurityProtocol::SaslPlaintext,
            "SASL_SSL" => SecurityProtocol::SaslSsl,
            _ => return None,
        })
    }

    /// As written in configuration and in `/brokers/ids/N`.
    pub fn name(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "PLAINTEXT",
            SecurityProtocol::Ssl => "SSL",
            SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
            SecurityProtocol::SaslSsl => "SASL_SSL",
        }
    }

    /// The number in UpdateMetadata requests.
    pub fn id(self) -> i16 {
        match self {
            SecurityProtocol::Plaintext => 0,
            SecurityProtocol::Ssl => 1,
            SecurityProtocol::SaslPlaintext => 2,
            SecurityProtocol::SaslSsl => 3,
        }
    }

    /// True if clients authenticate by SASL.
    pub fn uses_sasl(self) -> bool {
        matches!(self, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl)
    }

    /// True if the connection is encrypted.
    pub fn uses_tls(self) -> bool {
        matches!(self, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl)
    }
}

/// One endpoint of `listeners` or `advertised.listeners`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, in upper case.
    pub name: String,
    /// How bytes travel.
    pub protocol: SecurityProtocol,
    /// Host name or address; `None` is every interface, or this host's own name when advertised.
    pub host: Option<String>,
    /// Port; 0 lets the system choose.
    pub port: u16,
}

impl Listener {
    /// As in `/brokers/ids/N`: `PLAINTEXT://host:9092`, IPv6 addresses in brackets.
    pub fn endpoint(&self) -> String {
        let host = self.host.as_deref().unwrap_or("");
        if host.contains(':') {
            format!("{}://[{host}]:{}", self.name, self.port)
        } else {
            format!("{}://{host}:{}", self.name, self.port)
        }
    }
}

/// The protocol of each listener name.
pub(super) fn protocol_map(text: &str) -> Result<BTreeMap<String, SecurityProtocol>, String> {
    let mut map = BTreeMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let Some((name, protocol)) = pair.rsplit_once(':') else {
            return Err(format!("Error parsing configuration property 'listener.security.protocol.map': {pair}"));
        };
        let protocol = protocol.trim();
        let protocol = SecurityProtocol::parse(protocol).ok_or_else(|| {
            format!("Invalid security protocol `{protocol}` defined in listener.security.protocol.map")
        })?;
        map.insert(name.trim().to_uppercase(), protocol);
    }
    Ok(map)
}

/// The endpoints in a list. `listened` refuses two on the same port, unless one is IPv4 and the other IPv6 (KIP-797).
pub(super) fn listeners(
    text: &str,
    protocols: &BTreeMap<String, SecurityProtocol>,
    listened: bool,
) -> Result<Vec<Listener>, String> {
    let mut list: Vec<Listener> = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let problem = |problem: String| format!("Error creating broker listeners from '{text}': {problem}");
        list.push(listener(entry, protocols).map_err(problem)?);
    }
    let names: BTreeSet<&str> = list.iter().map(|listener| listener.name.as_str()).collect();
    if names.len() != list.len() {
        return Err(format!("Each listener must have a different name, listeners: {text}"));
    }
    if listened {
        check_ports(&list, text)?;
    }
    Ok(list)
}

fn listener(entry: &str, protocols: &BTreeMap<String, SecurityProtocol>) -> Result<Listener, String> {
    let unreadable = || format!("Unable to parse {entry} to a broker endpoint");
    let (name, address) = entry.rsplit_once("://").ok_or_else(unreadable)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(unreadable)?;
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host);
    if !host.chars().all(|c| c.is_ascii_alphanumeric() || "-%._:".contains(c)) {
        return Err(unreadable());
    }
    let port = port.parse().map_err(|_| unreadable())?;
    let name = name.to_uppercase();
    let Some(&protocol) = protocols.get(&name) else {
        return Err(format!("No security protocol defined for listener {name}"));
    };
    Ok(Listener { name, protocol, host: (!host.is_empty()).then(|| host.to_owned()), port })
}

fn check_ports(list: &[Listener], text: &str) -> Result<(), String> {
    let mut by_port: BTreeMap<u16, Vec<&Listener>> = BTreeMap::new();
    for listener in list.iter().filter(|listener| listener.port != 0) {
        by_port.entry(listener.port).or_default().push(listener);
    }
    let v4 = |listener: &&&Listener| listener.host.as_ref().is_some_and(|host| host.parse::<Ipv4Addr>().is_ok());
    let v6 = |listener: &&&Listener| listener.host.as_ref().is_some_and(|host| host.parse::<Ipv6Addr>().is_ok());
    for (port, same) in by_port {
        let (v4, v6) = (same.iter().filter(v4).count(), same.iter().filter(v6).count());
        let named = same.len() - v4 - v6;
        if named > 1 {
            return Err(format!("Each listener must have a different port, listeners: {text}"));
        }
        match v4 + v6 {
            // One address may share its port with one name: which is which is not known before resolving.
            0 | 1 => {}
            2 if v4 == 1 && named == 0 => {}
            2 => {
                return Err(format!(
                    "If you have two listeners on the same port then one needs to be IPv4 and the other IPv6, \
                     listeners: {text}, port: {port}"
                ));
            }
            _ => {
                return Err(format!(
                    "Each listener must have a different port unless exactly one listener has an IPv4 address and the \
                     other IPv6 address, listeners: {text}, port: {port}"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, listened: bool, expected: Result<&[&str], &str>) {
        let map = protocol_map("PLAINTEXT:PLAINTEXT,SSL:SSL,ext:SASL_SSL").unwrap();
        let found = listeners(text, &map, listened)
            .map(|list| list.iter().map(|l| format!("{} {}", l.endpoint(), l.protocol.name())).collect::<Vec<_>>());
        let expected = expected.map(|list| list.iter().map(|l| (*l).to_owned()).collect()).map_err(str::to_owned);
        assert_eq!(found, expected);
    }

    #[test]
    fn listeners_are_read_as_kafka_reads_them() {
        check("PLAINTEXT://:9092", true, Ok(&["PLAINTEXT://:9092 PLAINTEXT"]));
        check(
            "plaintext://localhost:9092 , EXT://[::1]:9094",
            true,
            Ok(&["PLAINTEXT://localhost:9092 PLAINTEXT", "EXT://[::1]:9094 SASL_SSL"]),
        );
        check(
            "PLAINTEXT://127.0.0.1:9092,SSL://[::1]:9092",
            true,
            Ok(&["PLAINTEXT://127.0.0.1:9092 PLAINTEXT", "SSL://[::1]:9092 SSL"]),
        );
        check("PLAINTEXT://a:1,SSL://b:1", false, Ok(&["PLAINTEXT://a:1 PLAINTEXT", "SSL://b:1 SSL"]));
        check(
            "PLAINTEXT://a:1,SSL://b:1",
            true,
            Err("Each listener must have a different port, listeners: PLAINTEXT://a:1,SSL://b:1"),
        );
        check(
            "PLAINTEXT://a:1,PLAINTEXT://b:2",
            true,
            Err("Each listener must have a different name, listeners: PLAINTEXT://a:1,PLAINTEXT://b:2"),
        );
        check(
            "FOO://a:1",
            true,
            Err("Error creating broker listeners from 'FOO://a:1': No security protocol defined for listener FOO"),
        );
        check(
            "localhost:9092",
            true,
            Err(
                "Error creating broker listeners from 'localhost:9092': Unable to parse localhost:9092 to a broker endpoint",
            ),
        );
    }
}
