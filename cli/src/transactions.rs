//! `kafka-transactions`: lists and describes transactions and producers, finds transactions that hang because their
//! coordinator knows nothing of them, and aborts those (KIP-664). Never aborts what it was not told to.

use crate::client::{KafkaError, check};
use crate::clock;
use crate::cluster::{Cluster, Target, load_settings};
use crate::java_order::{hash_order, partition_hash};
use crate::log_offsets::{Partition, metadata};
use anyhow::{Context as _, bail};
use clap::{Arg, ArgMatches, Command, value_parser};
use common::kafka::error::ErrorCode;
use common::kafka::messages::describe_producers::{ProducerState, TopicRequest};
use common::kafka::messages::describe_transactions::TransactionState;
use common::kafka::messages::write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic};
use common::kafka::messages::{
    DescribeProducersRequest, DescribeTransactionsRequest, FindCoordinatorRequest, ListTransactionsRequest,
    MetadataRequest, WriteTxnMarkersRequest,
};
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

const MINUTE_MS: i64 = 60_000;

/// The tool.
pub(crate) fn transactions(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let name = std::iter::once("kafka-transactions".to_owned());
    let matches = match command().try_get_matches_from(name.chain(arguments.iter().cloned())) {
        Ok(matches) => matches,
        Err(error) => {
            error.print().context("printing")?;
            return Ok(if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
    };
    let settings = match matches.get_one::<String>("command-config") {
        Some(file) => load_settings(file)?,
        None => BTreeMap::new(),
    };
    let mut cluster = Cluster::new(text(&matches, "bootstrap-server"), &settings)?;
    match matches.subcommand() {
        Some(("list", given)) => list(&mut cluster, given)?,
        Some(("describe", given)) => describe(&mut cluster, given)?,
        Some(("describe-producers", given)) => describe_producers(&mut cluster, given)?,
        Some(("abort", given)) => abort(&mut cluster, given)?,
        Some(("find-hanging", given)) => find_hanging(&mut cluster, given)?,
        _ => bail!("a command is needed"),
    }
    Ok(ExitCode::SUCCESS)
}

fn command() -> Command {
    let option = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help);
    let number = |name, help| option(name, help).value_parser(value_parser!(i64)).allow_negative_numbers(true);
    let broker = |help| number("broker-id", help);
    let topic = || option("topic", "topic name");
    let partition = || number("partition", "partition number");
    Command::new("kafka-transactions.sh")
        .about(
            "This tool is used to analyze the transactional state of producers in the cluster. It can be used to detect \
             and recover from hanging transactions.",
        )
        .version(concat!("3.9.1 (castellan ", env!("CARGO_PKG_VERSION"), ")"))
        .subcommand_required(true)
        .arg(option("command-config", "property file containing configs to be passed to admin client"))
        .arg(
            option(
                "bootstrap-server",
                "hostname and port for the broker to connect to, in the form `host:port` (multiple comma-separated \
                 entries can be given)",
            )
            .required(true),
        )
        .subcommand(
            Command::new("list")
                .about("list transactions")
                .arg(number(
                    "duration-filter",
                    "Duration (in millis) to filter by: if < 0, all transactions will be returned; otherwise, only \
                     transactions running longer than this duration will be returned",
                ))
                .arg(option("transactional-id-pattern", "Transactional id regular expression pattern to filter by").hide(true)),
        )
        .subcommand(
            Command::new("describe")
                .about("describe the state of an active transactional-id")
                .arg(option("transactional-id", "transactional id").required(true)),
        )
        .subcommand(
            Command::new("describe-producers")
                .about("describe the states of active producers for a topic partition")
                .arg(broker("optional broker id to describe the producer state on a specific replica"))
                .arg(topic().required(true))
                .arg(partition().required(true)),
        )
        .subcommand(
            Command::new("abort")
                .about("abort a hanging transaction (requires administrative privileges)")
                .arg(topic().required(true))
                .arg(partition().required(true))
                .arg(number("start-offset", "start offset of the transaction to abort"))
                .arg(number("producer-id", "producer id"))
                .arg(number("producer-epoch", "producer epoch"))
                .arg(number("coordinator-epoch", "coordinator epoch")),
        )
        .subcommand(
            Command::new("find-hanging")
                .about("find hanging transactions")
                .arg(broker("broker id to search for hanging transactions"))
                .arg(
                    number(
                        "max-transaction-timeout",
                        "maximum transaction timeout in minutes to limit the scope of the search (15 minutes by default)",
                    )
                    .default_value("15"),
                )
                .arg(topic())
                .arg(partition()),
        )
}

fn text<'a>(given: &'a ArgMatches, name: &str) -> &'a str {
    given.get_one::<String>(name).map_or("", String::as_str)
}

