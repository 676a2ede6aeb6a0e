//! `kafka-groups`: the groups of all types, with the type of each and of its protocol, as Kafka 4.0 and later list them. Changes
//! nothing.

use crate::client::java_text;
use crate::cluster::{Cluster, load_settings};
use crate::groups::wire::{Listing, list_those};
use crate::options::{self, HELP, Options, Spec, VERSION, flag, text};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "This tool helps to list groups of all types.";
/// How long the list may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Types by the names that brokers give, and as they are shown.
const TYPES: [(&str, &str); 4] =
    [("classic", "Classic"), ("consumer", "Consumer"), ("share", "Share"), ("streams", "Streams")];

const SPECS: &[Spec] = &[
    HELP,
    VERSION,
    text("bootstrap-server", "server to connect to", "REQUIRED: The Kafka server to connect to.").needed(),
    text(
        "command-config",
        "command config property file",
        "Property file containing configs to be passed to Admin Client.",
    ),
    flag("list", "List the groups."),
    text(
        "group-type",
        "type",
        "Filter the groups based on group type. Valid types are: 'classic', 'consumer', 'share' and 'streams'.",
    ),
    text("protocol", "protocol", "Filter the groups based on protocol type."),
    flag(
        "consumer",
        "Filter the groups to show all kinds of consumer groups, including classic and simple consumer groups. This matches \
         group type 'consumer', and group type 'classic' where the protocol type is 'consumer' or empty.",
    ),
    flag("share", "Filter the groups to show share groups."),
    flag("streams", "Filter the groups to show streams groups."),
];

/// The tool.
pub(crate) fn all_groups(arguments: &[String]) -> anyhow::Result<ExitCode> {
    options::exit(run(arguments))
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = Options::or_usage(SPECS, arguments)?;
    options.require_marked().map_err(|error| options.usage(&error.to_string()))?;
    options.help_or_version(arguments, USAGE)?;
    if !options.has("list") {
        return Err(options.usage("Command must include exactly one action: --list.").into());
    }
    let kind = match options.value("group-type")? {
        None => None,
        Some(given) => match TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(given)) {
            Some((_, shown)) => Some(*shown),
            None => {
                eprintln!("--group-type must be a valid group type.");
                return Ok(ExitCode::FAILURE);
            }
        },
    };
    options.exclude("consumer", &["group-type", "protocol", "share", "streams"])?;
    options.exclude("share", &["consumer", "group-type", "protocol", "streams"])?;
    options.exclude("streams", &["consumer", "group-type", "protocol", "share"])?;
    match list(&options, kind) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            let text = java_text(&error);
            println!("Error while executing groups command : {error}");
            eprintln!("{text}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// As it is shown. Brokers before Kafka 3.8 do not tell.
fn shown(kind: &str) -> &'static str {
    match TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(kind)) {
        Some((_, shown)) => shown,
        None if kind.is_empty() => "",
        None => "Unknown",
    }
}

fn list(options: &Options, kind: Option<&str>) -> anyhow::Result<()> {
    let settings = options.value("command-config")?.map_or_else(|| Ok(BTreeMap::new()), load_settings)?;
    let mut cluster = Cluster::new(options.value("bootstrap-server")?.unwrap_or_default(), &settings)?;
    cluster.set_call_timeout(TIMEOUT);
    let protocol = options.value("protocol")?;
    let is_wanted = |group: &Listing| {
        let type_of = shown(&group.kind);
        if kind.is_some() || protocol.is_some() {
            return kind.is_none_or(|kind| kind == type_of)
                && protocol.is_none_or(|protocol| protocol == group.protocol);
        }
        if options.has("consumer") {
            return matches!(group.protocol.as_str(), "consumer" | "") || type_of == "Consumer";
        }
        (!options.has("share") || type_of == "Share") && (!options.has("streams") || type_of == "Streams")
    };
    let groups: Vec<Listing> = list_those(&mut cluster, &[], &[], |_| true)?.into_iter().filter(is_wanted).collect();
    let cells = groups.iter().flat_map(|group| [group.id.as_str(), shown(&group.kind), &group.protocol]);
    let width = cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(20);
    println!("{:width$} {:width$} {:width$}", "GROUP", "TYPE", "PROTOCOL");
    for group in &groups {
        println!("{:width$} {:width$} {:width$} ", group.id, shown(&group.kind), group.protocol);
    }
    Ok(())
}
