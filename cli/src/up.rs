//! `castellan up`, `down` and `status`: a whole cluster as real processes on this machine, in one folder. Writes each
//! server's settings once and leaves them alone afterwards, so that they can be edited.

pub(crate) mod layout;
pub(crate) mod process;
mod status;

pub(crate) use status::status;

use crate::client::Connection;
use anyhow::{Context as _, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use layout::{Layout, Role, Server};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a cluster may take until it serves; a machine under heavy load needs seconds, an idle one far less than one.
const READY: Duration = Duration::from_secs(60);
/// How long the ports of a server that was just killed may stay taken: its threads end one by one.
const ENDING: Duration = Duration::from_secs(5);
/// How long a server may take to stop before it is killed.
const STOP: Duration = Duration::from_secs(30);

/// Starts what is not running, waits until all serve, and stays in the foreground unless told to detach or there was
/// nothing to start. Ctrl-C then stops what was started here.
pub(crate) fn up(arguments: &[String]) -> anyhow::Result<ExitCode> {
    // Servers must not be left alone because nobody reads what is said of them.
    crate::broken_pipe::is_survived();
    let Some(matches) = parse(up_command(), arguments)? else { return Ok(ExitCode::SUCCESS) };
    let dir = dir(&matches)?;
    let layout = Layout::open_or_create(&dir, &wish(&matches)?)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, interrupted.clone()).context("listening for signals")?;
    }
    let ours: Vec<&Server> =
        layout.servers.iter().filter(|server| process::pid(&layout.dir, server).is_none()).collect();
    let started = Instant::now();
    let progress = progress();
    let log_ends: Vec<u64> = ours.iter().map(|server| process::log_end(&layout.dir, server)).collect();
    let mut running = Running::new();
    let result = start(&layout, &ours, &mut running, &progress, &interrupted);
    progress.finish_and_clear();
    if let Err(error) = result {
        stop_all(&layout, &ours, "stopping what was started");
        layout.forget_if_new();
        return Err(error);
    }
    tell_unknown_settings(&layout, &ours, &log_ends);
    let (coordinators, brokers) = (layout.connect_string(Role::Coordinator), layout.connect_string(Role::Broker));
    if ours.is_empty() {
        tell(&format!("Already running in {}: coordinators {coordinators}  brokers {brokers}", dir.display()));
        tell_urls(&layout);
        tell(&format!("'castellan down --dir {}' stops them", dir.display()));
        return Ok(ExitCode::SUCCESS);
    }
    let seconds = started.elapsed().as_secs_f64();
    tell(&format!("Ready in {seconds:.1} s: coordinators {coordinators}  brokers {brokers}"));
    tell_urls(&layout);
    if matches.get_flag("detach") {
        return Ok(ExitCode::SUCCESS);
    }
    if ours.len() == layout.servers.len() {
        tell(&format!("Ctrl-C stops them. Logs and data are in {}", dir.display()));
    } else {
        let names = ours.iter().map(|server| server.name()).collect::<Vec<_>>().join(", ");
        tell(&format!(
            "Ctrl-C stops {names}; the others ran already and go on. Logs and data are in {}",
            dir.display()
        ));
    }
    let watched = watch(&layout, &ours, running, &interrupted);
    stop_all(&layout, &ours, "stopping");
    if watched.is_ok() {
        tell(if interrupted.load(Ordering::Relaxed) { "Stopped" } else { "Stopped by 'castellan down'" });
    }
    watched.map(|()| ExitCode::SUCCESS)
}

/// The servers that were started here, by name.
type Running = BTreeMap<String, process::Started>;

/// Says which settings the servers do not know; the same key of all servers of a half once.
fn tell_unknown_settings(layout: &Layout, ours: &[&Server], log_ends: &[u64]) {
    let mut told = BTreeSet::new();
    for (server, log_end) in ours.iter().zip(log_ends) {
        for line in process::unknown_settings(&layout.dir, server, *log_end) {
            let problem = line.splitn(3, ':').nth(2).unwrap_or_default().to_owned();
            if told.insert((server.role.to_string(), problem)) {
                let _ = writeln!(std::io::stderr(), "WARNING {line}");
            }
        }
    }
}