fn number(given: &ArgMatches, name: &str) -> Option<i64> {
    given.get_one::<i64>(name).copied()
}

fn id(given: &ArgMatches, name: &str) -> anyhow::Result<Option<i32>> {
    number(given, name).map(|value| i32::try_from(value).with_context(|| format!("--{name} {value}"))).transpose()
}

fn place(given: &ArgMatches) -> anyhow::Result<Partition> {
    Ok((text(given, "topic").to_owned(), id(given, "partition")?.unwrap_or(-1)))
}

/// As Kafka's tool ends when a call failed.
fn failed(what: &str) -> impl FnOnce(anyhow::Error) -> anyhow::Error {
    let what = what.to_owned();
    move |error| anyhow::anyhow!("{what}: {error:#}. Enable debug logging for additional detail.")
}

/// Kafka's table: columns padded to their widest text, each ended by a tab.
fn print_table(headers: &[&str], rows: &[Vec<String>]) {
    let widths: Vec<usize> = headers
        .iter()
        .enumerate()
        .map(|(at, header)| rows.iter().map(|row| row[at].len()).chain([header.len()]).max().unwrap_or(0))
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}\t")).collect::<String>()
    };
    println!("{}", line(&mut headers.iter().copied()));
    for row in rows {
        println!("{}", line(&mut row.iter().map(String::as_str)));
    }
}

fn list(cluster: &mut Cluster, given: &ArgMatches) -> anyhow::Result<()> {
    let duration = number(given, "duration-filter").unwrap_or(-1);
    let mut rows = Vec::new();
    let pattern = given.get_one::<String>("transactional-id-pattern").map(String::as_str);
    for (broker, state) in listings(cluster, (duration, pattern), &[]).map_err(failed("Failed to list transactions"))? {
        let (id, producer, state) = (state.transactional_id, state.producer_id, state.transaction_state);
        rows.push(vec![id, broker.to_string(), producer.to_string(), state]);
    }
    print_table(&["TransactionalId", "Coordinator", "ProducerId", "TransactionState"], &rows);
    Ok(())
}

/// The transactions of all brokers, by broker.
fn listings(
    cluster: &mut Cluster,
    (duration_filter, pattern): (i64, Option<&str>),
    producer_ids: &[i64],
) -> anyhow::Result<Vec<(i32, common::kafka::messages::list_transactions::TransactionState)>> {
    let mut found = Vec::new();
    for broker in cluster.broker_ids()? {
        if pattern.is_some() && !cluster.speaks::<ListTransactionsRequest>(Target::Node(broker), 2)? {
            bail!(
                "Transactional ID pattern filter can be set only when using API version 2 or higher. If client is connected \
                 to an older broker, do not specify the pattern filter."
            );
        }
        let request = |version| ListTransactionsRequest {
            producer_id_filters: producer_ids.to_vec(),
            duration_filter: if version < 1 { -1 } else { duration_filter },
            transactional_id_pattern: pattern.map(str::to_owned),
            ..Default::default()
        };
        let response = cluster.call(Target::Node(broker), request, |response| response.error_code)?;
        check(response.error_code, None)?;
        found.extend(response.transaction_states.into_iter().map(|state| (broker, state)));
    }
    Ok(found)
}

