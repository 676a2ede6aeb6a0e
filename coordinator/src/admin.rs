//! The commands of ZooKeeper's AdminServer: names, aliases and the JSON of their answers, the two probes, and what each
//! changes. Knows nothing of HTTP but status codes; figures are handed in.

use crate::config::{Config, Server};
use crate::four_letter::{self, ClientStatus, Lists, NOT_SERVING, Report, Shown, Status, Watching};
use crate::metrics::{Metrics, each_flat, prometheus};
use crate::trace::Wanted;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A command: its name, its other names, and whether it needs a server that serves.
type Command = (&'static str, &'static [&'static str], bool);

/// All commands in the order of their names.
pub const COMMANDS: &[Command] = &[
    ("configuration", &["conf", "config"], true),
    ("connection_stat_reset", &["crst"], true),
    ("connections", &["cons"], true),
    ("dirs", &[], true),
    ("dump", &[], true),
    ("environment", &["env", "envi"], false),
    ("get_trace_mask", &["gtmk"], false),
    ("hash", &[], true),
    ("initial_configuration", &["icfg"], true),
    ("is_read_only", &["isro"], true),
    ("last_snapshot", &["lsnp"], true),
    ("leader", &["lead"], true),
    ("monitor", &["mntr"], false),
    ("observer_connection_stat_reset", &["orst"], true),
    ("observers", &["obsr"], true),
    ("requests", &[], false),
    ("restore", &["rest"], true),
    ("ruok", &[], true),
    ("server_stats", &["srvr"], true),
    ("set_trace_mask", &["stmk"], false),
    ("snapshot", &["snap"], true),
    ("stat_reset", &["srst"], true),
    ("stats", &["stat"], true),
    ("system_properties", &["sysp"], false),
    ("voting_view", &[], true),
    ("watch_summary", &["wchs"], true),
    ("watchers", &[], true),
    ("watches", &["wchc"], true),
    ("watches_by_path", &["wchp"], true),
    ("zabstate", &[], false),
];

/// Watches that are shown if no limit is given.
const WATCHERS_SHOWN: usize = 1000;
/// Requests that are shown if no limit is given.
const REQUESTS_SHOWN: usize = 100;

/// What is asked of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRequest {
    /// A command by one of its names, with the arguments of the URL.
    Command {
        /// As in the URL.
        name: String,
        /// First value of each.
        arguments: BTreeMap<String, String>,
    },
    /// The tree as a snapshot of ZooKeeper; what follows is the server's to do if the answer is [`AdminBody::Snapshot`].
    Snapshot {
        /// As in the request's header `Authorization`: a scheme and, behind a space, a proof.
        authorization: Option<String>,
        /// Where the request came from.
        remote: IpAddr,
    },
    /// Another tree for the ensemble; its outcome is the server's to tell if the answer is [`AdminBody::Restoring`].
    Restore {
        /// As for a snapshot.
        authorization: Option<String>,
        /// From where.
        remote: IpAddr,
        /// As [`crate::tree::Tree::snapshot`] makes it; none to hear whether it would be taken.
        snapshot: Option<bytes::Bytes>,
    },
    /// Does the process work at all? That it answers is the answer.
    Live,
    /// Would a client be served here?
    Ready,
    /// All figures for Prometheus.
    Metrics,
}

/// What goes back.
#[derive(Clone, Debug, PartialEq)]
pub struct AdminReply {
    /// As HTTP has it.
    pub status: u16,
    /// JSON, or text for Prometheus.
    pub body: AdminBody,
}

/// The content of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum AdminBody {
    /// A command's.
    Json(Value),
    /// Prometheus' text format.
    Text(String),
    /// The snapshot may be taken.
    Snapshot,
    /// The ensemble is given the tree.
    Restoring,
}

/// What a command changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    ResetConnections,
    ResetStats,
    SetTraceMask(i64),
}

/// How the server stands in the ensemble.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) leader: Option<u64>,
    pub(crate) term: u64,
    pub(crate) is_serving: bool,
}

fn command(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|(primary, others, _)| *primary == name || others.contains(&name))
}

