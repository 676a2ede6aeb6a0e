//! The `digest` scheme: the id that stands in access lists for a user and password. Checks nobody's permission.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// The id of `user:password`: `user:` and the base64 of the SHA-1 of all of it, as ZooKeeper's
/// `DigestAuthenticationProvider` makes it by default. Without a colon the whole is user and secret at once. What is not
/// UTF-8 is replaced first, as Java does.
pub fn digest_id(credentials: &[u8]) -> String {
    let credentials = String::from_utf8_lossy(credentials);
    let user = credentials.split(':').next().unwrap_or_default();
    format!("{user}:{}", STANDARD.encode(Sha1::digest(credentials.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_zookeeper() {
        for (credentials, id) in [
            ("super:test", "super:D/InIHSb7yEEbrWz8b9l71RjZJU="),
            ("user:pass:word", "user:yNMcEO4y6Bgll487yEAxpvnMYoo="),
            ("nobody", "nobody:Nl7BemdfMnO8FsdHYa2D8s8HxZo="),
        ] {
            assert_eq!(digest_id(credentials.as_bytes()), id);
        }
    }
}
