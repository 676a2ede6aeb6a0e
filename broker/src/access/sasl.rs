//! One client's login by SASL, from its first request on and again when it expires (KIP-43, 152, 368): which requests may
//! come when, the exchange of each mechanism, and what is refused how. Sends nothing.

use super::ANONYMOUS;
use super::mechanisms::{Mechanism, SaslSettings};
use crate::api::{NO_IMAGE_YET, api_versions};
use crate::broker::NotReadYet;
use bytes::Bytes;
use common::kafka::error::ErrorCode;
use common::kafka::header::{self, RequestHeader};
use common::kafka::messages::{
    Message, Request, Response, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
    SaslHandshakeResponse,
};
use common::kafka::wire::{Frame, Part, Reader};
use common::scram::{ClientFirst, ITERATIONS_MIN, ScramCredential, ScramMechanism, ScramServer, is_same_secret};
use common::time::Millis;
use std::sync::Arc;

/// A client may not log in again sooner than after this time (KIP-368).
const AGAIN_AFTER_MS: u64 = 1000;

/// Finds a user's credential, if it has one for a mechanism.
pub type Credentials<'a> = dyn Fn(ScramMechanism, &str) -> Result<Option<ScramCredential>, NotReadYet> + 'a;

/// What a login needs of the world.
pub struct Surroundings<'a> {
    /// Who has which password.
    pub credential: &'a Credentials<'a>,
    /// Drawn for each exchange.
    pub nonce: &'a dyn Fn() -> String,
    /// The moment.
    pub now: Millis,
}

/// What becomes of a frame.
#[derive(Debug)]
pub enum Step {
    /// Nothing of the login: it goes on to who handles requests.
    PassOn,
    /// The answer.
    Answer(Frame),
    /// The login failed: after a while (`connection.failed.authentication.delay.ms`) the answer is given, if there is one, and
    /// the connection closed.
    Refuse(Option<Frame>, String),
    /// The connection is closed.
    Close(String),
}

/// Start -> Exchange (handshake) -> LoggedIn (the mechanism is content) -> Exchange (handshake again, if logins expire).
#[derive(Debug)]
enum State {
    /// ApiVersions or a handshake may come.
    Start,
    Exchange {
        mechanism: Mechanism,
        /// Tokens come in SaslAuthenticate requests; else bare, as before KIP-152.
        in_requests: bool,
        scram: Option<(ScramServer, String)>,
    },
    LoggedIn,
}

/// The login of one connection.
#[derive(Debug)]
pub struct SaslLogin {
    settings: Arc<SaslSettings>,
    state: State,
    /// `User:NAME`, from the first login on.
    principal: Option<String>,
    mechanism: Option<Mechanism>,
    expires_at: Option<Millis>,
    /// When the last login again began.
    began_again_at: Option<Millis>,
}

/// A mechanism's word.
enum Verdict {
    Challenge(Vec<u8>),
    Content(Vec<u8>, String),
    /// With the text for the client.
    Refused(String),
    /// The client must not learn why.
    Failed(String),
    /// Nobody can be told from anybody else yet.
    NotYet,
}

/// What is read of a request before its body.
struct Undecoded {
    header: RequestHeader,
    body: Reader,
}

impl SaslLogin {
    /// Of a new connection.
    pub fn new(settings: Arc<SaslSettings>) -> SaslLogin {
        SaslLogin {
            settings,
            state: State::Start,
            principal: None,
            mechanism: None,
            expires_at: None,
            began_again_at: None,
        }
    }

    /// Who the client is.
    pub fn principal(&self) -> &str {
        self.principal.as_deref().unwrap_or(ANONYMOUS)
    }

    /// True while nothing but the login is expected.
    pub fn is_pending(&self) -> bool {
        !matches!(self.state, State::LoggedIn)
    }

    /// A frame without its length prefix.
    pub fn on_frame(&mut self, frame: &Bytes, around: &Surroundings<'_>) -> Step {
        let scram = match &mut self.state {
            State::LoggedIn => return self.while_logged_in(frame, around),
            State::Start => return self.on_handshake(frame),
            State::Exchange { mechanism, in_requests: false, scram } => {
                let (mechanism, scram) = (*mechanism, scram.take());
                return self.on_bare_token(mechanism, scram, frame, around);
            }
            State::Exchange { scram, .. } => scram.take(),
        };
        self.on_authenticate(scram, frame, around)
    }

    fn while_logged_in(&mut self, frame: &Bytes, around: &Surroundings<'_>) -> Step {
        let Some(expires_at) = self.expires_at else { return Step::PassOn };
        let key = frame.first_chunk::<2>().map(|key| i16::from_be_bytes(*key));
        let recently = |at: Millis| around.now.0.saturating_sub(at.0) < AGAIN_AFTER_MS;
        if key == Some(SaslHandshakeRequest::KEY) && !self.began_again_at.is_some_and(recently) {
            self.began_again_at = Some(around.now);
            self.state = State::Start;
            return self.on_handshake(frame);
        }
        match around.now > expires_at {
            true => Step::Close(format!("the login of {} has expired", self.principal())),
            false => Step::PassOn,
        }
    }

