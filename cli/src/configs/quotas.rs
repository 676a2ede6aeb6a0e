//! Quotas of users, clients and addresses (KIP-546): read and changed. Knows no other setting.

use super::{IllegalArgument, InvalidConfiguration};
use crate::client::check;
use crate::cluster::{Cluster, Target};
use crate::java_float::java_float;
use crate::java_order::{hash, hash_order};
use common::kafka::messages::alter_client_quotas::{EntityData, EntryData, OpData};
use common::kafka::messages::{
    AlterClientQuotasRequest, ComponentData, DescribeClientQuotasRequest, describe_client_quotas,
};
use std::collections::BTreeMap;

/// How a filter compares: the name, the default entity, any entity of the type.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

/// An entity by type, `None` for the default of its type, and its quotas.
type Quotas = (BTreeMap<String, Option<String>>, BTreeMap<String, f64>);

/// The type on the wire of a type of the command line.
fn wire_type(kind: &str) -> Result<&'static str, IllegalArgument> {
    match kind {
        "users" => Ok("user"),
        "clients" => Ok("client-id"),
        "ips" => Ok("ip"),
        other => Err(IllegalArgument(format!("Unexpected entity type: {other}"))),
    }
}

/// Is this the name of a quota of users and clients?
pub(super) fn is_client_quota(key: &str) -> bool {
    matches!(key, "producer_byte_rate" | "consumer_byte_rate" | "request_percentage" | "controller_mutation_rate")
}

/// Shows the quotas of the entities; an empty name stands for the default.
pub(super) fn describe(cluster: &mut Cluster, types: &[String], names: &[String]) -> anyhow::Result<()> {
    for (entity, values) in fetch(cluster, types, names)? {
        let part = |kind: &str, shown: &str| {
            entity.get(kind).map(|name| match name {
                Some(name) => format!("{shown} '{name}'"),
                None => format!("the default {shown}"),
            })
        };
        let parts: Vec<String> = [("user", "user-principal"), ("client-id", "client-id"), ("ip", "ip")]
            .into_iter()
            .filter_map(|(kind, shown)| part(kind, shown))
            .collect();
        let count = values.len();
        let values = hash_order(values.into_iter().collect(), count, |(key, _): &(String, f64)| hash(key));
        let values: Vec<String> =
            values.into_iter().map(|(key, value)| format!("{key}={}", java_float(value, false))).collect();
        println!("Quota configs for {} are {}", parts.join(", "), values.join(", "));
    }
    Ok(())
}

fn fetch(cluster: &mut Cluster, types: &[String], names: &[String]) -> anyhow::Result<Vec<Quotas>> {
    if names.len() > types.len() {
        return Err(IllegalArgument("More entity names specified than entity types".to_owned()).into());
    }
    let mut components = Vec::new();
    for (index, kind) in types.iter().enumerate() {
        let (match_type, name) = match names.get(index).map(String::as_str) {
            None => (ANY, None),
            Some("") => (DEFAULT, None),
            Some(name) => (EXACT, Some(name.to_owned())),
        };
        components.push(ComponentData { entity_type: wire_type(kind)?.to_owned(), match_type, r#match: name });
    }
    let request = |_| DescribeClientQuotasRequest { components: components.clone(), strict: true };
    let response = cluster.call(Target::Any, request, |response| response.error_code)?;
    check(response.error_code, response.error_message.as_deref())?;
    let entries = response.entries.unwrap_or_default();
    let count = entries.len();
    let quotas = entries.into_iter().map(|entry: describe_client_quotas::EntryData| {
        let entity = entry.entity.into_iter().map(|entity| (entity.entity_type, entity.entity_name)).collect();
        (entity, entry.values.into_iter().map(|value| (value.key, value.value)).collect())
    });
    Ok(hash_order(quotas.collect(), count, |(entity, _): &Quotas| {
        // `Objects.hash` of a map, whose hash is the sum of its entries'.
        let sum = entity
            .iter()
            .fold(0_i32, |sum, (kind, name)| sum.wrapping_add(hash(kind) ^ name.as_deref().map_or(0, hash)));
        31_i32.wrapping_add(sum)
    }))
}

/// Sets and removes quotas of one entity.
pub(super) fn alter(
    cluster: &mut Cluster,
    (types, names): (&[String], &[String]),
    add: &[(String, String)],
    delete: &[String],
) -> anyhow::Result<()> {
    let existing = fetch(cluster, types, names)?.into_iter().next().map(|(_, values)| values).unwrap_or_default();
    let unknown: Vec<&str> = delete.iter().filter(|key| !existing.contains_key(*key)).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(InvalidConfiguration(format!("Invalid config(s): {}", unknown.join(","))).into());
    }
    let mut entity = Vec::new();
    for (kind, name) in types.iter().zip(names) {
        let entity_name = (!name.is_empty()).then(|| name.clone());
        entity.push(EntityData { entity_type: wire_type(kind)?.to_owned(), entity_name });
    }
    let mut ops = Vec::new();
    for (key, value) in add {
        let value = value
            .trim()
            .parse()
            .map_err(|_| IllegalArgument(format!("Cannot parse quota configuration value for {key}: {value}")))?;
        ops.push(OpData { key: key.clone(), value, remove: false });
    }
    ops.extend(delete.iter().map(|key| OpData { key: key.clone(), value: 0.0, remove: true }));
    let request = |_| AlterClientQuotasRequest {
        entries: vec![EntryData { entity: entity.clone(), ops: ops.clone() }],
        validate_only: false,
    };
    let response = cluster
        .call(Target::Controller, request, |response| response.entries.first().map_or(0, |entry| entry.error_code))?;
    for entry in &response.entries {
        check(entry.error_code, entry.error_message.as_deref())?;
    }
    Ok(())
}
