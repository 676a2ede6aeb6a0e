//! `castellan`: every command-line tool in one binary. It answers to its own name, `castellan TOOL ...`, and to each
//! tool's name when called by it (`kafka-topics`, `zkCli.sh`, ...). Holds no tool itself.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool prints, waits and reads the clock"
)]

mod absent;
mod acls;
mod all_groups;
mod api_versions;
mod argparse;
mod broken_pipe;
mod client;
mod client_metrics;
mod client_settings;
mod clock;
mod cluster;
mod cluster_tool;
mod configs;
mod consume;
mod consumer_perf;
mod container;
mod date_format;
mod delete_records;
mod dump_log;
mod end_to_end;
mod explain;
mod features;
mod get_offsets;
mod groups;
mod java_float;
mod java_order;
mod leader_election;
mod log_dirs;
mod log_offsets;
mod options;
mod produce;
mod producer_perf;
mod reassign;
mod replica_verification;
mod security;
mod share_client;
mod share_consume;
mod share_consumer_perf;
mod share_groups;
mod signals;
mod start;
mod stop;
mod streams_reset;
mod throttle;
mod topics;
mod transactions;
mod tunnel;
mod up;
mod uuid_text;
mod verifiable_consumer;
mod verifiable_event;
mod verifiable_producer;
mod verifiable_share_consumer;
mod zk_shell;
mod zookeeper;

use std::process::ExitCode;

/// A tool: reads its arguments, prints, and says how it ended.
type Tool = fn(&[String]) -> anyhow::Result<ExitCode>;

/// Every tool by name, without `.sh`.
const TOOLS: &[(&str, &str, Tool)] = &[
    ("kafka-topics", "create, list, describe, change and delete topics", topics::topics),
    ("kafka-topic", "the same, as some tutorials call it", topics::topics),
    ("kafka-console-producer", "send lines as records", produce::produce),
    ("kafka-console-consumer", "show the records of topics", consume::consume),
    ("kafka-consumer-groups", "list, describe and delete groups, and move their offsets", groups::groups),
    ("kafka-console-share-consumer", "show the records that a share group gives", share_consume::share_consume),
    ("kafka-share-groups", "list, describe and delete share groups, and move them", share_groups::share_groups),
    ("kafka-groups", "list the groups of all types", all_groups::all_groups),
    ("kafka-configs", "settings of topics, brokers, users and clients", configs::configs),
    ("kafka-acls", "who may do what", acls::acls),
    ("kafka-client-metrics", "which clients push which metrics", client_metrics::client_metrics),
    ("kafka-get-offsets", "the offsets of partitions at a time", get_offsets::get_offsets),
    ("kafka-reassign-partitions", "move partitions to other brokers", reassign::reassign),
    ("kafka-leader-election", "elect preferred or unclean leaders", leader_election::leader_election),
    ("kafka-log-dirs", "what lies in the brokers' log directories", log_dirs::log_dirs),
    ("kafka-transactions", "list, describe and abort transactions", transactions::transactions),
    ("kafka-delete-records", "delete records up to given offsets", delete_records::delete_records),
    ("kafka-features", "the feature levels of a cluster", features::features),
    ("kafka-cluster", "the id of a cluster", cluster_tool::cluster_tool),
    ("kafka-broker-api-versions", "what each broker serves, in which versions", api_versions::api_versions),
    ("kafka-producer-perf-test", "send many records and measure", producer_perf::producer_perf),
    ("kafka-consumer-perf-test", "read many records and measure", consumer_perf::consumer_perf),
    (
        "kafka-share-consumer-perf-test",
        "read many records in a share group and measure",
        share_consumer_perf::share_consumer_perf,
    ),
    ("kafka-e2e-latency", "how long records take from a producer to a consumer", end_to_end::end_to_end),
    (
        "kafka-verifiable-producer",
        "send numbers and tell what was acknowledged",
        verifiable_producer::verifiable_producer,
    ),
    ("kafka-verifiable-consumer", "read and tell each step", verifiable_consumer::verifiable_consumer),
    (
        "kafka-verifiable-share-consumer",
        "read in a share group and tell each step",
        verifiable_share_consumer::verifiable_share_consumer,
    ),
    (
        "kafka-replica-verification",
        "do all replicas have the same records?",
        replica_verification::replica_verification,
    ),
    ("kafka-streams-application-reset", "have a Kafka Streams application begin anew", streams_reset::streams_reset),
    ("kafka-dump-log", "what the files of a log say", dump_log::dump_log),
    ("zookeeper-shell", "look at and change nodes", zk_shell::zookeeper_shell),
    ("zkCli", "the same, as ZooKeeper calls it", zk_shell::zk_cli),
    ("kafka-server-start", "run a broker", start::kafka),
    ("kafka-server-stop", "stop this user's brokers", stop::kafka),
    ("zookeeper-server-start", "run a coordinator", start::zookeeper),
    ("import-zookeeper", "an Apache ZooKeeper's data directory into a new coordinator", start::import_zookeeper),
    ("export-zookeeper", "a stopped coordinator's data for an Apache ZooKeeper", start::export_zookeeper),
    ("zookeeper-server-stop", "stop this user's coordinators", stop::zookeeper),
    ("up", "start a cluster on this machine and keep it running", up::up),
    ("down", "stop the cluster of a folder", up::down),
    ("status", "what runs in a folder", up::status),
    ("explain", "why partitions, groups or the controller are as they are", explain::explain),
    ("container", "the entry point of the images", container::container),
];

