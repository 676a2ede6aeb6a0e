//! `kafka-replica-verification`: reads every replica of topics side by side, up to the high watermark, and tells where they
//! differ and how far the slowest lags. Runs until it is ended; changes nothing.

use crate::client::Connection;
use crate::clock::log_time;
use crate::cluster::{Cluster, Target, address};
use crate::java_order::{hash_order, partition_hash};
use crate::log_offsets::{self, Partition};
use crate::options::{self, HELP, Options, Spec, VERSION, int, long, text};
use crate::security::Security;
use crate::topics::topic_filter;
use anyhow::{Context as _, anyhow, bail};
use common::kafka::batch::{BatchHeader, Batches, batches};
use common::kafka::messages::fetch::{FetchPartition, FetchTopic, PartitionData, ReplicaState};
use common::kafka::messages::{FetchRequest, MetadataRequest, MetadataResponse, MetadataResponseBroker};
use common::kafka::records::Records;
use regex::Regex;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use uuid::Uuid;

const USAGE: &str = "Validate that all replicas for a set of topics have the same data.";

const SPECS: &[Spec] = &[
    HELP,
    VERSION,
    text(
        "broker-list",
        "hostname:port,...,hostname:port",
        "REQUIRED: The list of hostname and port of the server to connect to.",
    ),
    int("fetch-size", "bytes", "The fetch size of each request.").or("1048576"),
    int("max-wait-ms", "ms", "The max amount of time each fetch request waits.").or("1000"),
    text(
        "topic-white-list",
        "Java regex (String)",
        "DEPRECATED use --topics-include instead; ignored if --topics-include specified. List of topics to verify replica \
         consistency.",
    )
    .or(".*"),
    text("topics-include", "Java regex (String)", "List of topics to verify replica consistency.").or(".*"),
    long("time", "timestamp/-1(latest)/-2(earliest)", "Timestamp for getting the initial offsets.").or("-1"),
    long("report-interval-ms", "ms", "The reporting interval.").or("30000"),
];

/// A consumer that may read followers, though it says nothing of where it stands: made for tools like this one.
const DEBUGGER: i32 = -2;
/// From this version on the replica that asks is named in a structure of its own.
const REPLICA_STATE_FROM: i16 = 15;
/// To connect to a broker, and beyond what a fetch is to wait.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Before a broker that does not answer is asked again.
const BACKOFF: Duration = Duration::from_millis(500);

/// The tool.
pub(crate) fn replica_verification(arguments: &[String]) -> anyhow::Result<ExitCode> {
    eprintln!(
        "[{}] WARN This tool is deprecated and may be removed in a future major release. \
         (org.apache.kafka.tools.ReplicaVerificationTool)",
        log_time()
    );
    options::exit(run(arguments))
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = Options::parse(SPECS, arguments)?;
    options.help_or_version(arguments, USAGE)?;
    options.require(&["broker-list"])?;
    options.exclude("topics-include", &["topic-white-list"])?;
    let servers = options.value("broker-list")?.unwrap_or_default();
    valid_servers(servers).map_err(|problem| options.usage(problem))?;
    let mut cluster = Cluster::new(servers, &BTreeMap::new())?;
    let all_topics = |_| MetadataRequest { topics: None, ..MetadataRequest::default() };
    let metadata = cluster.call(Target::Any, all_topics, |_| 0)?;
    let chosen = if options.has("topics-include") { "topics-include" } else { "topic-white-list" };
    let filter = filter(options.value(chosen)?.unwrap_or_default())?;
    let mut verification = Verification::new(&metadata, &filter);
    if verification.replicas.is_empty() {
        eprintln!(
            "[{}] ERROR No topics found. [topics-include] if specified, is either filtering out all topics or there is no \
             topic. (org.apache.kafka.tools.ReplicaVerificationTool)",
            log_time()
        );
        return Ok(ExitCode::FAILURE);
    }
    let limits = Limits {
        fetch_size: options.number("fetch-size")?.unwrap_or_default(),
        max_wait_ms: options.number("max-wait-ms")?.unwrap_or_default(),
    };
    let interval = options.number::<i64>("report-interval-ms")?.unwrap_or_default();
    verification.start(&mut cluster, options.number("time")?.unwrap_or(log_offsets::LATEST))?;
    println!("{}: verification process is started", log_time());
    let mut fetchers = fetchers(&metadata, &verification)?;
    let mut last_report = Instant::now();
    loop {
        verification.round(&mut fetchers, limits)?;
        if i64::try_from(last_report.elapsed().as_millis()).unwrap_or(i64::MAX) > interval {
            println!("{}: {}", log_time(), verification.report());
            last_report = Instant::now();
        }
    }
}

