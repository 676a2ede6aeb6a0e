//! AlterClientQuotas (49, KIP-546, 612), versions 0 and 1: sets and removes quotas in `/config/users`, `/config/clients` and
//! `/config/ips`; any broker does it. CLUSTER_AUTHORIZATION_FAILED, INVALID_REQUEST for entities and keys that cannot be.

use super::access::Access;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::Operation;
use crate::access::sanitize::sanitize;
use crate::cluster::{Entity, Settings};
use crate::quota::{CONNECTION_RATE, Kind};
use crate::resources::DEFAULT_ENTITY;
use common::kafka::error::ErrorCode;
use common::kafka::messages::alter_client_quotas::{EntityData, EntryData, EntryDataResponse, OpData};
use common::kafka::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// See the top of the file.
pub struct AlterClientQuotas;

impl Endpoint for AlterClientQuotas {
    type Request = AlterClientQuotasRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    const ACCESS: Access<Self::Request> = Access::Cluster(Operation::AlterConfigs, |request, code| {
        let entries =
            request.entries.iter().map(|entry| result(entry.entity.clone(), Some((code, code.message().to_owned()))));
        AlterClientQuotasResponse { entries: entries.collect(), ..Default::default() }
    });

    fn handle(ctx: &Context<'_>, request: AlterClientQuotasRequest) -> Reply<AlterClientQuotasResponse> {
        let checked: Vec<(EntryData, Result<Entity, String>)> = request
            .entries
            .into_iter()
            .map(|entry| {
                let found = entity(&entry.entity).and_then(|found| check(&entry.ops, &found.0).map(|()| found));
                (entry, found)
            })
            .collect();
        let entities: BTreeSet<Entity> = checked.iter().filter_map(|(_, found)| found.clone().ok()).collect();
        let ticket: Ticket<AlterClientQuotasRequest> = ctx.ticket();
        let wanted: Vec<(Entity, Vec<OpData>)> =
            checked.iter().filter_map(|(entry, found)| Some((found.clone().ok()?, entry.ops.clone()))).collect();
        let validate_only = request.validate_only;
        let decide = move |broker: &crate::broker::Broker| {
            let mut changed: BTreeMap<Entity, Settings> = BTreeMap::new();
            for (entity, ops) in wanted.into_iter().filter(|_| !validate_only) {
                let known = || broker.cluster.settings(&entity.0, &entity.1);
                apply(changed.entry(entity.clone()).or_insert_with(known), ops);
            }
            changed
        };
        let then = Box::new(move |written: crate::entities::Written| {
            let one = |(entry, found): (EntryData, Result<Entity, String>)| {
                let problem = match found {
                    Err(text) => Some((ErrorCode::InvalidRequest, text)),
                    Ok(entity) => match written.get(&entity) {
                        Some(Err(problem)) => Some((ErrorCode::UnknownServerError, problem.to_string())),
                        _ => None,
                    },
                };
                result(entry.entity, problem)
            };
            let entries = checked.into_iter().map(one).collect();
            ticket.answer(&AlterClientQuotasResponse { entries, ..Default::default() });
        });
        ctx.broker.change_entities(entities, decide, then, ctx.now);
        Reply::ParkedAlone
    }
}

fn result(entity: Vec<EntityData>, problem: Option<(ErrorCode, String)>) -> EntryDataResponse {
    let (code, text) = problem.map_or((ErrorCode::None, None), |(code, text)| (code, super::error::text(text)));
    EntryDataResponse { error_code: code.code(), error_message: text, entity }
}

