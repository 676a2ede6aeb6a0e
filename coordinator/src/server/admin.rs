//! The HTTP ports: ZooKeeper's AdminServer with `/livez` and `/readyz`, and the port of its Prometheus provider. Knows
//! URLs and status codes; what the answers are is the node's to say.

use super::disk::{DiskError, SnapshotBytes, Turn};
use super::{Event, Events};
use crate::admin::{AdminBody, AdminReply, AdminRequest, COMMANDS, refused};
use crate::config::Config;
use crate::zookeeper_data::{Compression, DataError, Import};
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use tokio::sync::{Semaphore, oneshot};

/// Port of the AdminServer if none is set.
const ADMIN_PORT: u16 = 8080;
/// Port of the Prometheus provider if none is set.
const METRICS_PORT: u16 = 7000;

/// The longest snapshot that is restored: it is one entry of the log, which every server keeps in memory for a while.
const RESTORE_BYTES: usize = 32 * 1024 * 1024;
/// How long who restores waits for the ensemble.
const RESTORE_TIME: std::time::Duration = std::time::Duration::from_secs(60);

/// The class that ZooKeeper loads for Prometheus.
const PROMETHEUS: &str = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";

/// A question for the node and where its answer goes.
pub(super) struct Question {
    pub(super) request: AdminRequest,
    pub(super) answer: oneshot::Sender<(AdminReply, Option<Snapshot>)>,
    /// For a snapshot: that it is its turn.
    pub(super) turn: Option<Turn>,
}

/// What will be the snapshot that was asked for: its zxid and its bytes.
pub(super) type Snapshot = oneshot::Receiver<Result<(i64, SnapshotBytes), DiskError>>;

/// An address to serve HTTP on, and what is served there.
pub(super) struct HttpPort {
    pub(super) name: &'static str,
    pub(super) host: String,
    pub(super) port: u16,
    router: Router,
}

/// The HTTP ports that the configuration asks for.
///
/// # Errors
/// A setting that cannot be used.
pub(super) fn ports(config: &Config, events: &Events) -> Result<Vec<HttpPort>, common::properties::PropertyError> {
    let properties = &config.properties;
    let text = |key: &str, default: &str| properties.get(key).map_or(default, str::trim).to_owned();
    let port = |key: &str, default| properties.parse_or(key, default, "a port number from 0 to 65535");
    // Looked at also where nothing listens: a value that cannot be used is told at once.
    let (admin_port, metrics_port) =
        (port("admin.serverPort", ADMIN_PORT)?, port("metricsProvider.httpPort", METRICS_PORT)?);
    let mut ports = Vec::new();
    // As ZooKeeper: whatever is not "false" leaves it on.
    if text("admin.enableServer", "true") != "false" {
        let url = text("admin.commandURL", "/commands");
        ports.push(HttpPort {
            name: "admin server",
            host: text("admin.serverAddress", "0.0.0.0"),
            port: admin_port,
            router: admin_router(url.trim_end_matches('/'), events.clone()),
        });
    }
    if text("metricsProvider.className", "") == PROMETHEUS {
        ports.push(HttpPort {
            name: "metrics",
            host: text("metricsProvider.httpHost", "0.0.0.0"),
            port: metrics_port,
            router: Router::new().route("/metrics", get(metrics)).with_state(events.clone()),
        });
    }
    Ok(ports)
}

impl HttpPort {
    /// Serves until the task is dropped.
    pub(super) async fn serve(self, listener: tokio::net::TcpListener) {
        let service = self.router.into_make_service_with_connect_info::<SocketAddr>();
        if let Err(error) = axum::serve(listener, service).await {
            tracing::warn!(port = self.name, %error, "an HTTP port is not served any more");
        }
    }
}

fn admin_router(url: &str, events: Events) -> Router {
    let base = url.to_owned();
    let links = move || {
        let base = base.clone();
        async move { links(&base) }
    };
    Router::new()
        .route(if url.is_empty() { "/" } else { url }, get(links.clone()))
        .route(&format!("{url}/"), get(links))
        .route(&format!("{url}/{{name}}"), get(command).post(restore))
        .route("/livez", get(|State(events): State<Events>| ask(events, AdminRequest::Live)))
        .route("/readyz", get(|State(events): State<Events>| ask(events, AdminRequest::Ready)))
        .with_state(events)
}

fn links(base: &str) -> Html<String> {
    Html(COMMANDS.iter().map(|(name, ..)| format!("<a href=\"{base}/{name}\">{name}</a>\n<br/>\n")).collect())
}

async fn command(
    State(events): State<Events>,
    Path(name): Path<String>,
    Query(arguments): Query<BTreeMap<String, String>>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if matches!(name.as_str(), "snapshot" | "snap") {
        let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (authorization, remote) = (authorization.map(str::to_owned), remote.ip().to_canonical());
        return snapshot(events, &arguments, AdminRequest::Snapshot { authorization, remote }).await;
    }
    ask(events, AdminRequest::Command { name, arguments }).await
}