/// Each server has a port.
fn valid_servers(servers: &str) -> Result<(), &'static str> {
    if servers.trim().is_empty() {
        return Err("Error while validating the bootstrap address\n");
    }
    let has_port = |server: &str| server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match servers.split(',').all(has_port) {
        true => Ok(()),
        false => Err("Please provide valid host:port like host1:9091,host2:9092\n"),
    }
}

fn filter(pattern: &str) -> anyhow::Result<Regex> {
    Regex::new(pattern).map_err(|_| anyhow!("{pattern} is an invalid regex"))?;
    topic_filter(pattern)
}

/// What a fetch may bring.
#[derive(Clone, Copy, Debug)]
struct Limits {
    fetch_size: i32,
    max_wait_ms: i32,
}

/// What is verified, and how far it is.
#[derive(Debug, Default)]
struct Verification {
    /// The brokers that have each partition.
    replicas: BTreeMap<Partition, Vec<i32>>,
    topic_ids: BTreeMap<String, Uuid>,
    /// Where each partition is read next.
    offsets: BTreeMap<Partition, i64>,
    /// The greatest distance of a high watermark to what is verified, with its partition and the offset; of the last round.
    max_lag: Option<(i64, Partition, i64)>,
}

/// What a round brought: of each partition what each broker said.
type Fetched = BTreeMap<Partition, BTreeMap<i32, PartitionData>>;

impl Verification {
    fn new(metadata: &MetadataResponse, filter: &Regex) -> Verification {
        let mut verification = Verification::default();
        for topic in &metadata.topics {
            let Some(name) = topic.name.as_ref().filter(|name| filter.is_match(name)) else { continue };
            verification.topic_ids.insert(name.clone(), topic.topic_id);
            for partition in &topic.partitions {
                let place = (name.clone(), partition.partition_index);
                verification.replicas.insert(place, partition.replica_nodes.clone());
            }
        }
        verification
    }

    /// Asks the leaders where to begin.
    fn start(&mut self, cluster: &mut Cluster, time: i64) -> anyhow::Result<()> {
        let partitions: Vec<Partition> = self.replicas.keys().cloned().collect();
        if time < log_offsets::EARLIEST {
            let (topic, index) = &partitions[0];
            bail!("The target time for partition {topic}-{index} is {time}. The target time cannot be negative.");
        }
        for ((topic, index), offset) in log_offsets::at(cluster, &partitions, time)? {
            let offset = offset?;
            if offset < 0 {
                bail!("{topic}-{index} has no record of the time {time} or later");
            }
            self.offsets.insert((topic, index), offset);
        }
        Ok(())
    }

    /// Reads on from every broker at once, and compares what came.
    fn round(&mut self, fetchers: &mut [Fetcher], limits: Limits) -> anyhow::Result<()> {
        let mut fetched: Fetched = BTreeMap::new();
        let (offsets, topic_ids) = (&self.offsets, &self.topic_ids);
        let answers: Vec<(i32, BTreeMap<Partition, PartitionData>)> = std::thread::scope(|scope| {
            let running: Vec<_> = fetchers
                .iter_mut()
                .map(|fetcher| scope.spawn(move || (fetcher.id, fetcher.fetch(offsets, topic_ids, limits))))
                .collect();
            running.into_iter().filter_map(|fetcher| fetcher.join().ok()).collect()
        });
        for (broker, partitions) in answers {
            for (partition, data) in partitions {
                fetched.entry(partition).or_default().insert(broker, data);
            }
        }
        let in_order: Vec<Partition> = self.replicas.keys().cloned().collect();
        self.max_lag = None;
        for partition in hash_order(in_order, 16, |(topic, index)| partition_hash(topic, *index)) {
            let answers = fetched.remove(&partition).unwrap_or_default();
            let offset = self.offsets.get_mut(&partition).expect("start() gave each partition an offset");
            let found = compare(&partition, &answers, *offset)?;
            for difference in &found.differences {
                println!("{}: {difference}", log_time());
            }
            if found.ended {
                return Err(options::Ended(1).into());
            }
            *offset = found.verified;
            let high_watermark = answers.values().map(|answer| answer.high_watermark).max().unwrap_or(-1);
            let lag = high_watermark - *offset;
            if lag > self.max_lag.as_ref().map_or(-1, |(max, _, _)| *max) {
                self.max_lag = Some((lag, partition, *offset));
            }
        }
        Ok(())
    }

    fn report(&self) -> String {
        let (lag, partition, offset) = match &self.max_lag {
            Some((lag, (topic, index), offset)) => (*lag, format!("{topic}-{index}"), *offset),
            None => (-1, "null".to_owned(), 0),
        };
        let count = self.replicas.len();
        format!("max lag is {lag} for partition {partition} at offset {offset} among {count} partitions")
    }
}