/// What the request changes before it is answered.
pub(crate) fn effect(request: &AdminRequest) -> Option<Effect> {
    let AdminRequest::Command { name, arguments } = request else { return None };
    match command(name)?.0 {
        "connection_stat_reset" => Some(Effect::ResetConnections),
        "stat_reset" => Some(Effect::ResetStats),
        "set_trace_mask" => arguments.get("traceMask")?.parse().ok().map(Effect::SetTraceMask),
        _ => None,
    }
}

/// Which lists the answer shows.
pub(crate) fn shown_lists(request: &AdminRequest) -> Shown<'_> {
    let AdminRequest::Command { name, arguments } = request else { return Shown::Nothing };
    match command(name).map(|(name, ..)| *name) {
        Some("dump") => Shown::Sessions,
        Some("hash") => Shown::Digests,
        Some("watches") => Shown::WatchesBySession,
        Some("watches_by_path") => Shown::WatchesByPath,
        Some("watchers") => Shown::Watchers {
            path: arguments.get("path").map_or("", String::as_str),
            limit: arguments.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(WATCHERS_SHOWN),
        },
        _ => Shown::Nothing,
    }
}

/// The answer to a request.
pub(crate) fn answer(request: &AdminRequest, report: Report<'_>, standing: Standing) -> AdminReply {
    let (name, arguments) = match request {
        AdminRequest::Command { name, arguments } => (name, arguments),
        AdminRequest::Snapshot { .. } if !is_serving(report.status) => {
            return json_reply(200, json!({"command": "snapshot", "error": NOT_SERVING}));
        }
        AdminRequest::Snapshot { .. } => return AdminReply { status: 200, body: AdminBody::Snapshot },
        // The node has its own answers to the others.
        AdminRequest::Restore { .. } => return json_reply(200, json!({"command": "restore", "error": NOT_SERVING})),
        AdminRequest::Live => return json_reply(200, json!({"status": "live"})),
        AdminRequest::Ready => return ready(report.status, standing),
        AdminRequest::Metrics => {
            let body = AdminBody::Text(prometheus(&four_letter::samples(report)));
            return AdminReply { status: 200, body };
        }
    };
    let Some((primary, _, needs_serving)) = command(name) else {
        return json_reply(200, json!({"command": name, "error": format!("Unknown command: {name}")}));
    };
    if *needs_serving && !is_serving(report.status) {
        return json_reply(200, json!({"command": name, "error": NOT_SERVING}));
    }
    let mut body = content(primary, arguments, report, standing);
    body.insert("command".to_owned(), json!(primary));
    body.entry("error").or_insert(Value::Null);
    json_reply(200, Value::Object(body))
}

fn is_serving(status: &Status) -> bool {
    status.mode.is_some() || status.is_read_only
}

/// The answer to who may not have what he asks for.
pub(crate) fn refused(command: &str, status: u16, error: Option<&str>) -> AdminReply {
    json_reply(status, json!({"command": command, "error": error}))
}

fn json_reply(status: u16, body: Value) -> AdminReply {
    AdminReply { status, body: AdminBody::Json(body) }
}

/// Ready is who has a leader and has applied all that earlier leaders left.
fn ready(status: &Status, standing: Standing) -> AdminReply {
    let body = json!({
        "status": if standing.is_serving { "ready" } else { "not ready" },
        "server_state": four_letter::state(status),
        "leader": standing.leader,
        "term": standing.term,
        "last_zxid": format!("{:#x}", status.zxid),
    });
    json_reply(if standing.is_serving { 200 } else { 503 }, body)
}

