//! SCRAM (RFC 5802, RFC 7677) as Kafka speaks it: credentials as they stand in ZooKeeper, and both sides of the exchange. No
//! channel binding, no normalisation of names (Kafka does none). Draws nothing at random: nonces and salts are arguments.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256, Sha512};
use thiserror::Error;

/// Fewer iterations are refused, by Kafka too.
pub const ITERATIONS_MIN: i32 = 4096;
/// More iterations are refused when credentials are set (KIP-554).
pub const ITERATIONS_MAX: i32 = 16384;

/// Which hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScramMechanism {
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

impl ScramMechanism {
    /// All of them.
    pub const ALL: [ScramMechanism; 2] = [ScramMechanism::Sha256, ScramMechanism::Sha512];

    /// As in settings and on the wire of SASL.
    pub fn name(self) -> &'static str {
        match self {
            ScramMechanism::Sha256 => "SCRAM-SHA-256",
            ScramMechanism::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// By its name.
    pub fn from_name(name: &str) -> Option<ScramMechanism> {
        ScramMechanism::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// The number in the APIs of KIP-554.
    pub fn number(self) -> i8 {
        match self {
            ScramMechanism::Sha256 => 1,
            ScramMechanism::Sha512 => 2,
        }
    }

    /// By its number.
    pub fn from_number(number: i8) -> Option<ScramMechanism> {
        ScramMechanism::ALL.into_iter().find(|mechanism| mechanism.number() == number)
    }

    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            ScramMechanism::Sha256 => Sha256::digest(bytes).to_vec(),
            ScramMechanism::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        fn mac<M: Mac + hmac::digest::KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
            let mut mac = <M as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
            for part in parts {
                mac.update(part);
            }
            mac.finalize().into_bytes().to_vec()
        }
        match self {
            ScramMechanism::Sha256 => mac::<Hmac<Sha256>>(key, parts),
            ScramMechanism::Sha512 => mac::<Hmac<Sha512>>(key, parts),
        }
    }

    /// `Hi` of RFC 5802: PBKDF2 with one block.
    pub fn salted_password(self, password: &[u8], salt: &[u8], iterations: i32) -> Vec<u8> {
        let mut last = self.hmac(password, &[salt, &[0, 0, 0, 1]]);
        let mut salted = last.clone();
        for _ in 1..iterations {
            last = self.hmac(password, &[&last]);
            xor(&mut salted, &last);
        }
        salted
    }
}

fn xor(into: &mut [u8], other: &[u8]) {
    into.iter_mut().zip(other).for_each(|(byte, other)| *byte ^= other);
}

/// Equal, found out in a time that does not tell where they differ.
pub fn is_same_secret(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// What a server keeps of a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramCredential {
    /// Drawn for this credential.
    pub salt: Vec<u8>,
    /// By which a client's proof is checked.
    pub stored_key: Vec<u8>,
    /// By which the server proves that it has the credential.
    pub server_key: Vec<u8>,
    /// How often the password was hashed.
    pub iterations: i32,
}

impl ScramCredential {
    /// Of a salted password.
    pub fn new(mechanism: ScramMechanism, salted_password: &[u8], salt: &[u8], iterations: i32) -> ScramCredential {
        let client_key = mechanism.hmac(salted_password, &[b"Client Key"]);
        ScramCredential {
            salt: salt.to_vec(),
            stored_key: mechanism.hash(&client_key),
            server_key: mechanism.hmac(salted_password, &[b"Server Key"]),
            iterations,
        }
    }

    /// As in `/config/users/U`.
    pub fn to_text(&self) -> String {
        let [salt, stored, server] = [&self.salt, &self.stored_key, &self.server_key].map(|part| BASE64.encode(part));
        format!("salt={salt},stored_key={stored},server_key={server},iterations={}", self.iterations)
    }

    /// Of the text in `/config/users/U`; `None` if it is none.
    pub fn from_text(text: &str) -> Option<ScramCredential> {
        let part = |name: &str| {
            text.split(',')
                .find_map(|part| part.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
        };
        let bytes = |name: &str| BASE64.decode(part(name)?).ok();
        Some(ScramCredential {
            salt: bytes("salt")?,
            stored_key: bytes("stored_key")?,
            server_key: bytes("server_key")?,
            iterations: part("iterations")?.parse().ok()?,
        })
    }
}

/// Why an exchange ends. Servers tell their clients nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScramError {
    /// A message is not as RFC 5802 has it.
    #[error("a SCRAM message cannot be read")]
    Malformed,
    /// The server named too few iterations, which would give the password away.
    #[error("the server asks for {0} iterations, fewer than {ITERATIONS_MIN}")]
    Iterations(i32),
    /// The other side does not continue the exchange that was begun.
    #[error("the nonce is of another exchange")]
    Nonce,
    /// The client has another password.
    #[error("the client's proof is wrong")]
    Proof,
    /// The server does not have the credential.
    #[error("the server's signature is wrong")]
    Signature,
    /// The server said so.
    #[error("{0}")]
    Refused(String),
}