/// What a comparison found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Comparison {
    /// Up to here all replicas have the same.
    verified: i64,
    /// Where they differ, in words.
    differences: Vec<String>,
    /// Offsets differ, so that nothing after them can be compared.
    ended: bool,
}

/// Compares what the replicas of a partition gave from an offset on, batch by batch, up to the high watermark of each.
fn compare(
    (topic, index): &Partition,
    answers: &BTreeMap<i32, PartitionData>,
    from: i64,
) -> std::io::Result<Comparison> {
    let mut found = Comparison { verified: from, ..Comparison::default() };
    let mut readers: Vec<(i32, i64, Batches)> = Vec::new();
    for (replica, answer) in answers {
        let bytes = answer.records.as_ref().map(Records::to_bytes).transpose()?;
        readers.push((*replica, answer.high_watermark, batches(bytes.unwrap_or_default())));
    }
    let mut in_all = !readers.is_empty();
    while in_all {
        let mut first: Option<(i32, BatchHeader)> = None;
        for (replica, high_watermark, reader) in &mut readers {
            // A batch that was cut is the end, as it is after the last.
            let batch = reader.next().and_then(Result::ok).map(|batch| batch.header);
            let Some(batch) = batch.filter(|batch| batch.last_offset() < *high_watermark) else {
                in_all = false;
                continue;
            };
            let Some((first_replica, first)) = &first else {
                first = Some((*replica, batch));
                continue;
            };
            let (offset, other) = (first.last_offset(), batch.last_offset());
            if offset != other {
                found.differences.push(format!(
                    "partition {topic}-{index}: replica {first_replica}'s offset {offset} doesn't match replica \
                     {replica}'s offset {other}"
                ));
                found.ended = true;
                return Ok(found);
            }
            if first.crc != batch.crc {
                found.differences.push(format!(
                    "partition {topic}-{index} has unmatched checksum at offset {other}; replica {first_replica}'s \
                     checksum {}; replica {replica}'s checksum {}",
                    first.crc, batch.crc
                ));
            }
        }
        if let (Some((_, batch)), true) = (first, in_all) {
            found.verified = batch.next_offset();
        }
    }
    Ok(found)
}

/// Reads the replicas that one broker has.
struct Fetcher {
    id: i32,
    broker: MetadataResponseBroker,
    partitions: Vec<Partition>,
    connection: Option<Connection>,
}

/// One for each broker that has something to verify.
fn fetchers(metadata: &MetadataResponse, verification: &Verification) -> anyhow::Result<Vec<Fetcher>> {
    let mut by_broker: BTreeMap<i32, Vec<Partition>> = BTreeMap::new();
    for (partition, replicas) in &verification.replicas {
        for replica in replicas {
            by_broker.entry(*replica).or_default().push(partition.clone());
        }
    }
    let fetcher = |(id, partitions)| {
        let broker = metadata.brokers.iter().find(|broker| broker.node_id == id).cloned();
        let broker = broker.with_context(|| format!("broker {id} is not available; all must be when this starts"))?;
        Ok(Fetcher { id, broker, partitions, connection: None })
    };
    by_broker.into_iter().map(fetcher).collect()
}

impl Fetcher {
    /// What the broker has from the offsets on; nothing of each if it does not answer.
    fn fetch(
        &mut self,
        offsets: &BTreeMap<Partition, i64>,
        topic_ids: &BTreeMap<String, Uuid>,
        limits: Limits,
    ) -> BTreeMap<Partition, PartitionData> {
        match self.try_fetch(offsets, topic_ids, limits) {
            Ok(answers) => answers,
            Err(_) => {
                self.connection = None;
                std::thread::sleep(BACKOFF);
                let nothing = PartitionData { high_watermark: -1, ..PartitionData::default() };
                self.partitions.iter().map(|partition| (partition.clone(), nothing.clone())).collect()
            }
        }
    }

