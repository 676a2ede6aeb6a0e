//! `kafka-features`: the feature levels of a cluster, and changes of them, and which levels the releases of Kafka have. A cluster
//! on ZooKeeper has the features that its brokers name, and no `metadata.version`; what can be changed is for the brokers to say.

mod releases;

use crate::argparse::{self, Argument, Command, Group, Parsed, Parser, Takes};
use crate::client::check;
use crate::cluster::{Cluster, Target, load_settings};
use anyhow::{Context as _, anyhow, bail};
use common::kafka::messages::update_features::FeatureUpdateKey;
use common::kafka::messages::{ApiVersionsRequest, ApiVersionsResponse, UpdateFeaturesRequest};
use releases::{FEATURES, LATEST_NAME, METADATA};
use std::collections::BTreeMap;
use std::process::ExitCode;

const PROG: &str = "kafka-features";

const fn command(name: &'static str, help: &'static str, arguments: &'static [Argument]) -> Command {
    Command { name, help, parser: Parser { prog: PROG, description: "", arguments, groups: &[], commands: &[] } }
}

const fn release_version(help: &'static str) -> Argument {
    Argument::new(&["--release-version"], Takes::Text, help)
}

const fn metadata(help: &'static str) -> Argument {
    Argument::new(&["--metadata"], Takes::Text, help)
}

const fn feature(help: &'static str) -> Argument {
    Argument::new(&["--feature"], Takes::Texts, help)
}

const fn is_unsafe(help: &'static str) -> Argument {
    Argument::new(&["--unsafe"], Takes::Nothing, help)
}

const fn dry_run(help: &'static str) -> Argument {
    Argument::new(&["--dry-run"], Takes::Nothing, help)
}

static PARSER: Parser = Parser {
    prog: PROG,
    description: "This tool manages feature flags in Kafka.",
    arguments: &[
        Argument::new(
            &["--bootstrap-server"],
            Takes::Text,
            "A comma-separated list of host:port pairs to use for establishing the connection to the Kafka cluster.",
        )
        .within(0),
        Argument::new(
            &["--bootstrap-controller"],
            Takes::Text,
            "A comma-separated list of host:port pairs to use for establishing the connection to the KRaft quorum.",
        )
        .within(0),
        Argument::new(
            &["--command-config"],
            Takes::Text,
            "Property file containing configs to be passed to Admin Client.",
        ),
    ],
    groups: &[Group { title: "", description: "", required: false }],
    commands: &[
        command(
            "describe",
            "Describes the current active feature flags.",
            &[Argument::new(
                &["--node-id"],
                Takes::Integer,
                "The node id to which the requests should be sent. If not specified, the requests will be sent to an arbitrary \
                 controller/broker.",
            )],
        ),
        command(
            "upgrade",
            "Upgrade one or more feature flags.",
            &[
                metadata("DEPRECATED -- The level to which we should upgrade the metadata. For example, 3.3-IV3."),
                release_version(
                    "The release version to update all features to. For example, 3.9-IV0 will set metadata.version=21 and \
                     kraft.version=1. Use the version-mapping command to learn which features will be set for any given \
                     version.",
                ),
                feature(
                    "A feature upgrade we should perform, in feature=level format. For example: `metadata.version=5`.",
                ),
                dry_run("Validate this upgrade, but do not perform it."),
            ],
        ),
        command(
            "downgrade",
            "Downgrade one or more feature flags.",
            &[
                metadata("DEPRECATED -- The level to which we should downgrade the metadata. For example, 3.3-IV0."),
                release_version(
                    "The release version to downgrade all features to. For example, 3.9-IV0 will set metadata.version=21 \
                     and kraft.version=1. Use the version-mapping command to learn which features will be set for any \
                     given version.",
                ),
                feature(
                    "A feature downgrade we should perform, in feature=level format. For example: `metadata.version=5`.",
                ),
                is_unsafe("Perform this downgrade even if it may irreversibly destroy metadata."),
                dry_run("Validate this downgrade, but do not perform it."),
            ],
        ),
        command(
            "disable",
            "Disable one or more feature flags. This is the same as downgrading the version to zero.",
            &[
                feature("A feature flag to disable."),
                is_unsafe("Disable this feature flag even if it may irreversibly destroy metadata."),
                dry_run("Perform a dry-run of this disable operation."),
            ],
        ),
        command(
            "version-mapping",
            "Look up the corresponding features for a given metadata version. Using the command with no --release-version  \
             argument will return the mapping for the latest stable metadata version",
            &[release_version(
                "The release version to use for the corresponding feature mapping. The minimum is 3.3-IV3; the default is \
                 4.3-IV0",
            )],
        ),
        command(
            "feature-dependencies",
            "Look up dependencies for a given feature version. If the feature is not known or the version not yet defined, \
             an error is thrown. Multiple features can be specified.",
            &[feature(
                "The feature and version to look up dependencies for, in feature=version format. For example: \
                 `metadata.version=5`.",
            )
            .required()],
        ),
    ],
};

