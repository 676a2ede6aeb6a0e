//! `kafka-features`: the feature levels of a cluster, and changes of them. A cluster on ZooKeeper has none; what can be
//! changed is for the brokers to say.

use crate::argparse::{self, Argument, Command, Group, Parsed, Parser, Takes};
use crate::client::check;
use crate::cluster::{Cluster, Target, load_settings};
use anyhow::{anyhow, bail};
use common::kafka::messages::update_features::FeatureUpdateKey;
use common::kafka::messages::{ApiVersionsRequest, UpdateFeaturesRequest};
use std::collections::BTreeMap;
use std::process::ExitCode;

const PROG: &str = "kafka-features";
/// The one feature whose levels have names.
const METADATA: &str = "metadata.version";
/// The names of the levels of `metadata.version` that Kafka 3.9 knows, from 1 on.
const LEVELS: &[&str] = &[
    "3.0-IV1", "3.1-IV0", "3.2-IV0", "3.3-IV0", "3.3-IV1", "3.3-IV2", "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1",
    "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2", "3.7-IV0", "3.7-IV1", "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0",
    "3.9-IV0", "4.0-IV0", "4.0-IV1",
];
/// The level from which a cluster can start, and the newest that is not for tests only.
const FIRST: usize = 4;
const LAST: usize = 21;

const FEATURE: &[&str] = &["--feature"];
const METADATA_FLAG: &[&str] = &["--metadata"];
const UNSAFE: &[&str] = &["--unsafe"];
const DRY_RUN: &[&str] = &["--dry-run"];

const fn command(name: &'static str, help: &'static str, arguments: &'static [Argument]) -> Command {
    Command { name, help, parser: Parser { prog: PROG, description: "", arguments, groups: &[], commands: &[] } }
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
    groups: &[Group { title: "", description: "", required: true }],
    commands: &[
        command("describe", "Describes the current active feature flags.", &[]),
        command(
            "upgrade",
            "Upgrade one or more feature flags.",
            &[
                Argument::new(
                    METADATA_FLAG,
                    Takes::Text,
                    "The level to which we should upgrade the metadata. For example, 3.3-IV3.",
                ),
                Argument::new(
                    FEATURE,
                    Takes::Texts,
                    "A feature upgrade we should perform, in feature=level format. For example: `metadata.version=5`.",
                ),
                Argument::new(DRY_RUN, Takes::Nothing, "Validate this upgrade, but do not perform it."),
            ],
        ),
        command(
            "downgrade",
            "Upgrade one or more feature flags.",
            &[
                Argument::new(
                    METADATA_FLAG,
                    Takes::Text,
                    "The level to which we should downgrade the metadata. For example, 3.3-IV0.",
                ),
                Argument::new(
                    FEATURE,
                    Takes::Texts,
                    "A feature downgrade we should perform, in feature=level format. For example: `metadata.version=5`.",
                ),
                Argument::new(
                    UNSAFE,
                    Takes::Nothing,
                    "Perform this downgrade even if it may irreversibly destroy metadata.",
                ),
                Argument::new(DRY_RUN, Takes::Nothing, "Validate this downgrade, but do not perform it."),
            ],
        ),
        command(
            "disable",
            "Disable one or more feature flags. This is the same as downgrading the version to zero.",
            &[
                Argument::new(FEATURE, Takes::Texts, "A feature flag to disable."),
                Argument::new(
                    UNSAFE,
                    Takes::Nothing,
                    "Disable this feature flag even if it may irreversibly destroy metadata.",
                ),
                Argument::new(DRY_RUN, Takes::Nothing, "Perform a dry-run of this disable operation."),
            ],
        ),
    ],
};