    fn on_handshake(&mut self, frame: &Bytes) -> Step {
        let Undecoded { header, mut body } = match request(frame) {
            Ok(request) => request,
            Err(reason) => return Step::Refuse(None, reason),
        };
        if header.api_key == api_versions::KEY && self.principal.is_none() {
            return Step::PassOn;
        }
        if header.api_key != SaslHandshakeRequest::KEY {
            let key = header.api_key;
            return Step::Refuse(None, format!("Unexpected Kafka request of type {key} during SASL handshake."));
        }
        let Ok(request) = SaslHandshakeRequest::decode(&mut body, header.api_version) else {
            return Step::Refuse(None, "the SASL handshake cannot be read".to_owned());
        };
        let known = self.settings.mechanisms.iter().find(|one| one.name() == request.mechanism);
        let error_code = if known.is_some() { ErrorCode::None } else { ErrorCode::UnsupportedSaslMechanism };
        let answer = SaslHandshakeResponse { error_code: error_code.code(), mechanisms: self.settings.names() };
        let answer = encode(&header, &answer);
        let Some(&mechanism) = known else {
            return Step::Refuse(answer, format!("Unsupported SASL mechanism {}", request.mechanism));
        };
        let in_requests = header.api_version >= 1;
        self.state = State::Exchange { mechanism, in_requests, scram: None };
        match answer {
            Some(frame) => Step::Answer(frame),
            None => Step::Close("the answer to a SASL handshake cannot be written".to_owned()),
        }
    }

    fn on_authenticate(
        &mut self,
        scram: Option<(ScramServer, String)>,
        frame: &Bytes,
        around: &Surroundings<'_>,
    ) -> Step {
        let State::Exchange { mechanism, .. } = self.state else { return Step::PassOn };
        let Undecoded { header, mut body } = match request(frame) {
            Ok(request) => request,
            Err(reason) => return Step::Refuse(None, reason),
        };
        if header.api_key != SaslAuthenticateRequest::KEY {
            let key = header.api_key;
            return Step::Refuse(None, format!("Unexpected Kafka request of type {key} during SASL authentication."));
        }
        let Ok(request) = SaslAuthenticateRequest::decode(&mut body, header.api_version) else {
            return Step::Refuse(None, "the SASL token cannot be read".to_owned());
        };
        let refuse = |text: &str, reason: String| {
            let answer = SaslAuthenticateResponse {
                error_code: ErrorCode::SaslAuthenticationFailed.code(),
                error_message: Some(text.to_owned()),
                ..Default::default()
            };
            Step::Refuse(encode(&header, &answer), reason)
        };
        let again = if self.principal.is_some() { "re-authentication" } else { "authentication" };
        if let Some(before) = self.mechanism.filter(|before| *before != mechanism) {
            let text = format!(
                "SASL mechanism '{}' requested by client is not supported for re-authentication of mechanism '{}'",
                mechanism.name(),
                before.name()
            );
            return refuse(&text, text.clone());
        }
        let (auth_bytes, session_lifetime_ms) = match self.evaluate(mechanism, scram, &request.auth_bytes, around) {
            Verdict::Challenge(bytes) => (bytes, 0),
            Verdict::Content(bytes, user) => match self.log_in(mechanism, &user, around.now) {
                Ok(lifetime_ms) => (bytes, lifetime_ms),
                Err(text) => return refuse(&text, text.clone()),
            },
            Verdict::NotYet => return Step::Close(NO_IMAGE_YET.to_owned()),
            Verdict::Refused(text) => return refuse(&text, text.clone()),
            Verdict::Failed(reason) => {
                let name = mechanism.name();
                let text = format!(
                    "Authentication failed during {again} due to invalid credentials with SASL mechanism {name}"
                );
                return refuse(&text, reason);
            }
        };
        let answer = SaslAuthenticateResponse {
            error_message: None,
            auth_bytes: Bytes::from(auth_bytes),
            session_lifetime_ms,
            ..Default::default()
        };
        match encode(&header, &answer) {
            Some(frame) => Step::Answer(frame),
            None => Step::Close("the answer to a SASL token cannot be written".to_owned()),
        }
    }

