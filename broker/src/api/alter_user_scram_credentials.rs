//! AlterUserScramCredentials (51, KIP-554), version 0: sets and removes users' SCRAM credentials in `/config/users`. Only the
//! controller does it: NOT_CONTROLLER. UNACCEPTABLE_CREDENTIAL for an empty name or iterations out of bounds,
//! UNSUPPORTED_SASL_MECHANISM, DUPLICATE_RESOURCE, RESOURCE_NOT_FOUND for the removal of what is not there.

use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::Operation;
use crate::access::sanitize::sanitize;
use crate::cluster::Entity;
use crate::config::describe::Texts;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, AlterUserScramCredentialsResult,
};
use common::scram::{ITERATIONS_MAX, ITERATIONS_MIN, ScramCredential, ScramMechanism};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// See the top of the file.
pub struct AlterUserScramCredentials;

/// Why a user's credentials are not changed; `None` if they may be.
type Verdicts = BTreeMap<String, Option<(ErrorCode, String)>>;

impl Endpoint for AlterUserScramCredentials {
    type Request = AlterUserScramCredentialsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(
        ctx: &Context<'_>,
        request: AlterUserScramCredentialsRequest,
    ) -> Reply<AlterUserScramCredentialsResponse> {
        if !ctx.broker.cluster.is_controller() {
            return Reply::Now(refused_all(&request, ErrorCode::NotController));
        }
        if !ctx.may_cluster(Operation::Alter) {
            return Reply::Now(refused_all(&request, ErrorCode::ClusterAuthorizationFailed));
        }
        let mut verdicts = check(&request);
        let entity = |user: &String| ("users".to_owned(), sanitize(user));
        let acceptable = verdicts.iter().filter(|(_, verdict)| verdict.is_none());
        let entities: BTreeSet<Entity> = acceptable.map(|(user, _)| entity(user)).collect();
        let found = Arc::new(Mutex::new(Verdicts::new()));
        let (decided, ticket): (_, Ticket<AlterUserScramCredentialsRequest>) = (found.clone(), ctx.ticket());
        let decide = move |broker: &crate::broker::Broker| {
            let users: Vec<String> =
                verdicts.iter().filter(|(_, why)| why.is_none()).map(|(user, _)| user.clone()).collect();
            let mut wanted = BTreeMap::new();
            for user in users {
                let mut settings = broker.cluster.settings("users", &sanitize(&user));
                let outcome = change(&request, &user, &mut settings);
                if outcome.is_none() {
                    wanted.insert(entity(&user), settings);
                }
                verdicts.insert(user, outcome);
            }
            *decided.lock() = verdicts;
            wanted
        };
        let then = Box::new(move |written: crate::entities::Written| {
            let verdicts = std::mem::take(&mut *found.lock());
            let one = |(user, verdict): (String, Option<(ErrorCode, String)>)| {
                let lost = written.get(&("users".to_owned(), sanitize(&user))).is_some_and(Result::is_err);
                let unwritten = || (ErrorCode::UnknownServerError, ErrorCode::UnknownServerError.message().to_owned());
                result(user, verdict.or_else(|| lost.then(unwritten)))
            };
            let results = verdicts.into_iter().map(one).collect();
            ticket.answer(&AlterUserScramCredentialsResponse { results, ..Default::default() });
        });
        ctx.broker.change_entities(entities, decide, then, ctx.now);
        Reply::ParkedAlone
    }
}

/// The same for every user.
pub(super) fn refused_all(
    request: &AlterUserScramCredentialsRequest,
    code: ErrorCode,
) -> AlterUserScramCredentialsResponse {
    let users = request.deletions.iter().map(|deletion| &deletion.name);
    let users: BTreeSet<&String> = users.chain(request.upsertions.iter().map(|upsertion| &upsertion.name)).collect();
    let results = users.into_iter().map(|user| result(user.clone(), Some((code, code.message().to_owned())))).collect();
    AlterUserScramCredentialsResponse { results, ..Default::default() }
}

fn result(user: String, verdict: Option<(ErrorCode, String)>) -> AlterUserScramCredentialsResult {
    let (code, text) = verdict.map_or((ErrorCode::None, None), |(code, text)| (code, super::error::text(text)));
    AlterUserScramCredentialsResult { user, error_code: code.code(), error_message: text }
}