fn main() -> ExitCode {
    broken_pipe::ends_the_tool();
    let mut arguments: Vec<String> = std::env::args().collect();
    let called = if arguments.is_empty() { String::new() } else { arguments.remove(0) };
    let name = tool_name(&called);
    let (name, arguments) = match find(name) {
        Some(_) => (name.to_owned(), &arguments[..]),
        None => match arguments.split_first() {
            Some((first, rest)) => (tool_name(first).to_owned(), rest),
            None => (String::new(), &arguments[..]),
        },
    };
    if matches!(name.as_str(), "--version" | "-V" | "version") {
        println!("castellan {}, with the tools of Kafka {}", env!("CARGO_PKG_VERSION"), options::KAFKA_VERSION);
        return ExitCode::SUCCESS;
    }
    if name == "names" {
        let names: Vec<&str> =
            TOOLS.iter().map(|(tool, _, _)| *tool).filter(|tool| tool.contains('-') || *tool == "zkCli").collect();
        println!("{}", names.join("\n"));
        return ExitCode::SUCCESS;
    }
    let Some(tool) = find(&name) else { return usage(&name) };
    match tool(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The name by which a program was called, without folder and `.sh`.
fn tool_name(called: &str) -> &str {
    let name = called.rsplit('/').next().unwrap_or(called);
    name.strip_suffix(".sh").unwrap_or(name)
}

fn find(name: &str) -> Option<Tool> {
    TOOLS.iter().find(|(tool, _, _)| *tool == name).map(|(_, _, tool)| *tool)
}

fn usage(name: &str) -> ExitCode {
    let asked = matches!(name, "" | "help" | "--help" | "-h");
    if let Some(explanation) = absent::explanation(name) {
        eprintln!("{explanation}");
        return ExitCode::FAILURE;
    }
    if !asked {
        eprintln!("castellan: there is no tool '{name}'");
    }
    let mut text = "Usage: castellan TOOL [ARGUMENT]...   (or a tool by its own name)\n".to_owned();
    for (tool, meaning, _) in TOOLS {
        text += &format!("  {tool:31} {meaning}\n");
    }
    if asked {
        print!("{text}");
        return ExitCode::SUCCESS;
    }
    eprint!("{text}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tool_is_told_to_be_absent() {
        for (tool, _, _) in TOOLS {
            assert_eq!(absent::explanation(tool), None, "{tool}");
        }
    }
}
