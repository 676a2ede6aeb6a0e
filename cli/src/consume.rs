//! `kafka-console-consumer`: shows the records of topics on standard output. librdkafka fetches; how a record looks is
//! `formatter`'s affair.

pub(crate) mod formatter;
mod specs;

use crate::client::Connection;
use crate::client_settings::{self, Complaints, bootstrap_servers, consumer_config, java_text, warn};
use crate::clock;
use crate::cluster::{load_settings, resolvable};
use crate::options::{self, Ended, Options, key_values};
use crate::security::Security;
use anyhow::Context as _;
use common::kafka::error::ErrorCode;
use common::kafka::messages::{MetadataRequest, MetadataRequestTopic};
use formatter::Formatter;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How much output is gathered before it is written, bytes; it is also written when no record is waiting.
const OUTPUT: usize = 64 << 10;
/// How long a wait for records lasts before signals are looked at.
const LOOK_UP: Duration = Duration::from_millis(50);
/// How long a broker may take to answer before the consumer starts without.
const ASK: Duration = Duration::from_secs(2);
/// A topic that is created when it is asked for is there after this time, or none is created.
const CREATED: Duration = Duration::from_millis(500);
/// How long a question about the start of a partition may take.
const SETTLE: Duration = Duration::from_secs(5);
/// Topics of Kafka's own, which a regular expression does not mean.
const INTERNAL: &str = "^(__consumer_offsets|__transaction_state)$";

/// Where a consumer in a group of its own starts, and where it was.
struct Places {
    complaints: Complaints,
    /// Nothing is committed in a group of our own, so its partitions start here without asking; `None` in others' groups.
    start: Option<Offset>,
    /// Positions in partitions that were taken away; they go on from there if they come back.
    left: Mutex<BTreeMap<(String, i32), Offset>>,
    /// Where partitions start of which a group knows nothing; `None` if positions are not committed.
    reset: Option<Offset>,
    /// Where such partitions did start. Java's consumer commits that, too; librdkafka only what was read.
    started: Mutex<BTreeMap<(String, i32), i64>>,
}

impl Places {
    /// Finds where the partitions of a group start that have no committed offset. What cannot be found out is left to
    /// librdkafka.
    fn settle_starts(&self, consumer: &BaseConsumer<Places>, partitions: &TopicPartitionList) {
        let (Some(reset), Ok(mut started)) = (self.reset, self.started.lock()) else { return };
        let Ok(committed) = consumer.committed_offsets(partitions.clone(), SETTLE) else { return };
        for mut partition in partitions.elements() {
            let (topic, index) = (partition.topic().to_owned(), partition.partition());
            let known = committed.find_partition(&topic, index).map(|found| found.offset());
            if known != Some(Offset::Invalid) {
                continue;
            }
            let Ok((low, high)) = consumer.fetch_watermarks(&topic, index, SETTLE) else { return };
            let start = if reset == Offset::Beginning { low } else { high };
            if partition.set_offset(Offset::Offset(start)).is_ok() {
                started.insert((topic, index), start);
            }
        }
    }

    /// Commits where nothing was read, as Java's consumer; where something was, librdkafka does.
    fn commit_starts(&self, consumer: &BaseConsumer<Places>) {
        let (Some(_), Ok(mut started)) = (self.reset, self.started.lock()) else { return };
        let Ok(positions) = consumer.position() else { return };
        let mut unread = TopicPartitionList::new();
        for partition in positions.elements().iter().filter(|partition| partition.offset() == Offset::Invalid) {
            if let Some(start) = started.remove(&(partition.topic().to_owned(), partition.partition())) {
                // Only an offset below zero is refused.
                let _ = unread.add_partition_offset(partition.topic(), partition.partition(), Offset::Offset(start));
            }
        }
        if unread.count() > 0
            && let Err(error) = consumer.commit(&unread, CommitMode::Sync)
        {
            self.complaints.say(&format!("offset commit failed: {error}"));
        }
    }
}

impl ClientContext for Places {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.complaints.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.error(error, reason);
    }
}

