//! `kafka-verifiable-share-consumer`: reads a topic as a member of a share group and tells, as JSON, each step: what was read, and
//! what brokers answered to its acknowledgements.

mod arguments;

use crate::argparse::{self, Parsed};
use crate::client::java_text;
use crate::clock;
use crate::cluster::{Cluster, load_settings};
use crate::configs::resources::{self, GROUPS};
use crate::share_client::{Acknowledge, Acknowledged, Delivered, Settings, ShareConsumer};
use crate::signals;
use crate::verifiable_event::{Place, event, list, place_fields, quoted, record_data};
use anyhow::{anyhow, bail};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a wait for records lasts before signals are looked at.
const LOOK_UP: Duration = Duration::from_millis(50);

/// When brokers hear of what was read.
#[derive(Clone, Copy)]
enum Mode {
    /// When they are asked for more.
    Auto,
    /// At once.
    Async,
    /// At once, and their answer is waited for.
    Sync,
}

impl Mode {
    fn named(name: &str) -> anyhow::Result<Mode> {
        Ok(match name.to_uppercase().as_str() {
            "AUTO" => Mode::Auto,
            "ASYNC" => Mode::Async,
            "SYNC" => Mode::Sync,
            other => bail!(
                "java.lang.IllegalArgumentException: No enum constant \
                 org.apache.kafka.tools.VerifiableShareConsumer.AcknowledgementMode.{other}"
            ),
        })
    }
}

/// The tool.
pub(crate) fn verifiable_share_consumer(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let parsed = match argparse::begin(&arguments::PARSER, arguments) {
        Ok(parsed) => parsed,
        Err(code) => return Ok(code),
    };
    let uncaught = |error: anyhow::Error| anyhow!("Exception in thread \"main\" {error:#}");
    let mode = Mode::named(parsed.text("acknowledgement-mode").unwrap_or_default()).map_err(uncaught)?;
    let mut properties = BTreeMap::new();
    if let Some(file) = parsed.text("command-config") {
        match load_settings(file) {
            Ok(settings) => properties = settings,
            // Kafka's tool names the file and no more.
            Err(_) => return Ok(argparse::wrong(&arguments::PARSER, file).show()),
        }
    }
    let group = parsed.text("group-id").unwrap_or_default().to_owned();
    properties.entry("client.id".to_owned()).or_insert_with(|| format!("consumer-{group}-1"));
    properties.insert("group.id".to_owned(), group);
    let topic = parsed.text("topic").unwrap_or_default().to_owned();
    let settings = Settings::new(parsed.text("bootstrap-server").unwrap_or_default(), &properties, &[topic]);
    let cluster =
        settings.cluster().map_err(|error| uncaught(anyhow!("org.apache.kafka.common.KafkaException: {error:#}")))?;
    let signal = signals::noted()?;
    event("startup_complete", &[]);
    if let Err(error) = run(&parsed, mode, (settings, cluster), &signal) {
        eprintln!(
            "[{}] ERROR Error during processing, terminating share consumer process:  \
             (org.apache.kafka.tools.VerifiableShareConsumer)\n{}",
            clock::log_time(),
            java_text(&error)
        );
    }
    event("shutdown_complete", &[]);
    Ok(signals::ended_by(&signal))
}

fn run(
    parsed: &Parsed,
    mode: Mode,
    (settings, cluster): (Settings, Cluster),
    signal: &AtomicUsize,
) -> anyhow::Result<()> {
    let strategy = parsed.text("offset-reset-strategy").unwrap_or_default().to_lowercase();
    if !strategy.is_empty() {
        set_strategy(cluster, &settings.group, &strategy)?;
    }
    if settings.topics.iter().any(|topic| topic.trim().is_empty()) {
        bail!(
            "java.lang.IllegalArgumentException: Topic collection to subscribe to cannot contain null or empty topic"
        );
    }
    let most = parsed.number::<i64>("max-messages").filter(|most| *most >= 0);
    let mut reader = Reader { mode, verbose: parsed.has("verbose"), most: most.unwrap_or(i64::MAX), acknowledged: 0 };
    let mut consumer = ShareConsumer::join(settings)?;
    let outcome = reader.read(&mut consumer, signal);
    reader.tell_acknowledged(consumer.leave());
    outcome
}

/// Where the group begins that has no offset yet.
fn set_strategy(mut cluster: Cluster, group: &str, strategy: &str) -> anyhow::Result<()> {
    let kind = match strategy.split_once(':') {
        None if matches!(strategy, "earliest" | "latest") => strategy,
        // Kafka's tool leaves the duration out as well, and brokers refuse it.
        Some((kind @ "by_duration", _)) => kind,
        _ => bail!("java.lang.IllegalArgumentException: Unknown auto offset reset strategy: {strategy}"),
    };
    let change = ("share.auto.offset.reset".to_owned(), Some(kind.to_owned()));
    resources::change(&mut cluster, &GROUPS, group, vec![change])?;
    event("offset_reset_strategy_set", &[("offsetResetStrategy", quoted(kind))]);
    Ok(())
}

struct Reader {
    mode: Mode,
    /// Each record is told.
    verbose: bool,
    /// Ends when so many acknowledgements count.
    most: i64,
    acknowledged: i64,
}

impl Reader {
    fn read(&mut self, consumer: &mut ShareConsumer, signal: &AtomicUsize) -> anyhow::Result<()> {
        while self.acknowledged < self.most && signal.load(Ordering::Relaxed) == 0 {
            let delivered = consumer.poll(LOOK_UP);
            self.tell_acknowledged(consumer.acknowledged());
            let delivered = delivered?;
            if delivered.is_empty() {
                continue;
            }
            self.tell_delivered(&delivered);
            for one in &delivered {
                consumer.acknowledge(one, Acknowledge::Accept);
            }
            match self.mode {
                Mode::Auto => {}
                Mode::Async => consumer.commit(),
                Mode::Sync => {
                    let outcome = consumer.commit_and_wait();
                    self.tell_acknowledged(consumer.acknowledged());
                    outcome?;
                }
            }
        }
        Ok(())
    }

    fn tell_delivered(&self, delivered: &[Delivered]) {
        let mut summaries: BTreeMap<Place, Vec<i64>> = BTreeMap::new();
        for one in delivered {
            let place = (one.topic.to_string(), one.place.1);
            let (key, value) = (one.record.key.as_deref(), one.record.value.as_deref());
            if self.verbose {
                record_data(&place, one.record.offset, key, value);
            }
            summaries.entry(place).or_default().push(one.record.offset);
        }
        let summaries = list(summaries.iter().map(|(place, offsets)| summary(place, offsets)));
        event("records_consumed", &[("count", delivered.len().to_string()), ("partitions", summaries)]);
    }

    fn tell_acknowledged(&mut self, acknowledged: Vec<Acknowledged>) {
        for one in acknowledged {
            let place = (one.topic.to_string(), one.partition);
            let partitions = list(std::iter::once(summary(&place, &one.offsets)));
            let mut fields = vec![("count", one.offsets.len().to_string()), ("partitions", partitions)];
            match &one.error {
                Some(error) => fields.push(("error", quoted(error))),
                None => self.acknowledged += i64::try_from(one.offsets.len()).unwrap_or(0),
            }
            fields.push(("success", one.error.is_none().to_string()));
            event("offsets_acknowledged", &fields);
        }
    }
}

fn summary(place: &Place, offsets: &[i64]) -> String {
    let shown = list(offsets.iter().map(i64::to_string));
    format!("{{{},\"count\":{},\"offsets\":{shown}}}", place_fields(place), offsets.len())
}