fn describe(cluster: &mut Cluster, given: &ArgMatches) -> anyhow::Result<()> {
    let id = text(given, "transactional-id");
    let what = format!("Failed to describe transaction state of transactional-id `{id}`");
    let (coordinator, state) = describe_one(cluster, id).map_err(failed(&what))?;
    let start = state.transaction_start_time_ms;
    let (started, duration) = if start >= 0 {
        (start.to_string(), (clock::now_ms() - start).to_string())
    } else {
        ("None".to_owned(), "None".to_owned())
    };
    let places = places(&state);
    let places = hash_order(places, 16, |(topic, partition)| partition_hash(topic, *partition));
    let places: Vec<String> = places.iter().map(|(topic, partition)| format!("{topic}-{partition}")).collect();
    let headers = [
        "CoordinatorId",
        "TransactionalId",
        "ProducerId",
        "ProducerEpoch",
        "TransactionState",
        "TransactionTimeoutMs",
        "CurrentTransactionStartTimeMs",
        "TransactionDurationMs",
        "TopicPartitions",
    ];
    let row = vec![
        coordinator.to_string(),
        id.to_owned(),
        state.producer_id.to_string(),
        state.producer_epoch.to_string(),
        state.transaction_state,
        state.transaction_timeout_ms.to_string(),
        started,
        duration,
        places.join(","),
    ];
    print_table(&headers, &[row]);
    Ok(())
}

fn places(state: &TransactionState) -> Vec<Partition> {
    let of_topic = |topic: &common::kafka::messages::describe_transactions::TopicData| {
        let name = topic.topic.clone();
        topic.partitions.clone().into_iter().map(move |partition| (name.clone(), partition))
    };
    state.topics.iter().flat_map(of_topic).collect()
}

/// What its coordinator says of a transactional id.
fn describe_one(cluster: &mut Cluster, id: &str) -> anyhow::Result<(i32, TransactionState)> {
    let request = |version| FindCoordinatorRequest {
        key: if version < 4 { id.to_owned() } else { String::new() },
        key_type: 1,
        coordinator_keys: if version < 4 { Vec::new() } else { vec![id.to_owned()] },
    };
    let found = cluster.call(Target::Any, request, |response| {
        response.coordinators.first().map_or(response.error_code, |found| found.error_code)
    })?;
    let (node, code) = match found.coordinators.first() {
        Some(found) => (found.node_id, found.error_code),
        None => (found.node_id, found.error_code),
    };
    check(code, None)?;
    let request = |_| DescribeTransactionsRequest { transactional_ids: vec![id.to_owned()] };
    let mut response = cluster.call(Target::Node(node), request, |response| {
        response.transaction_states.first().map_or(0, |state| state.error_code)
    })?;
    let Some(state) = response.transaction_states.pop() else { bail!("the coordinator did not describe {id}") };
    check(state.error_code, None)?;
    Ok((node, state))
}

fn describe_producers(cluster: &mut Cluster, given: &ArgMatches) -> anyhow::Result<()> {
    let (place, broker) = (place(given)?, id(given, "broker-id")?);
    let by = broker.map_or("leader".to_owned(), |id| format!("broker {id}"));
    let what = format!("Failed to describe producers for partition {}-{} on {by}", place.0, place.1);
    let producers = producers_of(cluster, &place, broker).map_err(failed(&what))?;
    let rows: Vec<Vec<String>> = producers
        .iter()
        .map(|producer| {
            let start = producer.current_txn_start_offset;
            vec![
                producer.producer_id.to_string(),
                producer.producer_epoch.to_string(),
                producer.coordinator_epoch.to_string(),
                producer.last_sequence.to_string(),
                producer.last_timestamp.to_string(),
                if start >= 0 { start.to_string() } else { "None".to_owned() },
            ]
        })
        .collect();
    let headers = [
        "ProducerId",
        "ProducerEpoch",
        "LatestCoordinatorEpoch",
        "LastSequence",
        "LastTimestamp",
        "CurrentTransactionStartOffset",
    ];
    print_table(&headers, &rows);
    Ok(())
}

