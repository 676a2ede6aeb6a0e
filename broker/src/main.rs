//! `broker server.properties [--override key=value]...`: reads the settings and runs the broker.

use anyhow::Context as _;
use broker::config::BrokerConfig;
use common::properties::Properties;
use std::process::ExitCode;

/// Answers come from many threads at once; glibc's arenas keep several times the memory for it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const USAGE: &str =
    "USAGE: broker server.properties [--override property=value]*\n\nCASTELLAN_LOG=debug (or RUST_LOG) shows more.";

fn main() -> ExitCode {
    if let Some(code) = help_or_version() {
        return code;
    }
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_env_filter(log_filter()).init();
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(%panic, "bug: the broker stops");
        // Half a broker would keep its session, and with it leaderships that it does not serve.
        std::process::exit(70);
    }));
    match run() {
        Ok(()) => ExitCode::SUCCESS,
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

/// Says what was asked for instead of a broker; `None` if a broker is wanted.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "help and version are asked for on the terminal")]
fn help_or_version() -> Option<ExitCode> {
    match std::env::args().nth(1).as_deref() {
        Some("--help" | "-h") => println!("{USAGE}"),
        Some("--version" | "-V") => println!("broker {}", env!("CARGO_PKG_VERSION")),
        None => {
            eprintln!("{USAGE}");
            return Some(ExitCode::FAILURE);
        }
        Some(_) => return None,
    }
    Some(ExitCode::SUCCESS)
}

fn run() -> anyhow::Result<()> {
    let properties = read_arguments()?;
    let (config, warnings) = BrokerConfig::parse(&properties)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    broker::server::run(config)
}

/// The file's settings with the overrides on top.
fn read_arguments() -> anyhow::Result<Properties> {
    let mut arguments = std::env::args().skip(1).peekable();
    let path = arguments.next().context(USAGE)?;
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let mut properties = Properties::parse(&text, &path);
    while let Some(flag) = arguments.next() {
        let setting = match flag.strip_prefix("--override") {
            Some("") => arguments.next().context("--override needs property=value")?,
            Some(rest) if rest.starts_with('=') => rest[1..].to_owned(),
            _ => anyhow::bail!("unknown argument {flag}\n{USAGE}"),
        };
        let (key, value) =
            setting.split_once('=').with_context(|| format!("--override {setting}: expected property=value"))?;
        properties.set(key.trim(), value, "--override");
    }
    Ok(properties)
}
