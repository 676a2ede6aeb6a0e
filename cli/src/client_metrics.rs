//! `kafka-client-metrics`: which clients push which metrics how often (KIP-714). Shows no metrics.

use crate::client::java_text;
use crate::clock;
use crate::cluster::{Cluster, NoServers, TimedOut, load_settings};
use crate::configs::resources::{self, CLIENT_METRICS};
use crate::java_order::{hash, hash_order};
use crate::options::{self, Ended, HELP, Options, Spec, VERSION, flag, int, text};
use crate::uuid_text;
use anyhow::{anyhow, bail};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;
use uuid::Uuid;

const USAGE: &str = "This tool helps to manipulate and describe client metrics configurations.";

const SPECS: &[Spec] = &[
    HELP,
    VERSION,
    text("bootstrap-server", "server to connect to", "REQUIRED: The Kafka server to connect to."),
    text(
        "command-config",
        "command config property file",
        "Property file containing configs to be passed to Admin Client.",
    ),
    flag("alter", "Alter the configuration for the client metrics resource."),
    flag("delete", "Delete the configuration for the client metrics resource."),
    flag("describe", "List configurations for the client metrics resource."),
    flag("list", "List the client metrics resources."),
    text("name", "name", "Name of client metrics configuration resource."),
    flag("generate-name", "Generate a UUID to use as the name."),
    int("interval", "push interval", "The metrics push interval in milliseconds."),
    text(
        "match",
        "k1=v1,k2=v2",
        "Matching selector 'k1=v1,k2=v2'. The following is a list of valid selector names: \n\tclient_id\n\
         \tclient_instance_id\n\tclient_software_name\n\tclient_software_version\n\tclient_source_address\n\
         \tclient_source_port",
    ),
    text("metrics", "m1,m2", "Telemetry metric name prefixes 'm1,m2'."),
];

const ACTIONS: [&str; 4] = ["alter", "delete", "describe", "list"];
/// For a call with all its attempts.
const CALL: Duration = Duration::from_secs(30);

/// The tool.
pub(crate) fn client_metrics(arguments: &[String]) -> anyhow::Result<ExitCode> {
    options::exit(run(arguments))
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = Options::parse(SPECS, arguments)?;
    check_options(&options, arguments)?;
    let settings = match options.value("command-config")? {
        Some(file) => load_settings(file).map_err(|_| anyhow!("{file}"))?,
        None => BTreeMap::new(),
    };
    let servers = options.value("bootstrap-server")?.unwrap_or_default();
    let outcome = Cluster::new(servers, &settings).and_then(|mut cluster| {
        cluster.set_call_timeout(CALL);
        act(&options, &mut cluster)
    });
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if error.is::<Ended>() => Err(error),
        Err(error) => {
            let message = match error.downcast_ref::<NoServers>() {
                Some(_) => "Failed to create new KafkaAdminClient".to_owned(),
                // Of what the call waited for Java says nothing when the wait is over.
                None if error.is::<TimedOut>() => "null".to_owned(),
                None => error.to_string(),
            };
            println!("Error while executing client metrics command : {message}");
            eprintln!(
                "[{}] ERROR {} (org.apache.kafka.tools.ClientMetricsCommand)",
                clock::log_time(),
                java_text(&error)
            );
            Ok(ExitCode::FAILURE)
        }
    }
}

fn check_options(options: &Options, arguments: &[String]) -> anyhow::Result<()> {
    options.help_or_version(arguments, USAGE)?;
    if ACTIONS.iter().filter(|action| options.has(action)).count() != 1 {
        let message = "Command must include exactly one action: --alter, --delete, --describe or --list.";
        return Err(options.usage(message).into());
    }
    if !options.has("bootstrap-server") {
        bail!("--bootstrap-server must be specified.");
    }
    let of_alter = ["generate-name", "interval", "match", "metrics"];
    options.exclude("delete", &of_alter)?;
    options.exclude("describe", &of_alter)?;
    options.exclude("list", &["name", "generate-name", "interval", "match", "metrics"])?;
    if options.has("alter") && options.has("name") == options.has("generate-name") {
        bail!("One of --name or --generate-name must be specified with --alter.");
    }
    if options.has("delete") && !options.has("name") {
        bail!("A client metrics resource name must be specified with --delete.");
    }
    Ok(())
}

fn act(options: &Options, cluster: &mut Cluster) -> anyhow::Result<()> {
    let name = options.value("name")?.map(str::to_owned);
    if options.has("alter") {
        let name = name.unwrap_or_else(|| uuid_text::format(Uuid::new_v4()));
        let changes = changes(options)?;
        resources::change(cluster, &CLIENT_METRICS, &name, changes)?;
        println!("Altered client metrics config for {name}.");
    } else if options.has("delete") {
        let name = name.unwrap_or_default();
        let entries = resources::fetch(cluster, &CLIENT_METRICS, &name, true)?;
        let unset = entries.into_iter().map(|entry| (entry.name, None)).collect();
        resources::change(cluster, &CLIENT_METRICS, &name, unset)?;
        println!("Deleted client metrics config for {name}.");
    } else if options.has("describe") {
        let names = match name {
            Some(name) => vec![name],
            None => resources::every(cluster, &CLIENT_METRICS)?,
        };
        for name in names {
            println!("Client metrics configs for {name} are:");
            let entries = resources::fetch(cluster, &CLIENT_METRICS, &name, true)?;
            for entry in hash_order(entries, 16, |entry| hash(&entry.name)) {
                println!("  {}={}", entry.name, entry.value.unwrap_or_default());
            }
        }
    } else {
        println!("{}", resources::every(cluster, &CLIENT_METRICS)?.join("\n"));
    }
    Ok(())
}

/// What is to be set, and what to be taken away: settings with an empty text.
fn changes(options: &Options) -> anyhow::Result<Vec<(String, Option<String>)>> {
    let mut changes = Vec::new();
    if let Some(interval_ms) = options.number::<i32>("interval")? {
        changes.push(("interval.ms".to_owned(), Some(interval_ms.to_string())));
    }
    for name in ["metrics", "match"] {
        if options.has(name) {
            let items = options.values(name).into_iter().flat_map(|list| list.split(','));
            let list = items.filter(|item| !item.is_empty()).collect::<Vec<_>>().join(",");
            changes.push((name.to_owned(), Some(list).filter(|list| !list.is_empty())));
        }
    }
    Ok(changes)
}
