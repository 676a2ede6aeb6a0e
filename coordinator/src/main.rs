//! The program `coordinator`: arguments, configuration, signals and exit codes around the server.

use anyhow::Context;
use coordinator::config::Config;
use std::path::Path;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const USAGE: &str = "usage: coordinator [start] CONFIG-FILE
       coordinator PORT DATA-DIRECTORY [TICK-TIME] [CONNECTIONS-PER-ADDRESS]
       coordinator import-zookeeper ZOOKEEPER-DATA-DIR [ZOOKEEPER-DATA-LOG-DIR] CONFIG-FILE
       coordinator export-zookeeper CONFIG-FILE TARGET-DIRECTORY

CONFIG-FILE is a zoo.cfg. CASTELLAN_LOG=debug (or RUST_LOG) shows more.";

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(log_filter())
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(%panic, "bug: the server stops");
        // Going on without one of the threads would be neither serving nor dead.
        std::process::exit(70);
    }));
    match run() {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What is logged, by the variable for both servers or the one that many programs have.
fn log_filter() -> tracing_subscriber::EnvFilter {
    let named = |variable| tracing_subscriber::EnvFilter::try_from_env(variable).ok();
    named("CASTELLAN_LOG").or_else(|| named("RUST_LOG")).unwrap_or_else(|| "info".into())
}

/// The configuration; warnings are logged.
fn load(file: &str) -> anyhow::Result<Config> {
    let loaded = Config::load(Path::new(file), &|path| std::fs::read_to_string(path));
    let (config, warnings) = loaded.context("configuration")?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

#[expect(clippy::print_stdout, reason = "what was done is told on the terminal")]
fn import(data_dir: &str, log_dir: &str, config: &str) -> anyhow::Result<ExitCode> {
    let config = load(config)?;
    let done = coordinator::server::import_zookeeper(&config, Path::new(data_dir), Path::new(log_dir))?;
    println!("imported {} znodes and {} sessions up to zxid {:#x}", done.nodes, done.sessions, done.zxid);
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "what was done is told on the terminal")]
fn export(config: &str, target: &str) -> anyhow::Result<ExitCode> {
    let done = coordinator::server::export_zookeeper(&load(config)?, Path::new(target))?;
    println!("exported {} znodes and {} sessions up to zxid {:#x}", done.nodes, done.sessions, done.zxid);
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "help and version are asked for on the terminal")]
fn run() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let config = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--help" | "-h"] => {
            println!("{USAGE}");
            return Ok(ExitCode::SUCCESS);
        }
        ["--version" | "-V"] => {
            println!("coordinator {}", env!("CARGO_PKG_VERSION"));
            return Ok(ExitCode::SUCCESS);
        }
        ["import-zookeeper", source, config] => return import(source, source, config),
        ["import-zookeeper", source, logs, config] => return import(source, logs, config),
        ["export-zookeeper", config, target] => return export(config, target),
        [file] | ["start" | "start-foreground", file] => {
            Config::load(Path::new(file), &|path| std::fs::read_to_string(path))
        }
        [port, _, ..] if port.parse::<u16>().is_ok() && arguments.len() <= 4 => Config::standalone(&arguments),
        _ => {
            eprintln!("{USAGE}");
            return Ok(ExitCode::from(2));
        }
    };
    let (config, warnings) = config.context("configuration")?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("runtime")?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping");
        };
        coordinator::server::run(config, stop).await?;
        Ok(ExitCode::SUCCESS)
    })
}