impl ConsumerContext for Places {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Places>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) => self.settle_starts(consumer, partitions),
            Rebalance::Revoke(_) => self.commit_starts(consumer),
            Rebalance::Error(_) => {}
        }
        let (Some(start), Ok(mut left)) = (self.start, self.left.lock()) else { return };
        match rebalance {
            Rebalance::Assign(partitions) => {
                for mut partition in partitions.elements() {
                    let place = left.remove(&(partition.topic().to_owned(), partition.partition()));
                    if let Err(error) = partition.set_offset(place.unwrap_or(start)) {
                        self.complaints.error(error, "setting where a partition starts");
                    }
                }
            }
            Rebalance::Revoke(_) => {
                for partition in consumer.position().iter().flat_map(TopicPartitionList::elements) {
                    if let place @ Offset::Offset(_) = partition.offset() {
                        left.insert((partition.topic().to_owned(), partition.partition()), place);
                    }
                }
            }
            Rebalance::Error(_) => {}
        }
    }
}

/// The tool.
pub(crate) fn consume(arguments: &[String]) -> anyhow::Result<ExitCode> {
    options::exit(run(arguments))
}

/// What to read, from where.
enum Source {
    Topic(String),
    Matching(String),
    Partition(String, i32, Offset),
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = Options::or_usage(specs::SPECS, arguments)?;
    options.help_or_version(
        arguments,
        "This tool helps to read data from Kafka topics and outputs it to standard output.",
    )?;
    check_options(&options)?;
    let mut settings = match options.value("consumer.config")? {
        Some(file) => load_settings(file)?,
        None => BTreeMap::new(),
    };
    let properties = key_values(&options.values("consumer-property"));
    let group = group(&options, &settings, &properties)?;
    settings.extend(properties);
    reset(&options, &mut settings)?;
    let source = source(&options)?;
    let timeout = options.number::<i64>("timeout-ms")?.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
    let formatter = formatter(&options)?;
    if options.has("isolation-level") || !settings.contains_key("isolation.level") {
        let level = options.value("isolation-level")?.unwrap_or_default();
        settings.insert("isolation.level".to_owned(), level.to_owned());
    }
    let names = ["bootstrap-server", "broker-list"];
    let servers = bootstrap_servers(&options, &names)?.unwrap_or_default();
    let limit = options.number::<i64>("max-messages")?.and_then(|count| u64::try_from(count).ok());
    let reader = connect(&servers, group, &settings, &source)
        .map(|consumer| Reader {
            consumer,
            formatter,
            skip_errors: options.has("skip-message-on-error"),
            limit,
            timeout,
            signal: Arc::new(AtomicUsize::new(0)),
            out: Vec::with_capacity(OUTPUT * 2),
            count: 0,
        })
        .map_err(|error| match error.downcast::<Ended>() {
            Ok(ended) => ended,
            Err(error) => {
                unknown_error(&error);
                Ended(1)
            }
        })?;
    let ended = reader.run()?;
    if options.has("enable-systest-events") {
        println!("shutdown_complete");
    }
    Ok(ended)
}

fn check_options(options: &Options) -> anyhow::Result<()> {
    let wanted = usize::from(options.has("topic")) + usize::from(options.has("include") || options.has("whitelist"));
    if wanted != 1 {
        let more = match options.has("whitelist") {
            true => "--whitelist is DEPRECATED use --include instead; ignored if --include specified.",
            false => "",
        };
        return Err(options.usage(&format!("Exactly one of --include/--topic is required. {more}")).into());
    }
    if options.has("partition") {
        if !options.has("topic") {
            return Err(options.usage("The topic is required when partition is specified.").into());
        }
        if options.has("from-beginning") && options.has("offset") {
            return Err(options.usage("Options from-beginning and offset cannot be specified together.").into());
        }
    } else if options.has("offset") {
        return Err(options.usage("The partition is required when offset is specified.").into());
    }
    if !options.has("broker-list") && !options.has("zookeeper") {
        options.require(&["bootstrap-server"])?;
    }
    if options.has("producer-property") {
        warn("--producer-property means something to kafka-console-producer only; a consumer ignores it");
    }
    Ok(())
}

