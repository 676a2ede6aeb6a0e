//! `kafka-configs`: settings of topics, brokers, loggers, users, clients and addresses, shown and changed.
//!
//! With `--zookeeper` Kafka's tool writes to ZooKeeper by itself; this one finds the brokers there and asks them, so it
//! needs one that runs, and knows every entity type.

mod quotas;
pub(crate) mod resources;
mod scram;
mod specs;

use crate::client::java_text;
use crate::cluster::{Cluster, load_settings};
use crate::options::{self, Ended, OptionError, Options};
use std::collections::BTreeMap;
use std::process::ExitCode;

const TYPES: [&str; 7] = ["topics", "clients", "users", "brokers", "ips", "broker-loggers", "client-metrics"];
/// A type that Kafka's tool has since 4.0; that of 3.9, whose texts these are, does not name it.
const GROUPS: &str = "groups";
/// Options that name an entity of a type.
const NAMES: [(&str, &str); 6] = [
    ("topic", "topics"),
    ("client", "clients"),
    ("user", "users"),
    ("broker", "brokers"),
    ("broker-logger", "broker-loggers"),
    ("ip", "ips"),
];
/// Options that name the default entity of a type.
const DEFAULTS: [(&str, &str); 4] = [
    ("client-defaults", "clients"),
    ("user-defaults", "users"),
    ("broker-defaults", "brokers"),
    ("ip-defaults", "ips"),
];

/// A command line that means nothing; only the message is shown.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct IllegalArgument(String);

/// A setting that is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct InvalidConfiguration(String);

fn illegal<T>(message: impl Into<String>) -> Result<T, IllegalArgument> {
    Err(IllegalArgument(message.into()))
}

/// The tool.
pub(crate) fn configs(arguments: &[String]) -> anyhow::Result<ExitCode> {
    options::exit(run(arguments).or_else(|error| {
        if error.is::<Ended>() {
            return Err(error);
        }
        if error.is::<IllegalArgument>() || error.is::<InvalidConfiguration>() || error.is::<OptionError>() {
            eprintln!("{error}");
        } else {
            eprintln!("Error while executing config command with args '{}'", arguments.join(" "));
            eprintln!("java.util.concurrent.ExecutionException: {}", java_text(&error));
        }
        Ok(ExitCode::FAILURE)
    }))
}

/// What the command is about. An empty name stands for the default of the type.
struct Entity {
    types: Vec<String>,
    names: Vec<String>,
}

impl Entity {
    fn of(options: &Options) -> anyhow::Result<Entity> {
        let mut types: Vec<String> = options.values("entity-type").into_iter().map(str::to_owned).collect();
        let mut names: Vec<String> = options
            .in_order()
            .filter(|(option, _)| matches!(*option, "entity-name" | "entity-default"))
            .map(|(_, value)| value.unwrap_or_default().to_owned())
            .collect();
        for (option, kind) in NAMES {
            if options.has(option) {
                types.push(kind.to_owned());
                names.push(options.value(option)?.unwrap_or_default().to_owned());
            }
        }
        for (option, kind) in DEFAULTS {
            if options.has(option) {
                types.push(kind.to_owned());
                names.push(String::new());
            }
        }
        Ok(Entity { types, names })
    }

    fn is(&self, kind: &str) -> bool {
        self.types.iter().any(|known| known == kind)
    }

