//! DescribeClientQuotas (48, KIP-546), versions 0 and 1: the quotas of users, client ids and addresses that a filter finds.
//! CLUSTER_AUTHORIZATION_FAILED, INVALID_REQUEST for a filter that names a type twice or addresses with others,
//! UNSUPPORTED_VERSION for other types.

use super::access::Access;
use super::{Context, Endpoint, Reply, Ticket};
use crate::access::acl::Operation;
use crate::access::sanitize::desanitize;
use crate::cluster::{Cluster, Settings, Waiter};
use crate::quota::{CONNECTION_RATE, Kind};
use crate::resources::DEFAULT_ENTITY as DEFAULT;
use common::kafka::error::ErrorCode;
use common::kafka::messages::describe_client_quotas::{ComponentData, EntityData, EntryData, ValueData};
use common::kafka::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Match types of the wire.
const EXACT: i8 = 0;
const THE_DEFAULT: i8 = 1;
const ANY: i8 = 2;

/// See the top of the file.
pub struct DescribeClientQuotas;

/// What a filter says of one type of entity.
enum Wanted {
    /// This one; `None` is the default.
    Name(Option<String>),
    Any,
}

/// What a filter says, by type.
type Filter = BTreeMap<String, Wanted>;

/// An entity: the names by type, `None` for the default.
type Named = Vec<(&'static str, Option<String>)>;

impl Endpoint for DescribeClientQuotas {
    type Request = DescribeClientQuotasRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    const ACCESS: Access<Self::Request> =
        Access::Cluster(Operation::DescribeConfigs, |_, code| refused(code, code.message()));

    fn handle(ctx: &Context<'_>, request: DescribeClientQuotasRequest) -> Reply<DescribeClientQuotasResponse> {
        let filter = match filter(request.components) {
            Ok(filter) => filter,
            Err((code, text)) => return Reply::Now(refused(code, &text)),
        };
        let ticket: Ticket<DescribeClientQuotasRequest> = ctx.ticket();
        let (broker, now) = (ctx.broker.clone(), ctx.now);
        let go_on = Waiter::new(move |()| ticket.answer(&response(&broker.cluster, &filter, request.strict)));
        ctx.broker.with_cluster(now, |cluster, effects| cluster.catch_up_settings(go_on, now, effects));
        Reply::Parked
    }
}

fn response(cluster: &Cluster, filter: &Filter, strict: bool) -> DescribeClientQuotasResponse {
    let mut entries = Vec::new();
    let mut add = |named: Named, settings: &Settings, keys: &[&str]| {
        let number = |key: &&str| Some(((*key).to_owned(), settings.get(*key)?.trim().parse().ok()?));
        let values: Vec<(String, f64)> = keys.iter().filter_map(number).collect();
        if values.is_empty() || !is_wanted(filter, &named, strict) {
            return;
        }
        let entity =
            |(kind, name): (&str, Option<String>)| EntityData { entity_type: kind.to_owned(), entity_name: name };
        entries.push(EntryData {
            entity: named.into_iter().map(entity).collect(),
            values: values.into_iter().map(|(key, value)| ValueData { key, value }).collect(),
        });
    };
    let keys = Kind::ALL.map(Kind::key);
    for (name, settings) in cluster.settings_of_kind("users") {
        let named = match name.split_once("/clients/") {
            Some((user, client)) => vec![("user", known(user)), ("client-id", known(client))],
            None => vec![("user", known(&name))],
        };
        add(named, &settings, &keys);
    }
    for (name, settings) in cluster.settings_of_kind("clients") {
        add(vec![("client-id", known(&name))], &settings, &keys);
    }
    for (name, settings) in cluster.settings_of_kind("ips") {
        add(vec![("ip", known(&name))], &settings, &[CONNECTION_RATE]);
    }
    DescribeClientQuotasResponse { error_message: None, entries: Some(entries), ..Default::default() }
}

fn known(name: &str) -> Option<String> {
    (name != DEFAULT).then(|| desanitize(name))
}

fn filter(components: Vec<ComponentData>) -> Result<Filter, (ErrorCode, String)> {
    let invalid = |text: String| Err((ErrorCode::InvalidRequest, text));
    let mut filter = Filter::new();
    for ComponentData { entity_type, match_type, r#match } in components {
        let called = match entity_type.as_str() {
            "user" => "user",
            "client-id" => "client",
            "ip" => "ip",
            "" => return invalid("Unexpected empty filter component entity type".to_owned()),
            other => {
                return Err((ErrorCode::UnsupportedVersion, format!("Custom entity type '{other}' not supported")));
            }
        };
        let wanted = match match_type {
            EXACT => Wanted::Name(Some(r#match.unwrap_or_default())),
            THE_DEFAULT => Wanted::Name(None),
            ANY => Wanted::Any,
            other => return invalid(format!("Unexpected match type: {other}")),
        };
        if filter.insert(entity_type, wanted).is_some() {
            return invalid(format!("Duplicate {called} filter component entity type"));
        }
    }
    if filter.contains_key("ip") && filter.len() > 1 {
        let text = "Invalid entity filter component combination, IP filter component should not be used with user or \
                    clientId filter component.";
        return invalid(text.to_owned());
    }
    Ok(filter)
}

/// Every type that the filter speaks of must be there; if `strict`, no other.
fn is_wanted(filter: &Filter, named: &Named, strict: bool) -> bool {
    let fits = |(kind, wanted): (&String, &Wanted)| {
        let found = named.iter().find(|(of, _)| *of == kind.as_str());
        found.is_some_and(|(_, name)| match wanted {
            Wanted::Any => true,
            Wanted::Name(wanted) => wanted == name,
        })
    };
    filter.iter().all(fits) && (!strict || named.iter().all(|(kind, _)| filter.contains_key(*kind)))
}

fn refused(code: ErrorCode, text: &str) -> DescribeClientQuotasResponse {
    let error_message = super::error::text(text);
    DescribeClientQuotasResponse { error_code: code.code(), error_message, entries: None, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_find_entities() {
        let user = |name: &str| ("user", known(name));
        let client = |name: &str| ("client-id", known(name));
        let entities: [Named; 4] =
            [vec![user("a")], vec![user(DEFAULT)], vec![user("a"), client("c")], vec![("ip", known("10.0.0.1"))]];
        let component = |kind: &str, match_type: i8, name: Option<&str>| ComponentData {
            entity_type: kind.to_owned(),
            match_type,
            r#match: name.map(str::to_owned),
        };
        let cases = [
            (vec![], false, "1111"),
            (vec![], true, "0000"),
            (vec![component("user", EXACT, Some("a"))], false, "1010"),
            (vec![component("user", EXACT, Some("a"))], true, "1000"),
            (vec![component("user", THE_DEFAULT, None)], true, "0100"),
            (vec![component("user", ANY, None), component("client-id", ANY, None)], true, "0010"),
            (vec![component("ip", ANY, None)], true, "0001"),
        ];
        for (components, strict, expected) in cases {
            let filter = filter(components.clone()).unwrap_or_else(|(_, text)| panic!("{text}"));
            let wanted = |named| if is_wanted(&filter, named, strict) { '1' } else { '0' };
            assert_eq!(entities.iter().map(wanted).collect::<String>(), expected, "{components:?} {strict}");
        }
        let refused = [
            vec![component("user", ANY, None), component("user", ANY, None)],
            vec![component("user", ANY, None), component("ip", ANY, None)],
            vec![component("rack", ANY, None)],
            vec![component("user", 7, None)],
        ];
        for components in refused {
            assert!(filter(components).is_err());
        }
    }
}