/// The tool.
pub(crate) fn features(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let parsed = match argparse::parse(&PARSER, arguments) {
        Ok(parsed) => parsed,
        Err(refusal) => return Ok(refusal.show_in_a_line()),
    };
    match parsed.command.unwrap_or_default() {
        "version-mapping" => print_mapping(parsed.text("release-version").unwrap_or(LATEST_NAME))?,
        "feature-dependencies" => print_dependencies(parsed.texts("feature"))?,
        command => {
            let settings = match parsed.text("command-config") {
                // Kafka's tool names the file and no more.
                Some(file) => load_settings(file).map_err(|_| anyhow!("{file}"))?,
                None => BTreeMap::new(),
            };
            if parsed.has("bootstrap-controller") {
                return Err(no_controllers());
            }
            let Some(servers) = parsed.text("bootstrap-server") else {
                let problem = "You must specify either --bootstrap-controller or --bootstrap-server.";
                return Ok(argparse::wrong(&PARSER, problem).show_in_a_line());
            };
            let mut cluster = Cluster::new(servers, &settings)?;
            match command {
                "describe" => describe(&mut cluster, parsed.number("node-id"))?,
                operation => update(&mut cluster, operation, &parsed)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Why `--bootstrap-controller` is of no use.
pub(crate) fn no_controllers() -> anyhow::Error {
    anyhow!("A cluster on ZooKeeper has no KRaft controllers; use --bootstrap-server")
}

/// Which features a release of Kafka has.
fn print_mapping(release: &str) -> anyhow::Result<()> {
    let metadata = releases::level_of(release)?;
    println!("{METADATA}={metadata} ({release})");
    for feature in FEATURES {
        println!("{}={}", feature.name, feature.level_in(metadata));
    }
    Ok(())
}

/// What levels of features need.
fn print_dependencies(wanted: &[String]) -> anyhow::Result<()> {
    for text in wanted {
        let (name, level) = name_and_level(text)?;
        if name == METADATA {
            let release = releases::name_of(level).with_context(|| format!("Unknown {METADATA} {level}"))?;
            println!("{METADATA}={level} ({release}) has no dependencies.");
            continue;
        }
        let feature = FEATURES.iter().find(|feature| feature.name == name);
        match feature.with_context(|| format!("Unknown feature: {name}"))?.needs(level)? {
            None => println!("{name}={level} has no dependencies."),
            Some(metadata) => {
                println!("{name}={level} requires:\n    {METADATA}={metadata} ({})", shown(METADATA, metadata))
            }
        }
    }
    Ok(())
}

/// A level as the tool shows it.
fn shown(feature: &str, level: i16) -> String {
    if feature != METADATA {
        return level.to_string();
    }
    releases::name_of(level).map_or_else(|| format!("UNKNOWN {level}"), str::to_owned)
}

/// The features that brokers have, as one of them says.
fn ask_features(cluster: &mut Cluster, target: Target) -> anyhow::Result<ApiVersionsResponse> {
    let request = |_| ApiVersionsRequest {
        client_software_name: "castellan".to_owned(),
        client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let response = cluster.call(target, request, |response| response.error_code)?;
    check(response.error_code, None)?;
    Ok(response)
}

fn describe(cluster: &mut Cluster, node_id: Option<i32>) -> anyhow::Result<()> {
    let target = match node_id {
        Some(..0) => bail!("Invalid node id {}: must be non-negative.", node_id.unwrap_or_default()),
        Some(id) => Target::Node(id),
        None => Target::Any,
    };
    let response = ask_features(cluster, target)?;
    let finalized: BTreeMap<&str, i16> =
        response.finalized_features.iter().map(|one| (one.name.as_str(), one.max_version_level)).collect();
    let epoch = response.finalized_features_epoch;
    let epoch = if epoch < 0 { "-".to_owned() } else { epoch.to_string() };
    let mut supported = response.supported_features.clone();
    supported.sort_by(|one, other| one.name.cmp(&other.name));
    for feature in supported {
        let name = &feature.name;
        println!(
            "Feature: {name:40}  SupportedMinVersion: {:15}  SupportedMaxVersion: {:15}  FinalizedVersionLevel: {:15}  Epoch: \
             {epoch}",
            shown(name, feature.min_version),
            shown(name, feature.max_version),
            shown(name, finalized.get(name.as_str()).copied().unwrap_or(0)),
        );
    }
    Ok(())
}

fn name_and_level(text: &str) -> anyhow::Result<(String, i16)> {
    let problem = |why: &str| anyhow!("Can't parse feature=level string {text}: {why}");
    let (name, level) = text.split_once('=').ok_or_else(|| problem("equals sign not found."))?;
    let level = level.trim();
    let number = level.parse().map_err(|_| problem(&format!("unable to parse {level} as a short.")))?;
    Ok((name.trim().to_owned(), number))
}

/// Levels by feature.
type Levels = BTreeMap<String, i16>;

/// The levels that were asked for one by one.
fn asked_for(operation: &str, parsed: &Parsed) -> anyhow::Result<Levels> {
    let mut levels = Levels::new();
    if let Some(release) = parsed.text("metadata") {
        println!(" `metadata` flag is deprecated and may be removed in a future release.");
        levels.insert(METADATA.to_owned(), releases::level_of(release)?);
    }
    for feature in parsed.texts("feature") {
        let (name, level) = if operation == "disable" { (feature.clone(), 0) } else { name_and_level(feature)? };
        if levels.insert(name.clone(), level).is_some() {
            bail!("Feature {name} was specified more than once.");
        }
    }
    if levels.is_empty() {
        bail!("You must specify at least one feature to {operation}");
    }
    Ok(levels)
}

/// The levels of a release of Kafka, of the features that the brokers have. Kafka's tool asks for all of them, of which a
/// cluster on ZooKeeper would do none, for it has no `metadata.version`; so what it has not is left out, and told.
fn of_release(cluster: &mut Cluster, operation: &str, release: &str) -> anyhow::Result<Levels> {
    let metadata = releases::level_of(release)?;
    let others = FEATURES.iter().map(|feature| (feature.name, feature.level_in(metadata)));
    let wanted = others.filter(|(_, level)| operation != "upgrade" || *level > 0);
    let known = ask_features(cluster, Target::Any)?.supported_features;
    let (levels, absent): (Vec<_>, Vec<_>) = std::iter::once((METADATA, metadata))
        .chain(wanted)
        .partition(|(name, _)| known.iter().any(|feature| feature.name == *name));
    let absent: Vec<String> =
        absent.iter().filter(|(_, level)| *level > 0).map(|(name, level)| format!("{name}={level}")).collect();
    if !absent.is_empty() {
        println!(
            "Left out {}: this cluster, on ZooKeeper, has no such features; describe shows those it has.",
            absent.join(", ")
        );
    }
    Ok(levels.into_iter().map(|(name, level)| (name.to_owned(), level)).collect())
}

fn update(cluster: &mut Cluster, operation: &str, parsed: &Parsed) -> anyhow::Result<()> {
    let levels = match parsed.text("release-version") {
        Some(_) if parsed.has("metadata") || parsed.has("feature") => {
            bail!("Can not specify `release-version` with other feature flags.")
        }
        Some(release) => of_release(cluster, operation, release)?,
        None => asked_for(operation, parsed)?,
    };
    if levels.keys().any(|name| name.trim().is_empty()) {
        bail!("Provided feature can not be empty.");
    }
    if levels.is_empty() {
        return Ok(());
    }
    // Upgrade, safe and unsafe downgrade.
    let upgrade_type = if operation == "upgrade" { 1 } else { 2 + i8::from(parsed.has("unsafe")) };
    let dry_run = parsed.has("dry-run");
    let problems = ask(cluster, &levels, upgrade_type, dry_run);
    let mut failed = 0;
    for (name, level) in &levels {
        let to = if operation == "disable" { String::new() } else { format!(" to {level}") };
        match problems.get(name) {
            Some(problem) => {
                failed += 1;
                println!("{} not {operation} {name}{to}. {problem}", if dry_run { "Can" } else { "Could" });
            }
            None => {
                println!("{name}{} {operation}d{to}.", if dry_run { " can be" } else { " was" });
            }
        }
    }
    if failed > 0 {
        bail!("{failed} out of {} operation(s) failed.", levels.len());
    }
    Ok(())
}

/// What the controller has against the changes, by feature.
fn ask(cluster: &mut Cluster, levels: &Levels, upgrade_type: i8, validate_only: bool) -> BTreeMap<String, String> {
    let timeout_ms = cluster.timeout_ms();
    let request = |version| UpdateFeaturesRequest {
        timeout_ms,
        feature_updates: levels
            .iter()
            .map(|(feature, level)| FeatureUpdateKey {
                feature: feature.clone(),
                max_version_level: *level,
                allow_downgrade: version < 1 && upgrade_type > 1,
                upgrade_type: if version < 1 { 1 } else { upgrade_type },
            })
            .collect(),
        validate_only: version > 0 && validate_only,
    };
    let response = match cluster.call(Target::Controller, request, |response| response.error_code) {
        Ok(response) => response,
        Err(error) => return levels.keys().map(|name| (name.clone(), error.to_string())).collect(),
    };
    if let Err(error) = check(response.error_code, response.error_message.as_deref()) {
        return levels.keys().map(|name| (name.clone(), error.to_string())).collect();
    }
    let told = response.results.into_iter();
    told.filter_map(|result| {
        let problem = check(result.error_code, result.error_message.as_deref()).err()?;
        Some((result.feature, problem.to_string()))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_metadata_have_names() {
        for (feature, level, expected) in
            [(METADATA, 21, "3.9-IV0"), (METADATA, 0, "UNKNOWN 0"), (METADATA, 32, "UNKNOWN 32"), ("other", 0, "0")]
        {
            assert_eq!(shown(feature, level), expected);
        }
    }
}
