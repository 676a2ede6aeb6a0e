//! DescribeUserScramCredentials (50, KIP-554), version 0: which SCRAM credentials users have, with their iterations and
//! nothing else. RESOURCE_NOT_FOUND for a user without any, DUPLICATE_RESOURCE for one named twice.

use super::access::Access;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::Operation;
use crate::access::sanitize::{desanitize, sanitize};
use crate::broker::Broker;
use crate::config::describe::Texts;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{
    CredentialInfo, DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
    DescribeUserScramCredentialsResult, UserName,
};
use common::scram::{ScramCredential, ScramMechanism};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct DescribeUserScramCredentials;

impl Endpoint for DescribeUserScramCredentials {
    type Request = DescribeUserScramCredentialsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;
    const ACCESS: Access<Self::Request> = Access::Cluster(Operation::Describe, |request, code| {
        // As Kafka: as many results as users were asked for, which name nobody.
        let error_code = code.code();
        let result =
            |_: &UserName| DescribeUserScramCredentialsResult { error_code, error_message: None, ..Default::default() };
        let results = request.users.iter().flatten().map(result).collect();
        DescribeUserScramCredentialsResponse { error_code, error_message: None, results, ..Default::default() }
    });

    fn handle(
        ctx: &Context<'_>,
        request: DescribeUserScramCredentialsRequest,
    ) -> Reply<DescribeUserScramCredentialsResponse> {
        let names: Vec<String> = request.users.unwrap_or_default().into_iter().map(|user| user.name).collect();
        let entities: BTreeSet<_> = names.iter().map(|name| ("users".to_owned(), sanitize(name))).collect();
        let ticket: Ticket<DescribeUserScramCredentialsRequest> = ctx.ticket();
        let broker = ctx.broker.clone();
        let go_on = crate::cluster::Waiter::new(move |()| {
            let results = if names.is_empty() { all(&broker) } else { named(&broker, &names) };
            ticket.answer(&response(results));
        });
        let now = ctx.now;
        ctx.broker.with_cluster(now, |cluster, effects| match entities.is_empty() {
            true => cluster.catch_up_settings(go_on, now, effects),
            false => cluster.refresh_settings(entities, go_on, now, effects),
        });
        Reply::Parked
    }
}

fn response(results: Vec<DescribeUserScramCredentialsResult>) -> DescribeUserScramCredentialsResponse {
    DescribeUserScramCredentialsResponse { error_message: None, results, ..Default::default() }
}

fn all(broker: &Broker) -> Vec<DescribeUserScramCredentialsResult> {
    let users = broker.cluster.settings_of_kind("users").into_iter();
    let users: BTreeMap<String, Texts> = users.map(|(name, settings)| (desanitize(&name), settings)).collect();
    users.into_iter().filter_map(|(user, settings)| described(&user, &settings)).collect()
}

fn named(broker: &Broker, names: &[String]) -> Vec<DescribeUserScramCredentialsResult> {
    let mut seen = BTreeSet::new();
    let distinct = names.iter().filter(|name| seen.insert(*name));
    let refused = |user: &str, code: ErrorCode, text: String| DescribeUserScramCredentialsResult {
        user: user.to_owned(),
        error_code: code.code(),
        error_message: super::error::text(text),
        ..Default::default()
    };
    let one = |user: &String| {
        if user.is_empty() {
            return refused(user, ErrorCode::ResourceNotFound, "Username must not be empty".to_owned());
        }
        if names.iter().filter(|other| *other == user).count() > 1 {
            let text = format!("Cannot describe SCRAM credentials for the same user twice in a single request: {user}");
            return refused(user, ErrorCode::DuplicateResource, text);
        }
        let missing = || {
            let text = format!("Attempt to describe a user credential that does not exist: {user}");
            refused(user, ErrorCode::ResourceNotFound, text)
        };
        described(user, &broker.cluster.settings("users", &sanitize(user))).unwrap_or_else(missing)
    };
    distinct.map(one).collect()
}

/// `None` if the user has no credential.
fn described(user: &str, settings: &Texts) -> Option<DescribeUserScramCredentialsResult> {
    let infos = ScramMechanism::ALL.into_iter().filter_map(|mechanism| {
        let credential = ScramCredential::from_text(settings.get(mechanism.name())?)?;
        Some(CredentialInfo { mechanism: mechanism.number(), iterations: credential.iterations })
    });
    let credential_infos: Vec<CredentialInfo> = infos.collect();
    let user = user.to_owned();
    (!credential_infos.is_empty()).then(|| DescribeUserScramCredentialsResult {
        user,
        error_message: None,
        credential_infos,
        ..Default::default()
    })
}