/// Says something to whoever still listens.
fn tell(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Where metrics and probes are, if they were asked for.
fn tell_urls(layout: &Layout) {
    for role in [Role::Broker, Role::Coordinator] {
        for (what, urls) in layout.urls(role) {
            tell(&format!("{role} {what}: {}", urls.join(" ")));
        }
    }
}

fn wish(matches: &ArgMatches) -> anyhow::Result<layout::Wish> {
    Ok(layout::Wish {
        coordinators: matches.get_one("coordinators").copied(),
        brokers: matches.get_one("brokers").copied(),
        coordinator_port: matches.get_one("coordinator-port").copied(),
        broker_port: matches.get_one("broker-port").copied(),
        coordinator_settings: settings(matches, "coordinator-set")?,
        broker_settings: settings(matches, "broker-set")?,
        metrics_port: matches.get_one("metrics").copied(),
    })
}

/// Stops the servers of a folder, brokers first.
pub(crate) fn down(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let command = Command::new("castellan down").about("Stops the cluster of a folder cleanly").arg(dir_argument());
    let Some(matches) = parse(command, arguments)? else { return Ok(ExitCode::SUCCESS) };
    let layout = Layout::open(&dir(&matches)?)?;
    let running = layout.servers.iter().filter(|server| process::pid(&layout.dir, server).is_some()).count();
    if running == 0 {
        println!("Nothing runs in {}", layout.dir.display());
        return Ok(ExitCode::SUCCESS);
    }
    stop_all(&layout, &layout.servers.iter().collect::<Vec<_>>(), "stopping");
    println!("Stopped {running} servers");
    Ok(ExitCode::SUCCESS)
}

fn start(
    layout: &Layout,
    ours: &[&Server],
    running: &mut Running,
    progress: &indicatif::ProgressBar,
    interrupted: &AtomicBool,
) -> anyhow::Result<()> {
    process::forget_stopping(&layout.dir);
    let patience_ends = Instant::now() + if layout.is_new { Duration::ZERO } else { ENDING };
    for server in ours {
        while let Err(taken) = layout.check_ports(server) {
            anyhow::ensure!(Instant::now() < patience_ends, taken);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    for server in ours {
        running.insert(server.name(), process::start(&layout.dir, server)?);
    }
    let deadline = Instant::now() + READY;
    loop {
        let waiting: Vec<String> =
            layout.servers.iter().filter(|server| state(server).is_none()).map(Server::name).collect();
        let brokers = layout.of(Role::Broker).count();
        if waiting.is_empty() && (brokers == 0 || brokers_known(layout) >= brokers) {
            return Ok(());
        }
        for server in &layout.servers {
            if process::pid(&layout.dir, server).is_none() {
                bail!("{} did not start:\n{}", server.name(), process::last_words(&layout.dir, server));
            }
        }
        if interrupted.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        if Instant::now() > deadline {
            bail!(
                "not ready after {} s: {}; see the logs in {}",
                READY.as_secs(),
                waiting.join(", "),
                layout.dir.display()
            );
        }
        progress.set_message(if waiting.is_empty() { "brokers meet".to_owned() } else { waiting.join(", ") });
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How many brokers the first broker names.
fn brokers_known(layout: &Layout) -> usize {
    let count = || -> anyhow::Result<usize> {
        let server = layout.of(Role::Broker).next().context("no broker")?;
        let metadata = Connection::open(&server.address(), Duration::from_secs(2))?.metadata(Some(Vec::new()))?;
        Ok(if metadata.controller_id < 0 { 0 } else { metadata.brokers.len() })
    };
    count().unwrap_or(0)
}

/// What a server says of itself; `None` while it does not serve.
fn state(server: &Server) -> Option<String> {
    match server.role {
        Role::Coordinator => process::coordinator_mode(&server.address()),
        Role::Broker => {
            let mut connection = Connection::open(&server.address(), Duration::from_secs(2)).ok()?;
            let metadata = connection.metadata(Some(Vec::new())).ok()?;
            let known = metadata.brokers.iter().any(|broker| broker.node_id == server.id);
            let role = if metadata.controller_id == server.id { "controller" } else { "broker" };
            known.then(|| role.to_owned())
        }
    }
}

/// Waits for an interrupt, or for `castellan down` from elsewhere. A server that ends is told and the others go on, so
/// that one can be killed and started again to see what the cluster makes of it.
fn watch(layout: &Layout, ours: &[&Server], mut running: Running, interrupted: &AtomicBool) -> anyhow::Result<()> {
    let dir = layout.dir.display();
    let mut away: Vec<&Server> = Vec::new();
    while !interrupted.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
        if process::is_stopping(&layout.dir) {
            continue;
        }
        let now: Vec<&Server> =
            ours.iter().copied().filter(|server| process::pid(&layout.dir, server).is_none()).collect();
        // A stop takes the pid files away, a crash leaves them.
        let crashed = |server: &&Server| process::has_pid_file(&layout.dir, server);
        if now.len() == ours.len() {
            anyhow::ensure!(!now.iter().any(crashed), "every server ended by itself; see the logs in {dir}");
            return Ok(());
        }
        for server in now.iter().filter(|server| !away.contains(server) && crashed(server)) {
            let name = server.name();
            // One that another `up` has started again is nobody's child here.
            let ending = running.remove(&name).and_then(|started| started.join().ok());
            let ending = ending.map_or_else(|| "ended by itself".to_owned(), process::ending);
            let _ = writeln!(
                std::io::stderr(),
                "{name} {ending}, see {dir}/{name}.log; 'castellan up --dir {dir} --detach' starts it again"
            );
        }
        for server in away.iter().filter(|server| !now.contains(server)) {
            let _ = writeln!(std::io::stderr(), "{} runs again", server.name());
        }
        away = now;
    }
    Ok(())
}

fn stop_all(layout: &Layout, servers: &[&Server], message: &str) {
    let progress = progress();
    progress.set_message(message.to_owned());
    let _mark = process::mark_stopping(&layout.dir);
    for role in [Role::Broker, Role::Coordinator] {
        let half: Vec<&Server> = servers.iter().copied().filter(|server| server.role == role).collect();
        process::stop(&layout.dir, &half, STOP);
    }
    progress.finish_and_clear();
}

fn progress() -> indicatif::ProgressBar {
    let progress = indicatif::ProgressBar::new_spinner();
    progress.enable_steady_tick(Duration::from_millis(100));
    progress
}

fn up_command() -> Command {
    let number = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("N").value_parser(value_parser!(u16)).help(help)
    };
    let setting = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("KEY=VALUE").action(ArgAction::Append).help(help)
    };
    Command::new("castellan up")
        .about("Starts coordinators and brokers on this machine; run again on the same folder it starts what is not running")
        .arg(number("coordinators", "how many coordinators [default: 3]"))
        .arg(number("brokers", "how many brokers [default: 3]"))
        .arg(dir_argument())
        .arg(number("coordinator-port", "first port of the coordinators: those for clients, then, of several, two each among themselves: three take 2181 to 2189 [default: 2181]"))
        .arg(number("broker-port", "first port of the brokers, one each: three take 9092 to 9094 [default: 9092]"))
        .arg(
            Arg::new("metrics")
                .long("metrics")
                .value_name("PORT")
                .num_args(0..=1)
                .default_missing_value("9404")
                .value_parser(value_parser!(u16))
                .help("give metrics and probes over HTTP, from this port on [default: none; without PORT 9404]"),
        )
        .arg(setting("coordinator-set", "a line for every zoo.cfg"))
        .arg(setting("broker-set", "a line for every server.properties"))
        .arg(Arg::new("detach").long("detach").action(ArgAction::SetTrue).help("leave them running and return"))
}

pub(crate) fn dir_argument() -> Arg {
    Arg::new("dir").long("dir").value_name("D").default_value("data").help("folder for settings, data and logs")
}

pub(crate) fn command_config_argument() -> Arg {
    Arg::new("command-config").long("command-config").value_name("FILE").help(
        "settings of the connection to secured brokers, as for the kafka-* tools: security.protocol, sasl.*, ssl.*",
    )
}

pub(crate) fn dir(matches: &ArgMatches) -> anyhow::Result<PathBuf> {
    let dir = PathBuf::from(matches.get_one::<String>("dir").context("--dir has a default")?);
    std::path::absolute(&dir).with_context(|| format!("finding {}", dir.display()))
}

fn settings(matches: &ArgMatches, name: &str) -> anyhow::Result<Vec<(String, String)>> {
    let given = matches.get_many::<String>(name).unwrap_or_default();
    given
        .map(|setting| {
            let (key, value) =
                setting.split_once('=').with_context(|| format!("--{name} {setting}: expected KEY=VALUE"))?;
            Ok((key.to_owned(), value.to_owned()))
        })
        .collect()
}

/// `None` if help was asked for and printed.
pub(crate) fn parse(command: Command, arguments: &[String]) -> anyhow::Result<Option<ArgMatches>> {
    match command.no_binary_name(true).try_get_matches_from(arguments) {
        Ok(matches) => Ok(Some(matches)),
        Err(error) if !error.use_stderr() => {
            print!("{error}");
            Ok(None)
        }
        Err(error) => Err(anyhow::anyhow!("{}", error.to_string().trim_end())),
    }
}