/// The producers that a partition's leader, or the given broker, knows.
fn producers_of(cluster: &mut Cluster, place: &Partition, broker: Option<i32>) -> anyhow::Result<Vec<ProducerState>> {
    let broker = match broker {
        Some(broker) => broker,
        None => leader(cluster, place)?,
    };
    let request = |_| DescribeProducersRequest {
        topics: vec![TopicRequest { name: place.0.clone(), partition_indexes: vec![place.1] }],
    };
    let response = cluster.call(Target::Node(broker), request, |_| 0)?;
    let Some(partition) = response.topics.into_iter().flat_map(|topic| topic.partitions).next() else {
        bail!("the broker did not describe the partition");
    };
    check(partition.error_code, partition.error_message.as_deref())?;
    Ok(partition.active_producers)
}

fn leader(cluster: &mut Cluster, place: &Partition) -> anyhow::Result<i32> {
    let known = metadata(cluster, std::slice::from_ref(&place.0))?;
    let partitions = known.topics.into_iter().flat_map(|topic| topic.partitions);
    let found = partitions.into_iter().find(|partition| partition.partition_index == place.1);
    let unknown = ErrorCode::UnknownTopicOrPartition;
    match found {
        None => Err(KafkaError { code: unknown, message: unknown.message().to_owned() }.into()),
        Some(partition) if partition.leader_id < 0 => bail!(ErrorCode::LeaderNotAvailable.message()),
        Some(partition) => Ok(partition.leader_id),
    }
}

fn abort(cluster: &mut Cluster, given: &ArgMatches) -> anyhow::Result<()> {
    let place = place(given)?;
    let (producer_id, producer_epoch, coordinator_epoch) = match number(given, "start-offset") {
        Some(offset) => {
            let what = format!("Failed to validate producer state for partition {}-{}", place.0, place.1);
            let producers = producers_of(cluster, &place, None).map_err(failed(&what))?;
            let open = producers.iter().find(|producer| producer.current_txn_start_offset == offset);
            let open = open.with_context(|| {
                format!(
                    "Could not find any open transactions starting at offset {offset} on partition {}-{}",
                    place.0, place.1
                )
            })?;
            (open.producer_id, i64::from(open.producer_epoch), i64::from(open.coordinator_epoch))
        }
        None => {
            let id = number(given, "producer-id").context(
                "The transaction to abort must be identified either with --start-offset (for brokers on 3.0 or above) or \
                 with --producer-id, --producer-epoch, and --coordinator-epoch (for older brokers)",
            )?;
            let needed =
                |name: &str| number(given, name).with_context(|| format!("Missing required argument --{name}"));
            (id, needed("producer-epoch")?, needed("coordinator-epoch")?)
        }
    };
    let marker = WritableTxnMarker {
        producer_id,
        producer_epoch: i16::try_from(producer_epoch)?,
        transaction_result: false,
        topics: vec![WritableTxnMarkerTopic { name: place.0.clone(), partition_indexes: vec![place.1] }],
        coordinator_epoch: i32::try_from(coordinator_epoch.max(0))?,
        transaction_version: 0,
    };
    let what = format!(
        "Failed to abort transaction AbortTransactionSpec(topicPartition={}-{}, producerId={producer_id}, \
         producerEpoch={producer_epoch}, coordinatorEpoch={})",
        place.0, place.1, marker.coordinator_epoch
    );
    write_marker(cluster, &place, &marker).map_err(failed(&what))
}

fn write_marker(cluster: &mut Cluster, place: &Partition, marker: &WritableTxnMarker) -> anyhow::Result<()> {
    let leader = leader(cluster, place)?;
    let request = |_| WriteTxnMarkersRequest { markers: vec![marker.clone()] };
    let response = cluster.call(Target::Node(leader), request, |_| 0)?;
    let results = response.markers.into_iter().flat_map(|marker| marker.topics).flat_map(|topic| topic.partitions);
    for result in results {
        check(result.error_code, None)?;
    }
    Ok(())
}