/// Where the quotas of an entity stand.
fn entity(parts: &[EntityData]) -> Result<Entity, String> {
    if parts.is_empty() {
        return Err("Invalid empty client quota entity".to_owned());
    }
    let mut names: BTreeMap<&str, String> = BTreeMap::new();
    for part in parts {
        let kind = part.entity_type.as_str();
        if !["user", "client-id", "ip"].contains(&kind) {
            return Err(format!("Unhandled client quota entity type: {kind}"));
        }
        if part.entity_name.as_deref() == Some("") {
            return Err(format!("Empty {kind} not supported"));
        }
        names.insert(kind, part.entity_name.as_deref().map_or_else(|| DEFAULT_ENTITY.to_owned(), sanitize));
    }
    let owned = |kind: &str, name: String| (kind.to_owned(), name);
    match (names.remove("user"), names.remove("client-id"), names.remove("ip")) {
        (Some(user), Some(client), None) => Ok(owned("users", format!("{user}/clients/{client}"))),
        (Some(user), None, None) => Ok(owned("users", user)),
        (None, Some(client), None) => Ok(owned("clients", client)),
        (None, None, Some(ip)) => Ok(owned("ips", ip)),
        _ => {
            Err("Invalid quota entity combination, IP entity should not be used with user/client ID entity.".to_owned())
        }
    }
}

fn check(ops: &[OpData], kind: &str) -> Result<(), String> {
    for op in ops.iter().filter(|op| !op.remove) {
        let is_known = match kind {
            "ips" => op.key == CONNECTION_RATE,
            _ => Kind::ALL.iter().any(|kind| kind.key() == op.key),
        };
        if !is_known {
            return Err(format!("Invalid configuration key {}", op.key));
        }
        let type_name = match op.key.as_str() {
            "producer_byte_rate" | "consumer_byte_rate" => "LONG",
            CONNECTION_RATE => "INT",
            _ => continue,
        };
        if (op.value - (op.value + 1e-6).trunc()).abs() > 1e-6 {
            return Err(format!("Configuration {} must be a {type_name} value", op.key));
        }
    }
    Ok(())
}

fn apply(settings: &mut Settings, ops: Vec<OpData>) {
    for op in ops {
        if op.remove {
            settings.remove(&op.key);
            continue;
        }
        let text = match op.key.as_str() {
            "request_percentage" | "controller_mutation_rate" => format!("{:?}", op.value),
            _ => format!("{}", (op.value + 1e-6) as i64),
        };
        settings.insert(op.key, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A type of entity and a name.
    type Part<'a> = (&'a str, Option<&'a str>);

    #[test]
    fn quotas_stand_where_kafka_keeps_them() {
        let part = |(kind, name): &Part<'_>| EntityData {
            entity_type: (*kind).to_owned(),
            entity_name: name.map(str::to_owned),
        };
        let cases: [(&[Part<'_>], Option<&str>); 7] = [
            (&[("user", Some("a b"))], Some("users/a%20b")),
            (&[("user", None), ("client-id", Some("c"))], Some("users/<default>/clients/c")),
            (&[("client-id", None)], Some("clients/<default>")),
            (&[("ip", Some("10.0.0.1"))], Some("ips/10.0.0.1")),
            (&[("ip", None), ("user", None)], None),
            (&[("user", Some(""))], None),
            (&[], None),
        ];
        for (parts, expected) in cases {
            let parts: Vec<EntityData> = parts.iter().map(part).collect();
            let found = entity(&parts).ok().map(|(kind, name)| format!("{kind}/{name}"));
            assert_eq!(found.as_deref(), expected, "{parts:?}");
        }
    }

    #[test]
    fn values_are_written_as_kafka_writes_them() {
        let op = |key: &str, value: f64| OpData { key: key.to_owned(), value, remove: false };
        let mut settings = Settings::new();
        let ops = vec![op("producer_byte_rate", 1024.0), op("request_percentage", 50.0), op("consumer_byte_rate", 1e9)];
        assert_eq!(check(&ops, "users"), Ok(()));
        apply(&mut settings, ops);
        let shown: Vec<&str> = settings.values().map(String::as_str).collect();
        assert_eq!(shown, ["1000000000", "1024", "50.0"]);
        assert!(check(&[op("producer_byte_rate", 1.5)], "users").is_err());
        assert!(check(&[op(CONNECTION_RATE, 1.0)], "users").is_err());
        assert!(check(&[op(CONNECTION_RATE, 1.0)], "ips").is_ok());
    }
}
