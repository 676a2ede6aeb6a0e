//! `h1:2181,h2:2181/chroot`: where a client's servers are and which part of the tree it sees. Resolves no names.

use crate::zk::path::{self, PathError};

const DEFAULT_PORT: u16 = 2181;

/// What is wrong with a connect string.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectStringError {
    /// There is no server in it.
    #[error("connect string names no server; expected host:port[,host:port...][/chroot]")]
    NoServer,
    /// The part after the servers is no path.
    #[error("chroot of the connect string: {0}")]
    Chroot(#[from] PathError),
    /// A port is no number from 0 to 65535.
    #[error("server {server} of the connect string has no valid port")]
    Port {
        /// The entry as written.
        server: String,
    },
    /// An IPv6 address in brackets is malformed.
    #[error("server {server} of the connect string: expected [address]:port")]
    Brackets {
        /// The entry as written.
        server: String,
    },
}

/// Splits a connect string into `host:port` entries (IPv6 addresses in brackets, the port 2181 where none is given) and the
/// chroot (empty if none, and for `/`), by the rules of ZooKeeper's `ConnectStringParser`.
pub fn parse_connect_string(text: &str) -> Result<(Vec<String>, String), ConnectStringError> {
    let (hosts, chroot) = match text.find('/') {
        Some(at) => (&text[..at], &text[at..]),
        None => (text, ""),
    };
    let chroot = if chroot.len() <= 1 { "" } else { chroot };
    if !chroot.is_empty() {
        path::validate(chroot)?;
    }
    let mut servers = Vec::new();
    for entry in hosts.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        servers.push(parse_server(entry)?);
    }
    if servers.is_empty() { Err(ConnectStringError::NoServer) } else { Ok((servers, chroot.to_owned())) }
}

fn parse_server(entry: &str) -> Result<String, ConnectStringError> {
    let brackets = || ConnectStringError::Brackets { server: entry.to_owned() };
    let (host, port) = if entry.starts_with('[') {
        let end = entry.rfind(']').filter(|&end| end > 1).ok_or_else(brackets)?;
        match &entry[end + 1..] {
            "" => (&entry[..=end], ""),
            rest => (&entry[..=end], rest.strip_prefix(':').filter(|port| !port.is_empty()).ok_or_else(brackets)?),
        }
    } else {
        entry.rsplit_once(':').unwrap_or((entry, ""))
    };
    let port = match port {
        "" => DEFAULT_PORT,
        digits => digits.parse().map_err(|_| ConnectStringError::Port { server: entry.to_owned() })?,
    };
    Ok(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(&[&str], &str), &str>) {
        let found = parse_connect_string(text).map_err(|e| e.to_string());
        let expected = match expected {
            Ok((servers, chroot)) => {
                Ok((servers.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>(), chroot.to_owned()))
            }
            Err(text) => Err(text.to_owned()),
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn connect_strings_are_split_as_by_zookeeper() {
        check("h1:2181,h2:2182/kafka/a", Ok((&["h1:2181", "h2:2182"], "/kafka/a")));
        check(" h1 , ,h2: ", Ok((&["h1:2181", "h2:2181"], "")));
        check("h1/", Ok((&["h1:2181"], "")));
        check("[::1]:99,[fe80::2]", Ok((&["[::1]:99", "[fe80::2]:2181"], "")));
        check("h:x", Err("server h:x of the connect string has no valid port"));
        check("h:70000", Err("server h:70000 of the connect string has no valid port"));
        check("[::1", Err("server [::1 of the connect string: expected [address]:port"));
        check("[::1]:", Err("server [::1]: of the connect string: expected [address]:port"));
        check("[::1]99", Err("server [::1]99 of the connect string: expected [address]:port"));
        check("[]:1", Err("server []:1 of the connect string: expected [address]:port"));
        check("/a", Err("connect string names no server; expected host:port[,host:port...][/chroot]"));
        check("h/a/", Err("chroot of the connect string: Path must not end with / character"));
    }
}
