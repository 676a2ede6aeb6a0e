//! `castellan status`: the servers of a folder, or a cluster anywhere, as its operator wants to see it: who serves, who is the
//! controller, which partitions are not as they should be, how far groups lag. A table, JSON, or both again and again.
//! Changes nothing.

use super::layout::{Layout, Role};
use super::{command_config_argument, dir, dir_argument, parse, process, state};
use crate::cluster::{Cluster, LeftOut, Target, address, load_settings};
use crate::groups;
use anyhow::Context as _;
use clap::{Arg, ArgAction, Command};
use common::kafka::messages::{MetadataRequest, MetadataResponse};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// Between two looks of `--watch`.
const WATCH: Duration = Duration::from_secs(1);
/// How long a broker may take to answer; one whose port refuses has answered.
const PATIENCE: Duration = Duration::from_secs(3);
/// So many partitions are named; the others are counted.
const NAMED: usize = 10;

/// What is known of one server of a folder.
struct Row {
    server: String,
    address: String,
    pid: Option<i32>,
    state: String,
    memory_mib: Option<u64>,
}

/// What a cluster says of itself.
#[derive(Default)]
struct Health {
    controller: i32,
    brokers: BTreeMap<i32, String>,
    /// Those that do not answer, and why.
    left_out: BTreeMap<i32, LeftOut>,
    topics: usize,
    partitions: usize,
    under_replicated: Vec<String>,
    offline: Vec<String>,
    not_preferred: Vec<String>,
    groups: Vec<groups::Lag>,
}

/// The tool. Ends with 1 if a server of the folder or a broker does not serve, or a partition has no leader.
pub(crate) fn status(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let command = Command::new("castellan status")
        .about("Servers, partitions and groups of a cluster: of a folder, or of any with --bootstrap-server")
        .arg(dir_argument())
        .arg(
            Arg::new("bootstrap-server")
                .long("bootstrap-server")
                .value_name("HOST:PORT,...")
                .help("a cluster that is not in a folder here"),
        )
        .arg(command_config_argument().requires("bootstrap-server"))
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("one JSON object instead of tables"))
        .arg(Arg::new("watch").long("watch").action(ArgAction::SetTrue).help("again every second, until interrupted"));
    let Some(matches) = parse(command, arguments)? else { return Ok(ExitCode::SUCCESS) };
    let settings = matches.get_one::<String>("command-config");
    let settings = settings.map_or_else(|| Ok(BTreeMap::new()), |file| load_settings(file))?;
    let (watch, as_json) = (matches.get_flag("watch"), matches.get_flag("json"));
    let layout = match matches.get_one::<String>("bootstrap-server") {
        Some(_) => None,
        None => Some(Layout::open(&dir(&matches)?)?),
    };
    let servers = match (matches.get_one::<String>("bootstrap-server"), &layout) {
        (Some(servers), _) => servers.clone(),
        (None, Some(layout)) => layout.connect_string(Role::Broker),
        (None, None) => unreachable!("without one there is the other"),
    };
    loop {
        let rows = layout.as_ref().map(look_at_servers).unwrap_or_default();
        let serves = rows.iter().all(|row| !matches!(row.state.as_str(), "stopped" | "not ready"));
        let some_broker =
            layout.is_none() || rows.iter().any(|row| matches!(row.state.as_str(), "broker" | "controller"));
        let health = match (some_broker, &layout) {
            (false, Some(layout)) => Err(nobody_serves(&rows, &layout.dir)),
            _ => look_at_cluster(&servers, &settings),
        };
        let text = if as_json { render_json(&rows, &health).to_string() } else { render(&rows, &health) };
        if watch && !as_json {
            // Clears the screen and begins at its top.
            print!("\x1b[2J\x1b[H");
        }
        println!("{text}");
        if !watch {
            let is_well = serves && health.is_ok_and(|health| health.offline.is_empty() && health.left_out.is_empty());
            return Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        std::thread::sleep(WATCH);
    }
}