/// The group asked for; `None`: one of our own that leaves no offsets behind.
fn group(
    options: &Options,
    file: &BTreeMap<String, String>,
    properties: &BTreeMap<String, String>,
) -> anyhow::Result<Option<String>> {
    let group = one_group(options, [file, properties], "--consumer.config")?;
    if group.is_some() && options.has("partition") {
        return Err(options.usage("Options group and partition cannot be specified together.").into());
    }
    Ok(group)
}

/// The group that `--group` and the settings name, which must be one; `file_option` is how the tool calls its file.
pub(crate) fn one_group(
    options: &Options,
    settings: [&BTreeMap<String, String>; 2],
    file_option: &str,
) -> anyhow::Result<Option<String>> {
    let of_settings = settings.into_iter().filter_map(|settings| settings.get("group.id").map(String::as_str));
    let groups: BTreeSet<&str> = options.value("group")?.into_iter().chain(of_settings).collect();
    if groups.len() > 1 {
        let list: Vec<String> = groups.iter().map(|group| format!("'{group}'")).collect();
        let message = format!(
            "The group ids provided in different places (directly using '--group', via '--consumer-property', or via \
             '{file_option}') do not match. Detected group ids: {}",
            list.join(", ")
        );
        return Err(options.usage(&message).into());
    }
    Ok(groups.first().map(|group| (*group).to_owned()))
}

fn reset(options: &Options, settings: &mut BTreeMap<String, String>) -> anyhow::Result<()> {
    let from_beginning = options.has("from-beginning");
    match settings.get("auto.offset.reset") {
        Some(given) if from_beginning && given != "earliest" => {
            eprintln!(
                "Can't simultaneously specify --from-beginning and 'auto.offset.reset={given}', please remove one option"
            );
            return Err(Ended(1).into());
        }
        Some(_) => {}
        None => {
            let reset = if from_beginning { "earliest" } else { "latest" };
            settings.insert("auto.offset.reset".to_owned(), reset.to_owned());
        }
    }
    Ok(())
}

fn source(options: &Options) -> anyhow::Result<Source> {
    let Some(topic) = options.value("topic")? else {
        let include = if options.has("include") { options.value("include")? } else { options.value("whitelist")? };
        return Ok(Source::Matching(include.unwrap_or_default().to_owned()));
    };
    let Some(partition) = options.number("partition")? else { return Ok(Source::Topic(topic.to_owned())) };
    let offset = match options.value("offset")?.unwrap_or_default() {
        _ if options.has("from-beginning") => Offset::Beginning,
        text if text.eq_ignore_ascii_case("earliest") => Offset::Beginning,
        text if text.eq_ignore_ascii_case("latest") => Offset::End,
        text => match text.parse::<i64>() {
            Ok(offset) if offset >= 0 => Offset::Offset(offset),
            _ => {
                let message = format!(
                    "The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', or a \
                     non-negative long."
                );
                return Err(options.usage(&message).into());
            }
        },
    };
    Ok(Source::Partition(topic.to_owned(), partition, offset))
}

fn formatter(options: &Options) -> anyhow::Result<Formatter> {
    let mut properties = match options.value("formatter-config")? {
        Some(file) => load_settings(file)?,
        None => BTreeMap::new(),
    };
    for (option, property) in [("key-deserializer", "key.deserializer"), ("value-deserializer", "value.deserializer")] {
        if let Some(class) = options.value(option)?.filter(|class| !class.is_empty()) {
            properties.insert(property.to_owned(), class.to_owned());
        }
    }
    properties.extend(key_values(&options.values("property")));
    let class = options.value("formatter")?.unwrap_or_default();
    Formatter::new(class, &properties).map_err(|error| options.usage(&error.to_string()).into())
}

