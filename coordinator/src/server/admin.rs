//! The HTTP ports: ZooKeeper's AdminServer with `/livez` and `/readyz`, and the port of its Prometheus provider. Knows
//! URLs and status codes; what the answers are is the node's to say.

use super::disk::DiskError;
use super::{Event, Events};
use crate::admin::{AdminBody, AdminReply, AdminRequest, COMMANDS};
use crate::config::Config;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use std::collections::BTreeMap;
use tokio::sync::{Semaphore, oneshot};

/// Port of the AdminServer if none is set.
const ADMIN_PORT: u16 = 8080;
/// Port of the Prometheus provider if none is set.
const METRICS_PORT: u16 = 7000;

/// The class that ZooKeeper loads for Prometheus.
const PROMETHEUS: &str = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";

/// A question for the node and where its answer goes.
pub(super) struct Question {
    pub(super) request: AdminRequest,
    pub(super) answer: oneshot::Sender<(AdminReply, Option<Snapshot>)>,
}

/// What will be the snapshot that was asked for: its zxid and its bytes.
pub(super) type Snapshot = oneshot::Receiver<Result<(i64, Vec<u8>), DiskError>>;

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
    let mut ports = Vec::new();
    // As ZooKeeper: whatever is not "false" leaves it on.
    if text("admin.enableServer", "true") != "false" {
        let url = text("admin.commandURL", "/commands");
        ports.push(HttpPort {
            name: "admin server",
            host: text("admin.serverAddress", "0.0.0.0"),
            port: properties.parse_or("admin.serverPort", ADMIN_PORT, "a port number from 0 to 65535")?,
            router: admin_router(url.trim_end_matches('/'), events.clone()),
        });
    }
    if text("metricsProvider.className", "") == PROMETHEUS {
        ports.push(HttpPort {
            name: "metrics",
            host: text("metricsProvider.httpHost", "0.0.0.0"),
            port: properties.parse_or("metricsProvider.httpPort", METRICS_PORT, "a port number from 0 to 65535")?,
            router: Router::new().route("/metrics", get(metrics)).with_state(events.clone()),
        });
    }
    Ok(ports)
}

impl HttpPort {
    /// Serves until the task is dropped.
    pub(super) async fn serve(self, listener: tokio::net::TcpListener) {
        if let Err(error) = axum::serve(listener, self.router).await {
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
        .route(&format!("{url}/{{name}}"), get(command))
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
    headers: HeaderMap,
) -> Response {
    if matches!(name.as_str(), "snapshot" | "snap") {
        return snapshot(events, &arguments, &headers).await;
    }
    ask(events, AdminRequest::Command { name, arguments }).await
}

/// The tree as a snapshot of ZooKeeper, with its zxid and size in the headers; these alone with `streaming=false`. One at
/// a time: each needs the memory of a tree.
async fn snapshot(events: Events, arguments: &BTreeMap<String, String>, headers: &HeaderMap) -> Response {
    static TAKING: Semaphore = Semaphore::const_new(1);
    let Ok(_taking) = TAKING.try_acquire() else { return StatusCode::TOO_MANY_REQUESTS.into_response() };
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let Some((reply, snapshot)) = put(&events, AdminRequest::Snapshot { authorization }).await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let Some(snapshot) = snapshot else { return shown(reply) };
    let (zxid, bytes) = match snapshot.await {
        Ok(Ok(made)) => made,
        failed => {
            tracing::warn!(?failed, "a snapshot cannot be taken");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let headers = [("last_zxid", format!("{zxid:#x}")), ("snapshot_size", bytes.len().to_string())];
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    if arguments.get("streaming").is_some_and(|value| !value.eq_ignore_ascii_case("true")) {
        let body = AdminBody::Json(serde_json::json!({"command": "snapshot", "error": null}));
        return (headers, shown(AdminReply { status: 200, body })).into_response();
    }
    (headers, kind, bytes).into_response()
}

async fn metrics(State(events): State<Events>) -> Response {
    ask(events, AdminRequest::Metrics).await
}

/// The node answers in its turn; that it does is what `/livez` is about.
async fn ask(events: Events, request: AdminRequest) -> Response {
    match put(&events, request).await {
        Some((reply, _)) => shown(reply),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn put(events: &Events, request: AdminRequest) -> Option<(AdminReply, Option<Snapshot>)> {
    let (answer, answered) = oneshot::channel();
    events.send(Event::Admin(Question { request, answer })).await.ok()?;
    answered.await.ok()
}

fn shown(AdminReply { status, body }: AdminReply) -> Response {
    let (kind, text) = match body {
        AdminBody::Snapshot => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        AdminBody::Json(value) => ("application/json", format!("{value:#}")),
        AdminBody::Text(text) => ("text/plain; version=0.0.4; charset=utf-8", text),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, kind)], text).into_response()
}
