//! SASL DIGEST-MD5 (RFC 2831), the server's side, with the users of a JAAS file as ZooKeeper reads it, and the other side for
//! servers that dial each other. It changes no connection: it says what to answer and who was proved.

use std::collections::BTreeMap;
use std::sync::Arc;

use md5::{Digest, Md5};

/// The realm that ZooKeeper's server has, and the name by which its clients call it.
const REALM: &str = "zk-sasl-md5";

/// Names and passwords of the users that may prove who they are.
pub type Users = Arc<BTreeMap<String, String>>;

/// Why an exchange ends badly; the client hears of none of it but that it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// A token came that does not belong here.
    #[error("the token is not expected now")]
    Unexpected,
    /// A token without what it must have, or with another nonce, realm or quality than this server's.
    #[error("the token does not answer the challenge")]
    Malformed,
    /// No such user, or another password.
    #[error("user or password is wrong")]
    Refused,
}

/// Fresh -> Challenged -> Fresh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Exchange {
    /// Nothing has been said.
    #[default]
    Fresh,
    /// This nonce was sent.
    Challenged(String),
}

impl Exchange {
    /// Takes a client's token: what to answer, and who was proved if that was the last one. `nonce` must never have been
    /// used.
    ///
    /// # Errors
    /// See [`SaslError`]; the exchange begins anew.
    pub fn step(
        &mut self,
        users: &BTreeMap<String, String>,
        token: &[u8],
        nonce: impl FnOnce() -> String,
    ) -> Result<(Vec<u8>, Option<String>), SaslError> {
        match std::mem::take(self) {
            Exchange::Fresh if token.is_empty() => {
                let nonce = nonce();
                let challenge =
                    format!("realm=\"{REALM}\",nonce=\"{nonce}\",qop=\"auth\",charset=utf-8,algorithm=md5-sess");
                *self = Exchange::Challenged(nonce);
                Ok((challenge.into_bytes(), None))
            }
            Exchange::Fresh => Err(SaslError::Unexpected),
            Exchange::Challenged(nonce) => {
                let (answer, user) = verify(users, &nonce, token)?;
                Ok((answer, Some(user)))
            }
        }
    }
}

fn verify(users: &BTreeMap<String, String>, nonce: &str, token: &[u8]) -> Result<(Vec<u8>, String), SaslError> {
    let fields = directives(std::str::from_utf8(token).map_err(|_| SaslError::Malformed)?)?;
    let get = |key: &str| fields.get(key).map(String::as_str).ok_or(SaslError::Malformed);
    let (user, cnonce, uri, response) = (get("username")?, get("cnonce")?, get("digest-uri")?, get("response")?);
    let (count, realm) = (get("nc")?, fields.get("realm").map_or("", String::as_str));
    let quality = fields.get("qop").map_or("auth", String::as_str);
    if get("nonce")? != nonce || count != "00000001" || realm != REALM || quality != "auth" {
        return Err(SaslError::Malformed);
    }
    if fields.get("authzid").is_some_and(|other| other != user) {
        return Err(SaslError::Refused);
    }
    let password = users.get(user).ok_or(SaslError::Refused)?;
    let secret = Secret { user, realm, password, nonce, cnonce };
    let authzid = fields.get("authzid").map(String::as_str);
    let expected = secret.proof(authzid, quality, &format!("AUTHENTICATE:{uri}"));
    if !are_equal(&expected, response) {
        return Err(SaslError::Refused);
    }
    let answer = secret.proof(authzid, quality, &format!(":{uri}"));
    Ok((format!("rspauth={answer}").into_bytes(), user.to_owned()))
}

/// What both sides know and a listener does not.
struct Secret<'a> {
    user: &'a str,
    realm: &'a str,
    password: &'a str,
    nonce: &'a str,
    cnonce: &'a str,
}

impl Secret<'_> {
    fn proof(&self, authzid: Option<&str>, quality: &str, a2: &str) -> String {
        let Secret { user, realm, password, nonce, cnonce } = self;
        let mut secret = Md5::digest(format!("{user}:{realm}:{password}")).to_vec();
        secret.extend_from_slice(format!(":{nonce}:{cnonce}").as_bytes());
        if let Some(other) = authzid {
            secret.extend_from_slice(format!(":{other}").as_bytes());
        }
        let (secret, a2) = (hex(&Md5::digest(secret)), hex(&Md5::digest(a2)));
        hex(&Md5::digest(format!("{secret}:{nonce}:00000001:{cnonce}:{quality}:{a2}")))
    }
}

