//! Logins as clients begin, repeat and spoil them.

use super::*;
use crate::config::BrokerConfig;
use common::kafka::messages::{ApiVersionsRequest, MetadataRequest};
use common::properties::Properties;
use common::scram::ScramClient;
use std::collections::BTreeMap;

const SETTINGS: &str = "zookeeper.connect=h:1\nbroker.id=1\nlisteners=L://:1\nlistener.security.protocol.map=L:SASL_PLAINTEXT\n\
    inter.broker.listener.name=L\nsasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256\nsasl.mechanism.inter.broker.protocol=PLAIN\n\
    connections.max.reauth.ms=5000\nlistener.name.l.plain.sasl.jaas.config=\
    org.apache.kafka.common.security.plain.PlainLoginModule required username=\"admin\" password=\"a\" \
    user_alice=\"alice-secret\" user_admin=\"a\";\n";

fn settings() -> Arc<SaslSettings> {
    let (config, _) = BrokerConfig::parse(&Properties::parse(SETTINGS, "test")).unwrap();
    Arc::new(SaslSettings::of(&config, "L", &BTreeMap::new()).unwrap())
}

/// A client and the moment it lives in.
struct Bench {
    login: SaslLogin,
    now: Millis,
    has_read: bool,
}

impl Bench {
    fn new() -> Bench {
        Bench { login: SaslLogin::new(settings()), now: Millis(10), has_read: true }
    }

    fn step(&mut self, frame: &Bytes) -> Step {
        let mechanism = ScramMechanism::Sha256;
        let salted = mechanism.salted_password(b"bob-secret", b"salt", 4096);
        let has_read = self.has_read;
        let credential = move |asked: ScramMechanism, user: &str| match has_read {
            true if user == "bob" && asked == mechanism => {
                Ok(Some(ScramCredential::new(mechanism, &salted, b"salt", 4096)))
            }
            true => Ok(None),
            false => Err(NotReadYet),
        };
        let around = Surroundings { credential: &credential, nonce: &|| "n".to_owned(), now: self.now };
        self.login.on_frame(frame, &around)
    }

    fn send<R: Request>(&mut self, version: i16, request: &R) -> Step {
        let header = RequestHeader { api_key: R::KEY, api_version: version, correlation_id: 3, client_id: None };
        let frame = header::encode_request(&header, request).unwrap();
        self.step(&frame.slice(4..))
    }

    fn handshake(&mut self, mechanism: &str) -> String {
        let step = self.send(1, &SaslHandshakeRequest { mechanism: mechanism.to_owned() });
        shown::<SaslHandshakeRequest>(step, 1, |answer| format!("{} {:?}", answer.error_code, answer.mechanisms))
    }

    fn token(&mut self, token: &[u8]) -> String {
        let step = self.send(1, &SaslAuthenticateRequest { auth_bytes: Bytes::copy_from_slice(token) });
        shown::<SaslAuthenticateRequest>(step, 1, |answer| match answer.error_message {
            None => format!("{} {}", String::from_utf8_lossy(&answer.auth_bytes), answer.session_lifetime_ms),
            Some(text) => format!("{} {text}", answer.error_code),
        })
    }
}

fn shown<R: Request>(step: Step, version: i16, text: impl Fn(R::Response) -> String) -> String {
    let read = |frame: Frame| {
        let bytes = frame.into_bytes().unwrap();
        text(header::decode_response::<R>(bytes.slice(4..), version).unwrap().1)
    };
    match step {
        Step::PassOn => "passed on".to_owned(),
        Step::Answer(frame) => read(frame),
        Step::Refuse(Some(frame), _) => format!("refused: {}", read(frame)),
        Step::Refuse(None, reason) => format!("refused without a word: {reason}"),
        Step::Close(reason) => format!("closed: {reason}"),
    }
}

const MECHANISMS: &str = "0 [\"PLAIN\", \"SCRAM-SHA-256\"]";

#[test]
fn passwords_are_checked_in_kafkas_words() {
    let cases: [(&[u8], &str); 8] = [
        (b"\0alice\0alice-secret", " 5000"),
        (b"alice\0alice\0alice-secret", " 5000"),
        (b"\0alice\0wrong", "refused: 58 Authentication failed: Invalid username or password"),
        (b"\0nobody\0alice-secret", "refused: 58 Authentication failed: Invalid username or password"),
        (b"\0\0x", "refused: 58 Authentication failed: username not specified"),
        (b"\0alice\0", "refused: 58 Authentication failed: password not specified"),
        (b"alice", "refused: 58 Invalid SASL/PLAIN response: expected 3 tokens, got 1"),
        (
            b"admin\0alice\0alice-secret",
            "refused: 58 Authentication failed: Client requested an authorization id that is different from username",
        ),
    ];
    for (token, expected) in cases {
        let mut bench = Bench::new();
        assert_eq!(bench.handshake("PLAIN"), MECHANISMS);
        assert_eq!(bench.token(token), expected);
        let principal = if expected.starts_with(' ') { "User:alice" } else { ANONYMOUS };
        assert_eq!(bench.login.principal(), principal);
    }
}

