//! The four-letter words: which there are and what ZooKeeper's answers look like. Gets the figures handed in and collects
//! none.

use crate::config::Config;
use crate::metrics::{
    self, Metrics, NEVER_COUNTED, NEVER_MEASURED, NEVER_MEASURED_CLOSELY, Sample, Summary, Value, line, real,
};
use crate::trace::Trace;
use common::time::WallMillis;
use common::zk::OpCode;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The words that are understood.
pub const WORDS: [&str; 18] = [
    "ruok", "srvr", "stat", "mntr", "conf", "isro", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "srst",
    "stmk", "wchc", "wchp", "wchs",
];

/// Answer when the configuration does not allow a word, before its name.
const NOT_ALLOWED: &str = " is not executed because it is not in the whitelist.\n";

/// Answer of most words while there is no leader.
pub const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";

/// The word that these first four bytes of a connection are, if any. They cannot be a length: the largest allowed one
/// is smaller than any four letters.
pub fn word(bytes: &[u8]) -> Option<&'static str> {
    WORDS.into_iter().find(|word| word.as_bytes() == bytes)
}

/// What only the process around the node knows.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Open file descriptors.
    pub open_files: u64,
    /// How many there may be.
    pub max_files: u64,
    /// Bytes under `dataDir`.
    pub data_dir_bytes: u64,
    /// Bytes under `dataLogDir`.
    pub log_dir_bytes: u64,
    /// Connections that were not admitted.
    pub connections_rejected: u64,
    /// Bytes read from clients.
    pub bytes_received: u64,
    /// Requests longer than `jute.maxbuffer`.
    pub requests_too_large: u64,
    /// Times a client had to wait before it was read on.
    pub throttled: u64,
    /// TLS handshakes that failed.
    pub handshakes_failed: u64,
    /// TLS handshakes under way.
    pub handshakes: u64,
    /// What the system says of itself, for `envi`.
    pub environment: Vec<(&'static str, String)>,
}

/// A client as `cons` and `stat` show it.
#[derive(Clone, Debug)]
pub struct ClientStatus {
    /// Its address.
    pub remote: SocketAddr,
    /// Whether it is the one that asks.
    pub is_asking: bool,
    /// Whether it came over TLS.
    pub is_secure: bool,
    /// Requests not answered.
    pub outstanding: u64,
    /// Its session, 0 for none.
    pub session: i64,
    /// The negotiated timeout.
    pub timeout_ms: i32,
    /// What is counted of it.
    pub counters: crate::connection::Counters,
}

/// The figures that the answers are made of.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// `leader`, `follower`, `observer` or `standalone`; `None` without a leader.
    pub mode: Option<&'static str>,
    /// Whether this server serves reads without a leader.
    pub is_read_only: bool,
    /// Last applied transaction.
    pub zxid: i64,
    /// Znodes.
    pub nodes_count: usize,
    /// Watches.
    pub watches_count: usize,
    /// Connections and paths with data watches and how many of these there are, for `wchs`.
    pub watches_summary: (usize, usize, usize),
    /// Znodes that go with a session.
    pub ephemerals_count: usize,
    /// Bytes of paths and data.
    pub data_bytes: u64,
    /// Sessions of the ensemble.
    pub sessions_count: usize,
    /// Sessions of this server alone.
    pub local_sessions_count: usize,
    /// Since start.
    pub uptime_ms: u64,
    /// Since this server leads; `None` if it does not.
    pub leader_uptime_ms: Option<u64>,
    /// As leader: learners that are connected, and those that are in sync.
    pub followers: (usize, usize),
    /// As leader: observers that are in sync.
    pub synced_observers: usize,
    /// Servers that vote.
    pub quorum_size: usize,
    /// Sizes of proposals: last, least, greatest; -1 before the first.
    pub proposal_sizes: (i64, i64, i64),
    /// Clients.
    pub clients: Vec<ClientStatus>,
    /// `ZooTrace`'s mask: kept and shown, without effect here.
    pub trace_mask: i64,
}

impl Status {
    /// Requests of all clients that are not answered.
    pub fn outstanding(&self) -> u64 {
        self.clients.iter().map(|client| client.outstanding).sum()
    }
}

