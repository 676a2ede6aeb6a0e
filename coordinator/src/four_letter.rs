//! The four-letter words: which there are and what ZooKeeper's answers look like. Gets the figures handed in and collects
//! none.

use crate::config::Config;
use std::fmt::Write;
use std::net::SocketAddr;

/// The words that are understood.
const WORDS: [&str; 6] = ["ruok", "srvr", "stat", "mntr", "conf", "isro"];

/// Answer when the configuration does not allow a word, before its name.
const NOT_ALLOWED: &str = " is not executed because it is not in the whitelist.\n";

/// Answer of all but `ruok` and `isro` while there is no leader.
const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";

/// The word that these first four bytes of a connection are, if any. They cannot be a length: the largest allowed one
/// is smaller than any four letters.
pub fn word(bytes: &[u8]) -> Option<&'static str> {
    WORDS.into_iter().find(|word| word.as_bytes() == bytes)
}

/// The figures that the answers are made of.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// `leader`, `follower`, `observer` or `standalone`; `None` without a leader.
    pub mode: Option<&'static str>,
    /// Least, mean and greatest time to answer in milliseconds.
    pub latency_ms: (u64, f64, u64),
    /// Requests read.
    pub received: u64,
    /// Answers and notifications sent.
    pub sent: u64,
    /// Requests not answered.
    pub outstanding: u64,
    /// Last applied transaction.
    pub zxid: i64,
    /// Znodes.
    pub nodes_count: usize,
    /// Watches.
    pub watches_count: usize,
    /// Znodes that go with a session.
    pub ephemerals_count: usize,
    /// Bytes of paths and data.
    pub data_bytes: u64,
    /// Sessions of the ensemble.
    pub sessions_count: usize,
    /// Since start.
    pub uptime_ms: u64,
    /// As leader: learners that are connected, and those that are in sync.
    pub followers: (usize, usize),
    /// Servers that vote.
    pub quorum_size: usize,
    /// Clients: address, requests not answered, received, sent.
    pub clients: Vec<(SocketAddr, u64, u64, u64)>,
}

/// The answer to a word.
pub fn answer(word: &str, config: &Config, status: &Status) -> String {
    if !config.allows_word(word) {
        return format!("{word}{NOT_ALLOWED}");
    }
    match (word, status.mode) {
        ("ruok", _) => "imok".to_owned(),
        ("isro", None) => "null".to_owned(),
        ("isro", Some(_)) => "rw".to_owned(),
        (_, None) => NOT_SERVING.to_owned(),
        ("conf", _) => conf(config),
        ("mntr", Some(mode)) => mntr(mode, status),
        (_, Some(mode)) => stat(word == "stat", mode, status),
    }
}

fn version() -> String {
    // Tools take the part before the first dash for ZooKeeper's version and adapt to it.
    format!("3.9.4-castellan-{}, built on 2025-11-21 00:00 UTC", env!("CARGO_PKG_VERSION"))
}

fn stat(with_clients: bool, mode: &str, status: &Status) -> String {
    let mut text = format!("Zookeeper version: {}\n", version());
    if with_clients {
        text.push_str("Clients:\n");
        for (address, queued, received, sent) in &status.clients {
            line(&mut text, format_args!(" /{address}[1](queued={queued},recved={received},sent={sent})"));
        }
        text.push('\n');
    }
    let (min, mean, max) = status.latency_ms;
    line(&mut text, format_args!("Latency min/avg/max: {min}/{}/{max}", mean_text(mean)));
    line(&mut text, format_args!("Received: {}", status.received));
    line(&mut text, format_args!("Sent: {}", status.sent));
    line(&mut text, format_args!("Connections: {}", status.clients.len()));
    line(&mut text, format_args!("Outstanding: {}", status.outstanding));
    line(&mut text, format_args!("Zxid: {:#x}", status.zxid));
    line(&mut text, format_args!("Mode: {mode}"));
    line(&mut text, format_args!("Node count: {}", status.nodes_count));
    if mode == "leader" {
        text.push_str("Proposal sizes last/min/max: -1/-1/-1\n");
    }
    text
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes everything");
    text.push('\n');
}