    fn is_named(&self) -> bool {
        self.names.iter().any(|name| !name.is_empty())
    }
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = Options::parse(specs::SPECS, arguments)?;
    options.help_or_version(
        arguments,
        "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip or \
         client-metrics",
    )?;
    if options.has("alter") == options.has("describe") {
        return Err(options.usage("Command must include exactly one action: --describe, --alter").into());
    }
    options.exclude("describe", &["add-config", "delete-config"])?;
    let entity = Entity::of(&options)?;
    check_entity(&options, &entity)?;
    check_action(&options, &entity)?;
    let settings = options.value("command-config")?.map_or_else(|| Ok(BTreeMap::new()), load_settings)?;
    let mut cluster = match options.value("zookeeper")? {
        Some(zookeeper) => {
            println!("Warning: --zookeeper is deprecated and will be removed in a future version of Kafka.");
            println!("Use --bootstrap-server instead to specify a broker to connect to.");
            Cluster::by_zookeeper(zookeeper, &settings)?
        }
        None => {
            let servers = if options.has("bootstrap-server") { "bootstrap-server" } else { "bootstrap-controller" };
            Cluster::new(options.value(servers)?.unwrap_or_default(), &settings)?
        }
    };
    if options.has("alter") {
        alter(&options, &mut cluster, &entity)?;
    } else {
        match entity.types[0].as_str() {
            "users" | "clients" => {
                quotas::describe(&mut cluster, &entity.types, &entity.names)?;
                if !entity.is("clients") && !entity.names.iter().any(String::is_empty) {
                    scram::describe(&mut cluster, &entity.names)?;
                }
            }
            "ips" => quotas::describe(&mut cluster, &entity.types, &entity.names)?,
            kind => resources::describe(&mut cluster, kind, entity.names.first(), options.has("all"))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn check_entity(options: &Options, entity: &Entity) -> Result<(), IllegalArgument> {
    let types = &entity.types;
    let twice: Vec<&str> = types
        .iter()
        .enumerate()
        .filter(|(index, kind)| types[..*index].contains(kind))
        .map(|(_, kind)| kind.as_str())
        .collect();
    if !twice.is_empty() {
        return illegal(format!("Duplicate entity type(s) specified: {}", twice.join(",")));
    }
    let by_broker = options.has("bootstrap-server") || options.has("bootstrap-controller");
    let (allowed, how) = match by_broker || options.has("zookeeper") {
        true => (&TYPES[..], "--bootstrap-server or --bootstrap-controller"),
        false => (&["users", "brokers"][..], "--zookeeper"),
    };
    let is_allowed = |kind: &str| allowed.contains(&kind) || by_broker && kind == GROUPS;
    if let Some(unknown) = types.iter().find(|kind| !is_allowed(kind)) {
        let allowed = allowed.join(", ");
        return illegal(format!(
            "Invalid entity type {unknown}, the entity type must be one of {allowed} with a {how} argument"
        ));
    }
    if types.is_empty() {
        return illegal("At least one entity type must be specified");
    }
    if types.len() > 1 && !(types.len() == 2 && entity.is("users") && entity.is("clients")) {
        return illegal("Only 'users' and 'clients' entity types may be specified together");
    }
    let general = ["entity-name", "entity-type", "entity-default"].iter().any(|option| options.has(option));
    if general && NAMES.iter().chain(&DEFAULTS).any(|(option, _)| options.has(option)) {
        return illegal("--entity-{type,name,default} should not be used in conjunction with specific entity flags");
    }
    let ways = ["bootstrap-server", "bootstrap-controller", "zookeeper"].iter().filter(|way| options.has(way)).count();
    match ways {
        0 => illegal(
            "One of the required --bootstrap-server, --boostrap-controller, or --zookeeper arguments must be specified",
        ),
        1 => Ok(()),
        _ => illegal("Only one of --bootstrap-server, --boostrap-controller, and --zookeeper can be specified"),
    }
}

fn check_action(options: &Options, entity: &Entity) -> Result<(), IllegalArgument> {
    let (types, is_named) = (&entity.types, entity.is_named());
    if options.has("zk-tls-config-file") && !options.has("zookeeper") {
        return illegal("Only the --zookeeper option can be used with the --zk-tls-config-file option.");
    }
    if is_named
        && (entity.is("brokers") || entity.is("broker-loggers"))
        && let Some(name) = entity.names.iter().find(|name| !name.is_empty() && name.parse::<i32>().is_err())
    {
        return illegal(format!(
            "The entity name for {} must be a valid integer broker id, but it is: {name}",
            types[0]
        ));
    }
    if options.has("describe") && entity.is("broker-loggers") && !is_named {
        return illegal(format!("an entity name must be specified with --describe of {}", types.join(",")));
    }
    if !options.has("alter") {
        return Ok(());
    }
    if ["users", "clients", "brokers", "ips"].iter().any(|kind| entity.is(kind)) {
        if entity.names.is_empty() {
            return illegal(
                "an entity-name or default entity must be specified with --alter of users, clients, brokers or ips",
            );
        }
    } else if !is_named {
        return illegal(format!("an entity name must be specified with --alter of {}", types.join(",")));
    }
    if options.has("add-config") && options.has("add-config-file") {
        return illegal("Only one of --add-config or --add-config-file must be specified");
    }
    if !["add-config", "add-config-file", "delete-config"].iter().any(|option| options.has(option)) {
        return illegal(
            "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter",
        );
    }
    if types.len() != entity.names.len() {
        return illegal("An entity name must be specified for every entity type");
    }
    Ok(())
}

fn alter(options: &Options, cluster: &mut Cluster, entity: &Entity) -> anyhow::Result<()> {
    let add = added(options)?;
    let delete: Vec<String> = options
        .values("delete-config")
        .into_iter()
        .flat_map(|list| list.split(','))
        .map(|key| key.trim().to_owned())
        .collect();
    let (kind, name) = (entity.types[0].as_str(), entity.names[0].as_str());
    match kind {
        "users" | "clients" => {
            check_user_settings(entity, &add, &delete)?;
            let keys: Vec<&String> = add.iter().map(|(key, _)| key).chain(&delete).collect();
            if keys.iter().any(|key| quotas::is_client_quota(key)) {
                quotas::alter(cluster, (&entity.types, &entity.names), &add, &delete)?;
            } else {
                scram::alter(cluster, name, &add, &delete)?;
            }
        }
        "ips" => {
            let unknown = unknown_keys(&add, &delete, |key| key == "connection_creation_rate");
            if !unknown.is_empty() {
                return Err(IllegalArgument(format!(
                    "Only connection quota configs can be added for 'ips' using --bootstrap-server. Unexpected config \
                     names: {}",
                    unknown.join(",")
                ))
                .into());
            }
            quotas::alter(cluster, (&entity.types, &entity.names), &add, &delete)?;
        }
        _ => resources::alter(cluster, (kind, name), &add, &delete)?,
    }
    match name {
        "" => println!("Completed updating default config for {kind} in the cluster."),
        name => println!("Completed updating config for {} {name}.", &kind[..kind.len() - 1]),
    }
    Ok(())
}

fn unknown_keys<'a>(add: &'a [(String, String)], delete: &'a [String], known: fn(&str) -> bool) -> Vec<&'a str> {
    add.iter().map(|(key, _)| key.as_str()).chain(delete.iter().map(String::as_str)).filter(|key| !known(key)).collect()
}

fn check_user_settings(entity: &Entity, add: &[(String, String)], delete: &[String]) -> Result<(), IllegalArgument> {
    let of_client = entity.is("clients");
    let known: fn(&str) -> bool = match of_client {
        true => quotas::is_client_quota,
        false => |key| quotas::is_client_quota(key) || scram::is_scram(key),
    };
    let (what, kind) = if of_client { ("quota", "clients") } else { ("quota and SCRAM credential", "users") };
    for (keys, how) in [(unknown_keys(add, &[], known), "added"), (unknown_keys(&[], delete, known), "deleted")] {
        if !keys.is_empty() {
            return illegal(format!(
                "Only {what} configs can be {how} for '{kind}' using --bootstrap-server. Unexpected config names: \
                 {}({})",
                if how == "added" { "Set" } else { "ArrayBuffer" },
                keys.join(", ")
            ));
        }
    }
    let has = |test: fn(&str) -> bool| add.iter().map(|(key, _)| key).chain(delete).any(|key| test(key));
    if has(scram::is_scram) {
        if entity.names.iter().any(String::is_empty) {
            return illegal(
                "The use of --entity-default or --user-defaults is not allowed with User SCRAM Credentials using \
                 --bootstrap-server.",
            );
        }
        if has(quotas::is_client_quota) {
            return illegal(
                "Cannot alter both quota and SCRAM credential configs simultaneously for 'users' using \
                 --bootstrap-server.",
            );
        }
    }
    Ok(())
}

/// The settings to add, later ones winning.
fn added(options: &Options) -> anyhow::Result<Vec<(String, String)>> {
    let mut added = match options.value("add-config-file")? {
        Some(file) => load_settings(file)?,
        None => BTreeMap::new(),
    };
    if let Some(text) = options.value("add-config")? {
        for pair in split_outside_brackets(text, ',') {
            let Some([key, value]) = split_outside_brackets(pair, '=')
                .first_chunk()
                .copied()
                .filter(|_| split_outside_brackets(pair, '=').len() == 2)
            else {
                return Err(IllegalArgument(
                    "requirement failed: Invalid entity config: all configs to be added must be in the format \
                     \"key=val\"."
                        .to_owned(),
                )
                .into());
            };
            added.insert(key.trim().to_owned(), value.replace(['[', ']'], "").trim().to_owned());
        }
    }
    let fits = |key: &str| key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if let Some(key) = added.keys().find(|key| !fits(key)) {
        return Err(IllegalArgument(format!("Invalid character found for config key: {key}")).into());
    }
    Ok(added.into_iter().collect())
}

/// The parts between separators that are not in square brackets.
fn split_outside_brackets(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, _) in text.match_indices(separator) {
        let next_bracket = text[at..].find(['[', ']']).map(|offset| text.as_bytes()[at + offset]);
        if next_bracket != Some(b']') {
            parts.push(&text[start..at]);
            start = at + separator.len_utf8();
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_hold_values_together() {
        for (text, expected) in [
            ("a=1,b=2", vec!["a=1", "b=2"]),
            ("a=[1,2],b=3", vec!["a=[1,2]", "b=3"]),
            ("a=", vec!["a="]),
            ("", vec![""]),
        ] {
            assert_eq!(split_outside_brackets(text, ','), expected);
        }
        assert_eq!(split_outside_brackets("S=[iterations=1,password=x]", '='), ["S", "[iterations=1,password=x]"]);
    }
}