/// Which of the lists an answer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown<'a> {
    /// None.
    Nothing,
    /// Sessions, connections and who owns ephemeral znodes.
    Sessions,
    /// Watched paths by session.
    WatchesBySession,
    /// Watching sessions by path.
    WatchesByPath,
    /// So many watches of the paths that begin so.
    Watchers {
        /// How they begin.
        path: &'a str,
        /// How many.
        limit: usize,
    },
    /// Digests.
    Digests,
}

/// Which lists the answer to a word shows.
pub(crate) fn shown_lists(word: &str) -> Shown<'static> {
    match word {
        "dump" => Shown::Sessions,
        "wchc" => Shown::WatchesBySession,
        "wchp" => Shown::WatchesByPath,
        "hash" => Shown::Digests,
        _ => Shown::Nothing,
    }
}

/// Lists that may be long, made only for the words that show them.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// As leader: sessions by the moment they expire.
    pub expiring: Option<Vec<(WallMillis, Vec<i64>)>>,
    /// Sessions of the ensemble with their timeouts.
    pub sessions: Vec<(i64, i32)>,
    /// Paths of ephemeral znodes by session.
    pub ephemerals: Vec<(i64, Vec<String>)>,
    /// Connections by the moment they are dropped if they say nothing: address and session.
    pub connections: BTreeMap<WallMillis, Vec<(SocketAddr, i64)>>,
    /// Watched paths by session.
    pub watches: Vec<(i64, Vec<String>)>,
    /// Watching sessions by path.
    pub watchers: Vec<(String, Vec<i64>)>,
    /// Watches with their clients, as many as are shown.
    pub watching: Vec<Watching>,
    /// How many more there are.
    pub not_shown: usize,
    /// Digests of the tree by zxid.
    pub digests: Vec<(i64, u64)>,
}

/// A watch and who set it.
#[derive(Clone, Debug)]
pub struct Watching {
    /// What is watched.
    pub path: String,
    /// Children, or else data and existence.
    pub of_children: bool,
    /// `once`, `persistent` or `recursive`.
    pub mode: &'static str,
    /// The session.
    pub session: i64,
    /// The client's address.
    pub remote: Option<SocketAddr>,
    /// When it was set.
    pub since: WallMillis,
}

/// Everything that an answer may be made of.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// Settings.
    pub config: &'a Config,
    /// Figures.
    pub status: &'a Status,
    /// Counts.
    pub metrics: &'a Metrics,
    /// Of the process.
    pub facts: &'a Facts,
    /// For `dump`, `wchc`, `wchp` and `hash`.
    pub lists: &'a Lists,
    /// What became of requests.
    pub trace: &'a Trace,
}

/// The answer to a word that the configuration does not allow.
pub fn refusal(word: &str) -> String {
    format!("{word}{NOT_ALLOWED}")
}

/// The answer to a word.
pub fn answer(word: &str, report: Report<'_>) -> String {
    let Report { config, status, facts, lists, .. } = report;
    match (word, status.mode) {
        ("ruok", _) => "imok".to_owned(),
        ("gtmk" | "stmk", _) => status.trace_mask.to_string(),
        ("envi", _) => envi(facts),
        ("isro", _) if status.is_read_only => "ro".to_owned(),
        ("isro", None) => "null".to_owned(),
        ("isro", Some(_)) => "rw".to_owned(),
        (_, None) if !status.is_read_only => format!("{NOT_SERVING}\n"),
        ("conf", _) => conf(config, facts),
        ("mntr", _) => heading(status) + &metrics::mntr(&samples(report)),
        ("cons", _) => cons(status),
        ("dirs", _) => format!("datadir_size: {}\nlogdir_size: {}\n", facts.data_dir_bytes, facts.log_dir_bytes),
        ("dump", _) => dump(lists),
        ("wchs", _) => wchs(status),
        ("wchc", _) => {
            let mut text = String::new();
            for (session, paths) in &lists.watches {
                line(&mut text, format_args!("{session:#x}"));
                paths.iter().for_each(|path| line(&mut text, format_args!("\t{path}")));
            }
            text + "\n"
        }
        ("wchp", _) => {
            let mut text = String::new();
            for (path, sessions) in &lists.watchers {
                line(&mut text, format_args!("{path}"));
                sessions.iter().for_each(|session| line(&mut text, format_args!("\t{session:#x}")));
            }
            text + "\n"
        }
        ("hash", _) => {
            let mut text = String::new();
            lists.digests.iter().for_each(|(zxid, digest)| line(&mut text, format_args!("{zxid:x}: {digest}")));
            text
        }
        ("crst", _) => "Connection stats reset.\n".to_owned(),
        ("srst", _) => "Server stats reset.\n".to_owned(),
        _ => stat(word == "stat", report),
    }
}