#[test]
fn a_client_proves_that_it_has_the_password() {
    for (user, password, ends) in [("bob", "bob-secret", true), ("bob", "other", false), ("eve", "bob-secret", false)] {
        let mut bench = Bench::new();
        let (mut client, mut token) = ScramClient::begin(ScramMechanism::Sha256, user, password, "c");
        bench.handshake("SCRAM-SHA-256");
        let end = loop {
            let answer = bench.token(&token);
            let Some((challenge, _)) = answer.rsplit_once(' ').filter(|_| !answer.starts_with("refused")) else {
                break answer;
            };
            match client.step(challenge.as_bytes()).unwrap() {
                Some(next) => token = next,
                None => break "proved".to_owned(),
            }
        };
        let refused = "refused: 58 Authentication failed during authentication due to invalid credentials with SASL \
                       mechanism SCRAM-SHA-256";
        assert_eq!(end, if ends { "proved" } else { refused }, "{user} {password}");
        assert_eq!(bench.login.is_pending(), !ends);
    }
}

#[test]
fn nothing_else_is_served_before_a_login() {
    let mut bench = Bench::new();
    let metadata = |bench: &mut Bench| {
        let step = bench.send(1, &MetadataRequest::default());
        shown::<MetadataRequest>(step, 1, |_| "served".to_owned())
    };
    let versions = bench.send(0, &ApiVersionsRequest::default());
    assert_eq!(shown::<ApiVersionsRequest>(versions, 0, |_| String::new()), "passed on");
    assert_eq!(
        metadata(&mut bench),
        "refused without a word: Unexpected Kafka request of type 3 during SASL handshake."
    );
    assert_eq!(bench.handshake("GSSAPI"), "refused: 33 [\"PLAIN\", \"SCRAM-SHA-256\"]");
    assert_eq!(bench.handshake("PLAIN"), MECHANISMS);
    let text = "refused without a word: Unexpected Kafka request of type 3 during SASL authentication.";
    assert_eq!(metadata(&mut bench), text);
    assert_eq!(bench.token(b"\0alice\0alice-secret"), " 5000");
    assert_eq!(metadata(&mut bench), "passed on");
    assert!(matches!(Bench::new().step(&Bytes::from_static(b"GET / HTTP")), Step::Refuse(None, _)));
}

#[test]
fn tokens_come_bare_after_an_old_handshake() {
    let mut bench = Bench::new();
    let step = bench.send(0, &SaslHandshakeRequest { mechanism: "PLAIN".to_owned() });
    assert_eq!(shown::<SaslHandshakeRequest>(step, 0, |answer| answer.error_code.to_string()), "0");
    let Step::Answer(frame) = bench.step(&Bytes::from_static(b"\0alice\0alice-secret")) else { panic!("refused") };
    assert_eq!(frame.into_bytes().unwrap(), [0; 4].as_slice());
    assert_eq!(bench.login.principal(), "User:alice");
}

#[test]
fn a_login_expires_and_is_repeated_by_the_same_user() {
    let mut bench = Bench::new();
    let metadata = |bench: &mut Bench| matches!(bench.send(1, &MetadataRequest::default()), Step::PassOn);
    bench.handshake("PLAIN");
    bench.token(b"\0alice\0alice-secret");
    bench.now = Millis(4000);
    assert!(metadata(&mut bench));
    assert_eq!(bench.handshake("PLAIN"), MECHANISMS);
    assert_eq!(bench.token(b"\0alice\0alice-secret"), " 5000");
    bench.now = Millis(4500);
    assert_eq!(bench.handshake("PLAIN"), "passed on", "too soon");
    bench.now = Millis(9000);
    assert!(metadata(&mut bench));
    bench.now = Millis(9001);
    assert!(!metadata(&mut bench), "expired");
    assert_eq!(bench.handshake("PLAIN"), MECHANISMS);
    let text = "refused: 58 Cannot change principals during re-authentication from User.alice: User.admin";
    assert_eq!(bench.token(b"\0admin\0a"), text);
    bench.now = Millis(11_000);
    bench.login.state = State::LoggedIn;
    assert_eq!(bench.handshake("SCRAM-SHA-256"), MECHANISMS);
    let text = "refused: 58 SASL mechanism 'SCRAM-SHA-256' requested by client is not supported for re-authentication of \
                mechanism 'PLAIN'";
    assert_eq!(bench.token(b"n,,n=bob,r=c"), text);
}

#[test]
fn nobody_is_refused_before_the_users_are_known() {
    let mut bench = Bench::new();
    bench.has_read = false;
    bench.handshake("SCRAM-SHA-256");
    assert!(bench.token(b"n,,n=bob,r=c").starts_with("closed: "));
}