/// In a time that does not tell where they differ.
fn are_equal(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

/// The dialling server's side: its answer to a challenge, and what the other side must say then.
///
/// # Errors
/// `Malformed` if the challenge is none.
pub fn respond(
    challenge: &[u8],
    (user, password): (&str, &str),
    cnonce: &str,
) -> Result<(Vec<u8>, Vec<u8>), SaslError> {
    const URI: &str = "zookeeper-quorum/zk-quorum-sasl-md5";
    let fields = directives(std::str::from_utf8(challenge).map_err(|_| SaslError::Malformed)?)?;
    let get = |key: &str| fields.get(key).map(String::as_str).ok_or(SaslError::Malformed);
    let (realm, nonce) = (get("realm")?, get("nonce")?);
    let secret = Secret { user, realm, password, nonce, cnonce };
    let response = secret.proof(None, "auth", &format!("AUTHENTICATE:{URI}"));
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let token = format!(
        "charset=utf-8,username=\"{}\",realm=\"{}\",nonce=\"{}\",nc=00000001,cnonce=\"{}\",digest-uri=\"{URI}\",\
         qop=auth,response={response}",
        quoted(user),
        quoted(realm),
        quoted(nonce),
        quoted(cnonce)
    );
    let wanted = format!("rspauth={}", secret.proof(None, "auth", &format!(":{URI}")));
    Ok((token.into_bytes(), wanted.into_bytes()))
}

/// `key=value,key="value"`; a key that comes twice is refused.
fn directives(text: &str) -> Result<BTreeMap<String, String>, SaslError> {
    let mut fields = BTreeMap::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or(SaslError::Malformed)?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted_value(quoted)?,
            None => {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        if fields.insert(key.trim().to_lowercase(), value).is_some() {
            return Err(SaslError::Malformed);
        }
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(next) => next.trim_start(),
            None if after.is_empty() => after,
            None => return Err(SaslError::Malformed),
        };
    }
    Ok(fields)
}

/// What stands before the closing quote, and what comes after it.
fn quoted_value(text: &str) -> Result<(String, &str), SaslError> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(characters.next().ok_or(SaslError::Malformed)?.1),
            other => value.push(other),
        }
    }
    Err(SaslError::Malformed)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The users of a section of a JAAS file: `Server { org...DigestLoginModule required user_NAME="PASSWORD"; };`. `None` if