/// The version as `srvr` shows it. Tools take the part before the first dash for ZooKeeper's version and adapt to it.
pub fn version() -> String {
    format!("3.9.4-castellan-{}, built on 2025-11-21 00:00 UTC", env!("CARGO_PKG_VERSION"))
}

/// The mode, or that there is none.
pub fn state(status: &Status) -> &'static str {
    match status.mode {
        Some(mode) => mode,
        None if status.is_read_only => "read-only",
        None => "looking",
    }
}

/// What the server does in the ensemble, in ZooKeeper's words.
pub fn peer_state(status: &Status) -> Option<&'static str> {
    match status.mode {
        Some("leader") => Some("leading - broadcast"),
        Some("follower") => Some("following - broadcast"),
        Some("observer") => Some("observing - broadcast"),
        Some(_) => None,
        None => Some("looking"),
    }
}

/// The lines of `mntr` that are no figures.
fn heading(status: &Status) -> String {
    let mut text = String::new();
    line(&mut text, format_args!("zk_version\t{}", version()));
    line(&mut text, format_args!("zk_server_state\t{}", state(status)));
    if let Some(state) = peer_state(status) {
        line(&mut text, format_args!("zk_peer_state\t{state}"));
    }
    text
}

static NOTHING: std::sync::LazyLock<Summary> = std::sync::LazyLock::new(Summary::default);

