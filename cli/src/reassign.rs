//! `kafka-reassign-partitions`: proposes, starts, shows and takes back moves of partitions (KIP-455), with throttles
//! (KIP-73). The controller moves them; this waits for nothing.

mod plan;
mod specs;

use crate::client::{KafkaError, check, java_text};
use crate::cluster::{Cluster, Target, load_settings};
use crate::options::{self, Ended, Options};
use anyhow::{anyhow, bail};
use common::kafka::error::ErrorCode;
use common::kafka::messages::alter_partition_reassignments::{ReassignablePartition, ReassignableTopic};
use common::kafka::messages::alter_replica_log_dirs::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use common::kafka::messages::incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
use common::kafka::messages::{
    AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, IncrementalAlterConfigsRequest,
    ListPartitionReassignmentsRequest, MetadataRequest, MetadataRequestTopic, MetadataResponse,
};
use plan::{Assignment, Places, Tp, ids, name};
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const ACTIONS: [&str; 5] = ["generate", "execute", "verify", "cancel", "list"];
const BROKER_THROTTLES: [&str; 3] = [
    "leader.replication.throttled.rate",
    "follower.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];
const TOPIC_THROTTLES: [&str; 2] = ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"];
const EXISTING: &str = "Cannot execute because there is an existing partition assignment.  Use --additional to override \
                        this and create a new partition assignment in addition to the existing one. The --additional \
                        flag can also be used to change the throttle by resubmitting the current reassignment.";
const RUN_VERIFY: &str = "Warning: You must run --verify periodically, until the reassignment completes, to ensure the \
                          throttle is removed.";

/// Something the user can mend: shown without "Error: ".
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Terse(String);

/// A move under way.
#[derive(Clone, Debug, Default)]
struct Move {
    replicas: Vec<i32>,
    adding: Vec<i32>,
    removing: Vec<i32>,
}

/// The tool.
pub(crate) fn reassign(arguments: &[String]) -> anyhow::Result<ExitCode> {
    options::exit(run(arguments))
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = match Options::parse(specs::SPECS, arguments) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{}", error.uncaught());
            return Ok(ExitCode::FAILURE);
        }
    };
    options.help_or_version(arguments, "This tool helps to move topic partitions between replicas.")?;
    let action = action(&options)?;
    match act(action, &options) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if error.is::<Terse>() => {
            println!("{error}");
            Ok(ExitCode::FAILURE)
        }
        Err(error) => {
            println!("Error: {}", java_text(&error));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The one action, if what goes with it is there and nothing else.
fn action(options: &Options) -> Result<&'static str, Ended> {
    let wanted: Vec<&str> = ACTIONS.into_iter().filter(|action| options.has(action)).collect();
    let &[action] = wanted.as_slice() else {
        let all = ACTIONS.map(|action| format!("--{action}")).join(", ");
        return Err(options.usage(&format!("Command must include exactly one action: {all}")));
    };
    if !options.has("bootstrap-server") {
        return Err(options.usage("Please specify --bootstrap-server"));
    }
    let (required, permitted): (&[&str], &[&str]) = match action {
        "verify" => (&["reassignment-json-file"], &["preserve-throttles"]),
        "generate" => (&["topics-to-move-json-file", "broker-list"], &["disable-rack-aware"]),
        "execute" => (
            &["reassignment-json-file"],
            &[
                "additional",
                "throttle",
                "replica-alter-log-dirs-throttle",
                "timeout",
                "disallow-replication-factor-change",
            ],
        ),
        "cancel" => (&["reassignment-json-file"], &["preserve-throttles", "timeout"]),
        _ => (&[], &[]),
    };
    options.require(required)?;
    for spec in specs::SPECS.iter().filter(|spec| options.has(spec.name)) {
        let is_fine = spec.name == action
            || ["bootstrap-server", "command-config"].contains(&spec.name)
            || required.contains(&spec.name)
            || permitted.contains(&spec.name);
        if !is_fine {
            let (option, action) = (spec.name, action);
            return Err(options.usage(&format!("Option \"[{option}]\" can't be used with action \"[{action}]\"")));
        }
    }
    Ok(action)
}

