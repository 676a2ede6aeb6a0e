//! SCRAM credentials of users (RFC 5802, KIP-554): read, set, removed. The password stays here; brokers get its salted hash.

use super::IllegalArgument;
use crate::client::{check, java_text};
use crate::cluster::{Cluster, Target};
use bytes::Bytes;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{
    AlterUserScramCredentialsRequest, DescribeUserScramCredentialsRequest, ScramCredentialDeletion,
    ScramCredentialUpsertion, UserName,
};
use hmac::{Hmac, Mac as _};
use sha2::{Sha256, Sha512};

const DEFAULT_ITERATIONS: i32 = 4096;
/// Of a salt made here.
const SALT_BYTES: usize = 20;

/// The mechanisms with their number on the wire.
const MECHANISMS: [(&str, i8); 2] = [("SCRAM-SHA-256", 1), ("SCRAM-SHA-512", 2)];

/// Is this setting of a user a credential?
pub(super) fn is_scram(key: &str) -> bool {
    MECHANISMS.iter().any(|(name, _)| *name == key)
}

fn number(mechanism: &str) -> i8 {
    MECHANISMS.iter().find(|(name, _)| *name == mechanism).map_or(0, |(_, number)| *number)
}

/// Sets and removes credentials of one user.
pub(super) fn alter(
    cluster: &mut Cluster,
    user: &str,
    add: &[(String, String)],
    delete: &[String],
) -> anyhow::Result<()> {
    let mut upsertions = Vec::new();
    for (mechanism, value) in add {
        let (iterations, password) = parse(mechanism, value)?;
        let salt: Vec<u8> = salt()?;
        let salted_password = match number(mechanism) {
            1 => salted_256(password.as_bytes(), &salt, iterations),
            _ => salted_512(password.as_bytes(), &salt, iterations),
        };
        upsertions.push(ScramCredentialUpsertion {
            name: user.to_owned(),
            mechanism: number(mechanism),
            iterations,
            salt: Bytes::from(salt),
            salted_password: Bytes::from(salted_password),
        });
    }
    let deletions: Vec<ScramCredentialDeletion> = delete
        .iter()
        .map(|mechanism| ScramCredentialDeletion { name: user.to_owned(), mechanism: number(mechanism) })
        .collect();
    let request = |_| AlterUserScramCredentialsRequest { deletions: deletions.clone(), upsertions: upsertions.clone() };
    let response = cluster
        .call(Target::Controller, request, |response| response.results.first().map_or(0, |result| result.error_code))?;
    for result in &response.results {
        check(result.error_code, result.error_message.as_deref())?;
    }
    Ok(())
}

/// Shows the credentials of the users, or of all who have some.
pub(super) fn describe(cluster: &mut Cluster, users: &[String]) -> anyhow::Result<()> {
    let request = |_| DescribeUserScramCredentialsRequest {
        users: Some(users.iter().map(|name| UserName { name: name.clone() }).collect()),
    };
    let response = cluster.call(Target::Any, request, |response| response.error_code)?;
    check(response.error_code, response.error_message.as_deref())?;
    for result in response.results {
        let user = result.user;
        match check(result.error_code, result.error_message.as_deref()) {
            Err(error) if error.code == ErrorCode::ResourceNotFound => {}
            Err(error) => {
                let text = java_text(&error.into());
                let text = text.rsplit_once("errors.").map_or(text.as_str(), |(_, text)| text);
                println!("Error retrieving SCRAM credential configs for user-principal '{user}': {text}");
            }
            Ok(()) => {
                let infos: Vec<String> = result
                    .credential_infos
                    .iter()
                    .map(|info| {
                        let name = MECHANISMS.iter().find(|(_, number)| *number == info.mechanism);
                        format!("{}=iterations={}", name.map_or("UNKNOWN", |(name, _)| name), info.iterations)
                    })
                    .collect();
                println!("SCRAM credential configs for user-principal '{user}' are {}", infos.join(", "));
            }
        }
    }
    Ok(())
}

/// Of `iterations=N,password=P`, the first part optional.
fn parse<'a>(mechanism: &str, value: &'a str) -> Result<(i32, &'a str), IllegalArgument> {
    let invalid = || IllegalArgument(format!("Invalid credential property {mechanism}={value}"));
    let (iterations, rest) = match value.strip_prefix("iterations=").and_then(|rest| rest.split_once(',')) {
        Some((iterations, rest)) => (iterations.parse().map_err(|_| invalid())?, rest),
        None => (DEFAULT_ITERATIONS, value),
    };
    let iterations = if iterations == -1 { DEFAULT_ITERATIONS } else { iterations };
    let password = rest.strip_prefix("password=").ok_or_else(invalid)?;
    if iterations < DEFAULT_ITERATIONS {
        return Err(IllegalArgument(format!(
            "Iterations {iterations} is less than the minimum {DEFAULT_ITERATIONS} required for {mechanism}"
        )));
    }
    Ok((iterations, password))
}

/// From the system's generator: nobody may guess it.
fn salt() -> anyhow::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut salt = vec![0; SALT_BYTES];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut salt)?;
    Ok(salt)
}

/// `Hi` of RFC 5802: the first block of PBKDF2 with HMAC.
macro_rules! hi {
    ($name:ident, $digest:ty) => {
        fn $name(password: &[u8], salt: &[u8], iterations: i32) -> Vec<u8> {
            let mac = Hmac::<$digest>::new_from_slice(password).expect("HMAC takes keys of any length");
            let mut block = mac.clone().chain_update(salt).chain_update([0, 0, 0, 1]).finalize().into_bytes();
            let mut salted = block;
            for _ in 1..iterations {
                block = mac.clone().chain_update(block).finalize().into_bytes();
                salted.iter_mut().zip(block).for_each(|(sum, byte)| *sum ^= byte);
            }
            salted.to_vec()
        }
    };
}
hi!(salted_256, Sha256);
hi!(salted_512, Sha512);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salts_as_the_rfc() {
        // The usual test vectors of PBKDF2 with HMAC-SHA-256.
        let salted = salted_256(b"password", b"salt", 1);
        assert_eq!(hex(&salted), "120fb6cffcf8b32c43e7225256c4f837a86548c92ccc35480805987cb70be17b");
        let salted = salted_256(b"password", b"salt", 4096);
        assert_eq!(hex(&salted), "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a");
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn reads_credentials() {
        for (value, expected) in [
            ("password=x", Some((4096, "x"))),
            ("iterations=8192,password=a,b", Some((8192, "a,b"))),
            ("iterations=-1,password=x", Some((4096, "x"))),
            ("iterations=1,password=x", None),
            ("x", None),
        ] {
            assert_eq!(parse("SCRAM-SHA-256", value).ok(), expected, "{value}");
        }
    }
}