/// Every figure under ZooKeeper's name.
pub fn samples(report: Report<'_>) -> Vec<Sample<'_>> {
    let Report { status, metrics, facts, .. } = report;
    let gauge = |value: usize| Value::Gauge(i64::try_from(value).unwrap_or(i64::MAX));
    let large = |value: u64| Value::Gauge(i64::try_from(value).unwrap_or(i64::MAX));
    let (last, least, greatest) = metrics.response_size.map_or((-1, -1, -1), |(last, least, greatest)| {
        (last.cast_signed(), least.cast_signed(), greatest.cast_signed())
    });
    let insecure = |local: bool| {
        gauge(status.clients.iter().filter(|c| !c.is_secure && c.remote.ip().is_loopback() == local).count())
    };
    let mut samples = vec![
        ("ephemerals_count", gauge(status.ephemerals_count)),
        ("num_alive_connections", gauge(status.clients.len())),
        ("avg_latency", Value::Real(metrics.latency.mean())),
        ("outstanding_requests", large(status.outstanding())),
        ("znode_count", gauge(status.nodes_count)),
        ("global_sessions", gauge(status.sessions_count)),
        ("non_mtls_remote_conn_count", insecure(false)),
        ("last_client_response_size", Value::Gauge(last)),
        ("packets_sent", large(metrics.packets_sent)),
        ("packets_received", large(metrics.packets_received)),
        ("max_client_response_size", Value::Gauge(greatest)),
        ("connection_drop_probability", Value::Real(0.0)),
        ("watch_count", gauge(status.watches_count)),
        ("auth_failed_count", large(metrics.auth_failed)),
        ("min_latency", large(metrics.latency.min())),
        ("max_file_descriptor_count", large(facts.max_files)),
        ("approximate_data_size", large(status.data_bytes)),
        ("open_file_descriptor_count", large(facts.open_files)),
        ("local_sessions", gauge(status.local_sessions_count)),
        ("uptime", large(status.uptime_ms)),
        ("max_latency", large(metrics.latency.max())),
        ("outstanding_tls_handshake", large(facts.handshakes)),
        ("min_client_response_size", Value::Gauge(least)),
        ("non_mtls_local_conn_count", insecure(true)),
    ];
    samples.extend(ensemble_samples(status));
    samples.extend(counters(metrics, facts));
    samples.extend(NEVER_COUNTED.iter().map(|name| (*name, Value::Counter(0))));
    samples.extend([
        ("node_created_watch_count", Value::Basic(&metrics.created_watchers)),
        ("node_deleted_watch_count", Value::Basic(&metrics.deleted_watchers)),
        ("node_changed_watch_count", Value::Basic(&metrics.changed_watchers)),
        ("node_children_watch_count", Value::Basic(&metrics.children_watchers)),
        ("fsynctime", Value::Basic(&metrics.sync_time)),
        ("dbinittime", Value::Basic(&metrics.init_time)),
        ("startup_snap_load_time", Value::Basic(&metrics.init_time)),
        ("startup_txns_loaded", Value::Basic(&metrics.startup_entries)),
        ("startup_txns_load_time", Value::Basic(&metrics.init_time)),
        ("leader_unavailable_time", Value::Basic(&metrics.unavailable_time)),
        ("election_time", Value::Basic(&metrics.unavailable_time)),
        ("unavailable_time", Value::Basic(&metrics.unavailable_time)),
        ("readlatency", Value::Advanced(&metrics.read_latency)),
        ("updatelatency", Value::Advanced(&metrics.update_latency)),
        ("sync_processor_queue_and_flush_time_ms", Value::Advanced(&metrics.sync_time)),
        ("proposal_latency", Value::Advanced(&metrics.proposal_latency)),
        ("quorum_ack_latency", Value::Advanced(&metrics.proposal_latency)),
    ]);
    samples.extend(NEVER_MEASURED.iter().map(|name| (*name, Value::Basic(&NOTHING))));
    samples.extend(NEVER_MEASURED_CLOSELY.iter().map(|name| (*name, Value::Advanced(&NOTHING))));
    samples
}

fn counters(metrics: &Metrics, facts: &Facts) -> [Sample<'static>; 20] {
    [
        ("bytes_received_count", Value::Counter(facts.bytes_received)),
        ("commit_count", Value::Counter(metrics.commits)),
        ("connection_drop_count", Value::Counter(metrics.connections_dropped)),
        ("connection_rejected", Value::Counter(facts.connections_rejected)),
        ("connection_request_count", Value::Counter(metrics.connection_requests)),
        ("connection_revalidate_count", Value::Counter(metrics.revalidations)),
        ("revalidate_count", Value::Counter(metrics.revalidations)),
        ("diff_count", Value::Counter(0)),
        ("large_requests_rejected", Value::Counter(facts.requests_too_large)),
        ("looking_count", Value::Counter(metrics.lookings)),
        ("proposal_count", Value::Counter(metrics.proposals)),
        ("request_throttle_wait_count", Value::Counter(facts.throttled)),
        ("response_bytes", Value::Counter(metrics.response_bytes)),
        ("sessionless_connections_expired", Value::Counter(metrics.sessionless_expired)),
        ("snap_count", Value::Counter(metrics.snapshots_sent)),
        ("stale_sessions_expired", Value::Counter(metrics.sessions_expired)),
        ("throttled_ops", Value::Counter(metrics.throttled)),
        ("tls_handshake_exceeded", Value::Counter(0)),
        ("unsuccessful_handshake", Value::Counter(facts.handshakes_failed)),
        ("watch_bytes", Value::Counter(metrics.watch_bytes)),
    ]
}

fn ensemble_samples(status: &Status) -> Vec<Sample<'static>> {
    let gauge = |value: usize| Value::Gauge(i64::try_from(value).unwrap_or(i64::MAX));
    let mut samples = Vec::new();
    if status.mode != Some("standalone") {
        samples.push(("quorum_size", gauge(status.quorum_size)));
    }
    if let Some(uptime_ms) = status.leader_uptime_ms.filter(|_| status.mode == Some("leader")) {
        let (learners, synced) = status.followers;
        let (last, least, greatest) = status.proposal_sizes;
        samples.extend([
            ("learners", gauge(learners)),
            ("synced_followers", gauge(synced.saturating_sub(status.synced_observers))),
            ("synced_non_voting_followers", gauge(0)),
            ("synced_observers", gauge(status.synced_observers)),
            ("pending_syncs", gauge(0)),
            ("leader_uptime", Value::Gauge(i64::try_from(uptime_ms).unwrap_or(i64::MAX))),
            ("last_proposal_size", Value::Gauge(last)),
            ("min_proposal_size", Value::Gauge(least)),
            ("max_proposal_size", Value::Gauge(greatest)),
        ]);
    }
    samples
}