/// The tree as a snapshot of ZooKeeper, with its zxid and size in the headers; these alone with `streaming=false`. One at
/// a time: each needs the memory of a tree.
async fn snapshot(events: Events, arguments: &BTreeMap<String, String>, request: AdminRequest) -> Response {
    static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(1)));
    let Ok(turn) = Arc::clone(&TURNS).try_acquire_owned() else {
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    };
    let Some((reply, snapshot)) = put(&events, request, Some(turn)).await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let Some(snapshot) = snapshot else { return shown(reply) };
    let (zxid, bytes) = match snapshot.await {
        Ok(Ok(made)) => made,
        failed => {
            let error = failed.map_or_else(
                |gone| gone.to_string(),
                |made| made.err().map_or_else(String::new, |error| error.to_string()),
            );
            tracing::warn!(error, "a snapshot cannot be taken");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let headers = [("last_zxid", format!("{zxid:#x}")), ("snapshot_size", bytes.as_ref().len().to_string())];
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    if arguments.get("streaming").is_some_and(|value| !value.eq_ignore_ascii_case("true")) {
        let body = AdminBody::Json(serde_json::json!({"command": "snapshot", "error": null}));
        return (headers, shown(AdminReply { status: 200, body })).into_response();
    }
    (headers, kind, Bytes::from_owner(bytes)).into_response()
}

/// Another tree for all servers: a snapshot of ZooKeeper as content. The snapshot is put together apart, so that the node
/// meets only trees that are whole.
async fn restore(
    State(events): State<Events>,
    Path(name): Path<String>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    content: Body,
) -> Response {
    if !matches!(name.as_str(), "restore" | "rest") {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let remote = remote.ip().to_canonical();
    let request = |snapshot| AdminRequest::Restore { authorization: authorization.clone(), remote, snapshot };
    // Who may not is not read.
    match put(&events, request(None), None).await {
        Some((reply, _)) if reply.body != AdminBody::Restoring => return shown(reply),
        Some(_) => {}
        None => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
    let Ok(content) = axum::body::to_bytes(content, RESTORE_BYTES).await else {
        let error = format!("a snapshot of more than {RESTORE_BYTES} bytes is for castellan import-zookeeper");
        return shown(refused("restore", 413, Some(&error)));
    };
    if content.is_empty() {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let read = tokio::task::spawn_blocking(move || {
        let tree = Import::from_snapshot(&content, Compression::None, 0)?.into_tree()?;
        Ok::<Bytes, DataError>(tree.snapshot().into())
    });
    let snapshot = match read.await {
        Ok(Ok(snapshot)) => snapshot,
        Ok(Err(error)) => {
            tracing::warn!(%error, "what is to be restored is no snapshot");
            return shown(refused("restore", 500, Some(&error.to_string())));
        }
        Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    match tokio::time::timeout(RESTORE_TIME, put(&events, request(Some(snapshot)), None)).await {
        Ok(Some((reply, _))) => shown(reply),
        Ok(None) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Err(_) => shown(refused("restore", 500, Some("it is not known whether the ensemble has taken the tree"))),
    }
}

async fn metrics(State(events): State<Events>) -> Response {
    ask(events, AdminRequest::Metrics).await
}

/// The node answers in its turn; that it does is what `/livez` is about.
async fn ask(events: Events, request: AdminRequest) -> Response {
    match put(&events, request, None).await {
        Some((reply, _)) => shown(reply),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn put(events: &Events, request: AdminRequest, turn: Option<Turn>) -> Option<(AdminReply, Option<Snapshot>)> {
    let (answer, answered) = oneshot::channel();
    events.send(Event::Admin(Question { request, answer, turn })).await.ok()?;
    answered.await.ok()
}

fn shown(AdminReply { status, body }: AdminReply) -> Response {
    let (kind, text) = match body {
        AdminBody::Snapshot | AdminBody::Restoring => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        AdminBody::Json(value) => ("application/json", format!("{value:#}")),
        AdminBody::Text(text) => ("text/plain; version=0.0.4; charset=utf-8", text),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, kind)], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    /// The node permits the snapshot, and it is made.
    fn answer(question: Question, bytes: &[u8]) {
        let (made, snapshot) = oneshot::channel();
        // Who asked may be gone.
        let _ = question.answer.send((AdminReply { status: 200, body: AdminBody::Snapshot }, Some(snapshot)));
        let _ = made.send(Ok((7, SnapshotBytes::new(bytes.to_vec(), question.turn.unwrap()))));
    }

    #[tokio::test]
    async fn a_snapshot_that_nobody_waits_for_holds_up_the_next_until_it_is_made() {
        let (events, mut asked) = mpsc::channel(4);
        let remote = [127, 0, 0, 1].into();
        let ask = || {
            let request = AdminRequest::Snapshot { authorization: None, remote };
            let events = events.clone();
            tokio::spawn(async move { snapshot(events, &BTreeMap::new(), request).await })
        };
        let first = ask();
        let Some(Event::Admin(question)) = asked.recv().await else { panic!("the node is asked") };
        first.abort();
        assert!(first.await.is_err());
        assert_eq!(ask().await.unwrap().status(), StatusCode::TOO_MANY_REQUESTS);
        answer(question, b"first");

        let second = ask();
        let Some(Event::Admin(question)) = asked.recv().await else { panic!("the node is asked") };
        answer(question, b"second");
        let second = second.await.unwrap();
        assert_eq!(second.headers()["snapshot_size"], "6");
        // It is not sent yet.
        assert_eq!(ask().await.unwrap().status(), StatusCode::TOO_MANY_REQUESTS);
        drop(second);
        drop(ask());
        assert!(asked.recv().await.is_some());
    }
}