fn act(action: &str, options: &Options) -> anyhow::Result<()> {
    let settings = options.value("command-config")?.map_or_else(|| Ok(BTreeMap::new()), load_settings)?;
    let mut cluster = Cluster::new(options.value("bootstrap-server")?.unwrap_or_default(), &settings)?;
    let file = |name: &str| -> anyhow::Result<String> { plan::read(options.value(name)?.unwrap_or_default()) };
    match action {
        "verify" => verify(&mut cluster, &file("reassignment-json-file")?, options.has("preserve-throttles")),
        "generate" => {
            let topics = file("topics-to-move-json-file")?;
            let brokers = options.value("broker-list")?.unwrap_or_default().to_owned();
            generate(&mut cluster, &topics, &brokers, !options.has("disable-rack-aware"))
        }
        "execute" => execute(&mut cluster, &file("reassignment-json-file")?, options),
        "cancel" => cancel(&mut cluster, &file("reassignment-json-file")?, options),
        _ => list(&mut cluster),
    }
}

fn moves(cluster: &mut Cluster) -> anyhow::Result<BTreeMap<Tp, Move>> {
    let timeout_ms = cluster.timeout_ms();
    let request = |_| ListPartitionReassignmentsRequest { timeout_ms, topics: None };
    let response = cluster.call(Target::Controller, request, |response| response.error_code)?;
    check(response.error_code, response.error_message.as_deref())?;
    let mut moves = BTreeMap::new();
    for topic in response.topics {
        for partition in topic.partitions {
            let (replicas, adding, removing) =
                (partition.replicas, partition.adding_replicas, partition.removing_replicas);
            moves.insert((topic.name.clone(), partition.partition_index), Move { replicas, adding, removing });
        }
    }
    Ok(moves)
}