fn content(
    primary: &str,
    arguments: &BTreeMap<String, String>,
    report: Report<'_>,
    standing: Standing,
) -> Map<String, Value> {
    let Report { config, status, metrics, facts, lists, trace } = report;
    let value = match primary {
        "configuration" => configuration(config),
        "connections" => {
            json!({"connections": clients(status, false, false), "secure_connections": clients(status, true, false)})
        }
        "dirs" => json!({"datadir_size": facts.data_dir_bytes, "logdir_size": facts.log_dir_bytes}),
        "dump" => {
            let expiring = lists.expiring.iter().flatten().map(|(at, ids)| (at.0.to_string(), json!(ids)));
            let ephemerals = lists.ephemerals.iter().map(|(session, paths)| (session.to_string(), json!(paths)));
            json!({
                "expiry_time_to_session_ids": expiring.collect::<Map<_, _>>(),
                "session_id_to_ephemeral_paths": ephemerals.collect::<Map<_, _>>(),
            })
        }
        "environment" => environment(facts),
        "get_trace_mask" => json!({"tracemask": status.trace_mask}),
        "set_trace_mask" => set_trace_mask(arguments),
        "hash" => {
            let one = |(zxid, digest): &(i64, u64)| json!({"zxid": zxid, "digest": digest, "digest_version": 2});
            json!({"digests": lists.digests.iter().map(one).collect::<Vec<_>>()})
        }
        "initial_configuration" => {
            let lines = config.properties.iter().map(|(key, entry)| format!("{key}={}\n", shown(key, &entry.value)));
            json!({"initial_configuration": lines.collect::<String>()})
        }
        "is_read_only" => json!({"read_only": status.is_read_only}),
        "last_snapshot" => json!({"zxid": format!("{:x}", status.zxid), "timestamp": -1}),
        "leader" => leader(config, status, standing),
        "monitor" => monitor(report),
        "observers" => json!({"synced_observers": status.synced_observers, "observers": []}),
        "server_stats" => server_stats(status, metrics, facts),
        "stats" => {
            let mut stats = server_stats(status, metrics, facts);
            stats["connections"] = clients(status, false, true);
            stats["secure_connections"] = clients(status, true, true);
            stats
        }
        "system_properties" => {
            let one =
                |(key, entry): (&str, &common::properties::Entry)| (key.to_owned(), json!(shown(key, &entry.value)));
            Value::Object(config.properties.iter().map(one).collect())
        }
        "voting_view" => voting_view(config),
        "requests" => wanted_requests(arguments)
            .map_or_else(|error| json!({"error": error}), |wanted| Value::Object(trace.json(&wanted))),
        "watchers" => watchers(lists),
        "restore" => json!({"error": "restore is asked of the leader, by POST, with a snapshot as content"}),
        "watch_summary" => {
            let (connections, paths, watches) = status.watches_summary;
            json!({"num_connections": connections, "num_paths": paths, "num_total_watches": watches})
        }
        "watches" => {
            let watches = lists.watches.iter().map(|(session, paths)| (session.to_string(), json!(paths)));
            json!({"session_id_to_watched_paths": watches.collect::<Map<_, _>>()})
        }
        "watches_by_path" => {
            let watchers = lists.watchers.iter().map(|(path, sessions)| (path.clone(), json!(sessions)));
            json!({"path_to_session_ids": watchers.collect::<Map<_, _>>()})
        }
        "zabstate" => zabstate(config, status),
        // Commands that only do something: ruok and the resets.
        _ => json!({}),
    };
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn environment(facts: &four_letter::Facts) -> Value {
    let mut map: Map<_, _> = facts.environment.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    map.insert("zookeeper.version".to_owned(), json!(four_letter::version()));
    Value::Object(map)
}

/// A setting's value unless it is a secret; ZooKeeper shows those, too.
fn shown<'a>(key: &str, value: &'a str) -> &'a str {
    let key = key.to_lowercase();
    if key.contains("password") || key.contains("superdigest") || key.contains("secret") { "[hidden]" } else { value }
}

/// Who watches what, since when and from where: of the paths that begin with `path`, `limit` watches (1000).
fn watchers(lists: &Lists) -> Value {
    let one = |watching: &Watching| {
        json!({
            "path": watching.path,
            "watches": if watching.of_children { "children" } else { "data" },
            "mode": watching.mode,
            "session_id": watching.session,
            "remote": watching.remote.map(|remote| remote.to_string()),
            "since": four_letter::iso_date(watching.since),
        })
    };
    json!({"watchers": lists.watching.iter().map(one).collect::<Vec<_>>(), "not_shown": lists.not_shown})
}