/// there is no such section.
pub fn jaas_users(text: &str, section: &str) -> Option<BTreeMap<String, String>> {
    let without_comments: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]).collect();
    let body = without_comments.split_once(&format!("{section} {{")).or_else(|| {
        // The brace may stand at once, or on the next line.
        let at = without_comments.find(section)?;
        without_comments[at + section.len()..].trim_start().strip_prefix('{').map(|body| ("", body))
    });
    let (_, body) = body?;
    let body = body.split_once('}').map_or(body, |(body, _)| body);
    let mut users = BTreeMap::new();
    let mut rest = body;
    while let Some((_, after)) = rest.split_once("user_") {
        let Some((name, after)) = after.split_once('=') else { break };
        let Some(quoted) = after.trim_start().strip_prefix('"') else { break };
        let Some((password, after)) = quoted.split_once('"') else { break };
        users.insert(name.trim().to_owned(), password.to_owned());
        rest = after;
    }
    Some(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "charset=utf-8,username=\"bob\",realm=\"zk-sasl-md5\",nonce=\"N\",nc=00000001,cnonce=\"C\",\
                         digest-uri=\"zookeeper/zk-sasl-md5\",maxbuf=65536,qop=auth";

    fn users() -> BTreeMap<String, String> {
        BTreeMap::from([("bob".to_owned(), "bobsecret".to_owned())])
    }

    /// The proof of RFC 2831's client, in its own words.
    fn response(password: &str, a2: &str) -> String {
        let h = |text: &[u8]| Md5::digest(text).to_vec();
        let a1 = [h(format!("bob:{REALM}:{password}").as_bytes()), b":N:C".to_vec()].concat();
        let text = format!("{}:N:00000001:C:auth:{}", hex(&h(&a1)), hex(&h(a2.as_bytes())));
        hex(&h(text.as_bytes()))
    }

    fn challenged() -> Exchange {
        let mut exchange = Exchange::default();
        let (challenge, user) = exchange.step(&users(), b"", || "N".to_owned()).unwrap();
        let want = "realm=\"zk-sasl-md5\",nonce=\"N\",qop=\"auth\",charset=utf-8,algorithm=md5-sess";
        assert_eq!((String::from_utf8(challenge).unwrap().as_str(), user), (want, None));
        exchange
    }

    #[test]
    fn who_knows_the_password_is_who_he_says() {
        let uri = "zookeeper/zk-sasl-md5";
        let check = |token: String, want: Result<&str, SaslError>| {
            let got = challenged().step(&users(), token.as_bytes(), || panic!("no second nonce"));
            let got = got.map(|(answer, user)| format!("{} {}", String::from_utf8(answer).unwrap(), user.unwrap()));
            let answer = format!("rspauth={} ", response("bobsecret", &format!(":{uri}")));
            assert_eq!(got, want.map(|user| answer + user), "{token}");
        };
        let right = response("bobsecret", &format!("AUTHENTICATE:{uri}"));
        let wrong = response("guess", &format!("AUTHENTICATE:{uri}"));
        check(format!("{TOKEN},response={right}"), Ok("bob"));
        check(format!("{TOKEN},response={wrong}"), Err(SaslError::Refused));
        check(format!("{TOKEN},response="), Err(SaslError::Refused));
        check(TOKEN.to_owned(), Err(SaslError::Malformed));
        check(format!("{TOKEN},response={right}").replace("\"N\"", "\"M\""), Err(SaslError::Malformed));
        check(format!("{TOKEN},response={right}").replace("\"bob\"", "\"eve\""), Err(SaslError::Refused));
        check(format!("{TOKEN},response={right},authzid=\"eve\""), Err(SaslError::Refused));
        check(format!("{TOKEN},{TOKEN}"), Err(SaslError::Malformed));
        check("username=\"bob".to_owned(), Err(SaslError::Malformed));
        check(String::new(), Err(SaslError::Malformed));
    }

    #[test]
    fn both_sides_agree() {
        for (user, password, is_right) in [("bob", "bobsecret", true), ("bob", "guess", false), ("e\"v\\e", "x", false)]
        {
            let mut exchange = Exchange::default();
            let (challenge, _) = exchange.step(&users(), b"", || "N".to_owned()).unwrap();
            let (token, wanted) = respond(&challenge, (user, password), "C").unwrap();
            let got = exchange.step(&users(), &token, || panic!("no second nonce"));
            assert_eq!(got, if is_right { Ok((wanted, Some("bob".to_owned()))) } else { Err(SaslError::Refused) });
        }
        assert_eq!(respond(b"nonce=\"N\"", ("bob", "x"), "C"), Err(SaslError::Malformed));
    }

    #[test]
    fn a_first_token_must_be_empty() {
        assert_eq!(Exchange::default().step(&users(), b"x", String::new), Err(SaslError::Unexpected));
    }

    #[test]
    fn users_of_a_jaas_file() {
        let module = "org.apache.zookeeper.server.auth.DigestLoginModule required";
        for (text, want) in [
            (format!("Server {{\n {module}\n user_super=\"a\"\n user_bob=\"b c\";\n}};"), Some("bob=b c super=a")),
            (format!("Client {{ username=\"x\" }};\nServer{{{module} user_x=\"y\";}};"), Some("x=y")),
            (format!("Server\n{{ {module}; }};"), Some("")),
            ("// Server { user_a=\"b\"; };".to_owned(), None),
            (String::new(), None),
        ] {
            let got = jaas_users(&text, "Server").map(|users| {
                users.iter().map(|(name, password)| format!("{name}={password}")).collect::<Vec<_>>().join(" ")
            });
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }
}
