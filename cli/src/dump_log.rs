//! `kafka-dump-log`: what the files of a log say, and whether its indexes fit it. Reads with the broker's own readers;
//! changes nothing, so that a broker may be running.

mod decoder;
mod group_json;
mod index;
mod segment;
mod specs;

use crate::options::{self, Options};
use anyhow::{Context as _, anyhow};
use broker::log::entries::txn_index;
use broker::log::epochs;
use broker::log::producers::{ProducerEntry, decode_snapshot};
use decoder::Decoder;
use index::Findings;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "This tool helps to parse a log file and dump its contents to the console, useful for debugging a \
                     seemingly corrupt log segment.";
/// The one file of a partition's directory without an ending. Kafka's tool does not know it.
const EPOCHS: &str = "leader-epoch-checkpoint";

/// The tool.
pub(crate) fn dump_log(arguments: &[String]) -> anyhow::Result<ExitCode> {
    options::exit(run(arguments))
}

/// What is asked for.
struct Wanted {
    deep: bool,
    contents: bool,
    skip_metadata: bool,
    sanity_only: bool,
    verify_only: bool,
    max_message_bytes: u64,
    max_bytes: u64,
    decoder: Decoder,
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = Options::parse(specs::SPECS, arguments).map_err(|error| anyhow!(error.uncaught()))?;
    options.help_or_version(arguments, USAGE)?;
    options.require(&["files"])?;
    let uncaught = |error: options::OptionError| anyhow!(error.uncaught());
    let size = |name: &str| -> anyhow::Result<u64> {
        let size: i32 = options.number(name).map_err(uncaught)?.unwrap_or(i32::MAX);
        Ok(u64::try_from(size).unwrap_or(0))
    };
    let decoders = ["offsets-decoder", "transaction-log-decoder", "value-decoder-class", "key-decoder-class"]
        .map(|name| options.has(name));
    for name in ["cluster-metadata-decoder", "remote-log-metadata-decoder"] {
        if options.has(name) {
            return Err(anyhow!("--{name}: these brokers write no such records"));
        }
    }
    let contents = options.has("print-data-log") || decoders.contains(&true);
    let wanted = Wanted {
        deep: options.has("deep-iteration") || contents,
        contents,
        skip_metadata: options.has("skip-record-metadata"),
        sanity_only: options.has("index-sanity-check"),
        verify_only: options.has("verify-index-only"),
        max_message_bytes: size("max-message-size")?,
        max_bytes: size("max-bytes")?,
        decoder: Decoder::of(&options)?,
    };
    let files = options.value("files").map_err(uncaught)?.unwrap_or_default();
    let mut findings = Findings::default();
    for file in files.trim_end_matches(',').split(',') {
        println!("Dumping {file}");
        dump(file, &wanted, &mut findings).map_err(|error| anyhow!("Exception in thread \"main\" {error:#}"))?;
    }
    findings.print();
    Ok(ExitCode::SUCCESS)
}

fn dump(file: &str, wanted: &Wanted, findings: &mut Findings) -> anyhow::Result<()> {
    let path = Path::new(file);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name == EPOCHS {
        return print_epochs(file);
    }
    let Some((_, ending)) = name.rsplit_once('.') else {
        let length = name.len();
        return Err(anyhow!("java.lang.StringIndexOutOfBoundsException: begin -1, end {length}, length {length}"));
    };
    match ending {
        "log" => segment::print(file, base_offset(name)?, wanted, findings),
        "index" => index::print_offsets(file, base_offset(name)?, wanted, findings),
        "timeindex" => index::print_times(file, base_offset(name)?, wanted, findings),
        "snapshot" => print_producers(file),
        "txnindex" => print_aborted(file, name),
        _ => {
            eprintln!("Ignoring unknown file {file}");
            Ok(())
        }
    }
}

/// The offset in a file's name.
fn base_offset(name: &str) -> anyhow::Result<i64> {
    let digits = name.split('.').next().unwrap_or_default();
    digits.parse().map_err(|_| anyhow!("java.lang.NumberFormatException: For input string: \"{digits}\""))
}

/// All bytes of a file, which is an index or a snapshot and therefore small.
fn read(file: &str) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => anyhow!("java.nio.file.NoSuchFileException: {file}"),
        _ => anyhow!("java.io.IOException: {file}: {error}"),
    })
}

fn print_epochs(file: &str) -> anyhow::Result<()> {
    let text = String::from_utf8(read(file)?).context("java.io.IOException: the file is no text")?;
    for line in text.lines().skip(2) {
        let entry = epochs::parse_line(line)
            .with_context(|| format!("java.io.IOException: line `{line}` is not `epoch offset`"))?;
        println!("epoch: {} startOffset: {}", entry.epoch, entry.start_offset);
    }
    Ok(())
}

fn print_producers(file: &str) -> anyhow::Result<()> {
    match decode_snapshot(&read(file)?) {
        Ok(entries) => entries.iter().for_each(|entry| println!("{}", producer(entry))),
        Err(problem) => eprintln!("Snapshot {file} cannot be used: {problem}"),
    }
    Ok(())
}

fn producer(entry: &ProducerEntry) -> String {
    let first_offset = optional(entry.txn_first_offset);
    let mut line = format!(
        "producerId: {} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {first_offset} lastTimestamp: {} ",
        entry.producer_id, entry.epoch, entry.coordinator_epoch, entry.last_timestamp
    );
    if let Some(batch) = entry.batches().first() {
        line += &format!(
            "firstSequence: {} lastSequence: {} lastOffset: {} offsetDelta: {} timestamp: {}",
            batch.first_sequence(),
            batch.last_sequence,
            batch.last_offset,
            batch.offset_delta,
            batch.timestamp
        );
    }
    line
}

/// As Java writes a number that may be missing.
fn optional(number: Option<i64>) -> String {
    number.map_or("OptionalLong.empty".to_owned(), |number| format!("OptionalLong[{number}]"))
}

fn print_aborted(file: &str, name: &str) -> anyhow::Result<()> {
    base_offset(name)?;
    for txn in txn_index(&read(file)?) {
        let txn = txn.with_context(|| {
            format!("org.apache.kafka.common.KafkaException: Unexpected aborted transaction version in transaction index {file}")
        })?;
        println!(
            "version: 0 producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
            txn.producer_id, txn.first_offset, txn.last_offset, txn.last_stable_offset
        );
    }
    Ok(())
}