/// Java's `Double.toString` of a value rounded to four places.
fn mean_text(mean: f64) -> String {
    let rounded = (mean * 10_000.0).round() / 10_000.0;
    if rounded.fract() == 0.0 { format!("{rounded:.1}") } else { format!("{rounded}") }
}

fn mntr(mode: &str, status: &Status) -> String {
    let mut text = String::new();
    let (min, mean, max) = status.latency_ms;
    line(&mut text, format_args!("zk_version\t{}", version()));
    line(&mut text, format_args!("zk_server_state\t{mode}"));
    if mode != "standalone" {
        let state = if mode == "leader" { "leading - broadcast" } else { "following - broadcast" };
        line(&mut text, format_args!("zk_peer_state\t{state}"));
    }
    line(&mut text, format_args!("zk_avg_latency\t{}", mean_text(mean)));
    let figures = [
        ("ephemerals_count", status.ephemerals_count as u64),
        ("num_alive_connections", status.clients.len() as u64),
        ("outstanding_requests", status.outstanding),
        ("znode_count", status.nodes_count as u64),
        ("global_sessions", status.sessions_count as u64),
        ("local_sessions", 0),
        ("packets_sent", status.sent),
        ("packets_received", status.received),
        ("watch_count", status.watches_count as u64),
        ("min_latency", min),
        ("max_latency", max),
        ("approximate_data_size", status.data_bytes),
        ("uptime", status.uptime_ms),
    ];
    for (key, value) in figures {
        line(&mut text, format_args!("zk_{key}\t{value}"));
    }
    if mode != "standalone" {
        line(&mut text, format_args!("zk_quorum_size\t{}", status.quorum_size));
    }
    if mode == "leader" {
        let (learners, synced) = status.followers;
        line(&mut text, format_args!("zk_learners\t{learners}"));
        line(&mut text, format_args!("zk_synced_followers\t{synced}"));
    }
    text
}

fn conf(config: &Config) -> String {
    let mut text = String::new();
    line(&mut text, format_args!("clientPort={}", config.client_port.map_or(-1, i32::from)));
    line(&mut text, format_args!("secureClientPort=-1"));
    line(&mut text, format_args!("dataDir={}", config.data_dir.display()));
    line(&mut text, format_args!("dataLogDir={}", config.data_log_dir.display()));
    line(&mut text, format_args!("tickTime={}", config.tick_time_ms));
    line(&mut text, format_args!("maxClientCnxns={}", config.max_client_connections));
    line(&mut text, format_args!("minSessionTimeout={}", config.min_session_timeout_ms));
    line(&mut text, format_args!("maxSessionTimeout={}", config.max_session_timeout_ms));
    line(&mut text, format_args!("clientPortListenBacklog={}", config.client_port_listen_backlog));
    line(&mut text, format_args!("serverId={}", if config.is_standalone() { 0 } else { config.my_id }));
    let Some(me) = config.servers.get(&config.my_id).filter(|_| !config.is_standalone()) else { return text };
    line(&mut text, format_args!("initLimit={}", config.init_limit));
    line(&mut text, format_args!("syncLimit={}", config.sync_limit));
    line(&mut text, format_args!("electionAlg=3"));
    line(&mut text, format_args!("electionPort={}", me.election_port));
    line(&mut text, format_args!("quorumPort={}", me.peer_port));
    line(&mut text, format_args!("peerType={}", u8::from(me.is_observer)));
    line(&mut text, format_args!("membership: "));
    for server in config.servers.values() {
        line(&mut text, format_args!("server.{}={}", server.id, server.line()));
    }
    text.push_str("version=0");
    text
}