fn find_hanging(cluster: &mut Cluster, given: &ArgMatches) -> anyhow::Result<()> {
    let broker = id(given, "broker-id")?;
    let partition = id(given, "partition")?;
    let topic = given.get_one::<String>("topic").cloned();
    match (&topic, partition, broker) {
        (None, _, None) => {
            bail!("The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search")
        }
        (None, Some(_), _) => bail!("The --partition argument requires --topic to be provided"),
        _ => {}
    }
    let longest_ms = number(given, "max-transaction-timeout").unwrap_or(15).saturating_mul(MINUTE_MS);
    let now = clock::now_ms();
    let mut open: Vec<(Partition, ProducerState)> = Vec::new();
    for place in searched(cluster, topic, partition, broker)? {
        let producers = producers_of(cluster, &place, broker).map_err(failed("Failed to describe producers"))?;
        let is_old = |producer: &ProducerState| {
            producer.current_txn_start_offset >= 0 && now - producer.last_timestamp > longest_ms
        };
        open.extend(producers.into_iter().filter(is_old).map(|producer| (place.clone(), producer)));
    }
    let known = coordinated(cluster, &open)?;
    let mut rows = Vec::new();
    for ((topic, partition), producer) in open {
        let is_known = known.get(&producer.producer_id).is_some_and(|all| all.contains(&(topic.clone(), partition)));
        if is_known {
            continue;
        }
        rows.push(vec![
            topic,
            partition.to_string(),
            producer.producer_id.to_string(),
            producer.producer_epoch.to_string(),
            producer.coordinator_epoch.to_string(),
            producer.current_txn_start_offset.to_string(),
            producer.last_timestamp.to_string(),
            ((now - producer.last_timestamp) / MINUTE_MS).to_string(),
        ]);
    }
    let headers = [
        "Topic",
        "Partition",
        "ProducerId",
        "ProducerEpoch",
        "CoordinatorEpoch",
        "StartOffset",
        "LastTimestamp",
        "Duration(min)",
    ];
    print_table(&headers, &rows);
    Ok(())
}

/// The partitions to look at.
fn searched(
    cluster: &mut Cluster,
    topic: Option<String>,
    partition: Option<i32>,
    broker: Option<i32>,
) -> anyhow::Result<Vec<Partition>> {
    if let (Some(topic), Some(partition)) = (&topic, partition) {
        return Ok(vec![(topic.clone(), partition)]);
    }
    let known = match topic {
        Some(topic) => metadata(cluster, &[topic])?,
        None => {
            let request = |_| MetadataRequest { topics: None, allow_auto_topic_creation: false, ..Default::default() };
            cluster.call(Target::Any, request, |_| 0)?
        }
    };
    let mut places = Vec::new();
    for topic in known.topics {
        check(topic.error_code, None)?;
        let name = topic.name.unwrap_or_default();
        for partition in topic.partitions {
            if broker.is_none_or(|broker| partition.replica_nodes.contains(&broker)) {
                places.push((name.clone(), partition.partition_index));
            }
        }
    }
    Ok(places)
}

/// By producer id, the partitions of which a coordinator knows that they are in its transaction.
fn coordinated(
    cluster: &mut Cluster,
    open: &[(Partition, ProducerState)],
) -> anyhow::Result<BTreeMap<i64, BTreeSet<Partition>>> {
    let ids: BTreeSet<i64> = open.iter().map(|(_, producer)| producer.producer_id).collect();
    let mut known = BTreeMap::new();
    if ids.is_empty() {
        return Ok(known);
    }
    let ids: Vec<i64> = ids.into_iter().collect();
    for (_, listing) in listings(cluster, (-1, None), &ids).map_err(failed("Failed to list transactions"))? {
        match describe_one(cluster, &listing.transactional_id) {
            Ok((_, state)) => {
                known.insert(listing.producer_id, places(&state).into_iter().collect());
            }
            Err(error) if crate::client::code_of(&error) == Some(ErrorCode::TransactionalIdNotFound) => {}
            Err(error) => return Err(failed("Failed to describe transactions")(error)),
        }
    }
    Ok(known)
}