/// A client's first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFirst {
    /// Who it says it is.
    pub user: String,
    /// As whom it wants to act; empty if it does not say.
    pub authorization_id: String,
    /// True if the name is that of a delegation token (KIP-48).
    pub is_token: bool,
    nonce: String,
    header: String,
    bare: String,
}

impl ClientFirst {
    /// Reads it.
    ///
    /// # Errors
    /// If it is not one.
    pub fn parse(message: &[u8]) -> Result<ClientFirst, ScramError> {
        let text = std::str::from_utf8(message).map_err(|_| ScramError::Malformed)?;
        let rest = text.strip_prefix("n,").ok_or(ScramError::Malformed)?;
        let (authorization, bare) = rest.split_once(',').ok_or(ScramError::Malformed)?;
        let authorization_id = match authorization {
            "" => "",
            other => other.strip_prefix("a=").ok_or(ScramError::Malformed)?,
        };
        let name = attribute(bare, 'n').ok_or(ScramError::Malformed)?;
        let nonce = attribute(bare, 'r').filter(|nonce| !nonce.is_empty()).ok_or(ScramError::Malformed)?;
        Ok(ClientFirst {
            user: name.replace("=2C", ",").replace("=3D", "="),
            authorization_id: authorization_id.to_owned(),
            is_token: bare.split(',').any(|part| part == "tokenauth=true"),
            nonce: nonce.to_owned(),
            header: format!("n,{authorization},"),
            bare: bare.to_owned(),
        })
    }
}