    fn on_bare_token(
        &mut self,
        mechanism: Mechanism,
        scram: Option<(ScramServer, String)>,
        token: &Bytes,
        around: &Surroundings<'_>,
    ) -> Step {
        let bytes = match self.evaluate(mechanism, scram, token, around) {
            Verdict::Challenge(bytes) => bytes,
            Verdict::Content(bytes, user) => match self.log_in(mechanism, &user, around.now) {
                Ok(_) => bytes,
                Err(text) => return Step::Refuse(None, text),
            },
            Verdict::Refused(reason) | Verdict::Failed(reason) => return Step::Refuse(None, reason),
            Verdict::NotYet => return Step::Close(NO_IMAGE_YET.to_owned()),
        };
        let len = u32::try_from(bytes.len()).expect("challenges are short");
        let answer = [&len.to_be_bytes(), bytes.as_slice()].concat();
        Step::Answer(Frame { parts: vec![Part::Bytes(Bytes::from(answer))] })
    }

    /// How long the login counts, milliseconds; 0 is for ever.
    fn log_in(&mut self, mechanism: Mechanism, user: &str, now: Millis) -> Result<i64, String> {
        let principal = format!("User:{user}");
        if let Some(before) = self.principal.as_ref().filter(|before| **before != principal) {
            let (before, after) = (before.replacen(':', ".", 1), principal.replacen(':', ".", 1));
            return Err(format!("Cannot change principals during re-authentication from {before}: {after}"));
        }
        self.principal = Some(principal);
        self.mechanism = Some(mechanism);
        self.state = State::LoggedIn;
        let Some(&lifetime_ms) = self.settings.max_reauth_ms.get(&mechanism) else { return Ok(0) };
        self.expires_at = Some(Millis(now.0.saturating_add(lifetime_ms)));
        Ok(i64::try_from(lifetime_ms).unwrap_or(i64::MAX))
    }

    fn evaluate(
        &mut self,
        mechanism: Mechanism,
        scram: Option<(ScramServer, String)>,
        token: &[u8],
        around: &Surroundings<'_>,
    ) -> Verdict {
        match (mechanism, scram) {
            (Mechanism::Plain, _) => plain(&self.settings, token),
            (Mechanism::Scram(_), Some((server, user))) => match server.finish(token) {
                Ok(end) => Verdict::Content(end, user),
                Err(error) => Verdict::Failed(format!("user {user}: {error}")),
            },
            (Mechanism::Scram(scram), None) => self.begin_scram(scram, token, around),
        }
    }

    fn begin_scram(&mut self, mechanism: ScramMechanism, token: &[u8], around: &Surroundings<'_>) -> Verdict {
        let first = match ClientFirst::parse(token) {
            Ok(first) => first,
            Err(error) => return Verdict::Failed(error.to_string()),
        };
        if first.is_token {
            return Verdict::Failed("delegation tokens are not known here".to_owned());
        }
        let Ok(credential) = (around.credential)(mechanism, &first.user) else { return Verdict::NotYet };
        let Some(credential) = credential else {
            return Verdict::Failed(format!("user {} has no credential for {}", first.user, mechanism.name()));
        };
        if !first.authorization_id.is_empty() && first.authorization_id != first.user {
            return Verdict::Refused(OTHER_AUTHORIZATION.to_owned());
        }
        if credential.iterations < ITERATIONS_MIN {
            return Verdict::Failed(format!("the credential of {} has too few iterations", first.user));
        }
        let user = first.user.clone();
        let (server, challenge) = ScramServer::begin(mechanism, first, credential, &(around.nonce)());
        if let State::Exchange { scram, .. } = &mut self.state {
            *scram = Some((server, user));
        }
        Verdict::Challenge(challenge)
    }
}

const OTHER_AUTHORIZATION: &str =
    "Authentication failed: Client requested an authorization id that is different from username";

/// `[authorization] NUL user NUL password` (RFC 4616), in Kafka's words.
fn plain(settings: &SaslSettings, token: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(token);
    let parts: Vec<&str> = text.splitn(4, '\0').collect();
    let refused = |text: &str| Verdict::Refused(text.to_owned());
    let [authorization, user, password] = parts[..] else {
        return Verdict::Refused(format!("Invalid SASL/PLAIN response: expected 3 tokens, got {}", parts.len()));
    };
    if user.is_empty() {
        return refused("Authentication failed: username not specified");
    }
    if password.is_empty() {
        return refused("Authentication failed: password not specified");
    }
    let expected = settings.plain_users.get(user);
    if !expected.is_some_and(|expected| is_same_secret(expected.as_bytes(), password.as_bytes())) {
        return refused("Authentication failed: Invalid username or password");
    }
    if !authorization.is_empty() && authorization != user {
        return refused(OTHER_AUTHORIZATION);
    }
    Verdict::Content(Vec::new(), user.to_owned())
}

fn request(frame: &Bytes) -> Result<Undecoded, String> {
    let mut body = Reader::new(frame.clone());
    let header = header::decode_request_header(&mut body).map_err(|error| format!("request header: {error}"))?;
    Ok(Undecoded { header, body })
}

fn encode<R: Response>(header: &RequestHeader, response: &R) -> Option<Frame> {
    header::encode_response(header.correlation_id, header.api_version, response).ok()
}

#[cfg(test)]
mod tests;