fn stat(with_clients: bool, report: Report<'_>) -> String {
    let Report { status, metrics, .. } = report;
    let mut text = format!("Zookeeper version: {}\n", version());
    if status.is_read_only {
        text.push_str("READ-ONLY mode; serving only read-only clients\n");
    }
    if with_clients {
        text.push_str("Clients:\n");
        status.clients.iter().for_each(|client| line(&mut text, format_args!("{}", client_line(client, true))));
        text.push('\n');
    }
    let latency = &metrics.latency;
    line(&mut text, format_args!("Latency min/avg/max: {}/{}/{}", latency.min(), real(latency.mean()), latency.max()));
    line(&mut text, format_args!("Received: {}", metrics.packets_received));
    line(&mut text, format_args!("Sent: {}", metrics.packets_sent));
    line(&mut text, format_args!("Connections: {}", status.clients.len()));
    line(&mut text, format_args!("Outstanding: {}", status.outstanding()));
    line(&mut text, format_args!("Zxid: {:#x}", status.zxid));
    line(&mut text, format_args!("Mode: {}", state(status)));
    line(&mut text, format_args!("Node count: {}", status.nodes_count));
    if status.mode == Some("leader") {
        let (last, least, greatest) = status.proposal_sizes;
        line(&mut text, format_args!("Proposal sizes last/min/max: {last}/{least}/{greatest}"));
    }
    text
}

fn cons(status: &Status) -> String {
    let mut text = String::new();
    status.clients.iter().for_each(|client| line(&mut text, format_args!("{}", client_line(client, false))));
    text + "\n"
}

/// One client; an asking one is not read any more, which ZooKeeper shows by a 0.
fn client_line(client: &ClientStatus, brief: bool) -> String {
    let counters = &client.counters;
    let mut text = format!(
        " /{}[{}](queued={},recved={},sent={}",
        client.remote,
        u8::from(!client.is_asking),
        client.outstanding,
        counters.received.max(u64::from(client.is_asking)),
        counters.sent
    );
    if !brief && client.session != 0 {
        let operation = counters.last_operation.map_or("NA", short_name);
        text.push_str(&format!(
            ",sid={:#x},lop={operation},est={},to={}",
            client.session, counters.established.0, client.timeout_ms
        ));
        if counters.last_cxid >= 0 {
            text.push_str(&format!(",lcxid={:#x}", counters.last_cxid));
        }
        text.push_str(&format!(
            ",lzxid={:#x},lresp={},llat={},minlat={},avglat={},maxlat={}",
            counters.last_zxid,
            counters.last_response.0,
            counters.last_latency_ms,
            counters.min_latency_ms,
            counters.sum_latency_ms.checked_div(counters.timed).unwrap_or(0),
            counters.max_latency_ms
        ));
    }
    text + ")"
}

/// An operation as `cons` names it.
pub fn short_name(operation: OpCode) -> &'static str {
    match operation {
        OpCode::Ping => "PING",
        OpCode::CreateSession => "SESS",
        OpCode::Multi => "MULT",
        OpCode::MultiRead => "MLTR",
        OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl | OpCode::CreateIfNotExists => {
            "CREA"
        }
        OpCode::Delete | OpCode::DeleteContainer | OpCode::RemoveRecursive | OpCode::TryRemove => "DELE",
        OpCode::SetData => "SETD",
        OpCode::Reconfig => "RECO",
        OpCode::SetAcl => "SETA",
        OpCode::CloseSession => "CLOS",
        OpCode::Sync => "SYNC",
        OpCode::Check | OpCode::CheckNotExists | OpCode::CheckStat => "CHEC",
        OpCode::Exists => "EXIS",
        OpCode::GetData => "GETD",
        OpCode::SetWatches => "SETW",
        OpCode::SetWatches2 => "STW2",
        OpCode::AddWatch => "ADDW",
        OpCode::GetAcl => "GETA",
        OpCode::GetChildren
        | OpCode::GetChildren2
        | OpCode::FilteredList
        | OpCode::FilteredListWithStatsAndData
        | OpCode::ListRecursive => "GETC",
        OpCode::GetAllChildrenNumber => "GETACN",
        OpCode::CheckWatches => "CHKW",
        OpCode::RemoveWatches => "REMW",
        OpCode::WhoAmI => "HOMI",
        OpCode::GetEphemerals => "GETE",
        OpCode::GetHistory => "GETH",
        OpCode::GetRequests => "GETR",
        OpCode::Notification | OpCode::Error | OpCode::Auth | OpCode::Sasl => "NA",
    }
}