fn connect(
    servers: &str,
    group: Option<String>,
    settings: &BTreeMap<String, String>,
    source: &Source,
) -> anyhow::Result<BaseConsumer<Places>> {
    client_settings::check(settings)?;
    let servers = resolvable(servers)
        .context("org.apache.kafka.common.KafkaException: Failed to construct kafka consumer")?
        .join(",");
    let (mut config, _) = consumer_config("console-consumer", &servers, settings)?;
    config.set("topic.blacklist", INTERNAL);
    if group.is_none() && !settings.contains_key("enable.auto.commit") {
        config.set("enable.auto.commit", "false");
    }
    let reset = match settings.get("auto.offset.reset").map(String::as_str) {
        Some("earliest") => Some(Offset::Beginning),
        Some("latest") => Some(Offset::End),
        _ => None,
    };
    let commits = settings.get("enable.auto.commit").is_none_or(|value| !value.eq_ignore_ascii_case("false"));
    let (start, reset) = if group.is_none() { (reset, None) } else { (None, reset.filter(|_| commits)) };
    let group = group.unwrap_or_else(|| format!("console-consumer-{}", fastrand::u32(0..100_000)));
    config.set("group.id", group);
    let complaints = Complaints::new("Consumer clientId=console-consumer", settings);
    let places = Places { complaints, start, left: Mutex::default(), reset, started: Mutex::default() };
    let consumer: BaseConsumer<Places> = config.create_with_context(places)?;
    if let Source::Topic(topic) | Source::Partition(topic, ..) = source
        && have_created(topic, &servers, settings) == Some(ErrorCode::InvalidTopicException)
    {
        terminate(&format!("org.apache.kafka.common.errors.InvalidTopicException: Invalid topics: [{topic}]"));
        eprintln!("Processed a total of 0 messages");
        return Err(Ended(0).into());
    }
    match source {
        Source::Topic(topic) => consumer.subscribe(&[topic])?,
        Source::Matching(pattern) => consumer.subscribe(&[&format!("^({pattern})$")])?,
        Source::Partition(topic, partition, offset) => {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic, *partition, *offset)?;
            consumer.assign(&list)?;
        }
    }
    Ok(consumer)
}