fn look_at_servers(layout: &Layout) -> Vec<Row> {
    let row = |server: &super::layout::Server| {
        let pid = process::pid(&layout.dir, server);
        let state = match pid {
            None => "stopped".to_owned(),
            Some(_) => state(server).unwrap_or_else(|| "not ready".to_owned()),
        };
        let memory_mib = pid.and_then(process::resident_mib);
        Row { server: server.name(), address: server.address(), pid, state, memory_mib }
    };
    layout.servers.iter().map(row).collect()
}

/// What to do where no broker of a folder serves.
fn nobody_serves(rows: &[Row], dir: &std::path::Path) -> anyhow::Error {
    let dir = dir.display();
    match rows.iter().all(|row| row.state == "stopped") {
        true => anyhow::anyhow!("nothing runs; 'castellan up --dir {dir}' starts the cluster"),
        false => anyhow::anyhow!(
            "none serves; 'castellan up --dir {dir}' starts what is stopped, the logs in {dir} say why others are not ready"
        ),
    }
}

fn look_at_cluster(servers: &str, settings: &BTreeMap<String, String>) -> anyhow::Result<Health> {
    let mut cluster = Cluster::new(servers, settings)?;
    cluster.look_once(PATIENCE);
    let request = |_| MetadataRequest { topics: None, allow_auto_topic_creation: false, ..MetadataRequest::default() };
    let metadata = cluster.call(Target::Any, request, |_| 0).context("asking for metadata")?;
    let mut health = judge(metadata);
    health.groups = groups::lags(&mut cluster)?;
    health.left_out = cluster.left_out();
    Ok(health)
}

fn judge(metadata: MetadataResponse) -> Health {
    let mut health = Health { controller: metadata.controller_id, topics: metadata.topics.len(), ..Health::default() };
    for broker in metadata.brokers {
        health.brokers.insert(broker.node_id, address(&broker.host, broker.port));
    }
    for topic in metadata.topics {
        let topic_name = topic.name.unwrap_or_default();
        for partition in topic.partitions {
            let name = format!("{topic_name}-{}", partition.partition_index);
            health.partitions += 1;
            if partition.leader_id < 0 || !health.brokers.contains_key(&partition.leader_id) {
                health.offline.push(name);
                continue;
            }
            if partition.isr_nodes.len() < partition.replica_nodes.len() {
                health.under_replicated.push(name.clone());
            }
            if partition.replica_nodes.first() != Some(&partition.leader_id) {
                health.not_preferred.push(name);
            }
        }
    }
    health
}

fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(header);
    table.add_rows(rows);
    table.to_string()
}

fn render(rows: &[Row], health: &anyhow::Result<Health>) -> String {
    let mut parts = Vec::new();
    if !rows.is_empty() {
        let rows = rows.iter().map(|row| {
            vec![
                row.server.clone(),
                row.address.clone(),
                row.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
                row.state.clone(),
                row.memory_mib.map_or_else(|| "-".to_owned(), |mib| format!("{mib} MiB")),
            ]
        });
        parts.push(table(&["SERVER", "ADDRESS", "PID", "STATE", "MEMORY"], rows));
    }
    let health = match health {
        Ok(health) => health,
        Err(problem) => {
            parts.push(format!("The brokers do not answer: {problem:#}"));
            return parts.join("\n\n");
        }
    };
    let list = |partitions: &[String]| match partitions.len() {
        0 => "0".to_owned(),
        count if count <= NAMED => format!("{count}  {}", partitions.join(" ")),
        count => format!("{count}  {} ...", partitions[..NAMED].join(" ")),
    };
    let brokers: Vec<String> = health
        .brokers
        .iter()
        .map(|(id, address)| format!("{id}{} {address}", if *id == health.controller { "*" } else { "" }))
        .collect();
    parts.push(format!(
        "Brokers (* controller)  {}\nTopics                  {}\nPartitions              {}\nOffline                 {}\n\
         Under-replicated        {}\nNot at preferred leader {}",
        brokers.join(", "),
        health.topics,
        health.partitions,
        list(&health.offline),
        list(&health.under_replicated),
        list(&health.not_preferred)
    ));
    for (id, LeftOut { answers, why }) in &health.left_out {
        parts.push(match answers {
            true => format!("Broker {id} does not tell its groups, so those that it coordinates are not shown: {why}"),
            false => format!(
                "Broker {id} does not answer, so groups that it coordinates are not shown and no lag is counted of what it \
                 leads: {why}"
            ),
        });
    }
    if !health.groups.is_empty() {
        let lag = |group: &groups::Lag| match (&group.problem, group.unknown) {
            (Some(problem), _) => format!("? ({problem})"),
            (None, 0) => group.lag.to_string(),
            (None, unknown) => format!("{} and ? of {unknown} partitions", group.lag),
        };
        let rows = health.groups.iter().map(|group| vec![group.id.clone(), group.state.clone(), lag(group)]);
        parts.push(table(&["GROUP", "STATE", "LAG"], rows));
    }
    parts.join("\n\n")
}