fn metadata(cluster: &mut Cluster, topics: &BTreeSet<&str>) -> anyhow::Result<MetadataResponse> {
    let request = |_| MetadataRequest {
        topics: Some(
            topics
                .iter()
                .map(|name| MetadataRequestTopic { name: Some((*name).to_owned()), ..Default::default() })
                .collect(),
        ),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    cluster.call(Target::Any, request, |_| 0)
}

/// The replicas of every partition of these topics; topics that are not there are left out.
fn replicas_of(cluster: &mut Cluster, topics: &BTreeSet<&str>) -> anyhow::Result<Assignment> {
    let mut assignment = Assignment::new();
    for topic in metadata(cluster, topics)?.topics {
        if topic.error_code == ErrorCode::UnknownTopicOrPartition.code() {
            continue;
        }
        check(topic.error_code, None)?;
        let name = topic.name.unwrap_or_default();
        for partition in topic.partitions {
            assignment.insert((name.clone(), partition.partition_index), partition.replica_nodes);
        }
    }
    Ok(assignment)
}

fn unknown(message: String) -> anyhow::Error {
    KafkaError { code: ErrorCode::UnknownTopicOrPartition, message }.into()
}

fn list(cluster: &mut Cluster) -> anyhow::Result<()> {
    let moves = moves(cluster)?;
    if moves.is_empty() {
        println!("No partition reassignments found.");
        return Ok(());
    }
    println!("Current partition reassignments:");
    for (tp, Move { replicas, adding, removing }) in &moves {
        let part =
            |what: &str, of: &[i32]| if of.is_empty() { String::new() } else { format!(" {what}: {}.", ids(of)) };
        println!("{}: replicas: {}.{}{}", name(tp), ids(replicas), part("adding", adding), part("removing", removing));
    }
    Ok(())
}

fn generate(cluster: &mut Cluster, topics: &str, brokers: &str, by_rack: bool) -> anyhow::Result<()> {
    let wanted: Result<Vec<i32>, _> =
        brokers.split(',').map(|id| id.parse().map_err(|_| anyhow!("For input string: \"{id}\""))).collect();
    let wanted = wanted?;
    let twice: Vec<String> = plan::duplicates(wanted.iter().copied()).iter().map(i32::to_string).collect();
    if !twice.is_empty() {
        bail!("Broker list contains duplicate entries: [{}]", twice.join(", "));
    }
    let topics = plan::parse_topics(topics)?;
    let names: BTreeSet<&str> = topics.iter().map(String::as_str).collect();
    let current = replicas_of(cluster, &names)?;
    if let Some(missing) = names.iter().find(|topic| !current.keys().any(|(name, _)| name == *topic)) {
        return Err(unknown(format!("Topic {missing} not found.")));
    }
    let known = metadata(cluster, &BTreeSet::new())?.brokers;
    let there = known.into_iter().filter(|broker| wanted.contains(&broker.node_id));
    let there: Vec<(i32, Option<String>)> =
        there.map(|broker| (broker.node_id, broker.rack.filter(|_| by_rack))).collect();
    let without_rack = there.iter().filter(|(_, rack)| rack.is_none()).count();
    if by_rack && without_rack != 0 && without_rack != there.len() {
        bail!(
            "Not all brokers have rack information. Add --disable-rack-aware in command line to make replica assignment \
             without rack information."
        );
    }
    let proposed = plan::propose(&current, &there)?;
    println!("Current partition replica assignment\n{}\n", plan::as_json(&current));
    println!("Proposed partition reassignment configuration\n{}", plan::as_json(&proposed));
    Ok(())
}

fn execute(cluster: &mut Cluster, text: &str, options: &Options) -> anyhow::Result<()> {
    let (partitions, places) = plan::parse_plan(text)?;
    let proposed = plan::check_plan(&partitions)?;
    let under_way = moves(cluster)?;
    if !options.has("additional") && !under_way.is_empty() {
        return Err(Terse(EXISTING.to_owned()).into());
    }
    let there = cluster.broker_ids()?;
    let wanted: BTreeSet<i32> = proposed.values().flatten().copied().collect();
    if let Some(missing) = wanted.iter().find(|id| !there.contains(id)) {
        bail!("Unknown broker id {missing}");
    }
    let topics: BTreeSet<&str> = proposed.keys().map(|(topic, _)| topic.as_str()).collect();
    let mut current = replicas_of(cluster, &topics)?;
    if let Some(missing) = topics.iter().find(|topic| !current.keys().any(|(name, _)| name == *topic)) {
        return Err(unknown(format!("Topic {missing} not found.")));
    }
    current.retain(|tp, _| proposed.contains_key(tp));
    let missing: Vec<String> = proposed.keys().filter(|tp| !current.contains_key(*tp)).map(name).collect();
    if !missing.is_empty() {
        return Err(unknown(format!("Unable to find partition: {}", missing.join(", "))));
    }
    println!(
        "Current partition replica assignment\n\n{}\n\nSave this to use as the --reassignment-json-file option during \
         rollback",
        plan::as_json(&current)
    );
    throttle(cluster, options, (&under_way, &proposed, &current), &places)?;
    let targets = proposed.iter().map(|(tp, replicas)| (tp.clone(), Some(replicas.clone()))).collect();
    let may_change_factor = !options.has("disallow-replication-factor-change");
    let errors = alter(cluster, targets, may_change_factor)?;
    if !errors.is_empty() {
        return Err(Terse(format!("Error reassigning partition(s):\n{}", errors.join("\n"))).into());
    }
    println!(
        "Successfully started partition reassignment{} for {}",
        if proposed.len() == 1 { "" } else { "s" },
        proposed.keys().map(name).collect::<Vec<_>>().join(",")
    );
    move_dirs(cluster, places, options)
}

fn throttle(
    cluster: &mut Cluster,
    options: &Options,
    (under_way, proposed, current): (&BTreeMap<Tp, Move>, &Assignment, &Assignment),
    places: &Places,
) -> anyhow::Result<()> {
    let between: i64 = options.number("throttle")?.unwrap_or(-1);
    let within: i64 = options.number("replica-alter-log-dirs-throttle")?.unwrap_or(-1);
    if between < 0 && within < 0 {
        return Ok(());
    }
    println!("{RUN_VERIFY}");
    if between >= 0 {
        let (leaders, followers, brokers) = throttled(under_way, proposed, current);
        let topics: BTreeSet<&String> = leaders.keys().collect();
        for topic in topics {
            let list = |of: &BTreeMap<String, BTreeSet<String>>| {
                of.get(topic).map(|list| list.iter().cloned().collect::<Vec<_>>().join(",")).unwrap_or_default()
            };
            let ops = [(TOPIC_THROTTLES[0], Some(list(&leaders))), (TOPIC_THROTTLES[1], Some(list(&followers)))];
            set_configs(cluster, TOPIC, topic, &ops)?;
        }
        for broker in brokers {
            let ops = BROKER_THROTTLES[..2].iter().map(|key| (*key, Some(between.to_string()))).collect::<Vec<_>>();
            set_configs(cluster, BROKER, &broker.to_string(), &ops)?;
        }
        println!("The inter-broker throttle limit was set to {between} B/s");
    }
    if within >= 0 {
        let brokers: BTreeSet<i32> = places.keys().map(|(broker, _, _)| *broker).collect();
        for broker in brokers {
            set_configs(cluster, BROKER, &broker.to_string(), &[(BROKER_THROTTLES[2], Some(within.to_string()))])?;
        }
        println!("The replica-alter-dir throttle limit was set to {within} B/s");
    }
    Ok(())
}

type ByTopic = BTreeMap<String, BTreeSet<String>>;

/// `partition:broker` of the replicas that send and of those that receive, by topic, and all brokers among them.
fn throttled(
    under_way: &BTreeMap<Tp, Move>,
    proposed: &Assignment,
    current: &Assignment,
) -> (ByTopic, ByTopic, BTreeSet<i32>) {
    let mut all: BTreeMap<&Tp, (BTreeSet<i32>, BTreeSet<i32>)> = BTreeMap::new();
    for (tp, ongoing) in under_way {
        let adding: BTreeSet<i32> = ongoing.adding.iter().copied().collect();
        let sources = ongoing.replicas.iter().copied().filter(|id| !adding.contains(id)).collect();
        all.insert(tp, (sources, adding));
    }
    for (tp, target) in proposed {
        let known = all.get(tp).map(|(sources, _)| sources.clone());
        let sources = known.unwrap_or_else(|| current[tp].iter().copied().collect());
        let destinations = target.iter().copied().filter(|id| !sources.contains(id)).collect();
        all.insert(tp, (sources, destinations));
    }
    let (mut leaders, mut followers, mut brokers) = (ByTopic::new(), ByTopic::new(), BTreeSet::new());
    for ((topic, partition), (sources, destinations)) in all {
        let entries = |of: &BTreeSet<i32>| of.iter().map(|id| format!("{partition}:{id}")).collect::<Vec<_>>();
        leaders.entry(topic.clone()).or_default().extend(entries(&sources));
        followers.entry(topic.clone()).or_default().extend(entries(&destinations));
        brokers.extend(sources.into_iter().chain(destinations));
    }
    (leaders, followers, brokers)
}

/// Starts moves, or takes them back where there is no target; what was refused, a line each.
fn alter(
    cluster: &mut Cluster,
    targets: BTreeMap<Tp, Option<Vec<i32>>>,
    may_change_factor: bool,
) -> anyhow::Result<Vec<String>> {
    if !may_change_factor && !cluster.speaks::<AlterPartitionReassignmentsRequest>(Target::Controller, 1)? {
        bail!(
            "The broker does not support the AllowReplicationFactorChange option for the AlterPartitionReassignments API. \
             Consider re-sending the request without the option or updating the server version"
        );
    }
    let mut topics: Vec<ReassignableTopic> = Vec::new();
    for ((topic, partition_index), replicas) in targets {
        let partition = ReassignablePartition { partition_index, replicas };
        match topics.last_mut() {
            Some(last) if last.name == topic => last.partitions.push(partition),
            _ => topics.push(ReassignableTopic { name: topic, partitions: vec![partition] }),
        }
    }
    let timeout_ms = cluster.timeout_ms();
    let request = |_| AlterPartitionReassignmentsRequest {
        timeout_ms,
        allow_replication_factor_change: may_change_factor,
        topics: topics.clone(),
    };
    let response = cluster.call(Target::Controller, request, |response| response.error_code)?;
    check(response.error_code, response.error_message.as_deref())?;
    let mut refused = Vec::new();
    for topic in response.responses {
        for partition in topic.partitions {
            if let Err(error) = check(partition.error_code, partition.error_message.as_deref()) {
                refused.push(((topic.name.clone(), partition.partition_index), error.message));
            }
        }
    }
    refused.sort();
    Ok(refused.into_iter().map(|(tp, message)| format!("{}: {message}", name(&tp))).collect())
}

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Sets settings, or removes those without value.
fn set_configs(cluster: &mut Cluster, kind: i8, name: &str, settings: &[(&str, Option<String>)]) -> anyhow::Result<()> {
    let configs = settings.iter().map(|(key, value)| AlterableConfig {
        name: (*key).to_owned(),
        config_operation: i8::from(value.is_none()),
        value: value.clone(),
    });
    let resource =
        AlterConfigsResource { resource_type: kind, resource_name: name.to_owned(), configs: configs.collect() };
    let request = |_| IncrementalAlterConfigsRequest { resources: vec![resource.clone()], validate_only: false };
    let target = match name.parse() {
        Ok(id) if kind == BROKER => Target::Node(id),
        _ => Target::Any,
    };
    let code = |response: &common::kafka::messages::IncrementalAlterConfigsResponse| {
        response.responses.first().map_or(0, |resource| resource.error_code)
    };
    let response = cluster.call(target, request, code)?;
    for resource in response.responses {
        check(resource.error_code, resource.error_message.as_deref())?;
    }
    Ok(())
}

fn clear_throttles(cluster: &mut Cluster, partitions: &[(Tp, Vec<i32>)]) -> anyhow::Result<()> {
    let mut brokers: BTreeSet<i32> = cluster.broker_ids()?.into_iter().collect();
    brokers.extend(partitions.iter().flat_map(|(_, replicas)| replicas));
    let list: Vec<i32> = brokers.iter().copied().collect();
    println!("Clearing broker-level throttles on broker{} {}", if list.len() == 1 { "" } else { "s" }, ids(&list));
    for broker in brokers {
        let ops: Vec<_> = BROKER_THROTTLES.iter().map(|key| (*key, None)).collect();
        set_configs(cluster, BROKER, &broker.to_string(), &ops)?;
    }
    let topics: BTreeSet<&str> = partitions.iter().map(|((topic, _), _)| topic.as_str()).collect();
    println!(
        "Clearing topic-level throttles on topic{} {}",
        if topics.len() == 1 { "" } else { "s" },
        plan::topic_set(topics.iter().copied())
    );
    for topic in topics {
        let ops: Vec<_> = TOPIC_THROTTLES.iter().map(|key| (*key, None)).collect();
        set_configs(cluster, TOPIC, topic, &ops)?;
    }
    Ok(())
}

fn verify(cluster: &mut Cluster, text: &str, preserve: bool) -> anyhow::Result<()> {
    let (partitions, places) = plan::parse_plan(text)?;
    let under_way = moves(cluster)?;
    let topics: BTreeSet<&str> =
        partitions.iter().filter(|(tp, _)| !under_way.contains_key(tp)).map(|((topic, _), _)| topic.as_str()).collect();
    let current = if topics.is_empty() { Assignment::new() } else { replicas_of(cluster, &topics)? };
    let mut lines = vec!["Status of partition reassignment:".to_owned()];
    let targets: Assignment = partitions.iter().cloned().collect();
    for (tp, target) in &targets {
        let replicas = current.get(tp).cloned().unwrap_or_default();
        lines.push(if under_way.contains_key(tp) {
            format!("Reassignment of partition {} is still in progress.", name(tp))
        } else if replicas == *target {
            format!("Reassignment of partition {} is completed.", name(tp))
        } else {
            let (replicas, target) = (ids(&replicas), ids(target));
            format!(
                "There is no active reassignment of partition {}, but replica set is {replicas} rather than {target}.",
                name(tp)
            )
        });
    }
    println!("{}", lines.join("\n"));
    let (lines, dirs_move) = dir_states(cluster, &places)?;
    println!("{}", lines.join("\n"));
    if under_way.is_empty() && !dirs_move && !preserve {
        clear_throttles(cluster, &partitions)?;
    }
    Ok(())
}

/// How far the moves between log directories are, a line each, and if one is under way.
fn dir_states(cluster: &mut Cluster, places: &Places) -> anyhow::Result<(Vec<String>, bool)> {
    let mut lines = Vec::new();
    let mut any = false;
    let brokers: BTreeSet<i32> = places.keys().map(|(broker, _, _)| *broker).collect();
    for broker in brokers {
        let found = crate::log_dirs::describe(cluster, broker)?.results;
        for ((_, topic, partition), wanted) in places.iter().filter(|((of, _, _), _)| *of == broker) {
            let (mut current, mut future) = (None, None);
            for dir in &found {
                let of_topic = dir.topics.iter().filter(|found| found.name == *topic);
                for entry in of_topic.flat_map(|found| &found.partitions) {
                    if entry.partition_index == *partition {
                        *(if entry.is_future_key { &mut future } else { &mut current }) = Some(&dir.log_dir);
                    }
                }
            }
            let replica = format!("{topic}-{partition}-{broker}");
            lines.push(match (current, future) {
                (None, _) => format!(
                    "Partition {topic}-{partition} is not found in any live log dir on broker {broker}. There is likely \
                     an offline log directory on the broker."
                ),
                (Some(_), Some(future)) if future == wanted => {
                    any = true;
                    format!("Reassignment of replica {replica} is still in progress.")
                }
                (Some(_), Some(future)) => {
                    any = true;
                    format!(
                        "Partition {topic}-{partition} on broker {broker} is being moved to log dir {future} instead of \
                         {wanted}."
                    )
                }
                (Some(current), None) if current == wanted => {
                    format!("Reassignment of replica {replica} completed successfully.")
                }
                (Some(current), None) => format!(
                    "Partition {topic}-{partition} on broker {broker} is not being moved from log dir {current} to \
                     {wanted}."
                ),
            });
        }
    }
    Ok((lines, any))
}

/// Asks brokers to move replicas between their directories, until each has begun.
fn move_dirs(cluster: &mut Cluster, mut places: Places, options: &Options) -> anyhow::Result<()> {
    let timeout = options.number::<u64>("timeout")?.unwrap_or(10_000);
    let deadline = Instant::now() + Duration::from_millis(timeout);
    while !places.is_empty() {
        for ((broker, topic, partition), dir) in places.clone() {
            let topics = vec![AlterReplicaLogDirTopic { name: topic.clone(), partitions: vec![partition] }];
            let dirs = vec![AlterReplicaLogDir { path: dir.clone(), topics }];
            let request = |_| AlterReplicaLogDirsRequest { dirs: dirs.clone() };
            let response = cluster.call(Target::Node(broker), request, |_| 0)?;
            let results = response.results.iter().flat_map(|topic| &topic.partitions);
            let code = results.map(|partition| partition.error_code).next().unwrap_or(0);
            match ErrorCode::from_code(code) {
                Some(ErrorCode::None) => {
                    println!(
                        "Successfully started moving log directory to {dir} for replica {topic}-{partition} with broker \
                         {broker} "
                    );
                    places.remove(&(broker, topic, partition));
                }
                // It may come to this broker only now.
                Some(ErrorCode::ReplicaNotAvailable) => {}
                _ => bail!("Failed to alter dir for {topic}-{partition}-{broker}"),
            }
        }
        if places.is_empty() {
            break;
        }
        if Instant::now() >= deadline {
            let left: Vec<String> =
                places.keys().map(|(broker, topic, partition)| format!("{topic}-{partition}-{broker}")).collect();
            let plural = if left.len() == 1 { "" } else { "s" };
            let text = format!("Timed out before log directory move{plural} could be started for: {}", left.join(","));
            return Err(Terse(text).into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn cancel(cluster: &mut Cluster, text: &str, options: &Options) -> anyhow::Result<()> {
    let (partitions, places) = plan::parse_plan(text)?;
    let under_way = moves(cluster)?;
    let named: BTreeSet<&Tp> = partitions.iter().map(|(tp, _)| tp).collect();
    let active: Vec<Tp> = under_way
        .iter()
        .filter(|(tp, ongoing)| named.contains(tp) && (ongoing.adding.is_empty() || !ongoing.removing.is_empty()))
        .map(|(tp, _)| tp.clone())
        .collect();
    if active.is_empty() {
        println!("None of the specified partition reassignments are active.");
    } else {
        let errors = alter(cluster, active.iter().map(|tp| (tp.clone(), None)).collect(), true)?;
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        if !errors.is_empty() {
            let text =
                format!("Error cancelling partition reassignment{} for:\n{}", plural(errors.len()), errors.join("\n"));
            return Err(Terse(text).into());
        }
        println!(
            "Successfully cancelled partition reassignment{} for: {}",
            plural(active.len()),
            active.iter().map(name).collect::<Vec<_>>().join(",")
        );
    }
    let moving: Places = Places::new();
    let (_, dirs_move) = dir_states(cluster, &places)?;
    if dirs_move {
        move_dirs(cluster, moving, options)?;
    } else {
        print!("None of the specified partition moves are active.");
    }
    if !options.has("preserve-throttles") {
        clear_throttles(cluster, &partitions)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_and_receivers_are_throttled() {
        let tp = |partition| ("t".to_owned(), partition);
        let current = Assignment::from([(tp(0), vec![1, 2]), (tp(1), vec![2, 3])]);
        let proposed = Assignment::from([(tp(0), vec![3, 2]), (tp(1), vec![2, 3])]);
        let (leaders, followers, brokers) = throttled(&BTreeMap::new(), &proposed, &current);
        assert_eq!(leaders["t"].iter().collect::<Vec<_>>(), ["0:1", "0:2", "1:2", "1:3"]);
        assert_eq!(followers["t"].iter().collect::<Vec<_>>(), ["0:3"]);
        assert_eq!(brokers, BTreeSet::from([1, 2, 3]));
        let ongoing = Move { replicas: vec![3, 1, 2], adding: vec![3], removing: vec![1] };
        let (leaders, followers, _) = throttled(&BTreeMap::from([(tp(0), ongoing)]), &Assignment::new(), &current);
        assert_eq!(leaders["t"].iter().collect::<Vec<_>>(), ["0:1", "0:2"]);
        assert_eq!(followers["t"].iter().collect::<Vec<_>>(), ["0:3"]);
    }
}