/// The value of an attribute of one letter.
fn attribute(message: &str, name: char) -> Option<&str> {
    message.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

/// The server's side, between its first message and the client's second.
#[derive(Clone, Debug)]
pub struct ScramServer {
    mechanism: ScramMechanism,
    credential: ScramCredential,
    nonce: String,
    header: String,
    /// Both first messages.
    exchanged: String,
}

impl ScramServer {
    /// Answers a client's first message. `nonce` is drawn for this exchange.
    pub fn begin(
        mechanism: ScramMechanism,
        first: ClientFirst,
        credential: ScramCredential,
        nonce: &str,
    ) -> (ScramServer, Vec<u8>) {
        let nonce = format!("{}{nonce}", first.nonce);
        let message = format!("r={nonce},s={},i={}", BASE64.encode(&credential.salt), credential.iterations);
        let exchanged = format!("{},{message}", first.bare);
        let server = ScramServer { mechanism, credential, nonce, header: first.header, exchanged };
        (server, message.into_bytes())
    }

    /// Checks the client's proof; gives the server's.
    ///
    /// # Errors
    /// If the client does not have the password.
    pub fn finish(self, message: &[u8]) -> Result<Vec<u8>, ScramError> {
        let text = std::str::from_utf8(message).map_err(|_| ScramError::Malformed)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let mut client_key = BASE64.decode(proof).map_err(|_| ScramError::Malformed)?;
        // librdkafka before 2.6.1 says its own part twice; Kafka lets that pass.
        if !attribute(without_proof, 'r').is_some_and(|nonce| nonce.ends_with(&self.nonce)) {
            return Err(ScramError::Nonce);
        }
        if attribute(without_proof, 'c') != Some(&BASE64.encode(&self.header)) {
            return Err(ScramError::Malformed);
        }
        let exchanged = format!("{},{without_proof}", self.exchanged);
        let signature = self.mechanism.hmac(&self.credential.stored_key, &[exchanged.as_bytes()]);
        if client_key.len() != signature.len() {
            return Err(ScramError::Proof);
        }
        xor(&mut client_key, &signature);
        if !is_same_secret(&self.mechanism.hash(&client_key), &self.credential.stored_key) {
            return Err(ScramError::Proof);
        }
        let signature = self.mechanism.hmac(&self.credential.server_key, &[exchanged.as_bytes()]);
        Ok(format!("v={}", BASE64.encode(signature)).into_bytes())
    }
}

/// The client's side.
#[derive(Clone, Debug)]
pub struct ScramClient {
    mechanism: ScramMechanism,
    password: String,
    nonce: String,
    bare: String,
    /// Known once the second message is written.
    server_signature: Option<Vec<u8>>,
}

impl ScramClient {
    /// Begins; gives the first message. `nonce` is drawn for this exchange.
    pub fn begin(mechanism: ScramMechanism, user: &str, password: &str, nonce: &str) -> (ScramClient, Vec<u8>) {
        let bare = format!("n={},r={nonce}", user.replace('=', "=3D").replace(',', "=2C"));
        let first = format!("n,,{bare}").into_bytes();
        let (password, nonce) = (password.to_owned(), nonce.to_owned());
        (ScramClient { mechanism, password, nonce, bare, server_signature: None }, first)
    }

    /// Takes the server's next message; gives the client's, or `None` when the server has proved itself.
    ///
    /// # Errors
    /// If the server refuses, or has not the credential.
    pub fn step(&mut self, message: &[u8]) -> Result<Option<Vec<u8>>, ScramError> {
        let text = std::str::from_utf8(message).map_err(|_| ScramError::Malformed)?;
        if let Some(expected) = &self.server_signature {
            if let Some(error) = attribute(text, 'e') {
                return Err(ScramError::Refused(error.to_owned()));
            }
            let found = attribute(text, 'v').and_then(|text| BASE64.decode(text).ok());
            return match found.is_some_and(|found| is_same_secret(&found, expected)) {
                true => Ok(None),
                false => Err(ScramError::Signature),
            };
        }
        let part = |name| attribute(text, name).ok_or(ScramError::Malformed);
        let nonce = part('r')?;
        if !nonce.starts_with(&self.nonce) {
            return Err(ScramError::Nonce);
        }
        let salt = BASE64.decode(part('s')?).map_err(|_| ScramError::Malformed)?;
        let iterations: i32 = part('i')?.parse().map_err(|_| ScramError::Malformed)?;
        if iterations < ITERATIONS_MIN {
            return Err(ScramError::Iterations(iterations));
        }
        let salted = self.mechanism.salted_password(self.password.as_bytes(), &salt, iterations);
        let credential = ScramCredential::new(self.mechanism, &salted, &salt, iterations);
        let without_proof = format!("c={},r={nonce}", BASE64.encode("n,,"));
        let exchanged = format!("{},{text},{without_proof}", self.bare);
        let mut proof = self.mechanism.hmac(&salted, &[b"Client Key"]);
        xor(&mut proof, &self.mechanism.hmac(&credential.stored_key, &[exchanged.as_bytes()]));
        self.server_signature = Some(self.mechanism.hmac(&credential.server_key, &[exchanged.as_bytes()]));
        Ok(Some(format!("{without_proof},p={}", BASE64.encode(proof)).into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677.
    #[test]
    fn the_example_of_the_standard() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = ScramMechanism::Sha256.salted_password(b"pencil", &salt, 4096);
        let credential = ScramCredential::new(ScramMechanism::Sha256, &salted, &salt, 4096);
        let nonce = "rOprNGfwEbeRWgbNEkqO";
        let (mut client, first) = ScramClient::begin(ScramMechanism::Sha256, "user", "pencil", nonce);
        assert_eq!(first, format!("n,,n=user,r={nonce}").into_bytes());
        let first = ClientFirst::parse(&first).unwrap();
        let server_nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let (server, challenge) = ScramServer::begin(ScramMechanism::Sha256, first, credential, server_nonce);
        assert_eq!(challenge, format!("r={nonce}{server_nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096").into_bytes());
        let proof = client.step(&challenge).unwrap().unwrap();
        let expected =
            format!("c=biws,r={nonce}{server_nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").into_bytes();
        assert_eq!(proof, expected);
        let end = server.finish(&proof).unwrap();
        assert_eq!(end, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert_eq!(client.step(&end), Ok(None));
        assert_eq!(client.step(b"v=AAAA"), Err(ScramError::Signature));
    }

    #[test]
    fn another_password_or_exchange_is_refused() {
        for mechanism in ScramMechanism::ALL {
            let salted = mechanism.salted_password(b"right", b"salt", 4096);
            let credential = ScramCredential::new(mechanism, &salted, b"salt", 4096);
            assert_eq!(ScramCredential::from_text(&credential.to_text()), Some(credential.clone()));
            for (password, expected) in [("right", Ok(None)), ("wrong", Err(ScramError::Proof))] {
                let (mut client, first) = ScramClient::begin(mechanism, "a,b=c", password, "x");
                let first = ClientFirst::parse(&first).unwrap();
                assert_eq!(first.user, "a,b=c");
                let (server, challenge) = ScramServer::begin(mechanism, first, credential.clone(), "y");
                let proof = client.step(&challenge).unwrap().unwrap();
                let other = ScramServer { nonce: "z".to_owned(), ..server.clone() };
                assert_eq!(other.finish(&proof), Err(ScramError::Nonce));
                assert_eq!(server.finish(&proof).map(|end| client.step(&end).unwrap()), expected);
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for message in ["", "n", "n,,", "y,,n=a,r=b", "n,b=c,n=a,r=b", "n,,n=a", "n,,r=a", "n,,n=a,r="] {
            assert_eq!(ClientFirst::parse(message.as_bytes()), Err(ScramError::Malformed), "{message}");
        }
        for text in ["", "salt=", "salt=!,stored_key=,server_key=,iterations=1", "salt=,stored_key=,server_key="] {
            assert_eq!(ScramCredential::from_text(text), None, "{text}");
        }
        let (mut client, _) = ScramClient::begin(ScramMechanism::Sha256, "a", "b", "n");
        assert_eq!(client.step(b"r=other,s=AA==,i=4096"), Err(ScramError::Nonce));
        assert_eq!(client.step(b"r=nx,s=AA==,i=1"), Err(ScramError::Iterations(1)));
        assert_eq!(client.step(b"nonsense"), Err(ScramError::Malformed));
    }
}
