//! `kafka-server-start` and `zookeeper-server-start`: the broker and the coordinator under the names of the scripts that
//! start Kafka and ZooKeeper. Become the server; start nothing else.

use crate::up::process::sibling;
use anyhow::Context as _;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

/// `kafka-server-start [-daemon] server.properties [--override property=value]*`.
pub(crate) fn kafka(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let usage = format!("USAGE: {} [-daemon] server.properties [--override property=value]*", called());
    if let Some(code) = help_or_version(&usage, arguments) {
        return Ok(code);
    }
    become_server("broker", "kafkaServer", arguments)
}

/// `zookeeper-server-start [-daemon] zookeeper.properties`.
pub(crate) fn zookeeper(arguments: &[String]) -> anyhow::Result<ExitCode> {
    if let Some(code) = help_or_version(&format!("USAGE: {} [-daemon] zookeeper.properties", called()), arguments) {
        return Ok(code);
    }
    become_server("coordinator", "zookeeper", arguments)
}

/// `import-zookeeper ZOOKEEPER-DATA-DIR [ZOOKEEPER-DATA-LOG-DIR] CONFIG-FILE`; the coordinator does it.
pub(crate) fn import_zookeeper(arguments: &[String]) -> anyhow::Result<ExitCode> {
    convert("import-zookeeper", "zookeeper-dataDir [zookeeper-dataLogDir] zookeeper.properties", 2..=3, arguments)
}

/// `export-zookeeper CONFIG-FILE TARGET-DIRECTORY`; the coordinator does it.
pub(crate) fn export_zookeeper(arguments: &[String]) -> anyhow::Result<ExitCode> {
    convert("export-zookeeper", "zookeeper.properties target-directory", 2..=2, arguments)
}

fn convert(
    name: &str,
    usage: &str,
    count: std::ops::RangeInclusive<usize>,
    arguments: &[String],
) -> anyhow::Result<ExitCode> {
    if !count.contains(&arguments.len()) {
        println!("USAGE: {} {name} {usage}", called());
        return Ok(ExitCode::FAILURE);
    }
    let program = sibling("coordinator")?;
    let error = Command::new(&program).arg(name).args(arguments).exec();
    Err(error).with_context(|| format!("starting {}", program.display()))
}

/// Says what was asked for instead of a server; `None` if a server is wanted.
fn help_or_version(usage: &str, arguments: &[String]) -> Option<ExitCode> {
    match arguments.first().map(String::as_str) {
        None => {
            println!("{usage}");
            Some(ExitCode::FAILURE)
        }
        Some("--help" | "-help" | "-h") => {
            println!("{usage}");
            Some(ExitCode::SUCCESS)
        }
        Some("--version" | "-version") => {
            println!("castellan {}, as Kafka {}", env!("CARGO_PKG_VERSION"), crate::options::KAFKA_VERSION);
            Some(ExitCode::SUCCESS)
        }
        Some(_) => None,
    }
}

/// The name this program was called by.
pub(crate) fn called() -> String {
    std::env::args().next().unwrap_or_default()
}

/// As in Kafka's scripts: `LOG_DIR`, or `logs` in the folder that has the scripts' `bin`, which they say in `CASTELLAN_HOME`.
fn log_folder(log_dir: Option<String>, home: Option<String>) -> String {
    log_dir.or_else(|| Some(format!("{}/logs", home?))).unwrap_or_else(|| "logs".to_owned())
}

fn become_server(binary: &str, name: &str, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let program = sibling(binary)?;
    let mut command = Command::new(&program);
    let Some(("-daemon", arguments)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) else {
        let error = command.args(arguments).exec();
        return Err(error).with_context(|| format!("starting {}", program.display()));
    };
    // As Kafka's scripts: the output goes to a file in the log folder, and hanging up does not end the server.
    let folder = log_folder(std::env::var("LOG_DIR").ok(), std::env::var("CASTELLAN_HOME").ok());
    std::fs::create_dir_all(&folder).with_context(|| format!("creating the log folder {folder}"))?;
    let file = format!("{folder}/{name}.out");
    let output = File::create(&file).with_context(|| format!("creating {file}"))?;
    command.args(arguments).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
    command.spawn().with_context(|| format!("starting {}", program.display()))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_where_kafka_has_them() {
        let some = |text: &str| Some(text.to_owned());
        for (log_dir, home, expected) in
            [(some("/l"), some("/h"), "/l"), (None, some("/h"), "/h/logs"), (None, None, "logs")]
        {
            assert_eq!(log_folder(log_dir, home), expected);
        }
    }
}
