//! `kafka-share-consumer-perf-test`: reads so many records of a topic with the members of a share group as fast as it goes, and
//! says how fast.

mod specs;

use crate::client::java_text;
use crate::clock;
use crate::cluster::load_settings;
use crate::consumer_perf::progress::Progress;
use crate::consumer_perf::{Limits, reporting_interval_ms};
use crate::date_format::DateFormat;
use crate::options::{self, Options, key_values};
use crate::share_client::{Acknowledge, Settings, ShareConsumer};
use anyhow::anyhow;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

const CLIENT_ID: &str = "perf-share-consumer-client";
const POLL: Duration = Duration::from_millis(100);
const HEADER: &str =
    "start.time, end.time, data.consumed.in.MB, MB.sec, nMsg.sec, data.consumed.in.nMsg, fetch.time.ms";
const METRICS: &str = "consumer-share-fetch-manager-metrics";

/// The tool.
pub(crate) fn share_consumer_perf(arguments: &[String]) -> anyhow::Result<ExitCode> {
    options::exit(run(arguments))
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = Options::or_usage(specs::SPECS, arguments)?;
    options.help_or_version(arguments, "This tool is used to verify the share consumer performance.")?;
    options.require(&["topic", "bootstrap-server"])?;
    if options.has("messages") == options.has("num-records") {
        let problem = "Exactly one of the following arguments is required: [messages], [num-records]";
        return Err(options.usage(problem).into());
    }
    options.exclude("consumer.config", &["command-config"])?;
    if options.has("messages") {
        println!("Warning: --messages is deprecated. Use --num-records instead.");
    }
    if options.has("consumer.config") {
        println!("Warning: --consumer.config is deprecated. Use --command-config instead.");
    }
    if !options.has("hide-header") {
        println!("{HEADER}");
    }
    let properties = properties(&options)?;
    let number = if options.has("messages") { "messages" } else { "num-records" };
    let limits = Limits {
        wanted: options.number(number)?.unwrap_or(0),
        timeout_ms: options.number("timeout")?.unwrap_or(10_000),
        detailed: options.has("show-detailed-stats"),
    };
    let every_ms = reporting_interval_ms(&options)?;
    let format = DateFormat::new(options.value("date-format")?.unwrap_or_default())
        .map_err(|error| anyhow!("java.lang.IllegalArgumentException: {error}"))?;
    let mut consumers = join(&options, &properties)?;
    let start_ms = clock::now_ms();
    let each = read(&mut consumers, &limits, Progress::new(start_ms, every_ms), &format)?;
    let end_ms = clock::now_ms();
    if options.has("show-consumer-stats") {
        for (index, ((client_id, _), progress)) in consumers.iter().zip(&each).enumerate() {
            println!(
                "Share consumer {} having client id {client_id} consumption metrics- {}",
                index + 1,
                progress.share_total(end_ms, &format)
            );
        }
    }
    let all = Progress::together(&each, start_ms);
    if all.records < limits.wanted {
        println!(
            "WARNING: Exiting before consuming the expected number of records: timeout ({} ms) exceeded. You can use the \
             --timeout option to increase the timeout.",
            limits.timeout_ms
        );
    }
    println!("{}", all.share_total(end_ms, &format));
    for ((client_id, consumer), progress) in consumers.into_iter().zip(&each) {
        if options.has("print-metrics") {
            print!("{}", progress.metrics(METRICS, &client_id, end_ms));
        }
        consumer.leave();
    }
    Ok(ExitCode::SUCCESS)
}

fn properties(options: &Options) -> anyhow::Result<BTreeMap<String, String>> {
    let file = if options.has("consumer.config") { "consumer.config" } else { "command-config" };
    let mut properties = match options.value(file)? {
        // Kafka's tool names the file and no more.
        Some(file) => load_settings(file).map_err(|_| anyhow!("{file}"))?,
        None => BTreeMap::new(),
    };
    properties.extend(key_values(&options.values("command-property")));
    properties.entry("client.id".to_owned()).or_insert_with(|| CLIENT_ID.to_owned());
    let fetch_size: i32 = options.number("fetch-size")?.unwrap_or(0);
    // Taken for the sake of scripts; the system finds a size that fits by itself.
    options.number::<i32>("socket-buffer-size")?;
    properties.extend([
        ("group.id".to_owned(), options.value("group")?.unwrap_or_default().to_owned()),
        ("fetch.max.bytes".to_owned(), fetch_size.to_string()),
    ]);
    Ok(properties)
}

/// As many members as are wanted, each with its client id.
fn join(options: &Options, properties: &BTreeMap<String, String>) -> anyhow::Result<Vec<(String, ShareConsumer)>> {
    let threads = options.number::<u16>("threads")?.filter(|threads| *threads > 0);
    let threads = threads.ok_or_else(|| anyhow!("--threads must be at least 1"))?;
    let servers = options.value("bootstrap-server")?.unwrap_or_default();
    let topic = [options.value("topic")?.unwrap_or_default().to_owned()];
    let join_one = |number: u16| {
        let mut settings = Settings::new(servers, properties, &topic);
        if threads > 1 {
            settings.client_id = format!("{}-{number}", settings.client_id);
        }
        Ok((settings.client_id.clone(), ShareConsumer::join(settings)?))
    };
    (1..=threads).map(join_one).collect()
}

/// Reads with all members at once, until they have enough together. Gives what each has read.
fn read(
    consumers: &mut [(String, ShareConsumer)],
    limits: &Limits,
    begin: Progress,
    format: &DateFormat,
) -> anyhow::Result<Vec<Progress>> {
    let total = AtomicI64::new(0);
    std::thread::scope(|scope| {
        let readers: Vec<_> = consumers
            .iter_mut()
            .enumerate()
            .map(|(index, (_, consumer))| {
                let reader = Reader { total: &total, limits, number: index + 1, format };
                scope.spawn(move || reader.read(consumer, begin))
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().map_err(|_| anyhow!("a reader panicked"))?).collect()
    })
}

/// What reads with one of the members.
struct Reader<'a> {
    /// What all have read together.
    total: &'a AtomicI64,
    limits: &'a Limits,
    /// From 1 on.
    number: usize,
    format: &'a DateFormat,
}

impl Reader<'_> {
    fn read(&self, consumer: &mut ShareConsumer, mut progress: Progress) -> anyhow::Result<Progress> {
        let mut now_ms = clock::now_ms();
        let mut last_ms = now_ms;
        while self.total.load(Ordering::Relaxed) < self.limits.wanted && now_ms - last_ms <= self.limits.timeout_ms {
            let delivered = consumer.poll(POLL).map_err(|error| anyhow!(java_text(&error)))?;
            now_ms = clock::now_ms();
            if !delivered.is_empty() {
                last_ms = now_ms;
            }
            self.total.fetch_add(i64::try_from(delivered.len()).unwrap_or(i64::MAX), Ordering::Relaxed);
            for one in &delivered {
                let length = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
                if progress.add(length(&one.record.key) + length(&one.record.value), now_ms) {
                    if self.limits.detailed {
                        println!("{}", progress.share_line(now_ms, self.number, self.format));
                    }
                    progress.begin_round(now_ms);
                }
                consumer.acknowledge(one, Acknowledge::Accept);
            }
        }
        Ok(progress)
    }
}