/// The tool.
pub(crate) fn features(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let parsed = match argparse::parse(&PARSER, arguments) {
        Ok(parsed) => parsed,
        Err(refusal) => return Ok(refusal.show()),
    };
    let settings = parsed.text("command-config").map_or_else(|| Ok(BTreeMap::new()), load_settings)?;
    if parsed.has("bootstrap-controller") {
        return Err(no_controllers());
    }
    let mut cluster = Cluster::new(parsed.text("bootstrap-server").unwrap_or_default(), &settings)?;
    match parsed.command.unwrap_or_default() {
        "describe" => describe(&mut cluster)?,
        operation => update(&mut cluster, operation, &parsed)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Why `--bootstrap-controller` is of no use.
pub(crate) fn no_controllers() -> anyhow::Error {
    anyhow!("A cluster on ZooKeeper has no KRaft controllers; use --bootstrap-server")
}

fn level(feature: &str, level: i16) -> String {
    if feature != METADATA {
        return level.to_string();
    }
    let name = usize::try_from(level).ok().and_then(|level| LEVELS.get(level.checked_sub(1)?));
    name.map_or_else(|| format!("UNKNOWN {level}"), |name| (*name).to_owned())
}

fn describe(cluster: &mut Cluster) -> anyhow::Result<()> {
    let request = |_| ApiVersionsRequest {
        client_software_name: "castellan".to_owned(),
        client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let response = cluster.call(Target::Any, request, |response| response.error_code)?;
    check(response.error_code, None)?;
    let finalized: BTreeMap<&str, i16> =
        response.finalized_features.iter().map(|one| (one.name.as_str(), one.max_version_level)).collect();
    let epoch = response.finalized_features_epoch;
    let epoch = if epoch < 0 { "-".to_owned() } else { epoch.to_string() };
    let mut supported = response.supported_features.clone();
    supported.sort_by(|one, other| one.name.cmp(&other.name));
    for feature in supported {
        let name = &feature.name;
        println!(
            "Feature: {name}\tSupportedMinVersion: {}\tSupportedMaxVersion: {}\tFinalizedVersionLevel: {}\tEpoch: {epoch}",
            level(name, feature.min_version),
            level(name, feature.max_version),
            level(name, finalized.get(name.as_str()).copied().unwrap_or(0)),
        );
    }
    Ok(())
}

/// The level of a version of Kafka: `3.3-IV3`, or `3.3` for its last.
fn metadata_level(version: &str) -> anyhow::Result<i16> {
    let key = version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    let fits = |name: &str| *name == key || name.split_once("-IV").is_some_and(|(short, _)| short == key);
    if let Some(at) = LEVELS.iter().rposition(|name| fits(name)) {
        return Ok(i16::try_from(at + 1)?);
    }
    let known = LEVELS[FIRST - 1..LAST].join(", ");
    bail!("Unsupported metadata.version {version}. Supported metadata.version are {known}")
}

fn name_and_level(text: &str) -> anyhow::Result<(String, i16)> {
    let problem = |why: &str| anyhow!("Can't parse feature=level string {text}: {why}");
    let (name, level) = text.split_once('=').ok_or_else(|| problem("equals sign not found."))?;
    let level = level.trim();
    let number = level.parse().map_err(|_| problem(&format!("unable to parse {level} as a short.")))?;
    Ok((name.trim().to_owned(), number))
}

fn update(cluster: &mut Cluster, operation: &str, parsed: &Parsed) -> anyhow::Result<()> {
    let mut levels = BTreeMap::new();
    if let Some(version) = parsed.text("metadata") {
        levels.insert(METADATA.to_owned(), metadata_level(version)?);
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
    if levels.keys().any(|name| name.trim().is_empty()) {
        bail!("Provided feature can not be empty.");
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
fn ask(
    cluster: &mut Cluster,
    levels: &BTreeMap<String, i16>,
    upgrade_type: i8,
    validate_only: bool,
) -> BTreeMap<String, String> {
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
    fn versions_have_levels() {
        for (version, level) in
            [("3.3-IV3", Some(7)), ("3.7", Some(19)), ("3.7.1", Some(19)), ("3.0-IV0", None), ("x", None)]
        {
            assert_eq!(metadata_level(version).ok(), level, "{version}");
        }
        assert_eq!(level(METADATA, 21), "3.9-IV0");
        assert_eq!(level(METADATA, 0), "UNKNOWN 0");
        assert_eq!(level("other", 0), "0");
    }
}