/// Which requests the arguments of the URL name: `zxid=`, or `session=` with or without `xid=`; `order=slowest`; `limit=`.
/// Ids are decimal, or hexadecimal behind `0x`.
fn wanted_requests(arguments: &BTreeMap<String, String>) -> Result<Wanted, String> {
    let id = |key: &str| {
        let Some(text) = arguments.get(key) else { return Ok(0) };
        let parsed = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok().map(u64::cast_signed),
            None => text.parse().ok(),
        };
        parsed.ok_or_else(|| format!("{key}={text} is no number"))
    };
    let is_slowest_first = match arguments.get("order").map(String::as_str) {
        None | Some("recent") => false,
        Some("slowest") => true,
        Some(order) => return Err(format!("order={order} is neither recent nor slowest")),
    };
    let limit = arguments.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(REQUESTS_SHOWN);
    let xid = i32::try_from(id("xid")?).map_err(|_| "xid is no 32-bit number".to_owned())?;
    Ok(Wanted { zxid: id("zxid")?, session: id("session")?, xid, is_slowest_first, limit })
}

fn set_trace_mask(arguments: &BTreeMap<String, String>) -> Value {
    const NEEDED: &str = "setTraceMask requires long traceMask argument";
    match arguments.get("traceMask").map(|mask| (mask, mask.parse::<i64>())) {
        None => json!({"error": NEEDED}),
        Some((mask, Err(_))) => json!({"error": format!("{NEEDED}, got {mask}")}),
        Some((_, Ok(mask))) => json!({"tracemask": mask}),
    }
}

fn configuration(config: &Config) -> Value {
    json!({
        "client_port": config.client_port.map_or(-1, i32::from),
        "data_dir": config.data_dir,
        "data_log_dir": config.data_log_dir,
        "tick_time": config.tick_time_ms,
        "max_client_cnxns": config.max_client_connections,
        "min_session_timeout": config.min_session_timeout_ms,
        "max_session_timeout": config.max_session_timeout_ms,
        "server_id": if config.is_standalone() { 0 } else { config.my_id },
        "client_port_listen_backlog": config.client_port_listen_backlog,
    })
}

fn clients(status: &Status, secure: bool, brief: bool) -> Value {
    let one = |client: &ClientStatus| {
        let counters = &client.counters;
        let mut value = json!({
            "remote_socket_address": client.remote.to_string(),
            "interest_ops": 1,
            "outstanding_requests": client.outstanding,
            "packets_received": counters.received,
            "packets_sent": counters.sent,
        });
        if !brief {
            let more = json!({
                "session_id": client.session,
                "last_operation": counters.last_operation.map_or("NA", four_letter::short_name),
                "established": four_letter::iso_date(counters.established),
                "session_timeout": client.timeout_ms,
                "last_cxid": counters.last_cxid,
                "last_zxid": counters.last_zxid,
                "last_response_time": counters.last_response.0,
                "last_latency": counters.last_latency_ms,
                "min_latency": counters.min_latency_ms,
                "avg_latency": counters.sum_latency_ms.checked_div(counters.timed).unwrap_or(0),
                "max_latency": counters.max_latency_ms,
            });
            if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
                value.extend(more);
            }
        }
        value
    };
    status.clients.iter().filter(|client| client.is_secure == secure).map(one).collect()
}