/// What can be said of the request without knowing what the users have.
fn check(request: &AlterUserScramCredentialsRequest) -> Verdicts {
    let mut verdicts = Verdicts::new();
    let refuse = |code: ErrorCode, text: &str| Some((code, text.to_owned()));
    let check = |name: &str, mechanism: i8, iterations: i32| {
        if name.is_empty() {
            return refuse(ErrorCode::UnacceptableCredential, "Username must not be empty");
        }
        if ScramMechanism::from_number(mechanism).is_none() {
            return refuse(ErrorCode::UnsupportedSaslMechanism, "Unknown SCRAM mechanism");
        }
        match iterations {
            ..ITERATIONS_MIN => refuse(ErrorCode::UnacceptableCredential, "Too few iterations"),
            ITERATIONS_MIN..=ITERATIONS_MAX => None,
            _ => refuse(ErrorCode::UnacceptableCredential, "Too many iterations"),
        }
    };
    let deletions = request.deletions.iter().map(|one| (&one.name, one.mechanism, ITERATIONS_MIN));
    let upsertions = request.upsertions.iter().map(|one| (&one.name, one.mechanism, one.iterations));
    let all: Vec<_> = deletions.chain(upsertions).collect();
    for &(name, mechanism, iterations) in &all {
        let verdict = check(name, mechanism, iterations);
        let known = verdicts.entry(name.clone()).or_default();
        if verdict.is_some() {
            *known = verdict;
        }
    }
    let mut seen = BTreeSet::new();
    for (name, mechanism, _) in all {
        if !seen.insert((name, mechanism))
            && let Some(verdict @ None) = verdicts.get_mut(name)
        {
            *verdict =
                refuse(ErrorCode::DuplicateResource, "A user credential cannot be altered twice in the same request");
        }
    }
    verdicts
}

/// Changes a user's settings; gives what is against it.
fn change(request: &AlterUserScramCredentialsRequest, user: &str, settings: &mut Texts) -> Option<(ErrorCode, String)> {
    let name = |number: i8| ScramMechanism::from_number(number).map_or("", ScramMechanism::name);
    for deletion in request.deletions.iter().filter(|deletion| deletion.name == user) {
        if settings.remove(name(deletion.mechanism)).is_none() {
            let text = "Attempt to delete a user credential that does not exist";
            return Some((ErrorCode::ResourceNotFound, text.to_owned()));
        }
    }
    for upsertion in request.upsertions.iter().filter(|upsertion| upsertion.name == user) {
        let Some(mechanism) = ScramMechanism::from_number(upsertion.mechanism) else { continue };
        let (salt, iterations) = (&upsertion.salt, upsertion.iterations);
        let credential = ScramCredential::new(mechanism, &upsertion.salted_password, salt, iterations);
        settings.insert(mechanism.name().to_owned(), credential.to_text());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::kafka::messages::{ScramCredentialDeletion, ScramCredentialUpsertion};

    fn up(name: &str, mechanism: i8, iterations: i32) -> ScramCredentialUpsertion {
        ScramCredentialUpsertion { name: name.to_owned(), mechanism, iterations, ..Default::default() }
    }

    fn down(name: &str, mechanism: i8) -> ScramCredentialDeletion {
        ScramCredentialDeletion { name: name.to_owned(), mechanism }
    }

    #[test]
    fn requests_are_refused_as_kafka_refuses_them() {
        let cases = [
            (up("", 1, 4096), down("x", 1), "", Some("Username must not be empty")),
            (up("a", 3, 4096), down("x", 1), "a", Some("Unknown SCRAM mechanism")),
            (up("a", 1, 4095), down("x", 1), "a", Some("Too few iterations")),
            (up("a", 1, 16385), down("x", 1), "a", Some("Too many iterations")),
            (up("a", 1, 4096), down("a", 2), "a", None),
            (
                up("a", 1, 4096),
                down("a", 1),
                "a",
                Some("A user credential cannot be altered twice in the same request"),
            ),
        ];
        for (upsertion, deletion, user, expected) in cases {
            let request = AlterUserScramCredentialsRequest { upsertions: vec![upsertion], deletions: vec![deletion] };
            let verdicts = check(&request);
            assert_eq!(verdicts[user].as_ref().map(|(_, text)| text.as_str()), expected);
        }
        let request =
            AlterUserScramCredentialsRequest { upsertions: vec![up("a", 1, 8192)], deletions: vec![down("a", 2)] };
        let mut settings = Texts::new();
        assert_eq!(change(&request, "a", &mut settings).unwrap().0, ErrorCode::ResourceNotFound);
        settings.insert("SCRAM-SHA-512".to_owned(), "x".to_owned());
        assert_eq!(change(&request, "a", &mut settings), None);
        assert_eq!(settings.keys().collect::<Vec<_>>(), ["SCRAM-SHA-256"]);
    }
}