    fn try_fetch(
        &mut self,
        offsets: &BTreeMap<Partition, i64>,
        topic_ids: &BTreeMap<String, Uuid>,
        limits: Limits,
    ) -> anyhow::Result<BTreeMap<Partition, PartitionData>> {
        if self.connection.is_none() {
            let wait = Duration::from_millis(u64::try_from(limits.max_wait_ms).unwrap_or(0));
            let server = address(&self.broker.host, self.broker.port);
            self.connection = Some(Connection::open_as(&server, TIMEOUT + wait, &Security::default())?);
        }
        let connection = self.connection.as_mut().context("opened above")?;
        let version = connection.version::<FetchRequest>()?;
        let by_state = version >= REPLICA_STATE_FROM;
        let request = FetchRequest {
            replica_id: if by_state { -1 } else { DEBUGGER },
            replica_state: ReplicaState { replica_id: if by_state { DEBUGGER } else { -1 }, replica_epoch: -1 },
            max_wait_ms: limits.max_wait_ms,
            min_bytes: 1,
            topics: wanted(&self.partitions, offsets, topic_ids, limits.fetch_size),
            ..FetchRequest::default()
        };
        let response = connection.exchange(&request, version)?;
        crate::client::check(response.error_code, None)?;
        let mut answers = BTreeMap::new();
        for topic in response.responses {
            let by_id = topic_ids.iter().find(|(_, id)| **id == topic.topic_id && !id.is_nil());
            let name = by_id.map_or(topic.topic, |(name, _)| name.clone());
            for data in topic.partitions {
                answers.insert((name.clone(), data.partition_index), data);
            }
        }
        Ok(answers)
    }
}

fn wanted(
    partitions: &[Partition],
    offsets: &BTreeMap<Partition, i64>,
    topic_ids: &BTreeMap<String, Uuid>,
    fetch_size: i32,
) -> Vec<FetchTopic> {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for place in partitions {
        let (topic, index) = place;
        let partition = FetchPartition {
            partition: *index,
            fetch_offset: offsets.get(place).copied().unwrap_or(0),
            log_start_offset: 0,
            partition_max_bytes: fetch_size,
            ..FetchPartition::default()
        };
        match topics.last_mut().filter(|last| last.topic == *topic) {
            Some(last) => last.partitions.push(partition),
            None => topics.push(FetchTopic {
                topic: topic.clone(),
                topic_id: topic_ids.get(topic).copied().unwrap_or_default(),
                partitions: vec![partition],
            }),
        }
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use common::kafka::batch::{BatchSpec, Record, build};

    /// Batches of so many records each, with values of a letter.
    fn log(base_offset: i64, batches: &[(i64, &'static str)]) -> Vec<u8> {
        let (mut bytes, mut next) = (Vec::new(), base_offset);
        for (count, value) in batches {
            let record =
                |offset| Record { offset, value: Some(Bytes::from_static(value.as_bytes())), ..Record::default() };
            let records: Vec<Record> = (next..next + count).map(record).collect();
            let spec = BatchSpec { base_offset: next, ..BatchSpec::default() };
            bytes.extend_from_slice(&build(&spec, &records).unwrap());
            next += count;
        }
        bytes
    }

    #[test]
    fn replicas_are_compared_up_to_the_high_watermark() {
        let same = log(10, &[(2, "a"), (3, "b"), (1, "c")]);
        let checksum = |bytes: &[u8]| BatchHeader::parse(bytes).unwrap().crc;
        let (a, x) = (log(10, &[(2, "a")]), log(10, &[(2, "x")]));
        let unmatched = format!(
            "partition t-3 has unmatched checksum at offset 11; replica 1's checksum {}; replica 2's checksum {}",
            checksum(&a),
            checksum(&x)
        );
        let moved = "partition t-3: replica 1's offset 11 doesn't match replica 2's offset 12".to_owned();
        let cut = same[..same.len() - 1].to_vec();
        for (name, one, other, expected) in [
            ("the same", (same.clone(), 16), (same.clone(), 16), (16, vec![], false)),
            ("one is behind", (same.clone(), 16), (same.clone(), 15), (15, vec![], false)),
            ("one was cut", (same.clone(), 16), (cut, 16), (15, vec![], false)),
            ("one is away", (same.clone(), 16), (vec![], -1), (10, vec![], false)),
            ("another value", (a.clone(), 12), (x, 12), (12, vec![unmatched], false)),
            ("another offset", (a, 12), (log(10, &[(3, "a")]), 13), (10, vec![moved], true)),
            ("rubbish", (vec![0; 100], 16), (vec![255; 100], 16), (10, vec![], false)),
        ] {
            let answer = |(bytes, high_watermark): (Vec<u8>, i64)| PartitionData {
                high_watermark,
                records: Some(Records::Bytes(Bytes::from(bytes))),
                ..PartitionData::default()
            };
            let answers = BTreeMap::from([(1, answer(one)), (2, answer(other))]);
            let (verified, differences, ended) = expected;
            let found = compare(&("t".to_owned(), 3), &answers, 10).unwrap();
            assert_eq!(found, Comparison { verified, differences, ended }, "{name}");
        }
    }

    #[test]
    fn servers_have_ports() {
        for (servers, valid) in
            [("a:1", true), ("a:1,b:2", true), ("a", false), ("a:1,b", false), ("", false), ("a:x", false)]
        {
            assert_eq!(valid_servers(servers).is_ok(), valid, "{servers}");
        }
    }
}