fn render_json(rows: &[Row], health: &anyhow::Result<Health>) -> Value {
    let servers: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({"server": row.server, "address": row.address, "pid": row.pid, "state": row.state,
                   "memory_mib": row.memory_mib})
        })
        .collect();
    let cluster = match health {
        Err(problem) => json!({"error": format!("{problem:#}")}),
        Ok(health) => {
            let brokers: Vec<Value> = health
                .brokers
                .iter()
                .map(|(id, address)| json!({"id": id, "address": address, "problem": health.left_out.get(id).map(|left| &left.why)}))
                .collect();
            let groups: Vec<Value> = health
                .groups
                .iter()
                .map(|group| {
                    let lag = group.problem.is_none().then_some(group.lag);
                    json!({"group": group.id, "state": group.state, "lag": lag,
                           "partitions_not_counted": group.unknown, "problem": group.problem})
                })
                .collect();
            json!({"controller": health.controller, "brokers": brokers, "topics": health.topics,
                   "partitions": health.partitions, "offline": health.offline,
                   "under_replicated": health.under_replicated, "not_preferred": health.not_preferred,
                   "groups": groups})
        }
    };
    json!({"servers": servers, "cluster": cluster})
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::kafka::messages::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};

    #[test]
    fn partitions_are_judged_by_leader_and_replicas() {
        let broker = |node_id| MetadataResponseBroker { node_id, host: "h".into(), port: 1, ..Default::default() };
        let partition = |partition_index, leader_id, isr: &[i32]| MetadataResponsePartition {
            partition_index,
            leader_id,
            replica_nodes: vec![1, 2],
            isr_nodes: isr.to_vec(),
            ..Default::default()
        };
        let partitions =
            vec![partition(0, 1, &[1, 2]), partition(1, 2, &[2]), partition(2, -1, &[1]), partition(3, 3, &[3])];
        let topic = MetadataResponseTopic { name: Some("t".into()), partitions, ..Default::default() };
        let metadata = MetadataResponse {
            brokers: vec![broker(1), broker(2)],
            controller_id: 2,
            topics: vec![topic],
            ..Default::default()
        };
        let mut health = judge(metadata);
        health.left_out.insert(2, LeftOut { answers: false, why: "refused".to_owned() });
        health.left_out.insert(1, LeftOut { answers: true, why: "loading".to_owned() });
        health.groups = vec![groups::Lag { id: "g".into(), state: "Empty".into(), lag: 5, unknown: 2, problem: None }];
        assert_eq!(health.offline, ["t-2", "t-3"]);
        assert_eq!(health.under_replicated, ["t-1"]);
        assert_eq!(health.not_preferred, ["t-1"]);
        let text = render(&[], &Ok(health));
        assert!(text.contains("1 h:1, 2* h:1") && text.contains("Offline                 2  t-2 t-3"), "{text}");
        assert!(text.contains("Broker 2 does not answer") && text.contains("leads: refused"), "{text}");
        assert!(text.contains("Broker 1 does not tell its groups") && text.contains("not shown: loading"), "{text}");
        assert!(text.contains("5 and ? of 2 partitions"), "{text}");
        let failed = Err(anyhow::anyhow!("x"));
        assert_eq!(render_json(&[], &failed).to_string(), r#"{"cluster":{"error":"x"},"servers":[]}"#);
    }
}