/// Has a topic created that is not there yet, as Java's consumer does by asking for it. librdkafka's does not when it
/// subscribes, and would read nothing that was written before it noticed the topic. What goes wrong is left to librdkafka,
/// which will meet and tell the same. Gives what the broker says of the topic.
fn have_created(topic: &str, servers: &str, settings: &BTreeMap<String, String>) -> Option<ErrorCode> {
    if settings.get("allow.auto.create.topics").is_some_and(|value| value.eq_ignore_ascii_case("false")) {
        return None;
    }
    let security = Security::of(settings).ok()?;
    let mut open = servers.split(',').map(|server| Connection::open_as(server, ASK, &security));
    let mut connection = open.find_map(Result::ok)?;
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { name: Some(topic.to_owned()), ..Default::default() }]),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    let deadline = Instant::now() + CREATED;
    loop {
        let response = connection.call(&request).ok()?;
        let found = response.topics.first();
        let code = found.and_then(|topic| ErrorCode::from_code(topic.error_code));
        let led = found.is_some_and(|topic| topic.partitions.iter().all(|partition| partition.leader_id >= 0));
        let is_coming = matches!(code, Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::LeaderNotAvailable))
            || (code == Some(ErrorCode::None) && !led);
        if !is_coming || Instant::now() >= deadline {
            return code;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct Reader {
    consumer: BaseConsumer<Places>,
    formatter: Formatter,
    skip_errors: bool,
    limit: Option<u64>,
    /// Ends the tool when no record came for so long.
    timeout: Option<Duration>,
    /// The signal that asks to end, or 0.
    signal: Arc<AtomicUsize>,
    out: Vec<u8>,
    count: u64,
}

impl Reader {
    fn run(mut self) -> anyhow::Result<ExitCode> {
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
            let number = usize::try_from(signal).expect("signals have small positive numbers");
            signal_hook::flag::register_usize(signal, self.signal.clone(), number).context("listening for signals")?;
        }
        // A consumer whose reader is gone leaves its group and tells how many it read, as Kafka's.
        crate::broken_pipe::is_survived();
        let outcome = self.read();
        let flushed = self.flush();
        self.close();
        eprintln!("Processed a total of {} messages", self.count);
        let signal = self.signal.load(Ordering::Relaxed);
        std::mem::forget(self.consumer);
        match outcome.and(flushed.map(|_| ())) {
            Err(error) => {
                unknown_error(&error);
                Ok(ExitCode::FAILURE)
            }
            Ok(()) if signal > 0 => Ok(ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))),
            Ok(()) => Ok(ExitCode::SUCCESS),
        }
    }

    /// Shows records until there is a reason to end.
    fn read(&mut self) -> anyhow::Result<()> {
        let mut waiting_since = Instant::now();
        while self.limit.is_none_or(|limit| self.count < limit) {
            if self.signal.load(Ordering::Relaxed) > 0 {
                return Ok(());
            }
            let ready = match self.consumer.poll(Duration::ZERO) {
                None => {
                    if !self.flush()? {
                        return Ok(());
                    }
                    self.consumer.poll(self.patience(waiting_since))
                }
                ready => ready,
            };
            match ready {
                Some(Ok(message)) => {
                    self.count += 1;
                    if let Err(error) = self.formatter.write(&message, &mut self.out) {
                        if !self.skip_errors {
                            return Err(error);
                        }
                        let now = clock::log_time();
                        eprintln!("[{now}] ERROR Error processing message, skipping this message: {error:#}");
                    }
                    drop(message);
                    if self.out.len() >= OUTPUT && !self.flush()? {
                        return Ok(());
                    }
                    waiting_since = Instant::now();
                }
                Some(Err(error)) if !is_passing(&error) => {
                    terminate(&java_text(&error));
                    return Ok(());
                }
                _ => {
                    if self.timeout.is_some_and(|timeout| waiting_since.elapsed() >= timeout) {
                        terminate("org.apache.kafka.common.errors.TimeoutException");
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn patience(&self, waiting_since: Instant) -> Duration {
        let left = self.timeout.map(|timeout| timeout.saturating_sub(waiting_since.elapsed()));
        left.map_or(LOOK_UP, |left| left.min(LOOK_UP))
    }

    /// Writes what is gathered; false if nobody reads it any more.
    fn flush(&mut self) -> anyhow::Result<bool> {
        if self.out.is_empty() {
            return Ok(true);
        }
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(&self.out).and_then(|()| stdout.flush());
        self.out.clear();
        if written.is_err() {
            eprintln!("Unable to write to standard out, closing consumer.");
        }
        Ok(written.is_ok())
    }

    /// Leaves the group and commits what is to be committed; waits no longer than for that.
    fn close(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        // Records that wait to be read must not be taken for read, and their offsets committed, by the polls below.
        if let Ok(assigned) = self.consumer.assignment() {
            // What is not assigned any more has no records waiting.
            let _ = self.consumer.pause(&assigned);
        }
        if self.consumer.close_queue().is_ok() {
            while !self.consumer.closed() && Instant::now() < deadline {
                self.consumer.poll(Duration::from_millis(2));
            }
        }
    }
}

fn unknown_error(error: &anyhow::Error) {
    let now = clock::log_time();
    eprintln!(
        "[{now}] ERROR Unknown error when running consumer:  (org.apache.kafka.tools.consumer.ConsoleConsumer)\n{error:#}"
    );
}

fn terminate(reason: &str) {
    let now = clock::log_time();
    eprintln!(
        "[{now}] ERROR Error processing message, terminating consumer process:  \
         (org.apache.kafka.tools.consumer.ConsoleConsumer)\n{reason}"
    );
}

/// Does librdkafka go on by itself after this error?
fn is_passing(error: &KafkaError) -> bool {
    !matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::InvalidTopic
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::Fatal
                | RDKafkaErrorCode::InvalidGroupId
        )
    )
}
