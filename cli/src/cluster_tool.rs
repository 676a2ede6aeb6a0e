//! `kafka-cluster`: which cluster this is. Unregisters no broker: in a cluster on ZooKeeper brokers do that themselves,
//! and the answer is Apache Kafka's there.

use crate::argparse::{self, Argument, Command, Group, Parser, Takes};
use crate::cluster::{Cluster, Target, load_settings};
use common::kafka::messages::MetadataRequest;
use std::collections::BTreeMap;
use std::process::ExitCode;

const PROG: &str = "kafka-cluster";

const SERVER: Argument = Argument::new(
    &["--bootstrap-server", "-b"],
    Takes::Text,
    "A list of host/port pairs to use for establishing the connection to the Kafka cluster.",
)
.within(0);

const CONTROLLER: Argument = Argument::new(
    &["--bootstrap-controller", "-C"],
    Takes::Text,
    "A list of host/port pairs to use for establishing the connection to the KRaft controllers.",
)
.within(0);

const CONFIG: Argument =
    Argument::new(&["--config", "-c"], Takes::Text, "A property file containing configurations for the Admin client.");

const ID: Argument = Argument::new(&["--id", "-i"], Takes::Integer, "The ID of the broker to unregister.").required();

const GROUPS: &[Group] = &[Group { title: "", description: "", required: true }];

static PARSER: Parser = Parser {
    prog: PROG,
    description: "The Kafka cluster tool.",
    arguments: &[],
    groups: &[],
    commands: &[
        Command {
            name: "cluster-id",
            help: "Get information about the ID of a cluster.",
            parser: Parser {
                prog: PROG,
                description: "",
                arguments: &[SERVER, CONTROLLER, CONFIG],
                groups: GROUPS,
                commands: &[],
            },
        },
        Command {
            name: "unregister",
            help: "Unregister a broker.",
            parser: Parser {
                prog: PROG,
                description: "",
                arguments: &[SERVER, CONTROLLER, CONFIG, ID],
                groups: GROUPS,
                commands: &[],
            },
        },
    ],
};

/// The tool.
pub(crate) fn cluster_tool(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let parsed = match argparse::parse(&PARSER, arguments) {
        Ok(parsed) => parsed,
        Err(refusal) => return Ok(refusal.show()),
    };
    let settings = parsed.text("config").map_or_else(|| Ok(BTreeMap::new()), load_settings)?;
    if parsed.has("bootstrap-controller") {
        return Err(crate::features::no_controllers());
    }
    let mut cluster = Cluster::new(parsed.text("bootstrap-server").unwrap_or_default(), &settings)?;
    let request =
        |_| MetadataRequest { topics: Some(Vec::new()), allow_auto_topic_creation: false, ..Default::default() };
    // Also for the other command: it fails first if nobody answers.
    let cluster_id = cluster.call(Target::Any, request, |_| 0)?.cluster_id;
    match (parsed.command, cluster_id) {
        (Some("unregister"), _) => println!("The target cluster does not support the broker unregistration API."),
        (_, Some(id)) => println!("Cluster ID: {id}"),
        (_, None) => println!("No cluster ID found. The Kafka version is probably too old."),
    }
    Ok(ExitCode::SUCCESS)
}