fn wchs(status: &Status) -> String {
    let (connections, paths, watches) = status.watches_summary;
    format!("{connections} connections watching {paths} paths\nTotal watches:{watches}\n")
}

fn dump(lists: &Lists) -> String {
    let mut text = "SessionTracker dump:\n".to_owned();
    match &lists.expiring {
        Some(expiring) => {
            let count: usize = expiring.iter().map(|(_, sessions)| sessions.len()).sum();
            line(&mut text, format_args!("Session Sets ({})/({count}):", expiring.len()));
            for (at, sessions) in expiring {
                line(&mut text, format_args!("{} expire at {}:", sessions.len(), java_date(*at)));
                sessions.iter().for_each(|session| line(&mut text, format_args!("\t{session:#x}")));
            }
        }
        None => {
            line(&mut text, format_args!("Global Sessions({}):", lists.sessions.len()));
            for (session, timeout_ms) in &lists.sessions {
                line(&mut text, format_args!("{session:#x}\t{timeout_ms}ms"));
            }
        }
    }
    text.push_str("ephemeral nodes dump:\n");
    line(&mut text, format_args!("Sessions with Ephemerals ({}):", lists.ephemerals.len()));
    for (session, paths) in &lists.ephemerals {
        line(&mut text, format_args!("{session:#x}:"));
        paths.iter().for_each(|path| line(&mut text, format_args!("\t{path}")));
    }
    text.push_str("Connections dump:\n");
    let count: usize = lists.connections.values().map(Vec::len).sum();
    line(&mut text, format_args!("Connections Sets ({})/({count}):", lists.connections.len()));
    for (at, connections) in &lists.connections {
        line(&mut text, format_args!("{} expire at {}:", connections.len(), java_date(*at)));
        for (remote, session) in connections {
            line(&mut text, format_args!("\tip: /{remote} sessionId: {session:#x}"));
        }
    }
    text
}

fn envi(facts: &Facts) -> String {
    let mut text = "Environment:\n".to_owned();
    line(&mut text, format_args!("zookeeper.version={}", version()));
    facts.environment.iter().for_each(|(key, value)| line(&mut text, format_args!("{key}={value}")));
    text
}

/// Year, month (1 to 12), day, hour, minute, second and the day of the week (0 for Sunday) of a moment, in UTC.
fn civil(at: WallMillis) -> (i64, usize, i64, i64, i64, i64, usize) {
    let seconds = at.0.div_euclid(1000);
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years begin in March here, so that the leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let weekday = (days + 4).rem_euclid(7);
    (year, month as usize, day, of_day / 3600, of_day / 60 % 60, of_day % 60, weekday as usize)
}

/// As Java's `Date.toString` shows a moment.
fn java_date(at: WallMillis) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day, hour, minute, second, weekday) = civil(at);
    let (month, weekday) = (MONTHS[month - 1], DAYS[weekday]);
    format!("{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
}

/// As JSON has dates.
pub fn iso_date(at: WallMillis) -> String {
    let (year, month, day, hour, minute, second, _) = civil(at);
    let millis = at.0.rem_euclid(1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}+00:00")
}