fn server_stats(status: &Status, metrics: &Metrics, facts: &four_letter::Facts) -> Value {
    let sizes = metrics.response_size.map(|(last, least, greatest)| [last, least, greatest].map(u64::cast_signed));
    let [last, least, greatest] = sizes.unwrap_or([-1; 3]);
    let response = json!({"last_buffer_size": last, "min_buffer_size": least, "max_buffer_size": greatest});
    let insecure =
        |local| status.clients.iter().filter(|c| !c.is_secure && c.remote.ip().is_loopback() == local).count();
    let mut stats = json!({
        "version": four_letter::version(),
        "read_only": status.is_read_only,
        "server_stats": {
            "packets_sent": metrics.packets_sent,
            "packets_received": metrics.packets_received,
            "fsync_threshold_exceed_count": 0,
            "client_response_stats": response.clone(),
            "data_dir_size": facts.data_dir_bytes,
            "log_dir_size": facts.log_dir_bytes,
            "provider_null": false,
            "last_processed_zxid": status.zxid,
            "outstanding_requests": status.outstanding(),
            "server_state": four_letter::state(status),
            "avg_latency": metrics.latency.mean(),
            "max_latency": metrics.latency.max(),
            "min_latency": metrics.latency.min(),
            "num_alive_client_connections": status.clients.len(),
            "uptime": status.uptime_ms,
            "auth_failed_count": metrics.auth_failed,
            "non_mtlsremote_conn_count": insecure(false),
            "non_mtlslocal_conn_count": insecure(true),
        },
        "client_response": response,
        "node_count": status.nodes_count,
    });
    if status.mode == Some("leader") {
        let (last, least, greatest) = status.proposal_sizes;
        stats["proposal_stats"] =
            json!({"last_buffer_size": last, "min_buffer_size": least, "max_buffer_size": greatest});
    }
    stats
}

fn leader(config: &Config, status: &Status, standing: Standing) -> Value {
    if config.is_standalone() {
        return json!({"error": "server is not initialized"});
    }
    let host = standing.leader.and_then(|id| config.servers.get(&id)).map_or("", |server| &server.host);
    json!({
        "is_leader": status.mode == Some("leader"),
        "leader_id": standing.leader.map_or(-1, u64::cast_signed),
        "leader_ip": host,
    })
}

fn monitor(report: Report<'_>) -> Value {
    let mut map = Map::new();
    map.insert("version".to_owned(), json!(four_letter::version()));
    map.insert("server_state".to_owned(), json!(four_letter::state(report.status)));
    if let Some(state) = four_letter::peer_state(report.status) {
        map.insert("peer_state".to_owned(), json!(state));
    }
    each_flat(&four_letter::samples(report), &mut |name, text| {
        // Every figure is a number in JSON, too.
        map.insert(name.to_owned(), text.parse().map_or_else(|_| json!(text), Value::Number));
    });
    Value::Object(map)
}

fn voting_view(config: &Config) -> Value {
    let one = |server: &Server| {
        let client = server.client.as_ref().map_or(String::new(), |(address, port)| format!("{address}:{port}"));
        let view = json!({
            "server_addresses": [format!("{}:{}", server.host, server.peer_port)],
            "election_addresses": [format!("{}:{}", server.host, server.election_port)],
            "client_address": client,
            "learner_type": "participant",
        });
        (server.id.to_string(), view)
    };
    let voters = config.servers.values().filter(|server| !server.is_observer && !config.is_standalone());
    json!({"current_config": voters.map(one).collect::<Map<_, _>>()})
}

fn zabstate(config: &Config, status: &Status) -> Value {
    let Some(me) = config.servers.get(&config.my_id).filter(|_| !config.is_standalone()) else {
        return json!({"voting": false, "zabstate": ""});
    };
    let address = config.client_port.map_or(String::new(), |port| format!("{}:{port}", config.client_address));
    json!({
        "myid": me.id,
        "is_leader": status.mode == Some("leader"),
        "quorum_address": format!("{}:{}", me.host, me.peer_port),
        "election_address": format!("{}:{}", me.host, me.election_port),
        "client_address": address,
        "voting": !me.is_observer,
        "last_zxid": format!("{:#x}", status.zxid),
        "zab_epoch": status.zxid >> 32,
        "zab_counter": status.zxid & 0xffff_ffff,
        "zabstate": if status.mode.is_some() { "broadcast" } else { "election" },
    })
}

/// The answer when the ensemble has taken the tree.
pub(crate) fn restored(zxid: i64) -> AdminReply {
    json_reply(200, json!({"command": "restore", "error": null, "last_zxid": zxid}))
}