fn conf(config: &Config, facts: &Facts) -> String {
    let mut text = String::new();
    line(&mut text, format_args!("clientPort={}", config.client_port.map_or(-1, i32::from)));
    let secure = config.secure_client.as_ref().map_or(-1, |(_, port)| i32::from(*port));
    line(&mut text, format_args!("secureClientPort={secure}"));
    line(&mut text, format_args!("dataDir={}", config.data_dir.display()));
    line(&mut text, format_args!("dataDirSize={}", facts.data_dir_bytes));
    line(&mut text, format_args!("dataLogDir={}", config.data_log_dir.display()));
    line(&mut text, format_args!("dataLogSize={}", facts.log_dir_bytes));
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn moments_as_java_shows_them() {
        for (millis, java, iso) in [
            (0, "Thu Jan 01 00:00:00 UTC 1970", "1970-01-01T00:00:00.000+00:00"),
            (1_795_280_689_123, "Sat Nov 21 17:04:49 UTC 2026", "2026-11-21T17:04:49.123+00:00"),
            (951_782_400_000, "Tue Feb 29 00:00:00 UTC 2000", "2000-02-29T00:00:00.000+00:00"),
            (-1, "Wed Dec 31 23:59:59 UTC 1969", "1969-12-31T23:59:59.999+00:00"),
        ] {
            assert_eq!((java_date(WallMillis(millis)), iso_date(WallMillis(millis))), (java.into(), iso.into()));
        }
    }

    /// The metrics that an expression asks for: names that are neither called, nor within quotes, braces or brackets.
    fn asked(expression: &str) -> Vec<String> {
        let mut bare = String::new();
        let (mut depth, mut is_quoted) = (0, false);
        for c in expression.chars() {
            match c {
                '"' => is_quoted = !is_quoted,
                '{' | '[' if !is_quoted => depth += 1,
                '}' | ']' if !is_quoted => depth -= 1,
                c if !is_quoted && depth == 0 => bare.push(c),
                _ => {}
            }
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut names = Vec::new();
        let mut rest = bare.as_str();
        while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
            let end = rest[start..].find(|c| !is_part(c)).map_or(rest.len(), |len| start + len);
            if !rest[end..].trim_start().starts_with('(') {
                names.push(rest[start..end].to_owned());
            }
            rest = &rest[end..];
        }
        names
    }

    #[test]
    fn names_that_an_expression_asks_for() {
        for (expression, expected) in [
            ("sum(increase(a_b{job=~\"$j}\", x=\"y\"}[$__rate_interval]))", &["a_b"][..]),
            ("a / (b) * 100", &["a", "b"]),
            ("label_values(z{job=\"c\"}, instance)", &["z", "instance"]),
        ] {
            assert_eq!(asked(expression), expected, "{expression}");
        }
    }

    #[test]
    fn the_dashboard_asks_for_what_is_there() {
        let read = |path: &Path| match path.to_str() {
            Some("zoo.cfg") => Ok("dataDir=/d\nclientPort=2181\n".to_owned()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        };
        let (config, _) = Config::load(Path::new("zoo.cfg"), &read).unwrap();
        let (metrics, facts, lists) = (Metrics::default(), Facts::default(), Lists::default());
        let leader = Status { mode: Some("leader"), leader_uptime_ms: Some(1), ..Status::default() };
        let trace = Trace::new(1, config.requests);
        let (config, status, metrics, facts) = (&config, &leader, &metrics, &facts);
        let report = Report { config, status, metrics, facts, lists: &lists, trace: &trace };
        let text = metrics::prometheus(&samples(report));
        let there: Vec<&str> = text.lines().filter_map(|line| line.split([' ', '{']).next()).collect();
        let board: serde_json::Value =
            serde_json::from_str(include_str!("../../docker/dashboards/coordinators.json")).unwrap();
        let mut found = 0;
        for panel in board["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let names = asked(target["expr"].as_str().unwrap());
                assert!(!names.is_empty(), "{target}");
                for name in names {
                    assert!(there.contains(&name.as_str()), "{name} of {} is no metric", panel["title"]);
                    assert!(!NEVER_COUNTED.contains(&name.as_str()), "{name} of {} is always zero", panel["title"]);
                    found += 1;
                }
            }
        }
        for variable in board["templating"]["list"].as_array().unwrap() {
            let Some(query) = variable["query"]["query"].as_str() else { continue };
            assert!(there.contains(&asked(query)[0].as_str()), "{query}");
            found += 1;
        }
        assert!(found > 20, "{found}");
    }
}
